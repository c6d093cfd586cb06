//! A module of an earlier version that has the store open while this one brings it to its format: it reads and writes
//! until then, nothing of that is lost, and after that it refuses.
//!
//! The earlier module is the statements that it made in each of its transactions: like this one it looked at the format
//! first, and refused what is newer (`CKR_DEVICE_ERROR`, 0x306).

mod store_support;

use datakey::error::Cause;
use datakey::store::{ObjectId, ObjectRecord, Query, record};
use rusqlite::{Connection, ErrorCode, params};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use store_support::{all, by, store};

/// A store of format 1, as the module of that time had it open.
struct Older(Connection);

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Done,
    /// `StoreNewer`.
    Newer,
    /// `StoreBusy`, after which that module waited and tried again.
    Busy,
}

impl Older {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("PRAGMA busy_timeout = 0; PRAGMA synchronous = FULL").unwrap();
        Self(connection)
    }

    fn format(&self) -> i64 {
        self.0.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    /// Begins a transaction, and looks.
    fn begin(&self, how: &str) -> Told {
        match self.0.execute_batch(how) {
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DatabaseBusy => {
                return Told::Busy;
            }
            result => result.unwrap(),
        }
        match self.format() {
            1 => Told::Done,
            _ => {
                self.0.execute_batch("ROLLBACK").unwrap();
                Told::Newer
            }
        }
    }

    /// Inserts another AES key "box", in a transaction that was begun.
    fn insert(&self, number: u64) {
        let end: i64 =
            self.0.query_row("UPDATE state SET counter = counter + 1 RETURNING counter", [], |row| row.get(0)).unwrap();
        let find = "SELECT seq, id, record FROM object JOIN record USING (seq) JOIN lookup USING (seq)
                    WHERE type = 3 AND value = CAST('box' AS BLOB) ORDER BY seq LIMIT 1";
        let (seq, old, bytes): (i64, [u8; 16], Vec<u8>) =
            self.0.query_row(find, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let object = record::decode_object(&ObjectId::from_bytes(old), 1, &bytes).unwrap();
        let id = id(number);
        let record = record::encode_object(&ObjectRecord { id, ..object }).unwrap();
        let insert = "INSERT INTO object (seq, id, version) VALUES (?1, ?2, 1)";
        self.0.execute(insert, params![end, id.as_bytes()]).unwrap();
        self.0.execute("INSERT INTO record (seq, record) VALUES (?1, ?2)", params![end, record]).unwrap();
        let terms = "INSERT INTO lookup (type, value, seq) SELECT type, value, ?1 FROM lookup WHERE seq = ?2";
        self.0.execute(terms, params![end, seq]).unwrap();
    }

    fn commit(&self) {
        self.0.execute_batch("COMMIT").unwrap();
    }

    fn count(&self) -> i64 {
        self.0.query_row("SELECT count(*) FROM object", [], |row| row.get(0)).unwrap()
    }
}

fn id(number: u64) -> ObjectId {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The store of the fixture, as the module of that time left it.
fn older() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    // The earlier module is this process, too, and SQLite is the same: what it locked before the store sets SQLite up
    // would stay locked after it.
    assert_eq!(store(&folder.path().join("none.db")).token(), Ok(None));
    let path = folder.path().join("token.db");
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1/none.sql");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(&fs::read_to_string(dump).unwrap()).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (folder, path)
}

/// What the upgrade kept is of the old format, and sound.
fn backup(path: &Path) -> Connection {
    let backup = Connection::open(format!("{}.backup-v1", path.display())).unwrap();
    let verdict: String = backup.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    assert_eq!(backup.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    backup
}

#[test]
fn who_reads_goes_on_reading_and_is_told_the_next_time() {
    let (_folder, path) = older();
    let old = Older::open(&path);
    assert_eq!(old.begin("BEGIN"), Told::Done);
    let count = old.count();
    let new = store(&path);
    assert_eq!(all(&*new, &Query::default()).len() as i64, count);
    new.delete(&all(&*new, &Query::default())[0], None).unwrap();
    // It sees what it saw.
    assert_eq!((old.format(), old.count()), (1, count));
    old.commit();
    assert_eq!(old.begin("BEGIN"), Told::Newer);
    assert_eq!(old.begin("BEGIN IMMEDIATE"), Told::Newer);
    new.check().unwrap();
    drop(backup(&path));
}

#[test]
fn who_writes_is_waited_for() {
    let (_folder, path) = older();
    let old = Older::open(&path);
    assert_eq!(old.begin("BEGIN IMMEDIATE"), Told::Done);
    old.insert(1);
    // For so long, and then the caller is told to try again. Nothing was done.
    assert_eq!(store(&path).token().unwrap_err().cause(), Cause::StoreBusy);
    assert_eq!(old.format(), 1);
    let waiting = thread::spawn({
        let path = path.clone();
        move || store(&path).get(&id(1)).unwrap().is_some()
    });
    thread::sleep(Duration::from_millis(300));
    old.insert(2);
    old.commit();
    assert!(waiting.join().unwrap(), "what was written before is there");
    let new = store(&path);
    assert!(new.get(&id(2)).unwrap().is_some());
    assert_eq!(old.begin("BEGIN IMMEDIATE"), Told::Newer);
    assert_eq!(new.check().unwrap(), all(&*new, &Query::default()).len() as u64);
    let kept = backup(&path).query_row("SELECT count(*) FROM object", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(kept, all(&*new, &Query::default()).len() as i64);
}

#[test]
fn what_an_older_module_was_told_is_done_is_there() {
    for round in 0..10 {
        let (_folder, path) = older();
        let acknowledged = AtomicU64::new(0);
        let before = all_of(&path);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let old = Older::open(&path);
                loop {
                    match old.begin("BEGIN IMMEDIATE") {
                        Told::Newer => return,
                        Told::Busy => thread::sleep(Duration::from_micros(200)),
                        Told::Done => {
                            let number = acknowledged.load(Ordering::SeqCst);
                            old.insert(number);
                            old.commit();
                            acknowledged.store(number + 1, Ordering::SeqCst);
                            // Its caller has something else to do, such as to ask KMS for the next key.
                            thread::sleep(Duration::from_millis(number % 4));
                        }
                    }
                }
            });
            while acknowledged.load(Ordering::SeqCst) < 3 + round {
                thread::sleep(Duration::from_micros(100));
            }
            store(&path).token().unwrap().unwrap();
            writer.join().unwrap();
        });
        let (new, written) = (store(&path), acknowledged.load(Ordering::SeqCst));
        for number in 0..written {
            assert!(new.get(&id(number)).unwrap().is_some(), "{number} of {written} was acknowledged and is lost");
        }
        assert_eq!(new.check().unwrap(), before + written);
        assert_eq!(all(&*new, &by(store_support::LABEL, b"box")).len() as u64, 1 + written);
        let kept = backup(&path).query_row("SELECT count(*) FROM object", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(kept as u64, before + written, "and is in what was kept");
    }
}

fn all_of(path: &Path) -> u64 {
    Older::open(path).count() as u64
}

//! The SQLite store and files that are not as it left them.

mod store_support;

use datakey::error::{Cause, Error};
use datakey::store::{ObjectRecord, Query, Store};
use rusqlite::Connection;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store_support::*;

#[track_caller]
fn refused<T>(result: Result<T, Error>, cause: Cause) {
    assert_eq!(result.err().map(|e| e.cause()), Some(cause));
}

/// Every way in answers `cause`.
#[track_caller]
fn all_refused(store: &dyn Store, cause: Cause) {
    refused(store.token(), cause);
    refused(store.find(&Query::default(), None, 1), cause);
    refused(store.get(&pair(0, 0)[0].id), cause);
    refused(store.change_counter(), cause);
    refused(store.insert(&pair(0, 0)), cause);
    refused(store.update(&pair(0, 0)[0]), cause);
    refused(store.delete(&pair(0, 0)[0].id, None), cause);
    refused(store.update_token(&token()), cause);
    refused(store.initialise(&token(), None), cause);
    refused(store.initialise(&token(), Some(1)), cause);
}

#[test]
fn files_of_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.txt");
    fs::write(&text, "not a database, and long enough to be looked at as one. ".repeat(100)).unwrap();
    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let named = directory.path().join("named.db");
    Connection::open(&named).unwrap().execute_batch("PRAGMA application_id = 7").unwrap();
    for path in [text, foreign, named] {
        let before = fs::read(&path).unwrap();
        all_refused(&*store(&path), Cause::StoreCorrupt);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    all_refused(&*store(directory.path()), Cause::StoreUnavailable);
    all_refused(&*store(&directory.path().join("notes.txt/token.db")), Cause::StoreUnavailable);
}

#[test]
fn an_empty_file_is_a_token_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.db");
    fs::write(&path, "").unwrap();
    let store = store(&path);
    assert_eq!(store.token(), Ok(None));
    refused(store.insert(&pair(0, 0)), Cause::TokenNotRecognized);
    store.initialise(&token(), None).unwrap();
    store.insert(&pair(0, 0)).unwrap();
}

#[test]
fn a_newer_format_is_refused_also_when_it_comes_while_the_store_is_open() {
    let (_directory, path) = initialised();
    let open = store(&path);
    open.insert(&pair(0, 0)).unwrap();
    open.token().unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    all_refused(&*open, Cause::StoreNewer);
    all_refused(&*store(&path), Cause::StoreNewer);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(all(&*open, &Query::default()).len(), 2);
}

#[test]
fn a_damaged_file_is_corrupt_and_never_worse() {
    let (_directory, path) = initialised();
    let healthy = store(&path);
    for number in 0..40 {
        healthy.insert(&pair(0, number)).unwrap();
    }
    drop(healthy);
    let good = fs::read(&path).unwrap();
    let mut found = 0;
    for page in 0..good.len() / 4096 {
        let mut bad = good.clone();
        bad[page * 4096..(page + 1) * 4096].iter_mut().for_each(|byte| *byte ^= 0xA5);
        fs::write(&path, &bad).unwrap();
        let store = store(&path);
        let answers = [
            store.token().map(|_| ()),
            store.find(&by(LABEL, b"writer 0"), None, 1000).map(|_| ()),
            store.find(&Query::default(), None, 1000).map(|_| ()),
            (0..40).flat_map(|n| pair(0, n)).try_for_each(|o| store.get(&o.id).map(|_| ())),
            store.insert(&pair(1, 0)),
        ];
        for error in answers.into_iter().filter_map(Result::err) {
            let known = matches!(error.cause(), Cause::StoreCorrupt | Cause::RecordCorrupt);
            assert!(known, "page {page}: {error}");
            found += 1;
        }
    }
    assert!(found > 20);
}

/// What somebody does to the file with SQL.
fn tamper(path: &Path, sql: &str) {
    assert!(Connection::open(path).unwrap().execute(sql, []).unwrap() > 0);
}

#[test]
fn a_store_with_anything_in_it_but_our_tables_is_refused() {
    for sql in [
        "CREATE TRIGGER theirs AFTER INSERT ON record BEGIN DELETE FROM record; END",
        "CREATE VIEW theirs AS SELECT * FROM record",
        "CREATE INDEX theirs ON record (length(record))",
        "CREATE TABLE theirs (x)",
        "ALTER TABLE object ADD COLUMN theirs BLOB AS (zeroblob(1000000))",
        "ALTER TABLE state RENAME TO states",
        "DROP TABLE lookup",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'BLOB', 'ANY') WHERE name = 'record'",
    ] {
        let (_directory, path) = initialised();
        store(&path).insert(&pair(0, 0)).unwrap();
        let theirs = Connection::open(&path).unwrap();
        theirs.execute_batch(sql).unwrap();
        all_refused(&*store(&path), Cause::StoreCorrupt);
        drop(theirs);
    }
    // An administrator may have SQLite count what is in it.
    let (_directory, path) = initialised();
    store(&path).insert(&pair(0, 0)).unwrap();
    Connection::open(&path).unwrap().execute_batch("ANALYZE; VACUUM").unwrap();
    assert_eq!(all(&*store(&path), &Query::default()).len(), 2);
}

#[test]
fn a_value_that_is_too_long_for_a_record_is_not_read() {
    let (_directory, path) = initialised();
    let store = store(&path);
    let [first, second] = pair(0, 0);
    store.insert(&[first.clone(), second.clone()]).unwrap();
    tamper(&path, "UPDATE record SET record = zeroblob(17 << 20) WHERE seq = (SELECT min(seq) FROM record)");
    refused(store.get(&first.id), Cause::StoreCorrupt);
    assert_eq!(store.get(&second.id), Ok(Some(second)));

    // The longest that may be written is read.
    let mut long = pair(0, 1)[0].clone();
    long.attributes.insert(0x11, vec![7; (16 << 20) - 2000]);
    store.insert(std::slice::from_ref(&long)).unwrap();
    assert_eq!(store.get(&long.id), Ok(Some(long.clone())));
    long.attributes.insert(0x11, vec![7; 16 << 20]);
    refused(store.update(&long), Cause::StoreFull);
}

#[test]
fn records_that_were_swapped_or_altered_do_not_pass() {
    let (_directory, path) = initialised();
    let store = store(&path);
    let [first, second] = pair(0, 0);
    store.insert(&[first.clone(), second.clone()]).unwrap();
    // Sequence numbers 2 and 3 were drawn after the token's own change.
    tamper(&path, "UPDATE record SET seq = seq + 100");
    tamper(&path, "UPDATE record SET seq = 105 - seq WHERE seq > 100");
    refused(store.get(&first.id), Cause::RecordCorrupt);
    refused(store.get(&second.id), Cause::RecordCorrupt);
    tamper(&path, "UPDATE record SET record = zeroblob(100)");
    refused(store.get(&first.id), Cause::RecordCorrupt);
    // They cannot be excluded from a search, and can be deleted.
    assert_eq!(all(&*store, &by(ID, &first.attributes[&ID])), [first.id, second.id]);
    store.delete(&first.id, Some(1)).unwrap();
    store.update(&second).unwrap();
    assert_eq!(store.get(&second.id), Ok(Some(ObjectRecord { version: 2, ..second.clone() })));
    assert_eq!(all(&*store, &by(ID, &second.attributes[&ID])), [second.id]);
    drop(store);
    assert_sound(&path);
}

#[test]
fn an_altered_index_shows_nothing_that_the_record_denies() {
    let (_directory, path) = initialised();
    let store = store(&path);
    let mut secret = pair(0, 0)[0].clone();
    secret.attributes.insert(2, vec![1]);
    store.insert(&[secret.clone(), pair(0, 1)[0].clone()]).unwrap();
    tamper(&path, "UPDATE lookup SET value = CAST('other' AS BLOB) WHERE type = 3");
    assert!(all(&*store, &by(LABEL, b"other")).is_empty());
    tamper(&path, "UPDATE lookup SET value = x'00' WHERE type = 2 AND value = x'01'");
    let mut asked = by(ID, &secret.attributes[&ID]);
    asked.private = datakey::store::Visibility::PublicOnly;
    assert!(all(&*store, &asked).is_empty());
}

/// Flips bits of everything that a record is found by and made of, one at a time. (The versions, the
/// index and the counter are not part of any record; what may be done to those is tested above.)
#[test]
fn no_flipped_bit_of_a_stored_record_is_believed() {
    let (_directory, path) = initialised();
    let store = store(&path);
    let [object, _] = pair(0, 0);
    store.insert(std::slice::from_ref(&object)).unwrap();
    let tamperer = Connection::open(&path).unwrap();
    tamperer.pragma_update(None, "synchronous", "OFF").unwrap();
    for (table, column) in [("record", "record"), ("object", "id"), ("token", "record")] {
        let good: Vec<u8> = tamperer.query_row(&format!("SELECT {column} FROM {table}"), [], |row| row.get(0)).unwrap();
        // Of long columns every 7th bit: it meets every byte, and each bit of a byte somewhere.
        for bit in (0..good.len() * 8).step_by(if good.len() > 100 { 7 } else { 1 }) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            tamperer.execute(&format!("UPDATE {table} SET {column} = ?1"), [&bad]).unwrap();
            match (table, column) {
                ("token", _) => refused(store.token(), Cause::RecordCorrupt),
                ("record", _) => refused(store.get(&object.id), Cause::RecordCorrupt),
                _ => {
                    assert_eq!(store.get(&object.id), Ok(None));
                    let id = datakey::store::ObjectId::from_bytes(bad.try_into().unwrap());
                    refused(store.get(&id), Cause::RecordCorrupt);
                }
            }
        }
        tamperer.execute(&format!("UPDATE {table} SET {column} = ?1"), [&good]).unwrap();
    }
    assert_eq!(store.get(&object.id), Ok(Some(object)));
    assert_eq!(store.token(), Ok(Some(token())));
}

#[test]
fn a_file_that_was_replaced_or_removed_is_noticed() {
    let (_directory, path) = initialised();
    let open = store(&path);
    open.insert(&pair(0, 0)).unwrap();
    let (_other_directory, other) = initialised();
    store(&other).insert(&[pair(5, 5), pair(5, 6)].concat()).unwrap();
    // As one restores a backup: with the old log out of the way.
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", path.display())).unwrap();
    }
    fs::rename(&other, &path).unwrap();
    assert_eq!(all(&*open, &Query::default()).len(), 4);
    open.insert(&pair(0, 1)).unwrap();
    assert_eq!(all(&*store(&path), &Query::default()).len(), 6);
    fs::remove_file(&path).unwrap();
    // Who had it open knows that it was there; who comes now does not, and either may make another.
    refused(open.token(), Cause::StoreUnavailable);
    refused(open.insert(&pair(0, 2)), Cause::StoreUnavailable);
    assert_eq!(store(&path).token(), Ok(None));
    open.initialise(&token(), None).unwrap();
    open.insert(&pair(0, 3)).unwrap();
    assert_eq!(all(&*open, &Query::default()).len(), 2);
}

#[test]
fn a_writer_elsewhere_delays_writers_and_no_reader() {
    let (_directory, path) = initialised();
    let store = store(&path);
    store.insert(&pair(0, 0)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE state SET counter = counter + 1").unwrap();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (1..3)
            .map(|number| {
                let store = &store;
                scope.spawn(move || {
                    let started = Instant::now();
                    (store.insert(&pair(0, number)), started.elapsed())
                })
            })
            .collect();
        let started = Instant::now();
        let mut slowest = Duration::ZERO;
        while started.elapsed() < Duration::from_secs(1) {
            let one = Instant::now();
            assert_eq!(store.find(&Query::default(), None, 10).unwrap().ids.len(), 2);
            slowest = slowest.max(one.elapsed());
        }
        assert!(slowest < Duration::from_millis(500), "a reader waited for {slowest:?}");
        for thread in waiting {
            let (result, time) = thread.join().unwrap();
            refused(result, Cause::StoreBusy);
            assert!((4500..12_000).contains(&(time.as_millis() as u64)), "it waited for {time:?}");
        }
        let waiting = scope.spawn(|| store.insert(&pair(0, 3)));
        std::thread::sleep(Duration::from_millis(300));
        other.execute_batch("COMMIT").unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(all(&*store, &Query::default()).len(), 4);
}

#[test]
fn a_store_that_others_can_write_to_is_refused() {
    let (_directory, path) = initialised();
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        allow(&beside(suffix), 0o606);
        all_refused(&*store(&path), Cause::StoreUnsafe);
        let error = store(&path).token().unwrap_err();
        assert!(error.detail().contains(&format!("token.db{suffix}: its mode is 0606")), "{error}");
        // Its owner may share it with a group.
        allow(&beside(suffix), 0o660);
    }
    store(&path).insert(&pair(0, 0)).unwrap();

    // A log that is not there could be anybody's in a moment; one that is left of a crash is replayed.
    fs::write(beside("-journal"), "").unwrap();
    allow(&beside("-journal"), 0o646);
    all_refused(&*store(&path), Cause::StoreUnsafe);
    fs::remove_file(beside("-journal")).unwrap();

    let link = path.with_file_name("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(all(&*store(&link), &Query::default()).len(), 2);

    const STRANGER: Option<u32> = Some(12345);
    if chown(&path, STRANGER, STRANGER).is_err() {
        println!("     (no permission to give files away: only modes were tested)");
        return;
    }
    all_refused(&*store(&path), Cause::StoreUnsafe);
    allow(&path, 0o600);
    let error = store(&path).token().unwrap_err();
    assert_eq!(error.cause(), Cause::StoreUnsafe);
    assert!(error.detail().contains("it belongs to user 12345"), "{error}");
    // Shared with a group that this process is in.
    allow(&path, 0o660);
    chown(&path, STRANGER, Some(fs::metadata("/proc/self").unwrap().gid())).unwrap();
    store(&path).token().unwrap().unwrap();
    chown(&path, Some(0), Some(0)).unwrap();
    lchown(&link, STRANGER, None).unwrap();
    let error = store(&link).token().unwrap_err();
    assert!(error.detail().contains("a symbolic link of user 12345"), "{error}");
    store(&path).token().unwrap().unwrap();
}

//! The SQLite store among processes: many that write, some that are killed, disks that are full and
//! places that cannot be written to.

#[path = "store_support/mounted.rs"]
mod mounted;
mod store_support;

use datakey::error::Cause;
use datakey::store::{Query, Store};
use mounted::mounted;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store_support::*;

fn main() {
    store_support::main(
        &[
            ("eight_processes_lose_nothing", eight_processes_lose_nothing),
            ("one_of_many_creators_wins", one_of_many_creators_wins),
            ("killed_at_any_moment_no_pair_is_halved", killed_at_any_moment_no_pair_is_halved),
            ("a_full_disk_harms_nothing", a_full_disk_harms_nothing),
            ("a_file_size_limit_is_a_full_store", a_file_size_limit_is_a_full_store),
            ("where_nothing_can_be_written_it_reads", where_nothing_can_be_written_it_reads),
            ("a_read_only_file_system_reads", a_read_only_file_system_reads),
            ("two_processes_upgrade_at_once", two_processes_upgrade_at_once),
            ("killed_while_upgrading_nothing_is_lost", killed_while_upgrading_nothing_is_lost),
        ],
        &[
            ("write", write),
            ("create", create),
            ("insert-forever", insert_forever),
            ("fill", fill),
            ("read-only", read_only),
            ("read-only-without-log", read_only_without_log),
            ("count", count),
            ("measure", measure),
        ],
    );
}

const WRITERS: u32 = 8;
const PAIRS: u32 = 40;

fn eight_processes_lose_nothing() {
    let (_directory, path) = initialised();
    let children: Vec<_> = (0..WRITERS).map(|n| start("write", &path, &[&n.to_string()])).collect();
    children.into_iter().for_each(succeeds);
    let store = store(&path);
    assert_eq!(all(&*store, &Query::default()).len() as u32, WRITERS * PAIRS);
    // Each wrote the token PAIRS times, by compare-and-swap.
    let token = store.token().unwrap().unwrap();
    assert_eq!(token.changed, u64::from(WRITERS * PAIRS));
    assert_eq!(token.version, u64::from(WRITERS * PAIRS) + 1);
    drop(store);
    assert_sound(&path);
}

fn write(path: &Path, arguments: &[String]) {
    let (store, writer) = (store(path), arguments[0].parse().unwrap());
    write_pairs(&*store, writer, PAIRS);
}

fn one_of_many_creators_wins() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/deep/token.db");
        let children: Vec<_> = (0..8).map(|_| start("create", &path, &[])).collect();
        let mut codes: Vec<_> = children.into_iter().filter_map(|mut child| child.wait().unwrap().code()).collect();
        codes.sort();
        assert_eq!(codes, [10, 11, 11, 11, 11, 11, 11, 11]);
        assert!(store(&path).token().unwrap().is_some());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&beside(&path, "-wal")), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&directory.path().join("new")), 0o700);
        assert_sound(&path);
    }
}

fn create(path: &Path, _: &[String]) {
    let store = store(path);
    create_and_exit(&*store);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

fn killed_at_any_moment_no_pair_is_halved() {
    const KILLS: u32 = 100;
    let (_directory, path) = initialised();
    let reader = store(&path);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Newest writers' objects come last; look at whole pages of them.
                    let ids = all(&*reader, &Query::default());
                    assert_eq!(ids.len() % 2, 0, "half a pair was seen");
                    assert!(ids.chunks(2).all(|two| two[0].as_bytes()[..8] == two[1].as_bytes()[..8]));
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        for writer in 0..KILLS {
            let mut child =
                command("insert-forever", &path, &[&writer.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "0\n");
            std::thread::sleep(Duration::from_micros(u64::from(writer) * 7919 % 12_000));
            child.kill().unwrap();
            child.wait().unwrap();
            let acknowledged =
                output.lines().map(|line| line.unwrap()).filter(|line| !line.is_empty()).count() as u32 + 1;
            let found = all(&*reader, &by(LABEL, format!("writer {writer}").as_bytes())).len() as u32;
            // The last one may have been committed without our hearing of it.
            assert!(found == 2 * acknowledged || found == 2 * acknowledged + 2, "{found} of {acknowledged} pairs");
            for object in (0..acknowledged).flat_map(|number| pair(writer, number)) {
                assert_eq!(reader.get(&object.id).unwrap().unwrap().attributes, object.attributes);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(reader);
    assert_sound(&path);
}

/// Says the number of each pair in one write, after it was acknowledged.
fn insert_forever(path: &Path, arguments: &[String]) {
    let (store, writer) = (store(path), arguments[0].parse().unwrap());
    for number in 0.. {
        store.insert(&pair(writer, number)).unwrap();
        let line = format!("{number}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

fn a_full_disk_harms_nothing() {
    let Some(disk) = mounted("1m") else {
        println!("     (no permission to mount: only the file size limit is tested)");
        return;
    };
    let path = disk.path().join("token.db");
    let store = store(&path);
    store.initialise(&token(), None).unwrap();
    let filled = fill_up(&*store, 0);
    // The space comes back, and with it the store, in the same process.
    disk.remount("size=4m");
    store.insert(&pair(1, 0)).unwrap();
    assert_eq!(all(&*store, &Query::default()).len() as u32, 2 * filled + 2);
    drop(store);
    assert_sound(&path);
    // Full before there is a store at all.
    let other = disk.path().join("other.db");
    fs::File::create(disk.path().join("filler")).unwrap();
    let _ = fs::write(disk.path().join("filler"), vec![0; 8 << 20]);
    let store = store_support::store(&other);
    assert_eq!(store.initialise(&token(), None).unwrap_err().cause(), Cause::StoreFull);
    assert_eq!(store.token(), Ok(None));
    fs::remove_file(disk.path().join("filler")).unwrap();
    store.initialise(&token(), None).unwrap();
}

/// Inserts until the store is full; answers how many pairs it took. What it took is still there.
fn fill_up(store: &dyn Store, writer: u32) -> u32 {
    for number in 0.. {
        match store.insert(&pair(writer, number)) {
            Ok(()) => assert!(number < 10_000, "it never gets full"),
            Err(e) => {
                assert_eq!(e.cause(), Cause::StoreFull, "{e}");
                for kept in (0..number).flat_map(|number| pair(writer, number)) {
                    assert_eq!(store.get(&kept.id).unwrap().unwrap().attributes, kept.attributes);
                }
                assert_eq!(all(store, &by(LABEL, format!("writer {writer}").as_bytes())).len() as u32, 2 * number);
                return number;
            }
        }
    }
    unreachable!("numbers do not end");
}

fn a_file_size_limit_is_a_full_store() {
    let (_directory, path) = initialised();
    let mut command = command("fill", &path, &[]);
    // SAFETY: both calls are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 300_000, rlim_max: 300_000 };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    succeeds(command.spawn().unwrap());
    store(&path).insert(&pair(1, 0)).unwrap();
    assert_sound(&path);
}

fn fill(path: &Path, _: &[String]) {
    assert!(fill_up(&*store(path), 0) > 3);
}

/// Starts `role` as a user who may not write anywhere in the test's directories.
fn as_nobody(role: &str, path: &Path) {
    let mut command = command(role, path, &[]);
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65534).gid(65534);
    }
    succeeds(command.spawn().unwrap());
}

fn allow(path: &Path, mode: u32) {
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        result => result.unwrap(),
    }
}

fn where_nothing_can_be_written_it_reads() {
    let (directory, path) = initialised();
    let owner = store(&path);
    owner.insert(&pair(0, 0)).unwrap();
    drop(owner);
    for file in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
        allow(&file, 0o444);
    }
    allow(directory.path(), 0o555);
    as_nobody("read-only", &path);
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        // And while its owner, whom permissions do not stop, has it open with commits in the log.
        let owner = store(&path);
        owner.insert(&pair(0, 1)).unwrap();
        as_nobody("read-only", &path);
    }
    allow(directory.path(), 0o755);
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&path, suffix)).unwrap();
    }
    allow(directory.path(), 0o555);
    as_nobody("read-only-without-log", &path);
    allow(directory.path(), 0o755);
}

fn read_only(path: &Path, _: &[String]) {
    let store = store(path);
    assert!(store.read_only());
    assert_eq!(store.token().unwrap().unwrap().label, "test");
    assert_eq!(store.get(&pair(0, 0)[1].id).unwrap().unwrap(), pair(0, 0)[1]);
    let found = all(&*store, &by(LABEL, b"writer 0")).len();
    assert_eq!(store.change_counter().unwrap(), 1 + found as u64);
    let refused = [
        store.insert(&pair(9, 9)).unwrap_err(),
        store.update(&pair(0, 0)[0]).unwrap_err(),
        store.delete(&pair(0, 0)[0].id, None).unwrap_err(),
        store.update_token(&token()).unwrap_err(),
        store.initialise(&token(), Some(1)).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.cause(), Cause::StoreReadOnly, "{error}");
    }
}

/// Others could write here at any time, so the log must not be ignored.
fn read_only_without_log(path: &Path, _: &[String]) {
    let error = store(path).token().unwrap_err();
    assert_eq!(error.cause(), Cause::StoreUnavailable);
    assert!(error.detail().contains("open it once as its owner"), "{error}");
}

fn a_read_only_file_system_reads() {
    let Some(disk) = mounted("4m") else {
        println!("     (no permission to mount: not tested)");
        return;
    };
    let path = disk.path().join("t o?k%en.db");
    assert!(!store(&path).read_only());
    disk.remount("ro");
    assert!(store(&path).read_only());
    assert_eq!(store(&path).token(), Ok(None));
    assert_eq!(store(&path).initialise(&token(), None).unwrap_err().cause(), Cause::StoreReadOnly);
    disk.remount("rw");
    store(&path).initialise(&token(), None).unwrap();
    store(&path).insert(&pair(0, 0)).unwrap();
    disk.remount("ro");
    read_only(&path, &[]);
    disk.remount("rw");
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&path, suffix)).unwrap();
    }
    disk.remount("ro");
    let kept = store(&path);
    assert_eq!(kept.change_counter(), Ok(3));
    read_only(&path, &[]);
    // It was changed elsewhere after all: what was taken for unchanging is looked at anew.
    disk.remount("rw");
    store(&path).insert(&pair(0, 1)).unwrap();
    assert_eq!(kept.change_counter(), Ok(5));
}

const OLD_PAIRS: u32 = 4000;

/// A store in the format from before the first release.
fn old_store(path: &Path) {
    let mut connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA application_id = 0x444B5031;
             CREATE TABLE token (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, record BLOB NOT NULL);
             CREATE TABLE object (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, record BLOB NOT NULL);",
        )
        .unwrap();
    let transaction = connection.transaction().unwrap();
    let record = datakey::store::record::encode_token(&token()).unwrap();
    transaction.execute("INSERT INTO token VALUES (1, 5, ?1)", [record]).unwrap();
    for object in (0..OLD_PAIRS).flat_map(|number| pair(0, number)) {
        let record = datakey::store::record::encode_object(&object).unwrap();
        transaction
            .execute(
                "INSERT INTO object (id, version, record) VALUES (?1, 2, ?2)",
                rusqlite::params![object.id.as_bytes(), record],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}

fn assert_upgraded(path: &Path) {
    let store = store(path);
    assert_eq!(store.token().unwrap().unwrap().version, 5);
    assert_eq!(all(&*store, &Query::default()).len() as u32, 2 * OLD_PAIRS);
    for number in [0, OLD_PAIRS - 1] {
        let mut expected = pair(0, number);
        expected.iter_mut().for_each(|object| object.version = 2);
        assert_eq!(all(&*store, &by(ID, &expected[0].attributes[&ID])), [expected[0].id, expected[1].id]);
        assert_eq!(store.get(&expected[1].id).unwrap().as_ref(), Some(&expected[1]));
    }
    let counter = store.change_counter().unwrap();
    store.insert(&pair(1, 0)).unwrap();
    assert!(store.change_counter().unwrap() > counter);
    drop(store);
    assert_sound(path);
    let backup = beside(path, ".backup-v0");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let backup = rusqlite::Connection::open(backup).unwrap();
    let kept: u32 = backup.query_row("SELECT count(record) FROM object", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2 * OLD_PAIRS);
    let about: (i64, i64) = (
        backup.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap(),
        backup.query_row("PRAGMA application_id", [], |row| row.get(0)).unwrap(),
    );
    assert_eq!(about, (0, 0x444B_5031));
}

fn two_processes_upgrade_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.db");
    old_store(&path);
    let children: Vec<_> = (0..3).map(|_| start("count", &path, &[])).collect();
    children.into_iter().for_each(succeeds);
    assert_upgraded(&path);
}

fn count(path: &Path, _: &[String]) {
    assert_eq!(all(&*store(path), &by(LABEL, b"writer 0")).len() as u32, 2 * OLD_PAIRS);
}

fn killed_while_upgrading_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.db");
    old_store(&path);
    let copy = directory.path().join("copy.db");
    let mut unfinished = 0;
    for kill in 1..=12 {
        for suffix in ["", "-wal", "-shm", "-journal", ".backup-v0", ".backup-v0.tmp"] {
            let _ = fs::remove_file(beside(&copy, suffix));
        }
        fs::copy(&path, &copy).unwrap();
        let mut child = start("count", &copy, &[]);
        std::thread::sleep(Duration::from_millis(12 * kill));
        unfinished += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_upgraded(&copy);
    }
    assert!(unfinished > 3, "the upgrade was over before it was interrupted");
}

/// `role:measure FILE OBJECTS`: how long things take with so many objects. Not a test.
fn measure(path: &Path, arguments: &[String]) {
    let count: u32 = arguments[0].parse().unwrap();
    if !path.exists() {
        let store = store(path);
        store.initialise(&token(), None).unwrap();
        let started = Instant::now();
        for first in (0..count / 2).step_by(1000) {
            let some: Vec<_> = (first..(first + 1000).min(count / 2)).flat_map(|number| pair(number, number)).collect();
            store.insert(&some).unwrap();
        }
        println!("inserted {count}, 2000 a transaction: {:.1} s", started.elapsed().as_secs_f64());
    }
    let started = Instant::now();
    let store = store(path);
    store.token().unwrap();
    println!("opened and read the token: {:.0} us", started.elapsed().as_secs_f64() * 1e6);
    // The best of several rounds: others use the machine too.
    let time = |what: &str, times: u32, work: &dyn Fn(u32)| {
        let round = |round: u32| {
            let started = Instant::now();
            (0..times).for_each(|n| work((n + round * times).wrapping_mul(2_654_435_761) % (count / 2)));
            started.elapsed().as_secs_f64() * 1e6 / f64::from(times)
        };
        println!("{what}: {:.1} us", (0..5).map(round).fold(f64::MAX, f64::min));
    };
    let key_class = 3_u64.to_be_bytes().to_vec();
    let label = |n: u32| (LABEL, format!("writer {n}").into_bytes());
    let id = |n: u32| (ID, pair(n, n)[0].attributes[&ID].clone());
    let found = |equal: Vec<(u64, Vec<u8>)>, expected: usize| {
        let ids = store.find(&Query { equal, ..Query::default() }, None, 10).unwrap().ids;
        assert_eq!(ids.len(), expected);
    };
    time("find by id", 2000, &|n| found(vec![id(n)], 2));
    time("find by label", 2000, &|n| found(vec![label(n)], 2));
    time("find by class and id", 2000, &|n| found(vec![(0, key_class.clone()), id(n)], 1));
    time("find by class and label", 2000, &|n| found(vec![label(n), (0, key_class.clone())], 1));
    time("find absent id", 2000, &|_| found(vec![(ID, vec![1, 2, 3])], 0));
    time("first 100 of a class", 100, &|_| {
        assert_eq!(store.find(&by(0, &key_class), None, 100).unwrap().ids.len(), 100);
    });
    time("get", 2000, &|n| assert!(store.get(&pair(n, n)[0].id).unwrap().is_some()));
    time("token", 2000, &|_| assert!(store.token().unwrap().is_some()));
    time("change counter", 2000, &|_| assert!(store.change_counter().unwrap() > 0));
    time("list all", 1, &|_| assert!(all(&*store, &Query::default()).len() as u32 >= count));
    let next = std::cell::Cell::new(0);
    time("insert a pair", 100, &|_| {
        next.set(next.get() + 1);
        store.insert(&pair(u32::MAX - std::process::id(), next.get())).unwrap();
    });
    let resident = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", resident.lines().find(|line| line.starts_with("VmHWM")).unwrap());
    println!("file: {:.1} MB", fs::metadata(path).unwrap().len() as f64 / 1e6);
}

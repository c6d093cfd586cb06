//! What `cp` makes of a store that is in use: a copy is a moment of the store, or an error, and `check` tells the two
//! apart. (What is meant to be copied is copied by `datakey-pkcs11 backup`.)

mod store_support;

use datakey::error::{Cause, Error};
use datakey::store::{ObjectId, Query, Store};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use store_support::*;

type Ids = BTreeSet<ObjectId>;

/// What each of the writer's transactions does, by its number: three insert a pair, one deletes a half of an old one.
fn transact(store: &dyn Store, number: u32) {
    match number % 4 {
        3 => store.delete(&pair(0, number - 3)[(number / 4 % 2) as usize].id, None).unwrap(),
        _ => store.insert(&pair(0, number)).unwrap(),
    }
}

/// What is in the store after so many transactions.
fn after(transactions: u32) -> Ids {
    let mut ids = Ids::new();
    for number in 0..transactions {
        match number % 4 {
            3 => drop(ids.remove(&pair(0, number - 3)[(number / 4 % 2) as usize].id)),
            _ => ids.extend(pair(0, number).map(|object| object.id)),
        }
    }
    ids
}

/// Whether this is what was in the store at some moment: it is told by the last pair that is there.
fn is_moment(ids: &Ids, total: u32) -> bool {
    let last = ids.iter().map(|id| u32::from_be_bytes(id.as_bytes()[4..8].try_into().unwrap())).max();
    let first = last.map_or(0, |last| last + 1);
    (first..=(first + 1).min(total)).any(|transactions| after(transactions) == *ids)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

/// Copies one of a store's files, some KiB at a time, so that others come in between.
fn cp(from: &Path, to: &Path, suffix: &str, slowly: bool) {
    let (mut from, to) = match fs::File::open(beside(from, suffix)) {
        Ok(file) => (file, beside(to, suffix)),
        Err(_) => return,
    };
    let mut copy = fs::File::create(&to).unwrap();
    let mut some = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut some).unwrap();
        if count == 0 {
            break;
        }
        copy.write_all(&some[..count]).unwrap();
        if slowly {
            thread::sleep(Duration::from_millis(1));
        }
    }
    fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
}

/// All objects of a copy, each read.
fn read(copy: &Path) -> Result<Ids, Error> {
    let store = store(copy);
    let (mut ids, mut from) = (Ids::new(), None);
    if store.token()?.is_none() {
        return Err(Cause::TokenNotRecognized.into());
    }
    loop {
        let page = store.find(&Query::default(), from, 500)?;
        for id in &page.ids {
            store.get(id)?.ok_or(Cause::StoreCorrupt)?;
        }
        ids.extend(page.ids);
        from = page.next;
        if from.is_none() {
            return Ok(ids);
        }
    }
}

/// A store with a log in which there is something, held open.
fn in_use() -> (tempfile::TempDir, PathBuf, Box<dyn Store>) {
    let (directory, path) = initialised();
    let open = store(&path);
    (0..40).for_each(|number| transact(&*open, number));
    Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    (40..60).for_each(|number| transact(&*open, number));
    (directory, path, open)
}

#[test]
fn a_copy_of_all_files_while_nobody_writes_is_the_store() {
    let (_directory, path, open) = in_use();
    for files in [&["", "-wal"][..], &["", "-wal", "-shm"], &["-shm", "-wal", ""]] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("token.db");
        files.iter().for_each(|suffix| cp(&path, &copy, suffix, false));
        assert_eq!(read(&copy).unwrap(), after(60), "{files:?}");
        assert_eq!(store(&copy).check(), Ok(after(60).len() as u64));
        store(&copy).insert(&pair(1, 0)).unwrap();
    }
    assert_eq!(open.check(), Ok(after(60).len() as u64));
}

#[test]
fn a_copy_without_the_log_is_older() {
    let (_directory, path, _open) = in_use();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("token.db");
    cp(&path, &copy, "", false);
    assert_eq!(read(&copy).unwrap(), after(40));
    assert_eq!(store(&copy).check(), Ok(after(40).len() as u64));
}

/// The files of a store, in the order in which they are copied.
const ORDERS: [&[&str]; 5] = [&[""], &["", "-wal"], &["-wal", ""], &["", "-wal", "-shm"], &["-shm", "-wal", ""]];

#[test]
fn a_copy_of_a_store_that_is_written_to_is_a_moment_or_an_error() {
    let (_directory, path) = initialised();
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let copies = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (open, other) = (store(&path), Connection::open(&path).unwrap());
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                transact(&*open, number);
                written.store(number as usize + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
                // The log goes into the store, and begins anew.
                if number % 7 == 0 {
                    let _ = other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
                }
            }
        });
        while written.load(Ordering::SeqCst) < 30 {
            thread::sleep(Duration::from_millis(1));
        }
        for round in 0..30 {
            let folder = copies.path().join(round.to_string());
            fs::create_dir(&folder).unwrap();
            let copy = folder.join("token.db");
            for suffix in ORDERS[round % ORDERS.len()] {
                cp(&path, &copy, suffix, true);
                // Files of two moments.
                thread::sleep(Duration::from_millis((round as u64 * 7) % 30));
            }
            made.push(copy);
        }
        stop.store(true, Ordering::SeqCst);
    });
    let total = written.load(Ordering::SeqCst) as u32;
    let (mut sound, mut refused, mut not_at_first) = (0, 0, 0);
    for copy in &made {
        // The one call that looks at everything, and what a host sees that does not make it.
        let seen = read(copy);
        let checked = store(copy).check();
        match (&checked, &seen) {
            (Ok(_), Ok(ids)) => {
                assert!(is_moment(ids, total), "{}: {} objects, and no moment of the store", copy.display(), ids.len());
                sound += 1;
            }
            (checked, seen) => {
                for cause in [checked.as_ref().err(), seen.as_ref().err()].into_iter().flatten().map(Error::cause) {
                    let known = [Cause::StoreCorrupt, Cause::RecordCorrupt, Cause::TokenNotRecognized];
                    assert!(known.contains(&cause), "{}: {cause:?}", copy.display());
                }
                not_at_first += u32::from(seen.is_ok());
                refused += 1;
            }
        }
    }
    println!("{total} transactions, {} copies: {sound} are a moment of it, {refused} are refused", made.len());
    println!("{not_at_first} of these only by `check`");
    assert!(sound > 0 && refused > 0);
}

/// As one must not restore a backup. A host has the file open, and its log.
#[test]
fn a_store_that_is_overwritten_harms_no_host_and_can_be_restored() {
    let (directory, path, open) = in_use();
    let (backup, old) = (directory.path().join("backup.db"), directory.path().join("old.db"));
    open.back_up(&backup).unwrap();
    cp(&path, &old, "", false);
    for number in 60..200 {
        transact(&*open, number);
    }
    Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    transact(&*open, 200);
    fs::write(&path, fs::read(&old).unwrap()).unwrap();
    // Whatever it answers, it answers.
    let known = [Cause::StoreCorrupt, Cause::RecordCorrupt, Cause::StoreConflict, Cause::ObjectHandleInvalid];
    for _ in 0..3 {
        let answers = [
            open.token().map(drop),
            open.find(&Query::default(), None, 1000).map(drop),
            open.insert(&pair(7, 7)),
            open.delete(&pair(7, 7)[0].id, None),
        ];
        for error in answers.into_iter().filter_map(Result::err) {
            assert!(known.contains(&error.cause()), "{error}");
        }
    }
    assert_eq!(store(&path).check().unwrap_err().cause(), Cause::StoreCorrupt);
    store(&path).restore(&backup, &path).unwrap().unwrap();
    assert_eq!(read(&path).unwrap(), after(60));
    assert_eq!(open.check(), Ok(after(60).len() as u64));
}

//! Copies of a store, made and put back while others are at work.

mod store_support;

use datakey::error::{Cause, Error};
use datakey::store::{ObjectId, Query};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use store_support::*;

#[track_caller]
fn refused<T>(result: Result<T, Error>, cause: Cause) {
    assert_eq!(result.err().map(|e| e.cause()), Some(cause));
}

fn ids(path: &Path) -> BTreeSet<ObjectId> {
    all(&*store(path), &Query::default()).into_iter().collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether both halves of every pair are there.
fn has_whole_pairs(ids: &BTreeSet<ObjectId>) -> bool {
    let half = |half: u8| -> Vec<&[u8]> {
        ids.iter().map(ObjectId::as_bytes).filter(|id| id[8] == half).map(|id| &id[..8]).collect()
    };
    half(0) == half(1)
}

/// Writers that insert pairs until `work` is done, each by a store of its own; all that was acknowledged to them.
fn while_others_write<T>(path: &Path, work: impl FnOnce() -> T) -> (T, BTreeSet<ObjectId>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..3)
            .map(|writer| {
                let done = &done;
                scope.spawn(move || {
                    let (store, mut written) = (store(path), BTreeSet::new());
                    for number in 0.. {
                        if done.load(Ordering::SeqCst) {
                            break;
                        }
                        let pair = pair(writer, number);
                        store.insert(&pair).unwrap();
                        written.extend(pair.map(|object| object.id));
                    }
                    written
                })
            })
            .collect();
        let result = work();
        done.store(true, Ordering::SeqCst);
        (result, writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect())
    })
}

#[test]
fn a_copy_is_one_moment_of_a_store_in_use() {
    let (directory, path) = initialised();
    let to = tempfile::tempdir().unwrap();
    let copies: Vec<PathBuf> = (0..20).map(|number| to.path().join(format!("{number}.db"))).collect();
    let copier = store(&path);
    let ((), written) = while_others_write(&path, || {
        for copy in &copies {
            copier.back_up(copy).unwrap();
        }
    });
    let mut before = BTreeSet::new();
    for copy in &copies {
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store(copy).token(), Ok(Some(token())));
        let held = ids(copy);
        assert_eq!(store(copy).check(), Ok(held.len() as u64));
        assert!(held.is_superset(&before) && held.is_subset(&written) && has_whole_pairs(&held));
        assert_sound(copy);
        before = held;
    }
    assert!(!before.is_empty(), "nobody wrote meanwhile");
    assert_eq!(names(to.path()).len(), copies.len(), "one file each, no log");
    assert_eq!(ids(&path), written);
    assert_eq!(names(directory.path()), ["token.db", "token.db-shm", "token.db-wal"]);
}

#[test]
fn nothing_is_overwritten_and_no_half_copy_stays() {
    let (directory, path) = initialised();
    let there = directory.path().join("there");
    fs::write(&there, "somebody's").unwrap();
    refused(store(&path).back_up(&there), Cause::StoreUnavailable);
    assert_eq!(fs::read(&there).unwrap(), b"somebody's");
    let draft = directory.path().join("copy.tmp");
    fs::write(&draft, "somebody's").unwrap();
    refused(store(&path).back_up(&directory.path().join("copy")), Cause::StoreUnavailable);
    assert_eq!(fs::read(&draft).unwrap(), b"somebody's");
    refused(store(&path).back_up(&directory.path().join("none/copy")), Cause::StoreUnavailable);
    refused(
        store(&directory.path().join("no token")).back_up(&directory.path().join("copy")),
        Cause::TokenNotRecognized,
    );
    fs::write(directory.path().join("empty"), "").unwrap();
    refused(store(&directory.path().join("empty")).back_up(&directory.path().join("copy")), Cause::TokenNotRecognized);
    assert_eq!(names(directory.path()), ["copy.tmp", "empty", "there", "token.db", "token.db-shm", "token.db-wal"]);
}

#[test]
fn what_others_write_while_a_copy_is_put_back_is_in_one_place_or_the_other() {
    let (directory, path) = initialised();
    let open = store(&path);
    open.insert(&[pair(9, 0), pair(9, 1)].concat()).unwrap();
    let copy = directory.path().join("copy.db");
    open.back_up(&copy).unwrap();
    let held = ids(&copy);
    let (kept, written) = while_others_write(&path, || {
        (0..5).map(|_| open.restore(&copy, &path).unwrap().expect("a token was there")).collect::<Vec<_>>()
    });
    let names: Vec<_> = kept.iter().map(|kept| kept.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names[0], "token.db.before-restore");
    assert_eq!(names[4], "token.db.before-restore-5");
    // Who has the store open, sees what is there now.
    let now: BTreeSet<_> = all(&*open, &Query::default()).into_iter().collect();
    assert_eq!(now, ids(&path));
    let mut found = now.clone();
    for kept in &kept {
        assert!(has_whole_pairs(&ids(kept)) && ids(kept).is_superset(&held));
        assert_sound(kept);
        found.extend(ids(kept));
    }
    assert!(now.is_superset(&held) && has_whole_pairs(&now));
    assert_eq!(found, written.union(&held).copied().collect(), "what was acknowledged is somewhere");
    drop(open);
    assert_sound(&path);
}

#[test]
fn a_change_that_was_begun_before_does_not_fit_what_was_put_back() {
    let (directory, path) = initialised();
    let open = store(&path);
    let [object, gone] = pair(0, 0);
    open.insert(&[object.clone(), gone.clone()]).unwrap();
    let copy = directory.path().join("copy.db");
    open.back_up(&copy).unwrap();
    open.delete(&gone.id, None).unwrap();
    for _ in 0..3 {
        let seen = open.get(&object.id).unwrap().unwrap();
        open.update(&seen).unwrap();
    }
    let (seen, seen_token) = (open.get(&object.id).unwrap().unwrap(), open.token().unwrap().unwrap());
    let counter = open.change_counter().unwrap();
    open.restore(&copy, &path).unwrap();
    assert!(open.change_counter().unwrap() > counter);
    refused(open.update(&seen), Cause::StoreConflict);
    refused(open.update_token(&seen_token), Cause::StoreConflict);
    // It is there again, and can be found, changed and deleted as ever.
    assert_eq!(all(&*open, &by(ID, &object.attributes[&ID])).len(), 2);
    let back = open.get(&gone.id).unwrap().unwrap();
    assert_eq!(back.attributes, gone.attributes);
    assert_eq!(open.update(&back), Ok(back.version + 1));
    open.delete(&gone.id, Some(back.version + 1)).unwrap();
    open.insert(&pair(1, 0)).unwrap();
    assert_eq!(open.check(), Ok(3));
}

#[test]
fn a_damaged_store_is_moved_aside_as_it_is() {
    for damage in ["head", "page", "schema"] {
        let (directory, path) = initialised();
        store(&path).insert(&(0..40).flat_map(|number| pair(0, number)).collect::<Vec<_>>()).unwrap();
        let copy = directory.path().join("copy.db");
        store(&path).back_up(&copy).unwrap();
        Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        match damage {
            "head" => bytes[..100].fill(0x55),
            "page" => bytes[3 * 4096..8 * 4096].fill(0x55),
            _ => Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap(),
        }
        if damage != "schema" {
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let mode = path.metadata().unwrap().permissions().mode();
        let found = fs::read(&path).unwrap();
        let open = store(&path);
        refused(open.check(), Cause::StoreCorrupt);
        let kept = open.restore(&copy, &path).unwrap().unwrap();
        assert_eq!(fs::read(kept).unwrap(), found, "{damage}");
        assert_eq!(open.check(), Ok(80), "{damage}");
        assert_eq!(path.metadata().unwrap().permissions().mode(), mode);
        drop(open);
        assert_sound(&path);
    }
}

#[test]
fn what_is_no_copy_changes_nothing() {
    let (directory, path) = initialised();
    let open = store(&path);
    open.insert(&pair(0, 0)).unwrap();
    let file = |name: &str| directory.path().join(name);
    open.back_up(&file("newer")).unwrap();
    Connection::open(file("newer")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    open.back_up(&file("cut")).unwrap();
    let cut = fs::read(file("cut")).unwrap();
    fs::write(file("cut"), &cut[..cut.len() / 2]).unwrap();
    for (name, edit) in [
        ("far", "UPDATE object SET version = 9223372036854775807"),
        ("before", "UPDATE token SET version = -1"),
        ("counted", "UPDATE state SET counter = 9223372036854775807"),
    ] {
        open.back_up(&file(name)).unwrap();
        Connection::open(file(name)).unwrap().execute_batch(edit).unwrap();
    }
    fs::write(file("text"), "not a database, and long enough to be looked at as one. ".repeat(100)).unwrap();
    fs::write(file("empty"), "").unwrap();
    let before = ids(&path);
    for (name, cause) in [
        ("newer", Cause::StoreNewer),
        ("cut", Cause::StoreCorrupt),
        ("far", Cause::StoreCorrupt),
        ("before", Cause::StoreCorrupt),
        ("counted", Cause::StoreCorrupt),
        ("text", Cause::StoreCorrupt),
        ("empty", Cause::TokenNotRecognized),
        ("none", Cause::TokenNotRecognized),
    ] {
        refused(open.restore(&file(name), &path), cause);
        assert_eq!(ids(&path), before, "{name}");
    }
    assert!(!names(directory.path()).iter().any(|name| name.contains("before-restore")));
}

#[test]
fn a_copy_is_put_where_there_was_nothing() {
    let (directory, path) = initialised();
    store(&path).insert(&pair(0, 0)).unwrap();
    let copy = directory.path().join("copy.db");
    store(&path).back_up(&copy).unwrap();
    let new = directory.path().join("new/place/token.db");
    let open = store(&new);
    assert_eq!(open.token(), Ok(None));
    assert_eq!(open.restore(&copy, &new), Ok(None));
    assert_eq!(open.token().unwrap().unwrap().serial, token().serial);
    assert_eq!(ids(&new), ids(&path));
    assert_eq!(new.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mode: String = Connection::open(&new).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

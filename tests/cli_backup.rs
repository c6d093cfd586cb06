//! Backup and restore, by the operator's tool.

mod tool;

use cryptoki_sys::*;
use datakey::mechanism::Given;
use datakey::session::{Outcome, Room, Sessions, Slot, Who};
use datakey::token::User;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tool::Setup;

fn labels(setup: &Setup) -> Vec<String> {
    let keys = setup.ok(&["key", "list"]);
    let keys = keys["keys"].as_array().unwrap().iter().filter(|key| key["class"] != "public");
    keys.map(|key| key["label"].as_str().unwrap().to_owned()).collect()
}

fn generate(setup: &Setup, label: &str) {
    setup.ok(&["key", "generate", "--type", "p-256", "--label", label]);
}

/// The files in the setup's folder whose names begin with this.
fn files(setup: &Setup, start: &str) -> Vec<String> {
    let entries = fs::read_dir(setup.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

#[test]
fn a_backup_brings_back_what_was_destroyed() {
    let setup = Setup::embedded("").initialised();
    generate(&setup, "one");
    generate(&setup, "two");
    // Neither asks for a PIN.
    let setup = setup.without("DATAKEY_PKCS11_PIN");
    let made = setup.ok(&["backup", "copy.db"]);
    assert_eq!((made["objects"].as_u64(), made["label"].as_str()), (Some(4), Some("test")));
    assert_eq!(setup.path("copy.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(setup.fails(&["backup", "copy.db"]).contains("is not overwritten"));
    assert!(setup.fails(&["restore", "copy.db"]).contains("--replace"));

    let setup = setup.with("DATAKEY_PKCS11_PIN", tool::USER_PIN);
    setup.ok(&["key", "destroy", "one", "--yes"]);
    generate(&setup, "three");
    assert_eq!(labels(&setup), ["two", "three"]);
    let restored = setup.ok(&["restore", "copy.db", "--replace"]);
    assert_eq!((&restored["serial"], &restored["objects"]), (&made["serial"], &made["objects"]));
    assert_eq!(labels(&setup), ["one", "two"]);
    assert_eq!(setup.ok(&["verify"])["checked"], 4);
    generate(&setup, "four");

    // And there is a way back.
    let kept = restored["kept"].as_str().unwrap();
    assert!(kept.ends_with("token.db.before-restore"), "{kept}");
    let run = setup.run(&["restore", kept, "--replace"]);
    assert!(run.success && run.out.contains("what was there is") && run.out.contains("before-restore-2"), "{run:?}");
    assert_eq!(labels(&setup), ["two", "three"]);
    assert_eq!(setup.ok(&["verify"])["failed"].as_array().unwrap().len(), 0);
    assert_eq!(files(&setup, "token.db.restoring"), [""; 0]);
}

#[test]
fn a_host_at_work_sees_what_was_put_back() {
    let setup = Setup::embedded("").initialised();
    generate(&setup, "one");
    setup.ok(&["backup", "copy.db"]);
    let sessions = Sessions::default();
    let slot = Arc::new(Slot::new(0, setup.token()));
    let session = sessions.get(sessions.open(&slot, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap()).unwrap();
    session.login(Who::User(User::User), tool::USER_PIN.as_bytes()).unwrap();
    let class = CKO_PRIVATE_KEY.to_ne_bytes();
    let find = |label: &[u8]| {
        session.find_init(&[(CKA_CLASS, &class), (CKA_LABEL, label)]).unwrap();
        let found = session.find(10).unwrap();
        session.find_final().unwrap();
        found
    };
    let sign = |key| {
        session.sign_init(CKM_ECDSA_SHA256, || Ok(Given::Nothing), key).unwrap();
        assert!(matches!(session.sign(Ok(b"data"), Room::Bytes(64)), Ok(Outcome::Done(_))));
    };
    let one = find(b"one")[0];
    sign(one);
    session.destroy_object(one).unwrap();
    generate(&setup, "two");
    assert_eq!((find(b"one").len(), find(b"two").len()), (0, 1));
    setup.ok(&["restore", "copy.db", "--replace"]);
    assert_eq!((find(b"one").len(), find(b"two").len()), (1, 0));
    sign(find(b"one")[0]);
    session.destroy_object(find(b"one")[0]).unwrap();
}

#[test]
fn a_new_host_gets_the_token_of_the_old_one() {
    let setup = Setup::embedded("login = \"none\"");
    assert!(setup.fails(&["backup", "copy.db"]).contains("nothing to copy"));
    setup.ok(&["token", "init"]);
    generate(&setup, "one");
    setup.ok(&["backup", "copy.db"]);
    for name in files(&setup, "token.db") {
        fs::remove_file(setup.path(&name)).unwrap();
    }
    let restored = setup.ok(&["restore", "copy.db"]);
    assert!(restored["kept"].is_null());
    assert_eq!(setup.ok(&["verify"])["checked"], 2);
    assert_eq!(files(&setup, "copy.db"), ["copy.db"]);
}

#[test]
fn another_token_and_one_that_nobody_can_read_take_force() {
    let (one, two) = (Setup::embedded("").initialised(), Setup::embedded("").initialised());
    generate(&two, "two");
    let copy = one.path("copy.db").display().to_string();
    let serial = one.ok(&["backup", &copy])["serial"].as_str().unwrap().to_owned();
    let message = two.fails(&["restore", &copy, "--replace"]);
    assert!(message.contains(&serial) && message.contains("--force"), "{message}");
    assert_eq!(labels(&two), ["two"]);
    assert!(!two.run(&["restore", &copy, "--force"]).success, "--force alone says nothing");
    assert_eq!(two.ok(&["restore", &copy, "--replace", "--force"])["serial"], serial.as_str());

    fs::write(one.store(), "no store any more. ".repeat(1000)).unwrap();
    for flags in [&[][..], &["--replace"]] {
        let message = one.fails(&[&["restore", &copy], flags].concat());
        assert!(message.contains("cannot be read") && message.contains("--force"), "{message}");
    }
    one.ok(&["restore", &copy, "--replace", "--force"]);
    assert_eq!(one.ok(&["verify"])["checked"], 0);
    assert!(fs::read(one.path("token.db.before-restore")).unwrap().starts_with(b"no store any more"));
}

#[test]
fn a_file_is_checked_before_anything_is_touched_and_stays_as_it_is() {
    let setup = Setup::embedded("login = \"none\"");
    setup.ok(&["token", "init"]);
    generate(&setup, "one");
    for name in ["newer.db", "cut.db"] {
        setup.ok(&["backup", name]);
    }
    Connection::open(setup.path("newer.db")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let cut = fs::read(setup.path("cut.db")).unwrap();
    fs::write(setup.path("cut.db"), &cut[..cut.len() / 2]).unwrap();
    fs::write(setup.path("text"), "no database. ".repeat(1000)).unwrap();
    fs::write(setup.path("empty"), "").unwrap();
    for (name, words) in [
        ("newer.db", "newer version"),
        ("cut.db", "damaged"),
        ("text", "not"),
        ("empty", "not initialised"),
        ("none", "No such file"),
    ] {
        let before = fs::read(setup.path(name)).ok();
        let message = setup.fails(&["restore", name, "--replace", "--force"]);
        assert!(message.contains(words), "{name}: {message}");
        assert_eq!(fs::read(setup.path(name)).ok(), before, "{name}");
    }
    assert_eq!(files(&setup, "token.db"), ["token.db", "token.db-shm", "token.db-wal"]);
    assert_eq!(labels(&setup), ["one"]);

    // A backup of an older version is brought up to date on the way, not in its place.
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    let dump = fs::read_to_string(fixtures.join("none.sql")).unwrap();
    Connection::open(setup.path("old.db")).unwrap().execute_batch(&dump).unwrap();
    fs::set_permissions(setup.path("old.db"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(fixtures.join("none.kms.json"), setup.path("kms.json")).unwrap();
    let before = fs::read(setup.path("old.db")).unwrap();
    setup.ok(&["restore", "old.db", "--replace", "--force"]);
    assert_eq!(fs::read(setup.path("old.db")).unwrap(), before);
    assert_eq!(files(&setup, "old.db")[..], ["old.db"]);
    assert_eq!(labels(&setup), ["web", "box"]);
    assert_eq!(setup.ok(&["verify"])["failed"].as_array().unwrap().len(), 0);
}

#[test]
fn a_restore_that_is_killed_has_done_all_or_nothing() {
    let setup = Setup::embedded("login = \"none\"");
    setup.ok(&["token", "init"]);
    generate(&setup, "one");
    setup.ok(&["backup", "copy.db"]);
    let serial = setup.ok(&["token", "show"])["serial"].clone();
    let (mut killed, mut done, mut left) = (0, 0, 0);
    for round in 0..12_u64 {
        generate(&setup, "later");
        let before = labels(&setup);
        let mut command = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        command.env_clear().envs(setup.environment.iter().map(|(name, value)| (name, value)));
        command.args(["restore", "copy.db", "--replace"]).current_dir(setup.path(""));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The lock is taken, and what is there was copied: now everything is being replaced.
        let kept = setup.path("token.db.before-restore");
        while !kept.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(2 * round));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let after = labels(&setup);
        assert!(after == before || after == ["one"], "{after:?}");
        done += u32::from(after == ["one"]);
        fs::remove_file(kept).unwrap();
        assert_eq!(setup.ok(&["token", "show"])["serial"], serial);
        left += u32::from(setup.path("token.db.restoring").exists());
    }
    println!("{killed} of 12 killed, {done} had put the copy back, {left} left a folder");
    assert!(killed > 0 && left > 0);
    // What was left is taken over, and cleared away.
    setup.ok(&["restore", "copy.db", "--replace"]);
    assert_eq!(labels(&setup), ["one"]);
    assert_eq!(files(&setup, "token.db.restoring"), [""; 0]);
    setup.token().check_store().unwrap();
}

#[test]
fn of_two_restores_at_once_one_is_told_of_the_other() {
    let setup = Setup::embedded("login = \"none\"");
    setup.ok(&["token", "init"]);
    setup.ok(&["backup", "copy.db"]);
    let folder = setup.path("token.db.restoring");
    fs::create_dir(&folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(folder.join("store.db"), "another restore's").unwrap();
    assert!(setup.fails(&["restore", "copy.db", "--replace"]).contains("another restore of this store is at work"));
    assert_eq!(fs::read(folder.join("store.db")).unwrap(), b"another restore's");
    // It ended, one way or another.
    drop(lock);
    setup.ok(&["restore", "copy.db", "--replace"]);
    assert!(!folder.exists());
}

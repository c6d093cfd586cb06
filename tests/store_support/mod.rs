//! What the store's tests share: records, stores, and a `main` that runs tests one at a time and can be
//! started again in another role.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use datakey::config::{LoginMode, StoreLocation};
use datakey::error::Cause;
use datakey::store::{ObjectId, ObjectRecord, Query, Store, TokenRecord, open};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub(crate) const LABEL: u64 = 3;
pub(crate) const ID: u64 = 0x102;

pub(crate) fn store(path: &Path) -> Box<dyn Store> {
    open(&StoreLocation::Sqlite(path.to_owned())).unwrap()
}

pub(crate) fn token() -> TokenRecord {
    TokenRecord {
        version: 1,
        serial: "0123456789abcdef".into(),
        label: "test".into(),
        login: LoginMode::None,
        so_pin: None,
        user_pin: None,
        sealed_token_key: None,
        mac: None,
        created: 0,
        changed: 0,
    }
}

/// A store that is initialised, in a directory of its own.
pub(crate) fn initialised() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.db");
    store(&path).initialise(&token(), None).unwrap();
    (directory, path)
}

/// Object `number` of writer `writer`, a public or a private half.
pub(crate) fn object(writer: u32, number: u32, half: u8) -> ObjectRecord {
    let mut bytes = [half; 16];
    bytes[..4].copy_from_slice(&writer.to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    let attributes = [
        (0, u64::from(2 + half).to_be_bytes().to_vec()),
        (LABEL, format!("writer {writer}").into_bytes()),
        (ID, bytes[..8].to_vec()),
        (0x129, bytes.repeat(6)),
        (0x8000_0001, vec![half; 900]),
    ];
    ObjectRecord { id: ObjectId::from_bytes(bytes), version: 1, attributes: attributes.into(), sealed: None, mac: None }
}

pub(crate) fn pair(writer: u32, number: u32) -> [ObjectRecord; 2] {
    [object(writer, number, 0), object(writer, number, 1)]
}

pub(crate) fn by(kind: u64, value: &[u8]) -> Query {
    Query { equal: vec![(kind, value.to_vec())], ..Query::default() }
}

/// All that a query finds.
pub(crate) fn all(store: &dyn Store, query: &Query) -> Vec<ObjectId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.find(query, after, 500).unwrap();
        ids.extend(page.ids);
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

/// SQLite's own judgement of a file that no one has open.
pub(crate) fn assert_sound(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let torn: i64 = connection
        .query_row(
            "SELECT (SELECT count(*) FROM object) - (SELECT count(*) FROM object JOIN record USING (seq))
                  + (SELECT count(*) FROM lookup WHERE seq NOT IN (SELECT seq FROM object))",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(torn, 0, "rows without their other half");
}

/// Starts this program again as `role`.
pub(crate) fn start(role: &str, path: &Path, more: &[&str]) -> Child {
    command(role, path, more).spawn().unwrap()
}

pub(crate) fn command(role: &str, path: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(format!("role:{role}")).arg(path).args(more).stdin(Stdio::null());
    command
}

pub(crate) fn succeeds(mut child: Child) {
    assert!(child.wait().unwrap().success());
}

/// Inserts pairs, deletes one half of each and counts in the token's record.
pub(crate) fn write_pairs(store: &dyn Store, writer: u32, pairs: u32) {
    for number in 0..pairs {
        let pair = pair(writer, number);
        store.insert(&pair).unwrap();
        assert_eq!(all(store, &by(ID, &pair[0].attributes[&ID])), [pair[0].id, pair[1].id]);
        store.delete(&pair[1].id, Some(1)).unwrap();
        loop {
            let mut token = store.token().unwrap().unwrap();
            token.changed += 1;
            match store.update_token(&token) {
                Ok(_) => break,
                Err(e) => assert_eq!(e.cause(), Cause::StoreConflict),
            }
        }
    }
}

/// Initialises the token; the exit status tells whether this process did it (10) or another (11).
pub(crate) fn create_and_exit(store: &dyn Store) -> ! {
    let code = match store.initialise(&token(), None) {
        Ok(()) => 10,
        Err(e) if e.cause() == Cause::StoreConflict => 11,
        Err(e) => panic!("{e}"),
    };
    assert!(store.token().unwrap().is_some());
    std::process::exit(code);
}

pub(crate) type Test = (&'static str, fn());
pub(crate) type Role = (&'static str, fn(&Path, &[String]));

/// Runs a role, or all tests whose names contain the first argument. One that fails ends the program.
pub(crate) fn main(tests: &[Test], roles: &[Role]) {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    if let Some(name) = first.strip_prefix("role:") {
        let rest: Vec<String> = arguments.collect();
        let (_, role) = roles.iter().find(|(role, _)| *role == name).expect("an unknown role");
        return role(Path::new(&rest[0]), &rest[1..]);
    }
    if std::env::args().any(|argument| argument == "--list") {
        return tests.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    let filter = if first.starts_with('-') { "" } else { &first };
    let mut passed = 0;
    for (name, test) in tests.iter().filter(|(name, _)| name.contains(filter)) {
        let started = Instant::now();
        test();
        println!("test {name} ... ok ({:.1} s)", started.elapsed().as_secs_f64());
        passed += 1;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed");
}

//! Stores as they are before something happens to them, copies of them, and what is in a copy afterwards.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use crate::hosts::{Host, command};
use cryptoki_sys::{CKA_CLASS, CKA_ID};
use datakey::config::StoreLocation;
use datakey::store::{self, Query, Store, TokenRecord};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) const SO_PIN: &str = "so-pin-1";
pub(crate) const PIN: &str = "user-pin-1";

/// What a store is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    /// There is none, nor its directory.
    Nothing,
    /// A token with a pair "key", a pair "gone" and an AES key "box", closed by its last user.
    Closed,
    /// The same, and its last user was killed: all is in the log.
    Killed,
    /// The same, closed, and a wrong PIN was counted.
    Counted,
    /// A token in the format of an earlier version.
    Older,
}

/// A store that is copied, and never changed.
pub(crate) struct Base {
    place: Place,
    pub(crate) token: Option<TokenRecord>,
}

/// A folder with a configuration, the keys of an embedded KMS, and a folder with the store.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// Where writing to the disk costs nothing, if there is such a place: what is asked here is not whether it was.
fn new_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: new_folder() };
        let text = format!(
            "[log]\nlevel = \"off\"\n[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\nkms = \"embedded:{}\"\n",
            place.store().display(),
            place.keys().display()
        );
        fs::write(place.configuration(), text).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("datakey-pkcs11.toml")
    }

    fn keys(&self) -> PathBuf {
        self.path("kms.json")
    }

    /// The folder that holds the store and nothing else.
    pub(crate) fn disk(&self) -> PathBuf {
        self.path("disk")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("disk/token.db")
    }

    /// What is in the store: a line for each thing that can be there or not. `base` is the token as it was before.
    pub(crate) fn summary(&self, base: Option<&TokenRecord>) -> Vec<String> {
        summary(&self.store(), base)
    }
}

/// Makes an empty folder, and copies the files of another.
fn copy_folder(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

impl Base {
    /// `program` is `host.c`.
    pub(crate) fn new(start: Start, program: &Path) -> Self {
        let place = Place::new();
        match start {
            Start::Nothing => return Self { place, token: None },
            Start::Older => older(&place),
            Start::Closed | Start::Killed | Start::Counted => {
                let mut host = Host::spawn(command(program, &place.configuration()));
                let furnish = [
                    "initialise",
                    &format!("init-token {SO_PIN}"),
                    "open",
                    &format!("login-so {SO_PIN}"),
                    &format!("init-pin {PIN}"),
                    "logout",
                    &format!("login {PIN}"),
                    "generate p256 key",
                    "generate p256 gone",
                    "create box",
                ];
                furnish.iter().for_each(|command| drop(host.ok(command)));
                if start == Start::Counted {
                    host.ok("logout");
                    assert_eq!(host.ask("login wrong-pin").1, 0xa0);
                }
                match start {
                    Start::Killed => host.kill(),
                    _ => drop(host.ok("finalise")),
                }
            }
        }
        // Looked at in a copy: to look is to open.
        let copy = Self { place, token: None };
        let token = store::open(&StoreLocation::Sqlite(copy.place().store())).unwrap().token().unwrap();
        Self { token, ..copy }
    }

    /// A copy of it.
    pub(crate) fn place(&self) -> Place {
        let place = Place::new();
        if self.place.disk().exists() {
            copy_folder(&self.place.disk(), &place.disk());
        }
        if self.place.keys().exists() {
            fs::copy(self.place.keys(), place.keys()).unwrap();
        }
        place
    }
}

/// The token of `fixtures/format-1`.
fn older(place: &Place) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    fs::DirBuilder::new().mode(0o700).create(place.disk()).unwrap();
    let dump = fs::read_to_string(fixtures.join("pin.sql")).unwrap();
    rusqlite::Connection::open(place.store()).unwrap().execute_batch(&dump).unwrap();
    fs::copy(fixtures.join("pin.kms.json"), place.keys()).unwrap();
    for file in [place.store(), place.keys()] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// See [`Place::summary`].
pub(crate) fn summary(file: &Path, base: Option<&TokenRecord>) -> Vec<String> {
    if !file.exists() || file.metadata().unwrap().len() == 0 {
        return vec!["no token".to_owned()];
    }
    let raw = rusqlite::Connection::open(file).unwrap();
    let number = |pragma: &str| raw.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0)).unwrap();
    let format = number("user_version");
    let verdict: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let store = store::open(&StoreLocation::Sqlite(file.to_owned())).unwrap();
    let Some(token) = store.token().unwrap() else { return vec!["no token".to_owned()] };
    let same = |is_same: bool| if is_same { "as it was" } else { "another" };
    let mut lines = vec![
        format!("format {format}"),
        format!("serial {}", same(base.is_some_and(|base| base.serial == token.serial))),
    ];
    for (name, pin, before) in [
        ("SO PIN", &token.so_pin, base.and_then(|base| base.so_pin.as_ref())),
        ("PIN", &token.user_pin, base.and_then(|base| base.user_pin.as_ref())),
    ] {
        lines.push(match pin {
            None => format!("no {name}"),
            Some(pin) => {
                let is_same = before.is_some_and(|before| before.salt == pin.salt);
                format!("{name} {}, {} wrong", same(is_same), pin.failed_attempts)
            }
        });
    }
    lines.extend(objects(&*store));
    lines
}

/// Each object: its class, id and version.
fn objects(store: &dyn Store) -> Vec<String> {
    let ids = store.find(&Query::default(), None, 1000).unwrap().ids;
    let line = |id| {
        let object = store.get(id).unwrap().unwrap();
        let class = u64::from_be_bytes(object.attributes[&CKA_CLASS][..].try_into().unwrap());
        let id = object.attributes.get(&CKA_ID).map_or_else(String::new, |id| String::from_utf8_lossy(id).into_owned());
        format!("object {class}:{id} version {}", object.version)
    };
    let mut lines: Vec<_> = ids.iter().map(line).collect();
    lines.sort();
    lines
}

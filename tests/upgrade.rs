//! Tokens that an earlier version made: their objects stay usable, and get what vouches for them.
//!
//! `fixtures/format-1` holds two such tokens as SQLite's shell dumps them, with the keys of their embedded KMS: one with
//! PINs, one without. Each has a P-256 pair and a certificate "web" (CKA_ID 01), an AES key "box" (02) and a private data
//! object "note", made by pkcs11-tool with the module as it was then.

mod host;
mod objects;

use cryptoki_sys::*;
use datakey::config::StoreLocation;
use datakey::store::{self, ObjectRecord, Query, Store};
use host::steps::{run, say, step};
use host::{Module, Place, SO_PIN, USER_PIN, alone, attr, call};
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The token of a fixture, in a place of its own.
fn old_token(login: &str) -> Place {
    let place = Place::embedded(&format!("login = \"{login}\"\n[log]\nlevel = \"warn\""));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    let dump = std::fs::read_to_string(fixtures.join(format!("{login}.sql"))).unwrap();
    Connection::open(place.store()).unwrap().execute_batch(&dump).unwrap();
    let keys = place.folder().join("kms.json");
    std::fs::copy(fixtures.join(format!("{login}.kms.json")), &keys).unwrap();
    for file in [place.store(), keys] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    place
}

fn open(place: &Place) -> Box<dyn Store> {
    store::open(&StoreLocation::Sqlite(place.store())).unwrap()
}

fn all(store: &dyn Store) -> Vec<ObjectRecord> {
    let ids = store.find(&Query::default(), None, 100).unwrap().ids;
    ids.iter().map(|id| store.get(id).unwrap().unwrap()).collect()
}

/// The format of the file, and of its backup.
fn formats(place: &Place) -> [i64; 2] {
    let backup = place.folder().join("token.db.backup-v1");
    [place.store(), backup]
        .map(|file| Connection::open(file).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap())
}

/// What a step of its own process does with the token.
fn steps() -> bool {
    let Some(what) = step() else { return false };
    let module = Module::start_step();
    let session = module.open(true);
    let answer = match what.as_str() {
        "use" => match module.try_login(session, CKU_USER, USER_PIN) {
            CKR_OK => sign(module, session),
            rv => rv,
        },
        "officer" => module.try_login(session, CKU_SO, SO_PIN),
        "look" => CKR_OK,
        other => unreachable!("{other}"),
    };
    say(format!("{answer:#x} {:#x}", module.device_error(session)));
    let labels = module.find(session, &[]).into_iter().map(|object| {
        let mut room = [0; 32];
        let mut label = attr(CKA_LABEL, &room);
        label.pValue = room.as_mut_ptr().cast();
        match call!(module, C_GetAttributeValue, session, object, &mut label, 1) {
            CKR_OK => String::from_utf8_lossy(&room[..label.ulValueLen as usize]).into_owned(),
            rv => format!("{rv:#x}"),
        }
    });
    let mut labels: Vec<_> = labels.collect();
    labels.sort();
    say(labels.join(" "));
    module.finalise();
    true
}

/// Signs with "web" and reads the note.
fn sign(module: Module, session: CK_SESSION_HANDLE) -> CK_RV {
    let class = CKO_PRIVATE_KEY.to_ne_bytes();
    let [key] = module.find(session, &[(CKA_CLASS, &class), (CKA_LABEL, b"web")])[..] else {
        return CKR_OBJECT_HANDLE_INVALID;
    };
    if let Err(rv) = module.sign(session, key, CKM_ECDSA_SHA256, b"data") {
        return rv;
    }
    let [note] = module.find(session, &[(CKA_LABEL, b"note")])[..] else { return CKR_OBJECT_HANDLE_INVALID };
    match module.get(session, note, CKA_VALUE) {
        Ok(value) if value == b"secret\n" => CKR_OK,
        Ok(_) => CKR_DATA_INVALID,
        Err(rv) => rv,
    }
}

fn uses(test: &str, what: &str, place: &Place) -> Vec<String> {
    run(test, what, &place.configuration())
}

const PUBLIC: &str = "box web web";
const WHOLE: &str = "box note web web web";

#[test]
fn with_pins() {
    const NAME: &str = "with_pins";
    if steps() || !alone(NAME) {
        return;
    }
    let place = old_token("pin");
    // Neither a look nor the officer, who cannot see all, vouches for anything.
    assert_eq!(uses(NAME, "look", &place), ["0x0 0x0", PUBLIC]);
    assert_eq!(formats(&place), [2, 1]);
    assert_eq!(uses(NAME, "officer", &place), ["0x0 0x0", PUBLIC]);
    let store = open(&place);
    assert!(all(&*store).iter().all(|object| object.mac.is_none()));
    // The user does, once.
    assert_eq!(uses(NAME, "use", &place), ["0x0 0x0", WHOLE]);
    let (objects, token) = (all(&*store), store.token().unwrap().unwrap());
    assert!(objects.len() == 5 && objects.iter().all(|object| object.mac.is_some() && object.version == 2));
    assert!(token.mac.is_some());
    assert_eq!(uses(NAME, "use", &place), ["0x0 0x0", WHOLE]);
    assert_eq!((all(&*store), store.token().unwrap()), (objects, Some(token.clone())));

    // From now on what lacks a MAC was tampered with, and no officer gives it a new one.
    let web = all(&*store).into_iter().find(|object| object.sealed.is_some()).unwrap();
    let renamed = ObjectRecord { mac: None, ..web.clone() };
    let version = store.update(&renamed).unwrap();
    assert_eq!(uses(NAME, "use", &place)[0], "0x30 0x207");
    assert_eq!(uses(NAME, "officer", &place)[0], "0x0 0x0");
    assert_eq!(uses(NAME, "use", &place)[0], "0x30 0x207");
    store.update(&ObjectRecord { version, ..web }).unwrap();
    assert_eq!(uses(NAME, "use", &place), ["0x0 0x0", WHOLE]);
    // The officer's PIN was kept in the present way at the login after the user's.
    let now = store.token().unwrap().unwrap();
    assert_ne!(now.so_pin, token.so_pin);
    assert_eq!((now.user_pin, now.mac), (token.user_pin, token.mac));
}

#[test]
fn without_pins() {
    const NAME: &str = "without_pins";
    if steps() || !alone(NAME) {
        return;
    }
    let place = old_token("none");
    assert_eq!(uses(NAME, "look", &place), ["0x0 0x0", WHOLE]);
    let store = open(&place);
    assert!(all(&*store).iter().all(|object| object.mac.is_none()));
    assert_eq!(uses(NAME, "use", &place), ["0x0 0x0", WHOLE]);
    let token = store.token().unwrap().unwrap();
    assert!(all(&*store).iter().all(|object| object.mac.is_some()));
    assert_eq!(token.sealed_token_key.as_ref().unwrap().context_version, 2);
    // To say that there never were MACs is to say that the token key was sealed for such a token.
    let mut older = token.clone();
    older.mac = None;
    older.sealed_token_key.as_mut().unwrap().context_version = 1;
    store.update_token(&older).unwrap();
    assert_eq!(uses(NAME, "use", &place)[0], "0x30 0x201");
}

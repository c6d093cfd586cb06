//! `verify`, by the operator's tool: every edit behind the token's back is found, and told of its object alone.

mod tool;

use cryptoki_sys::*;
use datakey::config::StoreLocation;
use datakey::crypto::{mac, password, seal_box};
use datakey::object::Look;
use datakey::store::{self, ObjectRecord, Query, Store, record};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use tool::{Setup, USER_PIN, nobody};

/// A token with a pair, a secret key, a key that counts, a certificate and a data object.
fn token(login: &str) -> Setup {
    let setup = Setup::embedded(&format!("login = \"{login}\""));
    let setup = if login == "pin" { setup.initialised() } else { setup };
    if login == "none" {
        setup.ok(&["token", "init"]);
    }
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "tls"]);
    setup.ok(&["key", "generate", "--type", "aes-256", "--label", "aes"]);
    setup.ok(&["cert", "self-sign", "tls", "--subject", "CN=x"]);
    setup.create(login, &[(CKA_CLASS, &CKO_DATA.to_ne_bytes()), (CKA_LABEL, b"note")]);
    setup.create_hotp(login);
    assert_eq!(setup.ok(&["verify"]), json!({"checked": 6, "failed": []}));
    setup
}

/// The store of a setup, and an object in it.
fn stored(setup: &Setup, class: CK_OBJECT_CLASS) -> (Box<dyn Store>, ObjectRecord) {
    let store = store::open(&StoreLocation::Sqlite(setup.store())).unwrap();
    let query = Query { equal: vec![(CKA_CLASS, class.to_be_bytes().to_vec())], ..Query::default() };
    let id = store.find(&query, None, 1).unwrap().ids[0];
    let record = store.get(&id).unwrap().unwrap();
    (store, record)
}

/// The MAC of an object, as somebody makes it who knows the PIN.
fn mac_of(store: &dyn Store, object: &ObjectRecord) -> store::Mac {
    let token = store.token().unwrap().unwrap();
    let pin = token.user_pin.as_ref().unwrap();
    let cost = password::Cost { memory_kib: pin.memory_kib, iterations: pin.iterations, lanes: pin.lanes };
    let key = password::derive(USER_PIN.as_bytes(), &pin.salt, cost).unwrap();
    let bound_to = format!("datakey-pkcs11 token key v2\0{}\0user", token.serial);
    let token_key = seal_box::open(key.expose(), bound_to.as_bytes(), &pin.wrapped_token_key).unwrap();
    let mut key = [0; 32];
    let (salt, info) = (token.serial.as_bytes(), b"datakey-pkcs11 record mac v1");
    mac::hkdf_sha256(token_key.expose(), salt, info, &mut key).unwrap();
    mac::hmac_sha256(&key, &[&record::vouched_object(&token.serial, object).unwrap()])
}

/// Checks that one object fails, this one, for this reason.
#[track_caller]
fn finds(setup: &Setup, id: &str, words: &str) {
    let run = setup.run(&["--json", "verify"]);
    let answer = run.json();
    let failed: &Vec<Value> = answer["failed"].as_array().unwrap_or_else(|| panic!("{words}: {run:?}"));
    assert!(!run.success && failed.len() == 1 && answer["checked"] == 6, "{words}: {answer:#}");
    assert_eq!(failed[0]["unique_id"], id);
    assert!(failed[0]["problem"].as_str().unwrap().contains(words), "{words}: {answer:#}");
    let human = setup.run(&["verify"]);
    assert!(human.out.contains(id) && human.out.ends_with("6 objects verified, 1 failed\n"), "{human:?}");
}

type Change = fn(&mut ObjectRecord);

/// An edit of an object, and what is found if the MAC was made anew by somebody who has the token key.
const EDITS: &[(CK_OBJECT_CLASS, Change, Option<&str>)] = &[
    (CKO_PRIVATE_KEY, |key| drop(key.attributes.insert(CKA_EXTRACTABLE, vec![1])), Some("does not open under")),
    (CKO_PRIVATE_KEY, |key| key.sealed.as_mut().unwrap().blob[20] ^= 1, Some("altered or moved")),
    (CKO_PRIVATE_KEY, |key| key.sealed = None, Some("damaged")),
    (CKO_SECRET_KEY, |key| drop(key.attributes.insert(CKA_LABEL, b"other".to_vec())), None),
    (CKO_OTP_KEY, |key| drop(key.attributes.insert(CKA_OTP_COUNTER, 9_u64.to_be_bytes().to_vec())), None),
    (CKO_OTP_KEY, |key| key.sealed.as_mut().unwrap().blob[20] ^= 1, Some("altered or moved")),
    (CKO_PUBLIC_KEY, |key| key.attributes.get_mut(&CKA_EC_POINT).unwrap()[10] ^= 1, Some("not true of it")),
    (CKO_CERTIFICATE, |cert| cert.attributes.get_mut(&CKA_VALUE).unwrap().truncate(50), Some("not a certificate")),
    (CKO_DATA, |data| drop(data.attributes.insert(CKA_LABEL, b"other".to_vec())), None),
];

#[test]
fn an_edit_without_the_token_key_is_told_of_its_object_alone() {
    for login in ["pin", "none"] {
        let setup = token(login);
        for (class, change, _) in EDITS {
            let (store, good) = stored(&setup, *class);
            let mut bad = good.clone();
            change(&mut bad);
            let version = store.update(&bad).unwrap();
            finds(&setup, &good.id.to_string(), "was altered");
            store.update(&ObjectRecord { version, ..good }).unwrap();
        }
        assert_eq!(setup.ok(&["verify"]), json!({"checked": 6, "failed": []}));
    }
}

#[test]
fn an_edit_by_who_has_the_token_key_is_found_where_kms_or_the_object_itself_tells() {
    let setup = token("pin");
    for (class, change, words) in EDITS {
        let Some(words) = words else { continue };
        let (store, good) = stored(&setup, *class);
        let mut bad = good.clone();
        change(&mut bad);
        bad.mac = Some(mac_of(&*store, &bad));
        assert!(bad.attributes.is(CKA_TOKEN));
        let version = store.update(&bad).unwrap();
        finds(&setup, &good.id.to_string(), words);
        store.update(&ObjectRecord { version, ..good }).unwrap();
    }
}

#[test]
fn a_record_that_nobody_can_read_is_told_by_its_id() {
    let setup = token("pin");
    let (_, object) = stored(&setup, CKO_PUBLIC_KEY);
    let edited = "UPDATE record SET record = x'00' WHERE seq = (SELECT seq FROM object WHERE id = ?1)";
    assert_eq!(Connection::open(setup.store()).unwrap().execute(edited, [object.id.as_bytes()]).unwrap(), 1);
    finds(&setup, &object.id.to_string(), "damaged");
}

#[test]
fn verify_says_nothing_of_keys_where_kms_is_not_there() {
    let setup = token("pin");
    let text = fs::read_to_string(setup.configuration()).unwrap();
    let at = text.find("kms = ").unwrap();
    let kms = format!("kms_key_id = \"alias/x\"\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n", nobody());
    let text = format!("{}{kms}timeouts = {{ total = \"500ms\" }}\n", &text[..at]);
    let setup = setup.written(&text).with("AWS_ACCESS_KEY_ID", "test").with("AWS_SECRET_ACCESS_KEY", "test");
    assert!(setup.fails(&["verify"]).contains("cannot be reached"));
}

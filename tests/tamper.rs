//! The store in the hands of somebody else: whatever is changed in it that decides what a key is or may
//! do, a new process that uses the key fails with the number that says why, and never signs.
//!
//! Two walls stand behind each other, and each is tried by itself. Whoever does not have the token key cannot make the
//! MAC of what he wrote (`without_the_token_key`). Whoever has it, which takes the PIN or the right to call KMS, meets
//! the seal, which binds what a key is and may do; names (`NAMES`) and what is for people to read are not part of it.
//! The counters by which writers notice each other stop nobody (`COLUMNS` in `tamper_bits`).

mod host;
mod support;
mod tamper_support;

use cryptoki_sys::*;
use datakey::config::{KmsBackend, LoginMode};
use datakey::kms::EncryptionContext;
use datakey::kms::embedded::{Embedded, InProcess};
use datakey::object::attribute::{self, Kind as ValueKind, ulong};
use datakey::object::rules::{Bound, Class};
use datakey::store::{ObjectRecord, SealedKey};
use host::steps::{say, step};
use host::{Kind, Module, Place, USER_PIN, alone, attr, call, check, mechanism};
use std::path::Path;
use std::sync::Arc;
use support::emulators::Emulator;
use tamper_support::Must::{Device, Refuse, Work};
use tamper_support::{Ending, Must, Victim, kms_config, nobody, token_key_context};

const BROKEN: Must = Device(0x201);
const WRONG_KEY: Must = Device(0x202);
const MISMATCH: Must = Device(0x203);
const TOKEN_KEY: Must = Device(0x205);
const CORRUPT: Must = Device(0x206);
const ALTERED: Must = Device(0x207);

/// Attributes of a private key that the MAC alone protects: names.
const NAMES: &[CK_ATTRIBUTE_TYPE] = &[CKA_LABEL, CKA_ID, CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE];

/// The steps that run in processes of their own.
fn steps() -> bool {
    match step().as_deref() {
        None => return false,
        Some("make") => make(),
        Some(using) => say(use_key(using.strip_prefix("use ").unwrap()).said()),
    }
    true
}

fn make() {
    let module = Module::start_step();
    module.make_token(!std::fs::read_to_string(configuration()).unwrap().contains("login = \"none\""));
    let session = module.enter();
    for id in [b"1", b"2"] {
        module.generate(session, Kind::P256, id);
    }
    module.finalise();
}

fn configuration() -> std::path::PathBuf {
    std::env::var_os("DATAKEY_PKCS11_CONF").unwrap().into()
}

/// Signs with the object whose CKA_UNIQUE_ID or record is this one; by any mechanism that might fit.
fn use_key(id: &str) -> Ending {
    let module = Module::start_step();
    let mut session = 0;
    let opened = call!(module, C_OpenSession, 0, CKF_SERIAL_SESSION, std::ptr::null_mut(), None, &mut session);
    if opened != CKR_OK {
        return Ending::Failed(opened, 0);
    }
    let login = module.try_login(session, CKU_USER, USER_PIN);
    if login != CKR_OK {
        return Ending::Failed(login, module.device_error(session));
    }
    // Not by its class or name, which may have been changed; the public half is tried as well, and refused.
    let mut ending = Ending::Failed(CKR_OBJECT_HANDLE_INVALID, 0);
    let by_id = module.find(session, &[(CKA_UNIQUE_ID, id.as_bytes())]);
    let all = module.find(session, &[(CKA_ID, b"1")]);
    // And whatever cannot be read: it might be the key.
    let unreadable = |key: &CK_OBJECT_HANDLE| {
        let mut wanted = attr(CKA_CLASS, &[]);
        wanted.pValue = std::ptr::null_mut();
        call!(module, C_GetAttributeValue, session, *key, &mut wanted, 1) == CKR_DEVICE_ERROR
    };
    let broken = module.find(session, &[]).into_iter().filter(unreadable);
    let mut keys: Vec<_> = by_id.into_iter().chain(all).chain(broken).collect();
    keys.dedup();
    for key in keys {
        for mechanism in [CKM_ECDSA_SHA256, CKM_SHA256_RSA_PKCS, CKM_EDDSA] {
            let next = match sign(module, session, key, mechanism) {
                Ok(signature) => return Ending::Signed(signature),
                // Of another error the session's number says nothing: it is an earlier call's.
                Err(rv) if rv == CKR_DEVICE_ERROR => Ending::Failed(rv, module.device_error(session)),
                Err(rv) => Ending::Failed(rv, 0),
            };
            // The error that says most: a device error, or else the first.
            let known = matches!(ending, Ending::Failed(rv, _) if rv != CKR_OBJECT_HANDLE_INVALID);
            if !known || matches!((&ending, &next), (Ending::Failed(_, 0), Ending::Failed(_, 1..))) {
                ending = next;
            }
        }
    }
    ending
}

/// Signs, with the login that an always-authenticate key wants.
fn sign(
    module: Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    by: CK_MECHANISM_TYPE,
) -> Result<Vec<u8>, CK_RV> {
    let mut mechanism = mechanism(by);
    check(call!(module, C_SignInit, session, &mut mechanism, key))?;
    let mut always = [0];
    let mut wanted = attr(CKA_ALWAYS_AUTHENTICATE, &always);
    wanted.pValue = always.as_mut_ptr().cast();
    if call!(module, C_GetAttributeValue, session, key, &mut wanted, 1) == CKR_OK && always == [1] {
        check(module.try_login(session, CKU_CONTEXT_SPECIFIC, USER_PIN))?;
    }
    let (mut signature, mut len) = (vec![0; 512], 512);
    check(call!(module, C_Sign, session, b"data".as_ptr().cast_mut(), 4, signature.as_mut_ptr(), &mut len))?;
    signature.truncate(len as usize);
    Ok(signature)
}

/// Each way to change one attribute: another value, no value, and a value where there was none.
fn variants(object: &ObjectRecord, which: CK_ATTRIBUTE_TYPE) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let Some(value) = object.attributes.get(&which) else {
        // As an attacker would: a list that allows what is to be done.
        assert_eq!(which, CKA_ALLOWED_MECHANISMS, "{} is not there", attribute::name(which));
        return vec![("added", Some(ulong(CKM_ECDSA_SHA256)))];
    };
    let mut other = value.clone();
    match other.last_mut() {
        Some(last) => *last ^= 1,
        None => other.extend(ulong(CKA_LABEL)),
    }
    let mut variants = vec![("changed", Some(other)), ("removed", None)];
    if attribute::kind(which) == Some(ValueKind::Bool) {
        variants.push(("widened", Some([value.as_slice(), &[0]].concat())));
    }
    variants
}

/// What a change of a bound attribute comes to where it is not the seal that refuses, or not as broken.
fn must(which: CK_ATTRIBUTE_TYPE, variant: &str) -> Must {
    match (which, variant) {
        (CKA_CLASS, "changed") => Refuse(CKR_KEY_FUNCTION_NOT_PERMITTED),
        (CKA_CLASS, _) => Refuse(CKR_KEY_HANDLE_INVALID),
        (CKA_KEY_TYPE, _) => Refuse(CKR_KEY_TYPE_INCONSISTENT),
        (CKA_SIGN, _) => Refuse(CKR_KEY_FUNCTION_NOT_PERMITTED),
        _ => BROKEN,
    }
}

fn attributes(victim: &mut Victim) {
    let class = Class::of(CKO_PRIVATE_KEY, Some(CKK_EC)).unwrap();
    let mut bound = 0;
    for rule in class.rules().filter(|rule| !rule.secret && !rule.seal) {
        let name = attribute::name(rule.attribute);
        for (variant, value) in variants(&victim.one.clone(), rule.attribute) {
            let must = match (rule.bound, rule.attribute, variant) {
                (Bound::Policy | Bound::Usage(_), which, variant) => {
                    bound += 1;
                    must(which, variant)
                }
                (Bound::No, CKA_UNIQUE_ID, _) => CORRUPT,
                // Of a key that cannot be read there is nothing to compare.
                (Bound::No, CKA_PUBLIC_KEY_INFO, _) => CORRUPT,
                (Bound::No, CKA_EC_PARAMS, _) => MISMATCH,
                (Bound::No, which, _) => {
                    assert!(NAMES.contains(&which), "{name} is neither bound nor on the list");
                    Work
                }
            };
            // A false usage that is lost, or has another false value, is no other usage.
            let is_false = victim.one.attributes.get(&rule.attribute).is_some_and(|value| value == &[0]);
            let usage = matches!(rule.bound, Bound::Usage(_));
            let must = if usage && is_false && variant != "changed" { Work } else { must };
            victim.edit(&format!("{name} {variant}"), must, |record| match value {
                Some(value) => drop(record.attributes.insert(rule.attribute, value)),
                None => drop(record.attributes.remove(&rule.attribute)),
            });
        }
    }
    assert!(bound > 40, "{bound} changes of bound attributes");
}

/// By somebody who can write the store and has no token key: nothing at all.
fn without_the_token_key(victim: &mut Victim) {
    let class = Class::of(CKO_PRIVATE_KEY, Some(CKK_EC)).unwrap();
    let unsealed = class.rules().filter(|rule| !rule.secret && !rule.seal).map(|rule| rule.attribute);
    let pins = victim.token.login == LoginMode::Pin;
    for which in unsealed.collect::<Vec<_>>() {
        for (variant, value) in variants(&victim.one.clone(), which) {
            // Without PINs the first use of a key brings the token key: what is refused before it is refused.
            let must = match must(which, variant) {
                refused @ Refuse(_) if !pins => refused,
                // An object that says that it belongs to a session has no MAC; the seal says that it does not.
                _ if which == CKA_TOKEN && !pins => BROKEN,
                _ if which == CKA_PUBLIC_KEY_INFO && !pins => CORRUPT,
                _ => ALTERED,
            };
            victim.edit_without_key(&format!("{} {variant}", attribute::name(which)), must, |record| match &value {
                Some(value) => drop(record.attributes.insert(which, value.clone())),
                None => drop(record.attributes.remove(&which)),
            });
        }
    }
    victim.edit_without_key("the KMS key's ARN", ALTERED, |record| sealed(record).kms_key_arn.push('x'));
    victim.edit_without_key("the user's pairs", ALTERED, |record| sealed(record).user_context.clear());
    victim.edit_without_key("the blob", ALTERED, |record| sealed(record).blob[20] ^= 1);
    let two = victim.two.clone();
    victim.edit_without_key("another key's name", ALTERED, |record| {
        record.attributes.insert(CKA_LABEL, two.attributes[&CKA_LABEL].clone());
        record.attributes.insert(CKA_ID, two.attributes[&CKA_ID].clone());
    });
    victim.edit_token_without_key("the label", ALTERED, |token| token.label.push('x'));
    victim.edit_token_without_key("when it was made", ALTERED, |token| token.created += 1);
    victim.edit_token_without_key("its MAC", ALTERED, |token| token.mac.as_mut().unwrap()[31] ^= 1);
    victim.edit_token_without_key("no MAC", ALTERED, |token| token.mac = None);
    victim.edit_token_without_key("when it was changed", Work, |token| token.changed += 1);
}

fn public_keys(victim: &mut Victim) {
    let two = victim.two.clone();
    let spki = two.attributes[&CKA_PUBLIC_KEY_INFO].clone();
    victim.edit("the public key of another key", MISMATCH, |record| {
        record.attributes.insert(CKA_PUBLIC_KEY_INFO, spki);
    });
    // Another curve is another spec, which the context names.
    let p384 = vec![6, 5, 0x2b, 0x81, 4, 0, 34];
    victim.edit("another curve", BROKEN, |record| drop(record.attributes.insert(CKA_EC_PARAMS, p384)));
}

fn sealed(record: &mut ObjectRecord) -> &mut SealedKey {
    record.sealed.as_mut().unwrap()
}

fn blobs(victim: &mut Victim, foreign: &dyn Fn(&[u8], &EncryptionContext) -> Vec<u8>, like_aws: bool) {
    let len = sealed(&mut victim.one.clone()).blob.len();
    for at in [0, 11, 12, len / 2, len - 16, len - 1] {
        victim.edit(&format!("byte {at} of the blob"), TOKEN_KEY, |record| sealed(record).blob[at] ^= 0x10);
    }
    victim.edit("a blob cut short", TOKEN_KEY, |record| sealed(record).blob.truncate(len - 1));
    victim.edit("an empty blob", TOKEN_KEY, |record| sealed(record).blob.clear());
    victim.edit("no blob", CORRUPT, |record| record.sealed = None);

    // By somebody who has the token key: as KMS sees it.
    let inner = victim.inner_blob(&victim.one.clone());
    for at in [inner.len() / 2, inner.len() - 17, inner.len() - 16, inner.len() - 1] {
        let mut bad = inner.clone();
        bad[at] ^= 1;
        let bad = victim.outer_blob(&bad);
        victim.edit(&format!("byte {at} of KMS's blob"), BROKEN, |record| sealed(record).blob = bad);
    }
    let none = victim.outer_blob(&[]);
    victim.edit("an empty blob of KMS's", BROKEN, |record| sealed(record).blob = none);
    if like_aws {
        let garbage = victim.outer_blob(&[0x5a; 100]);
        victim.edit("garbage for KMS's blob", BROKEN, |record| sealed(record).blob = garbage);
    }

    // Moved from another key: as it is, and by somebody who has the token key.
    let two = victim.two.clone();
    let moved = two.sealed.clone().unwrap().blob;
    victim.edit("another key's blob", TOKEN_KEY, |record| sealed(record).blob = moved);
    let moved = victim.inner_blob(&two);
    let moved = victim.outer_blob(&moved);
    victim.edit("another key's blob, sealed anew", BROKEN, |record| sealed(record).blob = moved);

    // By somebody who may also call KMS's Encrypt: another private key under this one's own context.
    let (other, context) = (victim.plaintext(&two), victim.context());
    let made = victim.kms.encrypt(&other, &context).unwrap().sealed;
    let made = victim.outer_blob(&made);
    victim.edit("another private key under the same context", MISMATCH, |record| sealed(record).blob = made);
    let made = victim.kms.encrypt(&datakey::crypto::Secret::new(vec![7; 32]), &context).unwrap().sealed;
    let made = victim.outer_blob(&made);
    victim.edit("no private key under the same context", Device(0x204), |record| sealed(record).blob = made);

    // The same private key under the same context, but by somebody else's KMS key.
    let own = victim.one.clone();
    let made = foreign(victim.plaintext(&own).expose(), &context);
    let made = victim.outer_blob(&made);
    let wrong_key = if like_aws { WRONG_KEY } else { Device(0x104) };
    victim.edit("a blob by another KMS key", wrong_key, |record| sealed(record).blob = made);
}

fn contexts(victim: &mut Victim) {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(sealed(&mut victim.one.clone()).user_context, pairs(&[("app", "tamper")]));
    for other in [&[][..], &[("app", "other")], &[("apq", "tamper")], &[("app", "tamper"), ("more", "1")]] {
        let other = pairs(other);
        victim.edit("other pairs of the user's", BROKEN, |record| sealed(record).user_context = other);
    }
    for reserved in ["datakey-pkcs11:object", "datakey-pkcs11:new", ""] {
        let other = pairs(&[("app", "tamper"), (reserved, "1")]);
        victim.edit("a pair of the module's own", BROKEN, |record| sealed(record).user_context = other);
    }
    for version in [0, 2, 255] {
        victim.edit("another context version", BROKEN, |record| sealed(record).context_version = version);
    }
    // For people to read: nothing is decided by it.
    victim.edit("the KMS key's ARN", Work, |record| sealed(record).kms_key_arn.push('x'));
}

fn moves(victim: &mut Victim) {
    // A whole record in another one's place, with its identity adapted.
    let (one, two) = (victim.one.clone(), victim.two.clone());
    victim.edit("the record of another key", CORRUPT, |record| {
        (record.attributes, record.sealed) = (two.attributes.clone(), two.sealed.clone());
        record.attributes.insert(CKA_ID, b"1".to_vec());
    });
    let mut adapted = two.attributes.clone();
    adapted.insert(CKA_UNIQUE_ID, one.attributes[&CKA_UNIQUE_ID].clone());
    victim.edit("the record of another key under this one's id", TOKEN_KEY, |record| {
        (record.attributes, record.sealed) = (adapted.clone(), two.sealed.clone());
    });
    // An object taken away is gone, and its id is nobody else's.
    victim.store.delete(&one.id, None).unwrap();
    victim.check("a deleted key", Refuse(CKR_KEY_FUNCTION_NOT_PERMITTED));
    let mut renamed = ObjectRecord { id: nobody(), ..one.clone() };
    renamed.mac = Some(victim.mac(&renamed));
    victim.store.insert(std::slice::from_ref(&renamed)).unwrap();
    victim.check("a key under a new id", CORRUPT);
    victim.store.delete(&renamed.id, None).unwrap();
    renamed.attributes.insert(CKA_UNIQUE_ID, nobody().to_string().into_bytes());
    renamed.mac = Some(victim.mac(&renamed));
    victim.store.insert(std::slice::from_ref(&renamed)).unwrap();
    victim.check("a key under a new id with that name", TOKEN_KEY);
    victim.store.delete(&renamed.id, None).unwrap();
    victim.store.insert(std::slice::from_ref(&one)).unwrap();
    victim.one.version = 1;
    rows(victim);
}

/// Rows are swapped behind the store's back.
fn rows(victim: &mut Victim) {
    const BEFORE: &str = "CREATE TEMP TABLE before AS SELECT seq, id, record FROM object JOIN record USING (seq)";
    const RECORDS: &str = "UPDATE record SET record = (SELECT b.record FROM before AS b WHERE b.seq =
        CASE record.seq WHEN ?1 THEN ?2 ELSE ?1 END) WHERE seq IN (?1, ?2)";
    // No two rows may have one id, not even for a moment.
    const IDS: [&str; 3] = [
        "UPDATE object SET id = x'00' WHERE seq = ?1 AND ?2",
        "UPDATE object SET id = (SELECT id FROM before WHERE seq = ?1) WHERE seq = ?2",
        "UPDATE object SET id = (SELECT id FROM before WHERE seq = ?2) WHERE seq = ?1",
    ];
    let path = victim.path();
    let seq = |id: &datakey::store::ObjectId| -> i64 {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("SELECT seq FROM object WHERE id = ?1", [id.as_bytes()], |row| row.get(0)).unwrap()
    };
    let (one, two) = (seq(&victim.one.id), seq(&victim.two.id));
    let sql = |statements: &[&str]| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(BEFORE).unwrap();
        for statement in statements {
            assert!(connection.execute(statement, [one, two]).unwrap() > 0);
        }
    };
    for (what, statements) in [("swapped records", &[RECORDS][..]), ("swapped ids", &IDS)] {
        sql(statements);
        victim.check(what, CORRUPT);
        sql(statements);
        victim.check("swapped back", Work);
    }
}

fn tokens(victim: &mut Victim, foreign: &dyn Fn(&[u8], &EncryptionContext) -> Vec<u8>) {
    let token = victim.token.clone();
    // Not covered: for people to read, and counts that only make the owner's life harder or a guess cheaper.
    victim.edit_token("the label", Work, |token| token.label.push('x'));
    victim.edit_token("the times", Work, |token| (token.created, token.changed) = (1, 2));
    if let Some(pin) = &token.user_pin {
        let serial = Refuse(CKR_PIN_INCORRECT);
        victim
            .edit_token("the count of wrong PINs", Work, |token| token.user_pin.as_mut().unwrap().failed_attempts = 3);
        victim.edit_token("the serial", serial, |token| token.serial = "0123456789abcdef".to_owned());
        for at in [0, pin.wrapped_token_key.len() - 1] {
            let spoilt = Refuse(CKR_PIN_INCORRECT);
            let edit = |token: &mut datakey::store::TokenRecord| {
                token.user_pin.as_mut().unwrap().wrapped_token_key[at] ^= 1;
            };
            victim.edit_token("the wrapped token key", spoilt, edit);
        }
        victim.edit_token("the salt", serial, |token| token.user_pin.as_mut().unwrap().salt[0] ^= 1);
        victim.edit_token("the cost", serial, |token| token.user_pin.as_mut().unwrap().iterations += 1);
        let costly = |token: &mut datakey::store::TokenRecord| token.user_pin.as_mut().unwrap().iterations = u32::MAX;
        victim.edit_token("a cost that no login ends", CORRUPT, costly);
        let large = |token: &mut datakey::store::TokenRecord| token.user_pin.as_mut().unwrap().memory_kib = u32::MAX;
        victim.edit_token("a cost that no memory holds", CORRUPT, large);
        let so = token.so_pin.clone();
        victim.edit_token("the other user's PIN", Refuse(CKR_PIN_INCORRECT), |token| token.user_pin = so);
        victim.edit_token("no PIN", Refuse(CKR_USER_PIN_NOT_INITIALIZED), |token| token.user_pin = None);
        // The configuration says that there are PINs; no session is opened, so none can tell the number.
        victim.edit_token("the login mode", Refuse(CKR_DEVICE_ERROR), |token| token.login = LoginMode::None);
    } else {
        let key = |token: &mut datakey::store::TokenRecord, change: &dyn Fn(&mut SealedKey)| {
            change(token.sealed_token_key.as_mut().unwrap());
        };
        victim.edit_token("the serial", BROKEN, |token| token.serial = "0123456789abcdef".to_owned());
        victim.edit_token("the token key", BROKEN, |token| key(token, &|key| *key.blob.last_mut().unwrap() ^= 1));
        victim.edit_token("its pairs", BROKEN, |token| key(token, &|key| key.user_context.clear()));
        victim.edit_token("its context version", BROKEN, |token| key(token, &|key| key.context_version = 1));
        let reserved = ("datakey-pkcs11:usage".to_owned(), "x".to_owned());
        victim.edit_token("a reserved pair", BROKEN, |token| {
            key(token, &|key| key.user_context.push(reserved.clone()));
        });
        victim.edit_token("its KMS key's ARN", Work, |token| key(token, &|key| key.kms_key_arn.push('x')));
        victim.edit_token("no token key", CORRUPT, |token| token.sealed_token_key = None);
        let pairs = token.sealed_token_key.as_ref().unwrap().user_context.iter().cloned().collect();
        let made = foreign(&[7; 32], &token_key_context(&token.serial, &pairs));
        victim.edit_token("a token key by another KMS key", WRONG_KEY, |token| {
            key(token, &|key| key.blob.clone_from(&made));
        });
        // A token key of somebody who may call KMS: it vouches for nothing that is there.
        let context = token_key_context(&token.serial, &pairs);
        let made = victim.kms.encrypt(&datakey::crypto::Secret::new(vec![7; 32]), &context).unwrap().sealed;
        victim.edit_token("another token key", ALTERED, |token| key(token, &|key| key.blob.clone_from(&made)));
        victim.edit_token("the login mode", Refuse(CKR_USER_PIN_NOT_INITIALIZED), |token| token.login = LoginMode::Pin);
    }
}

/// Makes and uses KMS keys by the SDK's own client.
struct Admin {
    client: aws_sdk_kms::Client,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    fn new(place: impl FnOnce(aws_sdk_kms::config::Builder) -> aws_sdk_kms::config::Builder) -> Self {
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_kms::config::Region::new("us-east-1"))
            .credentials_provider(aws_credential_types::Credentials::new("test", "test", None, None, "test"));
        let client = aws_sdk_kms::Client::from_conf(place(config).build());
        Self { client, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    fn create_key(&self) -> String {
        let answer = self.runtime.block_on(self.client.create_key().send()).expect("CreateKey");
        answer.key_metadata.expect("a description of the key").key_id
    }

    fn encrypt(&self, key_id: &str, plaintext: &[u8], context: &EncryptionContext) -> Vec<u8> {
        let request = self.client.encrypt().key_id(key_id).plaintext(plaintext.into());
        let request = request.set_encryption_context(Some(context.pairs().clone().into_iter().collect()));
        self.runtime.block_on(request.send()).expect("Encrypt").ciphertext_blob.expect("a blob").into_inner()
    }
}

const PAIRS: &str = "encryption_context = { app = \"tamper\" }";

fn on_the_embedded_kms(test: &'static str, more: &str) {
    if steps() {
        return;
    }
    let place = Place::embedded(&format!("{PAIRS}\n{more}"));
    let keys = place.folder().join("kms.json");
    let mut victim = Victim::new(test, place, &kms_config(KmsBackend::Embedded(keys.clone()), None, ""));
    let admin = admin_of(&keys);
    let other = admin.create_key();
    let foreign = |plaintext: &[u8], context: &EncryptionContext| admin.encrypt(&other, plaintext, context);
    without_the_token_key(&mut victim);
    attributes(&mut victim);
    public_keys(&mut victim);
    blobs(&mut victim, &foreign, true);
    contexts(&mut victim);
    tokens(&mut victim, &foreign);
    moves(&mut victim);
    println!("{test}: {} edits, each used by a new process", victim.edits);
    victim.findings.check(if more.is_empty() { "A token with PINs" } else { "A token without PINs" });
}

fn admin_of(keys: &Path) -> Admin {
    Admin::new(|config| config.http_client(InProcess::new(Arc::new(Embedded::new(keys)))))
}

#[test]
fn a_token_with_pins() {
    on_the_embedded_kms("a_token_with_pins", "");
}

#[test]
fn a_token_without_pins() {
    on_the_embedded_kms("a_token_without_pins", "login = \"none\"");
}

/// Somebody else's KMS, over the wire. What it refuses by itself is first tried without the module.
#[test]
fn on_moto() {
    const NAME: &str = "on_moto";
    if steps() {
        return;
    }
    if !alone(NAME) {
        return;
    }
    let emulator = Emulator::moto();
    let admin = Admin::new(|config| config.endpoint_url(emulator.url()));
    let (key, other) = (admin.create_key(), admin.create_key());
    let place = Place::at(&emulator.url(), &key, PAIRS);
    let mut victim = Victim::new(NAME, place, &kms_config(KmsBackend::Aws, Some(emulator.url()), &key));

    let (context, own) = (victim.context(), victim.one.clone());
    let blob = victim.inner_blob(&own);
    let refused = |result: datakey::error::Result<_>| result.map(drop).unwrap_err().cause().device_error();
    let wrong = context.clone().with("more", "1");
    assert_eq!(
        refused(victim.kms.decrypt(&blob, &wrong)),
        0x201,
        "moto opens under a wrong context: it proves nothing"
    );
    let mut flipped = blob.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(refused(victim.kms.decrypt(&flipped, &context)), 0x201, "moto opens a flipped bit: it proves nothing");
    // moto refuses another key's blob too, though by another name than AWS.
    let foreign = |plaintext: &[u8], context: &EncryptionContext| admin.encrypt(&other, plaintext, context);
    assert_eq!(refused(victim.kms.decrypt(&foreign(b"x", &context), &context)), 0x104);

    attributes(&mut victim);
    public_keys(&mut victim);
    blobs(&mut victim, &foreign, false);
    contexts(&mut victim);
    println!("{NAME}: {} edits, each used by a new process", victim.edits);
}

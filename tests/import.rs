//! Keys that another client of KMS made and sealed: taken over as they are, used, and told about.

mod host;
mod objects;

use cryptoki_sys::*;
use datakey::config::{KmsBackend, KmsConfig};
use datakey::kms::{EncryptionContext, HostRules, KeyPairSpec, Kms};
use datakey::object::vendor::*;
use host::{Kind, Module, Place, alone};
use objects::{Attr, bytes, flag, number, with};
use std::collections::BTreeMap;

/// A client of the same embedded KMS that knows nothing of PKCS#11.
fn other_client(place: &Place) -> Kms {
    let backend = KmsBackend::Embedded(place.folder().join("kms.json"));
    let config = KmsConfig { backend, ..KmsConfig::default() };
    Kms::new(&config, HostRules { threads_allowed: true, secure_mode: false })
}

fn pairs(json: &[u8]) -> BTreeMap<String, String> {
    serde_json::from_slice(json).unwrap()
}

/// The same for KMS.
fn sealed_under(json: &[u8]) -> EncryptionContext {
    pairs(json).into_iter().fold(EncryptionContext::default(), |context, (key, value)| context.with(key, value))
}

fn private(key_type: CK_KEY_TYPE, blob: &[u8], context: &[u8]) -> Vec<Attr> {
    vec![
        number(CKA_CLASS, CKO_PRIVATE_KEY),
        number(CKA_KEY_TYPE, key_type),
        flag(CKA_TOKEN, true),
        bytes(CKA_DATAKEY_CIPHERTEXT_BLOB, blob),
        bytes(CKA_DATAKEY_ENCRYPTION_CONTEXT, context),
    ]
}

#[test]
fn a_data_key_pair_of_another_client_is_taken_over() {
    if !alone("a_data_key_pair_of_another_client_is_taken_over") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let kms = other_client(&place);
    let json = br#"{"department":"payments","purpose":"old \"keys\""}"#;
    let context = sealed_under(json);
    for (spec, key_type, kind) in [
        (KeyPairSpec::EccNistP256, CKK_EC, Kind::P256),
        (KeyPairSpec::EccNistEdwards25519, CKK_EC_EDWARDS, Kind::Ed25519),
        (KeyPairSpec::Rsa2048, CKK_RSA, Kind::Rsa(2048)),
    ] {
        let pair = kms.generate_data_key_pair_without_plaintext(spec, &context).unwrap();
        let sealed = private(key_type, &pair.sealed, json);
        let said = with(sealed.clone(), &[bytes(CKA_PUBLIC_KEY_INFO, &pair.public_key)]);
        for template in [&said, &sealed] {
            let key = module.create(session, template);
            assert_eq!(module.get(session, key, CKA_PUBLIC_KEY_INFO).unwrap(), pair.public_key);
            assert_eq!(module.get(session, key, CKA_DATAKEY_SPEC).unwrap(), spec.name().as_bytes());
            assert!(!module.is(session, key, CKA_LOCAL) && !module.is(session, key, CKA_ALWAYS_SENSITIVE));
            assert!(module.is(session, key, CKA_SENSITIVE));
            module.sign(session, key, kind.signs(), b"data").unwrap();
        }
        // Half of another pair is found out at the first use.
        let other = kms.generate_data_key_pair_without_plaintext(spec, &context).unwrap();
        let key = module.create(session, &with(sealed.clone(), &[bytes(CKA_PUBLIC_KEY_INFO, &other.public_key)]));
        assert_eq!(module.sign(session, key, kind.signs(), b"data"), Err(CKR_DEVICE_ERROR));
        assert_eq!(module.device_error(session), 0x203);

        let wrong_type = if key_type == CKK_RSA { CKK_EC } else { CKK_RSA };
        for (template, expected) in [
            (private(key_type, &pair.sealed, b"{}"), CKR_ATTRIBUTE_VALUE_INVALID),
            (private(key_type, &pair.sealed, b"no json"), CKR_ATTRIBUTE_VALUE_INVALID),
            (private(key_type, b"", json), CKR_ATTRIBUTE_VALUE_INVALID),
            (private(wrong_type, &pair.sealed, json), CKR_TEMPLATE_INCONSISTENT),
            (with(sealed.clone(), &[bytes(CKA_VALUE, &[1; 32])]), CKR_ATTRIBUTE_READ_ONLY),
            (with(sealed.clone(), &[bytes(CKA_DATAKEY_SPEC, b"RSA_2048")]), CKR_ATTRIBUTE_READ_ONLY),
            (with(sealed.clone(), &[bytes(CKA_PUBLIC_KEY_INFO, b"x")]), CKR_ATTRIBUTE_VALUE_INVALID),
        ] {
            let rv = module.creating(session, &template);
            let rsa_value = key_type == CKK_RSA && template.iter().any(|(attribute, _)| *attribute == CKA_VALUE);
            assert_eq!(rv, if rsa_value { CKR_TEMPLATE_INCONSISTENT } else { expected }, "{spec}");
        }
    }
    module.finalise();
}

#[test]
fn a_sealed_key_is_told_of_and_opens_elsewhere() {
    if !alone("a_sealed_key_is_told_of_and_opens_elsewhere") {
        return;
    }
    let place = Place::embedded("encryption_context = { app = \"web\" }");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let (public, key) = module.generate(session, Kind::P256, b"1");
    let get = |attribute| module.get(session, key, attribute);
    let (blob, context) = (get(CKA_DATAKEY_CIPHERTEXT_BLOB).unwrap(), get(CKA_DATAKEY_ENCRYPTION_CONTEXT).unwrap());
    assert_eq!(get(CKA_DATAKEY_SPEC).unwrap(), b"ECC_NIST_P256");
    assert!(get(CKA_DATAKEY_KMS_KEY_ARN).unwrap().starts_with(b"arn:aws:kms:"));
    assert_eq!(pairs(&context)["app"], "web");
    assert_eq!(pairs(&context)["datakey-pkcs11:object"].as_bytes(), get(CKA_UNIQUE_ID).unwrap());
    // What is told opens the key, for those whom KMS lets.
    let opened = other_client(&place).decrypt(&blob, &sealed_under(&context)).unwrap();
    assert!(opened.plaintext.len() > 100);
    for attribute in [CKA_DATAKEY_CIPHERTEXT_BLOB, CKA_DATAKEY_SPEC] {
        assert_eq!(module.get(session, public, attribute), Err(CKR_ATTRIBUTE_TYPE_INVALID));
    }
    assert_eq!(module.set(session, key, &[bytes(CKA_DATAKEY_CIPHERTEXT_BLOB, b"x")]), CKR_ATTRIBUTE_READ_ONLY);
    // It does not come back as a key that may do more.
    let back = with(private(CKK_EC, &blob, &context), &[flag(CKA_EXTRACTABLE, true), flag(CKA_SENSITIVE, false)]);
    assert_eq!(module.creating(session, &back), CKR_ATTRIBUTE_VALUE_INVALID);
    let bare = private(CKK_EC, &blob, br#"{"app":"web"}"#);
    assert_eq!(module.creating(session, &bare), CKR_ATTRIBUTE_VALUE_INVALID);
    module.finalise();
}

#[test]
fn a_data_key_of_another_client_becomes_a_secret_key() {
    if !alone("a_data_key_of_another_client_becomes_a_secret_key") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let context = sealed_under(br#"{"a":"b"}"#);
    let secret = datakey::crypto::Secret::new(vec![9; 32]);
    let sealed = other_client(&place).encrypt(&secret, &context).unwrap().sealed;
    let template = [
        number(CKA_CLASS, CKO_SECRET_KEY),
        number(CKA_KEY_TYPE, CKK_AES),
        flag(CKA_TOKEN, true),
        bytes(CKA_DATAKEY_CIPHERTEXT_BLOB, &sealed),
        bytes(CKA_DATAKEY_ENCRYPTION_CONTEXT, br#"{"a":"b"}"#),
    ]
    .to_vec();
    let same = module.create(session, &objects::secret_key(CKK_AES, secret.expose()));
    let expected = module.sign(session, same, CKM_AES_CMAC, b"data").unwrap();
    for more in [None, Some(number(CKA_VALUE_LEN, 32))] {
        let key = module.create(session, &with(template.clone(), more.as_slice()));
        assert_eq!(module.sign(session, key, CKM_AES_CMAC, b"data").unwrap(), expected);
        assert!(module.is(session, key, CKA_SENSITIVE) && !module.is(session, key, CKA_EXTRACTABLE));
        assert_eq!(module.get(session, key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        assert_eq!(module.get(session, key, CKA_VALUE_LEN).unwrap(), 32_u64.to_ne_bytes());
    }
    let wrong = module.create(session, &with(template.clone(), &[number(CKA_VALUE_LEN, 16)]));
    assert_eq!(module.sign(session, wrong, CKM_AES_CMAC, b"data"), Err(CKR_DEVICE_ERROR));
    // The module opens no blob for who wants to read what is in it.
    for open in [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)] {
        assert_eq!(module.creating(session, &with(template.clone(), &[open])), CKR_TEMPLATE_INCONSISTENT);
    }
    assert_eq!(module.creating(session, &with(template, &[number(CKA_VALUE_LEN, 17)])), CKR_ATTRIBUTE_VALUE_INVALID);
    module.finalise();
}

#[test]
fn what_was_sealed_under_other_pairs_stays_usable_and_is_told_of() {
    if !alone("what_was_sealed_under_other_pairs_stays_usable_and_is_told_of") {
        return;
    }
    for login in ["pin", "none"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let more = "login = \"LOGIN\"\nencryption_context = { app = \"web\" }\n[log]\ntarget = \"file:LOG\"";
        let more = more.replace("LOGIN", login).replace("LOG", &log.display().to_string());
        let place = Place::embedded(&more);
        let module = Module::start(&place.configuration());
        module.make_token(login == "pin");
        let use_key = |made: bool| {
            let session = module.enter();
            let key =
                if made { module.private_key(session, b"1") } else { module.generate(session, Kind::P256, b"1").1 };
            module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
            module.finalise();
            module.initialise();
        };
        let told = || std::fs::read_to_string(&log).unwrap_or_default().matches("sealed under other pairs").count();
        use_key(false);
        use_key(true);
        assert_eq!(told(), 0);
        let text = std::fs::read_to_string(place.configuration()).unwrap();
        std::fs::write(place.configuration(), text.replace("\"web\"", "\"api\"")).unwrap();
        module.finalise();
        module.initialise();
        use_key(true);
        // The key, and in a token without PINs the token key.
        assert_eq!(told(), if login == "pin" { 1 } else { 2 });
        module.finalise();
    }
}

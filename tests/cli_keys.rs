//! Keys, by the operator's tool.

mod tool;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datakey::crypto::PrivateKey;
use datakey::kms::{EncryptionContext, KeyPairSpec};
use der::pem::{LineEnding, decode_vec, encode_string};
use ed25519_dalek::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tool::Setup;

/// Each type with what KMS calls it and what it may do by default; large RSA keys, and
/// most of the small sets of SLH-DSA, take their time to make.
const TYPES: &[(&str, &str, &str)] = &[
    ("rsa-2048", "RSA_2048", "decrypt,sign,sign-recover,unwrap"),
    ("p-256", "ECC_NIST_P256", "derive,sign"),
    ("p-384", "ECC_NIST_P384", "derive,sign"),
    ("p-521", "ECC_NIST_P521", "derive,sign"),
    ("secp256k1", "ECC_SECG_P256K1", "derive,sign"),
    ("ed25519", "ECC_NIST_EDWARDS25519", "sign"),
    ("x25519", "X25519", "derive"),
    ("ml-kem-512", "ML_KEM_512", "decapsulate"),
    ("ml-kem-768", "ML_KEM_768", "decapsulate"),
    ("ml-kem-1024", "ML_KEM_1024", "decapsulate"),
    ("ml-dsa-44", "ML_DSA_44", "sign"),
    ("ml-dsa-65", "ML_DSA_65", "sign"),
    ("ml-dsa-87", "ML_DSA_87", "sign"),
    ("ed448", "ED448", "sign"),
    ("x448", "X448", "derive"),
    ("slh-dsa-sha2-128s", "SLH_DSA_SHA2_128S", "sign"),
    ("slh-dsa-sha2-128f", "SLH_DSA_SHA2_128F", "sign"),
    ("slh-dsa-sha2-192f", "SLH_DSA_SHA2_192F", "sign"),
    ("slh-dsa-sha2-256f", "SLH_DSA_SHA2_256F", "sign"),
    ("slh-dsa-shake-128f", "SLH_DSA_SHAKE_128F", "sign"),
    ("slh-dsa-shake-192f", "SLH_DSA_SHAKE_192F", "sign"),
    ("slh-dsa-shake-256f", "SLH_DSA_SHAKE_256F", "sign"),
    ("aes-128", "AES_128", ""),
    ("aes-192", "AES_192", ""),
    ("aes-256", "AES_256", ""),
    ("hmac-256", "SECRET_256", ""),
    ("hmac-384", "SECRET_384", ""),
    ("hmac-512", "SECRET_512", ""),
];

fn ready() -> Setup {
    Setup::embedded("").initialised()
}

#[test]
fn every_type_of_key_is_made_listed_and_shown() {
    let setup = ready();
    for (kind, spec, usage) in TYPES {
        let made = setup.ok(&["key", "generate", "--type", kind, "--label", kind]);
        assert_eq!((made["spec"].as_str(), made["label"].as_str()), (Some(*spec), Some(*kind)), "{made}");
        assert!(usage.is_empty() || made["usage"] == *usage, "{made}");
        assert!(made["kms_key_arn"].as_str().unwrap().starts_with("arn:aws:kms:"), "{made}");
        assert_eq!(made["id"].as_str().unwrap().len(), 16, "an id is made where none is given");
        assert_eq!(setup.ok(&["key", "show", kind]), made);
        assert_eq!(setup.ok(&["key", "show", &format!("id:{}", made["id"].as_str().unwrap())]), made);
        assert_eq!(setup.ok(&["key", "show", made["unique_id"].as_str().unwrap()]), made);
    }
    let keys = setup.ok(&["key", "list"]);
    let keys = keys["keys"].as_array().unwrap();
    let secret = keys.iter().filter(|key| key["class"] == "secret").count();
    assert_eq!((keys.len(), secret), (2 * (TYPES.len() - 6) + 6, 6));
    let human = setup.run(&["key", "list"]).out;
    assert_eq!(human.lines().count(), keys.len() + 1);
    assert!(human.starts_with("class    spec"), "{human}");
    // Private keys are not for everybody.
    let public = setup.ok(&["key", "list", "--public"]);
    assert!(public["keys"].as_array().unwrap().iter().all(|key| key["class"] == "public"));
}

#[test]
fn a_key_may_do_what_it_was_made_for_alone() {
    let setup = ready();
    let made = setup.ok(&["key", "generate", "--type", "rsa-2048", "--label", "sign", "--usage", "sign", "--id", "01"]);
    assert_eq!((&made["usage"], &made["id"]), (&json!("sign"), &json!("01")));
    let message = setup.fails(&["key", "generate", "--type", "p-256", "--label", "x", "--usage", "fly"]);
    assert!(message.contains("\"fly\"") && message.contains("sign"), "{message}");
    for bad in [&["--id", "0"][..], &["--id", ""], &["--type", "p-255"]] {
        let arguments = [&["key", "generate", "--label", "x", "--type", "p-256"], bad].concat();
        assert!(!setup.run(&arguments).success, "{bad:?}");
    }
    assert_eq!(setup.ok(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn a_pair_is_renamed_and_destroyed_with_both_its_halves() {
    let setup = ready();
    let made = setup.ok(&["key", "generate", "--type", "p-256", "--label", "old"]);
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "other"]);
    let renamed = setup.ok(&["key", "rename", "old", "--label", "new", "--id", "0a0b"]);
    let renamed = renamed["renamed"].as_array().unwrap();
    assert_eq!(renamed.len(), 2);
    assert!(renamed.iter().all(|half| half["label"] == "new" && half["id"] == "0a0b"), "{renamed:?}");
    assert!(setup.fails(&["key", "show", "old"]).contains("no key has this name"));
    assert_eq!(setup.ok(&["key", "show", "id:0a0b"])["public_key"], made["public_key"]);

    assert!(setup.fails(&["key", "destroy", "new"]).contains("--yes"));
    assert_eq!(setup.ok(&["key", "destroy", "new", "--yes"])["destroyed"].as_array().unwrap().len(), 2);
    assert_eq!(setup.ok(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn a_name_that_several_keys_have_is_refused_and_a_unique_id_means_one_object() {
    let setup = ready();
    let first = setup.ok(&["key", "generate", "--type", "p-256", "--label", "twin"]);
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "twin"]);
    let message = setup.fails(&["key", "destroy", "twin", "--yes"]);
    assert!(message.contains("several keys") && message.contains(first["unique_id"].as_str().unwrap()), "{message}");
    let destroyed = setup.ok(&["key", "destroy", first["unique_id"].as_str().unwrap(), "--yes"]);
    assert_eq!(destroyed["destroyed"].as_array().unwrap().len(), 1);
    assert_eq!(setup.ok(&["key", "list"])["keys"].as_array().unwrap().len(), 3);
}

#[test]
fn public_keys_and_sealed_keys_are_exported() {
    let setup = ready();
    let made = setup.ok(&["key", "generate", "--type", "p-256", "--label", "tls"]);
    let run = setup.run(&["key", "export", "tls"]);
    assert_eq!(Some(run.out.as_str()), made["public_key"].as_str());

    // What is exported opens under KMS, for those whom it lets, and is the key.
    let sealed = setup.ok(&["key", "export", "tls", "--sealed"]);
    let pairs: BTreeMap<String, String> = serde_json::from_value(sealed["EncryptionContext"].clone()).unwrap();
    let context = pairs.iter().fold(EncryptionContext::default(), |context, (key, value)| context.with(key, value));
    let blob = STANDARD.decode(sealed["PrivateKeyCiphertextBlob"].as_str().unwrap()).unwrap();
    let opened = setup.token().kms().wrapping().decrypt(&blob, &context).unwrap();
    let key = PrivateKey::from_pkcs8(opened.plaintext.expose()).unwrap();
    assert_eq!(decode_vec(run.out.as_bytes()).unwrap().1, key.public_key().spki_der());
    assert_eq!(sealed["KeyPairSpec"], "ECC_NIST_P256");

    setup.ok(&["key", "generate", "--type", "aes-256", "--label", "aes"]);
    assert!(setup.fails(&["key", "export", "aes"]).contains("no public key"));
    assert!(setup.ok(&["key", "export", "aes", "--sealed"])["CiphertextBlob"].is_string());
    // It was bound to what it may do, and does not come back as another.
    fs::write(setup.path("sealed.json"), sealed.to_string()).unwrap();
    let message = setup.fails(&["key", "import", "sealed.json", "--label", "again"]);
    assert!(message.contains("reserved"), "{message}");
}

fn pem(pkcs8: &[u8]) -> String {
    encode_string("PRIVATE KEY", LineEnding::LF, pkcs8).unwrap()
}

#[test]
fn private_keys_are_imported_from_pem() {
    let setup = ready();
    let p256 = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let ed25519 = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    for (name, der, spec) in [
        ("p256", p256.to_pkcs8_der().unwrap(), "ECC_NIST_P256"),
        ("ed25519", ed25519.to_pkcs8_der().unwrap(), "ECC_NIST_EDWARDS25519"),
    ] {
        let text = pem(der.as_bytes());
        let run = setup.run_with_input(&["--json", "key", "import", "-", "--label", name, "--id", "07"], &text);
        assert!(run.success, "{run:?}");
        let expected = PrivateKey::from_pkcs8(der.as_bytes()).unwrap();
        let public = run.json()["public_key"].as_str().unwrap().to_owned();
        assert_eq!(decode_vec(public.as_bytes()).unwrap().1, expected.public_key().spki_der());
        assert_eq!(run.json()["spec"], spec);
        assert_eq!(setup.ok(&["key", "destroy", name, "--yes"])["destroyed"].as_array().unwrap().len(), 2);
    }
    for (text, words) in [
        (encode_string("RSA PRIVATE KEY", LineEnding::LF, &[1, 2]).unwrap(), "damaged"),
        (pem(&[1, 2, 3]), "no private key of a kind"),
        ("nonsense".to_owned(), "no private key of a kind"),
        ("{}".to_owned(), "PublicKey"),
    ] {
        fs::write(setup.path("key"), text).unwrap();
        let message = setup.fails(&["key", "import", "key", "--label", "x"]);
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(setup.ok(&["key", "list"])["keys"], json!([]));
}

/// How many transactions the store's write-ahead log holds: frames that say how large the store is then.
fn transactions(setup: &Setup) -> usize {
    let log = fs::read(setup.path("token.db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    log[32..].chunks(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn both_halves_of_a_pair_are_imported_in_one_transaction() {
    let setup = Setup::embedded("login = \"none\"");
    setup.ok(&["token", "init"]);
    // As long as somebody has the store open, the log is kept.
    let watcher = rusqlite::Connection::open(setup.store()).unwrap();
    let objects = || watcher.query_row("SELECT count(*) FROM object", [], |row| row.get::<_, i64>(0)).unwrap();
    watcher.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert_eq!(objects(), 0);
    let der = p256::SecretKey::from_slice(&[7; 32]).unwrap().to_pkcs8_der().unwrap();
    fs::write(setup.path("key.pem"), pem(der.as_bytes())).unwrap();
    setup.ok(&["key", "import", "key.pem", "--label", "tls"]);
    assert_eq!((objects(), transactions(&setup)), (2, 1));
    setup.ok(&["verify"]);
}

#[test]
fn a_data_key_pair_of_another_client_is_imported_as_kms_answered() {
    let setup = ready();
    let context = EncryptionContext::default().with("purpose", "handed over");
    let token = setup.token();
    let pair =
        token.kms().wrapping().generate_data_key_pair_without_plaintext(KeyPairSpec::EccNistP384, &context).unwrap();
    let answer = json!({
        "PrivateKeyCiphertextBlob": STANDARD.encode(&pair.sealed),
        "PublicKey": STANDARD.encode(&pair.public_key),
        "KeyId": pair.kms_key_arn,
        "KeyPairSpec": "ECC_NIST_P384",
    });
    fs::write(setup.path("pair.json"), answer.to_string()).unwrap();
    let import = ["key", "import", "pair.json", "--label", "handed over"];
    assert!(setup.fails(&import).contains("does not open under the encryption context"));
    let made: Value = setup.ok(&[&import[..], &["--context", "purpose=handed over"]].concat());
    assert_eq!(made["spec"], "ECC_NIST_P384");
    let public = made["public_key"].as_str().unwrap();
    assert_eq!(decode_vec(public.as_bytes()).unwrap().1, pair.public_key);
    assert_eq!(setup.ok(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
}

//! From nothing to a certificate with the operator's tool alone, on the KMS of emulators that others wrote.

mod support;
mod tool;

use std::fs;
use support::ask_kms;
use support::emulators::Emulator;
use tool::{Setup, program};

/// Has an emulator make a KMS key; its id.
fn new_key(emulator: &Emulator) -> String {
    let (_, answer) = ask_kms(emulator.port(), "CreateKey", "{}");
    answer["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

/// What somebody does who has read the page about the tool and nothing else.
fn first_hour(emulator: &Emulator) {
    let (key, url) = (new_key(emulator), emulator.url());
    let setup = Setup::empty().with("AWS_ACCESS_KEY_ID", "test").with("AWS_SECRET_ACCESS_KEY", "test");
    let file = setup.path("datakey.toml").display().to_string();
    let setup = setup.with("DATAKEY_PKCS11_CONF", &file);
    let store = format!("sqlite:{}", setup.path("web.db").display());
    let kms = ["--kms-key-id", &key, "--region", "us-east-1", "--endpoint-url", &url];
    let made = setup.ok(&[&["init", "--label", "web", "--store", &store][..], &kms].concat());
    assert_eq!(made["found_by_default"], true);

    let findings = setup.ok(&["doctor"])["findings"].to_string();
    assert!(findings.contains("datakey-pkcs11 token init"), "{findings}");
    setup.ok(&["token", "init"]);
    let doctor = setup.ok(&["doctor"]);
    assert!(
        doctor["findings"].to_string().contains("kms:GenerateDataKeyPair, to make key pairs: allowed"),
        "{doctor:#}"
    );
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "tls"]);
    let names = ["--subject", "CN=www.example.com", "--san", "dns:www.example.com"];
    let certificate = setup.ok(&[&["cert", "self-sign", "tls"], &names[..]].concat());
    fs::write(setup.path("cert.pem"), certificate["certificate"].as_str().unwrap()).unwrap();
    if let Some((success, text)) = program(&setup.path("."), "openssl", &["verify", "-CAfile", "cert.pem", "cert.pem"])
    {
        assert!(success, "{text}");
    }
    assert_eq!(setup.ok(&["verify"]), serde_json::json!({"checked": 3, "failed": []}));
    let policy = setup.ok(&["policy", "--ask-kms"]);
    assert!(policy["Statement"][0]["Resource"].as_str().unwrap().ends_with(&format!(":key/{key}")), "{policy:#}");
}

#[test]
fn a_certificate_on_moto() {
    first_hour(&Emulator::moto());
}

#[test]
fn a_certificate_on_ministack() {
    first_hour(&Emulator::ministack());
}

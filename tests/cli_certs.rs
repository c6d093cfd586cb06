//! Requests and certificates, by the operator's tool.

mod tool;

use cryptoki_sys::*;
use datakey::crypto::Curve;
use datakey::mechanism::Given;
use datakey::session::{Sessions, Slot, Who};
use datakey::token::User;
use der::pem::decode_vec;
use der::{Decode, Encode};
use p256::ecdsa::signature::Verifier;
use serde_json::json;
use spki::DecodePublicKey;
use std::fs;
use std::sync::Arc;
use tool::{Setup, USER_PIN, program};
use x509_cert::Certificate;
use x509_cert::request::CertReq;

/// The types of key that sign, and whether every OpenSSL knows them.
const SIGNING: &[(&str, bool)] = &[
    ("rsa-2048", true),
    ("p-256", true),
    ("p-384", true),
    ("p-521", true),
    ("secp256k1", true),
    ("ed25519", true),
    ("ed448", true),
    ("ml-dsa-44", false),
    ("ml-dsa-65", false),
    ("ml-dsa-87", false),
    ("slh-dsa-sha2-128f", false),
    ("slh-dsa-shake-192f", false),
];

const SUBJECT: &str = "CN=www.example.com,O=Example\\, Inc.,C=DE";
const NAMES: [&str; 8] = [
    "--san",
    "dns:www.example.com",
    "--san",
    "ip:192.0.2.1",
    "--san",
    "email:a@example.com",
    "--san",
    "uri:https://x/",
];

fn with_key(kind: &str) -> Setup {
    let setup = Setup::embedded("").initialised();
    setup.ok(&["key", "generate", "--type", kind, "--label", "tls", "--id", "01"]);
    setup
}

/// OpenSSL's word on a file; nothing where there is no OpenSSL, or one that does not know the key.
fn openssl(setup: &Setup, known: bool, arguments: &[&str], words: &[&str]) {
    let Some((success, text)) = program(&setup.path("."), "openssl", arguments) else {
        println!("there is no openssl: not asked for {arguments:?}");
        return;
    };
    if known || success {
        assert!(success, "openssl {arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{word} is not in what openssl {arguments:?} says: {text}");
        }
    }
}

#[test]
fn requests_are_signed_and_say_what_they_were_told() {
    for (kind, known) in SIGNING {
        let setup = with_key(kind);
        let arguments = [&["cert", "request", "tls", "--subject", SUBJECT], &NAMES[..]].concat();
        let text = setup.ok(&arguments)["request"].as_str().unwrap().to_owned();
        let (label, der) = decode_vec(text.as_bytes()).unwrap();
        let request = CertReq::from_der(&der).unwrap();
        assert_eq!((label, request.info.subject.to_string()), ("CERTIFICATE REQUEST", SUBJECT.to_owned()));
        fs::write(setup.path("request.pem"), &text).unwrap();
        let words =
            ["DNS:www.example.com", "IP Address:192.0.2.1", "email:a@example.com", "URI:https://x/", "verify OK"];
        openssl(&setup, *known, &["req", "-verify", "-text", "-in", "request.pem"], &words);
        // Nothing is kept of it.
        assert_eq!(setup.ok(&["verify"])["checked"], 2);
    }
}

#[test]
fn self_signed_certificates_are_signed_and_kept_beside_the_key() {
    for (kind, known) in SIGNING {
        let setup = with_key(kind);
        let arguments = [&["cert", "self-sign", "tls", "--days", "30", "--subject", SUBJECT], &NAMES[..]].concat();
        let made = setup.ok(&arguments);
        assert_eq!((&made["label"], &made["id"]), (&json!("tls"), &json!("01")));
        let text = made["certificate"].as_str().unwrap();
        let certificate = Certificate::from_der(&decode_vec(text.as_bytes()).unwrap().1).unwrap();
        let signed = certificate.tbs_certificate();
        let validity = signed.validity();
        let valid = validity.not_after.to_unix_duration() - validity.not_before.to_unix_duration();
        assert_eq!(valid.as_secs(), 30 * 86400);
        assert!(!signed.serial_number().as_bytes().starts_with(&[0]) && signed.issuer() == signed.subject());
        if *kind == "p-256" {
            let spki = signed.subject_public_key_info().to_der().unwrap();
            let key = p256::ecdsa::VerifyingKey::from_public_key_der(&spki).unwrap();
            let signature = p256::ecdsa::DerSignature::try_from(certificate.signature().raw_bytes()).unwrap();
            key.verify(&signed.to_der().unwrap(), &signature).unwrap();
        }
        fs::write(setup.path("cert.pem"), text).unwrap();
        openssl(&setup, *known, &["verify", "-check_ss_sig", "-CAfile", "cert.pem", "cert.pem"], &["cert.pem: OK"]);
        let words = ["CA:FALSE", "Digital Signature", "DNS:www.example.com", "Subject Key Identifier"];
        openssl(&setup, *known, &["x509", "-noout", "-text", "-in", "cert.pem"], &words);

        // It is there once, goes with the key's name, and is replaced.
        setup.ok(&["cert", "import", "cert.pem"]);
        assert_eq!(setup.ok(&["verify"]), json!({"checked": 3, "failed": []}));
        let renamed = setup.ok(&["key", "rename", "tls", "--label", "web"]);
        assert_eq!(renamed["renamed"].as_array().unwrap().len(), 3);
        let ca = setup.ok(&["cert", "self-sign", "web", "--subject", "CN=CA", "--ca", "--replace"]);
        assert_eq!(ca["replaced"], json!([made["unique_id"]]));
        assert_eq!(setup.ok(&["verify"])["checked"], 3);
        fs::write(setup.path("ca.pem"), ca["certificate"].as_str().unwrap()).unwrap();
        openssl(
            &setup,
            *known,
            &["x509", "-noout", "-text", "-in", "ca.pem"],
            &["CA:TRUE", "Certificate Sign, CRL Sign"],
        );
    }
}

#[test]
fn what_cannot_be_certified_is_refused() {
    let setup = with_key("x25519");
    assert!(setup.fails(&["cert", "request", "tls", "--subject", "CN=x"]).contains("sign nothing"));
    assert!(setup.fails(&["cert", "self-sign", "missing", "--subject", "CN=x"]).contains("no key has this name"));
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "agree", "--usage", "derive"]);
    assert!(setup.fails(&["cert", "request", "agree", "--subject", "CN=x"]).contains("CKA_SIGN"));
    for (arguments, words) in [
        (&["--subject", "www.example.com"][..], "CN=www.example.com"),
        (&["--subject", ""], "CN=www.example.com"),
        (&["--subject", "CN=x", "--san", "www.example.com"], "dns:HOST"),
        (&["--subject", "CN=x", "--san", "dns:"], "empty"),
        (&["--subject", "CN=x", "--san", "dns:bücher.example"], "xn--"),
        (&["--subject", "CN=x", "--san", "ip:300.0.0.1"], "300.0.0.1"),
        (&["--subject", "CN=x", "--san", "phone:1"], "none of dns"),
    ] {
        let run = setup.run(&[&["cert", "request", "agree"], arguments].concat());
        assert!(!run.success && run.err.contains(words), "{arguments:?}: {run:?}");
    }
}

#[test]
fn certificates_are_imported_beside_their_keys_alone() {
    let setup = with_key("p-256");
    let text = setup.ok(&["cert", "self-sign", "tls", "--subject", "CN=x"])["certificate"].as_str().unwrap().to_owned();
    let der = decode_vec(text.as_bytes()).unwrap().1;

    // To a copy of the token before there was a certificate; DER, or the first of a chain.
    let setup = with_key("p-256");
    let own =
        setup.ok(&["cert", "self-sign", "tls", "--subject", "CN=own"])["certificate"].as_str().unwrap().to_owned();
    fs::write(setup.path("foreign.der"), der).unwrap();
    assert!(setup.fails(&["cert", "import", "foreign.der"]).contains("no private key of this token"));
    assert!(setup.fails(&["cert", "import", "foreign.der", "--key", "tls"]).contains("of another key"));
    fs::write(setup.path("chain.pem"), format!("subject=CN=own\n{own}{text}")).unwrap();
    let kept = setup.ok(&["cert", "import", "chain.pem", "--key", "tls"]);
    assert_eq!(kept["certificate"].as_str().unwrap(), own);
    for (content, words) in [
        ("nonsense", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nA\n", "no certificate"),
        ("0\u{1}", "no certificate"),
    ] {
        fs::write(setup.path("bad"), content).unwrap();
        let message = setup.fails(&["cert", "import", "bad"]);
        assert!(message.contains(words), "{content:?}: {message}");
    }
    assert_eq!(setup.ok(&["verify"])["checked"], 3);
}

#[test]
fn a_key_that_asks_for_a_login_at_each_use_gets_one() {
    let setup = Setup::embedded("").initialised();
    let sessions = Sessions::default();
    let slot = Arc::new(Slot::new(0, setup.token()));
    let session = sessions.get(sessions.open(&slot, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap()).unwrap();
    session.login(Who::User(User::User), USER_PIN.as_bytes()).unwrap();
    let (yes, curve) = ([CK_TRUE], Curve::P256.oid_der());
    let names = [(CKA_TOKEN, &yes[..]), (CKA_LABEL, b"careful")];
    let public = [&names[..], &[(CKA_EC_PARAMS, curve)]].concat();
    let private = [&names[..], &[(CKA_ALWAYS_AUTHENTICATE, &yes[..])]].concat();
    session.generate_key_pair(CKM_EC_KEY_PAIR_GEN, || Ok(Given::Nothing), &public, &private).unwrap();

    let made = setup.ok(&["cert", "self-sign", "careful", "--subject", "CN=careful"]);
    fs::write(setup.path("cert.pem"), made["certificate"].as_str().unwrap()).unwrap();
    openssl(&setup, true, &["verify", "-check_ss_sig", "-CAfile", "cert.pem", "cert.pem"], &["cert.pem: OK"]);
    assert_eq!(setup.ok(&["verify"]), json!({"checked": 3, "failed": []}));
}

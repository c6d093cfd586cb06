//! Keys that KMS encrypts for one Nitro enclave alone: the whole module in a made-up enclave, against the embedded KMS,
//! which judges attestation documents as AWS does. The module is the one linked in, of the same build as this program.

#[path = "nitro/enclave.rs"]
mod enclave;
mod host;
mod hosts;
#[path = "roles/kms.rs"]
mod kms;
#[path = "nitro/memory.rs"]
mod memory;
mod objects;
mod support;
#[path = "roles/tasks.rs"]
mod tasks;
mod tool;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use datakey::crypto::PrivateKey;
use datakey::kms::embedded::{self, Fault, FaultKind};
use enclave::{Authority, Claims, Device, IMAGE};
use host::steps::{limit, run, say};
use host::{LINKED, Module, call};
use kms::{Scene, template};
use serde_json::{Value, json};
use std::process::Command;
use std::ptr::null_mut;
use std::sync::Arc;
use support::ask_kms;

const DONE: &str = "0x0 0x0";
const DENIED: &str = "0x30 0x104";
const REJECTED: &str = "0x30 0x10e";
const UNAVAILABLE: &str = "0x30 0x114";
const BYPASSED: &str = "0x30 0x115";
const ANSWER: &str = "0x30 0x116";

/// The step that this process is for, if it is a host.
fn step() -> Option<String> {
    LINKED.get_or_init(|| datakey::capi::C_GetInterface);
    host::steps::step()
}

/// A token in an enclave, on a KMS that trusts it.
fn enclave(test: &'static str, more: &str) -> (Device, Scene) {
    let device = Device::new();
    let scene = Scene::new(test, &format!("{}\n{more}", device.setting()));
    scene.server().trust_attestation_root(device.authority.root()).unwrap();
    (device, scene)
}

#[test]
fn keys_are_made_and_used_where_the_key_policy_says_and_nowhere_else() {
    const NAME: &str = "keys_are_made_and_used_where_the_key_policy_says_and_nowhere_else";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let (device, scene) = enclave(NAME, "");
    scene.principals(json!({ "ENCLAVE": scene.role("enclave", &[]), "ADMIN": scene.role("kms-admin", &[]) }));
    let policy = template("key-policy-nitro.json", &scene).to_string();
    let put = json!({ "KeyId": scene.key, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true });
    assert_eq!(scene.ask("ROOT", "PutKeyPolicy", &put).0, 200);

    // What is made can be used at once, by one call each, all with one document.
    let tasks = "pair:sign:sign request:sign sign:sign verify:sign pair:decrypt:decrypt decrypt:decrypt secret";
    let (said, calls) = scene.configured("ENCLAVE", "", tasks);
    assert_eq!(said, [DONE; 7]);
    assert_eq!(calls, [("GenerateDataKey".to_owned(), 1), ("GenerateDataKeyPair".to_owned(), 2)]);
    let first = device.public_keys();
    assert_eq!(first.len(), 1);
    // Cold, then warm, in another process, which has a key of its own.
    let (said, calls) = scene.configured("ENCLAVE", "", "sign:sign sign:sign decrypt:decrypt");
    assert_eq!((said, calls), (vec![DONE.to_owned(); 3], vec![("Decrypt".to_owned(), 2)]));
    let second = device.public_keys();
    assert!(second.len() == 1 && second != first);

    // The same role without a document, in another image, and with one that is too old.
    assert_eq!(scene.without("attestation", "ENCLAVE", "sign:sign pair:more:sign secret"), [DENIED; 3]);
    device.say(|claims| drop(claims.pcrs.insert(0, vec![7; 48])));
    assert_eq!(scene.host("ENCLAVE", "sign:sign pair:more:sign secret"), [DENIED; 3]);
    device.say(|claims| claims.age = 310);
    assert_eq!(scene.host("ENCLAVE", "sign:sign pair:more:sign"), [DENIED; 2]);
    device.behave();
    // Another role in the right image, and the account's root user outside.
    assert_eq!(scene.host("ADMIN", "sign:sign pair:more:sign"), [DENIED; 2]);
    let blob =
        json!({ "KeyId": scene.key, "CiphertextBlob": "AAAA", "EncryptionContext": { "datakey-pkcs11:token": "x" } });
    for who in ["ROOT", "ENCLAVE", "ADMIN"] {
        assert_eq!(scene.ask(who, "Decrypt", &blob).1["__type"], "AccessDeniedException", "{who}");
    }
    // Nothing leaves by a side door: to another key, by a grant, or by a context that is no token's.
    assert_eq!(scene.host("ENCLAVE", "change:sign import count"), [DENIED, DENIED, "5"]);
    let grant = json!({ "KeyId": scene.key, "GranteePrincipal": "arn:aws:iam::111122223333:role/enclave", "Operations": ["Decrypt"] });
    assert_eq!(scene.ask("ADMIN", "CreateGrant", &grant).0, 400);
    let known = Claims::new(PrivateKey::generate_rsa_2048().unwrap().public_key().spki_der());
    let mut proven = attested(&device.authority.sign(&known));
    proven["KeyId"] = json!(scene.key);
    proven["KeySpec"] = json!("AES_256");
    assert_eq!(scene.ask("ENCLAVE", "GenerateDataKey", &proven).0, 400);
    proven["EncryptionContext"] = json!({ "datakey-pkcs11:token": "x" });
    assert_eq!(scene.ask("ENCLAVE", "GenerateDataKey", &proven).0, 200);
    assert_eq!(scene.host("ENCLAVE", "sign:sign"), [DONE]);
}

/// A request with this document.
fn attested(document: &[u8]) -> Value {
    let document = STANDARD.encode(document);
    json!({ "Recipient": { "AttestationDocument": document, "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256" } })
}

#[test]
fn whatever_is_wrong_with_device_or_answer_has_its_number() {
    const NAME: &str = "whatever_is_wrong_with_device_or_answer_has_its_number";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let device = Device::new();
    let scene = Scene::new(NAME, &device.setting());
    let both = "pair:more:sign sign:sign";
    // A KMS that trusts nobody.
    assert_eq!(scene.host("X", "pair:sign:sign count"), [REJECTED, "0"]);
    scene.server().trust_attestation_root(device.authority.root()).unwrap();
    assert_eq!(scene.host("X", "pair:sign:sign request:sign sign:sign"), [DONE; 3]);

    device.say(|claims| claims.age = 310);
    assert_eq!(scene.host("X", both), [REJECTED; 2]);
    device.say(|claims| claims.public_key = None);
    assert_eq!(scene.host("X", both), [REJECTED; 2]);
    let another = PrivateKey::generate_rsa_2048().unwrap().public_key().spki_der().to_vec();
    device.say(move |claims| claims.public_key = Some(another.clone()));
    assert_eq!(scene.host("X", both), [ANSWER; 2]);
    for response in [&b"\xa1\x65Error\x70InvalidOperation"[..], b"", b"\xff", b"\xa1\x6bAttestation\xa0"] {
        device.respond(response);
        assert_eq!(scene.host("X", both), [UNAVAILABLE; 2], "{response:x?}");
    }
    device.behave();
    // A document that KMS does not like is asked for once more, not kept.
    device.public_keys();
    let rejected = FaultKind::Error { code: "ValidationException".to_owned(), status: None, message: String::new() };
    scene.server().control().inject_any(rejected);
    assert_eq!(scene.host("X", "sign:sign sign:sign sign:sign"), [REJECTED, DONE, DONE]);
    assert_eq!(device.public_keys().len(), 2);

    // Answers of somebody in between.
    let key = PrivateKey::generate_rsa_2048().unwrap();
    let mut request = attested(&device.authority.sign(&Claims::new(key.public_key().spki_der())));
    request["KeyId"] = json!(scene.key);
    request["KeySpec"] = json!("AES_256");
    let (status, theirs) = scene.ask("X", "GenerateDataKey", &request);
    assert_eq!((status, theirs.get("Plaintext")), (200, None));
    let theirs = &theirs["CiphertextForRecipient"];
    let plain = STANDARD.encode([1; 32]);
    for (answer, expected) in [
        (json!({ "Plaintext": plain }), BYPASSED),
        (json!({ "Plaintext": plain, "CiphertextForRecipient": theirs }), BYPASSED),
        (json!({ "Plaintext": "", "CiphertextForRecipient": theirs }), ANSWER),
        (json!({ "Plaintext": null, "CiphertextForRecipient": theirs }), ANSWER),
        (json!({ "CiphertextForRecipient": plain }), ANSWER),
        (json!({ "CiphertextForRecipient": "" }), "0x30 0x10d"),
        (json!({}), "0x30 0x10d"),
    ] {
        for (operation, tasks) in [("Decrypt", "sign:sign"), ("GenerateDataKeyPair", "pair:more:sign")] {
            let mut body = answer.clone();
            body["KeyId"] = json!(scene.key);
            if operation == "GenerateDataKeyPair" {
                body["PublicKey"] = json!(plain);
                body["PrivateKeyCiphertextBlob"] = json!(plain);
                if let Some(plaintext) = body.as_object_mut().unwrap().remove("Plaintext") {
                    body["PrivateKeyPlaintext"] = plaintext;
                }
            }
            let fault = FaultKind::Body { status: 200, text: body.to_string() };
            scene.server().control().inject(Fault { operation: Some(operation.to_owned()), fault });
            assert_eq!(scene.host("X", tasks), [expected], "{operation}: {body}");
        }
    }
    std::fs::remove_file(device.path()).unwrap();
    assert_eq!(scene.host("X", both), [UNAVAILABLE; 2]);
    std::fs::write(device.path(), "").unwrap();
    assert_eq!(scene.host("X", both), [UNAVAILABLE; 2]);
    assert_eq!(scene.host("X", "count"), ["2"]);
}

#[test]
fn an_answer_for_this_enclave_that_was_altered_does_not_open() {
    const NAME: &str = "an_answer_for_this_enclave_that_was_altered_does_not_open";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let (device, scene) = enclave(NAME, "");
    assert_eq!(scene.host("X", "pair:sign:sign request:sign"), [DONE; 2]);
    // Once the host has its document, KMS is asked for a secret with the same, and the answer awaits the host.
    let answered = |alter: fn(&mut Vec<u8>)| {
        let (authority, server, key) = (Arc::clone(&device.authority), scene.server(), scene.key.clone());
        device.say(move |claims| {
            let mut request = attested(&authority.sign(claims));
            request["KeyId"] = json!(key);
            request["KeySpec"] = json!("AES_256");
            let (status, answer) = ask_kms(server.address().port(), "GenerateDataKey", &request.to_string());
            assert_eq!(status, 200, "{answer}");
            let mut encrypted = STANDARD.decode(answer["CiphertextForRecipient"].as_str().unwrap()).unwrap();
            alter(&mut encrypted);
            let text = json!({ "KeyId": key, "CiphertextForRecipient": STANDARD.encode(encrypted) }).to_string();
            let fault = FaultKind::Body { status: 200, text };
            server.control().inject(Fault { operation: Some("Decrypt".to_owned()), fault });
        });
        scene.host("X", "sign:sign")
    };
    // As it is it opens, to what is no private key.
    assert_eq!(answered(|_| {}), ["0x30 0x204"]);
    // The five ends of what has no length, and before them three blocks, the last of which is padding.
    assert_eq!(answered(|encrypted| *encrypted.iter_mut().rev().nth(10 + 16).unwrap() ^= 1), [ANSWER]);
    // The encrypted key.
    assert_eq!(answered(|encrypted| encrypted[200] ^= 1), [ANSWER]);
    assert_eq!(answered(|encrypted| encrypted.truncate(encrypted.len() - 1)), [ANSWER]);
    assert_eq!(answered(|encrypted| encrypted.push(0)), [ANSWER]);
    device.behave();
    assert_eq!(scene.host("X", "sign:sign"), [DONE]);
}

#[test]
fn a_token_without_pins_has_its_token_key_from_kms() {
    const NAME: &str = "a_token_without_pins_has_its_token_key_from_kms";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let device = Device::new();
    let scene = Scene::unmade(NAME, &format!("{}\nlogin = \"none\"", device.setting()));
    scene.server().trust_attestation_root(device.authority.root()).unwrap();
    let (said, calls) = scene.configured("X", "", "initialise pair:sign:sign request:sign sign:sign");
    assert_eq!(said, ["0x0", DONE, DONE, DONE]);
    let calls: Vec<_> = calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(calls, [("Decrypt", 1), ("GenerateDataKey", 1), ("GenerateDataKeyPair", 1)]);
    assert_eq!(scene.host("X", "sign:sign"), [DONE]);
    // A key whose private half is never here needs nobody to attest; to use it does.
    device.public_keys();
    let (said, calls) = scene.without_plaintext("X", "pair:more:sign count");
    assert_eq!((said, device.public_keys().len()), (vec![DONE.to_owned(), "4".to_owned()], 1));
    assert!(calls.contains(&("GenerateDataKeyPairWithoutPlaintext".to_owned(), 1)), "{calls:?}");
}

#[test]
fn a_forked_child_has_a_key_of_its_own() {
    const NAME: &str = "a_forked_child_has_a_key_of_its_own";
    match step().as_deref() {
        None => {}
        Some("fork") => return forking(),
        Some(step) => return tasks::host(step),
    }
    let (device, scene) = enclave(NAME, "cache = { max_age = 0 }");
    assert_eq!(run(NAME, "fork", &scene.configuration()), ["parent 0x0", "child 0", "parent 0x0"]);
    let keys = device.public_keys();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

/// A host that signs, forks, signs in the child, and signs again.
fn forking() {
    let module = Module::start_step();
    let session = module.enter();
    let (_, private) = module.generate(session, host::Kind::P256, b"k");
    let sign = |session, key| module.sign(session, key, CKM_ECDSA_SHA256, b"data").err().unwrap_or(CKR_OK);
    say(format!("parent {:#x}", sign(session, private)));
    // SAFETY: the child calls the module, which knows of forks, and ends without going back.
    let child = unsafe { libc::fork() };
    if child == 0 {
        limit(60);
        let inherited = call!(module, C_GetInfo, null_mut()) == CKR_CRYPTOKI_NOT_INITIALIZED;
        module.initialise();
        let session = module.enter();
        let signed = sign(session, module.private_key(session, b"k")) == CKR_OK;
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(if inherited && signed { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child above.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    say(format!("child {status}"));
    say(format!("parent {:#x}", sign(session, private)));
    module.finalise();
}

#[test]
fn no_private_key_is_in_plaintext_but_in_the_protected_pool() {
    const NAME: &str = "no_private_key_is_in_plaintext_but_in_the_protected_pool";
    match step().as_deref() {
        None => {}
        Some(memory::MAKE) => return memory::make(),
        Some(memory::LIVE) => return memory::live(),
        Some(step) => return tasks::host(step),
    }
    let (_device, scene) = enclave(NAME, "");
    memory::watch(NAME, &scene.configuration(), &scene.server());
}

#[test]
fn the_embedded_kms_takes_no_document_that_proves_nothing() {
    let keys = tempfile::tempdir().unwrap();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("kms.json"), true).unwrap();
    let ask = |recipient: &Value| {
        let mut request = recipient.clone();
        request["KeyId"] = json!(embedded::DEFAULT_ALIAS);
        request["NumberOfBytes"] = json!(1024);
        ask_kms(server.address().port(), "GenerateDataKey", &request.to_string())
    };
    let refused = |recipient: &Value, code: &str, why: &str| {
        let (status, answer) = ask(recipient);
        assert_eq!((status, answer["__type"].as_str()), (400, Some(code)), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(why), "{why}: {answer}");
    };
    let authority = Authority::new();
    let theirs = Theirs::new(2048);
    let claims = Claims::new(&theirs.public_key());
    let good = authority.sign(&claims);
    let invalid = "ValidationException";
    refused(&attested(&good), invalid, "a root that is not trusted here");
    assert!(server.trust_attestation_root(&authority.certificate).is_err());
    assert!(server.trust_attestation_root(b"no certificate").is_err());
    server.trust_attestation_root(authority.root()).unwrap();

    // What it encrypts OpenSSL opens, and it has the form of KMS's; and it answers nothing beside.
    let (status, answer) = ask(&attested(&good));
    assert_eq!((status, answer.get("Plaintext")), (200, None), "{answer}");
    let encrypted = STANDARD.decode(answer["CiphertextForRecipient"].as_str().unwrap()).unwrap();
    assert!(encrypted.starts_with(&[0x30, 0x80, 6, 9]) && encrypted.ends_with(&[0; 10]));
    assert_eq!(theirs.opens(&encrypted).len(), 1024);

    // Each bit of it counts: its tag and its certificates, claims and signature.
    for at in (0..good.len()).step_by(97).chain([0, 1, good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        assert_eq!(ask(&attested(&bad)).0, 400, "byte {at}");
    }
    for cut in [1, 100, good.len() - 1] {
        refused(&attested(&good[..cut]), invalid, "it is no COSE_Sign1");
    }
    refused(&attested(&[&good[..], &[0]].concat()), invalid, "something behind it");
    let with_tag = attested(&[&[0xd2], &good[..]].concat());
    assert_eq!(ask(&with_tag).0, 200);
    refused(&attested(&[&[0xd1], &good[..]].concat()), invalid, "another tag");
    let change = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims.clone();
        change(&mut claims);
        attested(&authority.sign(&claims))
    };
    assert_eq!(ask(&change(&|claims| claims.age = 290)).0, 200);
    for (bad, why) in [
        (change(&|claims| claims.age = 310), "seconds off, more than 300"),
        (change(&|claims| claims.age = -310), "seconds off, more than 300"),
        (change(&|claims| claims.digest = "SHA256"), "another digest"),
        (change(&|claims| claims.pcrs.clear()), "so many PCRs"),
        (change(&|claims| drop(claims.pcrs.insert(32, vec![0; 48]))), "such a PCR"),
        (change(&|claims| drop(claims.pcrs.insert(3, vec![0; 20]))), "such a PCR"),
        (change(&|claims| claims.without = "module_id"), "a field is missing"),
        (change(&|claims| claims.without = "timestamp"), "a field is missing"),
        (change(&|claims| claims.public_key = None), "it has no public_key"),
        (change(&|claims| claims.public_key = Some(vec![0; 1025])), "too long"),
    ] {
        refused(&bad, invalid, why);
    }
    let long = Theirs::new(3072).public_key();
    assert_eq!(ask(&change(&|claims| claims.public_key = Some(long.clone()))).0, 500);

    let signs = "keyUsage=critical,digitalSignature";
    let ca = "basicConstraints=critical,CA:TRUE";
    for (authority, why) in [
        (Authority::with("basicConstraints=critical,CA:FALSE", signs, 2), "of no authority"),
        (Authority::with("keyUsage=critical,keyCertSign", signs, 2), "of no authority"),
        (Authority::with(&format!("{ca}\nkeyUsage=critical,digitalSignature"), signs, 2), "not for certificates"),
        (Authority::with(ca, "keyUsage=critical,keyAgreement", 2), "not for signatures"),
        (Authority::with(ca, signs, -1), "not valid now"),
    ] {
        server.trust_attestation_root(authority.root()).unwrap();
        refused(&attested(&authority.sign(&claims)), invalid, why);
    }
    let mut strange = Authority::new();
    server.trust_attestation_root(strange.root()).unwrap();
    strange.certificate.clone_from(&authority.certificate);
    refused(&attested(&strange.sign(&claims)), invalid, "certificate's signature is wrong");
    strange.bundle.clear();
    refused(&attested(&strange.sign(&claims)), invalid, "cabundle is empty");

    let mut recipient = attested(&good);
    for (field, value, code) in [
        ("KeyEncryptionAlgorithm", json!("RSAES_OAEP_SHA_1"), invalid),
        ("KeyEncryptionAlgorithm", json!(null), invalid),
        ("AttestationDocument", json!(""), invalid),
        ("AttestationDocument", json!("?"), "SerializationException"),
        ("More", json!(1), "UnsupportedOperationException"),
    ] {
        let whole = recipient["Recipient"].clone();
        recipient["Recipient"][field] = value;
        refused(&recipient, code, "");
        recipient["Recipient"] = whole;
    }
    let mut without = attested(&good);
    without["KeyId"] = json!(embedded::DEFAULT_ALIAS);
    without["KeySpec"] = json!("AES_256");
    let port = server.address().port();
    let (_, answer) = ask_kms(port, "GenerateDataKeyWithoutPlaintext", &without.to_string());
    assert_eq!(answer["__type"], "UnsupportedOperationException");
}

/// A key of OpenSSL's.
struct Theirs(tempfile::TempDir);

impl Theirs {
    fn openssl(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn new(bits: u32) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.openssl(&format!("genrsa -out key.pem {bits}"));
        this
    }

    fn public_key(&self) -> Vec<u8> {
        self.openssl("rsa -in key.pem -pubout -outform DER")
    }

    fn opens(&self, encrypted: &[u8]) -> Vec<u8> {
        std::fs::write(self.0.path().join("answer"), encrypted).unwrap();
        self.openssl("cms -decrypt -binary -inform DER -in answer -inkey key.pem")
    }
}

#[test]
fn doctor_says_whether_an_enclave_attests() {
    let device = Device::new();
    let keys = tempfile::tempdir().unwrap();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("kms.json"), true).unwrap();
    server.trust_attestation_root(device.authority.root()).unwrap();
    let finding = |attestation: &str| {
        let setup = tool::Setup::at(&server.url(), attestation).initialised();
        let answer = setup.run(&["--json", "doctor"]).json();
        let of = |check: &str| {
            let found = answer["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
            found.map(|finding| (finding["level"].clone(), finding["what"].clone())).collect::<Vec<_>>()
        };
        (of("attestation"), of("permission"))
    };
    let (attestation, permissions) = finding(&device.setting());
    assert_eq!(attestation[0].0, "ok");
    assert!(attestation[0].1.as_str().unwrap().ends_with(&format!("PCR0 is {IMAGE}")), "{attestation:?}");
    assert!(permissions.len() > 3 && permissions.iter().all(|(level, _)| level == "ok"), "{permissions:?}");
    device.say(|claims| claims.pcrs.values_mut().for_each(|value| value.fill(0)));
    let (attestation, permissions) = finding(&device.setting());
    assert_eq!((&attestation[0].0, permissions.len() > 3), (&json!("warning"), true));
    assert!(attestation[0].1.as_str().unwrap().contains("debug mode"), "{attestation:?}");
    let (attestation, permissions) = finding("attestation = \"nitro:/nonexistent/nsm\"");
    assert_eq!(attestation[0].0, "error");
    assert!(attestation[0].1.as_str().unwrap().contains("/nonexistent/nsm: No such file"), "{attestation:?}");
    assert_eq!(permissions, []);
    assert_eq!(finding("").0, []);
}

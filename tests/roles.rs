//! The templates of `docs/iam` at work: what hosts with these roles can and cannot do, through the C API. Each host is a
//! process of its own with an access key of its own; all have the same store, and the embedded KMS judges their calls.

mod host;
#[path = "roles/kms.rs"]
mod kms;
mod objects;
#[path = "roles/tasks.rs"]
mod tasks;

use cryptoki_sys::*;
use host::steps::step;
use kms::{Scene, template};
use serde_json::{Value, json};

/// What a host answers that KMS lets, and that it does not.
const DONE: &str = "0x0 0x0";
const DENIED: &str = "0x30 0x104";

#[test]
fn every_template_is_used_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/iam");
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    assert_eq!(names, kms::TEMPLATES);
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    for name in names {
        assert!(readme.contains(&format!("[`{name}`]({name})")), "{name} is not in the README");
    }
}

#[test]
fn who_makes_keys_need_not_be_able_to_use_them() {
    const NAME: &str = "who_makes_keys_need_not_be_able_to_use_them";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let scene = Scene::new(NAME, "encryption_context = { app = \"web\" }");
    scene.principals(json!({
        "GENERATE": scene.role("provision", &["generate-only.json"]),
        "SIGN": scene.role("web", &["sign-only.json"]),
    }));

    // It makes keys without ever seeing one, tells their public halves, and builds what is to be signed elsewhere.
    let (said, calls) = scene.without_plaintext("GENERATE", "pair:sign:sign pair:decrypt:decrypt request:sign count");
    assert_eq!(said, [DONE, DONE, DONE, "4"]);
    assert_eq!(calls, [("GenerateDataKeyPairWithoutPlaintext".to_owned(), 2)]);
    // It can never use one, nor bring in or make what it would know.
    let (said, calls) =
        scene.without_plaintext("GENERATE", "sign:sign decrypt:decrypt secret import change:sign count");
    assert_eq!(said, [DENIED, DENIED, DENIED, DENIED, DENIED, "4"]);
    let tried = ["Decrypt", "Encrypt", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"];
    assert_eq!(calls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), tried);
    // Nor with another configuration: it is KMS that refuses.
    assert_eq!(scene.host("GENERATE", "pair:more:sign sign:sign count"), [DENIED, DENIED, "4"]);

    // Who signs signs, and does nothing else.
    assert_eq!(scene.host("SIGN", "sign:sign verify:sign"), [DONE, DONE]);
    scene.check_request();
    let said = scene.host("SIGN", "decrypt:decrypt pair:more:sign import secret change:sign count");
    assert_eq!(said, [DENIED, DENIED, DENIED, DENIED, DENIED, "4"]);
    // The maker of the keys reads that the request is signed.
    assert_eq!(scene.without_plaintext("GENERATE", "verify:sign").0, [DONE]);
    // Of another token it is not the maker, and keys without the pair that the signer's role demands are not its own.
    let elsewhere = scene.beside("");
    assert_eq!(elsewhere.without_plaintext("GENERATE", "pair:sign:sign count").0, [DENIED, "0"]);
    let any = elsewhere.role("any", &["token-with-pin.json"]);
    scene.principals(json!({ "TOKEN": any, "SIGN": elsewhere.role("web", &["sign-only.json"]) }));
    assert_eq!(elsewhere.host("TOKEN", "pair:sign:sign request:sign sign:sign"), [DONE, DONE, DONE]);
    assert_eq!(elsewhere.host("SIGN", "sign:sign"), [DENIED]);
}

#[test]
fn each_usage_has_its_role() {
    const NAME: &str = "each_usage_has_its_role";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let scene = Scene::new(NAME, "encryption_context = { app = \"web\" }");
    scene.principals(json!({
        "TOKEN": scene.role("admin", &["token-with-pin.json"]),
        "SIGN": scene.role("web", &["sign-only.json"]),
        "DECRYPT": scene.role("mail", &["decrypt-only.json"]),
        "BOTH": scene.role("both", &["sign-only.json", "decrypt-only.json"]),
        "CHANGE": scene.role("change", &["change-only.json"]),
        "AUDIT": scene.role("audit", &["auditor.json"]),
    }));
    let said = scene.host("TOKEN", "pair:sign:sign pair:decrypt:decrypt pair:both:decrypt,sign request:sign count");
    assert_eq!(said, [DONE, DONE, DONE, DONE, "6"]);
    let said = scene.host("TOKEN", "sign:sign decrypt:decrypt decrypt:both import secret");
    assert_eq!(said, [DONE, DONE, DONE, DENIED, DENIED]);
    for (role, signs, decrypts) in
        [("SIGN", DONE, DENIED), ("DECRYPT", DENIED, DONE), ("BOTH", DONE, DONE), ("AUDIT", DENIED, DENIED)]
    {
        // A key that does both is neither's: what it may do is one value.
        let said = scene.host(role, "sign:sign decrypt:decrypt decrypt:both verify:sign");
        assert_eq!(said, [signs, decrypts, DENIED, DONE], "{role}");
        let said = scene.host(role, "pair:more:sign pair:more:decrypt import secret count");
        assert_eq!(said, [DENIED, DENIED, DENIED, DENIED, "6"], "{role}");
    }
    assert_eq!(scene.host("TOKEN", "pair:unwrap:unwrap pair:more:decrypt,unwrap"), [DONE, DONE]);
    assert_eq!(scene.host("DECRYPT", "unwrap:unwrap unwrap:more decrypt:more"), [DONE, DONE, DONE]);
    assert_eq!(scene.host("SIGN", "unwrap:unwrap unwrap:more"), [DENIED, DENIED]);

    // Who changes what keys may do sees none; and a key that may do more is no longer that of who only signs.
    assert_eq!(scene.host("CHANGE", "sign:sign decrypt:decrypt change:sign"), [DENIED, DENIED, DONE]);
    assert_eq!(scene.host("SIGN", "sign:sign"), [DENIED]);
    assert_eq!(scene.host("TOKEN", "sign:sign change:decrypt"), [DONE, DENIED]);

    // The auditor sees who may use the key, and nobody else does.
    for (operation, request) in [
        ("DescribeKey", json!({ "KeyId": scene.key })),
        ("GetKeyPolicy", json!({ "KeyId": scene.key })),
        ("ListGrants", json!({ "KeyId": scene.key })),
        ("ListAliases", json!({})),
    ] {
        assert_eq!(scene.ask("AUDIT", operation, &request).0, 200, "{operation}");
        assert_eq!(scene.ask("SIGN", operation, &request).0, 400, "{operation}");
    }
    // Another token's key is nobody's here, though the same KMS key seals it.
    let elsewhere = scene.beside("encryption_context = { app = \"web\" }");
    let said = elsewhere.host("TOKEN", "pair:sign:sign pair:decrypt:decrypt request:sign sign:sign decrypt:decrypt");
    assert_eq!(said, [DONE, DONE, DONE, DONE, DONE]);
    for (role, task) in [("SIGN", "sign:sign"), ("DECRYPT", "decrypt:decrypt"), ("CHANGE", "change:sign")] {
        assert_eq!(elsewhere.host(role, task), [DENIED], "{role}");
    }
    // Nor is what belongs to no token.
    let key = scene.key.as_str();
    for (operation, request) in [
        ("GenerateDataKeyPair", json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256" })),
        ("Decrypt", json!({ "KeyId": key, "CiphertextBlob": "AAAA" })),
    ] {
        assert_eq!(scene.ask("TOKEN", operation, &request).1["__type"], "AccessDeniedException", "{operation}");
    }
}

#[test]
fn a_token_without_pins_needs_its_token_key() {
    const NAME: &str = "a_token_without_pins_needs_its_token_key";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let scene = Scene::unmade(NAME, "login = \"none\"");
    scene.principals(json!({
        "WITH": scene.role("with-pin", &["token-with-pin.json"]),
        "WITHOUT": scene.role("without-pin", &["token-without-pin.json"]),
    }));
    assert_eq!(scene.host("WITH", "initialise"), ["0x30"]);
    let said = scene.host("WITHOUT", "initialise pair:sign:sign request:sign sign:sign import");
    assert_eq!(said, ["0x0", DONE, DONE, DONE, DENIED]);
    let of_no_token = json!({ "KeyId": scene.key, "KeySpec": "AES_256" });
    assert_eq!(scene.ask("WITHOUT", "GenerateDataKey", &of_no_token).0, 400);
    // Once it is there, making it is no longer needed.
    assert_eq!(scene.host("WITH", "sign:sign import"), [DONE, DENIED]);
}

#[test]
fn hosts_seal_by_a_key_that_opens_only_in_an_emergency() {
    const NAME: &str = "hosts_seal_by_a_key_that_opens_only_in_an_emergency";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let scene = Scene::new(NAME, "");
    let (_, made) = scene.ask("ROOT", "CreateKey", &json!({}));
    let additional = made["KeyMetadata"]["Arn"].as_str().unwrap();
    let policy = template("additional-key-policy.json", &scene).to_string();
    let put = json!({ "KeyId": additional, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true });
    assert_eq!(scene.ask("ROOT", "PutKeyPolicy", &put).0, 200);
    scene.principals(json!({
        "ADMIN": scene.role("kms-admin", &[]),
        "WEB": scene.role("web", &["token-with-pin.json", "change-only.json"]),
        "OTHER": scene.role("other", &["token-with-pin.json"]),
        "EMERGENCY": scene.role("break-glass", &[]),
    }));
    let more = format!("additional_kms_keys = [{{ kms_key_id = \"{additional}\" }}]");
    let host = |who: &str, tasks: &str| scene.configured(who, &more, tasks);
    let (said, calls) = host("WEB", "pair:sign:sign request:sign sign:sign");
    assert_eq!(said, [DONE, DONE, DONE]);
    assert_eq!(calls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Encrypt", "GenerateDataKeyPair"]);
    // Who may not seal by it makes no key at all.
    assert_eq!(host("OTHER", "pair:more:sign count").0, [DENIED, "2"]);
    // While the first key is there, who may open by the other needs no more; without it, hosts open nothing.
    assert_eq!(host("EMERGENCY", "sign:sign").0, [DONE]);
    assert_eq!(scene.ask("ROOT", "DisableKey", &json!({ "KeyId": scene.key })).0, 200);
    assert_eq!(host("WEB", "sign:sign").0, ["0x30 0x106"]);
    assert_eq!(host("EMERGENCY", "sign:sign pair:more:sign").0, [DONE, DENIED]);
    assert_eq!(scene.ask("ROOT", "EnableKey", &json!({ "KeyId": scene.key })).0, 200);
    // What a key may do is changed without a right to open anything by the other.
    assert_eq!(host("WEB", "change:sign").0, [DONE]);
    assert_eq!(scene.ask("ADMIN", "DisableKey", &json!({ "KeyId": additional })).0, 200);
    assert_eq!(host("WEB", "pair:more:sign count").0, ["0x30 0x106", "2"]);
}

#[test]
fn a_key_policy_and_a_grant_decide_alone() {
    const NAME: &str = "a_key_policy_and_a_grant_decide_alone";
    if let Some(step) = step() {
        return tasks::host(&step);
    }
    let scene = Scene::new(NAME, "");
    let everything = json!({ "Effect": "Allow", "Action": "kms:*", "Resource": "*" });
    let everything = json!({ "Version": "2012-10-17", "Statement": everything });
    let mut mallory = scene.role("mallory", &[]);
    mallory["policies"] = json!([everything]);
    scene.principals(json!({
        "ADMIN": scene.role("kms-admin", &[]),
        "GENERATE": scene.role("web-provision", &[]),
        "SIGN": scene.role("web-sign", &[]),
        "RELEASE": scene.role("release", &[]),
        "AUDIT": scene.role("auditor", &[]),
        "BUILD": scene.role("build", &[]),
        "MALLORY": mallory,
    }));
    let policy = template("key-policy.json", &scene).to_string();
    let put = json!({ "KeyId": scene.key, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true });
    assert_eq!(scene.ask("ROOT", "PutKeyPolicy", &put).0, 200);
    // Those whom it names need no policy of their own, and nobody's own policy helps.
    let (said, _) = scene.without_plaintext("GENERATE", "pair:sign:sign pair:decrypt:decrypt request:sign sign:sign");
    assert_eq!(said, [DONE, DONE, DONE, DENIED]);
    assert_eq!(scene.host("SIGN", "sign:sign decrypt:decrypt verify:sign"), [DONE, DENIED, DONE]);
    for other in ["ADMIN", "RELEASE", "AUDIT", "BUILD", "MALLORY"] {
        assert_eq!(scene.host(other, "sign:sign pair:more:sign count"), [DENIED, DENIED, "4"], "{other}");
    }
    let the_key = json!({ "KeyId": scene.key });
    for operation in ["DescribeKey", "GetKeyPolicy", "ListGrants"] {
        for (who, status) in [("ADMIN", 200), ("AUDIT", 200), ("SIGN", 400), ("MALLORY", 400)] {
            assert_eq!(scene.ask(who, operation, &the_key).0, status, "{who}, {operation}");
        }
    }
    for operation in ["DisableKey", "EnableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "EnableKey"] {
        assert_eq!(scene.ask("AUDIT", operation, &the_key).0, 400, "{operation}");
        assert_eq!(scene.ask("ADMIN", operation, &the_key).0, 200, "{operation}");
    }
    // Who may put a policy stays who may.
    let put = json!({ "KeyId": scene.key, "Policy": policy });
    assert_eq!((scene.ask("ADMIN", "PutKeyPolicy", &put).0, scene.ask("MALLORY", "PutKeyPolicy", &put).0), (200, 400));
    what_belongs_to_no_token_is_forbidden(&scene);
    assert_eq!(scene.ask("ADMIN", "PutKeyPolicy", &put).0, 200);

    // A grant lends the signing keys to a job, and nothing else.
    let lend = template("grant.json", &scene);
    let lend_token = &lend["Constraints"]["EncryptionContextSubset"]["datakey-pkcs11:token"];
    for (field, value) in [
        ("Operations", json!(["Decrypt", "Encrypt"])),
        ("Constraints", json!({ "EncryptionContextEquals": lend["Constraints"]["EncryptionContextSubset"] })),
        ("Constraints", json!(null)),
        ("Constraints", json!({ "EncryptionContextSubset": { "datakey-pkcs11:usage": "sign" } })),
        ("Constraints", json!({ "EncryptionContextSubset": { "datakey-pkcs11:token": lend_token } })),
    ] {
        let mut more = lend.clone();
        more[field] = value;
        assert_eq!(scene.ask("RELEASE", "CreateGrant", &more).1["__type"], "AccessDeniedException", "{field}");
    }
    assert_eq!(scene.ask("SIGN", "CreateGrant", &lend).0, 400);
    let (status, grant) = scene.ask("RELEASE", "CreateGrant", &lend);
    assert_eq!(status, 200);
    assert_eq!(scene.host("BUILD", "sign:sign decrypt:decrypt pair:more:sign"), [DONE, DENIED, DENIED]);
    let elsewhere = scene.beside("");
    assert_eq!(elsewhere.without_plaintext("GENERATE", "pair:sign:sign request:sign").0, [DONE, DONE]);
    for host in ["SIGN", "BUILD"] {
        assert_eq!(elsewhere.host(host, "sign:sign"), [DENIED], "{host}");
    }
    // Its token may be configured; one that is none is refused.
    let token = |token: &str| format!("grant_tokens = [\"{token}\"]");
    let (said, _) = scene.configured("BUILD", &token(grant["GrantToken"].as_str().unwrap()), "sign:sign");
    assert_eq!(said, [DONE]);
    let (said, _) = scene.configured("BUILD", &token("0123"), "sign:sign");
    assert_eq!(said[0].split(' ').next(), Some("0x30"));
    assert_ne!(said, [DENIED]);
    // Who administers the key takes it back, and so does whom it names for that.
    let revoke = json!({ "KeyId": scene.key, "GrantId": grant["GrantId"] });
    assert_eq!(
        (scene.ask("AUDIT", "RevokeGrant", &revoke).0, scene.ask("ADMIN", "RevokeGrant", &revoke).0),
        (400, 200)
    );
    assert_eq!(scene.host("BUILD", "sign:sign"), [DENIED]);
    let (_, grant) = scene.ask("RELEASE", "CreateGrant", &lend);
    assert_eq!(scene.host("BUILD", "sign:sign"), [DONE]);
    let retire = json!({ "KeyId": scene.key, "GrantId": grant["GrantId"] });
    assert_eq!(
        (scene.ask("BUILD", "RetireGrant", &retire).0, scene.ask("RELEASE", "RetireGrant", &retire).0),
        (400, 200)
    );
    assert_eq!(scene.host("BUILD", "sign:sign"), [DENIED]);
    assert_eq!(CKR_DEVICE_ERROR, 0x30);
}

/// The key policy with a statement more, which allows everything: its last statement still forbids this.
fn what_belongs_to_no_token_is_forbidden(scene: &Scene) {
    let mut policy = template("key-policy.json", scene);
    let everything = json!({ "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*" });
    policy["Statement"].as_array_mut().unwrap().push(everything);
    let put = json!({ "KeyId": scene.key, "Policy": policy.to_string() });
    assert_eq!(scene.ask("ADMIN", "PutKeyPolicy", &put).0, 200);
    let (token, none) = (json!({ "datakey-pkcs11:token": "any" }), json!({ "app": "web" }));
    for (operation, fields) in [
        ("GenerateDataKeyPair", json!({ "KeyPairSpec": "ECC_NIST_P256" })),
        ("GenerateDataKeyPairWithoutPlaintext", json!({ "KeyPairSpec": "ECC_NIST_P256" })),
        ("GenerateDataKey", json!({ "KeySpec": "AES_256" })),
        ("GenerateDataKeyWithoutPlaintext", json!({ "KeySpec": "AES_256" })),
        ("Encrypt", json!({ "Plaintext": "AAAA" })),
        ("Decrypt", json!({ "CiphertextBlob": "AAAA" })),
    ] {
        let mut request = fields.clone();
        request["KeyId"] = json!(scene.key);
        request["EncryptionContext"] = none.clone();
        assert!(is_denied(scene, operation, &request), "{operation}");
        request["EncryptionContext"] = token.clone();
        assert!(!is_denied(scene, operation, &request), "{operation}");
    }
    for (from, to, expected) in
        [(&token, &token, false), (&none, &token, true), (&token, &none, true), (&none, &none, true)]
    {
        let request = json!({ "CiphertextBlob": "AAAA", "SourceKeyId": scene.key, "DestinationKeyId": scene.key,
            "SourceEncryptionContext": from, "DestinationEncryptionContext": to });
        assert_eq!(is_denied(scene, "ReEncrypt", &request), expected, "{from} {to}");
    }
}

/// Whether the key policy forbids it, and not merely nobody allows it.
fn is_denied(scene: &Scene, operation: &str, request: &Value) -> bool {
    let (_, answer) = scene.ask("MALLORY", operation, request);
    assert_eq!(
        answer["__type"] == "AccessDeniedException",
        answer["message"]
            .as_str()
            .is_some_and(|message| { message.ends_with("with an explicit deny in a resource-based policy") })
    );
    answer["__type"] == "AccessDeniedException"
}

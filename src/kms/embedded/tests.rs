//! Who may do what: policies and grants, asked as clients ask.

use super::{DEFAULT_ALIAS, Embedded};
use serde_json::{Value, json};

const ACCOUNT: &str = "111122223333";

/// An embedded KMS, and the folder of its key file.
struct Scene {
    kms: Embedded,
    _folder: tempfile::TempDir,
}

/// The session of a role with these policies.
fn role(name: &str, policies: &[Value]) -> Value {
    json!({ "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/host-1"), "policies": policies })
}

fn allow(actions: &Value, condition: &Value) -> Value {
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*", "Condition": condition });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { kms: Embedded::new(&folder.path().join("keys.json")), _folder: folder }
    }

    /// With a root user, whose access key is `ROOT`, and these principals.
    fn with(principals: Value) -> Self {
        let scene = Self::new();
        let mut all = json!({ "ROOT": { "arn": format!("arn:aws:iam::{ACCOUNT}:root") } });
        all.as_object_mut().unwrap().extend(principals.as_object().unwrap().clone());
        scene.kms.set_principals(&all.to_string()).unwrap();
        scene
    }

    /// The answer, or the code and the message of the exception.
    fn ask(&self, access_key: &str, operation: &str, request: Value) -> Result<Value, (String, String)> {
        let header = format!("AWS4-HMAC-SHA256 Credential={access_key}/20260101/us-east-1/kms/aws4_request");
        let target = format!("TrentService.{operation}");
        let answer = self.kms.answer(&target, &header, request.to_string().as_bytes());
        let answer = answer.unwrap_or_else(|broken| panic!("{}", broken.0));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        if answer.status == 200 { Ok(body) } else { Err((text("__type"), text("message"))) }
    }

    fn allowed(&self, access_key: &str, operation: &str, request: Value) -> Value {
        self.ask(access_key, operation, request).unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    /// The message of the refusal.
    fn denied(&self, access_key: &str, operation: &str, request: Value) -> String {
        let (code, message) = self.ask(access_key, operation, request).unwrap_err();
        assert_eq!(code, "AccessDeniedException", "{operation}: {message}");
        message
    }

    fn refused(&self, access_key: &str, operation: &str, request: Value) -> (String, String) {
        self.ask(access_key, operation, request).unwrap_err()
    }

    /// The ARN of the one key.
    fn key(&self) -> String {
        let described = self.allowed("ROOT", "DescribeKey", json!({ "KeyId": DEFAULT_ALIAS }));
        described["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    /// A request to open something that is sealed under this context.
    fn opening(&self, context: &Value) -> Value {
        json!({ "KeyId": DEFAULT_ALIAS, "CiphertextBlob": self.sealed(context), "EncryptionContext": context })
    }

    /// Something sealed under this context.
    fn sealed(&self, context: &Value) -> Value {
        let request = json!({ "KeyId": DEFAULT_ALIAS, "Plaintext": "AAAA", "EncryptionContext": context });
        self.allowed("ROOT", "Encrypt", request)["CiphertextBlob"].take()
    }
}

#[test]
fn without_principals_everybody_may_do_everything() {
    let scene = Scene::new();
    scene.allowed("ANYBODY", "DescribeKey", json!({ "KeyId": DEFAULT_ALIAS }));
    scene.allowed("ANYBODY", "GenerateDataKey", json!({ "KeyId": DEFAULT_ALIAS, "KeySpec": "AES_256" }));
    let scene = Scene::with(json!({}));
    let (code, _) = scene.refused("ANYBODY", "DescribeKey", json!({ "KeyId": DEFAULT_ALIAS }));
    assert_eq!(code, "UnrecognizedClientException");
}

#[test]
fn principals_that_are_wrong_are_refused_whole() {
    let scene = Scene::with(json!({ "A": role("a", &[]) }));
    for (principals, why) in [
        (json!({ "B": { "arn": "arn:aws:iam::444455556666:user/b" } }), "another account"),
        (json!({ "B": { "arn": format!("arn:aws:iam::{ACCOUNT}:role/b") } }), "is the ARN of no user"),
        (json!({ "B": { "arn": format!("arn:aws:iam::{ACCOUNT}:user/b"), "groups": [] } }), "unknown field"),
        (json!({ "B": role("b", &[allow(&json!("kms:Decypt"), &json!({}))]) }), "kms:decypt is no action of KMS"),
        (json!({ "B": role("b", &[allow(&json!("kms:*"), &json!({ "Bool": { "kms:X": true } }))]) }), "not modelled"),
        (json!([]), "expected a map"),
    ] {
        let error = scene.kms.set_principals(&principals.to_string()).unwrap_err();
        assert!(error.contains(why), "{error}");
        let message = scene.denied("A", "DescribeKey", json!({ "KeyId": DEFAULT_ALIAS }));
        assert!(message.contains("because no identity-based policy allows the kms:DescribeKey action"), "{message}");
    }
}

#[test]
fn refusals_are_worded_as_kms_words_them() {
    let deny = |action: &str| {
        let statement = json!({ "Effect": "Deny", "Action": action, "Resource": "*" });
        json!({ "Version": "2012-10-17", "Statement": statement })
    };
    let all = allow(&json!("kms:*"), &json!({}));
    let scene = Scene::with(json!({ "A": role("a", &[all, deny("kms:Encrypt")]), "B": role("b", &[]) }));
    let (key, context) = (scene.key(), json!({ "app": "web" }));
    let encrypt = json!({ "KeyId": DEFAULT_ALIAS, "Plaintext": "AAAA" });
    let start = |who: &str, action: &str, on: &str| {
        let who = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{who}/host-1");
        format!("User: {who} is not authorized to perform: {action} on resource: {on} ")
    };
    let expected = start("a", "kms:Encrypt", &key) + "with an explicit deny in an identity-based policy";
    assert_eq!(scene.denied("A", "Encrypt", encrypt.clone()), expected);
    let expected =
        start("b", "kms:CreateKey", "*") + "because no identity-based policy allows the kms:CreateKey action";
    assert_eq!(scene.denied("B", "CreateKey", json!({})), expected);

    // A key policy that lets nobody's policies decide but names one role, and forbids one thing to all.
    let statement = |effect: &str, who: &str, action: &str| {
        let who = format!("arn:aws:iam::{ACCOUNT}:{who}");
        json!({ "Effect": effect, "Principal": { "AWS": who }, "Action": action, "Resource": "*" })
    };
    let statements = [
        statement("Allow", "role/b", "kms:Decrypt"),
        statement("Deny", "root", "kms:ReEncrypt*"),
        json!({
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["kms:PutKeyPolicy", "kms:ReEncrypt*"],
            "Resource": "*",
        }),
    ];
    let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    let blob = scene.sealed(&context);
    let decrypt = json!({ "KeyId": key, "CiphertextBlob": blob, "EncryptionContext": context });
    scene.denied("B", "Decrypt", decrypt.clone());
    scene.allowed("ROOT", "PutKeyPolicy", json!({ "KeyId": DEFAULT_ALIAS, "Policy": policy }));
    scene.allowed("B", "Decrypt", decrypt.clone());
    // The key that the blob names is as well guarded as one that the request names.
    let unnamed = json!({ "CiphertextBlob": blob, "EncryptionContext": context });
    scene.allowed("B", "Decrypt", unnamed.clone());
    let expected = start("a", "kms:Decrypt", &key) + "because no resource-based policy allows the kms:Decrypt action";
    for request in [decrypt, unnamed] {
        assert_eq!(scene.denied("A", "Decrypt", request), expected);
    }
    let re_encrypt = json!({ "CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationKeyId": key });
    let expected = start("b", "kms:ReEncryptFrom", &key) + "with an explicit deny in a resource-based policy";
    assert_eq!(scene.denied("B", "ReEncrypt", re_encrypt), expected);
}

#[test]
fn conditions_are_about_what_is_asked() {
    let pair = |name: &str| format!("kms:EncryptionContext:{name}");
    let usage = |usage: &str| json!({ "StringEquals": { pair("usage"): usage } });
    let specs = json!({ "StringLike": { "kms:DataKeyPairSpec": "ECC_*" }, "Null": { pair("token"): "false" } });
    let scene = Scene::with(json!({
        "PAIRS": role("pairs", &[allow(&json!("kms:GenerateDataKeyPair*"), &specs)]),
        "SIGN": role("sign", &[allow(&json!("kms:Decrypt"), &usage("sign"))]),
        "MOVE": role("move", &[
            allow(&json!("kms:ReEncryptFrom"), &usage("sign")),
            allow(&json!("kms:ReEncryptTo"), &json!({ "Bool": { "kms:ReEncryptOnSameKey": true } })),
        ]),
        "ALIAS": role("alias", &[allow(&json!("kms:DescribeKey"), &json!({
            "StringEquals": { "kms:RequestAlias": DEFAULT_ALIAS, "kms:KeySpec": "SYMMETRIC_DEFAULT" },
            "ForAnyValue:StringLike": { "kms:ResourceAliases": "alias/datakey-*" },
        }))]),
    }));
    let pair_of = |spec: &str, context: Value| {
        let key = DEFAULT_ALIAS;
        json!({ "KeyId": key, "KeyPairSpec": spec, "EncryptionContext": context })
    };
    let token = json!({ "token": "1" });
    scene.allowed("PAIRS", "GenerateDataKeyPairWithoutPlaintext", pair_of("ECC_NIST_P256", token.clone()));
    scene.denied("PAIRS", "GenerateDataKeyPair", pair_of("ML_KEM_512", token.clone()));
    scene.denied("PAIRS", "GenerateDataKeyPair", pair_of("ECC_NIST_P256", json!({})));
    scene.denied(
        "PAIRS",
        "GenerateDataKey",
        json!({ "KeyId": DEFAULT_ALIAS, "KeySpec": "AES_256", "EncryptionContext": token }),
    );

    let [sign, decrypt] = ["sign", "decrypt"].map(|usage| json!({ "usage": usage }));
    let open = |context: &Value| scene.opening(context);
    scene.allowed("SIGN", "Decrypt", open(&sign));
    scene.denied("SIGN", "Decrypt", open(&decrypt));
    // What is said of a context is judged before it is found to be wrong, and says nothing of the blob.
    let mut lie = open(&decrypt);
    lie["EncryptionContext"] = sign.clone();
    assert_eq!(scene.refused("SIGN", "Decrypt", lie).0, "InvalidCiphertextException");

    let other = scene.allowed("ROOT", "CreateKey", json!({}))["KeyMetadata"]["KeyId"].take();
    let moved = |context: &Value, to: &Value| {
        json!({
            "SourceKeyId": DEFAULT_ALIAS,
            "CiphertextBlob": scene.sealed(context),
            "SourceEncryptionContext": context,
            "DestinationKeyId": to,
            "DestinationEncryptionContext": decrypt,
        })
    };
    scene.allowed("MOVE", "ReEncrypt", moved(&sign, &json!(DEFAULT_ALIAS)));
    assert!(scene.denied("MOVE", "ReEncrypt", moved(&decrypt, &json!(DEFAULT_ALIAS))).contains("kms:ReEncryptFrom"));
    assert!(scene.denied("MOVE", "ReEncrypt", moved(&sign, &other)).contains("kms:ReEncryptTo"));

    scene.allowed("ALIAS", "DescribeKey", json!({ "KeyId": DEFAULT_ALIAS }));
    scene.denied("ALIAS", "DescribeKey", json!({ "KeyId": scene.key() }));
}

#[test]
fn a_key_policy_is_read_back_and_locks_nobody_out_by_mistake() {
    let scene = Scene::with(json!({ "A": role("a", &[]) }));
    let get = |scene: &Scene| {
        let answer = scene.allowed("ROOT", "GetKeyPolicy", json!({ "KeyId": DEFAULT_ALIAS }));
        serde_json::from_str::<Value>(answer["Policy"].as_str().unwrap()).unwrap()
    };
    assert_eq!(get(&scene)["Statement"][0]["Sid"], "Enable IAM User Permissions");
    let put = |policy: &Value, bypass: bool| {
        let request = json!({ "KeyId": DEFAULT_ALIAS, "PolicyName": "default", "Policy": policy.to_string(),
            "BypassPolicyLockoutSafetyCheck": bypass });
        scene.ask("ROOT", "PutKeyPolicy", request)
    };
    let only = |action: &str| {
        let statement = json!({ "Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*" });
        json!({ "Version": "2012-10-17", "Statement": statement })
    };
    let (code, message) = put(&only("kms:Decrypt"), false).unwrap_err();
    assert_eq!(code, "MalformedPolicyDocumentException");
    assert!(message.contains("will not allow you to update the key policy"), "{message}");
    assert_eq!(get(&scene)["Id"], "key-default-1");
    put(&only("kms:*"), false).unwrap();
    assert_eq!(get(&scene), only("kms:*"));
    scene.allowed("A", "GenerateDataKey", json!({ "KeyId": DEFAULT_ALIAS, "KeySpec": "AES_256" }));
    let odd = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "NotPrincipal": "*" } });
    assert!(put(&odd, true).unwrap_err().1.contains("NotPrincipal of a statement is not modelled"));
    let other = json!({ "KeyId": DEFAULT_ALIAS, "PolicyName": "other" });
    assert_eq!(scene.refused("ROOT", "GetKeyPolicy", other).0, "NotFoundException");
    put(&only("kms:Decrypt"), true).unwrap();
    assert!(put(&only("kms:*"), false).is_err());
    // A key may come with its policy.
    let made = scene.allowed("ROOT", "CreateKey", json!({ "Policy": only("kms:Encrypt").to_string() }));
    scene.allowed("A", "Encrypt", json!({ "KeyId": made["KeyMetadata"]["KeyId"], "Plaintext": "AAAA" }));
}

#[test]
fn a_grant_is_for_one_principal_its_operations_and_its_contexts() {
    let unsaid = json!({ "Null": { "kms:EncryptionContext:usage": "true" } });
    let deny = json!({ "Effect": "Deny", "Action": "kms:*", "Resource": "*", "Condition": unsaid });
    let deny = json!({ "Version": "2012-10-17", "Statement": deny });
    let scene = Scene::with(json!({ "A": role("a", &[deny]), "B": role("b", &[]), "C": role("c", &[]) }));
    let of = |name: &str| format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let grant = |constraints: Value| {
        let request = json!({ "KeyId": DEFAULT_ALIAS, "GranteePrincipal": of("a"), "RetiringPrincipal": of("b"),
            "Operations": ["Decrypt", "GenerateDataKey"], "Constraints": constraints });
        scene.allowed("ROOT", "CreateGrant", request)
    };
    let open = |context: Value| scene.opening(&context);
    let (sign, more) = (json!({ "usage": "sign" }), json!({ "usage": "sign", "token": "1" }));

    scene.denied("A", "Decrypt", open(sign.clone()));
    let subset = grant(json!({ "EncryptionContextSubset": sign }));
    for context in [&sign, &more] {
        scene.allowed("A", "Decrypt", open(context.clone()));
    }
    scene.denied("A", "Decrypt", open(json!({ "usage": "decrypt" })));
    // What a policy denies, no grant allows.
    assert!(scene.denied("A", "Decrypt", open(json!({ "token": "1" }))).contains("explicit deny"));
    let encrypt = json!({ "KeyId": DEFAULT_ALIAS, "Plaintext": "AAAA", "EncryptionContext": sign });
    scene.denied("A", "Encrypt", encrypt);
    for other in ["B", "C"] {
        scene.denied(other, "Decrypt", open(sign.clone()));
    }
    let listed = scene.allowed("ROOT", "ListGrants", json!({ "KeyId": DEFAULT_ALIAS, "GranteePrincipal": of("a") }));
    assert_eq!(listed["Grants"][0]["GrantId"], subset["GrantId"]);
    assert_eq!(listed["Grants"][0]["Constraints"], json!({ "EncryptionContextSubset": sign }));
    assert_eq!(
        (&listed["Grants"][0]["GrantToken"], &listed["Grants"][0]["KeyId"]),
        (&Value::Null, &json!(scene.key()))
    );

    // Its token may be named, and none that is nobody's.
    let mut with_token = open(sign.clone());
    with_token["GrantTokens"] = json!([subset["GrantToken"]]);
    scene.allowed("A", "Decrypt", with_token.clone());
    with_token["GrantTokens"] = json!(["of nobody"]);
    assert_eq!(scene.refused("A", "Decrypt", with_token).0, "InvalidGrantTokenException");

    scene.denied("A", "RevokeGrant", json!({ "KeyId": DEFAULT_ALIAS, "GrantId": subset["GrantId"] }));
    scene.allowed("ROOT", "RevokeGrant", json!({ "KeyId": DEFAULT_ALIAS, "GrantId": subset["GrantId"] }));
    scene.denied("A", "Decrypt", open(sign.clone()));
    let again = json!({ "KeyId": DEFAULT_ALIAS, "GrantId": subset["GrantId"] });
    assert_eq!(scene.refused("ROOT", "RevokeGrant", again).0, "NotFoundException");

    let equals = grant(json!({ "EncryptionContextEquals": sign }));
    scene.allowed("A", "Decrypt", open(sign.clone()));
    scene.denied("A", "Decrypt", open(more.clone()));
    // It is retired by whom it names for that, and not by the one whom it is for.
    for other in ["A", "C"] {
        assert!(
            scene
                .denied(other, "RetireGrant", json!({ "GrantToken": equals["GrantToken"] }))
                .contains("kms:RetireGrant")
        );
    }
    scene.allowed("B", "RetireGrant", json!({ "KeyId": DEFAULT_ALIAS, "GrantId": equals["GrantId"] }));
    scene.denied("A", "Decrypt", open(sign));
}

#[test]
fn grants_that_are_none_are_refused() {
    let scene = Scene::with(json!({}));
    let good = json!({ "KeyId": DEFAULT_ALIAS, "GranteePrincipal": format!("arn:aws:iam::{ACCOUNT}:role/a"),
        "Operations": ["Decrypt"], "Name": "one" });
    let first = scene.allowed("ROOT", "CreateGrant", good.clone());
    assert_eq!(scene.allowed("ROOT", "CreateGrant", good.clone()), first, "the same name");
    let nine: serde_json::Map<_, _> = (0..9).map(|i| (i.to_string(), json!("x"))).collect();
    for (field, value, code) in [
        ("GranteePrincipal", json!("role/a"), "InvalidArnException"),
        ("GranteePrincipal", Value::Null, "ValidationException"),
        ("Operations", json!([]), "ValidationException"),
        ("Operations", json!(["CreateGrant"]), "UnsupportedOperationException"),
        ("Operations", json!(["Decrypt", "Sign"]), "UnsupportedOperationException"),
        ("Constraints", json!({ "SourceArn": "x" }), "ValidationException"),
        ("Constraints", json!({ "EncryptionContextSubset": {} }), "ValidationException"),
        ("Constraints", json!({ "EncryptionContextSubset": nine }), "ValidationException"),
        ("Constraints", json!({ "EncryptionContextSubset": { "a": "x".repeat(385) } }), "ValidationException"),
        ("KeyId", json!("alias/none"), "NotFoundException"),
        ("DryRun", json!(true), "DryRunOperationException"),
    ] {
        let mut grant = good.clone();
        grant["Name"] = json!("another");
        grant[field] = value.clone();
        assert_eq!(scene.refused("ROOT", "CreateGrant", grant).0, code, "{field} {value}");
    }
    let listed = scene.allowed("ROOT", "ListGrants", json!({ "KeyId": DEFAULT_ALIAS }));
    assert_eq!(listed["Grants"].as_array().unwrap().len(), 1);
}

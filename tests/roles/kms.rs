//! The embedded KMS of these tests, the roles that it knows, and the hosts that have them.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use crate::host::Place;
use crate::host::steps::run;
use crate::tasks;
use datakey::kms::embedded::{self, Server};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

/// The files of `docs/iam` that are policies or grants.
pub(crate) const TEMPLATES: [&str; 11] = [
    "additional-key-policy.json",
    "auditor.json",
    "change-only.json",
    "decrypt-only.json",
    "generate-only.json",
    "grant.json",
    "key-policy-nitro.json",
    "key-policy.json",
    "sign-only.json",
    "token-with-pin.json",
    "token-without-pin.json",
];

/// What the templates have in the place of a KMS key and of a token.
const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const TOKEN: &str = "0123456789abcdef";
const ACCOUNT: &str = "111122223333";

/// A KMS, and a token of which several hosts have the store.
pub(crate) struct Scene {
    test: &'static str,
    server: Arc<Server>,
    place: Place,
    /// The ARN of the KMS key.
    pub(crate) key: String,
    /// The token's serial number.
    serial: String,
    _keys: Arc<tempfile::TempDir>,
}

/// A template of `docs/iam`, for this KMS key and this token.
pub(crate) fn template(name: &str, scene: &Scene) -> Value {
    assert!(TEMPLATES.contains(&name), "{name}");
    let path = format!("{}/docs/iam/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text.replace(KEY, &scene.key).replace(TOKEN, &scene.serial)).unwrap()
}

impl Scene {
    /// A token with PINs, made before anybody is asked who they are. `more` is added to its configuration.
    pub(crate) fn new(test: &'static str, more: &str) -> Self {
        let mut scene = Self::unmade(test, more);
        scene.make();
        scene
    }

    /// The same without the token.
    pub(crate) fn unmade(test: &'static str, more: &str) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true).unwrap();
        let place = Place::at(&server.url(), embedded::DEFAULT_ALIAS, more);
        let (key, serial) = (String::new(), String::new());
        let mut scene = Self { test, server: Arc::new(server), place, key, serial, _keys: Arc::new(keys) };
        let (_, described) = scene.ask("ROOT", "DescribeKey", &json!({ "KeyId": embedded::DEFAULT_ALIAS }));
        scene.key = described["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
        scene
    }

    /// Another token with PINs, under the same KMS key and with the same roles.
    pub(crate) fn beside(&self, more: &str) -> Self {
        let place = Place::at(&self.server.url(), embedded::DEFAULT_ALIAS, more);
        let (server, keys, key) = (Arc::clone(&self.server), Arc::clone(&self._keys), self.key.clone());
        let mut scene = Self { test: self.test, server, place, key, serial: String::new(), _keys: keys };
        scene.make();
        scene
    }

    fn make(&mut self) {
        let said = self.host("ROOT", "initialise serial");
        self.serial.clone_from(&said[1]);
    }

    /// The session of a role, with these templates for policies.
    pub(crate) fn role(&self, name: &str, templates: &[&str]) -> Value {
        let policies: Vec<_> = templates.iter().map(|name| template(name, self)).collect();
        json!({ "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/host"), "policies": policies })
    }

    /// Says who is who from now on; `ROOT` is the account's root user.
    pub(crate) fn principals(&self, mut principals: Value) {
        principals["ROOT"] = json!({ "arn": format!("arn:aws:iam::{ACCOUNT}:root") });
        self.server.set_principals(&principals.to_string()).unwrap();
    }

    /// What a host with this access key says to each of its tasks.
    pub(crate) fn host(&self, access_key: &str, tasks: &str) -> Vec<String> {
        self.configured(access_key, "", tasks).0
    }

    /// The same with `generate = "without-plaintext"`, and the calls that arrived.
    pub(crate) fn without_plaintext(&self, access_key: &str, tasks: &str) -> (Vec<String>, Vec<(String, u64)>) {
        self.configured(access_key, "generate = \"without-plaintext\"", tasks)
    }

    /// The same with more in its configuration.
    pub(crate) fn configured(&self, access_key: &str, more: &str, tasks: &str) -> (Vec<String>, Vec<(String, u64)>) {
        let text = std::fs::read_to_string(self.place.configuration()).unwrap();
        let own = self.place.folder().join("host.toml");
        std::fs::write(&own, format!("{text}{more}\n")).unwrap();
        self.server.control().reset_calls();
        let said = run(self.test, &format!("{access_key} {tasks}"), &own);
        (said, self.server.control().calls().into_iter().collect())
    }

    /// What a host says whose configuration is without this key.
    pub(crate) fn without(&self, setting: &str, access_key: &str, tasks: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.place.configuration()).unwrap();
        let own = self.place.folder().join("host.toml");
        let rest: Vec<_> = text.lines().filter(|line| !line.starts_with(setting)).collect();
        std::fs::write(&own, rest.join("\n")).unwrap();
        run(self.test, &format!("{access_key} {tasks}"), &own)
    }

    pub(crate) fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server)
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.place.configuration()
    }

    /// A request to KMS by somebody who is no token's host: the status and the answer.
    pub(crate) fn ask(&self, access_key: &str, operation: &str, request: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let body = request.to_string();
        let credential = format!("AWS4-HMAC-SHA256 Credential={access_key}/20260101/us-east-1/kms/aws4_request");
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: kms\r\nconnection: close\r\nx-amz-target: TrentService.{operation}\r\n\
             authorization: {credential}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Checks with another library that the request which one host built is signed by the other.
    pub(crate) fn check_request(&self) {
        use p256::ecdsa::signature::Verifier;
        use p256::pkcs8::DecodePublicKey;
        let read = |name: &str| std::fs::read(self.place.folder().join(name)).unwrap();
        let key = p256::ecdsa::VerifyingKey::from_public_key_der(&read(tasks::PUBLIC_KEY)).unwrap();
        let signature = p256::ecdsa::Signature::from_slice(&read(tasks::SIGNATURE)).unwrap();
        key.verify(&read(tasks::REQUEST), &signature).unwrap();
    }
}

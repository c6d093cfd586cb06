//! One contract for everything that answers as KMS: the embedded KMS in the process and over a port, emulators
//! that others wrote, and AWS.
//!
//! An emulator that opens a blob under a wrong context proves nothing about a client that relies on KMS to
//! refuse it. So each refusal is a probe of its own: where an emulator does not refuse, the check is *not
//! counted* and the report says so. What counts on which emulator is written down below and asserted: it can
//! neither shrink nor grow unnoticed.

mod support;

use datakey::config::{KmsBackend, KmsConfig, Timeouts};
use datakey::crypto::Secret;
use datakey::error::{Cause, Result};
use datakey::kms::embedded::{self, Embedded, InProcess};
use datakey::kms::{DataKeySize, EncryptionContext, HostRules, KeyPairSpec, Kms};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use rsa::pkcs8::EncodePublicKey;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::emulators::Emulator;
use support::{ANY_CREDENTIALS, in_child, is_child};

/// The refusals of the contract, in the order in which they are tried.
const REFUSALS: &[&str] = &[
    "wrong context",
    "missing context",
    "flipped bits",
    "cut blob",
    "garbage blob",
    "wrong key",
    "wrong source key",
    "unknown key",
    "unknown source key",
    "oversized plaintext",
    "RSA key as wrapping key",
    "disabled key",
    "key pending deletion",
];

/// The key pairs that moto makes, with our extension: `cryptography` has no ML-KEM-512.
const MOTO_SPECS: &[KeyPairSpec] = &[
    KeyPairSpec::Rsa2048,
    KeyPairSpec::Rsa3072,
    KeyPairSpec::Rsa4096,
    KeyPairSpec::EccNistP256,
    KeyPairSpec::EccNistP384,
    KeyPairSpec::EccNistP521,
    KeyPairSpec::EccSecgP256k1,
    KeyPairSpec::EccNistEdwards25519,
    KeyPairSpec::MlKem768,
    KeyPairSpec::MlKem1024,
];

/// The key pairs that ministack makes: no ML-KEM at all.
const MINISTACK_SPECS: &[KeyPairSpec] = MOTO_SPECS.split_at(8).0;

/// The refusals as they were found: made for the right reason, made for another one,
/// not made, or not tried.
#[derive(Debug, Default)]
struct Report(Vec<(&'static str, &'static str)>);

impl Report {
    fn probe<T>(&mut self, what: &'static str, results: impl IntoIterator<Item = Result<T>>, right: Cause) {
        let mut found = "counted";
        for result in results {
            found = match result {
                Ok(_) => "not counted: accepted",
                Err(error) if error.cause() == right => found,
                Err(_) if found == "counted" => "not counted: refused for another reason",
                Err(_) => found,
            };
            if found == "not counted: accepted" {
                break;
            }
        }
        self.0.push((what, found));
    }

    fn skip(&mut self, what: &'static str) {
        self.0.push((what, "not counted: not tried"));
    }

    /// The checks that this KMS does not make as AWS does.
    fn not_counted(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, found)| *found != "counted").map(|(what, _)| *what).collect()
    }

    fn print(&self, name: &str) {
        self.0.iter().for_each(|(what, found)| println!("{name}: {what}: {found}"));
    }
}

/// What answers as KMS, and how its keys are managed.
struct Subject {
    name: &'static str,
    /// Without a key.
    config: KmsConfig,
    admin: Option<Admin>,
    specs: &'static [KeyPairSpec],
    re_encrypts: bool,
}

fn config(backend: KmsBackend, endpoint_url: Option<String>) -> KmsConfig {
    KmsConfig {
        backend,
        encryption_context: BTreeMap::from([("app".to_owned(), "contract".to_owned())]),
        endpoint_url,
        timeouts: Timeouts { attempt: Duration::from_secs(10), total: Duration::from_secs(30), ..Timeouts::default() },
        ..KmsConfig::default()
    }
}

impl Subject {
    fn kms(&self, key_id: &str) -> Kms {
        let config = KmsConfig { key_id: key_id.to_owned(), ..self.config.clone() };
        Kms::new(&config, HostRules { threads_allowed: true, secure_mode: false })
    }

    /// Runs the contract with this key and returns which refusals did not count.
    fn check(&self, key_id: &str, other_key_id: Option<&str>) -> Report {
        let kms = self.kms(key_id);
        assert_eq!(kms.describe_key().unwrap().key_spec, "SYMMETRIC_DEFAULT");
        self.key_pairs(&kms);
        self.secrets(&kms);
        self.re_encryption(&kms, other_key_id);
        let mut report = Report::default();
        self.refusals(&kms, other_key_id, &mut report);
        assert_eq!(report.0.iter().map(|(what, _)| *what).collect::<Vec<_>>(), REFUSALS);
        report.print(self.name);
        report
    }

    fn key_pairs(&self, kms: &Kms) {
        for &spec in self.specs {
            let context = context(kms, spec.name());
            let pair = kms.generate_data_key_pair(spec, &context).unwrap();
            let private = pair.private_key.expect("the plaintext was asked for");
            check_pair(spec, &pair.public_key, private.expose());
            let opened = kms.decrypt(&pair.sealed, &context).unwrap();
            assert_eq!(opened.plaintext.expose(), private.expose(), "{spec}");
            assert_eq!(opened.kms_key_arn, pair.kms_key_arn);

            let pair = kms.generate_data_key_pair_without_plaintext(spec, &context).unwrap();
            assert!(pair.private_key.is_none());
            check_pair(spec, &pair.public_key, kms.decrypt(&pair.sealed, &context).unwrap().plaintext.expose());
        }
    }

    fn secrets(&self, kms: &Kms) {
        let here = context(kms, "here");
        let sizes = [DataKeySize::aes(16), DataKeySize::aes(24), DataKeySize::aes(32)];
        for size in sizes.into_iter().chain([1, 20, 64, 1024].map(DataKeySize::bytes)).map(Result::unwrap) {
            let key = kms.generate_data_key(size, &here).unwrap();
            let plaintext = key.plaintext.expect("the plaintext was asked for");
            assert_eq!(plaintext.len(), size.len());
            let opened = kms.decrypt(&key.sealed, &here).unwrap();
            assert_eq!(opened.plaintext.expose(), plaintext.expose(), "{size:?}");
            assert_eq!(opened.kms_key_arn, key.kms_key_arn);
            if size.len() >= 16 {
                let another = kms.generate_data_key(size, &here).unwrap().plaintext.unwrap();
                assert_ne!(another.expose(), plaintext.expose(), "{size:?}");
            }

            let key = kms.generate_data_key_without_plaintext(size, &here).unwrap();
            assert!(key.plaintext.is_none());
            assert_eq!(kms.decrypt(&key.sealed, &here).unwrap().plaintext.len(), size.len());
        }

        for len in [1, 2400, 4096] {
            let secret = Secret::new((0..len).map(|i| i as u8).collect());
            let sealed = kms.encrypt(&secret, &here).unwrap().sealed;
            assert_eq!(kms.decrypt(&sealed, &here).unwrap().plaintext.expose(), secret.expose());
        }

        // The order of the pairs does not matter; the map of the client sorts them anyway.
        let one = EncryptionContext::default().with("a", "1").with("b", "2");
        let other = EncryptionContext::default().with("b", "2").with("a", "1");
        let sealed = kms.encrypt(&Secret::new(vec![7]), &one).unwrap().sealed;
        assert_eq!(kms.decrypt(&sealed, &other).unwrap().plaintext.expose(), [7]);
    }

    /// From one context to another, and from a foreign key to ours.
    fn re_encryption(&self, kms: &Kms, other_key_id: Option<&str>) {
        if !self.re_encrypts {
            println!("{}: ReEncrypt: not counted: not tried", self.name);
            return;
        }
        let (here, there) = (context(kms, "here"), context(kms, "there"));
        for source in std::iter::once(kms.key_id()).chain(other_key_id) {
            let key = self.kms(source).generate_data_key(DataKeySize::AES_256, &here).unwrap();
            let moved = kms.re_encrypt_from(source, &key.sealed, &here, &there).unwrap();
            let opened = kms.decrypt(&moved.sealed, &there).unwrap();
            assert_eq!(opened.plaintext.expose(), key.plaintext.unwrap().expose());
            assert_eq!(opened.kms_key_arn, moved.kms_key_arn);
            assert_eq!(moved.kms_key_arn == key.kms_key_arn, source == kms.key_id());
            assert!(kms.decrypt(&moved.sealed, &here).is_err(), "{}: the old context still opens", self.name);
            let back = kms.re_encrypt(&moved.sealed, &there, &here).unwrap();
            kms.decrypt(&back.sealed, &here).unwrap();
        }
    }

    fn refusals(&self, kms: &Kms, other_key_id: Option<&str>, report: &mut Report) {
        let here = context(kms, "here");
        let sealed = kms.generate_data_key(DataKeySize::AES_256, &here).unwrap().sealed;

        let wrong = [
            here.clone().with(EncryptionContext::OBJECT, "there"),
            here.clone().with("more", "1"),
            here.clone().with(EncryptionContext::OBJECT, "HERE"),
        ];
        report.probe("wrong context", wrong.iter().map(|wrong| kms.decrypt(&sealed, wrong)), Cause::SealBroken);
        let none = EncryptionContext::default();
        report.probe("missing context", [kms.decrypt(&sealed, &none)], Cause::SealBroken);

        // Behind the header, whose layout is each KMS's own: a flipped key id is another key, not a broken
        // blob.
        let flipped = (1..=12).map(|i| {
            let mut bad = sealed.clone();
            let at = sealed.len() - 1 - (i - 1) * 3;
            bad[at] ^= 1 << (i % 8);
            kms.decrypt(&bad, &here)
        });
        report.probe("flipped bits", flipped, Cause::SealBroken);
        report.probe("cut blob", [kms.decrypt(&sealed[..sealed.len() - 1], &here)], Cause::SealBroken);
        report.probe("garbage blob", [kms.decrypt(&[0x5a; 100], &here)], Cause::SealBroken);

        match other_key_id {
            Some(other) => {
                report.probe("wrong key", [self.kms(other).decrypt(&sealed, &here)], Cause::SealWrongKey);
                let moved = kms.re_encrypt_from(other, &sealed, &here, &here);
                report.probe("wrong source key", [moved], Cause::SealWrongKey);
            }
            None => ["wrong key", "wrong source key"].into_iter().for_each(|what| report.skip(what)),
        }
        let unknown = "01234567-89ab-4def-8123-456789abcdef";
        report.probe("unknown key", [self.kms(unknown).decrypt(&sealed, &here)], Cause::KmsKeyNotFound);
        let moved = kms.re_encrypt_from(unknown, &sealed, &here, &here);
        report.probe("unknown source key", [moved], Cause::KmsKeyNotFound);
        match &self.admin {
            Some(admin) => {
                let result = admin.encrypt(kms.key_id(), 4097);
                let result = result.map_err(|code| match code.as_str() {
                    "ValidationException" => Cause::KmsRejected.into(),
                    _ => Cause::KmsInternal.into(),
                });
                report.probe("oversized plaintext", [result], Cause::KmsRejected);
                let rsa = self.kms(&admin.create_key(Some("RSA_2048")));
                let pair = rsa.generate_data_key_pair(KeyPairSpec::EccNistP256, &here);
                report.probe("RSA key as wrapping key", [pair], Cause::KmsInvalidKeyUsage);
                let doomed = admin.create_key(None);
                let kms = self.kms(&doomed);
                let sealed = kms.generate_data_key(DataKeySize::AES_256, &here).unwrap().sealed;
                admin.disable(&doomed);
                report.probe("disabled key", [kms.decrypt(&sealed, &here)], Cause::KmsKeyDisabled);
                admin.enable(&doomed);
                kms.decrypt(&sealed, &here).unwrap();
                admin.schedule_deletion(&doomed);
                report.probe("key pending deletion", [kms.decrypt(&sealed, &here)], Cause::KmsKeyInvalidState);
            }
            None => REFUSALS[9..].iter().for_each(|what| report.skip(what)),
        }
    }
}

fn context(kms: &Kms, object: &str) -> EncryptionContext {
    kms.context()
        .unwrap()
        .with(EncryptionContext::VERSION, "1")
        .with(EncryptionContext::TOKEN, "0123456789abcdef")
        .with(EncryptionContext::OBJECT, object)
}

/// The two halves are in KMS's formats and belong together, by another library than the module's.
fn check_pair(spec: KeyPairSpec, public: &[u8], private: &[u8]) {
    macro_rules! derive {
        ($parse:expr, |$key:ident| $public:expr) => {{
            let $key = $parse.unwrap();
            $public.to_public_key_der().unwrap().into_vec()
        }};
    }
    macro_rules! kem {
        ($parameters:ident) => {{
            // The seed form of RFC 9935: `[0]` and 64 bytes, nothing behind them.
            assert_eq!((private.len(), &private[20..22]), (86, &[0x80, 64][..]), "{spec}");
            let key = ml_kem::DecapsulationKey::<ml_kem::$parameters>::from_pkcs8_der(private).unwrap();
            key.encapsulation_key().to_public_key_der().unwrap().into_vec()
        }};
    }
    let (derived, spki_len) = match spec {
        KeyPairSpec::Rsa2048 => (derive!(rsa::PrivateKey::from_pkcs8_der(private), |k| k.to_public_key()), 294),
        KeyPairSpec::Rsa3072 => (derive!(rsa::PrivateKey::from_pkcs8_der(private), |k| k.to_public_key()), 422),
        KeyPairSpec::Rsa4096 => (derive!(rsa::PrivateKey::from_pkcs8_der(private), |k| k.to_public_key()), 550),
        KeyPairSpec::EccNistP256 => (derive!(p256::SecretKey::from_pkcs8_der(private), |k| k.public_key()), 91),
        KeyPairSpec::EccNistP384 => (derive!(p384::SecretKey::from_pkcs8_der(private), |k| k.public_key()), 120),
        KeyPairSpec::EccNistP521 => (derive!(p521::SecretKey::from_pkcs8_der(private), |k| k.public_key()), 158),
        KeyPairSpec::EccSecgP256k1 => (derive!(k256::SecretKey::from_pkcs8_der(private), |k| k.public_key()), 88),
        KeyPairSpec::EccNistEdwards25519 => {
            (derive!(ed25519_dalek::SigningKey::from_pkcs8_der(private), |k| k.verifying_key()), 44)
        }
        KeyPairSpec::MlKem512 => (kem!(MlKem512), 822),
        KeyPairSpec::MlKem768 => (kem!(MlKem768), 1206),
        KeyPairSpec::MlKem1024 => (kem!(MlKem1024), 1590),
    };
    assert_eq!(derived, public, "{spec}: the halves do not match");
    assert_eq!(public.len(), spki_len, "{spec}");
}

/// Manages keys: by the SDK's own client, not the module's.
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

    fn create_key(&self, spec: Option<&str>) -> String {
        let request = self.client.create_key().set_key_spec(spec.map(|spec| spec.into()));
        let answer = self.runtime.block_on(request.send()).expect("CreateKey");
        answer.key_metadata.expect("a description of the key").key_id
    }

    fn disable(&self, key_id: &str) {
        self.runtime.block_on(self.client.disable_key().key_id(key_id).send()).expect("DisableKey");
    }

    fn enable(&self, key_id: &str) {
        self.runtime.block_on(self.client.enable_key().key_id(key_id).send()).expect("EnableKey");
    }

    fn schedule_deletion(&self, key_id: &str) {
        let request = self.client.schedule_key_deletion().key_id(key_id).pending_window_in_days(7);
        self.runtime.block_on(request.send()).expect("ScheduleKeyDeletion");
    }

    /// Encrypts so many bytes, or says the AWS error code.
    fn encrypt(&self, key_id: &str, len: usize) -> std::result::Result<(), String> {
        use aws_sdk_kms::error::ProvideErrorMetadata;
        let plaintext = aws_sdk_kms::primitives::Blob::new(vec![0; len]);
        let request = self.client.encrypt().key_id(key_id).plaintext(plaintext);
        let answer = self.runtime.block_on(request.send());
        answer.map(drop).map_err(|error| error.code().unwrap_or_default().to_owned())
    }
}

fn key_file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("keys.json")
}

fn at_url(url: &str) -> Admin {
    Admin::new(|config| config.endpoint_url(url))
}

fn in_process(file: &Path) -> Admin {
    Admin::new(|config| config.http_client(InProcess::new(Arc::new(Embedded::new(file)))))
}

#[test]
fn the_embedded_kms_in_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = key_file(&folder);
    let admin = in_process(&file);
    let other = admin.create_key(None);
    let subject = Subject {
        name: "embedded",
        config: config(KmsBackend::Embedded(file), None),
        admin: Some(admin),
        specs: KeyPairSpec::ALL,
        re_encrypts: true,
    };
    assert_eq!(subject.check("", Some(&other)).not_counted(), [""; 0]);
}

#[test]
fn the_embedded_kms_over_a_port() {
    if in_child("the_embedded_kms_over_a_port", &ANY_CREDENTIALS) {
        let folder = tempfile::tempdir().unwrap();
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &key_file(&folder), false).unwrap();
        let admin = at_url(&server.url());
        let other = admin.create_key(None);
        let subject = Subject {
            name: "embedded over a port",
            config: config(KmsBackend::Aws, Some(server.url())),
            admin: Some(admin),
            specs: KeyPairSpec::ALL,
            re_encrypts: true,
        };
        assert_eq!(subject.check(embedded::DEFAULT_ALIAS, Some(&other)).not_counted(), [""; 0]);
    }
}

#[test]
fn moto() {
    if in_child("moto", &ANY_CREDENTIALS) {
        let emulator = Emulator::moto();
        let admin = at_url(&emulator.url());
        let (key, other) = (admin.create_key(None), admin.create_key(None));
        let subject = Subject {
            name: "moto",
            config: config(KmsBackend::Aws, Some(emulator.url())),
            admin: Some(admin),
            specs: MOTO_SPECS,
            re_encrypts: true,
        };
        let expected = [
            "garbage blob",
            "wrong key",
            "unknown source key",
            "RSA key as wrapping key",
            "disabled key",
            "key pending deletion",
        ];
        assert_eq!(subject.check(&key, Some(&other)).not_counted(), expected);
    }
}

#[test]
fn ministack() {
    if in_child("ministack", &ANY_CREDENTIALS) {
        let emulator = Emulator::ministack();
        let admin = at_url(&emulator.url());
        let (key, other) = (admin.create_key(None), admin.create_key(None));
        let subject = Subject {
            name: "ministack",
            config: config(KmsBackend::Aws, Some(emulator.url())),
            admin: Some(admin),
            specs: MINISTACK_SPECS,
            re_encrypts: false,
        };
        let expected = [
            "flipped bits",
            "cut blob",
            "wrong key",
            "wrong source key",
            "unknown key",
            "unknown source key",
            "oversized plaintext",
        ];
        assert_eq!(subject.check(&key, Some(&other)).not_counted(), expected);
    }
}

/// Profile, role and endpoint by AWS's own means: a configuration file and an environment variable.
#[test]
fn a_profile_and_a_role() {
    if is_child() {
        let url = std::env::var("AWS_ENDPOINT_URL").unwrap();
        let there = Admin::new(|config| config.endpoint_url(url).region(aws_sdk_kms::config::Region::new("eu-west-3")));
        let key = there.create_key(None);
        let rules = HostRules { threads_allowed: true, secure_mode: false };
        let config = KmsConfig { key_id: key, profile: Some("web".to_owned()), ..config(KmsBackend::Aws, None) };
        let arn = Kms::new(&config, rules).describe_key().unwrap().arn;
        assert!(arn.contains(":eu-west-3:123456789012:"), "{arn}");

        // moto keeps accounts apart: by a role of another account the key is not to be found.
        for (account, found) in [("123456789012", true), ("210987654321", false)] {
            let role_arn = Some(format!("arn:aws:iam::{account}:role/signer"));
            let result = Kms::new(&KmsConfig { role_arn, ..config.clone() }, rules).describe_key();
            assert_eq!(result.map_err(|error| error.cause()).err(), (!found).then_some(Cause::KmsKeyNotFound));
        }

        let missing = KmsConfig { profile: Some("other".to_owned()), ..config };
        assert!(Kms::new(&missing, rules).describe_key().is_err(), "a profile that does not exist was passed over");
        return;
    }
    let emulator = Emulator::moto();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let text = "[profile web]\nregion = eu-west-3\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n";
    std::fs::write(&file, text).unwrap();
    let variables = [("AWS_ENDPOINT_URL", &*emulator.url()), ("AWS_CONFIG_FILE", file.to_str().unwrap())];
    in_child("a_profile_and_a_role", &variables);
}

#[test]
fn only_the_named_roots_are_believed() {
    if in_child("only_the_named_roots_are_believed", &ANY_CREDENTIALS) {
        let folder = tempfile::tempdir().unwrap();
        let emulator = Emulator::ministack_with_tls(folder.path());
        let url = format!("https://127.0.0.1:{}", emulator.port());
        let rules = HostRules { threads_allowed: true, secure_mode: false };
        let config = KmsConfig { key_id: "alias/none".to_owned(), ..config(KmsBackend::Aws, Some(url)) };
        let error = Kms::new(&config, rules).describe_key().unwrap_err();
        assert_eq!(error.cause(), Cause::KmsUnreachable, "{error}");
        assert!(error.detail().contains("certificate"), "{error}");

        let named = KmsConfig { ca_bundle: Some(folder.path().join("root.pem")), ..config };
        let error = Kms::new(&named, rules).describe_key().unwrap_err();
        assert_eq!(error.cause(), Cause::KmsKeyNotFound, "KMS was not reached: {error}");
    }
}

/// AWS itself, with the credentials of the environment. Makes and deletes nothing; costs some cents.
/// `DATAKEY_TEST_KMS_OTHER_KEY_ID` names a second key, for the refusal of a wrong one.
#[test]
fn aws() {
    let Ok(key) = std::env::var("DATAKEY_TEST_KMS_KEY_ID") else {
        println!("AWS: not counted: DATAKEY_TEST_KMS_KEY_ID is not set");
        return;
    };
    let other = std::env::var("DATAKEY_TEST_KMS_OTHER_KEY_ID").ok();
    let subject = Subject {
        name: "AWS",
        config: config(KmsBackend::Aws, None),
        admin: None,
        specs: KeyPairSpec::ALL,
        re_encrypts: true,
    };
    let report = subject.check(&key, other.as_deref());
    let tried = report.0.iter().filter(|(_, found)| !found.ends_with("not tried"));
    assert!(tried.clone().count() >= 6);
    for (what, found) in tried {
        assert_eq!(*found, "counted", "{what}");
    }
}

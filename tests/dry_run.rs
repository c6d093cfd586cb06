//! Dry runs of every operation: they tell what KMS would do, and make and open nothing.

mod support;

use datakey::config::{KmsBackend, KmsConfig};
use datakey::error::Cause;
use datakey::kms::embedded::{self, Fault, FaultKind};
use datakey::kms::{EncryptionContext, HostRules, Kms, Trial};
use support::ask_kms;

const TRIALS: &[(Trial, &str)] = &[
    (Trial::GenerateDataKeyPair, "GenerateDataKeyPair"),
    (Trial::GenerateDataKeyPairWithoutPlaintext, "GenerateDataKeyPairWithoutPlaintext"),
    (Trial::GenerateDataKey, "GenerateDataKey"),
    (Trial::GenerateDataKeyWithoutPlaintext, "GenerateDataKeyWithoutPlaintext"),
    (Trial::Encrypt, "Encrypt"),
    (Trial::Decrypt, "Decrypt"),
    (Trial::ReEncrypt, "ReEncrypt"),
];

fn kms(folder: &tempfile::TempDir, key_id: &str) -> Kms {
    let config = KmsConfig {
        backend: KmsBackend::Embedded(folder.path().join("kms.json")),
        key_id: key_id.to_owned(),
        encryption_context: [("app".to_owned(), "test".to_owned())].into(),
        ..KmsConfig::default()
    };
    Kms::new(&config, HostRules { threads_allowed: true, secure_mode: false })
}

#[test]
fn every_operation_is_tried_by_its_own_name_and_only_tried() {
    let folder = tempfile::tempdir().unwrap();
    let kms = kms(&folder, "");
    let context = kms.context().unwrap();
    for (trial, name) in TRIALS {
        assert!(kms.try_out(*trial, &context).unwrap().only_tried, "{name}");
        assert_eq!(kms.embedded().unwrap().calls_of(name), 1, "{name}");
    }
}

#[test]
fn a_refusal_is_told_as_that_of_the_operation_itself() {
    let folder = tempfile::tempdir().unwrap();
    let kms = kms(&folder, "");
    for (trial, name) in TRIALS {
        for (code, cause) in [
            ("AccessDeniedException", Cause::KmsAccessDenied),
            ("DisabledException", Cause::KmsKeyDisabled),
            ("KMSInvalidStateException", Cause::KmsKeyInvalidState),
        ] {
            let fault = FaultKind::Error { code: code.to_owned(), status: None, message: String::new() };
            kms.embedded().unwrap().inject(Fault { operation: Some((*name).to_owned()), fault });
            let error = kms.try_out(*trial, &EncryptionContext::default()).unwrap_err();
            assert_eq!(error.cause(), cause, "{name}: {error}");
        }
    }
}

#[test]
fn a_key_that_is_not_there_is_missed_by_every_trial() {
    let folder = tempfile::tempdir().unwrap();
    let kms = kms(&folder, "alias/missing");
    for (trial, name) in TRIALS {
        let error = kms.try_out(*trial, &EncryptionContext::default()).unwrap_err();
        assert_eq!(error.cause(), Cause::KmsKeyNotFound, "{name}: {error}");
    }
}

#[test]
fn without_a_dry_run_there_is_no_way_around_the_ciphertext() {
    let folder = tempfile::tempdir().unwrap();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path().join("kms.json"), false).unwrap();
    let port = server.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let key = embedded::DEFAULT_ALIAS;
    for (body, code) in [
        (format!(r#"{{"KeyId":"{key}","DryRun":true,"DryRunModifiers":["IGNORE_CIPHERTEXT"]}}"#), "DryRunOperation"),
        (format!(r#"{{"KeyId":"{key}","DryRunModifiers":["IGNORE_CIPHERTEXT"]}}"#), "Validation"),
        (format!(r#"{{"KeyId":"{key}","DryRun":true,"DryRunModifiers":["IGNORE_ALL"]}}"#), "Validation"),
        (format!(r#"{{"KeyId":"{key}","DryRun":true}}"#), "Validation"),
        (r#"{"DryRun":true,"DryRunModifiers":["IGNORE_CIPHERTEXT"]}"#.to_owned(), "Validation"),
    ] {
        let (status, answer) = ask_kms(port, "Decrypt", &body);
        assert!(status >= 400 && answer["__type"].as_str().unwrap().contains(code), "{body}: {status} {answer}");
    }
}

//! What `doctor` found.

use crate::error::{Cause, Error};
use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Ok,
    Warning,
    Error,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "ERROR",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// The token it is about, by its label in the configuration.
    pub(super) token: Option<String>,
    /// What was looked at: a word or two.
    pub(super) check: &'static str,
    pub(super) what: String,
    /// What to do; there for everything that is not ok.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn json(&self) -> Value {
        json!({
            "level": self.level.name().to_lowercase(),
            "token": self.token,
            "check": self.check,
            "what": self.what,
            "advice": self.advice,
        })
    }
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    token: Option<String>,
}

impl Findings {
    /// What comes next is about this token, or about none.
    pub(super) fn about(&mut self, token: Option<&str>) {
        self.token = token.map(str::to_owned);
    }

    pub(super) fn all(&self) -> &[Finding] {
        &self.all
    }

    pub(super) fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.add(Level::Ok, check, what.into(), None);
    }

    pub(super) fn warning(&mut self, check: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Warning, check, what.into(), Some(advice.into()));
    }

    pub(super) fn error(&mut self, check: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Error, check, what.into(), Some(advice.into()));
    }

    /// An error of the library's. Its text says what to do as well; the table below knows more.
    pub(super) fn failed(&mut self, check: &'static str, error: &Error) {
        let text = error.cause().text();
        let (problem, advice) = text.split_once("; ").unwrap_or((text, "see the log of a host, or report a defect"));
        let what = match error.detail() {
            "" => problem.to_owned(),
            detail => format!("{problem}: {detail}"),
        };
        let better = ADVICE.iter().find(|(cause, _)| *cause == error.cause());
        self.error(check, what, better.map_or(advice, |(_, advice)| advice));
    }

    fn add(&mut self, level: Level, check: &'static str, what: String, advice: Option<String>) {
        self.all.push(Finding { level, token: self.token.clone(), check, what, advice });
    }
}

/// What to do about causes whose own text does not say it.
const ADVICE: &[(Cause, &str)] = &[
    (Cause::ConfigInvalid, "correct that line; docs/configuration.md describes every key"),
    (Cause::ConfigUnreadable, "correct the path or its permissions, or write a configuration with datakey-pkcs11 init"),
    (Cause::ConfigUnsafe, "run chmod go-w on it"),
    (Cause::SealBroken, "find out who changed the store or the configuration; restore the one that was changed"),
    (Cause::StoreReadOnly, "give this user write permission, if keys are to be made here"),
    (
        Cause::StoreDenied,
        "check user and password, or credentials and role; docs/stores.md says what they must be allowed",
    ),
    (Cause::StoreSetup, "correct the store's settings, or what they name; docs/stores.md describes them"),
    (Cause::RecordCorrupt, "restore the store from a backup: datakey-pkcs11 restore"),
    (Cause::KmsBadResponse, "check endpoint_url, proxy and the network between: something else than KMS answers"),
    (
        Cause::KmsUnsupported,
        "name a KMS key of KMS's own key store, or make another kind of key; if there is an endpoint_url, it may be no whole KMS",
    ),
    (Cause::KmsSetup, "correct the token's configuration or what it names"),
    (Cause::KmsKeyNotFound, "check kms_key_id, region and the account of the credentials"),
    (Cause::KmsKeyDisabled, "enable the key: aws kms enable-key --key-id …"),
    (
        Cause::KmsKeyInvalidState,
        "cancel its deletion before the keys under it are lost: aws kms cancel-key-deletion --key-id …, then enable it",
    ),
    (Cause::KmsInvalidKeyUsage, "name a symmetric encryption key in kms_key_id"),
    (Cause::KmsInternal, "try again later"),
];

//! KMS's exceptions.

use super::Answer;

/// The exceptions whose HTTP status is not 400.
const STATUS: &[(&str, u16)] = &[
    ("KMSInternalException", 500),
    ("KeyUnavailableException", 500),
    ("DependencyTimeoutException", 503),
    ("DryRunOperationException", 412),
];

/// A refusal, as KMS words it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exception {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Exception {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(super) fn answer(&self) -> Answer {
        Answer::fault(status(self.code), self.code, &self.message)
    }
}

/// The HTTP status that goes with an error code.
pub(super) fn status(code: &str) -> u16 {
    STATUS.iter().find(|(name, _)| *name == code).map_or(400, |(_, status)| *status)
}

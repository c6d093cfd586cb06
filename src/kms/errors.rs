//! What KMS and the way to it answer, as causes, and what of it may succeed when tried again.

use crate::error::{Cause, Error};
pub(super) use crate::net::{chain, plain};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::io;
use std::time::Duration;

/// Whether the same call may succeed a little later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It will not.
    Never,
    /// It may, with credentials loaded anew or with the clock difference learnt from this answer; once.
    Once,
    /// It may, after a short pause.
    Soon,
    /// It may, once there is quota again.
    Throttled,
}

/// How the system says that a connection ended too soon.
const ENDED: &[io::ErrorKind] = &[
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::TimedOut,
];

/// The one table from AWS error code to cause. The codes are listed without their `Exception`, which some
/// services append and some do not.
const CODES: &[(&str, Cause, Retry)] = &[
    ("AccessDenied", Cause::KmsAccessDenied, Retry::Never),
    ("NotFound", Cause::KmsKeyNotFound, Retry::Never),
    ("Disabled", Cause::KmsKeyDisabled, Retry::Never),
    ("KMSInvalidState", Cause::KmsKeyInvalidState, Retry::Never),
    ("KeyUnavailable", Cause::KmsKeyUnavailable, Retry::Soon),
    ("DependencyTimeout", Cause::KmsInternal, Retry::Soon),
    ("KMSInternal", Cause::KmsInternal, Retry::Soon),
    ("InternalFailure", Cause::KmsInternal, Retry::Soon),
    ("InternalServer", Cause::KmsInternal, Retry::Soon),
    ("ServiceUnavailable", Cause::KmsInternal, Retry::Soon),
    ("InvalidCiphertext", Cause::SealBroken, Retry::Never),
    ("IncorrectKey", Cause::SealWrongKey, Retry::Never),
    ("InvalidKeyUsage", Cause::KmsInvalidKeyUsage, Retry::Never),
    ("UnsupportedOperation", Cause::KmsUnsupported, Retry::Never),
    ("InvalidAction", Cause::KmsUnsupported, Retry::Never),
    ("UnknownOperation", Cause::KmsUnsupported, Retry::Never),
    ("InvalidGrantToken", Cause::KmsInvalidGrantToken, Retry::Never),
    ("Throttling", Cause::KmsThrottled, Retry::Throttled),
    ("TooManyRequests", Cause::KmsThrottled, Retry::Throttled),
    ("RequestLimitExceeded", Cause::KmsThrottled, Retry::Throttled),
    ("SlowDown", Cause::KmsThrottled, Retry::Throttled),
    // A quota of things, not of calls, whatever its name says: waiting does not help.
    ("LimitExceeded", Cause::KmsRejected, Retry::Never),
    ("Validation", Cause::KmsRejected, Retry::Never),
    ("InvalidArn", Cause::KmsRejected, Retry::Never),
    ("Serialization", Cause::KmsRejected, Retry::Never),
    ("InvalidParameterValue", Cause::KmsRejected, Retry::Never),
    ("MissingParameter", Cause::KmsRejected, Retry::Never),
    ("DryRunOperation", Cause::KmsRejected, Retry::Never),
    ("RequestTimeout", Cause::KmsTimeout, Retry::Soon),
    ("UnrecognizedClient", Cause::CredentialsRejected, Retry::Once),
    ("InvalidClientTokenId", Cause::CredentialsRejected, Retry::Once),
    ("ExpiredToken", Cause::CredentialsRejected, Retry::Once),
    ("InvalidSignature", Cause::CredentialsRejected, Retry::Once),
    ("SignatureDoesNotMatch", Cause::CredentialsRejected, Retry::Once),
    ("RequestExpired", Cause::CredentialsRejected, Retry::Once),
    ("RequestTimeTooSkewed", Cause::CredentialsRejected, Retry::Once),
    ("IncompleteSignature", Cause::CredentialsRejected, Retry::Never),
    ("MissingAuthenticationToken", Cause::CredentialsRejected, Retry::Never),
    ("OptInRequired", Cause::CredentialsRejected, Retry::Never),
];

fn row(code: &str) -> Option<(Cause, Retry)> {
    let bare = code.strip_suffix("Exception").or_else(|| code.strip_suffix("Error")).unwrap_or(code);
    CODES.iter().find(|(name, ..)| *name == bare).map(|(_, cause, retry)| (*cause, *retry))
}

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) retry: Retry,
    /// How long the other side asks to be left alone (`Retry-After`).
    pub(super) rest: Duration,
    what: String,
    request_id: Option<String>,
}

impl Failure {
    /// An attempt that was not answered in time.
    pub(super) fn timed_out(limit: Duration) -> Self {
        let what = format!("no answer within {} ms", limit.as_millis());
        Self { cause: Cause::KmsTimeout, retry: Retry::Soon, rest: Duration::ZERO, what, request_id: None }
    }

    /// Reads the SDK's error. Neither its `Debug` nor a response body is ever shown: both can hold a
    /// plaintext.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (cause, retry, what) = match error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                match service.err().code() {
                    Some(code) => {
                        let (cause, retry) = row(code).unwrap_or_else(|| by_status(status));
                        (cause, retry, named(code, service.err().message()))
                    }
                    None if service.raw().status().is_success() => unreadable(status),
                    None => {
                        let (cause, retry) = by_bare_status(status);
                        (cause, retry, format!("HTTP status {status} without an AWS error code"))
                    }
                }
            }
            SdkError::ResponseError(_) if broke_off(error) => {
                (Cause::KmsUnreachable, Retry::Soon, "the connection broke off in the middle of the answer".to_owned())
            }
            SdkError::ResponseError(response) => unreadable(response.raw().status().as_u16()),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                (Cause::KmsSetup, Retry::Never, failure.as_connector_error().map_or_else(String::new, |e| chain(e)))
            }
            SdkError::DispatchFailure(failure) => {
                let cause = if failure.is_timeout() { Cause::KmsTimeout } else { Cause::KmsUnreachable };
                (cause, Retry::Soon, failure.as_connector_error().map_or_else(String::new, |e| chain(e)))
            }
            SdkError::TimeoutError(_) => (Cause::KmsTimeout, Retry::Soon, "no answer in time".to_owned()),
            other => (Cause::KmsSetup, Retry::Never, chain(other)),
        };
        let rest = error.raw_response().map_or(Duration::ZERO, retry_after);
        Self { cause, retry, rest, what, request_id: error.request_id().map(|id| plain(id, 100)) }
    }

    /// The error for the floors above, with all that helps to find the reason.
    pub(super) fn into_error(self, operation: &str, key_id: &str, attempts: u32, took: Duration) -> Error {
        let request = self.request_id.map(|id| format!(", request {id}")).unwrap_or_default();
        let attempts = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
        let separator = if self.what.is_empty() { "" } else { ": " };
        let (what, took) = (self.what, took.as_millis());
        self.cause
            .with(format!("kms:{operation}{separator}{what} (KMS key {key_id}{request}, {attempts} in {took} ms)"))
    }
}

fn unreadable(status: u16) -> (Cause, Retry, String) {
    (Cause::KmsBadResponse, Retry::Never, format!("the answer (HTTP status {status}) cannot be read"))
}

/// `Retry-After` in seconds, as load balancers and proxies set it; a date there is none that they set.
fn retry_after(answer: &HttpResponse) -> Duration {
    let seconds = answer.headers().get("retry-after").and_then(|value| value.trim().parse::<u32>().ok());
    Duration::from_secs(seconds.unwrap_or(0).into())
}

/// Whether an answer could not be read because the connection ended before it.
fn broke_off(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(error.source(), |error| error.source()).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| ENDED.contains(&error.kind()))
            || error.downcast_ref().is_some_and(hyper::Error::is_incomplete_message)
    })
}

/// What an answer means that carries no code: a proxy's, a load balancer's, but not KMS's. What they refuse KMS has not
/// denied, so that it takes no opened key away.
fn by_bare_status(status: u16) -> (Cause, Retry) {
    match status {
        401 | 403 => (Cause::KmsBadResponse, Retry::Never),
        _ => by_status(status),
    }
}

/// What an answer means whose code is not known.
fn by_status(status: u16) -> (Cause, Retry) {
    match status {
        429 => (Cause::KmsThrottled, Retry::Throttled),
        403 => (Cause::KmsAccessDenied, Retry::Never),
        500..=599 => (Cause::KmsInternal, Retry::Soon),
        400..=499 => (Cause::KmsRejected, Retry::Never),
        _ => (Cause::KmsBadResponse, Retry::Never),
    }
}

fn named(code: &str, message: Option<&str>) -> String {
    let code = plain(code, 100);
    match message.map(|message| plain(message, 500)).filter(|message| !message.is_empty()) {
        Some(message) => format!("{code}: {message}"),
        None => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_code_has_one_row_and_is_found_with_its_suffix() {
        let mut seen = HashSet::new();
        for (code, cause, retry) in CODES {
            assert!(seen.insert(code), "{code} is listed twice");
            assert_eq!(row(&format!("{code}Exception")), Some((*cause, *retry)));
            assert_eq!(row(code), Some((*cause, *retry)));
        }
        assert_eq!(row("NobodyKnowsThis"), None);
    }

    #[test]
    fn a_quota_of_things_is_not_a_quota_of_calls() {
        assert_eq!(row("LimitExceededException"), Some((Cause::KmsRejected, Retry::Never)));
        assert_eq!(row("ThrottlingException"), Some((Cause::KmsThrottled, Retry::Throttled)));
    }
}

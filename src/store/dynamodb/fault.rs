//! DynamoDB's failures, by cause, and what of them may succeed when tried again.

use crate::error::{Cause, Error};
use crate::net::{chain, plain};
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::time::Duration;

/// Whether the same request may succeed a little later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It will not.
    Never,
    /// It may, with credentials loaded anew; once.
    Once,
    /// It may.
    Soon,
}

/// What a failure means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was not done, and the error says all.
    Refused,
    /// A condition of a change does not hold: others were faster, or are at it.
    Overtaken,
    /// There is no such table.
    NoTable,
    /// Nobody knows whether it was done.
    Unknown,
}

/// Why work stopped.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) error: Error,
    pub(super) retry: Retry,
    pub(super) kind: Kind,
}

/// What work with the table answers.
pub(super) type Outcome<T> = Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Never, kind: Kind::Refused }
    }
}

impl From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Error::from(cause).into()
    }
}

impl From<BuildError> for Stop {
    fn from(error: BuildError) -> Self {
        Cause::StoreSetup.with(error.to_string()).into()
    }
}

/// The one table from AWS error code to cause. The codes are listed without their `Exception`.
const CODES: &[(&str, Cause, Retry, Kind)] = &[
    ("ConditionalCheckFailed", Cause::StoreConflict, Retry::Never, Kind::Overtaken),
    ("TransactionCanceled", Cause::StoreConflict, Retry::Never, Kind::Overtaken),
    ("TransactionConflict", Cause::StoreBusy, Retry::Soon, Kind::Overtaken),
    ("TransactionInProgress", Cause::StoreBusy, Retry::Soon, Kind::Unknown),
    ("ResourceNotFound", Cause::StoreUnavailable, Retry::Never, Kind::NoTable),
    ("TableNotFound", Cause::StoreUnavailable, Retry::Never, Kind::NoTable),
    ("ResourceInUse", Cause::StoreBusy, Retry::Never, Kind::Overtaken),
    ("ProvisionedThroughputExceeded", Cause::StoreThrottled, Retry::Soon, Kind::Refused),
    ("RequestLimitExceeded", Cause::StoreThrottled, Retry::Soon, Kind::Refused),
    ("Throttling", Cause::StoreThrottled, Retry::Soon, Kind::Refused),
    ("LimitExceeded", Cause::StoreThrottled, Retry::Soon, Kind::Refused),
    ("InternalServer", Cause::StoreUnreachable, Retry::Soon, Kind::Unknown),
    ("InternalFailure", Cause::StoreUnreachable, Retry::Soon, Kind::Unknown),
    ("ServiceUnavailable", Cause::StoreUnreachable, Retry::Soon, Kind::Unknown),
    ("AccessDenied", Cause::StoreDenied, Retry::Never, Kind::Refused),
    ("ItemCollectionSizeLimitExceeded", Cause::StoreFull, Retry::Never, Kind::Refused),
    ("Validation", Cause::StoreSetup, Retry::Never, Kind::Refused),
    ("UnrecognizedClient", Cause::CredentialsRejected, Retry::Once, Kind::Refused),
    ("InvalidClientTokenId", Cause::CredentialsRejected, Retry::Once, Kind::Refused),
    ("ExpiredToken", Cause::CredentialsRejected, Retry::Once, Kind::Refused),
    ("InvalidSignature", Cause::CredentialsRejected, Retry::Once, Kind::Refused),
    ("RequestExpired", Cause::CredentialsRejected, Retry::Once, Kind::Refused),
    ("RequestTimeTooSkewed", Cause::CredentialsRejected, Retry::Once, Kind::Refused),
    ("IncompleteSignature", Cause::CredentialsRejected, Retry::Never, Kind::Refused),
    ("MissingAuthenticationToken", Cause::CredentialsRejected, Retry::Never, Kind::Refused),
];

fn row(code: &str) -> Option<(Cause, Retry, Kind)> {
    let bare = code.strip_suffix("Exception").or_else(|| code.strip_suffix("Error")).unwrap_or(code);
    CODES.iter().find(|(name, ..)| *name == bare).map(|(_, cause, retry, kind)| (*cause, *retry, *kind))
}

impl Stop {
    /// A request that was not answered in time.
    pub(super) fn late(limit: Duration) -> Self {
        let error = Cause::StoreUnreachable.with(format!("no answer within {} ms", limit.as_millis()));
        Self { error, retry: Retry::Soon, kind: Kind::Unknown }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Stop
where
    E: ProvideErrorMetadata + std::error::Error + Reasons + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let request = error.request_id().map(|id| format!(" (request {})", plain(id, 100))).unwrap_or_default();
        let (cause, retry, kind, what) = match &error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                let said = service.err();
                let code = said.reason().or(said.code());
                let message = said.message().map(|message| plain(message, 300)).unwrap_or_default();
                let (cause, retry, kind) = match code.and_then(row) {
                    Some((Cause::StoreSetup, ..)) if is_too_large(&message) => {
                        (Cause::StoreFull, Retry::Never, Kind::Refused)
                    }
                    Some(row) => row,
                    None => by_status(status),
                };
                let what = match code {
                    Some(code) => format!("{}: {message}", plain(code, 100)),
                    None => format!("HTTP status {status} without an AWS error code"),
                };
                (cause, retry, kind, what)
            }
            // It never went out.
            SdkError::ConstructionFailure(_) => (Cause::StoreSetup, Retry::Never, Kind::Refused, chain(&error)),
            SdkError::DispatchFailure(failure) if failure.is_user() => (
                Cause::StoreSetup,
                Retry::Never,
                Kind::Refused,
                failure.as_connector_error().map_or_else(String::new, |e| chain(e)),
            ),
            SdkError::DispatchFailure(failure) => {
                let what = failure.as_connector_error().map_or_else(String::new, |e| chain(e));
                (Cause::StoreUnreachable, Retry::Soon, Kind::Unknown, what)
            }
            _ => (Cause::StoreUnreachable, Retry::Soon, Kind::Unknown, "the answer cannot be read".to_owned()),
        };
        Self { error: cause.with(format!("{what}{request}")), retry, kind }
    }
}

/// DynamoDB says so in words only.
fn is_too_large(message: &str) -> bool {
    message.contains("exceeded the maximum allowed size") || message.contains("Item size")
}

fn by_status(status: u16) -> (Cause, Retry, Kind) {
    match status {
        429 => (Cause::StoreThrottled, Retry::Soon, Kind::Refused),
        403 => (Cause::StoreDenied, Retry::Never, Kind::Refused),
        500..=599 => (Cause::StoreUnreachable, Retry::Soon, Kind::Unknown),
        // It said yes, to something.
        200..=299 => (Cause::StoreUnreachable, Retry::Never, Kind::Unknown),
        _ => (Cause::StoreUnavailable, Retry::Never, Kind::Refused),
    }
}

/// Why a transaction was cancelled, where that is what happened: one code for each of its items.
pub(super) trait Reasons {
    /// The code that counts: the first that is no conflict, which is for good, else a conflict.
    fn reason(&self) -> Option<&str>;
}

impl Reasons for TransactWriteItemsError {
    fn reason(&self) -> Option<&str> {
        let Self::TransactionCanceledException(cancelled) = self else { return None };
        let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
        codes()
            .find(|code| !["None", "TransactionConflict"].contains(code))
            .or_else(|| codes().find(|code| *code != "None"))
    }
}

macro_rules! no_reasons {
    ($($error:path,)*) => { $(impl Reasons for $error { fn reason(&self) -> Option<&str> { None } })* };
}

no_reasons! {
    aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemError,
    aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemError,
    aws_sdk_dynamodb::operation::create_table::CreateTableError,
    aws_sdk_dynamodb::operation::describe_table::DescribeTableError,
    aws_sdk_dynamodb::operation::get_item::GetItemError,
    aws_sdk_dynamodb::operation::put_item::PutItemError,
    aws_sdk_dynamodb::operation::query::QueryError,
    aws_sdk_dynamodb::operation::update_time_to_live::UpdateTimeToLiveError,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_code_has_one_row_and_is_found_with_its_suffix() {
        let mut seen = HashSet::new();
        for (code, cause, retry, kind) in CODES {
            assert!(seen.insert(code), "{code} is listed twice");
            assert_eq!(row(&format!("{code}Exception")), Some((*cause, *retry, *kind)));
            assert_eq!(row(&format!("{code}Error")), Some((*cause, *retry, *kind)));
        }
        assert_eq!(row("NobodyKnowsThis"), None);
    }
}

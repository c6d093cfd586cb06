//! One call to KMS: attempts, pauses and deadlines.
//!
//! The loop is ours and not the SDK's, which is told to try once: the SDK's own gives up its last error
//! when the total deadline strikes (a throttled call would look like a dead network), does not tell how
//! often it tried, sleeps a second before a signature is tried again, and takes `LimitExceededException`
//! for throttling.

use super::errors::{Failure, Retry, plain};
use super::setup::Session;
use crate::counters::{Count, Counters};
use crate::error::{Cause, Error, Result};
use crate::host::pause::pause;
use crate::net::Permit;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How often something that is broken, not busy, is tried. Throttled calls are tried until the deadline.
const MAX_ATTEMPTS: u32 = 5;

/// How long one attempt and all of them may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) attempt: Duration,
    pub(super) total: Duration,
}

/// What a failed call is called in an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) operation: &'static str,
    pub(super) key_id: &'a str,
}

impl Name<'_> {
    /// As an error begins that is not of an attempt.
    pub(super) fn about(self, request_id: Option<&str>) -> String {
        let request = request_id.map(|id| format!(", request {}", plain(id, 100))).unwrap_or_default();
        format!("kms:{} (KMS key {}{request})", self.operation, self.key_id)
    }
}

/// Makes the call until it succeeds, cannot succeed, or would miss its deadline.
pub(super) async fn until_answered<T, E, F>(
    name: Name<'_>,
    limits: Limits,
    deadline: Instant,
    session: &Session,
    permit: &mut Permit<'_>,
    counters: &Counters,
    send: impl Fn(Client) -> F,
) -> Result<T>
where
    F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let begun = Instant::now();
    let mut attempts = 0;
    let mut renewed = false;
    loop {
        let credentials = within(deadline, name, session.credentials.ready()).await?;
        attempts += 1;
        let asked = Instant::now();
        let limit = limits.attempt.min(deadline.saturating_duration_since(asked));
        let outcome = match timeout(limit, Box::pin(send(session.client.clone()))).await {
            Ok(outcome) => outcome.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::timed_out(limit)),
        };
        note(outcome.as_ref().err().map(|failure| failure.cause), asked.elapsed(), permit, counters);
        let failure = match outcome {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let rest = match failure.retry {
            // A probe that was not answered makes no other attempt.
            _ if permit.is_probe() => None,
            Retry::Never => None,
            Retry::Once if renewed => None,
            Retry::Once => {
                // Where others have renewed them since the call began, it has not had its chance yet.
                renewed = session.credentials.refuse(credentials);
                Some(Duration::ZERO)
            }
            Retry::Soon if attempts >= MAX_ATTEMPTS => None,
            Retry::Soon => Some(pause(Duration::from_millis(50), Duration::from_secs(1), attempts)),
            // The longer those pause who wait already, the more of the quota goes to those who just came.
            Retry::Throttled => Some(pause(Duration::from_millis(200), Duration::from_secs(2), attempts)),
        };
        // Nobody answers an attempt that has next to no time, but everybody pays for it.
        let last = deadline.checked_sub(limits.attempt / 10).unwrap_or(deadline);
        if let Some(rest) = rest.map(|rest| rest.max(failure.rest))
            && Instant::now() + rest < last
        {
            sleep(rest).await;
            if Instant::now() < last {
                continue;
            }
        }
        return Err(failure.into_error(name.operation, name.key_id, attempts, begun.elapsed()));
    }
}

/// Whether a cause says that nobody answered.
pub(super) fn is_silence(cause: Cause) -> bool {
    matches!(cause, Cause::KmsTimeout | Cause::KmsUnreachable)
}

/// Tells breaker and counters of an attempt that failed for this cause, or succeeded.
fn note(cause: Option<Cause>, took: Duration, permit: &mut Permit<'_>, counters: &Counters) {
    counters.add(Count::KmsRequests);
    match cause {
        Some(cause) if is_silence(cause) => return counters.add(Count::KmsUnanswered),
        // It never went out.
        Some(Cause::KmsSetup) => return,
        Some(Cause::KmsThrottled) => counters.add(Count::KmsThrottles),
        Some(Cause::KmsAccessDenied) => counters.add(Count::KmsDenials),
        _ => {}
    }
    counters.latency.record(took);
    permit.answered();
}

/// A part of a call that is no attempt: loading the configuration, fetching credentials.
pub(super) async fn within<T>(deadline: Instant, name: Name<'_>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout_at(deadline, Box::pin(work)).await;
    done.unwrap_or_else(|_| Err(Cause::KmsTimeout.with("no credentials before the deadline")))
        .map_err(|error| error.context(name.about(None)))
}

/// Runs `work` unless and until `cancelled` turns true.
pub(super) async fn unless<T>(
    mut cancelled: watch::Receiver<bool>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut stop = pin!(async move {
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // The sender lives as long as the client; without it there is nothing to wait for.
            std::future::pending::<()>().await;
        }
    });
    let mut work = pin!(work);
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Error::from(Cause::NotInitialized)));
        }
        work.as_mut().poll(context)
    })
    .await
}

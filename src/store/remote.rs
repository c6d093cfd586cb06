//! What stores behind a network share: which process opened them, how they wait, and when they do not.

use crate::error::{Cause, Result};
use crate::host::{self, fork::PerProcess};
use crate::net::Breaker;
use std::ptr;
use std::time::Duration;

/// There is one in each process.
#[derive(Default)]
struct Here;

static HERE: PerProcess<Here> = PerProcess::new();

/// The process that opened a store. In a child of it the store's connections are neither used nor closed, but
/// forgotten: they are the parent's.
pub(super) struct Origin(&'static Here);

impl Origin {
    pub(super) fn new() -> Self {
        Self(HERE.get())
    }

    pub(super) fn is_here(&self) -> bool {
        ptr::eq(self.0, HERE.get())
    }

    /// Refuses in a child of the process that opened the store.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_here() { Ok(()) } else { Err(Cause::NotInitialized.with("the store was opened before a fork")) }
    }
}

/// The server behind a store, or the lack of it.
pub(super) struct Server(Breaker);

impl Server {
    pub(super) fn new() -> Self {
        Self(Breaker::new("the store's server"))
    }

    /// Makes a call, with all its attempts, unless those before it were not answered.
    ///
    /// # Errors
    /// `StoreUnreachable` where it is not made.
    pub(super) fn call<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut permit = self.0.admit().map_err(|why| Cause::StoreUnreachable.with(format!("not asked, {why}")))?;
        let done = call();
        match &done {
            Err(error) if is_silence(error.cause()) => permit.unanswered(error.detail()),
            Err(error) if is_before(error.cause()) => {}
            Ok(_) | Err(_) => permit.answered(),
        }
        done
    }
}

/// Whether a failure says that nobody answered.
fn is_silence(cause: Cause) -> bool {
    matches!(cause, Cause::StoreUnreachable | Cause::StoreInDoubt)
}

/// Whether a failure comes before a server is asked, and so says nothing of it.
fn is_before(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::StoreSetup
            | Cause::KmsSetup
            | Cause::CredentialsMissing
            | Cause::RegionMissing
            | Cause::NotInitialized
            | Cause::ForkedWhileBusy
            | Cause::HostMemory
    )
}

/// How long to wait before the attempt after `attempts`.
pub(super) fn pause(attempts: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_secs(1);
    host::pause::pause(FIRST, MOST, attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_answers_never_keeps_calls_from_it() {
        let fails = |server: &Server, cause: Cause| server.call(|| Err::<(), _>(cause.with("why"))).unwrap_err();
        let server = Server::new();
        for cause in Cause::ALL.iter().copied().filter(|cause| !is_silence(*cause)) {
            (0..10).for_each(|_| assert_eq!(fails(&server, cause).cause(), cause));
            // Nor is what comes before a server is asked one of three calls in a row that ends the row.
            let silent = Server::new();
            [Cause::StoreUnreachable, Cause::StoreInDoubt, cause, Cause::StoreUnreachable]
                .into_iter()
                .for_each(|cause| assert_eq!(fails(&silent, cause).detail(), "why"));
            assert_eq!(silent.call(|| Ok(())).is_ok(), !is_before(cause), "{cause:?}");
        }
    }

    #[test]
    fn a_call_that_is_not_made_says_so() {
        let server = Server::new();
        (0..3).for_each(|_| drop(server.call(|| Err::<(), _>(Cause::StoreUnreachable.with("why")))));
        let error = server.call(|| -> Result<()> { unreachable!("it is not made") }).unwrap_err();
        assert_eq!(error.cause(), Cause::StoreUnreachable);
        let said = error.detail();
        assert!(said.starts_with("not asked, tried again in ") && said.ends_with(" ms; the last call: why"), "{said}");
    }
}

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
        match done.as_ref().map_err(|error| error.cause()) {
            Err(Cause::StoreUnreachable | Cause::StoreInDoubt) => {
                permit.unanswered(done.as_ref().err().map_or("", |error| error.detail()));
            }
            Err(cause) if is_before(cause) => {}
            Ok(_) | Err(_) => permit.answered(),
        }
        done
    }
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

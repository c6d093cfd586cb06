//! What stores behind a network share: which process opened them, and how they wait.

use crate::error::{Cause, Result};
use crate::host::{self, fork::PerProcess};
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

/// How long to wait before the attempt after `attempts`.
pub(super) fn pause(attempts: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_secs(1);
    host::pause::pause(FIRST, MOST, attempts)
}

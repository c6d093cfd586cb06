//! The runtime that calls run on: the calling thread's own time, no thread of ours.
//!
//! One current-thread runtime serves all callers of one client. Whichever caller is in it
//! first drives the sockets for all; the others poll their own calls and wait, and one of them takes
//! over when it leaves. Dropping it drops every connection with its buffers.

use crate::error::{Cause, Result};
use crate::host::signals;
use std::future::Future;
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime on the threads of its callers.
pub struct Driver {
    /// `Some` until dropped.
    runtime: Option<Runtime>,
}

impl Driver {
    /// A runtime; nothing runs on it yet.
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Cause::KmsSetup.with(format!("the runtime for network calls cannot be made: {error}")))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` to its end on this thread.
    ///
    /// A caller that is itself inside an async runtime of this same library cannot enter a second one on
    /// its thread; for it the work is done on a thread that lives as long as the call.
    pub fn block_on<F>(&self, work: F, threads_allowed: bool) -> Result<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let Some(runtime) = &self.runtime else {
            return Err(Cause::NotInitialized.into());
        };
        if Handle::try_current().is_err() {
            return Ok(signals::without_sigpipe(|| runtime.block_on(work)));
        }
        if !threads_allowed {
            return Err(Cause::KmsSetup.with("called from inside an async runtime, and the host forbids threads"));
        }
        thread::scope(|scope| {
            let worker = thread::Builder::new().name("datakey-kms".to_owned()).spawn_scoped(scope, || {
                signals::block_all();
                runtime.block_on(work)
            });
            match worker.map(|worker| worker.join()) {
                Ok(Ok(output)) => Ok(output),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(error) => Err(Cause::KmsSetup.with(format!("no thread for the call can be made: {error}"))),
            }
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop waits for pool threads, and panics inside another runtime.
            runtime.shutdown_background();
        }
    }
}

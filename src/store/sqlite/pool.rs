//! The connections of one store in one process: a writer, and as many readers as read at once.
//!
//! All waiting is done here, outside the gate and without a connection in use: for the writer, which one
//! thread has at a time, and for other processes, by trying again.

use super::connection::{self, Link};
use super::process::Process;
use crate::error::{Cause, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a call waits for others in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many idle readers are kept.
const IDLE: usize = 8;

pub(super) struct Pool {
    pub(super) path: PathBuf,
    process: &'static Process,
    state: Mutex<State>,
    writer_is_back: Condvar,
}

#[derive(Default)]
struct State {
    readers: Vec<Link>,
    writer: Option<Link>,
    writing: bool,
}

impl Pool {
    pub(super) fn new(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            process: Process::current()?,
            state: Mutex::default(),
            writer_is_back: Condvar::new(),
        })
    }

    /// Runs `work` with a reader, again while others are in the way; `None` if there is no file.
    pub(super) fn read<T>(&self, mut work: impl FnMut(&Link) -> Result<T>) -> Result<Option<T>> {
        self.check_process()?;
        patiently(|| {
            let Some(file) = connection::identity(&self.path)? else { return Ok(None) };
            let idle = self.state().readers.pop();
            let link = match idle {
                Some(link) if link.is_to(&file) => link,
                _ => Link::open(self.process, &self.path, file)?,
            };
            let result = work(&link);
            // A connection that failed is closed: what it knew of the file may be what was wrong.
            if result.is_ok() {
                let mut state = self.state();
                if state.readers.len() < IDLE {
                    state.readers.push(link);
                }
            }
            result.map(Some)
        })
    }

    /// Runs `work` with the writer, again while others are in the way; `None` if there is no file.
    pub(super) fn write<T>(&self, mut work: impl FnMut(&Link) -> Result<T>) -> Result<Option<T>> {
        self.check_process()?;
        let mut turn = self.turn()?;
        patiently(|| {
            let Some(file) = connection::identity(&self.path)? else { return Ok(None) };
            let link = match turn.link.take() {
                Some(link) if link.is_to(&file) => link,
                _ => Link::open(self.process, &self.path, file)?,
            };
            let result = work(&link);
            // A conflict and its like are answers, not faults of the connection.
            if !result.as_ref().is_err_and(|e| e.cause().device_error() != 0 && !harmless(e)) {
                turn.link = Some(link);
            }
            result.map(Some)
        })
    }

    /// Refuses in a child of the process that opened the store.
    pub(super) fn check_process(&self) -> Result<()> {
        if self.process.is_this() {
            Ok(())
        } else {
            Err(Cause::NotInitialized.with("the store was opened before a fork"))
        }
    }

    /// Waits until no other thread writes.
    fn turn(&self) -> Result<Turn<'_>> {
        let (mut state, wait) = self
            .writer_is_back
            .wait_timeout_while(self.state(), PATIENCE, |state| state.writing)
            .unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() && state.writing {
            return Err(busy(&self.path));
        }
        state.writing = true;
        Ok(Turn { link: state.writer.take(), pool: self })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each use leaves the state whole, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write, given back on drop.
struct Turn<'a> {
    link: Option<Link>,
    pool: &'a Pool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.writer = self.link.take();
        state.writing = false;
        drop(state);
        self.pool.writer_is_back.notify_one();
    }
}

fn harmless(error: &Error) -> bool {
    matches!(error.cause(), Cause::StoreConflict | Cause::StoreBusy | Cause::RecordCorrupt)
}

fn busy(path: &Path) -> Error {
    Cause::StoreBusy.with(format!("{}: waited {} s", path.display(), PATIENCE.as_secs()))
}

/// Tries `attempt` until it is not `StoreBusy`, or for five seconds.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut started = None;
    let mut most = 200_u64;
    loop {
        let result = attempt();
        if !result.as_ref().is_err_and(|e| e.cause() == Cause::StoreBusy) {
            return result;
        }
        if started.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return result.map_err(|e| e.context(format_args!("waited {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_micros(most / 4 + jitter() % most));
        most = (most * 2).min(20_000);
    }
}

/// Some number that differs between processes, threads and moments.
fn jitter() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    (u64::from(now) ^ u64::from(std::process::id()).rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33
}

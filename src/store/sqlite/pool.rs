//! The connections of one store in one process: a writer, and as many readers as read at once.
//!
//! All waiting is done here, outside the gate and without a connection in use: for the writer, which one
//! thread has at a time, and for other processes, by trying again.

use super::connection::{self, Identity, Link};
use super::process::Process;
use crate::error::{Cause, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a call waits for others in all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How many idle readers are kept.
const IDLE: usize = 8;

pub(super) struct Pool {
    pub(super) path: PathBuf,
    process: &'static Process,
    /// The process's root directory when this was made.
    root: Option<Identity>,
    state: Mutex<State>,
    writer_is_back: Condvar,
    /// Whether the file was there before.
    was_there: AtomicBool,
}

#[derive(Default)]
struct State {
    readers: Vec<Link>,
    /// How many readers are in use.
    reading: usize,
    writer: Option<Link>,
    writing: bool,
}

/// Where the path leads now.
enum Way {
    Nowhere,
    To(Identity),
    /// Not any more, because the process has changed its root directory: nobody says that the file is gone,
    /// and what is open is used as it is.
    Closed,
}

impl Pool {
    pub(super) fn new(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            process: Process::current()?,
            root: root(),
            state: Mutex::default(),
            writer_is_back: Condvar::new(),
            was_there: AtomicBool::new(false),
        })
    }

    /// Runs `work` with a reader, again while others are in the way; `None` if there is no file.
    pub(super) fn read<T>(&self, mut work: impl FnMut(&Link) -> Result<T>) -> Result<Option<T>> {
        self.check_process()?;
        patiently(|| {
            let way = self.way()?;
            let mut reading = Reading::begin(self);
            let idle = reading.link.take();
            let link = match (&way, idle) {
                (Way::Nowhere, _) => return Ok(None),
                (Way::To(file), Some(link)) if link.is_to(file) => link,
                (Way::To(file), _) => Link::open(self.process, &self.path, *file)?,
                (Way::Closed, idle) => match idle.or_else(|| self.state().writer.take()) {
                    Some(link) => link,
                    None => return Err(self.no_way()),
                },
            };
            let result = work(&link);
            // A connection that failed is closed: what it knew of the file may be what was wrong.
            let is_sound = result.is_ok() || (matches!(way, Way::Closed) && result.as_ref().is_err_and(harmless));
            if is_sound && !link.holds_on() {
                reading.link = Some(link);
            }
            result.map(Some)
        })
    }

    /// Runs `work` with the writer, again while others are in the way; `None` if there is no file.
    pub(super) fn write<T>(&self, mut work: impl FnMut(&Link) -> Result<T>) -> Result<Option<T>> {
        self.check_process()?;
        let mut turn = self.turn()?;
        patiently(|| {
            let link = match (self.way()?, turn.link.take()) {
                (Way::Nowhere, _) => return Ok(None),
                (Way::To(file), Some(link)) if link.is_to(&file) => link,
                (Way::To(file), _) => Link::open(self.process, &self.path, file)?,
                (Way::Closed, Some(link)) => link,
                // A reader is a connection like any other.
                (Way::Closed, None) => self.state().readers.pop().ok_or_else(|| self.no_way())?,
            };
            let result = work(&link);
            // A conflict and its like are answers, not faults of the connection.
            let is_faulty = result.as_ref().is_err_and(|e| e.cause().device_error() != 0 && !harmless(e));
            if !is_faulty && !link.holds_on() {
                turn.link = Some(link);
            }
            result.map(Some)
        })
    }

    fn way(&self) -> Result<Way> {
        Ok(match connection::identity(&self.path)? {
            Some(file) => {
                self.was_there.store(true, Ordering::Relaxed);
                Way::To(file)
            }
            None => match (root(), self.root) {
                (Some(now), Some(then)) if !now.is_same_file(&then) => Way::Closed,
                // Not a token that was never initialised: a file system that is not mounted any more, say.
                _ if self.was_there.load(Ordering::Relaxed) => {
                    return Err(Cause::StoreUnavailable.with(format!("{} is gone", self.path.display())));
                }
                _ => Way::Nowhere,
            },
        })
    }

    /// Why there is no connection where none can be opened: others use those that are, or there are none.
    fn no_way(&self) -> Error {
        let state = self.state();
        // Who asks is one of those who read or write.
        if state.reading + usize::from(state.writing) > 1 {
            return Cause::StoreBusy.with(self.path.display().to_string());
        }
        let why = "the process has changed its root directory, and the store is not in it";
        Cause::StoreUnavailable.with(format!("{}: {why}", self.path.display()))
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

/// The process's root directory.
fn root() -> Option<Identity> {
    connection::identity(Path::new("/")).ok().flatten()
}

/// A reader in use, if there is an idle one; given back on drop.
struct Reading<'a> {
    link: Option<Link>,
    pool: &'a Pool,
}

impl<'a> Reading<'a> {
    fn begin(pool: &'a Pool) -> Self {
        let mut state = pool.state();
        state.reading += 1;
        let link = state.readers.pop();
        Self { link, pool }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.reading -= 1;
        let link = self.link.take();
        if state.readers.len() < IDLE {
            state.readers.extend(link);
        } else {
            // Closing takes its time.
            drop(state);
            drop(link);
        }
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

pub(super) fn busy(path: &Path) -> Error {
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

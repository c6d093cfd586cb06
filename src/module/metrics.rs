//! The file with what the tokens have done, for Prometheus (node_exporter's textfile collector, say).
//!
//! No thread writes it: the call does that finds it older than some seconds. It is written beside its place and moved
//! there, so that nobody reads half of it.

use crate::counters;
use crate::session::Slot;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How old the file may become while the module is in use.
const EVERY: Duration = Duration::from_secs(5);
/// Stands for the process id in the name of the file.
const PROCESS: &str = "{pid}";

/// Where the numbers go.
pub(super) struct Metrics {
    file: PathBuf,
    /// Whether this process has a file of its own.
    own: bool,
    born: Instant,
    /// When it is next to be written, in milliseconds since `born`.
    due: AtomicU64,
    failed: AtomicBool,
}

impl Metrics {
    pub(super) fn new(file: &Path) -> Self {
        let name = file.to_string_lossy();
        let own = name.contains(PROCESS);
        let file = if own { name.replace(PROCESS, &std::process::id().to_string()).into() } else { file.to_owned() };
        Self { file, own, born: Instant::now(), due: AtomicU64::new(0), failed: AtomicBool::new(false) }
    }

    /// Writes the file if it is time. Of many callers one does.
    pub(super) fn refresh(&self, slots: &[Arc<Slot>]) {
        let now = self.born.elapsed().as_millis() as u64;
        let due = self.due.load(Ordering::Relaxed);
        let next = now + EVERY.as_millis() as u64;
        if now >= due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.write(slots);
        }
    }

    /// The last word of this process: what nobody will continue is removed, the file of all is written.
    pub(super) fn finish(&self, slots: &[Arc<Slot>]) {
        if !self.own {
            self.write(slots);
        } else if let Err(error) = fs::remove_file(&self.file) {
            tracing::debug!("the metrics file {} is not removed: {error}", self.file.display());
        }
    }

    fn write(&self, slots: &[Arc<Slot>]) {
        let tokens: Vec<_> = slots.iter().map(|slot| slot.token.subject()).collect();
        let text = counters::text(&tokens, self.own.then(std::process::id));
        match replace(&self.file, text.as_bytes()) {
            Ok(()) => self.failed.store(false, Ordering::Relaxed),
            // Said once, not every few seconds.
            Err(error) if !self.failed.swap(true, Ordering::Relaxed) => {
                tracing::warn!("the metrics file {} cannot be written: {error}", self.file.display());
            }
            Err(_) => {}
        }
    }
}

/// Puts a file with this text in the place of whatever is there. Everybody may read it: it holds no secret, and who
/// collects it is another user.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&name);
    // What a process with this id left behind. Never written through: it might be a link.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(beside);
    let moved = written.and_then(|mut new| new.write_all(text)).and_then(|()| fs::rename(beside, file));
    if moved.is_err() {
        // The reason is told; what is left of the attempt is of no use.
        let _ = fs::remove_file(beside);
    }
    moved
}

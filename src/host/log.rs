//! The log: one line per event, written with one `write(2)`.
//!
//! A subscriber of our own, because the usual one is not fit for a guest: its line buffer is a
//! thread-local that panics when `C_Finalize` runs from `atexit`, after thread-locals are gone; it writes
//! through std's lock on standard error, which another thread may hold at the moment of a fork; and it
//! cannot be configured twice. Here nothing waits on a lock, nothing is kept per thread, and all settings
//! are atomics that a forked child can go on using.
//!
//! Only events of this project (targets that begin with `datakey`) are written: what the SDK and the HTTP
//! client log may hold plaintext keys. A line looks like
//!
//! ```text
//! 2026-11-23T23:10:11Z datakey-pkcs11[4242] WARN message key=value
//! ```
//!
//! Control characters are escaped, values with blanks are quoted, and no line is longer than
//! [`MAX_LINE`]. A line that cannot be written is lost; logging never fails and never waits, except as
//! long as standard error itself blocks the host.

mod line;
mod sink;

use crate::config::{LogLevel, LogTarget};
use crate::error::{Cause, Result};
use crate::host::gate;
use line::Line;
pub use line::MAX_LINE;
use sink::Sink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

const STDERR: u8 = 0;
const FILE: u8 = 1;
const SYSLOG: u8 = 2;

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Warn as u8);
static TARGET: AtomicU8 = AtomicU8::new(STDERR);
static LOG_FILE: Sink = Sink::new();
static AUDIT_FILE: Sink = Sink::new();
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Says what is written and where, from now on and as often as wanted. Before the first call nothing is.
///
/// In a program that has a subscriber for `tracing` already, that one stays.
///
/// # Errors
/// `ConfigInvalid` if the file cannot be opened; the log then goes to standard error.
pub fn configure(level: LogLevel, target: &LogTarget) -> Result<()> {
    // Not a `Once`: a fork in the middle of one would stop the child here. And inside: subscribers are
    // listed behind a lock.
    gate::inside(|| {
        if !INSTALLED.swap(true, Ordering::SeqCst) {
            drop(tracing::subscriber::set_global_default(Log));
        }
    });
    LEVEL.store(level as u8, Ordering::Relaxed);
    let (kind, opened) = match target {
        LogTarget::Stderr => (STDERR, Ok(())),
        LogTarget::Syslog => (SYSLOG, Ok(())),
        LogTarget::File(path) => (FILE, open(&LOG_FILE, path, "target")),
    };
    TARGET.store(if opened.is_ok() { kind } else { STDERR }, Ordering::Release);
    opened
}

/// Says where audit lines go; `None` switches them off.
///
/// # Errors
/// `ConfigInvalid` if the file cannot be opened; no audit line is written then.
pub fn configure_audit(path: Option<&Path>) -> Result<()> {
    match path {
        Some(path) => open(&AUDIT_FILE, path, "audit").inspect_err(|_| AUDIT_FILE.close()),
        None => {
            AUDIT_FILE.close();
            Ok(())
        }
    }
}

fn open(sink: &Sink, path: &Path, key: &str) -> Result<()> {
    sink.open(path).map_err(|error| Cause::ConfigInvalid.with(format!("[log] {key}: {}: {error}", path.display())))
}

/// Whether audit lines are wanted.
pub fn auditing() -> bool {
    AUDIT_FILE.is_open()
}

/// Writes an audit line: one JSON object without line breaks. Whether it was written.
pub fn audit(json: &str) -> bool {
    debug_assert!(!json.contains('\n'), "an audit line is one line");
    AUDIT_FILE.write(format!("{json}\n").as_bytes())
}

/// Writes why `C_Initialize` fails: to the log, and always to syslog as well, since the standard error of
/// a daemon or an agent is often nowhere.
pub fn init_failure(why: &str) {
    let mut line = Line::new(LogLevel::Error);
    line.message(why);
    if LEVEL.load(Ordering::Relaxed) != LogLevel::Off as u8 && TARGET.load(Ordering::Acquire) != SYSLOG {
        write(&line);
    }
    sink::syslog(Path::new(sink::SYSLOG_SOCKET), line.severity(), &line.for_syslog());
}

fn write(line: &Line) {
    match TARGET.load(Ordering::Acquire) {
        FILE => drop(LOG_FILE.write(line.for_file().as_bytes())),
        SYSLOG => sink::syslog(Path::new(sink::SYSLOG_SOCKET), line.severity(), &line.for_syslog()),
        _ => sink::stderr(line.for_file().as_bytes()),
    }
}

struct Log;

impl Log {
    fn is_ours(metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("datakey")
    }
}

impl Subscriber for Log {
    // "Sometimes" leaves the level to `enabled`: to change what is cached per call site takes a lock.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::is_ours(metadata) && level(metadata.level()) as u8 <= LEVEL.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(level(event.metadata().level()));
        event.record(&mut line);
        write(&line);
    }

    // Spans are not used; no call site of one is ever of interest.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn level(level: &Level) -> LogLevel {
    match *level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests;

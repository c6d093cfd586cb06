//! The text of a line.

use crate::config::LogLevel;
use std::fmt::{self, Debug};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};

/// The longest line in bytes, with its line break: so much a pipe takes in one piece (`PIPE_BUF`), so that
/// the lines of several processes on one pipe never mix.
pub const MAX_LINE: usize = 4096;

/// Room for time, name, process id, level and the sign that something was cut off.
const MAX_TEXT: usize = MAX_LINE - 96;

/// A line while it is made: its level, message and fields.
pub(super) struct Line {
    level: LogLevel,
    message: String,
    fields: String,
}

impl Line {
    pub(super) fn new(level: LogLevel) -> Self {
        Self { level, message: String::new(), fields: String::new() }
    }

    pub(super) fn message(&mut self, text: &str) {
        escape(&mut self.message, text);
    }

    fn value(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            return self.message(text);
        }
        self.fields.push(' ');
        self.fields.push_str(field.name());
        self.fields.push('=');
        // Quotes, so that a value cannot pass for another field.
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=')) {
            self.fields.push('"');
            escape(&mut self.fields, &text.replace('\\', "\\\\").replace('"', "\\\""));
            self.fields.push('"');
        } else {
            escape(&mut self.fields, text);
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}{}", self.message, self.fields);
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push_str("… (cut)");
        }
        text
    }

    /// As it stands in a file or on standard error, with the line break.
    pub(super) fn for_file(&self) -> String {
        let time = Utc::now();
        format!("{time} datakey-pkcs11[{}] {} {}\n", std::process::id(), self.name(), self.text())
    }

    /// As syslog gets it; the time is syslog's own.
    pub(super) fn for_syslog(&self) -> String {
        format!("datakey-pkcs11[{}]: {} {}", std::process::id(), self.name(), self.text())
    }

    fn name(&self) -> &'static str {
        match self.level {
            LogLevel::Off | LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
            LogLevel::Debug => "DEBUG",
            LogLevel::Trace => "TRACE",
        }
    }

    /// The severity that syslog knows.
    pub(super) fn severity(&self) -> libc::c_int {
        match self.level {
            LogLevel::Off | LogLevel::Error => libc::LOG_ERR,
            LogLevel::Warn => libc::LOG_WARNING,
            LogLevel::Info => libc::LOG_INFO,
            LogLevel::Debug | LogLevel::Trace => libc::LOG_DEBUG,
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.value(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.value(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.value(field, &value.to_string());
    }
}

/// Appends `text` with its control characters escaped: a label must not forge a line or move a cursor.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// A moment as RFC 3339 in UTC. Computed here: libc's functions read the time zone under a lock.
pub(super) struct Utc(pub(super) Duration);

impl Utc {
    fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (mut year, mut days) = (1970, seconds / 86_400);
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        while days >= 365 + u64::from(leap(year)) {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let time = seconds % 86_400;
        write!(f, "{year:04}-{month:02}-{:02}T{:02}:", days + 1, time / 3600)?;
        write!(f, "{:02}:{:02}Z", time / 60 % 60, time % 60)
    }
}

//! What commands answer: for people, or with `--json` one JSON document.

use crate::error::Error;
use serde_json::{Value, json};
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// What a command answers.
pub(super) struct Answer {
    /// For people; ends with a line break unless it is empty.
    pub(super) human: String,
    pub(super) json: Value,
    /// Whether the exit status is 0.
    pub(super) success: bool,
}

impl Answer {
    /// An answer of a command that succeeded.
    pub(super) fn new(human: impl Into<String>, json: Value) -> Self {
        let mut human = human.into();
        if !human.is_empty() && !human.ends_with('\n') {
            human.push('\n');
        }
        Self { human, json, success: true }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    error: Option<Error>,
}

impl Failure {
    /// A failure that has no cause of the library's.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), error: None }
    }

    /// The same, about this.
    pub(super) fn about(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The error of the library's that it is.
    pub(super) fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { message: error.to_string(), error: Some(error) }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// Prints what came of a command. Standard output that is closed is nobody's concern but the reader's.
pub(super) fn finish(result: Result<Answer, Failure>, as_json: bool) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let success = match result {
        Ok(answer) => {
            let written = match as_json {
                true => writeln!(out, "{:#}", answer.json),
                false => write!(out, "{}", answer.human),
            };
            answer.success && written.is_ok()
        }
        Err(failure) => {
            if as_json {
                let cause = failure.error.as_ref().map(Error::cause);
                let document = json!({"error": {
                    "message": failure.message,
                    "ckr": cause.map(|cause| cause.ckr_name()),
                    "device_error": cause.map(|cause| cause.device_error()).filter(|number| *number != 0),
                }});
                drop(writeln!(out, "{document:#}"));
            } else {
                eprintln!("datakey-pkcs11: {failure}");
            }
            false
        }
    };
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether an error says nothing of an object: KMS does not answer or says no, or the store cannot be read or written.
pub(super) fn is_of_the_surroundings(error: &Error) -> bool {
    matches!(error.cause().device_error(), 0x101..0x200 | 0x300..0x400)
}

/// Text that comes from a store or from the network, fit for a terminal: control characters are escaped.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

/// A number of things.
pub(super) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Lines with their columns below each other, the first line being the heads.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).fold(head.len(), usize::max)
        })
        .collect();
    let heads: Vec<String> = heads.iter().map(ToString::to_string).collect();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_nothing_moves_the_cursor() {
        let rows = [vec!["a\x1b[2J".to_owned(), "b".to_owned()], vec!["ü".to_owned(), String::new()]];
        assert_eq!(table(&["one", "two"], &rows), "one         two\na\\u{1b}[2J  b\nü\n");
    }
}

//! What commands read: files, and answers on a terminal.

use super::output::Failure;
use crate::crypto::Secret;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

/// Nothing that is read here is longer.
const MAX_BYTES: u64 = 1 << 20;

/// A file, or standard input for `-`: at most 1 MiB, more is an error. It may hold a key.
pub(super) fn read(path: &Path) -> Result<Secret, Failure> {
    let mut bytes = Vec::new();
    let result = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
    };
    let bytes = Secret::new(bytes);
    result.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(Failure::new(format!("{}: longer than 1 MiB", path.display()))),
        false => Ok(bytes),
    }
}

/// Asks on the terminal; the answer without blanks around it. `None` where there is nobody to ask.
pub(super) fn ask(question: &str) -> Result<Option<String>, Failure> {
    let (input, mut output) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Ok(None);
    }
    let mut line = String::new();
    write!(output, "{question} ")
        .and_then(|()| output.flush())
        .and_then(|()| input.read_line(&mut line))
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(Some(line.trim().to_owned()))
}

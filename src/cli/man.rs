//! `datakey-pkcs11 man`.

use super::output::{Answer, Failure};
use serde_json::json;
use std::path::PathBuf;

/// Write the tool's manual pages, one for each command, into a directory.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let directory = &arguments.directory;
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(super::command(), directory).map_err(failed)?;
    let written = directory.display().to_string();
    Ok(Answer::new(format!("wrote manual pages to {written}"), json!({"directory": written})))
}

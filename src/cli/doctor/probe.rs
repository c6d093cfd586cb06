//! `datakey-pkcs11 probe-module`, which `doctor` runs in a process of its own.

use super::super::output::{Answer, Failure, counted};
use crate::host::probe;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Load a module as a host does, and say what came of it.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    module: PathBuf,
}

/// What the module said.
pub(super) struct Report {
    pub(super) version: String,
    pub(super) slots: u64,
}

pub(in super::super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let probed = probe::module(&arguments.module)?;
    let (major, minor) = probed.version;
    let json = json!({"version": format!("{major}.{minor}"), "slots": probed.slots});
    Ok(Answer::new(format!("{} {major}.{minor}, {}", probed.description, counted(probed.slots, "slot")), json))
}

impl Report {
    /// Reads what [`run`] printed; `None` if that is not whole.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let document: Value = serde_json::from_str(text).ok()?;
        if let Some(why) = document["error"]["message"].as_str() {
            return Some(Err(why.to_owned()));
        }
        Some(Ok(Self { version: document["version"].as_str()?.to_owned(), slots: document["slots"].as_u64()? }))
    }
}

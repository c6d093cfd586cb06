//! `datakey-pkcs11 completions`.

use super::output::{Answer, Failure};
use clap_complete::Shell;
use serde_json::json;

/// Print what a shell needs to complete the tool's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    let mut command = super::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Answer::new(script.clone(), json!({"script": script})))
}

//! The operator's tool: what `datakey-pkcs11` does on the command line.
#![forbid(unsafe_code)]

mod embedded_kms;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tools for tokens whose private keys are AWS KMS data key pairs.
#[derive(Debug, Parser)]
#[command(name = "datakey-pkcs11", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    EmbeddedKms(embedded_kms::Arguments),
}

/// Runs the tool with the process's arguments.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::EmbeddedKms(arguments) => embedded_kms::serve(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("datakey-pkcs11: {message}");
            ExitCode::FAILURE
        }
    }
}

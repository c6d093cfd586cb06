//! The operator's tool: what `datakey-pkcs11` does on the command line.
//!
//! Each command is a file. It works with tokens through the floors that the functions of PKCS#11 stand on, so that
//! the same rules hold, and answers with an [`output::Answer`].
#![forbid(unsafe_code)]

mod audit;
mod backup;
mod bench;
mod cert;
mod completions;
mod desk;
mod doctor;
mod embedded_kms;
mod files;
mod init;
mod input;
mod key;
mod man;
mod migrate;
mod object;
mod output;
mod parts;
mod patience;
mod permission;
mod pin;
mod policy;
mod progress;
mod restore;
mod rewrap;
mod store;
mod token;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
use output::{Answer, Failure};
use std::process::ExitCode;

/// Tools for tokens whose private keys are AWS KMS data key pairs.
#[derive(Debug, Parser)]
#[command(name = "datakey-pkcs11", version)]
struct Arguments {
    /// Answer with one JSON document on standard output, also where a command fails
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(audit::Arguments),
    Backup(backup::Arguments),
    Bench(bench::Arguments),
    #[command(subcommand)]
    Cert(cert::Command),
    Completions(completions::Arguments),
    Doctor(doctor::Arguments),
    EmbeddedKms(embedded_kms::Arguments),
    Init(init::Arguments),
    #[command(subcommand)]
    Key(key::Command),
    Man(man::Arguments),
    #[command(subcommand)]
    Migrate(migrate::Command),
    Policy(policy::Arguments),
    Restore(restore::Arguments),
    Rewrap(rewrap::Arguments),
    #[command(subcommand)]
    Store(store::Command),
    #[command(subcommand)]
    Token(token::Command),
    Verify(verify::Arguments),
    #[command(hide = true)]
    ProbeModule(doctor::probe::Arguments),
}

/// All commands and arguments, for what is made of them.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the tool with the process's arguments.
pub fn main() -> ExitCode {
    let Arguments { json, command } = Arguments::parse();
    output::finish(run(&command), json)
}

fn run(command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::Audit(arguments) => audit::run(arguments),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Cert(command) => cert::run(command),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::EmbeddedKms(arguments) => embedded_kms::serve(arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Key(command) => key::run(command),
        Command::Man(arguments) => man::run(arguments),
        Command::Migrate(command) => migrate::run(command),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Restore(arguments) => restore::run(arguments),
        Command::Rewrap(arguments) => rewrap::run(arguments),
        Command::Store(command) => store::run(command),
        Command::Token(command) => token::run(command),
        Command::Verify(arguments) => verify::run(arguments),
        Command::ProbeModule(arguments) => doctor::probe::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_arguments_contradict_each_other() {
        super::command().debug_assert();
    }
}

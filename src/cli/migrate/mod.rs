//! `datakey-pkcs11 migrate`: keys, certificates and data from elsewhere.

mod from_files;
mod from_module;
mod mover;
mod proof;
mod reading;
mod wrapping;

use super::key::Access;
use super::output::{Answer, Failure};

/// Move keys, certificates and data from elsewhere to a token.
///
/// What is there already, with the same id and the same public key or contents, is not moved again: it may be stopped at
/// any time and run once more. Afterwards every key is opened by KMS, signs, and is verified by the public key that it had.
/// What it came from stays as it is. Exit status 1 if anything is left behind.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// From another PKCS#11 module, such as SoftHSM2: all that may leave it
    Pkcs11(from_module::Arguments),
    /// From PEM files: private keys, encrypted or not, and the certificates beside them
    Pem(from_files::Pem),
    /// From PKCS#12 files (.p12, .pfx): the private key and its certificates
    Pkcs12(from_files::Pkcs12),
}

/// What all of them take.
#[derive(Debug, clap::Args)]
struct Options {
    #[command(flatten)]
    access: Access,
    /// Only say what there is to do; asks KMS nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not open each key once it is there
    #[arg(long)]
    no_verify: bool,
    /// Let keys be extractable that were (default: none is, from now on)
    #[arg(long)]
    keep_extractable: bool,
}

pub(super) fn run(command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::Pkcs11(arguments) => from_module::run(arguments),
        Command::Pem(arguments) => from_files::pem(arguments),
        Command::Pkcs12(arguments) => from_files::pkcs12(arguments),
    }
}

//! An AWS KMS in this process, for trying out, tests and benchmarks. Not for production: its keys lie in a
//! file beside the store, so who can read both can read every private key.
//!
//! It takes the place of the SDK's HTTP client ([`InProcess`]), so everything above it is the real thing; it
//! can also listen on a port ([`serve`]). It seals with AES-256-GCM and the encryption context as additional
//! data, answers with KMS's own exceptions, and refuses any request field that it does not model: a silent
//! success would be a lie. All its mathematics comes from RustCrypto, while the module computes with AWS-LC:
//! each checks the other.

mod catalogue;
mod control;
mod data;
mod exception;
mod in_process;
mod keyfile;
mod keys;
mod manage;
mod pairs;
mod request;
mod seal;
mod server;

pub use control::{Control, Fault, FaultKind};
pub use in_process::InProcess;
pub use server::{Server, serve};

use exception::Exception;
use keyfile::KeyFile;
use serde_json::{Value, json};
use std::path::Path;

/// The alias of the one key that a new file has; stands for a missing `kms_key_id`.
pub const DEFAULT_ALIAS: &str = "alias/datakey-pkcs11";

/// The embedded KMS on one key file. Nothing is read or made before the first request.
#[derive(Debug)]
pub struct Embedded {
    file: KeyFile,
    control: Control,
}

impl std::fmt::Display for Embedded {
    /// The key file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.file.path().display().fmt(f)
    }
}

/// One answer: HTTP status and JSON body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The key file cannot be used; no request can be answered.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Embedded {
    /// An embedded KMS with its keys in `file`, which is made at the first request if it is not there.
    pub fn new(file: &Path) -> Self {
        Self { file: KeyFile::new(file), control: Control::default() }
    }

    /// Its fault queue and call counts.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Answers one request. `target` is the `X-Amz-Target` header, `signed` whether there is an
    /// `Authorization` header (what it says is not checked).
    pub(crate) fn answer(&self, target: &str, signed: bool, body: &[u8]) -> Result<Answer, Broken> {
        let result = if signed {
            catalogue::run(&self.file, operation(target), body)
        } else {
            Err(Exception::new("MissingAuthenticationTokenException", "Missing Authentication Token").into())
        };
        match result {
            Ok(answer) => Ok(Answer { status: 200, body: answer.to_string().into_bytes() }),
            Err(Trouble::Exception(exception)) => Ok(exception.answer()),
            Err(Trouble::Broken(broken)) => Err(broken),
        }
    }
}

/// The operation that a target names: `TrentService.Decrypt`.
pub(crate) fn operation(target: &str) -> &str {
    target.strip_prefix("TrentService.").unwrap_or_default()
}

/// Why a request was not answered with a success.
#[derive(Debug)]
enum Trouble {
    /// As KMS refuses.
    Exception(Exception),
    /// As KMS never does.
    Broken(Broken),
}

impl From<Exception> for Trouble {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Answer {
    /// An answer that a fault asks for.
    pub(crate) fn fault(status: u16, code: &str, message: &str) -> Self {
        let body: Value = json!({ "__type": code, "message": message });
        Self { status, body: body.to_string().into_bytes() }
    }
}

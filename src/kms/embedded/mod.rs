//! An AWS KMS in this process, for trying out, tests and benchmarks. Not for production: its keys lie in a
//! file beside the store, so who can read both can read every private key.
//!
//! It takes the place of the SDK's HTTP client ([`InProcess`]), so everything above it is the real thing; it
//! can also listen on a port ([`serve`]). It seals with AES-256-GCM and the encryption context as additional
//! data, answers with KMS's own exceptions, and refuses any request field that it does not model: a silent
//! success would be a lie. It knows key policies, policies of users and roles, and grants, once it is told who is
//! who ([`Embedded::set_principals`]). All its mathematics comes from RustCrypto, while the module computes with
//! AWS-LC: each checks the other.

mod access;
mod catalogue;
mod control;
mod data;
mod exception;
mod grant;
mod grants;
mod identity;
mod in_process;
mod keyfile;
mod keys;
mod manage;
mod pairs;
mod policy;
mod principal;
#[cfg_attr(not(feature = "nitro-enclaves"), path = "recipient/absent.rs")]
mod recipient;
mod request;
mod seal;
mod server;
#[cfg(test)]
mod tests;

pub use control::{Control, Fault, FaultKind};
pub use in_process::InProcess;
pub use server::{Server, serve};

use exception::Exception;
use keyfile::KeyFile;
use principal::Principal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
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

    /// Says who is who, and lets key policies, policies of users and roles, and grants decide from then on. Kept in
    /// the key file; none means that everybody may do everything.
    ///
    /// `principals` is a JSON object from access key ids to `{"arn": …, "policies": [policy, …]}`, where the ARN is
    /// that of a user, of a session of a role (`arn:aws:sts::…:assumed-role/ROLE/SESSION`) or of the account's root
    /// user, and policies are identity policies.
    ///
    /// # Errors
    /// What is wrong with it, or with the key file.
    pub fn set_principals(&self, principals: &str) -> Result<(), String> {
        let principals: BTreeMap<String, Principal> =
            serde_json::from_str(principals).map_err(|error| error.to_string())?;
        self.file.change(|keys| keys.set_principals(principals)).map_err(Trouble::into_text)
    }

    /// Trusts documents of enclaves that lead to this root certificate (DER), beside those that do to others. Kept in
    /// the key file, where there is none at first: not even that of AWS, whose enclaves have no business here.
    ///
    /// # Errors
    /// What is wrong with it, or with the key file; in a build without the feature `nitro-enclaves`, always.
    pub fn trust_attestation_root(&self, certificate: &[u8]) -> Result<(), String> {
        let root = recipient::root(certificate)?;
        let changed = self.file.change(|keys| {
            keys.attestation_roots.push(root);
            Ok(())
        });
        changed.map_err(Trouble::into_text)
    }

    /// Answers one request. `target` is the `X-Amz-Target` header, `authorization` the header of that name, of which
    /// only the access key id is read.
    pub(crate) fn answer(&self, target: &str, authorization: &str, body: &[u8]) -> Result<Answer, Broken> {
        let result = if authorization.is_empty() {
            Err(Exception::new("MissingAuthenticationTokenException", "Missing Authentication Token").into())
        } else {
            let access_key = identity::access_key(authorization).unwrap_or_default();
            catalogue::run(&self.file, operation(target), access_key, body)
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

impl Trouble {
    fn into_text(self) -> String {
        match self {
            Self::Exception(exception) => exception.message,
            Self::Broken(broken) => broken.0,
        }
    }
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

//! The AWS KMS client and the embedded KMS.
//!
//! [`Kms`] is what the floors above see: one per token, cheap to make, safe to call from many threads.
//! A call runs on the calling thread, in a current-thread runtime that is made at the first call; no
//! thread is left between calls, no lock is held during one, and every wait has a deadline. While KMS is
//! not there at all, calls fail at once (`breaker.rs`). The
//! embedded KMS ([`embedded`]) takes the place of the SDK's HTTP client, so that serialisation,
//! signing, retries and error parsing are the same against it as against AWS.
#![forbid(unsafe_code)]

mod answer;
mod attested;
mod breaker;
mod call;
mod chain;
mod client;
mod context;
mod credentials;
mod dns;
mod driver;
mod dry_run;
pub mod embedded;
mod errors;
mod identity;
mod operations;
mod ring;
mod setup;
mod spec;
mod transport;
mod warm;

#[cfg(test)]
mod tests;

pub use answer::{DataKey, DataKeyPair, KeyDescription, MAX_PLAINTEXT, Opened, Sealed};
pub use client::Kms;
pub use context::EncryptionContext;
pub use dry_run::{Trial, Tried};
pub use identity::Identity;
pub use ring::{Ring, Seal};
pub use spec::{DataKeySize, KeyPairSpec};

/// What the host lets this floor do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRules {
    /// Whether a short-lived thread may be started for name resolution, so that a slow resolver cannot
    /// outlast the deadline. `false` with `CKF_LIBRARY_CANT_CREATE_OS_THREADS`.
    pub threads_allowed: bool,
    /// Whether the environment and the user's files are to be ignored, because the process has more
    /// privilege than its caller.
    pub secure_mode: bool,
}

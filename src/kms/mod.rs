//! The AWS KMS client and the embedded KMS.
//!
//! [`Kms`] is what the floors above see: one per token, cheap to make, safe to call from many threads.
//! A call runs on the calling thread, in a current-thread runtime that is made at the first call; no
//! thread is left between calls, no lock is held during one, and every wait has a deadline. While KMS is
//! not there at all, calls fail at once (`net/breaker.rs`). The
//! embedded KMS ([`embedded`]) takes the place of the SDK's HTTP client, so that serialisation,
//! signing, retries and error parsing are the same against it as against AWS.
#![forbid(unsafe_code)]

mod answer;
mod attested;
mod call;
mod client;
mod context;
mod dry_run;
pub mod embedded;
mod errors;
mod identity;
mod operations;
mod ring;
mod setup;
mod spec;
mod warm;

#[cfg(test)]
mod tests;

pub use crate::net::HostRules;
pub use answer::{DataKey, DataKeyPair, KeyDescription, MAX_PLAINTEXT, Opened, Sealed};
pub use client::Kms;
pub use context::EncryptionContext;
pub use dry_run::{Trial, Tried};
pub use identity::Identity;
pub use ring::{Ring, Seal};
pub use spec::{DataKeySize, KeyPairSpec};

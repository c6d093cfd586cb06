//! Proof to KMS that this process runs in an AWS Nitro enclave, and what KMS encrypts for it alone.
//!
//! A request of KMS may have a `Recipient`: a document in which the Nitro hypervisor attests the enclave's measurements
//! and a public key. KMS then judges by the measurements, and answers no plaintext but what the key of that document
//! opens. Whoever ends the TLS connection outside the enclave, or reads along where it is ended, has ciphertext.
//!
//! [`Attestor`] is there in every build. In one without the feature `nitro-enclaves` it fails whatever is asked of it:
//! a token that is to have its answers encrypted never does without.
#![forbid(unsafe_code)]

#[cfg_attr(not(feature = "nitro-enclaves"), path = "absent.rs")]
mod attestor;
#[cfg(feature = "nitro-enclaves")]
mod cms;
#[cfg(feature = "nitro-enclaves")]
mod device;
#[cfg(feature = "nitro-enclaves")]
mod document;
#[cfg(all(test, feature = "nitro-enclaves"))]
mod tests;

pub use attestor::{Attestor, Recipient};

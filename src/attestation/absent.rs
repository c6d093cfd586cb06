//! A build without attestation. The configuration refuses to ask for it; this is for whoever comes past that.

use crate::config::Attestation;
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use std::sync::Arc;

/// What asks for documents in other builds.
pub struct Attestor;

impl Attestor {
    /// Takes any configuration.
    pub fn new(_: &Attestation) -> Self {
        Self
    }

    /// # Errors
    /// Always [`Cause::AttestationUnavailable`].
    pub fn recipient(&self) -> Result<Arc<Recipient>> {
        Err(Cause::AttestationUnavailable.with("this build is without the feature nitro-enclaves"))
    }

    /// Does nothing.
    pub fn forget_document(&self) {}
}

/// There is none.
pub enum Recipient {}

impl Recipient {
    /// Of nothing.
    pub fn document(&self) -> &[u8] {
        match *self {}
    }

    /// Of none.
    pub fn image(&self) -> Option<Vec<u8>> {
        match *self {}
    }

    /// Nothing opens.
    pub fn open(&self, _: &[u8]) -> Result<Secret> {
        match *self {}
    }
}

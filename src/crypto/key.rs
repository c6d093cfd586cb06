//! A key as it is used, of whichever class.
#![forbid(unsafe_code)]

use super::{PrivateKey, SecretKey};
use crate::error::{Cause, Result};

/// A private or secret key, in protected memory.
pub enum Key {
    /// Of a key pair.
    Private(PrivateKey),
    /// For secret-key cryptography.
    Secret(SecretKey),
}

impl Key {
    /// The private key. [`Cause::KeyTypeInconsistent`] if it is a secret one.
    pub fn private(&self) -> Result<&PrivateKey> {
        match self {
            Self::Private(key) => Ok(key),
            Self::Secret(_) => Err(Cause::KeyTypeInconsistent.into()),
        }
    }

    /// The secret key. [`Cause::KeyTypeInconsistent`] if it is a private one.
    pub fn secret(&self) -> Result<&SecretKey> {
        match self {
            Self::Secret(key) => Ok(key),
            Self::Private(_) => Err(Cause::KeyTypeInconsistent.into()),
        }
    }
}

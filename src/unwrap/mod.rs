//! Sealed key to usable key: cache, single flight, checks.
#![forbid(unsafe_code)]

mod cache;
mod flight;

pub use cache::{Cache, Epoch, Opened, Rules, Tag, Use};
pub use flight::Flights;

use crate::crypto::{PrivateKey, Secret};
use crate::error::{Cause, Result};

/// Makes a usable key of what KMS opened, and checks that it is the one whose public key is stored.
///
/// KMS binds the blob to the object's attributes, not to the public key, which did not exist when the
/// context was made: a blob swapped for another one sealed under the same context is found out here.
/// Errors: `SealKeyMalformed`, `SealKeyMismatch`.
pub fn checked_key(pkcs8: &Secret, public_key_info: &[u8]) -> Result<PrivateKey> {
    let key = PrivateKey::from_pkcs8(pkcs8.expose())?;
    if key.public_key().spki_der() == public_key_info { Ok(key) } else { Err(Cause::SealKeyMismatch.into()) }
}

//! What a seal opened to, checked against the object that it was stored with.

use super::{Look, keypair};
use crate::crypto::{Key, PrivateKey, Secret, SecretKey};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// The key of an object: PKCS#8 for a private key, the bytes of `CKA_VALUE` for a secret one.
///
/// KMS binds the blob to the object's attributes, not to the public key, which may not have existed when
/// the context was made: a blob swapped for another one sealed under the same context is found out here.
/// Errors: `SealKeyMalformed`, `SealKeyMismatch`.
pub fn opened_key(object: &Attributes, plaintext: &Secret) -> Result<Key> {
    match object.number(CKA_CLASS) {
        Some(CKO_PRIVATE_KEY) => {
            let key = PrivateKey::from_pkcs8(plaintext.expose())?;
            if key.public_key().spki_der() != object.bytes(CKA_PUBLIC_KEY_INFO) {
                return Err(Cause::SealKeyMismatch.into());
            }
            if !keypair::describes(object, key.public_key())? {
                return Err(Cause::SealKeyMismatch.with("the object's attributes describe another public key"));
            }
            Ok(Key::Private(key))
        }
        Some(CKO_SECRET_KEY | CKO_OTP_KEY) => {
            if object.number(CKA_VALUE_LEN) != Some(plaintext.len() as CK_ULONG) {
                return Err(Cause::SealKeyMismatch.with("the secret key has another length than CKA_VALUE_LEN"));
            }
            Ok(Key::Secret(SecretKey::new(plaintext.expose())?))
        }
        _ => Err(Cause::RecordCorrupt.with("an object that is no key has a sealed one")),
    }
}

//! Key encapsulation: making a key that only the owner of a key pair can find out, and finding it out.

use super::Request;
use super::derive_params::Derivation;
use super::family::Family;
use super::params::Params;
use crate::crypto::{KeyKind, PrivateKey, PublicKey, Secret, SharedSecretKdf, random};
use crate::error::{Cause, Error, Result};

/// A key encapsulation mechanism with its checked parameter, for a key of one kind.
pub struct Encapsulation {
    scheme: Scheme,
    key: KeyKind,
}

enum Scheme {
    MlKem,
    /// Diffie-Hellman with a fresh key pair, whose public key is the ciphertext.
    Ecdh {
        kdf: Option<SharedSecretKdf>,
        shared: Vec<u8>,
    },
    /// A random key, encrypted.
    RsaPkcs,
    RsaOaep {
        hash: crate::crypto::Hash,
        mgf: crate::crypto::Hash,
        label: Vec<u8>,
    },
}

impl Encapsulation {
    /// Errors: `KeyTypeInconsistent`, `MechanismParamInvalid` for a Diffie-Hellman that names a public key.
    pub fn new(request: &Request, key: KeyKind) -> Result<Self> {
        let scheme = match (request.mechanism.family, &request.params) {
            (Family::MlKem, _) => Scheme::MlKem,
            (Family::Ecdh | Family::EcdhCofactor, Params::Derivation(Derivation::Ecdh { kdf, shared, public })) => {
                if !public.is_empty() {
                    return Err(Cause::MechanismParamInvalid.with("pPublicData of an encapsulation"));
                }
                Scheme::Ecdh { kdf: *kdf, shared: shared.clone() }
            }
            (Family::RsaPkcs, _) => Scheme::RsaPkcs,
            (Family::RsaOaep, Params::Oaep { hash, mgf, label }) => {
                Scheme::RsaOaep { hash: *hash, mgf: *mgf, label: label.clone() }
            }
            _ => return Err(Cause::KeyTypeInconsistent.into()),
        };
        Ok(Self { scheme, key })
    }

    /// The length of a ciphertext in bytes. (That of Diffie-Hellman is an uncompressed point.)
    pub fn ciphertext_len(&self) -> usize {
        match self.key {
            KeyKind::MlKem(set) => set.ciphertext_len(),
            KeyKind::Ec(curve) => 1 + 2 * curve.field_len(),
            KeyKind::X25519 => 32,
            KeyKind::X448 => 56,
            // Encapsulates nothing, and no scheme takes it.
            KeyKind::Ed25519 | KeyKind::Ed448 | KeyKind::MlDsa(_) | KeyKind::SlhDsa(_) | KeyKind::Dh(_) => 0,
            KeyKind::Rsa { bits } => bits.div_ceil(8) as usize,
        }
    }

    /// The length in bytes of a key whose template names none; `None` if it has to.
    pub fn natural_len(&self) -> Option<usize> {
        match (&self.scheme, self.key) {
            (Scheme::MlKem, _) => Some(32),
            (Scheme::Ecdh { kdf: None, .. }, KeyKind::Ec(curve)) => Some(curve.field_len()),
            (Scheme::Ecdh { kdf: None, .. }, KeyKind::X25519) => Some(32),
            (Scheme::Ecdh { kdf: None, .. }, KeyKind::X448) => Some(56),
            _ => None,
        }
    }

    /// Makes a key of `len` bytes: the ciphertext and the key. `KeySizeRange` if the mechanism makes none so long.
    pub fn encapsulate(&self, key: &PublicKey, len: usize) -> Result<(Vec<u8>, Secret)> {
        match &self.scheme {
            Scheme::MlKem => {
                let (ciphertext, secret) = key.encapsulate()?;
                Ok((ciphertext, cut(secret, len)?))
            }
            Scheme::Ecdh { kdf, shared } => {
                let (point, secret) = key.ecdh_ephemeral()?;
                Ok((point, agreed(*kdf, shared, secret, len)?))
            }
            Scheme::RsaPkcs | Scheme::RsaOaep { .. } => {
                let mut secret = Secret::zeroed(len);
                random::fill(secret.expose_mut())?;
                let ciphertext = match &self.scheme {
                    Scheme::RsaOaep { hash, mgf, label } => key.encrypt_oaep(*hash, *mgf, label, secret.expose()),
                    _ => key.encrypt_pkcs1(secret.expose()),
                };
                Ok((ciphertext.map_err(too_long)?, secret))
            }
        }
    }

    /// The key in a ciphertext; `len` is the length that is asked for, if one is, and `possible` tells which lengths it
    /// could have. PKCS#1 v1.5 and ML-KEM never fail on a ciphertext of the right length: they reject implicitly.
    ///
    /// Errors: `WrappedKeyLenRange` for a ciphertext or a key of another length, `WrappedKeyInvalid` for one that was
    /// not made for this key, as far as that can be told.
    pub fn decapsulate(
        &self,
        key: &PrivateKey,
        ciphertext: &[u8],
        len: Option<usize>,
        possible: impl Fn(usize) -> bool,
    ) -> Result<Secret> {
        let secret = match &self.scheme {
            Scheme::MlKem => {
                let secret = key.decapsulate(ciphertext).map_err(of_ciphertext)?;
                let len = len.unwrap_or(secret.len());
                return cut(secret, len).map_err(of_ciphertext);
            }
            Scheme::Ecdh { kdf, shared } => {
                let secret = key.ecdh(ciphertext).map_err(of_ciphertext)?;
                let len = len.or_else(|| self.natural_len()).ok_or(Cause::TemplateIncomplete)?;
                return agreed(*kdf, shared, secret, len).map_err(of_ciphertext);
            }
            Scheme::RsaPkcs => key.decrypt_pkcs1_key(ciphertext, possible),
            Scheme::RsaOaep { hash, mgf, label } => key.decrypt_oaep(*hash, *mgf, label, ciphertext),
        };
        let secret = secret.map_err(of_ciphertext)?;
        if len.is_some_and(|len| len != secret.len()) {
            return Err(Cause::WrappedKeyLenRange.into());
        }
        Ok(secret)
    }
}

fn cut(mut secret: Secret, len: usize) -> Result<Secret> {
    if len > secret.len() {
        return Err(Cause::KeySizeRange.with("a longer key than is encapsulated"));
    }
    secret.truncate(len);
    Ok(secret)
}

/// As a derivation cuts it: from the leading end where the shared secret is the key.
fn agreed(kdf: Option<SharedSecretKdf>, shared: &[u8], secret: Secret, len: usize) -> Result<Secret> {
    match kdf {
        Some(kdf) => kdf.derive(secret.expose(), shared, len),
        None => super::derive::trailing(&secret, len),
    }
}

fn too_long(error: Error) -> Error {
    match error.cause() {
        Cause::DataLenRange => Cause::KeySizeRange.with("a longer key than the RSA key encrypts"),
        _ => error,
    }
}

/// What is wrong with a ciphertext, in the words for wrapped keys.
pub(super) fn of_ciphertext(error: Error) -> Error {
    match error.cause() {
        Cause::EncryptedDataLenRange | Cause::KeySizeRange => Cause::WrappedKeyLenRange.into(),
        Cause::EncryptedDataInvalid | Cause::AeadDecryptFailed | Cause::MechanismParamInvalid => {
            Cause::WrappedKeyInvalid.into()
        }
        _ => error,
    }
}

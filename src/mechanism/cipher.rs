//! Encrypting and decrypting with RSA: one block, in one part or several.

use super::Request;
use super::family::Family;
use super::params::Params;
use super::signature::output_len;
use crate::crypto::{Hash, KeyKind, PrivateKey, PublicKey, Secret};
use crate::error::{Cause, Result};

/// A block that is being encrypted or decrypted.
pub struct Cipher {
    scheme: Scheme,
    key: KeyKind,
    input: Secret,
    updated: bool,
}

enum Scheme {
    Pkcs1,
    Oaep { hash: Hash, mgf: Hash, label: Vec<u8> },
    X509,
}

impl Cipher {
    /// Starts with a key of this kind. `KeyTypeInconsistent` if the mechanism is for others.
    pub fn new(request: &Request, key: KeyKind) -> Result<Self> {
        let scheme = match (request.mechanism.family, &request.params, key) {
            (Family::RsaPkcs, _, KeyKind::Rsa { .. }) => Scheme::Pkcs1,
            (Family::RsaX509, _, KeyKind::Rsa { .. }) => Scheme::X509,
            (Family::RsaOaep, Params::Oaep { hash, mgf, label }, KeyKind::Rsa { bits }) => {
                if 2 * hash.len() + 2 > bits.div_ceil(8) as usize {
                    return Err(Cause::MechanismParamInvalid.with("the hash does not fit the key"));
                }
                Scheme::Oaep { hash: *hash, mgf: *mgf, label: label.clone() }
            }
            _ => return Err(Cause::KeyTypeInconsistent.into()),
        };
        Ok(Self { scheme, key, input: Secret::new(Vec::new()), updated: false })
    }

    /// The length of a ciphertext, and the most that a plaintext can have, in bytes.
    pub fn block_len(&self) -> usize {
        output_len(self.key)
    }

    /// Whether data has come in by [`Self::update`].
    pub fn is_updated(&self) -> bool {
        self.updated
    }

    /// Takes in the next part; `too_long` if it is more than a block.
    pub fn update(&mut self, part: &[u8], too_long: Cause) -> Result<()> {
        self.updated = true;
        if self.input.len() + part.len() > self.block_len() {
            return Err(too_long.into());
        }
        // Grown by copying: a vector that grows in place could leave plaintext behind.
        let mut longer = Secret::zeroed(self.input.len() + part.len());
        longer.expose_mut()[..self.input.len()].copy_from_slice(self.input.expose());
        longer.expose_mut()[self.input.len()..].copy_from_slice(part);
        self.input = longer;
        Ok(())
    }

    /// Encrypts `data`, or what came in by updates where it is `None`.
    ///
    /// `DataLenRange` if the padding leaves no room for it.
    pub fn encrypt(self, key: &PublicKey, data: Option<&[u8]>) -> Result<Vec<u8>> {
        let data = data.unwrap_or(self.input.expose());
        match &self.scheme {
            Scheme::Pkcs1 => key.encrypt_pkcs1(data),
            Scheme::Oaep { hash, mgf, label } => key.encrypt_oaep(*hash, *mgf, label, data),
            Scheme::X509 => key.raw_public(data),
        }
    }

    /// Checks that a ciphertext, or what came in by updates where it is `None`, is one block, before a key
    /// is asked for. `EncryptedDataLenRange` if it is not.
    pub fn check_block(&self, data: Option<&[u8]>) -> Result<()> {
        let len = data.map_or(self.input.len(), <[u8]>::len);
        if len == self.block_len() { Ok(()) } else { Err(Cause::EncryptedDataLenRange.into()) }
    }

    /// Decrypts `data`, or what came in by updates where it is `None`.
    ///
    /// `EncryptedDataLenRange` if it is not one block; `EncryptedDataInvalid` for OAEP that does not
    /// decrypt. PKCS#1 v1.5 never fails on a whole block: it rejects implicitly.
    pub fn decrypt(self, key: &PrivateKey, data: Option<&[u8]>) -> Result<Secret> {
        self.check_block(data)?;
        let data = data.unwrap_or(self.input.expose());
        match &self.scheme {
            Scheme::Pkcs1 => key.decrypt_pkcs1(data),
            Scheme::Oaep { hash, mgf, label } => key.decrypt_oaep(*hash, *mgf, label, data),
            Scheme::X509 => key.raw_private(data).map_err(|_| Cause::EncryptedDataInvalid.into()),
        }
    }
}

//! Message authentication: for callers in parts, for our own records at once.
#![forbid(unsafe_code)]

use super::aws_lc::aead_stream::AeadStream;
use super::aws_lc::cmac::Cmac;
use super::aws_lc::hmac::Hmac;
use super::aws_lc::mac;
use super::{Digest, Direction, Hash, Secret, SecretKey, kdf};
use crate::error::{Cause, Result};
use zeroize::Zeroizing;

/// A way to authenticate messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MacAlgorithm {
    /// HMAC with a hash function; a key of any length.
    Hmac(Hash),
    /// AES-CMAC; a key of 16, 24 or 32 bytes.
    AesCmac,
    /// AES-GMAC; a key of 16, 24 or 32 bytes. An initialisation vector serves one message.
    AesGmac {
        /// The initialisation vector: 1 to 2^31-1 bytes.
        iv: Vec<u8>,
    },
    /// What ends a handshake of TLS 1.2 (RFC 5246, section 7.4.9), of the hash of its messages; a key of any length.
    TlsFinished {
        /// Of the pseudo-random function.
        hash: Hash,
        /// Whose end of the handshake it is: the server's or the client's.
        server: bool,
    },
}

/// The longest MAC in bytes.
const LONGEST: usize = 64;
/// The longest hash of a handshake, in bytes.
const LONGEST_HASH: usize = 1024;

impl MacAlgorithm {
    /// The length of a whole MAC in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no MAC is empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Hmac(hash) => hash.len(),
            Self::AesCmac | Self::AesGmac { .. } => 16,
            // As many as are asked for; more than anybody asks for.
            Self::TlsFinished { .. } => LONGEST,
        }
    }
}

/// A MAC under way. Its state lives in the protected pool: in a forked child every use is
/// [`Cause::NotInitialized`].
pub struct Mac(State);

enum State {
    Hmac(Hmac),
    Cmac(Cmac),
    Gmac(AeadStream),
    Finished { hash: Hash, label: &'static [u8], key: SecretKey, seed: Secret },
}

impl Mac {
    /// Starts with a key. [`Cause::KeySizeRange`] if the algorithm takes none of this length,
    /// [`Cause::MechanismParamInvalid`] for a vector of a length that GMAC does not take.
    pub fn new(algorithm: &MacAlgorithm, key: &[u8]) -> Result<Self> {
        Ok(Self(match algorithm {
            MacAlgorithm::Hmac(hash) => State::Hmac(Hmac::new(*hash, key)?),
            MacAlgorithm::AesCmac => State::Cmac(Cmac::new(key)?),
            MacAlgorithm::AesGmac { iv } => State::Gmac(AeadStream::gcm(key, iv, Direction::Encrypt)?),
            MacAlgorithm::TlsFinished { hash, server } => {
                let label: &[u8] = if *server { b"server finished" } else { b"client finished" };
                State::Finished { hash: *hash, label, key: SecretKey::new(key)?, seed: Secret::new(Vec::new()) }
            }
        }))
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) -> Result<()> {
        match &mut self.0 {
            State::Hmac(hmac) => hmac.update(data),
            State::Cmac(cmac) => cmac.update(data),
            State::Gmac(gcm) => gcm.authenticate(data),
            State::Finished { seed, .. } if data.len() > LONGEST_HASH.saturating_sub(seed.len()) => {
                Err(Cause::DataLenRange.into())
            }
            State::Finished { seed, .. } => seed.append(data),
        }
    }

    /// The whole MAC of all that was added. Of a shorter one its leftmost bytes are taken.
    pub fn finish(self) -> Result<Zeroizing<Digest>> {
        match self.0 {
            State::Hmac(mut hmac) => hmac.finish(),
            State::Cmac(mut cmac) => cmac.finish(),
            State::Gmac(gcm) => {
                let mut tag = [0; 16];
                gcm.tag(&mut tag)?;
                Ok(Zeroizing::new(Digest::made_by(tag.len(), |out| out[..tag.len()].copy_from_slice(&tag))))
            }
            State::Finished { hash, label, key, seed } => {
                let value = kdf::tls_prf(hash, key.expose()?, label, seed.expose(), LONGEST)?;
                Ok(Zeroizing::new(Digest::made_by(LONGEST, |out| out.copy_from_slice(value.expose()))))
            }
        }
    }

    /// Compares `mac` with as many of the leftmost bytes of the MAC, in constant time.
    /// [`Cause::SignatureInvalid`] if they differ, [`Cause::SignatureLenRange`] if `mac` is empty or longer than a
    /// MAC. Which length is right is the caller's to know.
    pub fn verify(self, mac: &[u8]) -> Result<()> {
        let whole = self.finish()?;
        let leftmost = whole.get(..mac.len()).filter(|leftmost| !leftmost.is_empty());
        match constant_time_eq(leftmost.ok_or(Cause::SignatureLenRange)?, mac) {
            true => Ok(()),
            false => Err(Cause::SignatureInvalid.into()),
        }
    }
}

/// A pseudo-random function under one key, for many inputs: HMAC or AES-CMAC.
pub(super) struct Prf(State);

impl Prf {
    /// As [`Mac::new`]; GMAC is none: [`Cause::MechanismParamInvalid`].
    pub(super) fn new(algorithm: &MacAlgorithm, key: &[u8]) -> Result<Self> {
        match algorithm {
            MacAlgorithm::AesGmac { .. } | MacAlgorithm::TlsFinished { .. } => {
                Err(Cause::MechanismParamInvalid.with("no pseudo-random function"))
            }
            _ => Mac::new(algorithm, key).map(|mac| Self(mac.0)),
        }
    }

    /// The value of the concatenation of `parts`.
    pub(super) fn of<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Zeroizing<Digest>> {
        match &mut self.0 {
            State::Hmac(hmac) => {
                parts.into_iter().try_for_each(|part| hmac.update(part))?;
                hmac.finish()
            }
            State::Cmac(cmac) => {
                parts.into_iter().try_for_each(|part| cmac.update(part))?;
                cmac.finish()
            }
            State::Gmac(_) | State::Finished { .. } => Err(Cause::CryptoLibrary.into()),
        }
    }
}

/// HMAC-SHA-256 of the concatenation of `parts`. Callers make the parts' lengths unambiguous.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac::hmac_sha256(key, parts)
}

/// HKDF with SHA-256 (RFC 5869) into `out`, which has at most 8160 bytes.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    mac::hkdf_sha256(ikm, salt, info, out)
}

/// Whether `a` and `b` are equal; the time tells nothing but whether their lengths are.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && mac::equal(a, b)
}

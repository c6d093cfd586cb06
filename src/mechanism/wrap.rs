//! Wrapping keys: a key encrypted under another.

use super::family::Family;
use super::kem::of_ciphertext;
use super::params::Params;
use super::{Request, aes};
use crate::crypto::{Aes, AesMode, Direction, Hash, Key, KeyKind, PrivateKey, PublicKey, Secret, SecretKey};
use crate::crypto::{SharedSecretKdf, random};
use crate::error::{Cause, Error, Result};

/// A way to wrap keys, with its checked parameter.
pub struct Wrapping(Scheme);

enum Scheme {
    Aes(AesMode),
    RsaPkcs,
    RsaOaep(Oaep),
    /// A random AES key under OAEP, then the key wrapped with it.
    RsaAes {
        key_len: usize,
        oaep: Oaep,
    },
    /// A fresh public key, then the key wrapped with an AES key that is derived with it.
    EcdhAes {
        key_len: usize,
        kdf: Option<SharedSecretKdf>,
        shared: Vec<u8>,
        point: PointForm,
    },
}

#[derive(Clone)]
struct Oaep {
    hash: Hash,
    mgf: Hash,
    label: Vec<u8>,
}

/// How the fresh public key stands before the wrapped key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PointForm {
    Raw,
    /// As the DER of an OCTET STRING.
    Der,
}

/// The key that wraps.
pub enum WrappingKey<'a> {
    /// Of a key pair.
    Public(&'a PublicKey),
    /// The same key as unwraps.
    Secret(&'a SecretKey),
}

/// The key wrap with padding that goes with RSA and Diffie-Hellman.
const KWP: AesMode = AesMode::KeyWrapPadded { iv: AesMode::KEY_WRAP_PADDED_IV };

/// What key wrap works on, in bytes.
const SEMIBLOCK: usize = 8;

impl Wrapping {
    /// `KeyTypeInconsistent` if the mechanism does not wrap, `MechanismParamInvalid`.
    pub fn new(request: &Request) -> Result<Self> {
        Ok(Self(match (request.mechanism.family, &request.params) {
            (Family::RsaPkcs, _) => Scheme::RsaPkcs,
            (Family::RsaOaep, Params::Oaep { hash, mgf, label }) => {
                Scheme::RsaOaep(Oaep { hash: *hash, mgf: *mgf, label: label.clone() })
            }
            (Family::RsaAesKeyWrap, Params::RsaAesKeyWrap { key_len, oaep }) => {
                let Params::Oaep { hash, mgf, label } = &**oaep else {
                    return Err(Cause::MechanismParamInvalid.into());
                };
                let oaep = Oaep { hash: *hash, mgf: *mgf, label: label.clone() };
                Scheme::RsaAes { key_len: *key_len, oaep }
            }
            (family, Params::EcdhAesKeyWrap { key_len, kdf, shared }) => Scheme::EcdhAes {
                key_len: *key_len,
                kdf: *kdf,
                shared: shared.clone(),
                point: if family == Family::EcdhCofactorAesKeyWrap { PointForm::Der } else { PointForm::Raw },
            },
            _ => Scheme::Aes(match aes(request, Direction::Encrypt)?.mode().clone() {
                // The key itself says how long it is.
                AesMode::Ccm { nonce, aad, mac_len, .. } => AesMode::Ccm { nonce, aad, mac_len, data_len: None },
                mode => mode,
            }),
        }))
    }

    /// Whether it is a way to encrypt data, too. The key for such a one gives wrapped keys away: a known key that is
    /// wrapped with the same nonce shows another, and what encrypts counters is as good as the nonce's key stream.
    pub fn encrypts_data(&self) -> bool {
        matches!(self.0, Scheme::Aes(AesMode::CbcPad { .. } | AesMode::Gcm { .. } | AesMode::Ccm { .. }))
    }

    /// Whether unwrapping shows what anybody's ciphertext decrypts to: by the error for its padding, and by how short
    /// a key it leaves.
    pub fn decrypts_anything(&self) -> bool {
        matches!(self.0, Scheme::Aes(AesMode::CbcPad { .. }))
    }

    /// Whether private keys fit in.
    pub fn takes_private_keys(&self) -> bool {
        !matches!(self.0, Scheme::RsaPkcs | Scheme::RsaOaep(_))
    }

    /// The length in bytes of a wrapped key of `len` bytes; `wrapping` is the kind of a public wrapping key.
    pub fn wrapped_len(&self, wrapping: Option<KeyKind>, len: usize) -> Result<usize> {
        let kwp = Aes::new(KWP, Direction::Encrypt)?.output_len(len);
        Ok(match (&self.0, wrapping) {
            (Scheme::Aes(mode), _) => Aes::new(mode.clone(), Direction::Encrypt)?.output_len(self.padded(len)),
            (Scheme::RsaPkcs | Scheme::RsaOaep(_), Some(KeyKind::Rsa { bits })) => bits.div_ceil(8) as usize,
            (Scheme::RsaAes { .. }, Some(KeyKind::Rsa { bits })) => bits.div_ceil(8) as usize + kwp,
            (Scheme::EcdhAes { point, .. }, Some(kind)) => point_len(kind, *point)? + kwp,
            _ => return Err(Cause::KeyTypeInconsistent.into()),
        })
    }

    /// Key wrap alone takes whole half blocks; shorter keys are filled up with zeros (section 6.16.4).
    fn padded(&self, len: usize) -> usize {
        match self.0 {
            Scheme::Aes(AesMode::KeyWrap { .. }) => len.next_multiple_of(SEMIBLOCK),
            _ => len,
        }
    }

    /// Wraps a key: the bytes of a secret one, PKCS#8 of a private one. `KeySizeRange` if it has the wrong length.
    pub fn wrap(&self, with: WrappingKey<'_>, key: &Secret) -> Result<Secret> {
        let wrapped = match (&self.0, with) {
            (Scheme::Aes(mode), WrappingKey::Secret(with)) => {
                let mut padded = Secret::zeroed(self.padded(key.len()));
                padded.expose_mut()[..key.len()].copy_from_slice(key.expose());
                Aes::new(mode.clone(), Direction::Encrypt)?.run(with, padded.expose())
            }
            (Scheme::RsaPkcs, WrappingKey::Public(with)) => with.encrypt_pkcs1(key.expose()).map(Secret::new),
            (Scheme::RsaOaep(oaep), WrappingKey::Public(with)) => oaep.encrypt(with, key).map(Secret::new),
            (Scheme::RsaAes { key_len, oaep }, WrappingKey::Public(with)) => {
                let mut transport = Secret::zeroed(*key_len);
                random::fill(transport.expose_mut())?;
                let front = oaep.encrypt(with, &transport)?;
                joined(&front, &wrap_padded(&transport, key)?)
            }
            (Scheme::EcdhAes { key_len, kdf, shared, point: form }, WrappingKey::Public(with)) => {
                let (point, secret) = with.ecdh_ephemeral()?;
                let front = match form {
                    PointForm::Raw => point,
                    PointForm::Der => der_octets(&point),
                };
                joined(&front, &wrap_padded(&derived(*kdf, shared, &secret, *key_len)?, key)?)
            }
            _ => return Err(Cause::KeyTypeInconsistent.into()),
        };
        wrapped.map_err(|error| match error.cause() {
            Cause::DataLenRange => Cause::KeySizeRange.with("a key of a length that the mechanism does not wrap"),
            _ => error,
        })
    }

    /// Unwraps a key. `len` is the length that a secret key is to have, if it is known; `possible` tells which lengths
    /// it could have. PKCS#1 v1.5 never fails on a whole block: it rejects implicitly, with a key that nobody knows.
    ///
    /// Errors: `WrappedKeyLenRange`, `WrappedKeyInvalid`.
    pub fn unwrap(
        &self,
        with: &Key,
        wrapped: &[u8],
        len: Option<usize>,
        possible: impl Fn(usize) -> bool,
    ) -> Result<Secret> {
        let key = match &self.0 {
            Scheme::Aes(mode) => {
                let mut key = decrypted(mode.clone(), with.secret()?, wrapped)?;
                if let (AesMode::KeyWrap { .. }, Some(len)) = (mode, len)
                    && len < key.len()
                    && len + SEMIBLOCK > key.len()
                    && key.expose()[len..].iter().all(|byte| *byte == 0)
                {
                    key.truncate(len);
                }
                key
            }
            Scheme::RsaPkcs => with.private()?.decrypt_pkcs1_key(wrapped, possible).map_err(of_ciphertext)?,
            Scheme::RsaOaep(oaep) => oaep.decrypt(with.private()?, wrapped)?,
            Scheme::RsaAes { key_len, oaep } => {
                let with = with.private()?;
                let KeyKind::Rsa { bits } = with.kind() else { return Err(Cause::KeyTypeInconsistent.into()) };
                let (front, rest) =
                    wrapped.split_at_checked(bits.div_ceil(8) as usize).ok_or(Cause::WrappedKeyLenRange)?;
                let transport = oaep.decrypt(with, front)?;
                if transport.len() != *key_len {
                    return Err(Cause::WrappedKeyInvalid.with("an AES key of another length"));
                }
                unwrap_padded(&transport, rest)?
            }
            Scheme::EcdhAes { key_len, kdf, shared, point: form } => {
                let with = with.private()?;
                let (front, rest) =
                    wrapped.split_at_checked(point_len(with.kind(), *form)?).ok_or(Cause::WrappedKeyLenRange)?;
                let point = match form {
                    PointForm::Raw => front,
                    PointForm::Der => der_content(front).ok_or(Cause::WrappedKeyInvalid)?,
                };
                let secret = with.ecdh(point).map_err(of_ciphertext)?;
                unwrap_padded(&derived(*kdf, shared, &secret, *key_len)?, rest)?
            }
        };
        if len.is_some_and(|len| len != key.len()) {
            return Err(Cause::WrappedKeyLenRange.into());
        }
        Ok(key)
    }

    /// The private key in what was unwrapped: PKCS#8, after which key wrap may have filled up with zeros.
    pub fn private_key(&self, unwrapped: &Secret) -> Result<PrivateKey> {
        let bytes = unwrapped.expose();
        let end = match &self.0 {
            Scheme::Aes(AesMode::KeyWrap { .. }) => der_len(bytes).filter(|len| {
                let rest = bytes.get(*len..);
                rest.is_some_and(|rest| rest.len() < SEMIBLOCK && rest.iter().all(|byte| *byte == 0))
            }),
            _ => Some(bytes.len()),
        };
        let der = end.and_then(|end| bytes.get(..end)).ok_or(Cause::WrappedKeyInvalid)?;
        PrivateKey::from_pkcs8(der).map_err(|error| match error.cause() {
            Cause::SealKeyMalformed => Cause::WrappedKeyInvalid.with(error.detail().to_owned()),
            _ => error,
        })
    }
}

impl Oaep {
    fn encrypt(&self, with: &PublicKey, key: &Secret) -> Result<Vec<u8>> {
        with.encrypt_oaep(self.hash, self.mgf, &self.label, key.expose())
    }

    fn decrypt(&self, with: &PrivateKey, wrapped: &[u8]) -> Result<Secret> {
        with.decrypt_oaep(self.hash, self.mgf, &self.label, wrapped).map_err(of_ciphertext)
    }
}

fn derived(kdf: Option<SharedSecretKdf>, shared: &[u8], secret: &Secret, len: usize) -> Result<Secret> {
    match kdf {
        Some(kdf) => kdf.derive(secret.expose(), shared, len),
        // The first bits of the secret (section 6.3.23).
        None => secret.expose().get(..len).map(|key| Secret::new(key.to_vec())).ok_or_else(too_short),
    }
}

fn too_short() -> Error {
    Cause::MechanismParamInvalid.with("a longer AES key than the shared secret")
}

fn wrap_padded(transport: &Secret, key: &Secret) -> Result<Secret> {
    Aes::new(KWP, Direction::Encrypt)?.run(&SecretKey::new(transport.expose())?, key.expose())
}

fn unwrap_padded(transport: &Secret, wrapped: &[u8]) -> Result<Secret> {
    decrypted(KWP, &SecretKey::new(transport.expose())?, wrapped)
}

fn decrypted(mode: AesMode, with: &SecretKey, wrapped: &[u8]) -> Result<Secret> {
    Aes::new(mode, Direction::Decrypt)?.run(with, wrapped).map_err(of_ciphertext)
}

fn joined(front: &[u8], rest: &Secret) -> Result<Secret> {
    Ok(Secret::new([front, rest.expose()].concat()))
}

/// The length of a fresh public key in bytes, as it stands before the wrapped key.
fn point_len(kind: KeyKind, form: PointForm) -> Result<usize> {
    let raw = match kind {
        KeyKind::Ec(curve) => 1 + 2 * curve.field_len(),
        KeyKind::X25519 => 32,
        KeyKind::X448 => 56,
        _ => return Err(Cause::KeyTypeInconsistent.into()),
    };
    Ok(match form {
        PointForm::Raw => raw,
        PointForm::Der => raw + if raw < 0x80 { 2 } else { 3 },
    })
}

/// A point is shorter than 256 bytes.
fn der_octets(point: &[u8]) -> Vec<u8> {
    let len = point.len() as u8;
    let header: &[u8] = if len < 0x80 { &[0x04, len] } else { &[0x04, 0x81, len] };
    [header, point].concat()
}

fn der_content(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x04, 0x81, len, point @ ..] if usize::from(*len) == point.len() && *len >= 0x80 => Some(point),
        [0x04, len, point @ ..] if usize::from(*len) == point.len() && *len < 0x80 => Some(point),
        _ => None,
    }
}

/// How many bytes a SEQUENCE at the front has.
fn der_len(bytes: &[u8]) -> Option<usize> {
    let (len, header) = match bytes {
        [0x30, len @ 0..=0x7f, ..] => (usize::from(*len), 2),
        [0x30, 0x81, len, ..] => (usize::from(*len), 3),
        [0x30, 0x82, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        _ => return None,
    };
    Some(header + len)
}

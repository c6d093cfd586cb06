//! Deriving keys: what each mechanism computes from the base key.

use super::derive_params::{Derivation, Field, Salt};
use crate::crypto::sp800_108::{self, Mode};
use crate::crypto::{Aes, AesMode, Direction, Key, KeyKind, Secret, SecretKey, kdf};
use crate::error::{Cause, Result};

/// What of a base key is known before it is opened.
#[derive(Clone, Copy, Debug)]
pub enum Base {
    /// A private key of this kind.
    Private(KeyKind),
    /// A secret key of so many bytes.
    Secret(usize),
}

/// How the attributes of a derived key depend on those of the keys it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// It may be less protected: nothing leads back from it. Only the past is handed down.
    Past,
    /// The same, but where the template is silent it is open: a secret that two parties agreed on is there to be taken.
    Agreement,
    /// The same, but where the template is silent it is protected as the base key is.
    Defaults,
    /// It contains the other keys, or serves in their place: it is protected as they are.
    Protection,
}

impl Derivation {
    /// The keys that the parameter names beside the base key, in the order in which [`Self::derive`] takes them.
    pub fn other_keys(&self) -> Vec<u64> {
        match self {
            Self::ConcatenateKey(handle) | Self::Hkdf { salt: Salt::Key(handle), .. } => vec![*handle],
            Self::Sp800 { fields, .. } => {
                let keys = fields.iter().filter_map(|field| match field {
                    Field::Key(handle) => Some(*handle),
                    _ => None,
                });
                keys.collect()
            }
            Self::Ike(ike) => ike.keys.clone(),
            _ => Vec::new(),
        }
    }

    /// The keys that it makes, if it says itself which, and not their templates: their lengths in bytes, and whether
    /// they are for MACs.
    pub fn parts(&self) -> Option<Vec<(usize, bool)>> {
        match self {
            Self::Tls(tls) => tls.parts(),
            _ => None,
        }
    }

    /// How the derived key depends on the others.
    pub fn inheritance(&self) -> Inheritance {
        match self {
            Self::ConcatenateKey(_) | Self::BaseAndData(_) | Self::DataAndBase(_) | Self::Xor(_) | Self::Extract(_) => {
                Inheritance::Protection
            }
            // HMAC uses the digest of a long key in the key's place.
            Self::Hash(_) => Inheritance::Protection,
            Self::Sp800 { .. } | Self::Tls(_) | Self::Ike(_) => Inheritance::Defaults,
            Self::Ecdh { .. } | Self::Dh(_) => Inheritance::Agreement,
            _ => Inheritance::Past,
        }
    }

    /// The length in bytes of a key whose template names none; `None` if the mechanism makes keys of any length.
    pub fn natural_len(&self, base: Base, others: &[usize]) -> Option<usize> {
        match (self, base) {
            (Self::Ecdh { kdf: None, .. }, Base::Private(KeyKind::Ec(curve))) => Some(curve.field_len()),
            (Self::Ecdh { kdf: None, .. }, Base::Private(KeyKind::X25519)) => Some(32),
            (Self::Ecdh { kdf: None, .. }, Base::Private(KeyKind::X448)) => Some(56),
            (Self::Dh(_), Base::Private(KeyKind::Dh(group))) => Some(group.len()),
            (Self::Tls(tls), _) => tls.natural_len(),
            (Self::Ike(ike), _) => ike.natural_len(),
            (Self::Hash(hash), _) => Some(hash.len()),
            (Self::Hkdf { hash, expand: false, .. }, _) => Some(hash.len()),
            (Self::ConcatenateKey(_), Base::Secret(len)) => len.checked_add(*others.first()?),
            (Self::BaseAndData(data) | Self::DataAndBase(data), Base::Secret(len)) => len.checked_add(data.len()),
            (Self::Xor(data), Base::Secret(len)) => Some(len.min(data.len())),
            (Self::AesEcb(data) | Self::AesCbc { data, .. }, _) => Some(data.len()),
            _ => None,
        }
    }

    /// How many bytes of each key, base key first, a derived key of `len` bytes contains; nothing of keys that it
    /// does not contain as they are.
    pub fn pieces(&self, base: usize, others: &[usize], len: usize) -> Vec<(usize, usize)> {
        match self {
            Self::ConcatenateKey(_) => {
                let other = others.first().copied().unwrap_or(0);
                vec![(base, len.min(base)), (other, len.saturating_sub(base).min(other))]
            }
            Self::BaseAndData(_) | Self::Xor(_) | Self::Extract(_) => vec![(base, len.min(base))],
            Self::DataAndBase(data) => vec![(base, len.saturating_sub(data.len()).min(base))],
            _ => Vec::new(),
        }
    }

    /// Derives keys of these lengths in bytes, and what comes with them that is no key. Only the functions of SP 800-108
    /// and of TLS make several at once.
    ///
    /// Errors: `KeyTypeInconsistent`, `KeySizeRange` for more than the mechanism makes of its input, `MechanismParamInvalid`.
    pub fn derive(&self, base: &Key, others: &[Secret], lens: &[usize]) -> Result<(Vec<Secret>, Option<Secret>)> {
        match (self, lens) {
            (Self::Sp800 { .. }, _) => Ok((self.sp800(base.secret()?, others, lens)?, None)),
            (Self::Tls(tls), _) => tls.derive(base.secret()?.expose()?, lens),
            (_, [len]) => Ok((vec![self.one(base, others, *len)?], None)),
            _ => Err(Cause::MechanismParamInvalid.with("one key at a time")),
        }
    }

    fn one(&self, base: &Key, others: &[Secret], len: usize) -> Result<Secret> {
        let other = || others.first().ok_or(Cause::MechanismParamInvalid);
        match self {
            Self::Ecdh { kdf, shared, public } => {
                let secret = base.private()?.ecdh(public)?;
                match kdf {
                    Some(kdf) => kdf.derive(secret.expose(), shared, len),
                    None => trailing(&secret, len),
                }
            }
            Self::Dh(public) => trailing(&base.private()?.dh(public)?, len),
            Self::Hkdf { hash, extract, expand, salt, info } => {
                let base = base.secret()?.expose()?;
                let salt = match salt {
                    Salt::Nothing => &[][..],
                    Salt::Data(salt) => salt,
                    Salt::Key(_) => other()?.expose(),
                };
                let extracted;
                let prk = match extract {
                    true => {
                        extracted = kdf::hkdf_extract(*hash, salt, base)?;
                        extracted.expose()
                    }
                    false => base,
                };
                if *expand { kdf::hkdf_expand(*hash, prk, info, len) } else { leading(prk, len) }
            }
            Self::Hash(hash) => leading(&hash.digest(base.secret()?.expose()?), len),
            Self::ConcatenateKey(_) => concatenated(base.secret()?.expose()?, other()?.expose(), len),
            Self::BaseAndData(data) => concatenated(base.secret()?.expose()?, data, len),
            Self::DataAndBase(data) => concatenated(data, base.secret()?.expose()?, len),
            Self::Xor(data) => {
                let mut out = leading(base.secret()?.expose()?, len)?;
                if data.len() < len {
                    return Err(too_long());
                }
                out.expose_mut().iter_mut().zip(data).for_each(|(out, data)| *out ^= data);
                Ok(out)
            }
            Self::Extract(bit) => extracted(base.secret()?, *bit, len),
            Self::AesEcb(data) => encrypted(AesMode::Ecb, base.secret()?, data, len),
            Self::AesCbc { iv, data } => encrypted(AesMode::Cbc { iv: *iv }, base.secret()?, data, len),
            Self::Ike(ike) => ike.derive(base.secret()?.expose()?, others, len),
            Self::Sp800 { .. } | Self::Tls(_) | Self::PublicKey => Err(Cause::MechanismInvalid.into()),
        }
    }

    fn sp800(&self, base: &SecretKey, others: &[Secret], lens: &[usize]) -> Result<Vec<Secret>> {
        let Self::Sp800 { prf, mode, fields } = self else { return Err(Cause::MechanismInvalid.into()) };
        let mut others = others.iter();
        let fields = fields.iter().map(|field| {
            Ok(match field {
                Field::Counter(format) => sp800_108::Field::Counter(*format),
                Field::Iteration => sp800_108::Field::Iteration,
                Field::Length(method, format) => sp800_108::Field::Length(*method, *format),
                Field::Bytes(bytes) => sp800_108::Field::Bytes(bytes),
                Field::Key(_) => sp800_108::Field::Bytes(others.next().ok_or(Cause::MechanismParamInvalid)?.expose()),
            })
        });
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let mode = match mode {
            super::derive_params::Mode::Counter => Mode::Counter,
            super::derive_params::Mode::Feedback(iv) => Mode::Feedback { iv },
            super::derive_params::Mode::DoublePipeline => Mode::DoublePipeline,
        };
        sp800_108::derive(prf, base.expose()?, mode, &fields, lens)
    }
}

fn too_long() -> crate::error::Error {
    Cause::KeySizeRange.with("a longer key than the mechanism makes")
}

fn leading(bytes: &[u8], len: usize) -> Result<Secret> {
    Ok(Secret::new(bytes.get(..len).ok_or_else(too_long)?.to_vec()))
}

/// A shared secret is cut from its leading end (section 6.3.20).
pub(super) fn trailing(secret: &Secret, len: usize) -> Result<Secret> {
    let start = secret.len().checked_sub(len).ok_or_else(too_long)?;
    Ok(Secret::new(secret.expose()[start..].to_vec()))
}

fn concatenated(first: &[u8], second: &[u8], len: usize) -> Result<Secret> {
    let mut both = Secret::with_capacity(first.len() + second.len())?;
    both.append(first)?;
    both.append(second)?;
    if len > both.len() {
        return Err(too_long());
    }
    both.truncate(len);
    Ok(both)
}

/// `len` bytes of a key from a bit on, the first bit of the first byte being bit 0, and round its end.
fn extracted(key: &SecretKey, bit: usize, len: usize) -> Result<Secret> {
    let key = key.expose()?;
    if bit >= 8 * key.len() {
        return Err(Cause::MechanismParamInvalid.with("a bit beyond the key's end"));
    }
    if len > key.len() {
        return Err(too_long());
    }
    let (start, shift) = (bit / 8, bit % 8);
    let mut out = Secret::zeroed(len);
    let round = |at: usize| u16::from(key[(start + at) % key.len()]);
    for (at, out) in out.expose_mut().iter_mut().enumerate() {
        *out = ((round(at) << 8 | round(at + 1)) >> (8 - shift)) as u8;
    }
    Ok(out)
}

fn encrypted(mode: AesMode, key: &SecretKey, data: &[u8], len: usize) -> Result<Secret> {
    // The data comes in the mechanism's parameter.
    if len > data.len() {
        return Err(Cause::MechanismParamInvalid.with("too little data for the key"));
    }
    let mut out = Aes::new(mode, Direction::Encrypt)?.run(key, data).map_err(|error| match error.cause() {
        Cause::DataLenRange => Cause::MechanismParamInvalid.with("the data is not whole blocks"),
        _ => error,
    })?;
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Hash;

    fn secret(bytes: &[u8]) -> Key {
        Key::Secret(SecretKey::new(bytes).unwrap())
    }

    fn one(derivation: &Derivation, base: &[u8], len: usize) -> Result<Vec<u8>> {
        let other = Secret::new(vec![0x89, 0xab, 0xcd, 0xef]);
        let (keys, _) = derivation.derive(&secret(base), &[other], &[len])?;
        Ok(keys[0].expose().to_vec())
    }

    /// The examples of the specification, section 6.43.
    #[test]
    fn simple_derivations_are_those_of_the_examples() {
        let base = [0x01, 0x23, 0x45, 0x67];
        let data = vec![0x89, 0xab, 0xcd, 0xef];
        let joined = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(one(&Derivation::ConcatenateKey(7), &base, 8).unwrap(), joined);
        assert_eq!(one(&Derivation::BaseAndData(data.clone()), &base, 8).unwrap(), joined);
        let swapped = [&joined[4..], &joined[..4]].concat();
        assert_eq!(one(&Derivation::DataAndBase(data.clone()), &base, 8).unwrap(), swapped);
        assert_eq!(one(&Derivation::Xor(data), &base, 4).unwrap(), [0x88; 4]);
        let bits = [0x32, 0x9f, 0x84, 0xa9];
        assert_eq!(one(&Derivation::Extract(21), &bits, 2).unwrap(), [0x95, 0x26]);
        assert_eq!(one(&Derivation::Extract(0), &bits, 4).unwrap(), bits);
        assert_eq!(one(&Derivation::Extract(8), &bits, 4).unwrap(), [0x9f, 0x84, 0xa9, 0x32]);
        assert_eq!(one(&Derivation::Extract(31), &bits, 1).unwrap(), [0x99]);
        assert_eq!(one(&Derivation::Hash(Hash::Sha256), &bits, 5).unwrap(), Hash::Sha256.digest(&bits)[..5]);
    }

    #[test]
    fn nothing_is_made_up_to_fill_a_longer_key() {
        let data = vec![0x89, 0xab, 0xcd, 0xef];
        for (derivation, len) in [
            (Derivation::ConcatenateKey(7), 9),
            (Derivation::BaseAndData(data.clone()), 9),
            (Derivation::DataAndBase(data.clone()), 9),
            (Derivation::Xor(data), 5),
            (Derivation::Xor(vec![1]), 2),
            (Derivation::Extract(0), 5),
            (Derivation::Hash(Hash::Sha1), 21),
            (Derivation::Hash(Hash::Sha1), usize::MAX),
        ] {
            assert_eq!(one(&derivation, &[1; 4], len).unwrap_err().cause(), Cause::KeySizeRange, "{derivation:?}");
        }
        for bit in [32, 33, usize::MAX] {
            let cause = one(&Derivation::Extract(bit), &[1; 4], 1).unwrap_err().cause();
            assert_eq!(cause, Cause::MechanismParamInvalid);
        }
        let short = Derivation::AesEcb(vec![0; 16]);
        assert_eq!(one(&short, &[1; 16], 17).unwrap_err().cause(), Cause::MechanismParamInvalid);
        assert_eq!(
            one(&Derivation::AesEcb(vec![0; 15]), &[1; 16], 15).unwrap_err().cause(),
            Cause::MechanismParamInvalid
        );
    }

    /// FIPS 197, appendix C.1.
    #[test]
    fn encrypted_data_makes_a_key_from_its_front() {
        let key: Vec<u8> = (0..16).collect();
        let data: Vec<u8> = (0..16).map(|byte| byte * 0x11).collect();
        let expected = [0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30];
        assert_eq!(one(&Derivation::AesEcb(data.clone()), &key, 8).unwrap(), expected);
        assert_eq!(one(&Derivation::AesCbc { iv: [0; 16], data }, &key, 8).unwrap(), expected);
    }

    #[test]
    fn pieces_tell_how_much_of_a_key_is_in_another() {
        let data = vec![0; 10];
        assert_eq!(Derivation::ConcatenateKey(7).pieces(4, &[6], 7), [(4, 4), (6, 3)]);
        assert_eq!(Derivation::BaseAndData(data.clone()).pieces(4, &[], 3), [(4, 3)]);
        assert_eq!(Derivation::DataAndBase(data.clone()).pieces(4, &[], 11), [(4, 1)]);
        assert_eq!(Derivation::DataAndBase(data).pieces(4, &[], 9), [(4, 0)]);
        assert!(Derivation::Hash(Hash::Sha256).pieces(4, &[], 1).is_empty());
    }
}

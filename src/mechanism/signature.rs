//! Signing and verifying: one computation, in one part or several.

use super::Request;
use super::family::Family;
use super::params::{Eddsa, Params};
use crate::crypto::{Digester, EdVariant, Hash, KeyKind, Mu, PrivateKey, PublicKey, Secret, SlhDsaMessage};
use crate::error::{Cause, Result};
use cryptoki_sys::{CK_HEDGE_TYPE, CKH_DETERMINISTIC_REQUIRED};

/// A signature that is being made or checked.
pub struct Signature {
    scheme: Scheme,
    key: KeyKind,
    input: Input,
    updated: bool,
}

enum Scheme {
    /// PKCS#1 v1.5 around a digest of this hash, or around the caller's data.
    Pkcs1(Option<Hash>),
    Pss {
        hash: Hash,
        mgf: Hash,
        salt_len: usize,
    },
    X509,
    Ecdsa,
    Eddsa(Eddsa),
    /// Of the message, which comes as µ.
    MlDsa {
        context: Vec<u8>,
        hedged: bool,
    },
    /// Of a digest.
    HashMlDsa {
        hash: Hash,
        context: Vec<u8>,
        hedged: bool,
    },
    /// Of the message, or of a digest by this hash.
    SlhDsa {
        hash: Option<Hash>,
        context: Vec<u8>,
        hedged: bool,
    },
}

/// What has come in by updates.
enum Input {
    /// It is hashed as it comes. The first update makes the state: data in one part needs none.
    Hashed { hash: Hash, digester: Option<Digester> },
    /// It is kept, up to a length beyond which it cannot be signed.
    Kept { data: Vec<u8>, most: usize },
    /// Its first bytes are kept; ECDSA takes only the leftmost bits of what it is given.
    Leading { data: Vec<u8>, most: usize },
    /// It goes into µ, which is what ML-DSA signs.
    Mu(Mu),
}

/// The length of the longest order of a curve: P-521's, in bytes.
const LONGEST_ORDER: usize = 66;
/// How much of a message EdDSA and SLH-DSA, which read it twice, keep in memory.
const LONGEST_MESSAGE: usize = 1 << 28;
/// What PKCS#1 v1.5 padding takes at least, in bytes.
const PKCS1_OVERHEAD: usize = 11;

impl Signature {
    /// Starts a signature with this key, or with the private key that goes with it.
    ///
    /// Errors: `KeyTypeInconsistent`, `MechanismParamInvalid` for a salt that the key has no room for.
    pub fn new(request: &Request, public: &PublicKey) -> Result<Self> {
        let (key, own_hash) = (public.kind(), request.mechanism.hash);
        let said_hash = |hash: &Option<Hash>| own_hash.or(*hash).ok_or(Cause::MechanismParamInvalid);
        let is_hedged = |hedge: &CK_HEDGE_TYPE| *hedge != CKH_DETERMINISTIC_REQUIRED;
        let scheme = match (request.mechanism.family, &request.params, key) {
            (Family::RsaPkcsHash | Family::RsaPkcs, _, KeyKind::Rsa { .. }) => Scheme::Pkcs1(own_hash),
            (Family::RsaPss, Params::Pss { hash, mgf, salt_len }, KeyKind::Rsa { bits }) => {
                let room = (bits.saturating_sub(1)).div_ceil(8) as usize;
                if hash.len() + salt_len + 2 > room {
                    return Err(Cause::MechanismParamInvalid.with("the salt does not fit the key"));
                }
                Scheme::Pss { hash: *hash, mgf: *mgf, salt_len: *salt_len }
            }
            (Family::RsaX509, _, KeyKind::Rsa { .. }) => Scheme::X509,
            (Family::Ecdsa, _, KeyKind::Ec(_)) => Scheme::Ecdsa,
            (Family::Eddsa, Params::Eddsa(variant), KeyKind::Ed25519 | KeyKind::Ed448) => {
                Scheme::Eddsa(variant.clone())
            }
            (Family::MlDsa, Params::SignContext { context, hedge, .. }, KeyKind::MlDsa(_)) => {
                Scheme::MlDsa { context: context.clone(), hedged: is_hedged(hedge) }
            }
            (
                Family::HashMlDsa | Family::HashMlDsaHash,
                Params::SignContext { context, hash, hedge },
                KeyKind::MlDsa(_),
            ) => Scheme::HashMlDsa { hash: said_hash(hash)?, context: context.clone(), hedged: is_hedged(hedge) },
            (Family::SlhDsa, Params::SignContext { context, hedge, .. }, KeyKind::SlhDsa(_)) => {
                Scheme::SlhDsa { hash: None, context: context.clone(), hedged: is_hedged(hedge) }
            }
            (
                Family::HashSlhDsa | Family::HashSlhDsaHash,
                Params::SignContext { context, hash, hedge },
                KeyKind::SlhDsa(_),
            ) => {
                let hash = Some(said_hash(hash)?);
                Scheme::SlhDsa { hash, context: context.clone(), hedged: is_hedged(hedge) }
            }
            _ => return Err(Cause::KeyTypeInconsistent.into()),
        };
        let kept = |most| Input::Kept { data: Vec::new(), most };
        let input = match (&scheme, own_hash) {
            (_, Some(hash)) => Input::Hashed { hash, digester: None },
            (Scheme::Pkcs1(None), None) => kept(output_len(key).saturating_sub(PKCS1_OVERHEAD)),
            (
                Scheme::Pss { hash, .. } | Scheme::HashMlDsa { hash, .. } | Scheme::SlhDsa { hash: Some(hash), .. },
                None,
            ) => kept(hash.len()),
            (Scheme::X509, None) => kept(output_len(key)),
            (Scheme::Ecdsa, None) => Input::Leading { data: Vec::new(), most: LONGEST_ORDER },
            // Ed25519ph and Ed448ph sign a hash of the message, and need to keep none of it.
            (Scheme::Eddsa(Eddsa::Prehash(_)), None) => {
                let hash = if key == KeyKind::Ed448 { Hash::Shake256 } else { Hash::Sha512 };
                Input::Hashed { hash, digester: None }
            }
            (Scheme::Eddsa(_) | Scheme::Pkcs1(Some(_)) | Scheme::SlhDsa { hash: None, .. }, None) => {
                kept(LONGEST_MESSAGE)
            }
            (Scheme::MlDsa { context, .. }, None) => Input::Mu(public.ml_dsa_mu(context)?),
        };
        Ok(Self { scheme, key, input, updated: false })
    }

    /// The length of the signature in bytes.
    pub fn output_len(&self) -> usize {
        output_len(self.key)
    }

    /// Whether data has come in by [`Self::update`].
    pub fn is_updated(&self) -> bool {
        self.updated
    }

    /// Takes in the next part. `DataLenRange` if it is more than the mechanism can take.
    pub fn update(&mut self, part: &[u8]) -> Result<()> {
        self.updated = true;
        match &mut self.input {
            Input::Hashed { hash, digester } => digester.get_or_insert_with(|| Digester::new(*hash)).update(part),
            Input::Kept { data, most } => {
                if part.len() > most.saturating_sub(data.len()) {
                    return Err(Cause::DataLenRange.into());
                }
                data.extend_from_slice(part);
            }
            Input::Leading { data, most } => {
                let room = part.len().min(most.saturating_sub(data.len()));
                data.extend_from_slice(&part[..room]);
            }
            Input::Mu(mu) => mu.update(part),
        }
        Ok(())
    }

    /// Checks that data in one part can be signed, before a key is asked for. `DataLenRange` if not.
    pub fn check(&self, data: &[u8]) -> Result<()> {
        match &self.input {
            Input::Kept { most, .. } if data.len() > *most => Err(Cause::DataLenRange.into()),
            _ => Ok(()),
        }
    }

    /// Signs `data`, which comes in one part.
    pub fn sign(self, key: &PrivateKey, data: &[u8]) -> Result<Secret> {
        self.input.message(Some(data), |message| self.scheme.sign(key, message))
    }

    /// Signs what came in by updates.
    pub fn sign_updated(self, key: &PrivateKey) -> Result<Secret> {
        self.input.message(None, |message| self.scheme.sign(key, message))
    }

    /// Checks the signature of `data`, which comes in one part.
    ///
    /// `SignatureInvalid` or `SignatureLenRange` if it does not verify.
    pub fn verify(self, key: &PublicKey, data: &[u8], signature: &[u8]) -> Result<()> {
        self.input.message(Some(data), |message| self.scheme.verify(key, message, signature))
    }

    /// The data inside a signature that was made to give it back.
    ///
    /// `SignatureInvalid` or `SignatureLenRange` if it is none.
    pub fn recover(&self, key: &PublicKey, signature: &[u8]) -> Result<Secret> {
        match self.scheme {
            Scheme::Pkcs1(None) => key.recover_pkcs1(signature),
            Scheme::X509 => raw_data(key, signature),
            _ => Err(Cause::MechanismInvalid.into()),
        }
        .map(Secret::new)
    }

    /// Checks the signature of what came in by updates.
    pub fn verify_updated(self, key: &PublicKey, signature: &[u8]) -> Result<()> {
        self.input.message(None, |message| self.scheme.verify(key, message, signature))
    }
}

impl Input {
    /// Calls `work` with what the scheme signs: the digest or the data. `one_part` is not copied.
    fn message<T>(self, one_part: Option<&[u8]>, work: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        match (self, one_part) {
            (Self::Hashed { hash, .. }, Some(data)) => work(&hash.digest(data)),
            (Self::Hashed { digester: Some(digester), .. }, None) => work(&digester.finish()),
            (Self::Hashed { hash, digester: None }, None) => work(&hash.digest(&[])),
            (Self::Kept { most, .. }, Some(data)) if data.len() > most => Err(Cause::DataLenRange.into()),
            (Self::Kept { .. } | Self::Leading { .. }, Some(data)) => work(data),
            (Self::Kept { data, .. } | Self::Leading { data, .. }, None) => work(&data),
            (Self::Mu(mut mu), one_part) => {
                mu.update(one_part.unwrap_or_default());
                work(&mu.finish())
            }
        }
    }
}

impl Scheme {
    fn sign(&self, key: &PrivateKey, message: &[u8]) -> Result<Secret> {
        let signature = match self {
            Self::Pkcs1(hash) => key.sign_pkcs1(*hash, message),
            Self::Pss { hash, mgf, salt_len } => {
                fits(*hash, message)?;
                key.sign_pss(*hash, *mgf, *salt_len, message)
            }
            Self::X509 => return key.raw_private(message),
            Self::Ecdsa => key.ecdsa_sign(message),
            Self::Eddsa(Eddsa::Prehash(context)) => key.eddsa_sign_prehash(context, exactly(message)?),
            Self::Eddsa(Eddsa::Context(context)) => key.eddsa_sign(EdVariant::Ctx(context), message),
            Self::Eddsa(Eddsa::Pure) => key.eddsa_sign(EdVariant::Pure, message),
            Self::MlDsa { hedged, .. } => key.ml_dsa_sign(exactly(message)?, *hedged),
            Self::HashMlDsa { hash, context, hedged } => {
                key.ml_dsa_sign(&key.public_key().ml_dsa_mu_of_digest(context, *hash, message)?, *hedged)
            }
            Self::SlhDsa { hash, context, hedged } => key.slh_dsa_sign(slh_dsa(*hash, message), context, *hedged),
        };
        signature.map(Secret::new)
    }

    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<()> {
        match self {
            Self::Pkcs1(hash) => key.verify_pkcs1(*hash, message, signature),
            Self::Pss { hash, mgf, salt_len } => {
                fits(*hash, message)?;
                key.verify_pss(*hash, *mgf, *salt_len, message, signature)
            }
            Self::X509 => verify_raw(key, message, signature),
            Self::Ecdsa => key.verify_ecdsa(message, signature),
            Self::Eddsa(Eddsa::Prehash(context)) => key.verify_eddsa_prehash(context, exactly(message)?, signature),
            Self::Eddsa(Eddsa::Context(context)) => key.verify_eddsa(EdVariant::Ctx(context), message, signature),
            Self::Eddsa(Eddsa::Pure) => key.verify_eddsa(EdVariant::Pure, message, signature),
            Self::MlDsa { .. } => key.verify_ml_dsa(exactly(message)?, signature),
            Self::HashMlDsa { hash, context, .. } => {
                key.verify_ml_dsa(&key.ml_dsa_mu_of_digest(context, *hash, message)?, signature)
            }
            Self::SlhDsa { hash, context, .. } => key.verify_slh_dsa(slh_dsa(*hash, message), context, signature),
        }
    }
}

/// What SLH-DSA signs: a digest, if it has a hash.
fn slh_dsa(hash: Option<Hash>, message: &[u8]) -> SlhDsaMessage<'_> {
    match hash {
        Some(hash) => SlhDsaMessage::Hashed(hash, message),
        None => SlhDsaMessage::Pure(message),
    }
}

/// PSS on a digest that the caller made: it must be one of the named hash.
fn fits(hash: Hash, digest: &[u8]) -> Result<()> {
    if digest.len() == hash.len() { Ok(()) } else { Err(Cause::DataLenRange.into()) }
}

/// What CKM_RSA_X_509 signed, as long as the modulus.
fn raw_data(key: &PublicKey, signature: &[u8]) -> Result<Vec<u8>> {
    if signature.len() != output_len(key.kind()) {
        return Err(Cause::SignatureLenRange.into());
    }
    key.raw_public(signature).map_err(|_| Cause::SignatureInvalid.into())
}

/// CKM_RSA_X_509 verifies by computing the data from the signature.
fn verify_raw(key: &PublicKey, data: &[u8], signature: &[u8]) -> Result<()> {
    let computed = raw_data(key, signature)?;
    let (padding, rest) = computed.split_at(computed.len().saturating_sub(data.len()));
    if rest == data && padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Cause::SignatureInvalid.into()) }
}

/// The message of Ed25519ph or Ed448ph, which is a digest, or the µ of ML-DSA.
fn exactly(message: &[u8]) -> Result<&[u8; 64]> {
    message.try_into().map_err(|_| Cause::DataLenRange.into())
}

/// The length of a signature, and of an RSA block, in bytes.
pub(super) fn output_len(key: KeyKind) -> usize {
    match key {
        KeyKind::Rsa { bits } => bits.div_ceil(8) as usize,
        KeyKind::Ec(curve) => 2 * curve.field_len(),
        KeyKind::Ed25519 => 64,
        KeyKind::Ed448 => 114,
        KeyKind::MlDsa(set) => set.signature_len(),
        KeyKind::SlhDsa(set) => set.signature_len(),
        // Makes none, and no scheme takes it.
        KeyKind::X25519 | KeyKind::X448 | KeyKind::MlKem(_) | KeyKind::Dh(_) => 0,
    }
}

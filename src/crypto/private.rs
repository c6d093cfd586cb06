//! Private keys, in protected memory and ready to use.
#![forbid(unsafe_code)]

use super::aws_lc::ml_dsa::MlDsa;
use super::aws_lc::ml_kem::MlKem;
use super::aws_lc::rsa::{Oaep, Padding, Rsa};
use super::aws_lc::{self, ec::EcKey, ed25519};
use super::public::{check_context, check_digest_len, pss};
use super::stack::{LOAD, SIGN, SIGN_GENERIC, WipedAfter};
use super::{Curve, DhGroup, EdVariant, Hash, KeyKind, PublicKey, Secret, SlhDsaSet, curve448, load, pkcs1, pkcs8};
use crate::error::{Cause, Result};
use crate::host::protected::{Block, Stamp};
use zeroize::Zeroizing;

/// A private key.
///
/// It lives in the protected pool, parsed, with everything computed that its operations would compute
/// on first use. A forked child inherits only zeros: there every operation is
/// [`Cause::NotInitialized`], and dropping the key does nothing. The operations of another kind of
/// key fail with [`Cause::KeyTypeInconsistent`].
pub struct PrivateKey {
    /// Taken out only to be forgotten.
    key: Option<Inner>,
    public: PublicKey,
    stamp: Stamp,
}

pub(super) enum Inner {
    Rsa {
        rsa: Rsa,
        /// SHA-256 of the private exponent, padded to the modulus' length: where implicit rejection begins.
        exponent_hash: Block,
    },
    Ec(Curve, EcKey),
    /// Seed and public key.
    Ed25519(Block),
    X25519(Block),
    MlKem(MlKem),
    MlDsa(MlDsa),
    Ed448(Block),
    X448(Block),
    SlhDsa(SlhDsaSet, Block),
    /// The private number.
    Dh(DhGroup, Block),
}

impl PrivateKey {
    /// From PKCS#8, version 1 or 2, DER, with nothing after it. RSA of 1024 to 8192 bits, EC on a named curve of
    /// ours, Ed25519, X25519, Ed448, X448, DH, SLH-DSA, ML-KEM and ML-DSA by their seeds, expanded, or both. All is checked:
    /// that the numbers belong together, that a public key inside is the right one, that what the key signs verifies.
    /// [`Cause::SealKeyMalformed`] if anything is wrong.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let _wiped = WipedAfter::<LOAD>;
        let peeled = pkcs8::peel(der)?;
        let key = Self::made_by(|| Inner::parse(&peeled))?;
        if peeled.public.is_some_and(|bits| !key.public.is_in_bits(bits)) {
            return Err(Cause::SealKeyMalformed.with("another key's public key inside"));
        }
        Ok(key)
    }

    /// A new RSA key of 2048 bits, which is never seen outside the protected pool.
    pub fn generate_rsa_2048() -> Result<Self> {
        let _wiped = WipedAfter::<LOAD>;
        Self::made_by(|| Inner::of_rsa(Rsa::generate(2048)?))
    }

    /// What `make` makes, in the protected pool and checked.
    fn made_by(make: impl FnOnce() -> Result<Inner>) -> Result<Self> {
        let stamp = Stamp::new();
        // The first signature belongs into the scope: AWS-LC derives the Montgomery form of the primes, and
        // the first blinding, when it first needs them.
        let scope = aws_lc::enter_key_scope()?;
        let key = make()?;
        let first = key.first_signature()?;
        drop(scope);
        let public = key.derive_public()?;
        load::check_first_signature(&public, &first)?;
        Ok(Self { key: Some(key), public, stamp })
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyKind {
        self.public.kind()
    }

    /// The public key, derived from the private one.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key, if it is not a parent process's.
    pub(super) fn key(&self) -> Result<&Inner> {
        let ours = self.key.as_ref().filter(|_| self.stamp.is_ours());
        ours.ok_or_else(|| Cause::NotInitialized.with("the key was inherited over a fork"))
    }

    fn rsa(&self) -> Result<&Rsa> {
        match self.key()? {
            Inner::Rsa { rsa, .. } => Ok(rsa),
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }

    /// The length of an RSA key's modulus in bytes.
    fn modulus_len(&self) -> usize {
        self.public.modulus().len()
    }

    /// Signs with PKCS#1 v1.5: with a hash, its digest; without, any bytes up to 11 less than the modulus, padded
    /// as they are (`CKM_RSA_PKCS`).
    pub fn sign_pkcs1(&self, hash: Option<Hash>, data: &[u8]) -> Result<Vec<u8>> {
        let _wiped = WipedAfter::<SIGN>;
        let rsa = self.rsa()?;
        let mut signature = vec![0; self.modulus_len()];
        let Some(hash) = hash else {
            if data.len() + pkcs1::OVERHEAD > signature.len() {
                return Err(Cause::DataLenRange.into());
            }
            rsa.private(Padding::Pkcs1, data, &mut signature)?;
            return Ok(signature);
        };
        check_digest_len(hash, data)?;
        // A prefix of up to 19 bytes and a digest of up to 64.
        let (mut prefix, mut info) = ([0; 19], [0; 83]);
        let start = hash.digest_info_prefix(&mut prefix);
        let info = &mut info[..start + data.len()];
        info[..start].copy_from_slice(&prefix[..start]);
        info[start..].copy_from_slice(data);
        rsa.private(Padding::Pkcs1, info, &mut signature)?;
        Ok(signature)
    }

    /// Signs a digest with PSS.
    pub fn sign_pss(&self, hash: Hash, mgf: Hash, salt_len: usize, digest: &[u8]) -> Result<Vec<u8>> {
        let _wiped = WipedAfter::<SIGN>;
        let rsa = self.rsa()?;
        let mut signature = vec![0; self.modulus_len()];
        rsa.sign_pss(pss(rsa, hash, mgf, salt_len, digest)?, digest, &mut signature)?;
        Ok(signature)
    }

    /// The private operation on up to a modulus' length of bytes, smaller than the modulus (`CKM_RSA_X_509`, to
    /// sign and to decrypt). As long as the modulus. [`Cause::DataLenRange`] if the data is longer,
    /// [`Cause::DataInvalid`] if it is not smaller.
    pub fn raw_private(&self, data: &[u8]) -> Result<Secret> {
        let mut out = Secret::zeroed(self.modulus_len());
        self.raw_into(data, out.expose_mut())?;
        Ok(out)
    }

    /// `out` is as long as the modulus.
    fn raw_into(&self, data: &[u8], out: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let rsa = self.rsa()?;
        let mut block = Zeroizing::new([0; pkcs1::MAX_LEN]);
        let block = self.public.in_range(data, &mut block)?;
        // AWS-LC refuses 0, 1 and n-1. The exponent is odd: each is its own power.
        if is_own_power(block, self.public.modulus()) {
            out.copy_from_slice(block);
            return Ok(());
        }
        rsa.private(Padding::None, block, out)
    }

    /// Decrypts PKCS#1 v1.5 with implicit rejection: of a ciphertext in range this never fails, and bad padding
    /// gives a made-up message, always the same. [`Cause::EncryptedDataLenRange`] if the ciphertext is not as long
    /// as the modulus, [`Cause::EncryptedDataInvalid`] if it is not smaller.
    pub fn decrypt_pkcs1(&self, ciphertext: &[u8]) -> Result<Secret> {
        self.unpad_pkcs1(ciphertext, |hash, block| Ok(pkcs1::unpad(hash, ciphertext, block)))
    }

    /// The same for a message that is a key, which can have some lengths only: so has the made-up one, and a message
    /// of another length is rejected like bad padding. [`Cause::EncryptedDataLenRange`] also if no length is possible.
    pub fn decrypt_pkcs1_key(&self, ciphertext: &[u8], possible: impl Fn(usize) -> bool) -> Result<Secret> {
        self.unpad_pkcs1(ciphertext, |hash, block| {
            let lengths: Vec<_> =
                (0..=block.len() - pkcs1::OVERHEAD).filter(|len| possible(*len)).map(|len| len as u32).collect();
            match lengths.is_empty() {
                true => Err(Cause::EncryptedDataLenRange.with("no key of such a length fits in")),
                false => Ok(pkcs1::unpad_key(hash, ciphertext, block, &lengths)),
            }
        })
    }

    fn unpad_pkcs1(&self, ciphertext: &[u8], unpad: impl FnOnce(&[u8], &[u8]) -> Result<Secret>) -> Result<Secret> {
        let _wiped = WipedAfter::<SIGN>;
        let Inner::Rsa { exponent_hash, .. } = self.key()? else { return Err(Cause::KeyTypeInconsistent.into()) };
        let mut block = Zeroizing::new([0; pkcs1::MAX_LEN]);
        let block = &mut block[..self.modulus_len()];
        if ciphertext.len() != block.len() {
            return Err(Cause::EncryptedDataLenRange.into());
        }
        if ciphertext >= self.public.modulus() {
            return Err(Cause::EncryptedDataInvalid.into());
        }
        self.raw_into(ciphertext, block)?;
        unpad(exponent_hash.expose(), block)
    }

    /// Decrypts OAEP. [`Cause::EncryptedDataLenRange`] if the ciphertext is not as long as the modulus; whatever
    /// else is wrong with it is [`Cause::EncryptedDataInvalid`].
    pub fn decrypt_oaep(&self, hash: Hash, mgf: Hash, label: &[u8], ciphertext: &[u8]) -> Result<Secret> {
        let _wiped = WipedAfter::<SIGN>;
        let rsa = self.rsa()?;
        let k = self.modulus_len();
        if ciphertext.len() != k {
            return Err(Cause::EncryptedDataLenRange.into());
        }
        if k < 2 * hash.len() + 2 {
            return Err(Cause::MechanismParamInvalid.into());
        }
        let mut message = Secret::zeroed(k);
        let len = rsa.decrypt_oaep(Oaep { hash, mgf, label }, ciphertext, message.expose_mut())?;
        message.truncate(len);
        Ok(message)
    }

    /// Signs a digest of any length with ECDSA: `r ‖ s`, each as long as the field. Of a digest longer than the
    /// order its leftmost bits count (FIPS 186-5, section 6.4.1).
    pub fn ecdsa_sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let Inner::Ec(curve, key) = self.key()? else { return Err(Cause::KeyTypeInconsistent.into()) };
        let mut signature = vec![0; 2 * curve.field_len()];
        let signed = key.sign(digest, &mut signature);
        // Constant lengths, which the compiler turns into plain stores.
        match curve {
            Curve::Secp256k1 => drop(WipedAfter::<SIGN_GENERIC>),
            Curve::P256 | Curve::P384 | Curve::P521 => drop(WipedAfter::<SIGN>),
        }
        signed.map(|()| signature)
    }

    /// Signs a message with Ed25519 or Ed448.
    pub fn eddsa_sign(&self, variant: EdVariant<'_>, message: &[u8]) -> Result<Vec<u8>> {
        let _wiped = WipedAfter::<SIGN>;
        check_context(variant)?;
        match (self.key()?, variant) {
            (Inner::Ed25519(key), _) => {
                let mut signature = [0; 64];
                ed25519::sign(ed25519_pair(key)?, variant, message, &mut signature)?;
                Ok(signature.to_vec())
            }
            (Inner::Ed448(seed), EdVariant::Ph(_)) => {
                curve448::ed448_sign(array(seed)?, variant, &Hash::Shake256.digest(message))
            }
            (Inner::Ed448(seed), _) => curve448::ed448_sign(array(seed)?, variant, message),
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }

    /// Signs a message with Ed25519ph by its SHA-512 digest, or with Ed448ph by 64 bytes of SHAKE256.
    pub fn eddsa_sign_prehash(&self, context: &[u8], prehash: &[u8; 64]) -> Result<Vec<u8>> {
        let _wiped = WipedAfter::<SIGN>;
        let variant = EdVariant::Ph(context);
        check_context(variant)?;
        match self.key()? {
            Inner::Ed25519(key) => {
                let mut signature = [0; 64];
                ed25519::sign_prehash(ed25519_pair(key)?, prehash, context, &mut signature)?;
                Ok(signature.to_vec())
            }
            Inner::Ed448(seed) => curve448::ed448_sign(array(seed)?, variant, prehash),
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        // In a child the key's memory is zeros, which AWS-LC must not be asked to free.
        if !self.stamp.is_ours() {
            std::mem::forget(self.key.take());
        }
    }
}

pub(super) fn ed25519_pair(key: &Block) -> Result<&[u8; 64]> {
    array(key)
}

/// The bytes of a block that was made from an array of this length.
pub(super) fn array<const N: usize>(key: &Block) -> Result<&[u8; N]> {
    key.expose().try_into().map_err(|_| Cause::CryptoLibrary.into())
}

/// Whether `block`, as long as the modulus and smaller, is 0, 1 or the modulus less 1.
fn is_own_power(block: &[u8], modulus: &[u8]) -> bool {
    let (Some((last, head)), Some((modulus_last, modulus_head))) = (block.split_last(), modulus.split_last()) else {
        return true;
    };
    // The modulus is odd, so taking 1 off changes its last byte alone.
    let zero_or_one = *last <= 1 && head.iter().all(|byte| *byte == 0);
    zero_or_one || (*last == modulus_last - 1 && head == modulus_head)
}

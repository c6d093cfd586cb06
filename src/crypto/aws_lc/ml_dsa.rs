//! ML-DSA.

use super::digest::Shake256;
use super::{Envelope, Operation, check, check_or, raw};
use crate::crypto::ml_dsa::{MU_LEN, SEED_LEN};
use crate::crypto::{MlDsaSet, Secret};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;

/// The length in bytes of a public key's digest.
const TR_LEN: usize = 64;

/// A public or private key.
pub(in crate::crypto) struct MlDsa {
    envelope: Envelope,
    set: MlDsaSet,
    /// The digest of the public key, which every signature is of.
    tr: [u8; TR_LEN],
    has_seed: bool,
}

// SAFETY: nothing changes a key after it is made, and its references are counted atomically.
unsafe impl Send for MlDsa {}
// SAFETY: as above.
unsafe impl Sync for MlDsa {}

fn nid(set: MlDsaSet) -> c_int {
    match set {
        MlDsaSet::MlDsa44 => NID_MLDSA44,
        MlDsaSet::MlDsa65 => NID_MLDSA65,
        MlDsaSet::MlDsa87 => NID_MLDSA87,
    }
}

impl MlDsa {
    /// A private key from its seed.
    pub(in crate::crypto) fn from_seed(set: MlDsaSet, seed: &[u8; SEED_LEN]) -> Result<Self> {
        Self::from_private(set, seed, true)
    }

    /// A private key from its expanded form: of the right length, its vectors small, and what follows from them as it
    /// should be. The public key is computed from it.
    pub(in crate::crypto) fn from_expanded(set: MlDsaSet, expanded: &[u8]) -> Result<Self> {
        if expanded.len() != set.private_key_len() {
            return Err(Cause::SealKeyMalformed.with("expanded ML-DSA key"));
        }
        Self::from_private(set, expanded, false)
    }

    /// AWS-LC tells seeds and expanded keys by their length.
    fn from_private(set: MlDsaSet, key: &[u8], has_seed: bool) -> Result<Self> {
        // SAFETY: the slice is valid for its length, which the function compares with those of the set.
        let envelope = unsafe { EVP_PKEY_pqdsa_new_raw_private_key(nid(set), key.as_ptr(), key.len()) };
        let envelope = Envelope::own(envelope).map_err(|_| Cause::SealKeyMalformed.with("ML-DSA key"))?;
        Self::new(envelope, set, has_seed)
    }

    /// A public key: any bytes of the right length are one.
    pub(in crate::crypto) fn from_public(set: MlDsaSet, public: &[u8]) -> Result<Self> {
        // SAFETY: the slice is valid for its length, which the function compares with that of the set.
        let envelope = unsafe { EVP_PKEY_pqdsa_new_raw_public_key(nid(set), public.as_ptr(), public.len()) };
        let envelope = Envelope::own(envelope).map_err(|_| Cause::AttributeValueInvalid.with("ML-DSA public key"))?;
        Self::new(envelope, set, false)
    }

    /// Takes over a public key that was parsed.
    ///
    /// # Safety
    /// The envelope holds a key of this kind.
    pub(super) unsafe fn of_envelope(envelope: Envelope) -> Result<Self> {
        // SAFETY: the caller's.
        let name = unsafe { EVP_PKEY_pqdsa_get_type(envelope.as_ptr()) };
        let set = MlDsaSet::ALL.iter().copied().find(|set| nid(*set) == name);
        let set = set.ok_or_else(|| Cause::AttributeValueInvalid.with("public key of another kind"))?;
        Self::new(envelope, set, false)
    }

    fn new(envelope: Envelope, set: MlDsaSet, has_seed: bool) -> Result<Self> {
        let mut key = Self { envelope, set, tr: [0; TR_LEN], has_seed };
        let mut shake = Shake256::new();
        shake.update(&key.public()?);
        key.tr = shake.finish();
        Ok(key)
    }

    pub(in crate::crypto) fn set(&self) -> MlDsaSet {
        self.set
    }

    pub(super) fn envelope(&self) -> *const EVP_PKEY {
        self.envelope.as_ptr()
    }

    /// The digest of the public key (FIPS 204, algorithm 6, line 9).
    pub(in crate::crypto) fn tr(&self) -> &[u8] {
        &self.tr
    }

    /// The public key, as FIPS 204 encodes it.
    pub(in crate::crypto) fn public(&self) -> Result<Vec<u8>> {
        raw::public(&self.envelope, self.set.public_key_len())
    }

    /// The expanded private key.
    pub(in crate::crypto) fn expanded(&self) -> Result<Secret> {
        raw::expanded(&self.envelope, self.set.private_key_len())
    }

    /// The seed, if the key was made of it.
    pub(in crate::crypto) fn seed(&self) -> Result<Option<Secret>> {
        self.has_seed.then(|| raw::seed(&self.envelope, SEED_LEN)).transpose()
    }

    /// Signs µ; `out` has the length of a signature of the set.
    pub(in crate::crypto) fn sign(&self, mu: &[u8; MU_LEN], out: &mut [u8]) -> Result<()> {
        let operation = Operation::new(&self.envelope)?;
        let (to, mut len) = (out.as_mut_ptr(), out.len());
        // SAFETY: the operation is valid and holds a private key; no more than `len` bytes are written.
        unsafe {
            check(EVP_PKEY_sign_init(operation.as_ptr()))?;
            check(EVP_PKEY_sign(operation.as_ptr(), to, &mut len, mu.as_ptr(), mu.len()))
        }
    }

    /// Verifies a signature of µ.
    pub(in crate::crypto) fn verify(&self, mu: &[u8; MU_LEN], signature: &[u8]) -> Result<()> {
        let operation = Operation::new(&self.envelope)?;
        let (from, len) = (signature.as_ptr(), signature.len());
        // SAFETY: the operation is valid, and so are the slices.
        unsafe {
            check(EVP_PKEY_verify_init(operation.as_ptr()))?;
            let valid = EVP_PKEY_verify(operation.as_ptr(), from, len, mu.as_ptr(), mu.len());
            check_or(valid, Cause::SignatureInvalid)
        }
    }
}

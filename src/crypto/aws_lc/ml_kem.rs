//! ML-KEM.

use super::{Envelope, Operation, check, check_or, raw, reader};
use crate::crypto::ml_kem::SEED_LEN;
use crate::crypto::{MlKemSet, Secret};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;

/// A public or private key.
pub(in crate::crypto) struct MlKem {
    envelope: Envelope,
    set: MlKemSet,
    has_seed: bool,
}

// SAFETY: nothing changes a key after it is made, and its references are counted atomically.
unsafe impl Send for MlKem {}
// SAFETY: as above.
unsafe impl Sync for MlKem {}

fn nid(set: MlKemSet) -> c_int {
    match set {
        MlKemSet::MlKem512 => NID_MLKEM512,
        MlKemSet::MlKem768 => NID_MLKEM768,
        MlKemSet::MlKem1024 => NID_MLKEM1024,
    }
}

impl MlKem {
    /// A private key from PKCS#8 with a seed, as [`pkcs8`](crate::crypto::pkcs8) writes it.
    pub(in crate::crypto) fn parse_seed(der: &[u8], set: MlKemSet) -> Result<Self> {
        let mut cbs = reader(der);
        // SAFETY: the reader covers `der`.
        let envelope = Envelope::own(unsafe { EVP_parse_private_key(&mut cbs) })?;
        let key = Self { envelope, set, has_seed: true };
        key.check_pair()?;
        Ok(key)
    }

    /// A private key from its expanded form: of the right length, its hash right, and what is encapsulated to the
    /// public key inside comes out again.
    pub(in crate::crypto) fn from_expanded(set: MlKemSet, expanded: &[u8]) -> Result<Self> {
        let malformed = || Cause::SealKeyMalformed.with("expanded ML-KEM key");
        let public = set.public_part(expanded).ok_or_else(malformed)?;
        // SAFETY: the slices are valid for their lengths, which the function compares with those of the set.
        let envelope = Envelope::own(unsafe {
            EVP_PKEY_kem_new_raw_key(nid(set), public.as_ptr(), public.len(), expanded.as_ptr(), expanded.len())
        })
        .map_err(|_| malformed())?;
        let key = Self { envelope, set, has_seed: false };
        key.check_pair()?;
        Ok(key)
    }

    /// A public key: of the right length, its coefficients reduced (FIPS 203, section 7.2).
    pub(in crate::crypto) fn from_public(set: MlKemSet, public: &[u8]) -> Result<Self> {
        // SAFETY: the slice is valid for its length, which the function compares with that of the set.
        let envelope = unsafe { EVP_PKEY_kem_new_raw_public_key(nid(set), public.as_ptr(), public.len()) };
        let envelope = Envelope::own(envelope).map_err(|_| Cause::AttributeValueInvalid.with("ML-KEM public key"))?;
        Self::of_envelope(envelope)
    }

    /// Takes over a public key that was parsed, and checks it as above.
    pub(super) fn of_envelope(envelope: Envelope) -> Result<Self> {
        // SAFETY: the envelope is valid; that it holds a key of this kind is asked first.
        let name = unsafe {
            if EVP_PKEY_id(envelope.as_ptr()) == EVP_PKEY_KEM { EVP_PKEY_kem_get_type(envelope.as_ptr()) } else { 0 }
        };
        let set = MlKemSet::ALL.iter().copied().find(|set| nid(*set) == name);
        let set = set.ok_or_else(|| Cause::AttributeValueInvalid.with("public key of another kind"))?;
        let operation = Operation::new(&envelope)?;
        // SAFETY: the operation is valid and holds a key.
        check_or(unsafe { EVP_PKEY_public_check(operation.as_ptr()) }, Cause::AttributeValueInvalid)?;
        Ok(Self { envelope, set, has_seed: false })
    }

    /// The test of FIPS 203, section 7.1, for a pair that comes from elsewhere.
    fn check_pair(&self) -> Result<()> {
        // SAFETY: the envelope is valid and holds both halves.
        check_or(unsafe { EVP_PKEY_kem_check_key(self.envelope.as_ptr()) }, Cause::SealKeyMalformed)
    }

    pub(in crate::crypto) fn set(&self) -> MlKemSet {
        self.set
    }

    pub(super) fn envelope(&self) -> *const EVP_PKEY {
        self.envelope.as_ptr()
    }

    /// The encapsulation key.
    pub(in crate::crypto) fn public(&self) -> Result<Vec<u8>> {
        raw::public(&self.envelope, self.set.public_key_len())
    }

    /// The expanded decapsulation key.
    pub(in crate::crypto) fn expanded(&self) -> Result<Secret> {
        raw::expanded(&self.envelope, self.set.private_key_len())
    }

    /// The seed, if the key was made of it.
    pub(in crate::crypto) fn seed(&self) -> Result<Option<Secret>> {
        self.has_seed.then(|| raw::seed(&self.envelope, SEED_LEN)).transpose()
    }

    /// Makes a secret and encapsulates it: both slices have the lengths of the set.
    pub(in crate::crypto) fn encapsulate(&self, ciphertext: &mut [u8], secret: &mut [u8]) -> Result<()> {
        let operation = Operation::new(&self.envelope)?;
        let (mut len, mut secret_len) = (ciphertext.len(), secret.len());
        let (to, secret_to) = (ciphertext.as_mut_ptr(), secret.as_mut_ptr());
        // SAFETY: the operation is valid; no more is written than the lengths say.
        check(unsafe { EVP_PKEY_encapsulate(operation.as_ptr(), to, &mut len, secret_to, &mut secret_len) })
    }

    /// The secret in a ciphertext, or another one, always the same, if the ciphertext was not made for this key
    /// (implicit rejection): both slices have the lengths of the set.
    pub(in crate::crypto) fn decapsulate(&self, ciphertext: &[u8], secret: &mut [u8]) -> Result<()> {
        let operation = Operation::new(&self.envelope)?;
        let (to, mut len, from) = (secret.as_mut_ptr(), secret.len(), ciphertext.as_ptr());
        // SAFETY: as above; the ciphertext is valid for its length.
        check(unsafe { EVP_PKEY_decapsulate(operation.as_ptr(), to, &mut len, from, ciphertext.len()) })
    }
}

//! RSA.
//!
//! Faults: AWS-LC raises the result of every private operation to `e` and compares it with the input
//! before it unblinds it (`rsa_default_private_transform`), for keys that have `e`, as all of ours
//! do. That is the one check of every signature; a failed one shows as an internal error of its RSA
//! part and is [`Cause::FaultDetected`] here.

use super::digest::md;
use super::{Envelope, Number, Operation, check, check_or, failure, number_bytes, owner, reader, take_error};
use crate::crypto::{Hash, Secret};
use crate::error::{Cause, Error, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;
use std::ptr;

owner!(
    /// One reference to an RSA key.
    Inner, RSA, RSA_free
);

/// A public or private RSA key.
pub(in crate::crypto) struct Rsa {
    /// What OAEP's functions want.
    envelope: Envelope,
    key: Inner,
}

// SAFETY: AWS-LC's keys may be used from any thread, by several at once: what they compute lazily they
// guard with a lock of their own.
unsafe impl Send for Rsa {}
// SAFETY: as above.
unsafe impl Sync for Rsa {}

/// How a block is padded before, or after, the raw operation.
#[derive(Clone, Copy)]
pub(in crate::crypto) enum Padding {
    /// Not at all: the input has the length of the modulus and is smaller than it.
    None,
    /// PKCS#1 v1.5.
    Pkcs1,
}

impl Padding {
    fn code(self) -> c_int {
        match self {
            Padding::None => RSA_NO_PADDING,
            Padding::Pkcs1 => RSA_PKCS1_PADDING,
        }
    }
}

/// The parameters of OAEP (RFC 8017, section 7.1).
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Oaep<'a> {
    pub(in crate::crypto) hash: Hash,
    pub(in crate::crypto) mgf: Hash,
    pub(in crate::crypto) label: &'a [u8],
}

/// The parameters of PSS (RFC 8017, section 8.1).
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Pss {
    pub(in crate::crypto) hash: Hash,
    pub(in crate::crypto) mgf: Hash,
    pub(in crate::crypto) salt_len: c_int,
}

impl Rsa {
    fn new(key: Inner) -> Result<Self> {
        // SAFETY: both pointers are owned; the envelope takes a reference of its own.
        let envelope = unsafe {
            let envelope = Envelope::own(EVP_PKEY_new())?;
            check(EVP_PKEY_set1_RSA(envelope.as_ptr(), key.as_ptr()))?;
            envelope
        };
        Ok(Self { envelope, key })
    }

    /// An `RSAPrivateKey` (RFC 8017, appendix A.1.2) with two primes. AWS-LC checks that n = pq, that d
    /// fits e, and the CRT values.
    pub(in crate::crypto) fn parse_private(der: &[u8]) -> Result<Self> {
        let mut cbs = reader(der);
        // SAFETY: the reader covers `der`.
        let key = Inner::own(unsafe { RSA_parse_private_key(&mut cbs) })
            .map_err(|_| Cause::SealKeyMalformed.with("RSA private key"))?;
        if cbs.len != 0 {
            return Err(Cause::SealKeyMalformed.with("bytes after the RSA private key"));
        }
        // AWS-LC also takes Java's keys with n and d alone, and then neither blinds nor checks for faults.
        // SAFETY: the key is valid; the pointers are only compared with null.
        let complete = unsafe {
            let (mut p, mut q) = (ptr::null(), ptr::null());
            RSA_get0_factors(key.as_ptr(), &mut p, &mut q);
            !RSA_get0_e(key.as_ptr()).is_null() && !p.is_null() && !q.is_null()
        };
        if !complete {
            return Err(Cause::SealKeyMalformed.with("RSA private key without its primes"));
        }
        Self::new(key)
    }

    /// A new key with the public exponent 65537.
    pub(in crate::crypto) fn generate(bits: u16) -> Result<Self> {
        let exponent = Number::from_bytes(&[1, 0, 1])?;
        // SAFETY: both are owned and valid; the key copies the exponent, and nobody is told of progress.
        let key = unsafe {
            let key = Inner::own(RSA_new())?;
            check(RSA_generate_key_ex(key.as_ptr(), bits.into(), exponent.as_ptr(), ptr::null_mut()))?;
            key
        };
        Self::new(key)
    }

    /// A public key from modulus and exponent, most significant byte first.
    pub(in crate::crypto) fn from_parts(modulus: &[u8], exponent: &[u8]) -> Result<Self> {
        let (n, e) = (Number::from_bytes(modulus)?, Number::from_bytes(exponent)?);
        // SAFETY: both numbers are valid; the key copies them.
        let key = Inner::own(unsafe { RSA_new_public_key(n.as_ptr(), e.as_ptr()) })
            .map_err(|_| Cause::AttributeValueInvalid.with("RSA public key"))?;
        Self::new(key)
    }

    /// The length of the modulus in bits.
    pub(in crate::crypto) fn bits(&self) -> u32 {
        // SAFETY: the key is valid.
        unsafe { RSA_bits(self.key.as_ptr()) }
    }

    pub(in crate::crypto) fn modulus(&self) -> Vec<u8> {
        // SAFETY: every key has a modulus.
        unsafe { number_bytes(RSA_get0_n(self.key.as_ptr())) }
    }

    pub(in crate::crypto) fn exponent(&self) -> Vec<u8> {
        // SAFETY: a key without public exponent is not made above.
        unsafe { number_bytes(RSA_get0_e(self.key.as_ptr())) }
    }

    /// The private exponent, padded on the left to fill `out`.
    pub(in crate::crypto) fn private_exponent(&self, out: &mut [u8]) -> Result<()> {
        // SAFETY: the key is valid; a public key yields null, which is not read.
        unsafe {
            let d = RSA_get0_d(self.key.as_ptr());
            if d.is_null() {
                return Err(Cause::CryptoLibrary.with("no private exponent"));
            }
            check(BN_bn2bin_padded(out.as_mut_ptr(), out.len(), d))
        }
    }

    /// d, p, q, d mod p - 1, d mod q - 1, and the inverse of q mod p.
    pub(in crate::crypto) fn private_numbers(&self) -> Result<[Secret; 6]> {
        let (mut p, mut q, mut dp, mut dq, mut qinv) =
            (ptr::null(), ptr::null(), ptr::null(), ptr::null(), ptr::null());
        // SAFETY: the key is valid; what it has not got is null, and not read.
        unsafe {
            RSA_get0_factors(self.key.as_ptr(), &mut p, &mut q);
            RSA_get0_crt_params(self.key.as_ptr(), &mut dp, &mut dq, &mut qinv);
            let numbers = [RSA_get0_d(self.key.as_ptr()), p, q, dp, dq, qinv];
            if numbers.iter().any(|number| number.is_null()) {
                return Err(Cause::CryptoLibrary.with("no private numbers"));
            }
            Ok(numbers.map(|number| Secret::new(number_bytes(number))))
        }
    }

    /// The private operation. The caller keeps the input within range; `out` is as long as the modulus.
    pub(in crate::crypto) fn private(&self, padding: Padding, input: &[u8], out: &mut [u8]) -> Result<()> {
        let mut len = 0;
        // SAFETY: the slices are valid for their lengths.
        let done = unsafe {
            let (to, from) = (out.as_mut_ptr(), input.as_ptr());
            RSA_sign_raw(self.key.as_ptr(), &mut len, to, out.len(), from, input.len(), padding.code())
        };
        if done == 1 && len == out.len() { Ok(()) } else { Err(private_failure()) }
    }

    pub(in crate::crypto) fn sign_pss(&self, pss: Pss, digest: &[u8], out: &mut [u8]) -> Result<()> {
        let mut len = 0;
        // SAFETY: as above; the digest has its hash's length, which AWS-LC checks.
        let done = unsafe {
            RSA_sign_pss_mgf1(
                self.key.as_ptr(),
                &mut len,
                out.as_mut_ptr(),
                out.len(),
                digest.as_ptr(),
                digest.len(),
                md(pss.hash),
                md(pss.mgf),
                pss.salt_len,
            )
        };
        if done == 1 && len == out.len() { Ok(()) } else { Err(private_failure()) }
    }

    pub(in crate::crypto) fn verify_pss(&self, pss: Pss, digest: &[u8], signature: &[u8]) -> Result<()> {
        // SAFETY: as above.
        let valid = unsafe {
            RSA_verify_pss_mgf1(
                self.key.as_ptr(),
                digest.as_ptr(),
                digest.len(),
                md(pss.hash),
                md(pss.mgf),
                pss.salt_len,
                signature.as_ptr(),
                signature.len(),
            )
        };
        check_or(valid, Cause::SignatureInvalid)
    }

    /// The public operation on a signature, its padding taken off; how many bytes of `out` are the rest.
    /// `out` is as long as the modulus.
    pub(in crate::crypto) fn recover(&self, padding: Padding, signature: &[u8], out: &mut [u8]) -> Result<usize> {
        let mut len = 0;
        // SAFETY: as above.
        let done = unsafe {
            let (to, from) = (out.as_mut_ptr(), signature.as_ptr());
            RSA_verify_raw(self.key.as_ptr(), &mut len, to, out.len(), from, signature.len(), padding.code())
        };
        check_or(done, Cause::SignatureInvalid)?;
        Ok(len)
    }

    /// The public operation after padding `input`. The caller keeps it within range; `out` is as long as the modulus.
    pub(in crate::crypto) fn encrypt(&self, padding: Padding, input: &[u8], out: &mut [u8]) -> Result<()> {
        let mut len = 0;
        // SAFETY: as above.
        check(unsafe {
            let (to, from) = (out.as_mut_ptr(), input.as_ptr());
            RSA_encrypt(self.key.as_ptr(), &mut len, to, out.len(), from, input.len(), padding.code())
        })
    }

    /// OAEP encryption. The caller keeps the message within range; `out` is as long as the modulus.
    pub(in crate::crypto) fn encrypt_oaep(&self, oaep: Oaep<'_>, message: &[u8], out: &mut [u8]) -> Result<()> {
        let mut len = out.len();
        // SAFETY: the operation is owned and initialised for encryption; the slices are valid.
        unsafe {
            let operation = Operation::new(&self.envelope)?;
            check(EVP_PKEY_encrypt_init(operation.as_ptr()))?;
            set_oaep(&operation, oaep)?;
            check(EVP_PKEY_encrypt(operation.as_ptr(), out.as_mut_ptr(), &mut len, message.as_ptr(), message.len()))
        }
    }

    /// OAEP decryption; how many bytes of `out`, which is as long as the modulus, are the message. AWS-LC
    /// looks for the message in constant time; whatever is wrong with the ciphertext is one error.
    pub(in crate::crypto) fn decrypt_oaep(&self, oaep: Oaep<'_>, ciphertext: &[u8], out: &mut [u8]) -> Result<usize> {
        let mut len = out.len();
        // SAFETY: as above.
        let done = unsafe {
            let operation = Operation::new(&self.envelope)?;
            check(EVP_PKEY_decrypt_init(operation.as_ptr()))?;
            set_oaep(&operation, oaep)?;
            let (to, from) = (out.as_mut_ptr(), ciphertext.as_ptr());
            EVP_PKEY_decrypt(operation.as_ptr(), to, &mut len, from, ciphertext.len())
        };
        // To note an error and to forget it takes some 100 ns. It is done for every ciphertext, so that the time is
        // not another answer beside the one that is given.
        if done == 1 {
            // SAFETY: the name of the file is a C string that lives for ever.
            unsafe { ERR_put_error(ERR_LIB_RSA, 0, RSA_R_OAEP_DECODING_ERROR, c"".as_ptr(), 0) };
        }
        take_error();
        if done == 1 { Ok(len) } else { Err(Cause::EncryptedDataInvalid.into()) }
    }

    pub(super) fn envelope(&self) -> *const EVP_PKEY {
        self.envelope.as_ptr()
    }

    /// Takes a reference to the key in an envelope that was parsed.
    ///
    /// # Safety
    /// `envelope` is valid and holds an RSA key.
    pub(super) unsafe fn of_envelope(envelope: *const EVP_PKEY) -> Result<Self> {
        // SAFETY: the caller's.
        Self::new(Inner::own(unsafe { EVP_PKEY_get1_RSA(envelope) })?)
    }
}

fn set_oaep(operation: &Operation, oaep: Oaep<'_>) -> Result<()> {
    let operation = operation.as_ptr();
    // SAFETY: the operation is valid; the label is copied into memory of AWS-LC's own, which the operation
    // takes over when EVP_PKEY_CTX_set0_rsa_oaep_label succeeds and which is freed here when it fails.
    unsafe {
        check(EVP_PKEY_CTX_set_rsa_padding(operation, RSA_PKCS1_OAEP_PADDING))?;
        check(EVP_PKEY_CTX_set_rsa_oaep_md(operation, md(oaep.hash)))?;
        check(EVP_PKEY_CTX_set_rsa_mgf1_md(operation, md(oaep.mgf)))?;
        if oaep.label.is_empty() {
            return Ok(());
        }
        let label = OPENSSL_malloc(oaep.label.len()).cast::<u8>();
        if label.is_null() {
            return Err(failure());
        }
        ptr::copy_nonoverlapping(oaep.label.as_ptr(), label, oaep.label.len());
        let set = EVP_PKEY_CTX_set0_rsa_oaep_label(operation, label, oaep.label.len());
        if set != 1 {
            OPENSSL_free(label.cast());
        }
        check(set)
    }
}

/// Why a private operation failed on input that was within range.
fn private_failure() -> Error {
    match take_error() {
        (library, reason) if library == ERR_LIB_RSA && reason == ERR_R_INTERNAL_ERROR => Cause::FaultDetected.into(),
        (_, reason) if reason == ERR_R_MALLOC_FAILURE => Cause::HostMemory.into(),
        (library, reason) => Cause::CryptoLibrary.with(format!("AWS-LC error {library}:{reason}")),
    }
}

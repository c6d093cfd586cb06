//! Private keys and certificates as files hold them, opened with a passphrase.

use super::{Envelope, check, owner, reader, take_error};
use crate::crypto::Secret;
use crate::crypto::key_file::{Bundle, NamedCertificate, Unreadable};
use crate::error::Result;
use aws_lc_sys::*;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};
use std::{ptr, slice};

owner!(
    /// A text to read from; what it reads is borrowed.
    Reader, BIO, BIO_vfree
);

/// Certificates as PKCS#12 gives them.
struct Certificates(ptr::NonNull<OPENSSL_STACK>);

impl Certificates {
    fn new() -> Result<Self> {
        // SAFETY: it takes nothing.
        ptr::NonNull::new(unsafe { OPENSSL_sk_new_null() }).map(Self).ok_or_else(super::failure)
    }

    fn len(&self) -> usize {
        // SAFETY: the stack is owned and valid.
        unsafe { OPENSSL_sk_num(self.0.as_ptr()) }
    }

    /// The certificate at this place, which is below `len`.
    fn get(&self, at: usize) -> *mut X509 {
        // SAFETY: the stack is owned and valid, and holds certificates alone.
        unsafe { OPENSSL_sk_value(self.0.as_ptr(), at).cast() }
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // SAFETY: the stack owns its certificates; each is freed once, and then the stack.
        unsafe {
            (0..self.len()).for_each(|at| X509_free(self.get(at)));
            OPENSSL_sk_free(self.0.as_ptr());
        }
    }
}

/// The private key in one block of PEM, as PKCS#8.
pub(in crate::crypto) fn pem(block: &[u8], passphrase: &CStr) -> std::result::Result<Secret, Unreadable> {
    let len = isize::try_from(block.len()).map_err(|_| Unreadable::Malformed)?;
    // SAFETY: the block outlives the reader, which only reads it.
    let bio = Reader::own(unsafe { BIO_new_mem_buf(block.as_ptr().cast(), len) }).map_err(|_| Unreadable::Malformed)?;
    // SAFETY: the reader is valid; without a callback the last argument is a passphrase that ends with 0, only read.
    let key = unsafe {
        PEM_read_bio_PrivateKey(bio.as_ptr(), ptr::null_mut(), None, passphrase.as_ptr().cast_mut().cast::<c_void>())
    };
    to_pkcs8(key)
}

/// The key and the certificates of a PKCS#12 file whose MAC is good.
pub(in crate::crypto) fn pkcs12(file: &[u8], passphrase: &CStr) -> std::result::Result<Bundle, Unreadable> {
    let certificates = Certificates::new().map_err(|_| Unreadable::Malformed)?;
    let (mut cbs, mut key) = (reader(file), ptr::null_mut());
    // SAFETY: the reader covers the file, the stack takes over what is added to it, the passphrase ends with 0.
    let done =
        unsafe { PKCS12_get_key_and_certs(&mut key, certificates.0.as_ptr().cast(), &mut cbs, passphrase.as_ptr()) };
    if done != 1 {
        return Err(why());
    }
    let key = match key.is_null() {
        true => None,
        false => Some(to_pkcs8(key)?),
    };
    // AWS-LC reads no further than the structure goes.
    if cbs.len != 0 {
        return Err(Unreadable::Malformed);
    }
    let certificates = (0..certificates.len()).map(|at| certificate(certificates.get(at))).collect::<Option<Vec<_>>>();
    Ok(Bundle { key, certificates: certificates.ok_or(Unreadable::Malformed)? })
}

/// `certificate` is valid.
fn certificate(certificate: *mut X509) -> Option<NamedCertificate> {
    // SAFETY: the certificate is valid. i2d_X509 says how much it needs before it writes that; a name has the length
    // that is told beside it, and is copied.
    unsafe {
        let len = usize::try_from(i2d_X509(certificate, ptr::null_mut())).ok()?;
        let mut der = vec![0; len];
        let mut at = der.as_mut_ptr();
        if usize::try_from(i2d_X509(certificate, &mut at)).ok()? != len {
            return None;
        }
        let mut name_len: c_int = 0;
        let name = X509_alias_get0(certificate, &mut name_len);
        let name = (!name.is_null()).then(|| slice::from_raw_parts(name, usize::try_from(name_len).unwrap_or(0)));
        let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
        Some(NamedCertificate { der, name })
    }
}

/// Takes over a key that a parser returned, null being its failure; as PKCS#8.
fn to_pkcs8(key: *mut EVP_PKEY) -> std::result::Result<Secret, Unreadable> {
    if key.is_null() {
        return Err(why());
    }
    let key = Envelope::own(key).map_err(|_| Unreadable::Malformed)?;
    let mut cbb = MaybeUninit::<CBB>::uninit();
    let cbb = cbb.as_mut_ptr();
    let (mut data, mut len) = (ptr::null_mut(), 0);
    // SAFETY: CBB_zero initialises the builder, so that CBB_cleanup is valid whatever happens between; CBB_finish
    // hands out a block of `len` bytes, which is copied and freed, and freeing wipes it.
    unsafe {
        CBB_zero(cbb);
        let written = check(CBB_init(cbb, 4096))
            .and_then(|()| check(EVP_marshal_private_key(cbb, key.as_ptr())))
            .and_then(|()| check(CBB_finish(cbb, &mut data, &mut len)))
            .map(|()| {
                let copy = Secret::new(slice::from_raw_parts(data, len).to_vec());
                OPENSSL_free(data.cast());
                copy
            });
        CBB_cleanup(cbb);
        written.map_err(|_| Unreadable::Unsupported)
    }
}

/// What AWS-LC's last failure says of a file.
fn why() -> Unreadable {
    const PKCS8: c_int = ERR_LIB_PKCS8;
    const PKCS12: c_int = ERR_LIB_PKCS12;
    const PEM: c_int = ERR_LIB_PEM;
    const CIPHER: c_int = ERR_LIB_CIPHER;
    const EVP: c_int = ERR_LIB_EVP;
    const DIGEST: c_int = ERR_LIB_DIGEST;
    const UNSUPPORTED: &[c_int] = &[
        PKCS8_R_UNKNOWN_ALGORITHM,
        PKCS8_R_UNKNOWN_CIPHER,
        PKCS8_R_UNKNOWN_CIPHER_ALGORITHM,
        PKCS8_R_UNKNOWN_DIGEST,
        PKCS8_R_UNKNOWN_HASH,
        PKCS8_R_UNSUPPORTED_PRIVATE_KEY_ALGORITHM,
        PKCS8_R_UNSUPPORTED_KEYLENGTH,
        PKCS8_R_UNSUPPORTED_SALT_TYPE,
        PKCS8_R_UNSUPPORTED_CIPHER,
        PKCS8_R_UNSUPPORTED_KEY_DERIVATION_FUNCTION,
        PKCS8_R_UNSUPPORTED_PRF,
        PKCS8_R_UNSUPPORTED_OPTIONS,
        PKCS8_R_PKCS12_PUBLIC_KEY_INTEGRITY_NOT_SUPPORTED,
    ];
    match take_error() {
        (PKCS8 | PKCS12, PKCS8_R_INCORRECT_PASSWORD) => Unreadable::Passphrase,
        (PKCS8, PKCS8_R_MULTIPLE_PRIVATE_KEYS_IN_PKCS12) => Unreadable::SeveralKeys,
        (PKCS8, PKCS8_R_MISSING_MAC) => Unreadable::NoMac,
        (PKCS8, reason) if UNSUPPORTED.contains(&reason) => Unreadable::Unsupported,
        (PEM, PEM_R_UNSUPPORTED_CIPHER | PEM_R_UNSUPPORTED_ENCRYPTION) => Unreadable::Unsupported,
        (EVP, EVP_R_UNSUPPORTED_ALGORITHM | EVP_R_UNKNOWN_PUBLIC_KEY_TYPE) => Unreadable::Unsupported,
        (DIGEST, DIGEST_R_UNKNOWN_HASH) => Unreadable::Unsupported,
        (CIPHER, CIPHER_R_BAD_DECRYPT) | (PEM, PEM_R_BAD_DECRYPT | PEM_R_BAD_PASSWORD_READ) => Unreadable::Passphrase,
        _ => Unreadable::Malformed,
    }
}

//! Private keys and certificates in the files that other programs keep them in.
#![forbid(unsafe_code)]

use super::Secret;
use super::aws_lc::key_file;
use super::stack::{LOAD, WipedAfter};
use std::ffi::CStr;

/// What a PKCS#12 file holds.
pub struct Bundle {
    /// The private key, as PKCS#8.
    pub key: Option<Secret>,
    /// The certificates, in the order of the file.
    pub certificates: Vec<NamedCertificate>,
}

/// A certificate with the name that a PKCS#12 file gives it.
pub struct NamedCertificate {
    /// X.509, DER.
    pub der: Vec<u8>,
    /// `friendlyName`.
    pub name: Option<String>,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The passphrase is wrong, or the file damaged: nobody can tell one from the other.
    Passphrase,
    /// Encrypted, or of a kind, that is not known here.
    Unsupported,
    /// A PKCS#12 file with more than one private key.
    SeveralKeys,
    /// A PKCS#12 file without a MAC, of which nobody can say that it is whole.
    NoMac,
    /// Not what it says that it is.
    Malformed,
}

/// The longest passphrase, in bytes: AWS-LC takes no longer one for PEM.
pub const MAX_PASSPHRASE: usize = 1000;

/// A passphrase as AWS-LC wants it; `Unreadable::Passphrase` if it can be none.
fn terminated(passphrase: &Secret) -> Result<Secret, Unreadable> {
    if passphrase.len() > MAX_PASSPHRASE || passphrase.expose().contains(&0) {
        return Err(Unreadable::Passphrase);
    }
    let mut text = Secret::with_capacity(passphrase.len() + 1).map_err(|_| Unreadable::Passphrase)?;
    let added = text.append(passphrase.expose()).and_then(|()| text.append(&[0]));
    added.map(|()| text).map_err(|_| Unreadable::Passphrase)
}

fn with_passphrase<T>(passphrase: &Secret, open: impl FnOnce(&CStr) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    let _wiped = WipedAfter::<LOAD>;
    let text = terminated(passphrase)?;
    open(CStr::from_bytes_with_nul(text.expose()).map_err(|_| Unreadable::Passphrase)?)
}

/// The private key in one block of PEM, as PKCS#8: `RSA PRIVATE KEY` (PKCS#1), `EC PRIVATE KEY` (SEC 1), both also with
/// the encryption of old (`DEK-Info`), `PRIVATE KEY` and `ENCRYPTED PRIVATE KEY` (PKCS#8: PBES2 with PBKDF2, and the
/// old PBES1 of PKCS#12). What is not encrypted is read with any passphrase.
pub fn from_pem(block: &[u8], passphrase: &Secret) -> Result<Secret, Unreadable> {
    with_passphrase(passphrase, |passphrase| key_file::pem(block, passphrase))
}

/// What a PKCS#12 file holds, once its MAC is found to be good: PBES2 with AES as well as the old 3DES and RC2, a MAC
/// with any hash. At most one private key; other bags than keys and X.509 certificates are passed over.
pub fn from_pkcs12(file: &[u8], passphrase: &Secret) -> Result<Bundle, Unreadable> {
    with_passphrase(passphrase, |passphrase| key_file::pkcs12(file, passphrase))
}

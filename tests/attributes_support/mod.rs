//! The specification's tables of attributes, by hand.
//!
//! The footnotes are copied from PKCS#11 3.2, sections 4.4 to 4.12, 6.1, 6.3, 6.8, 6.10, 6.58 and 6.67, by hand. `c`
//! marks what section 4.4 lets a copy change. Deviations, where the specification leaves it to the token:
//!
//! - `d`: may be modified, though no footnote says so (values of data objects, levels of trust).
//! - `o`: optional; it may be absent.
//! - `x`: a certificate's subject, which the module reads from the certificate if nobody names it.
//! - `g`: follows from the key; another value is `CKR_ATTRIBUTE_VALUE_INVALID`, as section 4.10 has it.
//! - `s`: follows from the seed, and may be named beside it or instead of it.

use Sample::{Bytes, Flag, Number};
use cryptoki_sys::*;

/// A value that is valid and not what the attribute is by default.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    Flag(bool),
    Number(CK_ULONG),
    Bytes(&'static [u8]),
}

pub(crate) type Row = (CK_ATTRIBUTE_TYPE, &'static str, Sample);

pub(crate) const STORAGE: &[Row] = &[
    (CKA_CLASS, "1", Number(CKO_OTP_KEY)),
    (CKA_UNIQUE_ID, "2 4 6", Bytes(b"me")),
    (CKA_TOKEN, "c", Flag(true)),
    (CKA_MODIFIABLE, "c", Flag(false)),
    (CKA_LABEL, "8", Bytes(b"label")),
    (CKA_COPYABLE, "12", Flag(false)),
    (CKA_DESTROYABLE, "c", Flag(false)),
];

pub(crate) const DATA: &[Row] = &[
    (CKA_PRIVATE, "c", Flag(true)),
    (CKA_APPLICATION, "d", Bytes(b"application")),
    (CKA_OBJECT_ID, "d", Bytes(&[6, 1, 1])),
    (CKA_VALUE, "d", Bytes(b"value")),
];

pub(crate) const CERTIFICATE: &[Row] = &[
    (CKA_PRIVATE, "c", Flag(true)),
    (CKA_CERTIFICATE_TYPE, "1", Number(CKC_X_509_ATTR_CERT)),
    (CKA_TRUSTED, "10", Flag(true)),
    (CKA_CERTIFICATE_CATEGORY, "", Number(CK_CERTIFICATE_CATEGORY_AUTHORITY)),
    (CKA_CHECK_VALUE, "", Bytes(b"abc")),
    (CKA_START_DATE, "", Bytes(b"20260101")),
    (CKA_END_DATE, "", Bytes(b"20270101")),
    (CKA_PUBLIC_KEY_INFO, "", Bytes(b"info")),
    (CKA_SUBJECT, "x", Bytes(b"subject")),
    (CKA_ID, "8", Bytes(b"id")),
    (CKA_ISSUER, "8", Bytes(b"issuer")),
    (CKA_SERIAL_NUMBER, "8", Bytes(b"serial")),
    (CKA_VALUE, "1", Bytes(b"value")),
    (CKA_URL, "", Bytes(b"url")),
    (CKA_HASH_OF_SUBJECT_PUBLIC_KEY, "", Bytes(b"hash")),
    (CKA_HASH_OF_ISSUER_PUBLIC_KEY, "", Bytes(b"hash")),
    (CKA_JAVA_MIDP_SECURITY_DOMAIN, "", Number(1)),
    (CKA_NAME_HASH_ALGORITHM, "", Number(CKM_SHA256)),
];

pub(crate) const TRUST: &[Row] = &[
    (CKA_PRIVATE, "c", Flag(true)),
    (CKA_ISSUER, "1", Bytes(b"issuer 2")),
    (CKA_SERIAL_NUMBER, "1", Bytes(b"serial 2")),
    (CKA_HASH_OF_CERTIFICATE, "", Bytes(b"hash")),
    (CKA_NAME_HASH_ALGORITHM, "", Number(CKM_SHA256)),
    (CKA_TRUST_SERVER_AUTH, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
    (CKA_TRUST_CLIENT_AUTH, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
    (CKA_TRUST_CODE_SIGNING, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
    (CKA_TRUST_EMAIL_PROTECTION, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
    (CKA_TRUST_IPSEC_IKE, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
    (CKA_TRUST_TIME_STAMPING, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
    (CKA_TRUST_OCSP_SIGNING, "d", Number(CKT_NOT_TRUSTED as CK_ULONG)),
];

pub(crate) const KEY: &[Row] = &[
    (CKA_KEY_TYPE, "1 5", Number(CKK_DSA)),
    (CKA_ID, "8", Bytes(b"id")),
    (CKA_START_DATE, "8", Bytes(b"20260101")),
    (CKA_END_DATE, "8", Bytes(b"20270101")),
    (CKA_DERIVE, "8", Flag(false)),
    (CKA_LOCAL, "2 4 6", Flag(true)),
    (CKA_KEY_GEN_MECHANISM, "2 4 6", Number(CKM_AES_KEY_GEN)),
    (CKA_ALLOWED_MECHANISMS, "o", Bytes(&CKM_ECDSA.to_ne_bytes())),
];

pub(crate) const PUBLIC: &[Row] = &[
    (CKA_PRIVATE, "c", Flag(true)),
    (CKA_SUBJECT, "8", Bytes(b"subject")),
    (CKA_VERIFY, "8", Flag(false)),
    (CKA_ENCRYPT, "8", Flag(true)),
    (CKA_VERIFY_RECOVER, "8", Flag(true)),
    (CKA_WRAP, "8", Flag(true)),
    (CKA_ENCAPSULATE, "8", Flag(true)),
    (CKA_TRUSTED, "10", Flag(true)),
    (CKA_WRAP_TEMPLATE, "", Bytes(b"")),
    (CKA_PUBLIC_KEY_INFO, "o", Bytes(b"info")),
];

pub(crate) const EC_PUBLIC: &[Row] = &[(CKA_EC_PARAMS, "1 3", Bytes(P384)), (CKA_EC_POINT, "1 4", Bytes(&[4, 1, 0]))];

pub(crate) const ML_DSA_PUBLIC: &[Row] =
    &[(CKA_PARAMETER_SET, "1 3", Number(CKP_ML_DSA_65)), (CKA_VALUE, "1 4", Bytes(&[2; 1312]))];

pub(crate) const PRIVATE: &[Row] = &[
    // A copy never shows what its original hides.
    (CKA_PRIVATE, "", Flag(false)),
    (CKA_SUBJECT, "8", Bytes(b"subject")),
    (CKA_SENSITIVE, "8 11", Flag(true)),
    (CKA_DECRYPT, "8", Flag(true)),
    (CKA_SIGN, "8", Flag(false)),
    (CKA_SIGN_RECOVER, "8", Flag(true)),
    (CKA_UNWRAP, "8", Flag(true)),
    (CKA_DECAPSULATE, "8", Flag(true)),
    (CKA_EXTRACTABLE, "8 12", Flag(false)),
    (CKA_ALWAYS_SENSITIVE, "2 4 6", Flag(true)),
    (CKA_NEVER_EXTRACTABLE, "2 4 6", Flag(true)),
    (CKA_WRAP_WITH_TRUSTED, "11", Flag(true)),
    (CKA_UNWRAP_TEMPLATE, "", Bytes(b"")),
    (CKA_DERIVE_TEMPLATE, "", Bytes(b"")),
    (CKA_ALWAYS_AUTHENTICATE, "", Flag(true)),
    (CKA_PUBLIC_KEY_INFO, "g", Bytes(b"info")),
];

pub(crate) const EC_PRIVATE: &[Row] = &[(CKA_EC_PARAMS, "1 6", Bytes(P384)), (CKA_VALUE, "1 4 6 7", Bytes(&[2; 32]))];

pub(crate) const ML_DSA_PRIVATE: &[Row] = &[
    // Unlike the table, the module lets a template of generation name the public half's parameter set.
    (CKA_PARAMETER_SET, "1 6", Number(CKP_ML_DSA_65)),
    (CKA_SEED, "1 4 6 7", Bytes(&[2; 32])),
    (CKA_VALUE, "s 4 6 7", Bytes(&[2; 2560])),
];

pub(crate) const SECRET: &[Row] = &[
    (CKA_PRIVATE, "", Flag(false)),
    (CKA_SENSITIVE, "8 11", Flag(true)),
    (CKA_ENCRYPT, "8", Flag(false)),
    (CKA_DECRYPT, "8", Flag(false)),
    (CKA_EXTRACTABLE, "8 12", Flag(false)),
    (CKA_ALWAYS_SENSITIVE, "2 4 6", Flag(true)),
    (CKA_NEVER_EXTRACTABLE, "2 4 6", Flag(true)),
    (CKA_CHECK_VALUE, "o", Bytes(b"abc")),
    (CKA_WRAP_WITH_TRUSTED, "11", Flag(true)),
    (CKA_TRUSTED, "10", Flag(true)),
    (CKA_WRAP_TEMPLATE, "", Bytes(b"")),
    (CKA_UNWRAP_TEMPLATE, "", Bytes(b"")),
    (CKA_DERIVE_TEMPLATE, "", Bytes(b"")),
];

pub(crate) const AES: &[Row] = &[
    (CKA_SIGN, "8", Flag(false)),
    (CKA_VERIFY, "8", Flag(false)),
    (CKA_WRAP, "8", Flag(false)),
    (CKA_UNWRAP, "8", Flag(false)),
    (CKA_VALUE, "1 4 6 7", Bytes(&[2; 16])),
    (CKA_VALUE_LEN, "2 3 6", Number(32)),
];

pub(crate) const CHACHA20: &[Row] = &[
    (CKA_SIGN, "8", Flag(true)),
    (CKA_VERIFY, "8", Flag(true)),
    (CKA_WRAP, "8", Flag(true)),
    (CKA_UNWRAP, "8", Flag(true)),
    (CKA_VALUE, "1 4 6 7", Bytes(&[2; 32])),
    (CKA_VALUE_LEN, "2 6", Number(16)),
];

pub(crate) const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub(crate) const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 34];

/// The outer structure of a certificate, with single bytes for what lies deeper.
pub(crate) const DER: &[u8] = &[
    0x30, 0x1b, 0x30, 0x14, 0xa0, 3, 2, 1, 2, 0x02, 1, 0x05, 0x30, 0, 0x30, 1, 0x41, 0x30, 0, 0x30, 1, 0x42, 0x30, 0,
    0x30, 0x00, 0x03, 0x01, 0x00,
];

//! The tables: an attribute, its footnotes, and a value that is valid and not the default.

use super::Row;
use super::Sample::{Bytes, Flag, Number};
use super::cases::P384;
use cryptoki_sys::*;

pub(crate) const STORAGE: &[Row] = &[
    (CKA_CLASS, "1", Number(CKO_HW_FEATURE)),
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

/// Every certificate. The value is in the tables of each type.
pub(crate) const CERTIFICATE: &[Row] = &[
    (CKA_PRIVATE, "c", Flag(true)),
    (CKA_CERTIFICATE_TYPE, "1", Number(CKC_VENDOR_DEFINED)),
    (CKA_TRUSTED, "10", Flag(true)),
    (CKA_CERTIFICATE_CATEGORY, "", Number(CK_CERTIFICATE_CATEGORY_AUTHORITY)),
    (CKA_CHECK_VALUE, "s", Bytes(b"abc")),
    (CKA_START_DATE, "", Bytes(b"20260101")),
    (CKA_END_DATE, "", Bytes(b"20270101")),
    (CKA_VALUE, "1", Bytes(b"value")),
];

/// Where certificates are that are not here.
pub(crate) const ELSEWHERE: &[Row] = &[
    (CKA_URL, "", Bytes(b"url")),
    (CKA_HASH_OF_SUBJECT_PUBLIC_KEY, "", Bytes(b"hash")),
    (CKA_HASH_OF_ISSUER_PUBLIC_KEY, "", Bytes(b"hash")),
    (CKA_NAME_HASH_ALGORITHM, "", Number(CKM_SHA256)),
];

pub(crate) const X_509: &[Row] = &[
    (CKA_PUBLIC_KEY_INFO, "s", Bytes(b"info")),
    (CKA_SUBJECT, "x", Bytes(b"subject")),
    (CKA_ID, "8", Bytes(b"id")),
    (CKA_ISSUER, "8", Bytes(b"issuer")),
    (CKA_SERIAL_NUMBER, "8", Bytes(b"serial")),
    (CKA_JAVA_MIDP_SECURITY_DOMAIN, "", Number(1)),
];

pub(crate) const WTLS: &[Row] = &[
    (CKA_PUBLIC_KEY_INFO, "", Bytes(b"info")),
    (CKA_SUBJECT, "1", Bytes(b"subject")),
    (CKA_ISSUER, "8", Bytes(b"issuer")),
];

pub(crate) const ATTRIBUTE_CERTIFICATE: &[Row] = &[
    (CKA_PUBLIC_KEY_INFO, "", Bytes(b"info")),
    (CKA_OWNER, "1", Bytes(b"owner")),
    (CKA_AC_ISSUER, "8", Bytes(b"issuer")),
    (CKA_SERIAL_NUMBER, "8", Bytes(b"serial")),
    (CKA_ATTR_TYPES, "8", Bytes(b"types")),
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

/// Every set of domain parameters.
pub(crate) const DOMAIN: &[Row] = &[
    (CKA_PRIVATE, "c", Flag(true)),
    (CKA_KEY_TYPE, "1", Number(CKK_RSA)),
    (CKA_LOCAL, "2 4", Flag(true)),
    (CKA_PRIME, "1 4", Bytes(&[13])),
    (CKA_BASE, "1 4", Bytes(&[3])),
    (CKA_PRIME_BITS, "2 3", Number(7)),
];

pub(crate) const DSA_DOMAIN: &[Row] = &[(CKA_SUBPRIME, "1 4", Bytes(&[7]))];

pub(crate) const X9_42_DOMAIN: &[Row] = &[(CKA_SUBPRIME, "1 4", Bytes(&[7])), (CKA_SUBPRIME_BITS, "2 3", Number(7))];

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
    (CKA_ENCAPSULATE_TEMPLATE, "", Bytes(b"")),
    (CKA_PUBLIC_KEY_INFO, "s", Bytes(b"info")),
    (CKA_PUBLIC_CRC64_VALUE, "n", Bytes(&[1; 8])),
];

pub(crate) const RSA_PUBLIC: &[Row] = &[
    (CKA_MODULUS, "1 4", Bytes(&[0xc1; 256])),
    (CKA_MODULUS_BITS, "2 3", Number(3072)),
    (CKA_PUBLIC_EXPONENT, "1", Bytes(&[3])),
];

pub(crate) const EC_PUBLIC: &[Row] = &[(CKA_EC_PARAMS, "1 3", Bytes(P384)), (CKA_EC_POINT, "1 4", Bytes(&[4, 1, 0]))];

pub(crate) const ML_DSA_PUBLIC: &[Row] =
    &[(CKA_PARAMETER_SET, "1 3", Number(CKP_ML_DSA_65)), (CKA_VALUE, "1 4", Bytes(&[2; 1312]))];

pub(crate) const SLH_DSA_PUBLIC: &[Row] =
    &[(CKA_PARAMETER_SET, "1 3", Number(CKP_SLH_DSA_SHA2_192F)), (CKA_VALUE, "1 4", Bytes(&[2; 32]))];

pub(crate) const DH_PUBLIC: &[Row] =
    &[(CKA_PRIME, "1 3", Bytes(&[23])), (CKA_BASE, "1 3", Bytes(&[3])), (CKA_VALUE, "1 4", Bytes(&[4]))];

pub(crate) const DH_PRIVATE: &[Row] = &[
    (CKA_PRIME, "1 6", Bytes(&[23])),
    (CKA_BASE, "1 6", Bytes(&[3])),
    (CKA_VALUE, "1 4 6 7", Bytes(&[2; 40])),
    (CKA_VALUE_BITS, "2 6", Number(1000)),
];

pub(crate) const ML_KEM_PUBLIC: &[Row] =
    &[(CKA_PARAMETER_SET, "1 3", Number(CKP_ML_KEM_768)), (CKA_VALUE, "1 4", Bytes(&[2; 800]))];

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
    (CKA_DECAPSULATE_TEMPLATE, "", Bytes(b"")),
    (CKA_ALWAYS_AUTHENTICATE, "", Flag(true)),
    (CKA_PUBLIC_KEY_INFO, "g", Bytes(b"info")),
    (CKA_PUBLIC_CRC64_VALUE, "n", Bytes(&[1; 8])),
];

pub(crate) const RSA_PRIVATE: &[Row] = &[
    (CKA_MODULUS, "1 4 6", Bytes(&[0xc1; 256])),
    (CKA_PUBLIC_EXPONENT, "1 4 6", Bytes(&[3])),
    (CKA_PRIVATE_EXPONENT, "1 4 6 7", Bytes(&[3])),
    (CKA_PRIME_1, "s 4 6 7", Bytes(&[13])),
    (CKA_PRIME_2, "s 4 6 7", Bytes(&[13])),
    (CKA_EXPONENT_1, "s 4 6 7", Bytes(&[3])),
    (CKA_EXPONENT_2, "s 4 6 7", Bytes(&[3])),
    (CKA_COEFFICIENT, "s 4 6 7", Bytes(&[3])),
];

pub(crate) const EC_PRIVATE: &[Row] = &[(CKA_EC_PARAMS, "1 6", Bytes(P384)), (CKA_VALUE, "1 4 6 7", Bytes(&[2; 32]))];

pub(crate) const SLH_DSA_PRIVATE: &[Row] =
    &[(CKA_PARAMETER_SET, "1 6", Number(CKP_SLH_DSA_SHA2_192F)), (CKA_VALUE, "1 4 6 7", Bytes(SLH_DSA_KEY))];

/// A key of SLH-DSA-SHA2-128f: its seeds are the bytes 0 to 47, and the root follows from them.
pub(crate) const SLH_DSA_KEY: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12,
    0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25,
    0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x3b, 0x56, 0xe8, 0x16, 0x84, 0x7f, 0x00, 0x03, 0x86,
    0xae, 0xec, 0x2e, 0x2b, 0xb9, 0xe1, 0xb5,
];

pub(crate) const ML_DSA_PRIVATE: &[Row] = &[
    (CKA_PARAMETER_SET, "1 6", Number(CKP_ML_DSA_65)),
    (CKA_SEED, "1 4 6 7", Bytes(&[2; 32])),
    (CKA_VALUE, "s 4 6 7", Bytes(&[2; 2560])),
];

pub(crate) const ML_KEM_PRIVATE: &[Row] = &[
    (CKA_PARAMETER_SET, "1 6", Number(CKP_ML_KEM_768)),
    (CKA_SEED, "1 4 6 7", Bytes(&[2; 64])),
    (CKA_VALUE, "s 4 6 7", Bytes(&[2; 1632])),
];

pub(crate) const SECRET: &[Row] = &[
    (CKA_PRIVATE, "", Flag(false)),
    (CKA_SENSITIVE, "8 11", Flag(true)),
    (CKA_ENCRYPT, "8", Flag(false)),
    (CKA_DECRYPT, "8 v", Flag(false)),
    (CKA_EXTRACTABLE, "8 12", Flag(false)),
    (CKA_ALWAYS_SENSITIVE, "2 4 6", Flag(true)),
    (CKA_NEVER_EXTRACTABLE, "2 4 6", Flag(true)),
    (CKA_CHECK_VALUE, "s o", Bytes(b"abc")),
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

/// Generic secrets, and keys of one HMAC alone.
pub(crate) const GENERIC: &[Row] = &[
    (CKA_SIGN, "8", Flag(false)),
    (CKA_VERIFY, "8", Flag(false)),
    (CKA_WRAP, "8", Flag(true)),
    (CKA_UNWRAP, "8", Flag(true)),
    (CKA_VALUE, "1 4 6 7", Bytes(&[2; 16])),
    (CKA_VALUE_LEN, "2 3", Number(32)),
];

/// One-time passwords by a counter (section 6.53.2).
pub(crate) const HOTP: &[Row] = &[
    (CKA_SIGN, "8", Flag(false)),
    (CKA_VERIFY, "8", Flag(false)),
    (CKA_WRAP, "8", Flag(true)),
    (CKA_UNWRAP, "8", Flag(true)),
    (CKA_OTP_FORMAT, "s", Number(CK_OTP_FORMAT_BINARY)),
    (CKA_OTP_LENGTH, "", Number(8)),
    (CKA_OTP_USER_FRIENDLY_MODE, "", Flag(false)),
    (CKA_OTP_CHALLENGE_REQUIREMENT, "s", Number(CK_OTP_PARAM_MANDATORY)),
    (CKA_OTP_TIME_REQUIREMENT, "s", Number(CK_OTP_PARAM_MANDATORY)),
    (CKA_OTP_COUNTER_REQUIREMENT, "", Number(CK_OTP_PARAM_MANDATORY)),
    (CKA_OTP_PIN_REQUIREMENT, "s", Number(CK_OTP_PARAM_MANDATORY)),
    (CKA_OTP_COUNTER, "", Bytes(&[0, 0, 0, 0, 0, 0, 1, 2])),
    (CKA_OTP_TIME, "s", Bytes(b"20260101000000")),
    (CKA_OTP_USER_IDENTIFIER, "", Bytes(b"user")),
    (CKA_OTP_SERVICE_IDENTIFIER, "", Bytes(b"service")),
    (CKA_OTP_SERVICE_LOGO, "", Bytes(b"logo")),
    (CKA_OTP_SERVICE_LOGO_TYPE, "", Bytes(b"image/png")),
    (CKA_VALUE, "1 4 6 7", Bytes(&[2; 20])),
    (CKA_VALUE_LEN, "2 3", Number(32)),
];

pub(crate) const CHACHA20: &[Row] = &[
    (CKA_SIGN, "8", Flag(true)),
    (CKA_VERIFY, "8", Flag(true)),
    (CKA_WRAP, "8", Flag(true)),
    (CKA_UNWRAP, "8", Flag(true)),
    (CKA_VALUE, "1 4 6 7", Bytes(&[2; 32])),
    (CKA_VALUE_LEN, "2 6", Number(16)),
];

//! What kind of value each attribute has, and the canonical form in which values are kept.
//!
//! Stores keep values independent of the machine: `CK_ULONG` as eight bytes, big-endian, `CK_BBOOL`
//! as one byte 0 or 1, everything else as the bytes it is. Callers see the native forms.

use super::nested;
use super::vendor::*;
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// `CK_UNAVAILABLE_INFORMATION`, which the bindings do not carry.
pub const UNAVAILABLE: CK_ULONG = CK_ULONG::MAX;

/// The kind of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `CK_BBOOL`.
    Bool,
    /// `CK_ULONG` and its synonyms.
    Ulong,
    /// A byte array or string of any length.
    Bytes,
    /// `CK_DATE`: eight ASCII digits, or empty.
    Date,
    /// An array of `CK_ULONG`, such as `CKA_ALLOWED_MECHANISMS`.
    Ulongs,
    /// An array of `CK_ATTRIBUTE`, such as `CKA_UNWRAP_TEMPLATE`; [`nested`] says how its bytes lie here.
    Template,
}

macro_rules! kinds {
    ($($name:ident $kind:ident;)*) => {
        const TABLE: &[(CK_ATTRIBUTE_TYPE, &str, Kind)] = &[$(($name, stringify!($name), Kind::$kind),)*];
    };
}

kinds! {
    CKA_CLASS Ulong;                CKA_TOKEN Bool;                 CKA_PRIVATE Bool;
    CKA_LABEL Bytes;                CKA_UNIQUE_ID Bytes;            CKA_APPLICATION Bytes;
    CKA_VALUE Bytes;                CKA_OBJECT_ID Bytes;            CKA_CERTIFICATE_TYPE Ulong;
    CKA_ISSUER Bytes;               CKA_SERIAL_NUMBER Bytes;        CKA_AC_ISSUER Bytes;
    CKA_OWNER Bytes;                CKA_ATTR_TYPES Bytes;           CKA_TRUSTED Bool;
    CKA_CERTIFICATE_CATEGORY Ulong; CKA_JAVA_MIDP_SECURITY_DOMAIN Ulong; CKA_URL Bytes;
    CKA_HASH_OF_SUBJECT_PUBLIC_KEY Bytes; CKA_HASH_OF_ISSUER_PUBLIC_KEY Bytes; CKA_NAME_HASH_ALGORITHM Ulong;
    CKA_CHECK_VALUE Bytes;          CKA_KEY_TYPE Ulong;             CKA_SUBJECT Bytes;
    CKA_ID Bytes;                   CKA_SENSITIVE Bool;             CKA_ENCRYPT Bool;
    CKA_DECRYPT Bool;               CKA_WRAP Bool;                  CKA_UNWRAP Bool;
    CKA_SIGN Bool;                  CKA_SIGN_RECOVER Bool;          CKA_VERIFY Bool;
    CKA_VERIFY_RECOVER Bool;        CKA_DERIVE Bool;                CKA_START_DATE Date;
    CKA_END_DATE Date;              CKA_MODULUS Bytes;              CKA_MODULUS_BITS Ulong;
    CKA_PUBLIC_EXPONENT Bytes;      CKA_PRIVATE_EXPONENT Bytes;     CKA_PRIME_1 Bytes;
    CKA_PRIME_2 Bytes;              CKA_EXPONENT_1 Bytes;           CKA_EXPONENT_2 Bytes;
    CKA_COEFFICIENT Bytes;          CKA_PUBLIC_KEY_INFO Bytes;      CKA_EXTRACTABLE Bool;
    CKA_LOCAL Bool;                 CKA_NEVER_EXTRACTABLE Bool;     CKA_ALWAYS_SENSITIVE Bool;
    CKA_KEY_GEN_MECHANISM Ulong;    CKA_MODIFIABLE Bool;            CKA_COPYABLE Bool;
    CKA_DESTROYABLE Bool;           CKA_EC_PARAMS Bytes;            CKA_EC_POINT Bytes;
    CKA_ALWAYS_AUTHENTICATE Bool;   CKA_WRAP_WITH_TRUSTED Bool;     CKA_WRAP_TEMPLATE Template;
    CKA_UNWRAP_TEMPLATE Template;   CKA_DERIVE_TEMPLATE Template;   CKA_ALLOWED_MECHANISMS Ulongs;
    CKA_VALUE_LEN Ulong;            CKA_ENCAPSULATE Bool;           CKA_DECAPSULATE Bool;
    CKA_PROFILE_ID Ulong;           CKA_OBJECT_VALIDATION_FLAGS Ulong;
    CKA_MECHANISM_TYPE Ulong;       CKA_HASH_OF_CERTIFICATE Bytes;  CKA_TRUST_SERVER_AUTH Ulong;
    CKA_TRUST_CLIENT_AUTH Ulong;    CKA_TRUST_CODE_SIGNING Ulong;   CKA_TRUST_EMAIL_PROTECTION Ulong;
    CKA_TRUST_IPSEC_IKE Ulong;      CKA_TRUST_TIME_STAMPING Ulong;  CKA_TRUST_OCSP_SIGNING Ulong;
    CKA_PRIME Bytes;                CKA_SUBPRIME Bytes;             CKA_BASE Bytes;
    CKA_VALUE_BITS Ulong;           CKA_PRIME_BITS Ulong;           CKA_SUBPRIME_BITS Ulong;        CKA_DATAKEY_CIPHERTEXT_BLOB Bytes;
    CKA_DATAKEY_ENCRYPTION_CONTEXT Bytes; CKA_DATAKEY_KMS_KEY_ARN Bytes; CKA_DATAKEY_SPEC Bytes;
    CKA_PARAMETER_SET Ulong;        CKA_SEED Bytes;                 CKA_ENCAPSULATE_TEMPLATE Template;
    CKA_DECAPSULATE_TEMPLATE Template; CKA_OTP_FORMAT Ulong;        CKA_OTP_LENGTH Ulong;
    CKA_OTP_USER_FRIENDLY_MODE Bool; CKA_OTP_CHALLENGE_REQUIREMENT Ulong; CKA_OTP_TIME_REQUIREMENT Ulong;
    CKA_OTP_COUNTER_REQUIREMENT Ulong; CKA_OTP_PIN_REQUIREMENT Ulong; CKA_OTP_COUNTER Bytes;
    CKA_OTP_TIME Bytes;             CKA_OTP_USER_IDENTIFIER Bytes;  CKA_OTP_SERVICE_IDENTIFIER Bytes;
    CKA_OTP_SERVICE_LOGO Bytes;     CKA_OTP_SERVICE_LOGO_TYPE Bytes;
}

/// The kind of the attribute's value; `None` for an attribute that this module does not know.
pub fn kind(attribute: CK_ATTRIBUTE_TYPE) -> Option<Kind> {
    TABLE.iter().find(|row| row.0 == attribute).map(|row| row.2)
}

/// The attribute's name, for messages and documents.
pub fn name(attribute: CK_ATTRIBUTE_TYPE) -> String {
    TABLE.iter().find(|row| row.0 == attribute).map_or_else(|| format!("0x{attribute:08X}"), |row| row.1.to_owned())
}

const NATIVE: usize = size_of::<CK_ULONG>();
const _: () = assert!(NATIVE == 8, "CK_ULONG must have 64 bits");

/// A caller's value in canonical form. `AttributeValueInvalid` if its length or content does not fit
/// the attribute's kind.
pub fn canonical(attribute: CK_ATTRIBUTE_TYPE, kind: Kind, value: &[u8]) -> Result<Vec<u8>> {
    let bad = || Cause::AttributeValueInvalid.with(format!("{} of {} bytes", name(attribute), value.len()));
    match kind {
        Kind::Bool => match value {
            [byte] => Ok(vec![u8::from(*byte != CK_FALSE)]),
            _ => Err(bad()),
        },
        Kind::Ulong => {
            <[u8; NATIVE]>::try_from(value).map(|native| ulong(CK_ULONG::from_ne_bytes(native))).map_err(|_| bad())
        }
        Kind::Bytes => Ok(value.to_vec()),
        Kind::Date if value.is_empty() => Ok(Vec::new()),
        Kind::Date if value.len() == 8 && value.iter().all(u8::is_ascii_digit) => Ok(value.to_vec()),
        Kind::Date => Err(bad()),
        Kind::Ulongs => {
            let (chunks, rest) = value.as_chunks::<NATIVE>();
            if rest.is_empty() {
                Ok(chunks.iter().flat_map(|native| ulong(CK_ULONG::from_ne_bytes(*native))).collect())
            } else {
                Err(bad())
            }
        }
        Kind::Template => nested::canonical(value),
    }
}

/// A canonical value in the form that callers see, for all but templates, which have pointers there.
pub fn native(kind: Kind, value: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Ulong | Kind::Ulongs => ulongs(value).flat_map(CK_ULONG::to_ne_bytes).collect(),
        Kind::Bool | Kind::Bytes | Kind::Date | Kind::Template => value.to_vec(),
    }
}

/// The canonical form of a `CK_ULONG`, which has 64 bits on every platform this module is for.
pub fn ulong(value: CK_ULONG) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// The canonical form of a `CK_BBOOL`.
pub fn boolean(value: bool) -> Vec<u8> {
    vec![u8::from(value)]
}

/// The numbers in a canonical `CK_ULONG` or array of them.
pub fn ulongs(value: &[u8]) -> impl Iterator<Item = CK_ULONG> + '_ {
    value.as_chunks::<8>().0.iter().map(|wide| CK_ULONG::from_be_bytes(*wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_as_it_was_given() {
        let cases: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)] = &[
            (CKA_TOKEN, vec![1]),
            (CKA_CLASS, CKO_PRIVATE_KEY.to_ne_bytes().to_vec()),
            (CKA_KEY_GEN_MECHANISM, UNAVAILABLE.to_ne_bytes().to_vec()),
            (CKA_LABEL, b"name".to_vec()),
            (CKA_START_DATE, b"20261123".to_vec()),
            (CKA_ALLOWED_MECHANISMS, [CKM_ECDSA.to_ne_bytes(), CKM_RSA_PKCS.to_ne_bytes()].concat()),
            (CKA_ALLOWED_MECHANISMS, vec![]),
        ];
        for (attribute, value) in cases {
            let kind = kind(*attribute).unwrap();
            assert_eq!(&native(kind, &canonical(*attribute, kind, value).unwrap()), value, "{}", name(*attribute));
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for (attribute, value) in [
            (CKA_TOKEN, &b""[..]),
            (CKA_TOKEN, b"12"),
            (CKA_CLASS, b"1234"),
            (CKA_START_DATE, b"2026112x"),
            (CKA_ALLOWED_MECHANISMS, b"123456789"),
        ] {
            let error = canonical(attribute, kind(attribute).unwrap(), value).unwrap_err();
            assert_eq!(error.cause(), Cause::AttributeValueInvalid);
        }
    }

    #[test]
    fn every_attribute_stands_in_the_table_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[index + 1..].iter().all(|other| other.0 != row.0), "{}", row.1);
        }
    }
}

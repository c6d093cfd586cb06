//! `CKA_EC_PARAMS` and `CKA_EC_POINT`: the encodings that callers use.

use crate::crypto::{Curve, KeyKind};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::{CK_KEY_TYPE, CKA_EC_PARAMS, CKK_EC_EDWARDS, CKK_EC_MONTGOMERY};

/// The curves' names as printable strings, which PKCS#11 3.0 allows beside object identifiers.
const NAMES: &[(&str, Curve)] = &[
    ("secp256r1", Curve::P256),
    ("prime256v1", Curve::P256),
    ("P-256", Curve::P256),
    ("secp384r1", Curve::P384),
    ("P-384", Curve::P384),
    ("secp521r1", Curve::P521),
    ("P-521", Curve::P521),
    ("secp256k1", Curve::Secp256k1),
];

/// Ed25519 by object identifier (1.3.101.112).
pub const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// Ed25519 by object identifier and by the name that PKCS#11 3.0 gives it.
const ED25519: &[&[u8]] = &[ED25519_OID, b"\x13\x0cedwards25519"];

/// X25519 by object identifier (1.3.101.110).
pub const X25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

/// X25519 by object identifier, by the name of its curve, and by that name as pkcs11-tool writes it.
const X25519: &[&[u8]] = &[X25519_OID, CURVE25519, MISSPELT];

const CURVE25519: &[u8] = b"\x13\x0acurve25519";

/// pkcs11-tool of OpenSC 0.23 takes the name for one octet longer. What is told is right, for those who parse it.
const MISSPELT: &[u8] = b"\x13\x0bcurve25519";

/// Ed448 by object identifier (1.3.101.113).
pub const ED448_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x71];

/// X448 by object identifier (1.3.101.111).
pub const X448_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6f];

/// An Edwards or Montgomery curve.
pub struct OtherCurve {
    /// The kind of its keys.
    pub kind: KeyKind,
    /// Their type.
    pub key_type: CK_KEY_TYPE,
    /// The length in bytes of a point, and of a private key.
    pub len: usize,
    /// What names it in `CKA_EC_PARAMS`; the module itself uses the first.
    pub spellings: &'static [&'static [u8]],
}

/// Each Edwards and Montgomery curve.
static OTHERS: &[OtherCurve] = &[
    OtherCurve { kind: KeyKind::Ed25519, key_type: CKK_EC_EDWARDS, len: 32, spellings: ED25519 },
    OtherCurve { kind: KeyKind::X25519, key_type: CKK_EC_MONTGOMERY, len: 32, spellings: X25519 },
    OtherCurve {
        kind: KeyKind::Ed448,
        key_type: CKK_EC_EDWARDS,
        len: 57,
        spellings: &[ED448_OID, b"\x13\x0aedwards448"],
    },
    OtherCurve {
        kind: KeyKind::X448,
        key_type: CKK_EC_MONTGOMERY,
        len: 56,
        spellings: &[X448_OID, b"\x13\x08curve448"],
    },
];

const OCTET_STRING: u8 = 0x04;
const PRINTABLE_STRING: u8 = 0x13;
const SEQUENCE: u8 = 0x30;

/// The curve that the parameters name.
///
/// `CurveNotSupported` for a curve that KMS has no key pairs on and for explicit parameters;
/// `AttributeValueInvalid` for what are no parameters.
pub fn curve(params: &[u8]) -> Result<Curve> {
    if let Some(curve) = Curve::from_params(params) {
        return Ok(curve);
    }
    match params {
        [PRINTABLE_STRING, len, name @ ..] if usize::from(*len) == name.len() => NAMES
            .iter()
            .find(|row| row.0.as_bytes() == name)
            .map(|row| row.1)
            .ok_or_else(|| Cause::CurveNotSupported.with(String::from_utf8_lossy(name).into_owned())),
        [0x06, len, rest @ ..] if usize::from(*len) == rest.len() && !rest.is_empty() => {
            Err(Cause::CurveNotSupported.into())
        }
        [SEQUENCE, ..] => Err(Cause::CurveNotSupported.with("explicit curve parameters")),
        _ => Err(Cause::AttributeValueInvalid.with("CKA_EC_PARAMS is neither an OID nor a name")),
    }
}

/// The Edwards or Montgomery curve that the parameters name, in any of its spellings.
pub fn other_curve(params: &[u8]) -> Option<&'static OtherCurve> {
    OTHERS.iter().find(|curve| curve.spellings.contains(&params))
}

/// The same for a key of this type. `CurveNotSupported` if there is none of that type.
pub fn other_curve_of(key_type: Option<CK_KEY_TYPE>, params: &[u8]) -> Result<&'static OtherCurve> {
    let curve = other_curve(params).filter(|curve| Some(curve.key_type) == key_type);
    curve.ok_or_else(|| Cause::CurveNotSupported.into())
}

/// What a new key of such a curve tells of it: as its template spells it, because clients disagree, or else the object
/// identifier.
pub fn settle(object: &mut Attributes, oid: &[u8]) {
    let params = object.entry(CKA_EC_PARAMS).or_insert_with(|| oid.to_vec());
    if params == MISSPELT {
        *params = CURVE25519.to_vec();
    }
}

/// A point as `CKA_EC_POINT` has it: the DER encoding of an OCTET STRING.
pub fn wrap_point(point: &[u8]) -> Vec<u8> {
    let mut wrapped = vec![OCTET_STRING];
    match u8::try_from(point.len()) {
        Ok(len @ 0..=0x7f) => wrapped.push(len),
        Ok(len) => wrapped.extend([0x81, len]),
        // No curve has longer points; the two-byte form keeps the function total.
        Err(_) => wrapped.extend([0x82, (point.len() >> 8) as u8, point.len() as u8]),
    }
    wrapped.extend_from_slice(point);
    wrapped
}

/// The point inside `CKA_EC_POINT`, which callers give wrapped or raw.
///
/// `raw_len` is the length of a raw point: a value of that length is raw, whatever it starts with.
pub fn unwrap_point(value: &[u8], raw_len: usize) -> &[u8] {
    match value {
        _ if value.len() == raw_len => value,
        [OCTET_STRING, 0x81, len, point @ ..] if usize::from(*len) == point.len() && *len > 0x7f => point,
        [OCTET_STRING, len, point @ ..] if usize::from(*len) == point.len() && *len <= 0x7f => point,
        _ => value,
    }
}

/// The point inside what another party gave: like [`unwrap_point`], for points of either encoding on the curve of
/// such a key.
pub fn any_point(value: &[u8], key: KeyKind) -> &[u8] {
    let (long, short) = match key {
        KeyKind::Ec(curve) => (1 + 2 * curve.field_len(), 1 + curve.field_len()),
        KeyKind::X448 => (56, 56),
        _ => (32, 32),
    };
    if value.len() == short { value } else { unwrap_point(value, long) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_known_by_oid_and_by_name() {
        for curve_ in [Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1] {
            assert_eq!(curve(curve_.oid_der()).unwrap(), curve_);
        }
        for (name, expected) in NAMES {
            let params = [&[PRINTABLE_STRING, name.len() as u8], name.as_bytes()].concat();
            assert_eq!(curve(&params).unwrap(), *expected);
        }
    }

    #[test]
    fn other_curves_and_explicit_parameters_have_their_own_error() {
        let brainpool = [0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07];
        for params in [&brainpool[..], &[SEQUENCE, 0x00], b"\x13\x05other"] {
            assert_eq!(curve(params).unwrap_err().cause(), Cause::CurveNotSupported);
        }
        for params in [&b""[..], b"\x06", b"\x06\x05\x01", b"\x13\x09short"] {
            assert_eq!(curve(params).unwrap_err().cause(), Cause::AttributeValueInvalid, "{params:?}");
        }
    }

    #[test]
    fn points_come_back_wrapped_or_raw() {
        for len in [32, 65, 97, 133] {
            // A raw Ed25519 point may well start like a DER OCTET STRING.
            let point = [&[OCTET_STRING, len as u8 - 2], vec![7; len - 2].as_slice()].concat();
            assert_eq!(unwrap_point(&point, len), point);
            assert_eq!(unwrap_point(&wrap_point(&point), len), point);
        }
    }
}

//! The secret parts of private keys: from the attributes that name them to PKCS#8, and back.

use super::{Look, Template, ec_params};
use crate::crypto::{Curve, Secret};
use crate::error::{Cause, Error, Result};
use crate::store::Attributes;
use cryptoki_sys::*;
use der::asn1::{AnyRef, OctetStringRef, UintRef};
use der::{Decode, SliceReader};
use zeroize::Zeroizing;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// `AlgorithmIdentifier` of RSA.
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `AlgorithmIdentifier` of Ed25519.
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// The object identifier of elliptic-curve keys.
const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The numbers of `RSAPrivateKey` after its version, in their order (RFC 8017, appendix A.1.2).
const RSA_NUMBERS: [CK_ATTRIBUTE_TYPE; 8] = [
    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT,
    CKA_PRIVATE_EXPONENT,
    CKA_PRIME_1,
    CKA_PRIME_2,
    CKA_EXPONENT_1,
    CKA_EXPONENT_2,
    CKA_COEFFICIENT,
];

/// The PKCS#8 of the private key that a template of `C_CreateObject` spells out. Whether its parts belong
/// together is for who parses it to check.
///
/// Errors: `TemplateIncomplete` without an RSA key's primes, `CurveNotSupported`, `AttributeValueInvalid`.
pub(super) fn pkcs8(key_type: CK_KEY_TYPE, template: &Template) -> Result<Secret> {
    let named = |attribute| template.get(attribute).unwrap_or_default();
    match key_type {
        CKK_RSA => {
            let mut numbers = element(&[&[INTEGER, 1, 0]]);
            for attribute in RSA_NUMBERS {
                let value = template.get(attribute).ok_or_else(|| {
                    Cause::TemplateIncomplete.with("an RSA private key is taken with its primes and CRT values")
                })?;
                numbers = element(&[&numbers, &integer(value)]);
            }
            Ok(wrapped(RSA, &tagged(SEQUENCE, &numbers)))
        }
        CKK_EC => {
            let curve = ec_params::curve(named(CKA_EC_PARAMS))?;
            let value = significant(named(CKA_VALUE));
            let mut scalar = Zeroizing::new(vec![0; curve.field_len()]);
            let start = scalar.len().checked_sub(value.len()).ok_or_else(|| invalid("CKA_VALUE"))?;
            scalar[start..].copy_from_slice(value);
            let key = element(&[&[INTEGER, 1, 1], &tagged(OCTET_STRING, &scalar)]);
            let algorithm = tagged(SEQUENCE, &element(&[EC, curve.oid_der()]));
            Ok(wrapped(&algorithm, &tagged(SEQUENCE, &key)))
        }
        CKK_EC_EDWARDS => {
            if !ec_params::is_ed25519(named(CKA_EC_PARAMS)) {
                return Err(Cause::CurveNotSupported.into());
            }
            let seed = ec_params::unwrap_point(named(CKA_VALUE), 32);
            if seed.len() != 32 {
                return Err(invalid("CKA_VALUE"));
            }
            Ok(wrapped(ED25519, &tagged(OCTET_STRING, seed)))
        }
        _ => Err(Cause::AttributeValueInvalid.with("CKA_KEY_TYPE")),
    }
}

/// How many bytes a secret part of a key has, where its attributes tell.
pub fn part_len(object: &Attributes, attribute: CK_ATTRIBUTE_TYPE) -> Option<usize> {
    match (attribute, object.number(CKA_CLASS)?, object.number(CKA_KEY_TYPE)?) {
        (CKA_VALUE, CKO_SECRET_KEY, _) => usize::try_from(object.number(CKA_VALUE_LEN)?).ok(),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC) => Some(Curve::from_params(object.bytes(CKA_EC_PARAMS))?.field_len()),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC_EDWARDS) => Some(32),
        _ => None,
    }
}

/// The secret parts of a private key with these attributes, by the attributes that reveal them.
pub fn parts(object: &Attributes, pkcs8: &Secret) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Secret)>> {
    let malformed = |_| Error::from(Cause::SealKeyMalformed);
    let key = inner(pkcs8.expose()).map_err(malformed)?;
    match object.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => rsa_numbers(key).map_err(malformed),
        Some(CKK_EC) => {
            let scalar = ec_scalar(key).map_err(malformed)?;
            Ok(vec![(CKA_VALUE, Secret::new(scalar.to_vec()))])
        }
        Some(CKK_EC_EDWARDS) => {
            let seed = <&OctetStringRef>::from_der(key).map_err(malformed)?;
            Ok(vec![(CKA_VALUE, Secret::new(seed.as_bytes().to_vec()))])
        }
        _ => Err(Cause::RecordCorrupt.with("a private key of no known type")),
    }
}

/// The OCTET STRING in a PKCS#8.
fn inner(pkcs8: &[u8]) -> der::Result<&[u8]> {
    let outer = AnyRef::from_der(pkcs8)?;
    let mut fields = SliceReader::new(outer.value())?;
    u8::decode(&mut fields)?;
    AnyRef::decode(&mut fields)?;
    Ok(<&OctetStringRef>::decode(&mut fields)?.as_bytes())
}

fn rsa_numbers(key: &[u8]) -> der::Result<Vec<(CK_ATTRIBUTE_TYPE, Secret)>> {
    let outer = AnyRef::from_der(key)?;
    let mut fields = SliceReader::new(outer.value())?;
    u8::decode(&mut fields)?;
    let numbers = RSA_NUMBERS.iter().map(|attribute| {
        let number = UintRef::decode(&mut fields)?;
        Ok((*attribute, Secret::new(number.as_bytes().to_vec())))
    });
    numbers.collect()
}

fn ec_scalar(key: &[u8]) -> der::Result<&[u8]> {
    let outer = AnyRef::from_der(key)?;
    let mut fields = SliceReader::new(outer.value())?;
    u8::decode(&mut fields)?;
    // Public key and parameters may follow.
    Ok(<&OctetStringRef>::decode(&mut fields)?.as_bytes())
}

fn invalid(what: &'static str) -> Error {
    Cause::AttributeValueInvalid.with(what)
}

/// A big integer without its leading zeros.
fn significant(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

fn integer(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let value = significant(value);
    let sign: &[u8] = if value.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    tagged(INTEGER, &element(&[sign, value]))
}

/// PKCS#8 of version 1 (RFC 5208).
fn wrapped(algorithm: &[u8], key: &[u8]) -> Secret {
    let mut pkcs8 = tagged(SEQUENCE, &element(&[&[INTEGER, 1, 0], algorithm, &tagged(OCTET_STRING, key)]));
    Secret::new(std::mem::take(&mut *pkcs8))
}

/// One after the other. Nothing grows, so that nothing is left behind unwiped.
fn element(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(parts.concat())
}

fn tagged(tag: u8, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let len = (value.len() as u32).to_be_bytes();
    let digits = significant(&len);
    match value.len() {
        short @ 0..=0x7f => element(&[&[tag, short as u8], value]),
        _ => element(&[&[tag, 0x80 | digits.len() as u8], digits, value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;

    fn template(given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Template {
        Template::parse(given).unwrap()
    }

    #[test]
    fn curve_keys_come_apart_into_what_they_were_made_of() {
        for curve in Curve::ALL {
            let mut value = vec![0x5a; curve.field_len()];
            value[..2].fill(0);
            let params = curve.oid_der();
            let given = template(&[(CKA_EC_PARAMS, params), (CKA_VALUE, &value[1..])]);
            let pkcs8 = pkcs8(CKK_EC, &given).unwrap();
            PrivateKey::from_pkcs8(pkcs8.expose()).unwrap();
            let object = Attributes::from([(CKA_KEY_TYPE, super::super::attribute::ulong(CKK_EC))]);
            let parts = parts(&object, &pkcs8).unwrap();
            assert_eq!((parts[0].0, parts[0].1.expose()), (CKA_VALUE, &value[..]));
        }
        let long = template(&[(CKA_EC_PARAMS, Curve::P256.oid_der()), (CKA_VALUE, &[1; 33])]);
        assert_eq!(pkcs8(CKK_EC, &long).err().unwrap().cause(), Cause::AttributeValueInvalid);
    }

    #[test]
    fn seeds_are_taken_raw_and_wrapped() {
        let raw = [7; 32];
        let der = [&[OCTET_STRING, 32][..], &raw].concat();
        for value in [&raw[..], &der] {
            let given = template(&[(CKA_EC_PARAMS, &[0x06, 0x03, 0x2b, 0x65, 0x70]), (CKA_VALUE, value)]);
            let pkcs8 = pkcs8(CKK_EC_EDWARDS, &given).unwrap();
            PrivateKey::from_pkcs8(pkcs8.expose()).unwrap();
            let object = Attributes::from([(CKA_KEY_TYPE, super::super::attribute::ulong(CKK_EC_EDWARDS))]);
            assert_eq!(parts(&object, &pkcs8).unwrap()[0].1.expose(), raw);
        }
    }

    #[test]
    fn lengths_are_those_of_der() {
        for (len, head) in [(0x7f, &[4, 0x7f][..]), (0x80, &[4, 0x81, 0x80]), (0x1234, &[4, 0x82, 0x12, 0x34])] {
            assert!(tagged(OCTET_STRING, &vec![1; len]).starts_with(head));
        }
        assert_eq!(integer(&[0, 0, 0x80]).as_slice(), [INTEGER, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]).as_slice(), [INTEGER, 1, 0]);
    }
}

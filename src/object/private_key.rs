//! Private keys and the attributes that spell them out (sections 6.1.3, 6.3.4, 6.3.6 and 6.68).

use super::{Look, Template, ec_params, keypair};
use crate::crypto::{Curve, PrivateComponents, PrivateKey, RsaComponents, Secret};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// The length of a private key on Edwards25519 or Curve25519, in bytes.
const CURVE25519: usize = 32;

/// The private key that a template of `C_CreateObject` spells out.
///
/// Errors: `AttributeValueInvalid` for numbers that are no key, `CurveNotSupported`, `TemplateIncomplete`.
pub(super) fn spelled_out(key_type: CK_KEY_TYPE, template: &Template) -> Result<PrivateKey> {
    let bytes = |attribute| template.get(attribute).unwrap_or_default();
    let secret = |attribute| template.get(attribute).map(|value| Secret::new(value.to_vec()));
    let needed = |attribute| Secret::new(bytes(attribute).to_vec());
    let params = bytes(CKA_EC_PARAMS);
    let components = match key_type {
        CKK_RSA => PrivateComponents::Rsa(RsaComponents {
            modulus: bytes(CKA_MODULUS).to_vec(),
            public_exponent: bytes(CKA_PUBLIC_EXPONENT).to_vec(),
            private_exponent: needed(CKA_PRIVATE_EXPONENT),
            primes: match (secret(CKA_PRIME_1), secret(CKA_PRIME_2)) {
                (Some(p), Some(q)) => Some((p, q)),
                (None, None) => None,
                _ => return Err(Cause::TemplateIncomplete.with("one prime of two")),
            },
            exponent_1: secret(CKA_EXPONENT_1),
            exponent_2: secret(CKA_EXPONENT_2),
            coefficient: secret(CKA_COEFFICIENT),
        }),
        CKK_EC => PrivateComponents::Ec { curve: ec_params::curve(params)?, scalar: needed(CKA_VALUE) },
        CKK_EC_EDWARDS if ec_params::is_ed25519(params) => PrivateComponents::Ed25519 { seed: raw(bytes(CKA_VALUE)) },
        CKK_EC_EDWARDS => return Err(Cause::CurveNotSupported.into()),
        _ => return Err(Cause::AttributeValueInvalid.with("CKA_KEY_TYPE")),
    };
    PrivateKey::from_components(&components)
}

/// What some clients wrap in an OCTET STRING, as they do with points.
fn raw(value: &[u8]) -> Secret {
    Secret::new(ec_params::unwrap_point(value, CURVE25519).to_vec())
}

/// How many bytes a secret part of a key has, where its attributes tell.
pub fn part_len(object: &Attributes, attribute: CK_ATTRIBUTE_TYPE) -> Option<usize> {
    match (attribute, object.number(CKA_CLASS)?, object.number(CKA_KEY_TYPE)?) {
        (CKA_VALUE, CKO_SECRET_KEY, _) => usize::try_from(object.number(CKA_VALUE_LEN)?).ok(),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC) => Some(Curve::from_params(object.bytes(CKA_EC_PARAMS))?.field_len()),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC_EDWARDS | CKK_EC_MONTGOMERY) => Some(CURVE25519),
        _ => None,
    }
}

/// The secret parts of a private key, by the attributes that reveal them.
pub fn parts(key: &PrivateKey) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Secret)>> {
    let all = match key.components()? {
        PrivateComponents::Rsa(rsa) => {
            let (p, q) = rsa.primes.unzip();
            vec![
                (CKA_PRIVATE_EXPONENT, Some(rsa.private_exponent)),
                (CKA_PRIME_1, p),
                (CKA_PRIME_2, q),
                (CKA_EXPONENT_1, rsa.exponent_1),
                (CKA_EXPONENT_2, rsa.exponent_2),
                (CKA_COEFFICIENT, rsa.coefficient),
            ]
        }
        PrivateComponents::Ec { scalar, .. } | PrivateComponents::X25519 { scalar } => vec![(CKA_VALUE, Some(scalar))],
        PrivateComponents::Ed25519 { seed } => vec![(CKA_VALUE, Some(seed))],
        PrivateComponents::MlKem { seed, expanded, .. } => vec![(CKA_SEED, seed), (CKA_VALUE, expanded)],
    };
    Ok(all.into_iter().filter_map(|(attribute, part)| Some((attribute, significant(attribute, part?)))).collect())
}

/// A big integer has no leading zeros; a value has its full length.
fn significant(attribute: CK_ATTRIBUTE_TYPE, part: Secret) -> Secret {
    match attribute {
        CKA_VALUE | CKA_SEED => part,
        _ => Secret::new(keypair::significant(part.expose()).to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key_type: CK_KEY_TYPE, given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Result<PrivateKey> {
        spelled_out(key_type, &Template::parse(given)?)
    }

    #[test]
    fn curve_keys_come_apart_into_what_they_were_made_of() {
        for curve in Curve::ALL {
            let mut value = vec![0x5a; curve.field_len()];
            value[..2].fill(0);
            let key = key(CKK_EC, &[(CKA_EC_PARAMS, curve.oid_der()), (CKA_VALUE, &value[1..])]).unwrap();
            let parts = parts(&key).unwrap();
            assert_eq!((parts[0].0, parts[0].1.expose()), (CKA_VALUE, &value[..]));
        }
        let long: &[(_, &[u8])] = &[(CKA_EC_PARAMS, Curve::P256.oid_der()), (CKA_VALUE, &[1; 33])];
        assert_eq!(key(CKK_EC, long).err().unwrap().cause(), Cause::AttributeValueInvalid);
    }

    #[test]
    fn seeds_are_taken_raw_and_wrapped() {
        let raw = [7; 32];
        for value in [raw.to_vec(), ec_params::wrap_point(&raw)] {
            let given: &[(_, &[u8])] = &[(CKA_EC_PARAMS, ec_params::ED25519_OID), (CKA_VALUE, &value)];
            assert_eq!(parts(&key(CKK_EC_EDWARDS, given).unwrap()).unwrap()[0].1.expose(), raw);
        }
        let other: &[(_, &[u8])] = &[(CKA_EC_PARAMS, Curve::P256.oid_der()), (CKA_VALUE, &raw)];
        assert_eq!(key(CKK_EC_EDWARDS, other).err().unwrap().cause(), Cause::CurveNotSupported);
    }
}

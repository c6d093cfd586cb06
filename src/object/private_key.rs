//! The secret parts of private keys, by the attributes that name them.

use super::{Look, Template, ec_params, keypair};
use crate::crypto::{Curve, KeyKind, PrivateComponents, PrivateKey, RsaComponents, Secret};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// The private key that a template of `C_CreateObject` spells out; `object` is what it says beside the secret parts.
///
/// Errors: `TemplateIncomplete` for parts that do not make a key, `CurveNotSupported`, `ParameterSetNotSupported`,
/// `AttributeValueInvalid` for parts that do not belong together.
pub(super) fn created(object: &Attributes, template: &Template) -> Result<PrivateKey> {
    let part = |attribute| template.get(attribute).map(|value| Secret::new(value.to_vec()));
    let must = |attribute| part(attribute).unwrap_or_else(|| Secret::new(Vec::new()));
    let params = object.bytes(CKA_EC_PARAMS);
    let components = match object.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => PrivateComponents::Rsa(RsaComponents {
            modulus: object.bytes(CKA_MODULUS).to_vec(),
            public_exponent: object.bytes(CKA_PUBLIC_EXPONENT).to_vec(),
            private_exponent: must(CKA_PRIVATE_EXPONENT),
            primes: match (part(CKA_PRIME_1), part(CKA_PRIME_2)) {
                (Some(p), Some(q)) => Some((p, q)),
                (None, None) => None,
                _ => return Err(Cause::TemplateIncomplete.with("an RSA key with one of its primes")),
            },
            exponent_1: part(CKA_EXPONENT_1),
            exponent_2: part(CKA_EXPONENT_2),
            coefficient: part(CKA_COEFFICIENT),
        }),
        Some(CKK_EC) => PrivateComponents::Ec { curve: ec_params::curve(params)?, scalar: must(CKA_VALUE) },
        key_type @ Some(CKK_EC_EDWARDS | CKK_EC_MONTGOMERY) => {
            let curve = ec_params::other_curve_of(key_type, params)?;
            // Some clients wrap it in an OCTET STRING.
            let value = Secret::new(ec_params::unwrap_point(must(CKA_VALUE).expose(), curve.len).to_vec());
            match curve.kind {
                KeyKind::Ed25519 => PrivateComponents::Ed25519 { seed: value },
                KeyKind::X25519 => PrivateComponents::X25519 { scalar: value },
                KeyKind::Ed448 => PrivateComponents::Ed448 { seed: value },
                KeyKind::X448 => PrivateComponents::X448 { scalar: value },
                _ => return Err(Cause::CurveNotSupported.into()),
            }
        }
        Some(CKK_DH) => PrivateComponents::Dh { group: keypair::dh_group(object)?, value: must(CKA_VALUE) },
        Some(CKK_SLH_DSA) => {
            PrivateComponents::SlhDsa { set: keypair::parameter_set(keypair::SLH_DSA, object)?.0, key: must(CKA_VALUE) }
        }
        Some(CKK_ML_KEM) => PrivateComponents::MlKem {
            set: keypair::parameter_set(keypair::ML_KEM, object)?.0,
            seed: part(CKA_SEED),
            expanded: part(CKA_VALUE),
        },
        Some(CKK_ML_DSA) => PrivateComponents::MlDsa {
            set: keypair::parameter_set(keypair::ML_DSA, object)?.0,
            seed: part(CKA_SEED),
            expanded: part(CKA_VALUE),
        },
        _ => return Err(Cause::CurveNotSupported.into()),
    };
    PrivateKey::from_components(&components)
}

/// Adds what only the private key tells: of one for finite-field Diffie-Hellman, how long it is.
pub(super) fn describe_secret(object: &mut Attributes, key: &PrivateKey) -> Result<()> {
    if let Some(bits) = key.dh_private_bits()? {
        object.insert(CKA_VALUE_BITS, super::attribute::ulong(bits.into()));
    }
    Ok(())
}

/// How many bytes a secret part of a key has, where its attributes tell.
pub fn part_len(object: &Attributes, attribute: CK_ATTRIBUTE_TYPE) -> Option<usize> {
    match (attribute, object.number(CKA_CLASS)?, object.number(CKA_KEY_TYPE)?) {
        (CKA_VALUE, CKO_SECRET_KEY | CKO_OTP_KEY, _) => usize::try_from(object.number(CKA_VALUE_LEN)?).ok(),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC) => Some(Curve::from_params(object.bytes(CKA_EC_PARAMS))?.field_len()),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_EC_EDWARDS | CKK_EC_MONTGOMERY) => {
            Some(ec_params::other_curve(object.bytes(CKA_EC_PARAMS))?.len)
        }
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_SLH_DSA) => {
            Some(keypair::parameter_set(keypair::SLH_DSA, object).ok()?.0.private_key_len())
        }
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_DH) => usize::try_from(object.number(CKA_VALUE_BITS)?.div_ceil(8)).ok(),
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_ML_KEM) => {
            Some(keypair::parameter_set(keypair::ML_KEM, object).ok()?.0.private_key_len())
        }
        (CKA_VALUE, CKO_PRIVATE_KEY, CKK_ML_DSA) => {
            Some(keypair::parameter_set(keypair::ML_DSA, object).ok()?.0.private_key_len())
        }
        _ => None,
    }
}

/// The secret parts of a private key, by the attributes that reveal them.
pub fn parts(key: &PrivateKey) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Secret)>> {
    let named = |parts: Vec<(CK_ATTRIBUTE_TYPE, Option<Secret>)>| {
        parts.into_iter().filter_map(|(attribute, part)| Some((attribute, significant(attribute, part?)))).collect()
    };
    Ok(match key.components()? {
        PrivateComponents::Rsa(rsa) => {
            let (p, q) = rsa.primes.unzip();
            named(vec![
                (CKA_PRIVATE_EXPONENT, Some(rsa.private_exponent)),
                (CKA_PRIME_1, p),
                (CKA_PRIME_2, q),
                (CKA_EXPONENT_1, rsa.exponent_1),
                (CKA_EXPONENT_2, rsa.exponent_2),
                (CKA_COEFFICIENT, rsa.coefficient),
            ])
        }
        PrivateComponents::Ec { scalar: value, .. }
        | PrivateComponents::Ed25519 { seed: value }
        | PrivateComponents::X25519 { scalar: value }
        | PrivateComponents::Ed448 { seed: value }
        | PrivateComponents::X448 { scalar: value }
        | PrivateComponents::SlhDsa { key: value, .. } => vec![(CKA_VALUE, value)],
        PrivateComponents::Dh { value, .. } => {
            vec![(CKA_VALUE, Secret::new(keypair::significant(value.expose()).to_vec()))]
        }
        PrivateComponents::MlKem { seed, expanded, .. } | PrivateComponents::MlDsa { seed, expanded, .. } => {
            named(vec![(CKA_SEED, seed), (CKA_VALUE, expanded)])
        }
    })
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
    use super::super::attribute::ulong;
    use super::*;

    fn key(key_type: CK_KEY_TYPE, given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Result<PrivateKey> {
        let template = Template::parse(given).unwrap();
        let secret = [CKA_VALUE, CKA_SEED];
        let open = template.iter().filter(|(attribute, _)| !secret.contains(attribute));
        let mut object: Attributes = open.map(|(attribute, value)| (attribute, value.clone())).collect();
        object.insert(CKA_KEY_TYPE, ulong(key_type));
        created(&object, &template)
    }

    fn value(key: &PrivateKey) -> Vec<u8> {
        let parts = parts(key).unwrap();
        assert_eq!(parts.last().unwrap().0, CKA_VALUE);
        parts.last().unwrap().1.expose().to_vec()
    }

    #[test]
    fn curve_keys_come_apart_into_what_they_were_made_of() {
        for curve in Curve::ALL {
            let mut scalar = vec![0x5a; curve.field_len()];
            scalar[..2].fill(0);
            let given: &[(_, &[u8])] = &[(CKA_EC_PARAMS, curve.oid_der()), (CKA_VALUE, &scalar[1..])];
            assert_eq!(value(&key(CKK_EC, given).unwrap()), scalar);
        }
        let long: &[(_, &[u8])] = &[(CKA_EC_PARAMS, Curve::P256.oid_der()), (CKA_VALUE, &[1; 33])];
        assert_eq!(key(CKK_EC, long).err().unwrap().cause(), Cause::AttributeValueInvalid);
    }

    #[test]
    fn keys_of_other_curves_are_taken_raw_and_wrapped() {
        let named = [ec_params::ED25519_OID, ec_params::X25519_OID, ec_params::ED448_OID, ec_params::X448_OID];
        for curve in named.map(|params| ec_params::other_curve(params).unwrap()) {
            let (key_type, params, raw) = (curve.key_type, curve.spellings, vec![7; curve.len]);
            let der = [&[4, curve.len as u8][..], &raw].concat();
            for spelling in params {
                for given in [&raw[..], &der] {
                    let key = key(key_type, &[(CKA_EC_PARAMS, spelling), (CKA_VALUE, given)]).unwrap();
                    assert_eq!(value(&key), raw);
                }
            }
            let wrong: &[(_, &[u8])] = &[(CKA_EC_PARAMS, params[0]), (CKA_VALUE, &raw[1..])];
            assert_eq!(key(key_type, wrong).err().unwrap().cause(), Cause::AttributeValueInvalid);
            let curve: &[(_, &[u8])] = &[(CKA_EC_PARAMS, Curve::P256.oid_der()), (CKA_VALUE, &raw)];
            assert_eq!(key(key_type, curve).err().unwrap().cause(), Cause::CurveNotSupported);
        }
    }

    #[test]
    fn ml_kem_keys_come_by_seed_or_value_and_tell_both() {
        let set = CKP_ML_KEM_768.to_ne_bytes();
        let seed: &[(_, &[u8])] = &[(CKA_PARAMETER_SET, &set), (CKA_SEED, &[7; 64])];
        let by_seed = key(CKK_ML_KEM, seed).unwrap();
        assert_eq!(parts(&by_seed).unwrap()[0].1.expose(), [7; 64]);
        let by_value = key(CKK_ML_KEM, &[(CKA_PARAMETER_SET, &set), (CKA_VALUE, &value(&by_seed))]).unwrap();
        assert_eq!(by_value.public_key(), by_seed.public_key());
        assert_eq!(parts(&by_value).unwrap().len(), 1);
        let neither = key(CKK_ML_KEM, &seed[..1]).err().unwrap().cause();
        assert_eq!(neither, Cause::TemplateIncomplete);
        let unknown = key(CKK_ML_KEM, &[(CKA_PARAMETER_SET, &9_u64.to_ne_bytes()), (CKA_SEED, &[7; 64])]);
        assert_eq!(unknown.err().unwrap().cause(), Cause::ParameterSetNotSupported);
    }
}

//! `C_GenerateKeyPair`'s two templates, parsed into what is to be made and what is stored.

use super::attribute::{self, ulong};
use super::engine::{Origin, build};
use super::history::{Past, settle};
use super::rules::Class;
use super::{Look, Template, ec_params};
use crate::crypto::{Curve, DhGroup, KeyKind, MlDsaSet, MlKemSet, PublicKey, PublicParts, SeededKind, SlhDsaSet};
use crate::error::{Cause, Result};
use crate::kms::KeyPairSpec;
use crate::mechanism::{Family, Mechanism};
use crate::store::{Attributes, ObjectId};
use cryptoki_sys::*;

/// Who makes a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// KMS, which is asked for this.
    Kms(KeyPairSpec),
    /// This module: KMS makes no key pairs of this kind, and only seals them.
    Here(SeededKind),
}

/// A key pair that is to be made.
#[derive(Clone, Debug)]
pub struct NewKeyPair {
    /// Who makes it, and what kind.
    pub maker: Maker,
    /// The public key's attributes, all but those that follow from the key.
    pub public: Attributes,
    /// The private key's attributes, likewise. What the seal binds is complete.
    pub private: Attributes,
}

/// The RSA sizes that KMS makes, in bits.
const RSA_SPECS: &[(CK_ULONG, KeyPairSpec)] =
    &[(2048, KeyPairSpec::Rsa2048), (3072, KeyPairSpec::Rsa3072), (4096, KeyPairSpec::Rsa4096)];

/// KMS's name for a key pair on each curve.
const EC_SPECS: &[(Curve, KeyPairSpec)] = &[
    (Curve::P256, KeyPairSpec::EccNistP256),
    (Curve::P384, KeyPairSpec::EccNistP384),
    (Curve::P521, KeyPairSpec::EccNistP521),
    (Curve::Secp256k1, KeyPairSpec::EccSecgP256k1),
];

/// The only public exponent that KMS makes.
const EXPONENT: &[u8] = &[1, 0, 1];

impl NewKeyPair {
    /// Checks both templates for a key-pair generation mechanism.
    ///
    /// Errors beside those of templates: `MechanismInvalid`, `KeySizeRange`, `CurveNotSupported`; a public exponent
    /// other than 65537 is `TemplateInconsistent` (section 6.1.4).
    pub fn parse(mechanism: &Mechanism, public: &Template, private: &Template, so: bool) -> Result<Self> {
        let key_type = match mechanism.family {
            Family::RsaKeyPairGen => CKK_RSA,
            Family::EcKeyPairGen => CKK_EC,
            // GnuTLS 3.7 names the signature mechanism when it generates.
            Family::EdwardsKeyPairGen | Family::Eddsa => CKK_EC_EDWARDS,
            Family::MontgomeryKeyPairGen => CKK_EC_MONTGOMERY,
            Family::MlKemKeyPairGen => CKK_ML_KEM,
            Family::MlDsaKeyPairGen => CKK_ML_DSA,
            Family::SlhDsaKeyPairGen => CKK_SLH_DSA,
            Family::DhKeyPairGen => CKK_DH,
            _ => return Err(Cause::MechanismInvalid.with(mechanism.name)),
        };
        for (template, class) in [(public, CKO_PUBLIC_KEY), (private, CKO_PRIVATE_KEY)] {
            template.expect(CKA_CLASS, class)?;
            template.expect(CKA_KEY_TYPE, key_type)?;
        }
        let class = |class| Class::of(class, Some(key_type)).ok_or(Cause::MechanismInvalid);
        let mut public_key = build(class(CKO_PUBLIC_KEY)?, public, Origin::Generate, so)?;
        let mut private_key = build(class(CKO_PRIVATE_KEY)?, private, Origin::Generate, so)?;

        let maker = match key_type {
            CKK_RSA => Maker::Kms(rsa_spec(public)?),
            CKK_ML_KEM | CKK_ML_DSA | CKK_SLH_DSA => {
                let maker = match key_type {
                    CKK_ML_KEM => Maker::Kms(parameter_set(ML_KEM, &public_key)?.1),
                    CKK_SLH_DSA => Maker::Here(SeededKind::SlhDsa(parameter_set(SLH_DSA, &public_key)?.0)),
                    _ => Maker::Here(SeededKind::MlDsa(parameter_set(ML_DSA, &public_key)?.0)),
                };
                let set = public_key.number(CKA_PARAMETER_SET).unwrap_or_default();
                private.expect(CKA_PARAMETER_SET, set)?;
                private_key.insert(CKA_PARAMETER_SET, ulong(set));
                maker
            }
            CKK_DH => {
                let group = dh_group(&public_key)?;
                for (part, is) in [(CKA_PRIME, group.prime()?), (CKA_BASE, group.base())] {
                    if private.get(part).is_some_and(|said| significant(said) != is) {
                        return Err(Cause::TemplateInconsistent.with("the private key's group is another"));
                    }
                    private_key.insert(part, is.to_vec());
                    public_key.insert(part, is.to_vec());
                }
                let bits = private.number(CKA_VALUE_BITS).map(|bits| u32::try_from(bits).unwrap_or(u32::MAX));
                private_key.insert(CKA_VALUE_BITS, ulong(bits.unwrap_or(group.private_bits()).into()));
                Maker::Here(SeededKind::Dh { group, bits })
            }
            _ => {
                let (maker, params) = ec_maker(key_type, public)?;
                if private
                    .get(CKA_EC_PARAMS)
                    .is_some_and(|value| value != params && value != public_key.bytes(CKA_EC_PARAMS))
                {
                    return Err(Cause::TemplateInconsistent.with("CKA_EC_PARAMS differs between the templates"));
                }
                for key in [&mut public_key, &mut private_key] {
                    key.insert(CKA_EC_PARAMS, params.clone());
                }
                maker
            }
        };
        let generated = match mechanism.family {
            Family::Eddsa => CKM_EC_EDWARDS_KEY_PAIR_GEN,
            _ => mechanism.id,
        };
        for key in [&mut public_key, &mut private_key] {
            settle(key, Past::Generated(generated))?;
        }
        Ok(Self { maker, public: public_key, private: private_key })
    }

    /// Adds what follows from the key itself, and the objects' identities.
    pub fn complete(&mut self, key: &PublicKey, public_id: ObjectId, private_id: ObjectId) -> Result<()> {
        describe_public(&mut self.public, key)?;
        describe_private(&mut self.private, key)?;
        self.public.insert(CKA_UNIQUE_ID, public_id.to_string().into_bytes());
        self.private.insert(CKA_UNIQUE_ID, private_id.to_string().into_bytes());
        Ok(())
    }
}

fn rsa_spec(public: &Template) -> Result<KeyPairSpec> {
    let bits = public.number(CKA_MODULUS_BITS).ok_or(Cause::TemplateIncomplete)?;
    if let Some(exponent) = public.get(CKA_PUBLIC_EXPONENT) {
        let start = exponent.iter().position(|byte| *byte != 0).unwrap_or(exponent.len());
        if &exponent[start..] != EXPONENT {
            return Err(Cause::TemplateInconsistent.with("KMS makes RSA keys with public exponent 65537 only"));
        }
    }
    let row = RSA_SPECS.iter().find(|row| row.0 == bits);
    row.map(|row| row.1).ok_or_else(|| Cause::KeySizeRange.with(format!("RSA of {bits} bits")))
}

fn ec_maker(key_type: CK_KEY_TYPE, public: &Template) -> Result<(Maker, Vec<u8>)> {
    let params = public.get(CKA_EC_PARAMS).ok_or(Cause::TemplateIncomplete)?;
    let wrong = || Cause::CurveNotSupported.with("the curve does not go with the mechanism");
    if let Some(curve) = ec_params::other_curve(params) {
        let maker = match curve.kind {
            _ if curve.key_type != key_type => return Err(wrong()),
            KeyKind::Ed25519 => Maker::Kms(KeyPairSpec::EccNistEdwards25519),
            KeyKind::X25519 => Maker::Here(SeededKind::X25519),
            KeyKind::Ed448 => Maker::Here(SeededKind::Ed448),
            KeyKind::X448 => Maker::Here(SeededKind::X448),
            _ => return Err(wrong()),
        };
        // Clients disagree on the spelling, so each gets its own back.
        return Ok((maker, params.to_vec()));
    }
    if key_type != CKK_EC {
        return Err(wrong());
    }
    let curve = ec_params::curve(params)?;
    let row = EC_SPECS.iter().find(|row| row.0 == curve).ok_or(Cause::CurveNotSupported)?;
    Ok((Maker::Kms(row.1), curve.oid_der().to_vec()))
}

/// Fills in what a public key object says of its key. Parameters that are there already stay.
pub fn describe_public(object: &mut Attributes, key: &PublicKey) -> Result<()> {
    match key.parts()? {
        PublicParts::Rsa { modulus, .. } => {
            object.insert(CKA_MODULUS_BITS, ulong(bits(&modulus)));
        }
        PublicParts::Ec { point, .. } => {
            object.insert(CKA_EC_POINT, ec_params::wrap_point(&point));
        }
        PublicParts::Ed25519 { point } | PublicParts::X25519 { point } => {
            object.insert(CKA_EC_POINT, ec_params::wrap_point(&point));
        }
        PublicParts::Ed448 { point } => {
            object.insert(CKA_EC_POINT, ec_params::wrap_point(&point));
        }
        PublicParts::Dh { number, .. } => {
            object.insert(CKA_VALUE, significant(&number).to_vec());
        }
        PublicParts::X448 { point } => {
            object.insert(CKA_EC_POINT, ec_params::wrap_point(&point));
        }
        PublicParts::MlKem { key, .. } | PublicParts::MlDsa { key, .. } | PublicParts::SlhDsa { key, .. } => {
            object.insert(CKA_VALUE, key);
        }
    }
    describe_private(object, key)
}

/// Fills in what either half of a pair says of the public key.
pub(super) fn describe_private(object: &mut Attributes, key: &PublicKey) -> Result<()> {
    match key.parts()? {
        PublicParts::Rsa { modulus, exponent } => {
            object.insert(CKA_MODULUS, modulus);
            object.insert(CKA_PUBLIC_EXPONENT, exponent);
        }
        PublicParts::Ec { curve, .. } => {
            object.insert(CKA_EC_PARAMS, curve.oid_der().to_vec());
        }
        PublicParts::Ed25519 { .. } => ec_params::settle(object, ec_params::ED25519_OID),
        PublicParts::X25519 { .. } => ec_params::settle(object, ec_params::X25519_OID),
        PublicParts::Ed448 { .. } => ec_params::settle(object, ec_params::ED448_OID),
        PublicParts::X448 { .. } => ec_params::settle(object, ec_params::X448_OID),
        PublicParts::Dh { group, .. } => {
            object.insert(CKA_PRIME, group.prime()?.to_vec());
            object.insert(CKA_BASE, group.base().to_vec());
        }
        PublicParts::SlhDsa { set, .. } => {
            object.insert(CKA_PARAMETER_SET, set_number(SLH_DSA, set));
        }
        PublicParts::MlKem { set, .. } => {
            object.insert(CKA_PARAMETER_SET, set_number(ML_KEM, set));
        }
        PublicParts::MlDsa { set, .. } => {
            object.insert(CKA_PARAMETER_SET, set_number(ML_DSA, set));
        }
    }
    object.insert(CKA_PUBLIC_KEY_INFO, key.spki_der().to_vec());
    Ok(())
}

/// The parameter sets of a key type: the number in `CKA_PARAMETER_SET`, the set, and what else goes with it.
pub(super) type ParameterSets<Set, With> = &'static [(CK_ULONG, Set, With)];

/// With KMS's names for key pairs.
pub(super) const ML_KEM: ParameterSets<MlKemSet, KeyPairSpec> = &[
    (CKP_ML_KEM_512, MlKemSet::MlKem512, KeyPairSpec::MlKem512),
    (CKP_ML_KEM_768, MlKemSet::MlKem768, KeyPairSpec::MlKem768),
    (CKP_ML_KEM_1024, MlKemSet::MlKem1024, KeyPairSpec::MlKem1024),
];

/// With KMS's names for its own keys of these kinds.
pub(super) const ML_DSA: ParameterSets<MlDsaSet, &str> = &[
    (CKP_ML_DSA_44, MlDsaSet::MlDsa44, "ML_DSA_44"),
    (CKP_ML_DSA_65, MlDsaSet::MlDsa65, "ML_DSA_65"),
    (CKP_ML_DSA_87, MlDsaSet::MlDsa87, "ML_DSA_87"),
];

/// With names of the same kind.
pub(super) const SLH_DSA: ParameterSets<SlhDsaSet, &str> = &[
    (CKP_SLH_DSA_SHA2_128S, SlhDsaSet::Sha2_128s, "SLH_DSA_SHA2_128S"),
    (CKP_SLH_DSA_SHAKE_128S, SlhDsaSet::Shake_128s, "SLH_DSA_SHAKE_128S"),
    (CKP_SLH_DSA_SHA2_128F, SlhDsaSet::Sha2_128f, "SLH_DSA_SHA2_128F"),
    (CKP_SLH_DSA_SHAKE_128F, SlhDsaSet::Shake_128f, "SLH_DSA_SHAKE_128F"),
    (CKP_SLH_DSA_SHA2_192S, SlhDsaSet::Sha2_192s, "SLH_DSA_SHA2_192S"),
    (CKP_SLH_DSA_SHAKE_192S, SlhDsaSet::Shake_192s, "SLH_DSA_SHAKE_192S"),
    (CKP_SLH_DSA_SHA2_192F, SlhDsaSet::Sha2_192f, "SLH_DSA_SHA2_192F"),
    (CKP_SLH_DSA_SHAKE_192F, SlhDsaSet::Shake_192f, "SLH_DSA_SHAKE_192F"),
    (CKP_SLH_DSA_SHA2_256S, SlhDsaSet::Sha2_256s, "SLH_DSA_SHA2_256S"),
    (CKP_SLH_DSA_SHAKE_256S, SlhDsaSet::Shake_256s, "SLH_DSA_SHAKE_256S"),
    (CKP_SLH_DSA_SHA2_256F, SlhDsaSet::Sha2_256f, "SLH_DSA_SHA2_256F"),
    (CKP_SLH_DSA_SHAKE_256F, SlhDsaSet::Shake_256f, "SLH_DSA_SHAKE_256F"),
];

/// The value of `CKA_PARAMETER_SET` for a parameter set; every set has its row.
fn set_number<Set: Copy + PartialEq, With>(sets: ParameterSets<Set, With>, set: Set) -> Vec<u8> {
    ulong(sets.iter().find(|row| row.1 == set).map_or(attribute::UNAVAILABLE, |row| row.0))
}

/// A big-endian number without its leading zeros.
pub(super) fn significant(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

/// The parameter set that a key names, and what goes with it. `ParameterSetNotSupported` if there is none of this
/// number.
pub(super) fn parameter_set<Set: Copy, With: Copy>(
    sets: ParameterSets<Set, With>,
    object: &Attributes,
) -> Result<(Set, With)> {
    let number = object.number(CKA_PARAMETER_SET);
    let row = sets.iter().find(|row| Some(row.0) == number);
    row.map(|row| (row.1, row.2)).ok_or_else(|| Cause::ParameterSetNotSupported.into())
}

/// The group that a key names. `AttributeValueInvalid` for one that no RFC names.
pub(super) fn dh_group(object: &Attributes) -> Result<DhGroup> {
    let group = DhGroup::find(object.bytes(CKA_PRIME), object.bytes(CKA_BASE))?;
    group.ok_or_else(|| Cause::AttributeValueInvalid.with("CKA_PRIME and CKA_BASE of no group of RFC 7919 or RFC 3526"))
}

/// The number of significant bits of a big-endian number.
pub(super) fn bits(number: &[u8]) -> CK_ULONG {
    let number = significant(number);
    number.first().map_or(0, |first| number.len() as CK_ULONG * 8 - CK_ULONG::from(first.leading_zeros()))
}

/// What the encryption context calls the kind of a key: KMS's own name where KMS makes such keys. `None` if
/// the attributes are those of no key.
pub fn spec_of(object: &Attributes) -> Option<String> {
    if object.is_secret_key() {
        let bits = object.number(CKA_VALUE_LEN)?.checked_mul(8)?;
        return Some(match object.number(CKA_KEY_TYPE)? {
            CKK_AES => format!("AES_{bits}"),
            CKK_CHACHA20 => format!("CHACHA20_{bits}"),
            _ => format!("SECRET_{bits}"),
        });
    }
    match object.number(CKA_KEY_TYPE)? {
        CKK_RSA => Some(format!("RSA_{}", bits(object.bytes(CKA_MODULUS)))),
        CKK_EC => {
            let curve = Curve::from_params(object.bytes(CKA_EC_PARAMS))?;
            EC_SPECS.iter().find(|row| row.0 == curve).map(|row| row.1.name().to_owned())
        }
        key_type @ (CKK_EC_EDWARDS | CKK_EC_MONTGOMERY) => {
            let curve = ec_params::other_curve_of(Some(key_type), object.bytes(CKA_EC_PARAMS)).ok()?;
            Some(match curve.kind {
                KeyKind::Ed25519 => KeyPairSpec::EccNistEdwards25519.name().to_owned(),
                KeyKind::X25519 => "X25519".to_owned(),
                KeyKind::Ed448 => "ED448".to_owned(),
                KeyKind::X448 => "X448".to_owned(),
                _ => return None,
            })
        }
        CKK_ML_KEM => parameter_set(ML_KEM, object).ok().map(|row| row.1.name().to_owned()),
        CKK_ML_DSA => parameter_set(ML_DSA, object).ok().map(|row| row.1.to_owned()),
        CKK_SLH_DSA => parameter_set(SLH_DSA, object).ok().map(|row| row.1.to_owned()),
        CKK_DH => dh_group(object).ok().map(|group| group.name().to_owned()),
        _ => None,
    }
}

/// Whether a key object's own words about its public key are true of `key`.
pub fn describes(object: &Attributes, key: &PublicKey) -> Result<bool> {
    let mut said = object.clone();
    describe_private(&mut said, key)?;
    Ok(said == *object)
}

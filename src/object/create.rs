//! `C_CreateObject`: an object that is complete in its template.

use super::certificate::Certificate;
use super::engine::{Origin, build, consistent};
use super::history::{Past, settle};
use super::keypair::{bits, describe_private, describe_public};
use super::rules::Class;
use super::vendor::ForeignSeal;
use super::{Look, SEALED_CLASSES, Template, attribute, ec_params, keypair, private_key, secret_key};
use crate::crypto::{Hash, KeyKind, PublicKey, Secret};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// An object that is complete in its template.
pub struct NewObject {
    /// All but `CKA_UNIQUE_ID`.
    pub attributes: Attributes,
    /// Of a key with a secret part, that part: PKCS#8 of a private key, the bytes of `CKA_VALUE` of a secret one.
    pub plaintext: Option<Secret>,
    /// Of a key that another client of KMS sealed, its seal; what follows from the key may still be unknown.
    pub foreign: Option<ForeignSeal>,
}

/// Keeps a key that comes sealed from being read: whoever got hold of a blob would otherwise have the module open it.
fn stay_closed(key: &mut Attributes, template: &Template) -> Result<()> {
    for (attribute, closed) in [(CKA_SENSITIVE, true), (CKA_EXTRACTABLE, false)] {
        if template.boolean(attribute).is_some_and(|said| said != closed) {
            let name = attribute::name(attribute);
            return Err(Cause::TemplateInconsistent.with(format!("{name}: a key that comes sealed cannot be read")));
        }
        key.insert(attribute, attribute::boolean(closed));
    }
    Ok(())
}

/// The new object that a template describes. `so` tells whether the security officer is logged in.
///
/// Errors beside those of templates: `AttributeValueInvalid` for a class that cannot be created this
/// way, and for a certificate, point, modulus or key that is none.
pub fn new_object(template: &Template, so: bool) -> Result<NewObject> {
    let class = template.number(CKA_CLASS).ok_or_else(|| Cause::TemplateIncomplete.with("CKA_CLASS"))?;
    let kind_attribute = Class::kind_attribute(class);
    let kind = match kind_attribute {
        None => None,
        Some(attribute) => {
            Some(template.number(attribute).ok_or_else(|| Cause::TemplateIncomplete.with(attribute::name(attribute)))?)
        }
    };
    let row = Class::of(class, kind)
        .filter(|row| !matches!(row.class, CKO_PROFILE | CKO_MECHANISM))
        .ok_or_else(|| Cause::AttributeValueInvalid.with(format!("objects of class {class:#x} cannot be created")))?;

    if SEALED_CLASSES.contains(&class)
        && let Some(foreign) = ForeignSeal::of(template)?
    {
        let mut attributes = build(row, template, Origin::Sealed, so)?;
        stay_closed(&mut attributes, template)?;
        settle(&mut attributes, Past::Imported)?;
        consistent(&attributes)?;
        return Ok(NewObject { attributes, plaintext: None, foreign: Some(foreign) });
    }
    let mut attributes = build(row, template, Origin::Create, so)?;
    let mut plaintext = None;
    match class {
        CKO_CERTIFICATE => complete_certificate(&mut attributes, template)?,
        CKO_PUBLIC_KEY => complete_public_key(&mut attributes, template)?,
        CKO_PRIVATE_KEY => {
            let key = private_key::created(&attributes, template)?;
            complete_private_key(&mut attributes, key.public_key())?;
            private_key::describe_secret(&mut attributes, &key)?;
            plaintext = Some(key.to_pkcs8()?);
        }
        CKO_SECRET_KEY | CKO_OTP_KEY => {
            let value = Secret::new(template.get(CKA_VALUE).unwrap_or_default().to_vec());
            secret_key::complete(&mut attributes, &value)?;
            settle(&mut attributes, Past::Imported)?;
            plaintext = Some(value);
        }
        CKO_DOMAIN_PARAMETERS => {
            for (number, its_bits) in [(CKA_PRIME, CKA_PRIME_BITS), (CKA_SUBPRIME, CKA_SUBPRIME_BITS)] {
                if row.rule(its_bits).is_some() {
                    let bits = bits(attributes.bytes(number));
                    attributes.insert(its_bits, attribute::ulong(bits));
                }
            }
        }
        _ => {}
    }
    consistent(&attributes)?;
    Ok(NewObject { attributes, plaintext, foreign: None })
}

fn complete_certificate(object: &mut Attributes, template: &Template) -> Result<()> {
    let der = object.bytes(CKA_VALUE).to_vec();
    let kind = object.number(CKA_CERTIFICATE_TYPE);
    // What a certificate tells that is not here, or that is not read (sections 4.6.3 and 4.6.4).
    const ELSEWHERE: &[CK_ATTRIBUTE_TYPE] =
        &[CKA_URL, CKA_HASH_OF_SUBJECT_PUBLIC_KEY, CKA_HASH_OF_ISSUER_PUBLIC_KEY, CKA_SUBJECT];
    let told = match (kind, der.is_empty()) {
        (Some(CKC_X_509), true) => ELSEWHERE,
        (_, true) => &ELSEWHERE[..3],
        (Some(CKC_WTLS), false) => &[CKA_SUBJECT],
        (_, false) => &[],
    };
    if let Some(untold) = told.iter().find(|attribute| object.bytes(**attribute).is_empty()) {
        return Err(Cause::TemplateIncomplete.with(attribute::name(*untold)));
    }
    if kind == Some(CKC_X_509) && !der.is_empty() {
        complete_x509(object, &der)?;
    }
    // What a certificate does not tell and its template does not either is empty.
    for attribute in [CKA_PUBLIC_KEY_INFO, CKA_ISSUER, CKA_SERIAL_NUMBER] {
        if object.class()?.rule(attribute).is_some() {
            object.entry(attribute).or_default();
        }
    }
    if der.is_empty() {
        return Ok(());
    }
    let check = Hash::Sha1.digest(&der).as_ref()[..3].to_vec();
    match template.get(CKA_CHECK_VALUE) {
        // An empty value asks for none (section 4.6.3).
        Some([]) => {}
        Some(given) if given != check => return Err(Cause::AttributeValueInvalid.with("CKA_CHECK_VALUE is wrong")),
        _ => {
            object.insert(CKA_CHECK_VALUE, check);
        }
    }
    Ok(())
}

fn complete_x509(object: &mut Attributes, der: &[u8]) -> Result<()> {
    let certificate = Certificate::parse(der)?;
    // What the caller says of names and number is kept as said: clients look for their own bytes.
    let own = [
        (CKA_SUBJECT, certificate.subject),
        (CKA_ISSUER, certificate.issuer),
        (CKA_SERIAL_NUMBER, certificate.serial_number),
        (CKA_PUBLIC_KEY_INFO, certificate.public_key_info),
    ];
    for (attribute, value) in own {
        object.entry(attribute).or_insert_with(|| value.to_vec());
    }
    if object.bytes(CKA_PUBLIC_KEY_INFO) != certificate.public_key_info {
        return Err(Cause::AttributeValueInvalid.with("CKA_PUBLIC_KEY_INFO is not the certificate's"));
    }
    Ok(())
}

fn complete_public_key(object: &mut Attributes, template: &Template) -> Result<()> {
    let key = match object.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => PublicKey::from_rsa(object.bytes(CKA_MODULUS), object.bytes(CKA_PUBLIC_EXPONENT))?,
        Some(CKK_EC) => {
            let curve = ec_params::curve(object.bytes(CKA_EC_PARAMS))?;
            let point = ec_params::unwrap_point(object.bytes(CKA_EC_POINT), 1 + 2 * curve.field_len());
            PublicKey::from_ec(curve, point)?
        }
        Some(CKK_ML_KEM) => {
            PublicKey::from_ml_kem(keypair::parameter_set(keypair::ML_KEM, object)?.0, object.bytes(CKA_VALUE))?
        }
        Some(CKK_ML_DSA) => {
            PublicKey::from_ml_dsa(keypair::parameter_set(keypair::ML_DSA, object)?.0, object.bytes(CKA_VALUE))?
        }
        Some(CKK_DH) => PublicKey::from_dh(keypair::dh_group(object)?, object.bytes(CKA_VALUE))?,
        Some(CKK_SLH_DSA) => {
            PublicKey::from_slh_dsa(keypair::parameter_set(keypair::SLH_DSA, object)?.0, object.bytes(CKA_VALUE))?
        }
        key_type => {
            let curve = ec_params::other_curve_of(key_type, object.bytes(CKA_EC_PARAMS))?;
            let point = ec_params::unwrap_point(object.bytes(CKA_EC_POINT), curve.len);
            let short = || point.try_into().map_err(|_| Cause::AttributeValueInvalid.with("CKA_EC_POINT"));
            match curve.kind {
                KeyKind::Ed25519 => PublicKey::from_ed25519(short()?)?,
                KeyKind::X25519 => PublicKey::from_x25519(short()?)?,
                KeyKind::Ed448 => PublicKey::from_ed448(point)?,
                KeyKind::X448 => PublicKey::from_x448(point)?,
                _ => return Err(Cause::CurveNotSupported.into()),
            }
        }
    };
    if template.get(CKA_PUBLIC_KEY_INFO).is_some_and(|given| given != key.spki_der()) {
        return Err(Cause::AttributeValueInvalid.with("CKA_PUBLIC_KEY_INFO is not of this key"));
    }
    describe_public(object, &key)?;
    settle(object, Past::Imported)
}

fn complete_private_key(object: &mut Attributes, key: &PublicKey) -> Result<()> {
    let info = object.bytes(CKA_PUBLIC_KEY_INFO).to_vec();
    describe_private(object, key)?;
    if !info.is_empty() && info != object.bytes(CKA_PUBLIC_KEY_INFO) {
        return Err(Cause::AttributeValueInvalid.with("CKA_PUBLIC_KEY_INFO is not of this key"));
    }
    settle(object, Past::Imported)
}

/// The public key that a public-key object holds. `RecordCorrupt` if a stored one does not parse.
pub fn public_key_of(object: &Attributes) -> Result<PublicKey> {
    PublicKey::from_spki(object.bytes(CKA_PUBLIC_KEY_INFO))
        .map_err(|error| Cause::RecordCorrupt.with(format!("CKA_PUBLIC_KEY_INFO: {error}")))
}

//! The seal: the encryption context that binds a key to what it is and may do.

use super::Look;
use super::keypair::spec_of;
use super::rules::{Bound, Class};
use crate::crypto::{Digester, Hash};
use crate::error::{Cause, Result};
use crate::kms::EncryptionContext;
use crate::store::Attributes;
use crate::store::SealForm;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use std::collections::BTreeMap;

/// The version of the encoding below; it is `datakey-pkcs11:v` and stored with each sealed key.
pub const VERSION: u8 = 1;

/// The encryption context of a private or secret key with these attributes, in the token with this serial.
///
/// `spec` is given for a key pair that is to be made; that of any other key follows from its attributes,
/// and `SealKeyMismatch` says that they are those of no key.
pub fn encryption_context(
    serial: &str,
    object: &Attributes,
    spec: Option<&str>,
    form: SealForm,
    user: &BTreeMap<String, String>,
) -> Result<EncryptionContext> {
    let spec = match spec {
        Some(spec) => spec.to_owned(),
        None => spec_of(object).ok_or_else(|| Cause::SealKeyMismatch.with("the attributes describe no key"))?,
    };
    let class = object.class()?;
    let id = String::from_utf8_lossy(object.bytes(CKA_UNIQUE_ID)).into_owned();
    let context = EncryptionContext::new(user)?
        .with(EncryptionContext::VERSION, VERSION.to_string())
        .with(EncryptionContext::TOKEN, serial)
        .with(EncryptionContext::OBJECT, id)
        .with(EncryptionContext::SPEC, spec)
        .with(EncryptionContext::USAGE, usage(class, object))
        .with(EncryptionContext::POLICY, STANDARD.encode(Hash::Sha256.digest(&canonical_policy(class, object))));
    Ok(match form {
        SealForm::Kms => context,
        // What KMS opens is then not the key, and must not pass for it.
        SealForm::Envelope => context.with(EncryptionContext::ENVELOPE, "AES_256_GCM"),
    })
}

/// What an object says of its key beside what is bound.
const TELLS_THE_KEY: [CK_ATTRIBUTE_TYPE; 8] = [
    CKA_UNIQUE_ID,
    CKA_PUBLIC_KEY_INFO,
    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT,
    CKA_EC_PARAMS,
    CKA_PARAMETER_SET,
    CKA_PRIME,
    CKA_BASE,
];

/// What [`seal_tag`] makes.
pub type SealTag = [u8; 32];

/// A digest that stays the same as long as unwrapping the object gives the same key under the same
/// checks: it moves with the blob and with everything that is bound, and not with names.
pub fn seal_tag(object: &Attributes, blob: &[u8]) -> SealTag {
    let mut digester = Digester::new(Hash::Sha256);
    // Each part with its length, so that nothing can move from one to the next.
    let mut part = |part: &[u8]| {
        digester.update(&(part.len() as u64).to_be_bytes());
        digester.update(part);
    };
    part(blob);
    if let Ok(class) = object.class() {
        part(usage(class, object).as_bytes());
        part(&canonical_policy(class, object));
    }
    for attribute in TELLS_THE_KEY {
        part(object.bytes(attribute));
    }
    let digest = digester.finish();
    digest.first_chunk().copied().unwrap_or_default()
}

/// The usages that the key has, sorted and joined by commas; `none` for a key without any, because KMS
/// takes no empty values.
pub fn usage(class: &Class, object: &Attributes) -> String {
    let mut words: Vec<&str> = class
        .rules()
        .filter_map(|rule| match rule.bound {
            Bound::Usage(word) if object.is(rule.attribute) => Some(word),
            _ => None,
        })
        .collect();
    words.sort_unstable();
    if words.is_empty() { "none".to_owned() } else { words.join(",") }
}

/// Every other bound attribute that the object has, by rising type: type (8 bytes), length (4 bytes),
/// value, after the version of the encoding. An attribute that the object lacks is not encoded, so
/// that its appearance or disappearance changes the digest as well.
fn canonical_policy(class: &Class, object: &Attributes) -> Vec<u8> {
    let mut bound: Vec<_> =
        class.rules().filter(|rule| rule.bound == Bound::Policy).map(|rule| rule.attribute).collect();
    bound.sort_unstable();
    let mut encoding = vec![VERSION];
    for attribute in bound {
        if let Some(value) = object.get(&attribute) {
            encoding.extend(attribute.to_be_bytes());
            encoding.extend((value.len() as u32).to_be_bytes());
            encoding.extend(value);
        }
    }
    encoding
}

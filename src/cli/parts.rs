//! Keys as templates: what an object is made of that comes from elsewhere.

use super::output::Failure;
use crate::crypto::{PrivateKey, PublicKey, Secret};
use crate::object::template::Given;
use crate::object::vendor::key_type;
use crate::object::{attribute as forms, keypair, private_parts};
use crate::store::Attributes;
use cryptoki_sys::*;

/// Attributes in their native form. They may be those of a private key.
pub(super) type Parts = Vec<(CK_ATTRIBUTE_TYPE, Secret)>;

/// Both halves of a key pair.
pub(super) struct Halves {
    pub(super) public: Parts,
    pub(super) private: Parts,
}

/// What both halves of a pair are made of, with the private key.
pub(super) fn of_private_key(key: &PrivateKey) -> Result<Halves, Failure> {
    let mut halves = of_public_key(key.public_key())?;
    halves.private.extend(private_parts(key)?);
    Ok(halves)
}

/// What follows from the public key, for both halves.
pub(super) fn of_public_key(key: &PublicKey) -> Result<Halves, Failure> {
    const NEVER_GIVEN: &[CK_ATTRIBUTE_TYPE] = &[CKA_MODULUS_BITS, CKA_PUBLIC_KEY_INFO];
    const OF_PUBLIC_KEYS: &[CK_ATTRIBUTE_TYPE] = &[CKA_EC_POINT, CKA_VALUE];
    let mut described = Attributes::new();
    keypair::describe_public(&mut described, key)?;
    let [mut public, mut private] = [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY]
        .map(|class| vec![number(CKA_CLASS, class), number(CKA_KEY_TYPE, key_type(key.kind()))]);
    for (attribute, value) in described.iter().filter(|(attribute, _)| !NEVER_GIVEN.contains(attribute)) {
        let Some(kind) = forms::kind(*attribute) else { continue };
        let value = forms::native(kind, value);
        if !OF_PUBLIC_KEYS.contains(attribute) {
            private.push((*attribute, Secret::new(value.clone())));
        }
        public.push((*attribute, Secret::new(value)));
    }
    Ok(Halves { public, private })
}

/// A number.
pub(super) fn number(attribute: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> (CK_ATTRIBUTE_TYPE, Secret) {
    (attribute, Secret::new(value.to_ne_bytes().to_vec()))
}

/// The value of an attribute; empty where there is none.
pub(super) fn get(parts: &Parts, attribute: CK_ATTRIBUTE_TYPE) -> &[u8] {
    parts.iter().find(|(named, _)| *named == attribute).map_or(&[], |(_, value)| value.expose())
}

/// These attributes as a template.
pub(super) fn template(parts: &Parts) -> Vec<Given<'_>> {
    parts.iter().map(|(attribute, value)| (*attribute, value.expose())).collect()
}

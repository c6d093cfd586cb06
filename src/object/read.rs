//! What there is to be read of an object (`C_GetAttributeValue`).

use super::attribute::{self, Kind, native};
use super::vendor::has_sealed_value;
use super::{Look, nested};
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::mechanism;
use crate::store::Attributes;
use cryptoki_sys::*;

/// What `C_GetAttributeValue` answers for one attribute.
pub enum Answer {
    /// The value, in the form that callers see.
    Bytes(Vec<u8>),
    /// The value of a secret part of a key.
    Secret(Secret),
    /// Only the length of the value, in bytes: the caller has no room for more.
    Length(usize),
    /// A template, whose values are answers in turn.
    Template(Vec<(CK_ATTRIBUTE_TYPE, Answer)>),
}

impl Answer {
    /// A canonical value of this kind. Errors only for a template that is none.
    pub fn of(kind: Kind, value: &[u8]) -> Result<Self> {
        match kind {
            Kind::Template => nested::answer(value),
            _ => Ok(Self::Bytes(native(kind, value))),
        }
    }
}

/// What there is to be read of one attribute.
pub enum Reading {
    /// This, as it lies in the object.
    Open(Answer),
    /// A secret part of a key that may be revealed: the key has to be opened for it.
    Secret,
    /// This, which moves with each use of the key: the object has to be read afresh.
    Moving(Answer),
    /// A word about how the key is sealed, or a value that is sealed itself: the token tells.
    Sealed,
}

/// Reads one attribute (`C_GetAttributeValue`).
///
/// Errors: `AttributeTypeInvalid` if objects of the class have no such attribute, `AttributeSensitive` if
/// it is secret and the key is sensitive, not extractable, or asks for a login at each use.
pub fn read(object: &Attributes, attribute: CK_ATTRIBUTE_TYPE) -> Result<Reading> {
    let class = object.class()?;
    let rule = class.rule(attribute).ok_or(Cause::AttributeTypeInvalid)?;
    if rule.secret {
        // No login for a single use can be asked of who reads a value.
        let each_use = object.is(CKA_ALWAYS_AUTHENTICATE);
        let revealed = !object.is(CKA_SENSITIVE) && object.is(CKA_EXTRACTABLE) && !each_use;
        return if revealed { Ok(Reading::Secret) } else { Err(Cause::AttributeSensitive.into()) };
    }
    if rule.seal || (attribute == CKA_VALUE && has_sealed_value(object)) {
        return Ok(Reading::Sealed);
    }
    let kind = attribute::kind(attribute).ok_or(Cause::AttributeTypeInvalid)?;
    let answer = match object.get(&attribute) {
        Some(value) => Answer::of(kind, value)?,
        // An empty list would say that nothing is allowed, and some clients take its absence for a
        // defect: an unrestricted key answers with all that it can do.
        None if attribute == CKA_ALLOWED_MECHANISMS => {
            let key_type = object.number(CKA_KEY_TYPE).ok_or(Cause::AttributeTypeInvalid)?;
            Answer::Bytes(mechanism::for_key_type(key_type).flat_map(|row| row.id.to_ne_bytes()).collect())
        }
        None => return Err(Cause::AttributeTypeInvalid.into()),
    };
    Ok(if rule.moves { Reading::Moving(answer) } else { Reading::Open(answer) })
}

//! Attributes whose value is a template: `CKA_WRAP_TEMPLATE` and its kin.
//!
//! Callers hold them as arrays of `CK_ATTRIBUTE`, full of pointers. Here such a template is one string of
//! bytes: for each attribute its type (8 bytes, big-endian), the length of its value (4 bytes) and the value.
//! In the canonical form values are canonical and types ascend strictly.

use super::attribute::{self, Kind, kind};
use super::read::Answer;
use crate::error::{Cause, Result};
use cryptoki_sys::CK_ATTRIBUTE_TYPE;
use std::collections::BTreeMap;

/// How deep templates may lie in templates: a `CKA_UNWRAP_TEMPLATE` for keys that unwrap, and one more.
pub const DEEPEST: usize = 3;

/// The bytes of a template.
pub fn encode<V: AsRef<[u8]>>(entries: impl IntoIterator<Item = (CK_ATTRIBUTE_TYPE, V)>) -> Result<Vec<u8>> {
    let mut encoding = Vec::new();
    for (attribute, value) in entries {
        let value = value.as_ref();
        let len = u32::try_from(value.len()).map_err(|_| Cause::AttributeValueInvalid.with("a template's length"))?;
        encoding.extend(attribute.to_be_bytes());
        encoding.extend(len.to_be_bytes());
        encoding.extend(value);
    }
    Ok(encoding)
}

/// The attributes in the bytes of a template. `AttributeValueInvalid` if they are none.
pub fn decode(mut encoding: &[u8]) -> Result<Vec<(CK_ATTRIBUTE_TYPE, &[u8])>> {
    let mut entries = Vec::new();
    while !encoding.is_empty() {
        let entry = encoding.split_first_chunk::<8>().and_then(|(attribute, rest)| {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            Some((CK_ATTRIBUTE_TYPE::from_be_bytes(*attribute), value, rest))
        });
        let (attribute, value, rest) = entry.ok_or_else(|| Cause::AttributeValueInvalid.with("a template's bytes"))?;
        entries.push((attribute, value));
        encoding = rest;
    }
    Ok(entries)
}

/// The canonical form of a template whose values are native.
///
/// Errors as for a template of the caller's own, and `AttributeValueInvalid` beyond [`DEEPEST`].
pub fn canonical(encoding: &[u8]) -> Result<Vec<u8>> {
    canonical_at(encoding, 1)
}

fn canonical_at(encoding: &[u8], depth: usize) -> Result<Vec<u8>> {
    if depth > DEEPEST {
        return Err(Cause::AttributeValueInvalid.with("templates in templates in templates"));
    }
    let mut values = BTreeMap::new();
    for (attribute, value) in decode(encoding)? {
        let about = || attribute::name(attribute);
        let value = match kind(attribute).ok_or_else(|| Cause::AttributeTypeInvalid.with(about()))? {
            Kind::Template => canonical_at(value, depth + 1)?,
            kind => attribute::canonical(attribute, kind, value)?,
        };
        if values.insert(attribute, value.clone()).is_some_and(|earlier| earlier != value) {
            return Err(Cause::TemplateInconsistent.with(format!("{} twice in a template", about())));
        }
    }
    encode(values)
}

/// A canonical template as callers read it.
pub fn answer(encoding: &[u8]) -> Result<Answer> {
    let entries = decode(encoding)?.into_iter().map(|(attribute, value)| {
        let kind = kind(attribute).ok_or(Cause::AttributeTypeInvalid)?;
        Ok((attribute, Answer::of(kind, value)?))
    });
    entries.collect::<Result<_>>().map(Answer::Template)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::*;

    #[test]
    fn a_template_is_sorted_and_each_attribute_counts_once() {
        let (class, label) = (CKO_SECRET_KEY.to_ne_bytes(), *b"x");
        let given = encode([(CKA_LABEL, &label[..]), (CKA_CLASS, &class), (CKA_LABEL, &label)]).unwrap();
        let canonical = canonical(&given).unwrap();
        let expected: &[(_, &[u8])] = &[(CKA_CLASS, &CKO_SECRET_KEY.to_be_bytes()), (CKA_LABEL, &label)];
        assert_eq!(decode(&canonical).unwrap(), expected);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let cause = |encoding: &[u8]| canonical(encoding).unwrap_err().cause();
        let good = encode([(CKA_LABEL, b"abc")]).unwrap();
        for len in 1..good.len() {
            assert_eq!(cause(&good[..len]), Cause::AttributeValueInvalid, "{len}");
        }
        assert_eq!(cause(&encode([(0xCE53_6351, b"abc")]).unwrap()), Cause::AttributeTypeInvalid);
        assert_eq!(cause(&encode([(CKA_CLASS, b"abc")]).unwrap()), Cause::AttributeValueInvalid);
        assert_eq!(cause(&encode([(CKA_LABEL, b"a"), (CKA_LABEL, b"b")]).unwrap()), Cause::TemplateInconsistent);
    }

    #[test]
    fn templates_lie_in_templates_to_a_depth() {
        let mut template = encode([(CKA_LABEL, b"deep")]).unwrap();
        for _ in 1..DEEPEST {
            template = encode([(CKA_UNWRAP_TEMPLATE, &template)]).unwrap();
            assert!(canonical(&template).is_ok());
        }
        template = encode([(CKA_UNWRAP_TEMPLATE, &template)]).unwrap();
        assert_eq!(canonical(&template).unwrap_err().cause(), Cause::AttributeValueInvalid);
    }
}

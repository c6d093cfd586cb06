//! How objects change: `C_SetAttributeValue` and `C_CopyObject`.

use super::engine::consistent;
use super::rules::{Bound, Change, Rule};
use super::{Look, Template, attribute};
use crate::error::{Cause, Error, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// An object's attributes after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// All of them.
    pub attributes: Attributes,
    /// Whether one changed that a sealed key is bound to.
    pub bound: bool,
}

/// An object's attributes after `C_SetAttributeValue`; `None` if nothing would change. `so` tells whether
/// the security officer is logged in.
///
/// Errors: `ActionProhibited` for an object that is not modifiable, `AttributeTypeInvalid`,
/// `AttributeReadOnly`, `AttributeValueInvalid`.
pub fn with_changes(object: &Attributes, template: &Template, so: bool) -> Result<Option<Changed>> {
    if !object.is(CKA_MODIFIABLE) {
        return Err(Cause::ActionProhibited.with("CKA_MODIFIABLE is false"));
    }
    if object.number(CKA_CLASS) == Some(CKO_CERTIFICATE) && object.is(CKA_TRUSTED) {
        return Err(Cause::ActionProhibited.with("trusted certificates cannot be modified (section 4.6.2)"));
    }
    let changed = changed(object, template, so, |rule| rule.change)?;
    if !so && changed.attributes.is(CKA_TRUSTED) && is_used_otherwise(object, &changed.attributes)? {
        return Err(Cause::ActionProhibited.with("CKA_TRUSTED: only the SO changes what a trusted key may do"));
    }
    Ok((changed.attributes != *object).then_some(changed))
}

/// Whether a change goes to what a key may do. `CKA_TRUSTED` is the security officer's word (footnote 10) on the key
/// as it was then; to trusted certificates, section 4.6.2 says the same of every attribute.
fn is_used_otherwise(object: &Attributes, changed: &Attributes) -> Result<bool> {
    let class = object.class()?;
    Ok(class.rules().any(|rule| {
        let attribute = rule.attribute;
        let is_usage = rule.change == Change::Free && attribute::kind(attribute) == Some(attribute::Kind::Bool);
        is_usage && object.get(&attribute) != changed.get(&attribute)
    }))
}

/// The attributes of a copy of an object (`C_CopyObject`), all but `CKA_UNIQUE_ID`. Only the security officer's copy
/// of what is trusted is trusted: the officer did not see what others give theirs.
///
/// Errors: `ActionProhibited` for an object that is not copyable, and those of [`with_changes`].
pub fn copied(object: &Attributes, template: &Template, so: bool) -> Result<Attributes> {
    if !object.is(CKA_COPYABLE) {
        return Err(Cause::ActionProhibited.with("CKA_COPYABLE is false"));
    }
    let mut copy = changed(object, template, so, |rule| rule.copy)?.attributes;
    copy.remove(&CKA_UNIQUE_ID);
    if !so && copy.is(CKA_TRUSTED) {
        if template.boolean(CKA_TRUSTED) == Some(true) {
            return Err(Cause::AttributeReadOnly.with("CKA_TRUSTED"));
        }
        copy.insert(CKA_TRUSTED, attribute::boolean(false));
    }
    Ok(copy)
}

fn changed(object: &Attributes, template: &Template, so: bool, how: fn(&Rule) -> Change) -> Result<Changed> {
    let class = object.class()?;
    let mut changed = Changed { attributes: object.clone(), bound: false };
    for (attribute, value) in template.iter() {
        let about = |cause: Cause| -> Error { cause.with(attribute::name(attribute)) };
        let rule = class.rule(attribute).ok_or_else(|| about(Cause::AttributeTypeInvalid))?;
        if object.get(&attribute) == Some(value) {
            continue;
        }
        let permitted = match how(rule) {
            Change::Free => true,
            Change::Never => false,
            Change::OnceTrue => value.as_slice() == [1],
            Change::OnceFalse => value.as_slice() == [0],
            Change::Officer => so || value.as_slice() == [0],
            Change::Erase => value.is_empty(),
            Change::Given => return Err(about(Cause::AttributeValueInvalid)),
        };
        if !permitted {
            return Err(about(Cause::AttributeReadOnly));
        }
        changed.attributes.insert(attribute, value.clone());
        changed.bound |= rule.bound != Bound::No;
    }
    consistent(&changed.attributes)?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::super::engine::{Origin, build};
    use super::super::rules::Class;
    use super::*;

    fn public_rsa() -> &'static Class {
        Class::of(CKO_PUBLIC_KEY, Some(CKK_RSA)).unwrap()
    }

    fn template(given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Template {
        Template::parse(given).unwrap()
    }

    fn set(object: &Attributes, given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Result<Option<Changed>> {
        with_changes(object, &template(given), false)
    }

    #[test]
    fn only_free_attributes_change_and_only_on_modifiable_objects() {
        let data = Class::of(CKO_DATA, None).unwrap();
        let class = CKO_DATA.to_ne_bytes();
        let object = build(data, &template(&[(CKA_CLASS, &class)]), Origin::Create, false).unwrap();
        let changed = set(&object, &[(CKA_LABEL, b"new")]).unwrap().unwrap();
        assert_eq!((changed.attributes.bytes(CKA_LABEL), changed.bound), (&b"new"[..], false));
        assert_eq!(set(&object, &[(CKA_LABEL, b"")]).unwrap(), None);
        assert_eq!(set(&object, &[(CKA_TOKEN, &[1])]).unwrap_err().cause(), Cause::AttributeReadOnly);
        let fixed =
            build(data, &template(&[(CKA_CLASS, &class), (CKA_MODIFIABLE, &[0])]), Origin::Create, false).unwrap();
        assert_eq!(set(&fixed, &[(CKA_LABEL, b"new")]).unwrap_err().cause(), Cause::ActionProhibited);
    }

    #[test]
    fn what_goes_one_way_does_not_come_back_not_even_by_a_copy() {
        let aes = Class::of(CKO_SECRET_KEY, Some(CKK_AES)).unwrap();
        let len = 16_u64.to_ne_bytes();
        let open: &[(_, &[u8])] =
            &[(CKA_VALUE_LEN, &len), (CKA_SENSITIVE, &[0]), (CKA_EXTRACTABLE, &[1]), (CKA_COPYABLE, &[1])];
        let open = build(aes, &template(open), Origin::Generate, false).unwrap();
        let ways: &[(_, u8)] =
            &[(CKA_SENSITIVE, 1), (CKA_EXTRACTABLE, 0), (CKA_WRAP_WITH_TRUSTED, 1), (CKA_COPYABLE, 0)];
        for (attribute, to) in ways {
            let changed = set(&open, &[(*attribute, &[*to])]).unwrap().unwrap();
            assert!(changed.bound);
            let back: &[(_, &[u8])] = &[(*attribute, &[1 - *to])];
            assert_eq!(set(&changed.attributes, back).unwrap_err().cause(), Cause::AttributeReadOnly);
            let copy = copied(&changed.attributes, &template(back), false).unwrap_err().cause();
            let prohibited = *attribute == CKA_COPYABLE;
            assert_eq!(copy, if prohibited { Cause::ActionProhibited } else { Cause::AttributeReadOnly });
        }
        let hidden = copied(&open, &template(&[(CKA_TOKEN, &[1]), (CKA_MODIFIABLE, &[0])]), false).unwrap();
        assert!(hidden.is(CKA_TOKEN) && !hidden.is(CKA_MODIFIABLE) && hidden.is(CKA_PRIVATE));
        let shown = copied(&hidden, &template(&[(CKA_PRIVATE, &[0])]), false).unwrap_err();
        assert_eq!(shown.cause(), Cause::AttributeReadOnly);
    }

    #[test]
    fn only_the_officer_says_that_something_is_trusted() {
        let bits = 2048_u64.to_ne_bytes();
        let key = build(public_rsa(), &template(&[(CKA_MODULUS_BITS, &bits)]), Origin::Generate, false).unwrap();
        let trusted = template(&[(CKA_TRUSTED, &[1])]);
        assert_eq!(with_changes(&key, &trusted, false).unwrap_err().cause(), Cause::AttributeReadOnly);
        let trusted = with_changes(&key, &trusted, true).unwrap().unwrap().attributes;
        assert!(trusted.is(CKA_TRUSTED));
        assert!(!set(&trusted, &[(CKA_TRUSTED, &[0])]).unwrap().unwrap().attributes.is(CKA_TRUSTED));
        // What it may do changes by the officer's hand, or with the trust given up; names change as ever.
        let less: &[(_, &[u8])] = &[(CKA_VERIFY, &[0])];
        assert_eq!(set(&trusted, less).unwrap_err().cause(), Cause::ActionProhibited);
        assert!(with_changes(&trusted, &template(less), true).unwrap().unwrap().attributes.is(CKA_TRUSTED));
        assert!(set(&trusted, &[less[0], (CKA_TRUSTED, &[0])]).is_ok() && set(&trusted, &[(CKA_LABEL, b"x")]).is_ok());
        for (so, given) in [(false, &[][..]), (true, &[]), (true, less)] {
            assert_eq!(copied(&trusted, &template(given), so).unwrap().is(CKA_TRUSTED), so);
        }
        let insisting = copied(&trusted, &template(&[(CKA_TRUSTED, &[1])]), false).unwrap_err();
        assert_eq!(insisting.cause(), Cause::AttributeReadOnly);
    }
}

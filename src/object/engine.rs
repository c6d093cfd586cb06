//! The one engine that reads the attribute rules.

use super::attribute::{self, boolean, native, ulong};
use super::rules::{Bound, Change, Class, Rule, Say, Unsaid};
use super::{Look, Template};
use crate::error::{Cause, Error, Result};
use crate::mechanism;
use crate::store::Attributes;
use cryptoki_sys::*;

/// How an object comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `C_CreateObject`.
    Create,
    /// By `C_GenerateKey` or `C_GenerateKeyPair`.
    Generate,
    /// By `C_UnwrapKey`, `C_DeriveKey`, `C_EncapsulateKey` or `C_DecapsulateKey`.
    Arrive,
}

/// The attributes of a new object as far as template and rules decide them: what is computed from the
/// object itself is added by the caller. Secret values stay in the template.
///
/// `so` tells whether the security officer is logged in, who alone may set `CKA_TRUSTED`.
/// Errors: `TemplateInconsistent`, `AttributeReadOnly`, `TemplateIncomplete` (section 4.1.1).
pub fn build(class: &Class, template: &Template, origin: Origin, so: bool) -> Result<Attributes> {
    let about = |cause: Cause, attribute| -> Error { cause.with(attribute::name(attribute)) };
    let says = |rule: &Rule| match origin {
        Origin::Create => rule.create,
        Origin::Generate => rule.generate,
        Origin::Arrive => rule.arrive,
    };
    for (attribute, value) in template.iter() {
        let rule = class.rule(attribute).ok_or_else(|| about(Cause::TemplateInconsistent, attribute))?;
        let officers_only = attribute == CKA_TRUSTED && !so && value.as_slice() == [1];
        if says(rule) == Say::Never || officers_only {
            return Err(about(Cause::AttributeReadOnly, attribute));
        }
    }
    let mut attributes = Attributes::new();
    for rule in class.rules() {
        let value = match (template.get(rule.attribute), rule.default) {
            (Some(_), _) if rule.secret => continue,
            (Some(value), _) => value.to_vec(),
            (None, _) if says(rule) == Say::Must => return Err(about(Cause::TemplateIncomplete, rule.attribute)),
            (None, Unsaid::True) => boolean(true),
            (None, Unsaid::False) => boolean(false),
            (None, Unsaid::Empty) => Vec::new(),
            (None, Unsaid::Number(number)) => ulong(number),
            (None, Unsaid::Computed | Unsaid::Absent) => continue,
        };
        attributes.insert(rule.attribute, value);
    }
    attributes.insert(CKA_CLASS, ulong(class.class));
    if let (Some(attribute), Some(kind)) = (Class::kind_attribute(class.class), class.kind) {
        attributes.insert(attribute, ulong(kind));
    }
    Ok(attributes)
}

/// Reads one attribute in the form that callers see (`C_GetAttributeValue`).
///
/// Errors: `AttributeTypeInvalid` if objects of the class have no such attribute,
/// `AttributeSensitive` if it is secret.
pub fn read(object: &Attributes, attribute: CK_ATTRIBUTE_TYPE) -> Result<Vec<u8>> {
    let class = object.class()?;
    let rule = class.rule(attribute).ok_or(Cause::AttributeTypeInvalid)?;
    if rule.secret {
        return Err(Cause::AttributeSensitive.into());
    }
    let kind = attribute::kind(attribute).ok_or(Cause::AttributeTypeInvalid)?;
    match object.get(&attribute) {
        Some(value) => Ok(native(kind, value)),
        // An empty list would say that nothing is allowed, and some clients take its absence for a
        // defect: an unrestricted key answers with all that it can do.
        None if attribute == CKA_ALLOWED_MECHANISMS => {
            let key_type = object.number(CKA_KEY_TYPE).ok_or(Cause::AttributeTypeInvalid)?;
            Ok(mechanism::for_key_type(key_type).flat_map(|row| row.id.to_ne_bytes()).collect())
        }
        None => Err(Cause::AttributeTypeInvalid.into()),
    }
}

/// An object's attributes after `C_SetAttributeValue`; `None` if nothing would change.
///
/// Errors: `ActionProhibited` for an object that is not modifiable, `AttributeTypeInvalid`,
/// `AttributeReadOnly`.
pub fn with_changes(object: &Attributes, template: &Template) -> Result<Option<Attributes>> {
    let class = object.class()?;
    if !object.is(CKA_MODIFIABLE) {
        return Err(Cause::ActionProhibited.with("CKA_MODIFIABLE is false"));
    }
    let mut changed = object.clone();
    for (attribute, value) in template.iter() {
        let rule = class.rule(attribute).ok_or_else(|| Cause::AttributeTypeInvalid.with(attribute::name(attribute)))?;
        if object.get(&attribute) == Some(value) {
            continue;
        }
        // A bound attribute of a sealed key only changes together with its seal, which this version
        // cannot do.
        let sealed = matches!(class.class, CKO_PRIVATE_KEY | CKO_SECRET_KEY) && rule.bound != Bound::No;
        if rule.change == Change::Never || rule.secret || sealed {
            return Err(Cause::AttributeReadOnly.with(attribute::name(attribute)));
        }
        changed.insert(attribute, value.clone());
    }
    Ok((changed != *object).then_some(changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public_rsa() -> &'static Class {
        Class::of(CKO_PUBLIC_KEY, Some(CKK_RSA)).unwrap()
    }

    fn template(given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Template {
        Template::parse(given).unwrap()
    }

    fn refused(given: &[(CK_ATTRIBUTE_TYPE, &[u8])], origin: Origin, so: bool) -> Cause {
        build(public_rsa(), &template(given), origin, so).unwrap_err().cause()
    }

    #[test]
    fn a_template_is_judged_by_the_rules_of_its_class() {
        let bits = 2048_u64.to_ne_bytes();
        assert_eq!(refused(&[], Origin::Generate, false), Cause::TemplateIncomplete);
        assert_eq!(refused(&[(CKA_SENSITIVE, &[1])], Origin::Generate, false), Cause::TemplateInconsistent);
        assert_eq!(refused(&[(CKA_LOCAL, &[1])], Origin::Generate, false), Cause::AttributeReadOnly);
        assert_eq!(refused(&[(CKA_UNIQUE_ID, b"x")], Origin::Create, false), Cause::AttributeReadOnly);
        assert_eq!(refused(&[(CKA_TRUSTED, &[1])], Origin::Generate, false), Cause::AttributeReadOnly);
        let given: &[(_, &[u8])] = &[(CKA_TRUSTED, &[1]), (CKA_MODULUS_BITS, &bits)];
        assert!(build(public_rsa(), &template(given), Origin::Generate, true).unwrap().is(CKA_TRUSTED));
    }

    #[test]
    fn silent_templates_get_every_usage_that_the_key_type_allows() {
        let bits = 2048_u64.to_ne_bytes();
        let key = build(public_rsa(), &template(&[(CKA_MODULUS_BITS, &bits)]), Origin::Generate, false).unwrap();
        assert!(key.is(CKA_VERIFY) && key.is(CKA_ENCRYPT) && !key.is(CKA_DERIVE) && !key.is(CKA_PRIVATE));
    }

    #[test]
    fn only_free_attributes_change_and_only_on_modifiable_objects() {
        let data = Class::of(CKO_DATA, None).unwrap();
        let class = CKO_DATA.to_ne_bytes();
        let object = build(data, &template(&[(CKA_CLASS, &class)]), Origin::Create, false).unwrap();
        let changed = with_changes(&object, &template(&[(CKA_LABEL, b"new")])).unwrap().unwrap();
        assert_eq!(changed.bytes(CKA_LABEL), b"new");
        assert_eq!(with_changes(&object, &template(&[(CKA_LABEL, b"")])).unwrap(), None);
        let error = with_changes(&object, &template(&[(CKA_TOKEN, &[1])])).unwrap_err();
        assert_eq!(error.cause(), Cause::AttributeReadOnly);
        let fixed =
            build(data, &template(&[(CKA_CLASS, &class), (CKA_MODIFIABLE, &[0])]), Origin::Create, false).unwrap();
        let error = with_changes(&fixed, &template(&[(CKA_LABEL, b"new")])).unwrap_err();
        assert_eq!(error.cause(), Cause::ActionProhibited);
    }
}

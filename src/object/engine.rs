//! The one engine that reads the attribute rules.

use super::attribute::{self, boolean, ulong};
use super::rules::{Change, Class, Rule, Say, Unsaid};
use super::{Look, Template, otp, trust};
use crate::error::{Cause, Error, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// How an object comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `C_CreateObject`.
    Create,
    /// By `C_GenerateKey` or `C_GenerateKeyPair`.
    Generate,
    /// By `C_CreateObject`, sealed by another client of KMS: the rest of the template is that of a key which
    /// arrives.
    Sealed,
    /// By `C_UnwrapKey`, `C_DeriveKey`, `C_EncapsulateKey` or `C_DecapsulateKey`.
    Arrive,
}

/// The attributes of a new object as far as template and rules decide them: what is computed from the
/// object itself is added by the caller. Secret values and words about a seal stay in the template.
///
/// `so` tells whether the security officer is logged in, who alone may set `CKA_TRUSTED`.
/// Errors: `TemplateInconsistent`, `AttributeReadOnly`, `TemplateIncomplete` (section 4.1.1).
pub fn build(class: &Class, template: &Template, origin: Origin, so: bool) -> Result<Attributes> {
    let about = |cause: Cause, attribute| -> Error { cause.with(attribute::name(attribute)) };
    let says = |rule: &Rule| match origin {
        Origin::Create => rule.create,
        Origin::Generate => rule.generate,
        Origin::Sealed if rule.seal => rule.create,
        Origin::Sealed => rule.arrive,
        Origin::Arrive => rule.arrive,
    };
    for (attribute, value) in template.iter() {
        let rule = class.rule(attribute).ok_or_else(|| about(Cause::TemplateInconsistent, attribute))?;
        let officers_only = rule.change == Change::Officer && !so && value.as_slice() == [1];
        if says(rule) == Say::Never || officers_only {
            return Err(about(Cause::AttributeReadOnly, attribute));
        }
    }
    let mut attributes = Attributes::new();
    for rule in class.rules() {
        let value = match (template.get(rule.attribute), rule.default) {
            (Some(_), _) if rule.secret || rule.seal => continue,
            (Some(value), _) => value.to_vec(),
            (None, _) if says(rule) == Say::Must => return Err(about(Cause::TemplateIncomplete, rule.attribute)),
            (None, Unsaid::True) => boolean(true),
            (None, Unsaid::False) => boolean(false),
            (None, Unsaid::Empty) => Vec::new(),
            (None, Unsaid::Number(number)) => ulong(number),
            (None, Unsaid::Zeros(len)) => vec![0; len],
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

/// Checks what no single attribute tells. `TemplateIncomplete` or `AttributeValueInvalid` if it does not hold.
pub fn consistent(object: &Attributes) -> Result<()> {
    match object.number(CKA_CLASS) {
        Some(CKO_TRUST) => trust::check(object),
        Some(CKO_OTP_KEY) => otp::check(object),
        _ => Ok(()),
    }
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
}

//! Templates: what a caller says of an object, checked once and kept in canonical form.

use super::attribute::{self, canonical, kind};
use super::nested;
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// An attribute as the caller gave it: type and native value.
pub type Given<'a> = (CK_ATTRIBUTE_TYPE, &'a [u8]);

/// A checked template. Its values may be those of keys: they are wiped when it is dropped, and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Template(BTreeMap<CK_ATTRIBUTE_TYPE, Zeroizing<Vec<u8>>>);

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(|attribute| attribute::name(*attribute))).finish()
    }
}

impl Template {
    /// Checks a caller's template (section 4.1.1).
    ///
    /// An attribute named twice with the same value counts once. Errors: `AttributeTypeInvalid`,
    /// `AttributeValueInvalid`, `TemplateInconsistent` for two values of one attribute.
    pub fn parse(given: &[Given<'_>]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (attribute, value) in given {
            let kind = kind(*attribute).ok_or_else(|| Cause::AttributeTypeInvalid.with(attribute::name(*attribute)))?;
            let value = Zeroizing::new(canonical(*attribute, kind, value)?);
            if values.insert(*attribute, value.clone()).is_some_and(|earlier| earlier != value) {
                return Err(Cause::TemplateInconsistent.with(format!("{} twice", attribute::name(*attribute))));
            }
        }
        Ok(Self(values))
    }

    /// What a search asks for, in canonical form; `None` if nothing can match, as for an attribute
    /// that no object has or a value of the wrong length.
    pub fn query(given: &[Given<'_>]) -> Option<Vec<(u64, Vec<u8>)>> {
        given
            .iter()
            .map(|(attribute, value)| {
                let value = canonical(*attribute, kind(*attribute)?, value).ok()?;
                Some((*attribute, value))
            })
            .collect()
    }

    /// What it says of these attributes alone.
    pub fn only(&self, attributes: &[CK_ATTRIBUTE_TYPE]) -> Self {
        let named = self.0.iter().filter(|(attribute, _)| attributes.contains(attribute));
        Self(named.map(|(attribute, value)| (*attribute, value.clone())).collect())
    }

    /// Says an attribute, whatever was said of it; the value in canonical form.
    pub fn say(&mut self, attribute: CK_ATTRIBUTE_TYPE, value: Vec<u8>) {
        self.0.insert(attribute, Zeroizing::new(value));
    }

    /// The attributes that are named, with their canonical values.
    pub fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &Vec<u8>)> {
        self.0.iter().map(|(attribute, value)| (*attribute, &**value))
    }

    /// The canonical value of an attribute, if it is named.
    pub fn get(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.get(&attribute).map(|value| value.as_slice())
    }

    /// A number, if it is named.
    pub fn number(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        attribute::ulongs(self.get(attribute)?).next()
    }

    /// A boolean, if it is named.
    pub fn boolean(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<bool> {
        self.get(attribute).map(|value| value == [1])
    }

    /// Whether the object has every attribute that is named, with the value that is named: what a wrapping key
    /// asks of the keys it wraps (`CKA_WRAP_TEMPLATE`).
    pub fn matches(&self, object: &Attributes) -> bool {
        self.0.iter().all(|(attribute, value)| object.get(attribute) == Some(&**value))
    }

    /// This template with all that `imposed` names (`CKA_UNWRAP_TEMPLATE`, `CKA_DERIVE_TEMPLATE`).
    /// `TemplateInconsistent` where the two contradict each other.
    pub fn under(mut self, imposed: &Self) -> Result<Self> {
        for (attribute, value) in &imposed.0 {
            if self.0.insert(*attribute, value.clone()).is_some_and(|said| said != *value) {
                let name = attribute::name(*attribute);
                return Err(Cause::TemplateInconsistent.with(format!("{name} contradicts the key's own template")));
            }
        }
        Ok(self)
    }

    /// Takes an attribute out.
    pub(super) fn remove(&mut self, attribute: CK_ATTRIBUTE_TYPE) {
        self.0.remove(&attribute);
    }

    /// Checks that a number, if named, is `expected`.
    pub fn expect(&self, attribute: CK_ATTRIBUTE_TYPE, expected: CK_ULONG) -> Result<()> {
        match self.number(attribute) {
            Some(found) if found != expected => {
                Err(Cause::TemplateInconsistent.with(format!("{} is {found:#x}", attribute::name(attribute))))
            }
            _ => Ok(()),
        }
    }
}

/// The template that an object has as the value of an attribute; `None` if it has none, or one without
/// attributes, which says nothing.
pub fn nested(object: &Attributes, attribute: CK_ATTRIBUTE_TYPE) -> Option<Template> {
    let entries = nested::decode(object.get(&attribute)?).ok().filter(|entries| !entries.is_empty())?;
    let values = entries.into_iter().map(|(attribute, value)| (attribute, Zeroizing::new(value.to_vec())));
    Some(Template(values.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Kind;
    use super::*;

    #[test]
    fn an_objects_own_template_is_matched_and_imposed() {
        let given = nested::encode([(CKA_LABEL, &b"a"[..]), (CKA_ENCRYPT, &[1])]).unwrap();
        let value = canonical(CKA_WRAP_TEMPLATE, Kind::Template, &given).unwrap();
        let wrapping = Attributes::from([(CKA_WRAP_TEMPLATE, value), (CKA_UNWRAP_TEMPLATE, Vec::new())]);
        let template = nested(&wrapping, CKA_WRAP_TEMPLATE).unwrap();
        for none in [CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE] {
            assert_eq!(nested(&wrapping, none), None);
        }
        let mut key = Attributes::from([(CKA_LABEL, b"a".to_vec()), (CKA_ENCRYPT, vec![1]), (CKA_ID, vec![])]);
        assert!(template.matches(&key));
        key.insert(CKA_ENCRYPT, vec![0]);
        assert!(!template.matches(&key));

        let said = |given: &[Given<'_>]| Template::parse(given).unwrap().under(&template);
        let joined = said(&[(CKA_LABEL, b"a"), (CKA_ID, b"1")]).unwrap();
        assert_eq!((joined.boolean(CKA_ENCRYPT), joined.get(CKA_ID)), (Some(true), Some(&b"1"[..])));
        assert_eq!(said(&[(CKA_ENCRYPT, &[0])]).unwrap_err().cause(), Cause::TemplateInconsistent);
    }

    #[test]
    fn the_same_twice_counts_once_and_two_values_contradict() {
        let same = Template::parse(&[(CKA_LABEL, b"a"), (CKA_LABEL, b"a")]).unwrap();
        assert_eq!(same.get(CKA_LABEL), Some(&b"a"[..]));
        let error = Template::parse(&[(CKA_LABEL, b"a"), (CKA_LABEL, b"b")]).unwrap_err();
        assert_eq!(error.cause(), Cause::TemplateInconsistent);
    }

    #[test]
    fn unknown_attributes_are_an_error_in_a_template_and_no_match_in_a_search() {
        let given: &[Given<'_>] = &[(0xCE53_6351, b"x")];
        assert_eq!(Template::parse(given).unwrap_err().cause(), Cause::AttributeTypeInvalid);
        assert_eq!(Template::query(given), None);
    }
}

//! Templates: what a caller says of an object, checked once and kept in canonical form.

use super::attribute::{self, canonical, kind};
use crate::error::{Cause, Result};
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

#[cfg(test)]
mod tests {
    use super::*;

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

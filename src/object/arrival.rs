//! Keys that a mechanism brings: by derivation, out of a wrapping or an encapsulation.

use super::engine::{Origin, build};
use super::history::{Past, settle};
use super::keypair::{describe_private, describe_public};
use super::rules::Class;
use super::{Look, Template, attribute, private_key, secret_key};
use crate::crypto::{PrivateKey, PublicKey, Secret};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// A key that is to come by a mechanism, as far as its template describes it.
pub struct Arrival {
    template: Template,
    attributes: Attributes,
}

impl Arrival {
    /// A key of the class and type that the template names. `so` tells whether the security officer is logged in.
    ///
    /// Errors beside those of templates: `AttributeValueInvalid` for a type of key that there is none of here.
    pub fn new(template: Template, so: bool) -> Result<Self> {
        let named = |attribute| template.number(attribute).ok_or_else(|| missing(attribute));
        Self::of(named(CKA_CLASS)?, Some(named(CKA_KEY_TYPE)?), template, so)
    }

    /// A secret key: a generic one, unless the template says otherwise.
    pub fn secret(template: Template, so: bool) -> Result<Self> {
        template.expect(CKA_CLASS, CKO_SECRET_KEY)?;
        let key_type = template.number(CKA_KEY_TYPE).unwrap_or(CKK_GENERIC_SECRET);
        Self::of(CKO_SECRET_KEY, Some(key_type), template, so)
    }

    /// A data object.
    pub fn data(template: Template, so: bool) -> Result<Self> {
        template.expect(CKA_CLASS, CKO_DATA)?;
        Self::of(CKO_DATA, None, template, so)
    }

    fn of(class: CK_OBJECT_CLASS, kind: Option<CK_ULONG>, mut template: Template, so: bool) -> Result<Self> {
        let row = Class::of(class, kind)
            .ok_or_else(|| Cause::AttributeValueInvalid.with(format!("keys of class {class:#x} and type {kind:?}")))?;
        let len = template.number(CKA_VALUE_LEN);
        if class == CKO_DATA {
            // It says how much is to be derived, and is no attribute of the object.
            template.remove(CKA_VALUE_LEN);
        }
        let mut attributes = build(row, &template, Origin::Arrive, so)?;
        if let Some(len) = len {
            attributes.insert(CKA_VALUE_LEN, attribute::ulong(len));
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            secret_key::check_length(kind.unwrap_or(CKK_GENERIC_SECRET), len)?;
        }
        Ok(Self { template, attributes })
    }

    /// What is known so far.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The length in bytes that the template asks for.
    pub fn value_len(&self) -> Option<usize> {
        self.attributes.number(CKA_VALUE_LEN).and_then(|len| usize::try_from(len).ok())
    }

    /// Whether a key of so many bytes could be the secret one that the template describes.
    pub fn may_have_length(&self, len: usize) -> bool {
        let key_type = self.attributes.number(CKA_KEY_TYPE).unwrap_or(CKK_GENERIC_SECRET);
        self.value_len().is_none_or(|said| said == len) && secret_key::check_length(key_type, len).is_ok()
    }

    /// Whether it is a secret key.
    pub fn is_secret(&self) -> bool {
        self.attributes.number(CKA_CLASS) == Some(CKO_SECRET_KEY)
    }

    /// Checks that such a secret key can have so many bytes; `TemplateIncomplete` if the template has to say how many.
    pub fn check_unsaid_length(&self, len: usize) -> Result<()> {
        let key_type = self.attributes.number(CKA_KEY_TYPE).unwrap_or(CKK_GENERIC_SECRET);
        secret_key::check_length(key_type, len).map_err(|_| missing(CKA_VALUE_LEN))
    }

    /// Sets an attribute that the template leaves open; `TemplateInconsistent` if it says something else.
    pub fn impose(&mut self, attribute: CK_ATTRIBUTE_TYPE, value: bool) -> Result<()> {
        if self.template.boolean(attribute).is_some_and(|said| said != value) {
            return Err(Cause::TemplateInconsistent.with(attribute::name(attribute)));
        }
        self.attributes.insert(attribute, attribute::boolean(value));
        Ok(())
    }

    /// Sets an attribute unless the template says it.
    pub fn suggest(&mut self, attribute: CK_ATTRIBUTE_TYPE, value: bool) {
        if self.template.get(attribute).is_none() {
            self.attributes.insert(attribute, attribute::boolean(value));
        }
    }

    /// Lets the value of a generic secret of the session be seen, unless the template says anything of who may: Java
    /// names no such attribute, and has no key agreement if it cannot read the value.
    pub fn suggest_open(&mut self) {
        let is_said = |attribute: &CK_ATTRIBUTE_TYPE| self.template.get(*attribute).is_some();
        let key_type = self.attributes.number(CKA_KEY_TYPE);
        if key_type == Some(CKK_GENERIC_SECRET)
            && !self.attributes.is(CKA_TOKEN)
            && ![CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED].iter().any(is_said)
        {
            self.attributes.insert(CKA_SENSITIVE, attribute::boolean(false));
            self.attributes.insert(CKA_EXTRACTABLE, attribute::boolean(true));
        }
    }

    /// The attributes of the secret key that arrived, complete but for `CKA_UNIQUE_ID`.
    pub fn secret_arrived(mut self, value: &Secret, past: Past) -> Result<Attributes> {
        secret_key::complete(&mut self.attributes, value)?;
        settle(&mut self.attributes, past)?;
        Ok(self.attributes)
    }

    /// The attributes of the private key that arrived. `TemplateInconsistent` if it is of another type than the
    /// template says, `AttributeValueInvalid` if it is another key than the template describes.
    pub fn private_arrived(mut self, key: &PrivateKey, past: Past) -> Result<Attributes> {
        let public = key.public_key();
        if self.attributes.number(CKA_KEY_TYPE) != Some(super::vendor::key_type(public.kind())) {
            return Err(Cause::TemplateInconsistent.with("the key is of another type than CKA_KEY_TYPE says"));
        }
        describe_private(&mut self.attributes, public)?;
        private_key::describe_secret(&mut self.attributes, key)?;
        self.check_description()?;
        settle(&mut self.attributes, past)?;
        Ok(self.attributes)
    }

    /// The attributes of the public half of a private key; what the template leaves open is that key's.
    pub fn public_half(template: Template, private: &Attributes, key: &PublicKey, so: bool) -> Result<Attributes> {
        let key_type = private.number(CKA_KEY_TYPE).unwrap_or_default();
        template.expect(CKA_CLASS, CKO_PUBLIC_KEY)?;
        template.expect(CKA_KEY_TYPE, key_type)?;
        let mut half = Self::of(CKO_PUBLIC_KEY, Some(key_type), template, so)?;
        const USAGES: [(CK_ATTRIBUTE_TYPE, CK_ATTRIBUTE_TYPE); 6] = [
            (CKA_ENCRYPT, CKA_DECRYPT),
            (CKA_VERIFY, CKA_SIGN),
            (CKA_VERIFY_RECOVER, CKA_SIGN_RECOVER),
            (CKA_WRAP, CKA_UNWRAP),
            (CKA_DERIVE, CKA_DERIVE),
            (CKA_ENCAPSULATE, CKA_DECAPSULATE),
        ];
        for (public, of_private) in USAGES {
            half.suggest(public, private.is(of_private));
        }
        for same in [CKA_ID, CKA_START_DATE, CKA_END_DATE, CKA_SUBJECT, CKA_ALLOWED_MECHANISMS] {
            if let (None, Some(value)) = (half.template.get(same), private.get(&same)) {
                half.attributes.insert(same, value.clone());
            }
        }
        if let Some(params) = private.get(&CKA_EC_PARAMS) {
            half.attributes.insert(CKA_EC_PARAMS, params.clone());
        }
        describe_public(&mut half.attributes, key)?;
        half.check_description()?;
        settle(&mut half.attributes, Past::Imported)?;
        if let Some(mechanism) = private.get(&CKA_KEY_GEN_MECHANISM) {
            half.attributes.insert(CKA_KEY_GEN_MECHANISM, mechanism.clone());
        }
        Ok(half.attributes)
    }

    /// A template may say what follows from the key, if it says it rightly.
    fn check_description(&self) -> Result<()> {
        const FOLLOW: [CK_ATTRIBUTE_TYPE; 8] = [
            CKA_MODULUS,
            CKA_PUBLIC_EXPONENT,
            CKA_EC_PARAMS,
            CKA_EC_POINT,
            CKA_VALUE,
            CKA_PARAMETER_SET,
            CKA_PRIME,
            CKA_BASE,
        ];
        for attribute in FOLLOW {
            let (said, is) = (self.template.get(attribute), self.attributes.get(&attribute));
            if said.is_some() && said != is.map(Vec::as_slice) {
                return Err(Cause::TemplateInconsistent.with(attribute::name(attribute)));
            }
        }
        if self.template.get(CKA_PUBLIC_KEY_INFO).is_some_and(|said| said != self.attributes.bytes(CKA_PUBLIC_KEY_INFO))
        {
            return Err(Cause::AttributeValueInvalid.with("CKA_PUBLIC_KEY_INFO is not of this key"));
        }
        Ok(())
    }
}

fn missing(attribute: CK_ATTRIBUTE_TYPE) -> crate::error::Error {
    Cause::TemplateIncomplete.with(attribute::name(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(given: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Template {
        Template::parse(given).unwrap()
    }

    fn cause(arrival: Result<Arrival>) -> Cause {
        arrival.err().unwrap().cause()
    }

    #[test]
    fn a_secret_key_is_generic_and_as_long_as_it_comes_unless_the_template_says_otherwise() {
        let generic = Arrival::secret(Template::default(), false).unwrap();
        assert_eq!((generic.attributes().number(CKA_KEY_TYPE), generic.value_len()), (Some(CKK_GENERIC_SECRET), None));
        let (aes, len) = (CKK_AES.to_ne_bytes(), 16_u64.to_ne_bytes());
        let arrival = Arrival::secret(template(&[(CKA_KEY_TYPE, &aes), (CKA_VALUE_LEN, &len)]), false).unwrap();
        assert_eq!(arrival.value_len(), Some(16));
        let past = Past::Derived { always_sensitive: true, never_extractable: true };
        let key = arrival.secret_arrived(&Secret::zeroed(16), past).unwrap();
        assert!(key.is(CKA_ALWAYS_SENSITIVE) && key.is(CKA_NEVER_EXTRACTABLE) && !key.is(CKA_LOCAL));

        let odd = 17_u64.to_ne_bytes();
        let given = template(&[(CKA_KEY_TYPE, &aes), (CKA_VALUE_LEN, &odd)]);
        assert_eq!(cause(Arrival::secret(given, false)), Cause::AttributeValueInvalid);
        let public = template(&[(CKA_CLASS, &CKO_PUBLIC_KEY.to_ne_bytes())]);
        assert_eq!(cause(Arrival::secret(public, false)), Cause::TemplateInconsistent);
        let value = template(&[(CKA_VALUE, b"known")]);
        assert_eq!(cause(Arrival::secret(value, false)), Cause::AttributeReadOnly);
        let silent = Arrival::secret(template(&[(CKA_KEY_TYPE, &aes)]), false).unwrap();
        assert_eq!(silent.check_unsaid_length(20).unwrap_err().cause(), Cause::TemplateIncomplete);
        silent.check_unsaid_length(32).unwrap();
    }

    #[test]
    fn class_and_type_are_told_where_nothing_else_tells_them() {
        let class = CKO_PRIVATE_KEY.to_ne_bytes();
        assert_eq!(cause(Arrival::new(Template::default(), false)), Cause::TemplateIncomplete);
        assert_eq!(cause(Arrival::new(template(&[(CKA_CLASS, &class)]), false)), Cause::TemplateIncomplete);
        let unknown = template(&[(CKA_CLASS, &class), (CKA_KEY_TYPE, &CKK_DES3.to_ne_bytes())]);
        assert_eq!(cause(Arrival::new(unknown, false)), Cause::AttributeValueInvalid);
    }

    #[test]
    fn a_secret_agreed_on_is_open_only_where_nothing_is_said_of_it() {
        let (yes, no, aes, len) = (&[1][..], &[0][..], CKK_AES.to_ne_bytes(), 16_u64.to_ne_bytes());
        let seen = |given: &[(CK_ATTRIBUTE_TYPE, &[u8])]| {
            let mut key = Arrival::secret(template(given), false).unwrap();
            key.suggest_open();
            (key.attributes().is(CKA_SENSITIVE), key.attributes().is(CKA_EXTRACTABLE))
        };
        assert_eq!(seen(&[]), (false, true));
        assert_eq!(seen(&[(CKA_DERIVE, yes), (CKA_LABEL, b"shared")]), (false, true));
        for said in [
            (CKA_TOKEN, yes),
            (CKA_SENSITIVE, yes),
            (CKA_EXTRACTABLE, no),
            (CKA_WRAP_WITH_TRUSTED, no),
            (CKA_KEY_TYPE, &aes[..]),
        ] {
            assert_eq!(seen(&[said, (CKA_VALUE_LEN, &len)]), (true, false), "{said:?}");
        }
        assert_eq!(seen(&[(CKA_SENSITIVE, no)]), (false, false));
        assert_eq!(seen(&[(CKA_EXTRACTABLE, yes)]), (true, true));
    }

    #[test]
    fn what_is_imposed_is_not_contradicted() {
        let mut silent = Arrival::secret(Template::default(), false).unwrap();
        silent.suggest(CKA_EXTRACTABLE, true);
        assert!(silent.attributes().is(CKA_EXTRACTABLE));
        silent.impose(CKA_EXTRACTABLE, false).unwrap();
        assert!(!silent.attributes().is(CKA_EXTRACTABLE));
        let mut open = Arrival::secret(template(&[(CKA_SENSITIVE, &[0])]), false).unwrap();
        assert_eq!(open.impose(CKA_SENSITIVE, true).unwrap_err().cause(), Cause::TemplateInconsistent);
        open.suggest(CKA_SENSITIVE, true);
        assert!(!open.attributes().is(CKA_SENSITIVE));
    }
}

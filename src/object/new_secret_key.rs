//! `C_GenerateKey`'s template, parsed into what KMS is asked for and what is stored.

use super::attribute::ulong;
use super::engine::{Origin, build, consistent};
use super::history::{Past, settle};
use super::rules::Class;
use super::{Look, Template, secret_key};
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::kms::DataKeySize;
use crate::mechanism::Mechanism;
use crate::store::Attributes;
use cryptoki_sys::*;

/// A secret key that is to be made.
#[derive(Clone, Debug)]
pub struct NewSecretKey {
    /// What KMS is asked for.
    pub size: DataKeySize,
    /// All but `CKA_UNIQUE_ID`.
    pub attributes: Attributes,
}

impl NewSecretKey {
    /// Parses the template of `C_GenerateKey`. `so` tells whether the security officer is logged in.
    ///
    /// Errors beside those of templates: `MechanismInvalid`, `AttributeValueInvalid` for a length that such keys do
    /// not have, `KeySizeRange` for more than KMS makes.
    pub fn parse(mechanism: &Mechanism, template: &Template, so: bool) -> Result<Self> {
        let key_type = mechanism.generates().ok_or_else(|| Cause::MechanismInvalid.with(mechanism.name))?;
        // Nobody knows the check value of a key that is yet to be made; an empty one asks for none.
        if template.get(CKA_CHECK_VALUE).is_some_and(|value| !value.is_empty()) {
            return Err(Cause::AttributeValueInvalid.with("CKA_CHECK_VALUE of a key that is yet to be made"));
        }
        let class = if key_type == CKK_HOTP { CKO_OTP_KEY } else { CKO_SECRET_KEY };
        let (mut attributes, len) = described(class, key_type, template, so)?;
        let size = if key_type == CKK_AES { DataKeySize::aes(len)? } else { DataKeySize::bytes(len)? };
        settle(&mut attributes, Past::Generated(mechanism.id))?;
        Ok(Self { size, attributes })
    }
}

/// A secret key that is to be computed from a password.
#[derive(Clone, Debug)]
pub struct KeyFromPassword {
    attributes: Attributes,
    len: usize,
}

impl KeyFromPassword {
    /// Parses the template of `C_GenerateKey`, which names the type of the key.
    ///
    /// Errors beside those of templates: `AttributeValueInvalid` for a type that there is none of here, or a length
    /// that such keys do not have.
    pub fn parse(template: &Template, so: bool) -> Result<Self> {
        let key_type = template.number(CKA_KEY_TYPE);
        let key_type = key_type.ok_or_else(|| Cause::TemplateIncomplete.with("CKA_KEY_TYPE"))?;
        let (mut attributes, len) = described(CKO_SECRET_KEY, key_type, template, so)?;
        // Unasked there is none: whoever reads the store could try passwords with it, without KMS.
        attributes.entry(CKA_CHECK_VALUE).or_default();
        Ok(Self { attributes, len })
    }

    /// What is known so far.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The length of the key in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no key is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The attributes of the key that was computed, complete but for `CKA_UNIQUE_ID`. `AttributeValueInvalid` if it
    /// has another check value than the template says.
    pub fn complete(mut self, mechanism: &Mechanism, value: &Secret) -> Result<Attributes> {
        secret_key::complete(&mut self.attributes, value)?;
        settle(&mut self.attributes, Past::Generated(mechanism.id))?;
        Ok(self.attributes)
    }
}

/// As RFC 4226 recommends, where no template says how many bytes an HOTP key is to have.
const HOTP_LEN: CK_ULONG = 20;

/// The attributes of a key of this class and type as far as its template describes it, and its length in bytes.
fn described(
    class: CK_OBJECT_CLASS,
    key_type: CK_KEY_TYPE,
    template: &Template,
    so: bool,
) -> Result<(Attributes, usize)> {
    template.expect(CKA_CLASS, class)?;
    template.expect(CKA_KEY_TYPE, key_type)?;
    let class = Class::of(class, Some(key_type))
        .ok_or_else(|| Cause::AttributeValueInvalid.with(format!("secret keys of type {key_type:#x}")))?;
    let mut attributes = build(class, template, Origin::Generate, so)?;
    if key_type == CKK_HOTP {
        attributes.entry(CKA_VALUE_LEN).or_insert_with(|| ulong(HOTP_LEN));
    }
    consistent(&attributes)?;
    let len = attributes.number(CKA_VALUE_LEN).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    secret_key::check_length(key_type, len)?;
    Ok((attributes, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::find;

    fn parse(mechanism: CK_MECHANISM_TYPE, len: CK_ULONG, more: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Result<NewSecretKey> {
        let len = len.to_ne_bytes();
        let given = [&[(CKA_VALUE_LEN, &len[..])], more].concat();
        NewSecretKey::parse(find(mechanism).unwrap(), &Template::parse(&given)?, false)
    }

    #[test]
    fn a_silent_template_gets_a_key_that_never_leaves() {
        let new = parse(CKM_AES_KEY_GEN, 24, &[]).unwrap();
        assert_eq!(new.size.len(), 24);
        let key = &new.attributes;
        for yes in [CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL, CKA_PRIVATE, CKA_ENCRYPT] {
            assert!(key.is(yes), "{yes:#x}");
        }
        assert!(!key.is(CKA_EXTRACTABLE) && !key.is(CKA_TOKEN) && !key.contains_key(&CKA_VALUE));
        assert_eq!(key.number(CKA_KEY_GEN_MECHANISM), Some(CKM_AES_KEY_GEN));
        assert_eq!(
            parse(CKM_SHA3_512_KEY_GEN, 7, &[]).unwrap().attributes.number(CKA_KEY_TYPE),
            Some(CKK_SHA3_512_HMAC)
        );
        let hotp = NewSecretKey::parse(find(CKM_HOTP_KEY_GEN).unwrap(), &Template::default(), false).unwrap();
        assert_eq!((hotp.size.len(), hotp.attributes.number(CKA_CLASS)), (20, Some(CKO_OTP_KEY)));
    }

    #[test]
    fn a_template_that_asks_for_what_cannot_be_made_is_refused() {
        let cause =
            |mechanism, len, more: &[(CK_ATTRIBUTE_TYPE, &[u8])]| parse(mechanism, len, more).unwrap_err().cause();
        for len in [0, 15, 17, 33, CK_ULONG::MAX] {
            assert_eq!(cause(CKM_AES_KEY_GEN, len, &[]), Cause::AttributeValueInvalid, "{len}");
        }
        assert_eq!(cause(CKM_GENERIC_SECRET_KEY_GEN, 0, &[]), Cause::AttributeValueInvalid);
        assert_eq!(cause(CKM_GENERIC_SECRET_KEY_GEN, 1025, &[]), Cause::KeySizeRange);
        let (aes, public) = (CKK_AES.to_ne_bytes(), CKO_PUBLIC_KEY.to_ne_bytes());
        assert_eq!(cause(CKM_SHA256_KEY_GEN, 32, &[(CKA_KEY_TYPE, &aes)]), Cause::TemplateInconsistent);
        assert_eq!(cause(CKM_AES_KEY_GEN, 32, &[(CKA_CLASS, &public)]), Cause::TemplateInconsistent);
        assert_eq!(cause(CKM_AES_KEY_GEN, 32, &[(CKA_VALUE, &[7; 32])]), Cause::AttributeReadOnly);
        assert_eq!(cause(CKM_AES_KEY_GEN, 32, &[(CKA_CHECK_VALUE, b"abc")]), Cause::AttributeValueInvalid);
        assert_eq!(cause(CKM_AES_KEY_GEN, 32, &[(CKA_MODULUS, b"abc")]), Cause::TemplateInconsistent);
        let empty = NewSecretKey::parse(find(CKM_AES_KEY_GEN).unwrap(), &Template::default(), false);
        assert_eq!(empty.unwrap_err().cause(), Cause::TemplateIncomplete);
    }
}

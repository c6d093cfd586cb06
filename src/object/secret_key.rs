//! What follows from the value of a secret key (sections 4.10, 6.8 and 6.13).

use super::Look;
use super::attribute::ulong;
use crate::crypto::{Hash, Secret};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// The longest secret key, in bytes: more than any use has, and little enough for protected memory.
const LONGEST: usize = 65536;

/// The length of a check value, in bytes.
const CHECK_VALUE: usize = 3;

/// Checks that a key of this type can have so many bytes; `AttributeValueInvalid` if not.
pub fn check_length(key_type: CK_KEY_TYPE, len: usize) -> Result<()> {
    let good = match key_type {
        CKK_AES => matches!(len, 16 | 24 | 32),
        _ => (1..=LONGEST).contains(&len),
    };
    if good { Ok(()) } else { Err(Cause::AttributeValueInvalid.with(format!("a secret key of {len} bytes"))) }
}

/// Adds what follows from the value of a new secret key, and refuses a value that the rest contradicts.
///
/// A check value that a template names is compared; an empty one asks for none.
pub fn complete(key: &mut Attributes, value: &Secret) -> Result<()> {
    let key_type = key.number(CKA_KEY_TYPE).unwrap_or(CKK_GENERIC_SECRET);
    check_length(key_type, value.len())?;
    let len = value.len() as CK_ULONG;
    if key.number(CKA_VALUE_LEN).is_some_and(|said| said != len) {
        return Err(Cause::TemplateInconsistent.with("CKA_VALUE_LEN is not the value's"));
    }
    key.insert(CKA_VALUE_LEN, ulong(len));
    let said = key.bytes(CKA_CHECK_VALUE);
    if !said.is_empty() && check_value(key_type, value).is_some_and(|check| check != said) {
        return Err(Cause::AttributeValueInvalid.with("CKA_CHECK_VALUE is wrong"));
    }
    Ok(())
}

/// The check value, for key types that have one.
///
/// It is never kept unasked: stored in clear, a hash of a short secret would help to guess it.
fn check_value(key_type: CK_KEY_TYPE, value: &Secret) -> Option<Vec<u8>> {
    match key_type {
        CKK_GENERIC_SECRET => Some(Hash::Sha1.digest(value.expose()).as_ref()[..CHECK_VALUE].to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Template, new_object};

    fn created(key_type: CK_KEY_TYPE, more: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Result<Attributes> {
        let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), key_type.to_ne_bytes());
        let given = [&[(CKA_CLASS, &class[..]), (CKA_KEY_TYPE, &key_type)], more].concat();
        let new = new_object(&Template::parse(&given)?, false)?;
        assert_eq!(new.plaintext.unwrap().expose(), more[0].1);
        Ok(new.attributes)
    }

    #[test]
    fn a_key_is_as_long_as_its_value_and_keeps_it_out_of_its_attributes() {
        for (key_type, len) in [(CKK_AES, 16), (CKK_AES, 24), (CKK_AES, 32), (CKK_GENERIC_SECRET, 1), (CKK_HKDF, 9)] {
            let key = created(key_type, &[(CKA_VALUE, &vec![7; len])]).unwrap();
            assert_eq!(key.number(CKA_VALUE_LEN), Some(len as CK_ULONG));
            assert!(!key.contains_key(&CKA_VALUE) && !key.is(CKA_LOCAL) && !key.is(CKA_ALWAYS_SENSITIVE));
        }
    }

    #[test]
    fn what_contradicts_the_value_is_refused() {
        let value: &[u8] = &[7; 16];
        let cause = |key_type, more: &[(CK_ATTRIBUTE_TYPE, &[u8])]| created(key_type, more).unwrap_err().cause();
        for len in [0, 15, 17, 33] {
            assert_eq!(cause(CKK_AES, &[(CKA_VALUE, &vec![7; len])]), Cause::AttributeValueInvalid);
        }
        assert_eq!(cause(CKK_GENERIC_SECRET, &[(CKA_VALUE, b"")]), Cause::AttributeValueInvalid);
        let len = 16_u64.to_ne_bytes();
        assert_eq!(cause(CKK_AES, &[(CKA_VALUE, value), (CKA_VALUE_LEN, &len)]), Cause::AttributeReadOnly);
        let wrong: &[(_, &[u8])] = &[(CKA_VALUE, value), (CKA_CHECK_VALUE, b"abc")];
        assert_eq!(cause(CKK_GENERIC_SECRET, wrong), Cause::AttributeValueInvalid);
        let right = Hash::Sha1.digest(value);
        let right: &[(_, &[u8])] = &[(CKA_VALUE, value), (CKA_CHECK_VALUE, &right.as_ref()[..3])];
        assert_eq!(created(CKK_GENERIC_SECRET, right).unwrap().bytes(CKA_CHECK_VALUE), right[1].1);
    }
}

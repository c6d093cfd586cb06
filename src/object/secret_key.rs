//! What follows from the value of a secret key (sections 4.10, 6.8, 6.13 and 6.58).

use super::Look;
use super::attribute::ulong;
use crate::crypto::{AES_BLOCK_LEN, Aes, AesMode, Direction, Hash, Secret, SecretKey};
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
        CKK_CHACHA20 => len == 32,
        // RFC 4226 asks for 128 bits (requirement 6); more than a block of its hash are hashed first.
        CKK_HOTP => (16..=64).contains(&len),
        _ => (1..=LONGEST).contains(&len),
    };
    if good { Ok(()) } else { Err(Cause::AttributeValueInvalid.with(format!("a secret key of {len} bytes"))) }
}

/// Adds what follows from the value of a new secret key, and refuses a value that the rest contradicts.
///
/// A check value that a template names is compared; an empty one asks for none. For every new secret key whose
/// value is at hand, however it came to be.
pub fn complete(key: &mut Attributes, value: &Secret) -> Result<()> {
    let key_type = key.number(CKA_KEY_TYPE).unwrap_or(CKK_GENERIC_SECRET);
    check_length(key_type, value.len())?;
    let len = value.len() as CK_ULONG;
    if key.number(CKA_VALUE_LEN).is_some_and(|said| said != len) {
        return Err(Cause::TemplateInconsistent.with("CKA_VALUE_LEN is not the value's"));
    }
    key.insert(CKA_VALUE_LEN, ulong(len));
    let check = check_value(key_type, value)?;
    match key.get(&CKA_CHECK_VALUE) {
        Some(said) if !said.is_empty() && *said != check => {
            return Err(Cause::AttributeValueInvalid.with("CKA_CHECK_VALUE is wrong"));
        }
        None if key_type == CKK_AES => {
            key.insert(CKA_CHECK_VALUE, check);
        }
        _ => {}
    }
    Ok(())
}

/// The check value: of an AES key what it makes of a block of zeros, of every other secret its hash, as section 6.8
/// has it for generic ones. The hash is compared and never kept unasked: it would help to guess a short secret.
fn check_value(key_type: CK_KEY_TYPE, value: &Secret) -> Result<Vec<u8>> {
    let mut check = match key_type {
        CKK_AES => {
            let key = SecretKey::new(value.expose())?;
            let block = Aes::new(AesMode::Ecb, Direction::Encrypt)?.run(&key, &[0; AES_BLOCK_LEN])?;
            block.expose().to_vec()
        }
        _ => Hash::Sha1.digest(value.expose()).as_ref().to_vec(),
    };
    check.truncate(CHECK_VALUE);
    Ok(check)
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
        // FIPS 197 with a key and a block of zeros.
        let zeros: &[u8] = &[0; 16];
        assert_eq!(created(CKK_AES, &[(CKA_VALUE, zeros)]).unwrap().bytes(CKA_CHECK_VALUE), [0x66, 0xe9, 0x4b]);
        let none: &[(_, &[u8])] = &[(CKA_VALUE, zeros), (CKA_CHECK_VALUE, b"")];
        assert_eq!(created(CKK_AES, none).unwrap().bytes(CKA_CHECK_VALUE), b"");
        assert_eq!(cause(CKK_AES, &[(CKA_VALUE, zeros), (CKA_CHECK_VALUE, b"abc")]), Cause::AttributeValueInvalid);
    }
}

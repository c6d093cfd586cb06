//! Keys for one-time passwords, and the counter that each has (section 6.53).

use super::{Look, attribute};
use crate::crypto::HOTP_DIGITS;
use crate::error::{Cause, Result};
use crate::mechanism::HotpKey;
use crate::store::Attributes;
use cryptoki_sys::*;

/// Checks what a new key says of its passwords. `AttributeValueInvalid` for what HOTP does not have.
pub(super) fn check(key: &Attributes) -> Result<()> {
    let wrong = |attribute| Err(Cause::AttributeValueInvalid.with(attribute::name(attribute)));
    let length = key.number(CKA_OTP_LENGTH).and_then(|length| u32::try_from(length).ok());
    if !length.is_some_and(|length| HOTP_DIGITS.contains(&length)) {
        return wrong(CKA_OTP_LENGTH);
    }
    const ONLY: [(CK_ATTRIBUTE_TYPE, CK_ULONG); 4] = [
        (CKA_OTP_FORMAT, CK_OTP_FORMAT_DECIMAL),
        (CKA_OTP_CHALLENGE_REQUIREMENT, CK_OTP_PARAM_IGNORED),
        (CKA_OTP_TIME_REQUIREMENT, CK_OTP_PARAM_IGNORED),
        (CKA_OTP_PIN_REQUIREMENT, CK_OTP_PARAM_IGNORED),
    ];
    if let Some((other, _)) = ONLY.iter().find(|(attribute, only)| key.number(*attribute) != Some(*only)) {
        return wrong(*other);
    }
    const REQUIREMENTS: [CK_ULONG; 3] = [CK_OTP_PARAM_IGNORED, CK_OTP_PARAM_OPTIONAL, CK_OTP_PARAM_MANDATORY];
    if !key.number(CKA_OTP_COUNTER_REQUIREMENT).is_some_and(|said| REQUIREMENTS.contains(&said)) {
        return wrong(CKA_OTP_COUNTER_REQUIREMENT);
    }
    if counter(key).is_err() {
        return wrong(CKA_OTP_COUNTER);
    }
    if !key.bytes(CKA_OTP_TIME).is_empty() {
        return wrong(CKA_OTP_TIME);
    }
    // A copy would give the same passwords once more.
    if key.is(CKA_COPYABLE) { wrong(CKA_COPYABLE) } else { Ok(()) }
}

/// What a key says of its passwords.
pub fn hotp_key(key: &Attributes) -> HotpKey {
    HotpKey {
        length: key.number(CKA_OTP_LENGTH).unwrap_or_default(),
        counter: key.number(CKA_OTP_COUNTER_REQUIREMENT).unwrap_or(CK_OTP_PARAM_IGNORED),
        user_friendly: key.is(CKA_OTP_USER_FRIENDLY_MODE),
    }
}

/// The counter of the key's next password.
pub fn counter(key: &Attributes) -> Result<u64> {
    let counter = key.bytes(CKA_OTP_COUNTER).try_into().map(u64::from_be_bytes);
    counter.map_err(|_| Cause::RecordCorrupt.with("CKA_OTP_COUNTER has 8 bytes"))
}

/// Moves the counter beyond `used`. `KeyExhausted` if there is no counter after that.
pub fn count_beyond(key: &mut Attributes, used: u64) -> Result<()> {
    let next = used.checked_add(1).ok_or(Cause::KeyExhausted)?;
    if next <= counter(key)? {
        return Err(Cause::RecordCorrupt.with("CKA_OTP_COUNTER would stand still"));
    }
    key.insert(CKA_OTP_COUNTER, next.to_be_bytes().to_vec());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Template, copied, new_object, with_changes};

    fn created(more: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Result<Attributes> {
        let (class, key_type) = (CKO_OTP_KEY.to_ne_bytes(), CKK_HOTP.to_ne_bytes());
        let given = [&[(CKA_CLASS, &class[..]), (CKA_KEY_TYPE, &key_type), (CKA_VALUE, &[7; 20])], more].concat();
        Ok(new_object(&Template::parse(&given)?, false)?.attributes)
    }

    #[test]
    fn a_silent_template_gets_a_key_that_counts_from_zero() {
        let key = created(&[]).unwrap();
        assert_eq!((counter(&key).unwrap(), key.number(CKA_VALUE_LEN)), (0, Some(20)));
        let HotpKey { length, counter, user_friendly } = hotp_key(&key);
        assert_eq!((length, counter, user_friendly), (6, CK_OTP_PARAM_OPTIONAL, true));
        assert!(key.is(CKA_SIGN) && key.is(CKA_VERIFY) && key.is(CKA_PRIVATE) && key.is(CKA_SENSITIVE));
        assert!(!key.is(CKA_COPYABLE) && !key.is(CKA_ENCRYPT) && !key.is(CKA_DERIVE));
    }

    #[test]
    fn what_hotp_does_not_have_is_refused() {
        let number = |number: CK_ULONG| number.to_ne_bytes();
        for (attribute, value) in [
            (CKA_OTP_LENGTH, &number(5)[..]),
            (CKA_OTP_LENGTH, &number(9)),
            (CKA_OTP_LENGTH, &number(6 | 1 << 32)),
            (CKA_OTP_FORMAT, &number(CK_OTP_FORMAT_HEXADECIMAL)),
            (CKA_OTP_CHALLENGE_REQUIREMENT, &number(CK_OTP_PARAM_OPTIONAL)),
            (CKA_OTP_TIME_REQUIREMENT, &number(CK_OTP_PARAM_MANDATORY)),
            (CKA_OTP_PIN_REQUIREMENT, &number(CK_OTP_PARAM_OPTIONAL)),
            (CKA_OTP_COUNTER_REQUIREMENT, &number(3)),
            (CKA_OTP_COUNTER, &[0; 7]),
            (CKA_OTP_COUNTER, &[]),
            (CKA_OTP_TIME, b"20260101000000"),
            (CKA_COPYABLE, &[1]),
        ] {
            let cause = created(&[(attribute, value)]).unwrap_err().cause();
            assert_eq!(cause, Cause::AttributeValueInvalid, "{}", attribute::name(attribute));
        }
    }

    #[test]
    fn the_counter_rises_by_use_and_by_nothing_else() {
        let mut key = created(&[(CKA_OTP_COUNTER, &7_u64.to_be_bytes())]).unwrap();
        count_beyond(&mut key, 7).unwrap();
        count_beyond(&mut key, 11).unwrap();
        assert_eq!(counter(&key).unwrap(), 12);
        assert!(count_beyond(&mut key, 11).is_err());
        for value in [0_u64, 11, 13, u64::MAX] {
            let set = Template::parse(&[(CKA_OTP_COUNTER, &value.to_be_bytes())]).unwrap();
            assert_eq!(with_changes(&key, &set, true).unwrap_err().cause(), Cause::AttributeReadOnly);
        }
        assert_eq!(copied(&key, &Template::default(), true).unwrap_err().cause(), Cause::ActionProhibited);
        assert_eq!(count_beyond(&mut key, u64::MAX).unwrap_err().cause(), Cause::KeyExhausted);
    }
}

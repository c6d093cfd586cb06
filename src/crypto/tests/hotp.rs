//! HOTP, by the values of RFC 4226, appendix D.

use super::super::{HOTP_DIGITS, hotp};
use crate::error::Cause;

const KEY: &[u8] = b"12345678901234567890";
/// The truncated numbers of the counters 0 to 9.
const NUMBERS: [u32; 10] =
    [1284755224, 1094287082, 137359152, 1726969429, 1640338314, 868254676, 1918287922, 82162583, 673399871, 645520489];

#[test]
fn the_passwords_of_the_rfc_have_as_many_of_the_last_digits_as_are_asked_for() {
    for (counter, number) in NUMBERS.iter().enumerate() {
        let all = format!("{number:010}");
        for digits in HOTP_DIGITS {
            let password = hotp(KEY, counter as u64, digits).unwrap();
            assert_eq!(password.expose(), &all.as_bytes()[10 - digits as usize..], "{counter}, {digits}");
        }
    }
}

#[test]
fn no_other_lengths_are_there() {
    for digits in [0, 5, 9, 10, 11, u32::MAX] {
        let cause = hotp(KEY, 0, digits).err().unwrap().cause();
        assert_eq!(cause, Cause::MechanismParamInvalid, "{digits}");
    }
}

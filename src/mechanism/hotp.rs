//! One-time passwords (section 6.53): what a request and its key say together, and how a password goes back.

use crate::crypto::mac::constant_time_eq;
use crate::crypto::{HOTP_DIGITS, Secret, hotp};
use crate::error::{Cause, Error, Result};
use cryptoki_sys::*;

/// One of the caller's `CK_OTP_PARAMS`: its type, and its value as far as any has bytes.
pub type GivenOtp = (CK_OTP_PARAM_TYPE, Vec<u8>);

/// How many parameters there may be at most; there are eight types.
pub const MOST_OTP_PARAMS: CK_ULONG = 64;
/// One byte more than any value has that is looked at.
pub const LONGEST_OTP_VALUE: usize = 9;

/// `CK_OTP_PARAMS` of HOTP, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtpParams {
    counter: Option<u64>,
    digits: Option<u32>,
    user_friendly: bool,
}

impl OtpParams {
    /// Checks what was given. `MechanismParamInvalid` for what HOTP has no use for, unless the specification says that
    /// it is ignored: a PIN, a challenge and the time.
    pub(super) fn check(given: &[GivenOtp]) -> Result<Self> {
        let mut params = Self::default();
        for (index, (kind, value)) in given.iter().enumerate() {
            if given[..index].iter().any(|(earlier, _)| earlier == kind) {
                return Err(bad("a parameter that is given twice"));
            }
            match *kind {
                CK_OTP_COUNTER => {
                    let counter = value.as_slice().try_into().map_err(|_| bad("CK_OTP_COUNTER has 8 bytes"))?;
                    params.counter = Some(u64::from_be_bytes(counter));
                }
                CK_OTP_OUTPUT_LENGTH => params.digits = Some(digits(number(value)?)?),
                CK_OTP_OUTPUT_FORMAT if number(value)? == CK_OTP_FORMAT_DECIMAL => {}
                CK_OTP_FLAGS => params.user_friendly = user_friendly(number(value)?)?,
                CK_OTP_PIN | CK_OTP_CHALLENGE | CK_OTP_TIME => {}
                _ => return Err(bad("CK_OTP_PARAMS")),
            }
        }
        Ok(params)
    }
}

/// Whether flags ask for what people can read. HOTP has a counter always, no next password but that of the next call,
/// and nothing else that could be left out.
fn user_friendly(flags: CK_FLAGS) -> Result<bool> {
    const NO_EFFECT: CK_FLAGS = CKF_EXCLUDE_TIME | CKF_EXCLUDE_CHALLENGE | CKF_EXCLUDE_PIN;
    if flags & !(NO_EFFECT | CKF_USER_FRIENDLY_OTP) != 0 {
        return Err(bad("CK_OTP_FLAGS"));
    }
    Ok(flags & CKF_USER_FRIENDLY_OTP != 0)
}

fn digits(number: CK_ULONG) -> Result<u32> {
    let digits = u32::try_from(number).ok().filter(|digits| HOTP_DIGITS.contains(digits));
    digits.ok_or_else(|| bad("CK_OTP_OUTPUT_LENGTH"))
}

fn number(value: &[u8]) -> Result<CK_ULONG> {
    value.try_into().map(CK_ULONG::from_ne_bytes).map_err(|_| bad("a number"))
}

fn bad(what: &'static str) -> Error {
    Cause::MechanismParamInvalid.with(what)
}

/// What a key says of its passwords.
#[derive(Clone, Copy, Debug)]
pub struct HotpKey {
    /// `CKA_OTP_LENGTH`.
    pub length: CK_ULONG,
    /// `CKA_OTP_COUNTER_REQUIREMENT`.
    pub counter: CK_ULONG,
    /// `CKA_OTP_USER_FRIENDLY_MODE`.
    pub user_friendly: bool,
}

/// A password that is to be made or checked.
#[derive(Clone, Copy, Debug)]
pub struct Hotp {
    given: Option<u64>,
    digits: u32,
}

/// How many counters are tried where the key's own decides: its own, and four more for passwords that were made and
/// never used. The RFC wants it as low as possible (section 7.4): each is one more password that could be guessed.
const LOOK_AHEAD: u64 = 5;

impl Hotp {
    /// `MechanismParamInvalid` for what the key does not allow.
    pub fn new(params: &OtpParams, key: &HotpKey) -> Result<Self> {
        if params.user_friendly && !key.user_friendly {
            return Err(bad("CKF_USER_FRIENDLY_OTP with a key without CKA_OTP_USER_FRIENDLY_MODE"));
        }
        let given = match key.counter {
            CK_OTP_PARAM_IGNORED => None,
            CK_OTP_PARAM_MANDATORY if params.counter.is_none() => return Err(bad("the key wants a CK_OTP_COUNTER")),
            _ => params.counter,
        };
        let digits = params.digits.map_or_else(|| digits(key.length), Ok)?;
        Ok(Self { given, digits })
    }

    /// The counter that the caller gave; `None` if the key's own decides.
    pub fn given(&self) -> Option<u64> {
        self.given
    }

    /// The length of a `CK_OTP_SIGNATURE_INFO`, with all that it points to.
    pub fn signature_len(&self) -> usize {
        PARTS + COUNTER + self.digits as usize
    }

    /// The length of a password.
    pub fn password_len(&self) -> usize {
        self.digits as usize
    }

    /// The password of a counter, as `CK_OTP_SIGNATURE_INFO` with the counter beside it.
    pub fn sign(&self, key: &[u8], counter: u64) -> Result<Structure> {
        let password = hotp(key, counter, self.digits)?;
        let mut bytes = Secret::with_capacity(self.signature_len())?;
        let mut numbers = |numbers: &[usize]| numbers.iter().try_for_each(|number| bytes.append(&number.to_ne_bytes()));
        numbers(&[INFO, 2])?;
        numbers(&[CK_OTP_VALUE as usize, PARTS + COUNTER, password.len()])?;
        numbers(&[CK_OTP_COUNTER as usize, PARTS, COUNTER])?;
        bytes.append(&counter.to_be_bytes())?;
        bytes.append(password.expose())?;
        Ok(Structure { bytes, addresses: &ADDRESSES })
    }

    /// The counter whose password this is: the one that was given, or one of the next from `own` on.
    ///
    /// `SignatureInvalid` if it is of none of them.
    pub fn find(&self, key: &[u8], own: u64, password: &[u8]) -> Result<u64> {
        let is_of = |counter| -> Result<Option<u64>> {
            let own = hotp(key, counter, self.digits)?;
            Ok(constant_time_eq(own.expose(), password).then_some(counter))
        };
        let found = match self.given {
            Some(given) => is_of(given)?,
            // The last of all counters is none: nothing could come after it.
            None => (own..own.saturating_add(LOOK_AHEAD)).find_map(|next| is_of(next).transpose()).transpose()?,
        };
        found.ok_or_else(|| Cause::SignatureInvalid.into())
    }
}

/// A structure for the caller's memory, which points into itself.
pub struct Structure {
    /// The structure, and what it points to; instead of addresses it has the distances from its own beginning.
    bytes: Secret,
    /// Where in it the addresses are.
    addresses: &'static [usize],
}

impl Structure {
    /// As it is at an address.
    pub fn at(mut self, address: usize) -> Secret {
        for place in self.addresses {
            if let Some(word) = self.bytes.expose_mut().get_mut(*place..).and_then(<[u8]>::first_chunk_mut) {
                *word = address.wrapping_add(usize::from_ne_bytes(*word)).to_ne_bytes();
            }
        }
        self.bytes
    }
}

const WORD: usize = size_of::<CK_ULONG>();
const INFO: usize = size_of::<CK_OTP_SIGNATURE_INFO>();
/// The structure with its two parameters.
const PARTS: usize = INFO + 2 * size_of::<CK_OTP_PARAM>();
const COUNTER: usize = size_of::<u64>();
/// Where `pParams` and both `pValue` are.
static ADDRESSES: [usize; 3] = [0, INFO + WORD, INFO + size_of::<CK_OTP_PARAM>() + WORD];
const _: () = assert!(INFO == 2 * WORD && size_of::<CK_OTP_PARAM>() == 3 * WORD && size_of::<usize>() == WORD);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"12345678901234567890";

    fn flags(flags: CK_FLAGS) -> GivenOtp {
        (CK_OTP_FLAGS, flags.to_ne_bytes().to_vec())
    }

    fn length(length: CK_ULONG) -> GivenOtp {
        (CK_OTP_OUTPUT_LENGTH, length.to_ne_bytes().to_vec())
    }

    fn counter(counter: u64) -> GivenOtp {
        (CK_OTP_COUNTER, counter.to_be_bytes().to_vec())
    }

    fn key(counter: CK_ULONG, user_friendly: bool) -> HotpKey {
        HotpKey { length: 6, counter, user_friendly }
    }

    #[test]
    fn parameters_are_taken_ignored_or_refused_as_the_specification_says() {
        let of_time = vec![(CK_OTP_TIME, b"2026".to_vec()), (CK_OTP_PIN, vec![]), (CK_OTP_CHALLENGE, vec![1])];
        assert_eq!(OtpParams::check(&of_time).unwrap(), OtpParams::default());
        let all = [counter(7), length(8), flags(CKF_USER_FRIENDLY_OTP | CKF_EXCLUDE_TIME)];
        let params = OtpParams::check(&all).unwrap();
        assert_eq!(params, OtpParams { counter: Some(7), digits: Some(8), user_friendly: true });
        for wrong in [
            vec![(CK_OTP_COUNTER, vec![0; 7])],
            vec![(CK_OTP_COUNTER, vec![0; 9])],
            vec![counter(1), counter(1)],
            vec![length(5)],
            vec![length(9)],
            vec![length(6 + (1 << 32))],
            vec![(CK_OTP_OUTPUT_LENGTH, vec![6])],
            vec![(CK_OTP_OUTPUT_FORMAT, CK_OTP_FORMAT_BINARY.to_ne_bytes().to_vec())],
            vec![flags(CKF_NEXT_OTP)],
            vec![flags(CKF_EXCLUDE_COUNTER)],
            vec![flags(1 << 40)],
            vec![(CK_OTP_VALUE, b"755224".to_vec())],
            vec![(99, vec![])],
        ] {
            let cause = OtpParams::check(&wrong).unwrap_err().cause();
            assert_eq!(cause, Cause::MechanismParamInvalid, "{wrong:?}");
        }
    }

    #[test]
    fn the_key_decides_whose_counter_it_is() {
        let given = OtpParams { counter: Some(7), ..OtpParams::default() };
        let own = OtpParams::default();
        for (requirement, params, expected) in [
            (CK_OTP_PARAM_IGNORED, given, Some(None)),
            (CK_OTP_PARAM_IGNORED, own, Some(None)),
            (CK_OTP_PARAM_OPTIONAL, given, Some(Some(7))),
            (CK_OTP_PARAM_OPTIONAL, own, Some(None)),
            (CK_OTP_PARAM_MANDATORY, given, Some(Some(7))),
            (CK_OTP_PARAM_MANDATORY, own, None),
        ] {
            let hotp = Hotp::new(&params, &key(requirement, true)).ok();
            assert_eq!(hotp.map(|hotp| hotp.given()), expected, "{requirement}, {params:?}");
        }
        let friendly = OtpParams { user_friendly: true, ..own };
        assert!(Hotp::new(&friendly, &key(CK_OTP_PARAM_OPTIONAL, true)).is_ok());
        assert!(Hotp::new(&friendly, &key(CK_OTP_PARAM_OPTIONAL, false)).is_err());
    }

    #[test]
    fn a_password_lies_behind_its_structure_wherever_that_is() {
        let hotp = Hotp { given: None, digits: 6 };
        let structure = hotp.sign(KEY, 1).unwrap().at(0x1000);
        assert_eq!(structure.len(), hotp.signature_len());
        let (words, rest) = structure.expose().split_at(PARTS);
        let words: Vec<_> = words.as_chunks().0.iter().map(|word| usize::from_ne_bytes(*word)).collect();
        let (value, counter) = (CK_OTP_VALUE as usize, CK_OTP_COUNTER as usize);
        assert_eq!(words, [0x1010, 2, value, 0x1048, 6, counter, 0x1040, 8]);
        assert_eq!(rest, b"\0\0\0\0\0\0\0\x01287082");
    }

    #[test]
    fn a_password_is_found_at_the_counters_that_count() {
        let password = |counter| hotp(KEY, counter, 6).unwrap();
        let find = |given, own, counter| {
            let found = Hotp { given, digits: 6 }.find(KEY, own, password(counter).expose());
            found.map_err(|error| error.cause())
        };
        for counter in 10..15 {
            assert_eq!(find(None, 10, counter), Ok(counter));
        }
        for (given, own, counter) in [(None, 10, 9), (None, 10, 15), (Some(9), 10, 10), (Some(11), 10, 10)] {
            assert_eq!(find(given, own, counter), Err(Cause::SignatureInvalid), "{given:?}, {own}, {counter}");
        }
        assert_eq!(find(Some(9), 10, 9), Ok(9));
        assert_eq!(find(None, u64::MAX - 1, u64::MAX - 1), Ok(u64::MAX - 1));
        assert_eq!(find(None, u64::MAX - 1, u64::MAX), Err(Cause::SignatureInvalid));
    }
}

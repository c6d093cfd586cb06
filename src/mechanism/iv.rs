//! Initialisation vectors that the module makes, for ciphers that break when one comes twice.

use crate::crypto::random;
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// How many bits the module must have to itself, so that what it draws by lot does not come twice.
const LEAST_RANDOM_BITS: usize = 56;
/// How many vectors may be drawn by lot for one key (SP 800-38D, section 8.3).
const MOST_RANDOM: u64 = 1 << 32;

/// How many vectors have been made for a key, all generator functions together. It never goes back, as with a
/// message that fails, and ends with the key in this process: a sealed key lives on, here and elsewhere, so that
/// its vectors must not begin at a known place, which `CKG_GENERATE_COUNTER` and `CKG_GENERATE_COUNTER_XOR` do.
#[derive(Default)]
pub struct IvCount {
    made: u64,
    /// Where `CKG_GENERATE` begins to count: drawn by lot, so that two processes that use one key do not meet.
    start: Option<u128>,
}

impl IvCount {
    /// Whether no vector was made yet.
    pub fn is_unused(&self) -> bool {
        self.made == 0
    }

    /// Makes a vector in place of `iv`, whose first `fixed_bits` bits stay. `CKG_NO_GENERATE` leaves all of it.
    ///
    /// `MechanismParamInvalid` for an unknown `generator`, more fixed bits than there are, too few others, and
    /// where all vectors were made.
    pub fn generate(&mut self, generator: CK_GENERATOR_FUNCTION, iv: &mut [u8], fixed_bits: CK_ULONG) -> Result<()> {
        let bad = |what: &'static str| Cause::MechanismParamInvalid.with(what);
        if generator == CKG_NO_GENERATE {
            return Ok(());
        }
        let fixed_bits = usize::try_from(fixed_bits).map_err(|_| bad("fixed bits"))?;
        let free = iv.len().saturating_mul(8).checked_sub(fixed_bits).ok_or_else(|| bad("more fixed bits than IV"))?;
        let number = self.made;
        match generator {
            CKG_GENERATE | CKG_GENERATE_RANDOM if free < LEAST_RANDOM_BITS => {
                return Err(bad("too many fixed bits, or too short an IV, to make one"));
            }
            CKG_GENERATE_RANDOM if number >= MOST_RANDOM => return Err(bad("no more random IVs for this key")),
            CKG_GENERATE_COUNTER | CKG_GENERATE_COUNTER_XOR if free < 64 && number >> free != 0 => {
                return Err(bad("the counter of the IV is used up"));
            }
            _ => {}
        }
        let new: [u8; 16] = match generator {
            CKG_GENERATE => {
                let start = match self.start {
                    Some(start) => start,
                    None => *self.start.insert(u128::from_be_bytes(random_bytes()?)),
                };
                start.wrapping_add(number.into()).to_be_bytes()
            }
            CKG_GENERATE_RANDOM => random_bytes()?,
            CKG_GENERATE_COUNTER | CKG_GENERATE_COUNTER_XOR => u128::from(number).to_be_bytes(),
            _ => return Err(bad("unknown generator function")),
        };
        self.made = number.checked_add(1).ok_or_else(|| bad("the counter of the IV is used up"))?;
        // What is free beyond the last 128 bits is zero: these are enough.
        each_free_byte(iv, free, &new, |byte, mask, new| match generator {
            CKG_GENERATE_COUNTER_XOR => byte ^ (new & mask),
            _ => (byte & !mask) | (new & mask),
        });
        Ok(())
    }
}

fn random_bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(bytes)
}

/// Changes the last `free` bits of `iv`: `change` takes a byte, the mask of its free bits, and the byte of `new` in
/// the same place from the right, 0 where there is none.
fn each_free_byte(iv: &mut [u8], free: usize, new: &[u8], change: impl Fn(u8, u8, u8) -> u8) {
    let new = new.iter().rev().copied().chain(std::iter::repeat(0));
    for ((index, byte), new) in iv.iter_mut().rev().enumerate().zip(new) {
        let bits = free.saturating_sub(8 * index).min(8);
        *byte = change(*byte, (0xff_u16 >> (8 - bits)) as u8, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn make(count: &mut IvCount, generator: CK_GENERATOR_FUNCTION, iv: &[u8], fixed: CK_ULONG) -> Result<Vec<u8>> {
        let mut iv = iv.to_vec();
        count.generate(generator, &mut iv, fixed).map(|()| iv)
    }

    #[test]
    fn counters_begin_at_zero_and_leave_the_fixed_bits() {
        let mut count = IvCount::default();
        let mut next = |fixed| make(&mut count, CKG_GENERATE_COUNTER, &[0xff; 12], fixed).unwrap();
        assert_eq!(next(0), [0; 12]);
        assert_eq!(next(32), [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(next(92), [&[0xff; 11][..], &[0xf2]].concat());
        let mut count = IvCount::default();
        for expected in [0x5a, 0x5b, 0x58] {
            let iv = make(&mut count, CKG_GENERATE_COUNTER_XOR, &[0x5a; 12], 64).unwrap();
            assert_eq!(iv, [&[0x5a; 11][..], &[expected]].concat());
        }
    }

    #[test]
    fn no_vector_comes_twice() {
        for generator in [CKG_GENERATE, CKG_GENERATE_COUNTER, CKG_GENERATE_COUNTER_XOR, CKG_GENERATE_RANDOM] {
            let mut count = IvCount::default();
            let made: HashSet<_> = (0..1000).map(|_| make(&mut count, generator, &[7; 13], 40).unwrap()).collect();
            assert_eq!(made.len(), 1000, "{generator}");
            assert!(made.iter().all(|iv| iv.starts_with(&[7; 5])), "{generator}");
        }
        // Where all were made, there is an end; and two hosts begin in different places.
        let mut count = IvCount::default();
        for _ in 0..16 {
            make(&mut count, CKG_GENERATE_COUNTER, &[0; 12], 92).unwrap();
        }
        let end = make(&mut count, CKG_GENERATE_COUNTER, &[0; 12], 92);
        assert_eq!(end.unwrap_err().cause(), Cause::MechanismParamInvalid);
        let [one, other] = [(); 2].map(|()| make(&mut IvCount::default(), CKG_GENERATE, &[0; 12], 0).unwrap());
        assert_ne!(one, other);
        let mut count = IvCount { made: MOST_RANDOM, start: None };
        assert!(make(&mut count, CKG_GENERATE_RANDOM, &[0; 12], 0).is_err());
        let mut count = IvCount { made: CK_ULONG::MAX, start: None };
        assert!(make(&mut count, CKG_GENERATE, &[0; 12], 0).is_err());
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let mut count = IvCount::default();
        for (generator, len, fixed) in [
            (99, 12, 0),
            (CKG_GENERATE_COUNTER, 12, 97),
            (CKG_GENERATE_COUNTER, 12, CK_ULONG::MAX),
            (CKG_GENERATE, 12, 41),
            (CKG_GENERATE, 6, 0),
            (CKG_GENERATE_RANDOM, 12, 41),
        ] {
            let refused = make(&mut count, generator, &vec![0; len], fixed);
            assert_eq!(refused.unwrap_err().cause(), Cause::MechanismParamInvalid, "{generator} {len} {fixed}");
        }
        assert_eq!(make(&mut count, CKG_NO_GENERATE, &[9; 12], 200).unwrap(), [9; 12]);
        assert_eq!(make(&mut count, CKG_GENERATE_COUNTER, &[9; 12], 96).unwrap(), [9; 12], "one there is");
        assert!(make(&mut count, CKG_GENERATE_COUNTER, &[9; 12], 96).is_err());
        assert!(make(&mut count, CKG_GENERATE, &[], 0).is_err());
    }
}

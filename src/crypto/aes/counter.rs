//! How far a counter counts.
#![forbid(unsafe_code)]

use super::BLOCK_LEN;

/// How many bytes can be encrypted until the rightmost `bits` of the counter block, 1 to 128, would overflow; as many
/// as fit the type if there are more. The last increment may overflow, but nothing comes after it.
pub(super) fn room(bits: u32, block: &[u8; BLOCK_LEN]) -> u64 {
    let most = u128::MAX >> 128u32.saturating_sub(bits);
    let blocks = (most - (u128::from_be_bytes(*block) & most)).saturating_add(1);
    u64::try_from(blocks.saturating_mul(BLOCK_LEN as u128)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_to_its_overflow() {
        // The example of PKCS#11: two bits that start at 1 are good for three blocks.
        let starting_at = |value: u128| value.to_be_bytes();
        assert_eq!(room(2, &starting_at(1)), 3 * 16);
        assert_eq!(room(2, &starting_at(0xfff0)), 4 * 16);
        assert_eq!(room(1, &starting_at(u128::MAX)), 16);
        assert_eq!(room(32, &starting_at(1)), 0xffff_ffff * 16);
        assert_eq!(room(128, &starting_at(u128::MAX)), 16);
        assert_eq!(room(128, &starting_at(u128::MAX - 1)), 32);
        assert_eq!(room(128, &starting_at(0)), u64::MAX);
        assert_eq!(room(64, &starting_at(5)), u64::MAX);
    }
}

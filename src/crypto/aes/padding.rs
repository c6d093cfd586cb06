//! PKCS#7 padding (RFC 5652, section 6.3), taken off in constant time.
#![forbid(unsafe_code)]

use std::hint::black_box;

/// What fills up data of which `len` bytes stand in the last block of `block` bytes, at most 255: so many bytes, all
/// of this value. At least one, and at most a block.
pub(super) fn fill(len: usize, block: usize) -> u8 {
    (block - len % block) as u8
}

/// How many bytes of padding `block`, the last one, of at most 255 bytes, ends with; `None` if it does not end with
/// padding. The time tells neither what is wrong nor how long the padding is.
pub(super) fn trailing(block: &[u8]) -> Option<usize> {
    let fill = u32::from(*block.last()?);
    let mut wrong = is_less(fill, 1) | is_less(block.len() as u32, fill);
    for (from_end, byte) in (0u32..).zip(block.iter().rev()) {
        wrong |= is_less(from_end, fill) & !is_zero(u32::from(*byte) ^ fill);
    }
    // The one thing that the caller learns anyway.
    if black_box(wrong) == 0 { Some(fill as usize) } else { None }
}

// Masks of all ones or all zeros, hidden from the compiler, which would make branches of them.

fn is_zero(x: u32) -> u32 {
    black_box(0u32.wrapping_sub((!x & x.wrapping_sub(1)) >> 31))
}

/// Both below 2^31.
fn is_less(a: u32, b: u32) -> u32 {
    black_box(0u32.wrapping_sub(a.wrapping_sub(b) >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As one would write it if time told nothing.
    fn plain(block: &[u8]) -> Option<usize> {
        let fill = usize::from(*block.last()?);
        let padding = block.len().checked_sub(fill).filter(|_| fill > 0).and_then(|start| block.get(start..))?;
        padding.iter().all(|byte| usize::from(*byte) == fill).then_some(fill)
    }

    #[test]
    fn padding_is_found_exactly_where_it_is() {
        for len in [8, 16] {
            for value in 0..=255u8 {
                for run in 0..=len {
                    let mut block = vec![value ^ 1; len];
                    block[len - run..].fill(value);
                    assert_eq!(trailing(&block), plain(&block), "{run} times {value}");
                }
            }
            for data in 0..len {
                let fill = fill(data, len);
                let mut block = vec![0xee; len];
                block[data..].fill(fill);
                assert_eq!(trailing(&block), Some(len - data));
            }
            assert_eq!(usize::from(fill(len, len)), len);
        }
        assert_eq!(trailing(&[]), None);
    }
}

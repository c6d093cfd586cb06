//! Writing DER that holds secrets: into memory of the right size from the start, wiped when dropped.
#![forbid(unsafe_code)]

use super::Secret;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: &[u8] = &[0x05, 0x00];
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// An element whose content is the concatenation of `parts`.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Secret {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = len.to_be_bytes();
    let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    // 0x80 and the number of digits, or, below 128, the one digit alone.
    let long = [0x80 | digits.len() as u8];
    let long = if len < 0x80 { &[][..] } else { &long };
    concat(&[&[&[tag][..], long, digits], parts].concat())
}

/// An INTEGER that is not negative, from its bytes, most significant first.
pub(super) fn unsigned(number: &[u8]) -> Secret {
    let number = trim(number);
    // A leading zero where there is no digit, or the first would be taken for a sign.
    let zero = if number.first().is_none_or(|first| *first >= 0x80) { &[0][..] } else { &[] };
    element(INTEGER, &[zero, number])
}

/// A number without its leading zeros.
pub(super) fn trim(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

fn concat(parts: &[&[u8]]) -> Secret {
    let mut out = Secret::zeroed(parts.iter().map(|part| part.len()).sum());
    let mut rest = out.expose_mut();
    for part in parts {
        let (head, tail) = rest.split_at_mut(part.len());
        head.copy_from_slice(part);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_those_of_der() {
        for (len, header) in [
            (0, &[4, 0][..]),
            (127, &[4, 0x7f]),
            (128, &[4, 0x81, 0x80]),
            (255, &[4, 0x81, 0xff]),
            (256, &[4, 0x82, 1, 0]),
            (70_000, &[4, 0x83, 1, 0x11, 0x70]),
        ] {
            let content = vec![7; len];
            assert_eq!(element(OCTET_STRING, &[&content]).expose(), [header, &content].concat());
        }
        for (number, expected) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 1], &[2, 1, 1]),
            (&[0x7f], &[2, 1, 0x7f]),
            (&[0x80], &[2, 2, 0, 0x80]),
        ] {
            assert_eq!(unsigned(number).expose(), expected);
        }
    }
}

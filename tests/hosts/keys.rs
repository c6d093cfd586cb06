//! What of a private key must not be found in memory, in every shape in which it might lie there.

use super::scan::{Needle, Needles};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::ops::Range;

/// One DER element: its tag and where its contents lie.
struct Element {
    tag: u8,
    contents: Range<usize>,
}

fn element(der: &[u8], at: usize) -> Element {
    let (tag, first) = (der[at], der[at + 1]);
    let (start, len) = match first {
        0..0x80 => (at + 2, usize::from(first)),
        _ => {
            let count = usize::from(first & 0x7f);
            let len = der[at + 2..at + 2 + count].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            (at + 2 + count, len)
        }
    };
    Element { tag, contents: start..start + len }
}

/// The elements in a range.
fn elements(der: &[u8], range: Range<usize>) -> Vec<Element> {
    let (mut at, mut all) = (range.start, Vec::new());
    while at < range.end {
        let next = element(der, at);
        at = next.contents.end;
        all.push(next);
    }
    all
}

/// Where the secret numbers lie in a PKCS#8 document, and what they are called.
fn secrets(der: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let parts = elements(der, element(der, 0).contents);
    let key = parts[2].contents.clone();
    let inner = element(der, key.start);
    match inner.tag {
        // Ed25519: an OCTET STRING in the OCTET STRING; ML-DSA: a seed with a tag of its own.
        4 | 0x80 => vec![("seed", inner.contents)],
        0x30 => {
            let fields = elements(der, inner.contents);
            let at = |index: usize| fields[index].contents.clone();
            match fields.len() {
                // RSAPrivateKey: version, n, e, d, p, q, dp, dq, qinv.
                9 => ["d", "p", "q", "dp", "dq", "qinv"].into_iter().zip((3..).map(at)).collect(),
                // ECPrivateKey: version, privateKey, …
                _ => vec![("scalar", at(1))],
            }
        }
        tag => panic!("an unknown private key: {tag:#x}"),
    }
}

/// Adds to `needles` all of a private key: its numbers in both byte orders and as 64-bit limbs with the
/// most significant first, and the base64 of the document (which the answer of KMS has) where it tells a
/// secret number. What surrounds the numbers is public and found everywhere.
pub(crate) fn add_private_key(needles: &mut Needles, name: &str, pkcs8: &[u8]) {
    let text = STANDARD.encode(pkcs8);
    let mut found = 0;
    for (part, range) in secrets(pkcs8) {
        let mut bytes = pkcs8[range.clone()].to_vec();
        needles.add(Needle { key: name.to_owned(), shape: format!("{part}, big-endian") }, &bytes);
        let chars = (range.start * 4).div_ceil(3)..range.end * 4 / 3;
        needles.add(Needle { key: name.to_owned(), shape: format!("{part}, base64") }, &text.as_bytes()[chars]);
        bytes.reverse();
        needles.add(Needle { key: name.to_owned(), shape: format!("{part}, little-endian") }, &bytes);
        let limbs: Vec<u8> = bytes.chunks(8).rev().flatten().copied().collect();
        needles.add(Needle { key: name.to_owned(), shape: format!("{part}, limbs") }, &limbs);
        found += 1;
    }
    assert!(found > 0);
}

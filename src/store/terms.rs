//! Which attributes are indexed, in every store.

use super::record::ObjectView;
use super::{Query, Visibility};
use cryptoki_sys::*;

/// An attribute's type and its value, as an index has them.
pub(super) type Term = (i64, Vec<u8>);

/// The attributes that are indexed wherever they occur, those first that few objects share: an
/// intersection is quickest if it starts with a short list.
const INDEXED: [u64; 10] = [
    CKA_UNIQUE_ID,
    CKA_PUBLIC_KEY_INFO,
    CKA_ID,
    CKA_MODULUS,
    CKA_EC_POINT,
    CKA_SERIAL_NUMBER,
    CKA_LABEL,
    CKA_SUBJECT,
    CKA_KEY_TYPE,
    CKA_CLASS,
];
/// The class whose `CKA_VALUE` is indexed too: of certificates only, because it is public.
const CERTIFICATE: [u8; 8] = CKO_CERTIFICATE.to_be_bytes();

/// The term that all objects have which can be seen without logging in.
pub(super) fn public() -> Term {
    term(CKA_PRIVATE, &[0])
}

/// Whether an object with this `CKA_PRIVATE` is hidden without logging in.
pub(super) fn is_private(value: Option<&[u8]>) -> bool {
    value == Some(&[1])
}

/// The terms under which the index holds an object with these attributes.
pub(super) fn terms<'a>(get: impl Fn(u64) -> Option<&'a [u8]>) -> Vec<Term> {
    let mut terms: Vec<Term> = indexed(&get).filter_map(|kind| Some(term(kind, get(kind)?))).collect();
    terms.push(term(CKA_PRIVATE, &[u8::from(is_private(get(CKA_PRIVATE)))]));
    terms
}

/// The types among a record's or a template's attributes that the index can answer.
pub(super) fn indexed<'a>(get: impl Fn(u64) -> Option<&'a [u8]>) -> impl Iterator<Item = u64> {
    let value = (get(CKA_CLASS) == Some(&CERTIFICATE)).then_some(CKA_VALUE);
    value.into_iter().chain(INDEXED)
}

pub(super) fn term(kind: u64, value: &[u8]) -> Term {
    // The integers of databases are signed; the bits are what counts.
    let kind = kind as i64;
    if value.len() <= 32 { (kind, value.to_vec()) } else { (kind, fnv128(value).to_be_bytes().to_vec()) }
}

/// FNV-1a with 128 bits: what the index holds in place of a long value. It need not withstand anybody:
/// each hit is compared with the record itself, so a collision costs a look and no more.
fn fnv128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = (1 << 88) + 0x13b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// The terms of a stored record; `None` if it is damaged.
pub(super) fn terms_of(record: &[u8]) -> Option<Vec<Term>> {
    ObjectView::parse(record).ok().map(|view| terms(|kind| view.get(kind)))
}

/// The terms under which every object is that a query can find; none of them: all objects.
pub(super) fn of_query(query: &Query) -> Vec<Term> {
    let get = |kind| query.equal.iter().find(|(k, _)| *k == kind).map(|(_, value)| value.as_slice());
    let mut terms: Vec<Term> = indexed(get).filter_map(|kind| Some(term(kind, get(kind)?))).collect();
    if query.private == Visibility::PublicOnly {
        terms.push(public());
    }
    terms
}

/// Whether a record says what a query asks for, whatever an index said of it. A damaged record may say anything, and
/// is not excluded.
pub(super) fn confirms(query: &Query, record: &[u8]) -> bool {
    let Ok(view) = ObjectView::parse(record) else { return true };
    let hidden = query.private == Visibility::PublicOnly && is_private(view.get(CKA_PRIVATE));
    !hidden && query.equal.iter().all(|(kind, value)| view.get(*kind) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_long_values_is_fnv_1a() {
        assert_eq!(fnv128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fnv128(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}

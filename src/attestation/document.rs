//! What a document says, for people to read. Nothing hangs on it: who signed it, and whether it is true, KMS judges.

use minicbor::Decoder;
use minicbor::data::Type;

/// A register with measurements; `None` where the document has none, or is none.
pub(super) fn register(document: &[u8], index: u8) -> Option<Vec<u8>> {
    find(document, index).unwrap_or_default()
}

fn find(document: &[u8], wanted: u8) -> Result<Option<Vec<u8>>, minicbor::decode::Error> {
    // A COSE_Sign1, which may be tagged: protected header, unprotected header, payload, signature.
    let mut signed = Decoder::new(document);
    if signed.datatype()? == Type::Tag {
        signed.tag()?;
    }
    signed.array()?;
    signed.bytes()?;
    signed.skip()?;
    let mut payload = Decoder::new(signed.bytes()?);
    for _ in 0..payload.map()?.unwrap_or(0) {
        if payload.str()? != "pcrs" {
            payload.skip()?;
            continue;
        }
        for _ in 0..payload.map()?.unwrap_or(0) {
            let (index, value) = (payload.u8()?, payload.bytes()?);
            if index == wanted {
                return Ok(Some(value.to_vec()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_found_and_nothing_is_too_strange() {
        let payload = b"\xa3\x69timestamp\x1a\x01\x02\x03\x04\x64pcrs\xa2\x00\x42\x07\x08\x02\x41\x09\x65nonce\xf6";
        let document =
            [&b"\x84\x44\xa1\x01\x38\x22\xa0\x58"[..], &[payload.len() as u8], payload, b"\x41\x00"].concat();
        let tagged = [&b"\xd2"[..], &document].concat();
        for document in [&document, &tagged] {
            assert_eq!(register(document, 0), Some(vec![7, 8]));
            assert_eq!(register(document, 2), Some(vec![9]));
            assert_eq!(register(document, 1), None);
            for at in 0..document.len() {
                register(&document[..at], 0);
                for byte in 0..=255 {
                    let mut bad = document.clone();
                    bad[at] = byte;
                    register(&bad, 0);
                }
            }
        }
    }
}

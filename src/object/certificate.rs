//! What an X.509 certificate says of itself.
//!
//! Only the outer structure is read, and each field is taken as the bytes it is: certificates in the
//! field have serial numbers and names that strict decoders refuse, and clients compare bytes.

use crate::error::{Cause, Error, Result};
use der::{Decode, Reader, SliceReader, Tag, Tagged, asn1::AnyRef};

/// Fields of a certificate, each the complete DER of its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// `serialNumber`.
    pub serial_number: &'a [u8],
    /// `issuer`.
    pub issuer: &'a [u8],
    /// `subject`.
    pub subject: &'a [u8],
    /// `subjectPublicKeyInfo`.
    pub public_key_info: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a DER certificate. `AttributeValueInvalid` if `der` is not one.
    pub fn parse(der: &'a [u8]) -> Result<Self> {
        Self::read(der)
            .map_err(|error| Error::from(Cause::AttributeValueInvalid).context(format!("not a certificate: {error}")))
    }

    fn read(der: &'a [u8]) -> der::Result<Self> {
        let outer = AnyRef::from_der(der)?;
        outer.tag().assert_eq(Tag::Sequence)?;
        let mut parts = SliceReader::new(outer.value())?;
        let signed = AnyRef::decode(&mut parts)?;
        signed.tag().assert_eq(Tag::Sequence)?;
        let mut fields = SliceReader::new(signed.value())?;
        if Tag::peek(&fields)?.is_context_specific() {
            fields.tlv_bytes()?;
        }
        let serial_number = field(&mut fields, Tag::Integer)?;
        field(&mut fields, Tag::Sequence)?;
        let issuer = field(&mut fields, Tag::Sequence)?;
        field(&mut fields, Tag::Sequence)?;
        let subject = field(&mut fields, Tag::Sequence)?;
        let public_key_info = field(&mut fields, Tag::Sequence)?;
        field(&mut parts, Tag::Sequence)?;
        field(&mut parts, Tag::BitString)?;
        parts.finish()?;
        Ok(Self { serial_number, issuer, subject, public_key_info })
    }
}

fn field<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    Tag::peek(reader)?.assert_eq(tag)?;
    reader.tlv_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's skeleton: SEQUENCE { tbs SEQUENCE { fields }, SEQUENCE {}, BIT STRING }.
    fn skeleton(fields: &[u8]) -> Vec<u8> {
        let tbs = [&[0x30, fields.len() as u8], fields].concat();
        let body = [tbs.as_slice(), &[0x30, 0x00, 0x03, 0x01, 0x00]].concat();
        [&[0x30, body.len() as u8], body.as_slice()].concat()
    }

    const FIELDS: &[u8] =
        &[0xa0, 3, 2, 1, 2, 0x02, 1, 0x85, 0x30, 0, 0x30, 1, 0x41, 0x30, 0, 0x30, 1, 0x42, 0x30, 1, 0x43];

    #[test]
    fn fields_are_taken_as_they_are() {
        let der = skeleton(FIELDS);
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.serial_number, [0x02, 1, 0x85], "negative serial numbers exist");
        assert_eq!(certificate.issuer, [0x30, 1, 0x41]);
        assert_eq!(certificate.subject, [0x30, 1, 0x42]);
        assert_eq!(certificate.public_key_info, [0x30, 1, 0x43]);
    }

    #[test]
    fn what_is_no_certificate_is_refused_without_a_panic() {
        let der = skeleton(FIELDS);
        for len in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..len]).unwrap_err().cause(), Cause::AttributeValueInvalid);
        }
        let longer = [der.as_slice(), &[0]].concat();
        assert_eq!(Certificate::parse(&longer).unwrap_err().cause(), Cause::AttributeValueInvalid);
    }
}

//! `CiphertextForRecipient`: an `EnvelopedData` of CMS (RFC 5652, section 6), of the one kind that KMS makes.
//!
//! One recipient, whose RSA key transports a key of AES-256-CBC. KMS writes BER: the structures around have indefinite
//! lengths, and the content is a string in pieces. The strict form is read as well, and a recipient that is named in
//! another way: emulators do.

use der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, OctetString};
use der::{Decode, DecodeValue, EncodingRules, ErrorKind, FixedTag, Header, Reader, SliceReader, Tag, TagNumber};
use spki::AlgorithmIdentifier;

const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
/// Of a recipient that is named by issuer and serial number of its certificate, and of an `EnvelopedData` for it.
const BY_CERTIFICATE: u8 = 0;
/// The same of one that is named by a key identifier, as KMS does.
const BY_KEY: u8 = 2;
/// The longest plaintext has 4096 bytes; KMS's structure around it some 500.
const MOST: usize = 8192;

/// What is needed to open it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Enveloped {
    /// The key of the content, encrypted.
    pub(super) encrypted_key: Vec<u8>,
    pub(super) iv: [u8; 16],
    pub(super) encrypted_content: Vec<u8>,
}

/// `None` for anything else.
pub(super) fn parse(bytes: &[u8]) -> Option<Enveloped> {
    if bytes.len() > MOST {
        return None;
    }
    let mut reader = SliceReader::new_with_encoding_rules(bytes, EncodingRules::Ber).ok()?;
    let content = ContentInfo::decode(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(content.0)
}

/// Reads an object identifier that must be the one given.
fn expect<'r>(reader: &mut impl Reader<'r>, expected: ObjectIdentifier) -> der::Result<()> {
    match ObjectIdentifier::decode(reader)? == expected {
        true => Ok(()),
        false => Err(reader.error(ErrorKind::Failed)),
    }
}

/// Reads a version: one of two.
fn version<'r>(reader: &mut impl Reader<'r>) -> der::Result<u8> {
    match u8::decode(reader)? {
        version @ (BY_CERTIFICATE | BY_KEY) => Ok(version),
        _ => Err(reader.error(ErrorKind::Failed)),
    }
}

/// The content of a field that is there.
fn field<'r, R: Reader<'r>, T>(reader: &mut R, found: Option<ContextSpecific<T>>) -> der::Result<T> {
    found.map(|field| field.value).ok_or_else(|| reader.error(ErrorKind::Failed))
}

/// `ContentInfo` with an `EnvelopedData`.
struct ContentInfo(Enveloped);

impl FixedTag for ContentInfo {
    const TAG: Tag = Tag::Sequence;
}

impl<'r> DecodeValue<'r> for ContentInfo {
    type Error = der::Error;

    fn decode_value<R: Reader<'r>>(reader: &mut R, _: Header) -> der::Result<Self> {
        expect(reader, ENVELOPED_DATA)?;
        let content = ContextSpecific::<Enveloped>::decode_explicit(reader, TagNumber(0))?;
        field(reader, content).map(Self)
    }
}

impl FixedTag for Enveloped {
    const TAG: Tag = Tag::Sequence;
}

impl<'r> DecodeValue<'r> for Enveloped {
    type Error = der::Error;

    fn decode_value<R: Reader<'r>>(reader: &mut R, _: Header) -> der::Result<Self> {
        version(reader)?;
        let Recipients(encrypted_key) = Recipients::decode(reader)?;
        let Content { iv, encrypted_content } = Content::decode(reader)?;
        Ok(Self { encrypted_key, iv, encrypted_content })
    }
}

/// `RecipientInfos` with one member.
struct Recipients(Vec<u8>);

impl FixedTag for Recipients {
    const TAG: Tag = Tag::Set;
}

impl<'r> DecodeValue<'r> for Recipients {
    type Error = der::Error;

    fn decode_value<R: Reader<'r>>(reader: &mut R, _: Header) -> der::Result<Self> {
        KeyTransport::decode(reader).map(|recipient| Self(recipient.0))
    }
}

/// `KeyTransRecipientInfo`.
struct KeyTransport(Vec<u8>);

impl FixedTag for KeyTransport {
    const TAG: Tag = Tag::Sequence;
}

impl<'r> DecodeValue<'r> for KeyTransport {
    type Error = der::Error;

    fn decode_value<R: Reader<'r>>(reader: &mut R, _: Header) -> der::Result<Self> {
        // Whose key it is the key itself will tell.
        if version(reader)? == BY_CERTIFICATE {
            AnyRef::decode(reader)?;
        } else {
            let identifier = ContextSpecific::<OctetString>::decode_implicit(reader, TagNumber(0))?;
            field(reader, identifier)?;
        }
        // SHA-256 and MGF1 with it, in the parameters as in the request; with others nothing opens.
        let algorithm = AlgorithmIdentifier::<AnyRef<'_>>::decode(reader)?;
        if algorithm.oid != RSAES_OAEP {
            return Err(reader.error(ErrorKind::Failed));
        }
        OctetString::decode(reader).map(|key| Self(key.as_bytes().to_vec()))
    }
}

/// `EncryptedContentInfo`.
struct Content {
    iv: [u8; 16],
    encrypted_content: Vec<u8>,
}

impl FixedTag for Content {
    const TAG: Tag = Tag::Sequence;
}

impl<'r> DecodeValue<'r> for Content {
    type Error = der::Error;

    fn decode_value<R: Reader<'r>>(reader: &mut R, _: Header) -> der::Result<Self> {
        expect(reader, DATA)?;
        let algorithm = AlgorithmIdentifier::<OctetString>::decode(reader)?;
        let iv = algorithm.parameters.and_then(|iv| iv.as_bytes().try_into().ok());
        let (AES_256_CBC, Some(iv)) = (algorithm.oid, iv) else { return Err(reader.error(ErrorKind::Failed)) };
        let content = ContextSpecific::<OctetString>::decode_implicit(reader, TagNumber(0))?;
        Ok(Self { iv, encrypted_content: field(reader, content)?.as_bytes().to_vec() })
    }
}

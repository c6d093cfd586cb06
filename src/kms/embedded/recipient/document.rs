//! The attestation document of a Nitro enclave: a `COSE_Sign1` (RFC 9052, section 4.2) of a map, signed with
//! ECDSA-SHA-384 by the key of a certificate inside it.
//!
//! What must be in it, and how long, AWS describes in `docs/attestation_process.md` of `aws-nitro-enclaves-nsm-api`.

use super::chain;
use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use p384::ecdsa::Signature;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The tag of a `COSE_Sign1`; it may be left out.
const COSE_SIGN1: Tag = Tag::new(18);
/// `{1: -35}`: the algorithm is ES384.
const ES384: &[u8] = &[0xa1, 0x01, 0x38, 0x22];
/// KMS takes no document that is older, and no clock is so far ahead.
const MOST_AGE: Duration = Duration::from_secs(300);
const MOST_PCRS: u64 = 32;

/// What a document proves.
#[derive(Debug)]
pub(super) struct Document {
    /// Measurements, by their register.
    pub(super) pcrs: BTreeMap<u8, Vec<u8>>,
    /// DER `SubjectPublicKeyInfo`.
    pub(super) public_key: Vec<u8>,
}

/// Reads a document and checks signature, certificates and age; else why it proves nothing.
pub(super) fn verify(bytes: &[u8], roots: &[Vec<u8>], now: SystemTime) -> Result<Document, String> {
    let signed = Signed::parse(bytes).map_err(|error| format!("it is no COSE_Sign1: {error}"))?;
    if signed.protected != ES384 {
        return Err("it is not signed with ES384".to_owned());
    }
    let payload = Payload::parse(signed.payload).map_err(|error| format!("its payload: {error}"))?;
    let key = chain::verify(payload.certificate, &payload.cabundle, roots, now)?;
    let signature = Signature::from_slice(signed.signature).map_err(|_| "its signature has another length")?;
    chain::check_signature(&key, &to_be_signed(&signed), &signature).map_err(|()| "its signature is wrong")?;
    let made = UNIX_EPOCH.checked_add(Duration::from_millis(payload.timestamp)).ok_or("its time is none")?;
    let age = now.duration_since(made).or_else(|_| made.duration_since(now)).unwrap_or_default();
    if age > MOST_AGE {
        return Err(format!("it is {} seconds off, more than {}", age.as_secs(), MOST_AGE.as_secs()));
    }
    let public_key = payload.public_key.ok_or("it has no public_key")?;
    Ok(Document { pcrs: payload.pcrs, public_key: public_key.to_vec() })
}

struct Signed<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

type Read<T> = Result<T, minicbor::decode::Error>;

fn bad<T>(what: &'static str) -> Read<T> {
    Err(minicbor::decode::Error::message(what))
}

impl<'a> Signed<'a> {
    fn parse(bytes: &'a [u8]) -> Read<Self> {
        let mut decoder = Decoder::new(bytes);
        if decoder.datatype()? == Type::Tag && decoder.tag()? != COSE_SIGN1 {
            return bad("another tag");
        }
        if decoder.array()? != Some(4) {
            return bad("no array of four");
        }
        let protected = decoder.bytes()?;
        if decoder.map()? != Some(0) {
            return bad("an unprotected header");
        }
        let (payload, signature) = (decoder.bytes()?, decoder.bytes()?);
        if decoder.position() != bytes.len() {
            return bad("something behind it");
        }
        Ok(Self { protected, payload, signature })
    }
}

/// `Sig_structure` (RFC 9052, section 4.4).
fn to_be_signed(signed: &Signed<'_>) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let encoded =
        (|| encoder.array(4)?.str("Signature1")?.bytes(signed.protected)?.bytes(&[])?.bytes(signed.payload)?.ok())();
    let encoded: Result<(), minicbor::encode::Error<std::convert::Infallible>> = encoded;
    // A vector takes everything; nothing is what nobody signed.
    encoded.map(|()| encoder.into_writer()).unwrap_or_default()
}

#[derive(Default)]
struct Payload<'a> {
    timestamp: u64,
    pcrs: BTreeMap<u8, Vec<u8>>,
    certificate: &'a [u8],
    cabundle: Vec<&'a [u8]>,
    public_key: Option<&'a [u8]>,
}

impl<'a> Payload<'a> {
    fn parse(bytes: &'a [u8]) -> Read<Self> {
        let mut decoder = Decoder::new(bytes);
        let (mut payload, mut seen) = (Self::default(), Vec::new());
        for _ in 0..decoder.map()?.unwrap_or(0) {
            let name = decoder.str()?;
            if seen.contains(&name) {
                return bad("a field twice");
            }
            seen.push(name);
            match name {
                "module_id" if decoder.str()?.is_empty() => return bad("an empty module_id"),
                "digest" if decoder.str()? != "SHA384" => return bad("another digest than SHA384"),
                "module_id" | "digest" => {}
                "timestamp" => payload.timestamp = decoder.u64()?,
                "pcrs" => payload.pcrs = pcrs(&mut decoder)?,
                "certificate" => payload.certificate = decoder.bytes()?,
                "cabundle" => {
                    for _ in 0..decoder.array()?.unwrap_or(0) {
                        payload.cabundle.push(decoder.bytes()?);
                    }
                }
                "public_key" => payload.public_key = optional(&mut decoder, 1024)?,
                "user_data" | "nonce" => {
                    optional(&mut decoder, 512)?;
                }
                _ => return bad("an unknown field"),
            }
        }
        let all = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"];
        match all.iter().all(|name| seen.contains(name)) && decoder.position() == bytes.len() {
            true => Ok(payload),
            false => bad("a field is missing, or something is behind them"),
        }
    }
}

fn pcrs(decoder: &mut Decoder<'_>) -> Read<BTreeMap<u8, Vec<u8>>> {
    let count = decoder.map()?.unwrap_or(0);
    if !(1..=MOST_PCRS).contains(&count) {
        return bad("so many PCRs");
    }
    let mut pcrs = BTreeMap::new();
    for _ in 0..count {
        let (index, value) = (decoder.u8()?, decoder.bytes()?);
        if u64::from(index) >= MOST_PCRS || ![32, 48, 64].contains(&value.len()) {
            return bad("such a PCR");
        }
        pcrs.insert(index, value.to_vec());
    }
    Ok(pcrs)
}

/// Bytes, or null.
fn optional<'a>(decoder: &mut Decoder<'a>, most: usize) -> Read<Option<&'a [u8]>> {
    if decoder.datatype()? == Type::Null {
        return decoder.null().map(|()| None);
    }
    match decoder.bytes()? {
        long if long.len() > most => bad("a field is too long"),
        bytes => Ok(Some(bytes)),
    }
}

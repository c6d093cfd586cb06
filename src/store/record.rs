//! The record format: what every store keeps, byte for byte.
//!
//! A record is a kind (`O` object, `T` token), a format version and its parts, all integers big-endian
//! and of fixed width, closed by a CRC-32 of everything before. There is exactly one encoding of a
//! record: attributes and context pairs ascend strictly, flags are 0 or 1, nothing follows the end.
//! The row's version is not in it; each store keeps that where it can compare and swap it.
//!
//! ```text
//! object   'O' 2  id[16]  count32 { type64 bytes }  sealed  mac
//! token    'T' 2  serial-text label-text login8  flag8 pin  flag8 pin  sealed  created64 changed64  mac
//! sealed   0  or  1 by KMS, 2 in an envelope:
//!          context-version8  blob-bytes  count32 { key-text value-text }  arn-text
//!          or 3, 4: the same, and then what further KMS keys made of it:  count32 { arn-text blob-bytes }
//! pin      salt[16] memory32 iterations32 lanes32 failed32  wrapped-bytes
//! mac      0  or  1 mac[32]
//! bytes    length32 byte…        text = bytes that are UTF-8
//! ```
//!
//! Format 1 was the same without `mac`.

use super::types::{FurtherSeal, Mac, ObjectId, ObjectRecord, PinRecord, SealForm, SealedKey, TokenRecord};
use super::wire::{Reader, Writer, damaged};
use crate::config::LoginMode;
use crate::error::{Cause, Result};

/// The format that this module writes.
pub const FORMAT: u8 = 2;
/// The format that has no MACs.
const WITHOUT_MAC: u8 = 1;

const OBJECT: u8 = b'O';
const TOKEN: u8 = b'T';

/// Encodes an object, all but its version. Fails only if it is too large for any store.
pub fn encode_object(record: &ObjectRecord) -> Result<Vec<u8>> {
    let mut out = Writer::new();
    out.u8(OBJECT);
    out.u8(FORMAT);
    write_object(&mut out, record)?;
    out.option(record.mac.as_ref(), write_mac)?;
    out.finish()
}

/// What the MAC of an object is made of, in the token with this serial. Never changes: what it once vouched for must
/// stay so in every later format.
pub fn vouched_object(serial: &str, record: &ObjectRecord) -> Result<Vec<u8>> {
    let mut out = Writer::new();
    out.bytes(b"datakey-pkcs11 object v1")?;
    out.bytes(serial.as_bytes())?;
    write_object(&mut out, record)?;
    out.finish()
}

/// What the MAC of a token is made of: what does not change from one initialisation to the next.
pub fn vouched_token(record: &TokenRecord) -> Result<Vec<u8>> {
    let mut out = Writer::new();
    out.bytes(b"datakey-pkcs11 token v1")?;
    out.bytes(record.serial.as_bytes())?;
    out.bytes(record.label.as_bytes())?;
    out.u8(login_byte(record.login));
    out.u64(record.created);
    out.finish()
}

fn write_object(out: &mut Writer, record: &ObjectRecord) -> Result<()> {
    out.fixed(record.id.as_bytes());
    out.count(record.attributes.len())?;
    for (kind, value) in &record.attributes {
        out.u64(*kind);
        out.bytes(value)?;
    }
    write_sealed(out, record.sealed.as_ref())
}

fn login_byte(login: LoginMode) -> u8 {
    match login {
        LoginMode::None => 0,
        LoginMode::Pin => 1,
    }
}

fn write_mac(out: &mut Writer, mac: &Mac) -> Result<()> {
    out.fixed(mac);
    Ok(())
}

/// Encodes a token, all but its version.
pub fn encode_token(record: &TokenRecord) -> Result<Vec<u8>> {
    let mut out = Writer::new();
    out.u8(TOKEN);
    out.u8(FORMAT);
    out.bytes(record.serial.as_bytes())?;
    out.bytes(record.label.as_bytes())?;
    out.u8(login_byte(record.login));
    out.option(record.so_pin.as_ref(), write_pin)?;
    out.option(record.user_pin.as_ref(), write_pin)?;
    write_sealed(&mut out, record.sealed_token_key.as_ref())?;
    out.u64(record.created);
    out.u64(record.changed);
    out.option(record.mac.as_ref(), write_mac)?;
    out.finish()
}

/// Decodes the object that its store keeps as `id` with `version`. A record that was put in another
/// object's place is as corrupt as one with damaged bytes.
pub fn decode_object(id: &ObjectId, version: u64, bytes: &[u8]) -> Result<ObjectRecord> {
    let view = ObjectView::parse(bytes).map_err(|e| e.context(format_args!("object {id}")))?;
    if view.id != *id {
        return Err(Cause::RecordCorrupt.with(format!("object {id}: its record is that of object {}", view.id)));
    }
    let attributes = view.attributes.into_iter().map(|(kind, value)| (kind, value.to_vec())).collect();
    Ok(ObjectRecord { id: view.id, version, attributes, sealed: view.sealed, mac: view.mac })
}

/// Decodes the token that its store keeps with `version`.
pub fn decode_token(version: u64, bytes: &[u8]) -> Result<TokenRecord> {
    read_token(version, bytes).map_err(|e| e.context("token"))
}

/// An object's record, its attributes still where they lie: for a search, which only looks.
pub(super) struct ObjectView<'a> {
    id: ObjectId,
    attributes: Vec<(u64, &'a [u8])>,
    sealed: Option<SealedKey>,
    mac: Option<Mac>,
}

impl<'a> ObjectView<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (format, mut input) = open(bytes, OBJECT)?;
        let id = ObjectId::from_bytes(input.array()?);
        let count = input.count(12)?;
        let mut attributes = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = input.u64()?;
            if attributes.last().is_some_and(|(last, _)| *last >= kind) {
                return Err(damaged("its attributes are out of order"));
            }
            attributes.push((kind, input.bytes()?));
        }
        let sealed = read_sealed(&mut input)?;
        let mac = read_mac(format, &mut input)?;
        input.end()?;
        Ok(Self { id, attributes, sealed, mac })
    }

    pub(super) fn get(&self, kind: u64) -> Option<&'a [u8]> {
        let at = self.attributes.binary_search_by_key(&kind, |(kind, _)| *kind).ok()?;
        self.attributes.get(at).map(|(_, value)| *value)
    }
}

/// The format of a record of this kind, and its parts.
fn open(bytes: &[u8], kind: u8) -> Result<(u8, Reader<'_>)> {
    let mut input = Reader::new(bytes)?;
    if input.u8()? != kind {
        return Err(damaged("it is of another kind"));
    }
    match input.u8()? {
        format @ (WITHOUT_MAC | FORMAT) => Ok((format, input)),
        _ => Err(damaged("its format is unknown")),
    }
}

fn read_mac(format: u8, input: &mut Reader<'_>) -> Result<Option<Mac>> {
    if format == WITHOUT_MAC { Ok(None) } else { input.option(Reader::array) }
}

fn read_token(version: u64, bytes: &[u8]) -> Result<TokenRecord> {
    let (format, mut input) = open(bytes, TOKEN)?;
    let record = TokenRecord {
        version,
        serial: input.text()?.to_owned(),
        label: input.text()?.to_owned(),
        login: match input.u8()? {
            0 => LoginMode::None,
            1 => LoginMode::Pin,
            _ => return Err(damaged("its login mode is unknown")),
        },
        so_pin: input.option(read_pin)?,
        user_pin: input.option(read_pin)?,
        sealed_token_key: read_sealed(&mut input)?,
        created: input.u64()?,
        changed: input.u64()?,
        mac: read_mac(format, &mut input)?,
    };
    input.end()?;
    Ok(record)
}

/// The bytes that say how a key is sealed, and whether by more than one KMS key; 0 is no key.
const FORMS: &[(u8, SealForm, bool)] = &[
    (1, SealForm::Kms, false),
    (2, SealForm::Envelope, false),
    (3, SealForm::Kms, true),
    (4, SealForm::Envelope, true),
];

fn write_sealed(out: &mut Writer, sealed: Option<&SealedKey>) -> Result<()> {
    let form = sealed.and_then(|sealed| {
        FORMS.iter().find(|(_, form, further)| *form == sealed.form && *further != sealed.further.is_empty())
    });
    let (Some(sealed), Some((form, _, further))) = (sealed, form) else {
        out.u8(0);
        return Ok(());
    };
    out.u8(*form);
    let mut pairs: Vec<_> = sealed.user_context.iter().collect();
    pairs.sort();
    if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(Cause::ConfigInvalid.with("encryption_context names a key twice"));
    }
    out.u8(sealed.context_version);
    out.bytes(&sealed.blob)?;
    out.count(pairs.len())?;
    for (key, value) in pairs {
        out.bytes(key.as_bytes())?;
        out.bytes(value.as_bytes())?;
    }
    out.bytes(sealed.kms_key_arn.as_bytes())?;
    if *further {
        out.count(sealed.further.len())?;
        for seal in &sealed.further {
            out.bytes(seal.kms_key_arn.as_bytes())?;
            out.bytes(&seal.blob)?;
        }
    }
    Ok(())
}

fn read_sealed(input: &mut Reader<'_>) -> Result<Option<SealedKey>> {
    let form = match input.u8()? {
        0 => return Ok(None),
        byte => FORMS.iter().find(|(known, ..)| *known == byte),
    };
    let (_, form, has_further) = *form.ok_or_else(|| damaged("its form of seal is unknown"))?;
    let context_version = input.u8()?;
    let blob = input.bytes()?.to_vec();
    let count = input.count(8)?;
    let mut user_context: Vec<(String, String)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, value) = (input.text()?, input.text()?);
        if user_context.last().is_some_and(|(last, _)| last.as_str() >= key) {
            return Err(damaged("its context is out of order"));
        }
        user_context.push((key.to_owned(), value.to_owned()));
    }
    let kms_key_arn = input.text()?.to_owned();
    let further = if has_further { read_further(input)? } else { Vec::new() };
    Ok(Some(SealedKey { form, blob, context_version, user_context, kms_key_arn, further }))
}

fn read_further(input: &mut Reader<'_>) -> Result<Vec<FurtherSeal>> {
    let count = input.count(8)?;
    if count == 0 {
        return Err(damaged("it says that further keys sealed it, and names none"));
    }
    (0..count)
        .map(|_| Ok(FurtherSeal { kms_key_arn: input.text()?.to_owned(), blob: input.bytes()?.to_vec() }))
        .collect()
}

fn write_pin(out: &mut Writer, pin: &PinRecord) -> Result<()> {
    out.fixed(&pin.salt);
    for number in [pin.memory_kib, pin.iterations, pin.lanes, pin.failed_attempts] {
        out.u32(number);
    }
    out.bytes(&pin.wrapped_token_key)
}

fn read_pin(input: &mut Reader<'_>) -> Result<PinRecord> {
    Ok(PinRecord {
        salt: input.array()?,
        memory_kib: input.u32()?,
        iterations: input.u32()?,
        lanes: input.u32()?,
        failed_attempts: input.u32()?,
        wrapped_token_key: input.bytes()?.to_vec(),
    })
}

#[cfg(test)]
mod tests;

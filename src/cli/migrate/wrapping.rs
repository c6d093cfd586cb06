//! Keys that another module hands out only wrapped: a key that we both know wraps them.

use super::super::parts;
use super::reading::{self, words};
use crate::crypto::{Aes, AesMode, Direction, Secret, SecretKey, random};
use cryptoki::error::Error;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::CKA_VALUE;
use der::{Reader, SliceReader};

const KEY_LEN: usize = 32;
/// Every key is wrapped by another key, and only once it is wrapped with a given initial value.
const IV_LEN: usize = 16;
const SEMIBLOCK: usize = 8;

/// A key of the other token's session, and how it wraps there.
pub(super) struct Wrapping<'a> {
    session: &'a Session,
    handle: ObjectHandle,
    key: SecretKey,
    mechanisms: Vec<MechanismType>,
}

impl<'a> Wrapping<'a> {
    /// Makes the key in the session, where it is gone with it; `mechanisms` are those of the token.
    pub(super) fn new(session: &'a Session, mechanisms: Vec<MechanismType>) -> Result<Self, String> {
        let mut value = Secret::zeroed(KEY_LEN);
        random::fill(value.expose_mut()).map_err(|error| error.to_string())?;
        let common =
            [Attribute::Token(false), Attribute::Private(true), Attribute::Wrap(true), Attribute::Unwrap(true)];
        let given = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Value(value.expose().to_vec()),
        ];
        let handle = match session.create_object(&[&common[..], &given].concat()) {
            Ok(handle) => handle,
            // Some tokens take no key from outside, but make one that they tell.
            Err(_) => {
                let open = [
                    Attribute::ValueLen((KEY_LEN as u64).into()),
                    Attribute::Sensitive(false),
                    Attribute::Extractable(true),
                ];
                let handle = session
                    .generate_key(&Mechanism::AesKeyGen, &[&common[..], &open].concat())
                    .map_err(|error| format!("that token makes no key to wrap with: {}", words(&error)))?;
                let told = reading::attributes(session, handle, &[CKA_VALUE]).map_err(|error| words(&error))?;
                value = Secret::new(parts::get(&told, CKA_VALUE).to_vec());
                handle
            }
        };
        let key =
            SecretKey::new(value.expose()).map_err(|_| "that token does not tell the key to wrap with".to_owned())?;
        Ok(Self { session, handle, key, mechanisms })
    }

    /// A key in the clear: PKCS#8 of a private one, the bytes of a secret one, whose length is `len`.
    pub(super) fn fetch(&self, wanted: ObjectHandle, len: Option<usize>) -> Result<Secret, String> {
        let mut iv = [0; IV_LEN];
        random::fill(&mut iv).map_err(|error| error.to_string())?;
        let (kw, kwp) = (AesMode::KEY_WRAP_IV, AesMode::KEY_WRAP_PADDED_IV);
        // What a token means by the padding of AES key wrap differs: the check in it tells which it was.
        let ways: [(Mechanism<'_>, MechanismType, Vec<AesMode>); 3] = [
            (
                Mechanism::AesKeyWrapPad,
                MechanismType::AES_KEY_WRAP_PAD,
                vec![AesMode::KeyWrapPadded { iv: kwp }, AesMode::KeyWrapPkcs7 { iv: kw }],
            ),
            (Mechanism::AesCbcPad(iv), MechanismType::AES_CBC_PAD, vec![AesMode::CbcPad { iv }]),
            (Mechanism::AesKeyWrap, MechanismType::AES_KEY_WRAP, vec![AesMode::KeyWrap { iv: kw }]),
        ];
        let mut why =
            "that token wraps with none of CKM_AES_KEY_WRAP_PAD, CKM_AES_CBC_PAD, CKM_AES_KEY_WRAP".to_owned();
        for (mechanism, kind, modes) in ways {
            if !self.mechanisms.contains(&kind) {
                continue;
            }
            let wrapped = match self.session.wrap_key(&mechanism, self.handle, wanted) {
                Ok(wrapped) => wrapped,
                Err(error) => {
                    why = format!("that token does not wrap it: {}", words(&error));
                    continue;
                }
            };
            for mode in modes {
                let opened = Aes::new(mode, Direction::Decrypt).and_then(|aes| aes.run(&self.key, &wrapped));
                if let Ok(mut opened) = opened {
                    shorten(&mut opened, len);
                    return Ok(opened);
                }
            }
            why = "what that token wrapped does not unwrap".to_owned();
        }
        Err(why)
    }
}

/// SoftHSM2 fills a key up with zeros to half blocks before it wraps it, and then wraps it with padding.
fn shorten(opened: &mut Secret, len: Option<usize>) {
    let Some(len) = len.or_else(|| der_len(opened.expose())) else { return };
    let more = opened.expose().get(len..).unwrap_or_default();
    if more.len() < SEMIBLOCK && more.iter().all(|byte| *byte == 0) {
        opened.truncate(len);
    }
}

/// How long an element of DER says it is.
fn der_len(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    reader.tlv_bytes().ok().map(<[u8]>::len)
}

impl Drop for Wrapping<'_> {
    fn drop(&mut self) {
        // With the session it goes in any case.
        let _: Result<(), Error> = self.session.destroy_object(self.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zeros_that_fill_up_are_taken_away() {
        let shortened = |bytes: &[u8], len| {
            let mut secret = Secret::new(bytes.to_vec());
            shorten(&mut secret, len);
            secret.expose().to_vec()
        };
        assert_eq!(shortened(&[7, 7, 7, 0, 0, 0, 0, 0], Some(3)), [7, 7, 7]);
        assert_eq!(shortened(&[7, 0, 0, 0, 0, 0, 0, 0], Some(3)), [7, 0, 0]);
        assert_eq!(shortened(&[7, 7, 7, 0, 1, 0, 0, 0], Some(3)).len(), 8);
        assert_eq!(shortened(&[7; 8], Some(9)).len(), 8);
        assert_eq!(shortened(&[0; 16], Some(8)).len(), 16, "a whole half block fills nothing up");
        assert_eq!(shortened(&[0x30, 1, 5, 0, 0, 0, 0, 0], None), [0x30, 1, 5]);
        assert_eq!(shortened(&[0x30, 9, 5, 0, 0, 0, 0, 0], None).len(), 8);
    }
}

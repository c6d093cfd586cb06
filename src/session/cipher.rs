//! Encrypting and decrypting.

use super::operation::{Kind, Late, Outcome, Room};
use super::sign::Demand;
use super::table::Session;
use super::use_of_key::{Keyed, UseOfKey};
use crate::crypto::{PublicKey, Secret};
use crate::error::{Cause, Result};
use crate::mechanism::{Cipher, Given};
use cryptoki_sys::*;

/// An encryption under way.
pub(super) struct Encryption {
    cipher: Cipher,
    key: PublicKey,
}

/// A decryption under way. Its result is kept while the caller has no room for it, so that it is
/// computed once however often the caller asks.
pub(super) struct Decryption {
    cipher: Option<Cipher>,
    key: UseOfKey,
    plaintext: Option<Secret>,
    most: usize,
}

impl Keyed for Decryption {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        Some(&mut self.key)
    }
}

impl Decryption {
    fn ready(&self, in_parts: bool) -> Result<Late<'_>> {
        match (&self.plaintext, &self.cipher) {
            (Some(plaintext), _) => Ok(Late::Made(plaintext)),
            (None, Some(cipher)) if cipher.is_updated() && !in_parts => Err(Cause::OperationActive.into()),
            (None, _) => Ok(Late::AtMost(self.most)),
        }
    }
}

impl Session {
    /// `C_EncryptInit`.
    pub fn encrypt_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand = Demand { flag: CKF_ENCRYPT, classes: &[CKO_PUBLIC_KEY], permission: CKA_ENCRYPT };
        self.encryption.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let key = object.public_key()?.clone();
        self.encryption.start(Encryption { cipher: Cipher::new(&request, key.kind())?, key })
    }

    /// `C_Encrypt`.
    pub fn encrypt(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Encrypt))?;
        let ready = |encryption: &Encryption| match encryption.cipher.is_updated() {
            true => Err(Cause::OperationActive.into()),
            false => Ok(encryption.cipher.block_len()),
        };
        self.encryption
            .finish(room, ready, |encryption| encryption.cipher.encrypt(&encryption.key, Some(data)).map(Secret::new))
    }

    /// `C_EncryptUpdate`: the block comes out at the end, so this has no output.
    pub fn encrypt_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        self.encryption.update(|encryption| match room {
            Room::Query => part.map(|_| Outcome::Size(0)),
            Room::Bytes(_) => encryption.cipher.update(part?, Cause::DataLenRange).map(|()| Outcome::nothing()),
        })
    }

    /// `C_EncryptFinal`.
    pub fn encrypt_final(&self, room: Room) -> Result<Outcome> {
        self.encryption.finish(
            room,
            |encryption| Ok(encryption.cipher.block_len()),
            |encryption| encryption.cipher.encrypt(&encryption.key, None).map(Secret::new),
        )
    }

    /// `C_DecryptInit`.
    pub fn decrypt_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand = Demand { flag: CKF_DECRYPT, classes: &[CKO_PRIVATE_KEY], permission: CKA_DECRYPT };
        self.decryption.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let cipher = Cipher::new(&request, object.public_key()?.kind())?;
        let most = cipher.block_len();
        let key = UseOfKey::new(&self.slot, object, request.mechanism)?;
        self.decryption.start(Decryption { cipher: Some(cipher), key, plaintext: None, most })
    }

    /// `C_Decrypt`. Asking for the length neither calls KMS nor counts as a use.
    pub fn decrypt(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Decrypt))?;
        self.finish_decryption(room, Some(data))
    }

    /// `C_DecryptUpdate`: the plaintext comes out at the end, so this has no output.
    pub fn decrypt_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        self.decryption.update(|decryption| {
            let cipher = decryption.cipher.as_mut().ok_or(Cause::OperationActive)?;
            match room {
                Room::Query => part.map(|_| Outcome::Size(0)),
                Room::Bytes(_) => cipher.update(part?, Cause::EncryptedDataLenRange).map(|()| Outcome::nothing()),
            }
        })
    }

    /// `C_DecryptFinal`.
    pub fn decrypt_final(&self, room: Room) -> Result<Outcome> {
        self.finish_decryption(room, None)
    }

    fn finish_decryption(&self, room: Room, data: Option<&[u8]>) -> Result<Outcome> {
        self.decryption.finish_late(
            room,
            |decryption| decryption.ready(data.is_none()),
            |mut decryption| {
                let cipher = decryption.cipher.take().ok_or(Cause::OperationNotInitialized)?;
                cipher.check_block(data)?;
                let plaintext = decryption.key.run(&self.slot, |key| cipher.decrypt(key.private()?, data))?;
                Ok((decryption, plaintext))
            },
            |decryption, plaintext| decryption.plaintext = Some(plaintext),
            |decryption| decryption.plaintext.unwrap_or_else(|| Secret::new(Vec::new())),
        )
    }
}

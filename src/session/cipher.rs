//! Encrypting and decrypting.

use super::operation::{AnySlot, Kind, Late, Outcome, Room, Slot as Operation};
use super::sign::Demand;
use super::slot::Slot;
use super::table::Session;
use super::use_of_key::{Keyed, UseOfKey};
use crate::crypto::{Direction, PublicKey, Secret, Symmetric, SymmetricStream};
use crate::error::{Cause, Result};
use crate::mechanism::{Cipher, Given, symmetric};
use cryptoki_sys::*;

/// An encryption or decryption under way. Its result is kept while the caller has no room for it, so that it is
/// computed once however often the caller asks.
pub(super) struct Ciphering {
    direction: Direction,
    /// Taken by the end.
    work: Option<Work>,
    key: CipherKey,
    made: Option<Secret>,
}

enum Work {
    /// RSA: one block, made of all data at the end.
    Rsa(Cipher),
    /// A secret key: data comes out as it goes in. The key is asked for when the first data comes.
    Symmetric { cipher: Symmetric, stream: Option<SymmetricStream> },
}

enum CipherKey {
    Public(PublicKey),
    Used(UseOfKey),
}

impl CipherKey {
    fn used(&self) -> Result<&UseOfKey> {
        match self {
            Self::Used(key) => Ok(key),
            Self::Public(_) => Err(Cause::KeyTypeInconsistent.into()),
        }
    }
}

impl Keyed for Ciphering {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        match &mut self.key {
            CipherKey::Used(key) => Some(key),
            CipherKey::Public(_) => None,
        }
    }
}

impl Ciphering {
    /// How long the output of the end is: of `data`, which comes in one part, or of what came before.
    fn ready(&self, data: Option<&[u8]>) -> Result<Late<'_>> {
        if let Some(made) = &self.made {
            return Ok(Late::Made(made));
        }
        match (self.work.as_ref().ok_or(Cause::OperationNotInitialized)?, data) {
            (Work::Rsa(cipher), Some(_)) if cipher.is_updated() => Err(Cause::OperationActive.into()),
            (Work::Rsa(cipher), _) => Ok(match self.direction {
                Direction::Encrypt => Late::Exactly(cipher.block_len()),
                Direction::Decrypt => Late::AtMost(cipher.block_len()),
            }),
            (Work::Symmetric { stream: Some(_), .. }, Some(_)) => Err(Cause::OperationActive.into()),
            (Work::Symmetric { cipher, stream }, data) => {
                let len = match (stream, data) {
                    (Some(stream), _) => stream.finish_len(),
                    (None, data) => cipher.output_len(data.map_or(0, <[u8]>::len)),
                };
                Ok(if cipher.is_exact() { Late::Exactly(len) } else { Late::AtMost(len) })
            }
        }
    }

    /// Ends with `data`, which comes in one part, or with what came before.
    fn finish(&mut self, slot: &Slot, data: Option<&[u8]>) -> Result<Secret> {
        match (self.work.take().ok_or(Cause::OperationNotInitialized)?, &self.key) {
            (Work::Rsa(cipher), CipherKey::Public(key)) => cipher.encrypt(key, data).map(Secret::new),
            (Work::Rsa(cipher), CipherKey::Used(key)) => {
                cipher.check_block(data)?;
                key.run(slot, |key| cipher.decrypt(key.private()?, data))
            }
            (Work::Symmetric { cipher, stream: None }, key) => {
                let data = data.unwrap_or_default();
                // What is no use of a key is not to count as one.
                cipher.check_len(data.len())?;
                key.used()?.run(slot, |key| cipher.run(key.secret()?, data))
            }
            (Work::Symmetric { stream: Some(stream), .. }, key) => {
                key.used()?.check(slot)?;
                stream.run(data.unwrap_or_default())
            }
        }
    }

    /// The length of what the next part of `len` bytes gives.
    fn update_len(&self, len: usize) -> Result<usize> {
        match &self.work {
            // Its result was made, and waits for room.
            None => Err(Cause::OperationActive.into()),
            Some(Work::Rsa(_)) => Ok(0),
            Some(Work::Symmetric { stream: Some(stream), .. }) => Ok(stream.update_len(len)),
            Some(Work::Symmetric { cipher, stream: None }) => Ok(cipher.update_len(len)),
        }
    }

    fn update(&mut self, slot: &Slot, part: &[u8]) -> Result<Secret> {
        match self.work.as_mut().ok_or(Cause::OperationActive)? {
            Work::Rsa(cipher) => {
                let too_long = match self.direction {
                    Direction::Encrypt => Cause::DataLenRange,
                    Direction::Decrypt => Cause::EncryptedDataLenRange,
                };
                cipher.update(part, too_long)?;
                Ok(Secret::new(Vec::new()))
            }
            Work::Symmetric { stream: Some(stream), .. } => {
                self.key.used()?.check(slot)?;
                stream.update(part)
            }
            Work::Symmetric { cipher, stream } => {
                let new = self.key.used()?.run(slot, |key| cipher.start(key.secret()?))?;
                stream.insert(new).update(part)
            }
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
        const DEMAND: Demand =
            Demand { flag: CKF_ENCRYPT, classes: &[CKO_PUBLIC_KEY, CKO_SECRET_KEY], permission: CKA_ENCRYPT };
        self.cipher_init(&self.encryption, Direction::Encrypt, &DEMAND, mechanism, given, key)
    }

    /// `C_Encrypt`. Asking for the length, or with too little room, neither calls KMS nor counts as a use.
    pub fn encrypt(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Encrypt))?;
        self.finish_cipher(&self.encryption, Some(data), room)
    }

    /// `C_EncryptUpdate`.
    pub fn encrypt_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        self.update_cipher(&self.encryption, part, room)
    }

    /// `C_EncryptFinal`.
    pub fn encrypt_final(&self, room: Room) -> Result<Outcome> {
        self.finish_cipher(&self.encryption, None, room)
    }

    /// `C_DecryptInit`.
    pub fn decrypt_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand =
            Demand { flag: CKF_DECRYPT, classes: &[CKO_PRIVATE_KEY, CKO_SECRET_KEY], permission: CKA_DECRYPT };
        self.cipher_init(&self.decryption, Direction::Decrypt, &DEMAND, mechanism, given, key)
    }

    /// `C_Decrypt`. Asking for the length neither calls KMS nor counts as a use.
    pub fn decrypt(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Decrypt))?;
        self.finish_cipher(&self.decryption, Some(data), room)
    }

    /// `C_DecryptUpdate`.
    pub fn decrypt_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        self.update_cipher(&self.decryption, part, room)
    }

    /// `C_DecryptFinal`.
    pub fn decrypt_final(&self, room: Room) -> Result<Outcome> {
        self.finish_cipher(&self.decryption, None, room)
    }

    fn cipher_init(
        &self,
        operation: &Operation<Ciphering>,
        direction: Direction,
        demand: &Demand,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        operation.check_free()?;
        let (request, object) = self.request(mechanism, given, key, demand)?;
        let work = match object.is_secret_key() {
            true => Work::Symmetric { cipher: symmetric(&request, direction)?, stream: None },
            false => Work::Rsa(Cipher::new(&request, object.public_key()?.kind())?),
        };
        let key = match object.is_public_key() {
            true => CipherKey::Public(object.public_key()?.clone()),
            false => CipherKey::Used(UseOfKey::new(&self.slot, object, request.mechanism)?),
        };
        operation.start(Ciphering { direction, work: Some(work), key, made: None })
    }

    fn update_cipher(&self, operation: &Operation<Ciphering>, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let login = self.slot.login_epoch();
        let outcome = operation.advance(
            |ciphering| Ok(Outcome::before(ciphering.update_len(part.clone()?.len())?, room)),
            |ciphering| ciphering.update(&self.slot, part.clone()?).map(Outcome::Done),
        )?;
        self.end_with_login(operation, login);
        Ok(outcome)
    }

    fn finish_cipher(&self, operation: &Operation<Ciphering>, data: Option<&[u8]>, room: Room) -> Result<Outcome> {
        let login = self.slot.login_epoch();
        let outcome = operation.finish_late(
            room,
            |ciphering| ciphering.ready(data),
            |mut ciphering| {
                let output = ciphering.finish(&self.slot, data)?;
                Ok((ciphering, output))
            },
            |ciphering, output| ciphering.made = Some(output),
            |ciphering| ciphering.made.unwrap_or_else(|| Secret::new(Vec::new())),
        )?;
        self.end_with_login(operation, login);
        Ok(outcome)
    }

    /// Ends an operation that was at work, and so in no slot, while its login ended.
    pub(super) fn end_with_login<T>(&self, operation: &Operation<T>, login: u64) {
        if self.slot.login_epoch() != login {
            operation.cancel();
        }
    }
}

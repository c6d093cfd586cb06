//! Encrypting and decrypting many messages with one key.

use super::handles::Object;
use super::operation::{Outcome, Room, Slot as Operation};
use super::sign::Demand;
use super::slot::Slot;
use super::table::Session;
use super::use_of_key::{Keyed, Messages, Permit, UseOfKey};
use crate::crypto::{Direction, Secret, Symmetric, SymmetricStream};
use crate::error::{Cause, Result};
use crate::mechanism::{Mechanism, MessageParams};
use cryptoki_sys::*;
use std::sync::Arc;

/// A message-based encryption or decryption process. It outlives each of its messages, whatever becomes of
/// them.
pub(super) struct MessageCrypting {
    mechanism: &'static Mechanism,
    direction: Direction,
    permit: Permit,
    object: Arc<Object>,
    key: UseOfKey,
    /// What `CKG_GENERATE_COUNTER_XOR` counts on, which must not change.
    xor_base: Option<Vec<u8>>,
    /// The message in parts that is under way.
    message: Option<Message>,
}

struct Message {
    stream: SymmetricStream,
    tag_len: usize,
    /// How many bytes came in and have not come out.
    waiting: usize,
}

impl Keyed for MessageCrypting {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        Some(&mut self.key)
    }
}

/// What came of a message, or of a part.
pub struct MessageOutcome {
    /// Plaintext or ciphertext, without the tag.
    pub outcome: Outcome,
    /// The initialisation vector, where one was made.
    pub iv: Option<Vec<u8>>,
    /// The tag, at the end of an encryption.
    pub tag: Option<Vec<u8>>,
}

impl MessageOutcome {
    fn early(outcome: Outcome) -> Self {
        Self { outcome, iv: None, tag: None }
    }
}

impl Messages for MessageCrypting {
    fn permit(&self) -> Permit {
        self.permit
    }

    fn renew(&mut self, object: Arc<Object>) {
        self.key.renew(Arc::clone(&object));
        self.object = object;
    }
}

impl MessageCrypting {
    /// No message is begun while another is under way.
    fn check_between_messages(&self) -> Result<()> {
        if self.message.is_some() { Err(Cause::OperationActive.into()) } else { Ok(()) }
    }

    /// Completes the parameters of an encryption; the vector, if one was made.
    fn complete(&mut self, params: &mut MessageParams) -> Result<Option<Vec<u8>>> {
        if self.direction == Direction::Decrypt || params.generator == CKG_NO_GENERATE {
            return Ok(None);
        }
        if params.generator == CKG_GENERATE_COUNTER_XOR
            && *self.xor_base.get_or_insert_with(|| params.iv.clone()) != params.iv
        {
            return Err(Cause::MechanismParamInvalid.with("the IV under the counter has changed"));
        }
        self.object.generate_iv(params)?;
        Ok(Some(params.iv.clone()))
    }

    /// Starts with the key, which one login is good for one message of.
    fn start(&mut self, slot: &Slot, cipher: &Symmetric) -> Result<SymmetricStream> {
        let stream = self.key.run(slot, |key| cipher.start(key.secret()?));
        self.key.end_use();
        stream
    }
}

/// The tag behind what an encryption put out last.
fn split_tag(mut output: Secret, tag_len: usize) -> (Secret, Vec<u8>) {
    let at = output.len().saturating_sub(tag_len);
    let tag = output.expose()[at..].to_vec();
    output.truncate(at);
    (output, tag)
}

/// Decryption ends with the tag, which does not come with the ciphertext.
fn open(mut stream: SymmetricStream, last: &[u8], tag: &[u8]) -> Result<Secret> {
    stream.update(last)?;
    stream.update(tag)?;
    stream.finish().map_err(|error| match error.cause() {
        Cause::EncryptedDataInvalid => Cause::AeadDecryptFailed.into(),
        _ => error,
    })
}

impl Session {
    fn message_crypting(&self, direction: Direction) -> &Operation<MessageCrypting> {
        match direction {
            Direction::Encrypt => &self.message_encryption,
            Direction::Decrypt => &self.message_decryption,
        }
    }

    /// `C_MessageEncryptInit` and `C_MessageDecryptInit`. The parameter comes with each message; what came here
    /// was looked at by the caller.
    pub fn message_crypt_init(
        &self,
        direction: Direction,
        mechanism: CK_MECHANISM_TYPE,
        parameter: Result<()>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let (flag, permission) = match direction {
            Direction::Encrypt => (CKF_MESSAGE_ENCRYPT, CKA_ENCRYPT),
            Direction::Decrypt => (CKF_MESSAGE_DECRYPT, CKA_DECRYPT),
        };
        let demand = Demand { flag, classes: &[CKO_SECRET_KEY], permission };
        self.message_crypting(direction).check_free()?;
        let permit = Permit { key, mechanism, demand };
        let (mechanism, object) = self.permitted(mechanism, key, &demand)?;
        parameter?;
        let key = UseOfKey::new(&self.slot, Arc::clone(&object), mechanism)?;
        let crypting = MessageCrypting { mechanism, direction, permit, object, key, xor_base: None, message: None };
        self.message_crypting(direction).start(crypting)
    }

    /// `C_EncryptMessage`. Asking for the length neither calls KMS nor makes an initialisation vector.
    pub fn encrypt_message(
        &self,
        params: Result<MessageParams>,
        aad: Result<&[u8]>,
        data: Result<&[u8]>,
        room: Room,
    ) -> Result<MessageOutcome> {
        self.within_new(&self.message_encryption, |crypting| {
            crypting.check_between_messages()?;
            let (mut params, aad, data) = (params?, aad?, data?);
            params.cipher(crypting.mechanism, Direction::Encrypt, aad)?;
            params.check_len(data.len(), Cause::DataLenRange)?;
            if let Some(early) = Outcome::before(data.len(), room) {
                return Ok(MessageOutcome::early(early));
            }
            let tag_len = params.tag_len()?;
            let iv = crypting.complete(&mut params)?;
            let cipher = params.cipher(crypting.mechanism, Direction::Encrypt, aad)?;
            let output = crypting.start(&self.slot, &cipher)?.run(data)?;
            let (output, tag) = split_tag(output, tag_len);
            Ok(MessageOutcome { outcome: Outcome::Done(output), iv, tag: Some(tag) })
        })
    }

    /// `C_DecryptMessage`. `AeadDecryptFailed` if it was tampered with.
    pub fn decrypt_message(
        &self,
        params: Result<MessageParams>,
        tag: Result<&[u8]>,
        aad: Result<&[u8]>,
        data: Result<&[u8]>,
        room: Room,
    ) -> Result<Outcome> {
        self.within_new(&self.message_decryption, |crypting| {
            crypting.check_between_messages()?;
            let (params, tag, aad, data) = (params?, tag?, aad?, data?);
            let cipher = params.cipher(crypting.mechanism, Direction::Decrypt, aad)?;
            params.check_len(data.len(), Cause::EncryptedDataLenRange)?;
            if let Some(early) = Outcome::before(data.len(), room) {
                return Ok(early);
            }
            open(crypting.start(&self.slot, &cipher)?, data, tag).map(Outcome::Done)
        })
    }

    /// `C_EncryptMessageBegin` and `C_DecryptMessageBegin`: the initialisation vector, where one was made.
    pub fn crypt_message_begin(
        &self,
        direction: Direction,
        params: Result<MessageParams>,
        aad: Result<&[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        self.within_new(self.message_crypting(direction), |crypting| {
            crypting.check_between_messages()?;
            let (mut params, aad) = (params?, aad?);
            params.cipher(crypting.mechanism, direction, aad)?;
            let tag_len = params.tag_len()?;
            let iv = crypting.complete(&mut params)?;
            let cipher = params.cipher(crypting.mechanism, direction, aad)?;
            let stream = crypting.start(&self.slot, &cipher)?;
            crypting.message = Some(Message { stream, tag_len, waiting: 0 });
            Ok(iv)
        })
    }

    /// Ends the message in parts that is under way, if there is one, and not the process.
    pub fn cancel_message(&self, direction: Direction) {
        self.message_crypting(direction).look(|crypting| crypting.message = None);
    }

    /// `C_EncryptMessageNext`; `last` with `CKF_END_OF_MESSAGE`, when the tag comes out.
    pub fn encrypt_message_next(
        &self,
        params: Result<Option<MessageParams>>,
        part: Result<&[u8]>,
        room: Room,
        last: bool,
    ) -> Result<MessageOutcome> {
        self.within(&self.message_encryption, |crypting| {
            // Taken out, so that an error ends it.
            let mut message = crypting.message.take().ok_or(Cause::OperationNotInitialized)?;
            crypting.key.check_login(&self.slot)?;
            message.check(params?.as_ref(), last)?;
            let part = part?;
            let passes = message.stream.update_len(part.len());
            let needed = if last { message.waiting.saturating_add(part.len()) } else { passes };
            if let Some(early) = Outcome::before(needed, room) {
                crypting.message = Some(message);
                return Ok(MessageOutcome::early(early));
            }
            if !last {
                let output = message.update(part)?;
                crypting.message = Some(message);
                return Ok(MessageOutcome::early(Outcome::Done(output)));
            }
            let (output, tag) = split_tag(message.stream.run(part)?, message.tag_len);
            Ok(MessageOutcome { outcome: Outcome::Done(output), iv: None, tag: Some(tag) })
        })
    }

    /// `C_DecryptMessageNext`; `tag` with `CKF_END_OF_MESSAGE`, when the whole plaintext comes out: none of it does
    /// before it has been verified.
    pub fn decrypt_message_next(
        &self,
        params: Result<Option<MessageParams>>,
        tag: Option<Result<&[u8]>>,
        part: Result<&[u8]>,
        room: Room,
    ) -> Result<Outcome> {
        self.within(&self.message_decryption, |crypting| {
            // Taken out, so that an error ends it.
            let mut message = crypting.message.take().ok_or(Cause::OperationNotInitialized)?;
            crypting.key.check_login(&self.slot)?;
            message.check(params?.as_ref(), tag.is_some())?;
            let part = part?;
            let needed = match tag {
                Some(_) => message.waiting.saturating_add(part.len()),
                None => 0,
            };
            if let Some(early) = Outcome::before(needed, room) {
                crypting.message = Some(message);
                return Ok(early);
            }
            match tag {
                Some(tag) => open(message.stream, part, tag?).map(Outcome::Done),
                None => {
                    message.update(part)?;
                    crypting.message = Some(message);
                    Ok(Outcome::nothing())
                }
            }
        })
    }

    /// `C_MessageEncryptFinal` and `C_MessageDecryptFinal`. `OperationActive` while a message is under way.
    pub fn message_crypt_final(&self, direction: Direction) -> Result<()> {
        self.within(self.message_crypting(direction), |crypting| crypting.check_between_messages())?;
        self.message_crypting(direction).take().map(drop)
    }
}

impl Message {
    fn update(&mut self, part: &[u8]) -> Result<Secret> {
        let output = self.stream.update(part)?;
        self.waiting = self.waiting.saturating_add(part.len()).saturating_sub(output.len());
        Ok(output)
    }

    /// The tag goes into, or comes from, the parameters that came with the last part.
    fn check(&self, params: Option<&MessageParams>, last: bool) -> Result<()> {
        match params {
            Some(params) if params.tag_len()? == self.tag_len => Ok(()),
            None if !last => Ok(()),
            _ => Err(Cause::MechanismParamInvalid.with("not the parameters that the message began with")),
        }
    }
}

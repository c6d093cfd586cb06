//! Signing many messages with one key.

use super::handles::Object;
use super::operation::{Outcome, Room};
use super::sign::{Demand, Work};
use super::slot::Slot;
use super::table::Session;
use super::use_of_key::{Keyed, Messages, Permit, UseOfKey};
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request};
use cryptoki_sys::*;
use std::sync::Arc;

/// A message-based signing process. It outlives each of its messages, whatever becomes of them.
pub(super) struct MessageSigning {
    request: Request,
    permit: Permit,
    object: Arc<Object>,
    key: UseOfKey,
    /// The message in parts that is under way.
    message: Option<Work>,
}

impl Keyed for MessageSigning {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        Some(&mut self.key)
    }
}

impl Messages for MessageSigning {
    fn permit(&self) -> Permit {
        self.permit
    }

    fn renew(&mut self, object: Arc<Object>) {
        self.key.renew(Arc::clone(&object));
        self.object = object;
    }
}

impl MessageSigning {
    /// No message is begun while another is under way.
    fn check_between_messages(&self) -> Result<()> {
        if self.message.is_some() { Err(Cause::OperationActive.into()) } else { Ok(()) }
    }

    fn begin(&self) -> Result<Work> {
        Work::new(&self.request, &self.object)
    }

    /// Signs with the key. One login for an always-authenticate key is good for one message.
    fn sign(&mut self, slot: &Slot, message: Work, data: Option<&[u8]>) -> Result<Outcome> {
        let signature = message.sign(&self.key, slot, data);
        self.key.end_use();
        signature
    }
}

impl Session {
    /// `C_MessageSignInit`.
    pub fn message_sign_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand =
            Demand { flag: CKF_MESSAGE_SIGN, classes: &[CKO_PRIVATE_KEY, CKO_SECRET_KEY], permission: CKA_SIGN };
        self.message_signing.check_free()?;
        let permit = Permit { key, mechanism, demand: DEMAND };
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let key = UseOfKey::new(&self.slot, Arc::clone(&object), request.mechanism)?;
        let signing = MessageSigning { request, permit, object, key, message: None };
        signing.begin()?;
        self.message_signing.start(signing)
    }

    /// `C_SignMessage`. Asking for the length neither calls KMS nor counts as a use.
    pub fn sign_message(&self, parameter: Result<()>, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        self.within_new(&self.message_signing, |signing| {
            signing.check_between_messages()?;
            parameter?;
            let (data, message) = (data?, signing.begin()?);
            if let Some(early) = Outcome::before(message.output_len(), room) {
                return Ok(early);
            }
            message.check(data)?;
            signing.sign(&self.slot, message, Some(data))
        })
    }

    /// `C_SignMessageBegin`.
    pub fn sign_message_begin(&self, parameter: Result<()>) -> Result<()> {
        self.within_new(&self.message_signing, |signing| {
            signing.check_between_messages()?;
            parameter?;
            signing.message = Some(signing.begin()?);
            Ok(())
        })
    }

    /// `C_SignMessageNext`: one more part, and after the last one the signature, for which there is `room`. A part
    /// that came with too little room for the signature is not taken in.
    pub fn sign_message_next(&self, parameter: Result<()>, part: Result<&[u8]>, room: Option<Room>) -> Result<Outcome> {
        self.within(&self.message_signing, |signing| {
            // Taken out, so that an error ends it.
            let mut message = signing.message.take().ok_or(Cause::OperationNotInitialized)?;
            parameter?;
            let part = part?;
            if let Some(early) = room.and_then(|room| Outcome::before(message.output_len(), room)) {
                signing.message = Some(message);
                return Ok(early);
            }
            message.update(&signing.key, &self.slot, part)?;
            match room {
                Some(_) => signing.sign(&self.slot, message, None),
                None => {
                    signing.message = Some(message);
                    Ok(Outcome::nothing())
                }
            }
        })
    }

    /// `C_MessageSignFinal`. `OperationActive` while a message is under way.
    pub fn message_sign_final(&self) -> Result<()> {
        self.within(&self.message_signing, |signing| signing.check_between_messages())?;
        self.message_signing.take().map(drop)
    }
}

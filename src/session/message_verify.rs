//! Verifying the signatures of many messages with one key.

use super::handles::Object;
use super::table::Session;
use super::use_of_key::{Keyed, Messages, Permit, UseOfKey};
use super::verify::{Verifying, verification};
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request};
use cryptoki_sys::*;
use std::sync::Arc;

/// A message-based verification process. It outlives each of its messages, whatever becomes of them.
pub(super) struct MessageVerifying {
    request: Request,
    permit: Permit,
    object: Arc<Object>,
    /// One for all messages, so that none is verified in a later login; `None` for a public key.
    key: Option<UseOfKey>,
    /// The message in parts that is under way.
    message: Option<Verifying>,
}

impl Keyed for MessageVerifying {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        self.key.as_mut()
    }
}

impl Messages for MessageVerifying {
    fn permit(&self) -> Permit {
        self.permit
    }

    fn renew(&mut self, object: Arc<Object>) {
        if let Some(key) = &mut self.key {
            key.renew(Arc::clone(&object));
        }
        self.object = object;
    }
}

impl MessageVerifying {
    /// No message is begun while another is under way.
    fn check_between_messages(&self) -> Result<()> {
        if self.message.is_some() { Err(Cause::OperationActive.into()) } else { Ok(()) }
    }

    fn begin(&self) -> Result<Verifying> {
        Verifying::with(&self.request, &self.object, self.key.clone())
    }
}

impl Session {
    /// `C_MessageVerifyInit`.
    pub fn message_verify_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        self.message_verifying.check_free()?;
        let permit = Permit { key, mechanism, demand: verification(CKF_MESSAGE_VERIFY) };
        let (request, object) = self.verification(mechanism, given, key, CKF_MESSAGE_VERIFY)?;
        let key = Verifying::use_of_key(&self.slot, &request, &object)?;
        let verifying = MessageVerifying { request, permit, object, key, message: None };
        verifying.begin()?;
        self.message_verifying.start(verifying)
    }

    /// `C_VerifyMessage`.
    pub fn verify_message(&self, parameter: Result<()>, data: Result<&[u8]>, signature: Result<&[u8]>) -> Result<()> {
        self.within_new(&self.message_verifying, |verifying| {
            verifying.check_between_messages()?;
            parameter?;
            verifying.begin()?.verify(&self.slot, data?, signature?)
        })
    }

    /// `C_VerifyMessageBegin`.
    pub fn verify_message_begin(&self, parameter: Result<()>) -> Result<()> {
        self.within_new(&self.message_verifying, |verifying| {
            verifying.check_between_messages()?;
            parameter?;
            verifying.message = Some(verifying.begin()?);
            Ok(())
        })
    }

    /// `C_VerifyMessageNext`: one more part, and with the last one the signature.
    pub fn verify_message_next(
        &self,
        parameter: Result<()>,
        part: Result<&[u8]>,
        signature: Option<Result<&[u8]>>,
    ) -> Result<()> {
        self.within(&self.message_verifying, |verifying| {
            // Taken out, so that an error ends it.
            let mut message = verifying.message.take().ok_or(Cause::OperationNotInitialized)?;
            parameter?;
            message.update(&self.slot, part?)?;
            match signature {
                Some(signature) => message.verify_updated(&self.slot, signature?),
                None => {
                    verifying.message = Some(message);
                    Ok(())
                }
            }
        })
    }

    /// `C_MessageVerifyFinal`. `OperationActive` while a message is under way.
    pub fn message_verify_final(&self) -> Result<()> {
        self.within(&self.message_verifying, |verifying| verifying.check_between_messages())?;
        self.message_verifying.take().map(drop)
    }
}

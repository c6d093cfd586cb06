//! Verifying the signatures of many messages with one key.

use super::handles::Object;
use super::slot::Slot;
use super::table::Session;
use super::verify::Verifying;
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request};
use cryptoki_sys::*;
use std::sync::Arc;

/// A message-based verification process. It outlives each of its messages, whatever becomes of them.
pub(super) struct MessageVerifying {
    request: Request,
    key: Arc<Object>,
    /// The message in parts that is under way.
    message: Option<Verifying>,
}

impl MessageVerifying {
    /// No message is begun while another is under way.
    fn check_between_messages(&self) -> Result<()> {
        if self.message.is_some() { Err(Cause::OperationActive.into()) } else { Ok(()) }
    }

    fn begin(&self, slot: &Slot) -> Result<Verifying> {
        Verifying::new(slot, &self.request, &self.key)
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
        let (request, key) = self.verification(mechanism, given, key, CKF_MESSAGE_VERIFY)?;
        let verifying = MessageVerifying { request, key, message: None };
        verifying.begin(&self.slot)?;
        self.message_verifying.start(verifying)
    }

    /// `C_VerifyMessage`.
    pub fn verify_message(&self, parameter: Result<()>, data: Result<&[u8]>, signature: Result<&[u8]>) -> Result<()> {
        self.message_verifying.within(|verifying| {
            verifying.check_between_messages()?;
            parameter?;
            verifying.begin(&self.slot)?.verify(&self.slot, data?, signature?)
        })
    }

    /// `C_VerifyMessageBegin`.
    pub fn verify_message_begin(&self, parameter: Result<()>) -> Result<()> {
        self.message_verifying.within(|verifying| {
            verifying.check_between_messages()?;
            parameter?;
            verifying.message = Some(verifying.begin(&self.slot)?);
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
        self.message_verifying.within(|verifying| {
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
        self.message_verifying.within(|verifying| verifying.check_between_messages())?;
        self.message_verifying.take().map(drop)
    }
}

//! Operations: one slot per kind in each session, and the one rule for their ends.
//!
//! An operation that is asked for its output either answers the length (the buffer is NULL), or says
//! that the buffer is too small, and lives on in both cases; or it runs, and is over whatever comes of
//! it (section 5.2). It is taken out of its slot while it runs, so no lock is held meanwhile.

use super::lock;
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::mechanism::Structure;
use cryptoki_sys::*;
use std::sync::Mutex;

/// The kinds of operation that a session can have one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `C_FindObjects`.
    Find,
    /// `C_Encrypt`.
    Encrypt,
    /// `C_Decrypt`.
    Decrypt,
    /// `C_Digest`.
    Digest,
    /// `C_Sign`.
    Sign,
    /// `C_Verify`.
    Verify,
    /// `C_VerifySignature`.
    VerifySignature,
    /// `C_SignRecover`.
    SignRecover,
    /// `C_VerifyRecover`.
    VerifyRecover,
    /// `C_EncryptMessage`.
    MessageEncrypt,
    /// `C_DecryptMessage`.
    MessageDecrypt,
    /// `C_SignMessage`.
    MessageSign,
    /// `C_VerifyMessage`.
    MessageVerify,
}

impl Kind {
    /// Whether the specification counts it among the operations whose state can be saved (section 5.6.4).
    pub(super) fn is_savable(self) -> bool {
        matches!(self, Kind::Encrypt | Kind::Decrypt | Kind::Digest | Kind::Sign | Kind::Verify | Kind::VerifySignature)
    }

    /// Every kind, with the flag that `C_SessionCancel` names it by.
    pub const FLAGS: &[(CK_FLAGS, Kind)] = &[
        (CKF_FIND_OBJECTS, Kind::Find),
        (CKF_ENCRYPT, Kind::Encrypt),
        (CKF_DECRYPT, Kind::Decrypt),
        (CKF_DIGEST, Kind::Digest),
        (CKF_SIGN, Kind::Sign),
        (CKF_VERIFY, Kind::Verify),
        (CKF_VERIFY, Kind::VerifySignature),
        (CKF_SIGN_RECOVER, Kind::SignRecover),
        (CKF_VERIFY_RECOVER, Kind::VerifyRecover),
        (CKF_MESSAGE_ENCRYPT, Kind::MessageEncrypt),
        (CKF_MESSAGE_DECRYPT, Kind::MessageDecrypt),
        (CKF_MESSAGE_SIGN, Kind::MessageSign),
        (CKF_MESSAGE_VERIFY, Kind::MessageVerify),
    ];
}

/// How much room the caller has for output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// None: the length is asked for.
    Query,
    /// So many bytes.
    Bytes(usize),
}

impl Room {
    /// Whether so many bytes do not fit.
    pub fn is_less_than(self, len: usize) -> bool {
        match self {
            Room::Query => true,
            Room::Bytes(room) => room < len,
        }
    }
}

/// What came of asking for output.
pub enum Outcome {
    /// So many bytes are needed; the operation lives on.
    Size(usize),
    /// There is no room for so many bytes; the operation lives on.
    TooSmall(usize),
    /// The output; the operation is over.
    Done(Secret),
    /// The same where the output points into itself.
    Structure(Structure),
}

impl From<Secret> for Outcome {
    fn from(output: Secret) -> Self {
        Self::Done(output)
    }
}

impl Outcome {
    /// Output of no bytes.
    pub(super) fn nothing() -> Self {
        Self::Done(Secret::new(Vec::new()))
    }

    /// What to answer when `needed` bytes are certain, before any work; `None` to go on.
    pub(super) fn before(needed: usize, room: Room) -> Option<Self> {
        match room {
            Room::Query => Some(Self::Size(needed)),
            Room::Bytes(bytes) if bytes < needed => Some(Self::TooSmall(needed)),
            Room::Bytes(_) => None,
        }
    }
}

/// The slot of one kind of operation.
pub(super) struct Slot<T>(Mutex<Option<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// A slot, whatever its kind of operation.
pub(super) trait AnySlot {
    /// Ends the operation, if there is one.
    fn cancel(&self);
    /// Whether there is one.
    fn is_active(&self) -> bool;
}

impl<T> AnySlot for Slot<T> {
    fn cancel(&self) {
        let ended = lock(&self.0).take();
        drop(ended);
    }

    fn is_active(&self) -> bool {
        lock(&self.0).is_some()
    }
}

impl<T> Slot<T> {
    /// `OperationActive` if there is one; asked before the arguments of an `Init` are looked at.
    pub(super) fn check_free(&self) -> Result<()> {
        if self.is_active() { Err(Cause::OperationActive.into()) } else { Ok(()) }
    }

    /// Puts a new operation in.
    pub(super) fn start(&self, operation: T) -> Result<()> {
        let mut slot = lock(&self.0);
        if slot.is_some() {
            return Err(Cause::OperationActive.into());
        }
        *slot = Some(operation);
        Ok(())
    }

    /// Takes the operation out: whatever comes of it, it is over.
    pub(super) fn take(&self) -> Result<T> {
        lock(&self.0).take().ok_or_else(|| Cause::OperationNotInitialized.into())
    }

    /// Works on the operation in its place. An error ends it.
    pub(super) fn update<R>(&self, work: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let mut slot = lock(&self.0);
        let result = work(slot.as_mut().ok_or(Cause::OperationNotInitialized)?);
        if result.is_err() {
            *slot = None;
        }
        result
    }

    /// Works on an operation that lives on, whatever comes of it. It is out of its slot meanwhile, so that the
    /// work may take its time.
    pub(super) fn within<R>(&self, work: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let mut operation = self.take()?;
        let result = work(&mut operation);
        self.put_back(operation);
        result
    }

    /// Works on the operation outside of its slot, where the work may take long; an error ends it. `early` may
    /// answer without any work, and then the operation is as it was.
    pub(super) fn advance<R>(
        &self,
        early: impl FnOnce(&T) -> Result<Option<R>>,
        work: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        let mut operation = {
            let mut slot = lock(&self.0);
            let operation = slot.take().ok_or(Cause::OperationNotInitialized)?;
            if let Some(answer) = early(&operation)? {
                *slot = Some(operation);
                return Ok(answer);
            }
            operation
        };
        let result = work(&mut operation)?;
        self.put_back(operation);
        Ok(result)
    }

    /// Another thread that started an operation meanwhile has broken the session's rules; its operation stays.
    fn put_back(&self, operation: T) {
        lock(&self.0).get_or_insert(operation);
    }

    /// Looks at the operation without ending it, whatever comes of it.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.0).as_mut().map(look)
    }

    /// Asks the operation for an output whose length is known before the work.
    pub(super) fn finish<O: Into<Outcome>>(
        &self,
        room: Room,
        ready: impl FnOnce(&T) -> Result<usize>,
        work: impl FnOnce(T) -> Result<O>,
    ) -> Result<Outcome> {
        let operation = {
            let mut slot = lock(&self.0);
            let operation = slot.take().ok_or(Cause::OperationNotInitialized)?;
            if let Some(early) = Outcome::before(ready(&operation)?, room) {
                *slot = Some(operation);
                return Ok(early);
            }
            operation
        };
        work(operation).map(Into::into)
    }

    /// Asks the operation for an output whose length only the work may tell. Output that finds no room is kept in
    /// the operation for the next call.
    pub(super) fn finish_late(
        &self,
        room: Room,
        ready: impl FnOnce(&T) -> Result<Late<'_>>,
        work: impl FnOnce(T) -> Result<(T, Secret)>,
        keep: impl FnOnce(&mut T, Secret),
        take: impl FnOnce(T) -> Secret,
    ) -> Result<Outcome> {
        let operation = {
            let mut slot = lock(&self.0);
            let operation = slot.take().ok_or(Cause::OperationNotInitialized)?;
            match (ready(&operation)?, room) {
                (Late::Made(output), room) => {
                    return Ok(match Outcome::before(output.len(), room) {
                        Some(early) => {
                            *slot = Some(operation);
                            early
                        }
                        None => Outcome::Done(take(operation)),
                    });
                }
                (Late::Exactly(len), room) => match Outcome::before(len, room) {
                    Some(early) => {
                        *slot = Some(operation);
                        return Ok(early);
                    }
                    None => operation,
                },
                (Late::AtMost(most), Room::Query) => {
                    *slot = Some(operation);
                    return Ok(Outcome::Size(most));
                }
                (Late::AtMost(_), Room::Bytes(_)) => operation,
            }
        };
        let (mut operation, output) = work(operation)?;
        match Outcome::before(output.len(), room) {
            None => Ok(Outcome::Done(output)),
            Some(early) => {
                keep(&mut operation, output);
                self.put_back(operation);
                Ok(early)
            }
        }
    }
}

/// How far an operation is whose output has a length that only the work may tell.
pub(super) enum Late<'a> {
    /// The work is to be done, and makes so many bytes.
    Exactly(usize),
    /// The work is to be done, and makes at most so many bytes.
    AtMost(usize),
    /// It was done; the caller had no room for its output.
    Made(&'a Secret),
}

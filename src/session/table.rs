//! The sessions of a process, by handle.

use super::cipher::Ciphering;
use super::digest::Digesting;
use super::handles::{HandleEpoch, Object};
use super::message_crypt::MessageCrypting;
use super::message_sign::MessageSigning;
use super::message_verify::MessageVerifying;
use super::operation::{AnySlot, Kind, Slot as Operation};
use super::recover::{SignRecovery, VerifyRecovery};
use super::search::Search;
use super::sign::Signing;
use super::slot::Slot;
use super::use_of_key::KeyedSlot;
use super::verify::Verifying;
use super::verify_signature::SignatureVerifying;
use crate::error::{Cause, Error, Result};
use crate::host::lock::{lock, read, write};
use crate::token::Made;
use cryptoki_sys::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The last session handle: never used again in this process, nor in its children, whatever is
/// initialised and finalised.
static LAST: AtomicU64 = AtomicU64::new(0);

/// All sessions.
#[derive(Default)]
pub struct Sessions {
    open: RwLock<HashMap<CK_SESSION_HANDLE, Arc<Session>>>,
}

/// One session.
pub struct Session {
    /// Its handle.
    pub handle: CK_SESSION_HANDLE,
    /// Its slot.
    pub slot: Arc<Slot>,
    /// Whether it may write.
    pub read_write: bool,
    last_error: Mutex<Option<Error>>,
    closed: AtomicBool,
    pub(super) search: Operation<Search>,
    pub(super) encryption: Operation<Ciphering>,
    pub(super) decryption: Operation<Ciphering>,
    pub(super) digesting: Operation<Digesting>,
    pub(super) signing: Operation<Signing>,
    pub(super) verifying: Operation<Verifying>,
    pub(super) signature_verifying: Operation<SignatureVerifying>,
    pub(super) sign_recovery: Operation<SignRecovery>,
    pub(super) verify_recovery: Operation<VerifyRecovery>,
    pub(super) message_encryption: Operation<MessageCrypting>,
    pub(super) message_decryption: Operation<MessageCrypting>,
    pub(super) message_signing: Operation<MessageSigning>,
    pub(super) message_verifying: Operation<MessageVerifying>,
}

impl Session {
    pub(super) fn new(handle: CK_SESSION_HANDLE, slot: Arc<Slot>, read_write: bool) -> Self {
        Self {
            handle,
            slot,
            read_write,
            last_error: Mutex::new(None),
            closed: AtomicBool::new(false),
            search: Operation::default(),
            encryption: Operation::default(),
            decryption: Operation::default(),
            digesting: Operation::default(),
            signing: Operation::default(),
            verifying: Operation::default(),
            signature_verifying: Operation::default(),
            sign_recovery: Operation::default(),
            verify_recovery: Operation::default(),
            message_encryption: Operation::default(),
            message_decryption: Operation::default(),
            message_signing: Operation::default(),
            message_verifying: Operation::default(),
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Gives an object that was just made its handle. If the session was closed meanwhile, its objects end
    /// with it; those on the token stay.
    pub(super) fn handle_of(&self, made: Made, epoch: HandleEpoch) -> Result<CK_OBJECT_HANDLE> {
        self.handle_of_object(Object::new(made), epoch)
    }

    /// The same for an object that shares something with another.
    pub(super) fn handle_of_object(&self, object: Arc<Object>, epoch: HandleEpoch) -> Result<CK_OBJECT_HANDLE> {
        let handle = self.slot.handles.of_new(object, self.handle, epoch);
        if self.closed.load(Ordering::Acquire) {
            for id in self.slot.handles.forget_session(self.handle) {
                self.slot.token.forget_key(id);
            }
            return Err(Cause::SessionHandleInvalid.into());
        }
        Ok(handle)
    }

    /// What the last call failed with that has a device error.
    pub fn last_error(&self) -> Option<Error> {
        lock(&self.last_error).clone()
    }

    /// Its number; 0 where there was none.
    pub fn device_error(&self) -> u32 {
        lock(&self.last_error).as_ref().map_or(0, |error| error.cause().device_error())
    }

    /// Notes what a call of this session failed with.
    pub fn note(&self, error: &Error) {
        if error.cause().device_error() != 0 {
            *lock(&self.last_error) = Some(error.clone());
        }
    }

    /// Ends the operation of one kind, if there is one (`C_SessionCancel`, and `Init` with no
    /// mechanism).
    pub fn cancel(&self, kind: Kind) {
        self.operation(kind).cancel();
    }

    /// Whether there is an operation of this kind.
    pub(super) fn is_active(&self, kind: Kind) -> bool {
        self.operation(kind).is_active()
    }

    fn operation(&self, kind: Kind) -> &dyn AnySlot {
        match kind {
            Kind::Find => &self.search,
            Kind::Encrypt => &self.encryption,
            Kind::Decrypt => &self.decryption,
            Kind::Digest => &self.digesting,
            Kind::Sign => &self.signing,
            Kind::Verify => &self.verifying,
            Kind::VerifySignature => &self.signature_verifying,
            Kind::SignRecover => &self.sign_recovery,
            Kind::VerifyRecover => &self.verify_recovery,
            Kind::MessageEncrypt => &self.message_encryption,
            Kind::MessageDecrypt => &self.message_decryption,
            Kind::MessageSign => &self.message_signing,
            Kind::MessageVerify => &self.message_verifying,
        }
    }

    /// The slots of all operations that may use a private or secret key.
    pub(super) fn keyed(&self) -> [&dyn KeyedSlot; 10] {
        [
            &self.signing,
            &self.verifying,
            &self.signature_verifying,
            &self.encryption,
            &self.decryption,
            &self.sign_recovery,
            &self.message_encryption,
            &self.message_decryption,
            &self.message_signing,
            &self.message_verifying,
        ]
    }
}

impl Sessions {
    /// The session with this handle.
    pub fn get(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        self.read().get(&handle).cloned().ok_or_else(|| Cause::SessionHandleInvalid.into())
    }

    pub(super) fn insert(&self, slot: &Arc<Slot>, read_write: bool) -> CK_SESSION_HANDLE {
        let handle = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.write().insert(handle, Arc::new(Session::new(handle, Arc::clone(slot), read_write)));
        handle
    }

    pub(super) fn remove(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        self.write().remove(&handle).ok_or_else(|| Cause::SessionHandleInvalid.into())
    }

    /// The sessions of one slot.
    pub(super) fn of_slot(&self, slot: CK_SLOT_ID) -> Vec<Arc<Session>> {
        self.read().values().filter(|session| session.slot.id == slot).cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<CK_SESSION_HANDLE, Arc<Session>>> {
        read(&self.open)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<CK_SESSION_HANDLE, Arc<Session>>> {
        write(&self.open)
    }
}

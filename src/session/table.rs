//! The sessions of a process, by handle.

use super::cipher::{Decryption, Encryption};
use super::digest::Digesting;
use super::operation::{Kind, Slot as Operation};
use super::search::Search;
use super::sign::Signing;
use super::slot::Slot;
use super::verify::Verifying;
use crate::error::{Cause, Error, Result};
use cryptoki_sys::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// All sessions. Handles count up from 1 and are never used again.
#[derive(Default)]
pub struct Sessions {
    last: AtomicU64,
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
    device_error: AtomicU32,
    pub(super) search: Operation<Search>,
    pub(super) encryption: Operation<Encryption>,
    pub(super) decryption: Operation<Decryption>,
    pub(super) digesting: Operation<Digesting>,
    pub(super) signing: Operation<Signing>,
    pub(super) verifying: Operation<Verifying>,
}

impl Session {
    pub(super) fn new(handle: CK_SESSION_HANDLE, slot: Arc<Slot>, read_write: bool) -> Self {
        Self {
            handle,
            slot,
            read_write,
            device_error: AtomicU32::new(0),
            search: Operation::default(),
            encryption: Operation::default(),
            decryption: Operation::default(),
            digesting: Operation::default(),
            signing: Operation::default(),
            verifying: Operation::default(),
        }
    }

    /// The device error of the last call that failed with one.
    pub fn device_error(&self) -> u32 {
        self.device_error.load(Ordering::Relaxed)
    }

    /// Notes what a call of this session failed with.
    pub fn note(&self, error: &Error) {
        let number = error.cause().device_error();
        if number != 0 {
            self.device_error.store(number, Ordering::Relaxed);
        }
    }

    /// Ends the operation of one kind, if there is one (`C_SessionCancel`, and `Init` with no
    /// mechanism).
    pub fn cancel(&self, kind: Kind) {
        match kind {
            Kind::Find => self.search.cancel(),
            Kind::Encrypt => self.encryption.cancel(),
            Kind::Decrypt => self.decryption.cancel(),
            Kind::Digest => self.digesting.cancel(),
            Kind::Sign => self.signing.cancel(),
            Kind::Verify => self.verifying.cancel(),
        }
    }
}

impl Sessions {
    /// The session with this handle.
    pub fn get(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        self.read().get(&handle).cloned().ok_or_else(|| Cause::SessionHandleInvalid.into())
    }

    pub(super) fn insert(&self, slot: &Arc<Slot>, read_write: bool) -> CK_SESSION_HANDLE {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
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
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<CK_SESSION_HANDLE, Arc<Session>>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

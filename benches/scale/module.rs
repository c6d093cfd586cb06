//! A module that is loaded anew: ours, or another one beside it.

use crate::host::{Module, SO_PIN, USER_PIN, call, check, library, ok};
use cryptoki_sys::*;
use std::mem::{MaybeUninit, size_of};
use std::path::Path;
use std::ptr::null_mut;

type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;

/// A module, and the slot of the token that is measured.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    pub(crate) module: Module,
    slot: CK_SLOT_ID,
}

impl Host {
    /// Loads and initialises the module that is under test. `configuration` is ours, or that of SoftHSM2.
    pub(crate) fn start(configuration: &Path) -> Self {
        // SAFETY: this process has one thread yet.
        unsafe {
            std::env::set_var("DATAKEY_PKCS11_CONF", configuration);
            std::env::set_var("SOFTHSM2_CONF", configuration);
        }
        let module = load();
        module.initialise();
        Self { module, slot: slot(module) }
    }

    /// Initialises the token and its user's PIN. The next process finds it.
    pub(crate) fn make_token(self) {
        let mut label = [b' '; 32];
        label[..4].copy_from_slice(b"test");
        let (module, pin, len) = (self.module, SO_PIN.as_ptr().cast_mut(), SO_PIN.len() as CK_ULONG);
        ok!(module, C_InitToken, self.slot, pin, len, label.as_mut_ptr());
        // SoftHSM2 gives a new token another slot.
        let here = Self { module, slot: slot(module) };
        let session = here.open(true);
        ok!(module, C_Login, session, CKU_SO, pin, len);
        ok!(module, C_InitPIN, session, USER_PIN.as_ptr().cast_mut(), USER_PIN.len() as CK_ULONG);
        ok!(module, C_CloseSession, session);
    }

    /// Opens a session.
    pub(crate) fn open(self, read_write: bool) -> CK_SESSION_HANDLE {
        let mut session = 0;
        let flags = CKF_SERIAL_SESSION | if read_write { CKF_RW_SESSION } else { 0 };
        ok!(self.module, C_OpenSession, self.slot, flags, null_mut(), None, &mut session);
        session
    }

    /// An attribute that a module may not have.
    pub(crate) fn has(
        self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attribute: CK_ATTRIBUTE_TYPE,
    ) -> bool {
        let mut wanted = CK_ATTRIBUTE { type_: attribute, pValue: null_mut(), ulValueLen: 0 };
        call!(self.module, C_GetAttributeValue, session, object, &mut wanted, 1) == CKR_OK
    }
}

/// Through its newest function list; of a module of PKCS#11 2.40 the functions since are not there.
fn load() -> Module {
    // SAFETY: a module that the caller of this program named.
    let other = unsafe { libloading::Library::new(library()) }.expect("the module loads");
    // SAFETY: the symbol has this type in every module.
    let entry = unsafe {
        if other.get::<GetFunctionList>(b"C_GetInterface").is_ok() {
            return Module::load();
        }
        *other.get::<GetFunctionList>(b"C_GetFunctionList").expect("it is a module")
    };
    std::mem::forget(other);
    let (mut old, mut list) = (null_mut(), Box::new(MaybeUninit::<CK_FUNCTION_LIST_3_2>::zeroed()));
    // SAFETY: a function that is not there is a null pointer; the list of 2.40 is how the others begin.
    unsafe {
        check(entry(&mut old)).expect("C_GetFunctionList");
        std::ptr::copy_nonoverlapping(old.cast::<u8>(), list.as_mut_ptr().cast::<u8>(), size_of::<CK_FUNCTION_LIST>());
        Module(&*Box::leak(list).as_ptr())
    }
}

/// The slot with a token that is initialised, or else the first.
fn slot(module: Module) -> CK_SLOT_ID {
    let mut slots = [0; 16];
    let mut count = slots.len() as CK_ULONG;
    ok!(module, C_GetSlotList, CK_TRUE, slots.as_mut_ptr(), &mut count);
    let is_ready = |slot: &&CK_SLOT_ID| {
        let mut info = CK_TOKEN_INFO::default();
        ok!(module, C_GetTokenInfo, **slot, &mut info);
        info.flags & CKF_TOKEN_INITIALIZED != 0
    };
    let slots = &slots[..count as usize];
    *slots.iter().find(is_ready).unwrap_or(&slots[0])
}

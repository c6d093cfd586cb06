//! Return values by function: those of the table are provoked here, and none that is provoked here is
//! missing in the table.
//!
//! The table does not repeat what every function may answer for its surroundings' sake (`CKR_DEVICE_ERROR`,
//! `CKR_DEVICE_MEMORY`, `CKR_TOKEN_WRITE_PROTECTED`, `CKR_FUNCTION_FAILED`, `CKR_HOST_MEMORY`): `faults.rs`,
//! `store_process.rs` and `hosting.rs` provoke those. `CKR_GENERAL_ERROR` is a defect.

mod host;
mod returns;

use cryptoki_sys::*;
use datakey::capi::FUNCTIONS;
use host::{Kind, Module, Place, SO_PIN, USER_PIN, alone, attr, library, mechanism, ok};
use returns::{Seen, TABLE, bytes, messages, record, secret};
use std::ptr::null_mut;

const YES: &[u8] = &[CK_TRUE];
const NO: &[u8] = &[CK_FALSE];
/// A template.
type Given<'a> = &'a [(CK_ATTRIBUTE_TYPE, &'a [u8])];
const DATA: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_CLASS, &CKO_DATA.to_ne_bytes());
const P256: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_EC_PARAMS, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);

/// The module, a session, and what was answered so far.
struct Scene {
    module: Module,
    session: CK_SESSION_HANDLE,
    seen: Seen,
}

impl Scene {
    fn create(&self, session: CK_SESSION_HANDLE, template: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> CK_OBJECT_HANDLE {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let mut object = 0;
        let count = template.len() as CK_ULONG;
        record!(self, C_CreateObject, session, template.as_mut_ptr(), count, &mut object);
        object
    }

    fn set(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) {
        record!(self, C_SetAttributeValue, session, object, &mut attr(attribute, value), 1);
    }

    fn copy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: &[(CK_ATTRIBUTE_TYPE, &[u8])]) {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let count = template.len() as CK_ULONG;
        record!(self, C_CopyObject, session, object, template.as_mut_ptr(), count, &mut 0);
    }

    fn pair(
        &self,
        session: CK_SESSION_HANDLE,
        id: CK_MECHANISM_TYPE,
        public: &[(CK_ATTRIBUTE_TYPE, &[u8])],
        private: &[(CK_ATTRIBUTE_TYPE, &[u8])],
    ) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        let native = |template: &[(CK_ATTRIBUTE_TYPE, &[u8])]| -> Vec<CK_ATTRIBUTE> {
            template.iter().map(|(attribute, value)| attr(*attribute, value)).collect()
        };
        let (mut public, mut private, mut pair) = (native(public), native(private), (0, 0));
        let counts = (public.len() as CK_ULONG, private.len() as CK_ULONG);
        record!(
            self,
            C_GenerateKeyPair,
            session,
            &mut mechanism(id),
            public.as_mut_ptr(),
            counts.0,
            private.as_mut_ptr(),
            counts.1,
            &mut pair.0,
            &mut pair.1
        );
        pair
    }

    fn generate(&self, session: CK_SESSION_HANDLE, id: CK_MECHANISM_TYPE, template: &[(CK_ATTRIBUTE_TYPE, &[u8])]) {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let count = template.len() as CK_ULONG;
        record!(self, C_GenerateKey, session, &mut mechanism(id), template.as_mut_ptr(), count, &mut 0);
    }

    fn login(&self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &[u8]) {
        record!(self, C_Login, session, user, bytes(pin), pin.len() as CK_ULONG);
    }

    /// Calls every function with nothing but a session: what it says to missing arguments.
    fn nothing_at_all(&self, library: &libloading::Library, session: impl Fn() -> CK_SESSION_HANDLE, skip: &[&str]) {
        for (name, _, _) in FUNCTIONS.iter().filter(|(name, _, _)| !skip.contains(name)) {
            type Any =
                unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> CK_RV;
            // SAFETY: all arguments of all functions are integers and pointers, which are passed alike; those
            // beyond what a function takes are not looked at, and NULL is an argument that each must survive.
            let rv = unsafe {
                let function: libloading::Symbol<'_, Any> = library.get(name.as_bytes()).expect(name);
                function(session() as usize, 0, 0, 0, 0, 0, 0, 0, 0, 0)
            };
            self.seen.note(name, rv);
        }
    }
}

/// Functions that end what the other calls need, or wait.
const APART: &[&str] = &[
    "C_Initialize",
    "C_Finalize",
    "C_CloseAllSessions",
    "C_Logout",
    "C_WaitForSlotEvent",
    "C_InitToken",
    "C_GetInfo",
    "C_GetFunctionList",
    "C_GetInterface",
    "C_GetInterfaceList",
];

#[test]
fn every_return_value_is_in_the_table_and_provoked() {
    if !alone("every_return_value_is_in_the_table_and_provoked") {
        return;
    }
    let place = Place::embedded("max_pin_attempts = 3");
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("DATAKEY_PKCS11_CONF", place.configuration()) };
    // SAFETY: the library is ours and has no constructors.
    let loaded = unsafe { libloading::Library::new(library()) }.expect("the module loads");
    let module = Module::load();
    let mut scene = Scene { module, session: 0, seen: Seen::default() };

    scene.nothing_at_all(&loaded, || 0, &APART[..2]);
    record!(scene, C_Finalize, null_mut());
    record!(scene, C_Initialize, null_mut());
    record!(scene, C_Finalize, null_mut());
    record!(scene, C_Initialize, YES.as_ptr().cast_mut().cast());
    module.initialise();
    record!(scene, C_Initialize, null_mut());
    record!(scene, C_Finalize, YES.as_ptr().cast_mut().cast());
    slots_and_tokens(&scene);
    module.make_token(true);
    sessions_and_logins(&scene);
    scene.session = module.enter();
    scene.nothing_at_all(&loaded, || module.open(true), APART);
    scene.nothing_at_all(&loaded, || 0, APART);
    record!(scene, C_Logout, 0);
    objects(&scene);
    operations(&scene);
    let reading = module.open(false);
    secret::made(&scene, reading);
    // Each logout takes the private ones away.
    let keys = secret::Keys::new(&scene);
    secret::streams(&scene, &keys);
    secret::digests(&scene, &keys);
    secret::passwords(&scene);
    secret::travelling(&scene, &keys, reading);
    let keys = secret::Keys::new(&scene);
    messages::signatures(&scene, &keys);
    messages::messages(&scene, &keys);
    messages::ciphers(&scene, &keys);
    record!(scene, C_Logout, scene.session);
    record!(scene, C_Logout, scene.session);
    record!(scene, C_CloseAllSessions, 0);
    record!(scene, C_Finalize, null_mut());
    without_pins(&scene);
    returns::compare(&scene.seen, TABLE);
}

/// A token whose user has no PIN.
fn without_pins(scene: &Scene) {
    let place = Place::embedded("login = \"none\"");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    record!(scene, C_SetPIN, session, bytes(USER_PIN), 8, bytes(USER_PIN), 8);
    scene.login(session, CKU_SO, SO_PIN);
    record!(scene, C_InitPIN, session, bytes(USER_PIN), 8);
    module.finalise();
}

fn slots_and_tokens(scene: &Scene) {
    let label = b"test                            ".as_ptr().cast_mut();
    for slot in [0, 9] {
        let mut mechanisms = [0; 4];
        record!(scene, C_GetSlotInfo, slot, null_mut());
        record!(scene, C_GetTokenInfo, slot, null_mut());
        record!(scene, C_GetMechanismList, slot, mechanisms.as_mut_ptr(), &mut 4);
        record!(scene, C_GetMechanismList, slot, null_mut(), &mut 0);
        record!(scene, C_GetMechanismInfo, slot, CKM_SHA256, null_mut());
        record!(scene, C_GetMechanismInfo, slot, CKM_DES_CBC, null_mut());
        record!(scene, C_CloseAllSessions, slot);
        record!(scene, C_InitToken, slot, null_mut(), 5, label);
        record!(scene, C_InitToken, slot, bytes(b"123"), 3, label);
        record!(scene, C_OpenSession, slot, CKF_SERIAL_SESSION, null_mut(), None, &mut 0);
    }
    // SAFETY: the structures are all numbers and bytes.
    let (mut slot, mut token, mut info, mut library) = unsafe {
        (
            std::mem::zeroed::<CK_SLOT_INFO>(),
            std::mem::zeroed::<CK_TOKEN_INFO>(),
            std::mem::zeroed::<CK_MECHANISM_INFO>(),
            std::mem::zeroed::<CK_INFO>(),
        )
    };
    record!(scene, C_GetSlotInfo, 0, &mut slot);
    record!(scene, C_GetTokenInfo, 0, &mut token);
    record!(scene, C_GetTokenInfo, 9, &mut token);
    record!(scene, C_GetMechanismInfo, 0, CKM_SHA256, &mut info);
    record!(scene, C_GetInfo, &mut library);
    record!(scene, C_GetSlotList, CK_TRUE, null_mut(), &mut 0);
    record!(scene, C_GetSlotList, CK_TRUE, &mut 0, &mut 0);
    record!(scene, C_WaitForSlotEvent, CKF_DONT_BLOCK, &mut 0, null_mut());
    record!(scene, C_WaitForSlotEvent, CKF_DONT_BLOCK, null_mut(), null_mut());
    record!(scene, C_GetInfo, null_mut());
    record!(scene, C_GetSlotList, CK_TRUE, null_mut(), null_mut());
    record!(scene, C_GetFunctionList, null_mut());
    record!(scene, C_GetInterface, null_mut(), null_mut(), null_mut(), 0);
    record!(scene, C_GetInterfaceList, null_mut(), null_mut());
    let mut list = null_mut();
    record!(scene, C_GetFunctionList, &mut list);
    let mut interface = null_mut();
    record!(scene, C_GetInterface, null_mut(), null_mut(), &mut interface, 0);
    record!(scene, C_GetInterface, bytes(b"no such interface\0"), null_mut(), &mut interface, 0);
    record!(scene, C_GetInterfaceList, null_mut(), &mut 0);
    // SAFETY: as above.
    let mut one = unsafe { std::mem::zeroed::<CK_INTERFACE>() };
    record!(scene, C_GetInterfaceList, &mut one, &mut 0);
}

fn sessions_and_logins(scene: &Scene) {
    let module = scene.module;
    let (read_only, read_write) = (CKF_SERIAL_SESSION, CKF_SERIAL_SESSION | CKF_RW_SESSION);
    record!(scene, C_OpenSession, 0, CKF_RW_SESSION, null_mut(), None, &mut 0);
    record!(scene, C_OpenSession, 0, read_only | CKF_ASYNC_SESSION, null_mut(), None, &mut 0);
    record!(scene, C_OpenSession, 0, read_only, null_mut(), None, null_mut());
    let (mut reading, mut writing) = (0, 0);
    record!(scene, C_OpenSession, 0, read_only, null_mut(), None, &mut reading);
    record!(scene, C_OpenSession, 0, read_write, null_mut(), None, &mut writing);
    record!(scene, C_InitToken, 0, bytes(SO_PIN), SO_PIN.len() as CK_ULONG, bytes(&[b' '; 32]));
    scene.login(writing, CKU_SO, SO_PIN);
    scene.login(writing, 9, SO_PIN);
    scene.login(writing, CKU_CONTEXT_SPECIFIC, USER_PIN);
    record!(scene, C_LoginUser, writing, CKU_SO, bytes(SO_PIN), SO_PIN.len() as CK_ULONG, null_mut(), 0);
    record!(scene, C_LoginUser, writing, 9, bytes(SO_PIN), SO_PIN.len() as CK_ULONG, null_mut(), 0);
    record!(scene, C_LoginUser, writing, CKU_CONTEXT_SPECIFIC, bytes(b"1234"), 4, null_mut(), 0);
    scene.login(writing, CKU_USER, b"wrong");
    record!(scene, C_LoginUser, writing, CKU_USER, bytes(b"wrong"), 5, null_mut(), 0);
    record!(scene, C_LoginUser, writing, CKU_USER, bytes(USER_PIN), USER_PIN.len() as CK_ULONG, null_mut(), 0);
    record!(scene, C_LoginUser, writing, CKU_USER, bytes(USER_PIN), USER_PIN.len() as CK_ULONG, null_mut(), 0);
    record!(scene, C_LoginUser, writing, CKU_SO, bytes(SO_PIN), SO_PIN.len() as CK_ULONG, null_mut(), 0);
    scene.login(writing, CKU_USER, USER_PIN);
    scene.login(writing, CKU_SO, SO_PIN);
    let set = |session, old: &[u8], new: &[u8]| {
        let (old_len, new_len) = (old.len() as CK_ULONG, new.len() as CK_ULONG);
        record!(scene, C_SetPIN, session, bytes(old), old_len, bytes(new), new_len);
    };
    set(reading, USER_PIN, USER_PIN);
    set(writing, USER_PIN, USER_PIN);
    set(writing, USER_PIN, b"123");
    let init = |session, pin: &[u8]| {
        record!(scene, C_InitPIN, session, bytes(pin), pin.len() as CK_ULONG);
    };
    init(writing, USER_PIN);
    record!(scene, C_Logout, writing);
    record!(scene, C_CloseSession, reading);
    set(writing, b"wrong", USER_PIN);
    set(writing, b"wrong", USER_PIN);
    set(writing, b"wrong", USER_PIN);
    set(writing, USER_PIN, USER_PIN);
    scene.login(writing, CKU_USER, USER_PIN);
    record!(scene, C_LoginUser, writing, CKU_USER, bytes(USER_PIN), USER_PIN.len() as CK_ULONG, null_mut(), 0);
    scene.login(writing, CKU_SO, SO_PIN);
    record!(scene, C_OpenSession, 0, read_only, null_mut(), None, &mut reading);
    init(writing, b"123");
    init(writing, USER_PIN);
    record!(scene, C_GetSessionInfo, writing, &mut CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 });
    record!(scene, C_CloseSession, writing);
    record!(scene, C_InitToken, 0, bytes(SO_PIN), SO_PIN.len() as CK_ULONG, bytes(&[b' '; 32]));
    let session = module.open(true);
    scene.login(session, CKU_USER, USER_PIN);
    record!(scene, C_LoginUser, session, CKU_USER, bytes(USER_PIN), USER_PIN.len() as CK_ULONG, null_mut(), 0);
    set(session, USER_PIN, USER_PIN);
    record!(scene, C_CloseSession, session);
    for _ in 0..4 {
        record!(scene, C_InitToken, 0, bytes(b"wrong"), 5, bytes(&[b' '; 32]));
    }
    // Locked for good: a new store.
    let store =
        std::env::var("DATAKEY_PKCS11_CONF").expect("set by the test").replace("datakey-pkcs11.toml", "token.db");
    ok!(module, C_Finalize, null_mut());
    for more in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{store}{more}"));
    }
    module.initialise();
    module.make_token(true);
}

fn secret_keys(scene: &Scene, reading: CK_SESSION_HANDLE) {
    let (long, odd) = (1025_u64.to_ne_bytes(), 17_u64.to_ne_bytes());
    let session = scene.session;
    scene.generate(session, CKM_CHACHA20_KEY_GEN, &[]);
    scene.generate(session, CKM_CHACHA20, &[]);
    scene.generate(session, CKM_PKCS5_PBKD2, &[]);
    scene.generate(session, CKM_AES_KEY_GEN, &[]);
    scene.generate(session, CKM_AES_KEY_GEN, &[(CKA_VALUE_LEN, &odd)]);
    scene.generate(session, CKM_GENERIC_SECRET_KEY_GEN, &[(CKA_VALUE_LEN, &long)]);
    scene.generate(session, CKM_CHACHA20_KEY_GEN, &[(CKA_VALUE, &[7; 32])]);
    scene.generate(session, CKM_CHACHA20_KEY_GEN, &[DATA]);
    scene.generate(session, CKM_CHACHA20_KEY_GEN, &[(CKA_VENDOR_DEFINED | 0x1234, b"x")]);
    scene.generate(reading, CKM_CHACHA20_KEY_GEN, &[(CKA_TOKEN, YES)]);
}

fn objects(scene: &Scene) {
    let (module, session) = (scene.module, scene.session);
    let reading = module.open(false);
    let object = scene.create(session, &[DATA, (CKA_TOKEN, YES), (CKA_LABEL, b"one")]);
    for template in [
        &[][..],
        &[DATA, (CKA_UNIQUE_ID, b"x")],
        &[DATA, (CKA_SENSITIVE, YES)],
        &[DATA, (CKA_VENDOR_DEFINED | 0x1234, b"x")],
        &[DATA, (CKA_TOKEN, b"12")],
    ] {
        scene.create(session, template);
    }
    let brainpool: (_, &[u8]) = (CKA_EC_PARAMS, &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7]);
    let key: [(_, &[u8]); 4] = [
        (CKA_CLASS, &CKO_PUBLIC_KEY.to_ne_bytes()),
        (CKA_KEY_TYPE, &CKK_EC.to_ne_bytes()),
        brainpool,
        (CKA_EC_POINT, &[4, 1, 4]),
    ];
    scene.create(session, &key);
    scene.create(reading, &[DATA, (CKA_TOKEN, YES)]);
    let fixed = scene.create(session, &[DATA, (CKA_MODIFIABLE, NO), (CKA_DESTROYABLE, NO), (CKA_COPYABLE, NO)]);
    scene.set(session, fixed, CKA_LABEL, b"x");
    scene.set(session, object, CKA_LABEL, b"x");
    let mut twice = [attr(CKA_LABEL, b"a"), attr(CKA_LABEL, b"b")];
    record!(scene, C_SetAttributeValue, session, object, twice.as_mut_ptr(), 2);
    scene.set(session, object, CKA_TOKEN, b"12");
    scene.set(session, object, CKA_UNIQUE_ID, b"x");
    scene.set(session, object, CKA_VENDOR_DEFINED | 0x1234, b"x");
    scene.set(session, object, CKA_SENSITIVE, YES);
    scene.set(reading, object, CKA_LABEL, b"x");
    scene.set(session, 0, CKA_LABEL, b"x");
    scene.copy(session, object, &[(CKA_LABEL, b"copy")]);
    scene.copy(session, fixed, &[]);
    scene.copy(session, 0, &[]);
    scene.copy(reading, object, &[]);
    scene.copy(session, object, &[(CKA_UNIQUE_ID, b"x")]);
    scene.copy(session, object, &[(CKA_TOKEN, b"12")]);
    scene.copy(session, object, &[(CKA_VENDOR_DEFINED | 0x1234, b"x")]);
    scene.copy(session, object, &[(CKA_LABEL, b"a"), (CKA_LABEL, b"b")]);
    record!(scene, C_GetObjectSize, session, object, &mut 0);
    record!(scene, C_GetObjectSize, session, object, null_mut());
    let (_, private) = scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256], &[]);
    let mut small = [0; 1];
    for (object, attribute) in [(object, CKA_LABEL), (object, CKA_CLASS), (object, CKA_SENSITIVE), (private, CKA_VALUE)]
    {
        let mut wanted = attr(attribute, &small);
        wanted.pValue = small.as_mut_ptr().cast();
        record!(scene, C_GetAttributeValue, session, object, &mut wanted, 1);
    }
    record!(scene, C_FindObjects, session, &mut 0, 1, &mut 0);
    let mut no_memory = CK_ATTRIBUTE { type_: CKA_LABEL, pValue: null_mut(), ulValueLen: 5 };
    record!(scene, C_FindObjectsInit, session, &mut no_memory, 1);
    record!(scene, C_FindObjectsInit, session, null_mut(), 0);
    record!(scene, C_FindObjectsInit, session, null_mut(), 0);
    record!(scene, C_FindObjectsInit, session, null_mut(), 1);
    record!(scene, C_FindObjects, session, &mut 0, 1, &mut 0);
    record!(scene, C_FindObjects, session, null_mut(), 1, &mut 0);
    record!(scene, C_FindObjectsFinal, session);
    scene.pair(session, CKM_ECDSA, &[P256], &[]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[], &[]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[brainpool], &[]);
    scene.pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &[(CKA_MODULUS_BITS, &1024_u64.to_ne_bytes())], &[]);
    scene.pair(session, CKM_ML_DSA_KEY_PAIR_GEN, &[(CKA_PARAMETER_SET, &4_u64.to_ne_bytes())], &[]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256], &[(CKA_LOCAL, YES)]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256, DATA], &[]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256, (CKA_VERIFY, b"12")], &[]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256, (CKA_VENDOR_DEFINED | 0x1234, b"x")], &[]);
    scene.pair(reading, CKM_EC_KEY_PAIR_GEN, &[P256, (CKA_TOKEN, YES)], &[(CKA_TOKEN, YES)]);
    secret_keys(scene, reading);
    record!(scene, C_DestroyObject, session, fixed);
    record!(scene, C_DestroyObject, reading, object);
    record!(scene, C_DestroyObject, session, object);
    record!(scene, C_DestroyObject, session, object);
    ok!(module, C_Logout, session);
    scene.generate(session, CKM_CHACHA20_KEY_GEN, &[]);
    scene.create(session, &[DATA, (CKA_PRIVATE, YES)]);
    scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256], &[]);
    let open = scene.create(session, &[DATA]);
    scene.copy(session, open, &[(CKA_PRIVATE, YES)]);
    module.login(session);
    record!(scene, C_CloseSession, reading);
}

fn operations(scene: &Scene) {
    let (module, session) = (scene.module, scene.session);
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let (ec_public, ec_private) = module.generate(session, Kind::P256, b"ec");
    let (_, always) = scene.pair(session, CKM_EC_KEY_PAIR_GEN, &[P256], &[(CKA_ALWAYS_AUTHENTICATE, YES)]);
    let (some, n) = (bytes(b"some data"), 9);
    let mut out = [0; 600];
    let data = out.as_mut_ptr();
    macro_rules! kind {
        ($init:ident, $whole:ident, $id:expr, [$($key:expr),*], [$($wrong:expr),*]) => {
            let mut good = mechanism($id);
            let mut parameter = mechanism($id);
            parameter.pParameter = data.cast();
            parameter.ulParameterLen = 3;
            record!(scene, $init, session, &mut parameter $(, $key)*);
            record!(scene, $init, session, &mut mechanism(CKM_DES_CBC) $(, $key)*);
            $(record!(scene, $init, session, &mut good, $wrong);)*
            record!(scene, $init, session, &mut good $(, $key)*);
            record!(scene, $init, session, &mut good $(, $key)*);
            record!(scene, $whole, session, some, n, data, &mut 1);
            record!(scene, $whole, session, some, n, data, null_mut());
            record!(scene, $init, session, &mut good $(, $key)*);
            record!(scene, $whole, session, some, n, data, &mut 600);
            record!(scene, $whole, session, some, n, data, &mut 600);
            record!(scene, $init, session, null_mut() $(, $key)*);
        };
    }
    let wrong = [0, ec_public, public, ec_private, private];
    kind!(C_DigestInit, C_Digest, CKM_SHA256, [], []);
    kind!(C_SignInit, C_Sign, CKM_SHA256_RSA_PKCS, [private], [wrong[0], public, ec_private]);
    kind!(C_EncryptInit, C_Encrypt, CKM_RSA_PKCS, [public], [wrong[0], private, ec_public]);
    kind!(C_DecryptInit, C_Decrypt, CKM_RSA_PKCS, [private], [wrong[0], public, ec_private]);
    kind!(C_SignRecoverInit, C_SignRecover, CKM_RSA_PKCS, [private], [wrong[0], public, ec_private]);

    // In parts.
    record!(scene, C_DigestInit, session, &mut mechanism(CKM_SHA256));
    record!(scene, C_DigestUpdate, session, some, n);
    record!(scene, C_Digest, session, some, n, data, &mut 600);
    record!(scene, C_DigestInit, session, &mut mechanism(CKM_SHA256));
    record!(scene, C_DigestFinal, session, data, &mut 1);
    record!(scene, C_DigestFinal, session, data, &mut 600);
    record!(scene, C_SignInit, session, &mut mechanism(CKM_SHA256_RSA_PKCS), private);
    record!(scene, C_SignUpdate, session, some, n);
    record!(scene, C_SignFinal, session, data, &mut 1);
    record!(scene, C_SignFinal, session, data, &mut 600);
    record!(scene, C_SignInit, session, &mut mechanism(CKM_SHA256_RSA_PKCS), private);
    record!(scene, C_SignUpdate, session, some, n);
    record!(scene, C_Sign, session, some, n, data, &mut 600);
    record!(scene, C_SignInit, session, &mut mechanism(CKM_RSA_PKCS), private);
    record!(scene, C_Sign, session, data, 300, data, &mut 600);
    record!(scene, C_SignInit, session, &mut mechanism(CKM_ECDSA_SHA256), always);
    record!(scene, C_Sign, session, some, n, data, &mut 600);
    record!(scene, C_SignInit, session, &mut mechanism(CKM_ECDSA_SHA256), always);
    record!(scene, C_SignUpdate, session, some, n);
    record!(scene, C_SignFinal, session, data, &mut 600);
    record!(scene, C_EncryptInit, session, &mut mechanism(CKM_RSA_PKCS), public);
    record!(scene, C_Encrypt, session, data, 300, data, &mut 600);
    record!(scene, C_DecryptInit, session, &mut mechanism(CKM_RSA_X_509), private);
    record!(scene, C_Decrypt, session, bytes(&[0xff; 256]), 256, data, &mut 600);
    let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: CKM_SHA256,
        mgf: CKG_MGF1_SHA256,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: null_mut(),
        ulSourceDataLen: 0,
    };
    let mut padded = mechanism(CKM_RSA_PKCS_OAEP);
    padded.pParameter = (&raw mut oaep).cast();
    padded.ulParameterLen = size_of_val(&oaep) as CK_ULONG;
    record!(scene, C_DecryptInit, session, &mut padded, private);
    record!(scene, C_Decrypt, session, bytes(&[0; 256]), 256, data, &mut 600);

    // Verifying has no output, and one more argument.
    let signature = module.sign(session, private, CKM_SHA256_RSA_PKCS, b"some data").expect("a signature");
    let (signed, len) = (bytes(&signature), signature.len() as CK_ULONG);
    let mut good = mechanism(CKM_SHA256_RSA_PKCS);
    let (mut parameter, mut unknown) = (mechanism(CKM_SHA256_RSA_PKCS), mechanism(CKM_DES_CBC));
    (parameter.pParameter, parameter.ulParameterLen) = (data.cast(), 3);
    for (given, key) in [
        (&raw mut parameter, public),
        (&raw mut unknown, public),
        (&raw mut good, 0),
        (&raw mut good, private),
        (&raw mut good, ec_public),
        (&raw mut good, public),
        (&raw mut good, public),
    ] {
        record!(scene, C_VerifyInit, session, given, key);
    }
    record!(scene, C_Verify, session, some, n, signed, len);
    for (data_len, signature_len) in [(8, len), (n, 5)] {
        record!(scene, C_VerifyInit, session, &mut good, public);
        record!(scene, C_Verify, session, some, data_len, signed, signature_len);
        record!(scene, C_VerifyInit, session, &mut good, public);
        record!(scene, C_VerifyUpdate, session, some, data_len);
        record!(scene, C_VerifyFinal, session, signed, signature_len);
    }
    record!(scene, C_VerifyInit, session, &mut good, public);
    record!(scene, C_VerifyUpdate, session, some, n);
    record!(scene, C_Verify, session, some, n, signed, len);
    record!(scene, C_VerifyInit, session, &mut good, public);
    record!(scene, C_VerifyUpdate, session, some, n);
    record!(scene, C_VerifyFinal, session, signed, len);

    record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
    record!(scene, C_GenerateRandom, session, data, 16);
    record!(scene, C_SeedRandom, session, data, 16);
}

//! The library's life and the states of its sessions, as a host that reads the specification sees them.

mod host;

use cryptoki_sys::*;
use host::{Kind, Module, Place, SO_PIN, USER_PIN, alone, attr, call, mechanism, ok};
use std::ptr::null_mut;
use std::sync::Barrier;
use std::time::Duration;

unsafe extern "C" fn create(_: *mut *mut std::ffi::c_void) -> CK_RV {
    CKR_OK
}

unsafe extern "C" fn other(_: *mut std::ffi::c_void) -> CK_RV {
    CKR_OK
}

#[test]
fn initialize_takes_what_it_can_honour() {
    if !alone("initialize_takes_what_it_can_honour") {
        return;
    }
    let place = Place::embedded("");
    // SAFETY: no thread runs yet.
    unsafe { std::env::set_var("DATAKEY_PKCS11_CONF", place.configuration()) };
    let module = Module::load();
    let nothing = CK_C_INITIALIZE_ARGS {
        CreateMutex: None,
        DestroyMutex: None,
        LockMutex: None,
        UnlockMutex: None,
        flags: 0,
        pReserved: null_mut(),
    };
    let all = CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create),
        DestroyMutex: Some(other),
        LockMutex: Some(other),
        UnlockMutex: Some(other),
        ..nothing
    };
    let cases = [
        (nothing, CKR_OK),
        (CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..nothing }, CKR_OK),
        (CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS, ..nothing }, CKR_OK),
        (CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..all }, CKR_OK),
        (all, CKR_CANT_LOCK),
        (CK_C_INITIALIZE_ARGS { LockMutex: None, ..all }, CKR_ARGUMENTS_BAD),
        // A wild pointer, which must not be read.
        (CK_C_INITIALIZE_ARGS { pReserved: std::ptr::dangling_mut(), ..nothing }, CKR_ARGUMENTS_BAD),
    ];
    for (index, (mut arguments, expected)) in cases.into_iter().enumerate() {
        assert_eq!(call!(module, C_Initialize, (&raw mut arguments).cast()), expected, "case {index}");
        if expected == CKR_OK {
            assert_eq!(call!(module, C_Initialize, null_mut()), CKR_CRYPTOKI_ALREADY_INITIALIZED);
            assert_eq!(call!(module, C_Finalize, std::ptr::dangling_mut()), CKR_ARGUMENTS_BAD);
            ok!(module, C_Finalize, null_mut());
        }
        assert_eq!(call!(module, C_Finalize, null_mut()), CKR_CRYPTOKI_NOT_INITIALIZED);
    }
    ok!(module, C_Initialize, null_mut());
}

#[test]
fn of_racing_initializations_one_wins_and_none_sees_half_of_it() {
    if !alone("of_racing_initializations_one_wins_and_none_sees_half_of_it") {
        return;
    }
    let place = Place::embedded("");
    // SAFETY: no thread runs yet.
    unsafe { std::env::set_var("DATAKEY_PKCS11_CONF", place.configuration()) };
    let module = Module::load();
    for _ in 0..20 {
        let start = Barrier::new(16);
        let results: Vec<CK_RV> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let rv = call!(module, C_Initialize, null_mut());
                        let mut slots = 0;
                        ok!(module, C_GetSlotList, CK_TRUE, null_mut(), &mut slots);
                        assert_eq!(slots, 1);
                        rv
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|rv| **rv == CKR_OK).count(), 1, "{results:x?}");
        assert_eq!(results.iter().filter(|rv| **rv == CKR_CRYPTOKI_ALREADY_INITIALIZED).count(), 15);
        ok!(module, C_Finalize, null_mut());
    }
}

#[test]
fn finalize_ends_a_wait_and_everything_after_it() {
    if !alone("finalize_ends_a_wait_and_everything_after_it") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    let mut slot = 0;
    assert_eq!(call!(module, C_WaitForSlotEvent, CKF_DONT_BLOCK, &mut slot, null_mut()), CKR_NO_EVENT);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut slot = 0;
            call!(module, C_WaitForSlotEvent, 0, &mut slot, null_mut())
        });
        std::thread::sleep(Duration::from_millis(100));
        ok!(module, C_Finalize, null_mut());
        assert_eq!(waiting.join().unwrap(), CKR_CRYPTOKI_NOT_INITIALIZED);
    });
    assert_eq!(call!(module, C_GetSlotList, CK_TRUE, null_mut(), &mut 0), CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_eq!(call!(module, C_CloseSession, 1), CKR_CRYPTOKI_NOT_INITIALIZED);
}

#[test]
fn a_bad_configuration_is_said_where_it_is() {
    if !alone("a_bad_configuration_is_said_where_it_is") {
        return;
    }
    let place = Place::embedded("no_such_key = 1");
    // SAFETY: no thread runs yet.
    unsafe { std::env::set_var("DATAKEY_PKCS11_CONF", place.configuration()) };
    let module = Module::load();
    assert_eq!(call!(module, C_Initialize, null_mut()), CKR_FUNCTION_FAILED);
    assert_eq!(call!(module, C_GetInfo, null_mut()), CKR_CRYPTOKI_NOT_INITIALIZED);
    // Mended, it works in the same process.
    let text = std::fs::read_to_string(place.configuration()).unwrap().replace("no_such_key = 1", "");
    std::fs::write(place.configuration(), text).unwrap();
    ok!(module, C_Initialize, null_mut());
}

#[test]
fn sessions_and_logins_go_through_the_states_of_the_specification() {
    if !alone("sessions_and_logins_go_through_the_states_of_the_specification") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    let mut handle = 0;
    let serial = CKF_SERIAL_SESSION;
    assert_eq!(call!(module, C_OpenSession, 0, serial, null_mut(), None, &mut handle), CKR_TOKEN_NOT_RECOGNIZED);
    module.make_token(true);
    assert_eq!(call!(module, C_OpenSession, 0, 0, null_mut(), None, &mut handle), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    assert_eq!(call!(module, C_OpenSession, 9, serial, null_mut(), None, &mut handle), CKR_SLOT_ID_INVALID);
    assert_eq!(call!(module, C_OpenSession, 0, serial, null_mut(), None, null_mut()), CKR_ARGUMENTS_BAD);

    let login = |session, user, pin: &[u8]| {
        call!(module, C_Login, session, user, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG)
    };
    let state = |session| {
        let mut info = CK_SESSION_INFO { slotID: 0, state: 0, flags: 0, ulDeviceError: 0 };
        ok!(module, C_GetSessionInfo, session, &mut info);
        info.state
    };
    let (reading, writing) = (module.open(false), module.open(true));
    assert_eq!((state(reading), state(writing)), (CKS_RO_PUBLIC_SESSION, CKS_RW_PUBLIC_SESSION));
    assert_eq!(call!(module, C_Logout, reading), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(login(reading, CKU_SO, SO_PIN), CKR_SESSION_READ_ONLY_EXISTS);
    assert_eq!(login(reading, CKU_USER, b"wrong-pin"), CKR_PIN_INCORRECT);
    assert_eq!(login(reading, CKU_USER, b""), CKR_PIN_INCORRECT);
    assert_eq!(login(reading, 99, USER_PIN), CKR_USER_TYPE_INVALID);
    assert_eq!(login(reading, CKU_CONTEXT_SPECIFIC, USER_PIN), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(login(reading, CKU_USER, USER_PIN), CKR_OK);
    assert_eq!((state(reading), state(writing)), (CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS));
    assert_eq!(login(writing, CKU_USER, USER_PIN), CKR_USER_ALREADY_LOGGED_IN);
    assert_eq!(login(writing, CKU_SO, SO_PIN), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);

    // A read-only session writes nothing to the token.
    let mut pair = (0, 0);
    assert_eq!(module.try_generate(reading, Kind::P256, b"1", &mut pair), CKR_SESSION_READ_ONLY);
    let (public, private) = module.generate(writing, Kind::P256, b"1");
    assert_eq!(call!(module, C_DestroyObject, reading, private), CKR_SESSION_READ_ONLY);

    // A logout ends the handles of private objects for good; public ones stay.
    ok!(module, C_Logout, reading);
    let mut wanted = CK_ATTRIBUTE { type_: CKA_ID, pValue: null_mut(), ulValueLen: 0 };
    assert_eq!(call!(module, C_GetAttributeValue, writing, private, &mut wanted, 1), CKR_OBJECT_HANDLE_INVALID);
    ok!(module, C_GetAttributeValue, writing, public, &mut wanted, 1);
    assert_eq!(module.find(writing, &[]), [public]);
    module.login(writing);
    assert_eq!(call!(module, C_GetAttributeValue, writing, private, &mut wanted, 1), CKR_OBJECT_HANDLE_INVALID);
    assert_ne!(module.private_key(writing, b"1"), private);

    // The last session's end is a logout.
    ok!(module, C_CloseSession, reading);
    ok!(module, C_CloseSession, writing);
    assert_eq!(call!(module, C_CloseSession, writing), CKR_SESSION_HANDLE_INVALID);
    let session = module.open(true);
    assert_eq!(state(session), CKS_RW_PUBLIC_SESSION);
    assert_eq!(login(session, CKU_SO, SO_PIN), CKR_OK);
    assert_eq!(state(session), CKS_RW_SO_FUNCTIONS);
    assert_eq!(
        call!(module, C_OpenSession, 0, serial, null_mut(), None, &mut handle),
        CKR_SESSION_READ_WRITE_SO_EXISTS
    );
    assert_eq!(module.try_generate(session, Kind::P256, b"2", &mut pair), CKR_USER_NOT_LOGGED_IN);
    let label = *b"again                           ";
    let init = |pin: &[u8]| {
        call!(module, C_InitToken, 0, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG, label.as_ptr().cast_mut())
    };
    assert_eq!(init(SO_PIN), CKR_SESSION_EXISTS);
    ok!(module, C_CloseAllSessions, 0);
    assert_eq!(init(b"not-the-pin"), CKR_PIN_INCORRECT);
    assert_eq!(init(SO_PIN), CKR_OK);
    let session = module.open(true);
    assert_eq!(module.find(session, &[]).len(), 0, "a token made anew is empty");
    assert_eq!(login(session, CKU_USER, USER_PIN), CKR_USER_PIN_NOT_INITIALIZED);
}

#[test]
fn operations_end_and_go_on_as_the_specification_says() {
    if !alone("operations_end_and_go_on_as_the_specification_says") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.open(true);
    module.login(session);
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"1");
    let data = b"data".as_ptr().cast_mut();
    let mut out = [0_u8; 512];
    let mut sha = mechanism(CKM_SHA256_RSA_PKCS);

    // NULL asks for the length, too little room is said, and the operation lives on in both cases.
    ok!(module, C_SignInit, session, &mut sha, private);
    assert_eq!(call!(module, C_SignInit, session, &mut sha, private), CKR_OPERATION_ACTIVE);
    let mut len = 0;
    ok!(module, C_Sign, session, data, 4, null_mut(), &mut len);
    assert_eq!(len, 256);
    for short in [0, 1, 255] {
        len = short;
        assert_eq!(call!(module, C_Sign, session, data, 4, out.as_mut_ptr(), &mut len), CKR_BUFFER_TOO_SMALL);
        assert_eq!(len, 256);
    }
    ok!(module, C_Sign, session, data, 4, out.as_mut_ptr(), &mut len);
    let one_part = out[..256].to_vec();
    assert_eq!(call!(module, C_Sign, session, data, 4, out.as_mut_ptr(), &mut len), CKR_OPERATION_NOT_INITIALIZED);

    // In parts it is the same, and one part cannot end what came in several.
    ok!(module, C_SignInit, session, &mut sha, private);
    ok!(module, C_SignUpdate, session, data, 1);
    ok!(module, C_SignUpdate, session, data.add(1), 3);
    len = 512;
    ok!(module, C_SignFinal, session, out.as_mut_ptr(), &mut len);
    assert_eq!(out[..256], one_part);
    ok!(module, C_SignInit, session, &mut sha, private);
    ok!(module, C_SignUpdate, session, data, 1);
    assert_eq!(call!(module, C_Sign, session, data, 4, out.as_mut_ptr(), &mut len), CKR_OPERATION_ACTIVE);

    // Every other error ends it; so do a NULL mechanism and C_SessionCancel.
    let mut raw = mechanism(CKM_RSA_PKCS);
    ok!(module, C_SignInit, session, &mut raw, private);
    len = 512;
    assert_eq!(call!(module, C_Sign, session, out.as_mut_ptr(), 246, out.as_mut_ptr(), &mut len), CKR_DATA_LEN_RANGE);
    ok!(module, C_SignInit, session, &mut raw, private);
    assert_eq!(call!(module, C_Sign, session, null_mut(), 4, out.as_mut_ptr(), &mut len), CKR_ARGUMENTS_BAD);
    ok!(module, C_SignInit, session, &mut raw, private);
    ok!(module, C_SignInit, session, null_mut(), private);
    ok!(module, C_SignInit, session, &mut raw, private);
    ok!(module, C_SessionCancel, session, CKF_SIGN | CKF_DECRYPT);
    assert_eq!(call!(module, C_SignFinal, session, out.as_mut_ptr(), &mut len), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(call!(module, C_EncryptUpdate, session, data, 1, null_mut(), &mut len), CKR_OPERATION_NOT_INITIALIZED);

    // Wrong keys and mechanisms, in the order of the specification.
    let mut ecdsa = mechanism(CKM_ECDSA);
    let mut digest = mechanism(CKM_SHA256);
    assert_eq!(call!(module, C_SignInit, session, &mut digest, private), CKR_MECHANISM_INVALID);
    assert_eq!(call!(module, C_SignInit, session, &mut sha, 999_999), CKR_KEY_HANDLE_INVALID);
    assert_eq!(call!(module, C_SignInit, session, &mut ecdsa, private), CKR_KEY_TYPE_INCONSISTENT);
    assert_eq!(call!(module, C_SignInit, session, &mut sha, public), CKR_KEY_FUNCTION_NOT_PERMITTED);
    let mut pss = mechanism(CKM_RSA_PKCS_PSS);
    assert_eq!(call!(module, C_SignInit, session, &mut pss, private), CKR_MECHANISM_PARAM_INVALID);

    // Decryption knows its length only afterwards; what finds no room is kept.
    let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: CKM_SHA256,
        mgf: CKG_MGF1_SHA256,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: null_mut(),
        ulSourceDataLen: 0,
    };
    let mut oaep = CK_MECHANISM {
        mechanism: CKM_RSA_PKCS_OAEP,
        pParameter: (&raw mut oaep).cast(),
        ulParameterLen: size_of::<CK_RSA_PKCS_OAEP_PARAMS>() as CK_ULONG,
    };
    let mut sealed = [0_u8; 256];
    ok!(module, C_EncryptInit, session, &mut oaep, public);
    len = 256;
    ok!(module, C_Encrypt, session, data, 4, sealed.as_mut_ptr(), &mut len);
    ok!(module, C_DecryptInit, session, &mut oaep, private);
    len = 3;
    assert_eq!(
        call!(module, C_Decrypt, session, sealed.as_mut_ptr(), 256, out.as_mut_ptr(), &mut len),
        CKR_BUFFER_TOO_SMALL
    );
    assert_eq!(len, 4);
    ok!(module, C_Decrypt, session, sealed.as_mut_ptr(), 256, out.as_mut_ptr(), &mut len);
    assert_eq!(&out[..4], b"data");
    sealed[255] ^= 1;
    ok!(module, C_DecryptInit, session, &mut oaep, private);
    len = 256;
    assert_eq!(
        call!(module, C_Decrypt, session, sealed.as_mut_ptr(), 256, out.as_mut_ptr(), &mut len),
        CKR_ENCRYPTED_DATA_INVALID
    );
    ok!(module, C_DecryptInit, session, &mut oaep, private);
    assert_eq!(
        call!(module, C_Decrypt, session, sealed.as_mut_ptr(), 10, out.as_mut_ptr(), &mut len),
        CKR_ENCRYPTED_DATA_LEN_RANGE
    );

    // A search and a signature go side by side.
    ok!(module, C_FindObjectsInit, session, null_mut(), 0);
    assert_eq!(call!(module, C_FindObjectsInit, session, null_mut(), 0), CKR_OPERATION_ACTIVE);
    module.sign(session, private, CKM_SHA256_RSA_PKCS, b"data").unwrap();
    ok!(module, C_FindObjectsFinal, session);
    assert_eq!(call!(module, C_FindObjectsFinal, session), CKR_OPERATION_NOT_INITIALIZED);
}

#[test]
fn every_attribute_is_answered_whatever_becomes_of_the_others() {
    if !alone("every_attribute_is_answered_whatever_becomes_of_the_others") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.open(true);
    module.login(session);
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"an id");
    let (mut small, mut id) = ([0_u8; 2], [0_u8; 16]);
    let ask = |attribute, buffer: &mut [u8]| CK_ATTRIBUTE {
        type_: attribute,
        pValue: buffer.as_mut_ptr().cast(),
        ulValueLen: buffer.len() as CK_ULONG,
    };
    let mut wanted = [
        ask(CKA_PRIVATE_EXPONENT, &mut []),
        ask(CKA_EC_POINT, &mut []),
        ask(CKA_MODULUS, &mut small),
        ask(CKA_ID, &mut id),
    ];
    assert_eq!(call!(module, C_GetAttributeValue, session, private, wanted.as_mut_ptr(), 4), CKR_ATTRIBUTE_SENSITIVE);
    assert!(wanted[..3].iter().all(|attribute| attribute.ulValueLen == CK_ULONG::MAX));
    assert_eq!((wanted[3].ulValueLen, &id[..5]), (5, &b"an id"[..]));
    assert_eq!(call!(module, C_GetAttributeValue, session, private, &mut wanted[1], 1), CKR_ATTRIBUTE_TYPE_INVALID);
    let mut modulus = [ask(CKA_MODULUS, &mut small)];
    assert_eq!(call!(module, C_GetAttributeValue, session, private, modulus.as_mut_ptr(), 1), CKR_BUFFER_TOO_SMALL);
    assert_eq!(small, [0, 0], "nothing was written");

    // Both halves tell the same public key, and the false attributes are there.
    let info = module.attribute(session, private, CKA_PUBLIC_KEY_INFO);
    assert_eq!(info, module.attribute(session, public, CKA_PUBLIC_KEY_INFO));
    for (attribute, expected) in [
        (CKA_SENSITIVE, 1),
        (CKA_EXTRACTABLE, 0),
        (CKA_ALWAYS_SENSITIVE, 1),
        (CKA_NEVER_EXTRACTABLE, 1),
        (CKA_LOCAL, 1),
        (CKA_ALWAYS_AUTHENTICATE, 0),
        (CKA_WRAP_WITH_TRUSTED, 0),
        (CKA_COPYABLE, 0),
        (CKA_DERIVE, 0),
        (CKA_SIGN, 1),
        (CKA_DECRYPT, 1),
    ] {
        assert_eq!(module.attribute(session, private, attribute), [expected], "{attribute:#x}");
    }

    // Names change, and by KMS what the seal binds; unknown attributes are found nowhere.
    let set =
        |attribute, value: &[u8]| call!(module, C_SetAttributeValue, session, private, &mut attr(attribute, value), 1);
    assert_eq!(set(CKA_LABEL, b"new"), CKR_OK);
    assert_eq!(module.attribute(session, private, CKA_LABEL), b"new");
    assert_eq!(set(CKA_SIGN, &[0]), CKR_OK);
    assert_eq!(set(CKA_EXTRACTABLE, &[1]), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(set(CKA_CLASS, &CKO_DATA.to_ne_bytes()), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(set(0x8000_0001, b"x"), CKR_ATTRIBUTE_TYPE_INVALID);
    assert_eq!(module.find(session, &[(0xCE53_6351, b"x")]).len(), 0);
    assert_eq!(module.find(session, &[(CKA_TOKEN, b"12")]).len(), 0);
    assert_eq!(module.find(session, &[(CKA_LABEL, b"new"), (CKA_ID, b"an id")]), [private]);
}

//! Who may do what in which state of a session (sections 5.5.9, 5.5.10 and 5.6), and the logins for one operation.

mod host;

use cryptoki_sys::*;
use host::{Module, Place, SO_PIN, USER_PIN, alone, at, attr, call, len, mechanism, ok};
use std::ptr::null_mut;

fn start(more: &str) -> (Place, Module) {
    let place = Place::embedded(more);
    let module = Module::start(&place.configuration());
    module.make_token(true);
    (place, module)
}

fn state(module: Module, session: CK_SESSION_HANDLE) -> CK_STATE {
    let mut info = CK_SESSION_INFO { slotID: 0, state: 99, flags: 0, ulDeviceError: 0 };
    ok!(module, C_GetSessionInfo, session, &mut info);
    info.state
}

/// A session with whoever is logged in, and what functions answer there.
struct Row {
    state: CK_STATE,
    read_write: bool,
    user: Option<CK_USER_TYPE>,
    init_pin: CK_RV,
    /// `C_SetPIN` with the user's PIN, and with the security officer's.
    set_pin: [CK_RV; 2],
    /// `C_Login` as the user, and as the security officer.
    login: [CK_RV; 2],
    logout: CK_RV,
}

const ROWS: [Row; 5] = [
    Row {
        state: CKS_RO_PUBLIC_SESSION,
        read_write: false,
        user: None,
        init_pin: CKR_USER_NOT_LOGGED_IN,
        set_pin: [CKR_SESSION_READ_ONLY; 2],
        login: [CKR_OK, CKR_SESSION_READ_ONLY_EXISTS],
        logout: CKR_USER_NOT_LOGGED_IN,
    },
    Row {
        state: CKS_RO_USER_FUNCTIONS,
        read_write: false,
        user: Some(CKU_USER),
        init_pin: CKR_USER_NOT_LOGGED_IN,
        set_pin: [CKR_SESSION_READ_ONLY; 2],
        login: [CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN],
        logout: CKR_OK,
    },
    Row {
        state: CKS_RW_PUBLIC_SESSION,
        read_write: true,
        user: None,
        init_pin: CKR_USER_NOT_LOGGED_IN,
        set_pin: [CKR_OK, CKR_PIN_INCORRECT],
        login: [CKR_OK, CKR_OK],
        logout: CKR_USER_NOT_LOGGED_IN,
    },
    Row {
        state: CKS_RW_USER_FUNCTIONS,
        read_write: true,
        user: Some(CKU_USER),
        init_pin: CKR_USER_NOT_LOGGED_IN,
        set_pin: [CKR_OK, CKR_PIN_INCORRECT],
        login: [CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN],
        logout: CKR_OK,
    },
    Row {
        state: CKS_RW_SO_FUNCTIONS,
        read_write: true,
        user: Some(CKU_SO),
        init_pin: CKR_OK,
        set_pin: [CKR_PIN_INCORRECT, CKR_OK],
        login: [CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_ALREADY_LOGGED_IN],
        logout: CKR_OK,
    },
];

#[test]
fn each_state_permits_what_the_specification_says() {
    if !alone("each_state_permits_what_the_specification_says") {
        return;
    }
    let (_place, module) = start("");
    for row in &ROWS {
        let enter = || {
            let session = module.open(row.read_write);
            if let Some(user) = row.user {
                assert_eq!(module.try_login(session, user, Module::pin_of(user)), CKR_OK);
            }
            assert_eq!(state(module, session), row.state);
            session
        };
        let session = enter();
        let init_pin = call!(module, C_InitPIN, session, at(USER_PIN), len(USER_PIN));
        assert_eq!(init_pin, row.init_pin, "state {}: C_InitPIN", row.state);
        for (pin, expected) in [USER_PIN, SO_PIN].into_iter().zip(row.set_pin) {
            // From itself to itself: that it is checked is what matters.
            let set_pin = call!(module, C_SetPIN, session, at(pin), len(pin), at(pin), len(pin));
            assert_eq!(set_pin, expected, "state {}: C_SetPIN", row.state);
        }
        ok!(module, C_CloseSession, session);
        for (user, expected) in [CKU_USER, CKU_SO].into_iter().zip(row.login) {
            // By either function, with a name or without.
            let pin = Module::pin_of(user);
            for index in 0..3 {
                let session = enter();
                let name = b"somebody";
                let rv = match index {
                    0 => module.try_login(session, user, pin),
                    1 => call!(module, C_LoginUser, session, user, at(pin), len(pin), null_mut(), 0),
                    _ => call!(module, C_LoginUser, session, user, at(pin), len(pin), at(name), len(name)),
                };
                assert_eq!(rv, expected, "state {}: login as {user}", row.state);
                ok!(module, C_CloseSession, session);
            }
        }
        let session = enter();
        assert_eq!(call!(module, C_Logout, session), row.logout, "state {}: C_Logout", row.state);
        let public = if row.read_write { CKS_RW_PUBLIC_SESSION } else { CKS_RO_PUBLIC_SESSION };
        assert_eq!(state(module, session), public);
        ok!(module, C_CloseSession, session);
    }
    let session = module.open(true);
    let login = |user, pin: *mut CK_BYTE, pin_len, name: *mut CK_BYTE, name_len| {
        call!(module, C_LoginUser, session, user, pin, pin_len, name, name_len)
    };
    assert_eq!(login(CKU_USER, null_mut(), 4, null_mut(), 0), CKR_ARGUMENTS_BAD);
    assert_eq!(login(CKU_USER, at(USER_PIN), len(USER_PIN), null_mut(), 4), CKR_ARGUMENTS_BAD);
    assert_eq!(login(99, at(USER_PIN), len(USER_PIN), null_mut(), 0), CKR_USER_TYPE_INVALID);
    assert_eq!(login(CKU_USER, at(b"wrong"), 5, null_mut(), 0), CKR_PIN_INCORRECT);
    assert_eq!(login(CKU_CONTEXT_SPECIFIC, at(USER_PIN), len(USER_PIN), null_mut(), 0), CKR_OPERATION_NOT_INITIALIZED);
}

/// An RSA key pair that wants a login for each use.
fn always_authenticate(module: Module, session: CK_SESSION_HANDLE) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let (bits, yes) = (2048_u64.to_ne_bytes(), [CK_TRUE]);
    let mut public = [attr(CKA_TOKEN, &yes), attr(CKA_MODULUS_BITS, &bits)];
    let mut private = [attr(CKA_TOKEN, &yes), attr(CKA_ALWAYS_AUTHENTICATE, &yes)];
    let (mut generation, mut pair) = (mechanism(CKM_RSA_PKCS_KEY_PAIR_GEN), (0, 0));
    let (public, private) = (public.as_mut_ptr(), private.as_mut_ptr());
    ok!(module, C_GenerateKeyPair, session, &mut generation, public, 2, private, 2, &mut pair.0, &mut pair.1);
    pair
}

#[test]
fn a_login_for_one_operation_is_for_the_one_that_was_started_last() {
    if !alone("a_login_for_one_operation_is_for_the_one_that_was_started_last") {
        return;
    }
    let (_place, module) = start("");
    let session = module.enter();
    let (_, key) = always_authenticate(module, session);
    let login = || module.try_login(session, CKU_CONTEXT_SPECIFIC, USER_PIN);
    let mut raw = mechanism(CKM_RSA_PKCS);
    let (mut out, data) = ([0; 256], at(b"data"));
    let mut sign = |recover: bool| {
        let (out, mut room) = (out.as_mut_ptr(), 256);
        match recover {
            true => call!(module, C_SignRecover, session, data, 4, out, &mut room),
            false => call!(module, C_Sign, session, data, 4, out, &mut room),
        }
    };
    assert_eq!(login(), CKR_OPERATION_NOT_INITIALIZED);
    ok!(module, C_SignInit, session, &mut raw, key);
    ok!(module, C_SignRecoverInit, session, &mut raw, key);
    assert_eq!(login(), CKR_OK);
    assert_eq!(sign(true), CKR_OK);
    // The other one has had none: its own login comes next.
    assert_eq!(login(), CKR_OK);
    assert_eq!((sign(false), login()), (CKR_OK, CKR_OPERATION_NOT_INITIALIZED));
    for recover in [false, true] {
        match recover {
            true => ok!(module, C_SignRecoverInit, session, &mut raw, key),
            false => ok!(module, C_SignInit, session, &mut raw, key),
        }
        assert_eq!(sign(recover), CKR_USER_NOT_LOGGED_IN);
        assert_eq!(sign(recover), CKR_OPERATION_NOT_INITIALIZED, "the error ended it");
    }
    // A wrong PIN is as good as none, and disturbs nothing.
    ok!(module, C_SignInit, session, &mut raw, key);
    assert_eq!(module.try_login(session, CKU_CONTEXT_SPECIFIC, b"wrong"), CKR_PIN_INCORRECT);
    assert_eq!((login(), sign(false)), (CKR_OK, CKR_OK));
    assert_eq!(state(module, session), CKS_RW_USER_FUNCTIONS);
}

#[test]
fn a_pin_that_locks_ends_the_login_and_its_operations() {
    if !alone("a_pin_that_locks_ends_the_login_and_its_operations") {
        return;
    }
    let (_place, module) = start("max_pin_attempts = 2");
    let session = module.enter();
    let (_, key) = always_authenticate(module, session);
    ok!(module, C_SignInit, session, &mut mechanism(CKM_RSA_PKCS), key);
    let wrong = || module.try_login(session, CKU_CONTEXT_SPECIFIC, b"wrong");
    assert_eq!((wrong(), wrong(), wrong()), (CKR_PIN_INCORRECT, CKR_PIN_INCORRECT, CKR_PIN_LOCKED));
    assert_eq!(state(module, session), CKS_RW_PUBLIC_SESSION);
    let mut room = 256;
    let sign = call!(module, C_Sign, session, at(b"data"), 4, [0; 256].as_mut_ptr(), &mut room);
    assert_eq!(sign, CKR_OPERATION_NOT_INITIALIZED);
    let mut wanted = CK_ATTRIBUTE { type_: CKA_ID, pValue: null_mut(), ulValueLen: 0 };
    assert_eq!(call!(module, C_GetAttributeValue, session, key, &mut wanted, 1), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(module.try_login(session, CKU_USER, USER_PIN), CKR_PIN_LOCKED);
}

#[test]
fn a_logout_ends_operations_with_private_keys_and_searches_and_no_others() {
    if !alone("a_logout_ends_operations_with_private_keys_and_searches_and_no_others") {
        return;
    }
    let (_place, module) = start("");
    let session = module.enter();
    let other = module.open(true);
    let (public, private) = module.generate(session, host::Kind::Rsa(2048), b"rsa");
    let (mut raw, mut digest) = (mechanism(CKM_RSA_PKCS), mechanism(CKM_SHA256));
    for session in [session, other] {
        ok!(module, C_SignInit, session, &mut raw, private);
        ok!(module, C_SignRecoverInit, session, &mut raw, private);
        ok!(module, C_DecryptInit, session, &mut raw, private);
        ok!(module, C_FindObjectsInit, session, null_mut(), 0);
        ok!(module, C_EncryptInit, session, &mut raw, public);
        ok!(module, C_DigestInit, session, &mut digest);
    }
    ok!(module, C_Logout, other);
    for session in [session, other] {
        let (mut out, mut room) = ([0; 256], 256);
        let data = at(b"data");
        let ended = [
            call!(module, C_Sign, session, data, 4, out.as_mut_ptr(), &mut room),
            call!(module, C_SignRecover, session, data, 4, out.as_mut_ptr(), &mut room),
            call!(module, C_DecryptFinal, session, out.as_mut_ptr(), &mut room),
            call!(module, C_FindObjectsFinal, session),
        ];
        assert_eq!(ended, [CKR_OPERATION_NOT_INITIALIZED; 4]);
        ok!(module, C_Encrypt, session, data, 4, out.as_mut_ptr(), &mut room);
        ok!(module, C_DigestFinal, session, out.as_mut_ptr(), &mut room);
    }
}

/// What is neither on the token nor private needs no login (section 5.5.10), keys that are generated included.
#[test]
fn a_public_session_makes_public_keys_for_itself() {
    if !alone("a_public_session_makes_public_keys_for_itself") {
        return;
    }
    for (more, open) in [("", CKR_OK), ("generate = \"without-plaintext\"", CKR_USER_NOT_LOGGED_IN)] {
        let (_place, module) = start(more);
        let session = module.open(true);
        let (yes, no, aes_len) = ([CK_TRUE], [CK_FALSE], 32_u64.to_ne_bytes());
        let generate = |on_token: &[u8], private: &[u8], key: &mut CK_OBJECT_HANDLE| {
            let mut template = [attr(CKA_TOKEN, on_token), attr(CKA_PRIVATE, private), attr(CKA_VALUE_LEN, &aes_len)];
            call!(module, C_GenerateKey, session, &mut mechanism(CKM_AES_KEY_GEN), template.as_mut_ptr(), 3, key)
        };
        for (on_token, private) in [(&yes, &no), (&no, &yes), (&yes, &yes)] {
            assert_eq!(generate(on_token, private, &mut 0), CKR_USER_NOT_LOGGED_IN);
        }
        let mut aes = 0;
        assert_eq!(generate(&no, &no, &mut aes), open, "{more}");

        let curve = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let mut public = [attr(CKA_EC_PARAMS, curve)];
        let mut private = [attr(CKA_PRIVATE, &no)];
        let (mut generation, mut pair) = (mechanism(CKM_EC_KEY_PAIR_GEN), (0, 0));
        let (first, second) = (public.as_mut_ptr(), private.as_mut_ptr());
        let rv =
            call!(module, C_GenerateKeyPair, session, &mut generation, first, 1, second, 1, &mut pair.0, &mut pair.1);
        assert_eq!(rv, open, "{more}");
        if open == CKR_OK {
            // The check value is what the key makes of a block of zeros.
            let mut made = [0; 16];
            let mut room = 16;
            ok!(module, C_EncryptInit, session, &mut mechanism(CKM_AES_ECB), aes);
            ok!(module, C_Encrypt, session, at(&[0; 16]), 16, made.as_mut_ptr(), &mut room);
            assert_eq!(module.attribute(session, aes, CKA_CHECK_VALUE), made[..3]);
            // They are the session's, whoever logs in or out meanwhile, and end with it.
            let signs = || {
                let signature = module.sign(session, pair.1, CKM_ECDSA_SHA256, b"data").unwrap();
                assert_eq!(module.verify(session, pair.0, CKM_ECDSA_SHA256, b"data", &signature), CKR_OK);
            };
            signs();
            module.login(session);
            signs();
            ok!(module, C_Logout, session);
            signs();
            let other = module.open(false);
            assert_eq!(module.find(other, &[(CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes())]), [pair.1]);
            ok!(module, C_CloseSession, session);
            assert_eq!(module.find(other, &[]), [0; 0]);
        }
        module.finalise();
    }
}

/// A key that everybody may see has a MAC that only the token key makes: without a login it is not changed, and stays
/// the key that it is. What needs no MAC changes as ever.
#[test]
fn without_a_login_a_key_keeps_its_name_and_its_worth() {
    if !alone("without_a_login_a_key_keeps_its_name_and_its_worth") {
        return;
    }
    let (_place, module) = start("");
    let session = module.enter();
    let (class, aes, yes, no) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes(), [CK_TRUE; 1], [CK_FALSE; 1]);
    let mut template = [
        attr(CKA_CLASS, &class),
        attr(CKA_KEY_TYPE, &aes),
        attr(CKA_VALUE, &[7; 16]),
        attr(CKA_TOKEN, &yes),
        attr(CKA_PRIVATE, &no),
    ];
    let mut key = 0;
    ok!(module, C_CreateObject, session, template.as_mut_ptr(), 5, &mut key);
    ok!(module, C_Logout, session);
    let rename = |object| call!(module, C_SetAttributeValue, session, object, &mut attr(CKA_LABEL, b"x"), 1);
    assert_eq!(rename(key), CKR_USER_NOT_LOGGED_IN);
    let data = CKO_DATA.to_ne_bytes();
    let mut template = [attr(CKA_CLASS, &data), attr(CKA_TOKEN, &yes)];
    let mut object = 0;
    ok!(module, C_CreateObject, session, template.as_mut_ptr(), 2, &mut object);
    assert_eq!(rename(object), CKR_OK);
    // Also for a process that reads it anew.
    let session = module.again();
    let key = module.find(session, &[(CKA_CLASS, &class)])[0];
    assert_eq!(module.attribute(session, key, CKA_LABEL), b"");
    assert_eq!(module.sign(session, key, CKM_AES_CMAC, b"data").map(|mac| mac.len()), Ok(16));
    ok!(module, C_SetAttributeValue, session, key, &mut attr(CKA_LABEL, b"x"), 1);
}

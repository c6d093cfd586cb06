//! Message-based operations: many messages with one key.

mod host;

use cryptoki_sys::*;
use host::{Kind, Module, Place, USER_PIN, alone, at, attr, call, len, mechanism, ok};
use std::ptr::null_mut;

/// A token on the embedded KMS with a session, the user logged in.
fn scene() -> (Place, Module, CK_SESSION_HANDLE) {
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    (place, module, session)
}

/// A signing process and a verifying one.
struct Process(Module, CK_SESSION_HANDLE);

impl Process {
    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        self.output(|out, room| call!(self.0, C_SignMessage, self.1, null_mut(), 0, at(data), len(data), out, room))
    }

    fn sign_begin(&self) -> CK_RV {
        call!(self.0, C_SignMessageBegin, self.1, null_mut(), 0)
    }

    fn sign_next(&self, part: &[u8]) -> CK_RV {
        let (part, n) = (at(part), len(part));
        call!(self.0, C_SignMessageNext, self.1, null_mut(), 0, part, n, null_mut(), null_mut())
    }

    fn sign_last(&self, part: &[u8]) -> Result<Vec<u8>, CK_RV> {
        let (part, n) = (at(part), len(part));
        self.output(|out, room| call!(self.0, C_SignMessageNext, self.1, null_mut(), 0, part, n, out, room))
    }

    fn sign_final(&self) -> CK_RV {
        call!(self.0, C_MessageSignFinal, self.1)
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> CK_RV {
        let (data, n, signature, s) = (at(data), len(data), at(signature), len(signature));
        call!(self.0, C_VerifyMessage, self.1, null_mut(), 0, data, n, signature, s)
    }

    fn verify_begin(&self) -> CK_RV {
        call!(self.0, C_VerifyMessageBegin, self.1, null_mut(), 0)
    }

    fn verify_next(&self, part: &[u8]) -> CK_RV {
        let (part, n) = (at(part), len(part));
        call!(self.0, C_VerifyMessageNext, self.1, null_mut(), 0, part, n, null_mut(), 0)
    }

    fn verify_last(&self, part: &[u8], signature: &[u8]) -> CK_RV {
        let (part, n, signature, s) = (at(part), len(part), at(signature), len(signature));
        call!(self.0, C_VerifyMessageNext, self.1, null_mut(), 0, part, n, signature, s)
    }

    fn verify_final(&self) -> CK_RV {
        call!(self.0, C_MessageVerifyFinal, self.1)
    }

    fn output(&self, work: impl FnOnce(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) -> Result<Vec<u8>, CK_RV> {
        let (mut out, mut len) = (vec![0; 1024], 1024);
        host::check(work(out.as_mut_ptr(), &mut len))?;
        out.truncate(len as usize);
        Ok(out)
    }
}

#[test]
fn every_signing_mechanism_signs_messages() {
    if !alone("every_signing_mechanism_signs_messages") {
        return;
    }
    let (_place, module, session) = scene();
    let process = Process(module, session);
    let data = b"thirty-two bytes: 0123456789abcd";
    let mut pss = CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 as CK_ULONG };
    let pss = CK_MECHANISM {
        mechanism: CKM_RSA_PKCS_PSS,
        pParameter: (&raw mut pss).cast(),
        ulParameterLen: size_of::<CK_RSA_PKCS_PSS_PARAMS>() as CK_ULONG,
    };
    let rows = [
        (Kind::Rsa(2048), vec![mechanism(CKM_SHA256_RSA_PKCS), mechanism(CKM_RSA_PKCS), mechanism(CKM_RSA_X_509), pss]),
        (Kind::P256, vec![mechanism(CKM_ECDSA_SHA256), mechanism(CKM_ECDSA)]),
        (Kind::Ed25519, vec![mechanism(CKM_EDDSA)]),
    ];
    for (index, (kind, mechanisms)) in rows.into_iter().enumerate() {
        let (public, private) = module.generate(session, kind, &[index as u8]);
        for mut one in mechanisms {
            let name = one.mechanism;
            let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
            ok!(module, C_GetMechanismInfo, 0, name, &mut info);
            let said = CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY | CKF_MULTI_MESSAGE;
            assert_eq!(info.flags & said, said, "{name:#x}");
            ok!(module, C_MessageSignInit, session, &mut one, private);
            ok!(module, C_MessageVerifyInit, session, &mut one, public);
            for _ in 0..3 {
                let signature = process.sign(data).unwrap();
                assert_eq!(process.verify(data, &signature), CKR_OK, "{name:#x}");
                assert_eq!((process.sign_begin(), process.sign_next(&data[..5])), (CKR_OK, CKR_OK));
                assert_eq!(process.sign_next(b""), CKR_OK);
                let in_parts = process.sign_last(&data[5..]).unwrap();
                assert_eq!((process.verify_begin(), process.verify_next(&data[..20])), (CKR_OK, CKR_OK));
                assert_eq!(process.verify_last(&data[20..], &in_parts), CKR_OK, "{name:#x}");
                // A bad signature is an answer; the process goes on.
                let mut bad = signature.clone();
                bad[20] ^= 1;
                assert_eq!(process.verify(data, &bad), CKR_SIGNATURE_INVALID, "{name:#x}");
                assert_eq!(process.verify(data, &bad[1..]), CKR_SIGNATURE_LEN_RANGE, "{name:#x}");
                assert_eq!(process.verify_begin(), CKR_OK);
                assert_eq!(process.verify_last(data, &bad), CKR_SIGNATURE_INVALID);
            }
            assert_eq!((process.sign_final(), process.verify_final()), (CKR_OK, CKR_OK));
        }
    }
}

#[test]
fn a_process_outlives_its_messages() {
    if !alone("a_process_outlives_its_messages") {
        return;
    }
    let (_place, module, session) = scene();
    let process = Process(module, session);
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let (mut sha, mut raw) = (mechanism(CKM_SHA256_RSA_PKCS), mechanism(CKM_RSA_PKCS));
    const NONE: CK_RV = CKR_OPERATION_NOT_INITIALIZED;
    let over = || {
        assert_eq!(process.sign(b"data"), Err(NONE));
        assert_eq!((process.sign_begin(), process.sign_next(b""), process.sign_final()), (NONE, NONE, NONE));
        assert_eq!(process.sign_last(b""), Err(NONE));
        assert_eq!((process.verify(b"data", b""), process.verify_begin()), (NONE, NONE));
        assert_eq!((process.verify_next(b""), process.verify_last(b"", b"x")), (NONE, NONE));
        assert_eq!(process.verify_final(), NONE);
    };
    over();
    // Refused, nothing is started.
    assert_eq!(call!(module, C_MessageSignInit, session, &mut sha, public), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(call!(module, C_MessageVerifyInit, session, &mut sha, private), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(call!(module, C_MessageSignInit, session, &mut sha, 999_999), CKR_KEY_HANDLE_INVALID);
    let mut digest = mechanism(CKM_SHA256);
    assert_eq!(call!(module, C_MessageSignInit, session, &mut digest, private), CKR_MECHANISM_INVALID);
    let mut ecdsa = mechanism(CKM_ECDSA);
    assert_eq!(call!(module, C_MessageSignInit, session, &mut ecdsa, private), CKR_KEY_TYPE_INCONSISTENT);
    let mut oaep = mechanism(CKM_RSA_PKCS_OAEP);
    assert_eq!(call!(module, C_MessageSignInit, session, &mut oaep, private), CKR_MECHANISM_INVALID);
    over();

    // An error ends the message alone.
    ok!(module, C_MessageSignInit, session, &mut raw, private);
    assert_eq!(call!(module, C_MessageSignInit, session, &mut raw, private), CKR_OPERATION_ACTIVE);
    assert_eq!(process.sign(&[0; 246]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(process.sign_begin(), CKR_OK);
    assert_eq!((process.sign_next(&[0; 246]), process.sign_next(b"")), (CKR_DATA_LEN_RANGE, NONE));
    let (mut out, mut room) = ([0; 300], 300);
    let mut parameter = 7;
    let given = (&raw mut parameter).cast();
    let data = at(b"data");
    let sign = |parameter_len, data, out, room| {
        call!(module, C_SignMessage, session, given, parameter_len, data, 4, out, room)
    };
    assert_eq!(sign(4, data, out.as_mut_ptr(), &mut room), CKR_MECHANISM_PARAM_INVALID);
    assert_eq!(sign(0, null_mut(), out.as_mut_ptr(), &mut room), CKR_ARGUMENTS_BAD);
    assert_eq!(sign(0, data, out.as_mut_ptr(), null_mut()), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(module, C_SignMessageBegin, session, given, 4), CKR_MECHANISM_PARAM_INVALID);
    assert_eq!((process.sign_begin(), process.sign_begin()), (CKR_OK, CKR_OPERATION_ACTIVE));
    let next = call!(module, C_SignMessageNext, session, given, 4, data, 4, null_mut(), null_mut());
    assert_eq!((next, process.sign_next(b"")), (CKR_MECHANISM_PARAM_INVALID, NONE));
    assert_eq!(process.sign_begin(), CKR_OK);
    let next = call!(module, C_SignMessageNext, session, given, 0, null_mut(), 4, null_mut(), null_mut());
    assert_eq!((next, process.sign_next(b"")), (CKR_ARGUMENTS_BAD, NONE));

    // In the middle of a message neither another message nor the end.
    assert_eq!((process.sign_begin(), process.sign_next(b"da")), (CKR_OK, CKR_OK));
    assert_eq!((process.sign(b"data"), process.sign_final()), (Err(CKR_OPERATION_ACTIVE), CKR_OPERATION_ACTIVE));
    let signature = process.sign_last(b"ta").expect("it went on");
    assert_eq!(signature, module.sign(session, private, CKM_RSA_PKCS, b"data").unwrap());

    // A length that is asked for, or not given, takes no part in.
    assert_eq!(process.sign_begin(), CKR_OK);
    for _ in 0..2 {
        ok!(module, C_SignMessageNext, session, given, 0, data, 4, null_mut(), &mut room);
        assert_eq!(room, 256);
        room = 255;
        let rv = call!(module, C_SignMessageNext, session, given, 0, data, 4, out.as_mut_ptr(), &mut room);
        assert_eq!((rv, room), (CKR_BUFFER_TOO_SMALL, 256));
    }
    assert_eq!(process.sign_last(b"data").unwrap(), signature);

    // The same for the other side.
    ok!(module, C_MessageVerifyInit, session, &mut raw, public);
    assert_eq!(call!(module, C_MessageVerifyInit, session, &mut raw, public), CKR_OPERATION_ACTIVE);
    assert_eq!((process.verify_begin(), process.verify_begin()), (CKR_OK, CKR_OPERATION_ACTIVE));
    assert_eq!(
        (process.verify(b"data", &signature), process.verify_final()),
        (CKR_OPERATION_ACTIVE, CKR_OPERATION_ACTIVE)
    );
    assert_eq!((process.verify_next(b"da"), process.verify_last(b"ta", &signature)), (CKR_OK, CKR_OK));
    assert_eq!(process.verify_next(b""), NONE);
    assert_eq!(process.verify_begin(), CKR_OK);
    assert_eq!((process.verify_next(&[0; 246]), process.verify_next(b"")), (CKR_DATA_LEN_RANGE, NONE));
    let rv = call!(module, C_VerifyMessage, session, given, 4, data, 4, at(&signature), 256);
    assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
    assert_eq!(call!(module, C_VerifyMessageBegin, session, given, 4), CKR_MECHANISM_PARAM_INVALID);
    let rv = call!(module, C_VerifyMessage, session, given, 0, data, 4, null_mut(), 256);
    assert_eq!(rv, CKR_ARGUMENTS_BAD);
    assert_eq!(process.verify(b"data", &signature), CKR_OK);
    assert_eq!((process.sign_final(), process.verify_final()), (CKR_OK, CKR_OK));
    over();

    // Cancelled with its message, by either way, and by the end of the login that the key needs.
    let start = || {
        ok!(module, C_MessageSignInit, session, &mut mechanism(CKM_RSA_PKCS), private);
        ok!(module, C_MessageVerifyInit, session, &mut mechanism(CKM_RSA_PKCS), public);
        assert_eq!((process.sign_begin(), process.verify_begin()), (CKR_OK, CKR_OK));
    };
    start();
    ok!(module, C_MessageSignInit, session, null_mut(), private);
    ok!(module, C_MessageVerifyInit, session, null_mut(), public);
    over();
    start();
    ok!(module, C_SessionCancel, session, CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY);
    over();
    start();
    ok!(module, C_Logout, session);
    assert_eq!(process.sign_next(b"data"), NONE);
    assert_eq!(process.verify_last(b"data", &signature), CKR_OK, "a public key needs no login");
}

#[test]
fn each_message_of_an_always_authenticate_key_needs_its_login() {
    if !alone("each_message_of_an_always_authenticate_key_needs_its_login") {
        return;
    }
    let (_place, module, session) = scene();
    let process = Process(module, session);
    let p256 = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let mut public = [attr(CKA_TOKEN, &[1]), attr(CKA_EC_PARAMS, &p256)];
    let mut private = [attr(CKA_TOKEN, &[1]), attr(CKA_ALWAYS_AUTHENTICATE, &[1])];
    let (mut generation, mut handle, mut key) = (mechanism(CKM_EC_KEY_PAIR_GEN), 0, 0);
    let (public, private) = (public.as_mut_ptr(), private.as_mut_ptr());
    ok!(module, C_GenerateKeyPair, session, &mut generation, public, 2, private, 2, &mut handle, &mut key);
    let login = || module.try_login(session, CKU_CONTEXT_SPECIFIC, USER_PIN);
    assert_eq!(login(), CKR_OPERATION_NOT_INITIALIZED);
    ok!(module, C_MessageSignInit, session, &mut mechanism(CKM_ECDSA_SHA256), key);
    assert_eq!(process.sign(b"data"), Err(CKR_USER_NOT_LOGGED_IN));
    for _ in 0..2 {
        assert_eq!(login(), CKR_OK);
        assert_eq!(process.sign(b"data").map(|signature| signature.len()), Ok(64));
        assert_eq!(process.sign(b"data"), Err(CKR_USER_NOT_LOGGED_IN));
        assert_eq!((process.sign_begin(), process.sign_next(b"da")), (CKR_OK, CKR_OK));
        assert_eq!(login(), CKR_OK);
        assert_eq!(process.sign_last(b"ta").map(|signature| signature.len()), Ok(64));
    }
    // A wrong PIN changes nothing, and one login is for the operation that was started last.
    assert_eq!(module.try_login(session, CKU_CONTEXT_SPECIFIC, b"wrong-pin"), CKR_PIN_INCORRECT);
    assert_eq!(process.sign(b"data"), Err(CKR_USER_NOT_LOGGED_IN));
    ok!(module, C_SignInit, session, &mut mechanism(CKM_ECDSA_SHA256), key);
    assert_eq!(login(), CKR_OK);
    assert_eq!(process.sign(b"data"), Err(CKR_USER_NOT_LOGGED_IN));
    let (mut out, mut room) = ([0; 64], 64);
    ok!(module, C_Sign, session, at(b"data"), 4, out.as_mut_ptr(), &mut room);
}

#[test]
fn messages_of_a_secret_key_end_with_the_login() {
    if !alone("messages_of_a_secret_key_end_with_the_login") {
        return;
    }
    let (_place, module, session) = scene();
    let process = Process(module, session);
    let (class, generic) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_GENERIC_SECRET.to_ne_bytes());
    let value = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &generic), attr(CKA_VALUE, &[0x0b; 20])];
    let mut template = [&value[..], &[attr(CKA_PRIVATE, &[1])]].concat();
    let mut key = 0;
    ok!(module, C_CreateObject, session, template.as_mut_ptr(), 4, &mut key);
    ok!(module, C_MessageSignInit, session, &mut mechanism(CKM_SHA256_HMAC), key);
    ok!(module, C_MessageVerifyInit, session, &mut mechanism(CKM_SHA256_HMAC), key);
    // RFC 4231, test case 1.
    let tag = process.sign(b"Hi There").unwrap();
    assert_eq!((tag.len(), &tag[..4]), (32, &[0xb0, 0x34, 0x4c, 0x61][..]));
    assert_eq!((process.sign_begin(), process.sign_next(b"Hi ")), (CKR_OK, CKR_OK));
    assert_eq!(process.sign_last(b"There"), Ok(tag.clone()));
    assert_eq!((process.verify(b"Hi There", &tag), process.verify(b"Hi", &tag)), (CKR_OK, CKR_SIGNATURE_INVALID));
    assert_eq!((process.verify_begin(), process.verify_next(b"Hi ")), (CKR_OK, CKR_OK));
    assert_eq!(process.verify_last(b"There", &tag), CKR_OK);

    ok!(module, C_Logout, session);
    assert_eq!(
        (process.verify(b"Hi There", &tag), process.sign(b"Hi There")),
        (CKR_OPERATION_NOT_INITIALIZED, Err(CKR_OPERATION_NOT_INITIALIZED))
    );

    // GMAC has one IV, which is not for many messages.
    let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
    ok!(module, C_GetMechanismInfo, 0, CKM_AES_GMAC, &mut info);
    assert_eq!(info.flags & (CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY), CKF_SIGN | CKF_VERIFY);
}

//! Operations beyond sign, verify, encrypt, decrypt and digest: with recovery, with the signature first, two
//! at once; their states saved, restored and cancelled.

mod host;

use cryptoki_sys::*;
use host::{Kind, Module, Place, alone, at, call, len, mechanism, ok};
use std::ptr::null_mut;

/// A token on the embedded KMS with a session, the user logged in.
fn scene() -> (Place, Module, CK_SESSION_HANDLE) {
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    (place, module, session)
}

/// Calls a function that has output, with much room.
fn output(work: impl FnOnce(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) -> Result<Vec<u8>, CK_RV> {
    let (mut out, mut len) = (vec![0; 1024], 1024);
    host::check(work(out.as_mut_ptr(), &mut len))?;
    out.truncate(len as usize);
    Ok(out)
}

struct Recovery(Module, CK_SESSION_HANDLE);

impl Recovery {
    fn sign(&self, id: CK_MECHANISM_TYPE, key: CK_OBJECT_HANDLE, data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        ok!(self.0, C_SignRecoverInit, self.1, &mut mechanism(id), key);
        output(|out, room| call!(self.0, C_SignRecover, self.1, at(data), len(data), out, room))
    }

    fn recover(&self, id: CK_MECHANISM_TYPE, key: CK_OBJECT_HANDLE, signature: &[u8]) -> Result<Vec<u8>, CK_RV> {
        ok!(self.0, C_VerifyRecoverInit, self.1, &mut mechanism(id), key);
        output(|out, room| call!(self.0, C_VerifyRecover, self.1, at(signature), len(signature), out, room))
    }
}

#[test]
fn a_signature_with_recovery_gives_its_data_back() {
    if !alone("a_signature_with_recovery_gives_its_data_back") {
        return;
    }
    let (_place, module, session) = scene();
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let recovery = Recovery(module, session);
    let longest = [7; 245];
    for data in [&b"some data"[..], b"", &longest] {
        let signature = recovery.sign(CKM_RSA_PKCS, private, data).unwrap();
        assert_eq!(signature, module.sign(session, private, CKM_RSA_PKCS, data).unwrap());
        assert_eq!(recovery.recover(CKM_RSA_PKCS, public, &signature).unwrap(), data);
        let padded = recovery.sign(CKM_RSA_X_509, private, data).unwrap();
        let recovered = recovery.recover(CKM_RSA_X_509, public, &padded).unwrap();
        assert_eq!((recovered.len(), recovered.ends_with(data)), (256, true));
        assert!(recovered[..256 - data.len()].iter().all(|byte| *byte == 0));
    }
    assert_eq!(recovery.sign(CKM_RSA_PKCS, private, &[7; 246]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(recovery.sign(CKM_RSA_X_509, private, &[0; 257]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(recovery.sign(CKM_RSA_X_509, private, &[0xff; 256]), Err(CKR_DATA_INVALID));

    let good = recovery.sign(CKM_RSA_PKCS, private, b"some data").unwrap();
    let mut bad = good.clone();
    bad[100] ^= 1;
    assert_eq!(recovery.recover(CKM_RSA_PKCS, public, &bad), Err(CKR_SIGNATURE_INVALID));
    assert_eq!(recovery.recover(CKM_RSA_PKCS, public, &good[1..]), Err(CKR_SIGNATURE_LEN_RANGE));
    assert_eq!(recovery.recover(CKM_RSA_X_509, public, &[0xff; 256]), Err(CKR_SIGNATURE_INVALID));
    assert_eq!(recovery.recover(CKM_RSA_X_509, public, &good[1..]), Err(CKR_SIGNATURE_LEN_RANGE));
    // That the signature is bad comes before that there is too little room.
    ok!(module, C_VerifyRecoverInit, session, &mut mechanism(CKM_RSA_PKCS), public);
    let rv = call!(module, C_VerifyRecover, session, at(&bad), 256, bad.clone().as_mut_ptr(), &mut 0);
    assert_eq!(rv, CKR_SIGNATURE_INVALID);

    // Only mechanisms that can, and only keys that may.
    let (mut pkcs, mut sha) = (mechanism(CKM_RSA_PKCS), mechanism(CKM_SHA256_RSA_PKCS));
    assert_eq!(call!(module, C_SignRecoverInit, session, &mut sha, private), CKR_MECHANISM_INVALID);
    assert_eq!(call!(module, C_VerifyRecoverInit, session, &mut sha, public), CKR_MECHANISM_INVALID);
    assert_eq!(call!(module, C_SignRecoverInit, session, &mut pkcs, public), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(call!(module, C_VerifyRecoverInit, session, &mut pkcs, private), CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_eq!(call!(module, C_SignRecoverInit, session, &mut pkcs, 999_999), CKR_KEY_HANDLE_INVALID);
    let (_, ec) = module.generate(session, Kind::P256, b"ec");
    let rv = call!(module, C_SignRecoverInit, session, &mut pkcs, ec);
    assert!([CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED].contains(&rv), "{rv:#x}");

    // Beside another signature; twice not; over after its end, or when it is cancelled.
    ok!(module, C_SignInit, session, &mut pkcs, private);
    ok!(module, C_SignRecoverInit, session, &mut pkcs, private);
    assert_eq!(call!(module, C_SignRecoverInit, session, &mut pkcs, private), CKR_OPERATION_ACTIVE);
    ok!(module, C_SessionCancel, session, CKF_SIGN_RECOVER);
    let sign = || output(|out, room| call!(module, C_SignRecover, session, at(b"data"), 4, out, room));
    assert_eq!(sign(), Err(CKR_OPERATION_NOT_INITIALIZED));
    ok!(module, C_SignRecoverInit, session, &mut pkcs, private);
    ok!(module, C_SignRecoverInit, session, null_mut(), private);
    assert_eq!(sign(), Err(CKR_OPERATION_NOT_INITIALIZED));
    ok!(module, C_VerifyRecoverInit, session, &mut pkcs, public);
    ok!(module, C_VerifyRecoverInit, session, null_mut(), public);
    assert_eq!(
        output(|out, room| call!(module, C_VerifyRecover, session, at(&good), 256, out, room)),
        Err(CKR_OPERATION_NOT_INITIALIZED)
    );
}

#[test]
fn a_signature_may_come_before_its_data() {
    if !alone("a_signature_may_come_before_its_data") {
        return;
    }
    let (_place, module, session) = scene();
    let data = b"some data in parts";
    for (index, kind) in [Kind::Rsa(2048), Kind::P256, Kind::Ed25519].into_iter().enumerate() {
        let (public, private) = module.generate(session, kind, &[index as u8]);
        let good = module.sign(session, private, kind.signs(), data).unwrap();
        let mut bad = good.clone();
        bad[40] ^= 1;
        let init = |signature: &[u8]| {
            let mut mechanism = mechanism(kind.signs());
            ok!(module, C_VerifySignatureInit, session, &mut mechanism, public, at(signature), len(signature));
        };
        let whole = |data: &[u8]| call!(module, C_VerifySignature, session, at(data), len(data));
        let update = |data: &[u8]| call!(module, C_VerifySignatureUpdate, session, at(data), len(data));
        let finish = || call!(module, C_VerifySignatureFinal, session);
        for (signature, rv) in
            [(&good[..], CKR_OK), (&bad, CKR_SIGNATURE_INVALID), (&good[..63], CKR_SIGNATURE_LEN_RANGE)]
        {
            init(signature);
            assert_eq!(whole(data), rv, "{kind:?}");
            assert_eq!(whole(data), CKR_OPERATION_NOT_INITIALIZED);
            init(signature);
            assert_eq!((update(&data[..4]), update(&data[4..]), finish()), (CKR_OK, CKR_OK, rv), "{kind:?}");
            assert_eq!((update(data), finish()), (CKR_OPERATION_NOT_INITIALIZED, CKR_OPERATION_NOT_INITIALIZED));
        }
        init(&good);
        assert_eq!(whole(b"other data"), CKR_SIGNATURE_INVALID);
        // Not the end of what came in parts; and that ends it.
        init(&good);
        assert_eq!(
            (update(data), whole(data), finish()),
            (CKR_OK, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED)
        );
        // An error ends it.
        init(&good);
        assert_eq!(call!(module, C_VerifySignatureUpdate, session, null_mut(), 4), CKR_ARGUMENTS_BAD);
        assert_eq!(finish(), CKR_OPERATION_NOT_INITIALIZED);
        // Cancelled either way. C_VerifyInit is another operation, with the same flag.
        for cancel in
            [&|| call!(module, C_VerifySignatureInit, session, null_mut(), 0, null_mut(), 0) as CK_RV, &|| {
                call!(module, C_SessionCancel, session, CKF_VERIFY) as CK_RV
            }] as [&dyn Fn() -> CK_RV; 2]
        {
            init(&good);
            let mut again = mechanism(kind.signs());
            let rv = call!(module, C_VerifySignatureInit, session, &mut again, public, at(&good), len(&good));
            assert_eq!(rv, CKR_OPERATION_ACTIVE);
            assert_eq!(module.verify(session, public, kind.signs(), data, &good), CKR_OK);
            assert_eq!((cancel(), finish()), (CKR_OK, CKR_OPERATION_NOT_INITIALIZED));
        }
        // Nothing is started by what is refused.
        let mut mechanism = mechanism(kind.signs());
        let refused = call!(module, C_VerifySignatureInit, session, &mut mechanism, public, null_mut(), 64);
        assert_eq!((refused, finish()), (CKR_ARGUMENTS_BAD, CKR_OPERATION_NOT_INITIALIZED));
        let refused = call!(module, C_VerifySignatureInit, session, &mut mechanism, private, at(&good), len(&good));
        assert_eq!((refused, finish()), (CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_OPERATION_NOT_INITIALIZED));
    }
}

#[test]
fn two_operations_share_their_data() {
    if !alone("two_operations_share_their_data") {
        return;
    }
    let (_place, module, session) = scene();
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let (mut pkcs, mut sha, mut digest) =
        (mechanism(CKM_RSA_PKCS), mechanism(CKM_SHA256_RSA_PKCS), mechanism(CKM_SHA256));
    let (one, two) = (b"some data ", b"in two parts");
    let all = [&one[..], two].concat();
    let digested = || output(|out, room| call!(module, C_DigestFinal, session, out, room)).unwrap();
    let whole_digest = {
        ok!(module, C_DigestInit, session, &mut digest);
        output(|out, room| call!(module, C_Digest, session, at(&all), len(&all), out, room)).unwrap()
    };

    ok!(module, C_DigestInit, session, &mut digest);
    ok!(module, C_EncryptInit, session, &mut pkcs, public);
    // A length that is asked for gives neither anything.
    let mut size = 9;
    ok!(module, C_DigestEncryptUpdate, session, at(&all), len(&all), null_mut(), &mut size);
    let part = |part: &[u8]| {
        output(|out, room| call!(module, C_DigestEncryptUpdate, session, at(part), len(part), out, room)).unwrap()
    };
    let mut sealed = [part(one), part(two)].concat();
    sealed.extend(output(|out, room| call!(module, C_EncryptFinal, session, out, room)).unwrap());
    assert_eq!(digested(), whole_digest);

    ok!(module, C_SignInit, session, &mut sha, private);
    ok!(module, C_EncryptInit, session, &mut pkcs, public);
    ok!(module, C_SignEncryptUpdate, session, at(&all), len(&all), null_mut(), &mut size);
    let part = |part: &[u8]| {
        output(|out, room| call!(module, C_SignEncryptUpdate, session, at(part), len(part), out, room)).unwrap()
    };
    let mut signed_and_sealed = [part(one), part(two)].concat();
    signed_and_sealed.extend(output(|out, room| call!(module, C_EncryptFinal, session, out, room)).unwrap());
    let signature = output(|out, room| call!(module, C_SignFinal, session, out, room)).unwrap();
    assert_eq!(module.verify(session, public, CKM_SHA256_RSA_PKCS, &all, &signature), CKR_OK);

    // An RSA block comes out at the end, by C_DecryptFinal, and is the caller's to digest (section 5.15.2).
    ok!(module, C_DecryptInit, session, &mut pkcs, private);
    ok!(module, C_DigestInit, session, &mut digest);
    let none = output(|out, room| call!(module, C_DecryptDigestUpdate, session, at(&sealed), 256, out, room)).unwrap();
    assert_eq!(none, b"");
    let plain = output(|out, room| call!(module, C_DecryptFinal, session, out, room)).unwrap();
    assert_eq!(plain, all);
    ok!(module, C_DigestUpdate, session, at(&plain), len(&plain));
    assert_eq!(digested(), whole_digest);

    ok!(module, C_DecryptInit, session, &mut pkcs, private);
    ok!(module, C_VerifyInit, session, &mut sha, public);
    let sealed = signed_and_sealed;
    output(|out, room| call!(module, C_DecryptVerifyUpdate, session, at(&sealed), 256, out, room)).unwrap();
    let plain = output(|out, room| call!(module, C_DecryptFinal, session, out, room)).unwrap();
    ok!(module, C_VerifyUpdate, session, at(&plain), len(&plain));
    ok!(module, C_VerifyFinal, session, at(&signature), 256);

    // Both must be there; what is there is left alone.
    let mut room = 0;
    let dual = || {
        let (data, n) = (at(&all), len(&all));
        let mut room = 1024;
        let mut out = [0; 1024];
        [
            call!(module, C_DigestEncryptUpdate, session, data, n, out.as_mut_ptr(), &mut room),
            call!(module, C_SignEncryptUpdate, session, data, n, out.as_mut_ptr(), &mut room),
            call!(module, C_DecryptDigestUpdate, session, data, n, out.as_mut_ptr(), &mut room),
            call!(module, C_DecryptVerifyUpdate, session, data, n, out.as_mut_ptr(), &mut room),
        ]
    };
    assert_eq!(dual(), [CKR_OPERATION_NOT_INITIALIZED; 4]);
    ok!(module, C_EncryptInit, session, &mut pkcs, public);
    ok!(module, C_DecryptInit, session, &mut pkcs, private);
    assert_eq!(dual(), [CKR_OPERATION_NOT_INITIALIZED; 4]);
    // An error ends the first operation and gives the second nothing.
    ok!(module, C_DigestInit, session, &mut digest);
    ok!(module, C_DigestUpdate, session, at(&all), len(&all));
    let long = [0; 300];
    let rv = call!(module, C_DigestEncryptUpdate, session, at(&long), 300, at(&long), &mut room);
    assert_eq!(rv, CKR_DATA_LEN_RANGE);
    assert_eq!(call!(module, C_EncryptFinal, session, null_mut(), &mut room), CKR_OPERATION_NOT_INITIALIZED);
    let rv = call!(module, C_DecryptDigestUpdate, session, at(&long), 300, at(&long), &mut room);
    assert_eq!(rv, CKR_ENCRYPTED_DATA_LEN_RANGE);
    assert_eq!(call!(module, C_DecryptFinal, session, null_mut(), &mut room), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(digested(), whole_digest);
}

#[test]
fn the_state_of_a_digest_can_be_kept() {
    if !alone("the_state_of_a_digest_can_be_kept") {
        return;
    }
    let (_place, module, session) = scene();
    let save = |session| output(|out, room| call!(module, C_GetOperationState, session, out, room));
    let restore = |session, state: &[u8]| call!(module, C_SetOperationState, session, at(state), len(state), 0, 0);
    let update = |data: &[u8]| ok!(module, C_DigestUpdate, session, at(data), len(data));
    let finish = |session| output(|out, room| call!(module, C_DigestFinal, session, out, room)).unwrap();
    let whole = |id, data: &[u8]| {
        ok!(module, C_DigestInit, session, &mut mechanism(id));
        output(|out, room| call!(module, C_Digest, session, at(data), len(data), out, room)).unwrap()
    };
    assert_eq!(save(session), Err(CKR_OPERATION_NOT_INITIALIZED));
    let other = module.open(true);
    let saveable = [CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512, CKM_SHA512_224, CKM_SHA512_256];
    for id in saveable {
        for before in [0, 80, 128, 300] {
            let data = vec![0x5a; before];
            let expected = whole(id, &[&data[..], b"the end"].concat());
            ok!(module, C_DigestInit, session, &mut mechanism(id));
            update(&data);
            let state = save(session).unwrap();
            // The digest goes on, and so does what was kept, here and in another session of the same state.
            update(b"another end");
            assert_eq!(restore(session, &state), CKR_OK);
            update(b"the end");
            assert_eq!(finish(session), expected, "{id:#x} {before}");
            assert_eq!(restore(other, &state), CKR_OK);
            ok!(module, C_DigestUpdate, other, at(b"the end"), 7);
            assert_eq!(finish(other), expected, "{id:#x} {before}");
        }
    }
    // What nothing went into goes on in one part too.
    let expected = whole(CKM_SHA256, b"data");
    ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA256));
    let state = save(session).unwrap();
    assert_eq!(restore(session, &state), CKR_OK);
    assert_eq!(output(|out, room| call!(module, C_Digest, session, at(b"data"), 4, out, room)), Ok(expected));

    for id in [CKM_SHA3_224, CKM_SHA3_256, CKM_SHA3_384, CKM_SHA3_512] {
        ok!(module, C_DigestInit, session, &mut mechanism(id));
        update(b"data");
        assert_eq!(save(session), Err(CKR_STATE_UNSAVEABLE));
        assert_eq!(finish(session), whole(id, b"data"), "it went on");
    }

    // What was not saved, or not here, or is not needed.
    ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA256));
    update(b"data");
    let state = save(session).unwrap();
    for byte in 0..state.len() {
        let mut bad = state.clone();
        bad[byte] ^= 1;
        assert_eq!(restore(session, &bad), CKR_SAVED_STATE_INVALID, "byte {byte}");
        assert_eq!(restore(session, &state[..byte]), CKR_SAVED_STATE_INVALID, "{byte} bytes");
    }
    assert_eq!(call!(module, C_SetOperationState, session, null_mut(), 9, 0, 0), CKR_ARGUMENTS_BAD);
    for keys in [(1, 0), (0, 1)] {
        let rv = call!(module, C_SetOperationState, session, at(&state), len(&state), keys.0, keys.1);
        assert_eq!(rv, CKR_KEY_NOT_NEEDED);
    }
    assert_eq!(restore(module.open(false), &state), CKR_SAVED_STATE_INVALID, "another state of the session");
    // None of it has disturbed the digest; nor has the wrong size.
    assert_eq!(call!(module, C_GetOperationState, session, at(&state), null_mut()), CKR_ARGUMENTS_BAD);
    let mut room = len(&state) - 1;
    assert_eq!(call!(module, C_GetOperationState, session, at(&state), &mut room), CKR_BUFFER_TOO_SMALL);
    assert_eq!(room, len(&state));
    assert_eq!(finish(session), whole(CKM_SHA256, b"data"));

    // With a key nothing can be saved; restoring ends whatever there is.
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let (mut sha, mut pkcs) = (mechanism(CKM_SHA256_RSA_PKCS), mechanism(CKM_RSA_PKCS));
    ok!(module, C_SignRecoverInit, session, &mut pkcs, private);
    assert_eq!(save(session), Err(CKR_OPERATION_NOT_INITIALIZED), "no operation that could be saved");
    ok!(module, C_FindObjectsInit, session, null_mut(), 0);
    ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA256));
    assert_eq!(save(session), Err(CKR_STATE_UNSAVEABLE), "an operation beside it");
    ok!(module, C_SessionCancel, session, CKF_SIGN_RECOVER | CKF_DIGEST);
    for index in 0..4 {
        match index {
            0 => ok!(module, C_SignInit, session, &mut sha, private),
            1 => ok!(module, C_VerifyInit, session, &mut sha, public),
            2 => ok!(module, C_EncryptInit, session, &mut pkcs, public),
            _ => ok!(module, C_DecryptInit, session, &mut pkcs, private),
        }
        assert_eq!(save(session), Err(CKR_STATE_UNSAVEABLE), "{index}");
    }
    assert_eq!(restore(session, &state), CKR_OK);
    for ended in [
        call!(module, C_SignFinal, session, null_mut(), &mut room),
        call!(module, C_VerifyFinal, session, null_mut(), 0),
        call!(module, C_EncryptFinal, session, null_mut(), &mut room),
        call!(module, C_DecryptFinal, session, null_mut(), &mut room),
        call!(module, C_FindObjectsFinal, session),
    ] {
        assert_eq!(ended, CKR_OPERATION_NOT_INITIALIZED);
    }
    assert_eq!(finish(session), whole(CKM_SHA256, b"data"));
}

#[test]
fn what_there_is_none_of_says_so() {
    if !alone("what_there_is_none_of_says_so") {
        return;
    }
    let (_place, module, session) = scene();
    let mut flags = 99;
    ok!(module, C_GetSessionValidationFlags, session, CKS_LAST_VALIDATION_OK, &mut flags);
    assert_eq!(flags, 0);
    assert_eq!(call!(module, C_GetSessionValidationFlags, session, 77, &mut flags), CKR_ARGUMENTS_BAD);
    let rv = call!(module, C_GetSessionValidationFlags, session, CKS_LAST_VALIDATION_OK, null_mut());
    assert_eq!(rv, CKR_ARGUMENTS_BAD);
    let rv = call!(module, C_GetSessionValidationFlags, 999_999, CKS_LAST_VALIDATION_OK, &mut flags);
    assert_eq!(rv, CKR_SESSION_HANDLE_INVALID);
    // No session is asynchronous.
    let mut handle = 0;
    let asynchronous = CKF_SERIAL_SESSION | CKF_ASYNC_SESSION;
    let rv = call!(module, C_OpenSession, 0, asynchronous, null_mut(), None, &mut handle);
    assert_eq!(rv, CKR_SESSION_ASYNC_NOT_SUPPORTED);
    let name = at(b"C_Sign\0");
    assert_eq!(call!(module, C_AsyncComplete, session, name, null_mut()), CKR_FUNCTION_NOT_SUPPORTED);
    assert_eq!(call!(module, C_AsyncGetID, session, name, &mut handle), CKR_FUNCTION_NOT_SUPPORTED);
    assert_eq!(call!(module, C_AsyncJoin, session, name, 1, null_mut(), 0), CKR_FUNCTION_NOT_SUPPORTED);
    assert_eq!(call!(module, C_SeedRandom, session, name, 6), CKR_RANDOM_SEED_NOT_SUPPORTED);
    // Flags that name nothing, or nothing that is active, are passed over.
    ok!(module, C_SessionCancel, session, 0);
    ok!(module, C_SessionCancel, session, CK_FLAGS::MAX);
    assert_eq!(call!(module, C_SessionCancel, 999_999, 0), CKR_SESSION_HANDLE_INVALID);
}

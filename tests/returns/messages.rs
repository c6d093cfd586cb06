//! Return values of signatures with recovery, of those that come before their data, and of messages.

use super::secret::{Keys, cbc};
use super::{bytes, record};
use crate::Scene;
use crate::host::mechanism;
use cryptoki_sys::*;
use std::ptr::null_mut;

const DATA: &[u8] = b"some data";
const N: CK_ULONG = 9;

/// Calls an `Init` in every way that goes wrong, and twice in the one that does not; it ends nothing.
fn start(
    scene: &Scene,
    good: CK_MECHANISM_TYPE,
    right: CK_OBJECT_HANDLE,
    wrong: &[CK_OBJECT_HANDLE],
    init: impl Fn(&mut CK_MECHANISM, CK_OBJECT_HANDLE),
) {
    init(&mut mechanism(CKM_DES_CBC), right);
    // It takes no parameter.
    init(&mut cbc(good), right);
    wrong.iter().for_each(|key| init(&mut mechanism(good), *key));
    init(&mut mechanism(good), right);
    init(&mut mechanism(good), right);
    record!(scene, C_SessionCancel, scene.session, CK_FLAGS::MAX);
}

pub(crate) fn signatures(scene: &Scene, keys: &Keys) {
    let session = scene.session;
    let (some, mut out) = (bytes(DATA), [0_u8; 600]);
    let to = out.as_mut_ptr();
    let mut sha = mechanism(CKM_SHA256_RSA_PKCS);
    let ((public, private), (ec_public, ec_private)) = (keys.rsa, keys.ec);
    let signature = scene.module.sign(session, private, CKM_SHA256_RSA_PKCS, DATA).expect("a signature");
    let signed = bytes(&signature);

    start(scene, CKM_SHA256_RSA_PKCS, public, &[0, private, ec_public], |way, key| {
        record!(scene, C_VerifySignatureInit, session, way, key, signed, 256)
    });
    record!(scene, C_VerifySignatureInit, session, &mut sha, public, null_mut(), 256);
    record!(scene, C_VerifySignatureInit, session, null_mut(), public, signed, 256);
    for (len, data_len) in [(256, N), (256, N - 1), (5, N)] {
        record!(scene, C_VerifySignatureInit, session, &mut sha, public, signed, len);
        record!(scene, C_VerifySignature, session, some, data_len);
        record!(scene, C_VerifySignatureInit, session, &mut sha, public, signed, len);
        record!(scene, C_VerifySignatureUpdate, session, some, data_len);
        record!(scene, C_VerifySignatureFinal, session);
    }
    record!(scene, C_VerifySignatureInit, session, &mut sha, public, signed, 256);
    record!(scene, C_VerifySignatureUpdate, session, null_mut(), N);
    record!(scene, C_VerifySignatureInit, session, &mut sha, public, signed, 256);
    record!(scene, C_VerifySignature, session, null_mut(), N);
    record!(scene, C_VerifySignatureInit, session, &mut sha, public, signed, 256);
    record!(scene, C_VerifySignatureUpdate, session, some, N);
    record!(scene, C_VerifySignature, session, some, N);
    record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);

    let mut pkcs1 = mechanism(CKM_RSA_PKCS);
    start(scene, CKM_RSA_PKCS, public, &[0, private, ec_public], |way, key| {
        record!(scene, C_VerifyRecoverInit, session, way, key)
    });
    start(scene, CKM_RSA_PKCS, private, &[0, public, ec_private], |way, key| {
        record!(scene, C_SignRecoverInit, session, way, key)
    });
    let recoverable = scene.module.sign(session, private, CKM_RSA_PKCS, DATA).expect("a signature");
    record!(scene, C_VerifyRecover, session, bytes(&recoverable), 256, to, &mut 600);
    for (len, room, first) in [(256, 600, 0), (256, 1, 0), (5, 600, 0), (256, 600, 1)] {
        let mut signature = recoverable.clone();
        signature[200] ^= first;
        record!(scene, C_VerifyRecoverInit, session, &mut pkcs1, public);
        record!(scene, C_VerifyRecover, session, bytes(&signature), len, to, &mut room.clone());
        record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
    }
    record!(scene, C_SignRecoverInit, session, &mut pkcs1, private);
    record!(scene, C_SignRecover, session, to, 300, to, &mut 600);
    record!(scene, C_SignRecoverInit, session, &mut pkcs1, keys.always.1);
    record!(scene, C_SignRecover, session, some, N, to, &mut 600);

    lengths(scene, keys, signed);

    // Arguments that are missing.
    record!(scene, C_VerifyInit, session, &mut sha, public);
    record!(scene, C_Verify, session, null_mut(), N, signed, 256);
    record!(scene, C_VerifyInit, session, &mut sha, public);
    record!(scene, C_VerifyUpdate, session, null_mut(), N);
    record!(scene, C_VerifyInit, session, &mut sha, public);
    record!(scene, C_VerifyUpdate, session, some, N);
    record!(scene, C_VerifyFinal, session, null_mut(), 256);
    record!(scene, C_SignInit, session, &mut sha, private);
    record!(scene, C_SignUpdate, session, null_mut(), N);
    record!(scene, C_SignFinal, session, to, &mut 600);
    record!(scene, C_SignInit, session, &mut pkcs1, private);
    record!(scene, C_SignUpdate, session, to, 300);
    record!(scene, C_SignFinal, session, to, &mut 600);
    record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
    // The login of the key's own.
    record!(scene, C_SignInit, session, &mut sha, keys.always.1);
    scene.login(session, CKU_CONTEXT_SPECIFIC, crate::USER_PIN);
    record!(scene, C_Sign, session, some, N, to, &mut 600);
}

pub(crate) fn messages(scene: &Scene, keys: &Keys) {
    let session = scene.session;
    let (some, mut out) = (bytes(DATA), [0_u8; 600]);
    let (to, null) = (out.as_mut_ptr(), null_mut());
    let ((public, private), (ec_public, ec_private)) = (keys.rsa, keys.ec);
    let mut sha = mechanism(CKM_SHA256_RSA_PKCS);
    start(scene, CKM_SHA256_RSA_PKCS, private, &[0, public, ec_private], |way, key| {
        record!(scene, C_MessageSignInit, session, way, key)
    });
    start(scene, CKM_SHA256_RSA_PKCS, public, &[0, private, ec_public], |way, key| {
        record!(scene, C_MessageVerifyInit, session, way, key)
    });

    record!(scene, C_SignMessage, session, null, 0, some, N, to, &mut 600);
    record!(scene, C_MessageSignInit, session, &mut sha, private);
    record!(scene, C_SignMessageNext, session, null, 0, some, N, to, &mut 600);
    record!(scene, C_SignMessage, session, null, 0, some, N, to, &mut 1);
    record!(scene, C_SignMessage, session, to.cast(), 5, some, N, to, &mut 600);
    record!(scene, C_SignMessage, session, null, 0, null_mut(), N, to, &mut 600);
    record!(scene, C_SignMessage, session, null, 0, some, N, to, &mut 600);
    let signature = out[..256].to_vec();
    record!(scene, C_SignMessageBegin, session, to.cast(), 5);
    record!(scene, C_SignMessageBegin, session, null, 0);
    record!(scene, C_SignMessageBegin, session, null, 0);
    record!(scene, C_SignMessage, session, null, 0, some, N, to, &mut 600);
    record!(scene, C_MessageSignFinal, session);
    record!(scene, C_SignMessageNext, session, null, 0, some, N, null_mut(), null_mut());
    record!(scene, C_SignMessageNext, session, null, 0, some, N, to, &mut 1);
    record!(scene, C_SignMessageNext, session, null, 0, some, N, to, &mut 600);
    for (parameter_len, part) in [(5, some), (0, null_mut())] {
        record!(scene, C_SignMessageBegin, session, null, 0);
        record!(scene, C_SignMessageNext, session, to.cast(), parameter_len, part, N, null_mut(), null_mut());
    }
    record!(scene, C_MessageSignFinal, session);
    record!(scene, C_MessageSignInit, session, &mut mechanism(CKM_RSA_PKCS), private);
    record!(scene, C_SignMessage, session, null, 0, to, 300, to, &mut 600);
    record!(scene, C_SignMessageBegin, session, null, 0);
    record!(scene, C_SignMessageNext, session, null, 0, to, 300, to, &mut 600);
    record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
    record!(scene, C_MessageSignInit, session, &mut sha, keys.always.1);
    record!(scene, C_SignMessage, session, null, 0, some, N, to, &mut 600);
    record!(scene, C_SignMessageBegin, session, null, 0);
    record!(scene, C_SignMessageNext, session, null, 0, some, N, to, &mut 600);
    record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);

    let signed = bytes(&signature);
    record!(scene, C_MessageVerifyInit, session, &mut sha, public);
    for (parameter_len, data, data_len, len) in
        [(0, some, N, 256), (0, some, N - 1, 256), (0, some, N, 5), (5, some, N, 256), (0, null_mut(), N, 256)]
    {
        record!(scene, C_VerifyMessage, session, to.cast(), parameter_len, data, data_len, signed, len);
        record!(scene, C_VerifyMessageBegin, session, null, 0);
        record!(scene, C_VerifyMessageNext, session, to.cast(), parameter_len, data, data_len, signed, len);
    }
    record!(scene, C_VerifyMessageBegin, session, to.cast(), 5);
    record!(scene, C_VerifyMessageBegin, session, null, 0);
    record!(scene, C_VerifyMessageBegin, session, null, 0);
    record!(scene, C_VerifyMessage, session, null, 0, some, N, signed, 256);
    record!(scene, C_MessageVerifyFinal, session);
    record!(scene, C_VerifyMessageNext, session, null, 0, some, N, null_mut(), 0);
    record!(scene, C_VerifyMessageNext, session, null, 0, some, 0, signed, 256);
    record!(scene, C_MessageVerifyFinal, session);
}

/// Digests that are none of the named hash: too short for it, and too long.
fn lengths(scene: &Scene, keys: &Keys, signed: *mut CK_BYTE) {
    let session = scene.session;
    let (some, mut out) = (bytes(DATA), [0_u8; 600]);
    let (to, null, (public, private)) = (out.as_mut_ptr(), null_mut(), keys.rsa);
    let mut params = CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 };
    let mut pss = mechanism(CKM_RSA_PKCS_PSS);
    (pss.pParameter, pss.ulParameterLen) = ((&raw mut params).cast(), size_of_val(&params) as CK_ULONG);

    record!(scene, C_SignInit, session, &mut pss, private);
    record!(scene, C_SignUpdate, session, some, N);
    record!(scene, C_SignFinal, session, to, &mut 600);
    record!(scene, C_VerifyInit, session, &mut pss, public);
    record!(scene, C_Verify, session, some, N, signed, 256);
    record!(scene, C_VerifySignatureInit, session, &mut pss, public, signed, 256);
    record!(scene, C_VerifySignature, session, some, N);
    for (data, len) in [(some, N), (to, 300)] {
        record!(scene, C_VerifyInit, session, &mut pss, public);
        record!(scene, C_VerifyUpdate, session, data, len);
        record!(scene, C_VerifyFinal, session, signed, 256);
        record!(scene, C_VerifySignatureInit, session, &mut pss, public, signed, 256);
        record!(scene, C_VerifySignatureUpdate, session, data, len);
        record!(scene, C_VerifySignatureFinal, session);
        record!(scene, C_MessageVerifyInit, session, &mut pss, public);
        record!(scene, C_VerifyMessage, session, null, 0, data, len, signed, 256);
        record!(scene, C_VerifyMessageBegin, session, null, 0);
        record!(scene, C_VerifyMessageNext, session, null, 0, data, len, signed, 256);
        record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
    }
}

pub(crate) fn ciphers(scene: &Scene, keys: &Keys) {
    let session = scene.session;
    let (some, mut out) = (bytes(DATA), [0_u8; 600]);
    let (to, null) = (out.as_mut_ptr(), null_mut());
    let (mut iv, mut tag) = ([7_u8; 12], [0_u8; 16]);
    let mut gcm = CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvFixedBits: 0,
        ivGenerator: CKG_NO_GENERATE,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 128,
    };
    let (params, n) = ((&raw mut gcm).cast(), size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG);
    start(scene, CKM_AES_GCM, keys.aes, &[0, keys.rsa.0, keys.rsa.1, keys.ec.0], |way, key| {
        record!(scene, C_MessageEncryptInit, session, way, key)
    });
    start(scene, CKM_AES_GCM, keys.aes, &[0, keys.rsa.0, keys.rsa.1, keys.ec.0], |way, key| {
        record!(scene, C_MessageDecryptInit, session, way, key)
    });
    let mut generic_encrypt = mechanism(CKM_AES_GCM);
    record!(scene, C_MessageEncryptInit, session, &mut generic_encrypt, keys.generic);
    record!(scene, C_MessageDecryptInit, session, &mut generic_encrypt, keys.generic);
    macro_rules! direction {
        ($init:ident, $whole:ident, $begin:ident, $next:ident, $last:ident, $data:expr) => {
            let data = $data;
            record!(scene, $whole, session, params, n, null_mut(), 0, data, N, to, &mut 600);
            record!(scene, $next, session, params, n, data, N, to, &mut 600, 0);
            record!(scene, $init, session, &mut mechanism(CKM_AES_GCM), keys.aes);
            record!(scene, $next, session, params, n, data, N, to, &mut 600, 0);
            record!(scene, $whole, session, params, n, null_mut(), 0, data, N, to, &mut 1);
            record!(scene, $whole, session, null, 0, null_mut(), 0, data, N, to, &mut 600);
            record!(scene, $whole, session, params, n, null_mut(), 5, data, N, to, &mut 600);
            record!(scene, $whole, session, params, n, null_mut(), 0, data, N, to, &mut 600);
            record!(scene, $begin, session, null, 0, null_mut(), 0);
            record!(scene, $begin, session, params, n, null_mut(), 5);
            record!(scene, $begin, session, params, n, null_mut(), 0);
            record!(scene, $begin, session, params, n, null_mut(), 0);
            record!(scene, $whole, session, params, n, null_mut(), 0, data, N, to, &mut 600);
            record!(scene, $last, session);
            record!(scene, $next, session, params, n, data, N, to, &mut 1, 0);
            record!(scene, $next, session, params, n, data, N, to, &mut 600, CKF_END_OF_MESSAGE);
            record!(scene, $begin, session, params, n, null_mut(), 0);
            record!(scene, $next, session, null, 0, data, N, to, &mut 600, CKF_END_OF_MESSAGE);
            record!(scene, $begin, session, params, n, null_mut(), 0);
            record!(scene, $next, session, params, n, null_mut(), N, to, &mut 600, CKF_END_OF_MESSAGE);
            record!(scene, $last, session);
        };
    }
    direction!(
        C_MessageEncryptInit,
        C_EncryptMessage,
        C_EncryptMessageBegin,
        C_EncryptMessageNext,
        C_MessageEncryptFinal,
        some
    );
    let sealed = out[..DATA.len()].to_vec();
    direction!(
        C_MessageDecryptInit,
        C_DecryptMessage,
        C_DecryptMessageBegin,
        C_DecryptMessageNext,
        C_MessageDecryptFinal,
        bytes(&sealed)
    );
    // What was tampered with.
    record!(scene, C_MessageDecryptInit, session, &mut mechanism(CKM_AES_GCM), keys.aes);
    record!(scene, C_DecryptMessage, session, params, n, some, N, bytes(&sealed), N, to, &mut 600);
    record!(scene, C_DecryptMessageBegin, session, params, n, some, N);
    record!(scene, C_DecryptMessageNext, session, params, n, bytes(&sealed), N, to, &mut 600, CKF_END_OF_MESSAGE);
    record!(scene, C_MessageDecryptFinal, session);
}

//! Return values of what secret keys do: streams, digests of keys, saved states, keys that are made and that travel.

use super::{bytes, record};
use crate::host::{Kind, attr, mechanism, ok};
use crate::{Given, NO, Scene, YES};
use cryptoki_sys::*;
use std::ptr::{from_mut, null_mut};

const IV: [u8; 16] = [7; 16];
const DATA: [u8; 32] = [0x31; 32];
const SECRET: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_CLASS, &CKO_SECRET_KEY.to_ne_bytes());
const AES: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_KEY_TYPE, &CKK_AES.to_ne_bytes());
const GENERIC: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_KEY_TYPE, &CKK_GENERIC_SECRET.to_ne_bytes());
const SIXTEEN: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_VALUE_LEN, &16_u64.to_ne_bytes());
const OPEN: [(CK_ATTRIBUTE_TYPE, &[u8]); 2] = [(CKA_SENSITIVE, NO), (CKA_EXTRACTABLE, YES)];

/// Keys of every sort that the calls are tried with.
pub(crate) struct Keys {
    pub(crate) aes: CK_OBJECT_HANDLE,
    /// Does nothing with its own type's mechanisms but what is told.
    open: CK_OBJECT_HANDLE,
    /// Of a type that no cipher takes.
    pub(crate) generic: CK_OBJECT_HANDLE,
    pub(crate) rsa: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    pub(crate) ec: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    pub(crate) always: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    /// Everybody may see it, and only the user may use it.
    pub(crate) seen: CK_OBJECT_HANDLE,
    data: CK_OBJECT_HANDLE,
}

impl Keys {
    pub(crate) fn new(scene: &Scene) -> Self {
        let session = scene.session;
        let create = |more: Given<'_>| {
            let template = [&[SECRET, (CKA_VALUE, &[0x42; 16])], more].concat();
            scene.create(session, &template)
        };
        let bits = (CKA_MODULUS_BITS, &2048_u64.to_ne_bytes()[..]);
        let always = (CKA_ALWAYS_AUTHENTICATE, YES);
        let rsa = scene.module.generate(session, Kind::Rsa(2048), b"rsa 2");
        for (key, permits) in [(rsa.0, CKA_ENCAPSULATE), (rsa.1, CKA_DECAPSULATE)] {
            ok!(scene.module, C_SetAttributeValue, session, key, &mut attr(permits, YES), 1);
        }
        Self {
            aes: create(&[AES, (CKA_PRIVATE, NO), (CKA_TOKEN, YES)]),
            open: create(&[AES, OPEN[0], OPEN[1], (CKA_ENCRYPT, NO), (CKA_WRAP, NO)]),
            generic: create(&[
                GENERIC,
                OPEN[0],
                (CKA_ENCRYPT, YES),
                (CKA_DECRYPT, YES),
                (CKA_WRAP, YES),
                (CKA_UNWRAP, YES),
            ]),
            rsa,
            ec: scene.module.generate(session, Kind::P256, b"ec 2"),
            always: scene.pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &[bits], &[always]),
            seen: scene
                .pair(
                    session,
                    CKM_RSA_PKCS_KEY_PAIR_GEN,
                    &[bits],
                    &[(CKA_PRIVATE, NO), (CKA_TOKEN, YES), (CKA_DECAPSULATE, YES)],
                )
                .1,
            data: scene.create(session, &[(CKA_CLASS, &CKO_DATA.to_ne_bytes())]),
        }
    }
}

pub(crate) fn cbc(id: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: id, pParameter: bytes(&IV).cast(), ulParameterLen: 16 }
}

/// A mechanism that stays where it is until the process ends.
fn kept(mechanism: CK_MECHANISM) -> *mut CK_MECHANISM {
    Box::leak(Box::new(mechanism))
}

fn with<T>(id: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    let len = size_of::<T>() as CK_ULONG;
    CK_MECHANISM { mechanism: id, pParameter: from_mut(parameter).cast(), ulParameterLen: len }
}

pub(crate) fn streams(scene: &Scene, keys: &Keys) {
    let session = scene.session;
    let (data, n) = (bytes(&DATA), DATA.len() as CK_ULONG);
    let mut out = [0_u8; 600];
    let to = out.as_mut_ptr();
    // What starts nothing.
    for key in [keys.generic, keys.open, keys.data] {
        record!(scene, C_EncryptInit, session, &mut cbc(CKM_AES_CBC), key);
        record!(scene, C_DecryptInit, session, &mut cbc(CKM_AES_CBC), key);
        record!(scene, C_SignInit, session, &mut mechanism(CKM_AES_CMAC), key);
        record!(scene, C_VerifyInit, session, &mut mechanism(CKM_AES_CMAC), key);
        record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
    }
    macro_rules! direction {
        ($init:ident, $whole:ident, $update:ident, $last:ident, $rsa:expr) => {
            let begin = |id| record!(scene, $init, session, &mut cbc(id), keys.aes);
            record!(scene, $update, session, data, n, to, &mut 600);
            record!(scene, $last, session, to, &mut 600);
            begin(CKM_AES_CBC);
            record!(scene, $update, session, data, n, to, &mut 1);
            record!(scene, $update, session, data, n, to, &mut 600);
            record!(scene, $whole, session, data, n, to, &mut 600);
            begin(CKM_AES_CBC);
            record!(scene, $update, session, data, n, to, &mut 600);
            record!(scene, $last, session, to, &mut 600);
            begin(CKM_AES_CBC);
            record!(scene, $update, session, data, n - 1, to, &mut 600);
            record!(scene, $last, session, to, &mut 600);
            begin(CKM_AES_CBC);
            record!(scene, $update, session, null_mut(), n, to, &mut 600);
            begin(CKM_AES_CBC);
            record!(scene, $whole, session, data, n - 1, to, &mut 600);
            begin(CKM_AES_CBC);
            record!(scene, $whole, session, data, n, to, &mut 1);
            record!(scene, $whole, session, data, n, to, &mut 600);
            begin(CKM_AES_CBC_PAD);
            record!(scene, $whole, session, data, n, to, &mut 600);
            // More than a block is too much for RSA.
            record!(scene, $init, session, &mut mechanism(CKM_RSA_PKCS), $rsa);
            record!(scene, $update, session, to, 300, to, &mut 600);
            record!(scene, $init, session, &mut mechanism(CKM_RSA_PKCS), $rsa);
            record!(scene, $update, session, to, 250, to, &mut 600);
            record!(scene, $last, session, to, &mut 600);
        };
    }
    direction!(C_EncryptInit, C_Encrypt, C_EncryptUpdate, C_EncryptFinal, keys.rsa.0);
    direction!(C_DecryptInit, C_Decrypt, C_DecryptUpdate, C_DecryptFinal, keys.rsa.1);
    record!(scene, C_EncryptInit, session, &mut cbc(CKM_AES_CBC_PAD), keys.aes);
    record!(scene, C_EncryptFinal, session, to, &mut 1);
    record!(scene, C_EncryptFinal, session, to, &mut 600);
    let mut sealed_len = 600;
    record!(scene, C_EncryptInit, session, &mut cbc(CKM_AES_CBC_PAD), keys.aes);
    record!(scene, C_Encrypt, session, data, n, to, &mut sealed_len);
    let mut sealed = out[..sealed_len as usize].to_vec();
    for room in [1, 600] {
        record!(scene, C_DecryptInit, session, &mut cbc(CKM_AES_CBC_PAD), keys.aes);
        record!(scene, C_DecryptUpdate, session, sealed.as_mut_ptr(), sealed_len, to, &mut 600);
        record!(scene, C_DecryptFinal, session, to, &mut room.clone());
        record!(scene, C_DecryptUpdate, session, sealed.as_mut_ptr(), sealed_len, to, &mut 600);
        record!(scene, C_SessionCancel, session, CKF_DECRYPT);
    }
    record!(scene, C_DecryptInit, session, &mut cbc(CKM_AES_CBC_PAD), keys.aes);
    record!(scene, C_DecryptUpdate, session, data, n, to, &mut 600);
    record!(scene, C_DecryptFinal, session, to, &mut 600);
    let mut gcm =
        CK_GCM_PARAMS { pIv: bytes(&IV), ulIvLen: 12, ulIvBits: 96, pAAD: null_mut(), ulAADLen: 0, ulTagBits: 128 };
    record!(scene, C_DecryptInit, session, &mut with(CKM_AES_GCM, &mut gcm), keys.aes);
    record!(scene, C_Decrypt, session, data, n, to, &mut 600);
    record!(scene, C_DecryptInit, session, &mut with(CKM_AES_GCM, &mut gcm), keys.aes);
    record!(scene, C_DecryptUpdate, session, data, n, to, &mut 600);
    record!(scene, C_DecryptFinal, session, to, &mut 600);
    // A key that wants its own login.
    record!(scene, C_DecryptInit, session, &mut mechanism(CKM_RSA_PKCS), keys.always.1);
    record!(scene, C_Decrypt, session, to, 256, to, &mut 600);
    record!(scene, C_DecryptInit, session, &mut mechanism(CKM_RSA_PKCS), keys.always.1);
    record!(scene, C_DecryptUpdate, session, to, 256, to, &mut 600);
    record!(scene, C_DecryptFinal, session, to, &mut 600);

    macro_rules! dual {
        ($function:ident, $one:ident, $other:ident, $hash:ident $(, $key:expr)?) => {
            record!(scene, $function, session, data, n, to, &mut 600);
            record!(scene, $one, session, &mut cbc(CKM_AES_CBC), keys.aes);
            record!(scene, $other, session, &mut mechanism($hash) $(, $key)?);
            record!(scene, $function, session, data, n, to, &mut 1);
            record!(scene, $function, session, data, n, to, &mut 600);
            record!(scene, C_SessionCancel, session, CK_FLAGS::MAX);
        };
    }
    dual!(C_DigestEncryptUpdate, C_EncryptInit, C_DigestInit, CKM_SHA256);
    dual!(C_DecryptDigestUpdate, C_DecryptInit, C_DigestInit, CKM_SHA256);
    dual!(C_SignEncryptUpdate, C_EncryptInit, C_SignInit, CKM_SHA256_RSA_PKCS, keys.rsa.1);
    dual!(C_DecryptVerifyUpdate, C_DecryptInit, C_VerifyInit, CKM_SHA256_RSA_PKCS, keys.rsa.0);
}

pub(crate) fn digests(scene: &Scene, keys: &Keys) {
    let session = scene.session;
    let mut state = [0_u8; 600];
    let (to, mut len) = (state.as_mut_ptr(), 600);
    let digest = |id| record!(scene, C_DigestInit, session, &mut mechanism(id));
    record!(scene, C_GetOperationState, session, to, &mut 600);
    digest(CKM_SHA3_256);
    record!(scene, C_GetOperationState, session, to, &mut 600);
    record!(scene, C_SessionCancel, session, CKF_DIGEST);
    digest(CKM_SHA256);
    record!(scene, C_GetOperationState, session, to, &mut 1);
    record!(scene, C_GetOperationState, session, to, &mut len);
    for (from, len, key) in [(to, len, keys.aes), (to, len - 1, 0), (null_mut(), len, 0), (to, len, 0)] {
        record!(scene, C_SetOperationState, session, from, len, 0, key);
    }
    record!(scene, C_DigestUpdate, session, null_mut(), 5);
    record!(scene, C_DigestFinal, session, to, &mut 600);
    for key in [keys.open, keys.aes, keys.rsa.0, keys.data, 0] {
        digest(CKM_SHA256);
        record!(scene, C_DigestKey, session, key);
        record!(scene, C_SessionCancel, session, CKF_DIGEST);
    }
}

pub(crate) fn made(scene: &Scene, reading: CK_SESSION_HANDLE) {
    let session = scene.session;
    let generate = |session, way: &mut CK_MECHANISM, template: Given<'_>| {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        record!(scene, C_GenerateKey, session, way, first, count, &mut 0);
    };
    let mut aes = mechanism(CKM_AES_KEY_GEN);
    for template in [
        &[SIXTEEN][..],
        &[],
        &[SIXTEEN, GENERIC],
        &[(CKA_VALUE_LEN, &17_u64.to_ne_bytes())],
        &[(CKA_VALUE_LEN, b"1")],
        &[SIXTEEN, (CKA_VALUE, b"x")],
        &[SIXTEEN, (CKA_VENDOR_DEFINED | 0x1234, b"x")],
        &[SIXTEEN, (CKA_LABEL, b"a"), (CKA_LABEL, b"b")],
    ] {
        generate(session, &mut aes, template);
    }
    generate(session, &mut cbc(CKM_AES_KEY_GEN), &[SIXTEEN]);
    generate(session, &mut mechanism(CKM_AES_CBC), &[SIXTEEN]);
    let mut pair = [0; 2];
    let (public, private) = pair.split_at_mut(1);
    let mut way = cbc(CKM_EC_KEY_PAIR_GEN);
    let null = null_mut();
    record!(scene, C_GenerateKeyPair, session, &mut way, null, 0, null_mut(), 0, &mut public[0], &mut private[0]);
    generate(session, &mut mechanism(CKM_GENERIC_SECRET_KEY_GEN), &[(CKA_VALUE_LEN, &5000_u64.to_ne_bytes())]);
    generate(reading, &mut aes, &[SIXTEEN, (CKA_TOKEN, YES)]);
    // Everybody sees it, and nobody changes it without what vouches for it.
    let seen = scene.create(session, &[SECRET, AES, (CKA_VALUE, &DATA), (CKA_PRIVATE, NO), (CKA_TOKEN, YES)]);
    ok!(scene.module, C_Logout, session);
    generate(session, &mut aes, &[SIXTEEN]);
    scene.set(session, seen, CKA_LABEL, b"x");
    scene.module.login(session);
}

/// A key for one-time passwords whose last counter is gone, and one that is gone itself.
pub(crate) fn passwords(scene: &Scene) {
    let session = scene.session;
    let (class, kind) = (CKO_OTP_KEY.to_ne_bytes(), CKK_HOTP.to_ne_bytes());
    let (mut out, password) = ([0; 200], bytes(b"123456"));
    let to = out.as_mut_ptr();
    let no = null_mut();
    let hotp = || mechanism(CKM_HOTP);
    for is_gone in [false, true] {
        for how in 0..6 {
            let last = (CKA_OTP_COUNTER, &[0xff; 8][..]);
            let key = scene.create(session, &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_VALUE, &[7; 20]), last]);
            match how {
                0 | 1 => record!(scene, C_SignInit, session, &mut hotp(), key),
                2 | 3 => record!(scene, C_VerifyInit, session, &mut hotp(), key),
                _ => record!(scene, C_VerifySignatureInit, session, &mut hotp(), key, password, 6),
            }
            if is_gone {
                record!(scene, C_DestroyObject, session, key);
            }
            match how {
                0 => record!(scene, C_Sign, session, no, 0, to, &mut 200),
                1 => record!(scene, C_SignFinal, session, to, &mut 200),
                2 => record!(scene, C_Verify, session, no, 0, password, 6),
                3 => record!(scene, C_VerifyFinal, session, password, 6),
                4 => record!(scene, C_VerifySignature, session, no, 0),
                _ => record!(scene, C_VerifySignatureFinal, session),
            }
        }
    }
}

pub(crate) fn travelling(scene: &Scene, keys: &Keys, reading: CK_SESSION_HANDLE) {
    let (module, session) = (scene.module, scene.session);
    let mut out = [0_u8; 600];
    let to = out.as_mut_ptr();
    let extractable = scene.create(session, &[SECRET, AES, (CKA_VALUE, &[0x42; 16]), (CKA_EXTRACTABLE, YES)]);
    let odd = scene.create(session, &[SECRET, GENERIC, (CKA_VALUE, &[1; 300]), OPEN[0], OPEN[1]]);
    let (mut kw, mut pkcs1) = (mechanism(CKM_AES_KEY_WRAP), mechanism(CKM_RSA_PKCS));
    let mut wrapped = Vec::new();
    for (way, with, key, room) in [
        (&raw mut kw, 0, keys.open, 600),
        (&raw mut kw, keys.data, keys.open, 600),
        (&raw mut kw, keys.open, keys.open, 600),
        (&raw mut kw, keys.generic, keys.open, 600),
        (&raw mut kw, keys.aes, 0, 600),
        (&raw mut kw, keys.aes, keys.aes, 600),
        (&raw mut kw, keys.aes, extractable, 600),
        (&raw mut kw, keys.aes, keys.open, 1),
        (&raw mut kw, keys.aes, keys.open, 600),
        (&raw mut pkcs1, keys.rsa.0, odd, 600),
        (kept(cbc(CKM_AES_KEY_WRAP)), keys.aes, keys.open, 600),
        (kept(mechanism(CKM_AES_CTR)), keys.aes, keys.open, 600),
    ] {
        let mut len = room;
        record!(scene, C_WrapKey, session, way, with, key, to, &mut len);
        if len == 24 && room == 600 {
            wrapped = out[..24].to_vec();
        }
    }
    assert_eq!(wrapped.len(), 24);
    let unwrap = |session, way: *mut CK_MECHANISM, with, from: &[u8], template: Given<'_>| {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let (first, count, len) = (template.as_mut_ptr(), template.len() as CK_ULONG, from.len() as CK_ULONG);
        record!(scene, C_UnwrapKey, session, way, with, bytes(from), len, first, count, &mut 0);
    };
    let aes: Given<'_> = &[SECRET, AES];
    for (with, from, template) in [
        (keys.aes, &wrapped[..], aes),
        (0, &wrapped, aes),
        (keys.generic, &wrapped, aes),
        (keys.rsa.0, &wrapped, aes),
        (keys.aes, &[5; 24], aes),
        (keys.aes, &[5; 23], aes),
        (keys.aes, &wrapped, &[]),
        (keys.aes, &wrapped, &[SECRET, AES, (CKA_VALUE, b"x")]),
        (keys.aes, &wrapped, &[SECRET, AES, (CKA_TOKEN, b"12")]),
        (keys.aes, &wrapped, &[SECRET, AES, (CKA_VENDOR_DEFINED | 0x1234, b"x")]),
        (keys.aes, &wrapped, &[SECRET, AES, (CKA_LABEL, b"a"), (CKA_LABEL, b"b")]),
    ] {
        unwrap(session, &raw mut kw, with, from, template);
    }
    unwrap(session, kept(cbc(CKM_AES_KEY_WRAP)), keys.aes, &wrapped, aes);
    let no_unwrap = scene.create(session, &[SECRET, AES, (CKA_VALUE, &[1; 16]), (CKA_UNWRAP, NO)]);
    unwrap(session, &raw mut kw, no_unwrap, &wrapped, aes);
    unwrap(session, kept(mechanism(CKM_AES_CTR)), keys.aes, &wrapped, aes);
    unwrap(reading, &raw mut kw, keys.aes, &wrapped, &[SECRET, AES, (CKA_TOKEN, YES)]);

    authenticated(scene, keys, reading);
    encapsulated(scene, keys, reading);
    derived(scene, reading);

    // Everybody sees them, and only the user may use them.
    ok!(module, C_Logout, session);
    let public = [SECRET, AES, (CKA_PRIVATE, NO)];
    unwrap(session, &raw mut kw, keys.aes, &wrapped, &public);
    let open = scene.create(session, &[SECRET, AES, (CKA_VALUE, &[1; 16]), OPEN[0], OPEN[1], (CKA_PRIVATE, NO)]);
    record!(scene, C_WrapKey, session, &mut kw, keys.aes, open, to, &mut 600);
    let params = &mut CK_GCM_MESSAGE_PARAMS {
        pIv: to,
        ulIvLen: 12,
        ulIvFixedBits: 0,
        ivGenerator: CKG_NO_GENERATE,
        pTag: to.wrapping_add(16),
        ulTagBits: 128,
    };
    let (mut gcm, mut none) = (with(CKM_AES_GCM, params), mechanism(CKM_AES_GCM));
    let mut template = public.map(|(attribute, value)| attr(attribute, value));
    let first = template.as_mut_ptr();
    let null = null_mut();
    record!(scene, C_WrapKeyAuthenticated, session, &mut gcm, keys.aes, open, null, 0, to, &mut 600);
    record!(scene, C_UnwrapKeyAuthenticated, session, &mut gcm, keys.aes, to, 16, first, 3, null, 0, &mut 0);
    let (mut rsa, mut sign) = (mechanism(CKM_RSA_PKCS), mechanism(CKM_SHA256_RSA_PKCS));
    let mut string = CK_KEY_DERIVATION_STRING_DATA { pData: bytes(&DATA), ulLen: 16 };
    let mut ecb = with(CKM_AES_ECB_ENCRYPT_DATA, &mut string);
    record!(scene, C_DeriveKey, session, &mut ecb, keys.aes, first, 3, &mut 0);
    let mut hidden = [attr(AES.0, AES.1), attr(SIXTEEN.0, SIXTEEN.1)];
    record!(scene, C_EncapsulateKey, session, &mut rsa, keys.rsa.0, hidden.as_mut_ptr(), 2, to, &mut 600, &mut 0);
    record!(scene, C_DecapsulateKey, session, &mut rsa, keys.seen, first, 3, to, 256, &mut 0);
    record!(scene, C_SignInit, session, &mut sign, keys.seen);
    record!(scene, C_DecryptInit, session, &mut rsa, keys.seen);
    record!(scene, C_SignRecoverInit, session, &mut rsa, keys.seen);
    record!(scene, C_MessageSignInit, session, &mut sign, keys.seen);
    record!(scene, C_EncryptInit, session, &mut cbc(CKM_AES_CBC), keys.aes);
    record!(scene, C_VerifyInit, session, &mut mechanism(CKM_AES_CMAC), keys.aes);
    record!(scene, C_MessageVerifyInit, session, &mut mechanism(CKM_AES_CMAC), keys.aes);
    record!(scene, C_VerifySignatureInit, session, &mut mechanism(CKM_AES_CMAC), keys.aes, to, 16);
    record!(scene, C_MessageEncryptInit, session, &mut none, keys.aes);
    record!(scene, C_MessageDecryptInit, session, &mut none, keys.aes);
    module.login(session);
}

fn authenticated(scene: &Scene, keys: &Keys, reading: CK_SESSION_HANDLE) {
    let session = scene.session;
    let (mut iv, mut tag, mut out) = ([7_u8; 12], [0_u8; 16], [0_u8; 64]);
    let mut params = CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvFixedBits: 0,
        ivGenerator: CKG_NO_GENERATE,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 128,
    };
    let (mut gcm, to, null) = (with(CKM_AES_GCM, &mut params), out.as_mut_ptr(), null_mut());
    let hidden = scene.create(session, &[SECRET, AES, (CKA_VALUE, &[0x42; 16]), (CKA_EXTRACTABLE, YES)]);
    for (way, under, key, room) in [
        (&raw mut gcm, keys.aes, keys.open, 1),
        (&raw mut gcm, 0, keys.open, 64),
        (&raw mut gcm, keys.generic, keys.open, 64),
        (&raw mut gcm, keys.open, keys.open, 64),
        (&raw mut gcm, keys.aes, 0, 64),
        (&raw mut gcm, keys.aes, keys.aes, 64),
        (&raw mut gcm, keys.aes, hidden, 64),
        (kept(mechanism(CKM_AES_GCM)), keys.aes, keys.open, 64),
        (kept(mechanism(CKM_AES_KEY_WRAP)), keys.aes, keys.open, 64),
        (&raw mut gcm, keys.aes, keys.open, 64),
    ] {
        record!(scene, C_WrapKeyAuthenticated, session, way, under, key, null, 0, to, &mut room.clone());
    }
    let unwrap = |session, way: *mut CK_MECHANISM, under, aad_len, template: Given<'_>| {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let aad = bytes(&DATA);
        record!(scene, C_UnwrapKeyAuthenticated, session, way, under, to, 16, first, count, aad, aad_len, &mut 0);
    };
    let aes: Given<'_> = &[SECRET, AES];
    for (under, aad_len, template) in [
        (keys.aes, 0, aes),
        (keys.aes, 1, aes),
        (0, 0, aes),
        (keys.generic, 0, aes),
        (keys.rsa.0, 0, aes),
        (keys.aes, 0, &[]),
        (keys.aes, 0, &[SECRET, AES, (CKA_VALUE_LEN, &32_u64.to_ne_bytes())]),
        (keys.aes, 0, &[SECRET, AES, (CKA_VALUE, b"x")]),
        (keys.aes, 0, &[SECRET, AES, (CKA_TOKEN, b"12")]),
        (keys.aes, 0, &[SECRET, AES, (CKA_VENDOR_DEFINED | 0x1234, b"x")]),
        (keys.aes, 0, &[SECRET, AES, (CKA_LABEL, b"a"), (CKA_LABEL, b"b")]),
    ] {
        unwrap(session, &raw mut gcm, under, aad_len, template);
    }
    unwrap(session, kept(mechanism(CKM_AES_GCM)), keys.aes, 0, aes);
    unwrap(session, kept(mechanism(CKM_AES_KEY_WRAP)), keys.aes, 0, aes);
    unwrap(reading, &raw mut gcm, keys.aes, 0, &[SECRET, AES, (CKA_TOKEN, YES)]);
}

fn encapsulated(scene: &Scene, keys: &Keys, reading: CK_SESSION_HANDLE) {
    let session = scene.session;
    let mut out = [0_u8; 600];
    let to = out.as_mut_ptr();
    let good: Given<'_> = &[AES, SIXTEEN];
    for (session, id, key, template, room) in [
        (session, CKM_RSA_PKCS, keys.rsa, good, 1),
        (session, CKM_RSA_PKCS, keys.rsa, good, 600),
        (session, CKM_RSA_PKCS, (0, 0), good, 600),
        (session, CKM_RSA_PKCS, (keys.rsa.1, keys.rsa.0), good, 600),
        (session, CKM_ML_KEM, keys.rsa, good, 600),
        (session, CKM_SHA256, keys.rsa, good, 600),
        (session, CKM_RSA_PKCS_OAEP, keys.rsa, good, 600),
        (session, CKM_RSA_PKCS, keys.rsa, &[AES], 600),
        (session, CKM_RSA_PKCS, keys.rsa, &[AES, (CKA_VALUE_LEN, &17_u64.to_ne_bytes())], 600),
        (session, CKM_RSA_PKCS, keys.rsa, &[GENERIC, (CKA_VALUE_LEN, &250_u64.to_ne_bytes())], 600),
        (session, CKM_RSA_PKCS, keys.rsa, &[AES, SIXTEEN, (CKA_VALUE, b"x")], 600),
        (session, CKM_RSA_PKCS, keys.rsa, &[AES, SIXTEEN, (CKA_VENDOR_DEFINED | 0x1234, b"x")], 600),
        (session, CKM_RSA_PKCS, keys.rsa, &[AES, SIXTEEN, (CKA_LABEL, b"a"), (CKA_LABEL, b"b")], 600),
        (reading, CKM_RSA_PKCS, keys.rsa, &[AES, SIXTEEN, (CKA_TOKEN, YES)], 600),
    ] {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let (first, count, mut way) = (template.as_mut_ptr(), template.len() as CK_ULONG, mechanism(id));
        record!(scene, C_EncapsulateKey, session, &mut way, key.0, first, count, to, &mut room.clone(), &mut 0);
        record!(scene, C_DecapsulateKey, session, &mut way, key.1, first, count, to, 256, &mut 0);
    }
    let mut template = [attr(AES.0, AES.1), attr(SIXTEEN.0, SIXTEEN.1)];
    let (first, mut way) = (template.as_mut_ptr(), mechanism(CKM_RSA_PKCS));
    for (from, len) in [(&[0xff; 256][..], 256), (&[1; 255], 255)] {
        record!(scene, C_DecapsulateKey, session, &mut way, keys.rsa.1, first, 2, bytes(from), len, &mut 0);
    }
}

fn derived(scene: &Scene, reading: CK_SESSION_HANDLE) {
    let session = scene.session;
    let mut string = CK_KEY_DERIVATION_STRING_DATA { pData: bytes(&DATA), ulLen: 16 };
    let mut ecb = with(CKM_AES_ECB_ENCRYPT_DATA, &mut string);
    let derive = |session, way: *mut CK_MECHANISM, base, template: Given<'_>| {
        let mut template: Vec<_> = template.iter().map(|(attribute, value)| attr(*attribute, value)).collect();
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        record!(scene, C_DeriveKey, session, way, base, first, count, &mut 0);
    };
    let base = scene.create(session, &[SECRET, AES, (CKA_VALUE, &[0x42; 16]), (CKA_DERIVE, YES), OPEN[0], OPEN[1]]);
    let generic = scene.create(session, &[SECRET, GENERIC, (CKA_VALUE, &[0x42; 16]), (CKA_DERIVE, YES)]);
    let never = scene.create(session, &[SECRET, AES, (CKA_VALUE, &[0x42; 16]), (CKA_DERIVE, NO)]);
    let good: Given<'_> = &[SECRET, AES, SIXTEEN];
    for (base, template) in [
        (base, good),
        (0, good),
        (generic, good),
        (never, good),
        (base, &[SECRET, AES, (CKA_VALUE_LEN, &32_u64.to_ne_bytes())]),
        (base, &[SECRET, AES, (CKA_VALUE_LEN, &17_u64.to_ne_bytes())]),
        (base, &[SECRET, AES, SIXTEEN, (CKA_VALUE, b"x")]),
        (base, &[SECRET, AES, SIXTEEN, (CKA_VENDOR_DEFINED | 0x1234, b"x")]),
        (base, &[SECRET, AES, SIXTEEN, (CKA_LABEL, b"a"), (CKA_LABEL, b"b")]),
    ] {
        derive(session, &raw mut ecb, base, template);
    }
    let sha: Given<'_> = &[SECRET, AES];
    derive(session, kept(mechanism(CKM_SHA1_KEY_DERIVATION)), base, sha);
    derive(session, kept(mechanism(CKM_AES_ECB_ENCRYPT_DATA)), base, good);
    derive(session, kept(mechanism(CKM_SHA256)), base, good);
    derive(reading, &raw mut ecb, base, &[SECRET, AES, SIXTEEN, (CKA_TOKEN, YES)]);
}

//! ChaCha20, alone and with Poly1305.

use crate::desk::{Desk, Room, Scene, Way};
use crate::host::{alone, attr, call, check, mechanism, ok};
use crate::parameters::{Parameter, unhex};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use cryptoki_sys::*;
use std::ptr::null_mut;

const BAD: CK_RV = CKR_MECHANISM_PARAM_INVALID;
const TOKEN: (CK_ATTRIBUTE_TYPE, &[u8]) = (CKA_TOKEN, &[1]);

fn desk(scene: &Scene) -> Desk {
    Desk { module: scene.module, session: scene.module.again() }
}

#[test]
fn kms_makes_the_keys() {
    if !alone("chacha20::kms_makes_the_keys") {
        return;
    }
    let scene = Scene::new("");
    let (module, desk) = (scene.module, desk(&scene));
    let aead = Parameter::poly1305(&[5; 12], 96, b"aad");
    let generate = |template: &mut [CK_ATTRIBUTE]| {
        let (mut key, count) = (0, template.len() as CK_ULONG);
        let made = &mut mechanism(CKM_CHACHA20_KEY_GEN);
        let rv = call!(module, C_GenerateKey, desk.session, made, template.as_mut_ptr(), count, &mut key);
        check(rv).map(|()| key)
    };
    // The mechanism says how long the key is; a template may.
    let key = scene.expect(&[("GenerateDataKey", 1)], || generate(&mut [attr(TOKEN.0, TOKEN.1)]).unwrap());
    let other = scene.expect(&[("GenerateDataKey", 1)], || desk.generate(CKM_CHACHA20_KEY_GEN, 32, &[]));
    for key in [key, other] {
        assert_eq!((desk.number(key, CKA_VALUE_LEN), desk.number(key, CKA_KEY_TYPE)), (32, CKK_CHACHA20));
        assert_eq!(desk.number(key, CKA_KEY_GEN_MECHANISM), CKM_CHACHA20_KEY_GEN);
        for yes in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_ENCRYPT, CKA_DECRYPT] {
            assert_eq!(module.attribute(desk.session, key, yes), [1], "{yes:#x}");
        }
        for no in [CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE] {
            assert_eq!(module.attribute(desk.session, key, no), [0], "{no:#x}");
        }
        let sealed = scene.expect(&[], || desk.run(Way::Encrypt, &aead, key, b"words").unwrap());
        assert_eq!(desk.run(Way::Decrypt, &aead, key, &sealed).unwrap(), b"words");
    }
    let sealed = desk.run(Way::Encrypt, &aead, key, b"words").unwrap();
    let spec = module.attribute(desk.session, key, datakey::object::vendor::CKA_DATAKEY_SPEC);
    assert_eq!(spec, b"CHACHA20_256");
    let context = module.attribute(desk.session, key, datakey::object::vendor::CKA_DATAKEY_ENCRYPTION_CONTEXT);
    let context = String::from_utf8(context).unwrap();
    for pair in [r#""datakey-pkcs11:spec":"CHACHA20_256""#, r#""datakey-pkcs11:usage":"decrypt,encrypt""#] {
        assert!(context.contains(pair), "{context}");
    }
    for (len, rv) in [(0, CKR_ATTRIBUTE_VALUE_INVALID), (16, CKR_ATTRIBUTE_VALUE_INVALID)] {
        assert_eq!(desk.try_generate(CKM_CHACHA20_KEY_GEN, len, &[]), Err(rv), "{len}");
    }
    let aes = CKK_AES.to_ne_bytes();
    assert_eq!(generate(&mut [attr(CKA_KEY_TYPE, &aes)]), Err(CKR_TEMPLATE_INCONSISTENT));

    // In a state that has nothing cached: one call for the first use, none for what asks only or is refused.
    let desk = Desk { module, session: module.again() };
    let key = module.find(desk.session, &[(CKA_KEY_TYPE, &CKK_CHACHA20.to_ne_bytes())])[0];
    scene.expect(&[], || {
        assert_eq!(desk.init(Way::Decrypt, &aead, key), CKR_OK);
        assert_eq!(desk.whole(Way::Decrypt, &sealed, Room::Null), Err((CKR_OK, 5)));
        assert_eq!(desk.whole(Way::Decrypt, &sealed, Room::Bytes(4)), Err((CKR_BUFFER_TOO_SMALL, 5)));
    });
    scene.expect(&[("Decrypt", 1)], || {
        assert_eq!(desk.whole(Way::Decrypt, &sealed, Room::Bytes(5)).unwrap(), b"words");
    });
    scene.expect(&[], || {
        assert_eq!(desk.run(Way::Decrypt, &aead, key, &sealed[..15]), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
        assert_eq!(desk.run_in_parts(Way::Decrypt, &aead, key, &sealed, 4), b"words");
    });
}

#[test]
fn every_variant_in_one_part_and_in_several() {
    if !alone("chacha20::every_variant_in_one_part_and_in_several") {
        return;
    }
    let scene = Scene::new("");
    let desk = desk(&scene);
    // RFC 8439, section 2.4.2.
    let published = desk.create(CKK_CHACHA20, &(0..32).collect::<Vec<_>>());
    let words = b"Ladies and Gentlemen of the class of '99: If I could offer you";
    let parameter = Parameter::chacha20(&[1, 0, 0, 0], &unhex("000000000000004a00000000"));
    let sealed = desk.run(Way::Encrypt, &parameter, published, words).unwrap();
    assert_eq!(sealed[..16], unhex("6e2e359a2568f98041ba0728dd0d6981"));

    let key = desk.create(CKK_CHACHA20, &[7; 32]);
    let data: Vec<u8> = (0..200).collect();
    let (four, eight) = ([9, 0, 0, 0], [9, 0, 0, 0, 1, 0, 0, 0]);
    for parameter in [
        Parameter::chacha20(&four, &[5; 12]),
        Parameter::chacha20(&four, &[5; 8]),
        Parameter::chacha20(&eight, &[5; 8]),
        Parameter::chacha20(&four, &[5; 24]),
        Parameter::chacha20(&eight, &[5; 24]),
        Parameter::poly1305(&[5; 12], 96, b""),
        Parameter::poly1305(&[5; 12], 12, b"aad"),
        Parameter::poly1305(&[5; 24], 192, b"aad"),
        Parameter::poly1305(&[5; 24], 24, b""),
    ] {
        let name = format!("{parameter:?}");
        let sealed = desk.run(Way::Encrypt, &parameter, key, &data).unwrap();
        assert_eq!(desk.run(Way::Decrypt, &parameter, key, &sealed).unwrap(), data, "{name}");
        for step in [1, 13, 64, 500] {
            assert_eq!(desk.run_in_parts(Way::Encrypt, &parameter, key, &data, step), sealed, "{name} by {step}");
            assert_eq!(desk.run_in_parts(Way::Decrypt, &parameter, key, &sealed, step), data, "{name} by {step}");
        }
        // As often as the caller likes, with too little room.
        for (way, from, to) in [(Way::Encrypt, &data, &sealed), (Way::Decrypt, &sealed, &data)] {
            assert_eq!(desk.init(way, &parameter, key), CKR_OK);
            assert_eq!(desk.whole(way, from, Room::Null), Err((CKR_OK, to.len())));
            for room in [0, to.len() - 1] {
                assert_eq!(desk.whole(way, from, Room::Bytes(room)), Err((CKR_BUFFER_TOO_SMALL, to.len())));
            }
            assert_eq!(&desk.whole(way, from, Room::Bytes(to.len())).unwrap(), to);
            assert!(!desk.is_active(way));
            assert_eq!(desk.init(way, &parameter, key), CKR_OK);
            desk.update(way, &from[..1], Room::Bytes(64)).unwrap();
            assert_eq!(desk.whole(way, from, Room::Bytes(64)), Err((CKR_OPERATION_ACTIVE, 0)));
        }
        if parameter.is_authenticated() {
            let mut changed = sealed.clone();
            for at in [0, sealed.len() - 1] {
                changed[at] ^= 1;
                let refused = desk.run(Way::Decrypt, &parameter, key, &changed);
                assert_eq!(refused, Err(CKR_ENCRYPTED_DATA_INVALID), "{name}");
                assert_eq!(desk.init(Way::Decrypt, &parameter, key), CKR_OK);
                // Nothing comes out before the end.
                assert_eq!(desk.update(Way::Decrypt, &changed, Room::Bytes(64)), Ok(vec![]));
                assert_eq!(desk.last(Way::Decrypt, Room::Bytes(500)), Err((CKR_ENCRYPTED_DATA_INVALID, 0)));
                assert!(!desk.is_active(Way::Decrypt));
                changed[at] ^= 1;
            }
        }
    }
    // The end of the counter is the end of the data.
    let last = Parameter::chacha20(&[0xff; 4], &[5; 12]);
    assert!(desk.run(Way::Encrypt, &last, key, &[0; 64]).is_ok());
    assert_eq!(desk.run(Way::Encrypt, &last, key, &[0; 65]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(desk.run(Way::Decrypt, &last, key, &[0; 65]), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
}

#[test]
fn parameters_and_keys_that_are_none_start_nothing() {
    if !alone("chacha20::parameters_and_keys_that_are_none_start_nothing") {
        return;
    }
    let scene = Scene::new("");
    let (module, desk) = (scene.module, desk(&scene));
    let key = desk.create(CKK_CHACHA20, &[7; 32]);
    let aes = desk.create(CKK_AES, &[7; 32]);
    let said = Parameter::chacha20_said;
    for parameter in [
        Parameter::none(CKM_CHACHA20),
        Parameter::bytes(CKM_CHACHA20, vec![0; 16]),
        Parameter::chacha20(&[0; 8], &[5; 12]),
        said(&[0; 8], 16, &[5; 12], 96),
        said(&[0; 8], 4, &[5; 12], 96),
        said(&[0; 8], CK_ULONG::MAX, &[5; 12], 96),
        said(&[], 32, &[5; 12], 96),
        said(&[0; 4], 32, &[], 96),
        said(&[0; 4], 32, &[5; 12], 0),
        said(&[0; 4], 32, &[5; 12], 12),
        said(&[0; 4], 32, &[5; 16], 128),
        said(&[0; 4], 32, &[5; 12], 32),
        Parameter::none(CKM_CHACHA20_POLY1305),
        Parameter::bytes(CKM_CHACHA20_POLY1305, vec![0; 12]),
        Parameter::poly1305(&[5; 8], 64, b""),
        Parameter::poly1305(&[5; 8], 8, b""),
        Parameter::poly1305(&[], 96, b""),
        Parameter::poly1305(&[5; 16], 128, b""),
        Parameter::poly1305(&[5; 12], 0, b""),
        Parameter::poly1305(&[5; 12], CK_ULONG::MAX, b""),
    ] {
        for way in [Way::Encrypt, Way::Decrypt] {
            assert_eq!(desk.init(way, &parameter, key), BAD, "{parameter:?}");
        }
    }
    let good = Parameter::chacha20(&[0; 4], &[5; 12]);
    let aead = Parameter::poly1305(&[5; 12], 96, b"");
    for parameter in [&good, &aead] {
        assert_eq!(desk.init(Way::Encrypt, parameter, aes), CKR_KEY_TYPE_INCONSISTENT);
        let none =
            parameter.with(|mechanism| call!(module, C_WrapKey, desk.session, mechanism, key, aes, null_mut(), &mut 0));
        assert_eq!(none, CKR_MECHANISM_INVALID);
    }
    assert_eq!(desk.init(Way::Encrypt, &Parameter::gcm(12, 96, 128), key), CKR_KEY_TYPE_INCONSISTENT);
    let only = CKM_CHACHA20_POLY1305.to_ne_bytes();
    let only = desk.create_with(CKK_CHACHA20, &[7; 32], &[(CKA_ALLOWED_MECHANISMS, &only)]);
    assert_eq!(desk.init(Way::Encrypt, &good, only), CKR_MECHANISM_INVALID);
    assert!(desk.run(Way::Encrypt, &aead, only, b"x").is_ok());
    let mute = desk.create_with(CKK_CHACHA20, &[7; 32], &[(CKA_DECRYPT, &[0])]);
    assert_eq!(desk.init(Way::Decrypt, &good, mute), CKR_KEY_FUNCTION_NOT_PERMITTED);
    for len in [0, 16, 31, 33] {
        let (class, key_type, value) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_CHACHA20.to_ne_bytes(), vec![7; len]);
        let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type), attr(CKA_VALUE, &value)];
        let created = call!(module, C_CreateObject, desk.session, template.as_mut_ptr(), 3, &mut 0);
        assert_eq!(created, CKR_ATTRIBUTE_VALUE_INVALID, "{len}");
    }
}

#[test]
fn keys_come_by_other_ways_and_go_by_key_wrap() {
    if !alone("chacha20::keys_come_by_other_ways_and_go_by_key_wrap") {
        return;
    }
    let scene = Scene::new("");
    let (module, desk) = (scene.module, desk(&scene));
    let (class, chacha20) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_CHACHA20.to_ne_bytes());
    let open: &[(_, &[u8])] = &[(CKA_SENSITIVE, &[0]), (CKA_EXTRACTABLE, &[1])];
    let template = |more: &[(CK_ATTRIBUTE_TYPE, &'static [u8])]| {
        let mut template = vec![attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &chacha20)];
        template.extend(more.iter().map(|(attribute, value)| attr(*attribute, value)));
        template
    };
    let value = [0x3c; 32];
    let key = desk.create_with(CKK_CHACHA20, &value, open);
    // Its hash is checked where it is said, and not told unasked.
    let hash = datakey::crypto::Hash::Sha1.digest(&value);
    let said = desk.create_with(CKK_CHACHA20, &value, &[(CKA_CHECK_VALUE, &hash.as_ref()[..3])]);
    assert_eq!(module.attribute(desk.session, said, CKA_CHECK_VALUE), hash.as_ref()[..3]);

    // Wrapped and unwrapped.
    let wrapping = desk.create_with(CKK_AES, &[1; 32], &[]);
    for (id, len) in [(CKM_AES_KEY_WRAP, 40), (CKM_AES_KEY_WRAP_KWP, 40)] {
        let (mut wrapped, mut n, session) = (vec![0; 100], 100, desk.session);
        ok!(module, C_WrapKey, session, &mut mechanism(id), wrapping, key, wrapped.as_mut_ptr(), &mut n);
        assert_eq!(n, len);
        let unwrap = |wrapped: &[u8], n, template: &mut [CK_ATTRIBUTE]| {
            let (at, count, mut made) = (wrapped.as_ptr().cast_mut(), template.len() as CK_ULONG, 0);
            let how = &mut mechanism(id);
            let rv = call!(module, C_UnwrapKey, session, how, wrapping, at, n, template.as_mut_ptr(), count, &mut made);
            check(rv).map(|()| made)
        };
        let made = unwrap(&wrapped, n, &mut template(&[(CKA_SENSITIVE, &[0])])).unwrap();
        assert_eq!(module.attribute(session, made, CKA_VALUE), value);
        // What was wrapped is no other key.
        let short = desk.create_with(CKK_AES, &[1; 16], open);
        n = 100;
        ok!(module, C_WrapKey, session, &mut mechanism(id), wrapping, short, wrapped.as_mut_ptr(), &mut n);
        assert_eq!(unwrap(&wrapped, n, &mut template(&[])), Err(CKR_WRAPPED_KEY_LEN_RANGE));
    }

    // Derived, as long as it is whatever the template does not say.
    let base = desk.create(CKK_HKDF, &[2; 32]);
    let mut hkdf = CK_HKDF_PARAMS {
        bExtract: CK_TRUE,
        bExpand: CK_TRUE,
        prfHashMechanism: CKM_SHA256,
        ulSaltType: CKF_HKDF_SALT_NULL,
        pSalt: null_mut(),
        ulSaltLen: 0,
        hSaltKey: 0,
        pInfo: null_mut(),
        ulInfoLen: 0,
    };
    let mut how = mechanism(CKM_HKDF_DERIVE);
    how.pParameter = (&raw mut hkdf).cast();
    how.ulParameterLen = size_of_val(&hkdf) as CK_ULONG;
    let mut derive = |template: &mut [CK_ATTRIBUTE]| {
        let (mut made, count) = (0, template.len() as CK_ULONG);
        let rv = call!(module, C_DeriveKey, desk.session, &mut how, base, template.as_mut_ptr(), count, &mut made);
        check(rv).map(|()| made)
    };
    let made = derive(&mut template(open)).unwrap();
    assert_eq!((desk.number(made, CKA_VALUE_LEN), desk.number(made, CKA_KEY_TYPE)), (32, CKK_CHACHA20));
    let sealed = scene.expect(&[("Encrypt", 1)], || derive(&mut template(&[TOKEN])).unwrap());
    let good = Parameter::chacha20(&[0; 4], &[5; 12]);
    assert_eq!(
        desk.run(Way::Encrypt, &good, made, b"some data").unwrap(),
        desk.run(Way::Encrypt, &good, sealed, b"some data").unwrap()
    );
    let long = 33_u64.to_ne_bytes();
    let mut longer = template(&[]);
    longer.push(attr(CKA_VALUE_LEN, &long));
    assert_eq!(derive(&mut longer), Err(CKR_ATTRIBUTE_VALUE_INVALID));
}

/// The parameters of a message, as C has them.
fn message(nonce: &mut [u8], len: CK_ULONG, tag: &mut [u8]) -> CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS {
    CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS { pNonce: nonce.as_mut_ptr(), ulNonceLen: len, pTag: tag.as_mut_ptr() }
}

#[test]
fn messages_are_theirs() {
    if !alone("chacha20::messages_are_theirs") {
        return;
    }
    let scene = Scene::new("");
    let (module, desk) = (scene.module, desk(&scene));
    let session = desk.session;
    let value = [0x42; 32];
    let key = desk.create(CKK_CHACHA20, &value);
    let (mut aad, mut data) = (*b"who and when", *b"a message of more than one block of sixteen bytes");
    let (a, d) = (aad.len() as CK_ULONG, data.len() as CK_ULONG);
    let theirs = chacha20poly1305::ChaCha20Poly1305::new(&value.into());
    let mut nonce = vec![9; 12];
    let sealed = theirs.encrypt(&[9; 12].into(), Payload { msg: &data, aad: &aad }).unwrap();
    let n = size_of::<CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS>() as CK_ULONG;

    let mut tag = vec![0; 16];
    let mut params = message(&mut nonce, 96, &mut tag);
    // The parameter of the mechanism is not looked at, but for its length: it comes with each message.
    let mut with = mechanism(CKM_CHACHA20_POLY1305);
    with.pParameter = (&raw mut params).cast();
    with.ulParameterLen = n;
    ok!(module, C_MessageEncryptInit, session, &mut with, key);
    with.ulParameterLen = 7;
    assert_eq!(call!(module, C_MessageDecryptInit, session, &mut with, key), BAD);
    ok!(module, C_MessageDecryptInit, session, &mut mechanism(CKM_CHACHA20_POLY1305), key);

    let (aad_at, data_at) = (aad.as_mut_ptr(), data.as_mut_ptr());
    for len in [96, 12] {
        let (mut nonce, mut tag, mut out, mut out_len) = (vec![9; 12], vec![0; 16], vec![0; 100], 100);
        let mut params = message(&mut nonce, len, &mut tag);
        let at = (&raw mut params).cast();
        let out_at = out.as_mut_ptr();
        ok!(module, C_EncryptMessage, session, at, n, aad_at, a, data_at, d, out_at, &mut out_len);
        assert_eq!([&out[..out_len as usize], &tag[..]].concat(), sealed);

        // In parts: what can come out does, and the tag at the end.
        tag.fill(0);
        ok!(module, C_EncryptMessageBegin, session, at, n, aad_at, a);
        out_len = 100;
        ok!(module, C_EncryptMessageNext, session, at, n, data_at, 5, out_at, &mut out_len, 0);
        assert_eq!((out_len, &tag), (5, &vec![0; 16]));
        let (rest, rest_at, mut rest_len) = (data_at.wrapping_add(5), out_at.wrapping_add(5), 95);
        let end = CKF_END_OF_MESSAGE;
        ok!(module, C_EncryptMessageNext, session, at, n, rest, d - 5, rest_at, &mut rest_len, end);
        assert_eq!([&out[..5 + rest_len as usize], &tag[..]].concat(), sealed);

        let mut plain = vec![0; 100];
        let (plain_at, mut plain_len) = (plain.as_mut_ptr(), 100);
        ok!(module, C_DecryptMessage, session, at, n, aad_at, a, out_at, d, plain_at, &mut plain_len);
        assert_eq!(plain[..plain_len as usize], data);
        ok!(module, C_DecryptMessageBegin, session, at, n, aad_at, a);
        plain_len = 100;
        ok!(module, C_DecryptMessageNext, session, at, n, out_at, 7, plain_at, &mut plain_len, 0);
        assert_eq!(plain_len, 0, "nothing before the tag");
        plain_len = 100;
        let rest = out_at.wrapping_add(7);
        ok!(module, C_DecryptMessageNext, session, at, n, rest, d - 7, plain_at, &mut plain_len, end);
        assert_eq!(plain[..plain_len as usize], data);

        // Tampering is found out; the process goes on.
        let decrypt = || {
            let (mut plain, mut len) = ([0; 100], 100);
            call!(module, C_DecryptMessage, session, at, n, aad_at, a, out_at, d, plain.as_mut_ptr(), &mut len)
        };
        tag[0] ^= 1;
        assert_eq!(decrypt(), CKR_AEAD_DECRYPT_FAILED);
        tag[0] ^= 1;
        assert_eq!(decrypt(), CKR_OK);
    }

    // What is no parameter of such a message.
    let mut long = vec![9; 24];
    let (mut out, mut out_len) = ([0; 100], 100);
    let mut encrypt = |params: *mut CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, n| {
        out_len = 100;
        let (at, out) = (params.cast(), out.as_mut_ptr());
        call!(module, C_EncryptMessage, session, at, n, aad_at, a, data_at, d, out, &mut out_len)
    };
    assert_eq!(encrypt(&mut message(&mut long, 192, &mut tag), n), CKR_OK);
    for len in [0, 8, 64, 13, 128, CK_ULONG::MAX] {
        assert_eq!(encrypt(&mut message(&mut long, len, &mut tag), n), BAD, "{len}");
    }
    let mut placeless = message(&mut long, 96, &mut tag);
    placeless.pTag = null_mut();
    assert_eq!(encrypt(&mut placeless, n), BAD);
    placeless = message(&mut long, 96, &mut tag);
    placeless.pNonce = null_mut();
    assert_eq!(encrypt(&mut placeless, n), BAD);
    assert_eq!(encrypt(&mut message(&mut long, 96, &mut tag), n - 1), BAD);
    let gcm = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
    let mut other = CK_GCM_MESSAGE_PARAMS {
        pIv: long.as_mut_ptr(),
        ulIvLen: 12,
        ulIvFixedBits: 0,
        ivGenerator: CKG_NO_GENERATE,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 128,
    };
    assert_eq!(encrypt((&raw mut other).cast(), gcm), BAD);
    ok!(module, C_MessageEncryptFinal, session);
    ok!(module, C_MessageDecryptFinal, session);

    // Nor does AES take its parameters.
    let aes = desk.create(CKK_AES, &[1; 16]);
    ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), aes);
    assert_eq!(encrypt(&mut message(&mut long, 96, &mut tag), n), BAD);
    ok!(module, C_MessageEncryptFinal, session);
    let alone = call!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_CHACHA20), key);
    assert_eq!(alone, CKR_MECHANISM_INVALID);
}

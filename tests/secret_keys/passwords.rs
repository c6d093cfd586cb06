//! Keys from passwords: `CKM_PKCS5_PBKD2`.

use crate::desk::{Desk, Scene, Way};
use crate::host::{Module, alone, attr, call, check, mechanism};
use crate::parameters::{Parameter, unhex};
use cryptoki_sys::*;
use std::ptr::null_mut;
use std::time::Instant;

const BAD: CK_RV = CKR_MECHANISM_PARAM_INVALID;
/// Longer than any password.
static LONG: CK_ULONG = 65536;
const OPEN: [(CK_ATTRIBUTE_TYPE, &[u8]); 2] = [(CKA_SENSITIVE, &[0]), (CKA_EXTRACTABLE, &[1])];

fn params(password: &[u8], salt: &[u8], iterations: CK_ULONG) -> CK_PKCS5_PBKD2_PARAMS2 {
    CK_PKCS5_PBKD2_PARAMS2 {
        saltSource: CKZ_SALT_SPECIFIED,
        pSaltSourceData: salt.as_ptr().cast_mut().cast(),
        ulSaltSourceDataLen: salt.len() as CK_ULONG,
        iterations,
        prf: CKP_PKCS5_PBKD2_HMAC_SHA256,
        pPrfData: null_mut(),
        ulPrfDataLen: 0,
        pPassword: password.as_ptr().cast_mut(),
        ulPasswordLen: password.len() as CK_ULONG,
    }
}

/// The key that a template asks for: its type, its length if it is said, and more.
fn make(
    desk: Desk,
    mut params: CK_PKCS5_PBKD2_PARAMS2,
    key_type: CK_KEY_TYPE,
    len: Option<CK_ULONG>,
    more: &[(CK_ATTRIBUTE_TYPE, &[u8])],
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (key_type, len_bytes) = (key_type.to_ne_bytes(), len.unwrap_or(0).to_ne_bytes());
    let mut template = vec![attr(CKA_KEY_TYPE, &key_type)];
    template.extend(len.map(|_| attr(CKA_VALUE_LEN, &len_bytes)));
    template.extend(more.iter().map(|(attribute, value)| attr(*attribute, value)));
    let mut how = mechanism(CKM_PKCS5_PBKD2);
    how.pParameter = (&raw mut params).cast();
    how.ulParameterLen = size_of_val(&params) as CK_ULONG;
    generate(desk.module, desk.session, &mut how, &mut template)
}

fn generate(
    module: Module,
    session: CK_SESSION_HANDLE,
    how: &mut CK_MECHANISM,
    template: &mut [CK_ATTRIBUTE],
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (mut key, count) = (0, template.len() as CK_ULONG);
    check(call!(module, C_GenerateKey, session, how, template.as_mut_ptr(), count, &mut key)).map(|()| key)
}

#[test]
fn a_password_makes_a_key_of_any_type() {
    if !alone("passwords::a_password_makes_a_key_of_any_type") {
        return;
    }
    let scene = Scene::new("");
    let module = scene.module;
    let desk = Desk { module, session: module.again() };
    // RFC 7914, section 11.
    let rfc = params(b"passwd", b"salt", 1);
    let key = scene.expect(&[], || make(desk, rfc, CKK_GENERIC_SECRET, Some(64), &OPEN).unwrap());
    assert_eq!(
        module.attribute(desk.session, key, CKA_VALUE),
        unhex(
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
        )
    );
    // Made here, from the password alone.
    assert_eq!(module.attribute(desk.session, key, CKA_LOCAL), [1]);
    assert_eq!(desk.number(key, CKA_KEY_GEN_MECHANISM), CKM_PKCS5_PBKD2);
    for no in [CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE] {
        assert_eq!(module.attribute(desk.session, key, no), [0], "{no:#x}");
    }

    let value = module.attribute(desk.session, key, CKA_VALUE);
    for (key_type, len, said) in [
        (CKK_AES, 16, true),
        (CKK_AES, 32, true),
        (CKK_CHACHA20, 32, false),
        (CKK_CHACHA20, 32, true),
        (CKK_SHA256_HMAC, 20, true),
        (CKK_SHA3_512_HMAC, 1, true),
        (CKK_HKDF, 33, true),
    ] {
        let made = make(desk, rfc, key_type, said.then_some(len as CK_ULONG), &OPEN).unwrap();
        assert_eq!(module.attribute(desk.session, made, CKA_VALUE), value[..len]);
        assert_eq!((desk.number(made, CKA_VALUE_LEN), desk.number(made, CKA_KEY_TYPE)), (len as CK_ULONG, key_type));
    }
    // The older structure, as NSS has it: a pointer to the length in its place.
    let older = CK_PKCS5_PBKD2_PARAMS2 { ulPasswordLen: (&raw const rfc.ulPasswordLen) as CK_ULONG, ..rfc };
    let made = make(desk, older, CKK_AES, Some(32), &OPEN).unwrap();
    assert_eq!(module.attribute(desk.session, made, CKA_VALUE), value[..32]);
    // The same key from the same password, and each function another.
    let mut seen = Vec::new();
    for prf in [
        CKP_PKCS5_PBKD2_HMAC_SHA1,
        CKP_PKCS5_PBKD2_HMAC_SHA224,
        CKP_PKCS5_PBKD2_HMAC_SHA256,
        CKP_PKCS5_PBKD2_HMAC_SHA384,
        CKP_PKCS5_PBKD2_HMAC_SHA512,
        CKP_PKCS5_PBKD2_HMAC_SHA512_224,
        CKP_PKCS5_PBKD2_HMAC_SHA512_256,
    ] {
        let [one, same] = [(); 2].map(|()| {
            let key = make(desk, CK_PKCS5_PBKD2_PARAMS2 { prf, ..rfc }, CKK_AES, Some(16), &OPEN).unwrap();
            module.attribute(desk.session, key, CKA_VALUE)
        });
        assert_eq!(one, same);
        assert!(!seen.contains(&one), "{prf}");
        seen.push(one);
    }
    // Neither password nor salt has to be there.
    let mut empty = params(b"", b"", 2);
    empty.pPassword = null_mut();
    empty.pSaltSourceData = null_mut();
    assert!(make(desk, empty, CKK_AES, Some(16), &[]).is_ok());
}

#[test]
fn kms_seals_what_belongs_on_the_token() {
    if !alone("passwords::kms_seals_what_belongs_on_the_token") {
        return;
    }
    let scene = Scene::new("");
    let module = scene.module;
    let desk = Desk { module, session: module.again() };
    let from = params(b"correct horse battery staple", b"saltsalt", 1000);
    let token: (_, &[u8]) = (CKA_TOKEN, &[1]);
    let key = scene.expect(&[("Encrypt", 1)], || make(desk, from, CKK_AES, Some(32), &[token]).unwrap());
    for yes in [CKA_LOCAL, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_PRIVATE, CKA_ENCRYPT] {
        assert_eq!(module.attribute(desk.session, key, yes), [1], "{yes:#x}");
    }
    // Nothing in the store helps to guess the password.
    assert_eq!(module.attribute(desk.session, key, CKA_CHECK_VALUE), b"");
    let here = scene.expect(&[], || make(desk, from, CKK_AES, Some(32), &[]).unwrap());
    let gcm = Parameter::gcm(12, 96, 128);
    let sealed = scene.expect(&[], || desk.run(Way::Encrypt, &gcm, key, b"data").unwrap());
    assert_eq!(desk.run(Way::Decrypt, &gcm, here, &sealed).unwrap(), b"data");
    // A check value is compared where it is said.
    let open = make(desk, from, CKK_AES, Some(32), &OPEN).unwrap();
    let value = module.attribute(desk.session, open, CKA_VALUE);
    let ecb = Parameter::none(CKM_AES_ECB);
    let check = desk.run(Way::Encrypt, &ecb, open, &[0; 16]).unwrap()[..3].to_vec();
    let same = make(desk, from, CKK_AES, Some(32), &[(CKA_CHECK_VALUE, &check)]).unwrap();
    assert_eq!(module.attribute(desk.session, same, CKA_CHECK_VALUE), check);
    let other = make(desk, from, CKK_AES, Some(32), &[(CKA_CHECK_VALUE, b"abc")]);
    assert_eq!(other, Err(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(value.len(), 32);

    // After another login the key on the token is opened by KMS, and that of the session is gone.
    let again = Desk { module, session: module.again() };
    let found = module.find(again.session, &[(CKA_KEY_GEN_MECHANISM, &CKM_PKCS5_PBKD2.to_ne_bytes())]);
    let [key] = found[..] else { panic!("{found:?}") };
    scene.expect(&[("Decrypt", 1)], || assert_eq!(again.run(Way::Decrypt, &gcm, key, &sealed).unwrap(), b"data"));
    let reading = Desk { module, session: module.open(false) };
    assert_eq!(make(reading, from, CKK_AES, Some(32), &[token]), Err(CKR_SESSION_READ_ONLY));
    assert!(make(reading, from, CKK_AES, Some(32), &[]).is_ok());
    // Without a login there are public keys of the session, and no others.
    crate::host::ok!(module, C_Logout, again.session);
    scene.expect(&[], || {
        assert_eq!(make(again, from, CKK_AES, Some(32), &[]), Err(CKR_USER_NOT_LOGGED_IN));
        let public: (_, &[u8]) = (CKA_PRIVATE, &[0]);
        assert_eq!(make(again, from, CKK_AES, Some(32), &[public, token]), Err(CKR_USER_NOT_LOGGED_IN));
        assert!(make(again, from, CKK_AES, Some(32), &[public]).is_ok());
    });
}

#[test]
fn what_cannot_be_made_is_refused() {
    if !alone("passwords::what_cannot_be_made_is_refused") {
        return;
    }
    let scene = Scene::new("");
    let module = scene.module;
    let desk = Desk { module, session: module.again() };
    let good = params(b"password", b"salt", 10);
    let long = vec![b'x'; 65536];
    let start = Instant::now();
    scene.expect(&[], || {
        for (index, bad) in [
            CK_PKCS5_PBKD2_PARAMS2 { saltSource: 0, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { saltSource: 2, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { pSaltSourceData: null_mut(), ..good },
            CK_PKCS5_PBKD2_PARAMS2 { ulSaltSourceDataLen: CK_ULONG::MAX, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { pPassword: null_mut(), ..good },
            CK_PKCS5_PBKD2_PARAMS2 { ulPasswordLen: CK_ULONG::MAX, ..good },
            // A pointer to a length that is none.
            CK_PKCS5_PBKD2_PARAMS2 { ulPasswordLen: (&raw const LONG) as CK_ULONG, ..good },
            params(&long, b"salt", 1),
            params(b"password", &long, 1),
            CK_PKCS5_PBKD2_PARAMS2 { prf: 0, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { prf: CKP_PKCS5_PBKD2_HMAC_GOSTR3411, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { prf: CKM_SHA256, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { pPrfData: long.as_ptr().cast_mut().cast(), ..good },
            CK_PKCS5_PBKD2_PARAMS2 { ulPrfDataLen: 1, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { iterations: 0, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { iterations: (1 << 24) + 1, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { iterations: 1 << 32, ..good },
            CK_PKCS5_PBKD2_PARAMS2 { iterations: CK_ULONG::MAX, ..good },
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(make(desk, bad, CKK_AES, Some(16), &[]), Err(BAD), "{index}");
        }
        // Each block of output costs all iterations.
        let slow = CK_PKCS5_PBKD2_PARAMS2 { iterations: 1 << 20, ..good };
        assert_eq!(make(desk, slow, CKK_GENERIC_SECRET, Some(65536), &[]), Err(BAD));
        for (key_type, len, rv) in [
            (CKK_AES, None, CKR_TEMPLATE_INCOMPLETE),
            (CKK_AES, Some(17), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKK_CHACHA20, Some(16), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKK_GENERIC_SECRET, Some(0), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKK_GENERIC_SECRET, Some(65537), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKK_GENERIC_SECRET, Some(CK_ULONG::MAX), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKK_DES3, Some(24), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKK_RSA, Some(24), CKR_ATTRIBUTE_VALUE_INVALID),
        ] {
            assert_eq!(make(desk, good, key_type, len, &[]), Err(rv), "{key_type} {len:?}");
        }
        let public = CKO_PUBLIC_KEY.to_ne_bytes();
        for (more, rv) in [
            ((CKA_CLASS, &public[..]), CKR_TEMPLATE_INCONSISTENT),
            ((CKA_VALUE, &[7; 16]), CKR_ATTRIBUTE_READ_ONLY),
            ((CKA_LOCAL, &[1]), CKR_ATTRIBUTE_READ_ONLY),
            ((CKA_MODULUS, b"x"), CKR_TEMPLATE_INCONSISTENT),
            ((CKA_TRUSTED, &[1]), CKR_ATTRIBUTE_READ_ONLY),
        ] {
            assert_eq!(make(desk, good, CKK_AES, Some(16), &[more]), Err(rv), "{more:?}");
        }
        let (mut parameter, mut how) = (good, mechanism(CKM_PKCS5_PBKD2));
        assert_eq!(generate(module, desk.session, &mut how, &mut []), Err(BAD));
        how.pParameter = (&raw mut parameter).cast();
        for len in [1, size_of_val(&parameter) - 1, size_of_val(&parameter) + 1] {
            how.ulParameterLen = len as CK_ULONG;
            assert_eq!(generate(module, desk.session, &mut how, &mut []), Err(BAD), "{len}");
        }
        how.ulParameterLen = size_of_val(&parameter) as CK_ULONG;
        assert_eq!(generate(module, desk.session, &mut how, &mut []), Err(CKR_TEMPLATE_INCOMPLETE));
        how.pParameter = null_mut();
        assert_eq!(generate(module, desk.session, &mut how, &mut []), Err(BAD));
    });
    assert!(start.elapsed().as_secs() < 10, "what is refused takes no time");
}

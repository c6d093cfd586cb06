//! Keys that travel: wrapped and unwrapped, encapsulated and decapsulated, through the C API.

mod host;
mod objects;

use cryptoki_sys::*;
use host::{Kind, Module, Place, alone, attr, call, mechanism, ok};
use objects::{Attr, bytes, flag, number, secret_key, with};
use std::hint::black_box;
use std::ptr::{from_mut, null_mut};

/// A session, and a key of each kind that others travel under.
struct Desk {
    module: Module,
    session: CK_SESSION_HANDLE,
    aes: CK_OBJECT_HANDLE,
    rsa: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    ec: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    _place: Place,
}

/// A parameter that stays where it is.
struct Parameters {
    iv: [u8; 16],
    gcm: CK_GCM_PARAMS,
    ccm: CK_CCM_PARAMS,
    oaep: CK_RSA_PKCS_OAEP_PARAMS,
    rsa_aes: CK_RSA_AES_KEY_WRAP_PARAMS,
    ecdh_aes: CK_ECDH_AES_KEY_WRAP_PARAMS,
    ecdh: CK_ECDH1_DERIVE_PARAMS,
}

impl Parameters {
    fn new() -> Box<Self> {
        let oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: null_mut(),
            ulSourceDataLen: 0,
        };
        let gcm =
            CK_GCM_PARAMS { pIv: null_mut(), ulIvLen: 12, ulIvBits: 96, pAAD: null_mut(), ulAADLen: 0, ulTagBits: 128 };
        let ccm = CK_CCM_PARAMS {
            ulDataLen: 0,
            pNonce: null_mut(),
            ulNonceLen: 12,
            pAAD: null_mut(),
            ulAADLen: 0,
            ulMACLen: 16,
        };
        let mut new = Box::new(Self {
            iv: [9; 16],
            gcm,
            ccm,
            oaep,
            rsa_aes: CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: 256, pOAEPParams: null_mut() },
            ecdh_aes: CK_ECDH_AES_KEY_WRAP_PARAMS {
                ulAESKeyBits: 256,
                kdf: CKD_SHA256_KDF,
                ulSharedDataLen: 0,
                pSharedData: null_mut(),
            },
            ecdh: CK_ECDH1_DERIVE_PARAMS {
                kdf: CKD_SHA256_KDF,
                ulSharedDataLen: 0,
                pSharedData: null_mut(),
                ulPublicDataLen: 0,
                pPublicData: null_mut(),
            },
        });
        let new_ref = &mut *new;
        new_ref.gcm.pIv = new_ref.iv.as_mut_ptr();
        new_ref.ccm.pNonce = new_ref.iv.as_mut_ptr();
        new_ref.rsa_aes.pOAEPParams = from_mut(&mut new_ref.oaep);
        new
    }

    /// A mechanism with what it takes.
    fn mechanism(&mut self, id: CK_MECHANISM_TYPE) -> CK_MECHANISM {
        fn of<T>(id: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
            let (pointer, len) = (from_mut(parameter).cast(), size_of::<T>() as CK_ULONG);
            CK_MECHANISM { mechanism: id, pParameter: pointer, ulParameterLen: len }
        }
        match id {
            CKM_AES_CBC_PAD => of(id, &mut self.iv),
            CKM_AES_GCM => of(id, &mut self.gcm),
            CKM_AES_CCM => of(id, &mut self.ccm),
            CKM_RSA_PKCS_OAEP => of(id, &mut self.oaep),
            CKM_RSA_AES_KEY_WRAP => of(id, &mut self.rsa_aes),
            CKM_ECDH_AES_KEY_WRAP | CKM_ECDH_COF_AES_KEY_WRAP => of(id, &mut self.ecdh_aes),
            CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE => of(id, &mut self.ecdh),
            _ => mechanism(id),
        }
    }
}

fn native(template: &[Attr]) -> Vec<CK_ATTRIBUTE> {
    template.iter().map(|(attribute, value)| attr(*attribute, value)).collect()
}

/// A secret key that may leave the token and may be read.
fn open_key(key_type: CK_KEY_TYPE, value: &[u8]) -> Vec<Attr> {
    with(secret_key(key_type, value), &[flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)])
}

/// What an unwrapped secret key is described by.
fn arriving(key_type: CK_KEY_TYPE) -> Vec<Attr> {
    vec![
        number(CKA_CLASS, CKO_SECRET_KEY),
        number(CKA_KEY_TYPE, key_type),
        flag(CKA_SENSITIVE, false),
        flag(CKA_EXTRACTABLE, true),
    ]
}

impl Desk {
    fn new() -> Self {
        let place = Place::embedded("");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        let aes = module.create(session, &secret_key(CKK_AES, &[0x42; 32]));
        let (rsa, ec) =
            (module.generate(session, Kind::Rsa(2048), b"rsa"), module.generate(session, Kind::P256, b"ec"));
        // What silent templates do not permit.
        let public = [flag(CKA_WRAP, true), flag(CKA_ENCAPSULATE, true)];
        let private = [flag(CKA_UNWRAP, true), flag(CKA_DECAPSULATE, true)];
        for (key, more) in [(rsa.0, &public), (ec.0, &public), (rsa.1, &private), (ec.1, &private)] {
            assert_eq!(module.set(session, key, more), CKR_OK);
        }
        Self { module, session, aes, rsa, ec, _place: place }
    }

    /// The key to wrap with and the key to unwrap with.
    fn pair_for(&self, id: CK_MECHANISM_TYPE) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        match id {
            CKM_RSA_PKCS | CKM_RSA_PKCS_OAEP | CKM_RSA_AES_KEY_WRAP => self.rsa,
            CKM_ECDH_AES_KEY_WRAP | CKM_ECDH_COF_AES_KEY_WRAP => self.ec,
            CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE => self.ec,
            _ => (self.aes, self.aes),
        }
    }

    /// Mechanisms with this flag.
    fn with_flag(&self, flag: CK_FLAGS) -> Vec<CK_MECHANISM_TYPE> {
        let mut count = 0;
        ok!(self.module, C_GetMechanismList, 0, null_mut(), &mut count);
        let mut list = vec![0; count as usize];
        ok!(self.module, C_GetMechanismList, 0, list.as_mut_ptr(), &mut count);
        list.retain(|id| {
            let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
            ok!(self.module, C_GetMechanismInfo, 0, *id, &mut info);
            info.flags & flag != 0
        });
        list
    }

    fn wrap(&self, way: &mut CK_MECHANISM, under: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, CK_RV> {
        let mut len = 0;
        host::check(call!(self.module, C_WrapKey, self.session, way, under, key, null_mut(), &mut len))?;
        let mut wrapped = vec![0; len as usize];
        host::check(call!(self.module, C_WrapKey, self.session, way, under, key, wrapped.as_mut_ptr(), &mut len))?;
        wrapped.truncate(len as usize);
        Ok(wrapped)
    }

    fn unwrap(
        &self,
        way: &mut CK_MECHANISM,
        under: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        let (mut template, mut key) = (native(template), 0);
        let (from, len) = (wrapped.as_ptr().cast_mut(), wrapped.len() as CK_ULONG);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        host::check(call!(self.module, C_UnwrapKey, self.session, way, under, from, len, first, count, &mut key))?;
        Ok(key)
    }

    fn value(&self, key: CK_OBJECT_HANDLE) -> Vec<u8> {
        self.module.get(self.session, key, CKA_VALUE).unwrap()
    }
}

#[test]
fn every_way_brings_secret_and_private_keys_back() {
    if !alone("every_way_brings_secret_and_private_keys_back") {
        return;
    }
    let desk = Desk::new();
    let (module, session) = (desk.module, desk.session);
    let (public, _) = module.generate(session, Kind::P256, b"travels");
    let private = [
        number(CKA_CLASS, CKO_PRIVATE_KEY),
        number(CKA_KEY_TYPE, CKK_EC),
        bytes(CKA_EC_PARAMS, &module.attribute(session, public, CKA_EC_PARAMS)),
        bytes(CKA_VALUE, &[1; 32]),
        flag(CKA_SENSITIVE, false),
        flag(CKA_EXTRACTABLE, true),
    ];
    let ec = module.create(session, &private);
    // There is no key pair of X25519 to be had for this one.
    let ways: Vec<_> = desk.with_flag(CKF_WRAP).into_iter().filter(|id| *id != CKM_ECDH_X_AES_KEY_WRAP).collect();
    assert!(ways.len() >= 11, "{ways:x?}");
    for id in ways {
        let mut parameters = Parameters::new();
        let mut way = parameters.mechanism(id);
        let (under, from) = desk.pair_for(id);
        for (key_type, value) in [
            (CKK_AES, vec![1; 16]),
            (CKK_AES, vec![2; 32]),
            (CKK_GENERIC_SECRET, vec![3; 24]),
            (CKK_SHA256_HMAC, vec![4; 20]),
        ] {
            let about = format!("{id:#x}, {} bytes", value.len());
            let key = module.create(session, &open_key(key_type, &value));
            let wrapped = desk.wrap(&mut way, under, key).unwrap_or_else(|rv| panic!("{about}: {rv:#x}"));
            // Key wrap alone fills up, and has to be told where the key ends.
            let template = with(arriving(key_type), &[number(CKA_VALUE_LEN, value.len() as CK_ULONG)]);
            let back = desk.unwrap(&mut way, from, &wrapped, &template);
            let back = back.unwrap_or_else(|rv| panic!("{about}: {rv:#x}"));
            assert_eq!(desk.value(back), value, "{about}");
            for (attribute, expected) in [
                (CKA_LOCAL, vec![CK_FALSE]),
                (CKA_ALWAYS_SENSITIVE, vec![CK_FALSE]),
                (CKA_NEVER_EXTRACTABLE, vec![CK_FALSE]),
                (CKA_KEY_GEN_MECHANISM, CK_UNAVAILABLE_INFORMATION.to_ne_bytes().to_vec()),
                (CKA_VALUE_LEN, value.len().to_ne_bytes().to_vec()),
            ] {
                assert_eq!(module.attribute(session, back, attribute), expected, "{about}: {attribute:#x}");
            }
            assert_ne!(module.attribute(session, back, CKA_UNIQUE_ID), module.attribute(session, key, CKA_UNIQUE_ID));
            let other = with(template, &[number(CKA_VALUE_LEN, 7)]);
            let expected = if key_type == CKK_AES { CKR_ATTRIBUTE_VALUE_INVALID } else { CKR_WRAPPED_KEY_LEN_RANGE };
            // PKCS#1 v1.5 says nothing of what is in a block that it cannot use.
            if id != CKM_RSA_PKCS {
                assert_eq!(desk.unwrap(&mut way, from, &wrapped, &other), Err(expected), "{about}");
            }
            let cut = &wrapped[..wrapped.len() - 1];
            let template = arriving(key_type);
            let refused = desk.unwrap(&mut way, from, cut, &template).unwrap_err();
            assert!([CKR_WRAPPED_KEY_LEN_RANGE, CKR_WRAPPED_KEY_INVALID].contains(&refused), "{about}: {refused:#x}");
        }
        let template = [
            number(CKA_CLASS, CKO_PRIVATE_KEY),
            number(CKA_KEY_TYPE, CKK_EC),
            flag(CKA_SENSITIVE, false),
            flag(CKA_EXTRACTABLE, true),
        ];
        match desk.wrap(&mut way, under, ec) {
            Err(rv) => {
                assert!([CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP].contains(&id), "{id:#x}: {rv:#x}");
                assert_eq!(rv, CKR_KEY_NOT_WRAPPABLE);
            }
            Ok(wrapped) => {
                let back =
                    desk.unwrap(&mut way, from, &wrapped, &template).unwrap_or_else(|rv| panic!("{id:#x}: {rv:#x}"));
                assert_eq!(desk.value(back), [1; 32], "{id:#x}");
                let of = |key| module.attribute(session, key, CKA_PUBLIC_KEY_INFO);
                assert_eq!(of(back), of(ec), "{id:#x}");
                let other = with(template.to_vec(), &[number(CKA_KEY_TYPE, CKK_RSA)]);
                assert_eq!(desk.unwrap(&mut way, from, &wrapped, &other), Err(CKR_TEMPLATE_INCONSISTENT), "{id:#x}");
            }
        }
    }
}

/// PKCS#1 v1.5 unwraps whatever has the length of a block (Bleichenbacher): neither the code nor the length tells.
#[test]
fn no_answer_tells_what_is_wrong_with_a_padded_key() {
    if !alone("no_answer_tells_what_is_wrong_with_a_padded_key") {
        return;
    }
    let desk = Desk::new();
    let (module, session) = (desk.module, desk.session);
    let (public, private) = desk.rsa;
    let encrypt = |block: &[u8]| {
        let (mut sealed, mut len) = (vec![0; 256], 256);
        ok!(module, C_EncryptInit, session, &mut mechanism(CKM_RSA_X_509), public);
        ok!(module, C_Encrypt, session, block.as_ptr().cast_mut(), 256, sealed.as_mut_ptr(), &mut len);
        sealed
    };
    let right = |len: usize| {
        let mut block = [&[0, 2][..], &vec![7; 253 - len], &[0], &vec![5; len]].concat();
        assert_eq!(block.len(), 256);
        block[100] = 9;
        block
    };
    let but = |at: usize, byte: u8| {
        let mut block = right(16);
        block[at] = byte;
        block
    };
    let no_zero = [&[0, 2][..], &[7; 254]].concat();
    let wrong =
        [but(0, 1), but(1, 1), but(1, 0), but(2, 0), but(9, 0), no_zero, right(0), right(15), right(17), right(245)];
    let mut way = mechanism(CKM_RSA_PKCS);
    for template in [with(arriving(CKK_AES), &[number(CKA_VALUE_LEN, 16)]), arriving(CKK_AES)] {
        let unwrap = |way: &mut CK_MECHANISM, sealed: &[u8]| {
            let key = desk.unwrap(way, private, sealed, &template).unwrap();
            desk.value(key)
        };
        assert_eq!(unwrap(&mut way, &encrypt(&right(16))), [5; 16]);
        for (index, block) in wrong.iter().enumerate() {
            let sealed = encrypt(block);
            let key = unwrap(&mut way, &sealed);
            assert!([16, 24, 32].contains(&key.len()), "{index}");
            assert!(template.len() == 4 || key.len() == 16, "{index}");
            assert!(!block.ends_with(&key), "{index}");
            assert_eq!(unwrap(&mut way, &sealed), key, "{index}: the same again");
        }
    }
    // The same for a decapsulation.
    let len = [number(CKA_VALUE_LEN, 48), flag(CKA_SENSITIVE, false)];
    let mut template = native(&len);
    for block in &wrong {
        let (sealed, mut key) = (encrypt(block), 0);
        let (from, first) = (sealed.as_ptr().cast_mut(), template.as_mut_ptr());
        ok!(module, C_DecapsulateKey, session, &mut way, private, first, 2, from, 256, &mut key);
        assert_eq!(desk.value(key).len(), 48);
    }
    // What everybody sees may be told.
    let template = arriving(CKK_AES);
    assert_eq!(desk.unwrap(&mut way, private, &[1; 255], &template), Err(CKR_WRAPPED_KEY_LEN_RANGE));
    assert_eq!(desk.unwrap(&mut way, private, &[0xff; 256], &template), Err(CKR_WRAPPED_KEY_INVALID));
    let long = with(arriving(CKK_GENERIC_SECRET), &[number(CKA_VALUE_LEN, 246)]);
    assert_eq!(desk.unwrap(&mut way, private, &encrypt(&right(16)), &long), Err(CKR_WRAPPED_KEY_LEN_RANGE));
}

#[test]
fn every_encapsulation_is_undone() {
    if !alone("every_encapsulation_is_undone") {
        return;
    }
    let desk = Desk::new();
    let (module, session) = (desk.module, desk.session);
    let (set, yes) = (CKP_ML_KEM_768.to_ne_bytes(), [CK_TRUE]);
    let mut public = [attr(CKA_PARAMETER_SET, &set), attr(CKA_TOKEN, &yes)];
    let (mut generation, mut ml_kem) = (mechanism(CKM_ML_KEM_KEY_PAIR_GEN), (0, 0));
    let first = public.as_mut_ptr();
    ok!(module, C_GenerateKeyPair, session, &mut generation, first, 2, null_mut(), 0, &mut ml_kem.0, &mut ml_kem.1);
    let ways = desk.with_flag(CKF_ENCAPSULATE);
    assert!(ways.len() >= 5, "{ways:x?}");
    for id in ways {
        let mut parameters = Parameters::new();
        let mut way = parameters.mechanism(id);
        let (to, from) = if id == CKM_ML_KEM { ml_kem } else { desk.pair_for(id) };
        let description = with(arriving(CKK_AES), &[number(CKA_VALUE_LEN, 32)]);
        let mut template = native(&description);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let (mut len, mut key) = (0, 0);
        ok!(module, C_EncapsulateKey, session, &mut way, to, first, count, null_mut(), &mut len, null_mut());
        let mut sealed = vec![0; len as usize];
        let out = sealed.as_mut_ptr();
        len -= 1;
        let short = call!(module, C_EncapsulateKey, session, &mut way, to, first, count, out, &mut len, &mut key);
        assert_eq!((short, len as usize), (CKR_BUFFER_TOO_SMALL, sealed.len()), "{id:#x}");
        ok!(module, C_EncapsulateKey, session, &mut way, to, first, count, out, &mut len, &mut key);
        let mut back = 0;
        ok!(module, C_DecapsulateKey, session, &mut way, from, first, count, out, len, &mut back);
        assert_eq!(desk.value(back), desk.value(key), "{id:#x}");
        for key in [key, back] {
            assert_eq!(module.attribute(session, key, CKA_LOCAL), [CK_FALSE], "{id:#x}");
        }
        let wrong_key = call!(module, C_DecapsulateKey, session, &mut way, to, first, count, out, len, &mut back);
        assert_eq!(wrong_key, CKR_KEY_FUNCTION_NOT_PERMITTED, "{id:#x}");
        let cut = call!(module, C_DecapsulateKey, session, &mut way, from, first, count, out, len - 1, &mut back);
        // A point has several encodings, of several lengths.
        let is_point = [CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE].contains(&id);
        assert_eq!(cut, if is_point { CKR_WRAPPED_KEY_INVALID } else { CKR_WRAPPED_KEY_LEN_RANGE }, "{id:#x}");
    }
}

#[test]
fn an_authenticated_wrapping_is_all_or_nothing() {
    if !alone("an_authenticated_wrapping_is_all_or_nothing") {
        return;
    }
    let desk = Desk::new();
    let (module, session) = (desk.module, desk.session);
    let key = module.create(session, &open_key(CKK_AES, &[6; 16]));
    let description = arriving(CKK_AES);
    let mut aad = *b"associated";
    for generator in [CKG_NO_GENERATE, CKG_GENERATE, CKG_GENERATE_RANDOM, CKG_GENERATE_COUNTER] {
        let (mut iv, mut tag) = ([7_u8; 12], [0_u8; 16]);
        let mut gcm = CK_GCM_MESSAGE_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvFixedBits: 32,
            ivGenerator: generator,
            pTag: tag.as_mut_ptr(),
            ulTagBits: 128,
        };
        let mut way = mechanism(CKM_AES_GCM);
        (way.pParameter, way.ulParameterLen) = (from_mut(&mut gcm).cast(), size_of_val(&gcm) as CK_ULONG);
        let (mut sealed, mut len) = ([0_u8; 64], 64);
        let aad_len = aad.len() as CK_ULONG;
        let wrapped = call!(
            module,
            C_WrapKeyAuthenticated,
            session,
            &mut way,
            desk.aes,
            key,
            aad.as_mut_ptr(),
            aad_len,
            sealed.as_mut_ptr(),
            &mut len
        );
        if generator == CKG_GENERATE_COUNTER {
            assert_eq!(wrapped, CKR_MECHANISM_PARAM_INVALID);
            continue;
        }
        assert_eq!((wrapped, len), (CKR_OK, 16));
        assert_eq!(iv[..4], [7; 4], "the caller's own bits stay");
        assert_eq!(iv[4..] == [7; 8], generator == CKG_NO_GENERATE);
        black_box(&mut gcm).ivGenerator = CKG_NO_GENERATE;
        let mut unwrap = |aad: &mut [u8]| {
            let (mut template, mut back) = (native(&description), 0);
            let (first, count, aad_len) = (template.as_mut_ptr(), template.len() as CK_ULONG, aad.len() as CK_ULONG);
            let rv = call!(
                module,
                C_UnwrapKeyAuthenticated,
                session,
                &mut way,
                desk.aes,
                sealed.as_mut_ptr(),
                len,
                first,
                count,
                aad.as_mut_ptr(),
                aad_len,
                &mut back
            );
            host::check(rv).map(|()| desk.value(back))
        };
        assert_eq!(unwrap(&mut aad), Ok(vec![6; 16]));
        assert_eq!(unwrap(&mut b"other data".to_owned()), Err(CKR_WRAPPED_KEY_INVALID));
        // The module reads it by its pointer.
        black_box(&mut tag)[3] ^= 1;
        assert_eq!(unwrap(&mut aad), Err(CKR_WRAPPED_KEY_INVALID));
    }
}

/// The templates that a key imposes on those that it wraps, unwraps and derives.
#[test]
fn a_key_s_own_templates_are_obeyed() {
    if !alone("a_key_s_own_templates_are_obeyed") {
        return;
    }
    let desk = Desk::new();
    let (module, session) = (desk.module, desk.session);
    let create = |attribute: CK_ATTRIBUTE_TYPE, inner: &[Attr]| {
        let (inner, own) = (native(inner), secret_key(CKK_AES, &[0x42; 32]));
        let mut template = native(&own);
        template.push(CK_ATTRIBUTE {
            type_: attribute,
            pValue: inner.as_ptr().cast_mut().cast(),
            ulValueLen: size_of_val(&inner[..]) as CK_ULONG,
        });
        let mut key = 0;
        ok!(module, C_CreateObject, session, template.as_mut_ptr(), template.len() as CK_ULONG, &mut key);
        key
    };
    let mut way = mechanism(CKM_AES_KEY_WRAP);
    let labelled = module.create(session, &with(open_key(CKK_AES, &[1; 16]), &[bytes(CKA_LABEL, b"yes")]));
    let other = module.create(session, &open_key(CKK_AES, &[1; 16]));
    let wraps = create(CKA_WRAP_TEMPLATE, &[bytes(CKA_LABEL, b"yes"), number(CKA_KEY_TYPE, CKK_AES)]);
    let wrapped = desk.wrap(&mut way, wraps, labelled).unwrap();
    assert_eq!(desk.wrap(&mut way, wraps, other), Err(CKR_KEY_HANDLE_INVALID));

    let unwraps = create(CKA_UNWRAP_TEMPLATE, &[bytes(CKA_LABEL, b"mine"), flag(CKA_ENCRYPT, false)]);
    let back = desk.unwrap(&mut way, unwraps, &wrapped, &arriving(CKK_AES)).unwrap();
    assert_eq!(module.attribute(session, back, CKA_LABEL), b"mine");
    assert!(!module.is(session, back, CKA_ENCRYPT));
    let against = with(arriving(CKK_AES), &[flag(CKA_ENCRYPT, true)]);
    assert_eq!(desk.unwrap(&mut way, unwraps, &wrapped, &against), Err(CKR_TEMPLATE_INCONSISTENT));

    let derives = create(CKA_DERIVE_TEMPLATE, &[bytes(CKA_LABEL, b"child"), flag(CKA_TOKEN, false)]);
    let mut zeros = [0_u8; 16];
    let mut data = CK_KEY_DERIVATION_STRING_DATA { pData: zeros.as_mut_ptr(), ulLen: 16 };
    let mut ecb = mechanism(CKM_AES_ECB_ENCRYPT_DATA);
    (ecb.pParameter, ecb.ulParameterLen) = (from_mut(&mut data).cast(), size_of_val(&data) as CK_ULONG);
    let derive = |ecb: &mut CK_MECHANISM, more: &[Attr]| {
        let described = with(vec![number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_AES)], more);
        let described = with(described, &[number(CKA_VALUE_LEN, 16)]);
        let (mut template, mut key) = (native(&described), 0);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        host::check(call!(module, C_DeriveKey, session, ecb, derives, first, count, &mut key)).map(|()| key)
    };
    let child = derive(&mut ecb, &[]).unwrap();
    assert_eq!(module.attribute(session, child, CKA_LABEL), b"child");
    assert_eq!(derive(&mut ecb, &[bytes(CKA_LABEL, b"mine")]), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(derive(&mut ecb, &[flag(CKA_TOKEN, true)]), Err(CKR_TEMPLATE_INCONSISTENT));
}

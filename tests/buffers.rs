//! The one rule of output buffers (section 5.2), for every function that has one: NULL asks for the length, too
//! little room is `CKR_BUFFER_TOO_SMALL`, the operation lives on in both cases, and neither calls KMS.

mod host;

use cryptoki_sys::*;
use datakey::kms::embedded::Server;
use host::{Kind, Module, Place, alone, attr, call, mechanism, ok};
use std::ffi::c_void;
use std::ptr::null_mut;

/// A KMS that counts, and a token on it whose every use of a key is a call.
struct Scene {
    server: Server,
    module: Module,
    session: CK_SESSION_HANDLE,
    _place: Place,
}

impl Scene {
    fn new() -> Self {
        let (place, server) = Place::served("cache = { max_age = 0 }");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        Self { server, module, session, _place: place }
    }

    fn calls(&self) -> u64 {
        self.server.control().calls().values().sum()
    }

    /// A mechanism with an initialisation vector of one block.
    fn cbc(&self) -> CK_MECHANISM {
        static IV: [u8; 16] = [7; 16];
        CK_MECHANISM { mechanism: CKM_AES_CBC, pParameter: IV.as_ptr().cast_mut().cast(), ulParameterLen: 16 }
    }

    /// A secret key of 32 bytes on the token.
    fn secret_key(&self, kind: CK_KEY_TYPE) -> CK_OBJECT_HANDLE {
        self.secret_key_of(CKO_SECRET_KEY, kind)
    }

    /// The same of another class.
    fn secret_key_of(&self, class: CK_OBJECT_CLASS, kind: CK_KEY_TYPE) -> CK_OBJECT_HANDLE {
        let (class, kind) = (class.to_ne_bytes(), kind.to_ne_bytes());
        let (value, yes) = ([0x42; 32], [CK_TRUE]);
        let mut template =
            [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &kind), attr(CKA_VALUE, &value), attr(CKA_TOKEN, &yes)];
        let mut key = 0;
        ok!(self.module, C_CreateObject, self.session, template.as_mut_ptr(), 4, &mut key);
        key
    }
}

/// A function under the rule.
struct Row<'a> {
    name: &'static str,
    /// The length of its output, and the most that it may say beforehand.
    exact: usize,
    most: usize,
    /// Starts what it ends.
    begin: &'a dyn Fn(),
    /// Asks for the output.
    call: &'a dyn Fn(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV,
    /// What it answers once more, after it was over, and after a length that is NULL.
    then: CK_RV,
    after_error: CK_RV,
    /// How often it uses a key.
    uses: u64,
    /// Ends what outlives it.
    end: &'a dyn Fn(),
}

const OVER: CK_RV = CKR_OPERATION_NOT_INITIALIZED;
const HUGE: usize = 4096;

impl Row<'_> {
    /// Returns the outputs for buffers of several sizes.
    fn check(&self, scene: &Scene) -> Vec<Vec<u8>> {
        let Self { name, exact, .. } = *self;
        let mut outputs = Vec::new();
        for room in [exact, exact + 1, HUGE] {
            (self.begin)();
            let before = scene.calls();
            let (mut buffer, mut len) = (vec![0xa5_u8; HUGE], CK_ULONG::MAX);
            // As often as the caller likes.
            for _ in 0..3 {
                assert_eq!((self.call)(null_mut(), &mut len), CKR_OK, "{name}: length");
                assert!((exact..=self.most).contains(&(len as usize)), "{name}: {len} for {exact}");
            }
            assert_eq!(scene.calls(), before, "{name}: a length that is asked for calls KMS");
            for small in [0, exact - 1].into_iter().filter(|small| *small < exact) {
                len = small as CK_ULONG;
                assert_eq!((self.call)(buffer.as_mut_ptr(), &mut len), CKR_BUFFER_TOO_SMALL, "{name}: {small}");
                assert!((exact..=self.most).contains(&(len as usize)), "{name}: {len} for {exact}");
                assert!(buffer.iter().all(|byte| *byte == 0xa5), "{name} wrote without room");
            }
            len = room as CK_ULONG;
            assert_eq!((self.call)(buffer.as_mut_ptr(), &mut len), CKR_OK, "{name}: {room}");
            assert_eq!(len as usize, exact, "{name}");
            assert!(buffer[exact..].iter().all(|byte| *byte == 0xa5), "{name} wrote beyond its output");
            assert_eq!(scene.calls() - before, self.uses, "{name}: uses of a key");
            outputs.push(buffer[..exact].to_vec());
            len = HUGE as CK_ULONG;
            assert_eq!((self.call)(buffer.as_mut_ptr(), &mut len), self.then, "{name}: once more");
            (self.end)();
        }
        // No length at all is an error like any other.
        (self.begin)();
        let (mut buffer, mut len) = (vec![0; HUGE], HUGE as CK_ULONG);
        assert_eq!((self.call)(buffer.as_mut_ptr(), null_mut()), CKR_ARGUMENTS_BAD, "{name}");
        assert_eq!((self.call)(buffer.as_mut_ptr(), &mut len), self.after_error, "{name}: after an error");
        (self.end)();
        outputs
    }
}

/// A row of a function that ends its operation.
fn ends<'a>(
    name: &'static str,
    exact: usize,
    uses: u64,
    begin: &'a dyn Fn(),
    call: &'a dyn Fn(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV,
) -> Row<'a> {
    Row { name, exact, most: exact, begin, call, then: OVER, after_error: OVER, uses, end: &|| () }
}

const DATA: &[u8] = b"some data";
const N: CK_ULONG = 9;

#[test]
fn digests_and_signatures() {
    if !alone("digests_and_signatures") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let data = DATA.as_ptr().cast_mut();
    let digest = || ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA384));
    ends("C_Digest", 48, 0, &digest, &|out, len| call!(module, C_Digest, session, data, N, out, len)).check(&scene);
    let updated = || {
        digest();
        ok!(module, C_DigestUpdate, session, data, N);
    };
    ends("C_DigestFinal", 48, 0, &updated, &|out, len| call!(module, C_DigestFinal, session, out, len)).check(&scene);
    // It ends nothing, whatever comes of it.
    let state = |out, len| call!(module, C_GetOperationState, session, out, len);
    let cancel = || ok!(module, C_SessionCancel, session, CK_FLAGS::MAX);
    let row = ends("C_GetOperationState", 16 + 80 + 9 + 32, 0, &updated, &state);
    Row { then: CKR_OK, after_error: CKR_OK, end: &cancel, ..row }.check(&scene);

    for (index, kind) in
        [Kind::Rsa(2048), Kind::P256, Kind::P521, Kind::Secp256k1, Kind::Ed25519].into_iter().enumerate()
    {
        let (public, private) = module.generate(session, kind, &[index as u8]);
        let len = [256, 64, 132, 64, 64][index];
        let begin = || ok!(module, C_SignInit, session, &mut mechanism(kind.signs()), private);
        let updated = || {
            begin();
            ok!(module, C_SignUpdate, session, data, N);
        };
        let process = || ok!(module, C_MessageSignInit, session, &mut mechanism(kind.signs()), private);
        let message = || {
            process();
            ok!(module, C_SignMessageBegin, session, null_mut(), 0);
            ok!(module, C_SignMessageNext, session, null_mut(), 0, data, 4, null_mut(), null_mut());
        };
        let rest = data.wrapping_add(4);
        let next = |out, len| call!(module, C_SignMessageNext, session, null_mut(), 0, rest, N - 4, out, len);
        let mut made = Vec::new();
        let sign = |out, len| call!(module, C_Sign, session, data, N, out, len);
        made.extend(ends("C_Sign", len, 1, &begin, &sign).check(&scene));
        let sign = |out, len| call!(module, C_SignFinal, session, out, len);
        made.extend(ends("C_SignFinal", len, 1, &updated, &sign).check(&scene));
        let sign = |out, len| call!(module, C_SignMessage, session, null_mut(), 0, data, N, out, len);
        let row = ends("C_SignMessage", len, 1, &process, &sign);
        made.extend(Row { then: CKR_OK, after_error: CKR_OK, end: &cancel, ..row }.check(&scene));
        // Without a length the part is not the last one, and the message goes on: no error to look at here.
        for room in [len, HUGE] {
            message();
            let before = scene.calls();
            let (mut out, mut size) = (vec![0; HUGE], 0);
            assert_eq!((next(null_mut(), &mut size), size as usize), (CKR_OK, len), "{kind:?}");
            size -= 1;
            assert_eq!(next(out.as_mut_ptr(), &mut size), CKR_BUFFER_TOO_SMALL, "{kind:?}");
            assert_eq!((size as usize, scene.calls()), (len, before), "{kind:?}");
            size = room as CK_ULONG;
            assert_eq!((next(out.as_mut_ptr(), &mut size), size as usize), (CKR_OK, len), "{kind:?}");
            assert_eq!((scene.calls(), next(out.as_mut_ptr(), &mut size)), (before + 1, OVER), "{kind:?}");
            made.push(out[..len].to_vec());
            cancel();
        }
        for signature in made {
            assert_eq!(module.verify(session, public, kind.signs(), DATA, &signature), CKR_OK, "{kind:?}");
        }
    }

    // A password, with what it comes in. What is not taken does not count.
    let otp = scene.secret_key_of(CKO_OTP_KEY, CKK_HOTP);
    let begin = || ok!(module, C_SignInit, session, &mut mechanism(CKM_HOTP), otp);
    let sign = |out, len| call!(module, C_Sign, session, null_mut(), 0, out, len);
    ends("C_Sign", 16 + 2 * 24 + 8 + 6, 1, &begin, &sign).check(&scene);
    assert_eq!(module.attribute(session, otp, CKA_OTP_COUNTER), 3_u64.to_be_bytes());
    let sign = |out, len| call!(module, C_SignFinal, session, out, len);
    ends("C_SignFinal", 16 + 2 * 24 + 8 + 6, 1, &begin, &sign).check(&scene);
    assert_eq!(module.attribute(session, otp, CKA_OTP_COUNTER), 6_u64.to_be_bytes());

    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let begin = || ok!(module, C_SignRecoverInit, session, &mut mechanism(CKM_RSA_PKCS), private);
    let sign = |out, len| call!(module, C_SignRecover, session, data, N, out, len);
    let signature = ends("C_SignRecover", 256, 1, &begin, &sign).check(&scene).remove(0);
    let signature = signature.as_ptr().cast_mut();
    let begin = || ok!(module, C_VerifyRecoverInit, session, &mut mechanism(CKM_RSA_PKCS), public);
    let recover = |out, len| call!(module, C_VerifyRecover, session, signature, 256, out, len);
    let row = ends("C_VerifyRecover", 9, 0, &begin, &recover);
    assert_eq!(Row { most: 256, ..row }.check(&scene), [DATA; 3]);
}

#[test]
fn ciphers() {
    if !alone("ciphers") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let data = DATA.as_ptr().cast_mut();
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let encrypting = || ok!(module, C_EncryptInit, session, &mut mechanism(CKM_RSA_PKCS), public);
    let encrypt = |out, len| call!(module, C_Encrypt, session, data, N, out, len);
    let made = ends("C_Encrypt", 256, 0, &encrypting, &encrypt).check(&scene);
    let updated = || {
        encrypting();
        let mut none = 0;
        ok!(module, C_EncryptUpdate, session, data, 4, data, &mut none);
        ok!(module, C_EncryptUpdate, session, data.wrapping_add(4), N - 4, data, &mut none);
        assert_eq!(none, 0);
    };
    let last = |out, len| call!(module, C_EncryptFinal, session, out, len);
    let in_parts = ends("C_EncryptFinal", 256, 0, &updated, &last).check(&scene);

    for sealed in made.iter().chain(&in_parts) {
        let sealed = sealed.as_ptr().cast_mut();
        let begin = || ok!(module, C_DecryptInit, session, &mut mechanism(CKM_RSA_PKCS), private);
        let decrypt = |out, len| call!(module, C_Decrypt, session, sealed, 256, out, len);
        // What found no room is kept: still one use.
        let row = ends("C_Decrypt", 9, 1, &begin, &decrypt);
        assert_eq!(Row { most: 256, ..row }.check(&scene), [DATA; 3]);
        let updated = || {
            begin();
            ok!(module, C_DecryptUpdate, session, sealed, 256, data, &mut 0);
        };
        let last = |out, len| call!(module, C_DecryptFinal, session, out, len);
        let row = ends("C_DecryptFinal", 9, 1, &updated, &last);
        assert_eq!(Row { most: 256, ..row }.check(&scene), [DATA; 3]);
    }
}

#[test]
fn authenticated_ciphers() {
    if !alone("authenticated_ciphers") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let data = DATA.as_ptr().cast_mut();
    let key = scene.secret_key(CKK_CHACHA20);
    let mut nonce = [7; 12];
    let mut aead = CK_SALSA20_CHACHA20_POLY1305_PARAMS {
        pNonce: nonce.as_mut_ptr(),
        ulNonceLen: 96,
        pAAD: null_mut(),
        ulAADLen: 0,
    };
    let parameter: *mut c_void = (&raw mut aead).cast();
    let how = || CK_MECHANISM {
        pParameter: parameter,
        ulParameterLen: size_of::<CK_SALSA20_CHACHA20_POLY1305_PARAMS>() as CK_ULONG,
        ..mechanism(CKM_CHACHA20_POLY1305)
    };
    let encrypting = || ok!(module, C_EncryptInit, session, &mut how(), key);
    let encrypt = |out, len| call!(module, C_Encrypt, session, data, N, out, len);
    let sealed = ends("C_Encrypt", 25, 1, &encrypting, &encrypt).check(&scene).remove(0);
    // The key is used when the first data comes, and the rest comes at the end.
    let updated = || {
        encrypting();
        let (mut out, mut len) = ([0; 9], 9);
        ok!(module, C_EncryptUpdate, session, data, N, out.as_mut_ptr(), &mut len);
        assert_eq!(out, sealed[..9]);
    };
    let last = |out, len| call!(module, C_EncryptFinal, session, out, len);
    assert_eq!(ends("C_EncryptFinal", 16, 0, &updated, &last).check(&scene), [&sealed[9..]; 3]);

    let at = sealed.as_ptr().cast_mut();
    let decrypting = || ok!(module, C_DecryptInit, session, &mut how(), key);
    let decrypt = |out, len| call!(module, C_Decrypt, session, at, 25, out, len);
    assert_eq!(ends("C_Decrypt", 9, 1, &decrypting, &decrypt).check(&scene), [DATA; 3]);
    let updated = || {
        decrypting();
        ok!(module, C_DecryptUpdate, session, at, 25, data, &mut 0);
    };
    let last = |out, len| call!(module, C_DecryptFinal, session, out, len);
    assert_eq!(ends("C_DecryptFinal", 9, 0, &updated, &last).check(&scene), [DATA; 3]);
}

#[test]
fn messages() {
    if !alone("messages") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let data = DATA.as_ptr().cast_mut();
    let key = scene.secret_key(CKK_AES);
    let (mut iv, mut tag) = ([7; 12], [0; 16]);
    let mut gcm = CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvFixedBits: 0,
        ivGenerator: CKG_NO_GENERATE,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 128,
    };
    let params: *mut c_void = (&raw mut gcm).cast();
    let n = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
    let cancel = || ok!(module, C_SessionCancel, session, CK_FLAGS::MAX);
    let whole = |name, begin, call| {
        let row = ends(name, 9, 1, begin, call);
        Row { then: CKR_OK, after_error: CKR_OK, end: &cancel, ..row }.check(&scene)
    };
    let process = || ok!(module, C_MessageEncryptInit, session, &mut mechanism(CKM_AES_GCM), key);
    let encrypt = |out, len| call!(module, C_EncryptMessage, session, params, n, null_mut(), 0, data, N, out, len);
    let sealed = whole("C_EncryptMessage", &process, &encrypt);
    assert!(sealed.iter().all(|one| *one == sealed[0]));
    let began = || {
        process();
        ok!(module, C_EncryptMessageBegin, session, params, n, null_mut(), 0);
    };
    // The key is used when the message begins.
    let next =
        |out, len| call!(module, C_EncryptMessageNext, session, params, n, data, N, out, len, CKF_END_OF_MESSAGE);
    let row = ends("C_EncryptMessageNext, the last", 9, 0, &began, &next);
    assert_eq!(Row { end: &cancel, ..row }.check(&scene), sealed);
    let next = |out, len| call!(module, C_EncryptMessageNext, session, params, n, data, N, out, len, 0);
    let row = ends("C_EncryptMessageNext", 9, 0, &began, &next);
    assert_eq!(Row { then: CKR_OK, end: &cancel, ..row }.check(&scene), sealed);

    let sealed = sealed[0].as_ptr().cast_mut();
    let process = || ok!(module, C_MessageDecryptInit, session, &mut mechanism(CKM_AES_GCM), key);
    let decrypt = |out, len| call!(module, C_DecryptMessage, session, params, n, null_mut(), 0, sealed, N, out, len);
    assert_eq!(whole("C_DecryptMessage", &process, &decrypt), [DATA; 3]);
    let began = || {
        process();
        ok!(module, C_DecryptMessageBegin, session, params, n, null_mut(), 0);
        ok!(module, C_DecryptMessageNext, session, params, n, sealed, 4, data, &mut 0, 0);
    };
    let rest = sealed.wrapping_add(4);
    let next =
        |out, len| call!(module, C_DecryptMessageNext, session, params, n, rest, N - 4, out, len, CKF_END_OF_MESSAGE);
    let row = ends("C_DecryptMessageNext, the last", 9, 0, &began, &next);
    assert_eq!(Row { end: &cancel, ..row }.check(&scene), [DATA; 3]);
}

#[test]
fn parts_of_streams() {
    if !alone("parts_of_streams") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let key = scene.secret_key(CKK_AES);
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let blocks = [0x31_u8; 32];
    let (data, n) = (blocks.as_ptr().cast_mut(), blocks.len() as CK_ULONG);
    let cancel = || ok!(module, C_SessionCancel, session, CK_FLAGS::MAX);
    // The operation goes on after its part.
    let part = |name, uses, begin: &dyn Fn(), call: &dyn Fn(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV| {
        let row = ends(name, 32, uses, begin, call);
        Row { then: CKR_OK, end: &cancel, ..row }.check(&scene)
    };
    let encrypting = || ok!(module, C_EncryptInit, session, &mut scene.cbc(), key);
    let encrypt = |out, len| call!(module, C_EncryptUpdate, session, data, n, out, len);
    let sealed = part("C_EncryptUpdate", 1, &encrypting, &encrypt);
    assert!(sealed.iter().all(|one| *one == sealed[0]));
    let from = sealed[0].as_ptr().cast_mut();
    let decrypting = || ok!(module, C_DecryptInit, session, &mut scene.cbc(), key);
    let decrypt = |out, len| call!(module, C_DecryptUpdate, session, from, n, out, len);
    assert_eq!(part("C_DecryptUpdate", 1, &decrypting, &decrypt), [blocks; 3]);

    let digest = || ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA256));
    let both = || (digest(), encrypting()).0;
    let work = |out, len| call!(module, C_DigestEncryptUpdate, session, data, n, out, len);
    assert_eq!(part("C_DigestEncryptUpdate", 1, &both, &work), sealed);
    let both = || (digest(), decrypting()).0;
    let work = |out, len| call!(module, C_DecryptDigestUpdate, session, from, n, out, len);
    assert_eq!(part("C_DecryptDigestUpdate", 1, &both, &work), [blocks; 3]);
    let sign = || ok!(module, C_SignInit, session, &mut mechanism(CKM_SHA256_RSA_PKCS), private);
    let both = || (sign(), encrypting()).0;
    let work = |out, len| call!(module, C_SignEncryptUpdate, session, data, n, out, len);
    assert_eq!(part("C_SignEncryptUpdate", 1, &both, &work), sealed);
    let verify = || ok!(module, C_VerifyInit, session, &mut mechanism(CKM_SHA256_RSA_PKCS), public);
    let both = || (verify(), decrypting()).0;
    let work = |out, len| call!(module, C_DecryptVerifyUpdate, session, from, n, out, len);
    assert_eq!(part("C_DecryptVerifyUpdate", 1, &both, &work), [blocks; 3]);
}

#[test]
fn keys_that_travel() {
    if !alone("keys_that_travel") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let key = scene.secret_key(CKK_AES);
    let (public, _) = module.generate(session, Kind::Rsa(2048), b"rsa");
    let (class, kind, yes, no) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes(), [CK_TRUE], [CK_FALSE]);
    let value = [0x51; 16];
    let mut template = [
        attr(CKA_CLASS, &class),
        attr(CKA_KEY_TYPE, &kind),
        attr(CKA_VALUE, &value),
        attr(CKA_SENSITIVE, &no),
        attr(CKA_EXTRACTABLE, &yes),
    ];
    let mut travels = 0;
    ok!(module, C_CreateObject, session, template.as_mut_ptr(), 5, &mut travels);
    // There is no operation: nothing to end, and nothing that an error could end.
    type Call<'a> = &'a dyn Fn(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV;
    let call_alone = |name, exact, uses, call: Call<'_>| {
        let row = ends(name, exact, uses, &|| (), call);
        Row { then: CKR_OK, after_error: CKR_OK, ..row }.check(&scene)
    };
    let mut way = mechanism(CKM_AES_KEY_WRAP);
    let way = &raw mut way;
    let wrapped =
        call_alone("C_WrapKey", 24, 1, &|out, len| call!(module, C_WrapKey, session, way, key, travels, out, len));
    assert!(wrapped.iter().all(|one| *one == wrapped[0]));

    let (mut iv, mut tag) = ([7; 12], [0; 16]);
    let mut gcm = CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvFixedBits: 0,
        ivGenerator: CKG_NO_GENERATE,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 128,
    };
    let mut way = mechanism(CKM_AES_GCM);
    (way.pParameter, way.ulParameterLen) = ((&raw mut gcm).cast(), size_of_val(&gcm) as CK_ULONG);
    let way = &raw mut way;
    let null = null_mut();
    let wrapped = call_alone("C_WrapKeyAuthenticated", 16, 1, &|out, len| {
        call!(module, C_WrapKeyAuthenticated, session, way, key, travels, null, 0, out, len)
    });
    assert!(wrapped.iter().all(|one| *one == wrapped[0]));

    ok!(module, C_SetAttributeValue, session, public, &mut attr(CKA_ENCAPSULATE, &yes), 1);
    let len16 = 16_u64.to_ne_bytes();
    let mut template = [attr(CKA_KEY_TYPE, &kind), attr(CKA_VALUE_LEN, &len16)];
    let (mut way, first, made) = (mechanism(CKM_RSA_PKCS), template.as_mut_ptr(), std::cell::Cell::new(0));
    let way = &raw mut way;
    call_alone("C_EncapsulateKey", 256, 0, &|out, len| {
        call!(module, C_EncapsulateKey, session, way, public, first, 2, out, len, made.as_ptr())
    });
}

/// Every function that answers with a length is in a row above, or in that test of lists, or does not exist.
#[test]
fn no_function_is_forgotten() {
    let here = [include_str!("buffers.rs"), include_str!("states.rs")].concat();
    let mut found = 0;
    for row in include_str!("../src/capi/functions.rs").lines().map(str::trim_start) {
        let Some((name, rest)) = row.split_once('(').filter(|(name, _)| name.starts_with("C_")) else { continue };
        let answers = ["_len: *mut CK_ULONG", "count: *mut CK_ULONG"].iter().any(|output| rest.contains(output));
        if !answers || rest.contains("= missing") {
            continue;
        }
        found += 1;
        // Its length is the number that was found; and one that is only checked by hand, above.
        let apart = ["C_FindObjects", "C_SignMessageNext"].contains(&name);
        assert!(apart || ["\"", ","].iter().any(|end| here.contains(&format!("\"{name}{end}"))), "{name} has no row");
    }
    assert!(found >= 27, "{found} functions with an output");
}

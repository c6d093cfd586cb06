//! How often KMS is called, counted where the calls arrive: the embedded KMS on a port in this process.

mod host;

use cryptoki_sys::*;
use datakey::kms::embedded::{Fault, FaultKind, Server};
use host::steps::{run, say, step};
use host::{Kind, Module, Place, USER_PIN, alone, attr, call, mechanism, ok};
use std::collections::BTreeMap;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A KMS that counts, a token on it, and the module.
struct Scene {
    server: Server,
    place: Place,
    module: Module,
}

impl Scene {
    /// `more` is added to the token's configuration. The token is initialised; nobody is logged in.
    fn new(more: &str) -> Self {
        let (place, server) = Place::served(more);
        let module = Module::start(&place.configuration());
        module.make_token(!more.contains("login = \"none\""));
        Self { server, place, module }
    }

    /// The calls that arrive while `work` runs.
    fn calls<T>(&self, work: impl FnOnce() -> T) -> (T, BTreeMap<String, u64>) {
        self.server.control().reset_calls();
        let result = work();
        (result, self.server.control().calls())
    }

    #[track_caller]
    fn expect<T>(&self, expected: &[(&str, u64)], work: impl FnOnce() -> T) -> T {
        let (result, calls) = self.calls(work);
        let calls: Vec<_> = calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(calls, expected);
        result
    }

    #[track_caller]
    fn free<T>(&self, work: impl FnOnce() -> T) -> T {
        self.expect(&[], work)
    }

    fn inject(&self, fault: FaultKind) {
        self.server.control().inject(Fault { operation: Some("Decrypt".to_owned()), fault });
    }

    fn inject_error(&self, code: &str) {
        self.inject(FaultKind::Error { code: code.to_owned(), status: None, message: String::new() });
    }
}

const DECRYPT: &[(&str, u64)] = &[("Decrypt", 1)];
const GENERATE: &[(&str, u64)] = &[("GenerateDataKeyPair", 1)];

fn sign(module: Module, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) {
    assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap().len(), 64);
}

#[test]
fn only_generation_and_the_first_use_call() {
    const NAME: &str = "only_generation_and_the_first_use_call";
    if step().is_some() {
        return first_use_in_a_new_process();
    }
    if !alone(NAME) {
        return;
    }
    let scene = Scene::new("");
    let module = scene.module;
    let (session, data) = scene.free(|| {
        module.again();
        let session = module.open(false);
        assert_eq!(module.find(session, &[]).len(), 0);
        (module.open(true), [7_u8; 100])
    });
    let (public, private) = scene.expect(GENERATE, || module.generate(session, Kind::Rsa(2048), b"rsa"));
    let (_, ec) = scene.expect(GENERATE, || module.generate(session, Kind::P256, b"ec"));
    scene.free(|| {
        let mut len = 0;
        let signature = module.sign(session, private, CKM_SHA256_RSA_PKCS, &data).unwrap();
        assert_eq!(module.verify(session, public, CKM_SHA256_RSA_PKCS, &data, &signature), CKR_OK);
        sign(module, session, ec);
        let encrypted = encrypt(module, session, public, &data);
        assert_eq!(decrypt(module, session, private, &encrypted), data);
        ok!(module, C_DigestInit, session, &mut mechanism(CKM_SHA256));
        let mut digest = [0; 32];
        len += digest.len() as CK_ULONG;
        ok!(module, C_Digest, session, data.as_ptr().cast_mut(), 100, digest.as_mut_ptr(), &mut len);
        ok!(module, C_GenerateRandom, session, digest.as_mut_ptr(), 32);
        assert_eq!(module.attribute(session, private, CKA_MODULUS).len(), 256);
        let mut size = 0;
        ok!(module, C_GetObjectSize, session, private, &mut size);
    });

    // Renamed, in a state that has nothing cached: still one call, not one more.
    let session = scene.free(|| module.again());
    let key = scene.free(|| module.private_key(session, b"ec"));
    scene.free(|| {
        let mut template = [attr(CKA_LABEL, b"renamed"), attr(CKA_ID, b"ec2")];
        ok!(module, C_SetAttributeValue, session, key, template.as_mut_ptr(), 2);
    });
    scene.expect(DECRYPT, || sign(module, session, key));
    scene.free(|| {
        let mut template = [attr(CKA_LABEL, b"renamed again"), attr(CKA_ID, b"ec")];
        ok!(module, C_SetAttributeValue, session, key, template.as_mut_ptr(), 2);
        sign(module, session, key);
    });

    let said = scene.expect(&[("Decrypt", 2)], || run(NAME, "use", &scene.place.configuration()));
    assert_eq!(said, ["1000 signatures"]);

    // A login ends with all its keys.
    ok!(module, C_Logout, session);
    scene.free(|| module.login(session));
    let key = scene.free(|| module.private_key(session, b"ec"));
    scene.expect(DECRYPT, || sign(module, session, key));
    scene.free(|| {
        ok!(module, C_DestroyObject, session, key);
        module.finalise();
    });
}

/// Its two calls are one for each key, whatever else it does with them.
fn first_use_in_a_new_process() {
    let module = Module::start_step();
    let session = module.enter();
    let key = module.private_key(session, b"ec");
    let mut mechanism = mechanism(CKM_ECDSA_SHA256);
    ok!(module, C_SignInit, session, &mut mechanism, key);
    let (mut signature, mut len) = ([0; 64], 0);
    for _ in 0..1000 {
        // Neither a query nor a lack of room is a use.
        ok!(module, C_Sign, session, b"data".as_ptr().cast_mut(), 4, null_mut(), &mut len);
        assert_eq!(len, 64);
        len = 63;
        let rv = call!(module, C_Sign, session, b"data".as_ptr().cast_mut(), 4, signature.as_mut_ptr(), &mut len);
        assert_eq!(rv, CKR_BUFFER_TOO_SMALL);
        ok!(module, C_Sign, session, b"data".as_ptr().cast_mut(), 4, signature.as_mut_ptr(), &mut len);
        ok!(module, C_SignInit, session, &mut mechanism, key);
    }
    let rsa = module.private_key(session, b"rsa");
    let public = module.find(session, &[(CKA_CLASS, &CKO_PUBLIC_KEY.to_ne_bytes()), (CKA_ID, b"rsa")])[0];
    let encrypted = encrypt(module, session, public, b"message");
    for _ in 0..10 {
        assert_eq!(decrypt(module, session, rsa, &encrypted), b"message");
    }
    say("1000 signatures");
}

fn encrypt(module: Module, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE, data: &[u8]) -> Vec<u8> {
    ok!(module, C_EncryptInit, session, &mut mechanism(CKM_RSA_PKCS), key);
    let mut out = vec![0; 512];
    let mut len = out.len() as CK_ULONG;
    let data_len = data.len() as CK_ULONG;
    ok!(module, C_Encrypt, session, data.as_ptr().cast_mut(), data_len, out.as_mut_ptr(), &mut len);
    out.truncate(len as usize);
    out
}

/// Asks for the length and tries with too little room first.
fn decrypt(module: Module, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE, data: &[u8]) -> Vec<u8> {
    let (input, input_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    ok!(module, C_DecryptInit, session, &mut mechanism(CKM_RSA_PKCS), key);
    let mut len = 0;
    ok!(module, C_Decrypt, session, input, input_len, null_mut(), &mut len);
    let mut out = vec![0; len as usize];
    len = 1;
    assert_eq!(call!(module, C_Decrypt, session, input, input_len, out.as_mut_ptr(), &mut len), CKR_BUFFER_TOO_SMALL);
    ok!(module, C_Decrypt, session, input, input_len, out.as_mut_ptr(), &mut len);
    out.truncate(len as usize);
    out
}

#[test]
fn generation_without_plaintext_leaves_the_call_to_the_first_use() {
    if !alone("generation_without_plaintext_leaves_the_call_to_the_first_use") {
        return;
    }
    let scene = Scene::new("generate = \"without-plaintext\"");
    let module = scene.module;
    let session = module.enter();
    let expected = [("GenerateDataKeyPairWithoutPlaintext", 1)];
    let (_, key) = scene.expect(&expected, || module.generate(session, Kind::P256, b"1"));
    scene.expect(DECRYPT, || sign(module, session, key));
    scene.free(|| sign(module, session, key));
}

#[test]
fn a_crowd_that_wants_one_cold_key_makes_one_call() {
    if !alone("a_crowd_that_wants_one_cold_key_makes_one_call") {
        return;
    }
    let scene = Scene::new("");
    let module = scene.module;
    let session = module.enter();
    module.generate(session, Kind::P256, b"1");
    let session = module.again();
    let key = module.private_key(session, b"1");
    let sessions: Vec<_> = (0..64).map(|_| module.open(false)).collect();
    // Late, so that the whole crowd is there before the answer is.
    scene.inject(FaultKind::Delay(500));
    scene.expect(DECRYPT, || {
        let start = Barrier::new(sessions.len());
        std::thread::scope(|scope| {
            for session in &sessions {
                scope.spawn(|| {
                    start.wait();
                    sign(module, *session, key);
                });
            }
        });
    });
}

#[test]
fn a_token_without_pins_asks_once_more_for_its_token_key() {
    if !alone("a_token_without_pins_asks_once_more_for_its_token_key") {
        return;
    }
    let scene = Scene::new("login = \"none\"");
    let module = scene.module;
    let session = module.open(true);
    // In the process that made the token, too: what C_InitToken saw is not kept.
    let expected = [("Decrypt", 1), ("GenerateDataKeyPair", 1)];
    let (_, one) = scene.expect(&expected, || module.generate(session, Kind::P256, b"1"));
    scene.expect(GENERATE, || module.generate(session, Kind::P256, b"2"));
    scene.free(|| sign(module, session, one));

    let session = scene.free(|| {
        module.finalise();
        module.initialise();
        module.open(false)
    });
    let (one, two) = scene.free(|| (module.private_key(session, b"1"), module.private_key(session, b"2")));
    scene.expect(&[("Decrypt", 2)], || sign(module, session, one));
    scene.expect(DECRYPT, || sign(module, session, two));
    scene.free(|| (sign(module, session, one), sign(module, session, two)));
}

#[test]
fn without_age_each_use_is_a_call() {
    if !alone("without_age_each_use_is_a_call") {
        return;
    }
    let scene = Scene::new("cache = { max_age = 0 }");
    let module = scene.module;
    let session = module.enter();
    let (_, key) = scene.expect(GENERATE, || module.generate(session, Kind::P256, b"1"));
    for _ in 0..3 {
        scene.expect(DECRYPT, || sign(module, session, key));
    }
}

#[test]
fn uses_are_counted() {
    if !alone("uses_are_counted") {
        return;
    }
    let scene = Scene::new("cache = { max_uses = 3 }");
    let module = scene.module;
    let session = module.enter();
    let (_, key) = module.generate(session, Kind::P256, b"1");
    let three = || (0..3).for_each(|_| sign(module, session, key));
    scene.free(three);
    scene.expect(DECRYPT, three);
    scene.expect(DECRYPT, three);
    // Threads that use up a key together make as many calls as it takes, and no use is lost.
    let sessions: Vec<_> = (0..8).map(|_| module.open(false)).collect();
    let (_, calls) = scene.calls(|| {
        std::thread::scope(|scope| {
            for session in &sessions {
                scope.spawn(|| (0..3).for_each(|_| sign(module, *session, key)));
            }
        });
    });
    assert_eq!(calls["Decrypt"], 8);
}

#[test]
fn the_key_that_was_not_used_for_longest_goes_first() {
    if !alone("the_key_that_was_not_used_for_longest_goes_first") {
        return;
    }
    let scene = Scene::new("cache = { max_keys = 2 }");
    let module = scene.module;
    let session = module.enter();
    // The order of uses is known to a millisecond.
    let pause = || std::thread::sleep(Duration::from_millis(20));
    let make = |id: &[u8]| {
        pause();
        module.generate(session, Kind::P256, id).1
    };
    let used = |key| {
        pause();
        sign(module, session, key);
    };
    let (a, b) = (make(b"a"), make(b"b"));
    used(a);
    let c = make(b"c");
    scene.free(|| (used(a), used(c)));
    scene.expect(DECRYPT, || used(b));
    scene.free(|| used(c));
    scene.expect(DECRYPT, || used(a));
    scene.expect(DECRYPT, || used(b));
}

#[test]
fn each_login_for_one_operation_is_a_fresh_call() {
    if !alone("each_login_for_one_operation_is_a_fresh_call") {
        return;
    }
    let scene = Scene::new("");
    let module = scene.module;
    let session = module.enter();
    let p256 = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let mut public = [attr(CKA_TOKEN, &[1]), attr(CKA_EC_PARAMS, &p256)];
    let mut private = [attr(CKA_TOKEN, &[1]), attr(CKA_ALWAYS_AUTHENTICATE, &[1])];
    let mut generation = mechanism(CKM_EC_KEY_PAIR_GEN);
    let (mut handle, mut key) = (0, 0);
    scene.expect(GENERATE, || {
        let (public, private) = (public.as_mut_ptr(), private.as_mut_ptr());
        ok!(module, C_GenerateKeyPair, session, &mut generation, public, 2, private, 2, &mut handle, &mut key);
    });
    let mut signature = [0; 64];
    let mut use_key = |login: bool| {
        ok!(module, C_SignInit, session, &mut mechanism(CKM_ECDSA_SHA256), key);
        if login {
            assert_eq!(module.try_login(session, CKU_CONTEXT_SPECIFIC, USER_PIN), CKR_OK);
        }
        let mut len = 64;
        call!(module, C_Sign, session, b"data".as_ptr().cast_mut(), 4, signature.as_mut_ptr(), &mut len)
    };
    for _ in 0..3 {
        assert_eq!(scene.expect(DECRYPT, || use_key(true)), CKR_OK);
        assert_eq!(scene.free(|| use_key(false)), CKR_USER_NOT_LOGGED_IN);
    }
}

#[test]
fn a_key_that_is_too_old_is_asked_for_anew() {
    if !alone("a_key_that_is_too_old_is_asked_for_anew") {
        return;
    }
    let scene = Scene::new("cache = { max_age = \"4s\" }");
    let module = scene.module;
    let session = module.enter();
    let (_, key) = module.generate(session, Kind::P256, b"1");
    scene.free(|| sign(module, session, key));
    std::thread::sleep(Duration::from_secs(2));
    // Its age counts from the unwrap: this use does not make it younger.
    scene.free(|| sign(module, session, key));
    std::thread::sleep(Duration::from_millis(2200));
    scene.expect(DECRYPT, || sign(module, session, key));
    scene.free(|| sign(module, session, key));
}

/// A scene with a key that is nearly too old: nine tenths of its age are over.
fn nearly_old() -> (Scene, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, Instant) {
    let scene = Scene::new("cache = { max_age = \"15s\" }");
    let session = scene.module.enter();
    let (_, key) = scene.module.generate(session, Kind::P256, b"1");
    let made = Instant::now();
    scene.free(|| sign(scene.module, session, key));
    std::thread::sleep((made + Duration::from_millis(13_600)).saturating_duration_since(Instant::now()));
    (scene, session, key, made)
}

#[test]
fn a_nearly_old_key_is_renewed_by_one_caller_while_others_go_on() {
    if !alone("a_nearly_old_key_is_renewed_by_one_caller_while_others_go_on") {
        return;
    }
    let (scene, session, key, made) = nearly_old();
    let module = scene.module;
    scene.inject(FaultKind::Delay(1200));
    let others: Vec<_> = (0..7).map(|_| module.open(false)).collect();
    let quick = AtomicU32::new(0);
    scene.expect(DECRYPT, || {
        std::thread::scope(|scope| {
            for session in others.iter().chain([&session]) {
                scope.spawn(|| {
                    let start = Instant::now();
                    sign(module, *session, key);
                    if start.elapsed() < Duration::from_millis(1100) {
                        quick.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
    });
    assert_eq!(quick.into_inner(), 7, "one caller waits for KMS and no other");
    // The new one has its own age.
    std::thread::sleep((made + Duration::from_secs(16)).saturating_duration_since(Instant::now()));
    scene.free(|| sign(module, session, key));
}

#[test]
fn a_denial_takes_the_key_away_at_once() {
    if !alone("a_denial_takes_the_key_away_at_once") {
        return;
    }
    let (scene, session, key, _) = nearly_old();
    let module = scene.module;
    for (code, number) in [("AccessDeniedException", 0x104), ("DisabledException", 0x106)] {
        scene.inject_error(code);
        let result = scene.expect(DECRYPT, || module.sign(session, key, CKM_ECDSA_SHA256, b"data"));
        assert_eq!((result, module.device_error(session)), (Err(CKR_DEVICE_ERROR), number), "{code}");
    }
    // It would not be too old yet.
    scene.expect(DECRYPT, || sign(module, session, key));
    scene.free(|| sign(module, session, key));
}

#[test]
fn an_outage_leaves_the_key_to_its_end() {
    if !alone("an_outage_leaves_the_key_to_its_end") {
        return;
    }
    let (scene, session, key, made) = nearly_old();
    let module = scene.module;
    for _ in 0..5 {
        scene.inject(FaultKind::Reset);
    }
    scene.expect(&[("Decrypt", 5)], || sign(module, session, key));
    std::thread::sleep((made + Duration::from_secs(16)).saturating_duration_since(Instant::now()));
    for _ in 0..5 {
        scene.inject(FaultKind::Reset);
    }
    assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(CKR_DEVICE_ERROR));
    assert_eq!(module.device_error(session), 0x103);
    scene.expect(DECRYPT, || sign(module, session, key));
}

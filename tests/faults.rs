//! KMS in trouble, seen through the module: the right code and number, the deadline kept, nothing lost, and
//! the next good call works.

mod host;

use cryptoki_sys::*;
use datakey::kms::embedded::{self, FaultKind, Server};
use host::{KEYS, Kind, Module, Place, alone, ok};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

struct Scene {
    server: Server,
    module: Module,
    session: CK_SESSION_HANDLE,
    _place: Place,
}

/// A token whose every use of a key is a call, with short deadlines.
fn scene() -> Scene {
    scene_with("cache = { max_age = 0 }")
}

/// One with this `cache`.
fn scene_with(cache: &str) -> Scene {
    let timeouts = "attempt = \"400ms\", total = \"1500ms\", generate_attempt = \"400ms\", generate_total = \"1500ms\"";
    let more = format!("{cache}\ntimeouts = {{ {timeouts} }}");
    let (place, server) = Place::served(&more);
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.open(true);
    module.login(session);
    Scene { server, module, session, _place: place }
}

impl Scene {
    /// Orders the same fault for more requests than any call makes.
    fn always(&self, fault: impl Fn() -> FaultKind) {
        (0..200).for_each(|_| self.server.control().inject_any(fault()));
    }

    fn error(code: &str) -> FaultKind {
        FaultKind::Error { code: code.to_owned(), status: None, message: String::new() }
    }
}

#[test]
fn each_failure_has_its_code_and_number_and_leaves_the_key_usable() {
    if !alone("each_failure_has_its_code_and_number_and_leaves_the_key_usable") {
        return;
    }
    let scene = scene();
    let (module, session) = (scene.module, scene.session);
    let (_, key) = module.generate(session, Kind::P256, b"1");
    let cases: [(&str, CK_RV, CK_ULONG); 9] = [
        ("ThrottlingException", CKR_FUNCTION_FAILED, 0x101),
        ("AccessDeniedException", CKR_DEVICE_ERROR, 0x104),
        ("NotFoundException", CKR_DEVICE_ERROR, 0x105),
        ("DisabledException", CKR_DEVICE_ERROR, 0x106),
        ("KMSInvalidStateException", CKR_DEVICE_ERROR, 0x107),
        ("KMSInternalException", CKR_DEVICE_ERROR, 0x10C),
        ("ExpiredTokenException", CKR_DEVICE_ERROR, 0x111),
        ("InvalidCiphertextException", CKR_DEVICE_ERROR, 0x201),
        ("IncorrectKeyException", CKR_DEVICE_ERROR, 0x202),
    ];
    for (code, rv, number) in cases {
        scene.always(|| Scene::error(code));
        let started = Instant::now();
        assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(rv), "{code}");
        assert_eq!(module.device_error(session), number, "{code}");
        assert!(started.elapsed() < Duration::from_secs(5), "{code}: {:?}", started.elapsed());
        scene.server.control().clear_faults();
        module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap_or_else(|rv| panic!("after {code}: {rv:#x}"));
    }

    // What passes is survived.
    for fault in [FaultKind::Reset, FaultKind::Hang, Scene::error("ThrottlingException")] {
        scene.server.control().inject_any(fault);
        module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
    }

    // What hangs ends at the deadline.
    scene.always(|| FaultKind::Hang);
    let started = Instant::now();
    assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(CKR_DEVICE_ERROR));
    assert_eq!(module.device_error(session), 0x102);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    scene.server.control().clear_faults();
    module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
    ok!(module, C_Finalize, null_mut());
}

#[test]
fn a_generation_that_fails_leaves_nothing() {
    if !alone("a_generation_that_fails_leaves_nothing") {
        return;
    }
    let scene = scene();
    let (module, session) = (scene.module, scene.session);
    for fault in ["AccessDeniedException", "ThrottlingException", "LimitExceededException"] {
        scene.always(|| Scene::error(fault));
        let rv = module.try_generate(session, Kind::P256, b"1", &mut (0, 0));
        assert!([CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED].contains(&rv), "{fault}: {rv:#x}");
        scene.server.control().clear_faults();
        assert_eq!(module.find(session, &[]).len(), 0, "{fault}");
    }
    module.generate(session, Kind::P256, b"1");
    assert_eq!(module.find(session, &[]).len(), 2);
    ok!(module, C_Finalize, null_mut());
}

/// A data key pair as KMS's JSON, made by the listener itself for a client that is not the module.
fn pair(url: &str) -> serde_json::Value {
    use base64::Engine;
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_kms::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(url);
    let client = aws_sdk_kms::Client::from_conf(config.build());
    let request = client.generate_data_key_pair().key_id(embedded::DEFAULT_ALIAS).key_pair_spec("ECC_NIST_P256".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(request.send()).expect("GenerateDataKeyPair");
    let text = |blob: Option<aws_sdk_kms::primitives::Blob>| {
        base64::engine::general_purpose::STANDARD.encode(blob.expect("a field").into_inner())
    };
    serde_json::json!({
        "KeyId": answer.key_id,
        "KeyPairSpec": "ECC_NIST_P256",
        "PublicKey": text(answer.public_key),
        "PrivateKeyPlaintext": text(answer.private_key_plaintext),
        "PrivateKeyCiphertextBlob": text(answer.private_key_ciphertext_blob),
    })
}

#[test]
fn answers_that_are_not_kms_s_are_not_believed() {
    if !alone("answers_that_are_not_kms_s_are_not_believed") {
        return;
    }
    let scene = scene();
    let (module, session) = (scene.module, scene.session);
    let (_, key) = module.generate(session, Kind::P256, b"1");
    let say = |status, text: &str| {
        let text = text.to_owned();
        scene.always(move || FaultKind::Body { status, text: text.clone() });
    };
    for (status, text, number) in [
        (200, "<html>Welcome to the hotel's network</html>", 0x10D),
        (200, "{}", 0x10D),
        (200, "{\"Plaintext\":\"AAAA\"}", 0x10D),
        (503, "<html>the proxy is tired</html>", 0x10C),
        (403, "<html>the proxy says no</html>", 0x10D),
        (400, "{\"__type\":\"SomethingNewException\"}", 0x10E),
    ] {
        say(status, text);
        assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(CKR_DEVICE_ERROR), "{status} {text}");
        assert_eq!(module.device_error(session), number, "{status} {text}");
        scene.server.control().clear_faults();
    }

    // Two halves of two pairs, a half that is missing, and another kind of pair than was asked for.
    let (one, other) = (pair(&scene.server.url()), pair(&scene.server.url()));
    let altered = |field: &str, value: serde_json::Value| {
        let mut answer = one.clone();
        answer[field] = value;
        answer.to_string()
    };
    for answer in [
        altered("PublicKey", other["PublicKey"].clone()),
        altered("PrivateKeyPlaintext", other["PrivateKeyPlaintext"].clone()),
        altered("PrivateKeyPlaintext", serde_json::Value::Null),
        altered("PrivateKeyCiphertextBlob", serde_json::Value::Null),
        altered("PublicKey", "AAAA".into()),
        altered("KeyPairSpec", "ECC_NIST_P384".into()),
    ] {
        say(200, &answer);
        assert_eq!(module.try_generate(session, Kind::P256, b"2", &mut (0, 0)), CKR_DEVICE_ERROR, "{answer}");
        assert_eq!(module.device_error(session), 0x10D, "{answer}");
        scene.server.control().clear_faults();
        assert_eq!(module.find(session, &[(CKA_ID, b"2")]), [0; 0], "{answer}");
    }
    module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
    module.generate(session, Kind::P256, b"2");
}

#[test]
fn without_kms_nothing_hangs_and_what_needs_no_kms_works() {
    if !alone("without_kms_nothing_hangs_and_what_needs_no_kms_works") {
        return;
    }
    let Scene { server, module, session, _place } = scene();
    let (public, key) = module.generate(session, Kind::P256, b"1");
    let signature = module.sign(session, key, CKM_ECDSA_SHA256, b"data").unwrap();
    let address = server.address();
    drop(server);
    let started = Instant::now();
    assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(CKR_DEVICE_ERROR));
    assert_eq!(module.device_error(session), 0x103);
    assert_eq!(module.try_generate(session, Kind::P256, b"2", &mut (0, 0)), CKR_DEVICE_ERROR);
    assert_eq!(module.device_error(session), 0x103);
    assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(CKR_DEVICE_ERROR));
    // Three calls have waited in vain. Of all others one at a time does, the rest are told at once.
    let numbers = (0..200).map(|_| {
        assert_eq!(module.sign(session, key, CKM_ECDSA_SHA256, b"data"), Err(CKR_DEVICE_ERROR));
        module.device_error(session)
    });
    let (at_once, tried): (Vec<_>, Vec<_>) = numbers.partition(|number| *number == 0x10F);
    assert!(tried.iter().all(|number| *number == 0x103) && tried.len() < 10 && at_once.len() > 190, "{tried:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(module.find(session, &[]).len(), 2);
    assert_eq!(module.verify(session, public, CKM_ECDSA_SHA256, b"data", &signature), CKR_OK);
    ok!(module, C_Logout, session);
    module.login(session);
    let key = module.private_key(session, b"1");
    // It comes back at the same address: nothing has to be opened anew.
    let _server = embedded::serve(address, &_place.folder().join(KEYS), true).expect("the port is still free");
    let back = Instant::now();
    while module.sign(session, key, CKM_ECDSA_SHA256, b"data").is_err() {
        assert!(back.elapsed() < Duration::from_secs(20), "its return is not noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn finalise_does_not_wait_for_kms() {
    if !alone("finalise_does_not_wait_for_kms") {
        return;
    }
    let scene = scene();
    let (module, session) = (scene.module, scene.session);
    let (_, key) = module.generate(session, Kind::P256, b"1");
    scene.always(|| FaultKind::Hang);
    std::thread::scope(|scope| {
        let signing = scope.spawn(move || module.sign(session, key, CKM_ECDSA_SHA256, b"data"));
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        ok!(module, C_Finalize, null_mut());
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(signing.join().unwrap(), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
    });
    module.initialise();
    ok!(module, C_Finalize, null_mut());
}

#[test]
fn a_key_outlives_its_age_in_an_outage_only_if_that_is_configured_and_never_a_denial() {
    if !alone("a_key_outlives_its_age_in_an_outage_only_if_that_is_configured_and_never_a_denial") {
        return;
    }
    let scene = scene_with("cache = { max_age = \"500ms\", max_stale = \"1h\" }");
    let (module, session) = (scene.module, scene.session);
    let (_, key) = module.generate(session, Kind::P256, b"1");
    let sign = || module.sign(session, key, CKM_ECDSA_SHA256, b"data");
    let grow_old = || std::thread::sleep(Duration::from_millis(600));
    let outages =
        [FaultKind::Reset, Scene::error("ThrottlingException"), Scene::error("KMSInternalException"), FaultKind::Hang];
    for fault in outages {
        grow_old();
        scene.always(|| fault.clone());
        (0..20).for_each(|_| drop(sign().unwrap_or_else(|rv| panic!("{fault:?}: {rv:#x}"))));
        scene.server.control().clear_faults();
        // What KMS says after the outage counts: until it is asked, nothing does.
        let back = Instant::now();
        scene.server.control().reset_calls();
        while scene.server.control().calls_of("Decrypt") == 0 {
            sign().unwrap();
            assert!(back.elapsed() < Duration::from_secs(20), "not asked after {fault:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for code in ["AccessDeniedException", "DisabledException", "InvalidCiphertextException", "ExpiredTokenException"] {
        grow_old();
        scene.always(|| Scene::error(code));
        assert_eq!(sign(), Err(CKR_DEVICE_ERROR), "{code}");
        scene.server.control().clear_faults();
        scene.always(|| FaultKind::Reset);
        assert_eq!(sign(), Err(CKR_DEVICE_ERROR), "an outage after {code}");
        scene.server.control().clear_faults();
        sign().unwrap();
    }
    ok!(module, C_Finalize, null_mut());
}

#[test]
fn a_silent_kms_costs_few_of_many_callers_the_deadline() {
    if !alone("a_silent_kms_costs_few_of_many_callers_the_deadline") {
        return;
    }
    const THREADS: usize = 8;
    let scene = scene();
    let module = scene.module;
    module.generate(scene.session, Kind::P256, b"1");
    let key = module.private_key(scene.session, b"1");
    (0..5).for_each(|_| scene.always(|| FaultKind::Hang));
    let healed = std::sync::atomic::AtomicBool::new(false);
    let recovered = |session| {
        // What each failed with while KMS was silent, and whether it signs once that is over.
        let mut numbers = std::collections::BTreeMap::<CK_ULONG, u32>::new();
        let begun = Instant::now();
        loop {
            match module.sign(session, key, CKM_ECDSA_SHA256, b"data") {
                Ok(_) => return numbers,
                Err(rv) => assert_eq!(rv, CKR_DEVICE_ERROR),
            }
            *numbers.entry(module.device_error(session)).or_default() += 1;
            if begun.elapsed() > Duration::from_secs(5) && !healed.swap(true, std::sync::atomic::Ordering::SeqCst) {
                scene.server.control().clear_faults();
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "no recovery: {numbers:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| recovered(module.open(false)))).collect();
        for numbers in threads.into_iter().map(|thread| thread.join().unwrap()) {
            assert!(numbers.keys().all(|number| [0x102, 0x10F].contains(number)), "{numbers:?}");
            // The first call, and perhaps a probe or two; all others were told at once.
            let [waited, told] = [0x102, 0x10F].map(|number| numbers.get(&number).copied().unwrap_or(0));
            assert!(waited <= 5 && told > 5 * waited, "{numbers:?}");
        }
    });
    ok!(module, C_Finalize, null_mut());
}

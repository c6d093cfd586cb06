//! `C_CreateObject`, `C_CopyObject` and `C_SetAttributeValue` of keys and data, and the KMS calls that they cost.

mod host;
mod objects;

use cryptoki_sys::*;
use datakey::kms::embedded::{Fault, FaultKind, Server};
use host::{Kind, Module, Place, alone, attr, call, ok, steps};
use objects::{Attr, bytes, flag, number, secret_key, with};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

/// A KMS that counts, a token on it, and a session with the user logged in.
struct Scene {
    server: Server,
    place: Place,
    module: Module,
    session: CK_SESSION_HANDLE,
}

impl Scene {
    fn new() -> Self {
        let (place, server) = Place::served("");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        Self { server, place, module, session }
    }

    /// Does `work`, which takes these calls of KMS.
    #[track_caller]
    fn expect<T>(&self, expected: &[(&str, u64)], work: impl FnOnce() -> T) -> T {
        self.server.control().reset_calls();
        let result = work();
        let calls = self.server.control().calls();
        let calls: Vec<_> = calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(calls, expected);
        result
    }

    /// Forgets everything that is cached, and finds the object again.
    fn again(&mut self, id: &[u8]) -> CK_OBJECT_HANDLE {
        self.session = self.module.again();
        let found = self.module.find(self.session, &[(CKA_ID, id)]);
        assert_eq!(found.len(), 1);
        found[0]
    }
}

const NONE: &[(&str, u64)] = &[];
const ENCRYPT: &[(&str, u64)] = &[("Encrypt", 1)];
const DECRYPT: &[(&str, u64)] = &[("Decrypt", 1)];
const REENCRYPT: &[(&str, u64)] = &[("ReEncrypt", 1)];

fn open_key() -> Vec<Attr> {
    with(
        secret_key(CKK_AES, &[7; 32]),
        &[flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true), flag(CKA_COPYABLE, true), bytes(CKA_ID, b"1")],
    )
}

#[test]
fn a_secret_key_is_sealed_read_changed_and_copied() {
    if !alone("a_secret_key_is_sealed_read_changed_and_copied") {
        return;
    }
    let mut scene = Scene::new();
    let (module, mut session) = (scene.module, scene.session);
    // Of a session: nothing of it reaches KMS.
    let held = scene.expect(NONE, || module.create(session, &open_key()));
    scene.expect(NONE, || assert_eq!(module.get(session, held, CKA_VALUE).unwrap(), [7; 32]));
    let on_token = scene.expect(ENCRYPT, || module.copy(session, held, &[flag(CKA_TOKEN, true)]));
    assert_ne!(module.get(session, held, CKA_UNIQUE_ID), module.get(session, on_token, CKA_UNIQUE_ID));
    ok!(module, C_DestroyObject, session, held);

    let key = scene.again(b"1");
    session = scene.session;
    // A length takes no call, the value one, and no more while it is cached.
    let mut wanted = CK_ATTRIBUTE { type_: CKA_VALUE, pValue: null_mut(), ulValueLen: 0 };
    let mut room = [0_u8; 31];
    scene.expect(NONE, || {
        ok!(module, C_GetAttributeValue, session, key, &mut wanted, 1);
        assert_eq!(wanted.ulValueLen, 32);
        wanted = attr(CKA_VALUE, &room);
        assert_eq!(call!(module, C_GetAttributeValue, session, key, &mut wanted, 1), CKR_BUFFER_TOO_SMALL);
        assert_eq!(wanted.ulValueLen, CK_ULONG::MAX);
    });
    assert_eq!(std::mem::take(&mut room), [0; 31]);
    scene.expect(DECRYPT, || assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), [7; 32]));
    scene.expect(NONE, || assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), [7; 32]));

    // Names change without KMS, what the seal binds with it; and the key still opens.
    scene.expect(NONE, || assert_eq!(module.set(session, key, &[bytes(CKA_LABEL, b"named")]), CKR_OK));
    scene.expect(REENCRYPT, || assert_eq!(module.set(session, key, &[flag(CKA_ENCRYPT, false)]), CKR_OK));
    scene.expect(DECRYPT, || assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), [7; 32]));
    let copy = scene.expect(REENCRYPT, || module.copy(session, key, &[bytes(CKA_ID, b"2"), flag(CKA_DERIVE, false)]));
    assert!(module.is(session, copy, CKA_TOKEN) && !module.is(session, copy, CKA_DERIVE));
    scene.expect(DECRYPT, || assert_eq!(module.get(session, copy, CKA_VALUE).unwrap(), [7; 32]));
    let of_session = scene.expect(REENCRYPT, || module.copy(session, key, &[flag(CKA_TOKEN, false)]));
    scene.expect(DECRYPT, || assert_eq!(module.get(session, of_session, CKA_VALUE).unwrap(), [7; 32]));
    assert_eq!(module.set(session, of_session, &[flag(CKA_SENSITIVE, true)]), CKR_OK);
    assert_eq!(module.get(session, of_session, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));

    // One way.
    scene.expect(REENCRYPT, || assert_eq!(module.set(session, key, &[flag(CKA_SENSITIVE, true)]), CKR_OK));
    scene.expect(NONE, || {
        assert_eq!(module.get(session, key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        assert_eq!(module.set(session, key, &[flag(CKA_SENSITIVE, false)]), CKR_ATTRIBUTE_READ_ONLY);
        let mut none = 0;
        let relaxed = module.try_copy(session, key, &[flag(CKA_SENSITIVE, false)], &mut none);
        assert_eq!(relaxed, CKR_ATTRIBUTE_READ_ONLY);
    });
    assert_eq!(module.set(session, key, &[flag(CKA_COPYABLE, false)]), CKR_OK);
    assert_eq!(module.try_copy(session, key, &[], &mut 0), CKR_ACTION_PROHIBITED);
    assert!(!module.is(session, key, CKA_ALWAYS_SENSITIVE) && !module.is(session, key, CKA_LOCAL));
    module.finalise();
    assert!(scene.place.store().exists());
}

#[test]
fn a_change_that_fails_halfway_loses_nothing() {
    if !alone("a_change_that_fails_halfway_loses_nothing") {
        return;
    }
    let mut scene = Scene::new();
    let module = scene.module;
    let key = scene.expect(ENCRYPT, || module.create(scene.session, &with(open_key(), &[flag(CKA_TOKEN, true)])));
    for code in ["AccessDeniedException", "DisabledException"] {
        let fault = FaultKind::Error { code: code.to_owned(), status: None, message: String::new() };
        scene.server.control().inject(Fault { operation: Some("ReEncrypt".to_owned()), fault });
        assert_eq!(module.set(scene.session, key, &[flag(CKA_SENSITIVE, true)]), CKR_DEVICE_ERROR, "{code}");
        let expected = if code.starts_with("Access") { 0x104 } else { 0x106 };
        assert_eq!(module.device_error(scene.session), expected);
        assert!(!module.is(scene.session, key, CKA_SENSITIVE));
    }
    let key = scene.again(b"1");
    assert_eq!(module.get(scene.session, key, CKA_VALUE).unwrap(), [7; 32]);
    assert_eq!(module.set(scene.session, key, &[flag(CKA_SENSITIVE, true)]), CKR_OK);
    module.finalise();
}

#[test]
fn key_pairs_change_and_still_sign() {
    if !alone("key_pairs_change_and_still_sign") {
        return;
    }
    let mut scene = Scene::new();
    let module = scene.module;
    let (public, private) = module.generate(scene.session, Kind::P256, b"pair");
    scene.expect(REENCRYPT, || assert_eq!(module.set(scene.session, private, &[flag(CKA_DERIVE, false)]), CKR_OK));
    ok!(module, C_DestroyObject, scene.session, public);
    let private = scene.again(b"pair");
    scene.expect(DECRYPT, || module.sign(scene.session, private, CKM_ECDSA_SHA256, b"data").unwrap());
    // Keys on the token are not copyable unless a template says so.
    assert_eq!(module.try_copy(scene.session, private, &[], &mut 0), CKR_ACTION_PROHIBITED);
    let info = module.get(scene.session, private, CKA_PUBLIC_KEY_INFO).unwrap();
    assert_eq!(module.set(scene.session, private, &[bytes(CKA_PUBLIC_KEY_INFO, &info)]), CKR_OK);
    let other = [&info[..info.len() - 1], &[!info[info.len() - 1]]].concat();
    let set = module.set(scene.session, private, &[bytes(CKA_PUBLIC_KEY_INFO, &other)]);
    assert_eq!(set, CKR_ATTRIBUTE_VALUE_INVALID);
    module.finalise();
}

#[test]
fn private_data_is_encrypted_in_the_store() {
    if !alone("private_data_is_encrypted_in_the_store") {
        return;
    }
    let mut scene = Scene::new();
    let module = scene.module;
    let mark = b"a value that nobody else must read";
    let data = |private: bool| {
        vec![
            number(CKA_CLASS, CKO_DATA),
            flag(CKA_TOKEN, true),
            flag(CKA_PRIVATE, private),
            bytes(CKA_OBJECT_ID, b"id"),
            bytes(CKA_VALUE, mark),
        ]
    };
    let stored = |scene: &Scene| {
        let mut all = Vec::new();
        for name in ["token.db", "token.db-wal"] {
            all.extend(std::fs::read(scene.place.folder().join(name)).unwrap_or_default());
        }
        all.windows(mark.len()).any(|window| window == mark)
    };
    let hidden = scene.expect(NONE, || module.create(scene.session, &data(true)));
    assert_eq!(module.get(scene.session, hidden, CKA_VALUE).unwrap(), mark);
    // A copy is bound to itself.
    let copy = module.copy(scene.session, hidden, &[bytes(CKA_LABEL, b"copy")]);
    assert_eq!(module.get(scene.session, copy, CKA_VALUE).unwrap(), mark);
    let of_session = module.copy(scene.session, hidden, &[flag(CKA_TOKEN, false)]);
    assert_eq!(module.get(scene.session, of_session, CKA_VALUE).unwrap(), mark);
    assert_eq!(module.set(scene.session, copy, &[bytes(CKA_VALUE, &mark[1..])]), CKR_OK);
    assert_eq!(module.get(scene.session, copy, CKA_VALUE).unwrap(), &mark[1..]);
    assert!(!stored(&scene), "in clear");
    scene.session = module.again();
    let found = module.find(scene.session, &[(CKA_OBJECT_ID, b"id")]);
    assert_eq!(found.len(), 2);
    assert_eq!(module.get(scene.session, found[0], CKA_VALUE).unwrap(), mark);
    module.create(scene.session, &data(false));
    assert!(stored(&scene), "the test looks in the right place");
    module.finalise();
}

#[test]
fn private_keys_are_created_from_their_parts() {
    if !alone("private_keys_are_created_from_their_parts") {
        return;
    }
    use rsa::pkcs8::EncodePublicKey;
    use rsa::traits::{PrivateKeyParts, PublicKeyParts};
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap();
    let big = |number: &rsa::BoxedUint| number.to_be_bytes_trimmed_vartime().to_vec();
    let (p, q) = (&key.primes()[0], &key.primes()[1]);
    let coefficient = key.crt_coefficient().unwrap();
    let secret = [
        bytes(CKA_PRIVATE_EXPONENT, &big(key.d())),
        bytes(CKA_PRIME_1, &big(p)),
        bytes(CKA_PRIME_2, &big(q)),
        bytes(CKA_EXPONENT_1, &big(key.dp().unwrap())),
        bytes(CKA_EXPONENT_2, &big(key.dq().unwrap())),
        bytes(CKA_COEFFICIENT, &big(&coefficient)),
    ];
    let spki = key.to_public_key().to_public_key_der().unwrap().as_bytes().to_vec();
    let rsa = [
        &[
            number(CKA_CLASS, CKO_PRIVATE_KEY),
            number(CKA_KEY_TYPE, CKK_RSA),
            bytes(CKA_MODULUS, &big(key.n())),
            bytes(CKA_PUBLIC_EXPONENT, &big(key.e())),
        ],
        &secret[..],
    ]
    .concat();
    // With as many of the CRT's numbers as there are; what is missing is computed.
    for count in [5, 7, 8, 10] {
        assert_eq!(module.creating(session, &rsa[..count]), CKR_OK, "{count} attributes");
    }
    for on_token in [false, true] {
        let open = [flag(CKA_TOKEN, on_token), flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)];
        let handle = module.create(session, &with(with(rsa.clone(), &open), &[bytes(CKA_PUBLIC_KEY_INFO, &spki)]));
        assert_eq!(module.sign(session, handle, CKM_SHA256_RSA_PKCS, b"data").unwrap().len(), 256);
        assert_eq!(module.get(session, handle, CKA_PUBLIC_KEY_INFO).unwrap(), spki);
        for (attribute, value) in &secret {
            assert_eq!(module.get(session, handle, *attribute).as_ref(), Ok(value));
        }
        assert!(!module.is(session, handle, CKA_LOCAL) && !module.is(session, handle, CKA_NEVER_EXTRACTABLE));
        let sensitive = module.create(session, &with(rsa.clone(), &[flag(CKA_TOKEN, on_token)]));
        for (attribute, _) in &secret {
            assert_eq!(module.get(session, sensitive, *attribute), Err(CKR_ATTRIBUTE_SENSITIVE));
        }
    }
    for (more, expected) in [
        (bytes(CKA_PUBLIC_KEY_INFO, &spki[1..]), CKR_ATTRIBUTE_VALUE_INVALID),
        (bytes(CKA_MODULUS, &[0xc1; 256]), CKR_ATTRIBUTE_VALUE_INVALID),
        (bytes(CKA_PRIME_1, &big(q)), CKR_ATTRIBUTE_VALUE_INVALID),
        (bytes(CKA_EC_PARAMS, b"x"), CKR_TEMPLATE_INCONSISTENT),
        (flag(CKA_LOCAL, true), CKR_ATTRIBUTE_READ_ONLY),
        (number(CKA_KEY_TYPE, CKK_DSA), CKR_ATTRIBUTE_VALUE_INVALID),
    ] {
        assert_eq!(module.creating(session, &with(rsa.clone(), std::slice::from_ref(&more))), expected, "{more:02x?}");
    }
    for named in [CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_KEY_TYPE, CKA_CLASS] {
        let without: Vec<_> = rsa.iter().filter(|(attribute, _)| *attribute != named).cloned().collect();
        assert_eq!(module.creating(session, &without), CKR_TEMPLATE_INCOMPLETE);
    }

    let p256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let ec = vec![
        number(CKA_CLASS, CKO_PRIVATE_KEY),
        number(CKA_KEY_TYPE, CKK_EC),
        bytes(CKA_EC_PARAMS, p256),
        bytes(CKA_VALUE, &[1; 32]),
    ];
    let open = [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true), flag(CKA_TOKEN, true)];
    let handle = module.create(session, &with(ec.clone(), &open));
    assert_eq!(module.sign(session, handle, CKM_ECDSA_SHA256, b"data").unwrap().len(), 64);
    assert_eq!(module.get(session, handle, CKA_VALUE).unwrap(), [1; 32]);
    for (more, expected) in [
        (bytes(CKA_VALUE, &[0; 32]), CKR_ATTRIBUTE_VALUE_INVALID),
        (bytes(CKA_VALUE, &[0xff; 32]), CKR_ATTRIBUTE_VALUE_INVALID),
        (bytes(CKA_EC_PARAMS, &[6, 1, 1]), CKR_CURVE_NOT_SUPPORTED),
    ] {
        assert_eq!(module.creating(session, &with(ec.clone(), std::slice::from_ref(&more))), expected, "{more:02x?}");
    }
    // From a session to the token: sealed then.
    let held = module.create(session, &with(ec, &[flag(CKA_COPYABLE, true)]));
    let on_token = scene.expect(ENCRYPT, || module.copy(session, held, &[flag(CKA_TOKEN, true)]));
    assert_eq!(module.sign(session, on_token, CKM_ECDSA_SHA256, b"data").unwrap().len(), 64);
    assert_eq!(module.get(session, on_token, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    module.finalise();
}

/// Waits until another process of the test has made this file.
fn wait_for(file: &Path) {
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_another_process_forbade_is_forbidden_at_once() {
    const TEST: &str = "what_another_process_forbade_is_forbidden_at_once";
    if let Some(folder) = steps::step() {
        let module = Module::start_step();
        let session = module.enter();
        let keys = module.find(session, &[(CKA_ID, b"1")]);
        let file = |name| Path::new(&folder).join(name);
        std::fs::write(file("ready"), b"").unwrap();
        wait_for(&file("go"));
        for key in keys {
            let less = [flag(CKA_SENSITIVE, true), flag(CKA_EXTRACTABLE, false), flag(CKA_SIGN, false)];
            assert_eq!(module.set(session, key, &less), CKR_OK);
        }
        std::fs::write(file("done"), b"").unwrap();
        return module.finalise();
    }
    if !alone(TEST) {
        return;
    }
    let scene = Scene::new();
    let (module, session, folder) = (scene.module, scene.session, scene.place.folder().to_owned());
    let template = with(open_key(), &[flag(CKA_TOKEN, true), flag(CKA_SIGN, true)]);
    let keys = [(); 3].map(|()| module.create(session, &template));
    let (step, configuration) = (folder.display().to_string(), scene.place.configuration());
    let other = std::thread::spawn(move || steps::run(TEST, &step, &configuration));
    wait_for(&folder.join("ready"));
    keys.iter().for_each(|key| assert_eq!(module.get(session, *key, CKA_VALUE).unwrap(), [7; 32]));
    std::fs::write(folder.join("go"), b"").unwrap();
    wait_for(&folder.join("done"));
    // Within the time for which a use of a key may rely on what was read before.
    let [told, copied, changed] = keys;
    let told = module.get(session, told, CKA_VALUE);
    let copy = module.copy(session, copied, &[]);
    assert_eq!(module.set(session, changed, &[flag(CKA_SIGN, true)]), CKR_OK);
    assert_eq!(told, Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(module.get(session, copy, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert!(!module.is(session, copy, CKA_SIGN));
    other.join().unwrap();
    module.again();
    let session = module.open(true);
    let signing = module.find(session, &[(CKA_ID, b"1"), (CKA_SIGN, &[1])]);
    assert_eq!(signing.len(), 1, "the one that was set, and no other");
    module.finalise();
}

#[test]
fn a_key_that_is_told_or_copied_is_audited() {
    if !alone("a_key_that_is_told_or_copied_is_audited") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let place = Place::embedded(&format!("[log]\naudit = {file:?}"));
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let mut expected = Vec::new();
    for on_token in [false, true] {
        let key = module.create(session, &with(open_key(), &[flag(CKA_TOKEN, on_token)]));
        let id = String::from_utf8(module.get(session, key, CKA_UNIQUE_ID).unwrap()).unwrap();
        assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), [7; 32]);
        module.copy(session, key, &[flag(CKA_TOKEN, true)]);
        expected.extend(["reveal", "copy"].map(|action| (id.clone(), action.to_owned())));
    }
    // What is no key leaves no line, nor does a key that tells nothing.
    let data = module.create(session, &[number(CKA_CLASS, CKO_DATA), bytes(CKA_VALUE, b"x")]);
    module.copy(session, data, &[]);
    let p256 = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let each_use = [
        number(CKA_CLASS, CKO_PRIVATE_KEY),
        number(CKA_KEY_TYPE, CKK_EC),
        bytes(CKA_EC_PARAMS, &p256),
        bytes(CKA_VALUE, &[1; 32]),
        flag(CKA_SENSITIVE, false),
        flag(CKA_EXTRACTABLE, true),
        flag(CKA_ALWAYS_AUTHENTICATE, true),
    ];
    let each_use = module.create(session, &each_use);
    assert_eq!(module.get(session, each_use, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    module.finalise();

    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["result"], "CKR_OK");
        ["object", "mechanism"].map(|field| line[field].as_str().unwrap().to_owned()).into()
    });
    assert_eq!(lines.collect::<Vec<(String, String)>>(), expected);
}

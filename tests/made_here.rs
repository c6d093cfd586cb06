//! Key pairs of the kinds that KMS does not make, ML-DSA, X25519 and their like: made here, sealed by KMS, taken over.

mod host;
mod objects;

use cryptoki_sys::*;
use datakey::kms::embedded::Server;
use datakey::object::vendor::CKA_DATAKEY_SPEC;
use host::{Module, Place, alone, attr, call, given, mechanism, ok};
use objects::{Attr, bytes, flag, number, with};
use std::ptr::null_mut;

/// A KMS that counts, and a token on it with a session, the user logged in.
struct Scene {
    server: Server,
    module: Module,
    session: CK_SESSION_HANDLE,
    _place: Place,
}

type Pair = (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE);

impl Scene {
    fn new(more: &str) -> Self {
        let (place, server) = Place::served(more);
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        Self { server, module, session, _place: place }
    }

    /// The calls that arrive while `work` runs are these.
    #[track_caller]
    fn expect<T>(&self, expected: &[(&str, u64)], work: impl FnOnce() -> T) -> T {
        self.server.control().reset_calls();
        let result = work();
        let calls = self.server.control().calls();
        let calls: Vec<_> = calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(calls, expected);
        result
    }

    /// Generates a pair; both templates are added to.
    fn try_generate(&self, id: CK_MECHANISM_TYPE, public: &[Attr], private: &[Attr]) -> Result<Pair, CK_RV> {
        let native = |template: &[Attr]| template.iter().map(|(name, value)| attr(*name, value)).collect::<Vec<_>>();
        let (mut public, mut private, mut pair) = (native(public), native(private), (0, 0));
        let counts = (public.len() as CK_ULONG, private.len() as CK_ULONG);
        host::check(call!(
            self.module,
            C_GenerateKeyPair,
            self.session,
            &mut mechanism(id),
            public.as_mut_ptr(),
            counts.0,
            private.as_mut_ptr(),
            counts.1,
            &mut pair.0,
            &mut pair.1,
        ))?;
        Ok(pair)
    }

    /// The secret that both sides of a Diffie-Hellman get.
    fn agree(&self, private: CK_OBJECT_HANDLE, peer: CK_OBJECT_HANDLE) -> Vec<u8> {
        let (module, session) = (self.module, self.session);
        let point = module.attribute(session, peer, CKA_EC_POINT);
        let mut parameter = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            ulSharedDataLen: 0,
            pSharedData: null_mut(),
            ulPublicDataLen: point.len() as CK_ULONG,
            pPublicData: point.as_ptr().cast_mut(),
        };
        let mut derive = given(CKM_ECDH1_DERIVE, &mut parameter);
        let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_GENERIC_SECRET.to_ne_bytes());
        let (no, yes) = ([CK_FALSE], [CK_TRUE]);
        let mut template = [
            attr(CKA_CLASS, &class),
            attr(CKA_KEY_TYPE, &key_type),
            attr(CKA_SENSITIVE, &no),
            attr(CKA_EXTRACTABLE, &yes),
        ];
        let mut secret = 0;
        ok!(module, C_DeriveKey, session, &mut derive, private, template.as_mut_ptr(), 4, &mut secret);
        module.attribute(session, secret, CKA_VALUE)
    }
}

const SETS: [(CK_ULONG, &str, usize); 3] =
    [(CKP_ML_DSA_44, "ML_DSA_44", 2420), (CKP_ML_DSA_65, "ML_DSA_65", 3309), (CKP_ML_DSA_87, "ML_DSA_87", 4627)];
const X25519: [&[u8]; 3] = [&[6, 3, 0x2b, 0x65, 0x6e], b"\x13\x0acurve25519", b"\x13\x0bcurve25519"];
const ENCRYPT: &[(&str, u64)] = &[("Encrypt", 1)];
const DECRYPT: &[(&str, u64)] = &[("Decrypt", 1)];

#[test]
fn a_pair_is_made_here_and_sealed_by_one_call() {
    if !alone("a_pair_is_made_here_and_sealed_by_one_call") {
        return;
    }
    let scene = Scene::new("");
    let (module, session) = (scene.module, scene.session);
    let on_token = |id: &[u8]| [flag(CKA_TOKEN, true), bytes(CKA_ID, id)];
    for (set, spec, signature_len) in SETS {
        let public = [&on_token(spec.as_bytes())[..], &[number(CKA_PARAMETER_SET, set)]].concat();
        let (public, private) = scene.expect(ENCRYPT, || {
            scene.try_generate(CKM_ML_DSA_KEY_PAIR_GEN, &public, &on_token(spec.as_bytes())).unwrap()
        });
        let signature = scene.expect(&[], || module.sign(session, private, CKM_ML_DSA, b"data").unwrap());
        assert_eq!(signature.len(), signature_len);
        assert_eq!(module.verify(session, public, CKM_ML_DSA, b"data", &signature), CKR_OK);
        assert_eq!(module.attribute(session, private, CKA_DATAKEY_SPEC), spec.as_bytes());
        for half in [public, private] {
            assert_eq!(module.attribute(session, half, CKA_PARAMETER_SET), set.to_ne_bytes());
            assert_eq!(module.attribute(session, half, CKA_KEY_GEN_MECHANISM), CKM_ML_DSA_KEY_PAIR_GEN.to_ne_bytes());
            assert!(module.is(session, half, CKA_LOCAL));
        }
        for attribute in [CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_SIGN] {
            assert!(module.is(session, private, attribute), "{attribute:#x}");
        }
        for secret in [CKA_SEED, CKA_VALUE] {
            assert_eq!(module.get(session, private, secret), Err(CKR_ATTRIBUTE_SENSITIVE));
        }
        assert!(
            module
                .attribute(session, public, CKA_PUBLIC_KEY_INFO)
                .ends_with(&module.attribute(session, public, CKA_VALUE))
        );
    }
    let pairs = X25519.map(|params| {
        let public = [&on_token(params)[..], &[bytes(CKA_EC_PARAMS, params)]].concat();
        let (public, private) = scene.expect(ENCRYPT, || {
            scene.try_generate(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &public, &on_token(params)).unwrap()
        });
        for half in [public, private] {
            // The third is pkcs11-tool's slip: what is told can be parsed.
            let told = if params == X25519[2] { X25519[1] } else { params };
            assert_eq!(module.attribute(session, half, CKA_EC_PARAMS), told);
            assert_eq!(module.attribute(session, half, CKA_KEY_TYPE), CKK_EC_MONTGOMERY.to_ne_bytes());
        }
        assert!(module.is(session, private, CKA_ALWAYS_SENSITIVE) && module.is(session, private, CKA_DERIVE));
        assert!(!module.is(session, private, CKA_SIGN));
        assert_eq!(module.attribute(session, private, CKA_DATAKEY_SPEC), b"X25519");
        (public, private)
    });
    scene.expect(&[], || {
        for (one, two) in [(0, 1), (1, 2)] {
            assert_eq!(scene.agree(pairs[one].1, pairs[two].0), scene.agree(pairs[two].1, pairs[one].0));
        }
    });

    // They are there, and open, after everything is forgotten.
    let session = scene.expect(&[], || module.again());
    let key = module.private_key(session, b"ML_DSA_65");
    scene.expect(DECRYPT, || module.sign(session, key, CKM_ML_DSA, b"data").unwrap());
    let key = module.private_key(session, X25519[0]);
    let public = module.find(session, &[(CKA_CLASS, &CKO_PUBLIC_KEY.to_ne_bytes()), (CKA_ID, X25519[1])])[0];
    let scene = Scene { session, ..scene };
    scene.expect(DECRYPT, || scene.agree(key, public));
    // What the seal binds moves it by ReEncrypt, as with any other key.
    let key = module.private_key(session, b"ML_DSA_44");
    scene.expect(&[("ReEncrypt", 1)], || assert_eq!(module.set(session, key, &[flag(CKA_SIGN, false)]), CKR_OK));
    assert_eq!(module.sign(session, key, CKM_ML_DSA, b"data"), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    module.finalise();
}

#[test]
fn a_pair_of_a_session_never_goes_to_kms() {
    if !alone("a_pair_of_a_session_never_goes_to_kms") {
        return;
    }
    let scene = Scene::new("");
    let (module, session) = (scene.module, scene.session);
    let open = [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)];
    scene.expect(&[], || {
        let set = [number(CKA_PARAMETER_SET, CKP_ML_DSA_65)];
        let (public, private) = scene.try_generate(CKM_ML_DSA_KEY_PAIR_GEN, &set, &open).unwrap();
        let signature = module.sign(session, private, CKM_ML_DSA, b"data").unwrap();
        assert_eq!(module.verify(session, public, CKM_ML_DSA, b"data", &signature), CKR_OK);
        assert_eq!(module.attribute(session, private, CKA_SEED).len(), 32);
        assert_eq!(module.attribute(session, private, CKA_VALUE).len(), 4032);
        assert!(module.is(session, private, CKA_LOCAL) && !module.is(session, private, CKA_ALWAYS_SENSITIVE));

        let curve = [bytes(CKA_EC_PARAMS, X25519[0])];
        let [one, two] = [(); 2].map(|()| scene.try_generate(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &curve, &open).unwrap());
        assert_eq!(scene.agree(one.1, two.0), scene.agree(two.1, one.0));
        assert_ne!(module.attribute(session, one.1, CKA_VALUE), module.attribute(session, two.1, CKA_VALUE));
    });
    // The public half alone may belong on the token.
    let public = [number(CKA_PARAMETER_SET, CKP_ML_DSA_44), flag(CKA_TOKEN, true)];
    let pair = scene.expect(&[], || scene.try_generate(CKM_ML_DSA_KEY_PAIR_GEN, &public, &[]).unwrap());
    let signature = module.sign(session, pair.1, CKM_ML_DSA, b"data").unwrap();
    let session = module.again();
    let left = module.find(session, &[(CKA_KEY_TYPE, &CKK_ML_DSA.to_ne_bytes())]);
    assert_eq!(left.len(), 1);
    assert_eq!(module.verify(session, left[0], CKM_ML_DSA, b"data", &signature), CKR_OK);
    module.finalise();
}

#[test]
fn what_cannot_be_generated_is_refused_before_any_call() {
    if !alone("what_cannot_be_generated_is_refused_before_any_call") {
        return;
    }
    let scene = Scene::new("");
    let (set, curve) = (|set| number(CKA_PARAMETER_SET, set), |curve| bytes(CKA_EC_PARAMS, curve));
    let p256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let ed25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
    let (ed448, unknown): (&[u8], &[u8]) = (&[6, 3, 0x2b, 0x65, 0x71], &[6, 3, 0x2b, 0x65, 0x72]);
    for (id, public, private, expected) in [
        (CKM_ML_DSA_KEY_PAIR_GEN, vec![], vec![], CKR_TEMPLATE_INCOMPLETE),
        (CKM_ML_DSA_KEY_PAIR_GEN, vec![set(4)], vec![], CKR_PARAMETER_SET_NOT_SUPPORTED),
        (CKM_ML_DSA_KEY_PAIR_GEN, vec![set(1)], vec![set(2)], CKR_TEMPLATE_INCONSISTENT),
        (CKM_ML_DSA_KEY_PAIR_GEN, vec![set(1)], vec![bytes(CKA_SEED, &[1; 32])], CKR_ATTRIBUTE_READ_ONLY),
        (CKM_ML_DSA_KEY_PAIR_GEN, vec![set(1), number(CKA_KEY_TYPE, CKK_ML_KEM)], vec![], CKR_TEMPLATE_INCONSISTENT),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, vec![], vec![], CKR_TEMPLATE_INCOMPLETE),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, vec![curve(p256)], vec![], CKR_CURVE_NOT_SUPPORTED),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, vec![curve(ed25519)], vec![], CKR_CURVE_NOT_SUPPORTED),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, vec![curve(ed448)], vec![], CKR_CURVE_NOT_SUPPORTED),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, vec![curve(unknown)], vec![], CKR_CURVE_NOT_SUPPORTED),
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, vec![curve(unknown)], vec![], CKR_CURVE_NOT_SUPPORTED),
        (CKM_SLH_DSA_KEY_PAIR_GEN, vec![], vec![], CKR_TEMPLATE_INCOMPLETE),
        (CKM_SLH_DSA_KEY_PAIR_GEN, vec![set(13)], vec![], CKR_PARAMETER_SET_NOT_SUPPORTED),
        (CKM_SLH_DSA_KEY_PAIR_GEN, vec![set(3)], vec![set(4)], CKR_TEMPLATE_INCONSISTENT),
        (CKM_SLH_DSA_KEY_PAIR_GEN, vec![set(3)], vec![bytes(CKA_SEED, &[1; 48])], CKR_TEMPLATE_INCONSISTENT),
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, vec![curve(X25519[0])], vec![], CKR_CURVE_NOT_SUPPORTED),
        (CKM_EC_KEY_PAIR_GEN, vec![curve(X25519[1])], vec![], CKR_CURVE_NOT_SUPPORTED),
    ] {
        let said = scene.expect(&[], || scene.try_generate(id, &public, &private));
        assert_eq!(said, Err(expected), "{id:#x} {public:02x?} {private:02x?}");
    }
    scene.module.finalise();
}

#[test]
fn without_plaintext_nothing_is_made_here() {
    if !alone("without_plaintext_nothing_is_made_here") {
        return;
    }
    let scene = Scene::new("generate = \"without-plaintext\"");
    let set = number(CKA_PARAMETER_SET, CKP_ML_DSA_44);
    for token in [true, false] {
        let on_token = flag(CKA_TOKEN, token);
        for (id, what) in [
            (CKM_ML_DSA_KEY_PAIR_GEN, set.clone()),
            (CKM_SLH_DSA_KEY_PAIR_GEN, set.clone()),
            (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, bytes(CKA_EC_PARAMS, X25519[0])),
            (CKM_EC_EDWARDS_KEY_PAIR_GEN, bytes(CKA_EC_PARAMS, b"\x13\x0aedwards448")),
        ] {
            let public = [on_token.clone(), what];
            let said = scene.expect(&[], || scene.try_generate(id, &public, std::slice::from_ref(&on_token)));
            assert_eq!(said, Err(CKR_MECHANISM_INVALID));
        }
    }
    // Such keys can still be taken over.
    let class = number(CKA_CLASS, CKO_PRIVATE_KEY);
    let key = [class, number(CKA_KEY_TYPE, CKK_ML_DSA), set, bytes(CKA_SEED, &[7; 32]), flag(CKA_TOKEN, true)];
    let key = scene.expect(ENCRYPT, || scene.module.create(scene.session, &key));
    scene.module.sign(scene.session, key, CKM_ML_DSA, b"data").unwrap();
    scene.module.finalise();
}

fn private(set: CK_ULONG) -> Vec<Attr> {
    vec![
        number(CKA_CLASS, CKO_PRIVATE_KEY),
        number(CKA_KEY_TYPE, CKK_ML_DSA),
        number(CKA_PARAMETER_SET, set),
        flag(CKA_SENSITIVE, false),
        flag(CKA_EXTRACTABLE, true),
    ]
}

#[test]
fn ml_dsa_keys_are_taken_over_in_every_form() {
    if !alone("ml_dsa_keys_are_taken_over_in_every_form") {
        return;
    }
    let scene = Scene::new("");
    let (module, session) = (scene.module, scene.session);
    let seed = bytes(CKA_SEED, &[7; 32]);
    for (set, _, _) in SETS {
        let by_seed = module.create(session, &with(private(set), std::slice::from_ref(&seed)));
        let value = module.attribute(session, by_seed, CKA_VALUE);
        let info = module.attribute(session, by_seed, CKA_PUBLIC_KEY_INFO);
        let public_value = &info[22..];
        let value = bytes(CKA_VALUE, &value);
        let public = vec![
            number(CKA_CLASS, CKO_PUBLIC_KEY),
            number(CKA_KEY_TYPE, CKK_ML_DSA),
            number(CKA_PARAMETER_SET, set),
            bytes(CKA_VALUE, public_value),
        ];
        let verifier = module.create(session, &public);
        assert_eq!(module.attribute(session, verifier, CKA_PUBLIC_KEY_INFO), info);
        // By its seed a key is small; by its value the longest of them needs an envelope.
        let by_value = if set == CKP_ML_DSA_87 { &[("GenerateDataKey", 1)][..] } else { ENCRYPT };
        for (parts, calls, has_seed) in [
            (vec![seed.clone()], ENCRYPT, true),
            (vec![value.clone()], by_value, false),
            (vec![seed.clone(), value.clone()], ENCRYPT, true),
        ] {
            let template = [&private(set)[..], &parts, &[flag(CKA_TOKEN, true)]].concat();
            let key = scene.expect(calls, || module.create(session, &template));
            assert_eq!(module.attribute(session, key, CKA_PUBLIC_KEY_INFO), info);
            assert_eq!(bytes(CKA_VALUE, &module.attribute(session, key, CKA_VALUE)), value);
            let told = module.get(session, key, CKA_SEED);
            assert_eq!(told, if has_seed { Ok(vec![7; 32]) } else { Err(CKR_ATTRIBUTE_TYPE_INVALID) });
            assert!(!module.is(session, key, CKA_LOCAL) && !module.is(session, key, CKA_ALWAYS_SENSITIVE));
            let signature = module.sign(session, key, CKM_ML_DSA, b"data").unwrap();
            assert_eq!(module.verify(session, verifier, CKM_ML_DSA, b"data", &signature), CKR_OK);
            assert_eq!(module.verify(session, verifier, CKM_ML_DSA, b"date", &signature), CKR_SIGNATURE_INVALID);

            // Wrapped and unwrapped it is the same key.
            let aes = module.create(session, &objects::secret_key(CKK_AES, &[3; 32]));
            let (mut wrapped, mut wrapped_len) = (vec![0; 8000], 8000);
            let mut wrap = mechanism(CKM_AES_KEY_WRAP_KWP);
            ok!(module, C_WrapKey, session, &mut wrap, aes, key, wrapped.as_mut_ptr(), &mut wrapped_len);
            let (class, key_type) = (CKO_PRIVATE_KEY.to_ne_bytes(), CKK_ML_DSA.to_ne_bytes());
            let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type)];
            let (mut again, blob) = (0, wrapped.as_mut_ptr());
            let first = template.as_mut_ptr();
            ok!(module, C_UnwrapKey, session, &mut wrap, aes, blob, wrapped_len, first, 2, &mut again);
            assert_eq!(module.attribute(session, again, CKA_PARAMETER_SET), set.to_ne_bytes());
            assert_eq!(module.attribute(session, again, CKA_PUBLIC_KEY_INFO), info);
            module.sign(session, again, CKM_ML_DSA, b"data").unwrap();
        }
        let other = SETS[set as usize % 3].0;
        let mut other_value = value.clone();
        other_value.1[40] ^= 1;
        for (parts, expected) in [
            (vec![], CKR_TEMPLATE_INCOMPLETE),
            (vec![bytes(CKA_SEED, &[7; 31])], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![bytes(CKA_SEED, &[8; 32]), value.clone()], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![seed.clone(), other_value], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![bytes(CKA_VALUE, &value.1[1..])], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![value.clone(), number(CKA_PARAMETER_SET, other)], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![seed.clone(), number(CKA_PARAMETER_SET, 0)], CKR_PARAMETER_SET_NOT_SUPPORTED),
            (vec![seed.clone(), bytes(CKA_PUBLIC_KEY_INFO, &info[1..])], CKR_ATTRIBUTE_VALUE_INVALID),
        ] {
            assert_eq!(module.creating(session, &with(private(set), &parts)), expected);
        }
        for (part, expected) in [
            (bytes(CKA_VALUE, &public_value[1..]), CKR_ATTRIBUTE_VALUE_INVALID),
            (number(CKA_PARAMETER_SET, other), CKR_ATTRIBUTE_VALUE_INVALID),
            (number(CKA_PARAMETER_SET, 9), CKR_PARAMETER_SET_NOT_SUPPORTED),
        ] {
            assert_eq!(module.creating(session, &with(public.clone(), &[part])), expected);
        }
    }
    module.finalise();
}

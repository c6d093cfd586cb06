//! Keys of the kinds that AWS-LC does not know: SLH-DSA, Ed448 and X448, through the C API.

mod host;
mod objects;

use cryptoki_sys::*;
use host::{Module, Place, alone, at, attr, call, check, given, len, mechanism, ok};
use objects::{Attr, bytes, flag, number, with};
use std::ptr::null_mut;

struct Scene {
    module: Module,
    session: CK_SESSION_HANDLE,
    _place: Place,
}

type Pair = (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE);

fn context(hedge: CK_HEDGE_TYPE, context: &[u8]) -> CK_SIGN_ADDITIONAL_CONTEXT {
    CK_SIGN_ADDITIONAL_CONTEXT { hedgeVariant: hedge, pContext: at(context), ulContextLen: len(context) }
}

fn eddsa(prehash: bool, context: &[u8]) -> CK_EDDSA_PARAMS {
    let ph = if prehash { CK_TRUE } else { CK_FALSE };
    CK_EDDSA_PARAMS { phFlag: ph, ulContextDataLen: len(context), pContextData: at(context) }
}

impl Scene {
    fn new() -> Self {
        let place = Place::embedded("");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        Self { module, session, _place: place }
    }

    fn generate(&self, id: CK_MECHANISM_TYPE, what: &Attr, private: &[Attr]) -> Pair {
        let mut public = [attr(what.0, &what.1)];
        let mut private: Vec<_> = private.iter().map(|(name, value)| attr(*name, value)).collect();
        let (mut pair, count) = ((0, 0), private.len() as CK_ULONG);
        let (first, second) = (public.as_mut_ptr(), private.as_mut_ptr());
        let (session, one) = (self.session, &mut mechanism(id));
        ok!(self.module, C_GenerateKeyPair, session, one, first, 1, second, count, &mut pair.0, &mut pair.1);
        pair
    }

    fn sign(&self, mechanism: &mut CK_MECHANISM, key: CK_OBJECT_HANDLE, data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        check(call!(self.module, C_SignInit, self.session, mechanism, key))?;
        self.output(|out, room| call!(self.module, C_Sign, self.session, at(data), len(data), out, room))
    }

    fn sign_in_parts(&self, mechanism: &mut CK_MECHANISM, key: CK_OBJECT_HANDLE, parts: &[&[u8]]) -> Vec<u8> {
        ok!(self.module, C_SignInit, self.session, mechanism, key);
        parts.iter().for_each(|part| ok!(self.module, C_SignUpdate, self.session, at(part), len(part)));
        self.output(|out, room| call!(self.module, C_SignFinal, self.session, out, room)).unwrap()
    }

    fn verify(&self, mechanism: &mut CK_MECHANISM, key: CK_OBJECT_HANDLE, data: &[u8], signature: &[u8]) -> CK_RV {
        match call!(self.module, C_VerifyInit, self.session, mechanism, key) {
            CKR_OK => call!(self.module, C_Verify, self.session, at(data), len(data), at(signature), len(signature)),
            rv => rv,
        }
    }

    fn output(&self, work: impl FnOnce(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) -> Result<Vec<u8>, CK_RV> {
        let (mut out, mut len) = (vec![0; 50_000], 50_000);
        check(work(out.as_mut_ptr(), &mut len))?;
        out.truncate(len as usize);
        Ok(out)
    }

    /// A private key again, out of what was wrapped.
    fn unwrapped_again(&self, key: CK_OBJECT_HANDLE, key_type: CK_KEY_TYPE) -> CK_OBJECT_HANDLE {
        let aes = self.module.create(self.session, &objects::secret_key(CKK_AES, &[3; 32]));
        let wrap = &mut mechanism(CKM_AES_KEY_WRAP_KWP);
        let wrapped =
            self.output(|out, room| call!(self.module, C_WrapKey, self.session, wrap, aes, key, out, room)).unwrap();
        let (class, key_type) = (CKO_PRIVATE_KEY.to_ne_bytes(), key_type.to_ne_bytes());
        let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type)];
        let (mut again, first) = (0, template.as_mut_ptr());
        ok!(self.module, C_UnwrapKey, self.session, wrap, aes, at(&wrapped), len(&wrapped), first, 2, &mut again);
        again
    }
}

fn open() -> [Attr; 3] {
    [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true), flag(CKA_COPYABLE, true)]
}

fn half(class: CK_OBJECT_CLASS, key_type: CK_KEY_TYPE, parts: &[Attr]) -> Vec<Attr> {
    [&[number(CKA_CLASS, class), number(CKA_KEY_TYPE, key_type)], parts].concat()
}

/// The fast sets, with the lengths of their keys and signatures.
const SETS: [(CK_ULONG, usize, usize); 6] = [
    (CKP_SLH_DSA_SHA2_128F, 64, 17088),
    (CKP_SLH_DSA_SHA2_192F, 96, 35664),
    (CKP_SLH_DSA_SHA2_256F, 128, 49856),
    (CKP_SLH_DSA_SHAKE_128F, 64, 17088),
    (CKP_SLH_DSA_SHAKE_192F, 96, 35664),
    (CKP_SLH_DSA_SHAKE_256F, 128, 49856),
];

#[test]
fn slh_dsa_keys_live_like_others() {
    if !alone("slh_dsa_keys_live_like_others") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    for (set, private_len, signature_len) in SETS {
        let set = number(CKA_PARAMETER_SET, set);
        let (public, private) = scene.generate(CKM_SLH_DSA_KEY_PAIR_GEN, &set, &open());
        let plain = &mut mechanism(CKM_SLH_DSA);
        let info = module.attribute(session, public, CKA_PUBLIC_KEY_INFO);
        let (value, point) =
            (module.attribute(session, private, CKA_VALUE), module.attribute(session, public, CKA_VALUE));
        assert_eq!((value.len(), point.len()), (private_len, private_len / 2));
        assert!(value.ends_with(&point) && info.ends_with(&point));
        assert_eq!(module.attribute(session, private, CKA_PARAMETER_SET), set.1);

        // The rule of output buffers.
        ok!(module, C_SignInit, session, plain, private);
        let (mut buffer, mut room) = (vec![0; signature_len], 0);
        ok!(module, C_Sign, session, at(b"data"), 4, null_mut(), &mut room);
        assert_eq!(room as usize, signature_len);
        room -= 1;
        let rv = call!(module, C_Sign, session, at(b"data"), 4, buffer.as_mut_ptr(), &mut room);
        assert_eq!((rv, room as usize), (CKR_BUFFER_TOO_SMALL, signature_len));
        ok!(module, C_Sign, session, at(b"data"), 4, buffer.as_mut_ptr(), &mut room);
        assert_eq!(scene.verify(plain, public, b"data", &buffer), CKR_OK);
        assert_eq!(scene.verify(plain, public, b"date", &buffer), CKR_SIGNATURE_INVALID);
        assert_eq!(scene.verify(plain, public, b"data", &buffer[1..]), CKR_SIGNATURE_LEN_RANGE);

        // Imported, copied, wrapped and unwrapped they are the same keys.
        let private_half = |more: &[Attr]| {
            half(CKO_PRIVATE_KEY, CKK_SLH_DSA, &[std::slice::from_ref(&set), &open()[..], more].concat())
        };
        let imported = module.create(session, &private_half(&[bytes(CKA_VALUE, &value), flag(CKA_TOKEN, true)]));
        let copied = module.copy(session, private, &[]);
        let unwrapped = scene.unwrapped_again(private, CKK_SLH_DSA);
        let alike = &mut context(CKH_DETERMINISTIC_REQUIRED, b"");
        let alike = &mut given(CKM_SLH_DSA, alike);
        let signature = scene.sign(alike, private, b"data").unwrap();
        for key in [imported, copied, unwrapped] {
            assert_eq!(module.attribute(session, key, CKA_PUBLIC_KEY_INFO), info);
            assert_eq!(scene.sign(alike, key, b"data").unwrap(), signature);
        }
        let mut wrong = value.clone();
        wrong[private_len - 1] ^= 1;
        for (parts, expected) in [
            (vec![], CKR_TEMPLATE_INCOMPLETE),
            (vec![bytes(CKA_VALUE, &value[1..])], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![bytes(CKA_VALUE, &wrong)], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![bytes(CKA_VALUE, &value), bytes(CKA_SEED, &value)], CKR_TEMPLATE_INCONSISTENT),
            (vec![bytes(CKA_VALUE, &value), number(CKA_PARAMETER_SET, 0)], CKR_PARAMETER_SET_NOT_SUPPORTED),
        ] {
            assert_eq!(module.creating(session, &with(private_half(&[]), &parts)), expected);
        }
        let verifier = half(CKO_PUBLIC_KEY, CKK_SLH_DSA, &[set.clone(), bytes(CKA_VALUE, &point)]);
        let short = with(verifier.clone(), &[bytes(CKA_VALUE, &point[1..])]);
        assert_eq!(module.creating(session, &short), CKR_ATTRIBUTE_VALUE_INVALID);
        let verifier = module.create(session, &verifier);
        assert_eq!(scene.verify(plain, verifier, b"data", &signature), CKR_OK);
        let (mut template, mut told) = ([attr(CKA_LABEL, b"told")], 0);
        let from_private = &mut mechanism(CKM_PUB_KEY_FROM_PRIV_KEY);
        ok!(module, C_DeriveKey, session, from_private, private, template.as_mut_ptr(), 1, &mut told);
        assert_eq!(module.attribute(session, told, CKA_VALUE), point);
        for other in [CKM_ML_DSA, CKM_EDDSA, CKM_ECDSA] {
            let rv = call!(module, C_SignInit, session, &mut mechanism(other), private);
            assert_eq!(rv, CKR_KEY_TYPE_INCONSISTENT);
        }
    }
    module.finalise();
}

/// The mechanism that hashes, and the one that says how the data was hashed, if there is one.
const HASHES: [(CK_MECHANISM_TYPE, Option<CK_MECHANISM_TYPE>); 10] = [
    (CKM_HASH_SLH_DSA_SHA224, Some(CKM_SHA224)),
    (CKM_HASH_SLH_DSA_SHA256, Some(CKM_SHA256)),
    (CKM_HASH_SLH_DSA_SHA384, Some(CKM_SHA384)),
    (CKM_HASH_SLH_DSA_SHA512, Some(CKM_SHA512)),
    (CKM_HASH_SLH_DSA_SHA3_224, Some(CKM_SHA3_224)),
    (CKM_HASH_SLH_DSA_SHA3_256, Some(CKM_SHA3_256)),
    (CKM_HASH_SLH_DSA_SHA3_384, Some(CKM_SHA3_384)),
    (CKM_HASH_SLH_DSA_SHA3_512, Some(CKM_SHA3_512)),
    (CKM_HASH_SLH_DSA_SHAKE128, None),
    (CKM_HASH_SLH_DSA_SHAKE256, None),
];

#[test]
fn slh_dsa_takes_contexts_and_digests() {
    if !alone("slh_dsa_takes_contexts_and_digests") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let set = number(CKA_PARAMETER_SET, CKP_SLH_DSA_SHA2_128F);
    let (public, private) = scene.generate(CKM_SLH_DSA_KEY_PAIR_GEN, &set, &[flag(CKA_TOKEN, true)]);
    let long = [7; 255];
    for hedge in [CKH_HEDGE_PREFERRED, CKH_HEDGE_REQUIRED, CKH_DETERMINISTIC_REQUIRED] {
        for said in [&b""[..], b"context", &long] {
            let (mut first, mut other) = (context(hedge, said), context(hedge, b"other"));
            let one = &mut given(CKM_SLH_DSA, &mut first);
            let signature = scene.sign(one, private, b"data").unwrap();
            let again = scene.sign_in_parts(one, private, &[b"da", b"", b"ta"]);
            assert_eq!(signature == again, hedge == CKH_DETERMINISTIC_REQUIRED);
            assert_eq!(scene.verify(one, public, b"data", &signature), CKR_OK);
            assert_eq!(scene.verify(one, public, b"data", &again), CKR_OK);
            let rv = scene.verify(&mut given(CKM_SLH_DSA, &mut other), public, b"data", &signature);
            assert_eq!(rv, CKR_SIGNATURE_INVALID);
            ok!(module, C_VerifySignatureInit, session, one, public, at(&signature), len(&signature));
            ok!(module, C_VerifySignature, session, at(b"data"), 4);
        }
    }
    for (hashing, hash) in HASHES {
        let mut said = context(CKH_HEDGE_PREFERRED, b"ctx");
        let one = &mut given(hashing, &mut said);
        let signature = scene.sign(one, private, b"data").unwrap();
        assert_eq!(scene.verify(one, public, b"data", &signature), CKR_OK);
        assert_eq!(scene.verify(one, public, b"date", &signature), CKR_SIGNATURE_INVALID);
        assert_eq!(scene.verify(&mut mechanism(hashing), public, b"data", &signature), CKR_SIGNATURE_INVALID);
        let Some(hash) = hash else { continue };
        ok!(module, C_DigestInit, session, &mut mechanism(hash));
        let digest = scene.output(|out, room| call!(module, C_Digest, session, at(b"data"), 4, out, room)).unwrap();
        let mut said = CK_HASH_SIGN_ADDITIONAL_CONTEXT {
            hedgeVariant: CKH_HEDGE_PREFERRED,
            pContext: at(b"ctx"),
            ulContextLen: 3,
            hash,
        };
        let digested = &mut given(CKM_HASH_SLH_DSA, &mut said);
        assert_eq!(scene.verify(digested, public, &digest, &signature), CKR_OK);
        let signature = scene.sign_in_parts(digested, private, &[&digest[..5], &digest[5..]]);
        assert_eq!(scene.verify(one, public, b"data", &signature), CKR_OK);
        assert_eq!(scene.sign(digested, private, &digest[1..]), Err(CKR_DATA_LEN_RANGE));
        // A signature of the digest is none of the same bytes as a message.
        assert_eq!(scene.verify(&mut mechanism(CKM_SLH_DSA), public, &digest, &signature), CKR_SIGNATURE_INVALID);
    }
    let too_long = [7; 256];
    for mut bad in [context(3, b""), context(CKH_HEDGE_PREFERRED, &too_long)] {
        for id in [CKM_SLH_DSA, CKM_HASH_SLH_DSA_SHA256] {
            let rv = call!(module, C_SignInit, session, &mut given(id, &mut bad), private);
            assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
        }
    }
    let rv = call!(module, C_SignInit, session, &mut mechanism(CKM_HASH_SLH_DSA), private);
    assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);

    // Messages.
    let one = &mut mechanism(CKM_SLH_DSA);
    ok!(module, C_MessageSignInit, session, one, private);
    ok!(module, C_MessageVerifyInit, session, one, public);
    for message in [&b"first"[..], b""] {
        let sign =
            |out, room| call!(module, C_SignMessage, session, null_mut(), 0, at(message), len(message), out, room);
        let signature = scene.output(sign).unwrap();
        let (data, n, s) = (at(message), len(message), len(&signature));
        ok!(module, C_VerifyMessage, session, null_mut(), 0, data, n, at(&signature), s);
    }
    module.finalise();
}

const ED448: [&[u8]; 2] = [&[6, 3, 0x2b, 0x65, 0x71], b"\x13\x0aedwards448"];
const X448: [&[u8]; 2] = [&[6, 3, 0x2b, 0x65, 0x6f], b"\x13\x08curve448"];

#[test]
fn ed448_signs_in_all_its_variants() {
    if !alone("ed448_signs_in_all_its_variants") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    for params in ED448 {
        let curve = bytes(CKA_EC_PARAMS, params);
        let (public, private) = scene.generate(CKM_EC_EDWARDS_KEY_PAIR_GEN, &curve, &open());
        assert_eq!(module.attribute(session, public, CKA_EC_PARAMS), params);
        let point = module.attribute(session, public, CKA_EC_POINT);
        let seed = module.attribute(session, private, CKA_VALUE);
        assert_eq!((point.len(), &point[..2], seed.len()), (59, &[4, 57][..], 57));
        let key = [curve.clone(), bytes(CKA_VALUE, &seed)];
        let imported = module.create(session, &half(CKO_PRIVATE_KEY, CKK_EC_EDWARDS, &key));
        let raw = [curve.clone(), bytes(CKA_EC_POINT, &point[2..])];
        let verifier = module.create(session, &half(CKO_PUBLIC_KEY, CKK_EC_EDWARDS, &raw));
        let unwrapped = scene.unwrapped_again(private, CKK_EC_EDWARDS);
        let info = module.attribute(session, public, CKA_PUBLIC_KEY_INFO);
        for key in [imported, verifier, unwrapped, private] {
            assert_eq!(module.attribute(session, key, CKA_PUBLIC_KEY_INFO), info);
        }
        let mut parameters = [eddsa(false, b""), eddsa(false, b"context"), eddsa(true, b""), eddsa(true, b"context")];
        let mut made = Vec::new();
        for parameter in &mut parameters {
            let one = &mut given(CKM_EDDSA, parameter);
            let signature = scene.sign(one, private, b"data").unwrap();
            assert_eq!(signature.len(), 114);
            assert_eq!(scene.sign(one, imported, b"data").unwrap(), signature);
            assert_eq!(scene.sign_in_parts(one, unwrapped, &[b"d", b"ata"]), signature);
            assert_eq!(scene.verify(one, verifier, b"data", &signature), CKR_OK);
            assert_eq!(scene.verify(one, public, b"date", &signature), CKR_SIGNATURE_INVALID);
            assert_eq!(scene.verify(one, public, b"data", &signature[1..]), CKR_SIGNATURE_LEN_RANGE);
            made.push(signature);
        }
        assert_eq!(scene.sign(&mut mechanism(CKM_EDDSA), private, b"data").unwrap(), made[0]);
        for (index, signature) in made.iter().enumerate() {
            for (other, parameter) in parameters.iter_mut().enumerate() {
                let expected = if index == other { CKR_OK } else { CKR_SIGNATURE_INVALID };
                assert_eq!(scene.verify(&mut given(CKM_EDDSA, parameter), public, b"data", signature), expected);
            }
        }
        for (part, expected) in [
            (bytes(CKA_EC_POINT, &[2; 57]), CKR_ATTRIBUTE_VALUE_INVALID),
            (bytes(CKA_EC_POINT, &point[3..]), CKR_ATTRIBUTE_VALUE_INVALID),
            (bytes(CKA_EC_PARAMS, X448[0]), CKR_CURVE_NOT_SUPPORTED),
        ] {
            let template = with(half(CKO_PUBLIC_KEY, CKK_EC_EDWARDS, &raw), &[part]);
            assert_eq!(module.creating(session, &template), expected);
        }
    }
    module.finalise();
}

#[test]
fn x448_agrees_encapsulates_and_wraps() {
    if !alone("x448_agrees_encapsulates_and_wraps") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let pairs = X448.map(|params| {
        let curve = bytes(CKA_EC_PARAMS, params);
        scene.generate(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &curve, &[flag(CKA_UNWRAP, true), flag(CKA_DECAPSULATE, true)])
    });
    let secret_of = |private, point: &[u8], template: &[Attr]| {
        let mut parameter = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            ulSharedDataLen: 0,
            pSharedData: null_mut(),
            ulPublicDataLen: len(point),
            pPublicData: at(point),
        };
        let mut template: Vec<_> = template.iter().map(|(name, value)| attr(*name, value)).collect();
        let (mut secret, count) = (0, template.len() as CK_ULONG);
        let derive = &mut given(CKM_ECDH1_DERIVE, &mut parameter);
        check(call!(module, C_DeriveKey, session, derive, private, template.as_mut_ptr(), count, &mut secret))?;
        Ok(module.attribute(session, secret, CKA_VALUE))
    };
    let points = pairs.map(|pair| module.attribute(session, pair.0, CKA_EC_POINT));
    assert_eq!((points[0].len(), &points[0][..2]), (58, &[4, 56][..]));
    // The point comes wrapped or raw; the secret is as long as the field.
    let secret = secret_of(pairs[0].1, &points[1], &[]).unwrap();
    assert_eq!(secret.len(), 56);
    assert_eq!(secret_of(pairs[1].1, &points[0][2..], &[]).unwrap(), secret);
    assert_eq!(secret_of(pairs[1].1, &points[0], &[number(CKA_VALUE_LEN, 32)]).unwrap(), secret[24..]);
    for bad in [&[0; 56][..], &[9; 55]] {
        assert_eq!(secret_of(pairs[0].1, bad, &[]), Err(CKR_MECHANISM_PARAM_INVALID));
    }

    let mut parameter = CK_ECDH1_DERIVE_PARAMS {
        kdf: CKD_SHA256_KDF,
        ulSharedDataLen: 0,
        pSharedData: null_mut(),
        ulPublicDataLen: 0,
        pPublicData: null_mut(),
    };
    let one = &mut given(CKM_ECDH1_DERIVE, &mut parameter);
    assert_eq!(module.set(session, pairs[0].0, &[flag(CKA_ENCAPSULATE, true)]), CKR_OK);
    let template = [number(CKA_VALUE_LEN, 16), flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)];
    let native = || template.iter().map(|(name, value)| attr(*name, value)).collect::<Vec<_>>();
    let (mut first, mut second, mut made, mut found) = (native(), native(), 0, 0);
    let (from, to) = (first.as_mut_ptr(), second.as_mut_ptr());
    let (public, private) = pairs[0];
    let encapsulate = |out, room| call!(module, C_EncapsulateKey, session, one, public, from, 3, out, room, &mut made);
    let ciphertext = scene.output(encapsulate).unwrap();
    assert_eq!(ciphertext.len(), 56);
    let one = &mut given(CKM_ECDH1_DERIVE, &mut parameter);
    ok!(module, C_DecapsulateKey, session, one, private, to, 3, at(&ciphertext), 56, &mut found);
    assert_eq!(module.attribute(session, made, CKA_VALUE), module.attribute(session, found, CKA_VALUE));

    let mut wrap = CK_ECDH_AES_KEY_WRAP_PARAMS {
        ulAESKeyBits: 256,
        kdf: CKD_SHA512_KDF,
        ulSharedDataLen: 0,
        pSharedData: null_mut(),
    };
    assert_eq!(module.set(session, public, &[flag(CKA_WRAP, true)]), CKR_OK);
    let wrap = &mut given(CKM_ECDH_X_AES_KEY_WRAP, &mut wrap);
    let wrapped = scene.output(|out, room| call!(module, C_WrapKey, session, wrap, public, made, out, room)).unwrap();
    let all = [&[number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)], &template[1..]].concat();
    let mut all: Vec<_> = all.iter().map(|(name, value)| attr(*name, value)).collect();
    ok!(module, C_UnwrapKey, session, wrap, private, at(&wrapped), len(&wrapped), all.as_mut_ptr(), 4, &mut found);
    assert_eq!(module.attribute(session, made, CKA_VALUE), module.attribute(session, found, CKA_VALUE));
    module.finalise();
}

//! Signatures of ML-DSA and HashML-DSA: their parameters, in one part and several, as messages, ahead of their data.

mod host;

use cryptoki_sys::*;
use host::{Kind, Module, Place, alone, at, call, check, given, len, mechanism, ok};
use std::ptr::null_mut;

/// A token on the embedded KMS, and a key pair on it.
struct Scene {
    module: Module,
    session: CK_SESSION_HANDLE,
    public: CK_OBJECT_HANDLE,
    private: CK_OBJECT_HANDLE,
    _place: Place,
}

fn context(hedge: CK_HEDGE_TYPE, context: &[u8]) -> CK_SIGN_ADDITIONAL_CONTEXT {
    CK_SIGN_ADDITIONAL_CONTEXT { hedgeVariant: hedge, pContext: at(context), ulContextLen: len(context) }
}

fn hash_context(hash: CK_MECHANISM_TYPE, context: &[u8]) -> CK_HASH_SIGN_ADDITIONAL_CONTEXT {
    let hedge = CKH_HEDGE_REQUIRED;
    CK_HASH_SIGN_ADDITIONAL_CONTEXT { hedgeVariant: hedge, pContext: at(context), ulContextLen: len(context), hash }
}

impl Scene {
    fn new() -> Self {
        let place = Place::embedded("");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        let (public, private) = module.generate(session, Kind::MlDsa(CKP_ML_DSA_44), b"1");
        Self { module, session, public, private, _place: place }
    }

    fn sign_init(&self, mechanism: &mut CK_MECHANISM) -> CK_RV {
        call!(self.module, C_SignInit, self.session, mechanism, self.private)
    }

    fn sign(&self, mechanism: &mut CK_MECHANISM, data: &[u8]) -> Result<Vec<u8>, CK_RV> {
        check(self.sign_init(mechanism))?;
        self.output(|out, room| call!(self.module, C_Sign, self.session, at(data), len(data), out, room))
    }

    fn sign_in_parts(&self, mechanism: &mut CK_MECHANISM, parts: &[&[u8]]) -> Vec<u8> {
        assert_eq!(self.sign_init(mechanism), CKR_OK);
        for part in parts {
            ok!(self.module, C_SignUpdate, self.session, at(part), len(part));
        }
        self.output(|out, room| call!(self.module, C_SignFinal, self.session, out, room)).unwrap()
    }

    fn verify(&self, mechanism: &mut CK_MECHANISM, data: &[u8], signature: &[u8]) -> CK_RV {
        let rv = call!(self.module, C_VerifyInit, self.session, mechanism, self.public);
        if rv != CKR_OK {
            return rv;
        }
        call!(self.module, C_Verify, self.session, at(data), len(data), at(signature), len(signature))
    }

    fn output(&self, work: impl FnOnce(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) -> Result<Vec<u8>, CK_RV> {
        let (mut out, mut len) = (vec![0; 5000], 5000);
        check(work(out.as_mut_ptr(), &mut len))?;
        out.truncate(len as usize);
        Ok(out)
    }
}

#[test]
fn a_context_belongs_to_the_signature() {
    if !alone("a_context_belongs_to_the_signature") {
        return;
    }
    let scene = Scene::new();
    let plain = &mut mechanism(CKM_ML_DSA);
    let long = [7; 255];
    for hedge in [CKH_HEDGE_PREFERRED, CKH_HEDGE_REQUIRED] {
        for said in [&b""[..], b"context", &long] {
            let mut parameter = context(hedge, said);
            let signature = scene.sign(&mut given(CKM_ML_DSA, &mut parameter), b"data").unwrap();
            // Verification takes no notice of how the signature was made.
            for hedge in [CKH_HEDGE_REQUIRED, CKH_DETERMINISTIC_REQUIRED, 77] {
                let mut parameter = context(hedge, said);
                assert_eq!(scene.verify(&mut given(CKM_ML_DSA, &mut parameter), b"data", &signature), CKR_OK);
            }
            let mut other = context(hedge, b"other");
            let other = scene.verify(&mut given(CKM_ML_DSA, &mut other), b"data", &signature);
            assert_eq!(other, CKR_SIGNATURE_INVALID);
            let expected = if said.is_empty() { CKR_OK } else { CKR_SIGNATURE_INVALID };
            assert_eq!(scene.verify(plain, b"data", &signature), expected);
        }
    }
    // Without random bytes they are always alike, of the digest of the data as well.
    let mut alike = context(CKH_DETERMINISTIC_REQUIRED, b"context");
    for id in [CKM_ML_DSA, CKM_HASH_ML_DSA_SHA256] {
        let mechanism = &mut given(id, &mut alike);
        let signature = scene.sign(mechanism, b"data").unwrap();
        assert_eq!(scene.sign_in_parts(mechanism, &[b"da", b"ta"]), signature);
        assert_eq!(scene.verify(mechanism, b"data", &signature), CKR_OK);
    }
    // Hedged: no two are alike.
    assert_ne!(scene.sign(plain, b"data").unwrap(), scene.sign(plain, b"data").unwrap());

    let too_long = [7; 256];
    let mut nowhere = context(CKH_HEDGE_PREFERRED, b"context");
    nowhere.pContext = null_mut();
    for mut parameter in [context(3, b""), context(CKH_HEDGE_PREFERRED, &too_long), nowhere] {
        for id in [CKM_ML_DSA, CKM_HASH_ML_DSA_SHA256] {
            assert_eq!(scene.sign_init(&mut given(id, &mut parameter)), CKR_MECHANISM_PARAM_INVALID);
        }
    }
    for bad in [&mut given(CKM_ML_DSA, &mut 7_u64), &mut given(CKM_ML_DSA, &mut hash_context(CKM_SHA256, b""))] {
        assert_eq!(scene.sign_init(bad), CKR_MECHANISM_PARAM_INVALID);
        assert_eq!(scene.verify(bad, b"data", b""), CKR_MECHANISM_PARAM_INVALID);
    }
    assert_eq!(scene.verify(plain, b"data", &[0; 2419]), CKR_SIGNATURE_LEN_RANGE);
    assert_eq!(scene.verify(plain, b"data", &[0; 2420]), CKR_SIGNATURE_INVALID);
    let module = scene.module;
    for (key, plain) in [(scene.private, mechanism(CKM_ECDSA)), (scene.private, mechanism(CKM_EDDSA))] {
        let rv = call!(module, C_SignInit, scene.session, &mut { plain }, key);
        assert_eq!(rv, CKR_KEY_TYPE_INCONSISTENT);
    }
    module.finalise();
}

/// The mechanism that hashes, and the one that says how the data was hashed.
const HASHES: [(CK_MECHANISM_TYPE, CK_MECHANISM_TYPE); 8] = [
    (CKM_HASH_ML_DSA_SHA224, CKM_SHA224),
    (CKM_HASH_ML_DSA_SHA256, CKM_SHA256),
    (CKM_HASH_ML_DSA_SHA384, CKM_SHA384),
    (CKM_HASH_ML_DSA_SHA512, CKM_SHA512),
    (CKM_HASH_ML_DSA_SHA3_224, CKM_SHA3_224),
    (CKM_HASH_ML_DSA_SHA3_256, CKM_SHA3_256),
    (CKM_HASH_ML_DSA_SHA3_384, CKM_SHA3_384),
    (CKM_HASH_ML_DSA_SHA3_512, CKM_SHA3_512),
];

#[test]
fn a_digest_is_worth_its_message() {
    if !alone("a_digest_is_worth_its_message") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    for (hashing, hash) in HASHES {
        ok!(module, C_DigestInit, session, &mut mechanism(hash));
        let digest = scene.output(|out, room| call!(module, C_Digest, session, at(b"data"), 4, out, room)).unwrap();
        let (mut plain, mut said) = (context(CKH_HEDGE_PREFERRED, b"ctx"), hash_context(hash, b"ctx"));
        let (hashing, digested) = (&mut given(hashing, &mut plain), &mut given(CKM_HASH_ML_DSA, &mut said));
        let signatures = [
            scene.sign(hashing, b"data").unwrap(),
            scene.sign_in_parts(hashing, &[b"da", b"", b"ta"]),
            scene.sign(digested, &digest).unwrap(),
            scene.sign_in_parts(digested, &[&digest[..5], &digest[5..]]),
        ];
        for signature in &signatures {
            assert_eq!(scene.verify(hashing, b"data", signature), CKR_OK);
            assert_eq!(scene.verify(digested, &digest, signature), CKR_OK);
            assert_eq!(scene.verify(hashing, b"date", signature), CKR_SIGNATURE_INVALID);
            assert_eq!(scene.verify(&mut mechanism(hashing.mechanism), b"data", signature), CKR_SIGNATURE_INVALID);
            // A signature of the digest is none of the same bytes as a message.
            assert_eq!(scene.verify(&mut mechanism(CKM_ML_DSA), &digest, signature), CKR_SIGNATURE_INVALID);
        }
        assert_eq!(scene.sign(digested, &digest[1..]), Err(CKR_DATA_LEN_RANGE));
        assert_eq!(scene.sign(digested, &[&digest[..], b"x"].concat()), Err(CKR_DATA_LEN_RANGE));
        // The parameter may be left out where nothing needs it.
        let bare = scene.sign(&mut mechanism(hashing.mechanism), b"data").unwrap();
        assert_eq!(scene.verify(&mut mechanism(hashing.mechanism), b"data", &bare), CKR_OK);
    }
    let bare = &mut mechanism(CKM_HASH_ML_DSA);
    assert_eq!(scene.sign_init(bare), CKR_MECHANISM_PARAM_INVALID);
    // Digests of a length that the mechanism chooses have no mechanism of their own to be named by.
    for id in [CKM_HASH_ML_DSA_SHAKE128, CKM_HASH_ML_DSA_SHAKE256] {
        let signature = scene.sign(&mut mechanism(id), b"data").unwrap();
        assert_eq!(scene.verify(&mut mechanism(id), b"data", &signature), CKR_OK);
        assert_eq!(scene.verify(&mut mechanism(CKM_HASH_ML_DSA_SHA256), b"data", &signature), CKR_SIGNATURE_INVALID);
    }
    for hash in [CKM_SHA_1, CKM_MD5, CKM_SHAKE_128_KEY_DERIVATION, CKM_ML_DSA] {
        let mut said = hash_context(hash, b"");
        assert_eq!(scene.sign_init(&mut given(CKM_HASH_ML_DSA, &mut said)), CKR_MECHANISM_PARAM_INVALID);
    }
    module.finalise();
}

#[test]
fn in_parts_as_messages_and_ahead_of_its_data() {
    if !alone("in_parts_as_messages_and_ahead_of_its_data") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let mut said = context(CKH_HEDGE_PREFERRED, b"ctx");
    for mut one in [mechanism(CKM_ML_DSA), given(CKM_ML_DSA, &mut said), mechanism(CKM_HASH_ML_DSA_SHA512)] {
        let one = &mut one;
        let big = vec![0x5a; 100_000];
        let whole = scene.sign(one, &big).unwrap();
        let parts: Vec<&[u8]> = big.chunks(999).collect();
        let in_parts = scene.sign_in_parts(one, &parts);
        let nothing = scene.sign_in_parts(one, &[]);
        for signature in [&whole, &in_parts] {
            assert_eq!(scene.verify(one, &big, signature), CKR_OK);
            ok!(module, C_VerifyInit, session, one, scene.public);
            parts.iter().for_each(|part| ok!(module, C_VerifyUpdate, session, at(part), len(part)));
            ok!(module, C_VerifyFinal, session, at(signature), len(signature));
            for broken in [false, true] {
                ok!(module, C_VerifySignatureInit, session, one, scene.public, at(signature), len(signature));
                parts.iter().for_each(|part| ok!(module, C_VerifySignatureUpdate, session, at(part), len(part)));
                if broken {
                    ok!(module, C_VerifySignatureUpdate, session, at(b"x"), 1);
                }
                let expected = if broken { CKR_SIGNATURE_INVALID } else { CKR_OK };
                assert_eq!(call!(module, C_VerifySignatureFinal, session), expected);
            }
            ok!(module, C_VerifySignatureInit, session, one, scene.public, at(signature), len(signature));
            ok!(module, C_VerifySignature, session, at(&big), len(&big));
        }
        assert_eq!(scene.verify(one, b"", &nothing), CKR_OK);

        ok!(module, C_MessageSignInit, session, one, scene.private);
        ok!(module, C_MessageVerifyInit, session, one, scene.public);
        for message in [&b"first"[..], b"second", b""] {
            let sign =
                |out, room| call!(module, C_SignMessage, session, null_mut(), 0, at(message), len(message), out, room);
            let signature = scene.output(sign).unwrap();
            let (data, n, s) = (at(message), len(message), len(&signature));
            ok!(module, C_VerifyMessage, session, null_mut(), 0, data, n, at(&signature), s);
            let other = call!(module, C_VerifyMessage, session, null_mut(), 0, at(b"other"), 5, at(&signature), s);
            assert_eq!(other, CKR_SIGNATURE_INVALID);

            ok!(module, C_SignMessageBegin, session, null_mut(), 0);
            ok!(module, C_SignMessageNext, session, null_mut(), 0, data, n, null_mut(), null_mut());
            let last = |out, room| call!(module, C_SignMessageNext, session, null_mut(), 0, at(b"!"), 1, out, room);
            let signature = scene.output(last).unwrap();
            let said = [message, b"!"].concat();
            let (data, n) = (at(&said), len(&said));
            ok!(module, C_VerifyMessage, session, null_mut(), 0, data, n, at(&signature), len(&signature));
        }
        ok!(module, C_MessageSignFinal, session);
        ok!(module, C_MessageVerifyFinal, session);
    }

    // The rule of output buffers.
    assert_eq!(scene.sign_init(&mut mechanism(CKM_ML_DSA)), CKR_OK);
    let (mut buffer, mut room) = (vec![0; 2420], 0);
    ok!(module, C_Sign, session, at(b"data"), 4, null_mut(), &mut room);
    assert_eq!(room, 2420);
    room = 2419;
    let rv = call!(module, C_Sign, session, at(b"data"), 4, buffer.as_mut_ptr(), &mut room);
    assert_eq!((rv, room), (CKR_BUFFER_TOO_SMALL, 2420));
    ok!(module, C_Sign, session, at(b"data"), 4, buffer.as_mut_ptr(), &mut room);
    assert_eq!(scene.verify(&mut mechanism(CKM_ML_DSA), b"data", &buffer), CKR_OK);
    let rv = call!(module, C_Sign, session, at(b"data"), 4, buffer.as_mut_ptr(), &mut room);
    assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
    module.finalise();
}

//! What TLS 1.2 and IKE derive, against a computation of their own: HMAC of the crate hmac, put together as the RFCs say.

mod host;
mod objects;

use cryptoki_sys::*;
use hmac::{Hmac, KeyInit, Mac};
use host::{Module, Place, alone, at, attr, call, check, given, len, mechanism};
use objects::{Attr, flag, number};
use sha2::{Sha256, Sha384};
use std::ptr::null_mut;

struct Scene {
    module: Module,
    session: CK_SESSION_HANDLE,
    _place: Place,
}

fn yes_if(condition: bool) -> CK_BBOOL {
    if condition { CK_TRUE } else { CK_FALSE }
}

fn sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn sha384(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha384>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

type Prf = fn(&[u8], &[&[u8]]) -> Vec<u8>;

/// RFC 5246, section 5.
fn p_hash(prf: Prf, secret: &[u8], seed: &[&[u8]], len: usize) -> Vec<u8> {
    let seed = seed.concat();
    let (mut a, mut out) = (seed.clone(), Vec::new());
    while out.len() < len {
        a = prf(secret, &[&a]);
        out.extend(prf(secret, &[&a, &seed]));
    }
    out.truncate(len);
    out
}

const OPEN: [(CK_ATTRIBUTE_TYPE, bool); 2] = [(CKA_SENSITIVE, false), (CKA_EXTRACTABLE, true)];

fn open() -> Vec<Attr> {
    OPEN.iter().map(|(name, value)| flag(*name, *value)).collect()
}

impl Scene {
    fn new() -> Self {
        let place = Place::embedded("");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        Self { module, session, _place: place }
    }

    fn secret(&self, value: &[u8]) -> CK_OBJECT_HANDLE {
        let key = [objects::secret_key(CKK_GENERIC_SECRET, value), open()].concat();
        self.module.create(self.session, &key)
    }

    fn derive_into(
        &self,
        mechanism: &mut CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        template: &[Attr],
        key: *mut CK_OBJECT_HANDLE,
    ) -> CK_RV {
        let mut template: Vec<_> = template.iter().map(|(name, value)| attr(*name, value)).collect();
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        call!(self.module, C_DeriveKey, self.session, mechanism, base, first, count, key)
    }

    /// The value of a key that is derived to be read.
    fn derive(
        &self,
        mechanism: &mut CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        len: Option<CK_ULONG>,
    ) -> Result<Vec<u8>, CK_RV> {
        let mut key = 0;
        let len = len.map(|len| number(CKA_VALUE_LEN, len));
        let template: Vec<_> = open().into_iter().chain(len).collect();
        check(self.derive_into(mechanism, base, &template, &mut key))?;
        Ok(self.module.attribute(self.session, key, CKA_VALUE))
    }
}

const CLIENT: [u8; 32] = [0xc1; 32];
const SERVER: [u8; 32] = [0x5e; 32];

fn randoms() -> CK_SSL3_RANDOM_DATA {
    CK_SSL3_RANDOM_DATA {
        pClientRandom: at(&CLIENT),
        ulClientRandomLen: 32,
        pServerRandom: at(&SERVER),
        ulServerRandomLen: 32,
    }
}

#[test]
fn tls_makes_its_master_secret() {
    if !alone("tls_makes_its_master_secret") {
        return;
    }
    let scene = Scene::new();
    let mut premaster = [7; 48];
    premaster[..2].copy_from_slice(&[3, 2]);
    let (by_rsa, by_dh) = (scene.secret(&premaster), scene.secret(&premaster[..40]));
    for (hash, prf) in [(CKM_SHA256, sha256 as Prf), (CKM_SHA384, sha384)] {
        let mut version = CK_VERSION { major: 0, minor: 0 };
        let mut parameter =
            CK_TLS12_MASTER_KEY_DERIVE_PARAMS { RandomInfo: randoms(), pVersion: &mut version, prfHashMechanism: hash };
        let expected = p_hash(prf, &premaster, &[b"master secret", &CLIENT, &SERVER], 48);
        let one = &mut given(CKM_TLS12_MASTER_KEY_DERIVE, &mut parameter);
        assert_eq!(scene.derive(one, by_rsa, None).unwrap(), expected);
        assert_eq!((version.major, version.minor), (3, 2));
        assert_eq!(scene.derive(one, by_rsa, Some(48)).unwrap(), expected);
        assert_eq!(scene.derive(one, by_rsa, Some(47)), Err(CKR_KEY_SIZE_RANGE));
        assert_eq!(scene.derive(one, by_dh, None), Err(CKR_KEY_TYPE_INCONSISTENT));
        let dh = &mut given(CKM_TLS12_MASTER_KEY_DERIVE_DH, &mut parameter);
        assert_eq!(scene.derive(dh, by_dh, None), Err(CKR_MECHANISM_PARAM_INVALID), "there is no version");
        parameter.pVersion = null_mut();
        let dh = &mut given(CKM_TLS12_MASTER_KEY_DERIVE_DH, &mut parameter);
        let expected = p_hash(prf, &premaster[..40], &[b"master secret", &CLIENT, &SERVER], 48);
        assert_eq!(scene.derive(dh, by_dh, None).unwrap(), expected);

        let session = [0x55; 32];
        let mut parameter = CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS {
            prfHashMechanism: hash,
            pSessionHash: at(&session),
            ulSessionHashLen: 32,
            pVersion: &mut version,
        };
        version.major = 0;
        let expected = p_hash(prf, &premaster, &[b"extended master secret", &session], 48);
        let one = &mut given(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, &mut parameter);
        assert_eq!(scene.derive(one, by_rsa, None).unwrap(), expected);
        assert_eq!(version.major, 3);
        parameter.pVersion = null_mut();
        let expected = p_hash(prf, &premaster[..40], &[b"extended master secret", &session], 48);
        let dh = &mut given(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, &mut parameter);
        assert_eq!(scene.derive(dh, by_dh, None).unwrap(), expected);
        parameter.ulSessionHashLen = 0;
        let dh = &mut given(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, &mut parameter);
        assert_eq!(scene.derive(dh, by_dh, None), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    // No hash, and randoms of another length.
    let mut parameter =
        CK_TLS12_MASTER_KEY_DERIVE_PARAMS { RandomInfo: randoms(), pVersion: null_mut(), prfHashMechanism: CKM_MD5 };
    for change in 0..2 {
        if change == 1 {
            (parameter.prfHashMechanism, parameter.RandomInfo.ulClientRandomLen) = (CKM_SHA256, 31);
        }
        let one = &mut given(CKM_TLS12_MASTER_KEY_DERIVE, &mut parameter);
        assert_eq!(scene.derive(one, by_rsa, None), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    // Protected as the premaster secret is, where nothing is said.
    let hidden = objects::secret_key(CKK_GENERIC_SECRET, &premaster);
    let hidden = scene.module.create(scene.session, &hidden);
    parameter.RandomInfo.ulClientRandomLen = 32;
    let one = &mut given(CKM_TLS12_MASTER_KEY_DERIVE, &mut parameter);
    let mut key = 0;
    assert_eq!(scene.derive_into(one, hidden, &[], &mut key), CKR_OK);
    assert!(scene.module.is(scene.session, key, CKA_SENSITIVE) && !scene.module.is(scene.session, key, CKA_LOCAL));
    scene.module.finalise();
}

#[test]
fn tls_makes_the_keys_of_a_connection() {
    if !alone("tls_makes_the_keys_of_a_connection") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let master = [9; 48];
    let base = scene.secret(&master);
    let write = [open(), vec![number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_AES)]].concat();
    for (id, mac_len, key_len, iv_len) in [
        (CKM_TLS12_KEY_AND_MAC_DERIVE, 32_usize, 16_usize, 12_usize),
        (CKM_TLS12_KEY_AND_MAC_DERIVE, 0, 32, 4),
        (CKM_TLS12_KEY_AND_MAC_DERIVE, 20, 0, 0),
        (CKM_TLS12_KEY_SAFE_DERIVE, 48, 32, 16),
    ] {
        let (mut ours, mut theirs) = ([0; 32], [0; 32]);
        let mut out = CK_SSL3_KEY_MAT_OUT {
            hClientMacSecret: 0,
            hServerMacSecret: 0,
            hClientKey: 0,
            hServerKey: 0,
            pIVClient: ours.as_mut_ptr(),
            pIVServer: theirs.as_mut_ptr(),
        };
        let mut parameter = CK_TLS12_KEY_MAT_PARAMS {
            ulMacSizeInBits: 8 * mac_len as CK_ULONG,
            ulKeySizeInBits: 8 * key_len as CK_ULONG,
            ulIVSizeInBits: 8 * iv_len as CK_ULONG,
            bIsExport: CK_FALSE,
            RandomInfo: randoms(),
            pReturnedKeyMaterial: &mut out,
            prfHashMechanism: CKM_SHA256,
        };
        // The keys are told in the structure alone.
        let rv = scene.derive_into(&mut given(id, &mut parameter), base, &write, null_mut());
        assert_eq!(rv, CKR_OK, "{id:#x}");
        let iv_len = if id == CKM_TLS12_KEY_SAFE_DERIVE { 0 } else { iv_len };
        let all = 2 * (mac_len + key_len + iv_len);
        let block = p_hash(sha256, &master, &[b"key expansion", &SERVER, &CLIENT], all);
        let mut rest = block.as_slice();
        let mut next = |len: usize| {
            let (part, after) = rest.split_at(len);
            rest = after;
            part.to_vec()
        };
        for (handle, len, is_mac) in [
            (out.hClientMacSecret, mac_len, true),
            (out.hServerMacSecret, mac_len, true),
            (out.hClientKey, key_len, false),
            (out.hServerKey, key_len, false),
        ] {
            assert_eq!(handle != 0, len > 0);
            if len > 0 {
                assert_eq!(module.attribute(session, handle, CKA_VALUE), next(len));
                let key_type = if is_mac { CKK_GENERIC_SECRET } else { CKK_AES };
                assert_eq!(module.attribute(session, handle, CKA_KEY_TYPE), key_type.to_ne_bytes());
                assert!(module.is(session, handle, CKA_SIGN));
                assert_eq!(module.is(session, handle, CKA_ENCRYPT), !is_mac);
            }
        }
        assert_eq!((&ours[..iv_len], &theirs[..iv_len]), (&next(iv_len)[..], &next(iv_len)[..]));
        assert_eq!((ours[iv_len], theirs[iv_len]), (0, 0));

        // What cannot be: an odd size, weak keys of old, no place.
        parameter.ulMacSizeInBits += 1;
        let odd = scene.derive_into(&mut given(id, &mut parameter), base, &write, null_mut());
        parameter.ulMacSizeInBits -= 1;
        parameter.bIsExport = CK_TRUE;
        let export = scene.derive_into(&mut given(id, &mut parameter), base, &write, null_mut());
        parameter.bIsExport = CK_FALSE;
        parameter.pReturnedKeyMaterial = null_mut();
        let nowhere = scene.derive_into(&mut given(id, &mut parameter), base, &write, null_mut());
        assert_eq!([odd, export, nowhere], [CKR_MECHANISM_PARAM_INVALID; 3]);
    }
    module.finalise();
}

#[test]
fn tls_derives_by_label_and_ends_its_handshake() {
    if !alone("tls_derives_by_label_and_ends_its_handshake") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let master = [9; 48];
    let base = scene.secret(&master);
    for id in [CKM_TLS_KDF, CKM_TLS12_KDF] {
        for context in [None, Some(&b""[..]), Some(b"context")] {
            let mut parameter = CK_TLS_KDF_PARAMS {
                prfMechanism: CKM_SHA384,
                pLabel: at(b"EXPORTER-x"),
                ulLabelLength: 10,
                RandomInfo: randoms(),
                pContextData: context.map_or(null_mut(), at),
                ulContextDataLength: context.map_or(0, len),
            };
            let framed = context.map(|context| [&(context.len() as u16).to_be_bytes()[..], context].concat());
            let seed = [&b"EXPORTER-x"[..], &CLIENT, &SERVER, &framed.unwrap_or_default()];
            let one = &mut given(id, &mut parameter);
            assert_eq!(scene.derive(one, base, Some(100)).unwrap(), p_hash(sha384, &master, &seed, 100));
            assert_eq!(scene.derive(one, base, None), Err(CKR_TEMPLATE_INCOMPLETE));
            parameter.ulLabelLength = 0;
            let one = &mut given(id, &mut parameter);
            assert_eq!(scene.derive(one, base, Some(100)), Err(CKR_MECHANISM_PARAM_INVALID));
        }
    }
    let hash = [0x42; 32];
    for id in [CKM_TLS_MAC, CKM_TLS12_MAC] {
        for (side, label) in [(1, &b"server finished"[..]), (2, b"client finished")] {
            for size in [12, 64] {
                let mut parameter =
                    CK_TLS_MAC_PARAMS { prfHashMechanism: CKM_SHA256, ulMacLength: size, ulServerOrClient: side };
                let one = &mut given(id, &mut parameter);
                let expected = p_hash(sha256, &master, &[label, &hash], size as usize);
                assert_eq!(call!(module, C_SignInit, session, one, base), CKR_OK);
                let (mut made, mut room) = ([0; 64], 64);
                assert_eq!(call!(module, C_Sign, session, at(&hash), 32, made.as_mut_ptr(), &mut room), CKR_OK);
                assert_eq!(made[..room as usize], expected);
                for (data, rv) in [(&hash[..], CKR_OK), (&hash[1..], CKR_SIGNATURE_INVALID)] {
                    assert_eq!(call!(module, C_VerifyInit, session, one, base), CKR_OK);
                    let said = call!(module, C_Verify, session, at(data), len(data), at(&expected), len(&expected));
                    assert_eq!(said, rv);
                }
            }
        }
        for (hash, size, side) in [(CKM_SHA256, 11, 1), (CKM_SHA256, 65, 1), (CKM_SHA256, 12, 3), (CKM_MD5, 12, 1)] {
            let mut parameter = CK_TLS_MAC_PARAMS { prfHashMechanism: hash, ulMacLength: size, ulServerOrClient: side };
            let rv = call!(module, C_SignInit, session, &mut given(id, &mut parameter), base);
            assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
        }
        assert_eq!(call!(module, C_SignInit, session, &mut mechanism(id), base), CKR_MECHANISM_PARAM_INVALID);
    }
    module.finalise();
}

#[test]
fn ike_derives_as_its_rfcs_say() {
    if !alone("ike_derives_as_its_rfcs_say") {
        return;
    }
    let scene = Scene::new();
    let (secret, shared, previous) = ([1; 32], [2; 56], [3; 32]);
    let [base, gxy, older] = [&secret[..], &shared, &previous].map(|value| scene.secret(value));
    let (ni, nr) = ([4; 16], [5; 20]);
    for (as_key, rekey) in [(true, false), (false, false), (false, true), (true, true)] {
        let mut parameter = CK_IKE_PRF_DERIVE_PARAMS {
            prfMechanism: CKM_SHA256_HMAC,
            bDataAsKey: yes_if(as_key),
            bRekey: yes_if(rekey),
            pNi: at(&ni),
            ulNiLen: 16,
            pNr: at(&nr),
            ulNrLen: 20,
            hNewKey: gxy,
        };
        let nonces = [&ni[..], &nr].concat();
        let expected = match (as_key, rekey) {
            (true, false) => Ok(sha256(&nonces, &[&secret])),
            (false, false) => Ok(sha256(&secret, &[&nonces])),
            (false, true) => Ok(sha256(&secret, &[&shared, &nonces])),
            (true, true) => Err(CKR_MECHANISM_PARAM_INVALID),
        };
        assert_eq!(scene.derive(&mut given(CKM_IKE_PRF_DERIVE, &mut parameter), base, None), expected);
        parameter.ulNiLen = 15;
        let short = scene.derive(&mut given(CKM_IKE_PRF_DERIVE, &mut parameter), base, None);
        assert_eq!(short, Err(CKR_MECHANISM_PARAM_INVALID));
    }

    let (cky_i, cky_r) = ([6; 8], [7; 8]);
    for has_previous in [false, true] {
        let mut parameter = CK_IKE1_PRF_DERIVE_PARAMS {
            prfMechanism: CKM_SHA384_HMAC,
            bHasPrevKey: yes_if(has_previous),
            hKeygxy: gxy,
            hPrevKey: older,
            pCKYi: at(&cky_i),
            ulCKYiLen: 8,
            pCKYr: at(&cky_r),
            ulCKYrLen: 8,
            keyNumber: 2,
        };
        let before = if has_previous { &previous[..] } else { &[] };
        let expected = sha384(&secret, &[before, &shared, &cky_i, &cky_r, &[2]]);
        let one = &mut given(CKM_IKE1_PRF_DERIVE, &mut parameter);
        assert_eq!(scene.derive(one, base, None).unwrap(), expected);
        assert_eq!(scene.derive(one, base, Some(20)).unwrap(), expected[..20]);
        assert_eq!(scene.derive(one, base, Some(49)), Err(CKR_KEY_SIZE_RANGE));
    }

    for (has_key, extra) in [(false, &b""[..]), (false, b"extra"), (true, b""), (true, b"extra")] {
        let mut parameter = CK_IKE1_EXTENDED_DERIVE_PARAMS {
            prfMechanism: CKM_SHA256_HMAC,
            bHasKeygxy: yes_if(has_key),
            hKeygxy: gxy,
            pExtraData: at(extra),
            ulExtraDataLen: len(extra),
        };
        let key = if has_key { &shared[..] } else { &[] };
        let seed = [key, extra].concat();
        let first = if seed.is_empty() { &[0][..] } else { &seed };
        let mut expected = sha256(&secret, &[first]);
        while expected.len() < 90 {
            let last = expected[expected.len() - 32..].to_vec();
            expected.extend(sha256(&secret, &[&last, &seed]));
        }
        let one = &mut given(CKM_IKE1_EXTENDED_DERIVE, &mut parameter);
        assert_eq!(scene.derive(one, base, Some(90)).unwrap(), expected[..90]);
        assert_eq!(scene.derive(one, base, None), Err(CKR_TEMPLATE_INCOMPLETE));
    }

    for (has_key, data) in [(false, &b"seed"[..]), (true, b""), (true, b"seed"), (false, b"")] {
        let mut parameter = CK_IKE2_PRF_PLUS_DERIVE_PARAMS {
            prfMechanism: CKM_SHA256_HMAC,
            bHasSeedKey: yes_if(has_key),
            hSeedKey: older,
            pSeedData: at(data),
            ulSeedDataLen: len(data),
        };
        let one = &mut given(CKM_IKE2_PRF_PLUS_DERIVE, &mut parameter);
        if !has_key && data.is_empty() {
            assert_eq!(scene.derive(one, base, Some(90)), Err(CKR_MECHANISM_PARAM_INVALID));
            continue;
        }
        let key = if has_key { &previous[..] } else { &[] };
        let (mut expected, mut last) = (Vec::<u8>::new(), Vec::<u8>::new());
        for number in 1..=255 {
            last = sha256(&secret, &[&last, key, data, &[number]]);
            expected.extend(&last);
        }
        assert_eq!(scene.derive(one, base, Some(90)).unwrap(), expected[..90]);
        assert_eq!(scene.derive(one, base, Some(8160)).unwrap(), expected);
        assert_eq!(scene.derive(one, base, Some(8161)), Err(CKR_KEY_SIZE_RANGE));
    }

    // A function that is none, a key that is none, and what goes in stays as hidden as it was.
    let mut parameter = CK_IKE2_PRF_PLUS_DERIVE_PARAMS {
        prfMechanism: CKM_SHA256,
        bHasSeedKey: CK_TRUE,
        hSeedKey: older,
        pSeedData: null_mut(),
        ulSeedDataLen: 0,
    };
    let wrong = scene.derive(&mut given(CKM_IKE2_PRF_PLUS_DERIVE, &mut parameter), base, Some(32));
    assert_eq!(wrong, Err(CKR_MECHANISM_PARAM_INVALID));
    (parameter.prfMechanism, parameter.hSeedKey) = (CKM_SHA256_HMAC, 0);
    let nobody = scene.derive(&mut given(CKM_IKE2_PRF_PLUS_DERIVE, &mut parameter), base, Some(32));
    assert_eq!(nobody, Err(CKR_KEY_HANDLE_INVALID));
    parameter.hSeedKey = scene.module.create(scene.session, &objects::secret_key(CKK_GENERIC_SECRET, &[3; 32]));
    let seen = scene.derive(&mut given(CKM_IKE2_PRF_PLUS_DERIVE, &mut parameter), base, Some(32));
    assert_eq!(seen, Err(CKR_TEMPLATE_INCONSISTENT));
    scene.module.finalise();
}

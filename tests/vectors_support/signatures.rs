//! Signatures and MACs.

use super::{Bench, Outcome, bytes, count, curve, hash, judge, number, with};
use crate::host::{call, mechanism};
use cryptoki_sys::*;
use serde_json::Value;

pub(crate) const REFUSED: &[CK_RV] = &[CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE];

/// Verifies in one part.
pub(crate) fn verify(
    bench: &Bench,
    mechanism: &mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    data: &[u8],
    signature: &[u8],
) -> CK_RV {
    let (module, session) = (bench.module, bench.session);
    let rv = call!(module, C_VerifyInit, session, mechanism, key);
    if rv != CKR_OK {
        return rv;
    }
    let (data, data_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    call!(module, C_Verify, session, data, data_len, signature.as_ptr().cast_mut(), signature.len() as CK_ULONG)
}

fn public_key(
    bench: &Bench,
    key_type: CK_KEY_TYPE,
    parts: &[(CK_ATTRIBUTE_TYPE, &[u8])],
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (class, key_type) = (CKO_PUBLIC_KEY.to_ne_bytes(), key_type.to_ne_bytes());
    let mut template: Vec<(CK_ATTRIBUTE_TYPE, &[u8])> = vec![(CKA_CLASS, &class), (CKA_KEY_TYPE, &key_type)];
    template.extend(parts);
    bench.create(&template)
}

/// An `OCTET STRING` around a point, short enough to need at most one length byte of its own.
fn octets(point: &[u8]) -> Vec<u8> {
    let mut der = vec![4];
    if point.len() >= 128 {
        der.push(0x81);
    }
    der.push(point.len() as u8);
    [der.as_slice(), point].concat()
}

/// Takes a DER signature apart into r‖s; `None` for what is no DER, or has numbers that do not fit.
fn plain(der: &[u8], len: usize) -> Option<Vec<u8>> {
    let (content, rest) = element(der, 0x30)?;
    let (r, content) = element(content, 2)?;
    let (s, content) = element(content, 2)?;
    if !rest.is_empty() || !content.is_empty() {
        return None;
    }
    let mut signature = Vec::new();
    for value in [r, s] {
        let minimal = match value {
            [] => false,
            [0, next, ..] => *next >= 0x80,
            [first, ..] => *first < 0x80,
        };
        let value = value.strip_prefix(&[0]).filter(|_| value.len() > 1).unwrap_or(value);
        if !minimal || value.len() > len {
            return None;
        }
        signature.resize(signature.len() + len - value.len(), 0);
        signature.extend_from_slice(value);
    }
    Some(signature)
}

/// The content of an element with this tag and a length in its shortest form, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (len, start) = match der {
        [first, len, ..] if *first == tag && *len < 0x80 => (usize::from(*len), 2),
        [first, 0x81, len, ..] if *first == tag && *len >= 0x80 => (usize::from(*len), 3),
        _ => return None,
    };
    let content = der.get(start..)?;
    content.split_at_checked(len)
}

pub(crate) fn ecdsa(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let public = &group["publicKey"];
    let (Some((oid, len)), Some((hash, _))) = (curve(&public["curve"]), hash(&group["sha"])) else {
        return Outcome::Cannot;
    };
    let id = match hash {
        CKM_SHA_1 => CKM_ECDSA_SHA1,
        CKM_SHA224 => CKM_ECDSA_SHA224,
        CKM_SHA256 => CKM_ECDSA_SHA256,
        CKM_SHA384 => CKM_ECDSA_SHA384,
        CKM_SHA512 => CKM_ECDSA_SHA512,
        CKM_SHA3_224 => CKM_ECDSA_SHA3_224,
        CKM_SHA3_256 => CKM_ECDSA_SHA3_256,
        CKM_SHA3_384 => CKM_ECDSA_SHA3_384,
        _ => CKM_ECDSA_SHA3_512,
    };
    let signature = match group["type"].as_str() {
        Some("EcdsaP1363Verify") => bytes(&case["sig"]),
        _ => match plain(&bytes(&case["sig"]), len) {
            Some(signature) => signature,
            None if case["result"] == "valid" => return Outcome::Wrong("a valid signature that is no DER".into()),
            None => return Outcome::Cannot,
        },
    };
    let point = bytes(&public["uncompressed"]);
    let key = bench.shared("", || public_key(bench, CKK_EC, &[(CKA_EC_PARAMS, oid), (CKA_EC_POINT, &octets(&point))]));
    let key = match key {
        Ok(key) => key,
        Err(rv) => return judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    };
    let message = bytes(&case["msg"]);
    let said = verify(bench, &mut mechanism(id), key, &message, &signature);
    // PKCS#11 takes shorter signatures of an even length, each half of which is a number (6.3.12); P1363 does
    // not. Such a one is worth what the same numbers in full length are.
    if signature.len() < 2 * len && !signature.is_empty() && signature.len().is_multiple_of(2) {
        let (r, s) = signature.split_at(signature.len() / 2);
        let zeros = vec![0; len - r.len()];
        let full = [&zeros, r, &zeros, s].concat();
        let same = (said == CKR_OK) == (verify(bench, &mut mechanism(id), key, &message, &full) == CKR_OK);
        return if same { Outcome::Right } else { Outcome::Wrong(format!("short, and answered {said:#x}")) };
    }
    judge(case, said, REFUSED)
}

pub(crate) fn eddsa(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let public = &group["publicKey"];
    let last = if public["curve"] == "edwards448" { 0x71 } else { 0x70 };
    let (oid, point) = ([6, 3, 0x2b, 0x65, last], octets(&bytes(&public["pk"])));
    let key = bench.shared("", || public_key(bench, CKK_EC_EDWARDS, &[(CKA_EC_PARAMS, &oid), (CKA_EC_POINT, &point)]));
    let signature = bytes(&case["sig"]);
    match key {
        Ok(key) => {
            judge(case, verify(bench, &mut mechanism(CKM_EDDSA), key, &bytes(&case["msg"]), &signature), REFUSED)
        }
        Err(rv) => judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    }
}

/// An RSA public key; `None` for a size that the module does not take.
fn rsa(bench: &Bench, group: &Value) -> Option<Result<CK_OBJECT_HANDLE, CK_RV>> {
    let public = &group["publicKey"];
    let (modulus, exponent) = (number(&public["modulus"]), number(&public["publicExponent"]));
    (modulus.len() <= 512).then(|| {
        bench.shared("", || public_key(bench, CKK_RSA, &[(CKA_MODULUS, &modulus), (CKA_PUBLIC_EXPONENT, &exponent)]))
    })
}

pub(crate) fn pkcs1(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let id = match hash(&group["sha"]) {
        None => return Outcome::Cannot,
        Some((CKM_SHA_1, _)) => CKM_SHA1_RSA_PKCS,
        Some((CKM_SHA224, _)) => CKM_SHA224_RSA_PKCS,
        Some((CKM_SHA256, _)) => CKM_SHA256_RSA_PKCS,
        Some((CKM_SHA384, _)) => CKM_SHA384_RSA_PKCS,
        Some((CKM_SHA512, _)) => CKM_SHA512_RSA_PKCS,
        Some((CKM_SHA3_224, _)) => CKM_SHA3_224_RSA_PKCS,
        Some((CKM_SHA3_256, _)) => CKM_SHA3_256_RSA_PKCS,
        Some((CKM_SHA3_384, _)) => CKM_SHA3_384_RSA_PKCS,
        Some(_) => CKM_SHA3_512_RSA_PKCS,
    };
    let signature = bytes(&case["sig"]);
    match rsa(bench, group) {
        None => Outcome::Cannot,
        Some(Ok(key)) => judge(case, verify(bench, &mut mechanism(id), key, &bytes(&case["msg"]), &signature), REFUSED),
        Some(Err(rv)) => judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    }
}

pub(crate) fn pss(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let (Some((hash, _)), Some((_, mgf))) = (hash(&group["sha"]), hash(&group["mgfSha"])) else {
        return Outcome::Cannot;
    };
    let id = match hash {
        CKM_SHA_1 => CKM_SHA1_RSA_PKCS_PSS,
        CKM_SHA224 => CKM_SHA224_RSA_PKCS_PSS,
        CKM_SHA256 => CKM_SHA256_RSA_PKCS_PSS,
        CKM_SHA384 => CKM_SHA384_RSA_PKCS_PSS,
        CKM_SHA512 => CKM_SHA512_RSA_PKCS_PSS,
        CKM_SHA3_224 => CKM_SHA3_224_RSA_PKCS_PSS,
        CKM_SHA3_256 => CKM_SHA3_256_RSA_PKCS_PSS,
        CKM_SHA3_384 => CKM_SHA3_384_RSA_PKCS_PSS,
        _ => CKM_SHA3_512_RSA_PKCS_PSS,
    };
    let mut parameters = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: count(&group["sLen"]) as CK_ULONG };
    let signature = bytes(&case["sig"]);
    match rsa(bench, group) {
        None => Outcome::Cannot,
        Some(Ok(key)) => {
            let rv = verify(bench, &mut with(id, &mut parameters), key, &bytes(&case["msg"]), &signature);
            judge(case, rv, REFUSED)
        }
        Some(Err(rv)) => judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    }
}

/// A MAC: verified, and made anew where it is right. A shortened one goes by the `_GENERAL` mechanism.
fn mac(bench: &Bench, key_type: CK_KEY_TYPE, ids: [CK_MECHANISM_TYPE; 2], group: &Value, case: &Value) -> Outcome {
    let (value, data, tag) = (bytes(&case["key"]), bytes(&case["msg"]), bytes(&case["tag"]));
    let len = count(&group["tagSize"]) / 8;
    let full = match key_type {
        CKK_AES => 16,
        _ => hmac_len(ids[0]),
    };
    let mut wanted = len as CK_ULONG;
    let mut given = if len == full { mechanism(ids[0]) } else { with(ids[1], &mut wanted) };
    let key = match bench.secret(key_type, &value) {
        Ok(key) => key,
        // A key of a length that AES does not have.
        Err(rv) => return judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    };
    if case["result"] == "valid" {
        let (module, session) = (bench.module, bench.session);
        let (mut made, mut made_len) = ([0; 64], 64);
        assert_eq!(call!(module, C_SignInit, session, &mut given, key), CKR_OK, "C_SignInit {:#x}", ids[0]);
        let (bytes, bytes_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        assert_eq!(call!(module, C_Sign, session, bytes, bytes_len, made.as_mut_ptr(), &mut made_len), CKR_OK);
        if made[..made_len as usize] != tag {
            return Outcome::Wrong("another MAC".into());
        }
    }
    judge(case, verify(bench, &mut given, key, &data, &tag), REFUSED)
}

pub(crate) fn cmac(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    mac(bench, CKK_AES, [CKM_AES_CMAC, CKM_AES_CMAC_GENERAL], group, case)
}

fn hmac_len(id: CK_MECHANISM_TYPE) -> usize {
    match id {
        CKM_SHA_1_HMAC => 20,
        CKM_SHA224_HMAC | CKM_SHA3_224_HMAC | CKM_SHA512_224_HMAC => 28,
        CKM_SHA256_HMAC | CKM_SHA3_256_HMAC | CKM_SHA512_256_HMAC => 32,
        CKM_SHA384_HMAC | CKM_SHA3_384_HMAC => 48,
        _ => 64,
    }
}

pub(crate) fn hmac(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let ids = match group["algorithm"].as_str().unwrap_or_default() {
        "HMACSHA1" => [CKM_SHA_1_HMAC, CKM_SHA_1_HMAC_GENERAL],
        "HMACSHA224" => [CKM_SHA224_HMAC, CKM_SHA224_HMAC_GENERAL],
        "HMACSHA256" => [CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL],
        "HMACSHA384" => [CKM_SHA384_HMAC, CKM_SHA384_HMAC_GENERAL],
        "HMACSHA512" => [CKM_SHA512_HMAC, CKM_SHA512_HMAC_GENERAL],
        "HMACSHA512/224" => [CKM_SHA512_224_HMAC, CKM_SHA512_224_HMAC_GENERAL],
        "HMACSHA512/256" => [CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL],
        "HMACSHA3-224" => [CKM_SHA3_224_HMAC, CKM_SHA3_224_HMAC_GENERAL],
        "HMACSHA3-256" => [CKM_SHA3_256_HMAC, CKM_SHA3_256_HMAC_GENERAL],
        "HMACSHA3-384" => [CKM_SHA3_384_HMAC, CKM_SHA3_384_HMAC_GENERAL],
        "HMACSHA3-512" => [CKM_SHA3_512_HMAC, CKM_SHA3_512_HMAC_GENERAL],
        _ => return Outcome::Cannot,
    };
    mac(bench, CKK_GENERIC_SECRET, ids, group, case)
}

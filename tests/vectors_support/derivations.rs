//! Keys from keys and from passwords.

use super::{Bench, Outcome, bytes, count, curve, judge, judge_output, pointer, with};
use crate::host::{attr, call, check};
use cryptoki_sys::*;
use serde_json::Value;
use std::ptr::null_mut;

/// Makes a secret of so many bytes and reads it; `make` is given a template.
fn made(
    bench: &Bench,
    len: usize,
    make: impl FnOnce(CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR) -> CK_RV,
) -> Result<Vec<u8>, CK_RV> {
    let (class, key_type) = (CKO_SECRET_KEY.to_ne_bytes(), CKK_GENERIC_SECRET.to_ne_bytes());
    let len = (len as CK_ULONG).to_ne_bytes();
    let mut template = [
        attr(CKA_CLASS, &class),
        attr(CKA_KEY_TYPE, &key_type),
        attr(CKA_VALUE_LEN, &len),
        attr(CKA_SENSITIVE, &[CK_FALSE]),
        attr(CKA_EXTRACTABLE, &[CK_TRUE]),
    ];
    let mut key = 0;
    check(make(template.as_mut_ptr(), template.len() as CK_ULONG, &mut key))?;
    bench.keep(key);
    Ok(bench.module.attribute(bench.session, key, CKA_VALUE))
}

/// Derives a secret of so many bytes and reads it.
fn derive(bench: &Bench, mechanism: &mut CK_MECHANISM, key: CK_OBJECT_HANDLE, len: usize) -> Result<Vec<u8>, CK_RV> {
    made(bench, len, |template, count, derived| {
        call!(bench.module, C_DeriveKey, bench.session, mechanism, key, template, count, derived)
    })
}

pub(crate) fn pbkdf2(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let prf = match group["algorithm"].as_str().unwrap_or_default() {
        "PBKDF2-HMACSHA1" => CKP_PKCS5_PBKD2_HMAC_SHA1,
        "PBKDF2-HMACSHA224" => CKP_PKCS5_PBKD2_HMAC_SHA224,
        "PBKDF2-HMACSHA256" => CKP_PKCS5_PBKD2_HMAC_SHA256,
        "PBKDF2-HMACSHA384" => CKP_PKCS5_PBKD2_HMAC_SHA384,
        "PBKDF2-HMACSHA512" => CKP_PKCS5_PBKD2_HMAC_SHA512,
        _ => return Outcome::Cannot,
    };
    let (password, salt) = (bytes(&case["password"]), bytes(&case["salt"]));
    let mut parameters = CK_PKCS5_PBKD2_PARAMS2 {
        saltSource: CKZ_SALT_SPECIFIED,
        pSaltSourceData: pointer(&salt).cast(),
        ulSaltSourceDataLen: salt.len() as CK_ULONG,
        iterations: count(&case["iterationCount"]) as CK_ULONG,
        prf,
        pPrfData: null_mut(),
        ulPrfDataLen: 0,
        pPassword: pointer(&password),
        ulPasswordLen: password.len() as CK_ULONG,
    };
    let mut mechanism = with(CKM_PKCS5_PBKD2, &mut parameters);
    let said = made(bench, count(&case["dkLen"]), |template, count, key| {
        call!(bench.module, C_GenerateKey, bench.session, &mut mechanism, template, count, key)
    });
    judge_output(case, said, &bytes(&case["dk"]), &[])
}

pub(crate) fn hkdf(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let hash = match group["algorithm"].as_str().unwrap_or_default() {
        "HKDF-SHA-1" => CKM_SHA_1,
        "HKDF-SHA-256" => CKM_SHA256,
        "HKDF-SHA-384" => CKM_SHA384,
        "HKDF-SHA-512" => CKM_SHA512,
        _ => return Outcome::Cannot,
    };
    let (salt, info) = (bytes(&case["salt"]), bytes(&case["info"]));
    let mut parameters = CK_HKDF_PARAMS {
        bExtract: CK_TRUE,
        bExpand: CK_TRUE,
        prfHashMechanism: hash,
        ulSaltType: if salt.is_empty() { CKF_HKDF_SALT_NULL } else { CKF_HKDF_SALT_DATA },
        pSalt: pointer(&salt),
        ulSaltLen: salt.len() as CK_ULONG,
        hSaltKey: 0,
        pInfo: pointer(&info),
        ulInfoLen: info.len() as CK_ULONG,
    };
    let key = bench.secret(CKK_HKDF, &bytes(&case["ikm"])).expect("a key of any length");
    let said = derive(bench, &mut with(CKM_HKDF_DERIVE, &mut parameters), key, count(&case["size"]));
    judge_output(case, said, &bytes(&case["okm"]), &[CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID])
}

/// What refuses a public value that is none.
const REFUSED: &[CK_RV] = &[CKR_MECHANISM_PARAM_INVALID, CKR_FUNCTION_FAILED];

fn agree(bench: &Bench, key: CK_OBJECT_HANDLE, public: &[u8], case: &Value) -> Outcome {
    let shared = bytes(&case["shared"]);
    let mut parameters = CK_ECDH1_DERIVE_PARAMS {
        kdf: CKD_NULL,
        ulSharedDataLen: 0,
        pSharedData: null_mut(),
        ulPublicDataLen: public.len() as CK_ULONG,
        pPublicData: pointer(public),
    };
    // An invalid case has no secret; any length does for asking.
    let len = if shared.is_empty() { 32 } else { shared.len() };
    judge_output(case, derive(bench, &mut with(CKM_ECDH1_DERIVE, &mut parameters), key, len), &shared, REFUSED)
}

fn private_key(bench: &Bench, key_type: CK_KEY_TYPE, oid: &[u8], value: &[u8]) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    bench.create(&[
        (CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes()),
        (CKA_KEY_TYPE, &key_type.to_ne_bytes()),
        (CKA_EC_PARAMS, oid),
        (CKA_DERIVE, &[CK_TRUE]),
        (CKA_VALUE, value),
    ])
}

pub(crate) fn ecdh(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let Some((oid, len)) = curve(&group["curve"]) else { return Outcome::Cannot };
    let mut public = bytes(&case["public"]);
    if group["encoding"] != "ecpoint" {
        // PKCS#11 is given the point alone: of another encoding, what stands after the right header.
        let point = 1 + 2 * len;
        let Some(start) = public.len().checked_sub(point).filter(|start| *start > oid.len() && public[*start] == 4)
        else {
            return Outcome::Cannot;
        };
        if !public[..start].windows(oid.len()).any(|part| part == oid) || case["result"] != "valid" {
            return Outcome::Cannot;
        }
        public.drain(..start);
    }
    // Private values are signed numbers in these files.
    let private = super::number(&case["private"]);
    match private_key(bench, CKK_EC, oid, &private) {
        Ok(key) => agree(bench, key, &public, case),
        Err(rv) => judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    }
}

pub(crate) fn montgomery(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let last = if group["curve"] == "curve448" { 0x6f } else { 0x6e };
    match private_key(bench, CKK_EC_MONTGOMERY, &[6, 3, 0x2b, 0x65, last], &bytes(&case["private"])) {
        Ok(key) => agree(bench, key, &bytes(&case["public"]), case),
        Err(rv) => judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    }
}

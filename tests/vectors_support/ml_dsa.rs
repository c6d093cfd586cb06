//! ML-DSA.

use super::signatures::{REFUSED, verify};
use super::{Bench, Outcome, Template, bytes, judge, pointer, with};
use crate::host::call;
use cryptoki_sys::*;
use serde_json::Value;

/// What refuses a key that is none, and a context that is too long.
const NO_KEY: &[CK_RV] = &[CKR_ATTRIBUTE_VALUE_INVALID];
const NO_CONTEXT: &[CK_RV] = &[CKR_MECHANISM_PARAM_INVALID];

fn key(bench: &Bench, class: CK_OBJECT_CLASS, group: &Value, part: Template<'_>) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let set = match group["algorithm"].as_str() {
        Some("ML-DSA-44") => CKP_ML_DSA_44,
        Some("ML-DSA-65") => CKP_ML_DSA_65,
        _ => CKP_ML_DSA_87,
    };
    let (class, set, key_type) = (class.to_ne_bytes(), set.to_ne_bytes(), CKK_ML_DSA.to_ne_bytes());
    let own: Template<'_> = &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &key_type), (CKA_PARAMETER_SET, &set)];
    bench.create(&[own, part].concat())
}

fn context(context: &[u8]) -> CK_SIGN_ADDITIONAL_CONTEXT {
    CK_SIGN_ADDITIONAL_CONTEXT {
        hedgeVariant: CKH_HEDGE_PREFERRED,
        pContext: pointer(context),
        ulContextLen: context.len() as CK_ULONG,
    }
}

pub(crate) fn verification(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let value = bytes(&group["publicKey"]);
    let public = match bench.shared("", || key(bench, CKO_PUBLIC_KEY, group, &[(CKA_VALUE, &value)])) {
        Ok(public) => public,
        Err(rv) => return judge(case, rv, NO_KEY),
    };
    let said_context = bytes(&case["ctx"]);
    let mut parameter = context(&said_context);
    let mut mechanism = with(CKM_ML_DSA, &mut parameter);
    let said = verify(bench, &mut mechanism, public, &bytes(&case["msg"]), &bytes(&case["sig"]));
    judge(case, said, &[REFUSED, NO_CONTEXT].concat())
}

/// All but a few signatures of the files are deterministic: the module makes the same if it is asked to, and others if it is not,
/// which verify under the public key that belongs to the private one.
pub(crate) fn signing(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    if case["msg"].is_null() {
        // Given as µ alone, which no mechanism of PKCS#11 3.2 takes.
        return Outcome::Cannot;
    }
    let (seed, value) = (bytes(&group["privateSeed"]), bytes(&group["privateKey"]));
    let part = if group["privateKey"].is_null() { (CKA_SEED, seed.as_slice()) } else { (CKA_VALUE, value.as_slice()) };
    let private = match key(bench, CKO_PRIVATE_KEY, group, &[part]) {
        Ok(private) => private,
        Err(rv) => return judge(case, rv, NO_KEY),
    };
    let (message, said_context) = (bytes(&case["msg"]), bytes(&case["ctx"]));
    let mut parameter = context(&said_context);
    let mut mechanism = with(CKM_ML_DSA, &mut parameter);
    let (module, session) = (bench.module, bench.session);
    match call!(module, C_SignInit, session, &mut mechanism, private) {
        CKR_OK => {}
        rv => return judge(case, rv, NO_CONTEXT),
    }
    let sign = || {
        let (mut made, mut len) = (vec![0; 5000], 5000);
        let (data, data_len) = (message.as_ptr().cast_mut(), message.len() as CK_ULONG);
        assert_eq!(call!(module, C_Sign, session, data, data_len, made.as_mut_ptr(), &mut len), CKR_OK);
        made.truncate(len as usize);
        made
    };
    let made = sign();
    let mut alike = context(&said_context);
    alike.hedgeVariant = CKH_DETERMINISTIC_REQUIRED;
    assert_eq!(call!(module, C_SignInit, session, &mut with(CKM_ML_DSA, &mut alike), private), CKR_OK);
    let is_alike = case["comment"] != "randomized valid signature";
    if (sign() == bytes(&case["sig"])) != is_alike {
        return Outcome::Wrong("another deterministic signature".into());
    }

    let public = bytes(&group["publicKey"]);
    // A SubjectPublicKeyInfo ends with the key.
    if !module.attribute(session, private, CKA_PUBLIC_KEY_INFO).ends_with(&public) {
        return Outcome::Wrong("another public key".into());
    }
    let public = key(bench, CKO_PUBLIC_KEY, group, &[(CKA_VALUE, &public)]).expect("a public key");
    for signature in [&made, &bytes(&case["sig"])] {
        let said = verify(bench, &mut mechanism, public, &message, signature);
        if said != CKR_OK {
            return judge(case, said, REFUSED);
        }
    }
    judge(case, CKR_OK, &[])
}

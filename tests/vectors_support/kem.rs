//! ML-KEM.

use super::{Bench, Outcome, Template, bytes, judge, judge_output};
use crate::host::{attr, call, mechanism};
use cryptoki_sys::*;
use serde_json::Value;

/// What refuses a key that is none.
const NO_KEY: &[CK_RV] = &[CKR_ATTRIBUTE_VALUE_INVALID];
/// What refuses a ciphertext that is none.
const NO_CIPHERTEXT: &[CK_RV] = &[CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_WRAPPED_KEY_LEN_RANGE, CKR_ATTRIBUTE_VALUE_INVALID];

fn parameter_set(group: &Value) -> CK_ULONG {
    match group["parameterSet"].as_str() {
        Some("ML-KEM-512") => CKP_ML_KEM_512,
        Some("ML-KEM-768") => CKP_ML_KEM_768,
        _ => CKP_ML_KEM_1024,
    }
}

fn key(bench: &Bench, class: CK_OBJECT_CLASS, group: &Value, parts: Template<'_>) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (class, set) = (class.to_ne_bytes(), parameter_set(group).to_ne_bytes());
    let key_type = CKK_ML_KEM.to_ne_bytes();
    let own: Template<'_> = &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &key_type), (CKA_PARAMETER_SET, &set)];
    bench.create(&[own, parts].concat())
}

const OPEN: Template<'_> = &[(CKA_SENSITIVE, &[CK_FALSE]), (CKA_EXTRACTABLE, &[CK_TRUE])];

/// What a secret is made as: one whose value can be read.
fn secret() -> [CK_ATTRIBUTE; 4] {
    const CLASS: [u8; 8] = CKO_SECRET_KEY.to_ne_bytes();
    const GENERIC: [u8; 8] = CKK_GENERIC_SECRET.to_ne_bytes();
    [
        attr(CKA_CLASS, &CLASS),
        attr(CKA_KEY_TYPE, &GENERIC),
        attr(CKA_SENSITIVE, &[CK_FALSE]),
        attr(CKA_EXTRACTABLE, &[CK_TRUE]),
    ]
}

fn decapsulated(bench: &Bench, private: CK_OBJECT_HANDLE, ciphertext: &[u8]) -> Result<Vec<u8>, CK_RV> {
    let (module, session) = (bench.module, bench.session);
    let (mut template, mut mechanism, mut made) = (secret(), mechanism(CKM_ML_KEM), 0);
    let (bytes, len) = (ciphertext.as_ptr().cast_mut(), ciphertext.len() as CK_ULONG);
    let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
    let rv = call!(module, C_DecapsulateKey, session, &mut mechanism, private, first, count, bytes, len, &mut made);
    crate::host::check(rv)?;
    bench.keep(made);
    Ok(module.attribute(session, made, CKA_VALUE))
}

fn encapsulated_len(bench: &Bench, public: CK_OBJECT_HANDLE) -> Result<usize, CK_RV> {
    let (module, session) = (bench.module, bench.session);
    let (mut template, mut mechanism, mut made) = (secret(), mechanism(CKM_ML_KEM), 0);
    let (mut ciphertext, mut len) = (vec![0; 2000], 2000);
    let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
    let out = ciphertext.as_mut_ptr();
    let rv = call!(module, C_EncapsulateKey, session, &mut mechanism, public, first, count, out, &mut len, &mut made);
    crate::host::check(rv)?;
    bench.keep(made);
    Ok(len as usize)
}

pub(crate) fn ml_kem(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    match group["type"].as_str() {
        Some("MLKEMTest") => decapsulation(bench, group, case, &[(CKA_SEED, &bytes(&case["seed"]))]),
        Some("MLKEMDecapsValidationTest") => decapsulation(bench, group, case, &[(CKA_VALUE, &bytes(&case["dk"]))]),
        Some("MLKEMKeyGen") => seeds(bench, group, case),
        Some("MLKEMEncapsTest") => encapsulation(bench, group, case),
        _ => Outcome::Cannot,
    }
}

fn decapsulation(bench: &Bench, group: &Value, case: &Value, parts: Template<'_>) -> Outcome {
    match key(bench, CKO_PRIVATE_KEY, group, parts) {
        Ok(private) => {
            let said = decapsulated(bench, private, &bytes(&case["c"]));
            judge_output(case, said, &bytes(&case["K"]), NO_CIPHERTEXT)
        }
        Err(rv) => judge(case, rv, NO_KEY),
    }
}

/// A seed makes the private and public key that it should.
fn seeds(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let seed = bytes(&case["seed"]);
    let private = match key(bench, CKO_PRIVATE_KEY, group, &[&[(CKA_SEED, seed.as_slice())], OPEN].concat()) {
        Ok(private) => private,
        Err(rv) => return judge(case, rv, NO_KEY),
    };
    let (module, session) = (bench.module, bench.session);
    let info = module.attribute(session, private, CKA_PUBLIC_KEY_INFO);
    let value = module.attribute(session, private, CKA_VALUE);
    // A SubjectPublicKeyInfo ends with the key.
    if value == bytes(&case["dk"]) && info.ends_with(&bytes(&case["ek"])) {
        judge(case, CKR_OK, &[])
    } else {
        Outcome::Wrong("another key".to_owned())
    }
}

/// The module chooses the secret: what can be seen is which public keys it takes, and how long its ciphertexts are.
fn encapsulation(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    match key(bench, CKO_PUBLIC_KEY, group, &[(CKA_VALUE, &bytes(&case["ek"]))]) {
        Ok(public) => match encapsulated_len(bench, public) {
            Ok(len) if len != bytes(&case["c"]).len() => Outcome::Wrong(format!("a ciphertext of {len} bytes")),
            Ok(_) => judge(case, CKR_OK, &[]),
            Err(rv) => judge(case, rv, &[]),
        },
        Err(rv) => judge(case, rv, NO_KEY),
    }
}

//! Encryption and decryption.

use super::{Bench, Outcome, bytes, count, hash, judge, judge_output, number, pointer, with};
use crate::host::mechanism;
use cryptoki_sys::*;
use serde_json::Value;

const REFUSED: &[CK_RV] = &[CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_AEAD_DECRYPT_FAILED];

/// What refuses a parameter that the mechanism cannot have.
const NO_PARAMETER: &[CK_RV] = &[CKR_MECHANISM_PARAM_INVALID];

fn rsa(bench: &Bench, group: &Value) -> CK_OBJECT_HANDLE {
    let private = &group["privateKey"];
    let part = |name: &str| number(&private[name]);
    bench
        .shared("", || {
            bench.create(&[
                (CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes()),
                (CKA_KEY_TYPE, &CKK_RSA.to_ne_bytes()),
                (CKA_MODULUS, &part("modulus")),
                (CKA_PUBLIC_EXPONENT, &part("publicExponent")),
                (CKA_PRIVATE_EXPONENT, &part("privateExponent")),
                (CKA_PRIME_1, &part("prime1")),
                (CKA_PRIME_2, &part("prime2")),
                (CKA_EXPONENT_1, &part("exponent1")),
                (CKA_EXPONENT_2, &part("exponent2")),
                (CKA_COEFFICIENT, &part("coefficient")),
            ])
        })
        .expect("the key is one")
}

/// A ciphertext that is wrong either fails or gives a message that nobody can foretell: implicit rejection.
pub(crate) fn pkcs1(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let key = rsa(bench, group);
    let said = bench.crypt(false, &mut mechanism(CKM_RSA_PKCS), key, &bytes(&case["ct"]));
    match (case["result"].as_str(), said) {
        (Some("invalid"), Ok(message)) if message != bytes(&case["msg"]) => Outcome::Right,
        (_, said) => judge_output(case, said, &bytes(&case["msg"]), REFUSED),
    }
}

pub(crate) fn oaep(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let (Some((hash, _)), Some((_, mgf))) = (hash(&group["sha"]), hash(&group["mgfSha"])) else {
        return Outcome::Cannot;
    };
    let label = bytes(&case["label"]);
    let mut parameters = CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: hash,
        mgf,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: pointer(&label).cast(),
        ulSourceDataLen: label.len() as CK_ULONG,
    };
    let key = rsa(bench, group);
    let said = bench.crypt(false, &mut with(CKM_RSA_PKCS_OAEP, &mut parameters), key, &bytes(&case["ct"]));
    judge_output(case, said, &bytes(&case["msg"]), REFUSED)
}

/// A symmetric case: what decrypts rightly also encrypts to the same.
fn symmetric(bench: &Bench, given: CK_MECHANISM, case: &Value, message: &[u8], sealed: &[u8]) -> Outcome {
    symmetric_with(CKK_AES, bench, given, case, message, sealed)
}

fn symmetric_with(
    key_type: CK_KEY_TYPE,
    bench: &Bench,
    mut given: CK_MECHANISM,
    case: &Value,
    message: &[u8],
    sealed: &[u8],
) -> Outcome {
    let key = match bench.secret(key_type, &bytes(&case["key"])) {
        Ok(key) => key,
        Err(rv) => return judge(case, rv, &[CKR_ATTRIBUTE_VALUE_INVALID]),
    };
    let right = [REFUSED, NO_PARAMETER].concat();
    if case["result"] == "valid" && bench.crypt(true, &mut given, key, message).as_deref() != Ok(sealed) {
        return Outcome::Wrong("another ciphertext".into());
    }
    judge_output(case, bench.crypt(false, &mut given, key, sealed), message, &right)
}

pub(crate) fn cbc_pad(bench: &Bench, _: &Value, case: &Value) -> Outcome {
    let mut iv: [u8; 16] = bytes(&case["iv"]).try_into().expect("an IV of a block");
    symmetric(bench, with(CKM_AES_CBC_PAD, &mut iv), case, &bytes(&case["msg"]), &bytes(&case["ct"]))
}

pub(crate) fn gcm(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let (iv, aad) = (bytes(&case["iv"]), bytes(&case["aad"]));
    let mut parameters = CK_GCM_PARAMS {
        pIv: pointer(&iv),
        ulIvLen: iv.len() as CK_ULONG,
        ulIvBits: iv.len() as CK_ULONG * 8,
        pAAD: pointer(&aad),
        ulAADLen: aad.len() as CK_ULONG,
        ulTagBits: count(&group["tagSize"]) as CK_ULONG,
    };
    let sealed = [bytes(&case["ct"]), bytes(&case["tag"])].concat();
    symmetric(bench, with(CKM_AES_GCM, &mut parameters), case, &bytes(&case["msg"]), &sealed)
}

pub(crate) fn ccm(bench: &Bench, group: &Value, case: &Value) -> Outcome {
    let (iv, aad, message) = (bytes(&case["iv"]), bytes(&case["aad"]), bytes(&case["msg"]));
    let mut parameters = CK_CCM_PARAMS {
        ulDataLen: bytes(&case["ct"]).len() as CK_ULONG,
        pNonce: pointer(&iv),
        ulNonceLen: iv.len() as CK_ULONG,
        pAAD: pointer(&aad),
        ulAADLen: aad.len() as CK_ULONG,
        ulMACLen: count(&group["tagSize"]) as CK_ULONG / 8,
    };
    let sealed = [bytes(&case["ct"]), bytes(&case["tag"])].concat();
    symmetric(bench, with(CKM_AES_CCM, &mut parameters), case, &message, &sealed)
}

pub(crate) fn chacha20_poly1305(bench: &Bench, _: &Value, case: &Value) -> Outcome {
    let (nonce, aad) = (bytes(&case["iv"]), bytes(&case["aad"]));
    let mut parameters = CK_SALSA20_CHACHA20_POLY1305_PARAMS {
        pNonce: pointer(&nonce),
        ulNonceLen: nonce.len() as CK_ULONG * 8,
        pAAD: pointer(&aad),
        ulAADLen: aad.len() as CK_ULONG,
    };
    let given = with(CKM_CHACHA20_POLY1305, &mut parameters);
    let sealed = [bytes(&case["ct"]), bytes(&case["tag"])].concat();
    symmetric_with(CKK_CHACHA20, bench, given, case, &bytes(&case["msg"]), &sealed)
}

pub(crate) fn wrap(bench: &Bench, _: &Value, case: &Value) -> Outcome {
    symmetric(bench, mechanism(CKM_AES_KEY_WRAP), case, &bytes(&case["msg"]), &bytes(&case["ct"]))
}

pub(crate) fn wrap_padded(bench: &Bench, _: &Value, case: &Value) -> Outcome {
    symmetric(bench, mechanism(CKM_AES_KEY_WRAP_KWP), case, &bytes(&case["msg"]), &bytes(&case["ct"]))
}

//! The kinds of key that the tool makes: one table.

use crate::crypto::Curve;
use crate::object::ec_params;
use cryptoki_sys::*;

/// What a template says of the kind, beside the mechanism.
#[derive(Clone, Copy)]
pub(in super::super) enum Parameter {
    /// The size of a modulus in bits.
    ModulusBits(CK_ULONG),
    /// A curve by its object identifier.
    Curve(Curve),
    /// Other curves.
    Params(&'static [u8]),
    /// `CKA_PARAMETER_SET`.
    Set(CK_ULONG),
    /// The length of a secret key in bytes.
    Bytes(CK_ULONG),
}

/// A kind of key.
pub(in super::super) struct Kind {
    /// Its name on the command line.
    pub(in super::super) name: &'static str,
    pub(in super::super) mechanism: CK_MECHANISM_TYPE,
    pub(in super::super) key_type: CK_KEY_TYPE,
    pub(in super::super) parameter: Parameter,
}

impl Kind {
    /// The attribute that says it in a template.
    pub(in super::super) fn attribute(&self) -> (CK_ATTRIBUTE_TYPE, Vec<u8>) {
        let number = |number: CK_ULONG| number.to_ne_bytes().to_vec();
        match self.parameter {
            Parameter::ModulusBits(bits) => (CKA_MODULUS_BITS, number(bits)),
            Parameter::Curve(curve) => (CKA_EC_PARAMS, curve.oid_der().to_vec()),
            Parameter::Params(der) => (CKA_EC_PARAMS, der.to_vec()),
            Parameter::Set(set) => (CKA_PARAMETER_SET, number(set)),
            Parameter::Bytes(len) => (CKA_VALUE_LEN, number(len)),
        }
    }

    /// Whether it is one key and no pair.
    pub(in super::super) fn is_secret(&self) -> bool {
        matches!(self.parameter, Parameter::Bytes(_))
    }
}

const fn kind(name: &'static str, mechanism: CK_MECHANISM_TYPE, key_type: CK_KEY_TYPE, parameter: Parameter) -> Kind {
    Kind { name, mechanism, key_type, parameter }
}

const fn rsa(name: &'static str, bits: CK_ULONG) -> Kind {
    kind(name, CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, Parameter::ModulusBits(bits))
}

const fn ec(name: &'static str, curve: Curve) -> Kind {
    kind(name, CKM_EC_KEY_PAIR_GEN, CKK_EC, Parameter::Curve(curve))
}

const fn ml_kem(name: &'static str, set: CK_ULONG) -> Kind {
    kind(name, CKM_ML_KEM_KEY_PAIR_GEN, CKK_ML_KEM, Parameter::Set(set))
}

const fn ml_dsa(name: &'static str, set: CK_ULONG) -> Kind {
    kind(name, CKM_ML_DSA_KEY_PAIR_GEN, CKK_ML_DSA, Parameter::Set(set))
}

const fn slh_dsa(name: &'static str, set: CK_ULONG) -> Kind {
    kind(name, CKM_SLH_DSA_KEY_PAIR_GEN, CKK_SLH_DSA, Parameter::Set(set))
}

const fn aes(name: &'static str, len: CK_ULONG) -> Kind {
    kind(name, CKM_AES_KEY_GEN, CKK_AES, Parameter::Bytes(len))
}

/// Every kind.
pub(in super::super) static KINDS: &[Kind] = &[
    rsa("rsa-2048", 2048),
    rsa("rsa-3072", 3072),
    rsa("rsa-4096", 4096),
    ec("p-256", Curve::P256),
    ec("p-384", Curve::P384),
    ec("p-521", Curve::P521),
    ec("secp256k1", Curve::Secp256k1),
    kind("ed25519", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, Parameter::Params(ec_params::ED25519_OID)),
    kind("x25519", CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, Parameter::Params(ec_params::X25519_OID)),
    kind("ed448", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, Parameter::Params(ec_params::ED448_OID)),
    kind("x448", CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, Parameter::Params(ec_params::X448_OID)),
    ml_kem("ml-kem-512", CKP_ML_KEM_512),
    ml_kem("ml-kem-768", CKP_ML_KEM_768),
    ml_kem("ml-kem-1024", CKP_ML_KEM_1024),
    ml_dsa("ml-dsa-44", CKP_ML_DSA_44),
    ml_dsa("ml-dsa-65", CKP_ML_DSA_65),
    ml_dsa("ml-dsa-87", CKP_ML_DSA_87),
    slh_dsa("slh-dsa-sha2-128s", CKP_SLH_DSA_SHA2_128S),
    slh_dsa("slh-dsa-sha2-128f", CKP_SLH_DSA_SHA2_128F),
    slh_dsa("slh-dsa-sha2-192s", CKP_SLH_DSA_SHA2_192S),
    slh_dsa("slh-dsa-sha2-192f", CKP_SLH_DSA_SHA2_192F),
    slh_dsa("slh-dsa-sha2-256s", CKP_SLH_DSA_SHA2_256S),
    slh_dsa("slh-dsa-sha2-256f", CKP_SLH_DSA_SHA2_256F),
    slh_dsa("slh-dsa-shake-128s", CKP_SLH_DSA_SHAKE_128S),
    slh_dsa("slh-dsa-shake-128f", CKP_SLH_DSA_SHAKE_128F),
    slh_dsa("slh-dsa-shake-192s", CKP_SLH_DSA_SHAKE_192S),
    slh_dsa("slh-dsa-shake-192f", CKP_SLH_DSA_SHAKE_192F),
    slh_dsa("slh-dsa-shake-256s", CKP_SLH_DSA_SHAKE_256S),
    slh_dsa("slh-dsa-shake-256f", CKP_SLH_DSA_SHAKE_256F),
    aes("aes-128", 16),
    aes("aes-192", 24),
    aes("aes-256", 32),
    kind("hmac-256", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, Parameter::Bytes(32)),
    kind("hmac-384", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, Parameter::Bytes(48)),
    kind("hmac-512", CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, Parameter::Bytes(64)),
];

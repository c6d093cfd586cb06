//! The classes of objects, each with a template to begin with.

use super::{Row, tables::*};
use crate::host::{Module, attr, call, mechanism};
use crate::objects::{Attr, bytes, flag, number};
use cryptoki_sys::*;
use datakey::crypto::DhGroup;

/// A class, a template that is complete for `C_CreateObject` and open to every change, and its table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) base: Vec<Attr>,
    pub(crate) table: Vec<Row>,
    /// Whether there can be a copy.
    pub(crate) copies: bool,
}

/// Parts of keys that nobody writes down by hand, from keys that the token made.
pub(crate) struct Keys {
    point: Vec<u8>,
    rsa: Vec<Attr>,
}

impl Keys {
    pub(crate) fn new(module: Module, session: CK_SESSION_HANDLE) -> Self {
        let (public, _) = module.generate(session, crate::host::Kind::P256, b"any");
        let (bits, no, yes) = (2048_u64.to_ne_bytes(), [CK_FALSE], [CK_TRUE]);
        let mut public_half = [attr(CKA_MODULUS_BITS, &bits)];
        let mut private_half = [attr(CKA_SENSITIVE, &no), attr(CKA_EXTRACTABLE, &yes)];
        let (mut rsa_public, mut rsa) = (0, 0);
        let (first, second) = (public_half.as_mut_ptr(), private_half.as_mut_ptr());
        let mut generation = mechanism(CKM_RSA_PKCS_KEY_PAIR_GEN);
        let pair = (&raw mut rsa_public, &raw mut rsa);
        let rv = call!(module, C_GenerateKeyPair, session, &mut generation, first, 1, second, 2, pair.0, pair.1);
        assert_eq!(rv, CKR_OK);
        let parts = RSA_PRIVATE.iter().map(|row| (row.0, module.attribute(session, rsa, row.0)));
        Self { point: module.attribute(session, public, CKA_EC_POINT), rsa: parts.collect() }
    }

    /// An RSA private key, as a template spells it out.
    pub(crate) fn rsa(&self) -> Vec<Attr> {
        [&[number(CKA_KEY_TYPE, CKK_RSA)], &self.rsa[..]].concat()
    }
}

/// What lets a key be read and copied.
pub(crate) fn open() -> [Attr; 3] {
    [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true), flag(CKA_COPYABLE, true)]
}

/// Every class.
pub(crate) fn cases(keys: &Keys) -> Vec<Case> {
    let case = |name, class, base: &[Attr], tables: &[&[Row]]| Case {
        name,
        base: [&[number(CKA_CLASS, class)], base].concat(),
        table: [&[STORAGE], tables].concat().concat(),
        copies: class != CKO_OTP_KEY,
    };
    let of_type = |attribute, kind, parts: &[Attr]| [&[number(attribute, kind)], parts].concat();
    let certificate = |kind, parts: &[Attr]| of_type(CKA_CERTIFICATE_TYPE, kind, parts);
    let key = |kind, parts: &[Attr]| of_type(CKA_KEY_TYPE, kind, parts);
    let hidden = |kind, parts: &[Attr]| key(kind, &[parts, &open()].concat());
    let value = |len| [bytes(CKA_VALUE, &vec![1; len])];
    let secret = |kind, len| hidden(kind, &value(len));

    let x_509 = certificate(CKC_X_509, &[bytes(CKA_VALUE, DER)]);
    let wtls = certificate(CKC_WTLS, &[bytes(CKA_SUBJECT, b"whose"), bytes(CKA_VALUE, b"any")]);
    let attributes = certificate(CKC_X_509_ATTR_CERT, &[bytes(CKA_OWNER, b"whose"), bytes(CKA_VALUE, b"any")]);
    let trust = [bytes(CKA_ISSUER, b"issuer"), bytes(CKA_SERIAL_NUMBER, b"serial")];
    let group = [bytes(CKA_PRIME, &[23]), bytes(CKA_BASE, &[2])];
    let subgroup = [&group[..], &[bytes(CKA_SUBPRIME, &[11])]].concat();
    let rsa = keys.rsa[..2].to_vec();
    let curve = bytes(CKA_EC_PARAMS, P256);
    let (ec, scalar) = ([curve.clone(), bytes(CKA_EC_POINT, &keys.point)], [curve, value(32)[0].clone()]);
    let (ml_dsa, ml_kem) = (number(CKA_PARAMETER_SET, CKP_ML_DSA_44), number(CKA_PARAMETER_SET, CKP_ML_KEM_512));
    let slh_dsa = number(CKA_PARAMETER_SET, CKP_SLH_DSA_SHA2_128F);
    let prime = DhGroup::Modp2048.prime().expect("a prime");
    let with_number = |value: &[u8]| [bytes(CKA_PRIME, prime), bytes(CKA_BASE, &[2]), bytes(CKA_VALUE, value)];
    let with_value = |set: &Attr, len| [set.clone(), value(len)[0].clone()];
    let with_seed = |set: &Attr, len| [set.clone(), bytes(CKA_SEED, &vec![1; len])];

    let (public, private) = (CKO_PUBLIC_KEY, CKO_PRIVATE_KEY);
    vec![
        case("data", CKO_DATA, &[], &[DATA]),
        case("X.509 certificate", CKO_CERTIFICATE, &x_509, &[CERTIFICATE, ELSEWHERE, X_509]),
        case("WTLS certificate", CKO_CERTIFICATE, &wtls, &[CERTIFICATE, ELSEWHERE, WTLS]),
        case("attribute certificate", CKO_CERTIFICATE, &attributes, &[CERTIFICATE, ATTRIBUTE_CERTIFICATE]),
        case("trust", CKO_TRUST, &trust, &[TRUST]),
        case("DH parameters", CKO_DOMAIN_PARAMETERS, &key(CKK_DH, &group), &[DOMAIN]),
        case("DSA parameters", CKO_DOMAIN_PARAMETERS, &key(CKK_DSA, &subgroup), &[DOMAIN, DSA_DOMAIN]),
        case("X9.42 parameters", CKO_DOMAIN_PARAMETERS, &key(CKK_X9_42_DH, &subgroup), &[DOMAIN, X9_42_DOMAIN]),
        case("RSA public key", public, &key(CKK_RSA, &rsa), &[KEY, PUBLIC, RSA_PUBLIC]),
        case("RSA private key", private, &hidden(CKK_RSA, &keys.rsa), &[KEY, PRIVATE, RSA_PRIVATE]),
        case("EC public key", public, &key(CKK_EC, &ec), &[KEY, PUBLIC, EC_PUBLIC]),
        case("EC private key", private, &hidden(CKK_EC, &scalar), &[KEY, PRIVATE, EC_PRIVATE]),
        case("ML-DSA public key", public, &key(CKK_ML_DSA, &with_value(&ml_dsa, 1312)), &[KEY, PUBLIC, ML_DSA_PUBLIC]),
        case(
            "ML-DSA private key",
            private,
            &hidden(CKK_ML_DSA, &with_seed(&ml_dsa, 32)),
            &[KEY, PRIVATE, ML_DSA_PRIVATE],
        ),
        case(
            "SLH-DSA public key",
            public,
            &key(CKK_SLH_DSA, &with_value(&slh_dsa, 32)),
            &[KEY, PUBLIC, SLH_DSA_PUBLIC],
        ),
        case(
            "SLH-DSA private key",
            private,
            &hidden(CKK_SLH_DSA, &[slh_dsa, bytes(CKA_VALUE, SLH_DSA_KEY)]),
            &[KEY, PRIVATE, SLH_DSA_PRIVATE],
        ),
        case("DH public key", public, &key(CKK_DH, &with_number(&[3])), &[KEY, PUBLIC, DH_PUBLIC]),
        case("DH private key", private, &hidden(CKK_DH, &with_number(&[1; 40])), &[KEY, PRIVATE, DH_PRIVATE]),
        case("ML-KEM public key", public, &key(CKK_ML_KEM, &with_value(&ml_kem, 800)), &[KEY, PUBLIC, ML_KEM_PUBLIC]),
        case(
            "ML-KEM private key",
            private,
            &hidden(CKK_ML_KEM, &with_seed(&ml_kem, 64)),
            &[KEY, PRIVATE, ML_KEM_PRIVATE],
        ),
        case("AES key", CKO_SECRET_KEY, &secret(CKK_AES, 16), &[KEY, SECRET, AES]),
        case("ChaCha20 key", CKO_SECRET_KEY, &secret(CKK_CHACHA20, 32), &[KEY, SECRET, CHACHA20]),
        case("generic secret", CKO_SECRET_KEY, &secret(CKK_GENERIC_SECRET, 16), &[KEY, SECRET, GENERIC]),
        case("HMAC key", CKO_SECRET_KEY, &secret(CKK_SHA256_HMAC, 16), &[KEY, SECRET, GENERIC]),
        case("HOTP key", CKO_OTP_KEY, &key(CKK_HOTP, &[&value(20)[..], &open()[..2]].concat()), &[KEY, SECRET, HOTP]),
    ]
}

pub(crate) const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub(crate) const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 34];

/// The outer structure of a certificate, with single bytes for what lies deeper.
pub(crate) const DER: &[u8] = &[
    0x30, 0x1b, 0x30, 0x14, 0xa0, 3, 2, 1, 2, 0x02, 1, 0x05, 0x30, 0, 0x30, 1, 0x41, 0x30, 0, 0x30, 1, 0x42, 0x30, 0,
    0x30, 0x00, 0x03, 0x01, 0x00,
];

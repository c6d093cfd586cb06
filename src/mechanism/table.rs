//! The table of mechanisms.
//!
//! `C_GetMechanismList`, `C_GetMechanismInfo`, the operations, `CKA_ALLOWED_MECHANISMS` and the
//! documents all read it. A new mechanism is a row here; a new family is a row in `FAMILIES` and the
//! code that computes it.

use crate::crypto::Hash;
use cryptoki_sys::*;

/// What kind of computation a mechanism is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// RSA key pairs.
    RsaKeyPairGen,
    /// Key pairs on Weierstrass curves.
    EcKeyPairGen,
    /// Ed25519 key pairs.
    EdwardsKeyPairGen,
    /// ML-KEM key pairs.
    MlKemKeyPairGen,
    /// RSASSA-PKCS1-v1_5 with a hash.
    RsaPkcsHash,
    /// RSA PKCS#1 v1.5 on the caller's data.
    RsaPkcs,
    /// RSASSA-PSS.
    RsaPss,
    /// RSAES-OAEP.
    RsaOaep,
    /// RSA without padding.
    RsaX509,
    /// ECDSA.
    Ecdsa,
    /// EdDSA.
    Eddsa,
    /// A message digest.
    Digest,
}

/// What parameter a mechanism takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// None.
    Nothing,
    /// `CK_RSA_PKCS_PSS_PARAMS`.
    Pss,
    /// `CK_RSA_PKCS_OAEP_PARAMS`.
    Oaep,
    /// `CK_EDDSA_PARAMS`, or nothing for pure EdDSA.
    EddsaOrNothing,
}

/// A row of the table.
#[derive(Debug)]
pub struct Mechanism {
    /// Its number.
    pub id: CK_MECHANISM_TYPE,
    /// Its name.
    pub name: &'static str,
    /// What it computes.
    pub family: Family,
    /// The hash it names; `None` where the caller hashes, or the parameter names it.
    pub hash: Option<Hash>,
}

struct FamilyRow {
    family: Family,
    key_types: &'static [CK_KEY_TYPE],
    needs: Needs,
    flags: CK_FLAGS,
    sizes: (CK_ULONG, CK_ULONG),
}

const SIGNS: CK_FLAGS = CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY | CKF_MULTI_MESSAGE;
const RECOVERS: CK_FLAGS = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
const CRYPTS: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;
const CURVES: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS | CKF_EC_COMPRESS;
/// Key pairs are made in three sizes; public keys of these are imported as well.
const RSA: (CK_ULONG, CK_ULONG) = (2048, 4096);
const EC: (CK_ULONG, CK_ULONG) = (256, 521);
const EDWARDS: (CK_ULONG, CK_ULONG) = (255, 255);

/// Of the public key, in bytes.
const ML_KEM: (CK_ULONG, CK_ULONG) = (800, 1568);

const fn family(
    family: Family,
    key_types: &'static [CK_KEY_TYPE],
    needs: Needs,
    flags: CK_FLAGS,
    sizes: (CK_ULONG, CK_ULONG),
) -> FamilyRow {
    FamilyRow { family, key_types, needs, flags, sizes }
}

/// What all mechanisms of a family share. Sizes are in bits.
static FAMILIES: &[FamilyRow] = &[
    family(Family::RsaKeyPairGen, &[CKK_RSA], Needs::Nothing, CKF_GENERATE_KEY_PAIR, RSA),
    family(Family::EcKeyPairGen, &[CKK_EC], Needs::Nothing, CKF_GENERATE_KEY_PAIR | CURVES, EC),
    family(
        Family::EdwardsKeyPairGen,
        &[CKK_EC_EDWARDS],
        Needs::Nothing,
        CKF_GENERATE_KEY_PAIR | CKF_EC_OID | CKF_EC_CURVENAME,
        EDWARDS,
    ),
    family(Family::MlKemKeyPairGen, &[CKK_ML_KEM], Needs::Nothing, CKF_GENERATE_KEY_PAIR, ML_KEM),
    family(Family::RsaPkcsHash, &[CKK_RSA], Needs::Nothing, SIGNS, RSA),
    family(Family::RsaPkcs, &[CKK_RSA], Needs::Nothing, SIGNS | RECOVERS | CRYPTS, RSA),
    family(Family::RsaPss, &[CKK_RSA], Needs::Pss, SIGNS, RSA),
    family(Family::RsaOaep, &[CKK_RSA], Needs::Oaep, CRYPTS, RSA),
    family(Family::RsaX509, &[CKK_RSA], Needs::Nothing, SIGNS | RECOVERS | CRYPTS, RSA),
    family(Family::Ecdsa, &[CKK_EC], Needs::Nothing, SIGNS | CURVES, EC),
    // GnuTLS 3.7 names this mechanism when it generates a key pair.
    family(
        Family::Eddsa,
        &[CKK_EC_EDWARDS],
        Needs::EddsaOrNothing,
        SIGNS | CKF_GENERATE_KEY_PAIR | CKF_EC_OID | CKF_EC_CURVENAME,
        EDWARDS,
    ),
    family(Family::Digest, &[], Needs::Nothing, CKF_DIGEST, (0, 0)),
];

macro_rules! mechanisms {
    ($($id:ident $family:ident $($hash:ident)?;)*) => {
        /// Every mechanism, in the order in which `C_GetMechanismList` lists them.
        pub static MECHANISMS: &[Mechanism] = &[$(
            Mechanism { id: $id, name: stringify!($id), family: Family::$family, hash: mechanisms!(@ $($hash)?) },
        )*];
    };
    (@) => { None };
    (@ $hash:ident) => { Some(Hash::$hash) };
}

// pkcs11-tool tests signatures with the first RSA mechanism of this list, and in several parts: one
// that hashes stands before the raw ones.
mechanisms! {
    CKM_RSA_PKCS_KEY_PAIR_GEN    RsaKeyPairGen;
    CKM_EC_KEY_PAIR_GEN          EcKeyPairGen;
    CKM_EC_EDWARDS_KEY_PAIR_GEN  EdwardsKeyPairGen;
    CKM_ML_KEM_KEY_PAIR_GEN      MlKemKeyPairGen;
    CKM_SHA256_RSA_PKCS          RsaPkcsHash Sha256;
    CKM_SHA384_RSA_PKCS          RsaPkcsHash Sha384;
    CKM_SHA512_RSA_PKCS          RsaPkcsHash Sha512;
    CKM_SHA224_RSA_PKCS          RsaPkcsHash Sha224;
    CKM_SHA1_RSA_PKCS            RsaPkcsHash Sha1;
    CKM_SHA3_224_RSA_PKCS        RsaPkcsHash Sha3_224;
    CKM_SHA3_256_RSA_PKCS        RsaPkcsHash Sha3_256;
    CKM_SHA3_384_RSA_PKCS        RsaPkcsHash Sha3_384;
    CKM_SHA3_512_RSA_PKCS        RsaPkcsHash Sha3_512;
    CKM_RSA_PKCS                 RsaPkcs;
    CKM_SHA256_RSA_PKCS_PSS      RsaPss Sha256;
    CKM_SHA384_RSA_PKCS_PSS      RsaPss Sha384;
    CKM_SHA512_RSA_PKCS_PSS      RsaPss Sha512;
    CKM_SHA224_RSA_PKCS_PSS      RsaPss Sha224;
    CKM_SHA1_RSA_PKCS_PSS        RsaPss Sha1;
    CKM_SHA3_224_RSA_PKCS_PSS    RsaPss Sha3_224;
    CKM_SHA3_256_RSA_PKCS_PSS    RsaPss Sha3_256;
    CKM_SHA3_384_RSA_PKCS_PSS    RsaPss Sha3_384;
    CKM_SHA3_512_RSA_PKCS_PSS    RsaPss Sha3_512;
    CKM_RSA_PKCS_PSS             RsaPss;
    CKM_RSA_PKCS_OAEP            RsaOaep;
    CKM_RSA_X_509                RsaX509;
    CKM_ECDSA_SHA256             Ecdsa Sha256;
    CKM_ECDSA_SHA384             Ecdsa Sha384;
    CKM_ECDSA_SHA512             Ecdsa Sha512;
    CKM_ECDSA_SHA224             Ecdsa Sha224;
    CKM_ECDSA_SHA1               Ecdsa Sha1;
    CKM_ECDSA_SHA3_224           Ecdsa Sha3_224;
    CKM_ECDSA_SHA3_256           Ecdsa Sha3_256;
    CKM_ECDSA_SHA3_384           Ecdsa Sha3_384;
    CKM_ECDSA_SHA3_512           Ecdsa Sha3_512;
    CKM_ECDSA                    Ecdsa;
    CKM_EDDSA                    Eddsa;
    CKM_SHA_1                    Digest Sha1;
    CKM_SHA224                   Digest Sha224;
    CKM_SHA256                   Digest Sha256;
    CKM_SHA384                   Digest Sha384;
    CKM_SHA512                   Digest Sha512;
    CKM_SHA512_224               Digest Sha512_224;
    CKM_SHA512_256               Digest Sha512_256;
    CKM_SHA3_224                 Digest Sha3_224;
    CKM_SHA3_256                 Digest Sha3_256;
    CKM_SHA3_384                 Digest Sha3_384;
    CKM_SHA3_512                 Digest Sha3_512;
}

/// What `C_GetMechanismInfo` answers; sizes in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The smallest key.
    pub min_key_size: CK_ULONG,
    /// The largest key.
    pub max_key_size: CK_ULONG,
    /// `CKF_` flags.
    pub flags: CK_FLAGS,
}

impl Mechanism {
    fn row(&self) -> &'static FamilyRow {
        // Every family has a row: the test below looks at each mechanism.
        FAMILIES.iter().find(|row| row.family == self.family).unwrap_or(&FAMILIES[0])
    }

    /// Whether it works with keys of this type.
    pub fn takes(&self, key_type: CK_KEY_TYPE) -> bool {
        self.row().key_types.contains(&key_type)
    }

    /// The parameter it takes.
    pub fn needs(&self) -> Needs {
        self.row().needs
    }

    /// The operations it is good for.
    pub fn flags(&self) -> CK_FLAGS {
        self.row().flags
    }

    /// What `C_GetMechanismInfo` answers.
    pub fn info(&self) -> Info {
        let row = self.row();
        Info { min_key_size: row.sizes.0, max_key_size: row.sizes.1, flags: row.flags }
    }
}

/// The mechanism with this number.
pub fn find(id: CK_MECHANISM_TYPE) -> Option<&'static Mechanism> {
    MECHANISMS.iter().find(|row| row.id == id)
}

/// Every mechanism that uses keys of a type (key-pair generation is none of them).
pub fn for_key_type(key_type: CK_KEY_TYPE) -> impl Iterator<Item = &'static Mechanism> {
    MECHANISMS.iter().filter(move |row| row.takes(key_type) && row.flags() & (SIGNS | CRYPTS) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mechanism_has_its_family_and_stands_once() {
        for (index, row) in MECHANISMS.iter().enumerate() {
            assert_eq!(row.row().family, row.family, "{}", row.name);
            assert_ne!(row.flags(), 0);
            assert!(MECHANISMS[index + 1..].iter().all(|other| other.id != row.id), "{} twice", row.name);
        }
    }

    #[test]
    fn a_hashing_rsa_mechanism_comes_first() {
        let first = MECHANISMS.iter().find(|row| row.takes(CKK_RSA) && row.flags() & CKF_SIGN != 0);
        assert_eq!(first.unwrap().id, CKM_SHA256_RSA_PKCS);
    }
}

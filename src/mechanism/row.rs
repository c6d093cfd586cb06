//! What the table says of a mechanism.

use super::family::{CRYPTS, ENCAPSULATES, FAMILIES, Family, FamilyRow, Needs, SIGNS, WRAPS};
use super::table::{MECHANISMS, Mechanism};
use crate::crypto::Hash;
use cryptoki_sys::*;

/// The type of the keys that are for HMAC with one hash.
const HMAC_KEYS: &[(Hash, CK_KEY_TYPE)] = &[
    (Hash::Sha1, CKK_SHA_1_HMAC),
    (Hash::Sha224, CKK_SHA224_HMAC),
    (Hash::Sha256, CKK_SHA256_HMAC),
    (Hash::Sha384, CKK_SHA384_HMAC),
    (Hash::Sha512, CKK_SHA512_HMAC),
    (Hash::Sha512_224, CKK_SHA512_224_HMAC),
    (Hash::Sha512_256, CKK_SHA512_256_HMAC),
    (Hash::Sha3_224, CKK_SHA3_224_HMAC),
    (Hash::Sha3_256, CKK_SHA3_256_HMAC),
    (Hash::Sha3_384, CKK_SHA3_384_HMAC),
    (Hash::Sha3_512, CKK_SHA3_512_HMAC),
];

/// What `C_GetMechanismInfo` answers; sizes in bits for key pairs, generic secrets and the use of ChaCha20, in bytes
/// for others.
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
        self.row().key_types.contains(&key_type) || self.hmac_key_type() == Some(key_type)
    }

    /// The type of key that is for this HMAC alone.
    fn hmac_key_type(&self) -> Option<CK_KEY_TYPE> {
        let is_hmac = matches!(self.family, Family::Hmac | Family::HmacGeneral | Family::HmacKeyGen);
        HMAC_KEYS.iter().find(|row| is_hmac && Some(row.0) == self.hash).map(|row| row.1)
    }

    /// The type of secret key that it generates; `None` if it generates none, or any.
    pub fn generates(&self) -> Option<CK_KEY_TYPE> {
        let key_type = self.row().key_types.first().copied().or_else(|| self.hmac_key_type());
        key_type.filter(|_| self.flags() & CKF_GENERATE != 0)
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
    MECHANISMS.iter().filter(move |row| {
        row.takes(key_type) && row.flags() & (SIGNS | CRYPTS | WRAPS | CKF_DERIVE | ENCAPSULATES) != 0
    })
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
    fn hmac_takes_generic_secrets_and_the_keys_of_its_own_hash() {
        let hmac = find(CKM_SHA256_HMAC).unwrap();
        assert!(hmac.takes(CKK_GENERIC_SECRET) && hmac.takes(CKK_SHA256_HMAC));
        assert!(!hmac.takes(CKK_SHA384_HMAC) && !hmac.takes(CKK_AES));
        assert!(!find(CKM_SHA256).unwrap().takes(CKK_SHA256_HMAC));
        for (id, key_type) in [
            (CKM_AES_KEY_GEN, Some(CKK_AES)),
            (CKM_GENERIC_SECRET_KEY_GEN, Some(CKK_GENERIC_SECRET)),
            (CKM_SHA3_384_KEY_GEN, Some(CKK_SHA3_384_HMAC)),
            (CKM_CHACHA20_KEY_GEN, Some(CKK_CHACHA20)),
            (CKM_PKCS5_PBKD2, None),
            (CKM_SHA256_HMAC, None),
            (CKM_RSA_PKCS_KEY_PAIR_GEN, None),
        ] {
            assert_eq!(find(id).unwrap().generates(), key_type);
        }
        assert_eq!(HMAC_KEYS.len(), Hash::ALL.len());
    }

    #[test]
    fn a_hashing_rsa_mechanism_comes_first() {
        let first = MECHANISMS.iter().find(|row| row.takes(CKK_RSA) && row.flags() & CKF_SIGN != 0);
        assert_eq!(first.unwrap().id, CKM_SHA256_RSA_PKCS);
    }
}

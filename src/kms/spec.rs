//! The kinds of data key pair and the sizes of data key that KMS makes.

use crate::error::{Cause, Result};
use aws_sdk_kms::types::{DataKeyPairSpec, DataKeySpec};
use std::fmt;

macro_rules! specs {
    ($($(#[$doc:meta])* $variant:ident $name:literal $sdk:ident;)*) => {
        /// A `KeyPairSpec` of `GenerateDataKeyPair`.
        ///
        /// SM2 is not here: it exists in China Regions only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum KeyPairSpec { $($(#[$doc])* $variant,)* }

        impl KeyPairSpec {
            /// Every spec, in the order of the table.
            pub const ALL: &[KeyPairSpec] = &[$(KeyPairSpec::$variant,)*];

            /// The name that KMS gives it, as in `RSA_2048`.
            pub fn name(self) -> &'static str {
                match self { $(KeyPairSpec::$variant => $name,)* }
            }

            /// The same for the SDK.
            pub(super) fn to_sdk(self) -> DataKeyPairSpec {
                match self { $(KeyPairSpec::$variant => DataKeyPairSpec::$sdk,)* }
            }
        }
    };
}

specs! {
    /// RSA, 2048 bits, public exponent 65537.
    Rsa2048 "RSA_2048" Rsa2048;
    /// RSA, 3072 bits.
    Rsa3072 "RSA_3072" Rsa3072;
    /// RSA, 4096 bits; KMS makes one a second per account.
    Rsa4096 "RSA_4096" Rsa4096;
    /// NIST P-256.
    EccNistP256 "ECC_NIST_P256" EccNistP256;
    /// NIST P-384.
    EccNistP384 "ECC_NIST_P384" EccNistP384;
    /// NIST P-521.
    EccNistP521 "ECC_NIST_P521" EccNistP521;
    /// SEC secp256k1.
    EccSecgP256k1 "ECC_SECG_P256K1" EccSecgP256K1;
    /// Ed25519.
    EccNistEdwards25519 "ECC_NIST_EDWARDS25519" EccNistEdwards25519;
    /// ML-KEM-512; not in China Regions.
    MlKem512 "ML_KEM_512" MlKem512;
    /// ML-KEM-768; not in China Regions.
    MlKem768 "ML_KEM_768" MlKem768;
    /// ML-KEM-1024; not in China Regions.
    MlKem1024 "ML_KEM_1024" MlKem1024;
}

impl KeyPairSpec {
    /// The spec of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|spec| spec.name() == name)
    }
}

impl fmt::Display for KeyPairSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a data key is to be: what `GenerateDataKey` is asked for.
///
/// An AES key of 128 or 256 bits has a `KeySpec`, and with it a name in CloudTrail; everything else is a
/// number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataKeySize {
    bytes: usize,
    spec: Option<&'static DataKeySpec>,
}

impl DataKeySize {
    /// An AES-128 key: `KeySpec` `AES_128`.
    pub const AES_128: Self = Self { bytes: 16, spec: Some(&DataKeySpec::Aes128) };
    /// An AES-256 key: `KeySpec` `AES_256`.
    pub const AES_256: Self = Self { bytes: 32, spec: Some(&DataKeySpec::Aes256) };
    /// The longest data key that KMS makes, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// A secret of so many bytes, 1 to 1024: `NumberOfBytes`.
    ///
    /// # Errors
    /// `KeySizeRange` for any other number.
    pub fn bytes(bytes: usize) -> Result<Self> {
        match bytes {
            1..=Self::MAX_BYTES => Ok(Self { bytes, spec: None }),
            _ => {
                let most = Self::MAX_BYTES;
                Err(Cause::KeySizeRange.with(format!("KMS makes secrets of 1 to {most} bytes, not of {bytes}")))
            }
        }
    }

    /// An AES key of so many bytes: 16, 24 or 32.
    ///
    /// # Errors
    /// `KeySizeRange` for any other number.
    pub fn aes(bytes: usize) -> Result<Self> {
        match bytes {
            16 => Ok(Self::AES_128),
            32 => Ok(Self::AES_256),
            // KMS has no name for it.
            24 => Self::bytes(24),
            _ => Err(Cause::KeySizeRange.with(format!("an AES key has 16, 24 or 32 bytes, not {bytes}"))),
        }
    }

    /// The length of the key, in bytes. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "no data key is empty")]
    pub fn len(self) -> usize {
        self.bytes
    }

    /// `KeySpec` and `NumberOfBytes` for the SDK: one of them is there.
    pub(super) fn to_sdk(self) -> (Option<DataKeySpec>, Option<i32>) {
        match self.spec {
            Some(spec) => (Some(spec.clone()), None),
            None => (None, i32::try_from(self.bytes).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_sdk_and_lead_back() {
        for spec in KeyPairSpec::ALL {
            assert_eq!(spec.to_sdk().as_str(), spec.name());
            assert_eq!(KeyPairSpec::from_name(spec.name()), Some(*spec));
        }
        assert_eq!(KeyPairSpec::from_name("SM2"), None);
    }

    #[test]
    fn a_data_key_has_a_name_or_a_length() {
        assert_eq!(DataKeySize::aes(16).unwrap().to_sdk(), (Some(DataKeySpec::Aes128), None));
        assert_eq!(DataKeySize::aes(24).unwrap().to_sdk(), (None, Some(24)));
        assert_eq!(DataKeySize::aes(32).unwrap().to_sdk(), (Some(DataKeySpec::Aes256), None));
        for bytes in [1, 16, 32, 1024] {
            assert_eq!(DataKeySize::bytes(bytes).unwrap().to_sdk(), (None, Some(bytes as i32)));
        }
        for bad in [0, 1025, usize::MAX] {
            assert_eq!(DataKeySize::bytes(bad).unwrap_err().cause(), Cause::KeySizeRange, "{bad}");
            assert_eq!(DataKeySize::aes(bad).unwrap_err().cause(), Cause::KeySizeRange, "{bad}");
        }
    }
}

//! The kinds of data key pair that KMS makes.

use aws_sdk_kms::types::DataKeyPairSpec;
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
}

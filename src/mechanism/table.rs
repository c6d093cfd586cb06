//! The table of mechanisms.
//!
//! `C_GetMechanismList`, `C_GetMechanismInfo`, the operations, `CKA_ALLOWED_MECHANISMS` and the
//! documents all read it. A new mechanism is a row here; a new family is a row in [`super::family`] and the
//! code that computes it.

use super::family::Family;
use crate::crypto::Hash;
use cryptoki_sys::*;

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
    CKM_EC_MONTGOMERY_KEY_PAIR_GEN MontgomeryKeyPairGen;
    CKM_ML_DSA_KEY_PAIR_GEN      MlDsaKeyPairGen;
    CKM_ML_DSA                   MlDsa;
    CKM_HASH_ML_DSA              HashMlDsa;
    CKM_HASH_ML_DSA_SHA224       HashMlDsaHash Sha224;
    CKM_HASH_ML_DSA_SHA256       HashMlDsaHash Sha256;
    CKM_HASH_ML_DSA_SHA384       HashMlDsaHash Sha384;
    CKM_HASH_ML_DSA_SHA512       HashMlDsaHash Sha512;
    CKM_HASH_ML_DSA_SHA3_224     HashMlDsaHash Sha3_224;
    CKM_HASH_ML_DSA_SHA3_256     HashMlDsaHash Sha3_256;
    CKM_HASH_ML_DSA_SHA3_384     HashMlDsaHash Sha3_384;
    CKM_HASH_ML_DSA_SHA3_512     HashMlDsaHash Sha3_512;
    CKM_HASH_ML_DSA_SHAKE128     HashMlDsaHash Shake128;
    CKM_HASH_ML_DSA_SHAKE256     HashMlDsaHash Shake256;
    CKM_SLH_DSA_KEY_PAIR_GEN     SlhDsaKeyPairGen;
    CKM_SLH_DSA                  SlhDsa;
    CKM_HASH_SLH_DSA             HashSlhDsa;
    CKM_HASH_SLH_DSA_SHA224      HashSlhDsaHash Sha224;
    CKM_HASH_SLH_DSA_SHA256      HashSlhDsaHash Sha256;
    CKM_HASH_SLH_DSA_SHA384      HashSlhDsaHash Sha384;
    CKM_HASH_SLH_DSA_SHA512      HashSlhDsaHash Sha512;
    CKM_HASH_SLH_DSA_SHA3_224    HashSlhDsaHash Sha3_224;
    CKM_HASH_SLH_DSA_SHA3_256    HashSlhDsaHash Sha3_256;
    CKM_HASH_SLH_DSA_SHA3_384    HashSlhDsaHash Sha3_384;
    CKM_HASH_SLH_DSA_SHA3_512    HashSlhDsaHash Sha3_512;
    CKM_HASH_SLH_DSA_SHAKE128    HashSlhDsaHash Shake128;
    CKM_HASH_SLH_DSA_SHAKE256    HashSlhDsaHash Shake256;
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
    CKM_AES_KEY_GEN              AesKeyGen;
    CKM_GENERIC_SECRET_KEY_GEN   GenericSecretKeyGen;
    CKM_SHA_1_KEY_GEN            HmacKeyGen Sha1;
    CKM_SHA224_KEY_GEN           HmacKeyGen Sha224;
    CKM_SHA256_KEY_GEN           HmacKeyGen Sha256;
    CKM_SHA384_KEY_GEN           HmacKeyGen Sha384;
    CKM_SHA512_KEY_GEN           HmacKeyGen Sha512;
    CKM_SHA512_224_KEY_GEN       HmacKeyGen Sha512_224;
    CKM_SHA512_256_KEY_GEN       HmacKeyGen Sha512_256;
    CKM_SHA3_224_KEY_GEN         HmacKeyGen Sha3_224;
    CKM_SHA3_256_KEY_GEN         HmacKeyGen Sha3_256;
    CKM_SHA3_384_KEY_GEN         HmacKeyGen Sha3_384;
    CKM_SHA3_512_KEY_GEN         HmacKeyGen Sha3_512;
    CKM_AES_ECB                  AesEcb;
    CKM_AES_CBC                  AesCbc;
    CKM_AES_CBC_PAD              AesCbcPad;
    CKM_AES_CTS                  AesCts;
    CKM_AES_CTR                  AesCtr;
    CKM_AES_GCM                  AesGcm;
    CKM_AES_CCM                  AesCcm;
    CKM_AES_OFB                  AesOfb;
    CKM_AES_CFB128               AesCfb128;
    CKM_AES_CFB8                 AesCfb8;
    CKM_AES_CFB1                 AesCfb1;
    CKM_AES_KEY_WRAP             AesKeyWrap;
    CKM_AES_KEY_WRAP_KWP         AesKeyWrapPadded;
    // Deprecated, and never quite defined: what SoftHSM and OpenSSL take it for.
    CKM_AES_KEY_WRAP_PAD         AesKeyWrapPadded;
    CKM_AES_KEY_WRAP_PKCS7       AesKeyWrapPkcs7;
    CKM_AES_CMAC                 AesCmac;
    CKM_AES_CMAC_GENERAL         AesCmacGeneral;
    CKM_AES_GMAC                 AesGmac;
    CKM_SHA_1_HMAC               Hmac Sha1;
    CKM_SHA224_HMAC              Hmac Sha224;
    CKM_SHA256_HMAC              Hmac Sha256;
    CKM_SHA384_HMAC              Hmac Sha384;
    CKM_SHA512_HMAC              Hmac Sha512;
    CKM_SHA512_224_HMAC          Hmac Sha512_224;
    CKM_SHA512_256_HMAC          Hmac Sha512_256;
    CKM_SHA3_224_HMAC            Hmac Sha3_224;
    CKM_SHA3_256_HMAC            Hmac Sha3_256;
    CKM_SHA3_384_HMAC            Hmac Sha3_384;
    CKM_SHA3_512_HMAC            Hmac Sha3_512;
    CKM_SHA_1_HMAC_GENERAL       HmacGeneral Sha1;
    CKM_SHA224_HMAC_GENERAL      HmacGeneral Sha224;
    CKM_SHA256_HMAC_GENERAL      HmacGeneral Sha256;
    CKM_SHA384_HMAC_GENERAL      HmacGeneral Sha384;
    CKM_SHA512_HMAC_GENERAL      HmacGeneral Sha512;
    CKM_SHA512_224_HMAC_GENERAL  HmacGeneral Sha512_224;
    CKM_SHA512_256_HMAC_GENERAL  HmacGeneral Sha512_256;
    CKM_SHA3_224_HMAC_GENERAL    HmacGeneral Sha3_224;
    CKM_SHA3_256_HMAC_GENERAL    HmacGeneral Sha3_256;
    CKM_SHA3_384_HMAC_GENERAL    HmacGeneral Sha3_384;
    CKM_SHA3_512_HMAC_GENERAL    HmacGeneral Sha3_512;
    CKM_CHACHA20_KEY_GEN         ChaCha20KeyGen;
    CKM_CHACHA20                 ChaCha20;
    CKM_CHACHA20_POLY1305        ChaCha20Poly1305;
    CKM_HOTP_KEY_GEN             HotpKeyGen;
    CKM_HOTP                     Hotp;
    CKM_PKCS5_PBKD2              Pbkdf2;
    CKM_DH_PKCS_KEY_PAIR_GEN     DhKeyPairGen;
    CKM_DH_PKCS_DERIVE           Dh;
    CKM_ECDH1_DERIVE             Ecdh;
    CKM_ECDH1_COFACTOR_DERIVE    EcdhCofactor;
    CKM_HKDF_KEY_GEN             HkdfKeyGen;
    CKM_HKDF_DERIVE              Hkdf;
    CKM_HKDF_DATA                HkdfData;
    CKM_SP800_108_COUNTER_KDF    Sp800Counter;
    CKM_SP800_108_FEEDBACK_KDF   Sp800Feedback;
    CKM_SP800_108_DOUBLE_PIPELINE_KDF Sp800DoublePipeline;
    CKM_SHA1_KEY_DERIVATION      HashDerive Sha1;
    CKM_SHA224_KEY_DERIVATION    HashDerive Sha224;
    CKM_SHA256_KEY_DERIVATION    HashDerive Sha256;
    CKM_SHA384_KEY_DERIVATION    HashDerive Sha384;
    CKM_SHA512_KEY_DERIVATION    HashDerive Sha512;
    CKM_SHA512_224_KEY_DERIVATION HashDerive Sha512_224;
    CKM_SHA512_256_KEY_DERIVATION HashDerive Sha512_256;
    CKM_SHA3_224_KEY_DERIVATION  HashDerive Sha3_224;
    CKM_SHA3_256_KEY_DERIVATION  HashDerive Sha3_256;
    CKM_SHA3_384_KEY_DERIVATION  HashDerive Sha3_384;
    CKM_SHA3_512_KEY_DERIVATION  HashDerive Sha3_512;
    CKM_CONCATENATE_BASE_AND_KEY ConcatenateKey;
    CKM_CONCATENATE_BASE_AND_DATA BaseAndData;
    CKM_CONCATENATE_DATA_AND_BASE DataAndBase;
    CKM_XOR_BASE_AND_DATA        XorData;
    CKM_EXTRACT_KEY_FROM_KEY     ExtractKey;
    CKM_AES_ECB_ENCRYPT_DATA     AesEcbData;
    CKM_AES_CBC_ENCRYPT_DATA     AesCbcData;
    CKM_PUB_KEY_FROM_PRIV_KEY    PublicFromPrivate;
    CKM_TLS12_MASTER_KEY_DERIVE  TlsMaster;
    CKM_TLS12_MASTER_KEY_DERIVE_DH TlsMasterDh;
    CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE TlsExtendedMaster;
    CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH TlsExtendedMasterDh;
    CKM_TLS12_KEY_AND_MAC_DERIVE TlsKeys;
    CKM_TLS12_KEY_SAFE_DERIVE    TlsKeysSafe;
    CKM_TLS12_KDF                TlsKdf;
    CKM_TLS_KDF                  TlsKdf;
    CKM_TLS12_MAC                TlsMac;
    CKM_TLS_MAC                  TlsMac;
    CKM_IKE_PRF_DERIVE           IkePrf;
    CKM_IKE1_PRF_DERIVE          Ike1Prf;
    CKM_IKE1_EXTENDED_DERIVE     Ike1Extended;
    CKM_IKE2_PRF_PLUS_DERIVE     Ike2PrfPlus;
    CKM_ML_KEM                   MlKem;
    CKM_RSA_AES_KEY_WRAP         RsaAesKeyWrap;
    CKM_ECDH_AES_KEY_WRAP        EcdhAesKeyWrap;
    CKM_ECDH_COF_AES_KEY_WRAP    EcdhCofactorAesKeyWrap;
    CKM_ECDH_X_AES_KEY_WRAP      EcdhMontgomeryAesKeyWrap;
}

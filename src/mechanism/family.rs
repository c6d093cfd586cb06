//! The families of mechanisms: what all mechanisms of one kind of computation share.

use crate::crypto::RSA_BITS;
use cryptoki_sys::*;

/// What kind of computation a mechanism is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// RSA key pairs.
    RsaKeyPairGen,
    /// Key pairs on Weierstrass curves.
    EcKeyPairGen,
    /// Key pairs on Edwards curves.
    EdwardsKeyPairGen,
    /// ML-KEM key pairs.
    MlKemKeyPairGen,
    /// Key pairs on Montgomery curves.
    MontgomeryKeyPairGen,
    /// ML-DSA key pairs.
    MlDsaKeyPairGen,
    /// SLH-DSA key pairs.
    SlhDsaKeyPairGen,
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
    /// ML-DSA.
    MlDsa,
    /// HashML-DSA of a digest that the caller made.
    HashMlDsa,
    /// HashML-DSA with its hash.
    HashMlDsaHash,
    /// SLH-DSA.
    SlhDsa,
    /// HashSLH-DSA of a digest that the caller made.
    HashSlhDsa,
    /// HashSLH-DSA with its hash.
    HashSlhDsaHash,
    /// A message digest.
    Digest,
    /// AES keys.
    AesKeyGen,
    /// Generic secret keys.
    GenericSecretKeyGen,
    /// Keys of HMAC with one hash.
    HmacKeyGen,
    /// AES-ECB.
    AesEcb,
    /// AES-CBC.
    AesCbc,
    /// AES-CBC with PKCS#7 padding.
    AesCbcPad,
    /// AES-CBC with ciphertext stealing.
    AesCts,
    /// AES in counter mode.
    AesCtr,
    /// AES-GCM.
    AesGcm,
    /// AES-CCM.
    AesCcm,
    /// AES-OFB.
    AesOfb,
    /// AES-CFB by 128 bits.
    AesCfb128,
    /// AES-CFB by 8 bits.
    AesCfb8,
    /// AES-CFB by 1 bit.
    AesCfb1,
    /// AES key wrap.
    AesKeyWrap,
    /// AES key wrap with padding (RFC 5649).
    AesKeyWrapPadded,
    /// AES key wrap after PKCS#7 padding.
    AesKeyWrapPkcs7,
    /// HMAC, of its hash's length.
    Hmac,
    /// HMAC, of a length that the parameter says.
    HmacGeneral,
    /// AES-CMAC, of a block's length.
    AesCmac,
    /// AES-CMAC, of a length that the parameter says.
    AesCmacGeneral,
    /// AES-GMAC.
    AesGmac,
    /// ChaCha20 keys.
    ChaCha20KeyGen,
    /// ChaCha20 alone.
    ChaCha20,
    /// ChaCha20 with Poly1305.
    ChaCha20Poly1305,
    /// Keys for one-time passwords by a counter.
    HotpKeyGen,
    /// One-time passwords by a counter.
    Hotp,
    /// Keys from passwords.
    Pbkdf2,
    /// Key pairs of finite-field Diffie-Hellman.
    DhKeyPairGen,
    /// Finite-field Diffie-Hellman.
    Dh,
    /// Diffie-Hellman on a curve.
    Ecdh,
    /// Diffie-Hellman on a curve, with its cofactor.
    EcdhCofactor,
    /// The master secret of TLS, of a premaster secret that came by RSA.
    TlsMaster,
    /// The same of one that came by Diffie-Hellman.
    TlsMasterDh,
    /// The extended master secret of TLS, of a premaster secret that came by RSA.
    TlsExtendedMaster,
    /// The same of one that came by Diffie-Hellman.
    TlsExtendedMasterDh,
    /// The keys of a TLS connection, and its initialisation vectors.
    TlsKeys,
    /// The same without vectors.
    TlsKeysSafe,
    /// The pseudo-random function of TLS.
    TlsKdf,
    /// What ends a handshake of TLS.
    TlsMac,
    /// The pseudo-random function of IKE, of the nonces.
    IkePrf,
    /// The same of IKE 1, of keys, cookies and a number.
    Ike1Prf,
    /// Longer keys of IKE 1.
    Ike1Extended,
    /// Keys of IKE 2.
    Ike2PrfPlus,
    /// HKDF.
    Hkdf,
    /// HKDF to data that is no key.
    HkdfData,
    /// Keys for HKDF.
    HkdfKeyGen,
    /// SP 800-108 in counter mode.
    Sp800Counter,
    /// SP 800-108 in feedback mode.
    Sp800Feedback,
    /// SP 800-108 in double-pipeline mode.
    Sp800DoublePipeline,
    /// A digest of a key.
    HashDerive,
    /// A key and another.
    ConcatenateKey,
    /// A key and data.
    BaseAndData,
    /// Data and a key.
    DataAndBase,
    /// A key XOR data.
    XorData,
    /// Bits of a key.
    ExtractKey,
    /// Data under AES-ECB.
    AesEcbData,
    /// Data under AES-CBC.
    AesCbcData,
    /// The public key of a private one.
    PublicFromPrivate,
    /// ML-KEM.
    MlKem,
    /// RSAES-OAEP of a random key, with which AES key wrap wraps.
    RsaAesKeyWrap,
    /// Diffie-Hellman with a fresh key pair, and AES key wrap with what is derived.
    EcdhAesKeyWrap,
    /// The same with its cofactor.
    EcdhCofactorAesKeyWrap,
    /// The same on a Montgomery curve.
    EcdhMontgomeryAesKeyWrap,
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
    /// `CK_SIGN_ADDITIONAL_CONTEXT`, or nothing for no context.
    SignContextOrNothing,
    /// `CK_HASH_SIGN_ADDITIONAL_CONTEXT`.
    HashSignContext,
    /// An initialisation vector of one block.
    Iv,
    /// An initial value of 8 bytes, or nothing for the standard's.
    HalfBlockOrNothing,
    /// An initial value of 4 bytes, or nothing for the standard's.
    QuarterBlockOrNothing,
    /// `CK_AES_CTR_PARAMS`.
    Ctr,
    /// `CK_GCM_PARAMS`.
    Gcm,
    /// `CK_CCM_PARAMS`.
    Ccm,
    /// `CK_MAC_GENERAL_PARAMS`.
    MacLength,
    /// `CK_TLS_MAC_PARAMS`.
    TlsMac,
    /// `CK_CHACHA20_PARAMS`.
    ChaCha20,
    /// `CK_SALSA20_CHACHA20_POLY1305_PARAMS`.
    ChaCha20Poly1305,
    /// `CK_PKCS5_PBKD2_PARAMS2`, which holds a password and is no [`super::Given`].
    Password,
    /// `CK_OTP_PARAMS`, or nothing for what the key says.
    OtpOrNothing,
    /// What its derivation takes.
    Derivation,
    /// `CK_RSA_AES_KEY_WRAP_PARAMS`.
    RsaAesKeyWrap,
    /// `CK_ECDH_AES_KEY_WRAP_PARAMS`.
    EcdhAesKeyWrap,
}

pub(super) struct FamilyRow {
    pub(super) family: Family,
    pub(super) key_types: &'static [CK_KEY_TYPE],
    pub(super) needs: Needs,
    pub(super) flags: CK_FLAGS,
    pub(super) sizes: (CK_ULONG, CK_ULONG),
}

pub(super) const SIGNS: CK_FLAGS = CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY | CKF_MULTI_MESSAGE;
const RECOVERS: CK_FLAGS = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
/// Authenticated encryption of messages.
const CRYPTS_MESSAGES: CK_FLAGS = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MULTI_MESSAGE;
pub(super) const CRYPTS: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;
pub(super) const ENCAPSULATES: CK_FLAGS = CKF_ENCAPSULATE | CKF_DECAPSULATE;
pub(super) const WRAPS: CK_FLAGS = CKF_WRAP | CKF_UNWRAP;
const CURVES: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS | CKF_EC_COMPRESS;
/// What KMS makes.
const RSA_KEY_PAIR_GEN: (CK_ULONG, CK_ULONG) = (2048, 4096);
/// Keys of other sizes can be imported.
const RSA: (CK_ULONG, CK_ULONG) = (*RSA_BITS.start() as CK_ULONG, *RSA_BITS.end() as CK_ULONG);
const EC: (CK_ULONG, CK_ULONG) = (256, 521);
/// Edwards and Montgomery curves.
const EDWARDS: (CK_ULONG, CK_ULONG) = (255, 448);
const AES: (CK_ULONG, CK_ULONG) = (16, 32);
/// Longer keys than KMS makes can be imported.
const MAC: (CK_ULONG, CK_ULONG) = (1, 65536);
/// One size, which PKCS#11 gives in bytes for their generation and in bits for their use.
const CHACHA20_BYTES: (CK_ULONG, CK_ULONG) = (32, 32);
const CHACHA20: (CK_ULONG, CK_ULONG) = (256, 256);
/// What KMS makes.
const MAC_KEY_GEN: (CK_ULONG, CK_ULONG) = (1, 1024);
/// The same, where PKCS#11 counts in bits.
const BITS: (CK_ULONG, CK_ULONG) = (8, 8 * 65536);
/// The one size of secret keys that PKCS#11 counts in bits.
const GENERIC: (CK_ULONG, CK_ULONG) = (8, 8192);

/// What RFC 4226 asks for, and no more than a block of its hash.
const HOTP: (CK_ULONG, CK_ULONG) = (16, 64);

/// The groups of the RFCs.
const DH: (CK_ULONG, CK_ULONG) = (2048, 8192);

/// Of the public key, in bytes.
const ML_KEM: (CK_ULONG, CK_ULONG) = (800, 1568);
const ML_DSA: (CK_ULONG, CK_ULONG) = (1312, 2592);
const SLH_DSA: (CK_ULONG, CK_ULONG) = (32, 64);

/// Every type of secret key.
const SECRETS: &[CK_KEY_TYPE] = &[
    CKK_GENERIC_SECRET,
    CKK_AES,
    CKK_CHACHA20,
    CKK_HKDF,
    CKK_SHA_1_HMAC,
    CKK_SHA224_HMAC,
    CKK_SHA256_HMAC,
    CKK_SHA384_HMAC,
    CKK_SHA512_HMAC,
    CKK_SHA512_224_HMAC,
    CKK_SHA512_256_HMAC,
    CKK_SHA3_224_HMAC,
    CKK_SHA3_256_HMAC,
    CKK_SHA3_384_HMAC,
    CKK_SHA3_512_HMAC,
];
/// Every type of private key.
const PRIVATES: &[CK_KEY_TYPE] =
    &[CKK_RSA, CKK_EC, CKK_EC_EDWARDS, CKK_EC_MONTGOMERY, CKK_ML_KEM, CKK_ML_DSA, CKK_SLH_DSA, CKK_DH];
/// What derives keys for HKDF, and from them.
const HKDF_KEYS: &[CK_KEY_TYPE] = &[CKK_HKDF, CKK_GENERIC_SECRET];

const fn family(
    family: Family,
    key_types: &'static [CK_KEY_TYPE],
    needs: Needs,
    flags: CK_FLAGS,
    sizes: (CK_ULONG, CK_ULONG),
) -> FamilyRow {
    FamilyRow { family, key_types, needs, flags, sizes }
}

/// What all mechanisms of a family share. Sizes are in bits for key pairs, generic secrets and the use of ChaCha20, in
/// bytes for others.
pub(super) static FAMILIES: &[FamilyRow] = &[
    family(Family::RsaKeyPairGen, &[CKK_RSA], Needs::Nothing, CKF_GENERATE_KEY_PAIR, RSA_KEY_PAIR_GEN),
    family(Family::EcKeyPairGen, &[CKK_EC], Needs::Nothing, CKF_GENERATE_KEY_PAIR | CURVES, EC),
    family(
        Family::EdwardsKeyPairGen,
        &[CKK_EC_EDWARDS],
        Needs::Nothing,
        CKF_GENERATE_KEY_PAIR | CKF_EC_OID | CKF_EC_CURVENAME,
        EDWARDS,
    ),
    family(Family::MlKemKeyPairGen, &[CKK_ML_KEM], Needs::Nothing, CKF_GENERATE_KEY_PAIR, ML_KEM),
    family(
        Family::MontgomeryKeyPairGen,
        &[CKK_EC_MONTGOMERY],
        Needs::Nothing,
        CKF_GENERATE_KEY_PAIR | CKF_EC_OID | CKF_EC_CURVENAME,
        EDWARDS,
    ),
    family(Family::MlDsaKeyPairGen, &[CKK_ML_DSA], Needs::Nothing, CKF_GENERATE_KEY_PAIR, ML_DSA),
    family(Family::MlDsa, &[CKK_ML_DSA], Needs::SignContextOrNothing, SIGNS, ML_DSA),
    family(Family::HashMlDsa, &[CKK_ML_DSA], Needs::HashSignContext, SIGNS, ML_DSA),
    family(Family::HashMlDsaHash, &[CKK_ML_DSA], Needs::SignContextOrNothing, SIGNS, ML_DSA),
    family(Family::SlhDsaKeyPairGen, &[CKK_SLH_DSA], Needs::Nothing, CKF_GENERATE_KEY_PAIR, SLH_DSA),
    family(Family::SlhDsa, &[CKK_SLH_DSA], Needs::SignContextOrNothing, SIGNS, SLH_DSA),
    family(Family::HashSlhDsa, &[CKK_SLH_DSA], Needs::HashSignContext, SIGNS, SLH_DSA),
    family(Family::HashSlhDsaHash, &[CKK_SLH_DSA], Needs::SignContextOrNothing, SIGNS, SLH_DSA),
    family(Family::RsaPkcsHash, &[CKK_RSA], Needs::Nothing, SIGNS, RSA),
    family(Family::RsaPkcs, &[CKK_RSA], Needs::Nothing, SIGNS | RECOVERS | CRYPTS | WRAPS | ENCAPSULATES, RSA),
    family(Family::RsaPss, &[CKK_RSA], Needs::Pss, SIGNS, RSA),
    family(Family::RsaOaep, &[CKK_RSA], Needs::Oaep, CRYPTS | WRAPS | ENCAPSULATES, RSA),
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
    family(Family::AesKeyGen, &[CKK_AES], Needs::Nothing, CKF_GENERATE, AES),
    family(Family::GenericSecretKeyGen, &[CKK_GENERIC_SECRET], Needs::Nothing, CKF_GENERATE, GENERIC),
    family(Family::HmacKeyGen, &[], Needs::Nothing, CKF_GENERATE, MAC_KEY_GEN),
    family(Family::AesEcb, &[CKK_AES], Needs::Nothing, CRYPTS, AES),
    family(Family::AesCbc, &[CKK_AES], Needs::Iv, CRYPTS, AES),
    family(Family::AesCbcPad, &[CKK_AES], Needs::Iv, CRYPTS | WRAPS, AES),
    family(Family::AesCts, &[CKK_AES], Needs::Iv, CRYPTS, AES),
    family(Family::AesCtr, &[CKK_AES], Needs::Ctr, CRYPTS, AES),
    family(Family::AesGcm, &[CKK_AES], Needs::Gcm, CRYPTS | CRYPTS_MESSAGES | WRAPS, AES),
    family(Family::AesCcm, &[CKK_AES], Needs::Ccm, CRYPTS | CRYPTS_MESSAGES | WRAPS, AES),
    family(Family::AesOfb, &[CKK_AES], Needs::Iv, CRYPTS, AES),
    family(Family::AesCfb128, &[CKK_AES], Needs::Iv, CRYPTS, AES),
    family(Family::AesCfb8, &[CKK_AES], Needs::Iv, CRYPTS, AES),
    family(Family::AesCfb1, &[CKK_AES], Needs::Iv, CRYPTS, AES),
    family(Family::AesKeyWrap, &[CKK_AES], Needs::HalfBlockOrNothing, CRYPTS | WRAPS, AES),
    family(Family::AesKeyWrapPadded, &[CKK_AES], Needs::QuarterBlockOrNothing, CRYPTS | WRAPS, AES),
    family(Family::AesKeyWrapPkcs7, &[CKK_AES], Needs::HalfBlockOrNothing, CRYPTS | WRAPS, AES),
    // Each takes the keys of its own hash as well.
    family(Family::Hmac, &[CKK_GENERIC_SECRET], Needs::Nothing, SIGNS, MAC),
    family(Family::HmacGeneral, &[CKK_GENERIC_SECRET], Needs::MacLength, SIGNS, MAC),
    family(Family::AesCmac, &[CKK_AES], Needs::Nothing, SIGNS, AES),
    family(Family::AesCmacGeneral, &[CKK_AES], Needs::MacLength, SIGNS, AES),
    // With one IV for many messages it would give its hash key away.
    family(Family::AesGmac, &[CKK_AES], Needs::Gcm, CKF_SIGN | CKF_VERIFY, AES),
    family(Family::ChaCha20KeyGen, &[CKK_CHACHA20], Needs::Nothing, CKF_GENERATE, CHACHA20_BYTES),
    // It wraps no keys, as AES in counter mode does not: whoever flips bits of what it wrapped, flips bits of the key.
    family(Family::ChaCha20, &[CKK_CHACHA20], Needs::ChaCha20, CRYPTS, CHACHA20),
    family(Family::ChaCha20Poly1305, &[CKK_CHACHA20], Needs::ChaCha20Poly1305, CRYPTS | CRYPTS_MESSAGES, CHACHA20),
    family(Family::HotpKeyGen, &[CKK_HOTP], Needs::Nothing, CKF_GENERATE, HOTP),
    // A password is of no message.
    family(Family::Hotp, &[CKK_HOTP], Needs::OtpOrNothing, CKF_SIGN | CKF_VERIFY, HOTP),
    // Its template says of which type the key is.
    family(Family::Pbkdf2, &[], Needs::Password, CKF_GENERATE, MAC),
    family(Family::DhKeyPairGen, &[CKK_DH], Needs::Nothing, CKF_GENERATE_KEY_PAIR, DH),
    family(Family::Dh, &[CKK_DH], Needs::Derivation, CKF_DERIVE, DH),
    family(
        Family::Ecdh,
        &[CKK_EC, CKK_EC_MONTGOMERY],
        Needs::Derivation,
        CKF_DERIVE | ENCAPSULATES | CURVES,
        (255, 521),
    ),
    family(Family::EcdhCofactor, &[CKK_EC], Needs::Derivation, CKF_DERIVE | ENCAPSULATES | CURVES, EC),
    family(Family::MlKem, &[CKK_ML_KEM], Needs::Nothing, ENCAPSULATES, ML_KEM),
    family(Family::TlsMaster, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, (48, 48)),
    family(Family::TlsMasterDh, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::TlsExtendedMaster, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, (48, 48)),
    family(Family::TlsExtendedMasterDh, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::TlsKeys, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::TlsKeysSafe, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::TlsKdf, &[CKK_GENERIC_SECRET], Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::TlsMac, &[CKK_GENERIC_SECRET], Needs::TlsMac, CKF_SIGN | CKF_VERIFY, MAC),
    family(Family::IkePrf, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::Ike1Prf, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::Ike1Extended, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::Ike2PrfPlus, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::HkdfKeyGen, &[CKK_HKDF], Needs::Nothing, CKF_GENERATE, MAC_KEY_GEN),
    family(Family::Hkdf, HKDF_KEYS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::HkdfData, HKDF_KEYS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::Sp800Counter, SECRETS, Needs::Derivation, CKF_DERIVE, BITS),
    family(Family::Sp800Feedback, SECRETS, Needs::Derivation, CKF_DERIVE, BITS),
    family(Family::Sp800DoublePipeline, SECRETS, Needs::Derivation, CKF_DERIVE, BITS),
    family(Family::HashDerive, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::ConcatenateKey, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::BaseAndData, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::DataAndBase, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::XorData, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::ExtractKey, SECRETS, Needs::Derivation, CKF_DERIVE, MAC),
    family(Family::AesEcbData, &[CKK_AES], Needs::Derivation, CKF_DERIVE, AES),
    family(Family::AesCbcData, &[CKK_AES], Needs::Derivation, CKF_DERIVE, AES),
    family(Family::RsaAesKeyWrap, &[CKK_RSA], Needs::RsaAesKeyWrap, WRAPS, RSA),
    family(Family::EcdhAesKeyWrap, &[CKK_EC, CKK_EC_MONTGOMERY], Needs::EcdhAesKeyWrap, WRAPS | CURVES, (255, 521)),
    family(Family::EcdhCofactorAesKeyWrap, &[CKK_EC], Needs::EcdhAesKeyWrap, WRAPS | CURVES, EC),
    family(Family::EcdhMontgomeryAesKeyWrap, &[CKK_EC_MONTGOMERY], Needs::EcdhAesKeyWrap, WRAPS | CURVES, EDWARDS),
    family(Family::PublicFromPrivate, PRIVATES, Needs::Derivation, CKF_DERIVE, (255, 8192)),
];

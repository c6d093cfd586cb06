//! Mechanism parameters, checked and typed.

use super::chacha20;
use super::derive_params::{Derivation, GivenDerivation, shared_secret_kdf};
use super::family::Needs;
use super::hotp::{GivenOtp, OtpParams};
use super::table::Mechanism;
use crate::crypto::{AES_BLOCK_LEN, AesMode, ChaCha20Mode, Hash, SharedSecretKdf};
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// A parameter as the caller gave it, read from memory but not yet checked.
#[derive(Clone, Debug)]
pub enum Given {
    /// No parameter.
    Nothing,
    /// `CK_RSA_PKCS_PSS_PARAMS`.
    Pss {
        /// `hashAlg`.
        hash: CK_MECHANISM_TYPE,
        /// `mgf`.
        mgf: CK_RSA_PKCS_MGF_TYPE,
        /// `sLen`, in bytes.
        salt_len: CK_ULONG,
    },
    /// `CK_RSA_PKCS_OAEP_PARAMS`.
    Oaep {
        /// `hashAlg`.
        hash: CK_MECHANISM_TYPE,
        /// `mgf`.
        mgf: CK_RSA_PKCS_MGF_TYPE,
        /// `source`.
        source: CK_RSA_PKCS_OAEP_SOURCE_TYPE,
        /// `pSourceData`.
        label: Vec<u8>,
    },
    /// `CK_EDDSA_PARAMS`.
    Eddsa {
        /// `phFlag`.
        prehash: bool,
        /// `pContextData`.
        context: Vec<u8>,
    },
    /// `CK_SIGN_ADDITIONAL_CONTEXT`, or `CK_HASH_SIGN_ADDITIONAL_CONTEXT`.
    SignContext {
        /// `hedgeVariant`.
        hedge: CK_HEDGE_TYPE,
        /// `pContext`.
        context: Vec<u8>,
        /// `hash`, which the second of them has.
        hash: Option<CK_MECHANISM_TYPE>,
    },
    /// An initialisation vector.
    Bytes(Vec<u8>),
    /// `CK_MAC_GENERAL_PARAMS`.
    Number(CK_ULONG),
    /// `CK_TLS_MAC_PARAMS`.
    TlsMac {
        /// `prfHashMechanism`.
        hash: CK_MECHANISM_TYPE,
        /// `ulMacLength`, in bytes.
        len: CK_ULONG,
        /// `ulServerOrClient`.
        side: CK_ULONG,
    },
    /// `CK_AES_CTR_PARAMS`.
    Ctr {
        /// `ulCounterBits`.
        counter_bits: CK_ULONG,
        /// `cb`.
        block: [u8; 16],
    },
    /// `CK_GCM_PARAMS`; `ulIvBits` says nothing that `ulIvLen` does not.
    Gcm {
        /// `pIv`.
        iv: Vec<u8>,
        /// `pAAD`.
        aad: Vec<u8>,
        /// `ulTagBits`.
        tag_bits: CK_ULONG,
    },
    /// `CK_CCM_PARAMS`.
    Ccm {
        /// `ulDataLen`, in bytes.
        data_len: CK_ULONG,
        /// `pNonce`.
        nonce: Vec<u8>,
        /// `pAAD`.
        aad: Vec<u8>,
        /// `ulMACLen`, in bytes.
        mac_len: CK_ULONG,
    },
    /// `CK_CHACHA20_PARAMS`.
    ChaCha20 {
        /// `pBlockCounter`.
        counter: Vec<u8>,
        /// `pNonce`.
        nonce: Vec<u8>,
    },
    /// `CK_SALSA20_CHACHA20_POLY1305_PARAMS`.
    ChaCha20Poly1305 {
        /// `pNonce`.
        nonce: Vec<u8>,
        /// `pAAD`.
        aad: Vec<u8>,
    },
    /// `CK_OTP_PARAMS`.
    Otp(Vec<GivenOtp>),
    /// What a derivation takes.
    Derivation(GivenDerivation),
    /// `CK_RSA_AES_KEY_WRAP_PARAMS`.
    RsaAesKeyWrap {
        /// `ulAESKeyBits`.
        key_bits: CK_ULONG,
        /// `pOAEPParams`, as [`Given::Oaep`].
        oaep: Box<Given>,
    },
    /// `CK_ECDH_AES_KEY_WRAP_PARAMS`.
    EcdhAesKeyWrap {
        /// `ulAESKeyBits`.
        key_bits: CK_ULONG,
        /// `kdf`.
        kdf: CK_EC_KDF_TYPE,
        /// `pSharedData`.
        shared: Vec<u8>,
    },
    /// Bytes that are none of these.
    Other,
}

/// A checked parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Params {
    /// The mechanism takes none.
    Nothing,
    /// RSASSA-PSS.
    Pss {
        /// Of the message.
        hash: Hash,
        /// Of the mask generation function.
        mgf: Hash,
        /// In bytes.
        salt_len: usize,
    },
    /// RSAES-OAEP.
    Oaep {
        /// Of the label.
        hash: Hash,
        /// Of the mask generation function.
        mgf: Hash,
        /// May be empty.
        label: Vec<u8>,
    },
    /// EdDSA as in RFC 8032: pure without a parameter, with a context, or of a digest.
    Eddsa(Eddsa),
    /// ML-DSA and SLH-DSA.
    SignContext {
        /// Of 0 to 255 bytes.
        context: Vec<u8>,
        /// Of a message that comes hashed.
        hash: Option<Hash>,
        /// `hedgeVariant`, which only signing looks at.
        hedge: CK_HEDGE_TYPE,
    },
    /// An initialisation vector of one block.
    Iv([u8; AES_BLOCK_LEN]),
    /// An initial value of key wrap.
    HalfBlock([u8; 8]),
    /// The first half of an initial value of key wrap with padding.
    QuarterBlock([u8; 4]),
    /// Counter mode.
    Ctr {
        /// How many bits count.
        counter_bits: u32,
        /// The first counter block.
        block: [u8; AES_BLOCK_LEN],
    },
    /// GCM and GMAC.
    Gcm {
        /// The initialisation vector.
        iv: Vec<u8>,
        /// Authenticated, not encrypted.
        aad: Vec<u8>,
        /// In bytes.
        tag_len: usize,
    },
    /// CCM.
    Ccm {
        /// Of the plaintext, in bytes.
        data_len: usize,
        /// The nonce.
        nonce: Vec<u8>,
        /// Authenticated, not encrypted.
        aad: Vec<u8>,
        /// In bytes.
        mac_len: usize,
    },
    /// The length of a MAC in bytes.
    MacLength(usize),
    /// What ends a handshake of TLS.
    TlsMac {
        /// Of the pseudo-random function.
        hash: Hash,
        /// In bytes.
        len: usize,
        /// Whether it is the server's.
        server: bool,
    },
    /// ChaCha20, alone or with Poly1305.
    ChaCha20(ChaCha20Mode),
    /// One-time passwords.
    Otp(OtpParams),
    /// Of a derivation.
    Derivation(Derivation),
    /// RSA with AES key wrap.
    RsaAesKeyWrap {
        /// Of the random AES key, in bytes.
        key_len: usize,
        /// How it is encrypted, as [`Params::Oaep`].
        oaep: Box<Params>,
    },
    /// Diffie-Hellman with AES key wrap.
    EcdhAesKeyWrap {
        /// Of the derived AES key, in bytes.
        key_len: usize,
        /// How it is derived; `None` if it is a part of the shared secret.
        kdf: Option<SharedSecretKdf>,
        /// What both parties know.
        shared: Vec<u8>,
    },
}

/// The variants of EdDSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eddsa {
    /// Ed25519, or Ed448 with an empty context.
    Pure,
    /// Ed25519ctx, or Ed448, with a context of 1 to 255 bytes.
    Context(Vec<u8>),
    /// Ed25519ph or Ed448ph, with a context of 0 to 255 bytes.
    Prehash(Vec<u8>),
}

/// The digest mechanisms and mask generation functions that parameters name hashes by.
const HASHES: &[(CK_MECHANISM_TYPE, Option<CK_RSA_PKCS_MGF_TYPE>, Hash)] = &[
    (CKM_SHA_1, Some(CKG_MGF1_SHA1), Hash::Sha1),
    (CKM_SHA224, Some(CKG_MGF1_SHA224), Hash::Sha224),
    (CKM_SHA256, Some(CKG_MGF1_SHA256), Hash::Sha256),
    (CKM_SHA384, Some(CKG_MGF1_SHA384), Hash::Sha384),
    (CKM_SHA512, Some(CKG_MGF1_SHA512), Hash::Sha512),
    (CKM_SHA512_224, None, Hash::Sha512_224),
    (CKM_SHA512_256, None, Hash::Sha512_256),
    (CKM_SHA3_224, Some(CKG_MGF1_SHA3_224), Hash::Sha3_224),
    (CKM_SHA3_256, Some(CKG_MGF1_SHA3_256), Hash::Sha3_256),
    (CKM_SHA3_384, Some(CKG_MGF1_SHA3_384), Hash::Sha3_384),
    (CKM_SHA3_512, Some(CKG_MGF1_SHA3_512), Hash::Sha3_512),
];

pub(super) fn hash(mechanism: CK_MECHANISM_TYPE) -> Result<Hash> {
    let row = HASHES.iter().find(|row| row.0 == mechanism);
    row.map(|row| row.2).ok_or_else(|| Cause::MechanismParamInvalid.with(format!("hashAlg {mechanism:#x}")))
}

fn mgf(function: CK_RSA_PKCS_MGF_TYPE) -> Result<Hash> {
    let row = HASHES.iter().find(|row| row.1 == Some(function));
    row.map(|row| row.2).ok_or_else(|| Cause::MechanismParamInvalid.with(format!("mgf {function:#x}")))
}

/// The longest context of RFC 8032 and FIPS 204, in bytes.
const MAX_CONTEXT: usize = 255;

impl Params {
    /// Checks a parameter against what the mechanism takes. `MechanismParamInvalid` if it does not fit.
    pub fn check(mechanism: &Mechanism, given: &Given) -> Result<Self> {
        let bad = |what: &'static str| Cause::MechanismParamInvalid.with(format!("{}: {what}", mechanism.name));
        match (mechanism.needs(), given) {
            (Needs::Nothing, Given::Nothing) => Ok(Self::Nothing),
            (Needs::Derivation, Given::Nothing) => Derivation::check(mechanism, None).map(Self::Derivation),
            (Needs::Derivation, Given::Derivation(given)) => {
                Derivation::check(mechanism, Some(given)).map(Self::Derivation)
            }
            (Needs::Pss, Given::Pss { hash: hash_alg, mgf: function, salt_len }) => {
                let hash = hash(*hash_alg)?;
                if mechanism.hash.is_some_and(|own| own != hash) {
                    return Err(bad("hashAlg is not the mechanism's own hash"));
                }
                // No key is so large that a longer salt could fit; the key's own limit is checked later.
                let salt_len = usize::try_from(*salt_len).ok().filter(|len| *len <= 1024).ok_or_else(|| bad("sLen"))?;
                Ok(Self::Pss { hash, mgf: mgf(*function)?, salt_len })
            }
            (Needs::RsaAesKeyWrap, Given::RsaAesKeyWrap { key_bits, oaep }) => {
                let key_len = aes_len(*key_bits).ok_or_else(|| bad("ulAESKeyBits"))?;
                Ok(Self::RsaAesKeyWrap { key_len, oaep: Box::new(Self::oaep(oaep).ok_or_else(|| bad("pOAEPParams"))?) })
            }
            (Needs::EcdhAesKeyWrap, Given::EcdhAesKeyWrap { key_bits, kdf, shared }) => {
                let key_len = aes_len(*key_bits).ok_or_else(|| bad("ulAESKeyBits"))?;
                let kdf = shared_secret_kdf(*kdf, shared)?;
                Ok(Self::EcdhAesKeyWrap { key_len, kdf, shared: shared.clone() })
            }
            (Needs::Oaep, given) => Self::oaep(given).ok_or_else(|| bad("CK_RSA_PKCS_OAEP_PARAMS")),
            (Needs::EddsaOrNothing, Given::Nothing) => Ok(Self::Eddsa(Eddsa::Pure)),
            (Needs::EddsaOrNothing, Given::Eddsa { prehash, context }) if context.len() <= MAX_CONTEXT => {
                Ok(Self::Eddsa(match (prehash, context.is_empty()) {
                    (true, _) => Eddsa::Prehash(context.clone()),
                    (false, false) => Eddsa::Context(context.clone()),
                    // Ed25519ctx with an empty context does not exist; clients mean the pure variant.
                    (false, true) => Eddsa::Pure,
                }))
            }
            (Needs::SignContextOrNothing, Given::Nothing) => {
                Ok(Self::SignContext { context: Vec::new(), hash: None, hedge: CKH_HEDGE_PREFERRED })
            }
            (Needs::SignContextOrNothing, Given::SignContext { hedge, context, hash: None })
                if context.len() <= MAX_CONTEXT =>
            {
                Ok(Self::SignContext { context: context.clone(), hash: None, hedge: *hedge })
            }
            (Needs::HashSignContext, Given::SignContext { hedge, context, hash: Some(hash_alg) })
                if context.len() <= MAX_CONTEXT =>
            {
                // Whoever finds two messages with one digest has a signature of both.
                let hash = hash(*hash_alg).ok().filter(|hash| *hash != Hash::Sha1).ok_or_else(|| bad("hash"))?;
                Ok(Self::SignContext { context: context.clone(), hash: Some(hash), hedge: *hedge })
            }
            (Needs::Iv, Given::Bytes(iv)) => Ok(Self::Iv(exactly(iv).ok_or_else(|| bad("IV length"))?)),
            (Needs::HalfBlockOrNothing, Given::Nothing) => Ok(Self::HalfBlock(AesMode::KEY_WRAP_IV)),
            (Needs::HalfBlockOrNothing, Given::Bytes(iv)) => {
                Ok(Self::HalfBlock(exactly(iv).ok_or_else(|| bad("IV length"))?))
            }
            (Needs::QuarterBlockOrNothing, Given::Nothing) => Ok(Self::QuarterBlock(AesMode::KEY_WRAP_PADDED_IV)),
            (Needs::QuarterBlockOrNothing, Given::Bytes(iv)) => {
                Ok(Self::QuarterBlock(exactly(iv).ok_or_else(|| bad("IV length"))?))
            }
            (Needs::Ctr, Given::Ctr { counter_bits, block }) => {
                let counter_bits = u32::try_from(*counter_bits).map_err(|_| bad("ulCounterBits"))?;
                Ok(Self::Ctr { counter_bits, block: *block })
            }
            (Needs::Gcm, Given::Gcm { iv, aad, tag_bits }) => {
                let tag_bits = usize::try_from(*tag_bits).ok().filter(|bits| bits.is_multiple_of(8));
                let tag_len = tag_bits.ok_or_else(|| bad("ulTagBits"))? / 8;
                Ok(Self::Gcm { iv: iv.clone(), aad: aad.clone(), tag_len })
            }
            (Needs::Ccm, Given::Ccm { data_len, nonce, aad, mac_len }) => {
                let data_len = usize::try_from(*data_len).map_err(|_| bad("ulDataLen"))?;
                let mac_len = usize::try_from(*mac_len).map_err(|_| bad("ulMACLen"))?;
                Ok(Self::Ccm { data_len, nonce: nonce.clone(), aad: aad.clone(), mac_len })
            }
            (Needs::ChaCha20, Given::ChaCha20 { counter, nonce }) => {
                Ok(Self::ChaCha20(chacha20::stream(counter, nonce).ok_or_else(|| bad("counter or nonce"))?))
            }
            (Needs::ChaCha20Poly1305, Given::ChaCha20Poly1305 { nonce, aad }) => {
                Ok(Self::ChaCha20(chacha20::poly1305(nonce, aad).ok_or_else(|| bad("nonce"))?))
            }
            (Needs::TlsMac, Given::TlsMac { hash: said, len, side: side @ (1 | 2) }) => {
                let len = usize::try_from(*len).map_err(|_| bad("ulMacLength"))?;
                Ok(Self::TlsMac { hash: hash(*said)?, len, server: *side == 1 })
            }
            (Needs::OtpOrNothing, Given::Nothing) => Ok(Self::Otp(OtpParams::default())),
            (Needs::OtpOrNothing, Given::Otp(given)) => OtpParams::check(given).map(Self::Otp),
            (Needs::MacLength, Given::Number(len)) => {
                Ok(Self::MacLength(usize::try_from(*len).map_err(|_| bad("MAC length"))?))
            }
            _ => Err(bad("wrong or missing parameter")),
        }
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

impl Params {
    /// Checks what a parameter says of making signatures, which verifying them ignores.
    pub(super) fn check_signing(&self) -> Result<()> {
        match self {
            Self::SignContext {
                hedge: CKH_HEDGE_PREFERRED | CKH_HEDGE_REQUIRED | CKH_DETERMINISTIC_REQUIRED, ..
            } => Ok(()),
            Self::SignContext { .. } => Err(Cause::MechanismParamInvalid.with("hedgeVariant")),
            _ => Ok(()),
        }
    }

    fn oaep(given: &Given) -> Option<Self> {
        let Given::Oaep { hash: hash_alg, mgf: function, source, label } = given else { return None };
        let (hash, mgf) = (hash(*hash_alg).ok()?, mgf(*function).ok()?);
        match *source {
            // Some clients leave `source` at zero when there is no label.
            0 if label.is_empty() => Some(Self::Oaep { hash, mgf, label: vec![] }),
            CKZ_DATA_SPECIFIED => Some(Self::Oaep { hash, mgf, label: label.clone() }),
            _ => None,
        }
    }
}

/// The length in bytes of an AES key of so many bits.
fn aes_len(bits: CK_ULONG) -> Option<usize> {
    matches!(bits, 128 | 192 | 256).then_some(bits as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::find;

    fn check(mechanism: CK_MECHANISM_TYPE, given: Given) -> Result<Params> {
        Params::check(find(mechanism).unwrap(), &given)
    }

    #[test]
    fn parameters_must_be_there_exactly_where_they_belong() {
        let pss = Given::Pss { hash: CKM_SHA256, mgf: CKG_MGF1_SHA256, salt_len: 32 };
        for (mechanism, given) in [
            (CKM_RSA_PKCS_PSS, Given::Nothing),
            (CKM_RSA_PKCS_OAEP, Given::Nothing),
            (CKM_RSA_PKCS, pss.clone()),
            (CKM_ECDSA, Given::Other),
            (CKM_SHA1_RSA_PKCS_PSS, pss.clone()),
            (CKM_RSA_PKCS_PSS, Given::Pss { hash: CKM_SHA256, mgf: 99, salt_len: 32 }),
            (CKM_RSA_PKCS_PSS, Given::Pss { hash: CKM_MD5, mgf: CKG_MGF1_SHA1, salt_len: 32 }),
            (CKM_RSA_PKCS_PSS, Given::Pss { hash: CKM_SHA256, mgf: CKG_MGF1_SHA256, salt_len: CK_ULONG::MAX }),
            (CKM_EDDSA, Given::Eddsa { prehash: false, context: vec![0; 256] }),
            (CKM_AES_ECB, Given::Other),
            (CKM_AES_CBC, Given::Nothing),
            (CKM_AES_CBC, Given::Bytes(vec![0; 15])),
            (CKM_AES_CBC_PAD, Given::Bytes(vec![0; 17])),
            (CKM_AES_KEY_WRAP, Given::Bytes(vec![0; 4])),
            (CKM_AES_KEY_WRAP_KWP, Given::Bytes(vec![0; 8])),
            (CKM_AES_GCM, Given::Nothing),
            (CKM_AES_GCM, Given::Gcm { iv: vec![0; 12], aad: vec![], tag_bits: 100 }),
            (CKM_SHA256_HMAC, Given::Number(16)),
            (CKM_SHA256_HMAC_GENERAL, Given::Nothing),
        ] {
            assert_eq!(check(mechanism, given).unwrap_err().cause(), Cause::MechanismParamInvalid, "{mechanism:#x}");
        }
        let mixed = Given::Pss { hash: CKM_SHA256, mgf: CKG_MGF1_SHA1, salt_len: 0 };
        assert_eq!(
            check(CKM_SHA256_RSA_PKCS_PSS, mixed).unwrap(),
            Params::Pss { hash: Hash::Sha256, mgf: Hash::Sha1, salt_len: 0 }
        );
    }

    #[test]
    fn oaep_takes_a_label_only_from_its_source() {
        let oaep =
            |source, label: &[u8]| Given::Oaep { hash: CKM_SHA_1, mgf: CKG_MGF1_SHA1, source, label: label.to_vec() };
        assert!(check(CKM_RSA_PKCS_OAEP, oaep(0, b"")).is_ok());
        assert!(check(CKM_RSA_PKCS_OAEP, oaep(CKZ_DATA_SPECIFIED, b"label")).is_ok());
        assert!(check(CKM_RSA_PKCS_OAEP, oaep(0, b"label")).is_err());
        assert!(check(CKM_RSA_PKCS_OAEP, oaep(2, b"")).is_err());
    }
}

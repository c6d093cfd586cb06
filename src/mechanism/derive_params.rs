//! The parameters of derivations, checked and typed.

use super::family::Family;
use super::ike::Ike;
use super::params::hash;
use super::table::Mechanism;
use super::tls::{GivenSizes, Randoms, Tls};
use crate::crypto::sp800_108::{LengthMethod, NumberFormat};
use crate::crypto::{AES_BLOCK_LEN, Hash, MacAlgorithm, SharedSecretKdf};
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// The parameter of a derivation as the caller gave it.
#[derive(Clone, Debug)]
pub enum GivenDerivation {
    /// `CK_ECDH1_DERIVE_PARAMS`.
    Ecdh {
        /// `kdf`.
        kdf: CK_EC_KDF_TYPE,
        /// `pSharedData`.
        shared: Vec<u8>,
        /// `pPublicData`.
        public: Vec<u8>,
    },
    /// `CK_HKDF_PARAMS`.
    Hkdf {
        /// `bExtract`.
        extract: bool,
        /// `bExpand`.
        expand: bool,
        /// `prfHashMechanism`.
        hash: CK_MECHANISM_TYPE,
        /// `ulSaltType`.
        salt_type: CK_ULONG,
        /// `pSalt`.
        salt: Vec<u8>,
        /// `hSaltKey`.
        salt_key: CK_OBJECT_HANDLE,
        /// `pInfo`.
        info: Vec<u8>,
    },
    /// `CK_SP800_108_KDF_PARAMS` and `CK_SP800_108_FEEDBACK_KDF_PARAMS`.
    Sp800 {
        /// `prfType`.
        prf: CK_MECHANISM_TYPE,
        /// `pDataParams`.
        fields: Vec<GivenField>,
        /// `pIV`.
        iv: Vec<u8>,
    },
    /// `CK_KEY_DERIVATION_STRING_DATA`.
    Data(Vec<u8>),
    /// The other party's public number, which is the whole parameter.
    Dh(Vec<u8>),
    /// `CK_TLS12_MASTER_KEY_DERIVE_PARAMS`.
    TlsMaster {
        /// `prfHashMechanism`.
        hash: CK_MECHANISM_TYPE,
        /// `RandomInfo`.
        randoms: Randoms,
        /// Whether `pVersion` is not NULL.
        wants_version: bool,
    },
    /// `CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS`.
    TlsExtendedMaster {
        /// `prfHashMechanism`.
        hash: CK_MECHANISM_TYPE,
        /// `pSessionHash`.
        session: Vec<u8>,
        /// Whether `pVersion` is not NULL.
        wants_version: bool,
    },
    /// `CK_TLS12_KEY_MAT_PARAMS`.
    TlsKeys {
        /// `prfHashMechanism`.
        hash: CK_MECHANISM_TYPE,
        /// How long they are.
        sizes: GivenSizes,
        /// `bIsExport`.
        is_export: bool,
        /// `RandomInfo`.
        randoms: Randoms,
    },
    /// `CK_TLS_KDF_PARAMS`.
    TlsKdf {
        /// `prfMechanism`.
        hash: CK_MECHANISM_TYPE,
        /// `pLabel`.
        label: Vec<u8>,
        /// `RandomInfo`.
        randoms: Randoms,
        /// `pContextData`.
        context: Option<Vec<u8>>,
    },
    /// `CK_IKE_PRF_DERIVE_PARAMS`.
    IkePrf {
        /// `prfMechanism`.
        prf: CK_MECHANISM_TYPE,
        /// `bDataAsKey`.
        data_as_key: bool,
        /// `pNi` and `pNr`.
        nonces: [Vec<u8>; 2],
        /// `hNewKey`, with `bRekey`.
        new_key: Option<CK_OBJECT_HANDLE>,
    },
    /// `CK_IKE1_PRF_DERIVE_PARAMS`.
    Ike1Prf {
        /// `prfMechanism`.
        prf: CK_MECHANISM_TYPE,
        /// `hPrevKey`, with `bHasPrevKey`.
        previous: Option<CK_OBJECT_HANDLE>,
        /// `hKeygxy`.
        shared: CK_OBJECT_HANDLE,
        /// `pCKYi` and `pCKYr`.
        cookies: [Vec<u8>; 2],
        /// `keyNumber`.
        number: u8,
    },
    /// `CK_IKE1_EXTENDED_DERIVE_PARAMS` and `CK_IKE2_PRF_PLUS_DERIVE_PARAMS`.
    IkeSeeded {
        /// `prfMechanism`.
        prf: CK_MECHANISM_TYPE,
        /// `hKeygxy` or `hSeedKey`, if there is one.
        key: Option<CK_OBJECT_HANDLE>,
        /// `pExtraData` or `pSeedData`.
        data: Vec<u8>,
    },
    /// `CK_EXTRACT_PARAMS`, or a handle.
    Number(CK_ULONG),
    /// `CK_AES_CBC_ENCRYPT_DATA_PARAMS`.
    Cbc {
        /// `iv`.
        iv: [u8; AES_BLOCK_LEN],
        /// `pData`.
        data: Vec<u8>,
    },
}

/// `CK_PRF_DATA_PARAM`, by its type.
#[derive(Clone, Debug)]
pub enum GivenField {
    /// `CK_SP800_108_ITERATION_VARIABLE` with a counter's format or with nothing.
    Iteration(Option<(bool, CK_ULONG)>),
    /// `CK_SP800_108_COUNTER` with its format: little-endian, width in bits.
    Counter(bool, CK_ULONG),
    /// `CK_SP800_108_DKM_LENGTH` with its method and format.
    Length(CK_ULONG, bool, CK_ULONG),
    /// `CK_SP800_108_BYTE_ARRAY`.
    Bytes(Vec<u8>),
    /// `CK_SP800_108_KEY_HANDLE`.
    Key(CK_OBJECT_HANDLE),
}

/// A derivation with its checked parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// Diffie-Hellman on a curve.
    Ecdh {
        /// How the shared secret becomes a key; `None` if it is the key.
        kdf: Option<SharedSecretKdf>,
        /// What both parties know.
        shared: Vec<u8>,
        /// The other party's public key, as the caller encodes it. Empty for key encapsulation.
        public: Vec<u8>,
    },
    /// Finite-field Diffie-Hellman with this public number.
    Dh(Vec<u8>),
    /// HKDF (RFC 5869): one of its steps, or both.
    Hkdf {
        /// The hash function.
        hash: Hash,
        /// Whether a pseudo-random key is extracted first.
        extract: bool,
        /// Whether it is expanded.
        expand: bool,
        /// Of the extraction.
        salt: Salt,
        /// Of the expansion.
        info: Vec<u8>,
    },
    /// SP 800-108.
    Sp800 {
        /// HMAC or AES-CMAC.
        prf: MacAlgorithm,
        /// The mode.
        mode: Mode,
        /// The input of each iteration.
        fields: Vec<Field>,
    },
    /// The digest of the base key.
    Hash(Hash),
    /// The base key and then another.
    ConcatenateKey(CK_OBJECT_HANDLE),
    /// The base key and then data.
    BaseAndData(Vec<u8>),
    /// Data and then the base key.
    DataAndBase(Vec<u8>),
    /// The base key XOR data.
    Xor(Vec<u8>),
    /// Bits of the base key from one on.
    Extract(usize),
    /// Data encrypted with AES-ECB.
    AesEcb(Vec<u8>),
    /// Data encrypted with AES-CBC.
    AesCbc {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
        /// Whole blocks.
        data: Vec<u8>,
    },
    /// The public key of a private one.
    PublicKey,
    /// As TLS does it.
    Tls(Tls),
    /// As IKE does it.
    Ike(Ike),
}

/// The salt of HKDF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Salt {
    /// None.
    Nothing,
    /// These bytes.
    Data(Vec<u8>),
    /// The value of a key.
    Key(CK_OBJECT_HANDLE),
}

/// The modes of SP 800-108.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Section 4.1.
    Counter,
    /// Section 4.2, with its initialisation vector.
    Feedback(Vec<u8>),
    /// Section 4.3.
    DoublePipeline,
}

/// A part of the input of an iteration of SP 800-108.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The counter.
    Counter(NumberFormat),
    /// What the last iteration made.
    Iteration,
    /// The length of what is derived.
    Length(LengthMethod, NumberFormat),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The value of a key.
    Key(CK_OBJECT_HANDLE),
}

/// The numbers of the key derivation functions of `CK_EC_KDF_TYPE`.
const KDFS: &[(CK_EC_KDF_TYPE, CK_EC_KDF_TYPE, Hash)] = &[
    (CKD_SHA1_KDF, CKD_SHA1_KDF_SP800, Hash::Sha1),
    (CKD_SHA224_KDF, CKD_SHA224_KDF_SP800, Hash::Sha224),
    (CKD_SHA256_KDF, CKD_SHA256_KDF_SP800, Hash::Sha256),
    (CKD_SHA384_KDF, CKD_SHA384_KDF_SP800, Hash::Sha384),
    (CKD_SHA512_KDF, CKD_SHA512_KDF_SP800, Hash::Sha512),
    (CKD_SHA3_224_KDF, CKD_SHA3_224_KDF_SP800, Hash::Sha3_224),
    (CKD_SHA3_256_KDF, CKD_SHA3_256_KDF_SP800, Hash::Sha3_256),
    (CKD_SHA3_384_KDF, CKD_SHA3_384_KDF_SP800, Hash::Sha3_384),
    (CKD_SHA3_512_KDF, CKD_SHA3_512_KDF_SP800, Hash::Sha3_512),
];

/// The HMAC mechanisms, by their hash functions.
pub(super) const HMACS: &[(CK_MECHANISM_TYPE, Hash)] = &[
    (CKM_SHA_1_HMAC, Hash::Sha1),
    (CKM_SHA224_HMAC, Hash::Sha224),
    (CKM_SHA256_HMAC, Hash::Sha256),
    (CKM_SHA384_HMAC, Hash::Sha384),
    (CKM_SHA512_HMAC, Hash::Sha512),
    (CKM_SHA512_224_HMAC, Hash::Sha512_224),
    (CKM_SHA512_256_HMAC, Hash::Sha512_256),
    (CKM_SHA3_224_HMAC, Hash::Sha3_224),
    (CKM_SHA3_256_HMAC, Hash::Sha3_256),
    (CKM_SHA3_384_HMAC, Hash::Sha3_384),
    (CKM_SHA3_512_HMAC, Hash::Sha3_512),
];

pub(super) fn hmac(mechanism: CK_MECHANISM_TYPE) -> Option<Hash> {
    HMACS.iter().find(|row| row.0 == mechanism).map(|row| row.1)
}

/// The function that makes a key of a shared secret: `None` for none.
pub(super) fn shared_secret_kdf(kdf: CK_EC_KDF_TYPE, shared: &[u8]) -> Result<Option<SharedSecretKdf>> {
    if kdf == CKD_NULL {
        return match shared {
            [] => Ok(None),
            _ => Err(Cause::MechanismParamInvalid.with("shared data without a key derivation function")),
        };
    }
    let row = KDFS.iter().find_map(|(x963, one_step, hash)| match kdf {
        _ if kdf == *x963 => Some(SharedSecretKdf::X963(*hash)),
        _ if kdf == *one_step => Some(SharedSecretKdf::OneStep(*hash)),
        _ => None,
    });
    row.map(Some).ok_or_else(|| Cause::MechanismParamInvalid.with(format!("kdf {kdf:#x}")))
}

impl Derivation {
    /// Checks the parameter of a derivation. `MechanismParamInvalid` if it is not the mechanism's.
    pub(super) fn check(mechanism: &Mechanism, given: Option<&GivenDerivation>) -> Result<Self> {
        let bad = |what: &'static str| Cause::MechanismParamInvalid.with(format!("{}: {what}", mechanism.name));
        Ok(match (mechanism.family, given) {
            (Family::Ecdh | Family::EcdhCofactor, Some(GivenDerivation::Ecdh { kdf, shared, public })) => {
                let kdf = shared_secret_kdf(*kdf, shared)?;
                Self::Ecdh { kdf, shared: shared.clone(), public: public.clone() }
            }
            (Family::Dh, Some(GivenDerivation::Dh(public))) => Self::Dh(public.clone()),
            (Family::Hkdf | Family::HkdfData, Some(given)) => hkdf(given).ok_or_else(|| bad("CK_HKDF_PARAMS"))?,
            (
                family @ (Family::Sp800Counter | Family::Sp800Feedback | Family::Sp800DoublePipeline),
                Some(GivenDerivation::Sp800 { prf, fields, iv }),
            ) => {
                let prf = match *prf {
                    CKM_AES_CMAC => MacAlgorithm::AesCmac,
                    prf => MacAlgorithm::Hmac(hmac(prf).ok_or_else(|| bad("prfType"))?),
                };
                let mode = match family {
                    Family::Sp800Counter => Mode::Counter,
                    Family::Sp800Feedback => Mode::Feedback(iv.clone()),
                    _ => Mode::DoublePipeline,
                };
                let fields = fields.iter().map(|given| field(&mode, given).ok_or_else(|| bad("pDataParams")));
                Self::Sp800 { prf, fields: fields.collect::<Result<_>>()?, mode }
            }
            (Family::HashDerive, None) => Self::Hash(mechanism.hash.ok_or(Cause::MechanismInvalid)?),
            (Family::ConcatenateKey, Some(GivenDerivation::Number(handle))) => Self::ConcatenateKey(*handle),
            (Family::BaseAndData, Some(GivenDerivation::Data(data))) => Self::BaseAndData(data.clone()),
            (Family::DataAndBase, Some(GivenDerivation::Data(data))) => Self::DataAndBase(data.clone()),
            (Family::XorData, Some(GivenDerivation::Data(data))) => Self::Xor(data.clone()),
            (Family::ExtractKey, Some(GivenDerivation::Number(bit))) => {
                Self::Extract(usize::try_from(*bit).map_err(|_| bad("CK_EXTRACT_PARAMS"))?)
            }
            (Family::AesEcbData, Some(GivenDerivation::Data(data))) => Self::AesEcb(data.clone()),
            (Family::AesCbcData, Some(GivenDerivation::Cbc { iv, data })) => {
                Self::AesCbc { iv: *iv, data: data.clone() }
            }
            (Family::PublicFromPrivate, None) => Self::PublicKey,
            (_, Some(given)) => {
                let tls = || Tls::check(mechanism, given).map(Self::Tls);
                let ike = Ike::check(mechanism, given).map(Self::Ike);
                ike.or_else(tls).ok_or_else(|| bad("wrong or missing parameter"))?
            }
            _ => return Err(bad("wrong or missing parameter")),
        })
    }
}

fn hkdf(given: &GivenDerivation) -> Option<Derivation> {
    let GivenDerivation::Hkdf { extract, expand, hash: hash_mechanism, salt_type, salt, salt_key, info } = given else {
        return None;
    };
    // Some callers name HMAC instead of the hash.
    let hash = hash(*hash_mechanism).ok().or_else(|| hmac(*hash_mechanism))?;
    let salt = match *salt_type {
        // Callers that do not extract often leave the type at zero.
        0 | CKF_HKDF_SALT_NULL => Salt::Nothing,
        CKF_HKDF_SALT_DATA if *extract => Salt::Data(salt.clone()),
        CKF_HKDF_SALT_KEY if *extract => Salt::Key(*salt_key),
        _ => return None,
    };
    let (extract, expand) = (*extract, *expand);
    (extract || expand).then(|| Derivation::Hkdf { hash, extract, expand, salt, info: info.clone() })
}

fn field(mode: &Mode, given: &GivenField) -> Option<Field> {
    let format =
        |little_endian: bool, bits: CK_ULONG| Some(NumberFormat { little_endian, bits: u32::try_from(bits).ok()? });
    match (given, mode) {
        (GivenField::Iteration(Some((little_endian, bits))), Mode::Counter) => {
            Some(Field::Counter(format(*little_endian, *bits)?))
        }
        (GivenField::Iteration(None), Mode::Feedback(_) | Mode::DoublePipeline) => Some(Field::Iteration),
        (GivenField::Counter(little_endian, bits), Mode::Feedback(_) | Mode::DoublePipeline) => {
            Some(Field::Counter(format(*little_endian, *bits)?))
        }
        (GivenField::Length(method, little_endian, bits), _) => {
            let method = match *method {
                CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS => LengthMethod::SumOfKeys,
                CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS => LengthMethod::SumOfSegments,
                _ => return None,
            };
            Some(Field::Length(method, format(*little_endian, *bits)?))
        }
        (GivenField::Bytes(bytes), _) if !bytes.is_empty() => Some(Field::Bytes(bytes.clone())),
        (GivenField::Key(handle), _) => Some(Field::Key(*handle)),
        _ => None,
    }
}

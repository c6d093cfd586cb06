//! The parameters of derivations, read from the caller's memory.

use super::input::{bytes, structure, value};
use super::output;
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::mechanism::{Family, GivenDerivation, GivenField, GivenSizes, Mechanism, Randoms, find};
use cryptoki_sys::*;

/// The most parts that the input of a key derivation function may have, and the most keys it may make at once.
const MOST: CK_ULONG = 256;

/// The longest public number of Diffie-Hellman, in bytes, with room for a zero in front.
const LONGEST_NUMBER: CK_ULONG = 1025;

/// The parameter of a mechanism that derives keys, which is not empty. `MechanismParamInvalid` if it has another
/// length, or points to nothing.
///
/// # Safety
/// The parameter is null or good for its length, and so is what it points to.
pub(super) unsafe fn parameter(row: &Mechanism, mechanism: &CK_MECHANISM) -> Result<GivenDerivation> {
    let bad = || Cause::MechanismParamInvalid.with(row.name);
    let copy = |pointer: *const CK_BYTE, len: CK_ULONG| {
        // SAFETY: the caller's promise, passed on.
        unsafe { bytes(pointer, len) }.map(<[u8]>::to_vec).map_err(|_| bad())
    };
    // SAFETY: the structures are read only if the length is theirs; the caller promises that they, and what they
    // point to, can be read.
    unsafe {
        Ok(match row.family {
            Family::Ecdh | Family::EcdhCofactor => {
                let ecdh: CK_ECDH1_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let shared = copy(ecdh.pSharedData, ecdh.ulSharedDataLen)?;
                GivenDerivation::Ecdh { kdf: ecdh.kdf, shared, public: copy(ecdh.pPublicData, ecdh.ulPublicDataLen)? }
            }
            // Longer than any of them: not worth a look.
            Family::Dh if mechanism.ulParameterLen > LONGEST_NUMBER => return Err(bad()),
            Family::Dh => GivenDerivation::Dh(copy(mechanism.pParameter.cast(), mechanism.ulParameterLen)?),
            Family::Hkdf | Family::HkdfData => {
                let hkdf: CK_HKDF_PARAMS = structure(mechanism).ok_or_else(bad)?;
                // Only a salt that is data has anything behind its pointer.
                let salt = match hkdf.ulSaltType {
                    CKF_HKDF_SALT_DATA => copy(hkdf.pSalt, hkdf.ulSaltLen)?,
                    _ => Vec::new(),
                };
                GivenDerivation::Hkdf {
                    extract: hkdf.bExtract != CK_FALSE,
                    expand: hkdf.bExpand != CK_FALSE,
                    hash: hkdf.prfHashMechanism,
                    salt_type: hkdf.ulSaltType,
                    salt,
                    salt_key: hkdf.hSaltKey,
                    info: copy(hkdf.pInfo, hkdf.ulInfoLen)?,
                }
            }
            Family::Sp800Counter | Family::Sp800DoublePipeline => {
                let kdf: CK_SP800_108_KDF_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let fields = fields(kdf.pDataParams, kdf.ulNumberOfDataParams).ok_or_else(bad)?;
                GivenDerivation::Sp800 { prf: kdf.prfType, fields, iv: Vec::new() }
            }
            Family::Sp800Feedback => {
                let kdf: CK_SP800_108_FEEDBACK_KDF_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let fields = fields(kdf.pDataParams, kdf.ulNumberOfDataParams).ok_or_else(bad)?;
                GivenDerivation::Sp800 { prf: kdf.prfType, fields, iv: copy(kdf.pIV, kdf.ulIVLen)? }
            }
            Family::TlsMaster | Family::TlsMasterDh => {
                let tls: CK_TLS12_MASTER_KEY_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                GivenDerivation::TlsMaster {
                    hash: tls.prfHashMechanism,
                    randoms: randoms(&tls.RandomInfo).ok_or_else(bad)?,
                    wants_version: !tls.pVersion.is_null(),
                }
            }
            Family::TlsExtendedMaster | Family::TlsExtendedMasterDh => {
                let tls: CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                GivenDerivation::TlsExtendedMaster {
                    hash: tls.prfHashMechanism,
                    session: copy(tls.pSessionHash, tls.ulSessionHashLen)?,
                    wants_version: !tls.pVersion.is_null(),
                }
            }
            Family::TlsKeys | Family::TlsKeysSafe => {
                let tls: CK_TLS12_KEY_MAT_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let sizes = GivenSizes {
                    mac_bits: tls.ulMacSizeInBits,
                    key_bits: tls.ulKeySizeInBits,
                    iv_bits: tls.ulIVSizeInBits,
                };
                GivenDerivation::TlsKeys {
                    hash: tls.prfHashMechanism,
                    sizes,
                    is_export: tls.bIsExport != CK_FALSE,
                    randoms: randoms(&tls.RandomInfo).ok_or_else(bad)?,
                }
            }
            Family::TlsKdf => {
                let tls: CK_TLS_KDF_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let context = copy(tls.pContextData, tls.ulContextDataLength)?;
                GivenDerivation::TlsKdf {
                    hash: tls.prfMechanism,
                    label: copy(tls.pLabel, tls.ulLabelLength)?,
                    randoms: randoms(&tls.RandomInfo).ok_or_else(bad)?,
                    // An empty context is not the same as none (RFC 5705, section 4).
                    context: (!tls.pContextData.is_null()).then_some(context),
                }
            }
            Family::IkePrf => {
                let ike: CK_IKE_PRF_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                GivenDerivation::IkePrf {
                    prf: ike.prfMechanism,
                    data_as_key: ike.bDataAsKey != CK_FALSE,
                    nonces: [copy(ike.pNi, ike.ulNiLen)?, copy(ike.pNr, ike.ulNrLen)?],
                    new_key: (ike.bRekey != CK_FALSE).then_some(ike.hNewKey),
                }
            }
            Family::Ike1Prf => {
                let ike: CK_IKE1_PRF_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                GivenDerivation::Ike1Prf {
                    prf: ike.prfMechanism,
                    previous: (ike.bHasPrevKey != CK_FALSE).then_some(ike.hPrevKey),
                    shared: ike.hKeygxy,
                    cookies: [copy(ike.pCKYi, ike.ulCKYiLen)?, copy(ike.pCKYr, ike.ulCKYrLen)?],
                    number: ike.keyNumber,
                }
            }
            Family::Ike1Extended => {
                let ike: CK_IKE1_EXTENDED_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let key = (ike.bHasKeygxy != CK_FALSE).then_some(ike.hKeygxy);
                let data = copy(ike.pExtraData, ike.ulExtraDataLen)?;
                GivenDerivation::IkeSeeded { prf: ike.prfMechanism, key, data }
            }
            Family::Ike2PrfPlus => {
                let ike: CK_IKE2_PRF_PLUS_DERIVE_PARAMS = structure(mechanism).ok_or_else(bad)?;
                let key = (ike.bHasSeedKey != CK_FALSE).then_some(ike.hSeedKey);
                GivenDerivation::IkeSeeded { prf: ike.prfMechanism, key, data: copy(ike.pSeedData, ike.ulSeedDataLen)? }
            }
            Family::BaseAndData | Family::DataAndBase | Family::XorData | Family::AesEcbData => {
                let data: CK_KEY_DERIVATION_STRING_DATA = structure(mechanism).ok_or_else(bad)?;
                GivenDerivation::Data(copy(data.pData, data.ulLen)?)
            }
            Family::AesCbcData => {
                let cbc: CK_AES_CBC_ENCRYPT_DATA_PARAMS = structure(mechanism).ok_or_else(bad)?;
                GivenDerivation::Cbc { iv: cbc.iv, data: copy(cbc.pData, cbc.length)? }
            }
            Family::ConcatenateKey | Family::ExtractKey => {
                GivenDerivation::Number(structure::<CK_ULONG>(mechanism).ok_or_else(bad)?)
            }
            _ => return Err(bad()),
        })
    }
}

/// # Safety
/// Each pointer is null or good for its length.
unsafe fn randoms(given: &CK_SSL3_RANDOM_DATA) -> Option<Randoms> {
    // SAFETY: the caller's promise, passed on.
    let copy = |from, len| unsafe { bytes(from, len) }.map(<[u8]>::to_vec).ok();
    Some(Randoms {
        client: copy(given.pClientRandom, given.ulClientRandomLen)?,
        server: copy(given.pServerRandom, given.ulServerRandomLen)?,
    })
}

/// Where the keys of a TLS connection are told, and its initialisation vectors; `None` for other mechanisms, which tell
/// their key in an argument.
pub(super) struct KeyMaterial {
    at: *mut CK_SSL3_KEY_MAT_OUT,
    /// Where the handles go: of the keys that there are, in their order.
    pub(super) handles: Vec<*mut CK_OBJECT_HANDLE>,
    /// Of each vector, in bytes.
    iv_len: usize,
}

impl KeyMaterial {
    /// `MechanismParamInvalid` if there is no place for what is asked for.
    ///
    /// # Safety
    /// The parameter is null or good for its length, and so is what it points to.
    pub(super) unsafe fn of(mechanism: &CK_MECHANISM) -> Result<Option<Self>> {
        let Some(row) = find(mechanism.mechanism) else { return Ok(None) };
        if !matches!(row.family, Family::TlsKeys | Family::TlsKeysSafe) {
            return Ok(None);
        }
        let bad = || Cause::MechanismParamInvalid.with(row.name);
        // SAFETY: the structure is read only if the length is its own.
        let tls: CK_TLS12_KEY_MAT_PARAMS = unsafe { structure(mechanism) }.ok_or_else(bad)?;
        let at = tls.pReturnedKeyMaterial;
        // SAFETY: null or good for reading, as the caller promises.
        let place = unsafe { value(at) }.map_err(|_| bad())?;
        let iv_len = match row.family {
            Family::TlsKeys => usize::try_from(tls.ulIVSizeInBits / 8).map_err(|_| bad())?,
            _ => 0,
        };
        if iv_len > 0 && (place.pIVClient.is_null() || place.pIVServer.is_null()) {
            return Err(bad());
        }
        let mut handles = Vec::new();
        // SAFETY: not null, see above; the fields of a structure lie within it.
        unsafe {
            if tls.ulMacSizeInBits >= 8 {
                handles.extend([&raw mut (*at).hClientMacSecret, &raw mut (*at).hServerMacSecret]);
            }
            if tls.ulKeySizeInBits >= 8 {
                handles.extend([&raw mut (*at).hClientKey, &raw mut (*at).hServerKey]);
            }
        }
        Ok(Some(Self { at, handles, iv_len }))
    }

    /// Writes the vectors, the client's first.
    ///
    /// # Safety
    /// As for [`Self::of`], and the places of the vectors are good for writing their length.
    pub(super) unsafe fn write_vectors(&self, vectors: &Secret) -> Result<()> {
        // SAFETY: as for [`Self::of`].
        let place = unsafe { value(self.at) }?;
        let (client, server) = vectors.expose().split_at_checked(self.iv_len).ok_or(Cause::MechanismParamInvalid)?;
        if server.len() != self.iv_len {
            return Err(Cause::MechanismParamInvalid.into());
        }
        // SAFETY: the caller's promise; neither is null, or there would be no vectors.
        unsafe {
            std::ptr::copy_nonoverlapping(client.as_ptr(), place.pIVClient, client.len());
            std::ptr::copy_nonoverlapping(server.as_ptr(), place.pIVServer, server.len());
        }
        Ok(())
    }
}

/// Writes the version that a premaster secret begins with, if the parameter asks for it.
///
/// # Safety
/// The parameter is null or good for its length, and what it points to for writing.
pub(super) unsafe fn write_version(mechanism: &CK_MECHANISM, version: &Secret) -> Result<()> {
    // SAFETY: the structures are read only if the length is theirs.
    let at = unsafe {
        match find(mechanism.mechanism).map(|row| row.family) {
            Some(Family::TlsMaster) => structure(mechanism).map(|tls: CK_TLS12_MASTER_KEY_DERIVE_PARAMS| tls.pVersion),
            Some(Family::TlsExtendedMaster) => {
                structure(mechanism).map(|tls: CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS| tls.pVersion)
            }
            _ => None,
        }
    };
    match (at.filter(|at| !at.is_null()), version.expose()) {
        // SAFETY: not null, and good for writing as the caller promises.
        (Some(at), [major, minor]) => unsafe { output::value(at, CK_VERSION { major: *major, minor: *minor }) },
        _ => Ok(()),
    }
}

/// # Safety
/// `array` is null or good for `count` elements, and each value for its length.
unsafe fn fields(array: *const CK_PRF_DATA_PARAM, count: CK_ULONG) -> Option<Vec<GivenField>> {
    if count > MOST || (array.is_null() && count > 0) {
        return None;
    }
    // SAFETY: not null if there is any, and good for so many elements as the caller promises.
    (0..count as usize).map(|index| unsafe { field(&array.add(index).read_unaligned()) }).collect()
}

/// # Safety
/// The value is null or good for its length.
unsafe fn field(given: &CK_PRF_DATA_PARAM) -> Option<GivenField> {
    /// # Safety
    /// As for [`field`].
    unsafe fn of<T: Copy>(given: &CK_PRF_DATA_PARAM) -> Option<T> {
        if given.ulValueLen as usize != size_of::<T>() {
            return None;
        }
        // SAFETY: the length is that of a `T`.
        unsafe { value(given.pValue.cast::<T>()) }.ok()
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match given.type_ {
            CK_SP800_108_ITERATION_VARIABLE if given.pValue.is_null() && given.ulValueLen == 0 => {
                Some(GivenField::Iteration(None))
            }
            CK_SP800_108_ITERATION_VARIABLE => {
                let format: CK_SP800_108_COUNTER_FORMAT = of(given)?;
                Some(GivenField::Iteration(Some((format.bLittleEndian != CK_FALSE, format.ulWidthInBits))))
            }
            CK_SP800_108_COUNTER => {
                let format: CK_SP800_108_COUNTER_FORMAT = of(given)?;
                Some(GivenField::Counter(format.bLittleEndian != CK_FALSE, format.ulWidthInBits))
            }
            CK_SP800_108_DKM_LENGTH => {
                let format: CK_SP800_108_DKM_LENGTH_FORMAT = of(given)?;
                let little_endian = format.bLittleEndian != CK_FALSE;
                Some(GivenField::Length(format.dkmLengthMethod, little_endian, format.ulWidthInBits))
            }
            CK_SP800_108_BYTE_ARRAY => {
                bytes(given.pValue.cast(), given.ulValueLen).ok().map(|bytes| GivenField::Bytes(bytes.to_vec()))
            }
            CK_SP800_108_KEY_HANDLE => of(given).map(GivenField::Key),
            _ => None,
        }
    }
}

/// The further keys that a derivation is to make at once.
///
/// `MechanismParamInvalid` for more than anybody needs, and for an array that is missing.
///
/// # Safety
/// The parameter is null or good for its length, and so is the array that it points to.
pub(super) unsafe fn additional(mechanism: &CK_MECHANISM) -> Result<Vec<CK_DERIVED_KEY>> {
    // SAFETY: as for [`parameter`].
    let (array, count) = unsafe {
        match find(mechanism.mechanism).map(|row| row.family) {
            Some(Family::Sp800Counter | Family::Sp800DoublePipeline) => structure(mechanism)
                .map(|kdf: CK_SP800_108_KDF_PARAMS| (kdf.pAdditionalDerivedKeys, kdf.ulAdditionalDerivedKeys)),
            Some(Family::Sp800Feedback) => structure(mechanism)
                .map(|kdf: CK_SP800_108_FEEDBACK_KDF_PARAMS| (kdf.pAdditionalDerivedKeys, kdf.ulAdditionalDerivedKeys)),
            _ => None,
        }
    }
    .unwrap_or((std::ptr::null_mut(), 0));
    if count > MOST || (array.is_null() && count > 0) {
        return Err(Cause::MechanismParamInvalid.with("pAdditionalDerivedKeys"));
    }
    // SAFETY: not null if there is any, and good for so many elements as the caller promises.
    Ok((0..count as usize).map(|index| unsafe { array.add(index).read_unaligned() }).collect())
}

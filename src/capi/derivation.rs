//! The parameters of derivations, read from the caller's memory.

use super::input::{bytes, structure, value};
use crate::error::{Cause, Result};
use crate::mechanism::{Family, GivenDerivation, GivenField, Mechanism, find};
use cryptoki_sys::*;

/// The most parts that the input of a key derivation function may have, and the most keys it may make at once.
const MOST: CK_ULONG = 256;

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

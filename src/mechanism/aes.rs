//! From a mechanism and its parameter to a mode of AES, or to a MAC.

use super::Request;
use super::family::Family;
use super::params::Params;
use crate::crypto::{Aes, AesMode, Direction, MacAlgorithm};
use crate::error::{Cause, Result};

/// The mode that a mechanism of AES stands for. `MechanismParamInvalid` if the mode has no such parameter,
/// `KeyTypeInconsistent` if the mechanism is none of AES.
pub fn aes(request: &Request, direction: Direction) -> Result<Aes> {
    let mode = match (request.mechanism.family, &request.params) {
        (Family::AesEcb, Params::Nothing) => AesMode::Ecb,
        (Family::AesCbc, Params::Iv(iv)) => AesMode::Cbc { iv: *iv },
        (Family::AesCbcPad, Params::Iv(iv)) => AesMode::CbcPad { iv: *iv },
        (Family::AesCts, Params::Iv(iv)) => AesMode::Cts { iv: *iv },
        (Family::AesOfb, Params::Iv(iv)) => AesMode::Ofb { iv: *iv },
        (Family::AesCfb128, Params::Iv(iv)) => AesMode::Cfb128 { iv: *iv },
        (Family::AesCfb8, Params::Iv(iv)) => AesMode::Cfb8 { iv: *iv },
        (Family::AesCfb1, Params::Iv(iv)) => AesMode::Cfb1 { iv: *iv },
        (Family::AesCtr, Params::Ctr { counter_bits, block }) => {
            AesMode::Ctr { counter_bits: *counter_bits, block: *block }
        }
        (Family::AesGcm, Params::Gcm { iv, aad, tag_len }) => {
            AesMode::Gcm { iv: iv.clone(), aad: aad.clone(), tag_len: *tag_len }
        }
        (Family::AesCcm, Params::Ccm { data_len, nonce, aad, mac_len }) => {
            AesMode::Ccm { nonce: nonce.clone(), aad: aad.clone(), mac_len: *mac_len, data_len: Some(*data_len) }
        }
        (Family::AesKeyWrap, Params::HalfBlock(iv)) => AesMode::KeyWrap { iv: *iv },
        (Family::AesKeyWrapPkcs7, Params::HalfBlock(iv)) => AesMode::KeyWrapPkcs7 { iv: *iv },
        (Family::AesKeyWrapPadded, Params::QuarterBlock(iv)) => AesMode::KeyWrapPadded { iv: *iv },
        _ => return Err(Cause::KeyTypeInconsistent.into()),
    };
    Aes::new(mode, direction)
}

/// The MAC that a mechanism stands for, and how many of its leftmost bytes are wanted. `MechanismParamInvalid` for a
/// length that it does not have, `KeyTypeInconsistent` if the mechanism is none of a secret key.
pub fn mac(request: &Request) -> Result<(MacAlgorithm, usize)> {
    let family = request.mechanism.family;
    let algorithm = match (family, request.mechanism.hash, &request.params) {
        (Family::Hmac | Family::HmacGeneral, Some(hash), _) => MacAlgorithm::Hmac(hash),
        (Family::AesCmac | Family::AesCmacGeneral, ..) => MacAlgorithm::AesCmac,
        (Family::TlsMac, _, Params::TlsMac { hash, server, .. }) => {
            MacAlgorithm::TlsFinished { hash: *hash, server: *server }
        }
        (Family::AesGmac, _, Params::Gcm { iv, .. }) => MacAlgorithm::AesGmac { iv: iv.clone() },
        _ => return Err(Cause::KeyTypeInconsistent.into()),
    };
    let (len, least) = match &request.params {
        Params::MacLength(len) => (*len, 1),
        // No cipher suite has less.
        Params::TlsMac { len, .. } => (*len, 12),
        Params::Gcm { tag_len, .. } => (*tag_len, 4),
        _ => (algorithm.len(), 1),
    };
    if !(least..=algorithm.len()).contains(&len) {
        return Err(Cause::MechanismParamInvalid.with("MAC length"));
    }
    Ok((algorithm, len))
}

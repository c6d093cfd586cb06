//! Authenticated encryption of messages.

use super::table::{Family, Mechanism};
use crate::crypto::{Aes, AesMode, Direction};
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// `CK_GCM_MESSAGE_PARAMS` or `CK_CCM_MESSAGE_PARAMS`, read from memory and not yet checked.
#[derive(Clone, Debug)]
pub struct MessageParams {
    /// The initialisation vector or nonce, or what is given of it.
    pub iv: Vec<u8>,
    /// How many bits of it, from the left, a generator function leaves.
    pub fixed_bits: CK_ULONG,
    /// How the others are made, to encrypt.
    pub generator: CK_GENERATOR_FUNCTION,
    /// The length of tag or MAC in bits.
    pub tag_bits: CK_ULONG,
    /// `ulDataLen`, in bytes; CCM has one.
    pub data_len: Option<CK_ULONG>,
}

impl MessageParams {
    /// The length of tag or MAC in bytes. `MechanismParamInvalid` for a part of a byte, or more than any has.
    pub fn tag_len(&self) -> Result<usize> {
        match usize::try_from(self.tag_bits) {
            Ok(bits) if bits.is_multiple_of(8) && bits <= 128 => Ok(bits / 8),
            _ => Err(Cause::MechanismParamInvalid.with("length of the tag")),
        }
    }

    /// Checks the length of plaintext or ciphertext against the one that was said, before a key is asked for;
    /// `wrong` if it is another.
    pub fn check_len(&self, len: usize, wrong: Cause) -> Result<()> {
        if self.data_len.is_none_or(|said| said == len as CK_ULONG) { Ok(()) } else { Err(wrong.into()) }
    }

    /// The cipher for one message. `MechanismParamInvalid` for parameters that the mechanism does not have.
    pub fn cipher(&self, mechanism: &Mechanism, direction: Direction, aad: &[u8]) -> Result<Aes> {
        let (iv, aad, tag_len) = (self.iv.clone(), aad.to_vec(), self.tag_len()?);
        let mode = match (mechanism.family, self.data_len) {
            (Family::AesGcm, None) => AesMode::Gcm { iv, aad, tag_len },
            (Family::AesCcm, Some(len)) => {
                let data_len = usize::try_from(len).map_err(|_| Cause::MechanismParamInvalid)?;
                AesMode::Ccm { nonce: iv, aad, mac_len: tag_len, data_len: Some(data_len) }
            }
            _ => return Err(Cause::MechanismParamInvalid.with(mechanism.name)),
        };
        Aes::new(mode, direction)
    }
}

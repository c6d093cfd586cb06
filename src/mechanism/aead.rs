//! Authenticated encryption of messages.

use super::chacha20;
use super::family::Family;
use super::table::Mechanism;
use crate::crypto::{Aes, AesMode, ChaCha20, Direction, Symmetric};
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// Which structure the parameters of a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageShape {
    /// `CK_GCM_MESSAGE_PARAMS`.
    Gcm,
    /// `CK_CCM_MESSAGE_PARAMS`.
    Ccm {
        /// `ulDataLen`, in bytes.
        data_len: CK_ULONG,
    },
    /// `CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS`.
    ChaCha20Poly1305,
}

/// The parameters of a message, read from memory and not yet checked.
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
    /// What they came in.
    pub shape: MessageShape,
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
        match self.shape {
            MessageShape::Ccm { data_len } if data_len != len as CK_ULONG => Err(wrong.into()),
            _ => Ok(()),
        }
    }

    /// The cipher for one message. `MechanismParamInvalid` for parameters that the mechanism does not have.
    pub fn cipher(&self, mechanism: &Mechanism, direction: Direction, aad: &[u8]) -> Result<Symmetric> {
        let (iv, aad, tag_len) = (self.iv.clone(), aad.to_vec(), self.tag_len()?);
        let mode = match (mechanism.family, self.shape) {
            (Family::AesGcm, MessageShape::Gcm) => AesMode::Gcm { iv, aad, tag_len },
            (Family::AesCcm, MessageShape::Ccm { data_len }) => {
                let data_len = usize::try_from(data_len).map_err(|_| Cause::MechanismParamInvalid)?;
                AesMode::Ccm { nonce: iv, aad, mac_len: tag_len, data_len: Some(data_len) }
            }
            (Family::ChaCha20Poly1305, MessageShape::ChaCha20Poly1305) => {
                let mode = chacha20::poly1305(&iv, &aad).ok_or(Cause::MechanismParamInvalid)?;
                return ChaCha20::new(mode, direction).map(Symmetric::ChaCha20);
            }
            _ => return Err(Cause::MechanismParamInvalid.with(mechanism.name)),
        };
        Aes::new(mode, direction).map(Symmetric::Aes)
    }
}

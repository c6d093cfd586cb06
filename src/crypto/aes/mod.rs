//! AES in the modes of PKCS#11: what a mode demands of its parameters, and how long its output is.
//!
//! [`Aes`] is a mode with its parameters, checked, and a direction. It knows the lengths of all output
//! without a key, so that a caller who asks for one costs no key. [`Aes::start`] makes an [`AesStream`]
//! of it, which takes data in parts.
#![forbid(unsafe_code)]

mod counter;
mod key_wrap;
mod padding;
mod stealing;
mod stream;

pub use stream::AesStream;

use super::aws_lc::cipher::BLOCK_LEN;
use super::{Secret, SecretKey};
use crate::error::{Cause, Error, Result};

/// The length of a block, and of most initialisation vectors, in bytes.
pub const AES_BLOCK_LEN: usize = BLOCK_LEN;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From plaintext to ciphertext; also to wrap.
    Encrypt,
    /// From ciphertext to plaintext; also to unwrap.
    Decrypt,
}

/// A mode of operation with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AesMode {
    /// ECB. Whole blocks.
    Ecb,
    /// CBC. Whole blocks.
    Cbc {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// CBC with PKCS#7 padding. The one error of a padding that is wrong is [`Cause::EncryptedDataInvalid`].
    CbcPad {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// CBC with ciphertext stealing, CS1 of the addendum to SP 800-38A. At least one block.
    Cts {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// Counter mode. Data that would make the counter overflow is [`Cause::DataLenRange`] in both directions.
    Ctr {
        /// How many bits of the block, from the right, count: 1 to 128.
        counter_bits: u32,
        /// The first counter block.
        block: [u8; AES_BLOCK_LEN],
    },
    /// Output feedback.
    Ofb {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// Cipher feedback by 1 bit.
    Cfb1 {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// Cipher feedback by 8 bits.
    Cfb8 {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// Cipher feedback by 128 bits.
    Cfb128 {
        /// The initialisation vector.
        iv: [u8; AES_BLOCK_LEN],
    },
    /// GCM; the tag follows the ciphertext. Decryption gives nothing before the tag has been verified.
    Gcm {
        /// The initialisation vector: at least 1 byte.
        iv: Vec<u8>,
        /// Authenticated, not encrypted.
        aad: Vec<u8>,
        /// The length of the tag in bytes: 4 to 16.
        tag_len: usize,
    },
    /// CCM; the MAC follows the ciphertext. Nothing comes out before the end.
    Ccm {
        /// 7 to 13 bytes.
        nonce: Vec<u8>,
        /// Authenticated, not encrypted.
        aad: Vec<u8>,
        /// The length of the MAC in bytes: 4, 6, … 16.
        mac_len: usize,
        /// The length of the plaintext in bytes, if it was said before; other data is then out of range.
        data_len: Option<usize>,
    },
    /// Key wrap (RFC 3394). Two or more half blocks.
    KeyWrap {
        /// The initial value; [`AesMode::KEY_WRAP_IV`] is the standard's.
        iv: [u8; 8],
    },
    /// Key wrap with padding (RFC 5649). One or more bytes.
    KeyWrapPadded {
        /// The first half of the initial value; [`AesMode::KEY_WRAP_PADDED_IV`] is the standard's.
        iv: [u8; 4],
    },
    /// PKCS#7 padding to half blocks, then key wrap. Eight or more bytes.
    KeyWrapPkcs7 {
        /// The initial value; [`AesMode::KEY_WRAP_IV`] is the standard's.
        iv: [u8; 8],
    },
}

/// The most data of one GCM message in bytes (SP 800-38D, section 5.2.1.1).
const GCM_MOST: u64 = (1 << 36) - 32;
/// The most that AWS-LC encrypts with CCM, or wraps, in bytes.
const AT_ONCE_MOST: u64 = (1 << 31) - 32;

impl AesMode {
    /// The initial value of key wrap (RFC 3394, section 2.2.3.1).
    pub const KEY_WRAP_IV: [u8; 8] = [0xa6; 8];
    /// The initial value of key wrap with padding (RFC 5649, section 3).
    pub const KEY_WRAP_PADDED_IV: [u8; 4] = [0xa6, 0x59, 0x59, 0xa6];

    /// [`Cause::MechanismParamInvalid`] for parameters that the mode does not have.
    fn check(&self) -> Result<()> {
        let bad = |what| Err(Cause::MechanismParamInvalid.with(what));
        match self {
            Self::Ctr { counter_bits, .. } if !(1..=128).contains(counter_bits) => bad("counter bits"),
            Self::Gcm { iv, .. } if iv.is_empty() || i32::try_from(iv.len()).is_err() => bad("GCM IV length"),
            Self::Gcm { tag_len, .. } if !(4..=16).contains(tag_len) => bad("GCM tag length"),
            Self::Ccm { nonce, .. } if !(7..=13).contains(&nonce.len()) => bad("CCM nonce length"),
            Self::Ccm { mac_len, .. } if !(4..=16).contains(mac_len) || mac_len % 2 != 0 => bad("CCM MAC length"),
            Self::Ccm { aad, .. } if i32::try_from(aad.len()).is_err() => bad("CCM AAD length"),
            Self::Ccm { data_len: Some(len), nonce, .. } if *len as u64 > ccm_most(nonce) => bad("CCM data length"),
            _ => Ok(()),
        }
    }
}

/// The most plaintext whose length fits beside the nonce.
fn ccm_most(nonce: &[u8]) -> u64 {
    match 15usize.saturating_sub(nonce.len()) {
        2 => 0xffff,
        3 => 0xff_ffff,
        _ => AT_ONCE_MOST,
    }
}

/// How data passes through a mode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Byte for byte.
    Bytes,
    /// By blocks, as soon as they are full.
    Blocks,
    /// By blocks; the last full one waits, because it may be the padding.
    AllButOneBlock,
    /// By blocks; more than one and at most two wait, because they may be the last.
    AllButTwoBlocks,
    /// All at the end.
    AtOnce,
}

/// A mode with its parameters, and a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aes {
    mode: AesMode,
    direction: Direction,
}

impl Aes {
    /// [`Cause::MechanismParamInvalid`] if a parameter is none of the mode's.
    pub fn new(mode: AesMode, direction: Direction) -> Result<Self> {
        mode.check()?;
        Ok(Self { mode, direction })
    }

    /// The mode.
    pub fn mode(&self) -> &AesMode {
        &self.mode
    }

    /// Which way it goes.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Starts with a key. [`Cause::KeySizeRange`] unless it has 16, 24 or 32 bytes.
    pub fn start(&self, key: &SecretKey) -> Result<AesStream> {
        AesStream::new(self.clone(), key)
    }

    /// Encrypts or decrypts the whole of `data`.
    pub fn run(&self, key: &SecretKey, data: &[u8]) -> Result<Secret> {
        self.start(key)?.run(data)
    }

    /// The length in bytes of what a first part of `len` bytes gives.
    pub fn update_len(&self, len: usize) -> usize {
        self.passes(len)
    }

    /// The length in bytes of what data of `len` bytes gives in all. Where padding is to come off it is the most.
    pub fn output_len(&self, len: usize) -> usize {
        let passes = self.passes(len);
        passes.saturating_add(self.last_len(len - passes))
    }

    fn flow(&self) -> Flow {
        use Direction::{Decrypt, Encrypt};
        match (&self.mode, self.direction) {
            (AesMode::Ecb | AesMode::Cbc { .. }, _) | (AesMode::CbcPad { .. }, Encrypt) => Flow::Blocks,
            (AesMode::CbcPad { .. }, Decrypt) => Flow::AllButOneBlock,
            (AesMode::Cts { .. }, _) => Flow::AllButTwoBlocks,
            (AesMode::Ctr { .. } | AesMode::Ofb { .. }, _) => Flow::Bytes,
            (AesMode::Cfb1 { .. } | AesMode::Cfb8 { .. } | AesMode::Cfb128 { .. }, _) => Flow::Bytes,
            (AesMode::Gcm { .. }, Encrypt) => Flow::Bytes,
            (AesMode::Gcm { .. }, Decrypt) | (AesMode::Ccm { .. }, _) => Flow::AtOnce,
            (AesMode::KeyWrap { .. } | AesMode::KeyWrapPadded { .. } | AesMode::KeyWrapPkcs7 { .. }, _) => Flow::AtOnce,
        }
    }

    /// How many of `total` bytes need not wait for more.
    fn passes(&self, total: usize) -> usize {
        let all_but = |waiting: usize| total.saturating_sub(waiting) / BLOCK_LEN * BLOCK_LEN;
        match self.flow() {
            Flow::Bytes => total,
            Flow::Blocks => all_but(0),
            Flow::AllButOneBlock => all_but(1),
            Flow::AllButTwoBlocks => all_but(BLOCK_LEN + 1),
            Flow::AtOnce => 0,
        }
    }

    /// The length of what comes out at the end, after `waiting` bytes that have waited. At most, where padding is
    /// to come off.
    fn last_len(&self, waiting: usize) -> usize {
        use Direction::{Decrypt, Encrypt};
        let semiblocks = |len: usize| len.div_ceil(8).saturating_mul(8);
        match (&self.mode, self.direction) {
            (AesMode::CbcPad { .. }, Encrypt) => BLOCK_LEN,
            (AesMode::CbcPad { .. }, Decrypt) => waiting.min(BLOCK_LEN - 1),
            (AesMode::Cts { .. }, _) => waiting,
            (AesMode::Gcm { tag_len, .. }, Encrypt) => *tag_len,
            (AesMode::Gcm { tag_len, .. }, Decrypt) => waiting.saturating_sub(*tag_len),
            (AesMode::Ccm { mac_len, .. }, Encrypt) => waiting.saturating_add(*mac_len),
            (AesMode::Ccm { mac_len, .. }, Decrypt) => waiting.saturating_sub(*mac_len),
            (AesMode::KeyWrap { .. }, Encrypt) => waiting.saturating_add(8),
            (AesMode::KeyWrapPadded { .. }, Encrypt) => semiblocks(waiting).saturating_add(8),
            (AesMode::KeyWrapPkcs7 { .. }, Encrypt) => semiblocks(waiting.saturating_add(1)).saturating_add(8),
            (AesMode::KeyWrap { .. } | AesMode::KeyWrapPadded { .. }, Decrypt) => waiting.saturating_sub(8),
            (AesMode::KeyWrapPkcs7 { .. }, Decrypt) => waiting.saturating_sub(9),
            _ => 0,
        }
    }

    /// The most data in bytes, in all parts together.
    fn most(&self) -> u64 {
        let decrypts = self.direction == Direction::Decrypt;
        let with = |trailer: usize| if decrypts { trailer as u64 } else { 0 };
        match &self.mode {
            AesMode::Ctr { counter_bits, block } => counter::room(*counter_bits, block),
            AesMode::Gcm { tag_len, .. } => GCM_MOST + with(*tag_len),
            AesMode::Ccm { nonce, mac_len, data_len, .. } => {
                data_len.map_or(ccm_most(nonce), |len| len as u64) + with(*mac_len)
            }
            AesMode::KeyWrap { .. } | AesMode::KeyWrapPadded { .. } | AesMode::KeyWrapPkcs7 { .. } => AT_ONCE_MOST,
            _ => u64::MAX,
        }
    }

    /// Whether the mode takes data of `len` bytes in all. [`Cause::DataLenRange`] or
    /// [`Cause::EncryptedDataLenRange`] if not; [`AesStream::finish`] says the same.
    pub fn check_len(&self, len: usize) -> Result<()> {
        use Direction::{Decrypt, Encrypt};
        let in_steps = |step: usize, least: usize| len.is_multiple_of(step) && len >= least;
        let taken = match (&self.mode, self.direction) {
            (AesMode::Ecb | AesMode::Cbc { .. }, _) => in_steps(BLOCK_LEN, 0),
            (AesMode::CbcPad { .. }, Decrypt) => in_steps(BLOCK_LEN, BLOCK_LEN),
            (AesMode::Cts { .. }, _) => len >= BLOCK_LEN,
            (AesMode::Gcm { tag_len, .. }, Decrypt) => len >= *tag_len,
            (AesMode::Ccm { data_len, .. }, Encrypt) => data_len.is_none_or(|said| said == len),
            (AesMode::Ccm { data_len, mac_len, .. }, Decrypt) => {
                len.checked_sub(*mac_len).is_some_and(|len| data_len.is_none_or(|said| said == len))
            }
            (AesMode::KeyWrap { .. }, Encrypt) => in_steps(8, 16),
            (AesMode::KeyWrap { .. } | AesMode::KeyWrapPkcs7 { .. }, Decrypt) => in_steps(8, 24),
            (AesMode::KeyWrapPadded { .. }, Encrypt) => len >= 1,
            (AesMode::KeyWrapPadded { .. }, Decrypt) => in_steps(8, 16),
            (AesMode::KeyWrapPkcs7 { .. }, Encrypt) => len >= 8,
            _ => true,
        };
        if taken && len as u64 <= self.most() { Ok(()) } else { Err(self.length_error()) }
    }

    /// Whether [`Self::output_len`] is exact: no padding is to come off.
    pub fn is_exact(&self) -> bool {
        let padded =
            matches!(self.mode, AesMode::CbcPad { .. } | AesMode::KeyWrapPadded { .. } | AesMode::KeyWrapPkcs7 { .. });
        !(padded && self.direction == Direction::Decrypt)
    }

    /// The error of data whose length the mode does not take.
    fn length_error(&self) -> Error {
        match (&self.mode, self.direction) {
            (AesMode::Ctr { .. }, _) | (_, Direction::Encrypt) => Cause::DataLenRange.into(),
            (_, Direction::Decrypt) => Cause::EncryptedDataLenRange.into(),
        }
    }
}

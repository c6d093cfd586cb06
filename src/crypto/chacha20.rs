//! ChaCha20, alone and with Poly1305: what the variants demand of their parameters, and data in parts.
#![forbid(unsafe_code)]

use super::aws_lc::aead_stream::AeadStream;
use super::aws_lc::chacha20::{self, BLOCK_LEN, KEY_LEN, NONCE_LEN};
use super::{Direction, Secret, SecretKey};
use crate::error::{Cause, Error, Result};
use zeroize::Zeroizing;

/// A nonce. Its length says which variant of the cipher it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChaCha20Nonce {
    /// Bernstein's own, beside a counter of 64 bits.
    Original([u8; 8]),
    /// RFC 8439, beside a counter of 32 bits.
    Ietf([u8; NONCE_LEN]),
    /// XChaCha20: the first 16 bytes make another key.
    Extended([u8; 24]),
}

impl ChaCha20Nonce {
    /// `None` for a length that no variant has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            8 => bytes.try_into().ok().map(Self::Original),
            NONCE_LEN => bytes.try_into().ok().map(Self::Ietf),
            24 => bytes.try_into().ok().map(Self::Extended),
            _ => None,
        }
    }
}

/// A mode of operation with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChaCha20Mode {
    /// The cipher alone. Data beyond the end of the counter is out of range.
    Stream {
        /// 32 or 64; the nonce of RFC 8439 leaves no room for more than 32.
        counter_bits: u32,
        /// The first block of the key stream.
        counter: u64,
        /// The nonce.
        nonce: ChaCha20Nonce,
    },
    /// With Poly1305 as in RFC 8439; the tag follows the ciphertext. Decryption gives nothing before the tag has been
    /// verified. There is none with the original nonce: it was never agreed on what is authenticated then.
    Poly1305 {
        /// The nonce.
        nonce: ChaCha20Nonce,
        /// Authenticated, not encrypted.
        aad: Vec<u8>,
    },
}

/// The length of a tag in bytes.
const TAG_LEN: usize = 16;
/// The most data of one message with Poly1305, in bytes: all blocks but the first, which makes its key.
const POLY1305_MOST: u64 = ((1 << 32) - 1) * BLOCK_LEN as u64;

/// A mode with its parameters, and a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaCha20 {
    mode: ChaCha20Mode,
    direction: Direction,
}

impl ChaCha20 {
    /// [`Cause::MechanismParamInvalid`] if a parameter is none of the mode's.
    pub fn new(mode: ChaCha20Mode, direction: Direction) -> Result<Self> {
        let bad = |what| Err(Cause::MechanismParamInvalid.with(what));
        match &mode {
            ChaCha20Mode::Stream { counter_bits: 64, nonce: ChaCha20Nonce::Ietf(_), .. } => {
                bad("a counter of 64 bits beside a nonce of 96")
            }
            ChaCha20Mode::Stream { counter_bits: 64, .. } => Ok(()),
            ChaCha20Mode::Stream { counter_bits: 32, counter, .. } if u32::try_from(*counter).is_ok() => Ok(()),
            ChaCha20Mode::Stream { .. } => bad("block counter"),
            ChaCha20Mode::Poly1305 { nonce: ChaCha20Nonce::Original(_), .. } => bad("Poly1305 with a nonce of 64 bits"),
            ChaCha20Mode::Poly1305 { .. } => Ok(()),
        }?;
        Ok(Self { mode, direction })
    }

    /// Starts with a key. [`Cause::KeySizeRange`] unless it has 32 bytes.
    pub fn start(&self, key: &SecretKey) -> Result<ChaCha20Stream> {
        let bytes = key_of(key)?;
        let work = match &self.mode {
            ChaCha20Mode::Stream { counter, nonce, .. } => Work::Stream(KeyStream::new(bytes, nonce, *counter)?),
            ChaCha20Mode::Poly1305 { nonce, aad } => {
                let (subkey, nonce) = short_nonce(bytes, nonce)?;
                let key = subkey.as_ref().map_or(&bytes[..], Secret::expose);
                let mut stream = AeadStream::chacha20_poly1305(key, &nonce, self.direction)?;
                stream.authenticate(aad)?;
                Work::Poly1305(stream)
            }
        };
        Ok(ChaCha20Stream { cipher: self.clone(), work, waiting: Secret::new(Vec::new()), taken: 0 })
    }

    /// Encrypts or decrypts the whole of `data`.
    pub fn run(&self, key: &SecretKey, data: &[u8]) -> Result<Secret> {
        self.start(key)?.run(data)
    }

    /// The length in bytes of what a part of `len` bytes gives.
    pub fn update_len(&self, len: usize) -> usize {
        if self.waits() { 0 } else { len }
    }

    /// The length in bytes of what data of `len` bytes gives in all.
    pub fn output_len(&self, len: usize) -> usize {
        match (&self.mode, self.direction) {
            (ChaCha20Mode::Stream { .. }, _) => len,
            (ChaCha20Mode::Poly1305 { .. }, Direction::Encrypt) => len.saturating_add(TAG_LEN),
            (ChaCha20Mode::Poly1305 { .. }, Direction::Decrypt) => len.saturating_sub(TAG_LEN),
        }
    }

    /// Whether the mode takes data of `len` bytes in all. [`Cause::DataLenRange`] or
    /// [`Cause::EncryptedDataLenRange`] if not; [`ChaCha20Stream::finish`] says the same.
    pub fn check_len(&self, len: usize) -> Result<()> {
        let least = if self.waits() { TAG_LEN } else { 0 };
        if len >= least && len as u64 <= self.most() { Ok(()) } else { Err(self.length_error()) }
    }

    /// Whether nothing comes out before the end.
    fn waits(&self) -> bool {
        matches!((&self.mode, self.direction), (ChaCha20Mode::Poly1305 { .. }, Direction::Decrypt))
    }

    /// The most data in bytes, in all parts together.
    fn most(&self) -> u64 {
        match (&self.mode, self.direction) {
            (ChaCha20Mode::Stream { counter_bits, counter, .. }, _) => {
                let blocks = (1_u128 << counter_bits).saturating_sub(u128::from(*counter));
                u64::try_from(blocks.saturating_mul(BLOCK_LEN as u128)).unwrap_or(u64::MAX)
            }
            (ChaCha20Mode::Poly1305 { .. }, Direction::Encrypt) => POLY1305_MOST,
            (ChaCha20Mode::Poly1305 { .. }, Direction::Decrypt) => POLY1305_MOST + TAG_LEN as u64,
        }
    }

    fn length_error(&self) -> Error {
        match self.direction {
            Direction::Encrypt => Cause::DataLenRange.into(),
            Direction::Decrypt => Cause::EncryptedDataLenRange.into(),
        }
    }
}

/// An encryption or decryption under way.
///
/// Its key lives in the protected pool: in a forked child every use is [`Cause::NotInitialized`]. After an error it is
/// of no use.
pub struct ChaCha20Stream {
    cipher: ChaCha20,
    work: Work,
    /// Ciphertext whose tag is yet to come.
    waiting: Secret,
    /// How many bytes have come in.
    taken: usize,
}

enum Work {
    Stream(KeyStream),
    Poly1305(AeadStream),
}

impl ChaCha20Stream {
    /// The length in bytes of what the next part of `len` bytes gives.
    pub fn update_len(&self, len: usize) -> usize {
        self.cipher.update_len(len)
    }

    /// The length in bytes of what the end gives.
    pub fn finish_len(&self) -> usize {
        self.cipher.output_len(self.waiting.len())
    }

    /// Takes in the next part, and gives what need not wait: [`Self::update_len`] bytes.
    /// [`Cause::DataLenRange`] or [`Cause::EncryptedDataLenRange`] for more than the mode takes.
    pub fn update(&mut self, part: &[u8]) -> Result<Secret> {
        let mut out = Secret::with_capacity(self.update_len(part.len()))?;
        self.update_into(part, &mut out)?;
        Ok(out)
    }

    /// Ends, and gives the rest: [`Self::finish_len`] bytes.
    ///
    /// [`Cause::EncryptedDataLenRange`]; [`Cause::EncryptedDataInvalid`] for a tag that is wrong.
    pub fn finish(self) -> Result<Secret> {
        let mut out = Secret::with_capacity(self.finish_len())?;
        self.finish_into(&mut out)?;
        Ok(out)
    }

    /// The last part, and the end.
    pub fn run(mut self, data: &[u8]) -> Result<Secret> {
        let total = self.waiting.len().saturating_add(data.len());
        let mut out = Secret::with_capacity(self.cipher.output_len(total))?;
        self.update_into(data, &mut out)?;
        self.finish_into(&mut out)?;
        Ok(out)
    }

    fn update_into(&mut self, part: &[u8], out: &mut Secret) -> Result<()> {
        let taken = self.taken.checked_add(part.len()).filter(|taken| *taken as u64 <= self.cipher.most());
        self.taken = taken.ok_or_else(|| self.cipher.length_error())?;
        if self.cipher.waits() {
            return self.waiting.append(part);
        }
        let start = out.len();
        out.append(part)?;
        self.work.apply(&mut out.expose_mut()[start..])
    }

    fn finish_into(self, out: &mut Secret) -> Result<()> {
        let Self { cipher, work, waiting, taken } = self;
        cipher.check_len(taken)?;
        let start = out.len();
        match (work, cipher.direction) {
            (Work::Stream(_), _) => Ok(()),
            (Work::Poly1305(stream), Direction::Encrypt) => {
                out.append(&[0; TAG_LEN])?;
                stream.tag(&mut out.expose_mut()[start..])
            }
            (Work::Poly1305(mut stream), Direction::Decrypt) => {
                let len = waiting.len().checked_sub(TAG_LEN).ok_or(Cause::EncryptedDataLenRange)?;
                let (ciphertext, tag) = waiting.expose().split_at(len);
                out.append(ciphertext)?;
                stream.apply(&mut out.expose_mut()[start..])?;
                stream.verify(tag).inspect_err(|_| out.truncate(start))
            }
        }
    }
}

impl Work {
    fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        match self {
            Self::Stream(stream) => stream.apply(data),
            Self::Poly1305(stream) => stream.apply(data),
        }
    }
}

/// The cipher alone, under way.
struct KeyStream {
    key: SecretKey,
    /// What stands behind the low half of the counter in the cipher's state: its high half and a short nonce, or
    /// the nonce of RFC 8439.
    tail: [u8; NONCE_LEN],
    is_wide: bool,
    /// The block that comes next, and how many bytes of it were used.
    block: u64,
    used: usize,
}

impl KeyStream {
    fn new(key: &[u8; KEY_LEN], nonce: &ChaCha20Nonce, block: u64) -> Result<Self> {
        let (subkey, tail) = short_nonce(key, nonce)?;
        let key = SecretKey::new(subkey.as_ref().map_or(&key[..], Secret::expose))?;
        Ok(Self { key, tail, is_wide: !matches!(nonce, ChaCha20Nonce::Ietf(_)), block, used: 0 })
    }

    /// Encrypts or decrypts in place the bytes that follow those before. Its caller ends with the counter.
    fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        let begun = data.len().min((BLOCK_LEN - self.used) % BLOCK_LEN);
        let (begun, mut rest) = data.split_at_mut(begun);
        if !begun.is_empty() {
            // The block once more, with the data in its place.
            let (mut block, place) = (Zeroizing::new([0; BLOCK_LEN]), self.used..self.used + begun.len());
            block[place.clone()].copy_from_slice(begun);
            self.run(&mut block[..])?;
            begun.copy_from_slice(&block[place]);
            self.advance(begun.len());
        }
        while !rest.is_empty() {
            // AWS-LC counts with 32 bits: to where they wrap at once.
            let blocks = (1 << 32) - (self.block & u64::from(u32::MAX));
            let now = usize::try_from(blocks * BLOCK_LEN as u64).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(now);
            self.run(now)?;
            self.advance(now.len());
            rest = later;
        }
        Ok(())
    }

    /// Data that begins with the present block.
    fn run(&self, data: &mut [u8]) -> Result<()> {
        let mut tail = self.tail;
        if self.is_wide {
            tail[..4].copy_from_slice(&((self.block >> 32) as u32).to_le_bytes());
        }
        chacha20::apply(key_of(&self.key)?, &tail, self.block as u32, data);
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        let used = self.used + len;
        // Nothing comes after the last block.
        self.block = self.block.wrapping_add((used / BLOCK_LEN) as u64);
        self.used = used % BLOCK_LEN;
    }
}

fn key_of(key: &SecretKey) -> Result<&[u8; KEY_LEN]> {
    key.expose()?.try_into().map_err(|_| Cause::KeySizeRange.with("a ChaCha20 key has 32 bytes"))
}

/// The key for what is left of a nonce, where that is another one, and what is left, with zeros before it.
fn short_nonce(key: &[u8; KEY_LEN], nonce: &ChaCha20Nonce) -> Result<(Option<Secret>, [u8; NONCE_LEN])> {
    let mut tail = [0; NONCE_LEN];
    match nonce {
        ChaCha20Nonce::Ietf(nonce) => Ok((None, *nonce)),
        ChaCha20Nonce::Original(nonce) => {
            tail[4..].copy_from_slice(nonce);
            Ok((None, tail))
        }
        ChaCha20Nonce::Extended(nonce) => {
            let (front, rest) = nonce.split_first_chunk().ok_or(Cause::MechanismParamInvalid)?;
            tail[4..].copy_from_slice(rest);
            Ok((Some(hchacha20(key, front)), tail))
        }
    }
}

/// The key that XChaCha20 makes of the first 16 bytes of its nonce (HChaCha20): a block of the key stream for the
/// nonce in the places of counter and nonce, but its first and last row only, and without the addition of the state
/// at the end, which is taken back here.
fn hchacha20(key: &[u8; KEY_LEN], nonce: &[u8; 16]) -> Secret {
    const ROW: usize = 16;
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    let [a, b, c, d, tail @ ..] = *nonce;
    chacha20::apply(key, &tail, u32::from_le_bytes([a, b, c, d]), &mut block[..]);
    let mut subkey = Secret::zeroed(KEY_LEN);
    let rows = [(&block[..ROW], b"expand 32-byte k"), (&block[BLOCK_LEN - ROW..], nonce)];
    for ((block, state), out) in rows.into_iter().zip(subkey.expose_mut().chunks_exact_mut(ROW)) {
        let words = block.as_chunks::<4>().0.iter().zip(state.as_chunks::<4>().0).zip(out.as_chunks_mut::<4>().0);
        for ((sum, state), out) in words {
            *out = u32::from_le_bytes(*sum).wrapping_sub(u32::from_le_bytes(*state)).to_le_bytes();
        }
    }
    subkey
}

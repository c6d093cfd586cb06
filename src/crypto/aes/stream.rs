//! AES under way: data in parts.
#![forbid(unsafe_code)]

use super::stealing::Stealing;
use super::{Aes, AesMode, BLOCK_LEN, Direction, key_wrap, padding};
use crate::crypto::aws_lc::aead_stream::AeadStream;
use crate::crypto::aws_lc::ccm::Ccm;
use crate::crypto::aws_lc::cipher::{Cipher, Mode};
use crate::crypto::{Secret, SecretKey};
use crate::error::{Cause, Result};

/// An encryption or decryption under way.
///
/// Its key schedule lives in the protected pool: in a forked child every use is [`Cause::NotInitialized`]. After an
/// error it is of no use.
pub struct AesStream {
    aes: Aes,
    work: Work,
    /// What has come in and waits.
    waiting: Secret,
    /// How many bytes have come in.
    taken: usize,
}

enum Work {
    Cipher(Cipher),
    Stealing(Stealing),
    Gcm(AeadStream),
    /// At the end, all at once.
    AtOnce(SecretKey),
}

impl AesStream {
    pub(super) fn new(aes: Aes, key: &SecretKey) -> Result<Self> {
        let bytes = key.expose()?;
        let direction = aes.direction;
        let cipher = |mode, iv| Cipher::new(mode, bytes, iv, direction).map(Work::Cipher);
        let work = match &aes.mode {
            AesMode::Ecb => cipher(Mode::Ecb, None)?,
            AesMode::Cbc { iv } | AesMode::CbcPad { iv } => cipher(Mode::Cbc, Some(iv))?,
            AesMode::Ctr { block, .. } => cipher(Mode::Ctr, Some(block))?,
            AesMode::Ofb { iv } => cipher(Mode::Ofb, Some(iv))?,
            AesMode::Cfb1 { iv } => cipher(Mode::Cfb1, Some(iv))?,
            AesMode::Cfb8 { iv } => cipher(Mode::Cfb8, Some(iv))?,
            AesMode::Cfb128 { iv } => cipher(Mode::Cfb128, Some(iv))?,
            AesMode::Cts { iv } => Work::Stealing(Stealing::new(bytes, iv, direction)?),
            AesMode::Gcm { iv, aad, .. } => {
                let mut gcm = AeadStream::gcm(bytes, iv, direction)?;
                gcm.authenticate(aad)?;
                Work::Gcm(gcm)
            }
            AesMode::Ccm { .. } | AesMode::KeyWrap { .. } => at_once(bytes)?,
            AesMode::KeyWrapPadded { .. } | AesMode::KeyWrapPkcs7 { .. } => at_once(bytes)?,
        };
        Ok(Self { aes, work, waiting: Secret::new(Vec::new()), taken: 0 })
    }

    /// The length in bytes of what the next part of `len` bytes gives.
    pub fn update_len(&self, len: usize) -> usize {
        self.aes.passes(self.waiting.len().saturating_add(len))
    }

    /// The length in bytes of what the end gives. Where padding is to come off it is the most.
    pub fn finish_len(&self) -> usize {
        self.aes.last_len(self.waiting.len())
    }

    /// Takes in the next part, and gives what need not wait: [`Self::update_len`] bytes.
    /// [`Cause::DataLenRange`] or [`Cause::EncryptedDataLenRange`] for more than the mode takes.
    pub fn update(&mut self, part: &[u8]) -> Result<Secret> {
        let mut out = Secret::with_capacity(self.update_len(part.len()))?;
        self.update_into(part, &mut out)?;
        Ok(out)
    }

    /// Ends, and gives the rest: [`Self::finish_len`] bytes, or less where padding came off.
    ///
    /// [`Cause::DataLenRange`], [`Cause::EncryptedDataLenRange`]; [`Cause::EncryptedDataInvalid`] for padding, a tag
    /// or an initial value that is wrong.
    pub fn finish(self) -> Result<Secret> {
        let mut out = Secret::with_capacity(self.finish_len())?;
        self.finish_into(&mut out)?;
        Ok(out)
    }

    /// The last part, and the end.
    pub fn run(mut self, data: &[u8]) -> Result<Secret> {
        let total = self.waiting.len().saturating_add(data.len());
        let mut out = Secret::with_capacity(self.aes.output_len(total))?;
        self.update_into(data, &mut out)?;
        self.finish_into(&mut out)?;
        Ok(out)
    }

    fn update_into(&mut self, part: &[u8], out: &mut Secret) -> Result<()> {
        let taken = self.taken.checked_add(part.len()).filter(|taken| *taken as u64 <= self.aes.most());
        self.taken = taken.ok_or_else(|| self.aes.length_error())?;
        let passes = self.update_len(part.len());
        if passes == 0 {
            return self.waiting.append(part);
        }
        let start = out.len();
        let from_waiting = passes.min(self.waiting.len());
        let (waited, still) = self.waiting.expose().split_at(from_waiting);
        let (now, later) = part.split_at_checked(passes - from_waiting).ok_or_else(|| self.aes.length_error())?;
        out.append(waited)?;
        out.append(now)?;
        let mut waiting = Secret::with_capacity(still.len() + later.len())?;
        waiting.append(still)?;
        waiting.append(later)?;
        self.waiting = waiting;
        let data = &mut out.expose_mut()[start..];
        match &mut self.work {
            Work::Cipher(cipher) => cipher.apply(data),
            Work::Stealing(stealing) => stealing.apply(data),
            Work::Gcm(gcm) => gcm.apply(data),
            Work::AtOnce(_) => Err(Cause::CryptoLibrary.with("a mode that works at once")),
        }
    }

    fn finish_into(self, out: &mut Secret) -> Result<()> {
        let Self { aes, work, mut waiting, taken } = self;
        aes.check_len(taken)?;
        let start = out.len();
        match (work, &aes.mode, aes.direction) {
            (Work::Cipher(mut cipher), AesMode::CbcPad { .. }, Direction::Encrypt) => {
                let fill = padding::fill(waiting.len(), BLOCK_LEN);
                waiting.append(&[fill; BLOCK_LEN][..usize::from(fill)])?;
                cipher.apply(waiting.expose_mut())?;
                out.append(waiting.expose())
            }
            (Work::Cipher(mut cipher), AesMode::CbcPad { .. }, Direction::Decrypt) => {
                cipher.apply(waiting.expose_mut())?;
                let padding = padding::trailing(waiting.expose()).ok_or(Cause::EncryptedDataInvalid)?;
                waiting.truncate(BLOCK_LEN.saturating_sub(padding));
                out.append(waiting.expose())
            }
            (Work::Cipher(_), ..) => Ok(()),
            (Work::Stealing(stealing), ..) => {
                stealing.finish(waiting.expose_mut())?;
                out.append(waiting.expose())
            }
            (Work::Gcm(gcm), AesMode::Gcm { tag_len, .. }, Direction::Encrypt) => {
                out.append(&[0; BLOCK_LEN][..*tag_len])?;
                gcm.tag(&mut out.expose_mut()[start..])
            }
            (Work::Gcm(mut gcm), AesMode::Gcm { tag_len, .. }, Direction::Decrypt) => {
                let (ciphertext, tag) = split(&waiting, *tag_len)?;
                out.append(ciphertext)?;
                gcm.apply(&mut out.expose_mut()[start..])?;
                gcm.verify(tag).inspect_err(|_| out.truncate(start))
            }
            (Work::Gcm(_), ..) => Err(Cause::CryptoLibrary.with("a mode that is not GCM")),
            (Work::AtOnce(key), mode, direction) => at_end(mode, direction, key.expose()?, &waiting, out),
        }
    }
}

/// Ciphertext and tag.
fn split(sealed: &Secret, tag_len: usize) -> Result<(&[u8], &[u8])> {
    let len = sealed.len().checked_sub(tag_len).ok_or(Cause::EncryptedDataLenRange)?;
    Ok(sealed.expose().split_at(len))
}

fn at_once(key: &[u8]) -> Result<Work> {
    if !matches!(key.len(), 16 | 24 | 32) {
        return Err(Cause::KeySizeRange.with("an AES key has 16, 24 or 32 bytes"));
    }
    Ok(Work::AtOnce(SecretKey::new(key)?))
}

/// The modes that need all of their data.
fn at_end(mode: &AesMode, direction: Direction, key: &[u8], waiting: &Secret, out: &mut Secret) -> Result<()> {
    use Direction::{Decrypt, Encrypt};
    let data = waiting.expose();
    let start = out.len();
    let result = match (mode, direction) {
        (AesMode::KeyWrap { iv }, Encrypt) => key_wrap::wrap(key, iv, data),
        (AesMode::KeyWrap { iv }, Decrypt) => key_wrap::unwrap(key, iv, data),
        (AesMode::KeyWrapPadded { iv }, Encrypt) => key_wrap::wrap_padded(key, iv, data),
        (AesMode::KeyWrapPadded { iv }, Decrypt) => key_wrap::unwrap_padded(key, iv, data),
        (AesMode::KeyWrapPkcs7 { iv }, Encrypt) => key_wrap::wrap_pkcs7(key, iv, data),
        (AesMode::KeyWrapPkcs7 { iv }, Decrypt) => key_wrap::unwrap_pkcs7(key, iv, data),
        (AesMode::Ccm { nonce, aad, mac_len, .. }, Encrypt) => {
            out.append(data)?;
            out.append(&[0; BLOCK_LEN][..*mac_len])?;
            let (data, mac) = out.expose_mut()[start..].split_at_mut(data.len());
            return Ccm { key, nonce, aad }.seal(data, mac);
        }
        (AesMode::Ccm { nonce, aad, mac_len, .. }, Decrypt) => {
            let (ciphertext, mac) = split(waiting, *mac_len)?;
            out.append(ciphertext)?;
            let opened = Ccm { key, nonce, aad }.open(&mut out.expose_mut()[start..], mac);
            return opened.inspect_err(|_| out.truncate(start));
        }
        _ => Err(Cause::CryptoLibrary.with("a mode that does not work at once")),
    };
    out.append(result?.expose())
}

//! Message authentication codes: how secret keys sign and verify.

use super::slot::Slot;
use super::use_of_key::UseOfKey;
use crate::crypto::{Key, Mac, MacAlgorithm, Secret};
use crate::error::{Cause, Result};
use crate::mechanism::{Request, mac};

/// A MAC that is being made or checked. The key is asked for when the first data comes.
pub(super) struct Authentication {
    algorithm: MacAlgorithm,
    len: usize,
    mac: Option<Mac>,
}

impl Authentication {
    /// `MechanismParamInvalid` for a length that the MAC does not have.
    pub(super) fn new(request: &Request) -> Result<Self> {
        let (algorithm, len) = mac(request)?;
        Ok(Self { algorithm, len, mac: None })
    }

    /// The length of the MAC in bytes, as the mechanism wants it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether data has come in by [`Self::update`].
    pub(super) fn is_updated(&self) -> bool {
        self.mac.is_some()
    }

    /// Takes in the next part.
    pub(super) fn update(&mut self, key: &UseOfKey, slot: &Slot, part: &[u8]) -> Result<()> {
        match &mut self.mac {
            Some(mac) => {
                key.check(slot)?;
                mac.update(part)
            }
            None => {
                let new = key.run(slot, |key| start(&self.algorithm, key))?;
                self.mac.insert(new).update(part)
            }
        }
    }

    /// The MAC of `data`, which comes in one part, or of what came in by updates.
    pub(super) fn sign(self, key: &UseOfKey, slot: &Slot, data: Option<&[u8]>) -> Result<Secret> {
        let len = self.len;
        let whole = self.whole(key, slot, data)?.finish()?;
        Ok(Secret::new(whole.get(..len).ok_or(Cause::MechanismParamInvalid)?.to_vec()))
    }

    /// Checks the MAC of `data`, which comes in one part, or of what came in by updates.
    ///
    /// `SignatureInvalid` or `SignatureLenRange` if it is wrong.
    pub(super) fn verify(self, key: &UseOfKey, slot: &Slot, data: Option<&[u8]>, signature: &[u8]) -> Result<()> {
        if signature.len() != self.len {
            return Err(Cause::SignatureLenRange.into());
        }
        self.whole(key, slot, data)?.verify(signature)
    }

    fn whole(self, key: &UseOfKey, slot: &Slot, data: Option<&[u8]>) -> Result<Mac> {
        let mut mac = match self.mac {
            Some(mac) => {
                key.check(slot)?;
                mac
            }
            None => key.run(slot, |key| start(&self.algorithm, key))?,
        };
        mac.update(data.unwrap_or_default())?;
        Ok(mac)
    }
}

fn start(algorithm: &MacAlgorithm, key: &Key) -> Result<Mac> {
    Mac::new(algorithm, key.secret()?.expose()?)
}

//! The KMS keys of one token: the wrapping key, and the additional ones that seal every key as well.
//!
//! What a token seals has one seal by each of them, under one encryption context; any of them opens it. A multi-Region
//! key needs no seal of its own in a second Region: its replica there opens the same blob. The first seal is the
//! wrapping key's; while a token moves from one KMS key to another, for a time that of the key it had before.

use super::HostRules;
use super::answer::{Opened, Sealed, bare_id};
use super::call::Limits;
use super::client::Kms;
use super::context::EncryptionContext;
use crate::config::KmsConfig;
use crate::counters::{Count, Counters};
use crate::crypto::Secret;
use crate::error::{Cause, Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one KMS key made of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The KMS key.
    pub kms_key_arn: String,
    /// The `CiphertextBlob`; opaque.
    pub blob: Vec<u8>,
}

impl From<Sealed> for Seal {
    fn from(sealed: Sealed) -> Self {
        Self { kms_key_arn: sealed.kms_key_arn, blob: sealed.sealed }
    }
}

/// The clients of one token's KMS keys.
pub struct Ring {
    wrapping: Kms,
    additional: Vec<Additional>,
}

struct Additional {
    kms: Kms,
    /// Whether `ReEncrypt` leads to it from the wrapping key.
    beside: bool,
}

/// Whose a seal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Wrapping,
    Former,
    Additional,
    /// Of no key that the configuration names.
    Stranger,
}

impl Ring {
    /// Clients by this configuration. Does no I/O, reads no file and starts no thread.
    pub fn new(config: &KmsConfig, rules: HostRules) -> Self {
        let counters: Arc<Counters> = Arc::default();
        let client = |config: &KmsConfig| Kms::counting(config, rules, Arc::clone(&counters));
        let additional = config.additional.iter();
        Self {
            wrapping: client(config),
            additional: additional.map(|kms| Additional { beside: config.is_beside(kms), kms: client(kms) }).collect(),
        }
    }

    /// The client of the wrapping key.
    pub fn wrapping(&self) -> &Kms {
        &self.wrapping
    }

    /// The clients of the additional keys, in the order in which they are asked.
    pub fn additional(&self) -> impl Iterator<Item = &Kms> {
        self.additional.iter().map(|additional| &additional.kms)
    }

    fn all(&self) -> impl Iterator<Item = &Kms> {
        std::iter::once(&self.wrapping).chain(self.additional())
    }

    /// What the token has done.
    pub fn counters(&self) -> &Arc<Counters> {
        self.wrapping.counters()
    }

    /// [`Kms::forget_connections`] of all.
    pub fn forget_connections(&self) {
        self.all().for_each(Kms::forget_connections);
    }

    /// [`Kms::cancel`] of all.
    pub fn cancel(&self) {
        self.all().for_each(Kms::cancel);
    }

    fn whose(&self, arn: &str) -> Whose {
        if self.wrapping.former(arn).is_some() {
            Whose::Former
        } else if is_one(self.wrapping.key_id(), arn) {
            Whose::Wrapping
        } else if self.additional().any(|kms| kms.key_id() == arn) {
            Whose::Additional
        } else if self.wrapping.is_by_alias() {
            Whose::Wrapping
        } else {
            Whose::Stranger
        }
    }

    /// Whether the client of the wrapping key opens it.
    fn is_own(&self, seal: &Seal) -> bool {
        matches!(self.whose(&seal.kms_key_arn), Whose::Wrapping | Whose::Former)
    }

    /// The seals that a key may open, each with the key's name for KMS, in the configured order.
    fn openers<'a>(&'a self, seals: &'a [Seal]) -> Vec<(&'a Kms, &'a str, &'a Seal)> {
        let own = seals.iter().filter(|seal| self.is_own(seal));
        let own = own.map(|seal| (&self.wrapping, self.wrapping.opener(&seal.kms_key_arn), seal));
        let others = self.additional().flat_map(|kms| {
            let seals = seals.iter().filter(move |seal| is_one(kms.key_id(), &seal.kms_key_arn));
            seals.map(move |seal| (kms, kms.key_id(), seal))
        });
        let openers: Vec<_> = own.chain(others).collect();
        match (openers.is_empty(), seals.first()) {
            // KMS says what is wrong with it.
            (true, Some(seal)) => vec![(&self.wrapping, self.wrapping.key_id(), seal)],
            _ => openers,
        }
    }

    /// Opens what has these seals, by the first of the configured keys that can be had. A seal that was altered ends the
    /// search: it is not passed over in silence.
    ///
    /// # Errors
    /// What the first key that was asked failed with.
    pub fn open(&self, seals: &[Seal], context: &EncryptionContext) -> Result<Opened> {
        let openers = self.openers(seals);
        let (begun, mut failed) = (Instant::now(), None::<Error>);
        for (at, (kms, key_id, seal)) in openers.iter().enumerate() {
            let last = at + 1 == openers.len();
            let opened = kms.decrypt_by(key_id, &seal.blob, context, share(kms.use_of_key(), begun.elapsed(), last));
            match (opened, &failed) {
                (Ok(opened), None) => return Ok(opened),
                (Ok(opened), Some(error)) => {
                    tracing::warn!("opened by the additional KMS key {key_id}: {error}");
                    self.counters().add(Count::KmsSubstitutes);
                    return Ok(opened);
                }
                (Err(error), None) if is_absence(&error) => failed = Some(error),
                (Err(error), None) => return Err(error),
                (Err(error), Some(_)) => tracing::warn!("nor is it opened by the KMS key {key_id}: {error}"),
            }
        }
        Err(failed.unwrap_or_else(|| Cause::RecordCorrupt.with("a key without its blob")))
    }

    /// Opens it by each of the configured keys; a key that has no seal on it is `SealWrongKey`.
    pub fn open_each<'a>(
        &'a self,
        seals: &'a [Seal],
        context: &'a EncryptionContext,
    ) -> impl Iterator<Item = (&'a str, Result<Opened>)> {
        let openers = self.openers(seals);
        self.all().map(move |kms| {
            let found = openers.iter().find(|(opener, ..)| std::ptr::eq(*opener, kms));
            let opened = match found {
                Some((_, key_id, seal)) => kms.decrypt_by(key_id, &seal.blob, context, kms.use_of_key()),
                None => Err(Cause::SealWrongKey.with(format!("it has no seal of the KMS key {}", kms.key_id()))),
            };
            (kms.key_id(), opened)
        })
    }

    /// Adds to a seal of the wrapping key those of the additional keys: one call for each that needs one. Without the
    /// plaintext, those beside the wrapping key take it from there, and for others it is opened.
    pub fn complete(&self, first: Seal, plaintext: Option<&Secret>, context: &EncryptionContext) -> Result<Vec<Seal>> {
        self.add_missing(vec![first], plaintext, context)
    }

    fn add_missing(
        &self,
        mut seals: Vec<Seal>,
        plaintext: Option<&Secret>,
        context: &EncryptionContext,
    ) -> Result<Vec<Seal>> {
        let mut opened = None;
        for Additional { kms, beside } in &self.additional {
            if seals.iter().any(|seal| is_one(kms.key_id(), &seal.kms_key_arn)) {
                continue;
            }
            let made = match (plaintext, seals.first()) {
                (None, Some(first)) if *beside => self.lead(first, kms, context)?,
                (Some(plaintext), _) => kms.encrypt(plaintext, context)?,
                (None, _) => {
                    let opened = match &opened {
                        Some(opened) => opened,
                        None => opened.insert(self.open(&seals, context)?.plaintext),
                    };
                    kms.encrypt(opened, context)?
                }
            };
            seals.push(made.into());
        }
        Ok(seals)
    }

    /// From a seal of the wrapping key to one of the key beside it.
    fn lead(&self, first: &Seal, to: &Kms, context: &EncryptionContext) -> Result<Sealed> {
        self.wrapping.re_encrypt_to(&first.kms_key_arn, to.key_id(), &first.blob, context)
    }

    /// Moves every seal from one context to another: one `ReEncrypt` each, and the plaintext is never here. Only what the
    /// wrapping key has not sealed yet is opened for it. A seal that was missing is still missing, where it takes the
    /// plaintext.
    pub fn re_encrypt(&self, seals: &[Seal], from: &EncryptionContext, to: &EncryptionContext) -> Result<Vec<Seal>> {
        let own = seals.iter().find(|seal| self.is_own(seal));
        let first: Seal = match own {
            Some(seal) => self.wrapping.re_encrypt_stored(&seal.kms_key_arn, &seal.blob, from, to)?.into(),
            None => self.wrapping.encrypt(&self.open(seals, from)?.plaintext, to)?.into(),
        };
        let mut moved = vec![first];
        for Additional { kms, beside } in &self.additional {
            let is_its = |seal: &&Seal| is_one(kms.key_id(), &seal.kms_key_arn);
            if moved.iter().any(|seal| is_its(&seal)) {
                continue;
            }
            match (moved.first(), seals.iter().find(is_its)) {
                // Takes no right to open anything by the additional key.
                (Some(first), _) if *beside => moved.push(self.lead(first, kms, to)?.into()),
                (_, Some(seal)) => moved.push(kms.re_encrypt(&seal.blob, from, to)?.into()),
                (_, None) => tracing::warn!("no seal of the KMS key {}; see datakey-pkcs11 rewrap", kms.key_id()),
            }
        }
        Ok(moved)
    }

    /// Whether a key that the configuration names sealed it, as far as names tell.
    pub fn knows(&self, arn: &str) -> bool {
        self.whose(arn) != Whose::Stranger
    }

    /// Whether what these KMS keys sealed, in this order, has other seals than the configuration wants.
    pub fn wants_rewrap<'a>(&self, arns: impl Iterator<Item = &'a str>) -> bool {
        let arns: Vec<_> = arns.collect();
        let lacks = |kms: &Kms| !arns.iter().any(|arn| is_one(kms.key_id(), arn));
        let wanted = |(at, arn): (usize, &&str)| match self.whose(arn) {
            Whose::Wrapping => at == 0,
            // Nothing can be done about it, where there is no other.
            Whose::Stranger => arns.len() == 1,
            Whose::Additional => at != 0,
            Whose::Former => false,
        };
        !arns.iter().enumerate().all(wanted) || self.additional().any(lacks)
    }

    /// Gives it the seals that the configuration wants: one by the wrapping key, first, and one by each of the additional
    /// keys. By `ReEncrypt` as far as that leads, else by opening it. `None` if they are as they should be.
    ///
    /// Nothing that opens is given up before what stays was seen to open.
    pub fn rewrap(&self, seals: &[Seal], context: &EncryptionContext) -> Result<Option<Vec<Seal>>> {
        if !self.wants_rewrap(seals.iter().map(|seal| seal.kms_key_arn.as_str())) {
            return Ok(None);
        }
        let of = |whose| seals.iter().filter(move |seal| self.whose(&seal.kms_key_arn) == whose);
        let kept = of(Whose::Additional);
        let mut plaintext = None;
        let first: Seal = match (of(Whose::Wrapping).next(), of(Whose::Former).next()) {
            (Some(own), _) => {
                if seals.len() > kept.clone().count() + 1 {
                    plaintext = Some(self.wrapping.decrypt_stored(&own.kms_key_arn, &own.blob, context)?.plaintext);
                }
                own.clone()
            }
            (None, Some(former)) => {
                self.wrapping.re_encrypt_stored(&former.kms_key_arn, &former.blob, context, context)?.into()
            }
            (None, None) => {
                let opened = plaintext.insert(self.open(seals, context)?.plaintext);
                self.wrapping.encrypt(opened, context)?.into()
            }
        };
        let kept = std::iter::once(first).chain(kept.cloned()).collect();
        self.add_missing(kept, plaintext.as_ref(), context).map(Some)
    }
}

/// Whether a KMS key as it is configured is the one with this ARN, or its replica in another Region.
fn is_one(key_id: &str, arn: &str) -> bool {
    bare_id(key_id) == bare_id(arn)
}

/// Of the time that is left after those before, a key that is not the last one leaves the others half: all together keep
/// the deadline of one call.
fn share(limits: Limits, gone: Duration, last: bool) -> Limits {
    let left = limits.total.saturating_sub(gone);
    let total = if last { left } else { left / 2 };
    Limits { attempt: limits.attempt.min(total), total }
}

/// Whether an error says that this KMS key cannot be had, and nothing of what it was to open.
fn is_absence(error: &Error) -> bool {
    matches!(error.cause().device_error(), 0x101..0x200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_together_keep_the_deadline_of_one_call() {
        let second = Duration::from_secs(1);
        let limits = Limits { attempt: 2 * second, total: 10 * second };
        for keys in 1..6 {
            let mut gone = Duration::ZERO;
            for key in 1..=keys {
                let share = share(limits, gone, key == keys);
                assert!(share.attempt <= share.total && share.attempt <= limits.attempt && !share.total.is_zero());
                // Nobody answers, whatever the time.
                gone += share.total;
            }
            assert_eq!(gone, limits.total, "{keys} keys");
        }
    }
}

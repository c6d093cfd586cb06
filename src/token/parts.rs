//! A sealed key, taken apart into what each KMS key made of it, and put together as it is stored.

use super::TokenKey;
use crate::error::{Cause, Result};
use crate::kms::Seal;
use crate::store::{FurtherSeal, ObjectId, SealForm, SealedKey};

/// The parts.
pub(super) struct Parts {
    /// What each KMS key made of the key, or of its data key.
    pub(super) seals: Vec<Seal>,
    /// In an envelope, what the data key encrypts.
    pub(super) body: Option<Vec<u8>>,
}

/// The token key around every part of an object's seal. The token key's own seal has none.
pub(super) struct Layer<'a> {
    pub(super) token_key: &'a TokenKey,
    pub(super) id: ObjectId,
}

impl Layer<'_> {
    /// What a further seal is bound to: its object and its KMS key.
    fn bound_to(&self, kms_key_arn: &str) -> Vec<u8> {
        [self.id.as_bytes(), kms_key_arn.as_bytes()].concat()
    }
}

impl Parts {
    /// The parts of a key that is stored.
    pub(super) fn of(sealed: &SealedKey, layer: Option<Layer<'_>>) -> Result<Self> {
        let bare = |blob: &[u8], bound_to: &dyn Fn(&Layer<'_>) -> Vec<u8>| match &layer {
            Some(layer) => layer.token_key.open(&bound_to(layer), blob).map(|blob| blob.expose().to_vec()),
            None => Ok(blob.to_vec()),
        };
        let first = bare(&sealed.blob, &|layer| layer.id.as_bytes().to_vec())?;
        let (blob, body) = match sealed.form {
            SealForm::Kms => (first, None),
            SealForm::Envelope => {
                let (data_key, body) = split_envelope(&first).ok_or(Cause::SealBroken)?;
                (data_key.to_vec(), Some(body.to_vec()))
            }
        };
        let mut seals = vec![Seal { kms_key_arn: sealed.kms_key_arn.clone(), blob }];
        for FurtherSeal { kms_key_arn, blob } in &sealed.further {
            let blob = bare(blob, &|layer| layer.bound_to(kms_key_arn))?;
            seals.push(Seal { kms_key_arn: kms_key_arn.clone(), blob });
        }
        Ok(Self { seals, body })
    }

    /// As it is stored.
    pub(super) fn stored(
        self,
        layer: Option<Layer<'_>>,
        context_version: u8,
        user_context: Vec<(String, String)>,
    ) -> Result<SealedKey> {
        let mut seals = self.seals.into_iter();
        let first = seals.next().ok_or_else(|| Cause::RecordCorrupt.with("a key without its blob"))?;
        let (form, blob) = match self.body {
            None => (SealForm::Kms, first.blob),
            Some(body) => (SealForm::Envelope, envelope(&first.blob, &body)),
        };
        let blob = match &layer {
            Some(layer) => layer.token_key.seal(layer.id.as_bytes(), &blob)?,
            None => blob,
        };
        let further = seals.map(|Seal { kms_key_arn, blob }| {
            let blob = match &layer {
                Some(layer) => layer.token_key.seal(&layer.bound_to(&kms_key_arn), &blob)?,
                None => blob,
            };
            Ok(FurtherSeal { kms_key_arn, blob })
        });
        let further = further.collect::<Result<_>>()?;
        Ok(SealedKey { form, blob, context_version, user_context, kms_key_arn: first.kms_key_arn, further })
    }
}

/// The sealed data key with its length (2 bytes, big-endian), then what the data key encrypts.
fn envelope(data_key: &[u8], body: &[u8]) -> Vec<u8> {
    // KMS makes blobs of at most 6144 bytes.
    let len = (data_key.len() as u16).to_be_bytes();
    [&len[..], data_key, body].concat()
}

fn split_envelope(envelope: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = envelope.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

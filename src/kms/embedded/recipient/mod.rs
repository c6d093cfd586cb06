//! `Recipient`: answers that are encrypted for a Nitro enclave alone, and what its attestation document says of it.

mod chain;
mod document;
mod envelope;

use super::exception::Exception;
use super::request::{invalid, malformed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::Document;
use serde_json::Value;
use std::time::SystemTime;

/// The longest attestation document that KMS takes.
const MAX_DOCUMENT: usize = 262_144;
/// The one algorithm.
const ALGORITHM: &str = "RSAES_OAEP_SHA_256";

/// An enclave that has proven itself.
#[derive(Debug)]
pub(super) struct Attested(Document);

/// Reads the field `Recipient` of a request, if it is there. A document that proves nothing is no exception yet: to
/// policies it is as if it were not there, and only then the request is refused.
///
/// `roots` are certificates, DER in base64.
pub(super) fn read(recipient: Option<&Value>, roots: &[String]) -> Result<Option<Result<Attested, String>>, Exception> {
    let Some(recipient) = recipient else { return Ok(None) };
    let fields = recipient.as_object().ok_or_else(|| malformed("Recipient"))?;
    if let Some(field) =
        fields.keys().find(|key| !["AttestationDocument", "KeyEncryptionAlgorithm"].contains(&key.as_str()))
    {
        let text = format!("the embedded KMS does not model the field {field} of Recipient");
        return Err(Exception::new("UnsupportedOperationException", text));
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if text("KeyEncryptionAlgorithm") != Some(ALGORITHM) {
        let constraint = format!("Member must satisfy enum value set: [{ALGORITHM}]");
        return Err(invalid("recipient.keyEncryptionAlgorithm", &constraint));
    }
    let document = STANDARD.decode(text("AttestationDocument").unwrap_or_default());
    let document = document.map_err(|_| malformed("AttestationDocument"))?;
    if document.is_empty() || document.len() > MAX_DOCUMENT {
        let constraint = format!("Member must have length between 1 and {MAX_DOCUMENT}");
        return Err(invalid("recipient.attestationDocument", &constraint));
    }
    let roots: Vec<_> = roots.iter().filter_map(|root| STANDARD.decode(root).ok()).collect();
    Ok(Some(document::verify(&document, &roots, SystemTime::now()).map(Attested)))
}

impl Attested {
    /// What policies can be written on: condition keys with their values.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let pcrs = self.0.pcrs.iter();
        let mut facts: Vec<_> =
            pcrs.map(|(index, value)| (format!("kms:RecipientAttestation:PCR{index}"), hex(value))).collect();
        if let Some(image) = self.0.pcrs.get(&0) {
            facts.push(("kms:RecipientAttestation:ImageSha384".to_owned(), hex(image)));
        }
        facts
    }

    /// A `CiphertextForRecipient`.
    pub(super) fn envelop(&self, plaintext: &[u8]) -> Result<Vec<u8>, Exception> {
        envelope::seal(&self.0.public_key, plaintext)
            .map_err(|why| Exception::new("KMSInternalException", format!("cannot encrypt for the recipient: {why}")))
    }
}

/// Refuses what is no root certificate: base64 of DER for the key file.
pub(super) fn root(der: &[u8]) -> Result<String, String> {
    chain::root(der).map(|()| STANDARD.encode(der))
}

//! The key that answers are encrypted for, and the document that says so.

use super::device::Device;
use super::{cms, document};
use crate::config::Attestation;
use crate::crypto::{Aes, AesMode, Direction, Hash, PrivateKey, Secret, SecretKey, random};
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a document is used. KMS takes none that is older than five minutes, and a call may last some of those.
const DOCUMENT_AGE: Duration = Duration::from_secs(120);
/// How long a key is used. What was recorded before opens with none that is there later.
const KEY_AGE: Duration = Duration::from_secs(3600);
/// AES-256.
const CONTENT_KEY: usize = 32;

/// Gives each call the document it needs.
///
/// Its keys are of the process that made them: in a forked child they open nothing, and the child makes an attestor
/// of its own.
pub struct Attestor {
    device: Device,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    key: Option<(Instant, Arc<PrivateKey>)>,
    recipient: Option<(Instant, Arc<Recipient>)>,
}

/// What `made` holds, if it is younger than `age`.
fn young<T>(made: Option<&(Instant, Arc<T>)>, age: Duration) -> Option<Arc<T>> {
    made.filter(|(since, _)| since.elapsed() < age).map(|(_, value)| Arc::clone(value))
}

impl Attestor {
    /// Opens nothing and makes no key before the first document is needed.
    pub fn new(config: &Attestation) -> Self {
        let Attestation::Nitro(device) = config;
        Self { device: Device::new(device), state: Mutex::default() }
    }

    /// A document for a call that begins now, with the key that opens its answer.
    ///
    /// The first makes the key, which takes some 0.1 s; callers that want one meanwhile wait for it.
    ///
    /// # Errors
    /// `AttestationUnavailable`; `HostMemory` and `CryptoLibrary` where there is no key.
    pub fn recipient(&self) -> Result<Arc<Recipient>> {
        let mut state = lock(&self.state);
        if let Some(recipient) = young(state.recipient.as_ref(), DOCUMENT_AGE) {
            return Ok(recipient);
        }
        let key = match young(state.key.as_ref(), KEY_AGE) {
            Some(key) => key,
            None => {
                let key = Arc::new(PrivateKey::generate_rsa_2048()?);
                state.key = Some((Instant::now(), Arc::clone(&key)));
                key
            }
        };
        let asked = Instant::now();
        let document = self.device.attest(key.public_key().spki_der())?;
        let recipient = Arc::new(Recipient::of(key, document));
        state.recipient = Some((asked, Arc::clone(&recipient)));
        Ok(recipient)
    }

    /// Asks for another document before the next call: KMS did not like this one.
    pub fn forget_document(&self) {
        lock(&self.state).recipient = None;
    }
}

/// Whom answers are encrypted for.
pub struct Recipient {
    document: Vec<u8>,
    key: Arc<PrivateKey>,
}

impl Recipient {
    pub(super) fn of(key: Arc<PrivateKey>, document: Vec<u8>) -> Self {
        Self { document, key }
    }

    /// The attestation document, as the Nitro Security Module signed it.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// What it says that the enclave's image measures (PCR0); zeros in debug mode.
    pub fn image(&self) -> Option<Vec<u8>> {
        document::register(&self.document, 0)
    }

    /// Opens a `CiphertextForRecipient`.
    ///
    /// # Errors
    /// `AttestationAnswer`, whatever is wrong with it: who can put something in its place learns nothing more.
    /// `NotInitialized` in a forked child.
    pub fn open(&self, answer: &[u8]) -> Result<Secret> {
        let enveloped = cms::parse(answer).ok_or(Cause::AttestationAnswer)?;
        // A key that does not come out opens the content to nothing, as RFC 3218 (section 2.3) has it: not at once,
        // so that neither error nor time tells which of the two was wrong.
        let mut key = Zeroizing::new([0; CONTENT_KEY]);
        random::fill(key.as_mut_slice())?;
        match self.key.decrypt_oaep(Hash::Sha256, Hash::Sha256, b"", &enveloped.encrypted_key) {
            Ok(found) if found.len() == CONTENT_KEY => key.copy_from_slice(found.expose()),
            Err(error) if error.cause() == Cause::NotInitialized => return Err(error),
            _ => {}
        }
        let content = Aes::new(AesMode::CbcPad { iv: enveloped.iv }, Direction::Decrypt)?
            .run(&SecretKey::new(key.as_slice())?, &enveloped.encrypted_content);
        content.map_err(|_| Cause::AttestationAnswer.into())
    }
}

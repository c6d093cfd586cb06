//! The token key, which encrypts every sealed key once more: how it is held, and how KMS keeps that of a token without
//! PINs. How PINs keep it is in `pins.rs`.

use super::Token;
use super::parts::Parts;
use super::pins::{Decision, User};
use super::seal::stored_pairs;
use super::vouch::Vouching;
use crate::config::LoginMode;
use crate::crypto::{Hash, Secret, SecretKey, seal_box};
use crate::error::{Cause, Result};
use crate::host::lock::{read, write};
use crate::kms::{DataKeySize, EncryptionContext, Seal};
use crate::store::{SealedKey, TokenRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The key that encrypts every sealed key of a token once more.
pub struct TokenKey {
    pub(super) key: SecretKey,
    /// Made of it: the key of the MACs.
    pub(super) mac_key: SecretKey,
    /// The serial number of the token that it belongs to: a token that is initialised anew has another.
    pub(super) serial: String,
    pub(super) login: LoginMode,
    pub(super) vouching: Vouching,
}

/// The versions of how the token key is kept: under a PIN, and in [`token_key_context`]. A token is kept by the last one
/// only if all its objects have their MACs.
pub(super) const KEPT: [(u8, Vouching); 2] = [(2, Vouching::Complete), (1, Vouching::Partial)];

pub(super) fn kept_as(vouching: Vouching) -> u8 {
    KEPT.iter().find(|(_, kept)| *kept == vouching).map_or(0, |(version, _)| *version)
}

impl Token {
    /// Keeps the token key of a login, until [`Token::forget_secrets`].
    pub fn hold_key(&self, key: Option<Arc<TokenKey>>) {
        *write(&self.key) = key;
    }

    pub(super) fn held_key(&self) -> Option<Arc<TokenKey>> {
        read(&self.key).clone()
    }

    /// The token key: that of the login, or unsealed by KMS once per process. A key of a token that was
    /// initialised anew since is none.
    pub(super) fn token_key(&self, record: &TokenRecord) -> Result<Arc<TokenKey>> {
        if let Some(key) = self.held_key().filter(|key| key.serial == record.serial) {
            return Ok(key);
        }
        match record.login {
            LoginMode::Pin => Err(Cause::UserNotLoggedIn.into()),
            // One caller asks KMS, the others wait for its answer.
            LoginMode::None => self.unseal.run(record.serial.clone(), || self.unseal_token_key(record)).0,
        }
    }

    fn unseal_token_key(&self, record: &TokenRecord) -> Result<Arc<TokenKey>> {
        let sealed = record.sealed_token_key.as_ref().ok_or(Cause::RecordCorrupt)?;
        let (context, vouching) = stored_token_key_context(record, sealed)?;
        self.compare_pairs("token key", sealed);
        let opened = self.kms.open(&Parts::of(sealed, None)?.seals, &context)?;
        if opened.plaintext.len() != 32 {
            return Err(Cause::SealKeyMalformed.with("the token key"));
        }
        let key = match vouching {
            Vouching::Complete => TokenKey::new(&opened.plaintext, record, vouching)?,
            Vouching::Partial => self.adopt_by_kms(&opened.plaintext, record, sealed, &context)?,
        };
        self.hold_key(Some(Arc::clone(&key)));
        Ok(key)
    }

    /// A token of an earlier version: its objects get their MACs, and its key is sealed in the present way (one KMS
    /// `ReEncrypt`).
    fn adopt_by_kms(
        &self,
        key: &Secret,
        token: &TokenRecord,
        sealed: &SealedKey,
        context: &EncryptionContext,
    ) -> Result<Arc<TokenKey>> {
        self.adopt(key, token, User::User, |mac| {
            let version = kept_as(Vouching::Complete);
            let now = token_key_context(&token.serial, version, &self.config.kms.encryption_context)?;
            let Parts { seals, body } = Parts::of(sealed, None)?;
            let seals = self.kms.re_encrypt(&seals, context, &now)?;
            let kept = Parts { seals, body }.stored(None, version, self.user_context())?;
            self.change_record(|record| {
                if record.sealed_token_key.as_ref() == Some(sealed) {
                    record.mac = Some(mac);
                    record.sealed_token_key = Some(kept.clone());
                }
                Ok(Decision::Write)
            })
            .map(drop)
        })
    }

    /// A new token key, and how KMS sealed it: one call for each KMS key.
    pub(super) fn new_sealed_token_key(&self, serial: &str) -> Result<(Secret, SealedKey)> {
        let version = kept_as(Vouching::Complete);
        let context = token_key_context(serial, version, &self.config.kms.encryption_context)?;
        let made = self.kms.wrapping().generate_data_key(DataKeySize::AES_256, &context)?;
        let key = made.plaintext.ok_or_else(|| Cause::KmsBadResponse.with("no plaintext data key"))?;
        let first = Seal { kms_key_arn: made.kms_key_arn, blob: made.sealed };
        let seals = self.kms.complete(first, Some(&key), &context)?;
        let sealed = Parts { seals, body: None }.stored(None, version, self.user_context())?;
        Ok((key, sealed))
    }
}

impl TokenKey {
    /// Encrypts a blob of the object `id`.
    pub(super) fn seal(&self, id: &[u8], blob: &[u8]) -> Result<Vec<u8>> {
        seal_box::seal(self.key.expose()?, id, blob)
    }

    /// Decrypts a blob of the object `id`; `SealTokenKey` if it was altered or belongs to another.
    pub(super) fn open(&self, id: &[u8], blob: &[u8]) -> Result<Secret> {
        seal_box::open(self.key.expose()?, id, blob)
    }
}

/// The context that the stored token key of a token without PINs was sealed under, and what that says of the objects.
pub(super) fn stored_token_key_context(
    record: &TokenRecord,
    sealed: &SealedKey,
) -> Result<(EncryptionContext, Vouching)> {
    let Some((version, vouching)) = KEPT.into_iter().find(|(version, _)| *version == sealed.context_version) else {
        return Err(Cause::SealBroken.with("the token key: an unknown version of the encryption context"));
    };
    Ok((token_key_context(&record.serial, version, &stored_pairs(sealed)?)?, vouching))
}

/// The context that seals the token key of a token without PINs.
fn token_key_context(serial: &str, version: u8, user: &BTreeMap<String, String>) -> Result<EncryptionContext> {
    Ok(EncryptionContext::new(user)?
        .with(EncryptionContext::VERSION, version.to_string())
        .with(EncryptionContext::TOKEN, serial)
        .with(EncryptionContext::OBJECT, "token-key")
        .with(EncryptionContext::SPEC, "AES_256")
        .with(EncryptionContext::USAGE, "token-key")
        .with(EncryptionContext::POLICY, STANDARD.encode(Hash::Sha256.digest(b"login=none"))))
}

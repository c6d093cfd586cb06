//! What a store holds and how it is asked.

use crate::config::LoginMode;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// An object's identity for good, in every store and process: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// The id with these bytes. Making new ones, with good randomness, is the caller's part.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes, in the order of its text.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    /// The usual text of a UUID, lower case with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0), f)
    }
}

impl FromStr for ObjectId {
    type Err = uuid::Error;

    /// Reads the text of a UUID.
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(|uuid| Self(uuid.into_bytes()))
    }
}

/// An object's attributes: type to canonical bytes.
pub type Attributes = BTreeMap<u64, Vec<u8>>;

/// How a key is sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealForm {
    /// KMS sealed the key itself.
    Kms,
    /// KMS sealed a data key, and that the key: for keys longer than KMS takes.
    Envelope,
}

/// A private or secret key as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedKey {
    /// How it was sealed; the encryption context tells as well.
    pub form: SealForm,
    /// What KMS returned as `CiphertextBlob`, in an envelope with what its data key encrypts, encrypted once
    /// more under the token key.
    pub blob: Vec<u8>,
    /// Which rules the encryption context was made by: the `v` of the context.
    pub context_version: u8,
    /// The configured pairs that were in the encryption context when the key was sealed, sorted by key,
    /// each key once.
    pub user_context: Vec<(String, String)>,
    /// The KMS key that sealed it, for people to read. It decides only which of the configured keys is asked to open
    /// it, and KMS refuses if it is not that.
    pub kms_key_arn: String,
    /// The seals of further KMS keys on the same key, in an envelope on its data key, under the same encryption context.
    /// Each opens it alone.
    pub further: Vec<FurtherSeal>,
}

impl SealedKey {
    /// The KMS keys that sealed it.
    pub fn kms_key_arns(&self) -> impl Iterator<Item = &str> {
        let further = self.further.iter().map(|seal| seal.kms_key_arn.as_str());
        std::iter::once(self.kms_key_arn.as_str()).chain(further)
    }
}

/// What another KMS key made of a key that is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FurtherSeal {
    /// The KMS key.
    pub kms_key_arn: String,
    /// What it returned as `CiphertextBlob`, encrypted once more under the token key.
    pub blob: Vec<u8>,
}

/// What vouches for a record: HMAC-SHA-256 under a key that is made of the token key.
pub type Mac = [u8; 32];

/// One object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRecord {
    /// Its identity.
    pub id: ObjectId,
    /// How often it was written; compared and swapped by every change.
    pub version: u64,
    /// What it says of itself.
    pub attributes: Attributes,
    /// Its private part, if it has one.
    pub sealed: Option<SealedKey>,
    /// What vouches for all of it but its version. The store does not look at it.
    pub mac: Option<Mac>,
}

/// The token's own record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// How often it was written; compared and swapped by every change.
    pub version: u64,
    /// 16 hexadecimal digits.
    pub serial: String,
    /// The label that `C_InitToken` was given.
    pub label: String,
    /// Whether it has PINs.
    pub login: LoginMode,
    /// The security officer's PIN.
    pub so_pin: Option<PinRecord>,
    /// The user's PIN.
    pub user_pin: Option<PinRecord>,
    /// The token key of a token without PINs.
    pub sealed_token_key: Option<SealedKey>,
    /// What vouches for its names: all but its version, the PINs and the time of the last change.
    pub mac: Option<Mac>,
    /// When it was initialised, in seconds since 1970 (UTC).
    pub created: u64,
    /// When this record last changed, in seconds since 1970 (UTC).
    pub changed: u64,
}

/// A record as a store keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    /// How often it was written.
    pub version: u64,
    /// The encoded record ([`record`](super::record)).
    pub record: Vec<u8>,
}

/// One PIN: how to make a key of it, and what that key opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinRecord {
    /// Argon2id's salt.
    pub salt: [u8; 16],
    /// Argon2id's memory, in KiB.
    pub memory_kib: u32,
    /// Argon2id's passes over that memory.
    pub iterations: u32,
    /// Argon2id's lanes.
    pub lanes: u32,
    /// The token key, encrypted under the key made of the PIN.
    pub wrapped_token_key: Vec<u8>,
    /// Wrong tries since the last right one.
    pub failed_attempts: u32,
}

/// What to find.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// The object has each of these attributes with exactly this value. Empty: every object.
    pub equal: Vec<(u64, Vec<u8>)>,
    /// Which objects can be seen at all.
    pub private: Visibility,
}

/// Which objects a search can see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Visibility {
    /// All of them.
    #[default]
    All,
    /// Those without `CKA_PRIVATE` = 1.
    PublicOnly,
}

/// Where a page ended. Good for one store and one query, for as long as one likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor(pub(super) u64);

/// Some of what a search found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// The objects, in the order in which they were inserted.
    pub ids: Vec<ObjectId>,
    /// Where to go on; `None` when there are no more.
    pub next: Option<Cursor>,
    /// The records of all these objects, where they are few and the search had to look at them anyway; else none. Whoever
    /// uses what he found need not ask for it.
    pub records: Vec<(ObjectId, Raw)>,
}

impl Page {
    /// How many records a page can hold.
    const FEW: usize = 4;
    /// How long one may be.
    const SMALL: usize = 64 * 1024;

    /// One more object, by its record.
    pub(super) fn add(&mut self, id: ObjectId, version: u64, record: &[u8]) {
        if self.ids.len() == self.records.len() && self.ids.len() < Self::FEW && record.len() <= Self::SMALL {
            self.records.push((id, Raw { version, record: record.to_vec() }));
        } else {
            self.records.clear();
        }
        self.ids.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = ObjectId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233-3435-3637-3839-616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("30313233-3435-3637-3839-61626364656".parse::<ObjectId>().is_err());
    }
}

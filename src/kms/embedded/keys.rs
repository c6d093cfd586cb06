//! The KMS keys of an embedded KMS, as its file holds them.

use super::DEFAULT_ALIAS;
use super::exception::Exception;
use super::grant::Grant;
use super::policy::KeyPolicy;
use super::principal::Principal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The version of the file.
pub(super) const VERSION: u32 = 1;
/// Where keys made here say they are.
const REGION: &str = "us-east-1";
/// The account of AWS's own examples: belongs to nobody.
const ACCOUNT: &str = "111122223333";

/// What the ids of multi-Region keys begin with; they have no hyphens in the rest, and so the length of all.
const MULTI_REGION: &str = "mrk-";
/// How often KMS rotates one key on demand.
const MOST_ROTATIONS: usize = 25;

fn decoded(material: &str) -> Result<Zeroizing<[u8; 32]>, Exception> {
    let bytes = Zeroizing::new(STANDARD.decode(material).unwrap_or_default());
    let material = <[u8; 32]>::try_from(bytes.as_slice());
    material.map(Zeroizing::new).map_err(|_| Exception::new("KMSInternalException", "the key file is damaged"))
}

/// The state of a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
    Unavailable,
}

/// One KMS key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) spec: String,
    pub(super) usage: String,
    pub(super) state: State,
    pub(super) origin: String,
    pub(super) description: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_date: Option<u64>,
    /// 32 bytes, base64; what a symmetric key seals with.
    material: String,
    /// What it sealed with before each rotation, the last one first. It still opens that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_material: Vec<String>,
    /// Without one of its own it has the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<KeyPolicy>,
}

impl Key {
    pub(super) fn new(spec: &str, usage: &str, origin: &str, description: &str) -> Result<Self, Exception> {
        let mut bytes = Zeroizing::new([0; 48]);
        getrandom::fill(&mut *bytes)
            .map_err(|_| Exception::new("KMSInternalException", "the system's random generator failed"))?;
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[..16]);
        Ok(Self {
            id: uuid::Builder::from_random_bytes(id).into_uuid().to_string(),
            spec: spec.to_owned(),
            usage: usage.to_owned(),
            state: if origin == "EXTERNAL" { State::PendingImport } else { State::Enabled },
            origin: origin.to_owned(),
            description: description.to_owned(),
            created: now(),
            deletion_date: None,
            material: STANDARD.encode(&bytes[16..]),
            former_material: Vec::new(),
            policy: None,
        })
    }

    /// A key that can have replicas in other Regions, which have its id and its material.
    pub(super) fn multi_region(self) -> Self {
        Self { id: format!("{MULTI_REGION}{}", self.id.replace('-', "")), ..self }
    }

    pub(super) fn is_multi_region(&self) -> bool {
        self.id.starts_with(MULTI_REGION)
    }

    /// The key to seal with.
    pub(super) fn material(&self) -> Result<Zeroizing<[u8; 32]>, Exception> {
        decoded(&self.material)
    }

    /// The keys to open with.
    pub(super) fn materials(&self) -> impl Iterator<Item = Result<Zeroizing<[u8; 32]>, Exception>> {
        std::iter::once(&self.material).chain(&self.former_material).map(|material| decoded(material))
    }

    /// Has it seal with new material from now on.
    pub(super) fn rotate(&mut self) -> Result<(), Exception> {
        if self.former_material.len() >= MOST_ROTATIONS {
            return Err(Exception::new("LimitExceededException", "The key was rotated on demand too often."));
        }
        let fresh = Self::new(&self.spec, &self.usage, &self.origin, "")?;
        self.former_material.insert(0, std::mem::replace(&mut self.material, fresh.material));
        Ok(())
    }
}

/// All that is in the file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) version: u32,
    region: String,
    pub(super) account: String,
    pub(super) keys: Vec<Key>,
    /// From `alias/…` to key id.
    pub(super) aliases: BTreeMap<String, String>,
    /// By access key id. Without any, everybody may do everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    principals: BTreeMap<String, Principal>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) grants: Vec<Grant>,
    /// Certificates to which documents of enclaves have to lead: DER, base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attestation_roots: Vec<String>,
}

impl Keys {
    /// One key and its alias.
    pub(super) fn new() -> Result<Self, Exception> {
        let key = Key::new("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "made by the embedded KMS")?;
        let aliases = BTreeMap::from([(DEFAULT_ALIAS.to_owned(), key.id.clone())]);
        Ok(Self {
            version: VERSION,
            region: REGION.to_owned(),
            account: ACCOUNT.to_owned(),
            keys: vec![key],
            aliases,
            principals: BTreeMap::new(),
            grants: Vec::new(),
            attestation_roots: Vec::new(),
        })
    }

    /// Says who is who.
    pub(super) fn set_principals(&mut self, principals: BTreeMap<String, Principal>) -> Result<(), Exception> {
        let strange = principals.values().find(|principal| principal.caller().account() != self.account);
        if let Some(strange) = strange {
            let text = format!("{} is of another account, which is not modelled", strange.caller().arn());
            return Err(Exception::validation(text));
        }
        self.principals = principals;
        Ok(())
    }

    /// Who has this access key; `None` if nobody is asked who they are.
    pub(super) fn principal(&self, access_key: &str) -> Result<Option<&Principal>, Exception> {
        if self.principals.is_empty() {
            return Ok(None);
        }
        let unknown = || {
            let text = "The security token included in the request is invalid.";
            Exception::new("UnrecognizedClientException", text)
        };
        self.principals.get(access_key).map(Some).ok_or_else(unknown)
    }

    /// The policy of a key: its own, or the default, which lets the policies of users and roles decide.
    pub(super) fn policy(&self, key: &Key) -> Result<KeyPolicy, Exception> {
        if let Some(policy) = &key.policy {
            return Ok(policy.clone());
        }
        let default = json!({
            "Version": "2012-10-17",
            "Id": "key-default-1",
            "Statement": [{
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{}:root", self.account) },
                "Action": "kms:*",
                "Resource": "*",
            }],
        });
        KeyPolicy::try_from(default).map_err(|why| Exception::new("KMSInternalException", why))
    }

    /// The ARN of a key id or an alias.
    pub(super) fn arn(&self, resource: &str) -> String {
        let kind = if resource.starts_with("alias/") { "" } else { "key/" };
        format!("arn:aws:kms:{}:{}:{kind}{resource}", self.region, self.account)
    }

    /// The key that a key id, key ARN, alias or alias ARN names.
    pub(super) fn find(&self, name: &str) -> Result<&Key, Exception> {
        let missing = || {
            let kind = if name.contains("alias/") { "Alias" } else { "Key" };
            let arn = if name.starts_with("arn:") { name.to_owned() } else { self.arn(name) };
            Exception::new("NotFoundException", format!("{kind} '{arn}' does not exist"))
        };
        let local = match name.strip_prefix("arn:") {
            None => name,
            // partition, service, Region, account, resource
            Some(_) => match name.splitn(6, ':').nth(5) {
                Some(resource) if self.arn(resource.strip_prefix("key/").unwrap_or(resource)) == name => {
                    resource.strip_prefix("key/").unwrap_or(resource)
                }
                _ => return Err(missing()),
            },
        };
        let id = self.aliases.get(local).map_or(local, String::as_str);
        let key = self.keys.iter().find(|key| key.id == id);
        key.filter(|key| key.deletion_date.is_none_or(|date| now() < date)).ok_or_else(missing)
    }

    pub(super) fn find_mut(&mut self, name: &str) -> Result<&mut Key, Exception> {
        let id = self.find(name)?.id.clone();
        self.keys
            .iter_mut()
            .find(|key| key.id == id)
            .ok_or_else(|| Exception::new("NotFoundException", format!("Key '{id}' does not exist")))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_each_of_its_names() {
        let keys = Keys::new().unwrap();
        let id = &keys.keys[0].id;
        for name in [id.clone(), keys.arn(id), DEFAULT_ALIAS.to_owned(), keys.arn(DEFAULT_ALIAS)] {
            assert_eq!(&keys.find(&name).unwrap_or_else(|e| panic!("{e:?}")).id, id, "{name}");
        }
        for name in ["alias/other", "x", "arn:aws:kms:eu-west-1:111122223333:key/x", "arn:", ""] {
            assert_eq!(keys.find(name).err().unwrap().code, "NotFoundException", "{name}");
        }
    }
}

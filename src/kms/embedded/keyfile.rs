//! The file with the KMS keys: JSON, readable by its owner only.
//!
//! Several processes may use one file, and may start at the same moment without one. Whoever changes it
//! holds a lock on a second file (the first is replaced, so a lock on it would be a lock on the past),
//! writes a new file and renames it into place; whoever reads sees the old one or the new one.

use super::exception::Exception;
use super::{Broken, DEFAULT_ALIAS, Trouble};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

const VERSION: u32 = 1;
/// Where keys made here say they are.
const REGION: &str = "us-east-1";
/// The account of AWS's own examples: belongs to nobody.
const ACCOUNT: &str = "111122223333";

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
        })
    }

    /// The key to seal with.
    pub(super) fn material(&self) -> Result<Zeroizing<[u8; 32]>, Exception> {
        let bytes = Zeroizing::new(STANDARD.decode(&self.material).unwrap_or_default());
        let material = <[u8; 32]>::try_from(bytes.as_slice());
        material.map(Zeroizing::new).map_err(|_| Exception::new("KMSInternalException", "the key file is damaged"))
    }
}

/// All that is in the file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Keys {
    version: u32,
    region: String,
    pub(super) account: String,
    pub(super) keys: Vec<Key>,
    /// From `alias/…` to key id.
    pub(super) aliases: BTreeMap<String, String>,
}

impl Keys {
    fn new() -> Result<Self, Exception> {
        let key = Key::new("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "made by the embedded KMS")?;
        let aliases = BTreeMap::from([(DEFAULT_ALIAS.to_owned(), key.id.clone())]);
        Ok(Self { version: VERSION, region: REGION.to_owned(), account: ACCOUNT.to_owned(), keys: vec![key], aliases })
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

/// What tells one version of the file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl Stamp {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            seconds: file.mtime(),
            nanoseconds: file.mtime_nsec(),
            size: file.size(),
        }
    }
}

/// The key file and what was last read from it.
pub(super) struct KeyFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Keys>)>>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({})", self.path.display())
    }
}

impl KeyFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys as they are now. Makes the file, with one key, if it is not there.
    pub(super) fn keys(&self) -> Result<Arc<Keys>, Trouble> {
        match fs::metadata(&self.path) {
            Ok(file) => {
                let stamp = Stamp::of(&file);
                if let Some((known, keys)) = &*self.read.lock()
                    && *known == stamp
                {
                    return Ok(Arc::clone(keys));
                }
                Ok(self.load()?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _lock = self.lock()?;
                if !self.path.exists() {
                    self.write(&Keys::new()?)?;
                }
                Ok(self.load()?)
            }
            Err(error) => Err(self.broken(error).into()),
        }
    }

    /// Changes the keys; all or nothing.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Keys) -> Result<T, Exception>) -> Result<T, Trouble> {
        self.keys()?;
        let _lock = self.lock()?;
        let mut keys = Keys::clone(&*self.load()?);
        let result = change(&mut keys)?;
        self.write(&keys)?;
        Ok(result)
    }

    fn load(&self) -> Result<Arc<Keys>, Broken> {
        let mut file = File::open(&self.path).map_err(|error| self.broken(error))?;
        // The stamp of the very file that is read, not of one that is renamed into its place meanwhile.
        let stamp = Stamp::of(&file.metadata().map_err(|error| self.broken(error))?);
        let mut text = Zeroizing::new(Vec::new());
        io::Read::read_to_end(&mut file, &mut text).map_err(|error| self.broken(error))?;
        let keys: Keys = serde_json::from_slice(&text).map_err(|error| self.broken(error))?;
        if keys.version != VERSION {
            return Err(self.broken(format!("it is of version {}, not {VERSION}", keys.version)));
        }
        let keys = Arc::new(keys);
        *self.read.lock() = Some((stamp, Arc::clone(&keys)));
        Ok(keys)
    }

    fn lock(&self) -> Result<File, Broken> {
        let lock =
            private().create(true).truncate(false).open(self.beside("lock")).map_err(|error| self.broken(error))?;
        lock.lock().map_err(|error| self.broken(error))?;
        Ok(lock)
    }

    /// Only under the lock.
    fn write(&self, keys: &Keys) -> Result<(), Broken> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(keys).map_err(|error| self.broken(error))?);
        let new = self.beside("new");
        let write = || {
            // Left behind by a process that was killed here.
            let _ = fs::remove_file(&new);
            let mut file = private().create_new(true).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|error| self.broken(error))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }

    fn broken(&self, error: impl Display) -> Broken {
        Broken(format!("the embedded KMS's key file {} cannot be used: {error}", self.path.display()))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn keys(file: &KeyFile) -> Arc<Keys> {
        file.keys().unwrap_or_else(|trouble| panic!("{trouble:?}"))
    }

    #[test]
    fn many_first_users_make_one_key_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let ids: Vec<String> = std::thread::scope(|scope| {
            let users: Vec<_> =
                (0..16).map(|_| scope.spawn(|| keys(&KeyFile::new(&path)).keys[0].id.clone())).collect();
            users.into_iter().map(|user| user.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn changes_are_seen_by_others_and_a_refused_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let (one, other) = (KeyFile::new(&path), KeyFile::new(&path));
        assert_eq!(keys(&other).keys.len(), 1);
        one.change(|keys| {
            keys.keys.push(Key::new("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "")?);
            Ok(())
        })
        .unwrap();
        assert_eq!(keys(&other).keys.len(), 2);
        let refused = one.change(|keys| {
            keys.keys.clear();
            Err::<(), _>(Exception::validation("no"))
        });
        assert!(refused.is_err());
        assert_eq!(keys(&one).keys.len(), 2);
    }

    #[test]
    fn a_key_is_found_by_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&KeyFile::new(&folder.path().join("keys.json")));
        let id = &keys.keys[0].id;
        for name in [id.clone(), keys.arn(id), DEFAULT_ALIAS.to_owned(), keys.arn(DEFAULT_ALIAS)] {
            assert_eq!(&keys.find(&name).unwrap_or_else(|e| panic!("{e:?}")).id, id, "{name}");
        }
        for name in ["alias/other", "x", "arn:aws:kms:eu-west-1:111122223333:key/x", "arn:", ""] {
            assert_eq!(keys.find(name).err().unwrap().code, "NotFoundException", "{name}");
        }
    }

    #[test]
    fn a_damaged_file_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, "{").unwrap();
        let Err(Trouble::Broken(broken)) = KeyFile::new(&path).keys() else { panic!("the file was read") };
        assert!(broken.0.contains("keys.json"), "{}", broken.0);
    }
}

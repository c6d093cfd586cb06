//! The file with the KMS keys: JSON, readable by its owner only.
//!
//! Several processes may use one file, and may start at the same moment without one. Whoever changes it
//! holds a lock on a second file (the first is replaced, so a lock on it would be a lock on the past),
//! writes a new file and renames it into place; whoever reads sees the old one or the new one.

use super::exception::Exception;
use super::keys::{Keys, VERSION};
use super::{Broken, Trouble};
use crate::host::lock::lock;
use crate::host::ownership::{self, Writers};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a change waits for those of others; each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
const CANNOT_SYNC: [io::ErrorKind; 3] =
    [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
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
                if let Some((known, keys)) = &*lock(&self.read)
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
        // Without O_NONBLOCK a FIFO in this place would hang the host.
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&self.path);
        let mut file = open.map_err(|error| self.broken(error))?;
        // Of the very file that is read, not of one that is renamed into its place meanwhile.
        let about = file.metadata().map_err(|error| self.broken(error))?;
        self.check_owner(&about)?;
        let stamp = Stamp::of(&about);
        let mut text = Zeroizing::new(Vec::new());
        io::Read::read_to_end(&mut file, &mut text).map_err(|error| self.broken(error))?;
        let keys: Keys = serde_json::from_slice(&text).map_err(|error| self.broken(error))?;
        if keys.version != VERSION {
            return Err(self.broken(format!("it is of version {}, not {VERSION}", keys.version)));
        }
        let keys = Arc::new(keys);
        *lock(&self.read) = Some((stamp, Arc::clone(&keys)));
        Ok(keys)
    }

    /// Who can write the file has every key under it.
    fn check_owner(&self, about: &fs::Metadata) -> Result<(), Broken> {
        let link = ownership::objection_to_link(&self.path).map_err(|error| self.broken(error))?;
        let objection = match about.is_file() {
            true => link.or_else(|| ownership::objection(about, Writers::Owner)),
            false => Some("it is not a regular file".to_owned()),
        };
        objection.map_or(Ok(()), |why| Err(self.broken(why)))
    }

    /// Waits for the lock, but not for ever: it may be held by a process that was stopped, or by anybody who
    /// can open the file.
    fn lock(&self) -> Result<File, Broken> {
        let path = self.beside("lock");
        // A link in this place would have us make a file wherever it leads to.
        let lock = private().create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).open(&path);
        let lock = lock.map_err(|error| self.broken(format!("{}: {error}", path.display())))?;
        let since = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let seconds = PATIENCE.as_secs();
                    return Err(self.broken(format!("another process has held {} for {seconds} s", path.display())));
                }
                Err(TryLockError::Error(error)) => return Err(self.broken(error)),
            }
        }
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
            fs::rename(&new, &self.path)?;
            // Else a power failure could take the keys of all that was sealed since.
            sync_folder(&self.path)
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

/// Has the directory that holds `path` written to the disk, where it may be read and the file system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if CANNOT_SYNC.contains(&error.kind()) => Ok(()),
        result => result,
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::super::keys::Key;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn keys(file: &KeyFile) -> Arc<Keys> {
        file.keys().unwrap_or_else(|trouble| panic!("{trouble:?}"))
    }

    #[test]
    fn many_first_users_make_one_key_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let ids: Vec<String> = thread::scope(|scope| {
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
    fn a_damaged_file_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, "{").unwrap();
        let Err(Trouble::Broken(broken)) = KeyFile::new(&path).keys() else { panic!("the file was read") };
        assert!(broken.0.contains("keys.json"), "{}", broken.0);
    }

    fn refusal(file: &KeyFile) -> String {
        match file.keys() {
            Err(Trouble::Broken(broken)) => broken.0,
            other => panic!("{:?}", other.map(|keys| keys.keys.len())),
        }
    }

    #[test]
    fn a_file_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        keys(&KeyFile::new(&path));
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let why = refusal(&KeyFile::new(&path));
            assert!(why.contains(&format!("its mode is 0{mode:o}")), "{why}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if std::os::unix::fs::chown(&path, Some(12345), None).is_ok() {
            let why = refusal(&KeyFile::new(&path));
            assert!(why.contains("it belongs to user 12345"), "{why}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refusal(&KeyFile::new(&path)).contains("not a regular file"));
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let lock = File::create(folder.path().join("keys.json.lock")).unwrap();
        lock.lock().unwrap();
        let begun = Instant::now();
        let why = refusal(&KeyFile::new(&path));
        assert!(why.contains("keys.json.lock for 5 s"), "{why}");
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
        drop(lock);
        keys(&KeyFile::new(&path));

        // Nor is a link followed that was put in its place.
        fs::remove_file(&path).unwrap();
        fs::remove_file(folder.path().join("keys.json.lock")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("keys.json.lock")).unwrap();
        refusal(&KeyFile::new(&path));
        assert!(!folder.path().join("elsewhere").exists());
    }
}

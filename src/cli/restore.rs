//! `datakey-pkcs11 restore`: a copy of a token's store in the place of the store.

use super::backup::{Copied, absolute, look_through};
use super::desk::{Desk, Which};
use super::output::{Answer, Failure, counted, plain};
use super::progress::Progress;
use crate::config::StoreLocation;
use crate::error::Error;
use crate::host::ownership::{self, Writers};
use crate::store::{self, TokenRecord};
use serde_json::json;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Put a copy that `backup` made in the place of a token's store.
///
/// The file is checked first and stays as it is. PINs, keys and everything else are then as they were when it was made;
/// what was there is kept beside the store (beside the file, if the store is a database), and its name is told. Hosts may be at work: they see the one or the other.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// The file that backup wrote
    file: PathBuf,
    /// Replace the token that is there
    #[arg(long)]
    replace: bool,
    /// Replace it even by another token, or if nobody can say which token it is
    #[arg(long, requires = "replace")]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let desk = Desk::open(&arguments.which)?;
    let location = &desk.slot.token.config().store;
    let progress = Progress::of_steps("copying the file");
    let from = absolute(&arguments.file)?;
    // Beside the store, or beside the copy where the store is no file.
    let beside = location.file().unwrap_or(&from);
    let draft = Draft::new(&from, beside)?;
    progress.say("reading it through");
    let Copied { token, objects } = look_through(&draft.file)?;
    let store = store::open(location)?;
    check_replaceable(arguments, store.token(), &token)?;
    progress.say("putting it in its place");
    let kept = store.restore(&draft.file, beside)?.map(|kept| kept.display().to_string());
    drop(progress);

    let what = format!("restored the token {:?}, serial {}, {}", token.label, token.serial, counted(objects, "object"));
    let kept_line = kept.as_ref().map_or_else(String::new, |kept| format!("what was there is {}\n", plain(kept)));
    let json = json!({
        "store": location.to_string(),
        "label": token.label,
        "serial": token.serial,
        "objects": objects,
        "kept": kept,
    });
    Ok(Answer::new(format!("{}\n{kept_line}", plain(&what)), json))
}

/// Refuses to replace what nobody said may be replaced.
fn check_replaceable(
    arguments: &Arguments,
    present: Result<Option<TokenRecord>, Error>,
    copy: &TokenRecord,
) -> Result<(), Failure> {
    let Arguments { replace, force, .. } = arguments;
    match present {
        Ok(None) => Ok(()),
        Ok(Some(_)) if !replace => Err(Failure::new(
            "the token is initialised; --replace puts the copy in its place, and keeps what is there beside it",
        )),
        Ok(Some(present)) if present.serial == copy.serial || *force => Ok(()),
        Ok(Some(present)) => Err(Failure::new(format!(
            "the copy is of the token {}, the store holds the token {}; --force replaces it all the same",
            plain(&copy.serial),
            plain(&present.serial)
        ))),
        Err(_) if *replace && *force => Ok(()),
        Err(error) => Err(Failure::from(
            error.context("what is there cannot be read; --replace --force moves it aside, if it is damaged"),
        )),
    }
}

/// A copy of the file in a folder of our own beside the store: it is checked, brought up to date, and nobody else's.
struct Draft {
    folder: PathBuf,
    file: PathBuf,
    /// Locked for as long as this lives: by that others know whether who made the folder is still at work.
    _lock: File,
}

/// The file by whose lock a folder is somebody's.
const LOCK: &str = "lock";

impl Draft {
    fn new(from: &Path, store: &Path) -> Result<Self, Failure> {
        let mut name = store.as_os_str().to_owned();
        name.push(".restoring");
        let folder = PathBuf::from(name);
        from.metadata().map_err(|error| Failure::new(format!("{}: {error}", from.display())))?;
        let failed = |error: io::Error| Failure::new(format!("{}: {error}", folder.display()));
        if let Some(parent) = store.parent() {
            DirBuilder::new().mode(0o700).recursive(true).create(parent).map_err(failed)?;
        }
        let lock = take(&folder)
            .map_err(failed)?
            .ok_or_else(|| Failure::new(format!("{}: another restore of this store is at work", folder.display())))?;
        let draft = Self { file: folder.join("store.db"), folder: folder.clone(), _lock: lock };
        empty(&folder).map_err(failed)?;
        store::open(&StoreLocation::Sqlite(from.to_owned()))?.back_up(&draft.file)?;
        Ok(draft)
    }
}

/// Makes the folder, or takes over one whose owner was killed; `None` if its owner is at work.
fn take(folder: &Path) -> io::Result<Option<File>> {
    loop {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Somebody else's is not taken over.
        let Ok(about) = folder.symlink_metadata() else { continue };
        let objection = match about.is_dir() {
            true => ownership::objection(&about, Writers::Owner),
            false => Some("it is no folder".to_owned()),
        };
        if let Some(why) = objection {
            return Err(io::Error::other(format!("{why}; it is in the way of a restore")));
        }
        let path = folder.join(LOCK);
        let lock = match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path) {
            // Its owner was done, and removed it in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lock => lock?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        // The one that is locked may have been removed by then, and another be there.
        let about = lock.metadata()?;
        if path.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (about.dev(), about.ino())) {
            return Ok(Some(lock));
        }
    }
}

/// Removes what a restore that was killed left.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It holds nothing that the file does not hold.
        drop(fs::remove_dir_all(&self.folder));
    }
}

//! `datakey-pkcs11 restore`: a copy of a token's store in the place of the store.

use super::backup::{Copied, absolute, look_through};
use super::desk::{Desk, Which};
use super::output::{Answer, Failure, counted, plain};
use super::progress::Progress;
use crate::config::StoreLocation;
use crate::error::Error;
use crate::store::{self, TokenRecord};
use serde_json::json;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Put a copy that `backup` made in the place of a token's store.
///
/// The file is checked first and stays as it is. PINs, keys and everything else are then as they were when it was made;
/// what was there is kept beside the store, and its name is told. Hosts may be at work: they see the one or the other.
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
    let draft = Draft::new(&from, location.file().unwrap_or(&from))?;
    progress.say("reading it through");
    let Copied { token, objects } = look_through(&draft.file)?;
    let store = store::open(location)?;
    check_replaceable(arguments, store.token(), &token)?;
    progress.say("putting it in its place");
    let kept = store.restore(&draft.file)?.map(|kept| kept.display().to_string());
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
}

impl Draft {
    fn new(from: &Path, store: &Path) -> Result<Self, Failure> {
        let mut name = store.as_os_str().to_owned();
        name.push(".restoring");
        let folder = PathBuf::from(name);
        from.metadata().map_err(|error| Failure::new(format!("{}: {error}", from.display())))?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(format!(
                "{} is there: another restore is at work, or was killed; in that case remove it",
                folder.display()
            )),
            _ => Failure::new(format!("{}: {error}", folder.display())),
        };
        let mut make = DirBuilder::new();
        make.mode(0o700);
        if let Some(parent) = store.parent() {
            make.recursive(true).create(parent).map_err(failed)?;
        }
        make.recursive(false).create(&folder).map_err(failed)?;
        let draft = Self { file: folder.join("store.db"), folder };
        store::open(&StoreLocation::Sqlite(from.to_owned()))?.back_up(&draft.file)?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It holds nothing that the file does not hold.
        drop(fs::remove_dir_all(&self.folder));
    }
}

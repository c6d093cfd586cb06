//! `datakey-pkcs11 backup`: a token's store in a file.

use super::desk::{Desk, Which};
use super::output::{Answer, Failure, counted, plain};
use super::progress::Progress;
use crate::config::StoreLocation;
use crate::error::Cause;
use crate::store::{self, TokenRecord};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Copy a token's store to a new file, while it is in use.
///
/// Takes neither PIN nor KMS: keys are in the copy as they are in the store, encrypted. The copy is read through once it
/// is made. `restore` puts it back.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// The file to write; what is there is not overwritten
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let desk = Desk::open(&arguments.which)?;
    let store = store::open(&desk.slot.token.config().store)?;
    if store.token()?.is_none() {
        return Err(Failure::from(Cause::TokenNotRecognized.with("there is nothing to copy")));
    }
    let file = absolute(&arguments.file)?;
    if file.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{} is there already, and is not overwritten", file.display())));
    }
    let progress = Progress::of_steps("copying the store");
    store.back_up(&file)?;
    progress.say("reading the copy through");
    let Copied { token, objects } = look_through(&file)?;
    drop(progress);
    let name = file.display().to_string();
    let what = format!("copied the token {:?}, serial {}, {}", token.label, token.serial, counted(objects, "object"));
    let json = json!({"file": name, "label": token.label, "serial": token.serial, "objects": objects});
    Ok(Answer::new(plain(&format!("{what}, to {name}")), json))
}

/// What a copy holds.
pub(super) struct Copied {
    pub(super) token: TokenRecord,
    pub(super) objects: u64,
}

/// Reads a copy through.
pub(super) fn look_through(file: &Path) -> Result<Copied, Failure> {
    let copy = store::open(&StoreLocation::Sqlite(file.to_owned()))?;
    let objects = copy.check()?;
    let token = copy.token()?.ok_or_else(|| Cause::StoreCorrupt.with("the copy holds no token"))?;
    Ok(Copied { token, objects })
}

/// The file that is meant, wherever the work is done.
pub(super) fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

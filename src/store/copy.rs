//! A token from one store to another: into a database, out of it, and to files and back.
#![cfg_attr(
    not(any(feature = "dynamodb", feature = "postgres")),
    allow(dead_code, reason = "a store that is a file makes its backups itself")
)]

use super::sqlite::SqliteStore;
use super::{ObjectId, Raw, Sink, Store, record};
use crate::crypto::{Digest, Hash};
use crate::error::{Cause, Result};
use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How often a store that others write to is read for a backup.
const ATTEMPTS: u32 = 5;

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many objects there are.
    pub objects: u64,
    /// How many of them were there before, as they are.
    pub present: u64,
}

/// Copies the token in `from` to `to`, which is empty or holds a copy of it that was broken off. Every record is the
/// same afterwards, byte for byte: that is looked at when all is written. Objects come in the order in which they are
/// in `from`, but for those that differed in a copy that was there.
///
/// Others should not write to either meanwhile: what they change is a `StoreConflict` at the end, and is brought over
/// by doing it again. A target with another token is refused.
pub fn copy(from: &dyn Store, to: &dyn Store) -> Result<Copied> {
    let before = from.change_counter()?;
    let copied = copy_moment(from, to)?;
    match from.change_counter()? == before {
        true => Ok(copied),
        false => Err(Cause::StoreConflict.with("others changed the token while it was copied: copy it again")),
    }
}

/// The same as it is at one moment, whatever others do after that.
fn copy_moment(from: &dyn Store, to: &dyn Store) -> Result<Copied> {
    let mut target = Target { to, present: HashMap::new(), shown: Listing::default(), copied: Copied::default() };
    from.export(&mut target)?;
    let Target { present, shown, copied, .. } = target;
    // What the source has no more.
    present.keys().try_for_each(|id| to.delete(id, None))?;
    match Listing::of(to)? == shown {
        true => Ok(copied),
        false => Err(Cause::StoreConflict.with("the copy is not what was copied: others write to it")),
    }
}

/// A record's version and SHA-256.
type Print = (u64, Digest);

fn print(raw: &Raw) -> Print {
    (raw.version, Hash::Sha256.digest(&raw.record))
}

/// What the source shows is written here.
struct Target<'a> {
    to: &'a dyn Store,
    /// What was here before and was not yet met in the source.
    present: HashMap<ObjectId, Print>,
    /// What the source showed.
    shown: Listing,
    copied: Copied,
}

impl Sink for Target<'_> {
    fn token(&mut self, token: &Raw) -> Result<()> {
        let serial = record::decode_token(token.version, &token.record)?.serial;
        match self.to.token()? {
            Some(there) if there.serial != serial => {
                let there = there.serial;
                let why = format!("the target holds the token {there}, and {serial} is to be copied");
                return Err(Cause::StoreConflict.with(why));
            }
            Some(_) => self.present = Listing::of(self.to)?.objects,
            None => {}
        }
        self.shown.token(token)?;
        self.to.import_token(token)
    }

    fn objects(&mut self, objects: Vec<(ObjectId, Raw)>) -> Result<()> {
        let mut missing = Vec::new();
        for (id, raw) in objects {
            self.copied.objects += 1;
            self.shown.objects.insert(id, print(&raw));
            match self.present.remove(&id) {
                Some(there) if there == print(&raw) => {
                    self.copied.present += 1;
                    continue;
                }
                Some(_) => self.to.delete(&id, None)?,
                None => {}
            }
            missing.push((id, raw));
        }
        missing.chunks(self.to.most_at_once().max(1)).try_for_each(|some| self.to.import(some))
    }
}

/// What a store holds.
#[derive(Default, PartialEq, Eq)]
struct Listing {
    token: Option<Print>,
    objects: HashMap<ObjectId, Print>,
}

impl Listing {
    fn of(store: &dyn Store) -> Result<Self> {
        let mut listing = Self::default();
        store.export(&mut listing)?;
        Ok(listing)
    }
}

impl Sink for Listing {
    fn token(&mut self, token: &Raw) -> Result<()> {
        self.token = Some(print(token));
        Ok(())
    }

    fn objects(&mut self, objects: Vec<(ObjectId, Raw)>) -> Result<()> {
        self.objects.extend(objects.iter().map(|(id, raw)| (*id, print(raw))));
        Ok(())
    }
}

/// [`Store::back_up`] of a store that is no file.
pub(super) fn to_file(from: &dyn Store, to: &Path) -> Result<()> {
    if from.token()?.is_none() {
        return Err(Cause::TokenNotRecognized.into());
    }
    let draft = Draft::new(to)?;
    let file = SqliteStore::new(&draft.0.join("store.db"))?;
    // What shows no moment says so where others write, and may show one when it is asked again.
    let mut attempts = 0;
    while let Err(error) = copy_moment(from, &file) {
        attempts += 1;
        if error.cause() != Cause::StoreConflict || attempts == ATTEMPTS {
            return Err(error);
        }
    }
    // Takes the name when it is whole, and overwrites nothing.
    file.back_up(to)
}

/// [`Store::restore`] of a store that is no file: only where there is no token, because nothing there could put a
/// copy in the place of a token in one transaction.
pub(super) fn from_file(to: &dyn Store, from: &Path) -> Result<Option<PathBuf>> {
    let file = SqliteStore::new(from)?;
    file.check()?;
    if file.token()?.is_none() {
        return Err(Cause::TokenNotRecognized.with(format!("{} holds no token", from.display())));
    }
    if to.token()?.is_some() {
        return Err(Cause::StoreConflict.with("a token is there, and in a database it is not replaced by a copy"));
    }
    copy(&file, to).map(|_| None)
}

/// A folder of our own beside a file.
struct Draft(PathBuf);

impl Draft {
    fn new(beside: &Path) -> Result<Self> {
        let mut name = beside.as_os_str().to_owned();
        name.push(".draft");
        let folder = PathBuf::from(name);
        let failed = |error| Cause::StoreUnavailable.with(format!("{}: {error}", folder.display()));
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        Ok(Self(folder))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It holds nothing that the store does not hold.
        drop(fs::remove_dir_all(&self.0));
    }
}

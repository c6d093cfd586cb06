//! A token from one store to another: into a database, out of it, and to files and back.
#![cfg_attr(
    not(any(feature = "dynamodb", feature = "postgres")),
    allow(dead_code, reason = "a store that is a file makes its backups itself")
)]

use super::sqlite::{SqliteStore, free_name};
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

/// A store that is no file, and in which all can be replaced at one moment.
pub(super) trait Replace: Store {
    /// Puts `contents` in the place of all that is here, if the change counter is still `counter`, or if there is still
    /// no token where it is `None`. `StoreConflict` if not, and nothing was done then.
    fn replace(&self, counter: Option<u64>, contents: &Contents<'_>) -> Result<()>;
}

/// What is put in the place of a store.
pub(super) struct Contents<'a> {
    file: &'a SqliteStore,
    /// Versions go on from those that were here, so that no change that was begun before fits what is here then.
    ahead: u64,
    /// The token's record.
    pub(super) token: Raw,
    /// How many objects there are.
    pub(super) objects: u64,
}

impl<'a> Contents<'a> {
    fn new(file: &'a SqliteStore, ahead: u64) -> Result<Self> {
        let (mut token, objects, highest) = file.outline()?;
        if ahead.max(highest) > i64::MAX as u64 / 2 {
            return Err(Cause::StoreCorrupt.with("its versions are not true"));
        }
        token.version += ahead;
        Ok(Self { file, ahead, token, objects })
    }

    /// The next objects after number `after`, 0 at first, and the number of the last of them; none at the end.
    pub(super) fn page(&self, after: i64) -> Result<(Vec<(ObjectId, Raw)>, i64)> {
        let (mut objects, last) = self.file.raw_objects(after)?;
        objects.iter_mut().for_each(|(_, raw)| raw.version += self.ahead);
        Ok((objects, last))
    }
}

/// [`Store::restore`] of a store that is no file.
///
/// What is there is copied first, and replaced only as it was copied: where others changed it meanwhile, it is copied
/// again.
pub(super) fn from_file(to: &dyn Replace, from: &Path, beside: &Path) -> Result<Option<PathBuf>> {
    let file = SqliteStore::copy_at(from)?;
    let mut attempts = 0;
    loop {
        let counter = to.change_counter()?;
        let there = to.token().map_err(|error| error.context("what is there cannot be kept"))?;
        let kept = there.map(|_| free_name(beside));
        let mut ahead = 0;
        if let Some(kept) = &kept {
            to_file(to, kept)?;
            ahead = SqliteStore::new(kept)?.outline()?.2;
        }
        let error = match to.replace(kept.as_ref().map(|_| counter), &Contents::new(&file, ahead)?) {
            Ok(()) => return Ok(kept),
            Err(error) => error,
        };
        attempts += 1;
        match kept {
            _ if error.cause() != Cause::StoreConflict || attempts == ATTEMPTS => {
                let kept =
                    kept.map_or_else(String::new, |kept| format!("what was there was copied to {}", kept.display()));
                return Err(if kept.is_empty() { error } else { error.context(kept) });
            }
            // It is of a moment that is over.
            Some(kept) => drop(fs::remove_file(kept)),
            None => {}
        }
    }
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

//! Where a token's records are kept.
//!
//! A [`Store`] holds one token: one [`TokenRecord`] and its [`ObjectRecord`]s. It knows nothing of
//! what the attributes mean: they are opaque pairs of a type and canonical bytes (a `CK_ULONG` is 8
//! bytes big-endian, a `CK_BBOOL` one byte), so that a store written on one machine reads the same on
//! any other. Every change is a compare-and-swap on a version, every call stands for itself, and
//! nothing is kept in memory that another process could have changed.
#![deny(unsafe_code)]

pub mod copy;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "postgres")]
mod postgres;
pub mod record;
#[cfg(any(feature = "dynamodb", feature = "postgres"))]
mod remote;
mod sqlite;
mod terms;
mod types;
mod wire;

pub use types::*;

use crate::config::StoreLocation;
use crate::error::{Cause, Result};
use crate::host;
use crate::net::HostRules;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One token's records, shared by all the processes that use the token.
///
/// A record that another process changed since it was read answers `StoreConflict`. In a forked child
/// every call on an inherited store answers `NotInitialized`; dropping it there touches nothing that
/// the parent still uses.
pub trait Store: Send + Sync {
    /// The token's own record; `None` where no token was initialised.
    fn token(&self) -> Result<Option<TokenRecord>>;

    /// Initialises the token, or initialises it again: destroys all objects and writes `token`, in one
    /// transaction. `expected` is the version of the record that the caller saw, `None` if it saw none;
    /// anything else in the store is a `StoreConflict`. The new record's version is one higher than
    /// `expected` (1 for a first one), whatever `token.version` says.
    fn initialise(&self, token: &TokenRecord, expected: Option<u64>) -> Result<()>;

    /// Replaces the token's record if its version is still `token.version`; answers the new version.
    fn update_token(&self, token: &TokenRecord) -> Result<u64>;

    /// The objects that match, in the order in which they were inserted, from `after` on.
    ///
    /// At most `limit` ids. A page may hold fewer, even none, and still have a `next`: a search through
    /// very many candidates is cut into short transactions. An object inserted while paging comes at
    /// the end, one deleted while paging is left out, none comes twice. An object whose record is
    /// damaged cannot be excluded and is answered; `get` then tells.
    fn find(&self, query: &Query, after: Option<Cursor>, limit: usize) -> Result<Page>;

    /// One object; `None` where there is none. `RecordCorrupt` if its record is damaged.
    fn get(&self, id: &ObjectId) -> Result<Option<ObjectRecord>>;

    /// [`Store::token`] by who does not wait longer than `patience`, if it is given: where others would be waited for.
    fn token_within(&self, patience: Option<Duration>) -> Result<Option<TokenRecord>> {
        let _ = patience;
        self.token()
    }

    /// [`Store::get`] by such a one.
    fn get_within(&self, id: &ObjectId, patience: Option<Duration>) -> Result<Option<ObjectRecord>> {
        let _ = patience;
        self.get(id)
    }

    /// Inserts all or none. Their versions become 1, whatever the records say. An id that is in use is
    /// a `StoreConflict`, no token to insert into is `TokenNotRecognized`.
    fn insert(&self, records: &[ObjectRecord]) -> Result<()>;

    /// Replaces the object if its version is still `record.version`; answers the new version.
    /// `ObjectHandleInvalid` if it is gone.
    fn update(&self, record: &ObjectRecord) -> Result<u64>;

    /// Deletes the object, if `version` is given only as long as that is its version.
    /// `ObjectHandleInvalid` if it is gone.
    fn delete(&self, id: &ObjectId, version: Option<u64>) -> Result<()>;

    /// A number that grows with every committed change by any process; 0 where nothing was ever written.
    fn change_counter(&self) -> Result<u64>;

    /// Looks through the whole store for damage; answers the number of objects.
    ///
    /// `StoreCorrupt` names what is damaged. Takes time with the size of the store, and keeps nobody from writing.
    fn check(&self) -> Result<u64>;

    /// Copies the whole store, as it is at one moment, to the new file `to`: 0600, durable, and with its name only
    /// when it is whole. Others may go on writing. A file that is there is never overwritten; `TokenNotRecognized`
    /// where there is no token.
    fn back_up(&self, to: &Path) -> Result<()>;

    /// Puts what a copy at `from` holds in the place of all that is here, at one moment: others see the one or the
    /// other, and nothing that they changed is lost. A token that is here is first copied to a new file,
    /// `BESIDE.before-restore`; a damaged store that is a file is moved there as it is. Answers that file.
    ///
    /// The copy is looked through first, and brought to the present format if it is older. `StoreNewer`,
    /// `StoreCorrupt`, or `TokenNotRecognized` if it cannot be used.
    fn restore(&self, from: &Path, beside: &Path) -> Result<Option<PathBuf>>;

    /// Makes what must be there before a token can be initialised, and brings it to the present format. `initialise`
    /// does so too; this is for who may do more than those who use tokens.
    fn create(&self) -> Result<()>;

    /// Shows the whole store to `sink` as it is at one moment, and as it is kept: the token, then all objects in the
    /// order in which they were inserted. `TokenNotRecognized` where there is no token.
    fn export(&self, sink: &mut dyn Sink) -> Result<()>;

    /// Writes the token's record as it is, where there is none, or one with the same serial.
    fn import_token(&self, token: &Raw) -> Result<()>;

    /// Inserts objects as they are, with their versions: all or none. An id that is in use is a `StoreConflict`.
    fn import(&self, objects: &[(ObjectId, Raw)]) -> Result<()>;

    /// How many objects one `insert` or `import` can take.
    fn most_at_once(&self) -> usize;

    /// Whether writing is known to be impossible.
    fn read_only(&self) -> bool;
}

/// Where [`Store::export`] leads.
pub trait Sink: Send {
    /// The token's record, first and once.
    fn token(&mut self, token: &Raw) -> Result<()>;

    /// Some of the objects.
    fn objects(&mut self, objects: Vec<(ObjectId, Raw)>) -> Result<()>;
}

/// The store at `location`, for a program that may start threads.
///
/// Touches neither file nor network: the first call does. Of a file only `initialise` makes one (0600, in a directory
/// of 0700 if that had to be made too). What is missing reads as a token that was never initialised (a
/// file that was there and is gone is `StoreUnavailable`); what cannot be used makes every call fail until it can. Fails with `ForkedWhileBusy` in a
/// child that was forked while another thread was inside the store's library.
pub fn open(location: &StoreLocation) -> Result<Box<dyn Store>> {
    open_in(location, HostRules { threads_allowed: true, secure_mode: host::secure_mode() })
}

/// The same in a host that has its rules.
pub fn open_in(location: &StoreLocation, rules: HostRules) -> Result<Box<dyn Store>> {
    match location {
        StoreLocation::Sqlite(path) => Ok(Box::new(sqlite::SqliteStore::new(path)?)),
        #[cfg(feature = "postgres")]
        StoreLocation::Postgres(config) => Ok(Box::new(postgres::PostgresStore::new(config, rules))),
        #[cfg(feature = "dynamodb")]
        StoreLocation::DynamoDb(config) => Ok(Box::new(dynamodb::DynamoDbStore::new(config, rules))),
        #[allow(unreachable_patterns, reason = "what is left out depends on the features")]
        other => {
            let _ = rules;
            Err(Cause::StoreSetup.with(format!("{other}: this module was built without such stores")))
        }
    }
}

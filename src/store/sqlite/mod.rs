//! A token in an SQLite file: the store by default.
//!
//! Write-ahead log, durable commits, many processes and threads at once, and several copies of this module
//! in one process (`process.rs`). The file is never opened but by SQLite.

mod backup;
mod connection;
mod fault;
mod migrate;
mod pool;
mod process;
mod query;
mod queue;
mod schema;
mod whole;
mod write;

pub(super) use self::backup::free_name;
use self::connection::Link;
use self::fault::{Outcome, Stop};
use self::pool::{PATIENCE, Pool};
use self::queue::{Change, Queue};
use self::schema::Format;
use crate::error::{Cause, Result};
use crate::store::{Cursor, ObjectId, ObjectRecord, Page, Query, Raw, Sink, Store, TokenRecord, record};
use rusqlite::{Connection, OptionalExtension};
use std::path::{Path, PathBuf};

/// A token in an SQLite file.
pub(super) struct SqliteStore {
    pool: Pool,
    queue: Queue,
}

impl SqliteStore {
    /// The store in the file at `path`, which need not exist and is not touched yet.
    pub(super) fn new(path: &Path) -> Result<Self> {
        Ok(Self { pool: Pool::new(path)?, queue: Queue::default() })
    }

    /// A copy that can be put in the place of a store: it is looked through, and of the present format afterwards.
    pub(super) fn copy_at(path: &Path) -> Result<Self> {
        let copy = Self::new(path)?;
        copy.check()?;
        match copy.token()? {
            Some(_) => Ok(copy),
            None => Err(Cause::TokenNotRecognized.with(format!("{} holds no token", path.display()))),
        }
    }

    /// The token's record as it is kept, how many objects there are, and the highest version of all.
    pub(super) fn outline(&self) -> Result<(Raw, u64, u64)> {
        self.read(write::outline)?.ok_or(Cause::TokenNotRecognized.into())
    }

    /// The next objects after number `after`, as they are kept, and the number of the last of them.
    pub(super) fn raw_objects(&self, after: i64) -> Result<(Vec<(ObjectId, Raw)>, i64)> {
        self.read(|connection| write::raw_objects(connection, after))?.ok_or(Cause::TokenNotRecognized.into())
    }

    /// Runs `work` in a read transaction; `None` if nothing was ever written.
    fn read<T>(&self, mut work: impl FnMut(&Connection) -> Outcome<T>) -> Result<Option<T>> {
        let path = &self.pool.path;
        for _ in 0..2 {
            let found = self.pool.read(|link| {
                link.run(path, |connection| {
                    connection.prepare_cached("BEGIN")?.execute([])?;
                    let format = schema::format(connection)?;
                    let found = (format == Format::Present).then(|| work(connection)).transpose()?;
                    connection::commit(connection)?;
                    Ok((format, found))
                })
            })?;
            match found {
                Some((Format::Older(_), _)) => self.pool.write(|link| migrate::migrate(link, path)).map(|_| ())?,
                Some((_, found)) => return Ok(found),
                None => return Ok(None),
            }
        }
        Err(Cause::StoreUnavailable.with("the store does not stay upgraded: an old backup is being put back"))
    }

    /// Runs `work` in a write transaction; `None` if no token was ever initialised.
    fn write<T>(&self, mut work: impl FnMut(&Connection) -> Outcome<T>) -> Result<Option<T>> {
        let path = &self.pool.path;
        let written = self.pool.write(|link| {
            ready_to_write(link, path)?;
            link.run(path, |connection| {
                let format = connection::begin(connection)?;
                let done = (format == Format::Present).then(|| work(connection)).transpose()?;
                connection::commit_change(connection)?;
                Ok(done)
            })
        })?;
        Ok(written.flatten())
    }

    /// Has a change written, together with those that other threads want written meanwhile; answers the new version.
    fn change(&self, change: Change) -> Result<u64> {
        self.pool.check_process()?;
        let written = self.queue.write(change, PATIENCE, |changes| self.write_all(changes));
        written.unwrap_or_else(|| Err(pool::busy(&self.pool.path)))
    }

    /// In one transaction, if that can be.
    fn write_all(&self, changes: &[&Change]) -> Vec<Result<u64>> {
        match self.write(|connection| queue::apply_all(connection, changes)) {
            Ok(Some(results)) => results,
            Ok(None) => changes.iter().map(|change| Err(change.without_token())).collect(),
            Err(error) if changes.len() == 1 || matches!(error.cause(), Cause::StoreBusy | Cause::StoreInDoubt) => {
                vec![Err(error); changes.len()]
            }
            // One that is too large for the disk, say, need not keep the others out.
            Err(_) => changes.iter().flat_map(|change| self.write_all(&[*change])).collect(),
        }
    }
}

/// Refuses where writing is impossible, and brings an older file up to date.
fn ready_to_write(link: &Link, path: &Path) -> Result<()> {
    if link.read_only {
        return Err(Cause::StoreReadOnly.with(path.display().to_string()));
    }
    match link.run(path, connection::look)? {
        Format::Older(_) => migrate::migrate(link, path),
        Format::Empty | Format::Present => Ok(()),
    }
}

impl Store for SqliteStore {
    fn token(&self) -> Result<Option<TokenRecord>> {
        Ok(self.read(write::token)?.flatten())
    }

    fn initialise(&self, token: &TokenRecord, expected: Option<u64>) -> Result<()> {
        let encoded = record::encode_token(token)?;
        if expected.is_none() {
            self.pool.check_process()?;
            connection::create(&self.pool.path)?;
        }
        let path = &self.pool.path;
        let done = self.pool.write(|link| {
            ready_to_write(link, path)?;
            link.run(path, connection::use_log)?;
            link.run(path, |connection| {
                connection::begin_to_fill(connection)?;
                write::initialise(connection, &encoded, expected)?;
                connection::commit_change(connection)
            })
        })?;
        done.ok_or_else(|| Cause::StoreConflict.with("the token is gone"))
    }

    fn update_token(&self, token: &TokenRecord) -> Result<u64> {
        self.change(Change::Token { version: token.version, record: record::encode_token(token)? })
    }

    fn find(&self, query: &Query, after: Option<Cursor>, limit: usize) -> Result<Page> {
        let plan = query::Plan::new(query);
        Ok(self.read(|connection| plan.page(connection, after, limit))?.unwrap_or_default())
    }

    fn get(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        let found = self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT version, record FROM object JOIN record USING (seq) WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
                .optional()?)
        })?;
        found.flatten().map(|(version, bytes)| record::decode_object(id, version as u64, &bytes)).transpose()
    }

    fn insert(&self, records: &[ObjectRecord]) -> Result<()> {
        let objects = records.iter().map(write::New::encode).collect::<Result<Vec<_>>>()?;
        self.change(Change::Insert(objects)).map(drop)
    }

    fn update(&self, record: &ObjectRecord) -> Result<u64> {
        self.change(Change::Update { version: record.version, object: write::New::encode(record)? })
    }

    fn delete(&self, id: &ObjectId, version: Option<u64>) -> Result<()> {
        self.change(Change::Delete { id: *id, version }).map(drop)
    }

    fn change_counter(&self) -> Result<u64> {
        let counter = self.read(|connection| {
            Ok(connection.prepare_cached("SELECT counter FROM state")?.query_row([], |row| row.get::<_, i64>(0))?)
        })?;
        Ok(counter.unwrap_or(0) as u64)
    }

    fn check(&self) -> Result<u64> {
        let counted = self.read(|connection| {
            whole::check(connection).map_err(|stop| match stop {
                Stop::Refused(error) => error.context(self.pool.path.display()).into(),
                stop => stop,
            })
        })?;
        Ok(counted.unwrap_or(0))
    }

    fn back_up(&self, to: &Path) -> Result<()> {
        let path = &self.pool.path;
        self.pool.read(|link| backup::back_up(link, path, to))?.ok_or(Cause::TokenNotRecognized.into())
    }

    fn restore(&self, from: &Path, beside: &Path) -> Result<Option<PathBuf>> {
        Self::copy_at(from)?;
        let path = &self.pool.path;
        let damaged = match self.check() {
            Err(error) if error.cause() == Cause::StoreCorrupt => Some(backup::set_aside(path)?),
            found => found.map(|_| None)?,
        };
        connection::create(path)?;
        let kept = self.pool.write(|link| {
            ready_to_write(link, path)?;
            link.run(path, connection::use_log)?;
            backup::replace(link, path, from, beside)
        });
        match (kept, damaged) {
            (Ok(Some(kept)), damaged) => Ok(damaged.or(kept)),
            (Ok(None), _) => Err(Cause::StoreConflict.with("the store was removed meanwhile")),
            (Err(error), None) => Err(error),
            (Err(error), Some(damaged)) => Err(error.context(format_args!("what was there is {}", damaged.display()))),
        }
    }

    fn create(&self) -> Result<()> {
        // The file is made with the token, for who may then read it: whoever initialises it.
        self.read(|_| Ok(())).map(|_| ())
    }

    fn export(&self, sink: &mut dyn Sink) -> Result<()> {
        self.read(|connection| write::export(connection, sink))?.ok_or(Cause::TokenNotRecognized.into())
    }

    fn import_token(&self, token: &Raw) -> Result<()> {
        self.pool.check_process()?;
        connection::create(&self.pool.path)?;
        let path = &self.pool.path;
        let done = self.pool.write(|link| {
            ready_to_write(link, path)?;
            link.run(path, connection::use_log)?;
            link.run(path, |connection| {
                connection::begin_to_fill(connection)?;
                write::import_token(connection, token)?;
                connection::commit_change(connection)
            })
        })?;
        done.ok_or_else(|| Cause::StoreConflict.with("the store was removed meanwhile"))
    }

    fn import(&self, objects: &[(ObjectId, Raw)]) -> Result<()> {
        let objects: Vec<_> = objects.iter().map(write::New::raw).collect();
        self.write(|connection| write::insert(connection, &objects))?.ok_or(Cause::TokenNotRecognized.into())
    }

    fn most_at_once(&self) -> usize {
        usize::MAX
    }

    fn read_only(&self) -> bool {
        match self.pool.read(|link| Ok(link.read_only)) {
            Ok(Some(read_only)) => read_only,
            Ok(None) => {
                // The directory that is there, of those in which the file would be made.
                let there = self.pool.path.ancestors().skip(1).find(|above| above.exists());
                there.is_some_and(process::on_read_only_file_system)
            }
            Err(e) => e.cause() == Cause::StoreReadOnly,
        }
    }
}

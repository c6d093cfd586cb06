//! One connection: how it is opened, and that it ends in the process in which it began.

use super::fault::{Outcome, Stop, errno};
use super::process::{self, Process, Salt, Untold};
use super::schema::{self, Format};
use crate::error::{Cause, Error};
use crate::host::ownership::{self, Writers};
use crate::store::wire::MAX_RECORD;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, FileControl, OpenFlags, ffi};
use std::fs::{DirBuilder, File, metadata, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

type Result<T, E = Error> = std::result::Result<T, E>;

/// The statements that a connection keeps prepared.
const STATEMENTS: usize = 40;

/// Durable commits, no wait inside the gate (a wait is ours, outside), deleted bytes overwritten, no
/// temporary files, nothing believed that a doctored schema says. The cache has room for the inner pages of a store of a
/// million objects. The limit has the log shortened
/// whenever it starts anew; the file stays, see [`open`].
const SETTINGS: &str = "
    PRAGMA busy_timeout = 0;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA foreign_keys = OFF;
    PRAGMA cache_size = -16384;
    PRAGMA journal_size_limit = 4194304;
";

/// No value is longer than a record may be, no statement than ours, and no other file is ever attached.
const LIMITS: &[(Limit, i32)] = &[
    (Limit::SQLITE_LIMIT_LENGTH, MAX_RECORD as i32 + 4096),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 64 * 1024),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
];

/// A connection that is forgotten, not closed, in any process but the one that opened it.
pub(super) struct Link {
    /// Taken only by `drop`.
    connection: Option<Connection>,
    process: &'static Process,
    salt: Salt,
    identity: Identity,
    pub(super) read_only: bool,
    /// Whether SQLite takes the file for unchanging, so that we must notice a change.
    immutable: bool,
    holds_on: AtomicBool,
}

/// Which file a path leads to, and its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    /// Whether it is the same file, whatever became of it.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The file that `path` leads to now; `None` if there is none.
pub(super) fn identity(path: &Path) -> Result<Option<Identity>> {
    match metadata(path) {
        Ok(about) => Ok(Some(Identity {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
        })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unavailable(path, &e)),
    }
}

/// An input or output error of ours, by cause.
pub(super) fn unavailable(path: &Path, error: &io::Error) -> Error {
    let cause = match error.raw_os_error() {
        Some(libc::EROFS) => Cause::StoreReadOnly,
        Some(libc::ENOSPC | libc::EDQUOT) => Cause::StoreFull,
        _ => Cause::StoreUnavailable,
    };
    cause.with(format!("{}: {error}", path.display()))
}

/// Refuses files that others can write to beyond what their owner shares with us. `path` is no link.
fn check_owner(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = beside(path, suffix);
        let objection = match symlink_metadata(&file) {
            Ok(about) => ownership::objection(&about, Writers::Group),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unavailable(&file, &error)),
        };
        if let Some(why) = objection {
            return Err(not_ours(&file, &why));
        }
    }
    Ok(())
}

fn not_ours(file: &Path, why: &str) -> Error {
    Cause::StoreUnsafe.with(format!("{}: {why}", file.display()))
}

impl Link {
    /// Opens the existing file at `path`, which is `identity`. `StoreBusy` means: wait and try again.
    pub(super) fn open(process: &'static Process, path: &Path, identity: Identity) -> Result<Self> {
        if let Some(why) = ownership::objection_to_link(path).map_err(|error| unavailable(path, &error))? {
            return Err(not_ours(path, &why));
        }
        // SQLite's other files lie beside the one that a link leads to.
        let real = process::real_path(path).map_err(|error| unavailable(path, &error))?;
        check_owner(&real)?;
        let link = Self::open_file(process, &real, identity)?;
        // Once more, now that SQLite has its files: one of them was perhaps put there in between.
        check_owner(&real)?;
        Ok(link)
    }

    fn open_file(process: &'static Process, path: &Path, identity: Identity) -> Result<Self> {
        let salt = Salt::new();
        salt.on(|| {
            let found = open(path, false).map(|found| (found, false)).or_else(|told| {
                // Without its -wal and -shm files a store cannot be read in a place that cannot be written
                // to, unless nobody else can write there either and the log that is not read is empty.
                let empty_log = metadata(beside(path, "-wal")).map_or(true, |log| log.len() == 0);
                if lacks_log(&told) && empty_log && process::on_read_only_file_system(path) {
                    open(path, true).map(|found| (found, true))
                } else {
                    Err(told)
                }
            });
            let ((connection, read_only), immutable) = found.map_err(|told| explain(told, path))?;
            let holds_on = AtomicBool::new(false);
            Ok(Self { connection: Some(connection), process, salt, identity, read_only, immutable, holds_on })
        })
    }

    /// Whether a lock could not be given back. It goes with the connection.
    pub(super) fn holds_on(&self) -> bool {
        self.holds_on.load(Ordering::Relaxed)
    }

    /// Whether this is a connection to the file that `now` is about.
    pub(super) fn is_to(&self, now: &Identity) -> bool {
        self.identity.is_same_file(now) && (!self.immutable || self.identity == *now)
    }

    /// Runs `work` inside the gate.
    pub(super) fn run<T>(&self, path: &Path, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let Some(connection) = &self.connection else { return Err(Cause::NotInitialized.into()) };
        if self.holds_on() {
            // Another connection gets the lock, once this one is closed.
            return Err(Cause::StoreBusy.with("a lock could not be given back"));
        }
        self.salt.on(|| {
            let result = work(connection).map_err(|stop| Told::of(stop, connection));
            if result.is_err() && !connection.is_autocommit() {
                // If even this fails, the transaction ends with the connection.
                let _ = connection.execute_batch("ROLLBACK");
            }
            if Untold::now().unlock_failed {
                self.holds_on.store(true, Ordering::Relaxed);
            }
            result.map_err(|told| told.stop.into_error(path, told.errno))
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.process.is_this() {
            self.salt.on(|| drop(connection));
        } else {
            std::mem::forget(connection);
        }
    }
}

/// Why something stopped, and the operating system's number behind it.
struct Told {
    stop: Stop,
    errno: i32,
}

impl Told {
    fn of(stop: Stop, connection: &Connection) -> Self {
        Self { errno: errno(&stop, connection), stop }
    }
}

/// Whether SQLite could not open, or make, the log or its index, for want of the right to.
fn lacks_log(told: &Told) -> bool {
    let code = told.stop.code();
    let is_right = matches!(told.errno, 0 | libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT);
    is_right && code.is_some_and(|code| matches!(code & 0xff, ffi::SQLITE_CANTOPEN | ffi::SQLITE_READONLY))
}

fn explain(told: Told, path: &Path) -> Error {
    if lacks_log(&told) && !beside(path, "-shm").exists() {
        let why = "its -wal and -shm files are missing and cannot be made: open it once as its owner";
        return Cause::StoreUnavailable.with(format!("{}: {why}", path.display()));
    }
    told.stop.into_error(path, told.errno)
}

/// Opens without waiting and reads the first page. Also answers whether it can only be read.
fn open(path: &Path, immutable: bool) -> Result<(Connection, bool), Told> {
    // Not `CREATE`: that is done beforehand, with permissions of our choice. Each connection is used by
    // one thread at a time, so SQLite need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if immutable {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(immutable_uri(path), flags)
    } else {
        // SQLite itself falls back to reading where it may not write.
        Connection::open_with_flags(plain(path), flags | OpenFlags::SQLITE_OPEN_READ_WRITE)
    };
    let connection = connection.map_err(|error| Told { stop: error.into(), errno: 0 })?;
    let read_only = prepare(&connection).map_err(|stop| Told::of(stop, &connection))?;
    if Untold::now().unlock_failed {
        let error = Cause::StoreUnavailable.with(format!("{}: a lock could not be given back", path.display()));
        return Err(Told { stop: error.into(), errno: 0 });
    }
    // What SQLite opened for reading only, for another reason than that it may not write, would stay so.
    match failed_to_open(path) {
        None => Ok((connection, read_only)),
        Some(error) => Err(Told { stop: error.into(), errno: Untold::now().opening }),
    }
}

/// The failure to open a file that SQLite then opened for reading only, unless it may not write there.
pub(super) fn failed_to_open(path: &Path) -> Option<Error> {
    match Untold::now().opening {
        0 | libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT => None,
        errno => Some(unavailable(path, &io::Error::from_raw_os_error(errno))),
    }
}

/// Sets a new connection up and reads the first page. Answers whether it can only be read.
fn prepare(connection: &Connection) -> Outcome<bool> {
    for (limit, value) in LIMITS {
        connection.set_limit(*limit, *value)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(SETTINGS)?;
    // Else SQLite, built with STAT4, prepares a cached statement anew for each value bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A store is data: what somebody else put in it is not run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // The log and its index stay when the last connection closes, so that a process which may not make
    // files there can read the store at any time.
    connection.file_control(None::<&str>, FileControl::PersistWal(&mut 1))?;
    if look(connection)? == Format::Present {
        schema::check(connection)?;
    }
    Ok(connection.is_readonly("main")?)
}

/// Puts a file that is ours, or still empty, into WAL mode. Not in a transaction.
pub(super) fn use_log(connection: &Connection) -> Outcome<()> {
    let mode: String = connection.prepare_cached("PRAGMA journal_mode")?.query_row([], |row| row.get(0))?;
    if mode != "wal" {
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Cause::StoreUnavailable.with("the file system cannot share memory between processes").into());
        }
    }
    Ok(())
}

/// What is in the file, as of one moment. Not in a transaction.
pub(super) fn look(connection: &Connection) -> Outcome<Format> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let format = schema::format(connection)?;
    commit(connection)?;
    Ok(format)
}

/// Begins a write transaction and answers what is in the file.
pub(super) fn begin(connection: &Connection) -> Outcome<Format> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    schema::format(connection)
}

/// Begins a write transaction that fills the store, with its tables if they are not there yet. Answers what was in
/// the file.
pub(super) fn begin_to_fill(connection: &Connection) -> Outcome<Format> {
    let found = begin(connection)?;
    if found == Format::Empty {
        connection.execute_batch(schema::TABLES)?;
        schema::stamp(connection)?;
    }
    Ok(found)
}

/// Commits what changes nothing that a caller asked for.
pub(super) fn commit(connection: &Connection) -> Outcome<()> {
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// Commits what a caller wants changed.
pub(super) fn commit_change(connection: &Connection) -> Outcome<()> {
    let mut commit = connection.prepare_cached("COMMIT")?;
    commit.execute([]).map_err(Stop::Commit)?;
    Ok(())
}

/// Makes an empty file at `path`, 0600, and its directory, 0700, unless they are there.
pub(super) fn create(path: &Path) -> Result<()> {
    let make = || -> io::Result<()> {
        if let Some(parent) = path.parent()
            && !parent.is_dir()
        {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            if let Some(above) = parent.parent() {
                // Else a power failure could take the directory with all that was committed in it.
                File::open(above)?.sync_all()?;
            }
        }
        process::create_empty(path)
    };
    make().map_err(|e| unavailable(path, &e))
}

/// The file next to `path` with `suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `path` so that SQLite, which here reads every name that begins with `file:` as a URI, cannot.
pub(super) fn plain(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

fn immutable_uri(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in plain(path).as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(char::from(*byte)),
            // Writing to a String does not fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_becomes_a_uri() {
        assert_eq!(immutable_uri(Path::new("/a b/ü?#%.db")), "file:/a%20b/%C3%BC%3F%23%25.db?immutable=1");
    }
}

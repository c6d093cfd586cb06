//! The whole store in another file, and what such a file holds in the place of everything.
//!
//! Both while others read and write. A copy is what one read transaction sees. Back in it goes by one write
//! transaction on the file that is there, and not as a file that takes its name: others have that one open, and the
//! log beside it would be played into whatever gets the name.

use super::connection::{self, Link, beside, plain};
use super::fault::{Outcome, Stop};
use super::process::{self, Salt};
use super::schema::Format;
use crate::error::{Cause, Result};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, params};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// What every table gets of the attached `copy`. Versions go on from those that were here, `?1`, so that no change
/// that was begun before fits what is here then; numbers of objects are drawn from a counter that only grows.
const REPLACE: &[&str] = &[
    "DELETE FROM main.lookup",
    "DELETE FROM main.record",
    "DELETE FROM main.object",
    "DELETE FROM main.token",
    "INSERT INTO main.token (one, version, record) SELECT one, version + ?1, record FROM copy.token",
    "INSERT INTO main.object (seq, id, version) SELECT seq, id, version + ?1 FROM copy.object",
    "INSERT INTO main.record (seq, record) SELECT seq, record FROM copy.record",
    "INSERT INTO main.lookup (type, value, seq) SELECT type, value, seq FROM copy.lookup",
    "UPDATE main.state SET counter = max(counter, (SELECT counter FROM copy.state)) + 1",
];

/// Whether the attached `copy` counts what no store has counted: more than can be gone on from.
const COUNTS_TOO_FAR: &str = "
    SELECT EXISTS (
        SELECT counter FROM copy.state WHERE counter NOT BETWEEN 0 AND ?1
        UNION ALL SELECT version FROM copy.token WHERE version NOT BETWEEN 0 AND ?1
        UNION ALL SELECT version FROM copy.object WHERE version NOT BETWEEN 0 AND ?1
    )";

/// A failure to do something to a file of ours.
pub(super) fn files<T>(path: &Path, result: io::Result<T>) -> Outcome<T> {
    result.map_err(|error| Stop::Refused(connection::unavailable(path, &error)))
}

/// Makes an entry of a directory durable.
pub(super) fn sync_directory(of: &Path) -> io::Result<()> {
    let parent = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes an empty file that only its owner can read.
fn reserve(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Copies what `source` sees of its store to the new file `to`, durably but for its name. Not in a transaction of
/// `source`.
pub(super) fn copy(source: &Connection, to: &Path) -> Outcome<()> {
    let name = plain(to);
    let not_utf8 = || Cause::StoreUnavailable.with("the path of a copy must be UTF-8");
    let name = name.to_str().ok_or_else(not_utf8)?;
    files(to, reserve(to))?;
    source.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
    let written = source.execute("VACUUM INTO ?1", params![name]);
    source.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let told = |error| connection::failed_to_open(to).map_or(Stop::Sql(error), Stop::Refused);
    let written = written.map_err(told).and_then(|_| files(to, File::open(to).and_then(|copy| copy.sync_all())));
    if written.is_err() {
        // It is of no use; that it stays would not be worth more words than why it is not whole.
        drop(fs::remove_file(to));
    }
    written
}

/// The same over a connection of its own, for a caller whose connection has a transaction: what that one has not
/// committed is not seen.
fn copy_committed(path: &Path, to: &Path) -> Outcome<()> {
    Salt::new().on(|| {
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_WRITE;
        let source = Connection::open_with_flags(plain(path), flags)?;
        source.execute_batch("PRAGMA busy_timeout = 0; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")?;
        copy(&source, to)
    })
}

/// The same for what is about to be changed: `name` is a copy of all of it, or there is none. Under the lock that keeps
/// writers out.
pub(super) fn keep(path: &Path, name: &Path) -> Outcome<()> {
    let draft = beside(name, ".tmp");
    // What a process left that was killed here. No one has it open: we have the lock.
    let cleared = match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    files(&draft, cleared)?;
    copy_committed(path, &draft)?;
    files(&draft, fs::rename(&draft, name).and_then(|()| sync_directory(name)))
}

/// [`Store::back_up`](crate::store::Store::back_up).
pub(super) fn back_up(link: &Link, path: &Path, to: &Path) -> Result<()> {
    link.run(path, |connection| {
        if connection::look(connection)? == Format::Empty {
            return Err(Cause::TokenNotRecognized.into());
        }
        // The name is taken first, so that nothing is overwritten, and is given to the copy when that is whole.
        files(to, reserve(to))?;
        let draft = beside(to, ".tmp");
        let named =
            copy(connection, &draft).and_then(|()| files(to, fs::rename(&draft, to).and_then(|()| sync_directory(to))));
        if named.is_err() {
            drop(fs::remove_file(to));
        }
        named
    })
}

/// Puts what the store at `from`, of the present format, holds in the place of all that `link` sees. A token that
/// is there is copied first, under the lock that keeps writers out; answers the name of the copy.
pub(super) fn replace(link: &Link, path: &Path, from: &Path, beside: &Path) -> Result<Option<PathBuf>> {
    link.run(path, |connection| {
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
        let name = plain(from);
        let not_utf8 = || Cause::StoreUnavailable.with("the path of a copy must be UTF-8");
        Ok(connection.execute("ATTACH ?1 AS copy", params![name.to_str().ok_or_else(not_utf8)?])?)
    })?;
    let replaced = link.run(path, |connection| {
        if connection.query_row(COUNTS_TOO_FAR, [i64::MAX / 2], |row| row.get(0))? {
            return Err(Cause::StoreCorrupt.with(format!("{}: its versions are not true", from.display())).into());
        }
        let kept = match connection::begin_to_fill(connection)? {
            Format::Empty => None,
            _ => {
                let name = free_name(beside);
                keep(path, &name)?;
                Some(name)
            }
        };
        let versions = "SELECT version FROM main.token UNION ALL SELECT version FROM main.object";
        let ahead: i64 =
            connection.query_row(&format!("SELECT ifnull(max(version), 0) FROM ({versions})"), [], |row| row.get(0))?;
        for statement in REPLACE {
            let mut statement = connection.prepare(statement)?;
            match statement.parameter_count() {
                0 => statement.execute([])?,
                _ => statement.execute([ahead])?,
            };
        }
        connection::commit_change(connection)?;
        Ok(kept)
    });
    let detached = link.run(path, |connection| {
        connection.execute_batch("DETACH copy")?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        Ok(())
    });
    let kept = replaced?;
    detached.map(|()| kept)
}

/// Moves a store that cannot be read out of the way, its log included, and leaves an empty file of the same owner
/// and mode. Answers its new name.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf> {
    let set_aside = || -> io::Result<PathBuf> {
        let real = process::real_path(path)?;
        let about = real.metadata()?;
        let name = free_name(&real);
        // The store first: a log without its store is nothing to anybody, a store without its log is damaged.
        for suffix in ["", "-wal", "-shm", "-journal"] {
            match fs::rename(beside(&real, suffix), beside(&name, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        reserve(&real)?;
        chown(&real, Some(about.uid()), Some(about.gid()))?;
        fs::set_permissions(&real, Permissions::from_mode(about.mode() & 0o777))?;
        sync_directory(&real)?;
        Ok(name)
    };
    set_aside().map_err(|error| connection::unavailable(path, &error))
}

/// `FILE.before-restore`, with a number if there are earlier ones.
pub(in crate::store) fn free_name(path: &Path) -> PathBuf {
    let name = |number: u32| match number {
        1 => beside(path, ".before-restore"),
        _ => beside(path, &format!(".before-restore-{number}")),
    };
    (1..).map(name).find(|name| name.symlink_metadata().is_err()).unwrap_or_else(|| name(1))
}

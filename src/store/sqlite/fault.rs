//! SQLite's failures, by cause.

use super::process::{self, Untold};
use crate::error::{Cause, Error};
use rusqlite::Connection;
use rusqlite::ffi::{self, ErrorCode};
use std::path::Path;

/// Why a transaction stopped: SQLite failed, or we refused.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(rusqlite::Error),
    /// SQLite failed to commit changes.
    Commit(rusqlite::Error),
    Refused(Error),
}

/// What the body of a transaction answers.
pub(super) type Outcome<T> = Result<T, Stop>;

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Self::Refused(cause.into())
    }
}

impl Stop {
    /// SQLite's extended result code, if it was SQLite.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(error, _))
            | Self::Commit(rusqlite::Error::SqliteFailure(error, _)) => Some(error.extended_code),
            _ => None,
        }
    }

    /// The error for the caller. `errno` is the operating system's number behind it, 0 if unknown.
    pub(super) fn into_error(self, path: &Path, errno: i32) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => translate(&error, errno).context(path.display()),
            Self::Commit(error) => {
                let told = translate(&error, errno).context(path.display());
                if is_settled(&error, &told) { told } else { told.leaves_in_doubt("the commit") }
            }
        }
    }
}

/// Whether a commit that failed with `error` did not happen, for good. Without the lock nothing was written. Where the
/// disk took no more, the mark that ends a transaction, which is written last, is not there: the log says nothing to
/// whoever reads it after a crash. After any other failure the log may be whole, and found so after a crash, though this
/// process and those beside it go on without the change.
fn is_settled(error: &rusqlite::Error, told: &Error) -> bool {
    const AFTER_WRITING: [i32; 2] = [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC];
    let written = matches!(error, rusqlite::Error::SqliteFailure(e, _) if AFTER_WRITING.contains(&e.extended_code));
    match told.cause() {
        Cause::StoreBusy => true,
        Cause::StoreFull | Cause::StoreReadOnly => !written,
        _ => false,
    }
}

/// The operating system's number behind `stop`, which happened on `connection`.
pub(super) fn errno(stop: &Stop, connection: &Connection) -> i32 {
    match stop {
        Stop::Sql(_) | Stop::Commit(_) => match Untold::now().reading {
            0 => process::system_errno(connection),
            errno => errno,
        },
        Stop::Refused(_) => 0,
    }
}

fn translate(error: &rusqlite::Error, errno: i32) -> Error {
    let rusqlite::Error::SqliteFailure(failure, text) = error else {
        // A value of another type than the schema's, a row that must be there and is not.
        return Cause::StoreCorrupt.with(error.to_string());
    };
    let text = text.clone().unwrap_or_else(|| failure.to_string());
    let cause = match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => Cause::StoreBusy,
        ErrorCode::DiskFull => Cause::StoreFull,
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen
            if matches!(errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG) =>
        {
            Cause::StoreFull
        }
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if errno == libc::EROFS => Cause::StoreReadOnly,
        ErrorCode::ReadOnly if failure.extended_code == ffi::SQLITE_READONLY_DBMOVED => Cause::StoreUnavailable,
        ErrorCode::ReadOnly => Cause::StoreReadOnly,
        ErrorCode::OutOfMemory => Cause::HostMemory,
        ErrorCode::ConstraintViolation => Cause::StoreConflict,
        // What cannot be read is damaged to SQLite. The disk may be another, and well again, the next time.
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
            if matches!(errno, libc::EIO | libc::ENXIO | libc::ERANGE) =>
        {
            Cause::StoreUnavailable
        }
        // `Unknown` is an SQL error: a table that the format says is there is missing. `TooBig` is a value that
        // was never ours: what we write is measured before.
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown | ErrorCode::TooBig => {
            Cause::StoreCorrupt
        }
        _ => Cause::StoreUnavailable,
    };
    match errno {
        0 => cause.with(text),
        errno => cause.with(format!("{text} ({})", std::io::Error::from_raw_os_error(errno))),
    }
}

//! Reading a configuration file without trusting it more than its permissions allow.

use crate::error::{Cause, Error, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A configuration is a few hundred lines; anything beyond this is the wrong file.
const MAX_BYTES: u64 = 1 << 20;
const ROOT: u32 = 0;

/// Who may own the file.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    /// Anyone: the caller named the file.
    Anyone,
    /// Only root.
    Root,
    /// The given user, or root.
    UserOrRoot(u32),
}

impl Owner {
    fn allows(self, uid: u32) -> bool {
        match self {
            Owner::Anyone => true,
            Owner::Root => uid == ROOT,
            Owner::UserOrRoot(user) => uid == user || uid == ROOT,
        }
    }
}

/// What became of a file.
pub(super) enum Found {
    /// Its text.
    Text(String),
    /// There is no such file.
    Missing,
    /// It may not be read, or not be looked for, with the rights of this process.
    Denied(io::Error),
    /// It, or its directory, belongs to somebody else.
    Foreign(u32),
}

/// Opens `path` once, judges what was opened (never the path, which may change meanwhile) and reads it.
pub(super) fn read(path: &Path, owner: Owner) -> Result<Found> {
    // Symbolic links are followed, because people keep their configuration elsewhere and link it.
    // Without O_NONBLOCK a FIFO in this place would hang the host.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Found::Missing),
                io::ErrorKind::PermissionDenied => Ok(Found::Denied(error)),
                _ => Err(unreadable(error)),
            };
        }
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(uid) = foreign_owner(path, &metadata, owner)? {
        return Ok(Found::Foreign(uid));
    }
    if !metadata.is_file() {
        return Err(Cause::ConfigUnreadable.with("it is not a regular file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Cause::ConfigUnsafe.with(format!("its mode is {mode:04o}; run chmod go-w on it")));
    }
    text(file).map(Found::Text)
}

/// The owner that `owner` does not allow. The directory counts as well: its owner can put any file there.
fn foreign_owner(path: &Path, metadata: &Metadata, owner: Owner) -> Result<Option<u32>> {
    if !owner.allows(metadata.uid()) {
        return Ok(Some(metadata.uid()));
    }
    if matches!(owner, Owner::Anyone) {
        return Ok(None);
    }
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let uid = directory.metadata().map_err(unreadable)?.uid();
    Ok((!owner.allows(uid)).then_some(uid))
}

fn text(file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Cause::ConfigUnreadable.with("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count();
        Cause::ConfigInvalid.with(format!("line {line}: the text is not UTF-8"))
    })
}

pub(super) fn unreadable(error: io::Error) -> Error {
    Cause::ConfigUnreadable.with(error.to_string())
}

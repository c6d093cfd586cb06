//! What two parts of a configuration must not share.

use super::reader::invalid;
use super::{Config, KmsBackend, LogTarget};
use crate::error::Result;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Refuses two tokens with one label or one store, and a file that is to be two things. `lines` are
/// those of the tokens.
pub(super) fn nothing_twice(config: &Config, lines: &[usize]) -> Result<()> {
    let mut labels = HashMap::new();
    let mut files = HashMap::new();
    let mut elsewhere = HashMap::new();
    for (token, line) in config.tokens.iter().zip(lines) {
        if let Some(first) = labels.insert(token.label.as_str(), *line) {
            return Err(invalid(
                *line,
                format!("the label \"{}\" is already taken by the token of line {first}", token.label),
            ));
        }
        let owner = format!("the store of the token \"{}\"", token.label);
        match token.store.file() {
            Some(path) => claim(&mut files, path, *line, owner)?,
            None => {
                let place = token.store.to_string();
                if let Some(other) = elsewhere.insert(place.clone(), owner) {
                    return Err(invalid(*line, format!("{place} is already {other}")));
                }
            }
        }
    }
    for (token, line) in config.tokens.iter().zip(lines) {
        // Several tokens may share the keys of one embedded KMS.
        for path in token.kms.places().filter_map(|kms| match &kms.backend {
            KmsBackend::Embedded(path) => Some(path),
            KmsBackend::Aws => None,
        }) {
            let owner = "the key file of the embedded KMS";
            if files.get(&place(path)).is_none_or(|other| other != owner) {
                claim(&mut files, path, *line, owner.to_owned())?;
            }
        }
    }
    if let LogTarget::File(path) = &config.log.target {
        claim(&mut files, path, 1, "the log".to_owned())?;
    }
    if let Some(path) = &config.log.audit {
        claim(&mut files, path, 1, "the audit log".to_owned())?;
    }
    if let Some(path) = &config.log.metrics {
        claim(&mut files, path, 1, "the metrics file".to_owned())?;
    }
    Ok(())
}

fn claim(files: &mut HashMap<Place, String>, path: &Path, line: usize, owner: String) -> Result<()> {
    match files.insert(place(path), owner) {
        None => Ok(()),
        Some(other) => Err(invalid(line, format!("{} is already {other}", path.display()))),
    }
}

/// One file, however its name is written.
#[derive(PartialEq, Eq, Hash)]
enum Place {
    /// It is there.
    File {
        device: u64,
        inode: u64,
    },
    /// Its directory is there.
    Name {
        device: u64,
        inode: u64,
        name: OsString,
    },
    Path(PathBuf),
}

/// Not by the path without symbolic links: the standard library has libc allocate that and frees it itself,
/// which are two allocators in a host that has one of its own and loads this module with `RTLD_DEEPBIND`.
fn place(path: &Path) -> Place {
    if let Ok(file) = path.metadata() {
        return Place::File { device: file.dev(), inode: file.ino() };
    }
    let directory = path.parent().and_then(|directory| directory.metadata().ok());
    match (directory, path.file_name()) {
        (Some(directory), Some(name)) => {
            Place::Name { device: directory.dev(), inode: directory.ino(), name: name.to_owned() }
        }
        _ => Place::Path(path.components().collect()),
    }
}

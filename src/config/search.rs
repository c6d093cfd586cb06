//! Which file is the configuration.
//!
//! 1. `DATAKEY_PKCS11_CONF`. A file that is named but missing is an error.
//! 2. The user's: `$XDG_CONFIG_HOME` (or `~/.config`) `/datakey-pkcs11/datakey-pkcs11.toml`, if it and its
//!    directory belong to the effective user or to root. For root this means: only root's own, so that a
//!    `HOME` kept by `sudo` gives nobody the say over a process of root's. A file that does not count, or
//!    cannot be reached (the workers of a server whose `HOME` is still root's), is passed over with a note.
//! 3. The system's, [`SYSTEM_FILE`].
//!
//! A process with more rights than its caller (set-user-id, file capabilities) only gets the third, and
//! only if it belongs to root.

use super::Config;
use super::file::{self, Found, Owner};
use super::parse::parse;
use crate::error::{Cause, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The system's configuration file.
pub const SYSTEM_FILE: &str = "/etc/datakey-pkcs11/datakey-pkcs11.toml";

const SYSTEM_STORES: &str = "/var/lib/datakey-pkcs11";
const DIRECTORY: &str = "datakey-pkcs11";
const FILE: &str = "datakey-pkcs11.toml";

/// What decides which file is read. [`load`] looks at nothing else.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `DATAKEY_PKCS11_CONF`; empty counts as unset.
    pub conf_path: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<OsString>,
    /// `XDG_DATA_HOME`.
    pub xdg_data_home: Option<OsString>,
    /// The effective user.
    pub euid: u32,
    /// The process has more rights than its caller: environment and user files are not believed.
    pub secure: bool,
    /// The system's file, [`SYSTEM_FILE`] except in tests.
    pub system_file: PathBuf,
}

impl Environment {
    /// This process's. `secure` says whether it has more rights than its caller
    /// ([`crate::host::secure_mode`]).
    pub fn of_process(secure: bool) -> Self {
        let var = |name: &str| if secure { None } else { std::env::var_os(name) };
        Self {
            conf_path: var("DATAKEY_PKCS11_CONF"),
            home: var("HOME"),
            xdg_config_home: var("XDG_CONFIG_HOME"),
            xdg_data_home: var("XDG_DATA_HOME"),
            // SAFETY: geteuid has no preconditions and cannot fail.
            euid: unsafe { libc::geteuid() },
            secure,
            system_file: PathBuf::from(SYSTEM_FILE),
        }
    }

    /// `$XDG_…`, or the given directory in the home directory. Relative paths do not count, as the XDG
    /// specification demands.
    fn base(&self, xdg: Option<&OsString>, in_home: &str) -> Option<PathBuf> {
        let absolute = |value: Option<&OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(xdg).or_else(|| absolute(self.home.as_ref()).map(|home| home.join(in_home)))
    }

    /// Where a new configuration belongs: the file that is named, the system's for root, else the user's.
    pub fn new_file(&self) -> Option<PathBuf> {
        match &self.conf_path {
            Some(path) if !path.is_empty() => Some(path.into()),
            _ if self.euid == 0 => Some(self.system_file.clone()),
            _ => self.user_file(),
        }
    }

    fn user_file(&self) -> Option<PathBuf> {
        let base = self.base(self.xdg_config_home.as_ref(), ".config")?;
        Some(base.join(DIRECTORY).join(FILE))
    }

    /// Where stores go that the configuration gives no place. Everyone who reads the system's file gets
    /// the system's place, so that the processes of one server never look at two different stores.
    fn store_directory(&self, system: bool) -> Option<PathBuf> {
        if system || self.euid == 0 {
            return Some(PathBuf::from(SYSTEM_STORES));
        }
        Some(self.base(self.xdg_data_home.as_ref(), ".local/share")?.join(DIRECTORY))
    }
}

/// Finds, checks and reads the configuration. Without any there are no tokens, which is no error.
///
/// # Errors
/// `ConfigUnreadable`, `ConfigUnsafe` or `ConfigInvalid`, naming the file and, where there is one, the line.
pub fn load(environment: &Environment) -> Result<Config> {
    let mut notes = Vec::new();
    let config = if environment.secure {
        system(environment, &mut notes)?
    } else {
        match named(environment)? {
            Some(config) => Some(config),
            None => match user(environment, &mut notes)? {
                Some(config) => Some(config),
                None => system(environment, &mut notes)?,
            },
        }
    };
    let mut config = config.unwrap_or_default();
    notes.append(&mut config.notes);
    config.notes = notes;
    Ok(config)
}

fn named(environment: &Environment) -> Result<Option<Config>> {
    let Some(path) = environment.conf_path.as_ref().filter(|path| !path.is_empty()) else { return Ok(None) };
    let path = Path::new(path);
    let what = || format!("{}, named by DATAKEY_PKCS11_CONF", path.display());
    match file::read(path, Owner::Anyone).map_err(|e| e.context(what()))? {
        Found::Text(text) => parsed(environment, path, &text, false).map(Some),
        Found::Denied(error) => Err(file::unreadable(error).context(what())),
        Found::Missing | Found::Foreign(_) => {
            Err(Cause::ConfigUnreadable.with("there is no such file").context(what()))
        }
    }
}

fn user(environment: &Environment, notes: &mut Vec<String>) -> Result<Option<Config>> {
    let Some(path) = environment.user_file() else { return Ok(None) };
    let owner = Owner::UserOrRoot(environment.euid);
    match file::read(&path, owner).map_err(|e| e.context(path.display()))? {
        Found::Text(text) => parsed(environment, &path, &text, false).map(Some),
        Found::Missing => Ok(None),
        Found::Denied(error) => {
            notes.push(format!("configuration {} passed over: {error}", path.display()));
            Ok(None)
        }
        Found::Foreign(uid) => {
            let euid = environment.euid;
            let path = path.display();
            notes.push(format!("configuration {path} passed over: it or its directory belongs to user {uid}, this process is user {euid}"));
            Ok(None)
        }
    }
}

fn system(environment: &Environment, notes: &mut Vec<String>) -> Result<Option<Config>> {
    let path = &environment.system_file;
    let owner = if environment.secure { Owner::Root } else { Owner::Anyone };
    match file::read(path, owner).map_err(|e| e.context(path.display()))? {
        Found::Text(text) => parsed(environment, path, &text, true).map(Some),
        Found::Missing => Ok(None),
        Found::Denied(error) => Err(file::unreadable(error).context(path.display())),
        Found::Foreign(uid) => {
            notes.push(format!("configuration {} passed over: in a process with raised rights it and its directory must belong to root, not to user {uid}", path.display()));
            Ok(None)
        }
    }
}

/// What this text would say as the configuration at `path`.
///
/// # Errors
/// `ConfigInvalid`, naming the line.
pub fn check_text(environment: &Environment, path: &Path, text: &str) -> Result<Config> {
    parsed(environment, path, text, path == environment.system_file)
}

fn parsed(environment: &Environment, path: &Path, text: &str, system: bool) -> Result<Config> {
    let directory = environment.store_directory(system);
    let mut config = parse(text, directory.as_deref()).map_err(|e| e.context(path.display()))?;
    config.file = Some(path.to_path_buf());
    Ok(config)
}

//! By what a user is known: the URL's password, a file's, or the environment's.

use crate::config::{PostgresConfig, PostgresHost};
use crate::error::{Cause, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Anything that others than its owner may do with a file of passwords.
const OTHERS: u32 = 0o077;

/// The password for this host, if there is any. The URL counts before its file, that before the environment, which a
/// process with more privilege than its caller does not believe.
pub(super) fn find(
    config: &PostgresConfig,
    host: &PostgresHost,
    port: u16,
    secure_mode: bool,
) -> Result<Option<Zeroizing<String>>> {
    if let Some(password) = &config.password {
        return Ok(Some(password.clone()));
    }
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty() && !secure_mode);
    let file = config.pass_file.clone();
    if file.is_none()
        && let Some(password) = named("PGPASSWORD")
    {
        let password = password.into_string().map_err(|_| Cause::StoreSetup.with("PGPASSWORD is not UTF-8"))?;
        return Ok(Some(Zeroizing::new(password)));
    }
    match file.or_else(|| named("PGPASSFILE").map(PathBuf::from)) {
        Some(file) => in_file(&file, config, host, port),
        None => Ok(None),
    }
}

fn in_file(file: &Path, config: &PostgresConfig, host: &PostgresHost, port: u16) -> Result<Option<Zeroizing<String>>> {
    let failed = |why: &dyn std::fmt::Display| Cause::StoreSetup.with(format!("passfile {}: {why}", file.display()));
    let mode = fs::metadata(file).map_err(|error| failed(&error))?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(failed(&format_args!("its mode is {mode:04o}, others can read it: run chmod go= on it")));
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(|error| failed(&error))?);
    let host = match host {
        PostgresHost::Name(name) => name.clone(),
        PostgresHost::Directory(_) => "localhost".to_owned(),
    };
    let wanted = [host, port.to_string(), config.database.clone(), config.user.clone()];
    Ok(text.lines().filter(|line| !line.starts_with('#')).find_map(|line| password_of(line, &wanted)))
}

/// The password of a line `host:port:database:user:password`, if it is the wanted one. `*` stands for anything,
/// `\` before `:` and `\` themselves.
fn password_of(line: &str, wanted: &[String; 4]) -> Option<Zeroizing<String>> {
    let mut parts: Vec<Zeroizing<String>> = vec![Zeroizing::default()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if parts.len() <= wanted.len() => parts.push(Zeroizing::default()),
            '\\' => parts.last_mut()?.extend(characters.next()),
            other => parts.last_mut()?.push(other),
        }
    }
    let password = if parts.len() == wanted.len() + 1 { parts.pop()? } else { return None };
    let fits = parts.iter().zip(wanted).all(|(part, wanted)| part.as_str() == "*" || **part == *wanted);
    fits.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_libpq_reads_it() {
        let wanted = ["db.example".to_owned(), "5432".to_owned(), "d".to_owned(), "u".to_owned()];
        for (line, password) in [
            ("db.example:5432:d:u:secret", Some("secret")),
            ("*:*:*:*:a:b", Some("a:b")),
            ("*:*:*:u:a\\:b\\\\c", Some("a:b\\c")),
            ("other:5432:d:u:secret", None),
            ("db.example:5432:d:u", None),
            ("", None),
        ] {
            let found = password_of(line, &wanted);
            assert_eq!(found.as_ref().map(|found| found.as_str()), password, "{line}");
        }
    }
}

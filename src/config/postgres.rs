//! `store = "postgres://…"`: where a database is, who asks, and by what it is known.
//!
//! The URL is libpq's, with fewer parameters: unknown ones are refused, and so are the modes of TLS that encrypt
//! without knowing to whom. No message repeats the URL, which may hold a password.

use super::reader::Field;
use super::values::absolute_path;
use super::{PostgresConfig, PostgresHost, PostgresTls};
use crate::error::Result;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

const PORT: u16 = 5432;
const PARAMETERS: &[&str] = &[
    "application_name",
    "connect_timeout",
    "host",
    "options",
    "passfile",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "token",
];
const URL: &str = "\"postgres://USER@HOST/DATABASE\"";
/// As PKCS#11's labels, which it is by default.
const MAX_TOKEN: usize = 255;

/// Reads the URL whose part behind `postgres://` is `rest`; `label` is the token's.
pub(super) fn postgres(field: &Field<'_>, rest: &str, label: &str) -> Result<PostgresConfig> {
    let bad = |why: &str| field.bad(why);
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = parameters(field, query)?;
    let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());

    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    let user = user.ok_or_else(|| bad(&format!("the URL names no user; accepted: {URL}")))?;
    let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
    let user = decoded(field, user)?;
    let password = password.map(|password| decoded(field, password).map(Zeroizing::new)).transpose()?;
    let password = password.filter(|password| !password.is_empty());
    if user.is_empty() {
        return Err(bad("the URL names no user"));
    }
    let database = match decoded(field, database)? {
        name if name.is_empty() => user.clone(),
        name => name,
    };

    let default_port = match get("port") {
        Some(text) => port(field, text)?,
        None => PORT,
    };
    let hosts = match (hosts, get("host")) {
        ("", Some(hosts)) => hosts.split(',').map(|one| host(field, one, default_port)).collect::<Result<Vec<_>>>()?,
        ("", None) => {
            return Err(bad("the URL names no host; a directory of sockets is written ?host=/run/postgresql"));
        }
        (_, Some(_)) => return Err(bad("the URL names hosts twice")),
        (hosts, None) => {
            let one = |text: &str| host(field, &decoded(field, text)?, default_port);
            hosts.split(',').map(one).collect::<Result<Vec<_>>>()?
        }
    };
    let local = hosts.iter().filter(|(host, _)| matches!(host, PostgresHost::Directory(_))).count();
    if local != 0 && local != hosts.len() {
        return Err(bad("the URL mixes hosts and directories of sockets"));
    }
    let tls = tls(field, local != 0, &get)?;
    let needs_writable = match get("target_session_attrs") {
        None => hosts.len() > 1,
        Some("any") => false,
        Some("read-write" | "primary") => true,
        Some(_) => return Err(bad("target_session_attrs is none of any, read-write, primary")),
    };
    let token = get("token").unwrap_or(label).to_owned();
    if token.is_empty() || token.len() > MAX_TOKEN {
        return Err(bad("the name of a token in a database has 1 to 255 bytes"));
    }
    Ok(PostgresConfig {
        hosts,
        user,
        password,
        database,
        token,
        tls,
        needs_writable,
        pass_file: get("passfile").map(|path| absolute_path(field, path)).transpose()?,
        connect_timeout: match get("connect_timeout").map(str::parse) {
            None => None,
            Some(Ok(seconds @ 1..=600)) => Some(Duration::from_secs(seconds)),
            Some(_) => return Err(bad("connect_timeout is a number of seconds from 1 to 600")),
        },
        application_name: get("application_name").unwrap_or("datakey-pkcs11").to_owned(),
        options: get("options").map(str::to_owned),
    })
}

/// Names and values, decoded; each at most once.
fn parameters<'q>(field: &Field<'_>, query: &'q str) -> Result<Vec<(&'q str, String)>> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !PARAMETERS.contains(&name) {
            // A part of a password may have ended up here, so that it is not repeated.
            return Err(field.bad(&format!("unknown parameter of the URL; known are {}", PARAMETERS.join(", "))));
        }
        if found.iter().any(|(known, _)| *known == name) {
            return Err(field.bad(&format!("the URL says {name} twice")));
        }
        found.push((name, decoded(field, value)?));
    }
    Ok(found)
}

fn tls<'a>(field: &Field<'_>, local: bool, get: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<PostgresTls>> {
    const MODES: &str = "accepted are verify-full, which is the default, and disable";
    let path = |name: &str| get(name).map(|path| absolute_path(field, path)).transpose();
    let (roots, certificate, key) = (path("sslrootcert")?, path("sslcert")?, path("sslkey")?);
    match get("sslmode") {
        None if local => {}
        Some("disable") => {}
        None | Some("verify-full") if !local => {
            let identity = match (certificate, key) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => return Err(field.bad("sslcert and sslkey belong together")),
            };
            return Ok(Some(PostgresTls { roots, identity }));
        }
        Some("verify-full") => return Err(field.bad("there is no TLS on sockets of a directory")),
        Some("allow" | "prefer" | "require" | "verify-ca") => {
            return Err(field.bad(&format!("this sslmode does not make sure who answers; {MODES}")));
        }
        _ => return Err(field.bad(&format!("unknown sslmode; {MODES}"))),
    }
    match roots.or(certificate).or(key) {
        None => Ok(None),
        Some(_) => Err(field.bad("sslrootcert, sslcert and sslkey have no effect without TLS")),
    }
}

/// `name`, `name:port`, `[v6]:port`, or a directory of sockets.
fn host(field: &Field<'_>, text: &str, default_port: u16) -> Result<(PostgresHost, u16)> {
    if text.starts_with('/') {
        let directory = PathBuf::from(text.trim_end_matches('/'));
        return Ok((PostgresHost::Directory(directory), default_port));
    }
    let (name, number) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').unwrap_or("-"))),
        None => text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number))),
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(field.bad("the URL has a host without a name"));
    }
    let number = number.map_or(Ok(default_port), |number| port(field, number))?;
    Ok((PostgresHost::Name(name.to_owned()), number))
}

fn port(field: &Field<'_>, text: &str) -> Result<u16> {
    match text.parse() {
        Ok(0) | Err(_) => Err(field.bad("the URL has a port that is none")),
        Ok(port) => Ok(port),
    }
}

/// `%41` is `A`.
fn decoded(field: &Field<'_>, text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err(field.bad("the URL has a % without two hexadecimal digits; % itself is written %25")),
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => Ok(text),
        _ => Err(field.bad("the URL is not UTF-8 when it is decoded, or has control characters")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, StoreLocation, check_text};
    use super::*;
    use crate::error::Cause;
    use std::path::Path;

    fn read(url: &str) -> Result<Config> {
        let text = format!("[[token]]\nlabel = \"web\"\nkms_key_id = \"k\"\nstore = \"{url}\"");
        check_text(&Environment::of_process(false), Path::new("/etc/datakey.toml"), &text)
    }

    #[track_caller]
    fn parsed(url: &str) -> PostgresConfig {
        match read(url).unwrap().tokens.remove(0).store {
            StoreLocation::Postgres(config) => *config,
            other => panic!("{other}"),
        }
    }

    fn name(name: &str, port: u16) -> (PostgresHost, u16) {
        (PostgresHost::Name(name.to_owned()), port)
    }

    #[test]
    fn a_url_says_where_and_who() {
        let short = parsed("postgres://web@db.example");
        assert_eq!(short.hosts, [name("db.example", 5432)]);
        assert_eq!((short.user.as_str(), short.database.as_str(), short.token.as_str()), ("web", "web", "web"));
        assert_eq!(short.tls, Some(PostgresTls { roots: None, identity: None }));
        assert!(short.password.is_none() && !short.needs_writable);

        let long = parsed(
            "postgresql://we%62:p%40ss:%25@a,[::1]:1,b:2/data%20base?token=other&sslrootcert=/etc/ca.pem\
             &sslcert=/c.pem&sslkey=/k.pem&passfile=/p&connect_timeout=7&application_name=x&options=-c%20a=b",
        );
        assert_eq!(long.hosts, [name("a", 5432), name("::1", 1), name("b", 2)]);
        assert_eq!((long.user.as_str(), long.database.as_str(), long.token.as_str()), ("web", "data base", "other"));
        assert_eq!(long.password.as_ref().map(|password| password.as_str()), Some("p@ss:%"));
        let identity = Some(("/c.pem".into(), "/k.pem".into()));
        assert_eq!(long.tls, Some(PostgresTls { roots: Some("/etc/ca.pem".into()), identity }));
        assert!(long.needs_writable, "of several servers one to write to");
        assert_eq!(long.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(long.options.as_deref(), Some("-c a=b"));
        assert_eq!(long.to_string(), "postgres://web@a:5432,[::1]:1,b:2/data base (token \"other\")");
        assert!(!format!("{long:?}").contains("p@ss"));

        let local = parsed("postgres://u@/d?host=/run/postgresql&port=5433");
        assert_eq!(local.hosts, [(PostgresHost::Directory("/run/postgresql".into()), 5433)]);
        assert_eq!(local.tls, None);
        assert_eq!(parsed("postgres://u@%2Frun%2Fpostgresql/d").hosts.len(), 1);
        assert_eq!(parsed("postgres://u@h?sslmode=disable").tls, None);
    }

    #[test]
    fn what_is_not_clear_or_not_safe_is_refused_without_repeating_it() {
        for (url, why) in [
            ("postgres://db.example/d", "names no user"),
            ("postgres://:secret@h/d", "names no user"),
            ("postgres://u:secret@/d", "names no host"),
            ("postgres://u:secret@h/d?sslmode=require", "does not make sure who answers"),
            ("postgres://u:secret@h/d?sslmode=secret", "unknown sslmode"),
            ("postgres://u:secret@h/d?sslmode=disable&sslrootcert=/x", "no effect without TLS"),
            ("postgres://u:secret@h/d?sslrootcert=x", "must be absolute"),
            ("postgres://u:secret@h/d?sslcert=/x", "belong together"),
            ("postgres://u:secret@h/d?se?cret=1", "unknown parameter of the URL"),
            ("postgres://u:secret@h/d?token=a&token=b", "says token twice"),
            ("postgres://u:secret@h/d?token=", "1 to 255 bytes"),
            ("postgres://u:secret@h/d?connect_timeout=0", "from 1 to 600"),
            ("postgres://u:secret@h/d?target_session_attrs=standby", "none of any"),
            ("postgres://u:secret@h:0/d", "a port that is none"),
            ("postgres://u:secret@h:secret/d", "a port that is none"),
            ("postgres://u:sec%ret@h/d", "without two hexadecimal digits"),
            ("postgres://u:secret@h,/d", "a host without a name"),
            ("postgres://u:secret@h,%2Frun/d", "mixes hosts and directories"),
            ("postgres://u:secret@/d?host=/run&sslmode=verify-full", "no TLS on sockets"),
            ("postgre://u:secret@h/d", "not shown here"),
        ] {
            let error = read(url).unwrap_err();
            assert_eq!(error.cause(), Cause::ConfigInvalid);
            assert!(error.detail().contains(why), "{url}: {error}");
            assert!(!error.detail().contains("secret"), "{error}");
        }
        let clear = read("postgres://u@h/d?sslmode=disable").unwrap().notes;
        assert!(clear[0].contains("without TLS"), "{clear:?}");
        assert_eq!(read("postgres://u@localhost/d?sslmode=disable").unwrap().notes, [""; 0]);
        let notes = read("postgres://u:secret@h/d").unwrap().notes;
        assert!(notes[0].contains("passfile") && !notes[0].contains("secret"), "{notes:?}");
    }
}

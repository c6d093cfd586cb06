//! `datakey-pkcs11 audit`: who used which key.

mod tally;

use super::desk::open_module;
use super::object::{Name, Seen, find, from_hex, hex};
use super::output::{Answer, Failure, counted, plain, table};
use super::progress::Progress;
use super::token::time;
use crate::config::{self, Environment};
use crate::host;
use crate::module::Module;
use crate::object::SEALED_CLASSES;
use crate::store::ObjectId;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use cryptoki_sys::{CKA_UNIQUE_ID, CKF_SERIAL_SESSION};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tally::{Tally, Uses};

/// Read the audit log: how often each key was used, for what, with which result, and what KMS calls those.
///
/// A key is told by its label where a token of the configuration shows it without a login. Lines that are none of an
/// audit log are counted.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only uses since then: 2026-11-23, 2026-11-23T23:10:11Z, or 90m, 24h, 7d ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only this key, with the requests of KMS that opened it: its unique id, or its label or id:HEX where it is known
    #[arg(long, value_name = "KEY")]
    key: Option<Name>,
    /// Logs, such as those that were rotated; "-" is standard input (default: the one of the configuration)
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug)]
struct Since(u64);

fn since(text: &str) -> Result<Since, String> {
    let seconds = |unit: char| match unit {
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let ago = || {
        let unit = seconds(text.chars().last()?)?;
        let ago = text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        Some(Since(now.saturating_sub(ago)))
    };
    let at = |text: &str| {
        let date = DateTime::from_str(text, Format::DateTime).ok()?;
        u64::try_from(date.secs()).ok().map(Since)
    };
    ago()
        .or_else(|| at(text))
        .or_else(|| at(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "a time is written as 2026-11-23, 2026-11-23T23:10:11Z, or as 90m, 24h, 7d".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let files = match arguments.files.is_empty() {
        true => vec![configured()?],
        false => arguments.files.clone(),
    };
    let since = arguments.since.map_or(0, |Since(at)| at);
    let mut tally = Tally::default();
    let size = files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let progress = Progress::of_bytes(size, "reading");
    for file in &files {
        read(&mut tally, file, since, &progress)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    }
    drop(progress);
    // A log of another host is read where there is no configuration, too.
    let module = match arguments.files.is_empty() {
        true => Some(open_module()?),
        false => open_module().ok(),
    };
    let mut keys: Vec<Value> = Vec::new();
    for (id, uses) in &tally.keys {
        let named = module.as_ref().and_then(|module| named(module, id));
        let told = told(id, named, uses);
        if arguments.key.as_ref().is_none_or(|name| is_called(&told, name)) {
            keys.push(told);
        }
    }
    if arguments.key.is_some() && keys.is_empty() && !matches!(arguments.key, Some(Name::Unique(_))) {
        return Err(Failure::new(
            "no key of this name was used, or its name is not known without a login; name it by its unique id",
        ));
    }
    Ok(answer(keys, tally.broken, arguments.key.is_some()))
}

/// The log of the configuration.
fn configured() -> Result<PathBuf, Failure> {
    let config = config::load(&Environment::of_process(host::secure_mode()))?;
    config.log.audit.ok_or_else(|| Failure::new("the configuration has no [log] audit; name the file to be read"))
}

fn read(tally: &mut Tally, file: &Path, since: u64, progress: &Progress) -> io::Result<()> {
    match file.as_os_str() == "-" {
        true => tally.read(&mut progress.reading(io::stdin().lock()), since),
        false => tally.read(&mut progress.reading(BufReader::new(File::open(file)?)), since),
    }
}

/// The key as a token shows it to everybody, and the label of that token. A token that cannot be read has no names.
fn named(module: &Module, id: &ObjectId) -> Option<(String, Seen)> {
    let id = id.to_string();
    module.slots.iter().find_map(|slot| {
        let handle = module.sessions.open(slot, CKF_SERIAL_SESSION).ok()?;
        let session = module.sessions.get(handle).ok()?;
        let found = SEALED_CLASSES
            .iter()
            .find_map(|class| find(&session, *class, Some((CKA_UNIQUE_ID, id.as_bytes()))).ok()?.pop());
        Some((slot.token.config().label.clone(), found?))
    })
}

fn told(id: &ObjectId, named: Option<(String, Seen)>, uses: &Uses) -> Value {
    let by_kind = uses.by_kind.iter().map(|((operation, result, device_error), count)| {
        let device_error = Some(*device_error).filter(|number| *number != 0);
        json!({"operation": operation, "result": result, "device_error": device_error, "count": count})
    });
    let requests = uses.requests.iter().map(|request| json!({"request_id": request.id, "time": time(request.time)}));
    json!({
        "unique_id": id.to_string(),
        "token": named.as_ref().map(|(token, _)| token),
        "label": named.as_ref().map(|(_, seen)| seen.label()),
        "id": named.as_ref().map(|(_, seen)| hex(seen.id())),
        "uses": uses.count(),
        "cached": uses.cached,
        "first": time(uses.first),
        "last": time(uses.last),
        "operations": by_kind.collect::<Vec<_>>(),
        "kms_requests": requests.collect::<Vec<_>>(),
        "processes": uses.processes,
    })
}

fn is_called(told: &Value, name: &Name) -> bool {
    match name {
        Name::Unique(id) => told["unique_id"].as_str() == Some(&id.to_string()),
        Name::Label(label) => told["label"].as_str() == Some(label),
        Name::Id(id) => told["id"].as_str().and_then(from_hex).as_ref() == Some(id),
    }
}

fn answer(keys: Vec<Value>, broken: u64, with_requests: bool) -> Answer {
    const COLUMNS: &[&str] = &["key", "uses", "cached", "kms", "first", "last", "operations"];
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    let mut human = match keys.is_empty() {
        true => "no use of a key\n".to_owned(),
        false => table(COLUMNS, &rows),
    };
    if with_requests {
        for request in keys.iter().flat_map(|key| key["kms_requests"].as_array().into_iter().flatten()) {
            let text = |name: &str| request[name].as_str().unwrap_or_default();
            human.push_str(&format!("{}\n", plain(&format!("{}  KMS request {}", text("time"), text("request_id")))));
        }
    }
    if broken > 0 {
        human.push_str(&format!("{} not of an audit log\n", counted(broken, "line")));
    }
    let uses: u64 = keys.iter().filter_map(|key| key["uses"].as_u64()).sum();
    Answer::new(human, json!({"keys": keys, "uses": uses, "broken_lines": broken}))
}

/// A key for people.
fn row(key: &Value) -> Vec<String> {
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    let name = key["label"].as_str().filter(|label| !label.is_empty()).map_or_else(|| text("unique_id"), str::to_owned);
    let operations = key["operations"].as_array().into_iter().flatten().map(|kind| {
        let text = |name: &str| kind[name].as_str().unwrap_or_default();
        let number = kind["device_error"].as_u64().map_or_else(String::new, |number| format!(" {number:#x}"));
        match text("result") {
            "CKR_OK" => format!("{} {}", kind["count"], text("operation")),
            result => format!("{} {} {result}{number}", kind["count"], text("operation")),
        }
    });
    let requests = key["kms_requests"].as_array().map_or(0, Vec::len);
    let operations = operations.collect::<Vec<_>>().join(", ");
    let counts = [key["uses"].to_string(), key["cached"].to_string(), requests.to_string()];
    [vec![name], counts.into(), vec![text("first"), text("last"), operations]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let at = |text: &str| since(text).map(|Since(at)| at).ok();
        assert_eq!(at("1970-01-02"), Some(86_400));
        assert_eq!(at("1970-01-01T00:01:00Z"), Some(60));
        assert!(at("1h") > at("2h") && at("2h") > at("1d") && at("1d") >= at("24h"));
        for bad in ["", "m", "-1h", "1w", "yesterday", "2026-13-01", "1969-12-31", "99999999999999999999d"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}

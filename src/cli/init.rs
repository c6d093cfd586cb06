//! `datakey-pkcs11 init`: writes a configuration.

use super::input;
use super::output::{Answer, Failure};
use crate::config::{self, Environment};
use crate::host;
use serde_json::json;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Write a configuration with one token. What is needed and not given is asked for, on a terminal.
///
/// Nothing is overwritten. Without --file it becomes the file that DATAKEY_PKCS11_CONF names, or root's
/// /etc/datakey-pkcs11/datakey-pkcs11.toml, or the user's own.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The token's label
    #[arg(long)]
    label: Option<String>,
    /// The symmetric KMS key that seals the token's keys: key id, ARN, alias or alias ARN
    #[arg(long, value_name = "KEY", conflicts_with = "embedded")]
    kms_key_id: Option<String>,
    /// Use the embedded KMS, to try things out: not for production
    #[arg(long)]
    embedded: bool,
    /// The AWS Region
    #[arg(long)]
    region: Option<String>,
    /// A profile of the AWS configuration files
    #[arg(long)]
    profile: Option<String>,
    /// A role to assume
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// A VPC endpoint, or an emulator
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// The token's store
    #[arg(long, value_name = "sqlite:PATH")]
    store: Option<String>,
    /// Whether users log in with a PIN
    #[arg(long, value_parser = ["pin", "none"])]
    login: Option<String>,
    /// Whether a new private key is ever in a process before its first use
    #[arg(long, value_parser = ["with-plaintext", "without-plaintext"])]
    generate: Option<String>,
    /// A pair for the encryption context of every call; may be given several times
    #[arg(long = "context", value_name = "KEY=VALUE", value_parser = pair)]
    context: Vec<(String, String)>,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a pair is written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let environment = Environment::of_process(host::secure_mode());
    let file = arguments.file.clone().or_else(|| environment.new_file());
    let file = file.ok_or_else(|| Failure::new("there is no home directory; say with --file what to write"))?;
    let file = std::path::absolute(&file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    if file.symlink_metadata().is_ok() {
        return Err(exists(&file));
    }
    let text = configuration(arguments)?;
    // Before anything is written: nobody is to find a file that the module refuses.
    let config = config::check_text(&environment, &file, &text)?;
    write(&file, &text)?;
    let name = file.display().to_string();
    let found = config::load(&environment).ok().and_then(|config| config.file) == Some(file);
    let mut human = format!("wrote {name}\n");
    if !found {
        human.push_str(&format!("the module reads it with DATAKEY_PKCS11_CONF={name} in its environment\n"));
    }
    for note in &config.notes {
        human.push_str(&format!("note: {note}\n"));
    }
    human.push_str("next: datakey-pkcs11 token init, then datakey-pkcs11 doctor\n");
    Ok(Answer::new(human, json!({"file": name, "found_by_default": found, "notes": config.notes})))
}

fn exists(file: &Path) -> Failure {
    Failure::new(format!("{} is there already, and is not overwritten; edit it", file.display()))
}

/// The text of the file.
fn configuration(arguments: &Arguments) -> Result<String, Failure> {
    let label = answer(arguments.label.as_ref(), "label of the token", "--label", Some("token"))?;
    let mut lines = vec!["[[token]]".to_owned(), line("label", &label)];
    if arguments.embedded {
        lines.push(line("kms", "embedded"));
    } else {
        let why = "--kms-key-id (or --embedded)";
        let key = answer(arguments.kms_key_id.as_ref(), "KMS key (id, ARN, alias/… or alias ARN)", why, None)?;
        lines.push(line("kms_key_id", &key));
    }
    for (name, value) in [
        ("region", &arguments.region),
        ("profile", &arguments.profile),
        ("role_arn", &arguments.role_arn),
        ("endpoint_url", &arguments.endpoint_url),
        ("store", &arguments.store),
        ("login", &arguments.login),
        ("generate", &arguments.generate),
    ] {
        lines.extend(value.as_ref().map(|value| line(name, value)));
    }
    if !arguments.context.is_empty() {
        let pairs = arguments.context.iter().map(|(key, value)| format!("{} = {}", quoted(key), quoted(value)));
        lines.push(format!("encryption_context = {{ {} }}", pairs.collect::<Vec<_>>().join(", ")));
    }
    let head = "# Written by datakey-pkcs11 init. docs/configuration.md describes every key.\n\n";
    Ok(format!("{head}{}\n", lines.join("\n")))
}

fn line(name: &str, value: &str) -> String {
    format!("{name} = {}", quoted(value))
}

/// A basic string of TOML, which a string of JSON is.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// What was given, or is asked for on a terminal; `default` where neither is.
fn answer(given: Option<&String>, what: &str, option: &str, default: Option<&str>) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let hint = default.map_or(String::new(), |default| format!(" [{default}]"));
    let said = input::ask(&format!("{what}{hint}:"))?.filter(|said| !said.is_empty());
    said.or_else(|| default.map(str::to_owned)).ok_or_else(|| Failure::new(format!("give {option}")))
}

/// Writes a new file, and its directory if that is missing.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let make = || -> io::Result<()> {
        if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        // Others may read it: a server's processes run as several users. `create_new` overwrites nothing.
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()
    };
    make().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(file),
        _ => Failure::new(format!("{}: {error}", file.display())),
    })
}

//! From text to [`Config`].

use super::check;
use super::reader::{Field, LOG, Section, TOKEN, invalid, line_of};
use super::token::token;
use super::values::{absolute_path, path};
use super::*;
use crate::error::Result;
use std::path::Path;
use toml::de::DeTable;

/// Reads a configuration. `directory` is for stores of tokens that name none.
pub(super) fn parse(text: &str, directory: Option<&Path>) -> Result<Config> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(text.len(), |span| span.start));
        invalid(line, format!("not TOML: {}", error.message()))
    })?;
    let document = Section::document(text, &table)?;
    let mut config = Config { log: document.read("log", log)?.unwrap_or_default(), ..Config::default() };
    let mut lines = Vec::new();
    for section in document.read("token", tokens)?.unwrap_or_default() {
        lines.push(section.line());
        config.tokens.push(token(&section, directory, &mut config.notes)?);
    }
    check::nothing_twice(&config, &lines)?;
    Ok(config)
}

fn tokens<'d>(field: &Field<'d>) -> Result<Vec<Section<'d>>> {
    const TOKENS: &str = "one [[token]], in two pairs of brackets, for each token";
    field.array(TOKENS)?.iter().map(|member| member.table(TOKEN, TOKENS)).collect()
}

fn log(field: &Field<'_>) -> Result<LogConfig> {
    let table = field.table(LOG, "a table: [log]")?;
    Ok(LogConfig {
        level: table.read("level", level)?.unwrap_or_default(),
        target: table.read("target", target)?.unwrap_or_default(),
        audit: table.read("audit", path)?,
        metrics: table.read("metrics", path)?,
    })
}

fn level(field: &Field<'_>) -> Result<LogLevel> {
    field.choice(&[
        ("off", LogLevel::Off),
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ])
}

fn target(field: &Field<'_>) -> Result<LogTarget> {
    const TARGET: &str = "\"stderr\", \"syslog\" (which journald reads too) or \"file:PATH\" with an absolute path";
    match field.string(TARGET)? {
        "stderr" => Ok(LogTarget::Stderr),
        "syslog" => Ok(LogTarget::Syslog),
        other => {
            let file = other.strip_prefix("file:").ok_or_else(|| field.wrong(TARGET))?;
            absolute_path(field, file).map(LogTarget::File)
        }
    }
}

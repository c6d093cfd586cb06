//! Tables of the configuration, read key by key with errors that name the line.

use crate::error::{Cause, Error, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The tables and the keys that each knows, in the order of the documentation.
const TABLES: &[(&str, &[&str])] = &[
    (TOP, &["token", "log"]),
    (
        TOKEN,
        &[
            "label",
            "kms",
            "kms_key_id",
            "former_kms_key_ids",
            "additional_kms_keys",
            "encryption_context",
            "grant_tokens",
            "region",
            "profile",
            "role_arn",
            "role_session_name",
            "external_id",
            "endpoint_url",
            "fips",
            "dual_stack",
            "proxy",
            "ca_bundle",
            "timeouts",
            "attestation",
            "store",
            "login",
            "max_pin_attempts",
            "pin_hash",
            "generate",
            "cache",
        ],
    ),
    (
        ADDITIONAL,
        &[
            "kms",
            "kms_key_id",
            "grant_tokens",
            "profile",
            "role_arn",
            "role_session_name",
            "external_id",
            "endpoint_url",
            "fips",
            "dual_stack",
            "proxy",
            "ca_bundle",
            "timeouts",
        ],
    ),
    (TIMEOUTS, &["attempt", "total", "generate_attempt", "generate_total"]),
    (PIN_HASH, &["memory", "passes"]),
    (CACHE, &["max_age", "max_stale", "max_uses", "max_keys", "max_object_age"]),
    (LOG, &["level", "target", "audit", "metrics"]),
];

pub(super) const TOP: &str = "the top level";
pub(super) const TOKEN: &str = "[[token]]";
pub(super) const ADDITIONAL: &str = "additional_kms_keys";
pub(super) const TIMEOUTS: &str = "timeouts";
pub(super) const PIN_HASH: &str = "pin_hash";
pub(super) const CACHE: &str = "cache";
pub(super) const LOG: &str = "[log]";

/// Values of these keys may be credentials, so that no message repeats them.
const NEVER_SHOWN: &[&str] = &["external_id", "grant_tokens", "proxy"];

/// Every key with the table it stands in, for the documentation and its test.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (*table, *key)))
}

/// A table of the file.
pub(super) struct Section<'d> {
    text: &'d str,
    table: &'d DeTable<'d>,
    line: usize,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(super) fn document(text: &'d str, table: &'d Spanned<DeTable<'d>>) -> Result<Self> {
        Self { text, table: table.get_ref(), line: 1 }.known(TOP)
    }

    /// A table that stands by itself.
    pub(super) fn of_table(text: &'d str, table: &'d DeTable<'d>) -> Self {
        Self { text, table, line: 1 }
    }

    /// The line it begins at, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Field<'d>> {
        self.fields().find(|field| field.key == key)
    }

    /// What `key` says in the eyes of `read`, if it is there.
    pub(super) fn read<T>(&self, key: &str, read: impl FnOnce(&Field<'d>) -> Result<T>) -> Result<Option<T>> {
        self.get(key).as_ref().map(read).transpose()
    }

    /// Everything in it.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'d>> + use<'d> {
        let text = self.text;
        self.table.iter().map(move |(key, value)| Field {
            text,
            key: key.get_ref(),
            line: line_of(text, key.span().start),
            value,
        })
    }

    /// Refuses the first key that the table called `name` does not know.
    fn known(self, name: &'static str) -> Result<Self> {
        let known = TABLES.iter().find(|(table, _)| *table == name).map_or(&[][..], |(_, keys)| *keys);
        let unknown = self.fields().filter(|field| !known.contains(&field.key)).min_by_key(|field| field.line);
        match unknown {
            Some(field) => Err(unknown_key(&field, name, known)),
            None => Ok(self),
        }
    }
}

fn unknown_key(field: &Field<'_>, table: &str, known: &[&str]) -> Error {
    let key = field.key.escape_debug();
    let nearest = nearest(field.key, known.iter().copied());
    let elsewhere = keys().find(|(other, key)| *other != table && *key == field.key);
    let hint = match (nearest, elsewhere) {
        (_, Some((other, _))) => format!("it belongs in {other}, not in {table}"),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("{table} knows {}", listed(known)),
    };
    invalid(field.line, format!("unknown key `{key}`; {hint}"))
}

/// The word that somebody who wrote `found` most likely meant.
fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase().replace('-', "_");
    known
        .map(|word| (strsim::jaro_winkler(&found, word), word))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A key and its value.
pub(super) struct Field<'d> {
    text: &'d str,
    pub(super) key: &'d str,
    /// The line of the key, counted from 1.
    pub(super) line: usize,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Field<'d> {
    /// An error: what was found here, and what is accepted.
    pub(super) fn wrong(&self, accepted: &str) -> Error {
        invalid(self.line, format!("`{}` is {}; accepted: {accepted}", self.key, self.shown()))
    }

    /// An error in the author's own words.
    pub(super) fn bad(&self, why: &str) -> Error {
        invalid(self.line, format!("`{}`: {why}", self.key))
    }

    fn shown(&self) -> String {
        let hidden = NEVER_SHOWN.contains(&self.key);
        match self.value.get_ref() {
            DeValue::String(text) if text.is_empty() => "empty".into(),
            DeValue::String(_) if hidden => "a string (not shown here)".into(),
            // A URL may hold a password.
            DeValue::String(text) if text.contains('@') && text.contains(':') => "a string (not shown here)".into(),
            DeValue::String(text) => {
                let cut: String = text.chars().take(60).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                format!("\"{}{more}\"", cut.escape_debug())
            }
            DeValue::Integer(number) => format!("the integer {number}"),
            DeValue::Boolean(value) => value.to_string(),
            other => format!("of the type {}", other.type_str()),
        }
    }

    /// A string that is not empty and has no control characters.
    pub(super) fn string(&self, accepted: &str) -> Result<&'d str> {
        match self.value.get_ref().as_str() {
            Some(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text),
            _ => Err(self.wrong(accepted)),
        }
    }

    /// A string that may be empty.
    pub(super) fn any_string(&self, accepted: &str) -> Result<&'d str> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong(accepted))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// An integer from `least` to `most`.
    pub(super) fn integer(&self, least: u64, most: u64) -> Result<u64> {
        self.unsigned()
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| self.wrong(&format!("an integer from {least} to {most}")))
    }

    /// The value, if it is an integer that is not negative.
    pub(super) fn unsigned(&self) -> Option<u64> {
        let integer = self.value.get_ref().as_integer()?;
        u64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// One of the given words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let found = self.value.get_ref().as_str();
        if let Some((_, value)) = words.iter().find(|(word, _)| Some(*word) == found) {
            return Ok(*value);
        }
        let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        Err(self.wrong(&all))
    }

    /// The members of an array, each called by the array's key.
    pub(super) fn array(&self, accepted: &str) -> Result<Vec<Field<'d>>> {
        let array = self.value.get_ref().as_array().ok_or_else(|| self.wrong(accepted))?;
        let member = |value: &'d Spanned<DeValue<'d>>| Field {
            text: self.text,
            key: self.key,
            line: line_of(self.text, value.span().start),
            value,
        };
        Ok(array.iter().map(member).collect())
    }

    /// A table that knows the keys of the table called `name`.
    pub(super) fn table(&self, name: &'static str, accepted: &str) -> Result<Section<'d>> {
        self.free_table(accepted)?.known(name)
    }

    /// A table whose keys are the author's own.
    pub(super) fn free_table(&self, accepted: &str) -> Result<Section<'d>> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wrong(accepted))?;
        Ok(Section { text: self.text, table, line: self.line })
    }
}

/// An error at a line.
pub(super) fn invalid(line: usize, why: impl std::fmt::Display) -> Error {
    Cause::ConfigInvalid.with(format!("line {line}: {why}"))
}

/// The line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

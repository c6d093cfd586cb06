//! The tables, and which attributes are indexed.
//!
//! `object` is small, so that listing reads few pages; `record` holds the bulk. `lookup` has a row for
//! each indexed attribute of each object. `seq` numbers objects in the order of insertion and is never
//! used twice: it is drawn from `state.counter`, which every change moves.

use super::fault::Outcome;
use crate::error::{Cause, Error};
use crate::store::record::ObjectView;
use cryptoki_sys::*;
use rusqlite::{Connection, params};

/// `PRAGMA application_id` of our files: "DKP1".
pub(super) const APPLICATION: i64 = 0x444B_5031;
/// `PRAGMA user_version` of the tables below.
pub(super) const VERSION: i64 = 2;

/// Part of the format: a store is compared with it word for word, see [`check`].
pub(super) const TABLES: &str = "
    CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), counter INTEGER NOT NULL) STRICT;
    CREATE TABLE token (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
    CREATE TABLE object (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, version INTEGER NOT NULL) STRICT;
    CREATE TABLE record (seq INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
    CREATE TABLE lookup (
        type INTEGER NOT NULL, value BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (type, value, seq)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO state VALUES (1, 0);
";

/// What `seek` and `scan` look for: an attribute's type and its value as the index has it.
pub(super) type Term = (i64, Vec<u8>);

/// The attributes that are indexed wherever they occur, those first that few objects share: an
/// intersection is quickest if it starts with a short list.
const INDEXED: [u64; 10] = [
    CKA_UNIQUE_ID,
    CKA_PUBLIC_KEY_INFO,
    CKA_ID,
    CKA_MODULUS,
    CKA_EC_POINT,
    CKA_SERIAL_NUMBER,
    CKA_LABEL,
    CKA_SUBJECT,
    CKA_KEY_TYPE,
    CKA_CLASS,
];
/// The class whose `CKA_VALUE` is indexed too: of certificates only, because it is public.
const CERTIFICATE: [u8; 8] = CKO_CERTIFICATE.to_be_bytes();

/// The term that all objects have which can be seen without logging in.
pub(super) fn public() -> Term {
    term(CKA_PRIVATE, &[0])
}

/// Whether an object with this `CKA_PRIVATE` is hidden without logging in.
pub(super) fn is_private(value: Option<&[u8]>) -> bool {
    value == Some(&[1])
}

/// The terms under which the index holds an object with these attributes.
pub(super) fn terms<'a>(get: impl Fn(u64) -> Option<&'a [u8]>) -> Vec<Term> {
    let mut terms: Vec<Term> = indexed(&get).filter_map(|kind| Some(term(kind, get(kind)?))).collect();
    terms.push(term(CKA_PRIVATE, &[u8::from(is_private(get(CKA_PRIVATE)))]));
    terms
}

/// The types among a record's or a template's attributes that the index can answer.
pub(super) fn indexed<'a>(get: impl Fn(u64) -> Option<&'a [u8]>) -> impl Iterator<Item = u64> {
    let value = (get(CKA_CLASS) == Some(&CERTIFICATE)).then_some(CKA_VALUE);
    value.into_iter().chain(INDEXED)
}

pub(super) fn term(kind: u64, value: &[u8]) -> Term {
    // SQLite's integers are signed; the bits are what counts.
    let kind = kind as i64;
    if value.len() <= 32 { (kind, value.to_vec()) } else { (kind, fnv128(value).to_be_bytes().to_vec()) }
}

/// FNV-1a with 128 bits: what the index holds in place of a long value. It need not withstand anybody:
/// each hit is compared with the record itself, so a collision costs a look and no more.
fn fnv128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = (1 << 88) + 0x13b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// Puts an object under its terms.
pub(super) fn index(connection: &Connection, seq: i64, terms: &[Term]) -> Outcome<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO lookup (type, value, seq) VALUES (?1, ?2, ?3)")?;
    for (kind, value) in terms {
        insert.execute(params![kind, value, seq])?;
    }
    Ok(())
}

/// Takes an object away from under its terms.
pub(super) fn unindex(connection: &Connection, seq: i64, terms: &[Term]) -> Outcome<()> {
    let mut delete = connection.prepare_cached("DELETE FROM lookup WHERE type = ?1 AND value = ?2 AND seq = ?3")?;
    for (kind, value) in terms {
        delete.execute(params![kind, value, seq])?;
    }
    Ok(())
}

/// The terms of a stored record; `None` if it is damaged.
pub(super) fn terms_of(record: &[u8]) -> Option<Vec<Term>> {
    ObjectView::parse(record).ok().map(|view| terms(|kind| view.get(kind)))
}

/// What a file turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// Nothing was ever written to it.
    Empty,
    /// Ours, as this module writes it.
    Present,
    /// Ours, written by an older version.
    Older(i64),
}

/// What the file is that `connection` has open. In a transaction, else the answer may be of two moments.
pub(super) fn format(connection: &Connection) -> Outcome<Format> {
    let version: i64 = connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    let application: i64 = connection.prepare_cached("PRAGMA application_id")?.query_row([], |row| row.get(0))?;
    match (application, version) {
        (APPLICATION, VERSION) => Ok(Format::Present),
        (APPLICATION, 0..VERSION) => Ok(Format::Older(version)),
        (APPLICATION, VERSION..) => {
            Err(refused(Cause::StoreNewer, format!("its format is {version}, this module knows up to {VERSION}"))
                .into())
        }
        (0, 0) => {
            let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if objects == 0 { Ok(Format::Empty) } else { Err(foreign().into()) }
        }
        _ => Err(foreign().into()),
    }
}

/// Refuses a store of the present format with anything in it but our tables: a generated column, an index on
/// an expression or a virtual table would be computed for whoever put it there.
pub(super) fn check(connection: &Connection) -> Outcome<()> {
    let mut missing: Vec<String> = TABLES.split(';').map(words).filter(|sql| sql.starts_with("CREATE ")).collect();
    // What SQLite keeps beside them has no text (indexes of `UNIQUE`), or comes of `ANALYZE`.
    let mut found = connection.prepare_cached(
        "SELECT name, sql FROM sqlite_schema
         WHERE sql IS NOT NULL AND name NOT IN ('sqlite_stat1', 'sqlite_stat4')",
    )?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let (name, sql): (String, String) = (row.get(0)?, row.get(1)?);
        match missing.iter().position(|table| *table == words(&sql)) {
            Some(position) => drop(missing.swap_remove(position)),
            None => return Err(refused(Cause::StoreCorrupt, format!("{name:?} in it is not this module's")).into()),
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(refused(Cause::StoreCorrupt, "a table is missing".to_owned()).into()),
    }
}

/// A statement with one blank between its words.
fn words(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn foreign() -> Error {
    refused(Cause::StoreCorrupt, "it is another program's database".to_owned())
}

fn refused(cause: Cause, why: String) -> Error {
    cause.with(why)
}

/// Says that the file has the present format.
pub(super) fn stamp(connection: &Connection) -> Outcome<()> {
    Ok(connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_long_values_is_fnv_1a() {
        assert_eq!(fnv128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fnv128(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}

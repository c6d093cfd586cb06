//! The tables.
//!
//! `object` is small, so that listing reads few pages; `record` holds the bulk. `lookup` has a row for
//! each indexed attribute of each object (`../terms.rs`). `seq` numbers objects in the order of insertion and is never
//! used twice: it is drawn from `state.counter`, which every change moves.

use super::fault::Outcome;
use crate::error::{Cause, Error};
use crate::store::terms::Term;
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

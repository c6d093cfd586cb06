//! What looks through a whole store for damage.
//!
//! SQLite knows whether its trees are whole, and not whether the tables say the same. Pages of two moments, such as a
//! file has that was copied while it was written to, may make whole trees.

use super::fault::Outcome;
use crate::error::{Cause, Error};
use crate::store::terms;
use rusqlite::{Connection, params};

/// Whether the trees are whole, each object has its record, and the index says of each what the record says, and
/// nothing else. Answers the number of objects. A record that nobody can read is no damage of the store.
pub(super) fn check(connection: &Connection) -> Outcome<u64> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(damaged(found).into());
    }
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut select = connection.prepare("SELECT seq, record FROM object LEFT JOIN record USING (seq)")?;
    let mut indexed = connection.prepare("SELECT count(*) FROM lookup WHERE type = ?1 AND value = ?2 AND seq = ?3")?;
    let mut indexed_anyhow = connection.prepare("SELECT count(*) FROM lookup WHERE seq = ?1")?;
    let (mut objects, mut entries) = (0, 0);
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, record): (i64, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
        let record = record.ok_or_else(|| damaged(format!("object number {seq} has no record")))?;
        objects += 1;
        let Some(mut terms) = terms::terms_of(&record) else {
            entries += indexed_anyhow.query_row([seq], |row| row.get::<_, i64>(0))?;
            continue;
        };
        terms.sort();
        terms.dedup();
        for (kind, value) in &terms {
            match indexed.query_row(params![kind, value, seq], |row| row.get::<_, i64>(0))? {
                0 => return Err(damaged(format!("its index lacks entries of object number {seq}")).into()),
                _ => entries += 1,
            }
        }
    }
    if count("SELECT count(*) FROM record")? != objects {
        return Err(damaged("it has records of no object".to_owned()).into());
    }
    if count("SELECT count(*) FROM lookup")? != entries {
        return Err(damaged("its index has entries of no object".to_owned()).into());
    }
    Ok(objects as u64)
}

fn damaged(what: String) -> Error {
    Cause::StoreCorrupt.with(what)
}

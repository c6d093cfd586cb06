//! From older formats to the present one.
//!
//! One write transaction from the first look to the last step, so that of several processes one upgrades
//! and the others wait and find it done, and a process killed in the middle has done nothing. Before the
//! first step the store is copied, as it is under that lock, to `FILE.backup-vN`.

use super::backup;
use super::connection::{self, Link};
use super::fault::Outcome;
use super::schema::{self, Format};
use crate::error::{Cause, Result};
use crate::store::terms;
use rusqlite::Connection;
use std::path::Path;

/// What leads from format N to N + 1, by N.
const STEPS: [fn(&Connection) -> Outcome<()>; schema::VERSION as usize] = [add_index, allow_macs];

/// Brings the store to the present format; does nothing if it has it.
pub(super) fn migrate(link: &Link, path: &Path) -> Result<()> {
    if link.read_only {
        return Err(Cause::StoreReadOnly.with(format!(
            "{}: it was written by an older version and must be upgraded first: open it once where it can be written",
            path.display()
        )));
    }
    link.run(path, |connection| {
        let Format::Older(version) = connection::begin(connection)? else { return connection::commit(connection) };
        backup::keep(path, &connection::beside(path, &format!(".backup-v{version}")))?;
        for step in STEPS.iter().skip(version as usize) {
            step(connection)?;
        }
        schema::stamp(connection)?;
        schema::check(connection)?;
        connection::commit(connection)
    })?;
    link.run(path, connection::use_log)
}

/// Format 2 has the same tables; its records may carry MACs, which an older module would not know of.
fn allow_macs(_: &Connection) -> Outcome<()> {
    Ok(())
}

/// Format 0, before the first release, had each record in its object's row and no index.
fn add_index(connection: &Connection) -> Outcome<()> {
    connection.execute_batch("ALTER TABLE object RENAME TO object_v0; ALTER TABLE token RENAME TO token_v0")?;
    connection.execute_batch(schema::TABLES)?;
    connection.execute_batch(
        "INSERT INTO token (one, version, record) SELECT 1, version, record FROM token_v0;
         INSERT INTO object (seq, id, version) SELECT seq, id, version FROM object_v0;
         INSERT INTO record (seq, record) SELECT seq, record FROM object_v0;
         UPDATE state SET counter = 1 + ifnull((SELECT max(seq) FROM object_v0), 0);
         DROP TABLE object_v0; DROP TABLE token_v0;",
    )?;
    let mut select = connection.prepare("SELECT seq, record FROM record ORDER BY seq")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        // A damaged record is carried over as it is: to lose it is not for an upgrade to decide.
        if let Some(terms) = terms::terms_of(bytes) {
            schema::index(connection, row.get(0)?, &terms)?;
        }
    }
    Ok(())
}

//! What happens inside write transactions.

use super::fault::Outcome;
use super::schema;
use crate::error::{Cause, Result};
use crate::store::terms::{self, Term};
use crate::store::{ObjectId, ObjectRecord, Raw, Sink, TokenRecord, record};
use rusqlite::{Connection, OptionalExtension, params};

/// An object, encoded before any lock is taken.
pub(super) struct New {
    id: ObjectId,
    version: u64,
    bytes: Vec<u8>,
    terms: Vec<Term>,
}

impl New {
    pub(super) fn encode(object: &ObjectRecord) -> Result<Self> {
        let terms = terms::terms(|kind| object.attributes.get(&kind).map(Vec::as_slice));
        Ok(Self { id: object.id, version: 1, bytes: record::encode_object(object)?, terms })
    }

    /// One that comes encoded. Where its record is damaged it is under no term.
    pub(super) fn raw((id, raw): &(ObjectId, Raw)) -> Self {
        let terms = terms::terms_of(&raw.record).unwrap_or_default();
        Self { id: *id, version: raw.version, bytes: raw.record.clone(), terms }
    }
}

/// Moves the change counter by `by` and answers what it is then.
fn advance(connection: &Connection, by: usize) -> Outcome<i64> {
    let mut update = connection.prepare_cached("UPDATE state SET counter = counter + ?1 RETURNING counter")?;
    Ok(update.query_row([by as i64], |row| row.get(0))?)
}

/// Reads the token.
pub(super) fn token(connection: &Connection) -> Outcome<Option<TokenRecord>> {
    let mut select = connection.prepare_cached("SELECT version, record FROM token")?;
    let row = select.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).optional()?;
    Ok(row.map(|(version, bytes)| record::decode_token(version as u64, &bytes)).transpose()?)
}

fn token_version(connection: &Connection) -> Outcome<Option<u64>> {
    let mut select = connection.prepare_cached("SELECT version FROM token")?;
    Ok(select.query_row([], |row| row.get::<_, i64>(0)).optional()?.map(|version| version as u64))
}

/// Writes the token and destroys all objects.
pub(super) fn initialise(connection: &Connection, token: &[u8], expected: Option<u64>) -> Outcome<()> {
    if token_version(connection)? != expected {
        return Err(Cause::StoreConflict.with("the token was initialised meanwhile").into());
    }
    connection.execute_batch("DELETE FROM lookup; DELETE FROM record; DELETE FROM object")?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO token (one, version, record) VALUES (1, ?1, ?2)")?
        .execute(params![expected.unwrap_or(0) as i64 + 1, token])?;
    advance(connection, 1).map(|_| ())
}

/// Replaces the token's record; answers its new version.
pub(super) fn update_token(connection: &Connection, version: u64, token: &[u8]) -> Outcome<u64> {
    let changed = connection
        .prepare_cached("UPDATE token SET version = ?1 + 1, record = ?2 WHERE version = ?1")?
        .execute(params![version as i64, token])?;
    if changed != 1 {
        return Err(Cause::StoreConflict.with("the token was changed meanwhile").into());
    }
    advance(connection, 1)?;
    Ok(version + 1)
}

/// Inserts all.
pub(super) fn insert(connection: &Connection, objects: &[New]) -> Outcome<()> {
    if token_version(connection)?.is_none() {
        return Err(Cause::TokenNotRecognized.into());
    }
    let end = advance(connection, objects.len())?;
    for (seq, object) in (end - objects.len() as i64 + 1..).zip(objects) {
        connection.prepare_cached("INSERT INTO object (seq, id, version) VALUES (?1, ?2, ?3)")?.execute(params![
            seq,
            object.id.as_bytes(),
            object.version as i64
        ])?;
        connection
            .prepare_cached("INSERT INTO record (seq, record) VALUES (?1, ?2)")?
            .execute(params![seq, object.bytes])?;
        schema::index(connection, seq, &object.terms)?;
    }
    Ok(())
}

/// How many objects a sink is shown at once.
const EXPORTED: usize = 256;

/// Reads the token's record as it is kept, how many objects there are, and the highest version of all.
pub(super) fn outline(connection: &Connection) -> Outcome<(Raw, u64, u64)> {
    let mut select = connection.prepare_cached("SELECT version, record FROM token")?;
    let token = select.query_row([], |row| Ok(Raw { version: row.get::<_, i64>(0)? as u64, record: row.get(1)? }));
    let token = token.optional()?.ok_or(Cause::TokenNotRecognized)?;
    let count = "SELECT count(*), ifnull(max(version), 0) FROM object";
    let (objects, highest) =
        connection.query_row(count, [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))?;
    let highest = highest.max(token.version);
    Ok((token, objects, highest))
}

/// Reads the next objects after number `after`, as they are kept, and the number of the last of them.
pub(super) fn raw_objects(connection: &Connection, after: i64) -> Outcome<(Vec<(ObjectId, Raw)>, i64)> {
    let sql =
        "SELECT seq, id, version, record FROM object JOIN record USING (seq) WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![after, EXPORTED as i64])?;
    let (mut objects, mut last) = (Vec::new(), after);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let raw = Raw { version: row.get::<_, i64>(2)? as u64, record: row.get(3)? };
        objects.push((ObjectId::from_bytes(row.get(1)?), raw));
    }
    Ok((objects, last))
}

/// Shows everything to a sink.
pub(super) fn export(connection: &Connection, sink: &mut dyn Sink) -> Outcome<()> {
    let mut select = connection.prepare_cached("SELECT version, record FROM token")?;
    let token = select.query_row([], |row| Ok(Raw { version: row.get::<_, i64>(0)? as u64, record: row.get(1)? }));
    sink.token(&token.optional()?.ok_or(Cause::TokenNotRecognized)?)?;
    let sql = "SELECT id, version, record FROM object JOIN record USING (seq) ORDER BY seq";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        let raw = Raw { version: row.get::<_, i64>(1)? as u64, record: row.get(2)? };
        objects.push((ObjectId::from_bytes(row.get(0)?), raw));
        if objects.len() == EXPORTED {
            sink.objects(std::mem::take(&mut objects))?;
        }
    }
    Ok(sink.objects(objects)?)
}

/// Writes the token's record as it is.
pub(super) fn import_token(connection: &Connection, raw: &Raw) -> Outcome<()> {
    let present = token(connection)?;
    let wanted = record::decode_token(raw.version, &raw.record)?;
    if present.is_some_and(|present| present.serial != wanted.serial) {
        return Err(Cause::StoreConflict.with("another token is there").into());
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO token (one, version, record) VALUES (1, ?1, ?2)")?
        .execute(params![raw.version as i64, raw.record])?;
    advance(connection, 1).map(|_| ())
}

/// Where an object is, if its version is the expected one.
fn locate(connection: &Connection, id: &ObjectId, expected: Option<u64>) -> Outcome<i64> {
    let mut select = connection.prepare_cached("SELECT seq, version FROM object WHERE id = ?1")?;
    let found = select
        .query_row([id.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? as u64)))
        .optional()?;
    match found {
        None => Err(Cause::ObjectHandleInvalid.into()),
        Some((_, version)) if expected.is_some_and(|expected| expected != version) => {
            Err(Cause::StoreConflict.with(format!("object {id}")).into())
        }
        Some((seq, _)) => Ok(seq),
    }
}

/// The terms under which the index holds the stored object; `None` if its record does not tell.
fn stored_terms(connection: &Connection, seq: i64) -> Outcome<Option<Vec<Term>>> {
    let mut select = connection.prepare_cached("SELECT record FROM record WHERE seq = ?1")?;
    let bytes: Option<Vec<u8>> = select.query_row([seq], |row| row.get(0)).optional()?;
    Ok(bytes.and_then(|bytes| terms::terms_of(&bytes)))
}

/// Takes the stored object out of the index.
fn remove_terms(connection: &Connection, seq: i64, keep: &[Term]) -> Outcome<()> {
    match stored_terms(connection, seq)? {
        Some(mut terms) => {
            terms.retain(|term| !keep.contains(term));
            schema::unindex(connection, seq, &terms)
        }
        // Slow, and only where the record is damaged.
        None => {
            connection.execute("DELETE FROM lookup WHERE seq = ?1", [seq])?;
            Ok(())
        }
    }
}

/// Replaces an object; answers its new version.
pub(super) fn update(connection: &Connection, version: u64, object: &New) -> Outcome<u64> {
    let seq = locate(connection, &object.id, Some(version))?;
    remove_terms(connection, seq, &object.terms)?;
    schema::index(connection, seq, &object.terms)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO record (seq, record) VALUES (?1, ?2)")?
        .execute(params![seq, object.bytes])?;
    connection
        .prepare_cached("UPDATE object SET version = ?2 WHERE seq = ?1")?
        .execute(params![seq, version as i64 + 1])?;
    advance(connection, 1)?;
    Ok(version + 1)
}

/// Deletes an object.
pub(super) fn delete(connection: &Connection, id: &ObjectId, version: Option<u64>) -> Outcome<()> {
    let seq = locate(connection, id, version)?;
    remove_terms(connection, seq, &[])?;
    connection.prepare_cached("DELETE FROM record WHERE seq = ?1")?.execute([seq])?;
    connection.prepare_cached("DELETE FROM object WHERE seq = ?1")?.execute([seq])?;
    advance(connection, 1).map(|_| ())
}

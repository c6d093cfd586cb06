//! What happens inside write transactions.
//!
//! The first statement of each moves the token's counter, and so locks the token's row: writers of one token come one
//! after the other, objects are numbered in the order in which they are committed, and what a transaction reads after
//! that stays so until it ends. Statements that need nothing of each other are sent together.

use super::change::{BEGIN, Locked, Parameter, Ticket};
use super::fault::{Outcome, Stop};
use super::migrate;
use super::schema::format_now;
use crate::error::{Cause, Result};
use crate::store::copy::Contents;
use crate::store::terms::{self, Term};
use crate::store::{ObjectId, ObjectRecord, Raw, TokenRecord, record};
use futures_util::future::join;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// As [`BEGIN`], for what touches all objects.
const BEGIN_LONG: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
    SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 4000; \
    SET LOCAL idle_in_transaction_session_timeout = 5000";
/// How many objects, and how many bytes of them, go in one statement.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;

/// An object, encoded before any lock is taken.
pub(super) struct New {
    id: ObjectId,
    version: i64,
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
        Self { id: *id, version: raw.version as i64, bytes: raw.record.clone(), terms }
    }
}

/// Runs a transaction's `body`, which ends with its commit, and rolls back if it is refused.
async fn transaction<T>(client: &Client, body: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let done = body.await;
    if done.is_err() && !client.is_closed() {
        // Outside of a transaction it is a warning.
        client.batch_execute("ROLLBACK").await?;
    }
    done
}

/// Begins a transaction and moves the counter of the token called `name` by `by`.
async fn begin(client: &Client, name: &str, by: i64) -> Outcome<Option<Locked>> {
    let advance = concat!(
        "UPDATE datakey_token SET counter = counter + $2 WHERE name = $1 RETURNING number, counter, ",
        format_now!()
    );
    let parameters: &[Parameter<'_>] = &[(&name, Type::TEXT), (&by, Type::INT8)];
    let (begun, row) = join(client.batch_execute(BEGIN), client.query_typed(advance, parameters)).await;
    begun?;
    Locked::of(&row?)
}

/// Writes the token and destroys all its objects.
pub(super) async fn initialise(
    client: &Client,
    ticket: &Ticket<()>,
    name: &str,
    token: &[u8],
    expected: Option<i64>,
) -> Outcome<()> {
    transaction(client, async {
        client.batch_execute(BEGIN_LONG).await?;
        let conflict = || Stop::from(Cause::StoreConflict.with("the token was initialised meanwhile"));
        let rows = match expected {
            // Of two that draw the same number one is refused, and tries again.
            None => {
                let insert = concat!(
                    "INSERT INTO datakey_token (name, number, version, counter, record) \
                     SELECT $1, coalesce(max(number), 0) + 1, 1, 1, $2 FROM datakey_token \
                     ON CONFLICT (name) DO NOTHING RETURNING number, counter, ",
                    format_now!()
                );
                client.query_typed(insert, &[(&name, Type::TEXT), (&token, Type::BYTEA)]).await?
            }
            Some(version) => {
                let update = concat!(
                    "UPDATE datakey_token SET version = version + 1, counter = counter + 1, record = $2 \
                     WHERE name = $1 AND version = $3 RETURNING number, counter, ",
                    format_now!()
                );
                let parameters: &[Parameter<'_>] =
                    &[(&name, Type::TEXT), (&token, Type::BYTEA), (&version, Type::INT8)];
                client.query_typed(update, parameters).await?
            }
        };
        let row = Locked::of(&rows)?.ok_or_else(conflict)?;
        let number: &[Parameter<'_>] = &[(&row.number, Type::INT8)];
        client.execute_typed("DELETE FROM datakey_lookup WHERE token = $1", number).await?;
        client.execute_typed("DELETE FROM datakey_object WHERE token = $1", number).await?;
        ticket.commit(client, &row, (), async { Ok(()) }).await
    })
    .await
}

/// Writes the token's record as it is, where there is none, or one with this serial.
pub(super) async fn import_token(
    client: &Client,
    ticket: &Ticket<()>,
    name: &str,
    serial: &str,
    raw: &Raw,
) -> Outcome<()> {
    let version = raw.version as i64;
    let parameters: &[Parameter<'_>] = &[(&name, Type::TEXT), (&raw.record, Type::BYTEA), (&version, Type::INT8)];
    let insert = concat!(
        "INSERT INTO datakey_token (name, number, version, counter, record) \
         SELECT $1, coalesce(max(number), 0) + 1, $3, 1, $2 FROM datakey_token \
         ON CONFLICT (name) DO NOTHING RETURNING number, counter, ",
        format_now!()
    );
    let replace = concat!(
        "UPDATE datakey_token SET version = $3, counter = counter + 1, record = $2 WHERE name = $1 \
         RETURNING number, counter, ",
        format_now!()
    );
    transaction(client, async {
        client.batch_execute(BEGIN).await?;
        if let Some(row) = Locked::of(&client.query_typed(insert, parameters).await?)? {
            return ticket.commit(client, &row, (), async { Ok(()) }).await;
        }
        let select =
            concat!("SELECT version, record, ", format_now!(), " FROM datakey_token WHERE name = $1 FOR UPDATE");
        let present = token(&client.query_typed(select, &[(&name, Type::TEXT)]).await?)?;
        if present.is_some_and(|present| present.serial != serial) {
            return Err(Cause::StoreConflict.with("another token is there").into());
        }
        let rows = client.query_typed(replace, parameters).await?;
        let row = Locked::of(&rows)?.ok_or_else(|| Cause::StoreConflict.with("the token is gone"))?;
        ticket.commit(client, &row, (), async { Ok(()) }).await
    })
    .await
}

/// Replaces the token's record; answers its new version.
pub(super) async fn update_token(
    client: &Client,
    ticket: &Ticket<u64>,
    name: &str,
    version: i64,
    token: &[u8],
) -> Outcome<u64> {
    let update = concat!(
        "UPDATE datakey_token SET version = version + 1, counter = counter + 1, record = $2 \
         WHERE name = $1 AND version = $3 RETURNING number, counter, ",
        format_now!()
    );
    let parameters: &[Parameter<'_>] = &[(&name, Type::TEXT), (&token, Type::BYTEA), (&version, Type::INT8)];
    transaction(client, async {
        let (begun, rows) = join(client.batch_execute(BEGIN), client.query_typed(update, parameters)).await;
        begun?;
        let row = Locked::of(&rows?)?.ok_or_else(|| Cause::StoreConflict.with("the token was changed meanwhile"))?;
        ticket.commit(client, &row, version as u64 + 1, async { Ok(()) }).await
    })
    .await
}

/// Inserts all.
pub(super) async fn insert(client: &Client, ticket: &Ticket<()>, name: &str, objects: &[New]) -> Outcome<()> {
    transaction(client, async {
        let row = begin(client, name, objects.len() as i64).await?.ok_or(Cause::TokenNotRecognized)?;
        let first = row.counter - objects.len() as i64 + 1;
        let mut batches = batches(first, objects).peekable();
        while let Some((first, batch)) = batches.next() {
            if batches.peek().is_none() {
                return ticket.commit(client, &row, (), insert_batch(client, row.number, first, batch)).await;
            }
            insert_batch(client, row.number, first, batch).await?;
        }
        ticket.commit(client, &row, (), async { Ok(()) }).await
    })
    .await
}

/// Puts other contents in the place of the token and all its objects, if its counter is still this one; with `None` if
/// there is still no token.
pub(super) async fn replace(
    client: &Client,
    ticket: &Ticket<()>,
    name: &str,
    counter: Option<i64>,
    contents: &Contents<'_>,
) -> Outcome<()> {
    let insert = concat!(
        "INSERT INTO datakey_token (name, number, version, counter, record) \
         SELECT $1, coalesce(max(number), 0) + 1, $2, $4, $3 FROM datakey_token \
         ON CONFLICT (name) DO NOTHING RETURNING number, counter, ",
        format_now!()
    );
    let update = concat!(
        "UPDATE datakey_token SET version = $2, counter = counter + $4, record = $3 \
         WHERE name = $1 AND counter = $5 RETURNING number, counter, ",
        format_now!()
    );
    // One number for the token itself, even if it has no objects.
    let (version, by) = (contents.token.version as i64, contents.objects as i64 + 1);
    transaction(client, async {
        client.batch_execute(BEGIN_LONG).await?;
        let mut parameters: Vec<Parameter<'_>> =
            vec![(&name, Type::TEXT), (&version, Type::INT8), (&contents.token.record, Type::BYTEA), (&by, Type::INT8)];
        let rows = match &counter {
            None => client.query_typed(insert, &parameters).await?,
            Some(counter) => {
                parameters.push((counter, Type::INT8));
                client.query_typed(update, &parameters).await?
            }
        };
        let row = Locked::of(&rows)?.ok_or_else(|| Cause::StoreConflict.with("the token was changed meanwhile"))?;
        let number: &[Parameter<'_>] = &[(&row.number, Type::INT8)];
        client.execute_typed("DELETE FROM datakey_lookup WHERE token = $1", number).await?;
        client.execute_typed("DELETE FROM datakey_object WHERE token = $1", number).await?;
        let (mut next, mut after) = (row.counter - contents.objects as i64 + 1, 0);
        loop {
            let (objects, last) = contents.page(after)?;
            if objects.is_empty() {
                break;
            }
            let objects: Vec<_> = objects.iter().map(New::raw).collect();
            for (first, batch) in batches(next, &objects) {
                insert_batch(client, row.number, first, batch).await?;
            }
            next += objects.len() as i64;
            after = last;
        }
        ticket.commit(client, &row, (), async { Ok(()) }).await
    })
    .await
}

/// The objects in parts that one statement can carry, each with the number of its first.
fn batches(first: i64, objects: &[New]) -> impl Iterator<Item = (i64, &[New])> {
    let mut rest = objects;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |object: &&New| {
            bytes += object.bytes.len();
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take(BATCH).take_while(fits).count().max(1).min(rest.len());
        let (batch, more) = rest.split_at(count);
        let number = first + (objects.len() - rest.len()) as i64;
        rest = more;
        (!batch.is_empty()).then_some((number, batch))
    })
}

async fn insert_batch(client: &Client, token: i64, first: i64, objects: &[New]) -> Outcome<()> {
    let numbers: Vec<i64> = (first..).take(objects.len()).collect();
    let ids: Vec<&[u8]> = objects.iter().map(|object| object.id.as_bytes().as_slice()).collect();
    let versions: Vec<i64> = objects.iter().map(|object| object.version).collect();
    let records: Vec<&[u8]> = objects.iter().map(|object| object.bytes.as_slice()).collect();
    let insert = "INSERT INTO datakey_object (token, seq, id, version, record) \
                  SELECT $1, seq, id, version, record \
                  FROM unnest($2::INT8[], $3::BYTEA[], $4::INT8[], $5::BYTEA[]) AS new (seq, id, version, record)";
    let parameters: &[Parameter<'_>] = &[
        (&token, Type::INT8),
        (&numbers, Type::INT8_ARRAY),
        (&ids, Type::BYTEA_ARRAY),
        (&versions, Type::INT8_ARRAY),
        (&records, Type::BYTEA_ARRAY),
    ];
    let terms: Vec<(i64, &Term)> =
        numbers.iter().zip(objects).flat_map(|(seq, object)| object.terms.iter().map(|term| (*seq, term))).collect();
    let (inserted, indexed) = join(client.execute_typed(insert, parameters), index(client, token, &terms)).await;
    match inserted.map_err(Stop::from) {
        Err(stop) if stop.is_duplicate() => return Err(Cause::StoreConflict.with("an id is in use").into()),
        other => other?,
    };
    indexed
}

/// Puts objects under their terms.
async fn index(client: &Client, token: i64, terms: &[(i64, &Term)]) -> Outcome<()> {
    let insert = "INSERT INTO datakey_lookup (token, type, value, seq) \
                  SELECT $1, type, value, seq FROM unnest($2::INT8[], $3::BYTEA[], $4::INT8[]) AS new (type, value, seq) \
                  ON CONFLICT DO NOTHING";
    apply(client, insert, token, terms).await
}

/// Takes objects away from under their terms.
async fn unindex(client: &Client, token: i64, terms: &[(i64, &Term)]) -> Outcome<()> {
    let delete = "DELETE FROM datakey_lookup WHERE token = $1 AND (type, value, seq) IN \
                  (SELECT type, value, seq FROM unnest($2::INT8[], $3::BYTEA[], $4::INT8[]) AS old (type, value, seq))";
    apply(client, delete, token, terms).await
}

async fn apply(client: &Client, statement: &str, token: i64, terms: &[(i64, &Term)]) -> Outcome<()> {
    let kinds: Vec<i64> = terms.iter().map(|(_, (kind, _))| *kind).collect();
    let values: Vec<&[u8]> = terms.iter().map(|(_, (_, value))| value.as_slice()).collect();
    let numbers: Vec<i64> = terms.iter().map(|(seq, _)| *seq).collect();
    let parameters: &[Parameter<'_>] =
        &[(&token, Type::INT8), (&kinds, Type::INT8_ARRAY), (&values, Type::BYTEA_ARRAY), (&numbers, Type::INT8_ARRAY)];
    client.execute_typed(statement, parameters).await?;
    Ok(())
}

/// An object as it is stored, in a transaction that has the token's row.
struct Stored {
    row: Locked,
    seq: i64,
    /// `None` if its record does not tell.
    terms: Option<Vec<Term>>,
}

/// Begins a transaction and looks for an object, which must have the expected version.
async fn begin_with(client: &Client, name: &str, id: &ObjectId, expected: Option<u64>) -> Outcome<Stored> {
    let select = "SELECT o.seq, o.version, o.record FROM datakey_object o \
                  WHERE o.token = (SELECT number FROM datakey_token WHERE name = $1) AND o.id = $2";
    let bytes = id.as_bytes().as_slice();
    let parameters: &[Parameter<'_>] = &[(&name, Type::TEXT), (&bytes, Type::BYTEA)];
    let (row, found) = join(begin(client, name, 1), client.query_typed(select, parameters)).await;
    let row = row?.ok_or(Cause::ObjectHandleInvalid)?;
    let found = found?;
    let object = found.first().ok_or(Cause::ObjectHandleInvalid)?;
    if expected.is_some_and(|expected| object.try_get::<_, i64>(1).is_ok_and(|version| version as u64 != expected)) {
        return Err(Cause::StoreConflict.with(format!("object {id}")).into());
    }
    Ok(Stored { row, seq: object.try_get(0)?, terms: terms::terms_of(object.try_get(2)?) })
}

/// Takes the stored object out of the index, but for the terms to keep.
async fn remove_terms(client: &Client, stored: &Stored, keep: &[Term]) -> Outcome<()> {
    match &stored.terms {
        Some(terms) => {
            let gone: Vec<_> =
                terms.iter().filter(|term| !keep.contains(term)).map(|term| (stored.seq, term)).collect();
            if gone.is_empty() { Ok(()) } else { unindex(client, stored.row.number, &gone).await }
        }
        // Slow, and only where the record is damaged.
        None => {
            let parameters: &[Parameter<'_>] = &[(&stored.row.number, Type::INT8), (&stored.seq, Type::INT8)];
            client.execute_typed("DELETE FROM datakey_lookup WHERE token = $1 AND seq = $2", parameters).await?;
            Ok(())
        }
    }
}

/// Replaces an object; answers its new version.
pub(super) async fn update(
    client: &Client,
    ticket: &Ticket<u64>,
    name: &str,
    version: u64,
    object: &New,
) -> Outcome<u64> {
    transaction(client, async {
        let stored = begin_with(client, name, &object.id, Some(version)).await?;
        let next = version as i64 + 1;
        let update = "UPDATE datakey_object SET version = $3, record = $4 WHERE token = $1 AND seq = $2";
        let parameters: &[Parameter<'_>] = &[
            (&stored.row.number, Type::INT8),
            (&stored.seq, Type::INT8),
            (&next, Type::INT8),
            (&object.bytes, Type::BYTEA),
        ];
        let terms: Vec<_> = object.terms.iter().map(|term| (stored.seq, term)).collect();
        let last = async {
            let (removed, (indexed, updated)) = join(
                remove_terms(client, &stored, &object.terms),
                join(index(client, stored.row.number, &terms), client.execute_typed(update, parameters)),
            )
            .await;
            removed?;
            indexed?;
            updated?;
            Ok(())
        };
        ticket.commit(client, &stored.row, version + 1, last).await
    })
    .await
}

/// Deletes an object.
pub(super) async fn delete(
    client: &Client,
    ticket: &Ticket<()>,
    name: &str,
    id: &ObjectId,
    version: Option<u64>,
) -> Outcome<()> {
    transaction(client, async {
        let stored = begin_with(client, name, id, version).await?;
        let parameters: &[Parameter<'_>] = &[(&stored.row.number, Type::INT8), (&stored.seq, Type::INT8)];
        let delete = "DELETE FROM datakey_object WHERE token = $1 AND seq = $2";
        let last = async {
            let (removed, deleted) =
                join(remove_terms(client, &stored, &[]), client.execute_typed(delete, parameters)).await;
            removed?;
            deleted?;
            Ok(())
        };
        ticket.commit(client, &stored.row, (), last).await
    })
    .await
}

/// The token's record in a row of `version, record, format`.
pub(super) fn token(rows: &[Row]) -> Outcome<Option<TokenRecord>> {
    let Some(row) = rows.first() else { return Ok(None) };
    migrate::check(row.try_get(2)?)?;
    let version: i64 = row.try_get(0)?;
    Ok(Some(record::decode_token(version as u64, row.try_get(1)?)?))
}

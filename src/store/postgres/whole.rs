//! What looks at a token's objects as a whole: exports, imports, the search for damage.

use super::fault::{Outcome, Stop};
use super::migrate;
use super::schema::format_now;
use crate::error::{Cause, Error};
use crate::host::lock::lock;
use crate::store::terms::{self, Term};
use crate::store::{ObjectId, Raw, Sink};
use std::sync::Mutex;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// What is seen is what was committed when it began; nobody waits for it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// How many objects are read at once.
const PAGE: i64 = 256;

/// A token as it is at one moment: its number, and its record.
struct Snapshot {
    number: i64,
    token: Raw,
}

/// Begins to look; `None` where there is no token.
async fn begin(client: &Client, name: &str) -> Outcome<Option<Snapshot>> {
    client.batch_execute(BEGIN).await?;
    let select = concat!("SELECT number, version, record, ", format_now!(), " FROM datakey_token WHERE name = $1");
    let rows = client.query_typed(select, &[(&name, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    migrate::check(row.try_get(3)?)?;
    let token = Raw { version: row.try_get::<_, i64>(1)? as u64, record: row.try_get(2)? };
    Ok(Some(Snapshot { number: row.try_get(0)?, token }))
}

/// Objects behind `after`, with their places.
async fn page(client: &Client, number: i64, after: i64) -> Outcome<Vec<(i64, ObjectId, Raw)>> {
    let select = "SELECT seq, id, version, record FROM datakey_object \
                  WHERE token = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let parameters: &[(&(dyn ToSql + Sync), Type)] =
        &[(&number, Type::INT8), (&after, Type::INT8), (&PAGE, Type::INT8)];
    let rows = client.query_typed(select, parameters).await?;
    let object = |row: &tokio_postgres::Row| {
        let seq: i64 = row.try_get(0)?;
        let id = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(1)?);
        let id = id.map_err(|_| Cause::StoreCorrupt.with(format!("the id of object number {seq} is none")))?;
        let raw = Raw { version: row.try_get::<_, i64>(2)? as u64, record: row.try_get(3)? };
        Ok((seq, ObjectId::from_bytes(id), raw))
    };
    rows.iter().map(object).collect()
}

/// Once something was shown, it is not begun anew.
fn for_good(stop: Stop) -> Stop {
    Stop::Refused(stop.into_error())
}

/// Shows everything to a sink.
pub(super) async fn export(client: &Client, name: &str, sink: &Mutex<&mut dyn Sink>) -> Outcome<()> {
    let done = async {
        let snapshot = begin(client, name).await?.ok_or(Cause::TokenNotRecognized)?;
        lock(sink).token(&snapshot.token)?;
        let mut after = 0;
        loop {
            let objects = page(client, snapshot.number, after).await.map_err(for_good)?;
            let Some((last, ..)) = objects.last() else { return Ok(()) };
            after = *last;
            lock(sink).objects(objects.into_iter().map(|(_, id, raw)| (id, raw)).collect())?;
        }
    };
    end(client, done.await).await
}

/// Ends what [`begin`] began.
async fn end<T>(client: &Client, done: Outcome<T>) -> Outcome<T> {
    if !client.is_closed() {
        client.batch_execute("ROLLBACK").await?;
    }
    done
}

/// Whether every record can be read, and the index says of each what the record says, and nothing else. Answers the
/// number of objects.
pub(super) async fn check(client: &Client, name: &str) -> Outcome<u64> {
    let done = async {
        let Some(snapshot) = begin(client, name).await? else { return Ok(0) };
        let number: &[(&(dyn ToSql + Sync), Type)] = &[(&snapshot.number, Type::INT8)];
        let (mut after, mut objects, mut terms) = (0, 0, 0);
        loop {
            let page = page(client, snapshot.number, after).await?;
            let Some((last, ..)) = page.last() else { break };
            after = *last;
            objects += page.len() as u64;
            terms += check_index(client, snapshot.number, &page).await?;
        }
        let count = "SELECT count(*) FROM datakey_lookup WHERE token = $1";
        let rows = client.query_typed(count, number).await?;
        let indexed: i64 = rows.first().ok_or(Stop::Late)?.try_get(0)?;
        match indexed == terms {
            true => Ok(objects),
            false => Err(damaged("its index has entries of no object").into()),
        }
    };
    end(client, done.await).await
}

/// Whether the index has each object under each of its terms. Answers the number of terms.
async fn check_index(client: &Client, number: i64, page: &[(i64, ObjectId, Raw)]) -> Outcome<i64> {
    let mut wanted: Vec<(i64, Term)> = Vec::new();
    for (seq, id, raw) in page {
        let terms = terms::terms_of(&raw.record).ok_or_else(|| damaged(&format!("the record of object {id} is")))?;
        wanted.extend(terms.into_iter().map(|term| (*seq, term)));
    }
    wanted.sort();
    wanted.dedup();
    let kinds: Vec<i64> = wanted.iter().map(|(_, (kind, _))| *kind).collect();
    let values: Vec<&[u8]> = wanted.iter().map(|(_, (_, value))| value.as_slice()).collect();
    let numbers: Vec<i64> = wanted.iter().map(|(seq, _)| *seq).collect();
    let count = "SELECT count(*) FROM unnest($2::INT8[], $3::BYTEA[], $4::INT8[]) AS w (type, value, seq) \
                 JOIN datakey_lookup l ON l.token = $1 AND l.type = w.type AND l.value = w.value AND l.seq = w.seq";
    let parameters: &[(&(dyn ToSql + Sync), Type)] = &[
        (&number, Type::INT8),
        (&kinds, Type::INT8_ARRAY),
        (&values, Type::BYTEA_ARRAY),
        (&numbers, Type::INT8_ARRAY),
    ];
    let rows = client.query_typed(count, parameters).await?;
    let found: i64 = rows.first().ok_or(Stop::Late)?.try_get(0)?;
    match found as usize == wanted.len() {
        true => Ok(found),
        false => Err(damaged("its index lacks entries").into()),
    }
}

fn damaged(what: &str) -> Error {
    Cause::StoreCorrupt.with(what.to_owned())
}

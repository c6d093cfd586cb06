//! What looks at a token's objects as a whole: exports and the search for damage.
//!
//! DynamoDB shows no table as it is at one moment. So the token's counter is looked at before and after: that nothing
//! was changed meanwhile is what makes it one.

use super::connection::Requests;
use super::fault::Outcome;
use super::query::{self, BATCH};
use super::schema::{self, Head, Item, Keys, Read};
use crate::error::{Cause, Error};
use crate::host::lock::lock;
use crate::store::terms;
use crate::store::{ObjectId, Raw, Sink};
use std::sync::Mutex;

/// One object with its place.
struct Stored {
    seq: u64,
    id: ObjectId,
    raw: Raw,
}

/// The objects behind `after`, and where to go on.
async fn page(requests: &Requests, keys: Keys<'_>, after: u64) -> Outcome<(Vec<Stored>, Option<u64>)> {
    let (places, more) = query::places(requests, &keys.order(), after, BATCH).await?;
    let ids: Vec<ObjectId> = places.iter().map(|place| place.id).collect();
    let mut found = query::objects(requests, keys, &ids).await?;
    let next = places.last().filter(|_| more).map(|place| place.seq);
    let mut objects = Vec::new();
    for place in places {
        // Deleted meanwhile: the counter will tell.
        let Some(item) = found.remove(&place.id) else { continue };
        let read = Read(&item);
        let raw = Raw { version: read.number("version")?, record: read.bytes("record")?.to_vec() };
        objects.push(Stored { seq: place.seq, id: place.id, raw });
    }
    Ok((objects, next))
}

async fn head(requests: &Requests, name: &str) -> Outcome<Option<Head>> {
    let item = requests.get(&schema::token(name)).await?;
    Ok(item.as_ref().map(Head::of).transpose()?)
}

/// Refuses what was changed while it was looked at.
async fn unchanged(requests: &Requests, name: &str, before: &Head) -> Outcome<()> {
    match head(requests, name).await? {
        Some(now) if now.counter == before.counter && now.epoch == before.epoch => Ok(()),
        _ => Err(Cause::StoreConflict.with("it was changed while it was read as a whole").into()),
    }
}

/// Shows everything to a sink.
pub(super) async fn export(requests: &Requests, name: &str, sink: &Mutex<&mut dyn Sink>) -> Outcome<()> {
    let before = head(requests, name).await?.ok_or(Cause::TokenNotRecognized)?;
    let keys = Keys { name, epoch: &before.epoch };
    lock(sink).token(&Raw { version: before.version, record: before.record.clone() })?;
    let mut after = Some(0);
    while let Some(begin) = after {
        let (objects, next) = page(requests, keys, begin).await?;
        lock(sink).objects(objects.into_iter().map(|object| (object.id, object.raw)).collect())?;
        after = next;
    }
    unchanged(requests, name, &before).await
}

/// Whether every record can be read, and is in its place under each of its terms. Answers the number of objects.
pub(super) async fn check(requests: &Requests, name: &str) -> Outcome<u64> {
    let Some(before) = head(requests, name).await? else { return Ok(0) };
    let checked = check_epoch(requests, Keys { name, epoch: &before.epoch }).await;
    if checked.as_ref().is_err_and(|stop| stop.error.cause() == Cause::StoreCorrupt) {
        unchanged(requests, name, &before).await?;
    }
    match checked? {
        Checked { unreadable: Some(id), .. } => Err(damaged(format!("the record of object {id} is")).into()),
        Checked { objects, .. } => Ok(objects),
    }
}

/// What a look through an epoch found.
pub(super) struct Checked {
    pub(super) objects: u64,
    /// An object whose record does not tell under which terms it should be.
    unreadable: Option<ObjectId>,
}

/// The same of what is under one epoch.
pub(super) async fn check_epoch(requests: &Requests, keys: Keys<'_>) -> Outcome<Checked> {
    let mut checked = Checked { objects: 0, unreadable: None };
    let mut after = Some(0);
    while let Some(begin) = after {
        let (objects, next) = page(requests, keys, begin).await?;
        checked.objects += objects.len() as u64;
        let mut wanted: Vec<Item> = Vec::new();
        for object in &objects {
            let Some(mut terms) = terms::terms_of(&object.raw.record) else {
                checked.unreadable = Some(object.id);
                continue;
            };
            terms.sort();
            terms.dedup();
            wanted.extend(terms.iter().map(|term| keys.term(term, object.seq)));
        }
        let places = wanted.len();
        if query::items(requests, wanted).await?.len() != places {
            return Err(damaged("its index lacks entries".to_owned()).into());
        }
        after = next;
    }
    Ok(checked)
}

fn damaged(what: String) -> Error {
    Cause::StoreCorrupt.with(what)
}

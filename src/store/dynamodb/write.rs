//! Changes: each is one transaction, on the condition that the token's counter is what it was when the change began.
//!
//! So of changes at the same time one is made and the others begin anew, objects are numbered in the order in which
//! they are committed, and a request that was cut off and arrives late does nothing once another change was made. With
//! each change goes an item that says whose it was: before a change begins anew, it looks there for what it sent and
//! was not answered.

use super::connection::Requests;
use super::fault::{Kind, Outcome, Stop};
use super::query;
use super::schema::{self, FORMAT, Head, Item, Keys, PK, Read, TTL, bytes, number};
use crate::error::{Cause, Error, Result};
use crate::store::terms::{self, Term};
use crate::store::{ObjectId, ObjectRecord, Raw, record};
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, DeleteRequest, Put, PutRequest, TransactWriteItem, WriteRequest,
};
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long changes are remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How many items DynamoDB takes in a transaction: those of the objects, beside the token's and the change's.
const MOST_ITEMS: usize = 98;
/// The most items of one object: itself, its place, and its places under each indexed attribute.
const ITEMS_OF_OBJECT: usize = 14;
/// How many objects fit in a transaction.
pub(super) const MOST_OBJECTS: usize = MOST_ITEMS / ITEMS_OF_OBJECT;
/// How long an item may be, with its key and the names of its attributes.
const MAX_RECORD: usize = 400 * 1024 - 512;

/// An object, encoded.
pub(super) struct New {
    id: ObjectId,
    version: u64,
    bytes: Vec<u8>,
    terms: Vec<Term>,
}

impl New {
    pub(super) fn encode(object: &ObjectRecord) -> Result<Self> {
        let terms = terms::terms(|kind| object.attributes.get(&kind).map(Vec::as_slice));
        Self { id: object.id, version: 1, bytes: record::encode_object(object)?, terms }.fitting()
    }

    /// One that comes encoded. Where its record is damaged it is under no term.
    pub(super) fn raw((id, raw): &(ObjectId, Raw)) -> Result<Self> {
        let terms = terms::terms_of(&raw.record).unwrap_or_default();
        Self { id: *id, version: raw.version, bytes: raw.record.clone(), terms }.fitting()
    }

    fn fitting(mut self) -> Result<Self> {
        self.terms.sort();
        self.terms.dedup();
        fits(&self.bytes).map(|()| self)
    }

    fn item(&self, keys: Keys<'_>, seq: u64, version: u64) -> Item {
        let mut item = keys.object(&self.id);
        item.insert("seq".to_owned(), number(seq));
        item.insert("version".to_owned(), number(version));
        item.insert("record".to_owned(), bytes(&self.bytes));
        item
    }
}

/// Refuses a record that no item can hold.
pub(super) fn fits(record: &[u8]) -> Result<()> {
    match record.len() {
        ..=MAX_RECORD => Ok(()),
        len => Err(Cause::StoreFull.with(format!("one record has {len} bytes, and DynamoDB takes items of 400 KB"))),
    }
}

/// What a change does, beside moving the token's counter.
pub(super) struct Plan<T> {
    /// How many numbers it draws; at least one.
    pub(super) by: u64,
    /// What the token is then, if that changes.
    pub(super) token: Option<Token>,
    pub(super) items: Vec<TransactWriteItem>,
    pub(super) answer: T,
}

/// What changes in a token's item.
pub(super) struct Token {
    pub(super) epoch: String,
    pub(super) version: u64,
    pub(super) record: Vec<u8>,
}

fn put(table: &str, item: Item, condition: Option<&str>) -> Outcome<TransactWriteItem> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = match condition {
        Some(condition) => put.condition_expression(condition).expression_attribute_names("#pk", PK),
        None => put,
    };
    Ok(TransactWriteItem::builder().put(put.build()?).build())
}

fn delete_item(table: &str, key: Item) -> Outcome<TransactWriteItem> {
    let delete = Delete::builder().table_name(table).set_key(Some(key)).build()?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

/// A place in a list.
fn place(table: &str, mut key: Item, id: &ObjectId) -> Outcome<TransactWriteItem> {
    key.insert("id".to_owned(), bytes(id.as_bytes()));
    put(table, key, None)
}

fn random(len: usize) -> Result<Vec<u8>> {
    let mut random = vec![0; len];
    getrandom::fill(&mut random).map_err(|error| Cause::CryptoLibrary.with(format!("no random numbers: {error}")))?;
    Ok(random)
}

/// A name for what a token holds until it is initialised again.
pub(super) fn epoch() -> Result<String> {
    Ok(random(8)?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes a change, once. `plan` says what it does, by the token as it is (`None` before the first); it is asked anew
/// after each attempt that others overtook.
pub(super) async fn change<T, F>(requests: &Requests, name: &str, plan: impl Fn(Option<Head>) -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<Plan<T>>> + Send,
{
    let nonce = random(16)?;
    // Counters of attempts of which nobody knows whether they were made.
    let mut open: Vec<u64> = Vec::new();
    let mut attempts = 0;
    let unknown = |error: Error, open: &[u64]| match open.is_empty() {
        true => error,
        false => error.leaves_in_doubt("a transaction was not answered"),
    };
    let mut answers: HashMap<u64, T> = HashMap::new();
    loop {
        let found = requests.get(&schema::token(name)).await;
        let found = found.map_err(|stop| Stop { error: unknown(stop.error, &open), ..stop })?;
        let head = found.as_ref().map(Head::of).transpose()?;
        let ours = made(requests, name, &open, &nonce).await;
        let ours = ours.map_err(|stop| Stop { error: unknown(stop.error, &open), ..stop })?;
        if let Some(answer) = ours.and_then(|counter| answers.remove(&counter)) {
            return Ok(answer);
        }
        let Plan { by, token, items, answer } = match plan(head.clone()).await {
            Ok(plan) => plan,
            // What it found in the way may be what was sent before, and was made only now.
            Err(refused) => {
                let ours = made(requests, name, &open, &nonce).await;
                let ours = ours.map_err(|stop| Stop { error: unknown(stop.error, &open), ..stop })?;
                let ours = ours.and_then(|counter| answers.remove(&counter));
                // An answer of ours means that others made a change, so that what was sent does nothing if it arrives
                // yet. A failure on the way means nothing.
                let is_answer = matches!(
                    refused.error.cause(),
                    Cause::StoreConflict | Cause::ObjectHandleInvalid | Cause::TokenNotRecognized
                );
                let error = if is_answer { refused.error } else { unknown(refused.error, &open) };
                return ours.ok_or(Stop { error, ..refused });
            }
        };
        let counter = head.as_ref().map_or(0, |head| head.counter) + by;
        let all = transaction(&requests.table, name, head.as_ref(), counter, token, items, &nonce)?;
        let sent = requests.ask("TransactWriteItems", false, |client| {
            client.transact_write_items().set_transact_items(Some(all.clone())).send()
        });
        attempts += 1;
        let stop = match sent.await {
            Ok(_) => return Ok(answer),
            Err(stop) => stop,
        };
        match stop.kind {
            // Who may read and not write.
            Kind::Refused if stop.error.cause() == Cause::StoreDenied => {
                return Err(Cause::StoreReadOnly.with(stop.error.detail().to_owned()).into());
            }
            Kind::Refused | Kind::NoTable => {
                return Err(Stop { error: unknown(stop.error, &open), ..stop });
            }
            Kind::Overtaken => {}
            Kind::Unknown => {
                open.push(counter);
                answers.insert(counter, answer);
            }
        }
        if !requests.rest(attempts).await {
            // A conflict that does not end is somebody who is always faster.
            let error = match stop.kind {
                Kind::Overtaken => Cause::StoreBusy.with(stop.error.detail().to_owned()),
                _ => stop.error,
            };
            return Err(unknown(error, &open).into());
        }
    }
}

/// Which of these counters was reached by the change with this nonce.
async fn made(requests: &Requests, name: &str, open: &[u64], nonce: &[u8]) -> Outcome<Option<u64>> {
    for counter in open {
        let item = requests.get(&schema::change(name, *counter)).await?;
        if item.is_some_and(|item| Read(&item).bytes("nonce").is_ok_and(|made| made == nonce)) {
            return Ok(Some(*counter));
        }
    }
    Ok(None)
}

/// All items of a change: the token's first.
fn transaction(
    table: &str,
    name: &str,
    head: Option<&Head>,
    counter: u64,
    token: Option<Token>,
    items: Vec<TransactWriteItem>,
    nonce: &[u8],
) -> Outcome<Vec<TransactWriteItem>> {
    let mut item = schema::token(name);
    let token = match (token, head) {
        (Some(token), _) => token,
        (None, Some(head)) => Token { epoch: head.epoch.clone(), version: head.version, record: head.record.clone() },
        (None, None) => return Err(Cause::TokenNotRecognized.into()),
    };
    fits(&token.record)?;
    item.insert("format".to_owned(), number(FORMAT));
    item.insert("epoch".to_owned(), AttributeValue::S(token.epoch));
    item.insert("version".to_owned(), number(token.version));
    item.insert("counter".to_owned(), number(counter));
    item.insert("record".to_owned(), bytes(&token.record));
    let put_token = Put::builder().table_name(table).set_item(Some(item));
    let put_token = match head {
        None => put_token.condition_expression("attribute_not_exists(#pk)").expression_attribute_names("#pk", PK),
        Some(head) => put_token
            .condition_expression("#counter = :counter AND #epoch = :epoch")
            .expression_attribute_names("#counter", "counter")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_values(":counter", number(head.counter))
            .expression_attribute_values(":epoch", AttributeValue::S(head.epoch.clone())),
    };
    let mut change = schema::change(name, counter);
    let until = SystemTime::now() + REMEMBERED;
    change.insert("nonce".to_owned(), bytes(nonce));
    change.insert(TTL.to_owned(), number(until.duration_since(UNIX_EPOCH).map_or(0, |until| until.as_secs())));
    let mut all = vec![TransactWriteItem::builder().put(put_token.build()?).build(), put(table, change, None)?];
    all.extend(items);
    Ok(all)
}

/// Writes the token, without any objects. `expected` is the version that the caller saw.
pub(super) async fn initialise(
    head: Option<Head>,
    record: &[u8],
    expected: Option<u64>,
) -> Outcome<Plan<Option<String>>> {
    if head.as_ref().map(|head| head.version) != expected {
        return Err(Cause::StoreConflict.with("the token was initialised meanwhile").into());
    }
    let token = Token { epoch: epoch()?, version: expected.unwrap_or(0) + 1, record: record.to_vec() };
    let before = head.map(|head| head.epoch);
    Ok(Plan { by: 1, token: Some(token), items: Vec::new(), answer: before })
}

/// Replaces the token's record; answers its new version.
pub(super) async fn update_token(head: Option<Head>, version: u64, record: &[u8]) -> Outcome<Plan<u64>> {
    match head {
        Some(head) if head.version == version => {
            let token = Token { epoch: head.epoch, version: version + 1, record: record.to_vec() };
            Ok(Plan { by: 1, token: Some(token), items: Vec::new(), answer: version + 1 })
        }
        Some(_) => Err(Cause::StoreConflict.with("the token was changed meanwhile").into()),
        None => Err(Cause::StoreConflict.with("the token is gone").into()),
    }
}

/// Writes the token's record as it is, where there is none, or one with this serial.
pub(super) async fn import_token(head: Option<Head>, serial: &str, raw: &Raw) -> Outcome<Plan<()>> {
    let present = head.as_ref().map(|head| record::decode_token(head.version, &head.record)).transpose()?;
    if present.is_some_and(|present| present.serial != serial) {
        return Err(Cause::StoreConflict.with("another token is there").into());
    }
    let epoch = head.map_or_else(epoch, |head| Ok(head.epoch))?;
    let token = Token { epoch, version: raw.version, record: raw.record.clone() };
    Ok(Plan { by: 1, token: Some(token), items: Vec::new(), answer: () })
}

/// Inserts all.
pub(super) async fn insert(requests: &Requests, name: &str, head: Option<Head>, objects: &[New]) -> Outcome<Plan<()>> {
    let head = head.ok_or(Cause::TokenNotRecognized)?;
    let keys = Keys { name, epoch: &head.epoch };
    let ids: Vec<ObjectId> = objects.iter().map(|object| object.id).collect();
    let twice = ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id));
    if twice || !query::objects(requests, keys, &ids).await?.is_empty() {
        return Err(Cause::StoreConflict.with("an id is in use").into());
    }
    let table = &requests.table;
    let mut items = Vec::new();
    for (seq, object) in (head.counter + 1..).zip(objects) {
        items.push(put(table, object.item(keys, seq, object.version), Some("attribute_not_exists(#pk)"))?);
        items.push(place(table, keys.place(seq), &object.id)?);
        for term in &object.terms {
            items.push(place(table, keys.term(term, seq), &object.id)?);
        }
    }
    if items.len() > MOST_ITEMS {
        let why = format!("DynamoDB takes {MOST_OBJECTS} objects at once, and these are {}", objects.len());
        return Err(Cause::StoreFull.with(why).into());
    }
    Ok(Plan { by: objects.len() as u64, token: None, items, answer: () })
}

/// An object as it is stored, of the expected version.
async fn stored(
    requests: &Requests,
    keys: Keys<'_>,
    id: &ObjectId,
    expected: Option<u64>,
) -> Outcome<(u64, u64, Vec<Term>)> {
    let item = requests.get(&keys.object(id)).await?.ok_or(Cause::ObjectHandleInvalid)?;
    let read = Read(&item);
    let version = read.number("version")?;
    if expected.is_some_and(|expected| expected != version) {
        return Err(Cause::StoreConflict.with(format!("object {id}")).into());
    }
    // Where the record is damaged, its places stay: they lead to an object that says something else.
    let terms = terms::terms_of(read.bytes("record")?).unwrap_or_default();
    Ok((read.number("seq")?, version, terms))
}

/// Replaces an object; answers its new version.
pub(super) async fn update(
    requests: &Requests,
    name: &str,
    head: Option<Head>,
    version: u64,
    object: &New,
) -> Outcome<Plan<u64>> {
    let head = head.ok_or(Cause::ObjectHandleInvalid)?;
    let keys = Keys { name, epoch: &head.epoch };
    let (seq, _, before) = stored(requests, keys, &object.id, Some(version)).await?;
    let table = &requests.table;
    let mut items = vec![put(table, object.item(keys, seq, version + 1), None)?];
    for term in before.iter().filter(|term| !object.terms.contains(term)) {
        items.push(delete_item(table, keys.term(term, seq))?);
    }
    for term in object.terms.iter().filter(|term| !before.contains(term)) {
        items.push(place(table, keys.term(term, seq), &object.id)?);
    }
    Ok(Plan { by: 1, token: None, items, answer: version + 1 })
}

/// Deletes an object.
pub(super) async fn delete(
    requests: &Requests,
    name: &str,
    head: Option<Head>,
    id: &ObjectId,
    version: Option<u64>,
) -> Outcome<Plan<()>> {
    let head = head.ok_or(Cause::ObjectHandleInvalid)?;
    let keys = Keys { name, epoch: &head.epoch };
    let (seq, _, mut terms) = stored(requests, keys, id, version).await?;
    terms.sort();
    terms.dedup();
    let table = &requests.table;
    let mut items = vec![delete_item(table, keys.object(id))?, delete_item(table, keys.place(seq))?];
    for term in &terms {
        items.push(delete_item(table, keys.term(term, seq))?);
    }
    Ok(Plan { by: 1, token: None, items, answer: () })
}

/// Clears away what an epoch that is over left. What stays is seen by nobody.
pub(super) async fn clear(requests: &Requests, keys: Keys<'_>) -> Outcome<()> {
    let mut after = 0;
    loop {
        let (places, more) = query::places(requests, &keys.order(), after, query::BATCH).await?;
        let Some(last) = places.last() else { return Ok(()) };
        after = last.seq;
        let ids: Vec<ObjectId> = places.iter().map(|place| place.id).collect();
        let found = query::objects(requests, keys, &ids).await?;
        let mut gone: Vec<Item> = Vec::new();
        for place in &places {
            let record = found.get(&place.id).and_then(|item| Read(item).bytes("record").ok());
            let mut terms = record.and_then(terms::terms_of).unwrap_or_default();
            terms.sort();
            terms.dedup();
            gone.extend(terms.iter().map(|term| keys.term(term, place.seq)));
            gone.push(keys.object(&place.id));
            gone.push(keys.place(place.seq));
        }
        for some in gone.chunks(25) {
            delete_all(requests, some).await?;
        }
        if !more {
            return Ok(());
        }
    }
}

async fn delete_all(requests: &Requests, keys: &[Item]) -> Outcome<()> {
    let one = |key: &Item| -> Outcome<WriteRequest> {
        let delete = DeleteRequest::builder().set_key(Some(key.clone())).build()?;
        Ok(WriteRequest::builder().delete_request(delete).build())
    };
    write_all(requests, keys.iter().map(one).collect::<Outcome<Vec<_>>>()?).await
}

/// Writes objects under an epoch that nobody sees, numbered from `seq` on.
pub(super) async fn fill(requests: &Requests, keys: Keys<'_>, seq: u64, objects: &[New]) -> Outcome<()> {
    let listed = |mut key: Item, object: &New| {
        key.insert("id".to_owned(), bytes(object.id.as_bytes()));
        key
    };
    let (mut places, mut items, mut terms) = (Vec::new(), Vec::new(), Vec::new());
    for (seq, object) in (seq..).zip(objects) {
        places.push(listed(keys.place(seq), object));
        items.push(object.item(keys, seq, object.version));
        terms.extend(object.terms.iter().map(|term| listed(keys.term(term, seq), object)));
    }
    // In this order: what is cleared away is found by its place, and its terms by its record.
    for all in [places, items, terms] {
        for some in all.chunks(25) {
            let one = |item: &Item| -> Outcome<WriteRequest> {
                let put = PutRequest::builder().set_item(Some(item.clone())).build()?;
                Ok(WriteRequest::builder().put_request(put).build())
            };
            write_all(requests, some.iter().map(one).collect::<Outcome<Vec<_>>>()?).await?;
        }
    }
    Ok(())
}

/// Writes at most 25 items, each by itself.
async fn write_all(requests: &Requests, mut left: Vec<WriteRequest>) -> Outcome<()> {
    let mut attempts = 0;
    while !left.is_empty() {
        let answer = requests.ask("BatchWriteItem", true, |client| {
            client.batch_write_item().request_items(&requests.table, left.clone()).send()
        });
        left = answer.await?.unprocessed_items.into_iter().flatten().flat_map(|(_, left)| left).collect();
        attempts += 1;
        if !left.is_empty() && !requests.rest(attempts).await {
            return Err(Cause::StoreThrottled.into());
        }
    }
    Ok(())
}

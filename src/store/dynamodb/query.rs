//! Searching: through the index, in the order of insertion, a page at a time.

use super::connection::Requests;
use super::fault::Outcome;
use super::schema::{Head, Item, Keys, PK, Read, SK, bytes};
use crate::store::terms::{self, Term};
use crate::store::{Cursor, ObjectId, Page, Query};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use std::collections::HashMap;

/// How many candidates one call looks at, so that it ends in time.
const EFFORT: usize = 1000;
/// How many items DynamoDB gives for one request.
pub(super) const BATCH: usize = 100;

/// A place in a list.
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) id: ObjectId,
}

/// The places behind `after` in the list at `pk`, at most so many, and whether there may be more.
pub(super) async fn places(requests: &Requests, pk: &str, after: u64, most: usize) -> Outcome<(Vec<Place>, bool)> {
    let answer = requests.ask("Query", true, |client| {
        client
            .query()
            .table_name(&requests.table)
            .consistent_read(true)
            .key_condition_expression("#pk = :pk AND #sk > :after")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":after", bytes(&after.to_be_bytes()))
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .send()
    });
    let answer = answer.await?;
    let more = answer.last_evaluated_key().is_some_and(|key| !key.is_empty());
    let places = answer.items().iter().map(|item| {
        let read = Read(item);
        Ok(Place { seq: read.seq(SK)?, id: read.id("id")? })
    });
    Ok((places.collect::<crate::error::Result<_>>()?, more))
}

/// Items by their keys, as they are now; those that are not there are left out.
pub(super) async fn items(requests: &Requests, keys: Vec<Item>) -> Outcome<Vec<Item>> {
    let mut found = Vec::with_capacity(keys.len());
    let mut asked: Vec<Item> = keys;
    let mut attempts = 0;
    while !asked.is_empty() {
        let rest = asked.split_off(asked.len().min(BATCH));
        let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(asked)).build()?;
        let answer = requests.ask("BatchGetItem", true, |client| {
            client.batch_get_item().request_items(&requests.table, wanted.clone()).send()
        });
        let answer = answer.await?;
        found.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
        // What there was no room or no capacity for.
        let left: Vec<Item> = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, keys)| keys.keys).collect();
        attempts = if left.is_empty() { 0 } else { attempts + 1 };
        if attempts > 0 && !requests.rest(attempts).await {
            return Err(crate::error::Cause::StoreThrottled
                .with("dynamodb:BatchGetItem: keys stay unprocessed")
                .into());
        }
        asked = left;
        asked.extend(rest);
    }
    Ok(found)
}

/// The stored objects with these ids, by id.
pub(super) async fn objects(requests: &Requests, keys: Keys<'_>, ids: &[ObjectId]) -> Outcome<HashMap<ObjectId, Item>> {
    let wanted = ids.iter().map(|id| keys.object(id)).collect();
    let found = items(requests, wanted).await?.into_iter();
    Ok(found.map(|item| Ok((Read(&item).id(SK)?, item))).collect::<crate::error::Result<_>>()?)
}

/// The next matches after `after`.
pub(super) async fn page(
    requests: &Requests,
    name: &str,
    query: &Query,
    after: Option<Cursor>,
    limit: usize,
) -> Outcome<Page> {
    let mut page = Page::default();
    let mut last = after.map_or(0, |cursor| cursor.0);
    if limit == 0 {
        page.next = Some(Cursor(last));
        return Ok(page);
    }
    let Some(head) = requests.get(&super::schema::token(name)).await? else { return Ok(page) };
    let head = Head::of(&head)?;
    let keys = Keys { name, epoch: &head.epoch };
    let terms: Vec<Term> = terms::of_query(query);
    let list = terms.first().map_or_else(|| keys.order(), |term| keys.lookup(term));
    let reads_records = !(query.equal.is_empty() && terms.is_empty());
    let most = if reads_records { BATCH } else { EFFORT.min(limit) };
    let mut looked_at = 0;
    loop {
        let (places, more) = places(requests, &list, last, most).await?;
        looked_at += places.len().max(1);
        let ids: Vec<ObjectId> = places.iter().map(|place| place.id).collect();
        let found = if reads_records { objects(requests, keys, &ids).await? } else { HashMap::new() };
        for place in places {
            if page.ids.len() == limit {
                page.next = Some(Cursor(last));
                return Ok(page);
            }
            last = place.seq;
            if !reads_records {
                page.ids.push(place.id);
                continue;
            }
            // It may have been deleted meanwhile.
            let Some(item) = found.get(&place.id) else { continue };
            let record = Read(item).bytes("record")?;
            if terms::confirms(query, record) {
                page.add(place.id, Read(item).number("version")?, record);
            }
        }
        if !more {
            return Ok(page);
        }
        if page.ids.len() >= limit || looked_at >= EFFORT {
            page.next = Some(Cursor(last));
            return Ok(page);
        }
    }
}

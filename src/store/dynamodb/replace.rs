//! Other contents in the place of a token and all its objects, at one moment.
//!
//! No transaction of DynamoDB holds them. So they are written under an epoch that nobody sees yet, looked through, and
//! then shown by one transaction on the token's item, if nobody changed the token meanwhile. What a replacement that
//! was broken off has written is found by its note, of which a token has one: whoever replaces next puts his own there,
//! and clears that epoch away. As the last transaction takes the note away on the condition that it is his, nobody can
//! show what another has begun to clear.

use super::connection::{LONG_PATIENCE, Requests};
use super::fault::{Kind, Outcome, Stop};
use super::schema::{self, Item, Keys, Read};
use super::write::{self, New, Plan, Token};
use super::{DynamoDbStore, whole};
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use crate::store::Store;
use crate::store::copy::{Contents, Replace};
use aws_sdk_dynamodb::types::{AttributeValue, Delete, ReturnValue, TransactWriteItem};

const EPOCH: &str = "epoch";

impl Replace for DynamoDbStore {
    fn replace(&self, counter: Option<u64>, contents: &Contents<'_>) -> Result<()> {
        let _turn = lock(&self.changing);
        let epoch = &write::epoch()?;
        let keys = Keys { name: self.name(), epoch };
        let begin = |requests: Requests| async move { begin(&requests, keys).await };
        if self.run(LONG_PATIENCE, begin)?.is_none() {
            self.create()?;
            self.run(LONG_PATIENCE, begin)?.ok_or_else(|| Cause::StoreUnavailable.with("the table is gone again"))?;
        }
        let written = self.write_epoch(keys, counter.unwrap_or(0), contents);
        if let Err(error) = written {
            self.clear_away(keys);
            return Err(error);
        }
        // From here on it may be what is seen, whatever is answered.
        let shown = self.run(LONG_PATIENCE, |requests| async move {
            let plan = |head: Option<schema::Head>| show(&requests, keys, head, counter, contents);
            write::change(&requests, self.name(), plan).await
        })?;
        let before = shown.ok_or_else(|| Cause::StoreUnavailable.with("the table is gone"))?;
        if let Some(before) = before {
            self.clear_away(Keys { name: self.name(), epoch: &before });
        }
        Ok(())
    }
}

impl DynamoDbStore {
    /// Writes all objects under an epoch that nobody sees, and reads them again.
    fn write_epoch(&self, keys: Keys<'_>, counter: u64, contents: &Contents<'_>) -> Result<()> {
        let (mut seq, mut after) = (counter + 1, 0);
        loop {
            let (objects, last) = contents.page(after)?;
            if objects.is_empty() {
                break;
            }
            let objects = &objects.iter().map(New::raw).collect::<Result<Vec<_>>>()?;
            self.run(LONG_PATIENCE, |requests| async move { write::fill(&requests, keys, seq, objects).await })?;
            seq += objects.len() as u64;
            after = last;
        }
        let found = self.run(LONG_PATIENCE, |requests| async move { whole::check_epoch(&requests, keys).await })?;
        match found.map(|found| found.objects) == Some(contents.objects) {
            true => Ok(()),
            false => Err(Cause::StoreConflict.with("what was written is not there: another restore is at work")),
        }
    }

    /// What stays is seen by nobody.
    pub(super) fn clear_away(&self, keys: Keys<'_>) {
        let cleared = self.run(LONG_PATIENCE, |requests| async move { write::clear(&requests, keys).await });
        if let Err(error) = cleared {
            tracing::warn!("what the token held before stays in the table, and nobody sees it: {error}");
        }
    }
}

/// Notes that this epoch is being written, and clears away the one that was noted before.
async fn begin(requests: &Requests, keys: Keys<'_>) -> Outcome<()> {
    let mut note = schema::note(keys.name);
    note.insert(EPOCH.to_owned(), AttributeValue::S(keys.epoch.to_owned()));
    let noted = requests.ask("PutItem", true, |client| {
        let put = client.put_item().table_name(&requests.table).set_item(Some(note.clone()));
        put.return_values(ReturnValue::AllOld).send()
    });
    let old: Option<Item> = noted.await.map_err(read_only)?.attributes;
    let Some(old) = old.filter(|old| !old.is_empty()) else { return Ok(()) };
    let old = Read(&old).text(EPOCH)?;
    // Of a request that was sent twice the first one's note.
    if old == keys.epoch {
        return Ok(());
    }
    let now = requests.get(&schema::token(keys.name)).await?;
    let seen = now.as_ref().map(schema::Head::of).transpose()?;
    match seen.is_some_and(|head| head.epoch == old) {
        true => Ok(()),
        false => write::clear(requests, Keys { name: keys.name, epoch: old }).await,
    }
}

/// Who may read and not write.
fn read_only(stop: Stop) -> Stop {
    match stop.kind {
        Kind::Refused if stop.error.cause() == Cause::StoreDenied => {
            Cause::StoreReadOnly.with(stop.error.detail().to_owned()).into()
        }
        _ => stop,
    }
}

/// Has everybody see the epoch. Answers the one that was seen before.
async fn show(
    requests: &Requests,
    keys: Keys<'_>,
    head: Option<schema::Head>,
    counter: Option<u64>,
    contents: &Contents<'_>,
) -> Outcome<Plan<Option<String>>> {
    if head.as_ref().map(|head| head.counter) != counter {
        return Err(Cause::StoreConflict.with("the token was changed meanwhile").into());
    }
    let note = requests.get(&schema::note(keys.name)).await?;
    if note.as_ref().is_none_or(|note| Read(note).text(EPOCH).ok() != Some(keys.epoch)) {
        return Err(Cause::StoreConflict.with("another restore is at work").into());
    }
    let token =
        Token { epoch: keys.epoch.to_owned(), version: contents.token.version, record: contents.token.record.clone() };
    let ours = Delete::builder()
        .table_name(&requests.table)
        .set_key(Some(schema::note(keys.name)))
        .condition_expression("#epoch = :epoch")
        .expression_attribute_names("#epoch", EPOCH)
        .expression_attribute_values(":epoch", AttributeValue::S(keys.epoch.to_owned()))
        .build()?;
    Ok(Plan {
        // The numbers of the objects, and one for the token.
        by: contents.objects + 1,
        token: Some(token),
        items: vec![TransactWriteItem::builder().delete(ours).build()],
        answer: head.map(|head| head.epoch),
    })
}

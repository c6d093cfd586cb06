//! Tokens in a table of DynamoDB: a store that the hosts of a fleet share.
//!
//! What is asked by which key is in `schema.rs`; every change is one transaction (`write.rs`); what is read is read as
//! it is now, never as it was a moment ago. Requests go over the same transport as those to KMS, on the calling thread.

mod connection;
mod fault;
mod query;
mod replace;
mod schema;
mod whole;
mod write;

use self::connection::{LONG_PATIENCE, Requests, Table};
use self::fault::{Kind, Outcome};
use self::schema::{Head, Item, Keys, Read};
use self::write::New;
use crate::config::DynamoDbConfig;
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use crate::net::HostRules;
use crate::store::{Cursor, ObjectId, ObjectRecord, Page, Query, Raw, Sink, Store, TokenRecord, copy, record};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// A token in a table.
pub(super) struct DynamoDbStore {
    table: Table,
    /// Changes of one process come one after the other: between themselves they would only be in each other's way.
    changing: Mutex<()>,
}

impl DynamoDbStore {
    /// The store in this table; connects to nothing yet.
    pub(super) fn new(config: &DynamoDbConfig, rules: HostRules) -> Self {
        Self { table: Table::new(config, rules), changing: Mutex::new(()) }
    }

    fn name(&self) -> &str {
        &self.table.config.token
    }

    /// Reads or changes; `None` where there is no table.
    fn run<T, F>(&self, patience: Duration, work: impl FnOnce(Requests) -> F) -> Result<Option<T>>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        self.table.run(patience, |requests| {
            let work = work(requests);
            async {
                match work.await {
                    Ok(done) => Ok(Some(done)),
                    Err(stop) if stop.kind == Kind::NoTable => Ok(None),
                    Err(stop) => Err(stop),
                }
            }
        })
    }

    /// How long a call takes in all, if it is not to take longer than `most`.
    fn patience(&self, most: Option<Duration>) -> Duration {
        let patience = self.table.patience();
        most.map_or(patience, |most| most.min(patience))
    }

    fn change<T, F>(&self, work: impl FnOnce(Requests) -> F) -> Result<Option<T>>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let _turn = lock(&self.changing);
        self.run(self.table.patience(), work)
    }

    async fn head(&self, requests: &Requests) -> Outcome<Option<Head>> {
        let item = requests.get(&schema::token(self.name())).await?;
        Ok(item.as_ref().map(Head::of).transpose()?)
    }

    /// An object's item.
    async fn item(&self, requests: &Requests, id: &ObjectId) -> Outcome<Option<Item>> {
        let Some(head) = self.head(requests).await? else { return Ok(None) };
        requests.get(&Keys { name: self.name(), epoch: &head.epoch }.object(id)).await
    }
}

impl Store for DynamoDbStore {
    fn token(&self) -> Result<Option<TokenRecord>> {
        self.token_within(None)
    }

    fn token_within(&self, patience: Option<Duration>) -> Result<Option<TokenRecord>> {
        let head = self.run(self.patience(patience), |requests| async move { self.head(&requests).await })?;
        head.flatten().map(|head| record::decode_token(head.version, &head.record)).transpose()
    }

    fn initialise(&self, token: &TokenRecord, expected: Option<u64>) -> Result<()> {
        let encoded = &record::encode_token(token)?;
        let work = |requests: Requests| async move {
            write::change(&requests, self.name(), |head| write::initialise(head, encoded, expected)).await
        };
        let before = match self.change(work)? {
            Some(before) => before,
            // There is no table. A token that somebody saw was in one.
            None if expected.is_some() => return Err(Cause::StoreConflict.with("the token is gone")),
            None => {
                self.create()?;
                self.change(work)?.ok_or_else(|| Cause::StoreUnavailable.with("the table is gone again"))?
            }
        };
        if let Some(epoch) = before {
            self.clear_away(Keys { name: self.name(), epoch: &epoch });
        }
        Ok(())
    }

    fn update_token(&self, token: &TokenRecord) -> Result<u64> {
        let encoded = &record::encode_token(token)?;
        let version = token.version;
        let done = self.change(|requests| async move {
            write::change(&requests, self.name(), |head| write::update_token(head, version, encoded)).await
        })?;
        done.ok_or_else(|| Cause::StoreConflict.with("the token is gone"))
    }

    fn find(&self, query: &Query, after: Option<Cursor>, limit: usize) -> Result<Page> {
        let page = self.run(self.table.patience(), |requests| async move {
            query::page(&requests, self.name(), query, after, limit).await
        })?;
        Ok(page.unwrap_or_default())
    }

    fn get(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        self.get_within(id, None)
    }

    fn get_within(&self, id: &ObjectId, patience: Option<Duration>) -> Result<Option<ObjectRecord>> {
        let item = self.run(self.patience(patience), |requests| async move { self.item(&requests, id).await })?;
        let Some(item) = item.flatten() else { return Ok(None) };
        let read = Read(&item);
        record::decode_object(id, read.number("version")?, read.bytes("record")?).map(Some)
    }

    fn insert(&self, records: &[ObjectRecord]) -> Result<()> {
        let objects = &records.iter().map(New::encode).collect::<Result<Vec<_>>>()?;
        let done = self.change(|requests| async move {
            let plan = |head| write::insert(&requests, self.name(), head, objects);
            write::change(&requests, self.name(), plan).await
        })?;
        done.ok_or(Cause::TokenNotRecognized.into())
    }

    fn update(&self, record: &ObjectRecord) -> Result<u64> {
        let object = &New::encode(record)?;
        let done = self.change(|requests| async move {
            let plan = |head| write::update(&requests, self.name(), head, record.version, object);
            write::change(&requests, self.name(), plan).await
        })?;
        done.ok_or(Cause::ObjectHandleInvalid.into())
    }

    fn delete(&self, id: &ObjectId, version: Option<u64>) -> Result<()> {
        let done = self.change(|requests| async move {
            let plan = |head| write::delete(&requests, self.name(), head, id, version);
            write::change(&requests, self.name(), plan).await
        })?;
        done.ok_or(Cause::ObjectHandleInvalid.into())
    }

    fn change_counter(&self) -> Result<u64> {
        let head = self.run(self.table.patience(), |requests| async move { self.head(&requests).await })?;
        Ok(head.flatten().map_or(0, |head| head.counter))
    }

    fn check(&self) -> Result<u64> {
        let count = self.run(LONG_PATIENCE, |requests| async move { whole::check(&requests, self.name()).await })?;
        Ok(count.unwrap_or(0))
    }

    fn back_up(&self, to: &Path) -> Result<()> {
        copy::to_file(self, to)
    }

    fn restore(&self, from: &Path, beside: &Path) -> Result<Option<PathBuf>> {
        copy::from_file(self, from, beside)
    }

    fn create(&self) -> Result<()> {
        self.table.run(LONG_PATIENCE, |requests| async move { schema::create(&requests).await })
    }

    fn export(&self, sink: &mut dyn Sink) -> Result<()> {
        let sink = &Mutex::new(sink);
        let done =
            self.run(LONG_PATIENCE, |requests| async move { whole::export(&requests, self.name(), sink).await })?;
        done.ok_or(Cause::TokenNotRecognized.into())
    }

    fn import_token(&self, token: &Raw) -> Result<()> {
        let serial = &record::decode_token(token.version, &token.record)?.serial;
        let work = |requests: Requests| async move {
            write::change(&requests, self.name(), |head| write::import_token(head, serial, token)).await
        };
        if self.change(work)?.is_none() {
            self.create()?;
            self.change(work)?;
        }
        Ok(())
    }

    fn import(&self, objects: &[(ObjectId, Raw)]) -> Result<()> {
        let objects = &objects.iter().map(New::raw).collect::<Result<Vec<_>>>()?;
        let done = self.change(|requests| async move {
            let plan = |head| write::insert(&requests, self.name(), head, objects);
            write::change(&requests, self.name(), plan).await
        })?;
        done.ok_or(Cause::TokenNotRecognized.into())
    }

    fn most_at_once(&self) -> usize {
        write::MOST_OBJECTS
    }

    /// DynamoDB does not tell what a role may do before it is tried: never known to be impossible.
    fn read_only(&self) -> bool {
        false
    }
}

//! Tokens in a database of PostgreSQL: a store that the hosts of a fleet share.
//!
//! Statements are sent as they are, each with its parameters and its types, never prepared: they pass through a pooler
//! of connections too. A call is on one connection, on the calling thread, and ends before its deadline; one that was
//! cut off is tried again on another connection, to another server if there are several. A change whose commit was
//! not answered is looked for before it is made again (`change.rs`).

mod change;
mod connection;
mod fault;
mod migrate;
mod password;
mod pool;
mod query;
mod schema;
mod tls;
mod whole;
mod write;

use self::change::Ticket;
use self::fault::{Outcome, Stop};
use self::pool::{LONG_PATIENCE, PATIENCE, Pool};
use self::schema::format_now;
use self::write::New;
use crate::config::PostgresConfig;
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use crate::net::HostRules;
use crate::store::copy::{self, Contents, Replace};
use crate::store::{Cursor, ObjectId, ObjectRecord, Page, Query, Raw, Sink, Store, TokenRecord, record};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// How long it is believed that a server can be written to, or not: `C_GetTokenInfo` shows it.
const READ_ONLY_LIFE: Duration = Duration::from_secs(60);

/// A token in a database.
pub(super) struct PostgresStore {
    pool: Pool,
    read_only: Mutex<Option<(Instant, bool)>>,
}

/// An object's version and its record.
async fn stored(client: &Client, name: &str, id: &ObjectId) -> Outcome<Option<(u64, Vec<u8>)>> {
    let select = concat!(
        "SELECT version, record, ",
        format_now!(),
        " FROM datakey_object WHERE token = (SELECT number FROM datakey_token WHERE name = $1) AND id = $2"
    );
    let id = id.as_bytes().as_slice();
    let rows = client.query_typed(select, &[(&name, Type::TEXT), (&id, Type::BYTEA)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    migrate::check(row.try_get(2)?)?;
    Ok(Some((row.try_get::<_, i64>(0)? as u64, row.try_get(1)?)))
}

impl PostgresStore {
    /// The store in this database; connects to nothing yet.
    pub(super) fn new(config: &PostgresConfig, rules: HostRules) -> Self {
        Self { pool: Pool::new(config, rules), read_only: Mutex::new(None) }
    }

    fn name(&self) -> &str {
        &self.pool.config().token
    }

    /// Reads; `None` if nothing was ever written.
    fn read<T, F>(&self, work: impl Fn(Arc<Client>) -> F) -> Result<Option<T>>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        self.read_within(PATIENCE, work)
    }

    fn read_within<T, F>(&self, patience: Duration, work: impl Fn(Arc<Client>) -> F) -> Result<Option<T>>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        self.pool.run(patience, |client| {
            let work = work(client);
            async {
                match work.await {
                    Ok(found) => Ok(Some(found)),
                    Err(stop) if stop.lacks_tables() => Ok(None),
                    Err(stop) => Err(stop),
                }
            }
        })
    }

    /// Makes a change, once; `None` if nothing was ever written.
    fn write<T, F>(&self, patience: Duration, work: impl Fn(Arc<Client>, Ticket<T>) -> F) -> Result<Option<T>>
    where
        T: Copy + Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let ticket = Ticket::new();
        let done = self.pool.run(patience, |client| {
            let (work, ticket) = (work(Arc::clone(&client), ticket.clone()), ticket.clone());
            async move {
                if let Some(done) = ticket.settle(&client).await? {
                    return Ok(Some(done));
                }
                match work.await {
                    Ok(done) => Ok(Some(done)),
                    Err(stop) if stop.lacks_tables() => Ok(None),
                    Err(stop) if stop.lacks_right() => {
                        Err(Cause::StoreReadOnly.with("this user has no right to change its tables").into())
                    }
                    Err(stop) => Err(stop),
                }
            }
        });
        // Whatever ended the search for it: nothing else may be said of a change that was perhaps made.
        done.map_err(|error| if ticket.is_open() { error.leaves_in_doubt("a commit was not answered") } else { error })
    }
}

impl Store for PostgresStore {
    fn token(&self) -> Result<Option<TokenRecord>> {
        self.token_within(None)
    }

    fn token_within(&self, patience: Option<Duration>) -> Result<Option<TokenRecord>> {
        let select = concat!("SELECT version, record, ", format_now!(), " FROM datakey_token WHERE name = $1");
        let found = self.read_within(patience.unwrap_or(PATIENCE), |client| async move {
            write::token(&client.query_typed(select, &[(&self.name(), Type::TEXT)]).await?)
        })?;
        Ok(found.flatten())
    }

    fn initialise(&self, token: &TokenRecord, expected: Option<u64>) -> Result<()> {
        let encoded = &record::encode_token(token)?;
        let expected = expected.map(|version| version as i64);
        let work = |client: Arc<Client>, ticket| async move {
            write::initialise(&client, &ticket, self.name(), encoded, expected).await
        };
        if self.write(LONG_PATIENCE, work)?.is_some() {
            return Ok(());
        }
        // There are no tables. A token that somebody saw was in some.
        if expected.is_some() {
            return Err(Cause::StoreConflict.with("the token is gone"));
        }
        self.create()?;
        self.write(LONG_PATIENCE, work)?.ok_or_else(|| Cause::StoreCorrupt.with("the tables are gone again"))
    }

    fn update_token(&self, token: &TokenRecord) -> Result<u64> {
        let encoded = &record::encode_token(token)?;
        let version = token.version as i64;
        let done = self.write(PATIENCE, |client, ticket| async move {
            write::update_token(&client, &ticket, self.name(), version, encoded).await
        })?;
        done.ok_or_else(|| Cause::StoreConflict.with("the token is gone"))
    }

    fn find(&self, query: &Query, after: Option<Cursor>, limit: usize) -> Result<Page> {
        let plan = &query::Plan::new(query);
        let found = self.read(|client| async move { plan.page(&client, self.name(), after, limit).await })?;
        Ok(found.unwrap_or_default())
    }

    fn get(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        self.get_within(id, None)
    }

    fn get_within(&self, id: &ObjectId, patience: Option<Duration>) -> Result<Option<ObjectRecord>> {
        let patience = patience.unwrap_or(PATIENCE);
        let found = self.read_within(patience, |client| async move { stored(&client, self.name(), id).await })?;
        found.flatten().map(|(version, bytes)| record::decode_object(id, version, &bytes)).transpose()
    }

    fn insert(&self, records: &[ObjectRecord]) -> Result<()> {
        let objects = &records.iter().map(New::encode).collect::<Result<Vec<_>>>()?;
        let done = self.write(PATIENCE, |client, ticket| async move {
            write::insert(&client, &ticket, self.name(), objects).await
        })?;
        done.ok_or(Cause::TokenNotRecognized.into())
    }

    fn update(&self, record: &ObjectRecord) -> Result<u64> {
        let object = &New::encode(record)?;
        let done = self.write(PATIENCE, |client, ticket| async move {
            write::update(&client, &ticket, self.name(), record.version, object).await
        })?;
        done.ok_or(Cause::ObjectHandleInvalid.into())
    }

    fn delete(&self, id: &ObjectId, version: Option<u64>) -> Result<()> {
        let done = self.write(PATIENCE, |client, ticket| async move {
            write::delete(&client, &ticket, self.name(), id, version).await
        })?;
        done.ok_or(Cause::ObjectHandleInvalid.into())
    }

    fn change_counter(&self) -> Result<u64> {
        let select = concat!("SELECT counter, ", format_now!(), " FROM datakey_token WHERE name = $1");
        let counter = self.read(|client| async move {
            let rows = client.query_typed(select, &[(&self.name(), Type::TEXT)]).await?;
            let Some(row) = rows.first() else { return Ok(0) };
            migrate::check(row.try_get(1)?)?;
            Ok(row.try_get::<_, i64>(0)? as u64)
        })?;
        Ok(counter.unwrap_or(0))
    }

    fn check(&self) -> Result<u64> {
        self.pool.run(LONG_PATIENCE, |client| async move {
            match whole::check(&client, self.name()).await {
                Err(stop) if stop.lacks_tables() => Ok(0),
                counted => counted,
            }
        })
    }

    fn back_up(&self, to: &Path) -> Result<()> {
        copy::to_file(self, to)
    }

    fn restore(&self, from: &Path, beside: &Path) -> Result<Option<PathBuf>> {
        copy::from_file(self, from, beside)
    }

    fn create(&self) -> Result<()> {
        self.pool.run(PATIENCE, |client| async move { migrate::migrate(&client).await })
    }

    fn export(&self, sink: &mut dyn Sink) -> Result<()> {
        let sink = &Mutex::new(sink);
        self.pool.run(LONG_PATIENCE, |client| async move {
            match whole::export(&client, self.name(), sink).await {
                Err(stop) if stop.lacks_tables() => Err(Cause::TokenNotRecognized.into()),
                done => done,
            }
        })
    }

    fn import_token(&self, token: &Raw) -> Result<()> {
        let serial = &record::decode_token(token.version, &token.record)?.serial;
        let work = |client: Arc<Client>, ticket| async move {
            write::import_token(&client, &ticket, self.name(), serial, token).await
        };
        if self.write(PATIENCE, work)?.is_none() {
            self.create()?;
            self.write(PATIENCE, work)?;
        }
        Ok(())
    }

    fn import(&self, objects: &[(ObjectId, Raw)]) -> Result<()> {
        let objects: &Vec<_> = &objects.iter().map(New::raw).collect();
        let done = self.write(LONG_PATIENCE, |client, ticket| async move {
            write::insert(&client, &ticket, self.name(), objects).await
        })?;
        done.ok_or(Cause::TokenNotRecognized.into())
    }

    fn most_at_once(&self) -> usize {
        usize::MAX
    }

    fn read_only(&self) -> bool {
        if let Some((at, known)) = *lock(&self.read_only)
            && at.elapsed() < READ_ONLY_LIFE
        {
            return known;
        }
        let found = self.read(|client| async move {
            let ask = "SELECT current_setting('transaction_read_only') = 'on' \
                       OR NOT has_table_privilege('datakey_token', 'UPDATE')";
            let rows = client.query_typed(ask, &[]).await?;
            Ok(rows.first().ok_or(Stop::Late)?.try_get::<_, bool>(0)?)
        });
        let read_only = found.is_ok_and(|said| said == Some(true));
        *lock(&self.read_only) = Some((Instant::now(), read_only));
        read_only
    }
}

impl Replace for PostgresStore {
    fn replace(&self, counter: Option<u64>, contents: &Contents<'_>) -> Result<()> {
        let counter = counter.map(|counter| counter as i64);
        let work = |client: Arc<Client>, ticket| async move {
            write::replace(&client, &ticket, self.name(), counter, contents).await
        };
        if self.write(LONG_PATIENCE, work)?.is_some() {
            return Ok(());
        }
        self.create()?;
        self.write(LONG_PATIENCE, work)?.ok_or_else(|| Cause::StoreCorrupt.with("the tables are gone again"))
    }
}

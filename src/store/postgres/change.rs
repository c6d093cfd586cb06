//! A change that is made once, whatever becomes of the answer to its commit.
//!
//! With each change goes a row that says whose it was. When the connection is lost with a commit on its way, the token's
//! row is locked over the next one, which waits for that transaction to be over, done or not; then the row is there, or
//! the change was not made and is made again.

use super::fault::{Next, Outcome, Stop};
use super::migrate;
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use futures_util::future::join;
use std::sync::{Arc, Mutex};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// Who dies or is cut off in a transaction must not keep others waiting for ever, and who waits must not wait for ever.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
    SET LOCAL statement_timeout = 8000; SET LOCAL lock_timeout = 4000; \
    SET LOCAL idle_in_transaction_session_timeout = 5000";
/// How many changes of a token are remembered: many more than can be made while one waits for the answer to a commit.
const REMEMBERED: i64 = 4096;

pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A change whose commit was sent, and what it answers if it was done.
struct Sent<T> {
    change: Change,
    answer: T,
}

/// One change of a token, as `datakey_change` has it.
#[derive(Clone)]
struct Change {
    token: i64,
    counter: i64,
    nonce: Vec<u8>,
}

/// A change that is tried until it is done once: what was sent and not answered is looked for before it is sent again.
pub(super) struct Ticket<T>(Arc<Mutex<Option<Sent<T>>>>);

impl<T> Clone for Ticket<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Copy + Send> Ticket<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    /// Whether a commit was sent whose answer is not known.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// What the change that was sent before answers, if it was done. Waits until it is over, done or not: the row that
    /// it locked is locked here.
    pub(super) async fn settle(&self, client: &Client) -> Outcome<Option<T>> {
        let sent = lock(&self.0).as_ref().map(|sent| (sent.change.clone(), sent.answer));
        let Some((change, answer)) = sent else { return Ok(None) };
        let by_number: &[Parameter<'_>] = &[(&change.token, Type::INT8)];
        let by_change: &[Parameter<'_>] = &[(&change.token, Type::INT8), (&change.counter, Type::INT8)];
        let found = async {
            client.batch_execute(BEGIN).await?;
            let lock = "SELECT counter FROM datakey_token WHERE number = $1 FOR UPDATE";
            let counter = match client.query_typed(lock, by_number).await?.first() {
                Some(row) => row.try_get::<_, i64>(0)?,
                None => return Err(Cause::StoreUnavailable.with("the token is gone").into()),
            };
            let ask = "SELECT nonce FROM datakey_change WHERE token = $1 AND counter = $2";
            let nonce = match client.query_typed(ask, by_change).await?.first() {
                Some(row) => Some(row.try_get::<_, Vec<u8>>(0)?),
                None => None,
            };
            if nonce.is_none() && counter >= change.counter + REMEMBERED {
                return Err(Cause::StoreUnreachable
                    .with("the answer to a commit was lost, and what became of it")
                    .into());
            }
            Ok(nonce == Some(change.nonce.clone()))
        };
        let found: Outcome<bool> = found.await;
        client.batch_execute("ROLLBACK").await?;
        match found? {
            true => Ok(Some(answer)),
            false => {
                *lock(&self.0) = None;
                Ok(None)
            }
        }
    }

    /// Ends a transaction: `last` is sent, what remembers the change, and the commit, without waiting in between. So
    /// `last` sends all that it sends when it is first polled.
    pub(super) async fn commit(
        &self,
        client: &Client,
        row: &Locked,
        answer: T,
        last: impl Future<Output = Outcome<()>>,
    ) -> Outcome<T> {
        let change = Change { token: row.number, counter: row.counter, nonce: nonce()? };
        *lock(&self.0) = Some(Sent { change: change.clone(), answer });
        let old = row.counter.saturating_sub(REMEMBERED);
        let parameters: &[Parameter<'_>] =
            &[(&change.token, Type::INT8), (&change.counter, Type::INT8), (&change.nonce, Type::BYTEA)];
        let before: &[Parameter<'_>] = &[(&change.token, Type::INT8), (&old, Type::INT8)];
        let remember = async {
            let insert = "INSERT INTO datakey_change (token, counter, nonce) VALUES ($1, $2, $3)";
            let forget = "DELETE FROM datakey_change WHERE token = $1 AND counter <= $2";
            let (inserted, forgotten) =
                join(client.execute_typed(insert, parameters), client.execute_typed(forget, before)).await;
            inserted?;
            forgotten?;
            Ok(())
        };
        // After a statement that failed, to commit is to roll back.
        let (last, (remembered, committed)) =
            join(last, join::<_, _>(remember, async { Ok(client.batch_execute("COMMIT").await?) })).await;
        let done: Outcome<()> = last.and(remembered).and(committed);
        if done.is_ok() || done.as_ref().is_err_and(is_answer) {
            *lock(&self.0) = None;
        }
        done.map(|()| answer)
    }
}

/// Whether the server said no, so that nothing was committed for certain.
fn is_answer(stop: &Stop) -> bool {
    stop.next() != Next::Elsewhere
}

/// Different for every change that anybody makes.
fn nonce() -> Result<Vec<u8>> {
    let mut nonce = vec![0; 16];
    getrandom::fill(&mut nonce).map_err(|error| Cause::CryptoLibrary.with(format!("no random numbers: {error}")))?;
    Ok(nonce)
}

/// A token's row, which is locked until the transaction ends.
#[derive(Clone, Copy)]
pub(super) struct Locked {
    pub(super) number: i64,
    pub(super) counter: i64,
}

impl Locked {
    /// Reads what `RETURNING number, counter, format` returned; `None` if there was no row.
    pub(super) fn of(rows: &[Row]) -> Outcome<Option<Self>> {
        let Some(row) = rows.first() else { return Ok(None) };
        migrate::check(row.try_get(2)?)?;
        Ok(Some(Self { number: row.try_get(0)?, counter: row.try_get(1)? }))
    }
}

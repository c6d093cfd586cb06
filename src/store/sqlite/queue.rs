//! Changes that many threads want written at once: one of them writes what all the waiting ones want, in one durable
//! commit. A thread that is alone does not wait for others to come.

use super::fault::{Outcome, Stop};
use super::write::{self, New};
use crate::error::{Cause, Error, Result};
use crate::host::lock::lock;
use crate::store::ObjectId;
use rusqlite::Connection;
use rusqlite::ffi::ErrorCode;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many changes go into one commit; those of the others wait for the next.
const MOST: usize = 256;

/// What one caller wants written.
pub(super) enum Change {
    Token { version: u64, record: Vec<u8> },
    Insert(Vec<New>),
    Update { version: u64, object: New },
    Delete { id: ObjectId, version: Option<u64> },
}

impl Change {
    /// In a write transaction; answers the new version.
    fn apply(&self, connection: &Connection) -> Outcome<u64> {
        match self {
            Self::Token { version, record } => write::update_token(connection, *version, record),
            Self::Insert(objects) => write::insert(connection, objects).map(|()| 1),
            Self::Update { version, object } => write::update(connection, *version, object),
            Self::Delete { id, version } => write::delete(connection, id, *version).map(|()| 0),
        }
    }

    /// Why it cannot be where there is no token.
    pub(super) fn without_token(&self) -> Error {
        match self {
            Self::Token { .. } => Cause::StoreConflict.with("the token is gone"),
            Self::Insert(_) => Cause::TokenNotRecognized.into(),
            Self::Update { .. } | Self::Delete { .. } => Cause::ObjectHandleInvalid.into(),
        }
    }
}

/// Applies changes of several callers in one write transaction: what is refused to one says nothing of the others.
///
/// # Errors
/// What says something of the transaction, and so of all.
pub(super) fn apply_all(connection: &Connection, changes: &[&Change]) -> Outcome<Vec<Result<u64>>> {
    if let [change] = changes {
        return Ok(vec![Ok(change.apply(connection)?)]);
    }
    changes.iter().map(|change| apply_one(connection, change)).collect()
}

fn apply_one(connection: &Connection, change: &Change) -> Outcome<Result<u64>> {
    let run = |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    run("SAVEPOINT one")?;
    let applied = match change.apply(connection) {
        Ok(version) => Ok(version),
        Err(Stop::Refused(error)) => Err(error),
        // An id that is in use.
        Err(Stop::Sql(error)) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(Cause::StoreConflict.with(error.to_string()))
        }
        Err(stop) => return Err(stop),
    };
    if applied.is_err() {
        run("ROLLBACK TO one")?;
    }
    run("RELEASE one")?;
    Ok(applied)
}

/// Those who wait, and whether one of them writes.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Arc<Ticket>, Change)>,
    writing: bool,
}

/// Where the result of one change is put.
#[derive(Default)]
struct Ticket(Mutex<Option<Result<u64>>>);

impl Queue {
    /// Has a change written, by this thread or by one that writes already. `write` is given what all want and answers
    /// what came of each. `None` if for so long nobody has begun to write it: it will not be written then.
    pub(super) fn write(
        &self,
        change: Change,
        patience: Duration,
        write: impl Fn(&[&Change]) -> Vec<Result<u64>>,
    ) -> Option<Result<u64>> {
        let (mine, until) = (Arc::new(Ticket::default()), Instant::now() + patience);
        let mut state = lock(&self.state);
        state.waiting.push_back((Arc::clone(&mine), change));
        loop {
            if let Some(result) = lock(&mine.0).take() {
                return Some(result);
            }
            if !state.writing {
                state.writing = true;
                let count = state.waiting.len().min(MOST);
                let turn = Turn { queue: self, batch: state.waiting.drain(..count).collect() };
                drop(state);
                turn.write(&write);
                state = lock(&self.state);
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            let position = state.waiting.iter().position(|(ticket, _)| Arc::ptr_eq(ticket, &mine));
            state = match position {
                Some(position) if left.is_zero() => {
                    state.waiting.remove(position);
                    return None;
                }
                Some(_) => self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                // It is being written: only who does that knows what comes of it.
                None => self.written.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The right to write for others. However it ends, they get an answer and the next one its turn.
struct Turn<'a> {
    queue: &'a Queue,
    batch: Vec<(Arc<Ticket>, Change)>,
}

impl Turn<'_> {
    fn write(mut self, write: impl Fn(&[&Change]) -> Vec<Result<u64>>) {
        let changes: Vec<_> = self.batch.iter().map(|(_, change)| change).collect();
        let results = write(&changes);
        for ((ticket, _), result) in mem::take(&mut self.batch).into_iter().zip(results) {
            *lock(&ticket.0) = Some(result);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        for (ticket, _) in &self.batch {
            *lock(&ticket.0) = Some(Err(Cause::StoreInDoubt.with("whoever wrote it was interrupted")));
        }
        lock(&self.queue.state).writing = false;
        self.queue.written.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    const LONG: Duration = Duration::from_secs(30);

    fn delete(number: u8) -> Change {
        Change::Delete { id: ObjectId::from_bytes([number; 16]), version: None }
    }

    fn number(change: &Change) -> u64 {
        match change {
            Change::Delete { id, .. } => id.as_bytes()[0].into(),
            _ => 0,
        }
    }

    #[test]
    fn one_writes_for_all_and_each_gets_its_own_result() {
        let (queue, batches, start) = (Queue::default(), AtomicUsize::new(0), Barrier::new(64));
        thread::scope(|scope| {
            for own in 0..64 {
                let (queue, batches, start) = (&queue, &batches, &start);
                scope.spawn(move || {
                    start.wait();
                    let result = queue.write(delete(own), LONG, |changes| {
                        batches.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(20));
                        let odd = |change: &&&Change| match number(change) {
                            odd if odd % 2 == 1 => Err(Cause::StoreConflict.into()),
                            even => Ok(even),
                        };
                        changes.iter().map(|change| odd(&change)).collect()
                    });
                    let result = result.unwrap().map_err(|error| error.cause());
                    assert_eq!(result, if own % 2 == 1 { Err(Cause::StoreConflict) } else { Ok(own.into()) });
                });
            }
        });
        assert!(batches.load(Ordering::SeqCst) < 32, "{batches:?} commits for 64 changes");
    }

    #[test]
    fn who_waits_too_long_is_not_written() {
        let (queue, start, seen) = (Queue::default(), Barrier::new(2), Mutex::new(Vec::new()));
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let hold = Mutex::new(hold);
        thread::scope(|scope| {
            scope.spawn(|| {
                let result = queue.write(delete(1), LONG, |changes| {
                    lock(&seen).extend(changes.iter().map(|change| number(change)));
                    start.wait();
                    lock(&hold).recv().unwrap();
                    changes.iter().map(|change| Ok(number(change))).collect()
                });
                assert_eq!(result.unwrap().unwrap(), 1);
            });
            start.wait();
            assert!(queue.write(delete(2), Duration::from_millis(10), |_| unreachable!()).is_none());
            release.send(()).unwrap();
        });
        assert_eq!(*lock(&seen), [1]);
    }

    #[test]
    fn a_crash_of_who_writes_leaves_nobody_waiting() {
        let (queue, start) = (Queue::default(), Barrier::new(2));
        thread::scope(|scope| {
            let crashed = scope.spawn(|| {
                queue.write(delete(1), LONG, |_| {
                    start.wait();
                    // Time for the other to queue up; if it does not, it is written by itself.
                    thread::sleep(Duration::from_millis(20));
                    panic!("on purpose")
                })
            });
            start.wait();
            assert_eq!(queue.write(delete(2), LONG, |changes| vec![Ok(9); changes.len()]).unwrap().unwrap(), 9);
            assert!(crashed.join().is_err());
        });
    }
}

//! The connections of one store in one process: as many as threads use it at once, up to a limit.

use super::connection::{Link, Way};
use super::fault::{Next, Outcome, Stop};
use crate::config::PostgresConfig;
use crate::error::{Cause, Error, Result};
use crate::host::lock::lock;
use crate::net::HostRules;
use crate::store::remote::{Origin, Server, pause};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

/// How long a call may take in all: with the wait for a connection and for others, and with a server that fails over.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same for what touches all objects at once.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// How many connections there are at most, of the hundred that a server has for all.
const MOST: usize = 8;

pub(super) struct Pool {
    way: Way,
    origin: Origin,
    server: Server,
    state: Mutex<State>,
    one_is_back: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Link>,
    in_use: usize,
}

impl Pool {
    pub(super) fn new(config: &PostgresConfig, rules: HostRules) -> Self {
        let way = Way::new(config, rules);
        Self { way, origin: Origin::new(), server: Server::new(), state: Mutex::default(), one_is_back: Condvar::new() }
    }

    pub(super) fn config(&self) -> &PostgresConfig {
        &self.way.config
    }

    /// Runs `work` on a connection, again as long as it may succeed, until the time is over.
    pub(super) fn run<T, F>(&self, patience: Duration, work: impl Fn(Arc<Client>) -> F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        self.origin.check()?;
        let deadline = Instant::now() + patience;
        let turn = self.turn(deadline).map_err(|error| self.about(error))?;
        self.server.call(|| self.attempts(turn, deadline, work)).map_err(|error| self.about(error))
    }

    fn attempts<T, F>(&self, mut turn: Turn<'_>, deadline: Instant, work: impl Fn(Arc<Client>) -> F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let mut attempts = 0;
        loop {
            let stop = match turn.run(deadline, &work) {
                Ok(done) => return Ok(done),
                Err(stop) => stop,
            };
            attempts += 1;
            // A server that only reads stays so, unless there is another to turn to.
            let next = if stop.is_read_only() && !self.way.config.needs_writable { Next::Never } else { stop.next() };
            let rest = pause(attempts);
            if next == Next::Never || Instant::now() + rest >= deadline {
                return Err(stop.into_error());
            }
            std::thread::sleep(rest);
        }
    }

    fn about(&self, error: Error) -> Error {
        if error.cause().device_error() == 0 { error } else { error.context(self.config()) }
    }

    /// Waits until a connection may be used.
    fn turn(&self, deadline: Instant) -> Result<Turn<'_>> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let (mut state, _) = self
            .one_is_back
            .wait_timeout_while(lock(&self.state), patience, |state| state.in_use >= MOST)
            .unwrap_or_else(PoisonError::into_inner);
        if state.in_use >= MOST {
            return Err(Cause::StoreBusy.with("other threads use all connections"));
        }
        state.in_use += 1;
        Ok(Turn { link: state.idle.pop(), pool: self })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            // To close them would close them for the parent.
            mem::forget(mem::take(&mut lock(&self.state).idle));
        }
    }
}

/// The right to use a connection, given back on drop.
struct Turn<'a> {
    link: Option<Link>,
    pool: &'a Pool,
}

impl Turn<'_> {
    fn run<T, F>(&mut self, deadline: Instant, work: impl Fn(Arc<Client>) -> F) -> Outcome<T>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let mut link = match self.link.take().and_then(Link::if_alive) {
            Some(link) => link,
            None => Link::open(&self.pool.way, deadline)?,
        };
        let done = link.run(deadline, work);
        if !matches!(&done, Err(stop) if stop.next() == Next::Elsewhere || matches!(stop, Stop::Late)) {
            self.link = Some(link);
        }
        done
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        state.in_use -= 1;
        state.idle.extend(self.link.take());
        drop(state);
        self.pool.one_is_back.notify_one();
    }
}

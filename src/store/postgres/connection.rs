//! One connection: made on the calling thread, driven only while a call is on it.
//!
//! Each has a runtime of its own, so that nothing of it runs between calls, no thread is needed, and no lock is shared:
//! the client's library takes its locks of the kind that a fork can catch (`host/lock.rs`) only where two threads meet
//! at one connection, which never happens here.

use super::fault::{Outcome, Stop};
use super::password;
use super::tls::Tls;
use crate::config::{PostgresConfig, PostgresHost};
use crate::error::{Cause, Error, Result};
use crate::net::{Driver, HostRules, Resolver, chain};
use std::future::poll_fn;
use std::net::IpAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};

/// How long one attempt to connect may take, from the first packet to the password's acceptance.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection may have been idle that is used without asking whether it is still there.
const FRESH: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const PROBE: Duration = Duration::from_secs(2);
/// How long a server is told goodbye.
const GOODBYE: Duration = Duration::from_millis(50);

/// How connections of one store are made.
pub(super) struct Way {
    pub(super) config: PostgresConfig,
    pub(super) rules: HostRules,
    tls: OnceLock<Tls>,
}

impl Way {
    pub(super) fn new(config: &PostgresConfig, rules: HostRules) -> Self {
        Self { config: config.clone(), rules, tls: OnceLock::new() }
    }

    /// What makes TLS connections, made when it is first needed; `None` for none. A failure is not remembered.
    fn tls(&self) -> Result<Option<Tls>> {
        match (&self.config.tls, self.tls.get()) {
            (None, _) => Ok(None),
            (Some(_), Some(made)) => Ok(Some(made.clone())),
            (Some(tls), None) => {
                let made = Tls::new(tls, self.rules.secure_mode)?;
                Ok(Some(self.tls.get_or_init(|| made).clone()))
            }
        }
    }
}

type Connection = Pin<Box<dyn Future<Output = std::result::Result<(), tokio_postgres::Error>> + Send>>;

/// A connection to a server.
pub(super) struct Link {
    driver: Driver,
    /// `None` when it is to end.
    client: Option<Arc<Client>>,
    /// `None` once it has ended.
    connection: Option<Connection>,
    threads_allowed: bool,
    used: Instant,
}

impl Link {
    /// Connects to the first of the servers that will do.
    pub(super) fn open(way: &Way, deadline: Instant) -> Outcome<Self> {
        let tls = way.tls()?;
        let driver = Driver::new().map_err(setup)?;
        let threads_allowed = way.rules.threads_allowed;
        let work = async {
            let made = timeout_at(deadline, connect(way, tls)).await;
            made.unwrap_or(Err(Stop::Late))
        };
        let (client, connection) = driver.block_on(Box::pin(work), threads_allowed).map_err(setup)??;
        let client = Some(Arc::new(client));
        Ok(Self { driver, client, connection: Some(connection), threads_allowed, used: Instant::now() })
    }

    /// This connection, if it is worth a try.
    pub(super) fn if_alive(mut self) -> Option<Self> {
        if self.client.as_ref().is_none_or(|client| client.is_closed()) {
            return None;
        }
        if self.used.elapsed() < FRESH {
            return Some(self);
        }
        let deadline = Instant::now() + PROBE;
        let alive = self.run(deadline, |client| async move { Ok(client.check_connection().await?) }).is_ok();
        alive.then_some(self)
    }

    /// Runs `work` from start to end on the calling thread.
    pub(super) fn run<T, F>(&mut self, deadline: Instant, work: impl FnOnce(Arc<Client>) -> F) -> Outcome<T>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let Some(client) = &self.client else { return Err(Stop::Late) };
        let connection = &mut self.connection;
        let work = work(Arc::clone(client));
        let driven = async move {
            let mut work = pin!(work);
            let both = poll_fn(|context| {
                // The work first: what it sends is sent, and what has come, it is told of by being woken.
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    return Poll::Ready(done);
                }
                let ended = connection.as_mut().is_some_and(|live| live.as_mut().poll(context).is_ready());
                if !ended {
                    return Poll::Pending;
                }
                *connection = None;
                // Whatever it waited for has failed now.
                work.as_mut().poll(context)
            });
            timeout_at(deadline, both).await.unwrap_or(Err(Stop::Late))
        };
        let done = self.driver.block_on(Box::pin(driven), self.threads_allowed).map_err(setup);
        self.used = Instant::now();
        done?
    }
}

impl Drop for Link {
    /// Says goodbye, as long as that does not take long.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // With its last client the connection ends of itself.
        self.client = None;
        let leave = async { drop(timeout(GOODBYE, connection).await) };
        // A server that is not told finds out.
        drop(self.driver.block_on(Box::pin(leave), false));
    }
}

fn setup(error: Error) -> Stop {
    Stop::Refused(Cause::StoreSetup.with(error.detail().to_owned()))
}

/// Tries the servers in their order; the last one's failure is told.
async fn connect(way: &Way, tls: Option<Tls>) -> Outcome<(Client, Connection)> {
    let config = &way.config;
    let mut failure = Stop::from(Cause::StoreSetup.with("there is no host"));
    for (host, port) in &config.hosts {
        let addresses = match addresses(way, host).await {
            Ok(addresses) => addresses,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        let mut base = Config::new();
        base.user(&config.user).dbname(&config.database).application_name(&config.application_name).port(*port);
        base.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        base.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(10));
        if let Some(options) = &config.options {
            base.options(options);
        }
        if config.needs_writable {
            base.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if let Some(password) = password::find(config, host, *port, way.rules.secure_mode)? {
            base.password(password.as_bytes());
        }
        for place in addresses {
            let mut one = base.clone();
            match (&place, host) {
                (Place::Socket(directory), _) => one.host_path(directory),
                (Place::Address(address), PostgresHost::Name(name)) => one.host(name).hostaddr(*address),
                (Place::Address(address), PostgresHost::Directory(_)) => one.hostaddr(*address),
            };
            let patience = config.connect_timeout.unwrap_or(CONNECT);
            let made = match &tls {
                Some(tls) => timeout(patience, one.connect(tls.clone()))
                    .await
                    .map(|made| made.map(|(client, connection)| (client, Box::pin(connection) as Connection))),
                None => timeout(patience, one.connect(NoTls))
                    .await
                    .map(|made| made.map(|(client, connection)| (client, Box::pin(connection) as Connection))),
            };
            failure = match made {
                Ok(Ok(made)) => return Ok(made),
                Ok(Err(error)) => Stop::Sql(error),
                Err(_) => Stop::Late,
            };
        }
    }
    Err(failure)
}

enum Place<'a> {
    Socket(&'a Path),
    Address(IpAddr),
}

/// Where a host listens. Not asked of the client's library: its lookup leaves a thread behind.
async fn addresses<'a>(way: &Way, host: &'a PostgresHost) -> Outcome<Vec<Place<'a>>> {
    match host {
        PostgresHost::Directory(directory) => Ok(vec![Place::Socket(directory)]),
        PostgresHost::Name(name) => {
            if let Ok(address) = name.parse() {
                return Ok(vec![Place::Address(address)]);
            }
            let resolver = Resolver { threads_allowed: way.rules.threads_allowed };
            let found = resolver.addresses(name).await;
            let found = found.map_err(|error| Cause::StoreUnreachable.with(chain(&error)))?;
            Ok(found.into_iter().map(Place::Address).collect())
        }
    }
}

//! Requests to DynamoDB: on the calling thread, tried again as long as they may succeed, until their time is over.
//!
//! As with KMS the loop is ours and not the SDK's: it ends at the deadline, tells why, and knows of each request whether
//! it may have been done.

use super::fault::{Kind, Outcome, Retry, Stop};
use super::schema::Item;
use crate::config::DynamoDbConfig;
use crate::error::{Cause, Error, Result};
use crate::host::gate;
use crate::host::lock::lock;
use crate::net::{self, Access, CONNECT, Cached, Driver, HostRules, Nobody, behaviour};
use crate::store::remote::{Origin, Server, pause};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long what touches all objects at once may take in all. Other calls have the token's `timeouts`.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// The longest answer: what a hundred items can be at most.
const MAX_ANSWER: usize = 17 << 20;

/// A table, and the way to it.
pub(super) struct Table {
    pub(super) config: DynamoDbConfig,
    rules: HostRules,
    origin: Origin,
    server: Server,
    driver: ManuallyDrop<Mutex<Option<Arc<Driver>>>>,
    session: ManuallyDrop<Mutex<Option<Arc<Session>>>>,
    loading: tokio::sync::Mutex<()>,
}

/// A client that is ready for requests.
struct Session {
    client: Client,
    access: Access,
}

impl Drop for Table {
    fn drop(&mut self) {
        // In a child, what there is belongs to the parent: it is forgotten, with its connections.
        if self.origin.is_here() {
            lock(&self.session).take();
            lock(&self.driver).take();
        }
    }
}

impl Table {
    pub(super) fn new(config: &DynamoDbConfig, rules: HostRules) -> Self {
        Self {
            config: config.clone(),
            rules,
            origin: Origin::new(),
            server: Server::new(),
            driver: ManuallyDrop::new(Mutex::new(None)),
            session: ManuallyDrop::new(Mutex::new(None)),
            loading: tokio::sync::Mutex::new(()),
        }
    }

    /// Runs `work` from start to end on the calling thread, for so long.
    pub(super) fn run<T, F>(&self, patience: Duration, work: impl FnOnce(Requests) -> F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        self.origin.check()?;
        self.server.call(|| self.within(patience, work)).map_err(|error| self.about(error))
    }

    fn within<T, F>(&self, patience: Duration, work: impl FnOnce(Requests) -> F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let tls = self.uses_tls();
        net::prepare(tls, tls && net::wants_native_roots(&self.config.access, self.rules))?;
        warm()?;
        let deadline = Instant::now() + patience;
        let driver = self.driver()?;
        let ready = async { timeout_at(deadline, self.session()).await };
        let session = driver.block_on(Box::pin(ready), self.rules.threads_allowed)?;
        let session = session.unwrap_or_else(|_| Err(Cause::StoreUnreachable.with("no credentials in time")))?;
        let requests = Requests {
            session,
            table: self.config.table.clone(),
            attempt: self.config.access.timeouts.attempt,
            deadline,
        };
        let done = driver.block_on(Box::pin(work(requests)), self.rules.threads_allowed)?;
        done.map_err(|stop| stop.error)
    }

    /// How long a call may take in all.
    pub(super) fn patience(&self) -> Duration {
        self.config.access.timeouts.total
    }

    fn about(&self, error: Error) -> Error {
        let error = match error.cause() {
            Cause::KmsSetup => Cause::StoreSetup.with(error.detail().to_owned()),
            _ => error,
        };
        if error.cause().device_error() == 0 { error } else { error.context(&self.config) }
    }

    fn uses_tls(&self) -> bool {
        !self.config.endpoint_url.as_ref().is_some_and(|url| url.to_ascii_lowercase().starts_with("http://"))
    }

    fn driver(&self) -> Result<Arc<Driver>> {
        let mut driver = lock(&self.driver);
        if let Some(driver) = &*driver {
            return Ok(Arc::clone(driver));
        }
        let new = Arc::new(Driver::new()?);
        *driver = Some(Arc::clone(&new));
        Ok(new)
    }

    /// The client, made at the first call, by one caller for all.
    async fn session(&self) -> Result<Arc<Session>> {
        let made = || lock(&self.session).as_ref().map(Arc::clone);
        if let Some(session) = made() {
            return Ok(session);
        }
        let _guard = self.loading.lock().await;
        if let Some(session) = made() {
            return Ok(session);
        }
        let access = net::access(&self.config.access, self.rules, MAX_ANSWER).await?;
        let mut builder = Builder::from(&access.sdk).http_client(access.service.clone());
        if let Some(url) = &self.config.endpoint_url {
            builder = builder.endpoint_url(url);
        }
        let client = client(builder, &access.credentials);
        let new = Arc::new(Session { client, access });
        *lock(&self.session) = Some(Arc::clone(&new));
        Ok(new)
    }
}

fn client(builder: Builder, credentials: &Cached) -> Client {
    let config = builder
        .behavior_version(behaviour())
        .credentials_provider(credentials.clone())
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        // The ordinary partitions are kept behind a lock of the whole process, which a fork could catch taken.
        .retry_partition(RetryPartition::custom("datakey-pkcs11-store").build())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Makes what the SDK makes once in a process where no fork can cut it in half (see `kms/warm.rs`).
fn warm() -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    static ALONE: Mutex<()> = Mutex::new(());
    if DONE.load(Ordering::Acquire) {
        return Ok(());
    }
    if gate::was_dirty() {
        return Err(Cause::ForkedWhileBusy.into());
    }
    gate::inside(|| {
        let _alone = lock(&ALONE);
        if DONE.load(Ordering::Acquire) {
            return Ok(());
        }
        let nobody = Cached::new(Credentials::new("NOBODY", "nobody", None, None, "nobody"));
        let builder = Builder::new()
            .region(Region::new("us-east-1"))
            .time_source(SystemTimeSource::new())
            .sleep_impl(TokioSleep::new())
            .http_client(Nobody);
        let client = client(builder, &nobody);
        Driver::new()?.block_on(
            async {
                // Fails, after all that comes before the network.
                drop(client.get_item().table_name("none").key("pk", super::schema::number(0)).send().await);
            },
            false,
        )?;
        DONE.store(true, Ordering::Release);
        Ok(())
    })
}

/// What one call asks DynamoDB.
#[derive(Clone)]
pub(super) struct Requests {
    session: Arc<Session>,
    pub(super) table: String,
    /// How long one request may take.
    attempt: Duration,
    deadline: Instant,
}

impl Requests {
    /// One request, tried until it is answered, cannot succeed, or would miss the deadline. With `repeat` false it is
    /// not tried again where nobody knows whether it was done.
    pub(super) async fn ask<T, E, F>(&self, what: &str, repeat: bool, send: impl Fn(Client) -> F) -> Outcome<T>
    where
        F: Future<Output = std::result::Result<T, E>> + Send,
        Stop: From<E>,
    {
        let mut attempts = 0;
        let mut renewed = false;
        loop {
            let credentials = self.session.access.credentials.ready();
            let edition = timeout_at(self.deadline, credentials)
                .await
                .unwrap_or_else(|_| Err(Cause::StoreUnreachable.with("no credentials in time")))?;
            attempts += 1;
            let limit = self.attempt.min(self.deadline.saturating_duration_since(Instant::now()));
            let stop = match timeout(limit, Box::pin(send(self.session.client.clone()))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Stop::from(error),
                Err(_) => Stop::late(limit),
            };
            let again = match stop.retry {
                Retry::Never => false,
                Retry::Once if renewed => false,
                Retry::Once => {
                    renewed = self.session.access.credentials.refuse(edition);
                    true
                }
                Retry::Soon => stop.kind == Kind::Refused || (repeat && stop.kind == Kind::Unknown),
            };
            if !again || !self.rest(attempts).await {
                let context = format!("dynamodb:{what}");
                return Err(Stop { error: stop.error.context(context), ..stop });
            }
        }
    }

    /// Waits before the attempt after `attempts`; `false` if there is no time for another.
    pub(super) async fn rest(&self, attempts: u32) -> bool {
        let rest = pause(attempts);
        if Instant::now() + rest + self.attempt / 10 >= self.deadline {
            return false;
        }
        sleep(rest).await;
        true
    }

    /// An item as it is now.
    pub(super) async fn get(&self, key: &Item) -> Outcome<Option<Item>> {
        let answer = self.ask("GetItem", true, |client| {
            let request = client.get_item().table_name(&self.table).consistent_read(true).set_key(Some(key.clone()));
            request.send()
        });
        Ok(answer.await?.item)
    }
}

//! AWS credentials, fetched before a call and kept until they are nearly old.
//!
//! They are fetched outside the attempt's deadline (the first time may mean a token from the instance's
//! metadata service and a role to assume) and by one caller for all. No thread refreshes them: the call
//! that finds them nearly expired does, and while they are still good the others do not wait for it.

use super::text::chain;
use crate::error::{Cause, Error, Result};
use crate::host::lock::lock;
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::result::ConnectorError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How long before their expiry credentials are fetched anew.
const EARLY: Duration = Duration::from_secs(300);
/// How long credentials without an expiry are believed: a rotated file is noticed after that.
const UNDATED: Duration = Duration::from_secs(900);
/// How long to go on with good credentials after a refresh that failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The credentials of one client; clones share them.
#[derive(Clone, Debug)]
pub struct Cached(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: SharedCredentialsProvider,
    held: Mutex<Option<Held>>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Held {
    credentials: Credentials,
    refresh_at: SystemTime,
    edition: Edition,
    /// Whether AWS refused them: to be fetched anew by the next call. They stay until then, for calls on
    /// their way that were told that there are some.
    refused: bool,
}

/// Which of the credentials that one client held, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition(u64);

impl Held {
    fn usable(&self, now: SystemTime) -> bool {
        !self.refused && self.credentials.expiry().is_none_or(|expiry| now < expiry)
    }
}

impl Cached {
    pub fn new(source: impl ProvideCredentials + 'static) -> Self {
        let source = SharedCredentialsProvider::new(source);
        Self(Arc::new(Inner { source, held: Mutex::new(None), fetching: tokio::sync::Mutex::new(()) }))
    }

    /// Sees to it that there are credentials which are good for the call that follows, and says which: it
    /// uses those, or newer ones.
    ///
    /// # Errors
    /// `CredentialsMissing`, `CredentialsRejected` (a role that may not be assumed), `KmsSetup`.
    pub async fn ready(&self) -> Result<Edition> {
        let guard = match self.state() {
            State::Good(edition) => return Ok(edition),
            State::Ageing(edition) => match self.0.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(edition),
            },
            State::None => self.0.fetching.lock().await,
        };
        if let State::Good(edition) = self.state() {
            return Ok(edition);
        }
        let fetched = self.0.source.provide_credentials().await;
        let now = SystemTime::now();
        let mut held = lock(&self.0.held);
        let result = match fetched {
            Ok(credentials) => {
                let refresh_at = match credentials.expiry() {
                    // Credentials that live shorter than `EARLY` are not fetched at every call.
                    Some(expiry) => expiry.checked_sub(EARLY).unwrap_or(now).max(now + PATIENCE),
                    None => now + UNDATED,
                };
                let edition = Edition(held.as_ref().map_or(0, |old| old.edition.0.wrapping_add(1)));
                *held = Some(Held { credentials, refresh_at, edition, refused: false });
                Ok(edition)
            }
            Err(error) => match held.as_mut() {
                Some(old) if old.usable(now) => {
                    old.refresh_at = now + PATIENCE;
                    Ok(old.edition)
                }
                _ => Err(missing(&error)),
            },
        };
        drop(held);
        drop(guard);
        result
    }

    /// AWS refused a call that was begun with these credentials. Whether they are the latest there are: if
    /// not, others have renewed them since, and the latest are not to be thrown away for it.
    pub fn refuse(&self, edition: Edition) -> bool {
        match lock(&self.0.held).as_mut() {
            Some(held) if held.edition == edition => {
                held.refused = true;
                true
            }
            _ => false,
        }
    }

    fn state(&self) -> State {
        let now = SystemTime::now();
        match &*lock(&self.0.held) {
            Some(held) if !held.usable(now) => State::None,
            Some(held) if held.refresh_at <= now => State::Ageing(held.edition),
            Some(held) => State::Good(held.edition),
            None => State::None,
        }
    }
}

enum State {
    Good(Edition),
    /// Still good, but to be fetched anew.
    Ageing(Edition),
    None,
}

impl ProvideCredentials for Cached {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let held = lock(&self.0.held).as_ref().map(|held| held.credentials.clone());
        future::ProvideCredentials::ready(held.ok_or_else(|| CredentialsError::not_loaded("no credentials are held")))
    }
}

fn missing(error: &CredentialsError) -> Error {
    let text = chain(error);
    // The chain of sources tells what became of each in words alone.
    let silent = text.contains("could not communicate with IMDS");
    let (cause, hint) = match (error, source_of(error)) {
        (CredentialsError::InvalidConfiguration(_), _) => (Cause::KmsSetup, ""),
        (_, Source::None) if !silent => (Cause::CredentialsMissing, ""),
        (_, Source::Silent | Source::None) => (
            Cause::CredentialsMissing,
            "; in a container the instance's metadata service may be out of reach, because its hop limit is 1",
        ),
        // A provider that was there and said no: the role cannot be assumed, the token is refused.
        (_, Source::Refusing) => (Cause::CredentialsRejected, ""),
    };
    cause.with(text + hint)
}

/// What is at the bottom of an error: also for a role that is to be assumed with the credentials of another source.
enum Source {
    /// Nobody had credentials to give.
    None,
    /// The instance's metadata service gave no token to ask with.
    Silent,
    /// Somebody had, and did not give them.
    Refusing,
}

fn source_of(error: &CredentialsError) -> Source {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut found = Source::Refusing;
    while let Some(error) = next {
        if error.is::<ImdsError>() {
            return Source::Silent;
        }
        let empty_handed = matches!(
            error.downcast_ref(),
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::ProviderTimedOut(_))
        );
        // Nobody answered there, whoever it is.
        let unanswered = error.downcast_ref().is_some_and(|error: &ConnectorError| !error.is_user());
        if empty_handed || unanswered {
            found = Source::None;
        }
        next = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Hands out credentials that expire after `lifetime` seconds, or fails after the first.
    #[derive(Debug)]
    struct Source {
        lifetime: u64,
        fetched: Arc<AtomicU32>,
    }

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if self.fetched.fetch_add(1, Ordering::SeqCst) > 0 {
                    return Err(CredentialsError::not_loaded("gone"));
                }
                let expiry = SystemTime::now() + Duration::from_secs(self.lifetime);
                Ok(Credentials::new("AKIDEXAMPLE", "secret", None, Some(expiry), "test"))
            })
        }
    }

    fn cached(lifetime: u64) -> (Cached, Arc<AtomicU32>) {
        let fetched = Arc::new(AtomicU32::new(0));
        (Cached::new(Source { lifetime, fetched: Arc::clone(&fetched) }), fetched)
    }

    fn run<F: Future>(work: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn one_caller_fetches_for_all_and_not_again() {
        let (cached, fetched) = cached(3600);
        run(async {
            let waiting: Vec<_> = (0..20)
                .map(|_| {
                    let cached = cached.clone();
                    tokio::spawn(async move { cached.ready().await })
                })
                .collect();
            for call in waiting {
                call.await.unwrap().unwrap();
            }
        });
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn good_credentials_outlive_a_refresh_that_fails_and_refused_ones_do_not() {
        let (cached, fetched) = cached(100);
        run(async {
            cached.ready().await.unwrap();
            lock(&cached.0.held).as_mut().unwrap().refresh_at = SystemTime::UNIX_EPOCH;
            cached.ready().await.unwrap();
            assert_eq!(fetched.load(Ordering::SeqCst), 2, "the refresh was tried");
            cached.ready().await.unwrap();
            assert_eq!(fetched.load(Ordering::SeqCst), 2, "and not tried again at once");
            let edition = cached.ready().await.unwrap();
            assert!(cached.refuse(edition));
            assert_eq!(cached.ready().await.unwrap_err().cause(), Cause::CredentialsMissing);
        });
    }

    /// As many as are asked for.
    #[derive(Debug)]
    struct Fountain(Arc<AtomicU32>);

    impl ProvideCredentials for Fountain {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let name = format!("AKID{number}");
            future::ProvideCredentials::ready(Ok(Credentials::new(name, "secret", None, None, "test")))
        }
    }

    #[test]
    fn refused_credentials_are_renewed_once_for_all_who_used_them() {
        let fetched = Arc::new(AtomicU32::new(0));
        let cached = Cached::new(Fountain(Arc::clone(&fetched)));
        let held = async || cached.provide_credentials().await.map(|held| held.access_key_id().to_owned());
        run(async {
            let first = cached.ready().await.unwrap();
            assert_eq!(cached.ready().await.unwrap(), first);
            assert!(cached.refuse(first));
            // A call that was told that there are credentials finds some.
            assert_eq!(held().await.unwrap(), "AKID0");
            let second = cached.ready().await.unwrap();
            assert_ne!(first, second);
            assert_eq!(held().await.unwrap(), "AKID1");
            // The refusal of another call that was begun with the first says nothing of the second.
            assert!(!cached.refuse(first));
            assert_eq!(cached.ready().await.unwrap(), second);
            assert_eq!(fetched.load(Ordering::SeqCst), 2);
        });
    }
}

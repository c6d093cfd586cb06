//! What a token can do: PINs, create, generate, find, use a private key.
#![forbid(unsafe_code)]

mod generate;
mod objects;
mod pins;
mod private;

pub use pins::{PIN_LEN, PinFlags, User};

use crate::config::{LoginMode, TokenConfig};
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::kms::{HostRules, Kms};
use crate::store::{self, Store, TokenRecord};
use crate::unwrap::Cache;
use once_cell::sync::OnceCell;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The key that encrypts every sealed key of a token once more; see `pins.rs`.
pub struct TokenKey(Secret);

/// One token. Making it touches neither store nor network.
pub struct Token {
    config: TokenConfig,
    store: OnceCell<Box<dyn Store>>,
    kms: Kms,
    cache: Cache,
    key: RwLock<Option<Arc<TokenKey>>>,
    unseal: std::sync::Mutex<()>,
    seen: RwLock<Option<(Instant, Option<Arc<TokenRecord>>)>>,
}

/// How long the token's own record may be believed before it is read again: what other processes
/// change in it (label, PIN counters) is shown to people, and decisions about PINs read it afresh.
const RECORD_LIFE: Duration = Duration::from_secs(1);

impl Token {
    /// The token of a configuration.
    pub fn new(config: TokenConfig, rules: HostRules) -> Self {
        let kms = Kms::new(&config.kms, rules);
        let cache = Cache::new(config.cache, rules.threads_allowed);
        Self {
            config,
            store: OnceCell::new(),
            kms,
            cache,
            key: RwLock::new(None),
            unseal: std::sync::Mutex::new(()),
            seen: RwLock::new(None),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Its KMS client.
    pub fn kms(&self) -> &Kms {
        &self.kms
    }

    fn store(&self) -> Result<&dyn Store> {
        self.store.get_or_try_init(|| store::open(&self.config.store)).map(Box::as_ref)
    }

    /// Whether nothing can be written to it.
    pub fn is_read_only(&self) -> bool {
        self.store().is_ok_and(|store| store.read_only())
    }

    /// The token's own record, at most a second old; `None` before `C_InitToken`.
    pub fn record(&self) -> Result<Option<Arc<TokenRecord>>> {
        if let Some((at, record)) = &*self.seen.read().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < RECORD_LIFE
        {
            return Ok(record.clone());
        }
        self.fresh_record()
    }

    /// The token's own record as it is now.
    fn fresh_record(&self) -> Result<Option<Arc<TokenRecord>>> {
        let record = self.store()?.token()?.map(Arc::new);
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), record.clone()));
        Ok(record)
    }

    /// The record of an initialised token; `TokenNotRecognized` before `C_InitToken`.
    pub fn initialised(&self) -> Result<Arc<TokenRecord>> {
        self.record()?.ok_or_else(|| Cause::TokenNotRecognized.into())
    }

    /// Whether private objects need a login.
    pub fn login_required(&self) -> Result<bool> {
        Ok(self.initialised()?.login == LoginMode::Pin)
    }

    /// Wipes the keys that are too old, where the host forbids the thread that would do it in time.
    pub fn wipe_expired(&self) {
        self.cache.wipe_expired();
    }

    /// Wipes every secret that a login or a use brought into memory.
    pub fn forget_secrets(&self) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.cache.clear();
        // Buffers of idle connections may hold an answer with a plaintext key in it.
        self.kms.forget_connections();
    }
}

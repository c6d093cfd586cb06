//! What a token can do: PINs, create, generate, find, use a private key.
#![forbid(unsafe_code)]

mod counter;
mod found;
mod generate;
mod import;
mod key;
mod objects;
mod outage;
mod parts;
mod pins;
mod rewrap;
mod seal;
mod token_key;
mod vouch;

pub use counter::counted;
pub use objects::{Made, secret_parts};
pub use outage::Told;
pub use pins::{PIN_LEN, PinFlags, User};
pub use token_key::TokenKey;

use crate::config::{LoginMode, TokenConfig};
use crate::counters::Subject;
use crate::error::{Cause, Result};
use crate::host::lock::{read, write};
use crate::kms::{HostRules, Ring};
use crate::store::{self, Store, TokenRecord};
use crate::unwrap::{Cache, Flights};
use once_cell::sync::OnceCell;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

/// One token. Making it touches neither store nor network.
pub struct Token {
    config: TokenConfig,
    rules: HostRules,
    store: OnceCell<Box<dyn Store>>,
    kms: Ring,
    cache: Cache,
    found: found::Found,
    key: RwLock<Option<Arc<TokenKey>>>,
    unseal: Flights<String, Arc<TokenKey>>,
    /// PINs are tried one at a time, so that no two tries see the same count.
    trying: Mutex<()>,
    turns: counter::Turns,
    seen: RwLock<Option<(Instant, Option<Arc<TokenRecord>>)>>,
    outage: outage::Outage,
}

/// How often a change by compare-and-swap is tried again when another process was faster.
const TRIES: u32 = 50;

impl Token {
    /// The token of a configuration.
    pub fn new(config: TokenConfig, rules: HostRules) -> Self {
        let kms = Ring::new(&config.kms, rules);
        let cache = Cache::new(config.cache, rules.threads_allowed, Arc::clone(kms.counters()));
        Self {
            config,
            rules,
            store: OnceCell::new(),
            kms,
            cache,
            found: found::Found::default(),
            key: RwLock::new(None),
            unseal: Flights::new(),
            trying: Mutex::new(()),
            turns: counter::Turns::default(),
            seen: RwLock::new(None),
            outage: outage::Outage::default(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// The clients of its KMS keys.
    pub fn kms(&self) -> &Ring {
        &self.kms
    }

    /// What it has done, and how many unwrapped keys it holds.
    pub fn subject(&self) -> Subject<'_> {
        Subject { token: &self.config.label, counters: self.kms.counters(), keys: self.cache.count() }
    }

    fn store(&self) -> Result<&dyn Store> {
        self.store.get_or_try_init(|| store::open_in(&self.config.store, self.rules)).map(Box::as_ref)
    }

    /// Whether nothing can be written to it.
    pub fn is_read_only(&self) -> bool {
        self.store().is_ok_and(|store| store.read_only())
    }

    /// Looks through the whole store for damage; answers the number of objects ([`Store::check`]).
    pub fn check_store(&self) -> Result<u64> {
        self.store()?.check()
    }

    /// How long an object of the token may be used as it was read, and the token's own record be believed, before it is
    /// read again. Another process's change is noticed after this time; its own are at once, and decisions about PINs
    /// read the record afresh. It counts from before the reading: what an answer says that was long on its way is as
    /// old as the question.
    pub fn max_object_age(&self) -> Duration {
        self.config.cache.max_object_age
    }

    /// The token's own record, at most [`max_object_age`](Self::max_object_age) old; `None` before `C_InitToken`.
    pub fn record(&self) -> Result<Option<Arc<TokenRecord>>> {
        match self.seen() {
            Some((at, record)) if at.elapsed() < self.max_object_age() => Ok(record),
            _ => self.fresh_record(),
        }
    }

    /// The record that was read last, and when.
    fn seen(&self) -> Option<(Instant, Option<Arc<TokenRecord>>)> {
        read(&self.seen).clone()
    }

    /// The token's own record as it is now.
    fn fresh_record(&self) -> Result<Option<Arc<TokenRecord>>> {
        self.fresh_record_within(None)
    }

    /// The same, with less patience than the store's own.
    fn fresh_record_within(&self, patience: Option<Duration>) -> Result<Option<Arc<TokenRecord>>> {
        let since = Instant::now();
        let record = self.store()?.token_within(patience)?.map(Arc::new);
        record.as_ref().map_or(Ok(()), |record| self.check_login_mode(record))?;
        self.note(since, record.clone());
        Ok(record)
    }

    /// The record itself is not sealed. Who can write it must not be able to turn a token with PINs into one whose token
    /// key he made himself.
    fn check_login_mode(&self, record: &TokenRecord) -> Result<()> {
        if self.config.login == LoginMode::Pin && record.login == LoginMode::None {
            return Err(Cause::SealBroken
                .with("the token says that it has no PINs, the configuration says login = \"pin\" (the default)"));
        }
        Ok(())
    }

    /// Keeps the record as it was after `since`, unless a newer one is kept.
    fn note(&self, since: Instant, record: Option<Arc<TokenRecord>>) {
        let mut seen = write(&self.seen);
        let is_newer = match (&*seen, &record) {
            (Some((at, Some(present))), Some(new)) if present.serial == new.serial => {
                (present.version, *at) > (new.version, since)
            }
            (Some((at, _)), _) => *at > since,
            (None, _) => false,
        };
        if !is_newer {
            *seen = Some((since, record));
        }
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
        self.hold_key(None);
        self.forget_keys();
    }

    /// Wipes the unwrapped keys, and what they may have left in buffers.
    pub fn forget_keys(&self) {
        self.cache.clear();
        // Buffers of idle connections may hold an answer with a plaintext key in it.
        self.kms.forget_connections();
    }
}

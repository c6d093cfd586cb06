//! Unwrapped keys, for as long and as often as the configuration says.
//!
//! Age counts from the unwrap and not from the last use, so that it bounds how long a key outlives a
//! revocation in KMS. Where the host allows threads, a thread that lives only while there are keys
//! wipes each at its time even if nobody calls; elsewhere the next call does it.
//!
//! Beyond that age a key is used only while KMS does not answer, and only if the configuration says so
//! (`outage.rs`).

mod outage;

use super::flight::Flights;
use crate::counters::{Count, Counters};
use crate::crypto::Key;
use crate::error::{Cause, Error, Result};
use crate::host::lock::{lock, read, write};
use crate::host::signals;
use crate::store::ObjectId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// What tells one state of an object from the next: a digest of all that its unwrap depends on.
pub type Tag = [u8; 32];

/// How long and how often a key may be used after one unwrap.
pub use crate::config::CacheConfig as Rules;

/// The unwrapped keys of one token.
pub struct Cache {
    shared: Arc<Shared>,
    threads_allowed: bool,
}

struct Shared {
    rules: Rules,
    counters: Arc<Counters>,
    entries: RwLock<HashMap<ObjectId, Arc<Entry>>>,
    flights: Flights<(ObjectId, Tag), Arc<Entry>>,
    /// Moves when all keys are dropped, so that an unwrap under way does not bring one back.
    epoch: AtomicU64,
    born: Instant,
    /// When the first key will be too old, in milliseconds since `born`; for hosts without threads.
    due: AtomicU64,
    sweeper: Mutex<bool>,
    /// The same as `sweeper` says, for those who only want to know whether to sweep themselves.
    swept_by_thread: AtomicBool,
    wake: Condvar,
}

struct Entry {
    key: Arc<Key>,
    request_id: Option<String>,
    tag: Tag,
    unwrapped: Instant,
    /// So long after its unwrap it is renewed by who uses it.
    renewed_after: Duration,
    uses: AtomicU64,
    last_use: AtomicU64,
    refreshing: AtomicBool,
    stale: outage::Stale,
}

/// What an unwrap gives.
pub struct Opened {
    /// The key.
    pub key: Key,
    /// The id that KMS gave the request, for the audit.
    pub request_id: Option<String>,
}

/// A key for one use, and where it came from.
pub struct Use {
    /// The key.
    pub key: Arc<Key>,
    /// Whether it took no unwrap.
    pub cached: bool,
    /// The id of the request that opened it.
    pub request_id: Option<String>,
}

/// A moment in a cache's life: a key that was asked for before keys were dropped is not kept after.
#[derive(Clone, Copy)]
pub struct Epoch(u64);

impl Entry {
    fn used(&self, cached: bool) -> Use {
        Use { key: Arc::clone(&self.key), cached, request_id: self.request_id.clone() }
    }
}

impl Cache {
    /// A cache without keys. `threads_allowed` is whether the host lets the module make threads.
    pub fn new(rules: Rules, threads_allowed: bool, counters: Arc<Counters>) -> Self {
        let shared = Shared {
            rules,
            counters,
            entries: RwLock::new(HashMap::new()),
            flights: Flights::new(),
            epoch: AtomicU64::new(0),
            born: Instant::now(),
            due: AtomicU64::new(u64::MAX),
            sweeper: Mutex::new(false),
            swept_by_thread: AtomicBool::new(false),
            wake: Condvar::new(),
        };
        Self { shared: Arc::new(shared), threads_allowed }
    }

    /// The key of the object as `tag` knows it, from the cache or by `unwrap`; counts as one use.
    pub fn key(&self, id: ObjectId, tag: Tag, unwrap: impl Fn() -> Result<Opened>) -> Result<Use> {
        if self.shared.rules.max_age.is_zero() {
            return self.unkept(unwrap);
        }
        self.shared.counted(self.kept(id, tag, unwrap))
    }

    /// A key for one use, which is never kept.
    pub fn unkept(&self, unwrap: impl FnOnce() -> Result<Opened>) -> Result<Use> {
        self.shared.counted(unwrap().map(Use::from))
    }

    fn kept(&self, id: ObjectId, tag: Tag, unwrap: impl Fn() -> Result<Opened>) -> Result<Use> {
        self.wipe_expired();
        if let Some(entry) = self.shared.usable(id, tag) {
            return self.refreshed(id, entry, unwrap);
        }
        if let Some(stale) = self.shared.use_while_unanswered(id, tag) {
            return Ok(stale);
        }
        // A crowd may use up an entry between its making and this caller's turn; then it starts anew.
        loop {
            let mut cached = true;
            let (result, asked) = self.shared.flights.run((id, tag), || {
                // Since this caller looked, another one's unwrap may have come and gone.
                if let Some(entry) = self.shared.present(id, tag) {
                    return Ok(entry);
                }
                cached = false;
                self.insert(id, tag, self.epoch(), &unwrap)
            });
            let entry = match result {
                Ok(entry) => entry,
                Err(error) => return self.shared.use_after(id, tag, error, asked),
            };
            if self.shared.take_use(id, &entry) {
                return Ok(entry.used(cached));
            }
        }
    }

    /// Uses a cached key, and unwraps it anew first if it is nearly old: one caller does, the others go
    /// on with the old one. A denial ends the old one at once; an outage lets it live to its end.
    fn refreshed(&self, id: ObjectId, entry: Arc<Entry>, unwrap: impl Fn() -> Result<Opened>) -> Result<Use> {
        let hit = entry.used(true);
        let nearly_old = entry.unwrapped.elapsed() >= entry.renewed_after;
        if !nearly_old || entry.refreshing.swap(true, Ordering::AcqRel) {
            return Ok(hit);
        }
        match self.insert(id, entry.tag, self.epoch(), &unwrap) {
            Ok(fresh) => {
                self.shared.take_use(id, &fresh);
                Ok(fresh.used(false))
            }
            Err(error) if is_denial(&error) => Err(error),
            Err(error) => {
                entry.stale.learn(&error);
                tracing::warn!(object = %id, device_error = error.cause().device_error(), "a key could not be refreshed and is used until it is too old: {error}");
                Ok(hit)
            }
        }
    }

    /// Keeps the key of an object that was just made, whose plaintext came with it; `epoch` is when it
    /// was asked for.
    pub fn put(&self, id: ObjectId, tag: Tag, opened: Opened, epoch: Epoch) {
        if !self.shared.rules.max_age.is_zero() {
            // A fresh key cannot be refused, so there is nothing to report.
            let _ = self.insert(id, tag, epoch, || Ok(opened));
        }
    }

    /// Now.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.shared.epoch.load(Ordering::Acquire))
    }

    fn insert(
        &self,
        id: ObjectId,
        tag: Tag,
        epoch: Epoch,
        unwrap: impl FnOnce() -> Result<Opened>,
    ) -> Result<Arc<Entry>> {
        let opened = unwrap().inspect_err(|error| {
            if is_denial(error) {
                self.remove(id);
            }
        })?;
        let entry = Arc::new(Entry {
            key: Arc::new(opened.key),
            request_id: opened.request_id,
            tag,
            unwrapped: Instant::now(),
            renewed_after: self.shared.rules.max_age.mul_f32(renewal()),
            uses: AtomicU64::new(0),
            last_use: AtomicU64::new(self.shared.now()),
            refreshing: AtomicBool::new(false),
            stale: outage::Stale::default(),
        });
        {
            let mut entries = self.shared.write();
            if self.epoch().0 != epoch.0 {
                return Ok(entry);
            }
            entries.insert(id, Arc::clone(&entry));
            let end = self.shared.now() + self.shared.life().as_millis() as u64;
            self.shared.due.fetch_min(end, Ordering::Relaxed);
            while entries.len() > self.shared.rules.max_keys {
                // Not the new one, though others may have been used in the same millisecond.
                let others = entries.iter().filter(|(other, _)| **other != id);
                let oldest = others.min_by_key(|(_, entry)| entry.last_use.load(Ordering::Relaxed));
                let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
                entries.remove(&oldest);
                self.shared.counters.add(Count::Evictions);
            }
        }
        if self.threads_allowed {
            Shared::watch(&self.shared);
        }
        Ok(entry)
    }

    /// Drops what is too old, where no thread does it. Cheap while nothing is.
    pub fn wipe_expired(&self) {
        if self.shared.swept_by_thread.load(Ordering::Relaxed) {
            return;
        }
        let due = self.shared.due.load(Ordering::Relaxed);
        if due != u64::MAX && self.shared.now() >= due {
            self.shared.sweep(Instant::now());
        }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.shared.read().len()
    }

    /// Drops one key, also if it is being unwrapped now.
    pub fn remove(&self, id: ObjectId) {
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
        self.shared.write().remove(&id);
    }

    /// Drops every key, also those that are being unwrapped now.
    pub fn clear(&self) {
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
        let dropped = std::mem::take(&mut *self.shared.write());
        drop(dropped);
        let _sweeper = lock(&self.shared.sweeper);
        self.shared.wake.notify_all();
    }
}

impl From<Opened> for Use {
    fn from(opened: Opened) -> Self {
        Self { key: Arc::new(opened.key), cached: false, request_id: opened.request_id }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The part of its age after which a key is renewed. No two are alike: a fleet that opened its keys at the same moment
/// does not ask KMS for all of them at the same moment for ever after.
fn renewal() -> f32 {
    const LEAST: f32 = 0.75;
    const MOST: f32 = 0.9;
    let fraction = getrandom::u32().map_or(1.0, |number| number as f32 / u32::MAX as f32);
    LEAST + (MOST - LEAST) * fraction
}

/// Whether KMS said no, or the key is not what it was: nothing may be used after that.
fn is_denial(error: &Error) -> bool {
    matches!(
        error.cause(),
        Cause::KmsAccessDenied
            | Cause::KmsKeyDisabled
            | Cause::KmsKeyInvalidState
            | Cause::KmsKeyNotFound
            | Cause::KmsInvalidKeyUsage
            | Cause::SealBroken
            | Cause::SealWrongKey
            | Cause::SealKeyMismatch
            | Cause::SealKeyMalformed
            | Cause::SealTokenKey
            | Cause::RecordCorrupt
    )
}

impl Shared {
    /// Milliseconds since this cache was made.
    fn now(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    fn counted(&self, used: Result<Use>) -> Result<Use> {
        self.counters.add(match &used {
            Ok(used) if used.cached => Count::CacheHits,
            Ok(_) => Count::Unwraps,
            Err(_) => Count::UnwrapFailures,
        });
        used
    }

    /// The entry of a key that is neither too old nor used up.
    fn present(&self, id: ObjectId, tag: Tag) -> Option<Arc<Entry>> {
        let entry = Arc::clone(self.read().get(&id)?);
        (entry.tag == tag && entry.unwrapped.elapsed() < self.rules.max_age).then_some(entry)
    }

    /// The same, counted as used.
    fn usable(&self, id: ObjectId, tag: Tag) -> Option<Arc<Entry>> {
        self.present(id, tag).filter(|entry| self.take_use(id, entry))
    }

    /// Counts a use, before it happens; false if there are none left. With its last use a key is dropped.
    fn take_use(&self, id: ObjectId, entry: &Arc<Entry>) -> bool {
        entry.last_use.store(self.now(), Ordering::Relaxed);
        let before = entry.uses.fetch_add(1, Ordering::Relaxed);
        if before + 1 == self.rules.max_uses {
            self.drop_entry(id, entry);
        }
        before < self.rules.max_uses
    }

    /// Drops this entry, unless another has taken its place.
    fn drop_entry(&self, id: ObjectId, entry: &Arc<Entry>) {
        let mut entries = self.write();
        if entries.get(&id).is_some_and(|present| Arc::ptr_eq(present, entry)) {
            entries.remove(&id);
        }
    }

    /// How long a key is kept after its unwrap.
    fn life(&self) -> Duration {
        self.rules.max_age.saturating_add(self.rules.max_stale)
    }

    /// Drops what is too old, and tells when the next key will be.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let end = |entry: &Entry| entry.unwrapped + self.life();
        let mut entries = self.write();
        entries.retain(|_, entry| end(entry) > now);
        let next = entries.values().map(|entry| end(entry)).min();
        let due = next.map_or(u64::MAX, |next| next.saturating_duration_since(self.born).as_millis() as u64);
        self.due.store(due, Ordering::Relaxed);
        next
    }

    /// Makes sure that somebody wipes the keys at their time.
    fn watch(this: &Arc<Self>) {
        let mut running = lock(&this.sweeper);
        if *running {
            return;
        }
        let shared = Arc::clone(this);
        // Without the thread (RLIMIT_NPROC, say) the next call wipes what is too old.
        *running = signals::spawn_quiet("datakey-wipe", move || shared.keep_sweeping()).is_ok();
        this.swept_by_thread.store(*running, Ordering::Relaxed);
    }

    fn keep_sweeping(&self) {
        let mut running = lock(&self.sweeper);
        // Keys only ever get later ends, so a new one needs no waking; the lock is held while looking,
        // so that a key added at that moment finds this thread alive or starts another.
        while let Some(next) = self.sweep(Instant::now()) {
            let wait = next.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            running = self.wake.wait_timeout(running, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        *running = false;
        self.swept_by_thread.store(false, Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<ObjectId, Arc<Entry>>> {
        read(&self.entries)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ObjectId, Arc<Entry>>> {
        write(&self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SecretKey;
    use std::sync::Barrier;
    use std::thread;

    /// Also if the scheduler stops one of them between its look at the cache and its unwrap.
    #[test]
    fn of_many_callers_one_unwraps() {
        const KEYS: u64 = 2000;
        let rules = Rules { max_age: Duration::from_secs(60), max_uses: u64::MAX, max_keys: 10, ..Rules::default() };
        let (cache, unwraps, start) = (Cache::new(rules, false, Arc::default()), AtomicU64::new(0), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..KEYS {
                        let id = ObjectId::from_bytes(u128::from(number).to_be_bytes());
                        start.wait();
                        let used = cache.key(id, [0; 32], || {
                            unwraps.fetch_add(1, Ordering::Relaxed);
                            Ok(Opened { key: Key::Secret(SecretKey::new(&[7; 16])?), request_id: None })
                        });
                        assert!(used.is_ok());
                    }
                });
            }
        });
        assert_eq!(unwraps.into_inner(), KEYS);
    }

    #[test]
    fn keys_that_were_opened_together_are_renewed_one_after_the_other() {
        let mut all: Vec<f32> = (0..1000).map(|_| renewal()).collect();
        all.sort_by(f32::total_cmp);
        assert!(all[0] >= 0.75 && all[999] <= 0.9, "{} {}", all[0], all[999]);
        // In no tenth of the time are more than a fifth of them.
        assert!(all.windows(200).all(|some| some[199] - some[0] > 0.015), "{all:?}");
    }
}

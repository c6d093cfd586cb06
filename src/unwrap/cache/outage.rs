//! Keys beyond their age, while KMS does not answer.
//!
//! Only where `max_stale` says so, and for so long at most. A key is not used like that before KMS was asked in vain,
//! and never after anything else than silence: not after a denial, not where the seal does not hold, not where
//! credentials were refused. One caller at a time asks again, the others do not wait for it.

use super::{Entry, Shared, Tag, Use};
use crate::counters::Count;
use crate::error::{Cause, Error, Result};
use crate::store::ObjectId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many milliseconds after KMS was asked in vain it is asked again.
const PAUSE: u64 = 2000;
/// KMS said something that ends stale use of the key.
const BARRED: u64 = u64::MAX;

/// When to ask KMS again for a key that is too old, in milliseconds of the cache's life. 0: it was not asked in vain.
#[derive(Default)]
pub(super) struct Stale(AtomicU64);

/// Whether KMS did not decide: nobody answered, or not on the matter.
fn is_outage(error: &Error) -> bool {
    matches!(
        error.cause(),
        Cause::KmsTimeout
            | Cause::KmsUnreachable
            | Cause::KmsNotTried
            | Cause::KmsThrottled
            | Cause::KmsInternal
            | Cause::KmsKeyUnavailable
    )
}

impl Stale {
    /// A refresh failed while the key was still young enough: whether it may be used later, when it is not.
    pub(super) fn learn(&self, error: &Error) {
        if !is_outage(error) {
            self.0.store(BARRED, Ordering::Relaxed);
        }
    }

    /// Whether KMS was asked in vain just now. For one caller after each pause it was not: he asks.
    fn holds(&self, now: u64) -> bool {
        let again = self.0.load(Ordering::Relaxed);
        let next = now.saturating_add(PAUSE);
        match again {
            0 | BARRED => false,
            _ if now < again => true,
            _ => self.0.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed).is_err(),
        }
    }
}

impl Shared {
    /// A key that is too old, while KMS is known not to answer; `None` where it is to be asked.
    pub(super) fn use_while_unanswered(&self, id: ObjectId, tag: Tag) -> Option<Use> {
        let entry = self.stale(id, tag)?;
        (entry.stale.holds(self.now()) && self.take_use(id, &entry)).then(|| self.used_on(&entry))
    }

    /// A key that is too old, after KMS was asked for it and failed with `error`; that error, where the key is not to
    /// be used. `first` is whether this caller asked, and not another for it.
    pub(super) fn use_after(&self, id: ObjectId, tag: Tag, error: Error, first: bool) -> Result<Use> {
        let Some(entry) = self.stale(id, tag) else { return Err(error) };
        if !is_outage(&error) {
            self.drop_entry(id, &entry);
            return Err(error);
        }
        entry.stale.0.fetch_max(self.now().saturating_add(PAUSE), Ordering::Relaxed);
        if entry.stale.0.load(Ordering::Relaxed) == BARRED || !self.take_use(id, &entry) {
            return Err(error);
        }
        if first {
            let (age, number) = (entry.unwrapped.elapsed().as_secs(), error.cause().device_error());
            tracing::warn!(object = %id, device_error = format_args!("{number:#x}"), "a key that KMS opened {age} s ago is used on (max_stale): {error}");
        }
        Ok(self.used_on(&entry))
    }

    fn used_on(&self, entry: &Entry) -> Use {
        self.counters.add(Count::StaleUses);
        entry.used(true)
    }

    /// The key of an object where it is too old and may still be of use.
    fn stale(&self, id: ObjectId, tag: Tag) -> Option<Arc<Entry>> {
        if self.rules.max_stale.is_zero() {
            return None;
        }
        let entry = Arc::clone(self.read().get(&id)?);
        let age = entry.unwrapped.elapsed();
        (entry.tag == tag && age >= self.rules.max_age && age < self.life()).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cache, Opened, Rules};
    use super::*;
    use crate::crypto::{Key, SecretKey};
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    const AGE: Duration = Duration::from_millis(50);
    const HOUR: Duration = Duration::from_secs(3600);
    const TAG: Tag = [7; 32];

    fn opened() -> Opened {
        Opened { key: Key::Secret(SecretKey::new(&[1; 32]).unwrap()), request_id: None }
    }

    /// A cache with one key in it that is too old.
    fn with_old_key(max_stale: Duration) -> (Cache, ObjectId) {
        let cache = Cache::new(Rules { max_age: AGE, max_stale, ..Rules::default() }, false, Arc::default());
        let id = ObjectId::from_bytes([3; 16]);
        cache.put(id, TAG, opened(), cache.epoch());
        std::thread::sleep(AGE);
        (cache, id)
    }

    fn ask(cache: &Cache, id: ObjectId, cause: Cause) -> std::result::Result<bool, Cause> {
        cache.key(id, TAG, || Err(cause.into())).map(|used| used.cached).map_err(|error| error.cause())
    }

    #[test]
    fn silence_lets_an_old_key_live_and_everything_else_ends_it() {
        for cause in Cause::ALL {
            let (cache, id) = with_old_key(HOUR);
            if is_outage(&(*cause).into()) {
                assert_eq!(ask(&cache, id, *cause), Ok(true), "{cause:?}");
            } else {
                assert_eq!(ask(&cache, id, *cause), Err(*cause));
                assert_eq!(ask(&cache, id, Cause::KmsUnreachable), Err(Cause::KmsUnreachable), "after {cause:?}");
            }
        }
    }

    #[test]
    fn no_key_is_used_too_old_unless_the_configuration_says_so_nor_for_longer() {
        for max_stale in [Duration::ZERO, AGE] {
            let (cache, id) = with_old_key(max_stale);
            std::thread::sleep(max_stale);
            assert_eq!(ask(&cache, id, Cause::KmsTimeout), Err(Cause::KmsTimeout), "{max_stale:?}");
        }
    }

    #[test]
    fn another_state_of_the_object_is_another_key() {
        let (cache, id) = with_old_key(HOUR);
        assert_eq!(ask(&cache, id, Cause::KmsTimeout), Ok(true));
        let other = cache.key(id, [8; 32], || Err(Cause::KmsTimeout.into()));
        assert_eq!(other.err().map(|error| error.cause()), Some(Cause::KmsTimeout));
    }

    #[test]
    fn in_an_outage_few_ask_and_the_first_answer_counts() {
        let (cache, id) = with_old_key(HOUR);
        let asked = AtomicU32::new(0);
        let silence = || {
            asked.fetch_add(1, Ordering::SeqCst);
            Err(Cause::KmsUnreachable.into())
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| assert!(cache.key(id, TAG, silence).unwrap().cached)));
            }
        });
        assert!(asked.load(Ordering::SeqCst) < 40, "{asked:?} of 400");
        // Whoever asks next hears no.
        let entry = Arc::clone(cache.shared.read().get(&id).unwrap());
        entry.stale.0.store(1, Ordering::Relaxed);
        assert_eq!(ask(&cache, id, Cause::KmsAccessDenied), Err(Cause::KmsAccessDenied));
        assert_eq!(ask(&cache, id, Cause::KmsUnreachable), Err(Cause::KmsUnreachable));
        assert!(!cache.key(id, TAG, || Ok(opened())).unwrap().cached);
    }

    #[test]
    fn a_refresh_that_was_refused_bars_later_use() {
        let (cache, id) = with_old_key(HOUR);
        let entry = Arc::clone(cache.shared.read().get(&id).unwrap());
        entry.stale.learn(&Cause::KmsTimeout.into());
        assert_eq!(ask(&cache, id, Cause::KmsTimeout), Ok(true));
        entry.stale.learn(&Cause::CredentialsRejected.into());
        assert_eq!(ask(&cache, id, Cause::KmsTimeout), Err(Cause::KmsTimeout));
    }

    #[test]
    fn after_each_pause_one_caller_asks() {
        let stale = Stale::default();
        assert!(!stale.holds(10), "nobody asked yet");
        stale.0.store(1000, Ordering::Relaxed);
        assert!(stale.holds(999));
        assert!(!stale.holds(1000));
        assert!(stale.holds(1000) && stale.holds(1000 + PAUSE - 1));
        assert!(!stale.holds(1000 + PAUSE));
    }
}

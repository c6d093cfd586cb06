//! A store that does not answer, and the keys that go on without it.
//!
//! What was read before is believed for as long as an unwrapped key is kept (`max_age`), by those who use a key and by
//! nobody else: what is read, found or changed is the store's to say. Meanwhile the store is asked by one caller at a
//! time, after pauses that grow, and with less patience than where there is nothing to fall back on.

use super::Token;
use crate::error::{Cause, Error, Result};
use crate::host::lock::lock;
use crate::store::{ObjectId, ObjectRecord, TokenRecord};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long who has something to fall back on waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before the store is asked again, which doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So long after its return a store is noticed at the latest, if somebody calls.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the store says of something that was read before.
pub enum Told<T> {
    /// It is this now.
    Now(T),
    /// Nothing: it goes on as it was.
    Nothing,
}

/// Whether the store is believed to answer.
#[derive(Default)]
pub(super) struct Outage(Mutex<Option<State>>);

struct State {
    pause: Duration,
    again: Instant,
    asking: bool,
}

/// Whether an error says that nobody answered. Who answers that access is denied, or that the store is damaged, does.
fn is_silence(error: &Error) -> bool {
    matches!(
        error.cause(),
        Cause::StoreUnavailable | Cause::StoreBusy | Cause::StoreUnreachable | Cause::StoreThrottled
    )
}

impl Outage {
    /// Whether the caller is to ask the store.
    fn may_ask(&self, now: Instant) -> bool {
        match &mut *lock(&self.0) {
            None => true,
            Some(state) if state.asking || now < state.again => false,
            Some(state) => {
                state.asking = true;
                true
            }
        }
    }

    /// Notes that it did not answer; whether that is new.
    fn begins(&self, now: Instant) -> bool {
        let mut state = lock(&self.0);
        let is_new = state.is_none();
        let pause = state.as_ref().map_or(FIRST_PAUSE, |state| (state.pause * 2).min(LONGEST_PAUSE));
        *state = Some(State { pause, again: now + pause, asking: false });
        is_new
    }

    /// Notes that it answered; whether that is new.
    fn ends(&self) -> bool {
        lock(&self.0).take().is_some()
    }
}

impl Token {
    /// Asks the store for something that was read `since`, if ever.
    fn ask<T>(&self, since: Option<Instant>, ask: impl FnOnce(Option<Duration>) -> Result<T>) -> Result<Told<T>> {
        let most = self.config.cache.max_age;
        let Some(since) = since.filter(|since| since.elapsed() < most) else { return ask(None).map(Told::Now) };
        if !self.outage.may_ask(Instant::now()) {
            return Ok(Told::Nothing);
        }
        match ask(Some(PATIENCE)) {
            Err(error) if is_silence(&error) => {
                if self.outage.begins(Instant::now()) {
                    let left = most.saturating_sub(since.elapsed()).as_secs();
                    tracing::warn!(
                        "the store does not answer: keys that were read before are used as they were then, \
                         for max_age after that ({left} s for this one): {error}"
                    );
                }
                Ok(Told::Nothing)
            }
            answer => {
                if self.outage.ends() {
                    tracing::warn!("the store answers again");
                }
                answer.map(Told::Now)
            }
        }
    }

    /// An object on the token that is to be used as a key and was read `since`, if ever: as it was at most `oldest`
    /// ago, and when that was; nothing of it if it is gone.
    pub fn get_for_use(
        &self,
        id: &ObjectId,
        since: Option<Instant>,
        oldest: Duration,
    ) -> Result<Told<Option<(Instant, ObjectRecord)>>> {
        if let Some(found) = self.found_within(id, oldest) {
            return Ok(Told::Now(Some(found)));
        }
        let at = Instant::now();
        Ok(match self.ask(since, |patience| self.get_within(id, patience))? {
            Told::Now(object) => Told::Now(object.map(|object| (at, object))),
            Told::Nothing => Told::Nothing,
        })
    }

    /// The record of an initialised token, for who is about to use it; `TokenNotRecognized` before `C_InitToken`.
    pub fn initialised(&self) -> Result<Arc<TokenRecord>> {
        let known = self.seen();
        let record = match known {
            Some((at, record)) if at.elapsed() < self.max_object_age() => record,
            Some((at, Some(record))) => match self.ask(Some(at), |patience| self.fresh_record_within(patience))? {
                Told::Now(now) => now,
                Told::Nothing => Some(record),
            },
            _ => self.fresh_record()?,
        };
        record.ok_or_else(|| Cause::TokenNotRecognized.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_asks_after_pauses_that_grow() {
        let outage = Outage::default();
        let begin = Instant::now();
        assert!(outage.may_ask(begin) && outage.may_ask(begin));
        assert!(outage.begins(begin));
        let mut at = begin;
        for seconds in [1, 2, 4, 8, 15, 15] {
            let pause = Duration::from_secs(seconds);
            assert!(!outage.may_ask(at + pause - Duration::from_millis(1)), "{seconds}");
            at += pause;
            assert!(outage.may_ask(at) && !outage.may_ask(at), "{seconds}");
            assert!(!outage.begins(at));
        }
        assert!(outage.ends() && !outage.ends());
        assert!(outage.may_ask(at) && outage.may_ask(at));
    }

    #[test]
    fn only_silence_is_an_outage() {
        let silent: Vec<_> = Cause::ALL.iter().filter(|cause| is_silence(&Error::from(**cause))).collect();
        let expected = [Cause::StoreUnavailable, Cause::StoreBusy, Cause::StoreUnreachable, Cause::StoreThrottled];
        assert_eq!(silent, expected.iter().collect::<Vec<_>>());
    }
}

//! The circuit breaker of one client: a KMS that is not there does not cost every caller the whole deadline.
//!
//! Calls in a row that end without an answer open it. From then on calls fail at once, all but one at a time: after a
//! pause, which grows, a call goes out as the probe of all, with a single attempt. Whatever is answered closes it, a
//! denial as well as a success; so no answer of KMS ever opens it.

use super::call::Name;
use crate::error::{Cause, Error, Result};
use crate::host::lock::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many calls in a row without an answer open it. Each of them has made all its attempts.
const PATIENCE: u32 = 3;
/// The pause before the first probe, which doubles with each that is not answered.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So long after its return a KMS is noticed at the latest, if somebody calls.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Whether KMS is believed to be there.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug)]
enum State {
    Closed { unanswered: u32 },
    Open { pause: Duration, probe_at: Instant, probing: bool, last: String },
}

/// The leave to make one call.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

/// Whether a cause says that nobody answered.
pub(super) fn is_silence(cause: Cause) -> bool {
    matches!(cause, Cause::KmsTimeout | Cause::KmsUnreachable)
}

impl Breaker {
    /// Closed.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::Closed { unanswered: 0 }))
    }

    /// Lets a call go out, or says at once that it need not be tried.
    ///
    /// # Errors
    /// `KmsNotTried`.
    pub(super) fn admit(&self, name: Name<'_>) -> Result<Permit<'_>> {
        self.admit_at(name, Instant::now())
    }

    fn admit_at(&self, name: Name<'_>, now: Instant) -> Result<Permit<'_>> {
        match &mut *lock(&self.0) {
            State::Closed { .. } => Ok(Permit { breaker: self, probe: false }),
            State::Open { probe_at, probing, .. } if !*probing && *probe_at <= now => {
                *probing = true;
                Ok(Permit { breaker: self, probe: true })
            }
            State::Open { probe_at, last, .. } => {
                let wait = probe_at.saturating_duration_since(now).as_millis();
                let Name { operation, key_id } = name;
                Err(Cause::KmsNotTried.with(format!(
                    "kms:{operation}: tried again in {wait} ms (KMS key {key_id}); the last call: {last}"
                )))
            }
        }
    }

    fn answered(&self) {
        let before = std::mem::replace(&mut *lock(&self.0), State::Closed { unanswered: 0 });
        if matches!(before, State::Open { .. }) {
            tracing::warn!("KMS answers again");
        }
    }

    fn unanswered_at(&self, probe: bool, error: &Error, now: Instant) {
        let open =
            |pause| State::Open { pause, probe_at: now + pause, probing: false, last: error.detail().to_owned() };
        let opened = {
            let mut state = lock(&self.0);
            match &mut *state {
                State::Closed { unanswered } => {
                    *unanswered += 1;
                    let opens = *unanswered >= PATIENCE;
                    if opens {
                        *state = open(FIRST_PAUSE);
                    }
                    opens
                }
                State::Open { pause, .. } => {
                    // What others began before it opened says nothing new.
                    if probe {
                        let pause = (*pause * 2).min(LONGEST_PAUSE);
                        *state = open(pause);
                    }
                    false
                }
            }
        };
        if opened {
            tracing::warn!("{PATIENCE} calls of KMS in a row were not answered: calls fail at once until one is");
        }
    }
}

impl Permit<'_> {
    /// Whether the call is a probe: it makes one attempt, and no more until something is answered.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// Somebody answered, whatever it was.
    pub(super) fn answered(&mut self) {
        self.probe = false;
        self.breaker.answered();
    }

    /// The call is over. Where it ended for other reasons than KMS (no credentials, say), it says nothing of KMS.
    pub(super) fn conclude<T>(self, result: &Result<T>) {
        self.conclude_at(result, Instant::now());
    }

    fn conclude_at<T>(mut self, result: &Result<T>, now: Instant) {
        if let Err(error) = result
            && is_silence(error.cause())
        {
            let probe = std::mem::take(&mut self.probe);
            self.breaker.unanswered_at(probe, error, now);
        }
    }
}

impl Drop for Permit<'_> {
    /// A probe that found nothing out leaves its place to the next caller.
    fn drop(&mut self) {
        if self.probe
            && let State::Open { probing, .. } = &mut *lock(&self.breaker.0)
        {
            *probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    const NAME: Name<'_> = Name { operation: "Decrypt", key_id: "alias/web" };
    const SECOND: Duration = Duration::from_secs(1);

    fn failed(cause: Cause) -> Result<()> {
        Err(cause.with("why"))
    }

    /// A breaker that just opened.
    fn open(now: Instant) -> Breaker {
        let breaker = Breaker::new();
        for _ in 0..PATIENCE {
            breaker.admit_at(NAME, now).unwrap().conclude_at(&failed(Cause::KmsTimeout), now);
        }
        breaker
    }

    #[test]
    fn calls_in_a_row_without_an_answer_open_it_and_say_why() {
        let now = Instant::now();
        let error = open(now).admit_at(NAME, now + SECOND / 4).unwrap_err();
        assert_eq!(error.cause(), Cause::KmsNotTried);
        assert_eq!(error.detail(), "kms:Decrypt: tried again in 750 ms (KMS key alias/web); the last call: why");
    }

    #[test]
    fn nothing_else_opens_it() {
        let breaker = Breaker::new();
        for cause in Cause::ALL.iter().filter(|cause| !is_silence(**cause)) {
            (0..PATIENCE).for_each(|_| breaker.admit(NAME).unwrap().conclude(&failed(*cause)));
        }
        // An answer in between, even to a call that then fails, begins the count anew.
        for _ in 0..3 * PATIENCE {
            breaker.admit(NAME).unwrap().conclude(&failed(Cause::KmsUnreachable));
            let mut permit = breaker.admit(NAME).unwrap();
            permit.answered();
            permit.conclude(&failed(Cause::KmsThrottled));
        }
        breaker.admit(NAME).unwrap();
    }

    #[test]
    fn one_of_many_callers_probes_and_the_others_do_not_wait() {
        let now = Instant::now();
        let (breaker, probes, start) = (open(now), AtomicU32::new(0), Barrier::new(32));
        let later = now + FIRST_PAUSE;
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    start.wait();
                    if let Ok(permit) = breaker.admit_at(NAME, later) {
                        assert!(permit.is_probe());
                        probes.fetch_add(1, Ordering::SeqCst);
                        // Still out while the others ask.
                        std::mem::forget(permit);
                    }
                });
            }
        });
        assert_eq!(probes.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_pause_grows_to_its_bound_and_an_answer_ends_it() {
        let mut now = Instant::now();
        let breaker = open(now);
        for pause in [1, 2, 4, 4] {
            assert!(breaker.admit_at(NAME, now + pause * SECOND - SECOND / 1000).is_err(), "{pause} s");
            now += pause * SECOND;
            breaker.admit_at(NAME, now).unwrap().conclude_at(&failed(Cause::KmsUnreachable), now);
        }
        now += LONGEST_PAUSE;
        let mut probe = breaker.admit_at(NAME, now).unwrap();
        probe.answered();
        assert!(!probe.is_probe() && !breaker.admit_at(NAME, now).unwrap().is_probe());
    }

    #[test]
    fn a_probe_that_finds_nothing_out_leaves_its_place() {
        let now = Instant::now();
        let breaker = open(now);
        let later = now + FIRST_PAUSE;
        drop(breaker.admit_at(NAME, later).unwrap());
        breaker.admit_at(NAME, later).unwrap().conclude_at(&failed(Cause::CredentialsMissing), later);
        assert!(breaker.admit_at(NAME, later).unwrap().is_probe());
    }

    #[test]
    fn calls_that_were_on_their_way_do_not_put_off_the_probe() {
        let now = Instant::now();
        let breaker = Breaker::new();
        let slow = breaker.admit_at(NAME, now).unwrap();
        for _ in 0..PATIENCE {
            breaker.admit_at(NAME, now).unwrap().conclude_at(&failed(Cause::KmsTimeout), now);
        }
        slow.conclude_at(&failed(Cause::KmsTimeout), now + SECOND / 2);
        assert!(breaker.admit_at(NAME, now + FIRST_PAUSE).unwrap().is_probe());
    }
}

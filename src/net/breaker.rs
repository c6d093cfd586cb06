//! The circuit breaker of one client: a server that is not there does not cost every caller the whole deadline.
//!
//! Calls in a row that end without an answer open it. From then on calls fail at once, all but one at a time: after a
//! pause, which grows, a call goes out as the probe of all. Whatever is answered closes it, a denial as well as a
//! success; so no answer of the server ever opens it.

use crate::host::lock::lock;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many calls in a row without an answer open it. Each of them has made all its attempts.
const PATIENCE: u32 = 3;
/// The pause before the first probe, which doubles with each that is not answered.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So long after its return a server is noticed at the latest, if somebody calls.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Whether a server is believed to be there.
#[derive(Debug)]
pub struct Breaker {
    /// Whose calls these are, for the log.
    server: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed { unanswered: u32 },
    Open { pause: Duration, probe_at: Instant, probing: bool, last: String },
}

/// The leave to make one call.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

/// A call that need not be tried.
#[derive(Debug)]
pub struct NotTried {
    /// When one will be.
    wait: Duration,
    /// Why the last one was not answered.
    last: String,
}

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tried again in {} ms; the last call: {}", self.wait.as_millis(), self.last)
    }
}

impl Breaker {
    /// Closed.
    pub fn new(server: &'static str) -> Self {
        Self { server, state: Mutex::new(State::Closed { unanswered: 0 }) }
    }

    /// Lets a call go out, or says at once that it need not be tried.
    ///
    /// # Errors
    /// [`NotTried`].
    pub fn admit(&self) -> Result<Permit<'_>, NotTried> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Result<Permit<'_>, NotTried> {
        match &mut *lock(&self.state) {
            State::Closed { .. } => Ok(Permit { breaker: self, probe: false }),
            State::Open { probe_at, probing, .. } if !*probing && *probe_at <= now => {
                *probing = true;
                Ok(Permit { breaker: self, probe: true })
            }
            State::Open { probe_at, last, .. } => {
                Err(NotTried { wait: probe_at.saturating_duration_since(now), last: last.clone() })
            }
        }
    }

    fn answered(&self) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Closed { unanswered: 0 });
        if matches!(before, State::Open { .. }) {
            tracing::warn!("{} answers again", self.server);
        }
    }

    fn unanswered_at(&self, probe: bool, why: &str, now: Instant) {
        let open = |pause| State::Open { pause, probe_at: now + pause, probing: false, last: why.to_owned() };
        let opened = {
            let mut state = lock(&self.state);
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
            let server = self.server;
            tracing::warn!("{PATIENCE} calls of {server} in a row were not answered: calls fail at once until one is");
        }
    }
}

impl Permit<'_> {
    /// Whether the call is a probe, and nothing was answered yet.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Somebody answered, whatever it was.
    pub fn answered(&mut self) {
        self.probe = false;
        self.breaker.answered();
    }

    /// The call is over, and nobody answered. One that ended for other reasons than the server (no credentials, say)
    /// says nothing of it, and is dropped.
    pub fn unanswered(self, why: &str) {
        self.unanswered_at(why, Instant::now());
    }

    fn unanswered_at(mut self, why: &str, now: Instant) {
        let probe = std::mem::take(&mut self.probe);
        self.breaker.unanswered_at(probe, why, now);
    }
}

impl Drop for Permit<'_> {
    /// A probe that found nothing out leaves its place to the next caller.
    fn drop(&mut self) {
        if self.probe
            && let State::Open { probing, .. } = &mut *lock(&self.breaker.state)
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

    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker that just opened.
    fn open(now: Instant) -> Breaker {
        let breaker = Breaker::new("a server");
        for _ in 0..PATIENCE {
            breaker.admit_at(now).unwrap().unanswered_at("why", now);
        }
        breaker
    }

    #[test]
    fn calls_in_a_row_without_an_answer_open_it_and_say_why() {
        let now = Instant::now();
        let error = open(now).admit_at(now + SECOND / 4).unwrap_err();
        assert_eq!(error.to_string(), "tried again in 750 ms; the last call: why");
    }

    #[test]
    fn nothing_else_opens_it() {
        let breaker = Breaker::new("a server");
        (0..3 * PATIENCE).for_each(|_| drop(breaker.admit().unwrap()));
        // An answer in between begins the count anew.
        for _ in 0..3 * PATIENCE {
            breaker.admit().unwrap().unanswered("why");
            breaker.admit().unwrap().answered();
        }
        breaker.admit().unwrap();
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
                    if let Ok(permit) = breaker.admit_at(later) {
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
            assert!(breaker.admit_at(now + pause * SECOND - SECOND / 1000).is_err(), "{pause} s");
            now += pause * SECOND;
            breaker.admit_at(now).unwrap().unanswered_at("why", now);
        }
        now += LONGEST_PAUSE;
        let mut probe = breaker.admit_at(now).unwrap();
        probe.answered();
        assert!(!probe.is_probe() && !breaker.admit_at(now).unwrap().is_probe());
    }

    #[test]
    fn a_probe_that_finds_nothing_out_leaves_its_place() {
        let now = Instant::now();
        let breaker = open(now);
        let later = now + FIRST_PAUSE;
        drop(breaker.admit_at(later).unwrap());
        assert!(breaker.admit_at(later).unwrap().is_probe());
    }

    #[test]
    fn calls_that_were_on_their_way_do_not_put_off_the_probe() {
        let now = Instant::now();
        let breaker = Breaker::new("a server");
        let slow = breaker.admit_at(now).unwrap();
        for _ in 0..PATIENCE {
            breaker.admit_at(now).unwrap().unanswered_at("why", now);
        }
        slow.unanswered_at("why", now + SECOND / 2);
        assert!(breaker.admit_at(now + FIRST_PAUSE).unwrap().is_probe());
    }
}

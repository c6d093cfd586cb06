//! What tests do to the embedded KMS: order faults, count calls.

use super::exception;
use crate::host::lock::lock;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Something that goes wrong with the next request, or with the next one of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The operation it waits for; any, if `None`.
    #[serde(default)]
    pub operation: Option<String>,
    /// What goes wrong.
    pub fault: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultKind {
    /// An AWS error with this code. The HTTP status is the code's own, if it is not given.
    Error {
        /// As in `ThrottlingException`.
        code: String,
        /// The HTTP status.
        #[serde(default)]
        status: Option<u16>,
        /// The message.
        #[serde(default)]
        message: String,
    },
    /// The right answer, so many milliseconds late.
    Delay(u64),
    /// The connection is reset.
    Reset,
    /// No answer ever.
    Hang,
    /// This answer instead of one of KMS's.
    Body {
        /// The HTTP status.
        status: u16,
        /// The body.
        text: String,
    },
}

/// What to do with one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Answer,
    AnswerAfter(Duration),
    Say { status: u16, code: String, message: String },
    SayBody { status: u16, text: String },
    Reset,
    Hang,
}

impl Plan {
    fn throttled() -> Self {
        let code = "ThrottlingException".to_owned();
        let message = "You have exceeded the rate at which you may call KMS.".to_owned();
        Self::Say { status: exception::status(&code), code, message }
    }
}

/// How many requests are answered in a second: a bucket that holds those of one.
#[derive(Debug)]
struct Quota {
    per_second: f64,
    left: f64,
    filled: Instant,
    refused: u64,
}

impl Quota {
    /// Whether one more is answered.
    fn take(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.filled).as_secs_f64() * self.per_second;
        self.left = (self.left + more).min(self.per_second);
        self.filled = now;
        let answered = self.left >= 1.0;
        if answered {
            self.left -= 1.0;
        } else {
            self.refused += 1;
        }
        answered
    }
}

/// The fault queue and the call counts of one embedded KMS.
#[derive(Debug, Default)]
pub struct Control {
    quota: Mutex<Option<Quota>>,
    faults: Mutex<VecDeque<Fault>>,
    calls: Mutex<BTreeMap<String, u64>>,
}

impl Control {
    /// Puts a fault at the end of the queue. Each is used once; a request takes the first that fits it.
    pub fn inject(&self, fault: Fault) {
        lock(&self.faults).push_back(fault);
    }

    /// The same for any operation.
    pub fn inject_any(&self, fault: FaultKind) {
        self.inject(Fault { operation: None, fault });
    }

    /// An AWS error for the next request, with the status that goes with its code.
    pub fn inject_error(&self, code: &str) {
        self.inject_any(FaultKind::Error { code: code.to_owned(), status: None, message: String::new() });
    }

    /// Answers so many requests a second and no more, the others as KMS does: with `ThrottlingException`.
    pub fn set_quota(&self, per_second: u32) {
        let per_second = f64::from(per_second);
        *lock(&self.quota) = Some(Quota { per_second, left: per_second, filled: Instant::now(), refused: 0 });
    }

    /// How many requests were above the quota.
    pub fn refused(&self) -> u64 {
        lock(&self.quota).as_ref().map_or(0, |quota| quota.refused)
    }

    /// Forgets the faults that are left, and says how many there were.
    pub fn clear_faults(&self) -> usize {
        std::mem::take(&mut *lock(&self.faults)).len()
    }

    /// How often each operation was called, faults included.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    /// How often one operation was called.
    pub fn calls_of(&self, operation: &str) -> u64 {
        lock(&self.calls).get(operation).copied().unwrap_or(0)
    }

    /// How many calls there were.
    pub fn total_calls(&self) -> u64 {
        lock(&self.calls).values().sum()
    }

    /// Counts from zero again.
    pub fn reset_calls(&self) {
        lock(&self.calls).clear();
    }

    /// Counts a request and says what becomes of it.
    pub(super) fn begin(&self, operation: &str) -> Plan {
        *lock(&self.calls).entry(operation.to_owned()).or_default() += 1;
        let mut faults = lock(&self.faults);
        let fits = |fault: &Fault| fault.operation.as_deref().is_none_or(|wanted| wanted == operation);
        let Some(fault) = faults.iter().position(fits).and_then(|index| faults.remove(index)) else {
            let answered = lock(&self.quota).as_mut().is_none_or(|quota| quota.take(Instant::now()));
            return if answered { Plan::Answer } else { Plan::throttled() };
        };
        match fault.fault {
            FaultKind::Error { code, status, message } => {
                Plan::Say { status: status.unwrap_or_else(|| exception::status(&code)), code, message }
            }
            FaultKind::Delay(milliseconds) => Plan::AnswerAfter(Duration::from_millis(milliseconds)),
            FaultKind::Reset => Plan::Reset,
            FaultKind::Hang => Plan::Hang,
            FaultKind::Body { status, text } => Plan::SayBody { status, text },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_quota_requests_are_throttled_until_there_is_room_again() {
        let begun = Instant::now();
        let mut quota = Quota { per_second: 10.0, left: 10.0, filled: begun, refused: 0 };
        let taken = |quota: &mut Quota, at| (0..30).filter(|_| quota.take(begun + Duration::from_millis(at))).count();
        assert_eq!(taken(&mut quota, 0), 10);
        assert_eq!(taken(&mut quota, 550), 5);
        assert_eq!(taken(&mut quota, 9000), 10);
        assert_eq!(quota.refused, 65);
        let control = Control::default();
        control.set_quota(1);
        assert_eq!(control.begin("Decrypt"), Plan::Answer);
        assert_eq!(control.begin("Decrypt"), Plan::throttled());
        assert_eq!((control.calls_of("Decrypt"), control.refused()), (2, 1));
    }

    #[test]
    fn faults_are_used_once_in_order_and_wait_for_their_operation() {
        let control = Control::default();
        control.inject(Fault { operation: Some("Decrypt".to_owned()), fault: FaultKind::Reset });
        control.inject_any(FaultKind::Hang);
        assert_eq!(control.begin("Encrypt"), Plan::Hang);
        assert_eq!(control.begin("Encrypt"), Plan::Answer);
        assert_eq!(control.begin("Decrypt"), Plan::Reset);
        assert_eq!(control.begin("Decrypt"), Plan::Answer);
        assert_eq!((control.calls_of("Encrypt"), control.calls_of("Decrypt"), control.total_calls()), (2, 2, 4));
        control.reset_calls();
        assert_eq!((control.total_calls(), control.clear_faults()), (0, 0));
    }
}

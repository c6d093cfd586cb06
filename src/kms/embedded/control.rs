//! What tests do to the embedded KMS: order faults, count calls.

use super::exception;
use crate::host::lock::lock;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

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

/// The fault queue and the call counts of one embedded KMS.
#[derive(Debug, Default)]
pub struct Control {
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
            return Plan::Answer;
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

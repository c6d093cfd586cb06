//! Calls that KMS throttles.

use crate::error::{Cause, Result};
use std::time::Duration;

/// How often a call that KMS throttles is made again, after a pause, beside the client's own retries.
const PATIENCE: u32 = 60;

/// Makes a call of work that can wait: KMS limits how many calls are made in a second.
pub(super) fn patiently<T>(go_on: impl Fn() -> bool, call: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..PATIENCE {
        match call() {
            Err(error) if error.cause() == Cause::KmsThrottled && go_on() => {
                std::thread::sleep(Duration::from_secs(1));
            }
            result => return result,
        }
    }
    call()
}

//! What AWS-LC keeps for a key in the protected pool, and a forked child must not touch.
#![forbid(unsafe_code)]

use super::aws_lc;
use super::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use crate::host::protected::Stamp;

/// A value of AWS-LC's in the protected pool.
///
/// A forked child inherits only zeros: there every use is [`Cause::NotInitialized`], and dropping the
/// value does nothing.
pub(super) struct Ours<T> {
    /// Taken out only to be forgotten.
    value: Option<T>,
    stamp: Stamp,
}

impl<T> Ours<T> {
    /// What `make` makes; what AWS-LC allocates for it comes from the pool.
    pub(super) fn made_by(make: impl FnOnce() -> Result<T>) -> Result<Self> {
        let _wiped = WipedAfter::<SIGN>;
        let stamp = Stamp::new();
        let scope = aws_lc::enter_state_scope()?;
        let value = make()?;
        drop(scope);
        Ok(Self { value: Some(value), stamp })
    }

    /// The value, if it is not a parent process's.
    pub(super) fn get(&mut self) -> Result<&mut T> {
        let ours = self.value.as_mut().filter(|_| self.stamp.is_ours());
        ours.ok_or_else(|| Cause::NotInitialized.with("the operation was inherited over a fork"))
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        // In a child the value's memory is zeros, which AWS-LC must not be asked to free.
        if !self.stamp.is_ours() {
            std::mem::forget(self.value.take());
        }
    }
}

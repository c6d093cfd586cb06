//! The counters of keys that count their uses.
//!
//! A counter moves in the store, by compare-and-swap, before what it stands for leaves the module: of all threads,
//! processes and hosts that use the key, one gets it, and a process that is killed in between loses it. The MAC of the
//! record vouches for it as for everything else.

use super::Token;
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use crate::object::otp;
use crate::store::{ObjectId, ObjectRecord};
use std::cell::Cell;
use std::sync::Mutex;

/// Whose turn it is in this process, for each part of the ids: threads that count with one key would else only make
/// each other start anew.
#[derive(Default)]
pub(super) struct Turns([Mutex<()>; 16]);

impl Turns {
    fn of(&self, id: &ObjectId) -> &Mutex<()> {
        let part = id.as_bytes().last().copied().unwrap_or_default();
        &self.0[usize::from(part) % self.0.len()]
    }
}

/// Has `take` choose a counter, from the next one on, and moves the one of a record beyond it.
pub fn counted(record: &mut ObjectRecord, take: impl Fn(u64) -> Result<u64>) -> Result<u64> {
    let used = take(otp::counter(&record.attributes)?)?;
    otp::count_beyond(&mut record.attributes, used)?;
    Ok(used)
}

impl Token {
    /// The same for the counter of an object of the token: the counter that was chosen, and the object as it is then.
    ///
    /// `take` is asked again when somebody else was faster. An error of it leaves the counter where it is.
    /// `KeyHandleInvalid` if the object is gone.
    pub fn count(&self, id: &ObjectId, take: impl Fn(u64) -> Result<u64>) -> Result<(u64, ObjectRecord)> {
        let token = self.initialised()?;
        let used = Cell::new(0);
        let _turn = lock(self.turns.of(id));
        let moved = self.update(id, |mut object| {
            self.check_vouched(&object)?;
            used.set(counted(&mut object, &take)?);
            self.vouch(&token, &mut object)?;
            Ok(Some(object))
        })?;
        Ok((used.get(), moved.ok_or_else(|| Cause::KeyHandleInvalid.with("the key was destroyed"))?))
    }
}

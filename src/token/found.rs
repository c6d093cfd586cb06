//! What searches read: whoever uses an object that he has just found has it read once, not twice.

use super::Token;
use crate::error::Result;
use crate::host::lock::lock;
use crate::store::{Cursor, ObjectId, ObjectRecord, Page, Query, Raw, record};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many records are kept. They are small ([`Page::records`]), and most are asked for at once or never.
const KEPT: usize = 64;

/// Records as they were read, the oldest first.
#[derive(Default)]
pub(super) struct Found(Mutex<VecDeque<(Instant, ObjectId, Raw)>>);

impl Found {
    fn keep(&self, at: Instant, records: Vec<(ObjectId, Raw)>) {
        if records.is_empty() {
            return;
        }
        let mut kept = lock(&self.0);
        kept.extend(records.into_iter().map(|(id, raw)| (at, id, raw)));
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// The newest record of an object, which is not kept any longer.
    fn take(&self, id: &ObjectId) -> Option<(Instant, Raw)> {
        let mut kept = lock(&self.0);
        let at = kept.iter().rposition(|(_, kept, _)| kept == id)?;
        let (read_at, _, raw) = kept.remove(at)?;
        kept.retain(|(_, kept, _)| kept != id);
        Some((read_at, raw))
    }

    /// Forgets an object that is read anew or changes.
    pub(super) fn forget(&self, id: &ObjectId) {
        lock(&self.0).retain(|(_, kept, _)| kept != id);
    }
}

impl Token {
    /// A page of the objects on the token that match.
    pub fn find(&self, query: &Query, after: Option<Cursor>, limit: usize) -> Result<Page> {
        let at = Instant::now();
        let mut page = self.store()?.find(query, after, limit)?;
        self.found.keep(at, std::mem::take(&mut page.records));
        Ok(page)
    }

    /// An object on the token as it was at most `oldest` ago, and when that was; `None` if it is gone.
    pub fn get_recent(&self, id: &ObjectId, oldest: Duration) -> Result<Option<(Instant, ObjectRecord)>> {
        if let Some(found) = self.found_within(id, oldest) {
            return Ok(Some(found));
        }
        let at = Instant::now();
        Ok(self.get(id)?.map(|object| (at, object)))
    }

    /// The same, if a search read it.
    pub(super) fn found_within(&self, id: &ObjectId, oldest: Duration) -> Option<(Instant, ObjectRecord)> {
        let (at, raw) = self.found.take(id).filter(|(at, _)| at.elapsed() < oldest)?;
        // Whatever is wrong with it may be so no more: a login in between may have given it its MAC.
        let object = record::decode_object(id, raw.version, &raw.record).ok()?;
        self.check_read(&object).ok()?;
        Some((at, object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 16])
    }

    fn raw(version: u64) -> Raw {
        Raw { version, record: Vec::new() }
    }

    #[test]
    fn a_record_is_given_once_and_the_newest_one() {
        let found = Found::default();
        let at = Instant::now();
        found.keep(at, vec![(id(1), raw(1)), (id(2), raw(1))]);
        found.keep(at, vec![(id(1), raw(2))]);
        assert_eq!(found.take(&id(1)), Some((at, raw(2))));
        assert_eq!(found.take(&id(1)), None);
        found.forget(&id(2));
        assert_eq!(found.take(&id(2)), None);
    }

    #[test]
    fn no_more_are_kept_than_is_said() {
        let found = Found::default();
        for number in 0..=u8::MAX {
            found.keep(Instant::now(), vec![(id(number), raw(1))]);
        }
        let kept = (0..=u8::MAX).filter(|number| found.take(&id(*number)).is_some());
        assert!(kept.eq(u8::MAX - KEPT as u8 + 1..=u8::MAX));
    }
}

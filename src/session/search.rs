//! Searches: a page of handles at a time.

use super::handles::Object;
use super::operation::AnySlot;
use super::table::Session;
use crate::error::{Cause, Result};
use crate::object::{Template, builtin, template::Given};
use crate::store::{Cursor, ObjectId, Query, Visibility};
use cryptoki_sys::*;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// A search under way.
pub(super) struct Search {
    query: Option<Query>,
    after: Option<Cursor>,
    ready: VecDeque<CK_OBJECT_HANDLE>,
}

/// How many objects are asked of the store at once: a search for one key reads no more than it needs, and one whose
/// caller asks for one after the other does not go to the store for each.
const PAGE: RangeInclusive<usize> = 4..=256;

impl Session {
    /// `C_FindObjectsInit`.
    pub fn find_init(&self, given: &[Given<'_>]) -> Result<()> {
        self.search.check_free()?;
        self.slot.token.initialised()?;
        let mut search = Search { query: None, after: None, ready: VecDeque::new() };
        // A search for what no object has finds nothing; it is no error.
        if let Some(equal) = Template::query(given) {
            let sees_private = self.slot.sees_private()?;
            let own = self.slot.handles.session_objects(sees_private, |record| {
                equal.iter().all(|(attribute, value)| record.attributes.get(attribute) == Some(value))
            });
            search.ready.extend(own);
            search.ready.extend(builtin::find(&equal).map(|id| self.slot.handles.of_id(id)));
            let token = equal.iter().find(|(attribute, _)| *attribute == CKA_TOKEN).map(|(_, value)| value.as_slice());
            if token != Some(&[0]) {
                let private = if sees_private { Visibility::All } else { Visibility::PublicOnly };
                search.query = Some(Query { equal, private });
            }
        }
        self.search.start(search)
    }

    /// `C_FindObjects`: at most `most` more handles.
    pub fn find(&self, most: usize) -> Result<Vec<CK_OBJECT_HANDLE>> {
        self.search.update(|search| {
            while search.ready.len() < most && search.query.is_some() {
                self.next_page(search, most)?;
            }
            let count = most.min(search.ready.len());
            Ok(search.ready.drain(..count).collect())
        })
    }

    fn next_page(&self, search: &mut Search, most: usize) -> Result<()> {
        let Some(query) = &search.query else { return Ok(()) };
        let page = self.slot.token.find(query, search.after, most.clamp(*PAGE.start(), *PAGE.end()))?;
        search.ready.extend(page.ids.into_iter().map(|id| self.slot.handles.of_id(id)));
        search.after = page.next;
        if search.after.is_none() {
            search.query = None;
        }
        Ok(())
    }

    /// `C_FindObjectsFinal`.
    pub fn find_final(&self) -> Result<()> {
        self.search.update(|_| Ok(()))?;
        self.search.cancel();
        Ok(())
    }

    /// The object under a handle, if this session may see it.
    pub(super) fn object(&self, handle: CK_OBJECT_HANDLE) -> Result<Arc<Object>> {
        self.object_of(handle, self.slot.token.max_object_age())
    }

    /// The object under a handle that is to be used as a key: also while the store does not answer, for a while.
    /// `KeyHandleInvalid` where there is none.
    pub(super) fn key_of(&self, handle: CK_OBJECT_HANDLE) -> Result<Arc<Object>> {
        let sees_private = self.slot.sees_private()?;
        let oldest = self.slot.token.max_object_age();
        let told = |id: &ObjectId, since| self.slot.token.get_for_use(id, since, oldest);
        self.slot.handles.object_told(handle, sees_private, oldest, told).map_err(|error| match error.cause() {
            Cause::ObjectHandleInvalid => Cause::KeyHandleInvalid.into(),
            _ => error,
        })
    }

    /// The object under a handle as the store has it now, for what would outlast a change that another process
    /// made: a copy, a change, a value that is told. `ObjectHandleInvalid` where there is none.
    pub(super) fn object_now(&self, handle: CK_OBJECT_HANDLE) -> Result<Arc<Object>> {
        self.object_of(handle, Duration::ZERO)
    }

    fn object_of(&self, handle: CK_OBJECT_HANDLE, oldest: Duration) -> Result<Arc<Object>> {
        let sees_private = self.slot.sees_private()?;
        self.slot.handles.object(handle, sees_private, oldest, |id| self.slot.token.get_recent(id, oldest))
    }
}

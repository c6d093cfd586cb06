//! Searches (section 5.7.7 to 5.7.9).

use super::operations::Life;
use super::{Judged, Model, one_of};
use cryptoki_sys::*;
use std::collections::BTreeSet;

/// A search under way.
pub(crate) struct Search {
    pub(crate) life: Life,
    /// Logins or logouts came in between: it may have lost objects.
    pub(crate) shaken: bool,
    pub(crate) template: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>,
    /// What matched when it began.
    at_first: BTreeSet<usize>,
    found: BTreeSet<usize>,
}

impl Model {
    /// The objects that match a template, byte by byte; an attribute that an object does not have matches no
    /// value. Secret values cannot be searched for.
    pub(crate) fn matching(&self, template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> BTreeSet<usize> {
        let fits = |object: &usize| {
            let attributes = &self.objects[*object].attributes;
            template.iter().all(|(attribute, value)| attributes.get(attribute) == Some(value))
        };
        self.visible().into_iter().filter(fits).collect()
    }

    /// `C_FindObjectsInit`.
    pub(crate) fn search_begun(
        &mut self,
        session: CK_SESSION_HANDLE,
        template: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>,
        rv: CK_RV,
    ) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        match known.search.as_ref().map(|search| search.life) {
            Some(Life::Active) => return one_of(rv, &[CKR_OPERATION_ACTIVE]),
            Some(Life::Doubtful) if rv == CKR_OPERATION_ACTIVE => {
                self.search_lives(session);
                return Ok(());
            }
            _ => one_of(rv, &[CKR_OK])?,
        }
        let at_first = self.matching(&template);
        let search = Search { life: Life::Active, shaken: false, template, at_first, found: BTreeSet::new() };
        self.sessions.get_mut(&session).expect("looked up above").search = Some(search);
        Ok(())
    }

    fn search_lives(&mut self, session: CK_SESSION_HANDLE) {
        if let Some(search) = self.sessions.get_mut(&session).and_then(|session| session.search.as_mut()) {
            search.life = Life::Active;
        }
    }

    /// `C_FindObjects`: `found` are the objects behind the handles, `None` for one that is gone.
    ///
    /// What is made, changed or destroyed during a search may or may not be found; what matched from its
    /// beginning to its end is found once.
    pub(crate) fn search_answered(
        &mut self,
        session: CK_SESSION_HANDLE,
        most: usize,
        rv: CK_RV,
        found: &[Option<usize>],
    ) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        let Some(search) = known.search.as_ref() else { return one_of(rv, &[CKR_OPERATION_NOT_INITIALIZED]) };
        if search.life == Life::Doubtful && rv == CKR_OPERATION_NOT_INITIALIZED {
            self.sessions.get_mut(&session).expect("looked up above").search = None;
            return Ok(());
        }
        one_of(rv, &[CKR_OK])?;
        if found.len() > most {
            return Err(format!("{} objects where {most} were asked for", found.len()));
        }
        let now = self.matching(&search.template);
        let search = self.sessions.get_mut(&session).and_then(|session| session.search.as_mut()).expect("as above");
        search.life = Life::Active;
        for object in found.iter().flatten() {
            if !search.at_first.contains(object) && !now.contains(object) {
                return Err(format!("object {object} was found and does not match"));
            }
            if !search.found.insert(*object) {
                return Err(format!("object {object} was found twice"));
            }
        }
        if found.len() < most && !search.shaken {
            // The value of a private object on the token is encrypted there: this token does not find it by that,
            // which is a deviation (5.7.7 knows no exception).
            let by_value = search.template.iter().any(|(attribute, _)| *attribute == CKA_VALUE);
            let objects = &self.objects;
            let encrypted = |one: &usize| objects[*one].is(CKA_TOKEN) && objects[*one].is(CKA_PRIVATE);
            let missed: Vec<_> = search
                .at_first
                .intersection(&now)
                .filter(|one| !(search.found.contains(one) || by_value && encrypted(one)))
                .collect();
            if !missed.is_empty() {
                return Err(format!("objects {missed:?} match and were not found"));
            }
        }
        Ok(())
    }

    /// `C_FindObjectsFinal`.
    pub(crate) fn search_ended(&mut self, session: CK_SESSION_HANDLE, rv: CK_RV) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        match known.search.as_ref().map(|search| search.life) {
            None => one_of(rv, &[CKR_OPERATION_NOT_INITIALIZED])?,
            Some(Life::Active) => one_of(rv, &[CKR_OK])?,
            Some(Life::Doubtful) => one_of(rv, &[CKR_OK, CKR_OPERATION_NOT_INITIALIZED])?,
        }
        self.sessions.get_mut(&session).expect("looked up above").search = None;
        Ok(())
    }
}

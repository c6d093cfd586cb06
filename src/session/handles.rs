//! Object handles: numbers that are never used again, for objects of token and sessions.

use crate::crypto::{Key, PublicKey};
use crate::error::{Cause, Result};
use crate::host::lock::{lock, read, write};
use crate::mechanism::{IvCount, MessageParams};
use crate::object::{Look, create, policy};
use crate::store::{ObjectId, ObjectRecord};
use crate::token::{Made, Told};
use cryptoki_sys::*;
use once_cell::sync::OnceCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// An object as it was read, and what was computed from it since.
pub struct Object {
    /// The object.
    pub record: ObjectRecord,
    held: Option<Arc<Key>>,
    public_key: OnceCell<PublicKey>,
    seal_tag: OnceCell<policy::SealTag>,
    vouched: OnceCell<()>,
    /// The same for all copies of a key that is held.
    ivs: Arc<Mutex<IvCount>>,
}

impl Object {
    pub(super) fn new(made: impl Into<Made>) -> Arc<Self> {
        Self::with(made.into(), Arc::default())
    }

    fn with(made: Made, ivs: Arc<Mutex<IvCount>>) -> Arc<Self> {
        let Made { record, held } = made;
        let (public_key, seal_tag, vouched) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Arc::new(Self { record, held, public_key, seal_tag, vouched, ivs })
    }

    /// The object as it was changed.
    fn changed(&self, record: ObjectRecord) -> Arc<Self> {
        Self::with(Made { record, held: self.held.clone() }, Arc::clone(&self.ivs))
    }

    /// A copy of the object: what generates IVs for the one counts for the other.
    pub(super) fn copied(&self, copy: Made) -> Arc<Self> {
        Self::with(copy, Arc::clone(&self.ivs))
    }

    /// Makes an initialisation vector for a message to be encrypted with this key. All sessions count together.
    ///
    /// `MechanismParamInvalid` for a counter of a sealed key, besides [`IvCount::generate`].
    pub(super) fn generate_iv(&self, params: &mut MessageParams) -> Result<()> {
        if self.held.is_none() && matches!(params.generator, CKG_GENERATE_COUNTER | CKG_GENERATE_COUNTER_XOR) {
            let why = "CKG_GENERATE_COUNTER for a sealed key, which other processes, hosts and copies count for, too";
            return Err(Cause::MechanismParamInvalid.with(why));
        }
        lock(&self.ivs).generate(params.generator, &mut params.iv, params.fixed_bits)
    }

    /// The key of a session object that is not sealed.
    pub fn held(&self) -> Option<&Arc<Key>> {
        self.held.as_ref()
    }

    /// The public key that either half of a key pair tells, parsed once.
    pub fn public_key(&self) -> Result<&PublicKey> {
        self.public_key.get_or_try_init(|| create::public_key_of(&self.record.attributes))
    }

    fn is_private(&self) -> bool {
        self.record.attributes.is(CKA_PRIVATE)
    }

    /// Whether it is a secret key.
    pub(super) fn is_secret_key(&self) -> bool {
        self.record.attributes.is_secret_key()
    }

    /// Whether it is a public key.
    pub(super) fn is_public_key(&self) -> bool {
        self.record.attributes.number(CKA_CLASS) == Some(CKO_PUBLIC_KEY)
    }

    /// Has `check` look, once, at what vouches for the record.
    pub(super) fn check_vouched(&self, check: impl FnOnce(&ObjectRecord) -> Result<()>) -> Result<()> {
        self.vouched.get_or_try_init(|| check(&self.record)).copied()
    }

    /// [`policy::seal_tag`], computed once.
    pub fn seal_tag(&self) -> policy::SealTag {
        let blob = self.record.sealed.as_ref().map_or(&[][..], |sealed| &sealed.blob);
        *self.seal_tag.get_or_init(|| policy::seal_tag(&self.record.attributes, blob))
    }
}

/// So many objects of the token are kept as they were read. A process that has seen a million keys does not hold a
/// million records; those that it let go are read again when they are used.
const KEPT: usize = 4096;

/// The last object handle: never used again in this process, nor in its children, whatever is
/// initialised and finalised.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The login in which a call began that gives handles, and when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandleEpoch {
    login: u64,
    since: Instant,
}

/// The handles of one slot's objects.
#[derive(Default)]
pub(super) struct Handles {
    /// Moves at each logout: handles of private objects from before are invalid for good.
    epoch: AtomicU64,
    maps: RwLock<Maps>,
    /// Those of the token that were read, the oldest first.
    kept: Mutex<VecDeque<Arc<Known>>>,
}

#[derive(Default)]
struct Maps {
    by_handle: HashMap<CK_OBJECT_HANDLE, Arc<Known>>,
    by_id: HashMap<ObjectId, CK_OBJECT_HANDLE>,
    /// Those of session objects once more: each search looks through these, and each end of a session,
    /// and a host that listed a large token knows a million others.
    of_sessions: BTreeSet<CK_OBJECT_HANDLE>,
}

impl Maps {
    fn insert(&mut self, handle: CK_OBJECT_HANDLE, known: Known) -> Arc<Known> {
        self.by_id.insert(known.id, handle);
        if known.session.is_some() {
            self.of_sessions.insert(handle);
        }
        let known = Arc::new(known);
        self.by_handle.insert(handle, Arc::clone(&known));
        known
    }

    fn remove(&mut self, handle: CK_OBJECT_HANDLE) {
        let Some(known) = self.by_handle.remove(&handle) else { return };
        if self.by_id.get(&known.id) == Some(&handle) {
            self.by_id.remove(&known.id);
        }
        self.of_sessions.remove(&handle);
    }

    /// The session objects, by rising handle.
    fn session_objects(&self) -> impl Iterator<Item = (CK_OBJECT_HANDLE, &Known)> {
        self.of_sessions.iter().filter_map(|handle| Some((*handle, self.by_handle.get(handle)?.as_ref())))
    }
}

/// What is known under a handle.
struct Known {
    id: ObjectId,
    epoch: HandleEpoch,
    /// The session that the object belongs to; `None` for objects of the token.
    session: Option<CK_SESSION_HANDLE>,
    /// The object, once it was read: a search for a million objects reads none of them.
    /// With it, when it was like that at the earliest.
    read: RwLock<Option<(Instant, Arc<Object>)>>,
    /// Whether it was private, if it was read and let go again.
    was_private: OnceCell<bool>,
}

impl Known {
    fn new(id: ObjectId, epoch: HandleEpoch, session: Option<CK_SESSION_HANDLE>, read: Option<Arc<Object>>) -> Self {
        let read = RwLock::new(read.map(|object| (epoch.since, object)));
        Self { id, epoch, session, read, was_private: OnceCell::new() }
    }

    fn seen(&self) -> Option<(Instant, Arc<Object>)> {
        read(&self.read).clone()
    }

    /// Keeps what was read in a reading that began at `since`, unless something newer was read meanwhile.
    fn keep(&self, object: Arc<Object>, since: Instant) {
        let mut seen = write(&self.read);
        let newer = |(at, present): &(Instant, Arc<Object>)| match present.record.version.cmp(&object.record.version) {
            std::cmp::Ordering::Equal => *at > since,
            order => order.is_gt(),
        };
        if !seen.as_ref().is_some_and(newer) {
            *seen = Some((since, object));
        }
    }

    /// Whether the object is private; `None` if it was never read. No object of the token becomes the other.
    fn is_private(&self) -> Option<bool> {
        match self.seen() {
            Some((_, object)) => Some(object.is_private()),
            None => self.was_private.get().copied(),
        }
    }

    /// Forgets what was read, but for a key that has counted initialisation vectors.
    fn let_go(&self) {
        let mut seen = write(&self.read);
        if let Some((_, object)) = &*seen
            && lock(&object.ivs).is_unused()
        {
            self.was_private.get_or_init(|| object.is_private());
            *seen = None;
        }
    }
}

impl Handles {
    /// The handle of an object of the token, which was found and not yet read.
    pub(super) fn of_id(&self, id: ObjectId) -> CK_OBJECT_HANDLE {
        self.handle(Known::new(id, self.epoch(), None, None))
    }

    /// The handle of an object that was just made, in a call that began at `epoch`. `session` owns it
    /// unless it is on the token.
    pub(super) fn of_new(
        &self,
        object: Arc<Object>,
        session: CK_SESSION_HANDLE,
        epoch: HandleEpoch,
    ) -> CK_OBJECT_HANDLE {
        let session = (!object.record.attributes.is(CKA_TOKEN)).then_some(session);
        self.handle(Known::new(object.record.id, epoch, session, Some(object)))
    }

    /// The present login.
    pub(super) fn epoch(&self) -> HandleEpoch {
        HandleEpoch { login: self.epoch.load(Ordering::Acquire), since: Instant::now() }
    }

    /// The handle that the object has, or a new one if it has none that is good for every object.
    fn handle(&self, new: Known) -> CK_OBJECT_HANDLE {
        let good = |maps: &Maps| {
            let handle = *maps.by_id.get(&new.id)?;
            let known = maps.by_handle.get(&handle)?;
            (known.epoch.login == new.epoch.login || known.is_private() == Some(false)).then_some(handle)
        };
        if let Some(handle) = good(&self.read()) {
            return handle;
        }
        let mut maps = self.write();
        if let Some(handle) = good(&maps) {
            return handle;
        }
        // A handle from an earlier login under which nothing was ever read is superseded: kept, it would be
        // one more for each object at each login.
        if let Some(old) = maps.by_id.get(&new.id).copied()
            && maps.by_handle.get(&old).is_some_and(|known| known.is_private().is_none())
        {
            maps.remove(old);
        }
        let handle = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let known = maps.insert(handle, new);
        drop(maps);
        self.note_read(known);
        handle
    }

    /// Lets the oldest of what was read go, if there is too much of it. Objects of sessions are nowhere else.
    fn note_read(&self, known: Arc<Known>) {
        if known.session.is_some() || known.seen().is_none() {
            return;
        }
        let mut kept = lock(&self.kept);
        kept.push_back(known);
        let oldest = if kept.len() > KEPT { kept.pop_front() } else { None };
        drop(kept);
        if let Some(oldest) = oldest {
            oldest.let_go();
        }
    }

    /// The object under a handle, as it was at most `oldest` ago; `ObjectHandleInvalid` if there is none
    /// or it may not be seen. `get` reads an object of the token, and tells when that was.
    pub(super) fn object(
        &self,
        handle: CK_OBJECT_HANDLE,
        sees_private: bool,
        oldest: Duration,
        get: impl FnOnce(&ObjectId) -> Result<Option<(Instant, ObjectRecord)>>,
    ) -> Result<Arc<Object>> {
        self.object_told(handle, sees_private, oldest, |id, _| get(id).map(Told::Now))
    }

    /// The same, where `get` may say nothing of an object that was read before, so that it is as it was.
    pub(super) fn object_told(
        &self,
        handle: CK_OBJECT_HANDLE,
        sees_private: bool,
        oldest: Duration,
        get: impl FnOnce(&ObjectId, Option<Instant>) -> Result<Told<Option<(Instant, ObjectRecord)>>>,
    ) -> Result<Arc<Object>> {
        let known = self.read().by_handle.get(&handle).cloned().ok_or(Cause::ObjectHandleInvalid)?;
        let object = match known.seen() {
            Some((at, object)) if known.session.is_some() || at.elapsed() < oldest => object,
            seen => {
                let is_first = seen.is_none();
                match (get(&known.id, seen.as_ref().map(|(at, _)| *at))?, seen) {
                    (Told::Now(Some((since, record))), seen) => {
                        let object = match seen {
                            Some((_, object)) if object.record == record => object,
                            Some((_, object)) => object.changed(record),
                            None => Object::new(record),
                        };
                        known.keep(Arc::clone(&object), since);
                        if is_first {
                            self.note_read(Arc::clone(&known));
                        }
                        object
                    }
                    (Told::Nothing, Some((_, object))) => object,
                    (Told::Nothing | Told::Now(None), _) => {
                        self.forget(handle);
                        return Err(Cause::ObjectHandleInvalid.into());
                    }
                }
            }
        };
        if object.is_private() && (!sees_private || known.epoch.login != self.epoch().login) {
            return Err(Cause::ObjectHandleInvalid.into());
        }
        Ok(object)
    }

    /// Puts an object under its handle that was changed after `since`, unless that has one as new already: then another
    /// thread changed it too, and of a session's object this change is not there. False then.
    pub(super) fn replace(&self, handle: CK_OBJECT_HANDLE, record: ObjectRecord, since: Instant) -> bool {
        let Some(known) = self.read().by_handle.get(&handle).cloned() else { return true };
        let mut seen = write(&known.read);
        let present = seen.as_ref().map(|(_, object)| object);
        if present.is_some_and(|object| object.record.version >= record.version) {
            return false;
        }
        let changed = match present {
            Some(object) => object.changed(record),
            None => Object::new(record),
        };
        let is_first = present.is_none();
        *seen = Some((since, changed));
        drop(seen);
        if is_first {
            self.note_read(known);
        }
        true
    }

    /// Changes an object of a session, which nobody else changes meanwhile. `KeyHandleInvalid` if it is gone.
    pub(super) fn change<T>(&self, id: ObjectId, change: impl FnOnce(&mut ObjectRecord) -> Result<T>) -> Result<T> {
        let gone = || Cause::KeyHandleInvalid.with("the key is gone");
        let known = self.known(id).ok_or_else(gone)?;
        let mut seen = write(&known.read);
        let (_, object) = seen.as_ref().ok_or_else(gone)?;
        let mut record = object.record.clone();
        let made = change(&mut record)?;
        record.version += 1;
        let changed = object.changed(record);
        *seen = Some((Instant::now(), changed));
        Ok(made)
    }

    /// Notes what an object of the token became after `since`, if there is a handle of it.
    pub(super) fn note(&self, record: ObjectRecord, since: Instant) {
        let handle = self.read().by_id.get(&record.id).copied();
        if let Some(handle) = handle {
            self.replace(handle, record, since);
        }
    }

    fn known(&self, id: ObjectId) -> Option<Arc<Known>> {
        let maps = self.read();
        maps.by_handle.get(maps.by_id.get(&id)?).cloned()
    }

    /// Whether there is a handle of this object.
    pub(super) fn knows(&self, id: ObjectId) -> bool {
        self.read().by_id.contains_key(&id)
    }

    /// Ends a handle.
    pub(super) fn forget(&self, handle: CK_OBJECT_HANDLE) {
        self.write().remove(handle);
    }

    /// Ends every handle, as after `C_InitToken`.
    pub(super) fn forget_all(&self) {
        *self.write() = Maps::default();
        lock(&self.kept).clear();
    }

    /// Ends the handles of a session's objects, and tells which they were.
    pub(super) fn forget_session(&self, session: CK_SESSION_HANDLE) -> Vec<ObjectId> {
        if self.read().of_sessions.is_empty() {
            return Vec::new();
        }
        let mut maps = self.write();
        let own = maps.session_objects().filter(|(_, known)| known.session == Some(session));
        let own: Vec<_> = own.map(|(handle, known)| (handle, known.id)).collect();
        own.iter().for_each(|(handle, _)| maps.remove(*handle));
        own.into_iter().map(|(_, id)| id).collect()
    }

    /// Ends the handles of private objects, for good, as a logout does: after another login they get
    /// new ones. Private objects of sessions are gone.
    pub(super) fn forget_private(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let mut maps = self.write();
        let private = |known: &Known| known.is_private() == Some(true);
        let ended: Vec<_> =
            maps.by_handle.iter().filter(|(_, known)| private(known)).map(|(handle, _)| *handle).collect();
        for handle in ended {
            maps.remove(handle);
        }
    }

    /// The handles of session objects that fit, lowest first.
    pub(super) fn session_objects(
        &self,
        sees_private: bool,
        fits: impl Fn(&ObjectRecord) -> bool,
    ) -> Vec<CK_OBJECT_HANDLE> {
        let fits = |known: &Known| {
            known.seen().is_some_and(|(_, object)| (sees_private || !object.is_private()) && fits(&object.record))
        };
        self.read().session_objects().filter(|(_, known)| fits(known)).map(|(handle, _)| handle).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        read(&self.maps)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        write(&self.maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::attribute::boolean;
    use crate::store::Attributes;

    const FRESH: Duration = Duration::from_secs(1);

    fn record(id: u8, on_token: bool, private: bool) -> ObjectRecord {
        let attributes = Attributes::from([(CKA_TOKEN, boolean(on_token)), (CKA_PRIVATE, boolean(private))]);
        ObjectRecord { id: ObjectId::from_bytes([id; 16]), version: 1, attributes, sealed: None, mac: None }
    }

    fn of_new(handles: &Handles, record: ObjectRecord, session: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
        handles.of_new(Object::new(record), session, handles.epoch())
    }

    fn is_there(handles: &Handles, handle: CK_OBJECT_HANDLE) -> bool {
        handles.object(handle, true, FRESH, |_| Ok(None)).is_ok()
    }

    #[test]
    fn session_objects_are_found_and_end_with_their_session() {
        let handles = Handles::default();
        let on_token = of_new(&handles, record(1, true, false), 1);
        let (first, second) =
            (of_new(&handles, record(2, false, false), 1), of_new(&handles, record(3, false, true), 2));
        assert_eq!(handles.session_objects(true, |_| true), [first, second]);
        assert_eq!(handles.session_objects(false, |_| true), [first]);
        assert_eq!(handles.session_objects(true, |record| record.id == ObjectId::from_bytes([3; 16])), [second]);
        assert_eq!(handles.forget_session(1), [ObjectId::from_bytes([2; 16])]);
        assert_eq!(handles.session_objects(true, |_| true), [second]);
        assert!(is_there(&handles, on_token) && !is_there(&handles, first) && is_there(&handles, second));
    }

    #[test]
    fn of_two_changes_of_the_same_object_the_second_starts_anew() {
        let handles = Handles::default();
        let handle = of_new(&handles, record(1, false, false), 1);
        let changed = ObjectRecord { version: 2, ..record(1, false, false) };
        let now = Instant::now();
        assert!(handles.replace(handle, changed.clone(), now));
        assert!(!handles.replace(handle, changed.clone(), now));
        assert!(handles.replace(handle, ObjectRecord { version: 3, ..changed }, now));
    }

    #[test]
    fn a_logout_ends_private_objects_and_no_others() {
        let handles = Handles::default();
        let public = [of_new(&handles, record(1, true, false), 1), of_new(&handles, record(2, false, false), 1)];
        let private = [of_new(&handles, record(3, true, true), 1), of_new(&handles, record(4, false, true), 1)];
        handles.forget_private();
        assert!(public.iter().all(|handle| is_there(&handles, *handle)));
        assert!(private.iter().all(|handle| !is_there(&handles, *handle)));
        assert_eq!(handles.session_objects(true, |_| true), public[1..]);
        // After another login the object on the token has another handle.
        assert!(handles.of_id(ObjectId::from_bytes([3; 16])) > private[1]);
    }

    /// What was long on its way is as old as the question for it, whatever brought it.
    #[test]
    fn an_object_is_as_old_as_the_question_for_it() {
        let handles = Handles::default();
        let old = Instant::now() - 2 * FRESH;
        let version = |version| ObjectRecord { version, ..record(1, true, false) };
        let reads = |handle, found: u64| {
            let asked = std::cell::Cell::new(false);
            let object = handles.object(handle, true, FRESH, |_| {
                asked.set(true);
                Ok(Some((Instant::now(), version(found))))
            });
            assert_eq!(object.unwrap().record.version, found);
            asked.get()
        };
        let made = handles.of_new(Object::new(version(1)), 1, HandleEpoch { since: old, ..handles.epoch() });
        assert!(reads(made, 1) && !reads(made, 1));
        assert!(handles.replace(made, version(2), old));
        assert!(reads(made, 3) && !reads(made, 3));
        let known = Arc::clone(&handles.read().by_handle[&made]);
        known.keep(Object::new(version(4)), old);
        assert!(reads(made, 4));
        // An answer that others overtook changes nothing.
        known.keep(Object::new(version(4)), old);
        known.keep(Object::new(version(3)), Instant::now());
        assert!(!reads(made, 4));
    }

    /// What was let go is read again under the same handle, and a logout ends the same handles as ever.
    #[test]
    fn of_many_objects_the_last_are_kept() {
        let numbered = |number: usize| {
            let mut object = record(0, true, number % 2 == 1);
            object.id = ObjectId::from_bytes((number as u128).to_be_bytes());
            object
        };
        let handles = Handles::default();
        let all: Vec<_> = (0..2 * KEPT).map(|number| of_new(&handles, numbered(number), 1)).collect();
        let kept = |handles: &Handles| handles.read().by_handle.values().filter(|known| known.seen().is_some()).count();
        assert_eq!(kept(&handles), KEPT);
        for (number, handle) in all.iter().enumerate() {
            let object = handles
                .object(*handle, true, Duration::ZERO, |_| Ok(Some((Instant::now(), numbered(number)))))
                .unwrap();
            assert_eq!(object.record, numbered(number));
        }
        assert_eq!(kept(&handles), KEPT);
        handles.forget_private();
        for (number, handle) in all.iter().enumerate() {
            let is_public = number % 2 == 0;
            let found = handles.object(*handle, true, Duration::ZERO, |_| Ok(Some((Instant::now(), numbered(number)))));
            assert_eq!(found.is_ok(), is_public, "{number}");
            assert_eq!(handles.of_id(numbered(number).id) == *handle, is_public, "{number}");
        }
    }

    #[test]
    fn a_forgotten_handle_leaves_the_others() {
        let handles = Handles::default();
        let [one, two] = [1, 2].map(|id| of_new(&handles, record(id, false, false), 1));
        handles.forget(one);
        assert!(!is_there(&handles, one) && is_there(&handles, two));
        assert_eq!(handles.session_objects(true, |_| true), [two]);
        handles.forget_all();
        assert!(!is_there(&handles, two));
        assert!(handles.session_objects(true, |_| true).is_empty());
    }
}

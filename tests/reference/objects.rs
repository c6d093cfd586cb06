//! Objects (section 5.7) and their attributes (section 4).

use super::{Judged, Model, User, is_missing, judge, one_of};
use cryptoki_sys::*;
use std::collections::BTreeMap;

/// A type that no object has.
pub(crate) const UNKNOWN_ATTRIBUTE: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x4E6F_4F6E;

/// A template, as it is given.
pub(crate) type Template = Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>;

/// An object, by what the model knows of it.
pub(crate) struct Object {
    /// Of a data object all attributes, of a key those that the sequences look at.
    pub(crate) attributes: BTreeMap<CK_ATTRIBUTE_TYPE, Vec<u8>>,
    /// The session that it belongs to; `None` for one on the token.
    pub(crate) session: Option<CK_SESSION_HANDLE>,
    /// Destroyed, or ended with its session or login.
    pub(crate) gone: bool,
    /// The number of its key pair, if it is half of one.
    pub(crate) pair: Option<usize>,
}

impl Object {
    /// Whether a flag is true.
    pub(crate) fn is(&self, attribute: CK_ATTRIBUTE_TYPE) -> bool {
        self.attributes.get(&attribute).is_some_and(|value| value == &[CK_TRUE])
    }

    /// A number, if it has that attribute.
    pub(crate) fn number(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        Some(CK_ULONG::from_ne_bytes(self.attributes.get(&attribute)?.as_slice().try_into().ok()?))
    }
}

/// The attributes of a data object that its template does not name (4.4 and 4.5). Of `CKA_PRIVATE` the
/// specification says that the default is the token's choice: this token's objects are open.
const DATA_DEFAULTS: [(CK_ATTRIBUTE_TYPE, &[u8]); 9] = [
    (CKA_TOKEN, &[CK_FALSE]),
    (CKA_PRIVATE, &[CK_FALSE]),
    (CKA_MODIFIABLE, &[CK_TRUE]),
    (CKA_COPYABLE, &[CK_TRUE]),
    (CKA_DESTROYABLE, &[CK_TRUE]),
    (CKA_LABEL, &[]),
    (CKA_APPLICATION, &[]),
    (CKA_OBJECT_ID, &[]),
    (CKA_VALUE, &[]),
];

const FLAGS: [CK_ATTRIBUTE_TYPE; 5] = [CKA_TOKEN, CKA_PRIVATE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE];

/// What is wrong with one attribute of a template for a data object, whatever is done with it.
fn fault_of_value(attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> &'static [CK_RV] {
    match attribute {
        UNKNOWN_ATTRIBUTE => &[CKR_ATTRIBUTE_TYPE_INVALID],
        // An attribute of other classes: a valid type, and none of this object (4.1.1 and the codes' text).
        CKA_SENSITIVE => &[CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID],
        CKA_UNIQUE_ID => &[CKR_ATTRIBUTE_READ_ONLY],
        flag if FLAGS.contains(&flag) && value != [CK_FALSE] && value != [CK_TRUE] => &[CKR_ATTRIBUTE_VALUE_INVALID],
        _ => &[],
    }
}

impl Model {
    /// Whether an object can be seen: it is there, and open, or the user is logged in.
    pub(crate) fn sees(&self, object: usize) -> bool {
        let object = &self.objects[object];
        !object.gone && (!object.is(CKA_PRIVATE) || self.user == Some(User::User))
    }

    /// The object that a handle stands for, if it can be seen.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<usize> {
        let (_, object, _) = self.handles.iter().rev().find(|(known, _, stands)| *known == handle && *stands)?;
        self.sees(*object).then_some(*object)
    }

    /// Notes a handle that the module gave for an object.
    pub(crate) fn named(&mut self, handle: CK_OBJECT_HANDLE, object: usize) -> Judged {
        if handle == CK_INVALID_HANDLE {
            return Err("an object has the handle 0".into());
        }
        match self.handles.iter().find(|(known, _, _)| *known == handle) {
            Some((_, known, true)) if *known == object => Ok(()),
            Some((_, known, stands)) => {
                Err(format!("handle {handle} of object {object} was that of {known} (which it may be: {stands})"))
            }
            None => {
                self.handles.push((handle, object, true));
                Ok(())
            }
        }
    }

    /// The object with this `CKA_UNIQUE_ID`.
    pub(crate) fn identified(&self, unique_id: &[u8]) -> Option<usize> {
        let same = |object: &Object| object.attributes.get(&CKA_UNIQUE_ID).is_some_and(|id| id == unique_id);
        self.objects.iter().position(same)
    }

    /// What stands against making or changing such an object in this session (5.7, table of access).
    fn fault_of_access(&self, session: CK_SESSION_HANDLE, on_token: bool, private: bool) -> Vec<CK_RV> {
        let mut faults = Vec::new();
        if private && self.user != Some(User::User) {
            faults.push(CKR_USER_NOT_LOGGED_IN);
        }
        if on_token && !self.sessions[&session].read_write {
            faults.push(CKR_SESSION_READ_ONLY);
        }
        faults
    }

    /// `C_CreateObject` of a data object. `made` is its handle and `CKA_UNIQUE_ID`.
    pub(crate) fn created(
        &mut self,
        session: CK_SESSION_HANDLE,
        template: &Template,
        rv: CK_RV,
        made: (CK_OBJECT_HANDLE, Vec<u8>),
    ) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let mut attributes: BTreeMap<_, _> = DATA_DEFAULTS.map(|(attribute, value)| (attribute, value.to_vec())).into();
        let mut named = BTreeMap::new();
        let mut faults = Vec::new();
        for (attribute, value) in template {
            faults.extend(fault_of_value(*attribute, value));
            if named.insert(*attribute, value).is_some_and(|earlier| earlier != value) {
                faults.push(CKR_TEMPLATE_INCONSISTENT);
            }
            attributes.insert(*attribute, value.clone());
        }
        if !named.contains_key(&CKA_CLASS) {
            faults.push(CKR_TEMPLATE_INCOMPLETE);
        }
        let is = |attribute| attributes[&attribute] == [CK_TRUE];
        faults.extend(self.fault_of_access(session, is(CKA_TOKEN), is(CKA_PRIVATE)));
        if judge(rv, &faults)? {
            self.add(attributes, session, None, made)?;
        }
        Ok(())
    }

    /// Adds an object that was made.
    pub(crate) fn add(
        &mut self,
        mut attributes: BTreeMap<CK_ATTRIBUTE_TYPE, Vec<u8>>,
        session: CK_SESSION_HANDLE,
        pair: Option<usize>,
        (handle, unique_id): (CK_OBJECT_HANDLE, Vec<u8>),
    ) -> Judged {
        if unique_id.is_empty() || self.identified(&unique_id).is_some() {
            return Err(format!("CKA_UNIQUE_ID {unique_id:x?} is not unique"));
        }
        attributes.insert(CKA_UNIQUE_ID, unique_id);
        let mut object = Object { attributes, session: None, gone: false, pair };
        object.session = (!object.is(CKA_TOKEN)).then_some(session);
        self.objects.push(object);
        self.named(handle, self.objects.len() - 1)
    }

    /// `C_CopyObject` of a data object.
    pub(crate) fn copied(
        &mut self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
        template: &Template,
        rv: CK_RV,
        made: (CK_OBJECT_HANDLE, Vec<u8>),
    ) -> Judged {
        if is_missing("C_CopyObject") {
            return one_of(rv, &[CKR_FUNCTION_NOT_SUPPORTED]);
        }
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let Some(object) = self.object(handle) else { return one_of(rv, &[CKR_OBJECT_HANDLE_INVALID]) };
        let object = &self.objects[object];
        let (mut faults, mut allowed) = (Vec::new(), Vec::new());
        if !object.is(CKA_COPYABLE) {
            faults.push(CKR_ACTION_PROHIBITED);
        }
        let mut attributes = object.attributes.clone();
        attributes.remove(&CKA_UNIQUE_ID);
        for (attribute, value) in template {
            faults.extend(fault_of_value(*attribute, value));
            if template.iter().any(|(other, said)| other == attribute && said != value) {
                faults.push(CKR_TEMPLATE_INCONSISTENT);
            }
            // A copy may be hidden where its original is open. The other way round, and making a copy
            // copyable or modifiable again, a module may refuse: it must not weaken what it copies.
            let weaker = match *attribute {
                CKA_PRIVATE => object.is(CKA_PRIVATE) && value == &[CK_FALSE],
                CKA_COPYABLE | CKA_MODIFIABLE => !object.is(*attribute) && value == &[CK_TRUE],
                // Nor need anything but the storage attributes change while an object is copied that is fixed.
                _ => !object.is(CKA_MODIFIABLE) && !FLAGS.contains(attribute),
            };
            if weaker {
                allowed.extend([CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY, CKR_ACTION_PROHIBITED]);
            }
            attributes.insert(*attribute, value.clone());
        }
        let is = |attribute| attributes.get(&attribute).is_some_and(|value| value == &[CK_TRUE]);
        faults.extend(self.fault_of_access(session, is(CKA_TOKEN), is(CKA_PRIVATE)));
        if allowed_or(rv, &faults, &allowed)? {
            self.add(attributes, session, None, made)?;
        }
        Ok(())
    }

    /// `C_DestroyObject`.
    pub(crate) fn destroyed(&mut self, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE, rv: CK_RV) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let Some(index) = self.object(handle) else { return one_of(rv, &[CKR_OBJECT_HANDLE_INVALID]) };
        let object = &self.objects[index];
        let mut faults = self.fault_of_access(session, object.is(CKA_TOKEN), object.is(CKA_PRIVATE));
        if !object.is(CKA_DESTROYABLE) {
            faults.push(CKR_ACTION_PROHIBITED);
        }
        if judge(rv, &faults)? {
            self.objects[index].gone = true;
        }
        Ok(())
    }

    /// `C_SetAttributeValue`: all of the template, or nothing.
    pub(crate) fn changed(
        &mut self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
        template: &Template,
        rv: CK_RV,
    ) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let Some(index) = self.object(handle) else { return one_of(rv, &[CKR_OBJECT_HANDLE_INVALID]) };
        let object = &self.objects[index];
        let mut faults = self.fault_of_access(session, object.is(CKA_TOKEN), object.is(CKA_PRIVATE));
        let mut allowed = Vec::new();
        if !object.is(CKA_MODIFIABLE) {
            faults.push(CKR_ACTION_PROHIBITED);
        }
        for (attribute, value) in template {
            let about_value = fault_of_value(*attribute, value);
            faults.extend(about_value);
            if !about_value.is_empty() {
                continue;
            }
            match *attribute {
                CKA_LABEL | CKA_VALUE | CKA_APPLICATION => {}
                // "Cannot be set to CK_TRUE once it is CK_FALSE" says that it can be set to CK_FALSE; another
                // sentence of 4.4 has it that only the label changes.
                CKA_COPYABLE if object.is(CKA_COPYABLE) => allowed.push(CKR_ATTRIBUTE_READ_ONLY),
                // Saying what is so already changes nothing.
                _ if object.attributes.get(attribute) == Some(value) => allowed.push(CKR_ATTRIBUTE_READ_ONLY),
                _ => faults.push(CKR_ATTRIBUTE_READ_ONLY),
            }
        }
        if allowed_or(rv, &faults, &allowed)? {
            self.objects[index].attributes.extend(template.iter().cloned());
        }
        Ok(())
    }

    /// `C_GetObjectSize`.
    pub(crate) fn measured(&self, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE, rv: CK_RV) -> Judged {
        match self.session(session, rv)? {
            Some(_) if self.object(handle).is_some() => one_of(rv, &[CKR_OK, CKR_INFORMATION_SENSITIVE]),
            Some(_) => one_of(rv, &[CKR_OBJECT_HANDLE_INVALID]),
            None => Ok(()),
        }
    }

    /// `C_GetAttributeValue`. Each entry is the attribute, the room (`None`: the length is asked for), the
    /// length answered, and what stands in the buffer. Each is answered by itself; of several errors, any
    /// may be told (5.7.5).
    pub(crate) fn read(
        &self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
        entries: &[(CK_ATTRIBUTE_TYPE, Option<usize>, CK_ULONG, Vec<u8>)],
        rv: CK_RV,
    ) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let Some(object) = self.object(handle) else { return one_of(rv, &[CKR_OBJECT_HANDLE_INVALID]) };
        let object = &self.objects[object];
        Self::read_object(object, entries, rv).map_err(|what| format!("{what}, of {:x?}", object.attributes))
    }

    fn read_object(
        object: &Object,
        entries: &[(CK_ATTRIBUTE_TYPE, Option<usize>, CK_ULONG, Vec<u8>)],
        rv: CK_RV,
    ) -> Judged {
        let mut faults = Vec::new();
        for (attribute, room, len, buffer) in entries {
            // The value of a private key on a curve; one of RSA has its secrets under other names.
            let secret = *attribute == CKA_VALUE
                && object.number(CKA_CLASS) == Some(CKO_PRIVATE_KEY)
                && object.number(CKA_KEY_TYPE) == Some(CKK_EC);
            let fault = match (object.attributes.get(attribute), room) {
                _ if secret => Err(CKR_ATTRIBUTE_SENSITIVE),
                (None, _) => Err(CKR_ATTRIBUTE_TYPE_INVALID),
                (Some(value), Some(room)) if *room < value.len() => Err(CKR_BUFFER_TOO_SMALL),
                (Some(value), _) => Ok(value),
            };
            match fault {
                Err(fault) => {
                    faults.push(fault);
                    super::same(&format!("length of {attribute:#x}"), *len, CK_UNAVAILABLE_INFORMATION)?;
                }
                Ok(value) => {
                    super::same(&format!("length of {attribute:#x}"), *len, value.len() as CK_ULONG)?;
                    if room.is_some() {
                        super::same(&format!("value of {attribute:#x}"), &buffer[..value.len()], value.as_slice())?;
                    }
                }
            }
        }
        judge(rv, &faults).map(|_| ())
    }

    /// `C_GenerateKeyPair`. `right` is the one code that is right for the template, if it is bad.
    pub(crate) fn generated(
        &mut self,
        session: CK_SESSION_HANDLE,
        new: &NewPair,
        rv: CK_RV,
        made: [(CK_OBJECT_HANDLE, Vec<u8>); 2],
    ) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let mut faults = new.faults.to_vec();
        faults.extend(self.fault_of_access(session, new.on_token, new.hidden));
        // A private key on the token is encrypted under what the PIN opens even if anybody may see it: this token
        // wants the user for it, which 5.18.2 has a code for.
        let is_free = self.user == Some(User::User) || !new.on_token;
        let allowed: &[CK_RV] = if is_free { &[] } else { &[CKR_USER_NOT_LOGGED_IN] };
        if !allowed_or(rv, &faults, allowed)? {
            return Ok(());
        }
        self.pairs += 1;
        let flag = |set: bool| vec![if set { CK_TRUE } else { CK_FALSE }];
        let number = |number: CK_ULONG| number.to_ne_bytes().to_vec();
        let (key_type, generation) = match new.rsa {
            true => (CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN),
            false => (CKK_EC, CKM_EC_KEY_PAIR_GEN),
        };
        let [public, private] = made;
        for (class, hidden, made) in [(CKO_PUBLIC_KEY, false, public), (CKO_PRIVATE_KEY, new.hidden, private)] {
            let mut attributes = BTreeMap::from([
                (CKA_CLASS, number(class)),
                (CKA_KEY_TYPE, number(key_type)),
                (CKA_TOKEN, flag(new.on_token)),
                (CKA_PRIVATE, flag(hidden)),
                (CKA_MODIFIABLE, flag(true)),
                (CKA_DESTROYABLE, flag(true)),
                // The specification's default is true. Of private keys on this token it is false: clients that
                // cache keys would copy each one before its first use. A template may say otherwise.
                (CKA_COPYABLE, flag(class == CKO_PUBLIC_KEY || !new.on_token)),
                (CKA_LABEL, new.label.clone()),
                (CKA_ID, Vec::new()),
                (CKA_LOCAL, flag(true)),
                (CKA_KEY_GEN_MECHANISM, number(generation)),
            ]);
            if class == CKO_PRIVATE_KEY {
                attributes.extend([
                    (CKA_SENSITIVE, flag(true)),
                    (CKA_ALWAYS_SENSITIVE, flag(true)),
                    (CKA_EXTRACTABLE, flag(false)),
                    (CKA_NEVER_EXTRACTABLE, flag(true)),
                    (CKA_ALWAYS_AUTHENTICATE, flag(new.always_authenticate)),
                ]);
            }
            self.add(attributes, session, Some(self.pairs), made)?;
        }
        Ok(())
    }
}

/// A key pair that is asked for.
#[derive(Default)]
pub(crate) struct NewPair {
    pub(crate) rsa: bool,
    pub(crate) on_token: bool,
    pub(crate) hidden: bool,
    pub(crate) always_authenticate: bool,
    pub(crate) label: Vec<u8>,
    /// What is wrong with its templates.
    pub(crate) faults: &'static [CK_RV],
}

/// Whether a call succeeded: with `faults` it must not; with `allowed` codes it need not.
fn allowed_or(rv: CK_RV, faults: &[CK_RV], allowed: &[CK_RV]) -> Result<bool, String> {
    let ok: &[CK_RV] = if faults.is_empty() { &[CKR_OK] } else { &[] };
    one_of(rv, &[ok, faults, allowed].concat())?;
    Ok(rv == CKR_OK)
}

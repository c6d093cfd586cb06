//! Actions on objects.

use super::actions::{Action, Part, Pick, Room};
use super::drive::World;
use super::objects::{NewPair, Template, UNKNOWN_ATTRIBUTE};
use super::{Judged, is_missing};
use crate::host::{attr, call, mechanism};
use cryptoki_sys::*;
use std::ptr::null_mut;

const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const YES: &[u8] = &[CK_TRUE];
const NO: &[u8] = &[CK_FALSE];

/// A `C_GenerateKeyPair`: mechanism, what the public and the private template say, and what comes of it.
struct Row {
    mechanism: CK_MECHANISM_TYPE,
    public: &'static [(CK_ATTRIBUTE_TYPE, &'static [u8])],
    private: &'static [(CK_ATTRIBUTE_TYPE, &'static [u8])],
    faults: &'static [CK_RV],
}

/// How many of the rows are made once for each token.
pub(crate) const LASTING: u8 = 3;

const BITS: &[u8] = &2048_u64.to_ne_bytes();

/// The rows; the first ones make the keys that most operations use.
const ROWS: [Row; 15] = [
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256), (CKA_TOKEN, YES)],
        private: &[(CKA_TOKEN, YES), (CKA_DERIVE, NO)],
        faults: &[],
    },
    Row {
        mechanism: CKM_RSA_PKCS_KEY_PAIR_GEN,
        public: &[(CKA_MODULUS_BITS, BITS), (CKA_TOKEN, YES)],
        private: &[(CKA_TOKEN, YES)],
        faults: &[],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256), (CKA_TOKEN, YES)],
        private: &[(CKA_TOKEN, YES), (CKA_ALWAYS_AUTHENTICATE, YES)],
        faults: &[],
    },
    Row { mechanism: CKM_EC_KEY_PAIR_GEN, public: &[(CKA_EC_PARAMS, P256)], private: &[], faults: &[] },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256), (CKA_LABEL, b"pair")],
        private: &[(CKA_LABEL, b"pair"), (CKA_PRIVATE, NO)],
        faults: &[],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_TOKEN, YES), (CKA_EC_PARAMS, P256), (CKA_LABEL, b"pair")],
        private: &[(CKA_TOKEN, YES), (CKA_LABEL, b"pair")],
        faults: &[],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[],
        private: &[],
        faults: &[CKR_TEMPLATE_INCOMPLETE, CKR_DOMAIN_PARAMS_INVALID],
    },
    Row { mechanism: CKM_ECDSA, public: &[(CKA_EC_PARAMS, P256)], private: &[], faults: &[CKR_MECHANISM_INVALID] },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256)],
        private: &[(CKA_LOCAL, YES)],
        faults: &[CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256), (CKA_SENSITIVE, YES)],
        private: &[],
        faults: &[CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256), (CKA_LABEL, b"a"), (CKA_LABEL, b"b")],
        private: &[],
        faults: &[CKR_TEMPLATE_INCONSISTENT],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256)],
        private: &[(CKA_SIGN, b"12")],
        faults: &[CKR_ATTRIBUTE_VALUE_INVALID],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, P256), (UNKNOWN_ATTRIBUTE, b"")],
        private: &[],
        faults: &[CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT],
    },
    Row {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public: &[(CKA_EC_PARAMS, b"no DER")],
        private: &[],
        faults: &[CKR_DOMAIN_PARAMS_INVALID, CKR_CURVE_NOT_SUPPORTED, CKR_ATTRIBUTE_VALUE_INVALID],
    },
    Row {
        mechanism: CKM_RSA_PKCS_KEY_PAIR_GEN,
        public: &[(CKA_MODULUS_BITS, &[1, 0, 0, 0, 0, 0, 0, 0])],
        private: &[],
        faults: &[CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID],
    },
];

const FLAGS: [CK_ATTRIBUTE_TYPE; 5] = [CKA_TOKEN, CKA_PRIVATE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE];
const LABELS: [&[u8]; 4] = [b"one", b"two", b"\xc3\xbcber", b""];
const VALUES: [&[u8]; 3] = [b"a value", b"", &[0; 300]];
const ENTRIES: [CK_ATTRIBUTE_TYPE; 12] = [
    CKA_CLASS,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_MODIFIABLE,
    CKA_DESTROYABLE,
    CKA_LABEL,
    CKA_VALUE,
    CKA_APPLICATION,
    CKA_UNIQUE_ID,
    CKA_SENSITIVE,
    CKA_LOCAL,
    UNKNOWN_ATTRIBUTE,
];

/// Classes of objects that the token has by itself, which sequences neither make nor look at.
const BUILT_IN: [CK_OBJECT_CLASS; 4] = [CKO_PROFILE, CKO_MECHANISM, CKO_VALIDATION, CKO_HW_FEATURE];

/// A template as it is given. Objects on the token that can never be destroyed would pile up: the label tells
/// which few are made.
fn template(parts: &[Part]) -> Template {
    let flag = |set: bool| if set { YES.to_vec() } else { NO.to_vec() };
    let mut template: Template = parts
        .iter()
        .map(|part| match *part {
            Part::Class => (CKA_CLASS, CKO_DATA.to_ne_bytes().to_vec()),
            Part::Flag(which, set) => (FLAGS[usize::from(which)], flag(set)),
            Part::Label(which) => (CKA_LABEL, LABELS[usize::from(which) % LABELS.len()].to_vec()),
            Part::Value(which) => (CKA_VALUE, VALUES[usize::from(which) % VALUES.len()].to_vec()),
            Part::LongFlag => (CKA_TOKEN, vec![1, 1]),
            Part::UniqueId => (CKA_UNIQUE_ID, b"mine".to_vec()),
            Part::Unknown => (UNKNOWN_ATTRIBUTE, b"x".to_vec()),
            Part::OfAnotherClass => (CKA_SENSITIVE, flag(true)),
        })
        .collect();
    let says = |attribute, value| template.iter().any(|(one, said)| *one == attribute && said == value);
    if says(CKA_TOKEN, YES) && says(CKA_DESTROYABLE, NO) && !says(CKA_LABEL, LABELS[3]) {
        template.retain(|(attribute, _)| *attribute != CKA_DESTROYABLE);
    }
    template
}

/// The template in C's form.
fn native(template: &Template) -> Vec<CK_ATTRIBUTE> {
    template.iter().map(|(attribute, value)| attr(*attribute, value)).collect()
}

impl World {
    /// An object: mostly one that can be seen, sometimes one that is hidden or gone, sometimes none.
    pub(crate) fn handle(&self, pick: Pick) -> CK_OBJECT_HANDLE {
        let good: Vec<_> =
            self.model.handles.iter().filter(|(handle, _, _)| self.model.object(*handle).is_some()).collect();
        let pick = usize::from(pick);
        match pick {
            248.. => [CK_INVALID_HANDLE, CK_OBJECT_HANDLE::MAX][pick % 2],
            208.. if !self.model.handles.is_empty() => {
                self.model.handles[self.model.handles.len() - 1 - pick % self.model.handles.len().min(20)].0
            }
            _ if good.is_empty() => CK_INVALID_HANDLE,
            // The youngest are the most interesting.
            _ => good[good.len() - 1 - pick % good.len().min(12)].0,
        }
    }

    /// The identity of an object that was just made; nothing if there is none.
    fn unique_id(&mut self, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE, rv: CK_RV) -> Vec<u8> {
        if rv == CKR_OK { self.module.attribute(session, handle, CKA_UNIQUE_ID) } else { Vec::new() }
    }

    pub(super) fn perform_on_objects(&mut self, action: &Action) -> Judged {
        match action {
            Action::Create { session, template: parts } => {
                let (session, template) = (self.session(*session), template(parts));
                let (mut native, mut handle) = (native(&template), 0);
                let count = native.len() as CK_ULONG;
                let rv = call!(self.module, C_CreateObject, session, native.as_mut_ptr(), count, &mut handle);
                self.note("C_CreateObject", rv);
                let made = (handle, self.unique_id(session, handle, rv));
                self.model.created(session, &template, rv, made)
            }
            Action::Copy { session, object, template: parts } => {
                let (session, object) = (self.session(*session), self.handle(*object));
                let mut template = template(parts);
                let data = self.model.object(object).is_none_or(|one| self.model.objects[one].pair.is_none());
                if !data && !is_missing("C_CopyObject") {
                    return Ok(());
                }
                template.retain(|(attribute, _)| *attribute != CKA_CLASS);
                let (mut native, mut handle) = (native(&template), 0);
                let count = native.len() as CK_ULONG;
                let rv = call!(self.module, C_CopyObject, session, object, native.as_mut_ptr(), count, &mut handle);
                self.note("C_CopyObject", rv);
                let made = (handle, self.unique_id(session, handle, rv));
                self.model.copied(session, object, &template, rv, made)
            }
            Action::Destroy { session, object } => {
                let (session, object) = (self.session(*session), self.handle(*object));
                let lasting = self.model.object(object).and_then(|object| self.model.objects[object].pair);
                match lasting.is_some_and(|pair| pair <= usize::from(LASTING)) {
                    true => Ok(()),
                    false => self.destroy(session, object),
                }
            }
            Action::Set { session, object, template: parts } => {
                let (session, object) = (self.session(*session), self.handle(*object));
                let mut template = template(parts);
                if self.model.object(object).is_some_and(|one| self.model.objects[one].pair.is_some()) {
                    template.retain(|(attribute, _)| *attribute == CKA_LABEL);
                }
                // Of several values for one attribute, which one stays is nowhere said.
                template.dedup_by_key(|(attribute, _)| *attribute);
                let mut seen = Vec::new();
                template.retain(|(attribute, _)| {
                    !seen.contains(attribute) && {
                        seen.push(*attribute);
                        true
                    }
                });
                let mut native = native(&template);
                let count = native.len() as CK_ULONG;
                let rv = call!(self.module, C_SetAttributeValue, session, object, native.as_mut_ptr(), count);
                self.note("C_SetAttributeValue", rv);
                self.model.changed(session, object, &template, rv)
            }
            Action::Get { session, object, entries } => {
                self.read(self.session(*session), self.handle(*object), entries)
            }
            Action::Size { session, object } => {
                let (session, object) = (self.session(*session), self.handle(*object));
                let rv = call!(self.module, C_GetObjectSize, session, object, &mut 0);
                self.note("C_GetObjectSize", rv);
                self.model.measured(session, object, rv)
            }
            Action::FindInit { session, template: parts } => {
                let (session, template) = (self.session(*session), template(parts));
                let mut native = native(&template);
                let rv = call!(self.module, C_FindObjectsInit, session, native.as_mut_ptr(), native.len() as CK_ULONG);
                self.note("C_FindObjectsInit", rv);
                self.model.search_begun(session, template, rv)
            }
            Action::Find { session, most } => self.find(self.session(*session), usize::from(*most)).map(|_| ()),
            Action::FindFinal(session) => {
                let session = self.session(*session);
                let rv = call!(self.module, C_FindObjectsFinal, session);
                self.note("C_FindObjectsFinal", rv);
                self.model.search_ended(session, rv)
            }
            Action::GeneratePair { session, row } => {
                let rows = &ROWS[usize::from(LASTING)..];
                self.generate_pair(self.session(*session), LASTING + row % rows.len() as u8)
            }
            _ => unreachable!("no action on objects"),
        }
    }

    fn destroy(&mut self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Judged {
        let rv = call!(self.module, C_DestroyObject, session, object);
        self.note("C_DestroyObject", rv);
        self.model.destroyed(session, object, rv)
    }

    fn read(&mut self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, entries: &[(u8, Room)]) -> Judged {
        let known = self.model.object(object).map(|object| &self.model.objects[object].attributes);
        let mut asked: Vec<_> = entries
            .iter()
            .map(|(entry, room)| {
                let attribute = ENTRIES[usize::from(*entry) % ENTRIES.len()];
                let exact = known.and_then(|known| known.get(&attribute)).map_or(8, Vec::len);
                let room = match room {
                    Room::Query => None,
                    Room::Zero => Some(0),
                    Room::OneShort => Some(exact.saturating_sub(1)),
                    Room::Exact => Some(exact),
                    Room::Plenty => Some(exact + 300),
                };
                (attribute, room, 0, vec![0; exact + 300])
            })
            .collect();
        let mut native: Vec<_> = asked
            .iter_mut()
            .map(|(attribute, room, _, buffer)| CK_ATTRIBUTE {
                type_: *attribute,
                // A buffer of no bytes is a buffer.
                pValue: if room.is_some() { buffer.as_mut_ptr().cast() } else { null_mut() },
                ulValueLen: room.unwrap_or(0) as CK_ULONG,
            })
            .collect();
        let count = native.len() as CK_ULONG;
        let rv = call!(self.module, C_GetAttributeValue, session, object, native.as_mut_ptr(), count);
        self.note("C_GetAttributeValue", rv);
        for (asked, answer) in asked.iter_mut().zip(&native) {
            asked.2 = answer.ulValueLen;
        }
        self.model.read(session, object, &asked, rv)
    }

    /// `C_FindObjects`. Handles that are new are told apart by `CKA_UNIQUE_ID`.
    fn find(&mut self, session: CK_SESSION_HANDLE, most: usize) -> Result<usize, String> {
        let (mut page, mut count) = ([CK_INVALID_HANDLE; 256], 99);
        let rv = call!(self.module, C_FindObjects, session, page.as_mut_ptr(), most as CK_ULONG, &mut count);
        self.note("C_FindObjects", rv);
        let page = if rv == CKR_OK { &page[..count as usize] } else { &[] };
        let mut found = Vec::new();
        for handle in page {
            if let Some(object) = self.model.object(*handle) {
                found.push(Some(object));
                continue;
            }
            let mut class = [0; 8];
            let mut id = [0; 128];
            let mut wanted = [attr(CKA_CLASS, &class), attr(CKA_UNIQUE_ID, &id)];
            wanted[0].pValue = class.as_mut_ptr().cast();
            wanted[1].pValue = id.as_mut_ptr().cast();
            match call!(self.module, C_GetAttributeValue, session, *handle, wanted.as_mut_ptr(), 2) {
                CKR_OK => {}
                // Gone since the search began.
                CKR_OBJECT_HANDLE_INVALID => {
                    found.push(None);
                    continue;
                }
                rv => return Err(format!("object {handle}, just found, cannot be read: {rv:#x}")),
            }
            if BUILT_IN.contains(&CK_ULONG::from_ne_bytes(class)) {
                continue;
            }
            let id = &id[..wanted[1].ulValueLen as usize];
            let Some(object) = self.model.identified(id) else {
                return Err(format!("object {handle} was found, and nobody made it"));
            };
            self.model.named(*handle, object)?;
            found.push(Some(object));
        }
        self.model.search_answered(session, most, rv, &found)?;
        Ok(found.len())
    }

    pub(super) fn generate_pair(&mut self, session: CK_SESSION_HANDLE, row: u8) -> Judged {
        let row = &ROWS[usize::from(row)];
        let native = |template: &[(CK_ATTRIBUTE_TYPE, &[u8])]| -> Vec<CK_ATTRIBUTE> {
            template.iter().map(|(attribute, value)| attr(*attribute, value)).collect()
        };
        let (mut public, mut private, mut pair) = (native(row.public), native(row.private), [0; 2]);
        let [first, second] = &mut pair;
        let rv = call!(
            self.module,
            C_GenerateKeyPair,
            session,
            &mut mechanism(row.mechanism),
            public.as_mut_ptr(),
            public.len() as CK_ULONG,
            private.as_mut_ptr(),
            private.len() as CK_ULONG,
            first,
            second
        );
        self.note("C_GenerateKeyPair", rv);
        let says = |template: &[(CK_ATTRIBUTE_TYPE, &[u8])], attribute, value: &[u8]| {
            template.iter().any(|(one, said)| *one == attribute && *said == value)
        };
        let label = row.public.iter().find(|(attribute, _)| *attribute == CKA_LABEL);
        let new = NewPair {
            rsa: row.mechanism == CKM_RSA_PKCS_KEY_PAIR_GEN,
            on_token: says(row.public, CKA_TOKEN, YES),
            hidden: !says(row.private, CKA_PRIVATE, NO),
            always_authenticate: says(row.private, CKA_ALWAYS_AUTHENTICATE, YES),
            label: label.map(|(_, label)| label.to_vec()).unwrap_or_default(),
            faults: row.faults,
        };
        let made = pair.map(|handle| (handle, self.unique_id(session, handle, rv)));
        self.model.generated(session, &new, rv, made)?;
        if rv == CKR_OK && !new.rsa {
            let point = self.module.attribute(session, pair[0], CKA_EC_POINT);
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point[2..]).map_err(|error| error.to_string())?;
            self.points.insert(self.model.pairs, key);
        }
        Ok(())
    }

    /// At the end of a sequence: what is found is what there is.
    pub(super) fn take_stock(&mut self) -> Judged {
        let Some(session) = self.model.open_sessions().first().copied() else { return Ok(()) };
        let rv = call!(self.module, C_SessionCancel, session, CK_FLAGS::MAX);
        self.model.cancelled(session, CK_FLAGS::MAX, rv)?;
        let rv = call!(self.module, C_FindObjectsInit, session, null_mut(), 0);
        self.model.search_begun(session, Vec::new(), rv)?;
        while self.find(session, 200)? != 0 {}
        let rv = call!(self.module, C_FindObjectsFinal, session);
        self.model.search_ended(session, rv)
    }

    /// Before a sequence: what earlier ones left on the token goes, as far as it can be seen and destroyed,
    /// once there is much of it; and the model forgets what nothing can ask for any more.
    pub(super) fn tidy(&mut self) -> Judged {
        let model = &mut self.model;
        let ended = model.handles.iter().filter(|(_, object, stands)| !stands || model.objects[*object].gone).count();
        let mut spare = ended.saturating_sub(30);
        let objects = &model.objects;
        model.handles.retain(|(_, object, stands)| {
            let drop = spare > 0 && (!stands || objects[*object].gone);
            spare -= usize::from(drop);
            !drop
        });
        if self.model.visible().len() < 24 {
            return Ok(());
        }
        let session = self.model.open_sessions()[0];
        self.take_stock()?;
        for (handle, object, stands) in self.model.handles.clone() {
            let known = &self.model.objects[object];
            let lasting = known.pair.is_some_and(|pair| pair <= usize::from(LASTING));
            if stands && !lasting && self.model.sees(object) && known.is(CKA_DESTROYABLE) {
                self.destroy(session, handle)?;
            }
        }
        Ok(())
    }
}

//! A client: a process with the real module in it, which does this and that with a few objects and a PIN that others use
//! at the same time, and notes what it did.

use super::log::{Log, now};
use crate::host::{Module, SO_PIN, at, attr, call, len, mechanism, ok};
use cryptoki_sys::*;
use datakey::error::Cause;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::Duration;

/// The PINs that the user has in turn.
pub(crate) const PINS: [&str; 3] = ["pin-0000", "pin-1111", "pin-2222"];
/// The slots of the configuration.
pub(crate) const OBJECTS: CK_SLOT_ID = 0;
pub(crate) const LOCK: CK_SLOT_ID = 1;
/// The errors after which nobody knows whether a change was made; all others promise that it was not (docs/stores.md).
const NOT_KNOWN: [Cause; 2] = [Cause::StoreInDoubt, Cause::Panic];
/// Who finds this file ends.
pub(crate) const STOP: &str = "stop";
/// A client that does this only looks: its store cannot be written to.
pub(crate) const READS: &str = "reads";

const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// Numbers that look random, the same for each seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) % sides
    }
}

/// An object that was found: its name never changes.
#[derive(Clone)]
struct Known {
    handle: CK_OBJECT_HANDLE,
    tag: String,
    is_key: bool,
}

struct Client {
    module: Module,
    log: Log,
    dice: Dice,
    /// Goes before all names and values that it makes.
    name: String,
    made: u64,
    only_reads: bool,
    objects: CK_SESSION_HANDLE,
    lock: CK_SESSION_HANDLE,
    names: HashMap<CK_OBJECT_HANDLE, (String, bool)>,
    known: Vec<Known>,
}

/// `role:client FOLDER NAME SEED CONFIGURATION [reads]`
pub(crate) fn client(folder: &Path, arguments: &[String]) {
    let [name, seed, configuration, how @ ..] = arguments else { panic!("{arguments:?}") };
    crate::host::steps::limit(3600);
    let module = Module::start(Path::new(configuration));
    let open = |slot| loop {
        let mut session = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        if call!(module, C_OpenSession, slot, flags, null_mut(), None, &mut session) == CKR_OK {
            return session;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut client = Client {
        module,
        log: Log::new(&folder.join(format!("{name}.log"))),
        dice: Dice(seed.parse().unwrap()),
        name: name.clone(),
        made: 0,
        only_reads: how.iter().any(|word| word == READS),
        objects: open(OBJECTS),
        lock: open(LOCK),
        names: HashMap::new(),
        known: Vec::new(),
    };
    let stop: PathBuf = folder.join(STOP);
    while !stop.exists() {
        client.step();
        std::thread::sleep(Duration::from_micros(client.dice.roll(4000)));
    }
    client.look_at_all();
    module.finalise();
}

/// What came of a call: `gone`, `refused`, …, or what is told of an error.
fn outcome(module: Module, session: CK_SESSION_HANDLE, rv: CK_RV) -> String {
    match rv {
        CKR_OK => "ok".to_owned(),
        CKR_OBJECT_HANDLE_INVALID | CKR_KEY_HANDLE_INVALID => "gone".to_owned(),
        CKR_KEY_FUNCTION_NOT_PERMITTED => "refused".to_owned(),
        CKR_PIN_INCORRECT => "incorrect".to_owned(),
        CKR_PIN_LOCKED => "locked".to_owned(),
        CKR_DEVICE_ERROR | CKR_FUNCTION_FAILED | CKR_TOKEN_WRITE_PROTECTED | CKR_GENERAL_ERROR => {
            let number = module.device_error(session);
            let is_unknown = NOT_KNOWN.iter().any(|cause| CK_ULONG::from(cause.device_error()) == number);
            let word = if is_unknown { "unknown" } else { "no" };
            format!("{word} {rv:#x} {number:#x}")
        }
        other => format!("no {other:#x} 0x0"),
    }
}

impl Client {
    fn step(&mut self) {
        if self.known.is_empty() {
            return if self.only_reads || self.dice.roll(2) == 0 { self.find(None) } else { self.create() };
        }
        let picked = self.known[self.dice.roll(self.known.len() as u64) as usize].clone();
        let sort = self.dice.roll(100);
        if self.only_reads {
            return match sort {
                0..40 => self.find(None),
                40..60 => self.find_by_label(),
                60..80 => self.get(&picked),
                _ => self.copy(&picked),
            };
        }
        match sort {
            0..16 => self.find(None),
            16..22 => self.find_by_label(),
            22..36 => self.get(&picked),
            36..46 if !picked.is_key => self.copy(&picked),
            36..46 => self.sign(&picked),
            46..60 => self.set(&picked, "label"),
            60..72 => self.set(&picked, "second"),
            72..79 => self.create(),
            79..80 => self.create_key(),
            80..87 if self.known.len() > 4 => self.destroy(&picked),
            80..87 => self.create(),
            87..91 => self.login(),
            91..95 => self.login(),
            95..97 => self.flags(),
            97 => self.change_pin(),
            _ => self.set_pin_anew(),
        }
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("{}.{}", self.name, self.made)
    }

    fn ended(&mut self, session: CK_SESSION_HANDLE, rv: CK_RV) {
        let at = now();
        let what = outcome(self.module, session, rv);
        self.log.ended(at, &what);
    }

    fn create(&mut self) {
        let (tag, label, second) = (self.fresh(), self.fresh(), self.fresh());
        self.log.begins(&format!("create {tag} data {label} {second}"));
        let (yes, no, class) = ([CK_TRUE], [CK_FALSE], CKO_DATA.to_ne_bytes());
        let mut template = [
            attr(CKA_CLASS, &class),
            attr(CKA_TOKEN, &yes),
            attr(CKA_PRIVATE, &no),
            attr(CKA_VALUE, tag.as_bytes()),
            attr(CKA_LABEL, label.as_bytes()),
            attr(CKA_APPLICATION, second.as_bytes()),
        ];
        let mut handle = 0;
        let count = template.len() as CK_ULONG;
        let rv = call!(self.module, C_CreateObject, self.objects, template.as_mut_ptr(), count, &mut handle);
        self.ended(self.objects, rv);
    }

    fn create_key(&mut self) {
        let (tag, label) = (self.fresh(), self.fresh());
        self.log.begins(&format!("create {tag} key {label} may"));
        let (yes, no) = ([CK_TRUE], [CK_FALSE]);
        let mut public = [attr(CKA_TOKEN, &no), attr(CKA_EC_PARAMS, P256)];
        let mut private = [attr(CKA_TOKEN, &yes), attr(CKA_ID, tag.as_bytes()), attr(CKA_LABEL, label.as_bytes())];
        let mut generation = mechanism(CKM_EC_KEY_PAIR_GEN);
        let (mut one, mut two) = (0, 0);
        let rv = call!(
            self.module,
            C_GenerateKeyPair,
            self.objects,
            &mut generation,
            public.as_mut_ptr(),
            public.len() as CK_ULONG,
            private.as_mut_ptr(),
            private.len() as CK_ULONG,
            &mut one,
            &mut two
        );
        self.ended(self.objects, rv);
        if rv == CKR_OK {
            call!(self.module, C_DestroyObject, self.objects, one);
        }
    }

    /// A search page by page: all data objects, all private keys, or those with a label.
    fn find(&mut self, label: Option<&str>) {
        let is_key = label.is_none() && self.dice.roll(4) == 0;
        let kind = if is_key { "key" } else { "data" };
        self.log.begins(&format!("find {kind} {}", label.unwrap_or("*")));
        let class = if is_key { CKO_PRIVATE_KEY } else { CKO_DATA }.to_ne_bytes();
        let mut template = vec![attr(CKA_CLASS, &class)];
        template.extend(label.map(|label| attr(CKA_LABEL, label.as_bytes())));
        let (module, session) = (self.module, self.objects);
        let begun = call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), template.len() as CK_ULONG);
        if begun != CKR_OK {
            return self.ended(session, begun);
        }
        let most = [1, 2, 3, 64][self.dice.roll(4) as usize];
        let mut found = Vec::new();
        let rv = loop {
            let (mut page, mut count) = ([0; 64], 0);
            let rv = call!(module, C_FindObjects, session, page.as_mut_ptr(), most, &mut count);
            if rv != CKR_OK || count == 0 {
                break rv;
            }
            found.extend_from_slice(&page[..count as usize]);
        };
        let ended = now();
        if rv != CKR_OK {
            let what = outcome(module, session, rv);
            call!(module, C_FindObjectsFinal, session);
            return self.log.ended(ended, &what);
        }
        ok!(module, C_FindObjectsFinal, session);
        let tags: Vec<_> = found.iter().map(|handle| self.tag(*handle, is_key)).collect();
        let words: Vec<_> = tags.iter().map(|tag| tag.as_deref().unwrap_or("?")).collect();
        self.log.ended(ended, format!("ok {}", words.join(" ")).trim_end());
        if label.is_none() {
            self.known.retain(|known| known.is_key != is_key);
            let known =
                found.into_iter().zip(tags).filter_map(|(handle, tag)| Some(Known { handle, tag: tag?, is_key }));
            self.known.extend(known);
        }
    }

    fn find_by_label(&mut self) {
        let picked = self.known[self.dice.roll(self.known.len() as u64) as usize].clone();
        let label = if picked.is_key { None } else { self.values(&picked).ok().map(|(label, _)| label) };
        match label {
            Some(label) => self.find(Some(&label)),
            None => self.find(None),
        }
    }

    /// What an object is called, for good; `None` if it cannot be read.
    fn tag(&mut self, handle: CK_OBJECT_HANDLE, is_key: bool) -> Option<String> {
        if let Some((tag, _)) = self.names.get(&handle) {
            return Some(tag.clone());
        }
        let kind = if is_key { CKA_ID } else { CKA_VALUE };
        let [tag] = self.read(handle, [kind]).ok()?;
        self.names.insert(handle, (tag.clone(), is_key));
        Some(tag)
    }

    fn read<const N: usize>(
        &self,
        handle: CK_OBJECT_HANDLE,
        kinds: [CK_ATTRIBUTE_TYPE; N],
    ) -> Result<[String; N], CK_RV> {
        let mut values = kinds.map(|_| [0_u8; 64]);
        let mut wanted: Vec<_> = kinds
            .iter()
            .zip(&mut values)
            .map(|(kind, value)| CK_ATTRIBUTE { type_: *kind, pValue: value.as_mut_ptr().cast(), ulValueLen: 64 })
            .collect();
        let rv = call!(self.module, C_GetAttributeValue, self.objects, handle, wanted.as_mut_ptr(), N as CK_ULONG);
        if rv != CKR_OK {
            return Err(rv);
        }
        let lens: Vec<_> = wanted.iter().map(|wanted| wanted.ulValueLen as usize).collect();
        let mut lens = lens.into_iter();
        Ok(values.map(|value| String::from_utf8(value[..lens.next().unwrap()].to_vec()).unwrap()))
    }

    /// Both values of an object.
    fn values(&self, known: &Known) -> Result<(String, String), CK_RV> {
        if !known.is_key {
            return self.read(known.handle, [CKA_LABEL, CKA_APPLICATION]).map(|[label, second]| (label, second));
        }
        let [label, may] = self.read(known.handle, [CKA_LABEL, CKA_SIGN])?;
        Ok((label, if may == "\u{1}" { "may" } else { "not" }.to_owned()))
    }

    fn get(&mut self, known: &Known) {
        self.log.begins(&format!("get {}", known.tag));
        match self.values(known) {
            Ok((label, second)) => self.log.ended(now(), &format!("ok {label} {second}")),
            Err(rv) => self.ended(self.objects, rv),
        }
    }

    /// A copy for the session, of an object as it is now.
    fn copy(&mut self, known: &Known) {
        if known.is_key {
            return self.get(known);
        }
        self.log.begins(&format!("copy {}", known.tag));
        let no = [CK_FALSE];
        let (mut template, mut copy) = ([attr(CKA_TOKEN, &no)], 0);
        let rv = call!(self.module, C_CopyObject, self.objects, known.handle, template.as_mut_ptr(), 1, &mut copy);
        let ended = now();
        if rv != CKR_OK {
            return self.ended(self.objects, rv);
        }
        let (label, second) = self.values(&Known { handle: copy, ..known.clone() }).unwrap();
        self.log.ended(ended, &format!("ok {label} {second}"));
        ok!(self.module, C_DestroyObject, self.objects, copy);
    }

    fn set(&mut self, known: &Known, which: &str) {
        let value = if which == "second" && known.is_key { "not".to_owned() } else { self.fresh() };
        if value == "not" && self.dice.roll(3) != 0 {
            return self.sign(known);
        }
        self.log.begins(&format!("set {} {which} {value}", known.tag));
        let no = [CK_FALSE];
        let mut template = match (which, known.is_key) {
            ("label", _) => [attr(CKA_LABEL, value.as_bytes())],
            (_, true) => [attr(CKA_SIGN, &no)],
            (_, false) => [attr(CKA_APPLICATION, value.as_bytes())],
        };
        let rv = call!(self.module, C_SetAttributeValue, self.objects, known.handle, template.as_mut_ptr(), 1);
        self.ended(self.objects, rv);
    }

    fn destroy(&mut self, known: &Known) {
        self.log.begins(&format!("destroy {}", known.tag));
        let rv = call!(self.module, C_DestroyObject, self.objects, known.handle);
        self.ended(self.objects, rv);
        if matches!(rv, CKR_OK | CKR_OBJECT_HANDLE_INVALID) {
            self.known.retain(|other| other.handle != known.handle);
        }
    }

    fn sign(&mut self, known: &Known) {
        if !known.is_key {
            return self.get(known);
        }
        self.log.begins(&format!("sign {}", known.tag));
        let rv = self.module.sign(self.objects, known.handle, CKM_ECDSA_SHA256, b"data").err().unwrap_or(CKR_OK);
        self.ended(self.objects, rv);
    }

    fn try_login(&self, user: CK_USER_TYPE, pin: &[u8]) -> CK_RV {
        let rv = self.module.try_login(self.lock, user, pin);
        if rv == CKR_OK && user == CKU_USER {
            ok!(self.module, C_Logout, self.lock);
        }
        rv
    }

    fn pin(&mut self) -> &'static str {
        PINS[self.dice.roll(PINS.len() as u64) as usize]
    }

    fn login(&mut self) {
        let pin = self.pin();
        self.log.begins(&format!("login {pin}"));
        let rv = self.try_login(CKU_USER, pin.as_bytes());
        self.ended(self.lock, rv);
    }

    fn change_pin(&mut self) {
        let (old, new) = (self.pin(), self.pin());
        self.log.begins(&format!("change-pin {old} {new}"));
        let (from, to) = (old.as_bytes(), new.as_bytes());
        let rv = call!(self.module, C_SetPIN, self.lock, at(from), len(from), at(to), len(to));
        self.ended(self.lock, rv);
    }

    /// The officer sets the user's PIN, and so unlocks it.
    fn set_pin_anew(&mut self) {
        if self.try_login(CKU_SO, SO_PIN) != CKR_OK {
            return;
        }
        let pin = self.pin();
        self.log.begins(&format!("init-pin {pin}"));
        let rv = call!(self.module, C_InitPIN, self.lock, at(pin.as_bytes()), len(pin.as_bytes()));
        self.ended(self.lock, rv);
        ok!(self.module, C_Logout, self.lock);
    }

    fn flags(&mut self) {
        self.log.begins("flags");
        let mut info = CK_TOKEN_INFO::default();
        let rv = call!(self.module, C_GetTokenInfo, LOCK, &mut info);
        if rv != CKR_OK {
            return self.log.ended(now(), &format!("no {rv:#x} 0x0"));
        }
        let is = |flag| u8::from(info.flags & flag != 0);
        let [low, last, locked] = [CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED].map(is);
        self.log.ended(now(), &format!("ok {low} {last} {locked}"));
    }

    /// When all is over, everything is looked at once more.
    fn look_at_all(&mut self) {
        for _ in 0..8 {
            self.find(None);
        }
        self.known.clone().iter().for_each(|known| self.copy(known));
        self.login();
        self.flags();
    }
}

//! `datakey-pkcs11 migrate pkcs11`: what may leave another PKCS#11 token.

use super::super::output::{Answer, Failure};
use super::super::parts::{self, Parts};
use super::super::pin::OtherPin;
use super::mover::{Item, Mover, Told, described};
use super::wrapping::Wrapping;
use super::{Options, reading};
use crate::crypto::{PrivateKey, PublicKey, Secret};
use crate::object::rules::Class;
use crate::object::{Look, certificate::Certificate};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki_sys::*;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    options: Options,
    /// The other module, such as /usr/lib/softhsm/libsofthsm2.so
    module: PathBuf,
    /// The label of the token to move from; needed where that module has several
    #[arg(long, value_name = "LABEL")]
    from: Option<String>,
    #[command(flatten)]
    pin: OtherPin,
}

/// What the other module says, in our words.
fn told(error: cryptoki::error::Error) -> Failure {
    Failure::new(format!("the other module: {}", reading::words(&error)))
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let name = arguments.module.display();
    let module = Pkcs11::new(&arguments.module).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(told)?;
    let answer = with_module(arguments, &module);
    // Whatever it says to that: it is not asked again.
    drop(module.finalize());
    answer
}

fn with_module(arguments: &Arguments, module: &Pkcs11) -> Result<Answer, Failure> {
    let slot = slot(module, arguments.from.as_deref())?;
    let from = module.open_rw_session(slot).or_else(|_| module.open_ro_session(slot)).map_err(told)?;
    if module.get_token_info(slot).map_err(told)?.login_required() {
        let pin = arguments.pin.get()?;
        let pin =
            std::str::from_utf8(pin.expose()).map_err(|_| Failure::new("the PIN of the other token is no UTF-8"))?;
        from.login(UserType::User, Some(&pin.to_owned().into())).map_err(told)?;
    }
    let handles = from.find_objects(&[Attribute::Token(true)]).map_err(told)?;
    let (_desk, session) = arguments.options.access.open()?;
    let mover = Mover::new(session, &arguments.options, handles.len() as u64);
    let mut move_all = MoveAll { module, slot, from: &from, wrapping: None, mover };
    let ended = move_all.run(&handles).err();
    let MoveAll { wrapping, mover, .. } = move_all;
    drop(wrapping);
    mover.answer(&[], ended)
}

/// The slot of the token with this label, or of the only one.
fn slot(module: &Pkcs11, label: Option<&str>) -> Result<Slot, Failure> {
    let mut found = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(told)? {
        let token = module.get_token_info(slot).map_err(told)?;
        found.push((slot, token.label().to_owned()));
    }
    let labels = || found.iter().map(|(_, label)| format!("{label:?}")).collect::<Vec<_>>().join(", ");
    let fitting: Vec<Slot> =
        found.iter().filter(|(_, found)| label.is_none_or(|label| label == found)).map(|(slot, _)| *slot).collect();
    match (fitting.as_slice(), label) {
        ([one], _) => Ok(*one),
        _ if found.is_empty() => Err(Failure::new("the other module has no token that is initialised")),
        ([], _) => Err(Failure::new(format!("the other module has no such token, only {}", labels()))),
        (_, None) => Err(Failure::new(format!("say with --from which token is meant: {}", labels()))),
        (_, Some(_)) => Err(Failure::new("the other module has several tokens of this label")),
    }
}

/// An object there that tells of a public key.
struct Public {
    class: CK_OBJECT_CLASS,
    id: Vec<u8>,
    key: PublicKey,
    parts: Parts,
    /// Whether it goes with its private key.
    taken: bool,
}

struct MoveAll<'a> {
    module: &'a Pkcs11,
    slot: Slot,
    from: &'a Session,
    wrapping: Option<Result<Wrapping<'a>, String>>,
    mover: Mover<'a>,
}

impl MoveAll<'_> {
    /// Moves all; an error ends it.
    fn run(&mut self, handles: &[ObjectHandle]) -> Result<(), Failure> {
        let (mut keys, mut publics, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for handle in handles {
            match self.kind(*handle)? {
                (_, None) => {}
                (CKO_PRIVATE_KEY | CKO_SECRET_KEY, Some(class)) => keys.push((*handle, class)),
                (_, Some(class)) => {
                    let parts = reading::object(self.from, *handle, class).map_err(told)?;
                    match public(&parts) {
                        Some(public) if class.class == CKO_PUBLIC_KEY => publics.push(public),
                        public => {
                            publics.extend(public);
                            others.push((*handle, class, parts));
                        }
                    }
                }
            }
        }
        for (handle, class) in keys {
            self.key(handle, class, &mut publics)?;
        }
        for public in publics.into_iter().filter(|public| public.class == CKO_PUBLIC_KEY && !public.taken) {
            let item = Item { parts: public.parts, public: None, old: Some(public.key), same_id: true };
            self.mover.take(item)?;
        }
        for (_, class, parts) in others {
            self.other(class, parts)?;
        }
        Ok(())
    }

    /// The class of an object, and what it is here; notes it where it is nothing.
    fn kind(&mut self, handle: ObjectHandle) -> Result<(CK_OBJECT_CLASS, Option<&'static Class>), Failure> {
        const TELLING: &[CK_ATTRIBUTE_TYPE] = &[CKA_CLASS, CKA_KEY_TYPE, CKA_CERTIFICATE_TYPE, CKA_LABEL, CKA_ID];
        let parts = reading::attributes(self.from, handle, TELLING).map_err(told)?;
        let number = |wanted| parts::get(&parts, wanted).try_into().map(CK_ULONG::from_ne_bytes).ok();
        let class = number(CKA_CLASS);
        let kind = class.and_then(Class::kind_attribute).and_then(number);
        let found = class.and_then(|class| Class::of(class, kind));
        let movable = found.filter(|class| !matches!(class.class, CKO_PROFILE | CKO_MECHANISM | CKO_OTP_KEY));
        let Some(class) = class else {
            self.mover.stays(&Told::of(&parts), "its class is not known here");
            return Ok((CKO_DATA, None));
        };
        // What a module has of its own, the other one has as well, or has no use for.
        if movable.is_none() && !matches!(class, CKO_PROFILE | CKO_MECHANISM | CKO_HW_FEATURE) {
            let why = match kind {
                _ if class == CKO_OTP_KEY => "a key for one-time passwords stays where its counter is".to_owned(),
                Some(kind) => format!("there are no objects of this class and type {kind:#x} here"),
                None => "there are no objects of this class here".to_owned(),
            };
            self.mover.stays(&Told::of(&parts), &why);
        }
        Ok((class, movable))
    }

    /// Moves a private or secret key.
    fn key(&mut self, handle: ObjectHandle, class: &'static Class, publics: &mut [Public]) -> Result<(), Failure> {
        let mut parts = reading::object(self.from, handle, class).map_err(told)?;
        let told = Told::of(&parts);
        let is_there = class.rules().any(|rule| rule.secret && !parts::get(&parts, rule.attribute).is_empty());
        if !is_there {
            if parts::get(&parts, CKA_EXTRACTABLE) == [CK_FALSE] {
                self.mover.stays(&told, "CKA_EXTRACTABLE is false: that token gives it to nobody");
                return Ok(());
            }
            match self.wrapped(handle, class) {
                // What the key itself says comes first.
                Ok(own) => {
                    parts.retain(|(attribute, _)| own.iter().all(|(known, _)| known != attribute));
                    parts.extend(own);
                }
                Err(why) => {
                    self.mover.stays(&told, &why);
                    return Ok(());
                }
            }
        }
        let described = match described(&parts) {
            Ok(described) => described,
            Err(failure) => {
                self.mover.failed(&told, &failure.to_string());
                return Ok(());
            }
        };
        if class.class == CKO_SECRET_KEY {
            return self.mover.take(Item { parts, public: None, old: None, same_id: true });
        }
        let key = PublicKey::from_spki(described.attributes.bytes(CKA_PUBLIC_KEY_INFO))?;
        let namesake = |public: &&Public| {
            public.class == CKO_PUBLIC_KEY && public.id == told.id && Told::of(&public.parts).label == told.label
        };
        let namesakes = || publics.iter().filter(namesake);
        if namesakes().next().is_some() && namesakes().all(|public| public.key != key) {
            self.mover.failed(&told, "what has its id and label there is the public key of another key");
            return Ok(());
        }
        let mut own = publics.iter_mut().filter(|public| public.class == CKO_PUBLIC_KEY && public.key == key);
        let public = match own.find(|public| public.id == told.id) {
            Some(public) => {
                public.taken = true;
                public.parts.iter().map(copied).collect()
            }
            // There is none: ours is made of the private key, and has its names.
            None => {
                let mut public = parts::of_public_key(&key)?.public;
                let names =
                    parts.iter().filter(|(attribute, _)| matches!(*attribute, CKA_LABEL | CKA_ID | CKA_SUBJECT));
                public.extend(names.map(copied));
                public
            }
        };
        self.mover.take(Item { parts, public: Some(public), old: Some(key), same_id: true })
    }

    /// What a key that is sensitive and extractable consists of.
    fn wrapped(&mut self, handle: ObjectHandle, class: &'static Class) -> Result<Parts, String> {
        let (module, slot, from) = (self.module, self.slot, self.from);
        let wrapping = self.wrapping.get_or_insert_with(|| {
            let mechanisms = module.get_mechanism_list(slot).map_err(|error| reading::words(&error))?;
            Wrapping::new(from, mechanisms)
        });
        let wrapping = wrapping.as_ref().map_err(Clone::clone)?;
        if class.class == CKO_SECRET_KEY {
            let told = reading::attributes(from, handle, &[CKA_VALUE_LEN]).map_err(|error| reading::words(&error))?;
            let len = parts::get(&told, CKA_VALUE_LEN).try_into().map(CK_ULONG::from_ne_bytes).ok();
            let len = len.and_then(|len| usize::try_from(len).ok()).filter(|len| *len > 0);
            let value = wrapping.fetch(handle, len)?;
            return match len {
                Some(len) if len != value.len() => Err("what that token wrapped is of another length".to_owned()),
                _ => Ok(vec![(CKA_VALUE, value)]),
            };
        }
        let plaintext = wrapping.fetch(handle, None)?;
        let key = PrivateKey::from_pkcs8(plaintext.expose()).map_err(|error| {
            format!("what that token wrapped is no key of a kind that is known: {}", error.detail())
        })?;
        Ok(parts::of_private_key(&key).map_err(|failure| failure.to_string())?.private)
    }

    fn other(&mut self, class: &Class, parts: Parts) -> Result<(), Failure> {
        if class.class == CKO_PUBLIC_KEY {
            self.mover.failed(&Told::of(&parts), "it is no public key of a kind that is known");
            return Ok(());
        }
        self.mover.take(Item { parts, public: None, old: None, same_id: true })
    }
}

fn copied((attribute, value): &(CK_ATTRIBUTE_TYPE, Secret)) -> (CK_ATTRIBUTE_TYPE, Secret) {
    (*attribute, Secret::new(value.expose().to_vec()))
}

/// What an object tells of a public key.
fn public(parts: &Parts) -> Option<Public> {
    let told = Told::of(parts);
    let key = match told.class {
        CKO_PUBLIC_KEY => PublicKey::from_spki(described(parts).ok()?.attributes.bytes(CKA_PUBLIC_KEY_INFO)),
        CKO_CERTIFICATE => PublicKey::from_spki(Certificate::parse(parts::get(parts, CKA_VALUE)).ok()?.public_key_info),
        _ => return None,
    };
    Some(Public {
        class: told.class,
        id: told.id,
        key: key.ok()?,
        parts: parts.iter().map(copied).collect(),
        taken: false,
    })
}

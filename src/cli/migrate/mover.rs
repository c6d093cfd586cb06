//! Moves one object after the other, and remembers what became of each.

use super::super::object::{Seen, attribute, find, hex, seen};
use super::super::output::{Answer, Failure, counted, is_of_the_surroundings, plain, table};
use super::super::parts::{self, Parts};
use super::super::patience::patiently;
use super::super::progress::Progress;
use super::Options;
use super::proof::{Old, prove};
use crate::crypto::{PublicKey, Secret};
use crate::error::Cause;
use crate::object::{Look, NewObject, Template, new_object};
use crate::session::Session;
use cryptoki_sys::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the classes are called.
const CLASSES: &[(CK_OBJECT_CLASS, &str)] = &[
    (CKO_PRIVATE_KEY, "key pair"),
    (CKO_SECRET_KEY, "secret"),
    (CKO_PUBLIC_KEY, "public"),
    (CKO_CERTIFICATE, "certificate"),
    (CKO_DATA, "data"),
];

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Moved,
    ToMove,
    Present,
    /// It may not leave where it is.
    Stays,
    Failed,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::ToMove => "to move",
            Self::Present => "present",
            Self::Stays => "not movable",
            Self::Failed => "failed",
        }
    }
}

/// An object that is to be moved.
pub(super) struct Item {
    pub(super) parts: Parts,
    /// Of a private key, its other half, which goes with it.
    pub(super) public: Option<Parts>,
    /// Of a private key, the public key that it had.
    pub(super) old: Option<PublicKey>,
    /// Whether an object that is there must have the same id to be this one.
    pub(super) same_id: bool,
}

/// How an object is told.
pub(super) struct Told {
    pub(super) class: CK_OBJECT_CLASS,
    pub(super) label: String,
    pub(super) id: Vec<u8>,
}

impl Told {
    pub(super) fn of(parts: &Parts) -> Self {
        let class = parts::get(parts, CKA_CLASS).try_into().map_or(CKO_DATA, CK_OBJECT_CLASS::from_ne_bytes);
        let label = String::from_utf8_lossy(parts::get(parts, CKA_LABEL)).into_owned();
        Self { class, label, id: parts::get(parts, CKA_ID).to_vec() }
    }

    fn class_name(&self) -> String {
        let name = CLASSES.iter().find(|(class, _)| *class == self.class).map(|(_, name)| (*name).to_owned());
        name.unwrap_or_else(|| format!("class {:#x}", self.class))
    }
}

/// One run.
pub(super) struct Mover<'a> {
    session: Arc<Session>,
    options: &'a Options,
    fates: Vec<(Fate, Value)>,
    verified: u64,
    progress: Progress,
}

impl<'a> Mover<'a> {
    pub(super) fn new(session: Arc<Session>, options: &'a Options, count: u64) -> Self {
        let progress = Progress::of(count, if options.dry_run { "looking" } else { "moving" });
        Self { session, options, fates: Vec::new(), verified: 0, progress }
    }

    /// An object that cannot be moved.
    pub(super) fn stays(&mut self, told: &Told, why: &str) {
        self.note(Fate::Stays, told, None, Some(why));
    }

    /// An object that could not be read.
    pub(super) fn failed(&mut self, told: &Told, why: &str) {
        self.note(Fate::Failed, told, None, Some(why));
    }

    /// Moves an object. An error ends the run: it says nothing of this one object.
    pub(super) fn take(&mut self, mut item: Item) -> Result<(), Failure> {
        let told = Told::of(&item.parts);
        if !self.options.keep_extractable {
            item.parts.retain(|(attribute, _)| !matches!(*attribute, CKA_SENSITIVE | CKA_EXTRACTABLE));
        }
        for half in [Some(&mut item.parts), item.public.as_mut()].into_iter().flatten() {
            half.retain(|(attribute, _)| *attribute != CKA_TOKEN);
            half.push((CKA_TOKEN, Secret::new(vec![CK_TRUE])));
        }
        let fate = self.try_to_take(&item, &told);
        match fate {
            Ok((fate, unique)) => self.note(fate, &told, unique.as_deref(), None),
            Err(failure) if failure.error().is_some_and(is_of_the_surroundings) => return Err(failure),
            Err(failure) => self.note(Fate::Failed, &told, None, Some(&failure.to_string())),
        }
        Ok(())
    }

    fn try_to_take(&mut self, item: &Item, told: &Told) -> Result<(Fate, Option<String>), Failure> {
        if let Some(present) = self.present(item, told)? {
            if !self.options.dry_run {
                self.verify(item, &present)?;
            }
            return Ok((Fate::Present, Some(present.record.id.to_string())));
        }
        if self.options.dry_run {
            return Ok((Fate::ToMove, None));
        }
        let made = self.make(item)?;
        let present = seen(&self.session, made[0])?;
        let present = present.ok_or_else(|| Failure::new("it was destroyed as soon as it was there"))?;
        match self.verify(item, &present) {
            Ok(()) => Ok((Fate::Moved, Some(present.record.id.to_string()))),
            // It stays, and is verified when this is run again.
            Err(failure) if failure.error().is_some_and(is_of_the_surroundings) => Err(failure),
            Err(failure) => {
                for handle in made {
                    self.session.destroy_object(handle)?;
                }
                Err(failure.about("it was moved, was not the same then, and was destroyed"))
            }
        }
    }

    /// Makes the object, the private key first.
    fn make(&self, item: &Item) -> Result<Vec<CK_OBJECT_HANDLE>, Failure> {
        let own = parts::template(&item.parts);
        Ok(match &item.public {
            // The private key comes late to a public one that was moved before.
            Some(_) if self.has_public(item)? => vec![patiently(|| true, || self.session.create_object(&own))?],
            Some(public) => {
                let public = parts::template(public);
                let [public, private] = patiently(|| true, || self.session.create_pair([&public, &own]))?;
                vec![private, public]
            }
            None => vec![patiently(|| true, || self.session.create_object(&own))?],
        })
    }

    /// Whether the public half of a pair is there.
    fn has_public(&self, item: &Item) -> Result<bool, Failure> {
        let Some(old) = &item.old else { return Ok(false) };
        let there = find(&self.session, CKO_PUBLIC_KEY, Some((CKA_PUBLIC_KEY_INFO, old.spki_der())))?;
        Ok(there.iter().any(|public| public.id() == parts::get(&item.parts, CKA_ID)))
    }

    /// The object of the token that is this one.
    fn present(&self, item: &Item, told: &Told) -> Result<Option<Seen>, Failure> {
        let value = parts::get(&item.parts, CKA_VALUE);
        let by = match (&item.old, told.class) {
            (Some(old), CKO_PRIVATE_KEY | CKO_PUBLIC_KEY) => (CKA_PUBLIC_KEY_INFO, old.spki_der()),
            (_, CKO_DATA) => (CKA_LABEL, told.label.as_bytes()),
            (_, CKO_CERTIFICATE) => (CKA_SUBJECT, parts::get(&item.parts, CKA_SUBJECT)),
            _ => (CKA_ID, told.id.as_slice()),
        };
        // What tells it apart was not given: then by the label, which it has or has not.
        let by = if by.1.is_empty() { (CKA_LABEL, told.label.as_bytes()) } else { by };
        for found in find(&self.session, told.class, Some(by))? {
            if item.same_id && found.id() != told.id {
                continue;
            }
            let is_it = match told.class {
                CKO_PRIVATE_KEY | CKO_PUBLIC_KEY => {
                    item.old.as_ref().is_some_and(|old| old.spki_der() == found.public_key())
                }
                CKO_CERTIFICATE => found.record.attributes.bytes(CKA_VALUE) == value,
                CKO_SECRET_KEY => self.is_secret(item, told, &found)?,
                _ => self.is_data(item, &found)?,
            };
            if is_it {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether a secret key is this one. Only KMS can tell; without asking it, whether it looks the same.
    fn is_secret(&self, item: &Item, told: &Told, found: &Seen) -> Result<bool, Failure> {
        let value = parts::get(&item.parts, CKA_VALUE);
        let attributes = &found.record.attributes;
        let number = |attribute| parts::get(&item.parts, attribute).try_into().map(CK_ULONG::from_ne_bytes).ok();
        let alike = found.label() == told.label
            && attributes.number(CKA_KEY_TYPE) == number(CKA_KEY_TYPE)
            && attributes.number(CKA_VALUE_LEN) == Some(value.len() as CK_ULONG);
        if !alike || self.options.dry_run {
            return Ok(alike);
        }
        match patiently(|| true, || prove(&self.session.slot.token, &found.record, &Old::Value(value))) {
            Ok(()) => Ok(true),
            Err(error) if error.cause() == Cause::SealKeyMismatch => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn is_data(&self, item: &Item, found: &Seen) -> Result<bool, Failure> {
        let same = |wanted: CK_ATTRIBUTE_TYPE| {
            Ok::<_, Failure>(attribute(&self.session, found.handle, wanted)? == parts::get(&item.parts, wanted))
        };
        // A private value takes the token key, which KMS may have to open.
        Ok(same(CKA_APPLICATION)? && same(CKA_OBJECT_ID)? && (self.options.dry_run || same(CKA_VALUE)?))
    }

    fn verify(&mut self, item: &Item, there: &Seen) -> Result<(), Failure> {
        let old = match (there.class(), &item.old) {
            (CKO_PRIVATE_KEY, Some(public)) => Old::Public(public),
            (CKO_SECRET_KEY, _) => Old::Value(parts::get(&item.parts, CKA_VALUE)),
            _ => return Ok(()),
        };
        if self.options.no_verify {
            return Ok(());
        }
        patiently(|| true, || prove(&self.session.slot.token, &there.record, &old))?;
        self.verified += 1;
        Ok(())
    }

    fn note(&mut self, fate: Fate, told: &Told, unique: Option<&str>, why: Option<&str>) {
        let told = json!({
            "class": told.class_name(),
            "label": told.label,
            "id": hex(&told.id),
            "result": fate.word(),
            "unique_id": unique,
            "reason": why,
        });
        self.fates.push((fate, told));
        self.progress.add(1);
    }

    fn count(&self, wanted: Fate) -> usize {
        self.fates.iter().filter(|(fate, _)| *fate == wanted).count()
    }

    /// What came of all. `ended` is what ended the work before its time.
    pub(super) fn answer(self, passed_over: &[String], ended: Option<Failure>) -> Result<Answer, Failure> {
        const COLUMNS: &[&str] = &["result", "class", "label", "id", "reason"];
        let [moved, to_move, present, stay, failed] =
            [Fate::Moved, Fate::ToMove, Fate::Present, Fate::Stays, Fate::Failed].map(|fate| self.count(fate));
        if let Some(failure) = ended {
            let so_far = format!("{} moved; run it again to go on", counted(moved as u64, "object"));
            return Err(failure.about(so_far));
        }
        let cell = |value: &Value| value.as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
        let rows: Vec<Vec<String>> =
            self.fates.iter().map(|(_, told)| COLUMNS.iter().map(|column| cell(&told[*column])).collect()).collect();
        let mut human = if rows.is_empty() { "there is nothing to move\n".to_owned() } else { table(COLUMNS, &rows) };
        for what in passed_over {
            human.push_str(&format!("passed over: {}\n", plain(what)));
        }
        let first = match self.options.dry_run {
            true => format!("{} to move", counted(to_move as u64, "object")),
            false => format!("{} moved", counted(moved as u64, "object")),
        };
        let verified = match (self.options.dry_run, self.options.no_verify) {
            (false, false) => format!(", {} verified", counted(self.verified, "key")),
            _ => String::new(),
        };
        human.push_str(&format!("{first}, {present} present, {stay} not movable, {failed} failed{verified}\n"));
        let json = json!({
            "objects": self.fates.into_iter().map(|(_, told)| told).collect::<Vec<_>>(),
            "moved": moved,
            "to_move": to_move,
            "present": present,
            "not_movable": stay,
            "failed": failed,
            "verified": self.verified,
            "passed_over": passed_over,
        });
        Ok(Answer { success: stay == 0 && failed == 0, ..Answer::new(human, json) })
    }
}

/// The canonical attributes of what `parts` describe, as the object would have them.
pub(super) fn described(parts: &Parts) -> Result<NewObject, Failure> {
    let template = Template::parse(&parts::template(parts))?;
    Ok(new_object(&template, false)?)
}

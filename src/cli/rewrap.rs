//! `datakey-pkcs11 rewrap`: to the KMS keys that the configuration names.

use super::key::Access;
use super::object::ids;
use super::output::{Answer, Failure, counted, is_of_the_surroundings, plain};
use super::patience::patiently;
use super::progress::Progress;
use crate::error::{Error, Result};
use crate::object::{SEALED_CLASSES, policy};
use crate::store::{ObjectId, ObjectRecord, Query};
use crate::token::Token;
use cryptoki_sys::CKA_CLASS;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Have every key sealed by `kms_key_id` and `additional_kms_keys`, and by no other KMS key.
///
/// What a key in `former_kms_key_ids` sealed moves by `ReEncrypt`, one call of KMS for each key; a seal that is missing
/// is added, one that is no longer wanted is dropped. Only what goes to another Region is opened on the way. One
/// `Decrypt` verifies each. May be stopped at any time and run again: what was moved is not moved twice. Exit status 1 if
/// anything could not be moved.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    access: Access,
    /// Only say what there is to do
    #[arg(long)]
    dry_run: bool,
    /// Do not open each key once it is moved
    #[arg(long)]
    no_verify: bool,
    /// So many calls at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
}

pub(super) fn run(arguments: &Arguments) -> std::result::Result<Answer, Failure> {
    let (desk, _session) = arguments.access.open()?;
    let token = &desk.slot.token;
    let Found { keys, to_move, strange } = find(token)?;
    if let Some(arn) = strange {
        return Err(Failure::new(format!(
            "there is what {arn} sealed; name it in former_kms_key_ids, or in additional_kms_keys if it is in another \
             Region or account"
        )));
    }
    if arguments.dry_run {
        let human = format!("{} to move, of {}", counted(to_move.len() as u64, "key"), keys);
        return Ok(Answer::new(human, json!({"keys": keys, "to_move": to_move.len(), "moved": 0, "failed": []})));
    }
    let token_key = token.rewrap_token_key()?;
    let work = Work::new(token, &to_move, !arguments.no_verify);
    std::thread::scope(|scope| {
        for _ in 0..arguments.parallel {
            scope.spawn(|| work.go_on());
        }
    });
    work.answer(keys, token_key)
}

/// What the token holds.
struct Found {
    /// Private and secret keys.
    keys: usize,
    /// Those that other KMS keys sealed than the configuration wants.
    to_move: Vec<ObjectId>,
    /// A KMS key that the configuration does not name, and that something rests on.
    strange: Option<String>,
}

fn find(token: &Token) -> Result<Found> {
    let mut found = Found { keys: 0, to_move: Vec::new(), strange: None };
    for class in SEALED_CLASSES {
        let query = Query { equal: vec![(CKA_CLASS, class.to_be_bytes().to_vec())], ..Query::default() };
        for id in ids(token, &query)? {
            found.keys += 1;
            match token.get(&id) {
                Ok(Some(object)) if token.is_sealed_by_strangers(&object) => {
                    found.strange = object.sealed.map(|sealed| sealed.kms_key_arn);
                }
                Ok(Some(object)) if token.wants_rewrap(&object) => found.to_move.push(id),
                Ok(_) => {}
                // The move will say what is wrong with it.
                Err(_) => found.to_move.push(id),
            }
        }
    }
    Ok(found)
}

/// What the threads share.
struct Work<'a> {
    token: &'a Token,
    to_move: &'a [ObjectId],
    verify: bool,
    next: AtomicUsize,
    moved: AtomicUsize,
    stop: AtomicBool,
    /// What says nothing of one object, and ends the work.
    ended: Mutex<Option<Error>>,
    failed: Mutex<Vec<(ObjectId, Error)>>,
    progress: Progress,
}

impl<'a> Work<'a> {
    fn new(token: &'a Token, to_move: &'a [ObjectId], verify: bool) -> Self {
        Self {
            token,
            to_move,
            verify,
            next: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            ended: Mutex::new(None),
            failed: Mutex::new(Vec::new()),
            progress: Progress::of(to_move.len() as u64, "moving"),
        }
    }

    /// Moves objects until there are no more.
    fn go_on(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(id) = self.to_move.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            match self.patiently(|| self.move_one(id)) {
                Ok(moved) => {
                    self.moved.fetch_add(usize::from(moved), Ordering::Relaxed);
                }
                Err(error) if is_of_the_surroundings(&error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    crate::host::lock::lock(&self.ended).get_or_insert(error);
                }
                Err(error) => crate::host::lock::lock(&self.failed).push((*id, error)),
            }
            self.progress.add(1);
        }
    }

    fn move_one(&self, id: &ObjectId) -> Result<bool> {
        let Some(moved) = self.token.rewrap(id)? else { return Ok(false) };
        if self.verify {
            self.patiently(|| verify(self.token, &moved))?;
        }
        Ok(true)
    }

    fn patiently<T>(&self, call: impl Fn() -> Result<T>) -> Result<T> {
        patiently(|| !self.stop.load(Ordering::Relaxed), call)
    }

    fn answer(self, keys: usize, token_key: bool) -> std::result::Result<Answer, Failure> {
        drop(self.progress);
        let moved = self.moved.into_inner();
        let failed = self.failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(error) = self.ended.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            let done = format!("{} moved; run it again to go on", counted(moved as u64, "key"));
            return Err(Failure::from(error.context(done)));
        }
        let mut human = String::new();
        for (id, error) in &failed {
            human.push_str(&format!("{}\n", plain(&format!("{id}: {error}"))));
        }
        human.push_str(&format!("{} of {keys} moved, {} failed\n", counted(moved as u64, "key"), failed.len()));
        let told: Vec<_> = failed
            .iter()
            .map(|(id, error)| json!({"unique_id": id.to_string(), "problem": error.to_string()}))
            .collect();
        let (to_move, success) = (self.to_move.len(), failed.is_empty());
        let json =
            json!({"keys": keys, "to_move": to_move, "moved": moved, "token_key_moved": token_key, "failed": told});
        Ok(Answer { success, ..Answer::new(human, json) })
    }
}

/// Opens the key under its new seal.
fn verify(token: &Token, object: &ObjectRecord) -> Result<()> {
    let blob = object.sealed.as_ref().map_or(&[][..], |sealed| &sealed.blob);
    let opened = token.key(object, policy::seal_tag(&object.attributes, blob)).map(drop);
    token.forget_key(object.id);
    opened
}

//! `datakey-pkcs11 verify`: whether everything on a token is whole.

use super::key::Access;
use super::object::{KEYS, Seen, find};
use super::output::{Answer, Failure, counted, plain};
use crate::crypto::PublicKey;
use crate::error::{Cause, Error, Result};
use crate::object::certificate::Certificate;
use crate::object::{keypair, policy};
use crate::token::Token;
use cryptoki_sys::*;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};

/// Open every key of a token under its encryption context, and compare it with its public key.
///
/// Takes one call of KMS for each private and secret key. Exit status 1 if anything is not what it was.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(arguments: &Arguments) -> std::result::Result<Answer, Failure> {
    let (desk, session) = arguments.access.open()?;
    let token = &desk.slot.token;
    token.check_store()?;
    let mut objects = Vec::new();
    for class in KEYS.iter().map(|(class, _)| *class).chain([CKO_CERTIFICATE]) {
        objects.extend(find(&session, class, None)?);
    }
    let terminal = std::io::stderr().is_terminal();
    let mut failed = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        if terminal {
            // Progress that cannot be shown is no reason to stop.
            drop(write!(std::io::stderr(), "\r{} of {}", at + 1, objects.len()));
        }
        if let Err(error) = check(token, object) {
            if is_of_the_surroundings(&error) {
                return Err(Failure::from(error));
            }
            let mut told = object.json();
            told["problem"] = error.to_string().into();
            failed.push(told);
        }
    }
    if terminal {
        eprintln!();
    }
    Ok(answer(objects.len(), failed))
}

fn answer(checked: usize, failed: Vec<Value>) -> Answer {
    let mut human = String::new();
    for object in &failed {
        let text = |name: &str| object[name].as_str().unwrap_or_default();
        let line = format!("{} {:?} {}: {}", text("class"), text("label"), text("unique_id"), text("problem"));
        human.push_str(&format!("{}\n", plain(&line)));
    }
    human.push_str(&format!("{} verified, {} failed\n", counted(checked as u64, "object"), failed.len()));
    let success = failed.is_empty();
    let json = json!({"checked": checked, "failed": failed});
    Answer { success, ..Answer::new(human, json) }
}

/// One object.
fn check(token: &Token, object: &Seen) -> Result<()> {
    let attributes = &object.record.attributes;
    token.check_vouched(&object.record)?;
    match (object.class(), &object.record.sealed) {
        (CKO_PRIVATE_KEY | CKO_SECRET_KEY, Some(sealed)) => {
            let opened = token.key(&object.record, policy::seal_tag(attributes, &sealed.blob)).map(drop);
            token.forget_key(object.record.id);
            opened
        }
        (CKO_PRIVATE_KEY | CKO_SECRET_KEY, None) => Err(Cause::RecordCorrupt.with("a key without its blob")),
        (CKO_CERTIFICATE, _) => Certificate::parse(attributes.get(&CKA_VALUE).map_or(&[], Vec::as_slice)).map(drop),
        _ => {
            let mut said = attributes.clone();
            keypair::describe_public(&mut said, &PublicKey::from_spki(object.public_key())?)?;
            match said == *attributes {
                true => Ok(()),
                false => Err(Cause::RecordCorrupt.with("what it says of its key is not true of it")),
            }
        }
    }
}

/// Whether an error says nothing of the object: KMS does not answer, or knows nobody.
fn is_of_the_surroundings(error: &Error) -> bool {
    let number = error.cause().device_error();
    (0x101..0x200).contains(&number) && error.cause() != Cause::KmsAccessDenied
}

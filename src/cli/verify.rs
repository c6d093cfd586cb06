//! `datakey-pkcs11 verify`: whether everything on a token is whole.

use super::key::Access;
use super::object::{Seen, ids};
use super::output::{Answer, Failure, counted, is_of_the_surroundings, plain};
use super::progress::Progress;
use crate::crypto::PublicKey;
use crate::error::{Cause, Result};
use crate::object::certificate::Certificate;
use crate::object::{SEALED_CLASSES, keypair, opened_key, policy};
use crate::store::Query;
use crate::token::Token;
use cryptoki_sys::*;
use serde_json::{Value, json};

/// Open every key of a token under its encryption context, and compare it with its public key; check what vouches for
/// every object.
///
/// Takes one call of KMS for each private and secret key. Exit status 1 if anything is not what it was.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    access: Access,
    /// Open each key by every KMS key that is to have sealed it, not only by the first that can be had
    #[arg(long)]
    each_kms_key: bool,
}

pub(super) fn run(arguments: &Arguments) -> std::result::Result<Answer, Failure> {
    let (desk, _session) = arguments.access.open()?;
    let token = &desk.slot.token;
    token.check_store()?;
    let ids = ids(token, &Query::default())?;
    let progress = Progress::of(ids.len() as u64, "verifying");
    let (mut checked, mut failed) = (0, Vec::new());
    for id in &ids {
        progress.add(1);
        let (mut told, error) = match token.get(id) {
            Ok(Some(record)) => {
                let object = Seen::by_id(record);
                (object.json(), check(token, &object, arguments.each_kms_key).err())
            }
            // It was destroyed meanwhile.
            Ok(None) => continue,
            // Its record says nothing that could be believed.
            Err(error) => (json!({"class": "object", "unique_id": id.to_string()}), Some(error)),
        };
        checked += 1;
        if let Some(error) = error {
            // A denial may be about one key's encryption context.
            if is_of_the_surroundings(&error) && error.cause() != Cause::KmsAccessDenied {
                return Err(Failure::from(error));
            }
            told["problem"] = error.to_string().into();
            failed.push(told);
        }
    }
    drop(progress);
    Ok(answer(checked, failed))
}

fn answer(checked: u64, failed: Vec<Value>) -> Answer {
    let mut human = String::new();
    for object in &failed {
        let text = |name: &str| object[name].as_str().unwrap_or_default();
        let label = object["label"].as_str().map_or_else(String::new, |label| format!(" {label:?}"));
        let line = format!("{}{label} {}: {}", text("class"), text("unique_id"), text("problem"));
        human.push_str(&format!("{}\n", plain(&line)));
    }
    human.push_str(&format!("{} verified, {} failed\n", counted(checked, "object"), failed.len()));
    let success = failed.is_empty();
    let json = json!({"checked": checked, "failed": failed});
    Answer { success, ..Answer::new(human, json) }
}

/// One object.
fn check(token: &Token, object: &Seen, each_kms_key: bool) -> Result<()> {
    let attributes = &object.record.attributes;
    token.check_vouched(&object.record)?;
    match (object.class(), &object.record.sealed) {
        (class, Some(_)) if SEALED_CLASSES.contains(&class) && each_kms_key => {
            for (kms_key, opened) in token.open_by_each_key(&object.record)? {
                let whole = opened.and_then(|plaintext| opened_key(attributes, &plaintext));
                whole.map_err(|error| error.context(format!("by the KMS key {kms_key}")))?;
            }
            Ok(())
        }
        (class, Some(sealed)) if SEALED_CLASSES.contains(&class) => {
            let opened = token.key(&object.record, policy::seal_tag(attributes, &sealed.blob)).map(drop);
            token.forget_key(object.record.id);
            opened
        }
        (class, None) if SEALED_CLASSES.contains(&class) => Err(Cause::RecordCorrupt.with("a key without its blob")),
        (CKO_CERTIFICATE, _) => Certificate::parse(attributes.get(&CKA_VALUE).map_or(&[], Vec::as_slice)).map(drop),
        (CKO_PUBLIC_KEY, _) => {
            let mut said = attributes.clone();
            keypair::describe_public(&mut said, &PublicKey::from_spki(object.public_key())?)?;
            match said == *attributes {
                true => Ok(()),
                false => Err(Cause::RecordCorrupt.with("what it says of its key is not true of it")),
            }
        }
        // Nothing but the MAC tells what other objects should be.
        _ => Ok(()),
    }
}

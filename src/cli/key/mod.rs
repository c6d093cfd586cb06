//! `datakey-pkcs11 key`: list, show, generate, rename, destroy, export, import.

mod generate;
mod kind;
mod transfer;

use super::desk::{Desk, Which};
use super::input;
use super::object::{COLUMNS, KEYS, Key, Name, Seen, find, from_hex, listed};
use super::output::{Answer, Failure, plain};
use super::pin::UserPin;
use crate::crypto::random;
use crate::session::Session;
use cryptoki_sys::*;
pub(super) use kind::{KINDS, Kind};
use serde_json::{Value, json};
use std::sync::Arc;

/// Make, look at, rename, destroy, import and export keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the keys
    List(List),
    /// Show one key
    Show(One),
    /// Make a key pair or a secret key, by KMS
    Generate(generate::Arguments),
    /// Give a key another label or id, with its public key and its certificates
    Rename(Rename),
    /// Destroy a key: a pair with both its halves
    Destroy(Destroy),
    /// Print a public key, or what KMS sealed
    Export(transfer::Export),
    /// Import one private key from a file, or a data key pair that another client of KMS had made
    Import(transfer::Import),
}

/// Which token, and the login to it.
#[derive(Debug, clap::Args)]
pub(super) struct Access {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pin: UserPin,
}

impl Access {
    /// A session in which private objects are seen.
    pub(super) fn open(&self) -> Result<(Desk, Arc<Session>), Failure> {
        let desk = Desk::open(&self.which)?;
        let session = desk.user_session(&self.pin)?;
        Ok((desk, session))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    access: Access,
    /// Only what everybody sees, without a login
    #[arg(long)]
    public: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    #[command(flatten)]
    access: Access,
    /// The key: its label, id:HEX, or its unique id
    key: Name,
}

impl One {
    pub(super) fn open(&self) -> Result<(Desk, Arc<Session>), Failure> {
        self.access.open()
    }

    pub(super) fn name(&self) -> &Name {
        &self.key
    }

    pub(super) fn pin(&self) -> &UserPin {
        &self.access.pin
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Rename {
    #[command(flatten)]
    one: One,
    /// The new label
    #[arg(long, required_unless_present = "id")]
    label: Option<String>,
    /// The new id
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: Option<Id>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Destroy {
    #[command(flatten)]
    one: One,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// A value of `CKA_ID`.
#[derive(Clone, Debug)]
pub(super) struct Id(pub(super) Vec<u8>);

/// Reads an id of the command line.
pub(super) fn id(text: &str) -> Result<Id, String> {
    from_hex(text)
        .filter(|id| !id.is_empty())
        .map(Id)
        .ok_or_else(|| "an id is written in pairs of hexadecimal digits".to_owned())
}

/// The names of a new key.
#[derive(Debug, clap::Args)]
pub(super) struct NewNames {
    /// The label
    #[arg(long)]
    label: String,
    /// The id (default: random)
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: Option<Id>,
}

impl NewNames {
    fn id(&self) -> Result<Vec<u8>, Failure> {
        if let Some(Id(id)) = &self.id {
            return Ok(id.clone());
        }
        let mut id = vec![0; 8];
        random::fill(&mut id)?;
        Ok(id)
    }
}

pub(super) fn run(command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Generate(arguments) => generate::run(arguments),
        Command::Rename(arguments) => rename(arguments),
        Command::Destroy(arguments) => destroy(arguments),
        Command::Export(arguments) => transfer::export(arguments),
        Command::Import(arguments) => transfer::import(arguments),
    }
}

fn list(arguments: &List) -> Result<Answer, Failure> {
    let desk = Desk::open(&arguments.access.which)?;
    let session = match arguments.public {
        true => desk.session()?,
        false => desk.user_session(&arguments.access.pin)?,
    };
    let mut keys = Vec::new();
    for (class, _) in KEYS {
        keys.extend(find(&session, *class, None)?.iter().map(Seen::json));
    }
    Ok(Answer::new(listed(&keys), json!({"keys": keys})))
}

fn show(arguments: &One) -> Result<Answer, Failure> {
    let (_desk, session) = arguments.access.open()?;
    told(&Key::find(&session, &arguments.key)?)
}

/// An answer that is about one key.
fn told(key: &Key) -> Result<Answer, Failure> {
    let told = key.json()?;
    let lines = COLUMNS.iter().filter_map(|name| Some(format!("{name:<14}{}\n", plain(told[*name].as_str()?))));
    let additional = told["additional_kms_key_arns"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let additional = additional.map(|arn| format!("{:<14}{}\n", "and by", plain(arn)));
    let public_key = told["public_key"].as_str().unwrap_or_default();
    let human = lines.chain(additional).collect::<String>() + public_key;
    Ok(Answer::new(human, told))
}

fn rename(arguments: &Rename) -> Result<Answer, Failure> {
    let (_desk, session) = arguments.one.access.open()?;
    let key = Key::find(&session, &arguments.one.key)?;
    let certificates = key.certificates(&session)?;
    let label = arguments.label.as_ref().map(|label| (CKA_LABEL, label.as_bytes()));
    let id = arguments.id.as_ref().map(|Id(id)| (CKA_ID, id.as_slice()));
    let names: Vec<(CK_ATTRIBUTE_TYPE, &[u8])> = label.into_iter().chain(id).collect();
    let mut renamed = Vec::new();
    for object in key.halves().chain(&certificates) {
        session.set_attributes(object.handle, &names)?;
        renamed.extend(super::object::seen(&session, object.handle)?.map(|seen| seen.json()));
    }
    Ok(Answer::new(listed(&renamed), json!({"renamed": renamed})))
}

fn destroy(arguments: &Destroy) -> Result<Answer, Failure> {
    let (_desk, session) = arguments.one.access.open()?;
    let key = Key::find(&session, &arguments.one.key)?;
    let destroyed: Vec<Value> = key.halves().map(Seen::json).collect();
    if !arguments.yes && !agreed(&destroyed)? {
        return Err(Failure::new("nothing was destroyed"));
    }
    // The private key last: if something goes wrong, what is left is the half that the other can be made of.
    for object in key.public.iter().chain(&key.private) {
        session.destroy_object(object.handle)?;
    }
    Ok(Answer::new(format!("destroyed:\n{}", listed(&destroyed)), json!({"destroyed": destroyed})))
}

/// Whether who sits there agrees.
fn agreed(keys: &[Value]) -> Result<bool, Failure> {
    let question = format!("{}Destroy for good? Nothing brings a key back. [y/N]", listed(keys));
    let said = input::ask(&question)?.ok_or_else(|| Failure::new("there is no terminal to ask on; give --yes"))?;
    Ok(matches!(said.as_str(), "y" | "Y" | "yes"))
}

/// What a new key is told of.
fn made(session: &Session, private: CK_OBJECT_HANDLE) -> Result<Answer, Failure> {
    let private = super::object::seen(session, private)?;
    told(&Key { private, public: None })
}

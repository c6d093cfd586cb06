//! `datakey-pkcs11 store`: create, check, copy.

use super::desk::{Desk, Which, open_module};
use super::output::{Answer, Failure, counted, plain};
use crate::config::{self, StoreLocation};
use crate::error::{Cause, Error};
use crate::module::Module;
use crate::store::{self, ObjectId, Raw, Sink, Store, copy, record};
use serde_json::json;

/// Make, check and copy what tokens are kept in.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the tables that a token's store needs, or bring them to the present format
    ///
    /// Initialising a token does so too. This is for who may make tables where the hosts' users may not.
    Create(Create),
    /// Look through a token's whole store for damage
    Check(Check),
    /// Copy a token from one store to another
    ///
    /// Each is the label of a configured token, which means its store, or a store as the configuration names it. Every
    /// record is the same afterwards, which is looked at at the end. A copy that was broken off is gone on with; a
    /// target that holds another token is refused. Nobody should write to either meanwhile.
    Copy(Copy),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(super) struct Copy {
    #[command(flatten)]
    which: Which,
    /// Where the token is
    from: String,
    /// Where it is to be, too
    to: String,
}

pub(super) fn run(command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::Create(arguments) => create(arguments),
        Command::Check(arguments) => check(arguments),
        Command::Copy(arguments) => copy_store(arguments),
    }
}

/// The store of the token that is meant.
fn of(which: &Which) -> Result<(StoreLocation, Box<dyn Store>), Failure> {
    let location = Desk::open(which)?.slot.token.config().store.clone();
    let store = store::open(&location)?;
    Ok((location, store))
}

fn create(arguments: &Create) -> Result<Answer, Failure> {
    let (location, store) = of(&arguments.which)?;
    store.create()?;
    let place = location.to_string();
    Ok(Answer::new(format!("{}: ready for a token\n", plain(&place)), json!({"store": place})))
}

fn check(arguments: &Check) -> Result<Answer, Failure> {
    let (location, store) = of(&arguments.which)?;
    let objects = store.check()?;
    if objects > 0 {
        store.export(&mut Reader)?;
    }
    let token = store.token()?.ok_or_else(|| Cause::TokenNotRecognized.with(location.to_string()))?;
    let place = location.to_string();
    let human = format!("{}: sound, {}\n", plain(&place), counted(objects, "object"));
    Ok(Answer::new(human, json!({"store": place, "serial": token.serial, "objects": objects})))
}

/// Reads every record.
struct Reader;

impl Sink for Reader {
    fn token(&mut self, token: &Raw) -> Result<(), Error> {
        record::decode_token(token.version, &token.record).map(drop)
    }

    fn objects(&mut self, objects: Vec<(ObjectId, Raw)>) -> Result<(), Error> {
        let read = |(id, raw): &(ObjectId, Raw)| record::decode_object(id, raw.version, &raw.record).map(drop);
        objects
            .iter()
            .try_for_each(|object| read(object).map_err(|error| error.context(format!("object {}", object.0))))
    }
}

fn copy_store(arguments: &Copy) -> Result<Answer, Failure> {
    let module = open_module()?;
    let (from, to) = (named(&module, arguments, &arguments.from)?, named(&module, arguments, &arguments.to)?);
    if from == to {
        return Err(Failure::new("the two are the same store"));
    }
    let (source, target) = (store::open(&from)?, store::open(&to)?);
    if source.token()?.is_none() {
        return Err(Failure::from(Cause::TokenNotRecognized.with(format!("{from}: there is nothing to copy"))));
    }
    let copied = copy::copy(&*source, &*target)?;
    let token = target.token()?.ok_or_else(|| Cause::StoreConflict.with("the copy is gone"))?;
    let present = match copied.present {
        0 => String::new(),
        some => format!(", {some} of which were there"),
    };
    let objects = counted(copied.objects, "object");
    let what = format!("copied the token {:?}, serial {}, {objects}{present}, to {to}", token.label, token.serial);
    let json = json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "serial": token.serial,
        "objects": copied.objects,
        "present": copied.present,
    });
    Ok(Answer::new(plain(&what), json))
}

/// The store that a text means: a configured token's, or one that it describes, for the token that `--token` names.
fn named(module: &Module, arguments: &Copy, text: &str) -> Result<StoreLocation, Failure> {
    let tokens: Vec<_> = module.slots.iter().map(|slot| slot.token.config()).collect();
    if let Some(token) = tokens.iter().find(|token| token.label == text) {
        return Ok(token.store.clone());
    }
    if !text.contains(':') {
        return Err(Failure::new(format!("{:?} is neither the label of a token nor a store", plain(text))));
    }
    let token = arguments.which.of(tokens, |token| &token.label)?;
    Ok(config::store_location(text, token)?)
}

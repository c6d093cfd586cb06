//! `datakey-pkcs11 token`: list, show, init.

use super::desk::{Desk, Which, open_module};
use super::output::{Answer, Failure, plain, table};
use super::pin::{OfficerPin, UserPin};
use crate::config::{KmsBackend, LoginMode, TokenConfig};
use crate::session::{Slot, Who};
use crate::token::User;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Value, json};

/// Look at tokens and initialise them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the tokens of the configuration
    List,
    /// Show one token: its store, its KMS key, its PINs
    Show(Show),
    /// Initialise a token and set its PINs
    Init(Init),
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    so_pin: OfficerPin,
    #[command(flatten)]
    user_pin: UserPin,
    /// The label that clients see, 1 to 32 bytes (default: that of the configuration)
    #[arg(long)]
    label: Option<String>,
    /// Initialise anew a token that is initialised: all its keys are lost
    #[arg(long)]
    destroy_all_keys: bool,
}

pub(super) fn run(command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::List => list(),
        Command::Show(arguments) => show(arguments),
        Command::Init(arguments) => init(arguments),
    }
}

/// What [`describe`] tells, in the order in which people are told.
const ORDER: &[&str] = &[
    "slot",
    "configured_label",
    "label",
    "serial",
    "initialised",
    "login",
    "user_pin",
    "so_pin",
    "store",
    "kms",
    "kms_key_id",
    "encryption_context",
    "created",
    "changed",
];

/// What there is to be told of a token.
fn describe(slot: &Slot) -> Result<Value, Failure> {
    let token = &slot.token;
    let config = token.config();
    let mut told = json!({
        "slot": slot.id,
        "configured_label": config.label,
        "store": config.store.to_string(),
        "kms": match &config.kms.backend {
            KmsBackend::Aws => json!("aws"),
            KmsBackend::Embedded(file) => json!(format!("embedded:{}", file.display())),
        },
        "kms_key_id": token.kms().wrapping().key_id(),
        "encryption_context": config.kms.encryption_context,
        "initialised": false,
    });
    if let Some(record) = token.record()? {
        let pin = |user| {
            let flags = token.pin_flags(&record, user);
            match () {
                () if record.login == LoginMode::None && user == User::User => "none needed",
                () if !flags.initialised => "not set",
                () if flags.locked => "locked",
                () if flags.final_try => "one more wrong try locks it",
                () if flags.count_low => "entered wrongly of late",
                () => "set",
            }
        };
        told["initialised"] = true.into();
        told["label"] = record.label.clone().into();
        told["serial"] = record.serial.clone().into();
        told["login"] = if record.login == LoginMode::Pin { "pin" } else { "none" }.into();
        told["user_pin"] = pin(User::User).into();
        told["so_pin"] = pin(User::So).into();
        told["created"] = time(record.created).into();
        told["changed"] = time(record.changed).into();
    }
    Ok(told)
}

/// Seconds since 1970 as a date.
pub(super) fn time(seconds: u64) -> String {
    let date = DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    date.fmt(Format::DateTime).unwrap_or_else(|_| seconds.to_string())
}

/// A part of a JSON document for people.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

fn list() -> Result<Answer, Failure> {
    const COLUMNS: &[&str] = &["slot", "configured_label", "initialised", "label", "serial", "login", "kms_key_id"];
    let module = open_module()?;
    // One store that cannot be opened does not hide the others.
    let told: Vec<Value> = module
        .slots
        .iter()
        .map(|slot| {
            describe(slot).unwrap_or_else(|failure| {
                let TokenConfig { label, .. } = slot.token.config();
                json!({"slot": slot.id, "configured_label": label, "initialised": failure.to_string()})
            })
        })
        .collect();
    let rows: Vec<Vec<String>> =
        told.iter().map(|token| COLUMNS.iter().map(|column| text(&token[*column])).collect()).collect();
    Ok(Answer::new(table(COLUMNS, &rows), json!({"tokens": told})))
}

fn show(arguments: &Show) -> Result<Answer, Failure> {
    let desk = Desk::open(&arguments.which)?;
    let told = describe(&desk.slot)?;
    let lines = ORDER.iter().filter_map(|name| Some((*name, told.get(*name)?)));
    let human: String = lines.map(|(name, value)| format!("{name:<20}{}\n", plain(&text(value)))).collect();
    Ok(Answer::new(human, told))
}

fn init(arguments: &Init) -> Result<Answer, Failure> {
    let desk = Desk::open(&arguments.which)?;
    let (slot, token) = (&desk.slot, &desk.slot.token);
    let before = token.record()?;
    if before.is_some() && !arguments.destroy_all_keys {
        return Err(Failure::new("the token is initialised; --destroy-all-keys does it anew, and its keys are lost"));
    }
    let with_pins = token.config().login == LoginMode::Pin;
    let has_officer = before.as_ref().is_some_and(|record| record.so_pin.is_some());
    let so_pin = match with_pins || has_officer {
        true => Some(arguments.so_pin.get(!has_officer)?),
        false => None,
    };
    let user_pin = if with_pins { Some(arguments.user_pin.get_new()?) } else { None };
    let label = arguments.label.as_deref().unwrap_or(&token.config().label);
    if !(1..=32).contains(&label.len()) || label.ends_with(' ') {
        return Err(Failure::new("a label has 1 to 32 bytes, and no blank at its end"));
    }
    let so_pin = so_pin.as_ref().map_or(&[][..], |pin| pin.expose());
    slot.init_token(so_pin, label)?;
    if let Some(user_pin) = user_pin {
        let session = desk.session()?;
        session.login(Who::User(User::So), so_pin)?;
        session.init_pin(user_pin.expose())?;
    }
    let told = describe(slot)?;
    Ok(Answer::new(format!("initialised the token {:?}, serial {}\n", label, text(&told["serial"])), told))
}

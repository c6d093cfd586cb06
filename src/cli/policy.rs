//! `datakey-pkcs11 policy`: the least that a role must be allowed.

use super::desk::{Desk, Which};
use super::output::{Answer, Failure};
use super::permission::{self, Extra, Need, Needed};
use crate::config::{StoreLocation, TokenConfig};
use crate::kms::EncryptionContext;
use crate::token::Token;
use serde_json::{Map, Value, json};

/// Print the least IAM policy for a token of this configuration.
///
/// For an initialised token the policy is about that token alone.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// What else the role is to do
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    with: Vec<Extra>,
    /// The role only makes keys, with generate = "without-plaintext", and never uses them
    #[arg(long)]
    generate_only: bool,
    /// Not for this token alone: for every token on the KMS key
    #[arg(long)]
    any_token: bool,
    /// The ARN of the KMS key, where the configuration has an alias or a key id
    #[arg(long, value_name = "ARN", conflicts_with = "ask_kms")]
    key_arn: Option<String>,
    /// Have KMS tell the ARN of the KMS key (takes kms:DescribeKey)
    #[arg(long)]
    ask_kms: bool,
}

/// What stands in the place of an ARN that nobody knows.
const UNKNOWN: &str = "arn:aws:kms:REGION:ACCOUNT:key/KEY-ID";

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let desk = Desk::open(&arguments.which)?;
    let token = &desk.slot.token;
    let serial = match arguments.any_token {
        true => None,
        false => token.record()?.map(|record| record.serial.clone()),
    };
    let resource = resource(arguments, token)?;
    if resource == UNKNOWN {
        eprintln!("datakey-pkcs11: put the ARN of the KMS key in its place, or give --key-arn or --ask-kms");
    }
    let policy = policy(arguments, token.config(), serial.as_deref(), &resource);
    Ok(Answer::new(format!("{policy:#}"), policy))
}

/// The ARN of the KMS key. An alias is a name for a key, not a resource.
fn resource(arguments: &Arguments, token: &Token) -> Result<String, Failure> {
    if let Some(arn) = &arguments.key_arn {
        return Ok(arn.clone());
    }
    if arguments.ask_kms {
        return Ok(token.kms().wrapping().describe_key()?.arn);
    }
    let configured = &token.config().kms.key_id;
    let is_arn = configured.starts_with("arn:") && configured.contains(":key/");
    Ok(if is_arn { configured.clone() } else { UNKNOWN.to_owned() })
}

fn policy(arguments: &Arguments, config: &TokenConfig, serial: Option<&str>, resource: &str) -> Value {
    let statement = |sid: String, needed: &mut dyn Iterator<Item = Needed>, resource: &str| {
        let wanted = needed.filter(|needed| match needed.need {
            Need::Always => true,
            Need::ToInitialise => serial.is_none(),
            Need::ToUse => !arguments.generate_only,
            Need::For(extra) => arguments.with.contains(&extra),
        });
        let mut actions: Vec<&str> = wanted.flat_map(|needed| needed.permission.actions).copied().collect();
        actions.sort_unstable();
        actions.dedup();
        json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": actions,
            "Resource": resource,
            "Condition": conditions(config, serial),
        })
    };
    let wrapping = statement("UseOneKmsKeyForPkcs11".to_owned(), &mut permission::needed(config), resource);
    let additional = config.kms.additional.iter().enumerate().map(|(at, kms)| {
        let sid = format!("SealByAdditionalKmsKey{}", at + 1);
        statement(sid, &mut permission::needed_of_additional(config, kms), &kms.key_id)
    });
    let statements: Vec<Value> = std::iter::once(wrapping).chain(additional).chain(store(config)).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What a token in a table takes besides: its own items, whose keys all end with its name.
fn store(config: &TokenConfig) -> Option<Value> {
    const ACTIONS: &[&str] = &[
        "dynamodb:BatchGetItem",
        "dynamodb:BatchWriteItem",
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
    ];
    let StoreLocation::DynamoDb(place) = &config.store else { return None };
    let region = place.access.region.as_deref().unwrap_or("REGION");
    Some(json!({
        "Sid": "UseOneTokenOfATable",
        "Effect": "Allow",
        "Action": ACTIONS,
        "Resource": format!("arn:aws:dynamodb:{region}:ACCOUNT:table/{}", place.table),
        "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": format!("*#{}", place.token)}},
    }))
}

/// What is demanded of the encryption context of every call.
fn conditions(config: &TokenConfig, serial: Option<&str>) -> Value {
    let name = |key: &str| format!("kms:EncryptionContext:{key}");
    let user = config.kms.encryption_context.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let token = serial.map(|serial| (EncryptionContext::TOKEN, serial));
    let equal: Map<String, Value> = user.chain(token).map(|(key, value)| (name(key), value.into())).collect();
    let mut conditions = Map::new();
    if !equal.is_empty() {
        conditions.insert("StringEquals".to_owned(), equal.into());
    }
    if serial.is_none() {
        // What this module seals, and nothing else that is encrypted under the same key.
        conditions.insert("Null".to_owned(), json!({name(EncryptionContext::TOKEN): "false"}));
    }
    conditions.into()
}

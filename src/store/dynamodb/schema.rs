//! The table: one for any number of tokens, of items that are found by `pk`, and in its order by `sk`.
//!
//! | item | `pk` | `sk` | else |
//! | --- | --- | --- | --- |
//! | a token | `token#NAME` | 0 | `format`, `epoch`, `version`, `counter`, `record` |
//! | an object | `object#EPOCH#NAME` | its id | `seq`, `version`, `record` |
//! | its place | `order#EPOCH#NAME` | `seq` | `id` |
//! | its place under an indexed attribute | `lookup#EPOCH#TYPE#VALUE#NAME` | `seq` | `id` |
//! | a change | `change#NAME` | `counter` | `nonce`, `ttl` |
//! | a replacement of all that is under way | `change#NAME` | 0 | `epoch` |
//!
//! `seq` numbers a token's objects in the order of insertion, as 8 bytes big-endian; it is drawn from the token's
//! `counter`, which every change moves. A token that is initialised again gets another `EPOCH`, so that all its objects
//! are gone at once; their items are cleared away afterwards. Changes are remembered for a day: whoever lost the answer
//! to one finds there whether it was made.

use super::connection::Requests;
use super::fault::{Kind, Outcome};
use crate::error::{Cause, Error, Result};
use crate::store::ObjectId;
use crate::store::terms::Term;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    TimeToLiveSpecification,
};
use std::collections::HashMap;
use std::fmt::Write;

/// The format of the items.
pub(super) const FORMAT: u64 = 1;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// When DynamoDB may forget an item, in seconds since 1970.
pub(super) const TTL: &str = "ttl";

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(pk: String, sk: &[u8]) -> Item {
    Item::from([(PK.to_owned(), AttributeValue::S(pk)), (SK.to_owned(), bytes(sk))])
}

/// One token's items, in one epoch.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) name: &'a str,
    pub(super) epoch: &'a str,
}

impl Keys<'_> {
    pub(super) fn object(self, id: &ObjectId) -> Item {
        key(format!("object#{}#{}", self.epoch, self.name), id.as_bytes())
    }

    pub(super) fn order(self) -> String {
        format!("order#{}#{}", self.epoch, self.name)
    }

    pub(super) fn place(self, seq: u64) -> Item {
        key(self.order(), &seq.to_be_bytes())
    }

    pub(super) fn lookup(self, (kind, value): &Term) -> String {
        let mut pk = format!("lookup#{}#{kind:x}#", self.epoch);
        for byte in value {
            // To a string nothing fails.
            let _ = write!(pk, "{byte:02x}");
        }
        pk.push('#');
        pk.push_str(self.name);
        pk
    }

    pub(super) fn term(self, term: &Term, seq: u64) -> Item {
        key(self.lookup(term), &seq.to_be_bytes())
    }
}

pub(super) fn token(name: &str) -> Item {
    key(format!("token#{name}"), &[0])
}

pub(super) fn change(name: &str, counter: u64) -> Item {
    key(format!("change#{name}"), &counter.to_be_bytes())
}

/// Beside the changes, whose keys are longer.
pub(super) fn note(name: &str) -> Item {
    key(format!("change#{name}"), &[0])
}

/// What an item says, or that it is none of ours.
pub(super) struct Read<'a>(pub(super) &'a Item);

impl<'a> Read<'a> {
    pub(super) fn number(&self, name: &str) -> Result<u64> {
        let text = self.0.get(name).and_then(|value| value.as_n().ok());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| damaged(name))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str> {
        self.0.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).ok_or_else(|| damaged(name))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<&'a [u8]> {
        self.0.get(name).and_then(|value| value.as_b().ok()).map(Blob::as_ref).ok_or_else(|| damaged(name))
    }

    pub(super) fn id(&self, name: &str) -> Result<ObjectId> {
        let id = <[u8; 16]>::try_from(self.bytes(name)?);
        id.map(ObjectId::from_bytes).map_err(|_| damaged(name))
    }

    pub(super) fn seq(&self, name: &str) -> Result<u64> {
        let seq = <[u8; 8]>::try_from(self.bytes(name)?);
        seq.map(u64::from_be_bytes).map_err(|_| damaged(name))
    }
}

fn damaged(name: &str) -> Error {
    Cause::StoreCorrupt.with(format!("{name:?} of an item is missing or not what it should be"))
}

/// What every change begins from.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) epoch: String,
    pub(super) version: u64,
    pub(super) counter: u64,
    pub(super) record: Vec<u8>,
}

impl Head {
    pub(super) fn of(item: &Item) -> Result<Self> {
        let read = Read(item);
        match read.number("format")? {
            FORMAT => {}
            newer if newer > FORMAT => {
                return Err(Cause::StoreNewer.with(format!("its format is {newer}, this module knows up to {FORMAT}")));
            }
            _ => return Err(damaged("format")),
        }
        Ok(Self {
            epoch: read.text("epoch")?.to_owned(),
            version: read.number("version")?,
            counter: read.number("counter")?,
            record: read.bytes("record")?.to_vec(),
        })
    }
}

/// Makes the table, unless it is there, and waits until it can be used.
pub(super) async fn create(requests: &Requests) -> Outcome<()> {
    let attribute = |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let attributes = vec![attribute(PK, ScalarAttributeType::S)?, attribute(SK, ScalarAttributeType::B)?];
    let keys = vec![element(PK, KeyType::Hash)?, element(SK, KeyType::Range)?];
    if status(requests).await?.is_none() {
        let made = requests.ask("CreateTable", false, |client| {
            let request = client.create_table().table_name(&requests.table).billing_mode(BillingMode::PayPerRequest);
            let request = request.set_attribute_definitions(Some(attributes.clone()));
            request.set_key_schema(Some(keys.clone())).send()
        });
        match made.await {
            // Somebody else makes it.
            Err(stop) if stop.kind == Kind::Overtaken => {}
            made => drop(made?),
        }
    }
    let mut attempts = 0;
    while status(requests).await? != Some(TableStatus::Active) {
        attempts += 1;
        if !requests.rest(attempts).await {
            return Err(Cause::StoreUnavailable.with("the table does not become active").into());
        }
    }
    // DynamoDB then forgets changes in time. That it does not costs a little storage and nothing else.
    let setting = TimeToLiveSpecification::builder().attribute_name(TTL).enabled(true).build()?;
    let set = requests.ask("UpdateTimeToLive", false, |client| {
        let request = client.update_time_to_live().table_name(&requests.table);
        request.time_to_live_specification(setting.clone()).send()
    });
    if let Err(stop) = set.await {
        tracing::info!("the table's time to live was not set (it may be set already): {}", stop.error);
    }
    Ok(())
}

/// What DynamoDB says of the table; `None` where there is none.
async fn status(requests: &Requests) -> Outcome<Option<TableStatus>> {
    let said = requests.ask("DescribeTable", true, |client| client.describe_table().table_name(&requests.table).send());
    match said.await {
        Ok(said) => Ok(said.table.and_then(|table| table.table_status)),
        Err(stop) if stop.kind == Kind::NoTable => Ok(None),
        Err(stop) => Err(stop),
    }
}

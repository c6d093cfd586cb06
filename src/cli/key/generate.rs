//! `datakey-pkcs11 key generate`.

use super::super::output::{Answer, Failure};
use super::kind::{KINDS, Kind};
use super::{Access, NewNames, made};
use crate::mechanism::Given;
use crate::object::rules::{Bound, Class};
use cryptoki_sys::*;

/// Make a key pair or a secret key: one call of KMS.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    names: NewNames,
    /// The kind of key
    #[arg(long = "type", value_name = "TYPE", value_parser = clap::builder::PossibleValuesParser::new(KINDS.iter().map(|kind| kind.name)))]
    kind: String,
    /// What the key may be used for and nothing else, such as sign,derive (default: all that its type allows)
    #[arg(long, value_delimiter = ',', value_name = "USAGE")]
    usage: Vec<String>,
    /// Let the key be wrapped and taken elsewhere
    #[arg(long)]
    extractable: bool,
}

/// A usage of a private key, and what the public key then does.
const HALVES: &[(CK_ATTRIBUTE_TYPE, CK_ATTRIBUTE_TYPE)] = &[
    (CKA_DECRYPT, CKA_ENCRYPT),
    (CKA_SIGN, CKA_VERIFY),
    (CKA_SIGN_RECOVER, CKA_VERIFY_RECOVER),
    (CKA_UNWRAP, CKA_WRAP),
    (CKA_DERIVE, CKA_DERIVE),
    (CKA_DECAPSULATE, CKA_ENCAPSULATE),
];

const YES: &[u8] = &[CK_TRUE];
const NO: &[u8] = &[CK_FALSE];

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let kind = KINDS.iter().find(|kind| kind.name == arguments.kind);
    let kind = kind.ok_or_else(|| Failure::new("there is no such type of key"))?;
    let usages = usages(kind, &arguments.usage)?;
    let id = arguments.names.id()?;
    let (parameter, value) = kind.attribute();
    let common = [(CKA_TOKEN, YES), (CKA_LABEL, arguments.names.label.as_bytes()), (CKA_ID, &id)];
    let mut key = common.to_vec();
    key.extend(usages.iter().map(|(usage, on)| (*usage, if *on { YES } else { NO })));
    if arguments.extractable {
        key.push((CKA_EXTRACTABLE, YES));
    }

    let (_desk, session) = arguments.access.open()?;
    let private = if kind.is_secret() {
        key.push((parameter, &value));
        key.push((CKA_SENSITIVE, YES));
        session.generate_key(kind.mechanism, || Ok(Given::Nothing), &key)?
    } else {
        let mut public = common.to_vec();
        public.push((parameter, &value));
        for (usage, on) in &usages {
            let other = HALVES.iter().find(|(private, _)| private == usage);
            public.extend(other.map(|(_, other)| (*other, if *on { YES } else { NO })));
        }
        session.generate_key_pair(kind.mechanism, || Ok(Given::Nothing), &public, &key)?.1
    };
    made(&session, private)
}

/// The usages that a template names: none if none is asked for.
fn usages(kind: &Kind, wanted: &[String]) -> Result<Vec<(CK_ATTRIBUTE_TYPE, bool)>, Failure> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let class = if kind.is_secret() { CKO_SECRET_KEY } else { CKO_PRIVATE_KEY };
    let rules = Class::of(class, Some(kind.key_type)).into_iter().flat_map(Class::rules);
    let known: Vec<(CK_ATTRIBUTE_TYPE, &str)> = rules
        .filter_map(|rule| match rule.bound {
            Bound::Usage(word) => Some((rule.attribute, word)),
            _ => None,
        })
        .collect();
    if let Some(unknown) = wanted.iter().find(|word| known.iter().all(|(_, known)| known != word)) {
        let known: Vec<&str> = known.iter().map(|(_, word)| *word).collect();
        return Err(Failure::new(format!("{unknown:?} is no usage of such a key; there are {}", known.join(", "))));
    }
    Ok(known.iter().map(|(attribute, word)| (*attribute, wanted.iter().any(|wanted| wanted == word))).collect())
}

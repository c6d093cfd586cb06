//! Policies: JSON documents as AWS has them, of the shape that the templates in `docs/iam` use.
//!
//! What is not modelled is refused when a policy is given, by name, and never ignored: a policy that the embedded KMS
//! takes means here what it means to AWS.

mod actions;
mod condition;
mod pattern;
mod statement;

pub(super) use condition::Facts;

use super::identity::Caller;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use statement::{Effect, Statement};
use std::collections::BTreeMap;

/// An encryption context.
pub(super) type Context = BTreeMap<String, String>;

/// What somebody asks to do.
#[derive(Debug)]
pub(super) struct Ask {
    /// The action, without `kms:`.
    pub(super) action: &'static str,
    /// The ARN of what it is done to; `*` where that is nothing in particular.
    pub(super) resource: String,
    pub(super) facts: Facts,
}

/// What policies say to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// That it must not be, whatever else is said.
    pub(super) denied: bool,
    /// That it may be.
    pub(super) allowed: bool,
    /// That it may be if the policies of who asks say so too: a key policy allows it to the whole account.
    pub(super) delegated: bool,
}

/// The policy of a KMS key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(super) struct KeyPolicy(Document);

/// A policy of a user or a role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(super) struct IdentityPolicy(Document);

#[derive(Clone, Debug)]
struct Document {
    /// As it was given.
    source: Value,
    statements: Vec<Statement>,
}

impl Document {
    fn parse(source: Value, of_key: bool) -> Result<Self, String> {
        let fields = source.as_object().ok_or("a policy is a JSON object")?;
        if let Some(field) = fields.keys().find(|field| !["Version", "Id", "Statement"].contains(&field.as_str())) {
            return Err(format!("{field} of a policy is not modelled"));
        }
        // In the older version, variables mean nothing and a missing version is it.
        if fields.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
            return Err("only policies of Version 2012-10-17 are modelled".to_owned());
        }
        let statements = match fields.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err("a policy has a Statement".to_owned()),
        };
        let statements = statements.iter().map(|statement| Statement::parse(statement, of_key));
        let statements = statements.collect::<Result<_, _>>()?;
        Ok(Self { source, statements })
    }
}

impl KeyPolicy {
    /// What it says to what somebody asks of its key.
    pub(super) fn verdict(&self, caller: &Caller<'_>, ask: &Ask) -> Verdict {
        let mut verdict = Verdict::default();
        for statement in self.0.statements.iter().filter(|statement| statement.is_about(ask)) {
            let (named, account) = statement.names(caller);
            match statement.effect {
                Effect::Deny => verdict.denied |= named || account,
                Effect::Allow => {
                    verdict.allowed |= named;
                    verdict.delegated |= account;
                }
            }
        }
        verdict
    }
}

impl IdentityPolicy {
    /// What it says to what its bearer asks.
    pub(super) fn verdict(&self, ask: &Ask) -> Verdict {
        let mut verdict = Verdict::default();
        for statement in self.0.statements.iter().filter(|statement| statement.is_about(ask)) {
            match statement.effect {
                Effect::Deny => verdict.denied = true,
                Effect::Allow => verdict.allowed = true,
            }
        }
        verdict
    }
}

impl TryFrom<Value> for KeyPolicy {
    type Error = String;

    fn try_from(source: Value) -> Result<Self, String> {
        Document::parse(source, true).map(Self)
    }
}

impl From<KeyPolicy> for Value {
    fn from(policy: KeyPolicy) -> Self {
        policy.0.source
    }
}

impl TryFrom<Value> for IdentityPolicy {
    type Error = String;

    fn try_from(source: Value) -> Result<Self, String> {
        Document::parse(source, false).map(Self)
    }
}

impl From<IdentityPolicy> for Value {
    fn from(policy: IdentityPolicy) -> Self {
        policy.0.source
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::Arn;
    use super::*;
    use serde_json::json;

    const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1";

    fn ask(action: &'static str) -> Ask {
        Ask { action, resource: KEY.to_owned(), facts: Facts::default() }
    }

    fn of_key(statement: Value) -> Result<KeyPolicy, String> {
        KeyPolicy::try_from(json!({ "Version": "2012-10-17", "Statement": statement }))
    }

    fn of_identity(statement: Value) -> Result<IdentityPolicy, String> {
        IdentityPolicy::try_from(json!({ "Version": "2012-10-17", "Statement": [statement] }))
    }

    #[test]
    fn a_key_policy_names_who_may_and_a_whole_account_only_lets_policies_decide() {
        let session = "arn:aws:sts::111122223333:assumed-role/web/host-1";
        let arn = Arn::try_from(session.to_owned()).unwrap();
        let (named, delegated) = (Some(true), Some(false));
        for (who, expected) in [
            (json!("*"), named),
            (json!({ "AWS": "*" }), named),
            (json!({ "AWS": "arn:aws:iam::111122223333:role/web" }), named),
            (json!({ "AWS": ["arn:aws:iam::111122223333:role/db", session] }), named),
            (json!({ "AWS": "arn:aws:iam::111122223333:role/db" }), None),
            (json!({ "AWS": "arn:aws:iam::111122223333:user/web" }), None),
            (json!({ "AWS": "arn:aws:iam::111122223333:root" }), delegated),
            (json!({ "AWS": "111122223333" }), delegated),
            (json!({ "AWS": "444455556666" }), None),
        ] {
            let statement =
                |effect: &str| json!({ "Effect": effect, "Principal": who, "Action": "kms:Decrypt", "Resource": "*" });
            let verdict = |effect, action| {
                let policy = of_key(statement(effect)).unwrap();
                policy.verdict(&Caller::new(&arn), &ask(action))
            };
            let allow = verdict("Allow", "Decrypt");
            assert_eq!((allow.allowed, allow.delegated), (expected == named, expected == delegated), "{who}");
            assert_eq!(verdict("Deny", "Decrypt").denied, expected.is_some(), "{who}");
            assert_eq!(verdict("Allow", "Encrypt"), Verdict::default(), "{who}");
        }
    }

    #[test]
    fn an_identity_policy_is_about_its_resources() {
        for (resource, expected) in [
            (json!(KEY), true),
            (json!("*"), true),
            (json!("arn:aws:kms:*:111122223333:key/*"), true),
            (json!(["arn:aws:kms:us-east-1:111122223333:key/2", KEY]), true),
            (json!("arn:aws:kms:us-east-1:111122223333:key/2"), false),
            (json!("arn:aws:kms:us-east-1:111122223333:alias/web"), false),
        ] {
            let policy = of_identity(json!({ "Effect": "Allow", "Action": "kms:*", "Resource": resource })).unwrap();
            assert_eq!(policy.verdict(&ask("Decrypt")).allowed, expected, "{resource}");
        }
    }

    #[test]
    fn what_is_not_modelled_is_refused_and_not_ignored() {
        let good = json!({ "Sid": "A", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*" });
        of_identity(good.clone()).unwrap();
        for (field, value, why) in [
            ("Effect", json!("allow"), "Effect"),
            ("Sid", json!("two words"), "letters and digits"),
            ("Sid", json!(1), "a text"),
            ("NotAction", json!("kms:Decrypt"), "NotAction of a statement is not modelled"),
            ("NotResource", json!("*"), "NotResource of a statement is not modelled"),
            ("Principal", json!("*"), "has no Principal"),
            ("Action", json!("kms:Decypt"), "no action of KMS"),
            ("Action", json!([]), "empty list"),
            ("Resource", json!("alias/web"), "no ARN"),
            ("Condition", json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }), "not modelled"),
        ] {
            let mut statement = good.clone();
            statement[field] = value;
            let error = of_identity(statement).unwrap_err();
            assert!(error.contains(why), "{field}: {error}");
        }
        let mut of_a_key = good.clone();
        for (value, why) in [
            (json!({ "Service": "lambda.amazonaws.com" }), "Service"),
            (json!({ "AWS": "web" }), "no principal"),
            (json!({ "AWS": "arn:aws:iam::111122223333:role/*" }), "no principal"),
            (json!("web"), "no principal"),
        ] {
            of_a_key["Principal"] = value;
            let error = of_key(of_a_key.clone()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(of_key(good.clone()).unwrap_err().contains("names a Principal"));
        for (document, why) in [
            (json!([]), "JSON object"),
            (json!({ "Statement": [good] }), "Version"),
            (json!({ "Version": "2008-10-17", "Statement": [good] }), "Version"),
            (json!({ "Version": "2012-10-17" }), "Statement"),
            (json!({ "Version": "2012-10-17", "Statement": [] }), "Statement"),
            (json!({ "Version": "2012-10-17", "Statement": [1] }), "JSON object"),
            (json!({ "Version": "2012-10-17", "Statements": [good] }), "Statements of a policy is not modelled"),
        ] {
            let error = IdentityPolicy::try_from(document).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

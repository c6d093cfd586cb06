//! One statement of a policy.

use super::Ask;
use super::actions::Actions;
use super::condition::{Condition, values};
use super::pattern::fits;
use crate::kms::embedded::identity::{self, Caller};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// Whom a statement of a key policy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Everybody,
    /// All of an account, by its number.
    Account(String),
    /// A user, a role or a session of one, by ARN.
    One(String),
}

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    /// In a key policy.
    principals: Vec<Named>,
    actions: Actions,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

const FIELDS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

impl Statement {
    pub(super) fn parse(statement: &Value, of_key: bool) -> Result<Self, String> {
        let fields = statement.as_object().ok_or("a statement is a JSON object")?;
        if let Some(field) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(format!("{field} of a statement is not modelled"));
        }
        let sid = fields.get("Sid").map(|sid| sid.as_str().ok_or("Sid is a text")).transpose()?;
        if !of_key && sid.is_some_and(|sid| !sid.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            return Err("Sid has letters and digits only, but in key policies".to_owned());
        }
        let must = |name: &str| fields.get(name).ok_or_else(|| format!("a statement has an element {name}"));
        let effect = match must("Effect")?.as_str() {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err("Effect is Allow or Deny".to_owned()),
        };
        let principals = match (fields.get("Principal"), of_key) {
            (Some(principal), true) => Named::parse(principal)?,
            (None, false) => Vec::new(),
            (None, true) => return Err("a statement of a key policy names a Principal".to_owned()),
            (Some(_), false) => return Err("a statement of an identity's policy has no Principal".to_owned()),
        };
        let resources = values(must("Resource")?)?;
        if let Some(odd) = resources.iter().find(|resource| *resource != "*" && !resource.starts_with("arn:")) {
            return Err(format!("Resource {odd} is no ARN"));
        }
        let conditions = match fields.get("Condition") {
            None => Vec::new(),
            Some(Value::Object(condition)) => Condition::parse(condition)?,
            Some(_) => return Err("Condition is a JSON object".to_owned()),
        };
        Ok(Self { effect, principals, actions: Actions::parse(values(must("Action")?)?)?, resources, conditions })
    }

    /// Whether it speaks of this, whoever asks.
    pub(super) fn is_about(&self, ask: &Ask) -> bool {
        self.actions.name(ask.action)
            && self.resources.iter().any(|resource| fits(resource, &ask.resource))
            && self.conditions.iter().all(|condition| condition.holds(&ask.facts))
    }

    /// Whether it names the caller, and whether it names the caller's account.
    pub(super) fn names(&self, caller: &Caller<'_>) -> (bool, bool) {
        let one = |named: &Named| match named {
            Named::Everybody => true,
            Named::One(arn) => caller.is(arn),
            Named::Account(_) => false,
        };
        let account = |named: &Named| matches!(named, Named::Account(account) if account == caller.account());
        (self.principals.iter().any(one), self.principals.iter().any(account))
    }
}

impl Named {
    fn parse(principal: &Value) -> Result<Vec<Self>, String> {
        let listed = match principal {
            Value::String(all) if all == "*" => return Ok(vec![Self::Everybody]),
            Value::Object(kinds) => match kinds.keys().find(|kind| *kind != "AWS") {
                Some(kind) => return Err(format!("Principal {kind} is not modelled")),
                None => kinds.get("AWS").map(values).transpose()?.ok_or("Principal names nobody")?,
            },
            other => return Err(format!("{other} is no principal")),
        };
        let named = |name: String| match name.as_str() {
            "*" => Ok(Self::Everybody),
            account if identity::is_account(account) => Ok(Self::Account(name)),
            arn => match identity::account_of_root(arn) {
                Some(account) => Ok(Self::Account(account.to_owned())),
                None if identity::is_principal(arn) => Ok(Self::One(name)),
                None => Err(format!("{arn} is no principal")),
            },
        };
        listed.into_iter().map(named).collect()
    }
}

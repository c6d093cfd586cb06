//! Conditions of policies: an operator, a condition key, and the values that it is compared with.

use super::pattern::{arn_fits, fits};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How many values a request has for a condition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One or none.
    One,
    /// Any number: only the operators for sets can compare them.
    Many,
}

/// The condition keys that are modelled; their names have no case.
const KEYS: &[(&str, Shape)] = &[
    ("aws:PrincipalAccount", Shape::One),
    ("aws:PrincipalArn", Shape::One),
    ("kms:BypassPolicyLockoutSafetyCheck", Shape::One),
    ("kms:CallerAccount", Shape::One),
    ("kms:DataKeyPairSpec", Shape::One),
    ("kms:EncryptionAlgorithm", Shape::One),
    ("kms:EncryptionContextKeys", Shape::Many),
    ("kms:GrantConstraintType", Shape::One),
    ("kms:GranteePrincipal", Shape::One),
    ("kms:GrantIsForAWSResource", Shape::One),
    ("kms:GrantOperations", Shape::Many),
    ("kms:KeyOrigin", Shape::One),
    ("kms:KeySpec", Shape::One),
    ("kms:KeyUsage", Shape::One),
    ("kms:RecipientAttestation:ImageSha384", Shape::One),
    ("kms:ReEncryptOnSameKey", Shape::One),
    ("kms:RequestAlias", Shape::One),
    ("kms:ResourceAliases", Shape::Many),
    ("kms:RetiringPrincipal", Shape::One),
];

/// What comes before the name of a pair of the encryption context, which is a condition key of its own.
const PAIR: &str = "kms:EncryptionContext:";

/// What comes before the number of a register with measurements of an enclave.
const PCR: &str = "kms:RecipientAttestation:PCR";

/// The shape of a condition key; `None` for one that is not modelled.
fn shape(key: &str) -> Option<Shape> {
    let behind = |prefix: &str| {
        let (start, rest) = key.split_at_checked(prefix.len())?;
        (start.eq_ignore_ascii_case(prefix) && !rest.is_empty()).then_some(rest)
    };
    let is_register = |rest: &str| rest.parse::<u8>().is_ok_and(|index| index < 32 && rest == index.to_string());
    let row = KEYS.iter().find(|row| row.0.eq_ignore_ascii_case(key));
    let of_many = behind(PAIR).is_some() || behind(PCR).is_some_and(is_register);
    row.map(|row| row.1).or(of_many.then_some(Shape::One))
}

/// What a request says, by condition key.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Facts(BTreeMap<String, Vec<String>>);

impl Facts {
    /// Adds a value.
    pub(in super::super) fn say(&mut self, key: &str, value: impl Into<String>) {
        debug_assert!(shape(key).is_some(), "{key}");
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// Adds an encryption context.
    pub(in super::super) fn say_context(&mut self, context: &super::Context) {
        for (name, value) in context {
            self.say(&format!("{PAIR}{name}"), value.as_str());
            self.say("kms:EncryptionContextKeys", name.as_str());
        }
    }

    fn of(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

type Compare = fn(&str, &str) -> bool;

/// The operators: how a policy's value is compared with a request's, and whether the condition is that none fits.
const OPERATORS: &[(&str, Compare, bool)] = &[
    ("StringEquals", equals, false),
    ("StringNotEquals", equals, true),
    ("StringEqualsIgnoreCase", equals_in_any_case, false),
    ("StringNotEqualsIgnoreCase", equals_in_any_case, true),
    ("StringLike", fits, false),
    ("StringNotLike", fits, true),
    ("ArnEquals", arn_fits, false),
    ("ArnNotEquals", arn_fits, true),
    ("ArnLike", arn_fits, false),
    ("ArnNotLike", arn_fits, true),
    ("Bool", equals_in_any_case, false),
];

fn equals(wanted: &str, value: &str) -> bool {
    wanted == value
}

fn equals_in_any_case(wanted: &str, value: &str) -> bool {
    wanted.to_lowercase() == value.to_lowercase()
}

/// Which of several values of a request have to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The one value that there is.
    Single,
    /// `ForAllValues`: all, and of none all do.
    All,
    /// `ForAnyValue`: one of them.
    Any,
}

#[derive(Clone, Debug)]
enum Test {
    /// `Null`: whether the request has no value.
    Absent(bool),
    Compared {
        compare: Compare,
        negated: bool,
        of: Of,
        if_exists: bool,
        wanted: Vec<String>,
    },
}

/// One condition.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// In lower case.
    key: String,
    test: Test,
}

impl Condition {
    /// The conditions of a statement, all of which have to hold. What is not modelled is refused by name.
    pub(super) fn parse(condition: &Map<String, Value>) -> Result<Vec<Self>, String> {
        let mut conditions = Vec::new();
        for (operator, keys) in condition {
            let keys = keys.as_object().ok_or_else(|| format!("{operator} of no condition key"))?;
            for (key, wanted) in keys {
                let about = |why: String| format!("Condition {operator} {key}: {why}");
                let shape = shape(key).ok_or_else(|| about("this condition key is not modelled".to_owned()))?;
                let wanted = values(wanted).map_err(&about)?;
                let test = Test::parse(operator, shape, wanted).map_err(&about)?;
                conditions.push(Self { key: key.to_ascii_lowercase(), test });
            }
        }
        Ok(conditions)
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, facts: &Facts) -> bool {
        let values = facts.of(&self.key);
        match &self.test {
            Test::Absent(absent) => values.is_empty() == *absent,
            Test::Compared { compare, negated, of, if_exists, wanted } => {
                let fits = |value: &String| wanted.iter().any(|wanted| compare(wanted, value)) != *negated;
                match of {
                    _ if values.is_empty() && *if_exists => true,
                    Of::Single if values.is_empty() => *negated,
                    Of::Single | Of::All => values.iter().all(fits),
                    Of::Any => values.iter().any(fits),
                }
            }
        }
    }
}

impl Test {
    fn parse(operator: &str, shape: Shape, wanted: Vec<String>) -> Result<Self, String> {
        if operator == "Null" {
            return match wanted.as_slice() {
                [one] if one == "true" => Ok(Self::Absent(true)),
                [one] if one == "false" => Ok(Self::Absent(false)),
                _ => Err("it is either \"true\" or \"false\"".to_owned()),
            };
        }
        let (of, name) = match operator.split_once(':') {
            None => (Of::Single, operator),
            Some(("ForAllValues", name)) => (Of::All, name),
            Some(("ForAnyValue", name)) => (Of::Any, name),
            Some(_) => return Err("this operator is not modelled".to_owned()),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let row = OPERATORS.iter().find(|row| row.0 == name);
        let (_, compare, negated) = *row.ok_or("this operator is not modelled")?;
        if shape == Shape::Many && of == Of::Single {
            return Err("it has several values, which ForAllValues or ForAnyValue compares".to_owned());
        }
        if name == "Bool" && wanted.iter().any(|value| value != "true" && value != "false") {
            return Err("it is either \"true\" or \"false\"".to_owned());
        }
        Ok(Self::Compared { compare, negated, of, if_exists, wanted })
    }
}

/// The values of a policy: one, or a list of them.
pub(super) fn values(value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        // Filled in by IAM from the request.
        Value::String(text) if text.contains("${") => Err(format!("variables are not modelled: {text}")),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        other => Err(format!("{other} is no text")),
    };
    match value {
        Value::Array(values) if values.is_empty() => Err("an empty list".to_owned()),
        Value::Array(values) => values.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(condition: Value) -> Result<Vec<Condition>, String> {
        Condition::parse(condition.as_object().unwrap())
    }

    fn facts(context: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        facts.say_context(&context.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
        facts.say("aws:PrincipalArn", "arn:aws:iam::111122223333:role/web");
        facts.say("kms:ReEncryptOnSameKey", "true");
        facts
    }

    #[test]
    fn operators_compare_as_iam_says() {
        let request = facts(&[("usage", "sign"), ("token", "0123")]);
        let (usage, absent) = ("kms:EncryptionContext:usage", "kms:EncryptionContext:app");
        let keys = "kms:EncryptionContextKeys";
        for (operator, key, wanted, expected) in [
            ("StringEquals", usage, json!("sign"), true),
            ("StringEquals", usage, json!("Sign"), false),
            ("StringEquals", usage, json!(["decrypt", "sign"]), true),
            ("StringEquals", "KMS:encryptioncontext:USAGE", json!("sign"), true),
            ("StringEquals", absent, json!("web"), false),
            ("StringEqualsIfExists", absent, json!("web"), true),
            ("StringEqualsIfExists", usage, json!("web"), false),
            ("StringNotEquals", usage, json!("sign"), false),
            ("StringNotEquals", usage, json!(["decrypt", "sign"]), false),
            ("StringNotEquals", usage, json!("decrypt"), true),
            ("StringNotEquals", absent, json!("web"), true),
            ("StringEqualsIgnoreCase", usage, json!("SIGN"), true),
            ("StringNotEqualsIgnoreCase", usage, json!("SIGN"), false),
            ("StringLike", usage, json!("s*n"), true),
            ("StringLike", usage, json!("*decrypt*"), false),
            ("StringNotLike", usage, json!("*decrypt*"), true),
            ("Null", usage, json!("false"), true),
            ("Null", usage, json!(true), false),
            ("Null", absent, json!("true"), true),
            ("Bool", "kms:ReEncryptOnSameKey", json!(true), true),
            ("Bool", "kms:ReEncryptOnSameKey", json!("false"), false),
            ("ArnLike", "aws:PrincipalArn", json!("arn:aws:iam::*:role/w*"), true),
            ("ArnNotLike", "aws:PrincipalArn", json!("arn:aws:iam::*:role/w*"), false),
            ("ForAllValues:StringEquals", keys, json!(["usage", "token", "app"]), true),
            ("ForAllValues:StringEquals", keys, json!("usage"), false),
            ("ForAnyValue:StringEquals", keys, json!("usage"), true),
            ("ForAnyValue:StringEquals", keys, json!("app"), false),
            // The traps of IAM: of none, all fit, and none does.
            ("ForAllValues:StringEquals", absent, json!("web"), true),
            ("ForAnyValue:StringEquals", absent, json!("web"), false),
            ("ForAllValues:StringNotEquals", keys, json!("app"), true),
            ("ForAnyValue:StringNotEquals", keys, json!("usage"), true),
        ] {
            let mut named = Map::new();
            named.insert(key.to_owned(), wanted.clone());
            let condition = parse(json!({ operator: named })).unwrap();
            assert_eq!(condition[0].holds(&request), expected, "{operator} {key} {wanted}");
        }
    }

    #[test]
    fn what_is_not_modelled_is_refused_by_name() {
        for (condition, why) in [
            (json!({ "StringEquals": { "kms:ViaService": "s3.amazonaws.com" } }), "kms:ViaService: this condition key"),
            (json!({ "StringEquals": { "kms:EncryptionContext:": "x" } }), "this condition key"),
            (json!({ "NumericEquals": { "kms:KeySpec": "1" } }), "this operator"),
            (json!({ "ForSomeValues:StringEquals": { "kms:KeySpec": "1" } }), "this operator"),
            (json!({ "NullIfExists": { "kms:KeySpec": "true" } }), "this operator"),
            (json!({ "Null": { "kms:KeySpec": "yes" } }), "either"),
            (json!({ "Bool": { "kms:ReEncryptOnSameKey": "yes" } }), "either"),
            (json!({ "StringEquals": { "kms:EncryptionContextKeys": "app" } }), "several values"),
            (json!({ "StringEquals": { "kms:KeySpec": "${aws:username}" } }), "variables"),
            (json!({ "StringEquals": { "kms:KeySpec": 1 } }), "no text"),
            (json!({ "StringEquals": { "kms:KeySpec": [] } }), "empty list"),
            (json!({ "StringEquals": "kms:KeySpec" }), "no condition key"),
        ] {
            let error = parse(condition.clone()).unwrap_err();
            assert!(error.contains(why), "{condition}: {error}");
        }
    }
}

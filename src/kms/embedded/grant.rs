//! One grant: permission to use a key, given to one user or role, for some operations and under some encryption
//! contexts.

use super::exception::Exception;
use super::identity::Caller;
use super::policy::Context;
use super::request::invalid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Operations that have no encryption context: no constraint is about them.
const WITHOUT_CONTEXT: [&str; 2] = ["DescribeKey", "RetireGrant"];

/// The most pairs of a constraint, and the most characters of a value.
const MOST_PAIRS: usize = 8;
const LONGEST_VALUE: usize = 384;

/// One grant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Grant {
    #[serde(rename = "GrantToken")]
    pub(super) token: String,
    pub(super) grant_id: String,
    pub(super) key_id: String,
    pub(super) grantee_principal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retiring_principal: Option<String>,
    pub(super) operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) constraints: Option<Constraint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Seconds since 1970.
    pub(super) creation_date: u64,
}

/// Which encryption contexts a grant is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Constraint {
    /// These pairs and no others.
    EncryptionContextEquals(Context),
    /// These pairs, and maybe others.
    EncryptionContextSubset(Context),
}

impl Constraint {
    /// As policies call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::EncryptionContextEquals(_) => "EncryptionContextEquals",
            Self::EncryptionContextSubset(_) => "EncryptionContextSubset",
        }
    }

    pub(super) fn pairs(&self) -> &Context {
        match self {
            Self::EncryptionContextEquals(pairs) | Self::EncryptionContextSubset(pairs) => pairs,
        }
    }

    fn holds(&self, context: &Context) -> bool {
        match self {
            Self::EncryptionContextEquals(pairs) => pairs == context,
            Self::EncryptionContextSubset(pairs) => pairs.iter().all(|(name, value)| context.get(name) == Some(value)),
        }
    }

    pub(super) fn parse(value: &Value) -> Result<Self, Exception> {
        let constraint = Self::deserialize(value).map_err(|_| {
            Exception::validation("Constraints is one of EncryptionContextEquals and EncryptionContextSubset")
        })?;
        let pairs = constraint.pairs();
        if pairs.is_empty() || pairs.len() > MOST_PAIRS || pairs.values().any(|value| value.len() > LONGEST_VALUE) {
            return Err(invalid("constraints", "Member must have 1 to 8 pairs with values of at most 384 characters"));
        }
        Ok(constraint)
    }
}

impl Grant {
    /// Whether it lets the caller do this to the key.
    pub(super) fn permits(&self, caller: &Caller<'_>, key_id: &str, action: &str, context: &Context) -> bool {
        self.key_id == key_id
            && caller.is(&self.grantee_principal)
            && self.operations.iter().any(|operation| operation == action)
            && (WITHOUT_CONTEXT.contains(&action)
                || self.constraints.as_ref().is_none_or(|constraint| constraint.holds(context)))
    }
}

//! The users and roles that the embedded KMS knows, by the access keys that sign their requests.
//!
//! The signature itself is not checked: who can reach the embedded KMS can be anybody.

use super::identity::{Arn, Caller};
use super::policy::IdentityPolicy;
use serde::{Deserialize, Serialize};

/// Somebody with an access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Principal {
    /// As `sts get-caller-identity` tells it: of a user, of a session of a role, or of the account's root user.
    arn: Arn,
    /// What the user or the role is allowed.
    #[serde(default)]
    pub(super) policies: Vec<IdentityPolicy>,
}

impl Principal {
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller::new(&self.arn)
    }
}

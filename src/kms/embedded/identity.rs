//! Who asks, by ARN: users, roles and their sessions, and the account's root user.

use serde::{Deserialize, Serialize};

/// The ARN of somebody who can sign a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Arn {
    said: String,
    /// The account's number.
    account: String,
    /// Of the session of a role, the role.
    role: Option<String>,
}

impl TryFrom<String> for Arn {
    type Error = String;

    fn try_from(said: String) -> Result<Self, String> {
        let (account, resource) = account_and_resource(&said)
            .filter(|(_, resource)| !resource.starts_with("role/"))
            .ok_or_else(|| format!("{said} is the ARN of no user, session of a role, or root user"))?;
        let (account, session) = (account.to_owned(), resource.strip_prefix("assumed-role/"));
        let role = session.and_then(|session| session.split('/').next());
        let role = role.map(|role| format!("arn:aws:iam::{account}:role/{role}"));
        Ok(Self { account, role, said })
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> Self {
        arn.said
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    arn: &'a Arn,
}

impl<'a> Caller<'a> {
    pub(super) fn new(arn: &'a Arn) -> Self {
        Self { arn }
    }

    /// The ARN that messages name.
    pub(super) fn arn(&self) -> &'a str {
        &self.arn.said
    }

    /// The ARN that policies name: of the role, for a session of one.
    pub(super) fn principal(&self) -> &'a str {
        self.arn.role.as_deref().unwrap_or(&self.arn.said)
    }

    pub(super) fn account(&self) -> &'a str {
        &self.arn.account
    }

    /// Whether it is the root user, who needs no policy of its own.
    pub(super) fn is_root(&self) -> bool {
        account_of_root(&self.arn.said).is_some()
    }

    /// Whether this ARN names it, or its role.
    pub(super) fn is(&self, arn: &str) -> bool {
        arn == self.arn() || arn == self.principal()
    }
}

/// Whether this is the number of an account.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The account whose root this ARN names; in a policy that means the whole account.
pub(super) fn account_of_root(arn: &str) -> Option<&str> {
    account_and_resource(arn).filter(|(_, resource)| *resource == "root").map(|(account, _)| account)
}

/// Whether this is the ARN of a user, a role, a session of a role or a root user.
pub(super) fn is_principal(arn: &str) -> bool {
    account_and_resource(arn).is_some()
}

fn account_and_resource(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let (Some("arn"), Some("aws"), Some(service), Some(""), Some(account), Some(resource)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let named = |prefix: &str, names: usize| {
        let name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c));
        // Paths of users and roles are not modelled.
        resource.strip_prefix(prefix).is_some_and(|rest| rest.split('/').count() == names && rest.split('/').all(name))
    };
    let known = match service {
        "iam" => resource == "root" || named("user/", 1) || named("role/", 1),
        "sts" => named("assumed-role/", 2),
        _ => false,
    };
    (known && is_account(account)).then_some((account, resource))
}

/// The access key that signed a request, from its `Authorization` header.
pub(super) fn access_key(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').next().filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_role_as_well() {
        let parse = |arn: &str| Arn::try_from(arn.to_owned());
        let session = parse("arn:aws:sts::111122223333:assumed-role/web/host-1").unwrap();
        let caller = Caller::new(&session);
        assert_eq!((caller.account(), caller.principal()), ("111122223333", "arn:aws:iam::111122223333:role/web"));
        assert!(caller.is(caller.arn()) && caller.is(caller.principal()) && !caller.is_root());
        assert!(!caller.is("arn:aws:iam::111122223333:role/we"));
        assert!(Caller::new(&parse("arn:aws:iam::111122223333:root").unwrap()).is_root());
        let user = parse("arn:aws:iam::111122223333:user/ann").unwrap();
        assert_eq!(Caller::new(&user).principal(), "arn:aws:iam::111122223333:user/ann");
        for none in [
            "arn:aws:iam::111122223333:role/web",
            "arn:aws:sts::111122223333:assumed-role/web",
            "arn:aws:iam::1111:root",
            "arn:aws:iam::111122223333:user/",
            "arn:aws:iam::111122223333:user/team/ann",
            "arn:aws-cn:iam::111122223333:root",
            "ann",
        ] {
            assert!(parse(none).is_err(), "{none}");
        }
    }

    #[test]
    fn a_request_names_its_access_key() {
        let header =
            "AWS4-HMAC-SHA256 Credential=AKIDWEB/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0";
        assert_eq!(access_key(header), Some("AKIDWEB"));
        assert_eq!((access_key("x"), access_key("Credential=/x"), access_key("")), (None, None, None));
    }
}

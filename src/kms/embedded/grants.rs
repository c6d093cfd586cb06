//! The operations on grants.
//!
//! A grant holds at once here; with AWS it takes up to five minutes for who does not name its token.

use super::exception::Exception;
use super::grant::{Constraint, Grant};
use super::keyfile::KeyFile;
use super::keys::{Keys, now};
use super::request::{Request, invalid, malformed};
use super::{Trouble, access, identity};
use serde_json::{Value, json};

/// What a grant on a symmetric key may be for. `CreateGrant` is left out: grants of grants are not modelled.
const OPERATIONS: &[&str] = &[
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "RetireGrant",
];

pub(super) fn create(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let key = request.required_text("KeyId")?;
    let principal = |field: &str| match request.text(field)? {
        Some(arn) if !identity::is_principal(arn) => Err(Exception::new("InvalidArnException", arn)),
        said => Ok(said.map(str::to_owned)),
    };
    let grantee = principal("GranteePrincipal")?;
    let operations = request.texts("Operations")?;
    if let Some(odd) = operations.iter().find(|operation| !OPERATIONS.contains(operation)) {
        let text = format!("the embedded KMS does not model grants for {odd}");
        return Err(Exception::new("UnsupportedOperationException", text).into());
    }
    if operations.is_empty() {
        return Err(invalid("operations", "Member must not be null").into());
    }
    let mut random = [0; 64];
    getrandom::fill(&mut random)
        .map_err(|_| Exception::new("KMSInternalException", "the system's random generator failed"))?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut new = Grant {
        token: hex(&random[32..]),
        grant_id: hex(&random[..32]),
        key_id: String::new(),
        grantee_principal: grantee.ok_or_else(|| invalid("granteePrincipal", "Member must not be null"))?,
        retiring_principal: principal("RetiringPrincipal")?,
        operations: operations.into_iter().map(str::to_owned).collect(),
        constraints: request.structure("Constraints").map(Constraint::parse).transpose()?,
        name: request.text("Name")?.map(str::to_owned),
        creation_date: now(),
    };
    request.check_dry_run()?;
    file.change(|keys| {
        new.key_id = keys.find(key)?.id.clone();
        // A grant with a name is made once, however often it is asked for.
        let same = |old: &&Grant| {
            let [mut old, mut new] = [(*old).clone(), new.clone()];
            for grant in [&mut old, &mut new] {
                (grant.token, grant.grant_id, grant.creation_date) = Default::default();
            }
            old.name.is_some() && old == new
        };
        let made = keys.grants.iter().find(same).cloned();
        let grant = made.unwrap_or_else(|| {
            keys.grants.push(new.clone());
            new
        });
        Ok(json!({ "GrantId": grant.grant_id, "GrantToken": grant.token }))
    })
}

pub(super) fn list(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let keys = file.keys()?;
    let key = keys.find(request.required_text("KeyId")?)?;
    let (id, grantee) = (request.text("GrantId")?, request.text("GranteePrincipal")?);
    let wanted = |grant: &&Grant| {
        grant.key_id == key.id
            && id.is_none_or(|id| grant.grant_id == id)
            && grantee.is_none_or(|grantee| grant.grantee_principal == grantee)
    };
    let grants = keys.grants.iter().filter(wanted).map(|grant| describe(&keys, grant));
    Ok(json!({ "Grants": grants.collect::<Result<Vec<_>, _>>()?, "Truncated": false }))
}

/// The token stays with who made the grant.
fn describe(keys: &Keys, grant: &Grant) -> Result<Value, Exception> {
    let mut told = serde_json::to_value(grant).map_err(|_| malformed("the grant"))?;
    if let Some(fields) = told.as_object_mut() {
        fields.remove("GrantToken");
    }
    told["KeyId"] = keys.arn(&grant.key_id).into();
    told["IssuingAccount"] = format!("arn:aws:iam::{}:root", keys.account).into();
    Ok(told)
}

pub(super) fn revoke(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let (key, id) = (request.required_text("KeyId")?, request.required_text("GrantId")?);
    file.change(|keys| {
        let at = place(keys, key, id)?;
        request.check_dry_run()?;
        keys.grants.remove(at);
        Ok(json!({}))
    })
}

/// Who retires a grant is named by it: as the one to retire it, or as the grantee, if it is for that as well.
pub(super) fn retire(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    file.change(|keys| {
        let at = match request.text("GrantToken")? {
            Some(token) => keys
                .grants
                .iter()
                .position(|grant| grant.token == token)
                .ok_or_else(|| Exception::new("InvalidGrantTokenException", "the grant token is of no grant"))?,
            None => place(keys, request.required_text("KeyId")?, request.required_text("GrantId")?)?,
        };
        let grant = &keys.grants[at];
        if let Some(principal) = keys.principal(request.access_key)? {
            let caller = principal.caller();
            let grantee = grant.operations.iter().any(|operation| operation == "RetireGrant")
                && caller.is(&grant.grantee_principal);
            let retiring = grant.retiring_principal.as_deref().is_some_and(|retiring| caller.is(retiring));
            if !(grantee || retiring || caller.is_root()) {
                let why = "because no resource-based policy allows the kms:RetireGrant action";
                return Err(access::denied(&caller, "RetireGrant", &keys.arn(&grant.key_id), why));
            }
        }
        request.check_dry_run()?;
        keys.grants.remove(at);
        Ok(json!({}))
    })
}

fn place(keys: &Keys, key: &str, id: &str) -> Result<usize, Exception> {
    let key = &keys.find(key)?.id;
    let at = keys.grants.iter().position(|grant| grant.key_id == *key && grant.grant_id == id);
    at.ok_or_else(|| Exception::new("NotFoundException", format!("Grant ID {id} not found")))
}

//! The operations on KMS keys: as much as tests of key states need.

use super::Trouble;
use super::access::{self, On};
use super::exception::Exception;
use super::keyfile::KeyFile;
use super::keys::{Key, Keys, State, now};
use super::policy::KeyPolicy;
use super::request::Request;
use serde_json::{Value, json};

const DAY: u64 = 24 * 60 * 60;

/// The specs that a key may have. Only the first can seal; the others are there to be refused.
const SPECS: &[(&str, &str)] = &[
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    ("RSA_2048", "ENCRYPT_DECRYPT"),
    ("RSA_2048", "SIGN_VERIFY"),
    ("ECC_NIST_P256", "SIGN_VERIFY"),
    ("HMAC_256", "GENERATE_VERIFY_MAC"),
];

fn metadata(keys: &Keys, key: &Key) -> Value {
    let mut metadata = json!({
        "AWSAccountId": keys.account,
        "Arn": keys.arn(&key.id),
        "CreationDate": key.created,
        "Description": key.description,
        "Enabled": key.state == State::Enabled,
        "KeyId": key.id,
        "KeyManager": "CUSTOMER",
        "KeySpec": key.spec,
        "CustomerMasterKeySpec": key.spec,
        "KeyState": key.state,
        "KeyUsage": key.usage,
        "MultiRegion": key.is_multi_region(),
        "Origin": key.origin,
    });
    if let Some(date) = key.deletion_date {
        metadata["DeletionDate"] = date.into();
    }
    if key.usage == "ENCRYPT_DECRYPT" && key.spec == "SYMMETRIC_DEFAULT" {
        metadata["EncryptionAlgorithms"] = json!(["SYMMETRIC_DEFAULT"]);
    }
    metadata
}

pub(super) fn describe(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let keys = file.keys()?;
    let key = keys.find(request.required_text("KeyId")?)?;
    Ok(json!({ "KeyMetadata": metadata(&keys, key) }))
}

pub(super) fn create(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let spec = request.text("KeySpec")?.unwrap_or("SYMMETRIC_DEFAULT");
    let usage = request.text("KeyUsage")?.unwrap_or("ENCRYPT_DECRYPT");
    let origin = request.text("Origin")?.unwrap_or("AWS_KMS");
    if !SPECS.contains(&(spec, usage)) || !["AWS_KMS", "EXTERNAL"].contains(&origin) {
        let text = format!("the embedded KMS makes no {spec} keys for {usage} of origin {origin}");
        return Err(Exception::new("UnsupportedOperationException", text).into());
    }
    let mut key = Key::new(spec, usage, origin, request.text("Description")?.unwrap_or_default())?;
    if request.flag("MultiRegion")? {
        key = key.multi_region();
    }
    key.policy = request.text("Policy")?.map(parse_policy).transpose()?;
    file.change(|keys| {
        let answer = json!({ "KeyMetadata": metadata(keys, &key) });
        keys.keys.push(key);
        Ok(answer)
    })
}

pub(super) fn create_alias(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let alias = request.required_text("AliasName")?;
    let target = request.required_text("TargetKeyId")?;
    let name = alias.strip_prefix("alias/").unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    if name.is_empty() || alias.len() > 256 || name.starts_with("aws/") || !name.chars().all(allowed) {
        return Err(Exception::new("InvalidAliasNameException", "").into());
    }
    file.change(|keys| {
        if keys.aliases.contains_key(alias) {
            let text = format!("An alias with the name {} already exists", keys.arn(alias));
            return Err(Exception::new("AlreadyExistsException", text));
        }
        let id = keys.find(target)?.id.clone();
        keys.aliases.insert(alias.to_owned(), id);
        Ok(json!({}))
    })
}

pub(super) fn list_aliases(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let keys = file.keys()?;
    let only = match request.text("KeyId")? {
        Some(name) => Some(keys.find(name)?.id.as_str()),
        None => None,
    };
    let aliases: Vec<Value> = keys
        .aliases
        .iter()
        .filter(|(_, id)| only.is_none_or(|only| only == id.as_str()))
        .map(|(alias, id)| json!({ "AliasName": alias, "AliasArn": keys.arn(alias), "TargetKeyId": id }))
        .collect();
    Ok(json!({ "Aliases": aliases, "Truncated": false }))
}

pub(super) fn enable(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    switch(file, request, State::Enabled)
}

pub(super) fn disable(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    switch(file, request, State::Disabled)
}

fn switch(file: &KeyFile, request: &Request, state: State) -> Result<Value, Trouble> {
    let name = request.required_text("KeyId")?;
    file.change(|keys| {
        let key = keys.find_mut(name)?;
        if !matches!(key.state, State::Enabled | State::Disabled) {
            return Err(wrong_state(keys, name));
        }
        key.state = state;
        Ok(json!({}))
    })
}

/// What the key sealed before still opens; it only seals with something new.
pub(super) fn rotate(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let name = request.required_text("KeyId")?;
    file.change(|keys| {
        let key = keys.find_mut(name)?;
        if key.state != State::Enabled {
            return Err(wrong_state(keys, name));
        }
        if key.spec != "SYMMETRIC_DEFAULT" {
            return Err(Exception::new("UnsupportedOperationException", "Only symmetric encryption keys are rotated."));
        }
        key.rotate()?;
        let id = key.id.clone();
        Ok(json!({ "KeyId": keys.arn(&id) }))
    })
}

pub(super) fn schedule_deletion(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let name = request.required_text("KeyId")?;
    let days = request.integer("PendingWindowInDays")?.unwrap_or(30);
    if !(7..=30).contains(&days) {
        return Err(Exception::validation("PendingWindowInDays must be between 7 and 30").into());
    }
    file.change(|keys| {
        let key = keys.find_mut(name)?;
        if key.state == State::PendingDeletion {
            return Err(wrong_state(keys, name));
        }
        let date = now() + days * DAY;
        key.state = State::PendingDeletion;
        key.deletion_date = Some(date);
        let id = key.id.clone();
        Ok(json!({
            "KeyId": keys.arn(&id),
            "DeletionDate": date,
            "KeyState": State::PendingDeletion,
            "PendingWindowInDays": days,
        }))
    })
}

pub(super) fn cancel_deletion(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let name = request.required_text("KeyId")?;
    file.change(|keys| {
        let key = keys.find_mut(name)?;
        if key.state != State::PendingDeletion {
            return Err(wrong_state(keys, name));
        }
        // As in KMS: saved, but to be enabled by hand.
        key.state = State::Disabled;
        key.deletion_date = None;
        let id = key.id.clone();
        Ok(json!({ "KeyId": keys.arn(&id) }))
    })
}

/// The policy of a key is named `default`, and there is no other.
fn check_policy_name(request: &Request<'_>) -> Result<(), Exception> {
    match request.text("PolicyName")? {
        None | Some("default") => Ok(()),
        Some(_) => Err(Exception::new("NotFoundException", "No such policy exists")),
    }
}

fn parse_policy(text: &str) -> Result<KeyPolicy, Exception> {
    let policy = serde_json::from_str::<KeyPolicy>(text);
    policy.map_err(|error| Exception::new("MalformedPolicyDocumentException", error.to_string()))
}

pub(super) fn get_policy(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    check_policy_name(request)?;
    let keys = file.keys()?;
    let policy = keys.policy(keys.find(request.required_text("KeyId")?)?)?;
    Ok(json!({ "Policy": Value::from(policy).to_string(), "PolicyName": "default" }))
}

pub(super) fn put_policy(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    check_policy_name(request)?;
    let name = request.required_text("KeyId")?;
    let policy = parse_policy(request.text("Policy")?.unwrap_or_default())?;
    let lock_out = request.flag("BypassPolicyLockoutSafetyCheck")?;
    file.change(|keys| {
        keys.find_mut(name)?.policy = Some(policy);
        // Judged by the new policy: a refusal takes it back.
        if !lock_out && access::check(keys, request, On::Key).is_err() {
            let text = "The new key policy will not allow you to update the key policy in the future.";
            return Err(Exception::new("MalformedPolicyDocumentException", text));
        }
        Ok(json!({}))
    })
}

fn wrong_state(keys: &Keys, name: &str) -> Exception {
    let state = keys.find(name).map(|key| format!("{:?}", key.state)).unwrap_or_default();
    Exception::new("KMSInvalidStateException", format!("{} is {state}, which forbids this.", keys.arn(name)))
}

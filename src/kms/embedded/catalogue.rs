//! The operations that the embedded KMS knows, with the request fields that it models: one table.

use super::access::{self, On};
use super::exception::Exception;
use super::keyfile::KeyFile;
use super::request::Request;
use super::{Trouble, data, grants, manage};
use crate::crypto::WipedAfter;
use serde_json::Value;

type Run = fn(&KeyFile, &Request<'_>) -> Result<Value, Trouble>;

struct Operation {
    name: &'static str,
    fields: &'static [&'static str],
    /// What it needs permission for.
    on: On,
    run: Run,
}

const fn operation(name: &'static str, fields: &'static [&'static str], on: On, run: Run) -> Operation {
    Operation { name, fields, on, run }
}

const PAIR: &[&str] = &["KeyId", "KeyPairSpec", "EncryptionContext", "GrantTokens", "DryRun", "Recipient"];
const SEALED_PAIR: &[&str] = PAIR.split_last().unwrap().1;
const DATA_KEY: &[&str] =
    &["KeyId", "KeySpec", "NumberOfBytes", "EncryptionContext", "GrantTokens", "DryRun", "Recipient"];
const SEALED_DATA_KEY: &[&str] = DATA_KEY.split_last().unwrap().1;
const ENCRYPT: &[&str] = &["KeyId", "Plaintext", "EncryptionContext", "EncryptionAlgorithm", "GrantTokens", "DryRun"];
const DECRYPT: &[&str] = &[
    "KeyId",
    "CiphertextBlob",
    "EncryptionContext",
    "EncryptionAlgorithm",
    "GrantTokens",
    "DryRun",
    "DryRunModifiers",
    "Recipient",
];
const RE_ENCRYPT: &[&str] = &[
    "CiphertextBlob",
    "SourceKeyId",
    "SourceEncryptionContext",
    "SourceEncryptionAlgorithm",
    "DestinationKeyId",
    "DestinationEncryptionContext",
    "DestinationEncryptionAlgorithm",
    "GrantTokens",
    "DryRun",
    "DryRunModifiers",
];

const CREATE_KEY: &[&str] = &["Description", "KeySpec", "KeyUsage", "Origin", "Policy", "MultiRegion"];
const PUT_POLICY: &[&str] = &["KeyId", "PolicyName", "Policy", "BypassPolicyLockoutSafetyCheck"];
const CREATE_GRANT: &[&str] =
    &["KeyId", "GranteePrincipal", "RetiringPrincipal", "Operations", "Constraints", "Name", "GrantTokens", "DryRun"];

const OPERATIONS: &[Operation] = &[
    operation("GenerateDataKeyPair", PAIR, On::Key, data::generate_pair),
    operation("GenerateDataKeyPairWithoutPlaintext", SEALED_PAIR, On::Key, data::generate_sealed_pair),
    operation("GenerateDataKey", DATA_KEY, On::Key, data::generate_key),
    operation("GenerateDataKeyWithoutPlaintext", SEALED_DATA_KEY, On::Key, data::generate_sealed_key),
    operation("Encrypt", ENCRYPT, On::Key, data::encrypt),
    operation("Decrypt", DECRYPT, On::Key, data::decrypt),
    operation("ReEncrypt", RE_ENCRYPT, On::ReEncrypt, data::re_encrypt),
    operation("DescribeKey", &["KeyId", "GrantTokens"], On::Key, manage::describe),
    operation("CreateKey", CREATE_KEY, On::Account, manage::create),
    operation("CreateAlias", &["AliasName", "TargetKeyId"], On::KeyAndAlias, manage::create_alias),
    operation("ListAliases", &["KeyId"], On::Account, manage::list_aliases),
    operation("EnableKey", &["KeyId"], On::Key, manage::enable),
    operation("DisableKey", &["KeyId"], On::Key, manage::disable),
    operation("RotateKeyOnDemand", &["KeyId"], On::Key, manage::rotate),
    operation("ScheduleKeyDeletion", &["KeyId", "PendingWindowInDays"], On::Key, manage::schedule_deletion),
    operation("CancelKeyDeletion", &["KeyId"], On::Key, manage::cancel_deletion),
    operation("GetKeyPolicy", &["KeyId", "PolicyName"], On::Key, manage::get_policy),
    operation("PutKeyPolicy", PUT_POLICY, On::Key, manage::put_policy),
    operation("CreateGrant", CREATE_GRANT, On::Key, grants::create),
    operation("ListGrants", &["KeyId", "GrantId", "GranteePrincipal"], On::Key, grants::list),
    operation("RevokeGrant", &["KeyId", "GrantId", "DryRun"], On::Key, grants::revoke),
    operation("RetireGrant", &["GrantToken", "KeyId", "GrantId", "DryRun"], On::Grant, grants::retire),
];

/// How much of the stack an operation may have left plaintext in: the numbers of a new key are drawn there.
/// Measured: up to 46 KiB for ML-KEM-1024, 41 for secp256k1, 19 for RSA, less for all others.
const STACK: usize = 52 * 1024;

/// Runs one operation. It leaves nothing of a key on the stack: in a host, that is the caller's.
pub(super) fn run(file: &KeyFile, name: &str, access_key: &str, body: &[u8]) -> Result<Value, Trouble> {
    let _wiped = WipedAfter::<STACK>;
    run_below(file, name, access_key, body)
}

/// In a frame of its own, which is part of what is wiped.
#[inline(never)]
fn run_below(file: &KeyFile, name: &str, access_key: &str, body: &[u8]) -> Result<Value, Trouble> {
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        return Err(Exception::new("UnknownOperationException", "").into());
    };
    let mut request = Request::parse(operation.name, operation.fields, access_key, body)?;
    let keys = file.keys()?;
    request.read_recipient(&keys.attestation_roots)?;
    access::check(&keys, &request, operation.on)?;
    drop(keys);
    (operation.run)(file, &request)
}

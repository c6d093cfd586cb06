//! The operations that the embedded KMS knows, with the request fields that it models: one table.

use super::exception::Exception;
use super::keyfile::KeyFile;
use super::request::Request;
use super::{Trouble, data, manage};
use crate::crypto::WipedAfter;
use serde_json::Value;

type Run = fn(&KeyFile, &Request) -> Result<Value, Trouble>;

struct Operation {
    name: &'static str,
    fields: &'static [&'static str],
    run: Run,
}

const fn operation(name: &'static str, fields: &'static [&'static str], run: Run) -> Operation {
    Operation { name, fields, run }
}

const PAIR: &[&str] = &["KeyId", "KeyPairSpec", "EncryptionContext", "GrantTokens", "DryRun"];
const DATA_KEY: &[&str] = &["KeyId", "KeySpec", "NumberOfBytes", "EncryptionContext", "GrantTokens", "DryRun"];
const ENCRYPT: &[&str] = &["KeyId", "Plaintext", "EncryptionContext", "EncryptionAlgorithm", "GrantTokens", "DryRun"];
const DECRYPT: &[&str] = &[
    "KeyId",
    "CiphertextBlob",
    "EncryptionContext",
    "EncryptionAlgorithm",
    "GrantTokens",
    "DryRun",
    "DryRunModifiers",
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

const OPERATIONS: &[Operation] = &[
    operation("GenerateDataKeyPair", PAIR, data::generate_pair),
    operation("GenerateDataKeyPairWithoutPlaintext", PAIR, data::generate_sealed_pair),
    operation("GenerateDataKey", DATA_KEY, data::generate_key),
    operation("GenerateDataKeyWithoutPlaintext", DATA_KEY, data::generate_sealed_key),
    operation("Encrypt", ENCRYPT, data::encrypt),
    operation("Decrypt", DECRYPT, data::decrypt),
    operation("ReEncrypt", RE_ENCRYPT, data::re_encrypt),
    operation("DescribeKey", &["KeyId", "GrantTokens"], manage::describe),
    operation("CreateKey", &["Description", "KeySpec", "KeyUsage", "Origin"], manage::create),
    operation("CreateAlias", &["AliasName", "TargetKeyId"], manage::create_alias),
    operation("ListAliases", &["KeyId"], manage::list_aliases),
    operation("EnableKey", &["KeyId"], manage::enable),
    operation("DisableKey", &["KeyId"], manage::disable),
    operation("ScheduleKeyDeletion", &["KeyId", "PendingWindowInDays"], manage::schedule_deletion),
    operation("CancelKeyDeletion", &["KeyId"], manage::cancel_deletion),
];

/// How much of the stack an operation may have left plaintext in: the numbers of a new key are drawn there.
/// Measured: up to 46 KiB for ML-KEM-1024, 41 for secp256k1, 19 for RSA, less for all others.
const STACK: usize = 52 * 1024;

/// Runs one operation. It leaves nothing of a key on the stack: in a host, that is the caller's.
pub(super) fn run(file: &KeyFile, name: &str, body: &[u8]) -> Result<Value, Trouble> {
    let _wiped = WipedAfter::<STACK>;
    run_below(file, name, body)
}

/// In a frame of its own, which is part of what is wiped.
#[inline(never)]
fn run_below(file: &KeyFile, name: &str, body: &[u8]) -> Result<Value, Trouble> {
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        return Err(Exception::new("UnknownOperationException", "").into());
    };
    (operation.run)(file, &Request::parse(operation.name, operation.fields, body)?)
}

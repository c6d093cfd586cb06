//! The operations on data: generate, encrypt, decrypt, re-encrypt.

use super::exception::Exception;
use super::keyfile::KeyFile;
use super::keys::{Key, Keys, State};
use super::recipient::Attested;
use super::request::{Request, invalid};
use super::{Trouble, pairs, seal};
use crate::kms::KeyPairSpec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const MAX_PLAINTEXT: usize = 4096;

/// Refuses a key whose state forbids its use, as KMS words it.
fn check_state(keys: &Keys, key: &Key) -> Result<(), Exception> {
    let arn = keys.arn(&key.id);
    match key.state {
        State::Enabled => Ok(()),
        State::Disabled => Err(Exception::new("DisabledException", format!("{arn} is disabled."))),
        State::PendingDeletion => {
            Err(Exception::new("KMSInvalidStateException", format!("{arn} is pending deletion.")))
        }
        State::PendingImport => Err(Exception::new("KMSInvalidStateException", format!("{arn} is pending import."))),
        State::Unavailable => Err(Exception::new("KMSInvalidStateException", format!("{arn} is unavailable."))),
    }
}

/// Refuses a key that cannot seal.
fn check_usage(keys: &Keys, key: &Key) -> Result<(), Exception> {
    if key.spec == "SYMMETRIC_DEFAULT" && key.usage == "ENCRYPT_DECRYPT" {
        return Ok(());
    }
    let arn = keys.arn(&key.id);
    Err(Exception::new("InvalidKeyUsageException", format!("{arn} key usage is {}, key spec {}.", key.usage, key.spec)))
}

fn usable<'a>(keys: &'a Keys, name: &str) -> Result<&'a Key, Exception> {
    let key = keys.find(name)?;
    check_state(keys, key)?;
    check_usage(keys, key)?;
    Ok(key)
}

/// A dry run that is about permissions alone, and has no ciphertext. The key is named then.
fn check_permission_alone(keys: &Keys, request: &Request<'_>, key_field: &str) -> Result<(), Exception> {
    if !request.ignores_ciphertext()? {
        return Ok(());
    }
    if !request.flag("DryRun")? {
        return Err(Exception::validation("DryRunModifiers is only valid when DryRun is true"));
    }
    usable(keys, request.required_text(key_field)?)?;
    request.check_dry_run()
}

/// Puts a plaintext into an answer: as it is, or encrypted for its one recipient, and then not as it is.
fn hand_over(answer: &mut Value, field: &str, plaintext: &[u8], recipient: Option<&Attested>) -> Result<(), Exception> {
    match recipient {
        None => answer[field] = STANDARD.encode(plaintext).into(),
        Some(recipient) => answer["CiphertextForRecipient"] = STANDARD.encode(recipient.envelop(plaintext)?).into(),
    }
    Ok(())
}

pub(super) fn generate_pair(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    pair(file, request, true)
}

pub(super) fn generate_sealed_pair(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    pair(file, request, false)
}

fn pair(file: &KeyFile, request: &Request<'_>, with_plaintext: bool) -> Result<Value, Trouble> {
    let name = request.required_text("KeyPairSpec")?;
    let context = request.context("EncryptionContext")?;
    let keys = file.keys()?;
    let key = usable(&keys, request.required_text("KeyId")?)?;
    let Some(spec) = KeyPairSpec::from_name(name) else {
        let text = format!("the embedded KMS makes no {name} key pairs");
        return Err(Exception::new("UnsupportedOperationException", text).into());
    };
    let recipient = request.recipient()?;
    request.check_dry_run()?;
    let (public, private) = pairs::generate(spec)?;
    let mut answer = json!({
        "KeyId": keys.arn(&key.id),
        "KeyPairSpec": spec.name(),
        "PublicKey": STANDARD.encode(&public),
        "PrivateKeyCiphertextBlob": STANDARD.encode(seal::seal(&key.id, &*key.material()?, &context, &private)?),
    });
    if with_plaintext {
        hand_over(&mut answer, "PrivateKeyPlaintext", &private, recipient)?;
    }
    Ok(answer)
}

pub(super) fn generate_key(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    data_key(file, request, true)
}

pub(super) fn generate_sealed_key(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    data_key(file, request, false)
}

/// How many bytes a data key is to have.
fn data_key_len(request: &Request<'_>) -> Result<usize, Exception> {
    match (request.text("KeySpec")?, request.integer("NumberOfBytes")?) {
        (Some("AES_256"), None) => Ok(32),
        (Some("AES_128"), None) => Ok(16),
        (Some(_), None) => Err(invalid("keySpec", "Member must satisfy enum value set: [AES_256, AES_128]")),
        (None, Some(len @ 1..=1024)) => Ok(len as usize),
        (None, Some(0)) => Err(invalid("numberOfBytes", "Member must have value greater than or equal to 1")),
        (None, Some(_)) => Err(invalid("numberOfBytes", "Member must have value less than or equal to 1024")),
        // Both or neither.
        _ => Err(Exception::validation("Please specify either number of bytes or key spec.")),
    }
}

fn data_key(file: &KeyFile, request: &Request<'_>, with_plaintext: bool) -> Result<Value, Trouble> {
    let len = data_key_len(request)?;
    let context = request.context("EncryptionContext")?;
    let keys = file.keys()?;
    let key = usable(&keys, request.required_text("KeyId")?)?;
    let recipient = request.recipient()?;
    request.check_dry_run()?;
    let mut plaintext = Zeroizing::new(vec![0; len]);
    getrandom::fill(&mut plaintext)
        .map_err(|_| Exception::new("KMSInternalException", "the system's random generator failed"))?;
    let mut answer = json!({
        "KeyId": keys.arn(&key.id),
        "CiphertextBlob": STANDARD.encode(seal::seal(&key.id, &*key.material()?, &context, &plaintext)?),
    });
    if with_plaintext {
        hand_over(&mut answer, "Plaintext", &plaintext, recipient)?;
    }
    Ok(answer)
}

pub(super) fn encrypt(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let plaintext = Zeroizing::new(request.required_blob("Plaintext", MAX_PLAINTEXT)?);
    let context = request.context("EncryptionContext")?;
    let keys = file.keys()?;
    let key = usable(&keys, request.required_text("KeyId")?)?;
    request.check_algorithm("EncryptionAlgorithm")?;
    request.check_dry_run()?;
    Ok(json!({
        "KeyId": keys.arn(&key.id),
        "CiphertextBlob": STANDARD.encode(seal::seal(&key.id, &*key.material()?, &context, &plaintext)?),
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }))
}

/// Opens the blob of a request; the key is the one named, which must be the one that sealed it, or the one
/// that the blob names.
fn open<'a>(
    keys: &'a Keys,
    request: &Request<'_>,
    key_field: &str,
    context_field: &str,
) -> Result<(&'a Key, Zeroizing<Vec<u8>>), Exception> {
    let blob = request.required_blob("CiphertextBlob", seal::MAX_BLOB)?;
    let context = request.context(context_field)?;
    let named = match request.has(key_field) {
        true => Some(usable(keys, request.required_text(key_field)?)?),
        false => None,
    };
    let sealed_under = seal::key_id(&blob).ok_or_else(|| Exception::new("InvalidCiphertextException", ""))?;
    let key = match named {
        Some(key) if key.id == sealed_under => key,
        Some(_) => {
            let text = "The key ID in the request does not identify a CMK that can perform this operation.";
            return Err(Exception::new("IncorrectKeyException", text));
        }
        None => usable(keys, sealed_under)?,
    };
    for material in key.materials() {
        if let Ok(plaintext) = seal::open(&*material?, &context, &blob) {
            return Ok((key, Zeroizing::new(plaintext)));
        }
    }
    Err(Exception::new("InvalidCiphertextException", ""))
}

pub(super) fn decrypt(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let keys = file.keys()?;
    request.check_algorithm("EncryptionAlgorithm")?;
    check_permission_alone(&keys, request, "KeyId")?;
    let (key, plaintext) = open(&keys, request, "KeyId", "EncryptionContext")?;
    let recipient = request.recipient()?;
    request.check_dry_run()?;
    let mut answer = json!({ "KeyId": keys.arn(&key.id), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" });
    hand_over(&mut answer, "Plaintext", &plaintext, recipient)?;
    Ok(answer)
}

pub(super) fn re_encrypt(file: &KeyFile, request: &Request<'_>) -> Result<Value, Trouble> {
    let keys = file.keys()?;
    request.check_algorithm("SourceEncryptionAlgorithm")?;
    request.check_algorithm("DestinationEncryptionAlgorithm")?;
    let destination = usable(&keys, request.required_text("DestinationKeyId")?)?;
    let context = request.context("DestinationEncryptionContext")?;
    check_permission_alone(&keys, request, "SourceKeyId")?;
    let (source, plaintext) = open(&keys, request, "SourceKeyId", "SourceEncryptionContext")?;
    request.check_dry_run()?;
    let blob = seal::seal(&destination.id, &*destination.material()?, &context, &plaintext)?;
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(blob),
        "SourceKeyId": keys.arn(&source.id),
        "KeyId": keys.arn(&destination.id),
        "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_key_is_asked_for_by_spec_or_by_length_and_not_by_both() {
        let fields = ["KeySpec", "NumberOfBytes"];
        let len = |body: &str| data_key_len(&Request::parse("GenerateDataKey", &fields, "", body.as_bytes())?);
        for (body, expected) in [
            (r#"{"KeySpec":"AES_128"}"#, 16),
            (r#"{"KeySpec":"AES_256"}"#, 32),
            (r#"{"NumberOfBytes":1}"#, 1),
            (r#"{"NumberOfBytes":1024}"#, 1024),
        ] {
            assert_eq!(len(body), Ok(expected), "{body}");
        }
        for (body, code) in [
            ("{}", "ValidationException"),
            (r#"{"KeySpec":"AES_256","NumberOfBytes":32}"#, "ValidationException"),
            (r#"{"KeySpec":"AES_192"}"#, "ValidationException"),
            (r#"{"NumberOfBytes":0}"#, "ValidationException"),
            (r#"{"NumberOfBytes":1025}"#, "ValidationException"),
            (r#"{"NumberOfBytes":-1}"#, "SerializationException"),
            (r#"{"NumberOfBytes":"32"}"#, "SerializationException"),
        ] {
            assert_eq!(len(body).unwrap_err().code, code, "{body}");
        }
    }
}

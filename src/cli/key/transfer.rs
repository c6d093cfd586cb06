//! `datakey-pkcs11 key export` and `key import`.
//!
//! What KMS sealed goes in and out in the words of the answers of KMS itself, so that the output of
//! `aws kms generate-data-key-pair-without-plaintext` is a file to import.

use super::super::object::{Key, attribute, pem};
use super::super::output::{Answer, Failure};
use super::super::parts::{self, Halves, Parts};
use super::super::pin::Passphrase;
use super::super::{files, input};
use super::{Access, NewNames, One, made};
use crate::crypto::{PublicKey, Secret};
use crate::object::keypair;
use crate::object::template::Given;
use crate::object::vendor::{CKA_DATAKEY_CIPHERTEXT_BLOB, CKA_DATAKEY_ENCRYPTION_CONTEXT};
use crate::session::Session;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Export {
    #[command(flatten)]
    one: One,
    /// Not the public key, but what KMS sealed, with its encryption context: whoever KMS lets can open it
    #[arg(long)]
    sealed: bool,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Import {
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    names: NewNames,
    /// A private key in PEM (PKCS#8, also encrypted, PKCS#1, SEC 1), in DER (PKCS#8) or in a PKCS#12 file, or the JSON of
    /// aws kms generate-data-key-pair(-without-plaintext); "-" is standard input
    file: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
    /// A pair of the encryption context that a sealed key was made under; may be given several times
    #[arg(long = "context", value_name = "KEY=VALUE", value_parser = super::super::init::pair)]
    context: Vec<(String, String)>,
}

/// The names of an answer of `GenerateDataKeyPair`.
const BLOB: &str = "PrivateKeyCiphertextBlob";
const PUBLIC: &str = "PublicKey";
const CONTEXT: &str = "EncryptionContext";

pub(super) fn export(arguments: &Export) -> Result<Answer, Failure> {
    let (_desk, session) = arguments.one.access.open()?;
    let key = Key::find(&session, &arguments.one.key)?;
    if arguments.sealed {
        return sealed(&session, &key);
    }
    let public = key.halves().map(|half| half.public_key()).find(|public| !public.is_empty());
    let public = public.ok_or_else(|| Failure::new("it has no public key; --sealed exports what KMS sealed"))?;
    let pem = pem("PUBLIC KEY", public)?;
    Ok(Answer::new(pem.clone(), json!({"public_key": pem})))
}

fn sealed(session: &Session, key: &Key) -> Result<Answer, Failure> {
    let private = key.private.as_ref().ok_or_else(|| Failure::new("that is a public key, which is not sealed"))?;
    let blob = attribute(session, private.handle, CKA_DATAKEY_CIPHERTEXT_BLOB)?;
    let context = attribute(session, private.handle, CKA_DATAKEY_ENCRYPTION_CONTEXT)?;
    let context: Value = serde_json::from_slice(&context).map_err(|error| Failure::new(error.to_string()))?;
    let record = &private.record;
    let mut told = json!({
        "KeyId": record.sealed.as_ref().map(|sealed| sealed.kms_key_arn.as_str()),
        CONTEXT: context,
    });
    if private.class() == CKO_SECRET_KEY {
        told["CiphertextBlob"] = STANDARD.encode(blob).into();
    } else {
        told[BLOB] = STANDARD.encode(blob).into();
        told[PUBLIC] = STANDARD.encode(private.public_key()).into();
        told["KeyPairSpec"] = keypair::spec_of(&record.attributes).into();
    }
    Ok(Answer::new(format!("{told:#}"), told))
}

pub(super) fn import(arguments: &Import) -> Result<Answer, Failure> {
    let text = input::read(&arguments.file)?;
    let id = arguments.names.id()?;
    let label = arguments.names.label.as_bytes();
    let names = [(CKA_TOKEN, &[CK_TRUE][..]), (CKA_LABEL, label), (CKA_ID, &id)];
    let is_json = text.expose().iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let Halves { public, private } = match is_json {
        true => from_kms(&text, &arguments.context)?,
        false => from_file(&arguments.file, &text, &arguments.passphrase)?,
    };
    let (_desk, session) = arguments.access.open()?;
    let [_, handle] = session.create_pair([&template(&names, &public), &template(&names, &private)])?;
    made(&session, handle)
}

/// What both halves have, and what one has of its own.
fn template<'a>(names: &[Given<'a>], own: &'a Parts) -> Vec<Given<'a>> {
    [names, &parts::template(own)].concat()
}

/// The one private key of a file.
fn from_file(path: &Path, file: &Secret, passphrase: &Passphrase) -> Result<Halves, Failure> {
    let mut keys = files::parse(path, file, passphrase)?.keys;
    match (keys.pop(), keys.pop()) {
        (Some(key), None) => parts::of_private_key(&key),
        (None, _) => Err(Failure::new(format!("{}: it holds no private key", path.display()))),
        (Some(_), Some(_)) => Err(Failure::new(format!(
            "{}: it holds several private keys; datakey-pkcs11 migrate pem takes them all",
            path.display()
        ))),
    }
}

fn from_kms(text: &Secret, pairs: &[(String, String)]) -> Result<Halves, Failure> {
    let bad = |why: &str| Failure::new(format!("the JSON is none of a data key pair: {why}"));
    let answer: Value = serde_json::from_slice(text.expose()).map_err(|error| bad(&error.to_string()))?;
    let bytes = |name: &str| {
        let text = answer[name].as_str().ok_or_else(|| bad(&format!("it has no {name}")))?;
        STANDARD.decode(text).map_err(|_| bad(&format!("{name} is no base64")))
    };
    let mut context = answer[CONTEXT].as_object().cloned().unwrap_or_else(Map::new);
    context.extend(pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    let spki = bytes(PUBLIC)?;
    let Halves { public, mut private } = parts::of_public_key(&PublicKey::from_spki(&spki)?)?;
    // What is sealed says itself what it is.
    private.retain(|(attribute, _)| matches!(*attribute, CKA_CLASS | CKA_KEY_TYPE));
    private.push((CKA_PUBLIC_KEY_INFO, Secret::new(spki)));
    private.push((CKA_DATAKEY_CIPHERTEXT_BLOB, Secret::new(bytes(BLOB)?)));
    private.push((CKA_DATAKEY_ENCRYPTION_CONTEXT, Secret::new(Value::from(context).to_string().into_bytes())));
    Ok(Halves { public, private })
}

//! `datakey-pkcs11 key export` and `key import`.
//!
//! What KMS sealed goes in and out in the words of the answers of KMS itself, so that the output of
//! `aws kms generate-data-key-pair-without-plaintext` is a file to import.

use super::super::input;
use super::super::object::{Key, attribute, pem};
use super::super::output::{Answer, Failure};
use super::{Access, NewNames, One, made};
use crate::crypto::{PrivateKey, PublicKey, Secret};
use crate::object::template::Given;
use crate::object::vendor::{CKA_DATAKEY_CIPHERTEXT_BLOB, CKA_DATAKEY_ENCRYPTION_CONTEXT, key_type};
use crate::object::{attribute as forms, keypair, private_parts};
use crate::session::Session;
use crate::store::Attributes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

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
    /// PKCS#8 in PEM, or the JSON of aws kms generate-data-key-pair(-without-plaintext); "-" is standard input
    file: PathBuf,
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
    let (public, private) = match is_json {
        true => from_kms(&text, &arguments.context)?,
        false => from_pem(&text)?,
    };
    let (_desk, session) = arguments.access.open()?;
    let [_, handle] = session.create_pair([&template(&names, &public), &template(&names, &private)])?;
    made(&session, handle)
}

/// What both halves have, and what one has of its own.
fn template<'a>(names: &[Given<'a>], own: &'a [(CK_ATTRIBUTE_TYPE, Secret)]) -> Vec<Given<'a>> {
    let own = own.iter().map(|(attribute, value)| (*attribute, value.expose()));
    names.iter().copied().chain(own).collect()
}

/// The own parts of two templates: of the public and of the private key.
type Templates = (Vec<(CK_ATTRIBUTE_TYPE, Secret)>, Vec<(CK_ATTRIBUTE_TYPE, Secret)>);

fn from_pem(text: &Secret) -> Result<Templates, Failure> {
    let (label, der) =
        der::pem::decode_vec(text.expose()).map_err(|error| Failure::new(format!("neither PEM nor JSON: {error}")))?;
    let der = Secret::new(der);
    if label != "PRIVATE KEY" {
        let how = "openssl pkcs8 -topk8 -nocrypt makes of a key what can be imported";
        return Err(Failure::new(format!("a PEM file of {label:?}, not of a \"PRIVATE KEY\"; {how}")));
    }
    let key = PrivateKey::from_pkcs8(der.expose()).map_err(|error| {
        Failure::new(format!("the file is no private key of a kind that is known: {}", error.detail()))
    })?;
    let (public, mut private) = templates(key.public_key())?;
    private.extend(private_parts(&key)?);
    Ok((public, private))
}

fn from_kms(text: &Secret, pairs: &[(String, String)]) -> Result<Templates, Failure> {
    let bad = |why: &str| Failure::new(format!("the JSON is none of a data key pair: {why}"));
    let answer: Value = serde_json::from_slice(text.expose()).map_err(|error| bad(&error.to_string()))?;
    let bytes = |name: &str| {
        let text = answer[name].as_str().ok_or_else(|| bad(&format!("it has no {name}")))?;
        STANDARD.decode(text).map_err(|_| bad(&format!("{name} is no base64")))
    };
    let mut context = answer[CONTEXT].as_object().cloned().unwrap_or_else(Map::new);
    context.extend(pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    let spki = bytes(PUBLIC)?;
    let (public, mut private) = templates(&PublicKey::from_spki(&spki)?)?;
    // What is sealed says itself what it is.
    private.retain(|(attribute, _)| matches!(*attribute, CKA_CLASS | CKA_KEY_TYPE));
    private.push((CKA_PUBLIC_KEY_INFO, Secret::new(spki)));
    private.push((CKA_DATAKEY_CIPHERTEXT_BLOB, Secret::new(bytes(BLOB)?)));
    private.push((CKA_DATAKEY_ENCRYPTION_CONTEXT, Secret::new(Value::from(context).to_string().into_bytes())));
    Ok((public, private))
}

/// What follows from the public key, for both halves.
fn templates(key: &PublicKey) -> Result<Templates, Failure> {
    const NEVER_GIVEN: &[CK_ATTRIBUTE_TYPE] = &[CKA_MODULUS_BITS, CKA_PUBLIC_KEY_INFO];
    const OF_PUBLIC_KEYS: &[CK_ATTRIBUTE_TYPE] = &[CKA_EC_POINT, CKA_VALUE];
    let mut described = Attributes::new();
    keypair::describe_public(&mut described, key)?;
    let mut halves = [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY].map(|class| {
        let number = |number: CK_ULONG| Secret::new(number.to_ne_bytes().to_vec());
        vec![(CKA_CLASS, number(class)), (CKA_KEY_TYPE, number(key_type(key.kind())))]
    });
    for (attribute, value) in described.iter().filter(|(attribute, _)| !NEVER_GIVEN.contains(attribute)) {
        let Some(kind) = forms::kind(*attribute) else { continue };
        for (at, half) in halves.iter_mut().enumerate() {
            if at == 0 || !OF_PUBLIC_KEYS.contains(attribute) {
                half.push((*attribute, Secret::new(forms::native(kind, value))));
            }
        }
    }
    let [public, private] = halves;
    Ok((public, private))
}

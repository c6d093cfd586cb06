//! `datakey-pkcs11 cert`: requests and certificates for the token's keys, without OpenSSL.

mod contents;
mod signer;

use super::input;
use super::key::{Access, One};
use super::object::{Key, Name, attribute, find, hex, pem};
use super::output::{Answer, Failure};
use crate::crypto::random;
use crate::object::certificate::Certificate;
use crate::session::Session;
use contents::Contents;
use cryptoki_sys::*;
use der::{Decode, Encode};
use serde_json::{Value, json};
use signer::Signer;
use spki::SubjectPublicKeyInfoOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_cert::builder::CertificateBuilder;
use x509_cert::request::RequestBuilder;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Validity;

/// Make requests and certificates for keys of a token, and keep certificates beside them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a request for a certificate of a key (PKCS#10, PEM), for a certification authority
    Request(Request),
    /// Make a self-signed certificate of a key, print it and keep it beside the key
    SelfSign(SelfSign),
    /// Keep a certificate beside the key that it is of
    Import(Import),
}

#[derive(Debug, clap::Args)]
pub(super) struct Request {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    contents: Contents,
}

#[derive(Debug, clap::Args)]
pub(super) struct SelfSign {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    contents: Contents,
    /// How long it is valid, in days
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    #[command(flatten)]
    keep: Keep,
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    #[command(flatten)]
    access: Access,
    /// The certificate, PEM or DER; "-" is standard input. Of a chain, its first is taken
    file: PathBuf,
    /// The key; needed where several have the certificate's public key
    #[arg(long)]
    key: Option<Name>,
    #[command(flatten)]
    keep: Keep,
}

/// What becomes of certificates of the same key that are there.
#[derive(Debug, clap::Args)]
pub(super) struct Keep {
    /// Destroy the certificates that the key had
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::Request(arguments) => request(arguments),
        Command::SelfSign(arguments) => self_sign(arguments),
        Command::Import(arguments) => import(arguments),
    }
}

fn encoding(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}

fn request(arguments: &Request) -> Result<Answer, Failure> {
    let profile = arguments.contents.profile();
    let (_desk, session) = arguments.one.open()?;
    let signer = Signer::new(&session, arguments.one.pin(), &Key::find(&session, arguments.one.name())?)?;
    let mut builder = RequestBuilder::new(profile.subject.clone()).map_err(encoding)?;
    for extension in profile.requested(signer.kind())? {
        builder.add_extension(contents::Made(extension)).map_err(encoding)?;
    }
    let text = pem("CERTIFICATE REQUEST", &signer.build(builder)?.to_der().map_err(encoding)?)?;
    Ok(Answer::new(text.clone(), json!({"request": text})))
}

fn self_sign(arguments: &SelfSign) -> Result<Answer, Failure> {
    let mut profile = arguments.contents.profile();
    let (_desk, session) = arguments.one.open()?;
    let key = Key::find(&session, arguments.one.name())?;
    let signer = Signer::new(&session, arguments.one.pin(), &key)?;
    profile.kind = Some(signer.kind());
    let validity = Validity::from_now(Duration::from_secs(u64::from(arguments.days) * 86400)).map_err(encoding)?;
    let public = SubjectPublicKeyInfoOwned::from_der(signer.public_key()).map_err(encoding)?;
    let builder = CertificateBuilder::new(profile, serial()?, validity, public).map_err(encoding)?;
    let der = signer.build(builder)?.to_der().map_err(encoding)?;
    kept(&session, &key, &der, &arguments.keep)
}

/// A random serial number of 16 bytes: positive, and never 0.
fn serial() -> Result<SerialNumber, Failure> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::new(&bytes).map_err(encoding)
}

fn import(arguments: &Import) -> Result<Answer, Failure> {
    let der = read(&arguments.file)?;
    let public = Certificate::parse(&der)?.public_key_info;
    let (_desk, session) = arguments.access.open()?;
    let key = match &arguments.key {
        Some(name) => Key::find(&session, name)?,
        None => of_public_key(&session, public)?,
    };
    if key.halves().next().is_none_or(|half| half.public_key() != public) {
        return Err(Failure::new("the certificate is of another key"));
    }
    kept(&session, &key, &der, &arguments.keep)
}

/// The one pair with this public key.
fn of_public_key(session: &Session, public: &[u8]) -> Result<Key, Failure> {
    let mut keys = find(session, CKO_PRIVATE_KEY, Some((CKA_PUBLIC_KEY_INFO, public)))?;
    match (keys.pop(), keys.pop()) {
        (Some(private), None) => Ok(Key { private: Some(private), public: None }),
        (None, _) => Err(Failure::new("no private key of this token is the certificate's")),
        (Some(_), Some(_)) => Err(Failure::new("several private keys are the certificate's; say with --key which one")),
    }
}

/// The certificate in a file.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = input::read(path)?;
    let file = file.expose();
    if Certificate::parse(file).is_ok() {
        return Ok(file.to_vec());
    }
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let at = |text: &[u8], from: usize| {
        file[from..].windows(text.len()).position(|window| window == text).map(|at| from + at)
    };
    let block = at(BEGIN, 0).and_then(|begin| Some(begin..at(END, begin)? + END.len()));
    let block = block.ok_or_else(|| Failure::new("the file holds no certificate, neither in PEM nor in DER"))?;
    der::pem::decode_vec(&file[block]).map(|(_, der)| der).map_err(encoding)
}

/// Puts a certificate beside its key.
fn kept(session: &Session, key: &Key, der: &[u8], keep: &Keep) -> Result<Answer, Failure> {
    let Some(half) = key.halves().next() else { return Err(Failure::new("there is no such key")) };
    let before = key.certificates(session)?;
    let label = half.label();
    let there = before
        .iter()
        .find(|certificate| certificate.record.attributes.get(&CKA_VALUE).is_some_and(|value| value == der));
    let (class, kind) = (CKO_CERTIFICATE.to_ne_bytes(), CKC_X_509.to_ne_bytes());
    let handle = match there {
        Some(there) => there.handle,
        None => session.create_object(&[
            (CKA_CLASS, &class),
            (CKA_CERTIFICATE_TYPE, &kind),
            (CKA_TOKEN, &[CK_TRUE]),
            (CKA_LABEL, label.as_bytes()),
            (CKA_ID, half.id()),
            (CKA_VALUE, der),
        ])?,
    };
    let mut replaced = Vec::new();
    for old in before.iter().filter(|old| keep.replace && old.handle != handle) {
        session.destroy_object(old.handle)?;
        replaced.push(Value::from(old.record.id.to_string()));
    }
    let text = pem("CERTIFICATE", der)?;
    let unique = String::from_utf8_lossy(&attribute(session, handle, CKA_UNIQUE_ID)?).into_owned();
    let told =
        json!({"certificate": text, "label": label, "id": hex(half.id()), "unique_id": unique, "replaced": replaced});
    Ok(Answer::new(text, told))
}

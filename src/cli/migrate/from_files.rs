//! `datakey-pkcs11 migrate pem` and `migrate pkcs12`: private keys and certificates in files.

use super::super::files::{self, Contents};
use super::super::key::Id;
use super::super::output::{Answer, Failure};
use super::super::parts::{self, Halves, Parts};
use super::super::pin::Passphrase;
use super::Options;
use super::mover::{Item, Mover};
use crate::crypto::{Hash, PrivateKey, PublicKey, Secret};
use crate::object::certificate::Certificate;
use cryptoki_sys::*;
use der::Decode;
use spki::SubjectPublicKeyInfoRef;
use std::path::{Path, PathBuf};
use x509_cert::name::Name;

/// What both kinds of file take.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    passphrase: Passphrase,
    /// The label of the key (default: the name that the file gives it, else the file's own)
    #[arg(long)]
    label: Option<String>,
    /// The id of the key (default: the SHA-1 of its public key, as in X.509's subject key identifier)
    #[arg(long, value_name = "HEX", value_parser = super::super::key::id)]
    id: Option<Id>,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Pem {
    #[command(flatten)]
    common: Common,
    /// The files: keys, certificates, chains, in any order; "-" is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Pkcs12 {
    #[command(flatten)]
    common: Common,
    /// The files; "-" is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn pem(arguments: &Pem) -> Result<Answer, Failure> {
    migrate(&arguments.common, &arguments.files)
}

pub(super) fn pkcs12(arguments: &Pkcs12) -> Result<Answer, Failure> {
    migrate(&arguments.common, &arguments.files)
}

/// A private key of a file, with its names.
struct Found {
    key: PrivateKey,
    label: String,
    id: Vec<u8>,
}

fn migrate(common: &Common, paths: &[PathBuf]) -> Result<Answer, Failure> {
    let (mut keys, mut certificates, mut passed_over) = (Vec::<Found>::new(), Vec::new(), Vec::new());
    // All is read before anything is moved: a file that cannot be read is noticed at once.
    for path in paths {
        let Contents { keys: found, certificates: beside, name, passed_over: left } =
            files::read(path, &common.passphrase)?;
        if found.is_empty() && beside.is_empty() {
            return Err(Failure::new(format!("{}: it holds neither a private key nor a certificate", path.display())));
        }
        passed_over.extend(left.into_iter().map(|what| format!("{}: {what:?}", path.display())));
        certificates.extend(beside);
        let label = common.label.clone().or(name).unwrap_or_else(|| stem(path));
        for key in found {
            let id = match &common.id {
                Some(Id(id)) => id.clone(),
                None => key_identifier(key.public_key().spki_der())?,
            };
            // The same key in two files is one key.
            if keys.iter().all(|known| known.key.public_key() != key.public_key()) {
                keys.push(Found { key, label: label.clone(), id });
            }
        }
    }
    if keys.len() > 1 && common.id.is_some() {
        return Err(Failure::new("there are several private keys, and --id is of one"));
    }
    certificates.sort_unstable();
    certificates.dedup();

    let (_desk, session) = common.options.access.open()?;
    let mut mover = Mover::new(session, &common.options, (keys.len() + certificates.len()) as u64);
    let ended = move_all(&mut mover, keys, certificates).err();
    mover.answer(&passed_over, ended)
}

fn move_all(mover: &mut Mover<'_>, keys: Vec<Found>, certificates: Vec<Vec<u8>>) -> Result<(), Failure> {
    let names: Vec<(PublicKey, String, Vec<u8>)> =
        keys.iter().map(|found| (found.key.public_key().clone(), found.label.clone(), found.id.clone())).collect();
    for Found { key, label, id } in keys {
        let Halves { mut public, mut private } = parts::of_private_key(&key)?;
        for half in [&mut public, &mut private] {
            half.push((CKA_LABEL, Secret::new(label.clone().into_bytes())));
            half.push((CKA_ID, Secret::new(id.clone())));
        }
        let old = Some(key.public_key().clone());
        drop(key);
        // The default id is the key's own: one that is there under another is the same key all the same.
        mover.take(Item { parts: private, public: Some(public), old, same_id: false })?;
    }
    for der in certificates {
        let parts = certificate(&der, &names)?;
        mover.take(Item { parts, public: None, old: None, same_id: false })?;
    }
    Ok(())
}

/// A certificate: with the names of its key, if that is among `keys`, else with its own.
fn certificate(der: &[u8], keys: &[(PublicKey, String, Vec<u8>)]) -> Result<Parts, Failure> {
    let parsed = Certificate::parse(der)?;
    let own = keys.iter().find(|(key, _, _)| key.spki_der() == parsed.public_key_info);
    let (label, id) = match own {
        Some((_, label, id)) => (label.clone(), id.clone()),
        None => (common_name(parsed.subject), key_identifier(parsed.public_key_info)?),
    };
    Ok(vec![
        parts::number(CKA_CLASS, CKO_CERTIFICATE),
        parts::number(CKA_CERTIFICATE_TYPE, CKC_X_509),
        (CKA_SUBJECT, Secret::new(parsed.subject.to_vec())),
        (CKA_LABEL, Secret::new(label.into_bytes())),
        (CKA_ID, Secret::new(id)),
        (CKA_VALUE, Secret::new(der.to_vec())),
    ])
}

/// The most particular name that a subject has, or all of it.
fn common_name(subject: &[u8]) -> String {
    const COMMON_NAME: &str = "CN=";
    let text = Name::from_der(subject).map_or_else(|_| String::new(), |name| name.to_string());
    let common = text.split(',').find_map(|part| part.strip_prefix(COMMON_NAME)).map(str::to_owned);
    common.unwrap_or(text)
}

/// The SHA-1 of the bits of a public key (RFC 5280, section 4.2.1.2), which is what most programs make an id of.
fn key_identifier(spki: &[u8]) -> Result<Vec<u8>, Failure> {
    let parsed = SubjectPublicKeyInfoRef::from_der(spki).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Hash::Sha1.digest(parsed.subject_public_key.raw_bytes()).as_ref().to_vec())
}

/// The name of a file, without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

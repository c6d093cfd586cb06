//! Files that other programs keep private keys and certificates in: PEM, DER, PKCS#12.

use super::input;
use super::output::Failure;
use super::pin::Passphrase;
use crate::crypto::key_file::{self, Bundle, Unreadable};
use crate::crypto::{PrivateKey, Secret};
use crate::object::certificate::Certificate;
use std::path::Path;

/// What a file holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) keys: Vec<PrivateKey>,
    pub(super) certificates: Vec<Vec<u8>>,
    /// The name that a PKCS#12 file gives its key, or the first certificate beside it.
    pub(super) name: Option<String>,
    /// What is there and is not taken, in the words of the file.
    pub(super) passed_over: Vec<String>,
}

/// Reads a file, or standard input for `-`, and asks for a passphrase if it is encrypted.
pub(super) fn read(path: &Path, passphrase: &Passphrase) -> Result<Contents, Failure> {
    parse(path, &input::read(path)?, passphrase)
}

/// The same of a file that was read.
pub(super) fn parse(path: &Path, file: &Secret, passphrase: &Passphrase) -> Result<Contents, Failure> {
    contents(file, &|| passphrase.of(path)).map_err(|failure| failure.about(path.display()))
}

/// Where the passphrase of one file comes from, when it is needed.
type Ask<'a> = dyn Fn() -> Result<Secret, Failure> + 'a;

fn contents(file: &Secret, ask: &Ask<'_>) -> Result<Contents, Failure> {
    let bytes = file.expose();
    const BEGIN: &[u8] = b"-----BEGIN ";
    // Before the first block may stand what people read.
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return pem(bytes, ask);
    }
    match bytes {
        // SEQUENCE { INTEGER 3, … }, the length in any form.
        [0x30, rest @ ..] if after_length(rest).is_some_and(|rest| rest.starts_with(&[2, 1, 3])) => pkcs12(bytes, ask),
        [0xfe, 0xed, 0xfe, 0xed, ..] => Err(Failure::new(
            "a keystore of Java's own format; keytool -importkeystore -deststoretype pkcs12 makes a PKCS#12 file of it",
        )),
        _ if Certificate::parse(bytes).is_ok() => {
            Ok(Contents { certificates: vec![bytes.to_vec()], ..Contents::default() })
        }
        _ => Ok(Contents { keys: vec![private_key(bytes)?], ..Contents::default() }),
    }
}

/// What follows a length of BER.
fn after_length(bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    rest.get(if *first > 0x80 { usize::from(*first & 0x7f) } else { 0 }..)
}

/// A private key in PKCS#8.
fn private_key(pkcs8: &[u8]) -> Result<PrivateKey, Failure> {
    PrivateKey::from_pkcs8(pkcs8)
        .map_err(|error| Failure::new(format!("it holds no private key of a kind that is known: {}", error.detail())))
}

fn pkcs12(file: &[u8], ask: &Ask<'_>) -> Result<Contents, Failure> {
    // Many have no passphrase at all.
    let opened = match key_file::from_pkcs12(file, &Secret::zeroed(0)) {
        Err(Unreadable::Passphrase) => key_file::from_pkcs12(file, &ask()?),
        opened => opened,
    };
    let Bundle { key, certificates } = opened.map_err(|why| unreadable(why, true))?;
    let keys = key.map(|pkcs8| private_key(pkcs8.expose())).transpose()?;
    let name = certificates.iter().find_map(|certificate| certificate.name.clone());
    let certificates = certificates.into_iter().map(|certificate| certificate.der).collect();
    Ok(Contents { keys: keys.into_iter().collect(), certificates, name, passed_over: Vec::new() })
}

fn unreadable(why: Unreadable, encrypted: bool) -> Failure {
    Failure::new(match why {
        Unreadable::Passphrase => "the passphrase is wrong, or the file is damaged",
        Unreadable::Malformed if encrypted => "it does not decrypt to a key: the passphrase is wrong, or it is damaged",
        Unreadable::Malformed => "it is damaged, or no private key of a kind that is known",
        Unreadable::Unsupported => {
            "its encryption, its MAC or its kind of key is not known here; openssl pkcs8 -topk8 or openssl pkcs12 makes \
             another file of it"
        }
        Unreadable::SeveralKeys => {
            "it holds several private keys; keytool -importkeystore -srcalias NAME takes out one at a time"
        }
        Unreadable::NoMac => "it has no MAC: nobody can say that it is whole",
    })
}

/// The blocks of a PEM file, with their labels. What stands between them is passed over.
fn blocks(text: &str) -> Result<Vec<(&str, &str)>, Failure> {
    const BEGIN: &str = "-----BEGIN ";
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let line = rest[..start].matches('\n').count() + text[..text.len() - rest.len()].matches('\n').count() + 1;
        let broken = || Failure::new(format!("the block of PEM that begins in line {line} does not end"));
        let label = &rest[start + BEGIN.len()..];
        let label = &label[..label.find("-----").filter(|at| !label[..*at].contains('\n')).ok_or_else(broken)?];
        let end = format!("-----END {label}-----");
        let length = rest[start..].find(&end).ok_or_else(broken)? + end.len();
        let block = &rest[start..start + length];
        if block[BEGIN.len()..].contains(BEGIN) {
            return Err(broken());
        }
        blocks.push((label, block));
        rest = &rest[start + length..];
    }
    Ok(blocks)
}

fn pem(file: &[u8], ask: &Ask<'_>) -> Result<Contents, Failure> {
    let text = std::str::from_utf8(file).map_err(|_| Failure::new("it is no text, and so no PEM"))?;
    let mut contents = Contents::default();
    for (label, block) in blocks(text)? {
        let numbered = |failure: Failure| failure.about(format!("the block {label:?}"));
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                contents.certificates.push(certificate(block).map_err(numbered)?);
            }
            "PRIVATE KEY" => {
                let der = Secret::new(decoded(block).map_err(numbered)?);
                contents.keys.push(private_key(der.expose()).map_err(numbered)?);
            }
            "ENCRYPTED PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                let encrypted = label == "ENCRYPTED PRIVATE KEY" || block.contains("ENCRYPTED");
                let passphrase = if encrypted { ask()? } else { Secret::zeroed(0) };
                let pkcs8 = key_file::from_pem(block.as_bytes(), &passphrase);
                let pkcs8 = pkcs8.map_err(|why| numbered(unreadable(why, encrypted)))?;
                contents.keys.push(private_key(pkcs8.expose()).map_err(numbered)?);
            }
            "OPENSSH PRIVATE KEY" => {
                return Err(Failure::new(
                    "a private key in OpenSSH's own format; ssh-keygen -p -m PKCS8 -f FILE makes PKCS#8 of a copy of it",
                ));
            }
            // What openssl writes before a key: the key names its curve itself.
            "EC PARAMETERS" => {}
            _ => contents.passed_over.push(label.to_owned()),
        }
    }
    Ok(contents)
}

fn decoded(block: &str) -> Result<Vec<u8>, Failure> {
    der::pem::decode_vec(block.as_bytes()).map(|(_, der)| der).map_err(|error| Failure::new(error.to_string()))
}

fn certificate(block: &str) -> Result<Vec<u8>, Failure> {
    let der = decoded(block)?;
    Certificate::parse(&der)?;
    Ok(der)
}

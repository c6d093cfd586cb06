//! The certificates of an attestation document: from a root that is trusted, by way of authorities, to the one whose
//! key signs. All have keys on P-384 and are signed with ECDSA-SHA-384.

use crate::host::gate;
use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, VerifyingKey};
use p384::pkcs8::DecodePublicKey;
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};

const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Refuses what cannot be the first of a chain.
pub(super) fn root(der: &[u8]) -> Result<(), String> {
    let certificate = parse(der)?;
    check_issued(&certificate, &certificate)
}

/// The key of `target`, to which `bundle` leads: the root first, each the issuer of the next.
pub(super) fn verify(
    target: &[u8],
    bundle: &[&[u8]],
    roots: &[Vec<u8>],
    now: SystemTime,
) -> Result<VerifyingKey, String> {
    let first = bundle.first().ok_or("its cabundle is empty")?;
    if !roots.iter().any(|root| root == first) {
        return Err("its cabundle begins with a root that is not trusted here".to_owned());
    }
    let authorities = bundle.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let target = parse(target)?;
    let below = authorities.iter().skip(1).chain([&target]);
    for (depth, (issuer, issued)) in authorities.iter().zip(below).enumerate() {
        let between = authorities.len() - depth - 1;
        check_issued(issuer, issued)?;
        check_authority(issuer, between)?;
    }
    for certificate in authorities.iter().chain([&target]) {
        let validity = certificate.tbs_certificate().validity();
        if now < validity.not_before.to_system_time() || now > validity.not_after.to_system_time() {
            return Err("one of its certificates is not valid now".to_owned());
        }
    }
    match usage(&target)? {
        Some(usage) if !usage.0.contains(KeyUsages::DigitalSignature) => {
            Err("its certificate is not for signatures".to_owned())
        }
        _ => key(&target),
    }
}

/// Whether this key made this signature.
pub(super) fn check_signature(key: &VerifyingKey, message: &[u8], signature: &Signature) -> Result<(), ()> {
    // Inside the gate: the first of a curve makes its tables for the whole process.
    gate::inside(|| key.verify(message, signature)).map_err(|_| ())
}

fn parse(der: &[u8]) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|error| format!("a certificate cannot be read: {error}"))
}

fn key(certificate: &Certificate) -> Result<VerifyingKey, String> {
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der();
    let key = spki.ok().and_then(|spki| gate::inside(|| VerifyingKey::from_public_key_der(&spki)).ok());
    key.ok_or_else(|| "a certificate has no key on P-384".to_owned())
}

fn check_issued(issuer: &Certificate, issued: &Certificate) -> Result<(), String> {
    if issuer.tbs_certificate().subject() != issued.tbs_certificate().issuer() {
        return Err("a certificate is not of the issuer before it".to_owned());
    }
    let signature = issued.signature().as_bytes().and_then(|bits| Signature::from_der(bits).ok());
    let (Some(signature), ECDSA_SHA384) = (signature, issued.signature_algorithm().oid) else {
        return Err("a certificate is not signed with ECDSA-SHA-384".to_owned());
    };
    let contents = issued.tbs_certificate().to_der().map_err(|error| error.to_string())?;
    check_signature(&key(issuer)?, &contents, &signature).map_err(|()| "a certificate's signature is wrong".to_owned())
}

/// Whether it may have issued, with so many authorities below it.
fn check_authority(certificate: &Certificate, below: usize) -> Result<(), String> {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    let constraints = constraints.map_err(|error| error.to_string())?;
    let may = constraints.is_some_and(|(_, constraints)| {
        constraints.ca && constraints.path_len_constraint.is_none_or(|most| below <= usize::from(most))
    });
    match usage(certificate)? {
        _ if !may => Err("a certificate is of no authority".to_owned()),
        Some(usage) if !usage.0.contains(KeyUsages::KeyCertSign) => {
            Err("a certificate is not for certificates".to_owned())
        }
        _ => Ok(()),
    }
}

fn usage(certificate: &Certificate) -> Result<Option<KeyUsage>, String> {
    let usage = certificate.tbs_certificate().get_extension::<KeyUsage>().map_err(|error| error.to_string())?;
    Ok(usage.map(|(_, usage)| usage))
}

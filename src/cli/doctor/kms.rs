//! Credentials, clock, endpoint, the KMS key and each permission on it.

use super::super::permission::{self, Need, Needed};
use super::finding::Findings;
use crate::config::{KmsBackend, TokenConfig};
use crate::error::{Cause, Error, Result};
use crate::kms::{EncryptionContext, Identity, Kms, Trial, Tried};
use crate::store::TokenRecord;
use crate::token::Token;
use std::time::{Duration, SystemTime};

/// Requests are refused when their time is off by more than five minutes; nobody's clock is half a minute off by chance.
const SKEW: Duration = Duration::from_secs(30);
/// Credentials that end so soon should have been renewed by now.
const NEARLY_EXPIRED: Duration = Duration::from_secs(60);
/// What begins a long-lived access key of a user, as against one of a role.
const LONG_LIVED: &str = "AKIA";

/// `record` is there if the token is initialised.
pub(super) fn check(findings: &mut Findings, token: &Token, record: Option<&TokenRecord>) {
    let config = token.config();
    match &config.kms.backend {
        KmsBackend::Aws => match token.kms().wrapping().identity() {
            Ok(identity) => check_identity(findings, &identity),
            Err(error) => return findings.failed("credentials", &error),
        },
        KmsBackend::Embedded(file) if !file.exists() => {
            let name = file.display();
            return match record {
                None => findings.ok("kms", format!("{name} will be made when it is needed")),
                Some(_) => findings.error(
                    "kms",
                    format!("{name}, the key file of the embedded KMS, is gone, and the token was made under it"),
                    "restore it from a backup: without it no key of this token opens again",
                ),
            };
        }
        KmsBackend::Embedded(_) => {}
    }
    if let Some(image) = token.kms().wrapping().attestation() {
        match image {
            Ok(image) => check_image(findings, image.as_deref()),
            // Nothing is asked of KMS without.
            Err(error) => return findings.failed("attestation", &error),
        }
    }
    let serial = record.map_or("0000000000000000", |record| record.serial.as_str());
    let context = match context(config, serial) {
        Ok(context) => context,
        Err(error) => return findings.failed("kms", &error),
    };
    let (mut reached, mut answered_at) = (false, None);
    for needed in permission::needed(config) {
        let result = token.kms().wrapping().try_out(needed.permission.trial, &context);
        if !reached && result.as_ref().err().is_none_or(|error| is_answer(&needed, error)) {
            reached = true;
            findings.ok("kms", format!("answers, and has the key {}", token.kms().wrapping().key_id()));
        }
        if let Some(error) = judge(findings, &needed, &result, record.is_some()) {
            // The same would be said of every other permission.
            return findings.failed("kms", error);
        }
        answered_at = answered_at.or(result.ok().and_then(|tried| tried.answered_at.map(|at| (at, SystemTime::now()))));
    }
    if let Some((theirs, ours)) = answered_at {
        check_clock(findings, theirs, ours);
    }
    for (kms, its) in token.kms().additional().zip(&config.kms.additional) {
        check_additional(findings, kms, &context, permission::needed_of_additional(config, its));
    }
}

/// One of the additional KMS keys. Not what `ReEncrypt` takes: that would be tried from the key to itself.
fn check_additional(
    findings: &mut Findings,
    kms: &Kms,
    context: &EncryptionContext,
    needed: impl Iterator<Item = Needed>,
) {
    let key = kms.key_id();
    for needed in needed.filter(|needed| needed.permission.trial != Trial::ReEncrypt) {
        let result = kms.try_out(needed.permission.trial, context);
        if let Some(error) = judge(findings, &needed, &result, true) {
            return findings.failed("kms", &error.clone().context(format!("the additional KMS key {key}")));
        }
        if result.is_ok() && needed.need == Need::Always {
            findings.ok("kms", format!("the additional KMS key {key} answers"));
        }
    }
}

fn check_image(findings: &mut Findings, image: Option<&[u8]>) {
    let attests = "the Nitro Security Module attests this enclave";
    match image {
        Some(image) if image.iter().any(|byte| *byte != 0) => {
            let hex: String = image.iter().map(|byte| format!("{byte:02x}")).collect();
            findings.ok("attestation", format!("{attests}; PCR0 is {hex}"));
        }
        _ => findings.warning(
            "attestation",
            format!("{attests}, but measures no image: it runs in debug mode"),
            "start it without --debug-mode: no key policy can tell it from others",
        ),
    }
}

/// An encryption context as a signing key's would be: policies are written on its pairs.
fn context(config: &TokenConfig, serial: &str) -> Result<EncryptionContext> {
    Ok(EncryptionContext::new(&config.kms.encryption_context)?
        .with(EncryptionContext::VERSION, "1")
        .with(EncryptionContext::TOKEN, serial)
        .with(EncryptionContext::OBJECT, "00000000-0000-0000-0000-000000000000")
        .with(EncryptionContext::SPEC, "ECC_NIST_P256")
        .with(EncryptionContext::USAGE, "sign")
        .with(EncryptionContext::POLICY, "dry run"))
}

fn check_identity(findings: &mut Findings, identity: &Identity) {
    let id = &identity.access_key_id;
    let what = match &identity.arn {
        Some(Ok(arn)) => format!("access key {id} of {arn}"),
        Some(Err(why)) => format!("access key {id}; STS does not say whose it is ({why})"),
        None => format!("access key {id}"),
    };
    let left = identity.expires.map(|expires| expires.duration_since(SystemTime::now()).unwrap_or_default());
    match left {
        Some(left) if left < NEARLY_EXPIRED => findings.warning(
            "credentials",
            format!("{what}, which expires within a minute"),
            "see to it that whoever provides them renews them in time",
        ),
        None if id.starts_with(LONG_LIVED) => findings.warning(
            "credentials",
            format!("{what}, which never expires"),
            "give the host a role instead: who copies this access key has it for good",
        ),
        Some(left) => findings.ok("credentials", format!("{what}, good for {} minutes", left.as_secs() / 60)),
        None => findings.ok("credentials", what),
    }
}

fn check_clock(findings: &mut Findings, theirs: SystemTime, ours: SystemTime) {
    let skew = ours.duration_since(theirs).or_else(|_| theirs.duration_since(ours)).unwrap_or_default();
    match skew > SKEW {
        true => findings.warning(
            "clock",
            format!("it is {} seconds off the time of KMS", skew.as_secs()),
            "set it, and keep it by NTP: AWS refuses requests that are five minutes off",
        ),
        false => findings.ok("clock", "agrees with that of KMS"),
    }
}

/// Whether a failure says something of this operation, rather than of all.
fn is_answer(needed: &Needed, error: &Error) -> bool {
    error.cause() == Cause::KmsAccessDenied || cannot_be_tried(needed, error)
}

/// What an endpoint answers to a dry run without a ciphertext, if it does not know of such: that it is missing.
fn cannot_be_tried(needed: &Needed, error: &Error) -> bool {
    matches!(needed.permission.trial, Trial::Decrypt | Trial::ReEncrypt)
        && matches!(error.cause(), Cause::KmsUnsupported | Cause::KmsRejected | Cause::SealBroken | Cause::SealWrongKey)
}

/// Says what came of one trial; hands the error back if it is not about this permission.
fn judge<'a>(
    findings: &mut Findings,
    needed: &Needed,
    result: &'a Result<Tried>,
    initialised: bool,
) -> Option<&'a Error> {
    let (actions, purpose) = (needed.permission.actions.join(" and "), needed.permission.purpose);
    match result {
        Ok(tried) => {
            let note = if tried.only_tried { "" } else { " (the endpoint knows no dry runs: it was done)" };
            findings.ok("permission", format!("{actions}, to {purpose}: allowed{note}"));
        }
        Err(error) if error.cause() == Cause::KmsAccessDenied => {
            let advice = format!("allow {actions} on the KMS key: datakey-pkcs11 policy prints a policy that does");
            let denied = |why: &str| format!("{actions}, to {purpose}: denied{why}: {}", error.detail());
            match needed.need {
                Need::Always => findings.error("permission", denied(""), advice),
                Need::ToInitialise if !initialised => findings.error("permission", denied(""), advice),
                Need::ToInitialise => {
                    findings.ok("permission", format!("{actions}, to {purpose}: denied, and needed no more"))
                }
                Need::ToUse => findings.warning("permission", denied("; this host can only make keys"), advice),
                Need::For(_) => {
                    findings.ok("permission", format!("{actions}, to {purpose}: denied; needed for nothing else"));
                }
            }
        }
        Err(error) if cannot_be_tried(needed, error) => findings.warning(
            "permission",
            format!("{actions}, to {purpose}: cannot be tried here: {}", error.detail()),
            "on AWS this is a defect, please report it; an emulator may not know this kind of dry run",
        ),
        Err(error) => return Some(error),
    }
    None
}

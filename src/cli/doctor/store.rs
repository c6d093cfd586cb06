//! A token's store and its PINs.

use super::super::output::counted;
use super::finding::Findings;
use crate::config::LoginMode;
use crate::error::Cause;
use crate::store::TokenRecord;
use crate::token::{Token, User};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Anything that others may do with the file.
const OTHERS: u32 = 0o007;

/// The token's record, if the token is initialised.
pub(super) fn check(findings: &mut Findings, token: &Token) -> Option<Arc<TokenRecord>> {
    let location = &token.config().store;
    let record = match token.record() {
        Ok(record) => record,
        Err(error) => {
            findings.failed("store", &error);
            return None;
        }
    };
    let Some(record) = record else {
        findings.warning(
            "store",
            format!("{}: the token is not initialised", location),
            "initialise it: datakey-pkcs11 token init",
        );
        return None;
    };
    match token.check_store() {
        Ok(objects) => findings.ok("store", format!("{}: sound, {}", location, counted(objects, "object"))),
        Err(error) if error.cause() == Cause::StoreCorrupt => {
            findings.error(
                "store",
                format!("the store is damaged: {}", error.detail()),
                "put a backup in its place: datakey-pkcs11 restore FILE --replace --force",
            );
        }
        Err(error) => findings.failed("store", &error),
    }
    if let Some(path) = location.file() {
        check_file(findings, path);
    }
    if token.is_read_only() {
        findings.warning(
            "store",
            format!("{}: this user cannot write to it; keys can be used, not made", location),
            "run doctor as the user that is to make keys, or give it write permission",
        );
    }
    check_pins(findings, token, &record);
    Some(record)
}

fn check_file(findings: &mut Findings, path: &Path) {
    // Who owns it, and whether others can write to it, was looked at when it was opened.
    let Ok(about) = path.metadata() else { return };
    let mode = about.mode() & 0o7777;
    if mode & OTHERS != 0 {
        findings.warning(
            "store",
            format!("{}: its mode is {mode:04o}: everybody on this machine can read it and try PINs", path.display()),
            format!("run chmod o= {}", path.display()),
        );
    }
}

fn check_pins(findings: &mut Findings, token: &Token, record: &TokenRecord) {
    if record.login == LoginMode::None {
        findings.ok("pin", "the token has none: IAM alone decides");
        return;
    }
    if token.config().login == LoginMode::None {
        findings.warning(
            "pin",
            "the configuration says login = \"none\", and the token was initialised with PINs, which still hold",
            "say login = \"pin\", or initialise the token anew, which destroys its keys",
        );
    }
    for (user, name, unlock) in [
        (User::User, "user PIN", "the SO sets it anew: pkcs11-tool --login --login-type so --init-pin"),
        (User::So, "SO PIN", "nothing unlocks it; keys stay usable. Raise max_pin_attempts if it was a mistake"),
    ] {
        let flags = token.pin_flags(record, user);
        match () {
            () if !flags.initialised => findings.warning(
                "pin",
                format!("the {name} is not set: nobody can use keys"),
                "the SO sets it: datakey-pkcs11 token init sets both, pkcs11-tool --init-pin this one",
            ),
            () if flags.locked => {
                findings.error("pin", format!("the {name} is locked after too many wrong tries"), unlock);
            }
            () if flags.final_try => {
                findings.warning(
                    "pin",
                    format!("one more wrong try locks the {name}"),
                    "log in with the right PIN: that resets the count",
                );
            }
            () if flags.count_low => findings.warning(
                "pin",
                format!("the {name} was entered wrongly since it was last right"),
                "find the host with the wrong PIN; a login with the right one resets the count",
            ),
            () => findings.ok("pin", format!("the {name} is set")),
        }
    }
}

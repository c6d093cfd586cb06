//! What a key says of its own past (section 4.7 and the tables of its class).

use super::Look;
use super::attribute::{UNAVAILABLE, boolean, ulong};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// How a key came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// It was generated here, by this mechanism.
    Generated(CK_MECHANISM_TYPE),
    /// It was known elsewhere: created from its value, unwrapped or encapsulated.
    Imported,
    /// It was derived from keys of which this is true.
    Derived {
        /// All were always sensitive.
        always_sensitive: bool,
        /// None was ever extractable.
        never_extractable: bool,
    },
}

/// Completes the attributes of a new key by its past, and refuses what contradicts itself.
pub fn settle(key: &mut Attributes, past: Past) -> Result<()> {
    if key.is(CKA_ALWAYS_AUTHENTICATE) && !key.is(CKA_PRIVATE) {
        return Err(Cause::TemplateInconsistent.with("CKA_ALWAYS_AUTHENTICATE needs CKA_PRIVATE"));
    }
    let (mechanism, sensitive, unextractable) = match past {
        Past::Generated(mechanism) => (Some(mechanism), true, true),
        Past::Imported => (None, false, false),
        Past::Derived { always_sensitive, never_extractable } => (None, always_sensitive, never_extractable),
    };
    key.insert(CKA_LOCAL, boolean(mechanism.is_some()));
    key.insert(CKA_KEY_GEN_MECHANISM, ulong(mechanism.unwrap_or(UNAVAILABLE)));
    if key.number(CKA_CLASS) != Some(CKO_PUBLIC_KEY) {
        let (is_sensitive, is_extractable) = (key.is(CKA_SENSITIVE), key.is(CKA_EXTRACTABLE));
        key.insert(CKA_ALWAYS_SENSITIVE, boolean(sensitive && is_sensitive));
        key.insert(CKA_NEVER_EXTRACTABLE, boolean(unextractable && !is_extractable));
        let on_token = key.is(CKA_TOKEN);
        key.entry(CKA_COPYABLE).or_insert_with(|| boolean(!on_token));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sensitive: bool, extractable: bool) -> Attributes {
        Attributes::from([
            (CKA_CLASS, ulong(CKO_SECRET_KEY)),
            (CKA_SENSITIVE, boolean(sensitive)),
            (CKA_EXTRACTABLE, boolean(extractable)),
        ])
    }

    #[test]
    fn only_what_was_never_outside_was_always_sensitive() {
        let derived = Past::Derived { always_sensitive: true, never_extractable: false };
        for (past, sensitive, extractable, expected) in [
            (Past::Generated(CKM_AES_KEY_GEN), true, false, (true, true, true)),
            (Past::Generated(CKM_AES_KEY_GEN), false, true, (true, false, false)),
            (Past::Imported, true, false, (false, false, false)),
            (derived, true, false, (false, true, false)),
            (derived, false, false, (false, false, false)),
        ] {
            let mut key = key(sensitive, extractable);
            settle(&mut key, past).unwrap();
            let said = (key.is(CKA_LOCAL), key.is(CKA_ALWAYS_SENSITIVE), key.is(CKA_NEVER_EXTRACTABLE));
            assert_eq!(said, expected, "{past:?}");
            let mechanism = if expected.0 { CKM_AES_KEY_GEN } else { UNAVAILABLE };
            assert_eq!(key.number(CKA_KEY_GEN_MECHANISM), Some(mechanism));
        }
    }
}

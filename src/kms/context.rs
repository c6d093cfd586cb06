//! The encryption context: what a sealed key is bound to.
//!
//! KMS takes the context as additional authenticated data: a blob opens only under the pairs that it
//! was sealed under, in any order. It is not secret: policies can be written on it and CloudTrail
//! shows it, so names and labels do not belong into it.

use crate::error::{Cause, Result};
use std::collections::{BTreeMap, HashMap};

/// The pairs of an encryption context, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// What the module's own keys begin with; users' keys may not.
    pub const PREFIX: &'static str = "datakey-pkcs11:";
    /// The version of this binding: `1`.
    pub const VERSION: &'static str = "datakey-pkcs11:v";
    /// The token's serial number.
    pub const TOKEN: &'static str = "datakey-pkcs11:token";
    /// The object's `CKA_UNIQUE_ID`.
    pub const OBJECT: &'static str = "datakey-pkcs11:object";
    /// The kind of key, as in `ECC_NIST_P256` or `AES_256`.
    pub const SPEC: &'static str = "datakey-pkcs11:spec";
    /// What the key may be used for: sorted, joined by commas.
    pub const USAGE: &'static str = "datakey-pkcs11:usage";
    /// How a key that is too long for KMS is encrypted; only there with such keys.
    pub const ENVELOPE: &'static str = "datakey-pkcs11:envelope";
    /// The digest of every other attribute that decides what the key may do.
    pub const POLICY: &'static str = "datakey-pkcs11:policy";

    /// A context that begins with the user's own pairs.
    ///
    /// # Errors
    /// `ConfigInvalid` where a key is empty or one of the module's.
    pub fn new(user: &BTreeMap<String, String>) -> Result<Self> {
        for key in user.keys() {
            if key.is_empty() {
                return Err(Cause::ConfigInvalid.with("encryption_context has an empty key"));
            }
            if key.starts_with(Self::PREFIX) {
                return Err(Cause::ConfigInvalid.with(format!(
                    "encryption_context key {key:?} begins with {:?}, which is reserved",
                    Self::PREFIX
                )));
            }
        }
        Ok(Self(user.clone()))
    }

    /// The context with one more pair; a pair of the same key is replaced.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// The pairs, sorted by key.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The pairs for the SDK; KMS takes no context and an empty one for the same.
    pub(super) fn to_sdk(&self) -> Option<HashMap<String, String>> {
        (!self.0.is_empty()).then(|| self.0.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn a_user_cannot_speak_for_the_module() {
        for bad in ["datakey-pkcs11:token", "datakey-pkcs11:", ""] {
            let error = EncryptionContext::new(&map(&[(bad, "x")])).unwrap_err();
            assert_eq!(error.cause(), Cause::ConfigInvalid, "{bad:?}");
        }
        let context = EncryptionContext::new(&map(&[("app", "web")])).unwrap().with(EncryptionContext::VERSION, "1");
        assert_eq!(context.pairs(), &map(&[("app", "web"), ("datakey-pkcs11:v", "1")]));
    }

    #[test]
    fn the_module_keys_are_reserved_ones() {
        use EncryptionContext as C;
        for key in [C::VERSION, C::TOKEN, C::OBJECT, C::SPEC, C::USAGE, C::POLICY, C::ENVELOPE] {
            assert!(key.starts_with(C::PREFIX));
        }
        assert!(C::default().to_sdk().is_none());
    }
}

//! Object classes as data: attribute rules, templates, what an object answers, and the encryption
//! context that seals a private key to its attributes.
#![forbid(unsafe_code)]

mod arrival;
pub mod attribute;
pub mod builtin;
pub mod certificate;
pub mod change;
pub mod create;
pub mod ec_params;
pub mod engine;
pub mod history;
pub mod keypair;
pub mod nested;
mod new_secret_key;
mod opened;
pub mod otp;
pub mod policy;
mod private_key;
mod read;
pub mod rules;
pub mod secret_key;
pub mod template;
mod trust;
pub mod vendor;

pub use arrival::Arrival;
pub use change::{Changed, copied, with_changes};
pub use create::{NewObject, new_object};
pub use keypair::{Maker, NewKeyPair};
pub use new_secret_key::{KeyFromPassword, NewSecretKey};
pub use opened::opened_key;
pub use private_key::{part_len, parts as private_parts};
pub use read::{Answer, Reading, read};
pub use template::Template;

use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;
use rules::Class;

/// The classes of objects that have a sealed key.
pub const SEALED_CLASSES: [CK_OBJECT_CLASS; 3] = [CKO_PRIVATE_KEY, CKO_SECRET_KEY, CKO_OTP_KEY];

/// Typed looks at an object's canonical attributes.
pub trait Look {
    /// A boolean attribute; false where the object has none.
    fn is(&self, attribute: CK_ATTRIBUTE_TYPE) -> bool;
    /// A number.
    fn number(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG>;
    /// Bytes; empty where the object has none.
    fn bytes(&self, attribute: CK_ATTRIBUTE_TYPE) -> &[u8];
    /// Whether it is a secret key, or the secret key of one-time passwords.
    fn is_secret_key(&self) -> bool;
    /// The object's class, by its stored `CKA_CLASS` and key or certificate type.
    fn class(&self) -> Result<&'static Class>;
}

impl Look for Attributes {
    fn is(&self, attribute: CK_ATTRIBUTE_TYPE) -> bool {
        self.get(&attribute).is_some_and(|value| value.as_slice() == [1])
    }

    fn number(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        attribute::ulongs(self.get(&attribute)?).next()
    }

    fn bytes(&self, attribute: CK_ATTRIBUTE_TYPE) -> &[u8] {
        self.get(&attribute).map_or(&[], Vec::as_slice)
    }

    fn is_secret_key(&self) -> bool {
        matches!(self.number(CKA_CLASS), Some(CKO_SECRET_KEY | CKO_OTP_KEY))
    }

    fn class(&self) -> Result<&'static Class> {
        let class = self.number(CKA_CLASS).ok_or_else(|| Cause::RecordCorrupt.with("an object without CKA_CLASS"))?;
        let kind = Class::kind_attribute(class).and_then(|attribute| self.number(attribute));
        Class::of(class, kind).ok_or_else(|| Cause::RecordCorrupt.with("an object of no known class or type"))
    }
}

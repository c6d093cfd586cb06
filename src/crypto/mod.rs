//! The maths: the only floor that names a crypto library.
//!
//! AWS-LC does the work; [`aws_lc`] is the only folder that calls it, and says `unsafe` so that
//! nothing else has to. What callers see are values: [`PublicKey`], [`PrivateKey`], [`SecretKey`], [`Hash`], [`Curve`].

mod agree;
mod aws_lc;
mod curve;
mod digest;
mod hash;
mod load;
mod key;
pub mod mac;
pub mod password;
mod pkcs1;
mod pkcs8;
mod private;
mod public;
pub mod random;
pub mod seal_box;
mod secret;
mod secret_key;
mod stack;

#[cfg(test)]
mod tests;

pub use agree::SharedSecretKdf;
pub use aws_lc::digest::Digester;
pub use curve::{Curve, EdVariant, KeyKind};
pub use digest::Digest;
pub use hash::Hash;
pub use key::Key;
pub use private::PrivateKey;
pub use public::{PublicKey, PublicParts};
pub use secret::Secret;
pub use secret_key::SecretKey;
pub(crate) use stack::WipedAfter;

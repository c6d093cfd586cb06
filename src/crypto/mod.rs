//! The maths: the only floor that names a crypto library.

mod secret;

pub use secret::Secret;

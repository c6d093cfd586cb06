//! The door: the C ABI of PKCS#11 2.40, 3.0 and 3.2.
//!
//! Here, and nowhere else, are the caller's pointers: `input` reads them, `output` writes them, and
//! `guard` stands at every entry. What is behind the door sees slices and typed values.

mod derivation;
mod deviations;
mod functions;
mod general;
mod guard;
mod input;
mod kem;
mod key;
mod message;
mod message_crypt;
mod object;
mod operation;
mod output;
mod password;
mod random;
mod session;
mod slot;
#[cfg(test)]
mod tests;
mod vendor;
mod wrap;

pub use deviations::DEVIATIONS;
pub use functions::*;

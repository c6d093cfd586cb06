//! Mechanisms: one table row each, and the operations they stand for.
#![forbid(unsafe_code)]

mod aead;
mod aes;
mod chacha20;
mod cipher;
mod derive;
mod derive_params;
mod family;
mod hotp;
mod ike;
mod iv;
mod kem;
mod params;
mod pbkdf2;
mod row;
mod signature;
mod table;
mod tls;
mod wrap;

pub use aead::{MessageParams, MessageShape};
pub use aes::{aes, mac};
pub use chacha20::{len_of_bits, nonce_len, symmetric};
pub use cipher::Cipher;
pub use derive::{Base, Inheritance};
pub use derive_params::{Derivation, GivenDerivation, GivenField};
pub use family::{Family, Needs};
pub use hotp::{GivenOtp, Hotp, HotpKey, LONGEST_OTP_VALUE, MOST_OTP_PARAMS, OtpParams, Structure};
pub use iv::IvCount;
pub use kem::Encapsulation;
pub use params::{Given, Params};
pub use pbkdf2::{GivenPbkdf2, LONGEST_PASSWORD, Pbkdf2};
pub use row::{Info, find, for_key_type};
pub use signature::Signature;
pub use table::{MECHANISMS, Mechanism};
pub use tls::{GivenSizes, Randoms};
pub use wrap::{Wrapping, WrappingKey};

use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// A mechanism and its checked parameter, as an operation starts with them.
#[derive(Clone, Debug)]
pub struct Request {
    /// The mechanism.
    pub mechanism: &'static Mechanism,
    /// Its parameter.
    pub params: Params,
}

impl Request {
    /// Checks a mechanism and its parameter for an operation named by its `CKF_` flag.
    ///
    /// Errors: `MechanismInvalid`, `MechanismParamInvalid`.
    pub fn new(mechanism: &'static Mechanism, flag: CK_FLAGS, given: &Given) -> Result<Self> {
        if mechanism.flags() & flag == 0 {
            return Err(Cause::MechanismInvalid.with(mechanism.name));
        }
        let params = Params::check(mechanism, given)?;
        if flag & (CKF_SIGN | CKF_MESSAGE_SIGN) != 0 {
            params.check_signing()?;
        }
        Ok(Self { mechanism, params })
    }
}

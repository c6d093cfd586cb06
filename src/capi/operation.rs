//! The cryptographic operations (sections 5.8 to 5.17), one row each.
//!
//! Each function of a row has the name of the method of [`Session`] that does the work. Its shape says
//! which pointers it takes:
//!
//! - `init`: a mechanism and a key. A null mechanism ends the operation;
//! - `transform`: input and a buffer for output;
//! - `last`: a buffer for output;
//! - `take`: input alone;
//! - `check`: data and a signature;
//! - `end`: nothing.
//!
//! What follows the name are the kinds of operation that end when the output has no length at all, which is
//! an error like any other.

use super::{input, output};
use crate::error::Result;
use crate::session::{Kind, Session};
use cryptoki_sys::*;

macro_rules! operations {
    ($($shape:ident $name:ident $($kind:ident)*;)*) => {
        $(operations!(@$shape $name $($kind)*);)*
    };
    (@init $name:ident $kind:ident) => {
        /// # Safety
        /// The mechanism is null or good for reading, and so is what it points to.
        pub(super) unsafe fn $name(
            session: &Session,
            mechanism: *mut CK_MECHANISM,
            key: CK_OBJECT_HANDLE,
        ) -> Result<()> {
            // SAFETY: the caller's promise, passed on.
            unsafe {
                init(session, mechanism, Kind::$kind, |mechanism| {
                    session.$name(mechanism.mechanism, || input::parameter(mechanism), key)
                })
            }
        }
    };
    (@transform $name:ident $($kind:ident)*) => {
        /// # Safety
        /// Each pointer is null or good for its length.
        pub(super) unsafe fn $name(
            session: &Session,
            given: *mut CK_BYTE,
            given_len: CK_ULONG,
            out: *mut CK_BYTE,
            out_len: *mut CK_ULONG,
        ) -> Result<()> {
            // SAFETY: the caller's promise, passed on.
            unsafe {
                let given = input::bytes(given, given_len);
                let end = || {
                    $(session.cancel(Kind::$kind);)*
                };
                output::operation(out, out_len, end, |room| session.$name(given, room))
            }
        }
    };
    (@last $name:ident $kind:ident) => {
        /// # Safety
        /// Each pointer is null or good for its length.
        pub(super) unsafe fn $name(session: &Session, out: *mut CK_BYTE, out_len: *mut CK_ULONG) -> Result<()> {
            // SAFETY: the caller's promise, passed on.
            unsafe { output::operation(out, out_len, || session.cancel(Kind::$kind), |room| session.$name(room)) }
        }
    };
    (@take $name:ident) => {
        /// # Safety
        /// `part` is null or good for `part_len` bytes.
        pub(super) unsafe fn $name(session: &Session, part: *mut CK_BYTE, part_len: CK_ULONG) -> Result<()> {
            // SAFETY: the caller's promise, passed on.
            session.$name(unsafe { input::bytes(part, part_len) })
        }
    };
    (@end $name:ident) => {
        /// # Safety
        /// Always safe.
        pub(super) unsafe fn $name(session: &Session) -> Result<()> {
            session.$name()
        }
    };
    (@check $name:ident) => {
        /// # Safety
        /// Each pointer is null or good for its length.
        pub(super) unsafe fn $name(
            session: &Session,
            data: *mut CK_BYTE,
            data_len: CK_ULONG,
            signature: *mut CK_BYTE,
            signature_len: CK_ULONG,
        ) -> Result<()> {
            // SAFETY: the caller's promise, passed on.
            unsafe { session.$name(input::bytes(data, data_len), input::bytes(signature, signature_len)) }
        }
    };
}

operations! {
    init      encrypt_init       Encrypt;
    transform encrypt            Encrypt;
    transform encrypt_update     Encrypt;
    last      encrypt_final      Encrypt;
    init      decrypt_init       Decrypt;
    transform decrypt            Decrypt;
    transform decrypt_update     Decrypt;
    last      decrypt_final      Decrypt;
    transform digest             Digest;
    take      digest_update;
    last      digest_final       Digest;
    init      sign_init          Sign;
    transform sign               Sign;
    take      sign_update;
    last      sign_final         Sign;
    init      verify_init        Verify;
    check     verify;
    take      verify_update;
    take      verify_final;
    init      sign_recover_init   SignRecover;
    transform sign_recover        SignRecover;
    init      verify_recover_init VerifyRecover;
    transform verify_recover      VerifyRecover;
    take      verify_signature;
    take      verify_signature_update;
    end       verify_signature_final;
    init      message_sign_init   MessageSign;
    end       message_sign_final;
    init      message_verify_init MessageVerify;
    end       message_verify_final;
    transform digest_encrypt_update Encrypt;
    transform decrypt_digest_update Decrypt;
    transform sign_encrypt_update   Encrypt;
    transform decrypt_verify_update Decrypt;
}

/// `C_VerifySignatureInit`.
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to; the signature is null or good for
/// its length.
pub(super) unsafe fn verify_signature_init(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    signature: *mut CK_BYTE,
    signature_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        init(session, mechanism, Kind::VerifySignature, |mechanism| {
            let signature = input::bytes(signature, signature_len);
            session.verify_signature_init(mechanism.mechanism, || input::parameter(mechanism), key, signature)
        })
    }
}

/// `C_DigestKey`, which takes a key instead of data.
///
/// # Safety
/// Always safe: there is no pointer.
pub(super) unsafe fn digest_key(session: &Session, key: CK_OBJECT_HANDLE) -> Result<()> {
    session.digest_key(key)
}

/// `C_DigestInit`, which takes no key.
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to.
pub(super) unsafe fn digest_init(session: &Session, mechanism: *mut CK_MECHANISM) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        init(session, mechanism, Kind::Digest, |mechanism| {
            session.digest_init(mechanism.mechanism, || input::parameter(mechanism))
        })
    }
}

/// Starts an operation, or ends the present one where the mechanism is null.
///
/// # Safety
/// The mechanism is null or good for reading.
pub(super) unsafe fn init(
    session: &Session,
    mechanism: *const CK_MECHANISM,
    kind: Kind,
    start: impl FnOnce(&CK_MECHANISM) -> Result<()>,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    match unsafe { input::mechanism(mechanism) } {
        Some(mechanism) => start(&mechanism),
        None => {
            session.cancel(kind);
            Ok(())
        }
    }
}

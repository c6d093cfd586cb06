//! AWS-LC behind safe functions: the only files that call it.
//!
//! Every pointer has an owner that frees it, every return value is looked at, and after a failure the
//! thread's error queue is emptied, so that nothing of ours is found there by the TLS that shares it.

pub(super) mod aead;
pub(super) mod aead_stream;
pub(super) mod ccm;
pub(super) mod chacha20;
pub(super) mod cipher;
pub(super) mod cmac;
pub(super) mod dh;
pub(super) mod digest;
mod digest_state;
pub(super) mod ec;
pub(super) mod ed25519;
pub(super) mod hmac;
pub(super) mod kdf;
pub(super) mod key_file;
pub(super) mod key_wrap;
pub(super) mod mac;
mod memory;
pub(super) mod ml_dsa;
pub(super) mod ml_kem;
mod raw;
pub(super) mod rsa;
pub(super) mod rsa_numbers;
pub(super) mod spki;
pub(super) mod x25519;

#[cfg(test)]
mod fork_tests;

use crate::error::{Cause, Error, Result};
use crate::host::protected::KeyScope;
use aws_lc_sys::*;
use std::os::raw::c_int;

/// The owner of a pointer that AWS-LC allocated.
macro_rules! owner {
    ($(#[$doc:meta])* $name:ident, $type:ty, $free:path) => {
        $(#[$doc])*
        pub(in crate::crypto) struct $name(std::ptr::NonNull<$type>);

        impl $name {
            /// Takes over a pointer that a function of AWS-LC returned; null is its failure.
            pub(in crate::crypto::aws_lc) fn own(pointer: *mut $type) -> crate::error::Result<Self> {
                std::ptr::NonNull::new(pointer).map(Self).ok_or_else($crate::crypto::aws_lc::failure)
            }

            pub(in crate::crypto::aws_lc) fn as_ptr(&self) -> *mut $type {
                self.0.as_ptr()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the pointer is owned and valid.
                unsafe { $free(self.as_ptr()) }
            }
        }
    };
}
use owner;

owner!(
    /// A number. Freed with its memory wiped, as all of AWS-LC's is.
    Number, BIGNUM, BN_free
);

owner!(
    /// AWS-LC's envelope of a key of any kind, which some of its functions want. It holds a reference of its own.
    Envelope, EVP_PKEY, EVP_PKEY_free
);

owner!(
    /// An operation with a key in an envelope.
    Operation, EVP_PKEY_CTX, EVP_PKEY_CTX_free
);

impl Operation {
    /// Takes a reference to the key.
    fn new(key: &Envelope) -> Result<Self> {
        // SAFETY: the envelope is valid; its count of references may be changed from any thread.
        Self::own(unsafe { EVP_PKEY_CTX_new(key.as_ptr(), std::ptr::null_mut()) })
    }
}

impl Number {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // SAFETY: the slice is valid; null asks for a new number.
        Self::own(unsafe { BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) })
    }
}

/// The bytes of a number, most significant first, without leading zeros.
///
/// # Safety
/// `number` is valid.
unsafe fn number_bytes(number: *const BIGNUM) -> Vec<u8> {
    // SAFETY: the caller's; BN_bn2bin writes exactly BN_num_bytes bytes.
    unsafe {
        let mut bytes = vec![0; BN_num_bytes(number) as usize];
        BN_bn2bin(number, bytes.as_mut_ptr());
        bytes
    }
}

/// The oldest error of this thread's queue as (library, reason), and the queue emptied.
fn take_error() -> (c_int, c_int) {
    // SAFETY: the queue is the thread's own.
    let code = unsafe {
        let code = ERR_get_error();
        ERR_clear_error();
        code
    };
    // As `ERR_GET_LIB` and `ERR_GET_REASON`, which are inline functions in C, unpack it.
    ((code >> 24 & 0xff) as c_int, (code & 0xfff) as c_int)
}

/// The failure of a call that should have succeeded.
fn failure() -> Error {
    match take_error() {
        (_, reason) if reason == ERR_R_MALLOC_FAILURE => Cause::HostMemory.into(),
        (library, reason) => Cause::CryptoLibrary.with(format!("AWS-LC error {library}:{reason}")),
    }
}

/// 1 is success, anything else a failure that should not be.
fn check(returned: c_int) -> Result<()> {
    if returned == 1 { Ok(()) } else { Err(failure()) }
}

/// 1 is success, anything else means `cause`.
fn check_or(returned: c_int, cause: Cause) -> Result<()> {
    if returned == 1 {
        return Ok(());
    }
    take_error();
    Err(cause.into())
}

pub(super) fn random(out: &mut [u8]) -> Result<()> {
    // SAFETY: the slice is valid for writing its length.
    check(unsafe { RAND_bytes(out.as_mut_ptr(), out.len()) })
}

/// Enters a [`KeyScope`]: what AWS-LC allocates now for a key comes from the protected pool.
///
/// Its random generator and its error queue hang on the thread, not on the key, and in the pool they
/// would be wiped under a child's feet: they are touched first, so that they exist already.
pub(super) fn enter_key_scope() -> Result<KeyScope> {
    random(&mut [0])?;
    enter_state_scope()
}

/// The same for work that draws no random numbers: key schedules, MACs.
pub(super) fn enter_state_scope() -> Result<KeyScope> {
    // Asked in every build: the question is what links the hooks.
    if !memory::is_ours() {
        return Err(Cause::CryptoLibrary.with("the allocation hooks are missing"));
    }
    take_error();
    Ok(KeyScope::enter())
}

/// A reader over `der` for AWS-LC's parsers.
fn reader(der: &[u8]) -> CBS {
    CBS { data: der.as_ptr(), len: der.len() }
}

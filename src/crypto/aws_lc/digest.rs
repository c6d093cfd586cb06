//! Hash functions.

use super::owner;
use crate::crypto::{Digest, Hash};
use aws_lc_sys::*;
use std::os::raw::c_int;

/// AWS-LC's description of a hash function.
pub(super) fn md(hash: Hash) -> *const EVP_MD {
    // SAFETY: these return pointers to constants.
    unsafe {
        match hash {
            Hash::Sha1 => EVP_sha1(),
            Hash::Sha224 => EVP_sha224(),
            Hash::Sha256 => EVP_sha256(),
            Hash::Sha384 => EVP_sha384(),
            Hash::Sha512 => EVP_sha512(),
            Hash::Sha512_224 => EVP_sha512_224(),
            Hash::Sha512_256 => EVP_sha512_256(),
            Hash::Sha3_224 => EVP_sha3_224(),
            Hash::Sha3_256 => EVP_sha3_256(),
            Hash::Sha3_384 => EVP_sha3_384(),
            Hash::Sha3_512 => EVP_sha3_512(),
            Hash::Shake128 => EVP_shake128(),
            Hash::Shake256 => EVP_shake256(),
        }
    }
}

/// The digest of `data`. Of SHA-1 and SHA-2 without any allocation.
pub(in crate::crypto) fn of(hash: Hash, data: &[u8]) -> Digest {
    type OneShot = unsafe extern "C" fn(*const u8, usize, *mut u8) -> *mut u8;
    let one_shot: OneShot = match hash {
        Hash::Sha1 => SHA1,
        Hash::Sha224 => SHA224,
        Hash::Sha256 => SHA256,
        Hash::Sha384 => SHA384,
        Hash::Sha512 => SHA512,
        Hash::Sha512_224 => SHA512_224,
        Hash::Sha512_256 => SHA512_256,
        Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 | Hash::Shake128 | Hash::Shake256 => {
            let mut digester = Digester::new(hash);
            digester.update(data);
            return digester.finish();
        }
    };
    Digest::made_by(hash.len(), |out| {
        // SAFETY: `data` is valid, and `out` holds the longest digest. These cannot fail.
        unsafe { one_shot(data.as_ptr(), data.len(), out.as_mut_ptr()) };
    })
}

owner!(
    /// The state of a hash function under way.
    Context, EVP_MD_CTX, EVP_MD_CTX_free
);

// SAFETY: the context has no ties to a thread and is only changed through `&mut`.
unsafe impl Send for Context {}
// SAFETY: shared access only copies from it.
unsafe impl Sync for Context {}

/// A digest in parts.
///
/// Hashing itself cannot fail; where AWS-LC finds no memory for its state, the process is out of memory
/// and ends as Rust ends it anywhere else.
pub struct Digester {
    context: Context,
    hash: Hash,
}

impl Digester {
    /// Starts a digest.
    pub fn new(hash: Hash) -> Self {
        // SAFETY: a fresh context is initialised with a constant description.
        unsafe {
            let context = new_context();
            or_out_of_memory(EVP_DigestInit_ex(context.as_ptr(), md(hash), std::ptr::null_mut()));
            Self { context, hash }
        }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised and `data` valid.
        or_out_of_memory(unsafe { EVP_DigestUpdate(self.context.as_ptr(), data.as_ptr().cast(), data.len()) });
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        if matches!(self.hash, Hash::Shake128 | Hash::Shake256) {
            return Digest::made_by(self.hash.len(), |out| {
                // SAFETY: as below; `out` holds as many bytes as are asked for.
                let done = unsafe { EVP_DigestFinalXOF(self.context.as_ptr(), out.as_mut_ptr(), self.hash.len()) };
                or_out_of_memory(done);
            });
        }
        Digest::made_by(self.hash.len(), |out| {
            let mut len = 0;
            // SAFETY: the context is initialised, and `out` holds the longest digest.
            or_out_of_memory(unsafe { EVP_DigestFinal_ex(self.context.as_ptr(), out.as_mut_ptr(), &mut len) });
        })
    }

    /// The hash function's own state, whose structure it knows.
    pub(super) fn state(&self) -> *mut std::ffi::c_void {
        // SAFETY: the context is valid.
        unsafe { (*self.context.as_ptr()).md_data }
    }

    /// Which hash function it is.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

/// SHAKE256 in parts.
pub(in crate::crypto) struct Shake256(Context);

impl Shake256 {
    pub(in crate::crypto) fn new() -> Self {
        // SAFETY: a fresh context is initialised with a constant description.
        unsafe {
            let context = new_context();
            or_out_of_memory(EVP_DigestInit_ex(context.as_ptr(), EVP_shake256(), std::ptr::null_mut()));
            Self(context)
        }
    }

    pub(in crate::crypto) fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised and `data` valid.
        or_out_of_memory(unsafe { EVP_DigestUpdate(self.0.as_ptr(), data.as_ptr().cast(), data.len()) });
    }

    /// The first bytes of the output.
    pub(in crate::crypto) fn finish<const N: usize>(self) -> [u8; N] {
        let mut out = [0; N];
        // SAFETY: the context is initialised, and `out` holds as many bytes as are asked for.
        or_out_of_memory(unsafe { EVP_DigestFinalXOF(self.0.as_ptr(), out.as_mut_ptr(), N) });
        out
    }
}

impl Clone for Digester {
    fn clone(&self) -> Self {
        let context = new_context();
        // SAFETY: both contexts are valid.
        or_out_of_memory(unsafe { EVP_MD_CTX_copy_ex(context.as_ptr(), self.context.as_ptr()) });
        Self { context, hash: self.hash }
    }
}

fn new_context() -> Context {
    // SAFETY: no preconditions.
    match Context::own(unsafe { EVP_MD_CTX_new() }) {
        Ok(context) => context,
        Err(_) => out_of_memory(),
    }
}

fn or_out_of_memory(returned: c_int) {
    if returned != 1 {
        out_of_memory();
    }
}

fn out_of_memory() -> ! {
    std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 512]>())
}

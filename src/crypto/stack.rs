//! Wiping the stack that the crypto library used.
//!
//! AWS-LC wipes what it allocates but not every copy it makes on the stack: ECDSA leaves the scalar
//! there in the state of a hash, and a nonce would be worth as much. The stack below the caller
//! is overwritten instead, about as far down as the operation itself went (measured), so that no
//! stack is too small for the one that was large enough for the other.
#![forbid(unsafe_code)]

use std::hint::black_box;

/// How deep RSA, Ed25519 and the NIST curves sign or decrypt: up to 4.3 KiB.
pub(super) const SIGN: usize = 5 * 1024;
/// How deep the NIST curves agree on a secret: up to 6.2 KiB.
pub(super) const AGREE: usize = 7 * 1024;
/// How deep secp256k1 signs or agrees, which has no code of its own in AWS-LC: 10.5 KiB.
pub(super) const SIGN_GENERIC: usize = 11 * 1024;
/// How deep ML-KEM goes, with its matrices on the stack: up to 31 KiB.
pub(super) const KEM: usize = 32 * 1024;
/// How deep ML-DSA makes keys and signatures, with its matrices on the stack too: up to 57, 79 and 116 KiB.
pub(super) const ML_DSA_44: usize = 58 * 1024;
pub(super) const ML_DSA_65: usize = 80 * 1024;
pub(super) const ML_DSA_87: usize = 117 * 1024;
/// How deep ML-DSA goes without random bytes: up to 92, 126 and 166 KiB, in builds that are hardly optimised.
pub(super) const ML_DSA_44_ALIKE: usize = 92 * 1024;
pub(super) const ML_DSA_65_ALIKE: usize = 126 * 1024;
pub(super) const ML_DSA_87_ALIKE: usize = 166 * 1024;
/// How deep Ed448 and X448 go: up to 12 KiB.
pub(super) const CURVE448: usize = 13 * 1024;
/// How deep SLH-DSA signs, with its signatures on the stack, by its security parameter in bits: up to 78, 165 and 224
/// KiB, in builds that are hardly optimised.
pub(super) const SLH_DSA_128: usize = 78 * 1024;
pub(super) const SLH_DSA_192: usize = 165 * 1024;
pub(super) const SLH_DSA_256: usize = 224 * 1024;
/// How deep a key is parsed and checked: up to 13.5 KiB; and deeper than Argon2 goes.
pub(super) const LOAD: usize = 14 * 1024;

/// Wipes `N` bytes of stack below the frame it is dropped in.
pub(crate) struct WipedAfter<const N: usize>;

impl<const N: usize> Drop for WipedAfter<N> {
    fn drop(&mut self) {
        overwrite::<N>();
    }
}

/// A frame of its own, where the operation's frames were before.
#[inline(never)]
fn overwrite<const N: usize>() {
    // A variable that may change: a shared constant would be a constant in the program, not on the stack.
    let mut area = [0u8; N];
    black_box(&mut area);
}

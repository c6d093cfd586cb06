//! From a PIN to a key: Argon2id (RFC 9106).
#![forbid(unsafe_code)]

use super::Secret;
use super::stack::{LOAD, WipedAfter};
use crate::config::PinHash;
use crate::error::{Cause, Result};
use crate::host::scratch::Scratch;
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// What a guess costs. Stored beside the salt, so that it can be raised for new PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB; at least 8 per lane.
    pub memory_kib: u32,
    /// Passes over the memory; at least 1.
    pub iterations: u32,
    /// Lanes; they are computed one after the other here.
    pub lanes: u32,
}

/// A key of 32 bytes from `pin` and `salt`. A cost outside Argon2's limits, or over 256 MiB or 10 passes, is
/// [`Cause::RecordCorrupt`], as costs come from records; [`Cause::HostMemory`] if there is not enough memory.
pub fn derive(pin: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Secret> {
    let _wiped = WipedAfter::<LOAD>;
    derive_below(pin, salt, cost)
}

/// In a frame of its own, which is part of what is wiped: the hash function that Argon2 begins with keeps the PIN
/// in a buffer there.
#[inline(never)]
fn derive_below(pin: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Secret> {
    let mut key = Secret::zeroed(32);
    if cost.memory_kib > PinHash::MOST_MEMORY_KIB || cost.iterations > PinHash::MOST_PASSES {
        return Err(Cause::RecordCorrupt.with("Argon2 over 256 MiB or 10 passes"));
    }
    let params = Params::new(cost.memory_kib, cost.iterations, cost.lanes, Some(key.len()))
        .map_err(|_| Cause::RecordCorrupt.with("Argon2 cost out of range"))?;
    let mut memory = Scratch::filled(Block::new(), params.block_count())?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(pin, salt, key.expose_mut(), memory.as_mut())
        .map_err(|_| Cause::PinLenRange)?;
    Ok(key)
}

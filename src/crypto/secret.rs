//! Bytes that must not outlive their use.

use crate::error::{Cause, Result};
use zeroize::Zeroizing;

/// Secret bytes: wiped on drop, never shown, never compared by accident.
///
/// There is no `Debug`, no `Clone` and no `PartialEq` on purpose.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes; the vector's memory is wiped when this is dropped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A secret of `len` zero bytes, to be filled in place.
    pub fn zeroed(len: usize) -> Self {
        Self::new(vec![0; len])
    }

    /// No bytes yet, but room for `capacity`. [`Cause::HostMemory`] if there is not so much memory.
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| Cause::HostMemory)?;
        Ok(Self::new(bytes))
    }

    /// Adds bytes at the end. [`Cause::HostMemory`] if there is no room for them.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let len = self.len().checked_add(bytes.len()).ok_or(Cause::HostMemory)?;
        if len > self.0.capacity() {
            // Grown by copying: a vector that grows in place could leave bytes behind.
            let mut longer = Self::with_capacity(len.max(self.0.capacity().saturating_mul(2)))?;
            longer.0.extend_from_slice(&self.0);
            *self = longer;
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes. Do not copy them anywhere that is not wiped.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be filled in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shortens to `len` bytes, wiping the rest.
    pub fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.0.get_mut(len..) {
            zeroize::Zeroize::zeroize(rest);
        }
        self.0.truncate(len);
    }
}

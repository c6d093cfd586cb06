//! `libdatakey_pkcs11.so`: the functions of `datakey::capi`, and the settings that only a final
//! artefact can have.

mod locks;

pub use datakey::capi::*;

/// Wipes what is freed: buffers of the AWS SDK hold plaintext keys.
#[global_allocator]
static ALLOCATOR: datakey::host::allocator::WipingAllocator = datakey::host::allocator::WipingAllocator;

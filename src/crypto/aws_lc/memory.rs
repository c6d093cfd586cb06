//! AWS-LC's allocator is ours.
//!
//! AWS-LC looks for four functions by weak, unprefixed names, and for `sdallocx`: a host that exports
//! such names would be called for every block of ours. Defined here, and hidden, they are found in this
//! library and nowhere else, and nothing of them shows outside it.

use crate::host::hidden::hidden;
use crate::host::protected::raw;
use std::os::raw::{c_int, c_void};

hidden! {
    "OPENSSL_memory_alloc" => alloc;
    "OPENSSL_memory_free" => free;
    "OPENSSL_memory_get_size" => get_size;
    "OPENSSL_memory_realloc" => realloc;
    "sdallocx" => sized_free;
}

extern "C" fn alloc(len: usize) -> *mut c_void {
    raw::alloc(len).cast()
}

unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: AWS-LC frees what it got from `alloc` or `realloc`, once, and never null.
    unsafe { raw::free(block.cast()) }
}

unsafe extern "C" fn get_size(block: *mut c_void) -> usize {
    // SAFETY: as above.
    unsafe { raw::len(block.cast()) }
}

unsafe extern "C" fn realloc(block: *mut c_void, len: usize) -> *mut c_void {
    // SAFETY: as above; AWS-LC keeps the old block if the result is null.
    unsafe { raw::realloc(block.cast(), len).cast() }
}

/// AWS-LC calls this only where it allocated with `malloc` itself, which it does not beside the hooks.
unsafe extern "C" fn sized_free(block: *mut c_void, _len: usize, _flags: c_int) {
    // SAFETY: the caller frees a block of `malloc`.
    unsafe { libc::free(block) }
}

unsafe extern "C" {
    fn OPENSSL_memory_alloc(len: usize) -> *mut c_void;
}

/// Whether AWS-LC's hook is the one above. Naming the symbol is what makes the linker take this object
/// out of the archive: weak references alone would leave the hooks out.
#[inline(never)]
pub(super) fn is_ours() -> bool {
    std::hint::black_box(OPENSSL_memory_alloc as *const () as usize) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::protected::{KeyScope, live_blocks};

    #[test]
    fn aws_lc_allocates_through_the_hooks() {
        // SAFETY: blocks of AWS-LC, freed once each; `raw::len` reads our header before them.
        unsafe {
            let heap = aws_lc_sys::OPENSSL_malloc(1000);
            assert_eq!(raw::len(heap.cast()), 1000);
            aws_lc_sys::OPENSSL_free(heap);
            let scope = KeyScope::enter();
            let block = aws_lc_sys::OPENSSL_malloc(77);
            drop(scope);
            assert!(live_blocks() >= 1);
            assert_eq!(raw::len(block.cast()), 77);
            let moved = aws_lc_sys::OPENSSL_realloc(block, 5000);
            assert_eq!(raw::len(moved.cast()), 5000);
            aws_lc_sys::OPENSSL_free(moved);
        }
        assert!(is_ours());
    }
}

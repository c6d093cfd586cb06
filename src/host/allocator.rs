//! The system's allocator, but what is freed is wiped.

use super::protected::wipe;
use super::reserve;
use std::alloc::{GlobalAlloc, Layout};

/// The system allocator that overwrites memory before it frees it.
///
/// The AWS SDK, serde and the HTTP stack copy a response's plaintext into buffers that nobody wipes;
/// installed as `#[global_allocator]` by the module, this leaves none of them behind. And where the system has
/// no more memory, it has a little ([`reserve`]).
pub struct WipingAllocator;

// SAFETY: every block comes from `System` or the reserve and goes back there under the same layout; the wipe
// touches only the block's own bytes.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { reserve::alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { reserve::alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's; the block has `layout.size()` bytes.
        unsafe {
            wipe(block, layout.size());
            reserve::dealloc(block, layout);
        }
    }

    /// Never `realloc`: the system's may move the bytes and free the old block as it is.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller gives a size that is valid with this alignment; both blocks hold the copied bytes.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_bytes_when_they_grow_and_shrink() {
        // SAFETY: the block is used within its layout and freed once with the last one.
        unsafe {
            let layout = Layout::from_size_align(10, 8).unwrap();
            let block = WipingAllocator.alloc_zeroed(layout);
            assert_eq!(std::slice::from_raw_parts(block, 10), [0; 10]);
            std::ptr::copy_nonoverlapping(b"0123456789".as_ptr(), block, 10);
            let block = WipingAllocator.realloc(block, layout, 5000);
            assert_eq!(std::slice::from_raw_parts(block, 10), b"0123456789");
            let layout = Layout::from_size_align(5000, 8).unwrap();
            let block = WipingAllocator.realloc(block, layout, 4);
            assert_eq!(std::slice::from_raw_parts(block, 4), b"0123");
            WipingAllocator.dealloc(block, Layout::from_size_align(4, 8).unwrap());
        }
    }
}

//! Memory for the moment at which the system gives no more.
//!
//! Rust's collections end the process when an allocation fails, and the process is somebody else's. What the
//! system refuses comes from here, so that the call under way can end with an error like any other; the next
//! ones are refused at once, as long as there is no more ([`is_scarce`]).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

/// Twice what a call needs: one of KMS allocates some 2 MiB, one after the other. Zeroes that no page stands behind
/// before they are used.
const SIZE: usize = 4 << 20;
/// What must be left for a call to be begun, here or in the system.
const ENOUGH: usize = SIZE / 2;

#[repr(align(4096))]
struct Memory(UnsafeCell<[u8; SIZE]>);

// SAFETY: each block is handed out once until it is given back.
unsafe impl Sync for Memory {}

static RESERVE: Reserve = Reserve::new();

struct Reserve {
    memory: Memory,
    /// How many blocks are in use (upper half), and where the next one begins (lower half). When the last
    /// block comes back, all of it is free again.
    state: AtomicU64,
}

impl Reserve {
    const fn new() -> Self {
        Self { memory: Memory(UnsafeCell::new([0; SIZE])), state: AtomicU64::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.memory.0.get().cast()
    }

    /// A block of zeroes; null if there is no room.
    fn take(&self, layout: Layout) -> *mut u8 {
        let mut block = null_mut();
        let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let (blocks, next) = (state >> 32, state as u32 as usize);
            // The memory's own alignment is a page.
            let begin = next.checked_next_multiple_of(layout.align()).filter(|_| layout.align() <= 4096)?;
            let end = begin.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            block = self.start().wrapping_add(begin);
            Some((blocks + 1) << 32 | end as u64)
        });
        if taken.is_ok() { block } else { null_mut() }
    }

    fn has(&self, block: *mut u8) -> bool {
        (self.start() as usize..self.start() as usize + SIZE).contains(&(block as usize))
    }

    /// Takes back a block that was wiped.
    fn give(&self, block: *mut u8, len: usize) {
        let begin = (block as usize - self.start() as usize) as u64;
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let (blocks, next) = (state >> 32, state & 0xffff_ffff);
            let next = if next == begin + len as u64 { begin } else { next };
            Some(if blocks > 1 { (blocks - 1) << 32 | next } else { 0 })
        });
    }

    fn left(&self) -> usize {
        SIZE - self.state.load(Ordering::Acquire) as u32 as usize
    }
}

/// What the system gives, or the reserve. The memory is not zeroed.
///
/// # Safety
/// As for [`GlobalAlloc::alloc`].
pub(super) unsafe fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's.
    let block = unsafe { System.alloc(layout) };
    if block.is_null() { RESERVE.take(layout) } else { block }
}

/// The same, zeroed.
///
/// # Safety
/// As for [`GlobalAlloc::alloc_zeroed`].
pub(super) unsafe fn alloc_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's.
    let block = unsafe { System.alloc_zeroed(layout) };
    if block.is_null() { RESERVE.take(layout) } else { block }
}

/// Gives back a block that was wiped, to where it came from.
///
/// # Safety
/// As for [`GlobalAlloc::dealloc`]; all bytes are 0.
pub(super) unsafe fn dealloc(block: *mut u8, layout: Layout) {
    if RESERVE.has(block) {
        RESERVE.give(block, layout.size());
    } else {
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) };
    }
}

/// Whether there is not enough memory to begin a call. Costs nothing as long as the reserve is whole.
pub fn is_scarce() -> bool {
    if RESERVE.left() >= ENOUGH {
        return false;
    }
    let Ok(layout) = Layout::from_size_align(ENOUGH, 16) else { return true };
    // SAFETY: the layout is not empty, and the block goes back as it came.
    let Some(block) = NonNull::new(unsafe { System.alloc(layout) }) else { return true };
    // SAFETY: as above.
    unsafe { System.dealloc(block.as_ptr(), layout) };
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_side_by_side_until_the_last_one_is_back() {
        let reserve = Box::leak(Box::new(Reserve::new()));
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        let first = reserve.take(layout(10, 1));
        let second = reserve.take(layout(100, 64));
        assert!(reserve.has(first) && reserve.has(second));
        assert_eq!(second as usize % 64, 0);
        assert!(second as usize >= first as usize + 10);
        assert!(reserve.take(layout(SIZE, 1)).is_null());
        assert!(reserve.take(layout(1, 8192)).is_null());
        assert!(!reserve.has(null_mut()) && !reserve.has(reserve.start().wrapping_add(SIZE)));
        // The last one is free again at once.
        reserve.give(second, 100);
        assert_eq!(reserve.take(layout(200, 64)), second);
        reserve.give(first, 10);
        assert!(reserve.left() < SIZE - 200);
        reserve.give(second, 200);
        assert_eq!(reserve.left(), SIZE);
        assert_eq!(reserve.take(layout(SIZE, 4096)), reserve.start());
    }

    #[test]
    fn nothing_is_scarce_here() {
        assert!(!is_scarce());
    }
}

//! Large working memory, straight from the kernel.

use super::protected::wipe;
use crate::error::{Cause, Result};
use std::ptr::{self, NonNull};

/// Values in pages of their own: wiped and given back to the kernel when dropped, left out of core dumps,
/// empty in forked children.
///
/// Not from `malloc`: glibc, once it has freed a block of many megabytes, takes the next one from the heap,
/// where it may stay part of the host's memory for good. And the kernel is asked for large pages: faulting
/// in 19 MiB by pages of 4 KiB takes 8 ms, by pages of 2 MiB it takes 2.
pub struct Scratch<T> {
    start: NonNull<T>,
    count: usize,
}

impl<T: Copy> Scratch<T> {
    /// `count` times `value`; [`Cause::HostMemory`] if there is not enough memory.
    pub fn filled(value: T, count: usize) -> Result<Self> {
        const { assert!(align_of::<T>() <= 4096, "a page is aligned for the values") };
        let len = size_of::<T>().checked_mul(count).filter(|len| *len > 0).ok_or(Cause::HostMemory)?;
        // SAFETY: a fresh private anonymous mapping; the advice concerns it alone, and is advice.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if start == libc::MAP_FAILED {
                return Err(Cause::HostMemory.into());
            }
            for advice in [libc::MADV_HUGEPAGE, libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK] {
                libc::madvise(start, len, advice);
            }
            NonNull::new(start.cast::<T>()).ok_or(Cause::HostMemory)?
        };
        for index in 0..count {
            // SAFETY: the mapping holds `count` values, and its start is aligned for them.
            unsafe { start.add(index).write(value) };
        }
        Ok(Self { start, count })
    }
}

impl<T> AsMut<[T]> for Scratch<T> {
    fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: `count` values that this owns, written when it was made.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.count) }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let len = self.count * size_of::<T>();
        // SAFETY: the whole mapping, which nobody uses any more.
        unsafe {
            wipe(self.start.as_ptr().cast(), len);
            libc::munmap(self.start.as_ptr().cast(), len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_there_and_can_be_changed() {
        let mut scratch = Scratch::filled([7_u64; 16], 1000).unwrap();
        assert_eq!(scratch.as_mut().len(), 1000);
        assert!(scratch.as_mut().iter().all(|value| *value == [7; 16]));
        scratch.as_mut()[999][15] = 8;
        assert_eq!(scratch.as_mut()[999], [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8]);
    }

    #[test]
    fn what_no_memory_can_hold_is_an_error() {
        for count in [usize::MAX, usize::MAX / 1024, 0] {
            assert_eq!(Scratch::filled([0_u8; 1024], count).err().map(|error| error.cause()), Some(Cause::HostMemory));
        }
    }

    /// What `work` answers in a child process.
    fn in_child(work: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child, which has this thread alone, does what the tests below do and exits without
        // running destructors.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(i32::from(work()));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert!(libc::WIFEXITED(status));
            libc::WEXITSTATUS(status) == 1
        }
    }

    #[test]
    fn a_child_finds_zeros() {
        let mut scratch = Scratch::filled(7_u8, 1 << 20).unwrap();
        assert!(in_child(|| scratch.as_mut().iter().all(|byte| *byte == 0)));
        assert_eq!(scratch.as_mut()[0], 7);
    }

    #[test]
    fn the_pages_go_back_to_the_kernel() {
        // In a child, where no other thread maps something in their place.
        let gone = in_child(|| {
            let Ok(mut scratch) = Scratch::filled(7_u8, 1 << 20) else { return false };
            let start = scratch.as_mut().as_mut_ptr();
            let mut page = 0;
            // SAFETY: asks about a page, which need not be mapped.
            let mut is_mapped = || unsafe { libc::mincore(start.cast(), 1, &mut page) } == 0;
            let before = is_mapped();
            drop(scratch);
            before && !is_mapped()
        });
        assert!(gone);
    }
}

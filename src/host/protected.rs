//! Memory for key material: locked, left out of core dumps, empty in forked children, wiped when freed.
//!
//! One pool of pages serves the whole process. It has two doors: [`Block`] for our own bytes, and
//! [`raw`] for a C library whose allocator we are. The second also serves everything that library
//! allocates for other purposes; only what it allocates while a [`KeyScope`] is entered comes from
//! the pool, the rest from `malloc` (the C one: a host that replaced it sees balanced calls).
//!
//! A child process inherits the addresses but not the contents: the kernel hands it zeros. [`Stamp`]
//! tells whose memory something is, so that a child can forget what it inherited instead of using it.
//! Nothing here ever goes back to the kernel: freed blocks wait, wiped, for the next key.

use super::fork::Mark;
use crate::error::{Cause, Result};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What stands before every block, in the pool and outside it: 16 bytes, so that alignment stays 16.
#[repr(C)]
struct Header {
    /// The length that was asked for; in a free pool block the address of the next free one.
    len: usize,
    tag: usize,
}

const HEADER: usize = size_of::<Header>();
const IN_POOL: usize = 0x9a7c_51e0_6b3d_f281;
const IN_HEAP: usize = 0x3ed1_8f06_c47a_95b2;
const CHUNK: usize = 128 * 1024;

/// Sizes of pool blocks, header included. Two steps an octave waste a quarter at worst; the largest
/// holds the exponentiation table of an 8192-bit modulus.
const CLASSES: [usize; 25] = [
    64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
    65536, 98304, 131_072, 196_608, 262_144,
];

struct Pool {
    mark: Mark,
    state: Mutex<State>,
}

struct State {
    /// Heads of the free lists, by class.
    free: [*mut Header; CLASSES.len()],
    /// The unused rest of the newest chunk.
    rest: *mut u8,
    rest_len: usize,
    /// Blocks handed out and not yet returned.
    live: usize,
}

// SAFETY: the pointers lead to memory that only the holder of the mutex links or unlinks.
unsafe impl Send for State {}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());
static UNLOCKED: AtomicBool = AtomicBool::new(false);

/// The pool of this process; a child gets one of its own at its first allocation.
fn pool() -> &'static Pool {
    let current = POOL.load(Ordering::Acquire);
    // SAFETY: only leaked boxes are ever stored, so what is not null lives for ever.
    if let Some(pool) = unsafe { current.as_ref() }
        && pool.mark.is_ours()
    {
        return pool;
    }
    let state = State { free: [ptr::null_mut(); CLASSES.len()], rest: ptr::null_mut(), rest_len: 0, live: 0 };
    let fresh = Box::into_raw(Box::new(Pool { mark: Mark::new(), state: Mutex::new(state) }));
    match POOL.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just leaked, never freed.
        Ok(_) => unsafe { &*fresh },
        Err(_) => {
            // SAFETY: nobody else saw `fresh`.
            drop(unsafe { Box::from_raw(fresh) });
            pool()
        }
    }
}

impl Pool {
    /// A poisoned lock is used on: no code under it can leave the lists half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `len` zero bytes, or null.
    fn take(&self, len: usize) -> *mut u8 {
        let Some(class) = class_of(len) else { return ptr::null_mut() };
        let mut state = self.state();
        let Some(header) = state.pop(class) else { return ptr::null_mut() };
        state.live += 1;
        drop(state);
        // SAFETY: `header` starts a block of at least `len` + HEADER bytes that nobody else has.
        unsafe {
            header.write(Header { len, tag: IN_POOL });
            header.cast::<u8>().add(HEADER)
        }
    }

    /// Takes back a block. Its bytes are wiped before another thread can get it.
    ///
    /// # Safety
    /// `header` was made by [`Pool::take`] and is not used any more.
    unsafe fn give(&self, header: *mut Header) {
        // SAFETY: the caller's; `len` bytes follow the header.
        unsafe {
            let len = (*header).len;
            wipe(header.cast::<u8>().add(HEADER), len);
            let Some(class) = class_of(len) else { return };
            let mut state = self.state();
            state.push(header, class);
            state.live -= 1;
        }
    }
}

impl State {
    fn pop(&mut self, class: usize) -> Option<*mut Header> {
        let head = self.free[class];
        if !head.is_null() {
            // SAFETY: a free block's header holds the address of the next free one.
            self.free[class] = unsafe { (*head).len as *mut Header };
            return Some(head);
        }
        let size = CLASSES[class];
        if self.rest_len < size {
            self.grow(size)?;
        }
        let block = self.rest;
        // SAFETY: `rest_len` bytes follow `rest`.
        self.rest = unsafe { block.add(size) };
        self.rest_len -= size;
        Some(block.cast())
    }

    fn push(&mut self, header: *mut Header, class: usize) {
        // SAFETY: the block is the caller's to give; its header is inside it.
        unsafe { header.write(Header { len: self.free[class] as usize, tag: 0 }) };
        self.free[class] = header;
    }

    /// Gets a chunk that holds at least `size` bytes; what was left of the last one goes on the lists.
    fn grow(&mut self, size: usize) -> Option<()> {
        let len = size.max(CHUNK);
        let chunk = map_chunk(len)?;
        while let Some(class) = CLASSES.iter().rposition(|size| *size <= self.rest_len) {
            let block = self.rest;
            // SAFETY: the class fits into what is left.
            self.rest = unsafe { block.add(CLASSES[class]) };
            self.rest_len -= CLASSES[class];
            self.push(block.cast(), class);
        }
        self.rest = chunk.as_ptr();
        self.rest_len = len;
        Some(())
    }
}

fn class_of(len: usize) -> Option<usize> {
    let total = len.checked_add(HEADER)?;
    let class = CLASSES.partition_point(|size| *size < total);
    (class < CLASSES.len()).then_some(class)
}

fn map_chunk(len: usize) -> Option<NonNull<u8>> {
    // SAFETY: a fresh private anonymous mapping; the advice concerns it alone.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let chunk = libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if chunk == libc::MAP_FAILED {
            return None;
        }
        // The advice is best effort (kernels before 4.14 cannot wipe on fork), and so is the lock
        // (RLIMIT_MEMLOCK is the host's): a key that cannot be locked is better than no key.
        libc::madvise(chunk, len, libc::MADV_DONTDUMP);
        libc::madvise(chunk, len, libc::MADV_WIPEONFORK);
        if libc::mlock(chunk, len) != 0 {
            UNLOCKED.store(true, Ordering::Relaxed);
        }
        NonNull::new(chunk.cast())
    }
}

/// Whether some key memory could not be locked since this was last asked: the occasion for one warning.
pub fn take_lock_warning() -> bool {
    UNLOCKED.swap(false, Ordering::Relaxed)
}

/// How many pool blocks are handed out now.
pub fn live_blocks() -> usize {
    pool().state().live
}

/// Overwrites `len` bytes with zeros; never optimised away.
///
/// # Safety
/// `ptr` is valid for writing `len` bytes.
pub(super) unsafe fn wipe(ptr: *mut u8, len: usize) {
    // SAFETY: the caller's.
    unsafe { libc::explicit_bzero(ptr.cast(), len) }
}

/// Whose memory something is: this process's, or that of the process it was forked from.
#[derive(Clone, Copy)]
pub struct Stamp(&'static Pool);

impl Stamp {
    /// A stamp of this process.
    pub fn new() -> Self {
        Self(pool())
    }

    /// Whether this is still the process that made the stamp. No system call, no lock.
    pub fn is_ours(self) -> bool {
        self.0.mark.is_ours()
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes in the pool: zero at first, wiped when dropped, zero in a forked child.
///
/// There is no `Debug`, no `Clone` and no `PartialEq` on purpose.
pub struct Block {
    bytes: NonNull<u8>,
    len: usize,
    stamp: Stamp,
}

// SAFETY: a block owns its bytes.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    /// `len` zero bytes, at most about 256 KiB; [`Cause::HostMemory`] if there are none.
    pub fn zeroed(len: usize) -> Result<Self> {
        let stamp = Stamp::new();
        let bytes = NonNull::new(stamp.0.take(len)).ok_or(Cause::HostMemory)?;
        Ok(Self { bytes, len, stamp })
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Result<Self> {
        let mut block = Self::zeroed(bytes.len())?;
        block.expose_mut().copy_from_slice(bytes);
        Ok(block)
    }

    /// The bytes. Do not copy them anywhere that is not wiped.
    pub fn expose(&self) -> &[u8] {
        // SAFETY: `len` bytes that this block owns, initialised since they were mapped.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }

    /// The bytes, to be filled in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.stamp.is_ours() {
            // SAFETY: made by `take` of this very pool, and dropped once.
            unsafe { self.stamp.0.give(self.bytes.as_ptr().sub(HEADER).cast()) }
        }
    }
}

thread_local! {
    static SCOPE: Cell<u32> = const { Cell::new(0) };
}

/// While one of these lives, what this thread allocates through [`raw`] comes from the pool.
pub struct KeyScope(PhantomData<*const ()>);

impl KeyScope {
    /// Enters the scope; it ends when the value is dropped. May be nested.
    pub fn enter() -> Self {
        SCOPE.set(SCOPE.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for KeyScope {
    fn drop(&mut self) {
        SCOPE.set(SCOPE.get() - 1);
    }
}

/// `malloc` and its family for a C library whose memory must be wiped when freed.
pub mod raw {
    use super::{HEADER, Header, IN_HEAP, IN_POOL, SCOPE, pool, wipe};
    use crate::host::reserve;
    use std::alloc::Layout;
    use std::ptr;

    /// `len` bytes, aligned to 16, or null. From the pool while a [`KeyScope`](super::KeyScope) is
    /// entered, from `malloc` otherwise.
    pub fn alloc(len: usize) -> *mut u8 {
        // A thread whose thread-local storage is gone is ending: it loads no keys.
        if SCOPE.try_with(|scope| scope.get() != 0).unwrap_or(false) { pool().take(len) } else { from_heap(len) }
    }

    /// A block and the header before it.
    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_add(HEADER)?, 16).ok()
    }

    /// From the reserve where the system has none: AWS-LC ends the process when it has no memory for its random
    /// numbers.
    fn from_heap(len: usize) -> *mut u8 {
        let Some(layout) = layout(len) else { return ptr::null_mut() };
        // SAFETY: the layout has a header's length at least.
        unsafe {
            let header = reserve::alloc(layout).cast::<Header>();
            if header.is_null() {
                return ptr::null_mut();
            }
            header.write(Header { len, tag: IN_HEAP });
            header.cast::<u8>().add(HEADER)
        }
    }

    /// Wipes and frees. A pool block inherited over a fork, whose header the kernel wiped, is forgotten.
    ///
    /// # Safety
    /// `block` came from this module, is not null, and is not used any more.
    pub unsafe fn free(block: *mut u8) {
        // SAFETY: the caller's; a header stands before the block.
        unsafe {
            let header = block.sub(HEADER).cast::<Header>();
            match ((*header).tag, layout((*header).len)) {
                (IN_HEAP, Some(layout)) => {
                    wipe(header.cast(), layout.size());
                    reserve::dealloc(header.cast(), layout);
                }
                (IN_POOL, _) => pool().give(header),
                _ => {}
            }
        }
    }

    /// The length that was asked for.
    ///
    /// # Safety
    /// `block` came from this module and is not null.
    pub unsafe fn len(block: *const u8) -> usize {
        // SAFETY: the caller's.
        unsafe { (*block.sub(HEADER).cast::<Header>()).len }
    }

    /// Moves to a block of `len` bytes; the old one is wiped and freed. Null, with the old one left as it
    /// was, if there is none. What is in the pool stays in the pool.
    ///
    /// # Safety
    /// As for [`free`], if the result is not null.
    pub unsafe fn realloc(block: *mut u8, len: usize) -> *mut u8 {
        // SAFETY: the caller's; both blocks hold at least the bytes that are copied.
        unsafe {
            let header = block.sub(HEADER).cast::<Header>();
            let new = if (*header).tag == IN_POOL { pool().take(len) } else { alloc(len) };
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, len.min((*header).len));
                free(block);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zero_at_first_and_again_after_they_were_used() {
        for len in [0, 1, 48, 49, 1000, 4000, 100_000, 262_128] {
            for _ in 0..3 {
                let mut block = Block::zeroed(len).unwrap();
                assert_eq!(block.expose().len(), len);
                assert!(block.expose().iter().all(|byte| *byte == 0));
                assert_eq!(block.expose().as_ptr() as usize % 16, 0);
                block.expose_mut().fill(0xa5);
                assert_eq!(Block::copy_of(block.expose()).unwrap().expose(), block.expose());
            }
        }
        assert_eq!(Block::zeroed(262_129).err().unwrap().cause(), Cause::HostMemory);
        assert_eq!(Block::zeroed(usize::MAX).err().unwrap().cause(), Cause::HostMemory);
    }

    #[test]
    fn blocks_do_not_overlap() {
        let mut blocks: Vec<_> = (0..2000).map(|i| Block::zeroed(i * 7 % 3000).unwrap()).collect();
        for (i, block) in blocks.iter_mut().enumerate() {
            block.expose_mut().fill(i as u8);
        }
        let (kept, dropped): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(i, _)| i % 3 == 0);
        drop(dropped);
        let _more: Vec<_> = (0..1000).map(|i| Block::copy_of(&vec![0xee; i]).unwrap()).collect();
        for (i, block) in &kept {
            assert!(block.expose().iter().all(|byte| *byte == *i as u8));
        }
    }

    #[test]
    fn a_child_finds_zeros_and_a_pool_of_its_own() {
        let block = Block::copy_of(b"a secret of the parent's").unwrap();
        let stamp = Stamp::new();
        assert!(stamp.is_ours());
        // SAFETY: the child allocates, which glibc allows after fork, and exits without running destructors.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                let empty = block.expose().iter().all(|byte| *byte == 0);
                let forgotten = !stamp.is_ours();
                drop(block);
                let own = Block::copy_of(b"the child's").is_ok_and(|own| own.expose() == b"the child's");
                libc::_exit(i32::from(!(empty && forgotten && own && Stamp::new().is_ours())));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert_eq!(status, 0);
        }
        assert_eq!(block.expose(), b"a secret of the parent's");
        assert!(stamp.is_ours());
    }

    #[test]
    fn the_pool_is_locked_and_left_out_of_core_dumps_and_children() {
        let block = Block::zeroed(64).unwrap();
        let address = block.expose().as_ptr() as usize;
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        let mut flags = "";
        for line in smaps.lines() {
            if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-'))
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&address);
            } else if inside && let Some(found) = line.strip_prefix("VmFlags:") {
                flags = found;
            }
        }
        for flag in ["dd", "wf"] {
            assert!(flags.split_whitespace().any(|found| found == flag), "{flag} is missing in {flags}");
        }
        assert!(flags.split_whitespace().any(|found| found == "lo") || take_lock_warning());
    }

    #[test]
    fn raw_blocks_keep_their_bytes_when_they_move() {
        // SAFETY: each block is used within its length and freed once.
        unsafe {
            for in_scope in [false, true] {
                let scope = in_scope.then(KeyScope::enter);
                let block = raw::alloc(10);
                drop(scope);
                ptr::copy_nonoverlapping(b"0123456789".as_ptr(), block, 10);
                let block = raw::realloc(block, 3000);
                assert_eq!(std::slice::from_raw_parts(block, 10), b"0123456789");
                let block = raw::realloc(block, 4);
                assert_eq!(raw::len(block), 4);
                assert_eq!(std::slice::from_raw_parts(block, 4), b"0123");
                raw::free(block);
            }
            assert!(raw::alloc(usize::MAX).is_null());
        }
    }
}

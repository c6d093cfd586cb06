//! Fork: a child process must notice that what it inherited is not its own.
//!
//! [`Mark`] is a word on a page that the kernel clears in every child (`MADV_WIPEONFORK`), however
//! the child was made; reading it costs no system call, so each entry point can. [`generation`]
//! counts forks by `pthread_atfork`, for those that want to know after the fact; the handlers take no
//! lock of ours except the ones that other floors register on purpose with [`at_fork`].

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between this process and the one that loaded the module.
///
/// Only forks that ran the `pthread_atfork` handlers count; [`watch`] must have been called.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

/// What a floor wants to be told around a fork. Plain functions: they run in a process whose other
/// threads are gone, so they may touch atomics only.
#[derive(Clone, Copy)]
pub struct Handlers {
    /// In the parent, before the fork.
    pub prepare: fn(),
    /// In the parent, after the fork.
    pub parent: fn(),
    /// In the child.
    pub child: fn(),
}

const SLOTS: usize = 4;
static HANDLERS: [AtomicPtr<Handlers>; SLOTS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; SLOTS];
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Starts counting forks. Cheap and idempotent.
pub fn watch() {
    // Not a `Once`: a fork in the middle of one would stop the child at its next look.
    if !WATCHED.swap(true, Ordering::SeqCst) {
        // SAFETY: the handlers are functions of this library, which is linked `nodelete` and so stays
        // mapped as long as the process lives. Failure (ENOMEM) leaves forks to `Mark`.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    }
}

/// Registers `handlers` for the life of the process. At most four; more are refused with `false`.
pub fn at_fork(handlers: &'static Handlers) -> bool {
    watch();
    let new = std::ptr::from_ref(handlers).cast_mut();
    HANDLERS
        .iter()
        .any(|slot| slot.compare_exchange(std::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire).is_ok())
}

fn each(run: impl Fn(&Handlers)) {
    for slot in &HANDLERS {
        // SAFETY: a slot holds null or a `&'static Handlers` stored by `at_fork`.
        if let Some(handlers) = unsafe { slot.load(Ordering::Acquire).as_ref() } {
            run(handlers);
        }
    }
}

extern "C" fn prepare() {
    each(|h| (h.prepare)());
}

extern "C" fn parent() {
    each(|h| (h.parent)());
}

extern "C" fn child() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
    each(|h| (h.child)());
}

/// A mark that is there in the process that made it and gone in its children.
pub struct Mark(Kind);

enum Kind {
    /// A word on a page that the kernel zeroes in children.
    Wiped(NonNull<AtomicU64>),
    /// For kernels before 4.14: the process id, one system call a look.
    Pid(libc::pid_t),
}

// SAFETY: the page is only reached through an atomic and is never unmapped.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

impl Mark {
    /// Makes a mark for this process. Its page is never given back: a mark is made once per process
    /// and a thread may look at it at any time.
    pub fn new() -> Self {
        // SAFETY: a fresh private anonymous mapping, advised before it is used; the pointer is valid
        // and aligned for an AtomicU64, whose all-zero state is valid.
        unsafe {
            let len = libc::sysconf(libc::_SC_PAGESIZE).max(4096) as usize;
            let page = libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if page == libc::MAP_FAILED {
                return Self(Kind::Pid(libc::getpid()));
            }
            if libc::madvise(page, len, libc::MADV_WIPEONFORK) != 0 {
                libc::munmap(page, len);
                return Self(Kind::Pid(libc::getpid()));
            }
            let word = NonNull::new_unchecked(page.cast::<AtomicU64>());
            word.as_ref().store(1, Ordering::Release);
            Self(Kind::Wiped(word))
        }
    }

    /// Whether this is still the process that made the mark.
    pub fn is_ours(&self) -> bool {
        match self.0 {
            // SAFETY: the page stays mapped for the life of the process.
            Kind::Wiped(word) => unsafe { word.as_ref().load(Ordering::Acquire) == 1 },
            // SAFETY: getpid has no preconditions.
            Kind::Pid(pid) => unsafe { libc::getpid() == pid },
        }
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that each process makes for itself: a child gets a new one, and its parent's is left as it
/// was at the fork, neither used nor dropped.
pub struct PerProcess<T: 'static>(AtomicPtr<(Mark, T)>);

impl<T: Default + Send + Sync> PerProcess<T> {
    /// A value that is made when it is first asked for.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// This process's value.
    pub fn get(&self) -> &'static T {
        loop {
            let present = self.0.load(Ordering::Acquire);
            // SAFETY: null, or made by `Box::leak` below and never freed.
            if let Some((mark, value)) = unsafe { present.as_ref() }
                && mark.is_ours()
            {
                return value;
            }
            let new = Box::into_raw(Box::new((Mark::new(), T::default())));
            if self.0.compare_exchange(present, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: nobody has seen it; another thread's is there now.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }
}

impl<T: Default + Send + Sync> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_sees_neither_the_mark_nor_the_generation_of_its_parent() {
        watch();
        let mark = Mark::new();
        let before = generation();
        // SAFETY: the child only reads atomics and exits without running destructors.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(i32::from(mark.is_ours()) + 2 * i32::from(generation() == before));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert_eq!(libc::WEXITSTATUS(status), 0);
        }
        assert!(mark.is_ours());
        assert_eq!(generation(), before);
    }
}

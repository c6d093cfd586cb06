//! Signals: the host's handlers and dispositions stay as they are.

use std::mem::MaybeUninit;
use std::ptr;
use std::thread::JoinHandle;

/// Runs `work` with SIGPIPE blocked in this thread, and takes back a SIGPIPE that `work` caused.
///
/// rustls writes with `writev`, which has no `MSG_NOSIGNAL`: a KMS endpoint that resets the
/// connection would otherwise kill every host that left SIGPIPE at its default.
pub fn without_sigpipe<T>(work: impl FnOnce() -> T) -> T {
    let guard = SigpipeGuard::block();
    let result = work();
    drop(guard);
    result
}

/// Blocks every signal in the calling thread: for a thread of our own, which must never be the one
/// that a signal meant for the host is delivered to.
pub fn block_all() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set it is given; pthread_sigmask only reads it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

/// Enough for glibc's resolver and the name service modules that it loads.
const STACK: usize = 1 << 20;

/// Starts a thread of our own that no signal is ever delivered to.
///
/// The mask is inherited, so it is set before the thread exists and put back after: there is no
/// moment at which a signal meant for the host could end up in the new thread.
pub fn spawn_quiet(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; pthread_sigmask then fills it with the present mask.
    unsafe {
        libc::sigemptyset(before.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), before.as_mut_ptr());
    }
    block_all();
    let spawned = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work);
    // SAFETY: `before` was initialised above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    spawned
}

struct SigpipeGuard {
    before: libc::sigset_t,
    was_pending: bool,
}

impl SigpipeGuard {
    fn block() -> Self {
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        let set = sigpipe_set();
        // SAFETY: pthread_sigmask fills `before`; it cannot fail with a valid `how`. If it did, the
        // zeroed set below would be used, which changes nothing that was not changed.
        let before = unsafe {
            if libc::pthread_sigmask(libc::SIG_BLOCK, &set, before.as_mut_ptr()) != 0 {
                libc::sigemptyset(before.as_mut_ptr());
            }
            before.assume_init()
        };
        Self { before, was_pending: sigpipe_pending() }
    }
}

impl Drop for SigpipeGuard {
    fn drop(&mut self) {
        let set = sigpipe_set();
        // SAFETY: the sets are initialised; sigtimedwait with a zero timeout returns at once.
        unsafe {
            if !self.was_pending && sigpipe_pending() {
                let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                while libc::sigtimedwait(&set, ptr::null_mut(), &now) == -1
                    && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
                {}
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut());
        }
    }
}

fn sigpipe_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before sigaddset and assume_init use it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        set.assume_init()
    }
}

fn sigpipe_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending initialises the set; on failure it is not read.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_kills_nobody_and_leaves_no_signal_behind() {
        // Rust's test runner ignores SIGPIPE; give it the default that a C host has.
        // SAFETY: plain libc calls on a pipe of our own; the disposition is put back below.
        unsafe {
            let old = libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let mut ends = [0; 2];
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            libc::close(ends[0]);
            let written = without_sigpipe(|| libc::write(ends[1], b"x".as_ptr().cast(), 1));
            assert_eq!(written, -1);
            assert!(!sigpipe_pending());
            libc::close(ends[1]);
            libc::signal(libc::SIGPIPE, old);
        }
    }
}

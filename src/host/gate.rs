//! The gate: where a fork waits for work that must not be cut in half.
//!
//! A child inherits the memory of its parent as it is at the instant of the fork, and none of its other
//! threads. A lock that one of them held, or a value that one of them was making for the whole process,
//! stays as it was for ever. Work on such things happens [`inside`], and a fork waits for it, briefly.

use super::fork;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a fork waits for threads inside, and a thread for a fork under way.
pub const PATIENCE: Duration = Duration::from_secs(1);
const FORK: u64 = 1 << 32;
const THREADS: u64 = FORK - 1;

/// Forks under way (upper half) and threads inside (lower half).
static GATE: AtomicU64 = AtomicU64::new(0);
/// Whether this process, or one it was forked from, was forked with a thread inside.
static DIRTY: AtomicBool = AtomicBool::new(false);
static INSTALLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// How many times this thread is inside, and the generation in which it came in. Constant initialisers
    /// and no destructors: usable at any time in a thread's life, also around a fork.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static SINCE: Cell<u64> = const { Cell::new(0) };
}

static HANDLERS: fork::Handlers = fork::Handlers { prepare, parent, child };

/// Has forks wait at the gate from now on. Idempotent.
pub fn install() {
    // Not a `Once`: that is itself something that a fork can cut in half.
    if !INSTALLED.swap(true, Ordering::SeqCst) {
        fork::at_fork(&HANDLERS);
    }
}

/// Whether this process, or one it was forked from, was forked with a thread inside: what was worked on
/// there cannot be used here.
pub fn was_dirty() -> bool {
    DIRTY.load(Ordering::SeqCst)
}

/// Runs `work` so that no fork happens meanwhile. It must be short and must not sleep or wait for
/// anything but the disk.
pub fn inside<T>(work: impl FnOnce() -> T) -> T {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            leave();
        }
    }
    enter();
    let _inside = Inside;
    work()
}

/// Goes in; the same thread leaves with [`leave`], as often as it came. For what is taken in one call and
/// given back in another, as locks of the C library are; all else is done [`inside`].
pub fn enter() {
    let depth = DEPTH.get();
    DEPTH.set(depth.saturating_add(1));
    if depth > 0 {
        return;
    }
    let mut since = None;
    let mut state = GATE.load(Ordering::Relaxed);
    loop {
        // A fork that stays under way for long waits for a lock of somebody else's, which the caller
        // of this thread may hold. Going in then costs the child its store, not the host its life.
        if state >= FORK && since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(50));
            state = GATE.load(Ordering::Relaxed);
            continue;
        }
        match GATE.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => break,
            Err(now) => state = now,
        }
    }
    SINCE.set(fork::generation());
}

/// Comes out, if this thread is inside.
pub fn leave() {
    let depth = DEPTH.get();
    DEPTH.set(depth.saturating_sub(1));
    // A fork from a signal handler inside: the child's count was reset, so there is nothing to leave.
    if depth == 1 && SINCE.get() == fork::generation() {
        GATE.fetch_sub(1, Ordering::SeqCst);
    }
}

fn prepare() {
    GATE.fetch_add(FORK, Ordering::SeqCst);
    if DEPTH.get() > 0 {
        return;
    }
    let since = Instant::now();
    while GATE.load(Ordering::SeqCst) & THREADS != 0 && since.elapsed() < PATIENCE {
        thread::sleep(Duration::from_micros(20));
    }
}

fn parent() {
    GATE.fetch_sub(FORK, Ordering::SeqCst);
}

fn child() {
    if GATE.swap(0, Ordering::SeqCst) & THREADS != 0 {
        DIRTY.store(true, Ordering::SeqCst);
    }
}

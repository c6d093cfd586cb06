//! SQLite and fork: the one file that makes the two agree.
//!
//! SQLite keeps mutexes, a heap and a table of open files per process, and a forked child inherits them
//! as they were at that instant. Three things make that harmless:
//!
//! 1. The gate. Every call into SQLite happens [`inside`] it, so that a child inherits no mutex that is
//!    held by a thread it does not have.
//! 2. Salted inodes. SQLite recognises a file that it has open already by device and inode, to share the
//!    POSIX locks of the process between its connections. A child has none of its parent's locks, yet
//!    inherits the table that says it has. SQLite's `fstat` and `stat` are replaced by ones that alter
//!    the inode number differently in each generation of children, so a child never meets an entry of
//!    its parent's.
//! 3. [`Process`]: each connection remembers which process opened it. In any other it is neither used
//!    nor closed, but forgotten: closing would run a checkpoint with locks that are not there.
#![allow(unsafe_code)]

use crate::error::{Cause, Result};
pub(super) use crate::host::gate::inside;
use crate::host::{fork, gate};
use rusqlite::{Connection, ffi};
use std::ffi::{CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, mem, ptr, thread};

/// How long a thread waits for another that sets SQLite up.
const PATIENCE: Duration = gate::PATIENCE;

/// Whether this process was forked while SQLite was being set up.
static DIRTY: AtomicBool = AtomicBool::new(false);
/// What inode numbers are altered by: 0 in the first process, another value in each generation.
static SALT: AtomicU64 = AtomicU64::new(0);
/// Whether the handlers and system calls are in place: 0 no, 1 under way, 2 yes.
static SETUP: AtomicU8 = AtomicU8::new(0);
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

static HANDLERS: fork::Handlers = fork::Handlers { prepare: || (), parent: || (), child };

fn child() {
    if SETUP.load(Ordering::SeqCst) == 1 {
        DIRTY.store(true, Ordering::SeqCst);
    }
    // An odd factor: no two generations have the same salt.
    SALT.store(fork::generation().wrapping_mul(0x9E37_79B9_7F4A_7C15), Ordering::SeqCst);
}

/// One process that uses SQLite, as its connections remember it.
pub(super) struct Process {
    generation: u64,
    mark: fork::Mark,
}

impl Process {
    /// The process that this is. Fails where SQLite must not be used: in a child that was forked with a
    /// thread inside, or made by a bare `clone` that ran no handlers.
    pub(super) fn current() -> Result<&'static Self> {
        set_up()?;
        let refused = |why: &'static str| Err(Cause::ForkedWhileBusy.with(why));
        if DIRTY.load(Ordering::SeqCst) || gate::was_dirty() {
            return refused("a thread was inside SQLite");
        }
        let generation = fork::generation();
        loop {
            let seen = CURRENT.load(Ordering::SeqCst);
            // SAFETY: the pointer is null or comes from the `Box::into_raw` below and is never freed.
            if let Some(process) = unsafe { seen.as_ref() }
                && process.generation == generation
            {
                return if process.is_this() { Ok(process) } else { refused("the fork handlers did not run") };
            }
            // Leaked on purpose, once per process: connections refer to it for as long as they live.
            let new = Box::into_raw(Box::new(Self { generation, mark: fork::Mark::new() }));
            let _ = CURRENT.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Whether the caller runs in this process.
    pub(super) fn is_this(&self) -> bool {
        self.generation == fork::generation() && self.mark.is_ours()
    }
}

fn set_up() -> Result<()> {
    if SETUP.load(Ordering::Acquire) == 2 {
        return Ok(());
    }
    gate::install();
    // Inside, so that no fork finds it half done.
    inside(set_up_inside)
}

fn set_up_inside() -> Result<()> {
    let since = Instant::now();
    loop {
        match SETUP.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                let done = fork::at_fork(&HANDLERS) && salt_inodes();
                SETUP.store(if done { 2 } else { 0 }, Ordering::SeqCst);
                return if done { Ok(()) } else { Err(Cause::StoreUnavailable.with("SQLite cannot be set up")) };
            }
            Err(1) if since.elapsed() < PATIENCE => thread::sleep(Duration::from_micros(50)),
            Err(1) => return Err(Cause::ForkedWhileBusy.with("SQLite was being set up")),
            Err(_) => return Ok(()),
        }
    }
}

// SQLite is compiled with 64-bit file offsets everywhere.
#[cfg(not(all(target_pointer_width = "32", target_env = "gnu")))]
use libc::{fstat as system_fstat, stat as Stat, stat as system_stat};
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
use libc::{fstat64 as system_fstat, stat64 as Stat, stat64 as system_stat};

unsafe extern "C" fn salted_fstat(file: c_int, out: *mut Stat) -> c_int {
    // SAFETY: SQLite passes a pointer to a `struct stat` of its own, as to fstat(2).
    unsafe {
        let result = system_fstat(file, out);
        if result == 0 {
            (*out).st_ino ^= SALT.load(Ordering::SeqCst) as libc::ino_t;
        }
        result
    }
}

unsafe extern "C" fn salted_stat(path: *const c_char, out: *mut Stat) -> c_int {
    // SAFETY: SQLite passes a C string and a pointer to a `struct stat` of its own, as to stat(2).
    unsafe {
        let result = system_stat(path, out);
        if result == 0 {
            (*out).st_ino ^= SALT.load(Ordering::SeqCst) as libc::ino_t;
        }
        result
    }
}

/// Has SQLite's file layer see salted inode numbers. SQLite is linked into this library and hidden, so
/// no other user of SQLite in the process is concerned.
fn salt_inodes() -> bool {
    type SystemCall = unsafe extern "C" fn();
    // SAFETY: SQLite's default VFS lives as long as the process. The names are C strings, and SQLite
    // casts each pointer back to the type that it has here before it calls it.
    unsafe {
        let fstat = mem::transmute::<unsafe extern "C" fn(c_int, *mut Stat) -> c_int, SystemCall>(salted_fstat);
        let stat = mem::transmute::<unsafe extern "C" fn(*const c_char, *mut Stat) -> c_int, SystemCall>(salted_stat);
        let vfs = ffi::sqlite3_vfs_find(ptr::null());
        let Some(set) = vfs.as_ref().and_then(|vfs| vfs.xSetSystemCall) else { return false };
        set(vfs, c"fstat".as_ptr(), Some(fstat)) == ffi::SQLITE_OK
            && set(vfs, c"stat".as_ptr(), Some(stat)) == ffi::SQLITE_OK
    }
}

/// The operating system's error number behind the last failure of `connection`; 0 if there is none.
pub(super) fn system_errno(connection: &Connection) -> i32 {
    // SAFETY: the handle is open as long as the connection is borrowed.
    unsafe { ffi::sqlite3_system_errno(connection.handle()) }
}

/// Makes an empty file that only its owner can read, unless there is one. There is no moment at which it
/// is open outside SQLite: closing it then would drop the locks of every connection in the process.
pub(super) fn create_empty(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string.
    if unsafe { libc::mknod(path.as_ptr(), libc::S_IFREG | 0o600, 0) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        e if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        e => Err(e),
    }
}

/// Whether `path` lies on a file system that is mounted read-only.
pub(super) fn on_read_only_file_system(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut about = mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is a C string, and `about` is only read when statvfs has filled it.
    unsafe {
        libc::statvfs(path.as_ptr(), about.as_mut_ptr()) == 0 && about.assume_init().f_flag & libc::ST_RDONLY != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Forks; what `work` answers is the child's exit status.
    fn in_child(work: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child touches atomics and the allocator, which glibc keeps usable, and ends without
        // destructors.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(work());
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
        }
    }

    fn cause() -> i32 {
        match Process::current() {
            Ok(process) => i32::from(!process.is_this()),
            Err(e) if e.cause() == Cause::ForkedWhileBusy => 2,
            Err(_) => 3,
        }
    }

    /// One test, because the gate is the whole process's.
    #[test]
    fn a_fork_waits_for_who_is_inside_but_not_for_ever() {
        let parent = Process::current().unwrap();
        let started = Instant::now();
        for _ in 0..1_000_000 {
            inside(|| ());
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{:?} a million", started.elapsed());

        assert_eq!(in_child(|| if parent.is_this() { 1 } else { cause() }), 0);
        assert_eq!(in_child(|| in_child(cause)), 0);

        let busy_for = |time| {
            let (ready, is_ready) = mpsc::channel();
            let thread = thread::spawn(move || {
                inside(|| {
                    ready.send(()).unwrap();
                    thread::sleep(time);
                });
            });
            is_ready.recv().unwrap();
            thread
        };
        let thread = busy_for(Duration::from_millis(200));
        let started = Instant::now();
        assert_eq!(in_child(cause), 0);
        assert!(started.elapsed() >= Duration::from_millis(150));
        thread.join().unwrap();

        let thread = busy_for(Duration::from_millis(2500));
        let started = Instant::now();
        assert_eq!(in_child(cause), 2);
        assert_eq!(in_child(|| in_child(cause)), 2, "a grandchild inherits what its parent cannot use");
        assert!(started.elapsed() < Duration::from_millis(2450));
        thread.join().unwrap();

        // A fork by the thread that is inside does not wait for itself.
        let started = Instant::now();
        assert_eq!(inside(|| in_child(cause)), 2);
        assert!(started.elapsed() < PATIENCE / 2);

        // A child made by the bare system call: the handlers did not run, nothing may be used.
        // SAFETY: as in `in_child`, and what the child runs does not allocate.
        unsafe {
            let pid = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t;
            if pid == 0 {
                libc::_exit(cause() + 4 * i32::from(parent.is_this()));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 2));
        }

        // Nothing is left of all this in the parent.
        assert_eq!(in_child(cause), 0);
        assert!(parent.is_this());
    }
}

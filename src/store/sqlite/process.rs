//! SQLite and the process around it: the one file that makes the two agree.
//!
//! SQLite keeps mutexes, a heap and a table of open files per process, and takes locks that belong to the
//! process. A forked child inherits the former as they were at that instant, and none of the latter; and
//! a second SQLite in the process, such as a second copy of this module, does not know what the first has
//! locked: it would cut the log's index from under it, and drop its locks whenever it closed the file. Four
//! things make all that harmless:
//!
//! 1. The gate. Every call into SQLite happens inside it ([`Salt::on`]), so that a child inherits no mutex
//!    that is held by a thread it does not have.
//! 2. Locks of the open file. SQLite's `fcntl` is replaced by one that locks for the open file and not for
//!    the process (`F_OFD_SETLK`): such locks hold against everybody else, whoever they are, and end when
//!    that file is closed and no sooner.
//! 3. Salted inodes. SQLite recognises a file that it has open already by device and inode, to share its
//!    locks between its connections. Its `fstat` and `stat` are replaced by ones that alter the inode number
//!    differently for each connection, so that each has its own locks, as if it were alone in its process,
//!    and a child never meets an entry of its parent's.
//! 4. [`Process`]: each connection remembers which process opened it. In any other it is neither used
//!    nor closed, but forgotten. Its files are closed in a child at the fork: the child has them from its
//!    parent together with their locks, which would else outlive a parent that is killed.
#![allow(unsafe_code)]

use crate::error::{Cause, Result};
use crate::host::gate::inside;
use crate::host::{fork, gate};
use rusqlite::{Connection, ffi};
use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, mem, ptr, thread};

/// How long a thread waits for another that sets SQLite up.
const PATIENCE: Duration = gate::PATIENCE;

/// Whether this process was forked while SQLite was being set up.
static DIRTY: AtomicBool = AtomicBool::new(false);
/// What the last connection's salt was made of. A child goes on counting where its parent was.
static SALTS: AtomicU64 = AtomicU64::new(0);
/// The files that SQLite has open: by their number, what [`identity`] says of each. What lies beyond is
/// inherited by children.
static OPEN: [AtomicU64; 4096] = [const { AtomicU64::new(0) }; 4096];
/// Whether the handlers and system calls are in place: 0 no, 1 under way, 2 yes.
static SETUP: AtomicU8 = AtomicU8::new(0);
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

static HANDLERS: fork::Handlers = fork::Handlers { prepare: || (), parent: || (), child };

fn child() {
    if SETUP.load(Ordering::SeqCst) == 1 {
        DIRTY.store(true, Ordering::SeqCst);
    }
    for (number, place) in OPEN.iter().enumerate() {
        // Nearly all are 0, and are not written: the child would have pages of its own for it.
        let noted = place.load(Ordering::SeqCst);
        if noted == 0 {
            continue;
        }
        place.store(0, Ordering::SeqCst);
        // A host that has closed what it does not know, as daemons do, may have given the number to a
        // file of its own.
        if identity(number as c_int) == noted {
            // SAFETY: a file of SQLite's, which in this process nobody uses any more.
            unsafe { libc::close(number as c_int) };
        }
    }
}

thread_local! {
    /// What inode numbers are altered by in this thread at this moment. Constant initialiser and no
    /// destructor: usable at any time in a thread's life.
    static SALT: Cell<u64> = const { Cell::new(0) };
    /// What went wrong in this call into SQLite that SQLite does not tell.
    static UNTOLD: Cell<Untold> = const { Cell::new(Untold::NOTHING) };
}

/// What the system refused to SQLite, and SQLite made something else of.
#[derive(Clone, Copy)]
pub(super) struct Untold {
    /// Whether a lock could not be given back. SQLite takes no notice where it is done with it all the same; neither it
    /// nor others would get it again until the file is closed.
    pub(super) unlock_failed: bool,
    /// The error number of a read that failed, which to SQLite may be damage; 0 if none did.
    pub(super) reading: i32,
    /// The same of opening for writing. SQLite then opens for reading, whatever the reason.
    pub(super) opening: i32,
}

impl Untold {
    const NOTHING: Self = Self { unlock_failed: false, reading: 0, opening: 0 };

    /// What happened in this call so far.
    pub(super) fn now() -> Self {
        UNTOLD.get()
    }

    fn note(change: impl FnOnce(&mut Self)) {
        let mut untold = UNTOLD.get();
        change(&mut untold);
        UNTOLD.set(untold);
    }
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// What makes the inode numbers that one connection sees its own.
#[derive(Clone, Copy)]
pub(super) struct Salt(u64);

impl Salt {
    /// One that no other connection has, in this process or in its ancestors.
    pub(super) fn new() -> Self {
        // An odd factor: no two are the same.
        Self(SALTS.fetch_add(1, Ordering::SeqCst).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Runs `work` on the connection, and on no other, inside the gate.
    pub(super) fn on<T>(self, work: impl FnOnce() -> T) -> T {
        inside(|| {
            let before = SALT.replace(self.0);
            UNTOLD.set(Untold::NOTHING);
            let result = work();
            SALT.set(before);
            result
        })
    }
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
                let done = fork::at_fork(&HANDLERS) && replace_system_calls();
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
use libc::{F_GETLK, F_SETLK, flock as Flock, fstat as system_fstat, stat as Stat, stat as system_stat};
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
use libc::{flock64 as Flock, fstat64 as system_fstat, stat64 as Stat, stat64 as system_stat};
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
const F_GETLK: c_int = 12;
#[cfg(all(target_pointer_width = "32", target_env = "gnu"))]
const F_SETLK: c_int = 13;

unsafe extern "C" fn salted_fstat(file: c_int, out: *mut Stat) -> c_int {
    // SAFETY: SQLite passes a pointer to a `struct stat` of its own, as to fstat(2).
    unsafe {
        let result = system_fstat(file, out);
        if result == 0 {
            (*out).st_ino ^= SALT.get() as libc::ino_t;
        }
        result
    }
}

unsafe extern "C" fn salted_stat(path: *const c_char, out: *mut Stat) -> c_int {
    // SAFETY: SQLite passes a C string and a pointer to a `struct stat` of its own, as to stat(2).
    unsafe {
        let result = system_stat(path, out);
        if result == 0 {
            (*out).st_ino ^= SALT.get() as libc::ino_t;
        }
        result
    }
}

/// SQLite calls this as a function of variable arguments, and always with three. In the C ABIs of Linux
/// they come as they do here.
unsafe extern "C" fn fcntl_of_open_file(file: c_int, command: c_int, argument: *mut c_void) -> c_int {
    let command = match command {
        F_GETLK => libc::F_OFD_GETLK,
        F_SETLK => libc::F_OFD_SETLK,
        // No other is about locks: SQLite is built without SETLK_TIMEOUT, and waits for nothing.
        // SAFETY: SQLite's own call, passed on.
        other => return unsafe { libc::fcntl(file, other, argument) },
    };
    // SAFETY: with these commands SQLite passes a `struct flock` of its own. A lock of an open file has no
    // process.
    unsafe {
        let lock = argument.cast::<Flock>();
        (*lock).l_pid = 0;
        let mut result = libc::fcntl(file, command, argument);
        // SQLite repeats all other calls itself.
        while result != 0 && last_errno() == libc::EINTR {
            result = libc::fcntl(file, command, argument);
        }
        if result != 0 && command == libc::F_OFD_SETLK && c_int::from((*lock).l_type) == libc::F_UNLCK {
            Untold::note(|untold| untold.unlock_failed = true);
        }
        result
    }
}

/// What tells an open file from others that may come to have its number; never 0 for a file that is open.
fn identity(file: c_int) -> u64 {
    let mut about = mem::MaybeUninit::<Stat>::zeroed();
    // SAFETY: `about` is only read when fstat has filled it.
    unsafe {
        if system_fstat(file, about.as_mut_ptr()) != 0 {
            return 0;
        }
        let about = about.assume_init();
        (about.st_ino ^ about.st_dev.rotate_left(32)) | 1 << 63
    }
}

/// The place of a file in [`OPEN`]. Standard descriptors that SQLite fills up have none: a child keeps those.
fn place(file: c_int) -> Option<&'static AtomicU64> {
    OPEN.get(usize::try_from(file).ok().filter(|number| *number > 2)?)
}

unsafe extern "C" fn noted_open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: SQLite's own call, passed on.
    let file = unsafe { libc::open(path, flags, mode as libc::mode_t) };
    if file < 0 && flags & libc::O_ACCMODE == libc::O_RDWR {
        let errno = last_errno();
        if errno != libc::EINTR {
            Untold::note(|untold| untold.opening = errno);
        }
    }
    if let Some(place) = place(file) {
        place.store(identity(file), Ordering::SeqCst);
    }
    file
}

unsafe extern "C" fn noted_pread(file: c_int, out: *mut c_void, len: usize, offset: libc::off64_t) -> isize {
    // SAFETY: SQLite's own call, passed on. It has 64-bit offsets, see above.
    let read = unsafe { libc::pread64(file, out, len, offset) };
    if read < 0 {
        let errno = last_errno();
        Untold::note(|untold| untold.reading = errno);
    }
    read
}

unsafe extern "C" fn noted_close(file: c_int) -> c_int {
    // Before it is closed: the number may be somebody else's at once.
    if let Some(place) = place(file) {
        place.store(0, Ordering::SeqCst);
    }
    // SAFETY: SQLite's own call, passed on.
    unsafe { libc::close(file) }
}

/// Has SQLite's file layer call the functions above. SQLite is linked into this library and hidden, so no
/// other user of SQLite in the process is concerned.
fn replace_system_calls() -> bool {
    type SystemCall = unsafe extern "C" fn();
    type OnStat<T> = unsafe extern "C" fn(T, *mut Stat) -> c_int;
    // SAFETY: SQLite's default VFS lives as long as the process. The names are C strings, and SQLite
    // casts each pointer back to the type that it has here, but for `fcntl` (see there), before it calls it.
    unsafe {
        type OnRead = unsafe extern "C" fn(c_int, *mut c_void, usize, libc::off64_t) -> isize;
        let calls: [(&CStr, SystemCall); 7] = [
            (c"pread", mem::transmute::<OnRead, SystemCall>(noted_pread)),
            (c"pread64", mem::transmute::<OnRead, SystemCall>(noted_pread)),
            (c"fstat", mem::transmute::<OnStat<c_int>, SystemCall>(salted_fstat)),
            (c"stat", mem::transmute::<OnStat<*const c_char>, SystemCall>(salted_stat)),
            (
                c"fcntl",
                mem::transmute::<unsafe extern "C" fn(c_int, c_int, *mut c_void) -> c_int, SystemCall>(
                    fcntl_of_open_file,
                ),
            ),
            (
                c"open",
                mem::transmute::<unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int, SystemCall>(noted_open),
            ),
            (c"close", mem::transmute::<unsafe extern "C" fn(c_int) -> c_int, SystemCall>(noted_close)),
        ];
        let vfs = ffi::sqlite3_vfs_find(ptr::null());
        let Some(set) = vfs.as_ref().and_then(|vfs| vfs.xSetSystemCall) else { return false };
        calls.into_iter().all(|(name, call)| set(vfs, name.as_ptr(), Some(call)) == ffi::SQLITE_OK)
    }
}

/// The path without symbolic links in it.
///
/// Not by the standard library, which has libc allocate the answer and frees it itself: in a host with an
/// allocator of its own that loads this module with `RTLD_DEEPBIND`, the two are not the same allocator's.
pub(super) fn real_path(path: &Path) -> io::Result<PathBuf> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut real = [0; libc::PATH_MAX as usize];
    // SAFETY: the path is a C string and `real` has the room that realpath(3) asks for.
    unsafe {
        if libc::realpath(path.as_ptr(), real.as_mut_ptr()).is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(OsStr::from_bytes(CStr::from_ptr(real.as_ptr()).to_bytes()).into())
    }
}

/// The operating system's error number behind the last failure of `connection`; 0 if there is none.
pub(super) fn system_errno(connection: &Connection) -> i32 {
    // SAFETY: the handle is open as long as the connection is borrowed.
    unsafe { ffi::sqlite3_system_errno(connection.handle()) }
}

/// Makes an empty file that only its owner can read, unless there is one, without opening it.
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

//! Where lines go.

use crate::host::ownership;
use crate::host::signals::without_sigpipe;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Where syslogd and journald listen.
pub(super) const SYSLOG_SOCKET: &str = "/dev/log";

const NONE: RawFd = -1;

/// A file that lines are appended to.
///
/// It stays open: a server that gave up its rights, or changed its root, could not open it again. Hosts
/// that daemonise close descriptors that are not theirs and get the numbers back for sockets; so each
/// write first looks whether the number still means the file. The parts are separate atomics: a write
/// that runs into a change of the settings sees parts that do not fit together and drops its line.
pub(super) struct Sink {
    fd: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
    path: AtomicU64,
}

impl Sink {
    pub(super) const fn new() -> Self {
        Self { fd: AtomicI32::new(NONE), device: AtomicU64::new(0), inode: AtomicU64::new(0), path: AtomicU64::new(0) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.fd.load(Ordering::Acquire) != NONE
    }

    /// Opens `path`, or keeps what is open if it is the same path and cannot be opened any more.
    pub(super) fn open(&self, path: &Path) -> io::Result<()> {
        let hash = hash(path);
        let opened = open(path).and_then(above_standard);
        let file = match opened {
            Err(_) if self.path.load(Ordering::Acquire) == hash && self.current().is_some() => return Ok(()),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        match self.current() {
            // The number stays: another thread may be about to write to it.
            // SAFETY: both are open descriptors of ours; dup3 replaces the old one in one step.
            Some(old) if unsafe { libc::dup3(file.as_raw_fd(), old, libc::O_CLOEXEC) } == old => {}
            _ => self.fd.store(file.into_raw_fd(), Ordering::Release),
        }
        self.device.store(metadata.dev(), Ordering::Release);
        self.inode.store(metadata.ino(), Ordering::Release);
        self.path.store(hash, Ordering::Release);
        Ok(())
    }

    /// Writes nothing from now on. The descriptor is only forgotten: closing it could close, between
    /// another thread's look and its write, what that thread is about to write to.
    pub(super) fn close(&self) {
        self.fd.store(NONE, Ordering::Release);
        self.path.store(0, Ordering::Release);
    }

    /// Appends `line` in one piece. Whether it was written.
    pub(super) fn write(&self, line: &[u8]) -> bool {
        self.current().is_some_and(|fd| write(fd, line))
    }

    /// The descriptor, if it is still that of the file.
    fn current(&self) -> Option<RawFd> {
        let fd = self.fd.load(Ordering::Acquire);
        if fd == NONE {
            return None;
        }
        // SAFETY: an all-zero stat is valid, and fstat fills it for any number; a number that is not open
        // is an error.
        let stat = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::fstat(fd, &mut stat) != 0 {
                return None;
            }
            stat
        };
        let same =
            stat.st_dev == self.device.load(Ordering::Acquire) && stat.st_ino == self.inode.load(Ordering::Acquire);
        same.then_some(fd)
    }
}

/// Opens or makes a file. Links that people make for themselves are followed; one that somebody else left in
/// a directory that everybody can write to would have us write into any file of ours.
fn open(path: &Path) -> io::Result<File> {
    let open = |more| {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | more;
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)
    };
    match open(libc::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => match ownership::objection_to_link(path)? {
            None => open(0),
            Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        },
        opened => opened,
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish().max(1)
}

/// Moves a file away from the numbers 0 to 2: in a host that closed them our log would become its
/// standard output.
fn above_standard(file: File) -> io::Result<File> {
    if file.as_raw_fd() > 2 {
        return Ok(file);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes the least number it may use and gives a new descriptor.
    let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fcntl has just made it, and nobody else knows it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Writes to standard error. If it is closed, the line is lost. If the host has opened something else
/// under its number, that cannot be known, except that a network socket is never a place for a log.
pub(super) fn stderr(line: &[u8]) {
    if !is_network(libc::STDERR_FILENO) {
        write(libc::STDERR_FILENO, line);
    }
}

fn is_network(fd: RawFd) -> bool {
    let mut domain: libc::c_int = 0;
    let mut len = size_of_val(&domain) as libc::socklen_t;
    // SAFETY: getsockopt writes at most `len` bytes to `domain`; on what is no socket it fails.
    let found = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut domain).cast(), &mut len) };
    // journald is a Unix socket.
    found == 0 && domain != libc::AF_UNIX
}

fn write(fd: RawFd, line: &[u8]) -> bool {
    // A reader of standard error that went away must not cost the host its life.
    without_sigpipe(|| {
        loop {
            // SAFETY: the slice is valid for its length; a closed descriptor is an error, not a fault.
            let written = unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
            if written >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                return usize::try_from(written) == Ok(line.len());
            }
        }
    })
}

/// Sends a line to syslog, without waiting for it.
///
/// Not with `syslog(3)`: it holds a lock that a fork can leave locked for ever, it waits for a syslogd
/// that does not read, and it puts the host's name and facility on our lines or ours on the host's.
pub(super) fn syslog(socket: &Path, severity: libc::c_int, text: &str) {
    let line = format!("<{}>{text}", libc::LOG_USER | severity);
    let send = || -> io::Result<usize> {
        let from = UnixDatagram::unbound()?;
        from.set_nonblocking(true)?;
        from.send_to(line.as_bytes(), socket)
    };
    // Nobody listens in many containers; there is nothing to be done about it.
    let _ = send();
}

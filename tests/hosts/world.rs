//! What only root can do to the world of a host before it starts: other mounts, another user, no network.

use crate::host::library;
use std::ffi::CString;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that owns nothing.
pub(crate) const NOBODY: u32 = 65534;

/// Whether this process may do all that. If not, says so.
pub(crate) fn may_change(test: &str) -> bool {
    // SAFETY: geteuid has no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        eprintln!("SKIPPED {test}: only root can do what it needs");
    }
    is_root
}

/// What becomes of a process between fork and exec.
#[derive(Clone, Default)]
pub(crate) struct World {
    /// What is seen where: (a folder, the place where it appears).
    pub(crate) mounts: Vec<(PathBuf, PathBuf)>,
    /// What can only be read from then on.
    pub(crate) read_only: Vec<PathBuf>,
    /// A network with nothing in it.
    pub(crate) no_network: bool,
    /// Somebody else.
    pub(crate) user: Option<u32>,
}

impl World {
    /// Has `command` start in it.
    pub(crate) fn around(&self, command: &mut Command) {
        let text = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
        let mounts: Vec<_> = self.mounts.iter().map(|(from, to)| (text(from), text(to))).collect();
        let read_only: Vec<_> = self.read_only.iter().map(|path| text(path)).collect();
        let (no_network, user) = (self.no_network, self.user);
        let check = |result: i32| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        let change = move || {
            let nothing = std::ptr::null();
            // SAFETY: system calls on strings that live as long as this closure; nothing is allocated.
            unsafe {
                check(libc::unshare(libc::CLONE_NEWNS | if no_network { libc::CLONE_NEWNET } else { 0 }))?;
                check(libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    nothing,
                    libc::MS_REC | libc::MS_PRIVATE,
                    nothing.cast(),
                ))?;
                for (from, to) in &mounts {
                    check(libc::mount(from.as_ptr(), to.as_ptr(), nothing, libc::MS_BIND, nothing.cast()))?;
                }
                for path in &read_only {
                    check(libc::mount(
                        path.as_ptr(),
                        path.as_ptr(),
                        nothing,
                        libc::MS_BIND | libc::MS_REC,
                        nothing.cast(),
                    ))?;
                    let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
                    check(libc::mount(nothing, path.as_ptr(), nothing, flags, nothing.cast()))?;
                }
                if let Some(user) = user {
                    check(libc::setgroups(0, std::ptr::null()))?;
                    check(libc::setgid(user))?;
                    check(libc::setuid(user))?;
                }
            }
            Ok(())
        };
        // SAFETY: the closure does system calls only.
        unsafe { command.pre_exec(change) };
    }
}

/// A copy of the module that everybody can read.
pub(crate) fn public_module(folder: &Path) -> PathBuf {
    let copy = folder.join("module.so");
    std::fs::copy(library(), &copy).unwrap();
    set_mode(&copy, 0o755);
    copy
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a folder and all in it to `user`, for everybody to read.
pub(crate) fn give(folder: &Path, user: u32) {
    set_mode(folder, 0o755);
    chown(folder, Some(user), Some(user)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        chown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
    }
}

/// Copies a folder of files to the same path below another root.
pub(crate) fn copy_below(root: &Path, folder: &Path) {
    let there = root.join(folder.strip_prefix("/").unwrap());
    std::fs::create_dir_all(&there).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, there.join(file.file_name().unwrap())).unwrap();
    }
}

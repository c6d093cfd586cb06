//! File systems of a test's own.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::path::Path;
use std::process::{Command, Stdio};

/// A file system of our own; `None` where we may not mount one.
pub(crate) fn mounted(size: &str) -> Option<Mounted> {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(directory.path())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success()).then_some(Mounted(directory))
}

pub(crate) struct Mounted(tempfile::TempDir);

impl Mounted {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, how: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

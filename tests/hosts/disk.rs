//! A disk that fails under one process, as it is told: `disk.c`, preloaded.

use super::compile_library;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Kinds of calls.
pub(crate) const OPEN: u32 = 1;
pub(crate) const READ: u32 = 2;
pub(crate) const WRITE: u32 = 4;
pub(crate) const SYNC: u32 = 8;
pub(crate) const LOCK: u32 = 16;
pub(crate) const MAP: u32 = 32;
pub(crate) const NAME: u32 = 64;
pub(crate) const LOOK: u32 = 128;
pub(crate) const CLOSE: u32 = 256;
pub(crate) const ALL: u32 = 511;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which calls are counted.
    pub(crate) kinds: u32,
    /// The first that fails, counted from 1; 0 if none does.
    pub(crate) at: u32,
    /// How many fail from then on.
    pub(crate) times: u32,
    /// How: an `errno`, or 0 if half of what was asked for is read or written.
    pub(crate) error: i32,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// How many calls there were of each kind, by its bit.
    pub(crate) of_kind: [u32; 9],
    /// How many of them failed.
    pub(crate) failed: u32,
    /// The first of these: the function and the file.
    pub(crate) what: String,
}

impl Report {
    /// How many calls there were of these kinds.
    pub(crate) fn counted(&self, kinds: u32) -> u32 {
        (0..9).filter(|bit| kinds & 1 << bit != 0).map(|bit| self.of_kind[bit]).sum()
    }
}

/// The disk below one folder, as one process sees it.
pub(crate) struct Disk {
    folder: PathBuf,
    orders: PathBuf,
    control: File,
    log: Option<PathBuf>,
}

impl Disk {
    /// `folder` need not be there; `orders` is a file that is made. What is written is recorded in `log`.
    pub(crate) fn new(folder: &Path, orders: &Path, log: Option<&Path>) -> Self {
        let control = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(orders).unwrap();
        control.set_len(256).unwrap();
        if let Some(log) = log {
            OpenOptions::new().append(true).create(true).open(log).unwrap();
        }
        Self { folder: folder.to_owned(), orders: orders.to_owned(), control, log: log.map(Path::to_owned) }
    }

    /// Has a process use it.
    pub(crate) fn under(&self, command: &mut Command) {
        static PRELOAD: OnceLock<PathBuf> = OnceLock::new();
        command
            .env("LD_PRELOAD", PRELOAD.get_or_init(|| compile_library("disk")))
            .env("FAULTS_FOLDER", &self.folder)
            .env("FAULTS_CONTROL", &self.orders);
        if let Some(log) = &self.log {
            command.env("FAULTS_LOG", log);
        }
    }

    /// Begins to count, and to fail.
    pub(crate) fn arm(&self, fault: Fault) {
        let Fault { kinds, at, times, error } = fault;
        let last = if at == 0 { 0 } else { at.saturating_add(times - 1) };
        let mut orders = [0; 256];
        // Whatever calls there are when none is to fail, none has the number 0.
        for (place, value) in orders.chunks_mut(4).zip([1, kinds, at, last, error as u32]) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        self.control.write_all_at(&orders, 0).unwrap();
    }

    /// All is well from now on.
    pub(crate) fn disarm(&self) -> Report {
        let mut orders = [0; 256];
        self.control.read_exact_at(&mut orders, 0).unwrap();
        self.control.write_all_at(&[0; 4], 0).unwrap();
        let number = |at: usize| u32::from_ne_bytes(orders[at..at + 4].try_into().unwrap());
        let what = orders[64..].split(|byte| *byte == 0).next().unwrap();
        let of_kind = std::array::from_fn(|bit| number(28 + 4 * bit));
        Report { of_kind, failed: number(24), what: String::from_utf8_lossy(what).into_owned() }
    }
}

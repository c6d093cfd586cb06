//! What a client notes of each operation, before it begins and after it ended: lines of words in a file of its own, each
//! written at once, so that of a client that is killed the last operation is one that perhaps happened.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock that all processes of a machine share, in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The clock on the wall, in seconds, which jumps.
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

pub(crate) struct Log {
    file: File,
    number: u64,
}

impl Log {
    pub(crate) fn new(path: &Path) -> Self {
        Self { file: OpenOptions::new().create_new(true).append(true).open(path).unwrap(), number: 0 }
    }

    /// Notes that an operation begins.
    pub(crate) fn begins(&mut self, what: &str) {
        self.number += 1;
        let line = format!("I {} {} {} {what}\n", self.number, now(), wall());
        self.file.write_all(line.as_bytes()).unwrap();
    }

    /// Notes what came of it at this time.
    pub(crate) fn ended(&mut self, at: u64, what: &str) {
        let line = format!("R {} {at} {what}\n", self.number);
        self.file.write_all(line.as_bytes()).unwrap();
    }
}

/// One operation as it was noted.
pub(crate) struct Noted {
    pub(crate) number: u64,
    pub(crate) from: u64,
    /// What the wall clock of its process said then, in seconds.
    pub(crate) wall: u64,
    pub(crate) what: Vec<String>,
    /// When it was over, and what came of it.
    pub(crate) end: Option<(u64, Vec<String>)>,
}

/// Reads a client's file.
pub(crate) fn read(path: &Path) -> Vec<Noted> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut all: Vec<Noted> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let number = words[1].parse().unwrap();
        let at = words[2].parse().unwrap();
        match words[0].as_str() {
            "I" => {
                let wall = words[3].parse().unwrap();
                all.push(Noted { number, from: at, wall, what: words[4..].to_vec(), end: None });
            }
            _ => {
                let last = all.last_mut().unwrap();
                assert!(last.number == number && last.end.is_none(), "{}: {line}", path.display());
                last.end = Some((at, words[3..].to_vec()));
            }
        }
    }
    all
}

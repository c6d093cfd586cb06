//! Looking for secrets in another process's memory.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How much of a secret is enough to be called a trace of it.
const WINDOW: usize = 16;

/// What a trace is a trace of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Needle {
    pub(crate) key: String,
    pub(crate) shape: String,
}

/// Secrets, as all their windows.
#[derive(Default)]
pub(crate) struct Needles {
    names: Vec<Needle>,
    /// From the first half of a window to (its other half, whose it is).
    windows: HashMap<u64, Vec<(u64, usize)>>,
    /// One bit for each value of the lowest 20 bits of a first half: most of memory is passed over by it.
    sieve: Vec<u64>,
}

const SIEVE_BITS: u32 = 20;

fn half(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn slot(first: u64) -> (usize, u64) {
    let index = (first & ((1 << SIEVE_BITS) - 1)) as usize;
    (index / 64, 1 << (index % 64))
}

impl Needles {
    /// Adds every window of `secret`.
    pub(crate) fn add(&mut self, name: Needle, secret: &[u8]) {
        assert!(secret.len() >= WINDOW, "{name:?}: too short");
        self.sieve.resize(1 << (SIEVE_BITS - 6), 0);
        for window in secret.windows(WINDOW) {
            // A run of zeros tells nothing; random windows have at least ten different bytes.
            let mut seen = window.to_vec();
            seen.sort_unstable();
            seen.dedup();
            if seen.len() < 9 {
                continue;
            }
            let (word, bit) = slot(half(window));
            self.sieve[word] |= bit;
            self.windows.entry(half(window)).or_default().push((half(&window[8..]), self.names.len()));
        }
        self.names.push(name);
    }

    fn search(&self, memory: &[u8], mut report: impl FnMut(usize, &Needle)) {
        for at in 0..memory.len().saturating_sub(WINDOW - 1) {
            let first = half(&memory[at..at + 8]);
            let (word, bit) = slot(first);
            if self.sieve[word] & bit == 0 {
                continue;
            }
            let Some(candidates) = self.windows.get(&first) else { continue };
            let second = half(&memory[at + 8..at + 16]);
            for (_, owner) in candidates.iter().filter(|(other, _)| *other == second) {
                report(at, &self.names[*owner]);
            }
        }
    }
}

/// A mapping of a process.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) name: String,
    /// As `smaps` has them: `lo` locked, `dd` not dumped, `wf` wiped on fork, …
    pub(crate) flags: Vec<String>,
}

impl Mapping {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|present| present == flag)
    }
}

/// All mappings of a process.
pub(crate) fn mappings(pid: u32) -> Vec<Mapping> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut all: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "VmFlags:" {
            all.last_mut().expect("a mapping first").flags = words.map(str::to_owned).collect();
        } else if let Some((from, to)) = first.split_once('-') {
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let name = words.nth(4).unwrap_or("anonymous").to_owned();
            all.push(Mapping { from: number(from), to: number(to), name, flags: Vec::new() });
        }
    }
    all
}

/// A trace of a secret: what, and in which mapping.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) needle: Needle,
    pub(crate) address: u64,
    pub(crate) mapping: Mapping,
}

/// Every trace of the secrets in all readable memory of a process. Fails if nothing could be read.
pub(crate) fn scan(pid: u32, needles: &Needles) -> Vec<Trace> {
    const PIECE: usize = 1 << 20;
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let (mut traces, mut read) = (Vec::new(), 0);
    let mut buffer = vec![0; PIECE + WINDOW - 1];
    for mapping in mappings(pid) {
        // What the kernel keeps to itself cannot be read, and holds nothing of the process's.
        if !mapping.has("rd") || mapping.name.starts_with("[v") {
            continue;
        }
        let mut at = mapping.from;
        while at < mapping.to {
            let wanted = (mapping.to - at).min(buffer.len() as u64) as usize;
            if let Err(error) = memory.read_exact_at(&mut buffer[..wanted], at) {
                // Other threads of this process give memory back meanwhile; a host stands still.
                assert_eq!(pid, std::process::id(), "{at:x} of {}: {error}", mapping.name);
                break;
            }
            read += wanted;
            needles.search(&buffer[..wanted], |offset, needle| {
                // What lies in the overlap is found again by the next piece.
                if offset < PIECE {
                    let address = at + offset as u64;
                    traces.push(Trace { needle: needle.clone(), address, mapping: mapping.clone() });
                }
            });
            at += PIECE as u64;
        }
    }
    assert!(read > 1 << 20, "only {read} bytes of memory were read");
    traces
}

/// Traces in a few lines: how many of what, where.
pub(crate) fn describe(traces: &[Trace]) -> String {
    let mut groups = BTreeMap::<_, Vec<u64>>::new();
    for trace in traces {
        let key = (&trace.needle, trace.mapping.name.as_str(), trace.mapping.from);
        groups.entry(key).or_default().push(trace.address);
    }
    let line = |((needle, name, from), at): (&(&Needle, &str, u64), &Vec<u64>)| {
        format!(
            "{}: {} windows of {} in {name} at {:#x} (+{:#x})",
            needle.key,
            at.len(),
            needle.shape,
            at[0],
            at[0] - from
        )
    };
    groups.iter().map(line).collect::<Vec<_>>().join("\n")
}

//! The lines of an audit log, added up by key.

use crate::store::ObjectId;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

/// No line of an audit log is longer.
const MAX_LINE: u64 = 4096;

/// A use of a key, as the module wrote it. What later versions may add is no concern here.
#[derive(Deserialize)]
struct Line {
    object: String,
    mechanism: String,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    request_id: String,
    result: String,
    #[serde(default)]
    device_error: u32,
    time: u64,
    #[serde(default)]
    pid: u32,
}

/// What became of a use: the operation, its result, and the device error (0 for none).
pub(super) type Kind = (String, String, u32);

/// A call of KMS that opened a key.
pub(super) struct Request {
    pub(super) id: String,
    pub(super) time: u64,
}

/// The uses of one key.
pub(super) struct Uses {
    pub(super) by_kind: BTreeMap<Kind, u64>,
    pub(super) cached: u64,
    /// In seconds since 1970 (UTC), as is `last`.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) requests: Vec<Request>,
    pub(super) processes: BTreeSet<u32>,
}

impl Uses {
    fn none_yet(time: u64) -> Self {
        let (by_kind, requests, processes) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { by_kind, cached: 0, first: time, last: time, requests, processes }
    }

    pub(super) fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }

    fn add(&mut self, line: Line) {
        let Line { mechanism, cached, request_id, result, device_error, time, pid, .. } = line;
        *self.by_kind.entry((mechanism, result, device_error)).or_default() += 1;
        self.cached += u64::from(cached);
        // Processes write in the order in which they end their work; and clocks are set.
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.processes.insert(pid);
        // A key in the cache was opened by the request that its first use tells of.
        if !cached && !request_id.is_empty() {
            self.requests.push(Request { id: request_id, time });
        }
    }
}

/// All that was read.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) keys: BTreeMap<ObjectId, Uses>,
    /// Lines that are none of an audit log.
    pub(super) broken: u64,
}

impl Tally {
    /// Adds the lines of one log, of uses at `since` or later, in seconds since 1970.
    pub(super) fn read(&mut self, log: &mut impl BufRead, since: u64) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                log.skip_until(b'\n')?;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let parsed = serde_json::from_slice::<Line>(&line).ok();
            match parsed.and_then(|line| Some((line.object.parse::<ObjectId>().ok()?, line))) {
                Some((key, line)) if line.time >= since => {
                    self.keys.entry(key).or_insert_with(|| Uses::none_yet(line.time)).add(line);
                }
                Some(_) => {}
                None => self.broken += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "30313233-3435-3637-3839-616263646566";

    fn line(cached: bool, request: &str, time: u64) -> String {
        format!(
            "{{\"object\":\"{KEY}\",\"mechanism\":\"CKM_ECDSA\",\"cached\":{cached},\"request_id\":\"{request}\",\
             \"microseconds\":7,\"result\":\"CKR_OK\",\"device_error\":0,\"time\":{time},\"pid\":4242}}\n"
        )
    }

    fn read(text: &str, since: u64) -> Tally {
        let mut tally = Tally::default();
        tally.read(&mut text.as_bytes(), since).unwrap();
        tally
    }

    #[test]
    fn uses_are_added_up() {
        let text = [line(false, "abc", 20), line(true, "abc", 10), line(false, "", 30)].concat();
        let tally = read(&text, 0);
        let uses = &tally.keys[&KEY.parse().unwrap()];
        assert_eq!((uses.count(), uses.cached, uses.first, uses.last), (3, 1, 10, 30));
        assert_eq!(uses.requests.iter().map(|request| &*request.id).collect::<Vec<_>>(), ["abc"]);
        assert_eq!(uses.processes, BTreeSet::from([4242]));
        assert_eq!(read(&text, 20).keys.values().map(Uses::count).sum::<u64>(), 2);
        assert!(read(&text, 31).keys.is_empty());
    }

    #[test]
    fn broken_lines_are_counted_and_end_nothing() {
        let good = line(true, "", 1);
        let long = format!("{{\"object\":\"{}", "x".repeat(3 * MAX_LINE as usize));
        let cut = &good[..good.len() / 2];
        let other = good.replace(KEY, "nobody");
        let text = format!("{good}{long}\n\n{cut}\n{other}[1]\n\u{0}\n{good}{cut}");
        let tally = read(&text, 0);
        assert_eq!((tally.broken, tally.keys.values().map(Uses::count).sum::<u64>()), (6, 2));
        // A line without its end is one all the same: the file may just be growing.
        assert_eq!(read(good.trim_end(), 0).keys.len(), 1);
        let mut bytes = Tally::default();
        bytes.read(&mut &b"\xff\xfe\n"[..], 0).unwrap();
        assert_eq!(bytes.broken, 1);
    }
}

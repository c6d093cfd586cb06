//! What all clients noted, object by object, and what the checker says of it.

use super::checker::{Operation, Verdict, check};
use super::client::PINS;
use super::log::{Noted, read};
use super::models::{Act, Object, Pin, Try};
use datakey::error::Cause;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// How old what `C_GetAttributeValue` and `C_GetTokenInfo` go by may be (docs/stores.md), in nanoseconds.
const OLDEST: u64 = 1_000_000_000;
/// How old what `C_SignInit` goes by may be: `max_age`, while the store does not answer.
pub(crate) const OLDEST_KEY: u64 = 3_000_000_000;
/// The errors of a store that was cut off, was busy, or lost a race.
const EXPECTED: [Cause; 5] =
    [Cause::StoreBusy, Cause::StoreConflict, Cause::StoreUnreachable, Cause::StoreThrottled, Cause::StoreInDoubt];
/// Searches count as those of clients of their own, with numbers from here on.
const SEARCHES: usize = 1_000_000;
/// A wall clock that is so many seconds ahead of the other was moved.
const JUMP: i64 = 30;

#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) histories: u64,
    pub(crate) operations: BTreeMap<String, u64>,
    /// What was answered: `ok`, `gone`, `no`, `unknown`, …; `killed` where nothing was.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Errors by return value and device error.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) jumps: u64,
    /// What no order of things explains.
    pub(crate) violations: Vec<String>,
    /// Errors that nothing here brings about, and what was not decided.
    pub(crate) surprises: Vec<String>,
}

/// One object's operations, and of which kind it is.
#[derive(Default)]
struct Life {
    kind: String,
    born: Option<u64>,
    dead: Option<u64>,
    operations: Vec<Operation<Act>>,
}

/// A search that found its end.
struct Search {
    client: usize,
    number: u64,
    from: u64,
    to: u64,
    kind: String,
    label: Option<u32>,
    found: HashSet<String>,
    /// Whether all that it found is known by name.
    whole: bool,
}

#[derive(Default)]
struct Reader {
    lives: BTreeMap<String, Life>,
    searches: Vec<Search>,
    pin: Vec<Operation<Try>>,
    values: HashMap<String, u32>,
    findings: Findings,
}

/// Reads what the clients of a run left in its folder, and checks it. The PIN locks after `most` wrong tries.
pub(crate) fn judge(folder: &Path, most: u32) -> Findings {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let mut reader = Reader::default();
    for (client, path) in files.iter().enumerate() {
        let all = read(path);
        let apart = |noted: &Noted| noted.wall as i64 - (noted.from / 1_000_000_000) as i64;
        let moved = all.windows(2).filter(|two| (apart(&two[1]) - apart(&two[0])).abs() > JUMP).count();
        reader.findings.jumps += moved as u64;
        all.iter().for_each(|noted| reader.note(client, noted));
    }
    reader.finish(most)
}

impl Reader {
    fn value(&mut self, text: &str) -> u32 {
        let next = self.values.len() as u32;
        *self.values.entry(text.to_owned()).or_insert(next)
    }

    fn note(&mut self, client: usize, noted: &Noted) {
        let what: Vec<&str> = noted.what.iter().map(String::as_str).collect();
        let end: Vec<&str> = noted.end.iter().flat_map(|(_, words)| words).map(String::as_str).collect();
        *self.findings.operations.entry(what[0].to_owned()).or_default() += 1;
        let outcome = end.first().copied().unwrap_or("killed");
        *self.findings.outcomes.entry(outcome.to_owned()).or_default() += 1;
        if matches!(outcome, "no" | "unknown") {
            *self.findings.errors.entry(end[1..].join(" ")).or_default() += 1;
            // C_GetTokenInfo has no session that would tell more.
            if !EXPECTED.iter().any(|cause| format!("{:#x}", cause.device_error()) == end[2]) && what[0] != "flags" {
                self.findings.surprises.push(format!("{}: {}", what.join(" "), end.join(" ")));
            }
        }
        let to = noted.end.as_ref().map(|(at, _)| *at);
        let at = |from: u64, to: Option<u64>| (client, noted.number, from, to);
        let (now, perhaps) = (at(noted.from, to), at(noted.from, None));
        let [old, older] = [OLDEST, OLDEST_KEY].map(|oldest| at(noted.from.saturating_sub(oldest), to));
        match (what.as_slice(), outcome) {
            (["find", kind, label], "ok") => self.search(now, kind, label, &end[1..]),
            (["create", tag, kind, label, second], _) => {
                let act = Act::Create { label: self.value(label), second: self.value(second) };
                let life = self.lives.entry((*tag).to_owned()).or_default();
                (life.kind, life.born) = ((*kind).to_owned(), Some(noted.from));
                self.change(tag, outcome, now, perhaps, act);
            }
            (["get", tag], "ok") => self.saw(tag, old, Some(end[1]), Some(end[2])),
            (["copy", tag], "ok") => self.saw(tag, now, Some(end[1]), Some(end[2])),
            (["sign", tag], "ok") => self.saw(tag, older, None, Some("may")),
            (["sign", tag], "refused") => self.saw(tag, older, None, Some("not")),
            (["get" | "copy" | "sign" | "set" | "destroy", tag, ..], "gone") => self.act(tag, now, Act::SawGone),
            (["set", tag, which, value], _) => {
                let value = self.value(value);
                let act = if *which == "label" { Act::Label(value) } else { Act::Second(value) };
                self.change(tag, outcome, now, perhaps, act);
            }
            (["destroy", tag], _) => {
                if outcome == "ok" {
                    self.lives.entry((*tag).to_owned()).or_default().dead = to;
                }
                self.change(tag, outcome, now, perhaps, Act::Destroy);
            }
            (["flags"], "ok") => {
                let [low, last, locked] = [1, 2, 3].map(|at| end[at] == "1");
                self.tried(old, Try::Flags { low, last, locked });
            }
            (["login", pin], _) => match outcome {
                "ok" => self.tried(now, Try::Right(number(pin))),
                "incorrect" => self.tried(now, Try::Wrong(number(pin))),
                "locked" => self.tried(now, Try::Locked),
                "no" => {}
                _ => self.tried(perhaps, Try::Perhaps(number(pin))),
            },
            (["change-pin", old, new], _) => {
                let (old, new) = (number(old), number(new));
                match outcome {
                    "ok" => self.tried(now, Try::Changed { old, new }),
                    "incorrect" => self.tried(now, Try::Wrong(old)),
                    "locked" => self.tried(now, Try::Locked),
                    "no" => self.tried(perhaps, Try::PerhapsRight(old)),
                    _ => self.tried(perhaps, Try::PerhapsChanged { old, new }),
                }
            }
            (["init-pin", pin], "ok") => self.tried(now, Try::Set(number(pin))),
            (["init-pin", pin], "unknown" | "killed") => self.tried(perhaps, Try::Set(number(pin))),
            (_, "no" | "unknown" | "killed") => {}
            _ => self.findings.surprises.push(format!("{}: {}", what.join(" "), end.join(" "))),
        }
    }

    fn search(&mut self, (client, number, from, to): Place, kind: &str, label: &str, tags: &[&str]) {
        // It asks the store, where a handle goes by what was read: so it says nothing of what its client reads later.
        let client = client + SEARCHES;
        let label = (label != "*").then(|| self.value(label));
        let found: HashSet<String> = tags.iter().map(|tag| (*tag).to_owned()).filter(|tag| tag != "?").collect();
        let strange = tags.iter().filter(|tag| **tag == "?").count();
        if found.len() + strange != tags.len() {
            self.findings.violations.push(format!("a search found one object twice: {}", tags.join(" ")));
        }
        for tag in &found {
            self.act(tag, (client, number, from, to), Act::Saw { label, second: None });
        }
        let to = to.expect("it ended");
        let kind = kind.to_owned();
        self.searches.push(Search { client, number, from, to, kind, label, found, whole: strange == 0 });
    }

    fn act(&mut self, tag: &str, (client, number, from, to): Place, action: Act) {
        let life = self.lives.entry(tag.to_owned()).or_default();
        if action == Act::SawGone {
            life.dead = life.dead.or(to);
        }
        life.operations.push(Operation { client, number, from, to, action });
    }

    fn saw(&mut self, tag: &str, place: Place, label: Option<&str>, second: Option<&str>) {
        let act = Act::Saw { label: label.map(|text| self.value(text)), second: second.map(|text| self.value(text)) };
        self.act(tag, place, act);
    }

    /// A change, as far as its outcome promises one: an error that does not leave it open promises that there was none.
    fn change(&mut self, tag: &str, outcome: &str, now: Place, perhaps: Place, act: Act) {
        match outcome {
            "ok" => self.act(tag, now, act),
            "unknown" | "killed" => self.act(tag, perhaps, act),
            "no" => {}
            other => self.findings.surprises.push(format!("{act:?} of {tag}: {other}")),
        }
    }

    fn tried(&mut self, (client, number, from, to): Place, action: Try) {
        self.pin.push(Operation { client, number, from, to, action });
    }

    fn finish(mut self, most: u32) -> Findings {
        self.add_misses();
        let Self { lives, pin, mut findings, .. } = self;
        for (tag, Life { operations, .. }) in lives {
            findings.settle(&format!("object {tag}"), check(&Object, &operations), &operations);
        }
        let model = Pin { first: number(PINS[0]), most };
        findings.settle("the PIN", check(&model, &pin), &pin);
        findings
    }

    /// Each search that did not find what there was, or may have been, saw something too. What was gone for certain is
    /// of no interest any more, and of what perhaps never was some looks are enough.
    fn add_misses(&mut self) {
        const ENOUGH: usize = 64;
        self.searches.retain(|search| search.whole);
        self.searches.sort_by_key(|search| search.from);
        let mut lives: Vec<_> = self.lives.iter_mut().filter(|(_, life)| life.born.is_some()).collect();
        lives.sort_by_key(|(_, life)| std::cmp::Reverse(life.born));
        let mut present: Vec<(&String, &mut Life, usize)> = Vec::new();
        for search in &self.searches {
            while lives.last().is_some_and(|(_, life)| life.born <= Some(search.to)) {
                present.extend(lives.pop().map(|(tag, life)| (tag, life, 0)));
            }
            present.retain(|(_, life, count)| life.dead.is_none_or(|dead| dead >= search.from) && *count < ENOUGH);
            for (tag, life, count) in &mut present {
                if life.kind != search.kind || search.found.contains(*tag) {
                    continue;
                }
                let Search { client, number, from, to, label, .. } = *search;
                life.operations.push(Operation { client, number, from, to: Some(to), action: Act::Missed { label } });
                *count += usize::from(label.is_none());
            }
        }
    }
}

type Place = (usize, u64, u64, Option<u64>);

/// The number of a PIN.
fn number(pin: &str) -> u32 {
    PINS.iter().position(|known| *known == pin).unwrap() as u32
}

impl Findings {
    fn settle<A: std::fmt::Debug>(&mut self, name: &str, verdict: Verdict, operations: &[Operation<A>]) {
        self.histories += 1;
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Undecided => self.surprises.push(format!("{name}: {} operations, undecided", operations.len())),
            Verdict::Violation(count, state) => {
                let mut rows: Vec<_> = operations.iter().collect();
                rows.sort_by_key(|operation| operation.from);
                let begin = rows.first().map_or(0, |first| first.from);
                let ms = |at: u64| (at.saturating_sub(begin)) as f64 / 1e6;
                let rows = rows.iter().map(|row| {
                    let to = row.to.map_or("?".to_owned(), |to| format!("{:.3}", ms(to)));
                    format!("  {:.3} to {to} ms, client {}: {:?}", ms(row.from), row.client, row.action)
                });
                let rows: Vec<_> = rows.collect();
                self.violations.push(format!("{name}: stuck after {count} in {state}\n{}", rows.join("\n")));
            }
        }
    }
}

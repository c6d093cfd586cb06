//! The disk under the store fails: each of the calls that an operation makes, one after the other, in every way. The
//! caller gets a success or a clear error, the process goes on when the disk is well again, nothing that was
//! acknowledged is lost and nothing is there by halves.
//!
//! The calls fail in a library that is preloaded (`hosts/disk.c`), between the module and libc. `make test` has a
//! sample of these fail; `DATAKEY_TEST_FAULTS=all` does all of it, and takes an hour
//! (`DATAKEY_TEST_OPERATION=C_Sign` does one operation).

mod host;
mod hosts;
#[path = "disk_faults/operations.rs"]
mod operations;
#[path = "disk_faults/places.rs"]
mod places;

use hosts::disk::{self, Disk, Fault, Report};
use hosts::{Host, OK, command, compile};
use operations::{OPERATIONS, Operation};
use places::{Base, PIN, Place};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A way to fail.
struct Way {
    name: &'static str,
    kinds: u32,
    error: i32,
    /// How many calls in a row.
    times: u32,
    /// What the caller may be told besides that all went well: the return value and the device error.
    answers: &'static [(u64, u64)],
    /// Of how many cases one is tried by `make test`.
    one_of: usize,
}

const UNAVAILABLE: (u64, u64) = (0x30, 0x301);
const BUSY: (u64, u64) = (0x06, 0x302);
const FULL: (u64, u64) = (0x31, 0x303);
const READ_ONLY: (u64, u64) = (0xe2, 0x304);
/// What makes a change durable failed, or the look whether it may stay. Nothing else may be found done.
const IN_DOUBT: (u64, u64) = (0x30, 0x30d);
const LASTING: u32 = u32::MAX;

const WAYS: &[Way] = &[
    Way {
        name: "EIO, lasting",
        kinds: disk::ALL,
        error: libc::EIO,
        times: LASTING,
        answers: &[UNAVAILABLE],
        one_of: 40,
    },
    Way { name: "EIO, once", kinds: disk::ALL, error: libc::EIO, times: 1, answers: &[UNAVAILABLE], one_of: 120 },
    Way {
        name: "ENOSPC, lasting",
        kinds: disk::WRITE | disk::NAME,
        error: libc::ENOSPC,
        times: LASTING,
        answers: &[FULL],
        one_of: 40,
    },
    Way {
        name: "ENOSPC, once",
        kinds: disk::WRITE | disk::NAME,
        error: libc::ENOSPC,
        times: 1,
        answers: &[FULL],
        one_of: 120,
    },
    Way {
        name: "half is read or written, once",
        kinds: disk::READ | disk::WRITE,
        error: 0,
        times: 1,
        answers: &[],
        one_of: 120,
    },
    Way {
        name: "half is read or written, lasting",
        kinds: disk::READ | disk::WRITE,
        error: 0,
        times: LASTING,
        answers: &[],
        one_of: 120,
    },
    Way {
        name: "EINTR, three times",
        kinds: disk::OPEN | disk::READ | disk::WRITE | disk::LOCK | disk::SYNC,
        error: libc::EINTR,
        times: 3,
        answers: &[UNAVAILABLE],
        one_of: 120,
    },
    Way {
        name: "EACCES, lasting",
        kinds: disk::OPEN | disk::NAME,
        error: libc::EACCES,
        times: LASTING,
        answers: &[UNAVAILABLE, READ_ONLY],
        one_of: 40,
    },
    Way {
        name: "EROFS, lasting",
        kinds: disk::OPEN | disk::NAME | disk::WRITE,
        error: libc::EROFS,
        times: LASTING,
        answers: &[READ_ONLY, UNAVAILABLE],
        one_of: 40,
    },
    Way {
        name: "EMFILE, lasting",
        kinds: disk::OPEN,
        error: libc::EMFILE,
        times: LASTING,
        answers: &[UNAVAILABLE],
        one_of: 40,
    },
    Way {
        name: "ENOMEM, lasting",
        kinds: disk::MAP,
        error: libc::ENOMEM,
        times: LASTING,
        answers: &[UNAVAILABLE, (0x02, 0)],
        one_of: 12,
    },
    Way { name: "EAGAIN, once", kinds: disk::LOCK, error: libc::EAGAIN, times: 1, answers: &[UNAVAILABLE], one_of: 40 },
    Way { name: "ENOLCK, once", kinds: disk::LOCK, error: libc::ENOLCK, times: 1, answers: &[UNAVAILABLE], one_of: 40 },
    Way {
        name: "EAGAIN, lasting",
        kinds: disk::LOCK,
        error: libc::EAGAIN,
        times: LASTING,
        answers: &[BUSY, UNAVAILABLE],
        one_of: 400,
    },
    Way {
        name: "ENOLCK, lasting",
        kinds: disk::LOCK,
        error: libc::ENOLCK,
        times: LASTING,
        answers: &[BUSY, UNAVAILABLE],
        one_of: 400,
    },
];

/// What is needed for an operation again and again.
struct Ready {
    operation: &'static Operation,
    base: Arc<Base>,
    /// The store as it was and as it is after the operation, if nothing fails.
    states: [Vec<String>; 2],
}

/// What came of one case.
struct Seen {
    report: Report,
    answer: (u64, u64),
    /// Whether the store was changed.
    done: bool,
}

struct Test {
    program: PathBuf,
}

impl Test {
    fn host(&self, place: &Place, disk: &Disk) -> Host {
        let mut command = command(&self.program, &place.configuration());
        disk.under(&mut command);
        Host::spawn(command)
    }

    /// A host that can use the store, in a new process.
    fn look(&self, place: &Place, pins: &[&str]) -> Result<(), String> {
        let mut host = Host::start(&self.program, &place.configuration());
        host.ok("initialise");
        expect(&mut host, "open", &[OK])?;
        let login = pins.iter().any(|pin| host.ask(&format!("login {pin}")).1 == OK);
        if !login {
            return Err("no PIN is right".to_owned());
        }
        // 0x12: the fixture has an object without an id.
        if expect(&mut host, "list", &[OK, 0x12])?.contains("3:key") {
            expect(&mut host, "use p256 key", &[OK])?;
        }
        Ok(())
    }

    fn ready(&self, operation: &'static Operation, base: Arc<Base>) -> Ready {
        let nothing = Fault { kinds: disk::ALL, at: 0, times: 0, error: 0 };
        let before = base.place().summary(base.token.as_ref());
        let mut ready = Ready { operation, base, states: [before.clone(), before] };
        let place = ready.base.place();
        let disk = Disk::new(&place.disk(), &place.path("orders"), None);
        let mut host = self.begin(&place, &disk, operation);
        disk.arm(nothing);
        assert_eq!(host.ask(operation.during).1, operation.answer, "{}", operation.name);
        disk.disarm();
        host.kill();
        ready.states[1] = place.summary(ready.base.token.as_ref());
        ready
    }

    fn begin(&self, place: &Place, disk: &Disk, operation: &Operation) -> Host {
        let mut host = self.host(place, disk);
        operation.before.iter().for_each(|command| drop(host.ok(command)));
        host
    }

    /// One case: `Err` says what is wrong.
    fn run(&self, ready: &Ready, fault: Fault) -> Result<Seen, String> {
        let Ready { operation, base, .. } = ready;
        let place = base.place();
        let disk = Disk::new(&place.disk(), &place.path("orders"), None);
        let mut host = self.begin(&place, &disk, operation);
        disk.arm(fault);
        let answer = ask(&mut host, operation.during)?;
        let device_error = if answer == OK { 0 } else { device_error(&mut host)? };
        let report = disk.disarm();
        let what = &report.what;
        let wrong = |why: String| Err(format!("{what}: {why}"));

        // Nobody needs to know of it: the host is asked again.
        let acknowledged = answer == operation.answer;
        if !acknowledged {
            let again = ask(&mut host, operation.during)?;
            // It may have been done, or the state of the session may be what it is after it.
            let allowed = [operation.answer, 0x100, 0xa0, 0x82];
            if !allowed.contains(&again) {
                return wrong(format!("{answer:#x}, and again: {again:#x}"));
            }
        }
        for command in operation.after {
            let rv = ask(&mut host, command)?;
            if rv != OK {
                return wrong(format!("{answer:#x}, and {command}: {rv:#x}"));
            }
        }
        if fault.at.is_multiple_of(2) {
            expect(&mut host, "finalise", &[OK])?;
        } else {
            host.kill();
        }
        drop(host);
        self.look(&place, &[PIN, "new-pin", "other-pin"]).map_err(|why| format!("{what}: a new process: {why}"))?;
        let found = place.summary(base.token.as_ref());
        let made = operation.after.contains(&"generate p256 after");
        let has = |class: u8| found.iter().any(|line| line.starts_with(&format!("object {class}:after ")));
        if made != (has(2) && has(3)) {
            return wrong(format!("what was made afterwards is lost: {found:?}"));
        }
        Ok(Seen { report, answer: (answer, device_error), done: false })
    }

    /// The same, and the store is looked at at once: `host` is killed and everything else is left out.
    fn run_and_die(&self, ready: &Ready, fault: Fault) -> Result<Seen, String> {
        let Ready { operation, base, states: [before, after] } = ready;
        let place = base.place();
        let disk = Disk::new(&place.disk(), &place.path("orders"), None);
        let mut host = self.begin(&place, &disk, operation);
        disk.arm(fault);
        let answer = ask(&mut host, operation.during)?;
        let device_error = if answer == OK { 0 } else { device_error(&mut host)? };
        let report = disk.disarm();
        // The lasting fault is there until the process ends.
        host.kill();
        let found = place.summary(base.token.as_ref());
        let done = found == *after;
        let acknowledged = answer == operation.answer;
        let whole = done || found == *before || operation.in_steps;
        // A store that can only be read counts no wrong PIN, and tells of it all the same.
        let cannot_count = operation.answer == 0xa0 && matches!(fault.error, libc::EROFS | libc::EACCES);
        match whole && (done || !acknowledged || operation.may_change || cannot_count) {
            true => Ok(Seen { report, answer: (answer, device_error), done: done && before != after }),
            false => Err(format!("{}: {answer:#x}, and the store holds {found:#?}", report.what)),
        }
    }
}

fn ask(host: &mut Host, command: &str) -> Result<u64, String> {
    host.send(command);
    host.answer().map(|(_, rv)| rv).ok_or_else(|| format!("the host ended, or did not answer: {command}"))
}

fn expect(host: &mut Host, command: &str, allowed: &[u64]) -> Result<String, String> {
    host.send(command);
    match host.answer() {
        Some((said, rv)) if allowed.contains(&rv) => Ok(said),
        Some((_, rv)) => Err(format!("{command}: {rv:#x}")),
        None => Err(format!("the host ended, or did not answer: {command}")),
    }
}

/// 0 where there is no session to ask.
fn device_error(host: &mut Host) -> Result<u64, String> {
    host.send("device-error");
    let (said, rv) = host.answer().ok_or("the host ended")?;
    Ok(if rv == OK { u64::from_str_radix(said.trim_start_matches("0x"), 16).unwrap() } else { 0 })
}

/// How often each thing was answered, in each way to fail.
type Answers = BTreeMap<&'static str, BTreeMap<(u64, u64), usize>>;

#[derive(Default)]
struct Tally {
    cases: usize,
    failed_calls: usize,
    refused_and_done: BTreeMap<String, usize>,
    answers: Answers,
    wrong: Vec<String>,
}

fn is_allowed(way: &Way, operation: &Operation, answer: (u64, u64)) -> bool {
    let (rv, device_error) = answer;
    answer.0 == operation.answer
        // Where no session is open the device error cannot be asked for.
        || way.answers.iter().chain(&[IN_DOUBT]).any(|(allowed, number)| *allowed == rv && (device_error == *number || device_error == 0))
}

#[test]
fn each_call_that_fails_is_told_and_survived() {
    let all = std::env::var_os("DATAKEY_TEST_FAULTS").is_some_and(|value| value == "all");
    let test = Test { program: compile("host") };
    let wanted = std::env::var("DATAKEY_TEST_OPERATION").unwrap_or_default();
    let operations: Vec<_> = OPERATIONS.iter().filter(|operation| operation.name.contains(&wanted)).collect();
    let mut bases = BTreeMap::new();
    let mut begin = |operation: &'static Operation| {
        let base = bases.entry(operation.start).or_insert_with(|| Arc::new(Base::new(operation.start, &test.program)));
        test.ready(operation, Arc::clone(base))
    };
    let ready: Vec<_> = operations.into_iter().map(&mut begin).collect();

    let (mut cases, mut turns) = (Vec::new(), BTreeMap::new());
    for ready in &ready {
        let nothing = Fault { kinds: disk::ALL, at: 0, times: 0, error: 0 };
        let calls = test.run_and_die(ready, nothing).unwrap().report;
        for way in WAYS {
            let of_way = turns.entry(way.name).or_insert(0_usize);
            for at in 1..=calls.counted(way.kinds) {
                *of_way += 1;
                if all || of_way.is_multiple_of(way.one_of) {
                    let fault = Fault { kinds: way.kinds, at, times: way.times, error: way.error };
                    cases.push((ready, way, fault));
                }
            }
        }
    }
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..if all { 8 } else { 6 } {
            scope.spawn(|| {
                while let Some((ready, way, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = ready.operation.name;
                    let results = [test.run(ready, *fault), test.run_and_die(ready, *fault)];
                    let mut tally = tally.lock().unwrap();
                    for result in results {
                        tally.cases += 1;
                        match result {
                            Ok(seen) => {
                                tally.failed_calls += seen.report.failed as usize;
                                *tally.answers.entry(way.name).or_default().entry(seen.answer).or_default() += 1;
                                if seen.done && seen.answer.0 != ready.operation.answer {
                                    let key = format!("{name}, {}: {}", way.name, seen.report.what);
                                    // Where no session is open the device error cannot be asked for.
                                    let is_told = seen.answer.1 == 0 || seen.answer == IN_DOUBT;
                                    if !is_told && !ready.operation.may_change {
                                        tally.wrong.push(format!("{key}: {:x?}, and it is done", seen.answer));
                                    }
                                    *tally.refused_and_done.entry(key).or_default() += 1;
                                }
                                if !is_allowed(way, ready.operation, seen.answer) {
                                    let why = format!("{name}, {}, {}: {:x?}", way.name, seen.report.what, seen.answer);
                                    tally.wrong.push(why);
                                }
                            }
                            Err(why) => tally.wrong.push(format!("{name}, {}, call {}: {why}", way.name, fault.at)),
                        }
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{} cases, {} calls failed", tally.cases, tally.failed_calls);
    for (way, answers) in &tally.answers {
        let answers = answers.iter().map(|((rv, device_error), count)| format!("{rv:#x} {device_error:#x}: {count}"));
        println!("{way}: {}", answers.collect::<Vec<_>>().join(", "));
    }
    println!("refused, and done: {:#?}", tally.refused_and_done);
    for wrong in &tally.wrong {
        println!("WRONG {wrong}");
    }
    assert!(tally.wrong.is_empty(), "{} of {} cases", tally.wrong.len(), tally.cases);
}

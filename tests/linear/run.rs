//! A run: clients that work at once, what is done to them meanwhile, and what came of it.

use super::client::{Dice, LOCK, OBJECTS, PINS, READS, STOP};
use super::history::{Findings, OLDEST_KEY, judge};
use super::hosts::{Hosts, Way};
use crate::host::{Module, SO_PIN, at, len, ok};
use crate::store_support::command;
use crate::support::ANY_CREDENTIALS;
use cryptoki_sys::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The user's PIN locks after so many wrong tries.
const MOST_TRIES: u32 = 4;

/// What is done to clients, to the network and to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A client is killed, and another takes its place.
    Kill,
    /// A client is stopped for a while (SIGSTOP).
    Pause,
    /// The clock on a client's wall jumps, minutes or days, forward or back.
    Clock,
    /// A host's packets are lost for a while, both ways.
    Cut,
    /// The same, on the way to the server.
    LoseRequests,
    /// The same, on the way back.
    LoseAnswers,
    /// The server is killed, and starts again at once.
    Server,
    /// The server is stopped for a while.
    PauseServer,
}

/// What can befall clients without a network.
pub(crate) const LOCAL: &[Fault] = &[Fault::Kill, Fault::Pause, Fault::Clock];
/// And those with one.
pub(crate) const NETWORK: &[Fault] = &[Fault::Cut, Fault::LoseRequests, Fault::LoseAnswers];

/// The length of a run in seconds, as it is asked for, or so many.
pub(crate) fn seconds(otherwise: u64) -> u64 {
    std::env::var("DATAKEY_LINEAR_SECONDS").map_or(otherwise, |text| text.parse().expect("a number of seconds"))
}

fn seed() -> u64 {
    std::env::var("DATAKEY_LINEAR_SEED").map_or(1, |text| text.parse().expect("a number"))
}

pub(crate) struct Plan<'a> {
    pub(crate) seconds: u64,
    pub(crate) clients: usize,
    pub(crate) faults: Vec<Fault>,
    /// How long what lasts may last, in milliseconds.
    pub(crate) longest: u64,
    pub(crate) hosts: Option<&'a Hosts>,
    /// Where the two tokens are kept, by the server's address if it has one.
    pub(crate) stores: &'a dyn Fn(Option<SocketAddr>) -> [String; 2],
    /// Where the last client, which only reads, finds them, if elsewhere.
    pub(crate) replica: Option<[String; 2]>,
    /// What is done once the tokens are there.
    pub(crate) prepare: Box<dyn FnMut() + 'a>,
    /// What is done all the time.
    pub(crate) meanwhile: Box<dyn FnMut() + 'a>,
    /// Does a fault to the server, or ends it.
    pub(crate) server: Box<dyn FnMut(Fault, bool) + 'a>,
}

impl<'a> Plan<'a> {
    /// One without faults.
    pub(crate) fn calm(seconds: u64, stores: &'a dyn Fn(Option<SocketAddr>) -> [String; 2]) -> Self {
        Self {
            seconds,
            clients: 5,
            faults: Vec::new(),
            longest: 0,
            hosts: None,
            stores,
            replica: None,
            prepare: Box::new(|| ()),
            meanwhile: Box::new(|| ()),
            server: Box::new(|_, _| ()),
        }
    }
}

struct Client {
    child: Child,
    number: usize,
    host: usize,
    /// How many there were before it.
    life: u32,
    clock: File,
    paused: bool,
}

struct Run<'a, 'b> {
    plan: &'a mut Plan<'b>,
    folder: PathBuf,
    dice: Dice,
    clients: Vec<Client>,
    /// What is to be undone, and when.
    lasting: Vec<(Instant, Fault, usize)>,
    faults: BTreeMap<Fault, u64>,
    ended: Vec<String>,
}

/// What came of a run.
pub(crate) struct Outcome {
    findings: Findings,
    text: String,
    folder: tempfile::TempDir,
}

/// Makes the tokens of a configuration, in a process of its own: `role:furnish CONFIGURATION`.
pub(crate) fn furnish(configuration: &Path, _: &[String]) {
    let module = Module::start(configuration);
    let label = [b' '; 32];
    for slot in [OBJECTS, LOCK] {
        ok!(module, C_InitToken, slot, at(SO_PIN), len(SO_PIN), at(&label));
    }
    let mut session = 0;
    ok!(module, C_OpenSession, LOCK, CKF_SERIAL_SESSION | CKF_RW_SESSION, null_mut(), None, &mut session);
    assert_eq!(module.try_login(session, CKU_SO, SO_PIN), CKR_OK);
    let pin = PINS[0].as_bytes();
    ok!(module, C_InitPIN, session, at(pin), len(pin));
    module.finalise();
}

/// The library that has a clock go wrong.
fn clock() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts/clock.c");
        let made = Command::new("cc").args(["-shared", "-fPIC", "-Wall", "-o"]).args([&library, &source]).status();
        assert!(made.unwrap().success());
        (folder, library)
    });
    &built.1
}

/// Writes a configuration of both tokens.
fn configure(folder: &Path, name: &str, stores: &[String; 2]) -> PathBuf {
    let keys = folder.join("kms.json");
    let mut text = String::from("[log]\nlevel = \"off\"\n");
    for (label, store, more) in [
        ("objects", &stores[0], format!("login = \"none\"\ncache = {{ max_age = \"{}ms\" }}", OLDEST_KEY / 1_000_000)),
        ("lock", &stores[1], format!("max_pin_attempts = {MOST_TRIES}\npin_hash = {{ memory = \"1M\", passes = 1 }}")),
    ] {
        let kms = keys.display();
        writeln!(text, "[[token]]\nlabel = \"{label}\"\nstore = \"{store}\"\nkms = \"embedded:{kms}\"\n{more}")
            .unwrap();
    }
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

/// Runs `plan` and checks what was seen.
pub(crate) fn run(name: &str, mut plan: Plan<'_>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let own = configure(folder.path(), "own", &(plan.stores)(plan.hosts.map(|hosts| hosts.server(0))));
    if let Some(hosts) = plan.hosts {
        for host in 0..plan.clients {
            configure(folder.path(), &format!("host{host}"), &(plan.stores)(Some(hosts.server(host))));
        }
    }
    let mut furnish = command("furnish", &own, &[]);
    furnish.envs(ANY_CREDENTIALS);
    if let Some(hosts) = plan.hosts {
        hosts.place(0, &mut furnish);
    }
    assert!(furnish.status().unwrap().success());
    (plan.prepare)();
    if let Some(replica) = &plan.replica {
        configure(folder.path(), "replica", replica);
    }
    let mut run = Run {
        plan: &mut plan,
        folder: folder.path().to_owned(),
        dice: Dice(seed()),
        clients: Vec::new(),
        lasting: Vec::new(),
        faults: BTreeMap::new(),
        ended: Vec::new(),
    };
    run.go();
    let (faults, ended) = (run.faults, run.ended);
    let mut findings = judge(folder.path(), MOST_TRIES);
    findings.surprises.extend(ended);
    let text = report(name, &plan, &findings, &faults);
    Outcome { findings, text, folder }
}

fn counts<K: std::fmt::Debug>(counts: &BTreeMap<K, u64>) -> String {
    let all = counts.iter().map(|(what, count)| format!("{what:?} {count}").replace('"', ""));
    all.collect::<Vec<_>>().join(", ")
}

fn report(name: &str, plan: &Plan<'_>, findings: &Findings, faults: &BTreeMap<Fault, u64>) -> String {
    let hosts = match plan.hosts {
        Some(hosts) if hosts.are_namespaces() => " on as many hosts (network namespaces)",
        Some(_) => " on as many hosts (listeners on loopback)",
        None => " on one host",
    };
    let total: u64 = findings.operations.values().sum();
    let mut text = format!("     {name}: seed {}, {} s, {} clients{hosts}\n", seed(), plan.seconds, plan.clients);
    writeln!(text, "     histories {}, operations {total} ({})", findings.histories, counts(&findings.operations))
        .unwrap();
    writeln!(text, "     outcomes: {}", counts(&findings.outcomes)).unwrap();
    if !findings.errors.is_empty() {
        writeln!(text, "     errors: {}", counts(&findings.errors)).unwrap();
    }
    writeln!(text, "     faults: {}; clocks seen to jump: {}", counts(faults), findings.jumps).unwrap();
    writeln!(text, "     violations {}", findings.violations.len()).unwrap();
    text
}

impl Outcome {
    /// Asserts that nothing was seen that cannot be.
    pub(crate) fn expect_sound(self) {
        print!("{}", self.text);
        let Findings { violations, surprises, operations, .. } = &self.findings;
        for text in violations.iter().chain(surprises).take(5) {
            println!("     {text}");
        }
        if !violations.is_empty() || !surprises.is_empty() {
            println!("     the clients' notes stay in {}", self.folder.keep().display());
        }
        assert!(violations.is_empty(), "{} histories that cannot be", violations.len());
        assert!(surprises.is_empty(), "{} surprises", surprises.len());
        assert!(operations.values().sum::<u64>() > 100, "too little was done to tell");
    }

    /// Something was.
    pub(crate) fn is_caught(&self, what: &str) -> bool {
        let violations = &self.findings.violations;
        let first = violations.first().and_then(|text| text.lines().next()).unwrap_or_default();
        let Findings { histories, operations, .. } = &self.findings;
        let total: u64 = operations.values().sum();
        let word = if violations.is_empty() { "not yet caught" } else { "caught" };
        println!("     {what}: {word}, in {} of {histories} histories, {total} operations; {first}", violations.len());
        !violations.is_empty()
    }
}

impl Run<'_, '_> {
    fn start(&mut self, number: usize, life: u32) -> Client {
        let host = number;
        let name = format!("c{number}-{life}");
        let is_replica = self.plan.replica.is_some() && number + 1 == self.plan.clients;
        let configuration = match (is_replica, self.plan.hosts) {
            (true, _) => "replica".to_owned(),
            (false, Some(_)) => format!("host{host}"),
            (false, None) => "own".to_owned(),
        };
        let configuration = self.folder.join(configuration + ".toml");
        let clock_file = self.folder.join(format!("{number}.clock"));
        let clock_page = File::options().create(true).truncate(false).write(true).open(&clock_file).unwrap();
        if life == 0 {
            clock_page.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        }
        let seed = (seed() ^ ((number as u64 + 1) << 40) ^ (u64::from(life) << 20)).to_string();
        let mut arguments = vec![name.as_str(), &seed, configuration.to_str().unwrap()];
        arguments.extend(is_replica.then_some(READS));
        let mut command = command("client", &self.folder, &arguments);
        command.envs(ANY_CREDENTIALS).env("LD_PRELOAD", clock()).env("DATAKEY_TEST_CLOCK", &clock_file);
        if let Some(hosts) = self.plan.hosts {
            hosts.place(host, &mut command);
        }
        Client { child: command.spawn().unwrap(), number, host, life, clock: clock_page, paused: false }
    }

    fn go(&mut self) {
        for number in 0..self.plan.clients {
            let client = self.start(number, 0);
            self.clients.push(client);
        }
        let begun = Instant::now();
        let mut next = begun + Duration::from_millis(300);
        while begun.elapsed() < Duration::from_secs(self.plan.seconds) {
            std::thread::sleep(Duration::from_millis(20));
            (self.plan.meanwhile)();
            self.undo(Instant::now());
            self.notice_the_dead();
            if next <= Instant::now() && !self.plan.faults.is_empty() {
                let fault = self.plan.faults[self.dice.roll(self.plan.faults.len() as u64) as usize];
                self.inflict(fault);
                next = Instant::now() + Duration::from_millis(100 + self.dice.roll(500));
            }
        }
        let far = Instant::now() + Duration::from_secs(3600);
        self.undo(far);
        fs::write(self.folder.join(STOP), "").unwrap();
        // A call that was cut off has its time to end.
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline
            && self.clients.iter_mut().any(|client| client.child.try_wait().unwrap().is_none())
        {
            std::thread::sleep(Duration::from_millis(20));
            (self.plan.meanwhile)();
        }
        self.notice_the_dead();
        for client in &mut self.clients {
            if client.child.try_wait().unwrap().is_none() {
                self.ended.push(format!("client {} does not end", client.number));
                client.child.kill().unwrap();
                client.child.wait().unwrap();
            }
        }
    }

    /// A client must not end but when it is told to.
    fn notice_the_dead(&mut self) {
        let stopped = self.folder.join(STOP).exists();
        for at in 0..self.clients.len() {
            let Some(status) = self.clients[at].child.try_wait().unwrap() else { continue };
            if !(stopped && status.success()) {
                let text = format!("client {} ended: {status}", self.clients[at].number);
                self.ended.push(text);
            }
            if !stopped {
                self.replace(at);
            }
        }
    }

    fn replace(&mut self, at: usize) {
        let (number, life) = (self.clients[at].number, self.clients[at].life + 1);
        self.clients[at] = self.start(number, life);
    }

    fn lasts(&mut self, fault: Fault, at: usize) {
        let lasts = Duration::from_millis(100 + self.dice.roll(self.plan.longest));
        self.lasting.push((Instant::now() + lasts, fault, at));
    }

    fn is_under(&self, faults: &[Fault], at: usize) -> bool {
        self.lasting.iter().any(|(_, fault, there)| faults.contains(fault) && *there == at)
    }

    fn signal(&self, at: usize, signal: i32) {
        // SAFETY: a child of ours that was not waited for.
        unsafe { libc::kill(self.clients[at].child.id() as i32, signal) };
    }

    fn inflict(&mut self, fault: Fault) {
        let at = self.dice.roll(self.clients.len() as u64) as usize;
        match fault {
            Fault::Kill if !self.clients[at].paused => {
                self.clients[at].child.kill().unwrap();
                self.clients[at].child.wait().unwrap();
                self.replace(at);
            }
            Fault::Pause if !self.clients[at].paused => {
                self.clients[at].paused = true;
                self.signal(at, libc::SIGSTOP);
                self.lasts(fault, at);
            }
            Fault::Clock => {
                let far = [60, 3600, 90_000, 40_000_000][self.dice.roll(4) as usize];
                let wrong = (1 + self.dice.roll(far)) as i64 * if self.dice.roll(2) == 0 { 1 } else { -1 };
                self.clients[at].clock.write_all_at(&(wrong * 40).to_ne_bytes(), 0).unwrap();
            }
            Fault::Cut | Fault::LoseRequests | Fault::LoseAnswers if !self.is_under(NETWORK, at) => {
                self.lose(fault, self.clients[at].host, true);
                self.lasts(fault, at);
            }
            Fault::Server => (self.plan.server)(fault, true),
            Fault::PauseServer if !self.is_under(&[Fault::PauseServer], 0) => {
                (self.plan.server)(fault, true);
                self.lasts(fault, 0);
            }
            _ => return,
        }
        *self.faults.entry(fault).or_default() += 1;
    }

    fn lose(&self, fault: Fault, host: usize, lost: bool) {
        let hosts = self.plan.hosts.expect("partitions need hosts");
        if fault != Fault::LoseAnswers {
            hosts.lose(host, Way::Requests, lost);
        }
        if fault != Fault::LoseRequests {
            hosts.lose(host, Way::Answers, lost);
        }
    }

    /// Ends what is to be over by then.
    fn undo(&mut self, now: Instant) {
        let (over, lasting) = self.lasting.drain(..).partition(|(until, ..)| *until <= now);
        self.lasting = lasting;
        let over: Vec<(Instant, Fault, usize)> = over;
        for (_, fault, at) in over {
            match fault {
                Fault::Pause => {
                    self.clients[at].paused = false;
                    self.signal(at, libc::SIGCONT);
                }
                Fault::PauseServer => (self.plan.server)(fault, false),
                _ => self.lose(fault, self.clients[at].host, false),
            }
        }
    }
}

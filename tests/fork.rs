//! Fork: children of a host whose threads are busy in the module start afresh, use nothing of their
//! parent's, and do it no harm. The host is a C program; what it finds wrong it says itself.

mod host;
mod hosts;

use datakey::kms::embedded::{Server, serve};
use hosts::proxy::Proxy;
use hosts::{Host, PIN, command, compile};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a host may take before it counts as hanging. The children have alarms of their own.
const PATIENCE: Duration = Duration::from_secs(240);

/// A token with a P-256 key, and its KMS.
struct Place {
    folder: tempfile::TempDir,
    login: &'static str,
    /// `None` for the embedded KMS in each process.
    network: Option<(Proxy, Server)>,
}

/// How a host reaches its KMS.
#[derive(Clone, Copy)]
enum Way {
    Embedded,
    Network,
    Tls,
}

/// What a host found.
#[derive(Default)]
struct Report {
    nonces: Vec<String>,
    numbers: Vec<String>,
    children: Vec<String>,
    bad: Vec<String>,
    done: bool,
}

impl Place {
    fn new(way: Way, login: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let serve = || serve(([127, 0, 0, 1], 0).into(), &folder.path().join("kms.json"), false).unwrap();
        let network = match way {
            Way::Embedded => None,
            Way::Network => Some(serve()).map(|server| (Proxy::to(server.address()), server)),
            Way::Tls => Some(serve()).map(|server| (Proxy::with_tls(server.address(), folder.path()), server)),
        };
        let place = Self { folder, login, network };
        let mut host = Host::on_new_token(&compile("host"), &place.configuration(), login);
        host.ok("generate p256 key");
        place
    }

    /// Keys are so short-lived that the parent, too, calls KMS all the time, and the log is full of lines.
    fn configuration(&self) -> PathBuf {
        let folder = self.folder.path();
        let kms = match &self.network {
            Some((proxy, _)) => {
                format!("{}\ntimeouts = {{ attempt = \"20s\", total = \"50s\" }}", proxy.configuration())
            }
            None => format!("kms = \"embedded:{}\"", folder.join("kms.json").display()),
        };
        let (log, store, login) = (folder.join("log"), folder.join("token.db"), self.login);
        let text = format!(
            "[log]\nlevel = \"trace\"\ntarget = \"file:{}\"\n[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\n\
             login = \"{login}\"\ncache = {{ max_age = \"50ms\" }}\n{kms}\n",
            log.display(),
            store.display()
        );
        let file = folder.join("datakey-pkcs11.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Runs `fork.c`, watches that it does not hang, and checks what every such run must show.
    fn run(&self, how: &str, forks: usize) -> Report {
        let program = compile("fork");
        let mut command = command(&program, &self.configuration());
        command.args([how, &forks.to_string(), if self.login == "pin" { PIN } else { "" }]).stdout(Stdio::piped());
        if self.network.is_some() {
            command.env("FORK_NETWORK", "1");
        }
        // A child that is forked in the middle of C_Initialize logs to standard error, and much.
        let errors = self.folder.path().join("stderr");
        command.stderr(std::fs::File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (ended, started) = (AtomicBool::new(false), Instant::now());
        let mut report = Report::default();
        std::thread::scope(|scope| {
            // Ends the host if it hangs, and with it the pipe. Its children end by their alarms.
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    if started.elapsed() > PATIENCE {
                        child.kill().unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            for line in lines.map(Result::unwrap) {
                match line.split_once(' ').unwrap_or((&line, "")) {
                    ("r", nonce) => report.nonces.push(nonce.to_owned()),
                    ("n", number) => report.numbers.push(number.to_owned()),
                    ("child", pid) => report.children.push(pid.to_owned()),
                    ("done", _) => report.done = true,
                    _ => report.bad.push(line),
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        let status = child.wait().unwrap();
        let log = [self.folder.path().join("log"), errors].map(|file| std::fs::read(file).unwrap_or_default());
        let log = String::from_utf8_lossy(&log.concat()).into_owned();
        let is_error = |line: &&str| line.contains(" ERROR ") || !line.contains(" datakey-pkcs11[");
        let errors: Vec<_> = log.lines().filter(is_error).take(5).collect();
        assert!(report.bad.is_empty(), "{how}: {:#?}\n{errors:#?}", report.bad);
        assert!(started.elapsed() < PATIENCE, "{how}: it hangs");
        assert!(status.success() && report.done, "{how}: {status}");
        if how != "draw" {
            assert_distinct("ECDSA r", &report.nonces);
        }
        assert_distinct("random number", &report.numbers);
        report
    }

    /// No connection was used by two processes, and everybody who used the key had one.
    fn assert_own_connections(&self, report: &Report) {
        let Some((proxy, _)) = &self.network else { return };
        let clients = proxy.clients();
        let shared: Vec<_> = clients.iter().filter(|clients| clients.len() > 1).collect();
        assert!(shared.is_empty(), "connections with more than one process on them: {shared:?}");
        let seen: HashSet<&String> = clients.iter().flatten().collect();
        for pid in &report.children {
            assert!(seen.contains(&format!("CHILD{pid}")), "child {pid} was not seen by KMS");
        }
        assert!(seen.contains(&"PARENT".to_owned()));
    }
}

/// AWS-LC finds out that it was forked behind locks that its other threads take for each random number, and at
/// their ends.
#[test]
fn children_of_a_host_that_draws_random_numbers() {
    let report = Place::new(Way::Embedded, "pin").run("draw", 1000);
    assert_eq!(report.children.len(), 1000);
}

fn assert_distinct(what: &str, all: &[String]) {
    let mut seen = HashSet::new();
    assert!(all.len() > 10, "{what}: only {}", all.len());
    for one in all {
        assert!(one.len() == 64 && seen.insert(one), "the {what} {one} came twice");
    }
}

/// How many processes a fork of `number` ends up as: every eighth and the one after it have a child too.
fn descendants(forks: usize) -> usize {
    (0..forks).map(|number| if number % 8 < 2 { 2 } else { 1 }).sum()
}

fn busy(way: Way, login: &'static str, forks: usize) {
    let place = Place::new(way, login);
    let report = place.run("sign", forks);
    assert_eq!(report.children.len(), descendants(forks));
    assert!(report.nonces.len() > forks * 4, "the parent signed meanwhile");
    place.assert_own_connections(&report);
}

#[test]
fn children_of_a_signing_host_over_the_network() {
    busy(Way::Network, "pin", 200);
}

#[test]
fn children_of_a_signing_host_over_tls() {
    busy(Way::Tls, "pin", 200);
}

#[test]
fn children_of_a_signing_host_with_the_embedded_kms() {
    busy(Way::Embedded, "pin", 200);
}

#[test]
fn children_of_a_token_without_pins_over_the_network() {
    busy(Way::Network, "none", 100);
}

#[test]
fn children_of_a_token_without_pins_with_the_embedded_kms() {
    busy(Way::Embedded, "none", 100);
}

#[test]
fn children_of_a_host_that_logs_in_and_out() {
    for way in [Way::Embedded, Way::Network] {
        let place = Place::new(way, "pin");
        let report = place.run("login", 60);
        assert_eq!(report.children.len(), descendants(60));
        place.assert_own_connections(&report);
    }
}

#[test]
fn children_of_a_host_that_initialises_and_finalises() {
    for way in [Way::Embedded, Way::Network] {
        let place = Place::new(way, "none");
        let report = place.run("restart", 100);
        assert_eq!(report.children.len(), descendants(100));
        place.assert_own_connections(&report);
    }
}

#[test]
fn children_of_a_thread_that_calls_nothing_else() {
    for way in [Way::Embedded, Way::Network] {
        let place = Place::new(way, "pin");
        let report = place.run("sign-elsewhere", 60);
        assert_eq!(report.children.len(), descendants(60));
        place.assert_own_connections(&report);
    }
}

#[test]
fn spawned_programs_inherit_nothing() {
    for (way, how) in [(Way::Embedded, "spawn"), (Way::Network, "spawn"), (Way::Network, "spawn-elsewhere")] {
        let report = Place::new(way, "pin").run(how, 100);
        assert_eq!(report.children.len(), 100);
    }
}

//! A long run in bad weather: signatures made and failed while KMS, its network and its credentials give trouble.
//!
//! ```text
//! cargo bench --bench soak -- [--seconds S] [--stale] [--module OURS]
//! ```
//!
//! `OURS` is `target/release/libdatakey_pkcs11.so` unless given (build it first: this program does not). Eight threads
//! sign with a key of their own each, a hundred times a second, on the embedded KMS behind a proxy. A key is opened for
//! two seconds, so that KMS is asked all the time. Credentials come from a container's endpoint and expire every tenth
//! of the run (a minute of ten); who comes with the last ones is refused. KMS throttles 30 of 100 calls. Twice for 20
//! seconds, or a thirtieth of the run, it is gone: first it resets every connection, then it does not answer at all.
//!
//! Prints what failed, by return value and device error, in good times and while KMS was gone; and how long after its
//! return the last failure was. `--stale` is `max_stale = "60s"`. Fails if a signature failed in good times.

#[path = "../tests/host/mod.rs"]
mod host;
#[path = "../tests/support/mod.rs"]
mod support;

use cryptoki_sys::*;
use datakey::kms::embedded::{self, DEFAULT_ALIAS, Server};
use host::{Kind, Module, Place};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use support::fault_proxy::{Fault, FaultProxy};

const THREADS: u8 = 8;
const THROTTLED: Fault = Fault::Say(400, "", "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}");

fn main() {
    let (mut seconds, mut stale) = (600, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--seconds" => seconds = value().parse().unwrap_or_else(|_| usage()),
            "--stale" => stale = true,
            // SAFETY: this process has one thread yet.
            "--module" => unsafe { std::env::set_var("DATAKEY_TEST_MODULE", value()) },
            _ => usage(),
        }
    }
    let bad = Soak::new(Duration::from_secs(seconds), stale).run();
    if bad > 0 {
        eprintln!("{bad} signatures failed in good times");
        exit(1);
    }
}

fn usage() -> ! {
    eprintln!("usage: soak [--seconds S] [--stale] [--module OURS]");
    exit(2)
}

/// A container's endpoint for credentials: a new access key each time that the last one has expired.
fn credentials(server: Arc<Server>, life: Duration) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("it is bound");
    let given = Arc::new(AtomicU64::new(0));
    let (counted, begun) = (Arc::clone(&given), SystemTime::now());
    std::thread::spawn(move || {
        let mut last = u64::MAX;
        for client in listener.incoming().flatten() {
            let lines = BufReader::new(&client).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let age = begun.elapsed().unwrap_or_default().as_secs();
            let number = age / life.as_secs();
            let expires = begun + Duration::from_secs((number + 1) * life.as_secs());
            let key = |number: u64| format!("ASIA{number:08}");
            if number != last {
                counted.fetch_add(1, Ordering::Relaxed);
                last = number;
            }
            // Whoever still comes with the last one is refused.
            let known = json!({ key(number): { "arn": "arn:aws:iam::111122223333:root" } });
            server.set_principals(&known.to_string()).expect("principals");
            let expiration = aws_smithy_types::DateTime::from(expires)
                .fmt(aws_smithy_types::date_time::Format::DateTime)
                .expect("a date");
            let body = json!({
                "AccessKeyId": key(number), "SecretAccessKey": "secret", "Token": "token", "Expiration": expiration,
            })
            .to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ";
            // Who went away does not want it.
            let _ = write!(&client, "{head}{}\r\n\r\n{body}", body.len());
        }
    });
    (address, given)
}

/// What came of the signatures.
#[derive(Default)]
struct Tally {
    made: u64,
    /// By return value and device error.
    failed: BTreeMap<(CK_RV, CK_ULONG), u64>,
}

struct Soak {
    length: Duration,
    proxy: FaultProxy,
    module: Module,
    given: Arc<AtomicU64>,
    gone: AtomicBool,
    good: Mutex<Tally>,
    bad: Mutex<Tally>,
    /// Nanoseconds since the beginning.
    last_failure: AtomicU64,
    begun: Instant,
    _place: Place,
    _keys: tempfile::TempDir,
}

impl Soak {
    fn new(length: Duration, stale: bool) -> Self {
        let keys = tempfile::tempdir().expect("a folder");
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true);
        let server = Arc::new(server.expect("a port on loopback"));
        let proxy = FaultProxy::to(server.address());
        let (address, given) = credentials(server, length / 10);
        // SAFETY: the threads that run answer on loopback and read no environment.
        unsafe {
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
                std::env::remove_var(name);
            }
            std::env::set_var("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{address}/"));
            std::env::set_var("AWS_EC2_METADATA_DISABLED", "true");
        }
        let max_stale = if stale { ", max_stale = \"60s\"" } else { "" };
        let more = format!("login = \"none\"\ncache = {{ max_age = \"2s\"{max_stale} }}\n[log]\nlevel = \"off\"");
        let place = Place::at(&format!("http://{}", proxy.address()), DEFAULT_ALIAS, &more);
        let module = Module::start(&place.configuration());
        module.make_token(false);
        let session = module.open(true);
        for number in 0..THREADS {
            module.generate(session, Kind::P256, &[number]);
        }
        Self {
            length,
            proxy,
            module,
            given,
            gone: AtomicBool::new(false),
            good: Mutex::default(),
            bad: Mutex::default(),
            last_failure: AtomicU64::new(0),
            begun: Instant::now(),
            _place: place,
            _keys: keys,
        }
    }

    /// Prints what came of it; how many signatures failed in good times.
    fn run(&self) -> u64 {
        self.proxy.sometimes(THROTTLED, 30);
        std::thread::scope(|scope| {
            (0..THREADS).for_each(|number| drop(scope.spawn(move || self.sign(number))));
            for (outage, when) in [(Fault::ResetBefore, 3), (Fault::Stall, 7)] {
                std::thread::sleep((self.length * when / 10).saturating_sub(self.begun.elapsed()));
                self.go_away(outage);
            }
        });
        let (good, bad) = (self.good.lock().expect("no thread panics"), self.bad.lock().expect("no thread panics"));
        println!(
            "{} s, {THREADS} threads, {} sets of credentials",
            self.length.as_secs(),
            self.given.load(Ordering::Relaxed)
        );
        for (operation, calls) in self.proxy.take_calls() {
            println!("KMS {operation}: {calls} calls");
        }
        for (when, tally) in [("in good times", &good), ("while KMS was gone, and until its return was noticed", &bad)]
        {
            println!("{when}: {} signatures made, {} failed", tally.made, tally.failed.values().sum::<u64>());
            for ((rv, device_error), count) in &tally.failed {
                println!("  {rv:#x} with device error {device_error:#x}: {count}");
            }
        }
        self.module.finalise();
        good.failed.values().sum()
    }

    /// KMS is gone for a while; good times begin when the last caller has noticed its return.
    fn go_away(&self, outage: Fault) {
        self.gone.store(true, Ordering::Relaxed);
        self.proxy.always(outage);
        std::thread::sleep(self.length / 30);
        self.proxy.heal();
        let back = self.begun.elapsed();
        // The breaker asks again after 4 s at most, and what was begun before has its deadline.
        std::thread::sleep(Duration::from_secs(5));
        self.gone.store(false, Ordering::Relaxed);
        let last = Duration::from_nanos(self.last_failure.load(Ordering::Relaxed));
        println!("{outage:?}: the last failure was {:?} after KMS came back", last.saturating_sub(back));
    }

    fn sign(&self, number: u8) {
        let session = self.module.open(false);
        let key = self.module.private_key(session, &[number]);
        while self.begun.elapsed() < self.length {
            let gone = self.gone.load(Ordering::Relaxed);
            let result = self.module.sign(session, key, CKM_ECDSA_SHA256, b"data");
            let tally = if gone || self.gone.load(Ordering::Relaxed) { &self.bad } else { &self.good };
            let mut tally = tally.lock().expect("no thread panics");
            match result {
                Ok(_) => tally.made += 1,
                Err(rv) => {
                    *tally.failed.entry((rv, self.module.device_error(session))).or_default() += 1;
                    self.last_failure.store(self.begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
                }
            }
            drop(tally);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

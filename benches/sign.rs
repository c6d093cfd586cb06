//! Signatures a second, beside another PKCS#11 module.
//!
//! ```text
//! cargo bench --bench sign -- [--seconds S] [--rounds N] [--module OURS] [BESIDE]
//! ```
//!
//! `OURS` is `target/release/libdatakey_pkcs11.so` unless given (build it first: this program does not), `BESIDE` is
//! SoftHSM2 where Debian keeps it. Each module is loaded by a process of its own, which makes a token and
//! one key pair of each kind, and then measures when it is told to: the two take turns, so that
//! whatever else the machine does falls on both. A ratio is the median over the rounds; `CPU` is
//! processor time for one signature, which is steadier than what the clock says.
//!
//! A module that is not ours needs its configuration in the environment and a token in its first slot
//! that may be initialised. For SoftHSM2 both are made here.

#[path = "sign/host.rs"]
mod host;

use host::{Host, Kind};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit};
use std::time::Duration;

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const THREADS: [usize; 2] = [1, 2];

fn main() {
    let mut settings = Settings {
        seconds: 0.5,
        rounds: 3,
        ours: Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/libdatakey_pkcs11.so"),
        beside: SOFTHSM.into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--measure" => return measure_when_told(Path::new(&value())),
            "--seconds" => settings.seconds = value().parse().unwrap_or_else(|_| usage()),
            "--rounds" => settings.rounds = value().parse().unwrap_or_else(|_| usage()),
            "--module" => settings.ours = value().into(),
            _ if !argument.starts_with('-') => settings.beside = argument.into(),
            _ => usage(),
        }
    }
    for path in [&settings.ours, &settings.beside] {
        if !path.exists() {
            eprintln!("{} is not there", path.display());
            exit(1);
        }
    }
    compare(&settings);
}

struct Settings {
    seconds: f64,
    rounds: usize,
    ours: PathBuf,
    beside: PathBuf,
}

fn usage() -> ! {
    eprintln!("usage: sign [--seconds S] [--rounds N] [--module OURS] [BESIDE]");
    exit(2)
}

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    per_second: f64,
    /// Microseconds of processor time for one signature.
    cpu: f64,
}

fn compare(settings: &Settings) {
    let mut modules = [Measurer::start(&settings.ours), Measurer::start(&settings.beside)];
    println!(
        "{:<12} threads {:>12} {:>12} {:>7}   {:>9} {:>9}",
        "", "ours /s", "beside /s", "ratio", "CPU us", "CPU us"
    );
    for kind in Kind::ALL {
        for threads in THREADS {
            let mut rounds = Vec::new();
            for round in 0..settings.rounds.max(1) {
                let mut pair = [None; 2];
                for turn in 0..2 {
                    let which = (turn + round) % 2;
                    pair[which] = modules[which].measure(kind, threads, settings.seconds);
                }
                if let [Some(ours), Some(beside)] = pair {
                    rounds.push((ours, beside));
                }
            }
            let name = format!("{kind:?}");
            if rounds.is_empty() {
                println!("{name:<12} {threads:>7} not measured: one of them has no such keys");
                continue;
            }
            let median = |of: &dyn Fn(&(Sample, Sample)) -> f64| {
                let mut values: Vec<_> = rounds.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "{name:<12} {threads:>7} {:>12.0} {:>12.0} {:>6.2}x   {:>9.1} {:>9.1}",
                median(&|(ours, _)| ours.per_second),
                median(&|(_, beside)| beside.per_second),
                median(&|(ours, beside)| ours.per_second / beside.per_second),
                median(&|(ours, _)| ours.cpu),
                median(&|(_, beside)| beside.cpu),
            );
        }
    }
}

/// A process that has loaded a module and waits to be told what to measure: a line with kind, threads and
/// seconds; its answer is a line with signatures a second and processor microseconds, or `none`.
struct Measurer {
    process: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Measurer {
    fn start(module: &Path) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new(this)
            .args([Path::new("--measure"), module])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let tell = process.stdin.take().expect("it was piped");
        let hear = BufReader::new(process.stdout.take().expect("it was piped"));
        Self { process, tell, hear }
    }

    fn measure(&mut self, kind: Kind, threads: usize, seconds: f64) -> Option<Sample> {
        let mut answer = String::new();
        let told = writeln!(self.tell, "{kind:?} {threads} {seconds}");
        if told.and_then(|()| self.hear.read_line(&mut answer)).unwrap_or(0) == 0 {
            eprintln!("the module's process ended: {:?}", self.process.wait());
            exit(1);
        }
        let mut numbers = answer.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(per_second)), Some(Ok(cpu))) => Some(Sample { per_second, cpu }),
            _ => None,
        }
    }
}

fn measure_when_told(module: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let host = Host::with_token(module, folder.path());
    let keys: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, host.generate(kind))).collect();
    for line in std::io::stdin().lines() {
        let line = line.expect("the parent writes lines");
        let mut words = line.split_whitespace();
        let kind = words.next().expect("a kind");
        let threads = words.next().and_then(|word| word.parse().ok()).expect("a number of threads");
        let seconds = words.next().and_then(|word| word.parse().ok()).expect("a number of seconds");
        let key = keys.iter().find(|(known, _)| format!("{known:?}") == kind);
        match key {
            Some((kind, Some(key))) => {
                let before = host::processor_time();
                let (count, elapsed) = host.sign_for(*kind, *key, threads, Duration::from_secs_f64(seconds));
                let cpu = host::processor_time() - before;
                println!("{} {}", count as f64 / elapsed.as_secs_f64(), cpu.as_secs_f64() * 1e6 / count as f64);
            }
            _ => println!("none"),
        }
    }
}

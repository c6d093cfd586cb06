//! What a token of a million objects costs, beside one of ten.
//!
//! ```text
//! cargo bench --bench scale -- [--objects 10,1000,100000,1000000] [--folder DIR] [--module OURS] [--store STORE]
//!                              [--beside SOFTHSM2] [--among N] [--unlisted] [--keep]
//! cargo bench --bench scale -- --writers 8 [--each 10000] [--folder DIR] [--module OURS] [--store STORE]
//! cargo bench --bench scale -- --use FOLDER [--module OURS] [--beside SOFTHSM2] [--among N] [--unlisted]
//! ```
//!
//! `OURS` is `target/release/libdatakey_pkcs11.so` unless given (build it first: this program does not). The store is a
//! file in a new folder under `DIR`; or with `--store postgres` or `--store dynamodb` a server that this program starts,
//! of PostgreSQL (Debian's `postgresql`, durable commits) or an emulator of DynamoDB (`tests/emulators/install.sh`); or
//! any other by its URL, which must hold no token. The keys are P-256 pairs by the embedded KMS, so that a token of N
//! objects has N / 2 private keys, made by as many sessions as `FILLERS` at once.
//!
//! With `--beside /usr/lib/softhsm/libsofthsm2.so` a token of SoftHSM2 in the same folder is filled and measured in
//! turn with ours. It writes a file for each object: put `DIR` on a memory file system (`/dev/shm`), for both alike.
//!
//! Each count is measured in a new process, which loads the module, logs in by PIN, finds a key and signs, and then asks
//! for keys at random that it has not seen before, of each kind of search some unmeasured ones first. Times are medians,
//! in microseconds, but for those in ms. `used` is a search and the first look at what was found. With `--among N` each
//! token is measured once more, by a host that asks for N keys alone, again and again: what the number of objects costs
//! where the number of those in use is the same. `--unlisted` leaves out what goes through all of them, for an emulator
//! that cannot answer that in time. `--keep` leaves the token where it is, and `--use` measures such a one once more.
//!
//! `--writers` has as many processes create and destroy data objects in one store at the same time.

#[path = "../tests/support/emulators.rs"]
#[allow(dead_code, reason = "this program starts one of them")]
mod emulators;
#[path = "../tests/host/mod.rs"]
mod host;
#[path = "scale/measure.rs"]
mod measure;
#[path = "scale/module.rs"]
mod module;
#[path = "../tests/store_support/postgres.rs"]
mod postgres;
#[path = "scale/store.rs"]
mod store;

use crate::measure::COLUMNS;
use crate::store::Place;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::time::Instant;

#[derive(Default)]
struct Settings {
    objects: Vec<u32>,
    writers: usize,
    each: u32,
    folder: PathBuf,
    again: Option<PathBuf>,
    store: Option<String>,
    beside: Option<PathBuf>,
    among: Option<u32>,
    unlisted: bool,
    keep: bool,
}

impl Settings {
    /// The hosts that measure a token: one that asks for any key, and one that asks for so many.
    fn hosts(&self) -> impl Iterator<Item = Option<u32>> {
        std::iter::once(None).chain(self.among.map(Some))
    }
}

/// The file that says how many pairs a token has that was kept.
const PAIRS: &str = "pairs";

fn main() {
    let mut settings = Settings {
        objects: vec![10, 1000, 100_000, 1_000_000],
        each: 10_000,
        folder: std::env::temp_dir(),
        ..Settings::default()
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            // What this program tells itself.
            "--make" => return measure::make(Path::new(&value())),
            "--fill" => return measure::fill(Path::new(&value()), number(value()), number(value())),
            "--measure" => {
                return measure::measure(Path::new(&value()), number(value()), number(value()), number(value()) == 1);
            }
            "--list" => return measure::list(Path::new(&value())),
            "--write" => return measure::write(Path::new(&value()), number(value())),
            "--objects" => settings.objects = value().split(',').map(number).collect(),
            "--writers" => settings.writers = number(value()) as usize,
            "--each" => settings.each = number(value()),
            "--folder" => settings.folder = value().into(),
            "--use" => settings.again = Some(value().into()),
            "--store" => settings.store = Some(value()),
            "--beside" => settings.beside = Some(value().into()),
            "--among" => settings.among = Some(number(value())),
            "--unlisted" => settings.unlisted = true,
            "--keep" => settings.keep = true,
            // SAFETY: this process has one thread yet.
            "--module" => unsafe { std::env::set_var("DATAKEY_TEST_MODULE", value()) },
            _ => usage(),
        }
    }
    if let Some(folder) = &settings.again {
        return again(&settings, folder);
    }
    let folder = tempfile::Builder::new().prefix("scale").tempdir_in(&settings.folder).expect("a folder");
    let place = Place::of(settings.store.as_deref(), folder.path());
    let kms = folder.path().join("kms.json");
    let text =
        format!("[[token]]\nlabel = \"test\"\nstore = \"{}\"\nkms = \"embedded:{}\"\n", place.url, kms.display());
    let subjects = subjects(&settings, folder.path());
    std::fs::write(&subjects[0].configuration, text).expect("the folder is ours");
    if let Some(other) = subjects.get(1) {
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).expect("the folder is ours");
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        std::fs::write(&other.configuration, text).expect("the folder is ours");
    }
    subjects.iter().for_each(|subject| drop(await_success(subject.tell("--make", &[]))));
    match settings.writers {
        0 => grow(&settings, &subjects, folder.path()),
        writers => write_at_once(writers, settings.each, &subjects[0]),
    }
    if settings.keep {
        println!("kept: {}", folder.keep().display());
    }
}

fn usage() -> ! {
    eprintln!(
        "usage: scale [--objects N,…] [--folder DIR] [--module OURS] [--store STORE] [--beside SOFTHSM2] [--among N]"
    );
    eprintln!("             [--unlisted] [--keep]");
    eprintln!("       scale --writers N [--each N] [--folder DIR] [--module OURS] [--store STORE]");
    eprintln!("       scale --use FOLDER [--module OURS] [--beside SOFTHSM2] [--among N] [--unlisted]");
    exit(2)
}

fn number(text: impl AsRef<str>) -> u32 {
    text.as_ref().parse().unwrap_or_else(|_| usage())
}

/// A module, and its token.
struct Subject {
    name: &'static str,
    module: Option<PathBuf>,
    configuration: PathBuf,
}

impl Subject {
    /// This program again, with a part of the work.
    fn tell(&self, part: &str, numbers: &[u32]) -> Child {
        let this = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(this);
        command.arg(part).arg(&self.configuration).args(numbers.iter().map(u32::to_string));
        if let Some(module) = &self.module {
            command.env("DATAKEY_TEST_MODULE", module);
        }
        command.stdout(Stdio::piped()).spawn().expect("this program starts again")
    }
}

/// Ours, and the one beside it.
fn subjects(settings: &Settings, folder: &Path) -> Vec<Subject> {
    let ours = Subject { name: "ours", module: None, configuration: folder.join("datakey-pkcs11.toml") };
    let other = settings.beside.clone().map(|module| Subject {
        name: "beside",
        module: Some(module),
        configuration: folder.join("softhsm2.conf"),
    });
    std::iter::once(ours).chain(other).collect()
}

/// What it printed.
fn await_success(child: Child) -> String {
    let output = child.wait_with_output().expect("it is waited for once");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}

fn row(name: &str, objects: &str, made: &str, cells: impl Iterator<Item = String>) {
    println!("{name:>7} {objects:>9} {made:>8} {}", cells.map(|cell| format!("{cell:>12}")).collect::<String>());
    std::io::stdout().flush().expect("standard output");
}

fn head() {
    row("", "objects", "made /s", COLUMNS.iter().map(ToString::to_string));
}

/// Fills the tokens step by step, and measures each step.
fn grow(settings: &Settings, subjects: &[Subject], folder: &Path) {
    let mut have = 0;
    let mut first: Vec<Vec<Vec<f64>>> = vec![Vec::new(); subjects.len()];
    head();
    for objects in &settings.objects {
        let pairs = objects / 2;
        let mut all = Vec::new();
        for (subject, first) in subjects.iter().zip(&mut first) {
            let begun = Instant::now();
            await_success(subject.tell("--fill", &[have, pairs]));
            let rate = f64::from(2 * (pairs - have)) / begun.elapsed().as_secs_f64();
            for (at, among) in settings.hosts().enumerate() {
                let measured = measure_one(settings, subject, pairs, among, &format!("{rate:.0}"));
                match first.get(at) {
                    Some(first) => ratio(&format!("/{}", settings.objects[0]), &measured, first),
                    None => first.push(measured.clone()),
                }
                if among.is_none() {
                    all.push(measured);
                }
            }
        }
        if let [ours, other] = &all[..] {
            ratio("beside", other, ours);
        }
        have = pairs;
        std::fs::write(folder.join(PAIRS), pairs.to_string()).expect("the folder is ours");
    }
    list(settings, &subjects[0]);
}

/// Measures a token that was kept.
fn again(settings: &Settings, folder: &Path) {
    let pairs = number(std::fs::read_to_string(folder.join(PAIRS)).expect("a folder of --keep").trim());
    head();
    for subject in subjects(settings, folder) {
        settings.hosts().for_each(|among| drop(measure_one(settings, &subject, pairs, among, "-")));
        list(settings, &subject);
    }
}

fn list(settings: &Settings, subject: &Subject) {
    if !settings.unlisted {
        print!("{}", await_success(subject.tell("--list", &[])));
    }
}

/// By a host that uses all keys, or so many.
fn measure_one(settings: &Settings, subject: &Subject, pairs: u32, among: Option<u32>, rate: &str) -> Vec<f64> {
    let numbers = [pairs, among.unwrap_or(pairs), u32::from(!settings.unlisted)];
    let measured = await_success(subject.tell("--measure", &numbers));
    let cells: Vec<String> = measured.split_whitespace().map(str::to_owned).collect();
    let rate = among.map_or(rate.to_owned(), |among| format!("{among} keys"));
    row(subject.name, &(2 * pairs).to_string(), &rate, cells.iter().cloned());
    cells.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect()
}

/// How many times as much one costs as the other.
fn ratio(name: &str, measured: &[f64], first: &[f64]) {
    let cell = |(now, then): (&f64, &f64)| {
        if now.is_nan() || then.is_nan() { "-".to_owned() } else { format!("x{:.2}", now / then) }
    };
    row("", name, "", measured.iter().zip(first).map(cell));
}

fn write_at_once(writers: usize, each: u32, subject: &Subject) {
    let begun = Instant::now();
    let all: Vec<_> = (0..writers).map(|_| subject.tell("--write", &[each])).collect();
    let said: Vec<String> = all.into_iter().map(await_success).collect();
    let seconds = begun.elapsed().as_secs_f64();
    let count = |at: usize| said.iter().filter_map(move |said| said.split_whitespace().nth(at)?.parse::<f64>().ok());
    let (failed, times): (f64, Vec<f64>) = (count(0).sum(), count(1).collect());
    let longest = count(2).fold(0.0, f64::max);
    let changes = 2.0 * writers as f64 * f64::from(each);
    println!("{writers} processes, {each} creates and destroys each: {changes} changes in {seconds:.1} s");
    println!("{:.0} changes/s, {failed} failed, the longest took {longest:.0} ms", changes / seconds);
    println!("the processes took {times:.1?} s");
}

//! What a token of a million objects costs, beside one of ten.
//!
//! ```text
//! cargo bench --bench scale -- [--objects 10,1000,100000,1000000] [--folder DIR] [--module OURS] [--store URL]
//! cargo bench --bench scale -- --writers 8 [--each 10000] [--folder DIR] [--module OURS] [--store URL]
//! ```
//!
//! `OURS` is `target/release/libdatakey_pkcs11.so` unless given (build it first: this program does not); the store is a
//! file in a new folder under `DIR`, or another one by its URL, which must hold no token. The keys are P-256 pairs by
//! the embedded KMS, so that a token of N objects has N / 2 private keys, made by as many sessions as `FILLERS` at once.
//!
//! Each count is measured in a new process, which loads the module, logs in by PIN, finds a key and signs, and then asks
//! for keys at random that it has not seen before. Times are medians, in microseconds, but for those in ms.
//!
//! `--writers` has as many processes create and destroy data objects in one store at the same time.

#[path = "../tests/host/mod.rs"]
mod host;
#[path = "scale/measure.rs"]
mod measure;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::time::Instant;

struct Settings {
    objects: Vec<u32>,
    writers: usize,
    each: u32,
    folder: PathBuf,
    store: Option<String>,
}

fn main() {
    let mut settings = Settings {
        objects: vec![10, 1000, 100_000, 1_000_000],
        writers: 0,
        each: 10_000,
        folder: std::env::temp_dir(),
        store: None,
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
            "--measure" => return measure::measure(Path::new(&value()), number(value())),
            "--write" => return measure::write(Path::new(&value()), number(value())),
            "--objects" => settings.objects = value().split(',').map(number).collect(),
            "--writers" => settings.writers = number(value()) as usize,
            "--each" => settings.each = number(value()),
            "--folder" => settings.folder = value().into(),
            "--store" => settings.store = Some(value()),
            // SAFETY: this process has one thread yet.
            "--module" => unsafe { std::env::set_var("DATAKEY_TEST_MODULE", value()) },
            _ => usage(),
        }
    }
    let folder = tempfile::tempdir_in(&settings.folder).expect("a folder");
    let configuration = folder.path().join("datakey-pkcs11.toml");
    let store =
        settings.store.clone().unwrap_or_else(|| format!("sqlite:{}", folder.path().join("token.db").display()));
    let kms = folder.path().join("kms.json");
    let text = format!("[[token]]\nlabel = \"test\"\nstore = \"{store}\"\nkms = \"embedded:{}\"\n", kms.display());
    std::fs::write(&configuration, text).expect("the folder is ours");
    await_success(tell("--make", &configuration, &[]));
    match settings.writers {
        0 => grow(&settings, &configuration),
        writers => write_at_once(writers, settings.each, &configuration),
    }
}

fn usage() -> ! {
    eprintln!("usage: scale [--objects N,…] [--writers N [--each N]] [--folder DIR] [--module OURS] [--store URL]");
    exit(2)
}

fn number(text: impl AsRef<str>) -> u32 {
    text.as_ref().parse().unwrap_or_else(|_| usage())
}

/// This program again, with a part of the work.
fn tell(part: &str, configuration: &Path, numbers: &[u32]) -> Child {
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(this);
    command.arg(part).arg(configuration).args(numbers.iter().map(u32::to_string));
    command.stdout(Stdio::piped()).spawn().expect("this program starts again")
}

/// What it printed.
fn await_success(child: Child) -> String {
    let output = child.wait_with_output().expect("it is waited for once");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}

fn grow(settings: &Settings, configuration: &Path) {
    let mut have = 0;
    println!("{:>9} {:>8} {}", "objects", "made /s", measure::COLUMNS.map(|name| format!("{name:>12}")).concat());
    for objects in &settings.objects {
        let pairs = objects / 2;
        let begun = Instant::now();
        await_success(tell("--fill", configuration, &[have, pairs]));
        let rate = f64::from(2 * (pairs - have)) / begun.elapsed().as_secs_f64();
        have = pairs;
        let measured = await_success(tell("--measure", configuration, &[pairs]));
        let cells: String = measured.split_whitespace().map(|cell| format!("{cell:>12}")).collect();
        println!("{objects:>9} {rate:>8.0} {cells}");
        std::io::stdout().flush().expect("standard output");
    }
}

fn write_at_once(writers: usize, each: u32, configuration: &Path) {
    let begun = Instant::now();
    let all: Vec<_> = (0..writers).map(|_| tell("--write", configuration, &[each])).collect();
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

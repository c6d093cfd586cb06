//! What a fleet asks of KMS when it starts: many processes that want the same keys at once.
//!
//! ```text
//! cargo bench --bench fleet -- [--processes 200] [--keys 50] [--threads 4] [--quota N] [--apart] [--module OURS]
//! ```
//!
//! Each process loads the module, logs in by PIN and finds the keys in a token that they share (an SQLite file). When all
//! have, they begin at once: each of its threads signs with each of the keys, in the same order, so that the threads of
//! a process want the same key at the same moment; with `--apart` each begins with another key. KMS is the embedded
//! one on a port of this program, which counts its calls and, with `--quota`, answers so many a second and throttles
//! the others as KMS does. `OURS` is `target/release/libdatakey_pkcs11.so` unless given (build it first).
//!
//! The processes and KMS share this machine's cores: where it says how long it took, it says how fast those are.

#[path = "../tests/host/mod.rs"]
mod host;

use cryptoki_sys::*;
use datakey::counters::Count;
use datakey::kms::embedded;
use host::{Kind, Module, ok};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio, exit};
use std::ptr::null_mut;
use std::sync::Barrier;
use std::time::{Duration, Instant};

struct Settings {
    processes: usize,
    keys: u32,
    threads: usize,
    quota: Option<u32>,
    apart: bool,
}

fn main() {
    let mut settings = Settings { processes: 200, keys: 50, threads: 4, quota: None, apart: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            // What this program tells itself.
            "--make" => return make(Path::new(&value()), number(value())),
            "--member" => {
                let configuration = value();
                let [keys, threads, apart, member] = std::array::from_fn(|_| number(value()));
                return member_of_fleet(Path::new(&configuration), keys, threads as usize, apart != 0, member);
            }
            "--processes" => settings.processes = number(value()) as usize,
            "--keys" => settings.keys = number(value()),
            "--threads" => settings.threads = number(value()) as usize,
            "--quota" => settings.quota = Some(number(value())),
            "--apart" => settings.apart = true,
            // SAFETY: this process has one thread yet.
            "--module" => unsafe { std::env::set_var("DATAKEY_TEST_MODULE", value()) },
            _ => usage(),
        }
    }
    lead(&settings);
}

fn usage() -> ! {
    eprintln!("usage: fleet [--processes N] [--keys N] [--threads N] [--quota N] [--apart] [--module OURS]");
    exit(2)
}

fn number(text: impl AsRef<str>) -> u32 {
    text.as_ref().parse().unwrap_or_else(|_| usage())
}

/// This program again, with a part of the work.
fn tell(part: &str, configuration: &Path, numbers: &[u32]) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg(part).arg(configuration).args(numbers.iter().map(u32::to_string));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env(name, "test");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program starts again")
}

fn lead(settings: &Settings) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(host::KEYS);
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &file, false).expect("a port");
    let configuration = folder.path().join("datakey-pkcs11.toml");
    let text = format!(
        "[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\nkms_key_id = \"{}\"\nregion = \"us-east-1\"\n\
         endpoint_url = \"{}\"\n",
        folder.path().join("token.db").display(),
        embedded::DEFAULT_ALIAS,
        server.url()
    );
    std::fs::write(&configuration, text).expect("the folder is ours");
    let made = tell("--make", &configuration, &[settings.keys]).wait_with_output().expect("it is waited for once");
    assert!(made.status.success(), "{}", made.status);
    let per_key = server.control().total_calls() as f64 / f64::from(settings.keys);
    println!("{} keys made: {per_key:.2} calls of KMS for each", settings.keys);

    let begun = Instant::now();
    let mut fleet: Vec<_> = (0..settings.processes)
        .map(|member| {
            let numbers = [settings.keys, settings.threads as u32, u32::from(settings.apart), member as u32];
            let mut child = tell("--member", &configuration, &numbers);
            let said = BufReader::new(child.stdout.take().expect("it is piped"));
            (child, said)
        })
        .collect();
    for (_, said) in &mut fleet {
        assert_eq!(line(said), "ready");
    }
    println!("{} processes are ready after {:.1} s", fleet.len(), begun.elapsed().as_secs_f64());
    server.control().reset_calls();
    if let Some(quota) = settings.quota {
        server.control().set_quota(quota);
    }
    let begun = Instant::now();
    for (child, _) in &mut fleet {
        writeln!(child.stdin.as_mut().expect("it is piped"), "go").expect("it reads");
    }
    let all: Vec<Vec<f64>> = fleet
        .iter_mut()
        .map(|(_, said)| line(said).split_whitespace().map(|cell| cell.parse().expect("a number")).collect())
        .collect();
    let took = begun.elapsed();
    for (mut child, said) in fleet {
        drop(said);
        assert!(child.wait().expect("it is waited for once").success());
    }
    report(settings, &all, took);
    println!("KMS counted: {:?}, of which {} were throttled", server.control().calls(), server.control().refused());
}

fn line(said: &mut impl BufRead) -> String {
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// What a member says, in this order: seconds until all its threads had signed with all keys, the milliseconds of the
/// longest signature, failures, and what the module counted.
fn report(settings: &Settings, all: &[Vec<f64>], took: Duration) {
    let column = |at: usize| {
        let mut cells: Vec<f64> = all.iter().map(|cells| cells[at]).collect();
        cells.sort_by(f64::total_cmp);
        cells
    };
    let sum = |at: usize| column(at).iter().sum::<f64>();
    let (seconds, longest) = (column(0), column(1));
    let signatures = settings.processes * settings.threads * settings.keys as usize;
    println!("{signatures} signatures by {} threads in each process, {} failed", settings.threads, sum(2));
    println!(
        "all have signed with all keys after {:.2} s; a process took {:.2} to {:.2} s, {:.2} in the median",
        took.as_secs_f64(),
        seconds[0],
        seconds[seconds.len() - 1],
        seconds[seconds.len() / 2]
    );
    println!("the longest wait for one signature was {:.0} ms", longest[longest.len() - 1]);
    println!("calls {}, requests {}, throttled {}, calls failed {}", sum(3), sum(4), sum(5), sum(6));
}

/// Makes the token and its keys.
fn make(configuration: &Path, keys: u32) {
    let module = Module::start(configuration);
    module.make_token(true);
    let session = module.open(true);
    module.login(session);
    for key in 0..keys {
        module.generate(session, Kind::P256, &key.to_be_bytes());
    }
}

fn member_of_fleet(configuration: &Path, keys: u32, threads: usize, apart: bool, member: u32) {
    let module = Module::start(configuration);
    let first = module.open(false);
    module.login(first);
    let keys: Vec<_> = (0..keys).map(|key| module.private_key(first, &key.to_be_bytes())).collect();
    let sessions: Vec<_> = (0..threads).map(|_| module.open(false)).collect();
    println!("ready");
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).expect("the word to go");
    let (begun, start) = (Instant::now(), Barrier::new(threads));
    let work = |number: usize, session| {
        let from = if apart { (number + member as usize) * keys.len() / threads } else { 0 };
        start.wait();
        let (mut longest, mut failed) = (Duration::ZERO, 0);
        for at in 0..keys.len() {
            let begun = Instant::now();
            let signed = module.sign(session, keys[(from + at) % keys.len()], Kind::P256.signs(), b"data");
            failed += u32::from(signed.is_err());
            longest = longest.max(begun.elapsed());
        }
        (longest, failed)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> =
            sessions.iter().enumerate().map(|(number, session)| scope.spawn(move || work(number, *session))).collect();
        all.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let longest = done.iter().map(|(longest, _)| *longest).max().unwrap_or_default().as_secs_f64() * 1e3;
    let failed: u32 = done.iter().map(|(_, failed)| failed).sum();
    let counted = [Count::KmsCalls, Count::KmsRequests, Count::KmsThrottles, Count::KmsFailures];
    let counted = counted.map(|count| statistic(module, count).to_string()).join(" ");
    println!("{seconds} {longest} {failed} {counted}");
}

/// `DATAKEY_FUNCTION_LIST`.
#[repr(C)]
struct Vendor {
    version: CK_VERSION,
    error_text: usize,
    statistics: unsafe extern "C" fn(CK_SLOT_ID, *mut CK_ULONG, CK_ULONG) -> CK_RV,
}

/// A number of the vendor interface.
fn statistic(module: Module, count: Count) -> u64 {
    let (mut found, mut numbers) = (null_mut(), [0; 17]);
    let name = c"Vendor datakey-pkcs11".as_ptr().cast_mut().cast();
    ok!(module, C_GetInterface, name, null_mut(), &mut found, 0);
    let size = size_of_val(&numbers) as CK_ULONG;
    // SAFETY: the interface and its list stay as long as the library does, and the numbers are as many as is said.
    unsafe {
        let vendor = &*(*found).pFunctionList.cast::<Vendor>();
        assert_eq!((vendor.statistics)(0, numbers.as_mut_ptr(), size), CKR_OK);
    }
    numbers[count as usize]
}

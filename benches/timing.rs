//! Whether the time of an RSA decryption tells what is wrong with a ciphertext (Bleichenbacher, Manger, Marvin).
//!
//! ```text
//! cargo bench --bench timing -- [--samples N] [--seed S] [--module OURS] [SUITE]
//! ```
//!
//! `OURS` is `target/release/libdatakey_pkcs11.so` unless given (build it first: this program does not). `SUITE` is
//! part of a suite's name; without it all are run. Each suite calls one function with ciphertexts of several classes, in
//! an order shuffled anew in each round, and compares the times of every class with those of the first one, which is
//! right: Welch's t of all samples, and of those below several percentiles, because what the machine does besides falls
//! on the slow ones. The largest |t| counts; as with dudect, 4.5 and more is a difference. The more samples, and the less
//! else the machine has to do, the smaller is the difference that is seen.
//!
//! Two kinds of control say what that is worth. `the same again` draws from the first class once more: its |t| is the
//! noise. `N ns later` does the same and then waits so long before the clock is stopped: the shortest wait that is found
//! is the difference that would have been seen. A ciphertext of a wrong length, which is rejected before the key is used
//! and tells nobody anything, has to be found in any case.
//!
//! PKCS#1 v1.5 never answers that a ciphertext is wrong, and its classes are compared with the right one. OAEP does: who
//! sees the answer knows more than any clock tells, and no two paths with different answers are the same to the
//! nanosecond, given samples enough. So its classes are compared with each other (`alike` is |t| against the first
//! class with the same answer), which is what Manger's attack would need; and a wrong ciphertext may take no more than
//! 100 ns more or less than a right one, of which `C_UnwrapKey` makes a key besides.
//!
//! The program fails if a class is told apart that must not be, or if the longest wait is not.

#[path = "timing/blocks.rs"]
mod blocks;
#[path = "../tests/host/mod.rs"]
mod host;
#[path = "timing/statistics.rs"]
mod statistics;

use blocks::{Class, Numbers};
use cryptoki_sys::*;
use host::{Kind, Module, Place, attr, call, mechanism, ok};
use statistics::{FOUND, compare, median};
use std::process::exit;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// Nanoseconds of the positive controls, the longest last.
const WAITS: [u64; 4] = [100, 300, 1000, 3000];
/// Samples of each class that are taken first and thrown away.
const WARM_UP: usize = 200;

fn main() {
    let (mut samples, mut seed, mut wanted) = (10_000_usize, 1_u64, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage());
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--samples" => samples = value().parse().unwrap_or_else(|_| usage()),
            "--seed" => seed = value().parse().unwrap_or_else(|_| usage()),
            // SAFETY: this process has one thread yet.
            "--module" => unsafe { std::env::set_var("DATAKEY_TEST_MODULE", value()) },
            _ if !argument.starts_with('-') => wanted = argument,
            _ => usage(),
        }
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let (public, private) = module.generate(session, Kind::Rsa(2048), b"timing");
    let target = Target { module, session, public, private, modulus_len: 256 };
    let mut leaks = 0;
    for suite in Suite::ALL.into_iter().filter(|suite| suite.name().contains(&wanted)) {
        leaks += target.run(suite, samples, &mut Numbers::new(seed));
    }
    module.finalise();
    if leaks > 0 {
        eprintln!("{leaks} classes are not as they must be");
        exit(1);
    }
}

fn usage() -> ! {
    eprintln!("usage: timing [--samples N] [--seed S] [--module OURS] [SUITE]");
    exit(2)
}

/// A function and a mechanism.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suite {
    DecryptPkcs1,
    DecryptOaep,
    UnwrapPkcs1,
    UnwrapOaep,
}

impl Suite {
    const ALL: [Self; 4] = [Self::DecryptPkcs1, Self::DecryptOaep, Self::UnwrapPkcs1, Self::UnwrapOaep];

    fn name(self) -> &'static str {
        match self {
            Self::DecryptPkcs1 => "C_Decrypt CKM_RSA_PKCS",
            Self::DecryptOaep => "C_Decrypt CKM_RSA_PKCS_OAEP",
            Self::UnwrapPkcs1 => "C_UnwrapKey CKM_RSA_PKCS",
            Self::UnwrapOaep => "C_UnwrapKey CKM_RSA_PKCS_OAEP",
        }
    }

    fn is_oaep(self) -> bool {
        matches!(self, Self::DecryptOaep | Self::UnwrapOaep)
    }

    fn unwraps(self) -> bool {
        matches!(self, Self::UnwrapPkcs1 | Self::UnwrapOaep)
    }

    /// The length of a right message: a TLS secret, or an AES key.
    fn message_len(self) -> usize {
        if self.unwraps() { 16 } else { 48 }
    }

    /// By how many nanoseconds the medians of right and wrong may differ if their answers do.
    fn slack(self) -> f64 {
        if self == Self::UnwrapOaep { f64::INFINITY } else { 100.0 }
    }

    fn classes(self) -> Vec<Class> {
        if self.is_oaep() { blocks::oaep() } else { blocks::pkcs1(self.message_len()) }
    }
}

/// What is measured, with the ciphertexts to measure it with.
struct Row {
    name: String,
    ciphertexts: Vec<Vec<u8>>,
    wait: Duration,
    /// Whether a difference is right, wrong, or neither.
    expected: Expected,
    times: Vec<f64>,
    /// The answers that were seen.
    answers: Vec<CK_RV>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Same,
    Different,
    Anything,
}

/// The key and its session.
struct Target {
    module: Module,
    session: CK_SESSION_HANDLE,
    public: CK_OBJECT_HANDLE,
    private: CK_OBJECT_HANDLE,
    modulus_len: usize,
}

impl Target {
    /// Measures and prints one suite; how many of its rows are not as expected.
    fn run(&self, suite: Suite, samples: usize, numbers: &mut Numbers) -> usize {
        let mut rows = self.rows(suite, numbers);
        for round in 0..samples + WARM_UP {
            let mut order: Vec<_> = (0..rows.len()).collect();
            numbers.shuffle(&mut order);
            for index in order {
                let row = &mut rows[index];
                let ciphertext = &row.ciphertexts[numbers.below(row.ciphertexts.len())];
                let (time, answer) = self.measure(suite, ciphertext, row.wait);
                if round >= WARM_UP {
                    row.times.push(time.as_nanos() as f64);
                }
                if !row.answers.contains(&answer) {
                    row.answers.push(answer);
                }
            }
        }
        println!("\n{}, {} bits, {samples} samples of each class", suite.name(), 8 * self.modulus_len);
        println!("{:<42} {:>10} {:>10} {:>8} {:>8}   answers", "", "median us", "more ns", "|t|", "alike");
        let (right, others) = rows.split_first().expect("each suite has classes");
        let mut wrong = 0;
        for row in std::iter::once(right).chain(others) {
            let t = compare(&right.times, &row.times);
            let alike = rows.iter().find(|other| other.answers == row.answers).unwrap_or(right);
            let among = compare(&alike.times, &row.times);
            let median = median(&row.times);
            let more = median - self::median(&right.times);
            let answered_so = suite.is_oaep() && row.answers != right.answers && row.expected == Expected::Same;
            let found = if answered_so { among >= FOUND || more.abs() > suite.slack() } else { t >= FOUND };
            let verdict = match (found, row.expected) {
                (true, Expected::Same) => "DIFFERENT",
                (false, Expected::Different) => "NOT FOUND",
                (true, _) => "found",
                (false, _) => "",
            };
            wrong += usize::from(verdict.chars().any(char::is_uppercase));
            let answers: Vec<_> = row.answers.iter().map(|rv| format!("{rv:#x}")).collect();
            println!(
                "{:<42} {:>10.2} {more:>10.0} {t:>8.2} {among:>8.2}   {} {verdict}",
                row.name,
                median / 1000.0,
                answers.join(" ")
            );
        }
        wrong
    }

    fn rows(&self, suite: Suite, numbers: &mut Numbers) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut row = |name: String, ciphertexts: &[Vec<u8>], wait, expected| {
            let (times, answers, ciphertexts) = (Vec::new(), Vec::new(), ciphertexts.to_vec());
            rows.push(Row { name, ciphertexts, wait: Duration::from_nanos(wait), expected, times, answers });
        };
        let classes = suite.classes();
        let of_class = |class: &Class, numbers: &mut Numbers| -> Vec<_> {
            (0..blocks::OF_A_CLASS)
                .map(|_| self.encrypt(&(class.block)(numbers, self.modulus_len, suite.message_len())))
                .collect()
        };
        let right = of_class(&classes[0], numbers);
        row(classes[0].name.to_owned(), &right, 0, Expected::Same);
        row("the same again".to_owned(), &right, 0, Expected::Same);
        row("others of the same class".to_owned(), &of_class(&classes[0], numbers), 0, Expected::Same);
        for class in &classes[1..] {
            row(class.name.to_owned(), &of_class(class, numbers), 0, Expected::Same);
        }
        for wait in WAITS {
            let expected = if Some(&wait) == WAITS.last() { Expected::Different } else { Expected::Anything };
            row(format!("control: {wait} ns later"), &right, wait, expected);
        }
        let short: Vec<_> = right.iter().map(|sealed| sealed[1..].to_vec()).collect();
        row("control: a ciphertext of a wrong length".to_owned(), &short, 0, Expected::Different);
        rows
    }

    /// The raw operation with the public key.
    fn encrypt(&self, block: &[u8]) -> Vec<u8> {
        let (mut sealed, mut len) = (vec![0; self.modulus_len], self.modulus_len as CK_ULONG);
        let (data, data_len) = (block.as_ptr().cast_mut(), block.len() as CK_ULONG);
        ok!(self.module, C_EncryptInit, self.session, &mut mechanism(CKM_RSA_X_509), self.public);
        ok!(self.module, C_Encrypt, self.session, data, data_len, sealed.as_mut_ptr(), &mut len);
        sealed
    }

    fn measure(&self, suite: Suite, sealed: &[u8], wait: Duration) -> (Duration, CK_RV) {
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: null_mut(),
            ulSourceDataLen: 0,
        };
        let mut mechanism = mechanism(CKM_RSA_PKCS);
        if suite.is_oaep() {
            mechanism = CK_MECHANISM {
                mechanism: CKM_RSA_PKCS_OAEP,
                pParameter: (&raw mut oaep).cast(),
                ulParameterLen: size_of_val(&oaep) as CK_ULONG,
            };
        }
        // A copy, so that where a ciphertext lies says nothing.
        let mut input = [0_u8; 512];
        input[..sealed.len()].copy_from_slice(sealed);
        let (data, data_len) = (input.as_mut_ptr(), sealed.len() as CK_ULONG);
        let (mut out, mut len) = ([0_u8; 512], 512);
        if suite.unwraps() {
            let (class, kind, key_len) =
                (CKO_SECRET_KEY.to_ne_bytes(), CKK_AES.to_ne_bytes(), (suite.message_len() as CK_ULONG).to_ne_bytes());
            let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &kind), attr(CKA_VALUE_LEN, &key_len)];
            let mut key = 0;
            let since = Instant::now();
            let answer = call!(
                self.module,
                C_UnwrapKey,
                self.session,
                &mut mechanism,
                self.private,
                data,
                data_len,
                template.as_mut_ptr(),
                3,
                &mut key
            );
            let time = wait_and_stop(since, wait);
            if answer == CKR_OK {
                ok!(self.module, C_DestroyObject, self.session, key);
            }
            return (time, answer);
        }
        ok!(self.module, C_DecryptInit, self.session, &mut mechanism, self.private);
        let since = Instant::now();
        let answer = call!(self.module, C_Decrypt, self.session, data, data_len, out.as_mut_ptr(), &mut len);
        (wait_and_stop(since, wait), answer)
    }
}

/// Every sample reads the clock twice at its end, whether or not it waits.
fn wait_and_stop(since: Instant, wait: Duration) -> Duration {
    let end = since.elapsed() + wait;
    loop {
        let time = since.elapsed();
        if time >= end {
            return time;
        }
        std::hint::spin_loop();
    }
}

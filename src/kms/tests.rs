//! The client against faults: in the process, over a port, and against what is no KMS at all.

mod surroundings;

use super::embedded::{self, FaultKind, Server};
use super::*;
use crate::config::{KmsBackend, KmsConfig, Timeouts};
use crate::error::{Cause, Error};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RULES: HostRules = HostRules { threads_allowed: true, secure_mode: false };
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn config(backend: KmsBackend) -> KmsConfig {
    KmsConfig {
        backend,
        region: Some("us-east-1".to_owned()),
        timeouts: Timeouts {
            attempt: Duration::from_millis(500),
            total: Duration::from_millis(2000),
            generate_attempt: Duration::from_secs(5),
            generate_total: Duration::from_secs(60),
        },
        ..KmsConfig::default()
    }
}

/// An embedded KMS in a folder of its own, and a client of it.
struct Bench {
    _folder: tempfile::TempDir,
    _server: Option<Server>,
    kms: Kms,
    context: EncryptionContext,
    sealed: Vec<u8>,
}

impl Bench {
    fn new(over_a_port: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let server = over_a_port.then(|| embedded::serve(ANY_PORT, &file, false).unwrap());
        let mut config = config(if over_a_port { KmsBackend::Aws } else { KmsBackend::Embedded(file) });
        if let Some(server) = &server {
            config = aws_at(server.url());
        }
        let kms = Kms::new(&config, RULES);
        let context = EncryptionContext::default().with("a", "1");
        let sealed = kms.encrypt(&crate::crypto::Secret::new(b"secret".to_vec()), &context).unwrap().sealed;
        let bench = Self { _folder: folder, _server: server, kms, context, sealed };
        bench.control().reset_calls();
        bench
    }

    fn control(&self) -> &embedded::Control {
        self.kms.embedded().unwrap_or_else(|| self._server.as_ref().unwrap().control())
    }

    fn decrypt(&self) -> crate::error::Result<Opened> {
        self.kms.decrypt(&self.sealed, &self.context)
    }

    /// How a call goes after these faults, and how often KMS was called.
    fn after(&self, faults: impl IntoIterator<Item = FaultKind>) -> (crate::error::Result<Opened>, u64) {
        faults.into_iter().for_each(|fault| self.control().inject_any(fault));
        self.control().reset_calls();
        let result = self.decrypt();
        self.control().clear_faults();
        (result, self.control().calls_of("Decrypt"))
    }
}

/// A configuration for AWS at this endpoint, with credentials that need no environment: those tests that
/// use it run in a child process with the variables set.
fn aws_at(url: String) -> KmsConfig {
    KmsConfig { key_id: embedded::DEFAULT_ALIAS.to_owned(), endpoint_url: Some(url), ..config(KmsBackend::Aws) }
}

fn error(code: &str) -> FaultKind {
    FaultKind::Error { code: code.to_owned(), status: None, message: "why".to_owned() }
}

fn body(status: u16, text: &str) -> FaultKind {
    FaultKind::Body { status, text: text.to_owned() }
}

#[track_caller]
fn failed<T>(result: crate::error::Result<T>) -> Error {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error,
    }
}

/// Runs one test of this file again in a child process with this environment, so that no test changes the
/// environment of the others. Returns whether this is that child.
fn in_child(test: &str, variables: &[(&str, &str)]) -> bool {
    const MARK: &str = "DATAKEY_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || name.to_ascii_lowercase().ends_with("_proxy") {
            child.env_remove(name);
        }
    }
    let name = format!("kms::tests::{test}");
    let output = child
        .args(["--exact", &name, "--nocapture"])
        .env("HOME", "/nonexistent")
        .env(MARK, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];

fn survives_what_passes(bench: &Bench) {
    let throttled = || error("ThrottlingException");
    for (what, faults, calls) in [
        ("throttled twice", vec![throttled(), throttled()], 3),
        ("internal error", vec![error("KMSInternalException")], 2),
        ("unavailable", vec![error("KeyUnavailableException"), error("DependencyTimeoutException")], 3),
        ("a proxy's 503", vec![body(503, "<html>busy</html>")], 2),
        ("reset", vec![FaultKind::Reset], 2),
        ("no answer once", vec![FaultKind::Hang], 2),
        ("late, but in time", vec![FaultKind::Delay(50)], 1),
        ("signature refused once", vec![error("InvalidSignatureException")], 2),
    ] {
        let (result, counted) = bench.after(faults);
        let opened = result.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(opened.plaintext.expose(), b"secret", "{what}");
        assert_eq!(counted, calls, "{what}");
    }
}

fn tells_what_lasts(bench: &Bench) {
    for (fault, cause) in [
        (error("AccessDeniedException"), Cause::KmsAccessDenied),
        (error("NotFoundException"), Cause::KmsKeyNotFound),
        (error("DisabledException"), Cause::KmsKeyDisabled),
        (error("KMSInvalidStateException"), Cause::KmsKeyInvalidState),
        (error("InvalidCiphertextException"), Cause::SealBroken),
        (error("IncorrectKeyException"), Cause::SealWrongKey),
        (error("InvalidKeyUsageException"), Cause::KmsInvalidKeyUsage),
        (error("InvalidGrantTokenException"), Cause::KmsInvalidGrantToken),
        (error("LimitExceededException"), Cause::KmsRejected),
        (error("ValidationException"), Cause::KmsRejected),
        (error("SomethingNewException"), Cause::KmsRejected),
        (body(200, "{"), Cause::KmsBadResponse),
        (body(200, "<html>log in</html>"), Cause::KmsBadResponse),
        (body(200, "{}"), Cause::KmsBadResponse),
        (body(200, r#"{"KeyId":"x","Plaintext":""}"#), Cause::KmsBadResponse),
        (body(200, r#"{"KeyId":"x","Plaintext":"AA==","EncryptionAlgorithm":"ROT13"}"#), Cause::KmsBadResponse),
        (body(200, &format!(r#"{{"KeyId":"x","Plaintext":"{}"}}"#, "A".repeat(8192))), Cause::KmsBadResponse),
        (body(302, ""), Cause::KmsBadResponse),
        (body(403, "no"), Cause::KmsBadResponse),
        (body(401, "no"), Cause::KmsBadResponse),
        (body(403, r#"{"__type":"SomethingNewException"}"#), Cause::KmsAccessDenied),
    ] {
        let what = format!("{fault:?}");
        let (result, calls) = bench.after([fault]);
        let error = failed(result);
        assert_eq!((error.cause(), calls), (cause, 1), "{what}: {error}");
    }
}

#[test]
fn what_passes_is_survived_in_process() {
    survives_what_passes(&Bench::new(false));
}

#[test]
fn what_lasts_is_told_after_one_attempt_in_process() {
    tells_what_lasts(&Bench::new(false));
}

#[test]
fn faults_are_the_same_over_a_port() {
    if in_child("faults_are_the_same_over_a_port", &KEYS) {
        let bench = Bench::new(true);
        survives_what_passes(&bench);
        tells_what_lasts(&bench);
    }
}

#[test]
fn an_error_says_all_that_helps() {
    let bench = Bench::new(false);
    let error = failed(bench.after([error("AccessDeniedException")]).0);
    let text = error.detail();
    for part in ["kms:Decrypt", "AccessDeniedException: why", "KMS key alias/datakey-pkcs11", "request ", "1 attempt"] {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn deadlines_hold() {
    let bench = Bench::new(false);
    let begun = Instant::now();
    let (result, calls) = bench.after((0..20).map(|_| FaultKind::Hang));
    assert_eq!(failed(result).cause(), Cause::KmsTimeout);
    assert!(calls >= 3, "{calls} attempts of 500 ms in 2000 ms");
    assert!(begun.elapsed() < Duration::from_millis(3000), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let (result, calls) = bench.after((0..200).map(|_| error("ThrottlingException")));
    let refused = failed(result);
    assert_eq!(refused.cause(), Cause::KmsThrottled, "throttling is not called a timeout");
    assert!(calls >= 3 && refused.detail().contains(&format!("{calls} attempts")), "{calls}: {refused}");
    assert!(begun.elapsed() < Duration::from_millis(3000), "{:?}", begun.elapsed());
}

#[test]
fn what_is_broken_is_not_tried_for_ever() {
    let bench = Bench::new(false);
    let (result, calls) = bench.after((0..200).map(|_| FaultKind::Reset));
    assert_eq!((failed(result).cause(), calls), (Cause::KmsUnreachable, 5));
    let (result, calls) = bench.after((0..200).map(|_| error("ExpiredTokenException")));
    assert_eq!((failed(result).cause(), calls), (Cause::CredentialsRejected, 2));
}

#[test]
fn an_oversized_answer_is_not_read() {
    if in_child("an_oversized_answer_is_not_read", &KEYS) {
        let bench = Bench::new(true);
        let (result, _) = bench.after([body(200, &"x".repeat(1 << 20))]);
        let cause = failed(result).cause();
        assert_eq!(cause, Cause::KmsBadResponse);
    }
}

#[test]
fn many_threads_share_a_client() {
    let work = |bench: &Bench| {
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(bench.decrypt().unwrap().plaintext.expose(), b"secret");
                    }
                });
            }
        });
        assert_eq!(bench.control().calls_of("Decrypt"), 640, "no attempt had to be made twice");
        bench.kms.forget_connections();
        bench.decrypt().unwrap();
    };
    if std::env::var_os("DATAKEY_TEST_CHILD").is_none() {
        work(&Bench::new(false));
    }
    if in_child("many_threads_share_a_client", &KEYS) {
        work(&Bench::new(true));
    }
}

#[test]
fn connections_can_be_dropped_under_load() {
    if in_child("connections_can_be_dropped_under_load", &KEYS) {
        let bench = Bench::new(true);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| drop(bench.decrypt().unwrap())));
            }
            scope.spawn(|| {
                for _ in 0..50 {
                    bench.kms.forget_connections();
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        });
    }
}

#[test]
fn no_thread_is_left_between_calls() {
    // A process with one test in it has the threads of the test harness and no others.
    if in_child("no_thread_is_left_between_calls", &KEYS) {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let folder = tempfile::tempdir().unwrap();
        let kms = Kms::new(&config(KmsBackend::Embedded(folder.path().join("keys"))), RULES);
        let before = threads();
        kms.describe_key().unwrap();
        assert_eq!(threads(), before);

        let kms = Kms::new(&aws_at("http://localhost:1".to_owned()), RULES);
        assert_eq!(failed(kms.describe_key()).cause(), Cause::KmsUnreachable);
        assert_eq!(threads(), before, "name resolution left a thread");
    }
}

#[test]
fn a_cancelled_client_ends_its_calls_and_makes_no_more() {
    let bench = Bench::new(false);
    bench.control().inject_any(FaultKind::Hang);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| bench.decrypt());
        std::thread::sleep(Duration::from_millis(100));
        bench.kms.cancel();
        assert_eq!(failed(call.join().unwrap()).cause(), Cause::NotInitialized);
    });
    assert!(begun.elapsed() < Duration::from_millis(450), "{:?}", begun.elapsed());
    assert_eq!(failed(bench.decrypt()).cause(), Cause::NotInitialized);
    assert_eq!(bench.control().calls_of("Decrypt"), 1);
}

#[test]
fn a_caller_inside_an_async_runtime_is_served() {
    let bench = Bench::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { assert_eq!(bench.decrypt().unwrap().plaintext.expose(), b"secret") });
    runtime.block_on(async { bench.kms.forget_connections() });
    runtime.block_on(async { drop(bench) });
}

#[test]
fn a_new_client_touches_nothing() {
    let missing = Path::new("/nonexistent/keys.json");
    let kms = Kms::new(&config(KmsBackend::Embedded(missing.to_owned())), RULES);
    let error = failed(kms.describe_key());
    assert_eq!(error.cause(), Cause::KmsSetup);
    assert!(error.detail().contains("/nonexistent/keys.json"), "{error}");
}

#[test]
fn dead_endpoints_are_told_from_deaf_ones() {
    if in_child("dead_endpoints_are_told_from_deaf_ones", &KEYS) {
        let begun = Instant::now();
        let error = failed(Kms::new(&aws_at("http://127.0.0.1:1".to_owned()), RULES).describe_key());
        assert_eq!(error.cause(), Cause::KmsUnreachable, "{error}");
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());

        let name = "http://no-such-host.invalid".to_owned();
        let error = failed(Kms::new(&aws_at(name), RULES).describe_key());
        assert_eq!(error.cause(), Cause::KmsUnreachable, "{error}");
        assert!(error.detail().contains("no-such-host.invalid"), "{error}");

        let deaf = TcpListener::bind(ANY_PORT).unwrap();
        let url = format!("http://{}", deaf.local_addr().unwrap());
        let begun = Instant::now();
        assert_eq!(failed(Kms::new(&aws_at(url), RULES).describe_key()).cause(), Cause::KmsTimeout);
        assert!(begun.elapsed() < Duration::from_millis(3000), "{:?}", begun.elapsed());

        let endpoint = "not a url".to_owned();
        assert_eq!(failed(Kms::new(&aws_at(endpoint), RULES).describe_key()).cause(), Cause::KmsSetup);
    }
}

/// Answers one connection with `answer` and returns what was asked.
fn answer_once(answer: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<String>) {
    answer_each(vec![answer])
}

/// Answers so many connections, one after the other, and returns what the last one asked. Each is closed
/// after its answer.
fn answer_each(answers: Vec<&'static [u8]>) -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let mut asked = String::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            asked = String::from_utf8_lossy(&request[..len]).into_owned();
        }
        asked
    });
    (address, asked)
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    if in_child("an_answer_that_breaks_off_is_asked_for_again", &KEYS) {
        let whole: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 74\r\n\r\n\
            {\"KeyMetadata\":{\"KeyId\":\"x\",\"Arn\":\"arn:aws:kms:us-east-1:111122223333:x\"}}";
        let headers: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-le";
        let body: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 74\r\n\r\n{\"KeyMetadata\":";
        let chunk: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"KeyMeta";
        for part in [headers, body, chunk] {
            let (address, asked) = answer_each(vec![part, part, whole]);
            let key = Kms::new(&aws_at(format!("http://{address}")), RULES).describe_key();
            let key = key.unwrap_or_else(|error| panic!("{:?}: {error}", String::from_utf8_lossy(part)));
            assert_eq!(key.arn, "arn:aws:kms:us-east-1:111122223333:x");
            asked.join().unwrap();

            let (address, asked) = answer_each(vec![part; 5]);
            let error = failed(Kms::new(&aws_at(format!("http://{address}")), RULES).describe_key());
            assert_eq!(error.cause(), Cause::KmsUnreachable, "{error}");
            assert!(error.detail().contains("5 attempts"), "{error}");
            asked.join().unwrap();
        }

        // What is whole and makes no sense is not asked for twice.
        let (address, asked) = answer_each(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{"]);
        let error = failed(Kms::new(&aws_at(format!("http://{address}")), RULES).describe_key());
        assert_eq!(error.cause(), Cause::KmsBadResponse, "{error}");
        asked.join().unwrap();
    }
}

#[test]
fn a_proxy_is_asked_and_no_answer_of_its_own_is_believed() {
    if in_child("a_proxy_is_asked_and_no_answer_of_its_own_is_believed", &KEYS) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (address, asked) = answer_once(refusal);
        let proxy = Some(format!("http://{address}"));
        let config = KmsConfig { proxy: proxy.clone(), ..aws_at("http://kms.invalid".to_owned()) };
        assert_eq!(failed(Kms::new(&config, RULES).describe_key()).cause(), Cause::KmsRejected);
        assert!(asked.join().unwrap().starts_with("POST http://kms.invalid/ "));

        let (address, asked) = answer_once(refusal);
        let config = KmsConfig { proxy: Some(format!("http://{address}")), ..aws_at("https://kms.invalid".to_owned()) };
        assert_eq!(failed(Kms::new(&config, RULES).describe_key()).cause(), Cause::KmsUnreachable);
        assert!(asked.join().unwrap().starts_with("CONNECT kms.invalid:443 "));
    }
}

#[test]
fn a_missing_region_is_told_soon() {
    if in_child("a_missing_region_is_told_soon", &KEYS) {
        let begun = Instant::now();
        let config = KmsConfig { region: None, ..aws_at("http://127.0.0.1:1".to_owned()) };
        assert_eq!(failed(Kms::new(&config, RULES).describe_key()).cause(), Cause::RegionMissing);
        assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
    }
}

#[test]
fn missing_credentials_are_told_soon() {
    if in_child("missing_credentials_are_told_soon", &[("AWS_MAX_ATTEMPTS", "0")]) {
        let begun = Instant::now();
        let mut config = aws_at("http://127.0.0.1:1".to_owned());
        config.timeouts = Timeouts::default();
        let error = failed(Kms::new(&config, RULES).describe_key());
        assert_eq!(error.cause(), Cause::CredentialsMissing, "{error}");
        assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_privileged_process_believes_no_environment() {
    let trap = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let variables = [KEYS[0], KEYS[1], trap, ("AWS_REGION", "eu-west-1"), ("HTTPS_PROXY", "http://127.0.0.1:9")];
    if in_child("a_privileged_process_believes_no_environment", &variables) {
        let rules = HostRules { threads_allowed: true, secure_mode: true };
        let mut patient = config(KmsBackend::Aws);
        patient.timeouts = Timeouts::default();
        let error = failed(Kms::new(&patient, rules).describe_key());
        assert_eq!(error.cause(), Cause::CredentialsMissing, "the keys of the environment were used: {error}");

        let no_region = KmsConfig { region: None, ..patient.clone() };
        let error = failed(Kms::new(&no_region, rules).describe_key());
        assert_eq!(error.cause(), Cause::RegionMissing, "the Region of the environment was used: {error}");

        let profile = KmsConfig { profile: Some("web".to_owned()), ..patient };
        assert_eq!(failed(Kms::new(&profile, rules).describe_key()).cause(), Cause::KmsSetup);
    }
}

#[test]
fn a_bad_bundle_of_certificates_is_named() {
    if in_child("a_bad_bundle_of_certificates_is_named", &KEYS) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        for text in
            ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----"]
        {
            std::fs::write(&file, text).unwrap();
            let config = KmsConfig { ca_bundle: Some(file.clone()), ..aws_at("https://127.0.0.1:1".to_owned()) };
            let error = failed(Kms::new(&config, RULES).describe_key());
            assert_eq!(error.cause(), Cause::KmsSetup, "{text:?}");
            assert!(error.detail().contains("roots.pem"), "{error}");
        }
    }
}

#[test]
fn no_answer_of_kms_and_nothing_before_it_is_silence() {
    let silent: Vec<_> = Cause::ALL.iter().copied().filter(|cause| call::is_silence(*cause)).collect();
    assert_eq!(silent, [Cause::KmsTimeout, Cause::KmsUnreachable]);
}

#[test]
fn a_kms_that_is_not_there_is_asked_by_one_caller_at_a_time() {
    let bench = Bench::new(false);
    let hang = || (0..500).for_each(|_| bench.control().inject_any(FaultKind::Hang));
    hang();
    for _ in 0..3 {
        assert_eq!(failed(bench.decrypt()).cause(), Cause::KmsTimeout);
    }
    bench.control().reset_calls();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut refused = 0;
                    while begun.elapsed() < Duration::from_secs(3) {
                        let error = failed(bench.decrypt());
                        match error.cause() {
                            Cause::KmsNotTried => {
                                let said = error.detail();
                                assert!(said.starts_with("kms:Decrypt (KMS key "), "{said}");
                                assert!(
                                    said.contains("): tried again in ") && said.contains("the last call: "),
                                    "{said}"
                                );
                                refused += 1;
                            }
                            cause => assert_eq!(cause, Cause::KmsTimeout),
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    refused
                })
            })
            .collect();
        let refused: Vec<u32> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        assert!(refused.iter().all(|refused| *refused > 0), "{refused:?}");
    });
    // A probe after one second, and perhaps one after two more: a single attempt each.
    let probes = bench.control().calls_of("Decrypt");
    assert!((1..=2).contains(&probes), "{probes}");

    // It is back: within seconds somebody notices, and all others with him.
    bench.control().clear_faults();
    let begun = Instant::now();
    while bench.decrypt().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    (0..3).for_each(|_| drop(bench.decrypt().unwrap()));
}

#[test]
fn answers_never_stop_calls() {
    let bench = Bench::new(false);
    for code in ["AccessDeniedException", "ThrottlingException", "KMSInternalException", "DisabledException"] {
        for _ in 0..4 {
            let (result, calls) = bench.after((0..200).map(|_| error(code)));
            assert!(calls > 0, "{code}: {}", failed(result));
        }
    }
}

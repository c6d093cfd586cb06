//! No private key stays in the process's memory after logout, at the end of its time, or after
//! `C_Finalize`; while it is there, it lies only in the protected pool. Read from outside, in all readable
//! memory of a host process, for every kind of key, over a network connection, over TLS and with the embedded KMS.

mod host;
mod hosts;

use datakey::kms::embedded::{Server, serve};
use hosts::proxy::Proxy;
use hosts::scan::{Needle, Needles, Trace, describe, scan};
use hosts::{Host, PIN, SO_PIN, compile, keys};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const KINDS: [&str; 8] = ["rsa2048", "rsa4096", "p256", "p384", "p521", "secp256k1", "ed25519", "mldsa65"];

/// A token with one key of each kind, the KMS that sealed them, and all of what must not be found.
struct Token {
    folder: tempfile::TempDir,
    program: PathBuf,
    proxy: Proxy,
    tls: Proxy,
    login: &'static str,
    needles: Needles,
    _server: Server,
}

/// Where the KMS is, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kms {
    Network,
    Tls,
    Embedded,
}

impl Token {
    /// Makes the token and its keys by a host on this KMS, which is returned as it is after that.
    fn make(kms: Kms, login: &'static str) -> (Self, Host) {
        let (folder, program) = (tempfile::tempdir().unwrap(), compile("host"));
        let server = serve(([127, 0, 0, 1], 0).into(), &folder.path().join("kms.json"), false).unwrap();
        let proxy = Proxy::to(server.address());
        let tls = Proxy::with_tls(server.address(), folder.path());
        let mut token = Self { folder, program, proxy, tls, login, needles: Needles::default(), _server: server };
        let configuration = token.configuration(kms, "");
        match login {
            "pin" => Host::make_token(&token.program, &configuration),
            _ => {
                let mut host = Host::start(&token.program, &configuration);
                host.ok("initialise");
                host.ok(&format!("init-token {SO_PIN}"));
            }
        }
        let mut host = token.host(&configuration);
        for kind in KINDS {
            host.ok(&format!("generate {kind} {kind}"));
        }
        token.learn();
        (token, host)
    }

    /// Has every key opened over the network once, and notes what is seen there.
    fn learn(&mut self) {
        let mut host = self.host(&self.configuration(Kms::Network, ""));
        for kind in KINDS {
            host.ok(&format!("use {kind} {kind}"));
        }
        let (token_keys, private_keys): (Vec<_>, Vec<_>) =
            self.proxy.plaintexts().into_iter().partition(|plaintext| plaintext.len() == 32);
        assert_eq!(token_keys.len(), usize::from(self.login == "none"));
        assert_eq!(private_keys.len(), KINDS.len());
        for (kind, pkcs8) in KINDS.iter().zip(&private_keys) {
            keys::add_private_key(&mut self.needles, kind, pkcs8);
        }
        for key in &token_keys {
            self.needles.add(Needle { key: "token key".to_owned(), shape: "bytes".to_owned() }, key);
        }
        for pin in [PIN, SO_PIN] {
            self.needles.add(Needle { key: "PIN".to_owned(), shape: "text".to_owned() }, pin.as_bytes());
        }
        // A control of the scan itself: this process holds what went over the network.
        let seen = scan(std::process::id(), &self.needles);
        for kind in KINDS {
            for shape in ["big-endian", "base64"] {
                let found = seen.iter().any(|trace| trace.needle.key == kind && trace.needle.shape.ends_with(shape));
                assert!(found, "the scan does not see the {kind} key as {shape}");
            }
        }
    }

    /// A configuration of its own for each host. `more` is added to its `[[token]]`.
    fn configuration(&self, kms: Kms, more: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = self.folder.path();
        let kms = match kms {
            Kms::Network => self.proxy.configuration(),
            Kms::Tls => self.tls.configuration(),
            Kms::Embedded => format!("kms = \"embedded:{}\"", folder.join("kms.json").display()),
        };
        let (store, login) = (folder.join("token.db"), self.login);
        let store = store.display();
        let token = format!("label = \"test\"\nstore = \"sqlite:{store}\"\nlogin = \"{login}\"\n{kms}\n{more}");
        let file = folder.join(format!("{}.toml", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&file, format!("[log]\nlevel = \"error\"\n[[token]]\n{token}\n")).unwrap();
        file
    }

    /// A host that may use the keys.
    fn host(&self, configuration: &Path) -> Host {
        self.host_with(configuration, "initialise")
    }

    fn host_with(&self, configuration: &Path, initialise: &str) -> Host {
        let mut host = Host::start(&self.program, configuration);
        host.ok(initialise);
        host.ok("open");
        self.log_in(&mut host);
        host
    }

    fn log_in(&self, host: &mut Host) {
        if self.login == "pin" {
            host.ok(&format!("login {PIN}"));
        }
    }

    #[track_caller]
    fn assert_nothing(&self, pid: u32, when: &str) {
        let traces = scan(pid, &self.needles);
        assert!(traces.is_empty(), "{when}:\n{}", describe(&traces));
    }

    /// The positive control: every key of the cache is found, and nowhere but in memory that is neither
    /// dumped nor inherited, and that is locked unless the host may not lock so much.
    #[track_caller]
    fn assert_protected(&self, host: &Host) {
        let traces = scan(host.pid(), &self.needles);
        for kind in KINDS {
            assert!(traces.iter().any(|trace| trace.needle.key == kind), "the scan does not see the {kind} key");
        }
        let token_key = traces.iter().any(|trace| trace.needle.key == "token key");
        assert_eq!(token_key, self.login == "none", "the token key of a PIN is no needle, that of KMS is one");
        let is_outside = |trace: &Trace| !["dd", "wf", "lo"].iter().all(|flag| trace.mapping.has(flag));
        let outside: Vec<_> = traces.into_iter().filter(is_outside).collect();
        assert!(outside.is_empty(), "outside the protected pool:\n{}", describe(&outside));
    }
}

/// Uses every key, more than once and in every way.
fn use_keys(host: &mut Host) {
    for kind in KINDS {
        for _ in 0..3 {
            host.ok(&format!("use {kind} {kind}"));
        }
        if kind.starts_with("rsa") {
            host.ok(&format!("decrypt {kind}"));
        }
    }
}

/// One process that generated keys, and one that used them, to the end of each.
fn life(kms: Kms) {
    let (token, mut maker) = Token::make(kms, "pin");
    token.assert_protected(&maker);
    maker.ok("logout");
    token.assert_nothing(maker.pid(), "after C_GenerateKeyPair and C_Logout");

    let mut host = token.host(&token.configuration(kms, ""));
    token.assert_nothing(host.pid(), "after C_Login");
    use_keys(&mut host);
    token.assert_protected(&host);

    let child = host.ok("fork").parse().unwrap();
    token.assert_nothing(child, "in a forked child");

    host.ok("logout");
    token.assert_nothing(host.pid(), "after C_Logout");

    token.log_in(&mut host);
    use_keys(&mut host);
    host.ok("close");
    token.assert_nothing(host.pid(), "after the last C_CloseSession");

    host.ok("open");
    token.log_in(&mut host);
    use_keys(&mut host);
    token.assert_protected(&host);
    host.ok("finalise");
    token.assert_nothing(host.pid(), "after C_Finalize");
}

#[test]
fn nothing_is_left_after_a_life_with_the_network() {
    life(Kms::Network);
}

/// TLS has buffers and keys of its own.
#[test]
fn nothing_is_left_after_a_life_with_tls() {
    life(Kms::Tls);
}

#[test]
fn nothing_is_left_after_a_life_with_the_embedded_kms() {
    life(Kms::Embedded);
}

#[test]
fn nothing_is_left_of_a_token_without_pins() {
    let (token, mut maker) = Token::make(Kms::Network, "none");
    token.assert_protected(&maker);
    maker.ok("finalise");
    token.assert_nothing(maker.pid(), "after C_GenerateKeyPair and C_Finalize");

    for kms in [Kms::Network, Kms::Tls, Kms::Embedded] {
        let mut host = token.host(&token.configuration(kms, ""));
        use_keys(&mut host);
        token.assert_protected(&host);
        let child = host.ok("fork").parse().unwrap();
        token.assert_nothing(child, &format!("in a forked child, {kms:?}"));
        host.ok("finalise");
        token.assert_nothing(host.pid(), &format!("after C_Finalize, {kms:?}"));
    }
}

const AGE: Duration = Duration::from_secs(4);

/// A host that has used the P-256 key just now, under a configuration that lets it live for [`AGE`].
fn short_lived(token: &Token, kms: Kms, initialise: &str) -> Host {
    let more = format!("cache = {{ max_age = \"{}s\" }}", AGE.as_secs());
    let mut host = token.host_with(&token.configuration(kms, &more), initialise);
    use_keys(&mut host);
    std::thread::sleep(AGE);
    host.ok("use p256 p256");
    let traces = scan(host.pid(), &token.needles);
    assert!(traces.iter().any(|trace| trace.needle.key == "p256"), "the scan does not see the key while it lives");
    host
}

#[test]
fn nothing_is_left_when_the_keys_are_too_old() {
    let (token, _) = Token::make(Kms::Network, "pin");
    for kms in [Kms::Network, Kms::Embedded] {
        let threaded = short_lived(&token, kms, "initialise");
        let mut single = short_lived(&token, kms, "initialise no-threads");
        assert_eq!(threads(&single), 1, "CKF_LIBRARY_CANT_CREATE_OS_THREADS");
        std::thread::sleep(AGE);

        // Nobody calls this one; the machine may be busy.
        let patience = Instant::now() + Duration::from_secs(20);
        while !scan(threaded.pid(), &token.needles).is_empty() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(100));
        }
        token.assert_nothing(threaded.pid(), &format!("after the keys' time, {kms:?}"));

        // Any call at all will do here.
        single.ok("random");
        token.assert_nothing(single.pid(), &format!("after the keys' time and one call, {kms:?}"));
    }
}

fn threads(host: &Host) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().count()
}

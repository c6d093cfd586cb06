//! Hosts that have libraries of their own beside the module: OpenSSL, SQLite, AWS-LC, another allocator, the module
//! itself a second time; and OpenSSL's pkcs11-provider, whose way of calling is imitated.

mod host;
mod hosts;

use cryptoki_sys::*;
use datakey::crypto::{Hash, PublicKey, random};
use datakey::kms::embedded::{self, Server};
use host::{Kind, Module, Place, alone, library, ok};
use hosts::{Host, PIN, command, compile, run};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A KMS over the network and an initialised token on it, or one on the embedded KMS.
struct Token {
    place: Place,
    server: Option<Server>,
    _keys: tempfile::TempDir,
}

impl Token {
    fn make(network: bool, login: &str) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let more = format!("login = \"{login}\"\ncache = {{ max_age = \"20ms\" }}\n[log]\nlevel = \"warn\"");
        let (place, server) = if network {
            let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys.path().join("keys.json"), true).unwrap();
            // By name, so that it is looked up.
            let url = format!("http://localhost:{}", server.address().port());
            (Place::at(&url, embedded::DEFAULT_ALIAS, &more), Some(server))
        } else {
            (Place::embedded(&more), None)
        };
        Host::on_new_token(&compile("host"), &place.configuration(), login).ok("finalise");
        Self { place, server, _keys: keys }
    }

    fn command(&self, program: &Path) -> Command {
        command(program, &self.place.configuration())
    }

    /// How many private keys are on the token, whose file must be sound.
    fn private_keys(&self) -> usize {
        let store = rusqlite::Connection::open(self.place.store()).unwrap();
        let sound: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        let mut host = Host::start(&compile("host"), &self.place.configuration());
        host.ok("initialise");
        host.ok("open");
        host.ok("list").split(' ').filter(|object| object.starts_with("3:")).count()
    }
}

/// Each with locks of its own: what one does in the store, or ends, takes nothing from the other.
#[test]
fn two_copies_of_the_module_share_a_process_and_a_token() {
    let program = compile("company");
    for (network, deepbind) in [(false, false), (true, false), (false, true)] {
        let token = Token::make(network, "none");
        let second = token.place.folder().join("second-copy.so");
        std::fs::copy(library(), &second).unwrap();
        let mut command = token.command(&program);
        command.arg("copies").arg(&second);
        if deepbind {
            command.env("DEEPBIND", "1");
        }
        assert_eq!(run(&mut command), ["done"], "network {network}, deepbind {deepbind}");
        // One key of each life of each copy.
        assert_eq!(token.private_keys(), 50);
    }
}

const OWN_LIBRARIES: &str = "libcrypto.so.3:libsqlite3.so.0";
const OWN_ALLOCATOR: &str = "libjemalloc.so.2";

#[test]
fn a_host_with_its_own_openssl_and_sqlite() {
    let program = compile("company");
    for (network, preload, deepbind) in [(false, "", false), (true, OWN_LIBRARIES, false), (true, "", true)] {
        let token = Token::make(network, "none");
        let mut command = token.command(&program);
        command.arg("libraries").arg(token.place.folder().join("own.db")).env("LD_PRELOAD", preload);
        if deepbind {
            command.env("DEEPBIND", "1");
        }
        assert_eq!(run(&mut command), ["done"], "preloaded {preload:?}, deepbind {deepbind}");
        assert_eq!(token.private_keys(), 0);
    }
}

/// Where the module is loaded with `RTLD_DEEPBIND`, it has libc's allocator while libc itself has the host's: what
/// one of them allocated must not be freed by the other.
#[test]
fn a_host_with_its_own_allocator() {
    let program = compile("company");
    for (network, deepbind) in [(false, false), (true, false), (false, true), (true, true)] {
        let token = Token::make(network, "none");
        // Behind a link, which is followed.
        let (store, real) = (token.place.store(), token.place.folder().join("real.db"));
        for suffix in ["", "-wal", "-shm"] {
            let beside = |path: &Path| format!("{}{suffix}", path.display());
            if Path::new(&beside(&store)).exists() {
                std::fs::rename(beside(&store), beside(&real)).unwrap();
            }
        }
        std::os::unix::fs::symlink(&real, &store).unwrap();
        let mut command = token.command(&program);
        command.arg("libraries").arg(token.place.folder().join("own.db")).env("LD_PRELOAD", OWN_ALLOCATOR);
        if deepbind {
            command.env("DEEPBIND", "1");
        }
        assert_eq!(run(&mut command), ["done"], "network {network}, deepbind {deepbind}");
    }
}

/// This program has AWS-LC as well, its own: both work at once, and the module's comes and goes.
#[test]
fn a_host_with_its_own_aws_lc() {
    if !alone("a_host_with_its_own_aws_lc") {
        return;
    }
    let place = Place::embedded("login = \"none\"");
    let module = Module::start(&place.configuration());
    module.make_token(false);
    let session = module.open(true);
    let (public, private) = module.generate(session, Kind::P256, b"1");
    let spki = module.attribute(session, public, CKA_PUBLIC_KEY_INFO);
    let key = PublicKey::from_spki(&spki).unwrap();
    let digest = [7; 32];
    let signature = module.sign(session, private, CKM_ECDSA, &digest).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut wrong = signature.clone();
                wrong[40] ^= 1;
                while !stop.load(Ordering::Relaxed) {
                    key.verify_ecdsa(&digest, &signature).unwrap();
                    assert!(key.verify_ecdsa(&digest, &wrong).is_err());
                    let mut number = [0; 32];
                    random::fill(&mut number).unwrap();
                    assert_ne!(number, [0; 32]);
                    assert_eq!(Hash::Sha256.digest(b"data").len(), 32);
                }
            });
        }
        module.finalise();
        for _ in 0..50 {
            module.initialise();
            let session = module.open(false);
            let private = module.private_key(session, b"1");
            for _ in 0..5 {
                let signature = module.sign(session, private, CKM_ECDSA, &digest).unwrap();
                key.verify_ecdsa(&digest, &signature).unwrap();
            }
            ok!(module, C_Finalize, std::ptr::null_mut());
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// For each kind of key, with and without private keys that it may copy; under another allocator, too.
#[test]
fn openssls_pkcs11_provider() {
    let program = compile("provider");
    for (kind, login) in [("rsa", "pin"), ("ec", "pin"), ("ec", "none")] {
        for (copyable, preload) in [(false, ""), (true, ""), (false, OWN_ALLOCATOR)] {
            let token = Token::make(true, login);
            let mut command = token.command(&program);
            command.args([PIN, kind]).env("LD_PRELOAD", preload);
            if copyable {
                command.env("COPYABLE", "1");
            }
            let said = run(&mut command);
            // At its first use and at four more.
            let expected = if copyable { "done 5" } else { "done 0" };
            // Those of its children that clean up have nothing to say.
            assert_eq!(said, [expected], "{kind} {login}");
            let calls = token.server.as_ref().map(|server| server.control().calls()).unwrap_or_default();
            println!("{kind}, login {login}, copyable {copyable}: {calls:?}");
        }
    }
}

//! A token, the KMS behind a fault proxy, and what becomes of calls when one of the faults is there.

use super::cases::{Case, Trouble, Value};
use super::host::{Kind, Module, ok};
use super::support::fault_proxy::{Fault, FaultProxy};
use super::support::http;
use super::tls;
use cryptoki_sys::*;
use datakey::error::Cause;
use datakey::kms::embedded::{self, Control, Fault as Order, FaultKind, Server};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// The calls that are made while something is wrong.
pub(crate) const CALLS: [(&str, &str); 2] = [("C_GenerateKeyPair", "GenerateDataKeyPair"), ("C_Sign", "Decrypt")];

/// One attempt and all of them, where nothing is to wait for.
const LONG: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));
/// And where the fault lasts until a deadline.
const SHORT: (Duration, Duration) = (Duration::from_millis(800), Duration::from_millis(2400));
/// For all that is not waiting for KMS, on a busy machine.
const SLACK: Duration = Duration::from_secs(8);

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `CKR_OK`, or why it failed.
    pub(crate) cause: Option<Cause>,
    /// How often KMS was asked; `None` where that hangs on chance: until the deadline.
    pub(crate) asked: Option<u64>,
}

/// One function under one fault.
pub(crate) struct Row {
    pub(crate) function: &'static str,
    /// With the fault in the way of the first request only, where that can be.
    pub(crate) once: Option<Outcome>,
    /// For as long as it lasts.
    pub(crate) lasting: Outcome,
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    kms: SocketAddr,
    /// The embedded KMS, if it is that: it can be told what to say.
    server: Option<Server>,
    proxy: FaultProxy,
    tls: (String, PathBuf),
    another_ca: PathBuf,
    silent: TcpListener,
    key: String,
    other_key: String,
    rsa_key: String,
    module: Module,
    session: CK_SESSION_HANDLE,
    /// The KMS key that is configured.
    kms_key: String,
    limits: (Duration, Duration),
    log_read: usize,
    /// What was not as it is to be, of all faults.
    pub(crate) wrong: Vec<String>,
}

impl World {
    /// On the embedded KMS.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path().join("keys.json"), false).expect("KMS");
        Self::on(folder, server.address(), Some(server))
    }

    /// On one that others wrote.
    pub(crate) fn before(kms: SocketAddr) -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), kms, None)
    }

    fn on(folder: tempfile::TempDir, kms: SocketAddr, server: Option<Server>) -> Self {
        let made = |request| {
            let key = http::ask(kms, "CreateKey", &request);
            key["KeyMetadata"]["KeyId"].as_str().expect("a key id").to_owned()
        };
        let (key, other_key) = (made(json!({})), made(json!({})));
        let rsa_key = made(json!({ "KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT" }));
        let (another, with_tls) = (folder.path().join("another"), folder.path().join("tls"));
        std::fs::create_dir(&another).expect("a folder");
        std::fs::create_dir(&with_tls).expect("a folder");
        // SAFETY: no other thread of this process reads the environment.
        unsafe {
            std::env::set_var("DATAKEY_PKCS11_CONF", folder.path().join("datakey-pkcs11.toml"));
            std::env::set_var("HOME", "/nonexistent");
        }
        let proxy = FaultProxy::to(kms);
        let mut world = Self {
            tls: tls::before(proxy.address(), &with_tls),
            another_ca: tls::before(proxy.address(), &another).1,
            silent: TcpListener::bind("127.0.0.1:0").expect("a port"),
            folder,
            kms,
            server,
            proxy,
            key,
            other_key,
            rsa_key,
            module: Module::load(),
            session: 0,
            kms_key: String::new(),
            limits: LONG,
            log_read: 0,
            wrong: Vec::new(),
        };
        world.configure(&[], LONG);
        world.module.initialise();
        world.module.make_token(true);
        ok!(world.module, C_Finalize, null_mut());
        world.enter();
        world.module.generate(world.session, Kind::P256, b"1");
        world
    }

    /// What becomes of each call.
    pub(crate) fn run(&mut self, case: &Case) -> Vec<Row> {
        println!("{}", case.name);
        ok!(self.module, C_Finalize, null_mut());
        let changed: &[(&str, Value)] = if let Trouble::Configured(changed) = &case.trouble { changed } else { &[] };
        let waits = matches!(case.trouble, Trouble::Wait(_) | Trouble::SaysWait(_));
        self.configure(changed, if waits { SHORT } else { LONG });
        self.environment(&case.trouble);
        self.enter();
        let passes = !matches!(
            case.trouble,
            Trouble::Lasts(_) | Trouble::Configured(_) | Trouble::Without(_) | Trouble::Key(..) | Trouble::SaysTo(..)
        );
        let concerned = [0, 1].into_iter().filter(|index| concerns(&case.trouble, CALLS[*index].1));
        let rows = concerned.map(|index| {
            let once = passes.then(|| {
                self.order_once(&case.trouble);
                self.attempt(index, case)
            });
            self.order(&case.trouble);
            let lasting = self.attempt(index, case);
            self.take_back(&case.trouble);
            Row { function: CALLS[index].0, once, lasting }
        });
        let rows = rows.collect();
        // What was wrong is over; the client that saw it goes on, where it was not its configuration.
        if matches!(case.trouble, Trouble::Configured(_) | Trouble::Without(_)) {
            ok!(self.module, C_Finalize, null_mut());
            self.configure(&[], LONG);
            self.environment(&Trouble::Configured(&[]));
            self.enter();
        }
        for index in [0, 1] {
            let after = self.attempt(index, case);
            if after != (Outcome { cause: None, asked: Some(1) }) {
                self.wrong.push(format!("{} after {}: {after:?}", CALLS[index].0, case.name));
            }
        }
        rows
    }

    /// Makes the call, and checks what is to hold whatever comes of it.
    fn attempt(&mut self, index: usize, case: &Case) -> Outcome {
        let (function, operation) = CALLS[index];
        let (module, session) = (self.module, self.session);
        let what = format!("{function}, {}", case.name);
        self.proxy.take_calls();
        self.take_log();
        let before = module.find(session, &[]).len();
        let started = Instant::now();
        let rv = if index == 0 {
            let mut pair = (0, 0);
            let rv = module.try_generate(session, Kind::P256, b"2", &mut pair);
            if rv == CKR_OK {
                ok!(module, C_DestroyObject, session, pair.0);
                ok!(module, C_DestroyObject, session, pair.1);
            }
            rv
        } else {
            self.sign_and_verify()
        };
        let took = started.elapsed();
        assert!(took < self.limits.1 + SLACK, "{what} took {took:?}");
        assert_eq!(module.find(session, &[]).len(), before, "{what}: an object is lost, or half of one is there");

        let calls = self.proxy.take_calls();
        assert!(calls.keys().all(|asked| asked == operation), "{what}: {calls:?}");
        let asked = calls.get(operation).copied().unwrap_or(0);
        let cause = (rv != CKR_OK).then(|| {
            let number = module.device_error(session);
            let cause = Cause::ALL.iter().find(|cause| u64::from(cause.device_error()) == number && number != 0);
            let cause = *cause.unwrap_or_else(|| panic!("{what}: {rv:#x}, device error {number:#x}"));
            assert_eq!(cause.ckr(), rv, "{what}");
            let log = self.take_log();
            let line = log.lines().find(|line| line.contains("ERROR") && line.contains(function));
            let line = line.unwrap_or_else(|| panic!("{what}: no line in the log:\n{log}"));
            println!("    {line}");
            for part in [cause.text(), cause.ckr_name(), &format!("device_error={number:#x}"), case.says] {
                if !line.contains(part) {
                    self.wrong.push(format!("{what}: no {part:?} in {line}"));
                }
            }
            // An answer that came and is refused for what is in it has no number of attempts.
            let attempts = if asked > 1 { format!("{asked} attempts in ") } else { String::new() };
            let names = ["KMS key ".to_owned(), self.kms_key.clone(), format!("kms:{operation}"), attempts];
            if !names.iter().all(|name| line.contains(name)) {
                self.wrong.push(format!("{what}: not all of {names:?} in {line}"));
            }
            cause
        });
        let until_deadline = cause.is_some() && self.limits == SHORT;
        if until_deadline && asked < 2 {
            self.wrong.push(format!("{what}: {asked} requests"));
        }
        Outcome { cause, asked: (!until_deadline).then_some(asked) }
    }

    fn sign_and_verify(&self) -> CK_RV {
        let (module, session) = (self.module, self.session);
        let key = module.private_key(session, b"1");
        let signature = match module.sign(session, key, CKM_ECDSA_SHA256, b"data") {
            Ok(signature) => signature,
            Err(rv) => return rv,
        };
        let public = module.find(session, &[(CKA_CLASS, &CKO_PUBLIC_KEY.to_ne_bytes()), (CKA_ID, b"1")]);
        module.verify(session, public[0], CKM_ECDSA_SHA256, b"data", &signature)
    }

    fn control(&self) -> &Control {
        self.server.as_ref().expect("the embedded KMS").control()
    }

    fn order_once(&self, trouble: &Trouble) {
        match trouble {
            Trouble::Wire(fault) | Trouble::Wait(fault) => self.proxy.once(*fault),
            Trouble::Says(code) | Trouble::SaysWait(code) => self.control().inject_error(code),
            _ => unreachable!("nothing that passes by itself"),
        }
    }

    fn order(&self, trouble: &Trouble) {
        let says = |operation: Option<&str>, code: &str| {
            let fault = FaultKind::Error { code: code.to_owned(), status: None, message: String::new() };
            let order = Order { operation: operation.map(str::to_owned), fault };
            (0..500).for_each(|_| self.control().inject(order.clone()));
        };
        match trouble {
            Trouble::Wire(fault) | Trouble::Wait(fault) | Trouble::Lasts(fault) => self.proxy.always(*fault),
            Trouble::Says(code) | Trouble::SaysWait(code) => says(None, code),
            Trouble::SaysTo(operation, code) => says(Some(operation), code),
            Trouble::Key(operations, _) => self.manage(operations),
            Trouble::Configured(_) | Trouble::Without(_) => {}
        }
    }

    fn take_back(&self, trouble: &Trouble) {
        self.proxy.heal();
        if let Some(server) = &self.server {
            server.control().clear_faults();
        }
        if let Trouble::Key(_, operations) = trouble {
            self.manage(operations);
        }
    }

    fn manage(&self, operations: &[&str]) {
        for operation in operations {
            http::ask(self.kms, operation, &json!({ "KeyId": self.key }));
        }
    }

    /// Sets what the fault says of the environment, and credentials where it says nothing.
    fn environment(&self, trouble: &Trouble) {
        let credentials = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        // SAFETY: no thread of the module is there, and no other of this process reads the environment.
        unsafe {
            for name in ["AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT"] {
                std::env::remove_var(name);
            }
            match trouble {
                Trouble::Without(variables) => {
                    credentials.iter().for_each(|name| std::env::remove_var(name));
                    variables.iter().for_each(|(name, value)| std::env::set_var(name, self.value(value)));
                }
                _ => credentials.iter().for_each(|name| std::env::set_var(name, "test")),
            }
            if matches!(trouble, Trouble::Configured([("region", _)])) {
                std::env::set_var("AWS_EC2_METADATA_DISABLED", "true");
            }
        }
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Is(text) => (*text).to_owned(),
            // The port of TCPMUX, which nobody has served for decades.
            Value::NobodysUrl => "http://127.0.0.1:1".to_owned(),
            Value::SilentUrl => format!("http://{}", self.silent.local_addr().expect("a bound port")),
            Value::PlainAsTls => format!("https://{}", self.proxy.address()),
            Value::TlsUrl => self.tls.0.clone(),
            Value::TlsByAddress => self.tls.0.replace("localhost", "127.0.0.1"),
            Value::ItsCa => self.tls.1.display().to_string(),
            Value::AnotherCa => self.another_ca.display().to_string(),
            Value::OtherKey => self.other_key.clone(),
            Value::RsaKey => self.rsa_key.clone(),
        }
    }

    fn configure(&mut self, changed: &[(&str, Value)], limits: (Duration, Duration)) {
        let (attempt, total) = (limits.0.as_millis(), limits.1.as_millis());
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut settings = BTreeMap::from([
            ("label", "test".to_owned()),
            ("store", format!("sqlite:{}", at("token.db"))),
            ("kms_key_id", self.key.clone()),
            ("region", "us-east-1".to_owned()),
            ("endpoint_url", format!("http://{}", self.proxy.address())),
        ]);
        settings.extend(changed.iter().map(|(name, value)| (*name, self.value(value))));
        self.kms_key = settings["kms_key_id"].clone();
        settings.retain(|_, value| !value.is_empty());
        let mut text = format!("[log]\nlevel = \"warn\"\ntarget = \"file:{}\"\n[[token]]\n", at("log"));
        for (name, value) in settings {
            text += &match name {
                "grant_tokens" => format!("{name} = [{value:?}]\n"),
                _ => format!("{name} = {value:?}\n"),
            };
        }
        text += "cache = { max_age = \"0\" }\npin_hash = { memory = \"1M\", passes = 1 }\n";
        text += &format!("timeouts = {{ attempt = \"{attempt}ms\", total = \"{total}ms\", ");
        text += &format!("generate_attempt = \"{attempt}ms\", generate_total = \"{total}ms\" }}\n");
        std::fs::write(at("datakey-pkcs11.toml"), text).expect("a configuration");
        self.limits = limits;
    }

    fn enter(&mut self) {
        self.module.initialise();
        self.session = self.module.open(true);
        self.module.login(self.session);
    }

    /// What was logged since this was last asked.
    fn take_log(&mut self) -> String {
        let all = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let new = all[self.log_read..].to_owned();
        self.log_read = all.len();
        new
    }
}

/// Whether the fault is one of this operation's requests or answers.
fn concerns(trouble: &Trouble, operation: &str) -> bool {
    let field = match trouble {
        Trouble::Wire(Fault::Mix(field) | Fault::Flip(field)) => *field,
        _ => return true,
    };
    matches!(field, "Plaintext" | "CiphertextBlob") == (operation == "Decrypt")
}

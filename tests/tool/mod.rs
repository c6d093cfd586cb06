//! The operator's tool as its tests run it: the real binary, in a folder and an environment of its own.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use aws_sdk_kms::config::{Credentials, Region};
use cryptoki_sys::*;
use datakey::config::{self, Environment};
use datakey::kms::HostRules;
use datakey::kms::embedded::{Embedded, InProcess};
use datakey::session::{Sessions, Slot, Who};
use datakey::token::{Token, User};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const SO_PIN: &str = "so-pin-1";
pub(crate) const USER_PIN: &str = "user-pin-1";

/// A folder with a configuration, and the environment that the tool is run in.
pub(crate) struct Setup {
    folder: tempfile::TempDir,
    pub(crate) environment: Vec<(String, String)>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The answer to a run with `--json`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Setup {
    /// Without a configuration. The user's home is the folder.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let environment = [
            ("HOME", folder.path().display().to_string()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("DATAKEY_PKCS11_PIN", USER_PIN.into()),
            ("DATAKEY_PKCS11_SO_PIN", SO_PIN.into()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { folder, environment }
    }

    /// A token `test` on the embedded KMS in the tool's own process, with this added to its `[[token]]`.
    pub(crate) fn embedded(more: &str) -> Self {
        let setup = Self::empty();
        let keys = setup.path("kms.json");
        setup.configured(&format!("kms = \"embedded:{}\"\n{more}", keys.display()))
    }

    /// The same on what answers at this URL.
    pub(crate) fn at(url: &str, more: &str) -> Self {
        let setup = Self::empty().with("AWS_ACCESS_KEY_ID", "ASIATEST").with("AWS_SECRET_ACCESS_KEY", "test");
        let key = datakey::kms::embedded::DEFAULT_ALIAS;
        setup.configured(&format!("kms_key_id = \"{key}\"\nregion = \"us-east-1\"\nendpoint_url = \"{url}\"\n{more}"))
    }

    /// A token `test` with these lines.
    pub(crate) fn configured(self, lines: &str) -> Self {
        let store = self.path("token.db");
        let text = format!("[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\n{lines}\n", store.display());
        self.written(&text)
    }

    /// This text as its configuration.
    pub(crate) fn written(self, text: &str) -> Self {
        std::fs::write(self.configuration(), text).unwrap();
        let configuration = self.configuration().display().to_string();
        self.with("DATAKEY_PKCS11_CONF", &configuration)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("datakey-pkcs11.toml")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("token.db")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates an object on the token, as a host would.
    pub(crate) fn create(&self, login: &str, template: &[(CK_ATTRIBUTE_TYPE, &[u8])]) {
        let sessions = Sessions::default();
        let slot = Arc::new(Slot::new(0, self.token()));
        let session = sessions.get(sessions.open(&slot, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap()).unwrap();
        if login == "pin" {
            session.login(Who::User(User::User), USER_PIN.as_bytes()).unwrap();
        }
        let template = [&[(CKA_TOKEN, [CK_TRUE].as_slice())], template].concat();
        session.create_object(&template).unwrap();
    }

    /// A key that counts.
    pub(crate) fn create_hotp(&self, login: &str) {
        let (class, kind) = (CKO_OTP_KEY.to_ne_bytes(), CKK_HOTP.to_ne_bytes());
        let value = b"12345678901234567890";
        self.create(login, &[(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_LABEL, b"otp"), (CKA_VALUE, value)]);
    }

    /// The token in this process. It reads what the configuration says, and nothing of the environment.
    pub(crate) fn token(&self) -> Token {
        let environment = Environment {
            conf_path: Some(self.configuration().into()),
            home: None,
            xdg_config_home: None,
            xdg_data_home: None,
            euid: 0,
            secure: false,
            system_file: self.path("none"),
        };
        let mut config = config::load(&environment).unwrap();
        Token::new(config.tokens.remove(0), HostRules { threads_allowed: true, secure_mode: false })
    }

    /// The token, initialised with both PINs.
    pub(crate) fn initialised(self) -> Self {
        let token = self.token();
        token.initialise(SO_PIN.as_bytes(), "test").unwrap();
        token.hold_key(token.check_pin(User::So, SO_PIN.as_bytes()).unwrap());
        token.init_user_pin(USER_PIN.as_bytes()).unwrap();
        self
    }

    /// Runs the tool with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    /// Runs the tool with these arguments and this on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).current_dir(self.folder.path());
        // No terminal, so that nothing is asked of who runs the tests.
        // SAFETY: setsid may be called between fork and exec.
        unsafe {
            command.pre_exec(|| if libc::setsid() == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) })
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Without a variable of the environment.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(variable, _)| variable != name);
        self
    }

    /// A run that must succeed, with its answer in JSON.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        let run = self.run(&[&["--json"], arguments].concat());
        assert!(run.success, "{arguments:?}: {run:?}");
        run.json()
    }

    /// A run that must fail, with its message.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let run = self.run(&[&["--json"], arguments].concat());
        assert!(!run.success, "{arguments:?}: {run:?}");
        run.json()["error"]["message"].as_str().unwrap_or_else(|| panic!("{run:?}")).to_owned()
    }
}

/// A server on a loopback port that gives every request the same answer; its URL. It ends with the process.
pub(crate) fn answering(status: u16, headers: &str, body: &str) -> String {
    answering_if_not_silent(status, headers, body).0
}

/// The same, and what to set so that it takes requests and answers none.
pub(crate) fn answering_if_not_silent(status: u16, headers: &str, body: &str) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let len = body.len();
    let answer =
        format!("HTTP/1.1 {status} Answer\r\ncontent-length: {len}\r\nconnection: close\r\n{headers}\r\n{body}");
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            if is_silent.load(Ordering::Relaxed) {
                unanswered.push(connection);
                continue;
            }
            read_request(&mut BufReader::new(&connection));
            // Who asked may have gone.
            drop(connection.write_all(answer.as_bytes()));
        }
    });
    (url, silent)
}

fn read_request(request: &mut impl BufRead) {
    let mut len = 0;
    loop {
        let mut line = String::new();
        if request.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
    }
    drop(request.read_exact(&mut vec![0; len]));
}

/// What an administrator does to the KMS keys in a file of the embedded KMS.
pub(crate) fn admin<T>(keys: &Path, work: impl AsyncFnOnce(aws_sdk_kms::Client) -> T) -> T {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(InProcess::new(Arc::new(Embedded::new(keys))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work(aws_sdk_kms::Client::from_conf(config.build())))
}

/// A new KMS key; its ARN.
pub(crate) fn kms_key(keys: &Path, multi_region: bool) -> String {
    let made = admin(keys, async |kms| kms.create_key().multi_region(multi_region).send().await.expect("CreateKey"));
    made.key_metadata.and_then(|key| key.arn).unwrap()
}

/// A port that nobody listens on.
pub(crate) fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// Runs a program that may not be there; its output.
pub(crate) fn program(folder: &Path, name: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(name).args(arguments).current_dir(folder).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

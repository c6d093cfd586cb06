//! Hosts written in C, each a process of its own: what the module does to a process is seen from outside,
//! with nothing of Rust's in it but the module.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod disk;
pub(crate) mod keys;
pub(crate) mod proxy;
pub(crate) mod scan;
pub(crate) mod tls;
pub(crate) mod world;

use crate::host::library;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

pub(crate) const SO_PIN: &str = "the-officers-pin-4f1d09c2";
/// Long enough and random enough to be looked for in memory.
pub(crate) const PIN: &str = "Qz7-vR2x_Lm9.tW4kHs8bYd3";

pub(crate) const OK: u64 = 0;

/// Compiles `tests/hosts/NAME.c` and returns the program.
pub(crate) fn compile(name: &str) -> PathBuf {
    // Bound at once: the lazy binder saves the vector registers on the stack, and with them what the host read.
    cc(name, &["-pthread", "-Wl,-z,now"])
}

/// Compiles `tests/hosts/NAME.c` to a library, to be preloaded or loaded by a host.
pub(crate) fn compile_library(name: &str) -> PathBuf {
    cc(name, &["-shared", "-fPIC"])
}

fn cc(name: &str, how: &[&str]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path();
    let program = folder.join(format!("{name}-{:?}", std::thread::current().id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(name).with_extension("c");
    let output = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1"])
        .args(how)
        .arg("-I")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .arg("-o")
        .args([&program, &source])
        .arg("-ldl")
        .output()
        .expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// A command that runs such a program under this configuration, with credentials that any emulator takes.
pub(crate) fn command(program: &Path, configuration: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(library())
        .env("DATAKEY_PKCS11_CONF", configuration)
        .env("AWS_ACCESS_KEY_ID", "PARENT")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE");
    command
}

/// Runs a host that does one thing and ends. What it said, line by line.
pub(crate) fn run(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}{errors}", output.status);
    assert!(!errors.contains("cannot be preloaded"), "{errors}");
    said.lines().map(str::to_owned).collect()
}

/// Makes a token with a P-256 key "1", by a host that ends afterwards.
pub(crate) fn furnish(configuration: &Path, login: &str) {
    let mut host = Host::on_new_token(&compile("host"), configuration, login);
    host.ok("generate p256 1");
    host.ok("finalise");
}

/// `host.c`, which does what it is told.
pub(crate) struct Host {
    child: Child,
    /// `None` once it was told to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Host {
    /// Starts a host with the module loaded and not initialised.
    pub(crate) fn start(program: &Path, configuration: &Path) -> Self {
        Self::spawn(command(program, configuration))
    }

    /// The same, from a command that has something of its own.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, commands, answers }
    }

    /// The same, with a session open and the user logged in.
    pub(crate) fn logged_in(program: &Path, configuration: &Path, pin: &str) -> Self {
        let mut host = Self::start(program, configuration);
        host.ok("initialise");
        host.ok("open");
        host.ok(&format!("login {pin}"));
        host
    }

    /// Makes a token with PINs, by a host that ends afterwards.
    pub(crate) fn make_token(program: &Path, configuration: &Path) {
        let mut host = Self::start(program, configuration);
        host.ok("initialise");
        host.ok(&format!("init-token {SO_PIN}"));
        host.ok("open");
        host.ok(&format!("login-so {SO_PIN}"));
        host.ok(&format!("init-pin {PIN}"));
    }

    /// A host with a session on a new token, the user logged in where it has PINs (`login`, as the configuration says).
    pub(crate) fn on_new_token(program: &Path, configuration: &Path, login: &str) -> Self {
        if login == "pin" {
            Self::make_token(program, configuration);
            return Self::logged_in(program, configuration, PIN);
        }
        let mut host = Self::start(program, configuration);
        host.ok("initialise");
        host.ok(&format!("init-token {SO_PIN}"));
        host.ok("open");
        host
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command and does not wait for its answer.
    pub(crate) fn send(&mut self, command: &str) {
        writeln!(self.commands.as_mut().expect("the host still listens"), "{command}").unwrap();
    }

    /// The next answer: what it said and the `CK_RV`; `None` if it died before.
    pub(crate) fn answer(&mut self) -> Option<(String, u64)> {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        // A line that is cut off was not said.
        let (data, rv) = line.strip_suffix('\n')?.rsplit_once(' ')?;
        Some((data.trim().to_owned(), u64::from_str_radix(rv, 16).ok()?))
    }

    pub(crate) fn ask(&mut self, command: &str) -> (String, u64) {
        self.send(command);
        self.answer().unwrap_or_else(|| panic!("the host died of {command}"))
    }

    /// A command that must succeed; what it said.
    #[track_caller]
    pub(crate) fn ok(&mut self, command: &str) -> String {
        let (data, rv) = self.ask(command);
        assert_eq!(rv, OK, "{command}: {rv:#x}");
        data
    }

    /// SIGKILL; what it had said by then can still be read.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Emulators of KMS and DynamoDB that others wrote, started on a free port and stopped with the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running emulator; stops when dropped, and when this process ends without dropping it.
pub(crate) struct Emulator {
    process: Child,
    port: u16,
}

impl Emulator {
    /// moto, with our extension for data key pairs.
    pub(crate) fn moto() -> Self {
        Self::start(Some("/moto-api/"), |command, port| {
            command.arg(scripts().join("moto_dkp.py")).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        })
    }

    /// ministack, KMS and DynamoDB.
    pub(crate) fn ministack() -> Self {
        Self::start(Some("/_localstack/health"), Self::ministack_on)
    }

    /// The same, that listens at all addresses: of a network namespace of the test's own.
    pub(crate) fn ministack_everywhere() -> Self {
        Self::start(Some("/_localstack/health"), |command, port| {
            Self::ministack_on(command, port);
            command.env("BIND_HOST", "0.0.0.0");
        })
    }

    /// The same behind TLS, with a fresh certificate whose root is put into `folder` as `root.pem`.
    pub(crate) fn ministack_with_tls(folder: &Path) -> Self {
        let script = scripts().join("certificate.py");
        assert!(Command::new(python()).arg(script).arg(folder).status().unwrap().success());
        Self::start(None, |command, port| {
            Self::ministack_on(command, port);
            command
                .env("USE_SSL", "1")
                .env("MINISTACK_SSL_CERT", folder.join("cert.pem"))
                .env("MINISTACK_SSL_KEY", folder.join("key.pem"));
        })
    }

    fn ministack_on(command: &mut Command, port: u16) {
        command
            .args(["-m", "ministack"])
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SFTP_ENABLED", "0")
            .env("IOT_MTLS_ENABLED", "0")
            .env("SERVICES", "kms,dynamodb")
            .env("STATE_DIR", std::env::temp_dir().join(format!("ministack-{port}")));
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, without TLS.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops it for a while, or has it go on.
    pub(crate) fn pause(&self, paused: bool) {
        let signal = if paused { libc::SIGSTOP } else { libc::SIGCONT };
        // SAFETY: a child of ours that was not waited for.
        unsafe { libc::kill(self.process.id() as i32, signal) };
    }

    /// Starts and waits: for a good answer on the path `ready`, or until connections are taken.
    fn start(ready: Option<&str>, arguments: impl FnOnce(&mut Command, u16)) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python());
        command.arg(scripts().join("guarded.py"));
        arguments(&mut command, port);
        let process =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("python starts");
        let mut emulator = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !answers(port, ready) {
            let ended = emulator.process.try_wait().unwrap();
            assert!(ended.is_none(), "the emulator ended at once: {ended:?}");
            assert!(Instant::now() < deadline, "the emulator is not ready after 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulators")
}

/// The Python that `install.sh` gave them.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let python = target.join("emulators/bin/python");
    let advice = "the KMS emulators are not installed: run tests/emulators/install.sh";
    assert!(python.exists(), "{advice} (looked for {})", python.display());
    python
}

fn answers(port: u16, path: Option<&str>) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let Some(path) = path else { return Ok(true) };
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

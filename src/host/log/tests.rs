use super::line::{Line, MAX_LINE, Utc};
use super::sink::{Sink, syslog};
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps the lines that this thread's events become.
struct Keep(Arc<Mutex<Vec<String>>>);

impl Subscriber for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Log::is_ours(metadata)
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(level(event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.for_file());
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn lines(log: impl FnOnce()) -> Vec<String> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Keep(kept.clone()), log);
    kept.lock().unwrap().clone()
}

/// The line without its time.
fn rest(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

#[test]
fn a_line_has_time_name_level_message_and_fields() {
    let error = std::io::Error::other("no route");
    let lines = lines(|| {
        tracing::warn!(
            object = "a b",
            count = 3,
            ok = true,
            error = &error as &dyn std::error::Error,
            "KMS {}",
            "failed"
        );
        tracing::info!(target: "aws_sdk_kms", "not ours");
        tracing::debug!(empty = "", path = %"/x", quoted = "say \"=\\\"", "x");
    });
    let pid = std::process::id();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        rest(&lines[0]),
        format!("datakey-pkcs11[{pid}] WARN KMS failed object=\"a b\" count=3 ok=true error=\"no route\"\n")
    );
    assert_eq!(
        rest(&lines[1]),
        format!("datakey-pkcs11[{pid}] DEBUG x empty=\"\" path=/x quoted=\"say \\\"=\\\\\\\"\"\n")
    );
}

#[test]
fn nobody_forges_a_line_or_a_field() {
    let label = "web\n2026-01-01T00:00:00Z datakey-pkcs11[1] ERROR x\u{1b}[2J\r\u{85}\u{202e}";
    for line in lines(|| tracing::error!(label, "object {label}")) {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
        assert!(line.contains(" label=\"web\\n2026"), "{line}");
    }
}

#[test]
fn no_line_is_longer_than_a_pipe_takes_in_one_piece() {
    let long = "ä".repeat(10_000);
    let lines = lines(|| tracing::warn!(long, "{long}"));
    assert!(lines[0].len() <= MAX_LINE && lines[0].len() > MAX_LINE - 100, "{}", lines[0].len());
    assert!(lines[0].ends_with("… (cut)\n"));
}

#[test]
fn the_time_is_that_of_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_164_800, "2024-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_795_475_411, "2026-11-23T23:10:11Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(Utc(Duration::from_secs(seconds)).to_string(), text);
    }
}

#[test]
fn a_file_is_appended_to_and_never_mistaken_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let sink = Sink::new();
    assert!(!sink.write(b"lost\n"));
    fs::write(&one, "before\n").unwrap();
    sink.open(&one).unwrap();
    assert!(sink.write(b"1\n"));
    sink.open(&one).unwrap();
    assert!(sink.write(b"2\n"));
    assert_eq!(fs::read_to_string(&one).unwrap(), "before\n1\n2\n");

    sink.open(&two).unwrap();
    assert!(sink.write(b"3\n"));
    assert_eq!(fs::read_to_string(&two).unwrap(), "3\n");
    assert_eq!(fs::metadata(&two).unwrap().permissions().mode() & 0o777, 0o600);

    // Moved away and gone: the same path is kept even if it cannot be opened again, another is not.
    fs::remove_file(&two).unwrap();
    fs::create_dir(&two).unwrap();
    sink.open(&two).unwrap();
    assert!(sink.write(b"4\n"));
    assert!(sink.open(dir.path()).is_err());
    sink.close();
    assert!(!sink.write(b"5\n") && !sink.is_open());
}

#[test]
fn a_link_is_followed_if_nobody_else_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let sink = Sink::new();
    sink.open(&link).unwrap();
    assert!(sink.write(b"ours\n"));
    if std::os::unix::fs::lchown(&link, Some(12345), None).is_err() {
        println!("(no permission to give files away: not tested)");
        return;
    }
    let error = Sink::new().open(&link).unwrap_err();
    assert!(error.to_string().contains("symbolic link of user 12345"), "{error}");
    // What is open already stays open, as when it cannot be opened again for other reasons.
    sink.open(&link).unwrap();
    assert!(sink.write(b"still\n"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "ours\nstill\n");
    Sink::new().open(Path::new("/dev/stderr")).unwrap();
}

#[test]
fn syslog_gets_a_line_and_is_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    syslog(&path, libc::LOG_ERR, "nobody listens");
    let listener = UnixDatagram::bind(&path).unwrap();
    let mut line = Line::new(LogLevel::Warn);
    line.message("no\nkey");
    syslog(&path, line.severity(), &line.for_syslog());
    let mut bytes = [0; 256];
    let len = listener.recv(&mut bytes).unwrap();
    let expected = format!("<12>datakey-pkcs11[{}]: WARN no\\nkey", std::process::id());
    assert_eq!(std::str::from_utf8(&bytes[..len]).unwrap(), expected);
    // A listener that never reads has a queue of a few; the rest is dropped.
    for _ in 0..10_000 {
        syslog(&path, libc::LOG_ERR, "x");
    }
}

/// The settings belong to the whole process, so what follows happens in a process of its own.
fn alone(test: &str, act: impl FnOnce()) -> Command {
    if std::env::var_os("DATAKEY_TEST_ALONE").is_some_and(|name| name == test) {
        act();
        // SAFETY: ends the process at once, so that the test runner adds nothing.
        unsafe { libc::_exit(7) };
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("DATAKEY_TEST_ALONE", test);
    command
}

#[test]
fn the_log_can_be_configured_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::env::var_os("DATAKEY_TEST_FILE").unwrap_or_else(|| dir.path().join("log").into());
    let act = || {
        let target = LogTarget::File(file.clone().into());
        tracing::error!("before it is configured");
        configure(LogLevel::Warn, &LogTarget::Stderr).unwrap();
        tracing::warn!("to stderr");
        tracing::info!("too little");
        configure(LogLevel::Debug, &target).unwrap();
        tracing::debug!("to the file");
        tracing::trace!("too little");
        configure(LogLevel::Off, &LogTarget::Stderr).unwrap();
        tracing::error!("nothing");
        let refused = configure(LogLevel::Error, &LogTarget::File("/nonexistent/x".into())).unwrap_err();
        assert_eq!(refused.cause(), Cause::ConfigInvalid);
        tracing::error!("{refused}");
        init_failure("no start");
        assert!(!auditing() && !audit("{}"));
        configure_audit(Some(Path::new(&file))).unwrap();
        assert!(auditing() && audit("{\"audit\":1}"));
        configure_audit(None).unwrap();
        assert!(!auditing() && !audit("{}"));
        // What a host that daemonises does: the numbers are closed and used again.
        configure(LogLevel::Warn, &target).unwrap();
        let victim = format!("{}.victim", file.to_str().unwrap());
        // SAFETY: plain calls on descriptors of this test's own process.
        unsafe {
            libc::close_range(3, 1000, 0);
            let path = std::ffi::CString::new(victim).unwrap();
            for _ in 0..20 {
                libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o600);
            }
        }
        tracing::error!("to nobody");
        configure(LogLevel::Warn, &LogTarget::Stderr).unwrap();
        // SAFETY: as above.
        unsafe { libc::close(2) };
        tracing::error!("to nobody either");
    };
    let mut command = alone("host::log::tests::the_log_can_be_configured_again_and_again", act);
    let output = command.env("DATAKEY_TEST_FILE", &file).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    let messages: Vec<_> = stderr.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    let refused =
        "ERROR the configuration is not valid [[log] target: /nonexistent/x: No such file or directory (os error 2)]";
    assert_eq!(messages, ["WARN to stderr", refused, "ERROR no start"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("DEBUG to the file\n{\"audit\":1}\n") && text.lines().count() == 2, "{text}");
    assert_eq!(fs::read_to_string(dir.path().join("log.victim")).unwrap(), "");
}

#[test]
fn a_broken_pipe_at_stderr_does_not_kill_the_host() {
    let act = || {
        // SAFETY: the test runner ignores SIGPIPE; a C host does not.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        configure(LogLevel::Warn, &LogTarget::Stderr).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        tracing::error!("to nobody");
    };
    let mut command = alone("host::log::tests::a_broken_pipe_at_stderr_does_not_kill_the_host", act);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_network_socket_in_the_place_of_stderr_gets_nothing() {
    use std::io::Read;
    let act = || {
        configure(LogLevel::Warn, &LogTarget::Stderr).unwrap();
        tracing::error!("a secret of the log");
    };
    let mut command = alone("host::log::tests::a_network_socket_in_the_place_of_stderr_gets_nothing", act);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut child = command.stderr(std::os::fd::OwnedFd::from(socket)).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let mut received = String::new();
    listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
    assert_eq!(received, "");
}

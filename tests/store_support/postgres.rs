//! A real server of PostgreSQL for the tests of one program, from the system's packages, on loopback only.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use datakey::config::{PostgresConfig, PostgresHost, StoreLocation};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Starts a server, and when its input ends stops it and clears up: also where this program is killed.
const SUPERVISE: &str = r#"
    "$1/initdb" -D "$0/data" -U dk --auth-local=trust --auth-host=scram-sha-256 --pwfile="$0/password" \
        --no-sync -E UTF8 --locale=C.UTF-8 >"$0/log" 2>&1 || exit 1
    cp "$0"/server.* "$0/data/" 2>/dev/null
    [ "$5" = 127.0.0.1 ] || echo "host all all all scram-sha-256" >>"$0/data/pg_hba.conf"
    others() { grep -l "^PPid:.$server\$" /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3; }
    serve() {
        "$1/postgres" -D "$0/data" -c fsync="$4" -p "$2" -k "$0" -c listen_addresses="$5" -c shared_buffers=32MB \
            -c max_connections=150 -c ssl="$3" -c log_min_messages=fatal >>"$0/log" 2>&1 &
        server=$!
    }
    serve "$1" "$2" "$3" "$4" "$5"
    while read -r word; do
        case $word in
        kill) kill -CONT $server $(others) 2>/dev/null; kill -QUIT $server; wait $server; serve "$1" "$2" "$3" "$4" "$5" ;;
        stop) kill -INT $server; wait $server; echo stopped ;;
        start) serve "$1" "$2" "$3" "$4" "$5" ;;
        pause) kill -STOP $server $(others) 2>/dev/null ;;
        resume) kill -CONT $server $(others) 2>/dev/null ;;
        esac
    done
    kill -CONT $server $(others) 2>/dev/null
    kill -QUIT $server
    wait $server
    rm -rf "$0"
"#;

/// Starts a standby of the server in the folder `$2` at port `$3`, which applies what it hears `$5` seconds later.
const STAND_BY: &str = r#"
    "$1/pg_basebackup" -h "$2" -p "$3" -U dk -D "$0/data" -R -X stream -c fast --no-sync >"$0/log" 2>&1 || exit 1
    "$1/postgres" -D "$0/data" -F -p "$4" -k "$0" -c listen_addresses= -c shared_buffers=32MB -c max_connections=150 \
        -c recovery_min_apply_delay="$5s" >>"$0/log" 2>&1 &
    server=$!
    cat >/dev/null
    kill -QUIT $server
    wait $server
    rm -rf "$0"
"#;

/// A certification authority, `root.crt`, and a certificate of it for `localhost`.
const CERTIFICATE: &str = "
    new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
    openssl req -x509 $new -days 2 -subj /CN=root -keyout root.key -out root.crt
    openssl req $new -subj /CN=localhost -keyout server.key -out server.csr
    echo subjectAltName=DNS:localhost >names
    openssl x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -days 2 -extfile names -out server.crt
";

pub(crate) const PASSWORD: &str = "p:ass@w\\rd";

pub(crate) struct Server {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    commands: ChildStdin,
    _supervisor: Child,
}

/// The folder of the newest server that is installed.
fn programs() -> PathBuf {
    let found = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed; see scripts/setup.sh");
    let mut found: Vec<_> = found.map(|entry| entry.unwrap().path().join("bin")).collect();
    found.retain(|bin| bin.join("postgres").exists());
    found.sort();
    found.pop().expect("no server of PostgreSQL is installed; see scripts/setup.sh")
}

/// The server refuses to run as root.
fn user() -> Option<(u32, u32)> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("there is no user postgres");
    let parts: Vec<_> = line.split(':').collect();
    Some((parts[2].parse().unwrap(), parts[3].parse().unwrap()))
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts one of its own; with `tls`, by a certificate for `localhost`, whose root is `folder/root.crt`.
    pub(crate) fn start(tls: bool) -> Self {
        Self::begin("127.0.0.1", tls, false)
    }

    /// The same without TLS, which waits for the disk at each commit.
    pub(crate) fn durable() -> Self {
        Self::begin("127.0.0.1", false, true)
    }

    /// One without TLS that listens at this address: one of a network namespace of the test's own.
    pub(crate) fn start_at(address: &str) -> Self {
        Self::begin(address, false, false)
    }

    fn begin(address: &str, tls: bool, durable: bool) -> Self {
        let (folder, mut supervisor) = Self::prepare(SUPERVISE, |folder| {
            fs::write(folder.join("password"), PASSWORD).unwrap();
            if !tls {
                return;
            }
            let made = Command::new("sh").args(["-ec", CERTIFICATE]).current_dir(folder).stderr(Stdio::null()).status();
            assert!(made.unwrap().success());
            fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        });
        let port = free_port();
        let [tls, durable] = [tls, durable].map(|on| if on { "on" } else { "off" });
        supervisor.args([port.to_string().as_str(), tls, durable, address]);
        let server = Self::supervise(folder, port, supervisor);
        server.wait();
        server
    }

    /// A folder of its own, and a command in it that runs as who may start a server.
    fn prepare(script: &str, prepare: impl FnOnce(&Path)) -> (PathBuf, Command) {
        let folder = tempfile::Builder::new().prefix("dkpg").tempdir_in("/tmp").unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        prepare(&folder);
        let mut supervisor = Command::new("sh");
        supervisor.arg("-c").arg(script).arg(&folder).arg(programs()).current_dir("/tmp");
        if let Some((user, group)) = user() {
            let mut all: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            all.push(folder.clone());
            all.iter().for_each(|path| chown(path, Some(user), Some(group)).unwrap());
            supervisor.uid(user).gid(group);
        }
        // A signal from the terminal is for this program, whose end is the server's.
        supervisor.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        (folder, supervisor)
    }

    /// A standby that can be read, and is so many seconds behind.
    pub(crate) fn standby(&self, seconds: u32) -> Self {
        let (folder, mut supervisor) = Self::prepare(STAND_BY, |_| ());
        let port = free_port();
        supervisor.arg(&self.folder).args([self.port, port].map(|port| port.to_string())).arg(seconds.to_string());
        let server = Self::supervise(folder, port, supervisor);
        server.wait();
        server
    }

    fn supervise(folder: PathBuf, port: u16, mut supervisor: Command) -> Self {
        let mut supervisor = supervisor.spawn().unwrap();
        let commands = supervisor.stdin.take().unwrap();
        Self { folder, port, commands, _supervisor: supervisor }
    }

    /// Waits until there is a token in a database.
    pub(crate) fn wait_for(&self, database: &str) {
        let begun = Instant::now();
        while !self.try_sql(database, "SELECT 1 / count(*) FROM datakey_token") {
            assert!(begun.elapsed() < Duration::from_secs(60), "the standby does not follow");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait(&self) {
        let begun = Instant::now();
        while !self.try_sql("postgres", "SELECT 1") {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Stops it at once, as a crash does, and starts it again.
    pub(crate) fn crash(&mut self) {
        writeln!(self.commands, "kill").unwrap();
    }

    /// Stops the processes that serve for a while, or has them go on.
    pub(crate) fn pause(&mut self, paused: bool) {
        writeln!(self.commands, "{}", if paused { "pause" } else { "resume" }).unwrap();
    }

    pub(crate) fn stop(&mut self) {
        writeln!(self.commands, "stop").unwrap();
        while self.try_sql("postgres", "SELECT 1") {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn start_again(&mut self) {
        writeln!(self.commands, "start").unwrap();
        self.wait();
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "dk", "-d", database, "-c", sql]);
        psql.arg("-h").arg(&self.folder).arg("-p").arg(self.port.to_string()).current_dir("/tmp");
        psql
    }

    fn try_sql(&self, database: &str, sql: &str) -> bool {
        self.psql(database, sql).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// What the server answers to a statement, as its own client shows it.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let said = self.psql(database, sql).output().unwrap();
        assert!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// A new, empty database.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("d{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The token called `token` in a database, over a socket of the server's folder.
    pub(crate) fn place(&self, database: &str, token: &str) -> PostgresConfig {
        place(&self.folder, self.port, database, token)
    }
}

pub(crate) fn place(folder: &Path, port: u16, database: &str, token: &str) -> PostgresConfig {
    PostgresConfig {
        hosts: vec![(PostgresHost::Directory(folder.to_owned()), port)],
        user: "dk".into(),
        password: None,
        database: database.into(),
        token: token.into(),
        tls: None,
        needs_writable: false,
        pass_file: None,
        connect_timeout: None,
        application_name: "datakey-test".into(),
        options: None,
    }
}

pub(crate) fn location(config: PostgresConfig) -> StoreLocation {
    StoreLocation::Postgres(Box::new(config))
}

/// The server that the tests of this program share.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(false))
}

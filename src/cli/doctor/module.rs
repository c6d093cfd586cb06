//! The installed module: whether hosts can load it, and use it after a fork.

use super::super::output::counted;
use super::finding::Findings;
use super::probe::Report;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The file's name.
const FILE: &str = "libdatakey_pkcs11.so";
/// Where `make install` and packages put it.
const DIRECTORIES: &[&str] = &["/usr/lib/pkcs11", "/usr/local/lib/pkcs11", "/usr/lib64/pkcs11"];
/// What a module of this tool's version says.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
/// Longer than any sound module takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn check(findings: &mut Findings, named: Option<&Path>) {
    let Some(path) = named.map(Path::to_owned).or_else(installed) else {
        findings.warning(
            "module",
            format!("{FILE} is in none of {}", DIRECTORIES.join(", ")),
            "install it (make install), or say with --module where it is",
        );
        return;
    };
    let name = path.display();
    if !path.exists() {
        return findings.error("module", format!("{name}: there is no such file"), "say with --module where it is");
    }
    match probe(&path) {
        Ok(Report { version, .. }) if version != VERSION => findings.warning(
            "module",
            format!("{name}: loads, but is of version {version}, this tool of {VERSION}"),
            "install module and tool of one version",
        ),
        Ok(Report { slots, .. }) => {
            findings.ok("module", format!("{name}: loads, {}, also after a fork", counted(slots, "slot")));
        }
        Err(why) => findings.error("module", format!("{name}: {why}"), "build and install it anew, for this system"),
    }
}

fn installed() -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(FILE)).find(|path| path.exists())
}

/// Has another process load it: whatever it does there, this one lives.
fn probe(path: &Path) -> Result<Report, String> {
    let tool = std::env::current_exe().map_err(|error| format!("this tool does not find itself: {error}"))?;
    let mut child = Command::new(tool)
        .args(["--json", "probe-module"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("a process to load it in cannot be started: {error}"))?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                // It may have ended just now.
                drop(child.kill());
                drop(child.wait());
                return Err(format!("a process that loaded it hung for {} seconds", PATIENCE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    Report::parse(&text).unwrap_or_else(|| Err(format!("a process that loaded it died ({status})")))
}

//! A file system that is full, as hosts and the operator's tool meet it: nothing is lost, errors say what to do, and
//! when there is room again all goes on.

mod host;
mod hosts;
#[path = "store_support/mounted.rs"]
mod mounted;

use hosts::{Host, OK, PIN, command, compile};
use mounted::{Mounted, mounted};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `CKR_DEVICE_MEMORY`, and its reason.
const FULL: u64 = 0x31;
const STORE_FULL: &str = "0x303";

/// A token whose store is all that is on a small file system; the keys of its KMS are elsewhere.
struct Full {
    disk: Mounted,
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Full {
    /// `None` where nothing can be mounted, which is said.
    fn new(test: &str) -> Option<Self> {
        let Some(disk) = mounted("1m") else {
            eprintln!("SKIPPED {test}: no permission to mount a file system");
            return None;
        };
        let full = Self { disk, folder: tempfile::tempdir().unwrap(), program: compile("host") };
        let text = format!(
            "[log]\nlevel = \"off\"\n[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\nkms = \"embedded:{}\"\n",
            full.path("token.db").display(),
            full.folder.path().join("kms.json").display()
        );
        fs::write(full.configuration(), text).unwrap();
        fs::write(full.path("ballast"), vec![1; 256 << 10]).unwrap();
        Host::make_token(&full.program, &full.configuration());
        Some(full)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("datakey-pkcs11.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn host(&self) -> Host {
        Host::spawn(command(&self.program, &self.configuration()))
    }

    /// Takes what room there is.
    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.path("filler")).unwrap();
        while filler.write(&[1; 512]).is_ok_and(|written| written > 0) {}
    }

    fn make_room(&self) {
        fs::remove_file(self.path("ballast")).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.disk.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn tool(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        command.args(arguments).env("DATAKEY_PKCS11_CONF", self.configuration()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

fn enter(host: &mut Host) {
    host.ok("initialise");
    host.ok("open");
    host.ok(&format!("login {PIN}"));
}

#[track_caller]
fn is_full(host: &mut Host, command: &str) {
    let (_, rv) = host.ask(command);
    assert_eq!((rv, host.ok("device-error").as_str()), (FULL, STORE_FULL), "{command}");
}

fn pairs(host: &mut Host) -> Vec<String> {
    let said = host.ok("list");
    let mut ids: Vec<_> = said.split_whitespace().map(str::to_owned).collect();
    ids.sort();
    ids
}

#[test]
fn keys_are_used_while_it_is_full_and_made_when_there_is_room() {
    let Some(full) = Full::new("keys_are_used_while_it_is_full_and_made_when_there_is_room") else { return };
    let mut host = full.host();
    enter(&mut host);
    let mut made = 0;
    let refused = loop {
        match host.ask(&format!("generate p256 {made}")).1 {
            OK => made += 1,
            rv => break rv,
        }
        assert!(made < 10_000, "it never gets full");
    };
    assert_eq!((refused, host.ok("device-error").as_str()), (FULL, STORE_FULL));
    assert!(made > 10, "{made} pairs fit");
    full.fill();
    let there = pairs(&mut host);
    assert_eq!(there.len(), 2 * made, "what was acknowledged, and nothing else");
    for _ in 0..3 {
        is_full(&mut host, &format!("generate p256 {made}"));
        host.ok("use p256 0");
        host.ok(&format!("use p256 {}", made - 1));
    }
    // What takes less may find room in the log that is there. If not, nothing of it is done.
    let mut there = there;
    match host.ask("create box").1 {
        OK => there.push("4:box".to_owned()),
        rv => assert_eq!(rv, FULL),
    }
    assert_eq!(pairs(&mut host), there);

    // Others come, the right PIN opens the token, and a wrong one that cannot be counted is not told from an error.
    let mut other = full.host();
    other.ok("initialise");
    other.ok("open");
    let wrong = other.ask("login wrong-pin").1;
    assert!([FULL, 0xa0].contains(&wrong), "{wrong:#x}");
    other.ok(&format!("login {PIN}"));
    assert_eq!(pairs(&mut other), there);
    other.ok("use p256 1");

    full.make_room();
    for host in [&mut host, &mut other] {
        host.ok("use p256 1");
    }
    host.ok(&format!("generate p256 {made}"));
    other.ok("destroy 3 0");
    other.ok(&format!("set-pin {PIN} another-pin"));
    assert_eq!(pairs(&mut host).len(), there.len() + 2 - 1);
    let verdict = full.tool(&["store", "check"]);
    assert!(verdict.0, "{}", verdict.1);
}

#[test]
fn a_backup_or_restore_without_room_changes_nothing() {
    let Some(full) = Full::new("a_backup_or_restore_without_room_changes_nothing") else { return };
    let mut host = full.host();
    enter(&mut host);
    host.ok("generate p256 key");
    let copy = full.folder.path().join("copy.db");
    let copy = copy.to_str().unwrap();
    let done = full.tool(&["backup", copy]);
    assert!(done.0, "{}", done.1);
    host.ok("generate p256 later");
    full.fill();
    let (names, there) = (full.names(), pairs(&mut host));

    let inside = full.path("copy.db");
    let (done, said) = full.tool(&["backup", inside.to_str().unwrap()]);
    assert!(!done && said.contains("full"), "{said}");
    assert_eq!(full.names(), names, "nothing stays");
    let (done, said) = full.tool(&["restore", copy, "--replace"]);
    assert!(!done && said.contains("full"), "{said}");
    assert_eq!(full.names(), names, "nothing stays");
    assert_eq!(pairs(&mut host), there);
    host.ok("use p256 later");

    full.make_room();
    let (done, said) = full.tool(&["restore", copy, "--replace"]);
    assert!(done, "{said}");
    assert_eq!(pairs(&mut host), ["2:key", "3:key"]);
    host.ok("use p256 key");
    assert!(Path::new(&full.path("token.db.before-restore")).exists());
}

//! The operator's tool on a terminal: it asks, and shows no PIN.

mod tool;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use tool::Setup;

/// Runs the tool on a new terminal and answers what it asks: each question, as far as it must be told, with its answer.
/// All that was to be seen, and whether the tool succeeded.
fn on_terminal(setup: &Setup, arguments: &[&str], answers: &[(&str, &str)]) -> (String, bool) {
    let (mut ours, mut theirs) = (0, 0);
    let (name, settings, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: both numbers are good for writing, and the rest may be null.
    assert_eq!(unsafe { libc::openpty(&mut ours, &mut theirs, name, settings, size) }, 0);
    // SAFETY: both were opened just now and belong to nobody else.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let stream = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
    command.args(arguments).env_clear().envs(setup.environment.iter().cloned());
    command.current_dir(setup.path(".")).stdin(stream()).stdout(stream()).stderr(stream());
    let terminal = theirs.as_raw_fd();
    // SAFETY: both calls may be made between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setsid() == -1 || libc::ioctl(terminal, libc::TIOCSCTTY, 0) == -1 {
            true => Err(std::io::Error::last_os_error()),
            false => Ok(()),
        })
    };
    let mut child = command.spawn().unwrap();
    drop(command);
    drop(theirs);
    let mut terminal = File::from(ours);
    let mut seen = String::new();
    let mut looked = 0;
    let mut answers = answers.iter();
    let mut next = answers.next();
    let mut bytes = [0; 1024];
    // Ends with an error when nobody has the other side any more.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if let Some((question, answer)) = next
            && let Some(at) = seen[looked..].find(question)
        {
            looked += at + question.len();
            // The echo is switched off after the question is there; nobody types so fast.
            while question.contains("PIN") && echoes(&terminal) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
            next = answers.next();
        }
    }
    (seen, child.wait().unwrap().success())
}

/// Whether the terminal shows what is typed.
fn echoes(terminal: &File) -> bool {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the settings are good for writing, and written where the call succeeds.
    let settings = unsafe {
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()), 0);
        settings.assume_init()
    };
    settings.c_lflag & libc::ECHO != 0
}

#[test]
fn pins_are_asked_for_and_not_shown() {
    let setup = Setup::embedded("").without("DATAKEY_PKCS11_PIN").without("DATAKEY_PKCS11_SO_PIN");
    let (so, user) = ("the-so-pin", "the-user-pin");
    let answers =
        [("SO PIN:", so), ("SO PIN, once more:", so), ("User PIN:", user), ("User PIN, once more:", "another")];
    let (seen, success) = on_terminal(&setup, &["token", "init"], &answers);
    assert!(!success && seen.contains("the two PINs differ"), "{seen}");
    let answers = [answers[0], answers[1], answers[2], ("User PIN, once more:", user)];
    let (seen, success) = on_terminal(&setup, &["token", "init"], &answers);
    assert!(success && seen.contains("initialised the token"), "{seen}");
    assert!(!seen.contains(so) && !seen.contains(user), "{seen}");
    let (seen, success) = on_terminal(&setup, &["key", "list"], &[("User PIN:", user)]);
    assert!(success && seen.contains("unique_id") && !seen.contains(user), "{seen}");
}

#[test]
fn init_asks_for_what_it_was_not_given() {
    let setup = Setup::empty();
    let answers = [("[token]:", "web"), ("KMS key", "alias/pkcs11")];
    let (seen, success) = on_terminal(&setup, &["init", "--file", "x.toml", "--region", "eu-central-1"], &answers);
    assert!(success, "{seen}");
    let text = std::fs::read_to_string(setup.path("x.toml")).unwrap();
    assert!(text.contains("label = \"web\"") && text.contains("kms_key_id = \"alias/pkcs11\""), "{text}");
}

#[test]
fn a_key_is_destroyed_by_who_says_yes() {
    let setup = Setup::embedded("").initialised();
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "tls"]);
    let (seen, success) = on_terminal(&setup, &["key", "destroy", "tls"], &[("[y/N]", "")]);
    assert!(!success && seen.contains("nothing was destroyed"), "{seen}");
    let (seen, success) = on_terminal(&setup, &["key", "destroy", "tls"], &[("[y/N]", "y")]);
    assert!(success && seen.contains("destroyed:"), "{seen}");
    assert_eq!(setup.ok(&["key", "list"])["keys"], serde_json::json!([]));
}

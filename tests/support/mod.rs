//! What several test programs share.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod emulators;
pub(crate) mod fault_proxy;
pub(crate) mod http;

use std::process::Command;

const MARK: &str = "DATAKEY_TEST_CHILD";

/// Whether this process was started by [`in_child`].
pub(crate) fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs one test of this program again in a child process with this environment added, so that no test
/// changes the environment of another. AWS and proxy variables are not inherited. Returns whether this is
/// that child; the parent fails if the child does.
pub(crate) fn in_child(test: &str, variables: &[(&str, &str)]) -> bool {
    if is_child() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_") || text.to_ascii_lowercase().ends_with("_proxy") {
            child.env_remove(&name);
        }
    }
    let output = child
        .args(["--exact", test, "--nocapture"])
        .env("HOME", "/nonexistent")
        .env(MARK, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    print!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "the child process failed, see above");
    false
}

/// Credentials that every emulator takes.
pub(crate) const ANY_CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")];

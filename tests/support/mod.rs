//! What several test programs share.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod emulators;
pub(crate) mod fault_proxy;
pub(crate) mod http;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
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

/// Asks what listens on this port as KMS, past the client; the HTTP status and the answer. Nobody here checks signatures.
pub(crate) fn ask_kms(port: u16, operation: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let credential = "Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=x";
    let len = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Amz-Target: TrentService.{operation}\r\n\
         Authorization: AWS4-HMAC-SHA256 {credential}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

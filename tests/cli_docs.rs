//! `docs/tool.md` names every command, and what it shows works as it is printed.

mod tool;

use std::fs;
use std::path::Path;
use std::process::Command;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tool.md")).unwrap()
}

/// The lines of all `sh` blocks.
fn recipes(page: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn every_command_is_on_the_page() {
    let page = page();
    let mut commands = 0;
    for command in datakey::cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(page.contains(&format!("`datakey-pkcs11 {name}")) || page.contains(&format!("`{name}`")), "{name}");
        for sub in command.get_subcommands() {
            let name = format!("{name} {}`", sub.get_name());
            assert!(page.contains(&name), "{name}");
            commands += 1;
        }
    }
    assert!(commands >= 13, "{commands}");
}

#[test]
fn what_the_page_shows_works_as_it_is_printed() {
    let page = page();
    let lines = recipes(&page);
    assert!(lines.len() >= 18, "{lines:?}");
    let folder = tempfile::tempdir().unwrap();
    let directory = Path::new(env!("CARGO_BIN_EXE_datakey-pkcs11")).parent().unwrap();
    let path = std::env::join_paths([directory, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let script = format!("set -eu\n{}\n", lines.join("\n"));
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for (file, words) in [
        ("tls.csr", "-----BEGIN CERTIFICATE REQUEST-----"),
        ("tls.crt", "-----BEGIN CERTIFICATE-----"),
        ("tls.pub", "-----BEGIN PUBLIC KEY-----"),
        ("tls.json", "PrivateKeyCiphertextBlob"),
        ("datakey-pkcs11.bash", "complete -F _datakey"),
        ("man1/datakey-pkcs11-key-generate.1", ".TH"),
    ] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains(words), "{file}: {text}");
    }
    for words in
        ["kms:EncryptionContext:datakey-pkcs11:token", "0 errors", "3 objects verified, 0 failed", "1 CKM_ECDSA"]
    {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!Path::new("/etc/datakey-pkcs11/datakey-pkcs11.toml").exists() || !out.contains("/etc/datakey-pkcs11"));
}

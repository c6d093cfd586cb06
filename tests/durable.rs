//! What is made new is on the disk with its name, so that a power failure cannot take it with all that
//! was made under it.

mod store_support;

use datakey::config::{KmsBackend, KmsConfig};
use datakey::kms::{HostRules, Kms};
use std::path::{Path, PathBuf};
use std::process::Command;

const PLACE: &str = "DATAKEY_TEST_PLACE";

/// Runs one test of this program again with `fsync.c` in it, in a directory of its own. Answers which
/// directories were written to the disk, relative to that one; in the child, where to work.
fn watched(test: &str) -> Result<Vec<String>, PathBuf> {
    if let Some(place) = std::env::var_os(PLACE) {
        return Err(place.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().canonicalize().unwrap();
    let shim = place.join("fsync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts/fsync.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-Wall", "-o"]).args([&shim, &source]).status().unwrap();
    assert!(status.success());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PLACE, &place)
        .env("LD_PRELOAD", &shim)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let synced = text.lines().filter_map(|line| line.strip_prefix("directory synced: "));
    Ok(synced.filter_map(|path| Path::new(path).strip_prefix(&place).ok()?.to_str().map(str::to_owned)).collect())
}

#[test]
fn a_new_key_file_of_the_embedded_kms() {
    match watched("a_new_key_file_of_the_embedded_kms") {
        Ok(synced) => assert_eq!(synced, ["keys"]),
        Err(place) => {
            std::fs::create_dir(place.join("keys")).unwrap();
            let config =
                KmsConfig { backend: KmsBackend::Embedded(place.join("keys/keys.json")), ..KmsConfig::default() };
            let kms = Kms::new(&config, HostRules { threads_allowed: true, secure_mode: false });
            kms.describe_key().unwrap();
        }
    }
}

#[test]
fn a_new_store_and_its_directory() {
    match watched("a_new_store_and_its_directory") {
        Ok(synced) => {
            assert!(synced.contains(&String::new()), "the name of the directory: {synced:?}");
            assert!(synced.contains(&"made".to_owned()), "the name of the file: {synced:?}");
        }
        Err(place) => {
            let store = store_support::store(&place.join("made/token.db"));
            store.initialise(&store_support::token(), None).unwrap();
        }
    }
}

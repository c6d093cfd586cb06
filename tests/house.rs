//! The order of the house: floors use only floors below them, files stay small, `unsafe` stays where it
//! is allowed.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(read).collect()
}

/// The code of a file, without its comments. Good enough for names: no string here holds `//`, but for URLs.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The floors from the top down, as the table in `src/lib.rs` has them.
fn floors() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | [`"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// The floors that this code names: `crate::floor`, or `crate::{floor, …}`.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    found.push(word(group[start..index].trim()));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.push(word(group[start..index].trim()));
                    start = index + 1;
                }
                _ => {}
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn a_floor_uses_only_floors_below_it() {
    let floors = floors();
    assert!(floors.len() >= 14 && floors.last().unwrap() == "error", "{floors:?}");
    let lib = code(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let mut modules: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")).collect();
    modules.iter_mut().for_each(|name| *name = name.trim_end_matches(';'));
    let mut sorted = floors.clone();
    sorted.sort();
    assert_eq!(modules, sorted, "the table of src/lib.rs is not what the house has");

    let height = |name: &str| floors.iter().rev().position(|floor| floor == name);
    let mut checked = 0;
    for (file, text) in files("src") {
        let Some(floor) = file.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next()) else { continue };
        let Some(own) = height(floor) else {
            assert!(["lib", "bin"].contains(&floor), "{file} is on no floor");
            continue;
        };
        let code = code(&text);
        for used in uses(&code) {
            let below = height(&used).unwrap_or_else(|| panic!("{file} uses crate::{used}, which is no floor"));
            // The door and the operator's tool stand side by side.
            let beside = floor == "cli" && used == "capi";
            assert!(below <= own && !beside, "{file} is on floor {floor} and uses {used}, which is above it");
            checked += 1;
        }
        // `super` leads no further than to the floor itself, from a module at the end of its file too.
        let depth = file.matches('/').count() - usize::from(file.ends_with("/mod.rs"));
        let climb = "super::".repeat(depth + usize::from(code.contains("mod tests {")));
        assert!(!code.contains(&climb), "{file} climbs out of its floor");
    }
    assert!(checked > 200, "{checked} uses found");
}

#[test]
fn uses_are_found_in_every_spelling() {
    let text = "use crate::{error::{Cause, Result}, kms}; use crate::store; $crate::x; crate::host::log::line()";
    assert_eq!(uses(text), ["error", "kms", "store", "host"]);
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let all: Vec<_> = ["src", "tests", "cdylib"].into_iter().flat_map(files).collect();
    assert!(all.len() > 100);
    for (file, text) in all {
        assert!(text.lines().count() <= 600, "{file} has {} lines", text.lines().count());
    }
}

/// Where `unsafe` is allowed: the door, what touches the process itself, the wrapper of AWS-LC, the locks of the C
/// library, and two questions to the system.
const UNSAFE: &[&str] = &[
    "src/capi/",
    "src/host/",
    "src/crypto/aws_lc/",
    "src/store/sqlite/process.rs",
    "src/config/search.rs",
    "cdylib/src/locks.rs",
];

#[test]
fn unsafe_stays_where_it_is_allowed() {
    let has_unsafe = |text: &str| {
        let code = code(text);
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe("].iter().any(|word| code.contains(word))
    };
    let all = ["src", "cdylib"].into_iter().flat_map(files);
    let found: Vec<_> = all.filter(|(_, text)| has_unsafe(text)).map(|(file, _)| file).collect();
    for file in &found {
        assert!(UNSAFE.iter().any(|place| file.starts_with(place)), "{file} has unsafe code");
    }
    for place in UNSAFE {
        assert!(found.iter().any(|file| file.starts_with(place)), "{place} has no unsafe code and need not be listed");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "dbg!("];
    for (file, text) in
        ["src", "tests", "cdylib"].into_iter().flat_map(files).filter(|(file, _)| file != "tests/house.rs")
    {
        for mark in marks {
            assert!(!text.contains(mark), "{file} has {mark}");
        }
    }
}

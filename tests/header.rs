//! The header for C callers says what the table of causes says, and a C compiler takes it.

use datakey::error::Cause;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/datakey_pkcs11.h")
}

/// `KmsThrottled` as `KMS_THROTTLED`.
fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_uppercase());
    }
    snake
}

#[test]
fn header_and_table_agree_on_every_number() {
    let text = std::fs::read_to_string(header()).unwrap();
    let in_header: BTreeMap<String, u32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define DATAKEY_ERR_")?.split_once(' '))
        .filter(|(name, _)| *name != "GROUP_MASK")
        .map(|(name, value)| {
            let digits = value.strip_prefix("0x").and_then(|v| v.strip_suffix("UL"));
            let number = u32::from_str_radix(digits.unwrap_or_else(|| panic!("{name} {value}")), 16).unwrap();
            (name.to_owned(), number)
        })
        .collect();
    let in_table: BTreeMap<String, u32> = Cause::ALL
        .iter()
        .filter(|cause| cause.device_error() != 0)
        .map(|cause| (upper_snake(cause.name()), cause.device_error()))
        .collect();
    assert_eq!(in_header, in_table);
    assert_eq!(in_table["KMS_THROTTLED"], 0x101);
}

#[test]
fn header_and_module_agree_on_the_vendor_attributes() {
    use datakey::object::{attribute, vendor::*};
    let text = std::fs::read_to_string(header()).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("#define CKA_DATAKEY_")).count();
    let attributes = [
        ("CKA_DATAKEY_CIPHERTEXT_BLOB", CKA_DATAKEY_CIPHERTEXT_BLOB),
        ("CKA_DATAKEY_ENCRYPTION_CONTEXT", CKA_DATAKEY_ENCRYPTION_CONTEXT),
        ("CKA_DATAKEY_KMS_KEY_ARN", CKA_DATAKEY_KMS_KEY_ARN),
        ("CKA_DATAKEY_SPEC", CKA_DATAKEY_SPEC),
    ];
    assert_eq!(names, attributes.len());
    for (name, number) in attributes {
        assert_eq!(attribute::name(number), name);
        assert!(text.contains(&format!("\n#define {name} {number:#010X}UL\n").replace("0X", "0x")), "{name}");
    }
}

#[test]
fn the_header_names_every_other_return_value() {
    let text = std::fs::read_to_string(header()).unwrap();
    for cause in Cause::ALL.iter().filter(|cause| cause.device_error() != 0) {
        let define = format!("\n#define DATAKEY_ERR_{} ", upper_snake(cause.name()));
        let before = &text[..text.find(&define).unwrap_or_else(|| panic!("no{define}"))];
        let comment = &before[before.rfind("/*").unwrap()..];
        let named = comment.contains(&format!("({})", cause.ckr_name()));
        assert_eq!(named, cause.ckr_name() != "CKR_DEVICE_ERROR", "{define}: {comment}");
    }
}

#[test]
fn header_and_table_agree_on_the_statistics() {
    use datakey::counters::Count;
    let text = std::fs::read_to_string(header()).unwrap();
    let fields: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("unsigned long ul")).collect();
    for (field, count) in fields.iter().zip(Count::ALL) {
        let (name, comment) = field.split_once(';').unwrap();
        assert_eq!(name, format!("{count:?}"));
        let help = count.help();
        let comment = comment.trim().trim_start_matches("/* ").trim_end_matches(" */");
        assert_eq!(format!("{}.", comment).to_lowercase(), help.to_lowercase(), "{name}");
    }
    assert_eq!(fields.len(), Count::ALL.len() + 4, "and the keys in memory, and three percentiles");
}

#[test]
fn a_c_compiler_takes_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("use.c");
    let text = "#include <datakey_pkcs11.h>\n#include <datakey_pkcs11.h>\n\
        typedef char group_of_the_seal[(DATAKEY_ERR_SEAL_BROKEN & DATAKEY_ERR_GROUP_MASK) == 0x200UL ? 1 : -1];\n";
    std::fs::write(&source, text).unwrap();
    let output = Command::new("cc")
        .args(["-fsyntax-only", "-std=c89", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(header().parent().unwrap())
        .arg(&source)
        .output()
        .expect("a C compiler, cc, is needed; scripts/setup.sh installs one");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

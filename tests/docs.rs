//! `docs/functions.md`, `docs/mechanisms.md` and `docs/attributes.md` are made of the code's own tables. A test fails while they are
//! stale; `WRITE_DOCS=1 cargo test --test docs` writes them.

#[path = "docs/peers.rs"]
mod peers;
#[path = "returns/table.rs"]
mod returns;

use cryptoki_sys::*;
use datakey::capi::{DEVIATIONS, FUNCTIONS};
use datakey::mechanism::{MECHANISMS, Mechanism};
use datakey::object::attribute;
use datakey::object::rules::{Bound, CLASSES, Change, Class, Rule, Say, Unsaid};
use std::fmt::Write;
use std::path::Path;

/// Compares a document with what the tables say, or writes it.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/{name} is stale: WRITE_DOCS=1 cargo test --test docs");
}

#[test]
fn functions() {
    let mut text = String::from(
        "# Functions\n\nEvery function of PKCS#11 stands in the function list of its version; `C_GetInterface` gives \
         the lists of 2.40, 3.0\nand 3.2. This page is made of the module's own table.\n",
    );
    for version in ["2.40", "3.0", "3.2"] {
        write!(text, "\n## Since {version}\n\n| function | | remarks |\n| --- | --- | --- |\n").unwrap();
        for (name, _, there) in FUNCTIONS.iter().filter(|row| row.1 == version) {
            let remark = DEVIATIONS.iter().find(|row| row.0 == *name).map_or("", |row| row.1);
            let answer = if *there { "✓" } else { "`CKR_FUNCTION_NOT_SUPPORTED`" };
            writeln!(text, "| `{name}` | {answer} | {remark} |").unwrap();
        }
    }
    text.push_str(PRECEDENCE);
    for (name, answers) in returns::TABLE {
        let answers: Vec<_> = answers.split_whitespace().map(|answer| format!("`{answer}`")).collect();
        writeln!(text, "| `{name}` | {} |", answers.join(", ")).unwrap();
    }
    check("functions.md", &text);
}

const PRECEDENCE: &str = "
## What they return

Where several errors apply, the specification mostly leaves open which one is told. Here it is the first of these:

1. the library is not initialised; the session's handle is none;
2. a pointer is NULL that must not be, or a value of a template has a length and no memory; an operation is active
   already, or none is;
3. the mechanism is unknown or not for this function;
4. a handle is none, in the order of the arguments; and of a key: its type, what its attributes permit, its
   `CKA_ALLOWED_MECHANISMS`;
5. the mechanism's parameter;
6. the template: unknown types, invalid values, two values for one attribute, then what the class of the object or the
   mechanism makes of it (after 7 for `C_SetAttributeValue`);
7. nobody or another user is logged in; the token, then the session, cannot be written;
8. the data, the signature or the wrapped key: its length, then its content;
9. room for the output.

Each function returns, for reasons of its own and without the `CKR_`, what this table has; a test provokes each. For its
surroundings' sake each may return `CKR_DEVICE_ERROR`, `CKR_DEVICE_MEMORY`, `CKR_TOKEN_WRITE_PROTECTED`,
`CKR_FUNCTION_FAILED` and `CKR_HOST_MEMORY`. `CKR_GENERAL_ERROR` is a defect of the module.

| function | returns |
| --- | --- |
";

#[test]
fn remarks_are_about_functions_that_exist() {
    for (index, (name, remark)) in DEVIATIONS.iter().enumerate() {
        assert!(FUNCTIONS.iter().any(|row| row.0 == *name), "{name}");
        assert!(!remark.is_empty() && DEVIATIONS[index + 1..].iter().all(|row| row.0 != *name), "{name}");
    }
}

/// What a flag of `CK_MECHANISM_INFO` lets an application call.
const USES: &[(CK_FLAGS, &str)] = &[
    (CKF_GENERATE, "generate"),
    (CKF_GENERATE_KEY_PAIR, "generate pair"),
    (CKF_ENCRYPT, "encrypt"),
    (CKF_DECRYPT, "decrypt"),
    (CKF_SIGN, "sign"),
    (CKF_VERIFY, "verify"),
    (CKF_SIGN_RECOVER, "sign recover"),
    (CKF_VERIFY_RECOVER, "verify recover"),
    (CKF_DIGEST, "digest"),
    (CKF_WRAP, "wrap"),
    (CKF_UNWRAP, "unwrap"),
    (CKF_DERIVE, "derive"),
    (CKF_ENCAPSULATE, "encapsulate"),
    (CKF_DECAPSULATE, "decapsulate"),
    (CKF_MESSAGE_ENCRYPT, "encrypt messages"),
    (CKF_MESSAGE_DECRYPT, "decrypt messages"),
    (CKF_MESSAGE_SIGN, "sign messages"),
    (CKF_MESSAGE_VERIFY, "verify messages"),
];

fn has(peer: &str, row: &Mechanism) -> &'static str {
    let name = row.name.trim_start_matches("CKM_");
    if peer.split_whitespace().any(|other| other == name) { "✓" } else { "" }
}

#[test]
fn mechanisms() {
    let mut text = String::from(
        "# Mechanisms\n\nThis page is made of the module's own table. Sizes are in the units of the specification: bits \
         for RSA, Diffie-Hellman, elliptic\ncurves and the use of ChaCha20, bytes for other secret keys and for the public keys of ML-KEM, ML-DSA and SLH-DSA.\n\
         Beside it stand SoftHSM 2.6.1 (S) and kryoptic 1.5.4 with all its features (K).\n\n| mechanism | operations | keys | S | K |\n| --- | --- | --- | --- | --- |\n",
    );
    for row in MECHANISMS {
        let info = row.info();
        let uses: Vec<_> = USES.iter().filter(|(flag, _)| info.flags & flag != 0).map(|(_, word)| *word).collect();
        let sizes = match (info.min_key_size, info.max_key_size) {
            (0, 0) => String::new(),
            (least, most) if least == most => format!("{least}"),
            (least, most) => format!("{least}–{most}"),
        };
        let (softhsm, kryoptic) = (has(peers::SOFTHSM, row), has(peers::KRYOPTIC, row));
        writeln!(text, "| `{}` | {} | {sizes} | {softhsm} | {kryoptic} |", row.name, uses.join(", ")).unwrap();
    }
    text.push_str("\n## What the others have and this one has not\n\n");
    for (family, why, _) in peers::NOT_HERE {
        writeln!(text, "- {family}: {why}.").unwrap();
    }
    check("mechanisms.md", &text);
}

fn left_out() -> impl Iterator<Item = &'static str> {
    peers::NOT_HERE.iter().flat_map(|(_, _, names)| names.split_whitespace())
}

/// Whatever another token has is here, or is named with the reason.
#[test]
fn nothing_that_others_have_is_forgotten() {
    let names = peers::SOFTHSM.split_whitespace().chain(peers::KRYOPTIC.split_whitespace());
    let absent: Vec<_> = names
        .filter(|name| MECHANISMS.iter().all(|row| row.name.trim_start_matches("CKM_") != *name))
        .filter(|name| !left_out().any(|left| left == *name))
        .collect();
    assert!(absent.is_empty(), "{absent:?}");
    for name in left_out() {
        assert!(MECHANISMS.iter().all(|row| row.name.trim_start_matches("CKM_") != name), "{name} is here");
    }
}

/// The names of classes and of kinds of keys and certificates.
const CLASS_NAMES: &[(CK_OBJECT_CLASS, &str)] = &[
    (CKO_DATA, "CKO_DATA"),
    (CKO_CERTIFICATE, "CKO_CERTIFICATE"),
    (CKO_PUBLIC_KEY, "CKO_PUBLIC_KEY"),
    (CKO_PRIVATE_KEY, "CKO_PRIVATE_KEY"),
    (CKO_SECRET_KEY, "CKO_SECRET_KEY"),
    (CKO_OTP_KEY, "CKO_OTP_KEY"),
    (CKO_DOMAIN_PARAMETERS, "CKO_DOMAIN_PARAMETERS"),
    (CKO_TRUST, "CKO_TRUST"),
    (CKO_PROFILE, "CKO_PROFILE"),
    (CKO_MECHANISM, "CKO_MECHANISM"),
];
const CERTIFICATE_NAMES: &[(CK_ULONG, &str)] =
    &[(CKC_X_509, "CKC_X_509"), (CKC_X_509_ATTR_CERT, "CKC_X_509_ATTR_CERT"), (CKC_WTLS, "CKC_WTLS")];
const KEY_NAMES: &[(CK_ULONG, &str)] = &[
    (CKK_RSA, "CKK_RSA"),
    (CKK_DSA, "CKK_DSA"),
    (CKK_DH, "CKK_DH"),
    (CKK_X9_42_DH, "CKK_X9_42_DH"),
    (CKK_EC, "CKK_EC"),
    (CKK_EC_EDWARDS, "CKK_EC_EDWARDS"),
    (CKK_EC_MONTGOMERY, "CKK_EC_MONTGOMERY"),
    (CKK_ML_KEM, "CKK_ML_KEM"),
    (CKK_ML_DSA, "CKK_ML_DSA"),
    (CKK_SLH_DSA, "CKK_SLH_DSA"),
    (CKK_AES, "CKK_AES"),
    (CKK_CHACHA20, "CKK_CHACHA20"),
    (CKK_GENERIC_SECRET, "CKK_GENERIC_SECRET"),
    (CKK_HKDF, "CKK_HKDF"),
    (CKK_HOTP, "CKK_HOTP"),
    (CKK_SHA_1_HMAC, "CKK_SHA_1_HMAC"),
    (CKK_SHA224_HMAC, "CKK_SHA224_HMAC"),
    (CKK_SHA256_HMAC, "CKK_SHA256_HMAC"),
    (CKK_SHA384_HMAC, "CKK_SHA384_HMAC"),
    (CKK_SHA512_HMAC, "CKK_SHA512_HMAC"),
    (CKK_SHA512_224_HMAC, "CKK_SHA512_224_HMAC"),
    (CKK_SHA512_256_HMAC, "CKK_SHA512_256_HMAC"),
    (CKK_SHA3_224_HMAC, "CKK_SHA3_224_HMAC"),
    (CKK_SHA3_256_HMAC, "CKK_SHA3_256_HMAC"),
    (CKK_SHA3_384_HMAC, "CKK_SHA3_384_HMAC"),
    (CKK_SHA3_512_HMAC, "CKK_SHA3_512_HMAC"),
];

fn named(names: &[(CK_ULONG, &'static str)], number: CK_ULONG) -> &'static str {
    names.iter().find(|row| row.0 == number).unwrap_or_else(|| panic!("{number:#x} has no name here")).1
}

fn title(class: &Class) -> String {
    let name = named(CLASS_NAMES, class.class);
    match class.kind {
        Some(kind) if class.class == CKO_CERTIFICATE => format!("{name}, {}", named(CERTIFICATE_NAMES, kind)),
        Some(kind) => format!("{name}, {}", named(KEY_NAMES, kind)),
        None => name.to_owned(),
    }
}

fn said(say: Say) -> &'static str {
    match say {
        Say::Must => "must",
        Say::May => "may",
        Say::Never => "never",
    }
}

fn changed(change: Change) -> &'static str {
    match change {
        Change::Never => "never",
        Change::Free => "at will",
        Change::OnceTrue => "to true",
        Change::OnceFalse => "to false",
        Change::Officer => "to true, by the SO",
        Change::Erase => "to nothing",
        Change::Given => "never, it follows",
    }
}

fn row_of(rule: &Rule) -> String {
    let default = match rule.default {
        Unsaid::True => "true".to_owned(),
        Unsaid::False => "false".to_owned(),
        Unsaid::Empty => "empty".to_owned(),
        Unsaid::Number(number) => number.to_string(),
        Unsaid::Zeros(len) => format!("{len} bytes of zero"),
        Unsaid::Computed => "computed".to_owned(),
        Unsaid::Absent => String::new(),
    };
    let bound = match rule.bound {
        // Too often for KMS.
        Bound::No if rule.moves => "no: moves with each use".to_owned(),
        Bound::No => String::new(),
        Bound::Policy => "policy".to_owned(),
        Bound::Usage(word) => format!("usage: {word}"),
    };
    let [create, generate, arrive] = [rule.create, rule.generate, rule.arrive].map(said);
    let secret = if rule.secret { "secret" } else { "" };
    let (set, copy) = (changed(rule.change), changed(rule.copy));
    let name = attribute::name(rule.attribute);
    format!("| `{name}` | {create} | {generate} | {arrive} | {default} | {set} | {copy} | {secret} | {bound} |\n")
}

#[test]
fn attributes() {
    let mut text = String::from(
        "# Attributes\n\nThis page is made of the module's own rules. A template of `C_CreateObject` (create), of key \
         generation (generate), or of\na function that brings a key by a mechanism, such as `C_UnwrapKey` and \
         `C_DeriveKey` (arrive), *must*, *may* or must *never* name\nan attribute. Then come what the attribute is when \
         no template names it, how `C_SetAttributeValue` and `C_CopyObject` may change it, and\nhow the encryption \
         context of a sealed key binds it.\n",
    );
    let table = |class: &Class| -> String { class.rules().map(row_of).collect() };
    let mut told: Vec<(Vec<String>, String)> = Vec::new();
    for class in CLASSES {
        let rows = table(class);
        match told.iter_mut().find(|(_, known)| *known == rows) {
            Some((titles, _)) => titles.push(title(class)),
            None => told.push((vec![title(class)], rows)),
        }
    }
    for (titles, rows) in told {
        let titles: Vec<_> = titles.iter().map(|title| format!("`{}`", title.replace(", ", "`, `"))).collect();
        write!(
            text,
            "\n## {}\n\n| attribute | create | generate | arrive | default | set | copy | | sealed |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n{rows}",
            titles.join("; ")
        )
        .unwrap();
    }
    check("attributes.md", &text);
}

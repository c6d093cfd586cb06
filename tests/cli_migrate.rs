//! Keys that come from another PKCS#11 module, SoftHSM2, by the operator's tool.

mod migrate;
mod tool;

use datakey::kms::embedded::{self, Fault, FaultKind};
use migrate::{FROM_PIN, MODULE, Other, furnish_if_told};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;
use tool::Setup;

/// Not a test: makes what is moved, in a process that was told where.
#[test]
fn furnish() {
    furnish_if_told();
}

/// A token on the embedded KMS, and beside it a token of SoftHSM2 with these objects.
fn beside(setup: Setup, what: &str) -> Setup {
    let other = Other::new(&setup.path("softhsm"), "old");
    other.furnish(what);
    setup.with("SOFTHSM2_CONF", other.configuration()).with("DATAKEY_PKCS11_FROM_PIN", FROM_PIN)
}

fn ready(what: &str) -> Setup {
    beside(Setup::embedded("").initialised(), what)
}

const MIGRATE: &[&str] = &["migrate", "pkcs11", MODULE];

/// The object of this class and label in an answer.
#[track_caller]
fn object<'a>(answer: &'a Value, class: &str, label: &str) -> &'a Value {
    let mut found = answer["objects"].as_array().unwrap().iter();
    let found = found.find(|object| object["class"] == class && object["label"] == label);
    found.unwrap_or_else(|| panic!("{class} {label}: {answer}"))
}

fn run(setup: &Setup, more: &[&str]) -> (bool, Value) {
    let run = setup.run(&[&["--json"], MIGRATE, more].concat());
    (run.success, run.json())
}

/// What may leave the other token, why the rest may not, and what is then here.
#[test]
fn all_that_may_leave_is_moved_and_the_rest_is_told() {
    let setup = ready("everything");
    let (success, planned) = run(&setup, &["--dry-run"]);
    assert!(!success, "something stays behind");
    assert_eq!(
        (&planned["moved"], &planned["failed"], &planned["to_move"]),
        (&0.into(), &1.into(), &14.into()),
        "{planned}"
    );
    assert_eq!(setup.ok(&["key", "list"])["keys"], Value::Array(Vec::new()), "a dry run moves nothing");

    let (success, moved) = run(&setup, &[]);
    assert!(!success);
    let counts = ["moved", "present", "not_movable", "failed", "verified"].map(|name| moved[name].as_u64().unwrap());
    assert_eq!(counts, [14, 0, 3, 1, 8], "{moved}");
    for (class, label, result, reason) in [
        ("key pair", "rsa wrapped", "moved", ""),
        ("key pair", "p256 wrapped", "moved", ""),
        ("key pair", "p384 open", "moved", ""),
        ("key pair", "ed25519 open", "moved", ""),
        ("key pair", "no id", "moved", ""),
        ("secret", "aes wrapped", "moved", ""),
        ("secret", "aes open", "moved", ""),
        ("secret", "20 bytes", "moved", ""),
        ("public", "lonely", "moved", ""),
        ("certificate", "p384 open", "moved", ""),
        ("data", "a note", "moved", ""),
        ("key pair", "stuck", "not movable", "CKA_EXTRACTABLE is false"),
        ("key pair", "ed25519 wrapped", "not movable", "C_WrapKey answers CKR_KEY_NOT_WRAPPABLE"),
        ("secret", "3des", "not movable", "no objects of this class and type 0x15"),
        ("key pair", "impostor", "failed", "public key of another key"),
    ] {
        let told = object(&moved, class, label);
        assert_eq!(told["result"], result, "{told}");
        assert!(told["reason"].as_str().unwrap_or_default().contains(reason), "{told}");
    }

    // Names and what a key may do come along; that it may be taken elsewhere does not, unless it is said.
    let key = setup.ok(&["key", "show", "rsa wrapped"]);
    assert_eq!((&key["id"], &key["usage"], &key["spec"]), (&"01".into(), &"sign".into(), &"RSA_2048".into()));
    assert_eq!(setup.ok(&["key", "show", "p384 open"])["usage"], "sign");
    assert_eq!(setup.ok(&["verify"])["failed"], Value::Array(Vec::new()));

    // Once more: all is there, and is verified, and nothing is there twice.
    let before = setup.ok(&["key", "list"]);
    let (_, again) = run(&setup, &[]);
    let counts = ["moved", "present", "not_movable", "failed", "verified"].map(|name| again[name].as_u64().unwrap());
    assert_eq!(counts, [0, 14, 3, 1, 8], "{again}");
    assert_eq!(setup.ok(&["key", "list"]), before);
    let human = setup.run(MIGRATE).out;
    assert!(
        human.starts_with("result")
            && human.ends_with("0 objects moved, 14 present, 3 not movable, 1 failed, 8 keys verified\n"),
        "{human}"
    );
}

#[test]
fn values_are_those_that_were_there() {
    let setup = ready("everything").without("DATAKEY_PKCS11_SO_PIN");
    run(&setup, &["--keep-extractable"]);
    let token = setup.token();
    token.hold_key(token.check_pin(datakey::token::User::User, tool::USER_PIN.as_bytes()).unwrap());
    for (label, value) in [("20 bytes", vec![0x14; 20]), ("aes open", vec![7; 32])] {
        let told = setup.ok(&["key", "show", label]);
        let record = token.get(&told["unique_id"].as_str().unwrap().parse().unwrap()).unwrap().unwrap();
        let blob = record.sealed.as_ref().unwrap().blob.clone();
        let tag = datakey::object::policy::seal_tag(&record.attributes, &blob);
        let key = token.key(&record, tag).unwrap().key;
        assert_eq!(key.secret().unwrap().expose().unwrap(), value, "{label}");
        let is = |attribute| datakey::object::Look::is(&record.attributes, attribute);
        assert!(
            is(cryptoki_sys::CKA_EXTRACTABLE) && is(cryptoki_sys::CKA_SENSITIVE) == (label != "aes open"),
            "{label}"
        );
    }
}

#[test]
fn nothing_of_a_key_is_logged() {
    let setup = ready("everything");
    let log = setup.path("log");
    let text = std::fs::read_to_string(setup.configuration()).unwrap();
    std::fs::write(
        setup.configuration(),
        format!("{text}\n[log]\nlevel = \"trace\"\ntarget = \"file:{}\"\n", log.display()),
    )
    .unwrap();
    let told = setup.run(MIGRATE);
    assert!(told.out.contains("14 objects moved"), "{told:?}");
    let all = std::fs::read_to_string(&log).unwrap() + &told.out + &told.err;
    // The value of "20 bytes", as hexadecimal digits, as numbers and in base64, and the PIN.
    for secret in ["14".repeat(8).as_str(), "20, 20, 20", "FBQUFBQU", FROM_PIN] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[test]
fn the_other_token_is_named_if_there_are_several() {
    let setup = ready("");
    let other = Other::new(&setup.path("softhsm"), "second");
    assert_eq!(other.configuration(), setup.path("softhsm").join("softhsm2.conf").to_str().unwrap());
    let message = setup.fails(MIGRATE);
    assert!(message.contains("--from") && message.contains("\"old\"") && message.contains("\"second\""), "{message}");
    assert!(setup.fails(&[MIGRATE, &["--from", "none"]].concat()).contains("no such token"));
    let run = setup.run(&[MIGRATE, &["--from", "second"]].concat());
    assert!(run.success && run.out.starts_with("there is nothing to move"), "{run:?}");
    let wrong = setup.with("DATAKEY_PKCS11_FROM_PIN", "wrong");
    assert!(wrong.fails(&[MIGRATE, &["--from", "old"]].concat()).contains("CKR_PIN_INCORRECT"));
    for module in ["/nonexistent.so", "/etc/passwd", "/lib/x86_64-linux-gnu/libc.so.6"] {
        assert!(!wrong.run(&["migrate", "pkcs11", module]).success, "{module}");
    }
}

/// A token without PINs on a listener, beside twelve keys to be moved.
fn on_listener() -> (Setup, embedded::Server, Setup) {
    let folder = Setup::empty();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path("kms.json"), true).unwrap();
    let setup = beside(Setup::at(&server.url(), "login = \"none\""), "twelve");
    setup.ok(&["token", "init"]);
    (setup, server, folder)
}

/// Each key takes one call to be sealed and one to be verified. Killed on the way, nothing is lost and nothing is twice.
#[test]
fn killed_on_the_way_it_goes_on() {
    let (setup, server, _folder) = on_listener();
    let control = server.control();
    for killed in 1..=3 {
        control.reset_calls();
        for _ in 0..24 {
            control.inject(Fault { operation: Some("Encrypt".into()), fault: FaultKind::Delay(30) });
        }
        let mut tool = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        tool.env_clear().envs(setup.environment.iter().map(|(name, value)| (name, value))).args(MIGRATE);
        let mut running = tool.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while control.calls_of("Encrypt") < 3 && running.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.kill().unwrap();
        running.wait().unwrap();
        assert_eq!(setup.ok(&["verify"])["failed"], Value::Array(Vec::new()), "killed {killed} times");
    }
    control.clear_faults();
    control.reset_calls();
    let done = setup.ok(MIGRATE);
    let (moved, present) = (done["moved"].as_u64().unwrap(), done["present"].as_u64().unwrap());
    assert!(moved + present == 12 && (1..=11).contains(&present), "{done}");
    assert_eq!(control.calls_of("Encrypt"), moved);
    // Each key, and the token key.
    assert_eq!(control.calls_of("Decrypt"), 12 + 1);
    assert_eq!(setup.ok(&["key", "list"])["keys"].as_array().unwrap().len(), 24);
    // What is there takes no call at all, if nothing is to be verified.
    control.reset_calls();
    assert_eq!(setup.ok(&[MIGRATE, &["--no-verify"]].concat())["present"], 12);
    assert_eq!(control.total_calls(), 0);
}

/// KMS says no: it ends, says how far it came, and goes on when KMS does.
#[test]
fn a_denial_ends_it_and_throttling_does_not() {
    let (setup, server, _folder) = on_listener();
    let control = server.control();
    let error = |code: &str| FaultKind::Error { code: code.into(), status: None, message: "no".into() };
    for _ in 0..2 {
        control.inject(Fault { operation: Some("Encrypt".into()), fault: error("ThrottlingException") });
    }
    for _ in 0..3 {
        control.inject(Fault { operation: Some("Decrypt".into()), fault: error("ThrottlingException") });
    }
    control.inject(Fault { operation: Some("Encrypt".into()), fault: error("AccessDeniedException") });
    let run = setup.run(&[&["--json"], MIGRATE].concat());
    let told = run.json()["error"].clone();
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("moved; run it again") && message.contains("denied"), "{message}");
    assert_eq!(told["device_error"], 0x104);
    control.clear_faults();
    let done = setup.ok(MIGRATE);
    assert_eq!(done["moved"].as_u64().unwrap() + done["present"].as_u64().unwrap(), 12, "{done}");
}

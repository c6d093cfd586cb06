//! The benchmark of the operator's tool: it counts its calls of KMS, says so before, and leaves nothing behind.

mod tool;

use datakey::kms::embedded::{self, Fault, FaultKind, Server};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tool::Setup;

/// A token on a listener, and the folder that the listener's keys are in.
fn on_listener(more: &str) -> (Setup, Server, Setup) {
    let folder = Setup::empty();
    let server = embedded::serve(([127, 0, 0, 1], 0).into(), &folder.path("kms.json"), true).unwrap();
    let setup = Setup::at(&server.url(), more);
    setup.ok(&["token", "init"]);
    server.control().reset_calls();
    (setup, server, folder)
}

/// How many objects the store holds, and how often it was changed.
fn store(setup: &Setup) -> (i64, i64) {
    let store = rusqlite::Connection::open(setup.store()).unwrap();
    let number = |sql| store.query_row(sql, [], |row| row.get(0)).unwrap();
    (number("SELECT count(*) FROM object"), number("SELECT counter FROM state"))
}

fn bench(setup: &Setup, arguments: &[&str]) -> Value {
    setup.ok(&[&["bench", "--threads", "2"], arguments].concat())
}

#[test]
fn it_makes_the_calls_that_it_says_and_leaves_nothing() {
    for login in ["pin", "none"] {
        let (setup, server, _folder) = on_listener(&format!("login = \"{login}\""));
        let before = store(&setup);
        let run = setup.run(&["--json", "bench", "--type", "p-256,ed25519", "--threads", "2"]);
        assert!(run.success, "{run:?}");
        // Two kinds, each made twice and opened three times; without PINs the token key is opened too.
        let expected = 10 + u64::from(login == "none");
        assert_eq!(run.err, format!("this makes {expected} calls of KMS\n"));
        let told = run.json();
        let control = server.control();
        assert_eq!((told["kms_calls"].as_u64().unwrap(), control.total_calls()), (expected, expected));
        assert_eq!(control.calls_of("GenerateDataKeyPair"), 4);
        assert_eq!(store(&setup), before, "nothing was ever written");

        for (row, (name, mechanism)) in
            told["keys"].as_array().unwrap().iter().zip([("p-256", "CKM_ECDSA_SHA256"), ("ed25519", "CKM_EDDSA")])
        {
            assert_eq!((&row["key"], &row["mechanism"]), (&name.into(), &mechanism.into()));
            let signatures = row["signatures"].as_array().unwrap();
            assert_eq!(signatures.iter().map(|one| one["threads"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
            assert!(signatures.iter().all(|one| one["per_second"].as_f64().unwrap() > 1.0), "{row}");
            assert_eq!(row["first_use"]["count"], 3);
        }
        for (operation, count) in [("Decrypt", 6), ("GenerateDataKeyPair", 4)] {
            let times = &told["kms"][operation];
            let time = |name: &str| times[name].as_f64().unwrap();
            assert_eq!(times["count"], count);
            assert!(0.0 < time("p50_ms") && time("p50_ms") <= time("p99_ms") && time("p99_ms") <= time("max_ms"));
        }
    }
}

#[test]
fn a_key_of_the_token_is_measured_as_it_is() {
    let (setup, server, _folder) = on_listener("login = \"none\"\ncache = { max_uses = 100 }");
    setup.ok(&["key", "generate", "--type", "p-384", "--label", "tls"]);
    setup.ok(&["key", "generate", "--type", "x25519", "--label", "agree"]);
    let before = store(&setup);
    server.control().reset_calls();
    let told = bench(&setup, &["--key", "tls", "--decrypts", "1"]);
    // Each measurement begins with an open key, and ends before the cache has it opened anew.
    assert_eq!((&told["kms_calls"], server.control().calls_of("Decrypt")), (&3.into(), 3));
    assert!(told["keys"][0]["signatures"][0]["count"].as_u64().unwrap() <= 100, "{told}");
    assert_eq!(told["keys"][0]["key"], "tls");
    assert!(setup.fails(&["bench", "--key", "agree"]).contains("sign nothing"));
    assert!(setup.fails(&["bench", "--key", "none"]).contains("no key has this name"));
    assert_eq!(store(&setup), before);
    let human = setup.run(&["bench", "--key", "tls", "--threads", "1"]).out;
    assert!(human.contains("signatures/s") && human.ends_with("nothing is left on the token\n"), "{human}");
}

/// A key that no cache keeps has first uses only; one that KMS does not make has none.
#[test]
fn what_cannot_be_measured_is_left_out() {
    let (setup, server, _folder) = on_listener("cache = { max_age = 0 }");
    let told = bench(&setup, &["--type", "p-256", "--generates", "1", "--decrypts", "2"]);
    assert_eq!((&told["kms_calls"], server.control().total_calls()), (&3.into(), 3));
    assert_eq!(told["keys"][0]["signatures"], Value::Array(Vec::new()));
    let (setup, server, _folder) = on_listener("");
    let told = bench(&setup, &["--type", "ml-dsa-44"]);
    assert_eq!((&told["kms_calls"], server.control().total_calls()), (&0.into(), 0));
    assert_eq!((&told["keys"][0]["first_use"]["count"], &told["kms"]["Decrypt"]["max_ms"]), (&0.into(), &Value::Null));
}

#[test]
fn many_calls_are_not_made_unasked() {
    let (setup, server, _folder) = on_listener("");
    let message = setup.fails(&["bench", "--type", "p-256", "--decrypts", "19"]);
    assert!(message.contains("this makes 21 calls of KMS") && message.contains("--yes"), "{message}");
    assert_eq!(server.control().total_calls(), 0);
    let told = bench(&setup, &["--type", "p-256", "--decrypts", "19", "--yes"]);
    assert_eq!(told["kms_calls"], 21);

    // An audit log gets a line for each signature: that is not done unasked either.
    let log = setup.path("audit.jsonl");
    let text = std::fs::read_to_string(setup.configuration()).unwrap();
    std::fs::write(setup.configuration(), format!("{text}\n[log]\naudit = \"{}\"\n", log.display())).unwrap();
    let one = ["bench", "--type", "p-256", "--decrypts", "1", "--generates", "1"];
    let message = setup.fails(&one);
    assert!(message.contains("a line for each signature to") && message.contains("audit.jsonl"), "{message}");
    assert!(std::fs::read(&log).unwrap_or_default().is_empty());
    setup.ok(&[&one[..], &["--yes"]].concat());
    assert!(!std::fs::read(&log).unwrap().is_empty());
}

/// Stopped by Ctrl-C at any time, and by KMS: nothing is in the store.
#[test]
fn however_it_ends_nothing_is_left() {
    let (setup, server, _folder) = on_listener("login = \"none\"");
    let before = store(&setup);
    let control = server.control();
    for operation in ["GenerateDataKeyPair", "Decrypt"] {
        control.reset_calls();
        for _ in 0..8 {
            control.inject(Fault { operation: Some(operation.into()), fault: FaultKind::Delay(40) });
        }
        let mut tool = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        tool.env_clear().envs(setup.environment.iter().map(|(name, value)| (name, value)));
        tool.args(["bench", "--type", "p-256,ed25519", "--seconds", "60"]);
        // What runs the tests in the background may have it ignored.
        // SAFETY: signal may be called between fork and exec.
        unsafe {
            tool.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            })
        };
        let mut running = tool.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while control.calls_of(operation) < 3 && running.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: the process is a child that was not waited for.
        assert_eq!(unsafe { libc::kill(running.id().cast_signed(), libc::SIGINT) }, 0);
        assert!(!running.wait().unwrap().success());
        assert_eq!(store(&setup), before, "{operation}");
    }
    control.clear_faults();
    let denied = FaultKind::Error { code: "AccessDeniedException".into(), status: None, message: "no".into() };
    for (operation, skipped) in [("GenerateDataKeyPair", 0), ("Decrypt", 1)] {
        for _ in 0..skipped {
            control.inject(Fault { operation: Some(operation.into()), fault: FaultKind::Delay(1) });
        }
        control.inject(Fault { operation: Some(operation.into()), fault: denied.clone() });
        let run = setup.run(&["--json", "bench", "--type", "p-256"]);
        assert_eq!(run.json()["error"]["device_error"], 0x104, "{run:?}");
        assert!(run.json()["error"]["message"].as_str().unwrap().starts_with("p-256: "), "{run:?}");
        assert_eq!(store(&setup), before);
    }
}

//! From one KMS key to another, by the operator's tool.

mod tool;

use datakey::kms::embedded::{self, Fault, FaultKind, Server};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;
use tool::{Setup, kms_key};

/// A token on a listener, with `count` keys and a public one (a pair, one that counts, and AES keys), and two KMS keys:
/// the one that sealed all, and another.
struct Scene {
    setup: Setup,
    server: Server,
    before: String,
    after: String,
    login: &'static str,
    count: usize,
}

impl Scene {
    fn new(login: &'static str, count: usize) -> Self {
        let setup = Setup::empty().with("AWS_ACCESS_KEY_ID", "ASIATEST").with("AWS_SECRET_ACCESS_KEY", "test");
        let keys = setup.path("kms.json");
        let setup = setup.configured(&format!("kms = \"embedded:{}\"\nlogin = \"{login}\"", keys.display()));
        let init: &[&str] = &["token", "init"];
        setup.ok(init);
        setup.ok(&["key", "generate", "--type", "p-256", "--label", "pair"]);
        setup.create_hotp(login);
        for number in 2..count {
            setup.ok(&["key", "generate", "--type", "aes-256", "--label", &format!("key {number}")]);
        }
        let before = arns(&setup).pop().unwrap();
        let after = kms_key(&keys, false);
        let server = embedded::serve(([127, 0, 0, 1], 0).into(), &keys, true).unwrap();
        Self { setup, server, before, after, login, count }
    }

    /// Has the configuration name the new key, and these former ones.
    fn configure(&mut self, former: &str) {
        let (url, login, after) = (self.server.url(), self.login, &self.after);
        let text = format!(
            "[[token]]\nlabel = \"test\"\nstore = \"sqlite:{}\"\nlogin = \"{login}\"\nkms_key_id = \"{after}\"\n\
             endpoint_url = \"{url}\"\n{former}\n",
            self.setup.store().display()
        );
        std::fs::write(self.setup.configuration(), text).unwrap();
    }

    fn former(&self) -> String {
        format!("former_kms_key_ids = [\"{}\"]", self.before)
    }
}

/// The KMS keys that sealed the token's private and secret keys.
fn arns(setup: &Setup) -> Vec<String> {
    let keys = setup.ok(&["key", "list"])["keys"].clone();
    let arn = |key: &Value| key["kms_key_arn"].as_str().map(str::to_owned);
    keys.as_array().unwrap().iter().filter_map(arn).collect()
}

fn moved(login: &'static str) {
    let mut scene = Scene::new(login, 3);
    scene.configure("");
    assert!(scene.setup.fails(&["rewrap"]).contains("former_kms_key_ids"));
    let refused = scene.setup.run(&["verify"]);
    assert!(!refused.success && (refused.out + &refused.err).contains("another KMS key"), "another key opens nothing");

    // While the old key is named it opens what it sealed, and one call each is all that it takes.
    scene.configure(&scene.former());
    let control = scene.server.control();
    assert_eq!(scene.setup.ok(&["verify"])["checked"], 4);
    let todo = scene.setup.ok(&["rewrap", "--dry-run"]);
    assert_eq!((&todo["keys"], &todo["to_move"], &todo["moved"]), (&3.into(), &3.into(), &0.into()));
    control.reset_calls();
    let done = scene.setup.ok(&["rewrap"]);
    assert_eq!((&done["moved"], done["failed"].as_array().map(Vec::len)), (&3.into(), Some(0)), "{done}");
    let without_pins = u64::from(login == "none");
    assert_eq!(done["token_key_moved"], without_pins == 1);
    assert_eq!(control.calls_of("ReEncrypt"), 3 + without_pins);
    // Each is opened once, and the token key where KMS has it.
    assert_eq!(control.calls_of("Decrypt"), 3 + without_pins);
    assert_eq!(scene.setup.ok(&["rewrap"])["to_move"], 0);

    // The old key can go.
    scene.configure("");
    assert!(arns(&scene.setup).iter().all(|arn| *arn == scene.after));
    assert_eq!(scene.setup.ok(&["verify"])["checked"], 4);
}

#[test]
fn a_token_with_pins_moves_to_another_kms_key() {
    moved("pin");
}

#[test]
fn a_token_without_pins_moves_with_its_token_key() {
    moved("none");
}

/// What was moved is not moved twice, and what was not is still there.
#[test]
fn killed_on_the_way_it_goes_on() {
    const KEYS: usize = 24;
    let mut scene = Scene::new("none", KEYS);
    scene.configure(&scene.former());
    let control = scene.server.control();
    control.reset_calls();
    for _ in 0..5 {
        for _ in 0..2 * KEYS {
            let delay = FaultKind::Delay(30);
            control.inject(Fault { operation: Some("ReEncrypt".into()), fault: delay });
        }
        let mut tool = Command::new(env!("CARGO_BIN_EXE_datakey-pkcs11"));
        tool.env_clear().envs(scene.setup.environment.iter().map(|(name, value)| (name, value)));
        let mut running = tool.args(["rewrap", "--parallel", "2"]).stdout(Stdio::null()).spawn().unwrap();
        // A few calls are made, and a few are under way.
        let before = control.calls_of("ReEncrypt");
        while control.calls_of("ReEncrypt") < before + 4 && running.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.kill().unwrap();
        running.wait().unwrap();
        assert_eq!(scene.setup.ok(&["verify", "--json"])["failed"], Value::Array(Vec::new()));
    }
    control.clear_faults();
    let half = arns(&scene.setup).iter().filter(|arn| **arn == scene.after).count();
    assert!((1..KEYS).contains(&half), "{half} of {KEYS} moved by five that were killed");
    let rest = scene.setup.ok(&["rewrap"]);
    assert_eq!(rest["moved"], KEYS - half, "{rest}");
    assert!(arns(&scene.setup).iter().all(|arn| *arn == scene.after));
    // One call for each key and for the token key, and at most two in vain each time that it was killed.
    let calls = control.calls_of("ReEncrypt") as usize;
    assert!((KEYS + 1..=KEYS + 1 + 5 * 2).contains(&calls), "{calls} calls for {KEYS} keys");
    scene.configure("");
    assert_eq!(scene.setup.ok(&["verify"])["checked"], scene.count + 1);
}

/// KMS says no: nothing is lost, and the answer says how far it came.
#[test]
fn a_denial_ends_it() {
    let mut scene = Scene::new("pin", 4);
    scene.configure(&scene.former());
    let denied = || FaultKind::Error { code: "AccessDeniedException".into(), status: None, message: "no".into() };
    let throttled = || FaultKind::Error { code: "ThrottlingException".into(), status: None, message: "slow".into() };
    let control = scene.server.control();
    control.inject(Fault { operation: Some("ReEncrypt".into()), fault: throttled() });
    for _ in 0..8 {
        control.inject(Fault { operation: Some("ReEncrypt".into()), fault: denied() });
    }
    let message = scene.setup.fails(&["rewrap", "--parallel", "1"]);
    assert!(message.contains("0 keys moved; run it again") && message.contains("denied"), "{message}");
    control.clear_faults();
    assert_eq!(scene.setup.ok(&["rewrap"])["moved"], 4);
}

//! The operator's tool, run as its users run it, on the embedded KMS.

mod tool;

use serde_json::{Value, json};
use std::fs;
use tool::{SO_PIN, Setup, USER_PIN};

#[test]
fn init_writes_what_the_module_accepts_and_overwrites_nothing() {
    let setup = Setup::empty();
    let file = setup.path("new/datakey.toml").display().to_string();
    let store = format!("sqlite:{}", setup.path("web.db").display());
    let given = [
        "init",
        "--file",
        &file,
        "--label",
        "a \"web\" token",
        "--kms-key-id",
        "alias/pkcs11",
        "--region",
        "eu-central-1",
    ];
    let more = [
        "--store",
        &store,
        "--login",
        "none",
        "--context",
        "app=web",
        "--context",
        "a key=x=y",
        "--generate",
        "without-plaintext",
    ];
    let answer = setup.ok(&[&given[..], &more].concat());
    assert_eq!((answer["file"].as_str(), answer["found_by_default"].as_bool()), (Some(file.as_str()), Some(false)));

    // What was given stands in it, in the eyes of the module.
    let setup = setup.with("DATAKEY_PKCS11_CONF", &file);
    let policy = setup.ok(&["policy"]);
    let statement = &policy["Statement"][0];
    assert_eq!(
        statement["Condition"]["StringEquals"],
        json!({"kms:EncryptionContext:app": "web", "kms:EncryptionContext:a key": "x=y"})
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("label = \"a \\\"web\\\" token\"") && text.contains("region = \"eu-central-1\""), "{text}");

    assert!(setup.fails(&["init", "--embedded"]).contains("is there already"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn init_refuses_what_the_module_would_refuse_and_then_writes_nothing() {
    for (arguments, words) in [
        (&["--kms-key-id", "alias/x", "--region", "Frankfurt am Main"][..], "region"),
        (&["--embedded", "--label", "a label of more than thirty-two bytes"], "label"),
        (&["--embedded", "--store", "postgres:x"], "store"),
        (&["--embedded", "--context", "datakey-pkcs11:token=x"], "datakey-pkcs11:"),
        (&["--embedded", "--endpoint-url", "http://127.0.0.1:1"], "endpoint_url"),
        // There is no terminal to ask on.
        (&[], "--kms-key-id"),
    ] {
        let setup = Setup::empty();
        let file = setup.path("x.toml").display().to_string();
        let message = setup.fails(&[&["init", "--file", &file], arguments].concat());
        assert!(message.contains(words), "{arguments:?}: {message}");
        assert!(!setup.path("x.toml").exists());
    }
    assert!(Setup::empty().run(&["init", "--context", "no pair"]).err.contains("KEY=VALUE"));
}

#[test]
fn the_policy_is_the_least_for_each_configuration() {
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let pair = "kms:GenerateDataKeyPair";
    let sealed_pair = "kms:GenerateDataKeyPairWithoutPlaintext";
    let all = ["policy", "--with", "secret-keys,import,change"];
    let rest = ["kms:ReEncryptFrom", "kms:ReEncryptTo"];
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &["policy"], &["kms:Decrypt", pair]),
        ("login = \"none\"", &["policy"], &["kms:Decrypt", "kms:GenerateDataKey", pair]),
        ("generate = \"without-plaintext\"", &["policy"], &["kms:Decrypt", sealed_pair]),
        ("generate = \"without-plaintext\"", &["policy", "--generate-only"], &[sealed_pair]),
        ("", &all, &["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", pair, rest[0], rest[1]]),
        (
            "generate = \"without-plaintext\"",
            &all,
            &["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext", sealed_pair, rest[0], rest[1]],
        ),
    ];
    for (more, arguments, expected) in cases {
        let setup = Setup::empty().configured(&format!("kms_key_id = \"{arn}\"\n{more}"));
        let policy = setup.ok(arguments);
        let statement = &policy["Statement"][0];
        let mut actions: Vec<&str> =
            statement["Action"].as_array().unwrap().iter().map(|action| action.as_str().unwrap()).collect();
        actions.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(actions, expected, "{more} {arguments:?}");
        assert_eq!(statement["Resource"], arn);
        assert_eq!(statement["Condition"], json!({"Null": {"kms:EncryptionContext:datakey-pkcs11:token": "false"}}));
    }
}

#[test]
fn the_policy_of_an_initialised_token_is_about_that_token() {
    let setup = Setup::embedded("encryption_context = { app = \"web\" }").initialised();
    let serial = setup.token().initialised().unwrap().serial.clone();
    let policy = setup.ok(&["policy", "--ask-kms"]);
    let statement = &policy["Statement"][0];
    let equal = json!({"kms:EncryptionContext:app": "web", "kms:EncryptionContext:datakey-pkcs11:token": serial});
    assert_eq!(statement["Condition"], json!({"StringEquals": equal}));
    assert!(statement["Resource"].as_str().unwrap().starts_with("arn:aws:kms:"), "{policy}");
    let any = setup.run(&["policy", "--any-token"]);
    assert!(any.out.contains("\"Null\"") && any.out.contains("key/KEY-ID") && any.err.contains("--key-arn"), "{any:?}");
    serde_json::from_str::<Value>(&any.out).unwrap();
}

#[test]
fn a_token_is_initialised_listed_and_shown() {
    let setup = Setup::embedded("encryption_context = { app = \"web\" }");
    let before = setup.ok(&["token", "show"]);
    assert_eq!((&before["initialised"], &before["configured_label"]), (&json!(false), &json!("test")));
    assert!(setup.fails(&["key", "list"]).contains("not initialised"));

    let made = setup.ok(&["token", "init", "--label", "my token"]);
    assert_eq!((&made["label"], &made["login"]), (&json!("my token"), &json!("pin")));
    assert_eq!((&made["user_pin"], &made["so_pin"]), (&json!("set"), &json!("set")));
    let list = setup.ok(&["token", "list"]);
    assert_eq!(list["tokens"], json!([made]));
    let human = setup.run(&["token", "list"]).out;
    assert!(human.contains(made["serial"].as_str().unwrap()) && human.starts_with("slot  configured_label"), "{human}");

    let shown = setup.run(&["token", "show"]).out;
    for (name, value) in made.as_object().unwrap() {
        assert!(shown.contains(&format!("\n{name} ")) || name == "slot", "{name}: {value}: {shown}");
    }

    // Not by accident, and not without the SO PIN.
    assert!(setup.fails(&["token", "init"]).contains("--destroy-all-keys"));
    let stranger = Setup::embedded("").with("DATAKEY_PKCS11_CONF", &setup.configuration().display().to_string());
    let stranger = stranger.with("DATAKEY_PKCS11_SO_PIN", "wrong-pin");
    assert!(stranger.fails(&["token", "init", "--destroy-all-keys"]).contains("the PIN is wrong"));
    assert_eq!(setup.ok(&["token", "show"])["so_pin"], "entered wrongly of late");
    let anew = setup.ok(&["token", "init", "--destroy-all-keys"]);
    assert_ne!(anew["serial"], made["serial"]);
    for label in ["", "a label of more than thirty-two bytes", "blank "] {
        assert!(setup.fails(&["token", "init", "--destroy-all-keys", "--label", label]).contains("1 to 32 bytes"));
    }
}

#[test]
fn a_token_without_pins_asks_for_none() {
    let setup = Setup::embedded("login = \"none\"").without("DATAKEY_PKCS11_PIN").without("DATAKEY_PKCS11_SO_PIN");
    let made = setup.ok(&["token", "init"]);
    assert_eq!((&made["login"], &made["user_pin"]), (&json!("none"), &json!("none needed")));
    setup.ok(&["key", "generate", "--type", "p-256", "--label", "tls"]);
    assert_eq!(setup.ok(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn pins_come_from_a_file_or_the_environment_and_from_no_argument() {
    let setup = Setup::embedded("").initialised().without("DATAKEY_PKCS11_PIN");
    let message = setup.fails(&["key", "list"]);
    assert!(message.contains("--pin-file") && message.contains("DATAKEY_PKCS11_PIN"), "{message}");
    fs::write(setup.path("pin"), format!("{USER_PIN}\n")).unwrap();
    setup.ok(&["key", "list", "--pin-file", "pin"]);
    fs::write(setup.path("pin"), "wrong-pin\n").unwrap();
    let run = setup.run(&["--json", "key", "list", "--pin-file", "pin"]);
    assert_eq!(run.json()["error"]["ckr"], "CKR_PIN_INCORRECT");
    assert!(setup.fails(&["key", "list", "--pin-file", "nothing"]).contains("nothing"));
    assert!(!setup.run(&["key", "list", "--pin", USER_PIN]).success);
    // What everybody sees takes none.
    setup.ok(&["key", "list", "--public"]);
    assert!(!setup.run(&["key", "list", "--help"]).out.contains(SO_PIN), "help does not show the environment");
}

#[test]
fn several_tokens_are_told_apart() {
    let setup = Setup::empty();
    let token = |label: &str| {
        let (store, keys) = (setup.path(&format!("{label}.db")), setup.path("kms.json"));
        format!(
            "[[token]]\nlabel = \"{label}\"\nstore = \"sqlite:{}\"\nkms = \"embedded:{}\"\n",
            store.display(),
            keys.display()
        )
    };
    let text = token("one") + &token("two");
    let setup = setup.written(&text);
    let message = setup.fails(&["token", "init"]);
    assert!(message.contains("--token") && message.contains("\"one\", \"two\""), "{message}");
    setup.ok(&["token", "init", "--token", "two"]);
    let list = setup.ok(&["token", "list"]);
    let initialised: Vec<_> =
        list["tokens"].as_array().unwrap().iter().map(|token| token["initialised"].clone()).collect();
    assert_eq!(initialised, [json!(false), json!(true)]);
    assert!(setup.fails(&["token", "show", "--token", "three"]).contains("\"three\""));
}

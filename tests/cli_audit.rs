//! `audit`, by the operator's tool.

mod tool;

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use tool::Setup;

/// A token with an audit log and a key that two processes have used.
fn used(login: &str) -> (Setup, String) {
    let setup = Setup::empty();
    let (keys, log) = (setup.path("kms.json"), setup.path("audit.jsonl"));
    let lines = format!("kms = \"embedded:{}\"\nlogin = \"{login}\"\n[log]\naudit = {log:?}", keys.display());
    let setup = setup.configured(&lines);
    let setup = if login == "pin" { setup.initialised() } else { setup };
    if login == "none" {
        setup.ok(&["token", "init"]);
    }
    let made = setup.ok(&["key", "generate", "--type", "p-256", "--label", "tls", "--id", "0a"]);
    for _ in 0..2 {
        setup.ok(&["cert", "request", "tls", "--subject", "CN=x"]);
    }
    (setup, made["unique_id"].as_str().unwrap().to_owned())
}

fn keys(answer: &Value) -> &Vec<Value> {
    answer["keys"].as_array().unwrap()
}

#[test]
fn each_key_is_told_with_what_it_was_used_for() {
    let (setup, id) = used("none");
    let answer = setup.ok(&["audit"]);
    assert_eq!((keys(&answer).len(), &answer["uses"], &answer["broken_lines"]), (1, &json!(2), &json!(0)));
    let key = &keys(&answer)[0];
    assert_eq!(key["unique_id"], id.as_str());
    assert_eq!((&key["token"], &key["label"], &key["id"]), (&json!("test"), &json!("tls"), &json!("0a")));
    let operation = &key["operations"][0];
    assert!(operation["operation"].as_str().unwrap().starts_with("CKM_ECDSA"), "{key:#}");
    assert_eq!((&operation["result"], &operation["count"]), (&json!("CKR_OK"), &json!(2)));
    assert_eq!(key["operations"].as_array().unwrap().len(), 1);
    // Each process has a cache of its own.
    assert_eq!((&key["cached"], key["processes"].as_array().unwrap().len()), (&json!(0), 2));
    let requests = key["kms_requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    assert_ne!(requests[0]["request_id"], requests[1]["request_id"]);
    assert!(key["first"].as_str() <= key["last"].as_str() && key["first"].as_str().unwrap().ends_with('Z'));

    for name in ["tls", "id:0a", &id] {
        assert_eq!(setup.ok(&["audit", "--key", name, "--since", "1h"]), answer, "{name}");
    }
    assert!(setup.fails(&["audit", "--key", "other"]).contains("unique id"));
    assert_eq!(setup.ok(&["audit", "--since", "2999-01-01"])["keys"], json!([]));
    assert!(!setup.run(&["audit", "--since", "yesterday"]).success);

    let human = setup.run(&["audit"]).out;
    assert!(human.starts_with("key  uses  cached  kms  first") && human.contains("2 CKM_ECDSA"), "{human}");
    let human = setup.run(&["audit", "--key", "tls"]).out;
    assert!(human.contains(&format!("KMS request {}", requests[1]["request_id"].as_str().unwrap())), "{human}");
}

#[test]
fn names_that_take_a_login_are_not_told() {
    let (setup, id) = used("pin");
    let setup = setup.without("DATAKEY_PKCS11_PIN");
    let answer = setup.ok(&["audit"]);
    let key = &keys(&answer)[0];
    assert_eq!((key["unique_id"].as_str(), &key["label"], &key["token"]), (Some(&*id), &Value::Null, &Value::Null));
    assert_eq!(setup.ok(&["audit", "--key", &id]), answer);
    assert!(setup.run(&["audit"]).out.contains(&id));
    assert!(setup.fails(&["audit", "--key", "tls"]).contains("without a login"));
    // Nor can a store that is damaged be asked.
    fs::write(setup.store(), "no store any more. ".repeat(1000)).unwrap();
    assert_eq!(setup.ok(&["audit"]), answer);
}

#[test]
fn broken_lines_are_counted() {
    let (setup, _) = used("none");
    let mut log = fs::OpenOptions::new().append(true).open(setup.path("audit.jsonl")).unwrap();
    log.write_all(b"{\"object\":\"cut\nnonsense \xff\x1b[2J\n\n").unwrap();
    let answer = setup.ok(&["audit"]);
    assert_eq!((&answer["uses"], &answer["broken_lines"]), (&json!(2), &json!(2)));
    assert!(setup.run(&["audit"]).out.ends_with("2 lines not of an audit log\n"));
}

#[test]
fn logs_of_other_hosts_are_read_without_a_configuration() {
    let setup = Setup::empty();
    let line = |key: &str, mechanism: &str, more: &str, time: u32| {
        format!(
            "{{\"object\":\"{key}\",\"mechanism\":\"{mechanism}\",{more},\"microseconds\":9,\"time\":{time},\"pid\":7}}\n"
        )
    };
    let (one, two) = ("30313233-3435-3637-3839-616263646566", "30313233-3435-3637-3839-616263646567");
    let good = "\"cached\":true,\"request_id\":\"\",\"result\":\"CKR_OK\",\"device_error\":0";
    let bad = "\"cached\":false,\"request_id\":\"\",\"result\":\"CKR_DEVICE_ERROR\",\"device_error\":258";
    let first = [line(one, "CKM_RSA_PKCS", good, 60), line(one, "reveal", bad, 120)].concat();
    let second = [line(one, "CKM_RSA_PKCS", good, 90), line(two, "copy", good, 86_400)].concat();
    fs::write(setup.path("audit.1"), &first).unwrap();
    fs::write(setup.path("audit.2"), &second).unwrap();
    let answer = setup.ok(&["audit", "audit.1", "audit.2"]);
    let key = &keys(&answer)[0];
    assert_eq!((&key["first"], &key["last"]), (&json!("1970-01-01T00:01:00Z"), &json!("1970-01-01T00:02:00Z")));
    assert_eq!((&key["uses"], &key["cached"], &key["kms_requests"]), (&json!(3), &json!(2), &json!([])));
    let operations = json!([
        {"operation": "CKM_RSA_PKCS", "result": "CKR_OK", "device_error": null, "count": 2},
        {"operation": "reveal", "result": "CKR_DEVICE_ERROR", "device_error": 258, "count": 1},
    ]);
    assert_eq!(key["operations"], operations);
    assert_eq!(keys(&answer).len(), 2);
    let human = setup.run(&["audit", "audit.1"]).out;
    assert!(human.contains("1 CKM_RSA_PKCS, 1 reveal CKR_DEVICE_ERROR 0x102"), "{human}");
    let run = setup.run_with_input(&["--json", "audit", "-", "--since", "1970-01-02"], &second);
    assert_eq!(keys(&run.json())[0]["unique_id"], two, "{run:?}");
    assert!(setup.fails(&["audit", "none"]).contains("No such file"));
    // Here is none to be read by itself.
    let setup = setup.configured("kms_key_id = \"alias/x\"\nregion = \"us-east-1\"");
    assert!(setup.fails(&["audit"]).contains("[log] audit"));
}

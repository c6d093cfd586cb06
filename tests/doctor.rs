//! `datakey-pkcs11 doctor` against broken set-ups: each is found, and named with what to do.

#[path = "doctor/cases.rs"]
mod cases;
mod host;
#[cfg(all(feature = "dynamodb", feature = "postgres"))]
#[path = "doctor/stores.rs"]
mod stores;
mod tool;

use cases::{CASES, Case, faulty, serve};
use datakey::kms::embedded;
use serde_json::Value;
use tool::{Setup, answering};

fn matching<'a>(findings: &'a Value, case: &Case) -> Option<&'a Value> {
    let says =
        |finding: &Value, field: &str, words: &str| finding[field].as_str().is_some_and(|text| text.contains(words));
    findings.as_array().unwrap().iter().find(|finding| {
        finding["level"] == case.level
            && finding["check"] == case.check
            && says(finding, "what", case.what)
            && says(finding, "advice", case.advice)
    })
}

#[test]
fn every_broken_set_up_is_found_and_named_with_what_to_do() {
    assert!(CASES.len() >= 20);
    let mut missed = Vec::new();
    #[cfg(all(feature = "dynamodb", feature = "postgres"))]
    let more = stores::CASES;
    #[cfg(not(all(feature = "dynamodb", feature = "postgres")))]
    let more: &[Case] = &[];
    for case in CASES.iter().chain(more) {
        let broken = (case.make)();
        let arguments: Vec<&str> = broken.arguments.iter().map(String::as_str).collect();
        let run = broken.setup.run(&[&["--json", "doctor"], arguments.as_slice()].concat());
        let answer = run.json();
        let errors = answer["errors"].as_u64().unwrap();
        if matching(&answer["findings"], case).is_none()
            || run.success != (errors == 0)
            || (case.level == "error" && run.success)
        {
            missed.push(format!("{}: {answer:#} {}", case.name, run.err));
        }
    }
    assert!(missed.is_empty(), "{} of {} missed:\n{}", missed.len(), CASES.len(), missed.join("\n\n"));
    println!("{} broken set-ups, all found", CASES.len());
}

#[test]
fn a_sound_set_up_has_nothing_to_say_but_ok() {
    let broken = faulty(&[], "");
    let module = host::library().display().to_string();
    let answer = broken.setup.ok(&["doctor", "--module", &module]);
    let levels: Vec<_> = answer["findings"].as_array().unwrap().iter().map(|finding| &finding["level"]).collect();
    assert!(levels.iter().all(|level| *level == "ok") && levels.len() >= 12, "{answer:#}");
    let checks: Vec<_> =
        answer["findings"].as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    for check in
        ["configuration", "log", "store", "pin", "credentials", "kms", "clock", "permission", "memory", "module"]
    {
        assert!(checks.contains(&check), "{check}: {answer:#}");
    }
    // For people, and nothing was made by looking.
    let run = broken.setup.run(&["doctor", "--module", &module]);
    assert!(run.success && run.out.ends_with("\n0 errors, 0 warnings\n") && run.err.is_empty(), "{run:?}");
    assert!(run.out.contains("ok      test: permission: kms:Decrypt, to use private keys: allowed\n"), "{}", run.out);
}

#[test]
fn sts_says_whose_the_credentials_are() {
    let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                <Arn>arn:aws:sts::111122223333:assumed-role/web/i-1</Arn><UserId>A:i-1</UserId>\
                <Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let sts = answering(200, "content-type: text/xml\r\n", body);
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let setup = Setup::empty()
        .configured(&format!("kms_key_id = \"{}\"\nregion = \"us-east-1\"", embedded::DEFAULT_ALIAS))
        .with("AWS_ACCESS_KEY_ID", "ASIATEST")
        .with("AWS_SECRET_ACCESS_KEY", "test")
        .with("AWS_ENDPOINT_URL_KMS", &server.url())
        .with("AWS_ENDPOINT_URL_STS", &sts);
    let answer = setup.ok(&["doctor"]);
    let found =
        answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "credentials").unwrap();
    assert_eq!(found["what"], "access key ASIATEST of arn:aws:sts::111122223333:assumed-role/web/i-1");
}

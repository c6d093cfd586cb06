//! `docs/failures.md`, from what was found.

use super::world::{Outcome, Row};
use datakey::error::Cause;
use std::fmt::Write;
use std::path::Path;

const INTRODUCTION: &str = "\
# Failures

What the module does when KMS, the network or credentials fail, for a call that makes a key and for the first use of
one. This page is made of a test's results: each row was brought about, the log line that names cause and advice was
read, the deadline was kept, no object was lost, and the next call without the fault worked.

*Once* is the fault in the way of the first request only; *lasting* is what the caller is told while it goes on. Each
return value has the number that `ulDeviceError` of `C_GetSessionInfo` holds then, and how many requests were made.
\"∞\" is as many as fit into the deadline (`timeouts`).

After three calls in a row that nobody answered (0x102, 0x103), calls fail at once with 0x10F. One at a time goes out
all the same, with a single attempt: after a second, then after two, then every four. Whatever is answered ends that.
";

const ADVICE: &str = "
## What to do

The log line of a call that fails begins with one of these, and goes on with the object, the KMS key, the AWS error, the
id of the request and the number of attempts.

| number | name | the log says |
| --- | --- | --- |
";

fn told(outcome: Outcome) -> String {
    let asked = match outcome.asked {
        Some(1) => "1 request".to_owned(),
        Some(asked) => format!("{asked} requests"),
        None => "∞".to_owned(),
    };
    match outcome.cause {
        None => format!("`CKR_OK`, {asked}"),
        Some(cause) => format!("`{}` {}, {asked}", cause.ckr_name(), number(cause)),
    }
}

/// As the header spells it.
fn number(cause: Cause) -> String {
    format!("0x{:03X}", cause.device_error())
}

/// Compares the page with what was found, or writes it.
pub(crate) fn check(groups: &[(&str, Vec<(&str, Vec<Row>)>)]) {
    let mut text = INTRODUCTION.to_owned();
    let mut causes = vec![Cause::KmsNotTried];
    for (title, faults) in groups {
        write!(text, "\n## {title}\n\n| fault | function | once | lasting |\n| --- | --- | --- | --- |\n")
            .expect("memory");
        for (fault, rows) in faults {
            let mut lines: Vec<(&str, String)> = Vec::new();
            for row in rows {
                let outcomes = format!("{} | {}", row.once.map(told).unwrap_or_default(), told(row.lasting));
                match lines.iter_mut().find(|(_, known)| *known == outcomes) {
                    Some(same) => same.0 = "both",
                    None => lines.push((row.function, outcomes)),
                }
                causes.extend([row.once, Some(row.lasting)].into_iter().flatten().filter_map(|outcome| outcome.cause));
            }
            for (function, outcomes) in lines {
                writeln!(text, "| {fault} | {function} | {outcomes} |").expect("memory");
            }
        }
    }
    causes.sort_by_key(|cause| cause.device_error());
    causes.dedup();
    text += ADVICE;
    for cause in causes {
        writeln!(text, "| {} | {} | {} |", number(cause), cause.name(), cause.text()).expect("memory");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("docs can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/failures.md is stale: WRITE_DOCS=1 cargo test --test fault_matrix\n{text}");
}

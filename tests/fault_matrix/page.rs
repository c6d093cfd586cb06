//! `docs/failures.md`, from what was found.

use super::world::{Outcome, Row};
use datakey::error::Cause;
use std::path::{Path, PathBuf};

const INTRODUCTION: &str = "\
# Failures

What the module does when KMS, the network or credentials fail, for a call that makes a key and for the first use of
one. This page is made of a test's results: each row was brought about, the log line that names cause and advice was
read, the deadline was kept, no object was lost, and the next call without the fault worked.

*Once* is the fault in the way of the first request only; *lasting* is what the caller is told while it goes on; *both* are
`C_GenerateKeyPair` and `C_Sign`. Each return value has the number that `ulDeviceError` of `C_GetSessionInfo` holds then,
and how many requests arrived; \"∞\" is as many as fit into the deadline (`timeouts`). A clock that is wrong is learnt from
the first refusal. `Retry-After` ends a call that would have to wait longer than its deadline.

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

/// What was found of one fault: its name, and what each function came to.
pub(crate) type Found = (&'static str, Vec<Row>);

/// The lines of the page for one fault.
fn lines((fault, rows): &Found) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for row in rows {
        let outcomes = format!("{} | {}", row.once.map(told).unwrap_or_default(), told(row.lasting));
        match lines.iter_mut().find(|(_, known)| *known == outcomes) {
            Some(same) => same.0 = "both",
            None => lines.push((row.function, outcomes)),
        }
    }
    lines.into_iter().map(|(function, outcomes)| format!("| {fault} | {function} | {outcomes} |\n")).collect()
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md")
}

/// Checks that the page says what was found.
pub(crate) fn says(found: &[Found]) {
    let there = std::fs::read_to_string(page()).expect("the page");
    for line in found.iter().flat_map(lines) {
        assert!(there.contains(&line), "docs/failures.md does not say {line}");
    }
}

/// Compares the page with what was found, by groups with their titles, or writes it.
pub(crate) fn check(groups: &[(&str, Vec<Found>)]) {
    let mut text = INTRODUCTION.to_owned();
    let mut causes = vec![Cause::KmsNotTried];
    for (title, faults) in groups {
        text += &format!("\n## {title}\n\n| fault | function | once | lasting |\n| --- | --- | --- | --- |\n");
        text.extend(faults.iter().flat_map(lines));
        let rows = faults.iter().flat_map(|(_, rows)| rows);
        let outcomes = rows.flat_map(|row| [row.once, Some(row.lasting)].into_iter().flatten());
        causes.extend(outcomes.filter_map(|outcome| outcome.cause));
    }
    causes.sort_by_key(|cause| cause.device_error());
    causes.dedup();
    text += ADVICE;
    for cause in causes {
        text += &format!("| {} | {} | {} |\n", number(cause), cause.name(), cause.text());
    }
    let path = page();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("docs can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/failures.md is stale: WRITE_DOCS=1 cargo test --test fault_matrix\n{text}");
}

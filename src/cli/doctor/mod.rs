//! `datakey-pkcs11 doctor`: what is wrong with a set-up, and what to do about it.

mod configuration;
mod finding;
mod kms;
mod module;
pub(super) mod probe;
mod store;

use super::desk::Which;
use super::output::{Answer, Failure, counted, plain};
use crate::config::TokenConfig;
use crate::host;
use crate::kms::HostRules;
use crate::token::Token;
use finding::{Findings, Level};
use serde_json::json;
use std::path::PathBuf;

/// Look through a set-up and say what is wrong with it, and what to do.
///
/// Looks at the configuration, the stores, the PINs, the credentials, the clock, the KMS key and each permission on it
/// (by dry runs: nothing is made or opened), and loads the module as a host does. Exit status 1 if there is an error.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// The module that hosts load (default: where make install puts it)
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Leave KMS alone
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let mut findings = Findings::default();
    let mut tokens: Vec<TokenConfig> = configuration::check(&mut findings);
    let some = !tokens.is_empty();
    tokens.retain(|token| arguments.which.includes(&token.label));
    if some && tokens.is_empty() {
        findings.error(
            "configuration",
            "it has no token of this label",
            "name one that datakey-pkcs11 token list shows",
        );
    }
    let rules = HostRules { threads_allowed: true, secure_mode: host::secure_mode() };
    for config in tokens {
        let token = Token::new(config, rules);
        findings.about(Some(&token.config().label));
        let initialised = store::check(&mut findings, &token);
        if !arguments.offline {
            kms::check(&mut findings, &token, initialised.as_deref());
        }
    }
    findings.about(None);
    configuration::check_memory(&mut findings);
    module::check(&mut findings, arguments.module.as_deref());
    Ok(answer(&findings))
}

fn answer(findings: &Findings) -> Answer {
    let mut human = String::new();
    for finding in findings.all() {
        let about = finding.token.as_ref().map_or(String::new(), |label| format!("{label}: "));
        human.push_str(&format!(
            "{:<8}{}\n",
            finding.level.name(),
            plain(&format!("{about}{}: {}", finding.check, finding.what))
        ));
        if let Some(advice) = &finding.advice {
            human.push_str(&format!("{:8}→ {}\n", "", plain(advice)));
        }
    }
    let count = |level| findings.all().iter().filter(|finding| finding.level == level).count() as u64;
    let (warnings, errors) = (count(Level::Warning), count(Level::Error));
    human.push_str(&format!("\n{}, {}\n", counted(errors, "error"), counted(warnings, "warning")));
    let list: Vec<_> = findings.all().iter().map(finding::Finding::json).collect();
    let json = json!({"ok": errors == 0, "errors": errors, "warnings": warnings, "findings": list});
    Answer { success: errors == 0, ..Answer::new(human, json) }
}

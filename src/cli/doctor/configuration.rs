//! The configuration, the log, and what the system allows.

use super::super::output::counted;
use super::finding::Findings;
use crate::config::{self, Config, Environment, KmsBackend, LogLevel, LogTarget, TokenConfig};
use crate::host::{self, log};

/// The tokens of the configuration; none if it cannot be read.
pub(super) fn check(findings: &mut Findings) -> Vec<TokenConfig> {
    let environment = Environment::of_process(host::secure_mode());
    let config = match config::load(&environment) {
        Ok(config) => config,
        Err(error) => {
            findings.failed("configuration", &error);
            return Vec::new();
        }
    };
    match (&config.file, config.tokens.len()) {
        (None, _) => findings.error(
            "configuration",
            format!(
                "none: neither DATAKEY_PKCS11_CONF names one, nor has this user one, nor is there {}",
                config::SYSTEM_FILE
            ),
            "write one: datakey-pkcs11 init",
        ),
        (Some(file), 0) => findings.error(
            "configuration",
            format!("{} has no [[token]]", file.display()),
            "add a [[token]]; docs/configuration.md shows one",
        ),
        (Some(file), tokens) => {
            let tokens = counted(tokens as u64, "token");
            findings.ok("configuration", format!("{}, {tokens}", file.display()));
        }
    }
    for note in &config.notes {
        findings.warning("configuration", note.clone(), "change the setting or the file, unless it is meant so");
    }
    check_log(findings, &config);
    for token in config.tokens.iter().filter(|token| matches!(token.kms.backend, KmsBackend::Embedded(_))) {
        findings.about(Some(&token.label));
        findings.warning(
            "kms",
            "its keys are sealed by the embedded KMS, whose key file opens everything",
            "name a KMS key of AWS in kms_key_id before anything depends on this token",
        );
    }
    findings.about(None);
    config.tokens
}

fn check_log(findings: &mut Findings, config: &Config) {
    let opened = log::configure(config.log.level, &config.log.target)
        .and_then(|()| log::configure_audit(config.log.audit.as_deref()));
    match opened {
        Ok(()) => {
            let target = match &config.log.target {
                LogTarget::Stderr => "standard error".to_owned(),
                LogTarget::Syslog => "syslog".to_owned(),
                LogTarget::File(path) => path.display().to_string(),
            };
            findings.ok("log", format!("goes to {target}"));
        }
        Err(error) => findings.error(
            "log",
            error.detail().to_owned(),
            "make the directory and let the users of the module write to it, or name another file",
        ),
    }
    // What is found is told here, not in the log.
    drop(log::configure(LogLevel::Off, &LogTarget::Stderr));
}

/// Key memory is locked: with a few keys per page, this is room for several hundred.
const LEAST_LOCKED_KIB: u64 = 64;

/// The system's limit on locked memory.
pub(super) fn check_memory(findings: &mut Findings) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match locked_memory(&limits) {
        Some(bytes) if bytes / 1024 < LEAST_LOCKED_KIB => findings.warning(
            "memory",
            format!("only {bytes} bytes may be locked (RLIMIT_MEMLOCK): keys in use may be swapped out"),
            "raise it: ulimit -l in the shell, LimitMEMLOCK= in a systemd unit, /etc/security/limits.conf",
        ),
        Some(_) | None => findings.ok("memory", "keys in use can be kept out of swap"),
    }
}

/// The soft limit in bytes; `None` without one.
fn locked_memory(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_as_the_kernel_writes_it() {
        let limits = |soft: &str| {
            format!("Max processes  7  7  processes\nMax locked memory         {soft}    8388608    bytes\n")
        };
        assert_eq!(locked_memory(&limits("16384")), Some(16384));
        assert_eq!(locked_memory(&limits("unlimited")), None);
        assert_eq!(locked_memory(""), None);
    }
}

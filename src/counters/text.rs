//! The numbers as Prometheus reads them (text format 0.0.4).

use super::latency::BOUNDS;
use super::{Count, Counters};
use std::fmt::Write;

/// What all names begin with.
const PREFIX: &str = "datakey_pkcs11";

/// A token, and what it has done.
pub struct Subject<'a> {
    /// Its label.
    pub token: &'a str,
    /// Its numbers.
    pub counters: &'a Counters,
    /// How many unwrapped keys it holds now.
    pub keys: usize,
}

/// All numbers of these tokens. With a process id, they are told from those of other processes.
pub fn text(tokens: &[Subject<'_>], process: Option<u32>) -> String {
    let mut out = String::new();
    let process = process.map(|id| format!(",pid=\"{id}\"")).unwrap_or_default();
    let labels = |subject: &Subject<'_>| format!("token=\"{}\"{process}", escaped(subject.token));
    for count in Count::ALL {
        head(&mut out, count.metric(), "counter", count.help());
        for subject in tokens {
            line(&mut out, count.metric(), &labels(subject), subject.counters.get(*count));
        }
    }
    head(&mut out, "cached_keys", "gauge", "Unwrapped keys in memory.");
    for subject in tokens {
        line(&mut out, "cached_keys", &labels(subject), subject.keys);
    }
    head(&mut out, "kms_latency_seconds", "histogram", "How long KMS took to answer an attempt, whatever it answered.");
    for subject in tokens {
        let (labels, times) = (labels(subject), subject.counters.latency.times());
        let mut so_far = 0;
        for (bucket, count) in times.buckets.iter().enumerate() {
            so_far += count;
            let bound = BOUNDS.get(bucket).map_or("+Inf".to_owned(), |bound| seconds(*bound));
            line(&mut out, "kms_latency_seconds_bucket", &format!("{labels},le=\"{bound}\""), so_far);
        }
        line(&mut out, "kms_latency_seconds_sum", &labels, seconds(times.microseconds));
        line(&mut out, "kms_latency_seconds_count", &labels, so_far);
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{PREFIX}_{name}{{{labels}}} {value}");
}

fn seconds(microseconds: u64) -> String {
    format!("{}", microseconds as f64 / 1e6)
}

/// The value of a label between its quotes.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_have_their_token_and_a_label_stays_one() {
        let counters = Counters::default();
        counters.add(Count::CacheHits);
        counters.latency.record(Duration::from_millis(4));
        let web = Subject { token: "we\"b\\", counters: &counters, keys: 3 };
        let text = text(&[web], Some(7));
        for line in [
            "# TYPE datakey_pkcs11_cache_hits_total counter",
            r#"datakey_pkcs11_cache_hits_total{token="we\"b\\",pid="7"} 1"#,
            r#"datakey_pkcs11_cached_keys{token="we\"b\\",pid="7"} 3"#,
            r#"datakey_pkcs11_kms_latency_seconds_bucket{token="we\"b\\",pid="7",le="0.0025"} 0"#,
            r#"datakey_pkcs11_kms_latency_seconds_bucket{token="we\"b\\",pid="7",le="0.005"} 1"#,
            r#"datakey_pkcs11_kms_latency_seconds_bucket{token="we\"b\\",pid="7",le="+Inf"} 1"#,
            r#"datakey_pkcs11_kms_latency_seconds_sum{token="we\"b\\",pid="7"} 0.004"#,
            r#"datakey_pkcs11_kms_latency_seconds_count{token="we\"b\\",pid="7"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

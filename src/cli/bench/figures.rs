//! What was measured, and how it is told.

use super::super::output::{Answer, Failure, counted, table};
use super::subject::Signed;
use crate::counters::Counters;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// What KMS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    GenerateDataKeyPair,
    Decrypt,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::GenerateDataKeyPair => "GenerateDataKeyPair",
            Self::Decrypt => "Decrypt",
        }
    }
}

/// How long something took: all of it, and KMS's part of it.
pub(super) struct Spent {
    pub(super) all: Duration,
    pub(super) kms: Duration,
}

/// Does something and tells how long it took. Nobody else asks KMS meanwhile.
pub(super) fn timed(counters: &Counters, work: impl FnOnce() -> Result<(), Failure>) -> Result<Spent, Failure> {
    let (before, begun) = (counters.latency.times().total(), Instant::now());
    work()?;
    let (all, after) = (begun.elapsed(), counters.latency.times().total());
    Ok(Spent { all, kms: after.saturating_sub(before) })
}

/// Times, of which a part is told.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, time: Duration) {
        let at = self.0.partition_point(|known| *known <= time);
        self.0.insert(at, time);
    }

    /// The time that so many per cent of all did not exceed.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(at).copied()
    }

    /// Heads and percentiles in milliseconds.
    fn milliseconds(&self) -> [(&'static str, Option<f64>); 4] {
        [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)]
            .map(|(name, percent)| (name, self.percentile(percent).map(|time| round(time.as_secs_f64() * 1000.0))))
    }

    fn json(&self) -> Value {
        let mut told = Map::new();
        told.insert("count".to_owned(), self.0.len().into());
        told.extend(self.milliseconds().map(|(name, time)| (format!("{name}_ms"), time.into())));
        told.into()
    }
}

/// Three digits say all there is to say.
fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// What is told of one key.
pub(super) struct Row {
    name: String,
    mechanism: &'static str,
    signatures: Vec<(usize, Signed)>,
    first_uses: Times,
}

impl Row {
    pub(super) fn new(name: &str, mechanism: &'static str) -> Self {
        Self { name: name.to_owned(), mechanism, signatures: Vec::new(), first_uses: Times::default() }
    }

    pub(super) fn signatures(&mut self, threads: usize, signed: Signed) {
        self.signatures.push((threads, signed));
    }

    pub(super) fn first_use(&mut self, time: Duration) {
        self.first_uses.add(time);
    }

    fn json(&self) -> Value {
        let signatures = self.signatures.iter().map(|(threads, signed)| {
            json!({
                "threads": threads,
                "count": signed.count,
                "seconds": round(signed.time.as_secs_f64()),
                "per_second": per_second(signed).round(),
            })
        });
        json!({
            "key": self.name,
            "mechanism": self.mechanism,
            "signatures": signatures.collect::<Vec<_>>(),
            "first_use": self.first_uses.json(),
        })
    }
}

fn per_second(signed: &Signed) -> f64 {
    signed.count as f64 / signed.time.as_secs_f64().max(f64::EPSILON)
}

/// All that was measured.
#[derive(Default)]
pub(super) struct Figures {
    rows: Vec<Row>,
    decrypts: Times,
    generates: Times,
}

impl Figures {
    pub(super) fn kms(&mut self, operation: Operation, time: Duration) {
        self.of(operation).add(time);
    }

    fn of(&mut self, operation: Operation) -> &mut Times {
        match operation {
            Operation::Decrypt => &mut self.decrypts,
            Operation::GenerateDataKeyPair => &mut self.generates,
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The answer; `calls` is how many calls of KMS there were.
    pub(super) fn answer(self, calls: u64) -> Answer {
        let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
        let mut signing = Vec::new();
        for row in &self.rows {
            let [(_, p50), .., (_, max)] = row.first_uses.milliseconds();
            let first_use = [number(p50), number(max)];
            let nothing = ["-".to_owned(), "-".to_owned(), "-".to_owned()];
            let measured = row.signatures.iter().map(|(threads, signed)| {
                let rate = per_second(signed);
                let each = 1_000_000.0 * *threads as f64 / rate.max(f64::EPSILON);
                [threads.to_string(), format!("{rate:.0}"), format!("{each:.1}")]
            });
            let mut measured: Vec<[String; 3]> = measured.collect();
            if measured.is_empty() {
                measured.push(nothing);
            }
            for (at, measured) in measured.into_iter().enumerate() {
                let first = at == 0;
                let only_first = |text: &str| if first { text.to_owned() } else { String::new() };
                let names = vec![only_first(&row.name), only_first(row.mechanism)];
                let first_use = first_use.iter().map(|text| only_first(text)).collect();
                signing.push([names, measured.into(), first_use].concat());
            }
        }
        let mut human =
            table(&["key", "mechanism", "threads", "signatures/s", "µs each", "first use ms p50", "max"], &signing);
        let kms = [(Operation::GenerateDataKeyPair, &self.generates), (Operation::Decrypt, &self.decrypts)];
        let rows: Vec<Vec<String>> = kms
            .iter()
            .filter(|(_, times)| !times.0.is_empty())
            .map(|(operation, times)| {
                let times_of = times.milliseconds().map(|(_, time)| number(time));
                [vec![operation.name().to_owned(), times.0.len().to_string()], times_of.into()].concat()
            })
            .collect();
        if !rows.is_empty() {
            human.push('\n');
            human.push_str(&table(&["KMS", "calls", "p50 ms", "p90 ms", "p99 ms", "max ms"], &rows));
        }
        human.push_str(&format!("\n{} of KMS; nothing is left on the token\n", counted(calls, "call")));
        let told: Map<String, Value> =
            kms.iter().map(|(operation, times)| (operation.name().to_owned(), times.json())).collect();
        let keys: Vec<Value> = self.rows.iter().map(Row::json).collect();
        Answer::new(human, json!({"keys": keys, "kms": told, "kms_calls": calls}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50), None);
        for ms in [30, 10, 20, 40] {
            times.add(Duration::from_millis(ms));
        }
        let told = [50, 90, 99, 100, 1].map(|percent| times.percentile(percent).unwrap().as_millis());
        assert_eq!(told, [20, 40, 40, 40, 10]);
    }
}

//! What a token has done, in numbers: written by many threads without a lock, read at any time.
#![forbid(unsafe_code)]

mod latency;
mod text;

pub use latency::{Latency, Times};
pub use text::{Subject, text};

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($name:ident $metric:literal $help:literal;)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count { $(#[doc = $help] $name,)* }

        impl Count {
            /// All, in the order of the table, which is that of `DATAKEY_STATISTICS` in the header.
            pub const ALL: &[Count] = &[$(Count::$name,)*];

            /// The name that Prometheus knows it by, without what all begin with.
            pub fn metric(self) -> &'static str {
                match self { $(Count::$name => $metric,)* }
            }

            /// What it is.
            pub fn help(self) -> &'static str {
                match self { $(Count::$name => $help,)* }
            }
        }

        const COUNTS: usize = [$(Count::$name,)*].len();
    };
}

counts! {
    CacheHits      "cache_hits_total"        "Uses of private and secret keys that took no call of KMS.";
    Unwraps        "unwraps_total"           "Keys that were unwrapped for a use.";
    UnwrapFailures "unwrap_failures_total"   "Uses of keys that failed because a key could not be unwrapped.";
    StaleUses      "stale_uses_total"        "Uses of keys beyond max_age, while KMS did not answer.";
    Evictions      "evictions_total"         "Unwrapped keys that were dropped to make room for others.";
    KmsCalls       "kms_calls_total"         "Calls of KMS, each with all its attempts.";
    KmsFailures    "kms_failed_calls_total"  "Calls of KMS that failed after all their attempts.";
    KmsNotTried    "kms_not_tried_total"     "Calls of KMS that failed at once, because those before were not answered.";
    KmsRequests    "kms_requests_total"      "Attempts to ask KMS.";
    KmsThrottles   "kms_throttles_total"     "Attempts that KMS throttled.";
    KmsDenials     "kms_denials_total"       "Attempts that KMS denied access.";
    KmsUnanswered  "kms_unanswered_total"    "Attempts that nobody answered.";
    KmsSubstitutes "kms_substitutes_total"   "Keys that an additional KMS key opened in place of the one before it.";
}

/// The numbers of one token.
#[derive(Debug, Default)]
pub struct Counters {
    counts: [AtomicU64; COUNTS],
    /// How long KMS took to answer, whatever it answered.
    pub latency: Latency,
}

impl Counters {
    /// One more.
    pub fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_its_own() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for (index, count) in Count::ALL.iter().enumerate() {
                        (0..=index).for_each(|_| counters.add(*count));
                    }
                });
            }
        });
        for (index, count) in Count::ALL.iter().enumerate() {
            assert_eq!(counters.get(*count), 8 * (index as u64 + 1), "{count:?}");
        }
    }
}

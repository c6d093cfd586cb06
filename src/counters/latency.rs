//! A histogram of times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of its buckets, in microseconds; beyond the last is one more.
pub(super) const BOUNDS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// A histogram that many threads write.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// What a histogram held at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) microseconds: u64,
}

impl Latency {
    /// One more.
    pub fn record(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < time);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(time, Ordering::Relaxed);
    }

    /// All so far.
    pub fn times(&self) -> Times {
        Times {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            microseconds: self.microseconds.load(Ordering::Relaxed),
        }
    }
}

impl Times {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long all took together.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.microseconds)
    }

    /// The time, in microseconds, that so many per cent of all did not exceed: even within a bucket, and the last
    /// bound for what is beyond it. 0 where there was none.
    pub fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            if *count > 0 && below + count >= wanted {
                let from = bucket.checked_sub(1).map_or(0, |before| BOUNDS[before]);
                let to = BOUNDS.get(bucket).copied().unwrap_or(from);
                return from + (to - from) * (wanted - below) / count;
            }
            below += count;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let latency = Latency::default();
        for time in [0, 1_000, 1_001, 10_000_000, 10_000_001, u64::MAX / 4] {
            latency.record(Duration::from_micros(time));
        }
        let times = latency.times();
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[12], times.buckets[13]), (2, 1, 1, 2));
        assert_eq!(times.count(), 6);
    }

    #[test]
    fn percentiles_lie_where_the_times_do() {
        let latency = Latency::default();
        assert_eq!(latency.times().percentile(99), 0);
        (0..90).for_each(|_| latency.record(Duration::from_millis(2)));
        (0..10).for_each(|_| latency.record(Duration::from_millis(200)));
        let times = latency.times();
        assert!((1_000..=2_500).contains(&times.percentile(50)));
        assert_eq!(times.percentile(90), 2_500);
        assert!((100_000..=250_000).contains(&times.percentile(99)));
        assert_eq!(times.percentile(100), 250_000);
        latency.record(Duration::from_secs(60));
        assert_eq!(latency.times().percentile(100), 10_000_000);
    }
}

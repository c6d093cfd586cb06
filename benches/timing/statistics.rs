//! Whether two samples of times are of one distribution, as far as their means tell.

/// The |t| from which on a difference is believed (dudect's threshold).
pub(crate) const FOUND: f64 = 4.5;

/// Up to which part of all samples, sorted, is compared. On a busy machine only the fastest are near to each other.
const PARTS: [f64; 8] = [1.0, 0.95, 0.75, 0.5, 0.25, 0.1, 0.05, 0.02];

/// The largest |t| of all parts.
pub(crate) fn compare(one: &[f64], other: &[f64]) -> f64 {
    let mut all = [one, other].concat();
    all.sort_by(f64::total_cmp);
    PARTS.iter().fold(0.0, |largest: f64, part| {
        let most = all[((all.len() as f64 * part).ceil() as usize).clamp(1, all.len()) - 1];
        let below = |samples: &[f64]| Moments::of(samples.iter().copied().filter(|time| *time <= most));
        largest.max(welch(below(one), below(other)).abs())
    })
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Number, mean and variance.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(samples: impl Iterator<Item = f64>) -> Self {
        // Welford's way.
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for sample in samples {
            count += 1.0;
            let from_old = sample - mean;
            mean += from_old / count;
            squares += from_old * (sample - mean);
        }
        Self { count, mean, variance: squares / (count - 1.0_f64).max(1.0) }
    }
}

/// Where one of the two has next to no samples in the part, the difference could not be larger.
fn welch(one: Moments, other: Moments) -> f64 {
    if one.count < 2.0 || other.count < 2.0 {
        return if one.count == other.count { 0.0 } else { f64::INFINITY };
    }
    let spread = (one.variance / one.count + other.variance / other.count).sqrt();
    let apart = one.mean - other.mean;
    if apart == 0.0 { 0.0 } else { apart / spread }
}

//! Pauses between attempts.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Full jitter: anything up to a bound that is `first` after the first attempt and doubles with each, up to `most`.
pub fn pause(first: Duration, most: Duration, attempts: u32) -> Duration {
    let bound = first.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(most);
    // Without randomness the pause is the whole bound: late, not wrong.
    let fraction = getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX));
    bound.mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_below_their_bound() {
        let first = Duration::from_millis(50);
        let most = Duration::from_secs(1);
        for attempts in 1..40 {
            let bound = first.saturating_mul(1 << (attempts - 1).min(16)).min(most);
            assert!(pause(first, most, attempts) <= bound);
        }
        let long: Duration = (0..200).map(|_| pause(first, most, 10)).sum();
        assert!(long > Duration::from_secs(50), "200 pauses of up to 1 s took {long:?} together");
    }
}

//! Whether two sides differ by more than their seeds do: Student's t of pairs where both ran the same seeds (common random numbers:
//! what a seed brings about in both cancels), else Welch's t of two samples.

use statrs::distribution::ContinuousCDF;

pub use crate::statistics::CONFIDENCE;
use crate::statistics::{Moments, reach, student};

/// Which test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Differences seed by seed.
    Paired,
    /// Two samples of unlike variance.
    Welch,
}

/// By how much a figure differs, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the other side less that of the first.
    pub mean: f64,
    /// In which it lies in 95 of 100 such comparisons.
    pub interval: (f64, f64),
    /// How often chance alone gives as much or more; 0 where the seeds never vary.
    pub p: f64,
}

impl Test {
    /// The test of two sides' seeds, and in which order the second's answer the first's; none where one has a single seed.
    #[must_use]
    pub fn of(first: &[u64], second: &[u64]) -> Option<Self> {
        if first.len() < 2 || second.len() < 2 {
            return None;
        }
        let sorted = |seeds: &[u64]| {
            let mut seeds = seeds.to_vec();
            seeds.sort_unstable();
            seeds
        };
        Some(if sorted(first) == sorted(second) { Self::Paired } else { Self::Welch })
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Paired => "Student's t of the differences seed by seed",
            Self::Welch => "Welch's t of two samples of seeds",
        }
    }

    /// Its name for programs.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Paired => "paired_t",
            Self::Welch => "welch_t",
        }
    }

    /// The difference of two samples, of pairs in their order.
    #[must_use]
    pub fn difference(self, first: &[f64], second: &[f64]) -> Option<Difference> {
        match self {
            Self::Paired => {
                let pairs = first.iter().zip(second).map(|(first, second)| second - first).collect::<Vec<_>>();
                let of = Moments::of(&pairs)?;
                difference(of.mean, (of.variance / of.count as f64).sqrt(), of.freedom())
            }
            Self::Welch => {
                let (first, second) = (Moments::of(first)?, Moments::of(second)?);
                let (n, m) = (first.freedom(), second.freedom());
                let (a, b) = (first.variance / first.count as f64, second.variance / second.count as f64);
                // Welch and Satterthwaite's; of no variance any will do.
                let freedom = (a + b).powi(2) / (a * a / n + b * b / m);
                let freedom = if freedom.is_finite() { freedom } else { n + m };
                difference(second.mean - first.mean, (a + b).sqrt(), freedom)
            }
        }
    }
}

fn difference(mean: f64, error: f64, freedom: f64) -> Option<Difference> {
    if error == 0.0 {
        let p = if mean == 0.0 { 1.0 } else { 0.0 };
        return Some(Difference { mean, interval: (mean, mean), p });
    }
    let reach = error * reach(freedom)?;
    let p = (2.0 * student(freedom)?.cdf(-(mean / error).abs())).min(1.0);
    Some(Difference { mean, interval: (mean - reach, mean + reach), p })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= 1e-6 * expected.abs().max(1e-3)
    }

    const SCIPY_WELCH: (f64, f64, f64) = (0.03848335302504773, 0.19052864337095565, 5.2494713566290425);
    const SCIPY_PAIRED: (f64, f64, f64) = (0.002540941538113713, 1.5976840958162948, 3.842315904183705);

    /// scipy 1.17.1: `ttest_ind(y, x, equal_var=False)` and `ttest_rel(y, x)`, each with `confidence_interval(0.95)`.
    #[test]
    fn tests_are_those_of_scipy() {
        let (x, y) = ([20.1, 19.4, 22.0, 18.7, 21.3], [23.5, 21.9, 24.4, 20.2, 25.1]);
        let welch = Test::Welch.difference(&x, &y).expect("it can be tested");
        assert!(near(welch.mean, 2.72) && near(welch.p, SCIPY_WELCH.0), "{welch:?}");
        assert!(near(welch.interval.0, SCIPY_WELCH.1) && near(welch.interval.1, SCIPY_WELCH.2), "{welch:?}");
        let paired = Test::Paired.difference(&x, &y).expect("it can be tested");
        assert!(near(paired.mean, 2.72) && near(paired.p, SCIPY_PAIRED.0), "{paired:?}");
        assert!(near(paired.interval.0, SCIPY_PAIRED.1) && near(paired.interval.1, SCIPY_PAIRED.2), "{paired:?}");
    }

    #[test]
    fn one_seed_says_nothing_and_common_seeds_are_pairs() {
        assert_eq!(Test::of(&[1], &[1, 2]), None);
        assert_eq!(Test::of(&[1, 2], &[2, 1]), Some(Test::Paired));
        assert_eq!(Test::of(&[1, 2], &[2, 3]), Some(Test::Welch));
        let same = Test::Welch.difference(&[0.1; 3], &[0.1; 3]).expect("it can be tested");
        assert_eq!((same.mean, same.p), (0.0, 1.0));
        assert_eq!(Test::Paired.difference(&[1.0; 3], &[2.0; 3]).expect("it can be tested").p, 0.0);
    }
}

//! What a few runs say of all: mean and variance, and how far Student's t reaches from them.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Mean and variance of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Values.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample variance; `NaN` of one.
    pub variance: f64,
}

impl Moments {
    /// Of values; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let first = *values.first()?;
        let count = values.len();
        // Equal figures have means that are off by a bit.
        let is_constant = values.iter().all(|value| *value == first);
        let mean = if is_constant { first } else { values.iter().sum::<f64>() / count as f64 };
        let squares: f64 = if is_constant { 0.0 } else { values.iter().map(|value| (value - mean).powi(2)).sum() };
        Some(Self { count, mean, variance: squares / (count as f64 - 1.0) })
    }

    /// Degrees of freedom of the variance.
    #[must_use]
    pub fn freedom(&self) -> f64 {
        self.count as f64 - 1.0
    }

    /// How far from the mean that of all runs may be; `None` of fewer than two.
    #[must_use]
    pub fn reach_of_mean(&self) -> Option<f64> {
        Some(reach(self.freedom())? * (self.variance / self.count as f64).sqrt())
    }

    /// How far from the mean a further run may be; `None` of fewer than two.
    #[must_use]
    pub fn reach_of_another(&self) -> Option<f64> {
        Some(reach(self.freedom())? * (self.variance * (1.0 + 1.0 / self.count as f64)).sqrt())
    }
}

/// Student's t of so many degrees of freedom.
#[must_use]
pub fn student(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

/// Standard errors within which it lies with [`CONFIDENCE`].
#[must_use]
pub fn reach(freedom: f64) -> Option<f64> {
    Some(student(freedom)?.inverse_cdf(0.5 + CONFIDENCE / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 97.5 % quantile of Student's t with two degrees of freedom is 4.30265273, as in any table.
    #[test]
    fn reaches_are_those_of_student() {
        let moments = Moments::of(&[2.0, 4.0, 9.0]).expect("there are values");
        assert_eq!((moments.mean, moments.variance), (5.0, 13.0));
        let t = 4.302_652_73;
        assert!((moments.reach_of_mean().expect("three") - t * (13.0_f64 / 3.0).sqrt()).abs() < 1e-6);
        assert!((moments.reach_of_another().expect("three") - t * (13.0_f64 * 4.0 / 3.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn one_value_has_no_reach_and_equal_ones_none_to_speak_of() {
        assert_eq!(Moments::of(&[]), None);
        assert_eq!(Moments::of(&[2.0]).and_then(|one| one.reach_of_mean()), None);
        let equal = Moments::of(&[0.1; 3]).expect("there are values");
        assert_eq!((equal.mean, equal.reach_of_mean(), equal.reach_of_another()), (0.1, Some(0.0), Some(0.0)));
    }
}

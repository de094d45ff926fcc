//! Quantiles at a standard normal variable, which is what correlated lengths are drawn by.
//!
//! A Gaussian copula: two normal variables of correlation r, each taken through its own distribution function and the
//! quantiles of its length. Spearman's correlation of continuous lengths is then 6/π · asin(r/2), whatever they are; rounding
//! to tokens takes a little off where many lengths are alike.

use std::f64::consts::PI;

use super::mean::normal_cdf;
use super::spec::Distribution;

/// Least probability of a tail: where the approximation of the normal distribution ends.
const LEAST_TAIL: f64 = 1e-9;

/// The normal correlation that makes this rank correlation.
pub(super) fn normal_correlation(rank: f64) -> f64 {
    2.0 * (PI * rank / 6.0).sin()
}

/// `distribution` as [`at_normal`] wants it: a histogram in rising order. `None` where it has no quantiles in closed form.
pub(super) fn prepared(distribution: &Distribution) -> Option<Distribution> {
    let mut prepared = distribution.clone();
    match &mut prepared {
        Distribution::Gamma { .. }
        | Distribution::Mixture { .. }
        | Distribution::Poisson { .. }
        | Distribution::Zipf { .. } => return None,
        Distribution::Clipped { of, .. } => **of = self::prepared(of)?,
        Distribution::Histogram { bins } => bins.sort_by(|one, other| one.1.total_cmp(&other.1)),
        _ => {}
    }
    Some(prepared)
}

/// The value below which `distribution` is as often as a standard normal variable is below `z`.
pub(super) fn at_normal(distribution: &Distribution, z: f64) -> f64 {
    let above = || normal_cdf(-z).max(LEAST_TAIL);
    match *distribution {
        Distribution::Constant { value } => value,
        Distribution::Exponential { rate } => -above().ln() / rate,
        Distribution::Uniform { low, high } => low + (high - low) * normal_cdf(z),
        Distribution::Normal { mean, std } => mean + std * z,
        Distribution::LogNormal { mu, sigma } => (mu + sigma * z).exp(),
        Distribution::Pareto { shape, scale } => scale * above().powf(-shape.recip()),
        Distribution::Weibull { shape, scale } => scale * (-above().ln()).powf(shape.recip()),
        Distribution::Histogram { ref bins } => {
            let total: f64 = bins.iter().map(|bin| bin.0).sum();
            let mut left = normal_cdf(z) * total;
            for &(weight, low, high) in bins {
                if left <= weight && weight > 0.0 {
                    return low + (high - low) * left / weight;
                }
                left -= weight;
            }
            bins.last().map_or(0.0, |bin| bin.2)
        }
        Distribution::Triangular { low, mode, high } => {
            let below = normal_cdf(z);
            let (rise, width) = (mode - low, high - low);
            if below * width < rise {
                low + (below * width * rise).sqrt()
            } else {
                high - ((1.0 - below) * width * (high - mode)).sqrt()
            }
        }
        Distribution::Clipped { ref of, low, high } => at_normal(of, z).clamp(low, high),
        Distribution::Gamma { .. }
        | Distribution::Mixture { .. }
        | Distribution::Poisson { .. }
        | Distribution::Zipf { .. } => {
            unreachable!("refused when it was prepared")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine tenths of each are below its 0.9 quantile.
    #[test]
    fn quantiles_are_those_of_the_distribution() {
        let z90 = 1.281_551_565_545;
        let ln10 = std::f64::consts::LN_10;
        let bins = vec![(5.0, 10.0, 20.0), (1.0, 1.0, 1.0), (4.0, 2.0, 4.0)];
        for (distribution, expected) in [
            (Distribution::Exponential { rate: 4.0 }, ln10 / 4.0),
            (Distribution::Uniform { low: 2.0, high: 12.0 }, 11.0),
            (Distribution::LogNormal { mu: 1.0, sigma: 0.5 }, (1.0_f64 + 0.5 * z90).exp()),
            (Distribution::Pareto { shape: 3.5, scale: 2.0 }, 2.0 * 10_f64.powf(1.0 / 3.5)),
            (Distribution::Weibull { shape: 1.5, scale: 2.0 }, 2.0 * ln10.powf(1.0 / 1.5)),
            (Distribution::Histogram { bins }, 18.0),
            (Distribution::Triangular { low: 1.0, mode: 2.0, high: 5.0 }, 5.0 - 1.2_f64.sqrt()),
            (Distribution::Clipped { of: Box::new(Distribution::Exponential { rate: 4.0 }), low: 0.1, high: 0.5 }, 0.5),
        ] {
            let prepared = prepared(&distribution).expect("it has quantiles");
            let found = at_normal(&prepared, z90);
            assert!((found / expected - 1.0).abs() < 1e-5, "{distribution:?}: {found}, expected {expected}");
        }
    }
}

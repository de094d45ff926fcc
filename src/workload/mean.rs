//! Means of distributions, for what is told before a run: expected rates and numbers of requests. Nothing is drawn here.

use std::f64::consts::{PI, SQRT_2};

use super::spec::Distribution;

/// The mean of the draws, clipping at 0 included; `None` where it is infinite, or not known in closed form.
pub(super) fn of(distribution: &Distribution) -> Option<f64> {
    match *distribution {
        Distribution::Constant { value } => Some(value.max(0.0)),
        Distribution::Exponential { rate } => Some(1.0 / rate),
        Distribution::Uniform { low, high } => Some(clipped_uniform(low, high)),
        Distribution::Normal { mean, std } => Some(clipped_normal(mean, std)),
        Distribution::LogNormal { mu, sigma } => Some((mu + sigma * sigma / 2.0).exp()),
        Distribution::Pareto { shape, scale } => (shape > 1.0).then(|| shape * scale / (shape - 1.0)),
        Distribution::Weibull { shape, scale } => Some(scale * ln_gamma(1.0 + 1.0 / shape).exp()),
        Distribution::Gamma { shape, scale } => Some(shape * scale),
        Distribution::Triangular { low, mode, high } => Some((low + mode + high) / 3.0),
        Distribution::Poisson { mean } => Some(mean),
        Distribution::Zipf { most, exponent } => zipf(most, exponent),
        Distribution::Clipped { .. } => None,
        Distribution::Histogram { ref bins } => {
            let total: f64 = bins.iter().map(|(weight, ..)| weight).sum();
            Some(bins.iter().map(|(weight, low, high)| weight / total * f64::midpoint(*low, *high)).sum())
        }
        Distribution::Mixture { ref components } => {
            let total: f64 = components.iter().map(|(weight, _)| weight).sum();
            components
                .iter()
                .filter(|(weight, _)| *weight > 0.0)
                .map(|(weight, component)| Some(weight / total * of(component)?))
                .sum()
        }
    }
}

/// The shape of Weibull's distribution whose standard deviation is `cv` times its mean.
#[must_use]
pub fn weibull_shape(cv: f64) -> f64 {
    let square = |shape: f64| (ln_gamma(1.0 + 2.0 / shape) - 2.0 * ln_gamma(1.0 + 1.0 / shape)).exp() - 1.0;
    // From variations of thousands to a thousandth; the variation falls with the shape.
    let (mut low, mut high) = (0.05, 2_000.0);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if square(middle) > cv * cv { low = middle } else { high = middle }
    }
    high
}

/// The mean of a Zipf distribution of not too many values.
fn zipf(most: f64, exponent: f64) -> Option<f64> {
    const MANY: f64 = 1e6;
    let values = || (1..=most as u32).map(f64::from);
    let power = |exponent: f64| values().map(|value| value.powf(-exponent)).sum::<f64>();
    (most <= MANY).then(|| power(exponent - 1.0) / power(exponent))
}

fn clipped_uniform(low: f64, high: f64) -> f64 {
    if low >= 0.0 {
        low + (high - low) / 2.0
    } else if high <= 0.0 {
        0.0
    } else {
        high * high / (2.0 * (high - low))
    }
}

/// E max(0, X) = μ·Φ(μ/σ) + σ·φ(μ/σ).
fn clipped_normal(mean: f64, std: f64) -> f64 {
    if std == 0.0 {
        return mean.max(0.0);
    }
    let z = mean / std;
    let density = (-z * z / 2.0).exp() / (2.0 * PI).sqrt();
    (mean * normal_cdf(z) + std * density).max(0.0)
}

/// Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
pub(super) fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let upper_tail = polynomial * (-x * x).exp() / 2.0;
    if z < 0.0 { upper_tail } else { 1.0 - upper_tail }
}

/// Lanczos' approximation with g = 7 and nine terms, for x of at least 0.5: some 15 digits.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series = TERMS
        .iter()
        .zip(1_u32..)
        .fold(0.999_999_999_999_809_9, |sum, (term, index)| sum + term / (x + f64::from(index)));
    let t = x + G + 0.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_function_at_known_points() {
        for (x, expected) in [(1.0, 1.0), (1.5, PI.sqrt() / 2.0), (5.0, 24.0)] {
            assert!((ln_gamma(x).exp() / expected - 1.0).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn a_weibull_shape_has_the_variation_asked_for() {
        assert!((weibull_shape(1.0) - 1.0).abs() < 1e-9);
        // Shape 2 (Rayleigh): variance 1 − π/4 over mean² π/4.
        assert!((weibull_shape((4.0 / PI - 1.0).sqrt()) - 2.0).abs() < 1e-9);
        // Shape ½: Γ(5)/Γ(3)² − 1 = 5.
        assert!((weibull_shape(5_f64.sqrt()) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn clipping_at_zero_raises_the_mean() {
        // Half of a standard normal is cut off: 1/√(2π) remains.
        assert!((clipped_normal(0.0, 1.0) - 0.398_942_28).abs() < 1e-6);
        assert!((clipped_normal(100.0, 1.0) - 100.0).abs() < 1e-4);
        assert!((clipped_uniform(-1.0, 1.0) - 0.25).abs() < 1e-12);
    }
}

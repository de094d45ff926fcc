//! Draws from a [`Distribution`]: a [`Sampler`] is prepared once and then draws without building or allocating anything.
//!
//! The law: a draw is a finite number of at least 0, whatever the parameters; tokens are 1 ..= [`MAX_TOKENS`]. Forms:
//! Pareto is type I (values from `scale` up, numpy's `(pareto + 1)·scale`), Normal is clipped at 0, tokens are rounded
//! half to even, as Python does.

use rand::{Rng, RngExt};
use rand_distr::Distribution as _;
use thiserror::Error;

use super::mean;
use super::spec::Distribution;

/// Most tokens that a draw or a trace may ask for: prompt and output together still fit 32 bits.
pub const MAX_TOKENS: u32 = u32::MAX / 2;
/// Most tokens of a request's images in the vision encoder: some hours of video.
pub const MAX_ENCODER_TOKENS: u32 = 10_000_000;

/// A distribution that cannot be drawn from.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DistributionError {
    /// A parameter is out of its range.
    #[error("{distribution}: {parameter} is {value}, but must be {requirement}")]
    Parameter {
        /// Which distribution.
        distribution: &'static str,
        /// Which parameter.
        parameter: &'static str,
        /// What it is.
        value: f64,
        /// What it should be.
        requirement: &'static str,
    },
    /// A histogram of nothing.
    #[error("Histogram: the weights must be finite, at least 0, and one of them above 0")]
    EmptyHistogram,
    /// A mixture of nothing.
    #[error("Mixture: no component has a weight above 0")]
    EmptyMixture,
}

/// A distribution ready to be drawn from.
#[derive(Clone, Debug)]
pub struct Sampler(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Constant(f64),
    Exponential(rand_distr::Exp<f64>),
    Uniform { low: f64, span: f64 },
    Normal(rand_distr::Normal<f64>),
    LogNormal(rand_distr::LogNormal<f64>),
    Pareto(rand_distr::Pareto<f64>),
    Weibull(rand_distr::Weibull<f64>),
    Gamma(rand_distr::Gamma<f64>),
    Triangular(rand_distr::Triangular<f64>),
    Poisson(rand_distr::Poisson<f64>),
    Zipf(rand_distr::Zipf<f64>),
    Clipped(Box<Sampler>, f64, f64),
    Histogram(Choice, Box<[(f64, f64)]>),
    Mixture(Choice, Box<[Sampler]>),
}

impl Sampler {
    /// Prepares `distribution`.
    ///
    /// # Errors
    /// A parameter is not finite or out of range.
    pub fn new(distribution: &Distribution) -> Result<Self, DistributionError> {
        Ok(Self(match *distribution {
            Distribution::Constant { value } => Kind::Constant(finite("Constant", "value", value)?),
            Distribution::Exponential { rate } => {
                let rate = positive("Exponential", "rate", rate)?;
                Kind::Exponential(rand_distr::Exp::new(rate).expect("a positive rate is valid"))
            }
            Distribution::Uniform { low, high } => uniform(low, high)?,
            Distribution::Normal { mean, std } => {
                let mean = finite("Normal", "mean", mean)?;
                let std = not_negative("Normal", "std", std)?;
                Kind::Normal(rand_distr::Normal::new(mean, std).expect("std is finite"))
            }
            Distribution::LogNormal { mu, sigma } => {
                let mu = finite("LogNormal", "mu", mu)?;
                let sigma = not_negative("LogNormal", "sigma", sigma)?;
                Kind::LogNormal(rand_distr::LogNormal::new(mu, sigma).expect("sigma is finite"))
            }
            Distribution::Pareto { shape, scale } => {
                let shape = positive("Pareto", "shape", shape)?;
                let scale = positive("Pareto", "scale", scale)?;
                Kind::Pareto(rand_distr::Pareto::new(scale, shape).expect("both are positive"))
            }
            Distribution::Weibull { shape, scale } => {
                let shape = positive("Weibull", "shape", shape)?;
                let scale = positive("Weibull", "scale", scale)?;
                Kind::Weibull(rand_distr::Weibull::new(scale, shape).expect("both are positive"))
            }
            Distribution::Gamma { shape, scale } => {
                let shape = positive("Gamma", "shape", shape)?;
                let scale = positive("Gamma", "scale", scale)?;
                Kind::Gamma(rand_distr::Gamma::new(shape, scale).expect("both are positive"))
            }
            Distribution::Triangular { low, mode, high } => triangular(low, mode, high)?,
            Distribution::Poisson { mean } => {
                let mean = positive("Poisson", "mean", mean)?;
                let poisson = rand_distr::Poisson::new(mean);
                require(poisson.is_ok(), "Poisson", "mean", mean, "at most some 1e19")?;
                Kind::Poisson(poisson.expect("just looked at"))
            }
            Distribution::Zipf { most, exponent } => {
                require(most >= 1.0 && most.is_finite(), "Zipf", "most", most, "1 or more")?;
                not_negative("Zipf", "exponent", exponent)?;
                Kind::Zipf(rand_distr::Zipf::new(most.floor(), exponent).expect("both are in range"))
            }
            Distribution::Clipped { ref of, low, high } => {
                not_negative("Clipped", "min", low)?;
                require(high >= low && !high.is_nan(), "Clipped", "max", high, "at least min")?;
                Kind::Clipped(Box::new(Self::new(of)?), low, high)
            }
            Distribution::Histogram { ref bins } => histogram(bins)?,
            Distribution::Mixture { ref components } => mixture(components)?,
        }))
    }

    /// One draw: finite, at least 0.
    #[inline]
    pub fn sample<R: Rng>(&self, rng: &mut R) -> f64 {
        let value = match &self.0 {
            Kind::Constant(value) => *value,
            Kind::Exponential(exponential) => exponential.sample(rng),
            Kind::Uniform { low, span } => low + span * rng.random::<f64>(),
            Kind::Normal(normal) => normal.sample(rng),
            Kind::LogNormal(log_normal) => log_normal.sample(rng),
            Kind::Pareto(pareto) => pareto.sample(rng),
            Kind::Weibull(weibull) => weibull.sample(rng),
            Kind::Gamma(gamma) => gamma.sample(rng),
            Kind::Triangular(triangular) => triangular.sample(rng),
            Kind::Poisson(poisson) => poisson.sample(rng),
            Kind::Zipf(zipf) => zipf.sample(rng),
            Kind::Clipped(inner, low, high) => inner.sample(rng).clamp(*low, *high),
            Kind::Histogram(choice, bins) => {
                let (low, span) = bins[choice.pick(rng)];
                if span > 0.0 { low + span * rng.random::<f64>() } else { low }
            }
            Kind::Mixture(choice, components) => components[choice.pick(rng)].sample(rng),
        };
        // A NaN is not above 0 either.
        if value > 0.0 { value.min(f64::MAX) } else { 0.0 }
    }

    /// One draw as a number of tokens, 1 ..= [`MAX_TOKENS`].
    #[inline]
    pub fn sample_tokens<R: Rng>(&self, rng: &mut R) -> u32 {
        let rounded = self.sample(rng).round_ties_even();
        rounded.clamp(1.0, f64::from(MAX_TOKENS)) as u32
    }

    /// One draw as a priority, 0 ..= `i32::MAX`.
    #[inline]
    pub fn sample_priority<R: Rng>(&self, rng: &mut R) -> i32 {
        self.sample(rng).round_ties_even() as i32
    }
}

impl Distribution {
    /// The mean of the draws, clipping at 0 included; `None` where it is infinite, beyond `f64` or, of [`Distribution::Clipped`], not
    /// known in closed form.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        mean::of(self).filter(|mean| mean.is_finite())
    }

    /// A value that no draw exceeds, where that is easily known (for Exponential and Normal: in practice).
    pub(crate) fn upper_bound(&self) -> Option<f64> {
        match *self {
            Self::Constant { value } => Some(value),
            // The ziggurat's tail goes on with the logarithm of a 53-bit uniform: 7.7 + 36.8 means, 3.7 + 10 deviations.
            Self::Exponential { rate } => Some(45.0 / rate),
            Self::Normal { mean, std } => Some(mean + 14.0 * std),
            Self::Uniform { high, .. } => Some(high),
            Self::LogNormal { mu, sigma: 0.0 } => Some(mu.exp()),
            Self::Triangular { high, .. } => Some(high),
            Self::Zipf { most, .. } => Some(most),
            Self::Clipped { ref of, low, high } => Some(of.upper_bound().map_or(high, |most| most.clamp(low, high))),
            Self::Histogram { ref bins } => bins.iter().map(|bin| bin.2).reduce(f64::max),
            Self::Mixture { ref components } => components
                .iter()
                .map(|(_, component)| component.upper_bound())
                .try_fold(0.0_f64, |most, bound| Some(most.max(bound?))),
            _ => None,
        }
    }
}

/// A choice among several by weight.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Sums of the weights up to and with each.
    cumulative: Box<[f64]>,
    /// The last with a weight above 0.
    last: usize,
}

impl Choice {
    /// Prepares a choice; `None` unless all weights are finite, at least 0, and one is above.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (mut sum, mut last, mut cumulative) = (0.0, None, Vec::new());
        for (index, weight) in weights.into_iter().enumerate() {
            if !(weight >= 0.0 && weight.is_finite()) {
                return None;
            }
            if weight > 0.0 {
                last = Some(index);
            }
            sum += weight;
            cumulative.push(sum);
        }
        sum.is_finite().then_some(())?;
        Some(Self { cumulative: cumulative.into(), last: last? })
    }

    /// The index of one, drawn by weight. Draws nothing where there is no choice.
    #[inline]
    pub fn pick<R: Rng>(&self, rng: &mut R) -> usize {
        if self.cumulative.len() == 1 {
            return 0;
        }
        let point = rng.random::<f64>() * self.cumulative[self.last];
        // A product may round up to the total, which is nobody's share.
        self.cumulative.partition_point(|&sum| sum <= point).min(self.last)
    }
}

/// True with `probability`. Draws nothing where that is 0 or 1.
#[inline]
pub fn happens<R: Rng>(probability: f64, rng: &mut R) -> bool {
    probability >= 1.0 || (probability > 0.0 && rng.random::<f64>() < probability)
}

fn uniform(low: f64, high: f64) -> Result<Kind, DistributionError> {
    let low = finite("Uniform", "low", low)?;
    let high = finite("Uniform", "high", high)?;
    let span = high - low;
    require(span >= 0.0 && span.is_finite(), "Uniform", "high", high, "at least low")?;
    Ok(Kind::Uniform { low, span })
}

fn triangular(low: f64, mode: f64, high: f64) -> Result<Kind, DistributionError> {
    not_negative("Triangular", "low", low)?;
    require(mode >= low && mode.is_finite(), "Triangular", "mode", mode, "at least low")?;
    require(high >= mode && high.is_finite(), "Triangular", "high", high, "at least mode")?;
    if low == high {
        return Ok(Kind::Constant(low));
    }
    Ok(Kind::Triangular(rand_distr::Triangular::new(low, high, mode).expect("the ends are in order")))
}

fn histogram(bins: &[(f64, f64, f64)]) -> Result<Kind, DistributionError> {
    for &(_, low, high) in bins {
        not_negative("Histogram", "value", low)?;
        require(high >= low && high.is_finite(), "Histogram", "edge", high, "at least the one before")?;
    }
    let choice = Choice::new(bins.iter().map(|&(weight, ..)| weight)).ok_or(DistributionError::EmptyHistogram)?;
    Ok(Kind::Histogram(choice, bins.iter().map(|&(_, low, high)| (low, high - low)).collect()))
}

fn mixture(components: &[(f64, Distribution)]) -> Result<Kind, DistributionError> {
    for &(weight, _) in components {
        not_negative("Mixture", "weight", weight)?;
    }
    let choice = Choice::new(components.iter().map(|&(weight, _)| weight)).ok_or(DistributionError::EmptyMixture)?;
    let samplers: Result<Box<[_]>, _> = components.iter().map(|(_, component)| Sampler::new(component)).collect();
    Ok(Kind::Mixture(choice, samplers?))
}

fn finite(distribution: &'static str, parameter: &'static str, value: f64) -> Result<f64, DistributionError> {
    require(value.is_finite(), distribution, parameter, value, "a finite number")
}

fn positive(distribution: &'static str, parameter: &'static str, value: f64) -> Result<f64, DistributionError> {
    let holds = value > 0.0 && value.is_finite();
    require(holds, distribution, parameter, value, "a finite number above 0")
}

fn not_negative(distribution: &'static str, parameter: &'static str, value: f64) -> Result<f64, DistributionError> {
    let holds = value >= 0.0 && value.is_finite();
    require(holds, distribution, parameter, value, "a finite number of at least 0")
}

fn require(
    holds: bool,
    distribution: &'static str,
    parameter: &'static str,
    value: f64,
    requirement: &'static str,
) -> Result<f64, DistributionError> {
    let error = DistributionError::Parameter { distribution, parameter, value, requirement };
    if holds { Ok(value) } else { Err(error) }
}

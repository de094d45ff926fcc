//! Distributions: their parameters against each other, and the predecessor's ways to say a log-normal one.

use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::{self, Histogram, LogNormal};
use crate::workload::Distribution;

/// A mean length beyond this, in tokens, says that log-space parameters were meant arithmetically.
const ABSURD_MEAN: f64 = 10e6;

/// A distribution, its parameters checked against each other.
pub(super) fn distribution(keys: &keys::Distribution, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    use keys::Distribution as Keys;
    Some(match keys {
        Keys::Constant(keys) => Distribution::Constant { value: keys.value.value },
        Keys::Exponential(keys) => Distribution::Exponential { rate: keys.rate.value },
        Keys::Uniform(keys) => {
            let (low, high) = (keys.low.value, keys.high.value);
            if low > high {
                diagnostics.error(&keys.at, format!("low ({low}) is above high ({high})"));
                return None;
            }
            Distribution::Uniform { low, high }
        }
        Keys::Normal(keys) => {
            if keys.std.given && keys.sigma.given {
                diagnostics.error(&keys.sigma.at, "std and sigma are the same parameter; give one");
            }
            let std = keys.std.value.or(keys.sigma.value).unwrap_or(1.0);
            Distribution::Normal { mean: keys.mean.value, std }
        }
        Keys::LogNormal(keys) => log_normal(keys, diagnostics)?,
        Keys::Pareto(keys) => Distribution::Pareto { shape: keys.shape.value, scale: keys.scale.value },
        Keys::Weibull(keys) => Distribution::Weibull { shape: keys.shape.value, scale: keys.scale.value },
        Keys::Gamma(keys) => Distribution::Gamma { shape: keys.shape.value, scale: keys.scale.value },
        Keys::Triangular(keys) => {
            let (low, mode, high) = (keys.low.value?, keys.mode.value?, keys.high.value?);
            if !(low <= mode && mode <= high) {
                diagnostics.error(&keys.at, format!("low ({low}), mode ({mode}) and high ({high}) must rise"));
                return None;
            }
            Distribution::Triangular { low, mode, high }
        }
        Keys::Poisson(keys) => Distribution::Poisson { mean: keys.mean.value? },
        Keys::Zipf(keys) => Distribution::Zipf { most: keys.most.value?, exponent: keys.exponent.value },
        Keys::Clipped(keys) => {
            let (low, high) = (keys.min.value, keys.max.value.unwrap_or(f64::INFINITY));
            if low > high {
                diagnostics.error(&keys.at, format!("min ({low}) is above max ({high})"));
                return None;
            }
            let of = Box::new(distribution(keys.of.value.as_ref()?, diagnostics)?);
            Distribution::Clipped { of, low, high }
        }
        Keys::Histogram(keys) => histogram(keys, diagnostics)?,
        Keys::Mixture(keys) => mixture(keys, diagnostics)?,
    })
}

fn histogram(keys: &Histogram, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    if keys.values.given == keys.edges.given {
        diagnostics.error_with(&keys.at, "a histogram has values or edges", "give one of the two");
        return None;
    }
    let ranges: Vec<(f64, f64)> = match (&keys.values.value, &keys.edges.value) {
        (Some(values), _) => values.iter().map(|&value| (value, value)).collect(),
        (_, Some(edges)) => edges.windows(2).map(|pair| (pair[0], pair[1])).collect(),
        _ => return None,
    };
    if let Some((low, high)) = ranges.iter().find(|(low, high)| low > high) {
        diagnostics.error(&keys.edges.at, format!("edges must rise, but {high} follows {low}"));
        return None;
    }
    let weights = keys.weights.value.clone().unwrap_or_else(|| vec![1.0; ranges.len()]);
    if weights.len() != ranges.len() || ranges.is_empty() {
        let message = format!("{} weights for {} values or ranges", weights.len(), ranges.len());
        diagnostics.error(if keys.weights.given { &keys.weights.at } else { &keys.at }, message);
        return None;
    }
    let bins = weights.into_iter().zip(ranges).map(|(weight, (low, high))| (weight, low, high));
    Some(Distribution::Histogram { bins: bins.collect() })
}

fn mixture(keys: &keys::Mixture, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    let components = keys.components.value.as_ref()?;
    let weights = keys.weights.value.clone().unwrap_or_else(|| vec![1.0; components.len()]);
    if components.is_empty() {
        diagnostics.error(&keys.components.at, "a mixture needs components");
        return None;
    }
    if weights.len() != components.len() {
        let message = format!("{} weights for {} components", weights.len(), components.len());
        diagnostics.error(&keys.weights.at, message);
        return None;
    }
    let weighted = weights.into_iter().zip(components).filter(|(weight, _)| *weight > 0.0);
    let components: Vec<_> =
        weighted.filter_map(|(weight, inner)| Some((weight, distribution(inner, diagnostics)?))).collect();
    if components.is_empty() {
        diagnostics.error(&keys.weights.at, "one weight at least must be above 0");
        return None;
    }
    Some(Distribution::Mixture { components })
}

fn log_normal(keys: &LogNormal, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    let ways = [keys.mean.given, keys.mu.given, keys.mean_tokens.given].iter().filter(|given| **given).count();
    if ways > 1 {
        diagnostics.error(&keys.at, "mean, mu and mean_tokens are ways to say one thing; give one");
        return None;
    }
    if keys.mean_tokens.given || keys.std_tokens.given {
        if !(keys.mean_tokens.given && keys.std_tokens.given) || keys.sigma.given || keys.std.given {
            diagnostics.error(&keys.at, "mean_tokens and std_tokens go together, and with no other parameter");
            return None;
        }
        return Some(from_arithmetic(keys.mean_tokens.value?, keys.std_tokens.value?));
    }
    if keys.std.given {
        let mean = keys.mean.value.filter(|mean| *mean > 0.0);
        if mean.is_none() || keys.sigma.given {
            diagnostics.error(&keys.at, "std, an arithmetic deviation, goes with a mean above 0 and without sigma");
        }
        return Some(from_arithmetic(mean?, keys.std.value?));
    }
    let sigma = keys.sigma.value.unwrap_or(1.0);
    if let Some(mu) = keys.mu.value {
        return Some(Distribution::LogNormal { mu, sigma });
    }
    let mean = keys.mean.value.unwrap_or(0.0);
    let log_space_mean = (mean + sigma * sigma / 2.0).exp();
    if log_space_mean <= ABSURD_MEAN {
        return Some(Distribution::LogNormal { mu: mean, sigma });
    }
    if mean <= 0.0 {
        let message = format!("sigma: {sigma} in log space makes a mean above {}", number(ABSURD_MEAN));
        diagnostics.error_with(&keys.at, message, "give mean_tokens and std_tokens");
        return None;
    }
    let message = format!(
        "mean: {mean} and sigma: {sigma} in log space would make a mean above {}; read as the \
         arithmetic mean and standard deviation",
        number(ABSURD_MEAN)
    );
    diagnostics.warn_with(&keys.at, message, format!("write mean_tokens: {mean}, std_tokens: {sigma}"));
    Some(from_arithmetic(mean, sigma))
}

/// The log-space parameters of an arithmetic mean and standard deviation.
fn from_arithmetic(mean: f64, std: f64) -> Distribution {
    let variance_of_log = (std / mean).powi(2).ln_1p();
    Distribution::LogNormal { mu: mean.ln() - variance_of_log / 2.0, sigma: variance_of_log.sqrt() }
}

/// Whether a distribution of lengths, or a part of a mixture, rounds to no token whatever is drawn.
pub(super) fn is_never_a_token(distribution: &Distribution) -> bool {
    const HALF_A_TOKEN: f64 = 0.5;
    match distribution {
        Distribution::Mixture { components } => components.iter().any(|(_, inner)| is_never_a_token(inner)),
        _ => distribution.upper_bound().is_some_and(|most| most <= HALF_A_TOKEN),
    }
}

//! Distributions as the configuration describes them, checked.

/// A distribution of non-negative numbers. Parameters are checked when the configuration is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always `value`.
    Constant {
        /// The value.
        value: f64,
    },
    /// Exponential with `rate` > 0; the mean is 1 / rate.
    Exponential {
        /// Events per unit.
        rate: f64,
    },
    /// Uniform over low ..= high.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Normal, clipped at 0.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// exp(Normal(mu, sigma)).
    LogNormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Pareto type I: values from `scale` up.
    Pareto {
        /// Tail index.
        shape: f64,
        /// Smallest value.
        scale: f64,
    },
    /// Weibull.
    Weibull {
        /// Shape.
        shape: f64,
        /// Scale.
        scale: f64,
    },
    /// Gamma; the mean is shape · scale.
    Gamma {
        /// Shape.
        shape: f64,
        /// Scale.
        scale: f64,
    },
    /// Triangular: from `low` up to `mode` in a straight line, and down to `high`.
    Triangular {
        /// Lower end.
        low: f64,
        /// The likeliest value.
        mode: f64,
        /// Upper end.
        high: f64,
    },
    /// Poisson: whole numbers of this mean.
    Poisson {
        /// Mean.
        mean: f64,
    },
    /// Zipf: 1 ..= `most`, each by its power −`exponent`.
    Zipf {
        /// Largest value.
        most: f64,
        /// Exponent.
        exponent: f64,
    },
    /// Another, of which what is beyond an end counts as the end.
    Clipped {
        /// The other.
        of: Box<Distribution>,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Ranges by weight, alike within each; a single value where its ends are equal.
    Histogram {
        /// (weight, low, high).
        bins: Vec<(f64, f64, f64)>,
    },
    /// One of several, by weight.
    Mixture {
        /// (weight, component), weights > 0.
        components: Vec<(f64, Distribution)>,
    },
}

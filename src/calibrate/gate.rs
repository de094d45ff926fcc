//! The gate that the experts of AIConfigurator's silicon data were measured with: how many of them its tokens reach.
//!
//! It draws a popularity for each expert from a power law, gives each the pairs of token and expert that are its share,
//! rounded and at most one a token, and the rest to those that have least. What is drawn there are quantiles here.

/// Popularities where there are more pairs than experts: up to this share of the tokens, from one.
const MOST_POPULAR: f64 = 0.8;
/// Popularities where there are fewer.
const SCARCE_POPULARITIES: (f64, f64) = (0.01, 2.0);

/// The exponent of a distribution's name, such as `power_law_1.2`.
pub(super) fn exponent(distribution: &str) -> Option<f64> {
    distribution.rsplit('_').next()?.parse().ok().filter(|exponent: &f64| *exponent > 1.0 && exponent.is_finite())
}

/// Distinct experts that `tokens` reach, each `per_token` of so many.
pub(super) fn distinct_experts(exponent: f64, tokens: u32, experts: u32, per_token: u32) -> f64 {
    let (tokens, pairs) = (f64::from(tokens), f64::from(tokens) * f64::from(per_token));
    let (least, most) = if pairs > f64::from(experts) { (1.0, MOST_POPULAR * tokens) } else { SCARCE_POPULARITIES };
    let power = 1.0 - exponent;
    let (from, to) = (least.powf(power), most.powf(power));
    let quantile = |expert: u32| from + (to - from) * (f64::from(expert) + 0.5) / f64::from(experts);
    let popularities: Vec<f64> = (0..experts).map(|expert| quantile(expert).powf(power.recip())).collect();
    let sum: f64 = popularities.iter().sum();
    let (mut reached, mut assigned) = (0.0, 0.0);
    for popularity in popularities {
        let load = (popularity / sum * pairs).round().min(tokens);
        reached += f64::from(u8::from(load > 0.0));
        assigned += load;
    }
    (reached + (pairs - assigned).max(0.0)).min(pairs).min(f64::from(experts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_reaches_what_its_tokens_can() {
        for (experts, per_token) in [(8, 2), (128, 8), (256, 8)] {
            assert_eq!(distinct_experts(1.2, 1, experts, per_token), f64::from(per_token));
            for tokens in 1..2000 {
                let reached = distinct_experts(1.2, tokens, experts, per_token);
                assert!(reached >= f64::from(per_token) && reached <= f64::from(experts.min(tokens * per_token)));
            }
            assert_eq!(distinct_experts(1.2, 65_536, experts, per_token), f64::from(experts));
        }
    }

    /// What 40 draws of that benchmark's gate reach on average.
    #[test]
    fn quantiles_reach_what_draws_do() {
        for (tokens, experts, drawn) in [(16, 128, 58.8), (32, 128, 106.9), (64, 256, 189.7), (512, 256, 236.4)] {
            let reached = distinct_experts(1.2, tokens, experts, 8);
            assert!((reached / drawn - 1.0).abs() < 0.02, "{tokens} tokens, {experts} experts: {reached}");
        }
    }

    #[test]
    fn an_exponent_is_that_of_the_name() {
        assert_eq!(exponent("power_law_1.2"), Some(1.2));
        assert_eq!(exponent("power_law"), None);
        assert_eq!(exponent("power_law_0"), None);
    }
}

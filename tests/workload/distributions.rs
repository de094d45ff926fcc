//! Each distribution by its mean and a quantile, from fixed seeds.

use llmperforacle::workload::streams::generator;
use llmperforacle::workload::{Distribution, MAX_TOKENS, Sampler};
use proptest::prelude::*;

use super::{constant, exponential};

const DRAWS: usize = 200_000;

fn draws(distribution: &Distribution, seed: u64) -> Vec<f64> {
    let sampler = Sampler::new(distribution).expect("valid parameters");
    let mut rng = generator(seed);
    let mut draws: Vec<f64> = (0..DRAWS).map(|_| sampler.sample(&mut rng)).collect();
    draws.sort_by(f64::total_cmp);
    draws
}

/// (distribution, its 0.9 quantile from the inverse of its distribution function, by hand)
fn catalog() -> Vec<(Distribution, f64)> {
    let ln10 = std::f64::consts::LN_10;
    // The 0.9 quantile of a standard normal.
    let z90: f64 = 1.281_551_565_545;
    vec![
        (constant(3.5), 3.5),
        (exponential(4.0), ln10 / 4.0),
        (Distribution::Uniform { low: 2.0, high: 12.0 }, 11.0),
        (Distribution::Normal { mean: 50.0, std: 10.0 }, 50.0 + 10.0 * z90),
        // A third of it is clipped.
        (Distribution::Normal { mean: 4.0, std: 10.0 }, 4.0 + 10.0 * z90),
        (Distribution::LogNormal { mu: 1.0, sigma: 0.5 }, (1.0 + 0.5 * z90).exp()),
        (Distribution::Pareto { shape: 3.5, scale: 2.0 }, 2.0 * 10_f64.powf(1.0 / 3.5)),
        (Distribution::Weibull { shape: 1.5, scale: 2.0 }, 2.0 * ln10.powf(1.0 / 1.5)),
        // Erlang of two stages: 1 − e⁻ˣ(1 + x) = 0.9 at x = 3.88972.
        (Distribution::Gamma { shape: 2.0, scale: 3.0 }, 3.0 * 3.889_720),
        // A tenth at 1, four tenths within 2 ..= 4, the rest within 10 ..= 20.
        (Distribution::Histogram { bins: vec![(1.0, 1.0, 1.0), (4.0, 2.0, 4.0), (5.0, 10.0, 20.0)] }, 18.0),
        (Distribution::Triangular { low: 1.0, mode: 2.0, high: 5.0 }, 5.0 - 1.2_f64.sqrt()),
        // Of mean 100: 113 with the normal approximation's continuity.
        (Distribution::Poisson { mean: 100.0 }, 113.0),
        // H(100) = 5.187; 0.9 of it is H(59.8).
        (Distribution::Zipf { most: 100.0, exponent: 1.0 }, 60.0),
        // Three quarters at 0 ..= 1, a quarter at 10 ..= 20.
        (
            Distribution::Mixture {
                components: vec![
                    (3.0, Distribution::Uniform { low: 0.0, high: 1.0 }),
                    (1.0, Distribution::Uniform { low: 10.0, high: 20.0 }),
                ],
            },
            16.0,
        ),
    ]
}

#[test]
fn draws_have_the_mean_and_the_quantile_of_their_distribution() {
    for (seed, (distribution, quantile)) in (1..).zip(catalog()) {
        let draws = draws(&distribution, seed);
        let mean = draws.iter().sum::<f64>() / DRAWS as f64;
        let expected = distribution.mean().expect("a finite mean");
        assert!((mean / expected - 1.0).abs() < 0.015, "{distribution:?}: mean {mean}, expected {expected}");
        let drawn = draws[DRAWS * 9 / 10];
        assert!((drawn / quantile - 1.0).abs() < 0.015, "{distribution:?}: 0.9 quantile {drawn}, expected {quantile}");
    }
}

#[test]
fn what_is_beyond_the_ends_counts_as_the_ends() {
    let of = Box::new(Distribution::LogNormal { mu: 1.0, sigma: 0.5 });
    let clipped = Distribution::Clipped { of, low: 2.0, high: 4.0 };
    let draws = draws(&clipped, 5);
    let share = |is: fn(f64) -> bool| draws.iter().filter(|&&draw| is(draw)).count() as f64 / DRAWS as f64;
    // Φ((ln 2 − 1) / 0.5) and 1 − Φ((ln 4 − 1) / 0.5).
    assert!((share(|draw| draw <= 2.0) - 0.2697).abs() < 0.005);
    assert!((share(|draw| draw >= 4.0) - 0.2199).abs() < 0.005);
    assert_eq!((draws[0], draws[DRAWS - 1], clipped.mean()), (2.0, 4.0, None));
}

#[test]
fn pareto_starts_at_its_scale_and_may_have_no_mean() {
    let heavy = Distribution::Pareto { shape: 1.0, scale: 5.0 };
    assert_eq!(heavy.mean(), None);
    assert!(draws(&heavy, 3)[0] >= 5.0);
}

#[test]
fn tokens_round_half_to_even_and_stay_within_their_range() {
    let tokens = |value| {
        let sampler = Sampler::new(&constant(value)).expect("finite");
        sampler.sample_tokens(&mut generator(0))
    };
    for (value, expected) in [(-3.0, 1), (0.0, 1), (0.5, 1), (1.5, 2), (2.5, 2), (3.5, 4), (1e30, MAX_TOKENS)] {
        assert_eq!(tokens(value), expected, "{value}");
    }
}

#[test]
fn senseless_parameters_are_refused_by_name() {
    let cases = [
        (exponential(0.0), "rate"),
        (constant(f64::NAN), "value"),
        (Distribution::Uniform { low: 2.0, high: 1.0 }, "high"),
        (Distribution::Normal { mean: 1.0, std: -1.0 }, "std"),
        (Distribution::LogNormal { mu: f64::INFINITY, sigma: 1.0 }, "mu"),
        (Distribution::Pareto { shape: 0.0, scale: 1.0 }, "shape"),
        (Distribution::Mixture { components: vec![] }, "weight"),
    ];
    for (distribution, word) in cases {
        let error = Sampler::new(&distribution).expect_err("senseless");
        assert!(error.to_string().contains(word), "{error}");
    }
}

fn any_parameter() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), 0.0..1e3, Just(1e308), Just(5e-324), Just(0.0)]
}

fn any_distribution() -> impl Strategy<Value = Distribution> {
    let simple = (0..8_u8, any_parameter(), any_parameter()).prop_map(|(kind, a, b)| match kind {
        0 => Distribution::Constant { value: a },
        1 => Distribution::Exponential { rate: a },
        2 => Distribution::Uniform { low: a, high: b },
        3 => Distribution::Normal { mean: a, std: b },
        4 => Distribution::LogNormal { mu: a, sigma: b },
        5 => Distribution::Pareto { shape: a, scale: b },
        6 => Distribution::Weibull { shape: a, scale: b },
        _ => Distribution::Gamma { shape: a, scale: b },
    });
    simple.prop_recursive(2, 8, 3, |inner| {
        prop::collection::vec((0.0..2.0, inner), 0..3).prop_map(|components| Distribution::Mixture { components })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a user writes, what comes out is a number.
    #[test]
    fn draws_are_finite_and_not_negative(distribution in any_distribution(), seed: u64) {
        if let Ok(sampler) = Sampler::new(&distribution) {
            let mut rng = generator(seed);
            for _ in 0..20 {
                let value = sampler.sample(&mut rng);
                prop_assert!(value.is_finite() && value >= 0.0, "{value}");
                prop_assert!((1..=MAX_TOKENS).contains(&sampler.sample_tokens(&mut rng)));
                prop_assert!(sampler.sample_priority(&mut rng) >= 0);
            }
            prop_assert!(distribution.mean().is_none_or(f64::is_finite));
        }
    }
}

//! Loads against theory: rates that change, gaps by their variation, bursts by their index of dispersion. Seeds are fixed,
//! and bounds are those of a test at 1 in 1,000 or wider.

use llmperforacle::workload::{
    Course, Distribution, Load, Piece, Rate, Starts, State, SyntheticWorkload, Workload, weibull_shape,
};
use oracle_components::SimTime;

use super::{constant, exponential, first_turns, profile, workload};

fn loaded(gaps: Distribution, rate: Rate, seconds: f64) -> SyntheticWorkload {
    let mut one = workload(vec![profile("a", 1.0)]);
    one.total_requests = None;
    one.duration = Some(SimTime::from_secs_f64(seconds));
    one.load = Load { starts: Some(Starts::Rate { gaps, rate }), places: None };
    one
}

fn arrivals_s(one: &SyntheticWorkload) -> Vec<f64> {
    first_turns(one).iter().map(|spec| spec.arrival.as_secs_f64()).collect()
}

fn line(seconds: f64, from: f64, to: f64) -> Piece {
    Piece { seconds, course: Course::Line { from, to } }
}

/// The largest distance between the draws' distribution function and `cdf`, times √n: above 1.95 once in 1,000.
fn kolmogorov(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    let distance = draws.iter().zip(0..).map(|(&x, index)| {
        let (f, index) = (cdf(x), f64::from(index));
        (f - index / n).abs().max((f - (index + 1.0) / n).abs())
    });
    distance.fold(0.0, f64::max) * n.sqrt()
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn mean_and_cv(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt() / mean)
}

/// Under the integral of the rate, written out here by hand, Poisson arrivals have exponential gaps of mean 1.
#[test]
fn changing_rates_are_poisson_in_operational_time() {
    type Integral = Box<dyn Fn(f64) -> f64>;
    let pieces = |pieces: Vec<Piece>, repeats| Rate::Pieces { pieces, repeats };
    let cases: Vec<(Rate, Integral)> = vec![
        (Rate::constant(20.0), Box::new(|t| 20.0 * t)),
        (
            pieces(vec![line(500.0, 0.0, 50.0), line(f64::INFINITY, 50.0, 50.0)], false),
            Box::new(|t| if t < 500.0 { t * t / 20.0 } else { 12_500.0 + 50.0 * (t - 500.0) }),
        ),
        (
            pieces(vec![Piece { seconds: 1000.0, course: Course::Exponential { from: 1.0, to: 100.0 } }], false),
            Box::new(|t| (100_f64.powf(t / 1000.0) - 1.0) * 1000.0 / 100_f64.ln()),
        ),
        (
            // 90 s at 5, 10 s at 100, again and again.
            pieces(vec![line(90.0, 5.0, 5.0), line(10.0, 100.0, 100.0)], true),
            Box::new(|t| {
                let (cycles, rest) = ((t / 100.0).floor(), t % 100.0);
                cycles * 1450.0 + if rest < 90.0 { 5.0 * rest } else { 450.0 + 100.0 * (rest - 90.0) }
            }),
        ),
        (
            pieces(
                vec![Piece {
                    seconds: f64::INFINITY,
                    course: Course::Wave { mean: 20.0, swing: 20.0, period_s: 200.0, peak_s: 50.0 },
                }],
                false,
            ),
            // 20 (1 + cos(2π (t − 50)/200)) = 20 (1 + sin(2π t/200)).
            Box::new(|t| {
                20.0 * t + 20.0 * 200.0 / std::f64::consts::TAU * (1.0 - (std::f64::consts::TAU * t / 200.0).cos())
            }),
        ),
    ];
    for (rate, integral) in cases {
        let one = loaded(exponential(1.0), rate.clone(), 1000.0);
        let times = arrivals_s(&one);
        let expected = integral(1000.0);
        let count = times.len() as f64;
        assert!((count - expected).abs() < 4.0 * expected.sqrt(), "{rate:?}: {count} of {expected}");
        let told = Workload::Synthetic(one).open().expect("valid").1.expected_requests.expect("known") as f64;
        assert!((told - expected).abs() <= 0.51, "{rate:?}: {told} told, {expected}");
        let operational: Vec<f64> = times.iter().map(|&t| integral(t)).collect();
        let statistic = kolmogorov(gaps(&operational), |gap| 1.0 - (-gap).exp());
        assert!(statistic < 1.95, "{rate:?}: {statistic}");
    }
}

#[test]
fn gaps_have_the_variation_asked_for() {
    for cv in [0.3_f64, 1.0, 2.0] {
        let shape = cv.powi(-2);
        let gamma = Distribution::Gamma { shape, scale: 1.0 / shape };
        let shape = weibull_shape(cv);
        let scale = Distribution::Weibull { shape, scale: 1.0 }.mean().expect("finite").recip();
        for gaps_of_mean_1 in [gamma, Distribution::Weibull { shape, scale }] {
            let times = arrivals_s(&loaded(gaps_of_mean_1.clone(), Rate::constant(50.0), 4000.0));
            let (mean, found) = mean_and_cv(&gaps(&times));
            assert!((mean * 50.0 - 1.0).abs() < 0.02, "{gaps_of_mean_1:?}: {mean}");
            assert!((found / cv - 1.0).abs() < 0.02, "{gaps_of_mean_1:?}: {found}");
        }
    }
}

/// rate × duration of them, the first at once, and none drifts.
#[test]
fn constant_gaps_are_exact() {
    let times = first_turns(&loaded(constant(1.0), Rate::constant(3.0), 1000.0));
    assert_eq!(times.len(), 3000);
    for (index, spec) in (0_u64..).zip(&times) {
        assert_eq!(spec.arrival, SimTime((index * 1_000_000_000 + 1) / 3), "{index}");
    }
}

/// The counts of an interrupted Poisson process vary more than Poisson's: in windows far longer than its states, on for 1/a
/// and off for 1/b seconds on average, variance over mean tends to 1 + 2 λ a / (a + b)².
#[test]
fn bursts_have_the_dispersion_of_their_states() {
    let (a, b, per_s) = (1.0, 0.5, 30.0);
    let on = State { per_s, stay_s: exponential(a), next: vec![0.0, 1.0] };
    let off = State { per_s: 0.0, stay_s: exponential(b), next: vec![1.0, 0.0] };
    let one = loaded(exponential(1.0), Rate::States(vec![on, off]), 200_000.0);
    let times = arrivals_s(&one);
    const WINDOW_S: f64 = 100.0;
    let mut counts = vec![0.0; (200_000.0 / WINDOW_S) as usize];
    times.iter().for_each(|t| counts[(t / WINDOW_S) as usize] += 1.0);
    let (mean, cv) = mean_and_cv(&counts);
    let rate = mean / WINDOW_S;
    // On for 1 of 3 seconds.
    assert!((rate / 10.0 - 1.0).abs() < 0.03, "{rate}");
    let dispersion = cv * cv * mean;
    let theory = 1.0 + 2.0 * per_s * a / (a + b).powi(2);
    assert!((dispersion / theory - 1.0).abs() < 0.12, "{dispersion}, expected {theory}");
    let told = Workload::Synthetic(one).open().expect("valid").1.mean_rate_per_s.expect("known");
    assert!((told - 10.0).abs() < 1e-6, "{told}");
}

#[test]
fn stages_end_and_the_load_with_them() {
    let stages = Rate::Pieces {
        pieces: vec![line(10.0, 5.0, 5.0), line(10.0, 0.0, 0.0), line(10.0, 20.0, 20.0)],
        repeats: false,
    };
    let mut one = loaded(exponential(1.0), stages, 1.0);
    one.duration = None;
    let times = arrivals_s(&one);
    assert!(times.iter().all(|&t| t < 10.0 || (20.0..30.0).contains(&t)));
    assert!((times.len() as f64 - 250.0).abs() < 4.0 * 250_f64.sqrt());
    let facts = Workload::Synthetic(one).open().expect("valid").1;
    assert_eq!(facts.expected_requests, Some(250));
}

#[test]
fn loads_that_never_come_are_refused() {
    let never = |rate: Rate| Workload::Synthetic(loaded(exponential(1.0), rate, 10.0)).open().err();
    let state = |per_s, stay_s| State { per_s, stay_s, next: vec![1.0] };
    for rate in [
        Rate::Pieces { pieces: vec![line(10.0, 0.0, 0.0)], repeats: true },
        Rate::States(vec![state(0.0, constant(1.0))]),
        Rate::States(vec![state(5.0, constant(0.0))]),
    ] {
        let error = never(rate.clone()).unwrap_or_else(|| panic!("{rate:?}"));
        assert!(error.to_string().contains("never above 0"), "{error}");
    }
}

//! Arrivals of synthetic workloads: order, limits, rates, independence of streams.

use llmperforacle::workload::{Arrivals, Distribution, PrefixPattern, Profile, SyntheticWorkload, Workload};
use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use proptest::prelude::*;

use super::{constant, first_turns, open, profile, success, talker, workload};

fn rate_per_s(requests: usize, workload: &SyntheticWorkload) -> f64 {
    requests as f64 / workload.duration.expect("limited").as_secs_f64()
}

/// Requests of one profile without the numbers that are common to all.
fn of_profile(name: &str, workload: &SyntheticWorkload) -> Vec<RequestSpec> {
    let index = workload.profiles.iter().position(|p| p.name == name);
    let index = index.expect("the profile exists") as u16;
    let mut specs = first_turns(workload);
    specs.retain(|spec| spec.profile == index);
    for spec in &mut specs {
        (spec.profile, spec.session) = (0, 0);
    }
    specs
}

#[test]
fn the_same_seed_gives_the_same_requests_and_another_does_not() {
    let one = workload(vec![profile("chat", 2.0), profile("code", 3.0)]);
    assert_eq!(first_turns(&one), first_turns(&one));
    let other = SyntheticWorkload { seed: 8, ..one.clone() };
    assert_ne!(first_turns(&one), first_turns(&other));
}

/// Seeds published with results must give the same requests in later versions. Uniform draws: no logarithm of the
/// machine's own takes part.
#[test]
fn a_seed_means_the_same_in_every_version() {
    let uniform = |low, high| Distribution::Uniform { low, high };
    let steady = Profile {
        inter_arrival_s: uniform(0.5, 1.5),
        output_tokens: Some(uniform(1.0, 500.0)),
        ..talker("steady", 1.0)
    };
    let one = workload(vec![steady]);
    let specs = first_turns(&one);
    let basics = |spec: &RequestSpec| (spec.arrival.0, spec.prompt_tokens, spec.output_tokens);
    let found: Vec<_> = specs[..3].iter().map(basics).collect();
    let expected = [(918_406_149, 351, 332), (2_353_435_022, 382, 398), (3_295_336_015, 876, 180)];
    assert_eq!(found, expected);
    assert_eq!(specs[0].tail_key, 0x4479_0f96_b5d7_ee68);
}

#[test]
fn a_further_profile_changes_no_draw_of_the_others() {
    let alone = workload(vec![talker("chat", 2.0)]);
    let joined = workload(vec![profile("code", 3.0), talker("chat", 2.0)]);
    assert_eq!(of_profile("chat", &alone), of_profile("chat", &joined));
    // Not even of later turns, where the session has a name of its own.
    let follow_up = |workload: &SyntheticWorkload, index| {
        let spec = first_turns(workload).into_iter().find(|s| s.profile == index);
        let spec = spec.expect("it has a request");
        let next = super::follow_up(&mut *open(workload), &spec, &success(&spec, 1.0));
        let next = next.expect("a talker goes on");
        (next.arrival, next.prompt_tokens, next.output_tokens)
    };
    assert_eq!(follow_up(&alone, 0), follow_up(&joined, 1));
}

#[test]
fn one_quantity_changes_no_draw_of_another() {
    let base = workload(vec![profile("chat", 2.0)]);
    let mut changed = base.clone();
    changed.profiles[0].output_tokens = Some(constant(5.0));
    changed.profiles[0].priority = Some(constant(3.0));
    for (one, other) in first_turns(&base).iter().zip(first_turns(&changed)) {
        assert_eq!(one.arrival, other.arrival);
        assert_eq!(one.prompt_tokens, other.prompt_tokens);
        assert_eq!((other.output_tokens, other.priority), (5, 3));
    }
}

#[test]
fn profiles_of_the_same_name_do_not_send_the_same() {
    let twins = workload(vec![profile("chat", 2.0), profile("chat", 2.0)]);
    let specs = first_turns(&twins);
    let of = |index| specs.iter().find(|spec| spec.profile == index);
    assert_ne!(of(0).expect("some").arrival, of(1).expect("some").arrival);
}

#[test]
fn independent_rates_add_up_and_mixed_gaps_average() {
    // The predecessor's example: weights of a half, 20/s and 1/s.
    let mut both = workload(vec![profile("fast", 20.0), profile("slow", 1.0)]);
    both.duration = Some(SimTime::from_secs_f64(5000.0));
    for (arrivals, expected) in [
        (Arrivals::Independent, 21.0),
        // 1 / (½·1/20 + ½·1)
        (Arrivals::Mixed, 1.0 / 0.525),
    ] {
        both.arrivals = arrivals;
        let requests = first_turns(&both).len();
        let rate = rate_per_s(requests, &both);
        assert!((rate / expected - 1.0).abs() < 0.04, "{arrivals:?}: {rate}");
        let facts = Workload::Synthetic(both.clone()).open().expect("valid").1;
        let told = facts.mean_rate_per_s.expect("finite");
        assert!((told / expected - 1.0).abs() < 1e-9, "{told}");
        let told = facts.expected_requests.expect("known") as f64;
        assert!((told / requests as f64 - 1.0).abs() < 0.04);
    }
}

#[test]
fn mixed_profiles_come_by_weight() {
    let mut both = workload(vec![profile("many", 10.0), profile("few", 10.0)]);
    both.arrivals = Arrivals::Mixed;
    both.profiles[0].weight = 3.0;
    let specs = first_turns(&both);
    let many = specs.iter().filter(|spec| spec.profile == 0).count();
    let share = many as f64 / specs.len() as f64;
    assert!((share - 0.75).abs() < 0.02, "{share}");
    both.profiles[1].weight = 0.0;
    assert!(first_turns(&both).iter().all(|spec| spec.profile == 0));
}

#[test]
fn equal_arrivals_come_in_the_order_of_the_profiles() {
    let clockwork = |name| Profile { inter_arrival_s: constant(1.0), ..profile(name, 1.0) };
    let specs = first_turns(&workload(vec![clockwork("b"), clockwork("a")]));
    assert_eq!(specs[0].arrival, SimTime::from_secs_f64(1.0));
    let order: Vec<_> = specs[..4].iter().map(|spec| spec.profile).collect();
    assert_eq!(order, [0, 1, 0, 1]);
    // The last gap ends at the duration itself, which is no longer part of it.
    assert_eq!(specs.len(), 2 * 999);
}

#[test]
fn sessions_clients_and_turns_are_numbered() {
    let specs = first_turns(&workload(vec![profile("a", 2.0), profile("b", 1.0)]));
    let mut of_profile = [0, 0];
    for (number, spec) in specs.iter().enumerate() {
        let count = &mut of_profile[usize::from(spec.profile)];
        assert_eq!((spec.session, spec.turn), (number as u64, 0));
        assert_eq!(spec.client, *count % 100);
        assert_eq!(spec.tail_key, 0, "nobody talks");
        assert_eq!(spec.prefix.capacity(), 0);
        *count += 1;
    }
}

#[test]
fn streaming_and_timeouts_are_the_profiles() {
    let mut one = workload(vec![profile("a", 10.0)]);
    one.profiles[0].streaming_probability = 0.25;
    one.profiles[0].timeout_s = Some(2.5);
    let specs = first_turns(&one);
    let streamed = specs.iter().filter(|spec| spec.streaming).count() as f64;
    assert!((streamed / specs.len() as f64 - 0.25).abs() < 0.02);
    assert!(specs.iter().all(|spec| spec.timeout == SimTime(2_500_000_000)));
}

fn pattern(name: &str, weight: f64, pieces: &[(&str, u32)]) -> PrefixPattern {
    let pieces = pieces.iter().map(|&(name, n)| (name.to_owned(), n));
    PrefixPattern { name: name.to_owned(), weight, pieces: pieces.collect(), documents: None }
}

#[test]
fn patterns_share_exactly_the_pieces_they_begin_with() {
    let mut one = workload(vec![talker("a", 10.0)]);
    one.prefix_patterns = vec![
        pattern("one shot", 1.0, &[("system", 50), ("shot", 300)]),
        pattern("two shots", 1.0, &[("system", 50), ("other", 300)]),
        pattern("nothing", 2.0, &[]),
    ];
    let specs = first_turns(&one);
    let find = |tokens: &[u32], last| {
        let mut all = specs.iter().map(|spec| &spec.prefix);
        let found = all.find(|prefix| {
            let lengths: Vec<_> = prefix.iter().map(|segment| segment.tokens).collect();
            lengths == tokens && prefix.last().map(|s| s.key) != last
        });
        found.expect("it is drawn").clone()
    };
    let first = find(&[50, 300], None);
    let second = find(&[50, 300], Some(first[1].key));
    assert_eq!(first[0], second[0]);
    assert!(first.iter().chain(&second).all(|segment| segment.key != 0));
    let bare = specs.iter().filter(|spec| spec.prefix.is_empty()).count();
    assert!((bare as f64 / specs.len() as f64 - 0.5).abs() < 0.02);
    for spec in &specs {
        let shared: u32 = spec.prefix.iter().map(|segment| segment.tokens).sum();
        assert!(spec.prompt_tokens > shared);
        let next = super::follow_up(&mut *open(&one), spec, &success(spec, 0.0));
        assert!(next.is_none_or(|next| next.prefix == spec.prefix));
    }
}

#[test]
fn a_profile_may_name_its_pattern() {
    let mut one = workload(vec![profile("a", 1.0)]);
    one.prefix_patterns = vec![pattern("x", 1.0, &[("x", 10)]), pattern("y", 0.0, &[("y", 20)])];
    one.profiles[0].prefix_pattern = Some("y".to_owned());
    assert!(first_turns(&one).iter().all(|spec| spec.prefix[0].tokens == 20));
    one.profiles[0].prefix_pattern = Some("z".to_owned());
    let error = Workload::Synthetic(one).open().err().expect("no z");
    assert!(error.to_string().contains("x, y"), "{error}");
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    type Break = fn(&mut SyntheticWorkload);
    let broken: [(Break, &str); 9] = [
        (|w| w.profiles.clear(), "no client profile"),
        (|w| w.profiles[0].inter_arrival_s = constant(0.0), "time would never pass"),
        (|w| w.profiles[0].inter_arrival_s = constant(1e-12), "time would never pass"),
        (|w| w.profiles[0].prompt_tokens = constant(f64::NAN), "prompt tokens"),
        (|w| w.profiles[0].streaming_probability = 1.5, "from 0 to 1"),
        (|w| w.profiles[0].continuation_probability = f64::NAN, "from 0 to 1"),
        (|w| w.profiles[0].timeout_s = Some(0.0), "timeout_s"),
        (
            |w| {
                w.arrivals = Arrivals::Mixed;
                w.profiles[0].weight = 0.0;
            },
            "weights",
        ),
        (|w| w.prefix_patterns = vec![pattern("x", 1.0, &[("a", u32::MAX), ("b", 9)])], "at most"),
    ];
    for (breaks, expected) in broken {
        let mut one = workload(vec![profile("a", 1.0)]);
        breaks(&mut one);
        let error = Workload::Synthetic(one).open().err();
        let error = error.expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    // A total ends what time does not.
    let mut burst = workload(vec![profile("a", 1.0)]);
    burst.profiles[0].inter_arrival_s = constant(0.0);
    burst.total_requests = Some(10);
    assert_eq!(first_turns(&burst).len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arrivals_never_decrease_and_keep_the_limits(
        seed: u64,
        rates in prop::collection::vec(0.01..50.0, 1..5),
        mixed: bool,
        duration_s in 0.0..60.0,
        total in prop::option::of(0..500_u64),
    ) {
        let profiles = (0..).zip(&rates).map(|(i, &rate)| profile(&format!("p{i}"), rate));
        let one = SyntheticWorkload {
            seed,
            duration: Some(SimTime::from_secs_f64(duration_s)),
            total_requests: total,
            arrivals: if mixed { Arrivals::Mixed } else { Arrivals::Independent },
            ..workload(profiles.collect())
        };
        let specs = first_turns(&one);
        prop_assert!(specs.is_sorted_by_key(|spec| spec.arrival));
        prop_assert!(specs.iter().all(|spec| Some(spec.arrival) < one.duration));
        prop_assert!(specs.iter().all(|s| (1..=s.max_output_tokens).contains(&s.output_tokens)));
        let unlimited = first_turns(&SyntheticWorkload { total_requests: None, ..one });
        let expected = total.map_or(unlimited.len(), |n| unlimited.len().min(n as usize));
        prop_assert_eq!(&specs[..], &unlimited[..expected]);
    }
}

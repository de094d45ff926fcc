//! Recorded loads, shaped: laws of each way and of several at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use llmperforacle::workload::{RepeatedPrefixes, Shaping, TraceSource, TraceWorkload, Window};
use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::traces::{read, written};

/// A line of a trace: gap in ms, prompt, answer, session.
type Line = (u32, u32, u32, Option<u8>);

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = (prop_oneof![Just(0), 1..50_u32, 1..5_000_u32], 1..3_000_u32, 1..500_u32, proptest::option::of(0..8_u8));
    proptest::collection::vec(line, 1..80)
}

/// The lines as a generic table. Prompts name their lines: each has another length.
fn table(lines: &[Line]) -> (TempDir, TraceWorkload) {
    let mut text = "arrival_s,prompt_tokens,output_tokens,session_id\n".to_owned();
    let mut now_ms = 100_u64;
    for (gap_ms, prompt, output, session) in lines {
        now_ms += u64::from(*gap_ms);
        let session = session.map_or(String::new(), |session| format!("s{session}"));
        let _ = writeln!(text, "{}.{:03},{prompt},{output},{session}", now_ms / 1000, now_ms % 1000);
    }
    written("trace.csv", text)
}

fn shaped(base: &TraceWorkload, shaping: Shaping) -> TraceWorkload {
    TraceWorkload { shaping, ..base.clone() }
}

/// The requests, or none where the shaping leaves none.
fn specs(workload: &TraceWorkload) -> Vec<RequestSpec> {
    match TraceSource::open(workload) {
        Ok(_) => read(workload),
        Err(error) => {
            assert!(error.to_string().contains("no request is left"), "{error}");
            Vec::new()
        }
    }
}

/// What a request is, apart from when it comes and how sessions are numbered.
fn content(spec: &RequestSpec) -> (u32, u32, u32) {
    (spec.prompt_tokens, spec.output_tokens, spec.turn)
}

fn ms(ms: u64) -> SimTime {
    SimTime(ms * 1_000_000)
}

/// Sessions by what their turns are.
fn sessions(specs: &[RequestSpec]) -> BTreeMap<u64, Vec<(u32, u32)>> {
    let mut sessions: BTreeMap<u64, Vec<(u32, u32)>> = BTreeMap::new();
    for spec in specs {
        sessions.entry(spec.session).or_default().push((spec.prompt_tokens, spec.output_tokens));
    }
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A window holds the requests from its begin to before its end, counted from the trace's first; and it commutes with a rate scale:
    /// the window of the scaled trace is the scaled window.
    #[test]
    fn a_window_is_a_part_by_time_and_commutes_with_the_rate(
        lines in lines(), from_ms in 0..20_000_u64, length_ms in 1..30_000_u64, rate_scale in prop_oneof![Just(0.5), Just(2.0), Just(4.0)],
    ) {
        let (_folder, base) = table(&lines);
        let window = Window::Span { from: ms(from_ms), to: ms(from_ms + length_ms) };
        let whole = read(&base);
        let inside: Vec<&RequestSpec> =
            whole.iter().filter(|spec| (ms(from_ms)..ms(from_ms + length_ms)).contains(&spec.arrival)).collect();
        let windowed = shaped(&base, Shaping { window: Some(window), ..Shaping::default() });
        let found = specs(&windowed);
        let lengths = |spec: &RequestSpec| (spec.prompt_tokens, spec.output_tokens);
        prop_assert_eq!(found.iter().map(lengths).collect::<Vec<_>>(), inside.iter().map(|s| lengths(s)).collect::<Vec<_>>());
        if let Some(first) = inside.first() {
            let shifted: Vec<_> = inside.iter().map(|spec| spec.arrival - first.arrival).collect();
            prop_assert_eq!(found.iter().map(|spec| spec.arrival).collect::<Vec<_>>(), shifted);
        }
        // A file whose times are scaled already, in the window that is scaled too.
        let fast = specs(&TraceWorkload { rate_scale, ..windowed });
        let expected: Vec<u64> = found.iter().map(|spec| (spec.arrival.0 as f64 / rate_scale).round() as u64).collect();
        prop_assert_eq!(fast.iter().map(|spec| spec.arrival.0).collect::<Vec<_>>(), expected);
    }

    /// The fullest window is as full as the fullest of all that begin at a thousandth of its length.
    #[test]
    fn the_peak_is_the_fullest_window(lines in lines(), length_s in 1..60_u64) {
        let (_folder, base) = table(&lines);
        let length = ms(length_s * 1000);
        let times: Vec<u64> = read(&base).iter().map(|spec| spec.arrival.0).collect();
        let step = length.0 / 1000;
        let fullest = times.iter().map(|&time| {
            let from = (time / step).saturating_sub(999) * step;
            times.iter().filter(|time| (from..from + length.0).contains(time)).count()
        }).max();
        let peak = shaped(&base, Shaping { window: Some(Window::Peak { length }), ..Shaping::default() });
        let found = read(&peak);
        prop_assert_eq!(Some(found.len()), fullest);
        prop_assert!(found.last().expect("one at least").arrival < length);
    }

    /// A sample keeps sessions whole, a smaller one is a part of a larger one, all is all, and it commutes with a window.
    #[test]
    fn a_sample_is_of_whole_sessions(lines in lines(), share in 0.05..0.95_f64, seed: u64, from_ms in 0..5_000_u64) {
        // Each of another length, so that requests are told apart.
        let told: Vec<Line> = (1..).zip(&lines).map(|(number, line)| (line.0, number, line.2, line.3)).collect();
        let (_folder, base) = table(&told);
        let whole = sessions(&read(&base));
        let sample = |sample: f64, window| specs(&shaped(&base, Shaping { sample, seed, window, ..Shaping::default() }));
        let some = sample(share, None);
        let all: Vec<_> = whole.values().collect();
        for turns in sessions(&some).values() {
            prop_assert!(all.contains(&turns), "{turns:?}");
        }
        let names = |specs: &[RequestSpec]| specs.iter().map(|spec| spec.prompt_tokens).collect::<BTreeSet<_>>();
        prop_assert!(names(&sample(share / 2.0, None)).is_subset(&names(&some)));
        prop_assert_eq!(sample(1.0, None).len(), lines.len());
        let window = Some(Window::Span { from: ms(from_ms), to: ms(from_ms + 5_000) });
        let in_window = names(&sample(1.0, window));
        let expected: BTreeSet<u32> = names(&some).intersection(&in_window).copied().collect();
        prop_assert_eq!(names(&sample(share, window)), expected);
    }

    /// Shuffled: times stay, requests are the same, a session's turns keep their order; the seed alone decides.
    #[test]
    fn a_shuffle_permutes_requests_among_times(lines in lines(), seed: u64) {
        let (_folder, base) = table(&lines);
        let shuffle = |seed| read(&shaped(&base, Shaping { shuffle: true, seed, ..Shaping::default() }));
        let (before, after) = (read(&base), shuffle(seed));
        let times = |specs: &[RequestSpec]| specs.iter().map(|spec| spec.arrival).collect::<Vec<_>>();
        prop_assert_eq!(times(&before), times(&after));
        let by_session = |specs: &[RequestSpec]| {
            let mut all: Vec<_> = sessions(specs).into_values().collect();
            all.sort();
            all
        };
        prop_assert_eq!(by_session(&before), by_session(&after));
        prop_assert_eq!(&after, &shuffle(seed));
    }

    /// Repeated: every lap is the first one later by one length, in sessions of its own; sums are multiples.
    #[test]
    fn a_repeated_trace_is_laps_of_itself(lines in lines(), repeat in 2..5_u32, with_rate in prop::bool::ANY) {
        let (_folder, base) = table(&lines);
        let rate_scale = if with_rate { 2.0 } else { 1.0 };
        let once = read(&base);
        let laps = read(&TraceWorkload { rate_scale: 1.0, ..shaped(&base, Shaping { repeat, ..Shaping::default() }) });
        prop_assert_eq!(laps.len(), once.len() * repeat as usize);
        let length = if laps.len() > once.len() { laps[once.len()].arrival } else { SimTime::ZERO };
        for (lap, part) in laps.chunks(once.len()).enumerate() {
            for (spec, first) in part.iter().zip(&once) {
                prop_assert_eq!(content(spec), content(first));
                prop_assert_eq!(spec.arrival.0, first.arrival.0 + lap as u64 * length.0);
            }
            let earlier: BTreeSet<u64> = laps[..lap * once.len()].iter().map(|spec| spec.session).collect();
            prop_assert!(part.iter().all(|spec| !earlier.contains(&spec.session)));
        }
        // A gap of average length lies between the laps, so the mean rate stays.
        if once.len() > 1 {
            let rate = |specs: &[RequestSpec]| (specs.len() - 1) as f64 / specs.last().expect("some").arrival.0.max(1) as f64;
            let (one, many) = (rate(&once), rate(&laps));
            prop_assert!((one / many - 1.0).abs() < 1e-6 || once.last().expect("some").arrival == SimTime::ZERO, "{one} {many}");
        }
        let fast = read(&TraceWorkload { rate_scale, ..shaped(&base, Shaping { repeat, ..Shaping::default() }) });
        let expected: Vec<u64> = laps.iter().map(|spec| (spec.arrival.0 as f64 / rate_scale).round() as u64).collect();
        prop_assert_eq!(fast.iter().map(|spec| spec.arrival.0).collect::<Vec<_>>(), expected);
    }
}

/// A Mooncake trace in which prompts share blocks, partial last ones too.
fn sharing() -> (TempDir, TraceWorkload) {
    let text = "{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 5, \"hash_ids\": [0, 7, 9]}\n\
        {\"timestamp\": 10, \"input_length\": 1030, \"output_length\": 6, \"hash_ids\": [0, 7, 9]}\n\
        {\"timestamp\": 20, \"input_length\": 2048, \"output_length\": 7, \"hash_ids\": [0, 7, 4, 5]}\n\
        {\"timestamp\": 30, \"input_length\": 3, \"output_length\": 7}\n";
    written("sharing.jsonl", text)
}

/// Tokens that two prompts begin with alike.
fn shared_tokens(one: &RequestSpec, other: &RequestSpec) -> u32 {
    let mut shared = 0;
    for (a, b) in one.prefix.iter().zip(&other.prefix) {
        if a.key != b.key {
            break;
        }
        shared += a.tokens.min(b.tokens);
        if a.tokens != b.tokens {
            break;
        }
    }
    shared
}

#[test]
fn scaled_prompts_share_what_they_shared_scaled() {
    let (_folder, base) = sharing();
    let before = read(&base);
    for prompt_scale in [0.001, 0.01, 0.3, 0.5, 1.5, 3.0, 10.0] {
        let after = read(&shaped(&base, Shaping { prompt_scale, ..Shaping::default() }));
        for (spec, was) in after.iter().zip(&before) {
            let scaled = (f64::from(was.prompt_tokens) * prompt_scale).round().max(1.0) as u32;
            assert_eq!((spec.prompt_tokens, spec.output_tokens), (scaled, was.output_tokens));
            assert!(spec.prefix.iter().map(|piece| piece.tokens).sum::<u32>() <= spec.prompt_tokens);
        }
        for (a, was_a) in after.iter().zip(&before) {
            for (b, was_b) in after.iter().zip(&before) {
                let scaled = f64::from(shared_tokens(was_a, was_b)) * prompt_scale;
                assert_eq!(f64::from(shared_tokens(a, b)), scaled.round(), "{prompt_scale}: {was_a:?} {was_b:?}");
            }
        }
    }
    let longer = read(&shaped(&base, Shaping { output_scale: 2.5, ..Shaping::default() }));
    assert_eq!(
        longer.iter().map(|spec| (spec.output_tokens, spec.max_output_tokens)).collect::<Vec<_>>(),
        [(13, 13), (15, 15), (18, 18), (18, 18)]
    );
    let error = TraceSource::open(&shaped(&base, Shaping { prompt_scale: 1e8, ..Shaping::default() })).err();
    let error = error.expect("too long").to_string();
    assert!(error.contains("sharing.jsonl:1: 100000000 times its prompt of 1100 tokens"), "{error}");
}

#[test]
fn repeated_prompts_are_others_unless_they_are_kept() {
    let (_folder, base) = sharing();
    let laps = |repeated_prefixes| read(&shaped(&base, Shaping { repeat: 2, repeated_prefixes, ..Shaping::default() }));
    let renamed = laps(RepeatedPrefixes::Renamed);
    let (first, second) = renamed.split_at(4);
    assert_eq!(shared_tokens(&first[0], &second[0]), 0);
    // Among each other they share what the first ones share.
    for a in 0..4 {
        for b in 0..4 {
            assert_eq!(shared_tokens(&first[a], &first[b]), shared_tokens(&second[a], &second[b]));
        }
    }
    let kept = laps(RepeatedPrefixes::Kept);
    assert!(kept[..4].iter().zip(&kept[4..]).all(|(first, second)| first.prefix == second.prefix));
}

#[test]
fn the_order_of_the_shaping_is_always_the_same() {
    let lines: Vec<Line> = (0..200).map(|index| (100, 1 + index, 1 + index % 7, Some((index % 40) as u8))).collect();
    let (_folder, base) = table(&lines);
    let window = Some(Window::Span { from: ms(2_000), to: ms(12_000) });
    let shaping =
        Shaping { window, sample: 0.5, shuffle: true, repeat: 3, output_scale: 2.0, seed: 9, ..Shaping::default() };
    let all = read(&TraceWorkload { total_requests: Some(120), ..shaped(&base, shaping.clone()) });
    let one_lap = read(&shaped(&base, Shaping { repeat: 1, ..shaping }));
    let unshuffled = read(&shaped(&base, Shaping { repeat: 1, shuffle: false, ..shaping }));
    let mut contents: Vec<_> = one_lap.iter().map(|spec| (spec.prompt_tokens, spec.output_tokens)).collect();
    assert_eq!(all[..one_lap.len()], one_lap[..]);
    assert_eq!(all.len(), 120.min(3 * one_lap.len()));
    let mut sampled: Vec<_> = unshuffled.iter().map(|spec| (spec.prompt_tokens, spec.output_tokens)).collect();
    assert_ne!(contents, sampled, "some shuffle leaves nothing in its place, and this seed's does not");
    contents.sort_unstable();
    sampled.sort_unstable();
    assert_eq!(contents, sampled);
    assert!(sampled.iter().all(|&(prompt, output)| (21..=120).contains(&prompt) && output % 2 == 0));
}

#[test]
fn what_is_out_of_range_is_refused() {
    let (_folder, base) = table(&[(1, 1, 1, None), (1, 1, 1, None)]);
    let default = Shaping::default;
    let to_late = Window::Span { from: ms(500), to: ms(400) };
    for (shaping, said) in [
        (Shaping { sample: 0.0, ..default() }, "sample is 0"),
        (Shaping { sample: 1.5, ..default() }, "sample is 1.5"),
        (Shaping { sample: f64::NAN, ..default() }, "sample is NaN"),
        (Shaping { prompt_scale: 0.0, ..default() }, "prompt_scale is 0"),
        (Shaping { output_scale: f64::INFINITY, ..default() }, "output_scale is inf"),
        (Shaping { repeat: 0, ..default() }, "repeat is 0"),
        (Shaping { window: Some(to_late), ..default() }, "not after its begin"),
        (Shaping { window: Some(Window::Peak { length: SimTime::ZERO }), ..default() }, "empty"),
        (Shaping { window: Some(Window::Span { from: ms(1_000), to: ms(2_000) }), ..default() }, "no request is left"),
    ] {
        let error = TraceSource::open(&shaped(&base, shaping)).err().expect("it cannot be").to_string();
        assert!(error.contains("trace.csv") && error.contains(said), "{error}");
    }
}

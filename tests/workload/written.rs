//! Loads written as traces read back as the same requests.

use std::fs;
use std::path::Path;

use llmperforacle::output::{LoadFile, LoadFileError, Loss, Target, Written};
use llmperforacle::workload::{
    Clock, Distribution, Images, PrefixPattern, SyntheticWorkload, TraceOptions, TraceWorkload, Turns, Workload,
};
use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use proptest::prelude::*;

use super::traces::{read, written};
use super::{constant, first_turns, profile, talker, workload};

fn file(path: &Path, target: Target) -> LoadFile {
    LoadFile {
        path: path.to_owned(),
        target,
        block_tokens: 512,
        dropped: Vec::new(),
        overwrite: false,
        encodes_images: true,
        profile_names: vec!["chat".to_owned(), "code".to_owned()],
    }
}

fn write(load: &Workload, file: &LoadFile) -> Result<Written, LoadFileError> {
    file.write(Turns::new(load.open().expect("a sound load").0), || None)
}

/// What the generic table says of a request.
fn told(spec: &RequestSpec) -> [u64; 8] {
    [
        spec.arrival.0,
        spec.prompt_tokens.into(),
        spec.output_tokens.into(),
        spec.max_output_tokens.into(),
        spec.session,
        spec.turn.into(),
        i64::from(spec.priority) as u64,
        spec.timeout.0,
    ]
}

/// The same, from the first arrival on, as traces are replayed.
fn from_the_first(specs: &[RequestSpec]) -> Vec<[u64; 8]> {
    let first = specs.first().map_or(0, |spec| spec.arrival.0);
    specs
        .iter()
        .map(told)
        .map(|[arrival, rest @ ..]| {
            let mut all = [arrival - first; 8];
            all[1..].copy_from_slice(&rest);
            all
        })
        .collect()
}

fn synthetic(seed: u64, rate: f64, has_priorities: bool, timeout_s: Option<f64>) -> SyntheticWorkload {
    let mut profiles = vec![profile("chat", rate), profile("code", rate / 3.0)];
    profiles[0].priority = has_priorities.then_some(Distribution::Uniform { low: 0.0, high: 5.0 });
    profiles[1].timeout_s = timeout_s;
    profiles.iter_mut().for_each(|profile| profile.streaming_probability = 1.0);
    SyntheticWorkload { seed, total_requests: Some(200), ..workload(profiles) }
}

/// The same with images in some prompts.
fn with_images(mut load: SyntheticWorkload) -> SyntheticWorkload {
    let count = Distribution::Uniform { low: 0.0, high: 3.0 };
    load.profiles[1].behaviour.images = Some(Images { count, tokens_each: 64, encoder_tokens_each: 256 });
    load
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_table_reads_back_as_the_same_requests(
        seed: u64, rate in 0.01..1e4_f64, has_priorities: bool, timeout_s in proptest::option::of(1e-3..1e4_f64),
    ) {
        let load = with_images(synthetic(seed, rate, has_priorities, timeout_s));
        let specs = first_turns(&load);
        prop_assert!(specs.iter().any(|spec| spec.encoder_tokens > 0));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("load.csv");
        let made = write(&Workload::Synthetic(load), &file(&path, Target::Csv)).expect("all can be said");
        prop_assert_eq!(made.requests, specs.len() as u64);
        let base = written("ignored.csv", "").1;
        let back = read(&TraceWorkload { path, ..base });
        prop_assert_eq!(from_the_first(&back), from_the_first(&specs));
    }

    /// Parquet says all of a load, so what is read is what was written, to the last bit of a request.
    #[test]
    fn parquet_reads_back_as_the_same_requests(
        seed: u64, rate in 0.01..1e4_f64, has_priorities: bool, timeout_s in proptest::option::of(1e-3..1e4_f64),
        streaming in 0.0..1.0_f64,
    ) {
        let mut load = with_images(synthetic(seed, rate, has_priorities, timeout_s));
        load.profiles[0].streaming_probability = streaming;
        load.profiles[1].conversational_probability = 0.5;
        load.prefix_patterns = vec![
            PrefixPattern { name: "long".to_owned(), weight: 2.0, pieces: vec![("a".to_owned(), 700), ("b".to_owned(), 90)], documents: None },
            PrefixPattern { name: "short".to_owned(), weight: 1.0, pieces: vec![("a".to_owned(), 700)], documents: None },
            PrefixPattern { name: "none".to_owned(), weight: 1.0, pieces: Vec::new(), documents: None },
        ];
        let load = Workload::Synthetic(load);
        let (source, facts) = load.open().expect("a sound load");
        let specs: Vec<RequestSpec> = Turns::new(source).map(|turn| turn.expect("it ends").spec).collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("load.parquet");
        let dropped = vec![Loss::Pauses];
        write(&load, &LoadFile { dropped, profile_names: facts.profile_names.clone(), ..file(&path, Target::Parquet) }).expect("all else can be said");
        let replay = TraceWorkload { path, ..written("ignored.csv", "").1 };
        let mut back = read(&replay);
        // Profiles are numbered in the order in which a file names them.
        let names = Workload::Trace(replay).open().expect("sound").1.profile_names;
        for spec in &mut back {
            let name = &names[usize::from(spec.profile)];
            spec.profile = facts.profile_names.iter().position(|known| known == name).expect("a known one") as u16;
        }
        prop_assert_eq!(back, specs);
    }

    /// Mooncake's blocks: two prompts share the whole blocks that lie within what they shared, and no token more than that.
    #[test]
    fn blocks_share_what_prompts_share(
        seed: u64, block_tokens in prop_oneof![Just(512_u32), Just(64), Just(16), 1..700_u32], pieces in proptest::collection::vec((0..3_u8, 1..1_500_u32), 0..4),
    ) {
        let pieces: Vec<(String, u32)> = pieces.iter().map(|(name, tokens)| (format!("piece{name}"), *tokens)).collect();
        let pattern = |name: &str, count: usize| PrefixPattern {
            name: name.to_owned(),
            weight: 1.0,
            pieces: pieces.iter().take(count).cloned().collect(),
            documents: None,
        };
        let mut load = synthetic(seed, 5.0, false, None);
        load.profiles.iter_mut().for_each(|profile| profile.output_tokens = None);
        load.total_requests = Some(30);
        load.prefix_patterns = (0..=pieces.len()).map(|count| pattern(&format!("pattern{count}"), count)).collect();
        let specs = first_turns(&load);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("load.jsonl");
        let to = LoadFile { block_tokens, ..file(&path, Target::Mooncake) };
        write(&Workload::Synthetic(load), &to).expect("all can be said");
        let options = TraceOptions {
            block_tokens: Some(block_tokens),
            clock: Some(Clock::Milliseconds),
            ..TraceOptions::default()
        };
        let replay = |path: &Path| TraceWorkload {
            path: path.to_owned(),
            options: options.clone(),
            ..written("ignored.csv", "").1
        };
        let back = read(&replay(&path));
        let basics = |specs: &[RequestSpec]| {
            from_the_first(specs).iter().map(|told| [told[0], told[1], told[2]]).collect::<Vec<_>>()
        };
        prop_assert_eq!(basics(&back), basics(&specs));
        for (a, was_a) in back.iter().zip(&specs) {
            // The whole prompt has names, as the tools that read these files want it.
            prop_assert_eq!(a.prefix.iter().map(|piece| piece.tokens).sum::<u32>(), a.prompt_tokens);
            for (b, was_b) in back.iter().zip(&specs).filter(|(b, _)| b.arrival != a.arrival) {
                let (now, before) = (shared_tokens(a, b), shared_tokens(was_a, was_b));
                prop_assert!(now <= before && now >= before / block_tokens * block_tokens, "{now} of {before}");
            }
        }
        // Written again, it is the same trace.
        let again = folder.path().join("again.jsonl");
        write(&Workload::Trace(replay(&path)), &LoadFile { block_tokens, ..file(&again, Target::Mooncake) }).expect("as before");
        let twice = read(&replay(&again));
        for (a, was_a) in twice.iter().zip(&back) {
            for (b, was_b) in twice.iter().zip(&back) {
                prop_assert_eq!(shared_tokens(a, b), shared_tokens(was_a, was_b));
            }
        }
    }
}

/// Tokens that two prompts begin with alike.
fn shared_tokens(one: &RequestSpec, other: &RequestSpec) -> u32 {
    let alike = one.prefix.iter().zip(&other.prefix).take_while(|(a, b)| a.key == b.key);
    alike.map(|(a, b)| a.tokens.min(b.tokens)).sum()
}

#[test]
fn what_a_format_cannot_say_is_refused_or_dropped_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("load.csv");
    let mut shared = synthetic(1, 5.0, true, Some(3.0));
    shared.prefix_patterns = vec![PrefixPattern {
        name: "all".to_owned(),
        weight: 1.0,
        pieces: vec![("system".to_owned(), 100)],
        documents: None,
    }];
    let shared = Workload::Synthetic(shared);
    let mut talking = workload(vec![talker("talker", 1.0)]);
    talking.accumulate_conversation = false;
    talking.total_requests = Some(40);
    let talking = Workload::Synthetic(talking);
    for (load, target, dropped, said) in [
        (
            &shared,
            Target::Csv,
            vec![],
            "the generic CSV cannot say; write Parquet (--to parquet), which says all, or leave it out with --drop prefixes",
        ),
        (&talking, Target::Parquet, vec![], "--drop pauses"),
        (&shared, Target::Mooncake, vec![Loss::Limits, Loss::Timeouts], "has the priority"),
        (&shared, Target::Mooncake, vec![Loss::Limits, Loss::Priorities], "is given up after 3 s"),
        (&shared, Target::Mooncake, vec![Loss::Priorities, Loss::Timeouts], "tokens of answer and has"),
        (&talking, Target::Csv, vec![], "after an answer, whenever that is"),
        (&talking, Target::Mooncake, vec![Loss::Limits, Loss::Pauses], "is turn 2 of a session"),
        (&talking, Target::Vidur, vec![Loss::Limits, Loss::Sessions], "--drop pauses"),
    ] {
        let error =
            write(load, &LoadFile { dropped, ..file(&path, target) }).expect_err("it cannot be said").to_string();
        assert!(error.starts_with("request ") && error.contains(said), "{target:?}: {error}");
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing is left");
    }
    let pictures = Workload::Synthetic(with_images(synthetic(1, 5.0, false, None)));
    let error = write(&pictures, &LoadFile { dropped: vec![Loss::Limits], ..file(&path, Target::Mooncake) });
    let error = error.expect_err("it cannot be said").to_string();
    assert!(error.contains("in the vision encoder") && error.contains("--drop images"), "{error}");
    let dropped = vec![Loss::Pauses];
    let made = write(&talking, &LoadFile { dropped, ..file(&path, Target::Csv) }).expect("it may be dropped");
    assert_eq!(made.requests, 40);
    assert!(made.notes.iter().any(|note| note.starts_with("pauses of ")), "{:?}", made.notes);
    // Turns of a session are still told.
    let back = read(&TraceWorkload { path: path.clone(), ..written("ignored.csv", "").1 });
    assert!(back.iter().any(|spec| spec.turn > 0));
    let error = write(&talking, &file(&path, Target::Csv)).expect_err("it is there").to_string();
    assert!(error.contains("is there already") && error.contains("--overwrite"), "{error}");
    let all = LoadFile {
        dropped: vec![Loss::Pauses, Loss::Sessions, Loss::Limits],
        overwrite: true,
        ..file(&path, Target::Vidur)
    };
    write(&talking, &all).expect("it may be replaced");
    assert!(fs::read_to_string(&path).expect("text").starts_with("arrived_at,num_prefill_tokens,num_decode_tokens\n"));
}

#[test]
fn turns_that_wait_come_after_their_pauses_when_answers_come_at_once() {
    let mut talking = workload(vec![talker("talker", 0.5)]);
    talking.total_requests = Some(300);
    talking.profiles[0].think_time_s = constant(2.0);
    let load = Workload::Synthetic(talking);
    let turns: Vec<_> = Turns::new(load.open().expect("sound").0).map(|turn| turn.expect("it ends")).collect();
    assert_eq!(turns.len(), 300);
    assert!(turns.is_sorted_by_key(|turn| turn.spec.arrival));
    for turn in turns.iter().filter(|turn| turn.spec.turn > 0) {
        assert_eq!(turn.pause, Some(SimTime(2_000_000_000)));
        let before = turns.iter().find(|t| (t.spec.session, t.spec.turn + 1) == (turn.spec.session, turn.spec.turn));
        assert_eq!(before.expect("it has come").spec.arrival + SimTime(2_000_000_000), turn.spec.arrival);
    }
    assert!(turns.iter().any(|turn| turn.spec.turn == 4) && turns.iter().all(|turn| turn.spec.turn < 5));
}

/// Turns that wait for answers are written as such, and wait for them again.
#[test]
fn sessions_of_mooncake_read_back_with_their_pauses() {
    let mut load = workload(vec![talker("talker", 1.0)]);
    load.total_requests = Some(300);
    load.profiles[0].priority = Some(Distribution::Uniform { low: -3.0, high: 3.0 });
    load.profiles[0].output_tokens = None;
    load.profiles[0].streaming_probability = 1.0;
    let load = Workload::Synthetic(load);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("load.jsonl");
    write(&load, &file(&path, Target::MooncakeSessions)).expect("all can be said");
    let options = TraceOptions { clock: Some(Clock::Milliseconds), ..TraceOptions::default() };
    let replay = Workload::Trace(TraceWorkload { path, options, ..written("ignored.csv", "").1 });
    let told = |load: &Workload| {
        let turns = Turns::new(load.open().expect("sound").0).map(|turn| turn.expect("it ends"));
        let turns: Vec<_> = turns.collect();
        let first = turns[0].spec.arrival;
        let told = turns.iter().map(|turn| {
            let spec = &turn.spec;
            let lengths = (spec.prompt_tokens, spec.output_tokens);
            (spec.arrival - first, turn.pause, lengths, spec.session, spec.turn, spec.priority)
        });
        told.collect::<Vec<_>>()
    };
    let (before, after) = (told(&load), told(&replay));
    assert_eq!(before.len(), 300);
    assert_eq!(after, before);
}

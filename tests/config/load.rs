//! `workload.load`, presets and distributions in a word: what they come to, and what is wrong with them.

use std::path::Path;

use llmperforacle::config::{LoadFlags, Overrides, Preset, ShapingFlags, TraceRun, from_trace, presets};
use llmperforacle::workload::{Course, Distribution, Load, Piece, Places, Rate, Starts, SyntheticWorkload, Workload};
use oracle_components::SimTime;

use crate::{good, lines, messages, replaced, resolve};

/// The good configuration with this load in place of the profile's gaps.
fn with_load(load: &str) -> String {
    let gaps = "      inter_arrival_time_dist_config: {type: Exponential, rate: 2.0}\n";
    replaced(gaps, "").replacen("  total_duration: 50\n", &format!("  total_duration: 50\n  load: {load}\n"), 1)
}

fn synthetic(text: &str) -> SyntheticWorkload {
    let resolved = good(text);
    assert_eq!(lines(&resolved.warnings), "");
    let Workload::Synthetic(workload) = resolved.workload else { panic!("there is no trace") };
    Workload::Synthetic(workload.clone()).open().expect("what resolves opens");
    workload
}

fn load_of(text: &str) -> Load {
    synthetic(&with_load(text)).load
}

#[test]
fn each_way_to_say_a_load_is_what_it_says() {
    let at_rate = |gaps| Some(Starts::Rate { gaps, rate: Rate::constant(5.0) });
    let poisson = || at_rate(Distribution::Exponential { rate: 1.0 });
    assert_eq!(load_of("{rate: 5}"), Load { starts: poisson(), places: None });
    let gamma = at_rate(Distribution::Gamma { shape: 0.25, scale: 4.0 });
    assert_eq!(load_of("{rate: 5, burstiness: 0.25}").starts, gamma);
    assert_eq!(load_of("{rate: 5, cv: 2}").starts, gamma);
    assert_eq!(load_of("{rate: 5, process: gamma, cv: 2}").starts, gamma);
    assert_eq!(load_of("{rate: 5, process: constant}").starts, at_rate(Distribution::Constant { value: 1.0 }));
    assert_eq!(load_of("{rate: 5, max_in_flight: 8}"), Load { starts: poisson(), places: Some(Places::of(8)) });
    let closed = Load { starts: Some(Starts::AtOnce), places: Some(Places { ramp_up_s: 9.0, ..Places::of(64) }) };
    assert_eq!(load_of("{concurrency: 64, ramp_up_s: 9}"), closed);
    let pause_s = Some(Distribution::Exponential { rate: 0.1 });
    let users = Load { starts: Some(Starts::AtOnce), places: Some(Places { pause_s, ..Places::of(7) }) };
    assert_eq!(load_of("{users: 7, think_time: 'exponential:10'}"), users);
    let Some(Starts::Rate { gaps: weibull, .. }) = load_of("{rate: 5, process: weibull, cv: 2}").starts else {
        panic!("it has a rate")
    };
    assert!((weibull.mean().expect("finite") - 1.0).abs() < 1e-12);
}

/// The good configuration with a `rate_scale`.
fn scaled(text: &str, factor: &str) -> String {
    text.replacen("  total_duration: 50\n", &format!("  total_duration: 50\n  rate_scale: {factor}\n"), 1)
}

#[test]
fn a_rate_scale_is_of_whatever_says_when_sessions_begin() {
    let rate_of = |text: &str| match synthetic(text).load.starts {
        Some(Starts::Rate { rate, .. }) => rate,
        other => panic!("{other:?}"),
    };
    for (rate, tripled) in [
        ("5", "15"),
        (
            "{type: Stages, stages: [{rate: 2, to_rate: 4, duration_s: 60}]}",
            "{type: Stages, stages: [{rate: 6, to_rate: 12, duration_s: 60}]}",
        ),
        (
            "{type: Ramp, from: 1, to: 4, over_s: 9, exponential: true}",
            "{type: Ramp, from: 3, to: 12, over_s: 9, exponential: true}",
        ),
        ("{type: Diurnal, mean: 2, swing: 0.25}", "{type: Diurnal, mean: 6, swing: 0.25}"),
        (
            "{type: OnOff, rate: 2, off_rate: 1, on_s: 3, off_s: 4}",
            "{type: OnOff, rate: 6, off_rate: 3, on_s: 3, off_s: 4}",
        ),
    ] {
        let load = |rate: &str| with_load(&format!("{{rate: {rate}}}"));
        assert_eq!(rate_of(&scaled(&load(rate), "3")), rate_of(&load(tripled)), "{rate}");
        assert_eq!(synthetic(&scaled(&load(rate), "1")), synthetic(&load(rate)));
    }
    // Gaps of profiles: the same requests, in half the time.
    let arrivals = |text: &str| {
        let (mut source, facts) = Workload::Synthetic(synthetic(text)).open().expect("it opens");
        let times = std::iter::from_fn(|| source.next_request()).map(|spec| spec.arrival.as_secs_f64());
        (times.take(40).collect::<Vec<_>>(), facts.mean_rate_per_s.expect("a rate"))
    };
    let good = replaced("", "");
    let ((slow, rate), (fast, doubled)) = (arrivals(&good), arrivals(&scaled(&good, "2")));
    assert_eq!(doubled, 2.0 * rate);
    assert!(slow.len() > 20 && slow.iter().zip(&fast).all(|(slow, fast)| (slow / 2.0 - fast).abs() < 1e-6));
    let closed = messages(&scaled(&with_load("{concurrency: 4}"), "2"));
    assert!(closed.contains("rate_scale: has no effect here") && closed.contains("load.concurrency"), "{closed}");
}

#[test]
fn rates_over_time_are_pieces() {
    let line = |seconds, from, to| Piece { seconds, course: Course::Line { from, to } };
    let rate_of = |text: &str| match load_of(&format!("{{rate: {text}}}")).starts {
        Some(Starts::Rate { rate, .. }) => rate,
        other => panic!("{other:?}"),
    };
    let pieces = |pieces, repeats| Rate::Pieces { pieces, repeats };
    assert_eq!(
        rate_of("{type: Stages, stages: [{rate: 2, duration_s: 60}, {rate: 2, to_rate: 9, duration_s: 30}]}"),
        pieces(vec![line(60.0, 2.0, 2.0), line(30.0, 2.0, 9.0)], false)
    );
    assert_eq!(
        rate_of("{type: Spikes, base: 2, peak: 40, every_s: 300, last_s: 10}"),
        pieces(vec![line(290.0, 2.0, 2.0), line(10.0, 40.0, 40.0)], true)
    );
    let exponential = Piece { seconds: 30.0, course: Course::Exponential { from: 1.0, to: 8.0 } };
    assert_eq!(
        rate_of("{type: Ramp, from: 1, to: 8, over_s: 30, exponential: true}"),
        pieces(vec![exponential, line(f64::INFINITY, 8.0, 8.0)], false)
    );
    let Rate::States(states) =
        rate_of("{type: Markov, states: [{rate: 1, mean_s: 5}, {rate: 2, mean_s: 5}, {rate: 3, mean_s: 5}]}")
    else {
        panic!("states")
    };
    assert_eq!(states[1].next, [1.0, 0.0, 1.0]);
}

/// Every line that the page shows.
#[test]
fn what_the_page_shows_resolves() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/workloads/synthetic.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let shown: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("      load: ")).collect();
    assert!(shown.len() >= 15, "{}", shown.len());
    for load in shown {
        let load = load.split(" #").next().unwrap_or(load);
        let mut text = with_load(load);
        if load.contains("at_once") {
            text = text.replacen("total_duration: 50", "total_requests_to_generate: 50", 1);
        }
        if load == "{max_in_flight: 64}" || load.trim_end() == "{max_in_flight: 64}" {
            text = replaced("  total_duration: 50\n", "  total_duration: 50\n  load: {max_in_flight: 64}\n");
        }
        synthetic(&text);
    }
}

/// The load ends with its stages, so nothing else need say when.
#[test]
fn stages_need_no_duration() {
    let text = with_load("{rate: {type: Stages, stages: [{rate: 2, duration_s: 60}]}}");
    assert_eq!(synthetic(&text.replacen("  total_duration: 50\n", "", 1)).duration, None);
}

#[test]
fn each_mistake_in_a_load_is_found() {
    let cases = [
        "{rate: 5, concurrency: 8}",
        "{rate: 0}",
        "{rate: fast}",
        "{rate: {type: Wave}}",
        "{rate: {from: 1}}",
        "{rate: {type: Ramp, from: 0, to: 8, over_s: 30, exponential: true}}",
        "{rate: {type: Spikes, base: 2, peak: 40, every_s: 10, last_s: 10}}",
        "{rate: {type: Stages, stages: [{rate: 0, duration_s: 10}]}}",
        "{rate: {type: OnOff, rate: 5, on_s: 0, off_s: 1}}",
        "{rate: {type: Markov, states: [{rate: 5, mean_s: 1}]}}",
        "{rate: {type: Markov, states: [{rate: 5, mean_s: 1, next: [1]}, {rate: 1, mean_s: 1}]}}",
        "{rate: 5, cv: 2, burstiness: 0.25}",
        "{rate: 5, process: poisson, cv: 2}",
        "{rate: 5, process: weibull, burstiness: 2}",
        "{rate: 5, process: at_once}",
        "{process: at_once}",
        "{rate: 5e6}",
        "{users: 5}",
        "{concurrency: 5, think_time: 3}",
        "{rate: 5, ramp_up_s: 3}",
        "{concurrency: 5, max_in_flight: 3}",
        "{concurrency: 0}",
        "{max_in_flight: 5}",
        "{}",
    ];
    let report = cases.map(|load| format!("# {load}\n{}\n", messages(&with_load(load)))).concat();
    insta::assert_snapshot!(report);
    // Two things that say when a session begins.
    let both = replaced("  total_duration: 50\n", "  total_duration: 50\n  load: {rate: 5}\n");
    assert!(messages(&both).contains("give one of the two"));
}

#[test]
fn distributions_in_a_word() {
    let prompt = |text: &str| {
        let text = replaced("{type: Constant, value: 100}", text);
        synthetic(&text).profiles[0].prompt_tokens.clone()
    };
    assert_eq!(prompt("512"), Distribution::Constant { value: 512.0 });
    assert_eq!(prompt("'512'"), Distribution::Constant { value: 512.0 });
    assert_eq!(prompt("uniform:100:900"), Distribution::Uniform { low: 100.0, high: 900.0 });
    assert_eq!(prompt("gamma:100:50"), Distribution::Gamma { shape: 4.0, scale: 25.0 });
    assert_eq!(prompt("lognormal:512:300"), prompt("{type: LogNormal, mean_tokens: 512, std_tokens: 300}"));
    let mean = prompt("lognormal:512:300").mean().expect("finite");
    assert!((mean - 512.0).abs() < 1e-9, "{mean}");
    assert_eq!(
        prompt("{type: Histogram, edges: [0, 10, 100], weights: [1, 3]}"),
        Distribution::Histogram { bins: vec![(1.0, 0.0, 10.0), (3.0, 10.0, 100.0)] }
    );
    let cases = [
        "lognormal:512",
        "normal:a:b",
        "zeta:3",
        "uniform:9:3",
        "exponential:0",
        "inf",
        "{type: Histogram}",
        "{type: Histogram, values: [1, 2], weights: [1]}",
        "{type: Histogram, edges: [5, 2, 3]}",
        "{type: Histogram, edges: [5]}",
    ];
    let report = cases.map(|word| format!("# {word}\n{}\n", messages(&replaced("{type: Constant, value: 100}", word))));
    insta::assert_snapshot!(report.concat());
}

fn of_preset(name: &str, more: &str) -> String {
    let gaps = good_without_profiles();
    gaps.replacen("  total_duration: 50\n", &format!("  total_duration: 50\n  preset: {name}\n{more}"), 1)
}

fn good_without_profiles() -> String {
    let (head, rest) = crate::GOOD.split_once("  client_profiles:").expect("it has profiles");
    let (_, tail) = rest.split_once("frameworks_to_test:").expect("it has frameworks");
    format!("{head}frameworks_to_test:{tail}")
}

#[test]
fn every_preset_resolves_opens_and_says_its_guesses() {
    for preset in presets() {
        let load = if preset.name == "batch" { "  total_requests_to_generate: 100\n" } else { "  load: {rate: 5}\n" };
        let resolved = good(&of_preset(preset.name, load));
        let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
        Workload::Synthetic(workload.clone()).open().expect("it opens");
        let told: Vec<String> = resolved.warnings.iter().map(|warning| warning.message.clone()).collect();
        let guesses = preset.guesses();
        assert_eq!(told.len(), guesses.len(), "{}: {told:?}", preset.name);
        assert!(guesses.iter().zip(&told).all(|(guess, told)| told.ends_with(guess)), "{told:?}");
        assert!(preset.about().len() > 20, "{}", preset.name);
    }
}

/// The means that the page tells are those of the files.
#[test]
fn presets_of_traces_have_the_means_of_the_traces() {
    for (name, prompt, output) in [("chat", 1154.7, 211.1), ("code", 2047.8, 27.9)] {
        let resolved = good(&of_preset(name, "  load: {rate: 5}\n"));
        let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
        let profile = &workload.profiles[0];
        for (distribution, mean) in [(&profile.prompt_tokens, prompt), (&profile.max_output_tokens, output)] {
            let found = distribution.mean().expect("finite");
            // Within two percentiles lengths are not quite alike.
            assert!((found / mean - 1.0).abs() < 0.05, "{name}: {found}, the trace has {mean}");
        }
    }
}

#[test]
fn keys_beside_a_preset_count_before_its_own() {
    let resolved = good(&of_preset("agent", "  load: {rate: 5}\n  max_turns_per_session: 3\n"));
    let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
    assert_eq!((workload.max_turns_per_session, workload.profiles[0].name.as_str()), (3, "agent"));
    let unknown = messages(&of_preset("chatt", "  load: {rate: 5}\n"));
    assert!(unknown.contains("did you mean chat?"), "{unknown}");
    let no_load = messages(&of_preset("chat", ""));
    assert!(no_load.contains("workload.load: {rate: 2.0}"), "{no_load}");
    let set = |set: &str| {
        let overrides = Overrides { set: vec![set.to_owned()], ..Overrides::default() };
        llmperforacle::config::load_text(of_preset("chat", "  load: {rate: 5}\n").as_bytes(), "test.yaml", &overrides)
    };
    let longer = set("workload.client_profiles[0].prompt_tokens_dist_config=7").expect("it reaches into the preset");
    let Workload::Synthetic(workload) = &longer.workload else { panic!("no trace") };
    assert_eq!(workload.profiles[0].prompt_tokens, Distribution::Constant { value: 7.0 });
    let changed = lines(&set("workload.preset=code").expect_err("its keys are there already"));
    assert!(changed.contains("change it in the file"), "{changed}");
    let names: Vec<&str> = presets().iter().map(|preset: &Preset| preset.name).collect();
    assert_eq!(names, ["chat", "code", "summarization", "reasoning", "agent", "rag", "batch", "mixed"]);
}

fn by_flags(load: LoadFlags) -> TraceRun {
    TraceRun {
        load,
        model: "Llama3-8B".to_owned(),
        device: "H100".to_owned(),
        replicas: 1,
        tensor_parallel: 1,
        pipeline_parallel: 1,
        ..TraceRun::default()
    }
}

#[test]
fn a_load_by_flags_needs_no_file() {
    let text = |text: &str| Some(text.to_owned());
    let lengths =
        || LoadFlags { prompt_tokens: text("1000"), output_tokens: text("lognormal:200:100"), ..LoadFlags::default() };
    let flags = LoadFlags { rate: text("5"), burstiness: Some(0.5), requests: Some(20), ..lengths() };
    let resolved =
        from_trace(&by_flags(flags), &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert_eq!(lines(&resolved.warnings), "");
    let name = "in1000-outlognormal_200_100-rate5-burstiness0.5-requests20-Llama3-8B-H100-tp1-pp1-x1";
    assert_eq!(resolved.output.directory, Path::new("output").join(name));
    assert_eq!(resolved.scenario.horizon, None);
    let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
    assert_eq!((workload.total_requests, workload.duration), (Some(20), None));
    assert_eq!(workload.profiles[0].prompt_tokens, Distribution::Constant { value: 1000.0 });

    // Neither how many nor how long: as many as vLLM's benchmark sends, and ten a client at the least.
    for (concurrency, requests) in [(64, 1000), (500, 5000)] {
        let flags = LoadFlags { concurrency: Some(concurrency), ..lengths() };
        let resolved = from_trace(&by_flags(flags), &Overrides::default()).expect("it resolves");
        assert!(lines(&resolved.warnings).contains(&format!("{requests} requests")));
        let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
        assert_eq!(workload.total_requests, Some(requests));
    }
    let flags = LoadFlags { rate: text("inf"), requests: Some(20), preset: text("chat"), ..LoadFlags::default() };
    let resolved = from_trace(&by_flags(flags), &Overrides::default()).expect("it resolves");
    let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
    assert_eq!(workload.load.starts, Some(Starts::AtOnce));

    let wrong = |flags| lines(&from_trace(&by_flags(flags), &Overrides::default()).expect_err("it is wrong"));
    let report = [
        wrong(LoadFlags { requests: Some(5), ..lengths() }),
        wrong(LoadFlags { requests: Some(5), rate: text("fast"), ..lengths() }),
        wrong(LoadFlags { requests: Some(5), rate: text("5"), prompt_tokens: text("long"), ..lengths() }),
        wrong(LoadFlags { rate: text("inf"), duration_s: Some(5.0), ..lengths() }),
        wrong(LoadFlags { rate: text("5"), duration_s: Some(-5.0), ..lengths() }),
        wrong(LoadFlags { rate: text("5"), requests: Some(5), preset: text("chats"), ..LoadFlags::default() }),
    ];
    insta::assert_snapshot!(report.join("\n"));
}

/// A trace's lengths at a rate of one's own, in a closed loop, and under a client that holds back.
#[test]
fn a_trace_comes_when_the_load_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.csv");
    let rows: String = (0..100).map(|row| format!("{},{},20\n", row * 100, 100 + row)).collect();
    std::fs::write(&path, format!("arrival_s,prompt_tokens,output_tokens\n{rows}")).expect("it can be written");
    let specs = |load: LoadFlags| {
        let run = TraceRun { trace: Some(path.clone()), ..by_flags(load) };
        let resolved = from_trace(&run, &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
        let (mut source, facts) = resolved.workload.open().expect("it opens");
        (std::iter::from_fn(|| source.next_request()).collect::<Vec<_>>(), facts)
    };
    let rate = |rate: &str, duration_s| LoadFlags { rate: Some(rate.to_owned()), duration_s, ..LoadFlags::default() };
    let (fast, facts) = specs(rate("50", None));
    let last_s = fast[99].arrival.as_secs_f64();
    assert!((1.0..4.0).contains(&last_s), "{last_s}");
    assert!(fast.iter().zip(100..).all(|(spec, prompt)| spec.prompt_tokens == prompt));
    assert_eq!((facts.expected_requests, facts.mean_rate_per_s), (Some(100), Some(50.0)));
    let (cut, facts) = specs(rate("50", Some(1.0)));
    assert!(cut.len() < 80 && cut.iter().all(|spec| spec.arrival < SimTime::from_secs_f64(1.0)));
    assert_eq!(facts.expected_requests, Some(50));
    let (at_once, _) = specs(rate("inf", None));
    assert!(at_once.len() == 100 && at_once.iter().all(|spec| spec.arrival == SimTime::ZERO));
    let (closed, _) = specs(LoadFlags { concurrency: Some(8), ..LoadFlags::default() });
    assert_eq!(closed.len(), 8, "the others wait for the ends of these");
    let (held, _) = specs(LoadFlags { max_in_flight: Some(8), ..LoadFlags::default() });
    assert_eq!(held[7].arrival, SimTime::from_secs_f64(700.0));
    let shaping = ShapingFlags { time_scale: Some(0.5), ..ShapingFlags::default() };
    let run = TraceRun { trace: Some(path.clone()), shaping, ..by_flags(rate("50", None)) };
    let resolved = from_trace(&run, &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert!(lines(&resolved.warnings).contains("workload.load says when sessions begin"));
}

/// What the page shows of profiles and patterns, and what is wrong beside it.
#[test]
fn behaviour_of_profiles_is_read_and_checked() {
    let profile = |more: &str| {
        replaced("      max_output_tokens_dist_config", &format!("{more}      max_output_tokens_dist_config"))
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/workloads/synthetic.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let keys = ["    reasoning:", "    tool_calls:", "    sub_agents:", "    images:"];
    let shown = page.lines().filter(|line| keys.iter().any(|key| line.starts_with(key)));
    let shown: String = shown.map(|line| format!("  {line}\n")).collect();
    assert_eq!(shown.lines().count(), 4);
    let behaviour =
        synthetic(&profile(&format!("      conversational_probability: 0.5\n{shown}"))).profiles[0].behaviour.clone();
    assert!(behaviour.reasoning.is_some_and(|reasoning| !reasoning.is_kept));
    assert!(behaviour.tool_calls.is_some_and(|tools| tools.probability == 0.9));
    assert!(
        behaviour.sub_agents.is_some()
            && behaviour.images.is_some_and(|images| (images.tokens_each, images.encoder_tokens_each) == (576, 2304))
    );

    let images = |more: &str| profile(&format!("      images: {{count: 1, tokens_each: 576{more}}}\n"));
    let warned = |more: &str| messages(&images(more)).contains("the time of the vision encoder is left out");
    assert_eq!(["", ", encoder_tokens_each: 0", ", encoder_tokens_each: 9"].map(warned), [true, false, false]);

    let cases = [
        "      tool_calls: {time: 2, result_tokens: 100}\n",
        "      sub_agents: {count: 2, prompt_tokens: 100, output_tokens: 10}\n",
        "      images: {count: 1, tokens_each: 576, encoder_tokens_each: 20000000}\n",
        "      length_correlation: 2\n",
        "      reasoning: {kept: true}\n",
    ];
    let report = cases.map(|more| format!("# {}\n{}\n", more.trim(), messages(&profile(more)))).concat();
    let patterns = [
        "{type: documents, name: a}",
        "{type: documents, name: a, documents: 10, document_tokens: 0}",
        "{type: random, documents: 10}",
    ];
    let pattern = |text: &str| {
        let more = format!(
            "  total_duration: 50\n  generate_prompt_tokens: true\n  prefix_patterns: {{patterns: [{text}]}}\n"
        );
        replaced("  total_duration: 50\n", &more)
    };
    let patterns = patterns.map(|text| format!("# {text}\n{}\n", messages(&pattern(text)))).concat();
    insta::assert_snapshot!(report + &patterns);
    let documents = synthetic(&pattern("{type: documents, name: a, documents: 10, document_tokens: 500}"));
    let documents = documents.prefix_patterns[0].documents.clone().expect("some");
    assert_eq!((documents.count, documents.popularity), (10, 1.0));
}

#[test]
fn a_file_with_a_load_by_name_is_checked_as_any_other() {
    assert!(resolve(&of_preset("chat", "  load: {rate: 5}\n  colour: red\n")).is_err());
}

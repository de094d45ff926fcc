//! Load by flags: what runs, what is refused, and that no loop spins for ever.

use crate::{Desk, assert_conserved, names_in, number};

const FIXED: &str = "run --model Llama3-8B --device H100 --prompt-tokens 500 --output-tokens 100";

#[test]
fn a_run_without_a_file_says_its_load_in_its_name() {
    let desk = Desk::small();
    let summary = desk.summary(&format!("{FIXED} --rate 20 --requests 200"));
    assert_conserved(&summary);
    assert_eq!(number(&summary, "/requests/successful"), 200.0);
    let names = names_in(&desk.path("output"));
    assert_eq!(names, ["in500-out100-rate20-requests200-Llama3-8B-H100-tp1-pp1-x1"]);
}

/// Little's law: of N clients, each with an answer in E on average, N / E answers come a second.
#[test]
fn a_closed_loop_keeps_its_concurrency() {
    let desk = Desk::small();
    let summary = desk.summary(&format!("{FIXED} --concurrency 32 --requests 2000"));
    assert_conserved(&summary);
    let e2e_s = number(&summary, "/latency/end_to_end_latency_ms/mean") / 1e3;
    let span_s = number(&summary, "/simulation/total_duration_s");
    let in_flight = 2000.0 * e2e_s / span_s;
    assert!((in_flight / 32.0 - 1.0).abs() < 0.03, "{in_flight}");
}

#[test]
fn a_loop_of_refusals_ends_with_an_error() {
    let desk = Desk::small();
    let told = desk.run(
        "run --model Llama3-8B --device H100 --prompt-tokens 50000 --output-tokens 10 --concurrency 4 --duration 6000 --quiet",
    );
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(
        told.err.contains("does nothing any more") && told.err.contains("100000 requests in a row"),
        "{}",
        told.err
    );
}

#[test]
fn flags_that_say_two_loads_or_none_are_refused() {
    let desk = Desk::small();
    for (arguments, says) in [
        (format!("{FIXED} --rate 5 --concurrency 4"), "cannot be used with"),
        (format!("{FIXED} --users 4"), "--think-time"),
        (format!("{FIXED} --concurrency 4 --max-in-flight 2"), "cannot be used with"),
        (format!("{FIXED} --requests 5"), "give --rate, --concurrency or --users"),
        (format!("{FIXED} --rate 5 --workload chat"), "cannot be used with"),
        ("run --rate 5 --model Llama3-8B --device H100".to_owned(), "nothing says how long prompts and answers are"),
        ("run --workload chat --rate 5".to_owned(), "--model NAME"),
        ("run small.yaml --rate 5".to_owned(), "--set 'workload.load.rate=5'"),
        (format!("{FIXED} --rate 5 --requests 0"), "0"),
    ] {
        let told = desk.run(&arguments);
        assert!(told.code == 2 && told.err.contains(says), "{arguments}\n{}", told.err);
    }
}

#[test]
fn what_has_no_effect_on_a_load_is_refused() {
    let desk = Desk::small();
    desk.write(
        "small.csv",
        "arrival_s,prompt_tokens,output_tokens,session_id\n0,900,20,a\n0.5,2000,10,a\n0.6,300,5,\n",
    );
    desk.write(
        "turns.jsonl",
        "{\"session_id\": \"a\", \"timestamp\": 0, \"input_length\": 100, \"output_length\": 5}\n",
    );
    let rate = format!("{FIXED} --rate 5 --requests 5");
    let trace = "run --trace small.csv --model Llama3-8B --device H100";
    let turns = "run --trace turns.jsonl --model Llama3-8B --device H100";
    let retimed = "has no effect where workload.load says when requests come";
    for (arguments, says) in [
        (format!("{rate} --window peak:1s"), "--window: of no effect without a trace"),
        (format!("{rate} --rate-scale 2"), "--rate-scale: of no effect without a trace"),
        (format!("{rate} --max-requests 2"), "--max-requests: of no effect without a trace"),
        (format!("{rate} --trace-format mooncake --skip-bad-rows"), "--trace-format, --skip-bad-rows: of no effect"),
        (format!("{trace} --rate 2 --set workload.trace.sessions=open"), retimed),
        (format!("{trace} --prompt-tokens 5 --output-tokens 5"), "either a trace or client_profiles"),
        (format!("{trace} --workload chat"), "either a trace or client_profiles"),
        (format!("{trace} --set workload.max_turns_per_session=3"), "has no effect on a trace"),
        (format!("{trace} --set workload.arrivals=independent"), "has no effect on a trace"),
        (format!("{trace} --set workload.generate_prompt_tokens=true"), "has no effect on a trace"),
        (
            format!("{turns} --trace-format mooncake-delta --set workload.trace.message_mode=history"),
            "contradicts the format mooncake-delta",
        ),
    ] {
        let told = desk.run(&arguments);
        assert!(told.code == 2 && told.err.contains(says), "{arguments}\n{}", told.err);
    }
    for arguments in [
        format!("{trace} --max-in-flight 1 --rate-scale 3"),
        format!("{trace} --rate 2 --set workload.trace.sessions=closed --rate-scale 3"),
        format!("{turns} --trace-format mooncake-delta --set workload.trace.message_mode=delta"),
    ] {
        let told = desk.run(&arguments);
        assert_eq!(told.code, 0, "{arguments}\n{}", told.err);
    }
    // The small file has a session, whose pause they change.
    for scale in ["--concurrency 2 --rate-scale 2", "--rate 2 --time-scale 2"] {
        let told = desk.run(&format!("{trace} {scale} -o none"));
        let says = "this changes only the recorded times of turns within one";
        assert!(told.code == 0 && told.err.contains(says), "{scale}\n{}", told.err);
    }
}

/// The load of flags is that which `run` has of them.
#[test]
fn a_load_by_flags_is_described_and_written() {
    let desk = Desk::small();
    let load = "--rate 20 --burstiness 0.5 --prompt-tokens uniform:100:900 --output-tokens 50 --requests 300 --seed 5";
    let told = desk.run(&format!("workload describe {load} --format json"));
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let figures: serde_json::Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert_eq!(number(&figures, "/requests"), 300.0);
    let told = desk.run(&format!("workload generate {load} -o load.csv"));
    assert_eq!(told.code, 0, "{}", told.err);
    let by_flags = desk.summary(&format!("run --model Llama3-8B --device H100 {load}"));
    let by_file = desk.summary("run --trace load.csv --model Llama3-8B --device H100 --seed 5");
    for figure in ["/requests/total", "/throughput/prompt_tokens_per_second", "/latency/end_to_end_latency_ms/mean"] {
        let (flags, file) = (number(&by_flags, figure), number(&by_file, figure));
        // A file counts from its first arrival.
        assert!((flags / file - 1.0).abs() < 0.02, "{figure}: {flags} by flags, {file} by file");
    }
    for (arguments, says) in [
        ("workload describe --workload chat --rate 5 --mfu 0.4", "--mfu is of a deployment"),
        ("workload describe --workload chat --rate 5 --set simulation.drain=true", "only keys of workload"),
        ("workload describe --workload chat --rate 5 --window peak:1s", "--window has no effect without a trace"),
        ("workload describe --workload chat --requests 5", "give --rate, --concurrency or --users"),
        ("workload describe --config small.yaml --rate 5", "--set 'workload.load.rate=5'"),
        ("workload describe --config small.yaml --skip-bad-rows", "--skip-bad-rows is for a trace"),
        ("workload generate small.yaml --rate 5 -o x.csv", "--set 'workload.load.rate=5'"),
        ("workload generate --rate 5 -o x.csv", "required"),
        ("workload presets nope", "no preset has"),
    ] {
        let told = desk.run(arguments);
        assert!(told.code == 2 && told.err.contains(says), "{arguments}\n{}", told.err);
    }
}

#[test]
fn presets_are_listed_with_numbers_and_sources() {
    let desk = Desk::small();
    let told = desk.run("workload presets --format json");
    let all: serde_json::Value = serde_json::from_str(&told.out).expect("it prints JSON");
    let all = all.as_array().expect("a list");
    assert_eq!(all.len(), 8);
    for preset in all {
        let source = preset["source"].as_str().expect("a text");
        assert!(source.len() > 15 && number(preset, "/profiles/0/mean_prompt_tokens") > 100.0, "{preset}");
        assert!(preset["guesses"].is_array());
    }
    let told = desk.run("workload presets chat");
    assert!(told.out.contains("1167 in a prompt on average, 213 in an answer"), "{}", told.out);
    assert!(told.out.contains("AzureLLMInferenceTrace_conv.csv") && !told.out.contains("agent"), "{}", told.out);
}

const FLAGS: &str = "--rate 5 --requests 60 --prompt-tokens 300 --output-tokens 30 --model Llama3.1-8B --device H100";

/// What is missing is named, and nothing else.
#[test]
fn a_load_by_flags_that_lacks_lengths_or_a_known_preset_says_so_alone() {
    let desk = Desk::small();
    let asked = "--rate 5 --model Llama3.1-8B --device H100";
    for words in [format!("run {asked}"), format!("plan {asked} --requests 9 --slo ttft_p99=1s")] {
        let told = desk.run(&words);
        let missing =
            "nothing says how long prompts and answers are; give --prompt-tokens and --output-tokens, or --workload";
        assert!(told.code == 2 && told.err.contains(missing), "{words}: {}", told.err);
        assert!(!told.err.contains("CONFIG") && told.err.matches("error").count() == 1, "{words}: {}", told.err);
        let told = desk.run(&format!("{words} --workload Chat"));
        assert!(told.code == 2 && told.err.contains("\"Chat\" is not a workload; did you mean chat?"), "{}", told.err);
        assert_eq!(told.err.matches("error").count(), 1, "{words}: {}", told.err);
    }
}

/// Flags of engines are keys of theirs: for a run, for a sweep by lists, and with a configuration the keys are named.
#[test]
fn flags_of_engines_say_what_their_keys_say() {
    let desk = Desk::small();
    let by_flags = "--quantization fp8 --max-num-seqs 2 --max-num-batched-tokens 2048 --router least_loaded";
    let key = "--set frameworks_to_test[*].config";
    let by_keys = format!(
        "{key}.weight_dtype=fp8 {key}.max_num_seqs=2 {key}.max_num_batched_tokens=2048 --set workload.load_balancing_strategy=least_loaded"
    );
    let one = desk.summary(&format!("run {FLAGS} {by_flags} --quiet --output none"));
    let other = desk.summary(&format!("run {FLAGS} {by_keys} --quiet --output none"));
    assert_eq!(one["latency"], other["latency"]);
    let plain = desk.summary(&format!("run {FLAGS} --quiet --output none"));
    assert_ne!(one["latency"], plain["latency"]);
    assert_eq!(desk.run(&format!("run {FLAGS} {by_flags} --quiet")).code, 0);
    assert!(desk.path("output").read_dir().expect("a folder").flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with("-x1-fp8-max-num-batched-tokens2048-max-num-seqs2-least_loaded")
    }));

    let swept = desk.run(&format!("sweep {FLAGS} --quantization bf16,fp8 --max-num-seqs 2 --quiet --format csv"));
    assert!(
        swept.code == 0 && swept.out.lines().count() == 3 && swept.out.contains("fp8"),
        "{}{}",
        swept.out,
        swept.err
    );

    for (command, seats) in [("run", "32"), ("sweep", "32,64")] {
        let told = desk.run(&format!("{command} small.yaml --max-num-seqs {seats} --quantization fp8"));
        let hints = [&format!("config.max_num_seqs={seats}'"), "'frameworks_to_test[*].config.weight_dtype=fp8'"];
        for hint in hints {
            assert!(told.code == 2 && told.err.contains(hint), "{command}: {}", told.err);
        }
    }
    for (command, flags, said) in [
        (
            "run",
            "--max-num-seqs 2 --set frameworks_to_test[0].config.max_num_seqs=16",
            "--max-num-seqs says 2 of it, too",
        ),
        (
            "run",
            "--router random --set workload.load_balancing_strategy=round_robin",
            "--router says \"random\" of it, too",
        ),
        (
            "sweep",
            "--max-num-seqs 2,4 --set frameworks_to_test[0].config.max_num_seqs=16",
            "--max-num-seqs says 2 of it, too",
        ),
    ] {
        let twice = desk.run(&format!("{command} {FLAGS} {flags} --quiet"));
        assert!(twice.code == 2 && twice.err.contains(said), "{command} {flags}: {}", twice.err);
    }
    let wrong = desk.run(&format!("run {FLAGS} --max-num-seqs 0"));
    assert!(wrong.code == 2 && wrong.err.contains("--max-num-seqs: error: "), "{}", wrong.err);
}

/// vLLM's methods of one format are that format; of the others the names to choose from are told.
#[test]
fn methods_of_vllm_are_formats_where_they_are_one() {
    let desk = Desk::small();
    let latency = |word: &str| {
        desk.summary(&format!("run {FLAGS} --quantization {word} --quiet --output none"))["latency"].clone()
    };
    for (word, name) in [("awq", "int4"), ("awq_marlin", "int4_g128"), ("fp8_e4m3", "fp8"), ("modelopt_fp4", "nvfp4")] {
        assert_eq!(latency(word), latency(name), "{word}");
    }
    for (word, names) in [("gptq", "write int4_g128"), ("compressed-tensors", "what the checkpoint holds: fp8")] {
        for command in ["run", "plan --slo ttft_p99=1s"] {
            let told = desk.run(&format!("{command} {FLAGS} --quantization {word}"));
            let said = format!("\"{word}\" may be one of several formats; write ");
            assert!(told.code == 2 && told.err.contains(&said) && told.err.contains(names), "{}", told.err);
        }
    }
}

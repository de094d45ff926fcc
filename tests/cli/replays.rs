//! A run's own requests as a trace: the same deployment gives the same bytes. And the files of others, by what is said of them.

use std::fs;

use serde_json::Value;

use super::{Desk, number};

/// All that a request can be: shared beginnings, conversations, priorities, clients that give up, answers that are cut or whole.
const HARDWARE: &str = "\
simulation: {drain: true, random_seed: 3}
hardware_profile:
  compute_devices: [{device_id: gpu, device: A100-80GB, count: 2}]
  network_links:
    - {link_id: uplink, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 1e8, latency_s: 0.0001}
frameworks_to_test:
  - name: engine
    type: VLLM
    replicas: 2
    config: {model_profile_id: Llama3-8B, gpu_id: gpu0, scheduling_policy: priority, max_num_seqs: 16, num_gpu_blocks_override: 1500, max_model_len: 6000}
metrics_config: {warm_up_duration_s: 5}
";

const WORKLOAD: &str = "
workload:
  total_requests_to_generate: 600
  load_balancing_strategy: session_affinity
  generate_prompt_tokens: true
  slo: {ttft_ms: 1500, e2e_ms: 20000.5}
  prefix_patterns:
    patterns:
      - {type: system, name: long, tokens: 1500}
      - {type: mixed, name: two, components: [{type: system, name: a, tokens: 300}, {type: few_shot, name: b, tokens: 700}]}
      - {type: random}
  client_profiles:
    - profile_name: \"chat, fast\"
      inter_arrival_time_dist_config: {type: Exponential, rate: 12.0}
      prompt_tokens_dist_config: {type: LogNormal, mean_tokens: 500, std_tokens: 900}
      max_output_tokens_dist_config: {type: Uniform, low: 10, high: 300}
      output_tokens_dist_config: {type: Uniform, low: 5, high: 250}
      conversational_probability: 0.6
      user_priority_dist_config: {type: Uniform, low: 0, high: 3}
      streaming_response_probability: 0.7
      timeout_s: 9.5
      slo: {tpot_ms: 33.333333333, itl_ms: 400}
      images: {count: {type: Histogram, values: [0, 1, 2], weights: [6, 3, 1]}, tokens_each: 64, encoder_tokens_each: 256}
    - profile_name: batch
      inter_arrival_time_dist_config: {type: Exponential, rate: 9.0}
      prompt_tokens_dist_config: {type: Uniform, low: 100, high: 7000}
      max_output_tokens_dist_config: {type: Constant, value: 40}
      conversational_probability: 0.2
";

#[test]
fn a_run_replays_itself_to_the_byte() {
    let desk = Desk::small();
    desk.write("run.yaml", &format!("{HARDWARE}{WORKLOAD}"));
    let first = desk.summary("run run.yaml -q -o first");
    for status in ["successful", "failed", "timeout"] {
        assert!(number(&first, &format!("/requests/{status}")) > 10.0, "{status}: {first}");
    }
    let requests = desk.read("first/requests.csv");
    for name in ["requests.csv", "requests.parquet"] {
        let trace =
            format!("\nworkload: {{load_balancing_strategy: session_affinity, trace: {{path: first/{name}}}}}\n");
        desk.write("replay.yaml", &format!("{HARDWARE}{trace}"));
        let again = desk.summary("run replay.yaml -q -o again");
        assert!(desk.read("again/requests.csv") == requests, "{name}: another run");
        for key in
            ["requests", "latency", "prefix_caching", "throughput", "engines", "per_profile", "links", "slo", "encoder"]
        {
            assert!(first[key].is_object() && first[key] == again[key], "{name}: {key}");
        }
    }
}

/// Case 07: a system prompt of 16,384 tokens, which a replay without it computes for every request.
#[test]
fn a_replay_keeps_shared_prefixes() {
    let desk = Desk::small();
    desk.write(
        "run.yaml",
        "\
simulation: {drain: true, random_seed: 1}
hardware_profile: {compute_devices: [{device_id: gpu, device: H100, count: 1}]}
workload:
  total_requests_to_generate: 100
  generate_prompt_tokens: true
  prefix_patterns: {patterns: [{type: system, name: big, tokens: 16384}]}
  client_profiles:
    - profile_name: p
      inter_arrival_time_dist_config: {type: Exponential, rate: 20}
      prompt_tokens_dist_config: {type: Constant, value: 256}
      max_output_tokens_dist_config: {type: Constant, value: 8}
frameworks_to_test:
  - {name: e, type: VLLM, config: {model_profile_id: Llama3.1-8B, gpu_id: gpu0}}
",
    );
    let first = desk.summary("run run.yaml -q -o out7");
    // As a user would sort it.
    let text = desk.read("out7/requests.csv");
    let (header, rows) = text.split_once('\n').expect("it has rows");
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_by_key(|row| row.split(',').nth(6).map(|time| time.parse::<f64>().map_or(0, |s| (s * 1e9) as u64)));
    desk.write("out7.csv", &format!("{header}\n{}\n", rows.join("\n")));
    for trace in ["out7.csv", "out7/requests.csv", "out7/requests.parquet"] {
        let again = desk.summary(&format!("run --trace {trace} --model Llama3.1-8B --device H100 -q -o again"));
        for key in ["latency", "prefix_caching"] {
            assert!(first[key].is_object() && first[key] == again[key], "{trace}: {key}");
        }
    }
    // A file of an earlier version lacks what was shared.
    let short: String = text.lines().map(|row| row.split(',').take(28).collect::<Vec<_>>().join(",") + "\n").collect();
    desk.write("old.csv", &short);
    let told = desk.run("run --trace old.csv --model Llama3.1-8B --device H100 --output none");
    assert_eq!(told.code, 2, "{}", told.err);
    assert!(
        told.err.contains("cached_prefix_length is 16384") && told.err.contains("a replay would miss it"),
        "{}",
        told.err
    );
}

#[test]
fn flags_say_what_a_trace_does_not() {
    let desk = Desk::small();
    desk.write("own.csv", "1,in,Request tokens\n0,100,5\n250,200,6\nmany,1,1\n");
    let told = desk.run(
        "run --trace own.csv --model Llama3-8B --device A100 --output none --format json \
         --trace-columns arrival_ms=1,prompt=in,output=Request\u{a0}tokens --skip-bad-rows",
    );
    assert_eq!(told.code, 2, "{}", told.err);
    let words: Vec<&str> = "run --trace own.csv --model Llama3-8B --device A100 --output none --format json --skip-bad-rows --trace-columns"
        .split_whitespace()
        .chain(["arrival_ms=1,prompt=in,output=Request tokens"])
        .collect();
    let told = desk.run_words(&words);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.contains("warning: own.csv, read as") && told.err.contains("1 bad rows skipped"), "{}", told.err);
    let summary: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert_eq!(number(&summary, "/requests/total"), 2.0);

    let small = r#"{"timestamp":0,"input_length":655,"output_length":52,"hash_ids":[1,2,3,4,5,6,7,8,9,10,11]}"#;
    desk.write("blocks64.jsonl", small);
    let run = "run --trace blocks64.jsonl --model Llama3-8B --device A100 --output none";
    assert!(desk.run(run).err.contains("--trace-block-size 64"));
    assert_eq!(desk.run(&format!("{run} --trace-block-size 64")).code, 0);
    let twice = desk.run(
        "run --trace own.csv --model Llama3-8B --device A100 --trace-columns arrival=1,prompt=in,output=in,arrival=2",
    );
    assert!(twice.code == 2 && twice.err.contains("--trace-columns: arrival is given twice"), "{}", twice.err);
    let wrong = desk.run("run --trace own.csv --model Llama3-8B --device A100 --trace-columns arrival,prompt=in");
    assert!(wrong.code == 2 && wrong.err.contains("WHAT=NAME"), "{}", wrong.err);
    let unknown =
        desk.run("run --trace own.csv --model Llama3-8B --device A100 --trace-columns arival=1,prompt=in,output=in");
    assert!(unknown.code == 2 && unknown.err.contains("arival") && unknown.err.contains("arrival"), "{}", unknown.err);
}

/// The encoder's time in TTFT: a lone request's first token comes later by its tokens times their price, and the run says on what
/// guess that rests.
#[test]
fn images_delay_the_first_token_by_what_the_encoder_takes() {
    let desk = Desk::small();
    desk.write("lmm.csv", "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15T00:00:00Z,3,1000,7\n");
    let run = "run --trace lmm.csv --model Llama3-8B --device H100 --image-tokens 0";
    let plain = desk.summary(&format!("{run} --output none"));
    let encoded = desk.summary(&format!("{run} --encoder-tokens 1024 -q -o out"));
    assert!(plain["encoder"].is_null());
    let is_of_encoder = |taken: &&Value| taken["key"] == "encoder_token_s";
    let defaults = |summary: &Value| summary["defaults"].as_array().expect("a list").clone();
    assert_eq!(defaults(&plain).iter().filter(is_of_encoder).count(), 0);
    let defaults = defaults(&encoded);
    let taken = defaults.iter().find(is_of_encoder).expect("it acted");
    assert!(taken["reason"].as_str().is_some_and(|reason| reason.starts_with("a guess")), "{taken}");
    let price_s: f64 = taken["value"].as_str().and_then(|text| text.parse().ok()).expect("a number");
    let ttft_ms = |summary: &Value| number(summary, "/latency/time_to_first_token_ms/mean");
    let later_ms = ttft_ms(&encoded) - ttft_ms(&plain);
    assert!((later_ms - 3.0 * 1024.0 * price_s * 1e3).abs() < 1e-5, "{later_ms} ms at {price_s} s");
    assert_eq!(number(&encoded, "/encoder/tokens"), 3072.0);
    assert!((number(&encoded, "/encoder/busy_s") - 3072.0 * price_s).abs() < 1e-12);
    let column = |row: &str| row.rsplit(',').next().map(str::to_owned);
    let text = desk.read("out/requests.csv");
    assert_eq!(text.lines().filter_map(column).collect::<Vec<_>>(), ["encoder_tokens", "3072"]);
    let told = desk.run(&format!("{run} --encoder-tokens 1024 --output none"));
    assert!(told.out.contains("Encoder") && told.out.contains("a guess"), "{}", told.out);
    let silent = desk.run(&format!("{run} --output none"));
    assert!(silent.err.contains("warning: ") && silent.err.contains("--encoder-tokens N"), "{}", silent.err);
    assert!(!silent.out.contains("Encoder"), "{}", silent.out);
}

#[test]
fn archives_are_traces() {
    let desk = Desk::small();
    let packed = zstd::encode_all(desk.read("trace.csv").as_bytes(), 1).expect("memory takes it");
    fs::write(desk.path("trace.csv.zst"), packed).expect("it can be written");
    let plain = desk.summary("run --trace trace.csv --model Llama3-8B --device A100 --output none");
    let unpacked = desk.summary("run --trace trace.csv.zst --model Llama3-8B --device A100 --output none");
    assert_eq!(plain["latency"], unpacked["latency"]);
    assert_eq!(number(&unpacked, "/requests/total"), 4.0);
}

/// Where the load says when sessions begin, a later turn comes after the one before it is answered, by the pause that was between them.
#[test]
fn turns_follow_their_session_where_the_load_says_when_it_begins() {
    let desk = Desk::small();
    let rows = ["0,500,20,b", "100,900,20,a", "110,1500,20,a", "200,300,10,c"];
    desk.write("s.csv", &format!("arrival_s,prompt_tokens,output_tokens,session_id\n{}\n", rows.join("\n")));
    for (load, pause_s) in [("--concurrency 2", 10.0), ("--rate 0.1", 10.0)] {
        desk.summary(&format!("run --trace s.csv --model Llama3.1-8B --device H100 {load} -q -o out"));
        let text = desk.read("out/requests.csv");
        let arrival = |prompt: &str| {
            let row = text.lines().map(|row| row.split(',').collect::<Vec<_>>()).find(|row| row[3] == prompt);
            row.and_then(|row| row[6].parse::<f64>().ok()).expect("it was sent")
        };
        assert!((arrival("1500") - arrival("900") - pause_s).abs() < 1e-6, "{load}: {text}");
    }
}

//! `compare`: sides, significance, where the time goes, what cannot be compared.

use std::fs;

use llmperforacle::compare::{Part, RequestTimes, read_times};
use proptest::prelude::*;
use serde_json::Value;

use crate::{Desk, number};

/// A run of the small deployment in a folder.
fn ran(desk: &Desk, folder: &str, flags: &str) {
    let told = desk.run(&format!("run small.yaml -q -o {folder} {flags}"));
    assert_eq!(told.code, 0, "{}", told.err);
}

fn compared(desk: &Desk, arguments: &str) -> Value {
    let told = desk.run(&format!("compare {arguments} --format json"));
    assert_eq!(told.code, 0, "{arguments}: {}", told.err);
    serde_json::from_str(&told.out).expect("it prints JSON")
}

/// What a comparison says of a figure of its first pair.
fn figure<'a>(comparison: &'a Value, key: &str) -> &'a Value {
    let figures = comparison["pairs"][0]["figures"].as_array().expect("figures");
    figures.iter().find(|figure| figure["figure"] == key).unwrap_or_else(|| panic!("no {key}"))
}

fn parts(comparison: &Value) -> Vec<Value> {
    comparison["pairs"][0]["parts_ms"].as_array().expect("parts").clone()
}

#[test]
fn runs_are_grouped_by_seeds_and_a_slow_side_is_seen_to_be_slow() {
    let desk = Desk::small();
    for seed in 1..=4 {
        ran(&desk, &format!("few{seed}"), &format!("--seed {seed} --set frameworks_to_test[*].config.max_num_seqs=4"));
        ran(
            &desk,
            &format!("many{seed}"),
            &format!("--seed {seed} --set frameworks_to_test[*].config.max_num_seqs=64"),
        );
    }
    let comparison = compared(&desk, "many3 few2 many1 few4 few1 many2 few3 many4");
    let sides = comparison["sides"].as_array().expect("sides");
    assert_eq!(sides.len(), 2);
    let seeds: Vec<&Value> = sides[1]["runs"].as_array().expect("runs").iter().map(|run| &run["seed"]).collect();
    assert_eq!(seeds, [1, 2, 3, 4]);
    let pair = &comparison["pairs"][0];
    assert_eq!((&pair["a"], &pair["b"], &pair["test"]), (&"A".into(), &"B".into(), &"paired_t".into()));
    let changed: Vec<&Value> =
        pair["changed"].as_array().expect("keys").iter().map(|changed| &changed["key"]).collect();
    assert_eq!(changed, ["frameworks_to_test[0].config.max_num_seqs", "frameworks_to_test[1].config.max_num_seqs"]);
    // Four seats are too few: requests wait, and that is what makes the first token late.
    let ttft = figure(&comparison, "ttft_mean_ms");
    assert!(number(ttft, "/difference") > 0.0 && number(ttft, "/p") < 0.05, "{ttft}");
    assert!(number(ttft, "/interval_95/0") > 0.0, "{ttft}");
    let queue = parts(&comparison).into_iter().find(|part| part["part"] == "queue").expect("a queue");
    assert!(number(&queue, "/difference") > 0.9 * number(ttft, "/difference"), "{queue}");
    let text = desk.run("compare many1 few1 many2 few2").out;
    assert!(text.contains("  why       mean TTFT is ") && text.contains(" ms longer in B: queue +"), "{text}");
}

#[test]
fn means_are_those_of_the_summaries_and_parts_make_them_up() {
    let desk = Desk::small();
    ran(&desk, "a", "");
    ran(&desk, "b", "--set frameworks_to_test[*].config.max_num_batched_tokens=512");
    let comparison = compared(&desk, "a b");
    for (side, folder) in ["a", "b"].iter().enumerate() {
        let summary = desk.json(&format!("{folder}/summary.json"));
        for (key, pointer) in [
            ("ttft_mean_ms", "/latency/time_to_first_token_ms/mean"),
            ("e2e_p99_ms", "/latency/end_to_end_latency_ms/p99"),
            ("requests_per_s", "/throughput/requests_per_second"),
        ] {
            assert_eq!(number(figure(&comparison, key), &format!("/means/{side}")), number(&summary, pointer), "{key}");
        }
        let mean = |part: &Value| number(part, &format!("/means/{side}"));
        let (mut ttft, mut e2e) = (0.0, 0.0);
        for part in parts(&comparison) {
            ttft += if part["share_of_ttft"].is_array() { mean(&part) } else { 0.0 };
            e2e += mean(&part);
        }
        let near = |sum: f64, pointer: &str| (sum - number(&summary, pointer)).abs() < 1e-6;
        assert!(near(ttft, "/latency/time_to_first_token_ms/mean"), "{ttft}");
        assert!(near(e2e, "/latency/end_to_end_latency_ms/mean"), "{e2e}");
    }
    // One seed each: no word of significance but that there is none.
    assert!(figure(&comparison, "ttft_mean_ms")["p"].is_null() && comparison["pairs"][0]["test"].is_null());
    let told = desk.run("compare a b");
    assert!(told.out.contains("a single seed says nothing of significance") && !told.out.contains("interval"));
}

#[test]
fn configurations_are_simulated_with_every_seed() {
    let desk = Desk::small();
    desk.write(
        "wide.yaml",
        &crate::SMALL.replace("model_profile_id: Llama3-8B", "model_profile_id: Llama3-8B, max_num_seqs: 64"),
    );
    let comparison = compared(&desk, "small.yaml wide.yaml --repeat 3");
    let seeds = |side: usize| {
        let runs = comparison["sides"][side]["runs"].as_array().expect("runs").clone();
        runs.iter().map(|run| run["seed"].as_u64().expect("a seed")).collect::<Vec<_>>()
    };
    assert_eq!((seeds(0), seeds(1)), (vec![5, 6, 7], vec![5, 6, 7]));
    // Its own seed alone is the run of `run`, and a folder and a configuration stand side by side.
    ran(&desk, "own", "");
    let mixed = compared(&desk, "own wide.yaml");
    let summary = desk.json("own/summary.json");
    let (ttft, pointer) = (figure(&mixed, "ttft_mean_ms"), "/latency/time_to_first_token_ms/mean");
    assert_eq!(number(ttft, "/means/0"), number(&summary, pointer));
    assert_eq!(number(ttft, "/means/1"), number(&desk.summary("run wide.yaml -q -o none"), pointer));
    assert!(!desk.path("output").exists());
    let told = desk.run("compare small.yaml wide.yaml --set metrics_config.warm_up_duration_s=0 -l warning");
    assert_eq!((told.code, told.err.as_str()), (0, ""));
}

#[test]
fn another_load_or_a_part_of_a_run_is_said_loudly_and_compared() {
    let desk = Desk::small();
    ran(&desk, "a", "");
    ran(&desk, "b", "--set workload.total_duration=15 --set metrics_config.warm_up_duration_s=1");
    let told = desk.run("compare a b");
    assert_eq!(told.code, 0);
    for said in
        ["warning: A and B do not serve the same load (workload.total_duration)", "A and B count other requests"]
    {
        assert!(told.err.contains(said), "{}", told.err);
    }
    assert!(told.out.starts_with("Caution "), "{}", told.out);
    let manifest = desk.read("a/manifest.json").replace("\"partial\": false", "\"partial\": true");
    desk.write("a/manifest.json", &manifest);
    assert!(desk.run("compare a b").err.contains("warning: a was stopped early"));
}

#[test]
fn what_cannot_be_compared_is_said_and_the_rest_is() {
    let desk = Desk::small();
    ran(&desk, "a", "");
    ran(&desk, "b", "--mfu 0.3");
    ran(&desk, "seeded", "--seed 6");
    fs::create_dir(desk.path("empty")).expect("it can be made");
    let copy = |name: &str, change: &dyn Fn(&str)| {
        fs::create_dir(desk.path(name)).expect("it can be made");
        for file in ["manifest.json", "summary.json", "requests.parquet"] {
            fs::copy(desk.path("b").join(file), desk.path(name).join(file)).expect("it can be copied");
        }
        change(name);
    };
    copy("cut", &|name| {
        let bytes = fs::read(desk.path("b/requests.parquet")).expect("it is there");
        fs::write(desk.path(name).join("requests.parquet"), &bytes[..bytes.len() / 2]).expect("it can be written");
    });
    copy("other", &|name| {
        fs::copy(desk.path("seeded/requests.parquet"), desk.path(name).join("requests.parquet"))
            .expect("it can be copied");
    });
    copy("halved", &|name| desk.write(&format!("{name}/manifest.json"), "{\"program\": \"llmperf"));
    copy("stranger", &|name| desk.write(&format!("{name}/manifest.json"), "{}"));
    copy("swapped", &|name| {
        fs::copy(desk.path("seeded/summary.json"), desk.path(name).join("summary.json")).expect("it can be copied");
    });
    copy("bare", &|name| fs::remove_file(desk.path(name).join("summary.json")).expect("it is there"));
    ["broken.yaml", "broken2.yaml"].iter().for_each(|name| desk.write(name, "simulation: ["));
    desk.pipe("pipe");
    for (arguments, said) in [
        ("a", "2 values required"),
        ("a a", "a and a are the same run: one configuration, seed 5"),
        ("a seeded", "there is nothing to compare with: these are one configuration in 2 seeds"),
        ("a nowhere", "nowhere"),
        ("nowhere elsewhere", "elsewhere"),
        ("broken.yaml broken2.yaml", "broken2.yaml"),
        ("empty halved", "halved/manifest.json is damaged"),
        ("small.yaml pipe", "pipe: configurations are read again for every seed"),
        ("a empty", "empty holds no run: there is no manifest.json"),
        ("a cut", "cut/requests.parquet cannot be read"),
        ("a other", "rows, its manifest says"),
        ("a halved", "halved/manifest.json is damaged"),
        ("a stranger", "stranger/manifest.json is not of a run of this program"),
        ("a bare", "cannot read bare/summary.json"),
        ("a swapped", "swapped/summary.json has"),
        ("a b --repeat 3", "--repeat is for configurations"),
        ("a b --seed 3", "--seed is for configurations"),
        ("a -", "not standard input"),
        ("a trace.csv", "trace.csv"),
        ("small.yaml b --repeat 0", "--repeat"),
    ] {
        let told = desk.run(&format!("compare {arguments}"));
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}: {}", told.err);
        assert!(told.err.contains(said), "{arguments}: {}", told.err);
    }
    // Runs of two versions of the program are two sides, of whatever seeds, and the difference may be the program's.
    copy("older", &|name| {
        let manifest = desk.read("a/manifest.json").replace("\"version\": \"", "\"version\": \"0.0.");
        desk.write(&format!("{name}/manifest.json"), &manifest);
        for file in ["summary.json", "requests.parquet"] {
            fs::copy(desk.path("a").join(file), desk.path(name).join(file)).expect("it can be copied");
        }
    });
    let told = desk.run("compare a older");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.contains("A and B are of other versions of the program"), "{}", told.err);
    let told = desk.run("compare a b empty --format csv");
    assert!(told.code == 2 && told.out.starts_with("a,b,figure,"), "{}\n{}", told.out, told.err);
}

#[test]
fn every_format_has_the_same_figures() {
    let desk = Desk::small();
    let arguments = "small.yaml configs.yaml --repeat 2";
    desk.write("configs.yaml", &crate::SMALL.replace("A100-80GB", "H100"));
    let json = compared(&desk, arguments);
    let csv = desk.run(&format!("compare {arguments} --format csv")).out;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("rows are as long as the head")).collect();
    let row = rows.iter().find(|row| &row[2] == "ttft_p99_ms").expect("it is there");
    let ttft = figure(&json, "ttft_p99_ms");
    for (column, pointer) in [(3, "/means/0"), (4, "/means/1"), (7, "/difference"), (11, "/p")] {
        assert_eq!(row[column].parse::<f64>().expect("a number"), number(ttft, pointer), "{pointer}");
    }
    for side in [0, 1] {
        let said = &json["sides"][side];
        let notes = said["notes"].as_array().expect("a list").iter().filter_map(Value::as_str);
        assert_eq!(row[13 + side], notes.collect::<Vec<_>>().join(" | "), "{said}");
        assert!(row[15 + side].contains("TTFT"), "{row:?}");
    }
    let markdown = desk.run(&format!("compare {arguments} --format markdown")).out;
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| ---")).count(), 3, "{markdown}");
    let text = desk.run(&format!("compare {arguments}")).out;
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

/// Every request of a run in the desk that succeeded.
fn times(desk: &Desk, folder: &str) -> Vec<RequestTimes> {
    let mut all = Vec::new();
    let path = desk.path(folder).join("requests.parquet");
    read_times(&path, |_| (), |times| all.push(*times)).expect("it can be read");
    all
}

/// The parts of each request lie side by side: none is less than nothing, and they add up to the nanosecond.
fn assert_adds_up(desk: &Desk, folder: &str) -> Vec<RequestTimes> {
    let all = times(desk, folder);
    for request in &all {
        let sum = |parts: &[Part]| parts.iter().map(|&part| request.parts[part as usize]).sum::<i64>();
        assert_eq!(sum(Part::of_ttft()), request.ttft, "{request:?}");
        assert_eq!(sum(&Part::ALL), request.e2e, "{request:?}");
        assert!(request.parts.iter().all(|&part| part >= 0), "{request:?}");
    }
    all
}

#[test]
fn what_preempted_requests_take_is_apart() {
    let desk = Desk::small();
    let pressed = "--set frameworks_to_test[*].config.num_gpu_blocks_override=90 --set frameworks_to_test[*].config.max_model_len=1400";
    ran(&desk, "a", pressed);
    let preempted = |part: Part| assert_adds_up(&desk, "a").iter().filter(|r| r.parts[part as usize] > 0).count();
    assert!(preempted(Part::PreemptedDecode) > 0 && preempted(Part::PreemptedPrefill) > 0);
    let csv = desk.read("a/requests.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let place =
        |name: &str| csv.lines().next().and_then(|head| head.split(',').position(|column| column == name)).expect(name);
    let (status, preemptions) = (place("status"), place("preemptions"));
    let rows = reader.records().map(|row| row.expect("a row"));
    let counted = rows.filter(|row| &row[status] == "SUCCESS" && &row[preemptions] != "0").count();
    assert_eq!(counted, preempted(Part::PreemptedPrefill));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn parts_add_up_to_the_nanosecond(
        seed in 0_u64..1_000_000,
        rate in 1.0..40.0_f64,
        seats in 1_u32..64,
        blocks in 80_u32..400,
        streamed in any::<bool>(),
        pools in any::<bool>(),
        tokens in 64_u32..4096,
    ) {
        let desk = Desk::small();
        let roles = if pools { [", role: prefill", ", role: decode"] } else { [""; 2] };
        let engines = roles.iter().enumerate().map(|(index, role)| format!(
            "  - {{name: e{index}, type: VLLM{role}, config: {{model_profile_id: Llama3-8B, gpu_id: gpu{index}, max_num_seqs: {seats}, \
             max_num_batched_tokens: {tokens}, num_gpu_blocks_override: {blocks}, max_model_len: 1024}}}}\n"
        ));
        let (head, _) = crate::SMALL.split_once("frameworks_to_test:").expect("it has frameworks");
        let between = "  network_links:\n    - {link_id: between, source_id: gpu0, dest_id: gpu1, bandwidth_bps: 2e11, latency_s: 0.00001}\n";
        let head = if pools { head.replace("  network_links:\n", between) } else { head.to_owned() };
        let head = head.replace("rate: 4.0", &format!("rate: {rate}"));
        let head = head.replace("conversational_probability: 0.5", &format!("streaming_response_probability: {}", u8::from(streamed)));
        desk.write("any.yaml", &format!("{head}frameworks_to_test:\n{}", engines.collect::<String>()));
        let told = desk.run(&format!("run any.yaml -q -o any --seed {seed} --force"));
        prop_assert_eq!(told.code, 0, "{}", told.err);
        let all = assert_adds_up(&desk, "any");
        prop_assert!(!all.is_empty());
        let taken = |part: Part| all.iter().any(|request| request.parts[part as usize] > 0);
        prop_assert_eq!(taken(Part::KvTransfer), pools);
        prop_assert_eq!(taken(Part::Egress), !streamed);
    }
}

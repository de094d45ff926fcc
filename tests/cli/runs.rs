//! `run`: files, table, flags.

use std::fs;

use crate::{Desk, assert_conserved, names_in, number};

const FILES: [&str; 5] = ["manifest.json", "requests.csv", "requests.parquet", "summary.json", "timeseries.parquet"];

#[test]
fn a_run_prints_a_table_and_leaves_whole_files() {
    let desk = Desk::small();
    let told = desk.run("run small.yaml");
    assert_eq!(told.code, 0);
    assert_eq!(names_in(&desk.path("output/small")), FILES);
    for word in ["Requests", "TTFT", "TPOT", "ITL", "E2E", "gpu0", "second", "Files in output/small/"] {
        assert!(told.out.contains(word), "no {word} in\n{}", told.out);
    }
    // One line of how fast it went, and no progress bar where nobody watches.
    assert_eq!(told.err.lines().count(), 1, "{}", told.err);
    assert!(told.err.starts_with("simulated 30.000 s"), "{}", told.err);
    assert!(!told.err.contains('\r') && !told.err.contains('\u{1b}'));
    let summary = desk.json("output/small/summary.json");
    assert_conserved(&summary);
    let rows = desk.read("output/small/requests.csv").lines().count() - 1;
    let manifest = desk.json("output/small/manifest.json");
    assert_eq!(number(&manifest, "/requests_arrived") as usize, rows);
    assert_eq!(manifest["partial"], false);
    assert_eq!(manifest["seed"], 5);
}

#[test]
fn the_predecessors_format_flag_is_taken() {
    assert_eq!(Desk::small().run("run small.yaml -f yaml --quiet").code, 0);
}

#[test]
fn a_profile_names_every_phase_and_changes_no_file() {
    let desk = Desk::small();
    let plain = desk.run("run small.yaml -o plain --quiet");
    let profiled = desk.run("run small.yaml -o profiled --quiet --profile");
    assert_eq!((plain.code, profiled.code), (0, 0));
    for phase in ["arrival", "scheduling", "costing", "transfer", "completion", "finishing files", "output"] {
        assert!(profiled.err.contains(phase), "no {phase} in\n{}", profiled.err);
    }
    assert_eq!(desk.read("plain/requests.csv"), desk.read("profiled/requests.csv"));
}

#[test]
fn the_json_that_is_printed_is_the_summary_file() {
    let desk = Desk::small();
    let printed = desk.summary("run small.yaml");
    assert_eq!(printed, desk.json("output/small/summary.json"));
}

#[test]
fn quiet_says_nothing_and_json_all_the_same() {
    let desk = Desk::small();
    let told = desk.run("run small.yaml --quiet");
    assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (0, "", ""));
    let told = desk.run("run small.yaml -q --format json");
    assert!(told.out.starts_with('{') && told.err.is_empty());
}

#[test]
fn the_log_level_chooses_what_is_said() {
    let desk = Desk::small();
    desk.write("warned.yaml", &crate::SMALL.replace("max_simulation_time: 30", "max_simulation_time: 1"));
    let said = |level: &str| desk.run(&format!("run warned.yaml -l {level}")).err;
    assert!(said("info").contains("warning") && said("INFO").contains("simulated"));
    assert!(said("warning").contains("warning") && !said("warning").contains("simulated"));
    assert_eq!(said("error"), "");
    assert!(said("debug").contains("debug: first: Llama3-8B on gpu0; "), "{}", said("debug"));
    assert_eq!(desk.run("run warned.yaml -l loud").code, 2);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let desk = Desk::small();
    for (folder, seed) in [("a", 9), ("b", 9), ("c", 10)] {
        assert_eq!(desk.run(&format!("run small.yaml --seed {seed} -o {folder} -q")).code, 0);
    }
    for file in FILES {
        let bytes = |folder: &str| fs::read(desk.path(folder).join(file)).expect("it is there");
        assert!(bytes("a") == bytes("b"), "{file} differs for one seed");
        assert!(bytes("a") != bytes("c"), "{file} is the same for two seeds");
    }
}

#[test]
fn name_output_and_no_csv_say_what_goes_where() {
    let desk = Desk::small();
    assert_eq!(desk.run("run small.yaml --name other --no-csv -q").code, 0);
    assert_eq!(
        names_in(&desk.path("output/other")),
        FILES.map(str::to_owned).into_iter().filter(|name| name != "requests.csv").collect::<Vec<_>>()
    );
    assert_eq!(desk.run("run small.yaml --output deep/in/here -q").code, 0);
    assert_eq!(names_in(&desk.path("deep/in/here")), FILES);
    assert_eq!(desk.json("deep/in/here/manifest.json")["name"], "small");
}

#[test]
fn files_that_the_configuration_puts_elsewhere_are_named_in_full() {
    let desk = Desk::small();
    let metrics = "metrics_config: {output_summary_json_path: results/s.json}";
    desk.write("elsewhere.yaml", &crate::SMALL.replace("metrics_config: {warm_up_duration_s: 2}", metrics));
    let told = desk.run("run elsewhere.yaml");
    assert!(desk.path("results/s.json").is_file());
    assert!(told.out.contains("\n         results/s.json\n"), "{}", told.out);
    // A folder by flag takes it in, so that two runs do not overwrite each other's.
    assert_eq!(desk.run("run elsewhere.yaml -o mine -q").code, 0);
    assert!(desk.path("mine/s.json").is_file());
}

#[test]
fn a_run_replaces_the_files_of_the_one_before() {
    let desk = Desk::small();
    assert_eq!(desk.run("run small.yaml -q --seed 1").code, 0);
    let first = desk.read("output/small/requests.csv");
    assert_eq!(desk.run("run small.yaml -q --seed 2 --overwrite").code, 0);
    assert!(first != desk.read("output/small/requests.csv"));
    assert_eq!(names_in(&desk.path("output/small")), FILES);
}

#[test]
fn a_json_configuration_is_one_too() {
    let desk = Desk::small();
    assert_eq!(desk.run("generate-config -o c.json -f json").code, 0);
    assert_conserved(&desk.summary("run c.json"));
}

#[test]
fn a_trace_needs_no_file() {
    let desk = Desk::small();
    let one = desk.summary("run --trace trace.csv --model Llama3-8B --device A100");
    assert_eq!(number(&one, "/requests/successful"), 4.0);
    assert_eq!(one["simulation"]["stop_reason"], "drained");
    let of =
        |flags: &str| desk.summary(&format!("run --trace trace.csv --model Llama3-8B --device A100 -o none {flags}"));
    assert_eq!(number(&of("--max-requests 2"), "/requests/total"), 2.0);
    assert_eq!(of("--replicas 3")["engines"].as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(of("--tp 2 --pp 2")["gpus"].as_object().map(serde_json::Map::len), Some(4));
    assert_eq!(of("--trace-format generic"), one);
    let (slow, fast) = (of("--rate-scale 0.1"), of("--rate-scale 10"));
    let end = |summary| number(summary, "/simulation/total_duration_s");
    assert!(end(&slow) > end(&one) && end(&one) > end(&fast));
    // Two ranks read half the weights each.
    let tpot = |summary| number(summary, "/latency/time_per_output_token_ms/p50");
    assert!(tpot(&of("--tensor-parallel 2")) < tpot(&one));
}

#[test]
fn azure_and_mooncake_traces_are_told_by_what_is_in_them() {
    let desk = Desk::small();
    desk.write("azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n");
    let mooncake = "{\"timestamp\": 0, \"input_length\": 1200, \"output_length\": 5, \"hash_ids\": [1, 2, 3]}\n\
                    {\"timestamp\": 9000, \"input_length\": 1300, \"output_length\": 5, \"hash_ids\": [1, 2, 4]}\n";
    desk.write("mooncake.jsonl", mooncake);
    let azure = desk.summary("run --trace azure.csv --model Llama3-8B --device L40S");
    assert_eq!(number(&azure, "/requests/successful"), 2.0);
    let mooncake = desk.summary("run --trace mooncake.jsonl --model Llama3-8B --device L40S");
    assert_eq!(number(&mooncake, "/prefix_caching/cross_request_hits"), 1.0);
    assert_eq!(number(&mooncake, "/prefix_caching/total_tokens_saved"), 1024.0);
}

#[test]
fn efficiencies_by_flag_change_the_cost_of_a_step() {
    let desk = Desk::small();
    let of = |flags: &str| desk.summary(&format!("run small.yaml {flags}"));
    let (slow, fast) = (of("--mbu 0.4"), of("--mbu 0.8"));
    let tpot = |summary| number(summary, "/latency/time_per_output_token_ms/p50");
    assert!(tpot(&slow) > 1.5 * tpot(&fast));
    // Nothing reads the weights faster than the memory can.
    let best_ms = 8.03e9 * 2.0 / 2.039e12 * 1e3;
    assert!(number(&fast, "/latency/time_per_output_token_ms/min") > best_ms);
    let ttft = |summary| number(summary, "/latency/time_to_first_token_ms/p50");
    assert!(ttft(&of("--mfu 0.2")) > ttft(&of("--mfu 0.6")));
}

#[test]
fn the_table_says_why_requests_did_not_finish() {
    let desk = Desk::small();
    desk.write("long.csv", "arrival_s,prompt_tokens,output_tokens\n0,9000,1\n0,100,1\n");
    let told = desk.run("run --trace long.csv --model Llama3-8B --device A100");
    assert_eq!(told.code, 0);
    assert!(told.out.contains("\n            1 prompt_exceeds_max_model_len\n"), "{}", told.out);
}

#[test]
fn a_hugging_face_configuration_is_a_model() {
    let desk = Desk::small();
    std::fs::create_dir(desk.path("mine")).expect("a folder can be made");
    let config = "{\"model_type\": \"llama\", \"hidden_size\": 2048, \"intermediate_size\": 8192, \"num_hidden_layers\": 16, \"num_attention_heads\": 32, \"num_key_value_heads\": 8, \"vocab_size\": 128256, \"max_position_embeddings\": 131072, \"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": true}";
    desk.write("mine/config.json", config);
    let nameless = |arguments: &str| {
        let mut summary = desk.summary(arguments);
        let model = summary["deployment"][0]["model"].take();
        (model, summary)
    };
    let (_, file) = nameless("run --trace trace.csv --model mine/config.json --device L4");
    let (model, folder) = nameless("run --trace trace.csv --model mine --device L4");
    let (_, catalog) = nameless("run --trace trace.csv --model Llama3.2-1B --device L4");
    assert_eq!(model, "mine");
    assert_eq!(number(&file, "/requests/successful"), 4.0);
    assert_eq!(file, folder);
    assert_eq!(file, catalog, "it is the shape of Llama 3.2 1B");
}

#[test]
fn every_shipped_scenario_runs_without_a_warning() {
    let desk = Desk::small();
    let scenarios = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios");
    let names = names_in(&scenarios);
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let path = scenarios.join(&name).display().to_string();
        let few = "workload.total_requests_to_generate=500";
        let told =
            desk.run_words(&["run", &path, "-o", &name, "--set", few, "-q", "-l", "warning", "--format", "json"]);
        assert!(told.code == 0 && told.err.is_empty(), "{name}: {}", told.err);
        let summary = serde_json::from_str(&told.out).expect("it prints JSON");
        assert_conserved(&summary);
    }
}

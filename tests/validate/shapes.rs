//! Recorded runs of every shape that `run.json` and `requests.csv` may have: devices, models, parallelism, flags, columns.

use serde_json::{Value, json};

use crate::{Desk, metric, predicted, requests, small_run};

const LATENCIES: [&str; 4] = ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"];
const STATISTICS: [&str; 6] = ["mean", "p50", "p90", "p95", "p99", "max"];

/// Every figure that a run may measure.
fn everything() -> Value {
    let mut measured = json!({
        "makespan_s": 1, "request_throughput_rps": 1, "output_throughput_tok_s": 1, "drained_by_s": 1,
        "prefix_hit_pct": [1], "server_energy_j": 1,
    });
    for latency in LATENCIES {
        STATISTICS.iter().for_each(|statistic| measured[latency][*statistic] = json!(1));
    }
    measured
}

/// Keys that measured figures become.
fn keys(measured: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in measured.as_object().into_iter().flatten() {
        match value {
            Value::Object(statistics) => keys.extend(statistics.keys().map(|statistic| format!("{key}.{statistic}"))),
            Value::Array(items) => keys.extend((0..items.len()).map(|index| format!("{key}.{index}"))),
            Value::Null => {}
            _ => keys.push(key.clone()),
        }
    }
    keys
}

/// Compares all runs in one go: each must be predicted whole but for the figures of `unknown`. Gives the comparisons.
fn predict_all(runs: &[Value], table: &str, unknown: &[&str]) -> Vec<Value> {
    let desk = Desk::new();
    let names: Vec<String> = (0..runs.len()).map(|index| format!("run{index}")).collect();
    for (name, run) in names.iter().zip(runs) {
        desk.run_folder(name, run, table);
    }
    let compared = desk.json(&format!("validate-run {}", names.join(" ")));
    let compared = if runs.len() == 1 { json!([compared]) } else { compared };
    let comparisons = compared.as_array().cloned().expect("a list");
    assert_eq!(comparisons.len(), runs.len());
    for (run, comparison) in runs.iter().zip(&comparisons) {
        let keys = keys(&run["measured"]);
        assert_eq!(comparison["metrics"].as_array().map(Vec::len), Some(keys.len()), "{run}");
        for key in keys.iter().filter(|key| !unknown.contains(&key.as_str())) {
            assert!(metric(comparison, key)["predicted"].is_number(), "{key} of {run}\n{comparison}");
        }
        assert_eq!(comparison["requests"]["succeeded"], comparison["requests"]["total"], "{run}\n{comparison}");
    }
    comparisons
}

fn run(changes: Value) -> Value {
    let mut run = small_run(everything());
    run["num_devices"] = Value::Null;
    for (key, value) in changes.as_object().into_iter().flatten() {
        run[key] = value.clone();
    }
    run
}

fn instance(role: &str, count: u32, [tp, pp, dp, ep]: [u32; 4]) -> Value {
    json!({"role": role, "count": count, "tp": tp, "pp": pp, "dp": dp, "ep": ep})
}

/// Prefill and decode instances, or instances of one kind, of all shapes that a pair of models can have.
fn deployments() -> Vec<Value> {
    let alone = [[1, 1, 1, 1], [2, 1, 1, 1], [4, 1, 1, 1], [1, 2, 1, 1], [2, 2, 1, 1], [1, 1, 2, 1], [2, 1, 2, 1]];
    let experts = [[2, 1, 1, 2], [1, 1, 2, 2], [2, 1, 2, 4], [2, 1, 2, 2], [1, 1, 1, 2], [1, 2, 1, 2], [4, 1, 1, 4]];
    let mut deployments = Vec::new();
    for ranks in alone.into_iter().chain(experts) {
        deployments.push(json!([instance("both", 1, ranks)]));
        deployments.push(json!([instance("both", 2, ranks)]));
        deployments.push(json!([instance("prefill", 1, ranks), instance("decode", 1, ranks)]));
        deployments.push(json!([instance("prefill", 2, [1, 1, 1, 1]), instance("decode", 1, ranks)]));
    }
    deployments.push(json!([instance("both", 1, [1, 1, 1, 1]), instance("both", 1, [2, 1, 1, 1])]));
    deployments
}

#[test]
fn every_device_is_predicted_in_every_deployment_of_dense_models_and_of_experts() {
    for (device, energy) in [("RTX-A6000", true), ("TPU-v6e", false), ("H100-SXM-80GB", true), ("RTX-PRO-6000", true)] {
        let deployed = |model: &'static str| {
            deployments()
                .into_iter()
                .map(move |instances| run(json!({"device": device, "model": model, "instances": instances})))
        };
        let runs: Vec<Value> =
            deployed("meta-llama/Llama-3.1-8B").chain(deployed("microsoft/Phi-mini-MoE-instruct")).collect();
        let unknown: &[&str] = if energy { &[] } else { &["server_energy_j"] };
        let comparisons = predict_all(&runs, &requests(12), unknown);
        let told = comparisons[0]["warnings"].to_string();
        assert_eq!(told.contains("nothing in the simulation answers server_energy_j"), !energy, "{told}");
    }
}

#[test]
fn models_are_known_by_their_hugging_face_ids_and_mirrors() {
    let ids = "Qwen/Qwen3-30B-A3B, Qwen/Qwen3-30B-A3B-FP8, Qwen/Qwen3-30B-A3B-Instruct-2507-FP8, Qwen/Qwen3-32B, \
        Qwen/Qwen3-32B-FP8, RedHatAI/Qwen3-32B-FP8-dynamic, Qwen/Qwen3-32B-AWQ, meta-llama/Llama-3.1-8B, \
        meta-llama/Llama-3.1-8B-Instruct, RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8, unsloth/Meta-Llama-3.1-8B-Instruct, \
        unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit, /models/Llama-3.1-8B-Instruct/, meta-llama/Llama-3.1-70B, \
        RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic, mistralai/Mixtral-8x7B-Instruct-v0.1, microsoft/Phi-mini-MoE-instruct, \
        openai/gpt-oss-20b, openai/gpt-oss-120b, unsloth/gpt-oss-20b, nvidia/Qwen3-30B-A3B-NVFP4";
    let instances = json!([instance("both", 1, [4, 1, 1, 1])]);
    let runs: Vec<Value> = ids.split(", ").map(|id| run(json!({"model": id.trim(), "instances": instances}))).collect();
    let comparisons = predict_all(&runs, &requests(8), &[]);
    // Weights in 8 bits leave more of the memory, and are read in less time.
    let of = |index: usize, key: &str| comparisons[index][key].clone();
    let blocks = |index: usize| of(index, "kv_blocks")["predicted"].as_u64().expect("a count");
    assert!(blocks(4) > blocks(3) && blocks(1) > blocks(0));
    assert!(predicted(&comparisons[4], "tpot_ms.mean") < predicted(&comparisons[3], "tpot_ms.mean"));
    // Experts of a quantised checkpoint are spread, too.
    let spread = run(json!({"model": "Qwen/Qwen3-30B-A3B-FP8", "instances": [instance("both", 1, [1, 1, 2, 2])]}));
    assert_eq!(predict_all(&[spread], &requests(8), &[])[0]["warnings"], json!([]));
}

#[test]
fn figures_that_a_run_states_otherwise_than_the_catalog_count() {
    let sheet = |tflops: f64, gb_per_s: f64, gib: f64| json!({"peak_bf16_tflops": tflops, "memory_gb_per_s": gb_per_s, "memory_gib": gib});
    let runs = [
        run(json!({"device": "H100", "device_spec": null})),
        run(json!({"device": "H100", "device_spec": sheet(989.0, 3352.0, 80.0)})),
        run(json!({"device": "H100", "device_spec": sheet(989.0, 4800.0, 141.0)})),
        run(json!({"device": "H200", "device_spec": null})),
        run(json!({"device": "Tachyon 9000", "device_spec": sheet(989.4, 3350.0, 80.0)})),
        run(
            json!({"device": "RTX-3090", "device_spec": sheet(71.0, 936.0, 24.0), "instances": [instance("both", 1, [2, 1, 1, 1])]}),
        ),
    ];
    let [plain, same, other, h200, unknown, relation] =
        predict_all(&runs, &requests(20), &[]).try_into().expect("six of them");
    assert_eq!(plain["metrics"], same["metrics"], "rounding is no other device");
    assert_eq!((&plain["warnings"], &same["warnings"]), (&json!([]), &json!([])));
    let told = other["warnings"].to_string();
    assert!(told.contains("4800 GB/s where the catalog has 3350") && told.contains("141 GiB"), "{told}");
    let tpot = |comparison: &Value| predicted(comparison, "tpot_ms.mean");
    // An H100 with an H200's memory is an H200.
    assert!((tpot(&other) / tpot(&h200) - 1.0).abs() < 0.01 && tpot(&other) < tpot(&plain));
    // One that nobody knows, with an H100's figures, is priced by an H100's curve.
    assert_eq!(plain["metrics"], unknown["metrics"]);
    let told = unknown["warnings"].to_string();
    assert!(
        told.contains("no device \\\"Tachyon 9000\\\"") && told.contains("nearest relation H100-SXM-80GB"),
        "{told}"
    );
    assert!(relation["warnings"].to_string().contains("nearest relation RTX-4090"), "{relation}");
}

#[test]
fn ranks_of_experts_are_found_where_instances_name_fewer() {
    let model = "Qwen/Qwen3-30B-A3B";
    let of =
        |instances: Value, devices: Value| run(json!({"model": model, "instances": instances, "num_devices": devices}));
    let runs = [
        of(json!([instance("both", 1, [1, 1, 2, 2])]), json!(2)),
        of(json!([instance("both", 2, [1, 1, 1, 2])]), json!(2)),
        of(json!([instance("both", 1, [1, 1, 1, 2])]), json!(2)),
        of(json!([instance("both", 1, [1, 1, 1, 2])]), Value::Null),
        of(json!([instance("both", 1, [1, 1, 2, 1])]), json!(2)),
        of(json!([instance("both", 1, [1, 1, 1, 2])]), json!(1)),
        of(json!([instance("both", 1, [1, 1, 1, 1])]), json!(1)),
    ];
    let comparisons = predict_all(&runs, &requests(20), &[]);
    for (index, words) in [
        (1, "2 of them are taken to share"),
        (2, "dp is taken to be 2"),
        (3, "dp is taken to be 2"),
        (4, "the run says ep 1"),
    ] {
        assert_eq!(comparisons[index]["metrics"], comparisons[0]["metrics"], "{index}");
        assert!(comparisons[index]["warnings"].to_string().contains(words), "{}", comparisons[index]["warnings"]);
    }
    // Without the GPUs there are no ranks.
    assert_eq!(predicted(&comparisons[5], "tpot_ms.mean"), predicted(&comparisons[6], "tpot_ms.mean"));
    assert!(comparisons[5]["warnings"].to_string().contains("ep 2"), "{}", comparisons[5]["warnings"]);
}

#[test]
fn hit_rates_are_those_of_instances_and_of_the_engines_that_prefill() {
    let mut table = "arrival_s,prompt_tokens,output_tokens,ideal_prefix_hit_tokens\n".to_owned();
    (0..40).for_each(|i| table += &format!("{i},{},20,{}\n", 800, if i < 4 { 0 } else { 480 }));
    let of = |instances: Value, hits: Value| run(json!({"instances": instances, "measured": {"prefix_hit_pct": hits}}));
    let runs = [
        of(json!([instance("both", 1, [1, 1, 1, 1])]), json!([1])),
        of(json!([instance("both", 1, [1, 1, 1, 1])]), json!(1)),
        of(json!([instance("prefill", 1, [1, 1, 1, 1]), instance("decode", 1, [1, 1, 1, 1])]), json!([1, 1])),
        of(json!([instance("both", 2, [1, 1, 2, 1])]), json!([1, 1])),
        of(json!([instance("both", 2, [1, 1, 1, 1])]), json!([1])),
    ];
    let comparisons = predict_all(&runs, &table, &[]);
    let hits = |run: usize, key: &str| predicted(&comparisons[run], key);
    let alone = hits(0, "prefix_hit_pct.0");
    assert!(alone > 50.0, "{alone}");
    assert_eq!(hits(1, "prefix_hit_pct"), alone);
    assert_eq!((hits(2, "prefix_hit_pct.0"), hits(2, "prefix_hit_pct.1")), (alone, 0.0));
    // Caches that share the load find less, on whichever engine it is.
    for (run, key) in [(3, "prefix_hit_pct.0"), (3, "prefix_hit_pct.1"), (4, "prefix_hit_pct.0")] {
        assert!((10.0..=alone).contains(&hits(run, key)), "{run} {key}: {}", hits(run, key));
    }
}

#[test]
fn flags_may_be_null_missing_or_strange() {
    let engines = [
        json!(null),
        json!({}),
        json!({"type": "vLLM V1", "version": null, "max_num_seqs": null, "max_num_batched_tokens": null, "block_size": null,
            "enable_chunked_prefill": null, "enable_prefix_caching": null, "enforce_eager": null, "num_gpu_blocks": null,
            "disable_custom_all_reduce": null}),
        json!({"version": "0.11.0", "enforce_eager": true, "max_num_seqs": 128, "max_num_batched_tokens": 2048}),
        json!({"max_num_seqs": 256, "max_num_batched_tokens": 64}),
        json!({"enable_chunked_prefill": false, "block_size": 32, "num_gpu_blocks": 4000, "seed": 7, "notes": {"a": [1]}}),
        json!({"disable_custom_all_reduce": true, "enable_prefix_caching": false}),
    ];
    let front_ends = [json!("in_process"), json!("http"), json!(null)];
    let ranks = json!([{"role": null, "count": null, "tp": 2, "pp": null, "dp": null, "ep": null, "_host": "a"}]);
    let mut runs = Vec::new();
    for (engine, front_end) in
        engines.iter().flat_map(|engine| front_ends.iter().map(move |front_end| (engine, front_end)))
    {
        runs.push(run(
            json!({"engine": engine, "front_end": front_end, "instances": ranks, "dtype": null, "notes": ["x"]}),
        ));
    }
    for dtype in ["auto", "float16", "torch.bfloat16", "fp8", "w8a8-int8", "unheard-of"] {
        runs.push(run(json!({"dtype": dtype, "requests": null, "per_request": null, "name": null})));
    }
    let comparisons = predict_all(&runs, &requests(8), &[]);
    // All-reduces of NCCL take longer than vLLM's own.
    let tpot = |index: usize| predicted(&comparisons[index], "tpot_ms.mean");
    assert!(tpot(18) > tpot(3), "{} and {}", tpot(18), tpot(3));
}

#[test]
fn any_subset_of_columns_and_of_figures_will_do() {
    let head = "arrival_s,prompt_tokens,output_tokens";
    let optional = [
        "request_id",
        "tenant",
        "ideal_prefix_hit_tokens",
        "real_ttft_ms",
        "real_tpot_ms",
        "real_e2e_ms",
        "queue_wait_ms",
    ];
    let desk = Desk::new();
    for subset in 0..1 << optional.len() {
        let chosen: Vec<usize> = (0..optional.len()).filter(|column| subset >> column & 1 == 1).collect();
        let mut table = head.to_owned();
        chosen.iter().for_each(|&column| table += &format!(",{}", optional[column]));
        for row in 0..5_u32 {
            table += &format!("\n{},{},{}", f64::from(row) * 0.3, 300 + row, 10);
            for &column in &chosen {
                let value = ["7", "a", "64", "12.5", "8.25", "90.5", "0.1"][column];
                // Every cell of these may be empty.
                table.push(',');
                table += if (row as usize + column).is_multiple_of(3) { "" } else { value };
            }
        }
        let all = everything();
        let figures = all.as_object().into_iter().flatten().enumerate();
        let measured = figures
            .filter(|(place, _)| ((subset * 37) >> (place % 7)) & 1 == 1)
            .map(|(_, (key, value))| (key.clone(), value.clone()));
        desk.run_folder(&format!("run{subset}"), &run(json!({"measured": Value::Object(measured.collect())})), &table);
    }
    let names: Vec<String> = (0..1 << optional.len()).map(|subset| format!("run{subset}")).collect();
    let comparisons = desk.json(&format!("validate-run {}", names.join(" ")));
    for (subset, comparison) in comparisons.as_array().into_iter().flatten().enumerate() {
        let latencies = (3..6).filter(|column| subset >> column & 1 == 1).count();
        assert_eq!(comparison["statistics"].as_array().map(Vec::len), Some(5 * latencies), "{subset}");
        for metric in comparison["metrics"].as_array().into_iter().flatten() {
            assert!(metric["predicted"].is_number(), "{metric}");
        }
    }
}

#[test]
fn what_cannot_be_simulated_is_refused_with_a_reason() {
    let desk = Desk::new();
    for (changes, reason) in [
        (json!({"instances": [instance("prefill", 1, [1, 1, 1, 1])]}), "no framework decodes what this one prefills"),
        (json!({"instances": [instance("decode", 1, [1, 1, 1, 1])]}), "no framework prefills for this one"),
        (json!({"device": "RTX-4090", "model": "Qwen/Qwen3-32B"}), "does not fit"),
        (
            json!({"device": "Foo", "device_spec": {"peak_bf16_tflops": 100, "memory_gib": null}}),
            "give device_spec with",
        ),
        (json!({"device_spec": {"peak_bf16_tflops": "989"}}), "device_spec.peak_bf16_tflops: is \"989\""),
        (
            json!({"device": "Foo", "device_spec": {"peak_bf16_tflops": 1e-3, "memory_gb_per_s": 1e-3, "memory_gib": 1e-3}}),
            "out of range",
        ),
        (json!({"model": "facebook/opt-13b"}), "--model-config FILE"),
        (
            json!({"speculation": {"method": "mtp"}}),
            "speculation: is not understood, so that the run would be simulated without",
        ),
        (json!({"max_inflight": 256}), "did you mean max_in_flight?"),
        (json!({"engine": {"enforce_eagre": true}}), "engine.enforce_eagre: is not understood"),
        (json!({"engine": {"kv_offloading": "cpu"}}), "engine.kv_offloading: is not understood"),
        (json!({"device_spec": {"memory_gb": 80}}), "device_spec.memory_gb: is not understood"),
        (json!({"instances": [{"role": "both", "cp": 2}]}), "instances[0].cp: is not understood"),
    ] {
        desk.run_folder("run", &run(changes.clone()), &requests(5));
        let told = desk.run("validate-run run");
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{changes}\n{}", told.err);
        assert!(told.err.contains(reason) && !told.err.contains("panicked"), "{changes}\n{}", told.err);
    }
}

//! Folders that are not as they should be: what cannot be used is said, with its place; what can be is used.

use serde_json::{Value, json};

use crate::{Desk, predicted, requests, small_run};

/// Complaints about a folder, which must not be usable.
fn complaint(run: &str, table: &str) -> String {
    let desk = Desk::new();
    desk.write("run/run.json", run);
    desk.write("run/requests.csv", table);
    let told = desk.run("validate-run run");
    assert_eq!((told.code, told.out.as_str()), (2, ""), "{run}\n{table}\n{}", told.err);
    assert!(!told.err.contains("panicked"), "{}", told.err);
    told.err
}

fn with(key: &str, value: Value) -> String {
    let mut run = small_run(json!({"makespan_s": 1}));
    match key.split_once('.') {
        Some((section, key)) => run[section][key] = value,
        None => run[key] = value,
    }
    format!("{run:#}")
}

#[test]
fn what_is_wrong_with_run_json_is_said_with_its_line_and_key() {
    let good = requests(3);
    for (run, expected) in [
        ("", "run.json:1:0: not valid JSON"),
        ("[1, 2]", "expected an object that describes a run"),
        ("{\"model\": \"Llama3-8B\",\n \"device\": \"H100\",}", "run.json:2:"),
        ("{\"device\": \"H100\"}", "model: is missing; write the Hugging Face id"),
        ("{\"model\": \"Llama3-8B\", \"device\": null}", "device: is missing; write a device's name"),
        ("{\"model\": 8,\n\"device\": \"H100\"}", "run.json:1: model: is 8, but must be text"),
    ] {
        let told = complaint(run, &good);
        assert!(told.contains(expected), "{run}\n{told}");
    }
    for (key, value, expected) in [
        ("model", json!("nobody/Nothing-9B"), "--model-config FILE"),
        ("model", json!("meta-llama/Llama-3.2-8B"), "did you mean"),
        ("device", json!("H900"), "give device_spec with peak_bf16_tflops, memory_gb_per_s and memory_gib"),
        ("engine.type", json!("sglang"), "engine.type: is \"sglang\"; only vllm is simulated"),
        ("engine.max_num_seqs", json!("many"), "engine.max_num_seqs: is \"many\", but must be a whole number"),
        ("engine.block_size", json!(0), "engine.block_size: is 0, but must be a whole number, 1 or more"),
        ("engine.enforce_eager", json!("yes"), "engine.enforce_eager: is \"yes\", but must be true or false"),
        ("engine", json!(3), "engine: is 3, but must be an object"),
        ("front_end", json!("grpc"), "front_end: is \"grpc\", but must be in_process, http or null"),
        ("instances", json!("one"), "instances: is \"one\", but must be a list"),
        ("instances", json!([{"role": "encode"}]), "must be both, prefill or decode"),
        ("instances", json!([{"tp": 1.5}]), "tp: is 1.5, but must be a whole number"),
        ("instances", json!([{"tp": 60000, "dp": 60000}]), "at most 65536 are possible"),
        ("measured", json!([1]), "measured: is a list of 1, but must be an object"),
    ] {
        let told = complaint(&with(key, value), &good);
        assert!(told.contains(expected), "{key}\n{told}");
        assert!(told.contains("run.json"), "{told}");
    }
    // Each on the line on which its key stands.
    let told = complaint(
        "{\"model\": \"Llama3-8B\", \"device\": \"H100\",\n\"engine\": {\n\"version\": 7,\n\"block_size\": -1}}",
        &good,
    );
    assert!(told.contains("run.json:3: engine.version") && told.contains("run.json:4: engine.block_size"), "{told}");
}

#[test]
fn what_is_wrong_with_requests_csv_is_said_with_its_line_and_column() {
    let good = with("name", json!("x"));
    let head = "arrival_s,prompt_tokens,output_tokens";
    for (table, expected) in [
        (String::new(), "requests.csv:1: the header lacks arrival_s and prompt_tokens and output_tokens".to_owned()),
        ("arrival_s,prompt_tokens\n1,2\n".to_owned(), "requests.csv:1: the header lacks output_tokens".to_owned()),
        (format!("{head}\n"), "requests.csv: has no rows".to_owned()),
        (format!("{head}\n0,10,5\n1,ten,5\n"), "requests.csv:3: prompt_tokens: is \"ten\"".to_owned()),
        (format!("{head}\n0,10,5\n1,10,\n"), "requests.csv:3: output_tokens: is empty".to_owned()),
        (format!("{head}\n0,10\n"), "requests.csv:2: output_tokens: is empty".to_owned()),
        (format!("{head}\nsoon,10,5\n"), "requests.csv:2: arrival_s: is \"soon\"".to_owned()),
        (format!("{head}\n0,-4,5\n"), "requests.csv:2: prompt_tokens: is \"-4\"".to_owned()),
        (format!("{head}\n0,4.5,5\n"), "prompt_tokens: is 4.5, but must be a whole number".to_owned()),
        (format!("{head}\n0,1e300,5\n"), "requests.csv:2: prompt_tokens".to_owned()),
        (
            format!("{head},real_ttft_ms\n0,4,5,fast\n"),
            "real_ttft_ms: is \"fast\", but must be milliseconds".to_owned(),
        ),
    ] {
        let told = complaint(&good, &table);
        assert!(told.contains(&expected), "{table}\n{told}");
    }
    // All at once, up to a screenful.
    let told = complaint(&good, &format!("{head}\n{}", "0,x,y\n".repeat(500)));
    assert!((20..=24).contains(&told.lines().count()), "{told}");
}

#[test]
fn a_folder_that_lacks_a_file_is_no_run_and_the_others_are_compared() {
    let desk = Desk::new();
    desk.run_folder("good", &small_run(json!({"makespan_s": 1})), &requests(5));
    desk.write("lacking/requests.csv", &requests(5));
    let told = desk.run("validate-run lacking good absent");
    assert_eq!(told.code, 2);
    assert!(told.out.contains("makespan_s"), "{}", told.out);
    let complaints: Vec<&str> = told.err.lines().filter(|line| line.contains("no such file")).collect();
    assert_eq!(complaints.len(), 2, "{}", told.err);
}

#[test]
fn all_but_model_and_device_may_be_missing() {
    let desk = Desk::new();
    let least = json!({"model": "Llama3-8B", "device": "nvidia h100 sxm"});
    // Out of order, before second 0, with gaps and columns that nobody knows.
    let table = "colour,output_tokens,prompt_tokens,arrival_s,real_ttft_ms\nred,5,100.0,3,\n,7,200,-1.5,NaN\nblue,1,50,0.5,12\n";
    desk.run_folder("least", &least, table);
    let told = desk.run("validate-run least");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.starts_with("least\n"), "{}", told.out);
    desk.run_folder("empty", &least, &table.replace("blue,1,", "blue,0,"));
    let told = desk.run("validate-run empty");
    assert_eq!(told.code, 2);
    let said = "requests.csv:4: output_tokens: is \"0\"";
    assert!(told.err.contains(said) && told.err.contains("a whole number, 1 or more"), "{}", told.err);

    let nulls = json!({
        "name": null, "model": "Llama3-8B", "device": "H100", "num_devices": null, "dtype": null, "device_spec": null,
        "front_end": null, "instances": null, "engine": {"type": null, "version": "nightly", "max_num_seqs": null},
        "requests": null, "per_request": null, "measured": {"drained_by_s": 4, "makespan_s": 4, "ttft_ms": null},
    });
    desk.run_folder("nulls", &nulls, table);
    let comparison = desk.json("validate-run nulls");
    // The clock is the file's: the first request came a second and a half before its zero.
    let (drained, makespan) = (predicted(&comparison, "drained_by_s"), predicted(&comparison, "makespan_s"));
    assert!((makespan - drained - 1.5).abs() < 1e-9 && makespan > 4.5, "{makespan}, {drained}");
}

/// A column that is nearly one of those that are read is not passed over in silence; others are.
#[test]
fn a_column_that_may_be_mistyped_is_told() {
    let desk = Desk::new();
    let table = |head: &str| format!("{head}\n{}", "0.5,200,20,31.5\n".repeat(3));
    let run = small_run(json!({"makespan_s": 1}));
    for (column, is_told) in [("real_ttft", true), ("real_ttft_ms", false), ("queue_wait_ms", false)] {
        desk.run_folder(column, &run, &table(&format!("arrival_s,prompt_tokens,output_tokens,{column}")));
        let told = desk.run(&format!("validate-run {column}"));
        let warning = "requests.csv: column real_ttft counts for nothing; did you mean real_ttft_ms?";
        assert_eq!((told.code, told.err.contains(warning)), (0, is_told), "{}", told.err);
    }
}

/// What the deployment cannot have names the folder, as everything else that is wrong with one does.
#[test]
fn what_no_deployment_has_is_said_with_its_folder() {
    let desk = Desk::new();
    for key in ["moe_backend", "kv_cache_dtype"] {
        let mut run = small_run(json!({"makespan_s": 1}));
        run["engine"][key] = json!("tachyonic");
        desk.run_folder(key, &run, &requests(5));
        let told = desk.run(&format!("validate-run {key}"));
        let place = format!(
            "{key}/run.json, as a configuration: error: frameworks_to_test[0].config.{key}: \"tachyonic\" is not one of"
        );
        assert!(told.code == 2 && told.err.contains(&place), "{}", told.err);
    }
}

#[test]
fn a_device_or_a_model_that_the_catalog_lacks_is_taken_from_the_folder() {
    let desk = Desk::new();
    let mut run = small_run(json!({"tpot_ms": {"mean": 1}}));
    run["device"] = json!("Tachyon 9000");
    run["device_spec"] = json!({"peak_bf16_tflops": 400, "memory_gb_per_s": 2000, "memory_gib": 48});
    run["instances"] = json!([{"tp": 2}]);
    run["num_devices"] = json!(2);
    desk.run_folder("device", &run, &requests(10));
    let told = desk.run("validate-run device");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.contains("device_spec") && told.err.contains("nearest relation"), "{}", told.err);

    let mut run = small_run(json!({"tpot_ms": {"mean": 1}}));
    run["model"] = json!("nobody/Nothing-1B");
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": true,
    });
    desk.run_folder("model", &run, &requests(10));
    desk.write("elsewhere.json", &config.to_string());
    assert_eq!(desk.run("validate-run model").code, 2);
    let given = desk.json("validate-run model --model-config elsewhere.json");
    desk.write("model/config.json", &config.to_string());
    let beside = desk.json("validate-run model");
    assert_eq!(predicted(&given, "tpot_ms.mean"), predicted(&beside, "tpot_ms.mean"));
}

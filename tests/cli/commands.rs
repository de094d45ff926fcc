//! The commands that simulate nothing.

use serde_json::Value;

use crate::Desk;

fn array(text: &str) -> Vec<Value> {
    let parsed: Value = serde_json::from_str(text).expect("it prints JSON");
    parsed.as_array().expect("it prints a list").clone()
}

#[test]
fn help_and_version_tell_of_every_command() {
    let desk = Desk::small();
    let help = desk.run("--help");
    assert_eq!(help.code, 0);
    for command in ["run", "validate", "generate-config", "schema", "models", "devices", "calibrate"] {
        assert!(help.out.contains(&format!("\n  {command} ")), "{}", help.out);
        let own = desk.run(&format!("{command} --help"));
        assert!(own.code == 0 && own.out.contains("Usage: llmperforacle"), "{}", own.out);
    }
    let version = desk.run("--version");
    assert_eq!((version.code, version.out), (0, format!("llmperforacle {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn bad_usage_is_exit_code_2_and_says_how() {
    let desk = Desk::small();
    for arguments in [
        "",
        "fly",
        "run",
        "run --trace trace.csv",
        "run small.yaml --seed x",
        "validate",
        "models --format xml",
        "run --trace trace.csv --model Llama3-8B --device A100 --replicas 0",
    ] {
        let told = desk.run(arguments);
        assert_eq!(told.code, 2, "{arguments}");
        assert!(
            told.out.is_empty() && told.err.contains("--help") || told.err.contains("Usage"),
            "{arguments}\n{}",
            told.err
        );
    }
    assert!(desk.run("run").err.contains("--trace FILE --model NAME --device NAME"));
    assert!(!desk.path("output").exists());
}

#[test]
fn validate_accepts_what_runs() {
    let desk = Desk::small();
    let told = desk.run("validate small.yaml");
    assert_eq!((told.code, told.out.as_str()), (0, "small.yaml is valid: 0 errors, 0 warnings\n"));
    assert!(told.err.is_empty() && !desk.path("output").exists());
}

#[test]
fn validate_finds_every_mistake_and_prints_json() {
    let desk = Desk::small();
    let broken = crate::SMALL.replace("random_seed", "random_sed").replace("gpu_id: gpu1", "gpu_id: gpu9");
    desk.write("broken.yaml", &broken);
    let told = desk.run("validate broken.yaml");
    assert_eq!((told.code, told.out.as_str()), (2, "broken.yaml is not valid: 2 errors, 0 warnings\n"));
    assert_eq!(told.err.lines().count(), 2);
    let told = desk.run("validate broken.yaml --format json");
    let report: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert_eq!((told.code, told.err.as_str()), (2, ""));
    assert_eq!((&report["valid"], &report["errors"], &report["warnings"]), (&false.into(), &2.into(), &0.into()));
    let first = &report["found"][0];
    assert_eq!((&first["line"], &first["key"]), (&1.into(), &"simulation.random_sed".into()));
    assert_eq!(first["suggestion"], "did you mean random_seed?");
}

#[test]
fn validate_reads_the_trace_too() {
    let desk = Desk::small();
    let (head, rest) = crate::SMALL.split_once("workload:").expect("it has a workload");
    let (_, tail) = rest.split_once("frameworks_to_test:").expect("it has frameworks");
    let text = format!("{head}workload: {{trace: {{path: trace.csv}}}}\nframeworks_to_test:{tail}");
    desk.write("traced.yaml", &text);
    assert_eq!(desk.run("validate traced.yaml").code, 0);
    desk.write("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,many,20\n");
    let told = desk.run("validate traced.yaml");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("trace.csv:2: prompt_tokens is \"many\""), "{}", told.err);
}

#[test]
fn validate_checks_models_that_are_not_used_when_asked() {
    let desk = Desk::small();
    desk.write("models.json", "{\"Odd-1B\": {\"hidden_size\": -4}}");
    desk.write("with.yaml", &format!("model_characteristics_db_path: models.json\n{}", crate::SMALL));
    assert_eq!(desk.run("validate with.yaml").code, 0);
    for flag in ["-m", "--validate-models"] {
        let told = desk.run(&format!("validate with.yaml {flag}"));
        assert_eq!(told.code, 2);
        assert!(told.err.contains("models.json:1") && told.err.contains("Odd-1B"), "{}", told.err);
    }
}

#[test]
fn generate_config_writes_a_file_that_runs_and_overwrites_none() {
    let desk = Desk::small();
    let told = desk.run("generate-config");
    let said = "wrote example_config.yaml; run it with: llmperforacle run example_config.yaml\n";
    assert_eq!((told.code, told.out.as_str()), (0, said));
    assert_eq!(desk.run("validate example_config.yaml").out, "example_config.yaml is valid: 0 errors, 0 warnings\n");
    desk.write("example_config.yaml", "mine");
    let told = desk.run("generate-config");
    assert!(told.code == 2 && told.err.contains("--force"), "{}", told.err);
    assert_eq!(desk.read("example_config.yaml"), "mine");
    assert_eq!(desk.run("generate-config --force").code, 0);
    assert_eq!(desk.run("generate-config -o -").out, desk.read("example_config.yaml"));
    let json = desk.run("generate-config --output - --format json").out;
    assert!(serde_json::from_str::<Value>(&json).is_ok_and(|json| json["simulation"].is_object()));
    assert_eq!(desk.run("generate-config -o no/such/folder.yaml").code, 2);
    assert!(!desk.path("no").exists());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("example_config.yaml", desk.path("link.yaml")).expect("a link");
        desk.write("example_config.yaml", "mine");
        desk.pipe("pipe.yaml");
        for name in ["link.yaml", "pipe.yaml"] {
            assert_eq!(desk.run(&format!("generate-config -o {name}")).code, 2);
            let told = desk.run(&format!("generate-config -o {name} --force"));
            assert!(told.code == 2 && told.err.contains("is a link, a pipe or a device"), "{}", told.err);
        }
        assert_eq!(desk.read("example_config.yaml"), "mine");
    }
}

#[test]
fn the_schema_and_the_reference_know_every_key() {
    let desk = Desk::small();
    let schema = desk.run("schema");
    let parsed: Value = serde_json::from_str(&schema.out).expect("it prints JSON");
    assert!(parsed["$schema"].is_string() && parsed["$defs"].is_object());
    let reference = desk.run("schema --reference").out;
    for key in ["max_num_batched_tokens", "load_balancing_strategy", "timeseries_interval_s", "tp_degree"] {
        assert!(schema.out.contains(key) && reference.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_catalog_is_listed_by_name_and_alias() {
    let desk = Desk::small();
    let models = desk.run("models meta-llama/Llama-3.3");
    assert_eq!((models.code, models.out.lines().count()), (0, 2));
    assert!(models.out.lines().nth(1).is_some_and(|line| line.starts_with("Llama3.3-70B") && line.contains("70.55B")));
    let devices = desk.run("devices a100");
    let table: Vec<&str> = devices.out.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(table.len(), 5, "{}", devices.out);
    assert!(devices.out.lines().all(|line| !line.ends_with(' ')));
    assert!(array(&desk.run("models --format json").out).len() > 40);
    let h100 = array(&desk.run("devices h100-sxm --format json").out);
    assert_eq!(h100[0]["name"], "H100-SXM-80GB");
    assert!(h100[0]["source"].as_str().is_some_and(|source| source.contains("NVIDIA")));
}

/// A figure that is not beyond doubt has a mark, and the reason below the table; other forms have a column and an object.
#[test]
fn doubtful_figures_of_devices_are_marked_in_every_form() {
    let desk = Desk::small();
    let text = desk.run("devices b300").out;
    let b300 = text.lines().find(|line| line.starts_with("B300-SXM ")).unwrap_or_else(|| panic!("{text}"));
    assert!(
        b300.contains(" 7750? ") && b300.contains(" 2250.0 ") && b300.contains("fp4 peak, sustained FLOP/s"),
        "{b300}"
    );
    assert!(text.contains("\n? fp4 peak of B300-SXM: pages disagree: 14 PFLOP/s"), "{text}");
    let csv = desk.run("devices b300 --format csv").out;
    assert!(csv.contains(",7750,") && csv.contains("\"fp4 peak, sustained FLOP/s, memory bandwidth"), "{csv}");
    assert!(desk.run("devices b300 --format markdown").out.contains("memory bandwidth of B300-SXM"));
    let json = array(&desk.run("devices b300 --format json").out);
    assert!(json[0]["uncertain"]["fp4_tflops"].as_str().is_some_and(|why| why.contains("13.5")), "{json:?}");
    // What is measured has no mark, and a chip that is no GPU no curve.
    let a6000 = array(&desk.run("devices a6000 --format json").out);
    assert!(a6000.iter().any(|device| device["uncertain"] == serde_json::json!({})), "{a6000:?}");
    let tpu = array(&desk.run("devices ironwood --format json").out);
    assert_eq!((&tpu[0]["mfu"], &tpu[0]["efficiency_curve"]), (&serde_json::json!(0.73), &serde_json::Value::Null));
    assert!(desk.run("devices ironwood").out.contains("mfu 0.73, mbu 0.86?"));
}

#[test]
fn a_name_that_the_catalog_lacks_is_an_error_with_the_nearest() {
    let desk = Desk::small();
    for (arguments, said) in [
        ("devices zzz", "no device of the catalog has \"zzz\" in its name; `llmperforacle devices` lists all"),
        ("devices h1000", "did you mean H100"),
        ("devices h1000 --format json", "did you mean H100"),
        ("models llama3-9b", "did you mean Llama3-8B"),
    ] {
        let told = desk.run(arguments);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}");
        assert!(told.err.contains(said), "{arguments}: {}", told.err);
    }
}

#[test]
fn ranks_are_in_the_help_and_have_vllms_names() {
    let desk = Desk::small();
    let help = desk.run("run --help").out;
    for name in ["--tp", "--pp", "--tensor-parallel-size", "--pipeline-parallel-size", "--overwrite"] {
        assert!(help.contains(name), "no {name} in\n{help}");
    }
    let of = |flags: &str| {
        desk.summary(&format!("run --trace trace.csv --model Llama3-8B --device A100 -q -o none {flags}"))
    };
    let (tensor, pipeline) = (of("--tensor-parallel 2"), of("--pipeline-parallel 2"));
    assert_ne!(tensor, pipeline);
    for flag in ["--tp 2", "--tp=2", "-tp 2", "-tp=2", "--tensor-parallel-size 2", "--tensor_parallel_size=2"] {
        assert_eq!(of(flag), tensor, "{flag}");
        assert_eq!(of(&flag.replace("tp", "pp").replace("tensor", "pipeline")), pipeline, "{flag}");
    }
}

#[test]
fn a_flag_of_trace_runs_says_which_key_to_set() {
    let desk = Desk::small();
    for (flag, key) in [
        ("--trace trace.csv --model Llama3-8B --device A100", "workload.trace.path=trace.csv"),
        ("--trace-format azure", "workload.trace.format=azure"),
        ("--rate-scale 2", "workload.trace.rate_scale=2"),
        ("--max-requests 5", "workload.trace.max_requests=5"),
        ("--model Llama3-8B", "frameworks_to_test[*].config.model_profile_id=Llama3-8B"),
        ("--device H100", "hardware_profile.compute_devices[*].device=H100"),
        ("--replicas 2", "frameworks_to_test[*].replicas=2"),
        ("--tp 2", "frameworks_to_test[*].config.parallelism.tp_degree=2"),
        ("--pp 2", "frameworks_to_test[*].config.parallelism.pp_stages=2"),
    ] {
        let told = desk.run(&format!("run small.yaml {flag}"));
        assert_eq!(told.code, 2, "{flag}");
        assert!(told.err.contains(&format!("with small.yaml, write --set '{key}'")), "{flag}: {}", told.err);
        // Such a key is there: what is said of it is no "unknown key".
        let set = desk.run_words(&["validate", "small.yaml", "--set", key]).err;
        assert!(!set.contains("unknown"), "{key}: {set}");
    }
    assert_eq!(desk.run("run small.yaml --tp 2 --replicas 2").err.lines().count(), 2);
}

#[test]
fn the_generated_configuration_has_every_key() {
    let desk = Desk::small();
    let example = desk.run("generate-config -o -").out;
    let reference = desk.run("schema --reference").out;
    let keys = reference.lines().filter(|line| line.starts_with("| `") && !line.contains("| has no effect |"));
    let keys: Vec<&str> = keys.filter_map(|line| line.split('`').nth(1)).filter(|key| *key != "$schema").collect();
    assert!(keys.len() > 100, "{} keys", keys.len());
    let is_there = |key: &str| {
        let after = |at: usize| example[..at].chars().next_back().is_none_or(|c| [' ', '{', '\n'].contains(&c));
        example.match_indices(&format!("{key}:")).any(|(at, _)| after(at))
    };
    let missing: Vec<&&str> = keys.iter().filter(|key| !is_there(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What layers consist of, in words that count layers and nothing else as layers, and say nothing of what a model does not have.
#[test]
fn a_model_is_described_in_words() {
    let desk = Desk::new();
    let told = |name: &str| {
        let told = desk.run(&format!("models {name}"));
        assert_eq!(told.code, 0, "{}", told.err);
        told.out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let nemotron = told("Nemotron-3-Nano-30B-A3B");
    for words in [
        "Layers 23 with Mamba 2 (state of 524288 elements)",
        "Layers 23 with 128 experts 1856 wide, 6 for each token, shared experts 3712 wide in all",
        "Layers 6 with attention (32 heads, 2 KV heads, 128 wide)",
        "A sequence 49082368 bytes of states, however long its context is",
    ] {
        assert!(nemotron.contains(words), "{nemotron}");
    }
    let sparse = told("DeepSeek-V3.2");
    let attention =
        "latent attention (128 heads, a vector 512 + 64 wide a token, over the 2048 tokens that an index chooses)";
    assert!(sparse.contains(attention) && !sparse.contains("A sequence"), "{sparse}");
    let compressed = told("DeepSeek-V4-Flash");
    for words in [
        "window 128, nothing before it)",
        "window 128, before it an entry for every 128 tokens)",
        "window 128, before it an entry for every 4 tokens, over the 512 entries that an index chooses)",
    ] {
        assert!(compressed.contains(words), "{compressed}");
    }
    let wide_keys = told("MiMo-V2-Flash");
    assert!(wide_keys.contains("8 KV heads, keys 192 and values 128 wide, window 128)"), "{wide_keys}");
}

/// What a file is assumed to be is said of a file.
#[test]
fn assuming_a_family_of_no_file_is_an_error() {
    let desk = Desk::small();
    for (words, expected) in [
        ("models --assume llama", "name the file or its folder"),
        ("models Llama3.1-8B --assume qwen3", "Llama3.1-8B is a model of the catalog"),
    ] {
        let told = desk.run(words);
        assert!(told.code == 2 && told.err.contains(expected), "{words}: {}{}", told.err, told.out);
    }
}

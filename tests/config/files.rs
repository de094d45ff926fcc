//! Whole files: the predecessor's, our scenarios, the generated example, the schema over all of them.

use llmperforacle::config::{Overrides, generate_config, generate_config_json, load, reference, schema};
use serde_json::Value as Json;

use crate::{GOOD, good, lines, messages, predecessor_files, resolve, scenarios};

#[test]
fn the_predecessors_files_resolve_unmodified() {
    for path in predecessor_files() {
        let resolved = load(&path, &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
        for engine in &resolved.scenario.engines {
            assert!(engine.kv_blocks > 0, "{}", engine.name);
            assert!(!engine.ingress.is_empty() && !engine.egress.is_empty(), "{} has a client link", engine.name);
        }
        assert!(resolved.output.files().iter().any(|file| file.starts_with("experiments/results")));
    }
}

#[test]
fn the_predecessors_parallel_file_keeps_its_layout() {
    let Some(path) = predecessor_files().into_iter().find(|path| path.ends_with("example_parallel_experiment.yaml"))
    else {
        return;
    };
    let resolved = load(&path, &Overrides::default()).expect("the file resolves");
    let engines = &resolved.scenario.engines;
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    assert_eq!(names, ["vllm_tp4_llama2_13b", "vllm_dp_replica1_llama2_7b", "vllm_dp_replica2_llama2_7b"]);
    assert_eq!((engines[0].tensor_parallel, engines[0].pipeline_parallel), (4, 1));
    assert_eq!(engines[0].rings[0].iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert_eq!(engines[1].ingress.len(), 2, "client to gpu0 to gpu4");
}

#[test]
fn our_scenarios_and_the_generated_example_have_no_warning() {
    for path in scenarios() {
        let resolved = load(&path, &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
        assert_eq!(lines(&resolved.warnings), "", "{}", path.display());
    }
    assert_eq!(messages(&generate_config()), "");
    let json = generate_config_json();
    assert_eq!(messages(&json), "");
    assert_eq!(messages(GOOD), "");
}

#[test]
fn json_reads_like_yaml_and_keeps_its_places() {
    let json = generate_config_json().replace("\n", "\n\t");
    assert_eq!(messages(&json), "");
    let broken = json.replace("\"max_num_seqs\": 256", "\"max_num_seqs\": \"256\"");
    let found = resolve(&broken).expect_err("text for a number");
    let line = broken.lines().position(|line| line.contains("max_num_seqs")).expect("the key is there");
    assert_eq!((found.len(), found[0].line as usize), (1, line + 1));
    assert_eq!(found[0].key_path, "frameworks_to_test[0].config.max_num_seqs");
}

#[test]
fn the_schema_knows_every_key_of_the_files() {
    let schema = schema();
    let files = predecessor_files().into_iter().chain(scenarios());
    let mut texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).expect("a readable file")).collect();
    texts.extend([generate_config(), GOOD.to_owned()]);
    for text in texts {
        let config: Json = serde_saphyr::from_str(&text).expect("YAML");
        assert_known(&config, &schema, &schema, "");
    }
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let block_size = &schema["$defs"]["FrameworkConfig"]["properties"]["block_size"];
    assert_eq!(
        (&block_size["default"], &block_size["maximum"], &block_size["x-unit"]),
        (&16.into(), &256.into(), &"tokens".into())
    );
}

/// Walks a config and its schema side by side.
fn assert_known(config: &Json, schema: &Json, root: &Json, path: &str) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return assert_known(config, &root["$defs"][name], root, path);
    }
    if let Some(ways) = schema["anyOf"].as_array() {
        // A mapping is the way that has keys; a number or a text has nothing to walk through.
        let has_keys = |way: &&Json| way["$ref"].is_string() || way["anyOf"].is_array();
        match ways.iter().find(has_keys) {
            Some(way) if config.is_object() => assert_known(config, way, root, path),
            _ => assert!(!config.is_object() && !config.is_array(), "{path}: no such way"),
        }
        return;
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let variant = variants.iter().find(|variant| variant["properties"]["type"]["const"] == config["type"]);
        return assert_known(config, variant.unwrap_or_else(|| panic!("{path}: no variant")), root, path);
    }
    match config {
        Json::Object(entries) => {
            for (key, value) in entries {
                let inner = &schema["properties"][key];
                assert!(inner.is_object(), "{path}.{key} is not in the schema");
                assert!(inner["description"].is_string(), "{path}.{key} has no description");
                assert_known(value, inner, root, &format!("{path}.{key}"));
            }
        }
        Json::Array(items) => items.iter().for_each(|item| assert_known(item, &schema["items"], root, path)),
        Json::String(text) => {
            let names = schema["enum"].as_array();
            assert!(names.is_none_or(|names| names.iter().any(|name| name == text)), "{path}: {text}");
        }
        _ => {}
    }
}

#[test]
fn the_reference_has_a_row_for_every_key_of_the_schema() {
    let (reference, schema) = (reference(), schema());
    let sections = schema["$defs"].as_object().expect("definitions").values().chain([&schema]);
    for key in sections.filter_map(|section| section["properties"].as_object()).flat_map(|keys| keys.keys()) {
        assert!(reference.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_canonical_form_is_a_configuration_of_the_same_meaning() {
    let first = good(GOOD);
    let again = good(&first.canonical.to_string());
    assert_eq!(again.canonical, first.canonical);
    assert_eq!(again.workload, first.workload);
    assert_eq!(format!("{:?}", again.scenario), format!("{:?}", first.scenario));
}

#[test]
fn a_model_database_is_found_beside_the_file_or_above_it() {
    let Some(walkthrough) = predecessor_files().into_iter().find(|path| path.ends_with("walkthrough_example.yaml"))
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (configs, deep) = (folder.path().join("configs"), folder.path().join("configs/experiments/mine"));
    std::fs::create_dir_all(&deep).expect("a folder");
    let database = walkthrough.with_file_name("model_params.json");
    std::fs::copy(database, configs.join("model_params.json")).expect("a copy");
    std::fs::copy(&walkthrough, deep.join("test.yaml")).expect("a copy");
    let resolved = load(&deep.join("test.yaml"), &Overrides::default());
    let resolved = resolved.unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert!(!lines(&resolved.warnings).contains("no file"), "{}", lines(&resolved.warnings));
}

/// vLLM's `_get_and_verify_max_len`: of YaRN, before 0.30, what the model was trained on times the factor.
#[test]
fn the_longest_context_is_vllms_by_release_and_rotary_embedding() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let context = |rope: &str, version: &str, longer: &str| {
        let model = format!(
            r#"{{"model_type": "qwen3", "head_dim": 128, "hidden_size": 1024, "intermediate_size": 2048,
            "max_position_embeddings": 4096, "num_attention_heads": 8, "num_hidden_layers": 8, "num_key_value_heads": 8,
            "vocab_size": 32000, "torch_dtype": "bfloat16"{rope}}}"#
        );
        std::fs::write(folder.path().join("config.json"), model).expect("a file");
        std::fs::write(folder.path().join("test.yaml"), GOOD.replace("Llama2-7B", "./config.json")).expect("a file");
        let set =
            [format!("frameworks_to_test[0].version={version}"), format!("frameworks_to_test[0].config.{longer}")];
        load(&folder.path().join("test.yaml"), &Overrides { set: set.to_vec(), ..Overrides::default() })
            .map(|resolved| (resolved.scenario.engines[0].scheduler.max_model_len, lines(&resolved.warnings)))
            .map_err(|found| lines(&found))
    };
    let tokens = |rope: &str, version: &str| context(rope, version, "block_size=16").expect("it resolves").0;
    let yarn = r#", "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}"#;
    let long = r#", "original_max_position_embeddings": 1024, "rope_scaling": {"type": "longrope"}"#;
    let linear = r#", "rope_parameters": {"rope_type": "linear", "factor": 2.5}"#;
    let of_llama =
        r#", "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512}"#;
    assert_eq!([tokens("", "'0.33'"), tokens(of_llama, "'0.33'")], [4096, 4096]);
    assert_eq!([tokens(yarn, "'0.29'"), tokens(yarn, "'0.30'")], [8192, 8192]);
    assert_eq!([tokens(linear, "'0.33'"), tokens(long, "'0.33'")], [10_240, 1024]);
    assert_eq!(context(long, "'0.33'", "max_model_len=4096").expect("it takes that").0, 4096);
    assert!(context(yarn, "'0.33'", "max_model_len=8193").expect_err("refused").contains("8192"));
    assert!(
        context(yarn, "'0.33'", "block_size=16")
            .expect("it resolves")
            .1
            .contains("the 8192 tokens that YaRN stretches it to")
    );
    assert!(!context(yarn, "'0.29'", "block_size=16").expect("it resolves").1.contains("stretches"));
    let wrong = r#", "rope_scaling": {"rope_type": "dynamic", "factor": "four"}"#;
    assert!(context(wrong, "'0.33'", "block_size=16").expect_err("no number").contains("rope_scaling.factor"));
}

#[test]
fn a_hugging_face_config_is_a_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048,
        "num_hidden_layers": 12, "num_attention_heads": 16, "num_key_value_heads": 4, "intermediate_size": 5632,
        "vocab_size": 32000, "max_position_embeddings": 2048, "torch_dtype": "bfloat16", "hidden_act": "silu",
        "tie_word_embeddings": false, "rms_norm_eps": 1e-5}"#;
    std::fs::write(folder.path().join("config.json"), model).expect("a file");
    std::fs::write(folder.path().join("test.yaml"), GOOD.replace("Llama2-7B", "./config.json")).expect("a file");
    let resolved = load(&folder.path().join("test.yaml"), &Overrides::default());
    let resolved = resolved.unwrap_or_else(|found| panic!("{}", lines(&found)));
    let engine = &resolved.scenario.engines[0];
    let kv_heads = engine.model.attention().expect("attention").kv_heads;
    assert_eq!((engine.model.layers.len(), kv_heads, engine.scheduler.max_model_len), (12, 4, 2048));
}

//! A Hugging Face `config.json`: what is published gives the catalog's model; what is wrong is said by file, line and key.

use std::fs;
use std::path::Path;

use llmperforacle::catalog::{Catalog, HfReading, load_hf_config, load_hf_config_by};
use oracle_components::layers::{Layer, Part, Reach};
use oracle_components::model::{Dtype, ModelArchitecture};
use serde_json::{Value, json};

use crate::{Folder, shared};

fn hf(config: &Value) -> (ModelArchitecture, Vec<String>) {
    let folder = Folder::with("config.json", config.to_string());
    let model = load_hf_config(folder.0.path()).unwrap_or_else(|error| panic!("{error}"));
    (model.architecture, model.warnings.iter().map(ToString::to_string).collect())
}

fn hf_error(content: impl AsRef<[u8]>) -> String {
    let folder = Folder::with("config.json", content);
    load_hf_config(&folder.file("config.json")).expect_err("a wrong file").to_string()
}

fn assuming(model_type: &str) -> HfReading {
    HfReading { assumed: Some(model_type.to_owned()), ..HfReading::default() }
}

/// Asserts that a `config.json` gives the catalog's model.
#[track_caller]
fn assert_is(name: &str, config: &Value) {
    let (architecture, warnings) = hf(config);
    let catalog = &Catalog::builtin().model(name).expect("in the catalog").architecture;
    assert_eq!(ModelArchitecture { name: catalog.name.clone(), ..architecture }, **catalog);
    assert_eq!(warnings, Vec::<String>::new());
}

pub fn llama_3_1_8b() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131_072,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "attention_bias": false,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128_256
    })
}

#[test]
fn dense_config_files_give_the_catalog_s_models() {
    assert_is("Llama3.1-8B", &llama_3_1_8b());
    assert_is(
        "Mistral-7B-v0.1",
        &json!({
            "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "sliding_window": 4096,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 32000
        }),
    );
    assert_is(
        "Qwen2.5-7B",
        &json!({
            "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 131_072,
            "max_window_layers": 28, "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
            "sliding_window": 131_072, "use_sliding_window": false, "torch_dtype": "bfloat16", "vocab_size": 152_064
        }),
    );
    assert_is(
        "Qwen3-14B",
        &json!({
            "model_type": "qwen3", "attention_bias": false, "head_dim": 128, "hidden_size": 5120, "dtype": "bfloat16",
            "intermediate_size": 17408, "max_position_embeddings": 40960, "max_window_layers": 40, "sliding_window": null,
            "num_attention_heads": 40, "num_hidden_layers": 40, "num_key_value_heads": 8, "vocab_size": 151_936
        }),
    );
    assert_is(
        "Phi-2",
        &json!({
            "model_type": "phi", "hidden_size": 2560, "intermediate_size": 10240, "max_position_embeddings": 2048,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "torch_dtype": "float16",
            "vocab_size": 51200
        }),
    );
    assert_is(
        "GPT-3-175B",
        &json!({
            "model_type": "gpt2", "n_layer": 96, "n_embd": 12288, "n_head": 96, "n_positions": 2048, "vocab_size": 50257,
            "n_inner": null, "torch_dtype": "float16"
        }),
    );
}

#[test]
fn sliding_windows_are_counted_by_rule_or_by_list() {
    assert_is(
        "Gemma2-9B",
        &json!({
            "model_type": "gemma2", "head_dim": 256, "hidden_size": 3584, "intermediate_size": 14336, "vocab_size": 256_000,
            "max_position_embeddings": 8192, "num_attention_heads": 16, "num_hidden_layers": 42, "num_key_value_heads": 8,
            "sliding_window": 4096, "torch_dtype": "bfloat16"
        }),
    );
    // The whole of Gemma 3 4B's text_config: its configuration class fills in the rest.
    assert_is(
        "Gemma3-4B",
        &json!({
            "model_type": "gemma3", "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
            "text_config": {
                "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
                "sliding_window": 1024
            }
        }),
    );
    let mut listed = llama_3_1_8b();
    listed["sliding_window"] = json!(1024);
    let mut types = vec!["sliding_attention"; 32];
    types[31] = "full_attention";
    listed["layer_types"] = json!(types);
    let layers = hf(&listed).0.layers;
    let windowed = |layer: &Layer| matches!(&layer.parts[0], Part::Attention(own) if own.reach == Reach::Window(1024));
    assert_eq!(layers.iter().filter(|layer| windowed(layer)).count(), 31);
    assert!(!windowed(layers.iter().last().expect("a layer")));
}

#[test]
fn mixtures_of_experts_and_latent_attention_give_the_catalog_s_models() {
    assert_is(
        "Mixtral-8x7B",
        &json!({
            "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
            "num_experts_per_tok": 2, "sliding_window": null, "torch_dtype": "bfloat16", "vocab_size": 32000
        }),
    );
    assert_is(
        "Qwen3-30B-A3B",
        &json!({
            "model_type": "qwen3_moe", "decoder_sparse_step": 1, "head_dim": 128, "hidden_size": 2048, "mlp_only_layers": [],
            "intermediate_size": 6144, "max_position_embeddings": 40960, "moe_intermediate_size": 768, "num_experts": 128,
            "num_attention_heads": 32, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
            "torch_dtype": "bfloat16", "vocab_size": 151_936
        }),
    );
    assert_is(
        "DeepSeek-V3",
        &json!({
            "model_type": "deepseek_v3", "first_k_dense_replace": 3, "hidden_size": 7168, "intermediate_size": 18432,
            "kv_lora_rank": 512, "max_position_embeddings": 163_840, "moe_intermediate_size": 2048, "n_routed_experts": 256,
            "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61,
            "num_key_value_heads": 128, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
            "v_head_dim": 128, "torch_dtype": "bfloat16", "vocab_size": 129_280,
            "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
        }),
    );
    assert_is(
        "gpt-oss-20B",
        &json!({
            "model_type": "gpt_oss", "attention_bias": true, "head_dim": 64, "hidden_size": 2880, "intermediate_size": 2880,
            "max_position_embeddings": 131_072, "num_attention_heads": 64, "num_hidden_layers": 24, "num_key_value_heads": 8,
            "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128, "tie_word_embeddings": false,
            "vocab_size": 201_088, "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.embed"]}
        }),
    );
}

#[test]
fn quantisation_sets_the_type_of_the_weights() {
    let weight = |quantization: Value| {
        let mut config = llama_3_1_8b();
        config["quantization_config"] = quantization;
        let (architecture, warnings) = hf(&config);
        (architecture.weight_format.dtype, architecture.kv_dtype, warnings.len())
    };
    let bf16 = Dtype::Bf16;
    assert_eq!(weight(json!({"quant_method": "awq", "bits": 4})), (Dtype::Int4, bf16, 0));
    assert_eq!(weight(json!({"quant_method": "gptq", "bits": 8})), (Dtype::Int8, bf16, 0));
    assert_eq!(weight(json!({"quant_method": "bitsandbytes", "load_in_4bit": true})), (Dtype::Nf4, bf16, 0));
    let groups = json!({"group_0": {"weights": {"num_bits": 8, "type": "float"}}});
    let compressed = json!({
        "quant_method": "compressed-tensors", "config_groups": groups, "kv_cache_scheme": {"num_bits": 8, "type": "float"}
    });
    assert_eq!(weight(compressed), (Dtype::Fp8, Dtype::Fp8, 0));
    let mut unknown = llama_3_1_8b();
    unknown["quantization_config"] = json!({"quant_method": "fp9"});
    let error = hf_error(unknown.to_string());
    for part in ["quantization_config.quant_method: fp9 is not known", "did you mean fp8", "weight_dtype"] {
        assert!(error.contains(part), "{part} in:\n{error}");
    }
}

#[test]
fn an_unknown_type_is_refused_unless_another_is_assumed() {
    let mut config = llama_3_1_8b();
    config["model_type"] = json!("lama");
    let error = hf_error(config.to_string());
    assert!(error.contains("lama is not known; did you mean llama") && error.contains("--assume llama"), "{error}");
    let folder = Folder::with("config.json", config.to_string());
    let model = load_hf_config_by(folder.0.path(), &assuming("llama")).expect("a model");
    assert_eq!(model.architecture.attention().expect("attention").kv_heads, 8);
    let warnings: Vec<String> = model.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("lama is read as llama"), "{warnings:?}");
    // What keeps it from being read as that is told, and nothing else as if it did.
    config["layer_types"] = json!(vec!["strange_attention"; 32]);
    let strange = Folder::with("config.json", config.to_string());
    let error = load_hf_config_by(strange.0.path(), &assuming("llama")).expect_err("strange layers").to_string();
    let words = "has layers of strange_attention, which is no kind that is known of the family that it is read as";
    assert!(error.contains(words) && !error.contains("is read as llama"), "{error}");
    let error = load_hf_config_by(folder.0.path(), &assuming("bert")).expect_err("an encoder").to_string();
    assert!(error.contains("is no model_type that is known"), "{error}");
}

/// Whose name tells that it may change layers is an error; another is told.
#[test]
fn a_key_that_nothing_is_known_of_is_named() {
    let mut config = llama_3_1_8b();
    config["my_learning_rate"] = json!(3);
    let folder = Folder::with("config.json", config.to_string());
    let model = load_hf_config(folder.0.path()).expect("a model");
    assert_eq!(model.unused_keys, ["my_learning_rate"]);
    config["my_layer_pattern"] = json!([1, 0, 1]);
    let error = hf_error(config.to_string());
    assert!(error.contains("my_layer_pattern: a list that is not understood of llama"), "{error}");
    config["layer_types"] = json!(vec!["strange_attention"; 32]);
    assert!(hf_error(config.to_string()).contains("has layers of strange_attention"));
}

/// Python writes them, and JSON has no word for them.
#[test]
fn infinities_are_read() {
    let text = llama_3_1_8b().to_string();
    let text = text.replacen(
        '{',
        "{\"time_step_limit\": [0.0, Infinity, -Infinity, NaN], \"note\": \"to Infinity\\\"NaN\", ",
        1,
    );
    let folder = Folder::with("config.json", text);
    assert_eq!(load_hf_config(folder.0.path()).expect("a model").unused_keys, ["note"]);
}

#[test]
fn every_missing_or_wrong_key_is_named_at_once() {
    let error = hf_error(
        "{\"model_type\": \"llama\",\n\"num_layer\": 32,\n\"hidden_size\": \"4096\",\n\"num_attention_heads\": 32,\n\
         \"intermediate_size\": -5, \"vocab_size\": 3.5}",
    );
    for part in [
        "num_hidden_layers: is missing (and so is n_layer, num_layers, n_layers); the file has num_layer",
        "config.json:3: hidden_size: must be a whole number",
        "config.json:5: intermediate_size: must be a whole number",
        "vocab_size: must be a whole number from 1 to 67108864, not 3.5",
        "max_position_embeddings: is missing",
    ] {
        assert!(error.contains(part), "{part} in:\n{error}");
    }
    let mut nested = json!({"model_type": "llava", "text_config": llama_3_1_8b()});
    nested["text_config"].as_object_mut().expect("an object").remove("vocab_size");
    // Llama's configuration class has one, which the text part of a multimodal file may leave out; EXAONE's has not.
    assert_eq!(hf(&nested).0.vocab, 32_000);
    nested["text_config"]["model_type"] = json!("exaone");
    assert!(hf_error(nested.to_string()).contains("text_config.vocab_size: is missing"));
    let mut uneven = llama_3_1_8b();
    uneven["num_key_value_heads"] = json!(7);
    assert!(hf_error(uneven.to_string()).contains("32 attention heads cannot share 7 key/value heads evenly"));
}

#[test]
fn a_path_that_is_not_there_may_be_meant_as_a_name() {
    let error = load_hf_config(Path::new("models/Llama-3.1-8b")).expect_err("no such file").to_string();
    assert!(error.contains("did you mean the catalog's Llama3.1-8B"), "{error}");
    let empty = tempfile::tempdir().expect("a folder for the test");
    let error = load_hf_config(empty.path()).expect_err("no config.json").to_string();
    assert!(error.contains("config.json") && error.contains("expected a Hugging Face config.json"), "{error}");
}

#[test]
fn a_model_is_named_after_its_folder() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let snapshot = folder.path().join("models--Qwen--Qwen3-14B/snapshots/8268fe3026cb304910457689366670e803a6fd56");
    fs::create_dir_all(&snapshot).expect("folders for the test");
    fs::write(snapshot.join("config.json"), llama_3_1_8b().to_string()).expect("a file for the test");
    assert_eq!(load_hf_config(&snapshot).expect("a model").architecture.name, "Qwen/Qwen3-14B");
    let own = Folder::with("mine.json", llama_3_1_8b().to_string());
    assert_eq!(load_hf_config(&own.file("mine.json")).expect("a model").architecture.name, "mine");
}

#[test]
fn config_files_of_measured_runs_give_the_catalog_s_models() {
    let Some(shared) = shared() else { return };
    let mut compared = 0;
    for run in fs::read_dir(shared.join("realruns")).expect("the runs").filter_map(Result::ok) {
        let read = |name: &str| -> Option<Value> {
            serde_json::from_str(&fs::read_to_string(run.path().join(name)).ok()?).ok()
        };
        let (Some(run), Some(settings)) = (read("run.json"), read("settings.json")) else {
            continue;
        };
        let model = run["model"].as_str().expect("a run names its model");
        assert!(Catalog::builtin().model(model).is_some(), "{model}");
        let device = run["device"].as_str().expect("a run names its device");
        assert!(Catalog::builtin().device(device).is_some(), "{device}");
        if settings["model_config"].is_object() {
            assert_is(model, &settings["model_config"]);
            compared += 1;
        }
    }
    assert!(compared > 0);
}

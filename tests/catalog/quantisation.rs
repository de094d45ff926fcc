//! Checkpoints of public models as they say that they are quantised: bytes of their weights and of their KV caches.

use std::fs;

use llmperforacle::catalog::load_hf_config;
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_systems::costing::weights::{kv_bytes_per_token_and_rank, weight_bytes};
use serde_json::{Value, json};

use crate::Folder;
use crate::hf_config::llama_3_1_8b;

fn read(files: &[(&str, &Value)]) -> Result<(ModelArchitecture, Vec<String>), String> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (name, content) in files {
        fs::write(folder.path().join(name), content.to_string()).expect("a file for the test");
    }
    let model = load_hf_config(folder.path()).map_err(|error| error.to_string())?;
    Ok((model.architecture, model.warnings.iter().map(ToString::to_string).collect()))
}

#[track_caller]
fn gigabytes(config: &Value) -> f64 {
    let (model, warnings) = read(&[("config.json", config)]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(warnings, Vec::<String>::new());
    weight_bytes(&model) as f64 / 1e9
}

#[track_caller]
fn assert_near(value: f64, published: f64, share: f64) {
    assert!((value / published - 1.0).abs() < share, "{value} where {published} is published");
}

fn llama_3_1_70b() -> Value {
    let mut config = llama_3_1_8b();
    for (key, value) in
        [("hidden_size", 8192), ("intermediate_size", 28672), ("num_attention_heads", 64), ("num_hidden_layers", 80)]
    {
        config[key] = json!(value);
    }
    config
}

fn deepseek(experts: u32, heads: u32, dense_layers: u32, vocab: u32) -> Value {
    json!({
        "model_type": "deepseek_v3", "first_k_dense_replace": dense_layers, "hidden_size": 7168, "kv_lora_rank": 512,
        "intermediate_size": 18432, "max_position_embeddings": 163_840, "moe_intermediate_size": 2048,
        "n_routed_experts": experts, "n_shared_experts": 1, "num_attention_heads": heads, "num_experts_per_tok": 8,
        "num_hidden_layers": 61, "num_key_value_heads": heads, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": vocab, "torch_dtype": "bfloat16"
    })
}

#[test]
fn modelopt_s_file_beside_the_config_counts() {
    let modelopt = json!({
        "producer": {"name": "modelopt", "version": "0.23.0"},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}
    });
    let files = [("config.json", &llama_3_1_70b()), ("hf_quant_config.json", &modelopt)];
    let (model, warnings) = read(&files).expect("a model");
    assert_eq!(warnings, Vec::<String>::new());
    // nvidia/Llama-3.1-70B-Instruct-FP8.
    assert_near(weight_bytes(&model) as f64 / 1e9, 72.7, 0.002);
    assert_eq!(kv_bytes_per_token_and_rank(&model, 1), 163_840.0);

    let mut other = modelopt.clone();
    other["quantization"]["quant_algo"] = json!("NVFP5");
    let error = read(&[("config.json", &llama_3_1_70b()), ("hf_quant_config.json", &other)]).expect_err("unknown");
    assert!(error.contains("hf_quant_config.json:1: quantization.quant_algo: NVFP5 is not known"), "{error}");
    let both = json!({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]});
    let mut config = llama_3_1_70b();
    config["quantization_config"] = both;
    let error = read(&[("config.json", &config), ("hf_quant_config.json", &modelopt)]).expect_err("they differ");
    assert!(error.contains("quantization.quant_algo: is FP8, but NVFP4 in config.json"), "{error}");
}

#[test]
fn experts_in_groups_of_32_and_the_rest_in_16_bits_are_kimi_s() {
    let mut kimi = deepseek(384, 64, 1, 163_840);
    kimi["quantization_config"] = json!({
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
        "config_groups": {"group_0": {"targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "int", "group_size": 32, "strategy": "group"}}}
    });
    // The checkpoint of moonshotai/Kimi-K2.5 has 595 GB, a vision tower of 0.9 among them.
    assert_near(gigabytes(&kimi), 594.0, 0.001);
}

#[test]
fn only_what_is_not_excluded_is_nvfp4() {
    let mut r1 = deepseek(256, 128, 3, 129_280);
    let excluded: Vec<String> = (0..61)
        .flat_map(|layer| {
            ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"]
                .map(|matrix| format!("model.layers.{layer}.self_attn.{matrix}"))
        })
        .chain(["lm_head".to_owned()])
        .collect();
    r1["quantization_config"] = json!({
        "quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": excluded, "kv_cache_scheme": {"num_bits": 8, "type": "float"}
    });
    let (model, _) = read(&[("config.json", &r1)]).expect("a model");
    assert_eq!(model.weight_format.dtype, Dtype::Nvfp4);
    // 653.9 billion of experts, 1.2 of dense MLPs, 2.7 of shared experts, 7.2 of outputs; the rest in 16 bits.
    let four_bit = 653.909_753_856 + 1.189_085_184 + 2.554_331_136 + 7.163_871_232;
    let wide = 671.026_419_200 - four_bit;
    assert_near(weight_bytes(&model) as f64 / 1e9, four_bit * 0.5625 + wide * 2.0, 1e-3);
}

#[test]
fn quark_s_mxfp4_is_read_and_what_is_not_known_refused() {
    let mut qwen = json!({
        "model_type": "qwen2", "hidden_size": 8192, "intermediate_size": 29568, "num_attention_heads": 64,
        "num_key_value_heads": 8, "num_hidden_layers": 80, "vocab_size": 152_064, "max_position_embeddings": 32768,
        "torch_dtype": "bfloat16", "quantization_config": {"quant_method": "quark",
            "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32}}}
    });
    assert_near(gigabytes(&qwen), 42.3, 0.002);
    qwen["quantization_config"] = json!({"quant_method": "aqlm", "in_group_size": 8});
    let error = read(&[("config.json", &qwen)]).expect_err("not known");
    for part in ["quantization_config.quant_method: aqlm is not known", "weight_dtype in the configuration"] {
        assert!(error.contains(part), "{part} in:\n{error}");
    }
}

#[test]
fn a_kv_scheme_may_be_a_word() {
    let config = json!({
        "model_type": "qwen3", "head_dim": 128, "hidden_size": 5120, "intermediate_size": 25600, "vocab_size": 151_936,
        "max_position_embeddings": 40960, "num_attention_heads": 64, "num_hidden_layers": 64, "num_key_value_heads": 8,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "quantization_config": {
            "quant_algo": "FP8", "kv_cache_scheme": "FP8", "ignore": ["lm_head"], "producer": {"name": "modelopt"},
            "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}}}
    });
    let (model, _) = read(&[("config.json", &config)]).expect("a model");
    assert_eq!(kv_bytes_per_token_and_rank(&model, 1), 131_072.0);
}

#[test]
fn a_list_of_layers_that_the_model_does_not_have_is_refused() {
    let mut config = llama_3_1_8b();
    config["quantization_config"] = json!({
        "quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
        "quantized_layers": {"decoder.blocks.0.fc1": {"quant_algo": "FP8"}}
    });
    let error = read(&[("config.json", &config)]).expect_err("other names");
    assert!(error.contains("names none of the model's modules"), "{error}");
}

#[test]
fn other_files_than_a_checkpoint_s_config_have_no_modelopt_beside_them() {
    let folder = Folder::with("mine.json", llama_3_1_8b().to_string());
    fs::write(folder.file("hf_quant_config.json"), "{}").expect("a file for the test");
    let model = load_hf_config(&folder.file("mine.json")).expect("a model").architecture;
    assert_eq!(model.weight_format.dtype, Dtype::Bf16);
}

//! The catalog as a user meets it: its numbers against the published ones, its look-ups, and what it makes of a user's
//! own model files, whatever is in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use llmperforacle::catalog::{
    Catalog, CatalogError, EntryOrigin, ModelParams, Severity, load_hf_config, load_model_params,
};
use oracle_components::model::{Attention, Dtype, ModelArchitecture, SlidingWindow};
use serde_json::{Value, json};

// ---- the numbers -------------------------------------------------------------------------------------------------

/// Parameters counted matrix by matrix from the papers' formulas, apart from the program's own costing.
fn parameters(model: &ModelArchitecture) -> u64 {
    let [layers, hidden, heads, kv_heads, head_dim] = [
        model.layers,
        model.hidden,
        model.heads,
        model.kv_heads,
        model.head_dim,
    ]
    .map(u64::from);
    let biased = model.all_biases;
    let linear = |inputs: u64, outputs: u64| inputs * outputs + if biased { outputs } else { 0 };
    let attention = match model.attention {
        Attention::Grouped => {
            let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
            let qkv_bias = if model.qkv_bias && !biased {
                queries + 2 * keys
            } else {
                0
            };
            let qk_norm = if model.qk_norm { 2 * head_dim } else { 0 };
            linear(hidden, queries + 2 * keys) + linear(queries, hidden) + qkv_bias + qk_norm
        }
        Attention::Latent {
            kv_lora_rank,
            q_lora_rank,
            rope_head_dim,
            nope_head_dim,
            value_head_dim,
        } => {
            let [latent, rope, nope, value] =
                [kv_lora_rank, rope_head_dim, nope_head_dim, value_head_dim].map(u64::from);
            let queries = match q_lora_rank.map(u64::from) {
                Some(rank) => hidden * rank + rank + rank * heads * (nope + rope),
                None => hidden * heads * (nope + rope),
            };
            queries
                + hidden * (latent + rope)
                + latent
                + latent * heads * (nope + value)
                + heads * value * hidden
        }
    };
    let mlp = |width: u64| {
        let into = if model.gated_mlp { 2 * width } else { width };
        linear(hidden, into) + linear(width, hidden)
    };
    let mlps = match model.moe {
        None => layers * mlp(model.intermediate.into()),
        Some(moe) => {
            let [experts, dense] = [moe.experts, moe.dense_layers].map(u64::from);
            let shared = if moe.shared_intermediate > 0 {
                mlp(moe.shared_intermediate.into())
            } else {
                0
            };
            let sparse =
                experts * mlp(moe.expert_intermediate.into()) + shared + linear(hidden, experts);
            dense * mlp(model.intermediate.into()) + (layers - dense) * sparse
        }
    };
    let norms = layers * u64::from(model.norms_per_layer) + 1;
    let positions = if model.learned_positions {
        u64::from(model.max_position_embeddings)
    } else {
        0
    };
    let matrices = if model.tied_embeddings { 1 } else { 2 };
    layers * attention
        + mlps
        + norms * hidden
        + (matrices * u64::from(model.vocab) + positions) * hidden
}

#[test]
fn every_model_has_the_published_number_of_parameters() {
    let mut rows: Vec<(f64, String)> = Catalog::builtin()
        .models()
        .iter()
        .map(|model| {
            let (counted, published) = (
                parameters(&model.architecture),
                model.published_parameters.count,
            );
            let error = counted as f64 / published as f64 - 1.0;
            let name = &model.architecture.name;
            (
                error,
                format!(
                    "{name:<18} {counted:>15} counted {published:>15} published {:>9.4} %",
                    100.0 * error
                ),
            )
        })
        .collect();
    rows.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    let table: Vec<&str> = rows.iter().take(10).map(|(_, row)| row.as_str()).collect();
    println!("the worst:\n{}", table.join("\n"));
    let wrong: Vec<&str> = rows
        .iter()
        .filter(|(error, _)| error.abs() > 0.01)
        .map(|(_, row)| row.as_str())
        .collect();
    assert!(wrong.is_empty(), "more than 1 % off:\n{}", wrong.join("\n"));
}

#[test]
fn every_model_is_whole() {
    for model in Catalog::builtin().models() {
        let architecture = &model.architecture;
        let name = &architecture.name;
        assert!(
            architecture.heads.is_multiple_of(architecture.kv_heads),
            "{name}"
        );
        assert!(architecture.head_dim >= 64, "{name}");
        assert!(
            architecture
                .sliding_window
                .is_none_or(|window| window.layers <= architecture.layers),
            "{name}"
        );
        assert!(
            architecture
                .moe
                .is_none_or(|moe| moe.experts_per_token <= moe.experts),
            "{name}"
        );
        assert!(
            !model.source.is_empty() && !model.published_parameters.stated_in.is_empty(),
            "{name}"
        );
    }
}

/// Physical bounds: a narrower type is never slower, memory is what the name says less what is reserved.
#[test]
fn every_device_is_within_reason() {
    for device in Catalog::builtin().devices() {
        let (name, peak) = (&device.spec.name, device.spec.peak_flops);
        let fp16 = peak
            .fp16
            .or(peak.bf16)
            .expect("every device has a 16-bit type");
        assert!((60e12..3000e12).contains(&fp16), "{name}");
        assert!(peak.fp32.is_none_or(|fp32| fp32 < fp16), "{name}");
        assert!(
            [peak.fp8, peak.int8, peak.fp4]
                .into_iter()
                .flatten()
                .all(|narrow| narrow >= fp16),
            "{name}"
        );
        assert!(
            (1e11..1e13).contains(&device.spec.memory_bytes_per_s),
            "{name}"
        );
        let labelled = name
            .rsplit_once('-')
            .and_then(|(_, label)| label.strip_suffix("GB")?.parse::<f64>().ok());
        if let Some(gigabytes) = labelled {
            let gibibytes = device.spec.memory_bytes as f64 / f64::from(1 << 30);
            assert!(
                (0.97..1.0).contains(&(gibibytes / gigabytes)),
                "{name}: {gibibytes} GiB"
            );
        }
        for link in device.peer_link.iter().chain([&device.host_link]) {
            assert!((15e9..1e12).contains(&link.bytes_per_s), "{name}");
            assert!(link.bytes_per_s_per_peer <= link.bytes_per_s, "{name}");
            assert!((1e-7..1e-5).contains(&link.latency_s), "{name}");
        }
    }
}

#[test]
fn every_catalog_file_is_embedded_under_the_name_it_has() {
    let catalog = Catalog::builtin();
    let (models, devices) = Catalog::embedded_files();
    let folder = |name: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("configs")
            .join(name);
        let files = fs::read_dir(folder).expect("the catalog's folder is in the repository");
        files
            .map(|file| {
                file.expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(folder("models"), owned(&models));
    assert_eq!(folder("hardware"), owned(&devices));
    let yaml = |name: &str| format!("{name}.yaml");
    assert_eq!(owned(&models), catalog.model_names().map(yaml).collect());
    assert_eq!(owned(&devices), catalog.device_names().map(yaml).collect());
}

// ---- look-ups ----------------------------------------------------------------------------------------------------

#[test]
fn a_model_is_found_by_any_of_its_names() {
    let catalog = Catalog::builtin();
    let name = |asked: &str| {
        catalog
            .model(asked)
            .map(|model| model.architecture.name.as_str())
    };
    for asked in [
        "Llama3.1-8B",
        "llama3.1-8b",
        "meta-llama/Llama-3.1-8B-Instruct",
        "LLAMA-3.1-8B",
        "unsloth/Meta-Llama-3.1-8B-Instruct",
        "/models/Llama-3.1-8B",
        " Llama3.1-8B ",
    ] {
        assert_eq!(name(asked), Some("Llama3.1-8B"), "{asked}");
    }
    assert_eq!(name("Qwen/Qwen3-14B"), Some("Qwen3-14B"));
    assert_eq!(name("GPT-OSS-20b"), Some("gpt-oss-20B"));
    for asked in ["", "/", "Llama3.1-9B", "Llama"] {
        assert_eq!(name(asked), None, "{asked}");
    }
}

#[test]
fn a_device_is_found_by_any_of_its_names() {
    let catalog = Catalog::builtin();
    let name = |asked: &str| {
        catalog
            .device(asked)
            .map(|device| device.spec.name.as_str())
    };
    for (asked, found) in [
        ("h100", "H100-SXM-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80GB"),
        ("H100-PCIE", "H100-PCIe-80GB"),
        ("A100-80GB", "A100-SXM-80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("rtx_a6000", "RTX-A6000"),
        ("RTX PRO 6000", "RTX-PRO-6000"),
        ("Tesla T4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
        ("tpu-v6e", "TPU-v6e"),
    ] {
        assert_eq!(name(asked), Some(found), "{asked}");
    }
    assert_eq!(name("A1000"), None);
}

/// No two models, and no two devices, share a name.
#[test]
fn names_are_unique() {
    let catalog = Catalog::builtin();
    for model in catalog.models() {
        for name in model.aliases.iter().chain([&model.architecture.name]) {
            let found = catalog.model(name).expect("an alias finds its model");
            assert_eq!(found.architecture.name, model.architecture.name, "{name}");
        }
    }
    for device in catalog.devices() {
        for name in device.aliases.iter().chain([&device.spec.name]) {
            let found = catalog.device(name).expect("an alias finds its device");
            assert_eq!(found.spec.name, device.spec.name, "{name}");
        }
    }
}

// ---- a Hugging Face config.json ----------------------------------------------------------------------------------

/// A folder with a file in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        fs::write(folder.path().join(name), content).expect("a file for the test");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn hf(config: &Value) -> (ModelArchitecture, Vec<String>) {
    let folder = Folder::with("config.json", config.to_string());
    let model = load_hf_config(folder.0.path()).unwrap_or_else(|error| panic!("{error}"));
    (
        model.architecture,
        model.warnings.iter().map(ToString::to_string).collect(),
    )
}

fn hf_error(content: impl AsRef<[u8]>) -> String {
    let folder = Folder::with("config.json", content);
    load_hf_config(&folder.file("config.json"))
        .expect_err("a wrong file")
        .to_string()
}

/// Asserts that a `config.json` gives the catalog's model.
#[track_caller]
fn assert_is(name: &str, config: &Value) {
    let (architecture, warnings) = hf(config);
    let catalog = &Catalog::builtin()
        .model(name)
        .expect("in the catalog")
        .architecture;
    assert_eq!(
        ModelArchitecture {
            name: catalog.name.clone(),
            ..architecture
        },
        **catalog
    );
    assert_eq!(warnings, Vec::<String>::new());
}

fn llama_3_1_8b() -> Value {
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
    assert_eq!(
        hf(&listed).0.sliding_window,
        Some(SlidingWindow {
            window_tokens: 1024,
            layers: 31
        })
    );
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
        (
            architecture.weight_dtype,
            architecture.kv_dtype,
            warnings.len(),
        )
    };
    let bf16 = Dtype::Bf16;
    assert_eq!(
        weight(json!({"quant_method": "awq", "bits": 4})),
        (Dtype::Int4, bf16, 0)
    );
    assert_eq!(
        weight(json!({"quant_method": "gptq", "bits": 8})),
        (Dtype::Int8, bf16, 0)
    );
    assert_eq!(
        weight(json!({"quant_method": "bitsandbytes", "load_in_4bit": true})),
        (Dtype::Int4, bf16, 0)
    );
    let groups = json!({"group_0": {"weights": {"num_bits": 8, "type": "float"}}});
    let compressed = json!({
        "quant_method": "compressed-tensors", "config_groups": groups, "kv_cache_scheme": {"num_bits": 8, "type": "float"}
    });
    assert_eq!(weight(compressed), (Dtype::Fp8, Dtype::Fp8, 0));
    assert_eq!(weight(json!({"quant_method": "fp9"})), (bf16, bf16, 1));
}

#[test]
fn an_unknown_type_is_read_as_llama_with_a_warning() {
    let mut config = llama_3_1_8b();
    config["model_type"] = json!("lama");
    let (architecture, warnings) = hf(&config);
    assert_eq!(architecture.kv_heads, 8);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("config.json") && warnings[0].contains("did you mean llama?"),
        "{}",
        warnings[0]
    );
}

#[test]
fn every_missing_or_wrong_key_is_named_at_once() {
    let error = hf_error(
        "{\"model_type\": \"llama\",\n\"num_layer\": 32,\n\"hidden_size\": \"4096\",\n\"num_attention_heads\": 32,\n\
         \"intermediate_size\": -5, \"vocab_size\": 3.5}",
    );
    for part in [
        "num_hidden_layers: is missing",
        "config.json:3: hidden_size: must be a whole number",
        "config.json:5: intermediate_size: must be a whole number",
        "vocab_size: must be a whole number from 1 to 67108864, not 3.5",
        "max_position_embeddings: is missing",
    ] {
        assert!(error.contains(part), "{part} in:\n{error}");
    }
    let mut nested = json!({"model_type": "llava", "text_config": llama_3_1_8b()});
    nested["text_config"]
        .as_object_mut()
        .expect("an object")
        .remove("vocab_size");
    assert!(hf_error(nested.to_string()).contains("text_config.vocab_size: is missing"));
    let mut uneven = llama_3_1_8b();
    uneven["num_key_value_heads"] = json!(7);
    assert!(
        hf_error(uneven.to_string())
            .contains("32 attention heads cannot share 7 key/value heads evenly")
    );
}

#[test]
fn a_path_that_is_not_there_may_be_meant_as_a_name() {
    let error = load_hf_config(Path::new("models/Llama-3.1-8b"))
        .expect_err("no such file")
        .to_string();
    assert!(
        error.contains("did you mean the catalog's Llama3.1-8B"),
        "{error}"
    );
    let empty = tempfile::tempdir().expect("a folder for the test");
    let error = load_hf_config(empty.path())
        .expect_err("no config.json")
        .to_string();
    assert!(
        error.contains("config.json") && error.contains("expected a Hugging Face config.json"),
        "{error}"
    );
}

#[test]
fn a_model_is_named_after_its_folder() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let snapshot = folder
        .path()
        .join("models--Qwen--Qwen3-14B/snapshots/8268fe3026cb304910457689366670e803a6fd56");
    fs::create_dir_all(&snapshot).expect("folders for the test");
    fs::write(snapshot.join("config.json"), llama_3_1_8b().to_string())
        .expect("a file for the test");
    assert_eq!(
        load_hf_config(&snapshot)
            .expect("a model")
            .architecture
            .name,
        "Qwen/Qwen3-14B"
    );
    let own = Folder::with("mine.json", llama_3_1_8b().to_string());
    assert_eq!(
        load_hf_config(&own.file("mine.json"))
            .expect("a model")
            .architecture
            .name,
        "mine"
    );
}

// ---- the predecessor's model_params.json -------------------------------------------------------------------------

fn database(content: impl AsRef<[u8]>) -> ModelParams {
    let folder = Folder::with("model_params.json", content);
    load_model_params(&folder.file("model_params.json")).unwrap_or_else(|error| panic!("{error}"))
}

fn messages(database: &ModelParams, severity: Severity) -> Vec<String> {
    database
        .of_severity(severity)
        .map(ToString::to_string)
        .collect()
}

/// A database of one entry, called Mine: the shape of Llama 3 8B with some keys changed.
fn changed(changes: &Value) -> ModelParams {
    let mut own = entry();
    for (key, value) in changes.as_object().expect("an object") {
        own[key] = value.clone();
    }
    database(json!({"Mine": own}).to_string())
}

/// An entry as the predecessor writes it.
fn entry() -> Value {
    json!({
        "parameters": 8_000_000_000_u64, "hidden_size": 4096, "num_layers": 32, "num_attention_heads": 32,
        "num_kv_heads": 8, "intermediate_size": 14336, "vocab_size": 128_256, "parameter_bytes_fp16": 16_000_000_000_u64,
        "kv_cache_bytes_per_token_per_layer": 4096,
        "prefill_op_stats": {"flops_per_token": 16e9, "memory_bytes_per_token": 32e6},
        "decode_op_stats": {"flops_per_token": 16e9, "memory_bytes_per_token": 64e6},
        "aggregated_ops": {}, "layer_types": {"attention": {}, "mlp": {}}
    })
}

#[test]
fn an_entry_of_a_catalog_model_is_that_model() {
    let mut wrong_kv = entry();
    wrong_kv["kv_cache_bytes_per_token_per_layer"] = json!(16384);
    let database = database(json!({"Llama3-8B": wrong_kv}).to_string());
    let model = database.model("llama3-8b").expect("the entry");
    assert_eq!(model.origin, EntryOrigin::Catalog);
    assert_eq!(
        model.architecture,
        Catalog::builtin()
            .model("Llama3-8B")
            .expect("in the catalog")
            .architecture
    );
    assert_eq!(messages(&database, Severity::Error), Vec::<String>::new());
    let warnings = messages(&database, Severity::Warning);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(
        "Llama3-8B.kv_cache_bytes_per_token_per_layer: is 16384, but the architecture stores 4096"
    ));
    assert_eq!(messages(&database, Severity::Note).len(), 1);
}

#[test]
fn an_entry_of_another_shape_keeps_it() {
    let mut shallow = entry();
    shallow["num_layers"] = json!(16);
    let database = database(json!({"Llama3-8B": shallow, "Mine": entry()}).to_string());
    let own = database.model("Llama3-8B").expect("the entry");
    assert_eq!(
        (own.origin, own.architecture.layers),
        (EntryOrigin::Entry, 16)
    );
    let warnings = messages(&database, Severity::Warning);
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("num_layers 16, not 32")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("Llama3-8B.parameters: is 8000000000, but")),
        "{warnings:?}"
    );
    let mine = &database.model("Mine").expect("the entry").architecture;
    assert_eq!(
        (mine.head_dim, mine.gated_mlp, mine.tied_embeddings),
        (128, true, false)
    );
}

/// The stated parameters tell a plain MLP and shared embeddings from the usual.
#[test]
fn what_an_entry_does_not_state_follows_from_its_parameters() {
    let variant = |mut changes: Value| {
        changes["parameter_bytes_fp16"] = Value::Null;
        changed(&changes)
            .model("Mine")
            .expect("the entry")
            .architecture
            .clone()
    };
    let gpt = variant(json!({
        "parameters": 175e9, "hidden_size": 12288, "num_layers": 96, "num_attention_heads": 96, "num_kv_heads": 96,
        "intermediate_size": 49152, "vocab_size": 50257
    }));
    assert!(!gpt.gated_mlp);
    let small = variant(json!({
        "parameters": 1.24e9, "hidden_size": 2048, "num_layers": 16, "num_kv_heads": 8, "intermediate_size": 8192
    }));
    assert!(small.gated_mlp && small.tied_embeddings);
    let experts = variant(
        json!({"parameters": 46.7e9, "vocab_size": 32000, "num_experts": 8, "num_experts_per_tok": 2}),
    );
    let moe = experts.moe.expect("experts");
    assert_eq!(
        (moe.experts, moe.experts_per_token, moe.expert_intermediate),
        (8, 2, 14336)
    );
}

#[test]
fn each_of_the_predecessor_s_rules_is_checked() {
    for (changes, error) in [
        (json!({"hidden_size": null}), "Mine.hidden_size: is missing"),
        (
            json!({"num_layers": "32"}),
            "Mine.num_layers: must be a whole number",
        ),
        (
            json!({"parameters": -1}),
            "Mine.parameters: must be a number above 0",
        ),
        (
            json!({"parameter_bytes_fp16": 15e9}),
            "Mine.parameter_bytes_fp16: is 15000000000, but two bytes for each",
        ),
        (
            json!({"prefill_op_stats": null}),
            "Mine.prefill_op_stats: is missing",
        ),
        (
            json!({"decode_op_stats": {"flops_per_token": 1}}),
            "Mine.decode_op_stats.memory_bytes_per_token: is missing",
        ),
        (
            json!({"layer_types": {"attention": {}}}),
            "Mine.layer_types.mlp: is missing",
        ),
        (
            json!({"num_experts": 1, "num_experts_per_tok": 2}),
            "Mine: a token is sent to 2 experts, but there are 1",
        ),
    ] {
        let database = changed(&changes);
        let errors = messages(&database, Severity::Error).join("\n");
        assert!(errors.contains(error), "{error} in: {errors}");
        assert!(database.models.is_empty());
    }
    for (changes, warning) in [
        (
            json!({"parameter_bytes_fp16": null}),
            "taken as 2 × parameters = 16000000000",
        ),
        (
            json!({"kv_cache_bytes_per_token_per_layer": null}),
            "computed from the heads",
        ),
        (
            json!({"aggregated_ops": null}),
            "Mine.aggregated_ops: is missing",
        ),
        (
            json!({"hiden_size": 4096}),
            "Mine.hiden_size: nobody reads this key; did you mean hidden_size?",
        ),
    ] {
        let database = changed(&changes);
        let warnings = messages(&database, Severity::Warning).join("\n");
        assert!(warnings.contains(warning), "{warning} in: {warnings}");
        assert_eq!(
            (
                database.models.len(),
                messages(&database, Severity::Error).len()
            ),
            (1, 0)
        );
    }
}

#[test]
fn a_finding_says_where_it_is() {
    let database = database(
        "{\n  \"Mine\": {\n    \"parameters\": 1,\n    \"hidden_size\": true\n  },\n  \"Other\": 3\n}",
    );
    let errors = messages(&database, Severity::Error).join("\n");
    assert!(
        errors.contains("model_params.json:4: Mine.hidden_size: must be a whole number"),
        "{errors}"
    );
    assert!(
        errors.contains("model_params.json:6: Other: must be an object"),
        "{errors}"
    );
    assert!(database.models.is_empty());
}

// ---- whatever a file holds ---------------------------------------------------------------------------------------

#[test]
fn strange_files_are_errors_and_nothing_worse() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let contents: [&[u8]; 8] = [
        b"",
        b"\xff\xfe\x00binary",
        b"nonsense",
        b"[1]",
        b"3",
        b"{\"a\":",
        deep.as_bytes(),
        b"{\"a\": 1} {",
    ];
    for content in contents {
        let folder = Folder::with("config.json", content);
        let path = folder.file("config.json");
        for error in [
            load_hf_config(&path).map(drop),
            load_model_params(&path).map(drop),
        ] {
            let message = error.expect_err("not such a file").to_string();
            assert!(message.contains("config.json"), "{message}");
        }
    }
    let huge = Folder::with("config.json", vec![b' '; 5 << 20]);
    assert!(matches!(
        load_hf_config(huge.0.path()),
        Err(CatalogError::TooLarge { .. })
    ));
    let missing =
        load_model_params(Path::new("no/such/model_params.json")).expect_err("no such file");
    assert!(
        missing.to_string().contains("no/such/model_params.json"),
        "{missing}"
    );
}

#[test]
fn every_value_of_every_wrong_type_is_survived() {
    let strange = [
        json!(null),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let mut config = llama_3_1_8b();
    for key in [
        "sliding_window",
        "layer_types",
        "num_experts",
        "kv_lora_rank",
        "quantization_config",
        "head_dim",
        "text_config",
    ] {
        config[key] = Value::Null;
    }
    for key in config.as_object().expect("an object").keys() {
        for value in &strange {
            let mut other = config.clone();
            other[key] = value.clone();
            let folder = Folder::with("config.json", other.to_string());
            drop(load_hf_config(folder.0.path()));
        }
    }
    for key in entry().as_object().expect("an object").keys() {
        for value in &strange {
            drop(changed(&json!({key: value})));
        }
    }
}

// ---- files of real runs, where they are at hand ------------------------------------------------------------------

/// The folder of measured data beside the checkout, or the one that the environment names.
fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("LLMPERFORACLE_SHARED").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = [here.join("../shared"), here.join("../../shared")];
    named
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join("data"))
        .find(|folder| folder.is_dir())
}

#[test]
fn config_files_of_measured_runs_give_the_catalog_s_models() {
    let Some(shared) = shared() else { return };
    let mut compared = 0;
    for run in fs::read_dir(shared.join("realruns"))
        .expect("the runs")
        .filter_map(Result::ok)
    {
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

#[test]
fn the_predecessor_s_own_database_is_read_without_an_error() {
    let Some(shared) = shared() else { return };
    let database = load_model_params(&shared.join("llmperforacle-configs/model_params.json"))
        .expect("a database");
    assert_eq!(messages(&database, Severity::Error), Vec::<String>::new());
    assert_eq!(database.models.len(), 12);
    assert!(
        database
            .models
            .iter()
            .all(|model| model.origin == EntryOrigin::Catalog)
    );
    let warnings = messages(&database, Severity::Warning);
    println!("{}", warnings.join("\n"));
    for name in [
        "Llama3-8B",
        "Llama3-70B",
        "Mistral-7B-v0.3",
        "Mixtral-8x7B",
        "Qwen2.5-72B",
        "Gemma2-9B",
    ] {
        let key = format!("{name}.kv_cache_bytes_per_token_per_layer");
        assert!(
            warnings.iter().any(|warning| warning.contains(&key)),
            "{key}"
        );
    }
}

//! What is mutated: sound files of every kind.

use std::path::{Path, PathBuf};

use llmperforacle::catalog::Catalog;
use llmperforacle::config::{generate_config, generate_config_json, schema};
use rand::RngExt;
use serde_json::{Value, json};

use super::Random;

/// Bytes of a recorded trace that are mutated.
const TRACE_HEAD: usize = 3000;

/// A configuration with nearly every kind of key, which runs within milliseconds.
const FULL: &str = "\
simulation: {max_simulation_time: 20, random_seed: 7, lod: high}
hardware_profile:
  compute_devices:
    - {device_id: gpu, device: A100-80GB, count: 4}
    - {device_id: own, device_type: GPU, peak_tflops: {fp16: 312, bf16: 312, int8: 624}, memory_capacity_bytes: 80_000_000_000, memory_gbps: 2039, mfu: 0.5, mbu: 0.8}
  network_links:
    - {link_id: uplink, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 8e9, latency_s: 0.001}
    - {link_id: bridge, source_id: gpu0, dest_id: gpu1, bandwidth_bps: 8e11, latency_s: 0.000001}
workload:
  total_duration: 10
  load_balancing_strategy: least_loaded
  request_timeout_s: 30
  generate_prompt_tokens: true
  max_turns_per_session: 4
  prefix_patterns:
    patterns:
      - {type: system, name: own, weight: 1, tokens: 300}
      - {type: mixed, weight: 1, components: [{type: system, name: a, tokens: 100}, {type: few_shot, name: b, tokens: 200}]}
      - {type: random, weight: 1}
  client_profiles:
    - profile_name: chat
      weight: 2
      inter_arrival_time_dist_config: {type: Exponential, rate: 4.0}
      prompt_tokens_dist_config: {type: LogNormal, mean_tokens: 200, std_tokens: 100}
      max_output_tokens_dist_config: {type: Uniform, low: 10, high: 60, is_int: true}
      output_tokens_dist_config: {type: Gamma, shape: 2, scale: 20}
      conversational_probability: 0.5
      continuation_probability: 0.7
      follow_up_inter_arrival_time_dist_config: {type: Weibull, shape: 2, scale: 1}
      streaming_response_probability: 0.5
      user_priority_dist_config: {type: Normal, mean: 3, std: 2}
      timeout_s: 12
    - profile_name: batch
      inter_arrival_time_dist_config: {type: Mixture, components: [{type: Constant, value: 1.0}, {type: Pareto, shape: 2, scale: 0.1}], weights: [1, 2]}
      prompt_tokens_dist_config: {type: Uniform, low: 500, high: 1500}
      max_output_tokens_dist_config: {type: Constant, value: 50}
frameworks_to_test:
  - name: one
    type: VLLM
    replicas: 2
    config: {model_profile_id: Llama2-7B, gpu_id: gpu0, block_size: 16, max_num_seqs: 16, max_num_batched_tokens: 512, scheduling_policy: priority, num_gpu_blocks_override: 300, max_model_len: 3000, step_overhead_s: 0.001}
  - name: two
    type: ParallelVLLM
    config: {model_profile_id: Mixtral-8x7B, parallelism: {strategy: TP_PP, tp_degree: 2, pp_stages: 1, gpu_ids: [gpu2, gpu3]}, weight_dtype: fp8, kv_cache_dtype: fp8, long_prefill_token_threshold: 256}
metrics_config: {percentiles_to_calculate: [0.5, 0.99], warm_up_duration_s: 1, timeseries_interval_s: 0.5}
";

/// The smallest configuration.
pub const SMALL: &str = "\
simulation: {drain: true}
hardware_profile: {compute_devices: [{device_id: gpu0, device: H100}]}
workload:
  total_requests_to_generate: 50
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 20}
      prompt_tokens_dist_config: {type: Constant, value: 100}
      max_output_tokens_dist_config: {type: Constant, value: 20}
frameworks_to_test: [{name: v, type: VLLM, config: {model_profile_id: Llama3-8B, gpu_id: gpu0}}]
";

/// Two frameworks with a link between their GPUs.
pub const TWO: &str = "\
simulation: {max_simulation_time: 5}
hardware_profile:
  compute_devices: [{device_id: gpu, device: A100-80GB, count: 3}]
  network_links:
    - {link_id: bridge, source_id: gpu0, dest_id: gpu1, bandwidth_bps: 8e11, latency_s: 0.000001}
    - {link_id: ring, source_id: gpu1, dest_id: gpu2, bandwidth_bps: 8e11, latency_s: 0.000001}
    - {link_id: up, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 8e9, latency_s: 0.001}
workload:
  total_duration: 3
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 20}
      prompt_tokens_dist_config: {type: Constant, value: 100}
      max_output_tokens_dist_config: {type: Constant, value: 20}
frameworks_to_test:
  - {name: a, type: VLLM, replicas: 2, config: {model_profile_id: Llama2-7B, gpu_id: gpu0}}
  - {name: b, type: ParallelVLLM, replicas: 3, config: {model_profile_id: Llama2-7B, parallelism: {strategy: TP, tp_degree: 2, gpu_ids: [gpu1, gpu2]}}}
";

/// Tight memory, stages, no chunks.
const TIGHT: &str = "\
simulation: {max_simulation_time: 30, lod: medium}
hardware_profile: {compute_devices: [{device_id: gpu, device: A100-80GB, count: 4}]}
workload:
  total_duration: 5
  arrivals: independent
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Constant, value: 0.1}
      prompt_tokens_dist_config: {type: Uniform, low: 1, high: 400}
      max_output_tokens_dist_config: {type: Uniform, low: 1, high: 200}
      conversational_probability: 1
      continuation_probability: 1
frameworks_to_test:
  - name: v
    type: ParallelVLLM
    config:
      model_profile_id: Llama3-8B
      num_gpu_blocks_override: 60
      max_model_len: auto
      max_num_seqs: 8
      max_num_batched_tokens: 1024
      enable_chunked_prefill: false
      parallelism: {strategy: TP_PP, tp_degree: 2, pp_stages: 2, gpu_ids: [gpu0, gpu1, gpu2, gpu3], num_microbatches_per_request: 3}
";

/// What a key takes.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Within these bounds; whole where `whole`.
    Number {
        low: f64,
        high: f64,
        whole: bool,
    },
    Flag,
    Choice(Vec<String>),
    Distribution,
    Other,
}

/// A key of the configuration, from its schema.
#[derive(Clone, Debug)]
pub struct Key {
    pub path: String,
    pub kind: Kind,
}

/// Sound files of every kind.
pub struct Corpus {
    configs: Vec<Vec<u8>>,
    traces: Vec<(&'static str, Vec<u8>)>,
    hugging_face: Vec<Vec<u8>>,
    model_params: Vec<Vec<u8>>,
    kernels: Vec<(&'static str, Vec<u8>)>,
    /// Keys for `--set`.
    pub keys: Vec<Key>,
    key_names: Vec<String>,
}

impl Corpus {
    /// The files of the repository, and those of the shared folder where there is one.
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shared = std::env::var_os("LLMPERFORACLE_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
        let mut configs: Vec<Vec<u8>> =
            [FULL, SMALL, TIGHT, TWO, FULL, SMALL, TIGHT].map(|text| text.as_bytes().to_vec()).into();
        configs.push(generate_config().into_bytes());
        configs.push(generate_config_json().into_bytes());
        configs.extend(files(&root.join("configs/scenarios"), "yaml"));
        configs.extend(files(&shared.join("data/llmperforacle-configs"), "yaml"));
        let mut model_params = files(&shared.join("data/llmperforacle-configs"), "json");
        model_params.push(entry().to_string().into_bytes());
        let mut traces = vec![
            ("x.csv", GENERIC.as_bytes().to_vec()),
            ("x.csv", AZURE.as_bytes().to_vec()),
            ("x.jsonl", MOONCAKE.as_bytes().to_vec()),
        ];
        for text in files(&shared.join("data/traces"), "csv") {
            traces.push(("x.csv", head(&text)));
        }
        for text in files(&shared.join("data/traces"), "jsonl") {
            traces.push(("x.jsonl", head(&text)));
        }
        let hugging_face = hugging_face().iter().map(|value| format!("{value:#}").into_bytes()).collect();
        let curves = Catalog::builtin().curves().map(|curve| ("efficiency_curve", curve.yaml().into_bytes()));
        let tables = TABLES.map(|(key, text)| (key, text.as_bytes().to_vec()));
        let kernels = curves.chain(tables).collect();
        let (keys, key_names) = keys();
        Self { configs, traces, hugging_face, model_params, kernels, keys, key_names }
    }

    pub fn any_config(&self, random: &mut Random) -> Vec<u8> {
        self.configs[random.random_range(0..self.configs.len())].clone()
    }

    pub fn any_trace(&self, random: &mut Random) -> (&'static str, Vec<u8>) {
        self.traces[random.random_range(0..self.traces.len())].clone()
    }

    pub fn any_hugging_face(&self, random: &mut Random) -> Vec<u8> {
        self.hugging_face[random.random_range(0..self.hugging_face.len())].clone()
    }

    pub fn any_model_params(&self, random: &mut Random) -> Vec<u8> {
        self.model_params[random.random_range(0..self.model_params.len())].clone()
    }

    /// Figures of kernels, with the key of a device that takes them.
    pub fn any_kernels(&self, random: &mut Random) -> (&'static str, Vec<u8>) {
        self.kernels[random.random_range(0..self.kernels.len())].clone()
    }

    /// A text of any kind.
    pub fn any_text(&self, random: &mut Random) -> Vec<u8> {
        match random.random_range(0..7) {
            0..3 => self.any_config(random),
            3 => self.any_trace(random).1,
            4 => self.any_hugging_face(random),
            5 => self.any_kernels(random).1,
            _ => self.any_model_params(random),
        }
    }

    pub fn any_key_name(&self, random: &mut Random) -> String {
        self.key_names[random.random_range(0..self.key_names.len())].clone()
    }
}

fn files(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn head(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(TRACE_HEAD)].to_vec()
}

const GENERIC: &str = "\
arrival_s,prompt_tokens,output_tokens,max_output_tokens,session_id,priority,comment
0.0,100,20,30,a,1,\"x, y\"
0.5,200,10,,b,-2,
0.75,1,1,1,a,2147483647,\"two
lines\"
1e1,300.0,40,50,,,z
";
const AZURE: &str = "\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2024-05-10T00:00:00.009930+00:00,3180,8
2024-05-10 02:00:01Z,110,27
";
const MOONCAKE: &str = "\
{\"timestamp\": 0, \"input_length\": 1500, \"output_length\": 20, \"hash_ids\": [0, 1, 2]}
{\"timestamp\": 3000.5, \"input_length\": 1030, \"output_length\": 0, \"hash_ids\": [0, 1, 9]}

{\"timestamp\": 3000.5, \"input_length\": 7, \"output_length\": 1}
";

/// Measured kernels, by the key of the table that takes them.
const TABLES: [(&str, &str); 5] = [
    (
        "efficiency_table.gemm",
        "m,n,k,latency_ms\n1,6144,4096,0.02\n128,6144,4096,0.03\n4096,6144,4096,0.4\n64,14000,4096,0.07\n96,14000,4096,0.06\n",
    ),
    ("efficiency_table.gemm_8bit", "m,n,k,latency_ms\n1,4096,4096,0.01\n256,4096,4096,0.02\n"),
    (
        "efficiency_table.prefill_attention",
        "batch,seq,heads,kv_heads,head_dim,kv_dtype,latency_ms\n1,128,32,8,128,bfloat16,0.02\n2,128,32,8,128,bfloat16,0.03\n\
         1,4096,32,8,128,bfloat16,0.9\n1,64,16,4,128,fp8,0.02\n",
    ),
    (
        "efficiency_table.decode_attention",
        "batch,kv_len,heads,kv_heads,head_dim,kv_dtype,latency_ms\n1,256,32,8,128,bfloat16,0.01\n1,4096,32,8,128,bfloat16,0.02\n\
         64,512,32,8,128,bfloat16,0.05\n64,8192,32,8,128,bfloat16,0.8\n",
    ),
    (
        "efficiency_table.experts",
        "gpu,dtype,hidden,inter,experts,topk,tp,ep,distribution,tokens,latency_ms\n\
         a,bfloat16,4096,14336,8,2,1,1,power_law_1.2,1,0.2\na,bfloat16,4096,14336,8,2,1,1,power_law_1.2,512,1.5\n",
    ),
];

fn hugging_face() -> Vec<Value> {
    vec![
        json!({
            "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131_072,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "attention_bias": false,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128_256,
            "rope_scaling": {"factor": 8.0, "rope_type": "llama3"}
        }),
        json!({
            "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
            "num_experts_per_tok": 2, "sliding_window": null, "torch_dtype": "bfloat16", "vocab_size": 32000,
            "quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}
        }),
        json!({
            "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
            "num_attention_heads": 128, "num_hidden_layers": 61, "num_key_value_heads": 128, "n_routed_experts": 256,
            "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "kv_lora_rank": 512,
            "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "moe_layer_freq": 1,
            "max_position_embeddings": 163_840, "torch_dtype": "bfloat16", "vocab_size": 129_280,
            "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
        }),
        json!({
            "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "head_dim": 256,
            "num_attention_heads": 8, "num_hidden_layers": 34, "num_key_value_heads": 4, "sliding_window": 1024,
            "sliding_window_pattern": 6, "max_position_embeddings": 131_072, "torch_dtype": "bfloat16", "vocab_size": 262_208
        }),
        json!({
            "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": {
                "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
                "sliding_window": 1024, "head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262_208
            }, "torch_dtype": "bfloat16"
        }),
        json!({
            "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 131_072,
            "max_window_layers": 28, "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
            "sliding_window": 131_072, "use_sliding_window": true, "torch_dtype": "float16", "vocab_size": 152_064,
            "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}
        }),
    ]
}

fn entry() -> Value {
    json!({"Own": {
        "parameters": 6.7e9, "hidden_size": 4096, "num_layers": 32, "num_attention_heads": 32, "num_kv_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32000, "prefill_op_stats": {"total_flops_per_token": 1e10},
        "kv_cache_bytes_per_token_per_layer": 16384, "parameter_bytes_fp16": 13.4e9
    }})
}

/// The configuration's keys, and their names.
fn keys() -> (Vec<Key>, Vec<String>) {
    let schema = schema();
    let mut paths = Vec::new();
    walk(&schema, &schema, "", 0, &mut paths);
    let name = |key: &Key| key.path.rsplit('.').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = paths.iter().map(name).collect();
    names.sort();
    names.dedup();
    (paths, names)
}

fn walk(schema: &Value, root: &Value, path: &str, depth: usize, paths: &mut Vec<Key>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        if depth < 8 {
            walk(&root["$defs"][name], root, path, depth + 1, paths);
        }
        return;
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let is_section = inner.get("$ref").is_some() || inner["items"].get("$ref").is_some();
        let is_distribution = inner["$ref"].as_str().is_some_and(|name| name.ends_with("/Distribution"));
        if is_distribution {
            paths.push(Key { path, kind: Kind::Distribution });
        } else if is_section {
            walk(inner, root, &path, depth + 1, paths);
        } else {
            paths.push(Key { path, kind: kind(inner) });
        }
    }
    if schema["items"].is_object() {
        walk(&schema["items"], root, &format!("{path}[*]"), depth + 1, paths);
    }
}

fn kind(schema: &Value) -> Kind {
    if let Some(names) = schema["enum"].as_array() {
        return Kind::Choice(names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let bound = |names: [&str; 2]| names.iter().find_map(|name| schema[*name].as_f64());
    match schema["type"].as_str() {
        Some(name @ ("number" | "integer")) => Kind::Number {
            low: bound(["minimum", "exclusiveMinimum"]).unwrap_or(0.0),
            high: bound(["maximum", "exclusiveMaximum"]).unwrap_or(f64::MAX),
            whole: name == "integer",
        },
        Some("boolean") => Kind::Flag,
        _ => Kind::Other,
    }
}

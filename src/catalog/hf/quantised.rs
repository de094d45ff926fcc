//! Element types from a Hugging Face `config.json`: `torch_dtype` (or `dtype`) and `quantization_config`.

use oracle_components::model::Dtype;
use serde_json::{Map, Value};

use super::fields::{Fields, shown};
use crate::catalog::nearest::did_you_mean;

/// Element types of a model's parts.
pub(super) struct Dtypes {
    pub(super) weight: Dtype,
    /// Side of the blocks of weights that share a scale.
    pub(super) weight_block: Option<u32>,
    pub(super) activation: Dtype,
    pub(super) kv: Dtype,
    /// Of the experts, where it is another than `weight`.
    pub(super) expert: Option<Dtype>,
}

/// Reads the element types. A checkpoint in fp32 is served in bf16, as vLLM does by default.
pub(super) fn dtypes(fields: &mut Fields<'_>, has_experts: bool) -> Dtypes {
    let activation = activation(fields);
    let mut dtypes = Dtypes { weight: activation, weight_block: None, activation, kv: activation, expert: None };
    let Some(value) = fields.value("quantization_config").or_else(|| fields.value("compression_config")) else {
        return dtypes;
    };
    let Value::Object(config) = value else {
        let message = format!("must be an object, not {}", shown(value));
        let path = fields.path("quantization_config");
        fields.findings.error(&path, message);
        return dtypes;
    };
    if keeps_fp8_cache(config) {
        dtypes.kv = Dtype::Fp8;
    }
    dtypes.weight_block = weight_block(config);
    match weight(fields, config) {
        // gpt-oss quantises its experts alone; attention, router and embeddings stay as they are.
        Some(Dtype::Mxfp4) if has_experts && word(config, "quant_method") == Some("mxfp4") => {
            dtypes.expert = Some(Dtype::Mxfp4);
        }
        Some(weight) => dtypes.weight = weight,
        None => {}
    }
    dtypes
}

fn activation(fields: &mut Fields<'_>) -> Dtype {
    let key = if fields.value("torch_dtype").is_some() { "torch_dtype" } else { "dtype" };
    let Some(name) = fields.word(key) else {
        return Dtype::Bf16;
    };
    match name.strip_prefix("torch.").unwrap_or(name) {
        "bfloat16" | "auto" => Dtype::Bf16,
        "float16" | "half" => Dtype::Fp16,
        "float32" | "float" => {
            fields.warn(key, "a float32 checkpoint is served in bfloat16, as vLLM does by default");
            Dtype::Bf16
        }
        other => {
            let hint = did_you_mean(other, ["bfloat16", "float16", "float32"]);
            fields.warn(key, format!("unknown type {other}, taken as bfloat16{hint}"));
            Dtype::Bf16
        }
    }
}

const METHODS: [&str; 9] =
    ["fp8", "fbgemm_fp8", "mxfp4", "awq", "gptq", "bitsandbytes", "compressed-tensors", "modelopt", "quark"];

/// Element type of the quantised weights, `None` (with a warning) where the method is not known.
fn weight(fields: &mut Fields<'_>, config: &Map<String, Value>) -> Option<Dtype> {
    let method = word(config, "quant_method").or_else(|| word(config, "quant_library")).unwrap_or("");
    let dtype = match method {
        "fp8" | "fbgemm_fp8" => Some(Dtype::Fp8),
        "mxfp4" => Some(Dtype::Mxfp4),
        "awq" | "gptq" | "auto-round" | "intel/auto-round" => {
            of_bits(config.get("bits").or_else(|| config.get("w_bit")).and_then(Value::as_u64), false)
        }
        "bitsandbytes" if config.get("load_in_4bit") == Some(&Value::Bool(true)) => Some(Dtype::Int4),
        "bitsandbytes" if config.get("load_in_8bit") == Some(&Value::Bool(true)) => Some(Dtype::Int8),
        "modelopt" => match word(config, "quant_algo") {
            Some(name) if name.contains("FP4") => Some(Dtype::Mxfp4),
            Some(name) if name.contains("FP8") => Some(Dtype::Fp8),
            Some(name) if name.contains("W4") => Some(Dtype::Int4),
            Some(name) if name.contains("INT8") => Some(Dtype::Int8),
            _ => None,
        },
        _ => of_groups(config),
    };
    if dtype.is_none() {
        let hint = did_you_mean(method, METHODS);
        let message = format!("the element type of its weights is not known; taken as not quantised{hint}");
        fields.warn("quantization_config", message);
    }
    dtype
}

/// compressed-tensors: the weights of the first group that has any.
fn of_groups(config: &Map<String, Value>) -> Option<Dtype> {
    let groups = config.get("config_groups")?.as_object()?;
    let weights = groups.values().find_map(|group| group.get("weights")?.as_object())?;
    of_bits(weights.get("num_bits")?.as_u64(), word(weights, "type") == Some("float"))
}

/// fp8's `weight_block_size`, or compressed-tensors' `block_structure`: rows and columns, which are as many.
fn weight_block(config: &Map<String, Value>) -> Option<u32> {
    let groups = config.get("config_groups").and_then(Value::as_object);
    let of_group = |group: &Value| group.get("weights")?.get("block_structure").cloned();
    let of_groups = || groups.into_iter().flat_map(Map::values).find_map(of_group);
    let sides = config.get("weight_block_size").cloned().or_else(of_groups)?;
    u32::try_from(sides.get(0)?.as_u64()?).ok().filter(|side| *side > 0)
}

fn of_bits(bits: Option<u64>, float: bool) -> Option<Dtype> {
    match (bits?, float) {
        (8, true) => Some(Dtype::Fp8),
        (8, false) => Some(Dtype::Int8),
        (4, true) => Some(Dtype::Mxfp4),
        (4, false) => Some(Dtype::Int4),
        _ => None,
    }
}

/// The checkpoint brings scales for an 8-bit KV cache.
fn keeps_fp8_cache(config: &Map<String, Value>) -> bool {
    let scheme = config.get("kv_cache_scheme").and_then(Value::as_object);
    let bits = scheme.and_then(|scheme| scheme.get("num_bits")).and_then(Value::as_u64);
    bits == Some(8) || word(config, "kv_cache_quant_algo") == Some("FP8")
}

fn word<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

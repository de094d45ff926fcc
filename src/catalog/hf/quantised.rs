//! Element types from a Hugging Face `config.json`: `torch_dtype` (or `dtype`), and how the checkpoint is quantised.

use std::path::Path;

use oracle_components::model::Dtype;
use oracle_components::weight_format::WeightFormat;

use super::fields::Fields;
use crate::catalog::CatalogError;
use crate::catalog::finding::Severity;
use crate::catalog::json_file::{self, JsonFile, shown};
use crate::catalog::nearest::did_you_mean;
use crate::catalog::quantization::{File, Quantization, Refusal, Source};

/// No `hf_quant_config.json` is longer, in bytes: it may name every expert of every layer.
const LARGEST_BYTES: u64 = 16 << 20;

/// ModelOpt's description beside a `config.json`.
pub(super) struct Beside {
    path: std::path::PathBuf,
    json: JsonFile,
}

impl Beside {
    /// That of a checkpoint's folder, if it has one.
    pub(super) fn of(config: &Path) -> Result<Option<Self>, CatalogError> {
        let path = config.with_file_name("hf_quant_config.json");
        if config.file_name().is_none_or(|name| name != "config.json") || !path.is_file() {
            return Ok(None);
        }
        let json = json_file::read(&path, LARGEST_BYTES, "the object of ModelOpt's hf_quant_config.json")?;
        Ok(Some(Self { path, json }))
    }
}

/// Element type of activations. A checkpoint in fp32 is served in bf16, as vLLM does by default.
pub(super) fn activation(fields: &mut Fields<'_>) -> Dtype {
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

/// Keys of the `config.json` that describe the quantisation.
const KEYS: [&str; 2] = ["quantization_config", "compression_config"];

/// How the checkpoint is quantised; where `weights` says what its weights are, that.
pub(super) fn quantization(
    fields: &mut Fields<'_>,
    dtype: Dtype,
    beside: Option<&Beside>,
    weights: Option<WeightFormat>,
) -> Quantization {
    let key = KEYS.into_iter().find(|key| fields.value(key).is_some());
    let value = key.and_then(|key| fields.value(key));
    let config = value.and_then(serde_json::Value::as_object);
    let expert_dtype = fields.value("expert_dtype").and_then(serde_json::Value::as_str);
    let hf_quant_config = beside.map(|beside| &beside.json.object);
    let read = Quantization::read(&Source { dtype, config, hf_quant_config, expert_dtype });
    let mut add = |severity: Severity, Refusal { file, problem }: &Refusal| match (file, beside) {
        (File::HfQuantConfig, Some(Beside { path, json })) => {
            fields.findings.add_about(path, &json.lines, severity, &problem.key, problem.message.clone());
        }
        // `expert_dtype` stands beside the description.
        _ if problem.key == "expert_dtype" => {
            let path = fields.path("expert_dtype");
            fields.findings.add(severity, &path, problem.message.clone());
        }
        _ => {
            let path = fields.path(key.unwrap_or(KEYS[0]));
            fields.findings.add(severity, &format!("{path}.{}", problem.key), problem.message.clone());
        }
    };
    if let Some(format) = weights {
        let kv_dtype = read.ok().and_then(|read| read.kv_dtype());
        return Quantization::of_format(dtype, format, kv_dtype);
    }
    let quantization = match read {
        Ok(quantization) => {
            for note in quantization.notes() {
                add(Severity::Warning, note);
            }
            quantization
        }
        Err(refusal) => {
            add(Severity::Error, &refusal);
            Quantization::none(dtype)
        }
    };
    if let (Some(value), None) = (value, config) {
        let path = fields.path(key.unwrap_or(KEYS[0]));
        fields.findings.error(&path, format!("must be an object, not {}", shown(value)));
    }
    quantization
}

/// A description that gives formats to modules by names none of which the model has.
pub(super) fn refuse_strange_names(fields: &mut Fields<'_>) {
    let key = KEYS.into_iter().find(|key| fields.value(key).is_some()).unwrap_or(KEYS[0]);
    let path = fields.path(key);
    let message = "names none of the model's modules as they are known here; weight_dtype in the configuration (such as \
                   nvfp4 or int4_g32) says what the weights are in its place";
    fields.findings.error(&path, message);
}

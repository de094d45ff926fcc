//! How a checkpoint is quantised, module by module: from the `quantization_config` of its `config.json`, or from ModelOpt's
//! `hf_quant_config.json` beside it, as vLLM reads them.
//!
//! Each method becomes rules in the order in which they apply; what no rule names stays as it is. Embeddings, norms,
//! routers, convolutions and towers for other modalities stay so unless a rule names them. What is not understood is an
//! error: a checkpoint is never taken for one that is not quantised.

mod apply;
mod bitsandbytes;
mod cache;
mod compressed_tensors;
mod formats;
mod fp8;
mod integers;
mod modelopt;
mod module;
mod names;
mod quark;
mod rules;
mod section;
mod torchao;

use oracle_components::model::Dtype;
use oracle_components::weight_format::WeightFormat;
use serde_json::{Map, Value};

pub(crate) use names::Modules;
pub(crate) use section::Problem;

use super::nearest::did_you_mean;
use rules::{Rule, format_by, has_use, is_named};
use section::Section;

/// Where a checkpoint says how it is quantised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// Element type of what is not quantised.
    pub(crate) dtype: Dtype,
    /// `quantization_config` or `compression_config` of the `config.json`.
    pub(crate) config: Option<&'a Map<String, Value>>,
    /// The `hf_quant_config.json` beside it.
    pub(crate) hf_quant_config: Option<&'a Map<String, Value>>,
    /// `expert_dtype` of the `config.json` (DeepSeek V4).
    pub(crate) expert_dtype: Option<&'a str>,
}

/// Which file a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// The `config.json`; the key is inside its `quantization_config`.
    Config,
    /// The `hf_quant_config.json`.
    HfQuantConfig,
}

/// What could not be understood, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) file: File,
    pub(crate) problem: Problem,
}

/// The formats of a checkpoint's modules.
#[derive(Debug)]
pub(crate) struct Quantization {
    dtype: Dtype,
    rules: Vec<Rule>,
    kv_dtype: Option<Dtype>,
    notes: Vec<Refusal>,
}

/// What a method's reader makes of a description.
#[derive(Debug, Default)]
struct Reading {
    rules: Vec<Rule>,
    kv_dtype: Option<Dtype>,
    notes: Vec<Problem>,
}

impl Quantization {
    /// Nothing is quantised.
    pub(crate) fn none(dtype: Dtype) -> Self {
        Self { dtype, rules: Vec::new(), kv_dtype: None, notes: Vec::new() }
    }

    /// Everything that a method may quantise has this format.
    pub(crate) fn of_format(dtype: Dtype, format: WeightFormat, kv_dtype: Option<Dtype>) -> Self {
        let rules = vec![Rule::all(module::LAYERS, format)];
        Self { rules, kv_dtype, ..Self::none(dtype) }
    }

    /// Reads what a checkpoint says. Where both files do, they must say the same.
    pub(crate) fn read(source: &Source<'_>) -> Result<Self, Refusal> {
        let in_file = |file: File| move |problem: Problem| Refusal { file, problem };
        let (file, map) = match (source.config, source.hf_quant_config) {
            (Some(config), hf_quant_config) => {
                if let Some(other) = hf_quant_config {
                    agree(config, other).map_err(in_file(File::HfQuantConfig))?;
                }
                (File::Config, config)
            }
            (None, Some(hf_quant_config)) => (File::HfQuantConfig, hf_quant_config),
            (None, None) => return Ok(Self::none(source.dtype)),
        };
        let reading = read_section(&Section::new(map), source.expert_dtype).map_err(in_file(file))?;
        let Reading { rules, kv_dtype, notes } = reading;
        let mut notes: Vec<Refusal> = notes.into_iter().map(in_file(file)).collect();
        if let (Some(config), Some(other), None) = (source.config, source.hf_quant_config, kv_dtype) {
            notes.extend(silent_cache(config, other).map(in_file(File::HfQuantConfig)));
        }
        Ok(Self { dtype: source.dtype, rules, kv_dtype, notes })
    }

    /// The format of a module, by its path in the checkpoint without `.weight`.
    pub(crate) fn format_of(&self, module: &str) -> WeightFormat {
        format_by(&self.rules, module).unwrap_or(WeightFormat::wide(self.dtype))
    }

    /// Whether a rule names the module, rather than one for all of its kind.
    fn is_named(&self, module: &str) -> bool {
        is_named(&self.rules, module)
    }

    /// Element type of the KV cache, where the checkpoint asks for one.
    pub(crate) fn kv_dtype(&self) -> Option<Dtype> {
        self.kv_dtype
    }

    /// What a user should know of it.
    pub(crate) fn notes(&self) -> &[Refusal] {
        &self.notes
    }

    /// Whether formats that are given to modules by name are given to any of these, if there are such. If not, the modules
    /// are called otherwise than here.
    fn names_any_of(&self, modules: impl Iterator<Item = String>) -> bool {
        has_use(&self.rules, modules)
    }
}

/// What to do about a description that is not understood.
const WAY_OUT: &str =
    "; weight_dtype in the configuration (such as nvfp4 or int4_g32) says what the weights are in its place";

const METHODS: [&str; 32] = [
    "fp8",
    "fbgemm_fp8",
    "ptpc_fp8",
    "deepgemm_fp8",
    "mxfp8",
    "mxfp4",
    "gpt_oss_mxfp4",
    "int8",
    "blockwise_int8",
    "w8a8_int8",
    "experts_int8",
    "awq",
    "awq_marlin",
    "auto_awq",
    "gptq",
    "gptq_marlin",
    "auto_gptq",
    "marlin",
    "auto-round",
    "qqq",
    "hqq",
    "bitsandbytes",
    "compressed-tensors",
    "modelopt",
    "modelopt_fp4",
    "modelopt_mixed",
    "modelopt_mxfp8",
    "quark",
    "torchao",
    "eetq",
    "bitnet",
    "fp8_per_channel",
];

/// What the method that a description names makes of it.
fn read_section(section: &Section<'_>, expert_dtype: Option<&str>) -> Result<Reading, Problem> {
    let with_way_out = |of: String| {
        move |problem: Problem| Problem { message: format!("{}{of}{WAY_OUT}", problem.message), ..problem }
    };
    let method = method(section).map_err(with_way_out(String::new()))?;
    read_method(&method, section, expert_dtype).map_err(with_way_out(format!(" (method {method})")))
}

/// The method, by its name or by what else says it.
fn method(section: &Section<'_>) -> Result<String, Problem> {
    if let Some(name) = section.word("quant_method")?.or(section.word("quant_library")?) {
        return Ok(name.to_ascii_lowercase().replace("compressed_tensors", "compressed-tensors"));
    }
    let producer = section.section("producer")?.map_or(Ok(None), |producer| producer.word("name"))?;
    if producer == Some("modelopt") || section.has("quantization") || section.has("quant_algo") {
        return Ok("modelopt".to_owned());
    }
    if section.has("config_groups") {
        return Ok("compressed-tensors".to_owned());
    }
    Err(section.problem("quant_method", "is missing: it says what the weights are"))
}

fn read_method(method: &str, section: &Section<'_>, expert_dtype: Option<&str>) -> Result<Reading, Problem> {
    if let Some(reading) = fp8::of_one_format(method, section)? {
        return Ok(reading);
    }
    match method {
        "fp8" => fp8::read(section, expert_dtype),
        "compressed-tensors" => compressed_tensors::read(section),
        _ if method.starts_with("modelopt") => modelopt::read(section),
        "quark" => quark::read(section),
        "awq" | "awq_marlin" | "auto_awq" => integers::awq(section),
        "gptq" | "gptq_marlin" | "auto_gptq" | "marlin" => integers::gptq(section),
        "auto-round" | "intel/auto-round" | "auto_round" => integers::auto_round(section),
        "qqq" => integers::qqq(section),
        "hqq" => integers::hqq(section),
        "bitsandbytes" => bitsandbytes::read(section),
        "torchao" => torchao::read(section),
        unknown => {
            let hint = did_you_mean(unknown, METHODS);
            Err(section.problem("quant_method", format!("{unknown} is not known{hint}")))
        }
    }
}

/// What both files say must be the same, as far as both say it.
fn agree(config: &Map<String, Value>, other: &Map<String, Value>) -> Result<(), Problem> {
    let (config, other) = (modelopt::inner(&Section::new(config))?, modelopt::inner(&Section::new(other))?);
    let algorithm = |section: &Section<'_>| Ok(section.word("quant_algo")?.map(str::to_ascii_uppercase));
    if let (Some(own), Some(others)) = (algorithm(&config)?, algorithm(&other)?)
        && own != others
    {
        let message = format!("is {others}, but {own} in config.json; take out the one that is wrong");
        return Err(other.problem("quant_algo", message));
    }
    let layers = |section: &Section<'_>| section.value("quantized_layers").cloned();
    if let (Some(own), Some(others)) = (layers(&config), layers(&other))
        && own != others
    {
        let message = "are others than those in config.json; take out the list that is wrong";
        return Err(other.problem("quantized_layers", message));
    }
    Ok(())
}

/// A KV cache that only `hf_quant_config.json` asks for: vLLM looks at config.json alone if that has a description.
fn silent_cache(config: &Map<String, Value>, other: &Map<String, Value>) -> Option<Problem> {
    let config = modelopt::inner(&Section::new(config)).ok()?;
    let other = modelopt::inner(&Section::new(other)).ok()?;
    let asks = cache::scheme(&other, "kv_cache_quant_algo").ok()??;
    let is_silent = !config.has("kv_cache_scheme") && !config.has("kv_cache_quant_algo");
    is_silent.then(|| {
        other.problem(
            "kv_cache_quant_algo",
            format!("asks for a KV cache of {asks:?}, but config.json does not, which vLLM goes by; 16 bits are taken"),
        )
    })
}

#[cfg(test)]
mod tests;

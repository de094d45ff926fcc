//! PyTorch's `torchao`: a type by word (`int4wo-128`, `int8_weight_only`), as an object (`Int4WeightOnlyConfig` with its
//! data), or one a module.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Scales, WeightFormat};
use serde_json::Value;

use super::Reading;
use super::formats::{fp8_channel, fp8_tensor, int8_channel, integers, mxfp4, mxfp8, nvfp4};
use super::fp8::skipped;
use super::module::{LAYERS, LINEAR};
use super::rules::{Names, Rule};
use super::section::{Problem, Section};

/// Where a type is said.
const TYPE: [&str; 2] = ["quant_type", "torchao_config"];

pub(super) fn read(section: &Section<'_>) -> Result<Reading, Problem> {
    let Some(key) = section.spelling(&TYPE) else {
        return Err(section.problem("quant_type", "is missing: it says what the weights are"));
    };
    let mut reading = Reading::default();
    reading.rules.extend(skipped(section)?);
    if section.flag("include_input_output_embeddings")? == Some(true) {
        return Err(section.problem("include_input_output_embeddings", "quantised embeddings are not known"));
    }
    match section.value(key) {
        Some(Value::String(word)) => {
            let group = match section.section("quant_type_kwargs")? {
                Some(kwargs) => kwargs.number("group_size")?,
                None => None,
            };
            let format = by_word(word, group).ok_or_else(|| section.problem(key, format!("{word} is not known")))?;
            reading.rules.push(Rule::all(LAYERS, format));
        }
        _ => {
            let object = section.section(key)?.expect("it has a value");
            let object = object.section("default")?.unwrap_or(object);
            reading.rules.extend(by_object(&object)?);
        }
    }
    Ok(reading)
}

/// `int4_weight_only`, or as vLLM and SGLang abbreviate it: `int4wo-128`.
fn by_word(word: &str, group: Option<i64>) -> Option<WeightFormat> {
    let (name, tail) = word.split_once('-').unwrap_or((word, ""));
    let group = group.or_else(|| tail.parse().ok());
    Some(match name {
        "int4_weight_only" | "int4wo" => int4(group.unwrap_or(128)),
        "int8_weight_only" | "int8wo" => int8_channel(None),
        "int8_dynamic_activation_int8_weight" | "int8dq" => int8_channel(Some(Dtype::Int8)),
        "int8_dynamic_activation_int4_weight" => {
            integers(Dtype::Int4, group.unwrap_or(32), 0).met_by(Some(Dtype::Int8))
        }
        "float8_weight_only" | "float8wo" | "fp8wo" => fp8_channel(None),
        "float8_dynamic_activation_float8_weight" | "float8dq" | "fp8dq" => by_row(tail.contains("row")),
        _ => return None,
    })
}

fn by_row(is_by_row: bool) -> WeightFormat {
    let fp8 = Some(Dtype::Fp8);
    if is_by_row { fp8_channel(fp8) } else { fp8_tensor(fp8) }
}

/// Scale and zero point of 16 bits each a group.
fn int4(group: i64) -> WeightFormat {
    let format = integers(Dtype::Int4, group, 0);
    WeightFormat { scales: Scales { zero_bits: 16, ..format.scales }, ..format }
}

fn by_object(object: &Section<'_>) -> Result<Vec<Rule>, Problem> {
    let data = object.section("_data")?;
    let modules = match &data {
        Some(data) => {
            let key = data.spelling(&["module_fqn_to_config", "fqn_to_config"]);
            key.map_or(Ok(None), |key| data.section(key))?
        }
        None => None,
    };
    let Some(modules) = modules else {
        return Ok(format(object)?.map(|format| Rule::all(LAYERS, format)).into_iter().collect());
    };
    let (mut rules, mut default) = (Vec::new(), None);
    for (name, value) in modules.entries() {
        let own = modules.section(name)?;
        let format = own.as_ref().map_or(Ok(None), format)?;
        if name == "_default" {
            default = format;
        } else if value.is_null() {
            rules.push(Rule::skip(Names::of_list(&modules, name, &[name])?));
        } else {
            rules.push(Rule::named(Names::of_list(&modules, name, &[name])?, LINEAR, format));
        }
    }
    rules.extend(default.map(|format| Rule::all(LAYERS, format)));
    Ok(rules)
}

/// The format of a configuration object.
fn format(object: &Section<'_>) -> Result<Option<WeightFormat>, Problem> {
    let Some(kind) = object.word("_type")? else {
        return Err(object.problem("_type", "is missing: it says what the weights are"));
    };
    let data = object.section("_data")?;
    let group = match &data {
        Some(data) => data.number("group_size")?,
        None => None,
    };
    let is_by_row = data.as_ref().is_some_and(is_by_row);
    let int8 = Some(Dtype::Int8);
    Ok(Some(match kind {
        "Int4WeightOnlyConfig" => int4(group.unwrap_or(128)),
        "Int8WeightOnlyConfig" => int8_channel(None),
        "Int8DynamicActivationInt8WeightConfig" => int8_channel(int8),
        "Int8DynamicActivationInt4WeightConfig" => integers(Dtype::Int4, group.unwrap_or(32), 0).met_by(int8),
        "Float8DynamicActivationInt4WeightConfig" => {
            integers(Dtype::Int4, group.unwrap_or(128), 0).met_by(Some(Dtype::Fp8))
        }
        "Float8WeightOnlyConfig" => fp8_channel(None),
        "Float8DynamicActivationFloat8WeightConfig" | "Float8StaticActivationFloat8WeightConfig" => by_row(is_by_row),
        "NVFP4WeightOnlyConfig" => nvfp4(None),
        "NVFP4InferenceConfig" | "NVFP4DynamicActivationNVFP4WeightConfig" => nvfp4(Some(Dtype::Nvfp4)),
        "MXFPInferenceConfig" | "MXDynamicActivationMXWeightConfig" => microscaling(object, data.as_ref())?,
        _ => return Err(object.problem("_type", format!("{kind} is not known"))),
    }))
}

/// The granularity, `PerRow` or `PerTensor`, alone or for activations and weights.
fn is_by_row(data: &Section<'_>) -> bool {
    data.value("granularity").is_some_and(|granularity| granularity.to_string().contains("PerRow"))
}

fn microscaling(object: &Section<'_>, data: Option<&Section<'_>>) -> Result<WeightFormat, Problem> {
    let dtype = data.and_then(|data| data.value("weight_dtype")).map(Value::to_string).unwrap_or_default();
    if dtype.contains("float8") {
        Ok(mxfp8())
    } else if dtype.contains("float4") {
        Ok(mxfp4(Some(Dtype::Mxfp4)))
    } else {
        Err(object.problem("_data", "the weights' type is not known"))
    }
}

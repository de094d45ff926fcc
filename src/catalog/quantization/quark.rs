//! AMD's `quark`: a description of weights and inputs for all layers, others for layers by name or type, and `exclude`.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Grain, Scales, WeightFormat};
use serde_json::Value;

use super::formats::{fp8_block, fp8_channel, fp8_tensor, int8_channel, integers, mxfp4, nvfp4};
use super::module::{LAYERS, LINEAR};
use super::rules::{Names, Rule};
use super::section::{Problem, Section};
use super::{Reading, cache};

pub(super) fn read(section: &Section<'_>) -> Result<Reading, Problem> {
    let mut reading = Reading::default();
    reading.rules.push(Rule::skip(Names::of_list(section, "exclude", &section.words("exclude")?)?));
    if let Some(layers) = section.section("layer_quant_config")? {
        for entry in layers.sections() {
            let (name, own) = entry?;
            let names = Names::of_list(&layers, name, &[name])?;
            // What quantises outputs alone is the KV cache's.
            if own.has("weight") || !own.has("output_tensors") {
                reading.rules.push(Rule::named(names, LINEAR, format(&own)?));
            }
        }
    }
    let by_type = section.section("layer_type_quant_config")?;
    let linear = by_type.map_or(Ok(None), |types| types.section("Linear"))?;
    let Some(global) = linear.map_or_else(|| section.section("global_quant_config"), |linear| Ok(Some(linear)))? else {
        return Err(section.problem("global_quant_config", "is missing: it says what the weights are"));
    };
    reading.rules.extend(format(&global)?.map(|format| Rule::all(LAYERS, format)));
    note_cache(section, &mut reading)?;
    Ok(reading)
}

/// vLLM keeps 16 bits in the KV cache of quark's checkpoints unless `kv_cache_dtype` says otherwise.
fn note_cache(section: &Section<'_>, reading: &mut Reading) -> Result<(), Problem> {
    let of_export = section.section("export")?.map_or(Ok(Vec::new()), |export| export.words("kv_cache_group"))?;
    let own = section.section("kv_cache_quant_config")?.is_some_and(|own| own.entries().next().is_some());
    if own || !of_export.is_empty() {
        let key = if own { "kv_cache_quant_config" } else { "export" };
        reading.notes.push(section.problem(key, cache::SCALES_ALONE));
    }
    if section.has("kv_cache_scheme") {
        reading.kv_dtype = cache::scheme(section, "kv_cache_scheme")?;
    }
    Ok(())
}

/// What a description makes of weights; `None` where it leaves them as they are.
fn format(section: &Section<'_>) -> Result<Option<WeightFormat>, Problem> {
    let weights = stages(section, "weight")?;
    let activations = match stages(section, "input_tensors")?.first() {
        Some(inputs) => activations(inputs)?,
        None => None,
    };
    // Of two stages the last is what is stored, but NVFP4's second is its scale for all.
    let Some(stored) = weights.iter().find(|stage| is_narrow(stage)).or(weights.last()) else { return Ok(None) };
    stored_format(stored, activations)
}

fn is_narrow(stage: &Section<'_>) -> bool {
    stage.word("dtype").ok().flatten().is_some_and(|dtype| dtype.contains('4'))
        && stage.word("dtype").ok().flatten().is_some_and(|dtype| !dtype.starts_with("fp8"))
}

/// One description, or the stages of several.
fn stages<'a>(section: &Section<'a>, key: &str) -> Result<Vec<Section<'a>>, Problem> {
    match section.value(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(stages)) => {
            let stages = stages.iter().map(|stage| stage.as_object().map(Section::new));
            let stages: Option<Vec<_>> = stages.collect();
            stages.ok_or_else(|| section.problem(key, "must be a list of objects"))
        }
        Some(_) => Ok(section.section(key)?.into_iter().collect()),
    }
}

fn activations(inputs: &Section<'_>) -> Result<Option<Dtype>, Problem> {
    match inputs.word("dtype")? {
        None | Some("bfloat16" | "float16" | "float32") => Ok(None),
        Some("fp8_e4m3" | "fp8_e5m2") => Ok(Some(Dtype::Fp8)),
        Some("int8" | "uint8") => Ok(Some(Dtype::Int8)),
        Some("fp4" | "mxfp4" | "fp4_e2m1") => {
            Ok(Some(if inputs.number("group_size")? == Some(16) { Dtype::Nvfp4 } else { Dtype::Mxfp4 }))
        }
        Some("fp6_e3m2" | "fp6_e2m3" | "mxfp6_e3m2" | "mxfp6_e2m3") => Ok(Some(Dtype::Fp6)),
        Some(other) => Err(inputs.problem("dtype", format!("activations of {other} are not known"))),
    }
}

fn stored_format(weights: &Section<'_>, activations: Option<Dtype>) -> Result<Option<WeightFormat>, Problem> {
    let Some(dtype) = weights.word("dtype")? else {
        return Err(weights.problem("dtype", "is missing: it says what the weights are"));
    };
    let group = weights.number("group_size")?;
    let scheme = weights.word("qscheme")?.unwrap_or(if group.is_some() { "per_group" } else { "per_tensor" });
    let zero_bits = |bits: u32| if weights.flag("symmetric").ok().flatten() == Some(false) { bits } else { 0 };
    let unknown = |key: &str, what: String| Err(weights.problem(key, format!("{what} are not known")));
    let format = match (dtype, scheme) {
        ("bfloat16" | "float16" | "float32", _) => return Ok(None),
        ("fp8_e4m3" | "fp8_e5m2", "per_tensor") => fp8_tensor(activations),
        ("fp8_e4m3" | "fp8_e5m2", "per_channel") => fp8_channel(activations),
        ("fp8_e4m3" | "fp8_e5m2", "per_block") => {
            let sides = weights.block("block_size")?.unwrap_or((128, 128));
            fp8_block(sides).met_by(activations)
        }
        ("fp4" | "mxfp4" | "fp4_e2m1" | "mx", "per_group") => match group {
            Some(16) => nvfp4(activations),
            None | Some(32) => mxfp4(activations),
            Some(other) => return unknown("group_size", format!("4-bit floats in groups of {other}")),
        },
        ("fp6_e3m2" | "fp6_e2m3" | "mxfp6_e3m2" | "mxfp6_e2m3", "per_group") => {
            WeightFormat::usual(Dtype::Fp6).met_by(activations)
        }
        ("int8", "per_tensor") => {
            WeightFormat { scales: Scales::new(Grain::Tensor, 32, 0), ..int8_channel(activations) }
        }
        ("int8", "per_channel") => int8_channel(activations),
        ("int4" | "uint4", "per_group" | "per_channel") => {
            let group = if scheme == "per_group" { group.unwrap_or(128) } else { -1 };
            let zero_bits = if dtype == "uint4" { 4 } else { zero_bits(4) };
            integers(Dtype::Int4, group, zero_bits).met_by(activations)
        }
        (dtype, scheme) => return unknown("dtype", format!("weights of {dtype} {}", scheme.replace('_', " "))),
    };
    Ok(Some(format))
}

//! NVIDIA's ModelOpt, in the layout of `hf_quant_config.json` (a `quantization` object with `exclude_modules` and
//! `kv_cache_quant_algo`) and in that of `config.json` (`ignore`, `kv_cache_scheme`); `MIXED_PRECISION` names the algorithm
//! of each layer in `quantized_layers`.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Scales, WeightFormat};

use super::formats::{fp8_block, fp8_channel, fp8_tensor, int8_channel, integers, mxfp4, mxfp8, nvfp4};
use super::module::{LAYERS, LINEAR};
use super::rules::{Names, Rule};
use super::section::{Problem, Section};
use super::{Reading, cache, compressed_tensors};

/// What either layout calls the modules that stay as they are.
const EXCLUDED: [&str; 3] = ["exclude_modules", "ignore", "modules_to_not_convert"];
/// What either layout calls the KV cache's type.
const CACHE: [&str; 2] = ["kv_cache_scheme", "kv_cache_quant_algo"];

pub(super) fn read(section: &Section<'_>) -> Result<Reading, Problem> {
    let inner = inner(section)?;
    let mut reading = Reading::default();
    let excluded = inner.spelling(&EXCLUDED);
    if let Some(key) = excluded {
        reading.rules.push(Rule::skip(Names::of_list(&inner, key, &inner.words(key)?)?));
    }
    // A file without a list was cut short: ModelOpt itself never quantises the head unless told to.
    let kinds = if excluded.is_some() { LINEAR } else { LAYERS };
    match inner.word("quant_algo")?.map(str::to_ascii_uppercase).as_deref() {
        Some("MIXED_PRECISION") => reading.rules.extend(mixed(&inner)?),
        None if inner.has("config_groups") => reading.rules.extend(compressed_tensors::groups(&inner)?),
        None if inner.spelling(&CACHE).is_none() => {
            return Err(inner.problem("quant_algo", "is missing: it says what the weights are"));
        }
        None => {}
        Some(_) => reading.rules.extend(algorithm(&inner)?.map(|format| Rule::all(kinds, format))),
    }
    if let Some(key) = inner.spelling(&CACHE) {
        reading.kv_dtype = cache::scheme(&inner, key)?;
    }
    Ok(reading)
}

/// The object that says it, in either layout.
pub(super) fn inner<'a>(section: &Section<'a>) -> Result<Section<'a>, Problem> {
    Ok(section.section("quantization")?.unwrap_or_else(|| section.clone()))
}

fn mixed(section: &Section<'_>) -> Result<Vec<Rule>, Problem> {
    let layers = quantized_layers(section)?;
    if !layers.is_empty() {
        return Ok(layers);
    }
    if section.has("config_groups") {
        return compressed_tensors::groups(section);
    }
    Err(section.problem("quantized_layers", "is missing: it says what each layer's weights are under MIXED_PRECISION"))
}

/// A rule for each algorithm of `quantized_layers`, with the layers that it names.
pub(super) fn quantized_layers(section: &Section<'_>) -> Result<Vec<Rule>, Problem> {
    let Some(layers) = section.section("quantized_layers")? else { return Ok(Vec::new()) };
    let mut by_format: Vec<(Option<WeightFormat>, Vec<&str>)> = Vec::new();
    for layer in layers.sections() {
        let (name, layer) = layer?;
        let format = algorithm(&layer)?;
        match by_format.iter_mut().find(|(known, _)| *known == format) {
            Some((_, names)) => names.push(name),
            None => by_format.push((format, vec![name])),
        }
    }
    let rule = |(format, names): (_, Vec<&str>)| {
        Ok(Rule::named(Names::of_list(section, "quantized_layers", &names)?, LINEAR, format))
    };
    by_format.into_iter().map(rule).collect()
}

/// The format of an algorithm; `None` where it leaves weights as they are.
fn algorithm(section: &Section<'_>) -> Result<Option<WeightFormat>, Problem> {
    let Some(name) = section.word("quant_algo")? else {
        return Err(section.problem("quant_algo", "is missing: it says what the weights are"));
    };
    let group = section.number("group_size")?;
    let of_groups_of = |usual: i64| group.filter(|group| *group > 0).unwrap_or(usual);
    let fp8 = Some(Dtype::Fp8);
    // AWQ divides each input column by a factor of 16 bits.
    let awq = |format: WeightFormat| WeightFormat { scales: Scales { column_bits: 16, ..format.scales }, ..format };
    let int4 = |activations| WeightFormat { activations, ..integers(Dtype::Int4, of_groups_of(128), 0) };
    let format = match name.to_ascii_uppercase().as_str() {
        "NO_QUANT" | "UNQUANTIZED" | "NONE" => return Ok(None),
        "FP8" => fp8_tensor(fp8),
        "FP8_PER_CHANNEL_PER_TOKEN" | "FP8_ROWWISE" => fp8_channel(fp8),
        "FP8_PB_WO" | "FP8_PB_REAL" | "FP8_BLOCK_SCALES" => {
            let side = u32::try_from(of_groups_of(128)).unwrap_or(128);
            fp8_block((side, side))
        }
        "MXFP8" => mxfp8(),
        "NVFP4" => of_sixteen(section, nvfp4(Some(Dtype::Nvfp4)))?,
        "NVFP4_AWQ" => awq(of_sixteen(section, nvfp4(Some(Dtype::Nvfp4)))?),
        "W4A16_NVFP4" => of_sixteen(section, nvfp4(None))?,
        "W4A8_NVFP4_FP8" => of_sixteen(section, nvfp4(fp8))?,
        "MXFP4" => mxfp4(Some(Dtype::Mxfp4)),
        "W4A16_MXFP4" => mxfp4(None),
        "W4A8_MXFP4_FP8" | "W4A8_MXFP4_MXFP8" => mxfp4(fp8),
        "W4A16_AWQ" => awq(int4(None)),
        "W4A16" | "W4A16_GPTQ" => int4(None),
        "W4A8_AWQ" => awq(int4(fp8)),
        "INT8_SQ" | "W8A8_SQ_PER_CHANNEL" | "W8A8_SQ_PER_TENSOR_PLUGIN" | "INT8" => {
            awq(int8_channel(Some(Dtype::Int8)))
        }
        "W8A16" | "INT8_WO" => int8_channel(None),
        _ => return Err(section.problem("quant_algo", format!("{name} is not known"))),
    };
    Ok(Some(format))
}

/// NVFP4 has 16 elements to a scale.
fn of_sixteen(section: &Section<'_>, format: WeightFormat) -> Result<WeightFormat, Problem> {
    match section.number("group_size")? {
        None | Some(16) => Ok(format),
        Some(other) => Err(section.problem("group_size", format!("NVFP4 is in groups of 16, not of {other}"))),
    }
}

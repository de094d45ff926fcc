//! `compressed-tensors`: groups of targets, each with a format for weights and one for input activations. Targets are
//! modules by name, by `re:` expression or by class; `ignore` goes before all, names before classes.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Grain, Scales, WeightFormat};

use super::formats::{fp8_block, fp8_channel, fp8_tensor, integer, integers, mxfp4, mxfp8, nvfp4};
use super::module::{Kind, LAYERS, LINEAR};
use super::rules::{Names, Rule};
use super::section::{Problem, Section};
use super::{Reading, cache};

pub(super) fn read(section: &Section<'_>) -> Result<Reading, Problem> {
    refuse_sparse(section)?;
    let mut reading = Reading::default();
    reading.rules.push(Rule::skip(Names::of_list(section, "ignore", &section.words("ignore")?)?));
    reading.rules.extend(groups(section)?);
    reading.kv_dtype = cache::scheme(section, "kv_cache_scheme")?;
    Ok(reading)
}

/// Of 2:4 sparse weights only half are stored, beside masks.
fn refuse_sparse(section: &Section<'_>) -> Result<(), Problem> {
    let unknown = |section: &Section<'_>, key: &str, format: &str| {
        Err(section.problem(key, format!("weights stored as {format} are not known")))
    };
    if let Some(format) = section.word("format")?.filter(|format| format.contains("24") || format.contains("sparse")) {
        return unknown(section, "format", format);
    }
    let Some(sparsity) = section.section("sparsity_config")? else { return Ok(()) };
    match sparsity.word("format")? {
        None | Some("dense") => Ok(()),
        Some(format) => unknown(&sparsity, "format", format),
    }
}

/// The rules of `config_groups`.
pub(super) fn groups(section: &Section<'_>) -> Result<Vec<Rule>, Problem> {
    let Some(groups) = section.section("config_groups")? else {
        return Err(section.problem("config_groups", "is missing: it says what the weights are"));
    };
    let whole_format = section.word("format")?;
    let (mut by_name, mut by_class) = (Vec::new(), Vec::new());
    for group in groups.sections() {
        let (_, group) = group?;
        let format = group_format(&group, whole_format)?;
        let (classes, names): (Vec<&str>, Vec<&str>) =
            targets(&group)?.into_iter().partition(|target| kinds_of_class(target).is_some());
        if !names.is_empty() {
            by_name.push(Rule::named(Names::of_list(&group, "targets", &names)?, LINEAR, format));
        }
        for kinds in classes.into_iter().filter_map(kinds_of_class) {
            by_class.push(match format {
                Some(format) => Rule::all(kinds, format),
                None => Rule::named(Names::of_list(&group, "targets", &["*"])?, kinds, None),
            });
        }
    }
    by_name.append(&mut by_class);
    Ok(by_name)
}

/// A group without targets is all linear layers'.
fn targets<'a>(group: &Section<'a>) -> Result<Vec<&'a str>, Problem> {
    Ok(if group.has("targets") { group.words("targets")? } else { vec!["Linear"] })
}

/// Classes of modules, by the names that they have in PyTorch, transformers and vLLM.
fn kinds_of_class(class: &str) -> Option<&'static [Kind]> {
    match class {
        "Linear" | "LinearBase" | "nn.Linear" | "torch.nn.Linear" => Some(LAYERS),
        "FusedMoE" | "MoE" => Some(&[Kind::Expert]),
        "ParallelLMHead" => Some(&[Kind::Head]),
        "Embedding" | "VocabParallelEmbedding" => Some(&[Kind::Embedding]),
        _ => None,
    }
}

/// The format of a group; `None` where it leaves weights as they are.
fn group_format(group: &Section<'_>, whole_format: Option<&str>) -> Result<Option<WeightFormat>, Problem> {
    let Some(weights) = group.section("weights")? else { return Ok(None) };
    let packing = group.word("format")?.or(whole_format);
    let activations = match group.section("input_activations")? {
        Some(inputs) => Some(activations(&inputs)?),
        None => None,
    };
    weight_format(&weights, activations, packing).map(Some)
}

fn activations(inputs: &Section<'_>) -> Result<Dtype, Problem> {
    match (inputs.number("num_bits")?, inputs.word("type")?) {
        (Some(8), Some("float")) => Ok(Dtype::Fp8),
        (Some(8), Some("int") | None) => Ok(Dtype::Int8),
        (Some(4), Some("int") | None) => Ok(Dtype::Int4),
        (Some(4), Some("float")) => {
            Ok(if inputs.number("group_size")? == Some(32) { Dtype::Mxfp4 } else { Dtype::Nvfp4 })
        }
        (bits, kind) => {
            let (bits, kind) = (bits.unwrap_or_default(), kind.unwrap_or("int"));
            Err(inputs.problem("num_bits", format!("activations of {bits}-bit {kind} are not known")))
        }
    }
}

fn weight_format(
    weights: &Section<'_>,
    activations: Option<Dtype>,
    packing: Option<&str>,
) -> Result<WeightFormat, Problem> {
    let Some(bits) = weights.number("num_bits")? else {
        return Err(weights.problem("num_bits", "is missing: it says what the weights are"));
    };
    let group = weights.number("group_size")?;
    let strategy = match (weights.word("strategy")?, group) {
        (Some(strategy), _) => strategy,
        (None, Some(-1)) => "channel",
        (None, Some(_)) => "group",
        (None, None) => "tensor",
    };
    let unknown = |what: String| Err(weights.problem("num_bits", format!("{what} are not known")));
    match (weights.word("type")?.unwrap_or("int"), bits) {
        ("float", 8) => match strategy {
            "tensor" => Ok(fp8_tensor(activations)),
            "channel" => Ok(fp8_channel(activations)),
            "block" => {
                let sides = weights.block("block_structure")?.unwrap_or((128, 128));
                Ok(fp8_block(sides).met_by(activations))
            }
            "group" if group == Some(32) => Ok(mxfp8().met_by(activations)),
            other => Err(weights.problem("strategy", format!("fp8 weights by {other} are not known"))),
        },
        ("float", 4) => match group {
            Some(16) => Ok(nvfp4(activations)),
            Some(32) => Ok(mxfp4(activations)),
            _ => Err(weights.problem("group_size", "4-bit floats are known in groups of 16 (NVFP4) and 32 (MXFP4)")),
        },
        ("int", bits) => match integer(bits).filter(|dtype| *dtype != Dtype::Int3) {
            Some(dtype) => int_format(weights, (dtype, strategy, group), activations, packing),
            None => unknown(format!("{bits}-bit integers")),
        },
        (kind, bits) => unknown(format!("weights of {bits}-bit {kind}")),
    }
}

fn int_format(
    weights: &Section<'_>,
    (dtype, strategy, group): (Dtype, &str, Option<i64>),
    activations: Option<Dtype>,
    packing: Option<&str>,
) -> Result<WeightFormat, Problem> {
    let is_packed = packing == Some("pack-quantized") || dtype != Dtype::Int8;
    let is_symmetric = weights.flag("symmetric")?.unwrap_or(true);
    let zero_bits = match (is_symmetric, is_packed) {
        (true, _) => 0,
        (false, true) => dtype.bits(),
        (false, false) => 8,
    };
    let mut format = match strategy {
        "tensor" => WeightFormat { dtype, scales: Scales::new(Grain::Tensor, 16, zero_bits), activations },
        "channel" => integers(dtype, -1, zero_bits),
        "group" if group.is_some_and(|group| group > 0) => integers(dtype, group.unwrap_or(-1), zero_bits),
        "block" => {
            let (rows, columns) = weights.block("block_structure")?.unwrap_or((128, 128));
            WeightFormat { dtype, scales: Scales::new(Grain::Block(rows, columns), 16, zero_bits), activations }
        }
        other => return Err(weights.problem("strategy", format!("integers by {other} are not known"))),
    };
    format.activations = activations;
    // `weight_shape`, and of columns sorted by activation the group of each.
    format.scales.matrix_bits += if is_packed { SHAPE_BITS } else { 0 };
    if weights.word("actorder").ok().flatten() == Some("group") {
        format.scales.column_bits = 32;
    }
    Ok(format)
}

/// Two 64-bit numbers.
const SHAPE_BITS: u32 = 128;

//! `fp8` and its relatives, whose whole checkpoint has one format: a scale a matrix, a row or a block; and 8-bit integers
//! of the same make.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Grain, Scales, WeightFormat};

use super::formats::{fp8_block, fp8_channel, fp8_tensor, int8_channel, mxfp4, mxfp8};
use super::modelopt::quantized_layers;
use super::module::{Kind, LAYERS};
use super::rules::{Names, Rule};
use super::section::{Problem, Section};
use super::{Reading, cache};

/// What a list that leaves modules alone is called.
pub(super) const SKIPPED: [&str; 4] =
    ["modules_to_not_convert", "ignored_layers", "llm_int8_skip_modules", "skip_modules"];

/// The modules that a list of the usual names leaves alone.
pub(super) fn skipped(section: &Section<'_>) -> Result<Option<Rule>, Problem> {
    let Some(key) = section.spelling(&SKIPPED) else { return Ok(None) };
    Ok(Some(Rule::skip(Names::of_list(section, key, &section.words(key)?)?)))
}

/// One format for all modules of these kinds but those that a list of the usual names leaves alone.
pub(super) fn all_but_skipped(
    section: &Section<'_>,
    kinds: &'static [Kind],
    format: WeightFormat,
) -> Result<Reading, Problem> {
    let mut reading = Reading::default();
    reading.rules.extend(skipped(section)?);
    reading.rules.push(Rule::all(kinds, format));
    Ok(reading)
}

/// `fp8`: by blocks where there is a `weight_block_size`, else with a scale a matrix.
pub(super) fn read(section: &Section<'_>, expert_dtype: Option<&str>) -> Result<Reading, Problem> {
    let format = match section.block("weight_block_size")? {
        Some(sides) => fp8_block(sides),
        None => fp8_tensor(Some(Dtype::Fp8)),
    };
    match section.word("activation_scheme")? {
        None | Some("static" | "dynamic") => {}
        Some(other) => {
            return Err(section.problem("activation_scheme", format!("{other} is not known; static and dynamic are")));
        }
    }
    let mut reading = Reading::default();
    // DeepSeek V4 by ModelOpt: experts in another format over fp8 in blocks.
    reading.rules.extend(quantized_layers(section)?);
    reading.rules.extend(skipped(section)?);
    match expert_dtype {
        None | Some("fp8") => {}
        // MXFP4 weights against fp8 activations.
        Some("fp4") => reading.rules.push(Rule::all(&[Kind::Expert], mxfp4(Some(Dtype::Fp8)))),
        Some(other) => {
            return Err(Problem {
                key: "expert_dtype".to_owned(),
                message: format!("experts of {other} beside fp8 are not known; fp4 and fp8 are"),
            });
        }
    }
    reading.rules.push(Rule::all(LAYERS, format));
    match section.word("kv_cache_scheme") {
        // Scales are there, but vLLM takes them only where it is told to.
        Ok(Some("static")) => reading.notes.push(section.problem("kv_cache_scheme", cache::SCALES_ALONE)),
        _ => reading.kv_dtype = cache::scheme(section, "kv_cache_scheme")?,
    }
    Ok(reading)
}

/// Methods that have one format for all linear layers and nothing to say about it.
pub(super) fn of_one_format(method: &str, section: &Section<'_>) -> Result<Option<Reading>, Problem> {
    let fp8 = Some(Dtype::Fp8);
    let (kinds, format): (&'static [Kind], WeightFormat) = match method {
        "fbgemm_fp8" | "ptpc_fp8" | "fp8_per_channel" => (LAYERS, fp8_channel(fp8)),
        "deepgemm_fp8" => (LAYERS, fp8_block((128, 128))),
        "mxfp8" => (LAYERS, mxfp8()),
        "mxfp4" | "gpt_oss_mxfp4" => (&[Kind::Expert], mxfp4(None)),
        "experts_int8" => (&[Kind::Expert], int8_channel(None)),
        "w8a8_int8" => (LAYERS, int8_channel(Some(Dtype::Int8))),
        "int8" | "blockwise_int8" => (LAYERS, int8_block(section)?),
        "eetq" => (LAYERS, int8_channel(None)),
        "bitnet" => (LAYERS, WeightFormat::usual(Dtype::Ternary)),
        _ => return Ok(None),
    };
    let kv_dtype = cache::scheme(section, "kv_cache_scheme")?;
    Ok(Some(Reading { kv_dtype, ..all_but_skipped(section, kinds, format)? }))
}

/// DeepSeek's int8: by blocks, or with a scale a row.
fn int8_block(section: &Section<'_>) -> Result<WeightFormat, Problem> {
    let activations = Some(Dtype::Int8);
    Ok(match section.block("weight_block_size")? {
        Some((rows, columns)) => {
            WeightFormat { dtype: Dtype::Int8, scales: Scales::new(Grain::Block(rows, columns), 32, 0), activations }
        }
        None => int8_channel(activations),
    })
}

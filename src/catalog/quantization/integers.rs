//! Methods of packed integers with 16-bit scales a group: `awq`, `gptq`, `auto-round`, `qqq`, `hqq`.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Scales, WeightFormat};
use serde_json::Value;

use super::Reading;
use super::formats::{integer, integers};
use super::fp8::{all_but_skipped, skipped};
use super::module::{Kind, LAYERS};
use super::rules::{Names, Rule};
use super::section::{Problem, Section};

/// The number under the first spelling of a key that is there.
fn number(section: &Section<'_>, keys: &[&str]) -> Result<Option<i64>, Problem> {
    section.spelling(keys).map_or(Ok(None), |key| section.number(key))
}

/// Integers of as many bits as a key says.
fn dtype(section: &Section<'_>, keys: &[&str]) -> Result<Dtype, Problem> {
    let key = section.spelling(keys).unwrap_or(keys[0]);
    match section.number(key)? {
        None => Err(section.problem(key, "is missing: it says what the weights are")),
        Some(bits) => integer(bits).ok_or_else(|| section.problem(key, format!("{bits}-bit integers are not known"))),
    }
}

/// AWQ packs zero points whether it uses them or not.
pub(super) fn awq(section: &Section<'_>) -> Result<Reading, Problem> {
    let dtype = dtype(section, &["bits", "w_bit"])?;
    let group = number(section, &["group_size", "q_group_size"])?.unwrap_or(128);
    all_but_skipped(section, LAYERS, integers(dtype, group, dtype.bits()))
}

/// What GPTQ says of all modules, or of some.
#[derive(Clone, Copy)]
struct Gptq {
    dtype: Dtype,
    group: i64,
}

impl Gptq {
    /// GPTQ packs zero points, symmetric or not, and has an index of each column's group, sorted or not.
    fn format(self) -> WeightFormat {
        let format = integers(self.dtype, self.group, self.dtype.bits());
        WeightFormat { scales: Scales { column_bits: 32, ..format.scales }, ..format }
    }
}

pub(super) fn gptq(section: &Section<'_>) -> Result<Reading, Problem> {
    let base =
        Gptq { dtype: dtype(section, &["bits", "wbits"])?, group: number(section, &["group_size"])?.unwrap_or(-1) };
    let mut reading = Reading::default();
    reading.rules.extend(dynamic(section, base)?);
    reading.rules.extend(skipped(section)?);
    let has_head = section.value("lm_head") == Some(&Value::Bool(true));
    if has_head {
        reading.rules.push(Rule::all(&[Kind::Head], base.format()));
    }
    let only = section.words("modules_in_block_to_quantize")?;
    reading.rules.push(if only.is_empty() {
        Rule::all(LAYERS, base.format())
    } else {
        let names = Names::of_list(section, "modules_in_block_to_quantize", &only)?;
        Rule::named(names, LAYERS, Some(base.format()))
    });
    Ok(reading)
}

/// `dynamic`: expressions of modules that are left alone (`-:`) or have bits and groups of their own (`+:`).
fn dynamic(section: &Section<'_>, base: Gptq) -> Result<Vec<Rule>, Problem> {
    let Some(dynamic) = section.section("dynamic")? else { return Ok(Vec::new()) };
    let rule = |entry: Result<(&str, Section<'_>), Problem>| {
        let (pattern, own) = entry?;
        let names = |pattern| Names::of_expression(section, "dynamic", pattern);
        if let Some(pattern) = pattern.strip_prefix("-:") {
            return Ok(Rule::skip(names(pattern)?));
        }
        let own = Gptq {
            dtype: if own.has("bits") { dtype(&own, &["bits"])? } else { base.dtype },
            group: own.number("group_size")?.unwrap_or(base.group),
        };
        let names = names(pattern.strip_prefix("+:").unwrap_or(pattern))?;
        Ok(Rule::named(names, LAYERS, Some(own.format())))
    };
    dynamic.sections().map(rule).collect()
}

/// Intel's auto-round in its GPTQ or AWQ packing; `extra_config` has modules of other bits.
pub(super) fn auto_round(section: &Section<'_>) -> Result<Reading, Problem> {
    if let Some(kind) = section.word("data_type")?.filter(|kind| *kind != "int") {
        return Err(section.problem("data_type", format!("{kind} is not known; int is")));
    }
    if let Some(bits) = section.number("act_bits")?.filter(|bits| *bits < 16) {
        return Err(section.problem("act_bits", format!("activations of {bits} bits are not known")));
    }
    let base = Gptq { dtype: dtype(section, &["bits"])?, group: number(section, &["group_size"])?.unwrap_or(128) };
    let mut reading = Reading::default();
    if let Some(extra) = section.section("extra_config")? {
        for entry in extra.sections() {
            let (name, own) = entry?;
            let bits = own.number("bits")?;
            let format = match bits {
                Some(16..) => None,
                _ => Some(Gptq {
                    dtype: if bits.is_some() { dtype(&own, &["bits"])? } else { base.dtype },
                    group: own.number("group_size")?.unwrap_or(base.group),
                }),
            };
            // A name that is none is an expression.
            let names = if name.contains(['*', '+', '(', '[', '\\', '^', '|']) {
                Names::of_expression(&extra, name, name)?
            } else {
                Names::of_list(&extra, name, &[name])?
            };
            reading.rules.push(Rule::named(names, LAYERS, format.map(Gptq::format)));
        }
    }
    reading.rules.extend(skipped(section)?);
    reading.rules.push(Rule::all(LAYERS, base.format()));
    Ok(reading)
}

/// 4-bit weights that are widened to int8 to meet int8 activations.
pub(super) fn qqq(section: &Section<'_>) -> Result<Reading, Problem> {
    let dtype = dtype(section, &["wbits", "bits"])?;
    let group = number(section, &["group_size"])?.unwrap_or(-1);
    let format = integers(dtype, group, 0).met_by(Some(Dtype::Int8));
    all_but_skipped(section, LAYERS, format)
}

/// HQQ: one description for all, or one a kind of layer (`self_attn.q_proj`) in the place of it.
pub(super) fn hqq(section: &Section<'_>) -> Result<Reading, Problem> {
    let Some(config) = section.section("quant_config")? else {
        return Err(section.problem("quant_config", "is missing: it says what the weights are"));
    };
    let mut reading = Reading::default();
    // The head is left alone unless a list says otherwise.
    reading.rules.extend(skipped(section)?);
    if config.has("weight_quant_params") {
        reading.rules.push(Rule::all(LAYERS, hqq_format(&config)?));
        return Ok(reading);
    }
    for entry in config.sections() {
        let (name, own) = entry?;
        let names = Names::of_list(&config, name, &[name])?;
        reading.rules.push(Rule::named(names, LAYERS, Some(hqq_format(&own)?)));
    }
    Ok(reading)
}

/// Scales and zero points are of 16 bits, of 8 where they are quantised themselves. 3 bits are packed ten to a word of 32.
fn hqq_format(config: &Section<'_>) -> Result<WeightFormat, Problem> {
    let Some(weights) = config.section("weight_quant_params")? else {
        return Err(config.problem("weight_quant_params", "is missing: it says what the weights are"));
    };
    let dtype = dtype(&weights, &["nbits"])?;
    if dtype == Dtype::Int3 {
        return Err(weights.problem("nbits", "3-bit integers of HQQ are not known"));
    }
    let group = weights.number("group_size")?.unwrap_or(-1);
    let bits = |key: &str| if config.has(key) { 8 } else { 16 };
    let format = integers(dtype, group, bits("zero_quant_params"));
    Ok(WeightFormat { scales: Scales { scale_bits: bits("scale_quant_params"), ..format.scales }, ..format })
}

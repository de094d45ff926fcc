//! `bitsandbytes`: 4 bits by a table (nf4 or fp4) with a scale for 64 neighbours, or LLM.int8().

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Grain, Scales, WeightFormat};

use super::Reading;
use super::formats::int8_channel;
use super::fp8::all_but_skipped;
use super::module::LAYERS;
use super::section::{Problem, Section};

pub(super) fn read(section: &Section<'_>) -> Result<Reading, Problem> {
    let is_on = |keys: [&str; 2]| {
        let key = section.spelling(&keys);
        key.map_or(Ok(false), |key| section.flag(key).map(|flag| flag == Some(true)))
    };
    let format = if is_on(["load_in_4bit", "_load_in_4bit"])? {
        four_bits(section)?
    } else if is_on(["load_in_8bit", "_load_in_8bit"])? {
        int8_channel(Some(Dtype::Int8))
    } else {
        return Err(section.problem("load_in_4bit", "and load_in_8bit are both off: what the weights are is not said"));
    };
    all_but_skipped(section, LAYERS, format)
}

fn four_bits(section: &Section<'_>) -> Result<WeightFormat, Problem> {
    match section.word("bnb_4bit_quant_type")? {
        None | Some("nf4" | "fp4") => {}
        Some(other) => {
            return Err(section.problem("bnb_4bit_quant_type", format!("{other} is not known; nf4 and fp4 are")));
        }
    }
    let doubly = WeightFormat::usual(Dtype::Nf4);
    if section.flag("bnb_4bit_use_double_quant")? == Some(true) {
        return Ok(doubly);
    }
    Ok(WeightFormat { scales: Scales::new(Grain::Run(64), 32, 0), ..doubly })
}

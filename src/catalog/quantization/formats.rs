//! The formats that several methods share.

use oracle_components::model::Dtype;
use oracle_components::weight_format::{Grain, Scales, WeightFormat};

/// A scale of the weights and one of the inputs, of 32 bits each.
const TWO_SCALES: u32 = 64;

/// fp8 with a scale for all; `activations` says whether inputs are fp8, too.
pub(super) fn fp8_tensor(activations: Option<Dtype>) -> WeightFormat {
    let scales = Scales { matrix_bits: TWO_SCALES, ..Scales::new(Grain::Tensor, 0, 0) };
    WeightFormat { dtype: Dtype::Fp8, scales, activations }
}

pub(super) fn fp8_channel(activations: Option<Dtype>) -> WeightFormat {
    WeightFormat::usual(Dtype::Fp8).met_by(activations)
}

pub(super) fn fp8_block((rows, columns): (u32, u32)) -> WeightFormat {
    let scales = Scales::new(Grain::Block(rows, columns), 32, 0);
    WeightFormat { dtype: Dtype::Fp8, scales, activations: Some(Dtype::Fp8) }
}

/// fp8 in microscaling groups of 32.
pub(super) fn mxfp8() -> WeightFormat {
    WeightFormat::usual(Dtype::Fp8).in_groups(32, 8)
}

pub(super) fn int8_channel(activations: Option<Dtype>) -> WeightFormat {
    WeightFormat::usual(Dtype::Int8).met_by(activations)
}

pub(super) fn nvfp4(activations: Option<Dtype>) -> WeightFormat {
    WeightFormat::usual(Dtype::Nvfp4).met_by(activations)
}

pub(super) fn mxfp4(activations: Option<Dtype>) -> WeightFormat {
    WeightFormat::usual(Dtype::Mxfp4).met_by(activations)
}

/// Integers of so many bits, as far as they are packed without gaps.
pub(super) fn integer(bits: i64) -> Option<Dtype> {
    match bits {
        2 => Some(Dtype::Int2),
        3 => Some(Dtype::Int3),
        4 => Some(Dtype::Int4),
        8 => Some(Dtype::Int8),
        _ => None,
    }
}

/// Integers with a 16-bit scale for each group, or for a row where the group is −1.
pub(super) fn integers(dtype: Dtype, group: i64, zero_bits: u32) -> WeightFormat {
    let grain = u32::try_from(group).ok().filter(|group| *group > 0).map_or(Grain::Channel, Grain::Group);
    WeightFormat { dtype, scales: Scales::new(grain, 16, zero_bits), activations: None }
}

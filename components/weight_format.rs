//! How a checkpoint stores a matrix: its elements, the scales beside them, and whether activations are quantised to meet
//! it. What a matrix takes in bytes follows, to the byte that the checkpoint's tensors have.

use serde::{Deserialize, Serialize};

/// How a matrix is stored and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WeightFormat {
    /// Element type.
    pub dtype: Dtype,
    /// What turns elements into numbers.
    pub scales: Scales,
    /// Type that activations are quantised to on their way into the product. `None`: they stay as they are, and kernels
    /// widen the weights.
    pub activations: Option<Dtype>,
}

/// Scales and zero points of a matrix's elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scales {
    /// Which elements share one.
    pub grain: Grain,
    /// Bits of a scale.
    pub scale_bits: u32,
    /// Bits of a zero point, 0 where elements are symmetric.
    pub zero_bits: u32,
    /// Bits that each input column has: the index of its group, of GPTQ which sorts columns by activation; a factor, of AWQ.
    pub column_bits: u32,
    /// Bits that a matrix has once: a second scale, that of its input, its shape.
    pub matrix_bits: u32,
}

/// Which elements of a matrix share a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// None has one.
    #[default]
    None,
    /// All.
    Tensor,
    /// Those of an output row.
    Channel,
    /// So many neighbours of a row.
    Group(u32),
    /// A rectangle: rows (outputs) by columns (inputs).
    Block(u32, u32),
    /// So many neighbours of the matrix written row by row, whatever its rows.
    Run(u32),
}

impl Grain {
    /// How many scales a matrix of so many outputs and inputs has; what is over at an edge has its own.
    fn scales(self, outputs: u64, inputs: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::Tensor => 1,
            Self::Channel => outputs,
            Self::Group(elements) => outputs * inputs.div_ceil(u64::from(elements.max(1))),
            Self::Block(rows, columns) => {
                outputs.div_ceil(u64::from(rows.max(1))) * inputs.div_ceil(u64::from(columns.max(1)))
            }
            Self::Run(elements) => (outputs * inputs).div_ceil(u64::from(elements.max(1))),
        }
    }

    /// Elements that share a scale, as far as they do not depend on the matrix.
    fn elements(self) -> Option<u64> {
        match self {
            Self::None | Self::Tensor | Self::Channel => None,
            Self::Group(elements) | Self::Run(elements) => Some(u64::from(elements.max(1))),
            Self::Block(rows, columns) => Some(u64::from(rows.max(1)) * u64::from(columns.max(1))),
        }
    }
}

/// Runs of 64 elements have a byte each, and 256 of those a 32-bit scale: bitsandbytes' doubly quantised scales.
const NESTED_RUN: u32 = 64 * 256;
const NESTED_BITS: u32 = 8 * 256 + 32;

impl Scales {
    /// A scale of `scale_bits` and, unless 0, a zero point of `zero_bits` for each group of `elements`.
    #[must_use]
    pub const fn of_groups(elements: u32, scale_bits: u32, zero_bits: u32) -> Self {
        Self::new(Grain::Group(elements), scale_bits, zero_bits)
    }

    /// A scale of `scale_bits` for whatever shares one.
    #[must_use]
    pub const fn new(grain: Grain, scale_bits: u32, zero_bits: u32) -> Self {
        Self { grain, scale_bits, zero_bits, column_bits: 0, matrix_bits: 0 }
    }
}

impl WeightFormat {
    /// Not quantised.
    #[must_use]
    pub const fn wide(dtype: Dtype) -> Self {
        Self { dtype, scales: Scales::new(Grain::None, 0, 0), activations: None }
    }

    /// The usual format of a type: what its name alone stands for. 8 bits and NVFP4 multiply with activations of their own
    /// type; fp8 and int8 have a scale a row, integers of 4 bits and fewer a 16-bit one for 128.
    #[must_use]
    pub const fn usual(dtype: Dtype) -> Self {
        let (scales, activations) = match dtype {
            Dtype::Fp32 | Dtype::Bf16 | Dtype::Fp16 => (Scales::new(Grain::None, 0, 0), None),
            Dtype::Fp8 | Dtype::Int8 => (Scales::new(Grain::Channel, 32, 0), Some(dtype)),
            Dtype::Int6 | Dtype::Int5 | Dtype::Int4 | Dtype::Int3 | Dtype::Int2 => {
                (Scales::of_groups(128, 16, 0), None)
            }
            Dtype::Fp6 | Dtype::Mxfp4 => (Scales::of_groups(32, 8, 0), None),
            Dtype::Nvfp4 => (Scales { matrix_bits: 64, ..Scales::of_groups(16, 8, 0) }, Some(dtype)),
            Dtype::Nf4 => (Scales::new(Grain::Run(NESTED_RUN), NESTED_BITS, 0), None),
            Dtype::Ternary => (Scales::new(Grain::Tensor, 16, 0), Some(Dtype::Int8)),
        };
        Self { dtype, scales, activations }
    }

    /// fp8 with a scale for each square block of so many rows, multiplied with fp8 activations.
    #[must_use]
    pub const fn fp8_in_blocks(side: u32) -> Self {
        let scales = Scales::new(Grain::Block(side, side), 32, 0);
        Self { dtype: Dtype::Fp8, scales, activations: Some(Dtype::Fp8) }
    }

    /// The same elements with a scale of `scale_bits` for each group of so many.
    #[must_use]
    pub const fn in_groups(self, elements: u32, scale_bits: u32) -> Self {
        Self { scales: Scales::of_groups(elements, scale_bits, 0), ..self }
    }

    /// The same weights with activations quantised to this type, or left as they are.
    #[must_use]
    pub const fn met_by(self, activations: Option<Dtype>) -> Self {
        Self { activations, ..self }
    }

    /// Side of the square blocks that share a scale, if they do.
    #[must_use]
    pub const fn block(self) -> Option<u32> {
        match self.scales.grain {
            Grain::Block(rows, _) => Some(rows),
            _ => None,
        }
    }

    /// Whether elements are narrower than 16 bits.
    #[must_use]
    pub fn is_quantised(self) -> bool {
        self.dtype.bits() < 16
    }

    /// Bytes of a matrix of so many outputs and inputs, all that is stored beside its elements included.
    #[must_use]
    pub fn matrix_bytes(self, outputs: u64, inputs: u64) -> f64 {
        let Scales { grain, scale_bits, zero_bits, column_bits, matrix_bits } = self.scales;
        let elements = outputs * inputs * u64::from(self.dtype.bits());
        let shared = grain.scales(outputs, inputs) * u64::from(scale_bits + zero_bits);
        let once = inputs * u64::from(column_bits) + u64::from(matrix_bits);
        (elements + shared + once) as f64 / 8.0
    }

    /// Bytes of a parameter of a large matrix: what a row or a matrix has once goes to nothing.
    #[must_use]
    pub fn bytes_per_parameter(self) -> f64 {
        let Scales { grain, scale_bits, zero_bits, .. } = self.scales;
        let shared = grain.elements().map_or(0.0, |elements| f64::from(scale_bits + zero_bits) / elements as f64);
        (f64::from(self.dtype.bits()) + shared) / 8.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int4(group: u32, zero_bits: u32) -> WeightFormat {
        WeightFormat { scales: Scales::of_groups(group, 16, zero_bits), ..WeightFormat::usual(Dtype::Int4) }
    }

    #[test]
    fn a_parameter_takes_its_bits_and_its_share_of_scales() {
        assert_eq!(int4(32, 0).bytes_per_parameter(), 0.5 + 2.0 / 32.0);
        assert_eq!(int4(128, 4).bytes_per_parameter(), 0.5 + 2.5 / 128.0);
        let usual = |dtype| WeightFormat::usual(dtype).bytes_per_parameter();
        assert_eq!(usual(Dtype::Nvfp4), 0.5 + 1.0 / 16.0);
        assert_eq!(usual(Dtype::Mxfp4), 0.5 + 1.0 / 32.0);
        assert_eq!(usual(Dtype::Nf4), 0.5 + (1.0 + 4.0 / 256.0) / 64.0);
        for dtype in Dtype::ALL {
            assert_eq!(usual(dtype), dtype.bytes(), "{dtype:?}");
        }
    }

    #[test]
    fn a_matrix_takes_the_bytes_of_its_tensors() {
        // GPTQ, 4 bits in groups of 128: qweight, scales, qzeros and g_idx of a 14336 × 4096 matrix.
        let gptq = WeightFormat { scales: Scales { column_bits: 32, ..int4(128, 4).scales }, ..int4(128, 4) };
        let (qweight, scales, qzeros, g_idx) = (4 * 512 * 14_336, 2 * 32 * 14_336, 4 * 32 * (14_336 / 8), 4 * 4096);
        assert_eq!(gptq.matrix_bytes(14_336, 4096), f64::from(qweight + scales + qzeros + g_idx));
        // DeepSeek's kv_a_proj: 576 outputs are 4.5 blocks.
        let block = Scales::new(Grain::Block(128, 128), 32, 0);
        let fp8 = WeightFormat { scales: block, ..WeightFormat::usual(Dtype::Fp8) };
        assert_eq!(fp8.matrix_bytes(576, 7168), 576.0 * 7168.0 + 4.0 * 5.0 * 56.0);
        assert_eq!(WeightFormat::usual(Dtype::Fp8).matrix_bytes(10, 20), 200.0 + 40.0);
        assert_eq!(WeightFormat::wide(Dtype::Bf16).matrix_bytes(10, 20), 400.0);
    }
}

/// Element type of weights, activations or KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    Fp32,
    /// 16-bit brain float.
    Bf16,
    /// 16-bit IEEE float.
    Fp16,
    /// 8-bit float (e4m3 or e5m2).
    Fp8,
    /// 8-bit integer.
    Int8,
    /// 6-bit float (e3m2 or e2m3) in microscaling groups.
    Fp6,
    /// 6-bit integer.
    Int6,
    /// 5-bit integer.
    Int5,
    /// 4-bit integer.
    Int4,
    /// 4-bit microscaling float: 32 elements share an 8-bit scale.
    Mxfp4,
    /// NVIDIA's 4-bit float: 16 elements share an 8-bit scale, and a matrix has another.
    Nvfp4,
    /// One of 16 values of a table (bitsandbytes' nf4 and fp4).
    Nf4,
    /// 3-bit integer.
    Int3,
    /// 2-bit integer.
    Int2,
    /// −1, 0 or 1 (BitNet), four to a byte.
    Ternary,
}

impl Dtype {
    /// All of them, widest first.
    pub const ALL: [Self; 15] = [
        Self::Fp32,
        Self::Bf16,
        Self::Fp16,
        Self::Fp8,
        Self::Int8,
        Self::Fp6,
        Self::Int6,
        Self::Int5,
        Self::Int4,
        Self::Mxfp4,
        Self::Nvfp4,
        Self::Nf4,
        Self::Int3,
        Self::Int2,
        Self::Ternary,
    ];

    /// As configurations spell it.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Bits of an element alone.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fp32 => 32,
            Self::Bf16 | Self::Fp16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Fp6 | Self::Int6 => 6,
            Self::Int5 => 5,
            Self::Int4 | Self::Mxfp4 | Self::Nvfp4 | Self::Nf4 => 4,
            Self::Int3 => 3,
            Self::Int2 | Self::Ternary => 2,
        }
    }

    /// Bytes an element takes, scales of the type's usual format included.
    #[must_use]
    pub fn bytes(self) -> f64 {
        WeightFormat::usual(self).bytes_per_parameter()
    }
}

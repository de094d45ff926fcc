//! What a model weighs: parameters, bytes by stage and rank, and the KV cache of a token.
//!
//! Counts are those of the published checkpoints: matrices by the shapes of the architecture, norms as one vector (two with
//! `all_biases`), biases where the architecture has them. Matrices of layers take what their format does, scales included but
//! for those that a row or a matrix has once; embeddings, language-model head, router, norms and biases are in the
//! activations' type, as quantised checkpoints (8 bits and fewer) keep them, unless the head has a format of its own.
//!
//! On `tensor_parallel` ranks matrices are divided, and so are routed experts, sliced or whole, among the ranks that share
//! them; norms, the router, MLA's down projections and, where there are more ranks than KV heads, those heads are
//! replicated. Everything here is a whole number far below 2^53 when one rank holds
//! it all, so `f64` is exact.

use std::iter::Sum;
use std::ops::{Add, Mul};

use oracle_components::layers::{Layer, Part};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::weight_format::WeightFormat;

use super::parts::{Matrix, cached_bytes, expert_elements, matrices, state_bytes, wide_elements};

/// Numbers of elements, and what they are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Elements {
    /// All.
    total: f64,
    /// Those that are never quantised.
    wide: f64,
    /// Bytes of the others.
    bytes: f64,
}

impl Elements {
    fn wide(elements: f64) -> Self {
        Self { total: elements, wide: elements, bytes: 0.0 }
    }

    fn stored(elements: f64, format: WeightFormat) -> Self {
        Self { total: elements, wide: 0.0, bytes: elements * format.bytes_per_parameter() }
    }

    fn bytes(self, model: &ModelArchitecture) -> f64 {
        self.bytes + self.wide * wide_dtype(model).bytes()
    }
}

impl Add for Elements {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { total: self.total + other.total, wide: self.wide + other.wide, bytes: self.bytes + other.bytes }
    }
}

impl Sum for Elements {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

impl Mul<f64> for Elements {
    type Output = Self;
    fn mul(self, times: f64) -> Self {
        Self { total: self.total * times, wide: self.wide * times, bytes: self.bytes * times }
    }
}

/// Element type of what quantisation leaves alone: that of the activations, or 16 bits where those are narrower.
pub(crate) fn wide_dtype(model: &ModelArchitecture) -> Dtype {
    match model.activation_dtype {
        wide @ (Dtype::Fp32 | Dtype::Bf16 | Dtype::Fp16) => wide,
        _ => Dtype::Bf16,
    }
}

/// All parameters.
#[must_use]
pub fn parameters(model: &ModelArchitecture) -> u64 {
    whole_model(model).total as u64
}

/// Parameters that a token's forward pass uses: all of them but the routed experts that it is not sent to.
#[must_use]
pub fn active_parameters(model: &ModelArchitecture) -> u64 {
    let hidden = f64::from(model.hidden);
    let idle = model.layers.parts().map(|(part, layers)| match part {
        Part::Experts(experts) => {
            let idle = f64::from(experts.count.saturating_sub(experts.per_token));
            let (matrices, biases) = expert_elements(experts, hidden, 1.0);
            f64::from(layers) * idle * (matrices + biases)
        }
        _ => 0.0,
    });
    (whole_model(model).total - idle.sum::<f64>()) as u64
}

/// Multiplications and additions that a token takes in the products of the layers and in the head, and in scans of states; without
/// attention, which grows with the context.
#[must_use]
pub fn flops_per_token(model: &ModelArchitecture) -> f64 {
    let hidden = f64::from(model.hidden);
    let of_layers = model.layers.parts().map(|(part, layers)| {
        let products: f64 = matrices(part, hidden, 1.0).into_iter().map(Matrix::elements).sum();
        let own = match part {
            Part::Experts(experts) => {
                let routed = f64::from(experts.per_token) * expert_elements(experts, hidden, 1.0).0;
                2.0 * (routed + hidden * f64::from(experts.count))
            }
            Part::Recurrent(recurrent) => recurrent.scan_flops as f64,
            _ => 0.0,
        };
        f64::from(layers) * (2.0 * products + own)
    });
    of_layers.sum::<f64>() + 2.0 * hidden * f64::from(model.vocab)
}

/// Bytes of all weights by the type that they are stored in.
#[must_use]
pub fn weight_bytes_by_dtype(model: &ModelArchitecture) -> Vec<(Dtype, u64)> {
    let hidden = f64::from(model.hidden);
    let mut by_dtype: Vec<(Dtype, f64)> =
        vec![(wide_dtype(model), whole_model(model).wide * wide_dtype(model).bytes())];
    let mut add = |elements: f64, format: WeightFormat| {
        let bytes = elements * format.bytes_per_parameter();
        match by_dtype.iter_mut().find(|(known, _)| *known == format.dtype) {
            Some((_, known)) => *known += bytes,
            None => by_dtype.push((format.dtype, bytes)),
        }
    };
    for (layer, count) in model.layers.counted() {
        for (elements, format) in layer.parts.iter().flat_map(|part| stored(model, layer, part, (1.0, 1.0))) {
            add(f64::from(count) * elements, format);
        }
    }
    if let Some(format) = model.head_format.filter(|_| !model.tied_embeddings) {
        add(f64::from(model.vocab) * hidden, format);
    }
    by_dtype.into_iter().filter(|(_, bytes)| *bytes > 0.0).map(|(dtype, bytes)| (dtype, bytes.ceil() as u64)).collect()
}

/// How a matrix of a layer is stored.
pub(crate) fn matrix_format(model: &ModelArchitecture, layer: &Layer, matrix: &Matrix) -> WeightFormat {
    matrix.role.map_or(WeightFormat::wide(wide_dtype(model)), |role| model.format_of(layer, role))
}

/// Bytes of all weights.
#[must_use]
pub fn weight_bytes(model: &ModelArchitecture) -> u64 {
    whole_model(model).bytes(model).ceil() as u64
}

/// Bytes of weights on each rank of `stage`: the embedding on the first stage, the head and the last norm on the last.
#[must_use]
pub fn stage_weight_bytes(model: &ModelArchitecture, tensor_parallel: u32, pipeline_parallel: u32, stage: u32) -> u64 {
    stage_weight_bytes_with_experts(model, tensor_parallel, pipeline_parallel, stage, 1)
}

/// The same where `expert_engines` of `tensor_parallel` ranks each share the routed experts.
#[must_use]
pub fn stage_weight_bytes_with_experts(
    model: &ModelArchitecture,
    tensor_parallel: u32,
    pipeline_parallel: u32,
    stage: u32,
    expert_engines: u32,
) -> u64 {
    let tensor = f64::from(tensor_parallel.max(1));
    let experts = tensor * f64::from(expert_engines.max(1));
    stage_elements(model, tensor, experts, pipeline_parallel.max(1), stage).bytes(model).ceil() as u64
}

/// Bytes that a token takes in the KV cache of all layers on one of `tensor_parallel` ranks, those included that let go of it
/// after a while.
#[must_use]
pub fn kv_bytes_per_token_and_rank(model: &ModelArchitecture, tensor_parallel: u32) -> f64 {
    layers_kv_bytes(model, tensor_parallel, 0, model.layers.len())
}

/// The same of `count` layers from `first` on.
pub(crate) fn layers_kv_bytes(model: &ModelArchitecture, tensor_parallel: u32, first: u32, count: u32) -> f64 {
    sum_of_layers(model, (first, count), |part| cached_bytes(part, model, f64::from(tensor_parallel.max(1))))
}

/// Bytes of the states that a sequence has on all ranks.
#[must_use]
pub fn state_bytes_per_sequence(model: &ModelArchitecture) -> f64 {
    sum_of_layers(model, (0, model.layers.len()), |part| state_bytes(part, model, 1.0))
}

fn sum_of_layers(model: &ModelArchitecture, (first, count): (u32, u32), of_part: impl Fn(&Part) -> f64) -> f64 {
    let of_layer = |layer: &Layer| layer.all_parts().map(&of_part).sum::<f64>();
    let counts = model.layers.counts(first, count);
    model.layers.kinds().iter().zip(counts).map(|(layer, count)| of_layer(layer) * f64::from(count)).sum()
}

/// Layers `(first, count)` of a stage: an even split, with the remainder on the last stage.
#[must_use]
pub fn stage_layers(layers: u32, pipeline_parallel: u32, stage: u32) -> (u32, u32) {
    let each = layers / pipeline_parallel;
    let last = stage + 1 == pipeline_parallel;
    (stage * each, if last { layers - stage * each } else { each })
}

fn whole_model(model: &ModelArchitecture) -> Elements {
    stage_elements(model, 1.0, 1.0, 1, 0)
}

fn stage_elements(model: &ModelArchitecture, tensor: f64, expert_ranks: f64, stages: u32, stage: u32) -> Elements {
    let (first_layer, layers) = stage_layers(model.layers.len(), stages, stage);
    let hidden = f64::from(model.hidden);
    let counts = model.layers.counts(first_layer, layers);
    let kinds = model.layers.kinds().iter().zip(counts);
    let mut sum = kinds.fold(Elements::default(), |sum, (layer, count)| {
        sum + layer_elements(model, layer, tensor, expert_ranks) * f64::from(count)
    });
    let embedding = model.embedding_width.map_or(hidden, f64::from);
    let vocabulary = f64::from(model.vocab) * embedding / tensor;
    let (first, last) = (stage == 0, stage + 1 == stages);
    if first {
        let positions = f64::from(model.position_rows) * hidden;
        sum = sum + Elements::wide(vocabulary + positions + model.other_elements as f64);
    }
    if last {
        let bias = if model.head_bias { f64::from(model.vocab) / tensor } else { 0.0 };
        sum = sum + Elements::wide(f64::from(model.final_norms) * norm(model) + bias);
        if !model.tied_embeddings || !first {
            sum = sum + model.head_format.map_or(Elements::wide(vocabulary), |of| Elements::stored(vocabulary, of));
        }
    }
    sum
}

/// Elements of a norm over the residual stream.
fn norm(model: &ModelArchitecture) -> f64 {
    let hidden = f64::from(model.hidden);
    if model.norm_bias { 2.0 * hidden } else { hidden }
}

fn layer_elements(model: &ModelArchitecture, layer: &Layer, tensor: f64, expert_ranks: f64) -> Elements {
    let hidden = f64::from(model.hidden);
    let own = Elements::wide(f64::from(layer.norms) * norm(model) + layer.other_elements as f64);
    layer.parts.iter().fold(own, |sum, part| {
        let stored = stored(model, layer, part, (tensor, expert_ranks));
        let stored: Elements = stored.into_iter().map(|(elements, format)| Elements::stored(elements, format)).sum();
        let matrices = matrices(part, hidden, tensor).into_iter().filter(|matrix| matrix.role.is_none());
        let wide: f64 = matrices.map(Matrix::elements).sum();
        sum + stored + Elements::wide(wide + wide_elements(part, hidden, tensor, expert_ranks))
    })
}

/// Elements of the matrices of a part that may be quantised, and how they are stored.
fn stored(
    model: &ModelArchitecture,
    layer: &Layer,
    part: &Part,
    (tensor, expert_ranks): (f64, f64),
) -> Vec<(f64, WeightFormat)> {
    let hidden = f64::from(model.hidden);
    let of_matrix = |matrix: Matrix| Some((matrix.elements(), model.format_of(layer, matrix.role?)));
    let mut stored: Vec<_> = matrices(part, hidden, tensor).into_iter().filter_map(of_matrix).collect();
    if let Part::Experts(experts) = part {
        let elements = f64::from(experts.count) * expert_elements(experts, hidden, expert_ranks).0;
        stored.push((elements, model.format_of_experts(experts)));
    }
    stored
}

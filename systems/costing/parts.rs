//! What a part of a layer has on a rank: its matrices, its other parameters, what it keeps of a token and of a sequence. Weights,
//! products and caches follow from it.
//!
//! Of each matrix a rank has `1/tensor`, but for latent attention's down projections and the products of an index, which are
//! whole on every rank, and KV heads, of which each rank has one at least.

use oracle_components::kv_groups::KvKind;
use oracle_components::layers::{
    Attention, CompressedAttention, Experts, Index, Keeps, LatentAttention, Mlp, Part, Reach, Role,
};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::recurrent::{Recurrent, Split};

use super::shape::Feature;

/// A matrix on a rank, and the tokens that run through it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Matrix {
    /// What it does, as far as it may be quantised by that; `None` where it never is.
    pub(crate) role: Option<Role>,
    pub(crate) rows: Feature,
    pub(crate) inner: f64,
    pub(crate) outer: f64,
}

impl Matrix {
    fn new(role: Role, inner: f64, outer: f64) -> Self {
        Self { role: Some(role), rows: Feature::Tokens, inner, outer }
    }

    fn wide(inner: f64, outer: f64) -> Self {
        Self { role: None, rows: Feature::Tokens, inner, outer }
    }

    pub(crate) fn elements(self) -> f64 {
        self.inner * self.outer
    }
}

/// KV heads on a rank: divided down to one, then replicated.
pub(crate) fn kv_heads_per_rank(kv_heads: u32, tensor: f64) -> f64 {
    (f64::from(kv_heads) / tensor).max(1.0)
}

/// Matrices that widen the residual stream in an MLP: gate and up, or up alone.
pub(crate) fn matrices_in(mlp: Mlp) -> f64 {
    if mlp.gated { 2.0 } else { 1.0 }
}

/// The products of a part that every token runs through, but for routed experts and their router.
pub(crate) fn matrices(part: &Part, hidden: f64, tensor: f64) -> Vec<Matrix> {
    match part {
        Part::Attention(attention) => of_attention(attention, hidden, tensor),
        Part::Latent(latent) => of_latent(latent, hidden, tensor),
        Part::Compressed(compressed) => of_compressed(compressed, hidden, tensor),
        Part::Recurrent(recurrent) => of_recurrent(recurrent, tensor),
        Part::Mlp(mlp) => of_mlp(*mlp, hidden, tensor),
        Part::Experts(experts) => {
            let shared = of_mlp(experts.shared, hidden, tensor);
            let latent = experts.latent_width.map(f64::from);
            let around =
                latent.map(|width| [Matrix::new(Role::Mlp, hidden, width), Matrix::new(Role::Mlp, width, hidden)]);
            around.into_iter().flatten().chain(shared).collect()
        }
    }
}

fn of_attention(attention: &Attention, hidden: f64, tensor: f64) -> Vec<Matrix> {
    let heads = f64::from(attention.heads) / tensor;
    let output = Matrix::new(Role::Out, heads * f64::from(attention.value_width), hidden);
    let projected = projected(attention, tensor);
    let queries = heads * f64::from(attention.key_width);
    let mut products = match f64::from(attention.query_rank) {
        0.0 => vec![Matrix::new(Role::In, hidden, projected), output],
        rank => vec![
            Matrix::new(Role::In, hidden, projected - queries + rank),
            Matrix::new(Role::Up, rank, queries),
            output,
        ],
    };
    products.extend(of_index(attention.index.as_ref(), hidden));
    products
}

/// Columns of queries, keys, values and gate.
fn projected(attention: &Attention, tensor: f64) -> f64 {
    let (keys, values) = cached_widths(attention, tensor);
    let queries = f64::from(attention.heads) / tensor * f64::from(attention.key_width);
    let gate = f64::from(attention.gate_width) / tensor;
    gate + queries
        + match attention.keeps {
            Keeps::KeysAndValues => keys + values,
            Keeps::KeysAsValues => keys,
            Keeps::Nothing => 0.0,
        }
}

/// Widths of the keys and of the values of a token, all of a rank's heads together.
pub(crate) fn cached_widths(attention: &Attention, tensor: f64) -> (f64, f64) {
    let heads = kv_heads_per_rank(attention.kv_heads, tensor);
    (heads * f64::from(attention.key_width), heads * f64::from(attention.value_width))
}

fn of_latent(latent: &LatentAttention, hidden: f64, tensor: f64) -> Vec<Matrix> {
    let heads = f64::from(latent.heads) / tensor;
    let (width, rope) = (f64::from(latent.kv_lora_rank), f64::from(latent.rope_head_dim));
    let (nope, value) = (f64::from(latent.nope_head_dim), f64::from(latent.value_head_dim));
    let query = heads * (nope + rope);
    let mut products = match latent.q_lora_rank.map(f64::from) {
        Some(rank) => vec![Matrix::new(Role::In, hidden, rank), Matrix::new(Role::Up, rank, query)],
        None => vec![Matrix::new(Role::In, hidden, query)],
    };
    products.extend([
        Matrix::new(Role::In, hidden, width + rope),
        Matrix { rows: Feature::PrefillContext, ..Matrix::new(Role::Up, width, heads * (nope + value)) },
    ]);
    if latent.gate_width > 0 {
        products.push(Matrix::new(Role::In, hidden, f64::from(latent.gate_width) / tensor));
    }
    products.push(Matrix::new(Role::Out, heads * value, hidden));
    products.extend(of_index(latent.index.as_ref(), hidden));
    products
}

fn of_compressed(attention: &CompressedAttention, hidden: f64, tensor: f64) -> Vec<Matrix> {
    let width = f64::from(attention.width);
    let all_heads = f64::from(attention.heads) * width;
    let (rank, groups) = (f64::from(attention.q_lora_rank), f64::from(attention.output_groups));
    let outputs = groups * f64::from(attention.output_rank) / tensor;
    let mut products = vec![
        Matrix::new(Role::In, hidden, rank + width),
        Matrix::new(Role::Up, rank, all_heads / tensor),
        Matrix::new(Role::Out, all_heads / groups, outputs),
        Matrix::new(Role::Out, outputs, hidden),
    ];
    if attention.ratio > 0 {
        products.push(Matrix::wide(hidden, 2.0 * overlap(attention.ratio) * width));
    }
    if let Some(index) = &attention.index {
        let (heads, width) = (f64::from(index.heads), f64::from(index.width));
        products.push(Matrix::new(Role::Index, f64::from(index.query_input), heads * width));
        products.push(Matrix::wide(hidden, f64::from(index.score_columns) + 2.0 * overlap(attention.ratio) * width));
    }
    products
}

/// Vectors that go into an entry a token: with few tokens an entry, those of the one before it, too.
fn overlap(ratio: u32) -> f64 {
    if ratio == 4 { 2.0 } else { 1.0 }
}

/// Queries, keys and the scores' weights, on every rank.
fn of_index(index: Option<&Index>, hidden: f64) -> Vec<Matrix> {
    let Some(index) = index.filter(|index| index.heads > 0) else { return Vec::new() };
    let (heads, width) = (f64::from(index.heads), f64::from(index.width));
    vec![
        Matrix::new(Role::Index, f64::from(index.query_input), heads * width),
        Matrix::new(Role::Index, hidden, width + f64::from(index.score_columns)),
    ]
}

fn of_recurrent(recurrent: &Recurrent, tensor: f64) -> Vec<Matrix> {
    let on_rank = |matrix: &oracle_components::recurrent::StateMatrix| {
        let (inner, outer) = (f64::from(matrix.inner), f64::from(matrix.outer));
        match matrix.split {
            Split::Columns => Matrix::new(Role::In, inner, outer / tensor),
            Split::Rows => Matrix::new(Role::Out, inner / tensor, outer),
            Split::Whole => Matrix::new(Role::In, inner, outer),
        }
    };
    recurrent.matrices.iter().map(on_rank).collect()
}

fn of_mlp(mlp: Mlp, hidden: f64, tensor: f64) -> Vec<Matrix> {
    if mlp.width == 0 {
        return Vec::new();
    }
    let width = f64::from(mlp.width) / tensor;
    vec![Matrix::new(Role::Mlp, hidden, matrices_in(mlp) * width), Matrix::new(Role::Mlp, width, hidden)]
}

/// Width of the vectors that routed experts take.
pub(crate) fn expert_input(experts: &Experts, hidden: f64) -> f64 {
    experts.latent_width.map_or(hidden, f64::from)
}

/// Elements of the matrices and of the biases of a routed expert, or of one of `ranks` slices of it.
pub(crate) fn expert_elements(experts: &Experts, hidden: f64, ranks: f64) -> (f64, f64) {
    let input = expert_input(experts, hidden);
    let matrices = of_mlp(experts.expert, input, ranks).into_iter().map(Matrix::elements).sum();
    (matrices, mlp_biases(experts.expert, input, ranks))
}

fn mlp_biases(mlp: Mlp, hidden: f64, ranks: f64) -> f64 {
    let width = f64::from(mlp.width) / ranks;
    if mlp.bias && mlp.width > 0 { matrices_in(mlp) * width + hidden } else { 0.0 }
}

/// Elements of what is never quantised: norms, biases, router, convolutions.
pub(crate) fn wide_elements(part: &Part, hidden: f64, tensor: f64, expert_ranks: f64) -> f64 {
    match part {
        Part::Attention(attention) => {
            let bias = if attention.qkv_bias { projected(attention, tensor) } else { 0.0 };
            let output = if attention.output_bias { hidden } else { 0.0 };
            let elements = [attention.norm_elements, attention.other_elements, attention.query_rank];
            let others: f64 = elements.into_iter().map(f64::from).sum();
            bias + output + others + index_norms(attention.index.as_ref())
        }
        Part::Latent(latent) => {
            let norms = f64::from(latent.kv_lora_rank) + latent.q_lora_rank.map_or(0.0, f64::from);
            let hidden_biases = f64::from(latent.kv_lora_rank) + f64::from(latent.rope_head_dim) + hidden;
            let biases = match latent.q_lora_rank {
                _ if !latent.bias => 0.0,
                Some(rank) => hidden_biases + f64::from(rank),
                None => hidden_biases,
            };
            norms + biases + index_norms(latent.index.as_ref())
        }
        Part::Compressed(attention) => {
            let width = f64::from(attention.width);
            let norms = f64::from(attention.q_lora_rank) + width + f64::from(attention.heads) / tensor;
            // Places of the tokens of an entry, and a norm.
            let of_entries = |width: f64| {
                let ratio = f64::from(attention.ratio);
                if attention.ratio > 0 { ratio * overlap(attention.ratio) * width + width } else { 0.0 }
            };
            let of_index = attention.index.map_or(0.0, |index| of_entries(f64::from(index.width)));
            norms + of_entries(width) + of_index
        }
        Part::Recurrent(recurrent) => recurrent.vector_elements as f64 / tensor,
        Part::Mlp(mlp) => mlp_biases(*mlp, hidden, tensor),
        Part::Experts(experts) => {
            let count = f64::from(experts.count);
            let router = hidden * count + if experts.router_bias { count } else { 0.0 };
            let gate = if experts.shared_gate { hidden } else { 0.0 };
            let routed = count * expert_elements(experts, hidden, expert_ranks).1;
            router + gate + routed + mlp_biases(experts.shared, hidden, tensor)
        }
    }
}

fn index_norms(index: Option<&Index>) -> f64 {
    index.filter(|index| index.heads > 0).map_or(0.0, |index| f64::from(index.norm_elements))
}

/// What a part keeps of tokens on a rank: of which, and bytes of each. KV heads are divided, down to one a rank; a latent vector
/// (MLA) has no heads and is whole on every rank.
pub(crate) fn caches(part: &Part, model: &ModelArchitecture, tensor: f64) -> Vec<(KvKind, f64)> {
    let of_index = |index: Option<&Index>| index.map_or(0.0, |index| f64::from(index.bytes_per_token));
    match part {
        Part::Attention(Attention { keeps: Keeps::Nothing, .. }) => Vec::new(),
        Part::Attention(attention) => {
            let (keys, values) = cached_widths(attention, tensor);
            let heads = kv_heads_per_rank(attention.kv_heads, tensor);
            let bytes = kv_bytes(keys + values, heads, model.kv_dtype) + of_index(attention.index.as_ref());
            vec![(kind(attention.reach), bytes)]
        }
        Part::Latent(latent) => {
            let elements = match latent.is_expanded {
                true => {
                    let width = f64::from(latent.nope_head_dim) + f64::from(latent.rope_head_dim);
                    2.0 * width * f64::from(latent.heads) / tensor
                }
                false => f64::from(latent.kv_lora_rank) + f64::from(latent.rope_head_dim),
            };
            vec![(KvKind::Full, elements * model.kv_dtype.bytes() + of_index(latent.index.as_ref()))]
        }
        Part::Compressed(attention) => {
            let entry = f64::from(attention.bytes_per_entry);
            let window = (KvKind::Window { tokens: attention.window }, entry);
            let entries = (entry + of_index(attention.index.as_ref())) / f64::from(attention.ratio.max(1));
            std::iter::once(window).chain((attention.ratio > 0).then_some((KvKind::Full, entries))).collect()
        }
        Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => Vec::new(),
    }
}

/// Bytes of a token's keys and values. Integers have a scale a head, of keys and of values (vLLM's `int8_per_token_head` and
/// `int4_per_token_head`).
fn kv_bytes(elements: f64, heads: f64, dtype: Dtype) -> f64 {
    const SCALE_BYTES: f64 = 4.0;
    match dtype {
        Dtype::Int8 | Dtype::Int4 => elements * f64::from(dtype.bits()) / 8.0 + 2.0 * heads * SCALE_BYTES,
        _ => elements * dtype.bytes(),
    }
}

fn kind(reach: Reach) -> KvKind {
    match reach {
        Reach::Full => KvKind::Full,
        Reach::Window(tokens) => KvKind::Window { tokens },
        Reach::Chunk(tokens) => KvKind::Chunk { tokens },
    }
}

/// Bytes that a part keeps of a token on a rank while it keeps all it may.
pub(crate) fn cached_bytes(part: &Part, model: &ModelArchitecture, tensor: f64) -> f64 {
    caches(part, model, tensor).iter().map(|(_, bytes)| bytes).sum()
}

/// Bytes of the state that a part keeps of a sequence on a rank.
pub(crate) fn state_bytes(part: &Part, model: &ModelArchitecture, tensor: f64) -> f64 {
    let Part::Recurrent(recurrent) = part else { return 0.0 };
    let wide = model.activation_dtype.bytes();
    let state = recurrent.state_element_bytes.map_or(wide, f64::from);
    (recurrent.conv_elements as f64 * wide + recurrent.state_elements as f64 * state) / tensor
}

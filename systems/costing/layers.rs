//! The forward pass of a pipeline stage as a short list of operators, on one rank.
//!
//! Operators are listed once for each kind of layer with how many layers are of that kind, so the list is as long for 1
//! layer as for 100. Of each matrix a rank holds `1/tp`, but for what `weights` names as replicated.
//!
//! - grouped attention: qkv and o products; prefill `4·pairs·heads·head_dim` FLOPs; decode the same of the context; the
//!   KV cache is read once for all query heads.
//! - latent attention (MLA; DeepSeek-V2, arXiv 2405.04434): low-rank q, latent k/v. Prefill expands the latents of the
//!   whole context to heads; decode absorbs the expansion into the query and attends over the latents, read once for all
//!   heads.
//! - an index (DeepSeek's sparse attention): its heads score all tokens of the context, attention reads the best of them;
//! - layers with a state: their products, a scan that reads and writes the state of each sequence.
//! - MLP: gate and up in one product, then down; a mixture of experts: router, each token's `k` experts, weights of the
//!   distinct experts that the tokens are expected to reach, shared experts. A rank has a slice of every expert, or with
//!   expert parallelism whole ones, and then the busiest rank counts.
//! - elementwise: norms with the residual (4 vectors of the hidden width each), rotary embedding, KV write, activation.

use oracle_components::kernel_times::Heads;
use oracle_components::layers::{Attention, Experts, Index, Keeps, LatentAttention, Layer, Mlp, Part, Role};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::recurrent::Recurrent;
use oracle_components::scenario::EngineSpec;
use oracle_components::weight_format::WeightFormat;

use super::operator::{KernelKind, Operator, Precision, Term};
use super::parts::{
    Matrix, cached_bytes, cached_widths, expert_input, kv_heads_per_rank, matrices, matrices_in, state_bytes,
};
use super::shape::Feature;
use super::weights::{matrix_format, wide_dtype};

/// Kernels around the attention of a layer that are priced as one stream: two norms (with the residual), rotary embedding,
/// KV write.
pub const ATTENTION_STREAM_KERNELS: f64 = 4.0;
const ATTENTION_STREAMS: KernelKind = KernelKind::Stream { kernels: ATTENTION_STREAM_KERNELS, kv_writes: 1.0 };
/// The same with latent attention, whose write no measured attention holds.
const LATENT_ATTENTION_STREAMS: KernelKind = KernelKind::Stream { kernels: ATTENTION_STREAM_KERNELS, kv_writes: 0.0 };
/// Kernels of a layer with a state beside its products: two norms, convolution, decays, scan, gated norm. Unmeasured.
const STATE_KERNELS: f64 = 6.0;
/// Kernels of an index beside its products: norm and rotary embedding, scores, choice, gathering. Unmeasured.
const INDEX_KERNELS: f64 = 4.0;

/// What of the model a stage holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StageLayers {
    /// Layers of each kind of the model's.
    pub(crate) counts: Vec<f64>,
    /// Parts of them that end in a sum over the ranks.
    pub(crate) parts: f64,
    /// Layers with a mixture of experts.
    pub(crate) moe: f64,
    /// Attention over a cache.
    pub(crate) attention: f64,
    /// The embedding is here.
    pub(crate) first: bool,
    /// The language-model head is here.
    pub(crate) last: bool,
}

impl StageLayers {
    pub(crate) fn new(model: &ModelArchitecture, counts: Vec<f64>, first: bool, last: bool) -> Self {
        let with = |is_such: fn(&Part) -> bool| -> f64 {
            let such = |layer: &Layer| layer.all_parts().filter(|part| is_such(part)).count() as f64;
            model.layers.kinds().iter().zip(&counts).map(|(layer, count)| such(layer) * count).sum()
        };
        let parts = with(|_| true);
        let moe = with(|part| matches!(part, Part::Experts(_)));
        let attention = with(|part| matches!(part, Part::Attention(_) | Part::Latent(_) | Part::Compressed(_)));
        Self { parts, moe, attention, counts, first, last }
    }
}

/// Decode attention of the layers of a stage on one rank that look back as far as each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DecodeAttention {
    pub(crate) layers: f64,
    /// Of the heads that most of them have.
    pub(crate) heads: Heads,
    /// They are of a kind that is measured.
    pub(crate) is_measured: bool,
    /// Of a layer.
    pub(crate) flops_per_context_token: f64,
    pub(crate) bytes_per_context_token: f64,
    /// Query in, output out.
    pub(crate) bytes_per_sequence: f64,
}

impl DecodeAttention {
    /// With the layers of another: means a layer, and the heads of those that are more.
    fn and(self, other: Self) -> Self {
        let (more, fewer) = if other.layers > self.layers { (other, self) } else { (self, other) };
        if fewer.layers == 0.0 || more == (Self { layers: more.layers, ..fewer }) {
            return Self { layers: self.layers + other.layers, ..more };
        }
        let layers = self.layers + other.layers;
        let mean = |of: fn(&Self) -> f64| (of(&self) * self.layers + of(&other) * other.layers) / layers;
        Self {
            layers,
            flops_per_context_token: mean(|attention| attention.flops_per_context_token),
            bytes_per_context_token: mean(|attention| attention.bytes_per_context_token),
            bytes_per_sequence: mean(|attention| attention.bytes_per_sequence),
            ..more
        }
    }
}

/// Which of the ranks that hold whole experts is looked at: one that does its share, or the one that the others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpertLoad {
    Mean,
    Busiest,
}

/// Whole experts on ranks.
#[derive(Clone, Copy)]
struct WholeExperts {
    ranks: f64,
    engines: f64,
    load: ExpertLoad,
}

/// A model on one of `tensor` ranks.
#[derive(Clone, Copy)]
pub(crate) struct ModelRank<'a> {
    model: &'a ModelArchitecture,
    tensor: f64,
    whole_experts: Option<WholeExperts>,
    /// Ranks that share the tokens of norms: all with sequence parallelism, else each has all tokens.
    norm_ranks: f64,
    /// Bytes of an element of an activation.
    activation: f64,
    /// Bytes of an element of a matrix that is never quantised.
    wide: f64,
    hidden: f64,
    /// Ranks that share the cache's tokens.
    kv_ranks: f64,
    /// What most layers see that do not see the whole context.
    limit_tokens: f64,
}

/// In what a product of a layer's matrix runs. Of formats that are neither the model's nor the experts', those whose
/// activations are quantised go as the model's do.
fn precision(model: &ModelArchitecture, format: WeightFormat) -> Precision {
    if format == model.weight_format {
        Precision::Weights
    } else if format.activations.is_none() {
        Precision::Activations
    } else if model.experts().is_some() && format == model.expert_format() {
        Precision::Experts
    } else {
        Precision::Weights
    }
}

/// Where an operator stands in the list: sums are taken in one order, whatever the order of the layers.
type Place = (u8, Operator);

impl<'a> ModelRank<'a> {
    pub(crate) fn new(engine: &'a EngineSpec, load: ExpertLoad) -> Self {
        let (model, tensor_parallel) = (&*engine.model, engine.tensor_parallel);
        let tensor = f64::from(tensor_parallel.max(1));
        let whole_experts = engine.expert_parallel.as_ref().map(|experts| {
            let engines = f64::from(experts.data_parallel);
            WholeExperts { ranks: tensor * engines, engines, load }
        });
        Self {
            model,
            tensor,
            whole_experts,
            norm_ranks: if engine.sequence_parallel { tensor } else { 1.0 },
            activation: model.activation_dtype.bytes(),
            wide: wide_dtype(model).bytes(),
            hidden: f64::from(model.hidden),
            kv_ranks: f64::from(engine.decode_context_parallel.max(1)),
            limit_tokens: limit_tokens(model),
        }
    }

    /// Every operator of a stage but decode attention.
    pub(crate) fn operators(&self, stage: &StageLayers) -> Vec<Operator> {
        let mut listed: Vec<Place> = Vec::with_capacity(20);
        for (layer, &count) in self.model.layers.kinds().iter().zip(&stage.counts) {
            if count > 0.0 {
                add_layers(&mut listed, self.layer(layer), count);
            }
        }
        if stage.first {
            listed.push((5, self.embedding()));
        }
        if stage.last {
            listed.extend(self.head().map(|operator| (6, operator)));
        }
        listed.sort_by_key(|(place, _)| *place);
        listed.into_iter().map(|(_, operator)| operator).collect()
    }

    /// What a layer runs, but for decode attention.
    fn layer(&self, layer: &Layer) -> Vec<Place> {
        let norms = 4.0 * f64::from(layer.norms) * self.hidden / self.norm_ranks;
        let mut listed = Vec::new();
        // The first part that has other streams takes the norms with them.
        let mut norms = Some(norms);
        for part in layer.all_parts() {
            let products = self.products(layer, part);
            let own = |operators: Vec<Operator>, place| operators.into_iter().map(move |operator| (place, operator));
            match part {
                Part::Attention(attention) => {
                    listed.extend(own(products, 0));
                    let bytes = self.attention_stream(attention, norms.take());
                    listed.push((0, Operator::elementwise(Feature::Tokens, bytes).of_kind(ATTENTION_STREAMS)));
                    listed.extend(self.prefill(part));
                }
                Part::Latent(latent) => {
                    listed.extend(own(self.with_absorbed(layer, latent, products), 0));
                    let bytes = self.latent_stream(latent, norms.take());
                    listed.push((0, Operator::elementwise(Feature::Tokens, bytes).of_kind(LATENT_ATTENTION_STREAMS)));
                    listed.extend(self.prefill(part));
                }
                Part::Compressed(attention) => {
                    listed.extend(own(products, 0));
                    let rotated = 2.0 * f64::from(attention.heads) / self.tensor * f64::from(attention.width);
                    let bytes = (norms.take().unwrap_or(0.0) + rotated) * self.activation + self.cached_bytes(part);
                    let stream = Operator::elementwise(Feature::Tokens, bytes);
                    listed.push((0, stream.of_kind(LATENT_ATTENTION_STREAMS)));
                    listed.extend(self.prefill(part));
                }
                Part::Recurrent(recurrent) => {
                    listed.extend(own(products, 0));
                    listed.push((0, self.scan(part, recurrent, norms.take())));
                }
                Part::Mlp(mlp) => {
                    listed.extend(own(products, 3));
                    listed.push((3, self.activation_of(*mlp, mlp.width)));
                }
                Part::Experts(experts) => listed.extend(own(self.mixture(experts, products), 4)),
            }
        }
        if let Some(bytes) = norms.filter(|bytes| *bytes > 0.0) {
            listed.push((3, Operator::elementwise(Feature::Tokens, bytes * self.activation)));
        }
        listed
    }

    fn products(&self, layer: &Layer, part: &Part) -> Vec<Operator> {
        let gemm = |matrix: Matrix| self.gemm(matrix_format(self.model, layer, &matrix), matrix);
        matrices(part, self.hidden, self.tensor).into_iter().map(gemm).collect()
    }

    fn gemm(&self, format: WeightFormat, Matrix { rows, inner, outer, .. }: Matrix) -> Operator {
        let (precision, bytes) = (precision(self.model, format), format.bytes_per_parameter());
        Operator::gemm(precision, rows, (inner, outer), bytes, self.activation)
    }

    fn wide_gemm(&self, rows: Feature, inner: f64, outer: f64) -> Operator {
        Operator::gemm(Precision::Activations, rows, (inner, outer), self.wide, self.activation)
    }

    fn cached_bytes(&self, part: &Part) -> f64 {
        cached_bytes(part, self.model, self.tensor)
    }

    /// Bytes a token of norms, rotary embedding and the write to the cache.
    fn attention_stream(&self, attention: &Attention, norms: Option<f64>) -> f64 {
        let (keys, values) = cached_widths(attention, self.tensor);
        let queries = f64::from(attention.heads) / self.tensor * f64::from(attention.key_width);
        let written = if attention.keeps == Keeps::Nothing { 0.0 } else { keys + values };
        let rotated = if attention.keeps == Keeps::Nothing { queries } else { queries + keys };
        // Rotary embedding reads and writes q and k, and so does a norm on them.
        let passes = if attention.norm_elements > 0 { 4.0 } else { 2.0 };
        let elements = norms.unwrap_or(0.0) + passes * rotated + written;
        elements * self.activation + self.cached_bytes(&Part::Attention(*attention))
    }

    fn latent_stream(&self, latent: &LatentAttention, norms: Option<f64>) -> f64 {
        let rope = f64::from(latent.rope_head_dim);
        let rotated = (f64::from(latent.heads) / self.tensor + 1.0) * rope;
        let elements = norms.unwrap_or(0.0) + 2.0 * rotated + f64::from(latent.kv_lora_rank) + rope;
        elements * self.activation + self.cached_bytes(&Part::Latent(*latent))
    }

    /// The products of latent attention, with those that a decode has: queries into the latent space and outputs back, head by
    /// head, by the same matrices as the expansion in prefill.
    fn with_absorbed(&self, layer: &Layer, latent: &LatentAttention, mut products: Vec<Operator>) -> Vec<Operator> {
        let heads = f64::from(latent.heads) / self.tensor;
        let width = f64::from(latent.kv_lora_rank);
        let (nope, value) = (f64::from(latent.nope_head_dim), f64::from(latent.value_head_dim));
        let (rows, outer) = (Feature::DecodeSequences, heads * (nope + value));
        let matrix = Matrix { role: Some(Role::Up), rows, inner: width, outer };
        let mut absorbed = self.gemm(self.model.format_of(layer, Role::Up), matrix);
        let elements = heads * (nope + width + width + value);
        absorbed.bytes[1] = Term::new(Feature::DecodeSequences, elements * self.activation);
        let expansion = products.iter().position(|product| product.flops.feature == Feature::PrefillContext);
        products.insert(expansion.map_or(0, |place| place + 1), absorbed);
        products
    }

    /// Attention of prompts, and the scores of its index.
    fn prefill(&self, part: &Part) -> Vec<Place> {
        let (heads, query_key, value, kv_bytes, key_width) = match part {
            Part::Attention(attention) => (
                f64::from(attention.heads) / self.tensor,
                f64::from(attention.key_width),
                f64::from(attention.value_width),
                self.kept_bytes(part),
                cached_widths(attention, self.tensor).0,
            ),
            Part::Latent(latent) => {
                let heads = f64::from(latent.heads) / self.tensor;
                let query_key = f64::from(latent.nope_head_dim) + f64::from(latent.rope_head_dim);
                let value = f64::from(latent.value_head_dim);
                (heads, query_key, value, heads * (query_key + value) * self.activation, 0.0)
            }
            Part::Compressed(_) => return self.sights(part).iter().map(|sight| self.prefill_like(sight)).collect(),
            Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => return Vec::new(),
        };
        let (class, share) = self.seen(seen_tokens(part));
        let (place, pairs, context) = prefill_features(class);
        let attention = Operator {
            layers: 1.0,
            kind: KernelKind::PrefillAttention { head_width: 0.5 * (query_key + value), key_width },
            precision: Precision::Activations,
            flops: Term::new(pairs, 2.0 * heads * (query_key + value) * share),
            bytes: [
                Term::new(context, kv_bytes * share),
                Term::new(Feature::PrefillTokens, heads * (query_key + value) * self.activation),
                Term::ZERO,
            ],
        };
        let scores = scoring_index(part).map(|index| (1, prefill_scores(index)));
        std::iter::once((place, attention)).chain(scores).collect()
    }

    /// Attention of prompts that does what that of decodes does of each pair of tokens.
    fn prefill_like(&self, (limit, decode): &(Option<f64>, DecodeAttention)) -> Place {
        let (class, share) = self.seen(*limit);
        let (place, pairs, context) = prefill_features(class);
        let kind = match decode.heads.query > 0.0 {
            true => KernelKind::PrefillAttention { head_width: decode.heads.width, key_width: 0.0 },
            false => KernelKind::Stream { kernels: INDEX_KERNELS, kv_writes: 0.0 },
        };
        let operator = Operator {
            layers: 1.0,
            kind,
            precision: Precision::Activations,
            flops: Term::new(pairs, decode.flops_per_context_token * share),
            bytes: [
                Term::new(context, decode.bytes_per_context_token * share),
                Term::new(Feature::PrefillTokens, decode.bytes_per_sequence),
                Term::ZERO,
            ],
        };
        (place, operator)
    }

    /// Bytes that attention reads of a token of context: what it keeps, or what a layer before it does, without its index.
    fn kept_bytes(&self, part: &Part) -> f64 {
        match part {
            Part::Attention(attention) => {
                let kept = Attention { keeps: Keeps::KeysAndValues, index: None, ..*attention };
                self.cached_bytes(&Part::Attention(kept))
            }
            Part::Latent(latent) => self.cached_bytes(&Part::Latent(LatentAttention { index: None, ..*latent })),
            Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => 0.0,
        }
    }

    /// Decode attention of the layers of a stage: of those that see the whole context, and of those that do not. What sees
    /// another number of tokens than most of these is taken to read the more or the less of it.
    pub(crate) fn decode_attention(&self, stage: &StageLayers) -> [DecodeAttention; 2] {
        let mut all = [DecodeAttention::default(); 2];
        for (layer, &layers) in self.model.layers.kinds().iter().zip(&stage.counts) {
            for (limit, attention) in layer.all_parts().flat_map(|part| self.sights(part)) {
                let (class, share) = self.seen(limit);
                all[class] = all[class].and(DecodeAttention { layers, ..attention.of_share(share) });
            }
        }
        all
    }

    /// What a part looks back on: so many tokens at most, and with what effort.
    fn sights(&self, part: &Part) -> Vec<(Option<f64>, DecodeAttention)> {
        let Part::Compressed(attention) = part else {
            let scores = scoring_index(part).map(|index| (None, decode_scores(index)));
            return self.decode(part).map(|decode| (seen_tokens(part), decode)).into_iter().chain(scores).collect();
        };
        let query = f64::from(attention.heads) / self.tensor;
        let width = f64::from(attention.width);
        let ratio = f64::from(attention.ratio.max(1));
        let last = DecodeAttention {
            layers: 1.0,
            heads: Heads { query, kv: 1.0, width, is_kv_narrow: true },
            is_measured: false,
            flops_per_context_token: 4.0 * query * width,
            bytes_per_context_token: f64::from(attention.bytes_per_entry),
            bytes_per_sequence: 2.0 * query * width * self.activation,
        };
        let entries = DecodeAttention { bytes_per_sequence: 0.0, ..last.of_share(1.0 / ratio) };
        let mut sights = vec![(Some(f64::from(attention.window)), last)];
        match &attention.index {
            _ if attention.ratio == 0 => {}
            None => sights.push((None, entries)),
            Some(index) => {
                sights.push((Some(f64::from(index.top_tokens) * ratio), entries));
                sights.push((None, decode_scores(index).of_share(1.0 / ratio)));
            }
        }
        sights
    }

    /// Whether attention sees the whole context, 0, or not, 1, and how many times what most of those see that do not.
    fn seen(&self, limit: Option<f64>) -> (usize, f64) {
        match limit {
            None => (0, 1.0),
            Some(limit) if limit == self.limit_tokens => (1, 1.0),
            Some(limit) => (1, limit / self.limit_tokens),
        }
    }

    /// Decode attention of a layer; see the module's formulas. Ranks that share the cache's tokens attend with the heads of
    /// all of them, each to its part.
    fn decode(&self, part: &Part) -> Option<DecodeAttention> {
        let is_kv_narrow = matches!(self.model.kv_dtype, Dtype::Fp8 | Dtype::Int8);
        let (flops, elements, heads, is_measured) = match part {
            Part::Attention(attention) => {
                let query = f64::from(attention.heads) / self.tensor;
                let width = query * (f64::from(attention.key_width) + f64::from(attention.value_width));
                let kv = kv_heads_per_rank(attention.kv_heads, self.tensor);
                let heads = Heads { query, kv, width: f64::from(attention.key_width), is_kv_narrow };
                (2.0 * width, width, heads, true)
            }
            Part::Latent(latent) => {
                let query = f64::from(latent.heads) / self.tensor;
                let (width, rope) = (f64::from(latent.kv_lora_rank), f64::from(latent.rope_head_dim));
                let head = f64::from(latent.nope_head_dim) + rope;
                let heads = Heads { query, kv: 1.0, width: head, is_kv_narrow };
                (2.0 * query * (2.0 * width + rope), query * (2.0 * width + rope), heads, false)
            }
            Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => return None,
        };
        Some(DecodeAttention {
            layers: 1.0,
            heads,
            is_measured,
            flops_per_context_token: flops,
            bytes_per_context_token: self.kept_bytes(part) / self.kv_ranks,
            bytes_per_sequence: elements * self.activation * self.kv_ranks,
        })
    }

    /// The scan of a layer with a state, which is read and written for each decode; what prompts move of it is little beside their
    /// tokens.
    fn scan(&self, part: &Part, recurrent: &Recurrent, norms: Option<f64>) -> Operator {
        let state = 2.0 * state_bytes(part, self.model, self.tensor);
        let elements = norms.unwrap_or(0.0) + recurrent.scan_elements as f64 / self.tensor;
        Operator {
            layers: 1.0,
            kind: KernelKind::Stream { kernels: STATE_KERNELS, kv_writes: 0.0 },
            precision: Precision::Activations,
            flops: Term::new(Feature::Tokens, recurrent.scan_flops as f64 / self.tensor),
            bytes: [
                Term::new(Feature::Tokens, elements * self.activation),
                Term::new(Feature::DecodeSequences, state),
                Term::ZERO,
            ],
        }
    }

    fn activation_of(&self, mlp: Mlp, width: u32) -> Operator {
        let width = f64::from(width) / self.tensor;
        Operator::elementwise(Feature::Tokens, (matrices_in(mlp) * width + width) * self.activation)
    }

    fn mixture(&self, experts: &Experts, products: Vec<Operator>) -> Vec<Operator> {
        let per_token = f64::from(experts.per_token);
        let input = expert_input(experts, self.hidden);
        // Each token's vector is copied to its experts and their outputs are summed.
        let permute = per_token * 2.0 * 2.0 * input * self.activation;
        let width = f64::from(experts.expert.width);
        let all = f64::from(experts.count);
        let (count, inner) = self.whole_experts.map_or((all, width / self.tensor), |whole| (all / whole.ranks, width));
        let kind =
            KernelKind::Experts { experts: count, hidden: input, inner, matrices: matrices_in(experts.expert) + 1.0 };
        let mut operators = vec![
            self.wide_gemm(Feature::Tokens, self.hidden, all),
            Operator::elementwise(Feature::Tokens, permute).of_kind(kind),
        ];
        operators.extend(self.routed(experts, kind));
        operators.extend(products);
        if experts.shared.width > 0 {
            operators.push(self.activation_of(experts.shared, experts.shared.width));
        }
        operators
    }

    /// The routed experts: a slice of each on every rank, or whole ones.
    fn routed(&self, experts: &Experts, kind: KernelKind) -> impl Iterator<Item = Operator> {
        let width = f64::from(experts.expert.width);
        let (width, tokens, token_share, reached, expert_share) = match self.whole_experts {
            None => (width / self.tensor, Feature::Tokens, 1.0, Feature::Experts, 1.0),
            Some(WholeExperts { ranks, engines, load: ExpertLoad::Mean }) => {
                (width, Feature::Tokens, engines / ranks, Feature::Experts, 1.0 / ranks)
            }
            Some(WholeExperts { load: ExpertLoad::Busiest, .. }) => {
                (width, Feature::BusiestTokens, 1.0, Feature::BusiestExperts, 1.0)
            }
        };
        let times = f64::from(experts.per_token) * token_share;
        let input = expert_input(experts, self.hidden);
        let bytes = experts.format.unwrap_or(self.model.weight_format).bytes_per_parameter();
        let inward = matrices_in(experts.expert) * width;
        let gemm =
            |inner, outer| Operator::gemm(Precision::Experts, Feature::Tokens, (inner, outer), bytes, self.activation);
        let operators = [
            gemm(input, inward),
            gemm(width, input),
            Operator::elementwise(Feature::Tokens, (inward + width) * self.activation),
        ];
        operators.into_iter().map(move |mut expert| {
            expert.flops = Term::new(tokens, expert.flops.amount * times);
            expert.bytes = expert.bytes.map(|term| match term.feature {
                Feature::Pass => Term::new(reached, term.amount * expert_share),
                _ => Term::new(tokens, term.amount * times),
            });
            expert.kind = kind;
            expert
        })
    }

    /// A row of the table (and one of positions) in, a vector out.
    fn embedding(&self) -> Operator {
        let tables = if self.model.position_rows > 0 { 2.0 } else { 1.0 };
        Operator::elementwise(Feature::Tokens, self.hidden * (tables * self.wide + self.activation))
    }

    /// The last norm and the head on sampled rows, then the sampler: logits of the whole vocabulary to 32 bits (read,
    /// written) and read once more.
    fn head(&self) -> [Operator; 2] {
        let vocab = f64::from(self.model.vocab);
        let norm = 4.0 * self.hidden * self.activation;
        let (rows, inner, outer) = (Feature::SampledRows, self.hidden, vocab / self.tensor);
        let product = match self.model.head_format {
            Some(format) => self.gemm(format, Matrix { role: Some(Role::Out), rows, inner, outer }),
            None => self.wide_gemm(rows, inner, outer),
        };
        [
            product,
            Operator::elementwise(Feature::SampledRows, norm + vocab * (self.activation + 4.0 + 4.0))
                .of_kind(KernelKind::Sampler),
        ]
    }
}

impl DecodeAttention {
    /// Of so much of what it reads.
    fn of_share(self, share: f64) -> Self {
        Self {
            flops_per_context_token: self.flops_per_context_token * share,
            bytes_per_context_token: self.bytes_per_context_token * share,
            ..self
        }
    }
}

/// Puts the operators of `layers` layers on a list, where those that are on it already, of layers of another kind, run as often
/// again.
fn add_layers(listed: &mut Vec<Place>, operators: Vec<Place>, layers: f64) {
    let mut is_open = vec![true; listed.len()];
    for (place, operator) in operators {
        let same = |(at, open): (usize, &bool)| {
            let (other_place, other) = listed[at];
            *open && other_place == place && other.in_layers(1.0) == operator
        };
        match is_open.iter().enumerate().position(same) {
            Some(at) => {
                is_open[at] = false;
                listed[at].1.layers += layers;
            }
            None => listed.push((place, operator.in_layers(layers))),
        }
    }
}

/// The most tokens that layers see which do not see the whole context: of those that most of them are; infinite without.
pub(crate) fn limit_tokens(model: &ModelArchitecture) -> f64 {
    let limits = model.layers.parts().filter_map(|(part, layers)| Some((seen_tokens(part)?, layers)));
    let most = limits.reduce(|most, next| if next.1 > most.1 { next } else { most });
    most.map_or(f64::INFINITY, |(limit, _)| limit)
}

/// Tokens that attention sees at most, if that is limited.
fn seen_tokens(part: &Part) -> Option<f64> {
    let (reach, index) = match part {
        Part::Attention(attention) => (attention.reach.limit(), attention.index),
        Part::Latent(latent) => (None, latent.index),
        Part::Compressed(attention) => (Some(attention.window), None),
        Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => (None, None),
    };
    reach.or(index.map(|index| index.top_tokens)).map(f64::from)
}

/// Where attention of prompts stands in the list, and what it grows with.
fn prefill_features(class: usize) -> (u8, Feature, Feature) {
    match class {
        0 => (1, Feature::PrefillPairs, Feature::PrefillContext),
        _ => (2, Feature::WindowPrefillPairs, Feature::WindowPrefillContext),
    }
}

/// The index of attention, if it does not take the choice of a layer before it.
fn scoring_index(part: &Part) -> Option<&Index> {
    let index = match part {
        Part::Attention(attention) => attention.index.as_ref(),
        Part::Latent(latent) => latent.index.as_ref(),
        Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => None,
    };
    index.filter(|index| index.heads > 0)
}

/// Scores of prompts' tokens for every token before them.
fn prefill_scores(index: &Index) -> Operator {
    let flops = 2.0 * f64::from(index.heads) * f64::from(index.width);
    Operator {
        layers: 1.0,
        kind: KernelKind::Stream { kernels: INDEX_KERNELS, kv_writes: 0.0 },
        precision: Precision::Weights,
        flops: Term::new(Feature::PrefillPairs, flops),
        bytes: [Term::new(Feature::PrefillContext, f64::from(index.bytes_per_token)), Term::ZERO, Term::ZERO],
    }
}

/// Scores of a decode for every token of its context.
fn decode_scores(index: &Index) -> DecodeAttention {
    DecodeAttention {
        layers: 1.0,
        flops_per_context_token: 2.0 * f64::from(index.heads) * f64::from(index.width),
        bytes_per_context_token: f64::from(index.bytes_per_token),
        ..DecodeAttention::default()
    }
}

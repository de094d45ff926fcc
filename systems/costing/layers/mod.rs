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

mod attention;

use oracle_components::layers::{Attention, Experts, Layer, Mlp, Part, Role};
use oracle_components::model::ModelArchitecture;
use oracle_components::recurrent::Recurrent;
use oracle_components::scenario::EngineSpec;
use oracle_components::weight_format::WeightFormat;

use crate::costing::operator::{KernelKind, Operator, Precision, Term};
use crate::costing::parts::{Matrix, cached_bytes, expert_input, matrices, matrices_in, state_bytes};
use crate::costing::shape::Feature;
use crate::costing::weights::{matrix_format, wide_dtype};

pub(crate) use attention::{DecodeAttention, limit_tokens};

/// Kernels around the attention of a layer that are priced as one stream: two norms (with the residual), rotary embedding,
/// KV write.
pub const ATTENTION_STREAM_KERNELS: f64 = 4.0;
/// Kernels more where queries and keys are normed over the heads of all ranks: sums of squares of each, and the scaling of each in
/// place of the rotary embedding's one (vLLM's `MiniMaxText01RMSNormTP.forward_qk`, compiled).
const SUMMED_NORM_KERNELS: f64 = 3.0;
/// Rows up to which routers in 32 bits have a kernel of their own (vLLM's `GateLinear.FP32_MAX_TOKENS`), and those before it had one.
const OWN_ROUTER_ROWS: [f64; 2] = [0.0, 32.0];
/// Bytes of a number of 32 bits.
const WIDE_BYTES: f64 = 4.0;
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
    /// Attention whose norms go over the heads of all ranks.
    pub(crate) summed_norms: f64,
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
        let summed_norms = with(|part| matches!(part, Part::Attention(attention) if attention.norm_sums > 0));
        Self { parts, moe, attention, summed_norms, counts, first, last }
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
    /// Whether norms over ranks and wide routers have kernels of their own.
    is_fused: bool,
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
            is_fused: engine.fused_norms_and_routers,
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
            listed.extend(self.index_stream(part));
            let own = |operators: Vec<Operator>, place| operators.into_iter().map(move |operator| (place, operator));
            match part {
                Part::Attention(attention) => {
                    listed.extend(own(products, 0));
                    let bytes = self.attention_stream(attention, norms.take());
                    listed.push((
                        0,
                        Operator::elementwise(Feature::Tokens, bytes).of_kind(self.attention_streams(attention)),
                    ));
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

    fn attention_streams(&self, attention: &Attention) -> KernelKind {
        let apart = self.tensor > 1.0 && attention.norm_sums > 0 && !self.is_fused;
        let kernels = ATTENTION_STREAM_KERNELS + if apart { SUMMED_NORM_KERNELS } else { 0.0 };
        KernelKind::Stream { kernels, kv_writes: 1.0 }
    }

    /// The product that chooses experts.
    fn router(&self, experts: &Experts) -> Operator {
        let all = f64::from(experts.count);
        if !experts.wide_router {
            return self.wide_gemm(Feature::Tokens, self.hidden, all);
        }
        let own_rows = OWN_ROUTER_ROWS[usize::from(self.is_fused)];
        let kind = KernelKind::WideGemm { depth: self.hidden, columns: all, own_rows };
        Operator::gemm(Precision::Activations, Feature::Tokens, (self.hidden, all), WIDE_BYTES, self.activation)
            .of_kind(kind)
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
        let mut operators = vec![self.router(experts), Operator::elementwise(Feature::Tokens, permute).of_kind(kind)];
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
        let bytes = self.model.format_of_experts(experts).bytes_per_parameter();
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

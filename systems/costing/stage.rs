//! A kind of pipeline stage: its operators in seconds on its GPUs, and how many stages are of that kind.
//!
//! Stages that hold the same layers, on equally fast GPUs and links, are one kind. A pipeline of layers that are alike, or of
//! leading dense ones and experts, has at most five kinds (first, dense, mixed, experts, last); with unlike GPUs or links, or
//! where kinds of layers alternate, there may be more. Above [`MAX_STAGE_KINDS`] every stage is priced with the slowest GPU and
//! links of them all, and if that does not help, with the mean of their layers, so that a prepared step has a fixed size.

use std::sync::Arc;

use oracle_components::collectives::GroupFabric;
use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::{EngineSpec, KernelLaunch, Scenario};

use super::collectives::{LinkSharing, Ring, Wire, contention};
use super::decode_attention::DecodeAttentionCost;
use super::exchange::{ExpertGroup, expert_exchange};
use super::layers::{ExpertLoad, ModelRank, StageLayers};
use super::operator::{KernelKind, Operator, Term};
use super::rates::Rates;
use super::roofline;
use super::shape::{Feature, FeatureRules, Features};
use super::stage_curves::CurveKernels;
use super::timing::{Collective, Contention, GroupTimings};
use super::traffic::{NORM_SUMS_BYTES, all_reduces, cache_exchange, hidden_bytes, logit_bytes};
use super::weights::stage_layers;

/// Most kinds of stages that are told apart.
const MAX_STAGE_KINDS: usize = 6;

/// What makes two stages alike.
#[derive(Clone, Debug, PartialEq)]
struct StagePlan {
    layers: StageLayers,
    rates: Rates,
    ring: Ring,
    /// Collectives of the ranks that are not those of a plain ring.
    timings: Option<GroupTimings>,
    /// Collectives of the ranks that share the tokens of the KV cache.
    cache: Option<GroupTimings>,
    /// The ranks that share the experts with other engines.
    experts: Option<ExpertGroup>,
    /// To the next stage; none from the last.
    send: Wire,
}

/// An operator in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kernel {
    layers: f64,
    compute_s: Term,
    memory_s: [Term; 3],
}

impl Kernel {
    fn new(operator: &Operator, rates: &Rates) -> Self {
        Self {
            layers: operator.layers,
            compute_s: operator.flops.scaled(1.0 / rates.flops_per_s(operator.precision)),
            memory_s: operator.bytes.map(|term| term.scaled(1.0 / rates.bytes_per_s)),
        }
    }

    #[inline]
    fn seconds(&self, features: &Features) -> f64 {
        let seconds = |term: &Term| term.amount * features.get(term.feature);
        let [first, second, third] = &self.memory_s;
        self.layers * roofline(seconds(&self.compute_s), seconds(first) + seconds(second) + seconds(third))
    }
}

/// Operators of a stage but decode attention, in seconds.
#[derive(Clone, Debug, PartialEq)]
enum Kernels {
    /// May be bound by either roof, at constant efficiency.
    Roofs(Vec<Kernel>),
    Curves(Box<CurveKernels>),
}

impl Kernels {
    #[inline]
    fn seconds(&self, features: &Features) -> f64 {
        match self {
            Self::Roofs(kernels) => kernels.iter().map(|kernel| kernel.seconds(features)).sum(),
            Self::Curves(kernels) => kernels.seconds(features),
        }
    }
}

/// What transfers depend on: whether there is a token or a sampled row at all, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct BatchTerms {
    pub(crate) per_pass: f64,
    pub(crate) per_token: f64,
    pub(crate) per_sampling: f64,
    pub(crate) per_row: f64,
    pub(crate) per_decode: f64,
}

impl BatchTerms {
    #[inline]
    pub(crate) fn of(&self, features: &Features) -> f64 {
        let tokens = self.per_pass * features.get(Feature::Pass) + self.per_token * features.get(Feature::Tokens);
        let rows =
            self.per_sampling * features.get(Feature::SamplePass) + self.per_row * features.get(Feature::SampledRows);
        tokens + rows + self.per_decode * features.get(Feature::DecodeSequences)
    }
}

/// Stages that cost the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StageKind {
    /// How many stages are of this kind.
    pub(crate) stages: f64,
    /// Of layers that see the whole context, and of those that do not.
    pub(crate) attention: [DecodeAttentionCost; 2],
    /// What the host takes to launch a pass's kernels one by one; 0 if they are not.
    pub(crate) launch_s: f64,
    /// Captured sizes in tokens, ascending; none without CUDA graphs.
    capture_sizes: Arc<[u32]>,
    kernels: Kernels,
    /// Seconds of rings and sends, which are linear in the features.
    transfer_s: BatchTerms,
    collectives: Vec<Collective>,
}

impl StageKind {
    /// Seconds of one pass of a micro-batch, with the send to the next stage, without decode attention.
    #[inline]
    pub(crate) fn fixed_seconds(&self, features: &Features) -> f64 {
        let of_all = |features: &Features| {
            let linear_s = self.kernels.seconds(features) + self.transfer_s.of(features);
            self.collectives.iter().fold(linear_s, |sum_s, collective| sum_s + collective.seconds(features))
        };
        match self.captured_tokens(features.get(Feature::Tokens)) {
            None => of_all(features),
            Some(tokens) => of_all(&features.with(Feature::Tokens, tokens)),
        }
    }

    /// Tokens that a batch runs with as a CUDA graph: those of the next captured size.
    fn captured_tokens(&self, tokens: f64) -> Option<f64> {
        let next = self.capture_sizes.partition_point(|&size| f64::from(size) < tokens);
        self.capture_sizes.get(next).filter(|_| tokens > 0.0).map(|&size| f64::from(size))
    }

    fn new(engine: &EngineSpec, plan: &StagePlan, stages: f64, rules: &FeatureRules) -> Self {
        let rank = ModelRank::new(engine, ExpertLoad::Busiest);
        let rates = &plan.rates;
        let operators = rank.operators(&plan.layers);
        let (launch_s, capture_sizes) = match &engine.kernel_launch {
            KernelLaunch::Free => (0.0, Arc::default()),
            KernelLaunch::Graphs(sizes) => (0.0, Arc::clone(sizes)),
            KernelLaunch::Eager { launch_s } => {
                let launched = launches(&operators, &plan.layers) + launched_collectives(engine, plan);
                (launch_s * launched, Arc::default())
            }
        };
        Self {
            stages,
            attention: rank.decode_attention(&plan.layers).map(|work| DecodeAttentionCost::new(&work, rates)),
            launch_s,
            capture_sizes,
            kernels: match &rates.curves {
                None => Kernels::Roofs(merged(operators).iter().map(|o| Kernel::new(o, rates)).collect()),
                Some(curves) => Kernels::Curves(Box::new(CurveKernels::new(engine, rates, curves, *rules, operators))),
            },
            transfer_s: transfer_seconds(engine, plan),
            collectives: collectives(engine, plan),
        }
    }
}

/// The stages of an engine by kind.
pub(crate) fn stage_kinds(
    engine: &EngineSpec,
    scenario: &Scenario,
    sharing: &LinkSharing,
    rules: &FeatureRules,
) -> Vec<StageKind> {
    let stages = engine.pipeline_parallel.max(1);
    let mut plans: Vec<StagePlan> = (0..stages).map(|s| stage_plan(engine, scenario, s, sharing)).collect();
    let mut kinds = grouped(&plans);
    if kinds.len() > MAX_STAGE_KINDS {
        level_to_slowest(&mut plans);
        kinds = grouped(&plans);
    }
    if kinds.len() > MAX_STAGE_KINDS {
        level_layers(&engine.model, &mut plans);
        kinds = grouped(&plans);
    }
    assert!(kinds.len() <= MAX_STAGE_KINDS, "stages of equal layers, GPUs and links are of at most three kinds");
    kinds.iter().map(|(plan, stages)| StageKind::new(engine, plan, *stages, rules)).collect()
}

/// What each stage holds.
pub(crate) fn layers_of_stage(engine: &EngineSpec, stage: u32) -> StageLayers {
    let model = &engine.model;
    let stages = engine.pipeline_parallel.max(1);
    let (first_layer, layers) = stage_layers(model.layers.len(), stages, stage);
    let counts = model.layers.counts(first_layer, layers).into_iter().map(f64::from).collect();
    StageLayers::new(model, counts, stage == 0, stage + 1 == stages)
}

fn stage_plan(engine: &EngineSpec, scenario: &Scenario, stage: u32, sharing: &LinkSharing) -> StagePlan {
    let index = stage as usize;
    let layers = layers_of_stage(engine, stage);
    let send = match engine.stage_paths.get(index) {
        Some(path) if !layers.last => Wire::of_path(path, &scenario.links, |_| 1.0),
        _ => Wire::default(),
    };
    let ring = Ring::of_stage(engine, scenario, index, sharing);
    StagePlan {
        layers,
        rates: Rates::of_stage(engine, scenario, index),
        ring,
        timings: timings(engine, scenario, index, &ring, sharing),
        cache: cache_timings(engine, index, &ring),
        experts: ExpertGroup::of_engine(engine, scenario),
        send,
    }
}

/// Ranks that share a cache are neighbours, on one node.
fn cache_timings(engine: &EngineSpec, stage: usize, ring: &Ring) -> Option<GroupTimings> {
    let ranks = engine.decode_context_parallel;
    if ranks < 2 {
        return None;
    }
    let ring = ring.of_ranks(ranks);
    Some(match engine.fabrics.get(stage).and_then(Option::as_ref) {
        Some(fabric) => {
            let local = GroupFabric { across: None, ..fabric.clone() };
            GroupTimings::of_fabric(&local, &ring, Contention::NONE)
        }
        None => GroupTimings::of_ring(&ring),
    })
}

/// Those of measured links; with sequence parallelism also those of a ring, as it uses other collectives.
fn timings(
    engine: &EngineSpec,
    scenario: &Scenario,
    stage: usize,
    ring: &Ring,
    sharing: &LinkSharing,
) -> Option<GroupTimings> {
    if ring.ranks() < 2 {
        return None;
    }
    match engine.fabrics.get(stage).and_then(Option::as_ref) {
        Some(fabric) => {
            let groups = contention(&engine.rings[stage], scenario, sharing);
            Some(GroupTimings::of_fabric(fabric, ring, Contention::everywhere(groups)))
        }
        None => engine.sequence_parallel.then(|| GroupTimings::of_ring(ring)),
    }
}

fn grouped(plans: &[StagePlan]) -> Vec<(StagePlan, f64)> {
    let mut kinds: Vec<(StagePlan, f64)> = Vec::new();
    for plan in plans {
        match kinds.iter_mut().find(|(kind, _)| kind == plan) {
            Some((_, stages)) => *stages += 1.0,
            None => kinds.push((plan.clone(), 1.0)),
        }
    }
    kinds
}

fn level_to_slowest(plans: &mut [StagePlan]) {
    let mut slowest = plans[0].clone();
    for plan in &plans[1..] {
        slowest.rates = slowest.rates.slowest(plan.rates.clone());
        slowest.ring = slowest.ring.slowest(plan.ring);
        slowest.timings = slowest.timings.zip(plan.timings).map(|(slowest, timings)| slowest.slowest(timings));
        slowest.cache = slowest.cache.zip(plan.cache).map(|(slowest, timings)| slowest.slowest(timings));
        slowest.send = slowest.send.slowest(plan.send);
    }
    for plan in plans {
        plan.rates = slowest.rates.clone();
        plan.ring = slowest.ring;
        plan.timings = slowest.timings;
        plan.cache = slowest.cache;
        plan.send = if plan.layers.last { Wire::default() } else { slowest.send };
    }
}

/// Every stage holds as many layers of each kind as they do on average.
fn level_layers(model: &ModelArchitecture, plans: &mut [StagePlan]) {
    let share = 1.0 / plans.len() as f64;
    let counts = model.layers.counts(0, model.layers.len());
    let mean: Vec<f64> = counts.into_iter().map(|count| f64::from(count) * share).collect();
    for plan in plans {
        let StageLayers { first, last, .. } = plan.layers;
        plan.layers = StageLayers::new(model, mean.clone(), first, last);
    }
}

/// Kernels of the routed experts of a layer: the gate's choice, the sorting of tokens, two products, activation, sum.
const EXPERTS_LAUNCHES: f64 = 7.0;
/// Kernels of a sampler: type, penalties, softmax, draw.
const SAMPLER_LAUNCHES: f64 = 8.0;

/// Kernels that a pass through a stage launches.
fn launches(operators: &[Operator], layers: &StageLayers) -> f64 {
    let of_operators = operators.iter().map(|operator| {
        let kernels = match operator.kind {
            KernelKind::Gemm { .. } => 1.0,
            // To 32 bits first.
            KernelKind::WideGemm { .. } => 2.0,
            KernelKind::Stream { kernels, .. } => kernels,
            KernelKind::Sampler => SAMPLER_LAUNCHES,
            // Those of a layer come in parts, and one of them in bytes alone.
            KernelKind::Experts { .. } if operator.flops == Term::ZERO && operator.bytes[1] == Term::ZERO => {
                EXPERTS_LAUNCHES
            }
            // Prefill and decode attention are one call.
            KernelKind::Experts { .. } | KernelKind::PrefillAttention { .. } => 0.0,
        };
        kernels * operator.layers
    });
    of_operators.sum::<f64>() + layers.attention
}

/// Collectives that a pass through a stage launches: each is a kernel, whichever library it is from.
fn launched_collectives(engine: &EngineSpec, plan: &StagePlan) -> f64 {
    let layers = &plan.layers;
    let exchanges = |is_shared: bool, layers: f64| if is_shared { 2.0 * layers } else { 0.0 };
    let of_ranks = if engine.tensor_parallel > 1 {
        let of_sum = if engine.sequence_parallel { 2.0 } else { 1.0 };
        of_sum * all_reduces(layers) + f64::from(u8::from(layers.last))
    } else {
        0.0
    };
    of_ranks + exchanges(plan.cache.is_some(), layers.attention) + exchanges(plan.experts.is_some(), layers.moe)
}

/// Operators that only move the bytes of one feature add up without loss; products stay apart.
fn merged(operators: Vec<Operator>) -> Vec<Operator> {
    let mut kept: Vec<Operator> = Vec::with_capacity(operators.len());
    for operator in operators {
        let moves_only = |o: &Operator| o.flops == Term::ZERO && o.bytes[1] == Term::ZERO;
        let feature = operator.bytes[0].feature;
        let partner = kept.iter_mut().find(|o| moves_only(o) && o.bytes[0].feature == feature);
        match partner {
            Some(partner) if moves_only(&operator) => {
                let bytes = partner.bytes[0].amount * partner.layers + operator.bytes[0].amount * operator.layers;
                partner.bytes[0].amount = bytes;
                partner.layers = 1.0;
            }
            _ => kept.push(operator),
        }
    }
    kept
}

/// Two all-reduces of the hidden vectors a layer; one of the embedding, whose vocabulary is divided; an all-gather of the
/// logits; the hidden vectors to the next stage.
fn transfer_seconds(engine: &EngineSpec, plan: &StagePlan) -> BatchTerms {
    let mut seconds = BatchTerms {
        per_pass: plan.send.latency_s,
        per_token: plan.send.s_per_byte * hidden_bytes(engine),
        ..BatchTerms::default()
    };
    if plan.timings.is_some() {
        return seconds;
    }
    let reduce = plan.ring.all_reduce();
    let reduces = all_reduces(&plan.layers);
    let s_per_byte = reduces * reduce.s_per_byte + plan.send.s_per_byte;
    let sums = plan.layers.summed_norms;
    seconds.per_pass = (reduces + sums) * reduce.latency_s + plan.send.latency_s;
    seconds.per_token = s_per_byte * hidden_bytes(engine) + sums * NORM_SUMS_BYTES * reduce.s_per_byte;
    if plan.layers.last {
        let gather = plan.ring.all_gather();
        seconds.per_sampling = gather.latency_s;
        seconds.per_row = gather.s_per_byte * logit_bytes(engine);
    }
    seconds
}

/// The same collectives where they are no plain rings, and what brings tokens to experts.
fn collectives(engine: &EngineSpec, plan: &StagePlan) -> Vec<Collective> {
    let mut collectives = Vec::new();
    if let Some(timings) = &plan.timings {
        let (rows, bytes_per_row) = (Feature::Tokens, hidden_bytes(engine));
        let reduces = |timing| Collective { times: all_reduces(&plan.layers), timing, rows, bytes_per_row };
        if engine.sequence_parallel {
            collectives.extend([reduces(timings.reduce_scatter), reduces(timings.all_gather)]);
        } else {
            collectives.push(reduces(timings.all_reduce));
        }
        if plan.layers.summed_norms > 0.0 {
            let (times, timing) = (plan.layers.summed_norms, timings.all_reduce);
            collectives.push(Collective { times, timing, rows, bytes_per_row: NORM_SUMS_BYTES });
        }
        if plan.layers.last {
            let (timing, bytes_per_row) = (timings.all_gather, logit_bytes(engine));
            collectives.push(Collective { times: 1.0, timing, rows: Feature::SampledRows, bytes_per_row });
        }
    }
    if let Some(cache) = &plan.cache {
        let times = plan.layers.attention;
        let (there, back) = cache_exchange(engine);
        let rows = Feature::DecodeSequences;
        collectives.push(Collective { times, timing: cache.all_gather, rows, bytes_per_row: there });
        collectives.push(Collective { times, timing: cache.reduce_scatter, rows, bytes_per_row: back });
    }
    if let Some(group) = &plan.experts {
        collectives.extend(expert_exchange(group, plan.layers.moe));
    }
    collectives
}

//! The cost of a step of one engine.
//!
//! [`StepCost`] is built once. [`StepCost::prepare`] prices a batch composition but for the decode sequences' contexts;
//! [`PreparedStep::duration`] adds those: decode attention is `max(KV bytes, FLOPs)` of the summed context, so an epoch of
//! many steps is priced at a few nanoseconds a step. In sliding-window layers the summed context is taken as
//! `sequences × min(mean context, window)`.
//!
//! With `S` stages a step is cut into `M = min(S, sequences)` equal micro-batches: vLLM keeps as many batches in flight as
//! there are stages, and splits no sequence within a step. (With `prompt_microbatches` a step that has prompts is cut into
//! `min(prompt_microbatches, tokens)` instead.) `t_s` is what stage `s` takes for one of them (weights are read again for
//! each), with the send to the next stage. The step takes `max(M · max t_s, Σ t_s)`: the pipeline stays full from step to
//! step, and a sequence's next token waits for its last one; where `M < S` the difference is the bubble. Filling and
//! draining around an isolated step is not charged: it is right under load, and some way too fast for the last micro-batch
//! of a step that comes alone.
//!
//! Images are encoded on the first stage, which takes their share of it longer for each micro-batch. The encoder's time is stated by the
//! token; its FLOPs and bytes are not, and the work of a step leaves them out.
//!
//! The engine's host overhead comes on top, or hides behind the GPU's time where scheduling is asynchronous. More of
//! anything takes longer, at a given `M`: a further token that makes a further micro-batch may shorten a step that long
//! contexts fill. By a curve that has decodes launched together with prompts, the first prompt may take less than the launch
//! that it saves.

use oracle_components::SimTime;
use oracle_components::scenario::{EngineSpec, ExpertExchange, Scenario};
use oracle_components::work::StepWork;
use smallvec::SmallVec;

use super::collectives::{LinkSharing, Ring};
use super::decode_attention::DecodeAttentionCost;
use super::exchange::ExpertGroup;
use super::layers::{ExpertLoad, ModelRank, limit_tokens};
use super::rates::Rates;
use super::shape::{ExpertRanks, Feature, FeatureRules, Features, StepShape};
use super::stage::{BatchTerms, StageKind, layers_of_stage, stage_kinds};
use super::traffic::{all_reduces, cache_exchange, hidden_bytes, logit_bytes};

/// What the steps of one engine cost.
#[derive(Clone, Debug, PartialEq)]
pub struct StepCost {
    rules: FeatureRules,
    kinds: Vec<StageKind>,
    stages: f64,
    prompt_microbatches: Option<f64>,
    overhead_s: f64,
    overhead_s_per_sequence: f64,
    encoder_s_per_token: f64,
    overlaps_host: bool,
    flops: Features,
    bytes: Features,
    ring_bytes: BatchTerms,
    stage_bytes_per_token: f64,
    exchange_bytes_per_token: f64,
    /// Of layers that see the whole context, and of those that do not.
    context_work: [ContextWork; 2],
}

/// Work of decode attention on a GPU, for each token of summed context, in all layers: means over the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct ContextWork {
    flops: f64,
    bytes: f64,
}

/// A batch composition, priced but for the decode sequences' contexts.
#[derive(Clone, Debug)]
pub struct PreparedStep {
    /// By kind of stage; most engines have one, and many of these are kept and copied.
    lines: SmallVec<[StageLine; 1]>,
    microbatches: f64,
    overhead_s: f64,
    overlaps_host: bool,
    decode_sequences: f64,
    /// Most summed context that sliding-window layers see: sequences × window; infinite without such layers.
    window_context_tokens: f64,
    fixed_work: StepWork,
    context_work: [ContextWork; 2],
}

/// Seconds of a stage for one micro-batch as a function of the step's summed decode context.
#[derive(Clone, Copy, Debug, Default)]
struct StageLine {
    stages: f64,
    fixed_s: f64,
    full: AttentionLine,
    window: AttentionLine,
    /// The host's time to launch all kernels: the GPU waits if it is faster.
    launch_s: f64,
}

/// Seconds of decode attention in so many layers.
#[derive(Clone, Copy, Debug, Default)]
struct AttentionLine {
    layers: f64,
    compute_s_per_context_token: f64,
    memory_s_per_context_token: f64,
    memory_s: f64,
    passes_s_per_context_token: f64,
    passes_s: f64,
}

impl AttentionLine {
    #[inline]
    fn seconds(&self, context: f64) -> f64 {
        let compute_s = self.compute_s_per_context_token * context;
        let memory_s = self.memory_s + self.memory_s_per_context_token * context;
        let passes_s = self.passes_s + self.passes_s_per_context_token * context;
        self.layers * larger(larger(compute_s, memory_s), passes_s)
    }
}

impl DecodeAttentionCost {
    /// As a line of the context, and the seconds that it takes with any.
    fn line(&self, features: &Features, microbatches: f64) -> (AttentionLine, f64) {
        if self.layers == 0.0 {
            return Default::default();
        }
        let attention = self.of_batch(features, microbatches);
        let line = AttentionLine {
            layers: self.layers,
            compute_s_per_context_token: attention.compute_s_per_context_token,
            memory_s_per_context_token: attention.memory_s_per_context_token,
            memory_s: attention.memory_s,
            passes_s_per_context_token: attention.passes_s_per_context_token,
            passes_s: attention.passes_s,
        };
        (line, attention.floor_s * self.layers)
    }
}

impl StageLine {
    #[inline]
    fn seconds(&self, context: f64, window_context: f64) -> f64 {
        let mut gpu_s = self.fixed_s + self.full.seconds(context);
        if self.window.layers > 0.0 {
            gpu_s += self.window.seconds(window_context);
        }
        larger(gpu_s, self.launch_s)
    }
}

/// The larger of two numbers: `f64::max` looks for NaN too, which is five instructions in place of one, and this is most of what a
/// step costs.
#[inline]
fn larger(x: f64, y: f64) -> f64 {
    if x > y { x } else { y }
}

impl StepCost {
    /// Derives the costs of `engine`, an engine of `scenario`.
    ///
    /// # Panics
    /// If an index points outside the scenario, or a device has no peak: what the config checks.
    #[must_use]
    pub fn new(engine: &EngineSpec, scenario: &Scenario) -> Self {
        Self::with_sharing(engine, scenario, &LinkSharing::new(scenario))
    }

    /// Derives the costs of every engine of `scenario`, in their order.
    ///
    /// # Panics
    /// As [`StepCost::new`].
    pub fn of_all(scenario: &Scenario) -> impl Iterator<Item = Self> + '_ {
        let sharing = LinkSharing::new(scenario);
        scenario.engines.iter().map(move |engine| Self::with_sharing(engine, scenario, &sharing))
    }

    fn with_sharing(engine: &EngineSpec, scenario: &Scenario, sharing: &LinkSharing) -> Self {
        let model = &engine.model;
        let routing_share = routing_share(engine, scenario);
        let mut rules = FeatureRules { window_tokens: limit_tokens(model), routing_share, ..FeatureRules::default() };
        if let Some(moe) = model.experts() {
            rules.experts = f64::from(moe.count);
            rules.ln_miss = (-f64::from(moe.per_token) / f64::from(moe.count)).ln_1p();
            rules.expert_ranks = engine.expert_parallel.as_ref().map(|experts| ExpertRanks {
                ranks: f64::from(experts.data_parallel * engine.tensor_parallel.max(1)),
                engines: f64::from(experts.data_parallel),
                experts_per_token: f64::from(moe.per_token),
                sees_all_tokens: experts.data_parallel <= 1 || experts.exchange == ExpertExchange::AllGather,
                imbalance: experts.imbalance,
            });
        }
        let mut cost = Self {
            rules,
            kinds: stage_kinds(engine, scenario, sharing, &rules),
            stages: f64::from(engine.pipeline_parallel.max(1)),
            prompt_microbatches: engine.prompt_microbatches.map(f64::from),
            overhead_s: engine.step_overhead_s,
            overhead_s_per_sequence: engine.sequence_overhead_s,
            encoder_s_per_token: engine.encoder_s_per_token,
            overlaps_host: engine.scheduler.async_scheduling,
            flops: Features::default(),
            bytes: Features::default(),
            ring_bytes: BatchTerms::default(),
            stage_bytes_per_token: if engine.pipeline_parallel > 1 { hidden_bytes(engine) } else { 0.0 },
            exchange_bytes_per_token: 0.0,
            context_work: [ContextWork::default(); 2],
        };
        cost.sum_work(engine, scenario, sharing);
        cost
    }

    /// Prices `shape` for any decode context.
    #[must_use]
    pub fn prepare(&self, shape: &StepShape) -> PreparedStep {
        let (most, parts) = match self.prompt_microbatches {
            Some(most) if shape.prefill_tokens > 0 => (most, shape.tokens()),
            _ => (self.stages, u64::from(shape.decode_sequences) + u64::from(shape.prefill_sequences)),
        };
        let microbatches = most.min(parts as f64).max(1.0);
        let features = self.rules.features(shape, microbatches);
        let line = |kind: &StageKind| {
            let [full, window] = kind.attention.each_ref().map(|attention| attention.line(&features, microbatches));
            StageLine {
                stages: kind.stages,
                fixed_s: kind.fixed_seconds(&features) + full.1 + window.1,
                full: full.0,
                window: window.0,
                launch_s: kind.launch_s * features.get(Feature::Pass),
            }
        };
        let mut lines: SmallVec<[StageLine; 1]> = self.kinds.iter().map(line).collect();
        lines[0].fixed_s += shape.encoder_tokens as f64 * self.encoder_s_per_token / microbatches;
        let windowed = self.context_work[1] != ContextWork::default();
        PreparedStep {
            lines,
            microbatches,
            overhead_s: self.overhead_s
                + self.overhead_s_per_sequence * f64::from(shape.decode_sequences + shape.prefill_sequences),
            overlaps_host: self.overlaps_host,
            decode_sequences: f64::from(shape.decode_sequences),
            window_context_tokens: if windowed {
                f64::from(shape.decode_sequences) * self.rules.window_tokens
            } else {
                f64::INFINITY
            },
            fixed_work: StepWork {
                flops_per_gpu: microbatches * self.flops.dot(&features),
                memory_bytes_per_gpu: microbatches * self.bytes.dot(&features),
                ring_bytes: microbatches * self.ring_bytes.of(&features),
                stage_bytes: shape.tokens() as f64 * self.stage_bytes_per_token,
                exchange_bytes: shape.tokens() as f64 * self.exchange_bytes_per_token,
            },
            context_work: self.context_work,
        }
    }

    /// Fills in what GPUs and links do, averaged over stages.
    fn sum_work(&mut self, engine: &EngineSpec, scenario: &Scenario, sharing: &LinkSharing) {
        let rank = ModelRank::new(engine, ExpertLoad::Mean);
        let experts = ExpertGroup::of_engine(engine, scenario);
        let stages = engine.pipeline_parallel.max(1);
        let share = 1.0 / f64::from(stages);
        for stage in 0..stages {
            let layers = layers_of_stage(engine, stage);
            for operator in rank.operators(&layers) {
                let times = operator.layers * share;
                self.flops.add(operator.flops.feature, operator.flops.amount * times);
                for term in operator.bytes {
                    self.bytes.add(term.feature, term.amount * times);
                }
            }
            for (work, attention) in self.context_work.iter_mut().zip(rank.decode_attention(&layers)) {
                let times = attention.layers * share;
                work.flops += attention.flops_per_context_token * times;
                work.bytes += attention.bytes_per_context_token * times;
                self.bytes.add(Feature::DecodeSequences, attention.bytes_per_sequence * times);
            }
            let ring = Ring::of_stage(engine, scenario, stage as usize, sharing);
            if let Some(group) = &experts {
                self.exchange_bytes_per_token += group.sent_bytes_per_token() * layers.moe * share;
            }
            let reduced = all_reduces(&layers) * hidden_bytes(engine) * ring.all_reduce_share();
            self.ring_bytes.per_token += reduced * share;
            if engine.decode_context_parallel > 1 {
                let (there, back) = cache_exchange(engine);
                let sent = ring.of_ranks(engine.decode_context_parallel).all_gather_share() * (there + back);
                self.ring_bytes.per_decode += sent * layers.attention * share;
            }
            if layers.last {
                self.ring_bytes.per_row += logit_bytes(engine) * ring.all_gather_share() * share;
            }
        }
    }
}

/// How far routed experts are chosen unevenly: by the first GPU's curve; uniformly at constant efficiency.
fn routing_share(engine: &EngineSpec, scenario: &Scenario) -> f64 {
    match &Rates::of_stage(engine, scenario, 0).curves {
        Some(curves) => curves.experts().0.routing_share,
        None => 1.0,
    }
}

impl PreparedStep {
    /// How long the step takes when its decode sequences attend to `decode_context_tokens` tokens together, the new ones
    /// included. At least a nanosecond, so that time moves on.
    #[inline]
    #[must_use]
    pub fn duration(&self, decode_context_tokens: u64) -> SimTime {
        let context = decode_context_tokens as f64;
        let window_context = if context < self.window_context_tokens { context } else { self.window_context_tokens };
        let (mut sum_s, mut slowest_s) = (0.0, 0.0_f64);
        for line in &self.lines {
            let stage_s = line.seconds(context, window_context);
            sum_s += line.stages * stage_s;
            slowest_s = larger(slowest_s, stage_s);
        }
        let pipeline_s = larger(sum_s, self.microbatches * slowest_s);
        let step_s =
            if self.overlaps_host { larger(pipeline_s, self.overhead_s) } else { pipeline_s + self.overhead_s };
        SimTime::from_secs_f64(step_s).max(SimTime(1))
    }

    /// What GPUs and links do in one step.
    #[must_use]
    pub fn work(&self, decode_context_tokens: u64) -> StepWork {
        self.work_over(1, decode_context_tokens)
    }

    /// What they do in `steps` consecutive steps whose decode contexts sum to `summed_decode_context_tokens`: the sum of
    /// the steps' work. It is linear in both; sliding windows alone need the steps to be consecutive, each attending to
    /// one more token a sequence than the one before.
    #[must_use]
    pub fn work_over(&self, steps: u64, summed_decode_context_tokens: u64) -> StepWork {
        let steps = steps as f64;
        let context = summed_decode_context_tokens as f64;
        let [full, window] = self.context_work;
        let windowed = window != ContextWork::default();
        let window_context = if windowed { self.summed_window_context(steps, context) } else { 0.0 };
        let fixed = &self.fixed_work;
        StepWork {
            flops_per_gpu: steps * fixed.flops_per_gpu + full.flops * context + window.flops * window_context,
            memory_bytes_per_gpu: steps * fixed.memory_bytes_per_gpu
                + full.bytes * context
                + window.bytes * window_context,
            ring_bytes: steps * fixed.ring_bytes,
            stage_bytes: steps * fixed.stage_bytes,
            exchange_bytes: steps * fixed.exchange_bytes,
        }
    }

    /// The sum over steps of `min(context, limit)` of contexts that grow by the number of sequences each step.
    fn summed_window_context(&self, steps: f64, summed_context: f64) -> f64 {
        let (growth, limit) = (self.decode_sequences, self.window_context_tokens);
        if steps == 0.0 || growth == 0.0 {
            return 0.0;
        }
        let first = summed_context / steps - growth * (steps - 1.0) / 2.0;
        let below = (((limit - first) / growth).floor() + 1.0).clamp(0.0, steps);
        below * first + growth * below * (below - 1.0) / 2.0 + (steps - below) * limit
    }
}

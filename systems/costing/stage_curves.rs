//! The operators of a pipeline stage by efficiency curves.
//!
//! Most operators depend on the number of tokens alone, or on that of sampled rows: what they take together is computed
//! once for each number and kept, exactly; attention is computed for each batch. A micro-batch of a fraction of a token
//! takes what lies between its two neighbours.
//!
//! Owns the kept prices, which say nothing that is not said by the rest; the roofs are the least that any kernel takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use oracle_components::efficiency::{Correction, EfficiencyCurves};
use oracle_components::kernel_times::Heads;
use oracle_components::scenario::EngineSpec;

use super::attention_tables::{Surface, measured_heads, prefill_factor};
use super::corrections::{Corrected, Plane, factor};
use super::curves::{self, Experts, Gemm, Peaks, PrefillAttention};
use super::operator::{KernelKind, Operator, Term};
use super::rates::{CurveRates, Rates};
use super::roofline;
use super::shape::{Feature, FeatureRules, Features, StepShape};
use super::tables::{ByCurve, along};

/// Most numbers of tokens whose prices are kept, 8 bytes each: more than any engine's budget is likely to be.
const MOST_KEPT: u32 = 1 << 17;

/// Kernels of a stage by curve.
#[derive(Clone, Debug)]
pub(crate) struct CurveKernels {
    rates: Rates,
    curves: CurveRates,
    rules: FeatureRules,
    by_tokens: Vec<Operator>,
    by_rows: Vec<Operator>,
    by_batch: Vec<Operator>,
    kept: Arc<Kept>,
}

/// Whatever has been kept, the prices are the same.
impl PartialEq for CurveKernels {
    fn eq(&self, other: &Self) -> bool {
        let key = |kernels: &Self| (kernels.rates.clone(), kernels.rules, kernels.kept.heads, kernels.kept.tokens.most);
        let operators = |kernels: &Self| [&kernels.by_tokens, &kernels.by_rows, &kernels.by_batch].map(Vec::clone);
        key(self) == key(other) && operators(self) == operators(other)
    }
}

#[derive(Debug)]
struct Kept {
    tokens: KeptSeconds,
    rows: KeptSeconds,
    /// Of the attention, if it is of the kind that is measured.
    heads: Option<Heads>,
    /// What measured prefill attention is off by.
    prefill: OnceLock<Option<Surface<1>>>,
    /// What the formula of prefill attention is off by, for each width of the heads.
    prefill_planes: Vec<Plane>,
}

impl CurveKernels {
    pub(crate) fn new(
        engine: &EngineSpec,
        rates: &Rates,
        curves: &CurveRates,
        rules: FeatureRules,
        operators: Vec<Operator>,
    ) -> Self {
        let (mut by_tokens, mut by_rows, mut by_batch) = (Vec::new(), Vec::new(), Vec::new());
        for operator in with_experts_together(operators) {
            match operator.bytes[0].feature {
                Feature::SamplePass | Feature::SampledRows => by_rows.push(operator),
                _ if is_of_tokens(&operator) => by_tokens.push(operator),
                _ => by_batch.push(operator),
            }
        }
        let tokens = KeptSeconds::new(engine.scheduler.max_num_batched_tokens);
        let rows = KeptSeconds::new(engine.scheduler.max_num_seqs);
        let plane = |operator: &Operator| match (curves.prefill_correction(), operator.kind) {
            (Some(correction), KernelKind::PrefillAttention { head_width, .. }) => {
                Some(Plane::new(correction, Correction::PREFILL, head_width))
            }
            _ => None,
        };
        let prefill_planes = by_batch.iter().filter_map(plane).collect();
        let heads = measured_heads(engine);
        let kept = Arc::new(Kept { tokens, rows, heads, prefill: OnceLock::new(), prefill_planes });
        Self { rates: rates.clone(), curves: curves.clone(), rules, by_tokens, by_rows, by_batch, kept }
    }

    /// Seconds of all kernels but decode attention.
    #[inline]
    pub(crate) fn seconds(&self, features: &Features) -> f64 {
        let tokens = features.get(Feature::Tokens);
        let of_tokens = self.kept.tokens.get(tokens, |count| self.of_count(&self.by_tokens, &self.kept.tokens, count));
        let rows = features.get(Feature::SampledRows);
        let of_rows = self.kept.rows.get(rows, |count| self.of_count(&self.by_rows, &self.kept.rows, count));
        of_tokens + of_rows + self.of_batch(features)
    }

    fn of_count(&self, operators: &[Operator], kept: &KeptSeconds, count: u32) -> f64 {
        let here = self.of_rows(count);
        let corrected = kept.corrected.get_or_init(|| operators.iter().map(|o| self.corrected(o)).collect());
        let by_curve_s = |(operator, corrected): (&Operator, &Option<Corrected>), features: &Features| {
            self.corrected_s(&operator.in_layers(1.0), corrected.as_ref(), features)
        };
        let both = || operators.iter().zip(corrected);
        let Some(table) = &self.curves.table else {
            return both().map(|one| one.0.layers * by_curve_s(one, &here)).sum();
        };
        let of_any_s =
            |operator: &Operator, count: u32| by_curve_s((operator, &self.corrected(operator)), &self.of_rows(count));
        let slowdown = |operator: &Operator, count: u32| self.slowdown(operator, &self.of_rows(count));
        let curve = ByCurve { seconds: &of_any_s, slowdown: &slowdown };
        let measured = kept.measured.get_or_init(|| {
            operators.iter().map(|operator| table.by_rows(operator, self.rules.experts, &curve)).collect()
        });
        let of_layers = both().zip(measured).map(|(one, measured)| {
            let layer_s = along(measured, count, |count| by_curve_s(one, &self.of_rows(count)));
            one.0.layers * layer_s.max(self.roof_s(one.0, &here))
        });
        of_layers.sum()
    }

    /// How much longer an operator takes at what of the FLOP/s lasts than it did when the table was measured.
    fn slowdown(&self, operator: &Operator, features: &Features) -> f64 {
        let lasting = self.curves.lasting_in_table(operator.precision, self.rates.flops_per_s(operator.precision));
        let here_s = self.operator_s(operator, features);
        if lasting >= 1.0 || here_s <= 0.0 {
            return 1.0;
        }
        here_s / self.operator_at_s(operator, features, self.rates.flops_per_s(operator.precision) / lasting)
    }

    /// A step of so many decodes, all sampled.
    fn of_rows(&self, count: u32) -> Features {
        let shape = StepShape { decode_sequences: count, sampled_rows: count, ..StepShape::default() };
        self.rules.features(&shape, 1.0)
    }

    /// A product whose rows are the count, or experts, if its curve is known to be off.
    fn corrected(&self, operator: &Operator) -> Option<Corrected> {
        let (correction, first, sides) = match operator.kind {
            KernelKind::Gemm { depth, columns } if is_of_count(operator) => {
                (self.curves.gemm_correction(operator.precision), Correction::PRODUCTS, [columns, depth])
            }
            KernelKind::Experts { experts, inner, .. } => {
                (self.curves.experts().1, Correction::EXPERTS, [inner, experts])
            }
            _ => (None, [0.0; 3], [0.0; 2]),
        };
        let formula_s = |rows: f64| self.operator_s(&operator.in_layers(1.0), &self.of_rows(rows as u32));
        correction.map(|correction| Corrected::new(correction, first, sides, formula_s))
    }

    /// Seconds of an operator, no less than its roofs.
    fn corrected_s(&self, operator: &Operator, corrected: Option<&Corrected>, features: &Features) -> f64 {
        let formula_s = self.operator_s(operator, features);
        let Some(corrected) = corrected.filter(|_| formula_s > 0.0) else { return formula_s };
        let roof_s = self.roof_of(operator, features, self.rates.flops_per_s(operator.precision));
        let rows = if is_of_count(operator) { operator.flops.feature } else { Feature::Tokens };
        corrected.seconds(features.get(rows), formula_s).max(operator.layers * roof_s)
    }

    /// Seconds of what depends on more than a count.
    #[inline]
    fn of_batch(&self, features: &Features) -> f64 {
        let Some((table, heads)) = self.curves.table.as_ref().zip(self.kept.heads.as_ref()) else {
            return self.sum(&self.by_batch, features);
        };
        let measured = self.kept.prefill.get_or_init(|| {
            let by_curve_s =
                |operator: &Operator, shape: &StepShape| self.operator_s(operator, &self.rules.features(shape, 1.0));
            table.prefill_corrections(heads, by_curve_s)
        });
        let of_operators = self.by_batch.iter().map(|operator| {
            let by_curve_s = self.operator_s(operator, features);
            match (measured, operator.kind) {
                (Some(measured), KernelKind::PrefillAttention { .. }) => {
                    let took_s = by_curve_s * prefill_factor(measured, features, operator.flops.feature);
                    took_s.max(operator.layers * self.roof_s(operator, features))
                }
                _ => by_curve_s,
            }
        });
        of_operators.sum()
    }

    /// The least that a layer of an operator was measured to take: at the peaks, not at what of them lasts.
    fn roof_s(&self, operator: &Operator, features: &Features) -> f64 {
        let peak = self.rates.flops_per_s(operator.precision) / self.curves.sustained(operator.precision);
        self.roof_of(operator, features, peak)
    }

    fn roof_of(&self, operator: &Operator, features: &Features, flops_per_s: f64) -> f64 {
        let amount = |term: &Term| term.amount * features.get(term.feature);
        let bytes: f64 = operator.bytes.iter().map(amount).sum();
        roofline(amount(&operator.flops) / flops_per_s, bytes / self.rates.bytes_per_s)
    }

    fn sum(&self, operators: &[Operator], features: &Features) -> f64 {
        operators.iter().map(|operator| self.operator_s(operator, features)).sum()
    }

    fn operator_s(&self, operator: &Operator, features: &Features) -> f64 {
        self.operator_at_s(operator, features, self.rates.flops_per_s(operator.precision))
    }

    fn operator_at_s(&self, operator: &Operator, features: &Features, flops_per_s: f64) -> f64 {
        let amount = |term: &Term| term.amount * features.get(term.feature);
        let peaks = Peaks { flops_per_s, bytes_per_s: self.rates.bytes_per_s, processors: self.curves.all.processors };
        let flops = amount(&operator.flops);
        let terms = operator.bytes.each_ref().map(amount);
        let bytes = terms.iter().sum();
        let EfficiencyCurves { prefill_attention, elementwise, sampler, .. } = &*self.curves.all;
        let seconds = match operator.kind {
            KernelKind::Gemm { depth, columns } => {
                let rows = features.get(operator.flops.feature);
                curves::gemm_s(self.curves.gemm(operator.precision), &peaks, &Gemm { rows, depth, columns, bytes })
            }
            KernelKind::WideGemm { depth, columns, own_rows } => {
                let rows = features.get(operator.flops.feature);
                let gemm = Gemm { rows, depth, columns, bytes };
                match rows <= own_rows {
                    true => curves::gemm_s(&self.curves.all.gemm, &peaks, &gemm),
                    false => {
                        curves::wide_gemm_s(&peaks, &gemm) + curves::stream_s(elementwise, peaks.bytes_per_s, 1.0, 0.0)
                    }
                }
            }
            KernelKind::Stream { kernels, kv_writes } => {
                // The launch is attention's; the bytes stay, as they do with each kernel of the stream.
                let is_written_by_attention = prefill_attention.kv_write_ns > 0.0;
                let launched = if is_written_by_attention { kernels - kv_writes } else { kernels };
                curves::stream_s(elementwise, peaks.bytes_per_s, launched, bytes)
            }
            KernelKind::Sampler => curves::stream_s(sampler, peaks.bytes_per_s, 1.0, bytes),
            KernelKind::Experts { .. } => {
                curves::experts_s(self.curves.experts().0, &peaks, &self.experts(operator, features))
            }
            KernelKind::PrefillAttention { head_width, key_width } => {
                let pairs = features.get(operator.flops.feature);
                let tokens = features.get(Feature::PrefillTokens);
                let longest = features.get(Feature::PrefillLongestContext);
                let is_windowed = operator.flops.feature == Feature::WindowPrefillPairs;
                let walked = if is_windowed { self.rules.window_tokens + tokens } else { f64::INFINITY };
                let work = PrefillAttention {
                    pairs,
                    tokens,
                    longest_context: longest.min(walked),
                    flops_per_pair: operator.flops.amount,
                    head_width,
                    key_width,
                    query_bytes: terms[1],
                    kv_bytes: terms[0],
                };
                curves::prefill_attention_s(prefill_attention, &peaks, &work) * self.prefill_off(&work)
            }
        };
        operator.layers * seconds.max(roofline(flops / peaks.flops_per_s, bytes / peaks.bytes_per_s))
    }

    /// By how much prefill attention takes longer than its formula says.
    fn prefill_off(&self, work: &PrefillAttention) -> f64 {
        let Some(correction) = self.curves.prefill_correction().filter(|_| work.tokens > 0.0) else { return 1.0 };
        let [rows, second, width] = work.shape();
        let kept = self.kept.prefill_planes.iter().find(|plane| plane.is_at(width));
        match kept {
            Some(plane) => plane.factor([rows, second]),
            None => factor(correction, Correction::PREFILL, [rows, second, width]),
        }
    }

    /// The routed experts of a layer.
    fn experts(&self, operator: &Operator, features: &Features) -> Experts {
        let KernelKind::Experts { experts, hidden, inner, matrices } = operator.kind else {
            unreachable!("asked for experts alone")
        };
        let flops = operator.flops.amount * features.get(operator.flops.feature);
        let weights = operator.bytes.iter().find(|term| is_of_experts(term.feature)).unwrap_or(&Term::ZERO);
        let reached = features.get(weights.feature);
        let pairs = flops / (2.0 * hidden * inner * matrices);
        let tokens = features.get(Feature::Tokens);
        let (tokens, pairs_elsewhere) = self.rules.expert_ranks.map_or((tokens, 0.0), |ranks| {
            let seen = tokens * ranks.engines;
            let all_pairs = if ranks.sees_all_tokens { seen * ranks.experts_per_token } else { 0.0 };
            (seen, (all_pairs - pairs).max(0.0))
        });
        Experts {
            flops,
            weight_bytes: weights.amount * reached,
            experts,
            // Those of the busiest rank are its own already.
            distinct: if weights.feature == Feature::Experts {
                reached * experts / self.rules.experts
            } else {
                reached
            },
            tokens,
            pairs,
            pairs_elsewhere,
            hidden,
            inner,
            is_tuned: self.curves.is_tuned(experts, inner),
        }
    }
}

/// Whether an operator's rows are the tokens of a step, or its sampled ones.
fn is_of_count(operator: &Operator) -> bool {
    matches!(operator.flops.feature, Feature::Tokens | Feature::SampledRows)
}

/// Whether what an operator does depends on the number of tokens alone.
fn is_of_tokens(operator: &Operator) -> bool {
    let used = operator.bytes.iter().chain([&operator.flops]).filter(|term| term.amount > 0.0);
    used.map(|term| term.feature).all(|feature| {
        matches!(feature, Feature::Pass | Feature::Tokens | Feature::BusiestTokens) || is_of_experts(feature)
    })
}

/// Weights of routed experts are proportional to it.
fn is_of_experts(feature: Feature) -> bool {
    matches!(feature, Feature::Experts | Feature::BusiestExperts)
}

/// The products and streams of routed experts as one operator, which is how they are measured.
pub(crate) fn with_experts_together(operators: Vec<Operator>) -> Vec<Operator> {
    let mut kept: Vec<Operator> = Vec::with_capacity(operators.len());
    for operator in operators {
        let is_part = matches!(operator.kind, KernelKind::Experts { .. });
        let whole = kept.iter_mut().find(|other| is_part && other.kind == operator.kind);
        let Some(whole) = whole else {
            kept.push(operator);
            continue;
        };
        if operator.flops.amount > 0.0 {
            whole.precision = operator.precision;
            whole.flops = Term::new(operator.flops.feature, whole.flops.amount + operator.flops.amount);
        }
        for term in operator.bytes.iter().filter(|term| term.amount > 0.0) {
            let same = whole.bytes.iter().position(|sum| sum.amount > 0.0 && sum.feature == term.feature);
            let free = || whole.bytes.iter().position(|sum| sum.amount == 0.0);
            let slot = same.or_else(free).expect("experts have weights, and tokens that go to them or to all");
            whole.bytes[slot] = Term::new(term.feature, whole.bytes[slot].amount + term.amount);
        }
    }
    kept
}

/// Seconds for each whole number up to `most`, computed when first asked for.
#[derive(Debug)]
struct KeptSeconds {
    most: u32,
    /// Bits of the seconds; 0 where not yet computed, which no price of anything is.
    bits: OnceLock<Box<[AtomicU64]>>,
    /// What each operator takes at some counts, if its curve is known to be off.
    corrected: OnceLock<Vec<Option<Corrected>>>,
    /// What is known by measurements of each operator.
    measured: OnceLock<Vec<Vec<(u32, f64)>>>,
}

impl KeptSeconds {
    fn new(most: u32) -> Self {
        Self { most: most.min(MOST_KEPT), bits: OnceLock::new(), corrected: OnceLock::new(), measured: OnceLock::new() }
    }

    #[inline]
    fn get(&self, count: f64, price: impl Fn(u32) -> f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        let below = count.floor();
        let below_s = self.whole(below as u32, &price);
        if below == count {
            return below_s;
        }
        below_s + (count - below) * (self.whole(below as u32 + 1, &price) - below_s)
    }

    #[inline]
    fn whole(&self, count: u32, price: impl Fn(u32) -> f64) -> f64 {
        if count > self.most {
            return price(count);
        }
        let bits = self.bits.get_or_init(|| (0..=self.most).map(|_| AtomicU64::new(0)).collect());
        let slot = &bits[count as usize];
        let known = slot.load(Ordering::Relaxed);
        if known != 0 {
            return f64::from_bits(known);
        }
        let seconds = price(count);
        slot.store(seconds.to_bits(), Ordering::Relaxed);
        seconds
    }
}

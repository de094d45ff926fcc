//! Attention priced by a user's own measurements, on top of the efficiency curves.
//!
//! - **Prefill**: the curve times what the measurements around are off by, between them in the logarithms of the new tokens and
//!   of the step's *reach*: query-key pairs over those that one prompt of as many tokens has. A chunk after `d` tokens reaches
//!   `1 + 2d/(c + 1)`, `b` prompts at once some `1/b`. Beyond the outermost, what that one is off by.
//! - **Decode** stays a line over the bytes. Lines are fitted to the measured contexts of each number of sequences; between
//!   these, what they have more of a floor than the curve, and how many times its slope, in the logarithm of the sequences.
//! - **Decode beside prompts**: the same of what decodes add to the attention of the prompts, by sequences and by the prompts.
//!
//! Of heads that were not measured, the corrections of the nearest with the same width and cache.

use oracle_components::kernel_times::{DecodeLines, Heads, Line, PrefillTimes, Prompts};
use oracle_components::model::Dtype;
use oracle_components::scenario::EngineSpec;

use super::curves::DecodeAttentionLine;
use super::operator::{KernelKind, Operator, Precision, Term};
use super::parts::kv_heads_per_rank;
use super::shape::{Feature, Features, StepShape};
use super::tables::Table;

/// `N` figures at each of ascending places.
type Figures<const N: usize> = Vec<(f64, [f64; N])>;

/// `N` figures between points of a plane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Surface<const N: usize>(Vec<(f64, Figures<N>)>);

/// The figures between two points of a list, or those at its end.
fn between<T, const N: usize>(points: &[(f64, T)], x: f64, value: impl Fn(&T) -> [f64; N]) -> [f64; N] {
    let next = points.partition_point(|(at, _)| *at < x);
    let (below, above) = (next.saturating_sub(1), next.min(points.len() - 1));
    let ((low, first), (high, last)) = (&points[below], &points[above]);
    if low == high || x <= *low {
        return value(first);
    }
    let share = ((x - low) / (high - low)).clamp(0.0, 1.0);
    let (first, last) = (value(first), value(last));
    std::array::from_fn(|index| first[index] + share * (last[index] - first[index]))
}

impl<const N: usize> Surface<N> {
    /// Through at least one point, `(x, y)` with its figures.
    fn new(mut points: Vec<((f64, f64), [f64; N])>) -> Self {
        points.sort_by(|((x, y), _), ((other_x, other_y), _)| x.total_cmp(other_x).then(y.total_cmp(other_y)));
        let mut rows: Vec<(f64, Figures<N>)> = Vec::new();
        for ((x, y), figures) in points {
            match rows.last_mut() {
                Some((row, along)) if *row == x => along.push((y, figures)),
                _ => rows.push((x, vec![(y, figures)])),
            }
        }
        Self(rows)
    }

    fn at(&self, (x, y): (f64, f64)) -> [f64; N] {
        between(&self.0, x, |row| between(row, y, |figures| *figures))
    }
}

/// The heads of a rank, in most of its layers; none of latent attention, which is not measured.
pub(crate) fn measured_heads(engine: &EngineSpec) -> Option<Heads> {
    let (model, ranks) = (&engine.model, f64::from(engine.tensor_parallel.max(1)));
    model.attention().map(|attention| Heads {
        query: f64::from(attention.heads) / ranks,
        kv: kv_heads_per_rank(attention.kv_heads, ranks),
        width: f64::from(attention.key_width),
        is_kv_narrow: matches!(model.kv_dtype, Dtype::Fp8 | Dtype::Int8),
    })
}

/// Where a step's prompts lie: the logarithms of new tokens and reach.
fn place(tokens: f64, pairs: f64) -> (f64, f64) {
    (tokens.ln(), (2.0 * pairs / (tokens * (tokens + 1.0))).ln())
}

fn shape(prompts: &Prompts) -> StepShape {
    let Prompts { sequences, chunk_tokens, context_tokens } = *prompts;
    let (chunk, context) = (u64::from(chunk_tokens), u64::from(context_tokens));
    StepShape {
        prefill_tokens: sequences.saturating_mul(chunk_tokens),
        prefill_sequences: sequences,
        prefill_pairs: u64::from(sequences) * (chunk * context + chunk * (chunk + 1) / 2),
        prefill_context_tokens: u64::from(sequences) * (chunk + context),
        prefill_longest_context: chunk_tokens + context_tokens,
        ..StepShape::default()
    }
}

fn place_of(prompts: &Prompts) -> (f64, f64) {
    let shape = shape(prompts);
    place(f64::from(shape.prefill_tokens), shape.prefill_pairs as f64)
}

/// What was measured with the nearest heads of the same width and cache.
fn nearest<'a, T>(measured: &'a [T], heads: &Heads, heads_of: impl Fn(&T) -> &Heads) -> Option<&'a T> {
    let is_alike = |other: &Heads| other.width == heads.width && other.is_kv_narrow == heads.is_kv_narrow;
    let distance = |other: &Heads| (other.query / heads.query).ln().abs() + (other.kv / heads.kv).ln().abs();
    let alike = measured.iter().filter(|one| is_alike(heads_of(one)));
    alike.min_by(|a, b| distance(heads_of(a)).total_cmp(&distance(heads_of(b))))
}

impl Table {
    pub(crate) fn prefill_of(&self, heads: &Heads) -> Option<&PrefillTimes> {
        nearest(&self.times.prefill_attention, heads, |times| &times.heads)
    }

    pub(crate) fn decode_of(&self, heads: &Heads) -> Option<&DecodeLines> {
        nearest(&self.times.decode_attention, heads, |lines| &lines.heads)
    }

    /// What measured prefill attention is off by, in logarithms.
    pub(crate) fn prefill_corrections(
        &self,
        heads: &Heads,
        curve_s: impl Fn(&Operator, &StepShape) -> f64,
    ) -> Option<Surface<1>> {
        let times = self.prefill_of(heads)?;
        let operator = prefill_operator(&times.heads);
        let points = times.seconds.iter().map(|(prompts, took_s)| {
            let off = took_s / self.gpu_share / curve_s(&operator, &shape(prompts));
            (place_of(prompts), [off.ln()])
        });
        Some(Surface::new(points.collect()))
    }

    /// What measured decode attention has that `curve` does not.
    pub(crate) fn decode_corrections(
        &self,
        heads: &Heads,
        curve: impl Fn(&Heads, f64) -> DecodeAttentionLine,
    ) -> Option<DecodeCorrections> {
        let lines = self.decode_of(heads)?;
        let correction = |sequences: u32, line: &Line| {
            let by_curve = curve(&lines.heads, f64::from(sequences));
            let slope = line.s_per_byte / self.gpu_share / by_curve.s_per_byte;
            [line.floor_s / self.gpu_share - by_curve.floor_s, slope.ln()]
        };
        let alone =
            lines.alone.iter().map(|(sequences, line)| (f64::from(*sequences).ln(), correction(*sequences, line)));
        let with_prompts = lines.with_prompts.iter().map(|(sequences, by_prompts)| {
            let points = by_prompts.iter().map(|(prompts, line)| (place_of(prompts), correction(*sequences, line)));
            (f64::from(*sequences).ln(), Surface::new(points.collect()))
        });
        Some(DecodeCorrections { alone: alone.collect(), with_prompts: with_prompts.collect() })
    }
}

/// Prefill attention of a layer with such heads.
fn prefill_operator(heads: &Heads) -> Operator {
    let kv_element_bytes = if heads.is_kv_narrow { 1.0 } else { 2.0 };
    let query_elements = heads.query * heads.width;
    Operator {
        layers: 1.0,
        kind: KernelKind::PrefillAttention { head_width: heads.width, key_width: heads.kv * heads.width },
        precision: Precision::Activations,
        flops: Term::new(Feature::PrefillPairs, 4.0 * query_elements),
        bytes: [
            Term::new(Feature::PrefillContext, 2.0 * heads.kv * heads.width * kv_element_bytes),
            Term::new(Feature::PrefillTokens, 2.0 * query_elements * 2.0),
            Term::ZERO,
        ],
    }
}

/// What a step's prefill attention, by curve, is to be multiplied by.
pub(crate) fn prefill_factor(corrections: &Surface<1>, features: &Features, pairs: Feature) -> f64 {
    let (tokens, pairs) = (features.get(Feature::PrefillTokens), features.get(pairs));
    if tokens <= 0.0 {
        return 1.0;
    }
    let [off] = corrections.at(place(tokens, pairs));
    off.exp()
}

/// What measured decode attention has that the curve does not: seconds of floor, and the logarithm of the slope's factor, by
/// the logarithm of the sequences.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecodeCorrections {
    alone: Figures<2>,
    with_prompts: Vec<(f64, Surface<2>)>,
}

impl DecodeCorrections {
    /// Whether decodes were measured beside prompts, too.
    pub(crate) fn are_of_mixed_batches(&self) -> bool {
        !self.with_prompts.is_empty()
    }

    /// The line of a batch's decodes, no flatter than the memory's.
    pub(crate) fn corrected(
        &self,
        curve: DecodeAttentionLine,
        bytes_per_s: f64,
        features: &Features,
    ) -> DecodeAttentionLine {
        let sequences = features.get(Feature::DecodeSequences).ln();
        let tokens = features.get(Feature::PrefillTokens);
        let [floor_s, slope] = if tokens > 0.0 && self.are_of_mixed_batches() {
            let place = place(tokens, features.get(Feature::PrefillPairs));
            between(&self.with_prompts, sequences, |surface| surface.at(place))
        } else if self.alone.is_empty() {
            return curve;
        } else {
            between(&self.alone, sequences, |figures| *figures)
        };
        DecodeAttentionLine {
            floor_s: (curve.floor_s + floor_s).max(0.0),
            s_per_byte: (curve.s_per_byte * slope.exp()).max(bytes_per_s.recip()),
        }
    }
}

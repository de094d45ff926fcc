//! Counts, means, deviations and quantiles of spans of time, in bounded memory for any number of them.
//!
//! The first [`EXACT_VALUES`] values are kept, and quantiles are exact. From then on values are counted in buckets: every
//! power of two is cut into [`BUCKETS_PER_OCTAVE`], so a bucket is at most 2⁻¹² (0.024 %) of its values wide. A
//! quantile is the linear interpolation between the two neighbouring order statistics (numpy's default and DuckDB's
//! `quantile_cont`), each of which is placed within its bucket by its rank there; so a quantile is off by less than
//! 0.025 %, and in a smooth distribution by far less. Count, minimum, maximum and the sums behind mean and deviation are
//! exact integers at any size.
//!
//! Values are nanoseconds; what is no whole number of them (a TPOT) is rounded to one.

use oracle_components::SimTime;
use rayon::slice::ParallelSliceMut;

/// Values kept before they are counted in buckets: 1 MiB.
const EXACT_VALUES: usize = 1 << 17;
const OCTAVE_BITS: u32 = 12;
/// Buckets a power of two is cut into.
const BUCKETS_PER_OCTAVE: u64 = 1 << OCTAVE_BITS;

/// A distribution of spans of time.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    count: u64,
    sum_ns: u128,
    sum_of_squares_ns2: u128,
    minimum_ns: u64,
    maximum_ns: u64,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Exact(Vec<u64>),
    /// Counts by bucket, as far as the largest value so far.
    Buckets(Vec<u64>),
}

impl Distribution {
    /// An empty distribution that keeps its first values.
    pub(crate) fn new() -> Self {
        Self::with_values(Values::Exact(Vec::new()))
    }

    /// An empty distribution of weighted values, in buckets from the start.
    pub(super) fn weighted() -> Self {
        Self::with_values(Values::Buckets(Vec::new()))
    }

    fn with_values(values: Values) -> Self {
        Self { count: 0, sum_ns: 0, sum_of_squares_ns2: 0, minimum_ns: u64::MAX, maximum_ns: 0, values }
    }

    /// Adds a span.
    pub(crate) fn record(&mut self, span: SimTime) {
        self.record_many(span, 1);
    }

    /// Adds a span `weight` times.
    #[inline]
    pub(super) fn record_many(&mut self, span: SimTime, weight: u64) {
        if weight == 0 {
            return;
        }
        let value = span.0;
        self.count += weight;
        self.sum_ns += u128::from(value) * u128::from(weight);
        // Below 4.3 s, as all but a few gaps are, the square fits 64 bits and the product needs one multiplication.
        let weighted_square = if value <= u64::from(u32::MAX) {
            u128::from(value * value) * u128::from(weight)
        } else {
            (u128::from(value) * u128::from(value)).saturating_mul(u128::from(weight))
        };
        self.sum_of_squares_ns2 = self.sum_of_squares_ns2.saturating_add(weighted_square);
        self.minimum_ns = self.minimum_ns.min(value);
        self.maximum_ns = self.maximum_ns.max(value);
        match &mut self.values {
            Values::Exact(kept) if weight <= (EXACT_VALUES - kept.len()) as u64 => {
                kept.extend(std::iter::repeat_n(value, weight as usize));
            }
            Values::Exact(_) => count_in_bucket(self.buckets(), value, weight),
            Values::Buckets(counts) => count_in_bucket(counts, value, weight),
        }
    }

    /// Adds the lengths of consecutive spans, of which the first begins at `from`, `weight` times each.
    pub(super) fn record_steps(&mut self, from: SimTime, ends: &[SimTime], weight: u64) {
        let mut previous = from;
        let spans =
            ends.iter().map(|&end| std::mem::replace(&mut previous, end)).zip(ends).map(|(start, &end)| end - start);
        let Values::Buckets(counts) = &mut self.values else {
            return spans.for_each(|span| self.record_many(span, weight));
        };
        let (mut squares_ns2, mut shortest_ns, mut longest_ns) = (0_u128, u64::MAX, 0);
        for SimTime(span_ns) in spans {
            squares_ns2 = squares_ns2.saturating_add(u128::from(span_ns) * u128::from(span_ns));
            shortest_ns = shortest_ns.min(span_ns);
            longest_ns = longest_ns.max(span_ns);
            count_in_bucket(counts, span_ns, weight);
        }
        let Some(&last) = ends.last() else { return };
        self.count += ends.len() as u64 * weight;
        self.sum_ns += u128::from((last - from).0) * u128::from(weight);
        self.sum_of_squares_ns2 =
            self.sum_of_squares_ns2.saturating_add(squares_ns2.saturating_mul(u128::from(weight)));
        self.minimum_ns = self.minimum_ns.min(shortest_ns);
        self.maximum_ns = self.maximum_ns.max(longest_ns);
    }

    /// Adds the values of another distribution.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.sum_of_squares_ns2 = self.sum_of_squares_ns2.saturating_add(other.sum_of_squares_ns2);
        self.minimum_ns = self.minimum_ns.min(other.minimum_ns);
        self.maximum_ns = self.maximum_ns.max(other.maximum_ns);
        if let (Values::Exact(kept), Values::Exact(more)) = (&mut self.values, &other.values)
            && kept.len() + more.len() <= EXACT_VALUES
        {
            kept.extend(more);
            return;
        }
        let counts = self.buckets();
        match &other.values {
            Values::Exact(more) => more.iter().for_each(|&value| count_in_bucket(counts, value, 1)),
            Values::Buckets(more) => {
                if more.len() > counts.len() {
                    counts.resize(more.len(), 0);
                }
                counts.iter_mut().zip(more).for_each(|(sum, count)| *sum += count);
            }
        }
    }

    /// The buckets; values that were kept move into them.
    fn buckets(&mut self) -> &mut Vec<u64> {
        if let Values::Exact(kept) = &self.values {
            let mut counts = Vec::new();
            for &value in kept {
                count_in_bucket(&mut counts, value, 1);
            }
            self.values = Values::Buckets(counts);
        }
        match &mut self.values {
            Values::Buckets(counts) => counts,
            Values::Exact(_) => unreachable!("the values have just moved into buckets"),
        }
    }

    /// Mean, deviation, extremes and quantiles in milliseconds; `None` without values. Each quantile is 0 ≤ q ≤ 1.
    pub(crate) fn statistics(&self, quantiles: &[f64]) -> Option<Statistics> {
        (self.count > 0).then(|| Statistics {
            count: self.count,
            mean_ms: self.sum_ns as f64 / self.count as f64 / 1e6,
            deviation_ms: self.variance_ns2().sqrt() / 1e6,
            minimum_ms: self.minimum_ns as f64 / 1e6,
            maximum_ms: self.maximum_ns as f64 / 1e6,
            quantiles_ms: self.quantiles_ns(quantiles).into_iter().map(|ns| ns / 1e6).collect(),
        })
    }

    /// Population variance. The squares about the whole part of the mean are summed in integers, so that a small
    /// deviation about a large mean loses no digits.
    fn variance_ns2(&self) -> f64 {
        let count = u128::from(self.count);
        let (mean, remainder) = (self.sum_ns / count, self.sum_ns % count);
        let about_mean = self.sum_of_squares_ns2.saturating_sub(mean.saturating_mul(self.sum_ns + remainder));
        let fraction = remainder as f64 / count as f64;
        (about_mean as f64 / count as f64 - fraction * fraction).max(0.0)
    }

    fn quantiles_ns(&self, quantiles: &[f64]) -> Vec<f64> {
        if quantiles.is_empty() {
            return Vec::new();
        }
        let ordered = match &self.values {
            Values::Exact(kept) => {
                let mut sorted = kept.clone();
                sorted.par_sort_unstable();
                Ordered::Sorted(sorted)
            }
            Values::Buckets(counts) => Ordered::Buckets(cumulated(counts)),
        };
        let quantile_ns = |quantile: &f64| {
            let position = quantile * (self.count - 1) as f64;
            let below = position.floor();
            let low = self.order_statistic_ns(&ordered, below as u64);
            let high = self.order_statistic_ns(&ordered, position.ceil() as u64);
            low + (high - low) * (position - below)
        };
        quantiles.iter().map(quantile_ns).collect()
    }

    /// The value of a rank, from 0.
    fn order_statistic_ns(&self, ordered: &Ordered, rank: u64) -> f64 {
        match ordered {
            Ordered::Sorted(sorted) => sorted[rank as usize] as f64,
            Ordered::Buckets(cumulated) => {
                let at = cumulated.partition_point(|&(_, through)| through <= rank);
                let (index, through) = cumulated[at];
                let before = if at == 0 { 0 } else { cumulated[at - 1].1 };
                let (start, width) = bucket_bounds(index);
                let share = ((rank - before) as f64 + 0.5) / (through - before) as f64;
                // The last whole value of the bucket is one less than the next bucket's first.
                (start as f64 + (width - 1) as f64 * share).clamp(self.minimum_ns as f64, self.maximum_ns as f64)
            }
        }
    }
}

/// Values in order, to look ranks up in.
enum Ordered {
    Sorted(Vec<u64>),
    /// Of each bucket that holds a value: its index, and how many values lie in it and below it.
    Buckets(Vec<(usize, u64)>),
}

fn cumulated(counts: &[u64]) -> Vec<(usize, u64)> {
    let mut total = 0;
    let held = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
    held.map(|(index, count)| {
        total += count;
        (index, total)
    })
    .collect()
}

#[inline]
fn count_in_bucket(counts: &mut Vec<u64>, value: u64, weight: u64) {
    let index = bucket_index(value);
    if index >= counts.len() {
        grow(counts, index);
    }
    counts[index] += weight;
}

#[cold]
fn grow(counts: &mut Vec<u64>, index: usize) {
    // By whole octaves: a handful of times in a run.
    counts.resize((index / BUCKETS_PER_OCTAVE as usize + 1) * BUCKETS_PER_OCTAVE as usize, 0);
}

/// Values below two octaves' worth of buckets have one each.
#[inline]
fn bucket_index(value: u64) -> usize {
    let shift = (u64::BITS - 1 - OCTAVE_BITS).saturating_sub(value.leading_zeros());
    ((u64::from(shift) << OCTAVE_BITS) + (value >> shift)) as usize
}

/// First value and width of a bucket.
fn bucket_bounds(index: usize) -> (u64, u64) {
    let shift = (index as u64 >> OCTAVE_BITS).saturating_sub(1);
    ((index as u64 - (shift << OCTAVE_BITS)) << shift, 1 << shift)
}

/// What is told of a distribution, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Values.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_ms: f64,
    /// Population standard deviation.
    pub deviation_ms: f64,
    /// Smallest value.
    pub minimum_ms: f64,
    /// Largest value.
    pub maximum_ms: f64,
    /// In the order in which the quantiles were asked for.
    pub quantiles_ms: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_and_is_narrow(value: u64) {
            let (start, width) = bucket_bounds(bucket_index(value));
            prop_assert!(start <= value && value - start < width);
            prop_assert!(width == 1 || width <= start >> OCTAVE_BITS);
        }

        /// Of any weighted values: a quantile lies within a bucket's width of the exact one.
        #[test]
        fn a_quantile_is_off_by_a_bucket_at_most(
            values in proptest::collection::vec(((0..62_u32, any::<u64>()), 1..1000_u64), 1..300),
            quantile in 0.0..=1.0_f64,
        ) {
            let mut sketch = Distribution::weighted();
            let mut exact = Vec::new();
            for ((magnitude, draw), weight) in values {
                let value = draw >> (63 - magnitude);
                sketch.record_many(SimTime(value), weight);
                exact.extend(std::iter::repeat_n(value, weight as usize));
            }
            exact.sort_unstable();
            let position = quantile * (exact.len() - 1) as f64;
            let at = |rank: f64| exact[rank as usize] as f64;
            let (low, high) = (at(position.floor()), at(position.ceil()));
            let exact_ns = low + (high - low) * position.fract();
            let told_ns = sketch.statistics(&[quantile]).expect("there are values").quantiles_ms[0] * 1e6;
            let bound_ns = exact_ns / BUCKETS_PER_OCTAVE as f64;
            prop_assert!((told_ns - exact_ns).abs() <= bound_ns * (1.0 + 1e-9) + 1e-3, "{told_ns} for {exact_ns}");
        }
    }

    /// The shapes that latencies have, a million of each: off by less than the bound, and by how much less.
    #[test]
    fn quantiles_of_a_million_latencies_are_within_a_fortieth_of_a_percent() {
        // Evenly spaced ranks through the inverse of each distribution's function.
        type Inverse = fn(f64) -> f64;
        let shapes: [(&str, Inverse); 5] = [
            ("exponential", |u| -2e7 * (1.0 - u).ln()),
            ("heavy tail", |u| 1e6 * (1.0 - u).powf(-0.8)),
            ("logistic in the logarithm", |u| 5e7 * (u / (1.0 - u)).powf(0.4)),
            ("uniform", |u| 1e9 * u),
            ("two far peaks", |u| if u < 0.95 { 9e6 + 1e5 * u } else { 3e10 + 1e8 * u }),
        ];
        for (name, inverse) in shapes {
            let values: Vec<u64> = (0..1_000_000).map(|rank| inverse((f64::from(rank) + 0.5) / 1e6) as u64).collect();
            let mut sketch = Distribution::new();
            values.iter().for_each(|&value| sketch.record(SimTime(value)));
            let quantiles = [0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999];
            let told = sketch.statistics(&quantiles).expect("there are values").quantiles_ms;
            for (quantile, told_ms) in quantiles.into_iter().zip(told) {
                let position = quantile * 999_999.0;
                let [low, high] = [position.floor(), position.ceil()].map(|rank| values[rank as usize] as f64);
                let exact_ms = (low + (high - low) * position.fract()) / 1e6;
                assert!((told_ms / exact_ms - 1.0).abs() < 2.5e-4, "{name} {quantile}: {told_ms} for {exact_ms}");
            }
        }
    }

    #[test]
    fn a_small_deviation_about_a_large_mean_keeps_its_digits() {
        let mut distribution = Distribution::new();
        for offset in [0, 2, 4] {
            distribution.record(SimTime(1_000_000_000_000_000 + offset));
        }
        let statistics = distribution.statistics(&[]).expect("there are values");
        let exact_ms = (8.0_f64 / 3.0).sqrt() / 1e6;
        assert!((statistics.deviation_ms / exact_ms - 1.0).abs() < 1e-12);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        for (first, second) in [(10, 20), (EXACT_VALUES, 1), (1, EXACT_VALUES + 5), (200_000, 150_000)] {
            let (mut whole, mut sum, mut part) = (Distribution::new(), Distribution::new(), Distribution::new());
            for index in 0..first + second {
                let value = SimTime((index as u64 * 2_654_435_761) % 1_000_000_007);
                whole.record(value);
                if index < first { sum.record(value) } else { part.record(value) }
            }
            sum.add(&part);
            let quantiles = [0.0, 0.5, 0.99, 1.0];
            assert_eq!(sum.statistics(&quantiles), whole.statistics(&quantiles));
        }
    }

    #[test]
    fn weights_count_as_repetitions() {
        let (mut weighted, mut repeated) = (Distribution::weighted(), Distribution::weighted());
        for (value, weight) in [(5_000_000, 3), (7_000_000_000, 2), (9, 0), (1, 1)] {
            weighted.record_many(SimTime(value), weight);
            (0..weight).for_each(|_| repeated.record(SimTime(value)));
        }
        let quantiles = [0.1, 0.5, 0.9];
        assert_eq!(weighted.statistics(&quantiles), repeated.statistics(&quantiles));
    }
}

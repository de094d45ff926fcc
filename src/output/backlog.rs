//! How many requests are in the system over the run, and whether their number grows: the test behind the verdict.
//!
//! The series is `N(t)`: requests that arrived before `t`, less those that ended before it, whatever became of them. It is
//! looked at over the second half of the load (the first fills an empty system), in [`INTERVALS`] equal intervals whose
//! ends are `N₀ … Nₖ`.
//!
//! - **Growth**: Student's t of the mean of the increments `Nᵢ − Nᵢ₋₁`, one-sided. While a deployment falls behind, what
//!   arrives and what ends do not depend on how many there are: `N` is a random walk with a drift, its increments are
//!   independent, the sum of them holds all there is to know of the drift, and the test is exact. While it keeps up,
//!   increments make up for each other, so their spread overstates that of their sum, and the test is conservative: one
//!   burst at the end, or a long busy period, does not look like growth. A test of ranks (Mann and Kendall's) on such a
//!   series is not robust: at 95 % of the capacity it finds growth in a third of the runs.
//! - **Return**: Dickey and Fuller's t of `b` in `Nᵢ − Nᵢ₋₁ = a + b·Nᵢ₋₁`. A system that keeps up is drawn back to its
//!   mean (`b < 0`); one that does not is a random walk (`b = 0`), or runs away. Without it a run that is too short to show
//!   growth would pass for one that keeps up.

use oracle_components::SimTime;

/// Intervals of the second half of the load.
pub(super) const INTERVALS: usize = 32;
/// Student's t with 31 degrees of freedom that 1 % exceed.
pub(super) const CRITICAL_GROWTH_T: f64 = 2.453;
/// Dickey and Fuller's t with a constant and 32 observations that 5 % of random walks go below (MacKinnon 2010: −2.8615 −
/// 2.8903/n − 4.234/n²).
pub(super) const CRITICAL_RETURN_T: f64 = -2.956;
/// Fewer requests than this tell nothing.
const FEWEST_REQUESTS: u64 = 100;
/// Bins that are kept: when time goes beyond them, two become one.
const BINS: usize = 8192;
/// Their first width, in nanoseconds.
const FIRST_WIDTH_NS: u64 = 1024;
/// A t beyond this is as good as infinite.
const MOST_T: f64 = 999.0;

/// Requests that arrived and ended, by bins of time.
#[derive(Debug)]
pub(super) struct Backlog {
    width_ns: u64,
    /// (arrived, ended) in each bin.
    bins: Vec<(u64, u64)>,
}

/// What the tests found.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct BacklogTrend {
    /// Beginning of the time that was looked at.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// Equal parts of it.
    pub intervals: u64,
    /// Requests in the system at the beginning.
    pub requests_at_start: i64,
    /// Requests in the system at the end.
    pub requests_at_end: i64,
    /// The growth between, a second.
    pub growth_per_s: f64,
    /// Standard error of that if the increments are independent.
    pub growth_error_per_s: f64,
    /// Student's t of the increments.
    pub growth_t: f64,
    /// At or above this (1 %, one-sided) they grow.
    pub growth_t_critical: f64,
    /// Dickey and Fuller's t.
    pub return_t: f64,
    /// At or below this (5 %) the number of requests returns to its mean.
    pub return_t_critical: f64,
}

impl BacklogTrend {
    /// Whether the number of requests grows.
    pub(super) fn grows(&self) -> bool {
        self.growth_t >= self.growth_t_critical
    }

    /// Whether it returns to its mean.
    pub(super) fn returns(&self) -> bool {
        self.return_t <= self.return_t_critical
    }
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self { width_ns: FIRST_WIDTH_NS, bins: Vec::new() }
    }

    /// A request that arrived and ended.
    pub(super) fn record(&mut self, arrival: SimTime, end: SimTime) {
        self.bin(arrival).0 += 1;
        self.bin(end).1 += 1;
    }

    fn bin(&mut self, at: SimTime) -> &mut (u64, u64) {
        while self.index(at) >= BINS {
            self.width_ns *= 2;
            let halved =
                self.bins.chunks(2).map(|two| two.iter().fold((0, 0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1)));
            self.bins = halved.collect();
        }
        let index = self.index(at);
        if index >= self.bins.len() {
            self.bins.resize(index + 1, (0, 0));
        }
        &mut self.bins[index]
    }

    /// The bin of a time. Widths are powers of two: a shift in place of four divisions a request.
    fn index(&self, at: SimTime) -> usize {
        (at.0 >> self.width_ns.trailing_zeros()) as usize
    }

    /// Requests in the system between these times, on average.
    pub(super) fn mean(&self, from: SimTime, until: SimTime) -> f64 {
        let (first, end) = ((from.0 / self.width_ns) as usize, (until.0 / self.width_ns) as usize);
        let mut count = 0;
        let counts = self.bins.iter().take(end).map(|&(arrived, ended)| {
            count += arrived as i64 - ended as i64;
            count
        });
        let sum: i64 = counts.skip(first).sum();
        if end > first { sum as f64 / (end - first) as f64 } else { 0.0 }
    }

    /// The trend over the second half of what was offered until `until`, and not before `warm_up`; `None` if too little came.
    pub(super) fn trend(&self, warm_up: SimTime, until: SimTime) -> Option<BacklogTrend> {
        let (from, end) = (warm_up.0.max(until.0 / 2).div_ceil(self.width_ns), until.0 / self.width_ns);
        let bins = end.checked_sub(from)? / INTERVALS as u64;
        if bins == 0 {
            return None;
        }
        let first = (end - bins * INTERVALS as u64) as usize;
        let within = |bins: std::ops::Range<usize>| {
            self.bins[bins.start.min(self.bins.len())..bins.end.min(self.bins.len())].iter()
        };
        let growth = |bins| within(bins).map(|&(arrived, ended)| arrived as i64 - ended as i64).sum::<i64>();
        if within(first..end as usize).map(|bin| bin.0).sum::<u64>() < FEWEST_REQUESTS {
            return None;
        }
        let mut counts = vec![growth(0..first)];
        for start in (first..end as usize).step_by(bins as usize) {
            counts.push(counts[counts.len() - 1] + growth(start..start + bins as usize));
        }
        let seconds = |bin: u64| SimTime(bin * self.width_ns).as_secs_f64();
        Some(trend(&counts, seconds(first as u64), seconds(end)))
    }
}

/// The tests on the numbers of requests at the ends of intervals.
fn trend(counts: &[i64], from_s: f64, to_s: f64) -> BacklogTrend {
    let (before, intervals) = (&counts[..counts.len() - 1], (counts.len() - 1) as f64);
    let increments: Vec<f64> = counts.windows(2).map(|two| (two[1] - two[0]) as f64).collect();
    let drift = increments.iter().sum::<f64>() / intervals;
    let spread = increments.iter().map(|increment| (increment - drift).powi(2)).sum::<f64>();
    let error = (spread / (intervals - 1.0) / intervals).sqrt();
    let level = before.iter().sum::<i64>() as f64 / intervals;
    let levels = before.iter().map(|&count| count as f64 - level);
    let variation: f64 = levels.clone().map(|level| level * level).sum();
    let slope = levels.clone().zip(&increments).map(|(level, increment)| level * increment).sum::<f64>() / variation;
    let residuals = levels.zip(&increments).map(|(level, increment)| (increment - drift - slope * level).powi(2));
    let slope_error = (residuals.sum::<f64>() / (intervals - 2.0) / variation).sqrt();
    let interval_s = (to_s - from_s) / intervals;
    BacklogTrend {
        from_s,
        to_s,
        intervals: increments.len() as u64,
        requests_at_start: counts[0],
        requests_at_end: counts[counts.len() - 1],
        growth_per_s: drift / interval_s,
        growth_error_per_s: error / interval_s,
        growth_t: t(drift, error),
        growth_t_critical: CRITICAL_GROWTH_T,
        // As many requests at all times: nothing could be drawn back better.
        return_t: if variation == 0.0 { -MOST_T } else { t(slope, slope_error) },
        return_t_critical: CRITICAL_RETURN_T,
    }
}

/// A value over its standard error.
fn t(value: f64, error: f64) -> f64 {
    if value == 0.0 { 0.0 } else { (value / error).clamp(-MOST_T, MOST_T) }
}

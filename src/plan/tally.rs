//! What a run of `plan` keeps of its requests: the values that its targets are about, and whether they can still be met.

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, RequestRecord, Status};
use oracle_systems::ports::{RecordSink, SinkClosed};

use super::refused::Refusals;
use super::target::{Statistic, Target};

/// The sink of a run.
#[derive(Debug)]
pub(super) struct Tally {
    targets: Vec<Counted>,
    warm_up: SimTime,
    /// Requests that there are at most, if that is known: a run that cannot meet a target any more is then ended.
    most: Option<u64>,
    /// Requests that count, which are those after the warm-up.
    pub(super) requests: u64,
    /// All of them, and when the first and the last arrived.
    pub(super) arrived: u64,
    pub(super) span: Option<(SimTime, SimTime)>,
    /// Of those that count, the ones that got no whole answer.
    pub(super) failed: u64,
    /// Of these, the ones that were refused for their length.
    pub(super) refusals: Refusals,
    pub(super) prompt_tokens: u64,
    pub(super) output_tokens: u64,
    /// A target is missed, whatever comes.
    pub(super) is_lost: bool,
}

/// A target, and what was counted for it.
#[derive(Debug)]
struct Counted {
    target: Target,
    values: Vec<f64>,
    /// Values beyond the limit.
    beyond: u64,
    /// Of requests that were refused for their length.
    refused: u64,
    sum: f64,
    /// So many values beyond the limit, and the target is missed however many values there will be.
    lost_at: u64,
}

impl Tally {
    pub(super) fn new(targets: &[Target], warm_up: SimTime, most: Option<u64>) -> Self {
        let counted = |target: &Target| {
            let lost_at = most.map_or(u64::MAX, |most| lost_at(target, most));
            Counted { target: target.clone(), values: Vec::new(), beyond: 0, refused: 0, sum: 0.0, lost_at }
        };
        Self {
            targets: targets.iter().map(counted).collect(),
            warm_up,
            most,
            requests: 0,
            arrived: 0,
            span: None,
            failed: 0,
            refusals: Refusals::default(),
            prompt_tokens: 0,
            output_tokens: 0,
            is_lost: false,
        }
    }

    /// Requests a second, from the first arrival to the last.
    pub(super) fn requests_per_s(&self) -> Option<f64> {
        let (first, last) = self.span?;
        let seconds = (last - first).as_secs_f64();
        (seconds > 0.0).then(|| self.arrived as f64 / seconds)
    }

    /// Whether refused requests alone miss a target, however fast the others are answered.
    pub(super) fn is_lost_to_refusals(&self) -> bool {
        self.targets.iter().any(|counted| counted.is_lost_to_refusals(self.is_lost))
    }

    /// The value of each target; `None` where no request had one.
    pub(super) fn values(&mut self) -> Vec<Option<f64>> {
        self.targets.iter_mut().map(Counted::value).collect()
    }
}

/// The least number of values beyond the limit that `most` values or fewer cannot have and still meet the target.
///
/// A quantile of n values is at least that of rank ⌊q (n − 1)⌋, so it is beyond the limit once n − ⌊q (n − 1)⌋ of them are; that does not
/// fall as n grows, so the bound for `most` values holds for any number below.
fn lost_at(target: &Target, most: u64) -> u64 {
    match target {
        Target::Latency { statistic: Statistic::Quantile(q), .. } => {
            // One more than the rounding of the product could be off by.
            most - (q * most.saturating_sub(1) as f64).floor() as u64 + 1
        }
        Target::Latency { statistic: Statistic::Mean, .. } => u64::MAX,
        Target::Attainment { share, .. } => ((1.0 - share) * most as f64).floor() as u64 + 2,
    }
}

/// How many of `count` values or fewer may be beyond the limit of a target that is met; `None` where that is not known.
pub(super) fn most_beyond(target: &Target, count: u64) -> Option<u64> {
    match target {
        Target::Latency { statistic: Statistic::Mean, .. } => None,
        _ => Some(lost_at(target, count) - 1),
    }
}

impl Counted {
    fn record(&mut self, record: &RequestRecord, is_refused: bool, most: Option<u64>) -> bool {
        let Some(value) = self.target.value_of(record) else { return false };
        self.values.push(value);
        self.sum += value;
        self.refused += u64::from(is_refused);
        let is_beyond = match &self.target {
            Target::Latency { limit_ms, .. } => value > *limit_ms,
            Target::Attainment { .. } => value == 0.0,
        };
        self.beyond += u64::from(is_beyond);
        let mean_is_lost = match (&self.target, most) {
            // Values are not negative: the mean is at least this, and no rounding of a sum is that far off.
            (Target::Latency { statistic: Statistic::Mean, limit_ms, .. }, Some(most)) => {
                self.sum > limit_ms * most as f64 * (1.0 + 1e-9)
            }
            _ => false,
        };
        self.beyond >= self.lost_at || mean_is_lost
    }

    /// With all values, as the value would be if those of the other requests were the best; of a part of them, as `lost_at` has it.
    fn is_lost_to_refusals(&self, is_part: bool) -> bool {
        let count = self.values.len();
        match &self.target {
            _ if self.refused == 0 => false,
            Target::Latency { statistic: Statistic::Mean, .. } => true,
            _ if is_part => self.refused >= self.lost_at,
            Target::Latency { statistic: Statistic::Quantile(q), .. } => {
                (q * (count - 1) as f64).ceil() as u64 >= count as u64 - self.refused
            }
            Target::Attainment { .. } => !self.target.is_met((count as u64 - self.refused) as f64 / count as f64),
        }
    }

    fn value(&mut self) -> Option<f64> {
        let count = self.values.len();
        if count == 0 {
            return None;
        }
        match self.target {
            Target::Latency { statistic: Statistic::Quantile(q), .. } => Some(quantile(&mut self.values, q)),
            Target::Latency { statistic: Statistic::Mean, .. } | Target::Attainment { .. } => {
                Some(self.sum / count as f64)
            }
        }
    }
}

/// The linear interpolation between neighbours: infinite where it has a part of what takes for ever.
fn quantile(values: &mut [f64], q: f64) -> f64 {
    let position = q * (values.len() - 1) as f64;
    let rank = position.floor() as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(rank, f64::total_cmp);
    let share = position - position.floor();
    if share == 0.0 {
        return low;
    }
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    if high.is_infinite() { f64::INFINITY } else { low + (high - low) * share }
}

impl RecordSink for Tally {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.prompt_tokens += u64::from(record.prompt_tokens);
        self.output_tokens += u64::from(record.output_tokens);
        self.arrived += 1;
        let (first, last) = self.span.unwrap_or((record.arrival, record.arrival));
        self.span = Some((first.min(record.arrival), last.max(record.arrival)));
        if record.arrival < self.warm_up {
            return Ok(());
        }
        self.requests += 1;
        self.failed += u64::from(record.status != Status::Success);
        let is_refused = self.refusals.count(record);
        for counted in &mut self.targets {
            self.is_lost |= counted.record(record, is_refused, self.most);
        }
        if self.is_lost { Err(SinkClosed) } else { Ok(()) }
    }

    fn token_gap(&mut self, _: SimTime, _: SimTime, _: u64) {}

    fn token_gaps(&mut self, _: SimTime, _: &[SimTime], _: u64) {}

    fn interval(&mut self, _: &IntervalRow) -> Result<(), SinkClosed> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::SloMetric;

    fn by_sorting(values: &[f64], q: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let position = q * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
        if low == high { low } else { low + (high - low) * position.fract() }
    }

    proptest! {
        /// Of any values: what the bound calls lost is lost, with these values and any that may yet come.
        #[test]
        fn a_target_that_counts_as_lost_is_missed(
            values in proptest::collection::vec(prop_oneof![9 => 0.0..2.0_f64, 1 => Just(f64::INFINITY)], 1..200),
            q in 0.01..0.999_f64,
            further in 0_usize..50,
        ) {
            let target = Target::Latency { metric: SloMetric::Ttft, statistic: Statistic::Quantile(q), limit_ms: 1.0 };
            let beyond = values.iter().filter(|&&value| value > 1.0).count() as u64;
            let most = (values.len() + further) as u64;
            let is_lost = beyond >= lost_at(&target, most);
            let all: Vec<f64> = values.iter().copied().chain(std::iter::repeat_n(0.0, further)).collect();
            for seen in [&values[..], &all[..]] {
                let value = quantile(&mut seen.to_vec(), q);
                prop_assert!(value == by_sorting(seen, q) || (value - by_sorting(seen, q)).abs() < 1e-12);
                prop_assert!(!is_lost || value > 1.0, "{value} of {} values", seen.len());
            }
        }
    }
}

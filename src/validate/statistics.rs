//! Means and quantiles of a few thousand figures. Quantiles interpolate linearly between neighbours, as numpy's do and
//! vLLM's benchmark.

/// Name of a statistic and the share of values below it, `None` for the mean.
const QUANTILES: [(&str, f64); 7] =
    [("p50", 0.5), ("median", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0), ("min", 0.0)];

/// The statistics that are reported of every latency.
pub(super) const REPORTED: [&str; 5] = ["mean", "p50", "p90", "p95", "p99"];

/// Values, sorted, each with how often it occurs.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Value and the number of values up to and with it.
    sorted: Vec<(f64, u64)>,
    mean: f64,
}

impl Sample {
    /// Of values that each occur once.
    pub(super) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        Self::weighted(values.into_iter().map(|value| (value, 1)))
    }

    /// Of values that each occur that often.
    pub(super) fn weighted(values: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let mut sorted: Vec<(f64, u64)> = values.into_iter().filter(|(_, times)| *times > 0).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut sum, mut count) = (0.0, 0);
        for (value, times) in &mut sorted {
            sum += *value * *times as f64;
            count += *times;
            *times = count;
        }
        Self { sorted, mean: sum / count as f64 }
    }

    /// A statistic by its name (`mean`, `p95`, `max` …); `None` if it is unknown or there are no values.
    pub(super) fn statistic(&self, name: &str) -> Option<f64> {
        if self.sorted.is_empty() {
            return None;
        }
        if name == "mean" {
            return Some(self.mean);
        }
        let known = QUANTILES.iter().find(|(known, _)| *known == name).map(|(_, share)| *share);
        known.or_else(|| percentile(name)).map(|share| self.quantile(share))
    }

    fn quantile(&self, share: f64) -> f64 {
        let count = self.sorted.last().map_or(0, |(_, count)| *count);
        let place = share * (count - 1) as f64;
        let at = |rank: u64| self.sorted[self.sorted.partition_point(|(_, upto)| *upto <= rank)].0;
        let (below, above) = (at(place.floor() as u64), at(place.ceil() as u64));
        below + (above - below) * place.fract()
    }
}

/// `p75`, `p99.9`.
fn percentile(name: &str) -> Option<f64> {
    let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

/// The value in the middle; `None` of no values.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Sample::new(values).statistic("p50")
}

/// By how much a prediction is off, in per cent of what was measured; `None` where that is 0.
pub(super) fn error_pct(measured: f64, predicted: f64) -> Option<f64> {
    (measured != 0.0).then(|| 100.0 * (predicted / measured - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_numpys() {
        let sample = Sample::new([3.0, 1.0, 2.0, 10.0]);
        let of = |name| sample.statistic(name).expect("there are values");
        assert_eq!((of("mean"), of("p50"), of("max"), of("min")), (4.0, 2.5, 10.0, 1.0));
        assert!((of("p90") - 7.9).abs() < 1e-12 && (of("p99.9") - 9.979).abs() < 1e-9);
        assert_eq!(sample.statistic("sigma"), None);
        assert_eq!(Sample::new([]).statistic("mean"), None);
    }

    #[test]
    fn a_weight_is_so_many_values() {
        let weighted = Sample::weighted([(1.0, 3), (5.0, 1), (2.0, 0)]);
        let single = Sample::new([1.0, 1.0, 1.0, 5.0]);
        for name in ["mean", "p50", "p90", "p99", "max"] {
            assert_eq!(weighted.statistic(name), single.statistic(name), "{name}");
        }
    }
}

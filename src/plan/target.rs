//! What an answer of `plan` has to keep to: `ttft_p99=1s,tpot_p99=50ms`, or shares of requests within all of `ttft=500ms,tpot=50ms`.

use std::fmt;

use oracle_components::record::{RequestRecord, Status};

use crate::config::slo_time_ms;
use crate::workload::{Slo, SloMetric, is_met};

/// Share of the requests that have to keep to objectives without a statistic, if nothing is said of it.
pub const DEFAULT_ATTAINMENT: f64 = 0.99;

/// Of the requests' values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// Linear between neighbours, as DuckDB's `quantile_cont` and the summary have it; 0 < q < 1.
    Quantile(f64),
    /// The arithmetic mean.
    Mean,
}

/// A condition on a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A statistic of a latency is at most so many milliseconds.
    Latency {
        /// Of what. [`SloMetric::Itl`] is a request's longest gap between two tokens.
        metric: SloMetric,
        /// Which one.
        statistic: Statistic,
        /// At most this.
        limit_ms: f64,
    },
    /// A share of the requests keeps to all objectives.
    Attainment {
        /// The objectives.
        slo: Slo,
        /// At least this share, 0 < share ≤ 1.
        share: f64,
    },
}

/// The name as it is given: `ttft_p99`, `tpot_mean`, `attainment`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { metric, statistic: Statistic::Mean, .. } => write!(f, "{}_mean", metric.name()),
            Self::Latency { metric, statistic: Statistic::Quantile(q), .. } => {
                // Without the binary digits of 99.9.
                let percent = (q * 1e8).round() / 1e6;
                write!(f, "{}_p{percent}", metric.name())
            }
            Self::Attainment { .. } => write!(f, "attainment"),
        }
    }
}

impl Target {
    /// Reads `ttft_p99=1s,tpot_p99=50ms`; objectives without a statistic are for a share of the requests.
    ///
    /// # Errors
    /// What is wrong, and the way out.
    pub fn parse(text: &str, attainment: Option<f64>) -> Result<Vec<Self>, String> {
        let share = attainment.unwrap_or(DEFAULT_ATTAINMENT);
        if !(share > 0.0 && share <= 1.0) {
            return Err(format!("--attainment is {share}, but must be a share above 0, 1 at most"));
        }
        let (mut targets, mut slo) = (Vec::<Self>::new(), Slo::default());
        for pair in text.split(',') {
            let (name, time) =
                pair.split_once('=').ok_or_else(|| format!("--slo: {pair:?} has no =; write ttft_p99=1s"))?;
            let (name, time) = (name.trim(), time.trim());
            let limit_ms = slo_time_ms(name, time).map_err(|(what, way_out)| format!("--slo: {what}; {way_out}"))?;
            if !(limit_ms > 0.0 && limit_ms.is_finite()) {
                return Err(format!("--slo: {name} is {time}, but must be above 0"));
            }
            let (metric, statistic) = name.split_once('_').map_or((name, None), |(metric, rest)| (metric, Some(rest)));
            let metric = SloMetric::ALL.into_iter().find(|known| known.name() == metric).ok_or_else(|| {
                format!("--slo: {name:?} is no metric; there are ttft, tpot, itl and e2e, each with _p50, _p99, _mean or the like")
            })?;
            let Some(statistic) = statistic else {
                if slo.objective_ms(metric).is_some() {
                    return Err(format!("--slo: {name} is given twice"));
                }
                slo.set(metric, limit_ms);
                continue;
            };
            let target = Self::Latency { metric, statistic: statistic_of(name, statistic)?, limit_ms };
            if targets.iter().any(|other| other.to_string() == target.to_string()) {
                return Err(format!("--slo: {name} is given twice"));
            }
            targets.push(target);
        }
        if slo.is_set() {
            targets.push(Self::Attainment { slo, share });
        } else if attainment.is_some() {
            return Err("--attainment is of no effect: no objective of --slo is without a statistic; write ttft=500ms"
                .to_owned());
        }
        Ok(targets)
    }

    /// What it is held to: milliseconds, or a share.
    #[must_use]
    pub fn limit(&self) -> f64 {
        match self {
            Self::Latency { limit_ms, .. } => *limit_ms,
            Self::Attainment { share, .. } => *share,
        }
    }

    /// How far a value is from the limit on the good side, in per cent of the limit; negative on the bad one.
    #[must_use]
    pub fn margin_pct(&self, value: f64) -> f64 {
        match self {
            Self::Latency { limit_ms, .. } => (limit_ms - value) / limit_ms * 100.0,
            Self::Attainment { share, .. } => (value - share) / share * 100.0,
        }
    }

    /// Whether a value keeps to it.
    #[must_use]
    pub fn is_met(&self, value: f64) -> bool {
        match self {
            Self::Latency { limit_ms, .. } => value <= *limit_ms,
            Self::Attainment { share, .. } => value >= *share,
        }
    }

    /// What a request adds to it: milliseconds or, of objectives, 1 where it keeps to all of them and else 0. `None` where it has no such
    /// value. What got no whole answer misses: it takes for ever.
    pub(super) fn value_of(&self, record: &RequestRecord) -> Option<f64> {
        match self {
            Self::Attainment { slo, .. } => {
                Some(f64::from(u8::from(slo.judge(record).is_some_and(|judgement| is_met(&judgement)))))
            }
            Self::Latency { .. } if record.status != Status::Success => Some(f64::INFINITY),
            Self::Latency { metric, .. } => match metric {
                SloMetric::Ttft => record.ttft().map(|ttft| ttft.as_millis_f64()),
                SloMetric::Tpot => record.tpot_ms(),
                SloMetric::Itl => record.longest_gap.map(|gap| gap.as_millis_f64()),
                SloMetric::E2e => Some(record.e2e().as_millis_f64()),
            },
        }
    }
}

fn statistic_of(name: &str, text: &str) -> Result<Statistic, String> {
    let percent = match text {
        "mean" | "avg" => return Ok(Statistic::Mean),
        "median" => Some(50.0),
        _ => text.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok()),
    };
    let known = percent.filter(|percent| *percent > 0.0 && *percent < 100.0);
    known.map(|percent| Statistic::Quantile(percent / 100.0)).ok_or_else(|| {
        format!(
            "--slo: {name:?}: {text:?} is no statistic; write _mean or a percentile between 0 and 100, such as _p99"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_with_their_statistics() {
        let targets = Target::parse("ttft_p99=1s, tpot_p99.9=50ms,e2e_mean=2s,ttft=500ms,tpot=40ms", Some(0.95));
        let targets = targets.expect("they are well formed");
        let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["ttft_p99", "tpot_p99.9", "e2e_mean", "attainment"]);
        assert_eq!(targets.iter().map(Target::limit).collect::<Vec<_>>(), [1000.0, 50.0, 2000.0, 0.95]);
        assert!((targets[0].margin_pct(750.0) - 25.0).abs() < 1e-12 && targets[0].is_met(1000.0));
        assert!(targets[3].margin_pct(0.9) < 0.0 && !targets[3].is_met(0.9));
    }

    #[test]
    fn mistakes_say_the_way_out() {
        for (text, told) in [
            ("ttft_p99", "write ttft_p99=1s"),
            ("ttft_p99=1", "no unit"),
            ("speed_p99=1s", "no metric"),
            ("ttft_p0=1s", "between 0 and 100"),
            ("ttft_p100=1s", "between 0 and 100"),
            ("ttft_top=1s", "no statistic"),
            ("ttft_p99=1s,ttft_p99=2s", "given twice"),
            ("ttft=1s,ttft=2s", "given twice"),
            ("ttft_p99=0ms", "above 0"),
        ] {
            let error = Target::parse(text, None).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(Target::parse("ttft_p99=1s", Some(0.9)).is_err() && Target::parse("ttft=1s", Some(1.5)).is_err());
    }
}

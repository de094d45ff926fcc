//! What clients expect of an answer (a service level objective), and whether it kept to it.
//!
//! TTFT, TPOT and E2E are judged as `vllm bench serve --goodput` does (vLLM 0.33, `calculate_metrics` in
//! `vllm/benchmarks/serve.py`): what takes as long as the objective says is within it, and the TPOT of an answer of one token
//! counts as 0. Beyond that tool, which leaves out what failed, a request that got no whole answer misses every objective.

use std::fmt;
use std::str::FromStr;

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};

/// Most that an answer may take; what is `None` is not expected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slo {
    /// To the first token.
    pub ttft: Option<SimTime>,
    /// A token without the first, on average, in milliseconds.
    pub tpot_ms: Option<f64>,
    /// Between any two tokens of the answer, as the client has them.
    pub itl: Option<SimTime>,
    /// To the last byte.
    pub e2e: Option<SimTime>,
}

/// What an objective is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloMetric {
    /// Time to the first token.
    Ttft,
    /// Time per output token.
    Tpot,
    /// The longest gap between two tokens.
    Itl,
    /// From end to end.
    E2e,
}

impl SloMetric {
    /// All of them, in the order in which [`Slo::judge`] tells them.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Itl, Self::E2e];

    /// Its name in `--slo`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::Itl => "itl",
            Self::E2e => "e2e",
        }
    }

    /// Its key in configurations and summaries.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_ms",
            Self::Tpot => "tpot_ms",
            Self::Itl => "itl_ms",
            Self::E2e => "e2e_ms",
        }
    }
}

/// `ttft_ms=500 tpot_ms=50`, as the records have it; empty where nothing is expected.
impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for metric in SloMetric::ALL {
            if let Some(most_ms) = self.objective_ms(metric) {
                write!(f, "{separator}{}={most_ms}", metric.key())?;
                separator = " ";
            }
        }
        Ok(())
    }
}

impl FromStr for Slo {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut slo = Self::default();
        for word in text.split_ascii_whitespace() {
            let (key, most_ms) = word.split_once('=').ok_or(())?;
            let metric = SloMetric::ALL.into_iter().find(|metric| metric.key() == key).ok_or(())?;
            let most_ms = most_ms.parse().ok().filter(|&ms: &f64| ms > 0.0 && ms.is_finite()).ok_or(())?;
            slo.set(metric, most_ms);
        }
        Ok(slo)
    }
}

/// Whether an answer kept to each objective that there is, in the order of [`SloMetric::ALL`].
pub type Judgement = [Option<bool>; SloMetric::ALL.len()];

impl Slo {
    /// What is expected here, and what another expects where this expects nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            ttft: self.ttft.or(other.ttft),
            tpot_ms: self.tpot_ms.or(other.tpot_ms),
            itl: self.itl.or(other.itl),
            e2e: self.e2e.or(other.e2e),
        }
    }

    /// Sets the most that a metric may take, in milliseconds.
    pub(crate) fn set(&mut self, metric: SloMetric, most_ms: f64) {
        let time = SimTime::from_secs_f64(most_ms / 1e3);
        match metric {
            SloMetric::Ttft => self.ttft = Some(time),
            SloMetric::Tpot => self.tpot_ms = Some(most_ms),
            SloMetric::Itl => self.itl = Some(time),
            SloMetric::E2e => self.e2e = Some(time),
        }
    }

    /// Whether anything is expected.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ttft.is_some() || self.tpot_ms.is_some() || self.itl.is_some() || self.e2e.is_some()
    }

    /// The objective for a metric, in milliseconds.
    #[must_use]
    pub fn objective_ms(&self, metric: SloMetric) -> Option<f64> {
        match metric {
            SloMetric::Ttft => self.ttft.map(SimTime::as_millis_f64),
            SloMetric::Tpot => self.tpot_ms,
            SloMetric::Itl => self.itl.map(SimTime::as_millis_f64),
            SloMetric::E2e => self.e2e.map(SimTime::as_millis_f64),
        }
    }

    /// Judges a request that has ended. `None` where nothing is expected, or the simulation ended first: then nobody knows.
    #[must_use]
    pub fn judge(&self, record: &RequestRecord) -> Option<Judgement> {
        if !self.is_set() || record.status == Status::Incomplete {
            return None;
        }
        let answered = record.status == Status::Success;
        Some([
            self.ttft.map(|most| answered && record.ttft().is_some_and(|ttft| ttft <= most)),
            self.tpot_ms.map(|most| answered && record.tpot_ms().unwrap_or(0.0) <= most),
            self.itl.map(|most| answered && record.longest_gap.unwrap_or(SimTime::ZERO) <= most),
            self.e2e.map(|most| answered && record.e2e() <= most),
        ])
    }

    /// Whether a request kept to all objectives.
    #[must_use]
    pub fn met(&self, record: &RequestRecord) -> Option<bool> {
        self.judge(record).map(|judgement| is_met(&judgement))
    }
}

/// Whether all objectives were kept to.
#[must_use]
pub fn is_met(judgement: &Judgement) -> bool {
    judgement.iter().flatten().all(|&kept| kept)
}

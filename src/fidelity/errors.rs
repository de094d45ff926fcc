//! `configs/fidelity/errors.csv`: a row a cohort.

use std::sync::LazyLock;

use super::{Kind, Prices};

/// Points that are alike, and how far predictions of them were off. Nothing was fitted to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// Who measured them.
    pub origin: String,
    /// What served them.
    pub engine: String,
    /// Device, model and weights.
    pub kind: Kind,
    /// How many there are.
    pub points: usize,
    /// Of the time per output token.
    pub tpot: Errors,
    /// Of the time to the first token, where that was measured.
    pub ttft: Option<Errors>,
}

/// Errors of predictions, in per cent of what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Median of their sizes.
    pub median_pct: f64,
    /// Mean of their sizes.
    pub mean_pct: f64,
    /// Nine of ten are not larger.
    pub p90_pct: f64,
    /// Median with its sign: what is predicted too short is below 0.
    pub bias_pct: f64,
}

/// The columns of the file that say of which cohort a row is.
pub(crate) const COLUMNS: [&str; 8] =
    ["origin", "engine", "model_kind", "dtype", "expert_kernels", "device", "prices", "points"];
/// The four of TPOT, then those of TTFT.
pub(crate) const ERROR_COLUMNS: [&str; 8] = [
    "tpot_median_pct",
    "tpot_mean_pct",
    "tpot_p90_pct",
    "tpot_bias_pct",
    "ttft_median_pct",
    "ttft_mean_pct",
    "ttft_p90_pct",
    "ttft_bias_pct",
];

/// The cohorts of the embedded file.
pub fn cohorts() -> &'static [Cohort] {
    static COHORTS: LazyLock<Vec<Cohort>> = LazyLock::new(|| {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/fidelity/errors.csv"));
        parse(text).expect("a test reads it")
    });
    &COHORTS
}

fn parse(text: &str) -> Option<Vec<Cohort>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().ok()?.clone();
    let place = |name: &str| names.iter().position(|column| column == name);
    let columns: Vec<usize> = COLUMNS.iter().chain(&ERROR_COLUMNS).map(|name| place(name)).collect::<Option<_>>()?;
    let row = |record: csv::StringRecord| {
        let field = |index: usize| record.get(columns[index]);
        let errors = |from: usize| {
            let mut numbers = (from..from + 4).map(|index| field(index)?.parse().ok());
            let [median_pct, mean_pct, p90_pct, bias_pct] = std::array::from_fn(|_| numbers.next().flatten());
            Some(Errors { median_pct: median_pct?, mean_pct: mean_pct?, p90_pct: p90_pct?, bias_pct: bias_pct? })
        };
        let prices = [Prices::Measured, Prices::Derived, Prices::Other];
        Some(Cohort {
            origin: field(0)?.to_owned(),
            engine: field(1)?.to_owned(),
            kind: Kind {
                has_experts: field(2)? == "mixture of experts",
                dtype: field(3)?.to_owned(),
                expert_kernels: field(4)?.to_owned(),
                device: field(5)?.to_owned(),
                prices: *prices.iter().find(|prices| field(6) == Some(prices.word()))?,
            },
            points: field(7)?.parse().ok()?,
            tpot: errors(COLUMNS.len())?,
            ttft: errors(COLUMNS.len() + 4),
        })
    };
    // Offline loads have a throughput alone.
    let has_tpot =
        |record: &csv::StringRecord| record.get(columns[COLUMNS.len()]).is_some_and(|field| !field.is_empty());
    let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().ok()?;
    records.into_iter().filter(has_tpot).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_cohorts_can_be_read() {
        assert!(cohorts().iter().all(|cohort| cohort.points > 0 && cohort.tpot.median_pct <= cohort.tpot.p90_pct));
        assert!(cohorts().iter().any(|cohort| cohort.engine == "vLLM"));
    }
}

//! The figures that are compared, and where a summary has them.

use serde_json::Value;

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name for programs.
    pub key: &'static str,
    /// Its name for people.
    pub words: &'static str,
    /// Where the summary has it.
    pointer: &'static str,
    /// By what it is multiplied to be read.
    factor: f64,
    /// Decimals that are read.
    pub decimals: usize,
}

const fn metric(key: &'static str, words: &'static str, pointer: &'static str, decimals: usize) -> Metric {
    Metric { key, words, pointer, factor: 1.0, decimals }
}

const fn percent(key: &'static str, words: &'static str, pointer: &'static str) -> Metric {
    Metric { factor: 100.0, ..metric(key, words, pointer, 1) }
}

/// What is compared, in order; a run that lacks one leaves it out.
pub const METRICS: [Metric; 24] = [
    metric("requests_per_s", "requests/s", "/throughput/requests_per_second", 2),
    metric("output_tokens_per_s", "output tokens/s", "/throughput/output_tokens_per_second", 1),
    percent("success_pct", "succeeded, %", "/requests/success_rate"),
    metric("goodput_requests_per_s", "goodput, requests/s", "/slo/goodput_requests_per_second", 2),
    percent("slo_attainment_pct", "within SLO, %", "/slo/attainment"),
    metric("ttft_mean_ms", "TTFT mean, ms", "/latency/time_to_first_token_ms/mean", 2),
    metric("ttft_p50_ms", "TTFT p50, ms", "/latency/time_to_first_token_ms/p50", 2),
    metric("ttft_p99_ms", "TTFT p99, ms", "/latency/time_to_first_token_ms/p99", 2),
    metric("tpot_mean_ms", "TPOT mean, ms", "/latency/time_per_output_token_ms/mean", 2),
    metric("tpot_p50_ms", "TPOT p50, ms", "/latency/time_per_output_token_ms/p50", 2),
    metric("tpot_p99_ms", "TPOT p99, ms", "/latency/time_per_output_token_ms/p99", 2),
    metric("itl_p99_ms", "ITL p99, ms", "/latency/inter_token_latency_ms/p99", 2),
    metric("e2e_mean_ms", "E2E mean, ms", "/latency/end_to_end_latency_ms/mean", 1),
    metric("e2e_p50_ms", "E2E p50, ms", "/latency/end_to_end_latency_ms/p50", 1),
    metric("e2e_p99_ms", "E2E p99, ms", "/latency/end_to_end_latency_ms/p99", 1),
    metric("queue_mean_ms", "queue mean, ms", "/latency/queue_time_ms/mean", 2),
    metric("queue_p99_ms", "queue p99, ms", "/latency/queue_time_ms/p99", 2),
    percent("cached_prompt_pct", "prompt cached, %", "/prefix_caching/prefill_reduction_ratio"),
    metric("preemptions", "preemptions", "/engines/*/preemptions", 0),
    percent("gpu_busy_pct", "GPUs busy, %", "/gpus/*/busy"),
    percent("mfu_pct", "MFU, %", "/gpus/*/mfu"),
    percent("mbu_pct", "MBU, %", "/gpus/*/mbu"),
    metric("j_per_output_token", "J an output token", "/energy/joules_per_output_token", 3),
    metric("usd_per_million_output_tokens", "USD a million output tokens", "/cost/usd_per_million_output_tokens", 3),
];

impl Metric {
    /// The figure in a summary: the sum over engines, the mean over GPUs.
    pub(super) fn of(&self, summary: &Value) -> Option<f64> {
        let Some((kind, key)) = self.pointer.split_once("/*/") else {
            return Some(self.factor * summary.pointer(self.pointer)?.as_f64()?);
        };
        let all = summary.pointer(kind)?.as_object()?;
        let sum: Option<f64> = all.values().map(|one| one.get(key)?.as_f64()).sum();
        let count = if kind == "/engines" { 1.0 } else { all.len() as f64 };
        Some(self.factor * sum? / count).filter(|figure| figure.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_of_engines_a_sum_is_told_and_of_gpus_a_mean() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..index].iter().all(|other| other.key != metric.key), "{}", metric.key);
        }
        let summary = serde_json::json!({
            "engines": {"a": {"preemptions": 2}, "b": {"preemptions": 3}},
            "gpus": {"a": {"busy": 0.5}, "b": {"busy": 1.0}},
        });
        let of = |key: &str| METRICS.iter().find(|metric| metric.key == key).expect("it is there").of(&summary);
        assert_eq!((of("preemptions"), of("gpu_busy_pct"), of("ttft_mean_ms")), (Some(5.0), Some(75.0), None));
    }
}

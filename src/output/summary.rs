//! `summary.json`: what a run came to. The predecessor's structure and key names, and more keys beside them.
//!
//! - `requests`, `latency`, `prefix_caching` and `per_profile` leave out requests that arrived during the warm-up;
//!   `inter_token_latency_ms` leaves out gaps that ended in it. Throughput and latency are those of successful requests.
//! - `throughput` is what was completed from the end of the warm-up to the end of the load, over that time (`duration_s`),
//!   whenever it arrived; `drain` is what came after. A load that came at one instant has no such time: then throughput is
//!   over the whole run. `verdict` says whether the deployment keeps up, and what limits it; its module says how it is told.
//! - `slo`: goodput is the part of `throughput` that kept to all that its clients expect; attainment the share of the requests that
//!   arrived after the warm-up and have ended. Requests of which nothing is expected are in neither.
//! - `gpu_utilization`, `gpus`, `engines` and `links` are over the whole run.
//! - `energy` and `cost` are over the whole run too; the first is absent if a GPU's draw is not known, the second if a GPU
//!   has no price.
//! - `prefix_caching`: rates are over the requests that were looked up. A follow-up turn counts as hit by
//!   CONVERSATIONAL_HIT or a full hit, a first turn by CROSS_REQUEST_HIT or a full hit.
//! - `fidelity`: errors of predictions of what others measured, of the cohort that is nearest to each kind of engine; without
//!   `measured` where nobody has measured its like, with `unmeasured` where some of its kernels nobody has measured.
//! - Quantiles are linear interpolations (numpy's and DuckDB's `quantile_cont`), exact up to 131,072 values and within
//!   0.025 % beyond; all else is exact.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::TakenDefault;
use super::deployment::DeploymentSummary;
use super::distribution::Statistics;
use super::verdict::{StepSummary, Verdict};
use crate::fidelity::Expectation;

/// A map that keeps its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Named<T> {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// What made it.
    pub program: ProgramSummary,
    /// What to know before any figure.
    pub notes: Vec<String>,
    /// How far off figures of such deployments were, for each kind of engine.
    pub fidelity: Vec<Expectation>,
    /// What was simulated.
    pub deployment: Vec<DeploymentSummary>,
    /// How requests were spread over the engines, by the name in configurations.
    pub router: &'static str,
    /// What was asked of it.
    pub load: LoadSummary,
    /// Whether it keeps up, and what limits it.
    pub verdict: Verdict,
    /// How long was simulated.
    pub simulation: SimulationSummary,
    /// How requests ended.
    pub requests: RequestSummary,
    /// Rates of successful requests while the load was offered.
    pub throughput: ThroughputSummary,
    /// How requests kept to what their clients expect; absent where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloSummary>,
    /// What was completed afterwards; absent if the run ended with the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainSummary>,
    /// Latencies of successful requests.
    pub latency: LatencySummary,
    /// Busy share by GPU, 0 to 1.
    pub gpu_utilization: Named<f64>,
    /// What the vision encoder did; absent if it did nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderSummary>,
    /// What the prefix cache did; absent if no request counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_caching: Option<PrefixSummary>,
    /// Whether the run was stopped before its end.
    pub partial: bool,
    /// By engine.
    pub engines: Named<EngineSummary>,
    /// By GPU.
    pub gpus: Named<GpuSummary>,
    /// By link.
    pub links: Named<LinkSummary>,
    /// What the run drew, GPUs and servers; absent if a GPU's draw is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<EnergySummary>,
    /// What its GPU hours cost; absent if a GPU has no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostSummary>,
    /// By client profile.
    pub per_profile: Named<ProfileSummary>,
    /// What the configuration left to defaults, and why these.
    pub defaults: Vec<TakenDefault>,
    /// The files of the run, for the terminal only: what is in them does not depend on where they lie.
    #[serde(skip)]
    pub files: Vec<std::path::PathBuf>,
}

/// How long was simulated.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SimulationSummary {
    /// Simulated time.
    pub total_duration_s: f64,
    /// Of which warm-up.
    pub warm_up_duration_s: f64,
    /// Without the warm-up.
    pub effective_duration_s: f64,
    /// `drained`, `horizon`, `interrupted` or `write_error`.
    pub stop_reason: &'static str,
}

/// How requests ended.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RequestSummary {
    /// All that count.
    pub total: u64,
    /// Whole answers.
    pub successful: u64,
    /// Refused.
    pub failed: u64,
    /// `successful / total`, 0 without requests.
    pub success_rate: f64,
    /// Given up by the client.
    pub timeout: u64,
    /// In flight when the simulation ended.
    pub incomplete: u64,
    /// By reason, those that occurred.
    pub by_reason: Named<u64>,
}

/// The program that made a summary, and its draws.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ProgramSummary {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The seed.
    pub seed: u64,
}

/// The load.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LoadSummary {
    /// In words.
    pub description: String,
    /// When it ended: the workload's duration, or its last request's arrival.
    pub offered_until_s: f64,
    /// Requests that arrived after the warm-up.
    pub requests: u64,
}

/// What was completed after the end of the load.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DrainSummary {
    /// How long it took.
    pub duration_s: f64,
    /// Requests.
    pub requests: u64,
    /// Their output tokens.
    pub output_tokens: u64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Output tokens a second.
    pub output_tokens_per_second: f64,
}

/// Rates while the load was offered.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ThroughputSummary {
    /// From the end of the warm-up to the end of the load.
    pub duration_s: f64,
    /// Successful requests.
    pub requests_per_second: f64,
    /// Their output tokens.
    pub output_tokens_per_second: f64,
    /// Their prompt tokens.
    pub prompt_tokens_per_second: f64,
    /// Both.
    pub total_tokens_per_second: f64,
}

/// How requests kept to what their clients expect.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SloSummary {
    /// Those that kept to all of it, a second, while the load was offered.
    pub goodput_requests_per_second: f64,
    /// `met / (met + missed)`, 0 without requests.
    pub attainment: f64,
    /// Kept to all of it.
    pub met: u64,
    /// Did not, or got no whole answer.
    pub missed: u64,
    /// In flight when the simulation ended: neither.
    pub incomplete: u64,
    /// By the key of the metric.
    pub by_metric: Named<ObjectiveSummary>,
}

/// The same of one metric.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ObjectiveSummary {
    /// Most that was expected; absent where profiles differ in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective_ms: Option<f64>,
    /// `met / (met + missed)`, 0 without requests.
    pub attainment: f64,
    /// Kept to it.
    pub met: u64,
    /// Did not, or got no whole answer.
    pub missed: u64,
}

/// Latencies of successful requests.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LatencySummary {
    /// From the arrival to the first token (TTFT).
    pub time_to_first_token_ms: Latency,
    /// Per output token without the first (TPOT).
    pub time_per_output_token_ms: Latency,
    /// From the arrival to the last byte (E2E).
    pub end_to_end_latency_ms: Latency,
    /// Gaps between tokens (ITL), every sequence's every gap; not per profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inter_token_latency_ms: Option<Latency>,
    /// From the delivery to the first computed token.
    pub queue_time_ms: Latency,
}

/// A distribution as the summary tells it: `{count, mean, std, min, max, p50, …}`, or `{count: 0}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// The numbers, unless there were no values.
    pub statistics: Option<Statistics>,
    /// Quantiles of `statistics.quantiles_ms`.
    pub quantiles: Vec<f64>,
}

impl Latency {
    /// `p50`, `p99.9` …, in the order in which they were asked for.
    pub fn percentile_names(&self) -> impl Iterator<Item = String> {
        self.quantiles.iter().copied().map(percentile_name)
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.statistics {
            None => map.serialize_entry("count", &0)?,
            Some(statistics) => {
                map.serialize_entry("count", &statistics.count)?;
                map.serialize_entry("mean", &statistics.mean_ms)?;
                map.serialize_entry("std", &statistics.deviation_ms)?;
                map.serialize_entry("min", &statistics.minimum_ms)?;
                map.serialize_entry("max", &statistics.maximum_ms)?;
                for (name, value) in self.percentile_names().zip(&statistics.quantiles_ms) {
                    map.serialize_entry(&name, value)?;
                }
            }
        }
        map.end()
    }
}

/// `p50` for 0.5, `p99.9` for 0.999.
fn percentile_name(quantile: f64) -> String {
    // Twelve decimals hide what binary fractions add (0.29 × 100 is not 29), and leave 0.999999999 below 100.
    let percent = format!("{:.12}", quantile * 100.0);
    format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// What the vision encoder did in the steps of all engines, the whole run over. Its time is part of their busy time and of TTFT.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EncoderSummary {
    /// Tokens of images.
    pub tokens: u64,
    /// What they took, in seconds of the engines' first stages.
    pub busy_s: f64,
    /// The same over the time with a step running.
    pub share_of_busy: f64,
    /// Frameworks whose price is the default, which is a guess: why it is what it is.
    pub guesses: Vec<String>,
}

/// What the prefix cache did.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PrefixSummary {
    /// Hits of all kinds over the requests that were looked up.
    pub overall_hit_rate: f64,
    /// Follow-up turns that found tokens of their session.
    pub conversational_hit_rate: f64,
    /// First turns that found tokens of other requests.
    pub cross_request_hit_rate: f64,
    /// By event.
    pub event_counts: Named<u64>,
    /// Cached tokens a hit.
    pub average_cached_prefix_length: f64,
    /// Tokens computed in prefill a request.
    pub average_tokens_prefilled: f64,
    /// Share of the prompt tokens that were found in the cache.
    pub prefill_reduction_ratio: f64,
    /// Prompt tokens found in the cache.
    pub total_tokens_saved: u64,
    /// CROSS_REQUEST_HIT events.
    pub cross_request_hits: u64,
    /// CONVERSATIONAL_HIT events.
    pub conversational_hits: u64,
}

/// An engine over the whole run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EngineSummary {
    /// Steps that ended.
    pub steps: u64,
    /// Share of the time with a step running, 0 to 1.
    pub busy: f64,
    /// Steps with chunks of prompts, decodes beside them included.
    pub prefill: StepSummary,
    /// Steps of decodes alone.
    pub decode: StepSummary,
    /// Share of the time in which as many sequences ran as may.
    pub held_by_seats: f64,
    /// Share of the time in which requests waited for a step's tokens.
    pub held_by_token_budget: f64,
    /// Share of the time in which requests waited for KV blocks.
    pub held_by_kv_cache: f64,
    /// Prompt tokens computed, recomputation included.
    pub prefill_tokens: u64,
    /// Output tokens generated.
    pub output_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// KV blocks in the pool.
    pub kv_blocks_total: u64,
    /// Most KV blocks held by running sequences at once.
    pub kv_blocks_peak: u64,
    /// `kv_blocks_peak / kv_blocks_total`.
    pub kv_use_peak: f64,
    /// Cached blocks that made room for others.
    pub kv_blocks_evicted: u64,
    /// Most sequences running at once.
    pub running_peak: u64,
    /// Most requests waiting at once.
    pub waiting_peak: u64,
}

/// A GPU over the whole run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct GpuSummary {
    /// Share of the time with a step running, 0 to 1.
    pub busy: f64,
    /// FLOPs done over what its peak allows in the time, 0 to 1.
    pub mfu: f64,
    /// Bytes moved over what its memory bandwidth allows in the time, 0 to 1.
    pub mbu: f64,
    /// FLOPs done.
    pub flops: f64,
    /// Bytes read and written in memory.
    pub bytes: f64,
    /// What it drew, in joules, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_j: Option<f64>,
    /// The same over the time, in watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_power_w: Option<f64>,
}

/// Energy of the whole run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EnergySummary {
    /// Of the GPUs that engines run on, in joules.
    pub gpu_energy_j: f64,
    /// Of the servers around them, in joules.
    pub host_energy_j: f64,
    /// Both.
    pub server_energy_j: f64,
    /// Both, in kilowatt-hours.
    pub energy_kwh: f64,
    /// Both over the time, in watts.
    pub mean_power_w: f64,
    /// Servers that hold the GPUs.
    pub servers: u64,
    /// Both a token generated; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joules_per_output_token: Option<f64>,
    /// Devices whose draw at idle and in decode is an estimate of the catalog's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub estimated: Vec<String>,
}

/// Cost of the whole run, in US dollars.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CostSummary {
    /// Hours of the GPUs that engines run on.
    pub gpu_hours: f64,
    /// What they cost.
    pub usd: f64,
    /// The same a million tokens generated; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_million_output_tokens: Option<f64>,
}

/// A link over the whole run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LinkSummary {
    /// Share of the time it carried bytes, 0 to 1.
    pub busy: f64,
    /// Bytes that crossed it.
    pub bytes: f64,
    /// Prompts and whole responses that crossed it.
    pub transfers: u64,
}

/// The requests of a client profile.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ProfileSummary {
    /// All that count.
    pub total: u64,
    /// Whole answers.
    pub successful: u64,
    /// Rates of successful requests.
    pub throughput: ThroughputSummary,
    /// Latencies of successful requests.
    pub latency: LatencySummary,
    /// How they kept to what their clients expect; absent where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloSummary>,
}

/// The notes of a summary as a file has it; nothing where an earlier version wrote it.
#[must_use]
pub fn notes_of(summary: &serde_json::Value) -> Vec<String> {
    let notes = summary["notes"].as_array().into_iter().flatten();
    notes.filter_map(|note| note.as_str().map(str::to_owned)).collect()
}

//! The charts of a run, by name: a line each in [`KINDS`], which the page, `plot` and its list follow.

mod latency;
mod over_time;
mod shares;

use super::figure::Figure;
use super::run::{Run, Source};

/// A chart that can be asked for.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// What of the run it is made of.
    pub source: Source,
    draw: fn(&Run) -> Option<Figure>,
}

impl Kind {
    /// The chart; `None` if the run has nothing of the kind.
    #[must_use]
    pub fn draw(&self, run: &Run) -> Option<Figure> {
        (self.draw)(run)
            .map(|figure| Figure { kind: self.name.to_owned(), ..figure })
            .filter(|figure| !figure.is_empty())
    }
}

/// Every chart, in the order of the page.
pub const KINDS: [Kind; 22] = {
    use Source::{Requests, Series, Summary};
    const fn kind(name: &'static str, about: &'static str, source: Source, draw: fn(&Run) -> Option<Figure>) -> Kind {
        Kind { name, about, source, draw }
    }
    [
        kind("engine-time", "what held the queue back, and what bound the steps", Summary, shares::engine_time),
        kind("ttft-cdf", "share of requests whose first token came within a time", Requests, latency::ttft_cdf),
        kind("tpot-cdf", "share of requests by time per output token", Requests, latency::tpot_cdf),
        kind(
            "itl-cdf",
            "gaps between tokens by size, pooled, and the longest of each request",
            Summary,
            latency::itl_cdf,
        ),
        kind("e2e-cdf", "share of requests that were over within a time", Requests, latency::e2e_cdf),
        kind("queue-cdf", "share of requests by time in the engine's queue", Requests, latency::queue_cdf),
        kind("ttft-histogram", "how often which time to first token occurred", Requests, latency::ttft_histogram),
        kind("tpot-histogram", "how often which time per output token occurred", Requests, latency::tpot_histogram),
        kind("e2e-histogram", "how often which end-to-end latency occurred", Requests, latency::e2e_histogram),
        kind("latency-over-time", "TTFT and E2E, p50 and p99, by the time of arrival", Requests, latency::over_time),
        kind(
            "tpot-over-time",
            "TPOT and longest gap, p50 and p99, by the time of arrival",
            Requests,
            latency::tpot_over_time,
        ),
        kind(
            "breakdown",
            "where the time of requests went, of all and of the slowest per cent",
            Requests,
            shares::breakdown,
        ),
        kind("slowest", "where the time of the slowest requests went", Requests, shares::slowest),
        kind("slo-over-time", "share of the requests that ended within their SLO", Series, over_time::attainment),
        kind("queue-over-time", "requests that wait, by engine", Series, over_time::waiting),
        kind("batch-over-time", "sequences in the batch, by engine", Series, over_time::running),
        kind(
            "kv-over-time",
            "share of the KV blocks that running sequences hold, by engine",
            Series,
            over_time::kv_use,
        ),
        kind("output-over-time", "output tokens a second, by engine", Series, over_time::output_rate),
        kind("prefill-over-time", "prompt tokens computed a second, by engine", Series, over_time::prefill_rate),
        kind("mfu-over-time", "FLOPs done over the peak's, by GPU", Series, over_time::mfu),
        kind("mbu-over-time", "bytes moved over the peak's, by GPU", Series, over_time::mbu),
        kind("links-over-time", "share of the time in which bytes crossed a link", Series, over_time::links),
    ]
};

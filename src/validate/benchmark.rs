//! The load of a serving point: a benchmark starts `clients` at once, which send so many requests each, no text shared.

use rand_distr::{Distribution, Uniform};

use super::benchmark_file::{Benchmark, Load};
use crate::workload::streams::{Purpose, stream};

/// The lengths that were drawn are not recorded; these are as good as any.
const SEED: u64 = 0;

impl Benchmark {
    /// Tokens of prompts and answers, in the order in which they are sent.
    pub(super) fn lengths(&self, load: Load) -> Vec<(u32, u32)> {
        self.draw(load, load.clients.saturating_mul(self.requests_per_client) as usize)
    }

    /// The same of a number of requests.
    pub(super) fn draw(&self, load: Load, requests: usize) -> Vec<(u32, u32)> {
        let draw = |stated: u32, purpose| -> Vec<u32> {
            let least = (f64::from(stated) * self.least_share_of_length) as u32;
            let lengths = Uniform::new_inclusive(least.max(1), stated).expect("a share of a length is below it");
            lengths.sample_iter(stream(SEED, purpose)).take(requests).collect()
        };
        let prompts = draw(load.prompt_tokens, Purpose::PromptTokens);
        prompts.into_iter().zip(draw(load.output_tokens, Purpose::OutputTokens)).collect()
    }
}

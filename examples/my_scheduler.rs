//! How do I form batches by a rule of my own?
//!
//! Implement [`BatchPolicy`] and give it to [`Simulation::with_batch_policy`]. This is batching by request, as servers did before Orca
//! (Yu et al., 2022): a full batch, or what there is when the first has waited long enough; nobody enters before all have left.
//! What a batch computes is left to vLLM's policy, with the door closed.
//!
//! ```text
//! cargo run --example my_scheduler
//! ```

use std::ops::ControlFlow;
use std::path::Path;

use llmperforacle::config::{Overrides, load};
use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_systems::{BatchPolicy, Boundary, EpochCuts, Simulation, Standing, Vllm};

/// Batches of a size, which an idle engine waits for with so much patience.
#[derive(Clone, Copy)]
pub struct ByRequest {
    /// Most requests of a batch.
    pub size: u32,
    /// How long the first of a batch waits for others.
    pub patience: SimTime,
}

/// Batches of 32, or of what a second brings.
pub const BY_REQUEST: ByRequest = ByRequest { size: 32, patience: SimTime(1_000_000_000) };

/// What an engine keeps of its next batch.
#[derive(Default)]
pub struct Gathering {
    /// When it starts, full or not, if an engine that is idle waits for it.
    starts: Option<SimTime>,
    /// Who may still enter.
    to_enter: u32,
}

impl BatchPolicy for ByRequest {
    type Memory = Gathering;

    fn form(&self, next: &mut Gathering, boundary: &mut Boundary<'_, '_>) -> Standing {
        let waiting = boundary.queued();
        if boundary.running() > 0 || waiting == 0 {
            next.starts = None;
        } else {
            let starts = *next.starts.get_or_insert(boundary.now() + self.patience);
            if waiting >= self.size || starts <= boundary.now() {
                *next = Gathering { starts: None, to_enter: waiting.min(self.size) };
            }
        }
        boundary.limit_entries(next.to_enter);
        let standing = Vllm.form(&mut Default::default(), boundary);
        // Prompts that a step's budget of tokens had no room for enter with the next; who finds no KV blocks waits for the next batch.
        let goes_on = boundary.budget() == 0 && !boundary.has_preempted();
        next.to_enter = if goes_on { next.to_enter - (waiting - boundary.queued()) } else { 0 };
        Standing { until: next.starts.unwrap_or(SimTime::NEVER), ..standing }
    }
}

/// Runs a scenario of this repository: a minute of chats and documents on two GPUs.
pub fn run(policy: impl BatchPolicy, cuts: EpochCuts) -> Vec<RequestRecord> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios/walkthrough.yaml");
    let resolved = load(&file, &Overrides::default()).expect("the scenario is right");
    let (requests, _) = resolved.workload.open().expect("its requests are drawn, not read");
    let simulation = Simulation::new(resolved.scenario, requests, Vec::new()).with_batch_policy(policy);
    let mut simulation = simulation.with_epoch_cuts(cuts);
    simulation.run(|_| ControlFlow::Continue(()));
    simulation.into_sink()
}

/// What a policy makes of the scenario.
pub struct Served {
    /// How batches were formed.
    pub policy: &'static str,
    /// Time to first token: half of the requests wait no longer.
    pub ttft_p50_s: f64,
    /// 99 % of them wait no longer.
    pub ttft_p99_s: f64,
    /// Half of the answers take no longer a token after the first.
    pub tpot_p50_ms: f64,
    /// Tokens generated in a minute.
    pub output_tokens: u64,
}

/// The shipped policy, and one's own.
///
/// By request, a first token waits for the longest answer of the batch before. Whoever has one gets the others somewhat sooner than with
/// vLLM, since no prompt is computed in between, and since the slots of answers that are done stay empty: so fewer tokens come in all.
pub fn compare() -> [Served; 2] {
    let vllm = run(Vllm, EpochCuts::AsNeeded);
    let by_request = run(BY_REQUEST, EpochCuts::AsNeeded);
    [("vLLM", vllm), ("by request", by_request)].map(|(policy, records)| {
        let mut ttft: Vec<SimTime> = records.iter().filter_map(RequestRecord::ttft).collect();
        ttft.sort_unstable();
        let mut tpot_ms: Vec<f64> = records.iter().filter_map(RequestRecord::tpot_ms).collect();
        tpot_ms.sort_unstable_by(f64::total_cmp);
        Served {
            policy,
            ttft_p50_s: ttft[ttft.len() / 2].as_secs_f64(),
            ttft_p99_s: ttft[ttft.len() * 99 / 100].as_secs_f64(),
            tpot_p50_ms: tpot_ms[tpot_ms.len() / 2],
            output_tokens: records.iter().map(|record| u64::from(record.output_tokens)).sum(),
        }
    })
}

fn main() {
    println!("{:<12}{:>12}{:>12}{:>13}{:>15}", "", "TTFT p50 s", "TTFT p99 s", "TPOT p50 ms", "output tokens");
    for Served { policy, ttft_p50_s, ttft_p99_s, tpot_p50_ms, output_tokens } in compare() {
        println!("{policy:<12}{ttft_p50_s:>12.3}{ttft_p99_s:>12.3}{tpot_p50_ms:>13.1}{output_tokens:>15}");
    }
}

//! Energy and money: what the boards and their servers draw, and what the hours cost.
//!
//! Over any span of time a board draws
//!
//! ```text
//! P = idle + busy · (decode − idle) + MFU · (limit − decode)
//! ```
//!
//! on average, with `busy` the share of the time in which a step ran: an energy roofline (Choi, Bedard, Fowler and Vuduc,
//! "A Roofline Model of Energy", 2013) of a constant part, a part for streaming weights and KV cache, and a part a FLOP. It
//! is linear, so spans and intervals add up; and since MFU ≤ busy ≤ 1, it lies between idle and limit. The three readings
//! are the device's ([`DevicePower`]). It does not know clocks, temperature or waiting for other ranks, and takes a batch of
//! one for a large one: an H100 decodes one sequence at some 300 W and a hundred at 500 W.
//!
//! Where the boards have been measured under vLLM (the catalog's `power_stated_by` names them, and its decode readings were
//! chosen in their view), predicted and measured watts a GPU at constant efficiencies: Llama 3.3 70B in FP8 on four H100s, 64
//! requests at once 490 and 480, 128 at once 499 and 520; Phi-3-mini at batch 128 on an H200 504 and 517, on a B200 631 and 606.
//!
//! A server's own draw is constant, for each that holds a GPU of an engine. Tokens are those generated, whatever became of
//! their requests; times are the whole run, warm-up included.

use oracle_components::device::DevicePower;
use oracle_components::record::{IntervalRow, Outcome, Subject};
use oracle_components::scenario::{GpuIndex, Scenario};
use oracle_systems::costing::gpu_peak_flops;

use super::plan::HostSpec;
use super::summary::{CostSummary, EnergySummary};

const SECONDS_PER_HOUR: f64 = 3_600.0;
const JOULES_PER_KWH: f64 = 3.6e6;

/// What a board draws on average.
fn board_w(power: DevicePower, busy: f64, mfu: f64) -> f64 {
    power.idle_w + busy * (power.decode_w - power.idle_w) + mfu * (power.tdp_w - power.decode_w)
}

/// Engines on each GPU.
fn tenants(scenario: &Scenario) -> Vec<u32> {
    let mut tenants = vec![0; scenario.gpus.len()];
    for &gpu in scenario.engines.iter().flat_map(|engine| &engine.gpus) {
        tenants[gpu as usize] += 1;
    }
    tenants
}

/// GPUs that an engine runs on.
fn in_use(scenario: &Scenario) -> impl Iterator<Item = GpuIndex> {
    tenants(scenario).into_iter().zip(0..).filter(|&(engines, _)| engines > 0).map(|(_, gpu)| gpu)
}

/// What each GPU drew over the run, in joules; `None` where it is not known or no engine runs.
pub(super) fn gpu_energies_j(scenario: &Scenario, outcome: &Outcome) -> Vec<Option<f64>> {
    let end_s = outcome.end.as_secs_f64();
    let mut energies = vec![None; scenario.gpus.len()];
    let peaks = gpu_peak_flops(scenario);
    for gpu in in_use(scenario).map(|gpu| gpu as usize) {
        let totals = &outcome.gpus[gpu];
        let busy_s = totals.busy.as_secs_f64();
        let computing_s = totals.flops / peaks[gpu];
        energies[gpu] = scenario.gpus[gpu].device.power.map(|power| {
            power.idle_w * end_s
                + (power.decode_w - power.idle_w) * busy_s
                + (power.tdp_w - power.decode_w) * computing_s
        });
    }
    energies
}

fn output_tokens(outcome: &Outcome) -> f64 {
    outcome.engines.iter().map(|engine| engine.output_tokens as f64).sum()
}

/// The energy of the run; `None` if that of one of its GPUs is not known.
pub(crate) fn energy(scenario: &Scenario, outcome: &Outcome, host: HostSpec) -> Option<EnergySummary> {
    let by_gpu = gpu_energies_j(scenario, outcome);
    let gpu_energy_j = in_use(scenario).map(|gpu| by_gpu[gpu as usize]).sum::<Option<f64>>()?;
    let servers = in_use(scenario).count().div_ceil(host.gpus.max(1) as usize);
    let end_s = outcome.end.as_secs_f64();
    let host_energy_j = servers as f64 * host.power_w * end_s;
    let server_energy_j = gpu_energy_j + host_energy_j;
    let tokens = output_tokens(outcome);
    Some(EnergySummary {
        gpu_energy_j,
        host_energy_j,
        server_energy_j,
        energy_kwh: server_energy_j / JOULES_PER_KWH,
        mean_power_w: if end_s > 0.0 { server_energy_j / end_s } else { 0.0 },
        servers: servers as u64,
        joules_per_output_token: (tokens > 0.0).then(|| server_energy_j / tokens),
        estimated: Vec::new(),
    })
}

/// What the GPU hours of the run cost; `None` if one of its GPUs has no price.
pub(crate) fn cost(scenario: &Scenario, outcome: &Outcome) -> Option<CostSummary> {
    let hours = outcome.end.as_secs_f64() / SECONDS_PER_HOUR;
    let prices = in_use(scenario).map(|gpu| scenario.gpus[gpu as usize].device.price_per_hour_usd);
    let usd = prices.map(|price| price.map(|price| price * hours)).sum::<Option<f64>>()?;
    let tokens = output_tokens(outcome);
    Some(CostSummary {
        gpu_hours: in_use(scenario).count() as f64 * hours,
        usd,
        usd_per_million_output_tokens: (tokens > 0.0).then(|| usd / tokens * 1e6),
    })
}

/// What tells power and cost of a row of the time series.
#[derive(Debug)]
pub(super) struct RowMeter {
    gpus: Vec<MeteredGpu>,
    /// GPUs of each engine, and its part of them.
    engines: Vec<(Vec<GpuIndex>, f64)>,
}

/// A GPU as an engine's rows see it.
#[derive(Debug)]
struct MeteredGpu {
    power: Option<DevicePower>,
    price_per_hour_usd: Option<f64>,
    peak_flops: f64,
    /// Engines that share it, of which each has a part of its idling and its price.
    engines: f64,
}

impl MeteredGpu {
    /// What the board drew on average for one of its engines.
    fn power_w(&self, busy: f64, mfu: f64) -> Option<f64> {
        let power = self.power?;
        Some(board_w(power, busy, mfu) - power.idle_w * (1.0 - 1.0 / self.engines))
    }
}

/// What a row of the time series drew and cost; servers, which no row is about, are left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metered {
    pub(super) power_w: Option<f64>,
    pub(super) usd: Option<f64>,
    pub(super) joules_per_output_token: Option<f64>,
    pub(super) usd_per_million_output_tokens: Option<f64>,
}

impl RowMeter {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let peaks = gpu_peak_flops(scenario);
        let gpus =
            scenario.gpus.iter().zip(tenants(scenario)).zip(peaks).map(|((gpu, engines), peak_flops)| MeteredGpu {
                power: gpu.device.power,
                price_per_hour_usd: gpu.device.price_per_hour_usd,
                peak_flops,
                engines: f64::from(engines.max(1)),
            });
        let engines = scenario.engines.iter().map(|engine| (engine.gpus.clone(), engine.gpu_share));
        Self { gpus: gpus.collect(), engines: engines.collect() }
    }

    pub(super) fn of(&self, row: &IntervalRow) -> Metered {
        let hours = row.length.as_secs_f64() / SECONDS_PER_HOUR;
        let usd = |gpu: &MeteredGpu| gpu.price_per_hour_usd.map(|price| price * hours / gpu.engines);
        match row.subject {
            Subject::Gpu(gpu) => {
                let gpu = &self.gpus[gpu as usize];
                Metered { power_w: gpu.power_w(row.busy, row.mfu.unwrap_or(0.0)), usd: usd(gpu), ..Metered::default() }
            }
            Subject::Engine(engine) => {
                let (gpus, share) = &self.engines[engine as usize];
                let gpus = || gpus.iter().map(|&gpu| &self.gpus[gpu as usize]);
                let seconds = row.length.as_secs_f64();
                let flops_per_s = row.flops.unwrap_or(0.0) / seconds;
                let power_w =
                    gpus().map(|gpu| gpu.power_w(row.busy * share, flops_per_s / gpu.peak_flops)).sum::<Option<f64>>();
                let usd = gpus().map(usd).sum::<Option<f64>>();
                let tokens = row.output_tokens.filter(|&tokens| tokens > 0.0);
                Metered {
                    power_w,
                    usd,
                    joules_per_output_token: power_w.zip(tokens).map(|(watts, tokens)| watts * seconds / tokens),
                    usd_per_million_output_tokens: usd.zip(tokens).map(|(usd, tokens)| usd / tokens * 1e6),
                }
            }
            Subject::Link(_) | Subject::Profile(_) => Metered::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_board_draws_between_idle_and_its_limit_and_more_with_more_work(
            readings in [0.0..1000.0, 0.0..1000.0, 0.0..1000.0_f64],
            shares in [0.0..=1.0, 0.0..=1.0, 0.0..=1.0_f64],
        ) {
            let (mut readings, mut shares) = (readings, shares);
            readings.sort_by(f64::total_cmp);
            shares.sort_by(f64::total_cmp);
            let power = DevicePower { idle_w: readings[0], decode_w: readings[1], tdp_w: readings[2] };
            let [little, mfu, busy] = shares;
            let watts = board_w(power, busy, mfu);
            prop_assert!(watts >= power.idle_w - 1e-9 && watts <= power.tdp_w + 1e-9);
            prop_assert!(board_w(power, busy, little) <= watts + 1e-9);
            prop_assert!(board_w(power, mfu, little) <= board_w(power, busy, little) + 1e-9);
        }
    }
}

//! How the numbers of a run become its [`Summary`].

use oracle_components::SimTime;
use oracle_components::record::{Hold, Outcome, PrefixEvent, Reason, Status, Stop};
use oracle_components::scenario::{Routing, Scenario};
use oracle_systems::costing::gpu_peak_flops;

use super::deployment::deployments;
use super::distribution::Distribution;
use super::energy::{cost, energy, gpu_energies_j};
use super::names::Names;
use super::offered::{Completed, OfferedLoad};
use super::statistics::{GroupStatistics, PrefixStatistics, RequestStatistics};
use super::summary::{
    DrainSummary, EncoderSummary, EnergySummary, EngineSummary, GpuSummary, Latency, LatencySummary, LinkSummary,
    LoadSummary, Named, PrefixSummary, ProfileSummary, ProgramSummary, RequestSummary, SimulationSummary, SloSummary,
    Summary, ThroughputSummary,
};
use super::verdict::{BusiestLink, InFlightSummary, LoadFigures, Verdict, encoder_s, step_summary, verdict};
use super::{LoadPlan, OutputPlan, TakenDefault};
use crate::workload::Slo;

/// The word for why a simulation stopped.
pub(super) fn stop_word(stop: Stop) -> &'static str {
    match stop {
        Stop::Drained => "drained",
        Stop::Horizon => "horizon",
        Stop::Interrupted => "interrupted",
        Stop::SinkClosed => "write_error",
    }
}

/// All that a summary is made of.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) plan: &'a OutputPlan,
    pub(super) scenario: &'a Scenario,
    pub(super) names: &'a Names,
    pub(super) outcome: &'a Outcome,
    pub(super) requests: &'a RequestStatistics,
    pub(super) token_gaps: &'a Distribution,
}

impl Inputs<'_> {
    pub(super) fn summary(self, partial: bool) -> Summary {
        let end_s = self.outcome.end.as_secs_f64();
        let all = self.requests.all();
        let offered = self.requests.completions.divided(&self.plan.load, self.outcome.end);
        let links = self.links();
        let gpus = self.gpus();
        let busy = gpus.0.iter().map(|(id, gpu)| (id.clone(), gpu.busy));
        let encoder = self.encoder();
        let encodes_images = self.plan.encodes_images || encoder.is_some();
        Summary {
            program: ProgramSummary {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                seed: self.scenario.seed,
            },
            notes: self.plan.notes.clone(),
            fidelity: self.plan.fidelity.clone(),
            deployment: deployments(self.scenario, &self.names.engines),
            router: router(self.scenario.routing),
            load: LoadSummary {
                description: self.plan.load.description.clone(),
                offered_until_s: offered.until.as_secs_f64(),
                requests: offered.requests,
            },
            verdict: self.verdict(&all, &offered, &links),
            simulation: SimulationSummary {
                total_duration_s: end_s,
                warm_up_duration_s: self.plan.warm_up.as_secs_f64(),
                effective_duration_s: self.effective_s(),
                stop_reason: stop_word(self.outcome.stop),
            },
            requests: request_summary(&all, self.requests),
            throughput: self.throughput(&offered, offered.all_during()),
            slo: self.slo(&all, &self.names.slos, &offered, offered.all_during()),
            drain: self.drain(&offered),
            latency: LatencySummary {
                inter_token_latency_ms: Some(self.latency(self.token_gaps)),
                ..self.latencies(&all)
            },
            gpu_utilization: Named(busy.collect()),
            encoder,
            prefix_caching: prefix_summary(&self.requests.prefix, all.total()),
            partial,
            engines: self.engines(),
            gpus,
            links,
            energy: energy(self.scenario, self.outcome, self.plan.host)
                .map(|energy| EnergySummary { estimated: self.plan.estimated_power.clone(), ..energy }),
            cost: cost(self.scenario, self.outcome),
            per_profile: self.profiles(&offered),
            defaults: self.plan.defaults_that_act(encodes_images).cloned().collect(),
            files: Vec::new(),
        }
    }

    fn effective_s(self) -> f64 {
        self.outcome.end.since(self.plan.warm_up).as_secs_f64()
    }

    fn share_of_run(self, busy: SimTime) -> f64 {
        ratio(busy.as_secs_f64(), self.outcome.end.as_secs_f64())
    }

    /// From the end of the warm-up to that of the load.
    fn offered_s(self, offered: &OfferedLoad) -> f64 {
        offered.until.since(self.plan.warm_up).as_secs_f64()
    }

    fn throughput(self, offered: &OfferedLoad, completed: Completed) -> ThroughputSummary {
        let duration_s = self.offered_s(offered);
        let rate = |count: u64| ratio(count as f64, duration_s);
        ThroughputSummary {
            duration_s,
            requests_per_second: rate(completed.requests),
            output_tokens_per_second: rate(completed.output_tokens),
            prompt_tokens_per_second: rate(completed.prompt_tokens),
            total_tokens_per_second: rate(completed.prompt_tokens + completed.output_tokens),
        }
    }

    /// How requests of profiles with these SLOs kept to them.
    fn slo(
        self,
        group: &GroupStatistics,
        slos: &[Slo],
        offered: &OfferedLoad,
        during: Completed,
    ) -> Option<SloSummary> {
        group.slo.summary(slos, ratio(during.good as f64, self.offered_s(offered)))
    }

    fn drain(self, offered: &OfferedLoad) -> Option<DrainSummary> {
        let duration_s = self.outcome.end.since(offered.until).as_secs_f64();
        let Completed { requests, output_tokens, .. } = offered.drained;
        (duration_s > 0.0).then(|| DrainSummary {
            duration_s,
            requests,
            output_tokens,
            requests_per_second: ratio(requests as f64, duration_s),
            output_tokens_per_second: ratio(output_tokens as f64, duration_s),
        })
    }

    fn verdict(self, all: &GroupStatistics, offered: &OfferedLoad, links: &Named<LinkSummary>) -> Verdict {
        let offered_s = self.offered_s(offered);
        let mean_ms = |distribution: &Distribution| distribution.statistics(&[]).map_or(0.0, |told| told.mean_ms);
        let answer_s = (mean_ms(&all.latencies.e2e) - mean_ms(&all.latencies.queue)) / 1e3;
        let busiest = links.0.iter().max_by(|(_, one), (_, other)| one.busy.total_cmp(&other.busy));
        let busiest = busiest.map(|(name, link)| BusiestLink { name: name.clone(), busy: link.busy });
        let load_share = ratio(self.outcome.end.as_secs_f64(), offered.until.as_secs_f64());
        let load = LoadFigures {
            requests: offered.requests,
            link_busy: busiest.as_ref().map_or(0.0, |link| (link.busy * load_share).min(1.0)),
            at_once: offered.at_once,
            offered_per_s: ratio(offered.requests as f64, offered_s),
            completed_per_s: ratio(offered.all_during().requests as f64, offered_s),
            gave_up: ratio(offered.gave_up as f64, offered.requests as f64),
            refused: ratio(offered.refused as f64, offered.requests as f64),
            answer_share: ratio(answer_s, offered.until.as_secs_f64()),
            offered_s: offered.until.as_secs_f64(),
        };
        let backlog = self.requests.backlog.trend(self.plan.warm_up, offered.until);
        let mean_in_flight = self.requests.backlog.mean(self.plan.warm_up, offered.until);
        let LoadPlan { places, held_back, .. } = &self.plan.load;
        let in_flight = places.map(|places| InFlightSummary::new(places, held_back.totals(), mean_in_flight));
        verdict(self.scenario, self.outcome, load, in_flight, backlog, busiest)
    }

    fn latencies(self, group: &GroupStatistics) -> LatencySummary {
        LatencySummary {
            time_to_first_token_ms: self.latency(&group.latencies.ttft),
            time_per_output_token_ms: self.latency(&group.latencies.tpot),
            end_to_end_latency_ms: self.latency(&group.latencies.e2e),
            inter_token_latency_ms: None,
            queue_time_ms: self.latency(&group.latencies.queue),
        }
    }

    fn latency(self, distribution: &Distribution) -> Latency {
        Latency { statistics: distribution.statistics(&self.plan.quantiles), quantiles: self.plan.quantiles.clone() }
    }

    fn encoder(self) -> Option<EncoderSummary> {
        let engines = || self.scenario.engines.iter().zip(&self.outcome.engines);
        let tokens = engines().map(|(_, totals)| totals.encoder_tokens).sum();
        let busy_s = engines().map(|(engine, totals)| encoder_s(engine, totals)).sum();
        let all_s: f64 = engines().map(|(_, totals)| totals.busy.as_secs_f64()).sum();
        let guesses = self.plan.defaults.iter().filter(|taken| taken.is_of_encoder());
        let guess =
            |taken: &TakenDefault| format!("{}: {} {}: {}", taken.framework, taken.key, taken.value, taken.reason);
        (tokens > 0).then(|| EncoderSummary {
            tokens,
            busy_s,
            share_of_busy: ratio(busy_s, all_s),
            guesses: guesses.map(guess).collect(),
        })
    }

    fn engines(self) -> Named<EngineSummary> {
        let engines = self.scenario.engines.iter().zip(&self.outcome.engines);
        let end_s = self.outcome.end.as_secs_f64();
        let summaries = engines.map(|(engine, totals)| EngineSummary {
            steps: totals.steps,
            busy: self.share_of_run(totals.busy),
            prefill: step_summary(self.scenario, engine, &totals.prefill, end_s),
            decode: step_summary(self.scenario, engine, &totals.decode, end_s),
            held_by_seats: self.share_of_run(totals.held[Hold::Seats as usize]),
            held_by_token_budget: self.share_of_run(totals.held[Hold::TokenBudget as usize]),
            held_by_kv_cache: self.share_of_run(totals.held[Hold::KvCache as usize]),
            prefill_tokens: totals.prefill_tokens,
            output_tokens: totals.output_tokens,
            preemptions: totals.preemptions,
            kv_blocks_total: engine.kv_blocks,
            kv_blocks_peak: totals.blocks_peak,
            kv_use_peak: ratio(totals.blocks_peak as f64, engine.kv_blocks as f64),
            kv_blocks_evicted: totals.blocks_evicted,
            running_peak: totals.running_peak,
            waiting_peak: totals.waiting_peak,
        });
        named(&self.names.engines, summaries)
    }

    fn gpus(self) -> Named<GpuSummary> {
        let end_s = self.outcome.end.as_secs_f64();
        let gpus = self.scenario.gpus.iter().zip(&self.outcome.gpus);
        let gpus = gpus.zip(gpu_energies_j(self.scenario, self.outcome));
        let summaries =
            gpus.zip(gpu_peak_flops(self.scenario)).map(|(((gpu, totals), energy_j), peak_flops)| GpuSummary {
                busy: self.share_of_run(totals.busy),
                mfu: ratio(totals.flops, peak_flops * end_s),
                mbu: ratio(totals.bytes, gpu.device.memory_bytes_per_s * end_s),
                flops: totals.flops,
                bytes: totals.bytes,
                energy_j,
                mean_power_w: energy_j.map(|energy_j| ratio(energy_j, end_s)),
            });
        named(&self.names.gpus, summaries)
    }

    fn links(self) -> Named<LinkSummary> {
        let summaries = self.outcome.links.iter().map(|totals| LinkSummary {
            busy: self.share_of_run(totals.busy),
            bytes: totals.bytes,
            transfers: totals.transfers,
        });
        named(&self.names.links, summaries)
    }

    fn profiles(self, offered: &OfferedLoad) -> Named<ProfileSummary> {
        let groups = self.requests.profiles.iter().zip(&offered.during).zip(&self.names.slos);
        let summaries = groups.map(|((group, &during), &slo)| ProfileSummary {
            total: group.total(),
            successful: group.ended(Status::Success),
            throughput: self.throughput(offered, during),
            latency: self.latencies(group),
            slo: self.slo(group, &[slo], offered, during),
        });
        named(&self.names.profiles, summaries)
    }
}

/// A router's name in configurations.
fn router(routing: Routing) -> &'static str {
    let named = Routing::NAMED.iter().find(|(_, other)| *other == routing);
    named.expect("every policy has a name").0
}

fn named<T>(names: &[String], values: impl Iterator<Item = T>) -> Named<T> {
    Named(names.iter().cloned().zip(values).collect())
}

/// 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn request_summary(all: &GroupStatistics, requests: &RequestStatistics) -> RequestSummary {
    let by_reason = Reason::ALL.iter().zip(requests.by_reason);
    let occurred = by_reason.filter(|&(_, count)| count > 0);
    RequestSummary {
        total: all.total(),
        successful: all.ended(Status::Success),
        failed: all.ended(Status::Failed),
        success_rate: ratio(all.ended(Status::Success) as f64, all.total() as f64),
        timeout: all.ended(Status::Timeout),
        incomplete: all.ended(Status::Incomplete),
        by_reason: Named(occurred.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect()),
    }
}

fn prefix_summary(prefix: &PrefixStatistics, requests: u64) -> Option<PrefixSummary> {
    // The predecessor's order.
    const EVENTS: [PrefixEvent; 5] = [
        PrefixEvent::ConversationalHit,
        PrefixEvent::CrossRequestHit,
        PrefixEvent::Miss,
        PrefixEvent::FullHit,
        PrefixEvent::ConversationalMiss,
    ];
    let count = |event: PrefixEvent| prefix.events[event as usize];
    let conversational_hits = count(PrefixEvent::ConversationalHit);
    let cross_request_hits = count(PrefixEvent::CrossRequestHit);
    let hits = (conversational_hits + cross_request_hits + count(PrefixEvent::FullHit)) as f64;
    let looked_up = (prefix.follow_ups + prefix.first_turns) as f64;
    let events = EVENTS.map(|event| (event.as_str().to_owned(), count(event)));
    (requests > 0).then(|| PrefixSummary {
        overall_hit_rate: ratio(hits, looked_up),
        conversational_hit_rate: ratio(prefix.follow_up_hits as f64, prefix.follow_ups as f64),
        cross_request_hit_rate: ratio(prefix.first_turn_hits as f64, prefix.first_turns as f64),
        event_counts: Named(events.into()),
        average_cached_prefix_length: ratio(prefix.cached_tokens as f64, hits),
        average_tokens_prefilled: ratio(prefix.prefilled_tokens as f64, requests as f64),
        prefill_reduction_ratio: ratio(prefix.cached_tokens as f64, prefix.prompt_tokens as f64),
        total_tokens_saved: prefix.cached_tokens,
        cross_request_hits,
        conversational_hits,
    })
}

//! How fast is a simulated request? Engine alone (a sink that only counts), by what is simulated; and with files written.
//!
//! `cargo bench --bench engine`. Figures are per run of 20,000 requests; criterion prints requests a second.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llmperforacle::config::{Overrides, Resolved, load_text};
use llmperforacle::output::{Overwrite, RunWriter};
use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, RequestRecord};
use oracle_systems::Simulation;
use oracle_systems::costing::{StepCost, StepShape};
use oracle_systems::ports::{RecordSink, SinkClosed};

/// Requests a run.
const REQUESTS: u64 = 20_000;

/// Counts and forgets.
#[derive(Default)]
struct Counter(u64);

impl RecordSink for Counter {
    fn request(&mut self, _: &RequestRecord) -> Result<(), SinkClosed> {
        self.0 += 1;
        Ok(())
    }
    fn token_gap(&mut self, _: SimTime, _: SimTime, _: u64) {}
    fn interval(&mut self, _: &IntervalRow) -> Result<(), SinkClosed> {
        Ok(())
    }
}

/// The million-request scenario with fewer requests, and `set` on top.
fn scenario(set: &[&str]) -> Resolved {
    let text = include_bytes!("../configs/scenarios/million.yaml");
    let total = format!("workload.total_requests_to_generate={REQUESTS}");
    let set = set.iter().map(|&text| text.to_owned()).chain([total]).collect();
    let overrides = Overrides { set, ..Overrides::default() };
    load_text(text, "million.yaml", &overrides).unwrap_or_else(|found| panic!("{found:?}"))
}

fn simulate(resolved: &Resolved) -> u64 {
    let (source, _) = resolved.workload.open().expect("the scenario's workload is valid");
    let mut simulation = Simulation::new(resolved.scenario.clone(), source, Counter::default());
    simulation.run(|_| ControlFlow::Continue(()));
    simulation.into_sink().0
}

fn simulate_and_write(resolved: &Resolved, folder: &Path) {
    let mut plan = resolved.output.clone();
    plan.directory = folder.to_owned();
    plan.summary_json = Some(folder.join("summary.json"));
    plan.manifest_json = Some(folder.join("manifest.json"));
    plan.overwrite = Overwrite::Anything;
    plan.requests_parquet = Some(folder.join("requests.parquet"));
    plan.timeseries_parquet = Some(folder.join("timeseries.parquet"));
    let (source, _) = resolved.workload.open().expect("the scenario's workload is valid");
    let writer = RunWriter::create(&plan, &resolved.scenario, &resolved.profile_names).expect("the folder is ours");
    let mut simulation = Simulation::new(resolved.scenario.clone(), source, writer);
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    simulation.into_sink().finish(&outcome, false, serde_json::json!({})).expect("the folder is ours");
}

fn requests_a_second(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("requests");
    group.sample_size(10).throughput(Throughput::Elements(REQUESTS));
    let rate = "workload.client_profiles[0].inter_arrival_time_dist_config.rate";
    let replicas = "frameworks_to_test[0].replicas=64";
    let cases: [(&str, Vec<String>); 4] = [
        ("one replica", Vec::new()),
        ("64 replicas", vec![replicas.to_owned(), format!("{rate}=1000")]),
        (
            "64 replicas, least loaded, conversations",
            vec![
                replicas.to_owned(),
                format!("{rate}=200"),
                "workload.load_balancing_strategy=least_loaded".to_owned(),
                "workload.client_profiles[0].conversational_probability=0.9".to_owned(),
            ],
        ),
        ("overload with timeouts", vec![format!("{rate}=80"), "workload.client_profiles[0].timeout_s=30".to_owned()]),
    ];
    for (name, set) in cases {
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let resolved = scenario(&set);
        group.bench_function(name, |bencher| bencher.iter(|| simulate(&resolved)));
    }
    let resolved = scenario(&[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    group.bench_function("one replica, files written", |bencher| {
        bencher.iter(|| simulate_and_write(&resolved, folder.path()));
    });
    group.finish();
}

/// What pricing a batch costs: a chunk of a prompt beside decodes, by curves and at constant efficiency.
fn prices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("price of a step with prompts");
    let constants = ["frameworks_to_test[0].config.mfu=0.5"];
    for (name, set) in [("constants", &constants[..]), ("curves", &[])] {
        let resolved = scenario(set);
        let cost = StepCost::new(&resolved.scenario.engines[0], &resolved.scenario);
        let mut chunk = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                chunk = chunk % 2_000 + 17;
                let tokens = u64::from(chunk);
                let shape = StepShape {
                    decode_sequences: 100,
                    prefill_tokens: chunk,
                    prefill_sequences: 1,
                    prefill_pairs: tokens * (tokens + 1) / 2,
                    prefill_context_tokens: tokens,
                    prefill_longest_context: chunk,
                    encoder_tokens: 0,
                    sampled_rows: 101,
                };
                cost.prepare(black_box(&shape)).duration(60_000)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, prices, requests_a_second);
criterion_main!(benches);

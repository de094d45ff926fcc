//! What holds of every run, over random configurations of all that a configuration can say; and that a run of which it does
//! not hold is found out.

use oracle_components::SimTime;
use oracle_components::record::{Outcome, RequestRecord};
use oracle_systems::invariants::violations;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::{link, run_in};

/// One of these texts. (A string alone is a regular expression.)
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(texts)
}

/// A random deployment and the load on it, as text.
fn configuration() -> impl Strategy<Value = String> {
    let simulation = (0..1000_u32, one_of(&["drain: true", "max_simulation_time: 3", "max_simulation_time: 20"]));
    let workload = (
        one_of(&["round_robin", "random", "least_loaded", "session_affinity"]),
        one_of(&["", "request_timeout_s: 0.5", "request_timeout_s: 4"]),
        1..60_u32,
        (1..1500_u32, 1..150_u32),
        (0..=10_u32, 0..=10_u32),
        any::<bool>(),
    );
    let engine = (
        1..=3_u32,
        prop_oneof![Just((1, 1)), Just((2, 1)), Just((1, 2)), Just((2, 2))],
        1..40_u32,
        (any::<bool>(), any::<bool>(), one_of(&["fcfs", "priority"])),
        prop_oneof![Just(None), (20..150_u32).prop_map(Some)],
        prop_oneof![Just(2048_u32), 16..600_u32],
    );
    let network = (prop_oneof![Just(1e6), Just(1e8), Just(1e11)], any::<bool>());
    (simulation, workload, engine, network).prop_map(|(simulation, workload, engine, network)| {
        let ((seed, end), (routing, timeout, rate, (prompt, output), (talks, streams), shares)) = (simulation, workload);
        let (replicas, (tensor, pipeline), seqs, (chunked, caching, policy), blocks, tokens) = engine;
        let (bits_per_s, high) = network;
        let ids: Vec<String> = (0..tensor * pipeline).map(|gpu| format!("gpu{gpu}")).collect();
        let pairs = ids.iter().flat_map(|from| ids.iter().map(move |to| (from, to))).filter(|(from, to)| from != to);
        let client = [link("client_node_0", "framework_entry_0", bits_per_s, 1e-3), link("framework_entry_0", "client_node_0", bits_per_s, 1e-3)];
        let links: Vec<String> = pairs.map(|(from, to)| link(from, to, 1e11, 1e-6)).chain(client).collect();
        let blocks = blocks.map_or_else(String::new, |blocks| format!("num_gpu_blocks_override: {blocks}"));
        let patterns = if shares {
            "generate_prompt_tokens: true\n  prefix_patterns: {patterns: [{type: system, name: a, tokens: 300}, {type: system, name: b, tokens: 90}]}"
        } else {
            ""
        };
        let (talks, streams) = (f64::from(talks) / 10.0, f64::from(streams) / 10.0);
        let lod = if high { "high" } else { "medium" };
        format!(
            "simulation: {{{end}, random_seed: {seed}, lod: {lod}}}
hardware_profile:
  compute_devices: [{{device_id: gpu, device: L40S, count: {gpus}}}]
  network_links:
    - {links}
workload:
  total_requests_to_generate: 150
  load_balancing_strategy: {routing}
  {timeout}
  {patterns}
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {{type: Exponential, rate: {rate}}}
      prompt_tokens_dist_config: {{type: Uniform, low: 1, high: {prompt}}}
      max_output_tokens_dist_config: {{type: Uniform, low: 1, high: {output}}}
      conversational_probability: {talks}
      user_priority_dist_config: {{type: Uniform, low: 0, high: 3}}
      streaming_response_probability: {streams}
frameworks_to_test:
  - name: vllm
    type: ParallelVLLM
    replicas: {replicas}
    config:
      model_profile_id: Llama3.2-1B
      max_num_seqs: {seqs}
      max_num_batched_tokens: {tokens}
      enable_chunked_prefill: {chunked}
      enable_prefix_caching: {caching}
      scheduling_policy: {policy}
      {blocks}
      parallelism: {{strategy: TP_PP, tp_degree: {tensor}, pp_stages: {pipeline}, gpu_ids: [{ids}]}}
",
            gpus = tensor * pipeline,
            links = links.join("\n    - "),
            ids = ids.join(", "),
        )
    })
}

/// Runs a configuration; [`run_in`] looks for violations of what holds of every run.
fn run(yaml: &str) -> crate::Run {
    run_in(tempfile::tempdir().expect("a folder for the run"), yaml)
}

#[test]
fn every_run_keeps_its_requests_blocks_and_time() {
    let config = Config { cases: 150, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() };
    let mut reached = [0_u64; 4];
    let mut preemptions = 0;
    let cell = std::cell::RefCell::new((&mut reached, &mut preemptions));
    let outcome = TestRunner::new(config).run(&configuration(), |yaml| {
        let run = run(&yaml);
        prop_assert_eq!(run.records.len() as u64, run.outcome.arrived);
        for record in &run.records {
            let RequestRecord { arrival, delivered, scheduled, first_token, last_token, completion, .. } = *record;
            let times = [Some(arrival), delivered, scheduled, first_token, last_token, Some(completion)];
            prop_assert!(times.iter().flatten().is_sorted(), "{:?}", record);
        }
        let (reached, preemptions) = &mut *cell.borrow_mut();
        for (sum, count) in reached.iter_mut().zip(run.outcome.ended) {
            *sum += u64::from(count > 0);
        }
        **preemptions += run.outcome.engines.iter().map(|engine| engine.preemptions).sum::<u64>();
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        reached.iter().all(|&runs| runs >= 5) && preemptions > 100,
        "{reached:?} {preemptions}: too little happened"
    );
}

#[test]
fn what_does_not_hold_is_found() {
    let folder = tempfile::tempdir().expect("a folder for the run");
    let yaml = crate::Setup { requests: 20, ..crate::Setup::default() }.yaml();
    let file = folder.path().join("scenario.yaml");
    std::fs::write(&file, &yaml).expect("it can be written");
    let resolved = llmperforacle::config::load(&file, &llmperforacle::config::Overrides::default());
    let scenario = resolved.unwrap_or_else(|found| panic!("{found:?}")).scenario;
    let sound = run(&yaml).outcome;
    let later = SimTime(2 * sound.end.0);
    type Defect = fn(&mut Outcome, SimTime);
    let defects: [(&str, Defect); 9] = [
        ("arrived", |outcome, _| outcome.arrived += 1),
        ("taken back", |outcome, _| outcome.engines[0].blocks_freed -= 1),
        ("busy", |outcome, later| {
            let engine = &mut outcome.engines[0];
            (engine.busy, engine.decode.busy) = (later, later - engine.prefill.busy);
        }),
        ("running at once", |outcome, _| outcome.engines[0].running_peak = 1 << 40),
        ("prompt tokens", |outcome, _| outcome.engines[0].prefill_tokens = 1 << 60),
        ("busy", |outcome, later| outcome.gpus[0].busy = later),
        ("FLOPs", |outcome, _| outcome.gpus[0].flops = 1e30),
        ("bytes", |outcome, _| outcome.gpus[0].bytes = 1e30),
        ("without totals", |outcome, _| outcome.gpus.clear()),
    ];
    for (word, make) in defects {
        let mut outcome = sound.clone();
        make(&mut outcome, later);
        let found = violations(&scenario, &outcome);
        assert!(found.len() == 1 && found[0].contains(word), "{word}: {found:?}");
    }
}

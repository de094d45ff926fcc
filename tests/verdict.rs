//! Whether a deployment keeps up, held to queues whose load is known: an engine of one seat, or of many, that is offered
//! a share of what it can do.

use std::fs;
use std::ops::ControlFlow;

use llmperforacle::config::{Overrides, load};
use llmperforacle::output::{Ground, Limit, RunWriter, Summary, Verdict};
use oracle_systems::Simulation;

/// An engine of `seats` and its load: `gaps` in seconds between `requests` of 512 tokens, answers of `answer`.
struct Queue {
    seats: u32,
    gaps: String,
    requests: u64,
    answer: &'static str,
    timeout: &'static str,
    pool: &'static str,
}

const FIXED: &str = "{type: Constant, value: 8}";

impl Queue {
    fn of_one_seat(gaps: String, requests: u64) -> Self {
        Self { seats: 1, gaps, requests, answer: FIXED, timeout: "", pool: "" }
    }

    fn run(&self, seed: u64) -> Summary {
        let Self { seats, gaps, requests, answer, timeout, pool } = self;
        let yaml = format!(
            "simulation: {{drain: true, random_seed: {seed}}}
hardware_profile: {{compute_devices: [{{device_id: gpu, device: H100, count: 1}}]}}
workload:
  total_requests_to_generate: {requests}
{timeout}
  client_profiles:
    - profile_name: all
      inter_arrival_time_dist_config: {gaps}
      prompt_tokens_dist_config: {{type: Constant, value: 512}}
      max_output_tokens_dist_config: {answer}
frameworks_to_test:
  - {{name: vllm, type: VLLM, config: {{model_profile_id: Llama3-8B, gpu_id: gpu0, max_num_seqs: {seats}{pool}}}}}
"
        );
        simulated(&yaml)
    }

    /// The same of a load for all profiles, in place of the gaps.
    fn under(&self, load: &str) -> Summary {
        let Self { seats, requests, answer, timeout, pool, .. } = self;
        simulated(&format!(
            "simulation: {{drain: true}}
hardware_profile: {{compute_devices: [{{device_id: gpu, device: H100, count: 1}}]}}
workload:
  total_requests_to_generate: {requests}
  load: {load}
{timeout}
  client_profiles:
    - profile_name: all
      prompt_tokens_dist_config: {{type: Constant, value: 512}}
      max_output_tokens_dist_config: {answer}
frameworks_to_test:
  - {{name: vllm, type: VLLM, config: {{model_profile_id: Llama3-8B, gpu_id: gpu0, max_num_seqs: {seats}{pool}}}}}
"
        ))
    }
}

fn simulated(yaml: &str) -> Summary {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("queue.yaml");
    fs::write(&file, yaml).expect("it can be written");
    let overrides = Overrides { output_directory: Some(folder.path().join("out")), ..Overrides::default() };
    let mut resolved = load(&file, &overrides).unwrap_or_else(|found| panic!("{found:?}"));
    (resolved.output.requests_csv, resolved.output.timeseries_parquet) = (None, None);
    let (source, facts) = resolved.workload.open().expect("the workload opens");
    resolved.output.load.held_back = facts.held_back;
    let writer = RunWriter::create(&resolved.output, &resolved.scenario, &resolved.profile_names);
    let writer = writer.expect("the files can be made");
    let mut simulation = Simulation::new(resolved.scenario.clone(), source, writer);
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    simulation.into_sink().finish(&outcome, false, resolved.canonical).expect("the files are whole")
}

/// Requests a second that an engine answers when it is never without.
fn capacity(seats: u32, answer: &'static str) -> f64 {
    let all_at_once =
        Queue { seats, answer, ..Queue::of_one_seat("{type: Constant, value: 0.000001}".to_owned(), 4_000) };
    let summary = all_at_once.run(1);
    4_000.0 / summary.simulation.total_duration_s
}

/// The verdicts on `seeds` runs: how many keep up, do not, and cannot be told.
fn verdicts(queue: &Queue, seeds: u64) -> [usize; 3] {
    let mut counts = [0; 3];
    for seed in 0..seeds {
        let verdict = queue.run(seed).verdict;
        counts[match verdict.keeps_up {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        }] += 1;
    }
    counts
}

fn poisson(rate: f64) -> String {
    format!("{{type: Exponential, rate: {rate}}}")
}

#[test]
fn an_engine_of_one_seat_is_told_by_its_load() {
    let capacity = capacity(1, FIXED);
    let at = |share: f64, requests: u64| verdicts(&Queue::of_one_seat(poisson(share * capacity), requests), 12);
    assert_eq!(at(0.5, 2_000), [12, 0, 0]);
    assert_eq!(at(0.8, 20_000), [12, 0, 0]);
    assert_eq!(at(1.5, 2_000), [0, 12, 0]);
    // So near to the capacity a run says nothing rather than something wrong, and more of it says more.
    let [_, wrong, _] = at(0.95, 2_000);
    assert_eq!(wrong, 0);
    let [right, wrong, _] = at(0.95, 20_000);
    assert!(right >= 9 && wrong == 0, "{right} right, {wrong} wrong");
    let [wrong, right, _] = at(1.05, 20_000);
    assert!(right >= 10 && wrong == 0, "{right} right, {wrong} wrong");
}

#[test]
fn an_engine_of_many_seats_is_told_by_its_load() {
    const MIXED: &str = "{type: Uniform, low: 20, high: 200}";
    let capacity = capacity(32, MIXED);
    let at = |share: f64| {
        let queue = Queue { seats: 32, answer: MIXED, ..Queue::of_one_seat(poisson(share * capacity), 6_000) };
        verdicts(&queue, 6)
    };
    assert_eq!(at(0.5), [6, 0, 0]);
    assert_eq!(at(0.8), [6, 0, 0]);
    assert_eq!(at(1.5), [0, 6, 0]);
}

#[test]
fn bursts_are_no_growth() {
    let capacity = capacity(1, FIXED);
    // Nineteen of twenty come with the one before, so that bursts are as long as they are random.
    let gap_s = 20.0 / (0.7 * capacity);
    let bursts = format!(
        "{{type: Mixture, weights: [19, 1], components: [{{type: Constant, value: 0}}, {{type: Exponential, rate: {}}}]}}",
        1.0 / gap_s
    );
    let [_, wrong, _] = verdicts(&Queue::of_one_seat(bursts, 20_000), 12);
    assert_eq!(wrong, 0);
}

#[test]
fn what_limits_is_told_with_the_evidence() {
    let capacity = capacity(1, FIXED);
    let seats = Queue::of_one_seat(poisson(1.5 * capacity), 2_000).run(1);
    assert_eq!((seats.verdict.ground, seats.verdict.limited_by), (Ground::BacklogGrows, Limit::Seats));
    let time = seats.verdict.engine_time;
    assert!(time.seats > 0.95, "{time:?}");
    let parts = [
        time.idle + time.free + time.seats + time.token_budget + time.kv_cache,
        time.idle + time.compute + time.memory_bandwidth + time.host + time.latency,
    ];
    assert!(parts.iter().all(|sum| (sum - 1.0).abs() < 1e-9), "{parts:?}");
    assert_eq!(Queue::of_one_seat(poisson(0.3 * capacity), 2_000).run(1).verdict.limited_by, Limit::ArrivalRate);
    // 64 blocks of 16 tokens hold one prompt of 512 and its answer.
    let blocks = Queue {
        seats: 64,
        pool: ", num_gpu_blocks_override: 65, max_model_len: 1024",
        ..Queue::of_one_seat(poisson(1.5 * capacity), 2_000)
    };
    assert_eq!(blocks.run(1).verdict.limited_by, Limit::KvCache);
    let budget =
        Queue { seats: 64, pool: ", max_num_batched_tokens: 64", ..Queue::of_one_seat(poisson(capacity), 2_000) };
    assert_eq!(budget.run(1).verdict.limited_by, Limit::TokenBudget);
}

/// Five requests of 1,000 bytes a second for 100 s, over a link of so many bytes a second.
fn behind_a_link(bytes_per_s: f64, warm_up_s: f64) -> Summary {
    simulated(&format!(
        "simulation: {{max_simulation_time: 200, random_seed: 1}}
hardware_profile:
  compute_devices: [{{device_id: gpu0, device: H100-SXM-80GB}}]
  network_links: [{{link_id: c, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: {}, latency_s: 0.0001}}]
workload:
  total_duration: 100
  client_profiles:
    - profile_name: a
      inter_arrival_time_dist_config: {{type: Exponential, rate: 5}}
      prompt_tokens_dist_config: {{type: Constant, value: 500}}
      max_output_tokens_dist_config: {{type: Constant, value: 100}}
frameworks_to_test: [{{name: vllm, type: VLLM, config: {{model_profile_id: Llama3.1-8B, gpu_id: gpu0}}}}]
metrics_config: {{warm_up_duration_s: {warm_up_s}}}
",
        8.0 * bytes_per_s
    ))
}

/// No queue of an engine shows that a link is the bottleneck, and requests that wait for it are no long answers.
#[test]
fn a_deployment_behind_a_link_that_is_always_busy_does_not_pass() {
    let verdict = |bytes_per_s: f64| behind_a_link(bytes_per_s, 0.0).verdict;
    for bytes_per_s in [1_000.0, 3_750.0] {
        let Verdict { keeps_up, ground, limited_by, .. } = verdict(bytes_per_s);
        assert_eq!((keeps_up, ground, limited_by), (Some(false), Ground::BacklogGrows, Limit::Links), "{bytes_per_s}");
    }
    assert_ne!(
        verdict(5_000.0).keeps_up,
        Some(true),
        "it carries less than comes, too little less to show in this time"
    );
    assert_eq!((verdict(1e6).keeps_up, verdict(1e6).limited_by), (Some(true), Limit::ArrivalRate));
}

/// A warm-up that leaves no request tells nothing, and makes no load that came at once.
#[test]
fn of_no_request_there_is_no_verdict() {
    let verdict = behind_a_link(1e6, 150.0).verdict;
    assert_eq!((verdict.keeps_up, verdict.ground, verdict.all_at_once), (None, Ground::NothingOffered, false));
}

#[test]
fn who_gives_up_was_not_served() {
    let capacity = capacity(1, FIXED);
    let timeout = "  request_timeout_s: 1";
    let queue = Queue { timeout, ..Queue::of_one_seat(poisson(1.5 * capacity), 4_000) };
    let verdict = queue.run(1).verdict;
    assert_eq!((verdict.keeps_up, verdict.ground), (Some(false), Ground::ClientsGaveUp));
    assert!(verdict.gave_up > 0.1);
}

#[test]
fn who_is_too_long_for_the_engine_was_not_served() {
    let capacity = capacity(1, FIXED);
    let pool = ", max_model_len: 100";
    let verdict = Queue { pool, ..Queue::of_one_seat(poisson(0.5 * capacity), 1_000) }.run(1).verdict;
    assert_eq!((verdict.keeps_up, verdict.ground, verdict.refused), (Some(false), Ground::Refused, 1.0));
    assert_eq!(verdict.limited_by, Limit::Refusals, "more GPUs would not help");
}

#[test]
fn a_server_that_turns_requests_away_does_not_keep_up() {
    let capacity = capacity(1, FIXED);
    let pool = ", max_num_queued_reqs: 4";
    let verdict = Queue { pool, ..Queue::of_one_seat(poisson(2.0 * capacity), 4_000) }.run(1).verdict;
    assert_eq!((verdict.keeps_up, verdict.ground), (Some(false), Ground::Refused));
    assert!((verdict.refused - 0.5).abs() < 0.05, "{}", verdict.refused);
}

#[test]
fn a_load_that_comes_at_once_has_no_rate() {
    let verdict = |gaps: &str| Queue::of_one_seat(gaps.to_owned(), 400).run(1).verdict;
    assert!(verdict("{type: Constant, value: 0.000001}").all_at_once);
    assert!(!verdict("{type: Constant, value: 0.1}").all_at_once);
}

#[test]
fn throughput_is_that_of_the_load_and_the_drain_is_told_apart() {
    let capacity = capacity(1, FIXED);
    let summary = Queue::of_one_seat(poisson(2.0 * capacity), 4_000).run(1);
    let drain = summary.drain.as_ref().expect("half of the requests were left");
    let told = &summary.throughput;
    assert!((told.requests_per_second / capacity - 1.0).abs() < 0.02, "{told:?} of {capacity}");
    assert!((summary.verdict.offered_requests_per_s / capacity - 2.0).abs() < 0.1);
    let during = told.requests_per_second * told.duration_s;
    assert!((during + drain.requests as f64 - 4_000.0).abs() < 1e-6);
    assert!((told.duration_s + drain.duration_s - summary.simulation.total_duration_s).abs() < 1e-9);
    assert!(drain.requests > 1_800);
}

#[test]
fn whether_a_closed_loop_keeps_up_has_no_meaning() {
    let queue = |seats| Queue { seats, ..Queue::of_one_seat(String::new(), 2_000) };
    // More seats than clients: nothing waits for anything but an answer.
    let told = queue(64).under("{concurrency: 16}");
    let verdict = &told.verdict;
    assert_eq!((verdict.keeps_up, verdict.ground), (None, Ground::ClosedLoop));
    assert_eq!((verdict.limited_by, verdict.backlog), (Limit::Clients, None));
    assert_eq!(verdict.engine_time.seats, 0.0);
    let in_flight = verdict.in_flight.expect("there is a limit");
    assert_eq!((in_flight.most_sessions, in_flight.held_back), (16, None));
    assert!((in_flight.mean_requests / 16.0 - 1.0).abs() < 0.02, "{in_flight:?}");
    assert!(told.load.description.starts_with("closed loop of 16 clients, "), "{}", told.load.description);
    let table = told.table();
    assert!(table.contains("Load        closed loop of 16 clients, profile all, 2000 requests until"), "{table}");
    assert!(table.contains("Verdict     closed loop: ") && !table.contains("keeps up"), "{table}");
    // Fewer seats than clients.
    let seats = queue(4).under("{concurrency: 16}").verdict;
    assert_eq!((seats.keeps_up, seats.limited_by), (None, Limit::Seats));
    // At once with a limit is the same loop, and users are one with pauses.
    assert_eq!(queue(64).under("{process: at_once, max_in_flight: 16}").verdict, told.verdict);
    let users = queue(64).under("{users: 16, think_time: 1.5}");
    assert_eq!(users.verdict.ground, Ground::ClosedLoop);
    assert!(users.load.description.starts_with("closed loop of 16 users, pauses of 1.5 s on average, "));
    // By Little's law a pause of 1.5 s beside an answer of less leaves fewer than half of them waiting for one.
    assert!(users.verdict.in_flight.expect("there is a limit").mean_requests < 8.0);
}

/// A loop of refusals goes round as fast as the way to the engine lets it.
#[test]
fn a_closed_loop_that_is_refused_is_limited_by_that() {
    let queue = Queue { pool: ", max_model_len: 256", ..Queue::of_one_seat(String::new(), 2_000) };
    let verdict = queue.under("{users: 4, think_time: 0.1}").verdict;
    assert_eq!((verdict.keeps_up, verdict.ground, verdict.refused), (Some(false), Ground::Refused, 1.0));
    assert_eq!(verdict.limited_by, Limit::Refusals);
}

/// With one request in flight, the queue is the client's.
#[test]
fn what_the_client_holds_back_is_told() {
    let capacity = capacity(1, FIXED);
    let under = |share: f64, more: &str| {
        Queue::of_one_seat(String::new(), 2_000).under(&format!("{{rate: {}{more}}}", share * capacity))
    };
    let told = under(1.5, ", max_in_flight: 1");
    let verdict = &told.verdict;
    assert_eq!((verdict.keeps_up, verdict.ground), (None, Ground::ClientHeldBack));
    let held = verdict.in_flight.and_then(|in_flight| in_flight.held_back).expect("it is an open loop");
    let free = under(1.5, "");
    // The last request is due when it arrives without a limit, and waited for longest; they wait ever longer.
    let last_s = told.load.offered_until_s - free.load.offered_until_s;
    assert!(held.share > 0.99, "{held:?}");
    assert!((held.longest_s / last_s - 1.0).abs() < 0.02, "{held:?}, the last for {last_s} s");
    assert!((held.mean_s / (held.longest_s / 2.0) - 1.0).abs() < 0.1, "{held:?}");
    let table = told.table();
    assert!(
        table.contains("at most 1 in flight") && table.contains("Verdict     held back by the client: "),
        "{table}"
    );
    // A limit that does not bind leaves the verdict as it is.
    let seldom = under(0.5, ", max_in_flight: 1000").verdict;
    let held = seldom.in_flight.and_then(|in_flight| in_flight.held_back).expect("it is an open loop");
    assert_eq!((seldom.keeps_up, held.share), (Some(true), 0.0));
    assert_eq!(seldom.limited_by, Limit::ArrivalRate);
}

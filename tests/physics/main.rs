//! The program's predictions against hand computation: configurations as text, the way of a run (load, simulate, write),
//! and the arithmetic beside each figure that is expected.
//!
//! - `steps`: one step at a time: decode, prefill, parallelism, network, memory;
//! - `queues`: what queueing theory says of many requests;
//! - `invariants`: what holds of every run, over random configurations;
//! - `bounds`: what no prediction may break, over random configurations;
//! - `laws`: two runs that must agree, or be in order;
//! - `servers`: what crosses the links of servers of a known kind.

mod bounds;
mod invariants;
mod laws;
mod queues;
mod servers;
mod steps;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use llmperforacle::config::{Overrides, load};
use llmperforacle::output::{RunWriter, Summary};
use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, Outcome, RequestRecord};
use oracle_components::scenario::EngineSpec;
use oracle_systems::Simulation;
use oracle_systems::invariants::violations;
use oracle_systems::ports::{RecordSink, SinkClosed};
use tempfile::TempDir;

/// What a test changes of a deployment of one engine under one profile.
#[derive(Clone, Debug)]
struct Setup {
    seed: u64,
    lod: &'static str,
    model: &'static str,
    /// Dense 16-bit peak; with 8-bit floats it is twice that.
    tflops: f64,
    /// Memory bandwidth.
    gb_per_s: f64,
    memory_bytes: u64,
    mfu: f64,
    mbu: f64,
    tensor: u32,
    pipeline: u32,
    microbatches: Option<u32>,
    /// Between GPUs, one link each way: bit/s and s.
    peer_link: (f64, f64),
    /// More links, as items of a list.
    links: String,
    /// More keys of the framework.
    framework: String,
    requests: u64,
    gap: String,
    prompt: String,
    output: String,
    streaming: f64,
}

/// Neither host nor front end, one step after the other.
const QUIET: [(&str, &str); 7] = [
    ("max_num_batched_tokens", "2048"),
    ("max_num_seqs", "256"),
    ("gpu_memory_utilization", "0.9"),
    ("async_scheduling", "false"),
    ("front_end", "none"),
    ("step_overhead_s", "0"),
    ("sequence_overhead_s", "0"),
];

impl Default for Setup {
    /// Llama 2 13B on an A100 of 80 GB at half of its peak FLOP/s and 0.8 of its bandwidth, no network.
    fn default() -> Self {
        Self {
            seed: 1,
            lod: "high",
            model: "Llama2-13B",
            tflops: 312.0,
            gb_per_s: 2039.0,
            memory_bytes: 80_000_000_000,
            mfu: 0.5,
            mbu: 0.8,
            tensor: 1,
            pipeline: 1,
            microbatches: None,
            peer_link: (2.4e12, 2e-6),
            links: String::new(),
            framework: "enable_prefix_caching: false".to_owned(),
            requests: 1,
            gap: constant(0.0),
            prompt: constant(100.0),
            output: constant(101.0),
            streaming: 1.0,
        }
    }
}

fn constant(value: f64) -> String {
    format!("{{type: Constant, value: {value:?}}}")
}

fn poisson(per_second: f64) -> String {
    format!("{{type: Exponential, rate: {per_second:?}}}")
}

fn uniform(low: u32, high: u32) -> String {
    format!("{{type: Uniform, low: {low}, high: {high}, is_int: true}}")
}

impl Setup {
    fn yaml(&self) -> String {
        let Self { seed, lod, model, tflops, gb_per_s, memory_bytes, mfu, mbu, .. } = self;
        let Self { tensor, pipeline, framework, requests, gap, prompt, output, streaming, .. } = self;
        let pieces = self.microbatches.map_or_else(String::new, |n| format!(", num_microbatches_per_request: {n}"));
        let gpus = tensor * pipeline;
        let ids: Vec<String> = (0..gpus).map(|gpu| format!("gpu{gpu}")).collect();
        let ids = ids.join(", ");
        // Only what a law is about takes time.
        let quiet: String = QUIET
            .iter()
            .filter(|(key, _)| !framework.contains(key))
            .map(|(key, value)| format!("      {key}: {value}\n"))
            .collect();
        format!(
            "simulation: {{drain: true, random_seed: {seed}, lod: {lod}}}
hardware_profile:
  compute_devices:
    - {{device_id: gpu, count: {gpus}, device_type: GPU, peak_tflops: {{fp16: {tflops}, fp8: {eight_bits}}}, memory_gbps: {gb_per_s},
       memory_capacity_bytes: {memory_bytes}, mfu: {mfu}, mbu: {mbu}}}
  network_links: [{links}]
workload:
  total_requests_to_generate: {requests}
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {gap}
      prompt_tokens_dist_config: {prompt}
      max_output_tokens_dist_config: {output}
      streaming_response_probability: {streaming}
frameworks_to_test:
  - name: vllm
    type: ParallelVLLM
    config:
      model_profile_id: {model}
      parallelism: {{strategy: TP_PP, tp_degree: {tensor}, pp_stages: {pipeline}, gpu_ids: [{ids}]{pieces}}}
      {framework}
{quiet}",
            links = self.all_links(),
            eight_bits = 2.0 * tflops,
        )
    }

    /// Every GPU to every other.
    fn all_links(&self) -> String {
        let (bits_per_s, latency_s) = self.peer_link;
        let gpus = self.tensor * self.pipeline;
        let pairs = (0..gpus).flat_map(|from| (0..gpus).map(move |to| (from, to))).filter(|(from, to)| from != to);
        let peers = pairs.map(|(from, to)| link(&format!("gpu{from}"), &format!("gpu{to}"), bits_per_s, latency_s));
        peers.chain([self.links.clone()]).filter(|link| !link.is_empty()).collect::<Vec<_>>().join(",\n    ")
    }

    fn run(&self) -> Run {
        let folder = tempfile::tempdir().expect("a folder for the run");
        run_in(folder, &self.yaml())
    }
}

/// A link one way.
fn link(source: &str, destination: &str, bits_per_s: f64, latency_s: f64) -> String {
    format!(
        "{{link_id: {source}-{destination}, source_id: {source}, dest_id: {destination}, \
         bandwidth_bps: {bits_per_s}, latency_s: {latency_s}, bidirectional: false}}"
    )
}

/// A run and all that came of it.
struct Run {
    records: Vec<RequestRecord>,
    outcome: Outcome,
    summary: Summary,
    engine: EngineSpec,
    folder: TempDir,
}

impl Run {
    fn mean(&self, seconds: impl Fn(&RequestRecord) -> f64) -> f64 {
        self.records.iter().map(seconds).sum::<f64>() / self.records.len() as f64
    }

    /// The one request there was.
    fn only(&self) -> &RequestRecord {
        assert_eq!(self.records.len(), 1);
        &self.records[0]
    }
}

fn ttft_s(record: &RequestRecord) -> f64 {
    record.ttft().expect("it had a token").as_secs_f64()
}

fn tpot_s(record: &RequestRecord) -> f64 {
    record.tpot_ms().expect("it had two tokens") / 1e3
}

fn e2e_s(record: &RequestRecord) -> f64 {
    record.e2e().as_secs_f64()
}

/// Hands everything on to the files and keeps it.
struct Tee {
    writer: RunWriter,
    records: Vec<RequestRecord>,
}

impl RecordSink for Tee {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.records.push(record.clone());
        self.writer.request(record)
    }

    fn token_gap(&mut self, at: SimTime, gap: SimTime, sequences: u64) {
        self.writer.token_gap(at, gap, sequences);
    }

    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed> {
        self.writer.interval(row)
    }
}

fn run_in(folder: TempDir, yaml: &str) -> Run {
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, yaml).expect("the configuration is written");
    // Laws hold for what vLLM would refuse, too.
    let directory = Some(folder.path().join("out"));
    let overrides = Overrides { output_directory: directory, force: true, ..Overrides::default() };
    let resolved = load(&file, &overrides).unwrap_or_else(|found| {
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        panic!("{}\n{yaml}", lines.join("\n"))
    });
    let (source, _) = resolved.workload.open().expect("the workload opens");
    let writer = RunWriter::create(&resolved.output, &resolved.scenario, &resolved.profile_names);
    let tee = Tee { writer: writer.expect("the files can be made"), records: Vec::new() };
    let mut simulation = Simulation::new(resolved.scenario.clone(), source, tee);
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    assert_eq!(violations(&resolved.scenario, &outcome), Vec::<String>::new(), "{yaml}");
    let Tee { writer, records } = simulation.into_sink();
    let summary =
        writer.finish(&outcome, false, serde_json::json!({"config": resolved.canonical})).expect("the files are whole");
    let engine = resolved.scenario.engines[0].clone();
    Run { records, outcome, summary, engine, folder }
}

fn bytes_of(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join("out").join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[track_caller]
fn assert_near(got: f64, expected: f64, relative: f64) {
    let error = got / expected - 1.0;
    assert!(error.abs() <= relative, "got {got}, expected {expected}: {:+.3} %", 100.0 * error);
}

/// Equal but for rounding to whole nanoseconds.
#[track_caller]
fn assert_same_time(got_s: f64, expected_s: f64) {
    assert!((got_s - expected_s).abs() <= 2.5e-9, "got {got_s} s, expected {expected_s} s");
}

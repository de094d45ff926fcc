//! Runs made up for the output tests: a deployment of two engines and records with every status, event and null.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::Path;
use std::sync::Arc;

use llmperforacle::output::{HostSpec, LoadPlan, OutputError, OutputPlan, Overwrite, ReadFiles, RunWriter, Summary};
use oracle_components::SimTime;
use oracle_components::device::{DevicePower, DeviceSpec, Efficiency, PeakFlops};
use oracle_components::model::ModelArchitecture;
use oracle_components::record::{
    EngineTotals, GpuTotals, IntervalRow, LinkTotals, Outcome, PrefixEvent, Reason, RequestRecord, Status, Stop,
    Subject,
};
use oracle_components::request::PrefixSegment;
use oracle_components::scenario::{
    EngineSpec, GpuSpec, KernelLaunch, KvPaths, LevelOfDetail, LinkSpec, PrefixCaching, QueuePolicy, Role, Routing,
    Scenario, SchedulerRules, SchedulerSpec,
};
use oracle_components::transformer::{DenseShape, Transformer};
use oracle_systems::ports::RecordSink;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Names of the client profiles; one of them needs quotes in a CSV.
pub fn profiles() -> Vec<String> {
    vec!["chat".to_owned(), "code, long \"context\"".to_owned()]
}

/// Two engines of the same name on a GPU each.
pub fn scenario() -> Scenario {
    Scenario {
        horizon: None,
        seed: 7,
        level_of_detail: LevelOfDetail::Medium,
        gpus: vec![gpu("gpu0"), gpu("gpu1")],
        links: vec![link("client->server"), link("client->server:reverse")],
        engines: vec![engine("vllm", 0), engine("vllm", 1)],
        routing: Routing::RoundRobin,
        decode_routing: Routing::RoundRobin,
        kv_paths: KvPaths::default(),
        prompt_bytes_per_token: 2.0,
        series_interval: SimTime(1_000_000_000),
    }
}

fn gpu(id: &str) -> GpuSpec {
    GpuSpec {
        id: id.to_owned(),
        device: Arc::new(DeviceSpec {
            name: "H100".to_owned(),
            peak_flops: PeakFlops { bf16: Some(989e12), ..PeakFlops::default() },
            memory_bytes: 80 << 30,
            memory_bytes_per_s: 3.35e12,
            power: Some(DevicePower { idle_w: 100.0, decode_w: 400.0, tdp_w: 700.0 }),
            price_per_hour_usd: Some(2.5),
        }),
        efficiency: Efficiency::PREDECESSOR,
    }
}

fn link(id: &str) -> LinkSpec {
    LinkSpec {
        id: id.to_owned(),
        source: "client".to_owned(),
        destination: "server".to_owned(),
        bytes_per_s: 1.25e9,
        latency_s: 1e-4,
    }
}

fn engine(name: &str, gpu: u32) -> EngineSpec {
    EngineSpec {
        name: name.to_owned(),
        role: Role::Both,
        model: Arc::new(model()),
        gpus: vec![gpu],
        tensor_parallel: 1,
        pipeline_parallel: 1,
        prompt_microbatches: None,
        rings: Vec::new(),
        stage_paths: Vec::new(),
        efficiency: None,
        gpu_share: 1.0,
        scheduler: SchedulerSpec {
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
            block_tokens: 16,
            chunked_prefill: true,
            reserve_full_prompt: true,
            long_prefill_token_threshold: None,
            threshold_share_tokens: None,
            watermark_blocks: 0,
            prefill_schedule_interval: 1,
            rules: SchedulerRules::NEWEST,
            policy: QueuePolicy::Fcfs,
            max_model_len: 8192,
            prefix_caching: PrefixCaching::Full,
            min_cached_prefix_tokens: 0,
            async_scheduling: false,
            stream_interval: 1,
            max_num_queued_reqs: None,
            kv_transfer: None,
        },
        kv_blocks: 40_000,
        kv_groups: None,
        kernel_launch: KernelLaunch::Free,
        step_overhead_s: 0.0,
        sequence_overhead_s: 0.0,
        encoder_s_per_token: 0.0,
        ingress: vec![0],
        egress: vec![1],
        response_bytes_per_token: 4.0,
        weight: 1.0,
        fabrics: Vec::new(),
        expert_parallel: None,
        sequence_parallel: false,
        decode_context_parallel: 1,
        expert_kernels: None,
        fused_norms_and_routers: true,
    }
}

fn model() -> ModelArchitecture {
    Transformer::llama_like(
        "llama-3.1-8b",
        DenseShape { layers: 32, hidden: 4096, heads: 32, kv_heads: 8, intermediate: 14336, vocab: 128_256 },
    )
    .architecture()
}

/// Everything a run can write, into `directory`.
pub fn plan(directory: &Path) -> OutputPlan {
    OutputPlan {
        run_name: "test".to_owned(),
        directory: directory.to_owned(),
        summary_json: Some(directory.join("summary.json")),
        requests_parquet: Some(directory.join("requests.parquet")),
        requests_csv: Some(directory.join("requests.csv")),
        timeseries_parquet: Some(directory.join("timeseries.parquet")),
        left_out: Vec::new(),
        reads: ReadFiles::default(),
        trace_digest: None,
        keeps_tables: false,
        trace: None,
        manifest_json: Some(directory.join("manifest.json")),
        overwrite: Overwrite::Anything,
        quantiles: vec![0.5, 0.9, 0.95, 0.99, 0.999],
        warm_up: SimTime(2_000_000_000),
        host: HostSpec::default(),
        defaults: Vec::new(),
        load: LoadPlan { description: "made up".to_owned(), ..LoadPlan::default() },
        encodes_images: false,
        slos: Vec::new(),
        notes: vec!["these figures are made up".to_owned()],
        estimated_power: Vec::new(),
        fidelity: Vec::new(),
    }
}

/// `count` records, a millisecond apart on average, of which one in ten did not succeed.
pub fn records(seed: u64, count: usize) -> Vec<RequestRecord> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut arrival = 0;
    (0..count as u64)
        .map(|request| {
            arrival += exponential(&mut random, 1e6);
            record(&mut random, request, SimTime(arrival))
        })
        .collect()
}

/// A draw of nanoseconds with a mean.
pub fn exponential(random: &mut impl Rng, mean_ns: f64) -> u64 {
    (-(1.0 - random.random::<f64>()).ln() * mean_ns) as u64
}

fn record(random: &mut impl Rng, request: u64, arrival: SimTime) -> RequestRecord {
    let (status, reason) = ending(random);
    let later = |time: SimTime, span: u64| SimTime(time.0 + span);
    let delivered = later(arrival, 100_000 + exponential(random, 1e4));
    let scheduled = later(delivered, exponential(random, 5e6));
    let first = later(scheduled, 20_000_000 + exponential(random, 2e7));
    let output_tokens = if random.random_bool(0.05) { 1 } else { 1 + random.random_range(0..255) };
    let last = later(first, u64::from(output_tokens - 1) * (8_000_000 + exponential(random, 1e6)));
    let ran = !matches!(reason, Reason::PromptTooLong | Reason::TimeoutWaiting | Reason::EndedWaiting);
    let streaming = random.random_bool(0.9);
    let turn = random.random_range(0..3);
    let prompt_tokens = 1 + random.random_range(0..1023);
    let cached = if turn > 0 { prompt_tokens / 3 } else { 0 };
    RequestRecord {
        request,
        profile: u16::from(random.random_bool(0.3)),
        client: random.random_range(0..1000),
        session: request - request % 3,
        turn,
        engine: u32::from(random.random_bool(0.5)),
        prefill: None,
        prompt_tokens,
        encoder_tokens: 0,
        max_output_tokens: 256,
        output_tokens: if ran { output_tokens } else { 0 },
        target_output_tokens: output_tokens,
        timeout: if request.is_multiple_of(3) { SimTime::NEVER } else { SimTime(30_000_000_001) },
        prefix: (0..request % 3).map(|piece| PrefixSegment { key: piece + (1 << 63), tokens: 16 }).collect(),
        tail_key: request % 2 * (u64::MAX - request),
        priority: random.random_range(-1..2),
        streaming,
        arrival,
        // What was given up on its way was never delivered.
        delivered: ran.then_some(delivered),
        scheduled: ran.then_some(scheduled),
        first_token: ran.then_some(first),
        last_token: ran.then_some(last),
        longest_gap: (ran && streaming && output_tokens > 1).then_some(SimTime(9_000_000 + request % 97 * 1_000_000)),
        completion: if ran { later(last, 150_000) } else { delivered },
        status,
        reason,
        prefix_event: match (ran, turn) {
            (false, _) => PrefixEvent::None,
            (true, 0) => PrefixEvent::Miss,
            (true, 1) => PrefixEvent::ConversationalHit,
            (true, _) => PrefixEvent::CrossRequestHit,
        },
        cached_tokens: if ran { cached } else { 0 },
        prefilled_tokens: if ran { prompt_tokens - cached } else { 0 },
        recomputed_tokens: 0,
        preemptions: 0,
    }
}

fn ending(random: &mut impl Rng) -> (Status, Reason) {
    match random.random_range(0..40) {
        0 => (Status::Failed, Reason::PromptTooLong),
        1 => (Status::Timeout, Reason::TimeoutWaiting),
        2 => (Status::Timeout, Reason::TimeoutRunning),
        3 => (Status::Incomplete, Reason::EndedRunning),
        _ => (Status::Success, Reason::Finished),
    }
}

/// A simulation that ended when the last of `records` did.
pub fn outcome(records: &[RequestRecord]) -> Outcome {
    let end = records.iter().map(|record| record.completion).max();
    let mut ended = [0; 4];
    for record in records {
        ended[record.status as usize] += 1;
    }
    Outcome {
        stop: Stop::Drained,
        end: end.unwrap_or_default(),
        ticks: 1,
        arrived: records.len() as u64,
        ended,
        engines: vec![
            EngineTotals {
                output_tokens: records.iter().map(|record| u64::from(record.output_tokens)).sum(),
                ..EngineTotals::default()
            },
            EngineTotals::default(),
        ],
        gpus: vec![GpuTotals { busy: SimTime(1_000_000_000), flops: 1e14, bytes: 1e12 }; 2],
        links: vec![LinkTotals::default(); 2],
    }
}

/// A second of an engine.
pub fn interval(second: u64) -> IntervalRow {
    IntervalRow {
        subject: Subject::Engine((second % 2) as u32),
        start: SimTime(second * 1_000_000_000),
        length: SimTime(1_000_000_000),
        running: Some(12.5),
        waiting: Some(0.0),
        kv_use: Some(0.25),
        steps: Some(100.0),
        prefill_tokens: Some(5000.0),
        output_tokens: Some(1200.0),
        preemptions: Some(0.0),
        busy: 0.9,
        flops: Some(1e13),
        mfu: None,
        mbu: None,
        bytes: None,
    }
}

/// Writes a run of these records.
pub fn write_run(plan: &OutputPlan, records: &[RequestRecord]) -> Result<Summary, OutputError> {
    let mut writer = RunWriter::create(plan, &scenario(), &profiles())?;
    for record in records {
        if writer.request(record).is_err() {
            break;
        }
    }
    for second in 0..10 {
        writer.token_gap(SimTime(second * 1_000_000_000), SimTime(9_000_000), 12);
        if writer.interval(&interval(second)).is_err() {
            break;
        }
    }
    let run = serde_json::json!({"seed": 7, "config": {"b": 1, "a": [1.5, null]}});
    writer.finish(&outcome(records), false, run)
}

//! Inputs that once made it panic, hang or eat memory: what is said of them now.

use std::fs;
use std::time::{Duration, Instant};

use llmperforacle::catalog::{Catalog, load_hf_config, load_model_params};
use llmperforacle::config::{Diagnostic, Overrides, Resolved, ShapingFlags, TraceRun, from_trace, load_text};
use llmperforacle::workload::{Shaping, Slo, TraceFormat, TraceOptions, TraceSource, TraceWorkload};

use super::corpus::{SMALL, TWO};

/// Longer than any of these takes in a debug build on a busy machine; each once took minutes or gigabytes.
const SOON: Duration = Duration::from_secs(30);

fn with(text: &str, set: &[&str]) -> Result<Resolved, Vec<Diagnostic>> {
    let set = set.iter().map(|&set| set.to_owned()).collect();
    load_text(text.as_bytes(), "found.yaml", &Overrides { set, ..Overrides::default() })
}

#[track_caller]
fn refused(text: &str, set: &[&str]) -> String {
    let started = Instant::now();
    let found = with(text, set).expect_err("it is wrong");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(found.len() < 2_100, "{} findings", found.len());
    found.iter().map(|finding| format!("{finding}\n")).collect()
}

/// Steps of centuries overflowed the clock, or made a row of the time series for each second.
#[test]
fn times_and_speeds_beyond_reason_are_out_of_range() {
    for set in [
        "frameworks_to_test[*].config.scheduler_iteration_delay_s=9223372036",
        "frameworks_to_test[*].config.step_overhead_s=4294967296",
        "frameworks_to_test[*].config.bytes_per_token_estimate_for_network=1.8446744073709551615e19",
        "frameworks_to_test[*].config.mbu=1e-9",
        "frameworks_to_test[*].config.max_num_batched_tokens=4294967295",
        "hardware_profile.compute_devices[*].peak_tflops.fp16=4e-10",
        "hardware_profile.compute_devices[*].memory_gbps=1e300",
        "hardware_profile.compute_devices[*].mfu=5e-324",
        "hardware_profile.network_links=[{link_id: a, source_id: client_node_0, dest_id: gpu0, bandwidth_bps: 1e9, latency_s: 1e300}]",
        "hardware_profile.network_links=[{link_id: a, source_id: client_node_0, dest_id: gpu0, bandwidth_bps: 1e-300, latency_s: 0}]",
        "simulation.max_simulation_time=1e300",
        "workload.total_duration=18446744074",
        "workload.request_timeout_s=1e20",
        "metrics_config.timeseries_interval_s=1e-6",
    ] {
        let message = refused(SMALL, &[set]);
        assert!(message.contains("out of range: must be"), "{set}: {message}");
    }
}

/// Each value is possible, but together they make a step that does not end.
#[test]
fn a_step_of_days_is_refused() {
    let message = refused(
        SMALL,
        &[
            "hardware_profile.compute_devices[*].peak_tflops={fp16: 0.001, bf16: 0.001}",
            "frameworks_to_test[0].config.mfu=0.001",
        ],
    );
    assert!(message.contains("a step of 2048 prompt tokens would take"), "{message}");
    assert!(message.contains("check peak_tflops"), "{message}");
}

/// Prompts alone took their time, but not decodes, or these beside prompts: each step left millions of rows.
#[test]
fn a_step_of_decodes_that_takes_days_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("kernels");
    let message = |key: &str, text: &str| {
        fs::write(&path, text).expect("it can be written");
        refused(SMALL, &[&format!("hardware_profile.compute_devices[0].{key}={}", path.display())])
    };
    let decodes = "batch,kv_len,heads,kv_heads,head_dim,kv_dtype,latency_ms\n1,1024,32,8,128,bfloat16,30000\n1,2048,32,8,128,bfloat16,60000\n";
    let found = message("efficiency_table.decode_attention", decodes);
    assert!(found.contains("a step of 1024 sequences with ") && found.contains(" days"), "{found}");
    let curve = Catalog::builtin().curve("H100-SXM").expect("a catalog curve").yaml();
    let found = message("efficiency_curve", &curve.replacen("mixed_block_ns: ", "mixed_block_ns: 1e15 # ", 1));
    assert!(found.contains("a step of 2048 prompt tokens and 1024 sequences with "), "{found}");
}

/// The rows of a step are in memory together.
#[test]
fn a_step_of_millions_of_rows_is_refused() {
    let overhead = "frameworks_to_test[0].config.step_overhead_s=3600";
    let message = refused(SMALL, &[overhead, "metrics_config.timeseries_interval_s=0.001"]);
    assert!(message.contains("rows of the time series; raise metrics_config.timeseries_interval_s"), "{message}");
    assert!(with(SMALL, &[overhead]).is_ok());
}

#[test]
fn a_token_that_takes_minutes_to_send_is_refused() {
    let up = "hardware_profile.network_links=[{link_id: up, source_id: client_node_0, dest_id: gpu0, bandwidth_bps: 1, latency_s: 0}]";
    let message = refused(SMALL, &[up, "workload.bytes_per_token_estimate_for_network=1e9"]);
    assert!(message.contains("a token of 1_000_000_000 bytes would take 8_000_000_000 s over link up"), "{message}");
    let message = refused(SMALL, &[up, "frameworks_to_test[0].config.bytes_per_token_estimate_for_network=1e9"]);
    assert!(message.contains("over link up:reverse; check the link's bandwidth_bps and config."), "{message}");
}

/// Requests without a gap between them filled the memory with those that wait.
#[test]
fn arrivals_without_gaps_need_a_limit() {
    let key = "workload.client_profiles[*].inter_arrival_time_dist_config";
    for gaps in [
        "{type: Pareto, scale: 5e-324}",
        "{type: Gamma, shape: 1e-12}",
        "{type: Exponential, rate: 1e8}",
        "{type: LogNormal, mu: -700, sigma: 100}",
    ] {
        let set = format!("{key}={gaps}");
        assert!(with(SMALL, &[&set]).is_ok(), "{gaps}: a limited number may come at once");
        let message = refused(SMALL, &[&set, "workload.total_requests_to_generate=1e10"]);
        assert!(message.contains("requests a second"), "{gaps}: {message}");
        let message = refused(TWO, &[&set]);
        assert!(message.contains("set total_requests_to_generate, to 10_000_000 at most"), "{gaps}: {message}");
    }
}

#[test]
fn more_gpus_than_fit_in_memory_are_refused() {
    let message = refused(SMALL, &["frameworks_to_test[*].replicas=1000000"]);
    assert!(message.contains("must be between 1 and 100_000"), "{message}");
    let message = refused(TWO, &["frameworks_to_test[1].replicas=60000", "frameworks_to_test[0].replicas=1"]);
    assert!(message.contains("GPUs in all; at most 100_000 are possible"), "{message}");
    let devices: String =
        (0..2_000).map(|device| format!("{{device_id: g{device}_, device: T4, count: 100000}},")).collect();
    let message = refused(SMALL, &[&format!("hardware_profile.compute_devices=[{devices}]")]);
    assert!(message.contains("more than 100_000 devices"), "{message}");
}

/// A link between two replicated frameworks was cloned for each pair of replicas.
#[test]
fn links_grow_with_replicas_and_not_with_their_square() {
    let links = |replicas: u32| {
        let set = format!("frameworks_to_test[*].replicas={replicas}");
        with(TWO, &[&set]).expect("it is right").scenario.links.len()
    };
    let (few, many) = (links(11) - links(1), links(101) - links(1));
    assert_eq!(many, 10 * few);
}

#[test]
fn files_with_millions_of_mistakes_are_read_in_short_order() {
    let unknown: String = (0..100_000).map(|key| format!("k{key}: 1\n")).collect();
    let message = refused(&unknown, &[]);
    assert!(message.contains("more errors are not shown"), "{}", message.lines().last().unwrap_or_default());
    let doubled = "simulation: {}\n".repeat(100_000);
    assert!(refused(&doubled, &[]).contains("this key is already given on line 1"));
    let many = format!("frameworks_to_test: [{}]", "1,".repeat(200_000));
    assert!(refused(&many, &[]).contains("a list of 200000: at most 100_000 items are possible"));
    let models: String = (0..5_000)
        .map(|name| format!("{{name: f{name}, type: VLLM, config: {{model_profile_id: L{name}, gpu_id: gpu0}}}},"))
        .collect();
    refused(SMALL, &[&format!("frameworks_to_test=[{models}]")]);
}

/// Each entry with an error counted the errors before it.
#[test]
fn a_database_of_thousands_of_wrong_models_is_read_in_short_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model_params.json");
    let database = |models: u32| {
        let entries: Vec<String> = (0..models).map(|model| format!("\"m{model}\": {{\"num_layers\": 1}}")).collect();
        fs::write(&path, format!("{{{}}}", entries.join(","))).expect("it can be written");
        load_model_params(&path)
    };
    let started = Instant::now();
    assert!(database(10_000).is_ok_and(|read| read.models.is_empty()));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let error = database(10_001).map(drop).expect_err("too many").to_string();
    assert!(error.contains("has 10001 models; at most 10000 are possible"), "{error}");
}

#[test]
fn messages_are_short_and_can_be_shown() {
    let long = "x".repeat(1 << 20);
    for set in [format!("frameworks_to_test[0].config.model_profile_id={long}"), format!("{long}=1"), long] {
        assert!(refused(SMALL, &[&set]).len() < 5_000);
    }
    let message = refused("\"\\e[2Jx\": 1", &[]);
    assert!(message.contains("[2Jx: unknown key"), "{message}");
    assert!(!message.contains('\u{1b}'), "{message:?}");
}

#[test]
fn numbers_in_messages_are_short() {
    let message = refused(SMALL, &["simulation.max_simulation_time=1e300"]);
    assert!(message.contains("1e300 is out of range"), "{message}");
}

/// A quote that is not closed, a line without end: the record took the memory of the rest of the file, and more.
#[test]
fn a_record_without_end_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let head = "arrival_s,prompt_tokens,output_tokens\n0,1,1\n";
    for rest in [format!("0,\"1\n{}", "0,1,1\n".repeat(2_000_000)), ",".repeat(10 << 20), "1".repeat(10 << 20)] {
        let path = folder.path().join("trace.csv");
        fs::write(&path, format!("{head}{rest}")).expect("it can be written");
        let workload = TraceWorkload {
            path,
            format: TraceFormat::DETECT,
            rate_scale: 1.0,
            duration: None,
            total_requests: None,
            streaming: true,
            timeout_s: None,
            options: TraceOptions::default(),
            shaping: Shaping::default(),
            slo: Slo::default(),
            seed: 0,
            load: llmperforacle::workload::Load::default(),
        };
        let error = TraceSource::open(&workload).map(drop).expect_err("it is wrong").to_string();
        assert!(error.contains("from line 3 on, one record takes more than"), "{error}");
    }
}

/// It would have been read without an end.
#[cfg(unix)]
#[test]
fn a_device_is_no_model() {
    let error = load_hf_config("/dev/zero".as_ref()).map(drop).expect_err("it is no file").to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

/// It was looked for under a name with a replacement character.
#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_named_as_such() {
    use std::os::unix::ffi::OsStrExt;

    let path = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(b"trace\xff.csv"));
    let overrides = Overrides { output_directory: Some(path.clone()), ..Overrides::default() };
    let found = load_text(SMALL.as_bytes(), "found.yaml", &overrides).expect_err("it is wrong");
    assert!(found[0].to_string().contains("--output: error: the path is not UTF-8"), "{}", found[0]);
    let run = TraceRun {
        trace: Some(path),
        load: llmperforacle::config::LoadFlags::default(),
        engine: llmperforacle::config::EngineFlags::default(),
        format: None,
        shaping: ShapingFlags::default(),
        model: "Llama3-8B".to_owned(),
        device: "H100".to_owned(),
        replicas: 1,
        tensor_parallel: 1,
        pipeline_parallel: 1,
        prefill_replicas: None,
    };
    let found = from_trace(&run, &Overrides::default()).expect_err("it is wrong");
    assert!(found[0].to_string().contains("--trace: error: the path is not UTF-8"), "{}", found[0]);
}

//! What is done with an input: what the program would do.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use llmperforacle::catalog::{load_hf_config, load_model_params};
use llmperforacle::config::{Overrides, Resolved, load, load_text};
use llmperforacle::output::RunWriter;
use llmperforacle::workload::{Shaping, Slo, TraceOptions, TraceSource, TraceWorkload};
use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, Outcome, RequestRecord};
use oracle_components::request::RequestSpec;
use oracle_systems::Simulation;
use oracle_systems::invariants::violations;
use oracle_systems::ports::{RecordSink, RequestSource, SinkClosed};

use super::corpus::SMALL;
use super::input::Input;

/// How long a run may go on.
const RUN: Duration = Duration::from_millis(60);
/// Rows that a run may write.
const MOST_ROWS: u64 = 2_000_000;
/// Engines that a run may have: the time to build a world grows with their square.
const MOST_ENGINES: usize = 2_000;
/// Requests that a run may have, follow-ups aside.
const MOST_REQUESTS_RUN: u64 = 200_000;
/// Requests that are read of a trace.
const MOST_REQUESTS: usize = 1_000_000;

/// What became of it.
pub fn try_input(input: &Input, folder: &Path) -> &'static str {
    match input {
        Input::Config { text, set } => {
            let overrides =
                Overrides { set: set.clone(), output_directory: Some(folder.join("run")), ..Overrides::default() };
            configuration(load_text(text, "fuzz.yaml", &overrides), text.len().is_multiple_of(4), folder)
        }
        Input::Trace { text, name, format, rate_scale, duration_s } => {
            let path = folder.join(name);
            fs::write(&path, text).expect("it can be written");
            let workload = TraceWorkload {
                path,
                format: *format,
                rate_scale: *rate_scale,
                duration: duration_s.map(SimTime::from_secs_f64),
                total_requests: None,
                streaming: true,
                timeout_s: None,
                options: TraceOptions::default(),
                shaping: Shaping::default(),
                slo: Slo::default(),
                seed: 0,
                load: llmperforacle::workload::Load::default(),
            };
            let answer = trace(&workload);
            if answer == "a trace" {
                let config = format!("{}  trace: {{path: {name}, rate_scale: {rate_scale:?}}}\n", SERVE_TRACE);
                fs::write(folder.join("trace.yaml"), config).expect("it can be written");
                let overrides = Overrides { output_directory: Some(folder.join("run")), ..Overrides::default() };
                configuration(load(&folder.join("trace.yaml"), &overrides), false, folder);
            }
            answer
        }
        Input::HuggingFace { text, set } => {
            fs::write(folder.join("config.json"), text).expect("it can be written");
            match load_hf_config(folder) {
                Ok(model) => {
                    use_findings(model.warnings.iter());
                    serve("config.json", None, set, folder);
                    "a model"
                }
                Err(error) => {
                    let _ = error.to_string();
                    "no model"
                }
            }
        }
        Input::ModelParams { text } => {
            let path = folder.join("model_params.json");
            fs::write(&path, text).expect("it can be written");
            match load_model_params(&path) {
                Ok(models) => {
                    use_findings(models.findings.iter());
                    for entry in models.models.iter().take(3) {
                        serve(&entry.name, Some("model_params.json"), &[], folder);
                    }
                    "models"
                }
                Err(error) => {
                    let _ = error.to_string();
                    "no models"
                }
            }
        }
        Input::Kernels { text, key } => {
            let path = folder.join("kernels");
            fs::write(&path, text).expect("it can be written");
            let device = "hardware_profile.compute_devices[0]";
            let model = if key.ends_with("experts") { "Mixtral-8x7B-FP8" } else { "Llama3-8B" };
            let set = vec![
                format!("{device}.{key}={}", path.display()),
                format!("frameworks_to_test[0].config.model_profile_id={model}"),
            ];
            let overrides = Overrides { set, output_directory: Some(folder.join("run")), ..Overrides::default() };
            configuration(load_text(SMALL.as_bytes(), "fuzz.yaml", &overrides), false, folder)
        }
    }
}

fn use_findings(findings: impl Iterator<Item = impl ToString>) {
    for finding in findings {
        let _ = finding.to_string();
    }
}

const SERVE_TRACE: &str = "\
simulation: {drain: true}
hardware_profile: {compute_devices: [{device_id: gpu0, device: H100}]}
frameworks_to_test: [{name: v, type: VLLM, config: {model_profile_id: Llama3-8B, gpu_id: gpu0}}]
workload:
";

/// Serves a model of a file, on enough GPUs for most.
fn serve(model: &str, database: Option<&str>, set: &[String], folder: &Path) {
    let config = format!(
        "simulation: {{max_simulation_time: 10}}
hardware_profile: {{compute_devices: [{{device_id: gpu, device: B200, count: 8}}]}}
workload:
  total_duration: 5
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {{type: Exponential, rate: 4}}
      prompt_tokens_dist_config: {{type: Uniform, low: 1, high: 3000}}
      max_output_tokens_dist_config: {{type: Uniform, low: 1, high: 50}}
frameworks_to_test:
  - name: v
    type: ParallelVLLM
    config:
      model_profile_id: {model:?}
      parallelism: {{strategy: TP, tp_degree: 8, gpu_ids: [gpu0, gpu1, gpu2, gpu3, gpu4, gpu5, gpu6, gpu7]}}
{}",
        database.map_or_else(String::new, |name| format!("model_characteristics_db_path: {name}\n"))
    );
    let path = folder.join("serve.yaml");
    fs::write(&path, config).expect("it can be written");
    for strategy in [None, Some("frameworks_to_test[0].config.parallelism={strategy: None, gpu_ids: [gpu0]}")] {
        let set = set.iter().cloned().chain(strategy.map(str::to_owned)).collect();
        let overrides = Overrides { set, output_directory: Some(folder.join("run")), ..Overrides::default() };
        let read_from = fs::canonicalize(&path).expect("it was written");
        configuration(load(&read_from, &overrides), false, folder);
    }
}

/// Runs a configuration that resolves; into files where `writes`.
fn configuration(
    read: Result<Resolved, Vec<llmperforacle::config::Diagnostic>>,
    writes: bool,
    folder: &Path,
) -> &'static str {
    let resolved = match read {
        Ok(resolved) => resolved,
        Err(found) => {
            assert!(!found.is_empty(), "no reason is given");
            use_findings(found.iter());
            return "no configuration";
        }
    };
    use_findings(resolved.warnings.iter());
    run(resolved, writes, folder)
}

/// Runs for a while.
pub fn run(resolved: Resolved, writes: bool, folder: &Path) -> &'static str {
    let Ok((source, facts)) = resolved.workload.open() else {
        return "no workload";
    };
    if resolved.scenario.engines.len() > MOST_ENGINES {
        return "many engines";
    }
    let plan = &resolved.output;
    let is_inside = plan.files().into_iter().all(|path| path.starts_with(folder));
    if writes && is_inside {
        let Ok(writer) = RunWriter::create(plan, &resolved.scenario, &resolved.profile_names) else {
            return "no files";
        };
        let (writer, outcome) = simulate(&resolved, source, writer);
        let written = writer.finish(&outcome, true, resolved.canonical);
        let _ = written.map(|summary| (summary.table(), serde_json::to_string(&summary)));
        let _ = fs::remove_dir_all(folder.join("run"));
        return if facts.failure().is_some() { "a broken source" } else { "a run with files" };
    }
    let (rows, outcome) = simulate(&resolved, source, Rows(0));
    assert!(rows.0 > 0 || outcome.arrived == 0, "{} requests arrived, but none has a record", outcome.arrived);
    "a run"
}

/// Runs for a while.
fn simulate<K: RecordSink>(resolved: &Resolved, source: Box<dyn RequestSource>, sink: K) -> (K, Outcome) {
    let source = Box::new(First { source, left: MOST_REQUESTS_RUN });
    let mut simulation = Simulation::new(resolved.scenario.clone(), source, sink);
    let started = Instant::now();
    let outcome =
        simulation.run(|_| if started.elapsed() > RUN { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    assert_eq!(violations(&resolved.scenario, &outcome), Vec::<String>::new());
    (simulation.into_sink(), outcome)
}

fn trace(workload: &TraceWorkload) -> &'static str {
    match TraceSource::open(workload) {
        Ok(mut source) => {
            let facts = source.facts();
            let mut last = SimTime::ZERO;
            let mut count = 0;
            while let Some(spec) = source.next_request() {
                assert!(spec.arrival >= last, "arrivals decrease");
                last = spec.arrival;
                count += 1;
                if count == MOST_REQUESTS {
                    return "a long trace";
                }
            }
            assert_eq!(facts.expected_requests, Some(count as u64), "as many as were counted");
            assert!(source.error().is_none(), "the check saw the whole file");
            "a trace"
        }
        Err(error) => {
            let _ = error.to_string();
            "no trace"
        }
    }
}

/// The first requests of a source: those that wait are in memory, and a rate may be as high as one likes.
struct First {
    source: Box<dyn RequestSource>,
    left: u64,
}

impl RequestSource for First {
    fn next_request(&mut self) -> Option<RequestSpec> {
        self.left = self.left.checked_sub(1)?;
        self.source.next_request()
    }

    fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        self.source.follow_ups(spec, record, next);
    }
}

/// Counts what it is given.
struct Rows(u64);

impl Rows {
    fn add(&mut self) -> Result<(), SinkClosed> {
        self.0 += 1;
        if self.0 > MOST_ROWS { Err(SinkClosed) } else { Ok(()) }
    }
}

impl RecordSink for Rows {
    fn request(&mut self, _record: &RequestRecord) -> Result<(), SinkClosed> {
        self.add()
    }

    fn token_gap(&mut self, _at: SimTime, _gap: SimTime, _sequences: u64) {}

    fn interval(&mut self, _row: &IntervalRow) -> Result<(), SinkClosed> {
        self.add()
    }
}

//! `run`: a configuration in, a simulation, files and a table out.

use std::path::Path;
use std::time::{Duration, Instant};

use oracle_components::record::{Outcome, Stop};

use super::args::{Changes, Format, LogLevel, PartOfTrace, Run, Shaping};
use super::load_flags::Load;
use super::progress::Bar;
use super::{Failure, colour, interruption, print, print_diagnostics, print_findings, tell};
use crate::config::{Diagnostic, EngineFlags, Overrides, Resolved, ShapingFlags, TraceRun, from_trace, load};
use crate::output::{Overwrite, Summary, Tables, TakenDefault, TracePlan};
use crate::runs::unless;
use crate::workload::WorkloadFacts;

/// Runs the command.
pub fn run(command: &Run, log_level: LogLevel) -> Result<(), Failure> {
    simulate(command, log_level, false).map(|_| ())
}

/// Runs it, and keeps what its Parquet files hold, or would hold.
pub fn keeping_tables(command: &Run, log_level: LogLevel) -> Result<Option<Tables>, Failure> {
    simulate(command, log_level, true)
}

fn simulate(command: &Run, log_level: LogLevel, keeps_tables: bool) -> Result<Option<Tables>, Failure> {
    if command.trace_window.is_some() && writes_nothing(command) {
        let message =
            "--trace-window writes a file, and --output none writes none; print it with `trace`, or leave one out";
        return Err(Failure::BadInput(Some(message.to_owned())));
    }
    let mut resolved = resolve(command).map_err(|refusal| refusal.tell(log_level))?;
    print_diagnostics(&resolved.warnings, log_level);
    if writes_nothing(command) {
        resolved.output.write_nothing();
    }
    resolved.output.keeps_tables = keeps_tables;
    if command.overwrite {
        resolved.output.overwrite = Overwrite::Anything;
    }
    if command.no_csv {
        resolved.output.leave_out_csv();
    }
    if let Some(window) = command.trace_window {
        let path = resolved.output.directory.join("trace.json");
        resolved.output.trace = Some(TracePlan { path, window });
    }
    if log_level == LogLevel::Debug {
        print_engines(&resolved);
    }
    let config = config_of_manifest(std::mem::take(&mut resolved.canonical), command);
    let run = crate::runs::Run::open(resolved).map_err(|error| Failure::BadInput(Some(error.to_string())))?;
    if log_level == LogLevel::Debug {
        print_defaults(&run.resolved);
    }
    // Before there are files, so that a signal finds none unmarked.
    let interrupted = interruption();
    if log_level <= LogLevel::Warning {
        remarks(&run.facts).for_each(|remark| tell(&format!("warning: {remark}")));
    }
    let writer = run.writer().map_err(|error| Failure::BadInput(Some(error.to_string())))?;
    if let Some(warning) = writer.warning().filter(|_| log_level <= LogLevel::Warning) {
        tell(&format!("warning: {warning}"));
    }
    let quiet = command.quiet || log_level > LogLevel::Info;
    let bar = Bar::new(run.facts.expected_requests, run.resolved.scenario.horizon, quiet);
    let started = Instant::now();
    let (writing, kept) = (writer.clock(), writer.kept_tables());
    let ended = run.simulate(writer, command.profile, |progress| {
        bar.update(progress);
        unless(&interrupted)
    });
    bar.clear();
    let simulated = started.elapsed();
    let (outcome, facts, phases) = (ended.outcome.clone(), ended.facts.clone(), ended.phases.clone());
    let stopped_short = ended.stopped_short();
    let traced = ended.recorder.as_ref().map(|recorder| (recorder.counts(), recorder.nothing(outcome.end)));
    let summary = ended.finish(config).map_err(|error| Failure::Failed(error.to_string()))?;
    if command.profile {
        print_profile(&outcome, &phases, simulated, started.elapsed().saturating_sub(simulated), writing.busy());
    }
    if !quiet {
        print_speed(&outcome, started);
    }
    if log_level == LogLevel::Debug {
        summary.engines.utilisation().for_each(|line| tell(&format!("debug: {line}")));
    }
    let (sessions, requests) = facts.unsent();
    if sessions > 0 && log_level <= LogLevel::Warning {
        tell(&format!(
            "warning: {sessions} sessions of the trace ended early, since a request of theirs failed; {requests} requests that waited \
             for it were not sent"
        ));
    }
    print_result(command, &summary)?;
    if let Some(reason) = stopped_short {
        return Err(how_it_ended(&reason, outcome.stop));
    }
    match traced {
        Some((_, Some(nothing))) => {
            let message = format!("{nothing}; there is no trace.json, the other files are whole");
            return Err(Failure::BadInput(Some(message)));
        }
        Some((counts, None)) if !quiet => tell(&format!("trace.json has {counts}; open it in ui.perfetto.dev")),
        _ => {}
    }
    Ok(kept.map(|kept| kept.so_far()))
}

/// Why there is no run as asked.
pub enum Refusal {
    /// Flags that do not go together.
    Flags(String),
    /// What is wrong with the configuration.
    Config(Vec<Diagnostic>),
}

impl Refusal {
    /// Says it.
    fn tell(self, log_level: LogLevel) -> Failure {
        match self {
            Self::Flags(message) => Failure::BadInput(Some(message)),
            Self::Config(diagnostics) => {
                print_diagnostics(&diagnostics, log_level);
                Failure::BadInput(None)
            }
        }
    }
}

/// What is to be said of how a trace was read.
pub fn remarks(facts: &WorkloadFacts) -> impl Iterator<Item = &String> {
    facts.trace.iter().flat_map(|trace| &trace.remarks)
}

/// Whether `--output none` asks for no file.
fn writes_nothing(command: &Run) -> bool {
    command.output.as_ref().is_some_and(|folder| folder.as_os_str() == "none")
}

/// A configuration says by its keys what flags say of a run of a trace.
fn refuse_flags_of_traces(command: &Run) -> Result<(), Refusal> {
    let Some(config) = &command.config else { return Ok(()) };
    let told = flags_without_a_configuration(command).into_iter();
    let told: Vec<String> = told.map(|(flag, key, value)| of_a_configuration(flag, &key, &value, config)).collect();
    if told.is_empty() { Ok(()) } else { Err(Refusal::Flags(told.join("\nerror: "))) }
}

/// The flags that are given and for runs without a configuration, with the keys of one that say the same, and their values.
pub fn flags_without_a_configuration(command: &Run) -> Vec<(&'static str, String, String)> {
    let shaping = shaping(&command.shaping);
    let load = load_keys(command.trace.as_deref(), command.trace_format.as_deref(), &shaping, &command.load);
    let number = |value: &Option<u32>| value.map(|value| value.to_string());
    let flags = [
        ("--model", "frameworks_to_test[*].config.model_profile_id", command.model.clone()),
        ("--device", "hardware_profile.compute_devices[*].device", command.device.clone()),
        ("--replicas", "frameworks_to_test[*].replicas", number(&command.replicas)),
        ("--tensor-parallel", "frameworks_to_test[*].config.parallelism.tp_degree", number(&command.tensor_parallel)),
        (
            "--pipeline-parallel",
            "frameworks_to_test[*].config.parallelism.pp_stages",
            number(&command.pipeline_parallel),
        ),
    ];
    let given = flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key.to_owned(), value?)));
    given.chain(engine_flags(command).keys()).chain(load).collect()
}

fn engine_flags(command: &Run) -> EngineFlags {
    EngineFlags {
        quantization: command.quantization.clone(),
        max_num_batched_tokens: command.max_num_batched_tokens,
        max_num_seqs: command.max_num_seqs,
        router: command.router.clone(),
    }
}

/// The flags that say what load there is, with the keys of a configuration that say the same, and their values.
pub fn load_keys(
    trace: Option<&Path>,
    format: Option<&str>,
    shaping: &ShapingFlags,
    load: &Load,
) -> Vec<(&'static str, String, String)> {
    let trace = trace.map(|path| ("--trace", "workload.trace.path".to_owned(), path.display().to_string()));
    let format = format.map(|format| ("--trace-format", "workload.trace.format".to_owned(), format.to_owned()));
    let shaping = shaping.keys().into_iter().map(|(flag, key, value)| (flag, format!("workload.trace.{key}"), value));
    let load = load.keys().into_iter().map(|(flag, key, value)| (flag, key.to_owned(), value));
    trace.into_iter().chain(format).chain(shaping).chain(load).collect()
}

/// A flag that says what a key of the configuration says.
pub fn of_a_configuration(flag: &str, key: &str, value: &str, config: &Path) -> String {
    let config = config.display();
    format!("{flag} is for a run without a configuration; with {config}, write --set '{key}={value}'")
}

/// The configuration as the manifest tells it: without the folder of `--output`, in which the manifest lies, so that the
/// same run into another folder gives the same bytes.
fn config_of_manifest(mut config: serde_json::Value, command: &Run) -> serde_json::Value {
    let metrics = config.get_mut("metrics_config").and_then(serde_json::Value::as_object_mut);
    if let Some(metrics) = metrics.filter(|_| command.output.is_some()) {
        metrics.remove("output_directory");
    }
    config
}

/// Without a trace there is nothing that these flags would be about.
fn refuse_flags_without_a_trace(command: &Run) -> Result<(), Refusal> {
    if command.config.is_some() || command.trace.is_some() {
        return Ok(());
    }
    let format = command.trace_format.as_ref().map(|_| "--trace-format");
    let shaping = shaping(&command.shaping).keys().into_iter().map(|(flag, ..)| flag);
    let flags: Vec<&str> = format.into_iter().chain(command.reading.flags()).chain(shaping).collect();
    if flags.is_empty() {
        return Ok(());
    }
    let flags = flags.join(", ");
    Err(Refusal::Flags(format!("{flags}: of no effect without a trace; give --trace FILE, or leave it out")))
}

/// The run that is asked for.
pub fn resolve(command: &Run) -> Result<Resolved, Refusal> {
    refuse_flags_of_traces(command)?;
    refuse_flags_without_a_trace(command)?;
    let overrides = Overrides {
        output_directory: command.output.clone().filter(|_| !writes_nothing(command)),
        name: command.name.clone(),
        slo: command.slo.clone(),
        assume: command.assume.clone(),
        ..overrides(&command.changes)
    };
    let flags = [command.reading.keys().map_err(Refusal::Flags)?, overrides.flags].concat();
    let overrides = Overrides { flags, ..overrides };
    let resolved = match (&command.config, &command.model, &command.device) {
        (Some(config), ..) => load(config, &overrides),
        (None, Some(model), Some(device)) => from_trace(
            &TraceRun {
                trace: command.trace.clone(),
                load: command.load.flags(),
                engine: engine_flags(command),
                format: command.trace_format.clone(),
                shaping: shaping(&command.shaping),
                model: model.clone(),
                device: device.clone(),
                replicas: command.replicas.unwrap_or(1),
                tensor_parallel: command.tensor_parallel.unwrap_or(1),
                pipeline_parallel: command.pipeline_parallel.unwrap_or(1),
                prefill_replicas: None,
            },
            &overrides,
        ),
        _ => {
            let usage =
                "a load by flags needs --model NAME and --device NAME (see `llmperforacle models` and `devices`)";
            return Err(Refusal::Flags(usage.to_owned()));
        }
    };
    resolved.map_err(Refusal::Config)
}

/// The flags that shape a trace.
pub fn shaping(flags: &Shaping) -> ShapingFlags {
    ShapingFlags {
        shuffle: flags.shuffle,
        repeat: flags.repeat,
        repeat_prefixes: flags.repeat_prefixes.clone(),
        rate_scale: flags.rate_scale,
        time_scale: flags.time_scale,
        ..part_of_trace(&flags.part)
    }
}

/// Those that take a part of it.
pub fn part_of_trace(flags: &PartOfTrace) -> ShapingFlags {
    ShapingFlags {
        window: flags.window.clone(),
        sample: flags.sample,
        prompt_scale: flags.prompt_scale,
        output_scale: flags.output_scale,
        max_requests: flags.max_requests,
        ..ShapingFlags::default()
    }
}

/// The flags that change a configuration.
pub fn overrides(changes: &Changes) -> Overrides {
    let of_table =
        |pair: &String| ("--efficiency-table", format!("hardware_profile.compute_devices[*].efficiency_table.{pair}"));
    Overrides {
        set: changes.set.clone(),
        flags: changes.efficiency_table.iter().map(of_table).collect(),
        seed: changes.seed,
        mfu: changes.mfu,
        mbu: changes.mbu,
        force: changes.force,
        ..Overrides::default()
    }
}

/// Says what each engine is, with what the configuration left to defaults.
fn print_engines(resolved: &Resolved) {
    for engine in &resolved.scenario.engines {
        let gpus = engine.gpus.iter().map(|&gpu| resolved.scenario.gpus[gpu as usize].id.as_str());
        let gpus: Vec<&str> = gpus.collect();
        let scheduler = &engine.scheduler;
        tell(&format!(
            "debug: {}: {} on {}; {} KV blocks of {} tokens; max_model_len {}, max_num_seqs {}, max_num_batched_tokens {}",
            engine.name,
            engine.model.name,
            gpus.join(", "),
            engine.kv_blocks,
            scheduler.block_tokens,
            scheduler.max_model_len,
            scheduler.max_num_seqs,
            scheduler.max_num_batched_tokens,
        ));
    }
}

/// Says what the configuration left to defaults, and why these.
fn print_defaults(resolved: &Resolved) {
    for TakenDefault { framework, key, value, reason } in
        resolved.output.defaults_that_act(resolved.output.encodes_images)
    {
        tell(&format!("debug: {framework}: {key} {value}: {reason}"));
    }
}

/// Says how fast it went.
fn print_speed(outcome: &Outcome, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let steps: u64 = outcome.engines.iter().map(|engine| engine.steps).sum();
    tell(&format!(
        "simulated {} with {} requests and {steps} steps in {seconds:.2} s of real time ({:.0} requests/s)",
        outcome.end,
        outcome.arrived,
        outcome.arrived as f64 / seconds.max(1e-9),
    ));
}

/// Says where the simulating thread's time went, and what the writer's thread did beside it. Arrival holds the drawing or
/// reading of the workload, completion the handing over of records, the finishing of files a wait for the writer.
fn print_profile(
    outcome: &Outcome,
    phases: &[(&str, Duration)],
    simulated: Duration,
    finishing: Duration,
    output: Duration,
) {
    let of_phases: Duration = phases.iter().map(|&(_, time)| time).sum();
    let between = simulated.saturating_sub(of_phases);
    let rest = [("between ticks", between), ("finishing files", finishing), ("output, beside", output)];
    tell(&format!("{:<17} {:>9} {:>7} {:>14}", "where time went", "s", "share", "µs a request"));
    for &(phase, time) in phases.iter().chain(&rest) {
        let seconds = time.as_secs_f64();
        tell(&format!(
            "  {phase:<15} {seconds:>9.3} {:>6.1}% {:>14.3}",
            100.0 * seconds / (simulated + finishing).as_secs_f64().max(1e-9),
            1e6 * seconds / outcome.arrived.max(1) as f64,
        ));
    }
}

/// Prints the summary.
fn print_result(command: &Run, summary: &Summary) -> Result<(), Failure> {
    match command.format {
        Format::Text if command.quiet => Ok(()),
        Format::Text => print(&colour::verdict(&summary.table(), &summary.verdict)),
        format => print_findings(summary, format),
    }
}

/// A run that stopped short has failed, though its files are whole.
fn how_it_ended(reason: &str, stop: Stop) -> Failure {
    let are_whole =
        if stop == Stop::SinkClosed { "" } else { "; the files hold what came before and are marked partial" };
    Failure::Failed(format!("{reason}{are_whole}"))
}

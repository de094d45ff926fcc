//! What is written, and where.

use std::path::{Path, PathBuf};

use oracle_components::SimTime;

use super::run_context::RunContext;
use crate::config::declare::{Decode, Field};
use crate::config::diagnostic::{Diagnostics, Origin};
use crate::config::keys::{Config, Metrics};
use crate::inputs::ReadFiles;
use crate::output::{HostSpec, LoadPlan, MANIFEST_FILE, OutputPlan, Overwrite, PlacesPlan};
use crate::workload::{Places, Starts, Workload};

/// Rows of the time series of one subject that a run writes by default, at most.
const SERIES_ROWS: f64 = 2_000.0;
/// Width of a row of the time series by default, at least, in seconds.
const SERIES_INTERVAL_S: f64 = 1.0;

/// The output plan.
pub(super) fn resolve(config: &Config, context: &RunContext, diagnostics: &mut Diagnostics) -> Option<OutputPlan> {
    let metrics = &config.metrics_config.value;
    let name_key = config.simulation.value.as_ref().map(|simulation| &simulation.name);
    let given_name = name_key.and_then(|name| name.value.clone());
    let run_name = given_name.unwrap_or_else(|| context.default_name.clone());
    if let Some(name_key) = name_key.filter(|_| Path::new(&run_name).file_name() != Some(run_name.as_ref())) {
        diagnostics.error(&name_key.at, format!("{run_name:?} is not the name of a folder"));
        return None;
    }
    let directory = metrics.output_directory.value.as_ref();
    let directory = directory.map_or_else(|| Path::new("output").join(&run_name), PathBuf::from);
    let file = |key: &Field<String>, default: &str| file_path(key, default, &directory, metrics);
    let requests_csv = file(&metrics.output_requests_csv_path, "requests.csv");
    let mut quantiles = metrics.percentiles_to_calculate.value.clone();
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    let mut plan = OutputPlan {
        summary_json: Some(file(&metrics.output_summary_json_path, "summary.json")),
        requests_parquet: Some(file(&metrics.output_requests_parquet_path, "requests.parquet")),
        requests_csv: Some(requests_csv),
        timeseries_parquet: Some(file(&metrics.output_timeseries_parquet_path, "timeseries.parquet")),
        left_out: Vec::new(),
        reads: ReadFiles::default(),
        trace_digest: None,
        keeps_tables: false,
        trace: None,
        manifest_json: Some(directory.join(MANIFEST_FILE)),
        overwrite: Overwrite::SameConfiguration(config.json()),
        quantiles,
        warm_up: SimTime::from_secs_f64(metrics.warm_up_duration_s.value),
        host: host(config),
        load: LoadPlan::default(),
        slos: Vec::new(),
        encodes_images: false,
        notes: Vec::new(),
        estimated_power: Vec::new(),
        fidelity: Vec::new(),
        run_name,
        directory,
        defaults: Vec::new(),
    };
    if !metrics.write_csv.value {
        plan.leave_out_csv();
    }
    Some(plan)
}

/// The load in short.
pub(super) fn load(workload: &Workload) -> LoadPlan {
    let (what, rate_scale, load) = match workload {
        Workload::Synthetic(synthetic) => match &synthetic.profiles[..] {
            [profile] => (format!("profile {}", profile.name), synthetic.rate_scale, &synthetic.load),
            profiles => (format!("{} profiles", profiles.len()), synthetic.rate_scale, &synthetic.load),
        },
        Workload::Trace(trace) => {
            let name = trace.path.file_name().unwrap_or_default().to_string_lossy();
            (format!("trace {name}"), trace.rate_scale, &trace.load)
        }
    };
    let what = if rate_scale == 1.0 { what } else { format!("{what} at {rate_scale} times its rate") };
    let (duration, total_requests) = match workload {
        Workload::Synthetic(synthetic) => (synthetic.duration, synthetic.total_requests),
        Workload::Trace(_) => (None, None),
    };
    let is_closed = load.starts == Some(Starts::AtOnce);
    LoadPlan {
        description: load.places.as_ref().map_or(what.clone(), |places| within(places, is_closed, &what)),
        duration,
        total_requests,
        places: load.places.as_ref().map(|places| PlacesPlan { count: places.count, is_closed }),
        records_aborts: matches!(workload, Workload::Trace(trace) if trace.timeout_s.is_none()),
        ..LoadPlan::default()
    }
}

/// What is asked for within a number of places.
fn within(places: &Places, is_closed: bool, what: &str) -> String {
    let count = places.count;
    let who = |one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    if !is_closed {
        return format!("{what}, at most {count} in flight");
    }
    let clients = match &places.pause_s {
        None => who("client"),
        Some(pause) => {
            let mean = pause.mean().map_or(String::new(), |mean_s| format!(", pauses of {mean_s:.1} s on average"));
            format!("{}{mean}", who("user"))
        }
    };
    let ramp = if places.ramp_up_s > 0.0 { format!(", begun over {} s", places.ramp_up_s) } else { String::new() };
    format!("closed loop of {clients}{ramp}, {what}")
}

/// What GPUs are plugged into.
fn host(config: &Config) -> HostSpec {
    let hardware = config.hardware_profile.value.as_ref();
    hardware.map_or_else(HostSpec::default, |hardware| HostSpec {
        power_w: hardware.host_power_w.value,
        gpus: hardware.gpus_per_host.value,
    })
}

/// The path that the config gives, from the current folder; else the default name in the run's folder. A folder given
/// by
/// flag takes in files that the config puts elsewhere, so that runs of one file into several folders do not overwrite
/// each other.
fn file_path(key: &Field<String>, default: &str, directory: &Path, metrics: &Metrics) -> PathBuf {
    let is_folder_by_flag = matches!(metrics.output_directory.at.mark.origin, Origin::Flag(_));
    match key.value.as_deref() {
        Some(path) if is_folder_by_flag && key.at.mark.origin == Origin::File => {
            directory.join(Path::new(path).file_name().unwrap_or(default.as_ref()))
        }
        Some(path) => PathBuf::from(path),
        None => directory.join(default),
    }
}

/// A warm-up that nothing outlasts leaves the summary empty.
pub(super) fn check_warm_up(metrics: &Metrics, horizon: Option<SimTime>, diagnostics: &mut Diagnostics) {
    let warm_up = SimTime::from_secs_f64(metrics.warm_up_duration_s.value);
    if horizon.is_some_and(|horizon| horizon <= warm_up) {
        let message = "the simulation ends within the warm-up: no request is in the summary";
        diagnostics.warn(&metrics.warm_up_duration_s.at, message);
    }
}

/// The width of a row of the time series.
pub(super) fn series_interval(metrics: &Metrics, horizon: Option<SimTime>, workload: Option<&Workload>) -> SimTime {
    if let Some(interval_s) = metrics.timeseries_interval_s.value {
        return SimTime::from_secs_f64(interval_s);
    }
    let duration = workload.and_then(|workload| match workload {
        Workload::Synthetic(synthetic) => synthetic.duration,
        Workload::Trace(trace) => trace.duration,
    });
    let simulated_s = horizon.or(duration).map_or(0.0, SimTime::as_secs_f64);
    SimTime::from_secs_f64((simulated_s / SERIES_ROWS).max(SERIES_INTERVAL_S))
}

//! A table of serving points: each row a deployment, a load and what was measured. What a row says and nobody understands
//! costs that row alone.

use std::collections::HashMap;
use std::path::Path;

use super::benchmark_file::{Benchmark, Engine, Load, Measured, Server, benchmarks};
use super::deployment::known_dtype;
use super::device::find;
use super::points_header::{Columns, columns};
use super::problem::{Problem, Problems};
use super::run_file::{DeviceFigures, EngineFlags, FrontEnd, Instance, Role, Run};
use super::table_file::{self, Row};
use crate::catalog::{Catalog, CatalogDevice, question};

/// Most clients of a point, and most requests that are sent at once.
const MOST_CLIENTS: u32 = 100_000;
/// The lengths of `InferenceMAX`'s grid.
const INFERENCE_MAX_LENGTHS: [u32; 2] = [1024, 8192];
/// Rules and defaults that points of other engines are simulated by: those of a release that schedules asynchronously, as
/// those engines do.
const OTHER_ENGINES_VERSION: &str = "0.19";
/// Where the name of a quantised checkpoint goes on about its weights; their type stands in a column of its own.
const QUANTISED: [&str; 8] = ["-fp8", "-nvfp4", "-fp4", "-mxfp4", "-int4", "-awq", "-gptq", "-w4a16"];
/// What benchmarks call models in short.
const SHORT_NAMES: [(&str, &str); 3] = [("dsr1", "DeepSeek-R1"), ("gptoss", "gpt-oss-120B"), ("70b", "Llama3.3-70B")];

/// A serving point.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) id: String,
    pub(super) line: u64,
    pub(super) benchmark: &'static Benchmark,
    pub(super) engine: Engine,
    /// As the table calls model, element type and device, with the tensor parallelism.
    pub(super) group: String,
    pub(super) load: Load,
    /// Requests that are sent at once by nobody who waits for an answer; else there are clients.
    pub(super) all_at_once: Option<u32>,
    /// Metric and figure.
    pub(super) measured: Vec<(String, f64)>,
    /// The script that the server's flags were read from.
    pub(super) flags_from: Option<&'static str>,
    /// What of the program was fitted to it.
    pub(super) fitted: Option<&'static str>,
    /// The deployment, as a run would state it.
    pub(super) run: Run,
    /// What is simulated otherwise than it was.
    pub(super) caveats: Vec<String>,
}

/// All of a file: its points, the rows that are none and why, and columns that nobody understands.
#[derive(Debug)]
pub(super) struct PointsFile {
    pub(super) points: Vec<Point>,
    pub(super) skipped: Vec<Problem>,
    pub(super) unknown_columns: Vec<String>,
}

/// Reads a file.
pub(super) fn read(file: &Path) -> Result<PointsFile, Problems> {
    let mut seen = HashMap::new();
    let row = |row: &mut Row<'_>, columns: &Columns| {
        let point = point(row, columns)?;
        let deployment = Run { name: String::new(), ..point.run.clone() };
        let likeness = format!("{deployment:?} {:?} {:?} {:?}", point.load, point.measured, point.all_at_once);
        let first = *seen.entry(likeness).or_insert(point.line);
        if first != point.line {
            row.report(columns.id, format!("the same point with the same figures as in line {first}"));
            return None;
        }
        Some(point)
    };
    let (points, skipped, columns) = table_file::read_what_can_be(file, columns, row)?;
    Ok(PointsFile { points, skipped, unknown_columns: columns.unknown })
}

/// A row's deployment as its columns state it.
struct Stated<'a> {
    model: String,
    device: &'static CatalogDevice,
    dtype: Option<String>,
    engine: Engine,
    version: Option<String>,
    day: Option<String>,
    instance: Instance,
    load: Load,
    all_at_once: Option<u32>,
    benchmark: &'a str,
}

fn point(row: &mut Row<'_>, columns: &Columns) -> Option<Point> {
    let stated = stated(row, columns);
    let measured = measured(row, columns);
    if measured.is_empty() {
        row.report(columns.figures.first().map(|figure| figure.column), "nothing was measured");
    }
    let mut stated = stated?;
    if row.has_problems() {
        return None;
    }
    let benchmark = benchmarks().named(stated.benchmark);
    let as_measured = Measured {
        engine: stated.engine,
        model: &stated.model,
        device: &stated.device.spec.name,
        version: stated.version.as_deref(),
        day: stated.day.as_deref(),
    };
    let server = benchmark.server(as_measured);
    let mut caveats = caveats(&stated, benchmark, server);
    let instance = stated.instance;
    if let Some(server) = server {
        let ranks = instance.tp * instance.dp;
        if server.always_expert_parallel && ranks > 1 {
            stated.instance.ep = ranks;
        }
        if !server.passes_data_parallel && instance.dp > 1 {
            stated.instance = Instance { dp: 1, ep: instance.tp, ..instance };
            caveats.push("the server's script passes no number of data-parallel engines: there is one".to_owned());
        }
    }
    let label = stated.dtype.clone().unwrap_or_else(|| "bf16".to_owned());
    let fitted = benchmarks().fitted_to(&benchmark.name, as_measured, &label, instance.tp, stated.load);
    let system = row.text(Some(columns.device)).unwrap_or_default().to_owned();
    let model = row.text(Some(columns.model)).unwrap_or_default().to_owned();
    let of_engine = if stated.engine == Engine::Vllm { "" } else { stated.engine.name() };
    let line = row.line.unwrap_or(0);
    Some(Point {
        id: row.text(columns.id).map_or_else(|| format!("line {line}"), str::to_owned),
        line,
        benchmark,
        engine: stated.engine,
        group: format!("{model} {label} on {system}, tp {} {of_engine}", instance.tp).trim_end().to_owned(),
        load: stated.load,
        all_at_once: stated.all_at_once,
        measured,
        flags_from: server.map(|server| server.source.as_str()),
        fitted,
        run: run(&stated, line, server),
        caveats,
    })
}

fn run(stated: &Stated<'_>, line: u64, server: Option<&Server>) -> Run {
    let version = match stated.engine {
        Engine::Vllm => {
            stated.version.clone().or_else(|| stated.day.as_deref().and_then(release_of).map(str::to_owned))
        }
        Engine::Sglang | Engine::Trtllm => Some(OTHER_ENGINES_VERSION.to_owned()),
    };
    let flags = server.map(|server| server.flags(stated.load)).unwrap_or_default();
    Run {
        name: format!("line {line}"),
        model: stated.model.clone(),
        device: stated.device.spec.name.clone(),
        dtype: stated.dtype.clone(),
        figures: DeviceFigures::default(),
        front_end: if stated.all_at_once.is_some() { FrontEnd::InProcess } else { FrontEnd::Http },
        max_in_flight: None,
        peer_to_peer: None,
        instances: vec![stated.instance],
        engine: EngineFlags { version, ..flags },
        measured: Vec::new(),
        warnings: Vec::new(),
    }
}

/// What is simulated otherwise than it was, and what is not known.
fn caveats(stated: &Stated<'_>, benchmark: &Benchmark, server: Option<&Server>) -> Vec<String> {
    let mut caveats = Vec::new();
    if stated.engine != Engine::Vllm {
        caveats.push(format!(
            "{} is not simulated: its points are held against vLLM {OTHER_ENGINES_VERSION} with its flags",
            stated.engine.name()
        ));
    }
    match server {
        Some(server) => caveats.extend(server.note.clone()),
        None => caveats.push(format!(
            "what {} starts {} with for {} on {} is not known: vLLM's defaults are taken",
            benchmark.name,
            stated.engine.name(),
            stated.model,
            stated.device.spec.name
        )),
    }
    caveats
}

fn stated(row: &mut Row<'_>, columns: &Columns) -> Option<Stated<'static>> {
    refuse_what_is_not_simulated(row, columns);
    let device = device(row, columns.device);
    let model = row.text(Some(columns.model)).map(str::to_owned);
    let model = row.needed(columns.model, model).map(|model| known_model(&model));
    let [isl, osl] = [columns.isl, columns.osl].map(|column| {
        let count = row.count(Some(column), 1);
        row.needed(column, count)
    });
    let all_at_once = all_at_once(row, columns);
    let clients = clients(row, columns, all_at_once);
    let engine = match row.text(columns.engine) {
        None => Some(Engine::Vllm),
        Some(text) => {
            let engine = Engine::parse(text);
            if engine.is_none() {
                let message = format!("is {text:?}, but only points of vLLM, SGLang and TensorRT-LLM are understood");
                row.report(columns.engine, message);
            }
            engine
        }
    };
    let instance = instance(row, columns);
    let (model, load) = (model?, Load { clients: clients?, prompt_tokens: isl?, output_tokens: osl? });
    let day = row.text(columns.day).map(|text| text.chars().take(10).collect::<String>());
    let version = row.text(columns.version).and_then(version_in);
    let benchmark = benchmark(row, columns, load, day.is_some());
    let dtype = dtype(row, columns);
    Some(Stated {
        dtype,
        model,
        device: device?,
        engine: engine?,
        version,
        day,
        instance: instance?,
        load,
        all_at_once,
        benchmark,
    })
}

fn refuse_what_is_not_simulated(row: &mut Row<'_>, columns: &Columns) {
    let is_no = |text: &str| ["", "0", "no", "none", "false"].contains(&text.to_lowercase().as_str());
    if let Some(mode) = row.text(columns.mode).filter(|mode| !mode.eq_ignore_ascii_case("agg")) {
        row.report(
            columns.mode,
            format!("is {mode:?}; only deployments without pools of prefill and decode engines (agg) are read"),
        );
    } else if row.text(columns.disaggregated).is_some_and(|text| !is_no(text)) {
        row.report(
            columns.disaggregated,
            "pools of prefill and decode engines are not read from a table; write a run.json",
        );
    } else if let Some(column) =
        columns.pools.iter().find(|column| row.text(Some(**column)).is_some_and(|text| !is_no(text)))
    {
        row.report(Some(*column), "pools of prefill and decode engines are not read from a table; write a run.json");
    }
    if let Some(text) = row.text(columns.speculation).filter(|text| !is_no(text)) {
        row.report(columns.speculation, format!("is {text:?}; speculative decoding is not simulated"));
    }
}

fn device(row: &mut Row<'_>, column: usize) -> Option<&'static CatalogDevice> {
    let name = row.text(Some(column)).map(str::to_owned);
    let name = row.needed(column, name)?;
    let device = find(&name);
    if device.is_none() {
        let near = question(&Catalog::builtin().nearest_devices(&name, 3));
        row.report(Some(column), format!("no device {name:?} in the catalog{near}"));
    }
    device
}

/// A model as the catalog knows it: by its name, a benchmark's short one, or that of which it is a quantised checkpoint.
fn known_model(name: &str) -> String {
    let is_known = |name: &&str| Catalog::builtin().architecture(name).is_some();
    let short = || SHORT_NAMES.iter().find(|(short, _)| name.eq_ignore_ascii_case(short)).map(|(_, known)| *known);
    let folded = name.to_lowercase();
    let ends = QUANTISED.iter().filter_map(|word| folded.rfind(word)).filter(|at| name.is_char_boundary(*at));
    let bare = || ends.min().map(|at| &name[..at]).filter(is_known);
    Some(name).filter(is_known).or_else(short).or_else(bare).unwrap_or(name).to_owned()
}

/// Requests that are sent without waiting for answers, where the load says so.
fn all_at_once(row: &mut Row<'_>, columns: &Columns) -> Option<u32> {
    let load = row.text(columns.load)?.to_lowercase();
    if !["at once", "offline", "inf"].iter().any(|word| load.contains(word)) {
        row.report(
            columns.load,
            format!("is {load:?}, but only loads all at once (offline) and closed loops are understood"),
        );
        return None;
    }
    let requests = row.count(columns.requests, 1);
    if requests.is_none() {
        row.report(columns.requests.or(columns.load), "an offline load needs num_requests");
    }
    requests
}

fn clients(row: &mut Row<'_>, columns: &Columns, all_at_once: Option<u32>) -> Option<u32> {
    if let Some(requests) = all_at_once {
        return Some(requests);
    }
    let clients = row.count(columns.concurrency, 1);
    if clients.is_none() && row.text(columns.batch).is_some() {
        row.report(columns.batch, "states a batch size and no concurrency: how many clients there were is not known");
        return None;
    }
    let fits = clients.filter(|clients| *clients <= MOST_CLIENTS);
    if fits.is_none() {
        row.report(columns.concurrency, format!("must be from 1 to {MOST_CLIENTS} clients"));
    }
    fits
}

fn instance(row: &mut Row<'_>, columns: &Columns) -> Option<Instance> {
    // 0 stands for what does not apply.
    let [mut tp, pp, mut dp, ep] =
        [columns.tp, columns.pp, columns.dp, columns.ep].map(|column| row.count(column, 0).unwrap_or(1).max(1));
    let attends_apart =
        row.text(columns.attention_dp).is_some_and(|text| ["true", "1", "yes"].contains(&text.to_lowercase().as_str()));
    if attends_apart && dp == 1 {
        // Each GPU has attention of its own, and the experts are shared by all.
        (tp, dp) = (1, tp);
    }
    let gpus = u64::from(tp) * u64::from(pp) * u64::from(dp);
    if gpus > u64::from(MOST_CLIENTS) {
        row.report(columns.tp, format!("{gpus} GPUs are more than anybody has measured"));
        return None;
    }
    match row.count(columns.gpus, 1) {
        Some(stated) if u64::from(stated) != gpus => {
            row.report(columns.gpus, format!("is {stated}, but tp {tp}, pp {pp} and dp {dp} are {gpus}"));
            None
        }
        _ => Some(Instance { role: Role::Both, count: 1, tp, pp, dp, ep }),
    }
}

/// Who measured a row: as its source says; else, of a table without one, `InferenceMAX` where there is a day and the lengths
/// are of its grid.
fn benchmark(row: &Row<'_>, columns: &Columns, load: Load, has_day: bool) -> &'static str {
    let source = row.text(columns.source).unwrap_or_default().to_lowercase();
    let on_grid = [load.prompt_tokens, load.output_tokens].iter().all(|tokens| INFERENCE_MAX_LENGTHS.contains(tokens));
    match () {
        () if source.contains("inferencemax") || source.contains("inferencex") => "InferenceMAX",
        () if source.contains("perf-overview") || source.contains("trtllm-bench") => "TensorRT-LLM",
        () if has_day && on_grid => "InferenceMAX",
        () => "AIConfigurator",
    }
}

/// Element type of the weights, as the row calls it.
fn dtype(row: &mut Row<'_>, columns: &Columns) -> Option<String> {
    let known = |column| row.text(column).filter(|text| !["auto", "none", "-"].contains(&text.to_lowercase().as_str()));
    let [own, experts] = [columns.dtype, columns.experts_dtype].map(known);
    let dtype = own.or(experts)?.to_lowercase();
    if known_dtype(&dtype).is_none() {
        row.report(
            columns.dtype.or(columns.experts_dtype),
            format!("is {dtype:?}, which is no element type of weights that is known"),
        );
        return None;
    }
    Some(dtype)
}

/// The release in the name of an image, or as it stands: `vllm/vllm-openai:v0.11.2`, `0.19.0`.
fn version_in(text: &str) -> Option<String> {
    let is_start = |at: usize| at == 0 || !text[..at].ends_with(|c: char| c.is_ascii_digit() || c == '.');
    let starts = text.char_indices().filter(|(at, c)| c.is_ascii_digit() && is_start(*at)).map(|(at, _)| at);
    let mut numbers =
        starts.map(|at| text[at..].split(|c: char| !(c.is_ascii_digit() || c == '.')).next().unwrap_or_default());
    let release = numbers.rfind(|number| number.trim_end_matches('.').contains('.'))?;
    Some(release.trim_end_matches('.').to_owned())
}

/// What was measured of a row, in milliseconds and tokens a second of all GPUs.
fn measured(row: &mut Row<'_>, columns: &Columns) -> Vec<(String, f64)> {
    let gpus = row.count(columns.gpus, 1);
    let mut found = Vec::new();
    for figure in &columns.figures {
        let Some(value) = row.number(Some(figure.column), 0.0, "a number, 0 or more").filter(|value| *value > 0.0)
        else {
            continue;
        };
        let scale = match (figure.is_per_gpu, gpus) {
            (false, _) => figure.scale,
            (true, Some(gpus)) => figure.scale * f64::from(gpus),
            (true, None) => continue,
        };
        found.push((figure.metric.clone(), value * scale));
    }
    found
}

/// The release of vLLM that was the newest on a day (`2025-10-29`), as far as its defaults differ.
fn release_of(day: &str) -> Option<&'static str> {
    let releases = [("2025-10-02", "0.11"), ("2025-12-03", "0.12"), ("2026-01-20", "0.14"), ("2026-04-01", "0.19")];
    releases.iter().rev().find(|(from, _)| day >= *from).map(|(_, release)| *release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_in_the_names_of_images() {
        for (text, release) in [
            ("vllm/vllm-openai:v0.11.2", Some("0.11.2")),
            ("0.19.0", Some("0.19.0")),
            ("v0.17.0-cu130", Some("0.17.0")),
            ("lmsysorg/sglang:v0.5.6-cu129-amd64", Some("0.5.6")),
            ("1.0 (pytorch backend)", Some("1.0")),
            ("nightly", None),
            ("sha-1234", None),
        ] {
            assert_eq!(version_in(text).as_deref(), release, "{text}");
        }
    }

    #[test]
    fn quantised_checkpoints_are_found_by_the_name_of_their_model() {
        for name in [
            "Qwen/Qwen3-32B-NVFP4",
            "nvidia/DeepSeek-R1-0528-FP4-v2",
            "amd/DeepSeek-R1-0528-MXFP4-Preview",
            "dsr1",
            "70b",
        ] {
            assert!(Catalog::builtin().architecture(&known_model(name)).is_some(), "{name}");
        }
        assert_eq!(known_model("nobody/Nothing-9B-FP8"), "nobody/Nothing-9B-FP8");
    }
}

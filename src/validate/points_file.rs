//! A table of serving points, with the columns of `AIConfigurator`'s silicon data.

use std::path::Path;

use super::benchmark::{Benchmark, Load};
use super::problem::Problems;
use super::run_file::{DeviceFigures, EngineFlags, FrontEnd, Instance, Role, Run};
use super::table_file::{self, Header, Row};

/// Most clients of a point.
const MOST_CLIENTS: u32 = 100_000;

/// A serving point.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) benchmark: Benchmark,
    pub(super) load: Load,
    pub(super) ttft_ms: f64,
    pub(super) tpot_ms: f64,
    /// The deployment, as a run would state it.
    pub(super) run: Run,
}

/// Where the columns are.
struct Columns {
    system: usize,
    model: usize,
    isl: usize,
    osl: usize,
    ttft: usize,
    tpot: usize,
    concurrency: Option<usize>,
    batch: Option<usize>,
    quantisation: [Option<usize>; 2],
    version: Option<usize>,
    measured: Option<usize>,
    backend: Option<usize>,
    mode: Option<usize>,
    ranks: [Option<usize>; 4],
    id: Option<usize>,
}

/// Reads a file; rows of other engines, of prefill and decode pools, or of an unknown number of clients are left out with
/// a warning.
pub(super) fn read(file: &Path) -> Result<(Vec<Point>, Vec<String>), Problems> {
    let (mut others, mut unknown) = (0, 0);
    let points = table_file::read(file, "", columns, |row, columns| {
        let is_ours = |column, known: &str| row.text(column).is_none_or(|text| text.eq_ignore_ascii_case(known));
        if !(is_ours(columns.backend, "vllm") && is_ours(columns.mode, "agg")) {
            others += 1;
            return None;
        }
        if row.text(columns.concurrency).is_none() && row.text(columns.batch).is_some() {
            unknown += 1;
            return None;
        }
        Some(point(row, columns))
    });
    let mut warnings = Vec::new();
    if others > 0 {
        warnings.push(format!("{others} points of another backend than vllm, or another mode than agg, are left out"));
    }
    if unknown > 0 {
        warnings.push(format!(
            "{unknown} points that state a batch_size and no concurrency are left out: how many clients they had is unknown"
        ));
    }
    // A row with a problem is none; there is an error then.
    let points: Vec<Point> = points?.into_iter().flatten().collect();
    let dated = points.iter().filter(|point| point.benchmark == Benchmark::InferenceMax).count();
    if dated > 0 {
        warnings.push(format!(
            "{dated} points with a day and no version are taken for InferenceMAX's: lengths from 0.8 of the stated ones, \
             asynchronous scheduling, no prefix cache, steps of 8192 tokens, an 8-bit KV cache with fp8 weights"
        ));
    }
    Ok((points, warnings))
}

fn columns(header: &mut Header<'_>) -> Columns {
    Columns {
        system: header.required("system"),
        model: header.required("model_path"),
        isl: header.required("isl"),
        osl: header.required("osl"),
        ttft: header.required("ttft_ms"),
        tpot: header.required("tpot_ms"),
        concurrency: header.find("concurrency"),
        batch: header.find("batch_size"),
        quantisation: ["gemm_quant_mode", "precision"].map(|name| header.find(name)),
        version: header.find("backend_version"),
        measured: header.find("measured"),
        backend: header.find("backend"),
        mode: header.find("mode"),
        ranks: ["tp_size", "pp_size", "attention_dp_size", "moe_ep_size"].map(|name| header.find(name)),
        id: header.find("id"),
    }
}

fn point(row: &mut Row<'_>, columns: &Columns) -> Option<Point> {
    let [system, model] = [columns.system, columns.model].map(|column| {
        let text = row.text(Some(column)).map(str::to_owned);
        row.needed(column, text)
    });
    let [isl, osl] = [columns.isl, columns.osl].map(|column| {
        let count = row.count(Some(column), 1);
        row.needed(column, count)
    });
    let [ttft, tpot] = [columns.ttft, columns.tpot].map(|column| {
        let number = row.number(Some(column), 0.0, "milliseconds");
        row.needed(column, number)
    });
    let concurrency = row.count(columns.concurrency, 1);
    if concurrency.is_none_or(|clients| clients > MOST_CLIENTS) {
        row.report(columns.concurrency, format!("must be from 1 to {MOST_CLIENTS} clients"));
    }
    // 0 stands for what does not apply.
    let [tp, pp, dp, ep] = columns.ranks.map(|column| row.count(column, 0).unwrap_or(1).max(1));
    let dtype = columns.quantisation.iter().find_map(|column| row.text(*column)).map(str::to_owned);
    let line = row.line.unwrap_or(0);
    let (system, model, isl, osl, concurrency) = (system?, model?, isl?, osl?, concurrency?);
    let benchmark = benchmark(row, columns);
    let load = Load { concurrency, prompt_tokens: isl, output_tokens: osl };
    let are_weights_fp8 = dtype.as_deref().is_some_and(|dtype| dtype.to_lowercase().contains("fp8"));
    let engine = EngineFlags { version: version(row, columns), ..benchmark.engine(load, are_weights_fp8) };
    Some(Point {
        id: row.text(columns.id).map_or_else(|| format!("line {line}"), str::to_owned),
        group: format!("{model} {} on {system}, tp {tp}", dtype.as_deref().unwrap_or("bf16")),
        benchmark,
        load,
        ttft_ms: ttft?,
        tpot_ms: tpot?,
        run: Run {
            name: format!("line {line}"),
            model,
            device: system,
            dtype,
            figures: DeviceFigures::default(),
            front_end: FrontEnd::Http,
            max_in_flight: None,
            peer_to_peer: None,
            instances: vec![Instance { role: Role::Both, count: 1, tp, pp, dp, ep }],
            engine,
            measured: Vec::new(),
            warnings: Vec::new(),
        },
    })
}

/// `AIConfigurator` states the version of what it measured itself; of `InferenceMAX`'s points it has the day alone.
fn benchmark(row: &Row<'_>, columns: &Columns) -> Benchmark {
    let is_dated_alone = row.text(columns.version).is_none() && row.text(columns.measured).is_some();
    if is_dated_alone { Benchmark::InferenceMax } else { Benchmark::AiConfigurator }
}

/// The release, or that of the day of the measurement.
fn version(row: &Row<'_>, columns: &Columns) -> Option<String> {
    let stated = row.text(columns.version).map(str::to_owned);
    stated.or_else(|| row.text(columns.measured).and_then(release_of).map(str::to_owned))
}

/// The release of vLLM that was the newest on a day (`2025-10-29`), as far as its defaults differ.
fn release_of(day: &str) -> Option<&'static str> {
    let releases = [("2025-10-02", "0.11"), ("2025-12-03", "0.12"), ("2026-01-20", "0.14"), ("2026-04-01", "0.19")];
    releases.iter().rev().find(|(from, _)| day >= *from).map(|(_, release)| *release)
}

//! `run.json`: a recorded run in one shape. All but `model` and `device` may be missing or null, which means that it was
//! not recorded, and vLLM's default counts.

use std::path::Path;

use serde_json::Value;

use super::fields::{Fields, kind};
use super::problem::{Problem, Problems};
use crate::catalog::json_file;

/// No such file is longer.
const LONGEST_BYTES: u64 = 16 << 20;
/// More instances, or ranks of one, than anybody has measured.
const MOST_RANKS: u32 = 65_536;
/// All that a run may say of its engine; a seed changes no figure.
const ENGINE_KEYS: [&str; 18] = [
    "type",
    "version",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "max_model_len",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "enforce_eager",
    "num_gpu_blocks",
    "disable_custom_all_reduce",
    "async_scheduling",
    "kv_cache_dtype",
    "gpu_memory_utilization",
    "max_cudagraph_capture_size",
    "stream_interval",
    "moe_backend",
    "seed",
];
/// All that a run may say of itself; `requests` and `per_request` say what the other file holds.
const KEYS: [&str; 16] = [
    "name",
    "model",
    "device",
    "num_devices",
    "dtype",
    "device_spec",
    "front_end",
    "max_in_flight",
    "concurrency",
    "peer_to_peer",
    "p2p",
    "instances",
    "engine",
    "requests",
    "per_request",
    "measured",
];
/// Deepest nesting of a measured figure's key: `ttft_ms.mean` has two parts.
const DEEPEST_METRIC: usize = 8;

/// A recorded run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) name: String,
    /// Hugging Face id.
    pub(super) model: String,
    pub(super) device: String,
    pub(super) dtype: Option<String>,
    pub(super) figures: DeviceFigures,
    pub(super) front_end: FrontEnd,
    /// Most requests that the client has in flight; further ones wait there.
    pub(super) max_in_flight: Option<u32>,
    /// Whether GPUs read each other's memory over PCIe.
    pub(super) peer_to_peer: Option<bool>,
    pub(super) instances: Vec<Instance>,
    pub(super) engine: EngineFlags,
    /// Every measured figure by its dotted key, in an order of reading.
    pub(super) measured: Vec<(String, f64)>,
    /// What was read otherwise than it may have been meant.
    pub(super) warnings: Vec<String>,
}

/// The data sheet as the run states it, for a device that the catalog lacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DeviceFigures {
    pub(super) peak_bf16_tflops: Option<f64>,
    pub(super) memory_gb_per_s: Option<f64>,
    pub(super) memory_gib: Option<f64>,
}

/// What stands between the clock of the measurement and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrontEnd {
    /// The engine is called in the process that measures.
    InProcess,
    /// An HTTP client measures.
    Http,
    /// Unknown.
    NotRecorded,
}

impl FrontEnd {
    /// What a configuration calls it; what is not recorded is taken to be the API server that most people run.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::InProcess => "in_process",
            Self::Http | Self::NotRecorded => "http",
        }
    }
}

/// Instances that are alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instance {
    pub(super) role: Role,
    pub(super) count: u32,
    pub(super) tp: u32,
    pub(super) pp: u32,
    pub(super) dp: u32,
    pub(super) ep: u32,
}

impl Instance {
    /// GPUs of one of them.
    pub(super) fn ranks(&self) -> u32 {
        self.tp * self.pp
    }
}

/// What an instance does for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Both,
    Prefill,
    Decode,
}

impl Role {
    /// What a configuration calls it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// Flags of the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct EngineFlags {
    pub(super) version: Option<String>,
    pub(super) max_num_seqs: Option<u32>,
    pub(super) max_num_batched_tokens: Option<u32>,
    pub(super) block_size: Option<u32>,
    pub(super) max_model_len: Option<u32>,
    pub(super) enable_chunked_prefill: Option<bool>,
    pub(super) enable_prefix_caching: Option<bool>,
    pub(super) enforce_eager: Option<bool>,
    pub(super) num_gpu_blocks: Option<u32>,
    pub(super) disable_custom_all_reduce: Option<bool>,
    pub(super) async_scheduling: Option<bool>,
    pub(super) kv_cache_dtype: Option<String>,
    pub(super) gpu_memory_utilization: Option<f64>,
    /// Largest batch that runs as a graph.
    pub(super) max_cudagraph_capture_size: Option<u32>,
    pub(super) stream_interval: Option<u32>,
    pub(super) moe_backend: Option<String>,
}

/// Reads the `run.json` of a folder.
pub(super) fn read(folder: &Path) -> Result<Run, Problems> {
    let path = folder.join("run.json");
    if !path.is_file() {
        let message = "no such file; a run's folder holds run.json and requests.csv";
        return Err(Problem::of_file(&path, message).into());
    }
    let file = json_file::read(&path, LONGEST_BYTES, "an object that describes a run")?;
    let mut problems = Vec::new();
    let mut fields = Fields {
        file: &path,
        lines: &file.lines,
        object: Some(&file.object),
        path: String::new(),
        problems: &mut problems,
    };
    let run = run(&mut fields, folder);
    match run {
        Some(run) if problems.is_empty() => Ok(run),
        _ => Err(Problems::Files(problems)),
    }
}

fn run(fields: &mut Fields<'_>, folder: &Path) -> Option<Run> {
    let mut warnings = Vec::new();
    let model = required(fields, "model", "the Hugging Face id of the model, such as \"meta-llama/Llama-3.1-8B\"");
    let device = required(fields, "device", "a device's name, such as \"H100-SXM-80GB\"");
    let name = fields.text("name").or_else(|| Some(folder.file_name()?.to_string_lossy().into_owned()));
    let devices = fields.count("num_devices");
    fields.refuse_others(&KEYS);
    let mut sheet = fields.section("device_spec");
    sheet.refuse_others(&["peak_bf16_tflops", "memory_gb_per_s", "memory_gib"]);
    let figures = DeviceFigures {
        peak_bf16_tflops: sheet.positive("peak_bf16_tflops"),
        memory_gb_per_s: sheet.positive("memory_gb_per_s"),
        memory_gib: sheet.positive("memory_gib"),
    };
    let front_end = front_end(fields);
    let max_in_flight = fields.count("max_in_flight").or(fields.count("concurrency"));
    let peer_to_peer = fields.flag("peer_to_peer").or(fields.flag("p2p"));
    let instances = instances(fields, devices, &mut warnings);
    let engine = engine(&mut fields.section("engine"));
    let measured = measured(fields, &mut warnings);
    Some(Run {
        name: name.unwrap_or_else(|| "run".to_owned()),
        model: model?,
        device: device?,
        dtype: fields.text("dtype"),
        figures,
        front_end,
        max_in_flight,
        peer_to_peer,
        instances,
        engine,
        measured,
        warnings,
    })
}

fn required(fields: &mut Fields<'_>, key: &str, what: &str) -> Option<String> {
    let text = fields.text(key).filter(|text| !text.trim().is_empty());
    if text.is_none() && fields.value(key).is_none_or(|value| value.as_str().is_some()) {
        fields.report(key, format!("is missing; write {what}"));
    }
    text
}

fn front_end(fields: &mut Fields<'_>) -> FrontEnd {
    match fields.text("front_end").as_deref() {
        None => FrontEnd::NotRecorded,
        Some("in_process") => FrontEnd::InProcess,
        Some("http") => FrontEnd::Http,
        Some(other) => {
            fields.report("front_end", format!("is {other:?}, but must be in_process, http or null"));
            FrontEnd::NotRecorded
        }
    }
}

fn instances(fields: &mut Fields<'_>, devices: Option<u32>, warnings: &mut Vec<String>) -> Vec<Instance> {
    let alone = Instance { role: Role::Both, count: 1, tp: devices.unwrap_or(1), pp: 1, dp: 1, ep: 1 };
    let Some(value) = fields.value("instances") else {
        return vec![alone];
    };
    let Some(items) = value.as_array() else {
        fields.report("instances", format!("is {}, but must be a list", kind(value)));
        return Vec::new();
    };
    if items.is_empty() {
        return vec![alone];
    }
    let mut instances: Vec<Instance> =
        (0..).zip(items).filter_map(|(index, item)| instance(fields, index, item)).collect();
    let gpus = |instances: &[Instance]| instances.iter().map(|one| one.count * one.ranks() * one.dp).sum::<u32>();
    let spare = devices.map(|devices| devices > gpus(&instances));
    instances.iter_mut().for_each(|instance| find_ranks_of_experts(instance, spare, warnings));
    let used = gpus(&instances);
    if let Some(devices) = devices.filter(|devices| *devices != used) {
        warnings.push(format!(
            "num_devices is {devices}, but the instances use {used} (count × tp × pp × dp), which counts"
        ));
    }
    instances
}

/// vLLM's `ep` is tp × dp. Where an instance says more, as many of its copies share experts as have that many ranks; if
/// there are `spare` GPUs, or nobody knows, `dp` is what it must be.
fn find_ranks_of_experts(instance: &mut Instance, spare: Option<bool>, warnings: &mut Vec<String>) {
    let Instance { count, tp, pp, dp, ep, .. } = *instance;
    let sharing = ep / (tp * dp);
    if sharing < 2 || pp > 1 || !ep.is_multiple_of(tp * dp) {
        return;
    }
    if count.is_multiple_of(sharing) && spare != Some(true) {
        instance.count /= sharing;
        warnings
            .push(format!("ep {ep} of instances of {} ranks: {sharing} of them are taken to share experts", tp * dp));
    } else if spare != Some(false) {
        warnings.push(format!("ep {ep} with tp {tp} and dp {dp}: dp is taken to be {}", ep / tp));
    } else {
        return;
    }
    instance.dp *= sharing;
}

fn instance(fields: &mut Fields<'_>, index: usize, item: &Value) -> Option<Instance> {
    let key = format!("instances[{index}]");
    let Some(object) = item.as_object() else {
        fields.report("instances", format!("item {index} is {}, but must be an object", kind(item)));
        return None;
    };
    let mut fields = Fields {
        file: fields.file,
        lines: fields.lines,
        object: Some(object),
        path: key,
        problems: &mut *fields.problems,
    };
    fields.refuse_others(&["role", "count", "tp", "pp", "dp", "ep"]);
    let role = match fields.text("role").as_deref() {
        None | Some("both") => Role::Both,
        Some("prefill") => Role::Prefill,
        Some("decode") => Role::Decode,
        Some(other) => {
            fields.report("role", format!("is {other:?}, but must be both, prefill or decode"));
            return None;
        }
    };
    let mut ranks = |key: &str| {
        let count = fields.count(key).unwrap_or(1);
        if count > MOST_RANKS {
            fields.report(key, format!("is {count}; at most {MOST_RANKS} are possible"));
        }
        count.min(MOST_RANKS)
    };
    let [count, tp, pp, dp, ep] = ["count", "tp", "pp", "dp", "ep"].map(&mut ranks);
    let total = [count, tp, pp, dp].iter().map(|&ranks| u64::from(ranks)).product::<u64>();
    if total > u64::from(MOST_RANKS) {
        fields.report("", format!("has {total} ranks; at most {MOST_RANKS} are possible"));
        return None;
    }
    Some(Instance { role, count, tp, pp, dp, ep })
}

fn engine(fields: &mut Fields<'_>) -> EngineFlags {
    let kind = fields.text("type");
    if let Some(other) = kind.filter(|kind| !kind.to_lowercase().starts_with("vllm")) {
        let message =
            format!("is {other:?}; only vllm is simulated: write \"vllm\" to have the run compared with vLLM");
        fields.report("type", message);
    }
    fields.refuse_others(&ENGINE_KEYS);
    EngineFlags {
        version: fields.text("version"),
        max_num_seqs: fields.count("max_num_seqs"),
        max_num_batched_tokens: fields.count("max_num_batched_tokens"),
        block_size: fields.count("block_size"),
        max_model_len: fields.count("max_model_len"),
        enable_chunked_prefill: fields.flag("enable_chunked_prefill"),
        enable_prefix_caching: fields.flag("enable_prefix_caching"),
        enforce_eager: fields.flag("enforce_eager"),
        num_gpu_blocks: fields.count("num_gpu_blocks"),
        disable_custom_all_reduce: fields.flag("disable_custom_all_reduce"),
        async_scheduling: fields.flag("async_scheduling"),
        kv_cache_dtype: fields.text("kv_cache_dtype"),
        gpu_memory_utilization: fields.positive("gpu_memory_utilization"),
        max_cudagraph_capture_size: fields.count("max_cudagraph_capture_size"),
        stream_interval: fields.count("stream_interval"),
        moe_backend: fields.text("moe_backend"),
    }
}

/// Figures in the order in which people read them; others follow by name.
const ORDER: [&str; 10] = [
    "makespan_s",
    "request_throughput_rps",
    "output_throughput_tok_s",
    "drained_by_s",
    "ttft_ms",
    "tpot_ms",
    "itl_ms",
    "e2e_ms",
    "prefix_hit_pct",
    "server_energy_j",
];
const STATISTICS: [&str; 6] = ["mean", "p50", "p90", "p95", "p99", "max"];

fn measured(fields: &mut Fields<'_>, warnings: &mut Vec<String>) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    match fields.value("measured") {
        None => {}
        Some(value @ Value::Object(_)) => flatten("", value, 0, &mut found, warnings),
        Some(other) => fields.report("measured", format!("is {}, but must be an object", kind(other))),
    }
    let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap_or(names.len());
    found.sort_by_key(|(key, _)| {
        let (metric, statistic) = key.split_once('.').unwrap_or((key, ""));
        (place(&ORDER, metric), place(&STATISTICS, statistic))
    });
    found
}

fn flatten(path: &str, value: &Value, depth: usize, found: &mut Vec<(String, f64)>, warnings: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Null => {}
        Value::Number(number) => found.extend(number.as_f64().map(|number| (path.to_owned(), number))),
        Value::Object(object) if depth < DEEPEST_METRIC => {
            object.iter().for_each(|(key, value)| flatten(&below(key), value, depth + 1, found, warnings));
        }
        Value::Array(items) if depth < DEEPEST_METRIC => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(index, value)| flatten(&below(&index.to_string()), value, depth + 1, found, warnings));
        }
        other => warnings.push(format!("measured.{path} is {}, which is no figure: left out", kind(other))),
    }
}

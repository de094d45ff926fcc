//! A run without a configuration file: a trace or a load of flags, a model, a device. It becomes the tree of the file one would have
//! written, and goes the same way.

use std::path::{Path, PathBuf};

use super::diagnostic::{At, Diagnostic, Diagnostics, Mark};
use super::engine_flags::EngineFlags;
use super::load_flags::LoadFlags;
use super::overrides::NOT_UTF_8;
use super::resolve::RunContext;
use super::trace_flags::{ShapingFlags, trace_node};
use super::tree::{Node, Value};
use super::{Overrides, ROOT_NAME, Resolved, load_tree};
use crate::inputs;

/// More GPUs than `count` allows: the tree need not hold the ids of more.
const MOST_GPUS: u64 = 100_001;

/// Characters of a run's name, at most: a file system's names have 255 bytes.
const LONGEST_NAME: usize = 200;

/// What the flags of such a run say.
#[derive(Clone, Debug, Default)]
pub struct TraceRun {
    /// `--trace`: the file; `None` where `load` says what is asked for.
    pub trace: Option<PathBuf>,
    /// `--rate`, `--concurrency`, `--prompt-tokens`, `--workload` and the like.
    pub load: LoadFlags,
    /// `--quantization`, `--max-num-seqs` and the like.
    pub engine: EngineFlags,
    /// `--trace-format`, if not by extension and header.
    pub format: Option<String>,
    /// How it is shaped.
    pub shaping: ShapingFlags,
    /// `--model`: a catalog name, or the path of a Hugging Face config.json or its folder.
    pub model: String,
    /// `--device`: a catalog name.
    pub device: String,
    /// `--replicas`.
    pub replicas: u32,
    /// `--tensor-parallel`.
    pub tensor_parallel: u32,
    /// `--pipeline-parallel`.
    pub pipeline_parallel: u32,
    /// So many of the replicas compute prompts for the others, which answer; without, each does both.
    pub prefill_replicas: Option<u32>,
}

impl TraceRun {
    /// Whether the load has a rate, which may be another: it is no closed loop, does not come all at once, and nobody holds it back.
    #[must_use]
    pub fn has_rate(&self) -> bool {
        self.load.has_rate(self.trace.is_some())
    }
}

/// Resolves a run without a configuration file. Simulates until the last request has ended.
///
/// # Errors
/// Everything that is wrong with the flags; warnings too.
pub fn from_trace(run: &TraceRun, overrides: &Overrides) -> Result<Resolved, Vec<Diagnostic>> {
    let context = RunContext { config_folder: None, default_name: name(run) };
    let mut diagnostics = Diagnostics::new(ROOT_NAME);
    if run.trace.as_ref().is_some_and(|trace| trace.to_str().is_none()) {
        diagnostics.error(&At::root(Mark::flag("--trace")), NOT_UTF_8);
        return Err(diagnostics.into_sorted());
    }
    let tree = tree(run, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(diagnostics.into_sorted());
    }
    load_tree(tree, &context, overrides, diagnostics)
}

/// Trace, model, device, ranks, replicas and what flags say of engines: runs that differ in one of them go into folders of their own.
fn name(run: &TraceRun) -> String {
    // Of `meta-llama/Llama-3.1-8B` and `mine/config.json` what tells them apart from others.
    let mut model = Path::new(&run.model);
    if model.file_name().is_some_and(|file| file == "config.json") {
        model = model.parent().unwrap_or(model);
    }
    let model = model.file_name().unwrap_or_default().to_string_lossy();
    let trace = run.trace.as_ref().map(|trace| inputs::stem(trace));
    let load = Some(run.load.name()).filter(|name| !name.is_empty());
    let load: Vec<String> = trace.into_iter().chain(load).collect();
    let load = load.join("-");
    let TraceRun { device, tensor_parallel, pipeline_parallel, replicas, .. } = run;
    let name =
        format!("{load}-{model}-{device}-tp{tensor_parallel}-pp{pipeline_parallel}-x{replicas}{}", run.engine.name());
    name.chars().map(|c| if c == '/' || c.is_control() { '-' } else { c }).take(LONGEST_NAME).collect()
}

fn tree(run: &TraceRun, diagnostics: &mut Diagnostics) -> Node {
    let mark = Mark::flag(if run.trace.is_some() { "--trace" } else { "command line" });
    let gpus = u64::from(run.tensor_parallel) * u64::from(run.pipeline_parallel);
    let sides: &[Side] = if run.prefill_replicas.is_some() { &[Side::Prefill, Side::Decode] } else { &[Side::Both] };
    let hardware = hardware(run, sides, gpus, mark);
    let mut workload = run.load.entries(run.trace.is_some(), diagnostics);
    let trace = |path| trace_node(path, run.format.as_deref(), &run.shaping);
    workload.extend(run.trace.as_deref().map(|path| ("trace", trace(path))));
    workload.extend(run.engine.workload());
    let workload = Node::mapping(workload, mark);
    // A trace has an end of its own.
    let drain = run.trace.is_none().then(|| ("drain", Node::new(Value::Flag(true), mark)));
    Node::mapping(
        vec![
            ("simulation", Node::mapping(drain.into_iter().collect(), mark)),
            ("hardware_profile", hardware),
            ("workload", workload),
            ("frameworks_to_test", list(sides.iter().map(|&side| framework(run, side)).collect(), mark)),
        ],
        mark,
    )
}

/// What engines do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Both,
    Prefill,
    Decode,
}

impl Side {
    /// Of its GPUs' ids.
    fn gpu(self) -> &'static str {
        match self {
            Self::Both => "gpu",
            Self::Prefill => "prefill_gpu",
            Self::Decode => "decode_gpu",
        }
    }

    fn role(self) -> Option<&'static str> {
        match self {
            Self::Both => None,
            Self::Prefill => Some("prefill"),
            Self::Decode => Some("decode"),
        }
    }
}

/// A NIC a GPU, as in NVIDIA's servers: 400 Gb/s, and the latency of InfiniBand.
const NIC_BITS_PER_S: u64 = 400_000_000_000;
const NIC_LATENCY_S: f64 = 2e-6;

/// The GPUs of a replica of each side; between two sides a NIC a GPU and a switch, which each replica has of its own.
fn hardware(run: &TraceRun, sides: &[Side], gpus: u64, mark: Mark) -> Node {
    let device = Mark::flag("--device");
    let devices = sides.iter().map(|side| {
        Node::mapping(
            vec![
                ("device_id", Node::text(side.gpu(), device)),
                ("device", Node::text(&run.device, device)),
                ("count", integer(gpus, Mark::flag("--tensor-parallel"))),
            ],
            device,
        )
    });
    let mut devices: Vec<Node> = devices.collect();
    let [Side::Prefill, Side::Decode] = sides else {
        return Node::mapping(vec![("compute_devices", list(devices, mark))], mark);
    };
    let text = |text: &str| Node::text(text, mark);
    devices.push(Node::mapping(vec![("device_id", text("switch")), ("device_type", text("CPU"))], mark));
    let link = |id: String, source: &str, dest: &str| {
        Node::mapping(
            vec![
                ("link_id", text(&id)),
                ("source_id", text(source)),
                ("dest_id", text(dest)),
                ("bandwidth_bps", integer(NIC_BITS_PER_S, mark)),
                ("latency_s", Node::new(Value::Number(NIC_LATENCY_S), mark)),
            ],
            mark,
        )
    };
    let links = (0..gpus.min(MOST_GPUS)).flat_map(|number| {
        let (out, into) = (format!("{}{number}", Side::Prefill.gpu()), format!("{}{number}", Side::Decode.gpu()));
        [link(format!("out{number}"), &out, "switch"), link(format!("in{number}"), "switch", &into)]
    });
    let links = list(links.collect(), mark);
    Node::mapping(vec![("compute_devices", list(devices, mark)), ("network_links", links)], mark)
}

fn framework(run: &TraceRun, side: Side) -> Node {
    let model = Mark::flag("--model");
    let mut config = vec![("model_profile_id", Node::text(&run.model, model))];
    let (tensor, pipeline) = (run.tensor_parallel, run.pipeline_parallel);
    let kind = if tensor.max(pipeline) > 1 {
        config.push(("parallelism", parallelism(tensor, pipeline, side)));
        "ParallelVLLM"
    } else {
        config.push(("gpu_id", Node::text(&format!("{}0", side.gpu()), model)));
        "VLLM"
    };
    config.extend(run.engine.config().into_iter().map(|(key, _, value)| (key, value)));
    let replicas = match (side, run.prefill_replicas.unwrap_or(0)) {
        (Side::Both, _) => run.replicas,
        (Side::Prefill, prefill) => prefill,
        (Side::Decode, prefill) => run.replicas - prefill,
    };
    let mut entries = vec![
        ("name", Node::text(side.role().unwrap_or("vllm"), model)),
        ("type", Node::text(kind, model)),
        ("replicas", integer(replicas.into(), Mark::flag("--replicas"))),
        ("config", Node::mapping(config, model)),
    ];
    entries.extend(side.role().map(|role| ("role", Node::text(role, model))));
    Node::mapping(entries, model)
}

fn parallelism(tensor: u32, pipeline: u32, side: Side) -> Node {
    let (tensor_flag, pipeline_flag) = (Mark::flag("--tensor-parallel"), Mark::flag("--pipeline-parallel"));
    let gpus = u64::from(tensor) * u64::from(pipeline);
    // What is said of the GPUs is the doing of the flag that asks for more of them.
    let of_gpus = if pipeline > tensor { pipeline_flag } else { tensor_flag };
    let ids = (0..gpus.min(MOST_GPUS)).map(|number| Node::text(&format!("{}{number}", side.gpu()), of_gpus)).collect();
    Node::mapping(
        vec![
            ("strategy", Node::text("TP_PP", tensor_flag)),
            ("tp_degree", integer(tensor.into(), tensor_flag)),
            ("pp_stages", integer(pipeline.into(), pipeline_flag)),
            ("gpu_ids", list(ids, of_gpus)),
        ],
        tensor_flag,
    )
}

fn list(items: Vec<Node>, mark: Mark) -> Node {
    Node::new(Value::Sequence(items), mark)
}

fn integer(value: u64, mark: Mark) -> Node {
    Node::new(Value::Integer(value.into()), mark)
}

//! A run without a configuration file: a trace, a model, a device. It becomes the tree of the file one would have
//! written, and goes the same way.

use std::path::PathBuf;

use super::diagnostic::{At, Diagnostic, Diagnostics, Mark};
use super::overrides::NOT_UTF_8;
use super::resolve::RunContext;
use super::tree::{Node, Value};
use super::{Overrides, Resolved, load_tree};

/// More GPUs than `count` allows: the tree need not hold the ids of more.
const MOST_GPUS: u64 = 100_001;

/// What the flags of such a run say.
#[derive(Clone, Debug)]
pub struct TraceRun {
    /// `--trace`: the file.
    pub trace: PathBuf,
    /// `--trace-format`, if not by extension and header.
    pub format: Option<String>,
    /// `--rate-scale`: arrivals come this many times as fast.
    pub rate_scale: Option<f64>,
    /// `--max-requests`.
    pub max_requests: Option<u64>,
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
}

/// Resolves a run without a configuration file. Simulates until the last request has ended.
///
/// # Errors
/// Everything that is wrong with the flags; warnings too.
pub fn from_trace(run: &TraceRun, overrides: &Overrides) -> Result<Resolved, Vec<Diagnostic>> {
    let stem = run.trace.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let context = RunContext { config_folder: None, default_name: stem.unwrap_or_else(|| "trace".to_owned()) };
    let mut diagnostics = Diagnostics::new("command line");
    if run.trace.to_str().is_none() {
        diagnostics.error(&At::root(Mark::flag("--trace")), NOT_UTF_8);
        return Err(diagnostics.into_sorted());
    }
    load_tree(tree(run), &context, overrides, diagnostics)
}

fn tree(run: &TraceRun) -> Node {
    let mark = Mark::flag("--trace");
    let gpus = u64::from(run.tensor_parallel) * u64::from(run.pipeline_parallel);
    let device = Mark::flag("--device");
    let device = Node::mapping(
        vec![
            ("device_id", Node::text("gpu", device)),
            ("device", Node::text(&run.device, device)),
            ("count", integer(gpus, Mark::flag("--tensor-parallel"))),
        ],
        device,
    );
    let hardware = Node::mapping(vec![("compute_devices", list(vec![device], mark))], mark);
    let workload = Node::mapping(vec![("trace", trace(run))], mark);
    Node::mapping(
        vec![
            ("simulation", Node::mapping(Vec::new(), mark)),
            ("hardware_profile", hardware),
            ("workload", workload),
            ("frameworks_to_test", list(vec![framework(run)], mark)),
        ],
        mark,
    )
}

fn trace(run: &TraceRun) -> Node {
    let mark = Mark::flag("--trace");
    let mut entries = vec![("path", Node::text(&run.trace.display().to_string(), mark))];
    if let Some(format) = &run.format {
        entries.push(("format", Node::text(format, Mark::flag("--trace-format"))));
    }
    if let Some(rate_scale) = run.rate_scale {
        entries.push(("rate_scale", Node::new(Value::Number(rate_scale), Mark::flag("--rate-scale"))));
    }
    if let Some(max_requests) = run.max_requests {
        entries.push(("max_requests", integer(max_requests, Mark::flag("--max-requests"))));
    }
    Node::mapping(entries, mark)
}

fn framework(run: &TraceRun) -> Node {
    let model = Mark::flag("--model");
    let mut config = vec![("model_profile_id", Node::text(&run.model, model))];
    let (tensor, pipeline) = (run.tensor_parallel, run.pipeline_parallel);
    let kind = if tensor.max(pipeline) > 1 {
        config.push(("parallelism", parallelism(tensor, pipeline)));
        "ParallelVLLM"
    } else {
        config.push(("gpu_id", Node::text("gpu0", model)));
        "VLLM"
    };
    Node::mapping(
        vec![
            ("name", Node::text("vllm", model)),
            ("type", Node::text(kind, model)),
            ("replicas", integer(run.replicas.into(), Mark::flag("--replicas"))),
            ("config", Node::mapping(config, model)),
        ],
        model,
    )
}

fn parallelism(tensor: u32, pipeline: u32) -> Node {
    let (tensor_flag, pipeline_flag) = (Mark::flag("--tensor-parallel"), Mark::flag("--pipeline-parallel"));
    let gpus = u64::from(tensor) * u64::from(pipeline);
    let ids = (0..gpus.min(MOST_GPUS)).map(|number| Node::text(&format!("gpu{number}"), tensor_flag)).collect();
    Node::mapping(
        vec![
            ("strategy", Node::text("TP_PP", tensor_flag)),
            ("tp_degree", integer(tensor.into(), tensor_flag)),
            ("pp_stages", integer(pipeline.into(), pipeline_flag)),
            ("gpu_ids", list(ids, tensor_flag)),
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

//! The deployment of a recorded run, as the configuration that one would have written for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::scenario::Scenario;
use serde_json::{Map, Value, json};

use super::Options;
use super::device::RunDevice;
use super::problem::{Problem, Problems};
use super::run_file::{Instance, Run};
use crate::catalog::{Catalog, load_hf_config, question};
use crate::config::versions::Version;
use crate::config::{Diagnostic, Overrides, Resolved, capture_sizes, load_value};

/// How many catalog names a message offers.
const NAMES_OFFERED: usize = 3;

/// What a run is taken to be that does not say: one of the first half of 2026.
const UNKNOWN_VERSION: Version = Version::FIRST_HALF_OF_2026;

/// What a run does not say of its deployment.
#[derive(Clone, Debug, Default)]
pub struct DeploymentOptions {
    /// A Hugging Face config.json, in place of the catalog's model.
    pub model_config: Option<PathBuf>,
}

/// What a configuration needs to have a run's device, and its host's and clients' share of the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// Of the device, but for its id.
    pub(super) device: Map<String, Value>,
    /// Of the framework.
    pub(super) engine: Map<String, Value>,
}

impl Keys {
    /// With what followed from the run's release, which a configuration need not name.
    fn completed_by(mut self, resolved: &Resolved) -> Self {
        let is_async = resolved.scenario.engines.first().map(|engine| engine.scheduler.async_scheduling);
        self.engine.insert("async_scheduling".to_owned(), json!(is_async));
        self
    }
}

/// A deployment, ready to simulate.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    resolved: Resolved,
    /// KV blocks of the first engine as memory allows, and as the run recorded them.
    pub(super) kv_blocks: (Option<u64>, Option<u64>),
    /// What was assumed.
    pub(super) warnings: Vec<String>,
    /// What a configuration needs for the same prediction.
    pub(super) keys: Keys,
}

impl Deployment {
    /// The deployment of the run in a folder.
    pub(super) fn of_run(run: &Run, folder: &Path, options: &Options) -> Result<Self, Problems> {
        let file = folder.join("run.json");
        Self::of(run, folder, &format!("{}, as a configuration", file.display()), options)
    }

    /// The deployment of a run; `origin` is what messages call the configuration that it becomes.
    pub(super) fn of(run: &Run, folder: &Path, origin: &str, options: &Options) -> Result<Self, Problems> {
        let mut draft = Draft::new(run, folder, options)?;
        let mut config = draft.config();
        let keys = draft.keys();
        // vLLM has run it: what it would refuse, it did not.
        let overrides = Overrides { force: true, ..options.overrides.clone() };
        let predicted = load_value(&config, origin, &overrides);
        let measured = run.engine.num_gpu_blocks.map(u64::from);
        let Some(blocks) = measured else {
            let resolved = predicted.map_err(Problems::Deployment)?;
            let keys = keys.completed_by(&resolved);
            let kv_blocks = (first_pool(&resolved), None);
            return Ok(Self { resolved, kv_blocks, warnings: draft.warnings, keys });
        };
        let frameworks = config["frameworks_to_test"].as_array_mut().into_iter().flatten();
        frameworks.for_each(|framework| framework["config"]["num_gpu_blocks_override"] = blocks.into());
        let resolved = load_value(&config, origin, &overrides).map_err(Problems::Deployment)?;
        let keys = keys.completed_by(&resolved);
        let kv_blocks = (predicted.ok().as_ref().and_then(first_pool), measured);
        Ok(Self { resolved, kv_blocks, warnings: draft.warnings, keys })
    }

    pub(super) fn scenario(&self) -> &Scenario {
        &self.resolved.scenario
    }

    /// What the configuration's check had to say.
    pub(super) fn diagnostics(&self) -> &[Diagnostic] {
        &self.resolved.warnings
    }
}

fn first_pool(resolved: &Resolved) -> Option<u64> {
    resolved.scenario.engines.first().map(|engine| engine.kv_blocks)
}

/// A configuration in the making.
struct Draft<'a> {
    run: &'a Run,
    /// A catalog name or a path.
    model: String,
    /// Routed experts of a layer; 0 without.
    experts: u32,
    /// Element type of most of the model's own weights.
    own_dtype: Option<Dtype>,
    device: RunDevice,
    version: Version,
    warnings: Vec<String>,
}

impl<'a> Draft<'a> {
    fn new(run: &'a Run, folder: &Path, options: &Options) -> Result<Self, Problems> {
        let file = folder.join("run.json");
        let mut warnings = run.warnings.clone();
        let model = model(run, folder, &file, options, &mut warnings)?;
        let device = RunDevice::of_run(run, &file, &mut warnings)?;
        let version = version(run, &mut warnings);
        let architecture = architecture(&model);
        let experts = architecture.as_ref().and_then(|model| Some(model.experts()?.count)).unwrap_or(0);
        let own_dtype = architecture.map(|model| model.expert_format().dtype);
        Ok(Self { run, model, experts, own_dtype, device, version, warnings })
    }

    fn config(&mut self) -> Value {
        let run = self.run;
        let (mut devices, mut frameworks) = (Vec::new(), Vec::new());
        for (group, instance) in run.instances.iter().enumerate() {
            devices.push(self.devices(&gpu_base(group), self.ranks(instance)));
            frameworks.push(self.framework(group, instance));
        }
        let mut hardware = json!({"compute_devices": devices});
        if let Some(reach_each_other) = run.peer_to_peer {
            hardware["peer_to_peer"] = json!(reach_each_other);
        }
        json!({
            "simulation": {"name": run.name, "drain": true},
            "hardware_profile": hardware,
            "workload": stand_in(),
            "frameworks_to_test": frameworks,
        })
    }

    fn keys(&self) -> Keys {
        Keys { device: self.device.keys.clone(), engine: self.host_keys() }
    }

    /// Time that neither the GPU nor the scheduler spends.
    fn host_keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        keys.insert("front_end".to_owned(), json!(self.run.front_end.key()));
        if let Some(is_async) = self.run.engine.async_scheduling {
            keys.insert("async_scheduling".to_owned(), json!(is_async));
        }
        keys
    }

    fn devices(&self, id: &str, count: u32) -> Value {
        let mut keys = self.device.keys.clone();
        keys.insert("device_id".to_owned(), json!(id));
        keys.insert("count".to_owned(), json!(count));
        keys.into()
    }

    /// Whether an instance holds whole experts on ranks: of one engine, or of several that share them. Data-parallel engines
    /// of vLLM always do; without expert parallelism each rank has a part of each expert, which is as much to read.
    fn spreads_experts(&self, instance: &Instance) -> bool {
        instance.ep.max(instance.dp) > 1 && instance.pp == 1 && self.experts >= instance.tp * instance.dp
    }

    /// GPUs that are laid out together: those of an engine, or of all that share experts.
    fn ranks(&self, instance: &Instance) -> u32 {
        instance.ranks() * if self.spreads_experts(instance) { instance.dp } else { 1 }
    }

    fn framework(&mut self, group: usize, instance: &Instance) -> Value {
        let ranks = self.ranks(instance);
        let gpu_ids: Vec<String> = (0..ranks).map(|rank| gpu(group, rank)).collect();
        let mut config = self.engine_config();
        if ranks == 1 {
            config.insert("gpu_id".to_owned(), json!(gpu_ids[0]));
        } else {
            let mut parallelism = json!({
                "strategy": "TP_PP", "tp_degree": instance.tp, "pp_stages": instance.pp, "gpu_ids": gpu_ids,
            });
            if self.spreads_experts(instance) {
                parallelism["strategy"] = json!("TP");
                parallelism["expert_parallel"] = json!(true);
                parallelism["dp_degree"] = json!(instance.dp);
            }
            config.insert("parallelism".to_owned(), parallelism);
        }
        let ep = instance.ep;
        if ep > 1 && self.experts == 0 {
            self.warnings.push(format!("ep {ep} has no effect: {} has no experts", self.model));
        } else if ep > 1 && !self.spreads_experts(instance) {
            self.warnings.push(format!("ep {ep} is simulated as tensor parallelism of the experts"));
        } else if ep != ranks && self.spreads_experts(instance) {
            self.warnings.push(format!("experts are spread over all {ranks} ranks; the run says ep {ep}"));
        }
        let copies = instance.count * if self.spreads_experts(instance) { 1 } else { instance.dp };
        json!({
            "name": format!("vllm_{group}"),
            "type": if ranks == 1 { "VLLM" } else { "ParallelVLLM" },
            "version": self.version.to_string(),
            "role": instance.role.key(),
            "replicas": copies,
            "config": config,
        })
    }

    /// What all instances share.
    fn engine_config(&mut self) -> Map<String, Value> {
        let flags = &self.run.engine;
        let mut config = self.host_keys();
        let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
        set("model_profile_id", json!(self.model));
        set("block_size", json!(flags.block_size.unwrap_or(16)));
        set("enable_chunked_prefill", json!(flags.enable_chunked_prefill.unwrap_or(true)));
        if let Some(caches) = flags.enable_prefix_caching {
            set("enable_prefix_caching", json!(caches));
        }
        for (key, count) in [
            ("max_num_batched_tokens", flags.max_num_batched_tokens),
            ("max_num_seqs", flags.max_num_seqs),
            ("max_model_len", flags.max_model_len),
            ("stream_interval", flags.stream_interval),
        ] {
            if let Some(count) = count {
                set(key, json!(count));
            }
        }
        if let Some(share) = flags.gpu_memory_utilization {
            set("gpu_memory_utilization", json!(share));
        }
        if let Some(largest) = flags.max_cudagraph_capture_size {
            set("cudagraph_capture_sizes", json!(capture_sizes(largest).collect::<Vec<_>>()));
        }
        if let Some(disabled) = flags.disable_custom_all_reduce {
            set("disable_custom_all_reduce", json!(disabled));
        }
        if let Some(eager) = flags.enforce_eager {
            set("enforce_eager", json!(eager));
        }
        for (key, word) in [("kv_cache_dtype", &flags.kv_cache_dtype), ("moe_backend", &flags.moe_backend)] {
            if let Some(word) = word {
                set(key, json!(word));
            }
        }
        if let Some(dtype) = weight_dtype(self.run.dtype.as_deref(), self.own_dtype, &mut self.warnings) {
            set("weight_dtype", json!(dtype));
        }
        config
    }
}

/// The release of vLLM of a run, or the nearest one that is known.
fn version(run: &Run, warnings: &mut Vec<String>) -> Version {
    let stated = run.engine.version.as_deref();
    let Some(version) = stated.and_then(Version::parse) else {
        let said = stated.map_or_else(|| "is not recorded".to_owned(), |text| format!("{text:?} is no release"));
        warnings.push(format!("engine.version {said}: rules and defaults are those of vLLM {UNKNOWN_VERSION}"));
        return UNKNOWN_VERSION;
    };
    let known = version.clamp(Version::OLDEST, Version::NEWEST);
    if let Some((message, _)) = version.unknown() {
        warnings.push(format!("engine.version: {message}: those of {known} are taken"));
    }
    known
}

/// A model of the catalog, or of a file.
fn architecture(model: &str) -> Option<Arc<ModelArchitecture>> {
    let known = Catalog::builtin().architecture(model);
    known.or_else(|| Some(Arc::new(load_hf_config(Path::new(model)).ok()?.architecture)))
}

fn gpu_base(group: usize) -> String {
    format!("g{group}_gpu")
}

fn gpu(group: usize, rank: u32) -> String {
    format!("{}{rank}", gpu_base(group))
}

/// A workload, which a configuration must have; the recorded requests are simulated in its place.
fn stand_in() -> Value {
    json!({
        "load_balancing_strategy": "round_robin",
        "total_duration": 1,
        "client_profiles": [{
            "profile_name": "recorded",
            "inter_arrival_time_dist_config": {"type": "Exponential", "rate": 1},
            "prompt_tokens_dist_config": {"type": "Constant", "value": 1},
            "max_output_tokens_dist_config": {"type": "Constant", "value": 1},
        }],
    })
}

/// The model as a configuration names it.
fn model(
    run: &Run,
    folder: &Path,
    file: &Path,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<String, Problems> {
    let text = |path: &Path| path.to_str().map(str::to_owned);
    if let Some(path) = &options.deployment.model_config {
        load_hf_config(path)?;
        return text(path).ok_or_else(|| Problem::of_file(path, "the path is not UTF-8 text").into());
    }
    // A path to a model's folder ends in its name.
    let name = run.model.trim_end_matches('/');
    if Catalog::builtin().architecture(name).is_some() {
        return Ok(name.to_owned());
    }
    let beside = folder.join("config.json");
    if load_hf_config(&beside).is_ok() {
        warnings.push(format!("no model {:?} in the catalog; {} is taken", run.model, beside.display()));
        if let Some(path) = text(&beside) {
            return Ok(path);
        }
    }
    let near = question(&Catalog::builtin().nearest_models(&run.model, NAMES_OFFERED));
    let message = format!(
        "no model {:?} in the catalog{near}; give its Hugging Face config.json with --model-config FILE, or put it into \
         the folder (`llmperforacle models` lists the catalog)",
        run.model
    );
    Err(Problem { file: file.into(), line: None, key: "model".to_owned(), message }.into())
}

/// What people call element types of weights, and what a configuration calls them; the first that is in a word counts.
const WEIGHT_DTYPES: [(&str, &str); 20] = [
    ("mxfp8", "mxfp8"),
    ("fp8_block", "fp8_block128"),
    ("fp8", "fp8"),
    ("float8", "fp8"),
    ("int8", "int8"),
    ("w8a8", "int8"),
    ("mxfp4", "mxfp4"),
    ("fp4", "nvfp4"),
    ("float4", "nvfp4"),
    ("int4", "int4"),
    ("awq", "int4"),
    ("gptq", "int4"),
    ("bf16", "bf16"),
    ("bfloat16", "bf16"),
    ("fp16", "fp16"),
    ("float16", "fp16"),
    ("half", "fp16"),
    ("fp32", "fp32"),
    ("float32", "fp32"),
    ("auto", "bf16"),
];

/// What a configuration calls an element type of weights.
pub(super) fn known_dtype(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    WEIGHT_DTYPES.iter().find(|(name, _)| word.contains(name)).map(|(_, dtype)| *dtype)
}

/// Element type of the weights, where it is not the model's own. A checkpoint of that type has scales of its own kind.
fn weight_dtype(stated: Option<&str>, own: Option<Dtype>, warnings: &mut Vec<String>) -> Option<&'static str> {
    let word = stated?.to_lowercase();
    let Some(known) = known_dtype(&word) else {
        warnings.push(format!("dtype {word:?} is unknown; the model's own is taken"));
        return None;
    };
    let element = known.split('_').next().unwrap_or(known);
    let is_own = own.is_some_and(|own| {
        format!("{own:?}").eq_ignore_ascii_case(element)
            || (own.bits() == 4 && ["fp4", "4bit"].contains(&word.as_str()))
    });
    // What nearly every catalog model is made of; those that are narrower stay so.
    (!is_own && !["bf16", "fp16"].contains(&known)).then_some(known)
}

//! What holds where a configuration leaves a setting out: vLLM's own default for its API server, by release and GPU, and what
//! its host and front end were measured to take.
//!
//! Each default that is taken goes into a ledger. A file of the predecessor keeps the predecessor's.

use oracle_components::device::{DeviceSpec, Efficiency};
use oracle_components::model::{Dtype, RopeScaling};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};

use crate::config::keys::{CacheDtype, ContextLength, FrontEnd};
use crate::config::resolve::devices::{Device, is_data_center_blackwell};
use crate::config::resolve::ledger::Ledger;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::versions::{Version, since};

/// Host time of a step and of each sequence in it: scheduling, input preparation, sampling's and output's Python. What is
/// left of the TPOT of the H100 serving points of vLLM 0.12 (synchronous scheduling) at tp 8 with answers of 512 and 1,024
/// tokens once the GPU's time is taken off: 1.4, 1.8, 2.5, 4.0 and 7.2 ms at 8, 16, 32, 64 and 128 clients. Under
/// asynchronous scheduling it hides behind the GPU.
const STEP_OVERHEAD_S: f64 = 1.1e-3;
const SEQUENCE_OVERHEAD_S: f64 = 45e-6;

/// Memory from which on a GPU is large, and huge (`EngineArgs.get_batch_defaults`).
const LARGE_GPU_BYTES: u64 = 70 << 30;
const HUGE_GPU_BYTES: u64 = 160 << 30;
/// Tokens and sequences of a step where the engine is called in process (`SchedulerConfig.DEFAULT_MAX_NUM_BATCHED_TOKENS`,
/// `DEFAULT_MAX_NUM_SEQS`).
const IN_PROCESS_LIMITS: (u32, u32) = (2_048, 128);

/// A vision encoder that no file describes: FLOPs a token of the 675 M parameters of Qwen2-VL's (arXiv 2409.12191; Qwen2.5-VL's has as
/// many), two each, attention left out, at this share of the 16-bit peak. No encoder was measured.
const ENCODER_FLOPS_PER_TOKEN: f64 = 2.0 * 675e6;
const ENCODER_UTILISATION: f64 = 0.4;

/// The predecessor's sequences, share of the memory, and the GPUs on which a step has 8,192 tokens.
const PREDECESSOR_SEQS: u32 = 256;
const PREDECESSOR_UTILIZATION: f64 = 0.9;
const PREDECESSOR_LARGE_GPU_FP16_FLOPS: f64 = 500e12;

/// Why what is left out in the predecessor's files is as it is.
const PREDECESSOR: &str = "the predecessor's: the file names a model_characteristics_db_path, and no version";

/// Why an encoder takes no time.
const NO_ENCODER_PEAK: &str = "no time is charged, since the device's 16-bit peak is not known";

/// Why the host takes its time, and why it takes none.
const MEASURED_HOST: &str = "what vLLM's host was measured to take, docs/defaults.md";
const NOTHING_UNASKED: &str =
    "at constant efficiency on a device that is written out nothing is modelled but what is asked for";

/// Settings of a framework, as given or by default.
#[derive(Clone, Copy, Debug)]
pub(in crate::config::resolve) struct Settings {
    pub(in crate::config::resolve) max_num_batched_tokens: u32,
    pub(in crate::config::resolve) max_num_seqs: u32,
    pub(in crate::config::resolve) gpu_memory_utilization: f64,
    pub(in crate::config::resolve) async_scheduling: bool,
    pub(in crate::config::resolve) reserve_full_prompt: bool,
    pub(in crate::config::resolve) step_overhead_s: f64,
    pub(in crate::config::resolve) sequence_overhead_s: f64,
    pub(in crate::config::resolve) encoder_token_s: f64,
    pub(in crate::config::resolve) front_end: FrontEnd,
}

/// The settings of a framework on its GPUs, all of whose first rank's kind, and the defaults among them.
pub(in crate::config::resolve) fn settle(
    plan: &FrameworkPlan<'_>,
    devices: &[&Device],
    gpu_share: f64,
    ledger: &mut Ledger,
) -> Settings {
    let settings =
        if plan.is_of_predecessor { of_predecessor(plan, devices, ledger) } else { of_vllm(plan, devices, ledger) };
    note_declared(plan, devices, ledger);
    let encoder_token_s = encoder_token_s(plan, devices, gpu_share, ledger);
    Settings { encoder_token_s, ..settings }
}

/// Settings whose defaults depend on no release and no GPU, and the model's own types.
fn note_declared(plan: &FrameworkPlan<'_>, devices: &[&Device], ledger: &mut Ledger) {
    let config = plan.config;
    ledger.note_declared(&config.enable_chunked_prefill, whose(plan));
    ledger.note_declared(&config.scheduling_policy, whose(plan));
    let Some(model) = plan.model.as_deref() else { return };
    if leaves_cache_open(plan) {
        let is_narrow = devices.first().and_then(|device| narrow_cache(plan, device.spec.as_deref()?)).is_some();
        let of_release = format!("vLLM {}'s for models of {} there", plan.version(), model.model_type);
        let reason = if is_narrow { of_release } else { "auto: the model's".to_owned() };
        ledger.note(config.kv_cache_dtype.at.name(), model.kv_dtype.name(), reason);
    }
    if config.weight_dtype.value.is_none() {
        let (dtype, of_experts) = (model.weight_format.dtype, model.expert_format().dtype);
        let experts = if of_experts == dtype { String::new() } else { format!(", experts {}", of_experts.name()) };
        ledger.note(config.weight_dtype.at.name(), dtype.name() + &experts, "the model's");
    }
}

/// Whose defaults hold that depend on nothing else.
fn whose(plan: &FrameworkPlan<'_>) -> &'static str {
    if plan.is_of_predecessor { PREDECESSOR } else { "vLLM's" }
}

/// Whether the type of the KV cache is left to the model and the release.
fn leaves_cache_open(plan: &FrameworkPlan<'_>) -> bool {
    matches!(plan.config.kv_cache_dtype.value, None | Some(CacheDtype::Model))
}

/// The type of the KV cache where a release takes a narrower one by itself.
pub(super) fn narrow_cache(plan: &FrameworkPlan<'_>, device: &DeviceSpec) -> Option<Dtype> {
    let is_open = leaves_cache_open(plan) && !plan.is_of_predecessor;
    let (model, version) = (plan.model.as_deref().filter(|_| is_open)?, plan.version());
    let is_narrow = match model.model_type.as_str() {
        "glm_moe_dsa" => version.has(since::NARROW_CACHE_OF_GLM) && is_data_center_blackwell(device),
        "deepseek_v32" => !version.has(since::WIDE_CACHE_OF_V32),
        _ => false,
    };
    is_narrow.then_some(Dtype::Fp8)
}

/// Blocks and prefixes as the pool has them.
pub(in crate::config::resolve) fn note_cache(plan: &FrameworkPlan<'_>, scheduler: &SchedulerSpec, ledger: &mut Ledger) {
    let config = plan.config;
    let (blocks, tokens) = (&config.block_size, scheduler.block_tokens);
    if tokens != blocks.value {
        let reason = "what layers of several kinds share a page by, whatever is set";
        ledger.note(blocks.at.name(), tokens, reason);
    } else {
        ledger.note_declared(blocks, whose(plan));
    }
    let prefixes = &config.enable_prefix_caching;
    let (caches, why) = plan.caches_prefixes();
    if caches && scheduler.prefix_caching == PrefixCaching::Off {
        ledger.note(prefixes.at.name(), false, "off where the KV cache comes from another engine");
    } else if let Some(why) = why {
        ledger.note(prefixes.at.name(), false, why);
    } else {
        ledger.settle(prefixes, true, true, whose(plan));
    }
}

/// The longest context that holds, unless a number is set.
pub(in crate::config::resolve) fn note_context(plan: &FrameworkPlan<'_>, max_model_len: u32, ledger: &mut Ledger) {
    let key = &plan.config.max_model_len;
    let is_long = plan.model.as_deref().is_some_and(|model| matches!(model.rope_scaling, RopeScaling::Long { .. }));
    let reason = match key.value {
        Some(ContextLength::Tokens(_)) => return,
        Some(ContextLength::Auto) => "auto: the model's, held to what the KV cache can store",
        None if plan.is_of_predecessor => "the predecessor's: the model's, held to what the KV cache can store",
        None if is_long => "what the model was trained on; the context that LongRoPE stretches that to is asked for",
        None => "the model's",
    };
    ledger.note(key.at.name(), max_model_len, reason);
}

/// What a token takes in the vision encoder, whose weights vLLM divides among the ranks of a stage (`mm_encoder_tp_mode`).
fn encoder_token_s(plan: &FrameworkPlan<'_>, devices: &[&Device], gpu_share: f64, ledger: &mut Ledger) -> f64 {
    let peak = devices.first().and_then(|device| device.spec.as_deref()).and_then(|device| {
        let peak = &device.peak_flops;
        Some((device.name.as_str(), peak.bf16.or(peak.fp16)?))
    });
    let Some((name, peak)) = peak else {
        return ledger.settle(&plan.config.encoder_token_s, 0.0, 0.0, NO_ENCODER_PEAK);
    };
    let ranks = plan.layout.as_ref().map_or(1, |layout| layout.tensor_parallel);
    let seconds = ENCODER_FLOPS_PER_TOKEN / (ENCODER_UTILISATION * peak * gpu_share * f64::from(ranks));
    // A guess has no digits beyond these.
    let seconds = (seconds * 1e9).ceil() / 1e9;
    let reason = format!(
        "a guess, no encoder was measured: 675 M parameters at {} % of the 16-bit peak of {ranks} × {name}, docs/defaults.md",
        100.0 * ENCODER_UTILISATION,
    );
    ledger.settle(&plan.config.encoder_token_s, seconds, seconds, reason)
}

/// What vLLM takes, and its host and front end.
fn of_vllm(plan: &FrameworkPlan<'_>, devices: &[&Device], ledger: &mut Ledger) -> Settings {
    let (config, version) = (plan.config, plan.version());
    if !plan.keys.version.given && !config.version.given {
        ledger.settle(&plan.keys.version, version, version, "the newest release that is known");
    }
    let is_real = devices.iter().any(|device| is_real(device));
    let (front_end, name) = if is_real { (FrontEnd::Http, "http") } else { (FrontEnd::None, "none") };
    let (why_front_end, host) =
        if is_real { ("vLLM's API server", MEASURED_HOST) } else { (NOTHING_UNASKED, NOTHING_UNASKED) };
    let front_end = ledger.settle(&config.front_end, front_end, name, why_front_end);
    let (step_s, sequence_s) = if is_real { (STEP_OVERHEAD_S, SEQUENCE_OVERHEAD_S) } else { (0.0, 0.0) };
    let (max_num_batched_tokens, max_num_seqs) = step_limits(plan, devices, front_end, ledger);
    let utilization = version.gpu_memory_utilization();
    let (is_async, why_async) = async_scheduling(plan);
    let reserves = version.has(since::FULL_PROMPT_RESERVED);
    let step = if config.step_overhead_s.given { &config.step_overhead_s } else { &config.scheduler_iteration_delay_s };
    let step = if step.given { step } else { &config.step_overhead_s };
    Settings {
        max_num_batched_tokens,
        max_num_seqs,
        gpu_memory_utilization: ledger.settle(
            &config.gpu_memory_utilization,
            utilization,
            utilization,
            format!("vLLM {version}'s"),
        ),
        async_scheduling: ledger.settle(&config.async_scheduling, is_async, is_async, why_async),
        reserve_full_prompt: ledger.settle(
            &config.scheduler_reserve_full_isl,
            reserves,
            reserves,
            format!("vLLM {version}'s"),
        ),
        step_overhead_s: ledger.settle(step, step_s, step_s, host),
        sequence_overhead_s: ledger.settle(&config.sequence_overhead_s, sequence_s, sequence_s, host),
        encoder_token_s: 0.0,
        front_end,
    }
}

/// Whether it is a device of the catalog, or priced by a curve: one that has a host.
fn is_real(device: &Device) -> bool {
    device.catalog.is_some() || !matches!(device.efficiency, Efficiency::Constant { .. })
}

/// Tokens and sequences a step (`EngineArgs._set_default_max_num_seqs_and_batched_tokens_args`).
fn step_limits(plan: &FrameworkPlan<'_>, devices: &[&Device], front_end: FrontEnd, ledger: &mut Ledger) -> (u32, u32) {
    let (config, version) = (plan.config, plan.version());
    let Some(device) = devices.first().and_then(|device| device.spec.as_deref()) else { return IN_PROCESS_LIMITS };
    let ((mut tokens, mut seqs), who) = if front_end == FrontEnd::InProcess {
        (IN_PROCESS_LIMITS, "an engine called in process".to_owned())
    } else {
        let gib = device.memory_bytes >> 30;
        (server_limits(version, device), format!("an API server on a {} of {gib} GiB", device.name))
    };
    let mut reason = format!("vLLM {version}'s default for {who}");
    let given_seqs = config.max_num_seqs.value.unwrap_or(seqs);
    let context = plan.context_tokens();
    if !config.enable_chunked_prefill.value && context > tokens {
        tokens = context;
        reason += ", raised to max_model_len since prompts are not chunked";
    }
    tokens = tokens.min(given_seqs.saturating_mul(context));
    let tokens = ledger.settle(&config.max_num_batched_tokens, tokens, tokens, reason.clone());
    let mut why_seqs = format!("vLLM {version}'s default for {who}");
    if tokens < seqs {
        seqs = tokens;
        why_seqs += ", held to max_num_batched_tokens";
    }
    (tokens, ledger.settle(&config.max_num_seqs, seqs, seqs, why_seqs))
}

/// Accelerators whose platforms tell vLLM no memory, so that they are small ones to it.
const TELL_NO_MEMORY: [&str; 2] = ["tpu", "trainium"];

/// Of an API server, by the first GPU's memory and name.
fn server_limits(version: Version, device: &DeviceSpec) -> (u32, u32) {
    let name = device.name.to_lowercase();
    let tells_none = TELL_NO_MEMORY.iter().any(|chip| name.contains(chip));
    let memory_bytes = if tells_none { 0 } else { device.memory_bytes };
    let is_huge = memory_bytes >= HUGE_GPU_BYTES && version.has(since::HUGE_GPUS);
    let is_small_whatever_its_memory =
        name.contains("a100") || (name.contains("gb10") && version.has(since::GB10_IS_SMALL));
    let is_large = memory_bytes >= LARGE_GPU_BYTES && !is_small_whatever_its_memory;
    let (tokens, seqs) = match (is_huge, is_large) {
        (true, _) => (16_384, 1_024),
        (false, true) => (8_192, 1_024),
        (false, false) => (2_048, 256),
    };
    let of_tpu = [("tpu-v6e", 1_024), ("tpu-v5e", 512), ("tpu-v5p", 256)];
    let tpu = of_tpu.into_iter().find(|(tpu, _)| name.contains(tpu));
    (tpu.map_or(tokens, |(_, tokens)| tokens), seqs)
}

/// On unless it is incompatible (`VllmConfig.__post_init__`).
fn async_scheduling(plan: &FrameworkPlan<'_>) -> (bool, String) {
    let version = plan.version();
    let stages = plan.layout.as_ref().map_or(1, |layout| layout.pipeline_parallel);
    if !version.has(since::ASYNC_SCHEDULING) {
        return (false, format!("vLLM {version}'s; on from {} on", since::ASYNC_SCHEDULING));
    }
    if stages > 1 && !version.has(since::ASYNC_SCHEDULING_OF_STAGES) {
        return (false, format!("vLLM {version} has it off with pipeline parallelism"));
    }
    (true, format!("vLLM {version}'s"))
}

/// What the predecessor took: no host, no front end, no step ahead.
fn of_predecessor(plan: &FrameworkPlan<'_>, devices: &[&Device], ledger: &mut Ledger) -> Settings {
    let config = plan.config;
    let why = PREDECESSOR;
    let is_large = devices.iter().filter_map(|device| device.spec.as_deref()).all(|spec| {
        let flops = spec.peak_flops.fp16.or(spec.peak_flops.bf16).unwrap_or(0.0);
        spec.memory_bytes >= LARGE_GPU_BYTES && flops >= PREDECESSOR_LARGE_GPU_FP16_FLOPS
    });
    let tokens = if is_large { 8_192 } else { 2_048 };
    let max_num_batched_tokens = ledger.settle(&config.max_num_batched_tokens, tokens, tokens, why);
    let step = if config.step_overhead_s.given { &config.step_overhead_s } else { &config.scheduler_iteration_delay_s };
    ledger.note("version", plan.version(), "the newest release that is known, for the scheduler's rules");
    Settings {
        max_num_batched_tokens,
        max_num_seqs: ledger.settle(&config.max_num_seqs, PREDECESSOR_SEQS, PREDECESSOR_SEQS, why),
        gpu_memory_utilization: ledger.settle(
            &config.gpu_memory_utilization,
            PREDECESSOR_UTILIZATION,
            PREDECESSOR_UTILIZATION,
            why,
        ),
        async_scheduling: ledger.settle(&config.async_scheduling, false, false, why),
        reserve_full_prompt: ledger.settle(&config.scheduler_reserve_full_isl, true, true, why),
        step_overhead_s: ledger.settle(step, 0.0, 0.0, why),
        sequence_overhead_s: ledger.settle(&config.sequence_overhead_s, 0.0, 0.0, why),
        encoder_token_s: 0.0,
        front_end: ledger.settle(&config.front_end, FrontEnd::None, "none", why),
    }
}

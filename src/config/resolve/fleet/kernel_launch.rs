//! How an engine launches its kernels: one by one, or as the CUDA graphs that vLLM captures
//! (`VllmConfig._set_cudagraph_sizes`, `GptOssForCausalLMConfig`).

use oracle_components::device::DeviceSpec;
use oracle_components::scenario::KernelLaunch;

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::FrameworkConfig;
use crate::config::resolve::devices::is_data_center_blackwell;
use crate::config::resolve::frameworks::defaults::Settings;
use crate::config::resolve::ledger::Ledger;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::versions::{Version, since};

/// What the host takes to launch a kernel from Python, in seconds: a step of Llama-3.1-8B at batch 1 on an H100 took
/// 8.4 ms in eager mode, where a CUDA graph took 5.1 ms (cloudai.pt, "CUDA Graphs + torch.compile"), for some 330 kernels.
const EAGER_LAUNCH_S: f64 = 25e-6;
/// vLLM's largest captured sizes, in tokens.
const LARGEST_CAPTURE: u32 = 512;
const LARGEST_ON_BLACKWELL: u32 = 1_024;
const LARGEST_OF_GPT_OSS: u32 = 1_024;
const LARGEST_OF_GPT_OSS_WITH_FA3: u32 = 992;
/// The `model_type` of gpt-oss.
const GPT_OSS: &str = "gpt_oss";

/// How an engine launches its kernels. At constant efficiency nothing is modelled but what is asked for.
pub(super) fn kernel_launch(
    plan: &FrameworkPlan<'_>,
    device: &DeviceSpec,
    settings: &Settings,
    is_by_curve: bool,
    (ledger, diagnostics): (&mut Ledger, &mut Diagnostics),
) -> KernelLaunch {
    let config = plan.config;
    warn_of_no_effect(config, diagnostics);
    match (config.enforce_eager.value, &config.cudagraph_capture_sizes.value) {
        (Some(true), _) => {
            let reason = "what a kernel took on an H100's host, docs/defaults.md";
            let launch_s = ledger.settle(&config.kernel_launch_s, EAGER_LAUNCH_S, EAGER_LAUNCH_S, reason);
            KernelLaunch::Eager { launch_s }
        }
        (_, Some(sizes)) => {
            KernelLaunch::Graphs(within_a_step(sizes, plan, settings.max_num_batched_tokens, diagnostics).into())
        }
        (None, None) if !is_by_curve => {
            ledger.settle(&config.kernel_launch_s, 0.0, 0.0, "at constant efficiency no launch is modelled");
            KernelLaunch::Free
        }
        (_, None) => {
            ledger.settle(&config.enforce_eager, false, false, "vLLM's: it launches CUDA graphs");
            let (sizes, reason) = captured(plan, device, settings);
            ledger.note(config.cudagraph_capture_sizes.at.name(), shown(&sizes), reason);
            KernelLaunch::Graphs(sizes.into())
        }
    }
}

/// Captures that are set, but for those that no step can fill, which vLLM leaves out.
fn within_a_step(sizes: &[u32], plan: &FrameworkPlan<'_>, tokens: u32, diagnostics: &mut Diagnostics) -> Vec<u32> {
    let at = &plan.config.cudagraph_capture_sizes.at;
    if sizes.is_empty() {
        plan.refuse(at, "cudagraph_capture_sizes has no size", "leave it out, or set enforce_eager: true", diagnostics);
    }
    let (mut taken, beyond): (Vec<u32>, Vec<u32>) = sizes.iter().partition(|&&size| size <= tokens);
    if !beyond.is_empty() {
        let beyond: Vec<String> = beyond.iter().map(u32::to_string).collect();
        let message =
            format!("{} is left out, as vLLM does: beyond max_num_batched_tokens ({tokens})", beyond.join(", "));
        diagnostics.warn(at, message);
    }
    taken.sort_unstable();
    taken
}

/// Warns of keys that say nothing beside others.
fn warn_of_no_effect(config: &FrameworkConfig, diagnostics: &mut Diagnostics) {
    let is_eager = config.enforce_eager.value == Some(true);
    if config.kernel_launch_s.given && !is_eager {
        diagnostics.warn(&config.kernel_launch_s.at, "has no effect without enforce_eager: true");
    }
    if config.cudagraph_capture_sizes.given && is_eager {
        diagnostics.warn(&config.cudagraph_capture_sizes.at, "has no effect with enforce_eager: true");
    }
}

/// The batches that a release captures by itself, and why these.
fn captured(plan: &FrameworkPlan<'_>, device: &DeviceSpec, settings: &Settings) -> (Vec<u32>, String) {
    let (version, tokens, seqs) = (plan.version(), settings.max_num_batched_tokens, settings.max_num_seqs);
    let is_gpt_oss = plan.model.as_deref().is_some_and(|model| model.model_type == GPT_OSS);
    let (largest, reason) = if is_gpt_oss {
        let largest =
            if version.has(since::CAPTURES_BEYOND_FA3) { LARGEST_OF_GPT_OSS } else { LARGEST_OF_GPT_OSS_WITH_FA3 };
        (largest, format!("vLLM {version}'s for gpt-oss, up to {largest}"))
    } else {
        let most = largest_on(device, version);
        let reason = format!("vLLM {version}'s on a {}, up to {most} and twice max_num_seqs", device.name);
        (most.min(seqs.saturating_mul(2)), reason)
    };
    let held = largest.min(tokens);
    let mut sizes: Vec<u32> = capture_sizes(held).collect();
    sizes.extend((tokens <= held && version.has(since::CAPTURES_OF_ALL_TOKENS)).then_some(tokens));
    let has_seqs = !is_gpt_oss && seqs <= held && version.has(since::CAPTURES_OF_ALL_SEQS);
    sizes.extend(has_seqs.then_some(seqs));
    sizes.sort_unstable();
    sizes.dedup();
    (sizes, reason)
}

fn largest_on(device: &DeviceSpec, version: Version) -> u32 {
    if is_data_center_blackwell(device) && version.has(since::BLACKWELL_CAPTURES) {
        LARGEST_ON_BLACKWELL
    } else {
        LARGEST_CAPTURE
    }
}

/// The first sizes and the last.
fn shown(sizes: &[u32]) -> String {
    const SHOWN: usize = 6;
    let list = |sizes: &[u32]| sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match sizes.last() {
        Some(last) if sizes.len() > SHOWN + 1 => format!("{} … {last}", list(&sizes[..SHOWN])),
        _ => list(sizes),
    }
}

/// Batches that vLLM captures as graphs up to a largest one: 1, 2, 4, then every 8 below 256 and every 16 from there.
pub(crate) fn capture_sizes(largest: u32) -> impl Iterator<Item = u32> {
    let sizes = [1, 2, 4].into_iter().chain((8..256).step_by(8)).chain((256..=largest).step_by(16));
    sizes.take_while(move |&size| size <= largest)
}

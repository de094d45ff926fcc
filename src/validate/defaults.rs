//! What vLLM does where a run does not say.
//!
//! Source: vLLM's `vllm/engine/arg_utils.py` (`EngineArgs.get_batch_defaults`), `vllm/config/scheduler.py`
//! (`SchedulerConfig.DEFAULT_MAX_NUM_SEQS`, 128, and `DEFAULT_MAX_NUM_BATCHED_TOKENS`, 2048, which count when the engine is
//! called in process) and `vllm/config/cache.py`. The API server's defaults are larger on GPUs of 70 GiB and more other
//! than the A100, and smaller on TPUs.

use super::device::RunDevice;
use super::run_file::FrontEnd;

/// Memory from which on a GPU is large.
const LARGE_GPU_BYTES: u64 = 70 << 30;

/// Host time of a step and of each sequence in it: scheduling, input preparation, sampling's and output's Python. What is
/// left of the TPOT of the H100 serving points of vLLM 0.12 (synchronous scheduling) at tp 8 with answers of 512 and 1,024
/// tokens once the GPU's time is taken off: 1.4, 1.8, 2.5, 4.0 and 7.2 ms at 8, 16, 32, 64 and 128 clients. Under
/// asynchronous scheduling it hides behind the GPU.
pub(super) const STEP_OVERHEAD_S: f64 = 1.1e-3;
pub(super) const SEQUENCE_OVERHEAD_S: f64 = 45e-6;

/// Tokens and sequences a step.
pub(super) fn batch_limits(front_end: FrontEnd, device: &RunDevice) -> (u32, u32) {
    let name = device.catalog.spec.name.to_lowercase();
    if front_end == FrontEnd::InProcess {
        return (2048, 128);
    }
    if name.contains("tpu") {
        let tokens = if name.contains("v6e") { 1024 } else { 512 };
        return (tokens, 256);
    }
    if device.memory_bytes >= LARGE_GPU_BYTES && !name.contains("a100") { (8192, 1024) } else { (2048, 256) }
}

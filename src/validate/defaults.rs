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

/// A release, as far as its defaults differ: `0.23.0` is (0, 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    /// What a run is taken to be that does not say: one of the first half of 2026.
    pub(super) const UNKNOWN: Self = Self(0, 17);

    /// Reads `0.13.0rc2.dev79+g8f8fda261` and the like.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches(['v', 'V']).split('.');
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        Some(Self(digits(parts.next()?)?, digits(parts.next()?)?))
    }

    /// Share of the memory that vLLM may use: 0.9 as 0.19 recorded it, 0.92 as 0.23's KV pool says and 0.25's source
    /// has it; taken to have changed with 0.20.
    pub(super) fn gpu_memory_utilization(self) -> f64 {
        if self >= Self(0, 20) { 0.92 } else { 0.9 }
    }

    /// Whether a request is admitted only where all of its prompt finds KV blocks: vLLM's pull request 37307 of 2026-03,
    /// taken to be in 0.19 first. Before, the first chunk had to.
    pub(super) fn reserves_full_prompt(self) -> bool {
        self >= Self(0, 19)
    }

    /// Whether the next step is scheduled while the GPU computes this one: the default from 0.14 on (release notes of
    /// 2026-01; `vllm/config/vllm.py` resolves it).
    pub(super) fn async_scheduling(self) -> bool {
        self >= Self(0, 14)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_printed() {
        assert_eq!(Version::parse("0.13.0rc2.dev79+g8f8fda261"), Some(Version(0, 13)));
        assert_eq!(Version::parse("v0.23.0"), Some(Version(0, 23)));
        assert_eq!(Version::parse("0.9rc1"), Some(Version(0, 9)));
        for text in ["", "main", "0", "not recorded"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(!Version(0, 13).async_scheduling() && Version(1, 0).async_scheduling());
        assert!(!Version(0, 18).reserves_full_prompt() && Version(0, 19).reserves_full_prompt());
    }
}

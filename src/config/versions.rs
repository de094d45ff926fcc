//! vLLM's releases: which rule and which default came in with which.
//!
//! Read in vLLM's published packages of every minor release from the oldest to the newest here. A rule or default that changed is
//! one line of [`since`]; whoever needs it asks [`Version::has`].

use std::fmt;

use serde_json::Value as Json;

use super::declare::{Decode, Key, Shape};
use super::diagnostic::{At, Diagnostics};
use super::tree::{Node, Value};

/// A minor release of vLLM: `0.23.1` is (0, 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

/// The first release that has a rule or a default.
pub mod since {
    use super::Version;

    /// DeepSeek-V3.2 has a KV cache of 16 bits where none is asked for, before of fp8 (`DeepseekV32ForCausalLM`).
    pub const WIDE_CACHE_OF_V32: Version = Version(0, 12);
    /// gpt-oss captures CUDA graphs of up to 1,024 tokens, before 992 (`GptOssForCausalLMConfig`).
    pub const CAPTURES_BEYOND_FA3: Version = Version(0, 12);
    /// The package has `triton_kernels`, by which Hopper computes mxfp4 experts; before, it fell back on Marlin
    /// (`get_mxfp4_backend`).
    pub const TRITON_KERNELS: Version = Version(0, 12);
    /// The next step is scheduled while the GPU computes this one, by default (`vllm/config/vllm.py`).
    pub const ASYNC_SCHEDULING: Version = Version(0, 14);
    /// `max_model_len: auto`, the longest that the KV cache can hold.
    pub const MAX_MODEL_LEN_AUTO: Version = Version(0, 14);
    /// So it is with pipeline parallelism too.
    pub const ASYNC_SCHEDULING_OF_STAGES: Version = Version(0, 15);
    /// fp8 experts in blocks go to the first family on a list, on Hopper FlashInfer's CUTLASS (`select_fp8_moe_backend`).
    pub const EXPERTS_BY_PRIORITY: Version = Version(0, 15);
    /// Slices of them on Hopper go to Triton.
    pub const TRITON_FOR_SLICES: Version = Version(0, 17);
    /// `max_num_scheduled_tokens`.
    pub const SCHEDULED_TOKENS: Version = Version(0, 17);
    /// A request is admitted only where all of its prompt finds blocks: `scheduler_reserve_full_isl` (pull request 37307).
    pub const FULL_PROMPT_RESERVED: Version = Version(0, 19);
    /// KV caches of nvfp4 and int8 (`CacheDType`).
    pub const NARROW_KV_CACHES: Version = Version(0, 20);
    /// `gpu_memory_utilization` is 0.92, before 0.9 (`vllm/config/cache.py`).
    pub const MEMORY_UTILIZATION_OF_92_PERCENT: Version = Version(0, 20);
    /// A step of `max_num_batched_tokens` is captured, where that is no more than the largest (`VllmConfig._set_cudagraph_sizes`).
    pub const CAPTURES_OF_ALL_TOKENS: Version = Version(0, 21);
    /// `--quantization-config.moe.activation`; before, `VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8` (`vllm/envs.py`).
    pub const EXPERT_ACTIVATIONS: Version = Version(0, 23);
    /// MiniMax-M2's norms on queries and keys are one kernel with their all-reduce, and its router in 32 bits has a kernel of its
    /// own for up to 32 tokens (`MiniMaxText01RMSNormTP.forward_qkv`, `GateLinear`).
    pub const FUSED_NORMS_AND_ROUTERS: Version = Version(0, 23);
    /// A KV cache is loaded only where running prompts find their blocks beside it (pull request 44560).
    pub const LOADS_LEAVE_ROOM: Version = Version(0, 23);
    /// A block that is freed without a hash (partly filled) returns to the front of the free queue
    /// (`BlockPool.free_blocks`).
    pub const UNHASHED_BLOCKS_FIRST: Version = Version(0, 24);
    /// `watermark`.
    pub const WATERMARK: Version = Version(0, 24);
    /// `prefill_schedule_interval`: between engines that share experts.
    pub const PREFILL_SCHEDULE_INTERVAL: Version = Version(0, 24);
    /// Without prefix caching every block that is freed returns to the front of the free queue.
    pub const UNCACHED_BLOCKS_FIRST: Version = Version(0, 28);
    /// `max_num_batched_tokens` is 16,384 on GPUs of 160 GiB or more, and what holds for an A100 of less does not for them
    /// (`EngineArgs.get_batch_defaults`).
    pub const HUGE_GPUS: Version = Version(0, 28);
    /// KV caches of int4.
    pub const INT4_KV_CACHE: Version = Version(0, 25);
    /// Prefixes are cached by default of models with states too, such as linear attention (`is_prefix_caching_supported`).
    pub const PREFIX_CACHING_OF_STATES: Version = Version(0, 26);
    /// CUDA graphs of up to 1,024 tokens are captured on GPUs of compute capability 10, elsewhere of 512 (pull request 49390).
    pub const BLACKWELL_CAPTURES: Version = Version(0, 28);
    /// A step that decodes `max_num_seqs` is captured, whether or not it is on the grid.
    pub const CAPTURES_OF_ALL_SEQS: Version = Version(0, 29);
    /// `max_num_queued_reqs`, `max_num_queued_tokens`.
    pub const QUEUE_LIMITS: Version = Version(0, 29);
    /// fp8 experts whose blocks do not divide among the ranks are given smaller ones (`refine_fp8_moe_block_shape`).
    pub const REFINED_EXPERT_BLOCKS: Version = Version(0, 29);
    /// A model that is stretched by YaRN takes `max_position_embeddings`, before what it was trained on times the factor
    /// (`_get_and_verify_max_len`).
    pub const YARN_CONTEXT_IS_STATED: Version = Version(0, 30);
    /// A lone request is not held to `long_prefill_token_threshold`.
    pub const LONE_REQUEST_WITHOUT_THRESHOLD: Version = Version(0, 31);
    /// `long_prefill_token_threshold_adaptive`.
    pub const ADAPTIVE_THRESHOLD: Version = Version(0, 31);
    /// `max_num_active_seqs`.
    pub const ACTIVE_SEQS: Version = Version(0, 31);
    /// Under `priority`, a running request that preempted itself is passed over; before, it ended the walk.
    pub const SELF_PREEMPTION_PASSED_OVER: Version = Version(0, 33);
    /// GLM's models with sparse attention have a KV cache of fp8 on GPUs of compute capability 10 (`GlmMoeDsaForCausalLM`).
    pub const NARROW_CACHE_OF_GLM: Version = Version(0, 32);
    /// `prefill_schedule_interval` of an engine alone.
    pub const PREFILL_SCHEDULE_INTERVAL_ALONE: Version = Version(0, 33);
    /// Blocks of sliding windows are let go when no step in flight reads them (`KVCacheManager.allocate_slots`). Of this and the next
    /// two it is known that 0.19.1 did not have them and 0.33.0 does.
    pub const WINDOWS_WAIT_FOR_OUTPUT: Version = Version(0, 33);
    /// A request reserves no more blocks of a sliding window than it can hold (`max_admission_blocks_per_request`).
    pub const WINDOWS_ARE_CAPPED: Version = Version(0, 33);
    /// Sliding windows keep blocks only where prompts end and where they part (`prefix_cache_retention_interval`).
    pub const SPARSE_RETENTION: Version = Version(0, 33);
    /// A GB10 (DGX Spark) counts as a small GPU, whatever its memory.
    pub const GB10_IS_SMALL: Version = Version(0, 33);
}

impl Version {
    /// The first release that the table knows.
    pub const OLDEST: Self = Self(0, 11);
    /// The last one, and the default of a configuration.
    pub const NEWEST: Self = Self(0, 33);

    /// The one that was the newest in March 2026.
    pub const FIRST_HALF_OF_2026: Self = Self(0, 17);

    /// Whether it is that release or a later one.
    #[must_use]
    pub fn has(self, since: Self) -> bool {
        self >= since
    }

    /// Share of a GPU's memory that weights, activations and KV cache may take.
    #[must_use]
    pub fn gpu_memory_utilization(self) -> f64 {
        if self.has(since::MEMORY_UTILIZATION_OF_92_PERCENT) { 0.92 } else { 0.9 }
    }

    /// Reads `0.13.0rc2.dev79+g8f8fda261` and the like; `None` for other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches(['v', 'V']).split('.');
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        Some(Self(digits(parts.next()?)?, digits(parts.next()?)?))
    }

    /// What is wrong with it where the table does not know it, and the way out.
    #[must_use]
    pub fn unknown(self) -> Option<(String, String)> {
        let (oldest, newest) = (Self::OLDEST, Self::NEWEST);
        let way_out = format!("known are {oldest} to {newest}");
        if self > newest {
            return Some((format!("vLLM {self} is newer than what is known of its rules and defaults"), way_out));
        }
        (self < oldest)
            .then(|| (format!("vLLM {self} is older than the table of its rules, which begins with {oldest}"), way_out))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Decode for Version {
    const SHAPE: &'static Shape = &Shape::Text;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        // YAML takes 0.33 for a number, and 0.30 for 0.3, which is no known release: never for another one.
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => {
                key.wrong_type("a release of vLLM, such as \"0.33\"", node, at, diagnostics);
                return None;
            }
        };
        let Some(version) = Self::parse(&text) else {
            diagnostics.error_with(at, format!("{text:?} is no release of vLLM"), "such as \"0.33\"");
            return None;
        };
        let Some((message, way_out)) = version.unknown() else { return Some(version) };
        let has_lost_a_zero = matches!(node.value, Value::Number(_)) && version < Self::OLDEST;
        let quotes = if has_lost_a_zero { "; put it into quotes: YAML reads 0.30 as 0.3" } else { "" };
        diagnostics.error_with(at, message, way_out + quotes);
        None
    }

    fn json(&self) -> Json {
        self.to_string().into()
    }
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
    }

    #[test]
    fn a_rule_holds_from_its_release_on() {
        assert!(!Version(0, 18).has(since::FULL_PROMPT_RESERVED) && Version(0, 19).has(since::FULL_PROMPT_RESERVED));
        assert_eq!([Version(0, 19), Version(0, 20)].map(Version::gpu_memory_utilization), [0.9, 0.92]);
        assert!(Version(0, 9) < Version(0, 10) && Version(0, 33) < Version(1, 0));
        assert_eq!(Version::OLDEST.unknown().or(Version::NEWEST.unknown()), None);
        assert!(Version(0, 10).unknown().is_some_and(|(message, _)| message.contains("older")));
        assert!(Version(0, 34).unknown().is_some_and(|(message, _)| message.contains("newer")));
    }
}

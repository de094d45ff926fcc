//! `frameworks_to_test`: serving engines.

use oracle_components::efficiency::ExpertFamily;
use oracle_components::model::Dtype;
use oracle_components::scenario::{ExpertExchange, KvSide, QueuePolicy, Role};
use oracle_components::weight_format::WeightFormat;

use super::{LONGEST_DELAY_S, LOWEST_EFFICIENCY, MOST_BYTES_PER_TOKEN};
use crate::config::declare::{
    Decode, Field, Ignored, Key, Literal, Meant, Named, Placed, Set, Shape, default, ignored, names, optional,
    required, section,
};
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::tree::{Node, Value};
use crate::config::versions::Version;

names!(FrameworkKind { "VLLM" => FrameworkKind::Vllm, "ParallelVLLM" => FrameworkKind::ParallelVllm });
names!(Strategy {
    "None" => Strategy::None,
    "DP" => Strategy::Data,
    "TP" => Strategy::Tensor,
    "PP" => Strategy::Pipeline,
    "TP_PP" => Strategy::TensorPipeline,
});
names!(FrontEnd { "none" => FrontEnd::None, "in_process" => FrontEnd::InProcess, "http" => FrontEnd::Http });
names!(Role { "both" => Role::Both, "prefill" => Role::Prefill, "decode" => Role::Decode });
names!(KvSide { "kv_consumer" => KvSide::Consumer, "kv_producer" => KvSide::Producer });
names!(KvConnector { "NixlConnector" => KvConnector::Nixl });
names!(ExpertExchange {
    "allgather_reducescatter" => ExpertExchange::AllGather,
    "all_to_all" => ExpertExchange::AllToAll,
});
names!(QueuePolicy { "fcfs" => QueuePolicy::Fcfs, "priority" => QueuePolicy::Priority });
names!(EvictionPolicy { "lru" => EvictionPolicy::Lru });
names!(WeightFormat {
    "fp32" => WeightFormat::wide(Dtype::Fp32),
    "bf16" => WeightFormat::wide(Dtype::Bf16),
    "fp16" => WeightFormat::wide(Dtype::Fp16),
    "fp8" => WeightFormat::usual(Dtype::Fp8),
    "fp8_block128" => WeightFormat::fp8_in_blocks(128),
    "fp8_a16" => WeightFormat::usual(Dtype::Fp8).met_by(None),
    "mxfp8" => WeightFormat::usual(Dtype::Fp8).in_groups(32, 8),
    "int8" => WeightFormat::usual(Dtype::Int8),
    "int8_a16" => WeightFormat::usual(Dtype::Int8).met_by(None),
    "int4" => WeightFormat::usual(Dtype::Int4),
    "int4_g32" => WeightFormat::usual(Dtype::Int4).in_groups(32, 16),
    "int4_g64" => WeightFormat::usual(Dtype::Int4).in_groups(64, 16),
    "int4_g128" => WeightFormat::usual(Dtype::Int4),
    "int4_afp8" => WeightFormat::usual(Dtype::Int4).met_by(Some(Dtype::Fp8)),
    "int4_aint8" => WeightFormat::usual(Dtype::Int4).met_by(Some(Dtype::Int8)),
    "int3" => WeightFormat::usual(Dtype::Int3),
    "int2" => WeightFormat::usual(Dtype::Int2),
    "nvfp4" => WeightFormat::usual(Dtype::Nvfp4),
    "nvfp4_a16" => WeightFormat::usual(Dtype::Nvfp4).met_by(None),
    "mxfp4" => WeightFormat::usual(Dtype::Mxfp4),
    "mxfp4_amxfp4" => WeightFormat::usual(Dtype::Mxfp4).met_by(Some(Dtype::Mxfp4)),
    "mxfp4_afp8" => WeightFormat::usual(Dtype::Mxfp4).met_by(Some(Dtype::Fp8)),
    "mxfp6" => WeightFormat::usual(Dtype::Fp6),
    "nf4" => WeightFormat::usual(Dtype::Nf4),
} also VLLM_METHODS);

/// vLLM's `--quantization`: methods of one format, and those of which a checkpoint says the format.
const VLLM_METHODS: &[(&str, Meant)] = &[
    ("bfloat16", Meant::One("bf16")),
    ("float16", Meant::One("fp16")),
    ("half", Meant::One("fp16")),
    ("float32", Meant::One("fp32")),
    ("fp8_e4m3", Meant::One("fp8")),
    ("fp8_per_channel", Meant::One("fp8")),
    ("ptpc_fp8", Meant::One("fp8")),
    ("fbgemm_fp8", Meant::One("fp8")),
    ("deepgemm_fp8", Meant::One("fp8_block128")),
    ("awq", Meant::One("int4_g128")),
    ("awq_marlin", Meant::One("int4_g128")),
    ("auto_awq", Meant::One("int4_g128")),
    ("modelopt_fp4", Meant::One("nvfp4")),
    ("modelopt_mxfp8", Meant::One("mxfp8")),
    ("gpt_oss_mxfp4", Meant::One("mxfp4")),
    ("w8a8_int8", Meant::One("int8")),
    ("experts_int8", Meant::One("int8_a16")),
    ("gptq", Meant::Several(OF_INTEGERS)),
    ("gptq_marlin", Meant::Several(OF_INTEGERS)),
    ("auto_gptq", Meant::Several(OF_INTEGERS)),
    ("auto-round", Meant::Several(OF_INTEGERS)),
    ("hqq", Meant::Several(OF_INTEGERS)),
    ("compressed-tensors", Meant::Several(OF_CHECKPOINTS)),
    ("compressed_tensors", Meant::Several(OF_CHECKPOINTS)),
    ("modelopt", Meant::Several(OF_CHECKPOINTS)),
    ("quark", Meant::Several(OF_CHECKPOINTS)),
    ("torchao", Meant::Several(OF_CHECKPOINTS)),
    ("bitsandbytes", Meant::Several("nf4, or int8_a16 for its 8 bits")),
];
const OF_INTEGERS: &str = "int4_g128, int4_g64 or int4_g32 for 4 bits in groups of so many, int8_a16 for 8 bits";
const OF_CHECKPOINTS: &str = "what the checkpoint holds: fp8, fp8_block128, nvfp4, mxfp4, int8, int4_g128 and the like";

names!(MoeBackend {
    "auto" => MoeBackend { family: None, activations: None },
    "triton" => MoeBackend { family: Some(ExpertFamily::Triton), activations: None },
    "marlin" => MoeBackend { family: Some(ExpertFamily::Marlin), activations: Some(None) },
    "flashinfer_trtllm" => MoeBackend { family: Some(ExpertFamily::Trtllm), activations: None },
    "flashinfer_trtllm_afp8" => MoeBackend { family: Some(ExpertFamily::Trtllm), activations: Some(Some(Dtype::Fp8)) },
    "flashinfer_cutlass" => MoeBackend { family: Some(ExpertFamily::Cutlass), activations: None },
});

names!(CacheDtype {
    "auto" => CacheDtype::Model,
    "fp8" => CacheDtype::Of(Dtype::Fp8),
    "fp8_e4m3" => CacheDtype::Of(Dtype::Fp8),
    "fp8_e5m2" => CacheDtype::Of(Dtype::Fp8),
    "bf16" => CacheDtype::Of(Dtype::Bf16),
    "bfloat16" => CacheDtype::Of(Dtype::Bf16),
    "fp16" => CacheDtype::Of(Dtype::Fp16),
    "float16" => CacheDtype::Of(Dtype::Fp16),
    "fp32" => CacheDtype::Of(Dtype::Fp32),
    "int8" => CacheDtype::Of(Dtype::Int8),
    "int8_per_token_head" => CacheDtype::Of(Dtype::Int8),
    "int4" => CacheDtype::Of(Dtype::Int4),
    "int4_per_token_head" => CacheDtype::Of(Dtype::Int4),
    "mxfp4" => CacheDtype::Of(Dtype::Mxfp4),
    "nvfp4" => CacheDtype::Of(Dtype::Nvfp4),
});

/// Kernels for routed experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MoeBackend {
    /// The first that vLLM has for device and weights, unless one is named.
    pub(crate) family: Option<ExpertFamily>,
    /// What they quantise activations to, where the checkpoint does not say it.
    pub(crate) activations: Option<Option<Dtype>>,
}

impl MoeBackend {
    /// The name of a family.
    pub(crate) fn name(family: ExpertFamily) -> &'static str {
        let named = Self::VALUES.iter().zip(Self::NAMES).find(|(backend, _)| backend.family == Some(family));
        named.expect("every family has a name").1
    }
}

/// Element type of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheDtype {
    /// The model's own.
    Model,
    Of(Dtype),
}

/// Longest context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextLength {
    /// As long as the KV cache allows.
    Auto,
    Tokens(u32),
}

impl ContextLength {
    /// As many as are stated.
    pub(crate) fn tokens(self) -> Option<u32> {
        match self {
            Self::Auto => None,
            Self::Tokens(tokens) => Some(tokens),
        }
    }
}

impl Decode for ContextLength {
    const SHAPE: &'static Shape = &Shape::Any;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            // vLLM spells it -1 too.
            Value::Integer(-1) => Some(Self::Auto),
            Value::Text(text) if text == "auto" => Some(Self::Auto),
            Value::Text(_) => {
                key.wrong_type("a whole number or auto", node, at, diagnostics);
                None
            }
            _ => u32::decode(node, key, at, diagnostics).map(Self::Tokens),
        }
    }

    fn json(&self) -> serde_json::Value {
        self.tokens().map_or_else(|| "auto".into(), Into::into)
    }
}

/// Where sliding windows keep blocks for others to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Everywhere.
    Everywhere,
    /// At multiples of so many tokens.
    Tokens(u32),
}

impl Retention {
    /// As many as are stated.
    pub(crate) fn tokens(self) -> Option<u32> {
        match self {
            Self::Everywhere => None,
            Self::Tokens(tokens) => Some(tokens),
        }
    }
}

impl Decode for Retention {
    const SHAPE: &'static Shape = &Shape::Any;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "none" => Some(Self::Everywhere),
            Value::Text(_) => {
                key.wrong_type("a whole number or none", node, at, diagnostics);
                None
            }
            _ => u32::decode(node, key, at, diagnostics).map(Self::Tokens),
        }
    }

    fn json(&self) -> serde_json::Value {
        self.tokens().map_or_else(|| "none".into(), Into::into)
    }
}

/// How a framework is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameworkKind {
    /// One GPU, unless `parallelism` says otherwise.
    Vllm,
    /// Several GPUs.
    ParallelVllm,
}

/// How a model is spread over GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    None,
    /// This entry is one of several replicas.
    Data,
    Tensor,
    Pipeline,
    TensorPipeline,
}

/// What stands between the client and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrontEnd {
    /// Nothing that takes time.
    None,
    /// A process that calls the engine, such as vLLM's `AsyncLLM`.
    InProcess,
    /// An HTTP server, such as vLLM's.
    Http,
}

/// By what KV caches go from one engine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvConnector {
    Nixl,
}

/// Which cached prefix goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionPolicy {
    Lru,
}

section! {
    /// A serving framework.
    Framework {
        /// Its name in messages, records and time series.
        name: Field<String> = required().example("vllm_0");
        /// `VLLM` on one GPU, `ParallelVLLM` on several.
        kind: Field<FrameworkKind> = required().named("type").example("VLLM");
        /// The release of vLLM whose rules and defaults hold.
        version: Field<Version> = optional("0.33, the newest that is known").example("\"0.33\"")
            .also_called(&["vllm_version", "engine_version", "backend_version"]);
        /// Whether it takes requests. Those that do not are checked but not simulated.
        is_target_for_workload: Set<bool> = default(Literal::Flag(true)).example("true");
        /// `prefill`: computes prompts, whose KV caches go to frameworks that only `decode`, over the links between their GPUs;
        /// all of these serve one model with one block size, and those that decode cache no prefixes. `both`: serves whole requests.
        role: Field<Role> = optional("both");
        /// That many copies, each on GPUs of its own: the first on those named here, the others on clones of these,
        /// links included.
        replicas: Set<u32> = default(Literal::Integer(1)).range(1.0, 100_000.0).example("1")
            .also_called(&["data_parallel_size", "count", "num_replicas"]);
        /// Its settings.
        config: Field<FrameworkConfig> = required();
    }
}

section! {
    /// Settings of a framework.
    FrameworkConfig {
        /// The model: a name from the model database or the catalog (`llmperforacle models` lists it), or the path of a
        /// Hugging Face config.json or its folder.
        model_profile_id: Field<String> = required().example("Llama3-8B").also_called(&["model", "model_id", "model_name"]);
        /// The GPU of a framework without parallelism.
        gpu_id: Field<String> = optional("required for VLLM").example("gpu0").also_called(&["device_id", "gpu"]);
        /// As the framework's `version`, before which it counts.
        version: Field<Version> = optional("the framework's");
        /// Tokens of a KV block, a multiple of 16.
        block_size: Set<u32> = default(Literal::Integer(16)).unit("tokens").range(1.0, 256.0).example("16");
        /// Sequences that run at once.
        max_num_seqs: Field<u32> = optional("vLLM's: 1024 on GPUs of 70 GiB or more but the A100, else 256").at_least(1.0)
            .example("256");
        /// Tokens a step.
        max_num_batched_tokens: Field<u32> = optional("vLLM's: 16384 on GPUs of 160 GiB or more, 8192 of 70 but the A100, else 2048")
            .unit("tokens").range(1.0, 1e8);
        /// A prompt may be computed over several steps.
        enable_chunked_prefill: Set<bool> = default(Literal::Flag(true)).example("true");
        /// Most prompt tokens of one sequence a step.
        prefill_chunk_size: Field<u32> = optional("no limit").unit("tokens").at_least(1.0);
        /// vLLM's name of `prefill_chunk_size`; 0: no limit.
        long_prefill_token_threshold: Field<u32> = optional("no limit").unit("tokens");
        /// Hold `long_prefill_token_threshold` no lower than `max_num_batched_tokens` over the number of waiting and running requests.
        long_prefill_token_threshold_adaptive: Set<bool> = default(Literal::Flag(false));
        /// Tokens a step that are scheduled, where that is less than `max_num_batched_tokens`.
        max_num_scheduled_tokens: Field<u32> = optional("max_num_batched_tokens").unit("tokens").range(1.0, 1e8);
        /// Sequences that run at once, where that is less than `max_num_seqs`.
        max_num_active_seqs: Field<u32> = optional("max_num_seqs").at_least(1.0);
        /// Share of the KV blocks that stay free when a request is admitted beside others.
        watermark: Set<f64> = default(Literal::Number(0.0)).range(0.0, 1.0);
        /// Send streamed answers in chunks of so many tokens, but for the first, which is sent at once. Only what the client sees changes:
        /// the gaps between tokens (ITL) are those between chunks, and tokens cross the links to the client in chunks.
        stream_interval: Set<u32> = default(Literal::Integer(1)).unit("tokens").range(1.0, 65536.0);
        /// Requests that the server lets in and has not answered yet, at most; what arrives beyond that fails at once, as with vLLM's 503.
        max_num_queued_reqs: Field<u32> = optional("no limit").unit("requests");
        /// While others decode, prompts are computed in one of so many steps at most, unless one has left requests waiting.
        prefill_schedule_interval: Set<u32> = default(Literal::Integer(1)).at_least(1.0);
        /// Host time a step that the GPU waits for.
        scheduler_iteration_delay_s: Field<f64> = optional("0.0011").unit("s").range(0.0, LONGEST_DELAY_S);
        /// Another name of `scheduler_iteration_delay_s`.
        step_overhead_s: Field<f64> = optional("0.0011").unit("s").range(0.0, LONGEST_DELAY_S);
        /// What a request and its answer pass between the client and the engine: `none`, which takes no time,
        /// `in_process`, a process that calls the engine, or `http`, a server that tokenizes, detokenizes and streams.
        front_end: Field<FrontEnd> = optional("http");
        /// What that takes.
        front_end_delay: Field<FrontEndDelay> = optional("what is usual for `front_end`");
        /// Host time of each sequence in a step, beside `step_overhead_s`.
        sequence_overhead_s: Field<f64> = optional("0.000045").unit("s").range(0.0, 1.0);
        /// GPU time of a token of an image in the vision encoder, on all the ranks of the first stage: before the step that first computes
        /// of the prompt. Only requests with `encoder_tokens` have it.
        encoder_token_s: Field<f64> = optional("that of 675 M parameters at 40 % of the ranks' 16-bit peak: a guess").unit("s")
            .range(0.0, 1e-3);
        /// Admit a request only where the KV cache has room for all of its prompt, not for its first chunk alone: then a
        /// prompt that finds no room for the rest is preempted.
        scheduler_reserve_full_isl: Field<bool> = optional("true from vLLM 0.19 on, before false");
        /// Schedule the next step while the GPU computes this one: the host's time hides behind the GPU's, and a new request
        /// waits a step longer.
        async_scheduling: Field<bool> = optional("true from vLLM 0.14 on, before false");
        /// One side of disaggregated serving, whose other side is not simulated; both sides are frameworks with a `role`.
        kv_transfer_config: Field<KvTransferConfig> = optional("none");
        /// Bytes of a streamed token on the way to the client.
        bytes_per_token_estimate_for_network: Set<f64> = default(Literal::Number(2.0)).unit("bytes")
            .range(0.0, MOST_BYTES_PER_TOKEN).example("2");
        /// Reuse the KV cache of a conversation's earlier turns; also the master switch of
        /// `enable_cross_request_caching`.
        enable_prefix_caching: Field<bool> = optional("true; of models with states from vLLM 0.26 on, of those without attention never").example("true");
        /// Take all layers for full attention, as vLLM without its hybrid KV cache manager: sliding windows then keep the whole context. So it
        /// is with a `role` or `kv_transfer_config`, and where ranks share a KV cache, too.
        disable_hybrid_kv_cache_manager: Set<bool> = default(Literal::Flag(false));
        /// Sliding windows keep blocks for prefixes to be found at multiples of so many tokens, and where prompts end; 0: there alone;
        /// `none`: everywhere.
        prefix_cache_retention_interval: Field<Retention> = optional("0; before vLLM 0.33 none").unit("tokens");
        /// Reuse the KV cache of other requests with the same beginning.
        enable_cross_request_caching: Set<bool> = default(Literal::Flag(true)).example("true");
        /// Prefixes of other requests count only from this length on.
        min_prefix_cache_length: Field<u32> = optional("0").unit("tokens");
        /// Entries of the predecessor's cache; here the KV pool bounds the cache.
        max_prefix_cache_size: Field<u64> = optional("the KV pool bounds the cache");
        /// Which cached prefix goes first.
        prefix_eviction_policy: Set<EvictionPolicy> = default(Literal::Text("lru"));
        /// Whether the predecessor kept token ids in its cache.
        store_prefix_tokens: Field<bool> = optional("the KV pool bounds the cache");
        /// Share of the GPU's memory that weights, activations and KV cache may take.
        gpu_memory_utilization: Field<f64> = optional("0.92 from vLLM 0.20 on, before 0.9").share().example("0.9");
        /// KV blocks, in place of what memory allows. As in vLLM, one of them is the null block, which no request gets.
        num_gpu_blocks_override: Field<u64> = optional("what memory allows").unit("blocks").range(2.0, 1e12);
        /// Longest context, prompt and output together. `auto`: the model's, held to what the KV cache can store.
        max_model_len: Field<ContextLength> = optional("the model's").unit("tokens").at_least(1.0);
        /// Order of the waiting queue: `fcfs` or `priority`.
        scheduling_policy: Set<QueuePolicy> = default(Literal::Text("fcfs")).example("fcfs").also_called(&["policy"]);
        /// Launch kernels one by one instead of as CUDA graphs.
        enforce_eager: Field<bool> = optional("graphs, on devices with an efficiency curve");
        /// Batches of up to the largest of these numbers of tokens run with as many tokens as the next of them.
        cudagraph_capture_sizes: Field<Vec<u32>> = optional("vLLM's: 1, 2, 4, 8, 16, 24 … up to twice `max_num_seqs`, and 512; from 0.28 on 1024 on GPUs of compute capability 10; of gpt-oss 1024")
            .unit("tokens").range(1.0, 1e6).also_called(&["cuda_graph_sizes"]);
        /// What launching a kernel takes on the host with `enforce_eager`: the GPU waits for it.
        kernel_launch_s: Field<f64> = optional("0.000025").unit("s").range(0.0, 1.0);
        /// Share of the peak FLOP/s that compute-bound kernels reach, whatever the shape.
        mfu: Field<f64> = optional("the device's").range(LOWEST_EFFICIENCY, 1.0);
        /// Share of the memory bandwidth that memory-bound kernels reach, whatever the shape.
        mbu: Field<f64> = optional("the device's").range(LOWEST_EFFICIENCY, 1.0);
        /// The `model_type` that a Hugging Face config.json is read as, whatever it says itself.
        assume_model_type: Field<String> = optional("its own");
        /// How weights are stored: element type, `_g` with how many share a scale, `_a` with what activations are quantised to.
        weight_dtype: Field<WeightFormat> = optional("the model's").also_called(&["dtype", "quantization"]);
        /// Element type of the KV cache.
        kv_cache_dtype: Field<CacheDtype> = optional("auto, the model's").also_called(&["kv_dtype"]);
        /// Kernels for routed experts, as vLLM's `--moe-backend` names them. Those of `flashinfer_trtllm_afp8` quantise what meets
        /// mxfp4 experts to 8 bits (`--quantization-config.moe.activation mxfp8`, before vLLM 0.23 `VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1`); `marlin` is what `VLLM_MXFP4_USE_MARLIN=1` was, too.
        moe_backend: Field<MoeBackend> = optional("auto, what vLLM takes for device and weights");
        /// Leave all-reduces to NCCL, small ones too. Links that are rings of their bandwidth and latency know no other.
        disable_custom_all_reduce: Field<bool> = optional("false");
        /// How the model is spread over GPUs.
        parallelism: Field<Parallelism> = optional("one GPU");
        /// Level of detail; `simulation.lod` always overrode it.
        lod: Ignored = ignored();
        /// Data parallelism; use `replicas`.
        data_parallel_group: Ignored = ignored();
        /// Data parallelism; use `replicas`.
        data_parallel_size: Ignored = ignored();
        /// Data parallelism; use `replicas`.
        data_parallel_rank: Ignored = ignored();
        /// Micro-batches; use `parallelism.num_microbatches_per_request`.
        microbatch_size: Ignored = ignored();
    }
}

section! {
    /// What a front end takes. Requests pass it one after the other, and so do answers.
    FrontEndDelay {
        /// From a request's arrival to its handing over to the engine.
        request_s: Field<f64> = optional("the front end's").unit("s").range(0.0, LONGEST_DELAY_S);
        /// More for each token of the prompt, during which no other request passes: tokenizing.
        prompt_token_s: Field<f64> = optional("the front end's").unit("s").range(0.0, 1.0);
        /// From a token's generation to the client.
        response_s: Field<f64> = optional("the front end's").unit("s").range(0.0, LONGEST_DELAY_S);
        /// More for each token of a step, during which no other step's passes: detokenizing and streaming.
        response_token_s: Field<f64> = optional("the front end's").unit("s").range(0.0, 1.0);
    }
}

section! {
    /// One side of disaggregated serving.
    KvTransferConfig {
        /// By what KV caches are transferred.
        kv_connector: Set<KvConnector> = default(Literal::Text("NixlConnector"));
        /// `kv_consumer`: every prompt was computed elsewhere, and its KV cache is loaded in place of being computed; no prefixes are
        /// cached. `kv_producer`: every answer is one token, and the prompt's KV blocks stay until they are elsewhere.
        kv_role: Field<KvSide> = required();
        /// What the KV cache of a prompt takes from one side to the other.
        transfer_s: Field<f64> = required().unit("s").range(0.0, LONGEST_DELAY_S);
    }
}

section! {
    /// How the model is spread over GPUs.
    Parallelism {
        /// `TP`: every layer over all GPUs; `PP`: layers by stages; `TP_PP`: both. `DP`: one replica of several, on one GPU.
        strategy: Field<Strategy> = optional("one GPU");
        /// The GPUs, stage by stage.
        gpu_ids: Set<Vec<Placed<String>>> = default(Literal::EmptyList).also_called(&["gpus", "device_ids"]);
        /// Ranks that share every layer.
        tp_degree: Set<u32> = default(Literal::Integer(1)).at_least(1.0)
            .also_called(&["tensor_parallel_degree", "tensor_parallel_size", "tensor_parallel", "tp_size", "tp"]);
        /// Stages that share the layers.
        pp_stages: Set<u32> = default(Literal::Integer(1)).at_least(1.0)
            .also_called(&["pipeline_parallel_size", "pipeline_parallel", "pp_size", "pp_degree", "pp"]);
        /// Micro-batches that a step with prompts is cut into on its way through the stages, prompts split as need be;
        /// without it as many as there are stages, of whole sequences.
        num_microbatches_per_request: Field<u32> = optional("the number of stages").at_least(1.0);
        /// Whole routed experts on the ranks, in place of a slice of each on every rank; the busiest rank counts.
        expert_parallel: Field<bool> = optional("false").also_called(&["enable_expert_parallel", "ep"]);
        /// Engines that share the routed experts, each on its part of `gpu_ids` with attention, KV cache and requests of its
        /// own (DP attention); with `expert_parallel`. Copies that share nothing are `replicas`.
        dp_degree: Field<u32> = optional("1").range(1.0, 1024.0)
            .also_called(&["data_parallel_size", "data_parallel", "dp_size", "dp"]);
        /// How tokens reach the experts of other engines.
        all2all_backend: Field<ExpertExchange> = optional("allgather_reducescatter").also_called(&["expert_exchange"]);
        /// Load of the busiest rank with experts over the mean of all.
        expert_imbalance: Field<f64> = optional("what is expected of uniform routing").range(1.0, 1024.0);
        /// Reduce-scatter and all-gather in place of each all-reduce, and norms divided among the ranks.
        sequence_parallel: Field<bool> = optional("false").also_called(&["enable_sequence_parallelism", "sp"]);
        /// Ranks that divide among them, by tokens, the KV cache that each would otherwise hold a copy of; they decode
        /// together. At most `tp_degree` over the model's KV heads, with latent attention `tp_degree`.
        dcp_degree: Field<u32> = optional("1").range(1.0, 1024.0)
            .also_called(&["decode_context_parallel_size", "dcp_size", "dcp", "cp"]);
    }
}

//! The benchmarks behind published serving points: how their clients ask, and what their servers were started with, by engine,
//! model, device and day (`configs/fidelity/benchmarks.yaml`).

use std::sync::LazyLock;

use serde::Deserialize;

use super::run_file::EngineFlags;
use crate::config::versions::Version;

/// An engine that somebody has measured. Only vLLM is simulated; points of the others are held against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    Vllm,
    Sglang,
    Trtllm,
}

impl Engine {
    /// By what tables call it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let folded: String = text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        [("vllm", Self::Vllm), ("sglang", Self::Sglang), ("trt", Self::Trtllm), ("tensorrt", Self::Trtllm)]
            .into_iter()
            .find(|(name, _)| folded.contains(name))
            .map(|(_, engine)| engine)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Trtllm => "TensorRT-LLM",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BenchmarkFile {
    pub(super) benchmarks: Vec<Benchmark>,
    fitted: Vec<Fitted>,
}

/// Who measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Benchmark {
    pub(super) name: String,
    /// Whose data it is.
    pub(super) source: String,
    /// Shortest prompt and answer that is drawn, of the stated one.
    pub(super) least_share_of_length: f64,
    pub(super) requests_per_client: u32,
    servers: Vec<Server>,
}

/// What a server was started with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    engine: Engine,
    /// Parts of a model's name; any model without.
    #[serde(default)]
    models: Vec<String>,
    /// Beginnings of a device's catalog name; any device without.
    #[serde(default)]
    devices: Vec<String>,
    from_version: Option<String>,
    before_day: Option<String>,
    pub(super) source: String,
    /// What of it is not simulated.
    pub(super) note: Option<String>,
    max_num_batched_tokens: Option<Amount>,
    max_num_seqs: Option<Amount>,
    max_model_len: Option<Amount>,
    max_cudagraph_capture_size: Option<u32>,
    block_size: Option<u32>,
    stream_interval: Option<u32>,
    gpu_memory_utilization: Option<f64>,
    kv_cache_dtype: Option<String>,
    moe_backend: Option<String>,
    async_scheduling: Option<bool>,
    enable_prefix_caching: Option<bool>,
    /// Whole experts on ranks, whatever the point says.
    #[serde(default)]
    pub(super) always_expert_parallel: bool,
    /// Whether a stated number of data-parallel engines reached the server.
    #[serde(default = "yes")]
    pub(super) passes_data_parallel: bool,
}

/// A count that follows from a point's load.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Amount {
    isl: u32,
    osl: u32,
    clients: u32,
    tokens: u32,
}

/// Points that a constant of the program was fitted to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    what: String,
    benchmark: String,
    engine: Engine,
    model: String,
    device: String,
    dtype: String,
    tp: u32,
    least_osl: u32,
}

/// A point's load: clients, and the stated lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) clients: u32,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
}

/// What a benchmark's servers differ by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured<'a> {
    pub(super) engine: Engine,
    pub(super) model: &'a str,
    /// As the catalog calls it.
    pub(super) device: &'a str,
    pub(super) version: Option<&'a str>,
    /// `2026-03-01`.
    pub(super) day: Option<&'a str>,
}

/// The embedded file.
pub(super) fn benchmarks() -> &'static BenchmarkFile {
    static FILE: LazyLock<BenchmarkFile> = LazyLock::new(|| {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/fidelity/benchmarks.yaml"));
        serde_saphyr::from_str(text).expect("a test reads it")
    });
    &FILE
}

impl BenchmarkFile {
    pub(super) fn named(&self, name: &str) -> &Benchmark {
        self.benchmarks.iter().find(|benchmark| benchmark.name == name).expect("names are written out in this folder")
    }

    /// What was fitted to a point, if anything was.
    pub(super) fn fitted_to(
        &self,
        benchmark: &str,
        measured: Measured<'_>,
        dtype: &str,
        tp: u32,
        load: Load,
    ) -> Option<&str> {
        let is_such = |fitted: &&Fitted| {
            (fitted.benchmark.as_str(), fitted.engine, fitted.tp) == (benchmark, measured.engine, tp)
                && fitted.dtype == dtype
                && has(measured.model, &fitted.model)
                && measured.device.starts_with(&fitted.device)
                && load.output_tokens >= fitted.least_osl
        };
        self.fitted.iter().find(is_such).map(|fitted| fitted.what.as_str())
    }
}

impl Benchmark {
    /// The server behind a point, if it is known.
    pub(super) fn server(&self, measured: Measured<'_>) -> Option<&Server> {
        self.servers.iter().find(|server| server.is_of(measured))
    }
}

impl Server {
    fn is_of(&self, measured: Measured<'_>) -> bool {
        let of_model = self.models.is_empty() || self.models.iter().any(|model| has(measured.model, model));
        let of_device =
            self.devices.is_empty() || self.devices.iter().any(|device| measured.device.starts_with(device.as_str()));
        let of_version = self.from_version.as_deref().is_none_or(|from| {
            measured.version.and_then(Version::parse).is_some_and(|version| Some(version) >= Version::parse(from))
        });
        let of_day = self.before_day.as_deref().is_none_or(|before| measured.day.is_none_or(|day| day < before));
        self.engine == measured.engine && of_model && of_device && of_version && of_day
    }

    pub(super) fn flags(&self, load: Load) -> EngineFlags {
        let count = |amount: Option<Amount>| amount.map(|amount| amount.of(load));
        EngineFlags {
            max_num_batched_tokens: count(self.max_num_batched_tokens),
            max_num_seqs: count(self.max_num_seqs),
            max_model_len: count(self.max_model_len),
            max_cudagraph_capture_size: self.max_cudagraph_capture_size,
            block_size: self.block_size,
            stream_interval: self.stream_interval,
            gpu_memory_utilization: self.gpu_memory_utilization,
            kv_cache_dtype: self.kv_cache_dtype.clone(),
            moe_backend: self.moe_backend.clone(),
            async_scheduling: self.async_scheduling,
            enable_prefix_caching: self.enable_prefix_caching,
            ..EngineFlags::default()
        }
    }
}

impl Amount {
    fn of(self, load: Load) -> u32 {
        let parts = [
            (self.isl, load.prompt_tokens),
            (self.osl, load.output_tokens),
            (self.clients, load.clients),
            (self.tokens, 1),
        ];
        parts.iter().fold(0, |sum: u32, (times, count)| sum.saturating_add(times.saturating_mul(*count)))
    }
}

fn yes() -> bool {
    true
}

/// Whether a name has a part, whatever the case.
fn has(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_of_the_file_is_found_by_a_point_of_its_own() {
        let load = Load { clients: 32, prompt_tokens: 1024, output_tokens: 8192 };
        let flags = |benchmark: &str, engine, model, device, version, day| {
            let measured = Measured { engine, model, device, version, day };
            let server = benchmarks().named(benchmark).server(measured).unwrap_or_else(|| panic!("{model} {device}"));
            assert!(!server.source.is_empty());
            server.flags(load)
        };
        let of = |model, device, version, day| flags("InferenceMAX", Engine::Vllm, model, device, version, day);
        let gpt = of("openai/gpt-oss-120b", "H100-SXM-80GB", Some("0.13"), None);
        assert_eq!((gpt.max_num_seqs, gpt.kv_cache_dtype.as_deref()), (Some(32), None));
        let gpt = of("openai/gpt-oss-120b", "B200-SXM-180GB", Some("0.11"), None);
        assert_eq!((gpt.max_num_seqs, gpt.kv_cache_dtype.as_deref()), (Some(512), Some("fp8")));
        assert_eq!(gpt.moe_backend.as_deref(), Some("flashinfer_trtllm_afp8"));
        let on_h100 = |version| of("openai/gpt-oss-120b", "H100-SXM-80GB", Some(version), None).moe_backend;
        assert_eq!((on_h100("0.11").as_deref(), on_h100("0.13").as_deref()), (None, Some("marlin")));
        let minimax = |device, version, day| of("MiniMaxAI/MiniMax-M2.5", device, version, day).max_num_batched_tokens;
        assert_eq!(minimax("B200-SXM-180GB", Some("0.19"), Some("2026-04-08")), Some(2048));
        assert_eq!(minimax("B200-SXM-180GB", Some("0.17"), Some("2026-03-11")), None);
        assert_eq!(minimax("H200-SXM-141GB", Some("0.16"), Some("2026-03-01")), None);
        assert_eq!(minimax("H200-SXM-141GB", Some("0.20"), Some("2026-05-12")), Some(16384));
        let own = flags("AIConfigurator", Engine::Vllm, "Qwen/Qwen3-32B", "H100-SXM-80GB", Some("0.12"), None);
        assert_eq!((own.max_num_batched_tokens, own.max_model_len), (Some(1024 + 32 + 1500), Some(1024 + 8192 + 1500)));
        let unknown = Measured { engine: Engine::Vllm, model: "Qwen/Qwen3-8B", device: "L4", version: None, day: None };
        assert!(benchmarks().named("InferenceMAX").server(unknown).is_none());
    }

    #[test]
    fn engines_are_known_by_what_tables_call_them() {
        for (text, engine) in [
            ("vllm", Some(Engine::Vllm)),
            ("vLLM V1", Some(Engine::Vllm)),
            ("dynamo-sglang", Some(Engine::Sglang)),
            ("trtllm", Some(Engine::Trtllm)),
            ("TensorRT-LLM", Some(Engine::Trtllm)),
            ("trt", Some(Engine::Trtllm)),
            ("atom", None),
        ] {
            assert_eq!(Engine::parse(text), engine, "{text}");
        }
    }
}

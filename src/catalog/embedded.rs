//! The catalog's files, embedded so that the binary runs from any folder. A file in `configs/models`,
//! `configs/hardware` or one of the other folders below exists for the program only if it is in one of these lists; a test
//! compares them with the folders.

/// A catalog file: its name without the folder, and its text.
pub(super) type EmbeddedFile = (&'static str, &'static str);

macro_rules! embedded {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$((
            concat!($name, ".yaml"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/", $folder, "/", $name, ".yaml")),
        )),+]
    };
}

/// One file a model.
pub(super) const MODELS: &[EmbeddedFile] = embedded!(
    "models":
    "CodeLlama-34B",
    "DeepSeek-R1",
    "DeepSeek-V2",
    "DeepSeek-V2-Lite",
    "DeepSeek-V3",
    "DeepSeek-V3.2",
    "DeepSeek-V4-Flash",
    "DeepSeek-V4-Pro",
    "GLM-4.5",
    "GLM-4.5-Air",
    "GLM-5",
    "GLM-5.2",
    "GPT-3-175B",
    "Gemma2-27B",
    "Gemma2-2B",
    "Gemma2-9B",
    "Gemma3-12B",
    "Gemma3-1B",
    "Gemma3-27B",
    "Gemma3-4B",
    "Gemma4-26B-A4B",
    "Gemma4-31B",
    "Granite3.1-8B",
    "Kimi-K2",
    "Kimi-K2.5",
    "Kimi-K3",
    "Kimi-Linear-48B-A3B",
    "Llama2-13B",
    "Llama2-70B",
    "Llama2-7B",
    "Llama3-70B",
    "Llama3-8B",
    "Llama3.1-405B",
    "Llama3.1-70B",
    "Llama3.1-8B",
    "Llama3.2-1B",
    "Llama3.2-3B",
    "Llama3.3-70B",
    "Llama4-Maverick",
    "Llama4-Scout",
    "MiMo-V2-Flash",
    "MiniMax-M2.5",
    "MiniMax-M3",
    "Mistral-7B-v0.1",
    "Mistral-7B-v0.3",
    "Mistral-Large-123B",
    "Mistral-Nemo-12B",
    "Mistral-Small-24B",
    "Mixtral-8x22B",
    "Mixtral-8x7B",
    "Nemotron-3-Nano-30B-A3B",
    "Nemotron-3-Super-120B-A12B",
    "Nemotron-3-Ultra-550B-A55B",
    "OLMoE-1B-7B",
    "Phi-2",
    "Phi-3-medium",
    "Phi-3-mini",
    "Phi-3.5-MoE",
    "Phi-4",
    "Phi-4-mini",
    "Phi-mini-MoE",
    "QwQ-32B",
    "Qwen1.5-MoE-A2.7B",
    "Qwen2.5-0.5B",
    "Qwen2.5-1.5B",
    "Qwen2.5-14B",
    "Qwen2.5-32B",
    "Qwen2.5-3B",
    "Qwen2.5-72B",
    "Qwen2.5-7B",
    "Qwen3-0.6B",
    "Qwen3-1.7B",
    "Qwen3-14B",
    "Qwen3-235B-A22B",
    "Qwen3-235B-A22B-2507",
    "Qwen3-30B-A3B",
    "Qwen3-30B-A3B-2507",
    "Qwen3-32B",
    "Qwen3-4B",
    "Qwen3-4B-2507",
    "Qwen3-8B",
    "Qwen3-Coder-480B-A35B",
    "Qwen3-Next-80B-A3B",
    "Qwen3.5-122B-A10B",
    "Qwen3.5-27B",
    "Qwen3.5-35B-A3B",
    "Qwen3.5-397B-A17B",
    "Step-3.7-Flash",
    "Yi-34B",
    "gpt-oss-120B",
    "gpt-oss-20B",
);

/// One file a device.
pub(super) const DEVICES: &[EmbeddedFile] = embedded!(
    "hardware":
    "A100-PCIe-40GB",
    "A100-PCIe-80GB",
    "A100-SXM-40GB",
    "A100-SXM-80GB",
    "A10G",
    "A30",
    "A40",
    "A800-PCIe-80GB",
    "A800-SXM-80GB",
    "B200-SXM-180GB",
    "B300-SXM",
    "GB200",
    "GB300",
    "GH200-144GB",
    "GH200-96GB",
    "Gaudi3",
    "H100-NVL-94GB",
    "H100-PCIe-80GB",
    "H100-SXM-80GB",
    "H20-SXM-141GB",
    "H20-SXM-96GB",
    "H200-SXM-141GB",
    "H800-PCIe-80GB",
    "H800-SXM-80GB",
    "L20",
    "L4",
    "L40S",
    "MI250",
    "MI300X",
    "MI325X",
    "MI350X",
    "MI355X",
    "RTX-4090",
    "RTX-5090",
    "RTX-6000-Ada",
    "RTX-A6000",
    "RTX-PRO-6000",
    "T4",
    "TPU-v5e",
    "TPU-v6e",
    "TPU-v7",
    "Trainium2",
    "Trainium3",
    "V100-SXM-16GB",
    "V100-SXM-32GB",
);

/// One file a kind of link.
pub(super) const FABRICS: &[EmbeddedFile] =
    embedded!("collectives": "infiniband", "nvlink-a100", "nvlink-b200", "nvlink-h100", "pcie-5", "pcie-host");

/// One file a kind of server.
pub(super) const TOPOLOGIES: &[EmbeddedFile] =
    embedded!("topologies": "DGX-A100", "DGX-B200", "DGX-H100", "DGX-H200", "GB200-NVL72", "PCIe-4", "PCIe-5");

/// One file an efficiency curve.
pub(super) const CURVES: &[EmbeddedFile] =
    embedded!("efficiency": "A100-SXM", "B200-SXM", "H100-SXM", "L40S", "RTX-4090", "RTX-PRO-6000");

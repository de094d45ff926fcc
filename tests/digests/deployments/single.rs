//! A model on one GPU, in copies.

use super::{Deployment, client_link, devices, framework, hardware};
use crate::draw::Draw;
use crate::fixtures::{DATABASE, LAYERS_MODEL, MODEL, TABLES, layers};
use crate::mapping::Mapping;
use crate::settings::settings;

/// Models that fit, of every kind: dense, with sliding windows, latent attention, experts, quantised.
pub const MODELS: [(&str, &str); 20] = [
    ("Llama3.1-8B", "H100-SXM-80GB"),
    ("Llama3.1-8B", "A100-SXM-80GB"),
    ("Llama3.2-3B", "L4"),
    ("Qwen2.5-7B", "RTX-4090"),
    ("Gemma3-4B", "L40S"),
    ("Mistral-7B-v0.1", "A10G"),
    ("Qwen3-8B", "H200-SXM-141GB"),
    ("Llama2-13B", "A40"),
    ("gpt-oss-20B", "RTX-PRO-6000"),
    ("OLMoE-1B-7B", "B200-SXM-180GB"),
    ("Llama3.1-8B-FP8", "MI300X"),
    ("Phi-4-mini", "V100-SXM-32GB"),
    ("Qwen2.5-1.5B", "T4"),
    ("DeepSeek-V2-Lite", "H100-SXM-80GB"),
    ("Gemma2-9B", "RTX-A6000"),
    ("Qwen3-30B-A3B", "GH200-96GB"),
    ("Qwen2.5-7B-AWQ", "A100-PCIe-80GB"),
    ("Gemma3-1B", "TPU-v6e"),
    ("Phi-3.5-MoE", "Gaudi3"),
    ("Qwen2.5-0.5B", "TPU-v5e"),
];

/// Models of which kernels are measured, so that tables count.
const MEASURED: [(&str, &str); 5] = [
    ("Llama3.1-8B", "H100-SXM-80GB"),
    ("Llama3.1-8B", "RTX-4090"),
    ("Llama3.1-8B-FP8", "RTX-PRO-6000"),
    ("Mixtral-8x7B", "MI300X"),
    ("Mixtral-8x7B", "B200-SXM-180GB"),
];

/// A device of the catalog, as it is, with another's curve, with a price, or with measured kernels.
pub fn of_catalog(draw: &mut Draw) -> Deployment {
    let mut deployment = Deployment::default();
    let table = draw.chance(50).then(|| table(draw, &mut deployment.files));
    let (model, device) = if table.is_some() { draw.one_of(&MEASURED) } else { draw.one_of(&MODELS) };
    let mut device = Mapping::default().with("device_id", "gpu0").with("device", device);
    device.maybe(draw, 15, "efficiency_curve", &["H100-SXM", "A100-SXM", "RTX-4090", "RTX-PRO-6000"]);
    device.maybe(draw, 60, "price_per_gpu_hour_usd", &["1.5", "4"]);
    device.maybe(draw, 10, "memory_gbps", &["1200", "5000"]);
    if let Some(table) = table {
        device.set("efficiency_table", table);
    }
    let config = settings(draw).with("model_profile_id", model).with("gpu_id", "gpu0");
    on_one(draw, deployment, device, config)
}

/// Measured kernels, or a model's layers.
fn table(draw: &mut Draw, files: &mut Vec<(String, String)>) -> Mapping {
    if draw.chance(40) {
        files.extend(layers());
        return Mapping::default().with("layers", "[layers]").with("layers_model", LAYERS_MODEL);
    }
    files.extend(TABLES.map(|(_, file, text)| (file.to_owned(), text.to_owned())));
    TABLES.iter().fold(Mapping::default(), |table, (key, file, _)| table.with(key, file))
}

/// A device by its data sheet, with constants in place of curves.
pub fn written_out(draw: &mut Draw) -> Deployment {
    let mut deployment = Deployment::default();
    let peak = draw.one_of(&["{fp16: 312}", "{fp16: 990, fp8: 1980}", "{fp16: 120, bf16: 100, int8: 240, fp32: 20}"]);
    let memory_bytes = draw.one_of(&["80_000_000_000", "48_000_000_000"]);
    let mut device = Mapping::default().with("device_id", "gpu0").with("device_type", "GPU").with("peak_tflops", peak);
    device.set("memory_capacity_bytes", memory_bytes);
    device.set("memory_gbps", draw.one_of(&["900", "2039", "3350"]));
    device.maybe(draw, 50, "mfu", &["0.4", "0.65"]);
    device.maybe(draw, 50, "mbu", &["0.6", "0.85"]);
    device.maybe(draw, 30, "tdp_w", &["300", "700"]);
    let model = draw.one_of(&["Llama3-8B", "Llama2-7B", "Qwen3-8B", "Phi-3-mini", "OLMoE-1B-7B", MODEL.0, "Own"]);
    let owned = |(file, text): (&str, &str)| (file.to_owned(), text.to_owned());
    if model == "Own" {
        deployment.files.push(owned(DATABASE));
        deployment.database = Some(DATABASE.0);
    } else if model == MODEL.0 {
        deployment.files.push(owned(MODEL));
    }
    let config = settings(draw).with("model_profile_id", model).with("gpu_id", "gpu0");
    on_one(draw, deployment, device, config)
}

fn on_one(draw: &mut Draw, deployment: Deployment, device: Mapping, mut config: Mapping) -> Deployment {
    config.maybe(draw, 10, "parallelism", &["{strategy: DP, gpu_ids: [gpu0]}"]);
    let copies = draw.one_of(&[1, 1, 2, 3, 4]);
    // Without links, devices of the catalog are joined to the client as a matter of course.
    let links = if device.get("device").is_some() && draw.chance(30) { vec![] } else { vec![client_link(draw)] };
    let hardware = hardware(draw, &[device], &links);
    Deployment { hardware, frameworks: vec![framework("vllm", copies, &config)], engines: copies, ..deployment }
}

/// So many copies of a model on a device of the catalog.
pub fn copies(draw: &mut Draw, copies: u64) -> Deployment {
    let (model, device) = draw.one_of(&MODELS);
    let config = settings(draw).with("model_profile_id", model).with("gpu_id", "gpu0");
    let links = [client_link(draw)];
    let hardware = hardware(draw, &[devices(device, 1)], &links);
    let frameworks = vec![framework("vllm", copies, &config)];
    Deployment { hardware, frameworks, engines: copies, ..Deployment::default() }
}

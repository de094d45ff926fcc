//! A model on several GPUs: tensor, sequence, pipeline, expert, decode context parallelism, and DP attention.

use super::{Deployment, client_link, devices, framework, gpu_ids, hardware, link};
use crate::draw::Draw;
use crate::mapping::{Mapping, lines};
use crate::settings::settings;

/// A model, a device, and how many of them take it.
type Fit = (&'static str, &'static str, &'static [u64]);

const DENSE: [Fit; 8] = [
    ("Llama3.1-70B", "H100-SXM-80GB", &[4, 8]),
    ("Llama2-13B", "A100-SXM-80GB", &[2, 4]),
    ("Qwen3-32B", "H100-SXM-80GB", &[2, 4, 8]),
    ("Llama3.1-8B", "L4", &[2, 4]),
    ("Gemma3-27B", "A100-SXM-80GB", &[2, 4]),
    ("Mixtral-8x7B", "H100-PCIe-80GB", &[2, 4, 8]),
    ("Qwen2.5-7B", "RTX-4090", &[2, 4]),
    ("Llama3.1-405B-FP8", "B200-SXM-180GB", &[4, 8]),
];

const MIXTURES: [Fit; 7] = [
    ("Mixtral-8x7B", "H100-SXM-80GB", &[4, 8]),
    ("Qwen3-30B-A3B", "H100-SXM-80GB", &[2, 4, 8]),
    ("gpt-oss-120B", "H100-SXM-80GB", &[2, 4]),
    ("OLMoE-1B-7B", "A100-SXM-80GB", &[2, 4, 6]),
    ("DeepSeek-V2-Lite", "A100-SXM-80GB", &[2, 4, 8]),
    ("Qwen3-235B-A22B", "H200-SXM-141GB", &[8]),
    ("DeepSeek-V3", "B200-SXM-180GB", &[8]),
];

/// Models whose KV cache ranks hold several copies of, and ranks that may share it.
const COPIED: [(&str, &str, u64, &[u64]); 6] = [
    ("DeepSeek-V2-Lite", "A100-SXM-80GB", 4, &[2, 4]),
    ("DeepSeek-V2-Lite", "H100-SXM-80GB", 8, &[2, 4, 8]),
    ("Qwen3-30B-A3B", "H100-SXM-80GB", 8, &[2]),
    ("Qwen2.5-3B", "L40S", 8, &[2, 4]),
    ("Qwen2.5-3B", "RTX-PRO-6000", 4, &[2]),
    ("DeepSeek-V3", "H200-SXM-141GB", 8, &[4, 8]),
];

pub fn tensor(draw: &mut Draw) -> Deployment {
    let (model, device, counts) = draw.one_of(&DENSE);
    let gpus = draw.one_of(counts);
    let mut parallelism = over(gpus, "TP").with("tp_degree", gpus);
    parallelism.maybe(draw, 35, "sequence_parallel", &["true"]);
    deployed(draw, model, device, gpus, parallelism)
}

pub fn pipeline(draw: &mut Draw) -> Deployment {
    let (model, device, counts) = draw.one_of(&DENSE);
    let gpus = draw.one_of(counts);
    let ranks = if gpus > 2 { draw.one_of(&[1, 2]) } else { 1 };
    let strategy = if ranks == 1 { "PP" } else { "TP_PP" };
    let mut parallelism = over(gpus, strategy).with("tp_degree", ranks).with("pp_stages", gpus / ranks);
    parallelism.maybe(draw, 50, "num_microbatches_per_request", &["1", "2", "3", "6"]);
    deployed(draw, model, device, gpus, parallelism)
}

pub fn experts(draw: &mut Draw) -> Deployment {
    let (model, device, counts) = draw.one_of(&MIXTURES);
    let gpus = draw.one_of(counts);
    let mut parallelism = over(gpus, "TP").with("tp_degree", gpus).with("expert_parallel", true);
    parallelism.maybe(draw, 35, "expert_imbalance", &["1", "1.3", "2.5"]);
    parallelism.maybe(draw, 35, "sequence_parallel", &["true"]);
    deployed(draw, model, device, gpus, parallelism)
}

pub fn data_parallel_attention(draw: &mut Draw) -> Deployment {
    let (model, device, counts) = draw.one_of(&MIXTURES);
    let gpus = draw.one_of(counts);
    let ranks = if gpus > 2 { draw.one_of(&[1, 2]) } else { 1 };
    let mut parallelism = over(gpus, "TP").with("tp_degree", ranks).with("dp_degree", gpus / ranks);
    parallelism.set("expert_parallel", true);
    parallelism.maybe(draw, 60, "all2all_backend", &["allgather_reducescatter", "all_to_all"]);
    parallelism.maybe(draw, 25, "expert_imbalance", &["1.3"]);
    let mut deployment = deployed(draw, model, device, gpus, parallelism);
    deployment.engines *= gpus / ranks;
    deployment
}

pub fn context_parallel(draw: &mut Draw) -> Deployment {
    let (model, device, gpus, degrees) = draw.one_of(&COPIED);
    let mut parallelism = over(gpus, "TP").with("tp_degree", gpus).with("dcp_degree", draw.one_of(degrees));
    parallelism.maybe(draw, 25, "sequence_parallel", &["true"]);
    deployed(draw, model, device, gpus, parallelism)
}

fn over(gpus: u64, strategy: &str) -> Mapping {
    Mapping::default().with("strategy", strategy).with("gpu_ids", gpu_ids(0..gpus))
}

fn deployed(draw: &mut Draw, model: &str, device: &str, gpus: u64, parallelism: Mapping) -> Deployment {
    let mut config = settings(draw).with("model_profile_id", model).with("parallelism", parallelism);
    config.maybe(draw, 20, "disable_custom_all_reduce", &["true"]);
    let copies = draw.one_of(&[1, 1, 2]);
    let hardware = joined(draw, device, gpus);
    Deployment {
        hardware,
        frameworks: vec![framework("vllm", copies, &config)],
        engines: copies,
        ..Deployment::default()
    }
}

/// So many devices, joined as servers of a known kind, as the catalog has it, or by links that are written out.
pub fn joined(draw: &mut Draw, device: &str, gpus: u64) -> Mapping {
    match draw.between(0, 3) {
        0 => {
            let nodes = if gpus > 2 { draw.one_of(&[1, 2]) } else { 1 };
            let preset = draw.one_of(&["DGX-A100", "DGX-H100", "PCIe-5", "PCIe-4"]);
            let mut topology = Mapping::default().with("preset", preset).with("device", device);
            topology.set("nodes", nodes);
            topology.set("gpus_per_node", gpus / nodes);
            topology.maybe(draw, 30, "network", &["HDR", "XDR"]);
            Mapping::default().with("topology", topology)
        }
        1 => Mapping::default().with("compute_devices", lines(&[devices(device, gpus)])),
        _ => {
            let mut links = vec![client_link(draw)];
            links.extend(ring(draw, gpus));
            hardware(draw, &[devices(device, gpus)], &links)
        }
    }
}

/// From each GPU to the next, and from the last to the first.
fn ring(draw: &mut Draw, gpus: u64) -> Vec<Mapping> {
    let (bandwidth_bps, latency_s) = draw.one_of(&[("2.4e12", "0.000001"), ("5e11", "0.000005"), ("3.6e12", "0")]);
    // Links of speeds of their own make stages of as many kinds.
    let differ = draw.chance(25);
    let fabric = draw.one_of(&[None, None, Some("nvlink"), Some("pcie"), Some("infiniband")]);
    let ends = if gpus == 2 { 1 } else { gpus };
    (0..ends)
        .map(|gpu| {
            let (from, to) = (format!("gpu{gpu}"), format!("gpu{}", (gpu + 1) % gpus));
            let bandwidth_bps = if differ { format!("{}e11", gpu + 1) } else { bandwidth_bps.to_owned() };
            let keys = link(&format!("ring{gpu}"), (&from, &to), &bandwidth_bps, latency_s);
            match fabric {
                Some(kind) => keys.with("fabric", kind),
                None => keys,
            }
        })
        .collect()
}

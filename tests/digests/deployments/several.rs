//! Frameworks beside each other: prefill and decode pools, fleets, different ones behind one router.

use super::{Deployment, client_link, devices, framework, gpu_ids, hardware, link, single};
use crate::draw::Draw;
use crate::mapping::{Mapping, lines};
use crate::settings::settings;

const POOLED: [(&str, &str); 5] = [
    ("Llama3.1-8B", "H100-SXM-80GB"),
    ("Qwen3-8B", "A100-SXM-80GB"),
    ("Gemma3-4B", "L40S"),
    ("DeepSeek-V2-Lite", "H200-SXM-141GB"),
    ("OLMoE-1B-7B", "RTX-PRO-6000"),
];

/// Engines that prefill, and others that decode.
pub fn pools(draw: &mut Draw) -> Deployment {
    let (model, device) = draw.one_of(&POOLED);
    let (prefill_gpus, decode_gpus) = (draw.one_of(&[1, 1, 2]), draw.one_of(&[1, 1, 2]));
    let (prefill_copies, decode_copies) = (draw.between(1, 3), draw.between(1, 3));
    let prefill = settings(draw).with("model_profile_id", model);
    let mut decode = settings(draw).with("model_profile_id", model);
    // The pools exchange blocks, which must be alike.
    for key in ["block_size", "kv_cache_dtype", "weight_dtype"] {
        match prefill.get(key) {
            Some(value) => decode.set(key, value),
            None => decode.remove(key),
        }
    }
    // So that the pool has as many tokens in blocks of another size.
    if decode.get("num_gpu_blocks_override").is_some() {
        decode.set("num_gpu_blocks_override", draw.between(400, 4_000));
    }
    let decodes_from = prefill_gpus;
    let hardware = between_pools(draw, device, prefill_gpus + decode_gpus);
    let frameworks = vec![
        framework("prefill", prefill_copies, &on(prefill, 0..prefill_gpus)).with("role", "prefill"),
        framework("decode", decode_copies, &on(decode, decodes_from..decodes_from + decode_gpus))
            .with("role", "decode"),
    ];
    Deployment { hardware, frameworks, engines: prefill_copies, ..Deployment::default() }
}

/// The framework's GPUs, with tensor parallelism if there are several.
fn on(config: Mapping, gpus: std::ops::Range<u64>) -> Mapping {
    let count = gpus.end - gpus.start;
    if count == 1 {
        return config.with("gpu_id", format!("gpu{}", gpus.start));
    }
    let parallelism = Mapping::default().with("strategy", "TP").with("tp_degree", count).with("gpu_ids", gpu_ids(gpus));
    config.with("parallelism", parallelism)
}

/// Servers, the catalog's own links, or a switch that each GPU has a link to, at times a slow one.
fn between_pools(draw: &mut Draw, device: &str, gpus: u64) -> Mapping {
    match draw.between(0, 4) {
        0 => {
            let topology = Mapping::default().with("preset", "DGX-H100").with("device", device).with("nodes", gpus);
            Mapping::default().with("topology", topology.with("gpus_per_node", 1))
        }
        1 => Mapping::default().with("compute_devices", lines(&[devices(device, gpus)])),
        _ => {
            let bandwidth_bps = draw.one_of(&["400_000_000_000", "25_000_000_000", "2_000_000_000"]);
            let mut links = vec![client_link(draw)];
            links
                .extend((0..gpus).map(|gpu| {
                    link(&format!("nic{gpu}"), (&format!("gpu{gpu}"), "switch"), bandwidth_bps, "0.000002")
                }));
            let switch = Mapping::default().with("device_id", "switch").with("device_type", "CPU");
            hardware(draw, &[devices(device, gpus), switch], &links)
        }
    }
}

/// Many copies of one engine.
pub fn fleet(draw: &mut Draw) -> Deployment {
    let copies = draw.one_of(&[6, 12, 24, 40, 70]);
    single::copies(draw, copies)
}

/// Two or three frameworks of one router, which at times share a GPU, and at times one that takes no requests.
pub fn different(draw: &mut Draw) -> Deployment {
    let mut frameworks = Vec::new();
    let mut engines = 0;
    let device = draw.one_of(&["H100-SXM-80GB", "A100-SXM-80GB", "H200-SXM-141GB"]);
    let shares = draw.chance(30);
    for (number, name) in ["first", "second", "third"].into_iter().enumerate().take(draw.between(2, 3) as usize) {
        let number = number as u64;
        let model = draw.one_of(&["Llama3.1-8B", "Qwen3-8B", "Gemma3-4B", "Llama2-7B", "OLMoE-1B-7B", "Phi-4-mini"]);
        let config = settings(draw).with("model_profile_id", model);
        let config = match number {
            0 => on(config, 0..1),
            1 if shares => on(config, 0..1),
            1 => on(config, 1..2),
            _ => on(config, 2..4),
        };
        let copies = if shares || number == 2 { 1 } else { draw.between(1, 3) };
        let mut keys = framework(name, copies, &config);
        if number == 2 {
            keys.maybe(draw, 40, "is_target_for_workload", &["false"]);
        }
        engines += copies;
        frameworks.push(keys);
    }
    let links = [
        client_link(draw),
        link("own", ("client_node_0", "gpu1"), "1_000_000_000", "0.005"),
        link("bridge", ("gpu2", "gpu3"), "2.4e12", "0.000001"),
    ];
    let hardware = hardware(draw, &[devices(device, 4)], &links);
    Deployment { hardware, frameworks, engines, ..Deployment::default() }
}

//! `hardware_profile`: devices and links.

use crate::config::declare::{
    Field, Ignored, Literal, Placed, Set, default, ignored, names, optional, required, section,
};

use super::{LONGEST_DELAY_S, LOWEST_EFFICIENCY};
use crate::catalog::{InfinibandGeneration, LinkKind};

/// Slowest and fastest device, in TFLOP/s and in GB/s: a thousandth of a processor core, and a million GPUs.
const SLOWEST: f64 = 1e-3;
const FASTEST: f64 = 1e9;
/// Most that a device or a server may draw.
const MOST_WATTS: f64 = 1e6;

names!(LinkKind {
    "nvlink" => LinkKind::Nvlink,
    "pcie" => LinkKind::Pcie,
    "infiniband" => LinkKind::Infiniband,
});

names!(InfinibandGeneration {
    "HDR" => InfinibandGeneration::Hdr,
    "NDR" => InfinibandGeneration::Ndr,
    "XDR" => InfinibandGeneration::Xdr,
});

section! {
    /// GPUs and the links between them.
    HardwareProfile {
        /// GPUs (and CPUs, which compute nothing here).
        compute_devices: Field<Vec<ComputeDevice>> = optional("required without `topology`");
        /// Directed links.
        network_links: Set<Vec<NetworkLink>> = default(Literal::EmptyList);
        /// Whether GPUs may read each other's memory over PCIe. Where they may not (drivers of GeForce cards since the RTX 40,
        /// some hosts), collectives go through the host's memory.
        peer_to_peer: Field<bool> = optional("as the driver of a catalog device allows; else true").also_called(&["p2p"]);
        /// What a server draws without its GPUs: processors, memory, network cards, fans. Counted for each server that
        /// holds a GPU of the deployment.
        host_power_w: Set<f64> = default(Literal::Number(330.0)).unit("W").range(0.0, MOST_WATTS).example("330");
        /// GPUs of a server.
        gpus_per_host: Set<u32> = default(Literal::Integer(8)).range(1.0, 1e6).example("8");
        /// Host memories.
        memory_devices: Ignored = ignored();
        /// Servers of a known kind, in place of devices and links written out or beside them.
        topology: Field<ServerTopology> = optional("the devices and links above");
    }
}

section! {
    /// Servers of a known kind, which make devices and links: the GPUs `gpu0`, `gpu1` and so on, node by node, each joined
    /// to its node's switch, the switches to a network, and the client to every framework unless a link of its own is
    /// declared. Collectives are as measured on such links.
    ServerTopology {
        /// `DGX-A100`, `DGX-H100`, `DGX-H200`, `DGX-B200`, `GB200-NVL72`, `PCIe-4` or `PCIe-5`.
        preset: Field<String> = required().also_called(&["name", "type"]);
        /// Servers, or racks of the NVL72, joined by InfiniBand.
        nodes: Field<u32> = optional("1").range(1.0, 100_000.0).also_called(&["num_nodes", "count"]);
        /// GPUs of each.
        gpus_per_node: Field<u32> = optional("as many as there are").at_least(1.0).also_called(&["gpus", "num_gpus"]);
        /// Name of a catalog device in place of the preset's.
        device: Field<String> = optional("the preset's; required for PCIe").also_called(&["gpu", "gpu_type"]);
        /// InfiniBand of each adapter: 200, 400 or 800 Gb/s.
        network: Field<InfinibandGeneration> = optional("the preset's").also_called(&["infiniband"]);
        /// Price of an hour of a GPU.
        price_per_gpu_hour_usd: Field<f64> = optional("no costs are told").unit("USD").range(0.0, 1e6)
            .also_called(&["price_per_hour", "price_usd"]);
    }
}

section! {
    /// A GPU, by its name in the catalog (`device`) or by its data sheet.
    ComputeDevice {
        /// The id that frameworks and links refer to.
        device_id: Field<String> = required().example("gpu0").also_called(&["id"]);
        /// GPU or CPU; a CPU computes nothing here.
        device_type: Field<String> = optional("GPU, with `device`").example("GPU");
        /// Name of a catalog device (`llmperforacle devices` lists them), in place of the data sheet below, which then
        /// overrides single figures.
        device: Field<String> = optional("the data sheet below").example("A100-80GB").also_called(&["name", "model", "gpu_type"]);
        /// That many such devices, with the ids `<device_id>0`, `<device_id>1` and so on.
        count: Field<u32> = optional("one, with the id as it stands").range(1.0, 100_000.0);
        /// Dense peak by element type.
        peak_tflops: Field<PeakTflops> = optional("the catalog's");
        /// Device memory.
        memory_capacity_bytes: Field<u64> = optional("the catalog's").unit("bytes").range(1e9, 1e15)
            .also_called(&["memory_capacity_gb", "memory_bytes"]);
        /// Memory bandwidth, in gigabytes per second despite the name.
        memory_gbps: Field<f64> = optional("the catalog's").unit("GB/s").range(SLOWEST, FASTEST)
            .also_called(&["memory_bandwidth_gb_s", "memory_bandwidth_gbps"]);
        /// Streaming multiprocessors; limits nothing.
        processing_units: Set<u32> = default(Literal::Integer(108)).at_least(1.0);
        /// What kernels reach, by kernel and shape: a curve of the catalog (`llmperforacle devices` names them), or a file
        /// that `llmperforacle calibrate kernels` wrote.
        efficiency_curve: Field<String> = optional("the catalog device's, unless `mfu` or `mbu` is given");
        /// Your own measurements of the device's kernels, which count before the curve.
        efficiency_table: Field<EfficiencyTable> = optional("no measurements but those behind the curve");
        /// Share of the peak FLOP/s that compute-bound kernels reach, whatever the shape.
        mfu: Field<f64> = optional("the curve of a catalog device; else, and beside `mbu`, 0.5").range(LOWEST_EFFICIENCY, 1.0);
        /// Share of the memory bandwidth that memory-bound kernels reach, whatever the shape.
        mbu: Field<f64> = optional("the curve of a catalog device; else, and beside `mfu`, 0.8").range(LOWEST_EFFICIENCY, 1.0);
        /// What the board draws with a model loaded and nothing to do.
        idle_power_w: Field<f64> = optional("the catalog's, else 0.15 of tdp_w").unit("W").range(0.0, MOST_WATTS);
        /// What the board draws while it decodes a batch.
        decode_power_w: Field<f64> = optional("the catalog's, else 0.7 of tdp_w").unit("W").range(0.0, MOST_WATTS);
        /// The board's power limit.
        tdp_w: Field<f64> = optional("the catalog's; without one, energy is not told").unit("W").up_to(MOST_WATTS)
            .also_called(&["power_limit_w", "power_w"]);
        /// Price of an hour of the device, in US dollars. With one for every GPU, the summary tells what the run cost.
        price_per_gpu_hour_usd: Field<f64> = optional("no costs are told").unit("USD").range(0.0, 1e6)
            .also_called(&["price_per_hour", "price_usd"]);
    }
}

section! {
    /// Measured kernels of a device, in CSV files as `llmperforacle calibrate kernels` reads them; relative to the current
    /// folder, else to this file's folder or its parents. What they do not hold is priced by the device's curve.
    EfficiencyTable {
        /// Folders with dense.csv, per_sequence.csv and attention.csv of a model's layers under vLLM, with @N if divided
        /// among N ranks.
        layers: Set<Vec<Placed<String>>> = default(Literal::EmptyList);
        /// The model of `layers`: a catalog name, or a Hugging Face config.json.
        layers_model: Field<String> = optional("required with `layers`");
        /// Matrix products in 16 bits: m, n, k, latency_ms.
        gemm: Field<String> = optional("none");
        /// Matrix products in 8 bits, their activations quantised on the way: m, n, k, latency_ms.
        gemm_8bit: Field<String> = optional("none");
        /// A layer's prefill attention: batch, seq, heads, kv_heads, head_dim, kv_dtype, latency_ms.
        prefill_attention: Field<String> = optional("none");
        /// A layer's decode attention: batch, kv_len, heads, kv_heads, head_dim, kv_dtype, latency_ms.
        decode_attention: Field<String> = optional("none");
        /// A layer's routed experts: gpu, dtype, hidden, inter, experts, topk, tp, ep, distribution, tokens, latency_ms.
        experts: Field<String> = optional("none").also_called(&["moe"]);
        /// Only lines of `experts` with this gpu.
        experts_gpu: Field<String> = optional("all lines").also_called(&["moe_gpu"]);
    }
}

section! {
    /// Dense (not sparse) peak by element type.
    PeakTflops {
        /// 16-bit float; counts for bf16 too unless that is given.
        fp16: Field<f64> = optional("the catalog's; required without `device`").unit("TFLOP/s").range(SLOWEST, FASTEST);
        /// 16-bit brain float.
        bf16: Field<f64> = optional("the fp16 figure").unit("TFLOP/s").range(SLOWEST, FASTEST);
        /// 32-bit float.
        fp32: Field<f64> = optional("the device lacks it").unit("TFLOP/s").range(SLOWEST, FASTEST);
        /// 8-bit float.
        fp8: Field<f64> = optional("the device lacks it").unit("TFLOP/s").range(SLOWEST, FASTEST);
        /// 8-bit integer.
        int8: Field<f64> = optional("the device lacks it").unit("TFLOP/s").range(SLOWEST, FASTEST);
        /// 4-bit float.
        fp4: Field<f64> = optional("the device lacks it").unit("TFLOP/s").range(SLOWEST, FASTEST);
    }
}

section! {
    /// A link from one node to another. Ends are device ids, `client_node_0` or `framework_entry_0`.
    NetworkLink {
        /// Name of the link in messages and time series.
        link_id: Field<String> = required().example("client_to_server").also_called(&["id"]);
        /// Where it starts.
        source_id: Field<String> = required().example("client_node_0").also_called(&["source", "from"]);
        /// Where it ends; `framework_entry_0` stands for every framework without a link of its own.
        dest_id: Field<String> = required().example("framework_entry_0")
            .also_called(&["destination_id", "target_id", "destination", "to"]);
        /// Bandwidth, in bits per second.
        bandwidth_bps: Field<f64> = required().unit("bit/s").range(1.0, 1e18).example("10_000_000_000")
            .also_called(&["bandwidth", "bandwidth_gbps"]);
        /// Latency.
        latency_s: Field<f64> = required().unit("s").range(0.0, LONGEST_DELAY_S).example("0.0001")
            .also_called(&["latency", "latency_ms"]);
        /// Adds a link the other way, `<link_id>:reverse`, unless one is declared.
        bidirectional: Set<bool> = default(Literal::Flag(true)).example("true");
        /// What the link is: collectives over it are then as measured on links of that kind, and in keeping with its
        /// bandwidth, in place of rings of its bandwidth and latency.
        fabric: Field<LinkKind> = optional("a ring of its bandwidth and latency");
    }
}

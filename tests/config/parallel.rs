//! Servers of a known kind, links that say what they are, and how a model is spread over them.

use llmperforacle::config::Resolved;
use oracle_components::efficiency::ExpertFamily;
use oracle_components::model::Dtype;
use oracle_components::scenario::{ExpertExchange, LinkSpec, Path};

use crate::{GOOD, good, lines, messages, report, resolve};

/// [`GOOD`]'s load on other hardware and another framework.
fn with(hardware: &str, config: &str) -> String {
    let load = GOOD.split("workload:").nth(1).and_then(|rest| rest.split("frameworks_to_test:").next());
    let load = load.expect("GOOD has a workload");
    format!(
        "simulation: {{max_simulation_time: 100}}\nhardware_profile: {hardware}\nworkload:{load}frameworks_to_test:\n  \
         - name: first\n    type: ParallelVLLM\n    config: {config}\n"
    )
}

fn gpus(count: u32) -> String {
    let ids: Vec<String> = (0..count).map(|gpu| format!("gpu{gpu}")).collect();
    format!("gpu_ids: [{}]", ids.join(", "))
}

fn tensor(model: &str, degree: u32) -> String {
    format!("{{model_profile_id: {model}, parallelism: {{strategy: TP, tp_degree: {degree}, {}}}}}", gpus(degree))
}

fn links<'a>(resolved: &'a Resolved, path: &Path) -> Vec<&'a LinkSpec> {
    path.iter().map(|&link| &resolved.scenario.links[link as usize]).collect()
}

fn ids<'a>(resolved: &'a Resolved, path: &Path) -> Vec<&'a str> {
    links(resolved, path).iter().map(|link| link.id.as_str()).collect()
}

#[test]
fn a_preset_writes_devices_and_links() {
    let resolved = good(&with("{topology: {preset: DGX-H100}}", &tensor("Llama3.1-70B", 8)));
    assert!(resolved.warnings.is_empty(), "{}", lines(&resolved.warnings));
    let scenario = &resolved.scenario;
    assert_eq!(
        (scenario.gpus.len(), scenario.links.len()),
        (8, 2 * 8 + 2 + 2),
        "GPUs, client and front end, there and back"
    );
    assert!(scenario.gpus.iter().all(|gpu| gpu.device.name == "H100-SXM-80GB"));
    let engine = &scenario.engines[0];
    assert_eq!(ids(&resolved, &engine.rings[0][7]), ["gpu7_to_nvswitch0", "nvswitch0_to_gpu0"]);
    assert!(links(&resolved, &engine.rings[0][0]).iter().all(|link| link.bytes_per_s == 450e9));
    assert_eq!(ids(&resolved, &engine.ingress), ["client_node_0_to_framework_entry_0", "first:front_end"]);
    assert_eq!(engine.egress.len(), 2);
    let fabric = engine.fabrics[0].as_ref().expect("NVLink was measured");
    assert_eq!((fabric.local.name.as_str(), fabric.custom_all_reduce, &fabric.across), ("nvlink-h100", true, &None));
}

#[test]
fn nodes_are_joined_by_a_network() {
    let resolved = good(&with("{topology: {preset: DGX-A100, nodes: 2, network: NDR}}", &tensor("Llama3.1-70B", 16)));
    let engine = &resolved.scenario.engines[0];
    let hop = ids(&resolved, &engine.rings[0][7]);
    assert_eq!(hop, ["gpu7_to_nvswitch0", "nvswitch0_to_infiniband", "infiniband_to_nvswitch1", "nvswitch1_to_gpu8"]);
    // Eight adapters of 400 Gb/s.
    assert_eq!(links(&resolved, &engine.rings[0][7])[1].bytes_per_s, 400e9);
    let fabric = engine.fabrics[0].as_ref().expect("both were measured");
    assert_eq!(fabric.local.name, "nvlink-a100");
    let (nodes, across) = fabric.across.as_ref().expect("two nodes");
    assert_eq!((*nodes, across.name.as_str()), (2, "infiniband"));
}

#[test]
fn servers_take_any_device_and_as_many_as_they_hold() {
    let hardware = "{topology: {preset: pcie-5, device: RTX-PRO-6000, gpus_per_node: 2}}";
    let resolved = good(&with(hardware, &tensor("Llama3.1-8B", 2)));
    assert_eq!(resolved.scenario.gpus.len(), 2);
    let fabric = resolved.scenario.engines[0].fabrics[0].clone().expect("PCIe was measured");
    assert_eq!(fabric.local.name, "pcie-5");
    // A link of the file leads to the devices of the preset, and takes the place of the client's.
    let link =
        "network_links: [{link_id: up, source_id: client_node_0, dest_id: gpu0, bandwidth_bps: 8e9, latency_s: 0}]";
    let hardware = format!("{{topology: {{preset: DGX-H100, nodes: 2, gpus_per_node: 1}}, {link}}}");
    let resolved = good(&with(&hardware, &tensor("Llama3.1-8B", 2)));
    assert_eq!(ids(&resolved, &resolved.scenario.engines[0].ingress), ["up", "first:front_end"]);
    let fabric = resolved.scenario.engines[0].fabrics[0].clone().expect("InfiniBand is known");
    assert_eq!(fabric.across.map(|(nodes, _)| nodes), Some(2));
}

#[test]
fn cards_that_may_not_read_each_other_leave_all_reduces_to_the_library() {
    let custom = |device: &str| {
        let hardware = format!("{{compute_devices: [{{device_id: gpu, device: {device}, count: 2}}]}}");
        let engine = good(&with(&hardware, &tensor("Llama3.1-8B", 2))).scenario.engines.remove(0);
        engine.fabrics[0].clone().expect("PCIe was measured").custom_all_reduce
    };
    assert!(custom("RTX-PRO-6000") && !custom("RTX-4090"));
}

#[test]
fn written_links_are_rings_unless_they_say_what_they_are() {
    let hardware = |fabric: &str| {
        format!(
            "{{compute_devices: [{{device_id: gpu, device: A100-80GB, count: 2}}], network_links: [{{link_id: a, \
             source_id: gpu0, dest_id: gpu1, bandwidth_bps: 2.4e12, latency_s: 1e-6{fabric}}}]}}"
        )
    };
    let fabric = |fabric: &str, more: &str| {
        let config = tensor("Llama3.1-8B", 2).replace("{model", &format!("{{{more}model"));
        good(&with(&hardware(fabric), &config)).scenario.engines[0].fabrics[0].clone()
    };
    assert_eq!(fabric("", ""), None);
    let nvlink = fabric(", fabric: nvlink", "").expect("NVLink was measured");
    assert_eq!((nvlink.local.name.as_str(), nvlink.custom_all_reduce), ("nvlink-a100", true));
    let without = fabric(", fabric: nvlink", "disable_custom_all_reduce: true, ").expect("NVLink was measured");
    assert!(!without.custom_all_reduce);
}

#[test]
fn engines_that_share_experts_divide_the_gpus() {
    let config = |more: &str| {
        let gpus = gpus(8);
        format!("{{model_profile_id: Qwen3-30B-A3B, parallelism: {{strategy: TP, tp_degree: 2, {gpus}, {more}}}}}")
    };
    let resolved = good(&with("{topology: {preset: DGX-H100}}", &config("dp_degree: 4, expert_parallel: true")));
    let scenario = &resolved.scenario;
    let names: Vec<&str> = scenario.engines.iter().map(|engine| engine.name.as_str()).collect();
    assert_eq!(names, ["first", "first#dp1", "first#dp2", "first#dp3"]);
    for (number, engine) in (0_u32..).zip(&scenario.engines) {
        assert_eq!(engine.gpus, [2 * number, 2 * number + 1]);
        let experts = engine.expert_parallel.as_ref().expect("experts are whole");
        assert_eq!((experts.data_parallel, experts.exchange), (4, ExpertExchange::AllGather));
        assert_eq!(experts.hops.len(), 2);
        assert_eq!(ids(&resolved, &experts.hops[0])[0], format!("gpu{}_to_nvswitch0", 2 * number));
        assert!(experts.fabric.is_some());
        assert!((engine.weight - 0.25).abs() < 1e-12);
    }
    // Sharing the experts leaves more room for the cache than two GPUs alone have.
    let gpus = gpus(2);
    let alone = format!("{{model_profile_id: Qwen3-30B-A3B, parallelism: {{strategy: TP, tp_degree: 2, {gpus}}}}}");
    let alone = good(&with("{topology: {preset: DGX-H100}}", &alone));
    assert!(scenario.engines[0].kv_blocks > alone.scenario.engines[0].kv_blocks * 5 / 4);

    let text = with("{topology: {preset: DGX-H100}}", &config("dp_degree: 4, expert_parallel: true"));
    let resolved = good(&text.replace("type: ParallelVLLM", "type: ParallelVLLM\n    replicas: 2"));
    assert_eq!(resolved.scenario.engines.len(), 8);
    let copy = &resolved.scenario.engines[5];
    assert_eq!(copy.name, "first#dp1#r1");
    let experts = copy.expert_parallel.as_ref().expect("experts are whole");
    assert_eq!(ids(&resolved, &experts.hops[0])[0], "gpu2_to_nvswitch0#r1");
}

#[test]
fn ranks_share_a_cache_that_they_would_hold_alike() {
    let engine = |keys: &str| {
        let config = tensor("DeepSeek-V2-Lite", 8).replace("tp_degree: 8", &format!("tp_degree: 8, {keys}"));
        good(&with("{topology: {preset: DGX-H100}}", &config)).scenario.engines.remove(0)
    };
    let (alone, shared) = (engine("dcp_degree: 1"), engine("dcp_degree: 8"));
    assert_eq!((alone.decode_context_parallel, shared.decode_context_parallel), (1, 8));
    // All blocks, the null block included.
    assert_eq!((shared.kv_blocks + 1) / 8, alone.kv_blocks + 1);
    assert!(!alone.sequence_parallel && engine("sequence_parallel: true").sequence_parallel);
}

#[test]
fn each_mistake_in_servers_and_parallelism_is_found() {
    let dgx = "{topology: {preset: DGX-H100}}";
    let parallel = |model: &str, keys: &str| {
        format!("{{model_profile_id: {model}, parallelism: {{strategy: TP, {}, {keys}}}}}", gpus(8))
    };
    let eight = tensor("Llama3.1-70B", 8);
    let cases = [
        ("neither devices nor servers", with("{network_links: []}", &eight)),
        ("unknown servers", with("{topology: {preset: DGX-H10}}", &eight)),
        ("no preset", with("{topology: {nodes: 2}}", &eight)),
        ("unknown device", with("{topology: {preset: PCIe-5, device: RTX-PRO-600}}", &eight)),
        ("no device", with("{topology: {preset: PCIe-5}}", &eight)),
        ("more than a node holds", with("{topology: {preset: DGX-H100, gpus_per_node: 16}}", &eight)),
        ("too many", with("{topology: {preset: DGX-H100, nodes: 100_000}}", &eight)),
        ("unknown network", with("{topology: {preset: DGX-H100, network: EDR}}", &eight)),
        (
            "a device of the same name",
            with("{topology: {preset: DGX-H100}, compute_devices: [{device_id: gpu3, device: H100}]}", &eight),
        ),
        ("replicas by another name", with(dgx, &parallel("Qwen3-30B-A3B", "dp_degree: 8"))),
        ("GPUs that do not divide", with(dgx, &parallel("Qwen3-30B-A3B", "dp_degree: 3, expert_parallel: true"))),
        ("no experts to share", with(dgx, &parallel("Llama3.1-8B", "dp_degree: 8, expert_parallel: true"))),
        ("no experts to spread", with(dgx, &parallel("Llama3.1-70B", "tp_degree: 8, expert_parallel: true"))),
        ("no experts at all", with(dgx, &parallel("Llama3.1-70B", "tp_degree: 8, expert_imbalance: 2"))),
        (
            "less than even",
            with(dgx, &parallel("Qwen3-30B-A3B", "tp_degree: 8, expert_parallel: true, expert_imbalance: 0.5")),
        ),
        (
            "more ranks than experts",
            with("{topology: {preset: DGX-H100, nodes: 2}}", &tensor("Mixtral-8x7B", 16))
                .replace("tp_degree: 16", "tp_degree: 16, expert_parallel: true"),
        ),
        ("a cache of which there is no copy", with(dgx, &parallel("Llama3.1-70B", "tp_degree: 8, dcp_degree: 2"))),
        ("a cache that does not divide", with(dgx, &parallel("DeepSeek-V2-Lite", "tp_degree: 8, dcp_degree: 3"))),
        (
            "stages that share experts",
            with(dgx, &parallel("Qwen3-30B-A3B", "dp_degree: 2, expert_parallel: true, pp_stages: 4"))
                .replace("strategy: TP", "strategy: PP"),
        ),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn keys_that_are_off_change_nothing() {
    let plain = with("{topology: {preset: DGX-H100}}", &tensor("Mixtral-8x7B", 8));
    let off = "tp_degree: 8, expert_parallel: false, dp_degree: 1, dcp_degree: 1, sequence_parallel: false";
    let off = plain.replace("tp_degree: 8", off).replace("{model_", "{disable_custom_all_reduce: false, model_");
    let engines = |text: &str| format!("{:?}", resolve(text).expect("resolves").scenario.engines);
    assert_eq!(messages(&off), "");
    assert_eq!(engines(&plain), engines(&off));
}

fn experts_of(preset: &str, model: &str, ranks: u32, more: &str) -> String {
    let config = tensor(model, ranks).replace("{model", &format!("{{{more}model"));
    with(&format!("{{topology: {{preset: {preset}}}}}"), &config)
}

#[test]
fn kernels_of_experts_are_those_of_the_release_or_those_that_are_asked_for() {
    let engine =
        |preset: &str, model: &str, more: &str| good(&experts_of(preset, model, 4, more)).scenario.engines[0].clone();
    let family = |preset: &str, model: &str, more: &str| engine(preset, model, more).expert_kernels;
    // vLLM 0.11 comes without triton_kernels, so that Hopper falls back on Marlin; Blackwell has its own.
    assert_eq!(family("DGX-H100", "gpt-oss-120B", "version: \"0.11\", "), Some(ExpertFamily::Marlin));
    assert_eq!(family("DGX-B200", "gpt-oss-120B", "version: \"0.11\", "), None);
    assert_eq!(family("DGX-H100", "gpt-oss-120B", ""), None);
    // 0.15 and 0.16 take the first that serves Hopper, later ones Triton for slices.
    for (version, taken) in [("0.14", None), ("0.16", Some(ExpertFamily::Cutlass)), ("0.17", None)] {
        assert_eq!(family("DGX-H200", "MiniMax-M2.5", &format!("version: \"{version}\", ")), taken, "{version}");
    }
    assert_eq!(family("DGX-H100", "gpt-oss-120B", "moe_backend: marlin, "), Some(ExpertFamily::Marlin));
    assert_eq!(
        family("DGX-H100", "gpt-oss-120B", "version: \"0.11\", moe_backend: triton, "),
        Some(ExpertFamily::Triton)
    );
    let narrowed = engine("DGX-B200", "gpt-oss-120B", "moe_backend: flashinfer_trtllm_afp8, ");
    assert_eq!(narrowed.expert_kernels, Some(ExpertFamily::Trtllm));
    assert_eq!(narrowed.model.expert_format().activations, Some(Dtype::Fp8));
    assert_eq!(engine("DGX-B200", "gpt-oss-120B", "").model.expert_format().activations, None);
    // vLLM 0.23 has MiniMax's norms and router as kernels of their own.
    let is_fused = |version: &str| {
        engine("DGX-H200", "MiniMax-M2.5", &format!("version: \"{version}\", ")).fused_norms_and_routers
    };
    assert_eq!((is_fused("0.22"), is_fused("0.23")), (false, true));
}

#[test]
fn kernels_of_experts_that_nobody_measured_are_refused() {
    for (preset, model, backend, expected) in [
        ("DGX-H100", "gpt-oss-120B", "flashinfer_trtllm", "were not measured for the experts of gpt-oss-120B"),
        ("DGX-H100", "gpt-oss-120B", "deep_gemm", "moe_backend"),
        ("DGX-H100", "gpt-oss-120B", "flashinfer_cutlass", "leave moe_backend out, or write triton or marlin"),
        ("DGX-H100", "gpt-oss-120B", "flashinfer_trtllm_afp8", "leave moe_backend out"),
        ("DGX-A100", "Mixtral-8x7B", "marlin", "leave moe_backend out, or write triton"),
        ("DGX-A100", "gpt-oss-120B", "triton", "were not measured for the experts of gpt-oss-120B"),
        ("DGX-B200", "MiniMax-M2.5", "flashinfer_trtllm_afp8", "is for experts in mxfp4"),
        ("DGX-B200", "Llama3.1-70B", "triton", "has no effect: Llama3.1-70B has no experts"),
    ] {
        let said = messages(&experts_of(preset, model, 4, &format!("moe_backend: {backend}, ")));
        assert!(said.contains(expected), "{model}, {backend}: {said}");
        assert!(!backend.ends_with("_afp8") || !said.contains("or write"), "{said}");
    }
}

/// vLLM's `use_ep` asks for more than one rank.
#[test]
fn experts_are_not_spread_over_one_rank() {
    let config =
        experts_of("DGX-H100", "Qwen3-30B-A3B", 1, "").replace("strategy: TP", "strategy: TP, expert_parallel: true");
    assert!(messages(&config).contains("has no effect on one rank"), "{}", messages(&config));
    assert_eq!(good(&config).scenario.engines[0].expert_parallel, None);
}

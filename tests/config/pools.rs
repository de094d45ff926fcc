//! Prefill and decode pools as a user writes them.

use oracle_components::SimTime;
use oracle_components::scenario::{Path, PrefixCaching, Role, Routing, Scenario};

use crate::{GOOD, good, replaced, report};

const ONE_FRAMEWORK: &str = "\
  - name: first
    type: VLLM
    config:
      model_profile_id: Llama2-7B
      gpu_id: gpu0
";

/// One framework prefills on gpu0, one decodes on gpu1.
const POOLS: &str = "\
  - name: prefill
    type: VLLM
    role: prefill
    config: {model_profile_id: Llama2-7B, gpu_id: gpu0}
  - name: decode
    type: VLLM
    role: decode
    config: {model_profile_id: Llama2-7B, gpu_id: gpu1}
";

fn pools() -> String {
    replaced(ONE_FRAMEWORK, POOLS)
}

/// The good configuration with pools, in one place another.
fn with_pools(from: &str, to: &str) -> String {
    let text = pools();
    assert!(text.contains(from), "{from:?} is not in it");
    text.replacen(from, to, 1)
}

/// The good configuration with one more setting of its framework.
fn with_first(setting: &str) -> String {
    replaced("      gpu_id: gpu0\n", &format!("      gpu_id: gpu0\n      {setting}\n"))
}

fn ids(scenario: &Scenario, path: &Path) -> Vec<String> {
    path.iter().map(|&link| scenario.links[link as usize].id.clone()).collect()
}

/// The links of every flow between two engines.
fn flows(scenario: &Scenario, prefill: u32, decode: u32) -> Vec<Vec<String>> {
    scenario.kv_paths[&(prefill, decode)].iter().map(|path| ids(scenario, path)).collect()
}

#[test]
fn without_roles_engines_serve_whole_requests() {
    let resolved = good(GOOD);
    assert_eq!(resolved.scenario.engines[0].role, Role::Both);
    assert!(resolved.scenario.kv_paths.is_empty());
    assert!(!resolved.canonical.to_string().contains("role"), "what is not said is not in the manifest");
}

#[test]
fn kv_caches_go_over_the_links_between_the_pools() {
    let resolved = good(&pools());
    let scenario = &resolved.scenario;
    let roles = scenario.engines.iter().map(|engine| (engine.role, engine.scheduler.prefix_caching));
    let expected = [(Role::Prefill, PrefixCaching::Full), (Role::Decode, PrefixCaching::Off)];
    assert_eq!(roles.collect::<Vec<_>>(), expected);
    assert_eq!(flows(scenario, 0, 1), [["bridge"]]);
    assert_eq!((scenario.routing, scenario.decode_routing), (Routing::RoundRobin, Routing::RoundRobin));
    let text = with_pools("total_duration: 50", "total_duration: 50\n  decode_balancing_strategy: least_loaded");
    let scenario = good(&text).scenario;
    assert_eq!((scenario.routing, scenario.decode_routing), (Routing::RoundRobin, Routing::LeastLoaded));
}

#[test]
fn one_side_of_a_transfer_needs_no_other() {
    let scheduler = |side: &str| {
        let text = with_first(&format!("kv_transfer_config: {{kv_role: {side}, transfer_s: 0.035}}"));
        good(&text).scenario.engines[0].scheduler
    };
    let (consumer, producer) = (scheduler("kv_consumer"), scheduler("kv_producer"));
    let time = Some(SimTime(35_000_000));
    assert_eq!((consumer.load_time(), consumer.hold_time(), consumer.prefix_caching), (time, None, PrefixCaching::Off));
    assert_eq!(
        (producer.load_time(), producer.hold_time(), producer.prefix_caching),
        (None, time, PrefixCaching::Full)
    );
    assert_eq!(good(GOOD).scenario.engines[0].scheduler.kv_transfer, None);
}

#[test]
fn every_pair_of_copies_has_links_of_its_own() {
    let text = pools().replace("role: prefill", "role: prefill\n    replicas: 2");
    let text = text.replace("role: decode", "role: decode\n    replicas: 3");
    let scenario = good(&text).scenario;
    assert_eq!(scenario.kv_paths.len(), 6);
    let links: Vec<_> = scenario.kv_paths.values().map(|paths| ids(&scenario, &paths[0])).collect();
    let names = ["bridge", "bridge#r0-r1", "bridge#r0-r2", "bridge#r1-r0", "bridge#r1-r1", "bridge#r1-r2"];
    assert_eq!(links, names.map(|name| [name]));
    let link = scenario.links.iter().find(|link| link.id == "bridge#r1-r2").expect("it is used");
    assert_eq!((link.source.as_str(), link.destination.as_str()), ("gpu0#r1", "gpu1#r2"));
}

#[test]
fn a_switch_joins_any_number() {
    let text = with_pools("source_id: gpu0, dest_id: gpu1", "source_id: gpu0, dest_id: switch");
    let down = "    - {link_id: down, source_id: switch, dest_id: gpu1, bandwidth_bps: 8e11, latency_s: 0}\nworkload:";
    let text = text.replace("  network_links:", "    - {device_id: switch, device_type: CPU}\n  network_links:");
    let text = text.replace("workload:", down).replace("role: decode", "role: decode\n    replicas: 2");
    let scenario = good(&text).scenario;
    assert_eq!(flows(&scenario, 0, 1), [["bridge", "down"]]);
    assert_eq!(flows(&scenario, 0, 2), [["bridge", "down#r1"]]);
}

#[test]
fn each_gpu_of_the_larger_engine_has_a_flow() {
    let text = with_pools(
        "config: {model_profile_id: Llama2-7B, gpu_id: gpu0}",
        "config:\n      model_profile_id: Llama2-7B\n      parallelism: {strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu1]}",
    );
    let text = text.replace(
        "config: {model_profile_id: Llama2-7B, gpu_id: gpu1}",
        "config: {model_profile_id: Llama2-7B, gpu_id: gpu2}",
    );
    let text = text.replace("device_id: gpu2\n      device_type: GPU\n      peak_tflops: {fp16: 312, int8: 624}\n      memory_capacity_bytes: 80_000_000_000\n      memory_gbps: 2039", "device_id: gpu2\n      device: A100-80GB");
    let head = text.find("  network_links:").expect("it has links");
    let tail = text.find("workload:").expect("it has a workload");
    // Without any links, catalog devices are joined.
    let scenario = good(&format!("{}{}", &text[..head], &text[tail..])).scenario;
    assert_eq!(flows(&scenario, 0, 1), [["gpu0_to_gpu2"], ["gpu1_to_gpu2"]]);
}

#[test]
fn a_prompt_is_no_longer_than_the_decode_engine_has_room_for() {
    let scenario = good(&with_pools("gpu_id: gpu1}", "gpu_id: gpu1, max_model_len: 1000}")).scenario;
    let lengths = scenario.engines.iter().map(|engine| engine.scheduler.max_model_len);
    assert_eq!(lengths.collect::<Vec<_>>(), [1000, 1000]);
}

#[test]
fn each_mistake_about_pools_is_found() {
    let cases = [
        ("nobody decodes", with_pools("role: decode", "role: both")),
        ("nobody prefills", with_pools("role: prefill", "role: both")),
        ("no such role", with_pools("role: decode", "role: decoder")),
        ("no link between", with_pools("source_id: gpu0, dest_id: gpu1", "source_id: gpu0, dest_id: gpu2")),
        ("a link too slow", with_pools("bandwidth_bps: 8e11", "bandwidth_bps: 8e5")),
        ("other blocks", with_pools("gpu_id: gpu1}", "gpu_id: gpu1, block_size: 32}")),
        ("another model", with_pools("Llama2-7B, gpu_id: gpu1}", "Llama2-13B, gpu_id: gpu1}")),
        ("another KV type", with_pools("gpu_id: gpu1}", "gpu_id: gpu1, kv_cache_dtype: fp8}")),
        (
            "a prompt that cannot be answered",
            pools()
                .replace("gpu_id: gpu0}", "gpu_id: gpu0, max_model_len: 2000}")
                .replace("gpu_id: gpu1}", "gpu_id: gpu1, max_model_len: 1000}"),
        ),
        (
            "no weight on those that decode",
            with_pools(
                "total_duration: 50",
                "total_duration: 50\n  decode_balancing_strategy: weighted_random\n  framework_weights: {decode: 0}",
            ),
        ),
        (
            "a strategy for nobody",
            replaced("total_duration: 50", "total_duration: 50\n  decode_balancing_strategy: random"),
        ),
        (
            "a role and a side of its own",
            with_pools("gpu_id: gpu1}", "gpu_id: gpu1, kv_transfer_config: {kv_role: kv_consumer, transfer_s: 0.1}}"),
        ),
        ("no such side", with_first("kv_transfer_config: {kv_role: kv_both, transfer_s: 0.1}")),
        (
            "no such connector",
            with_first("kv_transfer_config: {kv_connector: Nixl, kv_role: kv_consumer, transfer_s: 0.1}"),
        ),
        ("no side, no time", with_first("kv_transfer_config: {}")),
        ("a time that is none", with_first("kv_transfer_config: {kv_role: kv_producer, transfer_s: -1}")),
        (
            "too many pairs",
            pools()
                .replace("role: prefill", "role: prefill\n    replicas: 400")
                .replace("role: decode", "role: decode\n    replicas: 400"),
        ),
    ];
    insta::assert_snapshot!(report(cases));
}

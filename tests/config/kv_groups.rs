//! How layers of several kinds share the KV pool of an engine.

use llmperforacle::config::{Diagnostic, Overrides, Resolved, load_text};
use oracle_components::kv_groups::KvKind;
use oracle_components::scenario::EngineSpec;
use oracle_systems::kv_groups::pool_tokens;

use crate::{GOOD, lines};

fn deployment(model: &str, sets: &[&str]) -> Result<Resolved, Vec<Diagnostic>> {
    let of_config = |set: &&str| match set.strip_prefix("..") {
        Some(rest) => format!("frameworks_to_test[0].{rest}"),
        None => format!("frameworks_to_test[0].config.{set}"),
    };
    let device = "hardware_profile.compute_devices[0].device=H200".to_owned();
    let model = format!("frameworks_to_test[0].config.model_profile_id={model}");
    let set = [device, model].into_iter().chain(sets.iter().map(of_config)).collect();
    load_text(GOOD.as_bytes(), "test.yaml", &Overrides { set, ..Overrides::default() })
}

fn engine(model: &str, sets: &[&str]) -> EngineSpec {
    let resolved = deployment(model, sets).unwrap_or_else(|found| panic!("{model} {sets:?}: {}", lines(&found)));
    resolved.scenario.engines.into_iter().next().expect("an engine")
}

/// Kinds of layers of the groups, and the layers of each.
fn groups(engine: &EngineSpec) -> (Vec<KvKind>, u32) {
    let groups = engine.kv_groups.as_ref().expect("it has groups");
    assert!(groups.groups.iter().all(|group| group.block_tokens == 16), "one block size");
    (groups.groups.iter().map(|group| group.kind).collect(), groups.layers)
}

#[test]
fn layers_are_divided_as_vllm_does() {
    let window = |tokens| KvKind::Window { tokens };
    assert_eq!(groups(&engine("gpt-oss-20B", &[])), (vec![window(128), KvKind::Full], 12));
    // 52 with a window and 10 without: six groups of 10, the last with room for 8 more.
    let gemma = [vec![window(1024); 6], vec![KvKind::Full]].concat();
    assert_eq!(groups(&engine("Gemma3-27B", &[])), (gemma, 10));
    // 21 and 21, 13 and 13: a group each.
    assert_eq!(groups(&engine("Gemma2-9B", &[])), (vec![window(4096), KvKind::Full], 21));
    assert_eq!(groups(&engine("Mistral-7B-v0.1", &[])), (vec![window(4096)], 32));
    assert_eq!(engine("Llama3-8B", &[]).kv_groups, None, "all layers are alike");
    let chunk = KvKind::Chunk { tokens: 8192 };
    let scout = [vec![chunk; 3], vec![KvKind::Full]].concat();
    assert_eq!(groups(&engine("Llama4-Scout", &["weight_dtype=int4", "max_model_len=auto"])), (scout, 12));
}

#[test]
fn a_block_is_for_the_layers_of_a_group() {
    for (model, layers, of_group) in
        [("gpt-oss-20B", 24.0, 12.0), ("Gemma3-27B", 62.0, 10.0), ("Gemma2-9B", 42.0, 21.0)]
    {
        let shared = engine(model, &["max_model_len=auto"]);
        let plain = engine(model, &["max_model_len=auto", "disable_hybrid_kv_cache_manager=true"]);
        assert_eq!(plain.kv_groups, None);
        let ratio = shared.kv_blocks as f64 / plain.kv_blocks as f64;
        assert!((ratio / (layers / of_group) - 1.0).abs() < 1e-3, "{model}: {ratio} times as many blocks");
    }
}

#[test]
fn what_windows_save_is_context_that_fits() {
    let shared = engine("Gemma3-27B", &[]);
    let plain = engine("Gemma3-27B", &["disable_hybrid_kv_cache_manager=true", "max_model_len=auto"]);
    let tokens = pool_tokens(shared.kv_groups.as_ref().unwrap(), &shared.scheduler, shared.kv_blocks);
    // With 131,072 tokens each, 52 of 62 layers hold 1,024 and two steps of 8,192 of them: a fifth of the bytes.
    let ratio = tokens as f64 / (plain.kv_blocks * 16) as f64;
    assert!((3.0..62.0 / 10.0).contains(&ratio), "{ratio} times as many tokens");
}

#[test]
fn where_vllm_has_one_group_there_is_one() {
    let alone = r#"kv_transfer_config={"kv_role": "kv_producer", "transfer_s": 0.1}"#;
    for sets in [&["disable_hybrid_kv_cache_manager=true"][..], &["..role=both", alone]] {
        assert_eq!(engine("gpt-oss-20B", sets).kv_groups, None, "{sets:?}");
    }
}

#[test]
fn without_groups_every_layer_keeps_the_whole_context() {
    let less = "gpu_memory_utilization=0.8";
    let whole = ["disable_hybrid_kv_cache_manager=true", less];
    let found =
        deployment("Gemma3-27B", &whole).expect_err("131,072 tokens of 62 layers are too many beside the weights");
    assert!(lines(&found).contains("more KV cache than there is"), "{}", lines(&found));
    assert_eq!(engine("Gemma3-27B", &[less]).scheduler.max_model_len, 131_072, "in groups they fit");
}

#[test]
fn the_rules_are_those_of_the_release() {
    let of = |sets: &[&str]| engine("gpt-oss-20B", sets).kv_groups.expect("it has groups");
    let (old, new) = (of(&["..version='0.19'"]), of(&[]));
    assert_eq!((old.retention_interval, new.retention_interval), (None, Some(0)));
    assert!(new.rules.windows_are_capped && new.rules.windows_wait_for_output);
    assert!(!(old.rules.windows_are_capped || old.rules.windows_wait_for_output));
    assert_eq!(of(&["prefix_cache_retention_interval=none"]).retention_interval, None);
    assert_eq!(of(&["prefix_cache_retention_interval=64"]).retention_interval, Some(64));
}

#[test]
fn what_vllm_does_not_take_of_a_retention_interval_is_refused() {
    let refused = |model: &str, sets: &[&str], part: &str| {
        let found = deployment(model, sets).err().unwrap_or_else(|| panic!("{sets:?} is refused"));
        assert!(lines(&found).contains(part), "{}", lines(&found));
    };
    refused("gpt-oss-20B", &["prefix_cache_retention_interval=24"], "set prefix_cache_retention_interval: 32");
    refused("Llama3-8B", &["prefix_cache_retention_interval=32"], "leave it out");
    refused("gpt-oss-20B", &["prefix_cache_retention_interval=32", "..version='0.19'"], "which came with 0.33");
    refused("gpt-oss-20B", &["prefix_cache_retention_interval=some"], "a whole number or none");
}

//! What files of public models are read as, against the makers' figures and the modelling code: the cases of the shared files.

use std::path::{Path, PathBuf};

use llmperforacle::catalog::{HfModel, load_hf_config};
use oracle_components::kv_groups::KvKind;
use oracle_components::layers::Part;
use oracle_systems::costing::weights::{parameters, state_bytes_per_sequence, weight_bytes};
use oracle_systems::kv_layers::{kv_layers, share_pool};

use crate::{Folder, shared};

fn case(file: &str) -> Option<PathBuf> {
    shared().map(|data| data.with_file_name("cases").join(file))
}

fn read(file: &Path) -> HfModel {
    load_hf_config(file).unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes a token of the layers whose cache grows with the context.
fn grown(model: &HfModel) -> f64 {
    let full = kv_layers(&model.architecture, 1).into_iter().filter(|layers| layers.kind == KvKind::Full);
    full.map(|layers| layers.bytes * f64::from(layers.layers)).sum()
}

#[test]
fn llama_4_has_experts_in_every_second_layer_and_a_shared_one() {
    let Some(file) = case("03-llama4-interleaved-experts/config.json") else { return };
    let mut text = std::fs::read_to_string(&file).expect("the file");
    let maverick = read(&file);
    assert_eq!(
        (parameters(&maverick.architecture), weight_bytes(&maverick.architecture)),
        (400_711_848_960, 801_423_697_920)
    );
    // 12 of 48 layers see everything, the others chunks of 8,192.
    assert_eq!(grown(&maverick), 12.0 * 2.0 * 8.0 * 128.0 * 2.0);
    text = text.replace("\"interleave_moe_layer_step\": 2", "\"interleave_moe_layer_step\": 1");
    text = text.replace("\"num_local_experts\": 128", "\"num_local_experts\": 16");
    let folder = Folder::with("config.json", text);
    let scout = load_hf_config(folder.0.path()).expect("a model");
    assert_eq!(parameters(&scout.architecture), 107_769_861_120);
}

#[test]
fn gated_delta_layers_keep_a_state_and_no_tokens() {
    let Some(file) = case("04-gated-delta-kv-times-four/config.json") else { return };
    let model = read(&file);
    assert_eq!(parameters(&model.architecture), 26_895_998_464);
    assert_eq!(grown(&model), 65_536.0);
    // 48 layers: 3 · (2 · 16 · 128 + 48 · 128) elements of convolution, 48 · 128 · 128 of state, at 2 bytes.
    let layer = 3.0 * (2.0 * 2048.0 + 6144.0) + 48.0 * 128.0 * 128.0;
    assert_eq!(state_bytes_per_sequence(&model.architecture), 48.0 * 2.0 * layer);
}

/// vLLM on an H200 said 626,949 tokens in 64.68 GiB: what a context of 262,144 takes of the pool, as often as it finds room.
#[test]
fn windows_of_gemma_4_leave_room_as_measured() {
    let Some(file) = case("08-windowed-kv-against-measured/config.json") else { return };
    let model = read(&file);
    assert_eq!(parameters(&model.architecture), 30_697_345_280);
    assert_eq!(grown(&model), 81_920.0);
    let pool = share_pool(&kv_layers(&model.architecture, 1), 16, true);
    let blocks = 64.68 * f64::from(1 << 30) / (pool.page_bytes * f64::from(pool.layers));
    let (context, step) = (262_144.0, 8192.0);
    let of_group = |group: &oracle_components::kv_groups::KvGroup| match group.kind {
        KvKind::Window { tokens } => ((f64::from(tokens) - 1.0 + step) / f64::from(group.block_tokens)).ceil() + 1.0,
        _ => (context / f64::from(group.block_tokens)).ceil(),
    };
    let taken: f64 = pool.groups.iter().map(of_group).sum();
    let tokens = blocks.floor() / taken * context;
    assert!((tokens / 626_949.0 - 1.0).abs() < 0.01, "{tokens} tokens");
}

#[test]
fn an_encoder_is_refused_by_name() {
    let Some(file) = case("20-encoder-taken-for-a-decoder/config.json") else { return };
    let error = load_hf_config(&file).expect_err("an encoder").to_string();
    assert!(error.contains("bert is an encoder"), "{error}");
}

#[test]
fn families_have_defaults_of_their_own() {
    let Some(command_r) = case("21-family-defaults/cohere.json") else { return };
    // Tied embeddings; two matrices in the MLP.
    assert_eq!(parameters(&read(&command_r).architecture), 34_980_831_232);
    let gptj = case("21-family-defaults/gptj.json").expect("beside it");
    assert_eq!(parameters(&read(&gptj).architecture), 6_050_882_784);
}

#[test]
fn mimo_has_two_kinds_of_heads() {
    let Some(file) = case("24-mimo-two-kinds-of-heads/config.json") else { return };
    let model = read(&file);
    assert_eq!(parameters(&model.architecture), 308_778_778_368);
    assert_eq!(grown(&model), 23_040.0);
    let windowed = kv_layers(&model.architecture, 1).into_iter().find(|layers| layers.kind != KvKind::Full);
    let windowed = windowed.expect("windows");
    assert_eq!(
        (windowed.kind, windowed.layers, windowed.bytes),
        (KvKind::Window { tokens: 128 }, 39, 8.0 * 320.0 * 2.0)
    );
}

#[test]
fn yarn_stretches_a_context() {
    let Some(file) = case("18-yarn-context/config.json") else { return };
    assert_eq!(read(&file).architecture.context_tokens(), 131_072);
}

/// DeepSeek V4's caches: of every layer a window of 128 vectors of 584 bytes, of others one vector for 4 or 128 tokens, and the index's.
#[test]
fn compressed_caches_keep_a_vector_for_several_tokens() {
    let catalog = llmperforacle::catalog::Catalog::builtin();
    let flash = &catalog.model("DeepSeek-V4-Flash").expect("in the catalog").architecture;
    let compressed = flash.layers.parts().filter(|(part, _)| matches!(part, Part::Compressed(_)));
    assert_eq!(compressed.map(|(_, layers)| layers).sum::<u32>(), 43);
    let kept = kv_layers(flash, 1);
    let full: f64 =
        kept.iter().filter(|kept| kept.kind == KvKind::Full).map(|kept| kept.bytes * f64::from(kept.layers)).sum();
    assert_eq!(full, 21.0 * (584.0 + 132.0) / 4.0 + 20.0 * 584.0 / 128.0);
    assert!(kept.contains(&oracle_systems::kv_layers::KvLayers {
        kind: KvKind::Window { tokens: 128 },
        layers: 43,
        bytes: 584.0
    }));
}

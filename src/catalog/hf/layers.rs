//! Layers by the rules of a family: which have a window, which have experts, and what attention and MLPs consist of.

use oracle_components::layers::{Attention, Experts, Index, Keeps, LatentAttention, Layer, Mlp, Part, Reach};

use super::family::{QkNorm, Switch, WindowRule};
use super::fields::Fields;

/// A mixer and an MLP a layer.
pub(super) fn transformer(fields: &mut Fields<'_>) -> Vec<Layer> {
    let layers = fields.layers();
    let reaches = reaches(fields, layers);
    let sparse = sparse_layers(fields, layers);
    let mut stack = Vec::new();
    for (index, reach) in reaches.into_iter().enumerate() {
        let index = index as u32;
        let mixer = if fields.family.latent {
            Part::Latent(latent(fields, index))
        } else {
            Part::Attention(attention(fields, index, reach))
        };
        let feed_forward = feed_forward(fields, index, sparse[index as usize]);
        let other_elements = sub_norms(fields, &feed_forward);
        let mut norms = norms(fields);
        let mut parts = vec![mixer, feed_forward];
        if sparse[index as usize] {
            let beside = beside_experts(fields, index);
            norms += u32::from(beside.is_some() && fields.is_on("parallel_attn_mlp_res"));
            parts.extend(beside.map(Part::Mlp));
        }
        // A layer that each token runs through several times has a cache for each of them (Ouro).
        let again = fields.number("total_ut_steps").unwrap_or(1) - 1;
        let shared_parts = parts.iter().cycle().take(parts.len() * again.min(16) as usize).cloned().collect();
        stack.push(Layer { parts, shared_parts, norms, other_elements, formats: None });
    }
    stack
}

/// The MLP beside the experts of a layer: as wide as the stream (Arctic), or as a dense one (Grok 2).
fn beside_experts(fields: &mut Fields<'_>, layer: u32) -> Option<Mlp> {
    if fields.is_on("parallel_attn_mlp_res") {
        let width = fields.required("hidden_size");
        return Some(mlp_of(fields, width));
    }
    fields.is_on("residual_moe").then(|| mlp(fields, layer))
}

/// Norms before the last product of attention and MLP (BitNet).
fn sub_norms(fields: &mut Fields<'_>, feed_forward: &Part) -> u64 {
    match feed_forward {
        Part::Mlp(mlp) if fields.is_on("sub_norms") => u64::from(fields.required("hidden_size") + mlp.width),
        _ => 0,
    }
}

/// Whether a switch is on.
pub(super) fn is_on(fields: &mut Fields<'_>, switch: &Switch) -> bool {
    match switch {
        Switch::Always(on) => *on,
        Switch::Key(key) => match key.strip_prefix('!') {
            Some(key) => !fields.is_on(key),
            None => fields.is_on(key),
        },
    }
}

/// Norms of a layer: of parallel attention and MLP it may be one.
fn norms(fields: &mut Fields<'_>) -> u32 {
    let family = fields.family;
    if fields.value("new_decoder_architecture").is_some() || family.keys.contains_key("parallel_attn") {
        // Falcon.
        return match (fields.is_on("new_decoder_architecture"), fields.is_on("parallel_attn")) {
            (true, _) => fields.number("num_ln_in_parallel_attn").unwrap_or(2),
            (false, true) => 1,
            (false, false) => 2,
        };
    }
    if fields.is_on("one_norm_if_parallel") && fields.is_on("use_parallel_residual") { 1 } else { family.norms.0 }
}

/// What each layer's attention looks back on.
pub(super) fn reaches(fields: &mut Fields<'_>, layers: u32) -> Vec<Reach> {
    let rule = &fields.family.window;
    if *rule == WindowRule::Chunks {
        return chunks(fields, layers);
    }
    let switched_off = fields.flag("use_sliding_window") == Some(false);
    let window = if *rule == WindowRule::None { None } else { fields.number("sliding_window") };
    let context = fields.number("max_position_embeddings").unwrap_or(u32::MAX);
    let listed = fields.words("layer_types").or_else(|| global_and_local(fields));
    if let Some(types) = &listed {
        check_words(fields, types, layers);
    }
    let listed = listed.filter(|types| types.len() >= layers as usize);
    // A window as long as the context restricts nothing.
    let Some(window) = window.filter(|&window| !switched_off && window < context) else {
        return vec![Reach::Full; layers as usize];
    };
    let windowed: Vec<bool> = match (listed, rule) {
        (Some(types), _) => types.iter().take(layers as usize).map(|kind| is_windowed(kind)).collect(),
        (None, WindowRule::All | WindowRule::None | WindowRule::Chunks) => match fields.value("sliding_window_pattern")
        {
            None => vec![true; layers as usize],
            Some(_) => by_pattern(fields, layers, 1),
        },
        (None, WindowRule::AllButEvery(every)) => by_pattern(fields, layers, *every),
        (None, WindowRule::FromMaxWindowLayers) => {
            let on = fields.is_on("use_sliding_window");
            let first = fields.count("max_window_layers");
            (0..layers).map(|layer| on && layer >= first).collect()
        }
        (None, WindowRule::Listed(key)) => {
            (0..layers).map(|layer| fields.number_at(key, layer).is_some_and(|windowed| windowed == 1)).collect()
        }
    };
    windowed.into_iter().map(|windowed| if windowed { Reach::Window(window) } else { Reach::Full }).collect()
}

/// Words that a list repeats: `[[["global", "local"], 12]]` (GPT-Neo).
fn global_and_local<'a>(fields: &mut Fields<'a>) -> Option<Vec<&'a str>> {
    let runs = fields.list("attention_types")?;
    let mut words = Vec::new();
    for run in runs {
        let (kinds, times) = (run.get(0)?.as_array()?, run.get(1)?.as_u64()?.min(1000));
        for _ in 0..times {
            words.extend(kinds.iter().filter_map(serde_json::Value::as_str).map(|kind| match kind {
                "local" => "local_attention",
                _ => "global_attention",
            }));
        }
    }
    Some(words)
}

fn is_windowed(kind: &str) -> bool {
    matches!(kind, "sliding_attention" | "local_attention")
}

/// Kinds of layers that a transformer has.
const WORDS: [&str; 7] = [
    "full_attention",
    "sliding_attention",
    "local_attention",
    "global_attention",
    "chunked_attention",
    "indexed_attention",
    "deepseek_sparse_attention",
];

/// A word that is not understood is an error, and so is a list that is too short.
fn check_words(fields: &mut Fields<'_>, types: &[&str], layers: u32) {
    if let Some(unknown) = types.iter().find(|word| !WORDS.contains(word)) {
        let message = format!(
            "has layers of {unknown}, which is no kind that is known of the family that it is read as; it cannot be simulated without"
        );
        fields.error("layer_types", message);
    }
    // Further ones are those of multi-token prediction.
    if types.len() < layers as usize {
        fields.error("layer_types", format!("names {} layers, but there are {layers}", types.len()));
    }
}

/// All but every n-th layer, or by letters (EXAONE: LLLG).
fn by_pattern(fields: &mut Fields<'_>, layers: u32, otherwise: u32) -> Vec<bool> {
    let letters = fields.value("sliding_window_pattern").and_then(|value| value.as_str());
    if let Some(letters) = letters.filter(|letters| !letters.is_empty()) {
        let letters: Vec<bool> = letters.chars().map(|letter| letter == 'L').collect();
        return (0..layers as usize).map(|layer| letters[layer % letters.len()]).collect();
    }
    let every = fields.number("sliding_window_pattern").unwrap_or(otherwise);
    (0..layers).map(|layer| !(layer + 1).is_multiple_of(every)).collect()
}

/// Layers without rotary embeddings see everything, the others their chunk.
fn chunks(fields: &mut Fields<'_>, layers: u32) -> Vec<Reach> {
    let tokens = fields.number("attention_chunk_size");
    let flags = fields.numbers("no_rope_layers").filter(|flags| flags.len() == layers as usize);
    let types = fields.words("layer_types").filter(|types| types.len() == layers as usize);
    let every = fields.number("no_rope_layer_interval").unwrap_or(4);
    let reach = |layer: u32| {
        let chunked = match (&types, &flags) {
            (Some(types), _) => types[layer as usize] == "chunked_attention",
            (None, Some(flags)) => flags[layer as usize] == 1,
            (None, None) => !(layer + 1).is_multiple_of(every),
        };
        tokens.filter(|_| chunked).map_or(Reach::Full, Reach::Chunk)
    };
    (0..layers).map(reach).collect()
}

/// The names that a layer of this reach has for its keys.
fn key_of<'k>(fields: &Fields<'_>, reach: Reach, key: &'k str) -> std::borrow::Cow<'k, str> {
    let family = fields.family;
    let names = if reach == Reach::Full { &family.full_keys } else { &family.window_keys };
    let own = names.get(key).filter(|own| fields.value(own).is_some());
    own.map_or(std::borrow::Cow::Borrowed(key), |own| std::borrow::Cow::Owned(own.clone()))
}

/// Attention over keys and values.
pub(super) fn attention(fields: &mut Fields<'_>, layer: u32, reach: Reach) -> Attention {
    let family = fields.family;
    let hidden = fields.required("hidden_size");
    let key = |fields: &Fields<'_>, key| key_of(fields, reach, key);
    let heads = fields.required_at(&key(fields, "num_attention_heads"), layer).max(1);
    let is_shared = fields.flag("multi_query") == Some(true) && !fields.is_on("new_decoder_architecture");
    let kv_heads = match is_shared {
        true => 1,
        false => fields.number_at(&key(fields, "num_key_value_heads"), layer).unwrap_or(heads),
    };
    let width = fields.number_at(&key(fields, "head_dim"), layer).unwrap_or(hidden / heads);
    let value_width = fields.number(&key(fields, "v_head_dim")).unwrap_or(width);
    let qk_norm = match &family.qk_norm_if {
        Some(flag) if !fields.is_on(flag) => QkNorm::None,
        _ => family.qk_norm,
    };
    let norm_elements = match qk_norm {
        QkNorm::None => 0,
        QkNorm::Head => 2 * width,
        QkNorm::BiasedHead => 4 * width,
        QkNorm::Whole | QkNorm::Summed => (heads + kv_heads).saturating_mul(width),
    };
    let mut gate_width = if is_on(fields, &family.output_gate) { heads.saturating_mul(value_width) } else { 0 };
    if is_on(fields, &family.head_gate) {
        gate_width = gate_width.saturating_add(heads);
    }
    let sinks = is_on(fields, &sinks_of(fields, reach));
    Attention {
        heads,
        kv_heads,
        key_width: width,
        value_width,
        reach,
        keeps: Keeps::KeysAndValues,
        gate_width,
        qkv_bias: is_on(fields, &family.qkv_bias),
        output_bias: is_on(fields, &family.output_bias),
        norm_elements,
        // One of queries, one of keys.
        norm_sums: if qk_norm == QkNorm::Summed { 2 } else { 0 },
        other_elements: if sinks { heads } else { 0 },
        query_rank: fields.count("share_q_dim"),
        index: block_index(fields, layer),
    }
}

fn sinks_of(fields: &Fields<'_>, reach: Reach) -> Switch {
    match &fields.family.sinks {
        // Those of layers with a window, and those of others, by keys of their own.
        Switch::Key(key) if reach == Reach::Full => Switch::Key(key.replace("swa", "full")),
        switch => switch.clone(),
    }
}

/// Attention to blocks that an index chooses (MiniMax M3).
fn block_index(fields: &mut Fields<'_>, layer: u32) -> Option<Index> {
    let on = fields.number_at("sparse_attention_config.sparse_attention_freq", layer)?;
    let (heads, width) = ("sparse_attention_config.sparse_num_index_heads", "sparse_attention_config.sparse_index_dim");
    let block = fields.number("sparse_attention_config.sparse_block_size").unwrap_or(128);
    let chosen = fields.number("sparse_attention_config.sparse_topk_blocks").unwrap_or(16);
    let (heads, width) = (fields.required(heads), fields.required(width));
    (on == 1).then(|| Index {
        heads,
        width,
        top_tokens: block.saturating_mul(chosen),
        query_input: fields.required("hidden_size"),
        score_columns: 0,
        norm_elements: 2 * width,
        bytes_per_token: 2 * width,
    })
}

/// Latent attention, with an index where there is one.
pub(super) fn latent(fields: &mut Fields<'_>, layer: u32) -> LatentAttention {
    let heads = fields.required("num_attention_heads");
    let q_lora_rank = fields.number("q_lora_rank");
    let hidden = fields.required("hidden_size");
    let value_head_dim = fields.required("v_head_dim");
    let gated = fields.is_on("mla_use_output_gate");
    LatentAttention {
        heads,
        kv_lora_rank: fields.required("kv_lora_rank"),
        q_lora_rank,
        rope_head_dim: fields.required("qk_rope_head_dim"),
        nope_head_dim: fields.required("qk_nope_head_dim"),
        value_head_dim,
        gate_width: if gated { heads.saturating_mul(value_head_dim) } else { 0 },
        is_expanded: fields.is_on("expanded_latents"),
        bias: fields.is_on("attention_bias"),
        index: token_index(fields, layer, q_lora_rank.unwrap_or(hidden)),
    }
}

/// The index of DeepSeek's sparse attention: its cache has 8 bits and a 32-bit scale to 128 elements, whatever the other has.
fn token_index(fields: &mut Fields<'_>, layer: u32, query_input: u32) -> Option<Index> {
    let top_tokens = fields.number("index_topk")?;
    let types = fields.words("indexer_types");
    let is_shared = types.is_some_and(|types| types.get(layer as usize).is_some_and(|kind| *kind == "shared"));
    let (heads, width) = (fields.required("index_n_heads"), fields.required("index_head_dim"));
    Some(match is_shared {
        true => {
            Index { heads: 0, width, top_tokens, query_input, score_columns: 0, norm_elements: 0, bytes_per_token: 0 }
        }
        false => Index {
            heads,
            width,
            top_tokens,
            query_input,
            score_columns: heads,
            norm_elements: 2 * width,
            bytes_per_token: width + 4 * width.div_ceil(128),
        },
    })
}

/// Whether each layer has experts, by whichever rule the file states.
pub(super) fn sparse_layers(fields: &mut Fields<'_>, layers: u32) -> Vec<bool> {
    let none = vec![false; layers as usize];
    let count = fields.numbers("num_experts").and_then(|counts| counts.first().copied()).unwrap_or(0);
    // One expert is none.
    if count < 2 {
        return none;
    }
    if let Some(types) = fields.words("mlp_layer_types") {
        if let Some(unknown) = types.iter().find(|word| !matches!(**word, "dense" | "sparse" | "moe" | "hash_moe")) {
            let message = format!("has MLPs of {unknown}, which is no kind that is known");
            fields.error("mlp_layer_types", message);
        }
        let is_sparse = |layer| types.get(layer).is_some_and(|kind| *kind != "dense");
        return (0..layers as usize).map(is_sparse).collect();
    }
    if let Some(flags) = fields.list("is_moe_layer") {
        let is_sparse = |layer| flags.get(layer).and_then(serde_json::Value::as_bool) == Some(true);
        return (0..layers as usize).map(is_sparse).collect();
    }
    if let Some(list) = listed_layers(fields) {
        return (0..layers).map(|layer| list.contains(&layer)).collect();
    }
    let dense = fields.count("first_k_dense_replace");
    let only = fields.numbers("mlp_only_layers").unwrap_or_default();
    let step = fields.number("decoder_sparse_step").or_else(|| fields.number("interleave_moe_layer_step")).unwrap_or(1);
    let first = fields.count("moe_layer_start_index");
    let last = fields.value("moe_layer_end_index").and_then(serde_json::Value::as_i64).unwrap_or(-1);
    let last = u32::try_from(last).unwrap_or(layers);
    let every = fields.number("moe_layer_interval").unwrap_or(1);
    let period = fields.number("expert_layer_period").unwrap_or(1);
    let offset = fields.count("expert_layer_offset");
    let is_listed = fields.value("moe_layer_freq").is_some_and(serde_json::Value::is_array);
    (0..layers)
        .map(|layer| {
            let frequent = match fields.number_at("moe_layer_freq", layer) {
                Some(on) if is_listed => on == 1,
                Some(every) => layer.is_multiple_of(every.max(1)),
                None => true,
            };
            frequent
                && layer >= dense
                && !only.contains(&layer)
                && (layer + 1).is_multiple_of(step)
                && (first..=last).contains(&layer)
                && (layer + 1).is_multiple_of(every)
                && layer % period == offset % period
        })
        .collect()
}

/// Layers with experts, by their numbers: a list, or such as "3,4,5".
fn listed_layers(fields: &mut Fields<'_>) -> Option<Vec<u32>> {
    if let Some(text) = fields.value("moe_layers_enum").and_then(serde_json::Value::as_str) {
        return Some(text.split(',').filter_map(|number| number.trim().parse().ok()).collect());
    }
    fields.numbers("moe_layers_enum").or_else(|| fields.numbers("moe_layers")).filter(|list| !list.is_empty())
}

/// An MLP or experts.
pub(super) fn feed_forward(fields: &mut Fields<'_>, layer: u32, is_sparse: bool) -> Part {
    if is_sparse { Part::Experts(experts(fields, layer)) } else { Part::Mlp(mlp(fields, layer)) }
}

/// The MLP of a dense layer.
pub(super) fn mlp(fields: &mut Fields<'_>, layer: u32) -> Mlp {
    let dense = fields.number_at("dense_intermediate_size", layer).filter(|width| *width > 0);
    let width = match dense.or_else(|| fields.number_at("intermediate_size", layer)) {
        Some(0) => {
            fields.error("intermediate_size", "is 0, but there is a dense MLP");
            1
        }
        Some(width) => width,
        // GPT-2 and its kin leave it out for four times the hidden width.
        None => match fields.number("expansion_ratio") {
            Some(times) => times.saturating_mul(fields.required("hidden_size")),
            None => fields.required("intermediate_size"),
        },
    };
    let width = if fields.family.halved_mlp { width / 2 } else { width };
    mlp_of(fields, width)
}

/// An MLP of this width.
pub(super) fn mlp_of(fields: &mut Fields<'_>, width: u32) -> Mlp {
    let family = fields.family;
    Mlp { width, gated: !family.plain_mlp, bias: is_on(fields, &family.mlp_bias) }
}

/// The experts of a layer.
pub(super) fn experts(fields: &mut Fields<'_>, layer: u32) -> Experts {
    let family = fields.family;
    let width = fields.number_at("moe_intermediate_size", layer).filter(|width| *width > 0);
    let width = width.unwrap_or_else(|| fields.required_at("intermediate_size", layer));
    let shared = fields.number_at("num_shared_experts", layer).filter(|count| *count > 0);
    let stated = fields.number_at("shared_expert_intermediate_size", layer).filter(|width| *width > 0);
    let shared_width = match (stated, shared) {
        (Some(width), Some(count)) => width.saturating_mul(count),
        (Some(width), None) if fields.value("num_shared_experts").is_none() => width,
        (None, Some(count)) => width.saturating_mul(count),
        (_, None) => 0,
    };
    Experts {
        count: fields.required_at("num_experts", layer),
        per_token: fields.required_at("num_experts_per_tok", layer),
        expert: mlp_of(fields, width),
        shared: mlp_of(fields, shared_width),
        shared_gate: family.shared_gate && shared_width > 0,
        router_bias: is_on(fields, &family.router_bias),
        wide_router: family.wide_router,
        latent_width: fields.number("moe_latent_size").or_else(|| fields.number("routed_expert_hidden_size")),
        format: None,
    }
}

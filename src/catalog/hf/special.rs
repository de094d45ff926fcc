//! Layers that no rule of a family describes.

use oracle_components::layers::{Attention, CompressedAttention, Experts, Index, Keeps, Layer, Mlp, Part, Reach};
use serde_json::Value;

use super::family::Builder;
use super::fields::Fields;
use super::layers::{attention, experts, feed_forward, latent, mlp, mlp_of, reaches, sparse_layers};
use super::recurrent::{Mamba2, expanded, groups, mamba2};

/// The layers of such a model, and the parameters that it has beside them.
pub(super) fn layers(fields: &mut Fields<'_>, builder: Builder) -> (Vec<Layer>, u64) {
    match builder {
        Builder::DeepseekV4 => deepseek_v4(fields),
        Builder::Gemma3n => gemma3n(fields),
        Builder::Gemma4 => gemma4(fields),
        Builder::Hunyuan => (hunyuan(fields), 0),
        Builder::Longcat => (longcat(fields), 0),
        Builder::Mllama => (mllama(fields), 8 * u64::from(fields.required("hidden_size"))),
        Builder::NemotronNas => (nemotron_nas(fields), 0),
        Builder::Zamba2 => zamba2(fields),
        _ => unreachable!("asked for special ones alone"),
    }
}

/// Attention of a layer that looks at the keys and values of one before it.
fn borrowing(attention: Attention) -> Attention {
    Attention { keeps: Keeps::Nothing, ..attention }
}

/// Groups of layers share keys and values.
fn hunyuan(fields: &mut Fields<'_>) -> Vec<Layer> {
    let layers = fields.layers();
    let shares = if fields.is_on("use_cla") { fields.number("cla_share_factor").unwrap_or(1) } else { 1 };
    let sparse = sparse_layers(fields, layers);
    (0..layers)
        .map(|index| {
            let own = attention(fields, index, Reach::Full);
            let own = if index.is_multiple_of(shares) { own } else { borrowing(own) };
            let mut feed_forward = feed_forward(fields, index, sparse[index as usize]);
            if let Part::Experts(experts) = &mut feed_forward
                && fields.flag("use_mixed_mlp_moe") == Some(false)
            {
                experts.shared.width = 0;
            }
            Layer { parts: vec![Part::Attention(own), feed_forward], norms: 2, ..Layer::default() }
        })
        .collect()
}

/// Embeddings of each layer, residual streams side by side, low-rank residuals; the last layers have no keys and values.
fn gemma3n(fields: &mut Fields<'_>) -> (Vec<Layer>, u64) {
    let layers = fields.layers();
    let hidden = u64::from(fields.required("hidden_size"));
    let own = u64::from(fields.required("hidden_size_per_layer_input"));
    let streams = u64::from(fields.required("altup_num_inputs"));
    let rank = u64::from(fields.required("laurel_rank"));
    let keeping = layers.saturating_sub(fields.count("num_kv_shared_layers"));
    let reaches = reaches(fields, layers);
    let stack = (0..layers).map(|index| {
        let all = attention(fields, index, reaches[index as usize]);
        // Their projections are there, though what they make is not looked at.
        let unused = 2 * u64::from(all.kv_heads) * u64::from(all.key_width) * hidden;
        let (all, unused) = if index < keeping { (all, 0) } else { (borrowing(all), unused) };
        let per_layer = 2 * own * hidden + hidden;
        let residual = 2 * rank * hidden + hidden;
        let side_by_side = 2 * hidden + streams * hidden + streams * streams * (streams + 1);
        let parts = vec![Part::Attention(all), Part::Mlp(mlp(fields, index))];
        Layer { parts, norms: 4, other_elements: unused + per_layer + residual + side_by_side, ..Layer::default() }
    });
    let stack: Vec<Layer> = stack.collect();
    let table = u64::from(fields.required("vocab_size_per_layer_input")) + hidden;
    let around = table * u64::from(layers) * own + own + 2 * streams.saturating_sub(1) * hidden * hidden;
    (stack, around)
}

/// Heads of two widths, keys that are the values in global layers, experts beside an MLP.
fn gemma4(fields: &mut Fields<'_>) -> (Vec<Layer>, u64) {
    let layers = fields.layers();
    let hidden = u64::from(fields.required("hidden_size"));
    let own = u64::from(fields.count("hidden_size_per_layer_input"));
    let keeping = layers.saturating_sub(fields.count("num_kv_shared_layers"));
    let is_single = fields.is_on("attention_k_eq_v");
    let has_experts = fields.is_on("enable_moe_block");
    let is_wide = fields.is_on("use_double_wide_mlp");
    let reaches = reaches(fields, layers);
    let mut stack = Vec::new();
    for index in 0..layers {
        let reach = reaches[index as usize];
        let mut all = attention(fields, index, reach);
        if reach == Reach::Full {
            all.kv_heads = match fields.number("num_global_key_value_heads").filter(|_| is_single) {
                Some(heads) => heads,
                None => fields.number("num_key_value_heads").unwrap_or(all.heads),
            };
            if is_single {
                all.keeps = Keeps::KeysAsValues;
            }
        }
        let is_shared = index >= keeping;
        if is_shared {
            all = borrowing(all);
            all.norm_elements /= 2;
        }
        let dense = mlp(fields, index);
        let dense = Mlp { width: if is_shared && is_wide { 2 * dense.width } else { dense.width }, ..dense };
        let mut parts = vec![Part::Attention(all), Part::Mlp(dense)];
        let mut other_elements = if own > 0 { 2 * own * hidden + hidden } else { 0 };
        if has_experts {
            let routed = experts(fields, index);
            // A scale a channel in, and one an expert.
            other_elements += 3 * hidden + hidden + u64::from(routed.count);
            parts.push(Part::Experts(routed));
        }
        stack.push(Layer { parts, norms: 4, other_elements, ..Layer::default() });
    }
    if own == 0 {
        return (stack, 0);
    }
    let table = u64::from(fields.required("vocab_size_per_layer_input")) + hidden;
    (stack, table * u64::from(layers) * own + own)
}

/// Compressed caches, hyper-connections, experts by a hash in the first layers.
fn deepseek_v4(fields: &mut Fields<'_>) -> (Vec<Layer>, u64) {
    let layers = fields.layers();
    let hidden = u64::from(fields.required("hidden_size"));
    let streams = u64::from(fields.required("hc_mult"));
    let width = fields.required("head_dim");
    let (heads, window) = (fields.required("num_attention_heads"), fields.required("sliding_window"));
    let (q_lora_rank, output_groups) = (fields.required("q_lora_rank"), fields.required("o_groups"));
    let output_rank = fields.required("o_lora_rank");
    let rope = fields.number("qk_rope_head_dim").unwrap_or(64);
    // 8 bits but for the rotary part, and a scale to 64 of them.
    let bytes_per_entry = (width - rope) + 2 * rope + (width - rope).div_ceil(64) + 1;
    let hashed = fields.count("num_hash_layers");
    let mut stack = Vec::new();
    for index in 0..layers {
        let ratio = match fields.number_at("compress_ratios", index) {
            Some(ratio) => ratio,
            None => {
                fields.error("compress_ratios", "is missing");
                0
            }
        };
        let index_of = (ratio == 4).then(|| {
            let (count, own) = (fields.required("index_n_heads"), fields.required("index_head_dim"));
            Index {
                heads: count,
                width: own,
                top_tokens: fields.required("index_topk"),
                query_input: q_lora_rank,
                score_columns: count,
                norm_elements: own,
                bytes_per_token: own + 4,
            }
        });
        let attention = CompressedAttention {
            heads,
            width,
            q_lora_rank,
            output_groups,
            output_rank,
            window,
            ratio,
            bytes_per_entry,
            index: index_of,
        };
        let mixing = (2 + streams) * streams;
        let hyper = 2 * (mixing * streams * hidden + mixing + 3);
        let routed = experts(fields, index);
        let routed = Experts { router_bias: index >= hashed, ..routed };
        let parts = vec![Part::Compressed(attention), Part::Experts(routed)];
        stack.push(Layer { parts, norms: 2, other_elements: hyper, ..Layer::default() });
    }
    (stack, streams * streams * hidden + streams + 1)
}

/// Two latent attentions and MLPs a layer beside experts, some of which do nothing.
fn longcat(fields: &mut Fields<'_>) -> Vec<Layer> {
    let layers = fields.layers();
    let hidden = u64::from(fields.required("hidden_size"));
    let idle = u64::from(fields.count("zero_expert_num"));
    let bias = u64::from(fields.is_on("router_bias")) + 1;
    (0..layers)
        .map(|index| {
            let own = Part::Latent(latent(fields, index));
            let width = fields.required("dense_intermediate_size");
            let dense = Part::Mlp(mlp_of(fields, width));
            let routed = experts(fields, index);
            let rows = idle * hidden + bias * (idle + u64::from(routed.count));
            let parts = vec![own.clone(), dense.clone(), Part::Experts(routed), own, dense];
            Layer { parts, norms: 4, other_elements: rows, ..Layer::default() }
        })
        .collect()
}

/// Some layers look at an image in place of the text.
fn mllama(fields: &mut Fields<'_>) -> Vec<Layer> {
    let layers = fields.layers();
    let across = fields.numbers("cross_attention_layers").unwrap_or_default();
    (0..layers)
        .map(|index| {
            let own = attention(fields, index, Reach::Full);
            let is_across = across.contains(&index);
            let (own, other_elements) = if is_across {
                let keys = 2 * u64::from(own.kv_heads) * u64::from(own.key_width) * fields.wide("hidden_size");
                (Attention { norm_elements: 2 * own.key_width, ..borrowing(own) }, keys + 2)
            } else {
                (own, 0)
            };
            Layer {
                parts: vec![Part::Attention(own), Part::Mlp(mlp(fields, index))],
                norms: 2,
                other_elements,
                ..Layer::default()
            }
        })
        .collect()
}

/// Layers of which a search has left out or narrowed parts.
fn nemotron_nas(fields: &mut Fields<'_>) -> Vec<Layer> {
    let Some(blocks) = fields.list("block_configs") else {
        fields.error("block_configs", "is missing");
        return Vec::new();
    };
    let (hidden, heads) = (fields.required("hidden_size"), fields.required("num_attention_heads"));
    let is_on = |object: Option<&Value>, key: &str| {
        object.and_then(|object| object.get(key)).and_then(Value::as_bool) == Some(true)
    };
    let mut stack = Vec::new();
    for block in blocks {
        let (mixer, feed_forward) = (block.get("attention"), block.get("ffn"));
        let (mut parts, mut norms, mut other_elements) = (Vec::new(), 0, 0);
        for part in [mixer, feed_forward] {
            if is_on(part, "replace_with_linear") {
                other_elements += u64::from(hidden) * u64::from(hidden);
                norms += 1;
            } else if !is_on(part, "no_op") {
                norms += 1;
            }
        }
        if !is_on(mixer, "no_op") && !is_on(mixer, "replace_with_linear") {
            let group = mixer.and_then(|mixer| mixer.get("n_heads_in_group")).and_then(Value::as_u64);
            let Some(group) = group.and_then(|group| u32::try_from(group).ok()).filter(|group| *group > 0) else {
                fields.error("block_configs", "has attention without n_heads_in_group");
                return stack;
            };
            parts.push(Part::Attention(Attention::grouped(heads, heads / group, hidden / heads)));
        }
        if !is_on(feed_forward, "no_op") && !is_on(feed_forward, "replace_with_linear") {
            let Some(times) = feed_forward.and_then(|ffn| ffn.get("ffn_mult")).and_then(Value::as_f64) else {
                fields.error("block_configs", "has an MLP without ffn_mult");
                return stack;
            };
            let width = ((2.0 * times * f64::from(hidden) / 3.0) as u32).next_multiple_of(256);
            parts.push(Part::Mlp(mlp_of(fields, width)));
        }
        stack.push(Layer { parts, norms, other_elements, ..Layer::default() });
    }
    stack
}

/// Mamba in all layers, and before some of them one of a few shared blocks of attention and MLP, each use with an adapter of its own.
fn zamba2(fields: &mut Fields<'_>) -> (Vec<Layer>, u64) {
    let hidden = fields.required("hidden_size");
    let layers = fields.layers();
    let types = fields.words("layers_block_type").unwrap_or_default();
    let heads = fields.required("num_attention_heads");
    let kv_heads = fields.number("num_key_value_heads").unwrap_or(heads);
    let input = fields.number("attention_hidden_size").unwrap_or(2 * hidden);
    let width = fields.number("head_dim").unwrap_or(input / heads);
    let intermediate = fields.required("intermediate_size");
    let blocks = u64::from(fields.number("num_mem_blocks").unwrap_or(1));
    let rank = u64::from(fields.number("adapter_rank").unwrap_or(128));
    let mamba_heads = fields.number("mamba_heads").map_or(8, u64::from);
    let (inner, groups) = (expanded(fields), groups(fields));
    let sizes = Mamba2 { heads: mamba_heads, head_width: inner / mamba_heads, groups, has_norm: true };
    let [h, a, f] = [hidden, input, intermediate].map(u64::from);
    let mlp_adapter = if fields.flag("use_shared_mlp_adapter").unwrap_or(true) { rank * (h + 2 * f) } else { 0 };
    let attention_adapter = if fields.is_on("use_shared_attention_adapter") { 3 * 2 * rank * a } else { 0 };
    // A shared block counts once, however many layers run it: what it weighs stands beside the layers.
    let mut shared = 0;
    let mut stack = Vec::new();
    for index in 0..layers {
        let (mut shared_parts, mut other_elements) = (Vec::new(), 0);
        if types.get(index as usize) == Some(&"hybrid") {
            shared = blocks.saturating_mul(
                u64::from(heads + 2 * kv_heads) * u64::from(width) * a
                    + u64::from(heads) * u64::from(width) * h
                    + 3 * h * f
                    + a
                    + h,
            );
            let mlp = Mlp { width: intermediate, gated: true, bias: false };
            shared_parts = vec![Part::Attention(Attention::grouped(heads, kv_heads, width)), Part::Mlp(mlp)];
            other_elements = h * h + mlp_adapter + attention_adapter;
        }
        stack.push(Layer {
            parts: vec![Part::Recurrent(mamba2(fields, &sizes))],
            shared_parts,
            norms: 1,
            other_elements,
            formats: None,
        });
    }
    (stack, shared)
}

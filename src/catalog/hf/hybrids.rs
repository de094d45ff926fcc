//! Layers of hybrid models: which of them have a state, and what else they have.

use oracle_components::layers::{Layer, Part, Reach};

use super::family::Builder;
use super::fields::Fields;
use super::layers::{attention, experts, feed_forward, latent, mlp, mlp_of, reaches, sparse_layers};
use super::recurrent::{
    Mamba2, expanded, gated_delta, gated_unit, groups, kimi_delta, lightning, mamba1, mamba2, short_convolution,
};

fn layer(parts: Vec<Part>, norms: u32) -> Layer {
    Layer { parts, norms, ..Layer::default() }
}

/// The layers of a hybrid.
pub(super) fn layers(fields: &mut Fields<'_>, builder: Builder) -> Vec<Layer> {
    match builder {
        Builder::GatedDelta => by_types(fields, gated_delta),
        Builder::Lfm2 => by_types(fields, short_convolution),
        Builder::GraniteHybrid => by_types(fields, |fields| {
            let sizes = mamba2_sizes(fields);
            mamba2(fields, &sizes)
        }),
        Builder::Lightning => by_types(fields, |fields| {
            let (hidden, heads) = (fields.wide("hidden_size"), fields.wide("num_attention_heads"));
            let width = fields.number("head_dim").map_or(hidden / heads, u64::from);
            lightning(fields, heads, width)
        }),
        Builder::RecurrentGemma => by_types(fields, gated_unit),
        Builder::Jamba => by_types(fields, |fields| {
            let inner = fields.wide("mamba_expand") * fields.wide("hidden_size");
            mamba1(fields, inner, true)
        }),
        Builder::FalconH1 => falcon_h1(fields),
        Builder::Kimi => kimi(fields),
        Builder::Mamba => alone(fields, |fields| {
            let expanded = expanded(fields);
            let inner = fields.number("intermediate_size").map_or(expanded, u64::from);
            mamba1(fields, inner, false)
        }),
        Builder::Mamba2 => alone(fields, |fields| {
            let sizes = mamba2_sizes(fields);
            mamba2(fields, &sizes)
        }),
        Builder::NemotronH => nemotron_h(fields),
        _ => unreachable!("asked for hybrids alone"),
    }
}

/// Layers of a state and nothing else.
fn alone(
    fields: &mut Fields<'_>,
    state: impl Fn(&mut Fields<'_>) -> oracle_components::recurrent::Recurrent,
) -> Vec<Layer> {
    let recurrent = state(fields);
    let layers = fields.layers();
    (0..layers).map(|_| layer(vec![Part::Recurrent(recurrent.clone())], 1)).collect()
}

fn mamba2_sizes(fields: &mut Fields<'_>) -> Mamba2 {
    let heads = fields.wide("mamba_heads");
    let inner = match fields.number("mamba_d_ssm") {
        Some(width) => width.into(),
        None => expanded(fields),
    };
    let is_stated = fields.value("mamba_head_dim").is_some_and(|value| value.as_str() != Some("auto"));
    let head_width = if is_stated { fields.wide("mamba_head_dim") } else { inner / heads };
    let has_norm = fields.flag("mamba_rms_norm").unwrap_or(true);
    Mamba2 { heads, head_width, groups: groups(fields), has_norm }
}

/// Whether each layer has a state in place of attention, by whichever rule the file states.
fn states(fields: &mut Fields<'_>, layers: u32) -> Vec<bool> {
    let listed = fields.words("layer_types").or_else(|| fields.words("layers_block_type"));
    if let Some(types) = listed {
        let known = |word: &&str| {
            let kind = word.trim_end_matches("_attention");
            matches!(kind, "full" | "attention" | "linear" | "mamba" | "conv" | "recurrent" | "sliding" | "local")
        };
        if let Some(unknown) = types.iter().find(|word| !known(word)) {
            let message = format!("has layers of {unknown}, which is no kind that is known of this family");
            fields.error("layer_types", message);
        }
        if types.len() != layers as usize {
            fields.error("layer_types", format!("names {} layers, but there are {layers}", types.len()));
        }
        let is_state = |layer| {
            types
                .get(layer)
                .is_some_and(|kind: &&str| ["linear_attention", "mamba", "conv", "recurrent"].contains(kind))
        };
        return (0..layers as usize).map(is_state).collect();
    }
    if let Some(pattern) = fields.words("block_types") {
        let period = pattern.len().max(1);
        return (0..layers as usize).map(|layer| pattern.get(layer % period) == Some(&"recurrent")).collect();
    }
    if let Some(kinds) = fields.numbers("attn_type_list") {
        return (0..layers as usize).map(|layer| kinds.get(layer) == Some(&0)).collect();
    }
    for key in ["full_attn_idxs", "attn_layer_indices"] {
        if let Some(attending) = fields.numbers(key) {
            return (0..layers).map(|layer| !attending.contains(&layer)).collect();
        }
    }
    // The last group may be short, and has no state.
    if let Some(group) = fields.number("layer_group_size") {
        let whole = layers / group * group;
        return (0..layers).map(|layer| !(layer + 1).is_multiple_of(group) && layer < whole).collect();
    }
    if let Some(every) = fields.number("full_attention_interval") {
        return (0..layers).map(|layer| !(layer + 1).is_multiple_of(every)).collect();
    }
    let (period, offset) = (fields.required("attn_layer_period"), fields.count("attn_layer_offset"));
    (0..layers).map(|layer| layer % period != offset).collect()
}

/// Attention or a state, and then an MLP or experts.
fn by_types(
    fields: &mut Fields<'_>,
    state: impl Fn(&mut Fields<'_>) -> oracle_components::recurrent::Recurrent,
) -> Vec<Layer> {
    let layers = fields.layers();
    let states = states(fields, layers);
    let sparse = sparse_layers(fields, layers);
    let window = fields.number("attention_window_size");
    let mut stack = Vec::new();
    for index in 0..layers {
        let reach = window.map_or(Reach::Full, Reach::Window);
        let mixer = match states[index as usize] {
            true => Part::Recurrent(state(fields)),
            false => Part::Attention(attention(fields, index, reach)),
        };
        let mut parts = vec![mixer];
        if fields.family.builder == Builder::GraniteHybrid && fields.value("shared_intermediate_size").is_some() {
            parts.push(granite_feed_forward(fields, index, sparse[index as usize]));
        } else if fields.family.builder == Builder::Lfm2 && !sparse[index as usize] {
            parts.push(Part::Mlp(lfm2_mlp(fields)));
        } else {
            parts.push(feed_forward(fields, index, sparse[index as usize]));
        }
        stack.push(layer(parts, fields.family.norms.0));
    }
    stack
}

/// A shared MLP in each layer, beside experts where there are some.
fn granite_feed_forward(fields: &mut Fields<'_>, index: u32, is_sparse: bool) -> Part {
    let width = fields.count("shared_intermediate_size");
    let shared = mlp_of(fields, width);
    if !is_sparse {
        return Part::Mlp(shared);
    }
    Part::Experts(oracle_components::layers::Experts { shared, ..experts(fields, index) })
}

/// Two thirds of the stated width, rounded.
fn lfm2_mlp(fields: &mut Fields<'_>) -> oracle_components::layers::Mlp {
    let stated = fields.number("intermediate_size").or_else(|| fields.number("block_ff_dim"));
    let mut width = stated.unwrap_or_else(|| fields.required("intermediate_size"));
    if fields.flag("block_auto_adjust_ff_dim").unwrap_or(true) {
        width = 2 * width / 3;
        if let Some(times) = fields.value("block_ffn_dim_multiplier").and_then(serde_json::Value::as_f64) {
            let multiple = fields.number("block_multiple_of").unwrap_or(256);
            width = ((f64::from(width) * times) as u32).next_multiple_of(multiple);
        }
    }
    mlp_of(fields, width)
}

/// Attention and Mamba side by side, then an MLP.
fn falcon_h1(fields: &mut Fields<'_>) -> Vec<Layer> {
    let layers = fields.layers();
    let sizes = mamba2_sizes(fields);
    let sizes = Mamba2 { has_norm: fields.is_on("mamba_rms_norm"), ..sizes };
    let reach = reaches(fields, layers);
    (0..layers)
        .map(|index| {
            let attention = Part::Attention(attention(fields, index, reach[index as usize]));
            let state = Part::Recurrent(mamba2(fields, &sizes));
            layer(vec![attention, state, Part::Mlp(mlp(fields, index))], 2)
        })
        .collect()
}

/// One thing a layer: Mamba, attention, an MLP or experts.
fn nemotron_h(fields: &mut Fields<'_>) -> Vec<Layer> {
    let letters = fields.word("hybrid_override_pattern").map(|pattern| pattern.chars().collect::<Vec<char>>());
    let kinds: Vec<String> = match (fields.words("layers_block_type"), letters) {
        (Some(words), _) => words.into_iter().map(str::to_owned).collect(),
        (None, Some(letters)) => letters.into_iter().map(String::from).collect(),
        (None, None) => {
            fields.error("hybrid_override_pattern", "is missing (and so is layers_block_type)");
            return Vec::new();
        }
    };
    let stated = fields.number("num_hidden_layers");
    if let Some(layers) = stated.filter(|&layers| layers as usize != kinds.len()) {
        fields.error("num_hidden_layers", format!("is {layers}, but the pattern names {} layers", kinds.len()));
    }
    let mut stack = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let index = index as u32;
        let part = match kind.as_str() {
            "M" | "mamba" | "linear_attention" => {
                let sizes = Mamba2 {
                    heads: fields.wide("mamba_heads"),
                    head_width: fields.wide("mamba_head_dim"),
                    groups: groups(fields),
                    has_norm: true,
                };
                Part::Recurrent(mamba2(fields, &sizes))
            }
            "*" | "attention" | "full_attention" => Part::Attention(attention(fields, index, Reach::Full)),
            "-" | "mlp" => Part::Mlp(mlp(fields, index)),
            "E" | "moe" => Part::Experts(experts(fields, index)),
            other => {
                fields.error(
                    "hybrid_override_pattern",
                    format!("has layers of {other:?}, which is no kind that is known"),
                );
                continue;
            }
        };
        stack.push(layer(vec![part], 1));
    }
    stack
}

/// Delta attention and latent attention, by lists that count from 1.
fn kimi(fields: &mut Fields<'_>) -> Vec<Layer> {
    let layers = fields.layers();
    let (delta, full) = match fields.numbers("linear_attn_config.kda_layers") {
        Some(delta) => (delta, fields.numbers("linear_attn_config.full_attn_layers").unwrap_or_default()),
        None => {
            let states = states(fields, layers);
            (1..=layers).partition(|layer| states[*layer as usize - 1])
        }
    };
    let sparse = sparse_layers(fields, layers);
    let hidden = u64::from(fields.required("hidden_size"));
    // Two norms and two projections to one column a layer (K3).
    let residuals = if fields.number("attn_res_block_size").is_some() { 4 * hidden } else { 0 };
    let mut stack = Vec::new();
    for index in 0..layers {
        let mixer = if delta.contains(&(index + 1)) {
            Part::Recurrent(kimi_delta(fields))
        } else if full.contains(&(index + 1)) {
            Part::Latent(latent(fields, index))
        } else {
            fields.error("linear_attn_config", format!("says nothing of layer {}", index + 1));
            return stack;
        };
        let feed_forward = feed_forward(fields, index, sparse[index as usize]);
        let latent_norm = match &feed_forward {
            Part::Experts(experts) if fields.is_on("latent_moe_use_norm") => experts.latent_width.unwrap_or(0),
            _ => 0,
        };
        let other_elements = residuals + u64::from(latent_norm);
        stack.push(Layer { parts: vec![mixer, feed_forward], norms: 2, other_elements, ..Layer::default() });
    }
    stack
}

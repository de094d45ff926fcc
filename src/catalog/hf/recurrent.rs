//! Layers with a state, each kind by its own keys: what they multiply and what they keep of a sequence.

use oracle_components::recurrent::{Recurrent, Split, StateMatrix};

use super::fields::Fields;

/// A layer with a state whose scan costs so many multiplications and additions an element of it.
struct Sizes<'a> {
    name: &'a str,
    matrices: Vec<StateMatrix>,
    vector_elements: u64,
    /// Channels of the convolution, and its width.
    conv: (u64, u64),
    state_elements: u64,
    state_element_bytes: Option<u32>,
    flops_per_state_element: u64,
}

impl Sizes<'_> {
    fn recurrent(self) -> Recurrent {
        let (channels, width) = self.conv;
        // What projections write and the scan reads, and what it writes for the last of them.
        let projected: u64 =
            self.matrices.iter().filter(|m| m.split == Split::Columns).map(|m| u64::from(m.outer)).sum();
        let output: u64 = self.matrices.last().map_or(0, |matrix| u64::from(matrix.inner));
        Recurrent {
            name: self.name.to_owned(),
            vector_elements: self.vector_elements,
            conv_elements: channels * width.saturating_sub(1),
            state_elements: self.state_elements,
            state_element_bytes: self.state_element_bytes,
            scan_elements: 2 * projected + output,
            scan_flops: self.flops_per_state_element * self.state_elements + 2 * channels * width,
            matrices: self.matrices,
        }
    }
}

fn columns(inner: u64, outer: u64) -> StateMatrix {
    matrix(inner, outer, Split::Columns)
}

fn rows(inner: u64, outer: u64) -> StateMatrix {
    matrix(inner, outer, Split::Rows)
}

fn whole(inner: u64, outer: u64) -> StateMatrix {
    matrix(inner, outer, Split::Whole)
}

/// What is wider than any matrix is refused with the rest of the shape.
fn matrix(inner: u64, outer: u64, split: Split) -> StateMatrix {
    let side = |width: u64| u32::try_from(width).unwrap_or(u32::MAX);
    StateMatrix { inner: side(inner), outer: side(outer), split }
}

/// Bytes of an element of the state, where the file says (or its family does) that it is not as wide as activations.
fn state_element_bytes(fields: &mut Fields<'_>) -> Option<u32> {
    match fields.word("ssm_dtype")? {
        "float32" | "torch.float32" => Some(4),
        "bfloat16" | "float16" | "torch.bfloat16" | "torch.float16" => Some(2),
        "auto" => None,
        other => {
            let message = format!("must be float32, float16, bfloat16 or auto, not {other}");
            fields.error("ssm_dtype", message);
            None
        }
    }
}

/// Width inside Mamba.
pub(super) fn expanded(fields: &mut Fields<'_>) -> u64 {
    fields.number("mamba_expand").map_or(2, u64::from) * fields.wide("hidden_size")
}

/// Groups of heads of Mamba 2 that share what writes and reads the state.
pub(super) fn groups(fields: &mut Fields<'_>) -> u64 {
    fields.number("mamba_groups").map_or(1, u64::from)
}

/// Sizes of Mamba 2.
pub(super) struct Mamba2 {
    pub(super) heads: u64,
    pub(super) head_width: u64,
    pub(super) groups: u64,
    pub(super) has_norm: bool,
}

/// Mamba 2.
pub(super) fn mamba2(fields: &mut Fields<'_>, sizes: &Mamba2) -> Recurrent {
    let Mamba2 { heads, head_width, groups, has_norm } = *sizes;
    let hidden = fields.wide("hidden_size");
    let (state, conv) = (fields.wide("state_size"), fields.wide("conv_kernel"));
    let inner = heads * head_width;
    let channels = inner + 2 * groups * state;
    let projected = inner + channels + heads;
    let conv_bias = if fields.flag("conv_bias").unwrap_or(true) { channels } else { 0 };
    let bias = if fields.is_on("mamba_bias") { projected + hidden } else { 0 };
    let norm = if has_norm { inner } else { 0 };
    Sizes {
        name: "Mamba 2",
        matrices: vec![columns(hidden, projected), rows(inner, hidden)],
        vector_elements: channels * conv + conv_bias + bias + norm + 3 * heads,
        conv: (channels, conv),
        state_elements: inner * state,
        state_element_bytes: state_element_bytes(fields),
        flops_per_state_element: 6,
    }
    .recurrent()
}

/// Mamba 1; `norms` on what steps and states are made from, as Jamba has them.
pub(super) fn mamba1(fields: &mut Fields<'_>, inner: u64, norms: bool) -> Recurrent {
    let hidden = fields.wide("hidden_size");
    let (state, conv) = (fields.wide("state_size"), fields.wide("conv_kernel"));
    let rank = match fields.value("time_step_rank").or_else(|| fields.value("mamba_dt_rank")) {
        Some(value) if value.as_str() != Some("auto") => {
            let key = if fields.value("time_step_rank").is_some() { "time_step_rank" } else { "mamba_dt_rank" };
            fields.wide(key)
        }
        _ => hidden.div_ceil(16),
    };
    let conv_bias = if fields.flag("conv_bias").unwrap_or(true) { inner } else { 0 };
    let bias = if fields.is_on("mamba_bias") { 2 * inner + hidden } else { 0 };
    let norms = if norms { rank + 2 * state } else { 0 };
    let state_elements = inner * state;
    Sizes {
        name: "Mamba",
        matrices: vec![
            columns(hidden, 2 * inner),
            rows(inner, rank + 2 * state),
            columns(rank, inner),
            rows(inner, hidden),
        ],
        vector_elements: inner * conv + conv_bias + bias + norms + 2 * inner + state_elements,
        conv: (inner, conv),
        state_elements,
        state_element_bytes: state_element_bytes(fields),
        flops_per_state_element: 6,
    }
    .recurrent()
}

/// A gated delta rule (Qwen3-Next).
pub(super) fn gated_delta(fields: &mut Fields<'_>) -> Recurrent {
    let hidden = fields.wide("hidden_size");
    let (key_heads, value_heads) = (fields.wide("linear_num_key_heads"), fields.wide("linear_num_value_heads"));
    let (key, value) = (fields.wide("linear_key_head_dim"), fields.wide("linear_value_head_dim"));
    let conv = fields.wide("linear_conv_kernel_dim");
    let (keys, values) = (key_heads * key, value_heads * value);
    let channels = 2 * keys + values;
    Sizes {
        name: "gated delta rule",
        matrices: vec![columns(hidden, channels + values), columns(hidden, 2 * value_heads), rows(values, hidden)],
        vector_elements: channels * conv + 2 * value_heads + value,
        conv: (channels, conv),
        state_elements: values * key,
        state_element_bytes: state_element_bytes(fields),
        flops_per_state_element: 8,
    }
    .recurrent()
}

/// Kimi's delta attention.
pub(super) fn kimi_delta(fields: &mut Fields<'_>) -> Recurrent {
    let hidden = fields.wide("hidden_size");
    let heads = fields.wide("linear_attn_config.num_heads");
    let width = fields.wide("linear_attn_config.head_dim");
    let conv = fields.wide("linear_attn_config.short_conv_kernel_size");
    let all = heads * width;
    let mut matrices = vec![columns(hidden, 3 * all)];
    if fields.is_on("full_rank_decay") {
        matrices.push(columns(hidden, all));
    } else {
        matrices.extend([whole(hidden, width), columns(width, all)]);
    }
    matrices.push(columns(hidden, heads));
    if fields.is_on("linear_attn_config.use_full_rank_gate") {
        matrices.push(columns(hidden, all));
    } else {
        matrices.extend([whole(hidden, width), columns(width, all)]);
    }
    matrices.push(rows(all, hidden));
    Sizes {
        name: "Kimi delta attention",
        matrices,
        vector_elements: 3 * all * conv + all + heads + width,
        conv: (3 * all, conv),
        state_elements: all * width,
        state_element_bytes: Some(state_element_bytes(fields).unwrap_or(4)),
        flops_per_state_element: 8,
    }
    .recurrent()
}

/// Lightning attention (MiniMax), without a convolution.
pub(super) fn lightning(fields: &mut Fields<'_>, heads: u64, width: u64) -> Recurrent {
    let hidden = fields.wide("hidden_size");
    let all = heads * width;
    let norms = if fields.is_on("use_qk_norm") { 2 * width } else { 0 };
    Sizes {
        name: "lightning attention",
        matrices: vec![columns(hidden, 4 * all), rows(all, hidden)],
        vector_elements: all + norms,
        conv: (0, 1),
        state_elements: all * width,
        state_element_bytes: None,
        flops_per_state_element: 4,
    }
    .recurrent()
}

/// A gated linear recurrent unit (RecurrentGemma).
pub(super) fn gated_unit(fields: &mut Fields<'_>) -> Recurrent {
    let hidden = fields.wide("hidden_size");
    let width = fields.number("lru_width").map_or(hidden, u64::from);
    let conv = fields.number("conv1d_width").map_or(4, u64::from);
    let heads = fields.wide("num_attention_heads");
    let gates = 2 * (width * (width / heads) + width);
    Sizes {
        name: "gated linear recurrent unit",
        matrices: vec![columns(hidden, 2 * width), rows(width, hidden)],
        vector_elements: 2 * width + hidden + width * conv + width + width + gates,
        conv: (width, conv),
        state_elements: width,
        state_element_bytes: Some(4),
        flops_per_state_element: 4,
    }
    .recurrent()
}

/// A short convolution (LFM2).
pub(super) fn short_convolution(fields: &mut Fields<'_>) -> Recurrent {
    let hidden = fields.wide("hidden_size");
    let conv = fields.wide("conv_L_cache");
    let bias = if fields.is_on("conv_bias") { 4 * hidden } else { 0 };
    Sizes {
        name: "short convolution",
        matrices: vec![columns(hidden, 3 * hidden), rows(hidden, hidden)],
        vector_elements: hidden * conv + bias,
        conv: (hidden, conv),
        state_elements: 0,
        state_element_bytes: None,
        flops_per_state_element: 0,
    }
    .recurrent()
}

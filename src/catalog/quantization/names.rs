//! What the modules of a model are called in its checkpoint, by `model_type`: descriptions of quantisation name them so.

/// Names of a family's modules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modules {
    /// What layers are in, with a dot at the end.
    wrapper: &'static str,
    /// Attention, or what stands in its place.
    attention: &'static str,
    /// Linear attention and recurrent mixers.
    recurrent: &'static str,
    /// The dense MLP.
    mlp: &'static str,
    /// Routed experts.
    experts: &'static str,
    shared: &'static str,
    /// Gate, up and down.
    dense: [&'static str; 3],
    /// The same of an expert.
    expert: [&'static str; 3],
    head: &'static str,
}

/// Llama's names, from which others differ.
const USUAL: Modules = Modules {
    wrapper: "model.",
    attention: "self_attn",
    recurrent: "linear_attn",
    mlp: "mlp",
    experts: "mlp.experts",
    shared: "mlp.shared_experts",
    dense: ["gate_proj", "up_proj", "down_proj"],
    expert: ["gate_proj", "up_proj", "down_proj"],
    head: "lm_head",
};

/// Experts called by numbers: Mixtral's, MiniMax's.
const NUMBERED: [&str; 3] = ["w1", "w3", "w2"];

impl Modules {
    /// The names of a family, by the `model_type` of its language model.
    pub(crate) fn of(model_type: &str) -> Self {
        match model_type {
            "mixtral" | "minimax" | "minimax_m1" | "minimax_m2" | "minimax_text_01" | "phimoe" | "granitemoe"
            | "granitemoehybrid" => {
                Self { experts: "block_sparse_moe.experts", shared: "shared_mlp", expert: NUMBERED, ..USUAL }
            }
            "minimax_m3" | "minimax_m3_vl" | "minimax_m3_text" => Self {
                wrapper: "language_model.model.",
                experts: "block_sparse_moe.experts",
                shared: "block_sparse_moe.shared_experts",
                expert: NUMBERED,
                ..USUAL
            },
            "nemotron_h" => Self {
                wrapper: "backbone.",
                attention: "mixer",
                recurrent: "mixer",
                mlp: "mixer",
                experts: "mixer.experts",
                shared: "mixer.shared_experts",
                ..USUAL
            },
            "deepseek_v4" => Self {
                wrapper: "",
                attention: "attn",
                mlp: "ffn",
                experts: "ffn.experts",
                shared: "ffn.shared_experts",
                dense: NUMBERED,
                expert: NUMBERED,
                head: "head",
                ..USUAL
            },
            "llama4" | "llama4_text" => Self {
                wrapper: "language_model.model.",
                mlp: "feed_forward",
                experts: "feed_forward.experts",
                shared: "feed_forward.shared_expert",
                ..USUAL
            },
            "qwen2_moe" | "qwen3_moe" | "qwen3_next" | "qwen3_5_moe" | "qwen3_5_moe_text" | "qwen3_vl_moe_text" => {
                Self { shared: "mlp.shared_expert", ..USUAL }
            }
            "kimi_linear" | "kimi_k3" => Self { recurrent: "self_attn", ..USUAL },
            "jamba" => Self { recurrent: "mamba", experts: "feed_forward.experts", mlp: "feed_forward", ..USUAL },
            "bamba" | "falcon_h1" => Self { recurrent: "mamba", mlp: "feed_forward", ..USUAL },
            "mamba" | "mamba2" | "falcon_mamba" => Self { wrapper: "backbone.", recurrent: "mixer", ..USUAL },
            "gemma4" | "gemma4_text" => Self { experts: "moe", ..USUAL },
            "hunyuan_v1_moe" | "hunyuan" => Self { shared: "mlp.shared_mlp", ..USUAL },
            "step3p5" | "step3p7" | "step3_text" | "step3p5_text" => {
                Self { experts: "moe", shared: "share_expert", ..USUAL }
            }
            _ => USUAL,
        }
    }

    fn within(self, layer: u32, module: &str, matrix: &str) -> String {
        format!("{}layers.{layer}.{module}.{matrix}", self.wrapper)
    }

    /// A matrix of attention, such as `q_proj`.
    pub(crate) fn attention(self, layer: u32, matrix: &str) -> String {
        self.within(layer, self.attention, matrix)
    }

    /// A matrix of a recurrent mixer or of linear attention, such as `in_proj`.
    pub(crate) fn recurrent(self, layer: u32, matrix: &str) -> String {
        self.within(layer, self.recurrent, matrix)
    }

    /// Gate, up and down of the dense MLP.
    pub(crate) fn mlp(self, layer: u32) -> [String; 3] {
        self.dense.map(|matrix| self.within(layer, self.mlp, matrix))
    }

    /// Gate, up and down of the shared experts.
    pub(crate) fn shared(self, layer: u32) -> [String; 3] {
        self.dense.map(|matrix| self.within(layer, self.shared, matrix))
    }

    /// Gate, up and down of a routed expert.
    pub(crate) fn expert(self, layer: u32) -> [String; 3] {
        self.expert.map(|matrix| self.within(layer, self.experts, &format!("0.{matrix}")))
    }

    /// The language-model head.
    pub(crate) fn head(self) -> String {
        self.head.to_owned()
    }

    /// Matrices of a layer, whatever it consists of.
    pub(crate) fn of_layer(self, layer: u32) -> Vec<String> {
        let own = |of: fn(Self, u32, &str) -> String, matrices: &[&str]| -> Vec<String> {
            matrices.iter().map(|matrix| of(self, layer, matrix)).collect()
        };
        const ATTENTION: [&str; 11] = [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "q_a_proj",
            "kv_a_proj_with_mqa",
            "kv_b_proj",
            "wq_a",
            "wkv",
            "wo_b",
            "indexer.wq_b",
        ];
        let mut all = own(Self::attention, &ATTENTION);
        all.extend(own(Self::recurrent, &["in_proj_qkvz", "in_proj_qkv", "in_proj", "q_proj", "out_proj", "o_proj"]));
        all.extend([self.mlp(layer), self.shared(layer), self.expert(layer)].into_iter().flatten());
        all
    }
}

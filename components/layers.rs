//! The layers of a model: what each of them consists of, and in which order they come.

use serde::{Deserialize, Serialize};

use crate::recurrent::Recurrent;
use crate::weight_format::WeightFormat;

/// The tokens that attention looks back on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// All.
    #[default]
    Full,
    /// The last so many.
    Window(u32),
    /// Those of its chunk of so many.
    Chunk(u32),
}

impl Reach {
    /// Most tokens that are looked back on, if that is limited.
    #[must_use]
    pub fn limit(self) -> Option<u32> {
        match self {
            Self::Full => None,
            Self::Window(tokens) | Self::Chunk(tokens) => Some(tokens),
        }
    }
}

/// What attention keeps of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    /// Keys and values.
    #[default]
    KeysAndValues,
    /// Keys, which are the values too as far as weights go; the cache has both.
    KeysAsValues,
    /// Nothing: it looks at what a layer before it keeps.
    Nothing,
}

/// Which of the tokens within reach attention computes with, chosen by scores of an index of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Heads that score; 0 where the layer takes the choice of one before it.
    pub heads: u32,
    /// Width of a head.
    pub width: u32,
    /// Tokens that are chosen.
    pub top_tokens: u32,
    /// Width that its queries are made from: the compressed query, or the residual stream.
    pub query_input: u32,
    /// Columns of weights that the heads' scores are summed with, from the residual stream.
    pub score_columns: u32,
    /// Elements of the norms on its queries and keys.
    pub norm_elements: u32,
    /// Bytes that it keeps of a token.
    pub bytes_per_token: u32,
}

/// Multi-head (kv_heads = heads), grouped-query or multi-query (kv_heads = 1) attention.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head's queries and keys.
    pub key_width: u32,
    /// Width of a head's values.
    pub value_width: u32,
    /// What it looks back on.
    pub reach: Reach,
    /// What it keeps.
    pub keeps: Keeps,
    /// Columns of a gate on its output, beside those of queries, keys and values.
    pub gate_width: u32,
    /// Bias vectors on queries, keys and values.
    pub qkv_bias: bool,
    /// A bias vector on its output.
    pub output_bias: bool,
    /// Elements of norms on queries and keys.
    pub norm_elements: u32,
    /// Sums of squares of a token that ranks exchange, as its norms on queries and keys go over the heads of all of them.
    #[serde(default)]
    pub norm_sums: u32,
    /// Other vectors, such as sinks.
    pub other_elements: u32,
    /// Width that queries are compressed to before they are made, 0 where they are not.
    #[serde(default)]
    pub query_rank: u32,
    /// Sparse attention.
    pub index: Option<Index>,
}

impl Attention {
    /// Heads that look back on everything, without biases and norms.
    #[must_use]
    pub fn grouped(heads: u32, kv_heads: u32, width: u32) -> Self {
        Self {
            heads,
            kv_heads,
            key_width: width,
            value_width: width,
            reach: Reach::Full,
            keeps: Keeps::KeysAndValues,
            gate_width: 0,
            qkv_bias: false,
            output_bias: false,
            norm_elements: 0,
            norm_sums: 0,
            other_elements: 0,
            query_rank: 0,
            index: None,
        }
    }
}

/// Attention to the last tokens and to entries that each stand for several (DeepSeek V4): one vector each, key and value at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompressedAttention {
    /// Query heads.
    pub heads: u32,
    /// Width of a head, and of the vector.
    pub width: u32,
    /// Width of the compressed query.
    pub q_lora_rank: u32,
    /// Groups of heads whose outputs are projected together, each to so many columns.
    pub output_groups: u32,
    /// Columns of a group.
    pub output_rank: u32,
    /// Last tokens that it sees one by one.
    pub window: u32,
    /// Tokens an entry; 0 without entries.
    pub ratio: u32,
    /// Bytes of a vector in the cache.
    pub bytes_per_entry: u32,
    /// Which of the entries it sees, if not all of them: its `top_tokens` are entries.
    pub index: Option<Index>,
}

/// Multi-head latent attention (DeepSeek V2/V3): one compressed vector a token and layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentAttention {
    /// Query heads.
    pub heads: u32,
    /// Width of the compressed KV vector.
    pub kv_lora_rank: u32,
    /// Width of the compressed query, if queries are compressed.
    pub q_lora_rank: Option<u32>,
    /// Rotary part of a head's key, stored once a token.
    pub rope_head_dim: u32,
    /// Non-rotary part of a head's query and key.
    pub nope_head_dim: u32,
    /// Width of a head's value.
    pub value_head_dim: u32,
    /// Columns of a gate on its output.
    #[serde(default)]
    pub gate_width: u32,
    /// The cache has keys and values, expanded to heads and padded to one width (MiniCPM 3 under vLLM).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_expanded: bool,
    /// Bias vectors on the projections from and to the residual stream.
    #[serde(default)]
    pub bias: bool,
    /// Sparse attention.
    #[serde(default)]
    pub index: Option<Index>,
}

/// An MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mlp {
    /// Intermediate width.
    pub width: u32,
    /// Gate, up and down: three matrices rather than up and down alone.
    pub gated: bool,
    /// Bias vectors on all of them.
    pub bias: bool,
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experts {
    /// Routed experts.
    pub count: u32,
    /// Experts each token is sent to.
    pub per_token: u32,
    /// A routed expert.
    pub expert: Mlp,
    /// The shared experts together, of width 0 without.
    pub shared: Mlp,
    /// A gate of one column on the shared experts.
    pub shared_gate: bool,
    /// A bias, or a correction, a routed expert.
    pub router_bias: bool,
    /// The router multiplies in 32 bits, without matrix units.
    #[serde(default)]
    pub wide_router: bool,
    /// Width that tokens are projected to before they go to routed experts, and back from after, if they are.
    pub latent_width: Option<u32>,
    /// How the routed experts' weights are stored where it is not as the model's `weight_format` (gpt-oss: mxfp4).
    pub format: Option<WeightFormat>,
}

/// A part of a layer: it reads the residual stream and adds to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Attention over keys and values.
    Attention(Attention),
    /// Attention over latent vectors.
    Latent(LatentAttention),
    /// Attention to a window and to compressed entries.
    Compressed(CompressedAttention),
    /// A state that each token updates.
    Recurrent(Recurrent),
    /// A dense MLP.
    Mlp(Mlp),
    /// A mixture of experts.
    Experts(Experts),
}

/// What a matrix does in its layer, as far as checkpoints store matrices differently by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// From the residual stream into a mixer: queries, keys and values, or what they are made from.
    In,
    /// From a compressed query or key and value to heads.
    Up,
    /// From a mixer to the residual stream.
    Out,
    /// Of an index.
    Index,
    /// Of an MLP or of shared experts.
    Mlp,
}

/// How the matrices of a layer are stored, but for routed experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// Of [`Role::In`].
    pub inward: WeightFormat,
    /// Of [`Role::Up`].
    pub up: WeightFormat,
    /// Of [`Role::Out`].
    pub outward: WeightFormat,
    /// Of [`Role::Index`].
    pub index: WeightFormat,
    /// Of [`Role::Mlp`].
    pub mlp: WeightFormat,
}

impl Formats {
    /// All the same.
    #[must_use]
    pub fn all(format: WeightFormat) -> Self {
        Self { inward: format, up: format, outward: format, index: format, mlp: format }
    }

    /// The format of a role, to change it.
    pub fn of_mut(&mut self, role: Role) -> &mut WeightFormat {
        match role {
            Role::In => &mut self.inward,
            Role::Up => &mut self.up,
            Role::Out => &mut self.outward,
            Role::Index => &mut self.index,
            Role::Mlp => &mut self.mlp,
        }
    }

    /// The format of a role.
    #[must_use]
    pub fn of(self, role: Role) -> WeightFormat {
        match role {
            Role::In => self.inward,
            Role::Up => self.up,
            Role::Out => self.outward,
            Role::Index => self.index,
            Role::Mlp => self.mlp,
        }
    }
}

/// What layers that are alike consist of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Its parts, one after the other or side by side.
    pub parts: Vec<Part>,
    /// Parts that it runs in the same way, whose weights other layers run too, and which are counted beside all layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_parts: Vec<Part>,
    /// Norms over the residual stream.
    pub norms: u32,
    /// Parameters besides, which every rank has.
    #[serde(default)]
    pub other_elements: u64,
    /// How its matrices are stored where it is not as the model's `weight_format`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formats: Option<Formats>,
}

impl Layer {
    /// All that it runs.
    pub fn all_parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().chain(&self.shared_parts)
    }
}

/// Layers in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Each kind of layer once, in the order of the first of each.
    kinds: Vec<Layer>,
    /// Which of them each layer is.
    order: Vec<u16>,
}

impl FromIterator<Layer> for Stack {
    fn from_iter<T: IntoIterator<Item = Layer>>(layers: T) -> Self {
        let mut stack = Self::default();
        for layer in layers {
            let known = stack.kinds.iter().position(|kind| *kind == layer);
            let kind = known.unwrap_or_else(|| {
                stack.kinds.push(layer);
                stack.kinds.len() - 1
            });
            stack.order.push(u16::try_from(kind).expect("a model has no 65,536 kinds of layers"));
        }
        stack
    }
}

impl Stack {
    /// How many layers there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.order.len() as u32
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// All layers, from the first on.
    pub fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.order.iter().map(|&kind| &self.kinds[kind as usize])
    }

    /// The kinds of layers.
    #[must_use]
    pub fn kinds(&self) -> &[Layer] {
        &self.kinds
    }

    /// How many of `count` layers from `first` on are of each kind, in the order of [`Stack::kinds`].
    #[must_use]
    pub fn counts(&self, first: u32, count: u32) -> Vec<u32> {
        let mut counts = vec![0; self.kinds.len()];
        for &kind in self.order.iter().skip(first as usize).take(count as usize) {
            counts[kind as usize] += 1;
        }
        counts
    }

    /// The kinds, and how many layers are of each.
    pub fn counted(&self) -> impl Iterator<Item = (&Layer, u32)> {
        self.kinds.iter().zip(self.counts(0, self.len()))
    }

    /// The parts of all kinds, and how many layers have each.
    pub fn parts(&self) -> impl Iterator<Item = (&Part, u32)> {
        self.counted().flat_map(|(layer, count)| layer.all_parts().map(move |part| (part, count)))
    }

    /// The same layers, each changed.
    #[must_use]
    pub fn map(&self, change: impl Fn(&Layer) -> Layer) -> Self {
        let kinds: Vec<Layer> = self.kinds.iter().map(change).collect();
        self.order.iter().map(|&kind| kinds[kind as usize].clone()).collect()
    }
}

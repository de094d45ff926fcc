//! Model families: what a `model_type` implies beyond the keys of its `config.json`, which are the defaults of its configuration
//! class and the parts that its modelling code has. They are data, in `families/`.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// What a file's layers are made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Builder {
    /// A mixer and an MLP a layer, by the rules of the family.
    #[default]
    Transformer,
    DeepseekV4,
    FalconH1,
    GatedDelta,
    Gemma3n,
    Gemma4,
    GraniteHybrid,
    Hunyuan,
    Jamba,
    Kimi,
    Lfm2,
    Lightning,
    Longcat,
    Mamba,
    Mamba2,
    Mllama,
    NemotronH,
    NemotronNas,
    RecurrentGemma,
    Zamba2,
}

impl Builder {
    /// Whether no rule describes the layers.
    pub(super) fn is_special(self) -> bool {
        use Builder::{DeepseekV4, Gemma3n, Gemma4, Hunyuan, Longcat, Mllama, NemotronNas, Zamba2};
        matches!(self, DeepseekV4 | Gemma3n | Gemma4 | Hunyuan | Longcat | Mllama | NemotronNas | Zamba2)
    }
}

/// What is always so, or as a key says; `!key` where it is off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Switch {
    Always(bool),
    Key(String),
}

impl Default for Switch {
    fn default() -> Self {
        Self::Always(false)
    }
}

/// Norms on queries and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum QkNorm {
    #[default]
    None,
    /// One as wide as a head, for all of them.
    Head,
    /// The same, with a bias.
    BiasedHead,
    /// One as wide as all heads together.
    Whole,
    /// The same, of which ranks exchange sums of squares; others are taken to hold all heads.
    Summed,
}

/// Which layers have the window if the file names one but no `layer_types`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WindowRule {
    /// Every layer.
    #[default]
    All,
    /// None: the key is left over from elsewhere.
    None,
    /// All but every n-th layer; `sliding_window_pattern` overrides n.
    AllButEvery(u32),
    /// The layers from `max_window_layers` on, and only with `use_sliding_window` (Qwen).
    FromMaxWindowLayers,
    /// Those that are 1 in this list.
    Listed(String),
    /// All layers that have rotary embeddings, in chunks (Llama 4).
    Chunks,
}

/// A model family.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Family {
    /// Values of `model_type`.
    types: Vec<String>,
    pub(super) builder: Builder,
    /// The file's names of keys, by the usual ones.
    pub(super) keys: BTreeMap<String, String>,
    /// The usual names of keys as layers with a window have them, and as those without.
    pub(super) window_keys: BTreeMap<String, String>,
    pub(super) full_keys: BTreeMap<String, String>,
    /// Values of keys that files of the family leave out.
    pub(super) defaults: Map<String, Value>,
    /// The same of the text part of a multimodal file, which leaves out more.
    pub(super) nested: Map<String, Value>,
    /// Keys that are of no account here.
    pub(super) ignored: Vec<String>,
    /// Up and down in the MLP, without a gate.
    pub(super) plain_mlp: bool,
    /// Half of the stated width of an MLP is its gate's.
    pub(super) halved_mlp: bool,
    /// Latent attention.
    pub(super) latent: bool,
    pub(super) qkv_bias: Switch,
    pub(super) output_bias: Switch,
    pub(super) mlp_bias: Switch,
    pub(super) norm_bias: Switch,
    pub(super) head_bias: Switch,
    /// Norms a layer.
    pub(super) norms: Norms,
    pub(super) no_final_norm: bool,
    pub(super) qk_norm: QkNorm,
    /// The flag that has it, if not all files of the family do.
    pub(super) qk_norm_if: Option<String>,
    /// A gate on the output of attention: as wide as the output, or a column a head.
    pub(super) output_gate: Switch,
    pub(super) head_gate: Switch,
    /// An element a head beside.
    pub(super) sinks: Switch,
    pub(super) window: WindowRule,
    /// The key that states how many learned positions there are, and how many rows there are besides.
    pub(super) positions: Option<String>,
    pub(super) further_positions: u32,
    /// A bias, or a correction, a routed expert.
    pub(super) router_bias: Switch,
    /// The router multiplies in 32 bits.
    pub(super) wide_router: bool,
    /// A gate on the shared experts.
    pub(super) shared_gate: bool,
    /// Why such a model is not simulated.
    pub(super) refused: Option<String>,
}

/// Norms a layer: 2 unless it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Norms(pub(super) u32);

impl Default for Norms {
    fn default() -> Self {
        Self(2)
    }
}

const FILES: [(&str, &str); 4] = [
    ("dense.yaml", include_str!("families/dense.yaml")),
    ("experts.yaml", include_str!("families/experts.yaml")),
    ("hybrids.yaml", include_str!("families/hybrids.yaml")),
    ("refused.yaml", include_str!("families/refused.yaml")),
];

fn families() -> &'static HashMap<String, Family> {
    static FAMILIES: OnceLock<HashMap<String, Family>> = OnceLock::new();
    FAMILIES.get_or_init(|| {
        let of_file = |(name, text): &(&str, &'static str)| -> Vec<Family> {
            serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("families/{name}, as tests read it: {error}"))
        };
        let all = FILES.iter().flat_map(of_file);
        all.flat_map(|family| family.types.clone().into_iter().map(move |name| (name, family.clone()))).collect()
    })
}

impl Family {
    /// Family of a `model_type`; `None` for one that is not known.
    pub(super) fn of(model_type: &str) -> Option<&'static Self> {
        families().get(model_type)
    }

    /// Every `model_type` that can be simulated, to offer the nearest.
    pub(super) fn known_types() -> impl Iterator<Item = &'static str> {
        families().iter().filter(|(_, family)| family.refused.is_none()).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_whole_and_their_types_are_told_apart() {
        let listed: usize = FILES
            .iter()
            .flat_map(|(_, text)| serde_saphyr::from_str::<Vec<Family>>(text).expect("families"))
            .map(|family| family.types.len())
            .sum();
        assert_eq!(listed, families().len());
        assert!(families().len() > 150);
    }
}

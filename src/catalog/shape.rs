//! What the numbers of an architecture must satisfy together, whichever file they came from.

use oracle_components::model::{Attention, ModelArchitecture};

/// No width or vocabulary is larger: 2²⁶. A number above is a typing error, and products of three stay exact in f64.
pub(super) const LARGEST_DIMENSION: u64 = 1 << 26;
/// No model has more layers.
const MOST_LAYERS: u32 = 10_000;

/// Contradictions between an architecture's numbers, each as a sentence.
pub(super) fn contradictions(model: &ModelArchitecture) -> Vec<String> {
    let mut found = Vec::new();
    let mut require = |holds: bool, sentence: String| {
        if !holds {
            found.push(sentence);
        }
    };
    require(model.layers <= MOST_LAYERS, format!("{} layers are more than any model has", model.layers));
    require(
        model.head_dim > 0,
        format!("{} heads in a hidden width of {} leave no width for a head", model.heads, model.hidden),
    );
    if model.attention == Attention::Grouped {
        let divides = model.kv_heads > 0 && model.heads.is_multiple_of(model.kv_heads);
        require(
            divides,
            format!("{} attention heads cannot share {} key/value heads evenly", model.heads, model.kv_heads),
        );
    }
    if let Some(moe) = model.moe {
        let (chosen, experts) = (moe.experts_per_token, moe.experts);
        require(chosen <= experts, format!("a token is sent to {chosen} experts, but there are {experts}"));
        let (dense, layers) = (moe.dense_layers, model.layers);
        require(dense <= layers, format!("{dense} dense layers are more than the model's {layers} layers"));
    }
    if let Some(window) = model.sliding_window {
        let (windowed, layers) = (window.layers, model.layers);
        require(
            windowed <= layers,
            format!("{windowed} sliding-window layers are more than the model's {layers} layers"),
        );
    }
    found
}

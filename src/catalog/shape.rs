//! What the numbers of an architecture must satisfy together, whichever file they came from.

use oracle_components::layers::{Experts, Part};
use oracle_components::model::ModelArchitecture;

/// No width or vocabulary is larger: 2²⁶. A number above is a typing error, and products of three stay exact in f64.
pub(super) const LARGEST_DIMENSION: u64 = 1 << 26;
/// No model has more layers.
pub(super) const MOST_LAYERS: u32 = 10_000;

/// Contradictions between an architecture's numbers, each as a sentence.
pub(super) fn contradictions(model: &ModelArchitecture) -> Vec<String> {
    let mut found = Vec::new();
    let mut require = |holds: bool, sentence: String| {
        if !holds {
            found.push(sentence);
        }
    };
    let layers = model.layers.len();
    require(layers > 0, "it has no layer".to_owned());
    require(layers <= MOST_LAYERS, format!("{layers} layers are more than any model has"));
    for part in model.layers.kinds().iter().flat_map(|layer| &layer.parts) {
        match part {
            Part::Attention(attention) => {
                let (heads, kv_heads) = (attention.heads, attention.kv_heads);
                let widest = u64::from(heads) * u64::from(attention.key_width.max(attention.value_width));
                require(
                    widest <= LARGEST_DIMENSION,
                    format!("{heads} heads of {} are wider together than any model's", attention.key_width),
                );
                require(
                    attention.key_width > 0,
                    format!("{heads} heads in a hidden width of {} leave no width for a head", model.hidden),
                );
                require(
                    kv_heads > 0 && heads.is_multiple_of(kv_heads),
                    format!("{heads} attention heads cannot share {kv_heads} key/value heads evenly"),
                );
            }
            Part::Experts(Experts { count, per_token, .. }) => {
                require(per_token <= count, format!("a token is sent to {per_token} experts, but there are {count}"));
            }
            Part::Latent(_) | Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) => {}
        }
    }
    found.dedup();
    found
}

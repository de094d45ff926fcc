//! The formats of a model's matrices, layer by layer.

use oracle_components::layers::{Experts, Formats, Layer, Part, Role, Stack};
use oracle_components::model::ModelArchitecture;
use oracle_components::weight_format::WeightFormat;

use super::{Modules, Quantization};

impl Quantization {
    /// Whether the model's modules are called as the description calls those that it names.
    pub(crate) fn is_of(&self, model: &ModelArchitecture, model_type: &str) -> bool {
        let modules = Modules::of(model_type);
        self.names_any_of((0..model.layers.len()).flat_map(|layer| modules.of_layer(layer)))
    }

    /// The same model stored as the checkpoint is, of a family by its `model_type`.
    pub(crate) fn apply(&self, model: ModelArchitecture, model_type: &str) -> ModelArchitecture {
        // Most of the catalog: no name need be made up.
        if self.rules.is_empty() {
            let kv_dtype = self.kv_dtype().unwrap_or(model.kv_dtype);
            return ModelArchitecture { weight_format: WeightFormat::wide(self.dtype), kv_dtype, ..model };
        }
        let modules = Modules::of(model_type);
        let stored = |(index, layer): (u32, &Layer)| {
            let parts = layer.parts.iter().map(|part| self.with_experts(part, modules, index)).collect();
            Layer { parts, formats: Some(self.formats(layer, modules, index)), ..layer.clone() }
        };
        let layers: Vec<Layer> = (0..).zip(model.layers.iter()).map(stored).collect();
        let weight_format = self.usual(&layers);
        let head = self.format_of(&modules.head());
        ModelArchitecture {
            layers: layers.into_iter().map(|layer| without(weight_format, layer)).collect::<Stack>(),
            weight_format,
            head_format: Some(head).filter(|head| head.is_quantised() && !model.tied_embeddings),
            kv_dtype: self.kv_dtype().unwrap_or(model.kv_dtype),
            ..model
        }
    }

    fn with_experts(&self, part: &Part, modules: Modules, index: u32) -> Part {
        match part {
            Part::Experts(experts) => {
                let format = Some(self.format_of(&modules.expert(index)[1]));
                Part::Experts(Experts { format, ..*experts })
            }
            other => other.clone(),
        }
    }

    fn formats(&self, layer: &Layer, modules: Modules, index: u32) -> Formats {
        let mut formats = Formats::all(WeightFormat::wide(self.dtype));
        let of = |names: &[String]| self.format_of_first(names);
        let attention = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| modules.attention(index, name)).collect();
            self.format_of_first(&names)
        };
        let mut has_mixer = false;
        for part in &layer.parts {
            match part {
                Part::Attention(_) => {
                    // Side by side with a recurrent mixer, attention counts.
                    (formats.inward, formats.outward) = (attention(&["q_proj"]), attention(&["o_proj"]));
                    has_mixer = true;
                }
                Part::Latent(latent) => {
                    // The larger of what both are made from.
                    let query = if latent.q_lora_rank.is_some() { "q_a_proj" } else { "q_proj" };
                    formats.inward = attention(&[query]);
                    formats.up = attention(&["kv_b_proj"]);
                    formats.outward = attention(&["o_proj"]);
                    has_mixer = true;
                }
                Part::Compressed(_) => {
                    formats.inward = attention(&["wq_a", "wkv"]);
                    formats.up = attention(&["wq_b"]);
                    formats.outward = attention(&["wo_b", "wo_a"]);
                    has_mixer = true;
                }
                Part::Recurrent(_) if !has_mixer => {
                    let own = |names: &[&str]| -> Vec<String> {
                        names.iter().map(|name| modules.recurrent(index, name)).collect()
                    };
                    let inward = own(&["in_proj_qkvz", "in_proj_qkv", "in_proj", "q_proj"]);
                    let outward = own(&["out_proj", "o_proj"]);
                    (formats.inward, formats.outward) = (of(&inward), of(&outward));
                }
                Part::Recurrent(_) => {}
                Part::Mlp(_) => formats.mlp = of(&modules.mlp(index)[1..2]),
                Part::Experts(_) => formats.mlp = of(&modules.shared(index)[1..2]),
            }
        }
        formats.index = attention(&["indexer.wq_b", "index_q_proj"]);
        formats
    }

    /// The format of the first module that is decided about by its name, else of the first.
    fn format_of_first(&self, names: &[String]) -> WeightFormat {
        let named = names.iter().find(|name| self.is_named(name));
        self.format_of(named.unwrap_or(&names[0]))
    }

    /// What most matrices have of those that are quantised, by rough counts.
    fn usual(&self, layers: &[Layer]) -> WeightFormat {
        let mut counts: Vec<(WeightFormat, u32)> = Vec::new();
        for layer in layers {
            for role in roles(layer) {
                let Some(formats) = layer.formats else { continue };
                let format = formats.of(role);
                match counts.iter_mut().find(|(known, _)| *known == format) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((format, 1)),
                }
            }
        }
        let quantised = counts.iter().filter(|(format, _)| format.is_quantised());
        let most = quantised.reduce(|most, next| if next.1 > most.1 { next } else { most });
        most.map_or(WeightFormat::wide(self.dtype), |(format, _)| *format)
    }
}

const ROLES: [Role; 5] = [Role::In, Role::Up, Role::Out, Role::Index, Role::Mlp];

/// A layer that says only what of it is not in the model's usual format.
fn without(usual: WeightFormat, layer: Layer) -> Layer {
    let (present, mut formats) = (roles(&layer), layer.formats);
    if let Some(formats) = &mut formats {
        for role in ROLES.into_iter().filter(|role| !present.contains(role)) {
            *formats.of_mut(role) = usual;
        }
    }
    let plain = |part: Part| match part {
        Part::Experts(experts) => {
            Part::Experts(Experts { format: experts.format.filter(|format| *format != usual), ..experts })
        }
        other => other,
    };
    let formats = formats.filter(|formats| *formats != Formats::all(usual));
    Layer { parts: layer.parts.into_iter().map(plain).collect(), formats, ..layer }
}

/// The roles that a layer's matrices have. An MLP is about twice as much as attention in and out.
fn roles(layer: &Layer) -> Vec<Role> {
    let mut roles = Vec::new();
    for part in &layer.parts {
        let (of_part, index): (&[Role], _) = match part {
            Part::Attention(attention) => (&[Role::In, Role::Out], attention.index),
            Part::Latent(latent) => (&[Role::In, Role::Up, Role::Out], latent.index),
            Part::Compressed(own) => (&[Role::In, Role::Up, Role::Out], own.index),
            Part::Recurrent(_) => (&[Role::In, Role::Out], None),
            Part::Mlp(_) => (&[Role::Mlp; 4], None),
            Part::Experts(experts) if experts.shared.width > 0 => (&[Role::Mlp], None),
            Part::Experts(_) => (&[], None),
        };
        roles.extend(of_part);
        roles.extend(index.map(|_| Role::Index));
    }
    roles
}

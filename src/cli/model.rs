//! `models PATH`: what a model is read as.

use std::path::Path;
use std::sync::Arc;

use oracle_components::kv_groups::KvKind;
use oracle_components::layers::{Attention, Index, Keeps, Layer, Part, Reach};
use oracle_components::model::ModelArchitecture;
use oracle_systems::costing::weights::{
    active_parameters, flops_per_token, parameters, state_bytes_per_sequence, weight_bytes, weight_bytes_by_dtype,
};
use oracle_systems::kv_layers::{KvLayers, kv_layers};
use serde_json::{Value, json};

use super::Failure;
use super::args::Models;
use crate::catalog::{Catalog, HfReading, load_hf_config_by};
use crate::tables::{Block, Document, Findings, Table, flat, pretty};

/// A model and how it was read.
pub(super) struct Described {
    architecture: Arc<ModelArchitecture>,
    /// What it was read from, and as what.
    read_from: String,
    model_type: Option<String>,
    unused_keys: Vec<String>,
    not_counted: Vec<String>,
}

/// The model that a command asks for, if it asks for one.
pub(super) fn of(command: &Models) -> Result<Option<Described>, Failure> {
    let bad = |message: String| Failure::BadInput(Some(message));
    let Some(name) = command.filter.as_deref() else {
        let asks_for_a_file = "--assume says what a config.json is read as: name the file or its folder, too";
        return if command.assume.is_some() { Err(bad(asks_for_a_file.to_owned())) } else { Ok(None) };
    };
    let path = Path::new(name);
    // Hugging Face ids, or parts of them, have slashes too.
    let looks_like_path = path.exists() || name.ends_with(".json") || name.contains('/') && !is_part_of_an_alias(name);
    let known = Catalog::builtin().model(name).filter(|_| !path.exists());
    if let (Some(model), Some(_)) = (known, &command.assume) {
        let name = &model.architecture.name;
        let way_out = "leave it out, or name the model's config.json, or its folder";
        return Err(bad(format!(
            "--assume says how a config.json is read, and {name} is a model of the catalog: {way_out}"
        )));
    }
    if let Some(model) = known {
        return Ok(Some(Described {
            architecture: Arc::clone(&model.architecture),
            read_from: format!("the catalog ({})", model.source),
            model_type: None,
            unused_keys: Vec::new(),
            not_counted: Vec::new(),
        }));
    }
    if !looks_like_path && command.assume.is_none() {
        return Ok(None);
    }
    let model = load_hf_config_by(path, &HfReading { assumed: command.assume.clone(), weights: None })
        .map_err(|error| bad(error.to_string()))?;
    for warning in &model.warnings {
        super::tell(&warning.to_string());
    }
    Ok(Some(Described {
        architecture: Arc::new(model.architecture),
        read_from: name.to_owned(),
        model_type: Some(model.model_type),
        unused_keys: model.unused_keys,
        not_counted: model.not_counted,
    }))
}

fn is_part_of_an_alias(name: &str) -> bool {
    let name = name.to_lowercase();
    Catalog::builtin().model_aliases().any(|alias| alias.to_lowercase().contains(&name))
}

impl Described {
    /// Bytes a token of the groups that grow with the context.
    fn kv_bytes_per_token(&self) -> f64 {
        let grown = self.kv_groups().into_iter().filter(|group| group.kind == KvKind::Full);
        grown.map(|group| group.bytes * f64::from(group.layers)).sum()
    }

    fn kv_groups(&self) -> Vec<KvLayers> {
        kv_layers(&self.architecture, 1)
    }
}

impl Findings for Described {
    fn document(&self) -> Document {
        let model = &*self.architecture;
        let read_as = self.model_type.as_ref().map_or_else(String::new, |kind| format!(", as model_type {kind}"));
        let billions = |count: u64| format!("{:.3} B ({})", count as f64 / 1e9, grouped(count));
        let mut lines = vec![
            Block::Title(model.name.clone()),
            line("Read from", format!("{}{read_as}", self.read_from)),
            line("Parameters", billions(parameters(model))),
            line("Active", billions(active_parameters(model))),
            line("Weights", weights_line(model)),
        ];
        for group in self.kv_groups() {
            lines.push(line("KV cache", group_line(&group)));
        }
        lines.push(line(
            "A token",
            format!("{} bytes of KV cache, as far as it grows with the context", self.kv_bytes_per_token()),
        ));
        let state_bytes = state_bytes_per_sequence(model);
        if state_bytes > 0.0 {
            lines.push(line("A sequence", format!("{state_bytes} bytes of states, however long its context is")));
        }
        lines.push(line("Context", format!("{} tokens", model.context_tokens())));
        lines.push(line("A step", format!("{:.2} GFLOP at batch 1, without attention", flops_per_token(model) / 1e9)));
        for (layer, count) in model.layers.counted() {
            lines.push(line("Layers", format!("{count} with {}", layer_words(layer))));
        }
        if !self.not_counted.is_empty() {
            lines.push(line("Left out", self.not_counted.join(", ")));
        }
        let unused = if self.unused_keys.is_empty() { "none".to_owned() } else { self.unused_keys.join(", ") };
        lines.push(line("Unused keys", unused));
        Document(lines)
    }

    fn records(&self) -> Table {
        flat(&self.value())
    }

    fn json(&self) -> String {
        pretty(&self.value())
    }
}

impl Described {
    fn value(&self) -> Value {
        let model = &*self.architecture;
        let by_dtype = weight_bytes_by_dtype(model).into_iter().map(|(dtype, bytes)| (word(&dtype), json!(bytes)));
        json!({
            "name": model.name,
            "read_from": self.read_from,
            "model_type": self.model_type,
            "parameters": parameters(model),
            "active_parameters": active_parameters(model),
            "weight_bytes": weight_bytes(model),
            "weight_bytes_by_dtype": by_dtype.collect::<serde_json::Map<String, Value>>(),
            "kv_bytes_per_token": whole(self.kv_bytes_per_token()),
            "state_bytes_per_sequence": whole(state_bytes_per_sequence(model)),
            "kv_groups": self.kv_groups().iter().map(group_value).collect::<Vec<_>>(),
            "num_layers": model.layers.len(),
            "layers": model.layers.counted().map(|(layer, count)| layer_value(layer, count)).collect::<Vec<_>>(),
            "flops_per_token": flops_per_token(model),
            "context": model.context_tokens(),
            "weight_format": model.weight_format,
            "expert_format": model.experts().map(|_| model.expert_format()),
            "activation_dtype": model.activation_dtype,
            "kv_dtype": model.kv_dtype,
            "hidden": model.hidden,
            "vocab": model.vocab,
            "tied_embeddings": model.tied_embeddings,
            "not_counted": self.not_counted,
            "unused_keys": self.unused_keys,
        })
    }
}

fn line(head: &str, text: String) -> Block {
    Block::line(head, 13, text)
}

/// A number without a fraction that is none.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as u64) } else { json!(number) }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn weights_line(model: &ModelArchitecture) -> String {
    let parts = weight_bytes_by_dtype(model);
    let parts = parts.iter().map(|(dtype, bytes)| format!("{:.2} GB in {}", *bytes as f64 / 1e9, word(dtype)));
    format!("{:.2} GB: {}", weight_bytes(model) as f64 / 1e9, parts.collect::<Vec<_>>().join(", "))
}

/// What layers of a group keep, in words.
fn kind_words(kind: KvKind) -> String {
    match kind {
        KvKind::Full => "all tokens".to_owned(),
        KvKind::Window { tokens } => format!("the last {tokens} tokens"),
        KvKind::Chunk { tokens } => format!("the tokens of a chunk of {tokens}"),
        KvKind::State => "a state".to_owned(),
    }
}

fn group_line(group: &KvLayers) -> String {
    let each = if group.kind == KvKind::State { "a sequence" } else { "a token" };
    format!("{} layers keep {}, {} bytes {each} and layer", group.layers, kind_words(group.kind), group.bytes)
}

fn group_value(group: &KvLayers) -> Value {
    let (kind, tokens) = match group.kind {
        KvKind::Full => ("full", None),
        KvKind::Window { tokens } => ("window", Some(tokens)),
        KvKind::Chunk { tokens } => ("chunk", Some(tokens)),
        KvKind::State => ("state", None),
    };
    let total = group.bytes * f64::from(group.layers);
    let of_state = group.kind == KvKind::State;
    json!({
        "kind": kind,
        "tokens": tokens,
        "layers": group.layers,
        "bytes_per_token": (!of_state).then(|| whole(total)),
        "bytes_per_sequence": of_state.then(|| whole(total)),
    })
}

fn layer_words(layer: &Layer) -> String {
    let parts: Vec<String> = layer.all_parts().map(part_words).collect();
    if parts.is_empty() { "nothing but what stands beside the parts".to_owned() } else { parts.join(" + ") }
}

fn part_words(part: &Part) -> String {
    match part {
        Part::Attention(attention) => attention_words(attention),
        Part::Latent(latent) => {
            format!(
                "latent attention ({} heads, a vector {} + {} wide a token{})",
                latent.heads,
                latent.kv_lora_rank,
                latent.rope_head_dim,
                index_words(latent.index, "tokens"),
            )
        }
        Part::Compressed(own) => {
            let entries = match own.ratio {
                0 => "nothing before it".to_owned(),
                ratio => format!("before it an entry for every {ratio} tokens{}", index_words(own.index, "entries")),
            };
            format!("compressed attention ({} heads {} wide, window {}, {entries})", own.heads, own.width, own.window)
        }
        Part::Recurrent(recurrent) => format!("{} (state of {} elements)", recurrent.name, recurrent.state_elements),
        Part::Mlp(mlp) => format!("MLP {} wide{}", mlp.width, if mlp.gated { ", gated" } else { "" }),
        Part::Experts(experts) => {
            let shared = match experts.shared.width {
                0 => String::new(),
                width => format!(", shared experts {width} wide in all"),
            };
            let latent = experts.latent_width.map_or_else(String::new, |width| format!(", on vectors {width} wide"));
            format!(
                "{} experts {} wide{latent}, {} for each token{shared}",
                experts.count, experts.expert.width, experts.per_token
            )
        }
    }
}

/// How many an index chooses of what attention could look at.
fn index_words(index: Option<Index>, what: &str) -> String {
    index.map_or_else(String::new, |index| match index.heads {
        0 => format!(", over the {} {what} that a layer before chose", index.top_tokens),
        _ => format!(", over the {} {what} that an index chooses", index.top_tokens),
    })
}

fn attention_words(attention: &Attention) -> String {
    let reach = match attention.reach {
        Reach::Full => String::new(),
        Reach::Window(tokens) => format!(", window {tokens}"),
        Reach::Chunk(tokens) => format!(", chunks of {tokens}"),
    };
    let keeps = match attention.keeps {
        Keeps::KeysAndValues => "",
        Keeps::KeysAsValues => ", values from the keys' matrix",
        Keeps::Nothing => ", with the keys and values of a layer before",
    };
    let width = match attention.key_width == attention.value_width {
        true => format!("{} wide", attention.key_width),
        false => format!("keys {} and values {} wide", attention.key_width, attention.value_width),
    };
    let index = index_words(attention.index, "tokens");
    format!("attention ({} heads, {} KV heads, {width}{reach}{keeps}{index})", attention.heads, attention.kv_heads)
}

fn layer_value(layer: &Layer, count: u32) -> Value {
    json!({"count": count, "parts": layer.parts, "shared_parts": layer.shared_parts, "norms": layer.norms, "words": layer_words(layer)})
}

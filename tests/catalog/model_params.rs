//! The predecessor's `model_params.json`: its rules, and what becomes of its entries.

use llmperforacle::catalog::{Catalog, EntryOrigin, ModelParams, Severity, load_model_params};
use oracle_components::layers::Part;
use oracle_components::model::ModelArchitecture;
use serde_json::{Value, json};

use crate::{Folder, shared};

fn database(content: impl AsRef<[u8]>) -> ModelParams {
    let folder = Folder::with("model_params.json", content);
    load_model_params(&folder.file("model_params.json")).unwrap_or_else(|error| panic!("{error}"))
}

fn messages(database: &ModelParams, severity: Severity) -> Vec<String> {
    database.of_severity(severity).map(ToString::to_string).collect()
}

/// A database of one entry, called Mine: the shape of Llama 3 8B with some keys changed.
pub fn changed(changes: &Value) -> ModelParams {
    let mut own = entry();
    for (key, value) in changes.as_object().expect("an object") {
        own[key] = value.clone();
    }
    database(json!({"Mine": own}).to_string())
}

/// An entry as the predecessor writes it.
pub fn entry() -> Value {
    json!({
        "parameters": 8_000_000_000_u64, "hidden_size": 4096, "num_layers": 32, "num_attention_heads": 32,
        "num_kv_heads": 8, "intermediate_size": 14336, "vocab_size": 128_256, "parameter_bytes_fp16": 16_000_000_000_u64,
        "kv_cache_bytes_per_token_per_layer": 4096,
        "prefill_op_stats": {"flops_per_token": 16e9, "memory_bytes_per_token": 32e6},
        "decode_op_stats": {"flops_per_token": 16e9, "memory_bytes_per_token": 64e6},
        "aggregated_ops": {}, "layer_types": {"attention": {}, "mlp": {}}
    })
}

#[test]
fn an_entry_of_a_catalog_model_is_that_model() {
    let mut wrong_kv = entry();
    wrong_kv["kv_cache_bytes_per_token_per_layer"] = json!(16384);
    let database = database(json!({"Llama3-8B": wrong_kv}).to_string());
    let model = database.model("llama3-8b").expect("the entry");
    assert_eq!(model.origin, EntryOrigin::Catalog);
    assert_eq!(model.architecture, Catalog::builtin().model("Llama3-8B").expect("in the catalog").architecture);
    assert_eq!(messages(&database, Severity::Error), Vec::<String>::new());
    let warnings = messages(&database, Severity::Warning);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0]
            .contains("Llama3-8B.kv_cache_bytes_per_token_per_layer: is 16384, but the architecture stores 4096")
    );
    assert_eq!(messages(&database, Severity::Note).len(), 1);
}

#[test]
fn an_entry_of_another_shape_keeps_it() {
    let mut shallow = entry();
    shallow["num_layers"] = json!(16);
    let database = database(json!({"Llama3-8B": shallow, "Mine": entry()}).to_string());
    let own = database.model("Llama3-8B").expect("the entry");
    assert_eq!((own.origin, own.architecture.layers.len()), (EntryOrigin::Entry, 16));
    let warnings = messages(&database, Severity::Warning);
    assert!(warnings.iter().any(|warning| warning.contains("num_layers 16, not 32")), "{warnings:?}");
    assert!(
        warnings.iter().any(|warning| warning.contains("Llama3-8B.parameters: is 8000000000, but")),
        "{warnings:?}"
    );
    let mine = &database.model("Mine").expect("the entry").architecture;
    assert_eq!((mine.attention().expect("attention").key_width, mine.tied_embeddings), (128, false));
    assert!(is_gated(mine));
}

fn is_gated(model: &ModelArchitecture) -> bool {
    model.layers.parts().any(|(part, _)| matches!(part, Part::Mlp(mlp) if mlp.gated))
}

/// The stated parameters tell a plain MLP and shared embeddings from the usual.
#[test]
fn what_an_entry_does_not_state_follows_from_its_parameters() {
    let variant = |mut changes: Value| {
        changes["parameter_bytes_fp16"] = Value::Null;
        changed(&changes).model("Mine").expect("the entry").architecture.clone()
    };
    let gpt = variant(json!({
        "parameters": 175e9, "hidden_size": 12288, "num_layers": 96, "num_attention_heads": 96, "num_kv_heads": 96,
        "intermediate_size": 49152, "vocab_size": 50257
    }));
    assert!(!is_gated(&gpt));
    let small = variant(json!({
        "parameters": 1.24e9, "hidden_size": 2048, "num_layers": 16, "num_kv_heads": 8, "intermediate_size": 8192
    }));
    assert!(is_gated(&small) && small.tied_embeddings);
    let experts =
        variant(json!({"parameters": 46.7e9, "vocab_size": 32000, "num_experts": 8, "num_experts_per_tok": 2}));
    let moe = experts.experts().expect("experts");
    assert_eq!((moe.count, moe.per_token, moe.expert.width), (8, 2, 14336));
}

#[test]
fn each_of_the_predecessor_s_rules_is_checked() {
    for (changes, error) in [
        (json!({"hidden_size": null}), "Mine.hidden_size: is missing"),
        (json!({"num_layers": "32"}), "Mine.num_layers: must be a whole number"),
        (json!({"parameters": -1}), "Mine.parameters: must be a number above 0"),
        (json!({"parameter_bytes_fp16": 15e9}), "Mine.parameter_bytes_fp16: is 15000000000, but two bytes for each"),
        (json!({"prefill_op_stats": null}), "Mine.prefill_op_stats: is missing"),
        (json!({"decode_op_stats": {"flops_per_token": 1}}), "Mine.decode_op_stats.memory_bytes_per_token: is missing"),
        (json!({"layer_types": {"attention": {}}}), "Mine.layer_types.mlp: is missing"),
        (json!({"num_experts": 1, "num_experts_per_tok": 2}), "Mine: a token is sent to 2 experts, but there are 1"),
    ] {
        let database = changed(&changes);
        let errors = messages(&database, Severity::Error).join("\n");
        assert!(errors.contains(error), "{error} in: {errors}");
        assert!(database.models.is_empty());
    }
    for (changes, warning) in [
        (json!({"parameter_bytes_fp16": null}), "taken as 2 × parameters = 16000000000"),
        (json!({"kv_cache_bytes_per_token_per_layer": null}), "computed from the heads"),
        (json!({"aggregated_ops": null}), "Mine.aggregated_ops: is missing"),
        (json!({"hiden_size": 4096}), "Mine.hiden_size: nobody reads this key; did you mean hidden_size?"),
    ] {
        let database = changed(&changes);
        let warnings = messages(&database, Severity::Warning).join("\n");
        assert!(warnings.contains(warning), "{warning} in: {warnings}");
        assert_eq!((database.models.len(), messages(&database, Severity::Error).len()), (1, 0));
    }
}

#[test]
fn a_finding_says_where_it_is() {
    let database =
        database("{\n  \"Mine\": {\n    \"parameters\": 1,\n    \"hidden_size\": true\n  },\n  \"Other\": 3\n}");
    let errors = messages(&database, Severity::Error).join("\n");
    assert!(errors.contains("model_params.json:4: Mine.hidden_size: must be a whole number"), "{errors}");
    assert!(errors.contains("model_params.json:6: Other: must be an object"), "{errors}");
    assert!(database.models.is_empty());
}

#[test]
fn the_predecessor_s_own_database_is_read_without_an_error() {
    let Some(shared) = shared() else { return };
    let database = load_model_params(&shared.join("llmperforacle-configs/model_params.json")).expect("a database");
    assert_eq!(messages(&database, Severity::Error), Vec::<String>::new());
    assert_eq!(database.models.len(), 12);
    assert!(database.models.iter().all(|model| model.origin == EntryOrigin::Catalog));
    let warnings = messages(&database, Severity::Warning);
    println!("{}", warnings.join("\n"));
    for name in ["Llama3-8B", "Llama3-70B", "Mistral-7B-v0.3", "Mixtral-8x7B", "Qwen2.5-72B", "Gemma2-9B"] {
        let key = format!("{name}.kv_cache_bytes_per_token_per_layer");
        assert!(warnings.iter().any(|warning| warning.contains(&key)), "{key}");
    }
}

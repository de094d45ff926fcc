//! Whatever a file holds, reading it gives a model or an error.

use std::path::Path;

use llmperforacle::catalog::{CatalogError, load_hf_config, load_model_params};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Folder;
use crate::hf_config::llama_3_1_8b;
use crate::model_params::{changed, entry};

#[test]
fn strange_files_are_errors_and_nothing_worse() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let contents: [&[u8]; 8] =
        [b"", b"\xff\xfe\x00binary", b"nonsense", b"[1]", b"3", b"{\"a\":", deep.as_bytes(), b"{\"a\": 1} {"];
    for content in contents {
        let folder = Folder::with("config.json", content);
        let path = folder.file("config.json");
        for error in [load_hf_config(&path).map(drop), load_model_params(&path).map(drop)] {
            let message = error.expect_err("not such a file").to_string();
            assert!(message.contains("config.json"), "{message}");
        }
    }
    let huge = Folder::with("config.json", vec![b' '; 5 << 20]);
    assert!(matches!(load_hf_config(huge.0.path()), Err(CatalogError::TooLarge { .. })));
    let missing = load_model_params(Path::new("no/such/model_params.json")).expect_err("no such file");
    assert!(missing.to_string().contains("no/such/model_params.json"), "{missing}");
}

#[test]
fn every_value_of_every_wrong_type_is_survived() {
    let strange = [
        json!(null),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let mut config = llama_3_1_8b();
    for key in [
        "sliding_window",
        "layer_types",
        "num_experts",
        "kv_lora_rank",
        "quantization_config",
        "head_dim",
        "text_config",
    ] {
        config[key] = Value::Null;
    }
    for key in config.as_object().expect("an object").keys() {
        for value in &strange {
            let mut other = config.clone();
            other[key] = value.clone();
            let folder = Folder::with("config.json", other.to_string());
            drop(load_hf_config(folder.0.path()));
        }
    }
    for key in entry().as_object().expect("an object").keys() {
        for value in &strange {
            drop(changed(&json!({key: value})));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A file of bytes, and a whole config cut short and with a byte changed.
    #[test]
    fn no_bytes_are_worse_than_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..500, byte: u8) {
        let mut damaged = json!({"Mine": entry(), "Other": 1}).to_string().into_bytes();
        damaged.truncate(cut);
        if let Some(last) = damaged.last_mut() {
            *last = byte;
        }
        for content in [bytes, damaged] {
            let folder = Folder::with("config.json", content);
            drop(load_hf_config(folder.0.path()));
            drop(load_model_params(&folder.file("config.json")));
        }
    }
}

//! The element type of the KV cache that a checkpoint asks for. vLLM takes it where `kv_cache_dtype` is `auto`.

use oracle_components::model::Dtype;
use serde_json::Value;

use super::section::{Problem, Section};

/// Scales for a cache that vLLM does not take by itself.
pub(super) const SCALES_ALONE: &str =
    "brings scales for an fp8 KV cache, which vLLM takes only with kv_cache_dtype: fp8; 16 bits are taken";

/// A scheme by word (`FP8`) or by object (`{"num_bits": 8, "type": "float"}`); `None` for none.
pub(super) fn scheme(section: &Section<'_>, key: &str) -> Result<Option<Dtype>, Problem> {
    let unknown = |what: &str| {
        let way_out = "fp8 and nvfp4 are known";
        Err(section.problem(key, format!("a KV cache of {what} is not known; {way_out}")))
    };
    match section.value(key) {
        None => Ok(None),
        Some(Value::String(word)) => match word.to_ascii_lowercase().as_str() {
            "fp8" | "fp8_e4m3" | "fp8_e5m2" => Ok(Some(Dtype::Fp8)),
            "nvfp4" => Ok(Some(Dtype::Nvfp4)),
            "" | "none" | "auto" | "no_quant" => Ok(None),
            other => unknown(other),
        },
        Some(_) => {
            let scheme = section.section(key)?.expect("it has a value");
            match (scheme.number("num_bits")?, scheme.word("type")?) {
                (Some(8), Some("float") | None) => Ok(Some(Dtype::Fp8)),
                (Some(4), Some("float")) => Ok(Some(Dtype::Nvfp4)),
                (bits, kind) => {
                    let bits = bits.map_or_else(|| "an unknown number of".to_owned(), |bits| bits.to_string());
                    unknown(&format!("{bits}-bit {}", kind.unwrap_or("elements")))
                }
            }
        }
    }
}

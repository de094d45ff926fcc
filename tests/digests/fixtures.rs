//! Files that configurations name: models, a model database, measured kernels.

/// A Hugging Face model that the catalog lacks.
pub const MODEL: (&str, &str) = (
    "own-model/config.json",
    r#"{"model_type": "llama", "hidden_size": 3072, "intermediate_size": 9216, "max_position_embeddings": 16384,
"num_attention_heads": 24, "num_hidden_layers": 26, "num_key_value_heads": 6, "tie_word_embeddings": true,
"torch_dtype": "bfloat16", "vocab_size": 64000}
"#,
);

/// The predecessor's kind of database, with a model `Own`.
pub const DATABASE: (&str, &str) = (
    "models.json",
    r#"{"Own": {"parameters": 6500000000, "hidden_size": 4096, "num_layers": 30, "num_attention_heads": 32, "num_kv_heads": 8,
"intermediate_size": 11008, "vocab_size": 64000, "parameter_bytes_fp16": 13000000000,
"kv_cache_bytes_per_token_per_layer": 4096,
"prefill_op_stats": {"flops_per_token": 13e9, "memory_bytes_per_token": 32e6},
"decode_op_stats": {"flops_per_token": 13e9, "memory_bytes_per_token": 64e6},
"aggregated_ops": {}, "layer_types": {"attention": {}, "mlp": {}}}}
"#,
);

/// Measured kernels of a device, and the key that names them.
pub const TABLES: [(&str, &str, &str); 5] = [
    (
        "gemm",
        "gemm.csv",
        "m,n,k,latency_ms\n1,6144,4096,0.0241\n256,6144,4096,0.0335\n8192,6144,4096,0.611\n1,28672,4096,0.0885\n\
         256,28672,4096,0.119\n8192,28672,4096,2.83\n1,4096,4096,0.0191\n128,4096,4096,0.021\n4096,4096,4096,0.25\n",
    ),
    ("gemm_8bit", "gemm-8bit.csv", "m,n,k,latency_ms\n1,6144,4096,0.0191\n256,6144,4096,0.0222\n8192,6144,4096,0.39\n"),
    (
        "prefill_attention",
        "prefill.csv",
        "batch,seq,heads,kv_heads,head_dim,kv_dtype,latency_ms\n1,128,32,8,128,bfloat16,0.02\n2,128,32,8,128,bfloat16,0.03\n\
         1,1024,32,8,128,bfloat16,0.11\n1,4096,32,8,128,bfloat16,0.9\n",
    ),
    (
        "decode_attention",
        "decode.csv",
        "batch,kv_len,heads,kv_heads,head_dim,kv_dtype,latency_ms\n1,256,32,8,128,bfloat16,0.01\n1,4096,32,8,128,bfloat16,0.02\n\
         64,512,32,8,128,bfloat16,0.05\n64,8192,32,8,128,bfloat16,0.8\n",
    ),
    (
        "experts",
        "experts.csv",
        "gpu,dtype,hidden,inter,experts,topk,tp,ep,distribution,tokens,latency_ms\n\
         a,bfloat16,4096,14336,8,2,1,1,power_law_1.2,1,0.2\na,bfloat16,4096,14336,8,2,1,1,power_law_1.2,64,0.9\n\
         a,bfloat16,4096,14336,8,2,1,1,power_law_1.2,512,1.5\n",
    ),
];

/// The model whose layers [`layers`] are.
pub const LAYERS_MODEL: &str = "Llama3.1-8B";

/// Nanoseconds of a layer without tokens, and more for each.
const DENSE: [(&str, u64, u64); 9] = [
    ("qkv_proj", 55_000, 290),
    ("o_proj", 38_000, 190),
    ("gate_up_proj", 247_000, 1_300),
    ("down_proj", 127_000, 660),
    ("layernorm", 1_900, 13),
    ("final_layernorm", 1_900, 13),
    ("act_fn", 2_600, 80),
    ("rotary_emb", 2_200, 12),
    ("embedding", 2_800, 4),
];

/// The layers of a model as if vLLM had been measured: a folder of three files.
pub fn layers() -> [(String, String); 3] {
    let us = |ns: u64| crate::draw::thousandths(ns);
    let mut dense = "layer,tokens,time_us\n".to_owned();
    for (layer, base_ns, token_ns) in DENSE {
        for tokens in [1, 8, 64, 512, 2048] {
            dense += &format!("{layer},{tokens},{}\n", us(base_ns + token_ns * tokens));
        }
    }
    let mut per_sequence = "layer,sequences,time_us\n".to_owned();
    for (layer, base_ns, sequence_ns) in [("lm_head", 1_097_000, 1_500), ("sampler", 25_000, 700)] {
        for sequences in [1, 16, 128] {
            per_sequence += &format!("{layer},{sequences},{}\n", us(base_ns + sequence_ns * sequences));
        }
    }
    let mut attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n".to_owned();
    for (chunk, reach) in [(0, 0), (16, 0), (256, 0), (2048, 0), (256, 2048), (2048, 4096)] {
        for (decodes, context) in [(0, 0), (1, 256), (1, 4096), (32, 256), (32, 4096), (128, 1024)] {
            if chunk + decodes > 0 {
                let ns = 9_000 + chunk * (chunk + 2 * reach) / 20 + decodes * (500 + 4 * context);
                attention += &format!("{chunk},{reach},{decodes},{context},{}\n", us(ns));
            }
        }
    }
    let file = |name: &str, text: String| (format!("layers/{name}.csv"), text);
    [file("dense", dense), file("per_sequence", per_sequence), file("attention", attention)]
}

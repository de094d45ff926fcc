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
pub const TABLES: [(&str, &str, &str); 4] = [
    (
        "gemm",
        "gemm.csv",
        "m,n,k,latency_ms\n1,6144,4096,0.0241\n256,6144,4096,0.0335\n8192,6144,4096,0.611\n1,28672,4096,0.0885\n\
         256,28672,4096,0.119\n8192,28672,4096,2.83\n1,4096,4096,0.0191\n128,4096,4096,0.021\n4096,4096,4096,0.25\n",
    ),
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

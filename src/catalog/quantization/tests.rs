use oracle_components::weight_format::Grain;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const BF16: WeightFormat = WeightFormat::wide(Dtype::Bf16);
const ATTENTION: &str = "model.layers.3.self_attn.o_proj";
const MLP: &str = "model.layers.3.mlp.down_proj";
const EXPERT: &str = "model.layers.3.mlp.experts.7.gate_proj";
const SHARED: &str = "model.layers.3.mlp.shared_experts.gate_proj";

fn source(config: Option<&Value>, hf_quant_config: Option<&Value>) -> Result<Quantization, Refusal> {
    let map = |value: Option<&'_ Value>| value.map(|value| value.as_object().expect("an object").clone());
    let (config, hf_quant_config) = (map(config), map(hf_quant_config));
    Quantization::read(&Source {
        dtype: Dtype::Bf16,
        config: config.as_ref(),
        hf_quant_config: hf_quant_config.as_ref(),
        expert_dtype: None,
    })
}

#[track_caller]
fn read(config: &Value) -> Quantization {
    source(Some(config), None).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// Key and message of a description that is refused.
#[track_caller]
fn refused(config: &Value) -> (String, String) {
    let Refusal { problem, file } = source(Some(config), None).expect_err("not understood");
    assert_eq!(file, File::Config);
    assert!(problem.message.contains("weight_dtype"), "{problem:?}");
    (problem.key, problem.message)
}

/// Bytes of a parameter of attention, MLP, experts and head.
fn bytes(quantization: &Quantization) -> [f64; 4] {
    [ATTENTION, MLP, EXPERT, "lm_head"].map(|module| quantization.format_of(module).bytes_per_parameter())
}

/// What no method quantises unless it is named.
#[track_caller]
fn leaves_the_rest(quantization: &Quantization) {
    for module in [
        "model.embed_tokens",
        "model.norm",
        "model.layers.3.input_layernorm",
        "model.layers.3.mlp.gate",
        "model.layers.3.linear_attn.conv1d",
        "model.visual.blocks.3.mlp.fc1",
    ] {
        assert_eq!(quantization.format_of(module), BF16, "{module}");
    }
}

#[test]
fn fp8_has_a_scale_a_matrix_or_a_block_and_spares_what_is_listed() {
    let blocks = read(&json!({
        "quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128],
        "modules_to_not_convert": ["gate", "model.layers.4.self_attn.o_proj", "lm_head"]
    }));
    let block = blocks.format_of(EXPERT);
    assert_eq!((block.dtype, block.scales.grain), (Dtype::Fp8, Grain::Block(128, 128)));
    assert_eq!(block.activations, Some(Dtype::Fp8));
    // `gate` is a router, no part of `gate_proj`; layer 4 is not layer 40.
    assert_eq!(blocks.format_of("model.layers.4.self_attn.o_proj"), BF16);
    assert_eq!(blocks.format_of("language_model.model.layers.4.self_attn.o_proj"), BF16);
    assert_eq!(blocks.format_of("model.layers.40.self_attn.o_proj"), block);
    assert_eq!(blocks.format_of("lm_head"), BF16);
    assert_eq!(blocks.kv_dtype(), None);
    leaves_the_rest(&blocks);

    let tensor = read(&json!({"quant_method": "fp8", "activation_scheme": "static", "kv_cache_scheme": "static"}));
    assert_eq!(tensor.format_of(MLP).scales.grain, Grain::Tensor);
    assert_eq!((tensor.kv_dtype(), tensor.notes().len()), (None, 1));
    assert_eq!(refused(&json!({"quant_method": "fp8", "activation_scheme": "odd"})).0, "activation_scheme");
    assert_eq!(refused(&json!({"quant_method": "fp8", "weight_block_size": [128]})).0, "weight_block_size");
}

#[test]
fn experts_may_be_narrower_than_fp8() {
    let config = json!({"quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "ue8m0"});
    let of = |expert_dtype| {
        let source = Source {
            dtype: Dtype::Bf16,
            config: config.as_object(),
            hf_quant_config: None,
            expert_dtype: Some(expert_dtype),
        };
        Quantization::read(&source)
    };
    let four = of("fp4").expect("DeepSeek V4");
    assert_eq!(four.format_of("layers.3.ffn.experts.7.w1").dtype, Dtype::Mxfp4);
    assert_eq!(four.format_of("layers.3.ffn.shared_experts.w1").dtype, Dtype::Fp8);
    assert_eq!(four.format_of("layers.3.attn.wq_a").dtype, Dtype::Fp8);
    for wide in ["layers.3.ffn.gate", "layers.3.attn.indexer.weights_proj", "layers.3.attn.compressor.wkv", "head"] {
        assert_eq!(four.format_of(wide), BF16, "{wide}");
    }
    assert_eq!(of("fp3").expect_err("no such type").problem.key, "expert_dtype");
}

#[test]
fn compressed_tensors_go_by_ignore_names_and_classes() {
    // Kimi-K2.5: its routed experts alone.
    let kimi = read(&json!({
        "quant_method": "compressed-tensors", "format": "pack-quantized", "kv_cache_scheme": null,
        "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
        "config_groups": {"group_0": {"input_activations": null, "targets": ["Linear"], "weights": {
            "actorder": null, "block_structure": null, "dynamic": false, "group_size": 32, "num_bits": 4,
            "strategy": "group", "symmetric": true, "type": "int"}}}
    }));
    assert_eq!(bytes(&kimi), [2.0, 2.0, 0.5 + 2.0 / 32.0, 2.0]);
    assert_eq!(kimi.format_of(SHARED), BF16);
    leaves_the_rest(&kimi);

    let mixed = read(&json!({
        "quant_method": "compressed-tensors", "format": "mixed-precision", "ignore": ["lm_head"],
        "kv_cache_scheme": {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false},
        "config_groups": {
            "group_0": {"targets": ["Linear"], "format": "float-quantized",
                "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true}},
            "group_1": {"targets": ["re:.*mlp\\.experts\\..*(gate|up|down)_proj$"], "format": "nvfp4-pack-quantized",
                "weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
                "input_activations": {"num_bits": 4, "type": "float", "group_size": 16, "dynamic": "local"}}
        }
    }));
    assert_eq!(bytes(&mixed), [1.0, 1.0, 0.5625, 2.0]);
    assert_eq!(mixed.format_of(EXPERT).activations, Some(Dtype::Nvfp4));
    assert_eq!(mixed.format_of(MLP).scales.grain, Grain::Channel);
    assert_eq!(mixed.kv_dtype(), Some(Dtype::Fp8));

    // vLLM's names for DeepSeek V4's matrices.
    let joined = read(&json!({
        "quant_method": "compressed-tensors", "format": "mixed-precision", "ignore": [],
        "config_groups": {
            "group_0": {"targets": ["re:.*attn.*(fused_wqa_wkv|wq_b|wo_a|wo_b)$"],
                "weights": {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}},
            "group_1": {"targets": ["re:.*ffn.*(gate|up|down)_proj$"],
                "weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}}
        }
    }));
    assert_eq!(joined.format_of("layers.3.attn.wkv").dtype, Dtype::Fp8);
    assert_eq!(joined.format_of("layers.3.ffn.experts.7.w1").dtype, Dtype::Nvfp4);
    assert_eq!(joined.format_of("layers.3.ffn.gate"), BF16);

    // What is not an expert is ignored: only the path as it stands can be asked.
    let experts = read(&json!({
        "quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized", "ignore": ["re:^(?!.*experts).*$"],
        "config_groups": {"group_0": {"targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "float", "group_size": 32, "scale_dtype": "torch.uint8"}}}
    }));
    assert_eq!(bytes(&experts), [2.0, 2.0, 0.53125, 2.0]);
    assert_eq!(experts.format_of(EXPERT).activations, None);
}

#[test]
fn compressed_tensors_that_are_not_understood_are_refused_by_key() {
    let of = |format: &str, weights: Value| {
        refused(&json!({
            "quant_method": "compressed-tensors", "format": format,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}
        }))
        .0
    };
    let int4 = json!({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128});
    assert_eq!(of("marlin-24", int4.clone()), "format");
    assert_eq!(of("pack-quantized", json!({"num_bits": 7, "type": "int"})), "config_groups.group_0.weights.num_bits");
    assert_eq!(of("naive-quantized", json!({"type": "int"})), "config_groups.group_0.weights.num_bits");
    let odd = json!({"num_bits": 4, "type": "float", "group_size": 64});
    assert_eq!(of("naive-quantized", odd), "config_groups.group_0.weights.group_size");
    let attention = json!({"num_bits": 8, "type": "float", "strategy": "attn_head"});
    assert_eq!(of("float-quantized", attention), "config_groups.group_0.weights.strategy");
    assert_eq!(refused(&json!({"quant_method": "compressed-tensors"})).0, "config_groups");
    let broken = json!({
        "quant_method": "compressed-tensors", "ignore": ["re:(unclosed"],
        "config_groups": {"group_0": {"weights": int4}}
    });
    assert_eq!(refused(&broken).0, "ignore");
}

#[test]
fn modelopt_says_the_same_in_either_layout() {
    let own = json!({
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": [
            "lm_head", "model.layers.1.*", "model.layers.1*", "model.layers.3.self_attn.q_a_proj",
            "model.layers.3.mlp.shared_experts*"]}
    });
    let inside = json!({
        "quant_method": "modelopt", "quant_algo": "NVFP4",
        "kv_cache_scheme": {"dynamic": false, "num_bits": 8, "type": "float"},
        "ignore": own["quantization"]["exclude_modules"],
        "config_groups": {"group_0": {"targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "float", "group_size": 16},
            "input_activations": {"num_bits": 4, "type": "float", "group_size": 16}}}
    });
    let read = [(None, Some(&own)), (Some(&inside), None), (Some(&inside), Some(&own))];
    for (config, hf_quant_config) in read {
        let quantization = source(config, hf_quant_config).expect("understood");
        assert_eq!(bytes(&quantization), [0.5625, 0.5625, 0.5625, 2.0]);
        assert_eq!(quantization.format_of("model.layers.3.self_attn.q_a_proj"), BF16);
        assert_eq!(quantization.format_of("model.layers.1.mlp.up_proj"), BF16);
        assert_eq!(quantization.format_of("model.layers.10.mlp.up_proj").dtype, Dtype::Nvfp4);
        assert_eq!(quantization.format_of(SHARED), BF16);
        assert_eq!(quantization.kv_dtype(), Some(Dtype::Fp8));
        leaves_the_rest(&quantization);
    }
    let mut other = own;
    other["quantization"]["quant_algo"] = json!("FP8");
    let refusal = source(Some(&inside), Some(&other)).expect_err("they differ");
    assert_eq!((refusal.file, refusal.problem.key.as_str()), (File::HfQuantConfig, "quantization.quant_algo"));
}

#[test]
fn modelopt_s_algorithms_have_their_formats() {
    let of = |algorithm: &str| read(&json!({"quant_method": "modelopt", "quant_algo": algorithm})).format_of(MLP);
    let fp8 = Some(Dtype::Fp8);
    let known = [
        ("FP8", 1.0, Grain::Tensor, fp8),
        ("FP8_PER_CHANNEL_PER_TOKEN", 1.0, Grain::Channel, fp8),
        ("fp8_pb_wo", 1.0 + 4.0 / 16384.0, Grain::Block(128, 128), fp8),
        ("MXFP8", 1.0 + 1.0 / 32.0, Grain::Group(32), fp8),
        ("NVFP4", 0.5625, Grain::Group(16), Some(Dtype::Nvfp4)),
        ("W4A16_NVFP4", 0.5625, Grain::Group(16), None),
        ("W4A16_AWQ", 0.5 + 2.0 / 128.0, Grain::Group(128), None),
        ("W4A8_AWQ", 0.5 + 2.0 / 128.0, Grain::Group(128), fp8),
        ("INT8_SQ", 1.0, Grain::Channel, Some(Dtype::Int8)),
    ];
    for (algorithm, bytes, grain, activations) in known {
        let format = of(algorithm);
        let found = (format.bytes_per_parameter(), format.scales.grain, format.activations);
        assert_eq!(found, (bytes, grain, activations), "{algorithm}");
    }
    let (key, message) = refused(&json!({"quant_method": "modelopt", "quant_algo": "NVFP5"}));
    assert_eq!(key, "quant_algo");
    assert!(message.contains("NVFP5 is not known (method modelopt)"), "{message}");
    assert_eq!(refused(&json!({"quant_method": "modelopt"})).0, "quant_algo");
}

#[test]
fn mixed_precision_names_the_algorithm_of_each_layer() {
    let mixed = read(&json!({
        "quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "ignore": ["mtp*"],
        "quantized_layers": {
            "lm_head": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
            "model.language_model.layers.3.mlp.experts": {"quant_algo": "NVFP4", "group_size": 16},
            "model.language_model.layers.3.self_attn.o_proj": {"quant_algo": "FP8"},
            "model.language_model.layers.4.self_attn.o_proj": {"quant_algo": "MXFP8"}
        }
    }));
    assert_eq!(bytes(&mixed), [1.0, 2.0, 0.5625, 0.5625]);
    assert_eq!(mixed.format_of("model.language_model.layers.4.self_attn.o_proj").scales.grain, Grain::Group(32));
    assert_eq!(mixed.format_of("mtp.layers.3.self_attn.o_proj"), BF16);
    let names_any_of = |names: [&str; 2]| mixed.names_any_of(names.map(str::to_owned).into_iter());
    assert!(names_any_of([MLP, EXPERT]));
    assert!(!names_any_of([MLP, "model.layers.5.self_attn.o_proj"]));

    // DeepSeek V4: experts in NVFP4 over fp8 blocks.
    let over = read(&json!({
        "quant_method": "fp8", "weight_block_size": [128, 128], "quant_algo": "MIXED_PRECISION",
        "ignore": ["*.attn.*", "*.ffn.shared_experts.*", "head", "mtp.*"], "kv_cache_quant_algo": null,
        "quantized_layers": {"layers.3.ffn.experts": {"quant_algo": "NVFP4", "group_size": 16}}
    }));
    assert_eq!(over.format_of("layers.3.ffn.experts.7.w1").dtype, Dtype::Nvfp4);
    assert_eq!(over.format_of("layers.3.ffn.shared_experts.w1").dtype, Dtype::Fp8);
    assert_eq!(over.format_of("layers.3.attn.wq_a").dtype, Dtype::Fp8);

    let bare = json!({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"});
    assert_eq!(refused(&bare).0, "quantized_layers");
}

#[test]
fn a_kv_cache_is_asked_for_by_word_or_by_object() {
    let by = |scheme: Value| json!({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": scheme});
    let known = [
        (json!("FP8"), Some(Dtype::Fp8)),
        (json!({"num_bits": 8, "type": "float"}), Some(Dtype::Fp8)),
        (json!("NVFP4"), Some(Dtype::Nvfp4)),
        (json!({"num_bits": 4, "type": "float", "group_size": 16}), Some(Dtype::Nvfp4)),
        (json!(null), None),
    ];
    for (scheme, dtype) in known {
        assert_eq!(read(&by(scheme.clone())).kv_dtype(), dtype, "{scheme}");
    }
    assert_eq!(refused(&by(json!({"num_bits": 2, "type": "int"}))).0, "kv_cache_scheme");
    assert_eq!(refused(&by(json!("FP3"))).0, "kv_cache_scheme");

    // vLLM goes by config.json alone where it has a description.
    let silent = json!({"quant_method": "modelopt", "quant_algo": "FP8"});
    let asks = json!({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}});
    let quantization = source(Some(&silent), Some(&asks)).expect("they agree");
    assert_eq!((quantization.kv_dtype(), quantization.notes().len()), (None, 1));
}

#[test]
fn packed_integers_have_scales_zero_points_and_an_order() {
    let awq = read(&json!({
        "quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true, "version": "gemm",
        "modules_to_not_convert": ["gate"]
    }));
    assert_eq!(bytes(&awq), [0.5 + 2.5 / 128.0, 0.5 + 2.5 / 128.0, 0.5 + 2.5 / 128.0, 2.0]);
    leaves_the_rest(&awq);

    let gptq = read(&json!({
        "quant_method": "gptq", "bits": 3, "group_size": -1, "desc_act": true, "sym": true, "lm_head": true,
        "dynamic": {r"-:.*\.3\.self_attn\..*": {}, r"+:.*\.mlp\.experts\..*": {"bits": 8, "group_size": 64}}
    }));
    assert_eq!(bytes(&gptq), [2.0, 3.0 / 8.0, 1.0 + 3.0 / 64.0, 3.0 / 8.0]);
    let row = gptq.format_of(MLP);
    assert_eq!((row.scales.grain, row.scales.column_bits), (Grain::Channel, 32));
    let only = json!({
        "quant_method": "gptq", "bits": 4, "group_size": 128,
        "modules_in_block_to_quantize": [["mlp.down_proj"], ["mlp.up_proj"]]
    });
    assert_eq!(bytes(&read(&only)), [2.0, 0.5 + 2.5 / 128.0, 2.0, 2.0]);
    assert_eq!(refused(&json!({"quant_method": "gptq", "bits": 5})).0, "bits");
    assert_eq!(refused(&json!({"quant_method": "awq"})).0, "bits");

    let auto_round = read(&json!({
        "quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": true, "data_type": "int",
        "extra_config": {"model.layers.3.self_attn.o_proj": {"bits": 16}, ".*experts.*": {"bits": 8}}
    }));
    assert_eq!(bytes(&auto_round), [2.0, 0.5 + 2.5 / 128.0, 1.0 + 3.0 / 128.0, 2.0]);
    let floats = json!({"quant_method": "auto-round", "bits": 4, "data_type": "mx_fp"});
    assert_eq!(refused(&floats).0, "data_type");
}

#[test]
fn hqq_has_one_description_or_one_a_kind_of_layer() {
    let params = |nbits: u32| json!({"nbits": nbits, "group_size": 64, "axis": 1});
    let plain = read(&json!({
        "quant_method": "hqq", "skip_modules": ["lm_head"],
        "quant_config": {"weight_quant_params": params(4), "scale_quant_params": null, "zero_quant_params": null}
    }));
    assert_eq!(bytes(&plain), [0.5 + 4.0 / 64.0, 0.5 + 4.0 / 64.0, 0.5 + 4.0 / 64.0, 2.0]);
    let own = read(&json!({
        "quant_method": "hqq",
        "quant_config": {"self_attn.o_proj": {"weight_quant_params": params(8)},
            "mlp.down_proj": {"weight_quant_params": params(2), "zero_quant_params": {"nbits": 8}}}
    }));
    assert_eq!(bytes(&own), [1.0 + 4.0 / 64.0, 0.25 + 3.0 / 64.0, 2.0, 2.0]);
    assert_eq!(refused(&json!({"quant_method": "hqq"})).0, "quant_config");
}

#[test]
fn bitsandbytes_has_runs_of_64() {
    let config = |double: bool| {
        json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": double, "llm_int8_skip_modules": ["lm_head", "model.layers.3.mlp"]})
    };
    let doubly = 0.5 + (1.0 + 4.0 / 256.0) / 64.0;
    assert_eq!(bytes(&read(&config(true))), [doubly, 2.0, 2.0, 2.0]);
    assert_eq!(bytes(&read(&config(false)))[0], 0.5 + 4.0 / 64.0);
    let eight = read(&json!({"quant_method": "bitsandbytes", "load_in_8bit": true, "load_in_4bit": false}));
    assert_eq!(bytes(&eight), [1.0, 1.0, 1.0, 2.0]);
    assert_eq!(refused(&json!({"quant_method": "bitsandbytes"})).0, "load_in_4bit");
}

#[test]
fn quark_has_one_description_and_others_by_name() {
    let mxfp4 = json!({"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0"});
    let quark = read(&json!({
        "quant_method": "quark", "exclude": ["lm_head", "re:.*\\.3\\.self_attn\\..*", "*.mlp.gate"],
        "global_quant_config": {"weight": mxfp4, "input_tensors": {"dtype": "fp4", "is_dynamic": true}},
        "layer_quant_config": {"*mlp.experts*": {
            "weight": [{"dtype": "fp8_e4m3", "qscheme": "per_tensor"}, {"dtype": "int4", "qscheme": "per_channel"}],
            "input_tensors": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}}},
        "export": {"kv_cache_group": ["*k_proj"], "pack_method": "reorder"}
    }));
    assert_eq!(bytes(&quark), [2.0, 0.53125, 0.5, 2.0]);
    assert_eq!(quark.format_of(EXPERT).activations, Some(Dtype::Fp8));
    assert_eq!(quark.format_of(MLP).activations, Some(Dtype::Mxfp4));
    assert_eq!((quark.kv_dtype(), quark.notes().len()), (None, 1));
    // Only what is no expert is left alone.
    let experts = read(&json!({
        "quant_method": "quark", "exclude": ["re:^(?!.*\\.mlp\\.experts(?:\\.|$)).*$"],
        "global_quant_config": {"weight": mxfp4}
    }));
    assert_eq!(bytes(&experts), [2.0, 2.0, 0.53125, 2.0]);
    let odd = json!({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp5"}}});
    assert_eq!(refused(&odd).0, "global_quant_config.weight.dtype");
    assert_eq!(bytes(&read(&json!({"quant_method": "quark", "global_quant_config": {"weight": mxfp4}})))[3], 2.0);
}

#[test]
fn torchao_has_a_word_an_object_or_one_a_module() {
    let of = |quant_type: Value| bytes(&read(&json!({"quant_method": "torchao", "quant_type": quant_type})))[1];
    let object = |kind: &str, data: Value| json!({"default": {"_type": kind, "_data": data, "_version": 1}});
    assert_eq!(of(json!("int4_weight_only")), 0.5 + 4.0 / 128.0);
    assert_eq!(of(json!("int8wo")), 1.0);
    assert_eq!(of(object("Int4WeightOnlyConfig", json!({"group_size": 32}))), 0.5 + 4.0 / 32.0);
    assert_eq!(of(object("Float8WeightOnlyConfig", json!({}))), 1.0);
    let modules = object(
        "ModuleFqnToConfig",
        json!({"module_fqn_to_config": {
            "_default": {"_type": "Int8WeightOnlyConfig", "_data": {}},
            "model.layers.3.self_attn.o_proj": null,
            "re:.*experts.*": {"_type": "NVFP4WeightOnlyConfig", "_data": {}}
        }}),
    );
    let modules = read(&json!({"quant_method": "torchao", "quant_type": modules}));
    assert_eq!(bytes(&modules), [2.0, 1.0, 0.5625, 2.0]);
    assert_eq!(refused(&json!({"quant_method": "torchao", "quant_type": "autoquant"})).0, "quant_type");
    let kwargs =
        json!({"quant_method": "torchao", "quant_type": "int4_weight_only", "quant_type_kwargs": {"group_size": 64}});
    assert_eq!(bytes(&read(&kwargs))[1], 0.5 + 4.0 / 64.0);
}

#[test]
fn methods_of_one_format_have_it_where_they_quantise() {
    let of = |method: &str| bytes(&read(&json!({"quant_method": method})));
    let mxfp4 = json!({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]});
    assert_eq!(bytes(&read(&mxfp4)), [2.0, 2.0, 0.53125, 2.0]);
    assert_eq!(of("fbgemm_fp8"), [1.0, 1.0, 1.0, 2.0]);
    assert_eq!(of("experts_int8"), [2.0, 2.0, 1.0, 2.0]);
    assert_eq!(of("mxfp8"), [1.03125, 1.03125, 1.03125, 2.0]);
    assert_eq!(of("bitnet"), [0.25, 0.25, 0.25, 2.0]);
}

#[test]
fn a_method_that_is_not_known_is_refused_by_name() {
    for method in ["aqlm", "vptq", "higgs", "spqr", "fp_quant", "exl2", "gguf", "quanto"] {
        let (key, message) = refused(&json!({"quant_method": method, "bits": 4}));
        assert_eq!(key, "quant_method");
        assert!(message.starts_with(&format!("{method} is not known")), "{message}");
    }
    assert_eq!(refused(&json!({"bits": 4})).0, "quant_method");
    assert_eq!(refused(&json!({"quant_method": 4})).0, "quant_method");
    let nothing = source(None, None).expect("not quantised");
    assert_eq!((bytes(&nothing), nothing.kv_dtype()), ([2.0; 4], None));
}

proptest! {
    /// A matrix of packed integers takes what its tensors do: words of 32 bits, scales, zero points, an index.
    #[test]
    fn packed_integers_take_what_their_tensors_do(
        bits in prop::sample::select(vec![2u64, 4, 8]),
        group in prop::sample::select(vec![32u64, 64, 128]),
        groups in 1u64..40,
        words in 1u64..100,
    ) {
        let (inputs, outputs) = (group * groups, words * (32 / bits));
        let gptq = read(&json!({"quant_method": "gptq", "bits": bits, "group_size": group})).format_of(MLP);
        let qweight = inputs / (32 / bits) * outputs * 4;
        let (scales, qzeros, g_idx) = (groups * outputs * 2, groups * words * 4, inputs * 4);
        prop_assert_eq!(gptq.matrix_bytes(outputs, inputs), (qweight + scales + qzeros + g_idx) as f64);
        let packed = read(&json!({
            "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                "num_bits": bits, "type": "int", "strategy": "group", "group_size": group, "symmetric": true}}}
        }));
        let shape = 16;
        prop_assert_eq!(packed.format_of(MLP).matrix_bytes(outputs, inputs), (qweight + scales + shape) as f64);
    }

    /// So does one of 4-bit floats: halves of bytes, a byte a group, what a matrix has once.
    #[test]
    fn four_bit_floats_take_what_their_tensors_do(outputs in 1u64..500, sixteens in 1u64..100) {
        let format = |algorithm: &str| {
            read(&json!({"quant_method": "modelopt", "quant_algo": algorithm})).format_of(MLP)
        };
        let inputs = 32 * sixteens;
        let (weight, weight_scale, two_scales) = (outputs * inputs / 2, outputs * inputs / 16, 8);
        let nvfp4 = (weight + weight_scale + two_scales) as f64;
        prop_assert_eq!(format("NVFP4").matrix_bytes(outputs, inputs), nvfp4);
        prop_assert_eq!(format("W4A16_MXFP4").matrix_bytes(outputs, inputs), (weight + outputs * inputs / 32) as f64);
    }

    /// Whatever a description holds, reading it gives formats or a refusal.
    #[test]
    fn no_description_makes_the_reader_panic(
        method in "(fp8|awq|gptq|quark|modelopt|torchao|hqq|bitsandbytes|compressed-tensors|[a-z]{1,6})",
        keys in prop::collection::vec(
            ("(bits|group_size|ignore|config_groups|quant_algo|quantized_layers|dynamic|quant_type|quant_config|\
               global_quant_config|weight_block_size|kv_cache_scheme|exclude|load_in_4bit|[a-z]{1,4})", values()),
            0..5,
        ),
    ) {
        let mut config = serde_json::Map::from_iter(keys);
        config.insert("quant_method".to_owned(), method.into());
        if let Ok(quantization) = source(Some(&Value::Object(config)), None) {
            quantization.format_of(EXPERT);
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(FP8|NVFP4|re:.*|Linear|int|float|\\*|\\PC{0,6})".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(
                "(weights|num_bits|type|group_size|weight|dtype|targets|default|_type|[a-z.*]{0,4})",
                inner,
                0..3
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

//! Look-ups by name.

use std::collections::BTreeSet;

use llmperforacle::catalog::Catalog;
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::weight_format::WeightFormat;
use oracle_systems::costing::weights::weight_bytes;

#[test]
fn a_model_is_found_by_any_of_its_names() {
    let catalog = Catalog::builtin();
    let name = |asked: &str| catalog.model(asked).map(|model| model.architecture.name.as_str());
    for asked in [
        "Llama3.1-8B",
        "llama3.1-8b",
        "meta-llama/Llama-3.1-8B-Instruct",
        "LLAMA-3.1-8B",
        "unsloth/Meta-Llama-3.1-8B-Instruct",
        "/models/Llama-3.1-8B",
        " Llama3.1-8B ",
    ] {
        assert_eq!(name(asked), Some("Llama3.1-8B"), "{asked}");
    }
    assert_eq!(name("Qwen/Qwen3-14B"), Some("Qwen3-14B"));
    assert_eq!(name("GPT-OSS-20b"), Some("gpt-oss-20B"));
    for asked in ["", "/", "Llama3.1-9B", "Llama"] {
        assert_eq!(name(asked), None, "{asked}");
    }
}

#[test]
fn a_name_may_say_that_weights_are_quantised() {
    let catalog = Catalog::builtin();
    for (asked, base, dtype) in [
        ("Qwen/Qwen3-8B-FP8", "Qwen3-8B", Dtype::Fp8),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "Qwen3-30B-A3B-2507", Dtype::Fp8),
        ("RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8-dynamic", "Llama3.1-70B", Dtype::Fp8),
        ("nvidia/Llama-3.1-8B-Instruct-FP8", "Llama3.1-8B", Dtype::Fp8),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "Llama3.1-8B", Dtype::Int8),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", "Qwen2.5-72B", Dtype::Int4),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen2.5-7B", Dtype::Int4),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "Llama3.1-8B", Dtype::Int4),
        ("nvidia/Qwen3-30B-A3B-NVFP4", "Qwen3-30B-A3B", Dtype::Nvfp4),
    ] {
        let found = catalog.architecture(asked).unwrap_or_else(|| panic!("{asked}"));
        let base = catalog.architecture(base).expect("a model of the catalog");
        // By their makers, a scale a block; by others, a row.
        let is_of_blocks = asked.starts_with("Qwen/Qwen3");
        let format = if is_of_blocks { WeightFormat::fp8_in_blocks(128) } else { WeightFormat::usual(dtype) };
        let expected = ModelArchitecture { weight_format: format, name: found.name.clone(), ..(*base).clone() };
        assert_eq!(*found, expected, "{asked}");
        assert!(weight_bytes(&found) < weight_bytes(&base));
    }
    assert_eq!(catalog.architecture("Qwen3-8B").map(|model| model.weight_format.dtype), Some(Dtype::Bf16));
    assert!(catalog.architecture("whisper-FP8").is_none());
}

#[test]
fn a_device_is_found_by_any_of_its_names() {
    let catalog = Catalog::builtin();
    let name = |asked: &str| catalog.device(asked).map(|device| device.spec.name.as_str());
    for (asked, found) in [
        ("h100", "H100-SXM-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80GB"),
        ("H100-PCIE", "H100-PCIe-80GB"),
        ("A100-80GB", "A100-SXM-80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("rtx_a6000", "RTX-A6000"),
        ("RTX PRO 6000", "RTX-PRO-6000"),
        ("Tesla T4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
        ("tpu-v6e", "TPU-v6e"),
        ("NVIDIA B300 SXM6 AC", "B300-SXM"),
        ("b300", "B300-SXM"),
        ("NVIDIA GB300", "GB300"),
        ("5090", "RTX-5090"),
        ("rtx 5090", "RTX-5090"),
        ("NVIDIA GeForce RTX 5090", "RTX-5090"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("NVIDIA H20", "H20-SXM-96GB"),
        ("NVIDIA H20-3e", "H20-SXM-141GB"),
        ("NVIDIA H800", "H800-SXM-80GB"),
        ("NVIDIA H800 PCIe", "H800-PCIe-80GB"),
        ("NVIDIA A800-SXM4-80GB", "A800-SXM-80GB"),
        ("NVIDIA A800 80GB PCIe", "A800-PCIe-80GB"),
        ("NVIDIA L20", "L20"),
        ("NVIDIA A30", "A30"),
        ("AMD Instinct MI355X", "MI355X"),
        ("mi350x", "MI350X"),
        ("TPU7x", "TPU-v7"),
        ("Ironwood", "TPU-v7"),
        ("trn2", "Trainium2"),
        ("AWS Trainium3", "Trainium3"),
    ] {
        assert_eq!(name(asked), Some(found), "{asked}");
    }
    assert_eq!(name("A1000"), None);
}

/// No two models, and no two devices, share a name, and none is listed twice.
#[test]
fn names_are_unique() {
    let catalog = Catalog::builtin();
    let mut names = BTreeSet::new();
    for device in catalog.devices() {
        for name in device.aliases.iter().chain([&device.spec.name]) {
            assert!(names.insert(name.to_lowercase().replace([' ', '_'], "-")), "{name}");
        }
    }
    for model in catalog.models() {
        for name in model.aliases.iter().chain([&model.architecture.name]) {
            let found = catalog.model(name).expect("an alias finds its model");
            assert_eq!(found.architecture.name, model.architecture.name, "{name}");
        }
    }
    for device in catalog.devices() {
        for name in device.aliases.iter().chain([&device.spec.name]) {
            let found = catalog.device(name).expect("an alias finds its device");
            assert_eq!(found.spec.name, device.spec.name, "{name}");
        }
    }
}

#[test]
fn an_unknown_name_has_near_ones() {
    let catalog = Catalog::builtin();
    assert_eq!(catalog.nearest_models("Qwen/Qwen2.5-7B-Instruct-AWQ", 1), ["Qwen2.5-7B"]);
    assert_eq!(catalog.nearest_models("NousResearch/Hermes-3-Llama-3.1-8B", 1), ["Llama3.1-8B"]);
    assert_eq!(catalog.nearest_models("lama3-8b", 1), ["Llama3-8B"]);
    assert_eq!(catalog.nearest_devices("H10O", 1), ["H100-SXM-80GB"]);
    assert_eq!(catalog.nearest_devices("RTX 4080", 1), ["RTX-4090"]);
    assert_eq!(catalog.nearest_devices("RTX 5080", 1), ["RTX-5090"]);
    assert_eq!(catalog.nearest_devices("trn4", 2), ["Trainium2", "Trainium3"]);
    assert!(catalog.nearest_models("whisper", 3).is_empty());
}

//! The catalog's numbers, each against something published or physical.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use llmperforacle::catalog::{Catalog, CatalogDevice, Figure};
use oracle_components::device::Efficiency;
use oracle_components::layers::Part;
use oracle_systems::costing::weights::{active_parameters, parameters};

#[test]
fn every_model_has_the_published_number_of_parameters() {
    let mut rows: Vec<(f64, String)> = Catalog::builtin()
        .models()
        .map(|model| {
            let (counted, published) = (parameters(&model.architecture), model.published_parameters.count);
            let error = counted as f64 / published as f64 - 1.0;
            let name = &model.architecture.name;
            (error, format!("{name:<18} {counted:>15} counted {published:>15} published {:>9.4} %", 100.0 * error))
        })
        .collect();
    rows.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    let table: Vec<&str> = rows.iter().take(10).map(|(_, row)| row.as_str()).collect();
    println!("the worst:\n{}", table.join("\n"));
    let wrong: Vec<&str> = rows.iter().filter(|(error, _)| error.abs() > 0.01).map(|(_, row)| row.as_str()).collect();
    assert!(wrong.is_empty(), "more than 1 % off:\n{}", wrong.join("\n"));
}

/// Makers give two digits, and mean by "activated" more or less the same.
#[test]
fn every_mixture_of_experts_uses_the_published_number_of_parameters() {
    let mut mixtures = 0;
    for model in Catalog::builtin().models() {
        let architecture = &model.architecture;
        let published = &model.published_parameters.active;
        let Some(published) = published else { continue };
        assert!(architecture.experts().is_some(), "{}", architecture.name);
        let embedding = u64::from(architecture.vocab) * u64::from(architecture.hidden);
        let counted = active_parameters(architecture) - if published.embedding { 0 } else { embedding };
        let error = counted as f64 / published.count as f64 - 1.0;
        println!(
            "{:<20} {counted:>12} counted {:>12} published {:>6.2} %",
            architecture.name,
            published.count,
            100.0 * error
        );
        assert!(error.abs() < 0.025, "{}: {counted} counted, {} published", architecture.name, published.count);
        mixtures += 1;
    }
    assert!(mixtures >= 10);
}

#[test]
fn every_model_is_whole() {
    for model in Catalog::builtin().models() {
        let architecture = &model.architecture;
        let name = &architecture.name;
        assert!(!architecture.layers.is_empty(), "{name}");
        for part in architecture.layers.kinds().iter().flat_map(|layer| &layer.parts) {
            match part {
                Part::Attention(attention) => {
                    assert!(attention.heads.is_multiple_of(attention.kv_heads) && attention.key_width >= 64, "{name}");
                }
                Part::Experts(experts) => assert!(experts.per_token <= experts.count, "{name}"),
                Part::Latent(_) | Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) => {}
            }
        }
        assert!(!model.source.is_empty() && !model.published_parameters.stated_in.is_empty(), "{name}");
    }
}

/// Chips that multiply 8-bit integers by the way only.
const FEW_INTEGERS: [&str; 2] = ["B300-SXM", "GB300"];

/// Physical bounds: a narrower type is never slower, memory is what the name says less what is reserved.
#[test]
fn every_device_is_within_reason() {
    for device in Catalog::builtin().devices() {
        let (name, peak) = (&device.spec.name, device.spec.peak_flops);
        let fp16 = peak.fp16.or(peak.bf16).expect("every device has a 16-bit type");
        assert!((60e12..3000e12).contains(&fp16), "{name}");
        assert!(peak.fp32.is_none_or(|fp32| fp32 < fp16), "{name}");
        let rising: Vec<f64> = [Some(fp16), peak.fp8, peak.fp4].into_iter().flatten().collect();
        assert!(rising.is_sorted(), "{name}: {rising:?}");
        assert_eq!(peak.int8.is_some_and(|int8| int8 < fp16), FEW_INTEGERS.contains(&name.as_str()), "{name}");
        assert!((1e11..1e13).contains(&device.spec.memory_bytes_per_s), "{name}");
        let labelled = name.rsplit_once('-').and_then(|(_, label)| label.strip_suffix("GB")?.parse::<f64>().ok());
        if let Some(gigabytes) = labelled {
            let gibibytes = device.spec.memory_bytes as f64 / f64::from(1 << 30);
            assert!((0.97..1.0).contains(&(gibibytes / gigabytes)), "{name}: {gibibytes} GiB");
        }
        assert!(!device.source.is_empty() && !device.memory_stated_by.is_empty(), "{name}");
        assert_eq!(device.spec.power.is_some(), device.power_stated_by.is_some(), "{name}");
        if let Some(power) = device.spec.power {
            // What the defaults for other boards are taken from.
            let (idle, decode) = (power.idle_w / power.tdp_w, power.decode_w / power.tdp_w);
            assert!((0.05..0.45).contains(&idle) && (0.5..=1.0).contains(&decode), "{name}: {idle} {decode}");
        }
        for link in device.peer_link.iter().chain([&device.host_link]) {
            assert!((15e9..2e12).contains(&link.bytes_per_s), "{name}");
            assert!(link.bytes_per_s_per_peer <= link.bytes_per_s, "{name}");
            assert!((1e-7..1e-5).contains(&link.latency_s), "{name}");
        }
    }
}

/// Devices that differ in name, links or memory only have one chip, which multiplies at one rate.
#[test]
fn the_same_chip_has_the_same_peaks() {
    let catalog = Catalog::builtin();
    let device = |name: &str| catalog.device(name).unwrap_or_else(|| panic!("{name}"));
    for (one, other) in [
        ("H800", "H100"),
        ("H800-PCIe", "H100-PCIe"),
        ("A800", "A100"),
        ("A800-PCIe", "A100-PCIe"),
        ("H20", "H20-3e"),
        ("H200", "H100"),
        ("A100-SXM-40GB", "A100"),
    ] {
        let (one, other) = (device(one), device(other));
        let name = &one.spec.name;
        assert_eq!(one.spec.peak_flops, other.spec.peak_flops, "{name}");
        assert_eq!(one.curves.curves.processors.to_bits(), other.curves.curves.processors.to_bits(), "{name}");
        assert_eq!(one.curves.curves.sustained, other.curves.curves.sustained, "{name}");
    }
    for (one, other) in [("H800", "H100"), ("A800", "A100"), ("H800-PCIe", "H100-PCIe"), ("A800-PCIe", "A100-PCIe")] {
        let (one, other) = (device(one), device(other));
        let name = &one.spec.name;
        assert_eq!((one.spec.memory_bytes, one.spec.power), (other.spec.memory_bytes, other.spec.power), "{name}");
        let link = |device: &CatalogDevice| device.peer_link.expect("NVLink").bytes_per_s / 1e9;
        assert!(link(one) < link(other) && (link(one) - 200.0).abs() < 1e-9, "{name}");
    }
    // By hand: multiprocessors, boost clock and FLOP a cycle of the white papers.
    for (name, by_hand) in [("RTX-5090", 170.0 * 2.407e9 * 512.0), ("RTX-6000-Ada", 142.0 * 2.505e9 * 1024.0)] {
        let peak = device(name).spec.peak_flops.bf16.expect("16 bits");
        assert!((peak / by_hand - 1.0).abs() < 1e-3, "{name}: {peak} {by_hand}");
    }
}

/// What a device sustains is no more than its peak, but for a card that clocks above what its white paper states.
#[test]
fn nothing_sustains_more_than_its_peak() {
    for device in Catalog::builtin().devices() {
        let shares = device.curves.curves.sustained;
        let fastest = Catalog::builtin().curve(&device.curves.name).expect("its own").curves.fastest;
        for share in [shares.gemm_share * fastest.gemm_share, shares.gemm_8bit_share * fastest.gemm_8bit_share] {
            assert!(share <= 1.0, "{}: {share}", device.spec.name);
        }
        if let Some(shares) = &device.constants {
            assert!([shares.mfu, shares.mbu].iter().all(|share| (0.1..0.95).contains(share)), "{}", device.spec.name);
            assert!(!shares.stated_by.is_empty());
        }
    }
}

/// What is no relation of a measured GPU is not priced by one's curve.
#[test]
fn accelerators_that_are_no_gpus_have_figures_of_their_own() {
    for device in Catalog::builtin().devices() {
        let name = device.spec.name.as_str();
        let is_of_its_own = name.starts_with("TPU") || name.starts_with("Trainium");
        assert_eq!(device.constants.is_some(), is_of_its_own, "{name}");
        assert_eq!(matches!(device.efficiency(), Efficiency::Constant { .. }), is_of_its_own, "{name}");
        assert_eq!(device.uncertain.why(Figure::Efficiency).is_some(), is_of_its_own, "{name}");
    }
}

/// A figure that nobody has measured says so by its statement, and one of two pages that differ by the file.
#[test]
fn estimates_are_uncertain_without_saying_it_twice() {
    let catalog = Catalog::builtin();
    let why = |name: &str, figure| catalog.device(name).expect("in the catalog").uncertain.why(figure);
    assert!(why("H100", Figure::PowerW).is_some_and(|why| why.starts_with("estimate")));
    assert!(why("B200", Figure::SustainedTflops).is_some_and(|why| why.contains("H100 SXM's shares")));
    assert!(why("GH200-144GB", Figure::MemoryGib).is_some_and(|why| why.starts_with("estimate")));
    assert!(why("B300", Figure::Fp4Tflops).is_some_and(|why| why.contains("13.5")));
    assert!(why("A6000", Figure::PowerW).is_none() && why("H100", Figure::SustainedTflops).is_none());
    assert!(why("H100", Figure::MemoryGib).is_none());
}

#[test]
fn every_catalog_file_is_embedded_under_the_name_it_has() {
    let catalog = Catalog::builtin();
    let folder = |name: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        let files = fs::read_dir(folder).expect("the catalog's folder is in the repository");
        files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    };
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let yaml = |name: &str| format!("{name}.yaml");
    for (name, files) in Catalog::embedded_files() {
        let files = owned(&files);
        assert_eq!(folder(name), files);
        let names: BTreeSet<String> = match name {
            "models" => catalog.model_names().map(yaml).collect(),
            "hardware" => catalog.device_names().map(yaml).collect(),
            "topologies" => catalog.topology_names().map(yaml).collect(),
            "efficiency" => catalog.curve_names().map(yaml).collect(),
            _ => catalog.fabrics().map(|fabric| yaml(&fabric.fabric.name)).collect(),
        };
        assert_eq!(files, names);
    }
}

/// By hand: 794.5 of 989.4 TFLOP/s are 0.890 of the 0.9027 that the curve's fastest products reach; an RTX 4090 keeps up.
#[test]
fn a_lasting_load_leaves_what_was_measured_of_it() {
    let catalog = Catalog::builtin();
    let sustained = |name: &str| catalog.device(name).expect("in the catalog").curves.curves.sustained;
    assert!((sustained("H100-SXM-80GB").gemm_share - 794.5 / 989.4 / 0.9027).abs() < 1e-4);
    assert!((sustained("A100-SXM-80GB").gemm_share - 271.2 / 312.0 / 0.952).abs() < 1e-4);
    for name in ["RTX-4090", "RTX-PRO-6000", "TPU-v6e"] {
        assert!(sustained(name).gemm_share >= 1.0, "{name}");
    }
    for device in catalog.devices() {
        let shares = device.curves.curves.sustained;
        for share in [shares.gemm_share, shares.gemm_8bit_share] {
            assert!((0.4..=1.0).contains(&share), "{}: {share}", device.spec.name);
        }
        let slows = shares.gemm_share < 1.0 || shares.gemm_8bit_share < 1.0;
        assert!(!slows || device.sustained_stated_by.is_some(), "{}", device.spec.name);
    }
}

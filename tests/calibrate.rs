//! `calibrate kernels`: known coefficients are found again, the committed ones are what the program finds, and mistakes in
//! files are told.

mod shared_files;

use std::fmt::Write;
use std::path::PathBuf;

use llmperforacle::calibrate::{Calibration, Fitted, KernelFiles, fit_kernels};
use llmperforacle::catalog::{Catalog, FitError};
use oracle_components::efficiency::{EfficiencyCurves, GemmCurve, Tiling};
use oracle_systems::costing::curves::{Gemm, Peaks, gemm_s};

/// Points that a fit takes here: the committed fits took all.
const MOST_POINTS: usize = 300;

fn fit(device: &str, files: &KernelFiles, base: &str) -> Fitted {
    let catalog = Catalog::builtin();
    let device = catalog.device(device).expect("a catalog device");
    let calibration = Calibration {
        device: &device.spec,
        processors: device.curves.curves.processors,
        layers_model: &catalog.model("Llama3.1-8B").expect("a catalog model").architecture,
        most_points: MOST_POINTS,
    };
    let base = &catalog.curve(base).expect("a catalog curve").curves;
    fit_kernels(files, &calibration, base).unwrap_or_else(|error| panic!("{error}"))
}

fn error<'a>(errors: &'a [FitError], operator: &str) -> &'a FitError {
    errors.iter().find(|error| error.operator == operator).unwrap_or_else(|| panic!("{operator} was measured"))
}

/// Measured kernels; `None`, said so, where they are not there.
fn shared(name: &str) -> Option<PathBuf> {
    shared_files::shared(&format!("data/kernels/{name}"))
}

#[test]
fn products_of_a_known_curve_are_predicted_to_a_percent() {
    let truth = GemmCurve {
        tiling: Tiling::Searched,
        compute_share: 0.7,
        halved_tile_share: 0.8,
        whole_wave_share: 0.9,
        memory_share: 0.75,
        reread_passes: 0.15,
        overlap_exponent: 3.0,
        launch_us: 6.0,
        depth_ns: 0.5,
        tile_start_depth: 100.0,
        split_us: 1.0,
        split_passes: 0.3,
        quantise_passes: 0.0,
        quantise_row_ns: 0.0,
        long_slowdown: 0.1,
    };
    let h100 = Catalog::builtin().device("H100").expect("a catalog name");
    let peaks = Peaks {
        flops_per_s: h100.spec.peak_flops.bf16.expect("it has a peak"),
        bytes_per_s: h100.spec.memory_bytes_per_s,
        processors: h100.curves.curves.processors,
    };
    let mut csv = "m,n,k,latency_ms\n".to_owned();
    for (m, n, k) in [1, 8, 64, 200, 1000, 4000].into_iter().flat_map(|m| {
        [512, 2048, 6144, 28_672].into_iter().flat_map(move |n| [512, 2048, 8192].into_iter().map(move |k| (m, n, k)))
    }) {
        let (rows, columns, depth) = (f64::from(m), f64::from(n), f64::from(k));
        let bytes = 2.0 * (columns * depth + rows * (columns + depth));
        let seconds = gemm_s(&truth, &peaks, &Gemm { rows, columns, depth, bytes });
        writeln!(csv, "{m},{n},{k},{}", seconds * 1e3).expect("a string takes it all");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gemm.csv");
    std::fs::write(&path, csv).expect("the folder is ours");
    let files = KernelFiles { gemm: Some(path), ..KernelFiles::default() };
    let fitted = fit("H100", &files, "A100-SXM");
    let FitError { median_pct, p90_pct, .. } = *error(&fitted.errors, "gemm");
    assert!(median_pct < 1.0 && p90_pct < 5.0, "{median_pct} %, {p90_pct} %: {:?}", fitted.curves.gemm);
    // What was not measured is taken over, on the device's own multiprocessors.
    let base = &Catalog::builtin().curve("A100-SXM").expect("a catalog curve").curves;
    assert_eq!((fitted.curves.sampler, fitted.curves.processors), (base.sampler, 132.0));
}

/// What is committed came out of this program: a coarser fit of the same data is about as good.
#[test]
fn committed_curves_are_those_that_the_measurements_give() {
    let Some(gemm) = shared("gemm_bf16_h100_sxm_vllm.csv") else { return };
    let folder = gemm.parent().expect("a folder");
    let file = |name: &str| Some(folder.join(name));
    let h100 = KernelFiles {
        gemm: Some(gemm.clone()),
        gemm_8bit: file("gemm_fp8_h100_sxm_vllm.csv"),
        prefill_attention: file("attn_prefill_h100_sxm_vllm.csv"),
        decode_attention: file("attn_decode_h100_sxm_vllm.csv"),
        experts: file("moe_vllm.csv"),
        experts_gpu: Some("h100_sxm".to_owned()),
        ..KernelFiles::default()
    };
    let a100 = KernelFiles {
        gemm: file("gemm_bf16_a100_sxm_vllm.csv"),
        prefill_attention: file("attn_prefill_a100_sxm_vllm.csv"),
        decode_attention: file("attn_decode_a100_sxm_vllm.csv"),
        experts: file("moe_vllm.csv"),
        experts_gpu: Some("a100_sxm".to_owned()),
        ..KernelFiles::default()
    };
    let rtx4090 =
        KernelFiles { layers: vec![(folder.join("layers-RTX4090-llama3.1-8b-tp1"), 1)], ..KernelFiles::default() };
    for (device, files, curve) in
        [("H100", h100, "H100-SXM"), ("A100", a100, "A100-SXM"), ("RTX-4090", rtx4090, "RTX-4090")]
    {
        let found = fit(device, &files, curve).errors;
        for FitError { operator, median_pct, p90_pct, points } in &found {
            let committed = error(&Catalog::builtin().curve(curve).expect("a catalog curve").errors, operator);
            assert_eq!(committed.points, *points, "{curve}, {operator}");
            assert!(
                committed.median_pct <= 1.2 * median_pct + 1.0,
                "{curve}, {operator}: found {median_pct} %, {p90_pct} %"
            );
            assert!(*median_pct <= 1.5 * committed.median_pct + 1.0, "{curve}, {operator}: found {median_pct} %");
        }
    }
}

#[test]
fn committed_curves_are_within_their_bounds() {
    let within = |curve: &str, operator: &str, median_pct: f64, p90_pct: f64| {
        let found = error(&Catalog::builtin().curve(curve).expect("a catalog curve").errors, operator);
        assert!(found.median_pct <= median_pct && found.p90_pct <= p90_pct, "{curve}: {found:?}");
    };
    for curve in ["H100-SXM", "A100-SXM", "RTX-4090", "RTX-PRO-6000"] {
        within(curve, "gemm, n and k from 1024", 5.0, 15.0);
        within(curve, "prefill_attention", 5.0, 20.0);
        within(curve, "decode_attention", 5.0, 20.0);
    }
    for curve in ["H100-SXM", "A100-SXM"] {
        within(curve, "decode_attention_multi_head", 5.0, 20.0);
    }
    within("A100-SXM", "gemm", 5.0, 15.0);
    within("H100-SXM", "gemm_8bit", 5.0, 15.0);
    within("H100-SXM", "decode_attention, 8-bit KV", 5.0, 20.0);
    within("RTX-4090", "attention, mixed batches", 5.0, 25.0);
    within("RTX-PRO-6000", "attention, mixed batches", 10.0, 30.0);
    within("A100-SXM", "experts", 5.0, 10.0);
    within("H100-SXM", "experts", 6.0, 20.0);
    within("H100-SXM", "experts_8bit", 6.0, 20.0);
}

/// Beside prompts nothing was measured on an A100: tiles are divided among its multiprocessors as on the card they are from.
#[test]
fn what_is_taken_over_is_a_multiprocessors_share() {
    let catalog = Catalog::builtin();
    let curves = |name: &str| &catalog.curve(name).expect("a catalog curve").curves;
    let (ours, theirs) = (curves("A100-SXM"), curves("RTX-4090"));
    for curve in [&ours.decode_attention, &ours.decode_attention_multi_head] {
        let of_processor = |ns: f64, curves: &EfficiencyCurves| ns * curves.processors;
        let of_theirs = &theirs.decode_attention;
        for (ns, their_ns) in
            [(curve.mixed_block_ns, of_theirs.mixed_block_ns), (curve.mixed_head_ns, of_theirs.mixed_head_ns)]
        {
            let (taken, from) = (of_processor(ns, ours), of_processor(their_ns, theirs));
            assert!(from > 0.0 && (taken / from - 1.0).abs() < 1e-3, "{taken} ns of {from} ns");
        }
        assert_eq!((curve.mixed_walk_ns, curve.mixed_rows), (of_theirs.mixed_walk_ns, of_theirs.mixed_rows));
    }
}

#[test]
fn a_file_that_makes_no_sense_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gemm.csv");
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&path, text).expect("the folder is ours");
        let mut command = assert_cmd::Command::cargo_bin("llmperforacle").expect("it is built");
        command.args(["calibrate", "kernels", "--device", "H100", "--gemm"]).arg(&path).args(more);
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = run("m,n,k,latency_ms\n1,512,512,0.01\n8,512,512,-1\n", &[]);
    assert!(code == Some(2) && told.contains("gemm.csv") && told.contains("line 3"), "{told}");
    let (code, told) = run("m,n,latency_ms\n1,512,0.01\n", &[]);
    assert!(code == Some(2) && told.contains("missing field `k`"), "{told}");
    let (code, told) = run("m,n,k,latency_ms\n1,16,16,0.01\n", &[]);
    assert!(code == Some(2) && told.contains("has no products of a model's size"), "{told}");
    for flag in ["--take-over-from", "--mixed-from"] {
        let (code, told) = run("m,n,k,latency_ms\n1,512,512,0.01\n", &[flag, "nobody"]);
        let known = "no efficiency curve \"nobody\"; known are A100-SXM, H100-SXM";
        assert!(code == Some(2) && told.contains(known), "{flag}: {told}");
    }
}

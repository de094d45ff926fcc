//! What is said before any figure: prices that rest on others' measurements, and settings that cost more than they bring.

use crate::Desk;

/// The notes of a run of four requests.
fn notes(desk: &Desk, flags: &str) -> Vec<String> {
    let summary = desk.summary(&format!("run --trace trace.csv {flags}"));
    let notes = summary["notes"].as_array().expect("a list").iter();
    notes.map(|note| note.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_price_by_anothers_curve_is_named_at_the_top() {
    let desk = Desk::small();
    assert_eq!(notes(&desk, "--model Llama3-8B --device H100"), Vec::<String>::new());
    let derived = notes(&desk, "--model Llama3-8B --device GH200-96GB");
    assert_eq!(
        derived,
        ["GH200-96GB is priced by the efficiency curve of H100-SXM: its own kernels were not measured"]
    );
    let told = desk.run("run --trace trace.csv --model Llama3-8B --device GH200-96GB");
    assert!(told.out.starts_with("Note        GH200-96GB is priced by"), "{}", told.out);
    let constant = notes(&desk, "--model Llama3-8B --device H100 --mfu 0.4");
    assert_eq!(constant, ["H100-SXM-80GB is priced at constant efficiency (mfu 0.4, mbu 0.8) for all kernels"]);
    let named = notes(
        &desk,
        "--model Llama3-8B --device H100 --set hardware_profile.compute_devices[0].efficiency_curve=A100-SXM",
    );
    assert_eq!(named, ["H100-SXM-80GB is priced by the efficiency curve of A100-SXM, which the configuration names"]);
}

#[test]
fn more_that_is_slower_is_a_hint() {
    let desk = Desk::small();
    let ranks = notes(&desk, "--model Qwen/Qwen3-0.6B --device RTX-4090 --tp 4");
    assert!(ranks.iter().any(|note| note.starts_with("hint: slower here with 4 tensor-parallel ranks")), "{ranks:?}");
    for flags in [
        "--model Qwen/Qwen3-0.6B-FP8 --device H100",
        "--model Qwen/Qwen3-0.6B --device H100 --set frameworks_to_test[0].config.kv_cache_dtype=fp8",
    ] {
        let narrow = notes(&desk, flags);
        assert!(
            narrow.iter().any(|note| note.starts_with("hint: slower here with") && note.contains("8-bit")),
            "{narrow:?}"
        );
    }
    // Eight tensor-parallel ranks of a large model are not.
    assert_eq!(notes(&desk, "--model Llama3-70B --device H100 --tp 8"), Vec::<String>::new());
}

//! Recorded runs of the cards whose layers are shared: with a table of them, predictions are nearer than by curve, or a percent off.
//! FIDELITY.md has the figures.

use serde_json::Value;

use crate::Desk;
use crate::shared_files::shared;

fn errors(run: &str, more: &str) -> Option<[f64; 2]> {
    let folder = shared(&format!("data/realruns/{run}"))?;
    let told = Desk::new().run(&format!("validate-run {} --format json {more}", folder.display()));
    assert_eq!(told.code, 0, "{}", told.err);
    let comparison: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    let error = |name: &str| {
        let metrics = comparison["metrics"].as_array().expect("a list");
        let metric = metrics.iter().find(|metric| metric["metric"] == name).expect("it was measured");
        metric["error_pct"].as_f64().expect("a prediction")
    };
    Some(["makespan_s", "e2e_ms.mean"].map(error))
}

#[test]
fn a_run_is_predicted_to_a_percent_or_nearer_than_by_curve_by_the_layers_of_its_card() {
    for (run, layers) in [
        ("rtxpro6000-llama3.1-8b-tp1", "layers-RTXPRO6000-llama3.1-8b-tp1"),
        ("rtx4090-llama3.1-8b-tp1-mns256", "layers-RTX4090-llama3.1-8b-tp1"),
    ] {
        let Some(folder) = shared(&format!("data/kernels/{layers}")) else { return };
        let table =
            format!("--efficiency-table layers=[{}] --efficiency-table layers_model=Llama3.1-8B", folder.display());
        let Some(by_table) = errors(run, &table) else { return };
        let Some(by_curve) = errors(run, "") else { return };
        println!("{run}: makespan and mean E2E are off by {by_table:.1?} % by table, {by_curve:.1?} % by curve");
        for (by_table, by_curve) in by_table.into_iter().zip(by_curve) {
            assert!(
                by_table.abs() < by_curve.abs().max(1.0) && by_table.abs() < 2.0,
                "{run}: {by_table} %, by curve {by_curve} %"
            );
        }
    }
}

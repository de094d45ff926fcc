//! `calibrate run`.

use serde_json::{Value, json};

use crate::{Desk, predicted, requests, small_run, table};

/// Short requests alone, then bursts of long ones: what the weights, the KV cache, the prompts and the host take of a step
/// differs, so that they can be told apart.
fn load() -> String {
    let alone = (0..40).map(|i| (f64::from(i) * 2.0, 150, 50));
    let bursts = (0..60).map(|i| (100.0 + 40.0 * f64::from(i / 20), 7000, 200));
    table(alone.chain(bursts))
}

#[test]
fn the_numbers_behind_a_run_are_found_again() {
    let desk = Desk::new();
    let (mfu, mbu, overhead_s) = (0.62, 0.71, 0.003);
    let wanted: Vec<String> = ["ttft_ms", "tpot_ms", "e2e_ms"]
        .iter()
        .flat_map(|name| ["mean", "p50", "p90", "p99"].map(|s| format!("{name}.{s}")))
        .collect();
    let mut measured = json!({});
    for name in &wanted {
        let (latency, statistic) = name.split_once('.').expect("of two parts");
        measured[latency][statistic] = json!(1);
    }
    let mut run = small_run(measured.clone());
    // Asynchronous scheduling would hide the host's time.
    run["engine"]["version"] = json!("0.12.0");
    run["device"] = json!("Tachyon 9000");
    run["device_spec"] = json!({"peak_bf16_tflops": 400, "memory_gb_per_s": 2000, "memory_gib": 48});
    desk.run_folder("made", &run, &load());
    let made = desk.json(&format!(
        "validate-run made --mfu {mfu} --mbu {mbu} --set frameworks_to_test[0].config.step_overhead_s={overhead_s}"
    ));
    for name in &wanted {
        let (latency, statistic) = name.split_once('.').expect("of two parts");
        measured[latency][statistic] = json!(predicted(&made, name));
    }
    run["measured"] = measured;
    desk.run_folder("made", &run, &load());

    let found = desk.json("calibrate run made");
    let number = |key: &str| found["fit"][key].as_f64().expect("a number");
    assert!((number("mfu") / mfu - 1.0).abs() < 0.05, "{}", found["fit"]);
    assert!((number("mbu") / mbu - 1.0).abs() < 0.05, "{}", found["fit"]);
    assert!((number("step_overhead_s") / overhead_s - 1.0).abs() < 0.1, "{}", found["fit"]);
    let rms = |when: &str| found["rms_log_error"][when].as_f64().expect("a number");
    assert!(rms("after") < 0.01 && rms("after") < rms("before") / 10.0);

    // What is printed is YAML of a configuration's keys, and says how good it is.
    let told = desk.run("calibrate run made");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("# Off before") && told.out.contains("peak_tflops: "), "{}", told.out);
    let yaml: Value = serde_saphyr::from_str(&told.out).expect("it is YAML");
    assert_eq!(yaml["hardware_profile"]["compute_devices"][0]["mfu"], found["fit"]["mfu"]);
    assert_eq!(yaml["frameworks_to_test"][0]["config"]["step_overhead_s"], found["fit"]["step_overhead_s"]);
}

#[test]
fn a_run_that_measures_nothing_cannot_be_fitted_to() {
    let desk = Desk::new();
    desk.run_folder("mute", &small_run(json!({"prefix_hit_pct": [5]})), &requests(5));
    let told = desk.run("calibrate run mute");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("measures no latency and no throughput"), "{}", told.err);
}

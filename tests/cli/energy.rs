//! Energy and money in a run's summary, table and time series.

use std::collections::BTreeMap;
use std::fs::File;

use arrow_array::Float64Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::{Desk, number};

/// Idle, decode and limit of an A100-SXM-80GB, in watts.
fn readings(desk: &Desk) -> [f64; 3] {
    let devices: Value = serde_json::from_str(&desk.run("devices A100-SXM-80GB --format json").out).expect("JSON");
    ["idle_w", "decode_w", "tdp_w"].map(|reading| number(&devices[0], &format!("/spec/power/{reading}")))
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

/// Of each GPU and engine in the time series: its kind, seconds, and what its columns add up to.
struct Sums {
    kind: String,
    seconds: f64,
    joules: f64,
    usd: f64,
    output_tokens: f64,
    /// Energy and cost by their figures a token.
    by_tokens: [f64; 2],
}

fn sums_of_series(desk: &Desk) -> BTreeMap<String, Sums> {
    let file = File::open(desk.path("output/small/timeseries.parquet")).expect("it is there");
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet").build().expect("it is whole");
    let mut sums = BTreeMap::new();
    for batch in batches {
        let batch = batch.expect("it is whole");
        let numbers = |name: &str| -> Float64Array {
            batch.column_by_name(name).expect("it is a column").as_primitive::<Float64Type>().clone()
        };
        let words = |name: &str| batch.column_by_name(name).expect("it is a column").as_string::<i32>().clone();
        let (names, kinds) = (words("name"), words("kind"));
        let columns = [
            "duration",
            "power_w",
            "cost_usd",
            "output_tokens",
            "joules_per_output_token",
            "usd_per_million_output_tokens",
        ];
        let columns = columns.map(numbers);
        for row in (0..batch.num_rows()).filter(|&row| kinds.value(row) != "link") {
            let [seconds, watts, usd, tokens, joules_a_token, usd_a_million] =
                [0, 1, 2, 3, 4, 5].map(|column: usize| columns[column].iter().nth(row).flatten().unwrap_or(0.0));
            let sum = sums.entry(names.value(row).to_owned()).or_insert_with(|| Sums {
                kind: kinds.value(row).to_owned(),
                seconds: 0.0,
                joules: 0.0,
                usd: 0.0,
                output_tokens: 0.0,
                by_tokens: [0.0; 2],
            });
            sum.seconds += seconds;
            sum.joules += watts * seconds;
            sum.usd += usd;
            sum.output_tokens += tokens;
            sum.by_tokens[0] += if tokens > 0.0 { joules_a_token * tokens } else { watts * seconds };
            sum.by_tokens[1] += if tokens > 0.0 { usd_a_million * tokens / 1e6 } else { usd };
        }
    }
    sums
}

#[test]
fn energy_follows_from_busy_time_and_flops_and_the_series_adds_up_to_it() {
    let desk = Desk::small();
    let summary = desk.summary("run small.yaml");
    let [idle_w, decode_w, tdp_w] = readings(&desk);
    let end_s = number(&summary, "/simulation/total_duration_s");
    let mut all_j = 0.0;
    for (gpu, sums) in sums_of_series(&desk).into_iter().filter(|(_, sums)| sums.kind == "gpu") {
        let of = |key: &str| number(&summary, &format!("/gpus/{gpu}/{key}"));
        let mean_w = idle_w + of("busy") * (decode_w - idle_w) + of("mfu") * (tdp_w - decode_w);
        assert!(close(mean_w, of("mean_power_w")) && mean_w > idle_w && mean_w < tdp_w, "{gpu}: {mean_w} W");
        // Intervals in which nothing happened have no row.
        let from_series_j = sums.joules + idle_w * (end_s - sums.seconds);
        assert!(close(from_series_j, of("energy_j")), "{gpu}: {from_series_j} J in the series");
        all_j += of("energy_j");
    }
    assert!(close(all_j, number(&summary, "/energy/gpu_energy_j")));
    // One server holds both.
    assert!(close(330.0 * end_s, number(&summary, "/energy/host_energy_j")));
    assert!(close(all_j + 330.0 * end_s, number(&summary, "/energy/server_energy_j")));
    assert!(desk.run("run small.yaml").out.contains("\nEnergy      "));
}

#[test]
fn servers_limits_and_prices_are_the_configurations() {
    let desk = Desk::small();
    let plain = desk.summary("run small.yaml");
    assert!(plain.get("cost").is_none(), "no price was given");
    let device = "hardware_profile.compute_devices[0]";
    let priced = desk.summary(&format!("run small.yaml --set {device}.price_per_gpu_hour_usd=3.6"));
    let end_s = number(&plain, "/simulation/total_duration_s");
    assert!(close(number(&priced, "/cost/usd"), 2.0 * end_s * 1e-3));
    let tokens: f64 =
        ["first", "second"].map(|engine| number(&plain, &format!("/engines/{engine}/output_tokens"))).iter().sum();
    assert!(close(number(&priced, "/cost/usd_per_million_output_tokens"), 2.0 * end_s * 1e3 / tokens));
    assert_eq!(priced["energy"], plain["energy"]);
    let two =
        desk.summary("run small.yaml --set hardware_profile.gpus_per_host=1 --set hardware_profile.host_power_w=100");
    assert_eq!(number(&two, "/energy/servers"), 2.0);
    assert!(close(number(&two, "/energy/host_energy_j"), 200.0 * end_s));
    // A board that draws the same whatever it does.
    let flat = desk.summary(&format!(
        "run small.yaml --set {device}.idle_power_w=300 --set {device}.decode_power_w=300 --set {device}.tdp_w=300"
    ));
    assert!(close(number(&flat, "/energy/gpu_energy_j"), 600.0 * end_s));
    let told = desk.run(&format!("run small.yaml --set {device}.idle_power_w=500"));
    assert!(told.code == 2 && told.err.contains("idle_power_w") && told.err.contains("≤ tdp_w"), "{}", told.err);
}

#[test]
fn the_series_adds_up_to_what_the_run_drew_and_cost() {
    let desk = Desk::small();
    let device = "hardware_profile.compute_devices[0]";
    for shared in ["", " --set frameworks_to_test[1].config.gpu_id=gpu0"] {
        let summary = desk.summary(&format!("run small.yaml --set {device}.price_per_gpu_hour_usd=3.6{shared}"));
        let end_s = number(&summary, "/simulation/total_duration_s");
        let [idle_w, ..] = readings(&desk);
        let sums = sums_of_series(&desk);
        let of_kind = |kind: &'static str| sums.iter().filter(move |(_, sums)| sums.kind == kind);
        let total = |kind, of: fn(&Sums) -> f64| of_kind(kind).map(|(_, sums)| of(sums)).sum::<f64>();
        let gpus = if shared.is_empty() { 2.0 } else { 1.0 };
        // Intervals in which nothing happened have no row, and each of the two engines has its part of the GPUs.
        let unseen_s = gpus * (end_s - total("engine", |sums| sums.seconds) / 2.0);
        assert!((0.0..gpus * end_s / 2.0).contains(&unseen_s), "{unseen_s} s of {end_s}");
        for kind in ["gpu", "engine"] {
            let usd = total(kind, |sums| sums.usd) + unseen_s * 1e-3;
            assert!(close(usd, number(&summary, "/cost/usd")), "{kind}: {usd} USD");
            let joules = total(kind, |sums| sums.joules) + unseen_s * idle_w;
            // The part that each of two engines keeps a GPU busy is rounded to whole nanoseconds.
            let told_j = number(&summary, "/energy/gpu_energy_j");
            assert!((joules / told_j - 1.0).abs() < 1e-8, "{kind}: {joules} J of {told_j}");
        }
        let [joules, usd] =
            [0, 1].map(|figure: usize| of_kind("engine").map(|(_, sums)| sums.by_tokens[figure]).sum::<f64>());
        assert!(close(joules, total("engine", |sums| sums.joules)) && close(usd, total("engine", |sums| sums.usd)));
        for (engine, sums) in of_kind("engine") {
            assert!(
                close(sums.output_tokens, number(&summary, &format!("/engines/{engine}/output_tokens"))),
                "{engine}"
            );
        }
    }
}

#[test]
fn a_device_of_unknown_draw_leaves_energy_out() {
    let desk = Desk::small();
    let sheet = "device_type: GPU, peak_tflops: {fp16: 312}, memory_gbps: 2039, memory_capacity_bytes: 80000000000";
    desk.write("own.yaml", &crate::SMALL.replace("device: A100-80GB", sheet));
    let told = desk.run("run own.yaml --format json");
    let summary: Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}", told.err));
    assert!(summary.get("energy").is_none());
    assert!(summary.pointer("/gpus/gpu0/energy_j").is_none());
    let limit = "run own.yaml --set hardware_profile.compute_devices[0].tdp_w=400";
    assert!(number(&desk.summary(limit), "/energy/gpu_energy_j") > 0.0);
}

//! `validate-points`.

use serde_json::Value;

use crate::Desk;

const HEAD: &str =
    "system,model_path,backend,backend_version,isl,osl,concurrency,tp_size,gemm_quant_mode,ttft_ms,tpot_ms,id";

#[test]
fn points_are_closed_loops() {
    let desk = Desk::new();
    let rows =
        [1, 4, 32].map(|clients| format!("h100_sxm,Qwen/Qwen3-8B,vllm,0.19.0,1000,100,{clients},1,,50,10,c{clients}"));
    desk.write(
        "points.csv",
        &format!("{HEAD}\n{}\nh100_sxm,Qwen/Qwen3-8B,sglang,1,1000,100,4,1,,50,10,x\n", rows.join("\n")),
    );
    let report = desk.json("validate-points points.csv");
    let points = report["points"].as_array().expect("a list");
    assert_eq!(points.len(), 3, "another engine's point is left out");
    let of = |point: &Value, metric: usize| point["metrics"][metric]["predicted"].as_f64().expect("a number");
    // More clients wait longer and decode slower; one alone has each step for itself.
    for pair in points.windows(2) {
        assert!(of(&pair[0], 0) <= of(&pair[1], 0) && of(&pair[0], 1) < of(&pair[1], 1), "{pair:?}");
    }
    let weights_ms = 16.4e9 / 3.35e12 * 1e3;
    assert!(of(&points[0], 1) > weights_ms);
    let medians = &report["median_abs_error_pct"]["groups"]["Qwen/Qwen3-8B bf16 on h100_sxm, tp 1"];
    assert_eq!(medians["points"], 3);
    let mut errors: Vec<f64> =
        points.iter().map(|point| point["metrics"][1]["error_pct"].as_f64().expect("a number").abs()).collect();
    errors.sort_by(f64::total_cmp);
    assert_eq!(medians["tpot_ms"].as_f64(), Some(errors[1]));
    let told = desk.run("validate-points points.csv");
    assert!(told.out.contains("median of |error|") && told.err.contains("1 points of another backend"), "{}", told.err);
}

/// A point with the day of its measurement and no version is `InferenceMAX`'s.
#[test]
fn a_dated_point_has_lengths_that_vary_and_an_8_bit_cache() {
    let desk = Desk::new();
    let head =
        "system,model_path,backend,backend_version,measured,precision,isl,osl,concurrency,tp_size,ttft_ms,tpot_ms";
    let row = |version: &str, day: &str, clients: u32| {
        format!("h200_sxm,meta-llama/Llama-3.1-70B,vllm,{version},{day},fp8,8192,1024,{clients},1,1,1")
    };
    let rows = [row("0.11.0", "", 1), row("", "2025-10-29", 1), row("0.11.0", "", 64), row("", "2025-10-29", 64)];
    desk.write("points.csv", &format!("{head}\n{}\n", rows.join("\n")));
    let told = desk.run("validate-points points.csv --format json");
    assert!(told.err.contains("2 points with a day and no version are taken for InferenceMAX's"), "{}", told.err);
    let report: Value = serde_json::from_str(&told.out).expect("JSON");
    let points = report["points"].as_array().expect("a list");
    let ttft_ms: Vec<f64> =
        points.iter().map(|point| point["metrics"][0]["predicted"].as_f64().expect("a number")).collect();
    // Ten prompts alone, of 0.8 to 1 of 8,192 tokens: 0.9 on average.
    let share = ttft_ms[1] / ttft_ms[0];
    assert!((0.84..0.95).contains(&share), "{share}");
    // 52 GB of cache hold some 20 of 64 clients' 9,000 tokens at 16 bits, and twice as many at 8.
    assert!(ttft_ms[3] < 0.6 * ttft_ms[2], "{ttft_ms:?}");
}

#[test]
fn a_batch_size_is_no_number_of_clients() {
    let desk = Desk::new();
    let head = "system,model_path,isl,osl,concurrency,batch_size,ttft_ms,tpot_ms";
    let rows = "h100_sxm,Qwen/Qwen3-8B,1000,100,,24,50,10\nh100_sxm,Qwen/Qwen3-8B,1000,100,4,24,50,10";
    desk.write("points.csv", &format!("{head}\n{rows}\n"));
    let told = desk.run("validate-points points.csv --format json");
    assert!(told.err.contains("1 points that state a batch_size and no concurrency are left out"), "{}", told.err);
    let report: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(report["points"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["points"][0]["concurrency"], 4);
}

#[test]
fn a_table_that_is_none_is_said_to_be() {
    let desk = Desk::new();
    let row = "h100_sxm,Qwen/Qwen3-8B,vllm,0.19.0,1000,100,4,1,,50,10,x";
    for (table, expected) in [
        ("system,isl\n".to_owned(), "points.csv:1: the header lacks model_path and osl and ttft_ms and tpot_ms"),
        (format!("{HEAD}\n"), "points.csv: has no rows"),
        (format!("{HEAD}\n{}\n", row.replace("1000", "long")), "points.csv:2: isl: is \"long\""),
        (format!("{HEAD}\n{}\n", row.replace(",4,1,", ",,1,")), "points.csv:2: concurrency"),
        (format!("{HEAD}\n{}\n", row.replace("Qwen3-8B", "Qwen9-8B")), "no model \"Qwen/Qwen9-8B\" in the catalog"),
        (format!("{HEAD}\n{}\n", row.replace("h100_sxm", "abacus")), "no device \"abacus\" in the catalog"),
    ] {
        desk.write("points.csv", &table);
        let told = desk.run("validate-points points.csv");
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{}", told.err);
        assert!(told.err.contains(expected), "{table}\n{}", told.err);
    }
    let told = desk.run("validate-points absent.csv");
    assert!(told.code == 2 && told.err.contains("absent.csv"), "{}", told.err);
}

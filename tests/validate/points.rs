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
    assert_eq!(points.len(), 4);
    assert_eq!((&points[2]["engine"], &points[3]["engine"]), (&"vLLM".into(), &"SGLang".into()));
    let points = &points[..3];
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
    assert!(told.out.contains("median of |error|"), "{}", told.out);
    assert!(told.err.contains("1 points: SGLang is not simulated"), "{}", told.err);
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
    let report: Value = serde_json::from_str(&told.out).expect("JSON");
    let points = report["points"].as_array().expect("a list");
    let origins: Vec<&str> = points.iter().filter_map(|point| point["origin"].as_str()).collect();
    assert_eq!(origins, ["AIConfigurator", "InferenceMAX", "AIConfigurator", "InferenceMAX"]);
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
    let skipped = "skipped: points.csv:2: batch_size: states a batch size and no concurrency";
    assert!(told.err.contains(skipped), "{}", told.err);
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

const TIDY: &str = "source,gpu,num_gpus,model,dtype,engine,version,disagg,spec,tp,dp,ep,dp_attention,isl,osl,concurrency,\
                    ttft_ms,tpot_ms,p99_tpot_ms,output_tok_s_per_gpu,weather";

/// A row that cannot be read costs itself alone, and is told with its line, column and reason.
#[test]
fn a_row_that_cannot_be_read_is_skipped_and_counted() {
    let desk = Desk::new();
    let good = "InferenceMAX,b200,2,openai/gpt-oss-120b,fp4,vllm,vllm/vllm-openai:v0.11.2,False,none,2,1,1,False,1024,1024,8,40,4,5,1000,fair";
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let rows = [
        good.to_owned(),
        with(",1024,1024,8,", ",lots,1024,8,"),
        with("b200,", "b900,"),
        with("gpt-oss-120b", "gpt-oss-121b"),
        with(",vllm,", ",abacus,"),
        with("False,none", "True,none"),
        with("False,none", "False,mtp"),
        with("b200,2,", "b200,8,"),
        with(",40,4,5,1000,", ",,,,,"),
        good.to_owned(),
        with(",8,40,", ",16,40,"),
        with(",fp4,", ",fp17,"),
    ];
    let text = format!("{TIDY}\n{}\n", rows.join("\n"));
    desk.write("windows.csv", &text.replace('\n', "\r\n"));
    desk.write("points.csv", &text);
    let told = desk.run("validate-points points.csv --format json");
    assert_eq!(told.code, 0, "{}", told.err);
    let windows = desk.run("validate-points windows.csv --format json").out.replace("windows", "points");
    assert_eq!(windows, told.out, "lines end as they like");
    let report: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(report["points"].as_array().map(Vec::len), Some(2), "{}", told.err);
    let skipped: Vec<(u64, String)> = report["skipped"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["line"].as_u64().expect("a line"), format!("{}: {}", row["key"], row["reason"])))
        .collect();
    for (line, reason) in [
        (3, "isl"),
        (4, "no device"),
        (5, "no model"),
        (6, "only points of vLLM, SGLang and TensorRT-LLM are understood"),
        (7, "pools of prefill and decode engines"),
        (8, "speculative decoding is not simulated"),
        (9, "is 8, but tp 2, pp 1 and dp 1 are 2"),
        (10, "nothing was measured"),
        (11, "same figures as in line 2"),
        (13, "no element type of weights that is known"),
    ] {
        let told = skipped.iter().find(|(at, _)| *at == line).unwrap_or_else(|| panic!("line {line} of {skipped:?}"));
        assert!(told.1.contains(reason), "{told:?} and {reason}");
    }
    assert_eq!(skipped.len(), 10);
    assert!(told.err.contains("columns that are not understood count for nothing: weather"), "{}", told.err);
    let metrics = report["points"][0]["metrics"].as_array().expect("a list");
    let names: Vec<&str> = metrics.iter().filter_map(|metric| metric["metric"].as_str()).collect();
    assert_eq!(names, ["ttft_ms", "tpot_ms", "tpot_ms.p99", "output_throughput_tok_s"]);
    assert_eq!(metrics[3]["measured"], 2000.0, "of both GPUs");
    let cohort = &report["cohorts"][0];
    assert_eq!(
        (&cohort["origin"], &cohort["engine"], &cohort["points"]),
        (&"InferenceMAX".into(), &"vLLM".into(), &2.into())
    );
    assert_eq!((&cohort["model_kind"], &cohort["dtype"]), (&"mixture of experts".into(), &"mxfp4".into()));
    assert_eq!(cohort["expert_kernels"], "w4a8_mxfp4_mxfp8 by trtllm");
}

/// Attention DP makes an engine a GPU, and shares the experts; an offline load is held against its throughput.
#[test]
fn attention_dp_and_offline_loads_are_points_too() {
    let desk = Desk::new();
    let row = |tp: u32, apart: &str| {
        format!(
            "InferenceMAX,b200,4,openai/gpt-oss-120b,fp4,vllm,0.11.2,False,none,{tp},1,4,{apart},1024,1024,64,40,4,5,1000,"
        )
    };
    desk.write("points.csv", &format!("{TIDY}\n{}\n{}\n", row(4, "False"), row(4, "True")));
    let report = desk.json("validate-points points.csv");
    let tpot = |point: usize| report["points"][point]["metrics"][1]["predicted"].as_f64().expect("a prediction");
    assert!((tpot(0) / tpot(1) - 1.0).abs() > 0.02, "{} and {}", tpot(0), tpot(1));
    let head =
        "source,gpu,num_gpus,model,dtype,engine,version,tp,pp,ep,isl,osl,load,num_requests,output_throughput_tok_s";
    let row = "perf-overview.md,H200,1,Llama-3.3-70B,fp8,trtllm,1.0 (pytorch backend),1,1,,128,128,\"offline, all at once\",600,3000";
    desk.write("offline.csv", &format!("{head}\n{row}\n"));
    let report = desk.json("validate-points offline.csv");
    let metric = &report["points"][0]["metrics"][0];
    assert_eq!(metric["metric"], "output_throughput_tok_s");
    let predicted = metric["predicted"].as_f64().expect("a prediction");
    assert!((1000.0..9000.0).contains(&predicted), "{predicted}");
}

#[test]
fn cohorts_are_printed_alone_and_of_several_files() {
    let desk = Desk::new();
    let row = "h100_sxm,Qwen/Qwen3-8B,vllm,0.19.0,1000,100,4,1,,50,10,x";
    desk.write("one.csv", &format!("{HEAD}\n{row}\n"));
    desk.write("two.csv", &format!("{HEAD}\n{}\n", row.replace("h100", "h200")));
    let told = desk.run("validate-points one.csv two.csv --cohorts --format csv");
    assert_eq!(told.code, 0, "{}", told.err);
    let lines: Vec<&str> = told.out.lines().collect();
    assert!(
        lines[0].starts_with("origin,engine,model_kind,dtype,expert_kernels,device,prices,points,tpot_median_pct"),
        "{}",
        told.out
    );
    assert_eq!(lines.len(), 3, "{}", told.out);
    for device in ["dense,bf16,,H100-SXM-80GB,measured,1,", "dense,bf16,,H200-SXM-141GB,derived,1,"] {
        assert!(told.out.contains(&format!("AIConfigurator,vLLM,{device}")), "{}", told.out);
    }
}

//! `validate-run` on runs that the tests make up.

use serde_json::{Value, json};

use crate::{Desk, metric, predicted, requests, small_run, table};

/// Any figures, so that there is a prediction for each.
fn everything() -> Value {
    let latencies = || json!({"mean": 1, "p50": 1, "p90": 1, "p95": 1, "p99": 1, "max": 1});
    json!({
        "makespan_s": 1, "request_throughput_rps": 1, "output_throughput_tok_s": 1, "drained_by_s": 1,
        "ttft_ms": latencies(), "tpot_ms": latencies(), "itl_ms": latencies(), "e2e_ms": latencies(),
    })
}

#[test]
fn a_run_is_predicted_as_the_same_deployment_is_simulated() {
    let desk = Desk::new();
    desk.run_folder("small", &small_run(everything()), &requests(200));
    let comparison = desk.json("validate-run small");
    let own = desk.json(
        "run --trace small/requests.csv --model Llama3.1-8B --device H100 --no-csv \
         --set frameworks_to_test[0].config.max_num_seqs=64 \
         --set frameworks_to_test[0].config.max_num_batched_tokens=2048 \
         --set frameworks_to_test[0].config.front_end=http \
         --set frameworks_to_test[0].config.step_overhead_s=0.0019 \
         --set frameworks_to_test[0].config.sequence_overhead_s=0.000044 \
         --set frameworks_to_test[0].config.async_scheduling=true",
    );
    let of_own = |pointer: &str| own.pointer(pointer).and_then(Value::as_f64).expect("a number");
    for (name, summary) in [
        ("ttft_ms", "time_to_first_token_ms"),
        ("tpot_ms", "time_per_output_token_ms"),
        ("e2e_ms", "end_to_end_latency_ms"),
        ("itl_ms", "inter_token_latency_ms"),
    ] {
        for statistic in ["mean", "p50", "p99", "max"] {
            let (ours, theirs) = (
                predicted(&comparison, &format!("{name}.{statistic}")),
                of_own(&format!("/latency/{summary}/{statistic}")),
            );
            assert!((ours / theirs - 1.0).abs() < 1e-3, "{name}.{statistic}: {ours} and {theirs}");
        }
    }
    let makespan = predicted(&comparison, "makespan_s");
    assert!((predicted(&comparison, "request_throughput_rps") - 200.0 / makespan).abs() < 1e-9);
    assert_eq!(predicted(&comparison, "drained_by_s"), makespan);
    assert_eq!(comparison["requests"], json!({"total": 200, "succeeded": 200}));
}

#[test]
fn what_is_printed_has_its_shape() {
    let desk = Desk::new();
    let measured = json!({
        "makespan_s": null, "ttft_ms": {"mean": 30.0, "p50": null}, "prefix_hit_pct": [1.5, 2.5],
        "server_energy_j": 5000, "made_up": {"deep": {"deeper": 3}}, "note": "words",
    });
    desk.run_folder("small", &small_run(measured), &requests(20));
    let comparison = desk.json("validate-run small");
    assert_eq!(comparison["run"], "small");
    let names: Vec<&str> =
        comparison["metrics"].as_array().into_iter().flatten().filter_map(|metric| metric["metric"].as_str()).collect();
    assert_eq!(
        names,
        ["ttft_ms.mean", "prefix_hit_pct.0", "prefix_hit_pct.1", "server_energy_j", "made_up.deep.deeper"]
    );
    let ttft = metric(&comparison, "ttft_ms.mean");
    let error = 100.0 * (ttft["predicted"].as_f64().expect("a number") / 30.0 - 1.0);
    assert!((ttft["error_pct"].as_f64().expect("a number") - error).abs() < 1e-9);
    // There is one engine, and nothing answers what nobody knows.
    for unanswered in ["prefix_hit_pct.1", "made_up.deep.deeper"] {
        let metric = metric(&comparison, unanswered);
        assert!(metric["predicted"].is_null() && metric["error_pct"].is_null(), "{metric}");
    }
    let several = desk.json("validate-run small small");
    assert_eq!(several.as_array().map(Vec::len), Some(2));

    let told = desk.run("validate-run small -o small.txt");
    assert_eq!((told.code, told.out.as_str()), (0, ""));
    let text = std::fs::read_to_string(desk.path("small.txt")).expect("it is written");
    assert!(text.contains("ttft_ms.mean") && text.contains("KV blocks"), "{text}");
    assert!(told.err.contains("measured.note"), "{}", told.err);
}

#[test]
fn single_requests_give_fifteen_statistics_their_worst_and_a_plot() {
    let desk = Desk::new();
    let rows = (0..40).map(|i| format!("{i},300,20,{},{},{}\n", 20 + i, 8.0 + f64::from(i) / 40.0, 400 + i));
    let table = format!(
        "arrival_s,prompt_tokens,output_tokens,real_ttft_ms,real_tpot_ms,real_e2e_ms\n{}100,300,20,,nan,\n",
        rows.collect::<String>()
    );
    desk.run_folder("small", &small_run(json!({})), &table);
    let comparison = desk.json("validate-run small --plot small.svg");
    let statistics = comparison["statistics"].as_array().expect("a list");
    assert_eq!(statistics.len(), 15);
    let size = |metric: &Value| metric["error_pct"].as_f64().expect("an error").abs();
    let worst = statistics.iter().map(size).fold(0.0, f64::max);
    assert_eq!(size(&comparison["worst_statistic"]), worst);
    // The 41st request was not measured by itself.
    assert_eq!(statistics[0]["measured"], 39.5);
    let svg = std::fs::read_to_string(desk.path("small.svg")).expect("it is drawn");
    assert_eq!(svg.matches("<circle").count(), 3 * 40);
    // A title; of each panel a caption and two axes, each with its name and at least three ticks.
    assert!(svg.matches("<text").count() > 3 * (1 + 2 * (1 + 3)), "{svg}");
    for (arguments, complaint) in [
        ("validate-run small --plot small.png", "name the file .svg"),
        ("validate-run small small --plot small.svg", "give one folder"),
    ] {
        let told = desk.run(arguments);
        assert_eq!(told.code, 2);
        assert!(told.err.contains(complaint), "{}", told.err);
    }
}

#[test]
fn ideal_hits_come_about_where_the_cache_forgets_nothing() {
    let desk = Desk::new();
    let mut table = "request_id,tenant,arrival_s,prompt_tokens,output_tokens,ideal_prefix_hit_tokens\n".to_owned();
    let (mut hits, mut prompts) = (0, 0);
    for i in 0..60_u32 {
        // Conversations of three turns, each of which repeats the prompt before it.
        let turn = i % 3;
        let (prompt, hit) = (400 + 320 * turn, if turn == 0 { 0 } else { 400 + 320 * (turn - 1) });
        table += &format!("{i},t{},{},{prompt},30,{}\n", i / 30, f64::from(i) * 2.0, hit / 16 * 16);
        hits += hit / 16 * 16;
        prompts += prompt;
    }
    desk.run_folder("turns", &small_run(json!({"prefix_hit_pct": [50.0], "ttft_ms": {"mean": 1}})), &table);
    let warm = desk.json("validate-run turns");
    let expected = 100.0 * f64::from(hits) / f64::from(prompts);
    assert!((predicted(&warm, "prefix_hit_pct.0") - expected).abs() < 1e-9);
    let cold = desk.json("validate-run turns --set frameworks_to_test[0].config.enable_prefix_caching=false");
    assert_eq!(predicted(&cold, "prefix_hit_pct.0"), 0.0);
    assert!(predicted(&cold, "ttft_ms.mean") > predicted(&warm, "ttft_ms.mean"));
}

#[test]
fn instances_share_the_load_and_ranks_share_the_model() {
    let desk = Desk::new();
    let measured = || json!({"e2e_ms": {"mean": 1}, "prefix_hit_pct": [1, 1, 1]});
    let e2e = |name: &str, instances: Value| {
        let mut run = small_run(measured());
        run["instances"] = instances;
        run["num_devices"] = Value::Null;
        // So many at once that one instance is busy.
        desk.run_folder(name, &run, &table((0..400).map(|i| (f64::from(i) / 200.0, 500, 50))));
        let comparison = desk.json(&format!("validate-run {name}"));
        predicted(&comparison, "e2e_ms.mean")
    };
    let one = e2e("one", json!([{"role": "both"}]));
    let three = e2e("three", json!([{"role": "both", "count": 2}, {"count": 1, "tp": 1}]));
    let replicas = e2e("replicas", json!([{"role": "both", "dp": 3}]));
    let wide = e2e("wide", json!([{"role": "both", "tp": 4}]));
    assert!(three < one && wide < one, "{one} alone, {three} on three, {wide} over four");
    assert!((three / replicas - 1.0).abs() < 1e-9);
}

#[test]
fn prefill_and_decode_pools_share_a_request() {
    let desk = Desk::new();
    let mut run = small_run(json!({"ttft_ms": {"mean": 1}, "itl_ms": {"p99": 1}}));
    run["instances"] = json!([{"role": "prefill", "count": 2}, {"role": "decode", "tp": 2}]);
    run["num_devices"] = json!(4);
    let load = table((0..200).map(|i| (f64::from(i) / 20.0, 4000, 100)));
    desk.run_folder("pools", &run, &load);
    run["instances"] = json!([{"role": "both"}]);
    run["num_devices"] = json!(1);
    desk.run_folder("one", &run, &load);
    let [pools, one] = ["pools", "one"].map(|name| desk.json(&format!("validate-run {name}")));
    assert_eq!(pools["requests"]["succeeded"], 200);
    // No prompt is computed between two tokens.
    assert!(predicted(&pools, "itl_ms.p99") < predicted(&one, "itl_ms.p99") / 3.0);

    // Devices that the catalog lacks are joined, too.
    run["instances"] = json!([{"role": "prefill", "tp": 2}, {"role": "decode"}]);
    run["device"] = json!("Tachyon 9000");
    run["device_spec"] = json!({"peak_bf16_tflops": 400, "memory_gb_per_s": 2000, "memory_gib": 48});
    desk.run_folder("unknown", &run, &load);
    assert_eq!(desk.json("validate-run unknown")["requests"]["succeeded"], 200);

    run["instances"] = json!([{"role": "prefill", "count": 2}]);
    desk.run_folder("half", &run, &load);
    let told = desk.run("validate-run half");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("no framework decodes what this one prefills"), "{}", told.err);
}

#[test]
fn pools_shared_experts_and_energy_are_predicted() {
    let desk = Desk::new();
    let instance = |role: &str, tp: u32, dp: u32, ep: u32| json!({"role": role, "count": 1, "tp": tp, "pp": 1, "dp": dp, "ep": ep});
    let experts = "Qwen/Qwen3-30B-A3B";
    for (name, model, instances) in [
        ("apart", "meta-llama/Llama-3.1-8B", json!([instance("prefill", 1, 1, 1), instance("decode", 1, 1, 1)])),
        ("ranks", experts, json!([instance("both", 2, 1, 2)])),
        ("engines", experts, json!([instance("both", 1, 2, 2)])),
    ] {
        let mut run = small_run(json!({"makespan_s": 1, "server_energy_j": 1}));
        run["model"] = json!(model);
        run["instances"] = instances;
        desk.run_folder(name, &run, &requests(50));
        let comparison = desk.json(&format!("validate-run {name}"));
        let (makespan_s, energy_j) = (predicted(&comparison, "makespan_s"), predicted(&comparison, "server_energy_j"));
        assert!(makespan_s > 0.0, "{name}");
        // Two boards of 120 to 700 W, and one server.
        let power_w = energy_j / makespan_s;
        assert!((2.0 * 120.0 + 330.0..2.0 * 700.0 + 330.0 + 1.0).contains(&power_w), "{name}: {power_w} W");
        assert_eq!(comparison["requests"], json!({"total": 50, "succeeded": 50}), "{name}");
    }
}

/// A client that never has more than two requests in flight, which holds the rest back: it is recorded when they were sent, upon
/// an answer, and not when they were due. A server that answers twice as fast is sent them twice as fast.
#[test]
fn a_client_that_was_held_back_is_simulated_as_one() {
    let desk = Desk::new();
    // Two at a time, whose answers take four seconds; ours take less.
    let rows = (0..20_u32).map(|i| format!("{},500,100,4000", f64::from(i / 2) * 4.0002));
    let table = format!("arrival_s,prompt_tokens,output_tokens,real_e2e_ms\n{}\n", rows.collect::<Vec<_>>().join("\n"));
    let makespan_s = |most: Value, table: &str| {
        let mut run = small_run(json!({"makespan_s": 40.0}));
        run["max_in_flight"] = most;
        desk.run_folder("run", &run, table);
        predicted(&desk.json("validate-run run"), "makespan_s")
    };
    let answer_s = makespan_s(json!(null), &table) - 9.0 * 4.0002;
    assert!((0.5..2.0).contains(&answer_s), "{answer_s}");
    let capped_s = makespan_s(json!(2), &table);
    assert!((capped_s / (10.0 * answer_s) - 1.0).abs() < 0.1, "{capped_s} and ten rounds of {answer_s}");
    // Where it was not recorded when answers ended, requests are sent as they were.
    let unknown = table.replace(",4000", ",");
    assert!((makespan_s(json!(2), &unknown) - 9.0 * 4.0002 - answer_s).abs() < 0.01);
}

#[test]
fn measurements_are_not_replaced_and_other_files_only_when_asked() {
    let desk = Desk::new();
    let rows = (0..40).map(|i| format!("{i},300,20,{},8.0,{}\n", 20 + i, 400 + i));
    let table = format!(
        "arrival_s,prompt_tokens,output_tokens,real_ttft_ms,real_tpot_ms,real_e2e_ms\n{}",
        rows.collect::<String>()
    );
    let run = small_run(json!({"ttft_ms": {"mean": 30.0}}));
    desk.run_folder("rr", &run, &table);
    desk.write("gemm.csv", "m,n,k,latency_ms\n1,6144,4096,0.0241\n256,6144,4096,0.0335\n8192,6144,4096,0.611\n");
    std::fs::hard_link(desk.path("gemm.csv"), desk.path("twin.txt")).expect("a link can be made");
    let texts = |names: [&str; 3]| names.map(|name| std::fs::read_to_string(desk.path(name)).expect("it is there"));
    let measured = ["rr/run.json", "rr/requests.csv", "gemm.csv"];
    let before = texts(measured);
    for (command, read) in [
        ("validate-run rr --requests rr/requests.csv", "rr/requests.csv"),
        ("validate-run rr -o rr/run.json", "rr/run.json"),
        ("validate-run rr -o gemm.csv --efficiency-table gemm=gemm.csv", "gemm.csv"),
        ("validate-points gemm.csv -o gemm.csv", "gemm.csv"),
        ("calibrate run rr --output rr/requests.csv", "rr/requests.csv"),
        ("calibrate run rr --output ./rr/run.json", "./rr/run.json"),
        ("calibrate kernels --device H100 --gemm gemm.csv --output gemm.csv", "gemm.csv"),
        ("calibrate kernels --device H100 --gemm gemm.csv --output twin.txt", "twin.txt"),
    ] {
        for overwrite in ["", " --overwrite"] {
            let told = desk.run(&format!("{command}{overwrite}"));
            assert!(
                told.code == 2 && told.err.contains(&format!("error: {read} is read by this run")),
                "{command}: {}",
                told.err
            );
            assert_eq!(texts(measured), before, "{command}");
        }
    }
    desk.write("mine.svg", "mine");
    for command in [
        "validate-run rr --requests mine.svg",
        "validate-run rr --plot mine.svg",
        "validate-run rr --output mine.svg",
        "calibrate kernels --device H100 --gemm gemm.csv --output mine.svg",
    ] {
        desk.write("mine.svg", "mine");
        let told = desk.run(command);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{command}: {}", told.err);
        let said = "error: mine.svg is there already; write elsewhere, or replace it with --overwrite";
        assert!(told.err.contains(said), "{command}: {}", told.err);
        assert_eq!(std::fs::read_to_string(desk.path("mine.svg")).expect("it is there"), "mine");
        let told = desk.run(&format!("{command} --overwrite"));
        assert_eq!(told.code, 0, "{command}: {}", told.err);
        assert!(std::fs::read_to_string(desk.path("mine.svg")).expect("it is there") != "mine", "{command}");
    }
}

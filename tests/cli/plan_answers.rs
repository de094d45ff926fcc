//! What `plan` says of its answers: prices, what is smaller, what cannot be mended, names, exit codes.

use serde_json::Value;

use crate::desk::Told;
use crate::{Desk, names_in, number};

const LOAD: &str = "--rate 5 --requests 200 --prompt-tokens lognormal:600:400 --output-tokens 60";

fn json_of(desk: &Desk, words: &str) -> Value {
    let told = desk.run(&format!("{words} --quiet --format json"));
    assert_eq!(told.code, 0, "{words}\n{}{}", told.out, told.err);
    serde_json::from_str(&told.out).expect("it is JSON")
}

/// What is printed, without its line breaks.
fn words_of(told: &Told) -> String {
    told.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

const SERVERS: &str = "\
simulation: {drain: true}
hardware_profile: {topology: {preset: DGX-H100, gpus_per_node: 4}}
workload:
  total_requests_to_generate: 200
  load: {rate: 5}
  client_profiles:
    - {profile_name: chat, prompt_tokens_dist_config: lognormal:600:400, max_output_tokens_dist_config: 60}
frameworks_to_test:
  - {name: vllm, type: VLLM, config: {model_profile_id: Llama3.1-8B, gpu_id: gpu0}}
";

/// GPUs of servers cost what listed ones do: by flag, by the file, by the list; for a run too.
#[test]
fn servers_have_prices_as_listed_devices_have() {
    let desk = Desk::small();
    desk.write("servers.yaml", SERVERS);
    desk.write("priced.yaml", &SERVERS.replace("gpus_per_node: 4", "gpus_per_node: 4, price_per_gpu_hour_usd: 3"));
    let usd = |words: &str| {
        let plan = json_of(&desk, &format!("plan {words} --slo ttft_p99=1s"));
        let answer = &plan["answers"][0];
        assert!(answer["usd_per_million_output_tokens"].as_f64().is_some_and(|usd| usd > 0.0), "{answer}");
        answer["usd_per_hour"].as_f64().expect("a price") / answer["gpus"].as_f64().expect("GPUs")
    };
    assert_eq!(usd("servers.yaml --price H100=9 --save saved"), 9.0);
    assert_eq!(usd("servers.yaml --device A100 --price A100=2"), 2.0);
    assert_eq!(usd("priced.yaml"), 3.0);
    assert_eq!(usd("priced.yaml --price H100-SXM-80GB=4"), 4.0);
    let listed = format!("{LOAD} --model Llama3.1-8B");
    assert_eq!(usd("servers.yaml"), usd(&format!("{listed} --device H100")));
    assert_eq!(usd("priced.yaml --device L40S"), usd(&format!("{listed} --device L40S")));

    let saved = names_in(&desk.path("saved"));
    let saved = saved.iter().find(|name| name.ends_with(".json") && !name.contains("k8s")).expect("it is there");
    let usd_of_run = |words: &str| {
        let summary = desk.summary(&format!("run {words} --output none --quiet"));
        number(&summary, "/cost/usd_per_million_output_tokens")
    };
    let ratio = usd_of_run(&format!("saved/{saved}")) / usd_of_run("priced.yaml");
    assert!((ratio / 3.0 - 1.0).abs() < 1e-9, "{ratio}");
}

#[test]
fn a_price_of_what_is_not_planned_is_refused() {
    let desk = Desk::small();
    desk.write("servers.yaml", SERVERS);
    let two = SERVERS.replace(
        "{topology: {preset: DGX-H100, gpus_per_node: 4}}",
        "{compute_devices: [{device_id: gpu0, device: H100}, {device_id: gpu1, device: L40S}]}",
    );
    desk.write("two.yaml", &two);
    let listed = format!("{LOAD} --model Llama3.1-8B");
    for (words, told) in [
        (
            format!("{listed} --device H100 --price A100=1"),
            "--price A100=1: what is planned is H100; name it with --device",
        ),
        ("servers.yaml --price A100=1".to_owned(), "--price A100=1: what is planned is H100-SXM-80GB;"),
        ("two.yaml --price H100=1".to_owned(), "write price_per_gpu_hour_usd at each device of two.yaml"),
        ("servers.yaml --set hardware_profile.topology.price_per_gpu_hour_usd=1".to_owned(), "give --price"),
    ] {
        let said = desk.run(&format!("plan {words} --slo ttft_p99=1s"));
        assert!(said.code == 2 && said.err.contains(told) && said.out.is_empty(), "{words}: {}{}", said.out, said.err);
    }
}

/// Engines that share experts have stages only where stages are asked for, and no plan goes through their number.
#[test]
fn engines_that_share_experts_are_no_dimension_of_a_plan() {
    let desk = Desk::small();
    let over = "--over frameworks_to_test[*].config.parallelism.dp_degree=1,2";
    let said = desk.run(&format!("plan {LOAD} --model gpt-oss-120B --device H100 --tp 8 {over} --slo ttft_p99=1s"));
    assert!(said.code == 2 && said.err.contains("which a plan counts by its base"), "{}", said.err);
    assert!(!said.err.contains("pipeline stages"), "{}", said.err);
    let run = |stages: u32, gpus: &str| {
        let config = SERVERS.replace("Llama3.1-8B, gpu_id: gpu0", "gpt-oss-120B").replace("VLLM", "ParallelVLLM");
        let parallelism = format!(
            "gpt-oss-120B, parallelism: {{strategy: TP_PP, tp_degree: 2, pp_stages: {stages}, dp_degree: 2, expert_parallel: true, gpu_ids: [{gpus}]}}"
        );
        desk.write("shared.yaml", &config.replace("gpt-oss-120B", &parallelism));
        desk.run("run shared.yaml --output none --quiet")
    };
    let one = run(1, "gpu0, gpu1, gpu2, gpu3");
    assert_eq!(one.code, 0, "{}", one.err);
    let two = run(2, "gpu0, gpu1, gpu2, gpu3");
    assert!(two.code == 2 && two.err.contains("have no pipeline stages"), "{}", two.err);
}

/// Of several ways to deploy fewer GPUs the largest is told, whatever its ranks.
#[test]
fn the_next_smaller_deployment_is_the_largest_of_all_that_were_tried() {
    let desk = Desk::small();
    let load =
        "--workload chat --rate 10 --requests 1000 --model gpt-oss-120B --device H100 --slo ttft_p99=1s,tpot_p99=50ms";
    let told = desk.run(&format!("plan {load} --tp 1,2 --quiet"));
    let words = words_of(&told);
    assert!(told.code == 0 && !words.contains("one replica is the least there is"), "{}{}", told.out, told.err);
    assert!(words.contains("with 1 GPU (TP 1 × 1) t"), "{}", told.out);
    let plan = json_of(&desk, &format!("plan {load} --tp 1,2"));
    let less = &plan["answers"][0]["next_smaller"];
    assert_eq!((&less["gpus"], &less["tensor_parallel"], &less["replicas"]), (&1.into(), &1.into(), &1.into()));
    let told = desk.run(&format!("plan {load} --tp 2 --quiet"));
    assert!(words_of(&told).contains("one replica is the least there is"), "{}", told.out);
}

#[test]
fn refused_prompts_are_told_with_the_limit_and_the_way_out() {
    let desk = Desk::small();
    desk.write("long.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,200000,20\n");
    let asked = "plan --trace long.csv --model Llama3.1-8B --device H100 --slo ttft_p99=1s";
    let told = desk.run(asked);
    let reason = "no number of replicas mends that: prompt_exceeds_max_model_len 1 (up to 200000 tokens, room for 131072): the model was \
                  not made for such contexts: take another one";
    assert!(told.code == 2 && words_of(&told).contains(reason), "{}{}", told.out, told.err);
    assert!(told.err.contains("no answer for Llama3.1-8B on H100: no number of replicas"), "{}", told.err);
    assert!(
        !told.err.contains("give more time") && told.err.contains("2 simulations of 1 deployments"),
        "{}",
        told.err
    );
    let told =
        desk.run(&format!("{} --set frameworks_to_test[*].config.max_model_len=90", asked.replace("8B", "70B --tp 4")));
    assert!(words_of(&told).contains("room for 90): "), "{}{}", told.out, told.err);
    let knee = desk.run(&format!("{asked} --max-rate --replicas 1"));
    assert!(knee.code == 2 && words_of(&knee).contains("no rate mends that engines refuse requests"), "{}", knee.out);
    // Of several engines the limit is that of the one which refuses.
    let two = SERVERS.replace("Llama3.1-8B, gpu_id: gpu0}}", "Llama3.1-8B, gpu_id: gpu0}}\n  - {name: two, type: VLLM, config: {model_profile_id: Llama3.1-8B, gpu_id: gpu1, max_model_len: 40}}");
    desk.write("two.yaml", &two);
    let knee = desk.run("plan two.yaml --max-rate --slo ttft_p99=1s");
    assert!(
        knee.code == 2 && words_of(&knee).contains("room for 40): raise max_model_len"),
        "{}{}",
        knee.out,
        knee.err
    );
    let short = desk.run(&format!("{asked} --set frameworks_to_test[*].config.max_model_len=90 --max-requests 1"));
    assert!(words_of(&short).contains("room for 90): raise max_model_len (--set"), "{}", short.out);
}

/// Rows are called by what they differ in, and each otherwise.
#[test]
fn no_two_rows_of_a_plan_are_called_alike() {
    let desk = Desk::small();
    let told = desk.run(
        "plan --workload chat --rate 40 --requests 300 --model Qwen3-14B --device H100 --tp 1,2 --quantization bf16,fp8 --max-num-seqs \
         32,256 --router round_robin,least_loaded --over frameworks_to_test[*].config.block_size=16 \
         --slo ttft_p99=800ms,tpot_p99=30ms --quiet",
    );
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    assert!(!told.out.contains('…') && !told.out.contains("load_balancing_strategy"), "{}", told.out);
    assert!(!told.out.contains("block_size"), "what does not vary is no part of a name: {}", told.out);
    let front = told.out.split("latencies:\n").nth(1).expect("there is a front");
    let mut lines = front.lines();
    let column = lines.next().and_then(|heads| heads.find("TP")).expect("a column after the names");
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in lines.take_while(|line| line.len() < column || !line[..column].trim().is_empty()) {
        let (name, figures) = line.split_at(column.min(line.len()));
        match rows.last_mut().filter(|_| name.starts_with("  ")) {
            Some((before, _)) => *before += name.trim_end(),
            None => rows.push((name.trim_end().to_owned(), figures.to_owned())),
        }
    }
    assert!(rows.len() > 1 && rows.iter().all(|(name, _)| name.contains("weight_dtype")), "{rows:?}");
    let ranks = |figures: &str| figures.split_whitespace().next().map(str::to_owned);
    let names: std::collections::BTreeSet<_> = rows.iter().map(|(name, figures)| (name, ranks(figures))).collect();
    assert_eq!(names.len(), rows.len(), "{}", told.out);
}

/// What has no answer is named, with the exit code of what cannot be done; the answers to the others are printed.
#[test]
fn whoever_has_no_answer_is_named() {
    let desk = Desk::small();
    let told =
        desk.run(&format!("plan {LOAD} --model Llama3.1-8B,Llama3.1-405B --device H100 --tp 1 --slo ttft_p99=1s"));
    assert!(told.code == 2 && told.out.contains("Llama3.1-8B on H100 × 1 "), "{}{}", told.out, told.err);
    assert!(told.err.contains("error: no answer for Llama3.1-405B on H100: "), "{}", told.err);
    assert!(!told.err.contains("nothing meets"), "{}", told.err);
    let told = desk.run(&format!(
        "plan {LOAD} --model Llama3.1-8B --device H100,L40S --rate-scale 1,2 --max-gpus 2 --slo ttft_p99=100ms --quiet"
    ));
    assert!(told.code == 2 && told.out.contains("Llama3.1-8B on H100 × 2 "), "{}{}", told.out, told.err);
    assert!(
        told.err
            .contains("nothing meets the SLO for Llama3.1-8B on L40S × 1; Llama3.1-8B on L40S × 2: the nearest miss"),
        "{}",
        told.err
    );
    let told = desk.run(&format!(
        "plan {LOAD} --model Llama3.1-8B --device H100,L40S --max-rate --replicas 1 --slo ttft_p99=90ms --quiet"
    ));
    assert!(
        told.code == 2 && told.err.contains("nothing meets the SLO for Llama3.1-8B on L40S, TP 1 × 1: "),
        "{}{}",
        told.out,
        told.err
    );
}

/// What cannot be is told with the way out that a run tells.
#[test]
fn what_is_not_tried_has_a_way_out() {
    let desk = Desk::small();
    let told = desk.run(&format!("plan {LOAD} --model Qwen3-32B --device H100 --tp 1,2 --slo ttft_p99=9s --quiet"));
    let words = words_of(&told);
    assert!(told.code == 0 && words.contains("Not tried vLLM refuses this: "), "{}{}", told.out, told.err);
    assert!(words.contains("; set max_model_len: ") && words.contains(", or auto, or raise"), "{}", told.out);
}

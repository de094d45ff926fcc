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
            "--price A100=1: what is planned is H100; give it a --device",
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

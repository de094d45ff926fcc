//! `plan` as a user meets it.

use serde_json::Value;

use crate::{Desk, names_in, number};

const QUESTION: &str = "plan --rate 30 --requests 300 --prompt-tokens lognormal:600:400 --output-tokens 60 --model Qwen2.5-0.5B --device L4 \
                        --max-gpus 4 --quiet";

/// What is saved runs as it was planned, and the command line is vLLM's.
#[test]
fn an_answer_that_is_saved_runs_with_the_same_figures() {
    let desk = Desk::new();
    let told = desk.run(&format!(
        "{QUESTION} --slo ttft_p99=300ms,tpot_p95=30ms --max-num-seqs 16,64 --quantization fp8 --save saved --format json"
    ));
    assert_eq!(told.code, 0, "{}", told.err);
    let plan: Value = serde_json::from_str(&told.out).expect("it is JSON");
    let answer = &plan["answers"][0];
    assert_eq!(answer["slo_met"], true);
    let saved = names_in(&desk.path("saved"));
    assert_eq!(saved.len(), 3, "{saved:?}");
    let named = |ending: &str| saved.iter().find(|name| name.ends_with(ending)).expect("it is there").clone();
    let configuration =
        saved.iter().find(|name| name.ends_with(".json") && !name.contains("k8s")).expect("it is there");
    let summary = desk.summary(&format!("run saved/{configuration} --output none --quiet"));
    let limits = answer["targets"].as_array().expect("targets");
    let planned: Vec<f64> = limits.iter().map(|target| target["value"].as_f64().expect("a value")).collect();
    assert_eq!(planned[0], number(&summary, "/latency/time_to_first_token_ms/p99"));
    // The summary keeps whole nanoseconds.
    assert!((planned[1] - number(&summary, "/latency/time_per_output_token_ms/p95")).abs() < 1e-6);
    let usd = answer["usd_per_million_output_tokens"].as_f64().expect("an L4 has a price");
    assert!((usd / number(&summary, "/cost/usd_per_million_output_tokens") - 1.0).abs() < 1e-9);
    let command = desk.read(&format!("saved/{}", named(".sh")));
    assert!(command.starts_with("vllm serve Qwen/Qwen2.5-0.5B"), "{command}");
    assert!(command.contains(" --quantization fp8") && command.contains(" --max-num-seqs "), "{command}");
    let manifest = desk.json(&format!("saved/{}", named(".k8s.json")));
    assert_eq!(manifest["items"][0]["spec"]["replicas"], answer["replicas"]);
    assert_eq!(
        manifest["items"][0]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"],
        1
    );
}

#[test]
fn a_file_of_flags_says_what_flags_say() {
    let desk = Desk::new();
    desk.write(
        "question.yaml",
        "rate: 30\nrequests: 300\nprompt_tokens: lognormal:600:400\noutput_tokens: 60\nmodel: Qwen2.5-0.5B\ndevice: [L4]\n\
         max_gpus: 4\nquiet: true\nslo: {ttft_p99: 300ms, tpot_p95: 30ms}\nover: {'frameworks_to_test[*].config.max_num_seqs': [16, 64]}\n",
    );
    let by_file = desk.run("plan question.yaml --format json");
    let by_flags = desk.run(&format!(
        "{QUESTION} --slo ttft_p99=300ms,tpot_p95=30ms --over frameworks_to_test[*].config.max_num_seqs=16,64 --format json"
    ));
    assert_eq!((by_file.code, &by_file.out), (0, &by_flags.out), "{}", by_file.err);
    desk.write("wrong.yaml", "rate: 30\nmodl: Qwen2.5-0.5B\n");
    let told = desk.run("plan wrong.yaml");
    assert!(told.code == 2 && told.err.contains("wrong.yaml") && told.err.contains("--model"), "{}", told.err);
}

#[test]
fn an_slo_that_nothing_meets_says_the_nearest_miss() {
    let desk = Desk::new();
    let told = desk.run(&format!("{QUESTION} --slo ttft_p99=1ms"));
    assert_eq!(told.code, 2);
    let words = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("nothing up to 4 GPUs meets the SLO; the nearest, TP 1, PP 1 on 4 GPUs, ttft_p99 is"),
        "{}",
        told.out
    );
    assert!(told.err.contains("nothing meets the SLO"), "{}", told.err);
}

#[test]
fn mistakes_in_a_question_say_the_way_out() {
    let desk = Desk::new();
    for (flags, told) in [
        ("", "give --slo"),
        ("--slo ttft_p99=1s --trace -", "name a file"),
        ("--slo ttft_p99=1", "write ttft_p99=1ms or ttft_p99=1s"),
        ("--slo speed=1s", "there are ttft, tpot, itl and e2e"),
        ("--slo ttft_p99=1s --price L4=cheap", "write DEVICE=USD"),
        ("--slo ttft_p99=1s --price L40Z=2", "did you mean"),
        ("--slo ttft_p99=1s --over max_num_seqs", "write KEY=VALUE"),
        ("--slo ttft_p99=1s --over frameworks_to_test[*].config.max_num_seqz=1,2", "did you mean max_num_seqs"),
        ("--slo ttft_p99=1s --rate-scale 0", "must be above 0"),
        ("--slo ttft_p99=1s --prices none.yaml", "none.yaml: cannot read the file"),
        ("--slo ttft_p99=1s --device L5", "no device \"L5\""),
    ] {
        let said = desk.run(&format!("{QUESTION} {flags}"));
        assert!(said.code == 2 && said.err.contains(told), "{flags}: {} {}", said.code, said.err);
    }
}

//! `plan` as a user meets it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{Desk, names_in, number};

const QUESTION: &str = "plan --rate 30 --requests 300 --prompt-tokens lognormal:600:400 --output-tokens 60 --model Qwen2.5-0.5B --device L4 \
                        --max-gpus 4 --quiet";

/// What is saved runs as it was planned, and the command line is vLLM's.
#[test]
fn an_answer_that_is_saved_runs_with_the_same_figures() {
    let desk = Desk::small();
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
    assert!(command.contains("\nvllm serve Qwen/Qwen2.5-0.5B "), "{command}");
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
    let desk = Desk::small();
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
    let desk = Desk::small();
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
    let desk = Desk::small();
    desk.write("question.file", "");
    for (flags, told) in [
        ("", "give --slo"),
        ("--slo ttft_p99=1", "write ttft_p99=1ms or ttft_p99=1s"),
        ("--slo speed=1s", "there are ttft, tpot, itl and e2e"),
        ("--slo ttft_p99=1s --price L4=cheap", "write DEVICE=USD"),
        ("--slo ttft_p99=1s --price L40Z=2", "did you mean"),
        ("--slo ttft_p99=1s --over max_num_seqs", "write KEY=VALUE"),
        ("--slo ttft_p99=1s --over frameworks_to_test[*].config.max_num_seqz=1,2", "did you mean max_num_seqs"),
        ("--slo ttft_p99=1s --rate-scale 0", "must be above 0"),
        ("--slo ttft_p99=1s --prices none.yaml", "none.yaml: cannot read the file"),
        ("--slo ttft_p99=1s --device L5", "no device \"L5\""),
        ("--slo ttft_p99=-1ms", "must be above 0"),
        ("--slo ttft_p99=NaNs", "must be above 0"),
        ("--slo ttft_p99=infs", "must be above 0"),
        ("--slo ttft_p99=1h", "write 500ms or 0.5s"),
        ("--slo ttft_p99=1s,", "has no ="),
        ("--slo ttft_p99=1s --model Qwen2.5-0.5", "did you mean Qwen2.5-0.5B?"),
        ("--slo ttft_p99=1s --model Qwen/Qwen2.5-0.5B", "--model has Qwen/Qwen2.5-0.5B twice, as Qwen2.5-0.5B"),
        ("--slo ttft_p99=1s --device H100,H100-SXM", "--device has H100-SXM twice, as H100"),
        ("--slo ttft_p99=1s --device L5,,H100", "--device has a value without a character"),
        ("--slo ttft_p99=1s --tp 1,2,1", "--tensor-parallel has 1 twice"),
        ("--slo ttft_p99=1s --rate-scale 2,2", "--rate-scale has 2 twice"),
        (
            "--slo ttft_p99=1s --rate-scale 1e9",
            "--rate-scale: error: workload.rate_scale: 1_000_000_000 is out of range",
        ),
        ("--slo ttft_p99=1s --rate-scale NaN", "must be above 0"),
        ("--slo ttft_p99=1s --max-num-seqs 8,8", "--max-num-seqs has 8 twice"),
        ("--slo ttft_p99=1s --over frameworks_to_test[*].config.max_num_seqs=1,", "a value is missing"),
        ("--slo ttft_p99=1s --over workload.load.rate=1,2", "would choose the lightest"),
        ("--slo ttft_p99=1s --set frameworks_to_test[0].replicas=2", "a plan sets it itself; give --replicas"),
        ("--slo ttft_p99=1s --set frameworks_to_test[0].config.parallelism.tp_degree=2", "give --tensor-parallel"),
        ("--slo ttft_p99=1s --window peak:1m", "--window: of no effect without a trace"),
        ("--slo ttft_p99=1s --max-rate", "give --replicas"),
        ("--slo ttft_p99=1s --max-rate --replicas 1,1", "--replicas has 1 twice"),
        ("--slo ttft_p99=1s --max-rate --replicas 500", "above --max-gpus"),
        ("--slo ttft_p99=1s --max-rate --replicas 1 --max-in-flight 8", "--max-rate needs a load with a rate"),
        ("--slo ttft_p99=1s --max-rate --replicas 1 --price H100=9", "cannot be used with"),
        ("--slo ttft_p99=1s --max-rate --replicas 1 --objective cost", "cannot be used with"),
        ("--slo ttft_p99=1s --price L4=1 --price L4=2", "L4 has a price already"),
        ("--slo ttft_p99=1s --save question.file", "question.file: it is a file"),
        ("--slo ttft_p99=1s --save question.file/below", "name a folder that can be written to"),
    ] {
        let said = desk.run(&format!("{QUESTION} {flags}"));
        assert!(said.code == 2 && said.err.contains(told), "{flags}: {} {}", said.code, said.err);
    }
}

/// What [`QUESTION`] asks, as a configuration.
const CONFIG: &str = "\
simulation: {drain: true}
hardware_profile: {compute_devices: [{device_id: gpu0, device: L4}]}
workload:
  total_requests_to_generate: 300
  load: {rate: 30}
  client_profiles:
    - {profile_name: flags, prompt_tokens_dist_config: lognormal:600:400, max_output_tokens_dist_config: 60}
frameworks_to_test:
  - {name: vllm, type: VLLM, config: {model_profile_id: Qwen2.5-0.5B, gpu_id: gpu0}}
";

fn json_of(desk: &Desk, words: &str) -> Value {
    let told = desk.run(&format!("{words} --format json"));
    assert_eq!(told.code, 0, "{words}\n{}{}", told.out, told.err);
    serde_json::from_str(&told.out).expect("it is JSON")
}

#[test]
fn a_configuration_is_planned_as_flags_that_say_the_same() {
    let desk = Desk::small();
    desk.write("c.yaml", CONFIG);
    let slo = "--slo ttft_p99=300ms,tpot_p95=30ms --rate-scale 1,2";
    for further in ["", " --max-num-seqs 16,64 --tp 1,2", " --device L4,H100", " --seed 7", " --repeat 3"] {
        let flags = QUESTION.replace(" --device L4", if further.contains("--device") { "" } else { " --device L4" });
        let by_flags = json_of(&desk, &format!("{flags} {slo}{further}"));
        let by_file = json_of(&desk, &format!("plan c.yaml --max-gpus 4 --quiet {slo}{further}"));
        for part in ["answers", "candidates", "runs"] {
            assert_eq!(by_file[part], by_flags[part], "{further}: {part}");
        }
        let notes = by_file["notes"].to_string();
        assert!(notes.contains("all is as c.yaml has it, but for replicas (1 there)"), "{notes}");
        assert_eq!(notes.contains("the device (L4 there)"), further.contains("--device"), "{notes}");
    }
    let knee = "--slo ttft_p99=300ms --max-rate --replicas 2 --quiet";
    let flags = QUESTION.replace(" --max-gpus 4 --quiet", "");
    let (by_flags, by_file) =
        (json_of(&desk, &format!("{flags} {knee}")), json_of(&desk, &format!("plan c.yaml {knee}")));
    assert_eq!(by_file["max_rates"], by_flags["max_rates"]);
}

/// Any deployment: gaps of profiles, follow-up turns, several frameworks, a horizon, a warm-up.
#[test]
fn the_highest_rate_of_a_configuration_is_that_of_its_runs() {
    let desk = Desk::small();
    let two = "  - {name: other, type: VLLM, replicas: 2, config: {model_profile_id: Qwen2.5-0.5B, gpu_id: gpu1, max_num_seqs: 32}}\n";
    let sessions = CONFIG
        .replace("drain: true", "max_simulation_time: 40, random_seed: 3")
        .replace("[{device_id: gpu0, device: L4}]", "[{device_id: gpu0, device: L4}, {device_id: gpu1, device: L4}]")
        .replace("  total_requests_to_generate: 300\n  load: {rate: 30}\n", "")
        .replace(
            "max_output_tokens_dist_config: 60}",
            "max_output_tokens_dist_config: 60, conversational_probability: 0.5, \
                  inter_arrival_time_dist_config: {type: Gamma, shape: 0.7, scale: 0.1}}",
        )
        .replace("workload:\n", "metrics_config: {warm_up_duration_s: 5}\nworkload:\n  total_duration: 30\n")
        + two;
    desk.write("c.yaml", &sessions);
    let found = json_of(&desk, "plan c.yaml --max-rate --slo ttft_p99=200ms,e2e_mean=3s --quiet");
    let notes = found["notes"].to_string();
    assert!(
        notes.contains("the deployment is that of c.yaml as it stands") && notes.contains("would stop at 40 s"),
        "{notes}"
    );
    let knee = &found["max_rates"][0];
    assert_eq!((&knee["replicas"], &knee["gpus"], &knee["slo_met"]), (&3.into(), &3.into(), &true.into()));
    let (met, missed) = (knee["rate_scale"].as_f64().expect("a rate"), knee["missed_at"].as_f64().expect("a rate"));
    assert!(met < missed && missed / met <= 1.01, "{knee}");
    for (scale, figures) in [(met, &knee["targets"]), (missed, &knee["missed"])] {
        let changed = sessions
            .replace("max_simulation_time: 40", "drain: true")
            .replace("  total_duration: 30\n", &format!("  total_duration: 30\n  rate_scale: {scale}\n"));
        desk.write("scaled.yaml", &changed);
        let summary = desk.summary("run scaled.yaml --output none --quiet");
        let is = |figure: &Value, key| {
            (figure["value"].as_f64().expect("a value") / number(&summary, key) - 1.0).abs() < 1e-9
        };
        assert!(is(&figures[0], "/latency/time_to_first_token_ms/p99"), "{figures} {}", summary["latency"]);
        assert!(is(&figures[1], "/latency/end_to_end_latency_ms/mean"), "{figures} {}", summary["latency"]);
    }
    let text = desk.run("plan c.yaml --max-rate --slo ttft_p99=200ms --quiet");
    assert!(text.out.contains(" requests/s, ") && text.out.contains("times the load's rate"), "{}", text.out);
    assert!(text.out.contains(" for 200 ms ("), "{}", text.out);
}

#[test]
fn a_saved_answer_to_a_configuration_runs_with_the_same_figures_and_its_command_line_has_all_that_is_set() {
    let desk = Desk::small();
    let config = CONFIG.replace("drain: true", "max_simulation_time: 12").replace(
        "gpu_id: gpu0}",
        "gpu_id: gpu0, version: \"0.24\", max_model_len: 16384, enable_prefix_caching: false, block_size: 32, mfu: 0.4, mbu: 0.7, \
         kv_cache_dtype: fp8}",
    );
    desk.write("c.yaml", &config);
    let words = "plan c.yaml --slo ttft_p99=300ms,tpot_p95=40ms --rate-scale 2 --max-num-seqs 48 --router least_loaded --quiet \
                 --set frameworks_to_test[0].config.gpu_memory_utilization=0.85";
    let plan = json_of(&desk, &format!("{words} --save saved"));
    let answer = &plan["answers"][0];
    let saved = names_in(&desk.path("saved"));
    assert_eq!(saved.len(), 3, "{saved:?}");
    let of = |ending: &str| saved.iter().find(|name| name.ends_with(ending)).expect("it is there");
    let configuration = saved.iter().find(|name| !name.ends_with(".sh") && !name.contains("k8s")).expect("it is there");
    let summary = desk.summary(&format!("run saved/{configuration} --output none --quiet"));
    assert_eq!(answer["targets"][0]["value"].as_f64(), Some(number(&summary, "/latency/time_to_first_token_ms/p99")));
    assert!(answer["replicas"].as_u64().is_some_and(|replicas| replicas > 1), "{answer}");
    let command = desk.read(&format!("saved/{}", of(".sh")));
    let line = command.lines().find(|line| line.starts_with("vllm serve ")).expect("a command");
    for (flag, value) in [
        ("--max-num-seqs", "48"),
        ("--max-model-len", "16384"),
        ("--no-enable-prefix-caching", ""),
        ("--block-size", "32"),
        ("--kv-cache-dtype", "fp8"),
        ("--gpu-memory-utilization", "0.85"),
    ] {
        assert!(line.contains(format!(" {flag} {value}").trim_end()), "{flag}: {command}");
    }
    assert!(!line.contains("tensor-parallel") && !line.contains("--watermark"), "{command}");
    for told in [
        "vLLM 0.24: ",
        "look at `vllm serve --help` of 0.24",
        "a load balancer before them: least_loaded",
        "no flag of vllm serve: mfu=0.4",
    ] {
        assert!(command.contains(told), "{told}: {command}");
    }
    let manifest = desk.json(&format!("saved/{}", of(".k8s.json")));
    let container = &manifest["items"][0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "vllm/vllm-openai:v0.24.0");
    assert!(container["args"].to_string().contains("\"--max-model-len\",\"16384\""), "{container}");
    validate(&desk, &desk.path(&format!("saved/{}", of(".k8s.json"))));
}

/// vLLM has a flag for what experts' kernels quantise since 0.23, and had a variable of the environment before.
#[test]
fn kernels_of_experts_are_asked_for_as_the_release_has_it() {
    let desk = Desk::small();
    let load = "--rate 1 --requests 10 --prompt-tokens 200 --output-tokens 20 --slo ttft_p99=9s --quiet";
    let command = |version: &str| {
        let key = "--set frameworks_to_test[0].config";
        let engine = format!("{key}.moe_backend=flashinfer_trtllm_afp8 {key}.version={version}");
        let told =
            desk.run(&format!("plan {load} --model gpt-oss-120b --device B200 --tp 2 {engine} --save {version}"));
        assert_eq!(told.code, 0, "{}", told.err);
        let script = names_in(&desk.path(version)).into_iter().find(|name| name.ends_with(".sh")).expect("a script");
        desk.read(&format!("{version}/{script}"))
    };
    let (before, since) = (command("0.22"), command("0.23"));
    assert!(before.contains("VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1 in the server's environment"), "{before}");
    let flags = " --moe-backend flashinfer_trtllm --quantization-config.moe.activation mxfp8";
    assert!(since.contains(flags) && !before.contains(flags), "{since}");
}

/// Kernels that a device lacks cost that deployment alone.
#[test]
fn kernels_that_a_device_lacks_are_not_tried_there() {
    let desk = Desk::small();
    let load = "--rate 1 --requests 10 --prompt-tokens 200 --output-tokens 20 --slo ttft_p99=9s --quiet";
    let over = "--over frameworks_to_test[*].config.moe_backend=marlin,flashinfer_trtllm";
    let told = desk.run(&format!("plan {load} --model gpt-oss-120b --device H100,B200 --tp 2 {over}"));
    assert_eq!(told.code, 0, "{}", told.err);
    let out = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let refused = "Not tried such kernels were not measured for the experts of gpt-oss-120B on gpu0; leave moe_backend out, or write triton or \
         marlin: gpt-oss-120b on H100, moe_backend flashinfer_trtllm, TP 2, PP 1";
    assert!(out.contains(refused), "{}", told.out);
    let accuracies = told.out.lines().filter(|line| line.contains("accuracy: ")).count();
    assert!(accuracies >= 2, "{}", told.out);
}

#[test]
fn a_replica_that_spans_servers_has_a_command_line_and_no_manifest() {
    let desk = Desk::small();
    let config = CONFIG
        .replace("{compute_devices: [{device_id: gpu0, device: L4}]}", "{topology: {preset: DGX-H100, nodes: 2}}")
        .replace("type: VLLM, config: {", "type: ParallelVLLM, config: {")
        .replace("gpu_id: gpu0", "parallelism: {strategy: TP_PP, tp_degree: 1, pp_stages: 1, gpu_ids: [gpu0]}")
        .replace("Qwen2.5-0.5B", "Llama3.1-70B");
    desk.write("c.yaml", &config);
    let plan = json_of(&desk, "plan c.yaml --tp 8 --pp 2 --slo ttft_p99=9s --max-gpus 32 --quiet --save saved");
    assert_eq!((&plan["answers"][0]["gpus"], &plan["answers"][0]["replicas"]), (&16.into(), &1.into()));
    let saved = names_in(&desk.path("saved"));
    assert_eq!(saved.len(), 2, "{saved:?}");
    let command =
        desk.read(&format!("saved/{}", saved.iter().find(|name| name.ends_with(".sh")).expect("it is there")));
    assert!(command.contains(" --tensor-parallel-size 8 --pipeline-parallel-size 2"), "{command}");
    assert!(command.contains("# a replica has 16 GPUs and a server 8"), "{command}");
}

/// Holds each object of a manifest against Kubernetes' schemas.
fn validate(desk: &Desk, manifest: &Path) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-venv/bin/kubernetes-validate");
    let candidates = [own.display().to_string(), "kubernetes-validate".to_owned()];
    let is_there =
        |tool: &&String| Command::new(tool).arg("--help").output().is_ok_and(|output| output.status.success());
    let Some(tool) = candidates.iter().find(is_there) else {
        eprintln!("skipped: no kubernetes-validate (.ci/run installs it into target/python-venv)");
        return;
    };
    let list: Value = serde_json::from_slice(&std::fs::read(manifest).expect("it is there")).expect("it is JSON");
    let items = list["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2);
    for (number, item) in items.iter().enumerate() {
        let name = format!("item{number}.yaml");
        desk.write(&name, &item.to_string());
        let output = Command::new(tool).arg("--strict").arg(desk.path(&name)).output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
    }
}

#[test]
fn what_of_a_configuration_cannot_be_planned_is_refused_with_the_way_out() {
    let desk = Desk::small();
    desk.write("c.yaml", CONFIG);
    let second = "  - {name: two, type: VLLM, config: {model_profile_id: Qwen2.5-0.5B, gpu_id: gpu1}}\n";
    let gpus = "[{device_id: gpu0, device: L4}, {device_id: gpu1, device: L4}]";
    let two = CONFIG.replace("[{device_id: gpu0, device: L4}]", gpus) + second;
    desk.write("two.yaml", &two);
    desk.write(
        "pools.yaml",
        &two.replace("name: vllm,", "name: vllm, role: prefill,").replace("name: two,", "name: two, role: decode,"),
    );
    desk.write("closed.yaml", &CONFIG.replace("{rate: 30}", "{concurrency: 4}"));
    desk.write("sheet.yaml", &CONFIG.replace("device: L4}", "device: L4, memory_gbps: 250}"));
    let link = "network_links: [{link_id: up, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 1e9, latency_s: 0}], ";
    desk.write("links.yaml", &CONFIG.replace("compute_devices:", &format!("{link}compute_devices:")));
    let servers = CONFIG.replace(
        "{compute_devices: [{device_id: gpu0, device: L4}]}",
        "{topology: {preset: DGX-H100, gpus_per_node: 2}}",
    );
    desk.write("servers.yaml", &servers);
    desk.write("stdin.yaml", &CONFIG.replace("  load: {rate: 30}\n", "  trace: {path: \"-\"}\n").replace(
        "  client_profiles:\n    - {profile_name: flags, prompt_tokens_dist_config: lognormal:600:400, max_output_tokens_dist_config: 60}\n",
        "",
    ));
    desk.write("wrong.yaml", &CONFIG.replace("gpu_id: gpu0}", "gpu_id: gpu0, max_num_sequences: 3}"));
    desk.write("untaken.yaml", &CONFIG.replace("name: vllm,", "name: vllm, is_target_for_workload: false,"));
    desk.write("both.yaml", &(CONFIG.to_owned() + "slo: {ttft_p99: 1s}\n"));
    desk.write("list.yaml", "- rate: 3\n");
    desk.write("empty.yaml", "");
    desk.write("neither.yaml", "modell: x\nhardware: y\n");
    desk.write("twice.yaml", "rate: 3\nrate: 4\n");
    desk.write("nested.yaml", "rate: 3\nmodel: [[A]]\ndevice: {a: {b: 1}}\n");
    desk.write("bytes.yaml", "rate: [1, \n");
    for (words, told) in [
        ("two.yaml", "several frameworks that take requests"),
        ("two.yaml --max-rate --tp 2", "several frameworks that take requests"),
        ("pools.yaml", "ask for the highest rate of all together: plan --max-rate pools.yaml"),
        ("pools.yaml --max-rate --replicas 2", "prefill and decode pools"),
        ("c.yaml --disaggregate", "--disaggregate is for a plan without a configuration"),
        ("c.yaml --rate 4", "write --set 'workload.load.rate=4'"),
        ("c.yaml --trace t.csv --window peak:1m", "write --set 'workload.trace.path=t.csv'"),
        ("closed.yaml --max-rate", "--max-rate needs a load with a rate"),
        ("closed.yaml --rate-scale 1,2", "--rate-scale needs a load with a rate"),
        ("c.yaml --set frameworks_to_test[0].replicas=3", "a plan sets it itself"),
        ("c.yaml --set workload.rate_scale=3", "give --rate-scale"),
        ("c.yaml --over frameworks_to_test[*].replicas=1,2", "a plan sets it itself"),
        ("c.yaml --over workload.load.rate=1,2", "it is of the load"),
        ("c.yaml --max-num-seqs 8,16 --set frameworks_to_test[0].config.max_num_seqs=8", "given twice"),
        ("sheet.yaml --device H100", "memory_gbps: is the device's of the file, and --device names another"),
        (
            "links.yaml --tp 2",
            "links.yaml:2:35: error: hardware_profile.network_links: are all the links that there are",
        ),
        ("servers.yaml --tp 4", "hardware_profile.topology: has 2 GPUs"),
        ("stdin.yaml", "name a file"),
        ("wrong.yaml", "did you mean max_num_seqs"),
        ("both.yaml", "both.yaml:10:1: error: slo: is a flag, and simulation is a key of a configuration"),
        ("list.yaml", "list.yaml:1:1: error: this must be a mapping of keys"),
        ("empty.yaml", "empty.yaml"),
        ("neither.yaml", "hardware: is no flag, and no key of a configuration"),
        ("twice.yaml", "twice.yaml:2:1: error: rate: is given twice"),
        ("nested.yaml", "nested.yaml:3:1: error: device: this is no value of a flag"),
        ("bytes.yaml", "bytes.yaml"),
        ("none.yaml", "none.yaml: error: cannot read the file"),
        ("untaken.yaml", "frameworks_to_test"),
    ] {
        let said = desk.run(&format!("plan {words} --slo ttft_p99=1s"));
        assert!(
            said.code == 2 && said.err.contains(told) && said.out.is_empty(),
            "{words}: {} {}",
            said.code,
            said.err
        );
    }
    // As they stand, any of them has a highest rate.
    for config in ["two.yaml", "pools.yaml", "sheet.yaml", "links.yaml", "servers.yaml"] {
        let longer = "--set workload.total_requests_to_generate=3000";
        let said = desk.run(&format!("plan {config} {longer} --max-rate --slo ttft_p99=500ms"));
        let out = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.code == 0 && out.contains("times the load's rate; at"), "{config}: {out} {}", said.err);
    }
}

/// Loads that are no stream of requests which all succeed.
#[test]
fn odd_loads_have_answers_that_say_what_is_odd() {
    let desk = Desk::small();
    desk.write("one.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:01:51.0000000,100,10\n");
    let rest = "--model Qwen2.5-0.5B --device L4 --slo ttft_p99=1s --max-gpus 4 --quiet";
    for (words, code, told) in [
        ("--trace one.csv", 0, "one replica is the least there is"),
        (
            "--trace one.csv --max-rate --replicas 1",
            2,
            "the load is too short to say: its 1 requests come within 0.000 s",
        ),
        (
            "--rate 5 --requests 50 --prompt-tokens 50000 --output-tokens 9",
            2,
            "L4 × 1: 50 requests got no whole answer; no number of replicas mends that: prompt_exceeds_max_model_len 50 (up to 50000",
        ),
        (
            "--rate 5 --requests 50 --prompt-tokens 90 --output-tokens 1 --slo tpot_p99=9ms",
            0,
            "no request has a value for tpot_p99",
        ),
        ("--concurrency 8 --requests 50 --prompt-tokens 90 --output-tokens 9", 0, "one replica is the least there is"),
        ("--workload agent --rate 1 --requests 50 --repeat 2", 0, "over 2 seeds"),
        (
            "--workload mixed --rate 1 --requests 50 --over frameworks_to_test[*].config.scheduling_policy=fcfs,priority",
            0,
            "_policy",
        ),
    ] {
        let rest = if words.contains("--max-rate") { rest.replace(" --max-gpus 4", "") } else { rest.to_owned() };
        let said = desk.run(&format!("plan {words} {rest}"));
        let out = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.code == code && out.contains(told), "{words}: {} {}{}", said.code, said.out, said.err);
    }
    let said = desk.run(&format!("plan --trace - {rest}"));
    assert!(said.code == 2 && said.err.contains("standard input cannot be; name a file"), "{}", said.err);
    // What the load rests on is said.
    let said = desk.run(&format!("plan --workload agent --rate 1 --requests 50 {rest}"));
    assert!(said.err.contains("agent rests on a guess"), "{}", said.err);
}

#[test]
fn a_configuration_may_come_by_standard_input_and_a_saved_answer_is_one() {
    let desk = Desk::small();
    desk.write("c.yaml", CONFIG);
    let words = "--slo ttft_p99=300ms --max-gpus 4 --quiet --format json";
    let by_file = json_of(&desk, "plan c.yaml --slo ttft_p99=300ms --max-gpus 4 --quiet --save saved");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    let command = command.args(format!("plan - {words}").split_whitespace()).current_dir(desk.folder.path());
    let output = command.write_stdin(CONFIG).output().expect("it starts");
    let by_stream: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(by_stream["candidates"], by_file["candidates"]);
    let saved = names_in(&desk.path("saved"));
    let answer = saved.iter().find(|name| !name.ends_with(".sh") && !name.contains("k8s")).expect("it is there");
    let again = json_of(&desk, &format!("plan saved/{answer} --slo ttft_p99=300ms --max-gpus 4 --quiet"));
    assert_eq!(again["candidates"], by_file["candidates"]);
}

/// The value of a flag may have the name of the file of flags.
#[test]
fn a_file_of_flags_may_share_its_name_with_a_value() {
    let desk = Desk::small();
    desk.write("q", "rate: 30\nrequests: 50\nprompt_tokens: 90\noutput_tokens: 9\ndevice: L4\nslo: {ttft_p99: 300ms}\nquiet: true\n");
    let said = desk.run("plan --model Qwen2.5-0.5B q --slo e2e_mean=9s --format json");
    assert_eq!(said.code, 0, "{}", said.err);
    let plan: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(plan["answers"][0]["targets"].as_array().map(Vec::len), Some(2), "{}", said.out);
    let said = desk.run("plan --save q q --model Qwen2.5-0.5B");
    assert!(said.code == 2 && said.err.contains("--save q: it is a file"), "{}", said.err);
}

/// A load that is over before queues could grow says so beside the answer; one that lasts does not.
#[test]
fn a_short_load_is_told() {
    let desk = Desk::small();
    let short = "may be too small for a rate that lasts";
    let told = desk.run(&format!("{QUESTION} --slo ttft_p99=2s --format json"));
    assert!(told.code == 0 && !told.out.contains(short), "{}{}", told.out, told.err);
    let told = desk.run(&format!(
        "{} --slo ttft_p99=2s --format json",
        QUESTION.replace("--rate 30 --requests 300", "--rate 300 --requests 100")
    ));
    assert!(told.code == 0 && told.out.contains(short), "{}{}", told.out, told.err);
}

/// What is asked is no part of what is deployed.
#[test]
fn a_plan_chooses_no_seed_and_no_warm_up() {
    let desk = Desk::small();
    for key in ["simulation.random_seed", "metrics_config.warm_up_duration_s"] {
        let told = desk.run(&format!("{QUESTION} --slo ttft_p99=2s --over {key}=1,2"));
        assert!(told.code == 2 && told.err.contains("no part of a deployment"), "{}", told.err);
    }
}

/// Nothing is written through a link, and a folder that cannot be written is told before the search.
#[cfg(unix)]
#[test]
fn an_answer_is_saved_through_no_link() {
    let desk = Desk::small();
    let asked = format!("{QUESTION} --slo ttft_p99=2s --save saved");
    assert_eq!(desk.run(&asked).code, 0);
    let script = names_in(&desk.path("saved")).into_iter().find(|name| name.ends_with(".sh")).expect("it is there");
    let script = desk.path("saved").join(script);
    std::fs::remove_file(&script).expect("it can be removed");
    desk.write("precious.txt", "precious");
    std::os::unix::fs::symlink(desk.path("precious.txt"), &script).expect("a link can be made");
    let told = desk.run(&asked);
    assert!(told.code == 1 && told.err.contains("link"), "{}", told.err);
    assert_eq!(std::fs::read_to_string(desk.path("precious.txt")).expect("it is there"), "precious");
}

/// A config.json of a family that is not known, with the keys of a plain transformer.
const STRANGE: &str = r#"{"model_type": "strange", "hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 8, "intermediate_size": 4096, "vocab_size": 32000, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
    "rms_norm_eps": 1e-5, "tie_word_embeddings": false}"#;

/// What a model's file is read as is said of a plan as of a run, with the same words; of no file there is nothing to say it of.
#[test]
fn a_plan_assumes_a_family_as_a_run_does() {
    let desk = Desk::small();
    desk.write("strange.json", STRANGE);
    let load = "--rate 5 --requests 50 --prompt-tokens 200 --output-tokens 20 --device H100";
    let plan = |flags: &str| desk.run(&format!("plan {load} --slo ttft_p99=1s {flags}"));
    let refused = plan("--model strange.json");
    assert!(refused.code == 2 && refused.err.contains("strange is not known"), "{}", refused.err);
    assert!(refused.err.contains("--assume llama"), "{}", refused.err);
    let run = desk.run(&format!("run {load} --model strange.json --assume llama -o out"));
    assert_eq!(run.code, 0, "{}", run.err);
    let warning = run.err.lines().find(|line| line.contains("--assume")).expect("a warning").to_owned();
    assert!(
        warning.contains("strange is read as llama") && warning.contains("every figure rests on that"),
        "{warning}"
    );
    let note = desk.json("out/summary.json")["notes"][0].as_str().expect("a note").to_owned();
    assert!(note.starts_with("strange.json is read as a model of the family llama"), "{note}");
    let told = plan("--model strange.json --assume llama --format json");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.lines().any(|line| line == warning), "{}", told.err);
    let notes: Value = serde_json::from_str(&told.out).expect("it is JSON");
    assert!(notes["notes"].as_array().expect("a list").contains(&note.into()), "{}", notes["notes"]);

    // Of several families each is told.
    let told =
        plan("--model strange.json --over frameworks_to_test[*].config.assume_model_type=qwen2,llama --format json");
    assert_eq!(told.code, 0, "{}", told.err);
    let notes: Value = serde_json::from_str(&told.out).expect("it is JSON");
    for family in ["qwen2", "llama"] {
        assert!(
            notes["notes"].to_string().contains(&format!("read as a model of the family {family}")),
            "{}",
            notes["notes"]
        );
    }

    for model in ["Llama3-8B", "strange.json,Llama3-8B"] {
        let told = plan(&format!("--model {model} --assume llama"));
        let message = "--assume: error: frameworks_to_test[0].config.assume_model_type: says how a config.json is read, and \
                       Llama3-8B is a model of the catalog";
        assert!(told.code == 2 && told.err.contains(message) && told.out.is_empty(), "{}", told.err);
    }
    let told = desk.run(&format!("run {load} --model Llama3-8B --assume llama"));
    assert!(told.code == 2 && told.err.contains("Llama3-8B is a model of the catalog"), "{}", told.err);
    let told = plan("--model strange.json --assume lama");
    assert!(told.code == 2 && told.err.contains("did you mean llama"), "{}", told.err);
    let told =
        plan("--model strange.json --assume llama --over frameworks_to_test[*].config.assume_model_type=qwen2,llama");
    assert!(told.code == 2 && told.err.contains("--assume says it of all models"), "{}", told.err);
    // Flags behind --assume count as the user does.
    let told = desk.run(&format!("run {load} --model strange.json --assume llama --set no.such=1"));
    assert!(told.code == 2 && told.err.contains("--set #1: "), "{}", told.err);
}

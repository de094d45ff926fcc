//! What deploys an answer: vLLM's command line, and a Kubernetes manifest of it. Only vLLM is simulated, so only its flags are written.
//!
//! Flags are those of `vllm serve` in vllm/engine/arg_utils.py of the published packages 0.19.1 and 0.33.0. What a release does not have
//! yet is refused with the configuration (`config/resolve/frameworks/scheduler`). What of a configuration no flag stands for is told.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::answer::Answer;
use crate::catalog::Catalog;
use crate::config::versions::{Version, since};
use crate::config::{Resolved, framework_default};

const PORT: u16 = 8000;
/// The releases whose flags were read.
const READ: [&str; 2] = ["0.19", "0.33"];
/// Characters of a name in Kubernetes (RFC 1123).
const LONGEST_NAME: usize = 50;

/// Keys of a framework's configuration and the flags of `vllm serve` that take the same value.
const FLAGS: [(&str, &str); 15] = [
    ("max_num_seqs", "--max-num-seqs"),
    ("max_num_batched_tokens", "--max-num-batched-tokens"),
    ("max_num_active_seqs", "--max-num-active-seqs"),
    ("max_num_scheduled_tokens", "--max-num-scheduled-tokens"),
    ("max_num_queued_reqs", "--max-num-queued-reqs"),
    ("max_model_len", "--max-model-len"),
    ("gpu_memory_utilization", "--gpu-memory-utilization"),
    ("num_gpu_blocks_override", "--num-gpu-blocks-override"),
    ("block_size", "--block-size"),
    ("scheduling_policy", "--scheduling-policy"),
    ("long_prefill_token_threshold", "--long-prefill-token-threshold"),
    ("prefill_chunk_size", "--long-prefill-token-threshold"),
    ("prefill_schedule_interval", "--prefill-schedule-interval"),
    ("watermark", "--watermark"),
    ("stream_interval", "--stream-interval"),
];

/// Keys that are yes or no; each flag has its `--no-`.
const SWITCHES: [(&str, &str); 7] = [
    ("enable_prefix_caching", "enable-prefix-caching"),
    ("enable_chunked_prefill", "enable-chunked-prefill"),
    ("async_scheduling", "async-scheduling"),
    ("enforce_eager", "enforce-eager"),
    ("scheduler_reserve_full_isl", "scheduler-reserve-full-isl"),
    ("long_prefill_token_threshold_adaptive", "long-prefill-token-threshold-adaptive"),
    ("disable_custom_all_reduce", "disable-custom-all-reduce"),
];

/// Keys that say where the model runs, not how; parallelism is told by the answer and by [`PARALLEL`].
const PLACES: [&str; 4] = ["model_profile_id", "gpu_id", "version", "parallelism"];

/// Keys of `parallelism` beside ranks and stages.
const PARALLEL: [(&str, &str); 2] =
    [("dp_degree", "--data-parallel-size"), ("dcp_degree", "--decode-context-parallel-size")];

/// A command line of a framework: the words behind `vllm serve`, and what none of them stands for.
struct CommandLine {
    release: Version,
    words: Vec<String>,
    others: Vec<String>,
}

impl CommandLine {
    fn of(framework: &Value, answer: &Answer) -> Self {
        let release = Version::parse(&release(framework)).unwrap_or(Version::NEWEST);
        let mut line = Self { release, words: vec![hugging_face_name(&answer.model)], others: Vec::new() };
        for (ranks, flag) in
            [(answer.tensor_parallel, "--tensor-parallel-size"), (answer.pipeline_parallel, "--pipeline-parallel-size")]
        {
            if let Some(ranks) = ranks.filter(|&ranks| ranks > 1) {
                line.push(flag, &ranks.into());
            }
        }
        let empty = Map::new();
        let config = framework["config"].as_object().unwrap_or(&empty);
        line.add_parallelism(&config.get("parallelism").cloned().unwrap_or_default());
        for (key, value) in config.iter().filter(|(key, _)| !PLACES.contains(&key.as_str())) {
            if framework_default(key).is_none_or(|default| default != *value) {
                line.add(key, value);
            }
        }
        line
    }

    fn push(&mut self, flag: &str, value: &Value) {
        self.words.extend([flag.to_owned(), told(value)]);
    }

    fn switch(&mut self, flag: &str, is_on: bool) {
        self.words.push(if is_on { format!("--{flag}") } else { format!("--no-{flag}") });
    }

    fn add_parallelism(&mut self, keys: &Value) {
        for (key, flag) in PARALLEL {
            if let Some(degree) = keys[key].as_u64().filter(|&degree| degree > 1) {
                self.push(flag, &degree.into());
            }
        }
        if keys["expert_parallel"] == true {
            self.words.push("--enable-expert-parallel".to_owned());
        }
        match keys["all2all_backend"].as_str() {
            Some("allgather_reducescatter") => self.push("--all2all-backend", &keys["all2all_backend"]),
            Some(other) => self.others.push(format!("all2all_backend={other}: one of vLLM's --all2all-backend")),
            None => {}
        }
        let others = ["sequence_parallel", "expert_imbalance", "num_microbatches_per_request"];
        let others = others.into_iter().filter(|key| !keys[*key].is_null());
        self.others.extend(others.map(|key| format!("parallelism.{key}={}", told(&keys[key]))));
    }

    fn add(&mut self, key: &str, value: &Value) {
        if let Some((_, flag)) = FLAGS.iter().find(|(known, _)| *known == key) {
            self.push(flag, value);
        } else if let (Some((_, flag)), Some(is_on)) =
            (SWITCHES.iter().find(|(known, _)| *known == key), value.as_bool())
        {
            self.switch(flag, is_on);
        } else if key == "weight_dtype" {
            self.add_weights(value);
        } else if key == "kv_cache_dtype" {
            match value.as_str() {
                Some(kind @ ("auto" | "fp8" | "fp8_e4m3" | "fp8_e5m2")) => self.push("--kv-cache-dtype", &kind.into()),
                Some("bf16") => self.push("--kv-cache-dtype", &"bfloat16".into()),
                Some("fp16") => self.push("--kv-cache-dtype", &"float16".into()),
                _ => self.others.push(format!("kv_cache_dtype={}", told(value))),
            }
        } else if key == "moe_backend" {
            match value.as_str() {
                Some("flashinfer_trtllm_afp8") if self.release.has(since::EXPERT_ACTIVATIONS) => {
                    self.push("--moe-backend", &"flashinfer_trtllm".into());
                    self.push("--quantization-config.moe.activation", &"mxfp8".into());
                }
                Some("flashinfer_trtllm_afp8") => {
                    self.others.push("VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1 in the server's environment".to_owned());
                }
                _ => self.push("--moe-backend", value),
            }
        } else if key == "cudagraph_capture_sizes" {
            self.words.push("--cudagraph-capture-sizes".to_owned());
            self.words.extend(value.as_array().into_iter().flatten().map(told));
        } else {
            self.others.push(format!("{key}={}", told(value)));
        }
    }

    fn add_weights(&mut self, value: &Value) {
        match value.as_str() {
            Some("bf16") => self.push("--dtype", &"bfloat16".into()),
            Some("fp16") => self.push("--dtype", &"float16".into()),
            Some("fp32") => self.push("--dtype", &"float32".into()),
            Some("fp8") => self.push("--quantization", &"fp8".into()),
            // Other types come with the checkpoint.
            _ => self.others.push(format!("a checkpoint with {} weights", told(value))),
        }
    }
}

fn told(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The model's name on Hugging Face, as far as the catalog knows one.
fn hugging_face_name(model: &str) -> String {
    let known = Catalog::builtin().model(model);
    let alias = known.and_then(|known| known.aliases.iter().find(|alias| alias.contains('/')));
    // Of a config.json its folder, in which the weights are too.
    alias.cloned().unwrap_or_else(|| model.strip_suffix("/config.json").unwrap_or(model).to_owned())
}

/// The frameworks that take requests.
fn frameworks(resolved: &Resolved) -> impl Iterator<Item = &Value> {
    let all = resolved.canonical["frameworks_to_test"].as_array();
    all.into_iter().flatten().filter(|framework| framework["is_target_for_workload"] != false)
}

/// The release that a framework is of.
fn release(framework: &Value) -> String {
    let version = framework["config"]["version"].as_str().or(framework["version"].as_str());
    version.map_or_else(|| Version::NEWEST.to_string(), str::to_owned)
}

/// What no engine has a flag for: the router before them.
fn beside_the_engines(resolved: &Resolved) -> Option<String> {
    let routing = resolved.canonical["workload"]["load_balancing_strategy"].as_str()?;
    (resolved.scenario.engines.len() > 1).then(|| format!("a load balancer before them: {routing}"))
}

/// `vllm serve …` for a replica of each kind, with comments for what is set elsewhere.
#[must_use]
pub fn serve_command(answer: &Answer, resolved: &Resolved) -> String {
    let mut text = String::new();
    let mut others: Vec<String> = Vec::new();
    for framework in frameworks(resolved) {
        let line = CommandLine::of(framework, answer);
        let words: Vec<String> = line.words.iter().map(|word| quoted(word)).collect();
        let connector = match framework["role"].as_str() {
            Some("prefill") => {
                " --kv-transfer-config '{\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_producer\"}'"
            }
            Some("decode") => {
                " --kv-transfer-config '{\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_consumer\"}'"
            }
            _ => "",
        };
        let replicas = framework["replicas"].as_u64().unwrap_or(1);
        let _ = writeln!(
            text,
            "# vLLM {}: {replicas} of these\nvllm serve {}{connector}",
            release(framework),
            words.join(" ")
        );
        others.extend(line.others.into_iter().filter(|other| !others.contains(other)).collect::<Vec<_>>());
    }
    if answer.prefill_replicas.is_some() {
        text.push_str("# behind a router that sends a prompt to a producer first\n");
    }
    if let Some(release) = frameworks(resolved).map(release).find(|release| !READ.contains(&release.as_str())) {
        let _ = writeln!(
            text,
            "# flags are those of vLLM {}: look at `vllm serve --help` of {release}",
            READ.join(" and ")
        );
    }
    if let Some((of_replica, of_server)) = beyond_a_server(answer, resolved) {
        let _ = writeln!(
            text,
            "# a replica has {of_replica} GPUs and a server {of_server}: it spans several, which takes more than this line; no manifest"
        );
    }
    if let Some(beside) = beside_the_engines(resolved) {
        let _ = writeln!(text, "# {beside}");
    }
    for other in others {
        let _ = writeln!(text, "# simulated, and no flag of vllm serve: {other}");
    }
    text
}

/// GPUs of a replica, and of a server, if the replica does not fit into one.
fn beyond_a_server(answer: &Answer, resolved: &Resolved) -> Option<(u32, u32)> {
    let (of_replica, of_server) = (answer.gpus? / answer.replicas?, resolved.output.host.gpus);
    (of_replica > of_server).then_some((of_replica, of_server))
}

/// A Deployment of all replicas and a Service before them, as JSON, which `kubectl apply -f` reads as it does YAML; `None` where a pod is not
/// a replica: it takes more GPUs than a server has, or prefill and decode are apart, before which there is a router that differs from one
/// platform to the next.
#[must_use]
pub fn kubernetes_manifest(answer: &Answer, resolved: &Resolved) -> Option<String> {
    let framework = frameworks(resolved).next()?;
    if answer.prefill_replicas.is_some() || beyond_a_server(answer, resolved).is_some() {
        return None;
    }
    let gpus = answer.gpus? / answer.replicas?;
    let name = kubernetes_name(&answer.model);
    let labels = json!({ "app": name });
    let CommandLine { words, others, .. } = CommandLine::of(framework, answer);
    let others: Vec<String> = others.into_iter().chain(beside_the_engines(resolved)).collect();
    let port = PORT.to_string();
    let arguments: Vec<String> = words.into_iter().chain(["--port".to_owned(), port]).collect();
    let container = json!({
        "name": "vllm",
        "image": format!("vllm/vllm-openai:v{}.0", release(framework)),
        // Newer images have the model as the first argument, as `vllm serve` has.
        "command": ["vllm", "serve"],
        "args": arguments,
        "ports": [{ "containerPort": PORT, "name": "http" }],
        "resources": { "limits": { "nvidia.com/gpu": gpus }, "requests": { "nvidia.com/gpu": gpus } },
        "readinessProbe": {
            "httpGet": { "path": "/health", "port": PORT },
            "periodSeconds": 10,
            "failureThreshold": 120,
        },
        "volumeMounts": [{ "name": "shared-memory", "mountPath": "/dev/shm" }],
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": { "llmperforacle/device": answer.device, "llmperforacle/not-in-vllm-serve": others.join("; ") },
        },
        "spec": {
            "replicas": answer.replicas.unwrap_or(1),
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [container],
                    // Ranks of a replica meet in shared memory.
                    "volumes": [{ "name": "shared-memory", "emptyDir": { "medium": "Memory" } }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "labels": labels },
        "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": "http" }] },
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [deployment, service] });
    Some(format!("{list:#}\n"))
}

/// A name of Kubernetes: lower case letters, digits and dashes, a letter first and no dash last.
fn kubernetes_name(model: &str) -> String {
    let model = model.trim_end_matches("/config.json");
    let name: String = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(LONGEST_NAME).collect();
    format!("vllm-{name}").trim_end_matches('-').to_owned()
}

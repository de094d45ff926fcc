//! What deploys an answer: vLLM's command line, and a Kubernetes manifest of it.

use std::fmt::Write;

use serde_json::json;

use super::answer::Answer;
use crate::catalog::Catalog;

/// The version of vLLM whose rules the simulation has where nothing else is said.
const IMAGE: &str = "vllm/vllm-openai:v0.33.0";
const PORT: u16 = 8000;
/// Characters of a name in Kubernetes (RFC 1123).
const LONGEST_NAME: usize = 50;

/// Keys of a framework's configuration and the flags of `vllm serve` that mean the same.
const FLAGS: [(&str, &str); 12] = [
    ("max_num_seqs", "--max-num-seqs"),
    ("max_num_batched_tokens", "--max-num-batched-tokens"),
    ("max_model_len", "--max-model-len"),
    ("kv_cache_dtype", "--kv-cache-dtype"),
    ("gpu_memory_utilization", "--gpu-memory-utilization"),
    ("block_size", "--block-size"),
    ("scheduling_policy", "--scheduling-policy"),
    ("long_prefill_token_threshold", "--long-prefill-token-threshold"),
    ("max_num_partial_prefills", "--max-num-partial-prefills"),
    ("max_long_partial_prefills", "--max-long-partial-prefills"),
    ("watermark", "--watermark"),
    ("stream_interval", "--stream-interval"),
];

/// Keys that are yes or no.
const SWITCHES: [(&str, &str); 4] = [
    ("enable_prefix_caching", "enable-prefix-caching"),
    ("enable_chunked_prefill", "enable-chunked-prefill"),
    ("async_scheduling", "async-scheduling"),
    ("enforce_eager", "enforce-eager"),
];

/// The words behind `vllm serve`, and the settings that no flag of it stands for.
fn words(answer: &Answer) -> (Vec<String>, Vec<String>) {
    let mut words = vec![hugging_face_name(&answer.model)];
    let mut others = Vec::new();
    let mut push = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    if let Some(ranks) = answer.tensor_parallel.filter(|&ranks| ranks > 1) {
        push("--tensor-parallel-size", ranks.to_string());
    }
    if let Some(stages) = answer.pipeline_parallel.filter(|&stages| stages > 1) {
        push("--pipeline-parallel-size", stages.to_string());
    }
    for (key, value) in &answer.settings {
        let name = key.strip_prefix("frameworks_to_test[*].config.").unwrap_or("");
        if let Some((_, flag)) = FLAGS.iter().find(|(known, _)| *known == name) {
            words.extend([(*flag).to_owned(), value.clone()]);
        } else if let Some((_, flag)) = SWITCHES.iter().find(|(known, _)| *known == name) {
            words.push(if value == "true" { format!("--{flag}") } else { format!("--no-{flag}") });
        } else if name == "weight_dtype" {
            match value.as_str() {
                "bf16" | "bfloat16" => words.extend(["--dtype".to_owned(), "bfloat16".to_owned()]),
                "fp16" | "float16" => words.extend(["--dtype".to_owned(), "float16".to_owned()]),
                "fp8" => words.extend(["--quantization".to_owned(), "fp8".to_owned()]),
                // Other types come with the checkpoint.
                other => others.push(format!("a checkpoint with {other} weights")),
            }
        } else {
            others.push(format!("{key}={value}"));
        }
    }
    (words, others)
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
    alias.cloned().unwrap_or_else(|| model.to_owned())
}

/// `vllm serve …` for one replica, with a comment for what is set elsewhere.
#[must_use]
pub fn serve_command(answer: &Answer) -> String {
    let (words, others) = words(answer);
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let mut text = String::new();
    if let (Some(prefill), Some(all)) = (answer.prefill_replicas, answer.replicas) {
        for (count, role) in [(prefill, "kv_producer"), (all - prefill, "kv_consumer")] {
            let connector = format!(r#"--kv-transfer-config '{{"kv_connector":"NixlConnector","kv_role":"{role}"}}'"#);
            let _ = writeln!(text, "# {count} of these\nvllm serve {} {connector}", words.join(" "));
        }
        text.push_str("# behind a router that sends a prompt to a producer first\n");
    } else {
        let _ = writeln!(text, "vllm serve {}", words.join(" "));
        if let Some(replicas) = answer.replicas.filter(|&replicas| replicas > 1) {
            let _ = writeln!(text, "# {replicas} of them behind a load balancer");
        }
    }
    for other in others {
        let _ = writeln!(text, "# not a flag of vllm serve: {other}");
    }
    text
}

/// A Deployment of all replicas and a Service before them, as JSON, which `kubectl apply -f` reads as it does YAML; `None` where prefill and
/// decode are apart: that takes a router, which differs from one platform to the next.
#[must_use]
pub fn kubernetes_manifest(answer: &Answer) -> Option<String> {
    if answer.prefill_replicas.is_some() {
        return None;
    }
    let gpus = answer.tensor_parallel.unwrap_or(1) * answer.pipeline_parallel.unwrap_or(1);
    let name = kubernetes_name(&answer.model);
    let labels = json!({ "app": name });
    let (words, others) = words(answer);
    let port = PORT.to_string();
    let arguments: Vec<String> = words.into_iter().chain(["--port".to_owned(), port]).collect();
    let container = json!({
        "name": "vllm",
        "image": IMAGE,
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

/// A name of Kubernetes: lower case letters, digits and dashes, a letter first.
fn kubernetes_name(model: &str) -> String {
    let name: String = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(LONGEST_NAME).collect();
    format!("vllm-{}", name.trim_matches('-'))
}

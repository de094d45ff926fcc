//! What vLLM's own scheduler did with requests, to the nanosecond.
//!
//! A recording is a folder of settings, requests and what vLLM's unmodified V1 scheduler made of them, with steps of one length:
//! when each request was scheduled, first answered and finished, how often it was preempted, how much of its prompt was cached.
//! Those in `recordings/` were made with vLLM 0.33.0 and 0.19.1; there are more beside the repository.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llmperforacle::config::{Overrides, load_value};
use oracle_components::SimTime;
use oracle_components::kv_groups::{KvGroupRules, KvGroups, KvKind};
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::{PrefixSegment, RequestSpec};
use oracle_components::scenario::{EngineSpec, PrefixCaching, SchedulerSpec};
use oracle_systems::Simulation;
use oracle_systems::kv_groups::alignment;
use oracle_systems::kv_layers::{KvLayers, WHOLE_CONTEXT_TOKENS, share_pool};
use oracle_systems::ports::RequestSource;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How a recording was made.
#[derive(Deserialize)]
struct Settings {
    vllm_version: String,
    step_s: f64,
    usable_kv_blocks: u64,
    settings: Map<String, Value>,
    /// Kinds of layers, if there are several.
    layers: Option<Vec<Layers>>,
    /// The groups that vLLM formed of them.
    kv_cache_groups: Option<Vec<Group>>,
}

/// Layers of a kind.
#[derive(Deserialize)]
struct Layers {
    kind: String,
    count: u32,
    num_kv_heads: Option<u32>,
    head_size: Option<u32>,
    sliding_window: Option<u32>,
    state_bytes: Option<u32>,
}

/// Layers that share a table of blocks.
#[derive(Deserialize)]
struct Group {
    spec: String,
    layers: u32,
    block_size: u32,
    sliding_window: Option<u32>,
}

impl Group {
    /// Their kind, the tokens of a block, and how many there are.
    fn formed(&self, caching: PrefixCaching) -> (KvKind, u32, u32) {
        let (kind, tokens) = match (self.spec.as_str(), self.sliding_window) {
            ("SlidingWindowSpec", Some(tokens)) => (KvKind::Window { tokens }, self.block_size),
            ("MambaSpec", None) if caching == PrefixCaching::Off => (KvKind::State, WHOLE_CONTEXT_TOKENS),
            ("MambaSpec", None) => (KvKind::State, self.block_size),
            ("FullAttentionSpec", None) => (KvKind::Full, self.block_size),
            _ => panic!("unknown groups of {}", self.spec),
        };
        (kind, tokens, self.layers)
    }
}

/// A request as it was asked.
#[derive(Deserialize)]
struct Asked {
    id: u64,
    arrival_ns: u64,
    prompt_tokens: u32,
    output_tokens: u32,
    priority: i32,
    session: Option<u64>,
    turn: Option<u32>,
    abort_ns: Option<u64>,
    lora: Option<u32>,
    segments: Option<String>,
}

/// What became of it.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Served {
    id: u64,
    scheduled_ns: Option<u64>,
    first_token_ns: Option<u64>,
    finish_ns: Option<u64>,
    preemptions: u32,
    cached_tokens: u32,
    generated_tokens: Option<u32>,
}

/// What is not modelled of a recording.
fn lacks(settings: &Settings, asked: &[Asked]) -> Option<&'static str> {
    let given = |key: &str| settings.settings.get(key).is_some_and(|value| !value.is_null());
    if asked.iter().any(|request| request.lora.is_some()) {
        return Some("LoRA adapters");
    }
    given("speculative_config").then_some("speculative decoding")
}

/// The engine of a recording: steps of one length, whatever is in them.
fn config(settings: &Settings, folder: &Path) -> Value {
    let mut engine = Map::new();
    let has_states = settings.layers.iter().flatten().any(|layers| layers.state_bytes.is_some());
    let context = settings.settings["max_model_len"].as_u64().expect("a number");
    let block = settings.settings["block_size"].as_u64().expect("a number");
    for (name, value) in &settings.settings {
        // No configuration states layers with a state.
        if name.starts_with("mamba_") || has_states && ["block_size", "num_gpu_blocks"].contains(&name.as_str()) {
            continue;
        }
        let name = match name.as_str() {
            "policy" => "scheduling_policy",
            "num_gpu_blocks" => "num_gpu_blocks_override",
            name => name,
        };
        match value {
            Value::Null if name == "prefix_cache_retention_interval" => engine.insert(name.to_owned(), json!("none")),
            Value::Null => None,
            value => engine.insert(name.to_owned(), value.clone()),
        };
    }
    let model = match settings.layers.as_ref().filter(|_| !has_states) {
        Some(layers) => model_of(layers, folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedules/model"),
    };
    let context = if settings.layers.is_none() { context.min(settings.usable_kv_blocks * block) } else { context };
    engine.insert("max_model_len".to_owned(), json!(context));
    engine.insert("model_profile_id".to_owned(), json!(model));
    engine.insert("gpu_id".to_owned(), json!("gpu0"));
    engine.insert("step_overhead_s".to_owned(), json!(settings.step_s));
    let flops = json!({"fp16": 1e9, "bf16": 1e9});
    let device = json!({
        "device_id": "gpu0", "device_type": "GPU", "peak_tflops": flops,
        "memory_capacity_bytes": 1_000_000_000_000_000_u64, "memory_gbps": 1e9, "mfu": 1.0, "mbu": 1.0,
    });
    let lengths = json!({"type": "Constant", "value": 1});
    let profile = json!({
        "profile_name": "unused", "prompt_tokens_dist_config": lengths, "max_output_tokens_dist_config": lengths,
        "inter_arrival_time_dist_config": {"type": "Exponential", "rate": 1},
    });
    json!({
        "simulation": {"drain": true},
        "hardware_profile": {"compute_devices": [device]},
        "workload": {"total_requests_to_generate": 1, "client_profiles": [profile]},
        "frameworks_to_test": [
            {"name": "engine", "type": "VLLM", "version": settings.vllm_version, "config": engine},
        ],
    })
}

/// The requests, as they came.
struct Requests(std::vec::IntoIter<RequestSpec>);

impl RequestSource for Requests {
    fn next_request(&mut self) -> Option<RequestSpec> {
        self.0.next()
    }
}

/// A number for the content of a prompt up to the end of a segment.
fn content(before: u64, key: &str) -> u64 {
    key.bytes().fold(before ^ 0x9e37_79b9, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1
}

/// What others may share of a prompt. A conversation's own turns are the tail; where others go on with a request that is in none, what
/// it asks and its answer are segments.
fn prefix(request: &Asked, others: &[String]) -> Vec<PrefixSegment> {
    let mut hash = 0;
    let own = [format!("u{}:", request.id), format!("a{}:", request.id)];
    let is_shared = |key: &String| others.iter().any(|segments| segments.contains(key.as_str()));
    let (prompt, answer) = (request.prompt_tokens, request.output_tokens);
    let own = own.iter().zip([prompt, answer]).filter(|(key, _)| request.segments.is_none() && is_shared(key));
    let own = own.map(|(key, tokens)| format!("{key}{tokens}"));
    let is_turn = |part: &&str| part.starts_with(['u', 'a']) && (request.session.is_some() || others.is_empty());
    let shared = request.segments.as_deref().unwrap_or_default().split(';').filter(|part| !part.is_empty());
    let shared = shared.filter(|part| !is_turn(part)).map(str::to_owned).chain(own).map(|part| {
        let (key, tokens) = part.rsplit_once(':').expect("key:tokens");
        hash = content(hash, key);
        PrefixSegment { key: hash, tokens: tokens.parse().expect("a number of tokens") }
    });
    shared.collect()
}

fn request(asked: &Asked, others: &[String]) -> RequestSpec {
    let arrival = SimTime(asked.arrival_ns);
    RequestSpec {
        arrival,
        profile: 0,
        client: 0,
        session: asked.session.unwrap_or(asked.id),
        turn: asked.turn.unwrap_or(0),
        prompt_tokens: asked.prompt_tokens,
        encoder_tokens: 0,
        max_output_tokens: asked.output_tokens,
        output_tokens: asked.output_tokens,
        priority: asked.priority,
        streaming: true,
        timeout: asked.abort_ns.map_or(SimTime::NEVER, |abort| SimTime(abort) - arrival),
        prefix: prefix(asked, others),
        tail_key: asked.session.map_or(0, |session| session + 1),
    }
}

/// The layers of a recording, those of a model whose pattern repeats.
fn kinds(layers: &[Layers]) -> Vec<&Layers> {
    let mut places: Vec<(f64, &str, &Layers)> = Vec::new();
    for kind in layers {
        places.extend(
            (0..kind.count).map(|at| ((f64::from(at) + 0.5) / f64::from(kind.count), kind.kind.as_str(), kind)),
        );
    }
    places.sort_by(|(one, one_kind, _), (other, other_kind, _)| one.total_cmp(other).then(one_kind.cmp(other_kind)));
    places.into_iter().map(|(_, _, kind)| kind).collect()
}

/// What layers keep, in the order of the first of each kind.
fn kv_layers(layers: &[Layers]) -> Vec<KvLayers> {
    let mut kept: Vec<KvLayers> = Vec::new();
    for layer in kinds(layers) {
        let token_bytes = 2 * 2 * layer.num_kv_heads.unwrap_or(0) * layer.head_size.unwrap_or(0);
        let (kind, bytes) = match (layer.sliding_window, layer.state_bytes) {
            (Some(tokens), _) => (KvKind::Window { tokens }, token_bytes),
            (None, Some(bytes)) => (KvKind::State, bytes),
            (None, None) => (KvKind::Full, token_bytes),
        };
        match kept.iter_mut().find(|alike| alike.kind == kind) {
            Some(alike) => alike.layers += 1,
            None => kept.push(KvLayers { kind, layers: 1, bytes: f64::from(bytes) }),
        }
    }
    kept
}

/// The engine of a recording, with its layers where no configuration can state them.
fn with_layers(engine: EngineSpec, settings: &Settings) -> EngineSpec {
    let Some(layers) = &settings.layers else { return engine };
    let given = |key: &str| settings.settings.get(key).and_then(Value::as_u64).map(|value| value as u32);
    let caching = engine.scheduler.prefix_caching;
    // The block is raised by ourselves.
    let shared = share_pool(&kv_layers(layers), 16, caching != PrefixCaching::Off);
    let formed: Vec<(KvKind, u32, u32)> =
        shared.groups.iter().map(|group| (group.kind, group.block_tokens, shared.layers)).collect();
    let of_vllm: Vec<(KvKind, u32, u32)> =
        settings.kv_cache_groups.iter().flatten().map(|group| group.formed(caching)).collect();
    let same = formed.iter().zip(&of_vllm).all(|(ours, vllm)| (ours.0, ours.1) == (vllm.0, vllm.1));
    assert!(same && formed.len() == of_vllm.len(), "groups {formed:?}, vLLM's {of_vllm:?}");
    assert_eq!(of_vllm.iter().map(|group| group.2).max(), Some(shared.layers), "layers of a group");
    if let Some(groups) = &engine.kv_groups {
        assert_eq!(groups.groups, shared.groups, "groups by the configuration");
        return engine;
    }
    let is_new = settings.vllm_version.starts_with("0.33");
    let groups = KvGroups {
        groups: shared.groups,
        layers: shared.layers,
        page_bytes: shared.page_bytes as u64,
        retention_interval: is_new.then_some(0),
        rules: KvGroupRules {
            windows_wait_for_output: is_new,
            windows_are_capped: is_new,
            states_are_kept_at_junctions: is_new,
        },
    };
    let max_model_len = given("max_model_len").expect("a number");
    let block_tokens = alignment(&groups, caching);
    let scheduler = SchedulerSpec { block_tokens, max_model_len, ..engine.scheduler };
    EngineSpec { scheduler, kv_blocks: settings.usable_kv_blocks, kv_groups: Some(groups.into()), ..engine }
}

/// A model with the windows of a recording.
fn model_of(layers: &[Layers], folder: &Path) -> PathBuf {
    let llama = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedules/model/config.json");
    let mut model: Value = serde_json::from_slice(&fs::read(llama).expect("a model")).expect("JSON");
    let kinds = kinds(layers);
    let attention =
        |layer: &&Layers| if layer.sliding_window.is_some() { "sliding_attention" } else { "full_attention" };
    model["num_hidden_layers"] = json!(kinds.len());
    // Heads as narrow as can be, so that no step takes longer for them.
    model["head_dim"] = json!(2);
    model["sliding_window"] = json!(kinds.iter().find_map(|layer| layer.sliding_window));
    model["layer_types"] = json!(kinds.iter().map(attention).collect::<Vec<_>>());
    let path = folder.join("config.json");
    fs::write(&path, model.to_string()).expect("a temporary file is written");
    path
}

/// What the simulator makes of the requests of a recording.
fn simulate(settings: &Settings, mut asked: Vec<Asked>) -> Vec<Served> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let resolved = load_value(&config(settings, folder.path()), "recording", &Overrides::default())
        .unwrap_or_else(|found| panic!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    asked.sort_by_key(|request| request.arrival_ns);
    let has_aborts = asked.iter().any(|request| request.abort_ns.is_some());
    let asked_of_layers = asked.iter().filter(|_| settings.layers.is_some());
    let segments: Vec<String> = asked_of_layers.filter_map(|request| request.segments.clone()).collect();
    let specs: Vec<RequestSpec> = asked.iter().map(|one| request(one, &segments)).collect();
    let requests = Box::new(Requests(specs.into_iter()));
    let mut scenario = resolved.scenario;
    scenario.engines = scenario.engines.into_iter().map(|engine| with_layers(engine, settings)).collect();
    let mut simulation = Simulation::new(scenario, requests, Vec::new());
    simulation.run(|_| ControlFlow::Continue(()));
    let mut served: Vec<Served> = simulation
        .into_sink()
        .iter()
        .map(|record: &RequestRecord| Served {
            id: asked[record.request as usize].id,
            scheduled_ns: record.scheduled.map(|time| time.0),
            first_token_ns: record.first_token.map(|time| time.0),
            finish_ns: (record.status == Status::Success).then_some(record.completion.0),
            preemptions: record.preemptions,
            cached_tokens: record.cached_tokens,
            generated_tokens: has_aborts.then_some(record.output_tokens),
        })
        .collect();
    served.sort_by_key(|served| served.id);
    served
}

fn rows<Row: for<'a> Deserialize<'a>>(path: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.deserialize().collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a recording has that the simulator does otherwise.
fn differences(folder: &Path) -> Result<(), String> {
    let settings = fs::read(folder.join("settings.json")).expect("a recording has settings");
    let settings: Settings = serde_json::from_slice(&settings).expect("a recording's settings");
    let asked: Vec<Asked> = rows(&folder.join("requests.csv"));
    if let Some(what) = lacks(&settings, &asked) {
        return Err(format!("lacks {what}"));
    }
    let mut vllm: Vec<Served> = rows(&folder.join("vllm.csv"));
    // A batch that is formed ahead may schedule who has given up before it begins; no time of ours is later than the end.
    for (served, asked) in vllm.iter_mut().zip(&asked) {
        served.scheduled_ns = served.scheduled_ns.filter(|&at| asked.abort_ns.is_none_or(|abort| at <= abort));
    }
    let ours = simulate(&settings, asked);
    let wrong: Vec<_> = vllm.iter().zip(&ours).filter(|(vllm, ours)| vllm != ours).collect();
    match wrong.first() {
        Some((first, our)) => {
            Err(format!("{} of {} differ\n  vLLM {first:?}\n  ours {our:?}", wrong.len(), vllm.len()))
        }
        None if vllm.len() == ours.len() => Ok(()),
        None => Err(format!("{} requests, not {}", ours.len(), vllm.len())),
    }
}

/// The recordings below a folder, `version/name`.
fn recordings(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for version in fs::read_dir(root).into_iter().flatten().flatten() {
        for folder in fs::read_dir(version.path()).into_iter().flatten().flatten() {
            let name = format!("{}/{}", version.file_name().display(), folder.file_name().display());
            found.insert(name, folder.path());
        }
    }
    found
}

/// All recordings of a folder that can be replayed are exact: how many these are, and how many lack something.
fn replay(root: &Path) -> (usize, usize) {
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut exact, mut lacking) = (0, 0);
    let mut wrong = Vec::new();
    for (name, folder) in recordings(root).into_iter().filter(|(name, _)| name.contains(&only)) {
        match differences(&folder) {
            Ok(()) => exact += 1,
            Err(what) if what.starts_with("lacks") => lacking += 1,
            Err(what) => wrong.push(format!("{name}: {what}")),
        }
    }
    assert!(wrong.is_empty(), "{} recordings differ:\n{}", wrong.len(), wrong.join("\n"));
    (exact, lacking)
}

#[test]
fn every_request_goes_as_in_vllm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedules/recordings");
    let (exact, lacking) = replay(&root);
    assert!(exact == 54 && lacking == 0, "{exact} recordings are exact, {lacking} lack something");
}

#[test]
fn so_it_does_in_the_other_recordings() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("LLMPERFORACLE_SHARED").map_or(beside, PathBuf::from).join("data/vllm-scheduler");
    if !shared.is_dir() {
        eprintln!("skipped: no {}; set LLMPERFORACLE_SHARED", shared.display());
        return;
    }
    let (exact, lacking) = replay(&shared);
    println!("{exact} recordings are exact; {lacking} need what is not modelled");
}

//! A random configuration: a deployment, a load on it, how long it is simulated, and the flags of the command.

use crate::cases::Case;
use crate::deployments::{Deployment, deployment, single};
use crate::draw::{Draw, thousandths};
use crate::load::synthetic;
use crate::mapping::{Mapping, lines};
use crate::settings::settings;
use crate::traces::Layout;

/// One case in so many has no file, but flags.
const OF_FLAGS: u64 = 11;

const STRATEGIES: [&str; 5] = ["round_robin", "random", "weighted_random", "least_loaded", "session_affinity"];

/// The random case of a number.
pub fn random(number: u64) -> Case {
    let mut draw = Draw::new(number);
    let name = format!("random-{number:03}");
    let mut case =
        if number % OF_FLAGS == OF_FLAGS - 1 { of_flags(&mut draw, name) } else { of_file(&mut draw, number, name) };
    // What is printed: the table and warnings, or the summary and what each engine is. Neither holds a clock.
    let printed = if draw.chance(25) { "--quiet --format json --log-level debug" } else { "--log-level warning" };
    case.arguments.extend(words(&format!("--threads {} {printed}", 1 + number % 2)));
    if draw.chance(15) {
        case.arguments.extend(words(draw.one_of(&["--seed 77", "--mfu 0.6", "--mbu 0.7", "--no-csv", "-o deep/here"])));
    }
    case
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// How much comes, and how fast.
struct Amount {
    requests: u64,
    per_s: u64,
}

impl Amount {
    fn draw(draw: &mut Draw, engines: u64) -> Self {
        let per_s = draw.one_of(&[1, 4, 12, 12, 30, 60, 150, 500]) * engines;
        Self { requests: draw.between(600, 4_000) + 25 * engines, per_s }
    }

    /// How long requests arrive, in milliseconds.
    fn duration_ms(&self) -> u64 {
        1000 * self.requests / self.per_s + 1
    }
}

fn of_file(draw: &mut Draw, number: u64, name: String) -> Case {
    let deployment = deployment(draw, number);
    let amount = Amount::draw(draw, deployment.engines);
    let mut files = deployment.files.clone();
    let (workload, trace) = workload(draw, &deployment, &amount);
    files.extend(trace);
    let database = deployment.database.map(|file| format!("model_characteristics_db_path: {file}\n"));
    let text = format!(
        "simulation: {}\n{}hardware_profile: {}\nworkload: {workload}\nframeworks_to_test: {}\nmetrics_config: {}\n",
        simulation(draw, &amount),
        database.unwrap_or_default(),
        block(&deployment.hardware),
        lines(&deployment.frameworks),
        metrics(draw, &deployment, &amount),
    );
    files.push(("case.yaml".to_owned(), text));
    Case { name, files, arguments: words("run case.yaml --force") }
}

/// A mapping with a line a key, whose values may be lists with a line an item.
fn block(keys: &Mapping) -> String {
    keys.pairs().map(|(key, value)| format!("\n  {key}: {}", value.replace('\n', "\n  "))).collect()
}

fn simulation(draw: &mut Draw, amount: &Amount) -> Mapping {
    let mut keys = Mapping::default().with("random_seed", draw.between(0, 1_000_000));
    keys.maybe(draw, 60, "lod", &["high", "medium"]);
    if draw.chance(60) {
        keys.set("drain", true);
    } else {
        let share_of_arrivals = draw.one_of(&[50, 90, 110, 300]);
        keys.set("max_simulation_time", thousandths(amount.duration_ms() * share_of_arrivals / 100 + 1));
    }
    keys
}

fn metrics(draw: &mut Draw, deployment: &Deployment, amount: &Amount) -> Mapping {
    let mut keys = Mapping::default();
    keys.maybe(draw, 30, "percentiles_to_calculate", &["[0.5]", "[0.1, 0.5, 0.999]"]);
    keys.maybe(draw, 40, "timeseries_interval_s", &["0.25", "0.5", "7"]);
    if deployment.engines <= 2 {
        keys.maybe(draw, 12, "timeseries_interval_s", &["0.02"]);
    }
    if draw.chance(25) {
        keys.set("warm_up_duration_s", thousandths(amount.duration_ms() / 5));
    }
    keys.maybe(draw, 10, "write_csv", &["false", "true"]);
    keys.maybe(draw, 10, "output_requests_csv_path", &["elsewhere/requests.csv"]);
    keys
}

/// The workload, and its trace if it has one.
fn workload(draw: &mut Draw, deployment: &Deployment, amount: &Amount) -> (Mapping, Option<(String, String)>) {
    let mut keys = Mapping::default();
    routing(draw, deployment, &mut keys);
    keys.maybe(draw, 35, "request_timeout_s", &["0.5", "2", "5", "20"]);
    keys.maybe(draw, 20, "bytes_per_token_estimate_for_network", &["0", "40"]);
    keys.maybe(draw, 20, "random_seed", &["5", "123456789"]);
    if draw.chance(30) {
        let layout = draw.one_of(&Layout::ALL);
        let (file, text) = layout.file(draw, amount.requests / 2, 1 + 1000 / amount.per_s);
        let mut trace = Mapping::default().with("path", &file);
        trace.maybe(draw, 40, "rate_scale", &["0.5", "2.5"]);
        trace.maybe(draw, 30, "streaming", &["false"]);
        trace.maybe(draw, 20, "max_requests", &["120"]);
        keys.set("trace", trace);
        if draw.chance(20) {
            keys.set("total_duration", thousandths(amount.duration_ms() / 2 + 1));
        }
        return (keys, Some((file, text)));
    }
    if draw.chance(80) {
        keys.set("total_requests_to_generate", amount.requests);
    } else {
        keys.set("total_duration", thousandths(amount.duration_ms()));
    }
    synthetic(draw, &mut keys, amount.per_s);
    (keys, None)
}

fn routing(draw: &mut Draw, deployment: &Deployment, keys: &mut Mapping) {
    keys.set("load_balancing_strategy", draw.one_of(&STRATEGIES));
    if deployment.frameworks.iter().any(|framework| framework.get("role").is_some()) {
        keys.maybe(draw, 60, "decode_balancing_strategy", &STRATEGIES);
    }
    if draw.chance(40) {
        let names = deployment.frameworks.iter().filter_map(|framework| framework.get("name"));
        let weights = names.fold(Mapping::default(), |weights, name| {
            let weight = draw.one_of(&[1, 2, 5]);
            weights.with(name, weight)
        });
        keys.set("framework_weights", weights);
    }
}

/// A trace, a model and a device, and every setting by `--set`.
fn of_flags(draw: &mut Draw, name: String) -> Case {
    let (model, device) = draw.one_of(&single::MODELS);
    let replicas = draw.between(1, 3);
    let amount = Amount::draw(draw, replicas);
    let (file, text) = draw.one_of(&Layout::ALL).file(draw, amount.requests / 2, 1 + 1000 / amount.per_s);
    let mut arguments =
        words(&format!("run --force --trace {file} --model {model} --device {device} --replicas {replicas}"));
    for (percent, choice) in [(30, "--tp 2"), (30, "--pp 2"), (30, "--rate-scale 2.5"), (30, "--max-requests 200")] {
        if draw.chance(percent) {
            arguments.extend(words(choice));
        }
    }
    let mut sets: Vec<String> =
        settings(draw).pairs().map(|(key, value)| format!("frameworks_to_test[0].config.{key}={value}")).collect();
    sets.push(format!("workload.load_balancing_strategy={}", draw.one_of(&STRATEGIES)));
    if draw.chance(40) {
        sets.push("workload.request_timeout_s=2".to_owned());
    }
    arguments.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    Case { name, files: vec![(file, text)], arguments }
}

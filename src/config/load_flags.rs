//! The load that flags describe: the `workload` of the configuration that one would have written.

use super::diagnostic::{At, Diagnostics, Mark};
use super::presets::{Preset, presets};
use super::tree::{Node, Value};

/// Requests of a run that states neither how many nor how long, as many as `vllm bench serve` sends.
const DEFAULT_REQUESTS: u64 = 1_000;
/// Requests a client of a closed loop, at the least.
const DEFAULT_REQUESTS_PER_CLIENT: u64 = 10;

/// What flags say of the load.
#[derive(Clone, Debug, Default)]
pub struct LoadFlags {
    /// `--rate`: sessions a second, or `inf`.
    pub rate: Option<String>,
    /// `--burstiness`.
    pub burstiness: Option<f64>,
    /// `--concurrency`.
    pub concurrency: Option<u32>,
    /// `--users`.
    pub users: Option<u32>,
    /// `--think-time`: a distribution.
    pub think_time: Option<String>,
    /// `--max-in-flight`.
    pub max_in_flight: Option<u32>,
    /// `--requests`.
    pub requests: Option<u64>,
    /// `--duration`.
    pub duration_s: Option<f64>,
    /// `--prompt-tokens`: a distribution.
    pub prompt_tokens: Option<String>,
    /// `--output-tokens`: a distribution.
    pub output_tokens: Option<String>,
    /// `--workload`: a preset.
    pub preset: Option<String>,
}

impl LoadFlags {
    /// The keys of `workload`, without the trace if there `is_trace`.
    pub(super) fn entries(&self, is_trace: bool, diagnostics: &mut Diagnostics) -> Vec<(&'static str, Node)> {
        let mut entries = Vec::new();
        if !is_trace && !self.says_how_much() {
            let message = "nothing says how much load there is";
            let ways = "give --rate, --concurrency or --users";
            diagnostics.error_with(&At::root(Mark::flag("command line")), message, ways);
        }
        if !is_trace && self.preset.is_none() && self.prompt_tokens.is_none() {
            let message = "nothing says how long prompts and answers are";
            let ways = "give --prompt-tokens and --output-tokens, or --workload";
            diagnostics.error_with(&At::root(Mark::flag("command line")), message, ways);
        }
        let requests = self
            .requests
            .or_else(|| (!is_trace && self.duration_s.is_none()).then(|| self.default_requests(diagnostics)));
        entries.extend(requests.map(|count| ("total_requests_to_generate", integer(count, "--requests"))));
        entries.extend(self.duration_s.map(|seconds| ("total_duration", number(seconds, "--duration"))));
        if let Some(name) = &self.preset {
            entries.push(("preset", Node::text(name, Mark::flag("--workload"))));
        }
        if let (Some(prompt), Some(output)) = (&self.prompt_tokens, &self.output_tokens) {
            let mark = Mark::flag("--prompt-tokens");
            let profile = vec![
                ("profile_name", Node::text("flags", mark)),
                ("prompt_tokens_dist_config", Node::text(prompt, mark)),
                ("max_output_tokens_dist_config", Node::text(output, Mark::flag("--output-tokens"))),
            ];
            let profiles = Value::Sequence(vec![Node::mapping(profile, mark)]);
            entries.push(("client_profiles", Node::new(profiles, mark)));
        }
        entries.extend(self.load().map(|load| ("load", load)));
        entries
    }

    /// Whether there is a load; a preset that nobody knows is reported as such.
    fn says_how_much(&self) -> bool {
        let preset = self.preset.as_ref().map(|name| presets().iter().find(|preset| preset.name == name));
        let by_preset = preset.is_some_and(|preset| preset.is_none_or(Preset::has_load));
        self.rate.is_some() || self.concurrency.is_some() || self.users.is_some() || by_preset
    }

    /// Whether sessions begin at a rate.
    pub(super) fn has_rate(&self, is_trace: bool) -> bool {
        if self.max_in_flight.is_some() {
            return false;
        }
        match &self.rate {
            Some(rate) => rate.parse::<f64>().is_ok_and(f64::is_finite),
            None => is_trace && self.concurrency.is_none() && self.users.is_none(),
        }
    }

    /// `workload.load`; nothing said is left to the preset or the trace.
    fn load(&self) -> Option<Node> {
        let mut load = Vec::new();
        match self.rate.as_deref() {
            Some("inf") => load.push(("process", Node::text("at_once", Mark::flag("--rate")))),
            Some(rate) => {
                let mark = Mark::flag("--rate");
                let value = rate.parse().map_or_else(|_| Value::Text(rate.to_owned()), Value::Number);
                load.push(("rate", Node::new(value, mark)));
            }
            None => {}
        }
        load.extend(self.burstiness.map(|shape| ("burstiness", number(shape, "--burstiness"))));
        load.extend(self.concurrency.map(|count| ("concurrency", integer(count.into(), "--concurrency"))));
        load.extend(self.users.map(|count| ("users", integer(count.into(), "--users"))));
        let think_time = self.think_time.as_ref();
        load.extend(think_time.map(|time| ("think_time", Node::text(time, Mark::flag("--think-time")))));
        load.extend(self.max_in_flight.map(|count| ("max_in_flight", integer(count.into(), "--max-in-flight"))));
        let (_, first) = load.first()?;
        let mark = first.mark;
        Some(Node::mapping(load, mark))
    }

    fn default_requests(&self, diagnostics: &mut Diagnostics) -> u64 {
        let clients = u64::from(self.concurrency.or(self.users).unwrap_or(0));
        let count = DEFAULT_REQUESTS.max(DEFAULT_REQUESTS_PER_CLIENT * clients);
        let message = format!("neither --requests nor --duration is given: {count} requests");
        diagnostics.warn(&At::root(Mark::flag("--requests")), message);
        count
    }

    /// What tells this load from others, for the run's name: `chat-rate5-requests1000`.
    pub(super) fn name(&self) -> String {
        let text = |word: &str, value: Option<String>| value.map(|value| format!("{word}{value}"));
        let of = |value: Option<u64>| value.map(|value| value.to_string());
        let parts = [
            self.preset.clone(),
            text("in", self.prompt_tokens.clone()),
            text("out", self.output_tokens.clone()),
            text("rate", self.rate.clone()),
            text("burstiness", self.burstiness.map(|shape| shape.to_string())),
            text("concurrency", of(self.concurrency.map(u64::from))),
            text("users", of(self.users.map(u64::from))),
            text("think", self.think_time.clone()),
            text("in-flight", of(self.max_in_flight.map(u64::from))),
            text("requests", of(self.requests)),
            text("duration", self.duration_s.map(|seconds| format!("{seconds}s"))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join("-").replace(':', "_")
    }
}

fn integer(value: u64, flag: &'static str) -> Node {
    Node::new(Value::Integer(value.into()), Mark::flag(flag))
}

fn number(value: f64, flag: &'static str) -> Node {
    Node::new(Value::Number(value), Mark::flag(flag))
}

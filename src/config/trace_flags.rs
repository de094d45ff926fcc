//! A load by flags, a trace or none: the node of the keys that they stand for, and the load alone, where nothing is deployed.

use std::path::Path;

use super::declare::{Decode, Key, required};
use super::diagnostic::{At, Diagnostic, Diagnostics, Mark};
use super::load_flags::LoadFlags;
use super::overrides::NOT_UTF_8;
use super::resolve::{RunContext, workload_alone};
use super::tree::{Node, Value};
use super::{Overrides, ROOT_NAME, keys, presets};
use crate::inputs;
use crate::workload::Workload;

/// What flags say of how a trace is shaped.
#[derive(Clone, Debug, Default)]
pub struct ShapingFlags {
    /// `--window`.
    pub window: Option<String>,
    /// `--sample`.
    pub sample: Option<f64>,
    /// `--prompt-scale`.
    pub prompt_scale: Option<f64>,
    /// `--output-scale`.
    pub output_scale: Option<f64>,
    /// `--shuffle`.
    pub shuffle: bool,
    /// `--repeat`.
    pub repeat: Option<u32>,
    /// `--repeat-prefixes`.
    pub repeat_prefixes: Option<String>,
    /// `--rate-scale`: arrivals come this many times as fast.
    pub rate_scale: Option<f64>,
    /// `--time-scale`: its inverse.
    pub time_scale: Option<f64>,
    /// `--max-requests`.
    pub max_requests: Option<u64>,
}

/// Flags whose load alone is wanted.
#[derive(Clone, Debug)]
pub struct LoadAlone<'a> {
    /// The trace, if there is one.
    pub trace: Option<&'a Path>,
    /// `--trace-format`, if not by what is in the file.
    pub format: Option<&'a str>,
    /// How it is shaped.
    pub shaping: &'a ShapingFlags,
    /// `--rate`, `--workload`, `--duration` and the like.
    pub load: LoadFlags,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--set`: `workload.KEY=VALUE` each.
    pub set: Vec<String>,
    /// Keys that other flags stand for: the flag, and as of `--set`.
    pub flags: Vec<(&'static str, String)>,
}

impl ShapingFlags {
    /// The flags that are given, their keys, and the values as YAML writes them.
    pub(crate) fn keys(&self) -> Vec<(&'static str, &'static str, String)> {
        let text = |value| match value {
            Value::Text(text) => text,
            Value::Flag(flag) => flag.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        self.given().into_iter().map(|(flag, key, value)| (flag, key, text(value))).collect()
    }

    /// The same as values.
    fn given(&self) -> Vec<(&'static str, &'static str, Value)> {
        let text = |value: &Option<String>| value.clone().map(Value::Text);
        let number = |value: Option<f64>| value.map(Value::Number);
        let integer = |value: Option<u64>| value.map(|value| Value::Integer(value.into()));
        let all = [
            ("--window", "window", text(&self.window)),
            ("--sample", "sample", number(self.sample)),
            ("--prompt-scale", "prompt_scale", number(self.prompt_scale)),
            ("--output-scale", "output_scale", number(self.output_scale)),
            ("--shuffle", "shuffle", self.shuffle.then_some(Value::Flag(true))),
            ("--repeat", "repeat", integer(self.repeat.map(u64::from))),
            ("--repeat-prefixes", "repeat_prefixes", text(&self.repeat_prefixes)),
            ("--rate-scale", "rate_scale", number(self.rate_scale)),
            ("--time-scale", "time_scale", number(self.time_scale)),
            ("--max-requests", "max_requests", integer(self.max_requests)),
        ];
        all.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect()
    }
}

/// The section `workload.trace` that these flags stand for.
pub(super) fn trace_node(path: &Path, format: Option<&str>, shaping: &ShapingFlags) -> Node {
    let mark = Mark::flag("--trace");
    let mut entries = vec![("path", Node::text(&path.display().to_string(), mark))];
    if let Some(format) = format {
        entries.push(("format", Node::text(format, Mark::flag("--trace-format"))));
    }
    entries.extend(shaping.given().into_iter().map(|(flag, key, value)| (key, Node::new(value, Mark::flag(flag)))));
    Node::mapping(entries, mark)
}

/// The load that flags describe.
///
/// # Errors
/// Everything that is wrong with the flags; warnings too.
pub fn load_alone(load: &LoadAlone<'_>) -> Result<(Workload, Vec<Diagnostic>), Vec<Diagnostic>> {
    static ROOT: Key = required();
    let mut diagnostics = Diagnostics::new(ROOT_NAME);
    if load.trace.is_some_and(|path| path.to_str().is_none()) {
        diagnostics.error(&At::root(Mark::flag("--trace")), NOT_UTF_8);
        return Err(diagnostics.into_sorted());
    }
    let mut entries = load.load.entries(load.trace.is_some(), &mut diagnostics);
    entries.extend(load.trace.map(|path| ("trace", trace_node(path, load.format, load.shaping))));
    if let Some(seed) = load.seed {
        entries.push(("random_seed", Node::new(Value::Integer(seed.into()), Mark::flag("--seed"))));
    }
    let mark = Mark::flag(if load.trace.is_some() { "--trace" } else { "command line" });
    let mut root = Node::mapping(vec![("workload", Node::mapping(entries, mark))], mark);
    let preset = presets::expand(&mut root, None, &mut diagnostics);
    let overrides = Overrides { set: load.set.clone(), flags: load.flags.clone(), ..Overrides::default() };
    overrides.apply(&mut root, &mut diagnostics);
    presets::expand(&mut root, preset, &mut diagnostics);
    let at = At::root(mark).key("workload", mark);
    let context = RunContext { config_folder: None, default_name: load.trace.map(inputs::stem).unwrap_or_default() };
    let keys = root.get("workload").and_then(|node| keys::Workload::decode(node, &ROOT, &at, &mut diagnostics));
    let workload = keys.and_then(|keys| workload_alone(&keys, None, &context, &mut diagnostics));
    let has_errors = diagnostics.has_errors();
    let found = diagnostics.into_sorted();
    workload.filter(|_| !has_errors).map(|workload| (workload, found.clone())).ok_or(found)
}

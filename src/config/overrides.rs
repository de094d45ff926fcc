//! Values from the command line, put into the tree before it is decoded: they go through the same checks as the file's,
//! and messages name the flag.

use std::path::PathBuf;

use super::diagnostic::{At, Diagnostics, Mark, Origin};
use super::keys;
use super::slo_flag;
use super::tree::{Entry, Node, Value, parse_value, texts_in};

/// What flags say about a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--set`: `key.path=value` each, the value in YAML; `[2]` picks an item of a list, `[*]` all.
    pub set: Vec<String>,
    /// Keys that flags of names of their own stand for: the flag, and as of `--set`.
    pub flags: Vec<(&'static str, String)>,
    /// `--seed`: of the simulation and the workload.
    pub seed: Option<u64>,
    /// `--mfu`: of every framework.
    pub mfu: Option<f64>,
    /// `--mbu`: of every framework.
    pub mbu: Option<f64>,
    /// `--assume`: the `model_type` that every framework's config.json is read as.
    pub assume: Option<String>,
    /// `--output`: the folder of the run. Files that the config places elsewhere go there too.
    pub output_directory: Option<PathBuf>,
    /// `--slo`: what clients expect, `metric=time` each, with commas between them.
    pub slo: Vec<String>,
    /// `--name`: of the run.
    pub name: Option<String>,
    /// `--force`: simulate what vLLM refuses all the same.
    pub force: bool,
}

/// Longer paths lead nowhere, and every step is a level of recursion.
const MOST_STEPS: usize = 32;

/// What is said of a path that a configuration cannot hold.
pub(super) const NOT_UTF_8: &str = "the path is not UTF-8 text; rename the file or folder";

/// One step of a key path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Item(usize),
    EveryItem,
}

impl Overrides {
    /// The texts in values, which may name files.
    pub(crate) fn texts(&self) -> Vec<String> {
        let typed = self.set.iter().chain(self.flags.iter().map(|(_, text)| text));
        typed.filter_map(|text| text.split_once('=')).flat_map(|(_, value)| texts_in(value)).collect()
    }

    /// Puts the values into a tree. `--set` comes first, so that a flag of its own name wins.
    pub(crate) fn apply(&self, root: &mut Node, diagnostics: &mut Diagnostics) {
        if root.is_null() {
            root.value = Value::Mapping(Vec::new());
        }
        diagnostics.force(self.force);
        for (index, text) in self.set.iter().enumerate() {
            let mark = Mark { origin: Origin::Set(index + 1), line: 0, column: 0 };
            apply_set(text, mark, root, diagnostics);
        }
        for (flag, text) in &self.flags {
            apply_set(text, Mark::flag(flag), root, diagnostics);
        }
        let seed = self.seed.map(|seed| Value::Integer(seed.into()));
        let text = |text: String| Value::Text(text);
        let mut directory = None;
        match self.output_directory.as_ref().map(|path| path.to_str()) {
            Some(Some(path)) => directory = Some(text(path.to_owned())),
            Some(None) => diagnostics.error(&At::root(Mark::flag("--output")), NOT_UTF_8),
            None => {}
        }
        let flags = [
            ("--seed", "simulation.random_seed", seed.clone()),
            ("--seed", "workload.random_seed", seed),
            ("--mfu", "frameworks_to_test[*].config.mfu", self.mfu.map(Value::Number)),
            ("--mbu", "frameworks_to_test[*].config.mbu", self.mbu.map(Value::Number)),
            ("--assume", "frameworks_to_test[*].config.assume_model_type", self.assume.clone().map(text)),
            ("--output", "metrics_config.output_directory", directory),
            ("--name", "simulation.name", self.name.clone().map(text)),
        ];
        let slo = slo_flag::keys_of(&self.slo, diagnostics);
        let slo = slo.into_iter().map(|(path, value)| (slo_flag::FLAG, path, Some(Value::Number(value))));
        for (flag, path, value) in flags.into_iter().chain(slo) {
            if let Some(value) = value {
                let steps = parse_path(path).expect("the paths of flags are well formed");
                put(root, &steps, &value, &At::root(Mark::flag(flag)), diagnostics);
            }
        }
    }
}

fn apply_set(text: &str, mark: Mark, root: &mut Node, diagnostics: &mut Diagnostics) {
    let at = At::root(mark);
    let Some((path, value)) = text.split_once('=') else {
        diagnostics.error_with(&at, format!("{text:?} has no ="), "write key.path=value");
        return;
    };
    let Some(steps) = parse_path(path.trim()) else {
        let message = format!("{path:?} is not a key path");
        diagnostics.error_with(
            &at,
            message,
            "write keys with dots and items in brackets, such as frameworks_to_test[0].config.max_num_seqs",
        );
        return;
    };
    match parse_value(value) {
        Ok(value) => put(root, &steps, &value, &at, diagnostics),
        Err(message) => diagnostics.error(&at.key(path, mark), format!("the value is not YAML: {message}")),
    }
}

/// `a.b[0].c[*]`.
fn parse_path(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (key, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() || key.contains(']') {
            return None;
        }
        if steps.len() > MOST_STEPS {
            return None;
        }
        steps.push(Step::Key(key.to_owned()));
        while !rest.is_empty() && steps.len() <= MOST_STEPS {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(if index == "*" { Step::EveryItem } else { Step::Item(index.parse().ok()?) });
            rest = after;
        }
    }
    Some(steps)
}

/// Puts a value at the end of a path. Mappings on the way are made if need be, list items are not.
fn put(node: &mut Node, steps: &[Step], value: &Value, at: &At, diagnostics: &mut Diagnostics) {
    let mark = at.mark;
    let Some((step, rest)) = steps.split_first() else {
        refuse_twice(node, value, at, diagnostics);
        *node = marked(Node::new(value.clone(), mark), mark);
        return;
    };
    if node.is_null() && matches!(step, Step::Key(_)) {
        *node = Node::new(Value::Mapping(Vec::new()), mark);
    }
    match (step, &mut node.value) {
        (Step::Key(key), Value::Mapping(entries)) => {
            // The last one, should the file have the key twice: that is an error anyway.
            let found = entries.iter().rposition(|entry| entry.key == *key);
            let index = found.unwrap_or_else(|| {
                entries.push(Entry { key: key.clone(), mark, value: Node::new(Value::Null, mark) });
                entries.len() - 1
            });
            put(&mut entries[index].value, rest, value, &at.key(key, mark), diagnostics);
        }
        (Step::Item(index), Value::Sequence(items)) => {
            let length = items.len();
            match items.get_mut(*index) {
                Some(item) => put(item, rest, value, &at.item(*index, mark), diagnostics),
                None => diagnostics
                    .error(&at.item(*index, mark), format!("no such item: the list has {length}, counted from 0")),
            }
        }
        (Step::EveryItem, Value::Sequence(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                put(item, rest, value, &at.item(index, mark), diagnostics);
            }
        }
        _ => report_misfit(step, node, at, diagnostics),
    }
}

/// Flags of a run without a configuration that say what `--set` may say too.
const SAID_BY_FLAGS: [&str; 15] = [
    "--quantization",
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--router",
    "--rate",
    "--concurrency",
    "--users",
    "--requests",
    "--duration",
    "--prompt-tokens",
    "--output-tokens",
    "--rate-scale",
    "--time-scale",
    "--max-requests",
    "--sample",
];

/// A key that a flag says and `--set` says otherwise: runs would be called after what does not hold.
fn refuse_twice(node: &Node, value: &Value, at: &At, diagnostics: &mut Diagnostics) {
    if let (Origin::Flag(flag), Origin::Set(_)) = (node.mark.origin, at.mark.origin) {
        let is_scalar = !matches!(node.value, Value::Mapping(_) | Value::Sequence(_));
        if is_scalar && SAID_BY_FLAGS.contains(&flag) && node.value != *value {
            let message = format!("{flag} says {} of it, too", node.value);
            diagnostics.error_with(at, message, "leave one of them out");
        }
    }
}

/// A key of what is no mapping, an item of what is no list.
fn report_misfit(step: &Step, node: &Node, at: &At, diagnostics: &mut Diagnostics) {
    match (step, &node.value) {
        (Step::Key(key), Value::Sequence(_)) => {
            let suggestion = format!("write {}[*].{key} for every item", at.path);
            diagnostics.error_with(at, format!("this is a list, without a key {key}"), suggestion);
        }
        (Step::Key(key), other) => diagnostics.error(at, format!("{other} has no key {key}")),
        // A key that nobody knows is reported by the decoder, with the nearest one.
        (Step::Item(_) | Step::EveryItem, Value::Null) => {
            let name = at.name();
            if keys::path_of(name).is_some() {
                diagnostics.error(at, "there is no such list in the file");
            }
        }
        (Step::Item(_) | Step::EveryItem, other) => diagnostics.error(at, format!("expected a list, found {other}")),
    }
}

/// Everything below a value that a flag gave is from that flag.
pub(super) fn marked(mut node: Node, mark: Mark) -> Node {
    node.mark = mark;
    node.value = match node.value {
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(|item| marked(item, mark)).collect()),
        Value::Mapping(entries) => Value::Mapping(
            entries.into_iter().map(|entry| Entry { mark, value: marked(entry.value, mark), ..entry }).collect(),
        ),
        other => other,
    };
    node
}

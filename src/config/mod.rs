//! Configuration: files and flags in, a resolved scenario out.
//!
//! The way of a configuration:
//! - `tree`: YAML or JSON text as nodes with positions;
//! - `overrides`: `--set` and other flags, put into the tree;
//! - `keys`: every key, declared once with type, default, unit and doc (`declare` says how), decoded into structs;
//! - `resolve`: names looked up, memory and links checked, engines built.
//!
//! Every mistake of a file is reported in one go as a [`Diagnostic`] with its place, its key and a suggestion. The same
//! declarations give the [`schema`], the [`generate_config`] example and the [`reference()`].
//!
//! Invariants: nothing outside `keys` names a key of a section; a key that is not declared is an error; whatever the
//! bytes, the answer is a [`Resolved`] or diagnostics, never a panic.

mod base;
mod declare;
mod describe;
mod diagnostic;
mod engine_flags;
mod flag_file;
mod keys;
mod load_flags;
mod overrides;
mod presets;
mod resolve;
mod slo_flag;
mod trace_flags;
mod trace_run;
mod tree;
pub mod versions;

use std::io::Read;
use std::path::Path;

use oracle_components::scenario::Scenario;

use crate::inputs::{self, ReadFiles};
use crate::output::OutputPlan;
use crate::workload::Workload;
pub use base::{BaseFacts, BaseFile, Variation};
use declare::{Decode, required};
pub use describe::{framework_default, generate_config, generate_config_json, reference, schema};
pub(crate) use diagnostic::printable;
pub(crate) use diagnostic::{At, Diagnostics, Mark};
pub use diagnostic::{Diagnostic, Severity};
pub use engine_flags::EngineFlags;
pub use flag_file::{FlagsOrBase, read_flags_or_base};
pub use load_flags::LoadFlags;
pub use overrides::Overrides;
pub use presets::{Preset, presets};
use resolve::RunContext;
pub(crate) use resolve::capture_sizes;
pub use slo_flag::time_ms as slo_time_ms;
pub use trace_flags::{LoadAlone, ShapingFlags, load_alone};
pub use trace_run::{TraceRun, from_trace};
pub(crate) use tree::{Entry, Node, Value, parse as parse_tree, parse_value, texts_in};

/// What messages call what no file says.
const ROOT_NAME: &str = "command line";
/// No configuration is longer; a trace given by mistake may be.
const LONGEST_FILE_BYTES: u64 = 64 << 20;

/// A configuration, understood.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The deployment.
    pub scenario: Scenario,
    /// The load.
    pub workload: Workload,
    /// What is written, and where.
    pub output: OutputPlan,
    /// Names of client profiles by their index in request specs.
    pub profile_names: Vec<String>,
    /// What has no effect, or perhaps not the one intended.
    pub warnings: Vec<Diagnostic>,
    /// Every key with its value, defaults filled in, for the manifest.
    pub canonical: serde_json::Value,
}

/// Reads a configuration file, YAML or JSON.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; warnings too.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Resolved, Vec<Diagnostic>> {
    let file = inputs::shown(path).display().to_string();
    let bytes = read(path).map_err(|error| {
        let mut diagnostics = Diagnostics::new(&file);
        diagnostics.error(&At::root(Mark::default()), format!("cannot read the file: {error}"));
        diagnostics.into_sorted()
    })?;
    let mut resolved = load_bytes(&bytes, &file, &context_of(path), overrides)?;
    resolved.output.reads.files.push(path.to_owned());
    match &resolved.workload {
        Workload::Trace(trace) if inputs::is_standard_input(path) && inputs::is_standard_input(&trace.path) => {
            let mut diagnostics = Diagnostics::new(&file);
            let at = At::root(Mark::default()).key("workload.trace.path", Mark::default());
            diagnostics.error_with(&at, "the configuration comes from standard input already", "name a file");
            Err(diagnostics.into_sorted())
        }
        _ => Ok(resolved),
    }
}

/// What is wrong with models of the configuration's database, those that it does not use too.
#[must_use]
pub fn check_models(path: &Path, resolved: &Resolved) -> Vec<Diagnostic> {
    let database = resolved.canonical.get("model_characteristics_db_path").and_then(serde_json::Value::as_str);
    database.map_or_else(Vec::new, |name| resolve::check_models(name, &context_of(path)))
}

/// Where the names in a configuration file lead.
fn context_of(path: &Path) -> RunContext {
    let absolute = std::path::absolute(path).ok();
    RunContext {
        config_folder: absolute.and_then(|path| path.parent().map(Path::to_path_buf)),
        default_name: inputs::stem(path),
    }
}

/// What may be the name of a file to read: every text but those that say where to write.
fn named(canonical: &serde_json::Value, context: &RunContext) -> ReadFiles {
    let sections = canonical.as_object().into_iter().flatten();
    let read = sections.filter(|(key, _)| *key != "metrics_config");
    let names = read.flat_map(|(_, value)| Node::of_json(value, Mark::default()).texts());
    ReadFiles { files: Vec::new(), names: names.collect(), folder: context.config_folder.clone() }
}

/// The bytes of a file that is not too long, whatever its length is said to be.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let input = inputs::open(path)?.into_stream();
    input.take(LONGEST_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_FILE_BYTES {
        return Err(std::io::Error::other("longer than 64 MiB"));
    }
    Ok(bytes)
}

/// Reads configuration text that is in no file; messages call it `name`.
///
/// # Errors
/// Everything that is wrong with it, in order; warnings too.
pub fn load_text(text: &[u8], name: &str, overrides: &Overrides) -> Result<Resolved, Vec<Diagnostic>> {
    let context = RunContext { config_folder: None, default_name: inputs::stem(Path::new(name)) };
    load_bytes(text, name, &context, overrides)
}

/// Takes a configuration that a program has put together; messages call it `name`.
///
/// # Errors
/// Everything that is wrong with it; warnings too.
pub fn load_value(config: &serde_json::Value, name: &str, overrides: &Overrides) -> Result<Resolved, Vec<Diagnostic>> {
    let context = RunContext { config_folder: None, default_name: "run".to_owned() };
    load_tree(Node::of_json(config, Mark::default()), &context, overrides, Diagnostics::new(name))
}

fn load_bytes(
    bytes: &[u8],
    file: &str,
    context: &RunContext,
    overrides: &Overrides,
) -> Result<Resolved, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::new(file);
    let Some(root) = tree::parse(bytes, &mut diagnostics) else {
        return Err(diagnostics.into_sorted());
    };
    if root.is_null() {
        diagnostics.error_with(
            &At::root(root.mark),
            "the file is empty",
            "`llmperforacle generate-config` writes an example",
        );
        return Err(diagnostics.into_sorted());
    }
    load_tree(root, context, overrides, diagnostics)
}

fn load_tree(
    mut root: Node,
    context: &RunContext,
    overrides: &Overrides,
    mut diagnostics: Diagnostics,
) -> Result<Resolved, Vec<Diagnostic>> {
    static ROOT: declare::Key = required();
    diagnostics.suggest_keys_by(keys::path_of);
    // Flags reach into a preset of the file, and may name one themselves.
    let preset = presets::expand(&mut root, None, &mut diagnostics);
    overrides.apply(&mut root, &mut diagnostics);
    presets::expand(&mut root, preset, &mut diagnostics);
    let config = keys::Config::decode(&root, &ROOT, &At::root(root.mark), &mut diagnostics);
    let resolved = config.and_then(|config| resolve::resolve(&config, context, &mut diagnostics));
    let has_errors = diagnostics.has_errors();
    let found = diagnostics.into_sorted();
    match resolved {
        Some(mut resolved) if !has_errors => {
            resolved.output.reads = named(&resolved.canonical, context);
            Ok(Resolved { warnings: found, ..resolved })
        }
        _ => Err(found),
    }
}

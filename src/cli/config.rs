//! `validate`, `generate-config` and `schema`.

use serde_json::json;

use super::args::{FileFormat, Format, GenerateConfig, LogLevel, Schema, Validate};
use super::run::overrides;
use super::{Failure, print, print_diagnostics, print_findings, put_in_folder};
use crate::config::{
    Diagnostic, Severity, check_models, generate_config, generate_config_json, load, reference, schema as json_schema,
};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// Checks a configuration.
pub fn validate(command: &Validate, log_level: LogLevel) -> Result<(), Failure> {
    let found = find(command);
    let count = |severity| found.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let valid = errors == 0;
    match command.format {
        Format::Text => {
            print_diagnostics(&found, log_level);
            let verdict = if valid { "is valid" } else { "is not valid" };
            let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
            print(&format!("{} {verdict}: {errors}, {warnings}\n", command.config.display()))?;
        }
        format => print_findings(&Found { valid, errors, warnings, found: &found }, format)?,
    }
    if valid { Ok(()) } else { Err(Failure::BadInput(None)) }
}

/// What was found in a configuration.
struct Found<'a> {
    valid: bool,
    errors: usize,
    warnings: usize,
    found: &'a [Diagnostic],
}

impl Findings for Found<'_> {
    fn document(&self) -> Document {
        let verdict = if self.valid { "valid" } else { "not valid" };
        let counts = format!("{}, {}", counted(self.errors, "error"), counted(self.warnings, "warning"));
        let table = (!self.found.is_empty()).then(|| Block::Wide(self.records()));
        Document([Block::Title(format!("{verdict}: {counts}"))].into_iter().chain(table).collect())
    }

    fn records(&self) -> Table {
        let columns = ["severity", "file", "line", "column", "key", "message", "suggestion"];
        let row = |found: &Diagnostic| {
            let words = [severity(found), &found.file].map(Cell::of);
            let places = [found.line, found.column].map(Cell::of);
            let told =
                [found.key_path.as_str(), found.message.as_str(), found.suggestion.as_deref().unwrap_or_default()];
            words.into_iter().chain(places).chain(told.map(Cell::of)).collect()
        };
        Table { columns: columns.map(|key| Column::words(key, key)).into(), rows: self.found.iter().map(row).collect() }
    }

    fn json(&self) -> String {
        let found: Vec<_> = self.found.iter().map(as_json).collect();
        let Self { valid, errors, warnings, .. } = self;
        pretty(&json!({ "valid": valid, "errors": errors, "warnings": warnings, "found": found }))
    }
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    if diagnostic.severity == Severity::Error { "error" } else { "warning" }
}

/// Errors and warnings of a configuration, of its trace, and of the models that it could use if that is asked for.
fn find(command: &Validate) -> Vec<Diagnostic> {
    let resolved = match load(&command.config, &overrides(&command.changes)) {
        Ok(resolved) => resolved,
        Err(found) => return found,
    };
    let mut found = resolved.warnings.clone();
    if command.validate_models {
        let others = check_models(&command.config, &resolved);
        found.extend(others.into_iter().filter(|other| !resolved.warnings.contains(other)));
    }
    if let Err(error) = resolved.workload.open() {
        found.push(Diagnostic {
            severity: Severity::Error,
            file: command.config.display().to_string(),
            line: 0,
            column: 0,
            key_path: "workload".to_owned(),
            message: error.to_string(),
            suggestion: None,
            cannot_be: false,
        });
    }
    found
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn as_json(diagnostic: &Diagnostic) -> serde_json::Value {
    json!({
        "severity": severity(diagnostic),
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "key": diagnostic.key_path,
        "message": diagnostic.message,
        "suggestion": diagnostic.suggestion,
    })
}

/// Writes the example configuration.
pub fn generate(command: &GenerateConfig) -> Result<(), Failure> {
    let text = match command.format {
        FileFormat::Yaml => generate_config(),
        FileFormat::Json => generate_config_json(),
    };
    if command.output.as_os_str() == "-" {
        return print(&text);
    }
    let path = command.output.display();
    if !command.force && command.output.symlink_metadata().is_ok() {
        let message = format!("{path} exists; name another file with --output, or overwrite it with --force");
        return Err(Failure::BadInput(Some(message)));
    }
    put_in_folder(&command.output, text.as_bytes())?;
    print(&format!("wrote {path}; run it with: llmperforacle run {path}\n"))
}

/// Prints the schema.
pub fn schema(command: &Schema) -> Result<(), Failure> {
    if command.reference { print(&reference()) } else { print(&format!("{:#}\n", json_schema())) }
}

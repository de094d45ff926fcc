//! Model names: an entry of the model database, else of the catalog, else the path of a Hugging Face config.json.

use std::path::Path;
use std::sync::Arc;

use oracle_components::model::ModelArchitecture;

use crate::catalog::{self, Catalog, HfReading, ModelParams, load_hf_config_by, load_model_params};
use crate::config::declare::Field;
use crate::config::diagnostic::{Diagnostic, Diagnostics, NAMES_OFFERED, Severity, offer};
use crate::config::keys::FrameworkConfig;
use crate::config::resolve::run_context::RunContext;

/// Where models are looked up.
#[derive(Debug)]
pub(super) struct Models<'a> {
    database: Option<ModelParams>,
    context: &'a RunContext,
}

impl<'a> Models<'a> {
    /// Opens the database, if the config names one that is there.
    pub(super) fn open(path: &Field<String>, context: &'a RunContext, diagnostics: &mut Diagnostics) -> Self {
        let database = path.value.as_deref().and_then(|name| open_database(name, path, context, diagnostics));
        Self { database, context }
    }

    /// The model of a framework; where its keys say what its file is to be taken for, it need not be understood in that.
    pub(super) fn model(
        &self,
        config: &FrameworkConfig,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<ModelArchitecture>> {
        let (id, assumed) = (&config.model_profile_id, &config.assume_model_type);
        let name = id.value.as_deref()?;
        if let Some(entry) = self.database.as_ref().and_then(|database| database.model(name)) {
            self.report_findings(&entry.name, diagnostics);
            refuse_assumption(name, "the database", assumed, diagnostics);
            return Some(Arc::clone(&entry.architecture));
        }
        if self.report_findings(name, diagnostics) {
            return None;
        }
        if let Some(architecture) = Catalog::builtin().architecture(name) {
            refuse_assumption(name, "the catalog", assumed, diagnostics);
            return Some(architecture);
        }
        if let Some(path) = self.context.find(name) {
            let reading = HfReading { assumed: assumed.value.clone(), weights: config.weight_dtype.value };
            return open_hf_config(&path, id, &reading, diagnostics);
        }
        let near = if diagnostics.is_full_of(Severity::Error) { None } else { self.nearest(name) };
        let suggestion = near.unwrap_or_else(|| {
            "`llmperforacle models` lists the known ones; the path of a Hugging Face config.json \
             is one too"
                .to_owned()
        });
        diagnostics.error_with(&id.at, format!("no model {name:?} in the database or the catalog"), suggestion);
        None
    }

    /// The nearest names, those of the database first.
    fn nearest(&self, name: &str) -> Option<String> {
        let entries = self.database.iter().flat_map(|database| &database.models);
        let known = entries.map(|entry| entry.name.as_str());
        let mut near = catalog::nearest(name, known, NAMES_OFFERED);
        for other in Catalog::builtin().nearest_models(name, NAMES_OFFERED) {
            if near.len() < NAMES_OFFERED && !near.contains(&other) {
                near.push(other);
            }
        }
        offer(name, &near)
    }

    /// What the database's reader had to say about a model; whether there was an error.
    fn report_findings(&self, name: &str, diagnostics: &mut Diagnostics) -> bool {
        let Some(database) = &self.database else {
            return false;
        };
        let is_about = |key: &str| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let mut has_error = false;
        for finding in database.findings.iter().filter(|finding| is_about(&finding.key)) {
            has_error |= finding.severity == catalog::Severity::Error;
            if let Some(found) = diagnostic_of(finding) {
                diagnostics.about_another_file(found);
            }
        }
        has_error
    }
}

/// What is assumed of a file is of no effect on a model that is read from none.
fn refuse_assumption(name: &str, place: &str, assumed: &Field<String>, diagnostics: &mut Diagnostics) {
    if assumed.value.is_some() {
        let message = format!("says how a config.json is read, and {name} is a model of {place}");
        diagnostics.error_with(
            &assumed.at,
            message,
            "leave it out, or name the model's config.json, or its folder, as the model",
        );
    }
}

/// Everything that the reader of a database has to say, whether its models are used or not. Nothing of a file that is
/// not there or cannot be read, which is said where the configuration names it.
pub(in crate::config) fn check_models(name: &str, context: &RunContext) -> Vec<Diagnostic> {
    let database = context.find(name).and_then(|path| load_model_params(&path).ok());
    database.map_or_else(Vec::new, |database| database.findings.iter().filter_map(diagnostic_of).collect())
}

fn open_database(
    name: &str,
    path: &Field<String>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<ModelParams> {
    let Some(found) = context.find(name) else {
        diagnostics.warn(&path.at, format!("no file {name}; models are taken from the built-in catalog"));
        return None;
    };
    match load_model_params(&found) {
        Ok(database) => Some(database),
        Err(error) => {
            diagnostics.error(&path.at, error.to_string());
            None
        }
    }
}

fn open_hf_config(
    path: &Path,
    id: &Field<String>,
    reading: &HfReading,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<ModelArchitecture>> {
    match load_hf_config_by(path, reading) {
        Ok(model) => {
            for found in model.warnings.iter().filter_map(diagnostic_of) {
                diagnostics.about_another_file(found);
            }
            Some(Arc::new(model.architecture))
        }
        Err(error) => {
            diagnostics.error(&id.at, error.to_string());
            None
        }
    }
}

/// A finding as a diagnostic. Notes are none: what they say changes nothing.
fn diagnostic_of(finding: &catalog::Finding) -> Option<Diagnostic> {
    let severity = match finding.severity {
        catalog::Severity::Error => Severity::Error,
        catalog::Severity::Warning => Severity::Warning,
        catalog::Severity::Note => return None,
    };
    Some(Diagnostic {
        severity,
        file: finding.file.display().to_string(),
        line: finding.line.and_then(|line| u32::try_from(line).ok()).unwrap_or(0),
        column: finding.line.map_or(0, |_| 1),
        key_path: finding.key.clone(),
        message: finding.message.clone(),
        suggestion: None,
        cannot_be: false,
    })
}

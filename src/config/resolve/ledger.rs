//! Settings that a framework leaves out: what holds in their place, and why. For `summary.json` and `-l debug`.

use serde_json::Value as Json;

use crate::config::declare::{Decode, Field, Set};
use crate::output::TakenDefault;

/// The defaults that a framework took.
#[derive(Debug)]
pub(super) struct Ledger {
    framework: String,
    taken: Vec<TakenDefault>,
}

impl Ledger {
    pub(super) fn of(framework: &str) -> Self {
        Self { framework: framework.to_owned(), taken: Vec::new() }
    }

    /// The value of a key, or its default, which is noted with its reason.
    pub(super) fn settle<T: Clone>(
        &mut self,
        key: &Field<T>,
        default: T,
        shown: impl ToString,
        reason: impl Into<String>,
    ) -> T {
        if let Some(value) = &key.value {
            return value.clone();
        }
        self.note(key.at.name(), shown, reason);
        default
    }

    /// Notes the declared default of a key that is left out.
    pub(super) fn note_declared<T: Decode>(&mut self, key: &Set<T>, reason: &str) {
        if !key.given {
            let shown = match key.value.json() {
                Json::String(text) => text,
                other => other.to_string(),
            };
            self.note(key.at.name(), shown, reason);
        }
    }

    pub(super) fn note(&mut self, key: &str, value: impl ToString, reason: impl Into<String>) {
        let framework = self.framework.clone();
        self.taken.push(TakenDefault {
            framework,
            key: key.to_owned(),
            value: value.to_string(),
            reason: reason.into(),
        });
    }

    pub(super) fn into_taken(self) -> Vec<TakenDefault> {
        self.taken
    }
}

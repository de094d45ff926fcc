//! A framework on its own, as far as it is understood: its keys, its model, and which GPUs it uses how. Below all that
//! divides GPUs, wires them and makes engines of them.

use std::fmt;
use std::sync::Arc;

use oracle_components::layers::Part;
use oracle_components::model::{ModelArchitecture, RopeScaling};
use oracle_components::scenario::{EngineSpec, Role};

use crate::config::diagnostic::{At, Diagnostics, Severity};
use crate::config::keys::{ContextLength, Framework, FrameworkConfig, FrontEnd};
use crate::config::versions::{Version, since};
use crate::output::TakenDefault;

/// A framework on its own.
#[derive(Debug)]
pub(super) struct FrameworkPlan<'a> {
    pub(super) keys: &'a Framework,
    pub(super) config: &'a FrameworkConfig,
    pub(super) name: String,
    /// It is of a file of the predecessor, whose defaults hold.
    pub(super) is_of_predecessor: bool,
    pub(super) model: Option<Arc<ModelArchitecture>>,
    /// `None` after an error.
    pub(super) layout: Option<Layout>,
}

/// Which GPUs a framework uses, and how.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Ids, stage by stage.
    pub(super) gpu_ids: Vec<String>,
    pub(super) tensor_parallel: u32,
    pub(super) pipeline_parallel: u32,
    pub(super) prompt_microbatches: Option<u32>,
    /// Engines that the GPUs are divided among, which share the experts.
    pub(super) data_parallel: u32,
    /// Ranks that share the tokens of the KV cache.
    pub(super) decode_context_parallel: u32,
    /// Where the GPUs are named.
    pub(super) at: At,
}

/// The engines of the first copy of a framework.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) plan: &'a FrameworkPlan<'a>,
    pub(super) engines: Vec<EngineSpec>,
    pub(super) front_end: FrontEnd,
    /// What it left to defaults.
    pub(super) defaults: Vec<TakenDefault>,
}

impl Layout {
    /// The part of one of the engines that share the experts.
    pub(super) fn engine(&self, engine: u32) -> Self {
        let gpus = self.gpu_ids.len() / self.data_parallel as usize;
        Self { gpu_ids: self.gpu_ids[engine as usize * gpus..][..gpus].to_vec(), ..self.clone() }
    }

    /// The GPUs of a stage of the first of those engines.
    pub(super) fn stage(&self, stage: u32) -> &[String] {
        let ranks = self.tensor_parallel as usize;
        &self.gpu_ids[stage as usize * ranks..][..ranks]
    }
}

impl FrameworkPlan<'_> {
    /// The release of vLLM whose rules and defaults hold.
    pub(super) fn version(&self) -> Version {
        self.config.version.value.or(self.keys.version.value).unwrap_or(Version::NEWEST)
    }

    /// What of a request's life it serves; `None` if it takes no requests.
    pub(super) fn role(&self) -> Option<Role> {
        self.keys.is_target_for_workload.value.then(|| self.keys.role.value.unwrap_or_default())
    }

    /// Whether prefixes are cached, and if that is a default that differs from others', why (`ModelConfig.is_prefix_caching_supported`).
    pub(super) fn caches_prefixes(&self) -> (bool, Option<String>) {
        let key = &self.config.enable_prefix_caching;
        let parts = || self.model.iter().flat_map(|model| model.layers.parts()).map(|(part, _)| part);
        let has_states = parts().any(|part| matches!(part, Part::Recurrent(_)));
        if let Some(given) = key.value {
            return (given, None);
        }
        if !has_states || self.is_of_predecessor {
            return (true, None);
        }
        let attends = parts().any(|part| matches!(part, Part::Attention(_) | Part::Latent(_) | Part::Compressed(_)));
        let since = since::PREFIX_CACHING_OF_STATES;
        match (attends, self.version().has(since)) {
            (false, _) => (false, Some("vLLM has it off for models without attention".to_owned())),
            (true, false) => (false, Some(format!("vLLM has it off for models with states before {since}"))),
            (true, true) => (true, None),
        }
    }

    /// Longest context before the KV pool is looked at.
    pub(super) fn context_tokens(&self) -> u32 {
        let own = match self.model.as_ref().map(|model| model.rope_scaling) {
            Some(RopeScaling::Long { original_tokens }) => original_tokens,
            _ => self.longest_context_tokens(),
        };
        self.config.max_model_len.value.and_then(ContextLength::tokens).unwrap_or(own.max(1))
    }

    /// Longest context that vLLM starts the model with.
    pub(super) fn longest_context_tokens(&self) -> u32 {
        let Some(model) = self.model.as_deref() else { return u32::MAX };
        let stated = model.max_position_embeddings;
        match model.rope_scaling {
            RopeScaling::Yarn { original_tokens, factor } if !self.version().has(since::YARN_CONTEXT_IS_STATED) => {
                (f64::from(original_tokens) * factor) as u32
            }
            RopeScaling::None | RopeScaling::Long { .. } => stated,
            RopeScaling::Factor(_) | RopeScaling::Yarn { .. } => model.context_tokens(),
        }
    }

    /// Says that vLLM does not start it so.
    pub(super) fn refuse(&self, at: &At, reason: impl fmt::Display, way_out: &str, diagnostics: &mut Diagnostics) {
        let severity = if self.is_of_predecessor { Severity::Warning } else { self.severity() };
        diagnostics.refuse(severity, at, reason, way_out);
    }

    /// How bad it is if this framework cannot run: it matters only if it takes requests.
    pub(super) fn severity(&self) -> Severity {
        if self.keys.is_target_for_workload.value { Severity::Error } else { Severity::Warning }
    }
}

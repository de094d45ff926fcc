//! A step must end: devices, links and overheads that make one last for days are a slip in a unit.

use std::collections::HashMap;

use oracle_components::scenario::{EngineSpec, LevelOfDetail, Scenario};
use oracle_systems::costing::{StepCost, StepShape};

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::Framework;

/// Tokens of the prompt that is priced, or as many as fit in a step: vLLM's default budget.
const PROMPT_TOKENS: u32 = 2_048;
/// A step of such a prompt takes no longer, in seconds: a day. Real ones take less than a second.
const LONGEST_STEP_S: f64 = 86_400.0;

/// Reports frameworks whose steps would not end.
pub(super) fn check(frameworks: &[Framework], scenario: &Scenario, diagnostics: &mut Diagnostics) {
    let by_name: HashMap<&str, &EngineSpec> =
        scenario.engines.iter().map(|engine| (engine.name.as_str(), engine)).collect();
    // Alone: what other engines there are takes time to find out, and makes no step a thousand times as long.
    let alone = Scenario {
        horizon: None,
        seed: 0,
        level_of_detail: LevelOfDetail::Medium,
        gpus: scenario.gpus.clone(),
        links: scenario.links.clone(),
        engines: Vec::new(),
        routing: scenario.routing,
        prompt_bytes_per_token: 0.0,
        series_interval: scenario.series_interval,
    };
    for framework in frameworks {
        let Some(engine) = framework.name.value.as_deref().and_then(|name| by_name.get(name)) else { continue };
        let tokens = PROMPT_TOKENS.min(engine.scheduler.max_num_batched_tokens);
        let pairs = u64::from(tokens) * (u64::from(tokens) + 1) / 2;
        let shape = StepShape {
            prefill_tokens: tokens,
            prefill_sequences: 1,
            prefill_pairs: pairs,
            prefill_context_tokens: tokens.into(),
            sampled_rows: 1,
            ..StepShape::default()
        };
        let seconds = StepCost::new(engine, &alone).prepare(&shape).duration(0).as_secs_f64();
        if seconds > LONGEST_STEP_S {
            diagnostics.error_with(
                &framework.at,
                format!("a step of {tokens} prompt tokens would take {:.0} days", seconds / LONGEST_STEP_S),
                "check peak_tflops, memory_gbps, mfu and mbu, the step's overhead, and the links between its GPUs",
            );
        }
    }
}

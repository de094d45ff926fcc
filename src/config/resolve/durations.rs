//! Steps and transfers must end: devices, links and overheads that make one last for days are a slip in a unit.

use std::collections::HashMap;

use oracle_components::scenario::{EngineIndex, EngineSpec, KvPaths, LevelOfDetail, Scenario, SchedulerSpec};
use oracle_systems::costing::{StepCost, StepShape};
use oracle_systems::memory::kv_bytes_per_token;

use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::Framework;

/// Tokens of the prompt that is priced, or as many as fit in a step: vLLM's default budget.
const PROMPT_TOKENS: u32 = 2_048;
/// A step of such a prompt takes no longer, in seconds: a day. Real ones take less than a second.
const LONGEST_STEP_S: f64 = 86_400.0;

/// Rows of the time series that a step makes, at most: they are in memory together.
const MOST_STEP_ROWS: f64 = 1e6;
/// A token takes no longer on its way over a link, in seconds. Real ones take less than a microsecond.
const LONGEST_TOKEN_S: f64 = 1.0;

/// Reports frameworks whose steps or transfers would not end.
pub(super) fn check(frameworks: &[Framework], scenario: &Scenario, diagnostics: &mut Diagnostics) {
    let by_name: HashMap<&str, (EngineIndex, &EngineSpec)> =
        (0..).zip(&scenario.engines).map(|(index, engine)| (engine.name.as_str(), (index, engine))).collect();
    // Alone: what other engines there are takes time to find out, and makes no step a thousand times as long.
    let alone = Scenario {
        horizon: None,
        seed: 0,
        level_of_detail: LevelOfDetail::Medium,
        gpus: scenario.gpus.clone(),
        links: scenario.links.clone(),
        engines: Vec::new(),
        routing: scenario.routing,
        decode_routing: scenario.decode_routing,
        kv_paths: KvPaths::default(),
        prompt_bytes_per_token: 0.0,
        series_interval: scenario.series_interval,
    };
    for framework in frameworks {
        let Some(&(index, engine)) = framework.name.value.as_deref().and_then(|name| by_name.get(name)) else {
            continue;
        };
        check_transfers(framework, engine, scenario, diagnostics);
        check_kv_transfers(framework, index, scenario, diagnostics);
        check_steps(framework, engine, &StepCost::new(engine, &alone), scenario, diagnostics);
    }
}

/// A step of a prompt, one of as many decodes as there can be, and one of both.
fn check_steps(
    framework: &Framework,
    engine: &EngineSpec,
    cost: &StepCost,
    scenario: &Scenario,
    diagnostics: &mut Diagnostics,
) {
    let tokens = PROMPT_TOKENS.min(engine.scheduler.max_num_batched_tokens);
    let pairs = u64::from(tokens) * (u64::from(tokens) + 1) / 2;
    let prompt = StepShape {
        prefill_tokens: tokens,
        prefill_sequences: 1,
        prefill_pairs: pairs,
        prefill_context_tokens: tokens.into(),
        prefill_longest_context: tokens,
        sampled_rows: 1,
        ..StepShape::default()
    };
    let SchedulerSpec { max_num_seqs, block_tokens, max_model_len, .. } = engine.scheduler;
    let decodes = StepShape { decode_sequences: max_num_seqs, sampled_rows: max_num_seqs, ..StepShape::default() };
    let both = StepShape { decode_sequences: max_num_seqs, ..prompt };
    let longest = u64::from(max_num_seqs).saturating_mul(max_model_len.into());
    let context = engine.kv_blocks.saturating_mul(block_tokens.into()).min(longest);
    let of_prompt = format!("{tokens} prompt tokens");
    let of_decodes = format!("{max_num_seqs} sequences with {context} tokens in the KV cache");
    let of_both = format!("{of_prompt} and {of_decodes}");
    for (name, shape, context) in [(of_prompt, prompt, 0), (of_decodes, decodes, context), (of_both, both, context)] {
        let seconds = cost.prepare(&shape).duration(context).as_secs_f64();
        if seconds > LONGEST_STEP_S {
            diagnostics.error_with(
                &framework.at,
                format!("a step of {name} would take {:.0} days", seconds / LONGEST_STEP_S),
                "check peak_tflops, memory_gbps, mfu, mbu and measured times, the step's overhead, and the links between its GPUs",
            );
            return;
        }
        let rows = (seconds / scenario.series_interval.as_secs_f64() * (engine.gpus.len() + 1) as f64).ceil();
        if rows > MOST_STEP_ROWS {
            diagnostics.error_with(
                &framework.at,
                format!("a step of {name} takes {seconds:.1} s, which is {} rows of the time series", number(rows)),
                format!("raise metrics_config.timeseries_interval_s; at most {} are possible", number(MOST_STEP_ROWS)),
            );
            return;
        }
    }
}

fn check_transfers(framework: &Framework, engine: &EngineSpec, scenario: &Scenario, diagnostics: &mut Diagnostics) {
    let ways = [
        (&engine.ingress, scenario.prompt_bytes_per_token, "workload"),
        (&engine.egress, engine.response_bytes_per_token, "config"),
    ];
    for (path, bytes, section) in ways {
        let links = path.iter().map(|&link| &scenario.links[link as usize]);
        let Some(slowest) = links.min_by(|a, b| a.bytes_per_s.total_cmp(&b.bytes_per_s)) else { continue };
        let seconds = bytes / slowest.bytes_per_s;
        if seconds > LONGEST_TOKEN_S {
            diagnostics.error_with(
                &framework.at,
                format!("a token of {} bytes would take {} s over link {}", number(bytes), number(seconds), slowest.id),
                format!("check the link's bandwidth_bps and {section}.bytes_per_token_estimate_for_network"),
            );
        }
    }
}

/// KV caches that a decode engine loads.
fn check_kv_transfers(framework: &Framework, decode: EngineIndex, scenario: &Scenario, diagnostics: &mut Diagnostics) {
    let paths = scenario.kv_paths.iter().filter(|((_, to), _)| *to == decode).flat_map(|(_, paths)| paths);
    let links = paths.flatten().map(|&link| &scenario.links[link as usize]);
    let Some(slowest) = links.min_by(|a, b| a.bytes_per_s.total_cmp(&b.bytes_per_s)) else { return };
    let bytes = kv_bytes_per_token(&scenario.engines[decode as usize].model);
    let seconds = bytes / slowest.bytes_per_s;
    if seconds > LONGEST_TOKEN_S {
        let message = format!(
            "the KV cache of a token, {} bytes, would take {} s over link {}",
            number(bytes),
            number(seconds),
            slowest.id
        );
        diagnostics.error_with(&framework.at, message, "check the link's bandwidth_bps");
    }
}

//! What requests of a profile are beside plain prompts and answers.

use super::distribution::{distribution, is_never_a_token};
use crate::config::declare::Field;
use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::{self, ClientProfile};
use crate::workload::{Behaviour, Distribution, Images, MAX_TOKENS, Reasoning, Sampler, SubAgents, ToolCalls};

/// A distribution that can be drawn from, or `None` after an error.
pub(super) fn read(key: &Field<keys::Distribution>, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    let found = distribution(key.value.as_ref()?, diagnostics)?;
    let sampler = Sampler::new(&found);
    sampler.map_err(|error| diagnostics.error(&key.at, error.to_string())).ok().map(|_| found)
}

/// The same of lengths, some of which must be a token at least.
pub(super) fn tokens(key: &Field<keys::Distribution>, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    let found = read(key, diagnostics)?;
    if is_never_a_token(&found) {
        let message = "is 0 tokens whatever is drawn, which engines refuse";
        let help = "let it come to 1 or more; for requests without it leave out the mixture's part";
        diagnostics.error_with(&key.at, message, help);
    }
    if let Some(most) = found.upper_bound().filter(|&most| most > f64::from(MAX_TOKENS)) {
        let message = format!("comes to {} tokens, but at most {MAX_TOKENS} are possible", number(most));
        diagnostics.error_with(&key.at, message, "hold it below that, with type: Clipped say");
    }
    Some(found)
}

/// What a profile says of it. Parts that are wrong are left out, and reported.
pub(super) fn resolve(keys: &ClientProfile, diagnostics: &mut Diagnostics) -> Behaviour {
    let converses = keys.conversational_probability.value > 0.0;
    for (given, at, name) in [
        (keys.tool_calls.given, &keys.tool_calls.at, "tool calls"),
        (keys.sub_agents.given, &keys.sub_agents.at, "sub-agents"),
    ] {
        if given && !converses {
            let message = format!("{name} need turns that follow, and there are none");
            diagnostics.error_with(at, message, "set conversational_probability above 0");
        }
    }
    let reasoning = keys
        .reasoning
        .value
        .as_ref()
        .and_then(|keys| Some(Reasoning { tokens: tokens(&keys.tokens, diagnostics)?, is_kept: keys.kept.value }));
    let tool_calls = keys.tool_calls.value.as_ref().and_then(|keys| {
        let (time_s, result_tokens) = (read(&keys.time, diagnostics), tokens(&keys.result_tokens, diagnostics));
        Some(ToolCalls { probability: keys.probability.value, time_s: time_s?, result_tokens: result_tokens? })
    });
    let sub_agents = keys.sub_agents.value.as_ref().and_then(|keys| {
        let [count, prompt_tokens, output_tokens] =
            [&keys.count, &keys.prompt_tokens, &keys.output_tokens].map(|key| tokens(key, diagnostics));
        Some(SubAgents {
            probability: keys.probability.value,
            count: count?,
            prompt_tokens: prompt_tokens?,
            output_tokens: output_tokens?,
        })
    });
    let images = keys.images.value.as_ref().and_then(|keys| images(keys, diagnostics));
    Behaviour { length_correlation: keys.length_correlation.value, reasoning, tool_calls, sub_agents, images }
}

fn images(keys: &keys::Images, diagnostics: &mut Diagnostics) -> Option<Images> {
    if !keys.encoder_tokens_each.given {
        let message =
            "the time of the vision encoder is left out; encoder_tokens_each says how many tokens an image has there";
        diagnostics.warn(&keys.count.at, message);
    }
    Some(Images {
        count: read(&keys.count, diagnostics)?,
        tokens_each: keys.tokens_each.value?,
        encoder_tokens_each: keys.encoder_tokens_each.value.unwrap_or(0),
    })
}

//! Longer and shorter prompts and answers. What two prompts share is scaled alike: a piece ends where its end in the prompt,
//! scaled, is rounded to, and that is the same for all prompts that begin with it.

use oracle_components::request::PrefixSegment;

use crate::workload::distribution::MAX_TOKENS;
use crate::workload::trace::row::{Context, Problem, Row};

/// Scales a request's lengths.
pub(super) fn scale(row: &mut Row, prompt: f64, output: f64) -> Result<(), Problem> {
    let recorded = row.recorded.as_ref();
    let continues = recorded.is_some_and(|recorded| recorded.tail_key != 0 && recorded.turn > 0)
        || matches!(row.context, Context::History | Context::Unsaid);
    if continues && output > prompt {
        let problem =
            "its prompt holds the answers before it, and must grow as they do: output_scale is above prompt_scale";
        return Err(problem.to_owned());
    }
    if prompt != 1.0 {
        row.prompt_tokens = scaled("prompt", row.prompt_tokens, prompt)?;
        scale_pieces(&mut row.prefix, prompt);
    }
    if output != 1.0 {
        row.output_tokens = scaled("answer", row.output_tokens, output)?;
        row.max_output_tokens = row.max_output_tokens.map(|most| scaled("limit", most, output)).transpose()?;
    }
    Ok(())
}

fn scaled(what: &str, tokens: u32, by: f64) -> Result<u32, Problem> {
    let scaled = (f64::from(tokens) * by).round().max(1.0);
    if scaled > f64::from(MAX_TOKENS) {
        return Err(format!(
            "{by} times its {what} of {tokens} tokens is more than the {MAX_TOKENS} that are possible"
        ));
    }
    Ok(scaled as u32)
}

fn scale_pieces(pieces: &mut Vec<PrefixSegment>, by: f64) {
    let (mut end, mut scaled_end) = (0.0, 0);
    for piece in pieces.iter_mut() {
        end += f64::from(piece.tokens);
        let new_end = (end * by).round() as u32;
        piece.tokens = new_end - scaled_end;
        scaled_end = new_end;
    }
    pieces.retain(|piece| piece.tokens > 0);
}

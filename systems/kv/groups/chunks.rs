//! Where a chunk of a prompt ends so that the state after it can be kept.

use oracle_components::kv_groups::{KvGroups, KvKind};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};

/// A chunk that is to be computed.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its first token.
    pub start: u32,
    /// Tokens.
    pub tokens: u32,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Known tokens.
    pub known: u32,
    /// Where others have gone on otherwise; 0 if nowhere.
    pub junction: u32,
}

/// How much of a chunk is computed at once, by an engine that keeps states at the ends of blocks.
#[must_use]
#[inline(never)]
pub fn chunk_within_blocks(groups: &KvGroups, scheduler: &SchedulerSpec, span: Span) -> u32 {
    let state = groups.groups.iter().find(|group| group.kind == KvKind::State);
    let Some(state) = state.filter(|_| scheduler.prefix_caching != PrefixCaching::Off) else { return span.tokens };
    let prefill_end = span.prompt.max(span.known - 1);
    if span.start >= prefill_end {
        return span.tokens;
    }
    if groups.rules.states_are_kept_at_junctions {
        up_to_next_stop(state.block_tokens, scheduler, span, prefill_end)
    } else {
        up_to_last_block(state.block_tokens, span)
    }
}

fn up_to_next_stop(block: u32, scheduler: &SchedulerSpec, span: Span, prefill_end: u32) -> u32 {
    let Span { start, junction, .. } = span;
    let mut end = start + span.tokens;
    if end < prefill_end {
        let threshold = scheduler.long_prefill_token_threshold.unwrap_or(u32::MAX);
        let most = scheduler.max_num_batched_tokens.min(threshold);
        let aligned = end / block * block;
        if aligned > start || block <= most {
            end = aligned;
        }
    }
    let next = if start.is_multiple_of(block) { 0 } else { (start / block + 1) * block };
    let last = (span.known - 1) / block * block;
    let at_junction = if start < junction && junction < end { start + (junction - start) / block * block } else { 0 };
    let stops = [next, last, at_junction].into_iter().filter(|&stop| start < stop && stop < end);
    stops.min().unwrap_or(end).saturating_sub(start)
}

fn up_to_last_block(block: u32, span: Span) -> u32 {
    let last = span.known / block * block;
    let end = span.start + span.tokens;
    if end < last {
        span.tokens / block * block
    } else if span.start < last && last < end {
        last - span.start
    } else {
        span.tokens
    }
}

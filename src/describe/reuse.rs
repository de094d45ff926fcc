//! How much of prompts has been seen before: what a prefix cache without limit would find.
//!
//! A key of the prompt's pieces names the content up to there, so what is known of a piece is how many of its tokens have
//! been seen. The pieces of all prompts do not fit in bounded memory; when the table is full, the figures stand, and say of
//! how many requests they are.

use std::collections::HashMap;

use oracle_components::request::RequestSpec;

use super::figures::{BlockReuse, ReuseFigures};

/// Sizes of a cache's blocks: vLLM's and SGLang's, and those of published traces.
const BLOCK_TOKENS: [u32; 4] = [1, 16, 64, 512];
/// Pieces that are kept: some 100 MB.
const MOST_PIECES: usize = 1 << 22;

/// Which pieces of prompts have been seen.
pub(super) struct Reuse {
    /// Tokens seen of a piece, by its key.
    seen: HashMap<u64, u32>,
    requests: u64,
    sharing: u64,
    prompt_tokens: u64,
    by_size: [Counts; BLOCK_TOKENS.len()],
}

#[derive(Clone, Copy, Default)]
struct Counts {
    blocks: u64,
    blocks_seen: u64,
    tokens_found: u64,
}

impl Reuse {
    pub fn new() -> Self {
        Self { seen: HashMap::new(), requests: 0, sharing: 0, prompt_tokens: 0, by_size: Default::default() }
    }

    pub fn look_at(&mut self, spec: &RequestSpec) {
        if self.seen.len() >= MOST_PIECES {
            return;
        }
        let prompt = spec.prompt_tokens;
        let known = self.known(spec);
        self.requests += 1;
        self.sharing += u64::from(!spec.prefix.is_empty() || spec.tail_key != 0);
        self.prompt_tokens += u64::from(prompt);
        for (counts, block) in self.by_size.iter_mut().zip(BLOCK_TOKENS) {
            counts.blocks += u64::from(prompt.div_ceil(block));
            counts.blocks_seen += u64::from(known / block);
            // The last token of a prompt is always computed, for it gives the first of the answer.
            counts.tokens_found += u64::from(known.min(prompt - 1) / block * block);
        }
        self.keep(spec);
    }

    /// Tokens of the prompt, from its beginning, that have been seen.
    fn known(&self, spec: &RequestSpec) -> u32 {
        let mut known = 0;
        for segment in &spec.prefix {
            let seen = self.seen.get(&segment.key).copied().unwrap_or(0).min(segment.tokens);
            known += seen;
            if seen < segment.tokens {
                return known;
            }
        }
        let tail = self.seen.get(&spec.tail_key).copied().unwrap_or(0);
        known + tail.min(spec.prompt_tokens - known)
    }

    fn keep(&mut self, spec: &RequestSpec) {
        let mut held = 0;
        for segment in &spec.prefix {
            let seen = self.seen.entry(segment.key).or_default();
            *seen = segment.tokens.max(*seen);
            held += segment.tokens;
        }
        if spec.tail_key != 0 {
            // The answer too, but for its last token, which no step has computed.
            let tail = (spec.prompt_tokens - held).saturating_add(spec.output_tokens - 1);
            let seen = self.seen.entry(spec.tail_key).or_default();
            *seen = tail.max(*seen);
        }
    }

    pub fn figures(&self) -> ReuseFigures {
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let of_size = |(counts, block_tokens): (&Counts, u32)| BlockReuse {
            block_tokens,
            blocks_seen_before: share(counts.blocks_seen, counts.blocks),
            infinite_cache_hit_rate: share(counts.tokens_found, self.prompt_tokens),
        };
        ReuseFigures {
            requests: self.requests,
            requests_with_shared_content: self.sharing,
            block_sizes: self.by_size.iter().zip(BLOCK_TOKENS).map(of_size).collect(),
        }
    }
}

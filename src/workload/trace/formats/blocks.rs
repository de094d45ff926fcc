//! Hashes of blocks, which cover the prompt from its beginning; the last one may be partial. Some files name a block with everything before
//! it, others (written for AIPerf, Dynamo or vLLM's benchmark) its own tokens alone, so that an id may come back elsewhere, twice in
//! one prompt even. What is before is a part of a segment's key, which is right for both.

use oracle_components::request::PrefixSegment;

use crate::workload::streams::combine;
use crate::workload::trace::row::Problem;

/// Sizes that traces have: what is proposed where a size does not fit.
const USUAL: [u32; 8] = [16, 32, 64, 128, 256, 512, 1024, 2048];

/// How the prompts of a trace are cut into blocks.
pub(super) struct Blocks {
    /// Keeps the keys apart from those of other formats and of synthetic prefixes.
    pub namespace: u64,
    pub tokens: u32,
    /// Prompts with hashes, and those of them that have fewer than they have whole blocks.
    pub prompts: u64,
    pub short: u64,
    /// Tokens a hash of the latest of these.
    pub short_tokens: u64,
}

impl Blocks {
    pub fn new(namespace: u64, tokens: u32) -> Self {
        Self { namespace, tokens, prompts: 0, short: 0, short_tokens: 0 }
    }

    /// The segments of a prompt. Some traces name the blocks of the answer too; more hashes than these are blocks of another size.
    pub fn segments(&mut self, hashes: &[u64], prompt: u32, output: u32) -> Result<Vec<PrefixSegment>, Problem> {
        let all = u64::from(prompt) + u64::from(output);
        let count = hashes.len() as u64;
        if count > all.div_ceil(self.tokens.into()).max(1) {
            let fits = USUAL.iter().rev().find(|&&size| u64::from(prompt).div_ceil(size.into()) == count);
            let size = fits.map_or_else(|| "N".to_owned(), u32::to_string);
            return Err(format!(
                "it has {count} hash_ids for {all} tokens, but each names a block of {}; give --trace-block-size {size} \
                 (block_tokens) if its blocks are of another size",
                self.tokens
            ));
        }
        if count > 0 {
            self.prompts += 1;
            if count < u64::from(prompt / self.tokens) {
                self.short += 1;
                self.short_tokens = u64::from(prompt).div_ceil(count);
            }
        }
        let blocks = prompt.div_ceil(self.tokens);
        let mut key = self.namespace;
        let segment = |(&hash, block): (&u64, u32)| {
            key = combine(key, hash).max(1);
            PrefixSegment { key, tokens: self.tokens.min(prompt - block * self.tokens) }
        };
        Ok(hashes.iter().zip(0..blocks).map(segment).collect())
    }

    /// Where most prompts have fewer hashes than blocks, the blocks are larger than was thought.
    pub fn check(&self) -> Result<(), Problem> {
        if 2 * self.short <= self.prompts {
            return Ok(());
        }
        Err(format!(
            "{} of {} prompts have fewer hash_ids than blocks of {} tokens, the last of these {} tokens an id; give \
             --trace-block-size N (block_tokens) with the size of its blocks",
            self.short, self.prompts, self.tokens, self.short_tokens
        ))
    }
}

//! Which blocks a sequence holds: blocks for a chunk, the cached prefix, and what is left behind for others to find.

use oracle_components::scenario::PrefixCaching;

use super::pool::{BlockId, BlockName, Chain};
use crate::naive::engine::Engine;
use crate::naive::sequence::Sequence;

/// How a sequence lets go of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It has ended.
    ForGood,
    /// It was preempted and waits again; the step that is being formed had so many of its tokens.
    ToComeBack {
        /// Those.
        taken: u64,
    },
}

fn is_segment(name: BlockName) -> bool {
    matches!(name.chain, Chain::Segment(_))
}

impl Engine {
    fn caches(&self) -> bool {
        self.scheduler.prefix_caching != PrefixCaching::Off
    }

    /// Gives the running sequence at `position` the blocks for its next `chunk` tokens; then blocks of shared segments that these tokens
    /// fill get their names, whether or not others have them.
    pub fn allocate_chunk(&mut self, position: usize, chunk: u64) {
        let block_tokens = self.block_tokens();
        let sequence = &mut self.running[position];
        let end = sequence.computed + chunk;
        while (sequence.blocks.len() as u64) < end.div_ceil(block_tokens) {
            sequence.blocks.push(self.pool.allocate());
        }
        for index in sequence.computed / block_tokens..end / block_tokens {
            let name = sequence.block_name(index, &self.scheduler);
            if is_segment(name) {
                if self.pool.find(name).is_some() {
                    self.coverage.note("cached block computed again");
                }
                self.pool.name(sequence.blocks[index as usize], name);
            }
        }
    }

    /// The longest run of cached blocks that a request may begin with now.
    pub fn cached_prefix(&self, sequence: &Sequence) -> Vec<BlockId> {
        if !self.caches() {
            return Vec::new();
        }
        let at_most = (sequence.known() - 1) / self.block_tokens();
        let hit: Vec<BlockId> =
            (0..at_most).map_while(|index| self.pool.find(sequence.block_name(index, &self.scheduler))).collect();
        let tokens = hit.len() as u64 * self.block_tokens();
        let exempt = sequence.spec.turn > 0 || sequence.was_preempted();
        if !exempt && tokens < u64::from(self.scheduler.min_cached_prefix_tokens) {
            return Vec::new();
        }
        hit
    }

    /// The sequence takes its cached prefix. Tail blocks are its own from now on, and what is cached of its tail beyond
    /// them is forgotten.
    pub fn take_hit(&mut self, sequence: &mut Sequence, hit: Vec<BlockId>) {
        self.note_hit(sequence, &hit);
        let mut tail_hit = false;
        for (index, &block) in hit.iter().enumerate() {
            self.pool.take(block);
            if !is_segment(sequence.block_name(index as u64, &self.scheduler)) {
                self.pool.forget(block);
                tail_hit = true;
            }
        }
        if tail_hit {
            for block in self.pool.of_chain(sequence.tail_chain()) {
                self.coverage.note("cached tail block beyond a hit forgotten");
                self.pool.forget(block);
            }
        }
        sequence.blocks = hit;
    }

    fn note_hit(&mut self, sequence: &Sequence, hit: &[BlockId]) {
        let Some(last) = hit.len().checked_sub(1) else {
            if self.caches() && !self.pool.of_chain(sequence.tail_chain()).is_empty() {
                self.coverage.note("tail cached but not hit");
            }
            return;
        };
        let name = sequence.block_name(last as u64, &self.scheduler);
        self.coverage.note(match name.chain {
            Chain::Segment(_) => "hit within the segments",
            Chain::Tail(_) => "hit into a tail",
            Chain::Request(_) => "hit of its own blocks after a preemption",
        });
        if hit.iter().any(|&block| !self.pool.is_free(block)) {
            self.coverage.note("hit of blocks in use");
        }
        if sequence.was_preempted() {
            self.coverage.note("hit after a preemption");
        }
    }

    /// The sequence lets go of its blocks, the last one first; its tail is left for whoever may continue it. Blocks without a name are
    /// the next to be allocated.
    pub fn release(&mut self, sequence: &mut Sequence, leaving: Leaving) {
        if self.groups.is_some() {
            self.release_groups(sequence);
            return;
        }
        let blocks = std::mem::take(&mut sequence.blocks);
        let chain = sequence.tail_chain();
        let nobody_asks = matches!(chain, Chain::Request(_)) && leaving == Leaving::ForGood;
        let full =
            if self.caches() { (self.named_tokens(sequence, leaving) / self.block_tokens()) as usize } else { 0 };
        let others_cached = !self.pool.of_chain(chain).is_empty();
        let mut tail = Vec::new();
        for (index, &block) in blocks.iter().enumerate().rev() {
            if index >= full && self.scheduler.rules.unnamed_blocks_first && self.caches() {
                self.pool.give_up(block);
                continue;
            }
            self.pool.let_go(block);
            let name = sequence.block_name(index as u64, &self.scheduler);
            if index < full && !is_segment(name) {
                tail.push((block, name));
            }
        }
        if nobody_asks || tail.is_empty() {
            return;
        }
        if others_cached {
            self.coverage.note("tail left anonymous, another is cached");
            return;
        }
        self.coverage.note("tail left in the cache");
        for (block, name) in tail {
            self.pool.name(block, name);
        }
    }

    /// Tokens in blocks that have their names once they are full: a generated one is known when its step has ended.
    fn named_tokens(&self, sequence: &Sequence, leaving: Leaving) -> u64 {
        let step = self.step.iter().flat_map(|step| &step.work);
        let in_step = step.filter(|(id, _)| *id == sequence.id()).map(|(_, work)| work.tokens()).sum();
        let (taken, preempted) = match leaving {
            Leaving::ToComeBack { taken } => (taken, true),
            Leaving::ForGood => (in_step, false),
        };
        if !self.formed_ahead || !sequence.decodes() {
            return sequence.computed + taken;
        }
        let decoded_last = sequence.last_decode == Some(self.boundary);
        sequence.computed - u64::from(preempted && taken == 0 && decoded_last)
    }
}

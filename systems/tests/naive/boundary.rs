//! What a batch policy may do to its engine at a boundary: the verbs that keep the books of sequences and blocks.

use oracle_components::SimTime;
use oracle_components::record::PrefixEvent;
use oracle_components::request::RequestId;
use oracle_components::scenario::PrefixCaching;

use super::engine::Engine;
use super::kv::groups::GroupHit;
use super::kv::pool::BlockId;
use super::kv::prefix::Leaving;
use super::sequence::Sequence;

/// What a step computes of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The newest token, and the next one from it.
    Decode,
    /// This many known tokens.
    Chunk(u64),
}

impl Work {
    /// Tokens of the budget.
    pub fn tokens(self) -> u64 {
        match self {
            Self::Decode => 1,
            Self::Chunk(tokens) => tokens,
        }
    }
}

/// What of a prompt is cached.
pub enum Found {
    /// The blocks that it begins with.
    Plain(Vec<BlockId>),
    /// The same where layers of several kinds share the pool.
    Groups(GroupHit),
}

impl Found {
    /// Tokens.
    pub fn tokens(&self, block_tokens: u64) -> u64 {
        match self {
            Self::Plain(blocks) => blocks.len() as u64 * block_tokens,
            Self::Groups(hit) => hit.tokens,
        }
    }
}

impl Engine {
    /// What of a waiting sequence is cached.
    pub fn find(&self, sequence: &Sequence) -> Found {
        match self.groups {
            Some(_) => Found::Groups(self.group_hit(sequence)),
            None => Found::Plain(self.cached_prefix(sequence)),
        }
    }

    /// The running sequence at `position` computes its newest token, with a block where that begins one.
    pub fn decode(&mut self, position: usize) -> (RequestId, Work) {
        let block_tokens = self.block_tokens();
        if self.groups.is_some() {
            self.extend_groups(position, 1);
            return (self.running[position].id(), Work::Decode);
        }
        let sequence = &mut self.running[position];
        if sequence.computed.is_multiple_of(block_tokens) {
            sequence.blocks.push(self.pool.allocate());
        }
        (sequence.id(), Work::Decode)
    }

    /// The running sequence at `position` computes its next `chunk` tokens, with the blocks for them.
    pub fn extend(&mut self, position: usize, chunk: u64) -> (RequestId, Work) {
        match self.groups {
            Some(_) => self.extend_groups(position, chunk),
            None => self.allocate_chunk(position, chunk),
        }
        (self.running[position].id(), Work::Chunk(chunk))
    }

    /// The waiting sequence at `head` starts to run, from the end of its cached prefix: its position among those that run.
    pub fn admit(&mut self, head: usize, found: Found, now: SimTime) -> usize {
        let hit = found.tokens(self.block_tokens());
        let mut sequence = self.waiting.remove(head).expect("the head waits");
        self.note_admission(&mut sequence, now, hit);
        match found {
            Found::Plain(blocks) => self.take_hit(&mut sequence, blocks),
            Found::Groups(hit) => self.take_group_hit(&mut sequence, hit),
        }
        sequence.computed = hit;
        sequence.generated_in_residence = 0;
        self.running.push(sequence);
        self.running.len() - 1
    }

    fn note_admission(&mut self, sequence: &mut Sequence, now: SimTime, hit: u64) {
        let known = sequence.known();
        let record = &mut sequence.record;
        if record.preemptions > 0 {
            record.recomputed_tokens += sequence.high_water.saturating_sub(hit) as u32;
        }
        if record.scheduled.is_some() {
            return;
        }
        record.scheduled = Some(now);
        record.cached_tokens = hit as u32;
        record.prefix_event = if self.scheduler.prefix_caching == PrefixCaching::Off {
            PrefixEvent::None
        } else if hit > 0 && hit == known - 1 {
            PrefixEvent::FullHit
        } else {
            match (hit > 0, record.turn > 0) {
                (true, true) => PrefixEvent::ConversationalHit,
                (true, false) => PrefixEvent::CrossRequestHit,
                (false, true) => PrefixEvent::ConversationalMiss,
                (false, false) => PrefixEvent::Miss,
            }
        };
    }

    /// The running sequence at `position` makes room: it goes to the front of the queue, and will be computed again, the `taken` tokens
    /// of this step too.
    pub fn preempt(&mut self, position: usize, taken: u64) {
        let mut sequence = self.running.remove(position);
        self.release(&mut sequence, Leaving::ToComeBack { taken });
        sequence.took = None;
        sequence.withheld = false;
        sequence.is_done = false;
        sequence.high_water = sequence.high_water.max(sequence.computed);
        sequence.computed = 0;
        sequence.generated_in_residence = 0;
        if std::mem::take(&mut sequence.loaded_in_residence) {
            self.coverage.note("loaded sequence preempted");
        }
        sequence.record.preemptions += 1;
        self.totals.preemptions += 1;
        self.waiting.push_front(sequence);
        self.note_waiting();
    }
}

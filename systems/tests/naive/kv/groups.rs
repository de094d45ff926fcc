//! Blocks of layers of several kinds: a table a group and sequence, entry by entry, each a block or nothing.

use oracle_components::kv_groups::{KvGroup, KvGroups, KvKind};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};

use super::pool::{BlockId, BlockName};
use crate::naive::engine::Engine;
use crate::naive::sequence::Sequence;

/// What a sequence has of a group.
#[derive(Clone, Debug, Default)]
pub struct GroupTable {
    /// By position.
    pub entries: Vec<Option<BlockId>>,
    /// Those that were looked at to be named.
    pub looked_at: u64,
}

/// What of a prompt is cached for every group.
#[derive(Clone, Debug, Default)]
pub struct GroupHit {
    /// Tokens.
    pub tokens: u64,
    /// Where others have gone on otherwise.
    pub junction: u64,
    /// Group by group.
    pub tables: Vec<Vec<Option<BlockId>>>,
    /// It ends with a state that this very step computes.
    pub is_being_computed: bool,
}

fn tokens_past(kind: KvKind, tokens: u64) -> u64 {
    match kind {
        KvKind::Full => 0,
        KvKind::Window { tokens: window } => (tokens + 1).saturating_sub(window.into()),
        KvKind::Chunk { tokens: chunk } => tokens - tokens % u64::from(chunk),
        KvKind::State => tokens.saturating_sub(1),
    }
}

fn most_entries(group: &KvGroup, scheduler: &SchedulerSpec) -> Option<u64> {
    let steps = if scheduler.async_scheduling { 2 } else { 1 };
    let in_flight = u64::from(scheduler.max_num_batched_tokens) * steps;
    let longest = u64::from(scheduler.max_model_len);
    match group.kind {
        KvKind::Window { tokens } => {
            Some((u64::from(tokens) - 1 + in_flight).min(longest).div_ceil(group.block_tokens.into()) + 1)
        }
        KvKind::Chunk { tokens } => {
            Some((u64::from(tokens) + in_flight).min(longest).div_ceil(group.block_tokens.into()))
        }
        KvKind::Full | KvKind::State => None,
    }
}

/// Blocks that a request of so many tokens may need at once.
pub fn most_blocks(groups: &KvGroups, scheduler: &SchedulerSpec, tokens: u64) -> u64 {
    let mut sum = 0;
    for group in &groups.groups {
        let whole = tokens.div_ceil(group.block_tokens.into());
        let limited = groups.rules.windows_are_capped || !scheduler.reserve_full_prompt;
        sum += match (group.kind, most_entries(group, scheduler)) {
            (KvKind::State, _) => whole.min(3),
            (_, Some(most)) if limited => whole.min(most),
            _ => whole,
        };
    }
    sum
}

impl Engine {
    /// The groups, if there are any.
    fn kinds(&self) -> Vec<KvGroup> {
        self.groups.as_ref().map_or(Vec::new(), |groups| groups.groups.clone())
    }

    fn caches_blocks(&self) -> bool {
        self.scheduler.prefix_caching != PrefixCaching::Off
    }

    /// Tokens of a sequence in the step that has ended, if the batch is formed as if that were in flight.
    fn in_flight(&self, sequence: &Sequence) -> u64 {
        sequence.took.filter(|&(end, _)| self.formed_ahead && end == self.boundary).map_or(0, |(_, tokens)| tokens)
    }

    /// The running sequence at `position` lets go of what is past.
    pub fn let_go_past(&mut self, position: usize) {
        let Some(groups) = self.groups.clone() else { return };
        let sequence = &self.running[position];
        let waits = if groups.rules.windows_wait_for_output { self.in_flight(sequence) } else { 0 };
        let settled = sequence.computed - waits;
        for (at, group) in groups.groups.iter().enumerate() {
            let first = tokens_past(group.kind, settled) / u64::from(group.block_tokens);
            for entry in (0..first as usize).rev() {
                let table = &mut self.running[position].tables[at];
                if let Some(block) = table.entries.get_mut(entry).and_then(Option::take) {
                    self.coverage.note("block past its use");
                    self.let_go_of(block);
                }
            }
        }
    }

    fn let_go_of(&mut self, block: BlockId) {
        let is_worthless = self.caches_blocks() && self.pool.name_of(block).is_none();
        if is_worthless && self.scheduler.rules.unnamed_blocks_first {
            self.pool.give_up(block);
        } else {
            self.pool.let_go(block);
        }
    }

    /// Blocks that the running sequence at `position` needs for `tokens` more.
    pub fn group_blocks_needed(&self, position: usize, tokens: u64) -> u64 {
        let sequence = &self.running[position];
        let end = sequence.computed + tokens;
        let more = |(group, table): (&KvGroup, &GroupTable)| {
            let more = end.div_ceil(group.block_tokens.into()).saturating_sub(table.entries.len() as u64);
            if group.kind == KvKind::State { more.min(1) } else { more }
        };
        self.kinds().iter().zip(&sequence.tables).map(more).sum()
    }

    /// The running sequence at `position` gets the blocks for `tokens` more; those that are full by then are named.
    pub fn extend_groups(&mut self, position: usize, tokens: u64) {
        self.let_go_past(position);
        let groups = self.kinds();
        let end = self.running[position].computed + tokens;
        for (at, group) in groups.iter().enumerate() {
            let entries = end.div_ceil(group.block_tokens.into());
            while (self.running[position].tables[at].entries.len() as u64) < entries {
                let number = self.running[position].tables[at].entries.len() as u64;
                let is_state_on_the_way = group.kind == KvKind::State && number + 1 < entries;
                let block = (!is_state_on_the_way).then(|| self.pool.allocate());
                self.running[position].tables[at].entries.push(block);
            }
        }
        if self.caches_blocks() {
            (0..groups.len()).for_each(|at| self.name_full_blocks(position, at, end));
        }
    }

    fn name_full_blocks(&mut self, position: usize, at: usize, end: u64) {
        let group = self.kinds()[at];
        let block_tokens = u64::from(group.block_tokens);
        let sequence = &self.running[position];
        let unknown = u64::from(sequence.decodes() && self.in_flight(sequence) > 0);
        let full = end.min(sequence.known() - unknown) / block_tokens;
        for number in sequence.tables[at].looked_at..full {
            let sequence = &self.running[position];
            let Some(block) = sequence.tables[at].entries[number as usize] else { continue };
            if !self.may_end_a_hit(sequence, &group, number) {
                self.coverage.note("block of a window or state without a name");
                continue;
            }
            let name = self.group_name(sequence, at, (number + 1) * block_tokens);
            self.pool.name(block, name);
            if group.kind == KvKind::State {
                self.new_states.push(block);
            }
        }
        let looked_at = &mut self.running[position].tables[at].looked_at;
        *looked_at = full.max(*looked_at);
    }

    fn group_name(&self, sequence: &Sequence, at: usize, end: u64) -> BlockName {
        BlockName { chain: sequence.chain_of_token(end - 1, &self.scheduler), group: at + 1, index: end }
    }

    /// Whether a hit may end so that it needs the block with this number.
    fn may_end_a_hit(&self, sequence: &Sequence, group: &KvGroup, number: u64) -> bool {
        let groups = self.groups.as_ref().expect("it has groups");
        let Some(interval) = groups.retention_interval.map(u64::from) else { return true };
        let block_tokens = u64::from(group.block_tokens);
        let run = match group.kind {
            KvKind::Full | KvKind::Chunk { .. } => return true,
            KvKind::Window { tokens } => (u64::from(tokens) - 1).div_ceil(block_tokens),
            KvKind::State => 1,
        };
        let alignment = self.block_tokens();
        let mut ends = vec![u64::from(sequence.spec.prompt_tokens) - 1, sequence.junction];
        if let Some(times) = sequence.known().checked_div(interval) {
            ends.extend((1..=times + 1 + run).map(|times| times * interval));
        }
        ends.iter().map(|end| end - end % alignment).any(|end| {
            let end = end / block_tokens;
            number < end && number + run >= end
        })
    }

    /// The longest prefix that all groups have what they need of.
    pub fn group_hit(&self, sequence: &Sequence) -> GroupHit {
        if !self.caches_blocks() {
            return GroupHit { tables: vec![Vec::new(); self.kinds().len()], ..GroupHit::default() };
        }
        let groups = self.kinds();
        let mut kinds: Vec<KvGroup> = Vec::new();
        for group in &groups {
            if !kinds.contains(group) {
                kinds.push(*group);
            }
        }
        kinds.sort_by_key(|group| group.kind != KvKind::Full);
        let is_simple = kinds.len() == 2 && kinds[0].kind == KvKind::Full && kinds[1].kind != KvKind::Full;
        let (mut hit, mut longest) = (sequence.known() - 1, 0);
        let mut first_round = true;
        loop {
            let mut within = hit;
            for kind in &kinds {
                let found = self.longest_of_kind(sequence, kind, within);
                // What is cached of full attention is asked for once.
                if first_round || kind.kind != KvKind::Full {
                    longest = longest.max(found);
                }
                within = found;
            }
            let is_settled = within >= hit;
            hit = hit.min(within);
            first_round = false;
            if is_settled || is_simple {
                break;
            }
        }
        let exempt = sequence.spec.turn > 0 || sequence.was_preempted();
        if !exempt && hit < u64::from(self.scheduler.min_cached_prefix_tokens) {
            return GroupHit { tables: vec![Vec::new(); groups.len()], ..GroupHit::default() };
        }
        let rules = self.groups.as_ref().expect("it has groups");
        let knows_junctions = rules.retention_interval.is_some() || rules.rules.states_are_kept_at_junctions;
        let mut found = GroupHit {
            tokens: hit,
            junction: if knows_junctions && longest > hit { longest } else { 0 },
            ..GroupHit::default()
        };
        for (at, group) in groups.iter().enumerate() {
            let block_tokens = u64::from(group.block_tokens);
            let past = tokens_past(group.kind, hit) / block_tokens;
            let block = |number: u64| {
                let name = self.group_name(sequence, at, (number + 1) * block_tokens);
                (number >= past).then(|| self.pool.find(name).expect("a hit is cached"))
            };
            found.tables.push((0..hit / block_tokens).map(block).collect());
        }
        let is_new = |block: BlockId| {
            let name = self.pool.name_of(block);
            self.new_states.iter().any(|&state| self.pool.name_of(state) == name)
        };
        found.is_being_computed = found.tables.iter().flatten().flatten().any(|&block| is_new(block));
        found
    }

    /// The longest hit of the groups of a kind within so many tokens.
    fn longest_of_kind(&self, sequence: &Sequence, kind: &KvGroup, within: u64) -> u64 {
        let block_tokens = u64::from(kind.block_tokens);
        let alignment = self.block_tokens();
        let alike: Vec<usize> = (0..self.kinds().len()).filter(|&at| self.kinds()[at] == *kind).collect();
        let has = |number: u64| {
            alike.iter().all(|&at| self.pool.find(self.group_name(sequence, at, (number + 1) * block_tokens)).is_some())
        };
        let ends = (0..=within / block_tokens).rev();
        let is_aligned = |end: &u64| (end * block_tokens).is_multiple_of(alignment);
        let longest = match kind.kind {
            KvKind::Full => ends.filter(is_aligned).find(|&end| (0..end).all(has)),
            KvKind::Window { tokens } => {
                let run = (u64::from(tokens) - 1).div_ceil(block_tokens).max(1);
                ends.filter(is_aligned).find(|&end| (end.saturating_sub(run)..end).all(has))
            }
            KvKind::Chunk { tokens } => {
                let first = (within - within % u64::from(tokens)) / block_tokens;
                ends.take_while(|&end| end >= first).find(|&end| (first..end).all(has))
            }
            KvKind::State => ends.filter(is_aligned).find(|&end| end == 0 || has(end - 1)),
        };
        longest.expect("nothing is a hit too") * block_tokens
    }

    /// Blocks that are to be free for a waiting sequence to be admitted with a hit and a chunk; `None` if it has to wait for a step.
    pub fn group_blocks_to_admit(&self, sequence: &Sequence, hit: &GroupHit, chunk: u64) -> Option<u64> {
        let needed = |end: u64, is_capped: bool| -> u64 {
            let of_group = |group: &KvGroup| {
                let held = hit.tokens / u64::from(group.block_tokens);
                let entries = end.div_ceil(group.block_tokens.into());
                let capped = if is_capped {
                    most_entries(group, &self.scheduler).map_or(entries, |most| entries.min(most))
                } else {
                    entries
                };
                let more = capped.saturating_sub(held);
                if group.kind == KvKind::State { more.min(1) } else { more }
            };
            self.kinds().iter().map(of_group).sum()
        };
        let is_capped = self.groups.as_ref().is_some_and(|groups| groups.rules.windows_are_capped);
        let mut blocks = needed(hit.tokens + chunk, false);
        if self.scheduler.reserve_full_prompt {
            blocks = blocks.max(needed(sequence.known(), is_capped));
        }
        let free = hit.tables.iter().flatten().flatten().filter(|&&block| self.pool.is_free(block)).count() as u64;
        (!hit.is_being_computed).then_some(blocks + free)
    }

    /// A sequence begins with what was found.
    pub fn take_group_hit(&mut self, sequence: &mut Sequence, hit: GroupHit) {
        if hit.tokens > 0 {
            self.coverage.note("hit in all groups");
            if sequence.was_preempted() && sequence.spec.tail_key == 0 && sequence.spec.prefix.is_empty() {
                self.coverage.note("hit in all groups of blocks that nobody else asks for");
            }
        }
        if hit.junction > 0 {
            self.coverage.note("hit shorter than what a group has");
        }
        for &block in hit.tables.iter().flatten().flatten() {
            self.pool.take(block);
        }
        sequence.junction = hit.junction;
        let table = |entries: Vec<Option<BlockId>>| GroupTable { looked_at: entries.len() as u64, entries };
        sequence.tables = hit.tables.into_iter().map(table).collect();
    }

    /// A sequence lets go of all its tables, each from its last entry on.
    pub fn release_groups(&mut self, sequence: &mut Sequence) {
        for table in std::mem::take(&mut sequence.tables) {
            for &block in table.entries.iter().rev().flatten() {
                self.let_go_of(block);
            }
        }
    }

    /// How much of a chunk of a sequence from `start` on is computed, where states are kept.
    pub fn chunk_within_blocks(&self, sequence: &Sequence, start: u64, junction: u64, tokens: u64) -> u64 {
        let state = self.kinds().into_iter().find(|group| group.kind == KvKind::State);
        let Some(state) = state.filter(|_| self.caches_blocks()) else { return tokens };
        let (block, known) = (u64::from(state.block_tokens), sequence.known());
        let prefill_end = u64::from(sequence.spec.prompt_tokens).max(known - 1);
        if start >= prefill_end {
            return tokens;
        }
        let end = start + tokens;
        if !self.groups.as_ref().is_some_and(|groups| groups.rules.states_are_kept_at_junctions) {
            let last = known - known % block;
            return match () {
                () if end < last => tokens - tokens % block,
                () if start < last && last < end => last - start,
                () => tokens,
            };
        }
        let budget = u64::from(self.scheduler.max_num_batched_tokens);
        let most = self.scheduler.long_prefill_token_threshold.map_or(budget, |threshold| budget.min(threshold.into()));
        let mut wanted = end;
        if end < prefill_end && (end - end % block > start || block <= most) {
            wanted = end - end % block;
        }
        let mut stops = vec![wanted, (known - 1) - (known - 1) % block];
        if !start.is_multiple_of(block) {
            stops.push(start.next_multiple_of(block));
        }
        if start < junction && junction < wanted {
            stops.push(start + (junction - start) / block * block);
        }
        let ends = stops.into_iter().filter(|&stop| start < stop && stop <= wanted);
        ends.min().unwrap_or(start) - start
    }
}

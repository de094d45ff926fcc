//! Blocks that hold something: the queue of the free ones among them, and their names.

use oracle_components::group_blocks::{Alike, Block, BlockId, BlockName, BlockStore, Chain, LetGo, NO_BLOCK, Run};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::KvKind;
use oracle_components::request::RequestId;

use crate::kv::pool::note_peak;

/// Blocks for a sequence: those that hold nothing, else the least recently freed, which are forgotten.
pub(super) fn take(store: &mut BlockStore, pool: &mut KvPool, blocks: u32) {
    if blocks == 0 {
        return;
    }
    pool.allocated += u64::from(blocks);
    let empty = u64::from(blocks).min(pool.empty);
    pool.empty -= empty;
    let mut wanted = blocks - empty as u32;
    pool.evictable -= u64::from(wanted);
    while wanted > 0 {
        wanted -= evict(store, pool, wanted);
    }
    note_peak(pool);
}

/// Takes up to `wanted` blocks from the front of the queue: how many.
fn evict(store: &mut BlockStore, pool: &mut KvPool, wanted: u32) -> u32 {
    let id = store.front;
    let block = &mut store.blocks[id as usize];
    let mut taken = 1;
    let mut is_left = false;
    match &mut block.run {
        None => pool.evicted += u64::from(block.name.is_some()),
        Some(run) => {
            taken = run.blocks.min(wanted);
            run.blocks -= taken;
            run.first += u64::from(taken);
            is_left = run.blocks > 0;
            pool.evicted += u64::from(taken) * u64::from(run.have_names);
        }
    }
    if !is_left {
        if block.run.is_some() {
            store.runs.pop_front();
        }
        unlink(store, id);
        forget(store, id);
        store.vacant.push(id);
    }
    taken
}

/// A block for a sequence, to be listed.
pub(super) fn allocate(store: &mut BlockStore, pool: &mut KvPool) -> BlockId {
    take(store, pool, 1);
    place(store, Block { run: None, holders: 1, before: NO_BLOCK, behind: NO_BLOCK, name: None })
}

fn place(store: &mut BlockStore, block: Block) -> BlockId {
    if let Some(id) = store.vacant.pop() {
        store.blocks[id as usize] = block;
        return id;
    }
    store.blocks.push(block);
    BlockId::try_from(store.blocks.len() - 1).expect("a pool has fewer than 2^32 blocks")
}

/// One more sequence holds a cached block.
pub(super) fn hold(store: &mut BlockStore, pool: &mut KvPool, id: BlockId) {
    if store.blocks[id as usize].holders == 0 {
        unlink(store, id);
        pool.evictable -= 1;
    }
    store.blocks[id as usize].holders += 1;
    pool.allocated += 1;
    note_peak(pool);
}

/// One fewer holds a block; the last one's is free.
pub(super) fn let_go(store: &mut BlockStore, pool: &mut KvPool, id: BlockId) {
    pool.freed += 1;
    let block = &mut store.blocks[id as usize];
    block.holders -= 1;
    if block.holders > 0 {
        return;
    }
    if block.name.is_none() && store.unnamed_first {
        store.vacant.push(id);
        pool.empty += 1;
        return;
    }
    pool.evictable += 1;
    link(store, id, NO_BLOCK);
}

/// Counted blocks are free: they are where nothing is held, or a run at the back of the queue.
pub(super) fn let_go_of_counted(store: &mut BlockStore, pool: &mut KvPool, blocks: u32, have_names: bool) {
    pool.freed += u64::from(blocks);
    if !store.caches || !have_names && store.unnamed_first {
        pool.empty += u64::from(blocks);
    } else if blocks > 0 {
        pool.evictable += u64::from(blocks);
        add_run(store, blocks, have_names);
    }
}

fn add_run(store: &mut BlockStore, blocks: u32, have_names: bool) {
    let first = store.next_of_runs;
    store.next_of_runs += u64::from(blocks);
    if store.back != NO_BLOCK
        && let Some(run) = &mut store.blocks[store.back as usize].run
        && run.have_names == have_names
        // What was listed between may be gone from the queue.
        && run.first + u64::from(run.blocks) == first
    {
        run.blocks += blocks;
        return;
    }
    place_run(store, Run { first, blocks, have_names }, (store.runs.len(), NO_BLOCK));
}

/// Puts a run into the queue, in front of a block, with its place among the runs.
fn place_run(store: &mut BlockStore, run: Run, (at, behind): (usize, BlockId)) {
    let id = place(store, Block { run: Some(run), holders: 0, before: NO_BLOCK, behind: NO_BLOCK, name: None });
    link(store, id, behind);
    store.runs.insert(at, (run.first, id));
}

/// What a running sequence lets go of, and would ask for if it were preempted: the blocks at the back of the queue.
pub(super) fn note_let_go(store: &mut BlockStore, blocks: u32, end: u32, (id, alike): (RequestId, &Alike)) {
    if blocks == 0 {
        return;
    }
    let run = store.runs.front().and_then(|&(_, id)| store.blocks[id as usize].run);
    let first_left = run.map_or(store.next_of_runs, |run| run.first);
    while store.let_go.front().is_some_and(|gone| gone.end_of_all() <= first_left) {
        store.let_go.pop_front();
    }
    let first = store.next_of_runs - u64::from(blocks * alike.times);
    store.let_go.push_back(LetGo { first, blocks, end, id, group: alike.first, groups: alike.times as u16 });
}

/// What a sequence has let go of since runs have had so many blocks can be found from here on.
pub(super) fn list_let_go(store: &mut BlockStore, since: u64, chain: Chain, id: RequestId) {
    let from = store.let_go.partition_point(|gone| gone.first < since);
    let its: Vec<LetGo> = store.let_go.range(from..).filter(|gone| gone.id == id).copied().collect();
    for gone in its {
        list(store, gone, chain);
    }
}

/// What is left in the queue of blocks that were let go of in one go leaves its run.
fn list(store: &mut BlockStore, gone: LetGo, chain: Chain) {
    let end = gone.end_of_all();
    let Some(at) = store.runs.partition_point(|&(first, _)| first < end).checked_sub(1) else { return };
    let (_, id) = store.runs[at];
    let run = store.blocks[id as usize].run.expect("a run is one");
    let run_end = run.first + u64::from(run.blocks);
    let first = gone.first.max(run.first);
    if first >= end.min(run_end) {
        return;
    }
    let behind = store.blocks[id as usize].behind;
    let block_tokens = store.groups.groups[usize::from(gone.group)].block_tokens;
    for number in first..end {
        let (group, back) = gone.place_of(number);
        let one = place(store, Block { run: None, holders: 0, before: NO_BLOCK, behind: NO_BLOCK, name: None });
        link(store, one, behind);
        give_name(store, one, BlockName { group, end: gone.end - back * block_tokens, chain });
    }
    if end < run_end {
        let rest = Run { first: end, blocks: (run_end - end) as u32, ..run };
        place_run(store, rest, (at + 1, behind));
    }
    let before = (first - run.first) as u32;
    if before > 0 {
        store.blocks[id as usize].run = Some(Run { blocks: before, ..run });
    } else {
        unlink(store, id);
        store.vacant.push(id);
        store.runs.remove(at);
    }
}

/// Puts a free block into the queue, in front of another, or at the back.
fn link(store: &mut BlockStore, id: BlockId, behind: BlockId) {
    let before = match behind {
        NO_BLOCK => std::mem::replace(&mut store.back, id),
        behind => std::mem::replace(&mut store.blocks[behind as usize].before, id),
    };
    match before {
        NO_BLOCK => store.front = id,
        before => store.blocks[before as usize].behind = id,
    }
    let block = &mut store.blocks[id as usize];
    (block.before, block.behind) = (before, behind);
}

/// Takes a free block out of the queue.
fn unlink(store: &mut BlockStore, id: BlockId) {
    let Block { before, behind, .. } = store.blocks[id as usize];
    match before {
        NO_BLOCK => store.front = behind,
        before => store.blocks[before as usize].behind = behind,
    }
    match behind {
        NO_BLOCK => store.back = before,
        behind => store.blocks[behind as usize].before = before,
    }
}

/// Gives a held block its name; others may have it too.
pub(super) fn name(store: &mut BlockStore, id: BlockId, name: BlockName) {
    give_name(store, id, name);
    if store.groups.groups[usize::from(name.group)].kind == KvKind::State {
        store.new_states.push(name);
    }
}

fn give_name(store: &mut BlockStore, id: BlockId, name: BlockName) {
    let block = &mut store.blocks[id as usize];
    debug_assert!(block.name.is_none(), "a block is named once");
    block.name = Some(name);
    store.names.entry(name).or_default().push(id);
}

/// Takes a block's name away.
fn forget(store: &mut BlockStore, id: BlockId) {
    let block = &mut store.blocks[id as usize];
    let Some(name) = block.name.take() else { return };
    let alike = store.names.get_mut(&name).expect("a name leads to its blocks");
    let at = alike.iter().position(|&other| other == id).expect("a named block is found by its name");
    alike.remove(at);
    if alike.is_empty() {
        store.names.remove(&name);
    }
}

/// The block that is found by a name.
pub(super) fn find(store: &BlockStore, name: BlockName) -> Option<BlockId> {
    store.names.get(&name).map(|alike| alike[0])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oracle_components::kv_groups::{KvGroup, KvGroupRules, KvGroups};
    use oracle_components::scenario::{PrefixCaching, QueuePolicy, SchedulerRules, SchedulerSpec};

    use super::*;
    use crate::kv::groups::{new_pool, with};

    const BLOCK_TOKENS: u32 = 16;
    const SCHEDULER: SchedulerSpec = SchedulerSpec {
        max_num_seqs: 8,
        max_num_batched_tokens: 512,
        block_tokens: BLOCK_TOKENS,
        chunked_prefill: true,
        reserve_full_prompt: true,
        long_prefill_token_threshold: None,
        threshold_share_tokens: None,
        watermark_blocks: 0,
        prefill_schedule_interval: 1,
        rules: SchedulerRules::NEWEST,
        policy: QueuePolicy::Fcfs,
        max_model_len: 1024,
        prefix_caching: PrefixCaching::Full,
        min_cached_prefix_tokens: 0,
        async_scheduling: false,
        stream_interval: 1,
        max_num_queued_reqs: None,
        kv_transfer: None,
    };

    /// A sequence that is preempted lets go of two blocks.
    fn preempted(store: &mut BlockStore, pool: &mut KvPool, id: RequestId) {
        let alike = store.alike[0];
        let_go_of_counted(store, pool, 2, true);
        note_let_go(store, 2, 2 * BLOCK_TOKENS, (id, &alike));
    }

    /// It asks for them again.
    fn found(store: &mut BlockStore, id: RequestId) -> Vec<BlockId> {
        list_let_go(store, 0, Chain::Own(id), id);
        let name = |end| BlockName { group: 0, end, chain: Chain::Own(id) };
        [BLOCK_TOKENS, 2 * BLOCK_TOKENS].into_iter().filter_map(|end| find(store, name(end))).collect()
    }

    /// Of three that let go one after the other, the second takes its blocks back before the third lets go: what is at the back of the
    /// queue by then ends where the second's blocks began, not where the third's begin.
    #[test]
    fn runs_that_do_not_adjoin_are_not_joined() {
        let groups = KvGroups {
            groups: vec![KvGroup { kind: KvKind::Full, block_tokens: BLOCK_TOKENS }],
            layers: 1,
            page_bytes: 1,
            retention_interval: None,
            rules: KvGroupRules::NEWEST,
        };
        let mut pool = new_pool(6, &Arc::new(groups), &SCHEDULER);
        with(&mut pool, |grouped, pool| {
            let store = &mut grouped.store;
            take(store, pool, 6);
            preempted(store, pool, 1);
            preempted(store, pool, 2);
            assert_eq!(store.runs.len(), 1, "these adjoin");
            let second = found(store, 2);
            assert_eq!(second.len(), 2);
            second.iter().for_each(|&id| hold(store, pool, id));
            preempted(store, pool, 3);
            assert_eq!(store.runs.iter().map(|&(first, _)| first).collect::<Vec<_>>(), [0, 4]);
            assert_eq!(found(store, 3).len(), 2, "the third finds its own");
            assert_eq!(found(store, 1).len(), 2, "and so does the first");
            assert_eq!(pool.evictable, 4);
        });
    }
}

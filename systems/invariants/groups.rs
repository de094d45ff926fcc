//! What holds after every tick of a pool that layers of several kinds share.

use oracle_components::engine::Running;
use oracle_components::group_blocks::{Block, BlockStore, GroupBlocks, NO_BLOCK};
use oracle_components::kv::KvPool;

use crate::decode_classes::up_to_date_tables;
use crate::kv::groups::counted_blocks;

/// Most blocks of a pool that is gone through after a tick.
const MOST_BLOCKS_LOOKED_AT: usize = 1024;

/// Each block is free or held, by as many as say so; the queue has the free ones; names lead to their blocks and back. A bigger pool is
/// not gone through: that would cost more than the tick.
pub fn check_groups(pool: &KvPool, grouped: &GroupBlocks, running: &Running) {
    assert_eq!(grouped.tables.len(), running.count as usize, "who runs has a table, and nobody else");
    let store = &grouped.store;
    if !store.caches || store.blocks.len() > MOST_BLOCKS_LOOKED_AT {
        return;
    }
    let is_vacant = |id: usize| store.vacant.contains(&(id as u32));
    let blocks = |block: &Block| block.run.map_or(1, |run| u64::from(run.blocks));
    let listed = store.blocks.iter().enumerate().filter(|&(id, _)| !is_vacant(id)).map(|(_, block)| blocks(block));
    let tables = up_to_date_tables(running, grouped);
    let counted = tables.iter().filter_map(|table| table.counted).map(|counted| counted_blocks(grouped, counted));
    let kept: u64 = listed.chain(counted).sum();
    assert_eq!(kept, pool.total - pool.empty, "a block holds something, or is counted as one that does not");
    let mut holders = vec![0_u32; store.blocks.len()];
    for (_, id) in grouped.tables.values().flat_map(|table| &table.groups).flat_map(|group| &group.blocks) {
        holders[*id as usize] += 1;
    }
    for (block, holders) in store.blocks.iter().zip(&holders) {
        assert_eq!(block.holders, *holders, "a block is held by as many as say so");
    }
    check_queue(pool, store);
    let named = store.names.iter().flat_map(|(name, ids)| ids.iter().map(move |&id| (name, id)));
    for (name, id) in named.clone() {
        assert_eq!(store.blocks[id as usize].name.as_ref(), Some(name), "a name leads to a block of that name");
    }
    let with_names = store.blocks.iter().filter(|block| block.name.is_some());
    assert_eq!(with_names.count(), named.count(), "a block is found by its name");
}

fn check_queue(pool: &KvPool, store: &BlockStore) {
    let (mut free, mut before, mut id) = (0, NO_BLOCK, store.front);
    let (mut runs, mut end) = (store.runs.iter(), 0);
    while id != NO_BLOCK {
        let block = store.blocks[id as usize];
        assert!(block.holders == 0 && block.before == before, "the queue has free blocks, one behind the other");
        free += block.run.map_or(1, |run| u64::from(run.blocks));
        if let Some(run) = block.run {
            assert!(
                runs.next().is_some_and(|&(first, at)| at == id && first <= run.first),
                "runs are in the queue, in order"
            );
            assert!(run.blocks > 0 && end <= run.first, "a block of runs is in one of them");
            end = run.first + u64::from(run.blocks);
        }
        (before, id) = (id, block.behind);
    }
    assert!(runs.next().is_none() && end <= store.next_of_runs, "runs are in the queue");
    assert!(before == store.back && free == pool.evictable, "evictable blocks are in the queue");
}

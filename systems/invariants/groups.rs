//! What holds after every tick of a pool that layers of several kinds share.

use oracle_components::group_blocks::{BlockStore, GroupBlocks, NO_BLOCK};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::KvKind;

/// Most blocks of a pool that is gone through after a tick.
const MOST_BLOCKS_LOOKED_AT: usize = 1024;

/// Each block is free or held, by as many as say so; the queue has the free ones; names lead to their blocks and back. A bigger pool is
/// not gone through: that would cost more than the tick.
pub fn check_groups(pool: &KvPool, grouped: &GroupBlocks, running: u32) {
    assert_eq!(grouped.tables.len(), running as usize, "who runs has a table, and nobody else");
    let store = &grouped.store;
    if !store.caches || store.blocks.len() > MOST_BLOCKS_LOOKED_AT {
        return;
    }
    let is_vacant = |id: usize| store.vacant.contains(&(id as u32));
    let listed =
        store.blocks.iter().enumerate().filter(|&(id, _)| !is_vacant(id)).map(|(_, block)| u64::from(block.blocks));
    let counted = grouped
        .tables
        .values()
        .filter(|table| table.is_counted)
        .flat_map(|table| table.groups.iter().zip(&store.groups.groups));
    let counted = counted
        .filter(|(_, group)| group.kind != KvKind::State)
        .map(|(table, _)| u64::from(table.entries - table.first));
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
    let with_names = store.blocks.iter().filter(|block| block.is_found);
    assert_eq!(with_names.count(), named.count(), "a block is found by its name");
}

fn check_queue(pool: &KvPool, store: &BlockStore) {
    let (mut free, mut before, mut id) = (0, NO_BLOCK, store.front);
    while id != NO_BLOCK {
        let block = store.blocks[id as usize];
        assert!(block.holders == 0 && block.before == before, "the queue has free blocks, one behind the other");
        free += u64::from(block.blocks);
        (before, id) = (id, block.behind);
    }
    assert!(before == store.back && free == pool.evictable, "evictable blocks are in the queue");
}

//! Blocks that hold something: the queue of the free ones among them, and their names.

use oracle_components::group_blocks::{Block, BlockId, BlockName, BlockStore, NO_BLOCK};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::KvKind;

use crate::kv::pool::note_peak;

/// Blocks for a sequence: those that hold nothing, else the least recently freed, which are forgotten.
pub(super) fn take(store: &mut BlockStore, pool: &mut KvPool, blocks: u32) {
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
    let taken = block.blocks.min(wanted);
    block.blocks -= taken;
    if let Some(name) = &mut block.name {
        pool.evicted += u64::from(taken);
        if !block.is_found {
            name.end -= taken * store.groups.groups[usize::from(name.group)].block_tokens;
        }
    }
    if block.blocks == 0 {
        unlink(store, id);
        forget(store, id);
        store.vacant.push(id);
    }
    taken
}

/// A block for a sequence, to be listed.
pub(super) fn allocate(store: &mut BlockStore, pool: &mut KvPool) -> BlockId {
    take(store, pool, 1);
    place(store, Block { blocks: 1, is_found: false, holders: 1, before: NO_BLOCK, behind: NO_BLOCK, name: None })
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

/// Counted blocks are free: the run that they are in the queue, if they are there. `name` is that of the last, if they have names.
pub(super) fn let_go_of_run(
    store: &mut BlockStore,
    pool: &mut KvPool,
    blocks: u32,
    name: Option<BlockName>,
) -> Option<BlockId> {
    if blocks == 0 {
        return None;
    }
    pool.freed += u64::from(blocks);
    if !store.caches || name.is_none() && store.unnamed_first {
        pool.empty += u64::from(blocks);
        return None;
    }
    pool.evictable += u64::from(blocks);
    let run = Block { blocks, is_found: false, holders: 0, before: NO_BLOCK, behind: NO_BLOCK, name };
    let id = place(store, run);
    link(store, id, NO_BLOCK);
    Some(id)
}

/// The blocks of a run can be found from here on, if it is still one of `chain`'s.
pub(super) fn list_run(store: &mut BlockStore, id: BlockId, is_its: impl Fn(&BlockName) -> bool) {
    let block = store.blocks[id as usize];
    let Some(name) = block.name.filter(|name| is_its(name) && block.holders == 0 && !block.is_found) else { return };
    let block_tokens = store.groups.groups[usize::from(name.group)].block_tokens;
    for back in 0..block.blocks {
        let name = BlockName { end: name.end - back * block_tokens, ..name };
        let one = if back + 1 == block.blocks {
            store.blocks[id as usize].blocks = 1;
            id
        } else {
            let one = Block { blocks: 1, before: NO_BLOCK, behind: NO_BLOCK, ..block };
            let one = place(store, one);
            link(store, one, id);
            one
        };
        store.blocks[one as usize].name = None;
        give_name(store, one, name);
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
    (block.name, block.is_found) = (Some(name), true);
    store.names.entry(name).or_default().push(id);
}

/// Takes a block's name away.
fn forget(store: &mut BlockStore, id: BlockId) {
    let block = &mut store.blocks[id as usize];
    let is_found = std::mem::take(&mut block.is_found);
    let Some(name) = block.name.take().filter(|_| is_found) else { return };
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

//! The KV pool, block by block: each block is an object with its holders and perhaps a name, the free ones stand in a
//! queue. Everything is found by looking at it.

use std::collections::{HashMap, VecDeque};

/// Position of a block in the pool.
pub type BlockId = usize;

/// The content that a named block is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chain {
    /// A shared segment of prompts, by its key.
    Segment(u64),
    /// What follows the segments in the prompts of one session, by its tail key.
    Tail(u64),
    /// What follows the segments of a request without a tail key, by the request's id.
    Request(u64),
}

/// What a cached block holds: the block at this index of a prompt, in this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockName {
    /// The chain that the block's last token lies in.
    pub chain: Chain,
    /// 0, or with groups the group's number, from 1.
    pub group: usize,
    /// Index of the block in its prompt; with groups the tokens that end with it.
    pub index: u64,
}

#[derive(Clone, Debug, Default)]
struct Block {
    holders: u32,
    name: Option<BlockName>,
}

/// What the pool has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolCounts {
    /// Blocks that left the free queue.
    pub left_queue: u64,
    /// Blocks that came back to it.
    pub came_back: u64,
    /// Times a sequence got hold of a block: new ones, hits and blocks shared with others.
    pub handed_out: u64,
    /// Times a sequence let go of a block.
    pub handed_back: u64,
    /// Most blocks that were held at any moment.
    pub held_peak: u64,
    /// Named blocks that were allocated to hold something else.
    pub evicted: u64,
}

/// All the blocks of one engine.
pub struct Pool {
    blocks: Vec<Block>,
    free: VecDeque<BlockId>,
    /// The blocks of each name, in the order in which they got it.
    names: HashMap<BlockName, Vec<BlockId>>,
    /// What has happened here.
    pub counts: PoolCounts,
}

impl Pool {
    /// A pool of empty blocks.
    pub fn new(blocks: u64) -> Self {
        Self {
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            free: (0..blocks as usize).collect(),
            names: HashMap::new(),
            counts: PoolCounts::default(),
        }
    }

    /// Blocks in the free queue.
    pub fn free_blocks(&self) -> u64 {
        self.free.len() as u64
    }

    /// Blocks that some sequence holds.
    pub fn held_blocks(&self) -> u64 {
        (self.blocks.len() - self.free.len()) as u64
    }

    /// The front of the free queue, for one holder; what it held is forgotten.
    pub fn allocate(&mut self) -> BlockId {
        let id = *self.free.front().expect("the scheduler looked for room before");
        if self.blocks[id].name.is_some() {
            self.counts.evicted += 1;
            self.forget(id);
        }
        self.take(id);
        id
    }

    /// One more holder for a block, which leaves the free queue if it was there.
    pub fn take(&mut self, id: BlockId) {
        if self.is_free(id) {
            self.free.retain(|&other| other != id);
            self.counts.left_queue += 1;
            self.counts.held_peak = self.counts.held_peak.max(self.held_blocks());
        }
        self.blocks[id].holders += 1;
        self.counts.handed_out += 1;
    }

    /// One holder fewer; the last one's block goes to the back of the free queue, name and all.
    pub fn let_go(&mut self, id: BlockId) {
        assert!(self.blocks[id].holders > 0, "block {id} has no holder");
        self.blocks[id].holders -= 1;
        self.counts.handed_back += 1;
        if self.blocks[id].holders == 0 {
            self.free.push_back(id);
            self.counts.came_back += 1;
        }
    }

    /// The only holder of a block that holds nothing of use lets go of it: it is the next to be allocated.
    pub fn give_up(&mut self, id: BlockId) {
        assert_eq!(self.blocks[id].holders, 1, "holders of block {id}");
        self.let_go(id);
        self.free.rotate_right(1);
    }

    /// The name of a block, if it has one.
    pub fn name_of(&self, id: BlockId) -> Option<BlockName> {
        self.blocks[id].name
    }

    /// Whether nobody holds the block.
    pub fn is_free(&self, id: BlockId) -> bool {
        self.blocks[id].holders == 0
    }

    /// The block that had that name first, of those that have it.
    pub fn find(&self, name: BlockName) -> Option<BlockId> {
        self.names.get(&name).map(|blocks| blocks[0])
    }

    /// Names an anonymous block.
    pub fn name(&mut self, id: BlockId, name: BlockName) {
        assert_eq!(self.blocks[id].name, None, "block {id} has a name");
        self.names.entry(name).or_default().push(id);
        self.blocks[id].name = Some(name);
    }

    /// Takes a block's name away, if it has one.
    pub fn forget(&mut self, id: BlockId) {
        let Some(name) = self.blocks[id].name.take() else { return };
        let blocks = self.names.get_mut(&name).expect("a name leads to its blocks");
        blocks.retain(|&other| other != id);
        if blocks.is_empty() {
            self.names.remove(&name);
        }
    }

    /// The cached blocks of a chain.
    pub fn of_chain(&self, chain: Chain) -> Vec<BlockId> {
        self.names.iter().filter(|(name, _)| name.chain == chain).flat_map(|(_, ids)| ids.iter().copied()).collect()
    }

    /// Each block is free or held, exactly one of them, by as many as say so; names lead to their blocks and back.
    pub fn check<'a>(&self, held: impl Iterator<Item = &'a BlockId>) {
        let mut holders = vec![0; self.blocks.len()];
        for &id in held {
            holders[id] += 1;
        }
        let mut queued = vec![0; self.blocks.len()];
        for &id in &self.free {
            queued[id] += 1;
        }
        for (id, block) in self.blocks.iter().enumerate() {
            assert_eq!(block.holders, holders[id], "holders of block {id}");
            let expected = u32::from(block.holders == 0);
            assert_eq!(queued[id], expected, "block {id} in the free queue");
            if let Some(name) = block.name {
                assert!(self.names[&name].contains(&id), "name of block {id}");
                let private = name.group == 0 && !matches!(name.chain, Chain::Segment(_));
                assert!(!private || block.holders == 0, "a cached tail block in use");
            }
        }
        let named = self.blocks.iter().filter(|block| block.name.is_some());
        assert_eq!(self.names.values().map(Vec::len).sum::<usize>(), named.count(), "names without a block");
        let counts = self.counts;
        assert_eq!(counts.left_queue - counts.came_back, self.held_blocks());
    }
}

//! The KV pool, in blocks: `pool` gives them out, takes them back and evicts; `prefix` names them and finds them again; `groups` is
//! the pool of layers of several kinds.
//!
//! Law: blocks are conserved (`empty + evictable + held = total`), and on every chain of segments what is cached is a
//! prefix: a sequence holds a chain from its first block, lets it go last block first, and the queue of free blocks gives
//! up the oldest first. So a chain can be counted instead of listed, and a look-up costs one step a segment.

pub mod groups;
mod pool;
mod prefix;
mod segment;

pub use pool::{allocate, free_blocks, further_blocks, held_blocks, new_pool, release_all, release_empty};
pub use prefix::{BlockKeys, Held, Hit, block_keys, extend, look_up, release, take_hit};

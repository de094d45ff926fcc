//! A shared segment of prompts in the cache: its original and the copies, in runs.
//!
//! vLLM names a block by its content. A sequence that computes what another has computed already keeps its own block of that
//! name (`BlockPool.cache_full_blocks`), and who asks for the name gets the block that had it first (`BlockHashToBlockMap`).

use oracle_components::key_map::KeyMap;
use oracle_components::kv::{Holding, Run, Segment};

/// Whether blocks of it wait in the queue of free blocks under this stamp.
pub fn has_stamp(segment: &Segment, stamp: u64) -> bool {
    segment.runs.iter().any(|run| run.free.iter().any(|&(_, other)| other == stamp))
}

/// Takes up to `wanted` blocks from the end of the free stretch with this stamp: how many, how many of these could have been
/// found, and whether its entry is used up (or stale: none taken).
pub fn evict(segments: &mut KeyMap<Segment>, key: u64, stamp: u64, wanted: u32) -> (u32, u32, bool) {
    let Some(segment) = segments.get_mut(&key) else {
        return (0, 0, true);
    };
    let has = |run: &Run| run.free.last().is_some_and(|&(_, last)| last == stamp);
    let Some(at) = segment.runs.iter().rposition(has) else {
        return (0, 0, true);
    };
    let run = &mut segment.runs[at];
    let (first, _) = *run.free.last().expect("it has the stamp");
    let taken = (run.end - first).min(wanted);
    run.end -= taken;
    let mut used_up = run.end == first;
    if used_up {
        run.free.pop();
        if run.end == run.first {
            segment.runs.remove(at);
        }
        used_up = !has_stamp(segment, stamp);
    }
    if segment.runs.is_empty() {
        segments.remove(&key);
    }
    (taken, taken, used_up)
}

/// The blocks that are found for the first `blocks` of a segment, as far as the cache has them: of which run each stretch is.
pub fn find(segment: &Segment, blocks: u32) -> impl Iterator<Item = (usize, u32, u32)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let covers = |run: &Run| run.first <= next && next < run.end;
        let at = segment.runs.iter().position(covers).filter(|_| next < blocks)?;
        let run = &segment.runs[at];
        // An earlier copy that begins later is found from there on.
        let earlier = segment.runs[..at].iter().filter(|other| other.copy < run.copy && other.first > next);
        let end = earlier.map(|other| other.first).fold(run.end.min(blocks), u32::min);
        let found = (at, next, end);
        next = end;
        Some(found)
    })
}

/// The block behind the last that a sequence holds.
pub fn held_to(run: &Run) -> u32 {
    run.holders.last().map_or(run.first, |&(end, _)| end)
}

/// What a hold takes out of the queue of free blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unfreed {
    /// Blocks.
    pub blocks: u32,
    /// Entries of the queue.
    pub entries: usize,
}

/// One more sequence holds a run from its first block to before `end`.
pub fn hold(segment: &mut Segment, at: usize, end: u32) -> Unfreed {
    let run = &mut segment.runs[at];
    let held = held_to(run);
    add_holder(run, end);
    let blocks = end.saturating_sub(held);
    let mut gone = smallvec::SmallVec::<[u64; 4]>::new();
    while let Some(&(first, stamp)) = run.free.first().filter(|&&(first, _)| first < end) {
        let stretch_end = run.free.get(1).map_or(run.end, |&(next, _)| next);
        debug_assert!(first >= held, "what is held is not free");
        if stretch_end > end {
            run.free[0].0 = end;
            break;
        }
        run.free.remove(0);
        gone.push(stamp);
    }
    let entries = gone.iter().filter(|&&stamp| !has_stamp(segment, stamp)).count();
    Unfreed { blocks, entries }
}

fn add_holder(run: &mut Run, end: u32) {
    match run.holders.binary_search_by_key(&end, |&(end, _)| end) {
        Ok(at) => run.holders[at].1 += 1,
        Err(at) => run.holders.insert(at, (end, 1)),
    }
}

fn drop_holder(run: &mut Run, end: u32) {
    let at = run.holders.binary_search_by_key(&end, |&(end, _)| end).expect("a sequence lets go of what it holds");
    run.holders[at].1 -= 1;
    if run.holders[at].1 == 0 {
        run.holders.remove(at);
    }
}

/// Divides a run before block `at_block`: who holds it holds both parts.
pub fn divide(segment: &mut Segment, at: usize, at_block: u32) {
    let run = &mut segment.runs[at];
    let mut rest = Run { first: at_block, holders: Vec::new(), free: Vec::new(), ..run.clone() };
    for &(end, sequences) in &run.holders {
        if end > at_block {
            rest.holders.push((end, sequences));
        }
    }
    for (place, &(first, stamp)) in run.free.iter().enumerate() {
        let end = run.free.get(place + 1).map_or(run.end, |&(next, _)| next);
        if end > at_block {
            rest.free.push((first.max(at_block), stamp));
        }
    }
    run.free.retain(|&(first, _)| first < at_block);
    run.end = at_block;
    let through: u32 = rest.holders.iter().map(|&(_, sequences)| sequences).sum();
    run.holders.retain(|&(end, _)| end <= at_block);
    match run.holders.last_mut() {
        Some((end, sequences)) if *end == at_block => *sequences += through,
        _ if through > 0 => run.holders.push((at_block, through)),
        _ => {}
    }
    segment.runs.insert(at + 1, rest);
}

/// A sequence that holds the original before block `from` has computed the blocks from there to before `to`: whether the original
/// goes on with them, which it does if nobody has computed them yet.
pub fn extend_original(segment: &mut Segment, from: u32, to: u32) -> bool {
    if segment.runs.iter().any(|run| run.end > from) {
        return false;
    }
    if from == 0 {
        segment.copies = 1;
        segment.runs.push(Run { copy: 0, first: 0, end: to, holders: vec![(to, 1)], free: Vec::new() });
        return true;
    }
    let at = segment.runs.iter().rposition(|run| run.copy == 0 && run.end == from);
    at.is_some_and(|at| grow(&mut segment.runs[at], from, to))
}

/// The run goes on with the blocks that its deepest holder has computed, if that holds all of it.
fn grow(run: &mut Run, from: u32, to: u32) -> bool {
    if held_to(run) < from {
        return false;
    }
    drop_holder(run, from);
    run.end = to;
    add_holder(run, to);
    true
}

/// A sequence that holds the blocks before `from`, by `holdings` unless these are the original's, has computed those from there to
/// before `to`, of which the cache has some: it has a copy.
pub fn name(segment: &mut Segment, key: u64, (from, to): (u32, u32), holdings: &mut Vec<Holding>) {
    let own = holdings.iter_mut().rev().find(|holding| holding.key == key);
    if let Some(last) = own {
        let others = |run: &Run| run.end > from && run.first < to && run.copy >= last.copy;
        let is_last = !segment.runs.iter().any(others);
        let at = segment.runs.iter().rposition(|run| run.copy == last.copy && run.end == from);
        if is_last && at.is_some_and(|at| grow(&mut segment.runs[at], from, to)) {
            last.end = to;
            return;
        }
    } else if from > 0 {
        holdings.push(Holding { key, copy: 0, first: 0, end: from });
    }
    let copy = segment.copies.max(1);
    segment.copies = copy + 1;
    segment.runs.push(Run { copy, first: from, end: to, holders: vec![(to, 1)], free: Vec::new() });
    holdings.push(Holding { key, copy, first: from, end: to });
}

/// A sequence lets go of blocks of a copy, the last first: of each run that these are in, the stretch that nobody holds any more
/// gets a stamp of `stamp`.
pub fn release(segment: &mut Segment, copy: u32, (first, end): (u32, u32), mut stamp: impl FnMut(u32) -> u64) {
    let mut end = end;
    for at in (0..segment.runs.len()).rev() {
        let run = &mut segment.runs[at];
        if run.copy != copy || run.first < first || run.first >= end {
            continue;
        }
        drop_holder(run, end);
        let still_held = held_to(run);
        if still_held < end {
            run.free.insert(0, (still_held, stamp(end - still_held)));
        }
        end = run.first;
    }
    debug_assert_eq!(end, first, "what was held is let go");
}

//! Decodes by what happens to their blocks, where layers of several kinds share the pool: only those are looked at in a step whose
//! blocks begin, are full or are past in it.

use oracle_components::engine::{Running, StepClock};
use oracle_components::group_blocks::{DecodeClasses, Decoding};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvGroups, KvKind};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
use oracle_components::sequence::Sequence;

use crate::kv::groups::{self, Taking};

/// No decodes of an engine with groups.
#[must_use]
pub fn no_decodes(groups: &KvGroups, scheduler: &SchedulerSpec) -> DecodeClasses {
    let modulus = groups::alignment(groups, scheduler.prefix_caching);
    let is_ahead = scheduler.async_scheduling;
    let waits_for_output = is_ahead && groups.rules.windows_wait_for_output;
    let has_blocks = |group: &&KvGroup| group.kind != KvKind::State || scheduler.prefix_caching != PrefixCaching::Off;
    let begins = |group: &KvGroup, tokens: u32| tokens.is_multiple_of(group.block_tokens);
    let taking = (0..modulus).filter_map(|tokens| {
        let blocks = groups.groups.iter().filter(has_blocks).filter(|group| begins(group, tokens)).count();
        (blocks > 0).then_some((tokens, blocks as u32))
    });
    let is_busy = |group: &KvGroup, tokens: u32| {
        let named = tokens + u32::from(!is_ahead);
        // A multiple of the modulus more, so that nothing is below 0.
        let settled = tokens + 2 * modulus - u32::from(waits_for_output);
        let lets_go = match group.kind {
            KvKind::Full => false,
            KvKind::Window { tokens } => begins(group, settled + modulus - (tokens - 1) % modulus),
            KvKind::Chunk { tokens } => settled.is_multiple_of(groups::greatest_common_divisor(tokens, modulus)),
            KvKind::State => begins(group, settled - 1),
        };
        begins(group, tokens) || begins(group, named) || lets_go
    };
    let busy =
        (0..modulus).filter(|&tokens| groups.groups.iter().filter(has_blocks).any(|group| is_busy(group, tokens)));
    DecodeClasses {
        classes: vec![Vec::new(); modulus as usize],
        taking: taking.collect(),
        busy: busy.collect(),
        fresh: Vec::new(),
        is_ahead,
        waits_for_output,
    }
}

fn decoding(sequence: &Sequence) -> Decoding {
    let base = u64::from(sequence.computed).wrapping_sub(sequence.entered_step);
    Decoding { admission: sequence.admission, id: sequence.id, base, since: sequence.entered_step }
}

fn class_of(classes: &DecodeClasses, base: u64) -> usize {
    let modulus = classes.classes.len() as i64;
    // As a signed number: steps may be more than tokens.
    (base as i64).rem_euclid(modulus) as usize
}

/// A sequence decodes from here on; its counts are those of the last boundary.
pub fn join(running: &mut Running, sequence: &Sequence) {
    if let Some(classes) = &mut running.by_blocks {
        join_class(classes, decoding(sequence));
    }
}

#[inline(never)]
fn join_class(classes: &mut DecodeClasses, one: Decoding) {
    let class = class_of(classes, one.base);
    let alike = &mut classes.classes[class];
    let at = alike.partition_point(|other| other.admission < one.admission);
    alike.insert(at, one);
    classes.fresh.push(one);
}

/// A decode is apart from the others, or leaves; its counts are still those of its entry.
pub fn leave(running: &mut Running, sequence: &Sequence) {
    if let Some(classes) = &mut running.by_blocks {
        leave_class(classes, decoding(sequence));
    }
}

#[inline(never)]
fn leave_class(classes: &mut DecodeClasses, one: Decoding) {
    let class = class_of(classes, one.base);
    let at = classes.classes[class].binary_search_by_key(&one.admission, |other| other.admission);
    classes.classes[class].remove(at.expect("a decode is in its class"));
    classes.fresh.retain(|other| other.admission != one.admission);
}

/// Those with so many tokens in the KV cache, modulo the classes, at a step count.
fn with_tokens(classes: &DecodeClasses, tokens: u32, step: u64) -> &[Decoding] {
    &classes.classes[class_of(classes, u64::from(tokens).wrapping_sub(step))]
}

/// How many blocks the decodes take in the step with this number, if none that they let go of counts.
#[must_use]
#[inline(never)]
pub fn blocks_needed(classes: &DecodeClasses, step: u64) -> u64 {
    let of = |&(tokens, blocks): &(u32, u32)| with_tokens(classes, tokens, step).len() as u64 * u64::from(blocks);
    classes.taking.iter().map(of).sum()
}

/// The decodes to whose blocks something may happen in the step with this number, in order of admission.
#[inline(never)]
pub fn due(classes: &mut DecodeClasses, step: u64, due: &mut Vec<Decoding>) {
    due.clear();
    for &tokens in &classes.busy {
        due.extend_from_slice(with_tokens(classes, tokens, step));
    }
    if !classes.fresh.is_empty() {
        due.extend_from_slice(&classes.fresh);
        // In the first step what is past of the prompt goes, or in the second, if the first waits for the chunk before it.
        classes.fresh.retain(|one| one.since >= step);
    }
    due.sort_unstable();
    due.dedup();
}

/// What a decode takes of the step with this number.
#[must_use]
#[inline(never)]
pub fn taking(classes: &DecodeClasses, pool: &KvPool, one: Decoding, step: u64) -> Taking {
    let computed = one.base.wrapping_add(step) as u32;
    let in_flight = match () {
        () if !classes.waits_for_output => 0,
        () if one.since < step => 1,
        () => groups::taken_before(pool.grouped.as_ref().expect("classes are of pools with groups"), one.id, step),
    };
    let end = computed + 1;
    Taking { settled: computed - in_flight, end, known: end - u32::from(classes.is_ahead) }
}

/// What happens to the blocks of decodes in the steps after the first of an epoch; how many are held in each of all is noted.
pub fn run_steps(running: &mut Running, pool: &mut KvPool, clock: &StepClock, steps: u64) {
    if let Some(classes) = &mut running.by_blocks {
        run_steps_of(classes, pool, clock, steps);
    }
}

#[inline(never)]
fn run_steps_of(classes: &mut DecodeClasses, pool: &mut KvPool, clock: &StepClock, steps: u64) {
    let held = |pool: &KvPool| pool.total - pool.empty - pool.evictable;
    let mut all_held = std::mem::take(&mut pool.grouped.as_mut().expect("classes are of pools with groups").held);
    all_held.clear();
    all_held.push(held(pool));
    let mut ones = Vec::new();
    for step in clock.steps + 1..clock.steps + steps {
        run_step(classes, pool, step, &mut ones);
        all_held.push(held(pool));
    }
    pool.grouped.as_mut().expect("classes are of pools with groups").held = all_held;
}

/// What happens to the blocks of decodes in the step with this number.
#[inline(never)]
pub fn run_step(classes: &mut DecodeClasses, pool: &mut KvPool, step: u64, ones: &mut Vec<Decoding>) {
    due(classes, step, ones);
    for &one in ones.iter() {
        let taking = taking(classes, pool, one, step);
        groups::extend(pool, one.id, taking);
    }
    groups::forget_new_states(pool);
}

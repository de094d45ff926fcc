//! Decodes by what happens to their blocks, where layers of several kinds share the pool: only those are looked at in a step whose
//! blocks begin, are full or are past in it, and of those that are counted only how many.

use std::cmp::Reverse;

use oracle_components::engine::{Running, StepClock};
use oracle_components::group_blocks::{Alike, DecodeClasses, DecodeEvents, Decoding, GroupBlocks, Table};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvGroups, KvKind};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
use oracle_components::sequence::Sequence;

use crate::kv::{self, groups, groups::Taking};

/// No decodes of an engine with groups.
#[must_use]
pub fn no_decodes(groups: &KvGroups, scheduler: &SchedulerSpec) -> DecodeClasses {
    let modulus = groups::alignment(groups, scheduler.prefix_caching);
    let alike = groups::in_a_row(groups, scheduler.prefix_caching);
    let is_ahead = scheduler.async_scheduling;
    let waits_for_output = is_ahead && groups.rules.windows_wait_for_output;
    let has_blocks = |group: &KvGroup| group.kind != KvKind::State || scheduler.prefix_caching != PrefixCaching::Off;
    let begins = |group: &KvGroup, tokens: u32| tokens.is_multiple_of(group.block_tokens);
    let lets_go = |group: &KvGroup, tokens: u32| {
        // A multiple of the modulus more, so that nothing is below 0.
        let settled = tokens + 2 * modulus - u32::from(waits_for_output);
        match group.kind {
            KvKind::Full => false,
            KvKind::Window { tokens } => begins(group, settled + modulus - (tokens - 1) % modulus),
            KvKind::Chunk { tokens } => settled.is_multiple_of(groups::greatest_common_divisor(tokens, modulus)),
            KvKind::State => begins(group, settled - 1),
        }
    };
    let events_at = |tokens: u32| {
        let with_blocks = (0_u16..).zip(&alike).filter(|(_, alike)| has_blocks(&alike.group));
        let mut events = DecodeEvents::default();
        for (at, Alike { group, times, .. }) in with_blocks {
            events.taken += times * u32::from(begins(group, tokens));
            if lets_go(group, tokens) {
                events.letting_go.push(at);
            }
            events.is_busy |= begins(group, tokens + u32::from(!is_ahead));
        }
        events.is_busy |= events.taken > 0 || !events.letting_go.is_empty();
        events
    };
    let events: Vec<DecodeEvents> = (0..modulus).map(events_at).collect();
    DecodeClasses {
        classes: vec![Vec::new(); modulus as usize],
        busy: (0..modulus).filter(|&tokens| events[tokens as usize].is_busy).collect(),
        most_taken: events.iter().map(|events| events.taken).max().unwrap_or(0),
        events,
        fresh: Vec::new(),
        listed: 0,
        seen_to: 0,
        is_ahead,
        waits_for_output,
        due: Vec::new(),
    }
}

fn base_of(sequence: &Sequence) -> u64 {
    u64::from(sequence.computed).wrapping_sub(sequence.entered_step)
}

fn class_of(classes: &DecodeClasses, base: u64) -> usize {
    let modulus = classes.classes.len() as i64;
    // As a signed number: steps may be more than tokens.
    (base as i64).rem_euclid(modulus) as usize
}

/// A sequence decodes from here on; its counts are those of the last boundary.
pub fn join(running: &mut Running, pool: &KvPool, sequence: &Sequence) {
    if let Some(classes) = &mut running.by_blocks {
        classes.fresh.push(Decoding {
            admission: sequence.admission,
            id: sequence.id,
            base: base_of(sequence),
            since: sequence.entered_step,
            kept: groups::kept_of(pool, sequence.prompt_tokens),
            is_counted: groups::is_all_counted(pool, sequence.id),
        });
    }
}

/// A decode is apart from the others, or leaves; its counts are still those of its entry.
pub fn leave(running: &mut Running, pool: &mut KvPool, sequence: &Sequence) {
    if let Some(classes) = &mut running.by_blocks {
        leave_class(classes, pool, sequence);
    }
}

#[inline(never)]
fn leave_class(classes: &mut DecodeClasses, pool: &mut KvPool, sequence: &Sequence) {
    if let Some(at) = classes.fresh.iter().position(|one| one.admission == sequence.admission) {
        classes.fresh.remove(at);
        return;
    }
    let class = class_of(classes, base_of(sequence));
    let at = classes.classes[class].binary_search_by_key(&sequence.admission, |one| one.admission);
    let one = classes.classes[class].remove(at.expect("a decode is in its class"));
    if one.is_counted {
        groups::bring_up(pool, one.id, settled_in(classes, one.base, classes.seen_to - 1));
    } else {
        classes.listed -= 1;
    }
}

/// Those that are no longer fresh after the step with this number are in their classes from here on.
fn settle_fresh(classes: &mut DecodeClasses, step: u64) {
    let mut at = 0;
    while at < classes.fresh.len() {
        // In the first step what is past of the prompt goes, or in the second, if the first waits for the chunk before it.
        if classes.fresh[at].since >= step {
            at += 1;
            continue;
        }
        let one = classes.fresh.swap_remove(at);
        classes.listed += u32::from(!one.is_counted);
        let class = class_of(classes, one.base);
        let alike = &mut classes.classes[class];
        alike.insert(alike.partition_point(|other| other.admission < one.admission), one);
    }
}

/// The classes in which anything may happen in the step with this number, with what that is.
fn busy_classes(classes: &DecodeClasses, step: u64) -> impl Iterator<Item = (&DecodeEvents, &[Decoding])> {
    let modulus = classes.classes.len();
    let passed = (step % modulus as u64) as usize;
    classes.busy.iter().map(move |&tokens| {
        let tokens = tokens as usize;
        let class = if tokens >= passed { tokens - passed } else { tokens + modulus - passed };
        (&classes.events[tokens], &classes.classes[class][..])
    })
}

/// How many blocks the decodes take in the step with this number, if none that they let go of counts.
#[must_use]
#[inline(never)]
pub fn blocks_needed(classes: &DecodeClasses, step: u64) -> u64 {
    let in_class = |(events, alike): (&DecodeEvents, &[Decoding])| u64::from(events.taken) * alike.len() as u64;
    let of_fresh = |one: &Decoding| u64::from(events_of(classes, one.base, step).taken);
    busy_classes(classes, step).map(in_class).sum::<u64>() + classes.fresh.iter().map(of_fresh).sum::<u64>()
}

fn events_of(classes: &DecodeClasses, base: u64, step: u64) -> &DecodeEvents {
    &classes.events[class_of(classes, base.wrapping_add(step))]
}

/// The decodes to whose blocks something may happen in the step with this number, the last admitted first.
#[inline(never)]
pub fn list_due(classes: &mut DecodeClasses, step: u64) {
    let mut due = std::mem::take(&mut classes.due);
    due.clear();
    for (events, alike) in busy_classes(classes, step) {
        let is_eventful = events.taken > 0 || !events.letting_go.is_empty();
        due.extend(alike.iter().filter(|one| is_eventful || !one.is_counted));
    }
    classes.due = due;
    list_fresh(classes, step);
}

/// Those that are fresh are due, too.
fn list_fresh(classes: &mut DecodeClasses, step: u64) {
    classes.due.extend_from_slice(&classes.fresh);
    classes.due.sort_unstable_by_key(|one| Reverse(one.admission));
    settle_fresh(classes, step);
    classes.seen_to = step + 1;
}

/// What a decode takes of the step with this number, of whose tokens one is in flight if any may be.
fn settled_in(classes: &DecodeClasses, base: u64, step: u64) -> Taking {
    let computed = base.wrapping_add(step) as u32;
    let end = computed + 1;
    let settled = computed - u32::from(classes.waits_for_output);
    Taking { settled, end, known: end - u32::from(classes.is_ahead) }
}

/// Tokens of a decode whose blocks have names before a step, and those that are settled in it.
fn named_and_settled(classes: &DecodeClasses, one: &Decoding, step: u64) -> (u32, u32) {
    let Taking { settled, known, .. } = settled_in(classes, one.base, step);
    (known - 1, settled)
}

/// What a decode that is past its first step has taken so far, as far as its table may not say so.
#[must_use]
pub fn taken_so_far(classes: &DecodeClasses, sequence: &Sequence) -> Option<Taking> {
    let is_fresh = sequence.entered_step + 1 >= classes.seen_to;
    (!is_fresh).then(|| settled_in(classes, base_of(sequence), classes.seen_to - 1))
}

/// Those that are due in the step with this number and were admitted before one get their blocks for it, and let go of what is past.
pub fn see_to_due(classes: &mut DecodeClasses, pool: &mut KvPool, step: u64, admission: u64) {
    while let Some(&one) = classes.due.last().filter(|one| one.admission < admission) {
        classes.due.pop();
        see_to(classes, pool, one, step);
    }
}

fn see_to(classes: &DecodeClasses, pool: &mut KvPool, one: Decoding, step: u64) {
    let mut taking = settled_in(classes, one.base, step);
    if one.is_counted && one.since + 1 < step {
        groups::extend_counted(pool, &one, events_of(classes, one.base, step), named_and_settled(classes, &one, step));
        return;
    }
    if classes.waits_for_output && one.since == step {
        let grouped = pool.grouped.as_ref().expect("classes are of pools with groups");
        taking.settled = taking.end - 1 - groups::taken_before(grouped, one.id, step);
    }
    groups::extend(pool, one.id, taking);
}

/// What happens to the blocks of decodes in the steps after the first of an epoch; how many are held in each of all is noted.
pub fn run_steps(running: &mut Running, pool: &mut KvPool, clock: &StepClock, steps: u64) {
    if let Some(classes) = &mut running.by_blocks {
        run_steps_of(classes, pool, clock, steps);
    }
}

#[inline(never)]
fn run_steps_of(classes: &mut DecodeClasses, pool: &mut KvPool, clock: &StepClock, steps: u64) {
    let mut all_held = std::mem::take(&mut pool.grouped.as_mut().expect("classes are of pools with groups").held);
    all_held.clear();
    all_held.push(kv::held_blocks(pool));
    for step in clock.steps + 1..clock.steps + steps {
        run_step(classes, pool, step);
        groups::forget_new_states(pool);
        all_held.push(kv::held_blocks(pool));
    }
    pool.grouped.as_mut().expect("classes are of pools with groups").held = all_held;
}

/// What happens to the blocks of decodes in the step with this number.
#[inline(never)]
pub fn run_step(classes: &mut DecodeClasses, pool: &mut KvPool, step: u64) {
    if !run_step_at_once(classes, pool, step) {
        list_due(classes, step);
        see_to_due(classes, pool, step, u64::MAX);
    } else if classes.fresh.is_empty() {
        classes.seen_to = step + 1;
    } else {
        list_fresh(classes, step);
        see_to_due(classes, pool, step, u64::MAX);
    }
}

/// The same for all that are not fresh, if it does not show in which order they take blocks and let go of some, and they are before
/// those that are: whether that is so.
fn run_step_at_once(classes: &DecodeClasses, pool: &mut KvPool, step: u64) -> bool {
    let first_fresh = classes.fresh.iter().map(|one| one.admission).min().unwrap_or(u64::MAX);
    let (mut taken, mut letting_go) = (0, None);
    for (events, alike) in busy_classes(classes, step) {
        let Some(last) = alike.last() else { continue };
        taken += events.taken * alike.len() as u32;
        if !events.letting_go.is_empty() && letting_go.replace((events, alike)).is_some()
            || last.admission > first_fresh
        {
            return false;
        }
    }
    classes.listed == 0 && groups::step_at_once(pool, taken, letting_go, |one| named_and_settled(classes, one, step))
}

/// The tables of all that run, as they would be if each were kept up to date.
#[must_use]
pub fn up_to_date_tables(running: &Running, grouped: &GroupBlocks) -> Vec<Table> {
    let classes = running.by_blocks.as_ref().expect("pools with groups have decodes by classes");
    let mut tables = grouped.tables.clone();
    for one in classes.classes.iter().flatten().filter(|one| one.is_counted) {
        let table = tables.get_mut(&one.id).expect("a running sequence has a table");
        groups::bring_table_up(table, settled_in(classes, one.base, classes.seen_to - 1));
    }
    tables.into_values().collect()
}

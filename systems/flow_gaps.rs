//! The widest gap that a client has seen between two flows of streamed tokens, for all that decode together.
//!
//! Gaps stand in the order of time and get narrower: one that a later one is as wide as is never the widest again.

use std::collections::VecDeque;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::Running;
use oracle_components::sequence::Sequence;

/// Notes the widest gap between flows that steps until `end` sent, and between the first of these and the one before.
pub fn note(gaps: &mut VecDeque<(SimTime, SimTime)>, end: SimTime, widest: SimTime) {
    while gaps.back().is_some_and(|&(_, earlier)| earlier <= widest) {
        gaps.pop_back();
    }
    gaps.push_back((end, widest));
}

/// The widest gap since the boundary `since`, if there was any.
#[must_use]
pub fn widest_since(gaps: &VecDeque<(SimTime, SimTime)>, since: SimTime) -> Option<SimTime> {
    let first = gaps.partition_point(|&(end, _)| end <= since);
    gaps.get(first).map(|&(_, widest)| widest)
}

/// Drops gaps that nobody asks for any more, where they are many: no decode has its last told token before the first of those
/// that run was scheduled.
pub fn drop_old(running: &mut Running, sequences: &Query<&mut Sequence>) {
    const MANY: usize = 24;
    if running.flow_gaps.len() >= MANY {
        drop_before_all(running, sequences);
    }
}

#[cold]
fn drop_before_all(running: &mut Running, sequences: &Query<&mut Sequence>) {
    let oldest = running.admitted.front().copied().flatten().and_then(|entity| sequences.get(entity).ok());
    let Some(scheduled) = oldest.and_then(|sequence| sequence.scheduled.get()) else { return };
    while running.flow_gaps.front().is_some_and(|&(end, _)| end <= scheduled) {
        running.flow_gaps.pop_front();
    }
}

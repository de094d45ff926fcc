//! Streamed tokens: a flow a step, on a lane of the engine's own.

use oracle_components::SimTime;
use oracle_components::engine::{Engine, StepClock};
/// When the client has the flow of streamed tokens of `bytes` a step, for steps that ended at `step_ends`: the widest gap between
/// two of these, and between the first and the flow before.
pub fn stream(engine: &Engine, clock: &mut StepClock, bytes: f64, step_ends: &[SimTime]) -> SimTime {
    let (mut received, mut gap) = (SimTime::ZERO, SimTime::ZERO);
    for &(bytes_per_s, latency) in &engine.egress_rates {
        let serialisation = SimTime::from_secs_f64(bytes / bytes_per_s);
        received += serialisation + latency;
        gap = gap.max(serialisation);
    }
    let mut widest = SimTime::ZERO;
    for &end in step_ends {
        let start = end.max(clock.lane_free);
        clock.lane_free = start + gap;
        let before = std::mem::replace(&mut clock.flow_received, start + received);
        widest = widest.max(clock.flow_received.since(before));
    }
    widest
}

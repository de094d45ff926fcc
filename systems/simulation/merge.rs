//! What worlds brought in a window, and how it leaves: in the order in which a single world would have left it.

use super::shard::sink_of;
use crate::ports::{RecordSink, SinkClosed};
use crate::world::{RecordKey, Shared};
use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, RequestRecord};
use oracle_components::work::LinkUsage;
/// What a world brought in a window: the sink of shards and of the dispatcher.
#[derive(Default)]
pub struct WindowOutput {
    pub records: Vec<RequestRecord>,
    pub record_order: Vec<RecordKey>,
    pub rows: Vec<IntervalRow>,
    pub traffic: Vec<LinkUsage>,
    /// Spans of steps: their beginning, how many they are, and how many sequences gained a token in each.
    spans: Vec<(SimTime, usize, u64)>,
    /// The ends of those steps.
    step_ends: Vec<SimTime>,
}

impl RecordSink for WindowOutput {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.records.push(record.clone());
        Ok(())
    }

    fn token_gap(&mut self, at: SimTime, gap: SimTime, sequences: u64) {
        self.spans.push((at - gap, 1, sequences));
        self.step_ends.push(at);
    }

    fn token_gaps(&mut self, from: SimTime, step_ends: &[SimTime], sequences: u64) {
        self.spans.push((from, step_ends.len(), sequences));
        self.step_ends.extend(step_ends);
    }

    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed> {
        self.rows.push(row.clone());
        Ok(())
    }
}

impl WindowOutput {
    /// Takes what a world has left, and leaves it an empty output.
    pub fn of(shared: &mut Shared, empty: Self) -> Self {
        let mut output = std::mem::replace(sink_of::<Self>(&mut shared.ports), empty);
        std::mem::swap(&mut output.record_order, &mut shared.ports.record_order);
        std::mem::swap(&mut output.traffic, &mut shared.traffic);
        output
    }

    pub fn clear(&mut self) {
        self.records.clear();
        self.record_order.clear();
        self.rows.clear();
        self.traffic.clear();
        self.spans.clear();
        self.step_ends.clear();
    }
}

/// Hands what worlds have brought to the sink: records in their order, the rest world by world.
pub fn hand_over(outputs: &[WindowOutput], sink: &mut dyn RecordSink) -> Result<(), SinkClosed> {
    let mut order: Vec<(RecordKey, u32, u32)> = Vec::new();
    for (output, world) in outputs.iter().zip(0..) {
        order.extend(output.record_order.iter().zip(0..).map(|(&key, position)| (key, world, position)));
    }
    order.sort_unstable();
    for (_, world, position) in order {
        sink.request(&outputs[world as usize].records[position as usize])?;
    }
    for output in outputs {
        let mut step_ends = &output.step_ends[..];
        for &(from, steps, sequences) in &output.spans {
            let (these, others) = step_ends.split_at(steps);
            sink.token_gaps(from, these, sequences);
            step_ends = others;
        }
        output.rows.iter().try_for_each(|row| sink.interval(row))?;
    }
    Ok(())
}

//! What comes to an engine at a boundary, and who has given up by then.

use oracle_components::SimTime;
use oracle_components::record::{Reason, Status};

use super::engine::Engine;
use super::kv::prefix::Leaving;
use super::sequence::Ended;

impl Engine {
    /// By when a request has to be delivered to be seen at a boundary.
    pub fn seen_until(&self, now: SimTime) -> SimTime {
        if self.formed_ahead { self.last_step } else { now }
    }

    /// Requests that have been delivered by `until` join the waiting queue.
    pub fn enqueue_delivered(&mut self, until: SimTime) {
        while let Some(first) = self.in_transit.front()
            && first.delivered <= until
        {
            self.waiting.extend(self.in_transit.pop_front());
        }
        self.note_waiting();
    }

    /// The waiting and running requests whose clients have given up by `now`, in order of deadline and id.
    pub fn expire(&mut self, now: SimTime) -> Vec<Ended> {
        std::iter::from_fn(|| self.expire_one(now)).collect()
    }

    fn expire_one(&mut self, now: SimTime) -> Option<Ended> {
        let ready = self.handoffs.loading.iter().filter(|sequence| sequence.loaded().is_some_and(|at| at <= now));
        // A loaded sequence could not have been looked at before.
        let ready = ready.map(|sequence| (sequence.deadline().max(sequence.loaded().unwrap_or_default()), sequence));
        let running = self.running.iter().filter(|sequence| sequence.leaving.is_none());
        let others = self.waiting.iter().chain(running).map(|sequence| (sequence.deadline(), sequence));
        let all = ready.chain(others).filter(|&(at, _)| at <= now);
        let (_, id, deadline) = all.map(|(at, sequence)| (at, sequence.id(), sequence.deadline())).min()?;
        if let Some(at) = self.waiting.iter().position(|other| other.id() == id) {
            self.coverage.note("timeout while waiting");
            let sequence = self.waiting.remove(at)?;
            if sequence.is_remote() {
                self.coverage.note("KV cache abandoned before it was loaded");
                let computed = sequence.record.prefill.as_ref().and_then(|prefill| prefill.computed);
                self.handoffs.abandoned.extend(computed.map(|computed| (computed.engine, id)));
            }
            return Some(sequence.end(deadline, Status::Timeout, Reason::TimeoutWaiting));
        }
        if let Some(at) = self.handoffs.loading.iter().position(|other| other.id() == id) {
            self.coverage.note("timeout of a loaded sequence without a slot");
            let mut sequence = self.handoffs.loading.remove(at);
            self.release(&mut sequence, Leaving::ForGood);
            return Some(sequence.end(deadline, Status::Timeout, Reason::TimeoutWaiting));
        }
        self.coverage.note("timeout while running");
        let at = self.position(id);
        let mut sequence = self.running.remove(at);
        self.release(&mut sequence, Leaving::ForGood);
        Some(sequence.end(deadline, Status::Timeout, Reason::TimeoutRunning))
    }
}

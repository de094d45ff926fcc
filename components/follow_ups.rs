//! Requests that follow from another's end, the earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::request::RequestSpec;
use crate::time::SimTime;

/// Follow-ups in order of arrival, and those of an instant in the order in which they came in.
///
/// The heap orders small keys, and the requests stay where they were put: sifting whole requests is a miss of the cache a level.
#[derive(Clone, Debug, Default)]
pub struct FollowUps {
    /// Arrival, position in the order in which follow-ups came in, place in `specs`.
    order: BinaryHeap<Reverse<(SimTime, u64, u32)>>,
    specs: Vec<Option<RequestSpec>>,
    free_places: Vec<u32>,
    came_in: u64,
}

impl FollowUps {
    /// When the earliest arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<SimTime> {
        self.order.peek().map(|&Reverse((arrival, ..))| arrival)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds one.
    ///
    /// # Panics
    /// There are 2³² already.
    pub fn push(&mut self, spec: RequestSpec) {
        let arrival = spec.arrival;
        let place = if let Some(place) = self.free_places.pop() {
            self.specs[place as usize] = Some(spec);
            place
        } else {
            self.specs.push(Some(spec));
            u32::try_from(self.specs.len() - 1).expect("fewer than 2^32 requests are to come")
        };
        self.order.push(Reverse((arrival, self.came_in, place)));
        self.came_in += 1;
    }

    /// Takes the earliest.
    pub fn pop(&mut self) -> Option<RequestSpec> {
        let Reverse((.., place)) = self.order.pop()?;
        self.free_places.push(place);
        self.specs[place as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(arrival: u64, session: u64) -> RequestSpec {
        RequestSpec {
            arrival: SimTime(arrival),
            profile: 0,
            client: 0,
            session,
            turn: 0,
            prompt_tokens: 1,
            max_output_tokens: 1,
            output_tokens: 1,
            priority: 0,
            streaming: true,
            timeout: SimTime::NEVER,
            prefix: Vec::new(),
            encoder_tokens: 0,
            tail_key: 0,
        }
    }

    /// Sessions stand for the order in which they came in.
    #[test]
    fn requests_leave_by_arrival_and_those_of_an_instant_in_order() {
        let mut follow_ups = FollowUps::default();
        for (number, arrival) in [5, 3, 5, 1].into_iter().enumerate() {
            follow_ups.push(spec(arrival, number as u64));
        }
        assert_eq!(follow_ups.pop().map(|spec| spec.session), Some(3));
        follow_ups.push(spec(5, 4));
        follow_ups.push(spec(2, 5));
        assert_eq!(follow_ups.next_arrival(), Some(SimTime(2)));
        let left = std::iter::from_fn(|| follow_ups.pop()).map(|spec| spec.session);
        assert_eq!(left.collect::<Vec<_>>(), [5, 1, 0, 2, 4]);
        assert!(follow_ups.is_empty());
    }
}

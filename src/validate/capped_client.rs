//! A client that sends requests as they are due, but never has more than so many in flight.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use oracle_components::SimTime;
use oracle_systems::ports::RequestSource;

use super::requests_file::RecordedRequest;
use crate::workload::{InFlight, Places, Stuck};

/// Longest that such a client takes from an answer to a request that waited for it. One that was measured takes 0.2 ms, and
/// 12 ms where many answers end at once.
const REACTION_S: f64 = 0.02;

/// The source under a client that has no more requests in flight than `most`, if it has a limit.
pub(super) fn in_flight(source: Box<dyn RequestSource>, most: Option<u32>) -> Box<dyn RequestSource> {
    match most {
        None => source,
        Some(most) => Box::new(
            InFlight::new(source, &Places::of(most), None, 0, Stuck::default()).expect("a limit is 1 at least"),
        ),
    }
}

/// When requests were due at a client that has at most `most` in flight, in seconds, where only their sending was recorded. One
/// that was sent as soon as an answer made room had been waiting for it: it was due no later than the one before it, and how
/// much earlier does not matter. `None` if nobody recorded when answers ended.
pub(super) fn due_s(requests: &[RecordedRequest], most: u32) -> Option<Vec<f64>> {
    let first_s = requests.first()?.arrival_s;
    let at = |seconds: f64| SimTime::from_secs_f64(seconds - first_s);
    let mut ends = BinaryHeap::new();
    // When the last answer ended that made room at a full client.
    let mut room_since = None;
    let (mut due_s, mut waiting_since_s) = (Vec::new(), first_s);
    for request in requests {
        let sent_s = request.arrival_s;
        while let Some(&Reverse(end)) = ends.peek()
            && end <= at(sent_s)
        {
            if ends.len() == most as usize {
                room_since = Some(end);
            }
            ends.pop();
        }
        let reaction = SimTime::from_secs_f64(REACTION_S);
        if room_since.is_none_or(|room| at(sent_s).since(room) > reaction) {
            waiting_since_s = sent_s;
        }
        due_s.push(waiting_since_s);
        ends.push(Reverse(at(sent_s + request.e2e_s()?)));
    }
    Some(due_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arrival_s: f64, real_e2e_ms: Option<f64>) -> RecordedRequest {
        RecordedRequest {
            arrival_s,
            prompt_tokens: 10,
            output_tokens: 2,
            ideal_prefix_hit_tokens: 0,
            tenant: None,
            real_ttft_ms: None,
            real_tpot_ms: None,
            real_e2e_ms,
        }
    }

    #[test]
    fn what_was_sent_upon_an_answer_had_been_waiting() {
        let sent = |answers_ms: f64| {
            let times = [5.0, 5.1, 6.0002, 6.1001, 7.0004, 8.1];
            times.map(|at_s| request(at_s, Some(answers_ms))).to_vec()
        };
        // Two in flight from 5.1 to 6, when the first ends: its place is taken at once, and so are those after it, but for the
        // last, which came when there had been room for a while.
        assert_eq!(due_s(&sent(1000.0), 2), Some(vec![5.0, 5.1, 5.1, 5.1, 5.1, 8.1]));
        // Nothing waits where answers take no time, nor where there was room all along.
        assert_eq!(due_s(&sent(50.0), 2), Some(vec![5.0, 5.1, 6.0002, 6.1001, 7.0004, 8.1]));
        assert_eq!(due_s(&sent(1000.0), 9), Some(vec![5.0, 5.1, 6.0002, 6.1001, 7.0004, 8.1]));
        assert_eq!(due_s(&[request(0.0, None), request(1.0, None)], 1), None, "nobody knows when answers ended");
    }
}

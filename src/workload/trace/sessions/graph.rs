//! Who waits for whom within a session. Knows no rows: requests are numbers, 0 .. n in the order of the file.
//!
//! The laws (tested against a twin that looks at all of them again after every end): every request is sent exactly once, at
//! the latest answer of those it waits for plus its pause, never before; once a request has failed, nothing that would follow
//! an answer is sent any more, while what was sent goes on to its end.

use oracle_components::SimTime;
use smallvec::SmallVec;

/// What a request waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wait {
    /// Those that must have been answered; empty: it is sent at a time of its own.
    pub requests: SmallVec<[u32; 2]>,
    /// From the last of their answers to when it is sent.
    pub pause: SimTime,
}

/// An open session.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// Sent and not ended, or to be sent at a time of their own.
    in_flight: u32,
    /// Waiting for others.
    waiting: u32,
    failed: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    unanswered: u32,
    pause: SimTime,
    latest_answer: SimTime,
    followers: SmallVec<[u32; 2]>,
}

impl Graph {
    /// A session of requests that wait for each other as said, without a cycle ([`cycle`]).
    pub fn new(waits: &[Wait]) -> Self {
        let mut nodes = vec![Node::default(); waits.len()];
        let mut waiting = 0;
        for (wait, request) in waits.iter().zip(0..) {
            let node = &mut nodes[request as usize];
            node.unanswered = wait.requests.len() as u32;
            node.pause = wait.pause;
            waiting += u32::from(!wait.requests.is_empty());
            for &other in &wait.requests {
                nodes[other as usize].followers.push(request);
            }
        }
        Self { in_flight: waits.len() as u32 - waiting, waiting, nodes, failed: false }
    }

    /// A request was answered at `at`: hands those that are to be sent now, and when, to `send`.
    pub fn answered(&mut self, request: u32, at: SimTime, mut send: impl FnMut(u32, SimTime)) {
        self.in_flight -= 1;
        if self.failed {
            return;
        }
        for follower in std::mem::take(&mut self.nodes[request as usize].followers) {
            let node = &mut self.nodes[follower as usize];
            node.unanswered -= 1;
            node.latest_answer = node.latest_answer.max(at);
            if node.unanswered == 0 {
                self.waiting -= 1;
                self.in_flight += 1;
                send(follower, node.latest_answer.saturating_add(node.pause));
            }
        }
    }

    /// A request failed, was refused or timed out: how many requests will therefore never be sent.
    pub fn failed(&mut self) -> u32 {
        self.in_flight -= 1;
        self.failed = true;
        std::mem::take(&mut self.waiting)
    }

    /// A request that was to be sent is not: it would come after the end of the run.
    pub fn dropped(&mut self) {
        self.in_flight -= 1;
    }

    /// No request is in flight and none is to come.
    pub fn is_over(&self) -> bool {
        // What waits for a dropped request waits in vain.
        self.in_flight == 0
    }
}

/// A request that waits, by way of others, for itself.
pub(super) fn cycle(waits: &[Wait]) -> Option<u32> {
    let mut unanswered: Vec<u32> = waits.iter().map(|wait| wait.requests.len() as u32).collect();
    let mut followers: Vec<SmallVec<[u32; 2]>> = vec![SmallVec::new(); waits.len()];
    for (wait, request) in waits.iter().zip(0..) {
        wait.requests.iter().for_each(|&other| followers[other as usize].push(request));
    }
    let mut sent: Vec<u32> = (0..waits.len() as u32).filter(|&request| unanswered[request as usize] == 0).collect();
    while let Some(request) = sent.pop() {
        for &follower in &followers[request as usize] {
            unanswered[follower as usize] -= 1;
            if unanswered[follower as usize] == 0 {
                sent.push(follower);
            }
        }
    }
    // Whoever is left waits for one that is left, so that this way of waiting comes back to where it has been.
    let stuck = |request: &u32| unanswered[*request as usize] > 0;
    let mut request = (0..waits.len() as u32).find(stuck)?;
    for _ in 0..waits.len() {
        let next = waits[request as usize].requests.iter().copied().find(stuck);
        request = next.expect("a request that is stuck waits for one that is");
    }
    let mut first = request;
    let mut at = request;
    loop {
        at = waits[at as usize].requests.iter().copied().find(stuck).expect("it is in a cycle");
        if at == request {
            return Some(first);
        }
        first = first.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Random requests, each waiting for some before it, and in which order what is in flight ends.
    fn sessions() -> impl Strategy<Value = (Vec<Wait>, Vec<usize>, Vec<bool>)> {
        let node = (prop::collection::vec(any::<prop::sample::Index>(), 0..4), 0_u64..50);
        (prop::collection::vec(node, 1..30), any::<u64>(), 0.0..0.2).prop_flat_map(|(nodes, _, failing)| {
            let count = nodes.len();
            let waits: Vec<Wait> = nodes
                .into_iter()
                .enumerate()
                .map(|(at, (others, pause))| {
                    let mut requests: SmallVec<[u32; 2]> =
                        others.iter().filter(|_| at > 0).map(|other| other.index(at.max(1)) as u32).collect();
                    requests.sort_unstable();
                    requests.dedup();
                    Wait { requests, pause: SimTime(pause) }
                })
                .collect();
            let order = prop::collection::vec(0_usize..1000, count);
            (Just(waits), order, prop::collection::vec(prop::bool::weighted(failing), count))
        })
    }

    /// All that may be sent after these answers, looked at from the beginning.
    fn naive(waits: &[Wait], answers: &BTreeMap<u32, SimTime>) -> BTreeMap<u32, SimTime> {
        let mut due = BTreeMap::new();
        for (wait, request) in waits.iter().zip(0..) {
            let times: Option<Vec<SimTime>> = wait.requests.iter().map(|other| answers.get(other).copied()).collect();
            if let Some(last) = times.and_then(|times| times.into_iter().max()) {
                due.insert(request, last + wait.pause);
            }
        }
        due
    }

    proptest! {
        #[test]
        fn all_are_sent_once_and_never_early((waits, order, fails) in sessions()) {
            let mut graph = Graph::new(&waits);
            prop_assert_eq!(cycle(&waits), None);
            let mut sent: BTreeMap<u32, SimTime> = (0..waits.len() as u32)
                .filter(|&request| waits[request as usize].requests.is_empty())
                .map(|request| (request, SimTime(u64::from(request))))
                .collect();
            let mut in_flight: Vec<(u32, SimTime)> = sent.iter().map(|(&request, &at)| (request, at)).collect();
            let (mut answers, mut never, mut broken) = (BTreeMap::new(), 0, false);
            for (pick, fails) in order.into_iter().zip(fails) {
                if in_flight.is_empty() {
                    break;
                }
                prop_assert!(!graph.is_over());
                let (request, at) = in_flight.swap_remove(pick % in_flight.len());
                let end = at + SimTime(pick as u64);
                if fails {
                    broken = true;
                    never += graph.failed();
                    continue;
                }
                answers.insert(request, end);
                let mut new = Vec::new();
                graph.answered(request, end, |follower, at| new.push((follower, at)));
                let mut expected = naive(&waits, &answers);
                expected.retain(|request, _| !broken && !sent.contains_key(request));
                prop_assert_eq!(BTreeMap::from_iter(new.iter().copied()), expected);
                for (follower, at) in new {
                    prop_assert_eq!(sent.insert(follower, at), None, "twice");
                    in_flight.push((follower, at));
                }
            }
            prop_assert!(graph.is_over());
            prop_assert_eq!(sent.len() + never as usize, waits.len());
            prop_assert!(broken || never == 0);
        }

        /// A back edge to a request that waits for it, by way of others, is found, and what is found is in a cycle.
        #[test]
        fn cycles_are_found((mut waits, order, _) in sessions()) {
            let from = order[0] % waits.len();
            let mut behind = vec![from as u32];
            for (request, wait) in waits.iter().enumerate().skip(from + 1) {
                if wait.requests.iter().any(|other| behind.contains(other)) {
                    behind.push(request as u32);
                }
            }
            let back = behind[order[order.len() - 1] % behind.len()];
            waits[from].requests.push(back);
            let found = cycle(&waits).expect("there is one");
            let mut reached: Vec<u32> = waits[found as usize].requests.to_vec();
            let mut at = 0;
            while at < reached.len() {
                let more: Vec<u32> = waits[reached[at] as usize].requests.to_vec();
                for other in more {
                    if !reached.contains(&other) {
                        reached.push(other);
                    }
                }
                at += 1;
            }
            prop_assert!(reached.contains(&found));
        }
    }
}

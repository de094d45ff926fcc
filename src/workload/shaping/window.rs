//! A part of a trace by time, and the fullest part of a length.

use std::collections::VecDeque;

/// The fullest window begins at a multiple of its length by this; so many counts are in memory.
const STEPS: i64 = 1000;

/// Finds the window of a length with the most requests among those that begin at a multiple of a thousandth of it; the
/// first of equals. Memory is that of the thousand counts, whatever comes.
pub(super) struct Peak {
    step_ns: i64,
    /// The step of the last count.
    latest: i64,
    counts: VecDeque<u64>,
    sum: u64,
    most: u64,
    most_from: i64,
}

impl Peak {
    pub fn new(length_ns: i64) -> Self {
        let step_ns = length_ns / STEPS + i64::from(length_ns % STEPS > 0);
        Self { step_ns, latest: 0, counts: VecDeque::from([0]), sum: 0, most: 0, most_from: 0 }
    }

    /// Counts a request, in order of time from the first.
    pub fn count(&mut self, since_first_ns: i64) {
        let step = since_first_ns / self.step_ns;
        if step - self.latest >= STEPS {
            self.counts.clear();
            self.sum = 0;
        }
        let missing = (step - self.latest).min(STEPS);
        self.counts.extend(std::iter::repeat_n(0, missing as usize));
        while self.counts.len() > STEPS as usize {
            self.sum -= self.counts.pop_front().unwrap_or(0);
        }
        self.latest = step;
        *self.counts.back_mut().expect("the step of this count") += 1;
        self.sum += 1;
        if self.sum > self.most {
            self.most = self.sum;
            self.most_from = ((step - STEPS + 1) * self.step_ns).max(0);
        }
    }

    /// When the fullest window begins, from the first request.
    pub fn begin_ns(&self) -> i64 {
        self.most_from
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against all windows, counted one by one.
        #[test]
        fn no_window_is_fuller(
            gaps in proptest::collection::vec(prop_oneof![0..50_i64, 0..5_000_i64, 0..500_000_i64], 1..200),
            length in prop_oneof![1..30_i64, 500..3_000_i64, 10_000..200_000_i64],
        ) {
            let mut peak = Peak::new(length);
            let mut now = 0;
            let times: Vec<i64> = gaps.iter().enumerate().map(|(index, gap)| {
                now += if index == 0 { 0 } else { *gap };
                now
            }).collect();
            times.iter().for_each(|&time| peak.count(time));
            let step = peak.step_ns;
            let within = |from: i64| times.iter().filter(|&&time| (from..from + STEPS * step).contains(&time)).count();
            let found = within(peak.begin_ns());
            prop_assert_eq!(peak.begin_ns() % step, 0);
            for &time in &times {
                let from = ((time / step - STEPS + 1) * step).max(0);
                prop_assert!(within(from) <= found, "{} from {from}, {found} from {}", within(from), peak.begin_ns());
            }
        }
    }
}

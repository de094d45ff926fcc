//! Requests over time, in a bounded number of bins whose length doubles as time goes on.

use oracle_components::SimTime;

use super::figures::PlotFigures;

/// Bins, at most; at least half as many are in use once there is anything to see.
const BINS: usize = 128;
/// Length of the first bins, in nanoseconds: a millisecond.
const FIRST_BIN_NS: u64 = 1_000_000;

/// Counts by time.
pub(super) struct Timeline {
    bin_ns: u64,
    counts: Vec<u64>,
}

impl Timeline {
    pub fn new() -> Self {
        Self { bin_ns: FIRST_BIN_NS, counts: Vec::new() }
    }

    pub fn count(&mut self, since_first: SimTime) {
        while since_first.0 / self.bin_ns >= BINS as u64 {
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.bin_ns *= 2;
        }
        let bin = (since_first.0 / self.bin_ns) as usize;
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
    }

    pub fn figures(&self) -> PlotFigures {
        PlotFigures { bin_s: self.bin_ns as f64 / 1e9, requests: self.counts.clone() }
    }
}

//! Counts in windows side by side: their peak, and how much they vary.

use oracle_components::SimTime;

use super::figures::WindowFigures;

/// Lengths of windows, in seconds.
const LENGTHS_S: [u64; 5] = [1, 10, 60, 600, 3600];

/// Windows of all lengths.
#[derive(Clone, Debug)]
pub(super) struct Windows(Vec<OneLength>);

#[derive(Clone, Debug)]
struct OneLength {
    length: SimTime,
    /// Number of the window that is open.
    open: u64,
    count: u64,
    peak: u64,
    peak_window: u64,
    /// Over the windows that are closed.
    sum: u64,
    sum_of_squares: u128,
}

impl Windows {
    pub fn new() -> Self {
        let empty = |length_s| OneLength {
            length: SimTime(length_s * 1_000_000_000),
            open: 0,
            count: 0,
            peak: 0,
            peak_window: 0,
            sum: 0,
            sum_of_squares: 0,
        };
        Self(LENGTHS_S.into_iter().map(empty).collect())
    }

    /// Counts a request.
    pub fn count(&mut self, since_first: SimTime) {
        for windows in &mut self.0 {
            let number = since_first.0 / windows.length.0;
            if number != windows.open {
                windows.close();
                windows.open = number;
            }
            windows.count += 1;
        }
    }

    /// The figures of each length of which a window at least is over; the last, which is not, counts for the peak alone.
    pub fn figures(&self) -> Vec<WindowFigures> {
        let over = self.0.iter().filter(|windows| windows.open > 0);
        over.map(OneLength::figures).collect()
    }
}

impl OneLength {
    /// Those without a request, between this and the next, add nothing to either sum.
    fn close(&mut self) {
        self.sum += self.count;
        self.sum_of_squares += u128::from(self.count) * u128::from(self.count);
        self.take_peak();
        self.count = 0;
    }

    fn take_peak(&mut self) {
        if self.count > self.peak {
            self.peak = self.count;
            self.peak_window = self.open;
        }
    }

    fn figures(&self) -> WindowFigures {
        let mut last = self.clone();
        last.take_peak();
        let windows = self.open as f64;
        let mean = self.sum as f64 / windows;
        let variance = self.sum_of_squares as f64 / windows - mean * mean;
        let length_s = self.length.as_secs_f64();
        WindowFigures {
            window_s: length_s,
            windows: self.open,
            peak_requests: last.peak,
            peak_rate_per_s: last.peak as f64 / length_s,
            peak_from_s: last.peak_window as f64 * length_s,
            // Of one window, no variance can be told.
            index_of_dispersion: (self.open > 1 && mean > 0.0).then(|| variance.max(0.0) / mean),
        }
    }
}

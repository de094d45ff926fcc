//! Counts of values by their size, for shapes of distributions and for quantiles of many small parts: cells a thirty-second of
//! an octave wide, so that a quantile is within 1.1 %, in some kilobytes however many values there are.

/// Cells a power of two is cut into.
const CELLS_PER_OCTAVE: f64 = 32.0;
/// The smallest value that has a cell of its own.
const SMALLEST: f64 = 1e-6;

/// Counts of values.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    cells: Vec<u32>,
    total: u64,
}

impl Counts {
    pub(super) fn record(&mut self, value: f64) {
        let cell = ((value.max(SMALLEST) / SMALLEST).log2() * CELLS_PER_OCTAVE) as usize;
        if cell >= self.cells.len() {
            self.cells.resize(cell + 1, 0);
        }
        self.cells[cell] += 1;
        self.total += 1;
    }

    /// The value of which a share lies below; `None` without values.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.total.saturating_sub(1) as f64).round() as u64;
        let mut through = 0;
        let cell = self.cells.iter().position(|&count| {
            through += u64::from(count);
            through > rank
        });
        cell.map(|cell| bound(cell as f64 + 0.5))
    }

    /// The share of the values in each of some forty bars between the smallest and the largest: (beginning, share), then the end.
    pub(super) fn bars(&self) -> Vec<(f64, f64)> {
        const BARS: usize = 40;
        let Some(first) = self.cells.iter().position(|&count| count > 0) else { return Vec::new() };
        let held = &self.cells[first..];
        let width = held.len().div_ceil(BARS);
        let bars = held.chunks(width).enumerate().map(|(bar, cells)| {
            let count: u64 = cells.iter().map(|&count| u64::from(count)).sum();
            (bound((first + bar * width) as f64), count as f64 / self.total as f64)
        });
        let end = bound((first + held.len().div_ceil(width) * width) as f64);
        bars.chain([(end, 0.0)]).collect()
    }
}

/// Where a cell begins.
fn bound(cell: f64) -> f64 {
    SMALLEST * (cell / CELLS_PER_OCTAVE).exp2()
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn quantiles_are_within_a_cell() {
        let mut counts = Counts::default();
        (1..=10_000).for_each(|value| counts.record(f64::from(value) / 7.0));
        for share in [0.01, 0.5, 0.9, 0.99] {
            let exact = (1.0 + share * 9_999.0) / 7.0;
            let told = counts.quantile(share).expect("there are values");
            assert!((told / exact - 1.0).abs() < 0.0115, "{share}: {told} for {exact}");
        }
        assert_eq!(Counts::default().quantile(0.5), None);
    }

    #[test]
    fn bars_hold_all_values() {
        let mut counts = Counts::default();
        [0.0, 3.0, 3.1, 900.0, 1e7].into_iter().for_each(|value| counts.record(value));
        let bars = counts.bars();
        assert!((bars.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(bars.windows(2).all(|pair| pair[0].0 < pair[1].0) && bars.len() <= 41);
        assert!(Counts::default().bars().is_empty());
    }
}

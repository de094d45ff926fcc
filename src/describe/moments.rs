//! Moments of values that come one by one.

/// Of pairs of values: Welford's way, so that large values with small deviations lose no digits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Correlation {
    count: f64,
    mean: (f64, f64),
    squares: (f64, f64),
    products: f64,
}

impl Correlation {
    pub fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        let (dx, dy) = (x - self.mean.0, y - self.mean.1);
        self.mean.0 += dx / self.count;
        self.mean.1 += dy / self.count;
        self.squares.0 += dx * (x - self.mean.0);
        self.squares.1 += dy * (y - self.mean.1);
        self.products += dx * (y - self.mean.1);
    }

    /// Pearson's coefficient; `None` where one of the two never varies.
    pub fn coefficient(&self) -> Option<f64> {
        let spread = (self.squares.0 * self.squares.1).sqrt();
        (spread > 0.0).then(|| (self.products / spread).clamp(-1.0, 1.0))
    }
}

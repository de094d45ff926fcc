//! The integral of a rate over a piece of time, and its inverse.

use std::f64::consts::TAU;

use super::super::load::{Course, Piece};

/// Steps in which a wave's inverse is found to the last bit, if all of them were halvings.
const MOST_STEPS: u32 = 64;

impl Piece {
    /// Arrivals expected in all of it.
    pub(super) fn total(&self) -> f64 {
        match self.seconds.is_finite() {
            true => self.expected(self.seconds),
            false if self.endless_per_s() > 0.0 => f64::INFINITY,
            false => 0.0,
        }
    }

    /// The mean rate of one without an end.
    pub(super) fn endless_per_s(&self) -> f64 {
        let (Course::Line { from: mean, .. } | Course::Exponential { from: mean, .. } | Course::Wave { mean, .. }) =
            self.course;
        mean
    }

    /// Arrivals expected in its first `t` seconds.
    pub(super) fn expected(&self, t: f64) -> f64 {
        match self.course {
            Course::Line { from, to } => from * t + self.slope(from, to) * t * t / 2.0,
            Course::Exponential { from, to } if from == to => from * t,
            Course::Exponential { from, to } => {
                let growth = (to / from).ln() / self.seconds;
                from * (growth * t).exp_m1() / growth
            }
            Course::Wave { mean, swing, period_s, peak_s } => {
                let phase = |t: f64| (TAU * (t - peak_s) / period_s).sin();
                mean * t + swing * period_s / TAU * (phase(t) - phase(0.0))
            }
        }
    }

    /// Seconds until so many arrivals are expected; at most its length if there are that many.
    #[inline]
    pub(super) fn time_of(&self, expected: f64) -> f64 {
        let t = match self.course {
            Course::Line { from, to } if from == to => expected / from,
            Course::Line { from, to } => {
                // The root of a quadratic without cancellation, whatever the sign of the slope.
                let root = from.mul_add(from, 2.0 * self.slope(from, to) * expected).max(0.0).sqrt();
                2.0 * expected / (from + root)
            }
            Course::Exponential { from, to } if from == to => expected / from,
            Course::Exponential { from, to } => {
                let growth = (to / from).ln() / self.seconds;
                (expected * growth / from).ln_1p() / growth
            }
            wave @ Course::Wave { .. } => self.time_in_wave(expected, wave),
        };
        // 0/0 at the foot of a ramp.
        if t.is_nan() { 0.0 } else { t.min(self.seconds) }
    }

    fn slope(&self, from: f64, to: f64) -> f64 {
        if from == to { 0.0 } else { (to - from) / self.seconds }
    }

    /// Whole periods first; within one, Newton's steps, and a bisection where one would leave the bracket: the rate may touch 0.
    fn time_in_wave(&self, expected: f64, wave: Course) -> f64 {
        let Course::Wave { mean, swing, period_s, peak_s } = wave else { return 0.0 };
        let periods = (expected / (mean * period_s)).floor();
        let rest = expected - periods * mean * period_s;
        let (mut low, mut high, mut t) = (0.0, period_s, rest / mean);
        for _ in 0..MOST_STEPS {
            let over = self.expected(t) - rest;
            if over < 0.0 {
                low = t
            } else {
                high = t
            }
            let step = over / (mean + swing * (TAU * (t - peak_s) / period_s).cos());
            let newton = t - step;
            let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
            let moved = (next - t).abs();
            t = next;
            if moved <= f64::EPSILON * period_s {
                break;
            }
        }
        periods * period_s + t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inverse of the integral is an inverse, and the integral is one: by Simpson's rule.
    #[test]
    fn time_and_expectation_are_inverse() {
        let courses = [
            (10.0, Course::Line { from: 3.0, to: 3.0 }, 30.0),
            (10.0, Course::Line { from: 0.0, to: 8.0 }, 40.0),
            (10.0, Course::Line { from: 8.0, to: 0.0 }, 40.0),
            (10.0, Course::Exponential { from: 1.0, to: 20.0 }, 190.0 / 20_f64.ln()),
            (24.0, Course::Wave { mean: 5.0, swing: 5.0, period_s: 24.0, peak_s: 14.0 }, 120.0),
        ];
        for (seconds, course, total) in courses {
            let piece = Piece { seconds, course };
            assert!((piece.total() / total - 1.0).abs() < 1e-12, "{course:?}: {}", piece.total());
            for step in 0..=100 {
                let expected = total * f64::from(step) / 100.0;
                let t = piece.time_of(expected);
                assert!((piece.expected(t) - expected).abs() < 1e-9 * total, "{course:?} at {t}");
            }
        }
    }

    #[test]
    fn a_wave_goes_on_for_ever() {
        let wave = Course::Wave { mean: 2.0, swing: 1.0, period_s: 10.0, peak_s: 3.0 };
        let piece = Piece { seconds: f64::INFINITY, course: wave };
        assert_eq!(piece.total(), f64::INFINITY);
        let t = piece.time_of(2.0 * 10.0 * 1e6 + 7.0);
        assert!((piece.expected(t) - (2e7 + 7.0)).abs() < 1e-6);
    }
}

//! Measured decodes as a line over the bytes that they move.

use oracle_components::kernel_times::Line;

/// Contexts closer than that, in relative terms, are one.
const SAME: f64 = 1e-6;

/// A measured decode: its bytes, the seconds of its attention, and the seconds of the prompts in the same call that are none
/// of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecodePoint {
    pub(super) bytes: f64,
    pub(super) took_s: f64,
    pub(super) prompts_s: f64,
}

/// The line that is closest in relative terms (least squares of the errors over the whole call) of those that start at 0 or
/// above and are no flatter than the memory allows.
pub(super) fn line(points: &[DecodePoint], bytes_per_s: f64) -> Line {
    let least = bytes_per_s.recip();
    let weight = |point: &DecodePoint| point.took_s.powi(-2);
    let own_s = |point: &DecodePoint| point.took_s - point.prompts_s;
    let sum = |term: &dyn Fn(&DecodePoint) -> f64| points.iter().map(|point| weight(point) * term(point)).sum::<f64>();
    let all = sum(&|_| 1.0);
    let (mean_bytes, mean_s) = (sum(&|point| point.bytes) / all, sum(&own_s) / all);
    let spread = sum(&|point| (point.bytes - mean_bytes).powi(2));
    let common = sum(&|point| (point.bytes - mean_bytes) * (own_s(point) - mean_s));
    let is_single = spread <= all * (SAME * mean_bytes).powi(2);
    // With a single context there is no telling: the memory's slope, the rest a floor.
    let s_per_byte = if is_single { least } else { (common / spread).max(least) };
    let floor_s = mean_s - s_per_byte * mean_bytes;
    let through_zero = sum(&|point| point.bytes * own_s(point)) / sum(&|point| point.bytes.powi(2));
    if floor_s < 0.0 {
        Line { floor_s: 0.0, s_per_byte: through_zero.max(least) }
    } else {
        Line { floor_s, s_per_byte }
    }
}

#[cfg(test)]
mod tests {
    use super::{DecodePoint, line};

    fn point(bytes: f64, took_s: f64) -> DecodePoint {
        DecodePoint { bytes, took_s, prompts_s: 0.0 }
    }

    #[test]
    fn points_on_a_line_give_that_line_and_no_line_beats_the_memory() {
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        let found = line(&[point(1e6, 3e-6), point(2e6, 5e-6), point(4e6, 9e-6)], 1e12);
        assert!(near(found.floor_s, 1e-6) && near(found.s_per_byte, 2e-12), "{found:?}");
        // Read out of a cache: as steep as the memory all the same.
        let found = line(&[point(1e6, 3e-6), point(4e6, 4e-6)], 1e12);
        assert!(near(found.s_per_byte, 1e-12) && found.floor_s > 0.0, "{found:?}");
        let found = line(&[point(1e6, 3e-6)], 1e12);
        assert!(near(found.floor_s, 2e-6) && near(found.s_per_byte, 1e-12), "{found:?}");
        let beside = DecodePoint { prompts_s: 10e-6, took_s: 13e-6, bytes: 1e6 };
        let found = line(&[beside, DecodePoint { took_s: 15e-6, bytes: 2e6, ..beside }], 1e12);
        assert!(near(found.floor_s, 1e-6) && near(found.s_per_byte, 2e-12), "{found:?}");
        // Decodes that hide behind the prompts add nothing but what the memory takes.
        let hidden = DecodePoint { prompts_s: 20e-6, took_s: 15e-6, bytes: 1e6 };
        let found = line(&[hidden, DecodePoint { bytes: 2e6, took_s: 16e-6, ..hidden }], 1e12);
        assert!(found.floor_s == 0.0 && found.s_per_byte >= 1e-12, "{found:?}");
    }
}

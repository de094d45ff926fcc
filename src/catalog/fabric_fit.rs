//! From measured times of a collective to its protocols: how the figures of `configs/collectives` come about.
//!
//! The sizes are cut into as many ranges as there are protocols, and a line is fitted to each by least squares of the
//! relative error. Of all cuts the one counts whose least of the lines is nearest to the measurements, by the mean of
//! |ln(predicted / measured)|. A further protocol must make that mean smaller by a fifth.

use oracle_components::collectives::{MOST_PROTOCOLS, Protocol};

/// How much nearer a further protocol must come, and how near is near enough.
const WORTHWHILE: f64 = 0.8;
const NEAR_ENOUGH: f64 = 1e-6;
/// Fewest points of a line.
const FEWEST_POINTS: usize = 2;

/// A measured collective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredCollective {
    /// Bytes of its tensor.
    pub bytes: f64,
    /// What it took.
    pub seconds: f64,
}

/// The protocols whose fastest comes nearest to measurements of rising sizes; none for fewer than two.
#[must_use]
pub fn fit_protocols(measured: &[MeasuredCollective]) -> Vec<Protocol> {
    let mut best: Option<Fit> = None;
    for protocols in 1..=MOST_PROTOCOLS {
        let mut nearest: Option<Fit> = None;
        for_each_cut(measured.len(), protocols, &mut |cut| {
            let lines = cut.windows(2).map(|ends| line(&measured[ends[0]..ends[1]])).collect();
            let fit = Fit::new(lines, measured);
            if nearest.as_ref().is_none_or(|nearest| fit.distance < nearest.distance) {
                nearest = Some(fit);
            }
        });
        let Some(nearest) = nearest else { break };
        if best.as_ref().is_none_or(|best| nearest.distance < WORTHWHILE * best.distance - NEAR_ENOUGH) {
            best = Some(nearest);
        }
    }
    best.map_or_else(Vec::new, |best| best.protocols)
}

/// Seconds of the fastest protocol.
fn fastest(protocols: &[Protocol], bytes: f64) -> f64 {
    protocols.iter().map(|p| p.latency_s + p.s_per_byte * bytes).fold(f64::INFINITY, f64::min)
}

struct Fit {
    protocols: Vec<Protocol>,
    distance: f64,
}

impl Fit {
    fn new(protocols: Vec<Protocol>, measured: &[MeasuredCollective]) -> Self {
        let off = |point: &MeasuredCollective| (fastest(&protocols, point.bytes) / point.seconds).ln().abs();
        let distance = measured.iter().map(off).sum::<f64>() / measured.len() as f64;
        Self { protocols, distance }
    }
}

/// Calls `visit` with the ends of every cut of `points` into `ranges`.
fn for_each_cut(points: usize, ranges: usize, visit: &mut impl FnMut(&[usize])) {
    fn cut(ends: &mut Vec<usize>, points: usize, ranges: usize, visit: &mut impl FnMut(&[usize])) {
        let from = ends[ends.len() - 1];
        if ranges == 1 {
            if points >= from + FEWEST_POINTS {
                ends.push(points);
                visit(ends);
                ends.pop();
            }
            return;
        }
        for to in from + FEWEST_POINTS..points {
            ends.push(to);
            cut(ends, points, ranges - 1, visit);
            ends.pop();
        }
    }
    cut(&mut vec![0], points, ranges, visit);
}

/// The line of least squares of the relative error: with `w = 1/t`, of `latency·w + s_per_byte·b·w` from 1. Neither is
/// negative.
fn line(points: &[MeasuredCollective]) -> Protocol {
    let sum =
        |term: fn(f64, f64) -> f64| points.iter().map(|p| term(1.0 / p.seconds, p.bytes / p.seconds)).sum::<f64>();
    let (ww, wx, xx) = (sum(|w, _| w * w), sum(|w, x| w * x), sum(|_, x| x * x));
    let (w, x) = (sum(|w, _| w), sum(|_, x| x));
    let determinant = ww * xx - wx * wx;
    let (latency_s, s_per_byte) = ((w * xx - x * wx) / determinant, (x * ww - w * wx) / determinant);
    if s_per_byte.is_nan() || s_per_byte <= 0.0 {
        Protocol { latency_s: w / ww, s_per_byte: 0.0 }
    } else if latency_s < 0.0 {
        Protocol { latency_s: 0.0, s_per_byte: x / xx }
    } else {
        Protocol { latency_s, s_per_byte }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(protocols: &[Protocol]) -> Vec<MeasuredCollective> {
        let sizes = (8..30).map(|power| f64::from(1 << power));
        sizes.map(|bytes| MeasuredCollective { bytes, seconds: fastest(protocols, bytes) }).collect()
    }

    #[test]
    fn protocols_are_found_again() {
        let protocol = |us: f64, gb_per_s: f64| Protocol { latency_s: us * 1e-6, s_per_byte: 1e-9 / gb_per_s };
        for protocols in [
            vec![protocol(10.0, 200.0)],
            vec![protocol(5.0, 20.0), protocol(30.0, 200.0)],
            vec![protocol(5.0, 2.0), protocol(10.0, 20.0), protocol(50.0, 200.0)],
        ] {
            let found = fit_protocols(&measured(&protocols));
            assert_eq!(found.len(), protocols.len());
            for (found, protocol) in found.iter().zip(&protocols) {
                assert!((found.latency_s / protocol.latency_s - 1.0).abs() < 1e-6);
                assert!((found.s_per_byte / protocol.s_per_byte - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_point_makes_no_line() {
        assert!(fit_protocols(&[]).is_empty());
        assert!(fit_protocols(&[MeasuredCollective { bytes: 1.0, seconds: 1.0 }]).is_empty());
    }
}

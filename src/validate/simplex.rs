//! Nelder and Mead's simplex: the least of a function of a few numbers, without its slope.

/// Reflection, expansion, contraction and shrinkage of the original paper (1965).
const REFLECT: f64 = -1.0;
const EXPAND: f64 = -2.0;
const CONTRACT: f64 = 0.5;
const SHRINK: f64 = 0.5;

/// A corner and its value.
type Corner<const N: usize> = ([f64; N], f64);

/// The least value found from `start` with first steps of `step`, and where it is. Looks at about `evaluations` points,
/// or stops when all corners' values are within `tolerance`.
pub(super) fn minimise<const N: usize>(
    mut value: impl FnMut(&[f64; N]) -> f64,
    start: [f64; N],
    step: f64,
    evaluations: usize,
    tolerance: f64,
) -> Corner<N> {
    let mut left = evaluations;
    let mut look = |point: [f64; N]| {
        left = left.saturating_sub(1);
        ((point, value(&point)), left)
    };
    let mut corners: Vec<Corner<N>> = vec![look(start).0];
    for axis in 0..N {
        let mut point = start;
        point[axis] += step;
        corners.push(look(point).0);
    }
    loop {
        corners.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, second_worst, worst) = (corners[0], corners[N - 1], corners[N]);
        let centre = centre(&corners[..N]);
        let (reflected, left) = look(along(&centre, &worst.0, REFLECT));
        if left == 0 || worst.1 - best.1 < tolerance {
            return if reflected.1 < best.1 { reflected } else { best };
        }
        if reflected.1 < best.1 {
            let (expanded, _) = look(along(&centre, &worst.0, EXPAND));
            corners[N] = if expanded.1 < reflected.1 { expanded } else { reflected };
        } else if reflected.1 < second_worst.1 {
            corners[N] = reflected;
        } else {
            let towards = if reflected.1 < worst.1 { reflected } else { worst };
            let (contracted, _) = look(along(&centre, &towards.0, CONTRACT));
            if contracted.1 < towards.1 {
                corners[N] = contracted;
            } else {
                for corner in &mut corners[1..] {
                    *corner = look(along(&best.0, &corner.0, SHRINK)).0;
                }
            }
        }
    }
}

fn centre<const N: usize>(corners: &[Corner<N>]) -> [f64; N] {
    std::array::from_fn(|axis| corners.iter().map(|corner| corner.0[axis]).sum::<f64>() / corners.len() as f64)
}

/// From `origin`, `factor` of the way to `point`.
fn along<const N: usize>(origin: &[f64; N], point: &[f64; N], factor: f64) -> [f64; N] {
    std::array::from_fn(|axis| origin[axis] + factor * (point[axis] - origin[axis]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_bottom_of_a_crooked_valley() {
        let rosenbrock = |p: &[f64; 2]| (1.0 - p[0]).powi(2) + 100.0 * (p[1] - p[0] * p[0]).powi(2);
        let (point, least) = minimise(rosenbrock, [-1.2, 1.0], 0.5, 400, 0.0);
        assert!(least < 1e-9 && (point[0] - 1.0).abs() < 1e-3, "{point:?}: {least}");
    }

    #[test]
    fn it_looks_at_no_more_points_than_it_may() {
        let mut looks = 0;
        let flat = |_: &[f64; 3]| {
            looks += 1;
            f64::from(looks)
        };
        minimise(flat, [0.0; 3], 1.0, 30, 0.0);
        assert!(looks <= 30 + 5, "{looks}");
    }
}

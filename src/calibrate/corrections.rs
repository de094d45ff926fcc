//! What a formula is off by, on the grid of `oracle_systems::costing::corrections`: least squares of logarithms, a large one
//! counting no more than linearly, with neighbours on the grid held together and all held to 0, so that a figure without
//! measurements is about that of its neighbours.

use oracle_components::efficiency::Correction;
use oracle_systems::costing::corrections::figures;

/// Where a residue begins to count linearly, in logarithms.
const LARGE_ERROR: f64 = 0.05;
/// What a difference of neighbours counts, and a figure, against a measurement that is as far off.
const TOGETHER: f64 = 0.25;
const TO_ZERO: f64 = 0.09;
/// Times that measurements are weighed anew.
const WEIGHINGS: usize = 4;
/// Iterations of a weighing; conjugate gradients of a well-conditioned matrix need few.
const ITERATIONS: usize = 200;
const CONVERGED: f64 = 1e-12;
/// Figures are hundredths, to a tenth of one.
const FIGURES_A_UNIT: f64 = 100.0;

/// A measurement: where it is on the grid, and the logarithm of what it took over what the formula says.
pub(super) struct Residue {
    places: Vec<(usize, f64)>,
    logarithm: f64,
    weight: f64,
}

impl Residue {
    /// Of a shape on a grid whose sides begin with `first`.
    pub(super) fn new(first: [f64; 3], shape: [f64; 3], logarithm: f64) -> Self {
        Self { places: figures(first, shape).collect(), logarithm, weight: 1.0 }
    }

    fn of(&self, grid: &[f64]) -> f64 {
        self.places.iter().map(|(at, weight)| weight * grid[*at]).sum()
    }
}

/// The correction that comes closest.
pub(super) fn fit_correction(mut residues: Vec<Residue>) -> Correction {
    let mut grid = vec![0.0; Correction::KNOTS.iter().product()];
    for _ in 0..WEIGHINGS {
        for residue in &mut residues {
            let left = (residue.logarithm - residue.of(&grid)) / LARGE_ERROR;
            residue.weight = 1.0 / left.hypot(1.0);
        }
        grid = closest(&residues, grid);
    }
    Correction(grid.into_iter().map(|logarithm| (logarithm * FIGURES_A_UNIT * 10.0).round() / 10.0).collect())
}

/// By conjugate gradients on the normal equations.
fn closest(residues: &[Residue], start: Vec<f64>) -> Vec<f64> {
    let mut target = vec![0.0; start.len()];
    for residue in residues {
        for (at, weight) in &residue.places {
            target[*at] += residue.weight * weight * residue.logarithm;
        }
    }
    let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
    let mut solution = start;
    let mut left: Vec<f64> = target.iter().zip(normal(residues, &solution)).map(|(target, is)| target - is).collect();
    let mut direction = left.clone();
    let mut square = dot(&left, &left);
    let enough = CONVERGED * dot(&target, &target);
    for _ in 0..ITERATIONS {
        if square <= enough {
            break;
        }
        let image = normal(residues, &direction);
        let step = square / dot(&direction, &image);
        for at in 0..solution.len() {
            solution[at] += step * direction[at];
            left[at] -= step * image[at];
        }
        let next = dot(&left, &left);
        for (along, left) in direction.iter_mut().zip(&left) {
            *along = left + next / square * *along;
        }
        square = next;
    }
    solution
}

/// The matrix of the normal equations times a grid.
fn normal(residues: &[Residue], grid: &[f64]) -> Vec<f64> {
    let mut image: Vec<f64> = grid.iter().map(|figure| TO_ZERO * figure).collect();
    for residue in residues {
        let value = residue.weight * residue.of(grid);
        for (at, weight) in &residue.places {
            image[*at] += value * weight;
        }
    }
    let [_, columns, depths] = Correction::KNOTS;
    for (stride, knots) in [columns * depths, depths, 1].into_iter().zip(Correction::KNOTS) {
        for at in (0..grid.len()).filter(|at| (at / stride) % knots + 1 < knots) {
            let apart = TOGETHER * (grid[at + stride] - grid[at]);
            image[at + stride] += apart;
            image[at] -= apart;
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What varies smoothly with the shape is found at shapes that were not measured, and a wild measurement does no harm.
    #[test]
    fn a_smooth_error_is_found_between_measurements() {
        let error = |rows: f64, columns: f64, depth: f64| {
            0.1 * (rows.log2() / 14.0) - 0.2 * (columns.log2() - 12.0) / 4.0 + 0.05 * (depth.log2() - 11.0)
        };
        let axis = |first: i32, last: i32| (first..=last).map(|power| 2.0_f64.powi(power));
        let shapes =
            || axis(0, 14).flat_map(move |m| axis(8, 16).flat_map(move |n| axis(8, 14).map(move |k| (m, n, k))));
        let mut residues: Vec<Residue> = shapes()
            .filter(|(m, n, k)| ((m * 3.0 + n * 5.0 + k * 7.0).log2() as u32).is_multiple_of(2))
            .map(|(m, n, k)| Residue::new(Correction::PRODUCTS, [m, n, k], error(m, n, k)))
            .collect();
        residues.push(Residue::new(Correction::PRODUCTS, [64.0, 4096.0, 4096.0], 3.0));
        let correction = fit_correction(residues);
        assert!(correction.is_whole());
        for (m, n, k) in shapes() {
            let places = figures(Correction::PRODUCTS, [m, n, k]);
            let found: f64 = places.map(|(at, weight)| weight * correction.0[at] / 100.0).sum();
            // Half of the shapes were left out, whole corners with them; errors go from −0.2 to 0.5.
            assert!((found - error(m, n, k)).abs() < 0.15, "{m} × {n} × {k}: {found}, {}", error(m, n, k));
        }
    }
}

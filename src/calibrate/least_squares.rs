//! Weighted linear least squares of a few unknowns, damped.

/// How much a step is held back, in shares of the equations' diagonal: one after the other until one helps.
pub(super) fn dampings() -> impl Iterator<Item = f64> {
    [1e-4, 1e-2, 0.1, 1.0, 10.0, 100.0].into_iter()
}

/// What a step towards 0 must be.
pub(super) struct NormalEquations {
    matrix: Vec<Vec<f64>>,
    target: Vec<f64>,
}

impl NormalEquations {
    /// Of errors that change with each unknown by its slopes.
    pub(super) fn new(slopes: &[Vec<f64>], errors: &[f64], weights: &[f64]) -> Self {
        let product = |one: &[f64], other: &[f64]| -> f64 {
            one.iter().zip(other).zip(weights).map(|((one, other), weight)| one * other * weight).sum()
        };
        let row = |one: &Vec<f64>| slopes.iter().map(|other| product(one, other)).collect();
        Self {
            matrix: slopes.iter().map(row).collect(),
            target: slopes.iter().map(|one| product(one, errors)).collect(),
        }
    }

    /// By Cholesky's decomposition; `None` if the matrix has none.
    pub(super) fn solution(&self, damping: f64) -> Option<Vec<f64>> {
        let count = self.target.len();
        let largest = (0..count).map(|at| self.matrix[at][at]).fold(0.0, f64::max);
        let mut lower = vec![vec![0.0; count]; count];
        for row in 0..count {
            for column in 0..=row {
                let known: f64 = (0..column).map(|at| lower[row][at] * lower[column][at]).sum();
                let own = self.matrix[row][column] - known;
                if row == column {
                    // Unknowns that change nothing stay where they are.
                    let held = own + damping * self.matrix[row][row] + 1e-9 * largest;
                    if !(held > 0.0 && held.is_finite()) {
                        return None;
                    }
                    lower[row][row] = held.sqrt();
                } else {
                    lower[row][column] = own / lower[column][column];
                }
            }
        }
        let mut half = self.target.clone();
        for row in 0..count {
            let known: f64 = (0..row).map(|at| lower[row][at] * half[at]).sum();
            half[row] = (half[row] - known) / lower[row][row];
        }
        for row in (0..count).rev() {
            let known: f64 = (row + 1..count).map(|at| lower[at][row] * half[at]).sum();
            half[row] = (half[row] - known) / lower[row][row];
        }
        Some(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let slopes = [vec![1.0, 2.0, 0.5, 1.0], vec![0.0, 1.0, 3.0, -1.0], vec![0.0; 4]];
        let truth = [2.0, -1.0];
        let errors: Vec<f64> = (0..4).map(|at| truth[0] * slopes[0][at] + truth[1] * slopes[1][at]).collect();
        let found = NormalEquations::new(&slopes, &errors, &[1.0, 2.0, 0.5, 1.0]).solution(0.0).expect("a solution");
        assert!((found[0] - 2.0).abs() < 1e-6 && (found[1] + 1.0).abs() < 1e-6 && found[2].abs() < 1e-6, "{found:?}");
    }
}

//! What measurements of products and of experts leave of a curve's formula, as a smooth factor of the shape.
//!
//! A library chooses among kernels that no formula knows, but for weights of about the same size it chooses alike. So what
//! a formula is off by is kept on a coarse grid ([`Correction`]): between the sizes of its second and third side its logarithm is
//! linear in theirs. At the rows (tokens, for experts) of the grid a kernel takes what the formula says times that, and no
//! more than at more rows; in between its time goes the way of the formula, as far, in logarithms, from one to the other as
//! the formula has come. So it grows with the rows, and leaps where the formula does. Prefill attention, which takes at least
//! as much longer as it has more tokens, takes the factor as it is.
//!
//! Public for the program that fits it.

use oracle_components::efficiency::Correction;

const ROWS: usize = Correction::KNOTS[0];
const SECOND: usize = Correction::KNOTS[1];
const THIRD: usize = Correction::KNOTS[2];
/// A unit of the figures, as a logarithm.
const HUNDREDTH: f64 = 0.01;

/// Places on a side whose knots are powers of four times the first, and the weight of each.
fn places(size: f64, first: f64, knots: usize) -> [(usize, f64); 2] {
    let last = knots - 1;
    let at = ((size / first).log2() / 2.0).clamp(0.0, last as f64);
    let below = (at as usize).min(last - 1);
    let share = at - below as f64;
    [(below, 1.0 - share), (below + 1, share)]
}

/// Figures of a grid whose sides begin with `first` that make the factor of a shape, with their weights, which sum to 1.
pub fn figures(first: [f64; 3], shape: [f64; 3]) -> impl Iterator<Item = (usize, f64)> {
    let of = |side: usize| places(shape[side], first[side], Correction::KNOTS[side]);
    let [rows, seconds, thirds] = [of(0), of(1), of(2)];
    rows.into_iter().flat_map(move |(row, by_row)| {
        seconds.into_iter().flat_map(move |(second, by_second)| {
            thirds
                .into_iter()
                .map(move |(third, by_third)| ((row * SECOND + second) * THIRD + third, by_row * by_second * by_third))
        })
    })
}

/// By how much a kernel of a shape takes longer than its formula says, by a grid whose sides begin with `first`.
#[must_use]
pub fn factor(correction: &Correction, first: [f64; 3], [rows, second, third]: [f64; 3]) -> f64 {
    Plane::new(correction, first, third).factor([rows, second])
}

/// A correction of kernels that are alike in the third side.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    first: [f64; 2],
    third: f64,
    logarithms: [[f64; SECOND]; ROWS],
}

impl Plane {
    /// At such a third side of a grid whose sides begin with `first`.
    #[must_use]
    pub fn new(correction: &Correction, [rows, seconds, thirds]: [f64; 3], third: f64) -> Self {
        let across = places(third, thirds, THIRD);
        let logarithm = |row: usize, second: usize| -> f64 {
            let figure = |third: usize| correction.0[(row * SECOND + second) * THIRD + third];
            across.iter().map(|&(third, weight)| weight * HUNDREDTH * figure(third)).sum()
        };
        let logarithms = std::array::from_fn(|row| std::array::from_fn(|second| logarithm(row, second)));
        Self { first: [rows, seconds], third, logarithms }
    }

    /// Whether it is of kernels of such a third side.
    #[must_use]
    pub fn is_at(&self, third: f64) -> bool {
        self.third == third
    }

    /// By how much a kernel takes longer than its formula says.
    #[must_use]
    pub fn factor(&self, [rows, second]: [f64; 2]) -> f64 {
        let across = places(second, self.first[1], SECOND);
        let along = |row: usize| -> f64 { across.iter().map(|&(at, weight)| weight * self.logarithms[row][at]).sum() };
        let logarithm: f64 = places(rows, self.first[0], ROWS).iter().map(|&(row, weight)| weight * along(row)).sum();
        logarithm.exp()
    }
}

/// A kernel with weights of one size, at the rows of the grid: rows, seconds by formula, seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrected([[f64; 3]; ROWS]);

impl Corrected {
    /// Of such a second and third side of a grid that begins with `first`; it takes `formula_s` of the rows by formula.
    #[must_use]
    pub fn new(
        correction: &Correction,
        first: [f64; 3],
        [second, third]: [f64; 2],
        formula_s: impl Fn(f64) -> f64,
    ) -> Self {
        let plane = Plane::new(correction, first, third);
        let mut knots: [[f64; 3]; ROWS] = std::array::from_fn(|knot| {
            let rows = first[0] * 4.0_f64.powi(knot as i32);
            let by_formula_s = formula_s(rows);
            [rows, by_formula_s, by_formula_s * plane.factor([rows, second])]
        });
        // Measurements of a single row are at times far slower than those of a few.
        for knot in (1..ROWS).rev() {
            knots[knot - 1][2] = knots[knot - 1][2].min(knots[knot][2]);
        }
        Self(knots)
    }

    /// Seconds of so many rows, which take `formula_s` by formula.
    #[must_use]
    pub fn seconds(&self, rows: f64, formula_s: f64) -> f64 {
        let above = self.0.partition_point(|[knot, ..]| *knot <= rows);
        let edge = |[_, by_formula_s, took_s]: &[f64; 3]| formula_s * took_s / by_formula_s;
        let Some([low_rows, low_formula_s, low_s]) = above.checked_sub(1).map(|below| self.0[below]) else {
            return edge(&self.0[0]);
        };
        let Some([high_rows, high_formula_s, high_s]) = self.0.get(above).copied() else {
            return edge(&self.0[ROWS - 1]);
        };
        let share = |low: f64, here: f64, high: f64| (here / low).ln() / (high / low).ln();
        let come = if high_formula_s > low_formula_s {
            share(low_formula_s, formula_s, high_formula_s)
        } else {
            share(low_rows, rows, high_rows)
        };
        low_s * (high_s / low_s).powf(come.clamp(0.0, 1.0))
    }
}

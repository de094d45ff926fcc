//! Round numbers for logarithmic axes of pictures.

/// Fewest ticks of an axis.
const TICKS: usize = 3;
/// Decades from the largest number of an axis to the finest step that its narrowest range, two margins, needs.
const FINEST: i32 = 2;

/// Round numbers within a range: of each decade the first, two or three of them, and where that is too few, equal steps.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().floor() as i32;
    let within = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
        values.filter(|value| (low..=high).contains(value)).collect()
    };
    let of_decades = [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]].map(|digits| {
        let mut values = decades.clone().flat_map(|decade| digits.iter().map(move |digit| in_decade(*digit, decade)));
        within(&mut values)
    });
    let steps =
        (decades.end() - FINEST..=*decades.end()).rev().flat_map(|decade| [5.0, 2.0, 1.0].map(|digit| (digit, decade)));
    let of_steps = steps.map(|(digit, decade)| {
        let step = in_decade(digit, decade);
        let (first, last) = ((low / step).ceil() as u64, (high / step).floor() as u64);
        within(&mut (first..=last).map(|count| in_decade(digit * count as f64, decade)))
    });
    of_decades.into_iter().chain(of_steps).find(|ticks| ticks.len() >= TICKS).unwrap_or_default()
}

/// `digits` × 10^`decade`, the nearest there is, so that it prints as a person writes it.
fn in_decade(digits: f64, decade: i32) -> f64 {
    let scale = 10_f64.powi(decade.abs());
    if decade < 0 { digits / scale } else { digits * scale }
}

#[cfg(test)]
mod tests {
    use super::{TICKS, ticks};

    /// Space around the outermost points of a picture, as a factor.
    const MARGIN: f64 = 1.15;

    /// Of an axis, between two ticks: less than this, and their labels meet.
    const CLOSEST: f64 = 0.08;

    #[test]
    fn an_axis_of_any_range_has_a_few_round_ticks() {
        assert_eq!(ticks(70.0, 150_000.0), [100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert_eq!(ticks(12.0, 120.0), [20.0, 50.0, 100.0]);
        assert_eq!(ticks(0.161, 0.223), [0.18, 0.2, 0.22]);
        for low in (0..3_200).map(|at| 10_f64.powf(f64::from(at) / 400.0 - 4.0)) {
            for range in (0..60).map(|at| MARGIN.powi(2) * 1.3_f64.powi(at)) {
                let (high, ticks) = (low * range, ticks(low, low * range));
                assert!(ticks.len() >= TICKS, "{ticks:?} of {low} to {high}");
                assert!(low <= ticks[0] && ticks[ticks.len() - 1] <= high, "{ticks:?} of {low} to {high}");
                let apart = |pair: &[f64]| (pair[1] / pair[0]).ln() / range.ln();
                assert!(ticks.windows(2).all(|pair| apart(pair) > CLOSEST), "{ticks:?} of {low} to {high}");
                assert!(ticks.iter().all(|tick| tick.to_string().len() <= 12), "{ticks:?} of {low} to {high}");
            }
        }
    }
}

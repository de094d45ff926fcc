//! A span of time in equal parts, each of them a point of a chart.

/// How many parts there are: as many as wished, one at least, no more than a chart can show.
pub(super) fn count(wished: u64, most: usize) -> usize {
    usize::try_from(wished).unwrap_or(most).clamp(1, most)
}

/// How long each of them is.
pub(super) fn length(span_s: f64, parts: usize) -> f64 {
    let length = span_s / parts as f64;
    // A load that came at one instant.
    if length > 0.0 { length } else { 1.0 }
}

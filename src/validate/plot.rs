//! Predicted against measured, request by request, as an SVG: a panel each for TTFT, TPOT and E2E, on logarithmic axes, with
//! the diagonal on which a perfect prediction lies and lines at a fifth above and below it.

use std::error::Error;

use plotters::chart::ChartBuilder;
use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::Circle;
use plotters::prelude::SVGBackend;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, ShapeStyle, WHITE};

use super::comparison::Comparison;
use crate::ticks::ticks;

/// Size of the picture, in pixels.
const SIZE: (u32, u32) = (1260, 460);
/// Space around the outermost points, as a factor.
const MARGIN: f64 = 1.15;
/// A fifth off.
const BAND: f64 = 1.2;
const POINTS: RGBColor = RGBColor(31, 90, 160);
const LINES: RGBColor = RGBColor(120, 120, 120);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The picture; `None` if no request has both figures.
#[must_use]
pub fn plot(comparison: &Comparison) -> Option<String> {
    let panels: Vec<_> = comparison.pairs.iter().filter(|(_, pairs)| pairs.iter().any(is_drawn)).collect();
    if panels.is_empty() {
        return None;
    }
    let mut svg = String::new();
    draw(comparison, &panels, &mut svg).expect("a text takes whatever is drawn into it");
    Some(svg)
}

/// What a logarithmic axis can show.
fn is_drawn(pair: &(f64, f64)) -> bool {
    pair.0 > 0.0 && pair.1 > 0.0
}

fn draw(
    comparison: &Comparison,
    panels: &[&(&'static str, Vec<(f64, f64)>)],
    svg: &mut String,
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("{}: predicted against measured, one dot a request", comparison.run);
    let below = root.titled(&title, ("sans-serif", 20))?;
    for (area, (name, pairs)) in below.split_evenly((1, panels.len())).iter().zip(panels) {
        panel(area, name, pairs)?;
    }
    root.present()?;
    Ok(())
}

fn panel(area: &Area<'_>, name: &str, pairs: &[(f64, f64)]) -> Result<(), Box<dyn Error>> {
    let drawn = || pairs.iter().copied().filter(is_drawn);
    let all = || drawn().flat_map(|(measured, predicted)| [measured, predicted]);
    let low = all().fold(f64::INFINITY, f64::min) / MARGIN;
    let high = all().fold(0.0, f64::max) * MARGIN;
    let axis = || (low..high).log_scale().with_key_points(ticks(low, high));
    let latency = name.trim_end_matches("_ms").to_uppercase();
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(format!("{latency}, ms"), ("sans-serif", 17))
        .x_label_area_size(44)
        .y_label_area_size(66)
        .build_cartesian_2d(axis(), axis())?;
    let label = |value: &f64| value.to_string();
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("measured")
        .y_desc("predicted")
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    let points: ShapeStyle = POINTS.mix(0.45).filled();
    chart.draw_series(drawn().map(|pair| Circle::new(pair, 2, points)))?;
    for (factor, style) in [(1.0, BLACK.stroke_width(1)), (BAND, LINES.into()), (1.0 / BAND, LINES.into())] {
        // Within the panel, whose corners a line off the diagonal misses.
        let (from, to) = (low.max(low / factor), high.min(high / factor));
        chart.draw_series(LineSeries::new([(from, from * factor), (to, to * factor)], style))?;
    }
    Ok(())
}

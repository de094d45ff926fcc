//! A chart as a picture: plotters draws the SVG, resvg makes a PNG of it with a font of its own, so that the picture does not
//! depend on the machine's fonts.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::SVGBackend;
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, WHITE};
use resvg::{tiny_skia, usvg};

use super::ReportError;
use super::figure::{Body, Figure, Limit, Line, Scale, Side, Stroke, rounded};
use crate::ticks::ticks;

/// Size of a picture, in pixels; a PNG has twice as many each way.
const SIZE: (u32, u32) = (960, 540);
/// Height of a bar with its gap, and of all that is not bars.
const BAR: u32 = 26;
const AROUND_BARS: u32 = 190;
const PNG_SCALE: f32 = 2.0;
/// Height of a line of the legend, and pixels of a character and of a mark in it.
const LEGEND_LINE: i32 = 20;
const CHARACTER: f64 = 8.0;
const MARK: i32 = 22;
const MARGIN: i32 = 16;
/// Height of labels.
const TEXT: u32 = 15;
/// Ticks of an even axis, at most.
const TICKS: usize = 8;
/// Characters of a name.
const LONGEST_NAME: usize = 40;
const INK: RGBColor = RGBColor(31, 41, 55);
const GRID: RGBColor = RGBColor(225, 229, 234);
const LIMIT: RGBColor = RGBColor(190, 24, 60);
/// By Okabe and Ito: told apart by all.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(127, 96, 0),
    RGBColor(90, 90, 90),
    RGBColor(143, 63, 191),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture as an SVG.
#[must_use]
pub fn svg(figure: &Figure) -> String {
    let mut svg = String::new();
    draw(figure, &mut svg).expect("a text takes whatever is drawn into it");
    svg
}

/// The picture as a PNG.
///
/// # Errors
/// The rasteriser refuses the SVG.
pub fn png(figure: &Figure) -> Result<Vec<u8>, ReportError> {
    let refused = |error: String| ReportError::Picture(error);
    let mut options = usvg::Options::default();
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let family = fonts.faces().next().and_then(|face| face.families.first()).map(|(family, _)| family.clone());
    fonts.set_sans_serif_family(family.unwrap_or_default());
    let tree = usvg::Tree::from_str(&svg(figure), &options).map_err(|error| refused(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(PNG_SCALE).ok_or_else(|| refused("it has no size".to_owned()))?;
    let mut pixels =
        tiny_skia::Pixmap::new(size.width(), size.height()).ok_or_else(|| refused("too large".to_owned()))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| refused(error.to_string()))
}

fn draw(figure: &Figure, svg: &mut String) -> Result<(), Box<dyn Error>> {
    let height = match &figure.body {
        Body::Lines(_) => SIZE.1,
        Body::Stacks { bars, .. } => AROUND_BARS + BAR * bars.len() as u32,
    };
    let root = SVGBackend::with_string(svg, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let below = root.titled(&figure.title, ("sans-serif", 20).into_font().color(&INK))?;
    let legend = Legend::of(figure);
    let (chart, under) = below.split_vertically(below.dim_in_pixel().1 as i32 - legend.height());
    match &figure.body {
        Body::Lines(lines) => draw_lines(&chart, figure, lines)?,
        Body::Stacks { bars, parts } => draw_stacks(&chart, figure, bars, parts)?,
    }
    legend.draw(&under)?;
    root.present()?;
    Ok(())
}

/// An even axis with ticks of its own.
struct Even {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Even {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// An axis of numbers: drawn evenly, of logarithms where it is logarithmic.
struct Numbers {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Numbers {
    fn of(figure: &Figure, side: Side) -> Self {
        let scale = if side == Side::X { figure.x.scale } else { figure.y.scale };
        let (mut from, mut to) = figure.extent(side);
        for limit in figure.limits.iter().filter(|limit| limit.on == side) {
            (from, to) = (from.min(limit.value), to.max(limit.value));
        }
        if scale == Scale::Log {
            (from, to) = (from / 1.1, to * 1.1);
        } else if side == Side::Y || from == to {
            to += (to - from) * 0.04 + f64::from(u8::from(from == to));
        }
        Self { scale, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        if self.scale == Scale::Log { value.max(self.from).log10() } else { value }
    }

    fn axis(&self) -> Even {
        let range = self.place(self.from)..self.place(self.to);
        let ticks = if self.scale == Scale::Log {
            ticks(self.from, self.to).into_iter().map(f64::log10).collect()
        } else {
            RangedCoordf64::from(range.clone()).key_points(TICKS)
        };
        Even { range, ticks }
    }

    fn label(&self, place: f64) -> String {
        match self.scale {
            Scale::Log => rounded(10_f64.powf(place)).to_string(),
            Scale::Share => format!("{} %", rounded(place * 100.0)),
            Scale::Linear | Scale::Names => rounded(place).to_string(),
        }
    }
}

fn draw_lines(area: &Area<'_>, figure: &Figure, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let (across, up) = (Numbers::of(figure, Side::X), Numbers::of(figure, Side::Y));
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_bottom(4)
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(across.axis(), up.axis())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", TEXT).into_font().color(&INK))
        .axis_desc_style(("sans-serif", TEXT).into_font().color(&INK))
        .x_desc(&figure.x.title)
        .y_desc(&figure.y.title)
        .x_label_formatter(&|place| across.label(*place))
        .y_label_formatter(&|place| up.label(*place))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        for part in line.points.split(|(_, value)| value.is_none()) {
            let points = part.iter().filter_map(|&(x, y)| Some((across.place(x), up.place(y?))));
            let points: Vec<(f64, f64)> = points.collect();
            let path = if matches!(line.stroke, Stroke::Steps | Stroke::FilledSteps) {
                steps(&points)
            } else {
                points.clone()
            };
            if let (Stroke::FilledSteps, Some(first), Some(last)) = (line.stroke, path.first(), path.last()) {
                let floor = up.place(up.from);
                let outline: Vec<(f64, f64)> =
                    path.iter().copied().chain([(last.0, floor), (first.0, floor)]).collect();
                chart.draw_series([Polygon::new(outline, colour.mix(0.25))])?;
            }
            if matches!(line.stroke, Stroke::Points | Stroke::PointsAndLine) || points.len() == 1 {
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
            }
            if line.stroke == Stroke::Rings {
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 7, colour.stroke_width(2))))?;
            }
            if !matches!(line.stroke, Stroke::Points | Stroke::Rings) {
                chart.draw_series(LineSeries::new(path, colour.stroke_width(2)))?;
            }
        }
    }
    for Limit { on, value, .. } in &figure.limits {
        let ends = match on {
            Side::X => [(across.place(*value), up.place(up.from)), (across.place(*value), up.place(up.to))],
            Side::Y => [(across.place(across.from), up.place(*value)), (across.place(across.to), up.place(*value))],
        };
        chart.draw_series(DashedLineSeries::new(ends, 7, 5, LIMIT.stroke_width(2)))?;
    }
    Ok(())
}

/// Level until the next point.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let corners = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    corners.chain(points.last().copied()).collect()
}

fn draw_stacks(
    area: &Area<'_>,
    figure: &Figure,
    bars: &[String],
    parts: &[(String, Vec<f64>)],
) -> Result<(), Box<dyn Error>> {
    let longest = (0..bars.len()).map(|bar| parts.iter().map(|(_, lengths)| lengths[bar]).sum::<f64>());
    let longest = longest.fold(0.0, f64::max);
    let across = Numbers { scale: figure.x.scale, from: 0.0, to: if longest > 0.0 { longest } else { 1.0 } };
    let names: Vec<String> = bars.iter().map(|name| shortened(name)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    // From the top: the first bar lies between -1 and 0.
    let places: Vec<f64> = (0..bars.len()).map(|bar| -(bar as f64) - 0.5).collect();
    let down = Even { range: -(bars.len() as f64)..0.0, ticks: places };
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_bottom(4)
        .margin_right(36)
        .x_label_area_size(48)
        .y_label_area_size((widest as f64 * CHARACTER) as u32 + 16)
        .build_cartesian_2d(across.axis(), down)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .disable_y_mesh()
        .label_style(("sans-serif", TEXT).into_font().color(&INK))
        .axis_desc_style(("sans-serif", TEXT).into_font().color(&INK))
        .x_desc(&figure.x.title)
        .x_label_formatter(&|place| across.label(*place))
        .y_label_formatter(&|place| names.get((-place) as usize).cloned().unwrap_or_default())
        .draw()?;
    let mut begun = vec![0.0; bars.len()];
    for ((_, lengths), colour) in parts.iter().zip(COLOURS.iter().cycle()) {
        let bars = lengths.iter().zip(&mut begun).enumerate().map(|(bar, (length, begun))| {
            let (from, top) = (*begun, -(bar as f64));
            *begun += length;
            Rectangle::new([(from, top - 0.86), (*begun, top - 0.14)], colour.filled())
        });
        chart.draw_series(bars.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What the colours mean, below a chart, in as many lines as it takes.
struct Legend {
    /// Name, style, line and place in it.
    entries: Vec<(String, ShapeStyle, i32, i32)>,
    lines: i32,
}

impl Legend {
    fn of(figure: &Figure) -> Self {
        let names: Vec<&String> = match &figure.body {
            Body::Lines(lines) => lines.iter().map(|line| &line.name).collect(),
            Body::Stacks { parts, .. } => parts.iter().map(|(name, _)| name).collect(),
        };
        let drawn = names.into_iter().zip(COLOURS.iter().cycle()).map(|(name, colour)| (name, colour.filled()));
        let limits = figure.limits.iter().map(|limit| (&limit.label, LIMIT.filled()));
        let (mut line, mut at) = (0, MARGIN);
        let mut entries = Vec::new();
        for (name, style) in drawn.chain(limits).filter(|(name, _)| !name.is_empty()) {
            let name = shortened(name);
            let width = MARK + (name.chars().count() as f64 * CHARACTER) as i32 + MARGIN;
            if at + width > SIZE.0 as i32 && at > MARGIN {
                (line, at) = (line + 1, MARGIN);
            }
            entries.push((name, style, line, at));
            at += width;
        }
        let lines = if entries.is_empty() { 0 } else { line + 1 };
        Self { entries, lines }
    }

    fn height(&self) -> i32 {
        self.lines * LEGEND_LINE + MARGIN
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        for (name, style, line, at) in &self.entries {
            let middle = line * LEGEND_LINE + LEGEND_LINE / 2;
            area.draw(&PathElement::new(vec![(*at, middle), (at + MARK - 8, middle)], style.stroke_width(4)))?;
            let font = ("sans-serif", TEXT).into_font().color(&INK);
            area.draw(&Text::new(name.as_str(), (at + MARK, middle - 7), font))?;
        }
        Ok(())
    }
}

fn shortened(name: &str) -> String {
    let plain: String = name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if plain.chars().count() <= LONGEST_NAME {
        return plain;
    }
    plain.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

//! A chart as plotly.js takes it. Colours, fonts and margins are the page's, which follow the reader's theme.

use serde_json::{Value, json};

use super::figure::{Body, Figure, Line, Scale, Side, Stroke};
use crate::ticks::ticks;

/// Characters of a name in a legend.
const LONGEST_NAME: usize = 40;

/// plotly.js, packed and in base64 (`build.rs`).
pub(super) const PACKED_SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/plotly.min.js.gz.base64"));

/// Traces and layout.
pub(super) fn chart(figure: &Figure) -> Value {
    let mut layout = json!({ "xaxis": axis(figure, Side::X), "yaxis": axis(figure, Side::Y) });
    let mut traces = match &figure.body {
        Body::Lines(lines) => lines.iter().map(line).collect(),
        Body::Stacks { bars, parts } => {
            layout["barmode"] = "stack".into();
            layout["yaxis"]["autorange"] = "reversed".into();
            layout["yaxis"]["dtick"] = 1.into();
            let names: Vec<String> = bars.iter().map(|name| text(name)).collect();
            let part = |(name, lengths): &(String, Vec<f64>)| json!({"type": "bar", "orientation": "h", "name": text(name), "x": lengths, "y": names});
            parts.iter().map(part).collect::<Vec<Value>>()
        }
    };
    traces.extend(limits(figure));
    layout["showlegend"] = (traces.len() > 1).into();
    json!({ "traces": traces, "layout": layout })
}

fn axis(figure: &Figure, side: Side) -> Value {
    let axis = if side == Side::X { &figure.x } else { &figure.y };
    let mut told = json!({ "title": { "text": text(&axis.title) }, "automargin": true });
    match axis.scale {
        // Latencies need not begin at zero, heights do.
        Scale::Linear if side == Side::X => {}
        Scale::Linear => told["rangemode"] = "tozero".into(),
        Scale::Share => {
            told["rangemode"] = "tozero".into();
            told["tickformat"] = ".3~p".into();
        }
        Scale::Log => {
            told["type"] = "log".into();
            let (least, most) = figure.extent(side);
            let ticks = if least > 0.0 { ticks(least, most) } else { Vec::new() };
            // plotly.js names every 2 and 5 whether there is room or not.
            if !ticks.is_empty() {
                told["tickmode"] = "array".into();
                told["ticktext"] = ticks.iter().map(f64::to_string).collect();
                told["tickvals"] = ticks.into();
            }
        }
        Scale::Names => told["type"] = "category".into(),
    }
    told
}

fn line(line: &Line) -> Value {
    let (mode, shape) = match line.stroke {
        Stroke::Straight => ("lines", "linear"),
        Stroke::Steps | Stroke::FilledSteps => ("lines", "hv"),
        Stroke::Points | Stroke::Rings => ("markers", "linear"),
        Stroke::PointsAndLine => ("lines+markers", "linear"),
    };
    let x: Vec<f64> = line.points.iter().map(|point| point.0).collect();
    let y: Vec<Option<f64>> = line.points.iter().map(|point| point.1).collect();
    let mut trace = json!({
        "type": "scatter", "mode": mode, "name": text(&line.name), "x": x, "y": y,
        "line": { "shape": shape, "width": 2 },
    });
    if line.name.is_empty() {
        trace["showlegend"] = false.into();
    }
    if line.stroke == Stroke::Rings {
        trace["marker"] = json!({ "size": 13, "symbol": "circle-open", "line": { "width": 2 } });
    }
    if line.stroke == Stroke::PointsAndLine {
        trace["marker"] = json!({ "size": 5 });
    }
    if line.stroke == Stroke::FilledSteps {
        trace["fill"] = "tozeroy".into();
    }
    trace
}

/// Limits as broken lines, so that the legend names them.
fn limits(figure: &Figure) -> impl Iterator<Item = Value> {
    figure.limits.iter().map(|limit| {
        let ends = figure.extent(if limit.on == Side::X { Side::Y } else { Side::X });
        let (at, along) = (vec![limit.value; 2], vec![ends.0, ends.1]);
        let (x, y) = if limit.on == Side::X { (at, along) } else { (along, at) };
        json!({
            "type": "scatter", "mode": "lines", "name": text(&limit.label), "x": x, "y": y, "meta": "limit",
            "line": { "dash": "dash", "width": 2 },
        })
    })
}

/// Text as plotly.js shows it to the letter: it takes a few tags and entities, and nothing else.
fn text(text: &str) -> String {
    let shortened: String = if text.chars().count() > LONGEST_NAME {
        text.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
    } else {
        text.to_owned()
    };
    shortened.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\n', '\r'], " ")
}

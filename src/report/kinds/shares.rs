//! Charts of parts of a whole: of engines' time, of requests' time.

use crate::report::figure::{Axis, Body, Figure, Scale, rounded};
use crate::report::parts::{PARTS, Parts};
use crate::report::run::Run;

fn stacks(
    title: &str,
    note: &str,
    unit: &str,
    scale: Scale,
    bars: Vec<String>,
    parts: Vec<(String, Vec<f64>)>,
) -> Figure {
    // Parts that no bar has only fill the legend.
    let parts = parts.into_iter().filter(|(_, lengths)| lengths.iter().any(|&length| length > 0.0)).collect();
    Figure {
        kind: String::new(),
        title: title.to_owned(),
        note: note.to_owned(),
        x: Axis::new(unit, scale),
        y: Axis::new("", Scale::Names),
        body: Body::Stacks { bars, parts },
        limits: Vec::new(),
    }
}

pub(super) fn engine_time(run: &Run) -> Option<Figure> {
    let share = |key: &str| run.folder.number(&format!("/verdict/engine_time/{key}"));
    let held = [
        ("free", "queue not held back"),
        ("seats", "held by seats"),
        ("token_budget", "held by token budget"),
        ("kv_cache", "held by KV cache"),
    ];
    let bound = [
        ("compute", "bound by compute"),
        ("memory_bandwidth", "bound by memory bandwidth"),
        ("host", "bound by the host"),
        ("latency", "bound by launches and latencies"),
    ];
    let mut parts = vec![("idle".to_owned(), vec![rounded(share("idle")?); 2])];
    for (row, kinds) in [held, bound].into_iter().enumerate() {
        for (key, name) in kinds {
            let mut lengths = vec![0.0; 2];
            lengths[row] = rounded(share(key)?);
            parts.push((name.to_owned(), lengths));
        }
    }
    let bars = vec!["queue".to_owned(), "steps".to_owned()];
    let note = "Means over engines, of the whole run: what held the waiting queue back, and what bound the steps.";
    Some(stacks("Engines' time", note, "share of the time", Scale::Share, bars, parts))
}

fn of_requests(title: &str, note: &str, bars: Vec<(String, Parts)>) -> Figure {
    let part = |index: usize| bars.iter().map(|(_, parts)| rounded(parts[index].max(0.0))).collect();
    let parts = PARTS.iter().enumerate().map(|(index, &name)| (name.to_owned(), part(index))).collect();
    let names = bars.iter().map(|(name, _)| name.clone()).collect();
    stacks(title, note, "ms", Scale::Linear, names, parts)
}

pub(super) fn breakdown(run: &Run) -> Option<Figure> {
    let requests = run.requests.as_ref()?;
    let bars = [
        ("all", &requests.parts),
        ("slowest 1 % by TTFT", &requests.tail_of_ttft),
        ("slowest 1 % by E2E", &requests.tail_of_e2e),
    ];
    let bars = bars.into_iter().filter_map(|(name, sums)| Some((name.to_owned(), sums.means()?))).collect();
    let note = "Means. A preempted request's second wait is in decode (in prefill, if it had no token yet): the records say how \
                often, not for how long.";
    Some(of_requests("Where the time went", note, bars))
}

pub(super) fn slowest(run: &Run) -> Option<Figure> {
    let requests = run.requests.as_ref()?;
    let bars = requests.slowest.iter().filter_map(|slow| Some((slow.id.clone(), slow.parts?))).collect();
    Some(of_requests("The slowest requests", "By E2E, the slowest on top.", bars))
}

//! Figures of the summary as they stand on the page, each with its place in `summary.json` and all of its digits.

use maud::{Markup, html};
use serde_json::Value;

use crate::report::run::Run;

/// What a figure is a number of.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// A count.
    Count,
    /// A plain number.
    Plain(&'static str),
    /// A share, shown in per cent.
    Share,
}

/// A figure, or a dash where the run has none.
pub(super) fn figure(run: &Run, pointer: &str, unit: Unit) -> Markup {
    match run.folder.summary.pointer(pointer) {
        Some(Value::Number(number)) => {
            let value = number.as_f64().unwrap_or(f64::NAN);
            html! { data data-of=(pointer) value=(number) title=(pointer) { (shown(value, unit)) } }
        }
        _ => html! { "–" },
    }
}

/// A number as people read it.
pub(super) fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => grouped(&format!("{value:.0}")),
        Unit::Share => format!("{:.1}\u{a0}%", value * 100.0),
        Unit::Plain("") => plain(value),
        Unit::Plain(unit) => format!("{}\u{a0}{unit}", plain(value)),
    }
}

/// The figure of a tile, whose unit takes less room.
fn tile(run: &Run, pointer: &str, unit: Unit) -> Markup {
    match unit {
        Unit::Plain(word) => html! { (figure(run, pointer, Unit::Plain(""))) " " small { (word) } },
        _ => figure(run, pointer, unit),
    }
}

fn plain(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 1_000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 1.0 || size == 0.0 => 2,
        _ => 4,
    };
    grouped(&format!("{value:.places$}"))
}

/// Digits in threes, by narrow spaces.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    rest.map_or(text.clone(), |rest| format!("{text}.{rest}"))
}

/// The figures that come first.
pub(super) fn headline(run: &Run) -> Markup {
    let tiles = [
        (
            "throughput",
            "/throughput/requests_per_second",
            Unit::Plain("requests/s"),
            "answered while the load was offered",
        ),
        ("output", "/throughput/output_tokens_per_second", Unit::Plain("tokens/s"), "generated for them"),
        ("TTFT p50", "/latency/time_to_first_token_ms/p50", Unit::Plain("ms"), "to the first token"),
        ("TTFT p99", "/latency/time_to_first_token_ms/p99", Unit::Plain("ms"), "to the first token"),
        ("TPOT p50", "/latency/time_per_output_token_ms/p50", Unit::Plain("ms"), "per output token"),
        ("TPOT p99", "/latency/time_per_output_token_ms/p99", Unit::Plain("ms"), "per output token"),
        ("E2E p50", "/latency/end_to_end_latency_ms/p50", Unit::Plain("ms"), "end to end"),
        ("E2E p99", "/latency/end_to_end_latency_ms/p99", Unit::Plain("ms"), "end to end"),
        ("answered", "/requests/success_rate", Unit::Share, "of the requests"),
        ("within SLO", "/slo/attainment", Unit::Share, "of the requests that ended"),
        ("goodput", "/slo/goodput_requests_per_second", Unit::Plain("requests/s"), "within their SLO"),
        ("prefix hits", "/prefix_caching/prefill_reduction_ratio", Unit::Share, "of prompt tokens from the cache"),
        ("energy", "/energy/joules_per_output_token", Unit::Plain("J"), "an output token"),
        ("cost", "/cost/usd_per_million_output_tokens", Unit::Plain("USD"), "a million output tokens"),
    ];
    let known = tiles.into_iter().filter(|(_, pointer, ..)| run.folder.number(pointer).is_some());
    html! {
        div.tiles {
            @for (name, pointer, unit, about) in known {
                div.tile { div.name { (name) } div.value { (tile(run, pointer, unit)) } div.quiet { (about) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Unit, shown};

    #[test]
    fn numbers_are_short_and_in_threes() {
        let told = [0.0, 0.01234, 3.16159, 118.0508, 3375.7, 1_234_567.0].map(|value| shown(value, Unit::Plain("")));
        assert_eq!(told, ["0.00", "0.0123", "3.16", "118.1", "3376", "1\u{202f}234\u{202f}567"]);
        assert_eq!(shown(0.5, Unit::Share), "50.0\u{a0}%");
        assert_eq!(shown(12_345.0, Unit::Count), "12\u{202f}345");
    }
}

//! `--slo ttft=500ms,tpot=50ms`: what clients expect, as keys of `workload.slo`. A time without a unit is refused: of the tools
//! that know goodput some take milliseconds and some seconds.

use super::diagnostic::{At, Diagnostics, Mark};
use crate::workload::SloMetric;

/// The flag.
pub(super) const FLAG: &str = "--slo";

/// Paths of keys, and what they are set to.
pub(super) fn keys_of(texts: &[String], diagnostics: &mut Diagnostics) -> Vec<(&'static str, f64)> {
    let mut found: Vec<(&'static str, f64)> = Vec::new();
    for pair in texts.iter().flat_map(|text| text.split(',')) {
        let Some((metric, milliseconds)) = objective(pair.trim(), diagnostics) else { continue };
        let path = path(metric);
        if found.iter().any(|(other, _)| *other == path) {
            diagnostics.error(&At::root(Mark::flag(FLAG)), format!("{} is given twice", metric.name()));
        }
        found.push((path, milliseconds));
    }
    found
}

fn path(metric: SloMetric) -> &'static str {
    match metric {
        SloMetric::Ttft => "workload.slo.ttft_ms",
        SloMetric::Tpot => "workload.slo.tpot_ms",
        SloMetric::Itl => "workload.slo.itl_ms",
        SloMetric::E2e => "workload.slo.e2e_ms",
    }
}

/// `ttft=500ms`: the metric, and milliseconds.
fn objective(pair: &str, diagnostics: &mut Diagnostics) -> Option<(SloMetric, f64)> {
    let at = At::root(Mark::flag(FLAG));
    let Some((name, time)) = pair.split_once('=') else {
        diagnostics.error_with(&at, format!("{pair:?} has no ="), "write metric=time, such as ttft=500ms,tpot=50ms");
        return None;
    };
    let (name, time) = (name.trim(), time.trim());
    let Some(metric) = SloMetric::ALL.into_iter().find(|metric| metric.name() == name) else {
        let names = SloMetric::ALL.map(SloMetric::name);
        diagnostics.unknown(&at, format!("{name:?} is no metric of an SLO"), name, names);
        return None;
    };
    match time_ms(name, time) {
        Ok(ms) => Some((metric, ms)),
        Err((message, way_out)) => {
            diagnostics.error_with(&at, message, way_out);
            None
        }
    }
}

/// `500ms` or `0.5s` in milliseconds, of the objective `name`.
///
/// # Errors
/// What is wrong, and the way out.
pub fn time_ms(name: &str, time: &str) -> Result<f64, (String, String)> {
    let no_time = || (format!("{time:?} is not a time"), "write 500ms or 0.5s".to_owned());
    let is_positive = |number: f64| number > 0.0 && number.is_finite();
    let (number, factor) = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
        (Some(number), _) => (number, 1.0),
        (None, Some(number)) => (number, 1e3),
        (None, None) => {
            let no_unit =
                (format!("\"{name}={time}\" has no unit"), format!("write {name}={time}ms or {name}={time}s"));
            return Err(if time.parse().is_ok_and(is_positive) { no_unit } else { no_time() });
        }
    };
    number.trim_end().parse::<f64>().map(|number| number * factor).map_err(|_| no_time())
}

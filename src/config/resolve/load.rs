//! `workload.load`: which of the ways to say it, and its parts against each other.

use super::distribution::distribution;
use crate::config::declare::Field;
use crate::config::diagnostic::{At, Diagnostics, number};
use crate::config::keys::{self, ClientProfile, Load as Keys, Process, Rate as RateKeys, Workload};
use crate::workload::{Course, Distribution, Load, Piece, Places, Rate, Sampler, Starts, State, weibull_shape};

/// Most states: what follows from each is a list of as many weights.
const MOST_STATES: usize = 100;
/// Requests that may wait in memory.
const MOST_AT_ONCE: u64 = 10_000_000;
/// Sessions a second of which there may be any number.
const MOST_PER_S: f64 = 1e6;

/// The load, or `None` after an error.
pub(super) fn resolve(workload: &Workload, diagnostics: &mut Diagnostics) -> Option<Load> {
    let Some(keys) = &workload.load.value else {
        return (!workload.load.given).then(Load::default);
    };
    let ways = [("rate", keys.rate.given), ("concurrency", keys.concurrency.given), ("users", keys.users.given)];
    let given: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if given.len() > 1 {
        let message = format!("{} are ways to say how much load there is; give one", given.join(" and "));
        diagnostics.error_with(&keys.at, message, "to limit an open loop, give rate and max_in_flight");
        return None;
    }
    check_companions(keys, diagnostics);
    let starts = scaled(starts(keys, diagnostics)?, workload, diagnostics)?;
    let places = places(keys, diagnostics)?;
    check_amount(keys, workload, starts.as_ref(), places.as_ref(), diagnostics);
    Some(Load { starts, places })
}

/// Whether the load is over by itself.
pub(super) fn ends(workload: &Workload) -> bool {
    let rate = workload.load.value.as_ref().and_then(|load| load.rate.value.as_ref());
    matches!(rate, Some(RateKeys::Stages(stages)) if !stages.repeat.value)
}

/// The gaps of a profile, which it has if nothing else says when sessions begin.
pub(super) fn gaps(
    gaps: Option<Distribution>,
    keys: &ClientProfile,
    workload: &Workload,
    diagnostics: &mut Diagnostics,
) -> Option<Distribution> {
    let load = workload.load.value.as_ref();
    let says_when = |load: &Keys| {
        let is_at_once = load.process.value == Some(Process::AtOnce);
        load.rate.given || load.concurrency.given || load.users.given || is_at_once
    };
    let key = &keys.inter_arrival_time_dist_config;
    match (load.is_some_and(says_when), key.given) {
        (true, true) => {
            let message = "workload.load says when sessions begin, so that gaps of a profile have no effect";
            diagnostics.error_with(&key.at, message, "give one of the two");
            None
        }
        // Asked for by nobody.
        (true, false) => Some(Distribution::Constant { value: 0.0 }),
        (false, true) => gaps,
        (false, false) if workload.load.given && load.is_none() => None,
        (false, false) => {
            let message = "missing required key inter_arrival_time_dist_config";
            let suggestion =
                "such as {type: Exponential, rate: 2.0}, or say for all profiles workload.load: {rate: 2.0}";
            diagnostics.error_with(&keys.at, message, suggestion);
            None
        }
    }
}

/// Keys that have an effect only beside another.
fn check_companions(keys: &Keys, diagnostics: &mut Diagnostics) {
    let is_closed = keys.concurrency.given || keys.users.given;
    let has_rate = keys.rate.given;
    let mut without = |given: bool, at: &At, has: bool, companion: &str| {
        if given && !has {
            diagnostics.error_with(at, "has no effect here", format!("it goes with {companion}"));
        }
    };
    without(keys.think_time.given, &keys.think_time.at, keys.users.given, "users");
    without(keys.ramp_up_s.given, &keys.ramp_up_s.at, is_closed, "concurrency or users");
    without(keys.cv.given, &keys.cv.at, has_rate, "rate");
    without(keys.burstiness.given, &keys.burstiness.at, has_rate, "rate");
    without(keys.max_in_flight.given, &keys.max_in_flight.at, !is_closed, "an open loop");
    let is_at_once = keys.process.value == Some(Process::AtOnce);
    without(keys.process.given && !is_at_once, &keys.process.at, has_rate, "rate");
    if keys.process.given && is_at_once && (has_rate || is_closed) {
        diagnostics.error(&keys.process.at, "at_once stands for the rate: give no other");
    }
    if keys.users.given && !keys.think_time.given {
        let suggestion = "such as think_time: {type: Exponential, rate: 0.1}, or give concurrency in place of users";
        diagnostics.error_with(&keys.at, "missing required key think_time", suggestion);
    }
}

/// `None` after an error; `Some(None)` where the profiles or the trace say when.
#[expect(clippy::option_option, reason = "an error is one thing, nothing said another")]
fn starts(keys: &Keys, diagnostics: &mut Diagnostics) -> Option<Option<Starts>> {
    let is_at_once = keys.process.value == Some(Process::AtOnce);
    if keys.concurrency.given || keys.users.given || is_at_once {
        return Some(Some(Starts::AtOnce));
    }
    if !keys.rate.given {
        return Some(None);
    }
    let gaps = unit_gaps(keys, diagnostics);
    let rate = rate(keys.rate.value.as_ref()?, &keys.rate.at, diagnostics);
    Some(Some(Starts::Rate { gaps: gaps?, rate: rate? }))
}

/// The rate `workload.rate_scale` times as high, if it is a rate.
#[expect(clippy::option_option, reason = "an error is one thing, nothing said another")]
fn scaled(starts: Option<Starts>, workload: &Workload, diagnostics: &mut Diagnostics) -> Option<Option<Starts>> {
    let Some(factor) = workload.rate_scale.value else { return Some(starts) };
    match starts {
        Some(Starts::Rate { gaps, rate }) => Some(Some(Starts::Rate { gaps, rate: rate.scaled(factor) })),
        Some(Starts::AtOnce) => {
            let message = "has no effect here: this load has no rate";
            let way_out = "change load.concurrency or load.users of a closed loop";
            diagnostics.error_with(&workload.rate_scale.at, message, way_out);
            None
        }
        None => Some(None),
    }
}

/// Gaps of mean 1.
fn unit_gaps(keys: &Keys, diagnostics: &mut Diagnostics) -> Option<Distribution> {
    if keys.cv.given && keys.burstiness.given {
        diagnostics.error_with(&keys.burstiness.at, "says the same as cv", "give one; cv is 1/√burstiness");
        return None;
    }
    let varies = keys.cv.given || keys.burstiness.given;
    let process = keys.process.value.unwrap_or(if varies { Process::Gamma } else { Process::Poisson });
    let cv = keys.cv.value.or(keys.burstiness.value.map(|shape| shape.sqrt().recip())).unwrap_or(1.0);
    let shape = cv.powi(2).recip();
    Some(match process {
        Process::Gamma => Distribution::Gamma { shape, scale: shape.recip() },
        Process::Weibull if keys.burstiness.given => {
            diagnostics.error_with(&keys.burstiness.at, "is the shape of gamma gaps", "give cv");
            return None;
        }
        Process::Weibull => {
            let shape = weibull_shape(cv);
            let unscaled = Distribution::Weibull { shape, scale: 1.0 };
            Distribution::Weibull { shape, scale: unscaled.mean()?.recip() }
        }
        Process::Poisson | Process::Constant | Process::AtOnce if varies => {
            let at = if keys.cv.given { &keys.cv.at } else { &keys.burstiness.at };
            diagnostics.error_with(at, "has no effect on these gaps", "it goes with process: gamma or weibull");
            return None;
        }
        Process::Constant => Distribution::Constant { value: 1.0 },
        Process::Poisson | Process::AtOnce => Distribution::Exponential { rate: 1.0 },
    })
}

fn line(seconds: f64, from: f64, to: f64) -> Piece {
    Piece { seconds, course: Course::Line { from, to } }
}

fn rate(keys: &RateKeys, at: &At, diagnostics: &mut Diagnostics) -> Option<Rate> {
    let rate = match keys {
        RateKeys::Number(per_s) => Rate::constant(*per_s),
        RateKeys::Stages(keys) => {
            let stage = |stage: &keys::Stage| {
                let from = stage.rate.value?;
                let to = if stage.to_rate.given { stage.to_rate.value? } else { from };
                Some(line(stage.duration_s.value?, from, to))
            };
            let pieces: Option<Vec<Piece>> = keys.stages.value.as_ref()?.iter().map(stage).collect();
            Rate::Pieces { pieces: pieces?, repeats: keys.repeat.value }
        }
        RateKeys::Ramp(keys) => {
            let (from, to, seconds) = (keys.from.value?, keys.to.value?, keys.over_s.value?);
            if keys.exponential.value && (from <= 0.0 || to <= 0.0) {
                diagnostics.error(&keys.exponential.at, "an exponential ramp has both ends above 0");
                return None;
            }
            let course =
                if keys.exponential.value { Course::Exponential { from, to } } else { Course::Line { from, to } };
            Rate::Pieces { pieces: vec![Piece { seconds, course }, line(f64::INFINITY, to, to)], repeats: false }
        }
        RateKeys::Diurnal(keys) => {
            let mean = keys.mean.value?;
            let (swing, period_s, peak_s) = (mean * keys.swing.value, keys.period_s.value, keys.peak_at_s.value);
            let course = Course::Wave { mean, swing, period_s, peak_s };
            Rate::Pieces { pieces: vec![Piece { seconds: f64::INFINITY, course }], repeats: false }
        }
        RateKeys::Spikes(keys) => {
            let (base, peak) = (keys.base.value?, keys.peak.value?);
            let (every_s, last_s) = (keys.every_s.value?, keys.last_s.value?);
            if last_s >= every_s {
                diagnostics.error(&keys.last_s.at, "a spike must be over before the next");
                return None;
            }
            let pieces = vec![line(every_s - last_s, base, base), line(last_s, peak, peak)];
            Rate::Pieces { pieces, repeats: true }
        }
        RateKeys::OnOff(keys) => {
            let mut stay = |key: &Field<keys::Distribution>| {
                let found = distribution(key.value.as_ref()?, diagnostics)?;
                Sampler::new(&found).map_err(|error| diagnostics.error(&key.at, error.to_string())).ok().map(|_| found)
            };
            let (on, off) = (stay(&keys.on_s), stay(&keys.off_s));
            Rate::States(vec![
                State { per_s: keys.rate.value?, stay_s: on?, next: vec![0.0, 1.0] },
                State { per_s: keys.off_rate.value, stay_s: off?, next: vec![1.0, 0.0] },
            ])
        }
        RateKeys::Markov(keys) => markov(keys, diagnostics)?,
    };
    if let Err(error) = rate.check() {
        diagnostics.error(at, error.to_string());
        return None;
    }
    Some(rate)
}

fn markov(keys: &keys::Markov, diagnostics: &mut Diagnostics) -> Option<Rate> {
    let states = keys.states.value.as_ref()?;
    let count = states.len();
    if !(2..=MOST_STATES).contains(&count) {
        diagnostics.error(&keys.states.at, format!("{count} states: there must be 2 to {MOST_STATES}"));
        return None;
    }
    let mut found = Vec::with_capacity(count);
    for (index, state) in states.iter().enumerate() {
        let others = || (0..count).map(|other| if other == index { 0.0 } else { 1.0 }).collect();
        let next = state.next.value.clone().unwrap_or_else(others);
        if next.len() != count || !next.iter().any(|weight| *weight > 0.0) {
            let message = format!("there must be a weight for each of the {count} states, one of them above 0");
            diagnostics.error(&state.next.at, message);
            return None;
        }
        let stay_s = Distribution::Exponential { rate: state.mean_s.value?.recip() };
        found.push(State { per_s: state.rate.value?, stay_s, next });
    }
    Some(Rate::States(found))
}

/// `None` after an error.
#[expect(clippy::option_option, reason = "an error is one thing, no limit another")]
fn places(keys: &Keys, diagnostics: &mut Diagnostics) -> Option<Option<Places>> {
    let Some(count) = [&keys.concurrency, &keys.users, &keys.max_in_flight].into_iter().find(|key| key.given) else {
        return Some(None);
    };
    let pause = keys.think_time.value.as_ref().and_then(|keys| distribution(keys, diagnostics));
    if let Some(Err(error)) = pause.as_ref().map(Sampler::new) {
        diagnostics.error(&keys.think_time.at, error.to_string());
        return None;
    }
    if keys.think_time.given && pause.is_none() {
        return None;
    }
    Some(Some(Places { count: count.value?, ramp_up_s: keys.ramp_up_s.value.unwrap_or(0.0), pause_s: pause }))
}

/// A load has an end, and does not wait in memory for ever.
fn check_amount(
    keys: &Keys,
    workload: &Workload,
    starts: Option<&Starts>,
    places: Option<&Places>,
    diagnostics: &mut Diagnostics,
) {
    let requests = workload.total_requests_to_generate.value;
    let most = number(MOST_AT_ONCE as f64);
    let (at, message) = match starts {
        Some(Starts::AtOnce) if places.is_none() => (&keys.process.at, "all requests come at once".to_owned()),
        Some(Starts::Rate { .. }) if places.is_none() => match &keys.rate.value {
            Some(RateKeys::Number(per_s)) if *per_s * workload.rate_scale.value.unwrap_or(1.0) > MOST_PER_S => {
                (&keys.rate.at, format!("more than {} requests a second", number(MOST_PER_S)))
            }
            _ => return,
        },
        _ => return,
    };
    if workload.trace.given || requests.is_some_and(|requests| requests <= MOST_AT_ONCE) {
        return;
    }
    let way_out = format!("set total_requests_to_generate, to {most} at most, or max_in_flight");
    diagnostics.error_with(at, message, way_out);
}

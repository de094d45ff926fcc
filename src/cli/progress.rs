//! The progress bar: simulated time, requests a second and time left, on a terminal of 80 columns; nothing in a pipe.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use oracle_components::SimTime;
use oracle_systems::Progress;

use super::console::is_hosted;

/// Times a second that the bar is drawn.
const DRAWS_PER_S: u8 = 10;
/// With an end in sight, and without. The bar takes what the words leave of a terminal.
const TEMPLATES: [&str; 2] = ["{wide_bar} {percent:>3} % | {msg} | {eta} left", "{spinner} {msg} | {elapsed}"];

/// A bar, or none.
pub struct Bar {
    bar: Option<ProgressBar>,
    /// It counts requests, not simulated time.
    by_requests: bool,
}

impl Bar {
    /// A bar over the requests that are expected, or over simulated time to the horizon, if standard error is a terminal.
    pub fn new(expected_requests: Option<u64>, horizon: Option<SimTime>, quiet: bool) -> Self {
        if quiet || is_hosted() || !std::io::stderr().is_terminal() {
            return Self { bar: None, by_requests: false };
        }
        let length = expected_requests.or(horizon.map(|horizon| horizon.0));
        let bar = match length {
            Some(length) => ProgressBar::new(length.max(1)),
            None => ProgressBar::no_length(),
        };
        let template = TEMPLATES[usize::from(length.is_none())];
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar: Some(bar), by_requests: expected_requests.is_some() }
    }

    /// Shows where the simulation is.
    pub fn update(&self, progress: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_position(if self.by_requests { progress.ended } else { progress.now.0 });
            let rate = progress.ended as f64 / bar.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(message(progress, rate as u64));
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar over things to be done, at most 80 columns wide; nothing in a pipe.
pub struct Steps(Option<ProgressBar>);

impl Steps {
    /// A bar, if standard error is a terminal.
    pub fn new(what: &'static str, quiet: bool) -> Self {
        if quiet || is_hosted() || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} {msg} | {elapsed}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(Some(bar))
    }

    /// So many are done.
    pub fn update(&self, done: usize, all: usize) {
        if let Some(bar) = &self.0 {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Where a simulation is, in at most 50 characters up to a billion requests over a year.
fn message(progress: Progress, requests_per_s: u64) -> String {
    let (requests, rate) = (HumanCount(progress.ended), HumanCount(requests_per_s));
    format!("{:.1} s | {requests} requests, {rate}/s", progress.now.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    #[test]
    fn all_of_it_fits_80_columns() {
        for template in TEMPLATES {
            let terminal = InMemoryTerm::new(3, 80);
            let bar = ProgressBar::with_draw_target(
                Some(1_000_000_000),
                ProgressDrawTarget::term_like(Box::new(terminal.clone())),
            );
            bar.set_style(ProgressStyle::with_template(template).expect("it is a template"));
            let progress = Progress { now: SimTime::from_secs_f64(31_536_000.0), ended: 999_999_999 };
            bar.set_message(message(progress, 9_999_999));
            bar.set_position(progress.ended);
            bar.tick();
            let drawn = terminal.contents();
            assert_eq!(drawn.lines().count(), 1, "{drawn}");
            assert!(drawn.contains("999,999,999 requests, 9,999,999/s | "), "{drawn}");
            assert!(template.contains("spinner") || drawn.contains("█"), "{drawn}");
            assert!(drawn.trim_end().ends_with(if template.contains("left") { "left" } else { "0s" }), "{drawn}");
        }
    }
}

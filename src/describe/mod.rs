//! What can be said of a load before it runs. Requests are looked at once, in order; memory is bounded whatever their number:
//! - lengths and gaps: exact up to 131,072 values, then quantiles within 0.025 % (`output/distribution.rs`);
//! - rates by window: windows side by side from the first arrival, of which one is open at a time;
//! - pauses: of sessions among the last two million that were seen;
//! - reuse of prompts: as long as their pieces fit in memory (`reuse.rs`), and it says of how many requests.

mod figures;
mod moments;
mod plot;
mod rates;
mod reuse;
mod sessions;
mod text;

use oracle_components::SimTime;
use oracle_systems::ports::RequestSource;

use crate::output::Distribution;
use crate::workload::{Turn, Turns, TurnsError};
pub use figures::{
    Arrivals, BlockReuse, Description, ImageFigures, Lengths, PlotFigures, Quantiles, ReuseFigures, SessionFigures,
    WindowFigures,
};
use moments::Correlation;
use plot::Timeline;
use rates::Windows;
use reuse::Reuse;
use sessions::Sessions;

/// The quantiles that are told.
const QUANTILES: [f64; 7] = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];
/// A distribution counts nanoseconds and tells milliseconds; a token is one of these.
const TOKEN: u64 = 1_000_000;

impl Description {
    /// Reads a load to its end and says what it holds.
    ///
    /// # Errors
    /// Time stands still.
    pub fn of(source: Box<dyn RequestSource>) -> Result<Self, TurnsError> {
        let mut seen = Seen::new();
        for turn in Turns::new(source) {
            seen.look_at(&turn?);
        }
        Ok(seen.figures())
    }
}

/// What was seen so far.
struct Seen {
    requests: u64,
    follow_ups: u64,
    first: SimTime,
    last: SimTime,
    gaps: Distribution,
    windows: Windows,
    prompt: Distribution,
    output: Distribution,
    prompt_tokens: u64,
    output_tokens: u64,
    images: ImageFigures,
    correlation: Correlation,
    reuse: Reuse,
    sessions: Sessions,
    timeline: Timeline,
    prompt_octaves: [u64; 32],
    output_octaves: [u64; 32],
}

impl Seen {
    fn new() -> Self {
        Self {
            requests: 0,
            follow_ups: 0,
            first: SimTime::ZERO,
            last: SimTime::ZERO,
            gaps: Distribution::new(),
            windows: Windows::new(),
            prompt: Distribution::new(),
            output: Distribution::new(),
            prompt_tokens: 0,
            output_tokens: 0,
            images: ImageFigures::default(),
            correlation: Correlation::default(),
            reuse: Reuse::new(),
            sessions: Sessions::default(),
            timeline: Timeline::new(),
            prompt_octaves: [0; 32],
            output_octaves: [0; 32],
        }
    }

    fn look_at(&mut self, turn: &Turn) {
        let spec = &turn.spec;
        if self.requests == 0 {
            self.first = spec.arrival;
        } else {
            self.gaps.record(spec.arrival - self.last);
        }
        self.last = spec.arrival;
        let since_first = spec.arrival - self.first;
        self.windows.count(since_first);
        self.timeline.count(since_first);
        self.requests += 1;
        self.follow_ups += u64::from(turn.pause.is_some());
        let (prompt, output) = (spec.prompt_tokens, spec.output_tokens);
        self.prompt.record(SimTime(u64::from(prompt) * TOKEN));
        self.output.record(SimTime(u64::from(output) * TOKEN));
        self.prompt_tokens += u64::from(prompt);
        self.output_tokens += u64::from(output);
        self.prompt_octaves[prompt.max(1).ilog2() as usize] += 1;
        self.output_octaves[output.max(1).ilog2() as usize] += 1;
        self.images.requests += u64::from(spec.encoder_tokens > 0);
        self.images.encoder_tokens += u64::from(spec.encoder_tokens);
        self.correlation.add(f64::from(prompt), f64::from(output));
        self.reuse.look_at(spec);
        self.sessions.look_at(turn);
    }

    fn figures(self) -> Description {
        let span = self.last - self.first;
        let lengths = |lengths: &Distribution, tokens| Lengths { tokens, quantiles: quantiles(lengths, 1.0) };
        let gaps = quantiles(&self.gaps, 1e-3);
        let mean_rate_per_s =
            (span > SimTime::ZERO).then(|| self.requests.saturating_sub(1) as f64 / span.as_secs_f64());
        let coefficient = gaps.as_ref().filter(|gaps| gaps.mean > 0.0).map(|gaps| gaps.deviation / gaps.mean);
        Description {
            requests: self.requests,
            requests_after_answers: self.follow_ups,
            span_s: span.as_secs_f64(),
            arrivals: Arrivals {
                mean_rate_per_s,
                gap_s: gaps,
                gap_coefficient_of_variation: coefficient,
                // vLLM's `--burstiness` is the shape of a Gamma distribution, whose CV is 1/√shape.
                burstiness: coefficient.filter(|cv| *cv > 0.0).map(|cv| cv.powi(-2)),
                windows: self.windows.figures(),
            },
            prompt: lengths(&self.prompt, self.prompt_tokens),
            output: lengths(&self.output, self.output_tokens),
            images: Some(self.images).filter(|images| images.requests > 0),
            prompt_output_correlation: self.correlation.coefficient(),
            reuse: self.reuse.figures(),
            sessions: self.sessions.figures(),
            plot: self.timeline.figures(),
            prompt_octaves: octaves(&self.prompt_octaves),
            output_octaves: octaves(&self.output_octaves),
        }
    }
}

/// What a distribution tells, in units of `scale` of its milliseconds.
fn quantiles(distribution: &Distribution, scale: f64) -> Option<Quantiles> {
    let told = distribution.statistics(&QUANTILES)?;
    let [p5, p25, p50, p75, p90, p95, p99] = told.quantiles_ms.try_into().expect("as many come back as were asked for");
    let figures = Quantiles {
        mean: told.mean_ms,
        deviation: told.deviation_ms,
        minimum: told.minimum_ms,
        p5,
        p25,
        p50,
        p75,
        p90,
        p95,
        p99,
        maximum: told.maximum_ms,
    };
    Some(figures.scaled(scale))
}

/// Requests by power of two of their tokens: the lower end, and how many.
fn octaves(counts: &[u64; 32]) -> Vec<(u64, u64)> {
    let first = counts.iter().position(|&count| count > 0);
    let last = counts.iter().rposition(|&count| count > 0);
    let range = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
    range.map(|octave| (1 << octave, counts[octave])).collect()
}

//! A window of a run as trace events, which ui.perfetto.dev and `trace_processor` read (Chrome's JSON): an engine is a process with
//! its steps on a thread and counters of what runs and waits; a request is a track of its own with the parts of its life one
//! after the other.
//!
//! Links are threads of a process of their own, with what crossed them.
//!
//! The records tell of requests, the port's steps of engines and of links. What the engine does not tell apart is not made up: of a preemption
//! there is when and where, not whose.

mod links;
mod requests;
mod watched;
mod window;

use std::fmt::{self, Display, Formatter, Write};

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, LinkTransfer, RanSteps, RequestRecord};
use oracle_components::scenario::Scenario;
use oracle_components::work::LinkUsage;
use oracle_systems::ports::{RecordSink, SinkClosed, StepSink};

use links::Rates;
pub use watched::Watched;
pub use window::Window;

/// The process of the engine with index 0; Perfetto takes 0 for none.
const FIRST_PROCESS: u32 = 1;
/// The thread of an engine's steps.
const STEPS_THREAD: u32 = 1;

/// Takes what happens in a window out of all that a simulation tells.
#[derive(Debug)]
pub struct Recorder {
    window: Window,
    profiles: Vec<String>,
    /// For each engine, its preemptions before the last steps.
    preemptions: Vec<u64>,
    link_names: Vec<String>,
    rates: Rates,
    events: String,
    /// What is in it.
    counts: Counts,
}

/// How much is in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps.
    pub steps: u64,
    /// Requests.
    pub requests: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Transfers over a link.
    pub transfers: u64,
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { steps, requests, preemptions, transfers } = self;
        write!(f, "{steps} steps, {requests} requests, {preemptions} preemptions and {transfers} transfers")
    }
}

impl Recorder {
    /// Records a window of a run of `scenario`.
    #[must_use]
    pub fn new(window: Window, scenario: &Scenario, profiles: &[String]) -> Self {
        let mut recorder = Self {
            window,
            profiles: profiles.to_vec(),
            preemptions: vec![0; scenario.engines.len()],
            link_names: Vec::new(),
            rates: Rates::new(),
            events: String::new(),
            counts: Counts::default(),
        };
        for (index, engine) in scenario.engines.iter().enumerate() {
            let process = FIRST_PROCESS + index as u32;
            let name = serde_json::json!(engine.name);
            recorder.event(&format!(r#""ph":"M","pid":{process},"name":"process_name","args":{{"name":{name}}}"#));
            recorder.event(&format!(
                r#""ph":"M","pid":{process},"tid":{STEPS_THREAD},"name":"thread_name","args":{{"name":"steps"}}"#
            ));
        }
        recorder.name_links(scenario);
        recorder
    }

    /// How much is in it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Why there is nothing to see of a run that was over at `end`, if so.
    #[must_use]
    pub fn nothing(&self, end: SimTime) -> Option<String> {
        let Window { from, to } = self.window;
        let is_empty = self.counts.steps + self.counts.requests == 0;
        is_empty.then(|| format!("nothing happens from {from} to {to}; the run is over at {end}"))
    }

    /// The trace.
    #[must_use]
    pub fn json(mut self) -> String {
        self.rates_of_links();
        format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", self.events.trim_end_matches([',', '\n']))
    }

    /// Appends an event of these fields.
    fn event(&mut self, fields: &str) {
        // Writing to a string never fails.
        let _ = writeln!(self.events, "{{{fields}}},");
    }

    fn steps_of(&mut self, span: &RanSteps<'_>) {
        let process = FIRST_PROCESS + span.engine;
        let RanSteps { decodes, prompts, prompt_tokens, running, waiting, .. } = *span;
        let name = match (prompts, decodes) {
            (0, _) => "decode",
            (_, 0) => "prefill",
            _ => "prefill and decode",
        };
        let mut from = span.from;
        for &end in span.ends {
            if self.window.touches(from, end) {
                self.counts.steps += 1;
                let (at, length) = (micros(from), micros(end.since(from)));
                self.event(&format!(
                    r#""ph":"X","pid":{process},"tid":{STEPS_THREAD},"ts":{at},"dur":{length},"name":"{name}","args":{{"decodes":{decodes},"prompts":{prompts},"prompt_tokens":{prompt_tokens}}}"#
                ));
            }
            from = end;
        }
        if self.window.touches(span.from, from) {
            let at = micros(span.from);
            for (name, value) in [("running", running), ("waiting", waiting)] {
                self.event(&format!(
                    r#""ph":"C","pid":{process},"ts":{at},"name":"{name}","args":{{"{name}":{value}}}"#
                ));
            }
        }
        let before = std::mem::replace(&mut self.preemptions[span.engine as usize], span.preemptions);
        let preempted = span.preemptions - before;
        if preempted > 0 && self.window.holds(span.from) {
            self.counts.preemptions += preempted;
            let at = micros(span.from);
            self.event(&format!(
                r#""ph":"i","s":"t","pid":{process},"tid":{STEPS_THREAD},"ts":{at},"name":"preempted","args":{{"requests":{preempted}}}"#
            ));
        }
    }
}

/// Microseconds, to the nanosecond.
fn micros(time: SimTime) -> String {
    format!("{}.{:03}", time.0 / 1000, time.0 % 1000)
}

impl StepSink for Recorder {
    fn span(&mut self, span: &RanSteps<'_>) {
        self.steps_of(span);
    }

    fn transfer(&mut self, transfer: &LinkTransfer) {
        self.transfer_of(transfer);
    }

    fn traffic(&mut self, usage: &LinkUsage) {
        self.traffic_of(usage);
    }
}

impl RecordSink for Recorder {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        if self.window.touches(record.arrival, record.completion) {
            self.counts.requests += 1;
            self.request_of(record);
        }
        Ok(())
    }

    fn token_gap(&mut self, _: SimTime, _: SimTime, _: u64) {}

    fn token_gaps(&mut self, _: SimTime, _: &[SimTime], _: u64) {}

    fn interval(&mut self, _: &IntervalRow) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn steps(&mut self) -> Option<&mut dyn StepSink> {
        Some(self)
    }
}

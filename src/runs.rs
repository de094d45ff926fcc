//! A configuration that is understood, simulated: what every command that runs one shares.
//!
//! [`Run::open`] checks the load and opens it, [`Run::writer`] the files that its plan names, [`Run::simulate`] runs it to an end,
//! and [`Ended::finish`] gives the files their names and the summary.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oracle_components::record::{Outcome, Stop};
use oracle_systems::ports::{RecordSink, RequestSource};
use oracle_systems::{Progress, Simulation};
use serde_json::json;

use crate::config::Resolved;
use crate::output::{OutputError, RunWriter, Summary, TRACE};
use crate::trace_events::{Recorder, Watched};
use crate::workload::{WorkloadError, WorkloadFacts};

/// A run whose load is open.
pub struct Run {
    /// Its configuration.
    pub resolved: Resolved,
    /// What is known of its load.
    pub facts: WorkloadFacts,
    source: Box<dyn RequestSource>,
}

/// A run that is over; its files are not yet.
pub struct Ended {
    /// What it came to.
    pub outcome: Outcome,
    /// What its load came to.
    pub facts: WorkloadFacts,
    /// How long each phase took, if that was measured.
    pub phases: Vec<(&'static str, Duration)>,
    /// What was seen of the window that its plan traces.
    pub recorder: Option<Recorder>,
    seed: u64,
    writer: RunWriter,
}

/// The names of client profiles: a trace's own where it has some, else the configuration's.
pub(crate) fn profile_names<'a>(resolved: &'a Resolved, facts: &'a WorkloadFacts) -> &'a [String] {
    let names_profiles = facts.trace.as_ref().is_some_and(|trace| !trace.profiles.is_empty());
    if names_profiles { &facts.profile_names } else { &resolved.profile_names }
}

/// Goes on until the flag is set.
pub(crate) fn unless(interrupted: &AtomicBool) -> ControlFlow<()> {
    if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Run {
    /// Checks the load (a trace is read through once) and opens it.
    ///
    /// # Errors
    /// A load that cannot be generated, or a trace that cannot be replayed to its end.
    pub fn open(mut resolved: Resolved) -> Result<Self, WorkloadError> {
        let (source, facts) = resolved.workload.open()?;
        resolved.output.slos.clone_from(&facts.profile_slos);
        resolved.output.encodes_images = facts.encodes_images;
        resolved.output.trace_digest = facts.trace.as_ref().and_then(|trace| trace.digest.clone());
        resolved.output.load.held_back = facts.held_back.clone();
        Ok(Self { resolved, facts, source })
    }

    /// Opens the files of the run.
    ///
    /// # Errors
    /// Those of [`RunWriter::create`].
    pub fn writer(&self) -> Result<RunWriter, OutputError> {
        let Self { resolved, facts, .. } = self;
        RunWriter::create(&resolved.output, &resolved.scenario, profile_names(resolved, facts))
    }

    /// Simulates, until the end or until `control` breaks.
    pub fn simulate(
        self,
        writer: RunWriter,
        profiled: bool,
        control: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Ended {
        let recorder = self.recorder();
        let Self { resolved, facts, source } = self;
        let (seed, scenario) = (resolved.scenario.seed, resolved.scenario);
        let (outcome, phases, writer, recorder) = match recorder {
            None => {
                let (outcome, phases, writer) = simulated(Simulation::new(scenario, source, writer), profiled, control);
                (outcome, phases, writer, None)
            }
            Some(recorder) => {
                // Only engines in lockstep tell their steps; records are the same.
                let simulation = Simulation::new(scenario, source, Watched { sink: writer, recorder }).in_lockstep();
                let (outcome, phases, Watched { sink, recorder }) = simulated(simulation, profiled, control);
                (outcome, phases, sink, Some(recorder))
            }
        };
        Ended { outcome, facts, phases, recorder, seed, writer }
    }

    /// Who looks at the window that is to be traced, if one is.
    fn recorder(&self) -> Option<Recorder> {
        let Self { resolved, facts, .. } = self;
        let window = resolved.output.trace.as_ref()?.window;
        Some(Recorder::new(window, &resolved.scenario, profile_names(resolved, facts)))
    }
}

/// Runs a simulation to its end.
fn simulated<K: RecordSink + 'static>(
    mut simulation: Simulation<K>,
    profiled: bool,
    control: impl FnMut(Progress) -> ControlFlow<()>,
) -> (Outcome, Vec<(&'static str, Duration)>, K) {
    if profiled {
        simulation = simulation.profiled();
    }
    let outcome = simulation.run(control);
    (outcome, simulation.profile(), simulation.into_sink())
}

impl Ended {
    /// Why the run stopped short, if it did.
    #[must_use]
    pub fn stopped_short(&self) -> Option<String> {
        match (self.facts.failure(), self.outcome.stop) {
            (Some(error), _) => Some(error),
            (None, Stop::Interrupted) => Some("interrupted".to_owned()),
            (None, Stop::SinkClosed) => Some("the run's files could not be written".to_owned()),
            (None, Stop::Drained | Stop::Horizon) => None,
        }
    }

    /// Ends the files and sums up. `config` is the configuration as the manifest tells it.
    ///
    /// # Errors
    /// The first error of the run's files, also when it came while the simulation ran.
    pub fn finish(mut self, config: serde_json::Value) -> Result<Summary, OutputError> {
        let partial = self.stopped_short().is_some();
        if let Some(recorder) = self.recorder.take().filter(|recorder| recorder.nothing(self.outcome.end).is_none()) {
            self.writer.put_trace(recorder.json());
        }
        let mut run = json!({"seed": self.seed, "config": config});
        if let Some(digest) = self.facts.trace.as_ref().and_then(|trace| trace.digest.as_ref()) {
            run[TRACE] = json!(digest);
        }
        self.writer.finish(&self.outcome, partial, run)
    }
}

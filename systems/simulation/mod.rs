//! A simulation: built from a scenario, run to its end, asked for its totals.

mod executor;
mod merge;
mod shard;
mod spawn;
mod stop;
mod windows;

use std::any::Any;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use oracle_components::SimTime;
use oracle_components::calendar::Coupling;
use oracle_components::engine::EpochCuts;
use oracle_components::hardware::Link;
use oracle_components::record::{GpuTotals, LinkTotals, Outcome, Stop};
use oracle_components::scenario::{Role, Scenario};

use self::shard::{PHASES, Shard};
use self::spawn::{Blueprint, entrances, prices, spawn_links};
use self::stop::{stop_at, stop_links_at};
use self::windows::Windowed;
use crate::ports::{Promises, RecordSink, RequestSource};
use crate::routing::Router;
use crate::routing::{RoutingPolicy, Wants};
use crate::scheduling::{BatchPolicy, shipped};
use crate::world::calendar::beginning;
use crate::world::{Dispatch, Ports, Shared};

/// Boundaries between two looks at the caller's wishes.
const BOUNDARIES_BETWEEN_REPORTS: usize = 1024;

/// Where a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Simulated time.
    pub now: SimTime,
    /// Requests that have ended.
    pub ended: u64,
}

/// A simulation, ready to run. `K` is where its records go.
pub struct Simulation<K> {
    blueprint: Blueprint,
    router: Router,
    in_lockstep: bool,
    runner: Runner,
    sink: PhantomData<K>,
}

/// What runs it.
enum Runner {
    /// Not built yet.
    Parts(Option<(Box<dyn RequestSource>, Box<dyn RecordSink>)>),
    /// All engines in one world.
    Lockstep(Box<Shard>),
    /// Engines that go their own ways.
    Windowed(Box<Windowed>),
}

impl<K: RecordSink + 'static> Simulation<K> {
    /// A simulation of `scenario`.
    #[must_use]
    pub fn new(scenario: Scenario, source: Box<dyn RequestSource>, sink: K) -> Self {
        let runner = Runner::Parts(Some((source, Box::new(sink))));
        let router = Router::of_arrivals(&scenario);
        let prices = prices(&scenario);
        let (rules, epoch_cuts, window_arrivals, profiled) = (shipped(), EpochCuts::AsNeeded, None, false);
        let blueprint = Blueprint { scenario, prices, rules, epoch_cuts, window_arrivals, profiled };
        Self { blueprint, router, in_lockstep: false, runner, sink: PhantomData }
    }

    /// Measures how long each phase takes, at the price of two looks at the clock a phase and tick.
    #[must_use]
    pub fn profiled(mut self) -> Self {
        self.blueprint.profiled = true;
        self
    }

    /// Makes engines meet at every boundary even where they need not: slower, with the same result.
    #[must_use]
    pub fn in_lockstep(self) -> Self {
        Self { in_lockstep: true, ..self }
    }

    /// Routes arrivals by a policy of one's own in place of the scenario's.
    #[must_use]
    pub fn with_routing_policy(mut self, policy: impl RoutingPolicy + 'static) -> Self {
        self.router = Router::of_arrivals_by(Box::new(policy), &self.blueprint.scenario);
        self
    }

    /// Forms the batches of all engines by a policy of one's own.
    #[must_use]
    pub fn with_batch_policy(mut self, policy: impl BatchPolicy) -> Self {
        self.blueprint.rules = Arc::new(policy);
        self
    }

    /// Cuts epochs where they need not be: slower, with the same result if the batch policy keeps its promises.
    #[must_use]
    pub fn with_epoch_cuts(mut self, cuts: EpochCuts) -> Self {
        self.blueprint.epoch_cuts = cuts;
        self
    }

    /// Ends windows after so many arrivals: slower, with the same result but for the order of sums.
    #[must_use]
    pub fn with_window_arrivals(mut self, arrivals: NonZeroUsize) -> Self {
        self.blueprint.window_arrivals = Some(arrivals);
        self
    }

    /// Runs until nothing is left to happen, the horizon, or `control` breaks; it is asked every thousand boundaries or so.
    ///
    /// # Panics
    /// If it has run before, or an index in the scenario points nowhere: what the configuration checks.
    pub fn run(&mut self, mut control: impl FnMut(Progress) -> ControlFlow<()>) -> Outcome {
        self.build();
        let mut cut_short = None;
        let mut go_on = |now, ended, closed| {
            if closed {
                cut_short = Some(Stop::SinkClosed);
            } else if control(Progress { now, ended }).is_break() {
                cut_short = Some(Stop::Interrupted);
            }
            cut_short.is_none()
        };
        match &mut self.runner {
            Runner::Lockstep(shard) => run_lockstep(shard, &mut go_on),
            Runner::Windowed(windowed) => windowed.run(go_on),
            Runner::Parts(..) => unreachable!("it has just been built"),
        }
        let horizon = if cut_short.is_some() { Some(self.horizon()) } else { self.blueprint.scenario.horizon };
        let drained = horizon.is_none() || self.is_drained();
        let stop = cut_short.unwrap_or(if drained { Stop::Drained } else { Stop::Horizon });
        let end = horizon.unwrap_or_else(|| self.end());
        match &mut self.runner {
            Runner::Lockstep(shard) => {
                stop_at(&mut shard.world, end);
                stop_links_at(&mut shard.world, end, Ports::hand_over_rows);
            }
            Runner::Windowed(windowed) => windowed.stop_at(end),
            Runner::Parts(..) => unreachable!("it has run"),
        }
        self.outcome(stop, end)
    }

    /// Builds the worlds.
    fn build(&mut self) {
        let Runner::Parts(parts) = &mut self.runner else { panic!("a simulation runs once") };
        let (source, sink) = parts.take().expect("a simulation that was not built has its parts");
        let Self { blueprint, router, .. } = self;
        let coupling = coupling(&blueprint.scenario, source.promises(), router.wants());
        let dispatch = Dispatch {
            router: std::mem::replace(router, Router::of_arrivals(&blueprint.scenario)),
            entrances: entrances(blueprint),
            prompt_bytes_per_token: blueprint.scenario.prompt_bytes_per_token,
        };
        self.runner = match coupling {
            Coupling::Windowed if !self.in_lockstep => {
                Runner::Windowed(Box::new(Windowed::new(blueprint, source, dispatch, sink)))
            }
            _ => Runner::Lockstep(Box::new(lockstep_world(blueprint, source, dispatch, sink))),
        };
    }

    /// The phases with the time that each has taken, on all threads together; empty if nobody asked for it.
    ///
    /// # Panics
    /// Never: the simulation is not running while it is looked at.
    #[must_use]
    pub fn profile(&self) -> Vec<(&'static str, Duration)> {
        let systems = self.shards().iter().map(|shard| shard.profile().len()).max().unwrap_or(0);
        let mut phases: Vec<_> = PHASES[..systems].iter().map(|&phase| (phase, Duration::ZERO)).collect();
        for shard in self.shards() {
            for (phase, time) in phases.iter_mut().zip(shard.profile()) {
                phase.1 += time;
            }
        }
        phases
    }

    /// The sink, when the simulation has run.
    ///
    /// # Panics
    /// Never: the sink is the one that [`Simulation::new`] was given.
    #[must_use]
    pub fn into_sink(self) -> K {
        let sink: Box<dyn Any> = match self.runner {
            Runner::Parts(parts) => parts.expect("a simulation that was not built has its parts").1,
            Runner::Lockstep(shard) => shard.into_sink(),
            Runner::Windowed(windowed) => windowed.into_sink(),
        };
        *sink.downcast::<K>().expect("the sink is of the type it came in as")
    }

    fn shards(&self) -> &[Shard] {
        match &self.runner {
            Runner::Parts(..) => &[],
            Runner::Lockstep(shard) => std::slice::from_ref(shard),
            Runner::Windowed(windowed) => windowed.shards(),
        }
    }

    /// Where arrivals come in.
    fn dispatcher(&self) -> &Shared {
        match &self.runner {
            Runner::Parts(..) => unreachable!("it has been built"),
            Runner::Lockstep(shard) => shard.shared(),
            Runner::Windowed(windowed) => windowed.dispatcher(),
        }
    }

    /// After which nothing happened.
    fn horizon(&self) -> SimTime {
        self.dispatcher().calendar.horizon
    }

    /// The last boundary or completion.
    fn end(&self) -> SimTime {
        let shards = self.shards().iter().map(|shard| shard.latest().max(shard.shared().calendar.last_completion));
        shards.fold(self.dispatcher().calendar.last_completion, SimTime::max)
    }

    /// Whether every request has ended and none is to come.
    fn is_drained(&self) -> bool {
        let calendar = &self.dispatcher().calendar;
        let none_to_come = calendar.next_request.is_none() && calendar.follow_ups.is_empty();
        none_to_come && self.shards().iter().all(|shard| shard.shared().calendar.loads.iter().all(|&load| load == 0))
    }

    /// The totals, once everything has ended.
    fn outcome(&self, stop: Stop, end: SimTime) -> Outcome {
        let mut gpus = vec![GpuTotals::default(); self.blueprint.scenario.gpus.len()];
        for (index, gpu) in self.shards().iter().flat_map(Shard::gpus) {
            gpus[index as usize] += &gpu.totals;
        }
        let (links, ended): (Vec<LinkTotals>, _) = match &self.runner {
            Runner::Parts(..) => unreachable!("it has run"),
            Runner::Lockstep(shard) => {
                let links = shard.shared().links.iter();
                let totals = links.filter_map(|&link| Some(shard.world.get::<Link>(link)?.totals.clone()));
                (totals.collect(), shard.shared().calendar.ended)
            }
            Runner::Windowed(windowed) => (windowed.link_totals(), windowed.ended()),
        };
        let engines = self.shards().iter().flat_map(Shard::engine_totals).collect();
        let ticks = self.shards().iter().map(Shard::ticks).sum();
        Outcome { stop, end, ticks, arrived: self.dispatcher().calendar.next_id, ended, engines, gpus, links }
    }
}

/// A world with all engines, the links, and the ports.
fn lockstep_world(
    blueprint: &Blueprint,
    mut source: Box<dyn RequestSource>,
    dispatch: Dispatch,
    sink: Box<dyn RecordSink>,
) -> Shard {
    let scenario = &blueprint.scenario;
    let engines = 0..scenario.engines.len();
    let first = source.next_request();
    let calendar = beginning(Coupling::Lockstep, scenario, engines.clone(), first);
    let shared = Shared { dispatch: Some(dispatch), ..Shared::new(calendar, Ports::new(source, sink)) };
    let mut shard = Shard::new(blueprint, engines, shared);
    let links = spawn_links(&mut shard.world, scenario);
    shard.shared_mut().links = links;
    shard
}

/// Runs a world of engines in lockstep. `go_on` is asked now and then; if it says no, nothing happens beyond what the
/// engine that is furthest has done and the last request that is in.
fn run_lockstep(shard: &mut Shard, go_on: &mut impl FnMut(SimTime, u64, bool) -> bool) {
    let (mut since_report, mut cut_short) = (0, false);
    while let Some(shared) = shard.tick() {
        since_report += shared.calendar.due.len().max(1);
        if since_report < BOUNDARIES_BETWEEN_REPORTS || cut_short {
            continue;
        }
        since_report = 0;
        if !go_on(shared.calendar.now, shared.calendar.ended.iter().sum(), shared.ports.closed) {
            cut_short = true;
            let latest = shard.latest();
            let calendar = &mut shard.shared_mut().calendar;
            calendar.horizon = calendar.horizon.min(latest.max(calendar.last_arrival));
        }
    }
}

/// How far engines may run before what one does can touch another: not at all where follow-ups, links, pools, a full queue or the router may
/// pass it on at once. A router that learns late would bear windows of that length; it is run in lockstep.
fn coupling(scenario: &Scenario, promises: Promises, wants: Wants) -> Coupling {
    let has_pools = scenario.engines.iter().any(|engine| engine.role != Role::Both);
    let refuses_by_load = scenario.engines.iter().any(|engine| engine.scheduler.max_num_queued_reqs.is_some());
    let at_once = !promises.no_follow_ups || !promises.streams_only || has_pools || refuses_by_load;
    let lookahead = if at_once { SimTime::ZERO } else { wants.lookahead() };
    if lookahead == SimTime::NEVER { Coupling::Windowed } else { Coupling::Lockstep }
}

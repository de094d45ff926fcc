//! Windowed engines: nothing passes between them but the arrivals. They are divided into shards, each a world of its
//! own, which go through a window of arrivals on as many threads as there are.
//!
//! The dispatcher takes in the arrivals of some windows, routes them, and sends them over their links. While the shards go
//! through these windows, the dispatcher prepares the next and hands over what the last ones brought, in the order that a
//! single world would have left it in. How engines are divided does not depend on the number of threads, nor does
//! anything else that shows.

use std::num::NonZeroUsize;
use std::ops::Range;

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use oracle_components::SimTime;
use oracle_components::calendar::Coupling;
use oracle_components::hardware::Link;
use oracle_components::record::LinkTotals;
use oracle_components::request::{RequestSpec, Routed};
use rayon::prelude::*;

use super::merge::{WindowOutput, hand_over};
use super::shard::Shard;
use super::spawn::{Blueprint, spawn_links};
use super::stop::{stop_at, stop_links_at};
use crate::arrival::{Arrival, route_next_arrival};
use crate::ports::{RecordSink, RequestSource};
use crate::series::WINDOW_INTERVALS;
use crate::transfer::Network;
use crate::world::calendar::{beginning, next_arrival};
use crate::world::{Dispatch, Ports, Shared};

/// Most engines of a shard: few enough for their data to stay in a core's cache.
const SHARD_ENGINES: usize = 32;
/// As many shards, if there are engines enough, for as many threads.
const LEAST_SHARDS: usize = 8;
/// Least arrivals of a full window.
const WINDOW_ARRIVALS: usize = 1024;
/// As many arrivals a window and engine, if that is more: so that an engine has something to do in it.
const WINDOW_ARRIVALS_AN_ENGINE: usize = 8;
/// Windows that are prepared at a time, if they are of the least size. Threads wait for each other once for all of them, which
/// takes as long as dozens of requests; a window as large would push what its engines work with out of the cache.
const PREPARED_WINDOWS: usize = 4;
/// Intervals of all engines in what is prepared, about: their rows are in memory until the next windows are over. From here
/// on, more engines make shorter windows, so that memory grows with them by what they hold themselves.
const PREPARED_ROWS: u64 = 1 << 18;

/// The simulation of windowed engines.
pub struct Windowed {
    dispatcher: Dispatcher,
    shards: Vec<Shard>,
    /// What the shards brought in the last windows; that of the dispatcher is last.
    outputs: Vec<WindowOutput>,
    /// Empty ones, for the next windows.
    free_buffers: Vec<WindowOutput>,
    /// Windows that are over, to prepare the next in.
    spare: Windows,
    sink: Box<dyn RecordSink>,
    closed: bool,
}

/// Where arrivals come in: the source, the router, and the links.
struct Dispatcher {
    world: World,
    state: SystemState<(ResMut<'static, Shared>, Network<'static, 'static>)>,
    span: SimTime,
    most_arrivals: usize,
    most_windows: usize,
    shards: usize,
    /// Engines of a shard, but perhaps for the last.
    shard_engines: usize,
}

/// Windows of arrivals, one after the other, routed.
#[derive(Default)]
struct Windows {
    /// Their ends: everything that arrives up to one of them is in its window or in an earlier one.
    ends: Vec<SimTime>,
    /// By shard and window: the arrivals. There may be more lists than windows, which are empty.
    routed: Vec<Vec<Vec<Routed>>>,
    /// Refusals and rows of links.
    output: WindowOutput,
}

/// A source of nothing: requests are injected into shards.
struct NoSource;

impl RequestSource for NoSource {
    fn next_request(&mut self) -> Option<RequestSpec> {
        None
    }
}

impl Windowed {
    /// Builds the worlds of a scenario.
    pub fn new(
        blueprint: &Blueprint,
        source: Box<dyn RequestSource>,
        dispatch: Dispatch,
        sink: Box<dyn RecordSink>,
    ) -> Self {
        let scenario = &blueprint.scenario;
        let shard = |engines: Range<usize>| {
            let calendar = beginning(Coupling::Windowed, scenario, engines.clone(), None);
            let ports = Ports::new(Box::new(NoSource), Box::new(WindowOutput::default()));
            Shard::new(blueprint, engines, Shared::new(calendar, ports))
        };
        let engines = scenario.engines.len();
        let shard_engines = engines.div_ceil(LEAST_SHARDS).clamp(1, SHARD_ENGINES);
        let starts = (0..engines).step_by(shard_engines);
        let shards = starts.map(|start| shard(start..engines.min(start + shard_engines))).collect();
        let dispatcher = Dispatcher::new(blueprint, source, dispatch, shard_engines);
        let spare = Windows::default();
        Self { dispatcher, shards, outputs: Vec::new(), free_buffers: Vec::new(), spare, sink, closed: false }
    }

    /// Runs until nothing is left to happen. After each few windows `go_on` is asked, with the present and whether the sink is
    /// closed; if it says so, nothing happens beyond the present.
    pub fn run(&mut self, mut go_on: impl FnMut(SimTime, u64, bool) -> bool) {
        let mut prepared = None;
        let mut cut_short = false;
        while let Some(mut windows) = prepared.take().or_else(|| self.next_windows()) {
            let until = *windows.ends.last().expect("one window at least is prepared");
            let Windows { ends, routed, .. } = &mut windows;
            let Self { dispatcher, shards, outputs, free_buffers, spare, sink, closed } = self;
            let run_shard = |(shard, routed): (&mut Shard, &mut Vec<Vec<Routed>>)| {
                ends.iter().zip(routed).for_each(|(&end, routed)| shard.run_window(end, routed));
            };
            let run_shards = || shards.par_iter_mut().zip(routed).for_each(run_shard);
            let run_dispatcher = || {
                dispatcher.post_traffic(outputs);
                *closed = *closed || hand_over(outputs, &mut **sink).is_err();
                outputs.iter_mut().for_each(WindowOutput::clear);
                free_buffers.append(outputs);
                let empty = Windows { output: free_buffers.pop().unwrap_or_default(), ..std::mem::take(spare) };
                dispatcher.windows_after(until, empty)
            };
            let ((), next) = rayon::join(run_shards, run_dispatcher);
            prepared = next;
            self.take_outputs();
            self.outputs.push(std::mem::take(&mut windows.output));
            self.spare = windows;
            let now = until.min(self.latest().max(self.dispatcher.shared().calendar.last_arrival));
            if !cut_short && !go_on(now, self.ended().iter().sum(), self.closed) {
                cut_short = true;
                self.cut_short();
            }
        }
    }

    /// Ends everything at `stop`.
    pub fn stop_at(&mut self, stop: SimTime) {
        self.dispatcher.post_traffic(&self.outputs);
        self.hand_over();
        self.shards.par_iter_mut().for_each(|shard| stop_at(&mut shard.world, stop));
        self.take_outputs();
        self.dispatcher.post_traffic(&self.outputs);
        self.outputs.push(WindowOutput::of(self.dispatcher.shared_mut(), WindowOutput::default()));
        self.hand_over();
        let Self { dispatcher, sink, closed, .. } = self;
        stop_links_at(&mut dispatcher.world, stop, |ports| {
            for row in ports.rows.0.drain(..) {
                *closed = *closed || sink.interval(&row).is_err();
            }
        });
    }

    /// Takes what the shards have brought.
    fn take_outputs(&mut self) {
        let Self { shards, outputs, free_buffers, .. } = self;
        outputs.extend(
            shards.iter_mut().map(|shard| WindowOutput::of(shard.shared_mut(), free_buffers.pop().unwrap_or_default())),
        );
    }

    /// Hands over what there is.
    fn hand_over(&mut self) {
        let outputs = std::mem::take(&mut self.outputs);
        self.closed = self.closed || hand_over(&outputs, &mut *self.sink).is_err();
    }

    /// The windows of the next things to happen, if anything is left to.
    fn next_windows(&mut self) -> Option<Windows> {
        let next_boundaries = self.shards.iter().flat_map(|shard| &shard.shared().calendar.next_boundaries);
        let boundary = next_boundaries.copied().min().unwrap_or(SimTime::NEVER);
        let calendar = &self.dispatcher.shared().calendar;
        let first = next_arrival(calendar).min(boundary);
        (first != SimTime::NEVER && first <= calendar.horizon)
            .then(|| self.dispatcher.windows_from(first, std::mem::take(&mut self.spare)))
    }

    /// Lets nothing happen beyond what the engine that is furthest has done and the last request that is in.
    fn cut_short(&mut self) {
        let present = self.latest().max(self.dispatcher.shared().calendar.last_arrival);
        let of_worlds = self.shards.iter_mut().map(Shard::shared_mut);
        for shared in of_worlds.chain([self.dispatcher.shared_mut()]) {
            shared.calendar.horizon = shared.calendar.horizon.min(present);
        }
    }

    /// How far the engine that is furthest has come.
    pub fn latest(&self) -> SimTime {
        self.shards.iter().map(Shard::latest).fold(SimTime::ZERO, SimTime::max)
    }

    /// Requests that ended, by status.
    pub fn ended(&self) -> [u64; 4] {
        let of_worlds = self.shards.iter().map(Shard::shared).chain([self.dispatcher.shared()]);
        of_worlds.fold([0; 4], |sum, shared| std::array::from_fn(|status| sum[status] + shared.calendar.ended[status]))
    }

    /// The dispatcher's view of what the worlds share.
    pub fn dispatcher(&self) -> &Shared {
        self.dispatcher.shared()
    }

    /// The shards, in the order of their engines.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The totals of all links.
    pub fn link_totals(&self) -> Vec<LinkTotals> {
        let world = &self.dispatcher.world;
        self.dispatcher
            .shared()
            .links
            .iter()
            .filter_map(|&link| Some(world.get::<Link>(link)?.totals.clone()))
            .collect()
    }

    /// The sink.
    pub fn into_sink(self) -> Box<dyn RecordSink> {
        self.sink
    }
}

impl Dispatcher {
    fn new(
        blueprint: &Blueprint,
        mut source: Box<dyn RequestSource>,
        dispatch: Dispatch,
        shard_engines: usize,
    ) -> Self {
        let scenario = &blueprint.scenario;
        let mut world = World::new();
        let links = spawn_links(&mut world, scenario);
        let first = source.next_request();
        let calendar = beginning(Coupling::Windowed, scenario, 0..scenario.engines.len(), first);
        let ports = Ports::new(source, Box::new(WindowOutput::default()));
        world.insert_resource(Shared { links, dispatch: Some(dispatch), ..Shared::new(calendar, ports) });
        let state = SystemState::new(&mut world);
        let intervals = (PREPARED_ROWS / scenario.engines.len().max(1) as u64).clamp(1, WINDOW_INTERVALS);
        let span = SimTime(scenario.series_interval.0.saturating_mul(intervals));
        let of_engines = WINDOW_ARRIVALS.max(scenario.engines.len() * WINDOW_ARRIVALS_AN_ENGINE);
        let most_arrivals = blueprint.window_arrivals.map_or(of_engines, NonZeroUsize::get);
        let most_windows = (PREPARED_WINDOWS * WINDOW_ARRIVALS / most_arrivals).clamp(1, PREPARED_WINDOWS);
        let shards = scenario.engines.len().div_ceil(shard_engines);
        Self { world, state, span, most_arrivals, most_windows, shards, shard_engines }
    }

    fn shared(&self) -> &Shared {
        self.world.resource::<Shared>()
    }

    fn shared_mut(&mut self) -> &mut Shared {
        self.world.resource_mut::<Shared>().into_inner()
    }

    /// The next windows, if the next arrival follows soon enough on the end of the last for that to be known.
    fn windows_after(&mut self, last: SimTime, empty: Windows) -> Option<Windows> {
        let calendar = &self.shared().calendar;
        let next = next_arrival(calendar);
        let soon = next != SimTime::NEVER && next <= calendar.horizon.min(last.saturating_add(self.span));
        soon.then(|| self.windows_from(next, empty))
    }

    /// The windows of arrivals from `first` on, one at least.
    fn windows_from(&mut self, first: SimTime, empty: Windows) -> Windows {
        let last = first.saturating_add(self.span);
        let Windows { mut ends, mut routed, output } = empty;
        ends.clear();
        routed.resize_with(self.shards, Vec::new);
        let horizon = self.shared().calendar.horizon;
        while ends.is_empty()
            || ends.len() < self.most_windows && next_arrival(&self.shared().calendar) <= last.min(horizon)
        {
            routed.iter_mut().filter(|lists| lists.len() == ends.len()).for_each(|lists| lists.push(Vec::new()));
            let end = self.fill_window(last, ends.len(), &mut routed);
            ends.push(end);
        }
        let shared = self.shared_mut();
        shared.ports.hand_over_rows();
        Windows { ends, routed, output: WindowOutput::of(shared, output) }
    }

    /// Routes the arrivals up to `last`, or as many as a window takes, to the lists of the window with this number; tells its end.
    fn fill_window(&mut self, last: SimTime, window: usize, routed: &mut [Vec<Vec<Routed>>]) -> SimTime {
        let Self { world, state, most_arrivals, shard_engines, .. } = self;
        let (mut shared, mut network) = state.get_mut(world).expect("the world has all of it");
        let shared = &mut *shared;
        let mut instant = SimTime::ZERO;
        let mut arrivals = 0;
        loop {
            let next = next_arrival(&shared.calendar);
            if next > last || (arrivals >= *most_arrivals && next != instant) {
                break;
            }
            match route_next_arrival(shared, &mut network) {
                Arrival::None => break,
                Arrival::Refused => {}
                Arrival::Routed(arrival) => {
                    routed[arrival.request.engine as usize / *shard_engines][window].push(arrival);
                }
            }
            arrivals += 1;
            instant = next;
        }
        // Arrivals of an instant come before its boundaries.
        let next = next_arrival(&shared.calendar);
        if next > last { last } else { SimTime(next.0.saturating_sub(1)) }
    }

    /// Posts to the links what shards have sent over them.
    fn post_traffic(&mut self, outputs: &[WindowOutput]) {
        let (mut shared, mut network) = self.state.get_mut(&mut self.world).expect("the world has all of it");
        let Shared { ports, links, traffic, .. } = &mut *shared;
        traffic.extend(outputs.iter().flat_map(|output| &output.traffic));
        // Stable, and in the order of engines at one instant.
        traffic.sort_by_key(|usage| usage.span.1);
        network.post(traffic, links, ports);
        ports.hand_over_rows();
    }
}
